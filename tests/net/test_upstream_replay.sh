#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Files of tests/net/replay: servers that drop, delay, truncate, lie, lead round, send 64 KiB or change their
# mind, question by question, as a client of the agent sees it. Those named on the command line, else all.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

[ -e build/release/tests/step_clock.so ] || {
	echo "skipped: build/release/tests/step_clock.so is not there"
	exit 77
}
[ $# -gt 0 ] || set -- tests/net/replay/*.rpl
for a in {31..39}; do ip addr add "127.0.0.$a/8" dev lo 2>/dev/null; done
export STEP_CLOCK=$TMP/step
for file; do
	echo "--- $file"
	echo 0 >"$STEP_CLOCK"
	mapfile -t settings < <(/usr/bin/python3 tests/net/play_rpl.py --settings "$file")
	LD_PRELOAD=$PWD/build/release/tests/step_clock.so \
		ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0 \
		start_agent --set dns.upstream=list "${settings[@]}"
	/usr/bin/python3 tests/net/play_rpl.py "$file" "$STEP_CLOCK" || fail "$file"
	dns_balance
	stop_agent
done
done_testing
