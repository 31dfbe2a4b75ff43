#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# An operator's requests are answered over the Unix socket to root and the agent's user, over TCP only
# where that was said; an address that others reach is told in the log, with what is open there.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent --set kernel.enabled=false
register web-1 web 127.1.0.1 8081 '"Check": {"HTTP": "http://127.0.0.1:1/", "Interval": "1h",
	"Header": {"Authorization": ["secret-1"]}}' >/dev/null
routes() { api "$API/v1/waymark/routes" | jq -r ".[] | select(.operator == $1) | \"\(.method) \(.path)\""; }
check "what the operator's requests are" "DELETE /v1/operator/keyring
DELETE /v1/waymark/dns/cache
DELETE /v1/waymark/keyring
GET /v1/operator/keyring
GET /v1/snapshot
GET /v1/waymark/dns/cache
GET /v1/waymark/dns/seen
GET /v1/waymark/explain/connect
GET /v1/waymark/flows
GET /v1/waymark/keyring
GET /v1/waymark/sync/verify
POST /v1/operator/keyring
POST /v1/waymark/keyring
PUT /v1/agent/leave
PUT /v1/agent/reload
PUT /v1/operator/keyring
PUT /v1/snapshot
PUT /v1/waymark/keyring
PUT /v1/waymark/snapshot/restore
PUT /v1/waymark/sources/:name/release
PUT /v1/waymark/sync/release" "$(routes true | sort)"
refused=$(api $API/v1/agent/metrics | jq '.Counters[] | select(.Name == "waymark.api.refused").Count')
while read -r method path; do
	matches "$method $path over TCP" "^Permission denied: $method $path is for the agent's Unix socket" "$(api -X "$method" "$API$path")"
	check "$method $path" 403 "$(code -X "$method" "$API$path")"
done < <(routes true)
check "each is counted" 42 $(($(api $API/v1/agent/metrics |
	jq '.Counters[] | select(.Name == "waymark.api.refused").Count') - refused))
check "the agent goes on" 200 "$(code $API/v1/agent/self)"
operator $API/v1/snapshot >"$TMP/a.snapshot"
check "root gets a snapshot" true "$("$CTL" -j snapshot verify "$TMP/a.snapshot" | jq '.Instances == 1')"
check "and reloads" 200 "$(operator_code -X PUT $API/v1/agent/reload)"

# the socket may have been opened to others: they are no operators
chmod 0755 "$TMP"
chmod 0666 "$TMP/http.sock"
other() { setpriv --reuid=65534 --regid=65534 --clear-groups curl -s --max-time 20 --unix-socket "$TMP/http.sock" "$@"; }
check "another user reads" n1 "$(other $API/v1/agent/self | jq -r .Config.NodeName)"
matches "and takes no snapshot" "is for root and the agent's user" "$(other $API/v1/snapshot)"
matches "nor stops the agent" "is for root and the agent's user" "$(other -X PUT $API/v1/agent/leave)"
check "nothing to warn of" 0 "$(grep -c event=http.open "$TMP/agent.log")"
stop_agent

start_agent --set kernel.enabled=false --set http.operator_over_tcp=true --set http.addresses=0.0.0.0,::1
check "over TCP where that was said" 200 "$(code -X PUT $API/v1/agent/reload)"
check "but no path" 403 "$(code -X PUT "$API/v1/waymark/snapshot/restore?path=$TMP/a.snapshot")"
check "one address that others reach" 1 "$(grep -c event=http.open "$TMP/agent.log")"
matches "what is open is named" 'setting=http.addresses address=0.0.0.0 port=8500 text=.*register.*operator_over_tcp.*snapshots.*stop' \
	"$(grep event=http.open "$TMP/agent.log")"
check "leave is answered" 200 "$(code -X PUT $API/v1/agent/leave)"
wait "$AGENT"
check "and followed" 0 $?
AGENT=''

# an address for scrapers: metrics and probes, whatever was answered elsewhere before
start_agent --set kernel.enabled=false --set http.operator_over_tcp=true --set http.metrics_addresses=127.0.0.9
M=http://127.0.0.9:8510
ask $API/v1/catalog/services >/dev/null
matches "metrics" 'waymark_http_requests' "$(curl -s "$M/v1/agent/metrics?format=prometheus")"
check "live" 200 "$(code $M/v1/waymark/live)"
check "ready" 200 "$(code $M/v1/waymark/ready)"
for path in /v1/catalog/services /v1/agent/services /v1/waymark/status /v1/snapshot; do
	check "not $path" 403 "$(code $M$path)"
done
check "what is remembered of others" 200 "$(code $API/v1/catalog/services)"
check "is not told here" 403 "$(code $M/v1/catalog/services)"
check "no registration" 403 "$(code -X PUT $M/v1/agent/service/register -d '{"Name": "w"}')"
check "no leave" 403 "$(code -X PUT $M/v1/agent/leave)"
matches "why" 'PUT /v1/agent/leave is not answered at http.metrics_addresses' "$(curl -s -X PUT $M/v1/agent/leave)"
stop_agent
done_testing
