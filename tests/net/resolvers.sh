# SPDX-License-Identifier: Apache-2.0
# resolvers.sh - the resolvers that programs use, each with its own habits: source it behind lib.sh. They
# see a resolv.conf that names 127.0.0.1, or $VIA, and asks once only: what is lost is not made good by asking again.
# A runtime that is not installed is skipped by its name.
# shellcheck shell=bash
RESOLVERS=()
resolving() { # lines of resolv.conf, command...
	local conf
	conf=$(mktemp "$TMP/resolv.XXXX")
	printf 'nameserver %s\n%s\n' "${VIA:-127.0.0.1}" "$1" >"$conf"
	shift
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount -- bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$conf" "$@"
}
has() { # name of what is skipped, command
	command -v "$2" >/dev/null && return 0
	echo "skipped: $1: $2 is not installed"
	return 1
}
# Build what is written in C: resolve-glibc, resolve-musl and resolve-cares.
resolvers_build() {
	gcc -O2 -o "$TMP/resolve-glibc" tests/net/resolve/resolve.c -lresolv || fail "resolve.c"
	if [ -e /usr/include/ares.h ]; then
		gcc -O2 -o "$TMP/resolve-cares" tests/net/resolve/cares.c -lcares || fail "cares.c"
	else
		echo "skipped: c-ares: ares.h is not installed (libc-ares-dev)"
	fi
	has musl musl-gcc && { musl-gcc -O2 -static -o "$TMP/resolve-musl" tests/net/resolve/resolve.c ||
		fail "resolve.c with musl"; }
}
resolver() { # name, command...
	local name=$1
	shift
	resolving "options timeout:10 attempts:1" "$@" >"$TMP/resolver-$name" 2>"$TMP/resolver-$name.err" &
	RESOLVERS+=("$name:$!")
}
# Go's own resolver and the C library's: resolve-go and resolve-cgo.
resolvers_build_go() {
	CGO_ENABLED=0 go build -o "$TMP/resolve-go" tests/net/resolve/resolve.go || fail "resolve.go"
	CGO_ENABLED=1 go build -o "$TMP/resolve-cgo" tests/net/resolve/resolve.go || fail "resolve.go with cgo"
}
resolvers_start() { # name to look up, until $TMP/stop is there; more of those that are named
	local at=tests/net/resolve more=" ${2:-go node java} "
	[ -x "$TMP/resolve-glibc" ] || resolvers_build
	for r in glibc musl cares; do
		[ ! -x "$TMP/resolve-$r" ] || resolver "$r-$1" "$TMP/resolve-$r" loop "$1" "$TMP/stop"
	done
	resolver "python-$1" /usr/bin/python3 $at/resolve.py "$1" "$TMP/stop"
	resolver "dnspython-$1" /usr/bin/python3 $at/resolve.py dnspython "$1" "$TMP/stop"
	[[ $more != *" node "* ]] || { has node node && resolver "node-$1" node $at/resolve.js "$1" "$TMP/stop"; }
	if [[ $more == *" go "* ]] && has go go; then
		[ -x "$TMP/resolve-go" ] || resolvers_build_go
		resolver "go-$1" "$TMP/resolve-go" "$1" "$TMP/stop"
		resolver "cgo-$1" env GODEBUG=netdns=cgo "$TMP/resolve-cgo" "$1" "$TMP/stop"
	fi
	[[ $more != *" java "* ]] || { has java javac && resolver "java-$1" java $at/Resolve.java "$1" "$TMP/stop"; }
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
