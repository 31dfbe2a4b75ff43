# SPDX-License-Identifier: Apache-2.0
# storm.sh - one pod asks for names that do not exist as fast as it can; how long another pod waits for its
# answers, beside how long it does while all is quiet. Sourced by run.sh.
# shellcheck shell=bash
STORM_PER_S=200000 STORM_NAMES=100000
storm_pod() { # name of its devices, network: prints the pid of its namespace's holder
	local pid
	pid=$(peer_net)
	until_ok 10 in_net "$pid" true
	ip link add "wmh$1" type veth peer name eth netns "$pid"
	ip addr add "$2.1/24" dev "wmh$1"
	ip link set "wmh$1" up
	in_net "$pid" sh -c "ip link set lo up; ip addr add $2.2/24 dev eth; ip link set eth up; ip route add default via $2.1"
	echo "$pid"
}
storm_at() { # pid, file, further options: a storm in the background
	in_net "$1" "$T/dnsload" -c 0 -s 10.99.0.1 -p 8600 -r $STORM_PER_S -t $((MS * 2)) -n $STORM_NAMES \
		-P none-:.service.mesh.internal >>"$2" &
}
calm_one() { # pid, file: the other pod, on another CPU if there is one, while a storm goes on
	in_net "$1" "$T/dnsload" -c $((CPUS - 1)) -s 10.99.0.1 -p 8600 -t "$MS" -n 1000 -o >>"$2" || fail "the other pod has no answers"
}
bench_storm() {
	local noisy calm limit storm
	ip addr add 10.99.0.1/32 dev lo
	noisy=$(storm_pod noisy 10.98.1)
	calm=$(storm_pod calm 10.98.2)
	for limit in 20000 0; do
		start_agent --set 'kernel.veth_devices=wmhnoisy,wmhcalm' --set dns.addresses=127.0.0.1,10.99.0.1 --set dns.pod_limit=$limit
		fill 1000
		for _ in $(seq "$ROUNDS"); do
			calm_one "$calm" "$TMP/storm-idle-$limit"
			storm_at "$noisy" "$TMP/storm-sent-$limit"
			storm=$!
			sleep 0.3
			calm_one "$calm" "$TMP/storm-under-$limit"
			wait $storm || fail "the storm"
		done
		heading "a storm of $STORM_PER_S questions a second for names that do not exist, dns.pod_limit $limit"
		# what is less is no such storm: a busy machine
		emit "storm.sent.$limit" "questions/s" "$(take sent_per_s "$TMP/storm-sent-$limit" | median)" "" "" ">= $((STORM_PER_S * 9 / 10))" "veth"
		row "storm.p99.$limit" "us, another pod, one in flight; peer: idle" "$TMP/storm-under-$limit" "$TMP/storm-idle-$limit" p99_us \
			"$([ $limit = 0 ] || echo '<= 2')" "veth, $CPUS CPUs"
		row "storm.p50.$limit" "us, another pod, one in flight; peer: idle" "$TMP/storm-under-$limit" "$TMP/storm-idle-$limit" p50_us "" "veth"
		jq -c "{qps: .answered_per_s}" "$TMP/storm-sent-$limit" >"$TMP/storm-answered-$limit"
		jq -c "{qps: .sent_per_s}" "$TMP/storm-sent-$limit" >"$TMP/storm-rate-$limit"
		row "storm.answered.$limit" "of the storm a second; peer: sent" "$TMP/storm-answered-$limit" "$TMP/storm-rate-$limit" qps "" "veth"
		drop_agent
	done
	kill "$noisy" "$calm"
	ip link del wmhnoisy 2>/dev/null
	ip link del wmhcalm 2>/dev/null
	ip addr del 10.99.0.1/32 dev lo
}
