#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A server in a pod's network namespace dies, and no check is there to tell: seen as of this node's own, over
# a veth pair and behind a bridge. A namespace that uses the same address for itself is not taken for the pod.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
doctor() { "$CTL" --pin-dir "$PINS-doctor" doctor 2>/dev/null | grep listener_notice; }
if ! doctor | grep -q 'listener_notice *ok'; then
	echo "skipped: $(doctor | sed -nE 's/.*(tp_btf[^ ]*) refused: (E[A-Z]+): .*/kernel refuses \1: \2/p')"
	exit 77
fi
space() { # name of a variable that its holder's pid goes to
	unshare --net sleep 600 &
	printf -v "$1" %s $!
	until_ok 5 is_apart $!
	nsenter -t $! --net ip link set lo up
}
server() { # namespace's pid, address, port: listens there until its process, SERVER, is killed
	(exec nsenter -t "$1" --net /usr/bin/python3 -c '
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
s.listen(64)
while True:
    s.accept()[0].close()' "$2" "$3" 2>/dev/null) &
	SERVER=$!
	until_ok 10 listens "$1" "$SERVER" || fail "no server on $2:$3"
}
listens() { nsenter -t "$1" --net ss -Hltnp | grep -q "pid=$2,"; }
kill_server() { # pid
	kill -9 "$1"
	wait "$1" 2>/dev/null
}
check_of() { api "$API/v1/agent/checks" | jq -r ".\"waymark:listener:$1\".$2"; }
is_status() { [ "$(check_of "$1" Status)" = "$2" ]; }
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1" '$1 == m {print $2}'; }
watched() { [ "$(metric listener_watched)" = "$1" ]; }
counted() { # no element is still unknown
	[ "$(bpftool -j map dump id "$(map_id observe/sock_state listening)" | jq '[.[].formatted.value | select(.users[0].stamp > 0 and .word % 4294967296 > 100000)] | length')" = 0 ]
}
state_of() { # port: state words of its backends, without their stamps
	bpftool -j map dump pinned "$PINS/maps/backends" |
		jq -r --argjson p $(($1 % 256 * 256 + $1 / 256)) '[.[].formatted.value | select(.port_be == $p) | .state % 65536] | join(" ")'
}

pod_net() {
	ip link add wmhost type veth peer name wmpod
	ip link set wmpod netns "$POD"
	ip addr add 10.99.1.1/24 dev wmhost
	ip link set wmhost up
	nsenter -t "$POD" --net sh -c 'ip addr add 10.99.1.2/24 dev wmpod; ip link set wmpod up'
}
space POD
pod_net
space BRIDGED
ip link add wmbr type bridge
ip addr add 10.98.1.1/24 dev wmbr
ip link set wmbr up
ip link add wmport type veth peer name wmpod
ip link set wmpod netns "$BRIDGED"
ip link set wmport master wmbr up
nsenter -t "$BRIDGED" --net sh -c 'ip addr add 10.98.1.2/24 dev wmpod; ip link set wmpod up'
space STRANGER # which is reached as well, by another address
ip link add wmother type veth peer name wmpod
ip link set wmpod netns "$STRANGER"
ip addr add 10.97.1.1/24 dev wmother
ip link set wmother up
nsenter -t "$STRANGER" --net sh -c 'ip addr add 10.97.1.2/24 dev wmpod; ip link set wmpod up'
nsenter -t "$STRANGER" --net sh -c 'ip addr add 10.99.1.2/32 dev lo; ip addr add 10.99.1.9/32 dev lo; ip addr add 10.77.1.1/32 dev lo'

start_agent
server "$POD" 10.99.1.2 7001
A=$SERVER
server "$BRIDGED" 0.0.0.0 7002
B_=$SERVER
server "$STRANGER" 0.0.0.0 7001
S=$SERVER
register p web 10.99.1.2 7001 >/dev/null
register b bridged 10.98.1.2 7002 >/dev/null
register n nobody 10.99.1.9 7001 >/dev/null # on the pod's network, and not there
register f far 10.77.1.1 7001 >/dev/null    # not even that
until_ok 30 watched 2 || fail "two pods are watched, not $(metric listener_watched)"
until_ok 30 counted || fail "who listens in the pods is counted"
kill_server "$S"
server "$POD" 10.99.1.2 7001 # a second one, which opens and closes
kill_server "$SERVER"
sleep 1.5
check "who uses the address elsewhere is not the pod's" null "$(check_of p Status)"
check "nor anybody's" "null null" "$(check_of n Status) $(check_of f Status)"

kill_server "$A"
matches "the state word is down, whoever is heard of it" '^(258|2)$' "$(state_of 7001 | tr ' ' '\n' | sort -n | tail -n 1)" # the kernel's, or the check's by now
until_ok 10 is_status p critical || fail "the check of p is critical, not $(check_of p Status)"
matches "the check says why" "Nobody listens" "$(check_of p Output)"
kill_server "$B_"
until_ok 10 is_status b critical || fail "the check of b is critical, not $(check_of b Status)"
server "$POD" 0.0.0.0 7001
until_ok 10 is_status p passing || fail "the check of p passes, not $(check_of p Status)"

# The agent dies, and the pod's server: the next agent tells, when it has found the pod again.
stop_agent KILL
kill_server "$SERVER"
start_agent
until_ok 30 is_status p critical || fail "the next agent tells of p, not $(check_of p Status)"

# Its pod is made anew, as orchestrators do, with the same address.
gone_device() { ! ip link show wmhost; }
kill "$POD"
until_ok 10 gone_device || fail "the pod is gone"
space POD
pod_net
server "$POD" 10.99.1.2 7001
until_ok 40 is_status p passing || fail "the check of p passes in a new pod, not $(check_of p Status)"

# An endpoint of its that a policy leads to: it alone is down.
server "$POD" 10.99.1.2 7101
register p web 10.99.1.2 7001 '"Meta": {"endpoints.metrics": "http:7101"}' >/dev/null
check "a policy with a port" 200 "$(code -X PUT "$API/v1/waymark/policies/web" -d '{"ports": {"9090": "metrics"}}')"
until_ok 30 watched 3 || fail "the endpoint is watched: $(metric listener_watched)"
until_ok 30 counted || fail "who listens for the endpoint is counted"
check "it is up" 1 "$(state_of 7101)"
kill_server "$SERVER"
fallen() { [ "$(state_of 7101)" = 258 ]; }
until_ok 10 fallen || fail "its state word is down: $(state_of 7101)"
check "all own ports are up" "1 1 1 passing" "$(state_of 7001) $(check_of p Status)"
done_testing
