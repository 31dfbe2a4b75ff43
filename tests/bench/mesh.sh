# SPDX-License-Identifier: Apache-2.0
# mesh.sh - the mesh with real agents, part of run.sh: each has a network namespace, a cgroup and pins of its
# own. BENCH_AGENTS (24) is how many; all share the processors of this machine with their clients, so what a
# machine alone would take is less.
# shellcheck shell=bash
# shellcheck source=tests/net/mesh.sh
. tests/net/mesh.sh
AGENTS=${BENCH_AGENTS:-24}
[ -z "${BENCH_QUICK:-}" ] || AGENTS=${BENCH_AGENTS:-8}
mapfile -t ALL < <(seq "$AGENTS")
MESH_SET=()

mesh_start() { # nodes: with what MESH_SET says
	local i
	for i in "$@"; do
		# shellcheck disable=SC2046 # a word each
		node_agent "$i" $([ "$CARRIER" = etcd ] || tls_of "$i") "${MESH_SET[@]}"
	done
}
mesh_begin() { # nodes
	CARRIER=${CARRIER:-peers}
	mesh_up "$1"
	[ "$CARRIER" = etcd ] || mesh_keys "$1"
}
mesh_end() {
	local i
	for i in "${!NODE_AGENT[@]}"; do node_stop "$i"; done
	for i in "${!NODE_NS[@]}"; do
		"$CTL" --pin-dir "$PINS-$i" --force detach >/dev/null 2>&1
		kill -9 "${NODE_NS[$i]}"
		wait "${NODE_NS[$i]}" 2>/dev/null
		rm -rf "${TMP:?}/n$i"
	done
	NODE_AGENT=() NODE_NS=()
	ip link del mesh0
}
mesh_cpu() { # CPU ticks of all agents
	local p
	for p in "${NODE_AGENT[@]}"; do sed 's/.*) //' "/proc/$p/stat"; done | awk '{ n += $12 + $13 } END { print n }'
}
reach() { # name, goals of p50 and p99 (ms), conditions
	local specs=() i rounds=200 r cpu
	[ -z "${BENCH_QUICK:-}" ] || rounds=60
	for i in "${ALL[@]}"; do specs+=("/proc/${NODE_NS[$i]}/ns/net:$CG/n$i"); done
	register_on 1 reach-held reach 192.0.2.2 9 '"Check": {"TTL": "24h"}' >/dev/null
	: >"$TMP/reach"
	cpu=$(mesh_cpu)
	for ((r = 0; r < ROUNDS; r++)); do
		"$T/meshload" -C "$CGROOT" -n "$rounds" "${specs[@]}" | jq -c '.p50 = .p50_us / 1000 | .p99 = .p99_us / 1000 |
			.node_p50 = .node_p50_us / 1000 | .node_p99 = .node_p99_us / 1000' >>"$TMP/reach" || fail "meshload"
	done
	cpu=$((($(mesh_cpu) - cpu) * 10000 / (ROUNDS * rounds * AGENTS)))
	emit "$1.p50" "ms from the 200 until all others steer" "$(take p50 "$TMP/reach" | median)" "" "" "$2" "$4"
	emit "$1.p99" "ms, the same" "$(take p99 "$TMP/reach" | median)" "" "" "$3" "$4"
	emit "$1.node.p50" "ms, of each node" "$(take node_p50 "$TMP/reach" | median)" "" "" "" "$4"
	emit "$1.node.p99" "ms, of each node" "$(take node_p99 "$TMP/reach" | median)" "" "" "" "$4"
	emit "$1.cpu" "us of an agent's CPU a registration and deregistration" "$cpu" "" "" "" "$4"
	emit "$1.failed" "registrations that some node did not steer to" "$(take failed "$TMP/reach" | awk '{ n += $1 } END { print n }')" "" "" "<= 0" "$4"
}
bench_mesh() {
	local i q f c d
	mesh_begin "$AGENTS"
	mesh_start "${ALL[@]}"
	until_ok 60 all_alive "$AGENTS" "${ALL[@]}" || fail "not all are alive"
	heading "$AGENTS agents with TLS on $CPUS CPUs"
	reach mesh.reach "<= 15" "<= 60" "$AGENTS agents, TLS"
	clients_up "${ALL[@]}"
	clients_mark "${ALL[@]}"
	for i in "${ALL[@]}"; do
		node_stop "$i"
		mesh_start "$i"
	done
	until_ok 60 same_digests "${ALL[@]}" || fail "digests differ"
	read -r q f c d < <(clients_since web "${ALL[@]}")
	touch "$TMP/stop-clients"
	emit "mesh.rolling.questions" "of $q questions without an answer" "$f" "" "" "<= 0" "all restarted one by one"
	emit "mesh.rolling.connects" "of $c connects failed" "$d" "" "" "<= 0" "all restarted one by one"
	sleep 1
	mesh_end
}

