# SPDX-License-Identifier: Apache-2.0
# resolvers.sh - the resolvers that programs use, each with its own habits: source it behind lib.sh. They
# see a resolv.conf that names 127.0.0.1 and asks once only: what is lost is not made good by asking again.
# A runtime that is not installed is skipped by its name.
# shellcheck shell=bash
RESOLVERS=()
resolving() { # lines of resolv.conf, command...
	local conf
	conf=$(mktemp "$TMP/resolv.XXXX")
	printf 'nameserver 127.0.0.1\n%s\n' "$1" >"$conf"
	shift
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount -- bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$conf" "$@"
}
has() { # name of what is skipped, command
	command -v "$2" >/dev/null && return 0
	echo "skipped: $1: $2 is not installed"
	return 1
}
# Build what is written in C: resolve-glibc and resolve-musl.
resolvers_build() {
	gcc -O2 -o "$TMP/resolve-glibc" tests/net/resolve/resolve.c || fail "resolve.c"
	has musl musl-gcc && { musl-gcc -O2 -static -o "$TMP/resolve-musl" tests/net/resolve/resolve.c ||
		fail "resolve.c with musl"; }
}
resolver() { # name, command...
	local name=$1
	shift
	resolving "options timeout:2 attempts:1" "$@" >"$TMP/resolver-$name" 2>"$TMP/resolver-$name.err" &
	RESOLVERS+=("$name:$!")
}
resolvers_start() { # name to look up, until $TMP/stop is there
	local at=tests/net/resolve
	resolvers_build
	resolver glibc "$TMP/resolve-glibc" loop "$1" "$TMP/stop"
	[ ! -x "$TMP/resolve-musl" ] || resolver musl "$TMP/resolve-musl" loop "$1" "$TMP/stop"
	resolver python /usr/bin/python3 $at/resolve.py "$1" "$TMP/stop"
	has node node && resolver node node $at/resolve.js "$1" "$TMP/stop"
	if has go go; then
		CGO_ENABLED=0 go build -o "$TMP/resolve-go" $at/resolve.go || fail "resolve.go"
		resolver go "$TMP/resolve-go" "$1" "$TMP/stop"
	fi
	has java javac && resolver java java $at/Resolve.java "$1" "$TMP/stop"
	for r in "${RESOLVERS[@]}"; do # those that take long to start are there before anything happens
		until_ok 60 resolver_asks "${r%%:*}" || fail "${r%%:*} does not begin: $(cat "$TMP/resolver-${r%%:*}.err")"
	done
}
resolver_asks() { [ -s "$TMP/resolver-$1" ]; }
resolvers_end() { # $TMP/stop is there
	local r ops failures
	for r in "${RESOLVERS[@]}"; do
		wait "${r##*:}"
		r=${r%%:*}
		read -r ops failures < <(tail -n 1 "$TMP/resolver-$r")
		check "$r: failures of $ops look-ups" 0 "$failures"
		[ "${ops:-0}" -gt 100 ] || fail "$r did something: $ops"
		[ "$failures" = 0 ] || head -5 "$TMP/resolver-$r.err"
	done
}
