#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Questions that nobody asks in good faith (hostile_dns.py): to the kernel and to userspace, over UDP, TCP and TLS.
# HOSTILE_QUESTIONS (1500), HOSTILE_SEED (1).
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
# shellcheck source=tests/net/certs.sh
. tests/net/certs.sh
authority ca
certificate ca good dns.test
serve one 127.0.0.11 53 "	local-zone: \"example.\" static
	local-data: 'www.example. 300 A 192.0.2.1'"
NAME=web.service.mesh.internal
start() {
	start_agent --set "dns.addresses=127.0.0.1,::1" --set dns.upstream=list --set dns.forward=.=127.0.0.11 \
		--set "dns.tls_cert_file=$TMP/good.pem" --set "dns.tls_key_file=$TMP/good.key" --set dns.tls_addresses=127.0.0.1 \
		"$@"
	register a web 127.1.0.1 8081 >/dev/null
	until_ok 20 is_there || fail "the service is in DNS"
}
is_there() { [ "$(ask $NAME)" = 127.1.0.1 ]; }
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1_total" '$1 == m {print $2}'; }
hostile() { check "$1" "" "$(tests/net/hostile_dns.py "${@:2}" 2>&1)"; } # text, arguments
random() { hostile "changed questions, $1" random udp "$2" 8600 $NAME "${HOSTILE_SEED:-1}" "${HOSTILE_QUESTIONS:-1500}"; }

start --set dns.tcp_idle=60s # who asks may be slow
before=$(counter dns_answered)
hostile "the kernel, IPv4" fixed udp 127.0.0.1 8600 $NAME
[ $(($(counter dns_answered) - before)) -ge 50 ] || fail "the kernel answered $(($(counter dns_answered) - before)) of them"
hostile "the kernel, IPv6" fixed udp ::1 8600 $NAME
random "the kernel" 127.0.0.1
hostile "TCP" fixed tcp 127.0.0.1 8600 $NAME
hostile "TLS" fixed tls 127.0.0.1 853 $NAME
stop_agent
start --set dns.tcp_idle=5s # who is slow is cut: but for a handshake it is time enough
closed=$(metric dns_user_tcp_length)
hostile "connections" streams tcp 127.0.0.1 8600 $NAME
check "lengths that no query has are counted" 3 $(($(metric dns_user_tcp_length) - closed))
hostile "connections of TLS" streams tls 127.0.0.1 853 $NAME

# --- one label with a dot in it is not two, on the way to others and back
check "a name of others" 192.0.2.1 "$(ask www.example)"
check "a label with a dot in it is another name" "" "$(ask 'www\.example')"
check "so is one with a zero in it" "" "$(ask 'www\000.example')"
asked() { grep -cF " $1 A IN" "$TMP/one.log"; } # unbound writes '?' for what is no letter
[ "$(asked 'www?example.')" -ge 1 ] && [ "$(asked 'www?.example.')" -ge 1 ] || fail "others are asked for these names: $(cat "$TMP/one.log")"
stop_agent
start --set dns.tcp_idle=60s --set kernel.dns=false
hostile "userspace, IPv4" fixed udp 127.0.0.1 8600 $NAME
hostile "userspace, IPv6" fixed udp ::1 8600 $NAME
random "userspace" 127.0.0.1
done_testing
