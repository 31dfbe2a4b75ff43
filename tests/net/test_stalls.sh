#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# No client holds the loop: hostile requests beside a prober, judged by loop_turn_seconds. See
# stalls.py. The sanitizers make a turn some five times as long, and so the bound.
# alone: how long turns of the loop take is judged on a clock that does not stop for others
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

case $B in
*release*) bound=20 ;;
*) bound=100 ;;
esac
mkdir "$TMP/config"
start_agent --set kernel.enabled=false --set log.level=warn --config-dir "$TMP/config"
AGENT_PID=$AGENT AGENT_SOCKET=$TMP/http.sock AGENT_CONFIG=$TMP/config /usr/bin/python3 tests/net/stalls.py build/release/tests/stallprobe $bound ||
	fail "the loop was held"
done_testing
