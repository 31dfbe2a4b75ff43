#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_store_live.sh - the agent while its disk is full, fails and becomes read-only: writes are
# refused with the reason, reads, DNS and the kernel go on, and once the disk is well again writes
# work without a restart.
# In a mount namespace of its own: what is mounted goes with it.
[ -n "${WM_MOUNT_TEST:-}" ] || [ "$(id -u)" != 0 ] || WM_MOUNT_TEST=1 exec unshare --mount -- bash "$0" "$@"
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"

AT_END='umount -l "$TMP/data" 2>/dev/null'
small_disk "$TMP/data" 2
export ASAN_OPTIONS=detect_leaks=0 # the leak checker cannot work under ptrace
start_agent
register keep web 127.1.0.1 8081 >/dev/null
# what is the same again is answered without the store: each write says another time
put() { # id: the answer's code, and its text in $TMP/said
	curl -s --max-time 20 -o "$TMP/said" -w '%{http_code}' -X PUT "$API/v1/agent/service/register" \
		-d "{\"ID\": \"$1\", \"Name\": \"other\", \"Address\": \"127.1.0.2\", \"Port\": 9000,
		     \"Meta\": {\"at\": \"$EPOCHREALTIME\"}}"
}
check_put() { # what a client writes on checks
	code -X PUT "$API/v1/agent/check/register" \
		-d "{\"Name\": \"node check\", \"TTL\": \"600s\", \"Status\": \"passing\", \"Notes\": \"$EPOCHREALTIME\"}"
}
serving() { # what must go on
	check "$1: reads go on" 200 "$(code "$API/v1/health/service/web")"
	check "$1: DNS goes on" 127.1.0.1 "$(ask web.service.mesh.internal)"
	check "$1: the status tells" 200 "$(code "$API/v1/waymark/status")"
	matches "$1: the status has the reason" "$2" "$(api "$API/v1/waymark/status" | jq -r .registry.last_error)"
}
well() {
	until_ok 5 test_put || fail "$1: writes do not work again: $(cat "$TMP/said")"
	check "$1: a check can be registered again" 200 "$(check_put)"
	check "$1: the same agent" "$AGENT" "$(pgrep -P $$ -x waymarkd)"
}
test_put() { [ "$(put after)" = 200 ]; }

# --- full ---
dd if=/dev/zero of="$TMP/data/ballast" bs=4k 2>/dev/null
n=0
until [ "$(put "i$n")" != 200 ]; do
	n=$((n + 1))
	[ $n -lt 2000 ] || break
done
check "full: a write is refused with 507" 507 "$(put one-more)"
matches "full: and told why" 'no space left' "$(cat "$TMP/said")"
check "full: a check as well" 507 "$(check_put)"
check "full: maintenance as well" 507 "$(code -X PUT "$API/v1/agent/service/maintenance/keep?enable=true")"
serving full 'no space left'
rm "$TMP/data/ballast"
well full
check "full: what was refused is not there" 404 "$(code "$API/v1/agent/service/one-more")"

# --- every write and sync fails ---
break_disk() { # error
	strace -qq -f -p "$AGENT" -o "$TMP/strace" -e trace=pwrite64,fdatasync,fsync,ftruncate \
		-e "inject=pwrite64,fdatasync,fsync,ftruncate:error=$1" 2>"$TMP/strace.err" &
	TRACER=$!
	until_ok 10 grep -q "TracerPid:.*[1-9]" "/proc/$AGENT/status" || fail "strace: $(cat "$TMP/strace.err")"
}
mend_disk() {
	kill "$TRACER"
	wait "$TRACER" 2>/dev/null
}
break_disk EIO
check "EIO: a write is refused with 500" 500 "$(put one-more)"
matches "EIO: and told why" 'Input/output error' "$(cat "$TMP/said")"
check "EIO: again" 500 "$(put one-more)"
check "EIO: a check as well" 500 "$(check_put)"
serving EIO 'Input/output error'

# --- the file system became read-only: with the store's connection given up it can be made so ---
if mount -o remount,ro "$TMP/data" 2>"$TMP/remount"; then
	mend_disk
	check "read-only: a write is refused with 500" 500 "$(put one-more)"
	matches "read-only: and told why" 'Read-only file system' "$(cat "$TMP/said")"
	serving read-only 'Read-only file system'
	mount -o remount,rw "$TMP/data"
else
	fail "the agent holds a file open for writing: $(cat "$TMP/remount")"
	mend_disk
fi
well "after errors"
check "after errors: what was refused is not there" 404 "$(code "$API/v1/agent/service/one-more")"
check "after errors: it healed" true "$(api "$API/v1/waymark/status" | jq '.registry.heals > 0 and (.registry.store_failed | not)')"

# --- and a restart finds the same ---
before=$(api "$API/v1/agent/services" | jq -S .)
stop_agent KILL
start_agent
check "a restart finds the same" "$before" "$(api "$API/v1/agent/services" | jq -S .)"
done_testing
