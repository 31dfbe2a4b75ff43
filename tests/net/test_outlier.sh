#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Backends on another host that connects fail to are left out by the kernel: one that refuses at once, one
# that is silent before its check has seen it, one that fails every second connect for longer each time, never more than the policy allows; and each is a check with a reason, until it is over.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
doctor() { "$CTL" --pin-dir "$PINS-doctor" doctor 2>/dev/null | grep passive_health; }
if doctor | grep -q 'sockops refused'; then
	echo "skipped: $(doctor | sed -nE 's/.*(sockops) refused: (E[A-Z]+): .*/kernel refuses \1: \2/p')"
	exit 77
fi
unshare --net sleep 600 &
HOST=$!
host() { nsenter -t "$HOST" --net "$@"; }
until_ok 10 is_apart $HOST
ip link add wmnear type veth peer name wmfar
ip link set wmfar netns "$HOST"
ip addr add 10.79.1.1/24 dev wmnear
ip link set wmnear up
host sh -c 'ip link set lo up; ip link set wmfar up
	for n in 2 3 4 5; do ip addr add 10.79.1.$n/24 dev wmfar; done'
server() { # address: listens there until its process, SERVER, is killed
	(exec nsenter -t "$HOST" --net /usr/bin/python3 -c '
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], 80))
s.listen(4096)
while True:
    s.accept()[0].close()' "$1" 2>/dev/null) &
	SERVER=$!
	until_ok 10 host sh -c "ss -Hltn src $1:80 | grep -q ." || fail "no server on $1"
}
far() { # id, name, address, [more JSON]: on another host, whose listeners this node does not see
	register "$1" "$2" "$3" 80 "\"Meta\": {\"listener_notice\": \"false\"}${4:+, $4}"
}
dialers() { inside /usr/bin/python3 tests/net/dialers.py "$@"; }
checks_of() { api "$API/v1/health/checks/$1" | jq -r ".[] | select(.CheckID == \"waymark:passive:$2\") | .$3"; }
is_out() { [ "$(checks_of "$1" "$2" Status)" = critical ]; }
passing() { api "$API/v1/health/service/$1?passing" | jq -r '[.[].Service.ID] | sort | join(" ")'; }
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1" '$1 == m {print $2}'; }
logged() { grep -cE "$1" "$TMP/agent.log"; }
policy() { # service, JSON
	check "policy of $1" 200 "$(code -X PUT "$API/v1/waymark/policies/$1" -d "$2")"
}
start_agent

# --- a process on another host dies: the host refuses
server 10.79.1.2
DIES=$SERVER
server 10.79.1.3
policy dies '{"outlier": {"base": "600s", "longest": "600s"}}' # so long an agent's start does not take
far d1 dies 10.79.1.2 >/dev/null
far d2 dies 10.79.1.3 >/dev/null
curl -sN "$API/v1/waymark/events" >"$TMP/events" &
dialing "$(vip4 dies)" 4
kill -9 "$DIES"
until_ok 10 is_out dies d1 || fail "d1 is left out"
dialled
echo "made $MADE, failed $FAILED_, of one client at most $MOST"
[ "$MADE" -gt 100 ] && [ "$MOST" -le 1 ] || fail "a client failed $MOST times of $MADE in all, at most once"
matches "the check says why" "were refused: it is left out for [0-9]+ s" "$(checks_of dies d1 Output)"
check "of its instance" d1 "$(checks_of dies d1 ServiceID)"
check "health leaves it out" d2 "$(passing dies)"
check "and lists it" 2 "$(api "$API/v1/health/service/dies" | jq length)"
check "among what is critical" 1 "$(api "$API/v1/health/state/critical" | jq '[.[] | select(.CheckID == "waymark:passive:d1")] | length')"
check "the agent's checks have it" critical "$(api "$API/v1/agent/checks" | jq -r '."waymark:passive:d1".Status')"
check "DNS leaves it out" 10.79.1.3 "$(ask dies.service.mesh.internal)"
check "in userspace as well" "1 1 80 d2.addr" "$(ask dies.service.mesh.internal SRV | sed -E 's/[0-9a-f]+\.addr.*/d2.addr/')"
check "logged" 1 "$(logged 'outlier.ejected svc=dies id=d1 .*reason=refused s=600 times=1')"
check "counted by the kernel" 1 "$(metric ejections_total)"
check "counted" 1 "$(metric outlier_active)"
check "in the table of sets" 1 "$(bpftool -j map dump pinned "$PINS/maps/set_live" | jq '[.[].formatted.value.ejected] | add')"
made_of() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_connect_seconds_$1" '$1 == m {print $2}'; }
check "how quickly connects were made is a histogram" "$(made_of 'count{service="dies"}')" "$(made_of 'bucket{service="dies",le="+Inf"}')"
[ "$(made_of 'count{service="dies"}')" -ge "$MADE" ] || fail "of $(made_of 'count{service="dies"}') connects, $MADE were made"
until_ok 10 grep -q '"id":"waymark:passive:d1","status":"critical"' "$TMP/events" || fail "an event tells of it: $(cat "$TMP/events")"

