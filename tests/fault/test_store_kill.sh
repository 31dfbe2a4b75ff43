#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test_store_kill.sh - a fixed run of writes of every kind, killed at each system call that changes a
# file, then with each of them failing once, and three times in a row: a restart finds exactly what was
# acknowledged, and without a restart no more is refused than failed. A kill between two such calls
# leaves on disk what a kill at the later one does. Uses strace's fault injection, which counts the calls of
# each thread: so the run is made with the store on a thread of its own, and once more all in one.
set -euo pipefail
cd "$(dirname "$0")/../.."
prog=$PWD/${B:-build/asan}/tests/test_store_scenario
export ASAN_OPTIONS=detect_leaks=0 # the leak checker cannot work under ptrace
calls=pwrite64,fdatasync,fsync,ftruncate,rename,unlink,mkdir

if [ "${1:-}" = one ]; then # directory, call, injection, occurrence[..last], run or inline
	dir=$2/$3-$4-${5/../to}-$6
	mkdir "$dir"
	rc=0 vrc=0
	# in braces: the shell's own word about a killed child goes to the file as well
	{
		strace -f -qq -o "$dir.trace" -e "trace=$3" -e "inject=$3:$4:when=$5" "$prog" "$6" "$dir" || rc=$?
	} 2>"$dir.err"
	hits=$(grep -c INJECTED "$dir.trace" || true)
	complain() {
		echo "store_kill: $3 $4 when=$5: $1" >&2
		cat "$dir.err" "$dir/acks" >&2
		exit 1
	}
	[ "$hits" -gt 0 ] || grep -q 'killed by SIGKILL' "$dir.trace" || complain "nothing was injected" "" "$3" "$4" "$5"
	case $rc in
	0 | 3 | 137) ;; # came to the end, could not be opened, was killed
	*) complain "the run ended with $rc" "" "$3" "$4" "$5" ;;
	esac
	refused=$(grep -c refused "$dir/acks" 2>/dev/null || true)
	[ "${refused:-0}" -le "$hits" ] || [ $rc = 137 ] ||
		complain "$refused writes were refused after $hits errors" "" "$3" "$4" "$5"
	"$prog" verify "$dir" 2>"$dir.err" || vrc=$?
	[ $vrc = 0 ] || complain "a restart finds something else (exit $vrc)" "" "$3" "$4" "$5"
	rm -rf "$dir" "$dir".*
	exit 0
fi

tmp=$(mktemp -d /tmp/wm-store-kill-XXXXXX)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/plain"
# the most of one thread
count() { awk -v call=" $1(" 'index($0, call) && ++n[$1] > max { max = n[$1] } END { print max + 0 }' "$tmp/trace"; }
for mode in run inline; do
	mkdir "$tmp/plain-$mode"
	strace -f -qq -o "$tmp/trace" -e trace=$calls "$prog" $mode "$tmp/plain-$mode"
	for c in ${calls//,/ }; do
		for n in $(seq "$(count "$c")"); do
			echo "$c signal=KILL $n $mode"
		done
	done
	for f in pwrite64:ENOSPC pwrite64:EIO fdatasync:EIO fdatasync:ENOSPC fsync:EIO ftruncate:EIO rename:EIO; do
		c=${f%:*}
		for n in $(seq "$(count "$c")"); do
			echo "$c error=${f#*:} $n $mode"
			# every third: the next two fail as well
			[ $((n % 3)) != 0 ] || echo "$c error=${f#*:} $n..$((n + 2)) $mode"
		done
	done
done >"$tmp/jobs"
[ "$(wc -l <"$tmp/jobs")" -gt 700 ] || {
	echo "store_kill: only $(wc -l <"$tmp/jobs") points" >&2
	exit 1
}
xargs -P $(($(nproc) * 2)) -L 1 "$0" one "$tmp" <"$tmp/jobs"
echo "store_kill: $(wc -l <"$tmp/jobs") runs passed, with a thread and without; in one: $(for c in ${calls//,/ }; do printf '%s %s, ' "$(count "$c")" "$c"; done)"
