#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_leaf.sh - two full members and three leaves: what is asked for comes with the first question,
# changes follow, a home that is killed is replaced, what nobody asks for goes, and what a leaf has
# registered is everywhere.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

LEAF=("${INSECURE[@]}" --set sync.role=leaf --set sync.interest_ttl=10s)
held_at() { # node: services that it has, sorted
	api_of "$1" /v1/catalog/services | jq -r 'keys[]' | sort | paste -sd' '
}
holds() { [ "$(held_at "$1")" = "$2" ]; } # node, services
home_of() { api_of "$1" /v1/waymark/sync | jq -r .leaf.home; }
tables_of() { api_of "$1" /v1/waymark/maps | jq -r '.maps[] | select(.name == "sets" or .name == "backends") | .max_entries' | sort -n | paste -sd' '; }
has_home() { [ -n "$(home_of "$1")" ]; }


mesh_up 5
for i in 1 2; do node_agent "$i" "${INSECURE[@]}"; done
for i in 3 4; do node_agent "$i" "${LEAF[@]}"; done
node_agent 5 "${LEAF[@]}" --set 'sync.interest=pin-*'
until_ok 20 all_alive 5 1 2 3 4 5 || fail "not all are there"
for i in 3 4 5; do until_ok 10 has_home "$i" || fail "leaf $i has no home"; done
check "roles in the list of members" "full full leaf leaf leaf" "$(api_of 4 /v1/waymark/members | jq -r '.[].role' | sort | paste -sd' ')"
check "a leaf has tables for what it holds" "8192 16384, 16384 131072" "$(tables_of 3), $(tables_of 1)"

# --- the first question --------------------------------------------------------------------------------
register_on 1 web-1 web 10.77.0.1 8081 >/dev/null
register_on 2 web-2 web 10.77.0.2 8081 >/dev/null
register_on 1 db-1 db 10.77.0.1 5432 >/dev/null
register_on 2 pin-1 pin-a 10.77.0.2 9 >/dev/null
until_ok 10 passes_on db db-1 1 2 && until_ok 10 passes_on pin-a pin-1 1 2 || fail "the full members do not know db"
until_ok 10 passes_on web "web-1 web-2" 1 2 || fail "the full members do not know web"
check "a leaf holds nothing of others" "" "$(held_at 3)"
check "the first question, over UDP" "10.77.0.1 10.77.0.2" "$(ask_of 3 web.service.mesh.internal | sort | paste -sd' ')"
check "the first question, over TCP" 10.77.0.1 "$(ask_of 3 +tcp db.service.mesh.internal)"
check "the first request" "web-1 web-2" "$(passing_at 4 web)"
check "what nobody knows is NXDOMAIN" NXDOMAIN "$(on 3 dig +tries=1 @127.0.0.1 -p 8600 none.service.mesh.internal | sed -n 's/.*status: \([A-Z]*\),.*/\1/p')"
check "a leaf holds what was asked for" "db web" "$(held_at 3)"
until_ok 10 holds 5 "pin-a" || fail "what the settings name is not held: $(held_at 5)"
check "a list says that it is a part" leaf "$(head_of 3 X-Waymark-Partial /v1/catalog/services)"
check "a full member's does not" "" "$(head_of 1 X-Waymark-Partial /v1/catalog/services)"
matches "its status says whose word it takes" "role     leaf: 3 services, told by n[12]" "$(ctl_of 3 sync status)"
matches "metrics of a leaf" "^waymark_leaf_answered_total 3" "$(api_of 3 '/v1/agent/metrics?format=prometheus' | grep leaf_)"
check "the catalog is written on full members" 400 "$(api_of 3 -o /dev/null -w '%{http_code}' -X PUT -d '{"Node": "x", "Address": "192.0.2.9"}' /v1/catalog/register)"
(exec nsenter --net="/proc/${NODE_NS[1]}/ns/net" -- /usr/bin/python3 tools/demo/backend.py db-1 10.77.0.1 5432) &
BACKENDS+=($!)
until_ok 10 on 1 curl -s http://10.77.0.1:5432/ >/dev/null
vip=$(ask_of 4 db.virtual.mesh.internal)
matches "a virtual address leads there at once" db-1 "$(steered_on 4 curl -s --max-time 20 "http://$vip/")"

# --- changes follow --------------------------------------------------------------------------------------
register_on 2 web-3 web 10.77.0.2 8083 >/dev/null
until_ok 10 passes_on web "web-1 web-2 web-3" 3 4 || fail "web-3 does not follow"
api_of 1 -X PUT /v1/agent/service/deregister/web-1
until_ok 10 passes_on web "web-2 web-3" 3 4 || fail "web-1 does not go"
register_on 1 pin-2 pin-b 10.77.0.1 9 >/dev/null
until_ok 10 holds 5 "pin-a pin-b" || fail "a new service that fits the glob is not held: $(held_at 5)"

