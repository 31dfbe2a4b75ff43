#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A resolver that asks label by label and believes each NXDOMAIN (RFC 9156, RFC 8020), and holds what it
# was told for as long: unbound, strict, with our zones as stubs.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
if ! command -v unbound >/dev/null; then
	echo "skipped: unbound is not installed (make deps-test)"
	exit 77
fi
start_agent --set node.alt_domain=consul --set dns.negative_ttl=10m
check "register" 200 "$(register web-1 web 127.1.0.1 80 '"Tags": ["v1", "a.b.c"]')"
check "register" 200 "$(register db-1 db web.service.mesh.internal 5432)"
V4=$(vip4 web) V6=$(vip6 web)
cat >"$TMP/unbound.conf" <<EOF
server:
	interface: 127.0.0.1
	port: 5300
	username: ""
	chroot: ""
	directory: "$TMP"
	pidfile: ""
	use-syslog: no
	num-threads: 1
	module-config: "iterator"
	do-not-query-localhost: no
	qname-minimisation: yes
	qname-minimisation-strict: yes
	harden-below-nxdomain: yes
	aggressive-nsec: no
	local-zone: "$(cut -d. -f1 <<<"$V4").in-addr.arpa." nodefault
	local-zone: "d.f.ip6.arpa." nodefault
remote-control:
	control-enable: no
EOF
for zone in mesh.internal consul "$(cut -d. -f1 <<<"$V4").in-addr.arpa" b.6.2.7.1.6.d.6.9.7.1.6.7.7.d.f.ip6.arpa; do
	printf 'stub-zone:\n\tname: "%s."\n\tstub-addr: 127.0.0.1@8600\n\tstub-prime: no\n' "$zone"
done >>"$TMP/unbound.conf"
unbound -d -c "$TMP/unbound.conf" >"$TMP/unbound.log" 2>&1 &
BACKENDS+=($!)
by() { dig +short +tries=1 +time=15 @127.0.0.1 -p 5300 "$@"; }
status_by() { dig +tries=1 +time=15 @127.0.0.1 -p 5300 "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
up() { [ "$(by web.service.mesh.internal)" = 127.1.0.1 ]; }
until_ok 10 up || fail "unbound answers: $(tail -5 "$TMP/unbound.log")"

SRV='1 1 80 7f010001.addr.dc1.mesh.internal.'
check "no such service, and its name is held" NXDOMAIN "$(status_by none.service.mesh.internal)"
check "A" 127.1.0.1 "$(by web.service.dc1.mesh.internal)"
check "RFC 2782" "$SRV" "$(by _web._tcp.service.mesh.internal SRV)"
check "RFC 2782, without the word service" "$SRV" "$(by _web._tcp.mesh.internal SRV)"
check "RFC 2782 with a tag" "$SRV" "$(by _web._v1.service.dc1.mesh.internal SRV)"
check "under the second domain" '1 1 80 7f010001.addr.dc1.consul.' "$(by _web._tcp.consul SRV)"
check "a tag with dots" 127.1.0.1 "$(by a.b.c.web.service.mesh.internal)"
check "the end of it has nothing" NOERROR "$(status_by b.c.web.service.mesh.internal)"
check "an alias is followed" "web.service.mesh.internal. 127.1.0.1" "$(by db.service.mesh.internal | xargs)"
check "the virtual name" "$V4" "$(by web.virtual.mesh.internal)"
check "the name of a virtual address" web.virtual.mesh.internal. "$(by -x "$V4")"
check "the name of a virtual IPv6 address" web.virtual.mesh.internal. "$(by -x "$V6")"
check "no name of another" NXDOMAIN "$(status_by -x "$(cut -d. -f1 <<<"$V4").1.2.3")"

# a negative answer is held, and not asked for twice
seen() { api $API/v1/waymark/status | jq -e '[.. | .dns_user_udp? // empty][0]'; }
status_by never.service.mesh.internal >/dev/null
before=$(seen)
matches "questions are counted" "^[1-9]" "$before"
check "held" NXDOMAIN "$(status_by never.service.mesh.internal)"
check "nobody was asked" 0 $(($(seen) - before))
done_testing
