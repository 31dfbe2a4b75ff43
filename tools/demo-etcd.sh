#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Several nodes through an etcd, on one machine: demo-etcd.sh BUILD_DIRECTORY. Three agents in three network
# namespaces on a bridge, each with its own cgroup and pins, and Debian's etcd-server beside them. Removes
# everything at the end.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
B=${1:-build/release}
CTL=$B/waymarkctl
DEMO=etcd TAKES_MAX=20
NODES=3
PINS=/sys/fs/bpf/waymark-etcd
ETCD=http://10.98.0.254:2379
CGROOT=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
tmp='' loop='' etcd=''
# shellcheck source=tools/demo/nodes.sh
. tools/demo/nodes.sh

cleanup() {
	trap - EXIT
	for p in "$loop" "${agent[@]}" "${backend[@]}" "$etcd"; do
		[ -n "$p" ] && kill -9 "$p" 2>/dev/null && wait "$p" 2>/dev/null
	done
	for i in $(seq $((NODES + 1))); do
		"$CTL" --pin-dir "$PINS-$i" --force detach >/dev/null 2>&1
		[ -n "${ns[$i]:-}" ] && kill -9 "${ns[$i]}" 2>/dev/null && wait "${ns[$i]}" 2>/dev/null
	done
	ip link del wm-etcd0 2>/dev/null
	[ -n "$CGROOT" ] && for i in $(seq $NODES); do rmdir "$CGROOT/waymark-etcd-$i" 2>/dev/null; done
	[ -n "$tmp" ] && rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

start_node() {
	(exec nsenter --net="/proc/${ns[$1]}/ns/net" -- "$B/waymarkd" --set "node.name=n$1" --set "node.address=10.98.0.$1" --set "node.data_dir=$tmp/n$1" \
		--set "kernel.pin_dir=$PINS-$1" --set "kernel.cgroup=$CGROOT/waymark-etcd-$1" \
		--set "http.socket=$tmp/n$1.sock" --set registry.consul_service=false \
		--set sync.mode=etcd --set "sync.etcd_endpoints=$ETCD" --set sync.etcd_lease=5s \
		>>"$tmp/n$1.log" 2>&1) &
	agent[$1]=$!
	wait_for 30 answers "$1" || {
		cat "$tmp/n$1.log" >&2
		die "the agent of n$1 did not start"
	}
}
start_etcd() {
	(exec nsenter --net="/proc/${ns[$((NODES + 1))]}/ns/net" -- etcd --data-dir "$tmp/etcd" --listen-client-urls "$ETCD" \
		--advertise-client-urls "$ETCD" --listen-peer-urls http://127.0.0.1:2380 --log-level error >>"$tmp/etcd.log" 2>&1) &
	etcd=$!
	wait_for 20 on 1 curl -sf --noproxy '*' "$ETCD/health" || {
		cat "$tmp/etcd.log" >&2
		die "etcd does not answer"
	}
}
following() { [ "$(api "$1" /v1/waymark/sync | jq -r .etcd.phase)" = following ]; }
all_follow() { for i in $(seq $NODES); do following "$i" || return 1; done; }
register() { # node, id, name, address, port, what to wait for
	api "$1" "/v1/agent/service/register${6:-}" -o /dev/null -w '%{http_code}' -X PUT \
		-d "{\"ID\": \"$2\", \"Name\": \"$3\", \"Address\": \"$4\", \"Port\": $5}"
}
has() { [ -n "$(ask "$1" "$2.service.mesh.internal")" ]; }
all_have() { for i in $(seq $NODES); do has "$i" "$1" || return 1; done; }
others_lack() { # name, nodes...
	local name=$1 i
	shift
	for i in "$@"; do ! has "$i" "$name" || return 1; done
}
pending() { api "$1" /v1/waymark/sync | jq .etcd.pending; }

[ "$(id -u)" = 0 ] || die "root is needed: programs are loaded into the kernel"
[ -x "$B/waymarkd" ] || die "$B/waymarkd is missing: make all"
command -v etcd >/dev/null || die "etcd-server is needed"
[ -n "$CGROOT" ] || die "a cgroup2 mount is needed"
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf || die "bpffs cannot be mounted on /sys/fs/bpf"
[ ! -e "$PINS-1" ] || die "$PINS-1 exists: another demo runs, or was killed; '$CTL --pin-dir $PINS-1 detach' removes it"
tmp=$(mktemp -d)

say "An etcd, and three agents in three network namespaces that share it"
ip link add wm-etcd0 type bridge && ip link set wm-etcd0 up || die "no bridge"
for i in $(seq $((NODES + 1))); do # the last is etcd's
	unshare --net sleep infinity &
	ns[$i]=$!
	wait_for 5 test "$(readlink /proc/self/ns/net)" != "$(readlink "/proc/${ns[$i]}/ns/net")"
	sleep 0.05
	ip link add "wm-etcd$i" type veth peer name eth0 netns "${ns[$i]}" && ip link set "wm-etcd$i" master wm-etcd0 up
	[ "$i" -le $NODES ] && address=10.98.0.$i || address=10.98.0.254
	on "$i" ip addr add "$address/24" dev eth0
	on "$i" ip link set eth0 up
	on "$i" ip link set lo up
	[ "$i" -gt $NODES ] || mkdir -p "$CGROOT/waymark-etcd-$i" || die "no cgroup"
done
start_etcd
for i in $(seq $NODES); do start_node "$i"; done
figure "all agents follow etcd after" "$(took all_follow)"
show 2 "$CTL" members

say "A service is registered on n1: every other kernel answers for it"
(exec nsenter --net="/proc/${ns[1]}/ns/net" -- /usr/bin/python3 tools/demo/backend.py web-1 10.98.0.1 8081) &
backend[1]=$!
wait_for 10 on 1 curl -s --noproxy '*' http://10.98.0.1:8081/
began=$(date +%s%3N)
result "registered, answered once etcd has it (wait=replicated)" 200 "$(register 1 web-1 web 10.98.0.1 8081 '?wait=replicated')"
figure "which took" "$(($(date +%s%3N) - began)) ms"
figure "dig on all nodes has it after a further" "$(took all_have web)"
vip1=$(ask 1 web.virtual.mesh.internal)
vip=$(ask 3 web.virtual.mesh.internal)
show 3 dig +short @127.0.0.1 -p 8600 web.service.mesh.internal
result "curl on n3 to its virtual address" web-1 "$(steered 3 curl -s --max-time 5 --noproxy '*' "http://$vip/" | grep -o 'web-1' | head -1)"

say "etcd is killed: everything goes on, and what is registered waits"
(
	while :; do
		steered 3 curl -s -o /dev/null --max-time 2 --noproxy '*' "http://$vip/" && echo ok >>"$tmp/asked" || echo no >>"$tmp/asked"
		sleep 0.05
	done
) &
loop=$!
kill -9 "$etcd"
wait "$etcd" 2>/dev/null
result "registered on n2 while etcd is away" 200 "$(register 2 late-1 late 10.98.0.2 82)"
result "and with wait=replicated: durable, not replicated" 504 "$(register 2 late-2 late 10.98.0.2 83 '?wait=replicated&timeout=500ms')"
result "it is answered for on its own node" 10.98.0.2 "$(ask 2 late.service.mesh.internal)"
result "what n3 knew it knows" 10.98.0.1 "$(ask 3 web.service.mesh.internal)"
show 2 "$CTL" status
figure "changes that wait on n2" "$(pending 2)"
sleep 6
result "nobody is taken for dead, though no lease was renewed" 3 "$(api 3 /v1/agent/members | jq '[.[] | select(.Status == 1)] | length')"

say "etcd is back: what was registered meanwhile follows"
start_etcd
figure "all agents follow it again after" "$(took all_follow)"
figure "the late registration is on all nodes after" "$(took all_have late)"
kill "$loop" 2>/dev/null
wait "$loop" 2>/dev/null
loop=''
result "requests through n3's kernel that failed meanwhile, of $(wc -l <"$tmp/asked")" 0 "$(grep -c no "$tmp/asked")"

say "The agent of n1 is killed: its lease ends, and its services leave the others' tables"
kill -9 "${agent[1]}"
wait "${agent[1]}" 2>/dev/null
figure "out of DNS on n2 and n3 after (a lease of 5 s)" "$(took others_lack web 2 3)"
result "its own kernel goes on serving" web-1 "$(steered 1 curl -s --max-time 5 --noproxy '*' "http://$vip1/" | grep -o 'web-1' | head -1)"
start_node 1
figure "back, and on all nodes after" "$(took all_have web)"

say "Result"
printf '%s\n' "${rows[@]}"
[ $failed = 0 ] || {
	tail -n 20 "$tmp"/n?.log
	echo
	echo "demo-etcd: something is not as it should be"
}
exit $failed
