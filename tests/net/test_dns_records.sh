#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Records of the operator's own: of settings, a file of them and a hosts file, changed by a reload; aliases
# into the mesh, and out of it to names that others are asked for.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh

serve one 127.0.0.11 53 "	local-zone: 'example.' static
	local-data: 'db.example. 60 A 192.0.2.1'
	local-data: 'db.example. 60 AAAA 2001:db8::1'
	local-data: 'chain.example. 60 CNAME db.example.'
	local-data: 'host.example. 60 A 192.0.2.3'
	local-data: 'long.example. 60 TXT $(for _ in {1..8}; do printf '"%s" ' "$(printf 'x%.0s' {1..200})"; done)'"
settings() { # records, each in quotes
	printf '{"dns": {"records": [%s], "records_file": "%s/records", "hosts_file": "%s/hosts"}}' "$1" "$TMP" "$TMP" >"$TMP/settings.json"
}
reload() { operator -X PUT "$API/v1/agent/reload"; }
settings '"www.mesh.internal 60 CNAME web.service.mesh.internal", "printer.mesh.internal A 10.0.0.7", "out.mesh.internal 30 CNAME db.example",
	"way.corp CNAME out.mesh.internal", "gone.corp CNAME none.example", "far.corp CNAME chain.example", "text.corp CNAME long.example"'
printf '# more\nmail.corp 60 MX 10 mx.corp\n_x._tcp.corp SRV 0 5 80 printer.mesh.internal\ntext.x.corp TXT "a; b" "c"\n' >"$TMP/records"
printf '10.0.0.8 host.example host # stands before the name of others\nfd00::8 host.example\n' >"$TMP/hosts"
start_agent --config "$TMP/settings.json" --set dns.upstream=list --set dns.forward=.=127.0.0.11
register a web 127.1.0.1 80 >/dev/null
register b named db.example 80 >/dev/null

# --- the mesh's own, through the kernel that denies names by their form, and beside it
check "a name of ours" 10.0.0.7 "$(ask printer.mesh.internal)"
check "it has nothing else" "NOERROR" "$(status_of printer.mesh.internal AAAA)$(ask printer.mesh.internal AAAA)"
check "a name that is none" NXDOMAIN "$(status_of none.mesh.internal)"
check "into the mesh" "web.service.mesh.internal. 127.1.0.1" "$(ask www.mesh.internal | xargs)"
check "the TTL that it says" 60 "$(ttl_of www.mesh.internal)"
check "MX" "10 mx.corp." "$(ask mail.corp MX)"
check "SRV" "0 5 80 printer.mesh.internal." "$(ask _x._tcp.corp SRV)"
check "TXT" '"a; b" "c"' "$(ask text.x.corp TXT)"
check "of a hosts file" "10.0.0.8" "$(ask host.example)"
check "IPv6 of it" "fd00::8" "$(ask host.example AAAA)"
check "a short name" "10.0.0.8" "$(ask host)"
check "PTR" "host.example." "$(ask -x 10.0.0.8)"
check "over TCP" "10.0.0.7" "$(ask +tcp printer.mesh.internal)"
check "others are asked for the rest" 192.0.2.1 "$(ask db.example)"

# --- out of the mesh
for how in +notcp +tcp; do
	check "out of it, $how" "db.example. 192.0.2.1" "$(ask $how out.mesh.internal | xargs)"
	check "IPv6, $how" "db.example. 2001:db8::1" "$(ask $how out.mesh.internal AAAA | xargs)"
	check "by two, $how" "out.mesh.internal. db.example. 192.0.2.1" "$(ask $how way.corp | xargs)"
	check "and by others' own, $how" "chain.example. db.example. 192.0.2.1" "$(ask $how far.corp | xargs)"
	check "a service with a host name, $how" "db.example. 192.0.2.1" "$(ask $how named.service.mesh.internal | xargs)"
	check "a name that is not, $how" NXDOMAIN "$(status_of $how gone.corp)"
	check "the alias is told, $how" "none.example." "$(ask $how gone.corp)"
done
check "what is long is cut over UDP" "1" "$(dig +tries=1 +time=15 +ignore @127.0.0.1 -p 8600 text.corp TXT | grep -c 'flags:.* tc')"
check "and whole over TCP" 1638 "$(ask +tcp text.corp TXT | wc -c | awk '{print $1 + 0}')"
check "without RD the alias alone" "db.example." "$(ask +norec out.mesh.internal | xargs)"

# --- a reload
settings '"printer.mesh.internal A 10.0.0.9"'
: >"$TMP/hosts"
check "a reload" "" "$(reload)"
check "another address" 10.0.0.9 "$(ask printer.mesh.internal)"
check "a name that is gone" NXDOMAIN "$(status_of www.mesh.internal)"
check "others are asked for what was ours" 192.0.2.3 "$(ask host.example)"
check "the file stays" "10 mx.corp." "$(ask mail.corp MX)"
before=$(upstream_counter dns_upstream_flushed)
check "a reload of the same" "" "$(reload)"
check "leaves what others said" "$before" "$(upstream_counter dns_upstream_flushed)"
check "and what is ours" 10.0.0.9 "$(ask printer.mesh.internal)"
printf 'mail.corp MX mx.corp\n' >"$TMP/records"
matches "a bad line is refused" "dns.records_file: $TMP/records:1: behind MX a preference \(0 to 65535\) and a host name is wanted" "$(reload)"
check "what was in force is" "10 mx.corp." "$(ask mail.corp MX)"
: >"$TMP/records"
settings '"web.service.mesh.internal A 10.0.0.1"'
matches "so is a name of the mesh" 'dns.records: "web.service.mesh.internal A 10.0.0.1": the name is of the mesh' "$(reload)"
mkfifo "$TMP/fifo"
matches "a hosts file that is none" "dns.hosts_file: $TMP/fifo is not a file" "$(timeout 20 "$B/waymarkd" --check-config --set kernel.enabled=false --set "node.data_dir=$TMP/data" --set "dns.hosts_file=$TMP/fifo" 2>&1)"
matches "and by --check-config, with the place" 'settings.json:1: dns.records: "web.service.*the name is of the mesh' "$("$B/waymarkd" --check-config --config "$TMP/settings.json" --set kernel.enabled=false --set "node.data_dir=$TMP/data" 2>&1)"
settings ''
check "none any more" "" "$(reload)"
check "nothing is ours" NXDOMAIN "$(status_of printer.mesh.internal)"
before=$(counter dns_nxdomain)
check "and the kernel says so" "NXDOMAIN 1" "$(status_of printer.mesh.internal) $(($(counter dns_nxdomain) - before))"

# --- nobody answers what an alias leads to
kill_server one
settings '"dead.corp CNAME nobody-asked.example"'
check "a reload" "" "$(reload)"
check "an alias whose end nobody tells" SERVFAIL "$(status_of dead.corp)"
done_testing
