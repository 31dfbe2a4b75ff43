#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What an operator reads in the log of a day: who came and went, what failed and why, what listens
# where; dated where nobody else dates it, and bounded whatever clients do.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

log() { grep -E "$1" "$TMP/agent.log" | tail -n "${2:-1}"; }
told() { grep -qE "$1" "$TMP/agent.log"; }

start_agent
matches "a line is dated" '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z level=info event=agent.ready' \
	"$(log event=agent.ready)"
matches "HTTP says where" 'event=http.listening address=127.0.0.1 port=8500' "$(log event=http.listening 3)"
matches "so does its socket" "event=http.listening socket=$TMP/http.sock" "$(log event=http.listening 3)"
matches "DNS says where" 'event=dns.listening address=127.0.0.1 port=8600' "$(log event=dns.listening)"

register web-1 web 127.1.0.1 8081 '"Check": {"TTL": "1h", "CheckID": "beat"}' >/dev/null
matches "registered" 'event=service.registered svc=web id=web-1 node=n1 address=127.1.0.1 port=8081' \
	"$(log service.registered)"
register web-1 web 127.1.0.1 8081 '"Check": {"TTL": "1h", "CheckID": "beat"}' >/dev/null
check "the same again is no news" 1 "$(grep -c service.registered "$TMP/agent.log")"
api -X PUT "$API/v1/agent/check/update/beat" -d '{"Status": "passing", "Output": "all is well"}'
matches "passing" 'level=info event=check.passing check=beat svc=web id=web-1 node=n1 output="all is well"' \
	"$(log check.passing)"
api -X PUT "$API/v1/agent/check/update/beat" -d '{"Status": "critical", "Output": "disk \u001b[2J full\nand more"}'
matches "critical, with the first line of its output, escaped" \
	'level=warn event=check.critical check=beat .* output="disk \\x1b\[2J full"' "$(log check.critical)"
check "no more than the first line" 0 "$(grep -c 'and more' "$TMP/agent.log")"
puts() { # path, body, a line a request: by one client, as quickly as it can
	while read -r path body; do
		printf 'url = "%s"\nrequest = PUT\ndata = "%s"\nnext\n' "$API$path" "${body//\"/\\\"}"
	done | sed '$d' >"$TMP/curl"
	api -K "$TMP/curl" -o /dev/null
}
for _ in 1 2 3 4 5 6; do
	for status in passing critical; do echo "/v1/agent/check/update/beat {\"Status\": \"$status\"}"; done
done | puts
# lines and what was left out of them; windows may begin in between
counted() { # event
	awk -v e="event=$1" '$3 != e {next} {n++} sub(/left_out=/, "", $4) {n += $4 - 1; left = 1}
		END {print n + 0, left ? "some left out" : "all told"}' "$TMP/agent.log"
}
until_ok 20 told 'event=check.critical left_out=' || fail "one subject is limited"
check "each change is told or counted" "7 some left out" "$(counted check.critical)"
for i in $(seq 120); do echo "/v1/agent/service/register {\"Name\": \"many\", \"ID\": \"many-$i\", \"Port\": 1}"; done | puts
until_ok 20 told 'event=service.registered left_out=' || fail "one event is limited"
check "each registration is told or counted" "121 some left out" "$(counted service.registered)"
api -X PUT "$API/v1/agent/service/deregister/web-1"
matches "deregistered" 'event=service.deregistered svc=web id=web-1 node=n1' "$(log service.deregistered)"
api -X PUT "$API/v1/catalog/register" -d '{"Node": "db", "Address": "10.1.1.1"}' >/dev/null
matches "a node" 'event=node.registered node=db address=10.1.1.1' "$(log node.registered)"
api -X PUT "$API/v1/catalog/deregister" -d '{"Node": "db"}' >/dev/null
matches "a node goes" 'event=node.deregistered node=db' "$(log node.deregistered)"
# what operators do
register db-1 db 127.1.0.2 5432 '"Check": {"TTL": "1h", "Status": "passing"}' >/dev/null
api -X PUT "$API/v1/agent/service/maintenance/db-1?enable=true&reason=new+disk"
matches "maintenance of a service" 'level=info event=service.maintenance on=true svc=db id=db-1 node=n1 reason="new disk"$' \
	"$(log service.maintenance)"
