#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who may ask: of a pod whose questions the kernel answers, and of a client whose come to userspace, over
# UDP and TCP; this node always; changed while the agent runs.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

unshare --net sleep 600 &
POD=$!
unshare --net sleep 600 &
FAR=$!
until_ok 10 is_apart $POD
until_ok 10 is_apart $FAR
of() { # pid, command...
	nsenter -t "$1" --net "${@:2}"
}
place() { # pid, device, network, prefix of IPv6
	ip link add "$2" type veth peer name eth
	ip link set eth netns "$1"
	ip addr add "$3.1/24" dev "$2"
	ip addr add "$4::1/64" dev "$2" nodad
	ip link set "$2" up
	of "$1" sh -c "ip link set lo up; ip addr add $3.2/24 dev eth; ip addr add $4::2/64 dev eth nodad
		ip link set eth up; ip route add default via $3.1; ip route add default via $4::1"
}
until_ok 10 of "$POD" true
until_ok 10 of "$FAR" true
ip addr add 10.99.0.1/32 dev lo
ip addr add fd99::1/128 dev lo nodad
place "$POD" wmpod 10.99.1 fd99:1
place "$FAR" wmfar 10.99.2 fd99:2
settings() { printf '{"dns": {"allow": [%s], "rate_limit": %s}}' "$1" "${2:-200}" >"$TMP/settings.json"; }
reload() { operator -X PUT "$API/v1/agent/reload"; }
settings ''
start_agent --config "$TMP/settings.json" --set dns.addresses=10.99.0.1,fd99::1,127.0.0.1 --set kernel.veth_devices=wmpod \
	--set dns.sample=1 --set dns.query_log=1
register a web 10.99.0.1 8081 >/dev/null
attached() { api $API/v1/waymark/status | jq -e '.plane.hooks[] | select(.name == "dns_veth" and .attached)'; }
until_ok 20 attached || fail "the pod's device is attached to"
asks() { # pid, options of dig
	of "$1" dig +short +tries=1 +time=3 -p 8600 "${@:2}" 2>/dev/null | grep -v '^;'
}
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1_total" '$1 == m {print $2}'; }
NAME=web.service.mesh.internal

before=$(counter dns_answered)
for who in "$POD" "$FAR"; do
	for at in @10.99.0.1 @fd99::1 "@10.99.0.1 +tcp"; do
		# shellcheck disable=SC2086 # words of dig
		check "everybody may, $at" 10.99.0.1 "$(asks "$who" $at $NAME)"
	done
done
check "the kernel answers the pod, and userspace the other" 2 $(($(counter dns_answered) - before))

settings '"10.99.2.0/24", "fd99:1::2"'
check "a reload" "" "$(reload)"
check "the pod may not by IPv4" "" "$(asks "$POD" @10.99.0.1 $NAME)"
check "nor for what userspace answers" "" "$(asks "$POD" @10.99.0.1 $NAME SRV)"
check "it may by IPv6" 10.99.0.1 "$(asks "$POD" @fd99::1 $NAME)"
check "counted" "2 0" "$(counter dns_drop_allow) $(metric dns_user_denied)"
check "nor over TCP" "" "$(asks "$POD" @10.99.0.1 +tcp $NAME)"
check "counted as well" 1 "$(metric dns_user_denied)"
check "the other may by IPv4" 10.99.0.1 "$(asks "$FAR" @10.99.0.1 $NAME)"
check "over TCP" 10.99.0.1 "$(asks "$FAR" @10.99.0.1 +tcp $NAME)"
check "it may not by IPv6" "" "$(asks "$FAR" @fd99::1 $NAME)"
check "nor over TCP" "" "$(asks "$FAR" @fd99::1 +tcp $NAME)"
who_was() { operator "$API/v1/waymark/dns/seen" | jq -c "[($1.questions[] | select(.level == \"$2\") | [.client, .name, .rcode, .octets, .device])] | unique"; }
check "the kernel tells whom it refused" "[[\"10.99.1.2\",\"$NAME\",5,0,\"wmpod\"]]" "$(who_was .kernel refused)"
check "so does userspace" "[[\"fd99:2::2\",\"$NAME\",5,0,\"\"]]" "$(who_was '' refused)"
matches "and the query log" "event=dns.question name=$NAME type=1 client=10.99.1.2 transport=udp level=refused rcode=5 answers=0 us=[0-9]+ sampled=1$" "$(cat "$TMP/agent.log")"
check "counted by userspace" "2 3" "$(counter dns_drop_allow) $(metric dns_user_denied)"
check "of these, connections" 2 "$(metric dns_user_tcp_denied)"
for at in "@10.99.0.1 -b 10.99.0.1" "@10.99.0.1 -b 10.99.1.1" "@fd99::1 -b fd99::1" "@127.0.0.1" "@10.99.0.1 -b 10.99.1.1 +tcp"; do
	# shellcheck disable=SC2086
	check "this node may, $at" 10.99.0.1 "$(dig +short +tries=1 +time=15 -p 8600 $at $NAME)"
	# shellcheck disable=SC2086
	check "and ask userspace, $at" 1 "$(dig +short +tries=1 +time=15 -p 8600 $at $NAME SRV | grep -c 8081)"
