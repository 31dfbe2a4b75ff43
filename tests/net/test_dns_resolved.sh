#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `waymarkctl dns enable` where systemd-resolved decides whom programs ask: our domain by a drop-in, or
# everything. The real program reads what was written, and asks us.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
# shellcheck source=tests/net/resolved.sh
. tests/net/resolved.sh
# shellcheck source=tests/net/kube.sh
. tests/net/kube.sh
resolved_is_there || exit 77
ROOT=$TMP/node
OURS=$ROOT/etc/systemd/resolved.conf.d/90-waymark.conf
resolved_conf
ln -s ../run/systemd/resolve/stub-resolv.conf "$ROOT/etc/resolv.conf"
enable() { "$CTL" --root "$ROOT" dns enable "$@" 2>&1; }
disable() { "$CTL" --root "$ROOT" dns disable 2>&1; }

# An uplink with a server of its own, as systemd-networkd would tell of it.
far_network up0 198.18.0.1
ip addr add 198.18.0.2/24 dev up0
ip link set up0 up
SERVE_IN=$FAR serve up 198.18.0.1 53 "$(printf '\tlocal-zone: "example." static\n\tlocal-data: "a.example. 60 A 192.0.2.11"\n\tlocal-data: "b.example. 60 A 192.0.2.12"')
	access-control: 0.0.0.0/0 allow"
mkdir -p "$TMP/run/systemd/netif/links"
printf 'ADMIN_STATE=configured\nOPER_STATE=routable\nCARRIER_STATE=carrier\nADDRESS_STATE=routable\nDNS=198.18.0.1\n' \
	>"$TMP/run/systemd/netif/links/$(ip -j link show up0 | jq '.[0].ifindex')"
chmod 755 "$TMP/run/systemd/netif" "$TMP/run/systemd/netif/links"
seen() { # what a libc makes of a name, by way of systemd-resolved's listener
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount -- bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$ROOT/run/systemd/resolve/stub-resolv.conf" \
		/usr/bin/python3 -c '
import socket, sys
print(socket.getaddrinfo(sys.argv[1], None, socket.AF_INET, socket.SOCK_DGRAM)[0][4][0])' "$1" 2>/dev/null
}
is_seen() { [ "$(seen "$1")" = "$2" ]; }
by() { dig +short +tries=1 +time=15 @127.0.0.53 "$@"; }
written() { grep -v '^#' "$OURS"; }

# --- our domain alone: dns.upstream may be off, and port 53 is not needed
start_agent
register web-1 web 127.1.0.1 80 >/dev/null
resolved
until_ok 10 is_seen a.example 192.0.2.11 || fail "the uplink's server is asked: $(tail -5 "$TMP/resolved.log")"
check "our names are not known" "" "$(seen web.service.mesh.internal)"
check "enable" "then: systemctl try-reload-or-restart systemd-resolved.service
this node's programs ask the agent" "$(enable)"
: >"$TMP/up.log" # from here on nothing of ours leaves
check "what is written is what docs/dns.md has" "$(awk '$0 == "```systemd-resolved" {on = 1; next} /^```/ {on = 0} on' docs/dns.md)" "$(written)"
matches "every zone of ours" "^Domains=~mesh.internal ~240.in-addr.arpa .*~255.in-addr.arpa ~[0-9a-f.]*.ip6.arpa$" "$(written)"
check "again" "this node's programs ask the agent already" "$(enable | tail -n 1)"
resolved
until_ok 10 is_seen web.service.mesh.internal 127.1.0.1 || fail "our names are asked of us: $(tail -5 "$TMP/resolved.log")"
check "names of others of others" 192.0.2.11 "$(seen a.example)"
check "the name of a virtual address" web.virtual.mesh.internal. "$(by -x "$(vip4 web)")"
check "of IPv6" web.virtual.mesh.internal. "$(by -x "$(vip6 web)")"
check "one that nobody has" "" "$(by -x 240.0.0.1)"
leaves() { grep -ciE 'arpa|cluster|consul|mesh' "$TMP/up.log"; }
check "the uplink was not asked" 0 "$(leaves)"
check "status" '["systemd-resolved",true,true]' "$("$CTL" --json --root "$ROOT" dns status | jq -c '.node | [.owner, .enabled, .asks[0].answers]')"
check "as JSON" '{"changed":false,"enabled":true,"owner":"systemd-resolved"}' "$("$CTL" --json --root "$ROOT" dns enable | jq -Sc .)"
stop_agent

