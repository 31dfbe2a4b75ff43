#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# NodeLocal DNSCache's own program beside the agent and in its place, by the recipes of docs/dns.md and
# docs/kubernetes.md, under look-ups of a pod and of the node: none fails.
# shellcheck source=tests/long/go_tool.sh
. "$(dirname "$0")/go_tool.sh"
# shellcheck source=tests/long/nodelocal.sh
. tests/long/nodelocal.sh
nodelocal_fetch
# shellcheck source=tests/net/lib.sh
. tests/net/lib.sh
# shellcheck source=tests/net/kube.sh
. tests/net/kube.sh
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
# shellcheck source=tests/net/recipes.sh
. tests/net/recipes.sh
nodelocal_needed
AGENT_SETTINGS=(--set source.kubernetes_enabled=true --set "source.kubernetes_kubeconfig=$TMP/kubeconfig" --set source.kubernetes_node=n1
	--set 'kernel.veth_devices=wmp*')
phase() { echo "--- $* ($(date +%T))"; } # what failed is told by its second
watching() { [ "$(api $API/v1/waymark/sources | jq -r '.[0].state')" = watching ]; }
own_addresses() { ip -o addr show dev waymark0 scope global 2>/dev/null | awk '{sub("/32", "", $4); print $4}' | sort | paste -sd,; }
cluster_dns $COREDNS
cluster_dns $UPSTREAM
cluster_services
pod_make
recipes_begin "${AGENT_SETTINGS[@]}"
until_ok 30 watching || fail "the cluster is not known: $(api $API/v1/waymark/sources)"

phase "beside"
nodelocal_files iptables
nodelocal_start
for address in $LOCAL $KUBE_DNS; do
	answers_as coredns $address
	lookups $address
done
matches "its own upstream is steered to the cluster's DNS" "$COREDNS:53" "$(ss -Htnp state established | grep node-cache)"
phase "its Corefile has the recipes"
corefile_replace cluster.local:53 "$(recipe nodelocal-cluster)"
recipe nodelocal >>"$TMP/nodelocal/Corefile.base"
for address in $LOCAL $KUBE_DNS; do
	until_ok 120 is_by 10.1.2.3 web.service.mesh.internal || fail "at $address: the recipe is not read: $(tail -n 5 "$TMP/nodelocal.log")"
	answers_as 1.1.0 $address
	tried nodelocal
done
lookups_end "beside"
dns_service kube-dns $KUBE_DNS ''
until_ok 30 is_at coredns $KUBE_DNS dns-version.cluster.local TXT || fail "without its annotation kube-dns' address leads past node-cache"
dns_service kube-dns $KUBE_DNS '"waymark.io/steer": "false"'
until_ok 30 is_at 1.1.0 $KUBE_DNS dns-version.cluster.local TXT || fail "with it not"
nodelocal_stop TERM

followed() { # mode of kube-proxy, addresses that are taken over, signal, options of node-cache
	local mode=$1 list=${2//,/ } what="$1 ${*:4}" a
	phase "$what: node-cache beside the agent"
	nodelocal_files "$mode"
	nodelocal_start "${@:4}"
	for a in $list; do
		answers_as coredns "$a"
		lookups "$a"
	done
	if [[ $* == *=false ]]; then
		check "$what: no rules" 0 "$(nodelocal_rules)"
	else
		until_ok 20 nodelocal_ruled || fail "$what: it makes no rules"
	fi
	phase "$what: the agent has its addresses, too"
	stop_agent
	start_agent "${AGENT_SETTINGS[@]}" --set "dns.port53_addresses=$2" --set dns.own_device=true --set dns.upstream=list --set dns.forward=.=127.0.0.11
	check "$what: on its own device" "$(tr , '\n' <<<"$2" | sort | paste -sd,)" "$(own_addresses)"
	until_ok 30 watching || fail "$what: the agent does not watch"
	phase "$what: node-cache goes"
	nodelocal_stop "$3"
	[ "$3" = KILL ] || check "$what: its rules are gone" 0 "$(nodelocal_rules)"
	for a in $list; do
		answers_as 1.1.0 "$a"
		answers_as 1.1.0 "$a" +tcp
	done
	phase "$what: and comes back"
	nodelocal_start "${@:4}"
	stop_agent
	start_agent "${AGENT_SETTINGS[@]}" # without one the kernel would go on answering there
	check "$what: the agent's device is gone" "" "$(own_addresses)"
	for a in $list; do answers_as coredns "$a"; done
	lookups_end "$what"
	nodelocal_stop "$3"
}
followed iptables $LOCAL,$KUBE_DNS TERM -setupiptables=true
cluster_dns $KUBE_DNS # which node-cache asks there
followed ipvs $LOCAL KILL -setupiptables=false
done_testing
