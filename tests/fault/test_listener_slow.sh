#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A listener that is gone and back while the disk is stuck: the check that is stored when it goes on again
# says that somebody listens.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
HOLD=$TMP/hold
listens() { ss -Hltn "src 127.1.0.1:7001" | grep -q .; }
server() {
	/usr/bin/python3 -m http.server -b 127.1.0.1 7001 >/dev/null 2>&1 &
	SERVER=$!
	until_ok 20 listens || fail "no server"
}
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1" '$1 == m {print $2}'; }
at_least() { [ "$(metric "$1")" -ge "$2" ]; }
storing() { [ "$(api "$API/v1/waymark/status" | jq '.registry.storing_ms > 0')" = true ]; }
status() { api "$API/v1/agent/checks" | jq -r '."waymark:listener:a".Status'; }
passes() { [ "$(status)" = passing ]; }

LD_PRELOAD=$PWD/build/release/tests/slow_sync.so SLOW_SYNC_HOLD=$HOLD \
	ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0 start_agent
if grep -q listener.off "$TMP/agent.log"; then
	echo "skipped: the kernel refuses tp_btf/inet_sock_set_state"
	exit 77
fi
server
check "register a" 200 "$(register a web 127.1.0.1 7001)"
until_ok 20 at_least listener_watched 1 || fail "it is not watched"
touch "$HOLD"
kill -9 "$SERVER"
wait "$SERVER" 2>/dev/null
until_ok 20 storing || fail "nothing is being stored"
check "no check is there yet" null "$(status)"
server
until_ok 20 at_least listener_back_total 1 || fail "nobody saw that it is back"
rm "$HOLD"
until_ok 20 passes || fail "the check says $(status)"
done_testing
