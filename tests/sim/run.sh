#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Run scenarios (all of tests/sim, or those named) and print their figures beside the goals. Ends with 1
# if one is missed. Arguments: the simulator, then names of scenarios. SEED: of all chance (1).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
sim=$1 seed=${SEED:-1} bad=0
shift
[ $# -gt 0 ] || set -- lan lossy wan wan-flat stream octets replica partitions ten-thousand \
	idle killed silent wan-killed wan-silent false overloaded churn leaves
mkdir -p build/sim
printf '%-62s %-14s %12s %10s\n' scenario figure reached goal
for name in "$@"; do
	"$sim" "tests/sim/$name.sim" --seed "$seed" --plot "build/sim/$name.svg" >"build/sim/$name.json" 2>"build/sim/$name.log"
	[ $? -le 1 ] || { echo "$name: failed, see build/sim/$name.log" && bad=1 && continue; }
	jq -r '.what as $w | .figures as $f | .goals[] | [$w, .figure, ($f[.figure]|tostring), (.at_most|tostring), (if .reached then "" else "missed" end)] | @tsv' \
		"build/sim/$name.json" | while IFS=$'\t' read -r what figure value goal missed; do
		printf '%-62s %-14s %12s %10s %s\n' "$what" "$figure" "$value" "<= $goal" "$missed"
	done
	sed -n 's/^sim: \(.* of CPU.* a node\).*/  \1/p' "build/sim/$name.log"
	jq -e 'all(.goals[]; .reached)' "build/sim/$name.json" >/dev/null || bad=1
done
echo "figures and pictures: build/sim"
exit "$bad"