# --- who serves whom ----------------------------------------------------------------------------------------
of_stream() { api_of "$1" /v1/waymark/sync | jq -c ".streams[] | select(.name == \"$2\") | $3"; }
home=$(home_of 3)
check "the home says what it serves" "true true" "$(of_stream "${home#n}" n3 '"\(.interests >= 1) \(.objects_sent >= 2)"' | tr -d '"')"
check "the leaf says who is its home" 'true' "$(of_stream 3 "$home" .home)"
check "and that the other one is not" '[0,false]' "$(api_of 3 /v1/waymark/sync | jq -c "[(.streams[] | select(.name != \"$home\") | .interests), any(.streams[]; .home and .name != \"$home\")] | [.[0] // 0, .[-1]]")"
matches "said to people" "^$home .* yes +[1-9]" "$(ctl_of 3 peers)"

# --- a leaf's own ------------------------------------------------------------------------------------------
register_on 3 own-3 own 10.77.0.3 1 >/dev/null
until_ok 10 passes_on own own-3 1 2 4 5 || fail "what a leaf registered is not everywhere"
register_on 4 own-4 own 10.77.0.4 1 >/dev/null
until_ok 10 passes_on own "own-3 own-4" 1 2 3 4 5 || fail "the others' of its own service are not at a leaf"
check "digests of full members" "$(digest_of 1)" "$(digest_of 2)"

# --- its home is killed ---------------------------------------------------------------------------------------
home=$(home_of 3)
other=$((3 - ${home#n}))
node_stop "${home#n}" KILL
register_on "$other" late-1 late "10.77.0.$other" 4 >/dev/null
register_on "$other" web-4 web "10.77.0.$other" 8084 >/dev/null
home_is() { [ "$(home_of 3)" = "$1" ]; }
until_ok 15 home_is "n$other" || fail "leaf 3 stays with $(home_of 3)"
knows_web4() { passing_at 3 web | grep -q web-4; }
until_ok 15 knows_web4 || fail "after the move changes do not follow"
until_ok 15 passes_on late late-1 3 4 5 || fail "after the move nothing new is found"
register_on 3 own-5 own 10.77.0.3 2 >/dev/null
until_ok 10 passes_on own "own-3 own-4 own-5" "$other" 4 5 || fail "after the move its own is not told"
node_agent "${home#n}" "${INSECURE[@]}"
until_ok 20 all_alive 5 1 2 3 4 5
until_ok 15 passes_on own "own-3 own-4 own-5" 1 2 || fail "who comes back does not know a leaf's"
check "the dead stay dead" "" "$(passing_at 4 web | grep web-1)"

# --- a leaf is killed: seen by who is interested ----------------------------------------------------------------
node_stop 4 KILL
until_ok 15 passes_on own "own-3 own-5" 1 2 3 || fail "the dead leaf's instance passes"
node_agent 4 "${LEAF[@]}"
until_ok 15 passes_on own "own-3 own-4 own-5" 1 2 3 || fail "the leaf is not back"

check "a leaf has only a part to compare, and says so" 501 "$(on 3 curl -s -o /dev/null -w '%{http_code}' --unix-socket "$TMP/n3.sock" http://localhost/v1/waymark/sync/verify)"
check "a full member compares with full ones" '["n2"]' "$(on 1 "$CTL" --agent "unix:$TMP/n1.sock" --json sync verify | jq -c '[.members[].name]')"

# --- nobody asks any more --------------------------------------------------------------------------------------
until_ok 40 holds 3 "own" || fail "what nobody asks for stays: $(held_at 3)"
check "what the settings name stays" "pin-a pin-b" "$(held_at 5 | tr ' ' '\n' | grep ^pin | paste -sd' ')"
check "asked again it is there again" "10.77.0.1" "$(ask_of 3 db.service.mesh.internal)"

# --- nobody is left who holds everything ----------------------------------------------------------------------
check "its home is heard" true "$(head_of 3 X-Consul-KnownLeader /v1/health/service/db)"
for i in 1 2; do node_stop "$i" KILL; done
until_ok 30 leaderless 3 || fail "other leaves count as ones who know all"
silent() { [ "$(head_of 3 X-Consul-LastContact /v1/health/service/own)" -ge "$1" ]; }
until_ok 30 silent 2000 || fail "the last contact does not count from the home's last word"
for i in 3 4 5; do node_stop "$i"; done
done_testing
