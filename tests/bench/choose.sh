# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # what run.sh has set
# Ways to choose: what clients feel of one slow backend of ten, beside HAProxy; what each costs beside random.
SLOW_PORT=9100 SLOW_RATE=2000 # dials/s: half of what all can take, and a tenth of it four times what the slow one can

set_policy() { # service, JSON
	[ "$(operator_code -X PUT "$API/v1/waymark/policies/$1" -d "$2")" = 200 ] || fail "policy $2 of $1"
}
picks_of_slow() { # TCP picks: of the slow one, of all
	bpftool -j map dump pinned "$PINS/maps/backend_live" >"$TMP/live"
	bpftool -j map dump pinned "$PINS/maps/backends" >"$TMP/ends"
	jq -n --slurpfile l "$TMP/live" --slurpfile b "$TMP/ends" --argjson port "$(printf '%d' $(((SLOW_PORT + 9) % 256 * 256 + (SLOW_PORT + 9) / 256)))" '
		[$l[0], $b[0]] | transpose | map({picks: .[0].formatted.value.picks, port: .[1].formatted.value.port_be}) |
		{slow: (map(select(.port == $port).picks) | add // 0), all: (map(.picks) | add // 0)}'
}
slow_run() { # file, target
	local before after
	before=$(picks_of_slow)
	inside "$T/slowload" -d "$2" -r $SLOW_RATE -t 5 >"$TMP/slow" || fail slowload
	after=$(picks_of_slow)
	jq -c --argjson a "$before" --argjson b "$after" \
		'. + {share: (if $b.all > $a.all then 100 * ($b.slow - $a.slow) / ($b.all - $a.all) else null end)}' "$TMP/slow" >>"$1"
	sleep 1 # what waits at the slow one is answered
}
bench_slow_backend() {
	local s ha r balance
	"$T/slowload" -S -p $SLOW_PORT -n 10 -u 2000 -x 10 &
	s=$!
	{
		printf '%s\n' global '  maxconn 8000' defaults '  mode tcp' '  timeout connect 5s' '  timeout client 60s' \
			'  timeout server 60s' 'frontend f' '  bind 127.0.0.1:9099' '  default_backend b' 'backend b' '  balance leastconn'
		for r in $(seq 0 9); do echo "  server s$r 127.0.0.1:$((SLOW_PORT + r))"; done
	} >"$TMP/ha-slow.cfg"
	haproxy -f "$TMP/ha-slow.cfg" -db >"$TMP/ha-slow.log" 2>&1 &
	ha=$!
	start_agent --set kernel.services_max=64 --set kernel.backends_max=128
	for r in $(seq 0 9); do register "s$r" slow 127.0.0.1 $((SLOW_PORT + r)) >/dev/null; done
	rm -f "$TMP"/slow-*
	for r in $(seq "$ROUNDS"); do
		for balance in random least_connections peak_ewma; do
			set_policy slow "{\"balance\": \"$balance\"}"
			slow_run "$TMP/slow-$balance" "$(vip4 slow) 80"
		done
		slow_run "$TMP/slow-haproxy" "127.0.0.1 9099"
	done
	heading "ten backends, one ten times slower, $SLOW_RATE/s"
	for balance in least_connections peak_ewma; do
		row "choose.slow.$balance.p99" "us to the answer, p99, beside random" "$TMP/slow-$balance" "$TMP/slow-random" p99_us "<= 0.2" "open loop"
		row "choose.slow.$balance.haproxy" "us to the answer, p99, beside HAProxy's leastconn" "$TMP/slow-$balance" "$TMP/slow-haproxy" p99_us "" "open loop"
		emit "choose.slow.$balance.share" "% of connects that the slow one got" "$(take share "$TMP/slow-$balance" | median)" "" "" "<= 3" "random: $(take share "$TMP/slow-random" | median)"
	done
	drop_agent
	kill "$s" "$ha"
}
bench_choose_cost() {
	local n=10000 dialled=4 balance r i ways="random weighted round_robin least_connections peak_ewma maglev direct affinity"
	big_agent --set dns.ttl=0
	"$T/regload" -N 64 -n $((n * 10)) -P svc- -i 10 -B $PORT >"$TMP/fill" || fail "fill: $(cat "$TMP/fill")"
	"$T/dnsload" -p 8600 -R -n $n -P svc-:.virtual.mesh.internal | head -n $dialled | sed 's/$/ 80/' >"$TMP/vips"
	rm -f "$TMP"/cost-*
	for r in $(seq "$ROUNDS"); do
		for balance in $ways; do
			for i in $(seq 0 $((dialled - 1))); do
				printf 'url = "%s/v1/waymark/policies/svc-%06d"\nrequest = PUT\ndata = "%s"\noutput = /dev/null\nunix-socket = %s\nnext\n' \
					"$API" "$i" "$(cost_policy "$balance" | sed 's/"/\\"/g')" "$TMP/http.sock"
			done | sed '$d' | curl -sK - || fail "policies"
			sleep 1 # tables of consistent hashing are built
			inside "$T/connload" -m udpconnect -n $((CONNECTS * 10)) -f "$TMP/vips" >>"$TMP/cost-$balance" || fail "connload"
		done
	done
	cost_watched
	heading "a choice, $n services of ten"
	for balance in $ways; do
		[ "$balance" = random ] || difference "$balance" random "<= $([ "$balance" = peak_ewma ] && echo 120 || echo 60)"
	done
	difference watched unwatched ""
	drop_agent
}
cost_policy() { # way
	case $1 in
	affinity) echo '{"affinity": {"key": "uid", "timeout": "1h"}}' ;;
	*) echo "{\"balance\": \"$1\"}" ;;
	esac
}
# While somebody watches each decision is told: fewer at a time than the ring buffer holds, 3,640, so that none is lost.
cost_watched() {
	local r s watcher
	for r in $(seq $((ROUNDS * 5))); do
		for s in unwatched watched; do
			[ $s = unwatched ] || {
				curl -sN --unix-socket "$TMP/http.sock" "$API/v1/waymark/flows" >/dev/null &
				watcher=$!
				until_ok 10 is_watched || fail "nobody watches"
			}
			inside "$T/connload" -m udpconnect -n 3000 -f "$TMP/vips" >>"$TMP/cost-$s" || fail "connload"
		done
		kill "$watcher"
		wait "$watcher" 2>/dev/null
		until_ok 10 is_unwatched || fail "somebody watches"
	done
	[ "$(counter flows_lost)" = 0 ] || fail "decisions were lost: what they cost is not measured"
}
is_watched() { [ "$(bpftool -j map dump pinned "$PINS/maps/config" | jq '.[0].formatted.value.flags / 8 | floor % 2')" = 1 ]; }
is_unwatched() { ! is_watched; }
difference() { # way, what it is beside, ns more at most: the median of the rounds' differences
	local d
	d=$(paste <(take connect_ns "$TMP/cost-$1") <(take connect_ns "$TMP/cost-$2") | awk '{print $1 - $2}' | median)
	emit "choose.cost.$1" "ns a connect more than $2, $(take connect_ns "$TMP/cost-$2" | median)" "$d" "" "" "$3" "UDP connect, the hook alone"
}
# One service of so many backends, each way beside random of ten: what a choice costs does not grow with them.
bench_choose_size() {
	local sizes="10 1000 10000" ways="random weighted round_robin least_connections peak_ewma maglev direct" n r balance
	start_agent --set kernel.services_max=64 --set kernel.backends_max=32768
	for n in $sizes; do
		"$T/regload" -N 64 -n "$n" -i "$n" -P "of$n-" -B $PORT >"$TMP/fill" || fail "fill: $(cat "$TMP/fill")"
		echo "$(vip4 "of$n-000000") 80" >"$TMP/vips-$n"
	done
	rm -f "$TMP"/cost-*
	for r in $(seq "$ROUNDS"); do
		for balance in $ways; do
			for n in $sizes; do set_policy "of$n-000000" "{\"balance\": \"$balance\"}"; done
			sleep 1 # tables of consistent hashing are built
			for n in $sizes; do
				inside "$T/connload" -m udpconnect -n $((CONNECTS * 5)) -f "$TMP/vips-$n" >>"$TMP/cost-$balance-of-$n" || fail "connload"
			done
		done
	done
	heading "a choice among so many backends"
	for balance in $ways; do
		for n in $sizes; do
			[ "$balance-$n" = random-10 ] ||
				difference "$balance-of-$n" random-of-10 "<= $([ "$balance" = peak_ewma ] && echo 120 || echo 60)"
		done
	done
	drop_agent
}
bench_choose() {
	bench_slow_backend
	bench_choose_cost
}
