#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `waymarkctl dns cache`: what the kernel keeps of others, and what each level of caches is asked and answers.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh

serve one 127.0.0.11 53 "	local-zone: \"example.\" static
	local-data: 'example. 300 SOA ns.example. host.example. 1 3600 600 86400 60'
	local-data: 'www.example. 300 A 192.0.2.1'
	local-data: 'www.example. 300 A 192.0.2.2'
	local-data: 'www.other.example. 3 AAAA 2001:db8::1'
	local-data: 'mail.example. 200 MX 10 www.example.'"
AT=(--agent "unix:$TMP/http.sock")
cache() { "$CTL" "${AT[@]}" --json dns cache "$@"; }
rows() { cache "${@:2}" | jq -c "[.answers[] | $1]"; }
level() { cache | jq -c ".$1 | [.asked, .answered]"; }
hot() { counter dns_hot; }
keep() { # a question, until the kernel answers it
	local before
	before=$(hot)
	dig +tries=1 +time=15 @127.0.0.1 -p 8600 "$@" >/dev/null
	[ "$(hot)" -gt "$before" ]
}

# --- nothing is kept
start_agent
matches "nobody is asked" "dns.upstream is off: nothing of others is kept" "$("$CTL" "${AT[@]}" dns cache 2>&1)"
stop_agent
start_agent --set dns.upstream=list --set dns.forward=.=127.0.0.11 --set dns.cache_max=33554432 --set dns.kernel_cache=512
check "nothing is kept" '{"kernel":{"names":0,"names_max":512,"asked":0,"answered":0},"cache":{"octets_max":33554432,"asked":0,"answered":0},"answers":[]}' "$(cache | jq -c .)"
check "in words" "kernel      0 of 512 names, 0 of 0 questions answered|libunbound  at most 32 MiB, 0 of 0 questions answered" "$("$CTL" "${AT[@]}" dns cache | paste -sd '|')"
check "it is the operator's to see" 403 "$(code $API/v1/waymark/dns/cache)"

# --- what is asked for often
until_ok 10 keep www.example || fail "a name is kept"
until_ok 10 keep +dnssec +cd mail.example MX || fail "another is kept"
until_ok 10 keep none.example TXT || fail "a name that is not there is kept"
until_ok 10 keep www.other.example AAAA || fail "a name below another is kept"
for _ in 1 2 3 4 5; do ask www.example >/dev/null; done
check "who is asked for most stands first" '["www.example","A","NOERROR",2,32,["ad"],6]' "$(rows '[.name, .type, .rcode, .answers, .octets, .view, .asked]' | jq -c '.[0]')"
check "its view" '["mail.example","MX",["do","cd","ad"]]' "$(rows '[.name, .type, .view]' mail.example | jq -c '.[0]')"
check "a name that is not there" '[["none.example","TXT","NXDOMAIN",0]]' "$(rows '[.name, .type, .rcode, .answers]' none.example)"
check "a name and what is below it" '["www.other.example"]' "$(rows .name OTHER.example.)"
check "all" '["mail.example","none.example","www.example","www.other.example"]' "$(rows .name . | jq -c sort)"
check "a name of which there is none" '[]' "$(rows .name er.example)"
# 300 less what libunbound had it for; each of both is a whole number
was() { cache | jq '.answers[] | select(.name == "www.example") | .ttl_s + .age_s'; }
first=$(was)
check "TTL and age are of the TTL that was" true "$(jq -n "$first > 240 and $first <= 300")"
sleep 1.5
check "the one falls as the other grows" true "$(jq -n "$(was) - $first | . >= -1 and . <= 1")"
over() { [ "$(rows .ttl_s other.example)" = '[0]' ]; }
until_ok 20 over || fail "a TTL that is over: $(cache other.example)"
matches "in words" "^www.example +A +NOERROR +2[0-9]+ +[0-9]+ +6 +ad +32$" "$("$CTL" "${AT[@]}" dns cache)"
matches "occupancy" "^kernel      4 of 512 names, [0-9]+ of [0-9]+ questions answered \([0-9.]+ %\)$" "$("$CTL" "${AT[@]}" dns cache)"

# --- a page at a time
page() { operator "http://x/v1/waymark/dns/cache?limit=$1&after=$2"; }
seen='' after=0 pages=0
while [ "$after" != null ] && [ $pages -lt 9 ]; do
	p=$(page 3 "$after")
	seen+=$(jq -r '.answers[].name' <<<"$p")$'\n'
	after=$(jq .after <<<"$p")
	pages=$((pages + 1))
done
check "four in two pages" "2 4 4" "$pages $(grep -c . <<<"$seen") $(grep . <<<"$seen" | sort -u | wc -l)"
matches "no number" "^limit: a number from 1 to 500" "$(page 0 0)"
matches "no name" "a name is wanted" "$("$CTL" "${AT[@]}" dns cache a..b 2>&1)"

# --- what each level is asked, and answers
read -r k_asked k_answered < <(level kernel | jq -r '"\(.[0]) \(.[1])"')
read -r c_asked c_answered < <(level cache | jq -r '"\(.[0]) \(.[1])"')
for _ in 1 2 3; do ask www.example >/dev/null; done
for _ in 1 2 3; do ask +tcp mail.example MX >/dev/null; done
ask once.example >/dev/null
check "the kernel" "$((k_asked + 7)) $((k_answered + 3))" "$(level kernel | jq -r '"\(.[0]) \(.[1])"')"
check "libunbound" "$((c_asked + 4)) $((c_answered + 3))" "$(level cache | jq -r '"\(.[0]) \(.[1])"')"
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1" '$1 == m {print $2}'; }
check "metrics of it" "4 512" "$(metric dns_hot_names) $(metric dns_hot_names_max)"

# --- what is forgotten is gone; another run counts anew
for name in a..b . "$(printf '%064d' 0)"; do
	refused=$("$CTL" --agent "unix:$TMP/http.sock" dns flush "$name" 2>&1) && fail "'$name' is no name to forget"
	matches "flush '$name': why not" 'name: labels of 1 to 63 octets are wanted' "$refused"
done
check "flush" 200 "$(operator_code -X DELETE "$API/v1/waymark/dns/cache")"
check "nothing is kept" '[]' "$(rows .name)"
dns_balance
stop_agent
start_agent --set dns.upstream=list --set dns.forward=.=127.0.0.11
check "of another run" '[0,0]' "$(level kernel)"
dns_balance
stop_agent
start_agent --set dns.upstream=list --set dns.forward=.=127.0.0.11 --set dns.kernel_cache=0
ask www.example >/dev/null
ask www.example >/dev/null
check "without the kernel's" '{"names":0,"names_max":0,"asked":2,"answered":0}' "$(cache | jq -c .kernel)"
check "libunbound has it" '[2,1]' "$(level cache)"
done_testing
