# SPDX-License-Identifier: Apache-2.0
# resolved.sh - systemd-resolved at 127.0.0.53, which sees an /etc/systemd and a /run of the test's own: source it
# after lib.sh. RESOLVED: where the program is, if its package, which would take /etc/resolv.conf over, is unpacked
# and not installed.
# shellcheck shell=bash
RESOLVED=${RESOLVED:-$PWD/build/systemd-resolved/lib/systemd/systemd-resolved}
[ -x "$RESOLVED" ] || RESOLVED=/lib/systemd/systemd-resolved
RESOLVED_PID=''
resolved_is_there() {
	[ -x "$RESOLVED" ] && return
	echo "skipped: systemd-resolved is not there (make deps-test)"
	return 1
}
resolved_conf() { # further lines of resolved.conf; $TMP/node is the node's root
	mkdir -p "$TMP/node/etc/systemd" "$TMP/node/run/systemd/resolve" "$TMP/run/systemd"
	printf 'nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n' >"$TMP/node/run/systemd/resolve/stub-resolv.conf"
	printf '[Resolve]\n#DNS=\nLLMNR=no\nMulticastDNS=no\n%s' "${1:-}" >"$TMP/node/etc/systemd/resolved.conf"
	printf 'root:x:0:0::/:/bin/sh\nsystemd-resolve:x:991:991::/:/bin/sh\n' >"$TMP/passwd"
	chmod 755 "$TMP" "$TMP/run" "$TMP/run/systemd"
}
resolved() { # begin, or begin again, as `systemctl restart` would
	resolved_end
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount -- bash -c 'mount --bind "$0/node/etc/systemd" /etc/systemd && mount --bind "$0/run" /run &&
		mount --bind "$0/passwd" /etc/passwd && exec "$1"' "$TMP" "$RESOLVED" >>"$TMP/resolved.log" 2>&1 &
	RESOLVED_PID=$!
	until_ok 20 dig +tries=1 +time=1 @127.0.0.53 localhost || fail "systemd-resolved answers: $(tail -5 "$TMP/resolved.log")"
}
resolved_end() {
	[ -n "$RESOLVED_PID" ] || return 0
	kill "$RESOLVED_PID"
	wait "$RESOLVED_PID" 2>/dev/null
	RESOLVED_PID=''
}
