#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kube-proxy beside the agent, in its iptables and in its nftables mode: under new connections from a pod and from
# the node, to IPv4 and IPv6, and on connections that are held, the agent starts, ends, is killed, is replaced by
# another build, and is detached; kube-proxy ends, takes its rules away, and starts. Nothing fails.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
# shellcheck source=tests/kubernetes/cluster.sh
. tests/kubernetes/cluster.sh
# shellcheck source=tests/kubernetes/shop.sh
. tests/kubernetes/shop.sh
RATE=${RATE:-100}
export KUBE_CA=$CLUSTER/pki/ca.crt
rules() { # of kube-proxy's that lead to endpoints
	{
		nft list ruleset 2>/dev/null
		iptables-save -t nat 2>/dev/null
	} | grep -cE 'KUBE-SEP|dnat ip to|dnat to'
}
some_rules() { [ "$(rules)" -gt 0 ]; }
# Whom sockets of the client are connected to: the Service where kube-proxy translates, an endpoint where connect()
# was steered. A socket of the moment, on the port that talk has.
translated() {
	in_pod shop_client /usr/bin/python3 -c '
import socket, subprocess, sys
s = socket.create_connection((sys.argv[1], 80), timeout=5)
said = subprocess.run(["ss", "-Htn", "sport = :%d" % s.getsockname()[1]], capture_output=True, text=True).stdout.split()
print("kube-proxy" if said[4].startswith(sys.argv[1] + ":") else "agent")' "$TALK"
}
serves_as() { [ "$(translated)" = "$1" ]; }

cluster_up
cluster_shop
ip route add 10.96.0.0/12 dev cluster0 # as by a node's default route: without one the node's own connects end before any rule
until_ok 60 test -s "$TMP/pods/shop_web-1" || fail "web-1 is not played"
read -r _ _ v4 _ <"$TMP/pods/shop_web-1"
in_pod shop_web-1 /usr/bin/python3 tests/net/talk.py serve :: 7777 &
python3 - "$v4" <<-'PYTHON' || fail "no service that talks"
	import sys
	sys.path.insert(0, "tests/kubernetes")
	from kube import Kube, endpoint_slice, service
	from shop import SHOP, SLICES
	kube = Kube()
	kube.post(f"{SHOP}/services", service("talk", [("http", 80, 7777)]))
	kube.post(SLICES, endpoint_slice("talk-1", "talk", [sys.argv[1]], [("http", 7777)], on="n1"))
PYTHON
kube PATCH "$SHOP/services/local" '{"spec": {"type": "NodePort", "ports": [{"name": "http", "port": 80, "targetPort": "http", "nodePort": 30082}]}}' >/dev/null
LOCAL=$(ip_of local)
WEB=$(ip_of web) WEB6=$(ip_of web6) TALK=$(ip_of talk)
ALL="web-1 web-2 web-3"

