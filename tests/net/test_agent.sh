#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What clients ask of the agent itself: metrics, new settings, to stop.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
put() { operator_code -X PUT "$API/v1/agent/$1"; }
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1" '$1 == m {print $2}'; }

echo '{"log": {"level": "info"}}' >"$TMP/w.json"
echo '{"rules": [{"name": "owned", "services": ["pay-*"], "required": ["owner"]}]}' >"$TMP/rules.json"
start_agent --config "$TMP/w.json" --set "registry.rules_file=$TMP/rules.json" --set 'dns.addresses=["127.0.0.1"]'
register web-1 web 127.1.0.1 8081 >/dev/null

# --- metrics: the same numbers as the kernel's own map, in both shapes
before=$(metric dns_answered_total)
for _ in 1 2 3; do ask web.service.mesh.internal >/dev/null; done
check "the kernel's answers are counted" 3 $(($(metric dns_answered_total) - before))
check "as in the map" "$(counter dns_answered)" "$(metric dns_answered_total)"
check "as in Consul's shape" "$(metric dns_answered_total)" "$(api $API/v1/agent/metrics |
	jq '.Counters[] | select(.Name == "waymark.dns.answered").Count')"
check "a gauge" 1 "$(metric registry_instances)"
api "$API/v1/agent/metrics?format=prometheus" >"$TMP/metrics"
missing=$(api $API/v1/waymark/status | jq -r '.plane.counters, .dns, .http, .api | keys[]' |
	grep -v '_max$' | while read -r name; do
	grep -qE "^waymark_(http_|api_)?${name}(_total)? " "$TMP/metrics" || echo "$name"
done)
[ "$(grep -c "^waymark_" "$TMP/metrics")" -gt 60 ] || fail "too few metrics"
check "every counter of the status is there" "" "$missing"

# --- settings
echo '{"log": {"level": "debug"}, "dns": {"port": 9999, "tcp_idle": "1s"}, "node": {"datacenter": "x"},
	"registry": {"rules_file": ""}}' >"$TMP/w.json"
check "reload" 200 "$(put reload)"
matches "it is done when the answer comes, and every setting that needs a restart is named" \
	'event=agent.reload changed=1 needs_restart=node.datacenter,dns.port,dns.tcp_idle$' "$(cat "$TMP/agent.log")"
check "what was said by --set stays" 'Service pay-api breaks the rule "owned": metadata owner is missing' \
	"$(api -X PUT $API/v1/agent/service/register -d '{"Name": "pay-api"}')"
echo '{"log": {"level": "loud"}}' >"$TMP/w.json"
check "broken settings are refused" 500 "$(put reload)"
matches "with the reason" 'log.level' "$(operator -X PUT $API/v1/agent/reload)"
check "and the agent goes on" 200 "$(code $API/v1/agent/self)"

# --- the end
check "leave is answered" 200 "$(put leave)"
gone() { ! kill -0 "$AGENT"; }
until_ok 20 gone || fail "the agent ends"
wait "$AGENT"
check "well" 0 $?
AGENT=''
check "the kernel goes on serving" 127.1.0.1 "$(ask web.service.mesh.internal)"
start_agent
check "nothing is lost" web-1 "$(api $API/v1/agent/services | jq -r 'keys[]')"
done_testing
