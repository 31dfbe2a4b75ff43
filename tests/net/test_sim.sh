#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The simulator: the same seed gives the same octets, of figures and picture; messages come to all, also
# with losses; replicas that were cut from each other, restarted and bereft of their stores are the same
# within two seconds, and hold what their owners hold; members that die are found, and no others are;
# leaves are answered by their homes.
cd "$(dirname "$0")/../.." || exit 2
sim=${B:-build/asan}/waymark-sim
dir=$(mktemp -d) failed=0
trap 'rm -rf "$dir"' EXIT
expect() { # what, command...
	local what=$1
	shift
	if "$@" >"$dir/out" 2>&1; then echo "ok      $what"; else
		echo "FAILED  $what" && tail -5 "$dir/out" && failed=1
	fi
}
run() { # output, scenario, seed, nodes
	"$sim" "$dir/few/$2.sim" --nodes "$4" --seed "$3" --plot "$dir/$1.svg" >"$dir/$1.json"
}
differs() { ! cmp -s "$1" "$2"; }

# a thousand in `make sim`
mkdir -p "$dir/few"
(cat tests/sim/partitions.sim && echo 'schedules 20') >"$dir/few/partitions.sim"
(cat tests/sim/lossy.sim && echo 'messages 10') >"$dir/few/lossy.sim"

for scenario in lossy partitions; do
	run a "$scenario" 7 20
	run b "$scenario" 7 20
	expect "$scenario: the same figures" cmp "$dir/a.json" "$dir/b.json"
	expect "$scenario: the same picture" cmp "$dir/a.svg" "$dir/b.svg"
done
cp tests/sim/{silent,killed,false,overloaded,churn}.sim "$dir/few/"
for scenario in silent false; do
	run a "$scenario" 7 30
	run b "$scenario" 7 30
	expect "membership, $scenario: the same figures" cmp "$dir/a.json" "$dir/b.json"
done
for scenario in silent killed false overloaded churn; do
	expect "membership, $scenario" "$sim" "$dir/few/$scenario.sim" --nodes 40
done
(cat tests/sim/leaves.sim && printf 'fulls 4\nobserved 10\nservices 100\n') >"$dir/few/leaves.sim"
run a leaves 7 60
run b leaves 7 60
expect "leaves: the same figures" cmp "$dir/a.json" "$dir/b.json"
expect "leaves: idle, and a first question" "$sim" "$dir/few/leaves.sim" --nodes 60
# a death that is found too late is a goal that is missed
(cat tests/sim/silent.sim && echo 'goal found_p50_ms 100') >"$dir/few/late.sim"
expect "a goal that is missed is told" test "$("$sim" "$dir/few/late.sim" --nodes 40 >/dev/null 2>&1; echo $?)" = 1
run a lossy 1 20
run b lossy 2 20
expect "another seed, another course" differs "$dir/a.json" "$dir/b.json"
expect "a LAN" "$sim" tests/sim/lan.sim --nodes 100
expect "30 % loss" "$sim" "$dir/few/lossy.sim" --nodes 100
expect "partitions, restarts, lost stores" "$sim" "$dir/few/partitions.sim" --seed 3
echo 'nodes many' >"$dir/wrong.sim"
expect "a scenario that cannot be read is refused" test "$("$sim" "$dir/wrong.sim" >/dev/null 2>&1; echo $?)" = 2
exit "$failed"
