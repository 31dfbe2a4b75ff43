#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A server of this node dies, and no check is there to tell: the kernel sees that nobody listens any more,
# takes the backend down and says so; who listens again brings it back; a reload that opens the new socket
# before it closes the old one is no death; a kernel that refuses the tracepoint, and a setting, leave
# everything as it was.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
doctor() { "$CTL" --pin-dir "$PINS-doctor" doctor 2>/dev/null | grep listener_notice; }
if ! doctor | grep -q 'listener_notice *ok'; then
	echo "skipped: $(doctor | sed -nE 's/.*(tp_btf[^ ]*) refused: (E[A-Z]+): .*/kernel refuses \1: \2/p')"
	exit 77
fi
server() { # address, port: accepts for ever, several may share an address; its pid is SERVER
	/usr/bin/python3 -c '
import socket, sys
six = ":" in sys.argv[1]
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
s.listen(4096)
while True:
    s.accept()[0].close()
' "$1" "$2" 2>/dev/null &
	SERVER=$!
	until_ok 10 listens "$SERVER" || fail "no server on $1:$2"
}
listens() { ss -Hltnp | grep -q "pid=$1,"; }
kill_server() { # pid
	kill -9 "$1"
	wait "$1" 2>/dev/null
}
check_of() { api "$API/v1/agent/checks" | jq -r ".\"waymark:listener:$1\".$2"; }
is_status() { [ "$(check_of "$1" Status)" = "$2" ]; }
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1" '$1 == m {print $2}'; }
load() { # VIP, seconds, [port]: connects one after the other, 1,500 at least
	inside /usr/bin/python3 -c '
import socket, sys, time
refused = done = 0
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end or done + refused < 1500:
    s = socket.socket()
    try:
        s.connect((sys.argv[1], int(sys.argv[3])))
        done += 1
    except ConnectionRefusedError:
        refused += 1
    s.close()
print(done, refused)' "$1" "$2" "${3:-80}" >"$TMP/load"
}

ip addr add 10.78.0.1/32 dev lo
ip addr add 10.78.0.2/32 dev lo
start_agent
server 10.78.0.1 7001
A=$SERVER
server 10.78.0.2 7001
OTHER=$SERVER
check "register a" 200 "$(register a web 10.78.0.1 7001)"
check "register b" 200 "$(register b web 10.78.0.2 7001)"
check "both are watched" 2 "$(metric listener_watched)"

# One of two is killed under load, without a check: what is refused was on its way.
curl -sN "$API/v1/waymark/events?service=web" >"$TMP/events" &
EVENTS=$!
fell() { grep -q '^data: .*"instance":"a",.*"status":"critical","state":"unhealthy"' "$TMP/events"; }
told() { grep -q "^data: .*\"check\":{\"id\":\"waymark:listener:$1\",\"status\":\"$2\"}" "$TMP/events"; } # instance, status
load "$(vip4 web)" 4 &
LOAD=$!
sleep 1
kill_server "$A"
wait $LOAD
read -r DONE REFUSED <"$TMP/load"
echo "connects $DONE, refused $REFUSED"
[ "$DONE" -gt 1000 ] && [ "$REFUSED" -le 5 ] || fail "a dead server of two: $REFUSED of $DONE refused, at most 5"
until_ok 10 is_status a critical || fail "the check of a is critical, not $(check_of a Status)"
matches "the check says why" "Nobody listens" "$(check_of a Output)"
check "it is of its instance" a "$(check_of a ServiceID)"
check "health has it" 1 "$(api "$API/v1/health/service/web?passing" | jq length)"
check "counted" 1 "$(metric listener_gone_total)"
matches "logged" 'listener.gone id=a ' "$(cat "$TMP/agent.log")"
until_ok 10 fell || fail "no event tells of it: $(cat "$TMP/events")"

# Registered again, which does away with checks: nobody listens all the same.
check "register a again" 200 "$(code -X PUT "$API/v1/agent/service/register?replace-existing-checks" \
	-d '{"ID": "a", "Name": "web", "Address": "10.78.0.1", "Port": 7001}')"
until_ok 10 is_status a critical || fail "the check of a comes back, not $(check_of a Status)"

# Somebody listens again, on all addresses.
server 0.0.0.0 7001
WILD=$SERVER
until_ok 10 is_status a passing || fail "the check of a passes, not $(check_of a Status)"
until_ok 10 told a passing || fail "no event tells of its return: $(cat "$TMP/events")"
check "both are back" 2 "$(api "$API/v1/health/service/web?passing" | jq length)"

# b has its own listener and that of all addresses: only with the last of them it is gone.
kill_server "$OTHER"
check "b has another listener" 2 "$(api "$API/v1/health/service/web?passing" | jq length)"
check "no notice of b" null "$(check_of b Status)"