phase() { echo "--- $* ($(date +%T))"; } # what failed is told by its second
LOAD=()
load() { # who, address: new connections until judge
	local n=${#LOAD[@]}
	as "$1" python3 tests/kubernetes/dial.py "$2" 80 "$RATE" "$TMP/dial.$n" &
	LOAD+=($!)
}
judge() { # what happened meanwhile
	local n
	for n in "${!LOAD[@]}"; do touch "$TMP/dial.$n.stop"; done
	for n in "${LOAD[@]}"; do wait "$n" 2>/dev/null; done
	LOAD=()
	jq -s -c '{dialled: map(.dialled) | add, failed: map(.failed) | add, errors: map(.errors) | add, when: map(.when) | add,
		p99_us: map(.p99_us) | max}' "$TMP"/dial.[0-9] >"$TMP/judged"
	echo "$1, connects: $(cat "$TMP/judged")"
	check "$1: failed connects" 0 "$(jq .failed "$TMP/judged")"
	rm -f "$TMP"/dial.*
}
hold() { # name
	in_pod shop_client /usr/bin/python3 tests/net/talk.py hold "$TALK" "$TMP/$1.stop" >"$TMP/$1" 2>"$TMP/$1.err" &
	until_ok 30 grep -q held "$TMP/$1" || fail "$1: connections are held: $(cat "$TMP/$1.err")"
}
let_go() { # name, what
	local lines resets shown
	touch "$TMP/$1.stop"
	until_ok 30 sh -c "[ \$(wc -l <'$TMP/$1') = 2 ]"
	read -r lines resets shown < <(tail -n 1 "$TMP/$1")
	check "$2: reset of 16 connections with $lines lines" 0 "$resets"
	check "$2: what they dialled is what they see" "$TALK" "$shown"
	rm -f "$TMP/$1" "$TMP/$1.stop"
}
both_work() { # when
	check "$1: from a pod" "$ALL" "$(seen_at client "$WEB" 80 60)"
	check "$1: from the node" "$ALL" "$(seen_at host "$WEB" 80 60)"
	check "$1: IPv6" "$ALL" "$(seen_at client "$WEB6" 80 60)"
	check "$1: UDP" "$ALL" "$(seen_udp client "$(ip_of ports)" 53 60)"
	check "$1: a service without endpoints" refused "$(dial client "$(ip_of none)" 80)"
	check "$1: a node port" "web-1 web-2 web-3" "$(seen_at client $KUBE_HOST 30080 60)"
	check "$1: internalTrafficPolicy Local at a ClusterIP" web-1 "$(seen_at client "$LOCAL" 80 60)"
	check "$1: and at a node port" "$ALL" "$(seen_at client $KUBE_HOST 30082 60)"
	check "$1: and from the node" "$ALL" "$(seen_at host $KUBE_HOST 30082 60)"
	check "$1: externalTrafficPolicy Local, dialled on the node" "$ALL" "$(seen_at host $KUBE_HOST 30081 60)"
}

for mode in ${MODES:-iptables nftables}; do
	phase "$mode: kube-proxy alone"
	proxy_start $mode
	until_ok 30 some_rules || fail "$mode: no rules"
	until_ok 30 serves_as kube-proxy || fail "$mode: kube-proxy does not translate"
	both_work "$mode, kube-proxy alone"
	load client "$WEB"
	load host "$WEB"
	load client "$WEB6"
	hold before
	phase "$mode: the agent starts beside it"
	start_kube_agent
	until_ok 30 serves_as agent || fail "$mode: the agent does not steer"
	hold after
	both_work "$mode, both"
	phase "$mode: the agent ends, is killed, is replaced"
	stop_agent
	check "$mode: steered without it" agent "$(translated)"
	start_agent "${AGENT_SETTINGS[@]}"
	stop_agent KILL
	sleep 1
	start_agent "${AGENT_SETTINGS[@]}"
	stop_agent
	if [ -x build/release/waymarkd ]; then
		B=build/release start_agent "${AGENT_SETTINGS[@]}"
		stop_agent
	fi
	start_agent "${AGENT_SETTINGS[@]}"
	until_ok 60 source_is watching || fail "$mode: does not watch again"
	let_go before "$mode: opened by kube-proxy"
	phase "$mode: kube-proxy ends, is killed, takes its rules away, starts"
	cluster_stop proxy
	proxy_start $mode
	cluster_stop proxy -KILL
	proxy_clean
	check "$mode: rules are gone" 0 "$(rules)"
	both_work "$mode, the agent alone"
	proxy_start $mode
	until_ok 30 some_rules || fail "$mode: no rules again"
	phase "$mode: endpoints change for both"
	ready web-2 false
	until_ok 20 seen_is web "web-1 web-3" || fail "$mode: not ready, and dialled: $(seen_from client web 80 60)"
	ready web-2 true
	until_ok 20 seen_is web "$ALL" || fail "$mode: ready again, and not dialled"
	phase "$mode: the agent is taken out of the kernel"
	stop_agent
	"$CTL" --pin-dir "$PINS" detach >/dev/null || fail "$mode: not detached"
	check "$mode: kube-proxy serves again" kube-proxy "$(translated)"
	both_work "$mode, detached"
	judge "$mode"
	touch "$TMP/after.stop"
	until_ok 30 sh -c "[ \$(wc -l <'$TMP/after') = 2 ]"
	check "$mode: steered, none was reset, not by the detach either" 0 "$(tail -n 1 "$TMP/after" | cut -d' ' -f2)"
	rm -f "$TMP/after" "$TMP/after.stop"
	cluster_stop proxy
	proxy_clean
done
done_kube
