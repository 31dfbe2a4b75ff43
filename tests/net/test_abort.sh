#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A backend that goes down or leaves: sockets that are connected to it are ended and dial again, and no
# other; TCP only where the instance asks for it; in other network namespaces too; and a kernel that cannot
# says so.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
doctor() { "$CTL" --pin-dir "$PINS-doctor" doctor 2>/dev/null | grep socket_abort; }
if ! doctor | grep -q 'socket_abort *ok'; then
	echo "skipped: $(doctor | sed -nE 's/.*(bpf_sock_destroy\(\)) refused.*: (E[A-Z]+): .*/kernel refuses \1: \2/p')"
	exit 77
fi
server() { # name, address: answers its name to every datagram, and takes TCP
	/usr/bin/python3 -c '
import socket, sys, threading
u = socket.socket(socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET, socket.SOCK_DGRAM)
u.bind((sys.argv[2], 5000))
t = socket.create_server((sys.argv[2], 5000), family=u.family)
def take():
    kept = []
    while True:
        kept.append(t.accept())
threading.Thread(target=take, daemon=True).start()
while True:
    u.sendto(sys.argv[1].encode(), u.recvfrom(100)[1])
' "$1" "$2" &
	until_ok 10 nc -z "$2" 5000 || fail "the server $1 does not answer"
}
up() { # id, service, address, [more JSON]
	register "$1" "$2" "$3" 5000 "\"Check\": {\"CheckID\": \"c-$1\", \"TTL\": \"1h\", \"Status\": \"passing\"}${4:+, $4}"
}
down() { code -X PUT "$API/v1/agent/check/fail/c-$1"; }
pass() { code -X PUT "$API/v1/agent/check/pass/c-$1"; }
gone() { code -X PUT "$API/v1/agent/service/deregister/$1"; }

holder() { # descriptor to say, descriptor to hear, name, command that runs another...
	local say=$1 hear=$2 name=$3
	shift 3
	mkfifo "$TMP/$name.in" "$TMP/$name.out"
	"$@" /usr/bin/python3 tests/net/sockets.py <"$TMP/$name.in" >"$TMP/$name.out" &
	eval "exec $say>'$TMP/$name.in' $hear<'$TMP/$name.out'"
}
say() { # words, to the holder of this namespace
	echo "$*" >&5
	IFS= read -r -t 60 -u 6 SAID && echo "$SAID"
}
say_pod() {
	echo "$*" >&7
	IFS= read -r -t 60 -u 8 SAID && echo "$SAID"
}
opened() { check "open $*" ok "$(say open "$@")"; }
is() { [ "$("${3:-say}" error "$1")" = "$2" ]; }
aborted() { # name, [say_pod]
	until_ok 20 is "$1" ECONNABORTED "${2:-say}" || fail "$1 is to be ended"
}
stays() { # names
	local n
	for n in "$@"; do check "$n stays" ok "$(say error "$n")"; done
}
counts() { [ "$(counted "$1")" = "$2" ]; }
counted() { api "$API/v1/waymark/status" | jq ".aborts.$1"; }

ip addr add fd00:77::1/128 dev lo 2>/dev/null
start_agent
unshare --net sleep infinity &
NS=$!
until_ok 10 is_apart $NS
ip link add wm0 type veth peer name wm1 netns "/proc/$NS/ns/net"
ip addr add 10.77.0.1/24 dev wm0
ip addr add 10.77.0.3/24 dev wm0
ip link set wm0 up
pod() { nsenter --net="/proc/$NS/ns/net" "$@"; }
pod ip addr add 10.77.0.2/24 dev wm1
pod ip link set wm1 up
pod ip route add default via 10.77.0.1
server a 10.77.0.1
server b 10.77.0.3
server six fd00:77::1
holder 5 6 here inside
holder 7 8 pod inside nsenter --net="/proc/$NS/ns/net"

