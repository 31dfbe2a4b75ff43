#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Ours beside peers, in one run, in rounds that take turns: run.sh SUITE... (the list is SUITES below)
# (default: all). Prints medians and ratios and writes build/bench.json. Machines are shared and noisy:
# the ratio of a pair counts, the figure by itself does not. BENCH_ROUNDS (5), BENCH_NAMES, BENCH_SIZES (of connect), BENCH_QUICK=1 (fewer)
# and with it BENCH_MS (500).
B=build/release
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
ROUNDS=${BENCH_ROUNDS:-5}
SIZES=${BENCH_SIZES:-1 10000 100000} NAMES=${BENCH_NAMES:-1000 100000} MS=1000 CONNECTS=20000
if [ -n "${BENCH_QUICK:-}" ]; then
	ROUNDS=${BENCH_ROUNDS:-3} SIZES=${BENCH_SIZES:-1 10000} NAMES=1000 MS=${BENCH_MS:-500} CONNECTS=5000
fi
T=$B/tests
PORT=18080 # the backends'
ROWS=$TMP/rows.json
: >"$ROWS"
CPUS=$(nproc)
SUITES="dns hot outage ndots storm connect choose choose_size passive register registry slow read memory checks filter recover mesh join leaf mesh_etcd memberlist"
# shellcheck disable=SC2086 # words
[ $# -gt 0 ] || set -- $SUITES

# figures of what failed are none
fail() {
	echo "FAILED: $*"
	exit 1
}
median() { sort -g | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
take() { jq -r ".$1" "$2" | grep -v null; }
# name, unit, file of ours, file of the peer, field, goal ("<= 1.15", "" for none), conditions: pairs by
# round, the ratio is the median of the rounds' ratios
row() {
	local name=$1 unit=$2 ours peer ratio
	ours=$(take "$5" "$3" | median)
	peer=$(take "$5" "$4" | median)
	ratio=$(paste <(take "$5" "$3") <(take "$5" "$4") | awk '$2 > 0 {print $1 / $2}' | median)
	emit "$name" "$unit" "$ours" "$peer" "$ratio" "$6" "$7"
}
emit() { # name, unit, ours, peer, ratio, goal, conditions
	local holds=-
	# the goal is about the ratio, or about our figure where there is no peer
	[ -z "$6" ] || holds=$(awk -v x="${5:-$3}" -v g="$6" 'BEGIN {
		split(g, a, " "); print (a[1] == "<=" ? x <= a[2] : x >= a[2]) ? "yes" : "NO"}')
	printf '%-44s %12s %12s %8s  %-9s %-3s  %s\n' "$1" "$(num "$3")" "$(num "$4")" "$(num "$5")" "${6:--}" "$holds" "$2"
	jq -cn --arg name "$1" --arg unit "$2" --argjson ours "${3:-null}" --argjson peer "${4:-null}" \
		--argjson ratio "${5:-null}" --arg goal "$6" --arg holds "$holds" --arg conditions "$7" \
		'$ARGS.named' >>"$ROWS"
}
num() { [ -n "$1" ] && printf '%.4g' "$1" || printf -- -; }
heading() { printf '\n%-44s %12s %12s %8s  %-9s %-3s  %s\n' "$1" ours peer ratio goal ok unit; }
big_agent() {
	start_agent --set kernel.services_max=131072 --set kernel.backends_max=262144 \
		--set kernel.memory_max=1073741824 --set registry.services_max=200000 "$@"
}
# places of a map of likely sets (waymark/likely.h), less one
likely_mask() { bpftool -j map show pinned "$PINS/maps/$1" | jq '.max_entries * (.bytes_value / 4) - 1'; }
fill() { # services of one instance each; fewer than a batch are not worth a client
	"$T/regload" -N $(($1 < 64 ? 1 : 64)) -n "$1" -P svc- -i 1 -B $PORT >"$TMP/fill" || fail "fill: $(cat "$TMP/fill")"
}
drop_agent() {
	stop_agent
	"$CTL" --pin-dir "$PINS" detach >/dev/null
	rm -rf "$TMP/data"
}

# --- registration ------------------------------------------------------------------------------------
bench_register() {
	local n
	start_agent --set kernel.services_max=32768
	heading "registration"
	for n in 1 64; do
		"$T/regload" -N $n -n $((n == 1 ? 2000 : 20000)) -P "reg$n-" -i 4 -S "$AGENT" >"$TMP/reg"
		emit "register.$n.per_s" "durable registrations/s, $n clients" "$(take per_s "$TMP/reg")" "" "" "" "fsync, kept alive"
		emit "register.$n.cpu" "us of the agent's CPU each" "$(take server_us "$TMP/reg")" "" "" "" "fsync, kept alive"
	done
	# the client spins while it looks at the map: on the agent's CPU it would measure the scheduler's slice
	[ "$CPUS" -lt 2 ] || taskset -apc 0 "$AGENT" >/dev/null
	"$T/applyload" -c $((CPUS > 1)) -m register -B "$PINS/maps" -n 500 >"$TMP/apply" || fail "applyload register"
	emit "apply.register.p50" "us from 200 to the kernel's answer" "$(take p50_us "$TMP/apply")" "" "" "" "one client"
	emit "apply.register.p99" "us from 200 to the kernel's answer" "$(take p99_us "$TMP/apply")" "" "" "<= 2000" "one client"
	"$T/applyload" -c $((CPUS > 1)) -m check -B "$PINS/maps" -n 500 >"$TMP/apply" || fail "applyload check"
	emit "apply.check.p50" "us from a check's result to the pick" "$(take p50_us "$TMP/apply")" "" "" "" "$CPUS CPUs"
	emit "apply.check.p99" "us from a check's result to the pick" "$(take p99_us "$TMP/apply")" "" "" "<= 50" "agent and client on a CPU each"
	drop_agent
}

# --- the registry beside etcd -------------------------------------------------------------------------
# one member, its data on the same disk, spoken to in its own protocol by as many clients
bench_registry() {
	local n=100000 puts=20000 etcd r
	[ -z "${BENCH_QUICK:-}" ] || n=20000 puts=5000
	etcd --data-dir "$TMP/etcd" --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379 \
		--listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls http://127.0.0.1:12380 \
		--initial-cluster default=http://127.0.0.1:12380 --log-level error >"$TMP/etcd.log" 2>&1 &
	etcd=$!
	big_agent
	until_ok 20 "$T/etcdload" -p 12379 -n 10 -N 1 || fail "etcd does not answer: $(tail -n 2 "$TMP/etcd.log")"
	rm -f "$TMP"/reg-*
	for r in $(seq "$ROUNDS"); do
		"$T/etcdload" -p 12379 -n $puts -S "$etcd" -P "r$r-" >>"$TMP/reg-etcd" || fail "etcd"
		"$T/regload" -n $puts -i 4 -P "r$r-" -S "$AGENT" >>"$TMP/reg-ours" || fail "register"
		"$T/regload" -n $((puts / 50)) -i 4 -P "t$r-" -T 100 -S "$AGENT" |
			jq -c '.per_s *= 99 | .server_us /= 99' >>"$TMP/reg-txn" || fail "txn"
	done
	kill "$etcd"
	heading "registry, 64 clients, beside etcd"
	row "registry.puts" "durable registrations/s / etcd puts/s" "$TMP/reg-ours" "$TMP/reg-etcd" per_s ">= 3" "8 metadata keys / 300 octets"
	row "registry.puts.cpu" "us of the server's CPU each" "$TMP/reg-ours" "$TMP/reg-etcd" server_us "" ""
	emit "registry.put.cpu" "us of the agent's CPU a registration" "$(take server_us "$TMP/reg-ours" | median)" "" "" "<= 25" ""
	row "registry.txn" "durable registrations/s by 100 / etcd puts/s" "$TMP/reg-txn" "$TMP/reg-etcd" per_s ">= 10" "99 services and their node a transaction"
	drop_agent
	big_agent --set http.watchers_max=11000
	"$T/regload" -n $n -i 10 -P look- >"$TMP/fill" || fail "fill"
	rm -f "$TMP"/reg-look
	for r in $(seq "$ROUNDS"); do
		"$T/regload" -l -n $((n / 2)) -i 1 -m $((n / 10)) -P look- -S "$AGENT" >>"$TMP/reg-look" || fail "lookup"
	done
	heading "lookups, $n instances of $((n / 10)) services, 64 clients"
	emit "registry.lookups" "/v1/health/service/:name?passing a second" "$(take per_s "$TMP/reg-look" | median)" "" "" ">= 40000" "10 instances each"
	emit "registry.lookup.p99" "us" "$(take p99_us "$TMP/reg-look" | median)" "" "" "<= 3000" ""
	emit "registry.lookup.cpu" "us of the agent's CPU each" "$(take server_us "$TMP/reg-look" | median)" "" "" "" ""
	drop_agent
}

# --- reads beside writers, on a slow disk --------------------------------------------------------------
# the peer is the same agent while nobody writes; DNS is answered by userspace
bench_slow() {
	local r s writers='' lookups=$((MS * 50))
	LD_PRELOAD=$PWD/$T/slow_sync.so SLOW_SYNC_MS=10 start_agent --set kernel.enabled=false
	"$T/regload" -n 128 -i 2 -P look- >"$TMP/fill" || fail "fill"
	rm -f "$TMP"/slow-*
	for r in $(seq "$ROUNDS"); do
		for s in ours still; do
			if [ $s = ours ]; then
				"$T/regload" -n 1000000 -i 4 -P "slow$r-" >/dev/null &
				writers=$!
				sleep 0.5
			fi
			"$T/regload" -l -N 1 -n $lookups -i 1 -m 64 -P look- >>"$TMP/slow-look-$s" || fail "lookup"
			"$T/regload" -l -N 1 -q 1000 -n $MS -i 1 -m 64 -P look- >>"$TMP/slow-paced-$s" || fail "lookup"
			"$T/dnsload" -p 8600 -t $((MS * 2)) -n 64 -P look-:.service.mesh.internal -o >>"$TMP/slow-dns-$s" || fail "dns"
			[ $s = still ] || stop_writers $writers
		done
	done
	heading "fsync takes 10 ms more: 64 clients register / nobody does"
	slow_rows look "us a look-up, one in flight"
	slow_rows dns "us a DNS query, one in flight"
	emit "slow.batch" "registrations a commit" "$(take writes "$TMP/slow-batch" | median)" "" "" "" ""
	# who sleeps in between waits for a CPU as well, with writers or without
	row "slow.paced.p99" "us a look-up, 1,000/s" "$TMP/slow-paced-ours" "$TMP/slow-paced-still" p99_us "" ""
	drop_agent
}
stop_writers() { # pid; they wrote all the time, and waited for the disk
	kill "$1" || fail "the writers ended"
	wait "$1" 2>/dev/null
	api $API/v1/waymark/status | jq '.registry | {writes: (.writes / .commits)}' >>"$TMP/slow-batch"
	[ "$(api $API/v1/waymark/status | jq '.registry.last_commit_us >= 10000')" = true ] || fail "the disk is not slow"
}
slow_rows() { # kind, unit
	local p
	for p in p50 p99; do
		emit "slow.$1.$p" "$2" "$(take ${p}_us "$TMP/slow-$1-ours" | median)" \
			"$(take ${p}_us "$TMP/slow-$1-still" | median)" "" "$([ $p = p50 ] || echo '<= 2000')" "DNS from userspace"
	done
}

# --- reads beside nginx and bare sends ----------------------------------------------------------------
web_peer() { # directory of its files
	cat >"$TMP/nginx.conf" <<-TEXT
		worker_processes 1;
		daemon off;
		user root;
		pid $TMP/nginx.pid;
		error_log $TMP/nginx.log;
		events {
		  worker_connections 4096;
		}
		http {
		  access_log off;
		  sendfile on;
		  tcp_nodelay on;
		  keepalive_requests 1000000000;
		  default_type application/json;
		  client_body_temp_path $TMP/nginx-1;
		  proxy_temp_path $TMP/nginx-2;
		  fastcgi_temp_path $TMP/nginx-3;
		  uwsgi_temp_path $TMP/nginx-4;
		  scgi_temp_path $TMP/nginx-5;
		  server {
		    listen 127.0.0.1:18500;
		    root $1;
		  }
		}
	TEXT
	nginx -c "$TMP/nginx.conf" -e "$TMP/nginx.log" >/dev/null 2>&1 &
	NGINX=$!
	until_ok 20 curl -sf http://127.0.0.1:18500/v1/health/service/look-000000 || fail "nginx: $(tail -n 2 "$TMP/nginx.log")"
}
# both answer the same octets, of 64 services of two instances; the client asks each in turn
bench_read() {
	local n=100000 r s worker dir=$TMP/www/v1/health/service
	[ -z "${BENCH_QUICK:-}" ] || n=30000
	big_agent --set http.watchers_max=11000
	"$T/regload" -n 128 -i 2 -P look- >"$TMP/fill" || fail "fill"
	mkdir -p "$dir"
	for s in $(seq -f 'look-%06g' 0 63); do
		api "$API/v1/health/service/$s?passing" >"$dir/$s"
	done
	web_peer "$TMP/www"
	worker=$(pgrep -P "$NGINX")
	rm -f "$TMP"/read-*
	for r in $(seq "$ROUNDS"); do
		"$T/regload" -l -n $n -i 1 -m 64 -P look- -S "$AGENT" >>"$TMP/read-ours" || fail "lookup"
		"$T/regload" -l -n $n -i 1 -m 64 -P look- -p 18500 -S "$worker" >>"$TMP/read-nginx" || fail "nginx"
	done
	kill "$NGINX"
	heading "lookups of $(stat -c %s "$dir/look-000000") octets, 64 clients, beside nginx with one worker and files"
	row "read.per_s" "/v1/health/service/:name?passing a second" "$TMP/read-ours" "$TMP/read-nginx" per_s ">= 0.9" ""
	row "read.machine" "us of the machine's CPU each" "$TMP/read-ours" "$TMP/read-nginx" machine_us "<= 1.1" "client included"
	row "read.cpu" "us of the server's CPU each" "$TMP/read-ours" "$TMP/read-nginx" server_us "" ""
	row "read.p99" "us" "$TMP/read-ours" "$TMP/read-nginx" p99_us "" ""
	ulimit -n 20000
	"$T/watchload" -w 10000 -o 100 -r "$ROUNDS" -I 5 -S "$AGENT" >"$TMP/watch" || fail "watch"
	heading "10,000 blocking queries of one service, 100 of another"
	emit "read.watch.last" "ms from the change to the last answer / 10,000 bare send()s" "$(take last_ms "$TMP/watch")" \
		"$(take bare_ms "$TMP/watch")" "$(take of_bare "$TMP/watch")" "<= 8" "of the same octets, nobody waits for them"
	emit "read.watch.cpu" "us of the agent's CPU each" "$(take server_us "$TMP/watch")" "" "" "" ""
	emit "read.watch.strangers" "answers to others" "$(take strangers "$TMP/watch")" "" "" "<= 0" ""
	emit "read.watch.idle" "of a CPU while nothing happens" "$(take idle_cpu "$TMP/watch")" "" "" "<= 0.01" ""
	drop_agent
}

# --- memory ------------------------------------------------------------------------------------------
rss() { awk '/^RssAnon/ {print $2 * 1024}' "/proc/$AGENT/status"; }
bench_memory() {
	local n=100000 before after maps
	[ -z "${BENCH_QUICK:-}" ] || n=10000
	big_agent
	before=$(rss)
	"$T/regload" -N 64 -n $n -P mem- -i 10 >"$TMP/fill"
	after=$(rss)
	heading "memory, $n instances of $((n / 10)) services"
	emit "memory.instance" "bytes of the agent an instance" "$(((after - before) / n))" "" "" "" "tables' dictionaries included"
	maps=$(api $API/v1/waymark/maps)
	for m in names frontends sets slots backends; do
		emit "memory.map.$m" "bytes a map entry" "$(jq "[.maps[] | select(.name == \"$m\") | .bytes / .max_entries][0]" <<<"$maps")" "" "" "" ""
	done
	emit "memory.maps" "bytes of all maps" "$(jq .bytes <<<"$maps")" "" "" "" "131072 services, 262144 instances"
	drop_agent
}

# --- checks ------------------------------------------------------------------------------------------
bench_checks() {
	local n=10000 kind options
	[ -z "${BENCH_QUICK:-}" ] || n=1000
	heading "$n checks every 10 s"
	for kind in tcp http; do
		start_agent --set kernel.services_max=32768
		# its server answers at once, on the other CPU: what the agent uses is what is asked for
		options=(-n "$n" -S "$AGENT")
		[ $kind = tcp ] || options+=(-H)
		"$T/checkload" "${options[@]}" >"$TMP/checks" || fail "checkload $kind: $(cat "$TMP/checks")"
		emit "checks.$kind.cpu" "% of one CPU" "$(take cpu_percent "$TMP/checks")" "" "" "<= 5" "$(take count "$TMP/checks") in an interval"
		emit "checks.$kind.us" "us of the agent's CPU a check" "$(take us "$TMP/checks")" "" "" "" ""
		emit "checks.$kind.uneven" "% off an even spread" "$(take uneven_percent "$TMP/checks")" "" "" "<= 1" "largest gap of shares"
		drop_agent
	done
}

# --- filters -----------------------------------------------------------------------------------------
bench_filter() {
	local n=1000000 i
	[ -z "${BENCH_QUICK:-}" ] || n=100000
	heading "three-term filters, $n instances of 10000 services"
	: >"$TMP/ours"
	: >"$TMP/scan"
	for ((i = 0; i < (ROUNDS + 1) / 2; i++)); do
		"$T/filter" $n >"$TMP/filter" || fail "filter"
		jq -c '{few: .few_us, service: .service_us}' "$TMP/filter" >>"$TMP/ours"
		jq -c '{few: .few_scan_us, service: .service_scan_us}' "$TMP/filter" >>"$TMP/scan"
	done
	row "filter.few" "us, $(jq .few_rows "$TMP/filter") rows by three values / a scan" "$TMP/ours" "$TMP/scan" few "<= 0.01" "compiled anew each time"
	row "filter.service" "us, $(jq .service_rows "$TMP/filter") rows of a service / a scan" "$TMP/ours" "$TMP/scan" service "<= 0.01" "compiled anew each time"
	emit "filter.few.us" "us a query" "$(take few "$TMP/ours" | median)" "" "" "<= 100" ""
	emit "filter.kept.us" "us the same query again, while nothing changes" "$(take few_kept_us "$TMP/filter")" "" "" "" "compiled anew each time"
	emit "filter.index" "bytes of the index an instance" "$(take index_bytes "$TMP/filter")" "" "" "" "8 metadata keys, one unique"
	emit "filter.build" "ms to index all" "$(take index_ms "$TMP/filter")" "" "" "" ""
}
# --- recovery ----------------------------------------------------------------------------------------
bench_recover() {
	local n=1000000 i start writes
	[ -z "${BENCH_QUICK:-}" ] || n=100000
	heading "from exec to the first answer, $n instances of 10000 services, 8 metadata keys"
	"$T/fillstore" "$TMP/store/registry.db" 10000 $n 8 || fail "fillstore"
	for ((i = 0; i < ROUNDS; i++)); do
		cp -r "$TMP/store" "$TMP/data"
		start=$(date +%s%N)
		big_agent --set registry.instances_max=2000000
		echo "{\"ms\": $((($(date +%s%N) - start) / 1000000))}" >>"$TMP/recover"
		drop_agent
	done
	emit "recover.first_answer" "ms to the first answer" "$(take ms "$TMP/recover" | median)" "" "" "<= 3000" "the index of metadata is built behind it"
	cp -r "$TMP/store" "$TMP/data"
	sync # or the agent's first fsync waits for all that was copied
	big_agent --set registry.instances_max=2000000
	until_ok 60 indexed || fail "the index is not built"
	emit "recover.memory" "bytes of the agent an instance" "$(($(rss) / n))" "" "" "<= 1024" "index of metadata and tables' dictionaries included"
	"$T/regload" -q 10000 -n $((n / 10)) -i 10 -P new- -S "$AGENT" >"$TMP/writes" &
	writes=$!
	sleep 1
	"$T/regload" -l -N 1 -q 200 -n $((n / 1000)) -i 1 -m 10000 >"$TMP/lookups" || fail "lookup"
	wait $writes || fail "writes"
	emit "recover.writes" "durable registrations/s beside lookups" "$(take per_s "$TMP/writes")" "" "" ">= 9900" "paced at 10,000"
	emit "recover.lookup.p50" "us a lookup" "$(take p50_us "$TMP/lookups")" "" "" "" "100 instances, one client, beside 10,000 writes/s"
	emit "recover.lookup.p99" "us a lookup" "$(take p99_us "$TMP/lookups")" "" "" "<= 1000" "the same"
	drop_agent
}
indexed() { [ "$(api $API/v1/waymark/status | jq .metadata.complete)" = true ]; }

# shellcheck source=tests/bench/connect.sh
. tests/bench/connect.sh
# shellcheck source=tests/bench/dns.sh
. tests/bench/dns.sh
# shellcheck source=tests/bench/mesh.sh
. tests/bench/mesh.sh
# shellcheck source=tests/bench/passive.sh
. tests/bench/passive.sh
# shellcheck source=tests/bench/hot.sh
. tests/bench/hot.sh
# shellcheck source=tests/bench/outage.sh
. tests/bench/outage.sh
# shellcheck source=tests/bench/ndots.sh
. tests/bench/ndots.sh
# shellcheck source=tests/bench/storm.sh
. tests/bench/storm.sh
# shellcheck source=tests/bench/choose.sh
. tests/bench/choose.sh
sysctl -q kernel.bpf_stats_enabled=0 # or the clock around each run of a program is measured along
echo "$(uname -sr), $CPUS CPUs, $ROUNDS rounds"
for s in "$@"; do
	case " $SUITES " in
	*" $s "*) "bench_$s" ;;
	*) fail "no suite '$s': $SUITES" ;;
	esac
done
jq -s --arg kernel "$(uname -r)" --arg date "$(date -u +%FT%TZ)" '{kernel: $kernel, date: $date, rows: .}' "$ROWS" >build/bench.json
echo
echo "build/bench.json: $(jq '.rows | length' build/bench.json) rows, $(jq '[.rows[] | select(.holds == "NO")] | length' build/bench.json) goals missed"
done_testing