# A reload: the new socket is there before the old one goes.
for _ in 1 2 3 4 5; do
	OLD=$WILD
	server 0.0.0.0 7001
	WILD=$SERVER
	kill_server "$OLD"
done
check "a reload is no death" 1 "$(metric listener_gone_total)"
kill_server "$WILD"
until_ok 10 is_status b critical || fail "the check of b is critical"
is_status a critical || until_ok 10 is_status a critical || fail "the check of a is critical"
until_ok 10 told a critical || fail "no event tells of the second time: $(cat "$TMP/events")"
kill $EVENTS
wait $EVENTS 2>/dev/null
check "counted" 3 "$(metric listener_gone_total)"

# IPv6, and by [::].
ip addr add fd00:78::1/128 dev lo
server fd00:78::1 7002
A=$SERVER
server :: 7002
WILD=$SERVER
register six six fd00:78::1 7002 >/dev/null
kill_server "$A"
check "[::] serves it" null "$(check_of six Status)"
kill_server "$WILD"
until_ok 10 is_status six critical || fail "the check of six is critical"

# A port that the kernel chose, which it takes back before it tells of the end.
server 10.78.0.1 0
PORT=$(ss -Hltnp | sed -n "s/.* 10.78.0.1:\([0-9]*\) .*pid=$SERVER,.*/\1/p")
register chosen chosen 10.78.0.1 "$PORT" >/dev/null
kill_server "$SERVER"
until_ok 10 is_status chosen critical || fail "the check of chosen is critical"
server 10.78.0.1 "$PORT"
until_ok 10 is_status chosen passing || fail "the check of chosen passes"

# Who does not want it, and who is not of this node.
server 10.78.0.1 7003
A=$SERVER
register off off 10.78.0.1 7003 '"Meta": {"listener_notice": "false"}' >/dev/null
register far far 10.99.0.1 7003 >/dev/null
server 0.0.0.0 7003
WILD=$SERVER
kill_server "$A"
kill_server "$WILD"
sleep 1.5
check "switched off by metadata" null "$(check_of off Status)"
check "an address elsewhere" null "$(check_of far Status)"

# A service's policy: the notice is taken back, and given again; an instance's own word stands above.
notice() { code -X PUT "$API/v1/waymark/policies/quiet" -d "{\"outlier\": {\"listener_notice\": $1}}"; }
health_of() { api "$API/v1/health/service/quiet?passing" | jq -r '[.[].Service.ID] | join(" ")'; }
is_health() { [ "$(health_of)" = "$1" ]; }
server 10.78.0.1 7005
A=$SERVER
server 10.78.0.2 7005
OTHER=$SERVER
register q1 quiet 10.78.0.1 7005 >/dev/null
register q2 quiet 10.78.0.2 7005 '"Meta": {"listener_notice": "true"}' >/dev/null
WATCHED=$(metric listener_watched)
kill_server "$A"
until_ok 10 is_status q1 critical || fail "the check of q1 is critical"
check "a policy without notices" 200 "$(notice false)"
until_ok 10 is_status q1 null || fail "the check of q1 is no more, not $(check_of q1 Status)"
until_ok 10 is_health "q1 q2" || fail "q1 is up again, not $(health_of)"
check "it is not watched" $((WATCHED - 1)) "$(metric listener_watched)"
kill_server "$OTHER"
until_ok 10 is_status q2 critical || fail "q2 says itself that it wants it"
check "no notice of q1" null "$(check_of q1 Status)"
server 10.78.0.1 7005
A=$SERVER
check "a policy with notices" 200 "$(notice true)"
kill_server "$A"
until_ok 10 is_status q1 critical || fail "q1 is watched again"

# An endpoint that a policy gives a port: it alone is down, and its instance serves on.
ports() { code -X PUT "$API/v1/waymark/policies/ends" -d "{\"ports\": {\"9090\": \"metrics\"}, \"outlier\": {\"refused\": 0, \"listener_notice\": $1}}"; }
of_end() { # instance: what its endpoint is to connect()
	operator "http://x/v1/waymark/explain/connect?name=$ENDS_OF&port=9090" |
		jq -r "[.tiers[].candidates[] | select(.id == \"$1\")][0] | .state"
}
is_end() { [ "$(of_end "$1")" = "$2" ]; }
ENDS=() ENDS_OF=ends
for i in 1 2; do
	server 10.78.0.$i 7006
	server 10.78.0.$i 7106
	ENDS+=("$SERVER")
	register e$i ends 10.78.0.$i 7006 '"Meta": {"endpoints.metrics": "http:7106"}' >/dev/null
