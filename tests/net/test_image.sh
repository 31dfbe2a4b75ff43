#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The image (tools/image.sh), made of the programs that are tested, run by an OCI runtime with the capabilities,
# mounts, arguments and variables of deploy/kubernetes/daemonset.yaml (pod.py) and deploy/kubernetes/seccomp.json:
# the agent in it steers connect() of a process outside and answers its questions, reads the cluster with its pod's
# account, goes on as its pod is replaced, and what the uninstallation runs takes everything out of the kernel.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/pod.sh
. tests/net/pod.sh
image_unpack
check "its name is the version" "$(cat VERSION)" "$(jq -r '.manifests[0].annotations["org.opencontainers.image.ref.name"]' "$IMAGE/oci/index.json")"
check "labels" "waymark $(cat VERSION) Apache-2.0" "$(jq -r '.config.Labels | [.["org.opencontainers.image.title", "org.opencontainers.image.version", "org.opencontainers.image.licenses"]] | join(" ")' "$IMAGE_CONFIG")"
check "one layer" 1 "$(jq '.layers | length' "$IMAGE_MANIFEST")"
octets() { find "$ROOTFS" -type f ! -name 'lib?san.so*' ! -name 'waymark*' -printf '%s\n' | awk '{n += $1} END {print n}'; }
# of 60 MB, which image.sh holds a release to; programs with sanitizers are five times as large
[ "$(octets)" -le 50000000 ] || fail "the image has $(octets) octets beside the programs"
check "what can be run in it" "waymarkctl waymarkd" "$(find "$ROOTFS"/usr/bin "$ROOTFS"/usr/sbin -type f -printf '%f\n' | sort | paste -sd' ')"
check "each package of Debian is in the bill of materials" "$(find "$ROOTFS/var/lib/dpkg/status.d" -type f -printf '%f\n' | sort | paste -sd' ')" \
	"$(jq -r '.packages[] | select(.SPDXID | startswith("SPDXRef-deb-")).name' "$IMAGE/sbom.spdx.json" | sort | paste -sd' ')"
check "and has its license there" "" "$(for p in "$ROOTFS"/var/lib/dpkg/status.d/*; do [ -s "$ROOTFS/usr/share/doc/$(basename "$p")/copyright" ] || basename "$p"; done)"
tools/image.sh "$B" "$TMP/again" >/dev/null 2>&1
check "made again it has the same octets" "$(sha256sum <"$IMAGE/waymark.tar")" "$(sha256sum <"$TMP/again/waymark.tar")"

# --- runs as the DaemonSet's pod
# an API server with one Service, and the account that kubelet gives the pod
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=api -addext subjectAltName=IP:127.0.0.1 \
	-keyout "$TMP/api.key" -out "$TMP/account/ca.crt" 2>/dev/null || fail "a certificate cannot be made"
echo the-token >"$TMP/account/token"
echo waymark >"$TMP/account/namespace"
/usr/bin/python3 - >"$TMP/scenario.json" <<'END'
import json
def of(kind, version, *items):
    return {"list": [{"json": {"kind": kind + "List", "apiVersion": version, "metadata": {"resourceVersion": "9"}, "items": list(items)}}],
            "watch": [{"events": [], "end": "hang"}]}
def meta(name, uid, **more):
    return {"name": name, "uid": uid, "resourceVersion": "1", **more}
