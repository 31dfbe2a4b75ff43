#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Names of others that are asked for often are answered by the kernel: with userspace's words, with the
# TTL that is left, renewed before it is over, and on when the agent or all servers are dead.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh

long=$(for _ in 1 2 3; do printf '"%s" ' "$(printf 'x%.0s' {1..200})"; done)
records="	local-zone: \"example.\" static
	local-data: 'example. 300 SOA ns.example. host.example. 1 3600 600 86400 60'
	local-data: 'www.example. 300 A 192.0.2.1'
	local-data: 'www.example. 300 AAAA 2001:db8::1'
	local-data: 'mail.example. 300 MX 10 www.example.'
	local-data: 'mail.example. 200 MX 20 other.example.'
	local-data: 'long.example. 300 TXT $long'
	local-data: 'brief.example. 3 A 192.0.2.2'
	local-data: 'renewed.example. 40 A 192.0.2.5'
	local-data: 'zero.example. 0 A 192.0.2.4'
	local-data: 'later.example. 300 A 192.0.2.3'
	local-data: '_sip._udp.example. 300 SRV 1 2 5060 www.example.'
	local-zone: '0.192.in-addr.arpa.' nodefault
	local-data: '50.2.0.192.in-addr.arpa. 300 PTR www.example.'"
serve one 127.0.0.11 53 "$records"
start_agent --set dns.upstream=list --set dns.forward=.=127.0.0.11 --set dns.serve_stale=1h --set dns.port53_addresses=127.0.0.1
# what is renewed in the last tenth of a TTL wants its turn by then, whatever else this machine does
renice -n -15 -p "$AGENT" "${SERVER[one]}" >/dev/null 2>&1
[ "$(counter dns_query)" = 0 ] || fail "nobody has asked yet"

# What a client reads, TTLs apart.
said() { dig +tries=1 +time=15 @127.0.0.1 -p 8600 "$@" | sed -E '/^;; (WHEN|Query|SERVER|MSG SIZE)|^; <|^; COOKIE|^;; (Got|global)/d; s/, id: .*//; s/, id: [0-9]+//; s/^([^;]\S*\s+)[0-9]+/\1TTL/' | sort; }
hot() { counter dns_hot; }
in_kernel() { # does the kernel answer this question now?
	local before
	before=$(hot)
	dig +tries=1 +time=15 @127.0.0.1 -p 8600 "$@" >/dev/null
	[ "$(hot)" -gt "$before" ]
}

# --- the same words
while read -r -a question; do
	dig +tries=1 +time=15 @127.0.0.1 -p 8600 "${question[@]}" >/dev/null
	in_kernel "${question[@]}" && fail "${question[*]}: once is not often"
	until_ok 60 in_kernel "${question[@]}" || fail "${question[*]} is kept in the kernel"
	before=$(hot)
	words=$(said "${question[@]}")
	check "${question[*]}: the kernel's" $((before + 1)) "$(hot)"
	check "${question[*]}" "$(said +tcp "${question[@]}")" "$words"
done <<-END
	www.example A
	+noedns www.example AAAA
	+dnssec www.example A
	+cd www.example A
	+adflag +noedns mail.example MX
	+bufsize=1232 long.example TXT
	none.example A
	wWw.eXample TXT
	_sip._udp.example SRV
END
check "a TTL that is counted down" true "$([ "$(ttl_of www.example)" -le 300 ] && echo true)"
for _ in 1 2 3; do ask zero.example >/dev/null; done
in_kernel zero.example && fail "what has no TTL is not kept"
dig +tries=1 +time=15 +noedns +ignore @127.0.0.1 -p 8600 long.example TXT | grep 'flags: qr tc' >/dev/null || fail "what a client cannot take is cut by userspace"
for _ in 1 2 3; do ask -x 192.0.2.50 >/dev/null; done
in_kernel -x 192.0.2.50 && fail "whose an address is may change before the TTL is over"
check "and then it is ours" 200 "$(register own own 192.0.2.50 80)"
check "at once" own.service.dc1.mesh.internal. "$(ask -x 192.0.2.50)"
for _ in 1 2 3; do ask web.service.mesh.internal >/dev/null; done
in_kernel web.service.mesh.internal && fail "a name of ours is never one of others"

