#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_store_slow.sh - the agent while its disk is stuck in a sync: a write waits, and nobody else does:
# look-ups, DNS by userspace, checks, the status. What was not answered is not there after kill -9, what
# waited is when the disk goes on, also after 30 s with the queue full (stuck.py); a stop with a batch in
# flight ends with it durable.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"

HOLD=$TMP/hold
slow_agent() {
	LD_PRELOAD=$PWD/build/release/tests/slow_sync.so SLOW_SYNC_HOLD=$HOLD \
		ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0 start_agent --set kernel.enabled=false
}
put() { # id: in the background; its answer's code goes to $TMP/ID.code
	curl -s --max-time 600 -o "$TMP/$1.said" -w '%{http_code}' -X PUT "$API/v1/agent/service/register" \
		-d "{\"ID\": \"$1\", \"Name\": \"other\", \"Address\": \"127.1.0.2\", \"Port\": 9000}" >"$TMP/$1.code" &
	PUT=$!
}
storing() { [ "$(api "$API/v1/waymark/status" | jq '.registry.storing_ms > 0')" = true ]; }

slow_agent
register keep web 127.1.0.1 8081 >/dev/null
api -X PUT "$API/v1/agent/check/register" -d '{"Name": "beat", "TTL": "1h", "Status": "passing", "ServiceID": "keep"}' >/dev/null

touch "$HOLD"
put waits
WAITS=$PUT
until_ok 10 storing || fail "nothing is being stored"
for _ in $(seq 50); do
	check "stuck: a look-up" 200 "$(code "$API/v1/health/service/web")"
	check "stuck: a question" 127.1.0.1 "$(ask web.service.mesh.internal)"
done >"$TMP/looks"
grep -v ^ok "$TMP/looks" || true
check "stuck: look-ups and questions were answered" 100 "$(grep -c ^ok "$TMP/looks")"
check "stuck: what waits is not there" 404 "$(code "$API/v1/agent/service/waits")"
check "stuck: its client waits" yes "$(kill -0 $WAITS 2>/dev/null && [ ! -s "$TMP/waits.code" ] && echo yes)"
put behind
check "stuck: the status tells" true "$(api "$API/v1/waymark/status" | jq '.registry.storing_ms > 0')"
rm "$HOLD"
wait "$WAITS" "$PUT"
check "the disk goes on: it is answered" 200 "$(cat "$TMP/waits.code")"
check "and who came behind it" 200 "$(cat "$TMP/behind.code")"
check "and it is there" 200 "$(code "$API/v1/agent/service/waits")"

touch "$HOLD"
/usr/bin/python3 tests/fault/stuck.py "$HOLD" || fail "stuck for long"

touch "$HOLD"
put unsaid
until_ok 10 storing || fail "nothing is being stored"
stop_agent KILL
wait $PUT 2>/dev/null || true
rm "$HOLD"
slow_agent
check "killed: what was answered is there" 200 "$(code "$API/v1/agent/service/behind")"
check "killed: its client was told nothing" "000" "$(cat "$TMP/unsaid.code")"

touch "$HOLD"
put last
until_ok 10 storing || fail "nothing is being stored"
kill -TERM "$AGENT"
rm "$HOLD"
wait "$AGENT"
check "stopped with a batch in flight: it ends well" 0 $?
AGENT=''
wait $PUT 2>/dev/null || true
start_agent --set kernel.enabled=false
check "and the batch is durable" 200 "$(code "$API/v1/agent/service/last")"
