#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The agent end to end on the kernel that runs now, with what an initramfs holds: register, ask the
# kernel, connect through the virtual address, refuse, survive kill -9, be adopted, leave nothing.
set -uo pipefail
B=build/release
PINS=/sys/fs/bpf/waymark
# shellcheck source=tests/kernels/guest.sh
. ./guest.sh
AGENT=''

counter() { "$B/waymarkctl" -j status | grep -o "\"$1\": *[0-9]*" | grep -o '[0-9]*$' | head -n 1; }
start() {
	"$B/waymarkd" --set node.data_dir=/tmp/data --set http.socket=/tmp/http.sock --set node.name=vm \
		2>>/tmp/agent.log &
	AGENT=$!
	until_up
}

echo "--- $(uname -r)"
"$B/waymarkctl" doctor
check "doctor: the self-test" 0 $?
start
grep -o 'event=plane.*' /tmp/agent.log
# before 6.5 no kernel ends sockets, which is said
check "every hook is attached" 0 "$(grep 'level=warn' /tmp/agent.log | grep -vc abort.off)"
serve 1
serve 2
V4=$(ask web.virtual.mesh.internal)
# its name has no AAAA, as no endpoint has IPv6; the address is there all the same
V6=$(get $API/v1/waymark/services | tr '{' '\n' | grep '"name": *"web"' | grep -o '"vip6": *"[^"]*' | cut -d'"' -f4)
check "A" "127.1.0.1 127.1.0.2" "$(ask web.service.mesh.internal)"
check "answered in the kernel" 2 "$(counter dns_answered)"
check "NXDOMAIN" "" "$(ask none.service.mesh.internal)"
check "connect by IPv4" web- "$(get "http://$V4/" | cut -c1-4)"
check "connect by IPv6" web- "$(get "http://[$V6]/" | cut -c1-4)"
check "both are used" 2 "$(for _ in $(seq 30); do get "http://$V4/"; done | sort -u | wc -l)"
check "steered by the kernel" 32 "$(counter connect_picked)"
curl -s -X PUT $API/v1/agent/check/fail/c-web-1
check "health: DNS" 127.1.0.2 "$(ask web.service.mesh.internal)"
check "health: connect" web-2 "$(for _ in $(seq 10); do get "http://$V4/"; done | sort -u)"
curl -s -X PUT $API/v1/agent/check/fail/c-web-2
curl -s --max-time 10 "http://$V4/" >/dev/null
check "nobody: refused at once" 7 $?
curl -s -X PUT $API/v1/agent/check/pass/c-web-2

kill -9 $AGENT
wait $AGENT 2>/dev/null
check "no agent: DNS" 127.1.0.2 "$(ask web.service.mesh.internal)"
check "no agent: connect" web-2 "$(get "http://$V4/")"
start
check "adopted" 1 "$(grep -c plane.adopted /tmp/agent.log)"
check "after it: DNS" 127.1.0.2 "$(ask web.service.mesh.internal)"
check "after it: connect" web-2 "$(get "http://$V4/")"
"$B/waymarkctl" maps
kill $AGENT
wait $AGENT
check "a clean end" 0 $?
"$B/waymarkctl" detach
check "nothing is left" 0 "$(find $PINS 2>/dev/null | wc -l)"
curl -s --max-time 2 "http://$V4/" >/dev/null
[ $? != 0 ] || check "nothing steers any more" "not 0" 0
[ $FAILED = 0 ] || tail -n 20 /tmp/agent.log
exit $FAILED
