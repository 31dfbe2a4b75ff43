#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A kernel that lacks things: each of the features that may be refused is, and what is left works and says
# so. The other state of each is what the rest of the tests runs on.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
start() { # names of what is refused
	[ -z "$AGENT" ] || stop_agent
	: >"$TMP/agent.log"
	refusing "$1" start_agent
}
doctor() { refusing "$1" "$CTL" --pin-dir "$PINS-doctor" doctor 2>/dev/null; }
hooks() { api "$API/v1/waymark/status" | jq -r "[.plane.hooks[] | select($1) | .name] | sort | join(\" \")"; }
dial() { inside curl -s --max-time 20 "http://$V4/"; }
ALL="connect4 connect6 dns_lo getpeername4 getpeername6 recvmsg4 recvmsg6 sendmsg4 sendmsg6 sock_release sock_state syn_again"
failed='(.error // "") != ""'

start none
backend web-1 127.1.0.1 8081
check "register web-1" 200 "$(register web-1 web 127.1.0.1 8081)"
check "register none" 200 "$(register none-1 none 127.1.0.1 8082)"
V4=$(vip4 web)
check "all hooks are there" "$ALL" "$(hooks "$failed | not")"

# --- what newer kernels have and older ones lack, all at once: 5.15 as far as we use it
OLD="helper:181 helper:187 helper:196 tcx open_sockets bpf_sk_storage_ abort_udp abort_tcp"
seen=$(doctor "$OLD")
for f in bpf_loop bpf_set_retval tcx_link socket_abort; do
	matches "doctor: $f" "$f +note .*E(INVAL|PERM)" "$seen"
done
matches "doctor: the self-test" 'selftest +ok' "$seen"
start "$OLD"
check "all hooks are there on an old kernel" "$ALL" "$(hooks "$failed | not")"
check "devices by clsact" clsact "$(api "$API/v1/waymark/status" | jq -r '.plane.hooks[] | select(.name == "dns_lo").how')"
before=$(counter dns_answered)
check "DNS is answered in the kernel" 127.1.0.1 "$(ask web.service.mesh.internal)"
check "by the filter" 1 $(($(counter dns_answered) - before))
check "connect() is steered" web-1 "$(dial)"
api -X PUT "$API/v1/agent/service/maintenance/none-1?enable=true" >/dev/null
refused() { inside /usr/bin/python3 -c '
import errno, socket, sys
try:
    socket.create_connection((sys.argv[1], 80), timeout=5)
except OSError as e:
    print(errno.errorcode[e.errno])' "$(vip4 none)"; }
check "without a backend it fails with what there is" EPERM "$(refused)"
start none
check "with bpf_set_retval by its name" ECONNREFUSED "$(refused)"
check "and the filter is a link again" tcx "$(api "$API/v1/waymark/status" | jq -r '.plane.hooks[] | select(.name == "dns_lo").how')"

# --- one program after the other
for p in $ALL; do
	start "$p"
	check "$p alone is missing" "$p" "$(hooks "$failed")"
	matches "$p is named with the errno" "plane.hook name=$p .*err=EPERM" "$(grep plane.hook "$TMP/agent.log")"
	check "names resolve without $p" 127.1.0.1 "$(ask web.service.mesh.internal)"
	[ "$p" = connect4 ] || check "connect() is steered without $p" web-1 "$(dial)"
done

# --- neither what sees how connects end nor what sees listeners: checks tell, as if there were none
BLIND="tcp_outcome sock_state"
seen=$(doctor "$BLIND")
matches "doctor: passive health" 'passive_health +note .*EPERM' "$seen"
matches "doctor: the notice of listeners" 'listener_notice +note .*EPERM' "$seen"
check "doctor: one of both is enough" "passive_health note sockops sees how connects end" \
	"$(doctor syn_again | sed -nE 's/ *(passive_health) +(note) .*(sockops sees how connects end).*/\1 \2 \3/p')"
start "syn_again"
check "sockops takes their place" "tcp_outcome" "$(hooks "$failed | not" | grep -o tcp_outcome)"
start "$BLIND"
matches "the tracepoint is named with the errno" 'event=listener.off err=EPERM' "$(cat "$TMP/agent.log")"
backend dies-1 127.1.0.4 8084
check "register dies" 200 "$(register dies-1 dies 127.1.0.4 8084 '"Check": {"TCP": "127.1.0.4:8084", "Interval": "1s"}')"
dies_is() { [ "$(api "$API/v1/agent/checks" | jq -r '."service:dies-1".Status')" = "$1" ]; }
until_ok 20 dies_is passing || fail "the check of dies-1 passes"
kill "${BACKENDS[-1]}"
until_ok 20 dies_is critical || fail "the check of dies-1 fails"
check "nobody else told of it" 0 "$(api "$API/v1/agent/checks" | jq '[keys[] | select(startswith("waymark:"))] | length')"
check "connect() is steered all the same" web-1 "$(dial)"
api -X PUT "$API/v1/agent/service/deregister/dies-1" >/dev/null

# --- no barrier that waits for programs: what was freed rests for a second, and comes back
matches "doctor: membarrier" 'membarrier +note .*EINVAL' "$(doctor membarrier)"
start membarrier
matches "the rest is named with the errno" 'event=grace.timed err=EINVAL ms=1000' "$(cat "$TMP/agent.log")"
nothing_rests() { [ "$(api "$API/v1/waymark/status" | jq '[.. | .slots_quarantined? // empty] | add')" = 0 ]; }
check "register gone-1" 200 "$(register gone-1 gone 127.1.0.1 8083)"
api -X PUT "$API/v1/agent/service/deregister/gone-1" >/dev/null
until_ok 30 nothing_rests || fail "what was freed does not come back"

# --- no links of cgroups: nothing is steered, names go on
matches "doctor: cgroup_link" 'cgroup_link +fault .*EINVAL' "$(doctor cgroup_link)"
stop_agent
"$CTL" --pin-dir "$PINS" detach >/dev/null # links that are there would be moved
start cgroup_link
check "only the device is there, and what looks on" "dns_lo sock_state syn_again" "$(hooks "$failed | not")"
check "names resolve" 127.1.0.1 "$(ask web.service.mesh.internal)"
done_testing
