#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The figures of a big cluster, beside what is to be reached: SERVICES (10,000) of ten endpoints each, an agent of
# the release flavour. Prints a table; a figure that is missed is said, and fails nothing: whoever judges them
# has a machine left alone.
export B=${B:-build/release}
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
# shellcheck source=tests/kubernetes/cluster.sh
. tests/kubernetes/cluster.sh
# shellcheck source=tests/kubernetes/shop.sh
. tests/kubernetes/shop.sh
SERVICES=${SERVICES:-10000} EACH=10 CHURN=${CHURN:-60} ROUNDS=${ROUNDS:-300}
ROWS=()
row() { ROWS+=("$(printf '| %-58s | %14s | %10s |' "$1" "$2" "$3")"); }
export KUBE_CA=$CLUSTER/pki/ca.crt
cluster_up
python3 - <<-'PYTHON' || fail "no nodes"
	import sys
	sys.path.insert(0, "tests/kubernetes")
	from kube import CORE, Kube, namespace, node, service
	kube = Kube()
	for n in ("n1", "n2", "n3"):
	    kube.post(CORE + "/nodes", node(n, "z" + n[1], address="172.31.255." + n[1]))
	kube.post(CORE + "/namespaces", namespace("shop"))
	kube.post(CORE + "/namespaces/shop/services", service("steered", [("http", 80, 7070)]))
