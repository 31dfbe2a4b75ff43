#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_store_full.sh - the agent is started while its disk is full, after a crash and after a stop: what
# is stored is served, writes are refused with the reason, and they work again without a restart once there
# is space. Without a store there is nothing to serve: it says so.
# In a mount namespace of its own: what is mounted goes with it.
[ -n "${WM_MOUNT_TEST:-}" ] || [ "$(id -u)" != 0 ] || WM_MOUNT_TEST=1 exec unshare --mount -- bash "$0" "$@"
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"

AT_END='umount -l "$TMP/data" 2>/dev/null'
small_disk "$TMP/data" 2
fill() { dd if=/dev/zero of="$TMP/data/ballast" bs=4k 2>/dev/null; }
put() { # id: the answer's code, and its text in $TMP/said
	curl -s --max-time 20 -o "$TMP/said" -w '%{http_code}' -X PUT "$API/v1/agent/service/register" \
		-d "{\"ID\": \"$1\", \"Name\": \"other\", \"Address\": \"127.1.0.2\", \"Port\": 9000,
		     \"Meta\": {\"at\": \"$EPOCHREALTIME\"}}"
}
is_put() { [ "$(put "$1")" = 200 ]; }
is_stored() { # by itself: nobody writes anything
	[ "$(api "$API/v1/waymark/status" | jq '.registry.store_failed')" = false ]
}

OPTIONS=()
start_agent
backend one 127.1.0.1 8081
register keep web 127.1.0.1 8081 >/dev/null
for SIGNAL in KILL TERM INT; do
	if [ $SIGNAL = INT ]; then # with a mesh a start tells of this node anew
		OPTIONS=(--set sync.mode=peers --set sync.insecure=true --set sync.bind=127.0.0.1:8301)
		stop_agent
		start_agent "${OPTIONS[@]}"
	fi
	before=$(api "$API/v1/agent/services" | jq -S .)
	stop_agent $SIGNAL
	fill
	start_agent "${OPTIONS[@]}"
	check "$SIGNAL: a start with a full disk has what is stored" "$before" "$(api "$API/v1/agent/services" | jq -S .)"
	check "$SIGNAL: DNS answers" 127.1.0.1 "$(ask web.service.mesh.internal)"
	matches "$SIGNAL: connect() is steered" one "$(inside curl -s "http://$(vip4 web)/")"
	matches "$SIGNAL: the log tells" 'event=registry.unwritten .*no space left for .*registry.db' "$(cat "$TMP/agent.log")"
	"$CTL" --agent "$API" status >"$TMP/status" 2>&1
	check "$SIGNAL: the status is degraded" 1 $?
	matches "$SIGNAL: and says why" 'no space left for .*registry.db' "$(cat "$TMP/status")"
	check "$SIGNAL: a write is refused with 507" 507 "$(put "new-$SIGNAL")"
	matches "$SIGNAL: and told why" 'no space left for .*registry.db' "$(cat "$TMP/said")"
	stop_agent KILL
	start_agent "${OPTIONS[@]}"
	check "$SIGNAL: again" "$before" "$(api "$API/v1/agent/services" | jq -S .)"
	rm "$TMP/data/ballast"
	until_ok 20 is_stored || fail "$SIGNAL: the store is not tried again"
	check "$SIGNAL: with space a write is taken" 200 "$(put "new-$SIGNAL")"
	: >"$TMP/agent.log"
done
check "all of it is stored" '["keep","new-INT","new-KILL","new-TERM"]' "$(api "$API/v1/agent/services" | jq -c keys)"
stop_agent
rm -r "$TMP"/data/*
fill
"$B/waymarkd" --set "node.data_dir=$TMP/data" --set kernel.enabled=false 2>"$TMP/new.log"
check "without a store there is no start" 1 $?
matches "it says why" 'event=agent.start .*registry.db.*[Nn]o space left' "$(cat "$TMP/new.log")"
done_testing