# --- an empty node joins ------------------------------------------------------------------------------
settled() { [ "$(api_of "$1" /v1/waymark/sync | jq .waiting)" = 0 ]; } # its registry has what its replica has
octets_of() { ip -s -j link show "m$1" | jq ".[0].stats64.$2.bytes"; } # what node $1 receives is the bridge's tx
bench_join() {
	local n=100000 start in out r cpu s
	[ -z "${BENCH_QUICK:-}" ] || n=20000
	MESH_SET=(--set kernel.services_max=32768 --set kernel.backends_max=262144 --set kernel.memory_max=1073741824
		--set registry.services_max=200000)
	mesh_begin 3
	mesh_start 1 2
	on 1 "$T/regload" -n "$n" -i 10 -P svc- -B $PORT >"$TMP/fill" || fail "fill: $(cat "$TMP/fill")"
	until_ok 120 same_digests 1 2 || fail "the second does not have it"
	: >"$TMP/join"
	for ((r = 0; r < (ROUNDS + 1) / 2; r++)); do
		in=$(octets_of 3 tx) out=$(octets_of 3 rx)
		MESH_SET+=(--set sync.join=)
		mesh_start 3
		unset "MESH_SET[-1]" "MESH_SET[-1]"
		start=$(date +%s%N)
		api_of 3 -X PUT /v1/agent/join/10.77.0.1 >/dev/null
		until_ok 120 same_digests 1 3 || fail "it does not have all"
		s=$((($(date +%s%N) - start) / 1000000))
		until_ok 120 settled 3 || fail "it does not show all"
		cpu=$(sed 's/.*) //' "/proc/${NODE_AGENT[3]}/stat" | awk '{ print ($12 + $13) * 10 }')
		jq -cn --argjson s "${s}e-3" --argjson all "$((($(date +%s%N) - start) / 1000000))e-3" --argjson in "$(($(octets_of 3 tx) - in))e-6" \
			--argjson out "$(($(octets_of 3 rx) - out))e-6" --argjson cpu "$cpu" '{s: $s, all: $all, mb: ($in + $out), cpu: $cpu}' >>"$TMP/join"
		node_stop 3
		"$CTL" --pin-dir "$PINS-3" --force detach >/dev/null 2>&1
		rm -rf "$TMP/n3"
	done
	heading "join of an empty node, $n instances of 8 metadata keys"
	emit "join.s" "s until digests are equal" "$(take s "$TMP/join" | median)" "" "" "<= 3" "on $CPUS CPUs"
	emit "join.all" "s until all are in its tables, too" "$(take all "$TMP/join" | median)" "" "" "" "on $CPUS CPUs"
	emit "join.mb" "MB on the wire, both ways, TLS and heads included" "$(take mb "$TMP/join" | median)" "" "" "<= 12" ""
	emit "join.cpu" "ms of its agent's CPU, its start included" "$(take cpu "$TMP/join" | median)" "" "" "" ""
	MESH_SET=()
	mesh_end
}

