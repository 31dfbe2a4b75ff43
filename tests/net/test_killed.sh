#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The agent is killed at calls to the kernel by which it publishes: while services come, change and go, and while
# it starts with tables of another size. Nobody who dials fails for it meanwhile, and the next run finds or makes
# tables that agree with what is registered.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
if ! strace -qq -e trace=none true 2>/dev/null; then
	echo "skipped: strace cannot trace here"
	exit 77
fi
export ASAN_OPTIONS=detect_leaks=0 # the leak checker cannot work under ptrace

start() { start_agent --set kernel.truth_interval=0 "$@"; }
truth() { "$CTL" --agent "$API" --json truth; }
whole() { # text
	local report
	report=$(truth)
	check "$1: truth" "0 true" "$? $(jq .agree <<<"$report")"
	jq -r '.differences[].text, .unseen[]' <<<"$report"
}
dialled() { # text: nobody else's instance, and somebody
	local got
	got=$(for _ in 1 2 3 4; do inside curl -s --max-time 20 "http://$V4/"; done | sort -u | xargs)
	matches "$1: who answers" '^(one|two|one two)$' "$got"
}
gone() { ! kill -0 "$AGENT" 2>/dev/null || grep -q '^State:.Z' "/proc/$AGENT/status"; }
start
backend one 127.0.0.2 8080
backend two 127.0.0.3 8080
register one web 127.0.0.2 8080 >/dev/null
register two web 127.0.0.3 8080 >/dev/null
V4=$(vip4 web)
whole "at first"

# --- while services come, change and go
changes() { # number of the round: what is not acknowledged may be there or not
	register "a$1" "new$1" 127.0.0.2 8080
	operator -X PUT "$API/v1/waymark/policies/web" -d "{\"subsets\": {\"s$1\": \"Service.ID == one\"}, \"ports\": {\"90$1\": \"x\"}}"
	register "b$1" "new$1" 127.0.0.3 8080
	operator -X PUT "$API/v1/waymark/policies/web" -d '{"balance": "maglev", "hash_on": "uid"}'
	code -X PUT "$API/v1/agent/service/deregister/a$1"
	operator -X DELETE "$API/v1/waymark/policies/web"
	code -X PUT "$API/v1/agent/service/deregister/b$1"
}
attached() { [ "$(awk '$1 == "TracerPid:" {print $2}' "/proc/$AGENT/status")" != 0 ]; }
round=0 killed=0
for n in 1 3 6 10 15 22; do
	round=$((round + 1))
	strace -f -qq -o /dev/null -e trace=bpf -e inject=bpf:signal=KILL:when=$n -p "$AGENT" &
	tracer=$!
	until_ok 20 attached || fail "strace does not attach"
	changes $round >/dev/null 2>&1
	if gone; then
		killed=$((killed + 1))
		wait "$AGENT" 2>/dev/null
		wait $tracer 2>/dev/null
		AGENT=''
		dialled "killed at call $n of a change, no agent"
		start
	else
		kill $tracer
		wait $tracer 2>/dev/null
	fi
	whole "killed at call $n of a change"
	dialled "killed at call $n of a change, the next run"
	changes $round >/dev/null 2>&1
	whole "what was not done is done"
done
[ $killed -ge 4 ] || fail "only $killed of $round runs were killed"

# --- while it starts with tables of another size
traced() { # backends_max, further options of strace
	strace -f -qq -o "$TMP/trace" -e trace=bpf "${@:2}" "$B/waymarkd" --set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" \
		--set "kernel.cgroup=$CG" --set "http.socket=$TMP/http.sock" --set node.name=n1 --set registry.consul_service=false \
		--set kernel.truth_interval=0 --set "kernel.backends_max=$1" 2>>"$TMP/agent.log" &
	AGENT=$!
}
stop_agent
traced 3000
until_ok 60 agent_up || fail "the agent does not answer under strace"
kill -TERM "$(pgrep -P "$AGENT" waymarkd)"
wait "$AGENT" 2>/dev/null
# of the thread that has most: each counts its own
calls=$(awk '{n[$1]++} END {for (t in n) if (n[t] > most) most = n[t]; print most + 0}' "$TMP/trace")
[ "$calls" -gt 50 ] || fail "a start has $calls calls only"
for eighth in 1 3 5 7; do
	traced $((3000 + eighth)) -e "inject=bpf:signal=KILL:when=$((calls * eighth / 8))"
	until_ok 60 gone || fail "killed at $eighth eighths of a start: it goes on"
	wait "$AGENT" 2>/dev/null
	AGENT=''
	dialled "killed at $eighth eighths of a start, no agent"
	# the settings may have been taken back meanwhile
	start --set "kernel.backends_max=$((eighth < 4 ? 3000 + eighth : 3000))"
	whole "killed at $eighth eighths of a start"
	dialled "killed at $eighth eighths of a start, the next run"
	stop_agent
done
done_testing
