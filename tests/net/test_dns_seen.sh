#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What answered a question, and by which rule; who asks most for what; how long answers take, by code.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh

records="	local-zone: 'example.' static
	local-data: 'a.example. 60 A 192.0.2.11'
	local-data: 'a.example. 60 CAA 0 issue \"ca.example\"'
	local-data: 'a.example. 60 TYPE4711 \\# 2 abcd'
	local-data: 'a.example. 60 TXT \"one\" \"two\"'
	local-zone: '.' static
	local-data: '. 60 NS a.example.'"
serve up 127.0.0.11 53 "$records"
AT=(--agent "unix:$TMP/http.sock")
trace() { "$CTL" "${AT[@]}" --json dns trace "$@" | jq -c '[.level, .rcode, .answers]'; }
record() { "$CTL" "${AT[@]}" --json dns trace "$@" | jq -r '.records[] | [.name, .type, .data] | join(" ")'; }
part() { "$CTL" "${AT[@]}" --json dns trace "$@" | jq -r '.level + " " + (.kernel // "?")'; }
rule() { "$CTL" "${AT[@]}" --json dns trace "$@" | jq -r .rule; }

# --- what answered
printf '{"dns": {"records": ["www.corp 60 CNAME web.service.mesh.internal", "corp 60 MX 10 mail.corp", "out.corp CNAME a.example"]}}' >"$TMP/settings.json"
start_agent --config "$TMP/settings.json" --set dns.upstream=list --set dns.forward=.=127.0.0.11 --set dns.kernel_cache_after=2
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
# what it says, of every type
matches "records" "^         a.example. (60|5[0-9]) A 192.0.2.11$" "$("$CTL" "${AT[@]}" dns trace a.example)"
check "a type" 'a.example. CAA 0 issue "ca.example"' "$(record a.example CAA)"
check "by its number" 'a.example. CAA 0 issue "ca.example"' "$(record a.example type257)"
check "one that nobody knows" 'a.example. TYPE4711 \# 2 abcd' "$(record a.example TYPE4711)"
check "texts" 'a.example. TXT "one" "two"' "$(record a.example TXT)"
check "SRV" "_web._tcp.service.mesh.internal. SRV 1 1 80 7f010001.addr.dc1.mesh.internal." "$(record _web._tcp.service.mesh.internal SRV)"
matches "SOA" "^mesh.internal. SOA ns.mesh.internal. hostmaster.mesh.internal. [0-9]+ [0-9]+ [0-9]+ [0-9]+ [0-9]+$" "$(record mesh.internal SOA)"
for none in TYPE0 TYPE65536 TYPE TYPE1x; do
	matches "no type" "'$none' is no type that is known here" "$("$CTL" "${AT[@]}" dns trace a.example $none 2>&1)"
done

# what an alias of ours leads others to is one answer
last_seen() { operator "$API/v1/waymark/dns/seen?kernel_after=18446744073709551615" | jq .last; }
before=$(last_seen)
check "an alias that leads out" "a.example." "$(ask out.corp | head -n 1)"
check "the same over TCP" "a.example." "$(ask +tcp out.corp | head -n 1)"
check "each is noted once" $((before + 2)) "$(last_seen)"

