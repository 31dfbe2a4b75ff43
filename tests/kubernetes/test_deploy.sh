#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# deploy/kubernetes as a user applies it: kubectl and a real API server find nothing wrong, the account may read what
# is watched and nothing else, wrong policies are refused by their schema. The pod is run as the API server has it: with
# a token that was issued for it, that is replaced, and that becomes invalid; then with the component `sockets` and its
# own seccomp profile.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
# shellcheck source=tests/kubernetes/cluster.sh
. tests/kubernetes/cluster.sh
# shellcheck source=tests/kubernetes/shop.sh
. tests/kubernetes/shop.sh
# shellcheck source=tests/kubernetes/deploy.sh
. tests/kubernetes/deploy.sh
# shellcheck source=tests/net/pod.sh
. tests/net/pod.sh
export HOME=$TMP # kubectl keeps what it discovered there
image_unpack
can_run
cluster_up
cluster_shop

echo "--- kubectl apply"
said=$(applied $DEPLOY) || fail "not applied: $said"
check "all of it is made, and nothing is warned of" 7 "$(grep -c ' created$' <<<"$said")"
check "nothing else is said" "" "$(grep -v ' created$' <<<"$said")"
said=$(applied $DEPLOY)
check "applied again nothing changes" "" "$(grep -v ' unchanged$' <<<"$said")"
said=$(applied $DEPLOY/uninstall --dry-run=server)
check "the uninstallation" "daemonset.apps/waymark-uninstall created (server dry run)" "$said"
overlay metrics
said=$(applied "$TMP/overlay-metrics" --dry-run=server)
matches "with metrics" 'service/waymark-metrics created' "$said"
check "which only lacks the Prometheus operator" 1 "$(grep -ci 'error\|warning' <<<"$said")"
matches "by its name" 'no matches for kind "PodMonitor"' "$said"

echo "--- rights"
ACCOUNT=system:serviceaccount:waymark:waymark
may() { kubectl auth can-i --list --no-headers "--as=$ACCOUNT" 2>/dev/null | grep -v '^selfsubject' | awk '$1 !~ /^\[/'; }
check "what is watched can be read" "endpointslices.discovery.k8s.io namespaces nodes pods services waymarkpolicies.waymark.io" \
	"$(may | grep -F '[get list watch]' | awk '{print $1}' | sort | paste -sd' ')"
check "nothing else can be done, but to tell of policies" "" \
	"$(may | grep -vF '[get list watch]' | grep -v '^waymarkpolicies.waymark.io/status ')"
for what in "get secrets" "list configmaps" "create pods" "patch services" "delete nodes" "update endpointslices"; do
	# shellcheck disable=SC2086 # a verb and a resource
	check "may it $what" no "$(kubectl auth can-i $what --all-namespaces "--as=$ACCOUNT" 2>/dev/null)"
done

echo "--- policies"
kubectl wait --for=condition=Established crd/waymarkpolicies.waymark.io --timeout=30s >/dev/null || fail "the resource is not there"
policy() { # spec
	kubectl apply -f - 2>&1 <<-TEXT
		apiVersion: waymark.io/v1
		kind: WaymarkPolicy
		metadata: {name: web, namespace: shop}
		spec: $1
	TEXT
}
matches "a balance that there is not" 'spec.balance: Unsupported value: "best"' "$(policy '{balance: best}')"
matches "a field that there is not" 'unknown field "spec.balanse"' "$(policy '{balanse: least_connections}')"
matches "a number where a word is wanted" 'spec.balance.*string' "$(policy '{balance: 7}')"
matches "a good one" 'waymarkpolicy.waymark.io/web created' "$(policy '{balance: least_connections}')"
matches "its columns" '^NAME +SERVICE +ACCEPTED +REASON' "$(kubectl -n shop get wmp)"