# --- a leaf ---------------------------------------------------------------------------------------------
rss_of() { awk -v k="$2:" '$1 == k { print $2 / 1024 }' "/proc/${NODE_AGENT[$1]}/status"; }
bench_leaf() {
	local n=1000000 i in out first at
	[ -z "${BENCH_QUICK:-}" ] || n=20000
	MESH_SET=(--set kernel.services_max=131072 --set kernel.backends_max=1048576 --set kernel.memory_max=2147483648
		--set registry.services_max=200000 --set sync.profile=lan)
	mesh_begin 3
	mesh_start 1 2
	on 1 "$T/regload" -n "$n" -i 10 -P svc- -B $PORT >"$TMP/fill" || fail "fill: $(cat "$TMP/fill")"
	until_ok 600 same_digests 1 2 && until_ok 600 settled 2 || fail "the second does not have it"
	MESH_SET=(--set sync.profile=lan --set sync.role=leaf --set 'sync.interest=svc-00000*,svc-00001*,svc-00002*,svc-00003*,svc-00004*')
	mesh_start 3
	until_ok 60 leaf_holds 50 || fail "the leaf does not hold 50 services"
	sleep 5
	in=$(octets_of 3 tx) out=$(octets_of 3 rx) at=$(date +%s%N)
	sleep 20
	heading "a leaf of 50 services, two full members with $n instances"
	emit "leaf.rss" "MiB of the leaf's agent" "$(rss_of 3 VmRSS)" "" "" "<= 40" ""
	emit "leaf.anon" "MiB of these its own, neither files nor tables" "$(rss_of 3 RssAnon)" "" "" "" ""
	emit "leaf.idle" "KB/s idle, both ways" "$(awk "BEGIN { print ($(octets_of 3 tx) - $in + $(octets_of 3 rx) - $out) / (($(date +%s%N) - $at) / 1e6) }")" "" "" "<= 3" "20 s"
	: >"$TMP/first"
	for i in $(seq 100 119); do
		first=$(on 3 dig +tries=1 +time=5 @127.0.0.1 -p 8600 "svc-000$i.service.mesh.internal" | sed -n 's/.*Query time: \([0-9]*\) .*/\1/p')
		echo "{\"ms\": $first}" >>"$TMP/first"
	done
	emit "leaf.first" "ms, the first question of an unknown service, p50 of 20" "$(take ms "$TMP/first" | median)" "" "" "<= 5" "dig's whole milliseconds"
	MESH_SET=()
	mesh_end
}
leaf_holds() { [ "$(api_of 3 /v1/catalog/services | jq length)" -ge "$1" ]; }

