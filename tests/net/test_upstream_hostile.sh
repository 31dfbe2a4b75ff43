#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Servers that drop, truncate, lie about the ID, answer from another port or of names that nobody asked for;
# clients that ask more than is good for the others; more names than there is memory for.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh

serve one 127.0.0.11 53 '	local-zone: "example." static
	local-data: "victim.example. 60 A 192.0.2.11"'
LIAR_HELD=$TMP/held /usr/bin/python3 tests/net/liar.py 127.0.0.9 53 2>"$TMP/liar.log" &
BACKENDS+=($!)
until_ok 60 dig +short +tries=1 +time=1 @127.0.0.9 good.lies || fail "the liar answers"
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=1 # what is freed is free
begin() { # how long a question may take
	start_agent --set dns.upstream=list --set "dns.forward=.=127.0.0.11,lies=127.0.0.9" --set dns.cache_max=1048576 \
		--set dns.upstream_per_client_max=40 --set dns.upstream_questions_max=60 --set "dns.upstream_timeout=$1" 2>/dev/null
	check "register" 200 "$(register web-1 web 127.1.0.1 80)"
}
begin 4500ms

for name in good wrongid otherport bailiwick trunc; do
	check "$name" 192.0.2.66 "$(ask $name.lies)"
done
check "what it said of others' names is not believed" 192.0.2.11 "$(ask victim.example)"
check "what cannot be read" SERVFAIL "$(status_of garbage.lies)"
check "who never answers" SERVFAIL "$(status_of drop.lies)"
matches "what does not fit a datagram" " tc" "$(dig +noedns +ignore +tries=1 +time=15 @127.0.0.1 -p 8600 big.lies TXT | grep flags:)"
check "comes over TCP" 4 "$(ask +noedns big.lies TXT | tr ' ' '\n' | wc -l)"
none_open() { [ "$(api $API/v1/waymark/dns | jq .open)" = 0 ]; }
/usr/bin/python3 tests/net/asker.py flood 127.0.0.2 30 >/dev/null
until_ok 60 none_open || fail "all end: $(api $API/v1/waymark/dns)"
until_ok 60 is_state 127.0.0.9 up || fail "the liar answers probes: $(api $API/v1/waymark/dns)"
stop_agent

# --- a client has its share, all have theirs, and who asks for what is ours is never among them; what nobody answers is
# open for as long as it takes to see that
begin 60s
check "answers leave as they come, on one connection" "['quick-1:1', 'quick-2:1', 'web:1'] held:1" \
	"$(/usr/bin/python3 tests/net/asker.py pipeline "$TMP/held")"
full=$(upstream_counter dns_upstream_client_full)
check "of 100 questions of one client 40 are open, and to all there are 60" "60 20" \
	"$(/usr/bin/python3 tests/net/asker.py flood 127.0.0.2 100 127.0.0.3 40)"
check "our own names know no such bound" 127.1.0.1 "$(ask web.service.mesh.internal)"
check "counted" 60 $(($(upstream_counter dns_upstream_client_full) - full))
stop_agent

begin 4500ms
# --- memory: after 3,000 names of 800 octets each a megabyte is full; 7,000 more take nothing
resident() { awk '/^VmRSS/ {print $2}' "/proc/$AGENT/status"; }
check "3,000 names" 3000 "$(/usr/bin/python3 tests/net/asker.py names 0 3000)"
before=$(resident)
check "7,000 more" 7000 "$(/usr/bin/python3 tests/net/asker.py names 3000 7000)"
more=$(($(resident) - before))
check "less than 3 MiB more for 6 MB of answers ($more KiB)" true "$([ $more -lt 3072 ] && echo true)"
done_testing
