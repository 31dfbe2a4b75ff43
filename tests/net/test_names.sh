#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Names of services that are no host names: registered with a warning, in every list, answered by DNS
# to who asks for exactly that label, in the kernel and by the server, and with a virtual address.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent
register() { code -X PUT "$API/v1/agent/service/register" -d "$1"; }
check "an underscore" 200 "$(register '{"Name": "My_Service", "Address": "127.4.0.1", "Port": 81}')"
check "a dot and a space" 200 "$(register '{"ID": "odd", "Name": "a.b c", "Address": "127.4.0.2", "Port": 82}')"
matches "a warning" 'level=warn event=service.name svc=My_Service' "$(cat "$TMP/agent.log")"
check "the catalog has them" '{"My_Service":[],"a.b c":[]}' "$(api "$API/v1/catalog/services")"
check "by name" odd "$(api "$API/v1/health/service/a.b%20c" | jq -r '.[0].Service.ID')"
check "DNS, folded" 127.4.0.1 "$(ask my_service.service.mesh.internal)"
check "DNS over TCP" 127.4.0.1 "$(ask +tcp MY_SERVICE.service.mesh.internal)"
check "exactly that label" 127.4.0.2 "$(ask 'a\.b\032c.service.mesh.internal')"
check "two labels are a tag and another service" NXDOMAIN "$(status_of 'a.b\032c.service.mesh.internal')"
matches "a virtual name" '^2[45]' "$(ask my_service.virtual.mesh.internal)"
# 63 octets are a label, more are none: such a service is in the lists and has an address
label=$(printf 'L%.0s' {1..63}) long=$(printf 'n%.0s' {1..255})
check "63 octets" 200 "$(register '{"ID": "label", "Name": "'"$label"'", "Address": "127.4.0.3", "Port": 83}')"
check "255 octets" 200 "$(register '{"ID": "long", "Name": "'"$long"'", "Address": "127.4.0.4", "Port": 84, "Tags": ["t"]}')"
check "256 are too many" "Service name ${long:0:32}... is too long. Valid lengths are between 1 and 255 bytes." \
	"$(api -X PUT "$API/v1/agent/service/register" -d '{"Name": "'"${long}n"'"}')"
matches "a warning tells" "level=warn event=service.name svc=$long id=long text=\"is longer than the 63 octets" \
	"$(cat "$TMP/agent.log")"
check "not of what fits" 0 "$(grep -c "event=service.name svc=$label" "$TMP/agent.log")"
check "DNS has what fits" 127.4.0.3 "$(ask "$label.service.mesh.internal")"
lists() {
	check "$1: all" "$(printf '%s\n' "$label" My_Service 'a.b c' "$long" | sort)" \
		"$(api "$API/v1/catalog/services" | jq -r 'keys[]' | sort)"
	check "$1: health" long "$(api "$API/v1/health/service/$long" | jq -r '.[0].Service.ID')"
	check "$1: folded" long "$(api "$API/v1/catalog/service/${long^^}" | jq -r '.[0].ServiceID')"
	check "$1: a filter" long "$(api -G "$API/v1/agent/services" --data-urlencode "filter=Service == \"$long\"" | jq -r keys[])"
	check "$1: its names" '[]' "$(api "$API/v1/waymark/resolve/$long" | jq -c .names)"
	check "$1: its status" 200 "$(code "$API/v1/agent/health/service/name/$long")"
	check "$1: nobody's" '[]' "$(api "$API/v1/health/service/${long:0:254}m")"
}
lists "registered"
check "no name of its address" "" "$(ask -x 127.4.0.4)"
index=$(api -D - -o "$TMP/long" "$API/v1/health/service/$long" | awk 'tolower($1) == "x-consul-index:" { print $2 + 0 }')
api -o "$TMP/woken" "$API/v1/health/service/$long?index=$index&wait=60s" &
watcher=$!
api -sN --max-time 30 "$API/v1/waymark/events?service=$long" >"$TMP/events" &
events=$!
check "the stream is there" 0 "$(until_ok 20 grep -q ready "$TMP/events"; echo $?)"
register '{"ID": "long-2", "Name": "'"$long"'", "Address": "127.4.0.5", "Port": 84}' >"$TMP/code"
wait "$watcher"
check "a watch on it wakes" "long long-2" "$(jq -r '[.[].Service.ID] | join(" ")' "$TMP/woken")"
check "events tell of it" 0 "$(until_ok 20 grep -q long-2 "$TMP/events"; echo $?)"
kill "$events"
api -X PUT "$API/v1/agent/service/deregister/long-2"
stop_agent
start_agent
lists "restarted"
done_testing
