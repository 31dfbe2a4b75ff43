#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `make upgrade-test`: the previous release's agent, this one over its pins and its store, the previous one again, an
# agent of another layout of the maps, and this one; while programs connect, ask, hold connections on which they
# talk, and register. Nothing may fail, no connection may be reset, and what was answered with 200 is there at the end.
# PREVIOUS is a commit, a tag, or a directory with waymarkd and waymarkctl; so is LAYOUT the next layout's.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
# The release before this version: its tag, or where there is none the last commit before settings came from the
# environment as well.
PREVIOUS=${PREVIOUS:-$(git describe --tags --abbrev=0 2>/dev/null || git log -1 --format=%H^ --diff-filter=A -- userspace/base/settings_env.c 2>/dev/null)}

build() { # directory, commit: programs of it, once
	[ "$(cat "$1/commit" 2>/dev/null)" != "$2" ] || return 0
	rm -rf "$1"
	mkdir -p "$1"
	git archive "$2" | tar -x -C "$1"
	[ -z "${3:-}" ] || sed -i "$3" "$1/include/waymark/layout.h"
	env -u MAKEFLAGS -u FLAVOUR make -C "$1" -s -j2 ${CC:+CC="$CC"} build/release/waymarkd build/release/waymarkctl >"$1/log" 2>&1 || {
		tail -n 20 "$1/log"
		fail "$2 cannot be built"
		exit 1
	}
	echo "$2" >"$1/commit"
}
if [ -x "$PREVIOUS/waymarkd" ]; then
	OLD=$PREVIOUS
else
	PREVIOUS=$(git rev-parse -q --verify "$PREVIOUS^{commit}" 2>/dev/null) || {
		echo "skipped: the history, which has the previous release, is not here (git fetch --unshallow)"
		exit 77
	}
	build build/previous "$PREVIOUS"
	OLD=build/previous/build/release
fi
HERE=$(sed -n 's/^#define WM_LAYOUT_VERSION \([0-9]*\).*/\1/p' include/waymark/layout.h)
if [ -x "${LAYOUT:-}/waymarkd" ]; then
	NEXT=$LAYOUT
else
	# these sources with another number: each map is another one
	build build/next-layout HEAD "s/^#define WM_LAYOUT_VERSION $HERE /#define WM_LAYOUT_VERSION $((HERE + 1)) /"
	NEXT=build/next-layout/build/release
fi
layout() { bpftool -j map dump pinned "$PINS/maps/layout_version" | jq '.[0].formatted.value.version'; }

# --- who must not notice
writes() { # instances r-1, r-2, ...: each once more until it is answered; a line for each that was
	local i=0
	while [ ! -e "$TMP/stop" ]; do
		i=$((i + 1))
		until [ "$(register "r-$i" "load" 127.9.0.1 "$((10000 + i))" '"Tags": ["written"]')" = 200 ] || [ -e "$TMP/stop" ]; do sleep 0.05; done
		[ -e "$TMP/stop" ] || echo "r-$i"
		sleep 0.1
	done
}

B=$OLD start_agent
for i in 1 2; do
	backend "web-$i" "127.1.0.$i" "808$i"
	check "register web-$i" 200 "$(register "web-$i" web "127.1.0.$i" "808$i")"
done
/usr/bin/python3 tests/net/talk.py serve 127.1.0.9 8090 &
check "register the one that talks" 200 "$(register talk-1 talk 127.1.0.9 8090)"
V4=$(vip4 web) TALK=$(vip4 talk)
inside tests/net/client.py loop "$V4" web.service.mesh.internal "$TMP/stop" >"$TMP/loop" 2>"$TMP/loop.err" &
LOOP=$!
inside /usr/bin/python3 tests/net/talk.py hold "$TALK" "$TMP/stop" >"$TMP/talk" 2>"$TMP/talk.err" &
TALKER=$!
until_ok 60 grep -q held "$TMP/talk" || fail "connections are held"
writes >"$TMP/written" &
WRITER=$!

hop() { # directory of the programs, signal, layout
	local before
	before=$(wc -l <"$TMP/written")
	until_ok 60 sh -c "[ \$(wc -l <$TMP/written) -gt $((before + 5)) ]" || fail "nothing is registered with $B"
	stop_agent "$2"
	B=$1
	start_agent
	check "$1 after $2: its layout" "$3" "$(layout)"
	check "$1: the same virtual addresses" "$V4 $TALK" "$(vip4 web) $(vip4 talk)"
	check "$1: names are answered" 2 "$(ask web.service.mesh.internal | wc -l)"
	check "$1: nothing of the other is attached" "" "$(find "$PINS" -path '*old*' -type f)"
}
NEW=$B
B=$OLD
OLD_LAYOUT=$(layout)
hop "$NEW" TERM "$HERE"
hop "$OLD" TERM "$OLD_LAYOUT"
hop "$NEW" KILL "$HERE"
hop "$OLD" KILL "$OLD_LAYOUT"
hop "$NEXT" TERM "$((HERE + 1))"
hop "$NEW" TERM "$HERE"
hop "$NEXT" KILL "$((HERE + 1))"
hop "$OLD" TERM "$OLD_LAYOUT"
hop "$NEW" TERM "$HERE"

touch "$TMP/stop"
wait $LOOP $TALKER $WRITER
read -r ops failures <"$TMP/loop"
check "failures of $ops connects and questions" 0 "$failures"
[ "$ops" -gt 500 ] || fail "the loop did something: $ops"
[ "$failures" = 0 ] || head -5 "$TMP/loop.err"
read -r lines resets shown < <(tail -n 1 "$TMP/talk")
check "connections that were reset, of 16 with $lines lines" 0 "$resets"
[ "$resets" = 0 ] || head -5 "$TMP/talk.err"
check "what they dialled is what they see" "$TALK" "$shown"
check "of $(wc -l <"$TMP/written") registrations that were answered these are lost" "" \
	"$(comm -23 <(sort "$TMP/written") <(api "$API/v1/catalog/service/load" | jq -r '.[].ServiceID' | sort) | paste -sd' ')"
done_testing
