#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the agent's memory is made of (release flavour), without an API server: SERVICES (10,000) of ten endpoints
# each that a played cluster has (tests/net/kube_cluster.py), then INSTANCES (1,000) that register, without a source.
# A row each: MiB resident, of these its own (heap, stacks), the kernel's maps, programs and libraries.
# PODS=no: endpoints without names of pods, on three nodes, as figures.sh has them.
export B=${B:-build/release}
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
# shellcheck source=tests/net/kube.sh
. tests/net/kube.sh
SERVICES=${SERVICES:-10000} INSTANCES=${INSTANCES:-1000} PODS=${PODS:-yes}
of() { # pid: MiB by kind, of /proc/PID/smaps
	awk '
		/^[0-9a-f]+-[0-9a-f]+ / { kind = $6 ~ /bpf-map/ ? "maps" : $6 ~ /^\// ? "files" : "own" }
		/^Rss:/ { n[kind] += $2; n["all"] += $2 }
		END { printf "%6.1f | %6.1f | %6.1f | %6.1f", n["all"] / 1024, n["own"] / 1024, n["maps"] / 1024, n["files"] / 1024 }
	' "/proc/$1/smaps"
}
row() { printf '| %-45s | %s |\n' "$1" "$(of "$AGENT")"; }
source_about() { api "$API/v1/waymark/sources" | jq -e ".[] | select(.name == \"kubernetes\") | $1"; }
start() {
	"$B/waymarkd" --set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" --set "kernel.cgroup=$CG" \
		--set "http.socket=$TMP/http.sock" --set node.name=n1 --set registry.consul_service=false "$@" 2>>"$TMP/agent.log" &
	AGENT=$!
	until_ok 60 agent_up || fail "the agent does not answer"
}

(cd tests/net && python3 - "$TMP/kube.json" "$SERVICES" "$PODS") <<-'PYTHON' || fail "no objects"
	import sys
	from kube_cluster import Cluster, many
	of, services = Cluster(sys.argv[1]), int(sys.argv[2])
	objects = list(many(services, 10 * services))
	for n, o in enumerate(objects if sys.argv[3] == "no" else []):
	    for e in o.get("endpoints", []):
	        del e["targetRef"], e["zone"]
	        e["nodeName"] = f"n{n // 2 % 3 + 1}"
	of.put([{"kind": "Namespace", "metadata": {"name": "kube-system"}}, *objects])
PYTHON
start_cluster
kubeconfig
printf '| %-45s | %6s | %6s | %6s | %6s |\n' "MiB" all own maps files
start --set source.kubernetes_enabled=true --set "source.kubernetes_kubeconfig=$TMP/kubeconfig" --set source.kubernetes_node=n1
until_ok 240 source_about ".instances == $((SERVICES * 10)) and .queued == 0 and .state == \"watching\"" || fail "does not come to watch"
sleep 5
row "$SERVICES services, $((SERVICES * 10)) endpoints"
stop_agent
stop_cluster
rm -rf "$TMP/data"
"$CTL" --pin-dir "$PINS" --force detach >/dev/null 2>&1
start
row "none"
register() { # number
	printf '{"ID": "i-%d", "Name": "s-%d", "Address": "10.1.%d.%d", "Port": 80}' "$1" "$(($1 / 10))" "$(($1 / 250))" "$(($1 % 250 + 1))"
}
for n in $(seq "$INSTANCES"); do
	register "$n" >"$TMP/body.$n"
	printf 'url = "%s/v1/agent/service/register"\nupload-file = "%s"\n' "$API" "$TMP/body.$n"
done >"$TMP/register"
api --fail --parallel -K "$TMP/register" >/dev/null || fail "not registered"
sleep 2
row "$INSTANCES instances that registered"
done_testing
