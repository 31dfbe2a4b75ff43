#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What answered a question, and by which rule; who asks most for what; how long answers take, by code.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh

records=$(printf '\tlocal-zone: "example." static\n\tlocal-data: "a.example. 60 A 192.0.2.11"\n\tlocal-zone: "." static\n\tlocal-data: ". 60 NS a.example."')
serve up 127.0.0.11 53 "$records"
AT=(--agent "unix:$TMP/http.sock")
trace() { "$CTL" "${AT[@]}" --json dns trace "$@" | jq -c '[.level, .rcode, .answers]'; }
rule() { "$CTL" "${AT[@]}" --json dns trace "$@" | jq -r .rule; }

# --- what answered
start_agent --set dns.upstream=list --set dns.forward=.=127.0.0.11
register web-1 web 127.1.0.1 80 >/dev/null
in_kernel() { [ "$(trace web.service.mesh.internal)" = '["kernel","NOERROR",1]' ]; }
until_ok 10 in_kernel || fail "the kernel answers: $(trace web.service.mesh.internal)"
check "the rule" "below mesh.internal, our domain" "$(rule Web.Service.Mesh.Internal.)"
check "what is not known" '["upstream","NOERROR",1]' "$(trace a.example)"
check "and is kept then" '["cache","NOERROR",1]' "$(trace a.example)"
check "its rule" "not our domain: dns.upstream is list, servers of ." "$(rule a.example)"
matches "in words" "^level    .*, of what others said before" "$("$CTL" "${AT[@]}" dns trace a.example)"
matches "TTL of the first record" "^answer   NOERROR, 1 records, TTL (60|5[0-9]) s" "$("$CTL" "${AT[@]}" dns trace a.example)"
check "the root" '["upstream","NOERROR",1]' "$(trace . NS)"
check "its rule" "not our domain: dns.upstream is list, servers of ." "$(rule . NS)"
label=$(printf 'x%.0s' {1..63})
longest=${label:2}.$label.$label.$label
check "the longest name" '["upstream","NXDOMAIN",0]' "$(trace "$longest")"
matches "a longer one" "x: a name has at most 253 characters, each of its labels 63" "$("$CTL" "${AT[@]}" dns trace "x$longest" 2>&1)"
matches "a longer label" "each of its labels 63" "$("$CTL" "${AT[@]}" dns trace "x$label.example" 2>&1)"
matches "an empty label" "a..example: Invalid argument" "$("$CTL" "${AT[@]}" dns trace a..example 2>&1)"
matches "no type" "'X' is no type that is known here" "$("$CTL" "${AT[@]}" dns trace a.example X 2>&1)"
check "flushed" 200 "$(operator_code -X DELETE $API/v1/waymark/dns/cache)"
check "it is asked again" '["upstream","NOERROR",1]' "$(trace a.example)"
check "it is the operator's to see who asks" 403 "$(code $API/v1/waymark/dns/seen)"
metrics() { api "$API/v1/agent/metrics?format=prometheus"; }
matches "answers are counted by level, type and code" '^waymark_dns_user_answers_total\{level="cache",type="A",rcode="NOERROR"\} [1-9]' "$(metrics)"
matches "those of others now, too" '^waymark_dns_user_answers_total\{level="upstream",type="NS",rcode="NOERROR"\} [1-9]' "$(metrics)"
server_is() { metrics | grep -qE "^waymark_dns_upstream_server_$1\{domain=\".\",server=\"127.0.0.11@53\"\} $2$"; }
until_ok 30 server_is up 1 || fail "a server that answers is up: $(metrics | grep upstream_server)"
server_is latency_us '[1-9][0-9]*' || fail "its latency: $(metrics | grep upstream_server)"
kill_server up
gone() { ask "none-$RANDOM.example" >/dev/null; server_is up 0; }
until_ok 120 gone || fail "a server that is dead is down: $(metrics | grep upstream_server)"
server_is late_total '[1-9][0-9]*' || server_is failures_total '[1-9][0-9]*' || fail "its probes: $(metrics | grep upstream_server)"
serve up 127.0.0.11 53 "$records"
dns_balance
stop_agent
start_agent --set kernel.dns=false
check "nothing is behind the last" '[0,0]' "$(operator "$API/v1/waymark/dns/seen?after=18446744073709551615&kernel_after=18446744073709551615" | jq -c '[(.questions | length), (.kernel.questions | length)]')"
check "without the kernel" '["own","NOERROR",1]' "$(trace web.service.mesh.internal)"
check "a name that is not there" '["own","NXDOMAIN",0]' "$(trace none.service.mesh.internal AAAA)"
check "nobody is asked" '["own","REFUSED",0]' "$(trace a.example)"
check "as the rule says" "not our domain, and dns.upstream is off" "$(rule a.example)"

