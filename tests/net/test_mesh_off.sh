#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_off.sh - sync.mode = off costs a single node nothing: no socket, no thread, no figures of a mesh. The same agent
# with peers has them, so that the test sees what it looks for.
source "$(dirname "$0")/lib.sh"

threads() { find "/proc/$AGENT/task" -mindepth 1 -maxdepth 1 | wc -l; }
sockets() { ss -Hlntup | awk -v pid="pid=$AGENT," 'index($0, pid) { print $1, $5 }' | sort; }
mesh_sockets() { sockets | grep -c ':8301$'; }
figures() { api "$API/v1/agent/metrics?format=prometheus" | grep -cE '^waymark_(member|spread|replica|peer)_'; }

start_agent --set sync.mode=off
off_threads=$(threads) off_sockets=$(sockets)
check "off: sockets of a mesh" 0 "$(mesh_sockets)"
check "off: figures of a mesh" 0 "$(figures)"
stop_agent
start_agent
check "without a word of it the same sockets" "$off_sockets" "$(sockets)"
check "and threads" "$off_threads" "$(threads)"
stop_agent
start_agent --set sync.mode=peers --set sync.insecure=true --set sync.join=127.0.0.9
check "peers: a UDP and a TCP socket" 2 "$(mesh_sockets)"
[ "$(figures)" -gt 20 ] || fail "peers: no figures of a mesh"
check "peers: threads" "$off_threads" "$(threads)"
done_testing
