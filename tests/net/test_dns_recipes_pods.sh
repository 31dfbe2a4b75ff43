#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The recipes of docs/dns.md for pods and for containers, as they stand there: glibc and dig in a network namespace
# behind a veth pair, with the resolv.conf that kubelet and Docker make of them. The kernel answers on the pair.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
# shellcheck source=tests/net/recipes.sh
. tests/net/recipes.sh
serve up 127.0.0.11 53 "$(printf '\tlocal-zone: "example." static\n\tlocal-data: "a.example. 60 A 100.128.0.11"')"
printf 'nameserver 127.0.0.11\n' >"$TMP/up.conf"

inner() { # a command in the namespace of $IN, which sees the recipe's resolv.conf
	# shellcheck disable=SC2016 # for the inner shell
	nsenter -t "$IN" --net unshare --mount -- bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$TMP/resolv.conf" "$@"
}
found() { inner getent ahosts "$1" | awk '{print $1}' | sort -u | xargs; }
digs() { inner dig +short +tries=1 +time=15 "$@"; }
attached() { api $API/v1/waymark/status | jq -e '.plane.hooks[] | select(.name == "dns_veth" and .attached)'; }
userspace() { api "$API/v1/agent/metrics?format=prometheus" | awk '$1 == "waymark_dns_user_udp_total" {print $2}'; }
begin() { # kind of recipe: the agent as it says
	recipe "$1-agent" >"$TMP/settings.json"
	[ -s "$TMP/settings.json" ] || fail "docs/dns.md has the agent's settings for a $1"
	start_agent --config "$TMP/settings.json" --set "dns.resolv_conf=$TMP/up.conf"
	check "register" 200 "$(register web-1 web 10.1.2.3 80)"
	until_ok 20 attached || fail "$1: its device is attached to"
}
tried() { # kind of recipe
	local before
	until_ok 10 inner getent ahosts a.example || fail "$1: names of others: $(cat "$TMP/resolv.conf")"
	before="$(counter dns_answered) $(userspace)"
	check "$1: glibc, by the search list" 10.1.2.3 "$(found web)"
	check "$1: glibc" 10.1.2.3 "$(found web.service.mesh.internal)"
	check "$1: dig" 10.1.2.3 "$(digs web.service.mesh.internal)"
	check "$1: SRV" "1 1 80 0a010203.addr.dc1.mesh.internal." "$(digs _web._tcp.service.mesh.internal SRV)"
	check "$1: the kernel answered, A and AAAA of glibc's" "$((${before% *} + 6)) ${before#* }" "$(counter dns_answered) $(userspace)"
	check "$1: over TCP" 10.1.2.3 "$(digs +tcp web.service.mesh.internal)"
	check "$1: the name of a virtual address" web.virtual.mesh.internal. "$(digs -x "$(vip4 web)")"
	check "$1: a name of others" 100.128.0.11 "$(found a.example)"
	dns_balance
	stop_agent KILL
	check "$1: without an agent" 10.1.2.3 "$(found web)"
}
unshare --net sleep 600 &
POD=$!
until_ok 10 is_apart $POD

# --- a pod, behind a pair of its own
ip link add vethpod type veth peer name eth0 netns $POD
ip addr add 10.244.0.1/32 dev vethpod
ip link set vethpod up
ip route add 10.244.0.2/32 dev vethpod
nsenter -t $POD --net sh -c 'ip link set lo up; ip addr add 10.244.0.2/32 dev eth0; ip link set eth0 up
	ip route add 10.244.0.1/32 dev eth0; ip route add default via 10.244.0.1'
recipe pod | /usr/bin/python3 -c '
import sys, yaml
spec = yaml.safe_load(sys.stdin)["spec"]
assert spec["dnsPolicy"] == "None"
dns = spec["dnsConfig"]
print("search", *dns["searches"])
for server in dns["nameservers"]:
    print("nameserver", server)' >"$TMP/resolv.conf" || fail "docs/dns.md has a recipe of a pod"
IN=$POD
begin pod
tried pod
ip link del vethpod

# --- a container, whose pair is a port of a bridge
unshare --net sleep 600 &
CONTAINER=$!
until_ok 10 is_apart $CONTAINER
ip link add docker0 type bridge
ip addr add 172.17.0.1/16 dev docker0
ip link set docker0 up
ip link add veth1a2b3c4 type veth peer name eth0 netns $CONTAINER
ip link set veth1a2b3c4 master docker0 up
nsenter -t $CONTAINER --net sh -c 'ip link set lo up; ip addr add 172.17.0.2/16 dev eth0; ip link set eth0 up; ip route add default via 172.17.0.1'
recipe container | sed -nE 's/^docker run --dns ([^ ]+) --dns-search ([^ ]+) IMAGE$/nameserver \1\nsearch \2/p' >"$TMP/resolv.conf"
[ -s "$TMP/resolv.conf" ] || fail "docs/dns.md has a recipe of a container"
IN=$CONTAINER
begin container
tried container
done_testing
