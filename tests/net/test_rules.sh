#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The operator's rules: every way of registering is judged by them, a reload changes them, and a broken
# file changes nothing.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
RULES=$TMP/rules.json
rules() { echo "{\"rules\": [{\"name\": \"owned\", \"services\": [\"pay-*\"], \"required\": [\"$1\"]}]}" >"$RULES"; }
says() { operator -X PUT "$API/v1/$1" -d "$2"; }
broken="Service pay-api breaks the rule \"owned\": metadata owner is missing"

echo '{"rules": [{"title": "x"}]}' >"$RULES"
"$B/waymarkd" --set "node.data_dir=$TMP/data" --set kernel.enabled=false --set "http.socket=" --set "registry.rules_file=$RULES" 2>"$TMP/bad.log" &&
	fail "it starts with a broken file"
matches "a broken file is named" 'rules_file .*rules\[0\]: unknown key' "$(cat "$TMP/bad.log")"
rules owner
echo "{\"registry\": {\"rules_file\": \"$RULES\"}}" >"$TMP/w.json"
start_agent --set kernel.enabled=false --config "$TMP/w.json"
check "the agent's API" "$broken" "$(says agent/service/register '{"Name": "pay-api"}')"
check "the mesh's" "$broken" "$(says waymark/instances/p1 '{"name": "pay-api"}')"
check "the catalog's" "$broken" "$(says catalog/register '{"Node": "s", "Address": "10.8.0.1", "Service": {"Service": "pay-api"}}')"
matches "a transaction" 'breaks the rule' "$(says txn '[{"Node": {"Verb": "set", "Node": {"Node": "s", "Address": "10.8.0.1"}}},
	{"Service": {"Verb": "set", "Node": "s", "Service": {"Service": "pay-api"}}}]')"
check "nothing came of it" '{}' "$(api $API/v1/catalog/services)"
check "who keeps them" "" "$(says agent/service/register '{"Name": "pay-api", "Meta": {"owner": "me"}}')"
check "whom they are not for" "" "$(says agent/service/register '{"Name": "web"}')"

echo '{"rules": 7}' >"$RULES"
matches "a broken file is refused by a reload" 'rules_file' "$(says agent/reload '')"
check "and the old rules stay" "$broken" "$(says agent/service/register '{"Name": "pay-api"}')"
rules team
check "a good one is taken" "" "$(says agent/reload '')"
matches "at once" 'metadata team is missing' "$(says agent/service/register '{"Name": "pay-api", "Meta": {"owner": "me"}}')"
done_testing