api -X PUT "$API/v1/agent/service/maintenance/db-1?enable=true&reason=a+newer+disk"
register db-1 db 127.1.0.2 5433 '"Check": {"TTL": "1h"}' >/dev/null
check "it is on once" 1 "$(grep -c event=service.maintenance "$TMP/agent.log")"
api -X PUT "$API/v1/agent/service/maintenance/db-1?enable=false"
matches "it is over" 'event=service.maintenance on=false svc=db id=db-1' "$(log service.maintenance)"
api -X PUT "$API/v1/agent/maintenance?enable=true&reason=kernel"
matches "maintenance of the node" 'event=node.maintenance on=true node=n1 reason=kernel$' "$(log node.maintenance)"
api -X PUT "$API/v1/agent/check/register" -d '{"Name": "other", "TTL": "1h"}'
api -X PUT "$API/v1/agent/maintenance?enable=false"
matches "and that is over" 'event=node.maintenance on=false node=n1' "$(log node.maintenance)"
check "each once" 2 "$(grep -c event=node.maintenance "$TMP/agent.log")"
register job-1 job 127.1.0.3 9 >/dev/null
api -X PUT "$API/v1/waymark/instances/job-1/drain?deadline=1h" >/dev/null
matches "a drain begins" 'event=drain.begin svc=job id=job-1 node=n1 deadline_ms=3[56][0-9]{5}$' "$(log drain.begin)"
api -X PUT "$API/v1/waymark/instances/job-1/lifecycle?state=running"
matches "it is called off" 'event=drain.called_off svc=job id=job-1 node=n1 from=stopping to=running' "$(log drain.called_off)"
api -X PUT "$API/v1/waymark/instances/job-1/lifecycle?state=stopped"
matches "what is stated of it" 'event=service.state svc=job id=job-1 node=n1 from=running to=stopped' "$(log service.state)"
api -X PUT "$API/v1/waymark/instances/job-1/drain?deadline=1ms" >/dev/null # refused: it is stopped
check "what was refused is not told" 1 "$(grep -c event=drain.begin "$TMP/agent.log")"
register job-2 job 127.1.0.4 9 >/dev/null
api -X PUT "$API/v1/waymark/instances/job-2/drain?deadline=1ms" >/dev/null
until_ok 20 told 'event=drain.end id=job-2 by=deadline' || fail "a drain ends"

# a check that fails from its first result on changes nothing, and is news
register bad-1 bad 127.1.0.5 9 '"Check": {"TCP": "127.0.0.1:1", "Interval": "100ms", "CheckID": "first"}' >/dev/null
until_ok 20 told 'level=warn event=check.critical check=first svc=bad id=bad-1' || fail "the first result is told"
runs() { api "$API/v1/waymark/status" | jq .health.runs; }
RUNS=$(($(runs) + 5))
ran() { [ "$(runs)" -ge $RUNS ]; }
until_ok 20 ran || fail "the check goes on"
check "once" 1 "$(grep -c 'event=check.critical check=first' "$TMP/agent.log")"
stated() {
	api -X PUT "$API/v1/catalog/register" -d '{"Node": "far", "Address": "10.1.1.2", "Service": {"Service": "s"},
		"Check": {"CheckID": "said", "Name": "said", "ServiceID": "s", "Output": "no disk", "Status": "'"$1"'"}}' >/dev/null
}
stated passing && stated critical && stated critical
matches "a status of the catalog" 'event=check.critical check=said svc=s id=s node=far output="no disk"' \
	"$(log check.critical)"
check "only as it changes" 1 "$(grep -c 'event=check.critical check=said' "$TMP/agent.log")"

operator -o "$TMP/snapshot" "$API/v1/snapshot"
matches "a snapshot is saved" 'event=snapshot.saved by="unix socket, uid 0" octets=[1-9]' "$(log snapshot.saved)"
operator -X PUT --data-binary "@$TMP/snapshot" "$API/v1/snapshot"
matches "and restored" 'event=snapshot.restored from="unix socket, uid 0" services=[1-9]' "$(log snapshot.restored)"
operator -X PUT "$API/v1/waymark/snapshot/restore?path=$TMP/snapshot"
matches "from a path" "event=snapshot.restored from=$TMP/snapshot services=[1-9]" "$(log snapshot.restored)"
operator -X PUT -d nonsense "$API/v1/snapshot" >/dev/null
matches "and refused" 'level=warn event=snapshot.refused from="unix socket, uid 0" err=' "$(log snapshot.refused)"

kill -HUP "$AGENT"
until_ok 10 told 'event=agent.reload' || fail "a change of the configuration is told"
done_testing