# whose it is, and which part of the kernel has it
virtual=$(vip4 web | awk -F. '{print $4 "." $3 "." $2 "." $1 ".in-addr.arpa"}')
check "a virtual address" "in ${virtual#*.*.*.}, a zone of our virtual addresses" "$(rule "$virtual" PTR)"
check "nobody's" "in 250.in-addr.arpa, a zone of our virtual addresses" "$(rule 1.2.3.250.in-addr.arpa. PTR)"
check "a service's" "the address of a node or a service that is known here" "$(rule 1.0.1.127.in-addr.arpa PTR)"
check "the operator's" "a record of the operator's: dns.records, dns.records_file or dns.hosts_file" "$(rule corp MX)"
check "what it says" "corp. MX 10 mail.corp." "$(record corp MX)"
check "its alias" "www.corp. CNAME web.service.mesh.internal. web.service.mesh.internal. A 127.1.0.1" "$(record www.corp | xargs)"
is_part() { [ "$(part "$2" "${3:-A}")" = "kernel $1" ]; }
until_ok 10 is_part tables web.service.mesh.internal || fail "of the tables: $(part web.service.mesh.internal)"
until_ok 10 is_part ready corp MX || fail "of what userspace said: $(part corp MX)"
until_ok 10 is_part ready n1.node.mesh.internal || fail "the same of a node: $(part n1.node.mesh.internal)"
until_ok 10 is_part hot a.example || fail "of what others said: $(part a.example)"
matches "in words" "^level    the program in the kernel, of what others said before" "$("$CTL" "${AT[@]}" dns trace A.example.)"
matches "how old it is" "^age      [0-9]+ s since they said it" "$("$CTL" "${AT[@]}" dns trace A.example.)"
matches "of userspace" "^level    the program in the kernel, of what userspace said before" "$("$CTL" "${AT[@]}" dns trace corp MX)"
label=$(printf 'x%.0s' {1..63})
longest=${label:2}.$label.$label.$label
check "the longest name" '["upstream","NXDOMAIN",0]' "$(trace "$longest")"
matches "a longer one" "x: a name has at most 253 characters, each of its labels 1 to 63" "$("$CTL" "${AT[@]}" dns trace "x$longest" 2>&1)"
matches "a longer label" "each of its labels 1 to 63" "$("$CTL" "${AT[@]}" dns trace "x$label.example" 2>&1)"
matches "an empty label" "a..example: a name has at most" "$("$CTL" "${AT[@]}" dns trace a..example 2>&1)"
check "as the agent writes it" 'a\.b\027.example' "$("$CTL" "${AT[@]}" -j dns trace 'A\.b\027.example' | jq -r .name)"
check "and it was asked for" 'a\.b\027.example' "$(operator $API/v1/waymark/dns/seen | jq -r '.questions[-1].name')"
check "what is typed moves no cursor" 'a\027.example' "$("$CTL" "${AT[@]}" dns trace $'a\e.example' | sed -n 's/^asked .* for \(.*\) A$/\1/p')"
matches "no type" "'X' is no type that is known here" "$("$CTL" "${AT[@]}" dns trace a.example X 2>&1)"
check "flushed" 200 "$(operator_code -X DELETE $API/v1/waymark/dns/cache)"
check "it is asked again" '["upstream","NOERROR",1]' "$(trace a.example)"
check "it is the operator's to see who asks" 403 "$(code $API/v1/waymark/dns/seen)"
metrics() { api "$API/v1/agent/metrics?format=prometheus"; }
matches "answers are counted by level, type and code" '^waymark_dns_user_answers_total\{level="cache",type="A",rcode="NOERROR"\} [1-9]' "$(metrics)"
matches "those of others now, too" '^waymark_dns_user_answers_total\{level="upstream",type="NS",rcode="NOERROR"\} [1-9]' "$(metrics)"
server_is() { metrics | grep -E "^waymark_dns_upstream_server_$1\{domain=\".\",server=\"127.0.0.11@53\"\} $2$" >/dev/null; }
until_ok 30 server_is up 1 || fail "a server that answers is up: $(metrics | grep upstream_server)"
server_is latency_us '[1-9][0-9]*' || fail "its latency: $(metrics | grep upstream_server)"
kill_server up
gone() { ask "none-$RANDOM.example" >/dev/null; server_is up 0; }
until_ok 120 gone || fail "a server that is dead is down: $(metrics | grep upstream_server)"
server_is late_total '[1-9][0-9]*' || server_is failures_total '[1-9][0-9]*' || fail "its probes: $(metrics | grep upstream_server)"
serve up 127.0.0.11 53 "$records"
dns_balance
stop_agent
start_agent --set kernel.dns=false --set dns.forward=corp.example=127.0.0.11
matches "servers that nobody is asked of are told" 'event=dns.forward .*dns.upstream is off' "$(cat "$TMP/agent.log")"
check "nothing is behind the last" '[0,0]' "$(operator "$API/v1/waymark/dns/seen?after=18446744073709551615&kernel_after=18446744073709551615" | jq -c '[(.questions | length), (.kernel.questions | length)]')"
check "without the kernel" '["own","NOERROR",1]' "$(trace web.service.mesh.internal)"
check "a name that is not there" '["own","NXDOMAIN",0]' "$(trace none.service.mesh.internal AAAA)"
check "nobody is asked" '["own","REFUSED",0]' "$(trace a.example)"
check "an address is asked by its name" '["1.0.1.127.in-addr.arpa","PTR"]' \
	"$("$CTL" "${AT[@]}" --json dns trace 127.1.0.1 | jq -c '[.name, .type]')"
check "as the rule says" "not our domain, and dns.upstream is off" "$(rule a.example)"

# --- who asks most for what
for i in $(seq 400); do echo "web.service.mesh.internal A"; [ $((i % 4)) != 0 ] || echo "none.service.mesh.internal SRV"; done >"$TMP/names"
asking() {
	while [ ! -e "$TMP/stop" ]; do
		dig -b 127.0.0.77 +short +tries=1 +time=1 @127.0.0.1 -p 8600 -f "$TMP/names" >/dev/null 2>&1
	done
}
matches "nobody asks: no heads without rows" '^0.0 questions a second answered by userspace' "$("$CTL" "${AT[@]}" --once dns top)"
check "and no more" 1 "$("$CTL" "${AT[@]}" --once dns top | wc -l)"
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
for name in web.service.mesh.internal WEB.service.mesh.internal a.example host.corp.test printer 1.0.0.10.in-addr.arpa \
	Web.service.Mesh.internal.a.example; do ask +tcp $name >/dev/null; done
check "private names are not in the log" 0 "$(lines | grep -cE 'web|corp|printer|10.in-addr|127.0.0')"
check "but as hashes, of one name one" "6 5" "$(lines | grep -oE 'name=~[0-9a-f]{16}' | wc -l) $(lines | grep -oE 'name=~[0-9a-f]{16}' | sort -u | wc -l)"
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
