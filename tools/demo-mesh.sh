#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Several nodes on one machine: demo-mesh.sh BUILD_DIRECTORY. Five agents in five network namespaces on a
# bridge, each with its own cgroup and pins, TLS between them by certificates that are made here. Removes
# everything at the end.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
B=${1:-build/release}
CTL=$B/waymarkctl
DEMO=mesh TAKES_MAX=10
NODES=5
PINS=/sys/fs/bpf/waymark-mesh
CGROOT=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
tmp='' loop=''
# shellcheck source=tools/demo/nodes.sh
. tools/demo/nodes.sh

cleanup() {
	trap - EXIT
	for p in "$loop" "${agent[@]}" "${backend[@]}"; do
		[ -n "$p" ] && kill -9 "$p" 2>/dev/null && wait "$p" 2>/dev/null
	done
	for i in $(seq $NODES); do
		"$CTL" --pin-dir "$PINS-$i" --force detach >/dev/null 2>&1
		[ -n "${ns[$i]:-}" ] && kill -9 "${ns[$i]}" 2>/dev/null && wait "${ns[$i]}" 2>/dev/null
	done
	nft delete table bridge waymark-mesh 2>/dev/null
	ip link del wm-mesh0 2>/dev/null
	[ -n "$CGROOT" ] && for i in $(seq $NODES); do rmdir "$CGROOT/waymark-mesh-$i" 2>/dev/null; done
	[ -n "$tmp" ] && rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

start_node() {
	(exec nsenter --net="/proc/${ns[$1]}/ns/net" -- "$B/waymarkd" --set "node.name=n$1" --set "node.address=10.99.0.$1" --set "node.data_dir=$tmp/n$1" \
		--set "kernel.pin_dir=$PINS-$1" --set "kernel.cgroup=$CGROOT/waymark-mesh-$1" \
		--set "http.socket=$tmp/n$1.sock" --set registry.consul_service=false \
		--set sync.mode=peers --set sync.profile=local --set 'sync.join=10.99.0.1,10.99.0.2' \
		--set "sync.ca_file=$tmp/ca/ca.pem" --set "sync.cert_file=$tmp/ca/n$1.pem" \
		--set "sync.key_file=$tmp/ca/n$1-key.pem" --set "sync.keyring_file=$tmp/ca/keyring" \
		>>"$tmp/n$1.log" 2>&1) &
	agent[$1]=$!
	wait_for 30 answers "$1" || {
		cat "$tmp/n$1.log" >&2
		die "the agent of n$1 did not start"
	}
}
alive() { api "$1" /v1/waymark/members | jq '[.[] | select(.state == "alive")] | length'; }
alive_is() { # number, nodes...
	local n=$1 i
	shift
	for i in "$@"; do [ "$(alive "$i")" = "$n" ] || return 1; done
}
digest() { api "$1" /v1/waymark/sync | jq -r .digest; }
same_digests() {
	local i first
	first=$(digest "$1")
	for i in "$@"; do [ "$(digest "$i")" = "$first" ] || return 1; done
}
register() { # node, id, name, address, port
	api "$1" /v1/agent/service/register -o /dev/null -w '%{http_code}' -X PUT \
		-d "{\"ID\": \"$2\", \"Name\": \"$3\", \"Address\": \"$4\", \"Port\": $5}"
}
has() { [ -n "$(ask "$1" "$2.service.mesh.internal")" ]; }
lacks() { ! has "$1" "$2"; }
all_have() { # name, nodes...
	local name=$1 i
	shift
	for i in "$@"; do has "$i" "$name" || return 1; done
}
all_lack() {
	local name=$1 i
	shift
	for i in "$@"; do lacks "$i" "$name" || return 1; done
}

[ "$(id -u)" = 0 ] || die "root is needed: programs are loaded into the kernel"
[ -x "$B/waymarkd" ] || die "$B/waymarkd is missing: make all"
[ -n "$CGROOT" ] || die "a cgroup2 mount is needed"
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf || die "bpffs cannot be mounted on /sys/fs/bpf"
[ ! -e "$PINS-1" ] || die "$PINS-1 exists: another demo runs, or was killed; '$CTL --pin-dir $PINS-1 detach' removes it"
tmp=$(mktemp -d)

say "An authority, a certificate for each of five nodes, a key for datagrams"
"$CTL" ca init --dir "$tmp/ca" | sed 's/^/    /'
for i in $(seq $NODES); do "$CTL" ca issue "n$i" --dir "$tmp/ca" >/dev/null || die "no certificate for n$i"; done
"$CTL" keyring generate >"$tmp/ca/keyring" && chmod 600 "$tmp/ca/keyring" || die "no key"

say "Five agents in five network namespaces"
ip link add wm-mesh0 type bridge && ip link set wm-mesh0 up || die "no bridge"
for i in $(seq $NODES); do
	unshare --net sleep infinity &
	ns[$i]=$!
	wait_for 5 test "$(readlink /proc/self/ns/net)" != "$(readlink "/proc/${ns[$i]}/ns/net")"
	sleep 0.05
	ip link add "wm-mesh$i" type veth peer name eth0 netns "${ns[$i]}" && ip link set "wm-mesh$i" master wm-mesh0 up
	on "$i" ip addr add "10.99.0.$i/24" dev eth0
	on "$i" ip link set eth0 up
	on "$i" ip link set lo up
	mkdir -p "$CGROOT/waymark-mesh-$i"
	start_node "$i"
done
wait_for 20 alive_is $NODES $(seq $NODES)
show 3 "$CTL" members
result "members that n3 takes for alive" $NODES "$(alive 3)"

say "A service is registered on n1, and found on all others by their own kernels"
for i in 1 2; do
	(exec nsenter --net="/proc/${ns[$i]}/ns/net" -- /usr/bin/python3 tools/demo/backend.py "web-$i" "10.99.0.$i" 8080) &
	backend[$i]=$!
done
result "PUT /v1/agent/service/register on n1" 200 "$(register 1 web-1 web 10.99.0.1 8080)"
figure "until DNS on n2, n3, n4 and n5 has it (dig of one after the other)" "$(took all_have web 2 3 4 5)"
register 2 web-2 web 10.99.0.2 8080 >/dev/null
wait_for 5 test "$(ask 4 web.service.mesh.internal | wc -l)" = 2
show 4 dig +short +tries=1 @127.0.0.1 -p 8600 web.service.mesh.internal
vip=$(ask 5 web.virtual.mesh.internal)
printf '  n5 $ for i in {1..100}; do curl -s http://%s/; done | sort | uniq -c\n' "$vip"
for _ in $(seq 100); do steered 5 curl -s --max-time 3 --noproxy '*' "http://$vip/" || echo failed; done | sort | uniq -c |
	tee "$tmp/spread" | sed 's/^/    /'
result "requests from n5 that failed, of 100" 0 "$(awk '/failed/{print $1; f=1} END{if(!f)print 0}' "$tmp/spread")"
result "backends that answered, on n1 and n2" 2 "$(grep -c 'web-' "$tmp/spread")"

say "The agent of n1 is killed: elsewhere its instance goes critical; its own kernel goes on serving"
kill -9 "${agent[1]}" && wait "${agent[1]}" 2>/dev/null
only_2() { [ "$(ask "$1" web.service.mesh.internal)" = 10.99.0.2 ]; }
figure "until n4 answers without it" "$(took only_2 4)"
show 4 dig +short +tries=1 @127.0.0.1 -p 8600 web.service.mesh.internal
result "n1's own kernel still answers DNS, with both" 2 "$(ask 1 web.service.mesh.internal | wc -l)"
result "serfHealth of n1, asked on n3" critical "$(api 3 /v1/health/node/n1 | jq -r '.[] | select(.CheckID == "serfHealth").Status')"
start_node 1
both() { [ "$(ask "$1" web.service.mesh.internal | wc -l)" = 2 ]; }
figure "it is started again; until n4 has both" "$(took both 4)"

say "The mesh is cut: n1 and n2 on one side, n3, n4 and n5 on the other. Both sides register"
nft add table bridge waymark-mesh
nft add chain bridge waymark-mesh cut '{ type filter hook forward priority 0; }'
for a in 1 2; do
	for b in 3 4 5; do
		nft add rule bridge waymark-mesh cut iifname "wm-mesh$a" oifname "wm-mesh$b" drop
		nft add rule bridge waymark-mesh cut iifname "wm-mesh$b" oifname "wm-mesh$a" drop
	done
done
register 3 old-1 old 10.99.0.3 81 >/dev/null
wait_for 20 alive_is 2 1 2
wait_for 20 alive_is 3 3 4 5
result "members alive on n1, on n5" "2 3" "$(alive 1) $(alive 5)"
register 2 left-1 left 10.99.0.2 82 >/dev/null
register 5 right-1 right 10.99.0.5 85 >/dev/null
api 3 /v1/agent/service/deregister/old-1 -X PUT
nft delete table bridge waymark-mesh
figure "healed; until all are members again" "$(took alive_is $NODES $(seq $NODES))"
figure "and all have what both sides registered" "$(took all_have left 1 3 4 5)"
wait_for 10 all_have right 1 2 3 4
wait_for 10 same_digests $(seq $NODES)
for i in $(seq $NODES); do printf '  n%s digest %s\n' "$i" "$(digest "$i")"; done
result "digests of what the five have" 1 "$(for i in $(seq $NODES); do digest "$i"; done | sort -u | wc -l)"
result "what was deregistered meanwhile" "" "$(ask 1 old.service.mesh.internal)"

say "All are restarted, one after the other, with requests going on from n5 and n4"
(
	f=0 n=0
	while [ ! -e "$tmp/stop" ]; do
		n=$((n + 2))
		steered 5 curl -s --max-time 3 --noproxy '*' "http://$vip/" >/dev/null || f=$((f + 1))
		[ -n "$(ask 4 web.service.mesh.internal)" ] || f=$((f + 1))
		echo "$f $n" >"$tmp/loop"
	done
) &
loop=$!
for i in $(seq $NODES); do
	kill -TERM "${agent[$i]}" && wait "${agent[$i]}" 2>/dev/null
	start_node "$i"
done
wait_for 20 alive_is $NODES $(seq $NODES)
touch "$tmp/stop"
wait "$loop" 2>/dev/null
loop=''
read -r f n <"$tmp/loop"
result "requests and questions that failed, of $n" 0 "$f"
wait_for 10 same_digests $(seq $NODES)
result "digests of what the five have" 1 "$(for i in $(seq $NODES); do digest "$i"; done | sort -u | wc -l)"
show 2 "$CTL" sync status

say "What was seen"
printf '%s\n' "${rows[@]}"
[ $failed = 0 ] || die "something was not as it should be, see above"
