#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a real Consul was seen to answer, asked again of the agent: see replay.py.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent --set node.name=granite-2 --set node.address=10.8.0.2 \
	--set node.datacenter=quay --set node.meta=zone=z1 --set registry.consul_service=true --set kernel.enabled=false --set http.operator_over_tcp=true
/usr/bin/python3 tests/net/replay.py $API tests/net/recorded.jsonl tests/net/catalog_writes.jsonl ||
	fail "exchanges differ"
done_testing
