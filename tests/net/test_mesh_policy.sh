#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_policy.sh - policies are objects of the mesh: written on any node, the same on all, decided as
# writes of the catalog are, there after kill -9, and on a leaf with the service that it asks for.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

policy_on() { api_of "$1" -w ' %{http_code}' -X PUT -d "$3" "/v1/waymark/policies/$2"; } # node, service, body
panic_at() { api_of "$1" "/v1/waymark/policies/$2" | jq -r '.panic_threshold' 2>/dev/null || echo none; }
panic_is() { # service, value, nodes...
	local service=$1 want=$2 i
	shift 2
	for i in "$@"; do [ "$(panic_at "$i" "$service")" = "$want" ] || return 1; done
}
mesh_up 3
for i in 1 2; do node_agent "$i" "${INSECURE[@]}"; done
node_agent 3 "${INSECURE[@]}" --set sync.role=leaf
until_ok 20 all_alive 3 1 2 3

# --- written on one, the same on all ------------------------------------------------------------------------
echo '{"balance": "peak_ewma", "panic_threshold": 10, "subsets": {"v2": "Service.Meta.version == 2"}}' >"$TMP/policy.json"
before=$(head_of 2 X-Consul-Index /v1/waymark/policies)
api_of 2 "/v1/waymark/policies?index=$before&wait=20s" >"$TMP/waited" &
waiter=$!
check "waymarkctl sets it, and tells what it does not find" 'warning: service: service "web" is not there
set web' "$(ctl_of 1 policy set web "$TMP/policy.json")"
wait "$waiter"
check "who waits on another node hears of it" web "$(jq -r '.[].service' "$TMP/waited")"
check "and has it" peak_ewma "$(ctl_of 2 policy get web | jq -r .balance)"
matches "in the list" '^web +select=all balance=peak_ewma when_none=refuse subsets=1$' "$(ctl_of 2 policy list)"
register_on 1 web-1 web 10.77.0.1 8081 '"Meta": {"version": "2"}' >/dev/null
check "a subset that somebody is in is not warned of" '{"warnings":[]} 200' "$(policy_on 2 web '{"panic_threshold": 20, "subsets": {"v2": "Service.Meta.version == 2"}}')"
until_ok 10 panic_is web 20 1 2 || fail "node 1 has another: $(panic_at 1 web)"
until_ok 10 same_digests 1 2 || fail "digests differ"
matches "a bad one is refused by field and value" 'balance: "fair" is not allowed: weighted, .* 400$' "$(policy_on 1 web '{"balance": "fair"}')"
api_of 1 -N --max-time 600 "/v1/waymark/events?service=web" >"$TMP/events" &
EVENTS=$!
until_ok 10 grep -q ready "$TMP/events" || fail "events are told"
policy_on 2 web '{"panic_threshold": 21}' >/dev/null
until_ok 10 grep -q '^data: .*"service":"web","gone":false' "$TMP/events" || fail "an event tells of it: $(cat "$TMP/events")"
kill $EVENTS

# --- a leaf has it with the service -----------------------------------------------------------------------------
check "a leaf has none that nobody asked for" "[]" "$(api_of 3 /v1/waymark/policies)"
check "the first question, which nothing was asked before" 10.77.0.1 "$(ask_of 3 web.service.mesh.internal)"
until_ok 10 panic_is web 21 3 || fail "the leaf has no policy of web"
policy_on 1 web '{"panic_threshold": 22}' >/dev/null
until_ok 10 panic_is web 22 3 || fail "a change does not come to the leaf"
matches "a leaf writes none" 'leaf.* 400$' "$(policy_on 3 web '{}')"
check "removed" "deleted web" "$(ctl_of 2 policy delete web)"
until_ok 10 panic_is web none 1 2 3 || fail "it is still there: $(panic_at 1 web) $(panic_at 2 web) $(panic_at 3 web)"

# --- one instance at a time: the same on every node --------------------------------------------------------------
for i in 1 2; do
	register_on $i "one-$i" one 10.77.0.$i 8082 >/dev/null
	register_on $i "two-$i" one 10.77.0.$i 8083 >/dev/null
done
policy_on 1 one '{"balance": "direct"}' >/dev/null
order_on() { api_of "$1" "/v1/waymark/resolve?service=one" | jq -r '[.chosen[].id] | join(" ")'; } # node
all_on() { [ "$(order_on "$1" | wc -w)" = 4 ] && [ "$(api_of "$1" /v1/waymark/policies/one | jq -r .balance)" = direct ]; }
for i in 1 2; do until_ok 10 all_on $i || fail "node $i has not all"; done
check "direct has one order on all nodes" "$(order_on 1)" "$(order_on 2)"
check "each time" 1 "$(for _ in 1 2 3 4 5; do order_on 1; done | sort -u | wc -l)"

# --- two write at once, in halves of the mesh --------------------------------------------------------------------
policy_on 1 db '{"panic_threshold": 1}' >/dev/null
until_ok 10 panic_is db 1 1 2 || fail "db is not on both"
cut_mesh 1 2
until_ok 20 leaderless 2 || true
policy_on 1 db '{"panic_threshold": 2}' >/dev/null
sleep 0.1
policy_on 2 db '{"panic_threshold": 3}' >/dev/null
heal_mesh
until_ok 30 all_alive 3 1 2 || fail "the halves do not find each other"
until_ok 15 panic_is db 3 1 2 || fail "not both have the later one: $(panic_at 1 db), $(panic_at 2 db)"
until_ok 10 same_digests 1 2 || fail "digests differ"
check "what lost is on the audit list" '(policies) db' "$({ api_of 1 /v1/waymark/conflicts; api_of 2 /v1/waymark/conflicts; } | jq -rs 'add | map(select(.id == "db"))[0] | "\(.node) \(.id)"')"
matches "all have the same" '^all that were asked have the same$' "$(ctl_of 1 sync verify)"

# --- there after kill -9 ---------------------------------------------------------------------------------------------
node_stop 2 KILL
policy_on 1 late '{"panic_threshold": 4}' >/dev/null
api_of 1 -X DELETE /v1/waymark/policies/db
node_agent 2 "${INSECURE[@]}"
until_ok 20 panic_is late 4 2 || fail "what was written meanwhile does not follow"
until_ok 10 panic_is db none 1 2 || fail "what was removed meanwhile is there"
until_ok 10 same_digests 1 2 || fail "digests differ at the end"

for i in 1 2 3; do node_stop "$i"; done
done_testing
