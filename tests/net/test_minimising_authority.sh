#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Resolvers that ask label by label, strictly (RFC 9156), and come to us from the root down, as to any authority
# of the Internet: Unbound and Knot Resolver; and these with us as the server of a stub, and as their forwarder.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
command -v kresd >/dev/null || {
	echo "skipped: kresd is not installed (make deps-test)"
	exit 77
}
for a in 20 21 30; do ip addr add "198.18.0.$a/32" dev lo; done
mkdir "$TMP/zones"
printf '. 3600 IN NS ns.root.\nns.root. 3600 IN A 198.18.0.20\n' >"$TMP/hints"
start_agent --set dns.port53_addresses=198.18.0.30 --set node.address=198.18.0.30 --set dns.negative_ttl=10m \
	--set dns.upstream=recursion --set "dns.root_hints=$TMP/hints"
check "register" 200 "$(register web-1 web 127.1.0.1 80 '"Tags": ["v1", "a.b.c"]')"
check "register" 200 "$(register six-1 six fd00::1 80)"
V4=$(vip4 web) V6=$(vip6 web)
REVERSE4=$(cut -d. -f1 <<<"$V4").in-addr.arpa REVERSE6=b.6.2.7.1.6.d.6.9.7.1.6.7.7.d.f.ip6.arpa

# --- the root and "internal", which delegate to us
{
	printf '. 60 IN SOA ns.root. host. 1 3600 600 86400 60\n. 60 IN NS ns.root.\nns.root. 60 IN A 198.18.0.20\n'
	printf 'internal. 60 IN NS ns.internal.\nns.internal. 60 IN A 198.18.0.21\n'
	printf '%s. 60 IN NS ns.mesh.internal.\n' "$REVERSE4" "$REVERSE6"
} >"$TMP/zones/root"
{
	printf 'internal. 60 IN SOA ns.internal. host. 1 3600 600 86400 60\ninternal. 60 IN NS ns.internal.\nns.internal. 60 IN A 198.18.0.21\n'
	printf 'mesh.internal. 60 IN NS ns.mesh.internal.\nns.mesh.internal. 60 IN A 198.18.0.30\nwww.deep.internal. 60 IN A 192.0.2.1\n'
} >"$TMP/zones/internal"
authority() { # zone, address
	printf 'server:\n\tip-address: %s@53\n\tusername: ""\n\tchroot: ""\n\tzonesdir: "%s"\n\tdatabase: ""\n\tpidfile: ""\n\txfrdfile: "%s/xfrd.%s"\n\tzonelistfile: "%s/list.%s"\nremote-control:\n\tcontrol-enable: no\nzone:\n\tname: "%s"\n\tzonefile: %s\n' \
		"$2" "$TMP/zones" "$TMP" "$1" "$TMP" "$1" "${1/#root/.}" "$1" >"$TMP/nsd-$1.conf"
	(exec nsd -d -c "$TMP/nsd-$1.conf" >"$TMP/nsd-$1.log" 2>&1) &
	until_ok 20 dig +tries=1 +time=1 "@$2" "${1/#root/.}" SOA || fail "NSD answers: $(cat "$TMP/nsd-$1.log")"
}
authority root 198.18.0.20
authority internal 198.18.0.21

