# SPDX-License-Identifier: Apache-2.0
# mesh.sh - several agents on one machine: source it behind lib.sh. Node I has a network namespace of its
# own with the address 10.77.0.I on a bridge in the test's, a cgroup, pins and a data directory. The bridge
# is where the mesh is cut: `cut_mesh`, `heal_mesh`. `mesh_keys` and `tls_of` are for a mesh with TLS.
# shellcheck shell=bash
declare -A NODE_NS=() NODE_AGENT=()
# shellcheck disable=SC2034 # tests use it
INSECURE=(--set sync.insecure=true)

mesh_up() { # nodes
	ip link add mesh0 type bridge && ip link set mesh0 up
	echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null || true
	for i in $(seq "$1"); do
		unshare --net sleep infinity &
		NODE_NS[$i]=$!
		until_ok 10 is_apart "${NODE_NS[$i]}"
		ip link add "m$i" type veth peer name eth0 netns "${NODE_NS[$i]}"
		ip link set "m$i" master mesh0 up
		on "$i" ip addr add "10.77.0.$i/24" dev eth0
		on "$i" ip link set eth0 up
		on "$i" ip link set lo up
		mkdir -p "$CG/n$i"
	done
}
mesh_keys() { # nodes: an authority, a certificate for each, one key for datagrams, in $TMP/ca
	local i
	"$CTL" ca init --dir "$TMP/ca" >/dev/null || fail "no authority"
	for i in $(seq "$1"); do "$CTL" ca issue "n$i" --dir "$TMP/ca" >/dev/null || fail "no certificate for n$i"; done
	(umask 077 && "$CTL" keyring generate >"$TMP/ca/keyring") || fail "no key"
}
tls_of() { # node: its options, a word each
	echo --set "sync.ca_file=$TMP/ca/ca.pem" --set "sync.cert_file=$TMP/ca/n$1.pem" \
		--set "sync.key_file=$TMP/ca/n$1-key.pem" --set "sync.keyring_file=$TMP/ca/keyring"
}
on() { # node, command...: in its network namespace
	local ns=${NODE_NS[$1]}
	shift
	nsenter --net="/proc/$ns/ns/net" -- "$@"
}
steered_on() { # node, command...: in its cgroup as well
	local i=$1
	shift
	(
		echo $BASHPID >"$CG/n$i/cgroup.procs"
		exec nsenter --net="/proc/${NODE_NS[$i]}/ns/net" -- "$@"
	)
}
api_of() { # node, curl's arguments, the last a path
	local i=$1
	shift
	on "$i" curl -s --max-time 20 "${@:1:$#-1}" "http://127.0.0.1:8500${*: -1}"
}
head_of() { # node, header, path: the header's value
	api_of "$1" -D - -o /dev/null "$3" | tr -d '\r' | sed -n "s/^$2: //Ip"
}
leaderless() { # node: does it hear of nobody?
	[ "$(head_of "$1" X-Consul-KnownLeader /v1/catalog/nodes)" = false ]
}
ask_of() { # node, dig's arguments
	local i=$1
	shift
	on "$i" dig +short +tries=1 +time=15 @127.0.0.1 -p 8600 "$@"
}
node_answers() { [ "$(api_of "$1" -o /dev/null -w '%{http_code}' /v1/agent/self)" = 200 ]; }
node_agent() { # node, further options: begins it, with node 1 as its seed
	local i=$1 seed=10.77.0.1
	shift
	[ "$i" != 1 ] || seed=10.77.0.2
	# exec: what is killed by its pid is to be the agent
	(exec nsenter --net="/proc/${NODE_NS[$i]}/ns/net" -- "$B/waymarkd" --set "node.data_dir=$TMP/n$i" --set "node.name=n$i" --set "node.address=10.77.0.$i" \
		--set "kernel.pin_dir=$PINS-$i" --set "kernel.cgroup=$CG/n$i" --set "http.socket=$TMP/n$i.sock" \
		--set registry.consul_service=false --set sync.mode=peers --set "sync.join=$seed" \
		--set sync.profile=local "$@" 2>>"$TMP/n$i.log") &
	NODE_AGENT[$i]=$!
	until_ok 60 node_answers "$i" || {
		fail "the agent of node $i does not answer"
		tail -n 20 "$TMP/n$i.log"
		exit 1
	}
}
node_stop() { # node, signal
	kill -"${2:-TERM}" "${NODE_AGENT[$1]}"
	wait "${NODE_AGENT[$1]}" 2>/dev/null
	local status=$?
	[ "${2:-TERM}" != TERM ] || [ $status = 0 ] || {
		fail "the agent of node $1 ended with $status"
		tail -n 40 "$TMP/n$1.log"
	}
	unset "NODE_AGENT[$1]"
}
register_on() { # node, id, name, address, port, [more JSON]
	api_of "$1" -o /dev/null -w '%{http_code}' -X PUT \
		-d "{\"ID\": \"$2\", \"Name\": \"$3\", \"Address\": \"$4\", \"Port\": $5${6:+, $6}}" \
		/v1/agent/service/register
}
alive_at() { # node: how many members it takes for alive
	api_of "$1" /v1/waymark/members | jq '[.[] | select(.state == "alive")] | length'
}
all_alive() { # expected number, nodes...
	local want=$1 i
	shift
	for i in "$@"; do
		[ "$(alive_at "$i")" = "$want" ] || return 1
	done
}
digest_of() { api_of "$1" /v1/waymark/sync | jq -r .digest; }
ctl_of() { # node, arguments
	local i=$1
	shift
	on "$i" "$CTL" --agent "unix:$TMP/n$i.sock" "$@"
}
same_digests() { # nodes...
	local i first
	first=$(digest_of "$1")
	[ -n "$first" ] || return 1
	for i in "$@"; do
		[ "$(digest_of "$i")" = "$first" ] || return 1
	done
}
passing_at() { # node, service: ids of what passes, sorted
	api_of "$1" "/v1/health/service/$2?passing" | jq -r '.[].Service.ID' | sort | paste -sd' '
}
passes_at() { # node, service, expected ids
	[ "$(passing_at "$1" "$2")" = "$3" ]
}
passes_on() { # service, expected ids, nodes...
	local service=$1 ids=$2 i
	shift 2
	for i in "$@"; do
		passes_at "$i" "$service" "$ids" || return 1
	done
}
# What crosses the bridge between the nodes of $1 ("1 2") and of $2 is dropped, both ways.
cut_mesh() {
	local a b
	nft add table bridge mesh
	nft add chain bridge mesh cut '{ type filter hook forward priority 0; }'
	for a in $1; do
		for b in $2; do
			nft add rule bridge mesh cut iifname "m$a" oifname "m$b" drop
			nft add rule bridge mesh cut iifname "m$b" oifname "m$a" drop
		done
	done
}
heal_mesh() { nft delete table bridge mesh; }
declare -A FAR=()
far() { # node, ms: the way to and from it takes so long
	ip link add "d$1" type veth peer name "e$1"
	ip link set "m$1" nomaster
	ip link set "d$1" master mesh0 up
	ip link set "e$1" up
	/usr/bin/python3 tests/net/delay.py "m$1" "e$1" "$2" &
	FAR[$1]=$!
}
near() { # node: it is no more
	kill "${FAR[$1]}"
	ip link del "d$1"
	ip link set "m$1" master mesh0
}
# A direction is dropped: what comes from the nodes of $1 does not reach those of $2.
cut_one_way() {
	local a b
	nft add table bridge mesh
	nft add chain bridge mesh cut '{ type filter hook forward priority 0; }'
	for a in $1; do
		for b in $2; do nft add rule bridge mesh cut iifname "m$a" oifname "m$b" drop; done
	done
}
lose() { # per cent of what agents say to each other, at random; what clients say goes through. False: the kernel refuses
	local l4
	nft add table bridge mesh
	nft add chain bridge mesh cut '{ type filter hook forward priority 0; }'
	for l4 in udp tcp; do
		nft add rule bridge mesh cut ip protocol $l4 $l4 dport 8301 numgen random mod 100 '<' "$1" counter drop 2>"$TMP/nft" ||
			return 1
	done
}
lost() { # packets, since `lose`
	nft list table bridge mesh | awk '/drop/ { for (n = 1; n < NF; n++) if ($n == "packets") s += $(n + 1) } END { print s + 0 }'
}
count_of() { # node, a counter of /v1/waymark/sync
	api_of "$1" /v1/waymark/sync | jq ".counters.$2 // error(\"no such counter: $2\")"
}

