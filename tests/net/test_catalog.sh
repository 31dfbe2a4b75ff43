#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Services that somebody writes into the catalog for nodes without an agent: the kernel answers and
# steers to them as to this agent's own, health follows what is written, and they outlive kill -9.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
put() { api -X PUT "$API/v1/$1" -d "$2"; }

start_agent
backend wax 127.9.9.9 7070
check "a node, its service and a check" true "$(put catalog/register '{"Node": "shale-9",
	"Address": "127.9.9.9", "NodeMeta": {"rack": "b4"},
	"Service": {"ID": "wax-1", "Service": "wax", "Port": 7070},
	"Check": {"CheckID": "up", "Name": "up", "ServiceID": "wax-1", "Status": "passing"}}')"
check "the service has its node's address" 127.9.9.9 "$(ask wax.service.mesh.internal)"
check "the node has a name" 127.9.9.9 "$(ask shale-9.node.mesh.internal)"
matches "and its metadata" rack=b4 "$(ask shale-9.node.mesh.internal TXT)"
vip=$(ask wax.virtual.mesh.internal)
check "connect() goes there" 200 "$(inside curl -s -o /dev/null -w '%{http_code}' "http://$vip/")"

check "a check that is written critical" 200 "$(code -X PUT $API/v1/txn -d '[{"Check": {"Verb": "set",
	"Check": {"Node": "shale-9", "CheckID": "up", "Name": "up", "ServiceID": "wax-1", "Status": "critical"}}}]')"
check "takes it out of the answers" "" "$(ask wax.service.mesh.internal)"
check "and out of connect()" 7 "$(inside curl -s -o /dev/null "http://$vip/"; echo $?)"
put txn '[{"Check": {"Verb": "set", "Check": {"Node": "shale-9", "CheckID": "up", "Name": "up",
	"ServiceID": "wax-1", "Status": "passing"}}}]' >/dev/null
check "and back" 127.9.9.9 "$(ask wax.service.mesh.internal)"

kill -9 "$AGENT"
wait "$AGENT" 2>/dev/null
check "the kernel goes on" 127.9.9.9 "$(ask wax.service.mesh.internal)"
start_agent
check "the catalog is as it was" shale-9 "$(api "$API/v1/health/service/wax?passing" | jq -r '.[].Node.Node')"
check "a node that moves" true "$(put catalog/register '{"Node": "shale-9", "Address": "127.9.9.10"}')"
check "takes its services along" 127.9.9.10 "$(ask wax.service.mesh.internal)"
check "a node that goes" true "$(put catalog/deregister '{"Node": "shale-9"}')"
check "too" "" "$(ask wax.service.mesh.internal)"
done_testing