# --- one goes down: of connected UDP sockets those that go to it, and nothing else
check "register a" 200 "$(up a gone 10.77.0.1)"
check "register live" 200 "$(up live live 10.77.0.1)" # another service at the same address
check "register b" 200 "$(up b far 10.77.0.3)"
check "register six" 200 "$(up six six fd00:77::1)"
V4=$(vip4 gone) V6=$(vip6 gone) LIVE=$(vip4 live) FAR=$(vip4 far) SIX=$(vip6 six)
opened udp4 udp "$V4"
opened udp6 udp "$V6"
opened mapped udp "::ffff:$V4"
opened tcp tcp "$V4"
opened loose loose "$V4"
opened moved moved "$V4" 10.77.0.3
opened undone undone "$V4"
opened mixed mixed "$V4" "$FAR"
opened direct udp 10.77.0.1
opened live udp "$LIVE"
opened far udp "$FAR"
opened six udp "$SIX"
check "in another network namespace" ok "$(say_pod open pod udp "$V4")"
check "another takes over" 200 "$(up b2 gone 10.77.0.3)"
check "a fails" 200 "$(down a)"
for n in udp4 udp6 mapped; do aborted $n; done
aborted pod say_pod
until_ok 10 counts abort_udp 4 || fail "four sockets are counted, saw $(counted abort_udp)"
check "no more was looked for than twice" true "$(counted 'abort_passes <= 2')"
stays tcp loose moved undone mixed direct live far six
check "the unconnected one goes on" b "$(say ask moved)"
check "no TCP connection was counted" 0 "$(counted abort_tcp)"
matches "the log tells" 'abort.sockets udp=[1-4] tcp=0' "$(grep abort.sockets "$TMP/agent.log")"
opened again udp "$V4"
check "who dials again gets the other" b "$(say ask again)"

# --- one to which nobody is connected: no socket is looked at
until_ok 20 counts abort_passes 2 || fail "the second look after the first, saw $(counted abort_passes)"
check "register lone" 200 "$(up lone lone 10.77.0.1)"
before=$(counted abort_passes)
check "lone leaves" 200 "$(gone lone)"
until_ok 10 counts 'abort_passes_not_needed >= 2' true || fail "two looks, saw $(counted abort_passes_not_needed)"
check "no pass was needed" "$before" "$(counted abort_passes)"

# --- one leaves; a drain keeps its sockets until it does
check "six leaves" 200 "$(gone six)"
aborted six
check "b2 is drained" 200 "$(code -X PUT "$API/v1/waymark/instances/b2/drain?deadline=8s")"
check "a is well again" 200 "$(pass a)"
sleep 1 # longer than a pass takes
stays again
aborted again

# --- what goes to another address leaves the old one
opened before udp "$V4"
check "a moves" 200 "$(up a gone 10.77.0.3)"
aborted before
opened after udp "$V4"
check "to where it is now" b "$(say ask after)"

# --- TCP where the instance asks for it
check "register ask" 200 "$(up ask ask 10.77.0.1 '"Meta": {"abort_tcp": "true"}')"
check "register mute" 200 "$(up mute mute 10.77.0.1)"
opened asked tcp "$(vip4 ask)"
opened asked_udp udp "$(vip4 ask)"
opened mute tcp "$(vip4 mute)"
check "mute leaves" 200 "$(gone mute)"
check "ask leaves" 200 "$(gone ask)"
aborted asked
aborted asked_udp
stays mute
# counted when the pass has ended, which is after the socket was
until_ok 10 counts abort_tcp 1 || fail "one TCP connection is counted, saw $(counted abort_tcp)"

# --- or where the policy of its service does
check "the policy of a service" 200 "$(operator_code -X PUT "$API/v1/waymark/policies/shut" -d '{"close_on_down": true}')"
check "register shut" 200 "$(up shut shut 10.77.0.1)"
opened shut tcp "$(vip4 shut)"
check "shut fails" 200 "$(down shut)"
aborted shut
until_ok 10 counts abort_tcp 2 || fail "two TCP connections are counted, saw $(counted abort_tcp)"

# --- what an agent that was killed left undone
opened left udp "$V4"
stop_agent KILL
start_agent --set kernel.abort_sockets=false
check "a fails while it is switched off" 200 "$(down a)"
check "nothing is counted" null "$(counted abort_backends)"
sleep 1
stays left
stop_agent KILL
start_agent
aborted left

# --- other tables: what sockets remember points into none of these
check "a is well again" 200 "$(pass a)"
opened old udp "$V4"
stop_agent
start_agent --set kernel.backends_max=3000 --set kernel.services_max=2000
check "a fails" 200 "$(down a)"
until_ok 10 counts 'abort_passes_not_needed >= 2' true || fail "two looks"
stays old

# --- a kernel that refuses
stop_agent
REFUSED="abort_udp abort_tcp"
matches "doctor says so" 'socket_abort +note +bpf_sock_destroy\(\) refused \(Linux 6.5\): EPERM' \
	"$(refusing "$REFUSED" doctor)"
refusing "$REFUSED" start_agent --set kernel.backends_max=3000 --set kernel.services_max=2000
matches "the log says so" 'abort.off err=EPERM' "$(grep abort.off "$TMP/agent.log")"
check "live fails" 200 "$(down live)"
until_ok 10 counts abort_skipped 1 || fail "it is counted"
stays live
done_testing
