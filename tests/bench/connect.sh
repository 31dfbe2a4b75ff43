# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # what run.sh has set
# connect() to services beside connect() to where they lead, beside programs that do nothing on the same hooks
# (the floor: what the kernel takes for calling any) and one that looks up where to and no more (the walk), and
# beside who translates addresses. Who is compared takes turns, a few milliseconds each, in front of all other work:
# the machine's bad moments meet all of them. All of them meet the agent's tracepoints, too, which are of no cgroup:
# what these take, passive.sh tells.
peer_net() { # a network namespace of its own, where a peer's rules hold: its holder's pid
	unshare --net sleep 3600 >/dev/null 2>&1 &
	echo $!
}
in_net() {
	local pid=$1
	shift
	nsenter -t "$pid" --net "$@"
}
load_nft() { # file of virtual addresses
	cat <<-TEXT
		table ip wm {
		  chain go {
		    meta l4proto tcp dnat to 127.0.0.1:$PORT
		  }
		  map m {
		    type ipv4_addr : verdict
		    elements = {
		      $(sed 's/ .*/ : goto go,/' "$1")
		    }
		  }
		  chain out {
		    type nat hook output priority -100;
		    ip daddr vmap @m
		  }
		}
	TEXT
}
build_noop() {
	[ -e "$TMP/noop.o" ] ||
		clang -O2 -g -target bpf -mcpu=v3 -I/usr/include/"$(uname -m)"-linux-gnu -c tests/bench/noop.bpf.c -o "$TMP/noop.o"
}
attach_floor() { # cgroup, pin of what steers there, or none; ends with it
	local dir=$PINS-floor
	build_noop
	mkdir "$dir" && bpftool prog loadall "$TMP/noop.o" "$dir" && bpftool cgroup attach "$1" connect4 pinned "${2:-$dir/noop_connect}" multi &&
		bpftool cgroup attach "$1" sock_release pinned "$dir/noop_release" multi || fail floor
	rm -r "$dir"
}
attach_walk() { # cgroup, port that it leads to; by the maps of the agent that runs
	local maps=() m
	for m in frontends frontend_sets sets heads backends; do maps+=(map name "$m" pinned "$PINS/maps/$m"); done
	clang -O2 -g -target bpf -mcpu=v3 -I include -I vmlinux -I bpf "-DSTEER_PORT=$2" "-DFRONTEND_SETS_MASK=$(likely_mask frontend_sets)" \
		-c tests/bench/steer.bpf.c -o "$TMP/steer.o" &&
		bpftool prog load "$TMP/steer.o" "$PINS-steer" "${maps[@]}" || fail walk
	attach_floor "$1" "$PINS-steer"
	rm "$PINS-steer"
}
FRONT=()
chrt -f 1 true 2>/dev/null && FRONT=(chrt -f 1)
# kind, options of connload, --, sides: "name,cgroup,pid,port,file"; a file of lines for each side
turns() {
	local kind=$1 options=() sides=() s
	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	for s in "${@:2}"; do sides+=(-s "$s"); done
	"${FRONT[@]}" "$T/connload" "${options[@]}" "${sides[@]}" >"$TMP/con" || fail "$kind"
	for s in "${@:2}"; do jq -c "select(.side == \"${s%%,*}\")" "$TMP/con" >"$TMP/con-$kind-${s%%,*}"; done
}
more() { # kind, field, side: how much more it takes than direct does, by round
	paste <(take "$2" "$TMP/con-$1-$3") <(take "$2" "$TMP/con-$1-direct") | awk '{print $1 - $2}' | median
}
tcp_rows() { # services
	local c=$TMP/con-tcp
	row "connect.$1.direct" "connects/s" "$c-ours" "$c-direct" per_s \
		"$(case $1 in 1) echo '>= 0.985' ;; 10000) echo '>= 0.98' ;; *) echo '>= 0.95' ;; esac)" "TCP, lo"
	row "connect.$1.floor" "connects/s, programs that do nothing / none" "$c-floor" "$c-direct" per_s "" "TCP, lo"
	row "connect.$1.walk" "connects/s, a program that does nothing but look up where to / none" "$c-walk" "$c-direct" per_s "" "TCP, lo"
	row "connect.$1.of_floor" "connects/s / programs that do nothing" "$c-ours" "$c-floor" per_s \
		"$(case $1 in 1) echo '>= 0.97' ;; 10000) echo '>= 0.95' ;; *) echo '>= 0.92' ;; esac)" "TCP, lo"
	row "connect.$1.of_walk" "connects/s / a program that does nothing but look up where to" "$c-ours" "$c-walk" per_s "" "TCP, lo"
	row "connect.$1.cpu" "us of the client's CPU a connect" "$c-ours" "$c-direct" cpu_us "" "TCP, lo: the server's half of the handshake included"
	row "connect.$1.floor.cpu" "us of the client's CPU, programs that do nothing / none" "$c-floor" "$c-direct" cpu_us "" "TCP, lo"
	row "connect.$1.nft" "connects/s, verdict map and DNAT" "$c-ours" "$c-nft" per_s ">= 1.15" "TCP, lo"
	row "connect.$1.nft.cpu" "us of the client's CPU a connect, verdict map and DNAT" "$c-ours" "$c-nft" cpu_us "" "TCP, lo"
}
connect_peers() { # services: who translates has the virtual addresses
	nft=$(peer_net) ipt=$(peer_net)
	sleep 0.3
	in_net "$nft" ip link set lo up
	in_net "$ipt" ip link set lo up
	# conntrack and DNAT need a route to the virtual addresses
	in_net "$nft" ip route add local 240.0.0.0/4 dev lo
	in_net "$ipt" ip route add local 240.0.0.0/4 dev lo
	load_nft "$TMP/vips" >"$TMP/nft"
	in_net "$nft" nft -f "$TMP/nft" || fail "nft"
	[ "$1" -le 10000 ] || return 0
	{
		echo '*nat'
		sed "s,\(.*\) 80,-A OUTPUT -p tcp -d \1 -j DNAT --to 127.0.0.1:$PORT," "$TMP/vips"
		echo COMMIT
	} | in_net "$ipt" iptables-restore || fail "iptables"
}
start_haproxy() { # the server's port
	cat >"$TMP/haproxy.cfg" <<-TEXT
		global
		  maxconn 4000
		defaults
		  mode tcp
		  timeout connect 5s
		  timeout client 30s
		  timeout server 30s
		frontend f
		  bind 127.0.0.1:9000
		  default_backend b
		backend b
		  server s 127.0.0.1:$1
	TEXT
	"${FRONT[@]}" haproxy -f "$TMP/haproxy.cfg" -db >"$TMP/haproxy.log" 2>&1 &
	ha=$!
	echo "127.0.0.1 9000" >"$TMP/haproxy"
}
bench_connect() {
	local n nft ipt ha ours=$CG/ours direct=$CG/direct floor=$CG/floor mode p
	mkdir "$ours" "$direct" "$floor"
	attach_floor "$floor"
	start_haproxy $((PORT + 3))
	for n in $SIZES; do
		# connload listens there, and is gone after each run: its instances stay up all the same
		big_agent --set kernel.listener_notice=false --set "kernel.cgroup=$ours"
		fill "$n"
		"$T/dnsload" -p 8600 -R -n "$n" -P svc-:.virtual.mesh.internal | sed 's/$/ 80/' >"$TMP/vips"
		[ "$(wc -l <"$TMP/vips")" = "$n" ] || fail "addresses: $(wc -l <"$TMP/vips") of $n"
		head -n 1 "$TMP/vips" >"$TMP/vip"
		# as long a list, so that to draw from it costs the same
		for p in 0 1 2 5; do sed "s/.*/127.0.0.1 $((PORT + p))/" "$TMP/vips" >"$TMP/direct-$p"; done
		mkdir "$CG/walk-$n"
		attach_walk "$CG/walk-$n" $((PORT + 4))
		connect_peers "$n"
		rm -f "$TMP"/con-*
		turns tcp -n 250 -r $((ROUNDS * 40)) -- "ours,$ours,,$PORT,$TMP/vips" "direct,$direct,,$((PORT + 1)),$TMP/direct-1" \
			"floor,$floor,,$((PORT + 2)),$TMP/direct-2" "walk,$CG/walk-$n,,$((PORT + 4)),$TMP/vips" \
			"foreign,$ours,,$((PORT + 5)),$TMP/direct-5" "nft,$direct,$nft,$PORT,$TMP/vips"
		[ "$n" -gt 10000 ] || turns ipt -n 100 -r $((ROUNDS * 2)) -- "ours,$ours,,$PORT,$TMP/vips" "ipt,$direct,$ipt,$PORT,$TMP/vips"
		turns exchange -m exchange -n 100 -r $((ROUNDS * 4)) -- "ours,$ours,,$PORT,$TMP/vips" \
			"haproxy,$direct,,$((PORT + 3)),$TMP/haproxy"
		turns new -m udpnew -n 1000 -r $((ROUNDS * 60)) -- "ours,$ours,,,$TMP/direct-0" "direct,$direct,,,$TMP/direct-0" \
			"floor,$floor,,,$TMP/direct-0"
		for mode in udp udpc; do
			turns $mode -m $mode -n 500 -r $((ROUNDS * 10)) -- "ours,$ours,,$PORT,$TMP/vip" "direct,$direct,,$PORT,$TMP/direct-0"
		done
		heading "connect(), $n services"
		tcp_rows "$n"
		[ ! -s "$TMP/con-ipt-ipt" ] || row "connect.$n.iptables" "connects/s, sequential rules" "$TMP/con-ipt-ours" "$TMP/con-ipt-ipt" per_s "" "TCP, lo"
		row "connect.$n.haproxy" "connect and exchange/s" "$TMP/con-exchange-ours" "$TMP/con-exchange-haproxy" per_s "" "TCP, lo"
		emit "connect.$n.foreign" "ns more of a socket of no service's, connect and close" "$(more new connect_ns ours)" "" "" "<= 130" \
			"UDP, $(take connect_ns "$TMP/con-new-direct" | median) without programs"
		emit "connect.$n.foreign.tcp" "the same of a TCP socket by the cgroup's programs, its server's half included" \
			"$(more tcp cpu_us foreign | awk '{print $1 * 1000}')" "" "" "" "TCP; by tracepoints: passive.foreign"
		emit "connect.$n.foreign.floor" "the same by programs that do nothing" "$(more new connect_ns floor)" "" "" "" "UDP"
		row "connect.udp.$n.send" "ns a datagram, unconnected: send" "$TMP/con-udp-ours" "$TMP/con-udp-direct" send_ns "" "UDP, lo"
		row "connect.udp.$n.recv" "ns a datagram, unconnected: receive" "$TMP/con-udp-ours" "$TMP/con-udp-direct" recv_ns "" "UDP, lo"
		row "connect.udpc.$n.send" "ns a datagram, connected: send" "$TMP/con-udpc-ours" "$TMP/con-udpc-direct" send_ns "" "UDP, lo"
		kill "$nft" "$ipt"
		drop_agent
	done
	kill "$ha"
}
