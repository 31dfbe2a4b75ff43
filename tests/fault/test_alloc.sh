#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Allocations that fail: each of the start, then each of every scenario of alloc.py. Nothing crashes, leaks
# or is left half done, and the store of an agent that went through all of it opens again.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"

START_MOST=4000 # allocations of a start that are tried
export WM_FAIL_ALLOC=$TMP/control
options=(--set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" --set "kernel.cgroup=$CG" --set "http.socket=$TMP/http.sock"
	--set node.name=n1 --set kernel.services_max=64 --set kernel.backends_max=256 --set kernel.dns=false)
arm() { /usr/bin/python3 -c 'import struct, sys; open(sys.argv[1], "wb").write(struct.pack("=qQQ", int(sys.argv[2]), 0, 0))' "$WM_FAIL_ALLOC" "$1"; }
seen() { /usr/bin/python3 -c 'import struct, sys; print(struct.unpack("=qQQ", open(sys.argv[1], "rb").read())[1])' "$WM_FAIL_ALLOC"; }
up() { curl -s --max-time 5 --unix-socket "$TMP/http.sock" -o /dev/null http://localhost/v1/agent/self; }
start() { # @return 0: it serves; 1: it ended, as it should without memory
	"$B/tests/waymarkd-alloc" "${options[@]}" 2>>"$TMP/agent.log" &
	AGENT=$!
	for _ in $(seq 600); do
		up && return 0
		kill -0 $AGENT 2>/dev/null || return 1
		sleep 0.05
	done
	fail "it neither serves nor ends"
	exit 1
}

arm 0
start || fail "it does not start: $(tail -3 "$TMP/agent.log")"
all=$(seen)
/usr/bin/python3 tests/fault/alloc.py "$WM_FAIL_ALLOC" "$TMP/http.sock" || fail "a scenario"
stop_agent
start || fail "the store of an agent without memory does not open: $(tail -3 "$TMP/agent.log")"
stop_agent
echo "ok: it opens again"

# The start: every one of the first hundred, then ever fewer, for each takes a start.
n=1 tried=0
while [ $n -le "$all" ] && [ $n -le $START_MOST ]; do
	arm $n
	if start; then
		stop_agent
	else
		wait $AGENT 2>/dev/null
		status=$?
		AGENT=''
		[ $status = 1 ] || [ $status = 2 ] || fail "start without allocation $n: exit status $status"
	fi
	tried=$((tried + 1))
	n=$((n + 1 + n / 12))
done
check "no sanitizer had anything to say" 0 "$(grep -cE 'ERROR: (Address|Leak)Sanitizer|runtime error' "$TMP/agent.log")"
grep -m 3 -A 12 -E 'ERROR: (Address|Leak)Sanitizer|runtime error' "$TMP/agent.log"
arm 0
start || fail "it starts again"
echo "ok: $tried starts, of $all allocations"
done_testing
