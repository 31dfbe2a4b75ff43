#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Drains: an instance that is drained gets no new connection when the answer comes, keeps those that are
# open, and leaves when the kernel counts none, or at its deadline; over kill -9 of the agent as well.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
I=$API/v1/waymark/instances
put() { code -X PUT "$I/$1"; }
put_body() { api -X PUT "$I/$1" | jq -r "$2"; }
names() { ask web.service.mesh.internal | sort | xargs; }
who() { # in 20 connects
	for _ in $(seq 20); do inside curl -s --max-time 20 "http://$V4/"; done | sort -u | xargs
}
gone() { [ "$(code "$I/$1")" = 404 ]; }
open_of() { [ "$(api "$I/$1" | jq -r .Drain.Open)" = "$2" ]; }
instance() { api "$I/$1" | jq -r "$2"; }
state() { instance "$1" .State; }
# A server that keeps its connections open until the client closes: name, address, port.
server() {
	/usr/bin/python3 -c '
import socketserver, sys
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        body = sys.argv[1].encode() + b"\n"
        while self.request.recv(4096):
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer((sys.argv[2], int(sys.argv[3])), Answer).serve_forever()
' "$1" "$2" "$3" &
	until_ok 10 api "http://$2:$3/" || fail "the server $1 does not answer"
}
# A client in the cgroup that dials the virtual address until it gets the instance, and then holds that
# connection until release.
hold() {
	: >"$TMP/held"
	${HOLD:-inside} /usr/bin/python3 -c '
import os, signal, socket, sys
while True:
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, int(sys.argv[3]))
    s.settimeout(10)
    s.connect((sys.argv[1], 80))
    s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    if s.recv(4096).decode().rstrip().endswith(sys.argv[2]):
        break
    s.close()
print(os.getpid(), flush=True)
signal.pause()
' "$V4" "$1" "${VIA:-6}" >"$TMP/held" &
	until_ok 20 grep -q . "$TMP/held" || fail "no client got $1"
}
release() { kill "$(cat "$TMP/held")"; }

start_agent
for i in 1 2; do
	server "web-$i" "127.1.0.$i" "808$i"
	check "register web-$i" 200 "$(register "web-$i" web "127.1.0.$i" "808$i")"
done
V4=$(vip4 web)
check "both answer" "web-1 web-2" "$(who)"
check "it is running" "running running" "$(instance web-1 '.Lifecycle + " " + .State')"
doctor() { "$CTL" --pin-dir "$PINS-doctor" doctor 2>/dev/null | grep drain_proof; }
matches "doctor knows of the proof" 'drain_proof +ok' "$(doctor)"
check "the last connection can end it, the instance says" null "$(put_body 'web-2/drain?deadline=10m' .OnlyDeadline)"
put 'web-2/lifecycle?state=running' >/dev/null

# --- a client holds a connection: the instance stays until it closes
hold web-1
check "drain" 0 "$("$CTL" drain web-1 --deadline 10m >/dev/null && echo 0)"
check "new connections go elsewhere at once" web-2 "$(who)"
check "DNS leaves it out" 127.1.0.2 "$(names)"
check "it is stopping" stopping "$(state web-1)"
check "in the list as well" stopping "$(api "$I" | jq -r '.instances[] | select(.Service.ID == "web-1").State')"
check "the kernel knows" drain "$(api "$API/v1/waymark/resolve/web" | jq -r '.backends[] | select(.id == "web-1").state')"
until_ok 10 open_of web-1 1 || fail "one connection is counted, saw $(instance web-1 .Drain)"
check "Consul's passing list leaves it out" web-2 "$(api "$API/v1/health/service/web?passing" | jq -r '.[].Service.ID')"
check "Consul's list has it" "web-1 web-2" "$(api "$API/v1/health/service/web" | jq -r '.[].Service.ID' | xargs)"
check "a program that registers again does not end it" 200 "$(register web-1 web 127.1.0.1 8081 '"Tags": ["v2"]')"
check "it is still stopping" stopping "$(state web-1)"
check "and gets nothing" web-2 "$(who)"

