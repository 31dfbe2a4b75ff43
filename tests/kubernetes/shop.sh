# SPDX-License-Identifier: Apache-2.0
# shop.sh - the namespace of the tests (shop.py), who dials in it, and the agent: source it behind cluster.sh.
# "host" dials from the node's own network namespace and cgroup, any other name is a pod of the shop.
# shellcheck shell=bash
SHOP=/api/v1/namespaces/shop
AGENT_SETTINGS=(--set source.kubernetes_enabled=true --set "source.kubernetes_kubeconfig=$CLUSTER/waymark.kubeconfig"
	--set source.kubernetes_node=n1)
# what pods' resolv.conf has: an address of the node's own, as NodeLocal DNSCache takes
DNS_ADDRESS=169.254.20.10
# shellcheck disable=SC2034 # tests use it
DNS_SETTINGS=(--set "dns.port53_addresses=$DNS_ADDRESS" --set "kernel.veth_devices=cali*" --set source.kubernetes_domain=cluster.local)

pods_ready() { # namespace, how many
	[ "$(kube GET "/api/v1/namespaces/$1/pods" | jq '[.items[].status.conditions // [] | .[] | select(.type == "Ready")] | length')" -ge "$2" ]
}
cluster_shop() {
	ip addr add $DNS_ADDRESS/32 dev cluster0
	player_start n1=1 n2=2 n3=3
	KUBE_CA=$CLUSTER/pki/ca.crt python3 tests/kubernetes/shop.py || fail "the shop is not made"
	until_ok 60 pods_ready shop 9 || fail "pods do not come up: $(cat "$CLUSTER/player.log")"
}
cluster_role() { # what the agent may read: no more than it watches
	kube POST /apis/rbac.authorization.k8s.io/v1/clusterroles '{"metadata": {"name": "waymark"}, "rules": [
		{"apiGroups": [""], "resources": ["services", "nodes", "namespaces", "pods"], "verbs": ["get", "list", "watch"]},
		{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]}]}' >/dev/null
	kube POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings '{"metadata": {"name": "waymark"},
		"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "waymark"},
		"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "waymark"}]}' >/dev/null
}
source_state() { api "$API/v1/waymark/sources" | jq -r '[.. | objects | (.state // .State) // empty][0]'; }
source_is() { [ "$(source_state)" = "$1" ]; }
start_kube_agent() { # further options
	cluster_role
	start_agent "${AGENT_SETTINGS[@]}" "$@"
	until_ok 60 source_is watching || {
		fail "the source does not watch: $(api "$API/v1/waymark/sources")"
		exit 1
	}
}
done_kube() {
	cluster_down
	done_testing
}

ip_of() { # service, [which of its addresses]
	kube GET "$SHOP/services/$1" | jq -r ".spec.clusterIPs[${2:-0}]"
}
as() { # host or pod, command...
	local who=$1
	shift
	if [ "$who" = host ]; then inside "$@"; else in_pod "shop_$who" "$@"; fi
}
url() { if [[ $1 == *:* ]]; then echo "http://[$1]:$2/"; else echo "http://$1:$2/"; fi; }
dial() { # who, address, port: who answered, or "refused", or curl's status
	local said status
	said=$(as "$1" curl -s --max-time 5 "$(url "$2" "$3")")
	status=$?
	case $status in
	0) echo "$said" ;;
	7) echo refused ;;
	*) echo "curl: $status" ;;
	esac
}
seen_at() { # who, address, port, how often: who answered, each once
	as "$1" bash -c 'for _ in $(seq "$1"); do curl -s --max-time 5 "$2" || echo failed; done' - "$4" "$(url "$2" "$3")" |
		sort -u | tr '\n' ' ' | sed 's/ $//'
}
seen_from() { # who, service, port, how often, [which address]
	seen_at "$1" "$(ip_of "$2" "${5:-0}")" "$3" "$4"
}
seen_is() { # service, who are to answer, [port]
	[ "$(seen_from client "$1" "${3:-80}" 30)" = "$2" ]
}
at_is() { # address, who are to answer
	[ "$(seen_at client "$1" 80 30)" = "$2" ]
}
node_port_is() { # port, who are to answer
	[ "$(seen_at client "$KUBE_HOST" "$1" 60)" = "$2" ]
}
seen_udp() { # who, address, port, how often
	as "$1" /usr/bin/python3 -c '
import socket, sys
by = set()
for _ in range(int(sys.argv[3])):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    try:
        s.connect((sys.argv[1], int(sys.argv[2])))
        s.send(b"x")
        by.add(s.recv(99).decode().strip())
    except OSError as e:
        by.add(str(e))
    s.close()
print(*sorted(by))' "$2" "$3" "$4"
}
answers() { [ "$(dial client "$(ip_of "$1")" 80)" = "$2" ]; }
unanswered() { ! as client curl -s --max-time 2 "$(url "$1" 80)"; } # address
ready() { # pod, true or false: what its kubelet says
	local s=False
	[ "$2" != true ] || s=True
	kube PATCH "$SHOP/pods/$1/status" "$(kube GET "$SHOP/pods/$1" | jq "{status: {conditions: [.status.conditions[] |
		if .type == \"Ready\" or .type == \"ContainersReady\" then .status = \"$s\" else . end]}}")" >/dev/null
}
pod_terminates() { # service: its endpoint is terminating
	kube GET "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D$1" |
		jq -e '[.items[].endpoints[]?.conditions.terminating] | any'
}
