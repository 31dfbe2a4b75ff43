#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The operator's records are answered by the kernel, before anybody has asked for them, with userspace's octets; a
# reload counts at once; they are answered on when the agent is dead. What they lead to and health changes is not.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

settings() { # records, each in quotes
	printf '{"dns": {"records": [%s], "hosts_file": "%s/hosts"}}' "$1" "$TMP" >"$TMP/settings.json"
}
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1" '$1 == m {print $2}'; }
given() { [ "$(metric dns_ready_kept_total)" -ge "$1" ]; }
settings '"printer.mesh.internal 60 A 10.0.0.7", "www.corp.example CNAME printer.mesh.internal", "web.corp.example CNAME web.service.mesh.internal",
	"out.corp.example CNAME a.example", "corp.example MX 10 mail.corp.example", "corp.example TXT \"a text\"", "_x._tcp.corp.example SRV 1 2 80 printer.mesh.internal"'
printf '10.0.0.8 host.corp.example host # twice\nfd00::8 host.corp.example\n' >"$TMP/hosts"
start_agent --config "$TMP/settings.json"
register a web 127.1.0.1 80 >/dev/null
until_ok 60 given 18 || fail "they are given to the kernel: $(metric dns_ready_kept_total)"
questions=(
	"printer.mesh.internal A 1" "printer.mesh.internal AAAA 28"
	"www.corp.example A 1" "www.corp.example AAAA 28" "www.corp.example CNAME 5"
	"corp.example MX 15" "corp.example TXT 16" "corp.example A 1"
	"_x._tcp.corp.example SRV 33" "host.corp.example A 1" "host.corp.example AAAA 28" "host A 1"
	"8.0.0.10.in-addr.arpa PTR 12" "web.corp.example CNAME 5"
)
for q in "${questions[@]}"; do
	read -r name type number <<<"$q"
	before="$(counter dns_ready) $(metric dns_user_udp_total)"
	ask "$name" "$type" >/dev/null
	check "$name $type is the kernel's" "$((${before% *} + 1)) ${before#* }" "$(counter dns_ready) $(metric dns_user_udp_total)"
	/usr/bin/python3 tests/net/octets.py "$name" "$number" || fail "octets of $name $type"
done

# --- what health changes, and what others say, is userspace's
for name in web.corp.example out.corp.example; do
	before="$(counter dns_ready) $(metric dns_user_udp_total)"
	ask $name >/dev/null
	ask $name >/dev/null
	check "$name is userspace's" "${before% *} $((${before#* } + 2))" "$(counter dns_ready) $(metric dns_user_udp_total)"
done
check "into the mesh" "web.service.mesh.internal. 127.1.0.1" "$(ask web.corp.example | xargs)"

# --- a reload counts at once
printf '10.0.0.9 host.corp.example never-asked.corp.example\n' >"$TMP/hosts"
settings '"printer.mesh.internal 60 A 10.0.0.10"'
before=$(metric dns_ready_kept_total)
check "a reload" "" "$(operator -X PUT "$API/v1/agent/reload")"
check "another address" 10.0.0.9 "$(ask host.corp.example)"
check "of our domain" 10.0.0.10 "$(ask printer.mesh.internal)"
check "it has no IPv6 any more" "NOERROR " "$(status_of host.corp.example AAAA) $(ask host.corp.example AAAA)"
check "what is gone is asked of nobody" REFUSED "$(status_of www.corp.example)"
until_ok 60 given $((before + 7)) || fail "the new ones are given: $before, $(metric dns_ready_kept_total)"

# --- without an agent
dns_balance
stop_agent KILL
check "an address" 10.0.0.10 "$(ask printer.mesh.internal)"
check "of a hosts file" 10.0.0.9 "$(ask host.corp.example)"
check "that nobody asked for" 10.0.0.9 "$(ask never-asked.corp.example)"
check "which has no IPv6" "NOERROR" "$(status_of never-asked.corp.example AAAA)"
check "PTR" host.corp.example. "$(ask -x 10.0.0.9)"
check "what was" "" "$(dig +short +tries=1 +time=1 @127.0.0.1 -p 8600 www.corp.example 2>/dev/null | grep -v '^;')"
start_agent --config "$TMP/settings.json" --set dns.kernel_ready=0
before=$(metric dns_user_udp_total)
ask host.corp.example >/dev/null
ask host.corp.example >/dev/null
check "without dns.kernel_ready they are userspace's" $((before + 2)) "$(metric dns_user_udp_total)"
done_testing
