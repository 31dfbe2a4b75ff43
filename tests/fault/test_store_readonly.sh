#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_store_readonly.sh - the agent is started while its data directory is on a read-only file system: it ends
# with one line that names the directory, the error and the way out, changes nothing, and the kernel goes on
# answering with what the run before left there.
# In a mount namespace of its own: what is mounted goes with it.
[ -n "${WM_MOUNT_TEST:-}" ] || [ "$(id -u)" != 0 ] || WM_MOUNT_TEST=1 exec unshare --mount -- bash "$0" "$@"
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"

AT_END='umount -l "$TMP/data" 2>/dev/null'
small_disk "$TMP/data" 2
refused() { # when, directory
	local data=$2
	"$B/waymarkd" --set "node.data_dir=$data" --set "kernel.pin_dir=$PINS" --set "kernel.cgroup=$CG" \
		--set "http.socket=$TMP/http.sock" --set node.name=n1 2>"$TMP/refused.log"
	check "$1: there is no start" 1 $?
	check "$1: the last line says all of it" 1 "$(tail -n 1 "$TMP/refused.log" |
		grep -c "event=agent.start .*node.data_dir $data: Read-only file system (EROFS): mount it for writing, or name another")"
	check "$1: one line does" 1 "$(grep -c Read-only "$TMP/refused.log")"
}

start_agent
backend one 127.1.0.1 8081
register keep web 127.1.0.1 8081 >/dev/null
before=$(api "$API/v1/agent/services" | jq -S .)
front=$(vip4 web)
for SIGNAL in KILL TERM; do
	stop_agent $SIGNAL
	files=$(ls -l --full-time "$TMP/data")
	mount -o remount,ro "$TMP/data"
	refused "after SIG$SIGNAL" "$TMP/data"
	refused "after SIG$SIGNAL, no directory" "$TMP/data/other"
	check "after SIG$SIGNAL nothing is changed" "$files" "$(ls -l --full-time "$TMP/data")"
	matches "after SIG$SIGNAL connect() is steered on" one "$(inside curl -s "http://$front/")"
	mount -o remount,rw "$TMP/data"
	start_agent
	check "after SIG$SIGNAL: writable again, it has what is stored" "$before" "$(api "$API/v1/agent/services" | jq -S .)"
done
stop_agent
done_testing