# --- kill -9 in the middle
stop_agent KILL
check "without an agent it gets nothing" web-2 "$(who)"
start_agent
check "after kill -9 it is stopping" stopping "$(state web-1)"
check "with its deadline" true "$(instance web-1 '.Drain.UntilMs / 1000 > now + 300')"
check "and gets nothing after kill -9" web-2 "$(who)"
until_ok 10 open_of web-1 1 || fail "the connection is counted after kill -9"
release
until_ok 20 gone web-1 || fail "it leaves when its last connection is closed"
check "the other stays" running "$(state web-2)"
check "and answers" web-2 "$(who)"
check "it ended by proof" 1 "$(api "$API/v1/waymark/status" | jq .drains.drain_proved)"
matches "and the log says so" 'drain.end.*id=web-1.*by=proof' "$(grep drain.end "$TMP/agent.log")"

# --- the deadline: the client does not close
register web-1 web 127.1.0.1 8081 >/dev/null
check "it begins anew as running" running "$(state web-1)"
hold web-1
check "drain with a short deadline" 200 "$(put 'web-1/drain?deadline=5s')"
check "it is there while the time runs" stopping "$(state web-1)"
until_ok 20 gone web-1 || fail "it leaves at its deadline"
matches "the log tells the deadline and what was open" 'drain.end.*by=deadline open=1' "$(grep drain.end "$TMP/agent.log" | tail -n 1)"
release

# --- a deadline that passes while there is no agent
register web-1 web 127.1.0.1 8081 >/dev/null
hold web-1
put 'web-1/drain?deadline=1s' >/dev/null
stop_agent KILL
sleep 1.2
start_agent
until_ok 20 gone web-1 || fail "a deadline that passed meanwhile counts"
release

# --- a restart that makes other tables: what the open socket remembers points into none of them
register web-1 web 127.1.0.1 8081 >/dev/null
hold web-1
check "drain before the restart" 200 "$(put 'web-1/drain?deadline=30s')"
stop_agent KILL
start_agent --set kernel.services_max=2000 --set kernel.backends_max=3000
sleep 2 # three counts and more: none of them proves anything
check "no count is no proof" "stopping null" "$(instance web-1 '.State + " " + (.Drain.Open | tostring)')"
until_ok 40 gone web-1 || fail "it leaves at its deadline"
matches "the deadline ended it" 'drain.end.*by=deadline' "$(grep drain.end "$TMP/agent.log" | tail -n 1)"
release

# --- a drain is called off; transitions
register web-1 web 127.1.0.1 8081 >/dev/null
hold web-1
put web-1/drain >/dev/null
check "called off" 200 "$(put 'web-1/lifecycle?state=running')"
check "it gets connections again" "web-1 web-2" "$(who)"
check "and has no drain" null "$(instance web-1 .Drain)"
release
check "stopping without a deadline" 200 "$(put 'web-1/lifecycle?state=stopping')"
check "gets nothing" web-2 "$(who)"
sleep 1 # two counts and more: nothing but a drain may remove it
check "and stays" stopping "$(state web-1)"
check "stopped" 200 "$(put 'web-1/lifecycle?state=stopped')"
check "what is stopped does not run" "409 Instance \"web-1\" is stopped and cannot become running; it may become: starting" \
	"$(put 'web-1/lifecycle?state=running') $(api -X PUT "$I/web-1/lifecycle?state=running")"
check "nor is drained" 409 "$(put web-1/drain)"
check "it may start" 200 "$(put 'web-1/lifecycle?state=starting')"
check "starting gets nothing" web-2 "$(who)"
check "and then run" 200 "$(put 'web-1/lifecycle?state=running')"
check "both answer again" "web-1 web-2" "$(who)"
check "unhealthy is not for stating" 400 "$(put 'web-1/lifecycle?state=unhealthy')"
check "an unknown instance" 404 "$(put web-9/drain)"
check "a deadline that is none" 400 "$(put 'web-1/drain?deadline=soon')"
check "Consul's deregistration is immediate" 200 "$(code -X PUT "$API/v1/agent/service/deregister/web-1")"
check "it is gone" 404 "$(code "$I/web-1")"

