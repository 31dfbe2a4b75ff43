#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A server that never answers some questions is asked the others all the same: libunbound, which takes it
# for dead then and fails whatever it is asked, is not the last word.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh

/usr/bin/python3 tests/net/liar.py 127.0.0.9 53 2>"$TMP/liar.log" &
BACKENDS+=($!)
until_ok 10 dig +short +tries=1 +time=1 @127.0.0.9 good.lies || fail "the liar answers"
start_agent --set dns.upstream=list --set "dns.forward=lies=127.0.0.9"
until_ok 20 is_state 127.0.0.9 up || fail "its probes are answered: $(api $API/v1/waymark/dns)"
# how long libunbound waits for an answer doubles with each that is lost, up to three seconds: it is there
# after some 2.7 s, and stays so for about one
for seconds in 2.8 2.9 3 3.1; do
	check "after $seconds s of questions that it never answers, who has no answer" 0 \
		"$(/usr/bin/python3 tests/net/asker.py between $seconds)"
	sleep 4 # libunbound goes on with what it never answers
done
echo "$(upstream_counter dns_upstream_again) were asked again"
done_testing