# --- what clients see ---------------------------------------------------------------------------------------
# Node I has an instance of "web", which all have, and one of "own-I", which it alone has. On each a loop asks
# DNS for both and connects to both (mesh_loop.py); `clients_since` tells of what it saw behind `clients_mark`.
clients_up() { # nodes
	local i
	for i in "$@"; do
		(exec nsenter --net="/proc/${NODE_NS[$i]}/ns/net" -- /usr/bin/python3 tools/demo/backend.py "web-$i" "10.77.0.$i" 8081) &
		register_on "$i" "web-$i" web "10.77.0.$i" 8081 >/dev/null
		register_on "$i" "own-$i" "own-$i" "10.77.0.$i" 8081 >/dev/null
	done
	for i in "$@"; do
		until_ok 10 on "$i" curl -s "http://10.77.0.$i:8081/" || fail "the service on node $i does not answer"
		until_ok 10 passes_at "$i" web "$(printf 'web-%s\n' "$@" | sort | paste -sd' ')" || fail "web is not everywhere"
		steered_on "$i" /usr/bin/python3 tests/net/mesh_loop.py "$TMP/seen-$i" "$TMP/stop-clients" web "own-$i" &
	done
	for i in "$@"; do until_ok 20 client_does "$i"; done
}
client_does() { [ "$(awk '$2 > 3 && $4 > 3' "$TMP/seen-$1" | wc -l)" = 2 ]; }
MARK=mark
clients_mark() { # nodes
	local i
	for i in "$@"; do cp "$TMP/seen-$i" "$TMP/$MARK-$i"; done
}
clients_since() { # service ("own" is each node's), nodes: questions, failed ones, connects, failed ones
	local service=$1 i name
	shift
	for i in "$@"; do
		name=$service
		[ "$service" != own ] || name=own-$i
		awk -v s="$name" '$1 == s { sign = FILENAME == ARGV[1] ? -1 : 1; print sign * $2, sign * $3, sign * $4, sign * $5 }' \
			"$TMP/$MARK-$i" "$TMP/seen-$i"
	done | awk '{ for (n = 1; n < 5; n++) s[n] += $n } END { print s[1] + 0, s[2] + 0, s[3] + 0, s[4] + 0 }'
}
clients_saw() { # what happened, nodes: says what was seen; a node's own service is always there
	local what=$1 q f c d
	shift
	read -r q f c d < <(clients_since web "$@")
	echo "seen: $what: web: $f of $q questions without an answer, $d of $c connects failed"
	check "$what: DNS answers on all" 0 "$f"
	read -r q f c d < <(clients_since own "$@")
	check "$what: a node's own service (questions, connects failed)" "0 0" "$f $d"
	[ "$q" -gt 0 ] && [ "$c" -gt 0 ] || fail "$what: the clients did nothing"
}
clients_well() { # seconds until connects to all work again, nodes
	until_ok "$1" clients_try "${@:2}"
}
clients_try() {
	local c d MARK=try
	clients_mark "$@"
	sleep 1
	read -r _ _ c d < <(clients_since web "$@")
	[ "$c" -gt 0 ] && [ "$d" = 0 ]
}