# --- by etcd --------------------------------------------------------------------------------------------
# etcd is killed and back under clients' loops; then an agent's watch breaks, and what comes meanwhile is compacted
etcd_begin() {
	(exec etcd --data-dir "$TMP/etcd-mesh" --listen-client-urls "$1" --advertise-client-urls "$1" \
		--listen-peer-urls http://127.0.0.1:2380 --log-level error >>"$TMP/etcd.log" 2>&1) &
	ETCD_PID=$!
	until_ok 20 curl -sf "$1/health" || fail "etcd does not answer"
}
etcd_kill() {
	kill -9 "$ETCD_PID"
	wait "$ETCD_PID" 2>/dev/null
}
etcd_away() { # its address
	local i q f c d n lost=0
	clients_up "${ALL[@]}"
	clients_mark "${ALL[@]}"
	etcd_kill
	for n in $(seq 20); do register_on "$((n % (AGENTS - 1) + 1))" "late-$n" late 192.0.2.1 "$n" >/dev/null; done
	sleep 2
	kill -STOP "${NODE_AGENT[$AGENTS]}"
	etcd_begin "$1"
	until_ok 60 late_at 1 || fail "what was registered without etcd did not follow"
	ETCDCTL_API=3 etcdctl --endpoints "$1" compact "$(api_of 1 /v1/waymark/sync | jq .etcd.revision)" >/dev/null || fail "no compaction"
	kill -CONT "${NODE_AGENT[$AGENTS]}"
	for i in "${ALL[@]}"; do until_ok 60 late_at "$i" || lost=$((lost + 1)); done
	read -r q f c d < <(clients_since web "${ALL[@]}")
	touch "$TMP/stop-clients"
	emit "etcd.killed.questions" "of $q questions without an answer" "$f" "" "" "<= 0" "etcd killed, back, compacted behind an agent"
	emit "etcd.killed.connects" "of $c connects failed" "$d" "" "" "<= 0" "the same"
	emit "etcd.killed.lost" "agents that lack one of 20 registered meanwhile" "$lost" "" "" "<= 0" "the same"
	sleep 1
}
late_at() { [ "$(passing_at "$1" late | wc -w)" = 20 ]; }
bench_mesh_etcd() {
	local etcd=http://10.77.0.254:2379 CARRIER=etcd
	command -v etcd >/dev/null || { echo "mesh_etcd: skipped: etcd-server is needed" && return; }
	mesh_begin "$AGENTS"
	ip addr add 10.77.0.254/24 dev mesh0
	etcd_begin "$etcd"
	MESH_SET=(--set sync.mode=etcd --set "sync.etcd_endpoints=$etcd")
	mesh_start "${ALL[@]}"
	heading "$AGENTS agents by etcd on $CPUS CPUs"
	reach etcd.reach "" "<= 60" "$AGENTS agents, etcd without TLS on the same machine"
	etcd_away "$etcd"
	MESH_SET=()
	mesh_end
	kill "$ETCD_PID"
}

# --- beside hashicorp/memberlist ------------------------------------------------------------------------
# Its 24 members are in one process on loopback, ours are agents with TLS, a store and the kernel's tables each.
failed_ms() { # node: its agent is killed; ms until the last of the others says that it failed
	local i start last=0 at seen
	start=$(date +%s%3N)
	node_stop "$1" KILL
	for i in "${!NODE_AGENT[@]}"; do
		until_ok 60 grep -qE "event=member.failed node=n$1( |\$)" "$TMP/n$i.log" || fail "node $i does not say that $1 failed"
		seen=$(grep -E "event=member.failed node=n$1( |\$)" "$TMP/n$i.log" | tail -n 1 | cut -d' ' -f1)
		at=$(date -d "$seen" +%s%3N)
		[ "$at" -le "$last" ] || last=$at
	done
	echo "{\"failed\": $((last - start))}"
}
bench_memberlist() {
	local i
	command -v go >/dev/null || { echo "memberlist: skipped: go is needed" && return; }
	(cd tests/bench/memberlist && go build -o "../../../$T/memberlist" . 2>"$TMP/go.log") ||
		{ echo "memberlist: skipped: it does not build: $(tail -n 1 "$TMP/go.log")" && return; }
	MESH_SET=(--set sync.profile=lan)
	mesh_begin "$AGENTS"
	mesh_start "${ALL[@]}"
	until_ok 60 all_alive "$AGENTS" "${ALL[@]}" || fail "not all are alive"
	heading "$AGENTS agents beside memberlist, LAN timers"
	reach mesh.lan.reach "<= 15" "<= 60" "$AGENTS agents, TLS"
	: >"$TMP/killed"
	for i in $(seq $((AGENTS - 2)) "$AGENTS"); do failed_ms "$i" >>"$TMP/killed"; done
	MESH_SET=()
	mesh_end
	timeout 300 "$T/memberlist" -members "$AGENTS" >"$TMP/memberlist" || fail "memberlist"
	jq -c '.failed = .failed_p50' "$TMP/memberlist" >"$TMP/memberlist-one"
	beside mesh.lan.spread.p50 "ms to all: ours to the kernel, theirs to memory" "$TMP/reach" "$TMP/memberlist-one" p50 "<= 0.5"
	beside mesh.lan.spread.p99 "ms, the same" "$TMP/reach" "$TMP/memberlist-one" p99 "<= 0.5"
	beside mesh.lan.failed "ms until all know that one was killed" "$TMP/killed" "$TMP/memberlist-one" failed "<= 1"
}
beside() { # name, unit, file of ours, file of theirs, field, goal: the ratio of the medians
	local ours theirs
	ours=$(take "$5" "$3" | median)
	theirs=$(take "$5" "$4" | median)
	emit "$1" "$2" "$ours" "$theirs" "$(awk "BEGIN { print $ours / $theirs }")" "$6" "one machine, LAN timers"
}