done
WATCHED=$(metric listener_watched)
check "a policy with a port" 200 "$(ports true)"
watched() { [ "$(metric listener_watched)" = "$1" ]; }
until_ok 10 watched $((WATCHED + 2)) || fail "endpoints are watched, too: $(metric listener_watched) of $WATCHED + 2"
check "both are up" "up up" "$(of_end e1) $(of_end e2)"
load "$(vip4 ends)" 2 9090 &
LOAD=$!
sleep 0.5
kill_server "${ENDS[0]}"
wait $LOAD
read -r DONE REFUSED <"$TMP/load"
echo "connects $DONE, refused $REFUSED"
[ "$DONE" -gt 500 ] && [ "$REFUSED" -le 5 ] || fail "a dead endpoint of two: $REFUSED of $DONE refused, at most 5"
until_ok 10 grep -q 'listener.gone id=e1 endpoint=7106' "$TMP/agent.log" || fail "the log does not tell of it"
check "it is down" "down up" "$(of_end e1) $(of_end e2)"
check "no check says so" null "$(check_of e1 Status)"
check "its instance serves" "2" "$(api "$API/v1/health/service/ends?passing" | jq length)"
for on in true false; do code -X PUT "$API/v1/agent/service/maintenance/e1?enable=$on" >/dev/null; done
check "also when the instance was down and is back" "down up" "$(of_end e1) $(of_end e2)"
check "and was registered again" "200 down" "$(register e1 ends 10.78.0.1 7006 '"Meta": {"endpoints.metrics": "http:7106", "a": "b"}') $(of_end e1)"
stop_agent KILL
start_agent
check "and after a restart" "down up" "$(of_end e1) $(of_end e2)"
server 10.78.0.1 7106
until_ok 10 is_end e1 up || fail "somebody listens again: $(of_end e1)"
until_ok 10 grep -q 'listener.back id=e1 endpoint=7106' "$TMP/agent.log" || fail "the log does not tell of its return"
kill_server "$SERVER"
until_ok 10 is_end e1 down || fail "it is down for the second time: $(of_end e1)"
check "a policy without notices" 200 "$(ports false)"
check "it is up then" "up up" "$(of_end e1) $(of_end e2)"
check "a policy without a port" 200 "$(code -X PUT "$API/v1/waymark/policies/ends" -d '{}')"
check "then instances alone are watched" "$WATCHED" "$(metric listener_watched)"
# Another service's policy leads to them: that is seen within a second.
register front front 10.78.0.1 7006 >/dev/null
ENDS_OF=front
check "a policy that fails over to them" 200 "$(code -X PUT "$API/v1/waymark/policies/front" \
	-d '{"ports": {"9090": "metrics"}, "failover": [{"service": "ends"}], "outlier": {"refused": 0}}')"
until_ok 10 watched $((WATCHED + 3)) || fail "the front and two endpoints are watched: $(metric listener_watched) of $WATCHED + 3"
check "one is up" up "$(of_end e2)"
kill_server "${ENDS[1]}"
until_ok 10 is_end e2 down || fail "it is down: $(of_end e2)"
check "and that policy is gone" 200 "$(code -X DELETE "$API/v1/waymark/policies/front")"
until_ok 10 watched $((WATCHED + 1)) || fail "endpoints are watched: $(metric listener_watched)"

# No agent: the kernel goes on by itself, and the next agent hears of it.
server 10.78.0.1 7004
A=$SERVER
server 10.78.0.2 7004
OTHER=$SERVER
register a4 four 10.78.0.1 7004 >/dev/null
register b4 four 10.78.0.2 7004 >/dev/null
VIP=$(vip4 four)
stop_agent KILL
kill_server "$A"
load "$VIP" 1
read -r DONE REFUSED <"$TMP/load"
check "none is refused without an agent" 0 "$REFUSED"
start_agent
until_ok 10 is_status a4 critical || fail "the next agent tells of a4, not $(check_of a4 Status)"
server 10.78.0.1 7004
until_ok 10 is_status a4 passing || fail "a4 is back"
A=$SERVER

# Switched off, and refused by the kernel: as before, and said.
stop_agent
start_agent --set kernel.listener_notice=false --set kernel.passive_health=false
check "nothing is pinned" 0 "$(find "$PINS/observe" 2>/dev/null | wc -l)"
stop_agent
start_agent --set kernel.listener_notice=false
kill_server "$OTHER"
sleep 1.5
check "no notice when it is off" null "$(check_of b4 Status)"
stop_agent
if [ -e build/release/tests/refuse_bpf.so ]; then
	refusing sock_state start_agent
	matches "a refusal is logged" 'listener.off err=EPERM' "$(grep listener.off "$TMP/agent.log")"
	check "and connect() is steered" on "$(api "$API/v1/waymark/status" | jq -r .plane.state)"
fi
done_testing