# --- writes that must not be lost, and must not come back ---------------------------------------------------
declare -A KEPT=()
churn_on() { # node, tag: registers four, deregisters two of them and one of before, if there is one
	local n id
	for n in 1 2 3 4; do
		id=c$1-$2-$n
		[ "$(register_on "$1" "$id" churn "10.77.0.$1" "90$n")" = 200 ] && KEPT[$id]=1
	done
	for id in "c$1-$2-1" "c$1-$2-2" "c$1-before-3"; do
		[ -n "${KEPT[$id]:-}" ] || continue
		[ "$(api_of "$1" -o /dev/null -w '%{http_code}' -X PUT "/v1/agent/service/deregister/$id")" = 200 ] && unset "KEPT[$id]"
	done
}
kept() { printf '%s\n' "${!KEPT[@]}" | sort | paste -sd' '; }
churn_is_everywhere() { # what happened, nodes
	local what=$1
	shift
	until_ok 30 same_digests "$@" || fail "$what: digests differ: $(for i in "$@"; do digest_of "$i"; done | paste -sd' ')"
	until_ok 10 passes_on churn "$(kept)" "$@" ||
		for i in "$@"; do check "$what: instances on node $i" "$(kept)" "$(passing_at "$i" churn)"; done
	echo "ok: $what: ${#KEPT[@]} instances, the same everywhere"
}
# Does its home answer a leaf? As one that is asked first may be slow, and questions wait for 4 s at most.
leaf_answers() { on "$1" dig +tries=1 +time=5 @127.0.0.1 -p 8600 nobody.service.mesh.internal | grep -q NXDOMAIN; } # node