# The agent is killed: who is out stays it, and the next agent says so.
stop_agent KILL
start_agent
until_ok 10 is_out dies d1 || fail "d1 is left out for the next agent, too"

# A subset has one instance, and would leave out nobody: where its service has, it is asked all the same.
policy whole '{"subsets": {"one": {"filter": "Service.ID == p1"}}, "outlier": {"base": "600s", "longest": "600s"}}'
far p1 whole 10.79.1.2 >/dev/null
far p2 whole 10.79.1.3 >/dev/null
dialers "$(vip4 whole)" 80 2 0.5 >/dev/null
until_ok 10 is_out whole p1 || fail "p1 is left out"
server 10.79.1.2
dialers "$(ask one.whole.virtual.mesh.internal)" 80 2 0.5 >"$TMP/dials"
read -r MADE FAILED_ MOST _ <"$TMP/dials"
[ "$MADE" -gt 5 ] && [ "$FAILED_" = 0 ] || fail "the subset is asked: $MADE made, $FAILED_ failed"
check "DNS names it for the subset" 10.79.1.2 "$(ask one.whole.service.mesh.internal)"
check "but not for the service" 10.79.1.3 "$(ask whole.service.mesh.internal)"
matches "explain connect says so" "left out" "$(operator "http://x/v1/waymark/explain/connect?name=one.whole&port=80" | jq -r '.steps[] | select(.step == "outcome").text')"
kill -9 "$SERVER"

check "a policy that switches it off is accepted" 200 "$(code -X PUT "$API/v1/waymark/policies/off" \
	-d '{"outlier": {"refused": 0, "failures": 0}}')"
far o1 off 10.79.1.2 >/dev/null
far o2 off 10.79.1.3 >/dev/null
dialers "$(vip4 off)" 80 2 0.5 >"$TMP/dials"
read -r MADE FAILED_ MOST _ <"$TMP/dials"
[ "$FAILED_" -gt 5 ] || fail "switched off, half of $MADE + $FAILED_ fail"
check "nobody of it is out" "o1 o2" "$(passing off)"

# --- a host is silent: its packets are dropped, and checks run every ten seconds
server 10.79.1.4
policy silent '{"outlier": {"base": "600s", "longest": "600s"}}'
far s1 silent 10.79.1.4 '"Check": {"TCP": "10.79.1.4:80", "Interval": "300s", "Timeout": "290s", "Status": "passing"}' >/dev/null
far s2 silent 10.79.1.3 >/dev/null
is_passing() { [ "$(api "$API/v1/agent/checks" | jq -r '."service:s1".Status')" = passing ]; }
until_ok 15 is_passing || fail "the check of s1 passes"
dialing "$(vip4 silent)" 16
host nft 'add table ip t; add chain ip t i { type filter hook input priority 0; }; add rule ip t i ip daddr 10.79.1.4 drop'
SINCE=$(date +%s%3N)
until_ok 15 is_out silent s1 || fail "s1 is left out"
is_passing || fail "the check had seen it already"
echo "left out after $(($(date -d "$(sed -nE 's/^([^ ]+) .*outlier.ejected svc=silent .*/\1/p' "$TMP/agent.log")" +%s%3N) - SINCE)) ms"
matches "not answered" "were not answered" "$(checks_of silent s1 Output)"
dialled
BEFORE=$(metric connect_failed_total)
dialers "$(vip4 silent)" 80 4 1 >"$TMP/dials"
read -r MADE FAILED_ MOST _ <"$TMP/dials"
check "afterwards new connects go elsewhere" "0 0" "$FAILED_ $(($(metric connect_failed_total) - BEFORE))"
host nft flush ruleset

# --- one fails every second connect: it is back after its time, and out for longer
server 10.79.1.5
policy flaps '{"outlier": {"base": "1s", "longest": "3s"}}'
far f1 flaps 10.79.1.5 >/dev/null
far f2 flaps 10.79.1.3 >/dev/null
host nft 'add table ip t; add chain ip t i { type filter hook input priority 0; }
	add rule ip t i ip daddr 10.79.1.5 tcp flags syn numgen inc mod 2 0 reject with tcp reset'
thrice() {
	dialers "$(vip4 flaps)" 80 2 1 >"$TMP/dials"
	[ "$(logged 'outlier.ejected svc=flaps id=f1 .*s=3 times=3')" = 1 ]
}
until_ok 20 thrice
for t in "s=1 times=1" "s=2 times=2" "s=3 times=3"; do
	check "out with $t" 1 "$(logged "outlier.ejected svc=flaps id=f1 .*$t")"
done
[ "$(logged 'outlier.returned svc=flaps id=f1')" -ge 2 ] || fail "back in between"
host nft flush ruleset

# --- all fail: no more are out than may be; with a threshold all are asked
host nft 'add table ip t; add chain ip t i { type filter hook input priority 0; }; add rule ip t i tcp dport 80 reject with tcp reset'
policy all '{"outlier": {"base": "600s", "longest": "600s", "most_percent": 50}}'
for n in 2 3 4 5; do
	far a$n all 10.79.1.$n >/dev/null
