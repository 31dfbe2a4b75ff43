#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `waymarkctl explain socket`: what happened to a process's sockets, and of those that were not steered
# why that may be; with the agent and without one.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent
backend one 127.0.0.2 8080
register one web 127.0.0.2 8080 >/dev/null
web=$(vip4 web)
cat >"$TMP/client.py" <<'E2'
import socket, sys, time
vip = sys.argv[1]
held = []
def at(fd, s):
    import os
    os.dup2(s.fileno(), fd)
    held.append(s)
a = socket.create_connection((vip, 80)); at(100, a)                          # by the virtual address
b = socket.create_connection(("127.0.0.2", 8080)); at(101, b)                # the instance's own
c = socket.socket(); c.bind(("127.0.0.9", 0)); c.listen(); at(102, c)        # listens
d = socket.create_connection(c.getsockname()); at(103, d)                    # nobody's
e = socket.socket(); at(104, e)                                              # not connected
f = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); f.sendto(b"x", (vip, 81)); at(105, f)
g = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); g.connect((vip, 82)); at(106, g)
try:
    h = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); h.connect((vip, 83)) # Multipath TCP, which a kernel may lack
except OSError:
    h = socket.create_connection((vip, 83))
at(107, h)
print("ready", flush=True)
time.sleep(600)
E2
run() { # output file: the client, in the cgroup
	(
		echo $BASHPID >"$CG/cgroup.procs"
		exec /usr/bin/python3 "$TMP/client.py" "$web" >"$1"
	) &
}
run "$TMP/ready"
client=$!
until_ok 20 grep -q ready "$TMP/ready"
explain() { "$CTL" --pin-dir "$PINS" explain socket "$@"; }
of() { explain -j "$client:$1" | jq -r ".[0] | $2"; }
steered() { of "$1" '"\(.steered) \(.protocol) \(.service) \(.instance) \(.virtual) \(.address)"'; }
check "by the virtual address" "true tcp web one $web:80 127.0.0.2:8080" "$(steered 100)"
check "why" "drawn by weight 0 weighted up connections" "$(of 100 '"\(.why) \(.tier) \(.balance) \(.backend_is) \(.kept)"')"
operator -X PUT "$API/v1/waymark/policies/web" -d '{"balance": "round_robin"}' >/dev/null
check "as it was then, whatever the policy says now" "drawn by weight weighted" "$(of 100 '"\(.why) \(.balance)"')"
operator -X DELETE "$API/v1/waymark/policies/web" >/dev/null
check "its cookie is that of connections" true "$("$CTL" -j --pin-dir "$PINS" connections web | jq "any(.cookie == $(of 100 .cookie))")"
matches "by the instance's address" "false .*an instance's own address.* web one" "$(of 101 '"\(.steered) \(.why_not) \(.service) \(.instance)"')"
matches "one that listens" "it listens" "$(of 102 .why_not)"
matches "an address of nobody" "no address of a service" "$(of 103 .why_not)"
matches "not connected" "not connected" "$(of 104 .why_not)"
check "a datagram" "true true $web:81 127.0.0.2:8080 socket storage" "$(of 105 '"\(.steered) \(.datagram) \(.virtual) \(.address) \(.kept)"')"
check "a connected datagram socket" "true udp web one $web:82 127.0.0.2:8080" "$(steered 106)"
check "of the present tables, which do not keep why" "why is not kept there null up" "$(of 105 '"\(.why) \(.tier) \(.backend_is)"')"
check "Multipath TCP" "true tcp web one $web:83 127.0.0.2:8080 up" "$(steered 107) $(of 107 .backend_is)"
check "all of the process" 16 "$(explain -j "$client" | jq length)"
matches "for people" "fd 100, tcp: connect\(\) to $web:80 \(web\) became 127.0.0.2:8080 \(one\) at 20.*drawn by weight, tier 0" "$(explain "$client")"
explain "$client:3000" 2>/dev/null
check "no such socket" 1 $?
explain "$client:" 2>/dev/null
check "no number" 2 $?

# --- decided by earlier tables: the set is another service's by now, the address that was dialled is not
operator -X PUT "$API/v1/waymark/policies/web" -d '{"subsets": {"v1": ""}}' >/dev/null
subset=$(ask v1.web.virtual.mesh.internal)
(
	echo $BASHPID >"$CG/cgroup.procs"
	# shellcheck disable=SC2016 # the inner shell's
	exec bash -c 'exec 100<>"/dev/tcp/$0/80"; exec sleep 600' "$subset"
) &
earlier=$!
of_earlier() { explain -j "$earlier:100" | jq -r ".[0] | $1"; }
dialled() { [ "$(of_earlier '"\(.steered) \(.service)"')" = "true v1.web" ]; }
until_ok 20 dialled || fail "by a subset's address: $(explain -j "$earlier:100")"
set=$("$CTL" -j --pin-dir "$PINS" maps dump names | jq '[.[] | select(.name == "v1.web.virtual.mesh.internal").set][0]')
operator -X DELETE "$API/v1/waymark/policies/web" >/dev/null
n=0
taken() { # by one of more and more services
	n=$((n + 1))
	register "other-$n" "other-$n" 127.0.0.7 8080 >/dev/null
	"$CTL" -j --pin-dir "$PINS" maps dump names | jq -e "any(.set == $set and .service != null)"
}
until_ok 20 taken || fail "set $set is nobody's again"
check "the subset is gone, its set another's" "true web one $subset:80 127.0.0.2:8080 up" \
	"$(of_earlier '"\(.steered) \(.service) \(.instance) \(.virtual) \(.address) \(.backend_is)"')"
check "among connections, too" web "$("$CTL" -j --pin-dir "$PINS" connections | jq -r ".[] | select(.virtual == \"$subset:80\").service")"
check "those of others are none" 0 "$(for i in $(seq "$n"); do "$CTL" -j --pin-dir "$PINS" connections "other-$i"; done | jq -s 'add | length')"
kill "$earlier"
wait "$earlier" 2>/dev/null
for i in $(seq "$n"); do code -X PUT "$API/v1/agent/service/deregister/other-$i" >/dev/null; done

check "check of it fails" 200 "$(code -X PUT "$API/v1/agent/service/deregister/one")"
check "the instance has left" "true gone null" "$(of 100 '"\(.steered) \(.backend_is) \(.instance)"')"

# --- by tables of another size: nothing is left of them but what was dialled, and where it led
register one web 127.0.0.2 8080 >/dev/null
stop_agent
start_agent --set kernel.backends_max=2048
check "by tables that are gone" "true web $web:80 127.0.0.2:8080 not known" \
	"$(of 100 '"\(.steered) \(.service) \(.virtual) \(.address) \(.backend_is)"')"

stop_agent
check "without an agent" "true $web:80 127.0.0.2:8080" "$(of 100 '"\(.steered) \(.virtual) \(.address)"')"
"$CTL" --pin-dir "$PINS" --force detach >/dev/null
explain "$client" 2>/dev/null
check "without pins" 1 $?

# --- connected to a virtual address with no program attached: nothing was asked
start_agent
register one web 127.0.0.2 8080 >/dev/null
ip addr add "$web/32" dev lo 2>/dev/null
backend two "$web" 80
(exec /usr/bin/python3 -c "
import socket, time, os
s = socket.create_connection(('$web', 80)); os.dup2(s.fileno(), 100)
open('$TMP/out', 'w').write('ready')
time.sleep(600)") &
client=$!
until_ok 20 grep -q ready "$TMP/out"
matches "from outside the cgroup" "virtual address, and no program was asked" "$(of 100 .why_not)"
done_testing