# --- a kernel that refuses the iterator over socket storage: counted in one namespace after the other
STORAGE="open_sockets bpf_sk_storage_"
matches "doctor names what is refused" 'drain_proof +ok .*each network namespace.*refuses iter/bpf_sk_storage_map: EPERM' \
	"$(refusing "$STORAGE" doctor)"
stop_agent
refusing "$STORAGE" start_agent
unshare --net sleep infinity &
POD=$!
until_ok 10 is_apart $POD
pod() { nsenter --net="/proc/$POD/ns/net" "$@"; }
ip link add wm0 type veth peer name wm1 netns "/proc/$POD/ns/net"
ip addr add 10.77.0.1/24 dev wm0
ip link set wm0 up
pod ip addr add 10.77.0.2/24 dev wm1
pod ip link set wm1 up
pod ip link set lo up
pod ip route add default via 10.77.0.1
server far-1 10.77.0.1 8090
check "register far-1" 200 "$(register far-1 far 10.77.0.1 8090)"
V4=$(vip4 far)
inside_pod() { inside nsenter --net="/proc/$POD/ns/net" "$@"; }
for p in 6 262; do # TCP, MPTCP
	register far-1 far 10.77.0.1 8090 >/dev/null
	VIA=$p HOLD=inside_pod hold far-1
	check "drain by protocol $p" null "$(put_body 'far-1/drain?deadline=10m' .OnlyDeadline)"
	until_ok 10 open_of far-1 1 || fail "the connection of the pod is counted, saw $(instance far-1 .Drain)"
	check "nothing is unseen" null "$(instance far-1 .Drain.OnlyDeadline)"
	release
	until_ok 20 gone far-1 || fail "it leaves when the pod's last connection is closed"
	matches "by proof" 'by=proof' "$(grep drain.end "$TMP/agent.log" | tail -n 1)"
done

# --- namespaces that cannot be listed: none that is seen is no proof
stop_agent
refusing "$STORAGE task_netns" start_agent
register far-1 far 10.77.0.1 8090 >/dev/null
put 'far-1/drain?deadline=10s' >/dev/null
unseen() { instance far-1 .Drain.OnlyDeadline | grep 'other network namespaces are not seen: EPERM'; }
until_ok 10 unseen || fail "the instance says what is not seen, saw $(instance far-1 .Drain)"
check "and what was counted" 0 "$(instance far-1 .Drain.Open)"
until_ok 20 gone far-1 || fail "it leaves at its deadline"
matches "by the deadline" 'by=deadline' "$(grep drain.end "$TMP/agent.log" | tail -n 1)"

# --- nothing that counts: the answer, the instance and the log say so
NONE="$STORAGE open_tcp open_udp tcp udp"
matches "doctor says what it means" 'drain_proof +note +refused: .*iter/tcp: EPERM: a drain ends at its deadline only' \
	"$(refusing "$NONE" doctor)"
stop_agent
refusing "$NONE" start_agent
register far-1 far 10.77.0.1 8090 >/dev/null
register far-2 far 10.77.0.1 8091 >/dev/null
WHY="the kernel refuses to list sockets: EPERM"
check "the answer says so" "$WHY" "$(put_body 'far-1/drain?deadline=5s' .OnlyDeadline)"
check "the instance says so" "$WHY" "$(instance far-1 .Drain.OnlyDeadline)"
matches "the command says so" "leaves at its deadline, whatever is open: $WHY" "$("$CTL" drain far-2 --deadline 1h)"
until_ok 10 grep -q "drain.deadline_only id=far-1 text=\"$WHY\"" "$TMP/agent.log" || fail "the log says so"
until_ok 20 gone far-1 || fail "it leaves at its deadline"
done_testing
