#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Aliases of others that lead to names of ours: no question for these leaves, whatever their servers say of
# them is not believed, and the client has the whole chain with what is so just now.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh

printf '{"dns": {"records": ["round.mesh.internal CNAME round.site", "out.mesh.internal CNAME plain.site", "printer.corp 60 A 10.0.0.7"]}}' >"$TMP/settings.json"
start_agent --config "$TMP/settings.json" --set dns.upstream=list --set "dns.forward=.=127.0.0.11,liar=127.0.0.22@5353" \
	--set node.alt_domain=consul --set source.kubernetes_domain=cluster.local --set dns.kernel_cache_after=2
check "register" 200 "$(register web-1 web 127.1.0.1 80)"
check "one with IPv6" 200 "$(register six-1 six fd00::6 80)"
for n in $(seq 100); do register "many-$n" many "10.1.0.$n" 80 >/dev/null; done
virtual=$(vip4 web)
reverse() { echo "$1" | awk -F. '{print $4 "." $3 "." $2 "." $1 ".in-addr.arpa."}'; }

# --- the others: libunbound follows each alias of the first by itself, the second says what it likes of ours
aliases=''
alias() { aliases+="	local-data: \"$1.site. 60 CNAME $2\"
"; }
alias www web.service.mesh.internal.
alias two www.site.
alias Upper WEB.Service.MESH.Internal.
alias six six.service.mesh.internal.
alias many many.service.mesh.internal.
alias none none.service.mesh.internal.
alias branch service.mesh.internal.
alias apex mesh.internal.
alias virtual web.virtual.mesh.internal.
alias node n1.node.mesh.internal.
alias alt web.service.consul.
alias kube none.default.svc.cluster.local.
alias ptr "$(reverse "$virtual")"
alias noptr 9.9.9.250.in-addr.arpa.
alias ptr6 9.b.6.2.7.1.6.d.6.9.7.1.6.7.7.d.f.ip6.arpa.
alias round round.mesh.internal.
alias between out.mesh.internal.
alias printer printer.corp.
alias chain printer.site.
alias below x.printer.corp.
alias later later.corp.
serve one 127.0.0.11 53 "	local-zone: \"site.\" static
	local-data: \"plain.site. 60 A 192.0.2.11\"
	local-zone: \"corp.\" static
	local-data: \"x.printer.corp. 60 A 192.0.2.12\"
	local-data: \"later.corp. 60 A 192.0.2.13\"
$aliases"
mkdir "$TMP/nsd"
SOA='@ 60 IN SOA ns host 1 3600 600 86400 60\n@ 60 IN NS ns\nns 60 IN A 127.0.0.22\n'
# shellcheck disable=SC2059,SC2016
printf '$ORIGIN liar.\n'"$SOA"'www 60 IN CNAME web.service.mesh.internal.\nnone 60 IN CNAME nobody.service.mesh.internal.\n' >"$TMP/nsd/liar"
# shellcheck disable=SC2059,SC2016
printf '$ORIGIN mesh.internal.\n'"$SOA"'web.service 60 IN A 192.0.2.66\nnobody.service 60 IN A 192.0.2.66\n' >"$TMP/nsd/mesh.internal"
serve_zones 127.0.0.22@5353 liar mesh.internal
is_there() { [ "$(ask plain.site)" = 192.0.2.11 ] && [ "$(status_of none.liar TXT)" != SERVFAIL ]; }
until_ok 20 is_there || fail "the others are asked: $(api $API/v1/waymark/dns)"

# rcode, flags, what stands in the answer, whose SOA
chain() {
	dig +tries=1 +time=15 @127.0.0.1 -p 8600 "$@" | awk '
		/status:/ { sub(/,/, "", $6); out = $6 }
		/^;; flags:/ { sub(/; QUERY.*/, ""); out = out (/ aa/ ? " aa" : "") (/ tc/ ? " tc" : "") }
		/^[^;]/ && NF > 4 { out = out " " ($4 == "SOA" ? "SOA:" $1 : $4 == "CNAME" ? $5 : $4 ":" ($2 ? "kept" : 0) ":" $5) }
		END { print out }'
}
for how in +notcp +tcp; do
	while read -r name type expected; do
		check "$name $type $how" "$expected" "$(chain $how "$name" "$type")"
	done <<-LIST
		www.site A NOERROR web.service.mesh.internal. A:0:127.1.0.1
		two.site A NOERROR www.site. web.service.mesh.internal. A:0:127.1.0.1
		www.site AAAA NOERROR web.service.mesh.internal. SOA:mesh.internal.
		two.site AAAA NOERROR www.site. web.service.mesh.internal. SOA:mesh.internal.
		www.site TXT NOERROR web.service.mesh.internal. SOA:mesh.internal.
		www.site CNAME NOERROR web.service.mesh.internal.
		six.site AAAA NOERROR six.service.mesh.internal. AAAA:0:fd00::6
		none.site A NXDOMAIN none.service.mesh.internal. SOA:mesh.internal.
		none.site SRV NXDOMAIN none.service.mesh.internal. SOA:mesh.internal.
		branch.site A NOERROR service.mesh.internal. SOA:mesh.internal.
		virtual.site A NOERROR web.virtual.mesh.internal. A:0:$virtual
		alt.site A NOERROR web.service.consul. A:0:127.1.0.1
		ptr.site PTR NOERROR $(reverse "$virtual") PTR:0:web.virtual.mesh.internal.
		noptr.site PTR NXDOMAIN 9.9.9.250.in-addr.arpa. SOA:250.in-addr.arpa.
		ptr6.site PTR NOERROR 9.b.6.2.7.1.6.d.6.9.7.1.6.7.7.d.f.ip6.arpa. SOA:b.6.2.7.1.6.d.6.9.7.1.6.7.7.d.f.ip6.arpa.
		between.site A NOERROR out.mesh.internal. plain.site. A:kept:192.0.2.11
		printer.site A NOERROR printer.corp. A:kept:10.0.0.7
		printer.site AAAA NOERROR printer.corp. SOA:printer.corp.
		chain.site A NOERROR printer.site. printer.corp. A:kept:10.0.0.7
		below.site A NOERROR x.printer.corp. A:kept:192.0.2.12
		www.liar A NOERROR web.service.mesh.internal. A:0:127.1.0.1
		none.liar A NXDOMAIN nobody.service.mesh.internal. SOA:mesh.internal.
	LIST
	check "in a circle between both worlds, $how" SERVFAIL "$(chain $how round.site A)"
	check "from the other side, $how" SERVFAIL "$(chain $how round.mesh.internal A)"
	check "in another case, $how" "NOERROR WEB.Service.MESH.Internal. A:0:127.1.0.1" "$(chain $how Upper.site A | sed 's/web.service.mesh.internal/WEB.Service.MESH.Internal/i')"
	matches "SRV with its addresses, $how" "^NOERROR web.service.mesh.internal. SRV:0:1 A:0:127.1.0.1$" "$(chain $how www.site SRV)"
	matches "the domain itself, $how" "^NOERROR mesh.internal. SOA:mesh.internal.$" "$(chain $how apex.site SOA)"
	check "the cluster's are asked for here, $how" "$(chain $how none.default.svc.cluster.local)" "$(chain $how kube.site | sed 's/ none.default.svc.cluster.local.//')"
	matches "a node, $how" "^NOERROR n1.node.mesh.internal. [A-Z]+:[0-9]+:" "$(chain $how node.site A)"
done
matches "more than a datagram holds" "^NOERROR tc many.service.mesh.internal. A:0:10.1.0" "$(chain +ignore +notcp +bufsize=600 many.site A)"
check "all over TCP" 100 "$(ask +tcp many.site | grep -c '^10\.1\.0\.')"
check "without recursion" REFUSED "$(status_of +norec www.site)"

# --- what changes is so at once, although it was asked for often enough to be kept
for n in 1 2 3 4; do
	for _ in 1 2 3 4; do ask www.site >/dev/null; ask www.liar >/dev/null; done
	check "another address" 200 "$(register web-1 web 127.1.0.1$n 80)"
	check "is seen" "NOERROR web.service.mesh.internal. A:0:127.1.0.1$n" "$(chain www.site A)"
	check "of who says another" "NOERROR web.service.mesh.internal. A:0:127.1.0.1$n" "$(chain www.liar A)"
	check "a name is forgotten" 0 "$("$CTL" --agent "unix:$TMP/http.sock" dns flush www.site >/dev/null 2>&1; echo $?)"
	check "it comes" 200 "$(register none-1 none 127.1.0.9 80)"
	check "and is found" "NOERROR none.service.mesh.internal. A:0:127.1.0.9" "$(chain none.site A)"
	check "it goes" 200 "$(code -X PUT $API/v1/agent/service/deregister/none-1)"
	check "and is not" "NXDOMAIN none.service.mesh.internal. SOA:mesh.internal." "$(chain none.site A)"
done
kept() { before=$(counter dns_hot); ask plain.site >/dev/null; [ "$(counter dns_hot)" -gt "$before" ]; }
until_ok 10 kept || fail "what does not lead to us is kept"

# --- nobody was asked for what is ours, nor for the operator's name that an alias leads to; of another one that was read
# again he is not any more
OURS='mesh\.internal|consul|cluster\.local|25[0-9]\.in-addr|24[0-9]\.in-addr|f\.ip6\.arpa|printer\.corp'
check "questions for ours that left" "" "$(grep -iE "info: 127.* ($OURS)" "$TMP/one.log")"
matches "those for theirs did" "www.site. A IN" "$(cat "$TMP/one.log")"
asked() { grep -c "info: 127.* $1\. A IN" "$TMP/one.log"; }
before=$(asked printer.site)
check "the alias itself is kept" "NOERROR printer.corp. A:kept:10.0.0.7 $before" "$(chain printer.site A) $(asked printer.site)"
check "another's name" "NOERROR later.corp. A:kept:192.0.2.13" "$(chain later.site A)"
sed -i 's/printer.corp 60/later.corp 60/' "$TMP/settings.json"
check "a reload" "" "$(operator -X PUT "$API/v1/agent/reload")"
before=$(asked later.corp)
check "is a record of the operator's" "NOERROR later.corp. A:kept:10.0.0.7" "$(chain later.site A)"
check "and not asked for" "$before" "$(asked later.corp)"
check "the other one is theirs again" "NOERROR printer.corp. 1" "$(chain printer.site A) $(asked printer.corp)"
done_testing