# --- a cluster's names as well; the file of before, which had our domains alone, is written anew
cat >"$OURS" <<'END'
# waymarkctl dns enable wrote this (49ed34348993e0fe); waymarkctl dns disable takes it back
[Resolve]
DNS=127.0.0.1:8600
Domains=~mesh.internal
END
small_cluster
namespace default 22222222-2222-4222-8222-222222222222
service shop '"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{"name": "http", "port": 80, "targetPort": 8080}]'
start_agent --set node.alt_domain=consul --set source.kubernetes_enabled=true --set "source.kubernetes_kubeconfig=$TMP/kubeconfig" \
	--set source.kubernetes_node=n1
missing() { "$CTL" --json --root "$ROOT" dns status | jq -c '.node.missing | [length, .[:3]]'; }
check "what it does not have" '[19,["consul","cluster.local","240.in-addr.arpa"]]' "$(missing)"
matches "in words" "^ +consul and 18 other zones of ours are asked of others: dns enable again" "$("$CTL" --root "$ROOT" dns status)"
matches "enable" "this node's programs ask the agent$" "$(enable)"
check "it has all" '[0,[]]' "$(missing)"
matches "both domains, and the cluster's" "^Domains=~mesh.internal ~consul ~cluster.local ~240.in-addr.arpa " "$(written)"
resolved
until_ok 30 is_seen shop.default.svc.cluster.local 10.96.0.1 || fail "a cluster's names: $(tail -5 "$TMP/resolved.log")"
check "one that is not there" "" "$(seen none.default.svc.cluster.local)"
check "by the other domain" 127.1.0.1 "$(seen web.service.consul)"
check "names of others of others" 192.0.2.11 "$(seen a.example)"
check "the uplink was not asked" 0 "$(leaves)"
check "disable" "this node's programs ask whom they asked before" "$(disable | tail -n 1)"
check "nothing is left" "" "$(ls "$ROOT/etc/systemd/resolved.conf.d")"
resolved
until_ok 10 is_seen a.example 192.0.2.11 || fail "as before"
check "our names are not known" "" "$(seen web.service.mesh.internal)"
check "the link was not touched" ../run/systemd/resolve/stub-resolv.conf "$(readlink "$ROOT/etc/resolv.conf")"

# --- what is not understood
printf '[Resolve]\nDNS=198.18.0.1\n' >"$ROOT/etc/systemd/resolved.conf.d/site.conf"
matches "servers in its configuration" "resolved.conf.d/site.conf has DNS=198.18.0.1: names of ours would be asked there, too; --only" "$(enable)"
[ ! -e "$OURS" ] || fail "nothing was written"
matches "everything, where others are not asked" "dns.upstream is off" "$(enable --only)"
stop_agent

# --- everything: the uplink's server is asked by us
printf 'nameserver 198.18.0.1\n' >"$TMP/uplink.conf"
start_agent --set dns.upstream=resolv.conf --set "dns.resolv_conf=$TMP/uplink.conf"
enable --only >/dev/null
check "of everything nothing is missing" '[0,[]]' "$(missing)"
check "what is written for everything" "[Resolve] DNS= DNS=127.0.0.1:8600 FallbackDNS= Domains=~." "$(written | paste -sd ' ')"
resolved
until_ok 10 is_seen web.service.mesh.internal 127.1.0.1 || fail "our names: $(tail -5 "$TMP/resolved.log")"
until_ok 10 is_seen a.example 192.0.2.11 || fail "names of others"
before=$(api $API/v1/waymark/dns | jq .counters.dns_upstream_asked)
check "another" 192.0.2.12 "$(seen b.example)"
register six-1 six fd00::1 80 >/dev/null
check "AAAA by way of it" fd00::1 "$(by six.service.mesh.internal AAAA)"
check "SRV" "1 1 80 7f010001.addr.dc1.mesh.internal." "$(by _web._tcp.service.mesh.internal SRV)"
check "PTR" web.virtual.mesh.internal. "$(by -x "$(vip4 web)")"
check "no such service" NXDOMAIN "$(dig +tries=1 +time=15 @127.0.0.53 none.service.mesh.internal | sed -n 's/.*status: \([A-Z]*\),.*/\1/p')"
check "came by way of us, once" "true 1" "$(api $API/v1/waymark/dns | jq ".counters.dns_upstream_asked > $before") $(grep -c 'b.example. A IN' "$TMP/up.log")"
echo '# mine' >>"$OURS"
matches "an edited file stays" "90-waymark.conf was edited since dns enable wrote it" "$(disable)"
check "but with --force" 0 "$("$CTL" --force --root "$ROOT" dns disable >/dev/null; echo $?)"
check "which leaves others' files" site.conf "$(ls "$ROOT/etc/systemd/resolved.conf.d")"
resolved_end
done_testing
