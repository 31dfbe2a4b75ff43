#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_leaf_alias.sh - a leaf is asked for names that lead to services which it does not hold: the operator's
# aliases, services with a host name, aliases of others. It looks up all on the way and answers whole.
# shellcheck source=tests/net/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/mesh.sh
source "$(dirname "$0")/mesh.sh"
# shellcheck source=tests/net/upstream.sh
source tests/net/upstream.sh

held_at() { api_of "$1" /v1/catalog/services | jq -r 'keys[]' | sort | paste -sd' '; }
has_home() { [ -n "$(api_of "$1" /v1/waymark/sync | jq -r .leaf.home)" ]; }
status_at() { on 2 dig +tries=1 +time=15 @127.0.0.1 -p 8600 "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
whole() { ask_of 2 "$@" | paste -sd' '; }

mesh_up 2
IN_2="nsenter -t ${NODE_NS[2]} -n"
SERVE_IN=$IN_2 SERVE_FROM=$IN_2 serve others 127.0.0.11 53 '	local-zone: "site." static
	local-zone: "corp." static
	local-data: "plain.site. 60 A 192.0.2.11"
	local-data: "www.site. 60 CNAME e.service.mesh.internal."
	local-data: "chain.site. 60 CNAME chain.corp."
	local-data: "late.site. 60 CNAME h.service.mesh.internal."
	local-data: "none.site. 60 CNAME none.service.mesh.internal."'
printf '{"dns": {"records": ["a.corp CNAME a.service.mesh.internal", "b.corp CNAME b.corp2", "b.corp2 CNAME b.service.mesh.internal",
	"virtual.corp CNAME v.virtual.mesh.internal", "none.corp CNAME none.service.mesh.internal", "chain.corp CNAME host2.service.mesh.internal",
	"out.corp CNAME www.site", "late.corp CNAME g.service.mesh.internal"]}}' >"$TMP/leaf.json"
node_agent 1 "${INSECURE[@]}"
node_agent 2 "${INSECURE[@]}" --config "$TMP/leaf.json" --set sync.role=leaf --set dns.upstream=list --set dns.forward=.=127.0.0.11
until_ok 20 all_alive 2 1 2 || fail "not all are there"
until_ok 10 has_home 2 || fail "the leaf has no home"
plain() { [ "$(ask_of 2 plain.site)" = 192.0.2.11 ]; }
until_ok 20 plain || fail "others are asked"
until_ok 20 leaf_answers 2 || fail "its home does not answer it"
n=0
for s in a b c d e f g h v x; do
	n=$((n + 1))
	register_on 1 "$s-1" "$s" "10.77.1.$n" 80 >/dev/null
done
register_on 1 host-1 host c.service.mesh.internal 80 >/dev/null
register_on 1 host2-1 host2 host3.service.mesh.internal 80 >/dev/null
register_on 1 host3-1 host3 d.service.mesh.internal 80 >/dev/null
register_on 1 away-1 away plain.site 80 >/dev/null
register_on 1 leads-1 leads f.corp 80 >/dev/null
register_on 1 crosses-1 crosses www.site 80 >/dev/null
until_ok 10 passes_on crosses crosses-1 1 || fail "node 1 does not know its own"
check "the leaf holds none of them" "" "$(held_at 2)"

check "an alias of the operator's" "a.service.mesh.internal. 10.77.1.1" "$(whole a.corp)"
check "two of them, over TCP" "b.corp2. b.service.mesh.internal. 10.77.1.2" "$(whole +tcp b.corp)"
check "a virtual name" "v.virtual.mesh.internal. $(ask_of 1 v.virtual.mesh.internal)" "$(whole virtual.corp)"
check "a service with a host name, neither is held" "c.service.mesh.internal. 10.77.1.3" "$(whole host.service.mesh.internal)"
check "three services, one after the other" "host3.service.mesh.internal. d.service.mesh.internal. 10.77.1.4" "$(whole host2.service.mesh.internal)"
check "a service whose host is another's, not held" "plain.site. 192.0.2.11" "$(whole away.service.mesh.internal)"
check "an alias of others" "e.service.mesh.internal. 10.77.1.5" "$(whole www.site)"
check "of one that nobody has" NXDOMAIN "$(status_at none.site)"
check "of one that nobody has, of ours" "NOERROR none.service.mesh.internal." "$(status_at none.corp) $(whole none.corp)"
check "what is held now" "a away b c d e host host2 host3 v" "$(held_at 2)"
check "who asks for the alias waits for nothing" "g.service.mesh.internal." "$(whole late.corp CNAME)"
check "nor is it looked up" "a away b c d e host host2 host3 v" "$(held_at 2)"

# --- over others and back, all of it new to a leaf that begins anew
node_stop 2
node_agent 2 "${INSECURE[@]}" --config "$TMP/leaf.json" --set "node.data_dir=$TMP/n2b" --set sync.role=leaf --set dns.upstream=list --set dns.forward=.=127.0.0.11
until_ok 10 has_home 2 || fail "the leaf has no home"
until_ok 20 leaf_answers 2 || fail "its home does not answer"
check "our alias, theirs, our service, over TCP" "www.site. e.service.mesh.internal. 10.77.1.5" "$(whole +tcp out.corp)"
check "their alias, ours, three services" "chain.corp. host2.service.mesh.internal. host3.service.mesh.internal. d.service.mesh.internal. 10.77.1.4" "$(whole chain.site)"
check "our service, their alias" "www.site. e.service.mesh.internal. 10.77.1.5" "$(whole crosses.service.mesh.internal)"

# --- nobody is left who could tell: as of a plain name
node_stop 1 KILL
check "a plain name" SERVFAIL "$(status_at x.service.mesh.internal)"
check "an alias of ours" SERVFAIL "$(status_at late.corp)"
check "an alias of others, over TCP" SERVFAIL "$(status_at +tcp late.site)"
check "what is held goes on" "www.site. e.service.mesh.internal." "$(ask_of 2 out.corp | head -n 2 | paste -sd' ')"
node_stop 2
done_testing
