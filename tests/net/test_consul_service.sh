#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What Consul's clients wait for on a node: the service consul, and the version in its metadata.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/mesh.sh
. "$(dirname "$0")/mesh.sh"

services() { api "$API/v1/catalog/services"; }
gone() { [ "$(services)" = '{}' ]; }
back() { [ "$(services)" = '{"consul":[]}' ]; }

start_agent --set kernel.enabled=false --set registry.consul_service=true \
	--set node.meta=consul-network-segment=own,zone=z1
until_ok 10 back || fail "no service consul: $(services)"
[ "$(api "$API/v1/agent/services")" = '{}' ] || fail "it is not one that a client registered"
refused() {
	matches "a client cannot change it" "Service ID .?"consul.?" is $1" \
		"$(curl -s -X PUT "$API/v1/$2" -d "$3")"
}
refused "the agent's own" agent/service/register '{"Name": "consul", "Port": 1}'
refused "registered with this agent" catalog/register \
	'{"Node": "n1", "SkipNodeUpdate": true, "Service": {"Service": "consul", "Port": 1}}'
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

# what an earlier version wrote into the catalog of its store
start_agent --set kernel.enabled=false
api -X PUT "$API/v1/catalog/register" -d '{"Node": "n1", "Address": "", "SkipNodeUpdate": true,
	"Service": {"Service": "consul", "Port": 8300, "Meta": {"waymark": "0.1.0", "version": "1.21.4"}}}' >/dev/null
stop_agent
start_agent --set kernel.enabled=false --set registry.consul_service=true
until_ok 10 back || fail "no service consul: $(services)"
refused "the agent's own" agent/service/register '{"Name": "consul", "Port": 1}'
stop_agent

# in a mesh it goes with its node
consuls() { api_of 1 /v1/catalog/service/consul | jq -r '.[].Node' | sort | paste -sd' '; }
nodes() { api_of 1 /v1/catalog/nodes | jq -r '.[].Node' | sort | paste -sd' '; }
are() { [ "$(consuls)/$(nodes)" = "$1/$1" ]; }
mesh_up 2
for i in 1 2; do
	node_agent "$i" "${INSECURE[@]}" --set kernel.enabled=false --set registry.consul_service=true
done
until_ok 20 are "n1 n2" || fail "consul on $(consuls) of $(nodes)"
check "no agent lists it" '{}' "$(api_of 2 /v1/agent/services)"
node_stop 2 KILL
until_ok 20 all_alive 1 1 || fail "n2 does not fail"
check "it is forgotten" 200 \
	"$(api_of 1 -o /dev/null -w '%{http_code}' -X PUT '/v1/agent/force-leave/n2?prune')"
until_ok 20 are n1 || fail "an agent that is forgotten leaves consul on $(consuls) of $(nodes)"
node_stop 1
done_testing
