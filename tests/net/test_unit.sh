#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The systemd unit: how much it exposes, that the agent needs no system call that it filters, and what
# `make install` and `make uninstall` bring and take.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

level=$(systemd-analyze security --offline=true --no-pager deploy/waymarkd.service 2>&1 | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
check "exposure of the unit is at most 3.5 ($level)" 1 "$(awk -v l="${level:-10}" 'BEGIN {print l <= 3.5}')"

# What the filter lets through: the groups that the unit names, and theirs.
allowed() { # names and @groups
	local word
	for word; do
		case $word in
		@*) mapfile -t words < <(systemd-analyze syscall-filter --no-pager "$word" | grep -oE '^ +[@a-z0-9_-]+' | tr -d ' ') && allowed "${words[@]}" ;;
		*) echo "$word" ;;
		esac
	done
}
# shellcheck disable=SC2046
allowed $(sed -n 's/^SystemCallFilter=//p' deploy/waymarkd.service) | sort -u >"$TMP/allowed"
check "the filter is read" 1 "$(($(wc -l <"$TMP/allowed") > 200))"

# A life of the agent: start, serve, checks of each kind, a drain, a snapshot, a reload, the end.
strace -f -qq -o "$TMP/calls" "$B/waymarkd" --set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" \
	--set "kernel.cgroup=$CG" --set "http.socket=$TMP/http.sock" --set node.name=n1 --set health.scripts=local 2>"$TMP/agent.log" &
TRACER=$!
until_ok 60 agent_up || fail "the agent does not answer under strace"
AGENT=$(pgrep -P $TRACER)
backend one 127.0.0.1 9001
register web-1 web 127.0.0.1 9001 '"Checks": [{"HTTP": "http://127.0.0.1:9001/", "Interval": "1s"},
	{"TCP": "localhost:9001", "Interval": "1s"}, {"GRPC": "127.0.0.1:9001", "Interval": "1s"}]' >/dev/null
code --unix-socket "$TMP/http.sock" -X PUT http://localhost/v1/agent/check/register \
	-d '{"Name": "script", "Args": ["/bin/echo", "done"], "Interval": "1s"}' >/dev/null
ran() { [ "$(api "$API/v1/agent/checks" | jq '[.[] | select(.Output != "")] | length')" -ge 4 ]; }
until_ok 30 ran || fail "checks of each kind have run: $(api $API/v1/agent/checks)"
ask web.service.mesh.internal >/dev/null
ask +tcp web.service.mesh.internal SRV >/dev/null
inside curl -s --max-time 20 "http://$(vip4 web)/" >/dev/null
"$CTL" -a "unix:$TMP/http.sock" snapshot save "$TMP/snap" >/dev/null || fail "snapshot"
"$CTL" -a "unix:$TMP/http.sock" reload >/dev/null || fail "reload"
"$CTL" drain web-1 --wait --deadline 3s >/dev/null || fail "drain"
kill -TERM "$AGENT"
wait $TRACER
AGENT=''
sed -nE 's/^[0-9]+ +([a-z0-9_]+)\(.*/\1/p' "$TMP/calls" | sort -u >"$TMP/used"
check "the trace is whole" 1 "$(grep -c '^bpf$' "$TMP/used")"
# execve, and what comes before main(): systemd installs the filter in the process that it starts
check "no system call that the unit filters" "" "$(comm -23 "$TMP/used" "$TMP/allowed" | tr '\n' ' ')"

make -s install FLAVOUR=asan DESTDIR="$TMP/root" PREFIX=/usr >/dev/null 2>&1 || fail "make install"
for f in usr/sbin/waymarkd usr/bin/waymarkctl usr/share/man/man1/waymarkctl.1 usr/share/man/man8/waymarkd.8 \
	usr/share/bash-completion/completions/waymarkctl lib/systemd/system/waymarkd.service etc/waymark/waymark.json; do
	[ -s "$TMP/root/$f" ] && echo "ok: $f is there" || fail "$f is not installed"
done
"$TMP/root/usr/sbin/waymarkd" --config "$TMP/root/etc/waymark/waymark.json" --set "node.data_dir=$TMP/data" --set "kernel.cgroup=$CG" \
	--check-config >/dev/null || fail "the example is not sound"
for m in 1/waymarkctl.1 8/waymarkd.8; do
	check "the manual page $m formats without a warning" "" "$(man --warnings -E UTF-8 -l "$TMP/root/usr/share/man/man$m" 2>&1 >/dev/null)"
done
matches "the unit starts what was installed" '^ExecStart=/usr/sbin/waymarkd --config /etc/waymark/waymark.json --config-dir /etc/waymark/conf.d ' "$(cat "$TMP/root/lib/systemd/system/waymarkd.service")"
echo '{"node": {"datacenter": "mine"}}' >"$TMP/root/etc/waymark/waymark.json"
make -s install FLAVOUR=asan DESTDIR="$TMP/root" PREFIX=/usr >/dev/null 2>&1
matches "a configuration that is there stays" mine "$(cat "$TMP/root/etc/waymark/waymark.json")"
make -s uninstall DESTDIR="$TMP/root" PREFIX=/usr >/dev/null
check "uninstall leaves the configuration only" etc/waymark/waymark.json "$(cd "$TMP/root" && find . -type f | sed 's,^\./,,')"
done_testing
