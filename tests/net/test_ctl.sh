#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# waymarkctl against a running agent, against none, and its errors.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

ctl() { "$CTL" --pin-dir "$PINS" "$@"; }
rc() {
	"$@" >/dev/null 2>&1
	echo $?
}
check "no agent" 1 "$(rc ctl status)"
matches "no agent is told" '127.0.0.1:8500' "$(ctl status 2>&1)"
check "no command" 2 "$(rc ctl)"
check "a wrong command" 2 "$(rc ctl dance)"
check "a missing argument" 2 "$(rc ctl resolve)"
check "--help" 0 "$(rc ctl --help)"
for c in status services resolve maps "snapshot save" "snapshot verify" "snapshot restore" detach doctor; do
	matches "--help tells $c" "^  $c" "$(ctl --help)"
	matches "the reference tells $c" "waymarkctl $c" "$(ctl --reference)"
done

tools/gen-docs.sh "$B" --check || fail "docs/reference is not what the code says: make docs"

start_agent
register a web 127.1.0.1 8081 >/dev/null
register b web 127.1.0.2 8082 >/dev/null
matches "status" 'version +[0-9]' "$(ctl status)"
check "status as JSON" n1 "$(ctl --json status | jq -r .node)"
matches "services" 'web +2[45]' "$(ctl services)"
check "services as JSON" web "$(ctl -j services | jq -r '.[0].name')"
matches "resolve" '127.1.0.2' "$(ctl resolve web)"
check "resolve as JSON" 0 "$(rc ctl -j resolve web)"
check "resolve what is not there" 1 "$(rc ctl resolve none)"
matches "maps" 'backends +[0-9]+' "$(ctl maps)"
check "maps as JSON" 10 "$(ctl -j maps | jq '.maps | length')"
check "over the Unix socket" n1 "$(ctl --agent "unix:$TMP/http.sock" -j status | jq -r .node)"
check "the socket is the owner's alone" 600 "$(stat -c %a "$TMP/http.sock")"
check "by the environment" n1 "$(WAYMARK_HTTP_ADDR=unix:$TMP/http.sock ctl -j status | jq -r .node)"
matches "doctor" 'selftest +ok' "$(ctl doctor)"
check "doctor as JSON" ok "$(ctl -j doctor | jq -r '.Kernel[] | select(.Check == "selftest").Result')"
check "doctor leaves nothing" 0 "$(find /sys/fs/bpf "$CGROOT" -maxdepth 1 -name "waymark-doctor-*" | wc -l)"

# SIGHUP: what may change does, the rest is named
echo '{"log": {"level": "debug"}, "dns": {"port": 9999}}' >"$TMP/w.json"
stop_agent
start_agent --config "$TMP/w.json" --set dns.port=8600 --set log.level=info
kill -HUP "$AGENT"
reloaded() { grep -q 'event=agent.reload changed=1 needs_restart=' "$TMP/agent.log"; }
until_ok 10 reloaded || fail "SIGHUP is followed: $(tail -2 "$TMP/agent.log")"
matches "all settings can be printed" '"port": 8600' "$("$B/waymarkd" --dump-config)"
stop_agent

# the service manager is told: ready, reloading, stopping
/usr/bin/python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(60)
while True:
    m = s.recv(512).decode().split("\n")[0]
    print(m, flush=True)
    if m == "STOPPING=1":
        break
' "$TMP/notify" >"$TMP/told" &
MANAGER=$!
until_ok 10 test -S "$TMP/notify"
export NOTIFY_SOCKET=$TMP/notify WATCHDOG_USEC=400000
start_agent
watched() { grep -q WATCHDOG=1 "$TMP/told"; }
until_ok 10 watched || fail "the watchdog is fed: $(cat "$TMP/told")"
kill -HUP "$AGENT"
told() { grep -q RELOADING=1 "$TMP/told"; }
until_ok 10 told || fail "a reload is told"
stop_agent
unset NOTIFY_SOCKET WATCHDOG_USEC
wait $MANAGER
check "READY first" READY=1 "$(head -n 1 "$TMP/told")"
check "STOPPING last" STOPPING=1 "$(tail -n 1 "$TMP/told")"
ctl -j detach | jq -e '.Removed > 10' >/dev/null || fail "detach as JSON"
done_testing
