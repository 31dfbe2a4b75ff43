# SPDX-License-Identifier: Apache-2.0
# outage.sh - servers of others' names are killed: how long the first question and the slowest one wait, and
# how many fail, of names that were asked before. Sourced by run.sh.
# shellcheck shell=bash
outage_server() { # address
	local d=$TMP/outage
	mkdir -p "$d"
	{
		printf 'server:\n interface: %s@53\n num-threads: 1\n username: ""\n chroot: ""\n pidfile: ""\n use-syslog: no\n' "$1"
		printf ' directory: "%s"\n do-daemonize: no\n local-zone: "example." static\n local-zone: "waymark-loop." static\n' "$d"
		seq -f ' local-data: "n-%g.example. 1 A 192.0.2.7"' 0 199
		printf 'remote-control:\n control-enable: no\n'
	} >"$d/$1.conf"
	unbound -d -c "$d/$1.conf" 2>"$d/$1.log" &
	OUTAGE[$1]=$!
	until_ok 20 dig +short +tries=1 +time=1 "@$1" n-0.example || fail "$1 answers: $(tail -n 2 "$d/$1.log")"
}
outage_up() {
	[ "$(api $API/v1/waymark/dns | jq '[.servers[] | select(.state == "up")] | length')" = 2 ]
}
bench_outage() {
	local a
	declare -A OUTAGE=()
	for _ in $(seq "$ROUNDS"); do
		for a in 127.0.0.11 127.0.0.12; do outage_server $a; done
		start_agent --set dns.upstream=list --set "dns.forward=.=127.0.0.11 127.0.0.12"
		until_ok 30 outage_up || fail "both servers are up"
		/usr/bin/python3 tests/net/outage.py n 200 3 >/dev/null || fail outage
		/usr/bin/python3 tests/net/outage.py n 200 5 "${OUTAGE[127.0.0.11]}" >>"$TMP/outage-one" || fail outage
		/usr/bin/python3 tests/net/outage.py n 200 5 "${OUTAGE[127.0.0.12]}" >>"$TMP/outage-all" || fail outage
		wait "${OUTAGE[@]}" 2>/dev/null
		drop_agent
	done
	heading "DNS, servers of names of others are killed; names asked before, TTL 1 s"
	for a in one all; do
		emit "outage.$a.failed" "look-ups failed, of all rounds" "$(jq -s 'map(.failed) | add' "$TMP/outage-$a")" "" "" "<= 0" "lo, of two servers"
		emit "outage.$a.first" "ms, the first question after" "$(take first_ms "$TMP/outage-$a" | median)" "" "" "<= 300" "lo, of two servers"
		emit "outage.$a.slowest" "ms, the slowest of 5 s" "$(take max_ms "$TMP/outage-$a" | median)" "" "" "" "lo, of two servers"
	done
}
