#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# getaddrinfo("example.com") in a pod's resolv.conf: ndots:5 and four search domains make ten questions of it.
# Once they are hot all are answered by the kernel, and no packet leaves the node, with an agent and without.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
# shellcheck source=tests/net/resolvers.sh
. tests/net/resolvers.sh

# --- an uplink, behind which a server knows the world
(exec unshare --net sleep 600) &
UPLINK=$!
ip link add up0 type veth peer name up1
sysctl -qw net.ipv6.conf.up0.disable_ipv6=1
until_ok 10 is_apart $UPLINK
moved() { ip link set up1 netns "$UPLINK"; }
until_ok 10 moved || fail "the uplink's other end"
ip addr add 198.18.0.2/24 dev up0
ip link set up0 up
nsenter -t $UPLINK -n sysctl -qw net.ipv6.conf.up1.disable_ipv6=1
nsenter -t $UPLINK -n ip addr add 198.18.0.1/24 dev up1
nsenter -t $UPLINK -n ip link set up1 up
# ARP is no question of anybody's: both ends know each other
mac() { jq -r '.[0].address'; }
ip neigh replace 198.18.0.1 lladdr "$(nsenter -t $UPLINK -n ip -j link show up1 | mac)" dev up0 nud permanent
nsenter -t $UPLINK -n ip neigh replace 198.18.0.2 lladdr "$(ip -j link show up0 | mac)" dev up1 nud permanent
SERVE_IN="nsenter -t $UPLINK -n" serve world 198.18.0.1 53 "	access-control: 0.0.0.0/0 allow
	local-zone: 'com.' static
	local-data: 'com. 3600 SOA ns.com. host.com. 1 3600 600 86400 3600'
	local-data: 'example.com. 3600 A 192.0.2.1'
	local-data: 'example.com. 3600 AAAA 2001:db8::1'
	local-zone: 'corp.' static
	local-data: 'corp. 3600 SOA ns.corp. host.corp. 1 3600 600 86400 3600'"
start_agent --set dns.upstream=list --set dns.forward=.=198.18.0.1 --set dns.port53_addresses=127.0.0.1
resolvers_build
SEARCH="search shop.service.mesh.internal service.mesh.internal mesh.internal nodes.corp
options ndots:5 timeout:15 attempts:1"
looked_up() { # library, times: of how many the first address is one of example.com's
	resolving "$SEARCH" "$TMP/resolve-$1" first example.com "$2" 2>&1 | grep -cE '^(192\.0\.2\.1|2001:db8::1)$'
}
sent() { ip -j -s link show up0 | jq '.[0].stats64.tx.packets'; }
asked() { api $API/v1/waymark/dns | jq .counters.dns_upstream_asked; }
kernel() { counter dns_query; }
answered() { counter dns_answered; }
# A round of look-ups, and what it moved.
round() { # library, times
	local before_sent before_asked before_answered before_kernel
	before_sent=$(sent) before_kernel=$(kernel) before_answered=$(answered)
	before_asked=$(asked 2>/dev/null)
	LOOKED=$(looked_up "$1" "$2")
	QUESTIONS=$(($(kernel) - before_kernel)) ANSWERED=$(($(answered) - before_answered))
	SENT=$(($(sent) - before_sent)) ASKED=$(($(asked 2>/dev/null) - before_asked))
}
# While names come into the kernel the agent asks on whether the server is there: that ends ten seconds later.
quiet() {
	round "$1" 200
	[ "$SENT" = 0 ]
}
for lib in glibc musl; do
	[ -x "$TMP/resolve-$lib" ] || continue
	round $lib 4 # what is asked for twice is kept
	check "$lib finds it" 4 "$LOOKED"
	until_ok 90 quiet $lib || fail "$lib: no round leaves the node alone: $SENT packets of 200 look-ups"
	check "$lib: 200 look-ups" 200 "$LOOKED"
	check "$lib: ten questions each" 2000 "$QUESTIONS"
	check "$lib: all answered by the kernel" 2000 "$ANSWERED"
	check "$lib: questions to others" 0 "$ASKED"
done
stop_agent KILL
for lib in glibc musl; do
	[ -x "$TMP/resolve-$lib" ] || continue
	round $lib 200
	check "$lib: without an agent" "200 2000 2000 0" "$LOOKED $QUESTIONS $ANSWERED $SENT"
done
done_testing