# As kubelet does it: a directory that is put in the place of another at once. The token is bound to a Pod, with which
# it goes; no kubelet of this test plays pods of the node n9.
ISSUED=0
issue() { # pod
	kubectl -n waymark apply -f - >/dev/null <<-TEXT || fail "no pod $1"
		apiVersion: v1
		kind: Pod
		metadata: {name: $1}
		spec: {nodeName: n9, serviceAccountName: waymark, containers: [{name: waymarkd, image: waymark}]}
	TEXT
	ISSUED=$((ISSUED + 1))
	local d=$TMP/account/..$ISSUED
	mkdir "$d"
	kubectl -n waymark create token waymark --bound-object-kind Pod --bound-object-name "$1" --duration 10m >"$d/token" ||
		fail "no token"
	cp "$CLUSTER/pki/ca.crt" "$d/ca.crt"
	echo waymark >"$d/namespace"
	ln -sfn "..$ISSUED" "$TMP/account/..data.new"
	mv -T "$TMP/account/..data.new" "$TMP/account/..data"
	for f in token ca.crt namespace; do ln -sf "..data/$f" "$TMP/account/$f"; done
}
invalid() { ! kubectl auth whoami --token "$(cat "$TMP/account/..$1/token")" --kubeconfig /dev/null --server $KUBE_API --certificate-authority "$CLUSTER/pki/ca.crt"; }
revoke() { # pod, its token's number
	kubectl -n waymark delete pod "$1" --grace-period=0 --force >/dev/null 2>&1
	until_ok 60 invalid "$2" || fail "the token of $1 is valid still"
}
api_again() {
	cluster_stop apiserver -KILL
	apiserver_start
	until_ok 120 cluster_ready
}
manifest() { # the DaemonSet as the API server has it, its settings too
	kubectl -n waymark get daemonset waymark -o yaml >"$TMP/daemonset.yaml"
	kubectl -n waymark get configmap waymark -o 'jsonpath={.data.waymark\.json}' >"$TMP/config/waymark.json"
	MANIFEST=$TMP/daemonset.yaml
}
NODE=(--env WAYMARKD_SOURCE_KUBERNETES_NODE=n1)
whole() { # when
	until_ok 90 source_is watching || fail "$1: $(api "$API/v1/waymark/sources")"
	until_ok 30 seen_is web "web-1 web-2 web-3" || fail "$1: a pod dials $(seen_from client web 80 30)"
}
echo "--- the pod, with the token that was issued for it"
issue waymark-1
manifest
start_pod one "${NODE[@]}"
whole "in a pod"
policy_taken() { api "$API/v1/waymark/policies" | grep -q least_connections; }
until_ok 30 policy_taken || fail "the policy is not the agent's: $(api "$API/v1/waymark/policies")"
echo "--- the token is replaced while it runs, and what it had becomes invalid"
issue waymark-2
revoke waymark-1 1
api_again
whole "with the second token"
ready web-2 false
until_ok 30 seen_is web "web-1 web-3" || fail "a change is not seen with the second token"
ready web-2 true
whole "and back"
echo "--- a token that is invalid before there is another"
revoke waymark-2 2
api_again
until_ok 60 source_is refused || fail "without a valid token: $(api "$API/v1/waymark/sources")"
matches "why is said" '401' "$(api "$API/v1/waymark/sources")"
check "what is known serves on" "web-1 web-2 web-3" "$(seen_from client web 80 30)"
issue waymark-3
whole "with the third token"

echo "--- a connected UDP socket of a pod whose endpoint goes: it stays, and is ended with the component sockets"
KUBE_CA=$CLUSTER/pki/ca.crt python3 - "$(cut -d' ' -f3 "$TMP/pods/shop_web-1")" <<-'PYTHON' || fail "no service"
	import sys
	sys.path.insert(0, "tests/kubernetes")
	from kube import Kube, endpoint_slice, service
	from shop import SHOP, SLICES
	kube = Kube()
	kube.post(f"{SHOP}/services", service("one", [("dns", 53, 5353, "UDP")]))
	kube.post(SLICES, endpoint_slice("one-1", "one", [sys.argv[1]], [("dns", 5353, "UDP")], on="n1"))
PYTHON
ONE=$(ip_of one)
mkfifo "$TMP/sockets.in" "$TMP/sockets.out"
in_pod shop_client /usr/bin/python3 tests/net/sockets.py <"$TMP/sockets.in" >"$TMP/sockets.out" &
exec 5>"$TMP/sockets.in" 6<"$TMP/sockets.out"
say() {
	echo "$*" >&5
	IFS= read -r -t 20 -u 6 SAID && echo "$SAID"
}
said_is() { [ "$(say "${@:2}")" = "$1" ]; }
endpoints() { # JSON
	kubectl -n shop patch endpointslice one-1 --type merge -p "{\"endpoints\": $1}" >/dev/null || fail "not patched"
}
one_is() { [ "$(seen_udp client "$ONE" 53 1)" = "$1" ]; }
HERE='[{"addresses": ["'$(cut -d' ' -f3 "$TMP/pods/shop_web-1")'"], "conditions": {"ready": true}, "nodeName": "n1"}]'
until_ok 30 one_is web-1 || fail "one: $(seen_udp client "$ONE" 53 1)"
check "open" ok "$(say open plain udp "$ONE#53")"
endpoints '[]'
until_ok 30 one_is '[Errno 111] Connection refused' || fail "gone: $(seen_udp client "$ONE" 53 1)"
sleep 1
check "without the component" ok "$(say error plain)"
endpoints "$HERE"
overlay sockets
said=$(applied "$TMP/overlay-sockets")
check "applied" "daemonset.apps/waymark configured" "$(grep -v ' unchanged$' <<<"$said")"
manifest
matches "with the image of the kustomization" 'image: registry.example/waymark:' "$(cat "$TMP/daemonset.yaml")"
stop_pod TERM 0
SECCOMP=$DEPLOY/sockets/seccomp.json
start_pod two "${NODE[@]}"
whole "with sockets"
pid=$("${CRUN[@]}" state two | jq .pid)
# beside the four CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_SYS_ADMIN: capabilities(7)
check "its capabilities" "$(printf '%016x' $((1 << 2 | 1 << 10 | 1 << 12 | 1 << 19 | 1 << 21 | 1 << 38 | 1 << 39)))" \
	"$(sed -n 's/^CapEff:\s*//p' "/proc/$pid/status")"
check "in the node's pid namespace" "$(readlink /proc/self/ns/pid)" "$(readlink "/proc/$pid/ns/pid")"
until_ok 30 one_is web-1 || fail "one: $(seen_udp client "$ONE" 53 1)"
check "open" ok "$(say open entered udp "$ONE#53")"
endpoints '[]'
until_ok 60 said_is ECONNABORTED error entered || fail "the socket is not ended: $(say error entered)"
stop_pod TERM 0
done_kube
