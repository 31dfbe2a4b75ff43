#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The Debian package in a system of its own (build/deb-root.tar): installed, upgraded while its agent serves,
# removed, purged.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
DEB=$(ls build/deb/waymark_*.deb) || fail "no package: make deb"
ROOT=$TMP/root
mkdir "$ROOT"
tar x -f build/deb-root.tar -C "$ROOT"

# Mounts go with the process that holds their namespace.
unshare --mount sleep infinity &
HOLDER=$!
until_ok 10 sh -c "[ \"\$(readlink /proc/$HOLDER/ns/mnt)\" != \"\$(readlink /proc/self/ns/mnt)\" ]"
held() { nsenter --target "$HOLDER" --mount "$@"; }
for d in proc sys dev; do held mount --rbind /$d "$ROOT/$d"; done
ROOTED=(nsenter --target "$HOLDER" --mount chroot "$ROOT" env WAYMARK_PIN_DIR="$PINS" PATH=/usr/sbin:/usr/bin:/sbin:/bin)
in_root() { "${ROOTED[@]}" DEBIAN_FRONTEND=noninteractive "$@"; }
dpkg_of() { in_root dpkg "$@" >>"$TMP/dpkg.log" 2>&1 || {
	fail "dpkg $*"
	tail -n 20 "$TMP/dpkg.log"
}; }
has() { [ -e "$ROOT/$1" ] && echo there; }

# --- installed
cp "$DEB" "$ROOT/one.deb"
dpkg_of -i /one.deb
check "its state" "install ok installed" "$(in_root dpkg-query -W -f '${Status}' waymark)"
check "no file differs from the package" "" "$(in_root dpkg --verify waymark)"
for f in usr/share/man/man1/waymarkctl.1.gz usr/share/man/man8/waymarkd.8.gz usr/share/bash-completion/completions/waymarkctl etc/waymark/waymark.json; do
	check "$f is there" there "$(has $f)"
done
check "the programs run" "$(cat VERSION)" "$(in_root waymarkctl version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1)"
check "the unit runs the program that was installed" "/usr/sbin/waymarkd" "$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$ROOT/lib/systemd/system/waymarkd.service")"
check "the unit is enabled" there "$(in_root sh -c '[ -L /etc/systemd/system/multi-user.target.wants/waymarkd.service ] && echo there')"
echo "{\"node\": {\"name\": \"n1\"}, \"kernel\": {\"cgroup\": \"$CG\", \"pin_dir\": \"$PINS\"}}" >"$ROOT/etc/waymark/conf.d/test.json"
run_agent() {
	in_root mkdir -p /run/waymark /var/lib/waymark
	"${ROOTED[@]}" waymarkd --config /etc/waymark/waymark.json --config-dir /etc/waymark/conf.d --set node.data_dir=/var/lib/waymark \
		2>>"$TMP/agent.log" &
	# shellcheck disable=SC2034 # lib.sh's
	AGENT=$!
	until_ok 60 agent_up || fail "the agent of the package does not answer"
}
run_agent
backend web-1 127.1.0.1 8081
check "register" 200 "$(register web-1 web 127.1.0.1 8081)"
VIP=$(vip4 web)
check "connect() is steered" 200 "$(inside curl -s -o /dev/null -w '%{http_code}' --max-time 10 "http://$VIP/")"

# --- upgraded, while programs connect and ask
inside tests/net/client.py loop "$VIP" web.service.mesh.internal "$TMP/stop" >"$TMP/loop" 2>"$TMP/loop.err" &
LOOP=$!
dpkg-deb -R "$DEB" "$TMP/two"
sed -i 's/^Version: .*/&+next/' "$TMP/two/DEBIAN/control"
echo '# of the next version' >>"$TMP/two/etc/waymark/waymark.json"
sed -i 's/8600/8601/' "$ROOT/etc/waymark/waymark.json"
dpkg-deb -b --root-owner-group "$TMP/two" "$ROOT/two.deb" >/dev/null
dpkg_of --force-confdef --force-confold -i /two.deb
check "the next version is there" "$(cat VERSION)+next" "$(in_root dpkg-query -W -f '${Version}' waymark)"
check "what the operator wrote stands" 8601 "$(grep -o 8601 "$ROOT/etc/waymark/waymark.json")"
check "and the agent goes on" 200 "$(code $API/v1/agent/self)"
sed -i 's/8601/8600/' "$ROOT/etc/waymark/waymark.json"
stop_agent
check "the kernel goes on without it" 127.1.0.1 "$(ask web.service.mesh.internal)"
run_agent
check "the next one has what was registered" 1 "$(api $API/v1/catalog/service/web | jq length)"
touch "$TMP/stop"
wait $LOOP
read -r ops failures <"$TMP/loop"
check "failures of $ops connects and questions" 0 "$failures"
[ "$ops" -gt 100 ] || fail "the loop did something: $ops"
[ "$failures" = 0 ] || head -5 "$TMP/loop.err"

# --- removed: nothing stays in the kernel, the configuration and the store do; purged: nothing does
stop_agent
[ -d "$PINS" ] || fail "the kernel has its programs still"
dpkg_of -r waymark
check "nothing is pinned" "" "$(ls "$PINS" 2>/dev/null)"
check "nothing answers" "" "$(ask web.service.mesh.internal | grep -v '^;;')"
check "the programs are gone" "" "$(has usr/sbin/waymarkd)"
check "the configuration is there" there "$(has etc/waymark/waymark.json)"
check "the store is there" there "$(has var/lib/waymark/registry.db)"
rm "$ROOT/etc/waymark/conf.d/test.json"
dpkg_of -P waymark
for f in etc/waymark var/lib/waymark etc/systemd/system/multi-user.target.wants/waymarkd.service; do
	check "$f is gone" "" "$(in_root sh -c "[ -e /$f ] || [ -L /$f ] && echo there")"
done
check "dpkg knows nothing of it" "" "$(in_root dpkg-query -W -f '${Status}' waymark 2>/dev/null | grep -v 'unknown')"
kill "$HOLDER"
done_testing
