#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prometheus' service discovery, request by request, also across a kill and a restart of the agent.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

again() { start_agent --set node.address=10.8.0.2 --set node.meta=zone=z1 --set kernel.enabled=false; }
again
/usr/bin/python3 tests/net/prometheus_sd.py $API "$TMP/restart" &
client=$!
asked() { [ -e "$TMP/restart" ] || ! kill -0 $client; }
until_ok 120 asked || fail "the client comes to an end"
kill -9 "$AGENT"
wait "$AGENT" 2>/dev/null
again
rm -f "$TMP/restart"
wait $client || fail "what Prometheus sees is not what there is"
done_testing