done

# --- how often: the same question from one network over UDP, here once a second
settings '' 1
check "a reload" "" "$(reload)"
once=once.node.mesh.internal
storm() { # until the question was dropped and cut: each is asked by two, as one may begin a second
	of "$FAR" dig +noall +comments +nocookie +tries=1 +time=1 +ignore -p 8600 @10.99.0.1 $once TXT $once TXT $once TXT >>"$TMP/storm" 2>&1
	[ "$(metric dns_user_rate_dropped)" -ge 1 ] && [ "$(metric dns_user_rate_cut)" -ge 1 ]
}
until_ok 30 storm || fail "what is asked too often is dropped, and cut: $(cat "$TMP/storm")"
matches "who is cut is told so" "flags: qr tc rd;|flags: qr tc;" "$(cat "$TMP/storm")"
check "and told of" "[[\"10.99.2.2\",\"$once\",5,0,\"\"]]" "$(who_was '' often)"
before=$(metric dns_user_badcookie)
cookied() { # dig asks again with the cookie that it is sent, and is answered, however often
	of "$FAR" dig +noall +comments +tries=1 +time=1 -p 8600 @10.99.0.1 $once TXT $once TXT $once TXT >>"$TMP/cookied" 2>&1
	[ "$(metric dns_user_badcookie)" -gt "$before" ]
}
until_ok 30 cookied || fail "who knows cookies is sent one: $(cat "$TMP/cookied")"
matches "dig says so" "BADCOOKIE, retrying" "$(cat "$TMP/cookied")"
check "over TCP there is no bound" "NXDOMAIN NXDOMAIN NXDOMAIN " "$(of "$FAR" dig +noall +comments +tcp -p 8600 @10.99.0.1 $once TXT $once TXT $once TXT | sed -n 's/.*status: \([A-Z]*\),.*/\1/p' | tr '\n' ' ')"
before=$(metric dns_user_rate_dropped)
for _ in 1 2 3 4 5; do check "this node has none" NXDOMAIN "$(status_of $once TXT)"; done
check "nor was one dropped" "$before" "$(metric dns_user_rate_dropped)"
settings '"10.99.2.0/24", "fd99:1::2"' 0
check "a reload" "" "$(reload)"

# --- what is none is refused, and what is in force stays
settings '"10.99.2.0/24", "10.99.2.1/24"'
matches "a reload refuses what is no network, with the place" 'settings.json:1: dns.allow: 10.99.2.1/24 has bits behind its /24' "$(reload)"
check "what was in force is" " 10.99.0.1" "$(asks "$POD" @10.99.0.1 $NAME) $(asks "$FAR" @10.99.0.1 $NAME)"
matches "so does --check-config, with the place" 'settings.json:1: dns.allow: 10.99.2.1/24 has bits behind' "$("$B/waymarkd" --check-config --config "$TMP/settings.json" --set kernel.enabled=false --set "node.data_dir=$TMP/data" 2>&1)"

# --- the kernel goes on by it while there is no agent, and a new one by its own settings
stop_agent KILL
check "without an agent" " 10.99.0.1" "$(asks "$POD" @10.99.0.1 $NAME) $(asks "$POD" @fd99::1 $NAME)"
settings ''
start_agent --config "$TMP/settings.json" --set dns.addresses=10.99.0.1,fd99::1,127.0.0.1 --set kernel.veth_devices=wmpod
until_ok 20 attached || fail "attached again"
check "everybody may" "10.99.0.1 10.99.0.1" "$(asks "$POD" @10.99.0.1 $NAME) $(asks "$FAR" @fd99::1 $NAME)"
kill "$POD" "$FAR"
done_testing