# --- who asks most for what
for i in $(seq 400); do echo "web.service.mesh.internal A"; [ $((i % 4)) != 0 ] || echo "none.service.mesh.internal SRV"; done >"$TMP/names"
asking() {
	while [ ! -e "$TMP/stop" ]; do
		dig -b 127.0.0.77 +short +tries=1 +time=1 @127.0.0.1 -p 8600 -f "$TMP/names" >/dev/null 2>&1
	done
}
asking &
top() { "$CTL" "${AT[@]}" --json --once dns top; }
busy() { [ "$(top | jq -r '[.name[0].name, .client[0].client, .type[0].type, .level[0].level] | join(" ")')" = "web.service.mesh.internal 127.0.0.77 A own" ]; }
until_ok 30 busy || fail "the busiest: $(top)"
matches "in words" "^[0-9.]+ +web.service.mesh.internal" "$("$CTL" "${AT[@]}" --once dns top)"
touch "$TMP/stop"

# --- how many answers there are, and how long they take
seconds() { metrics | grep waymark_dns_user_answer_seconds; }
sum() { awk -v head="waymark_dns_user_answer_seconds_$1" 'index($1, head "{") == 1 { n += $2 } END { print n + 0 }' <<<"$2"; }
matches "by level and code" '_bucket\{level="own",rcode="NXDOMAIN",le="0.001"\} [1-9]' "$(seconds)"
m=$(seconds)
check "all are in the last bucket" "$(sum count "$m")" "$(grep -F 'le="+Inf"' <<<"$m" | awk '{n += $2} END {print n}')"
dns_balance
stop_agent

# --- the query log is a choice
lines() { tail -n +"$((was + 1))" "$TMP/agent.log" | grep 'event=dns.question'; }
was=$(wc -l <"$TMP/agent.log")
start_agent --set dns.upstream=list --set dns.forward=.=127.0.0.11
ask +tcp web.service.mesh.internal >/dev/null
check "none is logged" "" "$(lines)"
stop_agent
was=$(wc -l <"$TMP/agent.log")
start_agent --set dns.query_log=1 --set dns.upstream=list --set "dns.forward=.=127.0.0.11,corp.test=127.0.0.11"
ask +tcp web.service.mesh.internal >/dev/null
ask a.example >/dev/null
matches "one of ours" "dns.question name=web.service.mesh.internal type=1 client=127.0.0.1 transport=tcp level=own rcode=0 answers=1 us=[0-9]+" "$(lines)"
matches "one of others" "dns.question name=a.example type=1 client=127.0.0.1 transport=udp level=upstream rcode=0 answers=1 us=[0-9]+" "$(lines)"
stop_agent
was=$(wc -l <"$TMP/agent.log")
start_agent --set dns.query_log=1 --set log.privacy=true --set dns.upstream=list --set "dns.forward=.=127.0.0.11,corp.test=127.0.0.11"
for name in web.service.mesh.internal WEB.service.mesh.internal a.example host.corp.test printer 1.0.0.10.in-addr.arpa; do ask +tcp $name >/dev/null; done
check "private names are not in the log" 0 "$(lines | grep -cE 'web|corp|printer|10.in-addr|127.0.0')"
check "but as hashes, of one name one" "5 4" "$(lines | grep -oE 'name=~[0-9a-f]{16}' | wc -l) $(lines | grep -oE 'name=~[0-9a-f]{16}' | sort -u | wc -l)"
matches "others are" "name=a.example .*client=~[0-9a-f]{16}" "$(lines)"
stop_agent
was=$(wc -l <"$TMP/agent.log")
start_agent --set dns.query_log=10
for i in $(seq 40); do echo "none-$i.service.mesh.internal"; done >"$TMP/names"
dig +tcp +keepopen +short @127.0.0.1 -p 8600 -f "$TMP/names" >/dev/null
check "one of ten" 4 "$(lines | wc -l)"
for i in $(seq 2000); do echo "none.service.mesh.internal"; done >"$TMP/names"
unlogged() { # a fast client, until a second had more than the log takes
	dig +tcp +keepopen +short @127.0.0.1 -p 8600 -f "$TMP/names" >/dev/null
	[ "$(api "$API/v1/agent/metrics?format=prometheus" | awk '$1 == "waymark_dns_user_unlogged_total" {print $2}')" -gt 0 ]
}
stop_agent
start_agent --set dns.query_log=1
until_ok 60 unlogged || fail "what is too much is counted"
done_testing
