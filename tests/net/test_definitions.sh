#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Services and checks that configuration files define: read at the start and by a reload; what left the
# files is deregistered, also if that was while no agent ran; what the API registered stays; an error
# names file and key and changes nothing.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
D=$TMP/conf.d
mkdir "$D"
ids() { api $API/v1/agent/services | jq -c keys; }
checks() { api $API/v1/agent/checks | jq -c keys; }
field() { api $API/v1/agent/services | jq -c ".[\"$1\"].$2"; }
reload() { operator_code -X PUT $API/v1/agent/reload; }
why() { operator -X PUT $API/v1/agent/reload; }
start() { start_agent --set kernel.enabled=false --config "$TMP/w.json" --config-dir "$D" "$@"; }

cat >"$TMP/w.json" <<J
{"log": {"level": "debug"},
 "services": [{"id": "web-1", "name": "web", "address": "127.1.0.1", "port": 81, "tags": ["blue"],
   "enable_tag_override": true, "check": {"id": "web-1-up", "ttl": "1h", "deregister_critical_service_after": "10h"}}]}
J
cat >"$D/b.json" <<J
{"dns": {"ttl": "7s"}, "service": {"name": "db", "port": 5432, "checks": [{"tcp": "127.0.0.1:1", "interval": "1h"}, {"ttl": "1h"}]},
 "checks": [{"id": "disk", "name": "disk", "ttl": "1h", "status": "passing"},
            {"id": "extra", "name": "extra", "service_id": "db", "ttl": "1h", "status": "passing"}]}
J
echo '{"dns": {"ttl": "5s"}}' >"$D/a.json"
echo 'not read' >"$D/note.txt"
echo 'not read' >"$D/.hidden.json"
start
check "services of all files" '["db","web-1"]' "$(ids)"
check "their checks, and the node's" '["disk","extra","service:db:1","service:db:2","web-1-up"]' "$(checks)"
check "as they say" '["blue"] true' "$(field web-1 Tags) $(field web-1 EnableTagOverride)"
check "a check of a service" db "$(api $API/v1/agent/checks | jq -r .extra.ServiceID)"
check "a heartbeat" 200 "$(code -X PUT $API/v1/agent/check/pass/web-1-up)"
check "settings too, the last file's" 7 "$(dig @127.0.0.1 -p 8600 web.service.mesh.internal A +noall +answer | awk '{print $2}')"
index=$(api $API/v1/waymark/status | jq .registry.index)
check "a reload of the same" 200 "$(reload)"
check "changes nothing" "$index" "$(api $API/v1/waymark/status | jq .registry.index)"

# what the API registers stays; what it takes away comes again
register api-1 api 127.1.0.2 82 >/dev/null
check "a check of the API's on a service of a file" 200 "$(code -X PUT $API/v1/agent/check/register -d '{"Name": "mine", "ServiceID": "web-1", "TTL": "1h"}')"
api -X PUT $API/v1/agent/service/deregister/db
echo '{"service": {"name": "db", "port": 5433, "check": {"ttl": "1h"}}}' >"$D/b.json"
check "a reload" 200 "$(reload)"
check "what the API took away is back, what it registered is there" '["api-1","db","web-1"]' "$(ids)"
check "as the file says now" 5433 "$(field db Port)"
check "checks that left are gone, others are there" '["mine","service:db","web-1-up"]' "$(checks)"
check "the heartbeat holds" passing "$(api $API/v1/agent/checks | jq -r '.["web-1-up"].Status')"

# errors name file and key; nothing changes
before=$(ids)$(checks)
refused() { # text, pattern, what stands in b.json
	echo "$3" >"$D/b.json"
	check "$1: refused" 500 "$(reload)"
	matches "$1: where and what" "b.json(:[0-9]+)?: $2" "$(why)"
	matches "$1: told before a start" "b.json(:[0-9]+)?: $2" "$("$B/waymarkd" --check-config --config "$TMP/w.json" --config-dir "$D" 2>&1)"
	check "$1: exit status" 2 "$("$B/waymarkd" --check-config --config-dir "$D" >/dev/null 2>&1; echo $?)"
}
refused "an unknown key" 'services\[1\]: json: unknown field "prot"' '{"services": [{"name": "a"}, {"name": "b", "prot": 1}]}'
refused "a wrong value" 'service: Invalid Port|service: .*[Pp]ort' '{"service": {"name": "a", "port": 70000}}'
refused "no list" 'checks: a list of objects is wanted' '{"checks": {"name": "a", "ttl": "1s"}}'
refused "a check that is none" 'checks\[0\]: ' '{"checks": [{"name": "a"}]}'
refused "a script" 'check: Scripts are disabled on this agent; to enable' '{"check": {"name": "a", "args": ["true"], "interval": "1s"}}'
refused "an id twice" 'services\[1\]: id "a" is that of services\[0\] in .*b.json' '{"services": [{"name": "a"}, {"id": "a", "name": "b"}]}'
refused "no JSON" 'line [0-9]+, column' '{"services": ['
check "nothing changed" "$before" "$(ids)$(checks)"

# what left the files is deregistered, by a reload and while no agent ran
rm "$D/b.json"
check "a reload without it" 200 "$(reload)"
check "its service is gone" '["api-1","web-1"]' "$(ids)"
register web-1 web 127.1.0.9 99 >/dev/null
echo '{}' >"$TMP/w.json"
check "what the API registered anew" 200 "$(reload)"
check "is the API's" '["api-1","web-1"]' "$(ids)"
echo '{"services": [{"name": "one"}, {"name": "two"}], "check": {"name": "node", "ttl": "1h"}}' >"$D/c.json"
check "two more" 200 "$(reload)"
check "are there" '["api-1","one","two","web-1"]' "$(ids)"
stop_agent KILL
echo '{"services": [{"name": "two"}]}' >"$D/c.json"
start
check "what left meanwhile is gone" '["api-1","two","web-1"]' "$(ids)"
check "a check of the node too" '["mine","web-1-up"]' "$(checks)"
matches "the log tells" 'event=definitions.applied services=1 checks=0 removed=2 failed=0' "$(cat "$TMP/agent.log")"

# what the registry refuses is told, and the rest is registered
echo '{"rules": [{"name": "owned", "services": ["pay-*"], "required": ["owner"]}]}' >"$TMP/rules.json"
stop_agent
echo '{"services": [{"name": "pay-1"}, {"name": "three"}]}' >"$D/c.json"
start --set "registry.rules_file=$TMP/rules.json"
check "the rest" '["api-1","three","web-1"]' "$(ids)"
matches "is told with file and key" 'event=definitions.failed file=[^ ]*c.json key=services\[0\] .*breaks the rule' "$(cat "$TMP/agent.log")"
done_testing
