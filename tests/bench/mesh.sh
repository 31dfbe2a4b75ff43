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
octets_of() { ip -s -j link show "m$1" | jq ".[0].stats64.$2.bytes"; } # what node $1 receives is the bridge's tx
bench_join() {
	local n=100000 start in out r cpu
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
		cpu=$(sed 's/.*) //' "/proc/${NODE_AGENT[3]}/stat" | awk '{ print ($12 + $13) * 10 }')
		jq -cn --argjson s "$((($(date +%s%N) - start) / 1000000))e-3" --argjson in "$(($(octets_of 3 tx) - in))e-6" \
			--argjson out "$(($(octets_of 3 rx) - out))e-6" --argjson cpu "$cpu" '{s: $s, mb: ($in + $out), cpu: $cpu}' >>"$TMP/join"
		node_stop 3
		"$CTL" --pin-dir "$PINS-3" --force detach >/dev/null 2>&1
		rm -rf "$TMP/n3"
	done
	heading "join of an empty node, $n instances of 8 metadata keys"
	emit "join.s" "s until digests are equal" "$(take s "$TMP/join" | median)" "" "" "<= 3" "on $CPUS CPUs"
	emit "join.mb" "MB on the wire, both ways, TLS and heads included" "$(take mb "$TMP/join" | median)" "" "" "<= 12" ""
	emit "join.cpu" "ms of its agent's CPU, its start included" "$(take cpu "$TMP/join" | median)" "" "" "" ""
	MESH_SET=()
	mesh_end
}

# --- by etcd --------------------------------------------------------------------------------------------
bench_mesh_etcd() {
	local etcd=http://10.77.0.254:2379 CARRIER=etcd
	command -v etcd >/dev/null || { echo "mesh_etcd: skipped: etcd-server is needed" && return; }
	mesh_begin "$AGENTS"
	ip addr add 10.77.0.254/24 dev mesh0
	(exec etcd --data-dir "$TMP/etcd-mesh" --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
		--listen-peer-urls http://127.0.0.1:2380 --log-level error >>"$TMP/etcd.log" 2>&1) &
	local pid=$!
	until_ok 20 curl -sf "$etcd/health" || fail "etcd does not answer"
	MESH_SET=(--set sync.mode=etcd --set "sync.etcd_endpoints=$etcd")
	mesh_start "${ALL[@]}"
	heading "$AGENTS agents by etcd on $CPUS CPUs"
	reach etcd.reach "" "<= 60" "$AGENTS agents, etcd without TLS on the same machine"
	MESH_SET=()
	mesh_end
	kill "$pid"
}
