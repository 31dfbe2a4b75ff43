# SPDX-License-Identifier: Apache-2.0
# cluster.sh - a Kubernetes API server with its controllers, for one test: source it behind tests/net/lib.sh (a
# network namespace of the test's own, $TMP, until_ok, fail). etcd, kube-apiserver and kube-controller-manager
# listen on loopback; what they keep is in $TMP/cluster and goes with the test. No kubelet, no scheduler, and
# kube-proxy only where a test starts it: pods are played (kubelet.py), or are only what the test writes of them.
# shellcheck shell=bash
KUBE=$PWD/build/kubernetes
CLUSTER=$TMP/cluster
KUBE_API=https://127.0.0.1:6443
KUBE_HOST=172.31.255.1 # the node's own address, which default/kubernetes leads to
declare -A CLUSTER_PID=()

cluster_certificates() { # an authority, the server's certificate, one for a client, keys of service accounts
	local d=$CLUSTER/pki
	mkdir -p "$d"
	{
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-ca \
			-keyout "$d/ca.key" -out "$d/ca.crt"
		leaf() { # name, subject, extensions
			openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$d/$1.key" -out "$d/$1.csr"
			openssl x509 -req -in "$d/$1.csr" -CA "$d/ca.crt" -CAkey "$d/ca.key" -CAcreateserial -days 2 \
				-extfile <(echo "$3") -out "$d/$1.crt"
		}
		leaf server /CN=kube-apiserver "subjectAltName=IP:127.0.0.1,IP:$KUBE_HOST,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc"
		leaf client /O=system:masters/CN=by-certificate "extendedKeyUsage=clientAuth"
		openssl genrsa -out "$d/sa.key" 2048
	} >"$CLUSTER/openssl.log" 2>&1
	# who may do everything; the agent, which has deploy/'s role; nobody in particular
	printf '%s\n' 'test-admin,admin,admin,"system:masters"' 'test-waymark,waymark,waymark,"waymark"' \
		'test-nobody,nobody,nobody' >"$d/tokens"
}
cluster_kubeconfig() { # token, file
	cat >"$2" <<-TEXT
		apiVersion: v1
		kind: Config
		clusters: [{name: c, cluster: {server: "$KUBE_API", certificate-authority: "$CLUSTER/pki/ca.crt"}}]
		users: [{name: u, user: {token: $1}}]
		contexts: [{name: x, context: {cluster: c, user: u}}]
		current-context: x
	TEXT
}
etcd_start() {
	etcd --data-dir "$CLUSTER/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
		--listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
		--initial-cluster default=http://127.0.0.1:2380 --unsafe-no-fsync --quota-backend-bytes 4000000000 \
		--log-level warn >>"$CLUSTER/etcd.log" 2>&1 &
	CLUSTER_PID[etcd]=$!
}
apiserver_start() { # further options
	local d=$CLUSTER/pki
	"$KUBE/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --bind-address 0.0.0.0 --secure-port 6443 \
		--advertise-address "$KUBE_HOST" --tls-cert-file "$d/server.crt" --tls-private-key-file "$d/server.key" \
		--client-ca-file "$d/ca.crt" --token-auth-file "$d/tokens" --authorization-mode RBAC \
		--service-account-issuer https://kubernetes.default.svc --service-account-key-file "$d/sa.key" \
		--service-account-signing-key-file "$d/sa.key" --service-cluster-ip-range 10.96.0.0/12,fd00:10:96::/112 \
		--disable-admission-plugins ServiceAccount --allow-privileged --cert-dir "$CLUSTER" --profiling=false \
		--max-requests-inflight 2000 --max-mutating-requests-inflight 2000 "$@" >>"$CLUSTER/apiserver.log" 2>&1 &
	CLUSTER_PID[apiserver]=$!
}
controllers_start() { # CONTROLLERS: others than these, too
	"$KUBE/kube-controller-manager" --kubeconfig "$CLUSTER/admin.kubeconfig" --leader-elect=false --cert-dir "$CLUSTER" \
		--bind-address 127.0.0.1 --kube-api-qps 1000 --kube-api-burst 2000 --use-service-account-credentials=false \
		--service-account-private-key-file "$CLUSTER/pki/sa.key" --root-ca-file "$CLUSTER/pki/ca.crt" \
		--controllers endpointslice-controller,namespace-controller,deployment-controller,replicaset-controller,serviceaccount-controller,endpointslice-mirroring-controller${CONTROLLERS:+,$CONTROLLERS} \
		--concurrent-service-endpoint-syncs 20 >>"$CLUSTER/controllers.log" 2>&1 &
	CLUSTER_PID[controllers]=$!
}
cluster_ready() { [ "$(kube GET /readyz)" = ok ]; }
cluster_stop() { # who: etcd, apiserver, controllers
	[ -n "${CLUSTER_PID[$1]:-}" ] || return 0
	kill "${2:--TERM}" "${CLUSTER_PID[$1]}"
	wait "${CLUSTER_PID[$1]}" 2>/dev/null
	unset "CLUSTER_PID[$1]"
}
cluster_down() { for p in controllers apiserver etcd; do cluster_stop $p -KILL; done; }
cluster_up() { # further options of kube-apiserver
	mkdir -p "$CLUSTER"
	ip link show cluster0 >/dev/null 2>&1 || {
		ip link add cluster0 type bridge
		ip addr add $KUBE_HOST/32 dev cluster0
		ip addr add 172.31.254.1/32 dev cluster0 && ip addr add 172.31.254.2/32 dev cluster0 # for steer.py
		ip link set cluster0 up
	}
	[ -d "$CLUSTER/pki" ] || cluster_certificates
	cluster_kubeconfig test-admin "$CLUSTER/admin.kubeconfig"
	cluster_kubeconfig test-waymark "$CLUSTER/waymark.kubeconfig"
	etcd_start
	apiserver_start "$@"
	until_ok 120 cluster_ready || {
		tail -n 20 "$CLUSTER/apiserver.log" "$CLUSTER/etcd.log"
		fail "the API server is not ready"
		exit 1
	}
	controllers_start
}
# A request of an administrator's: METHOD, path, JSON of a body ('-': standard input). The answer's body.
kube() {
	local type=application/json
	[ "$1" != PATCH ] || type=application/merge-patch+json
	curl -s --max-time 60 --cacert "$CLUSTER/pki/ca.crt" -H "Authorization: Bearer ${KUBE_TOKEN:-test-admin}" \
		-H "Content-Type: $type" -X "$1" ${3:+--data-binary "${3/#-/@-}"} "$KUBE_API$2"
}
kube_code() { # the same: the status
	local type=application/json
	[ "$1" != PATCH ] || type=application/merge-patch+json
	curl -s --max-time 60 -o /dev/null -w '%{http_code}' --cacert "$CLUSTER/pki/ca.crt" \
		-H "Authorization: Bearer ${KUBE_TOKEN:-test-admin}" -H "Content-Type: $type" -X "$1" \
		${3:+--data-binary "${3/#-/@-}"} "$KUBE_API$2"
}
proxy_start() { # mode: kube-proxy of node n1
	cat >"$TMP/kube-proxy.yaml" <<-TEXT
		apiVersion: kubeproxy.config.k8s.io/v1alpha1
		kind: KubeProxyConfiguration
		clientConnection: {kubeconfig: $CLUSTER/admin.kubeconfig}
		mode: $1
		hostnameOverride: n1
		clusterCIDR: 10.244.0.0/16,fd00:244::/32
		metricsBindAddress: 127.0.0.1:10249
		healthzBindAddress: 127.0.0.1:10256
		conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
		iptables: {localhostNodePorts: false}
	TEXT
	"$KUBE/kube-proxy" --config "$TMP/kube-proxy.yaml" >>"$CLUSTER/proxy.log" 2>&1 &
	CLUSTER_PID[proxy]=$!
	until_ok 60 api -f http://127.0.0.1:10256/healthz || fail "kube-proxy ($1) is not ready: $(tail -n 5 "$CLUSTER/proxy.log")"
}
proxy_clean() { # what it left in the kernel
	"$KUBE/kube-proxy" --config "$TMP/kube-proxy.yaml" --cleanup >>"$CLUSTER/proxy.log" 2>&1
}
kubectl() { "$KUBE/kubectl" --kubeconfig "$CLUSTER/admin.kubeconfig" "$@"; }
player_start() { # NODE=NUMBER...: what plays the pods of these nodes
	KUBE_CA=$CLUSTER/pki/ca.crt python3 tests/kubernetes/player.py "$CG" "$TMP/pods" "$@" 2>>"$CLUSTER/player.log" &
	CLUSTER_PID[player]=$!
}
in_pod() { # namespace_name, command...: in its network namespace and its cgroup
	local pid cgroup rest
	read -r pid cgroup rest <"$TMP/pods/$1" || return 1
	shift
	(
		echo $BASHPID >"$cgroup/cgroup.procs"
		exec nsenter --net="/proc/$pid/ns/net" -- "$@"
	)
}