done
BEFORE=$(metric ejections_total)
dialers "$(vip4 all)" 80 2 0.5 >"$TMP/dials"
check "two of four are out" 2 $(($(metric ejections_total) - BEFORE))
check "health has the others" 2 "$(passing all | wc -w)"
[ "$(metric eject_spared_total)" -gt 0 ] || fail "what was not done is counted"
picks() { # of those that are out
	bpftool -j map dump pinned "$PINS/maps/backend_live" | jq '[.[].formatted.value | select(.ejected_until_ns > 0 and .ejections > 0) | .picks] | add'
}
WERE=$(picks)
dialers "$(vip4 all)" 80 2 0.3 >"$TMP/dials"
check "who is out is not asked" "$WERE" "$(picks)"
policy all '{"outlier": {"base": "600s", "longest": "600s", "most_percent": 50}, "panic_threshold": 60}'
dialers "$(vip4 all)" 80 2 0.3 >"$TMP/dials"
[ "$(picks)" -gt "$WERE" ] || fail "below the threshold all are asked"
kill "$HOST"

# --- nobody listens yet on this node: somebody who comes ends it, whatever time is left
ip addr add 10.79.2.1/32 dev lo
policy late '{"outlier": {"base": "600s", "longest": "600s"}}'
register l1 late 10.79.2.1 81 >/dev/null
register l2 late 10.79.2.1 82 >/dev/null
/usr/bin/python3 -m http.server -b 10.79.2.1 82 >/dev/null 2>&1 &
until_ok 10 sh -c 'ss -Hltn src 10.79.2.1:82 | grep -q .' || fail "no server of l2"
dialers "$(vip4 late)" 80 2 0.3 >"$TMP/dials"
until_ok 10 is_out late l1 || fail "l1 is left out"
/usr/bin/python3 -m http.server -b 10.79.2.1 81 >/dev/null 2>&1 &
is_back() { [ "$(passing late)" = "l1 l2" ]; }
until_ok 20 is_back || fail "l1 is back"

# --- two backends of one instance, its port and an endpoint's: it is out as long as one of them is
ends() { policy ends "{\"ports\": {\"9090\": \"metrics\"}, \"outlier\": {\"base\": \"$1\", \"longest\": \"600s\"}}"; }
returned() { logged 'outlier.returned svc=ends id=e1'; }
has_returned() { [ "$(returned)" -ge "$1" ]; }
out_of() { # with its port, with its endpoint
	dialers "$(vip4 ends)" 80 2 0.3 >"$TMP/dials"
	dialers "$(vip4 ends)" 9090 2 0.3 >"$TMP/dials"
}
ends 600s
register e1 ends 10.79.2.1 83 '"Meta": {"endpoints.metrics": "http:84"}' >/dev/null
register e2 ends 10.79.2.1 82 '"Meta": {"endpoints.metrics": "http:82"}' >/dev/null
out_of
until_ok 10 eval '[ "$(logged "outlier.ejected svc=ends id=e1")" = 2 ]' || fail "both backends of e1 are left out"
/usr/bin/python3 -m http.server -b 10.79.2.1 83 >/dev/null 2>&1 &
LISTENS=$!
until_ok 20 has_returned 1 || fail "e1 is back at its port"
check "and out at its endpoint" "critical e2" "$(checks_of ends e1 Status) $(passing ends)"
api -X PUT "$API/v1/agent/service/deregister/e1" >/dev/null
kill "$LISTENS"
ends 1s
register e3 ends 10.79.2.1 85 '"Meta": {"endpoints.metrics": "http:86"}' >/dev/null
out_of
all_returned() { [ "$(logged 'outlier.returned svc=ends id=e3')" = "$(logged 'outlier.ejected svc=ends id=e3')" ]; }
until_ok 20 all_returned || fail "both are back after their time"
[ "$(logged 'outlier.ejected svc=ends id=e3')" -ge 2 ] || fail "both backends of e3 were left out"
check "and so is the instance" "e2 e3" "$(passing ends)"

# --- switched off, and refused by the kernel
stop_agent
start_agent --set kernel.passive_health=false
check "not attached" 0 "$(api "$API/v1/waymark/status" | jq '[.plane.hooks[] | select(.name == "syn_again" or .name == "tcp_outcome")] | length')"
matches "peak_ewma knows open connections only" 'peak_ewma goes by open connections' \
	"$(api -X PUT "$API/v1/waymark/policies/other" -d '{"balance": "peak_ewma"}')"
check "and the plane is whole" on "$(api "$API/v1/waymark/status" | jq -r .plane.state)"
stop_agent
if [ -e build/release/tests/refuse_bpf.so ]; then
	refusing "syn_again tcp_outcome" start_agent
	check "refused, it is less and not wrong" on "$(api "$API/v1/waymark/status" | jq -r .plane.state)"
	matches "and named" 'plane.hook name=tcp_outcome .*err=EPERM' "$(cat "$TMP/agent.log")"
fi
done_testing