# --- resolvers
unbound_of() { # name, port, lines of configuration
	printf 'server:\n\tinterface: 127.0.0.1\n\tport: %s\n\tusername: ""\n\tchroot: ""\n\tdirectory: "%s"\n\tpidfile: ""\n\tuse-syslog: no\n\tnum-threads: 1\n\tmodule-config: "iterator"\n\tdo-not-query-localhost: no\n' "$2" "$TMP"
	printf '\tqname-minimisation: yes\n\tqname-minimisation-strict: yes\n\tharden-below-nxdomain: yes\n\tharden-referral-path: yes\n\tharden-glue: yes\n\tuse-caps-for-id: yes\n\tlocal-zone: "%s." nodefault\n\tlocal-zone: "d.f.ip6.arpa." nodefault\n' "$REVERSE4"
	printf '%s\nremote-control:\n\tcontrol-enable: no\n' "$3"
}
run_unbound() {
	unbound_of "$@" >"$TMP/$1.conf"
	unbound -d -c "$TMP/$1.conf" >"$TMP/$1.log" 2>&1 &
}
run_kresd() { # name, port, lines of configuration
	mkdir "$TMP/$1"
	printf "net.listen('127.0.0.1', %s, {kind = 'dns'})\ntrust_anchors.remove('.')\nmodules = {'hints'}\ncache.size = 10 * MB\n%s\n" "$2" "$3" >"$TMP/$1.conf"
	kresd -n -c "$TMP/$1.conf" "$TMP/$1" >"$TMP/$1.log" 2>&1 &
}
zones() { printf "%s\n" mesh.internal "$REVERSE4" "$REVERSE6"; }
lua_zones() { zones | sed "s/.*/'&.'/" | paste -sd ,; }
run_unbound unbound-root 5310 "	root-hints: \"$TMP/hints\""
run_unbound unbound-stub 5311 "$(zones | while read -r z; do printf 'stub-zone:\n\tname: "%s."\n\tstub-addr: 127.0.0.1@8600\n\tstub-prime: yes\n' "$z"; done)"
run_unbound unbound-forward 5312 "$(printf 'forward-zone:\n\tname: "."\n\tforward-addr: 127.0.0.1@8600\n')"
run_kresd kresd-root 5320 "hints.root({['ns.root.'] = '198.18.0.20'})
policy.add(policy.suffix(policy.PASS, policy.todnames({$(lua_zones)})))"
run_kresd kresd-stub 5321 "policy.add(policy.suffix(policy.STUB('127.0.0.1@8600'), policy.todnames({$(lua_zones)})))"
run_kresd kresd-forward 5322 "policy.add(policy.all(policy.FORWARD('127.0.0.1@8600')))"
by() { dig +short +tries=1 +time=15 @127.0.0.1 -p "$PORT" "$@"; }
status_by() { dig +tries=1 +time=15 @127.0.0.1 -p "$PORT" "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
up() { [ "$(by web.service.mesh.internal)" = 127.1.0.1 ]; }

SRV='1 1 80 7f010001.addr.dc1.mesh.internal.'
finds() { # name, port
	PORT=$2
	until_ok 20 up || fail "$1 answers: $(by web.service.mesh.internal; tail -5 "$TMP/$1.log")"
	check "$1: no such service, and its name is held" NXDOMAIN "$(status_by none.service.mesh.internal)"
	check "$1: a name below one that is not" NXDOMAIN "$(status_by a.b.none.service.mesh.internal)"
	check "$1: A" 127.1.0.1 "$(by web.service.dc1.mesh.internal)"
	check "$1: AAAA" fd00::1 "$(by six.service.mesh.internal AAAA)"
	check "$1: no AAAA" "NOERROR:" "$(status_by web.service.mesh.internal AAAA):$(by web.service.mesh.internal AAAA)"
	check "$1: SRV" "$SRV" "$(by web.service.mesh.internal SRV)"
	check "$1: RFC 2782" "$SRV" "$(by _web._tcp.service.mesh.internal SRV)"
	check "$1: RFC 2782, without the word service" "$SRV" "$(by _web._tcp.mesh.internal SRV)"
	check "$1: RFC 2782 with a tag" "$SRV" "$(by _web._v1.service.dc1.mesh.internal SRV)"
	check "$1: the target of it" 127.1.0.1 "$(by 7f010001.addr.dc1.mesh.internal)"
	check "$1: a tag with dots" 127.1.0.1 "$(by a.b.c.web.service.mesh.internal)"
	check "$1: a node" 198.18.0.30 "$(by n1.node.dc1.mesh.internal)"
	check "$1: the virtual name" "$V4" "$(by web.virtual.mesh.internal)"
	check "$1: the name of a virtual address" web.virtual.mesh.internal. "$(by -x "$V4")"
	check "$1: the name of a virtual IPv6 address" web.virtual.mesh.internal. "$(by -x "$V6")"
	check "$1: no name of another" NXDOMAIN "$(status_by -x "$(cut -d. -f1 <<<"$V4").1.2.3")"
	check "$1: over TCP" 127.1.0.1 "$(by +tcp v1.web.service.mesh.internal)"
}
for r in unbound-root:5310 unbound-stub:5311 unbound-forward:5312 kresd-root:5320 kresd-stub:5321 kresd-forward:5322; do
	finds "${r%:*}" "${r#*:}"
done
for PORT in 5310 5312 5320 5322; do
	check "$PORT: a name of others, of whose parts some have nothing" 192.0.2.1 "$(by www.deep.internal)"
	check "$PORT: one that is not" NXDOMAIN "$(status_by none.internal)"
	check "$PORT: our zone's servers" ns.mesh.internal. "$(by mesh.internal NS)"
	check "$PORT: our zone's SOA" ns.mesh.internal. "$(by mesh.internal SOA | cut -d' ' -f1)"
done
done_testing
