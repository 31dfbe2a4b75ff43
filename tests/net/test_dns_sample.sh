#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the kernel answers is told, one question in so many: who asks most for what, metrics by level, type and code, the
# query log; changed while the agent runs.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

settings() { printf '{"dns": {"sample": %s}}' "$1" >"$TMP/settings.json"; }
reload() { operator -X PUT "$API/v1/agent/reload"; }
metrics() { api "$API/v1/agent/metrics?format=prometheus"; }
told() { metrics | awk '/^waymark_dns_kernel_answers_total/ {n += $2} END {print n + 0}'; }
# names, a file of "NAME TYPE" lines; from another address than who else asks here
questions() { dig -b 127.0.0.77 +short +tries=1 +time=15 +nocookie @127.0.0.1 -p 8600 -f "$1" >/dev/null; }
WEB=web.service.mesh.internal
NONE=none.service.mesh.internal
lines() { grep 'event=dns.question' "$TMP/agent.log"; }

# --- each is told of
settings 1
start_agent --config "$TMP/settings.json" --set dns.query_log=1 --set log.privacy=true
register web-1 web 127.1.0.1 80 >/dev/null
in_kernel() { [ "$(counter dns_answered)" -gt 0 ] || { ask $WEB; false; }; }
until_ok 20 in_kernel || fail "the kernel answers"
for i in $(seq 30); do echo "$WEB A"; [ $((i % 3)) != 0 ] || echo "$NONE AAAA"; done >"$TMP/names"
questions "$TMP/names"
check "as many as it answered" "$(counter dns_answered)" "$(told)"
m=$(metrics)
answers() { awk -v name="waymark_dns_kernel_answers_total{level=\"$1\",type=\"$2\",rcode=\"$3\"}" '$1 == name {print $2}' <<<"$m"; }
matches "addresses" '^[3-9][0-9]$' "$(answers tables A NOERROR)"
check "what is denied" "$(counter dns_nxdomain)" "$(answers denied AAAA NXDOMAIN)"
check "each took some time" "$(told)" "$(awk '/^waymark_dns_kernel_answer_seconds_bucket.*\+Inf/ {n += $2} END {print n}' <<<"$m")"
seen=$(operator $API/v1/waymark/dns/seen)
check "who asked for what, by which device" "30 10" \
	"$(for n in $WEB $NONE; do jq --arg n $n '[.kernel.questions[] | select(.name == $n and .client == "127.0.0.77" and .device == "lo" and
		.stands_for == 1 and .octets > 40)] | length' <<<"$seen"; done | xargs)"
check "what was said, by what" '["denied",3,28]' "$(jq -c --arg n $NONE '[.kernel.questions[] | select(.name == $n)][0] | [.level, .rcode, .type]' <<<"$seen")"
check "of userspace none of these" 0 "$(jq --arg n $NONE '[.questions[] | select(.name == $n)] | length' <<<"$seen")"
check "after a number" 0 "$(operator "$API/v1/waymark/dns/seen?kernel_after=$(jq .kernel.last <<<"$seen")" | jq '.kernel.questions | length')"
check "each is logged" "10" "$(lines | grep -c 'type=28 .*transport=udp level=denied rcode=3 answers=0 us=[0-9]* sampled=1$')"
check "private names and clients are hashes there" "0 2" "$(lines | grep -cE '(name|client)=[^~]|web|none|127\.') $(lines | grep -oE 'name=~[0-9a-f]{16}' | sort -u | wc -l)"
dns_balance

# --- one in ten
settings 10
check "a reload" "" "$(reload)"
base=$(told) before=$(counter dns_answered)
for _ in $(seq 1500); do printf '%s A\n%s AAAA\n' $WEB $WEB; done >"$TMP/names"
questions "$TMP/names"
asked=$(($(counter dns_answered) - before)) n=$(($(told) - base))
# some 300 gaps that deviate by 0.58 of their mean: 3.3 % of the sum
[ $n -gt $((asked * 3 / 4)) ] && [ $n -lt $((asked * 5 / 4)) ] || fail "as many as were asked, nearly: $n of $asked"
check "only some were told of" 10 "$(operator $API/v1/waymark/dns/seen | jq '.kernel.questions[-1].stands_for')"
asking() { while [ ! -e "$TMP/stop" ]; do questions "$TMP/names" 2>&1; done; }
asking &
top() { "$CTL" --agent "unix:$TMP/http.sock" --json --once dns top; }
busy() {
	[ "$(top | jq -r '[.name[0].name, .client[0].client, .level[0].level, .sample, .kernel_per_s > .per_s] | join(" ")')" = \
		"$WEB 127.0.0.77 tables 10 true" ]
}
until_ok 30 busy || fail "the busiest: $(top)"
both() { [ "$(top | jq -r '[.type[].type] | sort | join(" ")')" = "A AAAA" ]; }
until_ok 30 both || fail "of types that take turns both are told of: $(top)"
in_words() { "$CTL" --agent "unix:$TMP/http.sock" --once dns top | grep -E "^of the kernel's each of [0-9]+ stands for 10"; }
until_ok 30 in_words || fail "in words"
touch "$TMP/stop"
wait $!

# --- none
settings 0
check "a reload" "" "$(reload)"
base=$(told)
questions "$TMP/names"
check "none is told of" "$base" "$(told)"
done_testing
