#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# store_kill.sh - kill -9 the store at each of its system calls, then let each of them fail, and see
# that a restart finds exactly what was acknowledged. Uses strace's fault injection.
# usage: tests/fault/store_kill.sh [build directory, build/asan]
set -euo pipefail
cd "$(dirname "$0")/../.."
prog=$PWD/${1:-build/asan}/tests/test_store_scenario
# a run has fewer calls of one kind than this; a scenario that never ends is a failure
readonly MAX=400
export ASAN_OPTIONS=detect_leaks=0 # the leak checker cannot work under ptrace
tmp=$(mktemp -d /tmp/wm-store-kill-XXXXXX)
trap 'rm -rf "$tmp"' EXIT

runs=0
# round CALL INJECTION: returns 1 when the run was not disturbed any more
round() {
	local dir=$tmp/state rc=0 vrc=0
	rm -rf "$dir"
	mkdir "$dir"
	# in braces: the shell's own word about a killed child goes to the file as well
	{
		strace -f -qq -o "$tmp/trace" -e "trace=$1" -e "inject=$1:$2" "$prog" run "$dir" ||
			rc=$?
	} 2>"$tmp/err"
	runs=$((runs + 1))
	grep -q INJECTED "$tmp/trace" || grep -q 'killed by SIGKILL' "$tmp/trace" || return 1
	case $rc in
	0 | 3 | 137) ;;
	*)
		echo "store_kill: $1 $2: the run ended with $rc" >&2
		cat "$tmp/err" >&2
		exit 1
		;;
	esac
	"$prog" verify "$dir" 2>"$tmp/err" || vrc=$?
	if [ "$vrc" != 0 ]; then
		echo "store_kill: $1 $2: a restart finds something else (exit $vrc)" >&2
		cat "$tmp/err" "$dir/acks" >&2
		exit 1
	fi
	return 0
}

# every CALL FAULT: each occurrence in turn
every() {
	local n
	for ((n = 1; n <= MAX; n++)); do
		round "$1" "$2:when=$n" || break
	done
	if [ "$n" -gt "$MAX" ] || { [ "$n" = 1 ] && [ "${3:-}" != optional ]; }; then
		echo "store_kill: $1 $2: $((n - 1)) disturbed runs" >&2
		exit 1
	fi
	echo "store_kill: $1 $2: $((n - 1)) points"
}

every pwrite64 signal=KILL
every fdatasync signal=KILL
every fsync signal=KILL optional
every rename signal=KILL
every unlink signal=KILL optional
every ftruncate signal=KILL optional
every pwrite64 error=ENOSPC
every pwrite64 error=EIO
every fdatasync error=EIO
echo "store_kill: $runs runs passed"
