#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What Consul's clients wait for on a node: the service consul, and the version in its metadata.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

services() { api "$API/v1/catalog/services"; }
gone() { [ "$(services)" = '{}' ]; }
back() { [ "$(services)" = '{"consul":[]}' ]; }

start_agent --set kernel.enabled=false --set registry.consul_service=true \
	--set node.meta=consul-network-segment=own,zone=z1
until_ok 10 back || fail "no service consul: $(services)"
[ "$(api "$API/v1/agent/services")" = '{}' ] || fail "it is the catalog's, not one that a client registered"
matches "the node's metadata" \
	'"Meta":{"consul-network-segment":"own","consul-version":"[0-9.]+","zone":"z1"}' \
	"$(api "$API/v1/catalog/nodes")"
matches "its address is the node's" '"ServiceID":"consul".*"ServicePort":8300' \
	"$(api "$API/v1/catalog/service/consul")"
before=$(api "$API/v1/catalog/service/consul")
api -X PUT "$API/v1/catalog/deregister" -d '{"Node": "n1", "ServiceID": "consul"}' >/dev/null
until_ok 10 back || fail "it does not come back"
[ "$(api "$API/v1/catalog/service/consul")" != "$before" ] || fail "it was not taken away at all"

stop_agent
start_agent --set kernel.enabled=false
until_ok 10 gone || fail "switched off, still there: $(services)"
api -X PUT "$API/v1/catalog/register" \
	-d '{"Node": "n1", "Address": "", "SkipNodeUpdate": true, "Service": {"Service": "consul", "Port": 1}}' >/dev/null
stop_agent
start_agent --set kernel.enabled=false
matches "somebody's own service of that name stays" '"ServicePort":1,' \
	"$(api "$API/v1/catalog/service/consul")"
stop_agent
done_testing
