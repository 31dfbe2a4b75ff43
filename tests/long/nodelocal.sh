# SPDX-License-Identifier: Apache-2.0
# nodelocal.sh - NodeLocal DNSCache's program, node-cache, as its manifest runs it, before a cluster's DNS, and pods that
# ask it: source it behind go_tool.sh, lib.sh, kube.sh and upstream.sh.
# shellcheck shell=bash
LOCAL=169.254.20.10
KUBE_DNS=10.96.0.10
UPSTREAM=10.96.0.11 # of the Service kube-dns-upstream
COREDNS=10.97.0.53 # its pod
WEB=web.default.svc.cluster.local
nodelocal_fetch() { # before lib.sh: NODE_CACHE is one that was built elsewhere
	[ -n "${NODE_CACHE:-}" ] || go_tool node-cache k8s.io/dns/cmd/node-cache@1.26.7
	go_file nodelocaldns k8s.io/kubernetes@v1.34.2 cluster/addons/dns/nodelocaldns/nodelocaldns.yaml
}
nodelocal_needed() {
	go_tool_needed nodelocaldns nodelocaldns.yaml
	[ -n "${NODE_CACHE:-}" ] || go_tool_needed node-cache
	NODE_CACHE=${NODE_CACHE:-build/node-cache/node-cache}
}
# What the node has of a cluster: its Services, and its DNS, which says "coredns" where the agent says "1.1.0". That a
# Service's address leads to it without an agent is kube-proxy's work: here it is an address of loopback.
cluster_dns() { # address
	ip addr replace "$1/32" dev lo
	serve "coredns-$1" "$1" 53 "
	access-control: 0.0.0.0/0 allow
	local-zone: \"cluster.local.\" static
	local-data: \"$WEB. 30 A 10.96.0.1\"
	local-data: \"dns-version.cluster.local. 0 TXT coredns\""
}
DNS_PORTS='{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}'
dns_service() { # name, address, annotations
	service "$1" "\"clusterIP\": \"$2\", \"clusterIPs\": [\"$2\"], \"ports\": [$DNS_PORTS]" "$3"
}
cluster_services() {
	small_cluster
	namespace default 22222222-2222-4222-8222-222222222222
	service web '"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{"name": "http", "port": 80}]'
	dns_service kube-dns $KUBE_DNS '"waymark.io/steer": "false"'
	dns_service kube-dns-upstream $UPSTREAM ''
	slice kube-dns-1 kube-dns "$DNS_PORTS" "$(endpoint $COREDNS coredns)"
	slice kube-dns-upstream-1 kube-dns-upstream "$DNS_PORTS" "$(endpoint $COREDNS coredns)"
}
NODELOCAL=''
nodelocal_files() { # mode of kube-proxy: as the manifest has it for that
	/usr/bin/python3 tests/long/node_cache.py build/nodelocaldns/nodelocaldns.yaml "$1" "$LOCAL,$KUBE_DNS" "$TMP/nodelocal" >"$TMP/nodelocal.args" ||
		fail "the manifest"
}
nodelocal_start() { # further options of node-cache
	local args
	mapfile -t args <"$TMP/nodelocal.args"
	# it makes a dummy device, or takes one of this name as it is: where the kernel has no dummies, a bridge
	if ip link add nodelocaldns type dummy 2>/dev/null; then ip link del nodelocaldns; else ip link add nodelocaldns type bridge 2>/dev/null; fi
	echo 'nameserver 127.0.0.11' >"$TMP/resolv.conf"
	# its rules are looked at each minute; the interval is a number of nanoseconds that it takes for seconds
	(
		echo $BASHPID >"$CG/cgroup.procs"
		export KUBE_DNS_UPSTREAM_SERVICE_HOST=$UPSTREAM
		# shellcheck disable=SC2016 # for the inner shell
		exec unshare --mount -- bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$TMP/resolv.conf" \
			"$NODE_CACHE" "${args[@]}" -syncinterval 1ns "$@" >>"$TMP/nodelocal.log" 2>&1
	) &
	NODELOCAL=$!
	until_ok 30 nodelocal_up || fail "node-cache answers: $(tail -n 5 "$TMP/nodelocal.log")"
}
nodelocal_up() { [ "$(curl -s --max-time 5 "http://$LOCAL:8080/health")" = OK ]; }
nodelocal_stop() { # signal
	local status
	kill -"$1" "$NODELOCAL"
	wait "$NODELOCAL" 2>/dev/null
	status=$?
	[ "$1" = KILL ] || check "node-cache ends well" 0 $status
}
nodelocal_rules() { iptables-save -t raw 2>/dev/null | grep -c 'NodeLocal DNS Cache'; }

nodelocal_ruled() { [ "$(nodelocal_rules)" -gt 0 ]; }
corefile_replace() { # name of a block, what is put in its place
	/usr/bin/python3 - "$TMP/nodelocal/Corefile.base" "$@" <<-'PYTHON' || fail "the manifest's Corefile has no block $1"
		import re, sys
		text = open(sys.argv[1]).read()
		(old,) = re.findall(r"^%s \{.*?^ *\}\n(?=\S|\Z)" % re.escape(sys.argv[2]), text, re.S | re.M)
		open(sys.argv[1], "w").write(text.replace(old, sys.argv[3] + "\n"))
	PYTHON
}

at() { inside dig +short +tries=2 +time=5 "@$1" "${@:2}" | sort | xargs; }
is_at() { [ "$(at "${@:2}")" = "$1" ]; }
answers_as() { # coredns or 1.1.0, address, options: who answers there
	check "at $2${3:+ ($3)}: a name of the cluster" 10.96.0.1 "$(at "$2" "${@:3}" $WEB)"
	check "at $2${3:+ ($3)}: by" "$1" "$(at "$2" "${@:3}" dns-version.cluster.local TXT)"
	check "at $2${3:+ ($3)}: a name of others" 100.128.0.11 "$(at "$2" "${@:3}" a.example)"
}
POD_PID=''
pod_make() { # one, behind a veth pair wmpod
	unshare --net sleep 1500 >/dev/null 2>&1 &
	POD_PID=$!
	until_ok 10 is_apart $POD_PID || fail "the pod has no network namespace"
	ip link add wmpod type veth peer name eth netns $POD_PID
	ip addr add 10.98.1.1/24 dev wmpod
	ip link set wmpod up
	nsenter -t $POD_PID --net sh -c "ip link set lo up; ip addr add 10.98.1.2/24 dev eth; ip link set eth up; ip route add default via 10.98.1.1"
}
LOOPS=()
lookups() { # address: from the pod and from the node, until lookups_end
	inside nsenter -t $POD_PID --net /usr/bin/python3 tests/long/lookups.py "$1" "$TMP/lookups.stop" $WEB=10.96.0.1 a.example=100.128.0.11 >"$TMP/pod.$1" &
	LOOPS+=("pod.$1:$!")
	inside /usr/bin/python3 tests/long/lookups.py "$1" "$TMP/lookups.stop" $WEB=10.96.0.1 a.example=100.128.0.11 >"$TMP/node.$1" &
	LOOPS+=("node.$1:$!")
}
lookups_end() { # what was meanwhile
	local l
	touch "$TMP/lookups.stop"
	for l in "${LOOPS[@]}"; do
		wait "${l#*:}"
		echo "$1: ${l%:*}: $(cat "$TMP/${l%:*}")"
		check "$1: of ${l%:*} failed" 0 "$(jq .failed "$TMP/${l%:*}")"
		check "$1: of ${l%:*} some were asked" true "$(jq '.asked > 10' "$TMP/${l%:*}")"
	done
	rm "$TMP/lookups.stop"
	LOOPS=()
}
