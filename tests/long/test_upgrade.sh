#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_upgrade.sh - the last agent of layout 1, built from the repository's history, serves and is killed; this
# one is started over its pins while programs connect and ask without a pause. None of them may notice, and
# sockets that the old programs steered show the address that they dialled.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
OLD=build/layout1
# the one before the commit that took version 1 away
LAST=$(git log -1 --format=%H^ -S'define WM_LAYOUT_VERSION 1' -- include/waymark/layout.h 2>/dev/null)
LAST=$(git rev-parse -q --verify "$LAST^{commit}" 2>/dev/null) || {
	echo "skipped: the history, which has the last agent of layout 1, is not here (git fetch --unshallow)"
	exit 77
}
if [ ! -x $OLD/build/release/waymarkd ] || [ "$(cat $OLD/commit 2>/dev/null)" != "$LAST" ]; then
	rm -rf $OLD
	mkdir -p $OLD
	git archive "$LAST" | tar -x -C $OLD
	env -u MAKEFLAGS -u FLAVOUR make -C $OLD -s -j2 ${CC:+CC="$CC"} build/release/waymarkd build/release/waymarkctl >$OLD/log 2>&1 || {
		tail -n 20 $OLD/log
		fail "the agent of layout 1 cannot be built"
		exit 1
	}
	echo "$LAST" >$OLD/commit
fi
layout() { bpftool -j map dump pinned "$PINS/maps/layout_version" | jq '.[0].formatted.value.version'; }

B=$OLD/build/release start_agent
for i in 1 2; do
	backend "web-$i" "127.1.0.$i" "808$i"
	check "register web-$i" 200 "$(register "web-$i" web "127.1.0.$i" "808$i")"
done
V4=$(vip4 web) V6=$(vip6 web)
check "the old agent has layout 1" 1 "$(layout)"

# who dialled before: TCP and UDP, IPv4 and by an IPv6 socket; it tells what getpeername() says when asked
cat >"$TMP/hold.py" <<'END'
import socket, sys
held = [socket.create_connection((sys.argv[1], 80)), socket.create_connection(("::ffff:" + sys.argv[1], 80))]
for _ in range(8):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((sys.argv[1], 80))
    held.append(s)
print("held", flush=True)
for line in sys.stdin:
    print(*sorted({s.getpeername()[0].replace("::ffff:", "") for s in held}), len(held), flush=True)
END
coproc HOLD { inside /usr/bin/python3 "$TMP/hold.py" "$V4"; }
read -r -t 60 held <&"${HOLD[0]}"
peers() {
	local seen
	echo >&"${HOLD[1]}"
	read -r -t 60 seen <&"${HOLD[0]}"
	echo "$seen"
}
check "connections are held" held "$held"
check "they show what they dialled" "$V4 10" "$(peers)"

inside tests/net/client.py loop "$V4" web.service.mesh.internal "$TMP/stop" >"$TMP/loop" 2>"$TMP/loop.err" &
LOOP=$!
sleep 1
stop_agent KILL
check "the old agent is dead, its programs answer" 2 "$(ask web.service.mesh.internal | wc -l)"
start_agent
check "this one has its own layout" "$(sed -n 's/^#define WM_LAYOUT_VERSION \([0-9]*\).*/\1/p' include/waymark/layout.h)" "$(layout)"
check "and asks the same virtual address" "$V4 $V6" "$(vip4 web) $(vip6 web)"
check "who dialled before shows what he dialled" "$V4 10" "$(peers)"
check "names are answered" 2 "$(ask web.service.mesh.internal | wc -l)"
check "nothing of the old is attached" "" "$(find "$PINS" -path '*old*' -type f)"
backend web-3 127.1.0.3 8083
check "a registration goes on" 200 "$(register web-3 web 127.1.0.3 8083)"
until_ok 20 sh -c "[ \"\$(dig +short @127.0.0.1 -p 8600 web.service.mesh.internal | wc -l)\" = 3 ]" || fail "web-3 is not answered"
stop_agent KILL
start_agent
check "its return changes nothing for who dialled first" "$V4 10" "$(peers)"
touch "$TMP/stop"
wait $LOOP
read -r ops failures <"$TMP/loop"
check "failures of $ops connects and questions" 0 "$failures"
[ "$ops" -gt 500 ] || fail "the loop did something: $ops"
[ "$failures" = 0 ] || head -5 "$TMP/loop.err"
kill "$HOLD_PID"
done_testing