system = {"kind": "Namespace", "apiVersion": "v1", "metadata": meta("kube-system", "6f1c7f7e-0000-4000-8000-000000000001")}
print(json.dumps({
    "/api/v1/namespaces/kube-system": {"list": [{"json": system}]},
    "/api/v1/namespaces": of("Namespace", "v1", system, {"metadata": meta("default", "u2")}),
    "/api/v1/nodes": of("Node", "v1", {"metadata": meta("node-of-the-pod", "u3"), "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}}),
    "/api/v1/pods": of("Pod", "v1"),
    "/api/v1/services": of("Service", "v1", {"metadata": meta("shop", "u4", namespace="default"), "spec": {
        "type": "ClusterIP", "clusterIP": "10.96.7.7", "clusterIPs": ["10.96.7.7"], "ipFamilies": ["IPv4"],
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8081}]}}),
    "/apis/discovery.k8s.io/v1/endpointslices": of("EndpointSlice", "discovery.k8s.io/v1", {
        "metadata": meta("shop-1", "u5", namespace="default", labels={"kubernetes.io/service-name": "shop"}), "addressType": "IPv4",
        "ports": [{"name": "", "port": 8081, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["127.1.0.1"], "conditions": {"ready": True, "serving": True, "terminating": False},
                       "nodeName": "node-of-the-pod"}]}),
}))
END
/usr/bin/python3 tests/net/kube_server.py --cert "$TMP/account/ca.crt" --key "$TMP/api.key" "$TMP/scenario.json" "$TMP/api.port" "$TMP/asked" &
until_ok 20 test -s "$TMP/api.port" || fail "the API server"
API_PORT=$(cat "$TMP/api.port")
can_run
matches "the program runs in it" "waymarkd $(cat VERSION)" "$(run_in version /usr/sbin/waymarkd --version)"
start_pod one
until_ok 30 curl -sf -o "$TMP/ready" $API/v1/waymark/ready # the first list of its cluster is waited for
check "it is ready" 200 "$(code $API/v1/waymark/ready)"
pid=$("${CRUN[@]}" state one | jq .pid)
# CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF: capabilities(7)
check "its capabilities" "$(printf '%016x' $((1 << 10 | 1 << 12 | 1 << 38 | 1 << 39)))" "$(sed -n 's/^CapEff:\s*//p' "/proc/$pid/status")"
check "no way to others" 1 "$(sed -n 's/^NoNewPrivs:\s*//p' "/proc/$pid/status")"
check "its system calls are filtered" 2 "$(sed -n 's/^Seccomp:\s*//p' "/proc/$pid/status")"
check "what the plane is" on "$(api $API/v1/waymark/status | jq -r .plane.state)"
check "nothing of the plane is missing" "[]" "$(api $API/v1/waymark/status | jq -c .plane.reasons)"
backend web-1 127.1.0.1 8081
check "register" 200 "$(register web-1 web 127.1.0.1 8081)"
VIP=$(vip4 web)
check "connect() of a process outside is steered" 200 "$(inside curl -s -o /dev/null -w '%{http_code}' --max-time 20 "http://$VIP/")"
check "names are answered" 127.1.0.1 "$(ask web.service.mesh.internal)"
check "the store is the node's" there "$([ -s "$TMP/state/registry.db" ] && echo there)"
check "its socket, too" 200 "$(code --unix-socket "$TMP/run/http.sock" http://x/v1/waymark/live)"

# --- with its pod's account it reads the cluster
until_ok 60 grep -q '/pods?' "$TMP/asked" || fail "nothing was asked"
matches "pods of its own node, with its token" 'pods\?.*spec.nodeName(=|%3D)node-of-the-pod.* Bearer the-token' "$(cat "$TMP/asked")"
until_ok 60 sh -c "curl -s $API/v1/catalog/service/default/shop | grep -q 127.1.0.1" || fail "no endpoint of default/shop: $(api $API/v1/waymark/sources)"
until_ok 60 inside curl -s -f --max-time 20 http://10.96.7.7/ || fail "its ClusterIP is not steered"
in_one() { "${CRUN[@]}" exec one /usr/bin/waymarkctl "$@" 2>&1; } # as kubectl exec runs it
matches "waymarkctl in the pod" '^kubernetes +watching' "$(in_one sources)"
TRUTH=$(in_one truth) || fail "the kernel is not what the agent knows: $TRUTH"
DOCTOR=$(in_one doctor)
check "doctor finds no fault there" 0 $?
matches "but that it cannot try" 'selftest +note .*Read-only' "$DOCTOR"
check "and takes nobody's programs for others'" "" "$(grep 'of other software' <<<"$DOCTOR")"

