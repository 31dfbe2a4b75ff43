#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The figures of userspace's DNS are right: what came in is what has an outcome, each answer is noted once, by level, type
# and code, whatever became of its question: answered, led on, stale, held back, cut, or given up by who asked.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh

unshare --net sleep 600 &
FAR=$!
until_ok 10 is_apart $FAR
ip link add wmup type veth peer name eth
ip link set eth netns "$FAR"
ip addr add 10.99.1.1/24 dev wmup
ip link set wmup up
nsenter -t $FAR --net sh -c 'ip link set lo up; ip addr add 10.99.1.2/24 dev eth; ip link set eth up'
serve up 127.0.0.11 53 "$(printf '\tlocal-zone: "example." static\n\tlocal-data: "a.example. 1 A 192.0.2.11"')"
(exec /usr/bin/python3 tests/net/slow_dns.py 127.0.0.15 "$TMP/go") &
printf '{"dns": {"records": ["out.corp CNAME a.example"], "rate_limit": 1, "allow": ["10.99.1.0/24"]}}' >"$TMP/settings.json"
start_agent --config "$TMP/settings.json" --set kernel.enabled=false --set dns.addresses=10.99.1.1,127.0.0.1 --set dns.upstream=list \
	--set "dns.forward=.=127.0.0.11,slow.test=127.0.0.15" --set dns.upstream_timeout=60s
register web-1 web 127.1.0.1 80 >/dev/null
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1" '{ sub(/_total$/, "", $1) } $1 == m { print $2 }'; }
level() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_dns_user_answers_total{level=\"$1\"" 'index($1, m) == 1 { n += $2 } END { print n + 0 }'; }
UDP=0 TCP=0
sent() { # who, address, words before
	local udp tcp
	read -r udp tcp < <("${@:3}" /usr/bin/python3 tests/net/mixture.py "$2" 8600 "$1")
	UDP=$((UDP + udp)) TCP=$((TCP + tcp))
}
all_in() { [ "$(metric dns_user_udp) $(metric dns_user_tcp) $(metric dns_user_waiting)" = "$UDP $TCP 0" ]; }
sums() {
	until_ok 30 all_in || fail "$1: sent $UDP $TCP 0, came $(metric dns_user_udp) $(metric dns_user_tcp) $(metric dns_user_waiting)"
	check "$1: each has an outcome" 0 "$(user_left)"
	check "$1: each answer is noted once" 0 "$(user_unseen)"
}
sent near 127.0.0.1
sums "of this node"
check "with a cookie are as many answers as questions" 10 "$(($(metric dns_user_cookie_new) + $(metric dns_user_cookie_valid)))"
sent far 10.99.1.1 nsenter -t $FAR --net
sums "of another network"
matches "some were held back, and some cut" "^[1-9][0-9]* [1-9]" "$(metric dns_user_rate_dropped) $(metric dns_user_rate_cut)"
kill_server up
stale() {
	sent near 127.0.0.1
	[ "$(level stale)" -gt 0 ]
}
until_ok 60 stale || fail "what is stale is answered: $(level stale)"
sums "of a server that is dead"
mkfifo "$TMP/hold"
/usr/bin/python3 tests/net/mixture.py 127.0.0.1 8600 closing <"$TMP/hold" >/dev/null &
exec 9>"$TMP/hold"
waits() { [ "$(metric dns_user_waiting)" = 4 ]; }
until_ok 30 waits || fail "four wait: $(metric dns_user_waiting)"
check "who waits has no outcome yet" 0 "$(user_left)"
exec 9>&-
TCP=$((TCP + 4))
sums "of who is gone"
check "which is told" 4 "$(metric dns_user_gone)"
negative=$(api "$API/v1/agent/metrics?format=prometheus" | awk '/^waymark_dns_/ && $2 ~ /^-|e\+1[89]|^1844/ {print $1}')
check "nothing is below nothing" "" "$negative"
done_testing
