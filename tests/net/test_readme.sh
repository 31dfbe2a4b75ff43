#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# README's tutorial, pasted line by line into a shell: every ```sh block behind "make run" is run as it
# stands, and what a ```text block behind it shows is what was printed. Here the agent steers the test's
# cgroup only, and has directories of the test's.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
export WAYMARK_PIN_DIR=$PINS FLAVOUR=asan
unset MAKEFLAGS

# The n-th block of a kind within "Try it"; what differs from run to run is named, so in README too.
block() { # kind, number
	awk -v kind="$1" -v n="$2" '/^## /{on = /^## Try it/} !on {next} $0 == "```" kind {inside = ++i == n; next}
		/^```/{inside = 0} inside' README.md
}
named() {
	sed -E "s,on $(hostname -s | tr 'A-Z' 'a-z'),on HOST,; s/up [0-9a-z.]+:/up TIME:/; s,$CG,CGROUP,; s,$TMP,/run/waymark,
		s/[0-9]+ KiB, [0-9]+ commits, the last took [0-9]+ us/N KiB, N commits, the last took N us/
		s/^(web-.* 0\.5 +)[0-9]+( +)[0-9]+( +-)\$/\1N N -/; /connections open\$/d" | tr -s ' '
}
check "the first block starts the agent" "make run" "$(block sh 1)"
export WAYMARK_RUN_OPTIONS="--set kernel.pin_dir=$PINS --set kernel.cgroup=$CG --set http.socket=$TMP/http.sock --set node.data_dir=$TMP/data"
(exec setsid make run) >"$TMP/run.log" 2>&1 &
RUN=$!
until_ok 120 agent_up || fail "make run: $(tail -5 "$TMP/run.log")"
AGENT_PID=$(pgrep -f -- "kernel.pin_dir=$PINS" | head -n 1)
matches "make run warns" "steers every process of this machine until" "$(cat "$TMP/run.log")"

# the blocks behind it: one shell runs them all; a mark ends the output of each
{
	for n in 2 3 4 5 6; do
		block sh $n | sed 's,build/release/,build/asan/,g'
		if [ $n = 2 ]; then # a person is slower than this test
			echo 'for a in 127.0.0.2 127.0.0.3; do until curl -s http://$a:8080/ >/dev/null; do sleep 0.1; done; done'
		fi
		[ $n = 6 ] || echo "echo '--- $n'"
		[ $n != 5 ] || echo "kill -INT $AGENT_PID; while kill -0 $AGENT_PID 2>/dev/null; do sleep 0.1; done"
	done
} >"$TMP/script"
inside bash "$TMP/script" >"$TMP/out" 2>"$TMP/err"
part() { # what block n printed
	awk -v n="$1" '/^--- /{if ($2 == n) {printf "%s", text; exit} text = ""; next} {text = text $0 "\n"}' "$TMP/out" | named
}
check "registering prints nothing" "" "$(part 3)"
diff <(block text 1 | named) <(part 4) && echo "ok: the fourth block prints what README shows" || fail "the fourth block: $(cat "$TMP/err")"
diff <(block text 2 | named) <(part 5) && echo "ok: so does the fifth" || fail "the fifth block: $(cat "$TMP/err")"
matches "detach" "removed [0-9]+ pins" "$(tail -n 1 "$TMP/out")"
wait $RUN
check "nothing is left" 0 "$(find /sys/fs/bpf -maxdepth 1 -path "$PINS" | wc -l)"
# shellcheck disable=SC2034 # lib.sh's
AGENT=''
done_testing
