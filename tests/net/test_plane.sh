#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The data plane is not whole, switched off, or taken away while the agent runs: virtual names still lead
# somewhere, the status says what is missing, and what was lost comes back.
# alone: what a run without its cgroup leaves on tracepoints is taken away by whichever agent starts first
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

plane() { api $API/v1/waymark/status | jq -r ".plane$1"; }
state() { plane .state; }
refused() { # options of waymarkd: prints exit status and what it says
	timeout 60 "$B/waymarkd" --set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" --set "kernel.cgroup=$CG" \
		--set "http.socket=$TMP/http.sock" --set node.name=n1 "$@" >"$TMP/refused" 2>&1
	echo "exit $?"
	cat "$TMP/refused"
}
hook() { plane ".hooks[] | select(.name == \"$1\" and .where == \"$2\") | .$3"; }
fresh() {
	stop_agent
	"$CTL" --pin-dir "$PINS" detach >/dev/null
	: >"$TMP/agent.log"
}

# --- whole
start_agent
backend web-1 127.1.0.1 8081
register a web 127.1.0.1 8081 >/dev/null
V4=$(vip4 web)
check "whole: the state" on "$(state)"
check "whole: no reasons" 0 "$(plane '.reasons | length')"
check "whole: the virtual name" "$V4" "$(ask web.virtual.mesh.internal)"
fresh

# --- none: names lead to endpoints, required refuses
start_agent --set kernel.memory_max=100000
check "none: the state" degraded "$(state)"
matches "none: the reason" 'memory_max is 100000' "$(plane '.reasons[0]')"
check "none: the virtual name leads to the endpoint" 127.1.0.1 "$(ask web.virtual.mesh.internal)"
check "none: SRV of the virtual name as of the service" 1 "$(ask web.virtual.mesh.internal SRV | wc -l)"
check "none: an unknown one" NXDOMAIN "$(status_of none.virtual.mesh.internal)"
matches "none: the log" 'event=agent.ready .*plane=degraded' "$(cat "$TMP/agent.log")"
fresh
matches "none: required" 'exit 1' "$(refused --set kernel.memory_max=100000 --set kernel.required=true)"
matches "none: required says why" 'kernel.required .*memory_max is 100000' "$(cat "$TMP/refused")"

# --- a part: the kernel answers DNS, and steers nothing
start_agent --set "kernel.cgroup=$TMP"
check "a wrong cgroup: the state" degraded "$(state)"
matches "a wrong cgroup: one reason for nine hooks" "^sock_release, getpeername4, .*connect6 at $TMP: not a directory of a cgroup2" \
	"$(plane '.reasons[]')"
before=$(counter dns_answered)
check "a wrong cgroup: the virtual name leads to the endpoint" 127.1.0.1 "$(ask web.virtual.mesh.internal)"
check "a wrong cgroup: which the kernel answered" 1 $(($(counter dns_answered) - before))
stop_agent
matches "a wrong cgroup: required" 'exit 1' "$(refused --set "kernel.cgroup=$TMP" --set kernel.required=true)"
matches "a wrong cgroup: required says why" 'kernel.required .*cgroup2' "$(cat "$TMP/refused")"
# the same pins with the right one
start_agent --set kernel.required=true
check "the right cgroup: the state" on "$(state)"
check "the right cgroup: the virtual name" "$V4" "$(ask web.virtual.mesh.internal)"
fresh
start_agent --set kernel.connect=false
check "connect() is not wanted: the virtual name leads to the endpoint" 127.1.0.1 "$(ask web.virtual.mesh.internal)"
check "connect() is not wanted: which is no fault" on "$(state)"
fresh
start_agent --set kernel.enabled=false --set kernel.required=true
check "switched off: the state" off "$(state)"
matches "switched off: the reason" 'kernel.enabled is false' "$(plane '.reasons[0]')"
check "switched off: the virtual name leads to the endpoint" 127.1.0.1 "$(ask web.virtual.mesh.internal)"
fresh

# --- the pins are another agent's: this one serves from userspace, and touches nothing
start_agent
"$B/waymarkd" --set "node.data_dir=$TMP/data2" --set "kernel.pin_dir=$PINS" --set "kernel.cgroup=$CG" --set http.port=8501 \
	--set dns.port=8601 --set "http.socket=$TMP/second.sock" --set node.name=n2 2>>"$TMP/second.log" &
