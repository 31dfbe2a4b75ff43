#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A thousand policies at once, and again: each is taken, and the kernel goes by the last of each.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
N=1000
each() { # path before the number, path behind, body: PUT for 1 to N, 50 at a time; "count status" of the answers
	local i
	for i in $(seq $N); do
		printf 'url = "%s/%s%s"\nrequest = PUT\ndata = "%s"\noutput = /dev/null\nwrite-out = "%%{http_code}\\n"\nunix-socket = %s\nnext\n' \
			"$API" "$1" "${2//@/$i}" "${3//@/$i}" "$TMP/http.sock"
	done | sed '$d' >"$TMP/put"
	curl -sZ --parallel-max 50 -K "$TMP/put" 2>/dev/null | sort | uniq -c | xargs
}
# heads in use: of 2 (round_robin) and 3 (least_connections); what was freed a moment ago rests
heads() { bpftool -j map dump pinned "$PINS/maps/heads" |
	jq "[.[].formatted.value | select(.generation > 0 and .balance == $1)] | length"; }
all_go_by() { [ "$(heads "$1")" = $N ] && [ "$(heads "$2")" -lt $N ]; }

start_agent --set kernel.services_max=4096
check "services" "$N 200" "$(each v1/agent/service/register '' '{\"ID\": \"s@\", \"Name\": \"svc@\", \"Address\": \"127.0.0.1\", \"Port\": 80}')"
check "round_robin" "$N 200" "$(each v1/waymark/policies/svc @ '{\"balance\": \"round_robin\"}')"
until_ok 30 all_go_by 2 3 || fail "the kernel has $(heads 2) of $N"
check "least_connections" "$N 200" "$(each v1/waymark/policies/svc @ '{\"balance\": \"least_connections\"}')"
until_ok 30 all_go_by 3 2 || fail "the kernel has $(heads 3) of $N"
check "the agent answers" 200 "$(code $API/v1/agent/self)"
stop_agent
done_testing