PYTHON
SECONDS=0
python3 tests/kubernetes/bulk.py fill "$SERVICES" $EACH || fail "not filled"
echo "$SERVICES services of $EACH endpoints made in $SECONDS s"
ticks() { awk '{print $14 + $15}' "/proc/$AGENT/stat"; }
rss_mib() { awk -v what="$1:" '$1 == what {printf "%.0f", $2 / 1024}' "/proc/$AGENT/status"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
# the service that is written last is dialled: nobody is there, but a connect() that is not steered is refused by
# the lack of a route, and one that is steered finds a bridge without ports
ip route add unreachable 10.96.0.0/12
ip link add sink type bridge
ip link set sink up
ip route add 10.128.0.0/9 dev sink
# every 500th is looked at, and the last
steered() {
	inside /usr/bin/python3 - "$@" <<-'PYTHON'
		import socket, sys
		for a in sys.argv[1:]:
		    s = socket.socket()
		    s.setblocking(False)
		    if s.connect_ex((a, 80)) != 115:  # EINPROGRESS: on its way to an endpoint
		        sys.exit(1)
		    s.close()
	PYTHON
}
SAMPLE=()
for s in $(seq 0 500 "$((SERVICES - 1))") $((SERVICES - 1)); do
	SAMPLE+=("$(kube GET "/api/v1/namespaces/bulk-$((s % 10))/services/s$s" | jq -r .spec.clusterIP)")
done
cluster_role
begin=$(now_ms)
"$B/waymarkd" --set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" --set "kernel.cgroup=$CG" \
	--set "http.socket=$TMP/http.sock" --set node.name=n1 --set registry.consul_service=false \
	"${AGENT_SETTINGS[@]}" 2>>"$TMP/agent.log" &
AGENT=$!
until_ok 120 steered "${SAMPLE[@]}" || fail "not all services are steered"
end=$(now_ms)
row "first sync: agent started -> all services steered" "$((end - begin)) ms" "6000 ms"
until_ok 60 source_is watching || fail "does not watch"
sleep 10
row "memory of the agent (RSS); at most" "$(rss_mib VmRSS), $(rss_mib VmHWM) MiB" "152.6 MiB"
hz=$(getconf CLK_TCK)
before=$(ticks)
sleep 20
row "CPU while nothing changes" "$(awk -v t=$(($(ticks) - before)) -v hz="$hz" 'BEGIN {printf "%.2f %%", t / hz / 20 * 100}')" ""
python3 tests/kubernetes/bulk.py churn "$CHURN" "$SERVICES" &
churn=$!
before=$(ticks)
wait $churn || fail "not churned"
row "CPU while one slice changes each second" \
	"$(awk -v t=$(($(ticks) - before)) -v hz="$hz" -v s="$CHURN" 'BEGIN {printf "%.2f %%", t / hz / s * 100}')" "0.5 %"
python3 tests/kubernetes/steer.py shop steered "$(kube GET "$SHOP/services/steered" | jq -r .spec.clusterIP)" "$ROUNDS" "$CG" \
	>"$TMP/steer" || fail "not steered"
row "endpoint written (acknowledged) -> connect() steered p50" "$(jq .answered_p50_ms "$TMP/steer") ms" "10 ms"
row "endpoint written (acknowledged) -> connect() steered p99" "$(jq .answered_p99_ms "$TMP/steer") ms" "40 ms"
row "the same from the request being sent, p50" "$(jq .sent_p50_ms "$TMP/steer") ms" ""
row "the same from the request being sent, p99" "$(jq .sent_p99_ms "$TMP/steer") ms" ""

# A relist with nothing changed: the API server comes back with a cache that begins behind what we have (a key that
# is no object's was written meanwhile), so each watch ends with 410 and everything is listed again. How long that
# takes says the agent's log, from the first page's beginning to the end of the last.
relists() { api "$API/v1/agent/metrics?format=prometheus" | awk '/^waymark_source_.*relists/ {n += $2} END {print n + 0}'; }
listed() { tail -n "+$1" "$TMP/agent.log" | sed -n 's/.*event=kubernetes.listed resource=\([a-z]*\) objects=\([0-9]*\) ms=\([0-9]*\)/\1 \2 \3/p'; }
relist() { # sets FROM, a line of the log, and TICKS, the agent's
	cluster_stop apiserver -KILL
	until_ok 60 source_is away || fail "not away"
	for n in 1 2 3; do etcdctl --endpoints http://127.0.0.1:2379 put /waymark-test $n >/dev/null; done
	FROM=$(($(wc -l <"$TMP/agent.log") + 1))
	TICKS=$(ticks)
	apiserver_start
	# nodes, services, endpointslices, pods; there is no resource of policies
	until_ok 120 all_listed || fail "not all was listed again: $(listed "$FROM")"
	until_ok 120 source_is watching || fail "does not watch again"
	TICKS=$(($(ticks) - TICKS))
}
all_listed() { [ "$(listed "$FROM" | wc -l)" -ge 4 ]; }
sleep 5
cluster_stop controllers -KILL
was=$(relists)
relist
row "relists with nothing changed" "$(($(relists) - was))" ""
row "the longest: from its first page to its end" "$(listed "$FROM" | sort -n -k 3 | tail -n 1 | awk '{print $1, $3}') ms" "1000 ms"
row "CPU of the agent for all of them" "$((TICKS * 1000 / hz)) ms" ""
listed "$FROM" | sed 's/^/listed: /'
strace -f -qq -e trace=bpf -o "$TMP/bpf" -p "$AGENT" 2>/dev/null &
tracer=$!
relist
sleep 2
kill -INT $tracer
wait $tracer 2>/dev/null
row "writes to maps by them" "$(grep -cE 'BPF_MAP_(UPDATE|DELETE)' "$TMP/bpf")" "0"
stop_agent
begin=$(now_ms)
start_agent "${AGENT_SETTINGS[@]}"
until_ok 60 steered "${SAMPLE[@]}"
row "start to serving with adopted tables" "$(($(now_ms) - begin)) ms" "1000 ms"
printf '| %-58s | %14s | %10s |\n' "$SERVICES services, $((SERVICES * EACH)) endpoints" "seen" "to reach"
printf '|%s|%s|%s|\n' "$(printf -- '-%.0s' {1..60})" "$(printf -- '-%.0s' {1..16})" "$(printf -- '-%.0s' {1..12})"
printf '%s\n' "${ROWS[@]}"
done_kube
