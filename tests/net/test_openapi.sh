#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The agent's answers are those that its OpenAPI description has, and that is the one in docs/.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent --set node.address=10.8.0.2 --set node.meta=zone=z1
check "a service" 200 "$(register web-1 web 10.1.0.1 80 '"Tags": ["blue"], "Meta": {"v": "1"},
	"TaggedAddresses": {"wan": {"Address": "198.51.100.4", "Port": 8080}}, "Checks": [{"CheckID": "c1", "TTL": "1h",
	"Status": "passing"}, {"HTTP": "http://127.0.0.1:1/", "Interval": "10h"}]')"
check "another" 200 "$(register web-2 web 2001:db8::1 80)"
check "one without an address" 200 "$(register db db "" 0)"
check "a check of the node" 200 "$(code -X PUT $API/v1/agent/check/register -d '{"Name": "disk", "TTL": "1h", "Status":
	"warning"}')"
check "maintenance" 200 "$(code -X PUT "$API/v1/agent/service/maintenance/web-2?enable=true")"
/usr/bin/python3 tests/net/openapi.py $API || fail "the description and the answers differ"
api "$API/v1/waymark/openapi.json?pretty" | diff -q - docs/openapi.json || fail "docs/openapi.json: make docs"
done_testing
