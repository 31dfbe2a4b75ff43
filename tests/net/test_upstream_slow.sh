#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Of two servers the faster one is slow for some questions: the other is asked, too, when it has taken longer
# than it mostly does, and the first good answer counts; but of few questions only.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh

/usr/bin/python3 tests/net/liar.py 127.0.0.9 53 2>"$TMP/liar.log" &
BACKENDS+=($!)
/usr/bin/python3 tests/net/liar.py 127.0.0.10 53 40 2>"$TMP/other.log" &
BACKENDS+=($!)
for a in 9 10; do until_ok 10 dig +short +tries=1 +time=1 @127.0.0.$a good.lies || fail "127.0.0.$a answers"; done
many() { /usr/bin/python3 tests/net/asker.py many "$@"; }
both_up() { is_state 127.0.0.9 up && is_state 127.0.0.10 up; }
of_first() { api $API/v1/waymark/dns | jq "[.servers[] | select(.server | startswith(\"127.0.0.9@\"))][0].$1"; }

# none is given up: a machine may be slow itself
start_agent --set dns.upstream_timeout=20s --set dns.upstream=list --set "dns.forward=lies=127.0.0.9 127.0.0.10"
until_ok 20 both_up || fail "both are up: $(api $API/v1/waymark/dns)"
check "quick ones" 100 "$(many quick 100)"
check "what the first is slow with" 20 "$(many stall-few 20)"
check "some of that the other answered first" true "$(upstream_counter dns_upstream_overtook | jq '. >= 1')"
check "operators see whom they overtook" true "$(of_first overtaken | jq '. >= 1')"
check "and how long most take" true "$(of_first p95_us | jq '. >= 10000')"
matches "waymarkctl, too" "p95_us +overtaken" "$("$CTL" dns upstreams)"
trace() { "$CTL" --agent "unix:$TMP/http.sock" dns trace "stall-$RANDOM-$RANDOM.lies"; }
second() { grep -q "^level .*a second server" <<<"$(trace)"; }
until_ok 60 second || fail "dns trace tells: $(trace)"
check "more of it" 300 "$(many stall-many 300)"
check "5 % of the questions, and 64 at once" true "$(upstream_counter dns_upstream_overtaken | jq '. <= 64 + 420 * 5 / 100')"
api $API/v1/waymark/dns | jq -c .counters | grep -oE '"dns_upstream_(over|not_over|again)[a-z_]*":[0-9]+'
dns_balance
stop_agent

start_agent --set dns.upstream=list --set "dns.forward=lies=127.0.0.9 127.0.0.10" --set dns.upstream_timeout=20s --set dns.upstream_overtake=0
until_ok 20 both_up || fail "both are up: $(api $API/v1/waymark/dns)"
check "without it" 20 "$(many stall 20)"
check "nobody is overtaken" "0 0" "$(upstream_counter dns_upstream_overtaken) $(upstream_counter dns_upstream_not_overtaken)"
done_testing
