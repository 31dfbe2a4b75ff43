#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How much one pod may ask: what is more is dropped, whatever address it takes, other pods and this node go on;
# counted by pod; changed while the agent runs, and kept while none does.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

of() { nsenter -t "$1" --net "${@:2}"; } # pid, command...
pod() {                                  # device, network: prints the pid of who holds its namespace
	unshare --net sleep 600 >/dev/null 2>&1 &
	local pid=$!
	until_ok 10 is_apart $pid
	ip link add "$1" type veth peer name eth netns "$pid"
	ip addr add "$2.1/24" dev "$1"
	ip link set "$1" up
	of "$pid" sh -c "ip link set lo up; ip addr add $2.2/24 dev eth; ip addr add $2.3/24 dev eth; ip link set eth up; ip route add default via $2.1"
	echo "$pid"
}
ip addr add 10.99.0.1/32 dev lo
ONE=$(pod wmone 10.98.1)
TWO=$(pod wmtwo 10.98.2)
settings() { printf '{"dns": {"pod_limit": %s}}' "$1" >"$TMP/settings.json"; }
begin() {
	start_agent --config "$TMP/settings.json" --set dns.addresses=10.99.0.1,127.0.0.1 --set 'kernel.veth_devices=wmone,wmt*' --set dns.sample=1
	until_ok 20 attached || fail "the pods' devices are attached to"
}
attached() { [ "$(api $API/v1/waymark/status | jq '[.plane.hooks[] | select(.name == "dns_veth" and .attached)] | length')" = 2 ]; }
reload() { operator -X PUT "$API/v1/agent/reload"; }
asks() { # pid, options of dig
	of "$1" dig +short +tries=1 +time=1 -p 8600 @10.99.0.1 "${@:2}" web.service.mesh.internal 2>/dev/null | grep -v '^;'
}
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_dns_pod_$1_total{device=\"$2\"}" '$1 == m {print $2}'; }

settings 0
begin
register a web 10.99.0.1 8081 >/dev/null
until_ok 10 ask web.service.mesh.internal
for _ in 1 2 3 4 5; do check "no bound" 10.99.0.1 "$(asks "$ONE")"; done
check "counted by pod" "5 0 0 0" "$(metric queries wmone) $(metric dropped wmone) $(metric queries wmtwo) $(metric dropped wmtwo)"

told() { operator $API/v1/waymark/dns/seen | jq -c '[.kernel.questions[] | select(.device == "wmone") | [.name, .client]] | group_by(.) | map(.[0] + [length])'; }
check "told of with its device" '[["web.service.mesh.internal","10.98.1.2",5]]' "$(told)"

# answers go straight to the pod's end, not through the queue of this node's
sent() { ip -j -s link show wmtwo | jq '.[0].stats64.tx.packets'; }
before=$(sent)
for _ in $(seq 20); do asks "$TWO" >"$TMP/answer"; done
check "answered" 10.99.0.1 "$(cat "$TMP/answer")"
check "sent through this end: fewer than 20 answers, as ARP's" 1 $(($(sent) - before < 10))

# two at once are one too many: until they were, as a slow machine may take seconds for them
settings 1
check "a reload" "" "$(reload)"
both() { # of its addresses, at once
	local other
	asks "$ONE" -b 10.98.1.2 &
	other=$!
	asks "$ONE" -b 10.98.1.3
	wait $other
}
storm() {
	both
	[ "$(metric dropped wmone)" -ge 2 ]
}
until_ok 60 storm || fail "what a pod asks too often is dropped"
check "the other pod goes on" 10.99.0.1 "$(asks "$TWO")"
check "nothing of it was dropped" 0 "$(metric dropped wmtwo)"
for _ in 1 2 3; do check "so does this node" 10.99.0.1 "$(ask web.service.mesh.internal)"; done
check "counted in all" "$(metric dropped wmone)" "$(counter dns_drop_pod)"
check "and by dns" "$(metric dropped wmone)" "$(api $API/v1/waymark/dns | jq '.pods[] | select(.device == "wmone") | .dropped')"
check "who wants more has TCP" 3 "$(for _ in 1 2 3; do asks "$ONE" +tcp; done | grep -c 10.99.0.1)"
asking() { while [ ! -e "$TMP/stop" ]; do asks "$ONE"; done; }
asking >/dev/null &
ASKING=$!
top() { "$CTL" --agent "unix:$TMP/http.sock" --json --once dns top | jq -e '.pod[0] | .pod == "wmone" and .count > 0'; }
until_ok 30 top || fail "dns top names the pod"
touch "$TMP/stop"
wait $ASKING

# the kernel goes on by it, and a new agent by its own settings
dropped=$(counter dns_drop_pod)
stop_agent KILL
still() {
	both
	[ "$(counter dns_drop_pod)" -gt "$dropped" ]
}
until_ok 60 still || fail "without an agent it is dropped, too"
settings 0
begin
for _ in 1 2 3 4 5; do check "no bound again" 10.99.0.1 "$(asks "$ONE")"; done

# a device that goes takes its figures along
ip link del wmtwo
gone() { [ -z "$(metric queries wmtwo)" ]; }
until_ok 20 gone || fail "a pod that is gone is not listed"
kill "$ONE" "$TWO"
done_testing
