#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The door for services that others bring, end to end: what a source says is there after kill -9 without it, most
# of it gone at once is held back, told of and released; and a client's service in a namespace.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

OTHER=http://127.0.0.1:8510
CONSUL=''
consul_up() { [ "$(code $OTHER/v1/agent/self)" = 200 ]; }
consul_start() {
	"$B/waymarkd" --set "node.data_dir=$TMP/consul" --set kernel.enabled=false --set http.port=8510 --set http.socket= \
		--set dns.port=0 --set node.name=c1 --set node.datacenter=quay 2>>"$TMP/consul.log" &
	CONSUL=$!
	until_ok 60 consul_up || fail "the other agent does not answer"
}
consul_stop() {
	kill -TERM "$CONSUL"
	wait "$CONSUL" 2>/dev/null
}
ctl() { "$B/waymarkctl" --agent "unix:$TMP/http.sock" "$@"; }
source_of() { api "$API/v1/waymark/sources" | jq -r ".[0].$1"; }
is() { [ "$(source_of "$1")" = "$2" ]; }
until_is() { until_ok 60 is "$@" || fail "$1 of the source is '$(source_of "$1")', not '$2'"; }
holds() { [ "$(source_of holding)" -gt 0 ]; }
FOLLOW=(--set "source.consul_addresses=$OTHER")

consul_start
for n in $(seq 20); do
	check "web-$n is registered with the other" 200 "$(code -X PUT "$OTHER/v1/agent/service/register" \
		-d "{\"ID\": \"web-$n\", \"Name\": \"web\", \"Address\": \"127.1.0.$n\", \"Port\": 8080}")"
done
start_agent "${FOLLOW[@]}"
until_is state watching
until_is instances 20
matches "the command shows it" '^consul +watching +1 +20 ' "$(ctl sources)"
matches "so does doctor" 'consul +(ok +)?watching: 1 services, 20 instances' "$(ctl doctor)"
check "nothing is wrong" "" "$(source_of alarm)"

# --- killed, and the source is away: what was known is there, without a mesh ------------------------------------
stop_agent KILL
consul_stop
start_agent "${FOLLOW[@]}"
check "all are there" 20 "$(api "$API/v1/health/service/web" | jq length)"
check "DNS answers" 20 "$(ask +tcp web.service.mesh.internal | wc -l)"
consul_start
until_is state watching

# --- most of it is gone at once --------------------------------------------------------------------------------
for n in $(seq 15); do
	check "web-$n goes" 200 "$(code -X PUT "$OTHER/v1/agent/service/deregister/web-$n")"
done
until_ok 60 holds || fail "nothing is held"
until_ok 60 grep -q event=source.alarm "$TMP/agent.log" || fail "no alarm is in the log"
matches "what is held is served" '^(1[0-9]|20)$' "$(api "$API/v1/health/service/web" | jq length)"
matches "doctor names it" 'removals are held back' "$(ctl doctor)"
matches "so does the command" 'waymarkctl sources release consul' "$(ctl sources)"
matches "and a metric" '^waymark_source_alarm\{source="consul"\} 1$' "$(api "$API/v1/agent/metrics?format=prometheus")"
check "who is no operator does not release it" 403 "$(code -X PUT "$API/v1/waymark/sources/consul/release")"
matches "an operator does" 'let go' "$(ctl sources release consul)"
until_is instances 5
until_is holding 0
check "the alarm is over" "" "$(source_of alarm)"
matches "a source that is not there" 'unknown source' "$(ctl sources release nobody 2>&1)"

# --- a scope of a client's --------------------------------------------------------------------------------------
check "a service in a namespace" 200 "$(code -X PUT "$API/v1/agent/service/register" \
	-d '{"Name": "db", "Namespace": "team", "Address": "127.1.0.9", "Port": 5432}')"
check "is looked up by ns" "db team" "$(api "$API/v1/health/service/db?ns=team" | jq -r '.[0].Service | "\(.Service) \(.Namespace)"')"
check "and by its key" team/db "$(api "$API/v1/waymark/services" | jq -r '.[] | select(.name == "team/db") | .name')"
check "DNS" 127.1.0.9 "$(ask db.service.team.ns.mesh.internal)"
check "without ns it is not there" '[]' "$(api "$API/v1/health/service/db")"
consul_stop
done_testing