# --- another pod takes its place while programs connect and ask
inside tests/net/client.py loop "$VIP" web.service.mesh.internal "$TMP/stop" >"$TMP/loop" 2>"$TMP/loop.err" &
LOOP=$!
sleep 1
stop_pod TERM 0
check "the kernel goes on without it" 127.1.0.1 "$(ask web.service.mesh.internal)"
start_pod two
check "the next one has what was registered" 1 "$(api $API/v1/catalog/service/web | jq length)"
check "and the same address" "$VIP" "$(vip4 web)"
matches "it adopted what the kernel has" 'event=plane.adopted' "$(tail -n 40 "$TMP/agent.log")"
stop_pod KILL 137
start_pod three
touch "$TMP/stop"
wait $LOOP
read -r ops failures <"$TMP/loop"
check "failures of $ops connects and questions" 0 "$failures"
[ "$ops" -gt 100 ] || fail "the loop did something: $ops"
[ "$failures" = 0 ] || head -5 "$TMP/loop.err"

# --- the kernel's list of steered sockets is of all network namespaces: no right to enter them is needed to count
register spare-1 spare 127.1.0.1 8099 >/dev/null
check "a drain can end by proof" null "$(api -X PUT "$API/v1/waymark/instances/spare-1/drain?deadline=10m" | jq -r .OnlyDeadline)"
check "its instance goes" 200 "$(code -X PUT $API/v1/agent/service/deregister/spare-1)"

# --- with any capability less it would not be what the ConfigMap requires
stop_pod TERM 0
for cap in BPF NET_ADMIN PERFMON NET_BIND_SERVICE; do
	sed "/^ *- $cap #/d" $DEPLOY/daemonset.yaml >"$TMP/less.yaml"
	MANIFEST=$TMP/less.yaml bundle --env WAYMARKD_DNS_PORT53_ADDRESSES=127.0.0.53
	timeout 60 "${CRUN[@]}" run --bundle "$TMP/bundle" "less-${cap,,}" </dev/null >"$TMP/less" 2>&1
	check "without CAP_$cap it does not start" 1 $?
	matches "and says why" 'err=.*(not permitted|ermission denied)' "$(cat "$TMP/less")"
	"${CRUN[@]}" delete --force "less-${cap,,}" 2>/dev/null
done

# --- uninstalled, by the containers of the uninstallation's pod
[ -d "$PINS" ] || fail "the kernel has its programs still"
MANIFEST=$DEPLOY/uninstall/uninstall.yaml
bundle --container detach
sed -i "s,/bpf/waymark\",/bpf/${PINS##*/}\"," "$TMP/bundle/config.json"
"${CRUN[@]}" run --bundle "$TMP/bundle" detach </dev/null >"$TMP/detach" 2>&1 || fail "detach: $(cat "$TMP/detach")"
check "nothing is pinned" "" "$(ls "$PINS" 2>/dev/null)"
check "nothing is attached" "" "$(bpftool -j cgroup list "$CG" 2>/dev/null | jq -c '.[]?')"
check "nothing answers" "" "$(ask web.service.mesh.internal | grep -v '^;;')"
bundle --container "done"
POD="done"
"${CRUN[@]}" run --bundle "$TMP/bundle" "done" </dev/null >"$TMP/done" 2>&1 &
RUNNER=$!
waits() { grep -q event=agent.ready "$TMP/done"; }
until_ok 60 waits || fail "what waits after it does not: $(cat "$TMP/done")"
check "it is nobody, and may nothing" "65534 0000000000000000" "$(awk '/^Uid:/ {u = $2} /^CapEff:/ {print u, $2}' "/proc/$("${CRUN[@]}" state "done" | jq .pid)/status")"
check "it listens nowhere" "" "$(ss -Hlntup | grep waymarkd)"
check "nothing is pinned again" "" "$(ls "$PINS" 2>/dev/null)"
stop_pod TERM 0
done_testing
