# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # what run.sh has set
# connect() to services beside connect() to where they lead, and beside who translates addresses.
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
attach_floor() { # cgroup; ends with it
	local dir=$PINS-floor
	build_noop
	mkdir "$dir" && bpftool prog loadall "$TMP/noop.o" "$dir" && bpftool cgroup attach "$1" connect4 pinned "$dir/noop_connect" multi &&
		bpftool cgroup attach "$1" sock_release pinned "$dir/noop_release" multi &&
		bpftool cgroup attach "$1" sock_ops pinned "$dir/noop_outcome" multi || fail floor
	rm -r "$dir"
}
bench_connect() {
	local n r s nft ipt ha mode
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
		  server s 127.0.0.1:$PORT
	TEXT
	haproxy -f "$TMP/haproxy.cfg" -db >"$TMP/haproxy.log" 2>&1 &
	ha=$!
	for n in $SIZES; do
		# connload listens there, and is gone after each run: its instances stay up all the same
		big_agent --set kernel.listener_notice=false
		fill "$n"
		"$T/dnsload" -p 8600 -R -n "$n" -P svc-:.virtual.mesh.internal | sed 's/$/ 80/' >"$TMP/vips"
		[ "$(wc -l <"$TMP/vips")" = "$n" ] || fail "addresses: $(wc -l <"$TMP/vips") of $n"
		# as long a list, so that to draw from it costs the same
		sed "s/.*/127.0.0.1 $PORT/" "$TMP/vips" >"$TMP/direct"
		nft=$(peer_net) ipt=$(peer_net)
		sleep 0.3
		in_net "$nft" ip link set lo up
		in_net "$ipt" ip link set lo up
		# conntrack and DNAT need a route to the virtual addresses
		in_net "$nft" ip route add local 240.0.0.0/4 dev lo
		in_net "$ipt" ip route add local 240.0.0.0/4 dev lo
		load_nft "$TMP/vips" >"$TMP/nft"
		in_net "$nft" nft -f "$TMP/nft" || fail "nft"
		if [ "$n" -le 10000 ]; then
			{
				echo '*nat'
				sed "s,\(.*\) 80,-A OUTPUT -p tcp -d \1 -j DNAT --to 127.0.0.1:$PORT," "$TMP/vips"
				echo COMMIT
			} | in_net "$ipt" iptables-restore || fail "iptables"
		fi
		rm -f "$TMP"/con-*
		for r in $(seq "$ROUNDS"); do
			for s in ours direct nft ipt haproxy; do
				case $s in
				ours) inside "$T/connload" -n $CONNECTS -a $PORT -f "$TMP/vips" ;;
				direct) "$T/connload" -n $CONNECTS -a $PORT -f "$TMP/direct" ;;
				nft) in_net "$nft" "$T/connload" -n $CONNECTS -a $PORT -f "$TMP/vips" ;;
				ipt) [ "$n" -gt 10000 ] || in_net "$ipt" "$T/connload" -n $((n > 1 ? 500 : CONNECTS)) -a $PORT -f "$TMP/vips" ;;
				haproxy) "$T/connload" -n $((CONNECTS / 10)) -m exchange -a $PORT -d "127.0.0.1 9000" ;;
				esac >>"$TMP/con-$s" || fail "$s"
			done
			inside "$T/connload" -n $((CONNECTS / 10)) -m exchange -a $PORT -f "$TMP/vips" >>"$TMP/con-exchange"
			inside "$T/connload" -m udpnew -n $((CONNECTS * 5)) -f "$TMP/direct" >>"$TMP/con-new-ours" || fail "foreign"
			"$T/connload" -m udpnew -n $((CONNECTS * 5)) -f "$TMP/direct" >>"$TMP/con-new-direct" || fail "foreign"
			for mode in udp udpc; do
				inside "$T/connload" -m $mode -n $CONNECTS -a $PORT -f <(head -n 1 "$TMP/vips") >>"$TMP/con-$mode-ours"
				"$T/connload" -m $mode -n $CONNECTS -a $PORT -d "127.0.0.1 $PORT" >>"$TMP/con-$mode-direct"
			done
		done
		heading "connect(), $n services"
		row "connect.$n.direct" "connects/s" "$TMP/con-ours" "$TMP/con-direct" per_s \
			"$(case $n in 1) echo '>= 0.985' ;; 10000) echo '>= 0.98' ;; *) echo '>= 0.95' ;; esac)" "TCP, lo"
		row "connect.$n.cpu" "us of the client's CPU a connect" "$TMP/con-ours" "$TMP/con-direct" cpu_us "" "TCP, lo: the server's half of the handshake included"
		row "connect.$n.nft" "connects/s, verdict map and DNAT" "$TMP/con-ours" "$TMP/con-nft" per_s ">= 1.15" "TCP, lo"
		row "connect.$n.nft.cpu" "us of the client's CPU a connect, verdict map and DNAT" "$TMP/con-ours" "$TMP/con-nft" cpu_us "" "TCP, lo"
		[ ! -s "$TMP/con-ipt" ] || row "connect.$n.iptables" "connects/s, sequential rules" "$TMP/con-ours" "$TMP/con-ipt" per_s "" "TCP, lo"
		row "connect.$n.haproxy" "connect and exchange/s" "$TMP/con-exchange" "$TMP/con-haproxy" per_s "" "TCP, lo"
		emit "connect.$n.foreign" "ns more of a socket of no service's, connect and close" "$(paste <(take connect_ns "$TMP/con-new-ours") \
			<(take connect_ns "$TMP/con-new-direct") | awk '{print $1 - $2}' | median)" "" "" "<= 130" "UDP, $(take connect_ns "$TMP/con-new-direct" | median) without hooks"
		row "connect.udp.$n.send" "ns a datagram, unconnected: send" "$TMP/con-udp-ours" "$TMP/con-udp-direct" send_ns "" "UDP, lo"
		row "connect.udp.$n.recv" "ns a datagram, unconnected: receive" "$TMP/con-udp-ours" "$TMP/con-udp-direct" recv_ns "" "UDP, lo"
		row "connect.udpc.$n.send" "ns a datagram, connected: send" "$TMP/con-udpc-ours" "$TMP/con-udpc-direct" send_ns "" "UDP, lo"
		kill "$nft" "$ipt"
		drop_agent
	done
	kill $ha
}
