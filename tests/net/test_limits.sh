#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What bounds the HTTP side: sizes, connections, blocking queries, memory, time. See limits.py.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent --set kernel.enabled=false --set registry.checks_max=3 --set http.body_max=32768 --set http.connections_max=30 \
	--set http.per_address_max=10 --set http.watchers_max=4 --set http.memory_max=16777216 \
	--set http.read_timeout=5s --set http.write_timeout=5s
/usr/bin/python3 tests/net/limits.py || fail "a limit does not hold"
done_testing