SECOND=$!
second() { api http://127.0.0.1:8501/v1/waymark/status | jq -r ".plane.$1"; }
until_ok 30 second state || fail "the second agent answers"
check "pins in use: the state" degraded "$(second state)"
matches "pins in use: the reason" "in use by another running agent" "$(second 'reasons[0]')"
code -X PUT http://127.0.0.1:8501/v1/agent/service/register -d '{"Name": "web", "Address": "127.1.0.1", "Port": 8081}' >/dev/null
check "pins in use: the virtual name leads to the endpoint" 127.1.0.1 \
	"$(dig +short +tries=1 +time=15 @127.0.0.1 -p 8601 web.virtual.mesh.internal)"
kill -TERM "$SECOND"
wait "$SECOND"
check "pins in use: the first one's are untouched" on "$(state)"
check "pins in use: and steer" web-1 "$(inside curl -s --max-time 20 "http://$V4/")"
fresh

# --- switched off after a run with it: off means detached
start_agent
stop_agent KILL
check "a dead agent's programs answer" "$V4" "$(ask web.virtual.mesh.internal)"
start_agent --set kernel.enabled=false
matches "off: told" "event=plane.switched_off pins=$PINS removed=[0-9]+" "$(cat "$TMP/agent.log")"
check "off: nothing is pinned" no "$([ -e "$PINS" ] && echo yes || echo no)"
check "off: nothing steers" 000 "$(inside curl -s --max-time 1 -o /dev/null -w '%{http_code}' "http://$V4/")"
check "off: the virtual name leads to the endpoint" 127.1.0.1 "$(ask web.virtual.mesh.internal)"
fresh
# none, not by choice: the same
start_agent
stop_agent KILL
start_agent --set kernel.memory_max=100000
check "none: an earlier run's programs are gone" no "$([ -e "$PINS" ] && echo yes || echo no)"
check "none: and the virtual name leads to the endpoint" 127.1.0.1 "$(ask web.virtual.mesh.internal)"
fresh

# --- another pin directory: what the agent before left is taken over, what a running one has is refused
start_agent
old=$(hook connect4 "$CG" link_id)
stop_agent KILL
start_agent --set "kernel.pin_dir=$PINS-2"
matches "other pins: told" "event=plane.taken_over name=connect4 where=$CG pins=$PINS link=$old" "$(cat "$TMP/agent.log")"
check "other pins: the old ones are gone" no "$([ -e "$PINS" ] && echo yes || echo no)"
check "other pins: the state" on "$(state)"
check "other pins: connect() works" web-1 "$(inside curl -s --max-time 20 "http://$V4/")"
matches "other pins: a second agent is refused" 'exit 1' "$(refused --set kernel.required=true --set dns.port=8601 --set http.port=8501 \
	--set "node.data_dir=$TMP/data2" --set "http.socket=$TMP/second.sock")"
matches "other pins: and told whose they are" "another running agent steers $CG, with pins in $PINS-2" "$(cat "$TMP/refused")"
check "other pins: the first goes on" web-1 "$(inside curl -s --max-time 20 "http://$V4/")"
# and where its cgroup went before it did, which leaves programs of tracepoints alone
stop_agent
mkdir "$CG/gone"
start_agent --set "kernel.cgroup=$CG/gone" --set kernel.dns=false --set kernel.listener_notice=false
stop_agent KILL
rmdir "$CG/gone"
start_agent --set "kernel.pin_dir=$PINS-2"
matches "a cgroup that is gone: told" "event=plane.taken_over name=(sock_state|syn_again) where=kernel pins=$PINS link=" \
	"$(cat "$TMP/agent.log")"
check "a cgroup that is gone: nothing is left" no "$([ -e "$PINS" ] && echo yes || echo no)"
# what is left on another cgroup, for other addresses, is not in the way of another agent
stop_agent KILL
mkdir "$CG/other"
"$B/waymarkd" --set "node.data_dir=$TMP/data2" --set "kernel.pin_dir=$PINS-3" --set "kernel.cgroup=$CG/other" \
	--set http.port=8501 --set dns.port=8601 --set "http.socket=$TMP/second.sock" --set node.name=n2 2>>"$TMP/second.log" &
SECOND=$!
second_up() { [ "$(code http://127.0.0.1:8501/v1/agent/self)" = 200 ]; }
until_ok 30 second_up || fail "the second agent answers"
check "another cgroup and port: no conflict with what is left" on "$(api http://127.0.0.1:8501/v1/waymark/status | jq -r .plane.state)"
check "another cgroup and port: the first one's pins stay" yes "$([ -e "$PINS-2/links/connect4" ] && echo yes || echo no)"
kill -TERM "$SECOND"
wait "$SECOND"
"$CTL" --pin-dir "$PINS-3" detach >/dev/null
"$CTL" --pin-dir "$PINS-2" detach >/dev/null
rmdir "$CG/other"
: >"$TMP/agent.log"

# --- taken away while the agent runs
start_agent
said=$("$CTL" --pin-dir "$PINS" detach 2>&1)
check "detach beside an agent is refused" 1 $?
matches "and says so" 'a running agent holds these pins.*--force' "$said"
check "nothing was touched" on "$(state)"
old=$(hook connect4 "$CG" link_id)
bpftool link detach id "$old"
lost() { grep -q "event=plane.hook_lost name=connect4 where=$CG link=$old" "$TMP/agent.log"; }
until_ok 20 lost || fail "a lost link is told"
again() { sed -n "/event=plane.hook_lost name=connect4/,\$p" "$TMP/agent.log" | grep -q "event=plane.hook name=connect4 where=$CG how=link"; }
until_ok 20 again || fail "it is attached again"
check "it is counted" 1 "$(api "$API/v1/agent/metrics?format=prometheus" | sed -n 's/^waymark_plane_hooks_lost[a-z_]* \([0-9]\)/\1/p')"
check "as another link" no "$([ "$old" = "$(hook connect4 "$CG" link_id)" ] && echo yes || echo no)"
check "connect() works" web-1 "$(inside curl -s --max-time 20 "http://$V4/")"
routes=$(ip route show proto 119 | wc -l)
ip route flush proto 119
routed() { [ "$(ip route show proto 119 | wc -l)" = "$routes" ]; }
until_ok 20 routed || fail "routes that somebody flushed come back"
"$CTL" --pin-dir "$PINS" detach --force >/dev/null || fail "detach --force"
back() { [ "$(inside curl -s --max-time 1 "http://$V4/")" = web-1 ] && [ -e "$PINS/maps/sets" ]; }
until_ok 20 back || fail "an agent that runs attaches again"
check "DNS in the kernel is back, from the same tables" "$V4" "$(
	kill -STOP "$AGENT"
	ask web.virtual.mesh.internal
	kill -CONT "$AGENT"
)"
check "all is well" on "$(state)"
stop_agent
"$CTL" --pin-dir "$PINS" detach >/dev/null || fail "detach without an agent"

# --- devices that come and go
start_agent --set 'kernel.veth_devices=wmv*,wmexact'
check "a device that is not there is no fault" on "$(state)"
on_device() { [ "$(hook dns_veth "$1" attached)" = true ]; }
for round in 1 2; do
	ip link add wmv0 type veth peer name wmp0
	until_ok 20 on_device wmv0 || fail "round $round: a device that matches is attached to"
	until_ok 20 test -e "$PINS/links/dns_veth@wmv0" || fail "round $round: and pinned"
	ip link del wmv0
	gone() { [ -z "$(hook dns_veth wmv0 attached)" ] && [ ! -e "$PINS/links/dns_veth@wmv0" ]; }
	until_ok 20 gone || fail "round $round: a device that went is left"
done
ip link add wmexact type veth peer name wmp0
until_ok 20 on_device wmexact || fail "a device by its name is attached to"
ip link set wmexact name wmv7
until_ok 20 on_device wmv7 || fail "a device that is renamed is attached to"
check "devices: all is well" on "$(state)"
fresh

# --- a cgroup namespace of one's own: what is found is not the machine's root
cat >"$TMP/private.sh" <<'END'
echo $$ >"$1/cgroup.procs"
shift
exec unshare --cgroup --mount sh -c '
	umount -l "$0" && mount -t cgroup2 none "$0" && exec "$@"' "$@"
END
sh "$TMP/private.sh" "$CG" "$CGROOT" "$B/waymarkd" --set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" \
	--set "http.socket=$TMP/http.sock" --set node.name=n1 2>>"$TMP/agent.log" &
AGENT=$!
until_ok 60 agent_up || fail "an agent in a cgroup namespace answers"
check "a private cgroup namespace: the state" degraded "$(state)"
matches "a private cgroup namespace: the reason" "$CGROOT is the root of a private cgroup namespace" "$(plane '.reasons[]')"
check "a private cgroup namespace: what is in it is steered" web-1 "$(inside curl -s --max-time 20 "http://$V4/")"
fresh
done_testing