# --- renewed while it is asked for: clients' questions stay in the kernel, the server sees one a TTL, and who
# is answered by userspace waits for nobody, either
asked_server() { grep -c ' renewed.example. A IN' "$TMP/one.log"; }
while ask renewed.example >/dev/null && ! in_kernel renewed.example; do :; done
expired=$(counter dns_pass_expired) before=$(asked_server) began=$SECONDS
for n in 1 2; do
	renewed() { ask renewed.example >/dev/null && [ "$(asked_server)" -ge $((before + n)) ]; }
	until_ok 60 renewed || fail "a name that is asked for is renewed: $(api $API/v1/waymark/dns)"
	older() { ttl=$(ttl_of renewed.example) && [ "$ttl" -ge 12 ] && [ "$ttl" -le 28 ]; } # what was before is over
	until_ok 60 older || fail "with another TTL"
	kept=$(upstream_counter dns_upstream_kept)
	check "userspace has it" "192.0.2.5 true" "$(ask +tcp renewed.example) $([ "$(upstream_counter dns_upstream_kept)" -gt "$kept" ] && echo true)"
done
check "no question came when it was over" 0 $(($(counter dns_pass_expired) - expired))
check "of the server one a TTL" "2 true" "$(($(asked_server) - before)) $([ $((SECONDS - began)) -ge 72 ] && echo true)"
check "counted" true "$([ "$(upstream_counter dns_hot_renewed)" -ge 2 ] && echo true)"

# --- what is flushed is asked for again
for _ in 1 2 3; do ask later.example >/dev/null; done
until_ok 60 in_kernel later.example || fail "a name is kept"
check "flush" 200 "$(operator_code -X DELETE $API/v1/waymark/dns/cache)"
in_kernel later.example && fail "what was flushed is not the kernel's"
check "and asked" 192.0.2.3 "$(ask later.example)"
# --- nor is what was asked before, and answered after it
/usr/bin/python3 tests/net/slow_dns.py 127.0.0.12 "$TMP/go" 2>/dev/null &
stop_agent
start_agent --set dns.upstream=list --set "dns.forward=.=127.0.0.11,slow.test=127.0.0.12" --set dns.serve_stale=1h
until_ok 60 dig +tries=1 +time=1 @127.0.0.12 up.slow.test || fail "the slow server answers"
for _ in 1 2 3; do ask slow.slow.test >/dev/null & asking+=($!); done
open() { [ "$(api $API/v1/waymark/dns | jq .open)" -ge 1 ]; }
until_ok 60 open || fail "a question is open"
check "flush" 200 "$(operator_code -X DELETE $API/v1/waymark/dns/cache)"
touch "$TMP/go"
wait "${asking[@]}"
check "it is answered" true "$(api $API/v1/waymark/dns | jq '.open == 0')"
in_kernel slow.slow.test && fail "an answer of before the flush is in the kernel"
dns_balance

# --- without an agent
for _ in 1 2 3 4; do ask brief.example >/dev/null; ask later.example >/dev/null; done
until_ok 60 in_kernel brief.example || fail "a name of three seconds is kept"
stop_agent KILL
check "the agent is dead" 192.0.2.3 "$(ask later.example)"
old() { [ "$(ttl_of brief.example)" = 30 ]; }
until_ok 60 old || fail "what is over is given with the TTL of what is stale: $(ttl_of brief.example)"
check "as it was" 192.0.2.2 "$(ask brief.example)"
check "what nobody asked for is not" "" "$(dig +short +tries=1 +time=1 @127.0.0.1 -p 8600 new.example 2>/dev/null | grep -v '^;')"

# --- another agent begins without: what was said before may be of another network
start_agent --set dns.upstream=list --set dns.forward=.=127.0.0.11
in_kernel later.example && fail "answers of an earlier run are not given"
check "asked anew" 192.0.2.3 "$(ask later.example)"
stop_agent
start_agent --set dns.upstream=list --set dns.forward=.=127.0.0.11 --set dns.kernel_cache=0
for _ in 1 2 3; do ask www.example >/dev/null; done
in_kernel www.example && fail "dns.kernel_cache=0 keeps nothing"
dns_balance
done_testing
