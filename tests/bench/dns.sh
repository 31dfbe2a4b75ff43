# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # what run.sh has set
# dns.sh - names of ours beside peers that have them in zones, hosts files or caches. Each round asks everybody in
# turn. Peers and the bare echo have a network namespace of their own, where our programs are not. Sourced by run.sh.
PEERS_MAX_US=0.42 # of NSD's CPU of the machine a query
declare -A TYPE=([a]=1 [nxdomain]=1 [srv]=33 [ptr]=12)
declare -A OF_ECHO=([a]=1.08 [nxdomain]=1.15 [srv]=1.30 [ptr]=1.15) # goals: CPU of a query beside a bare echo
declare -A SAYS=([a]='A' [nxdomain]='NXDOMAIN' [srv]='SRV of 4 with addresses' [ptr]='PTR'
	[floor]='one look-up of the name' [walk]='that and the way to its first backend'
	[many]='that to four backends, and the octets of the answer')
declare -A DNS_PORT=([ours]=8600 [echo]=53 [nsd]=5301 [knot]=5302 [unbound]=5303 [dnsdist]=5304 [dnsmasq]=5305 [coredns]=5306)
declare -A PEERS=() # name -> pid
PEERNET=''
OTHERS="nsd knot unbound dnsdist dnsmasq"
COREDNS=build/coredns/coredns # where it was built: tests/long/coredns/build.sh
[ ! -x $COREDNS ] || OTHERS+=" coredns"

# --- what is asked ------------------------------------------------------------------------------------
numbers() { seq -f '%06g' 0 $(($1 - 1)); }
kinds_of() { [ "$1" -gt 1000 ] && echo a || echo a nxdomain srv ptr; } # names
floors_of() { # kind
	case $1 in
	a) echo floor walk ;;
	srv) echo many ;;
	esac
}
dns_questions() { # names; our agent runs and has them
	numbers "$1" | sed 's/.*/svc-&.service.mesh.internal/' >"$TMP/ask.a"
	numbers "$1" | sed 's/.*/none-&.service.mesh.internal/' >"$TMP/ask.nxdomain"
	numbers "$1" | sed 's/.*/four-&.service.mesh.internal/' >"$TMP/ask.srv"
	"$T/dnsload" -p 8600 -R -n "$1" -P svc-:.virtual.mesh.internal >"$TMP/vips" || fail "virtual addresses"
	awk -F. '{print $4 "." $3 "." $2 "." $1 ".in-addr.arpa"}' "$TMP/vips" >"$TMP/ask.ptr"
	# where A alone is asked for, peers need not know more
	[ "$1" -le 1000 ] || truncate -s 0 "$TMP/vips" "$TMP"/ask.{srv,ptr}
}
dns_load() { # file, kind, server, options of dnsload
	local file=$1 kind=$2 server=$3 how=()
	[ "$kind" != nxdomain ] || how+=(-x 3)
	case $server in echo | floor | walk | many) how+=(-e) ;; esac
	"${DNS_NET[@]}" "$T/dnsload" -p "${DNS_PORT[$server]}" -q "${TYPE[$kind]}" -f "$TMP/ask.$kind" "${how[@]}" "${@:4}" >"$TMP/asked" ||
		fail "$server: $kind"
	[ "$(take bad "$TMP/asked")" = 0 ] || fail "$server: $(take bad "$TMP/asked") wrong answers to $kind"
	cat "$TMP/asked" >>"$file"
}

# --- who is asked -------------------------------------------------------------------------------------
dns_zones() { # directory
	local soa='60 SOA ns.mesh.internal. root.mesh.internal. 1 3600 600 86400 60'
	{
		printf 'mesh.internal. %s\nmesh.internal. 60 NS ns.mesh.internal.\nns.mesh.internal. 60 A 127.0.0.1\n' "$soa"
		sed 's/$/. 60 A 127.0.0.1/' "$TMP/ask.a"
		sed 's/.*/&. 60 SRV 1 1 8080 7f000001.addr.dc1.mesh.internal.\n&. 60 SRV 1 1 8080 7f000002.addr.dc1.mesh.internal.\n&. 60 SRV 1 1 8080 7f000003.addr.dc1.mesh.internal.\n&. 60 SRV 1 1 8080 7f000004.addr.dc1.mesh.internal./' "$TMP/ask.srv"
		seq 4 | sed 's/.*/7f00000&.addr.dc1.mesh.internal. 60 A 127.0.0.&/'
	} >"$1/zone"
	{
		printf 'in-addr.arpa. %s\nin-addr.arpa. 60 NS ns.mesh.internal.\n' "$soa"
		awk '{printf "%s. 60 PTR svc-%06d.virtual.mesh.internal.\n", $1, NR - 1}' "$TMP/ask.ptr"
	} >"$1/reverse"
	{ # dnsmasq knows hosts
		sed 's/^/127.0.0.1 /' "$TMP/ask.a"
		seq 4 | sed 's/.*/127.0.0.& 7f00000&.addr.dc1.mesh.internal/'
		awk '{printf "%s svc-%06d.virtual.mesh.internal\n", $1, NR - 1}' "$TMP/vips"
	} >"$1/hosts"
}
dns_peers() {
	local d=$TMP/peers p
	mkdir -p "$d"
	dns_zones "$d"
	cat >"$d/nsd.conf" <<-TEXT
		server:
		  ip-address: 127.0.0.1@5301
		  server-count: 1
		  username: ""
		  pidfile: ""
		  zonesdir: "$d"
		  xfrdfile: ""
		  zonelistfile: "$d/nsd.list"
		  database: ""
		  verbosity: 0
		  rrl-ratelimit: 0
		remote-control:
		  control-enable: no
		zone:
		  name: mesh.internal
		  zonefile: zone
		zone:
		  name: in-addr.arpa
		  zonefile: reverse
	TEXT
	cat >"$d/knot.conf" <<-TEXT
		server:
		  listen: [127.0.0.1@5302, 10.98.0.1@5302]
		  rundir: "$d"
		  udp-workers: 1
		database:
		  storage: "$d"
		zone:
		  - domain: mesh.internal
		    file: "$d/zone"
		  - domain: in-addr.arpa
		    file: "$d/reverse"
	TEXT
	{
		printf 'server:\n  interface: 127.0.0.1@5303\n  num-threads: 1\n  username: ""\n  chroot: ""\n  pidfile: ""\n'
		printf '  use-syslog: no\n  directory: "%s"\n  do-daemonize: no\n  local-zone: "mesh.internal." static\n  local-zone: "in-addr.arpa." static\n' "$d"
		grep -h ' \(A\|SRV\|PTR\|SOA\) ' "$d/zone" "$d/reverse" | sed 's/.*/  local-data: "&"/'
		printf 'remote-control:\n  control-enable: no\n'
	} >"$d/unbound.conf"
	printf 'setLocal("127.0.0.1:5304")\nsetACL({"127.0.0.0/8"})\nnewServer("127.0.0.1:5301")\ngetPool(""):setCache(newPacketCache(200000))\n' >"$d/dnsdist.conf"
	{
		printf 'port=5305\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\nlocal=/mesh.internal/\nlocal-ttl=60\n'
		printf 'pid-file=\naddn-hosts=%s/hosts\ncache-size=10000\n' "$d"
		sed 's/.*/srv-host=&,7f000001.addr.dc1.mesh.internal,8080,1,1\nsrv-host=&,7f000002.addr.dc1.mesh.internal,8080,1,1\nsrv-host=&,7f000003.addr.dc1.mesh.internal,8080,1,1\nsrv-host=&,7f000004.addr.dc1.mesh.internal,8080,1,1/' "$TMP/ask.srv"
	} >"$d/dnsmasq.conf"
	printf 'mesh.internal:5306 {\n  bind 127.0.0.1\n  file %s/zone\n}\nin-addr.arpa:5306 {\n  bind 127.0.0.1\n  file %s/reverse\n}\n' \
		"$d" "$d" >"$d/Corefile"
	peer nsd nsd -d -c "$d/nsd.conf"
	peer knot knotd -c "$d/knot.conf"
	peer unbound unbound -d -c "$d/unbound.conf"
	peer dnsdist dnsdist --supervised --disable-syslog -C "$d/dnsdist.conf"
	peer dnsmasq dnsmasq -k -C "$d/dnsmasq.conf"
	[ ! -x $COREDNS ] || peer coredns env GOMAXPROCS=1 $COREDNS -quiet -conf "$d/Corefile"
	for p in $OTHERS; do
		until_ok 60 in_net "$PEERNET" "$T/dnsload" -p "${DNS_PORT[$p]}" -t 50 -n 1 || fail "$p does not answer: $(tail -n 2 "$TMP"/peer-*.log)"
	done
}
peer() { # name, command: in the namespace of peers, where there is one
	local net=()
	[ -z "${PEERNET:-}" ] || net=(nsenter -t "$PEERNET" --net)
	"${net[@]}" "${@:2}" >"$TMP/peer-$1.log" 2>&1 &
	PEERS[$1]=$!
}
stop_peers() {
	kill "${PEERS[@]}"
	wait "${PEERS[@]}" 2>/dev/null
	PEERS=()
}
family() { # server: its process and what that forked, with commas; 0: it is in the kernel
	local all=${PEERS[$1]:-0} next p
	next=$all
	while [ -n "$next" ] && [ "$all" != 0 ]; do
		next=$(for p in $next; do pgrep -P "$p"; done | xargs)
		all+=${next:+,${next// /,}}
	done
	echo "$all"
}

# --- namespaces ---------------------------------------------------------------------------------------
link_pod() { # namespace of the other end, "" for ours; device of the pod; number of the network
	ip link add "wm$2" type veth peer name "$2"
	ip link set "$2" netns "$POD"
	in_net "$POD" sh -c "ip addr add 10.$3.0.2/24 dev $2; ip link set $2 up"
	[ -z "$1" ] || ip link set "wm$2" netns "$1"
	"${@:4}" ip addr add "10.$3.0.1/24" dev "wm$2"
	"${@:4}" ip link set "wm$2" up
}
dns_nets() {
	local echo_port
	unshare --net sleep 3600 &
	POD=$!
	unshare --net sleep 3600 &
	PEERNET=$!
	sleep 0.3
	in_net "$POD" ip link set lo up
	in_net "$PEERNET" ip link set lo up
	link_pod "" pod 99
	link_pod "$PEERNET" other 98 in_net "$PEERNET"
	clang -O2 -g -target bpf -mcpu=v3 -I include/waymark -I/usr/include/"$(uname -m)"-linux-gnu -c tests/bench/echo.bpf.c -o "$TMP/echo.o"
	in_net "$PEERNET" tc qdisc add dev lo clsact
	in_net "$PEERNET" tc filter add dev lo ingress pref 1 bpf da obj "$TMP/echo.o" sec tc || fail "echo"
	echo_port=$(awk '$2 == "ECHO_PORT" {print $3}' tests/bench/echo.bpf.c)
	DNS_PORT[echo]=$echo_port
}
# the least that an answer from the agent's tables costs: tables.bpf.c, which reads the maps of the agent that runs
dns_floor() {
	local m maps=()
	for m in config names name_sets sets heads slots backends; do maps+=(map name "$m" pinned "$PINS/maps/$m"); done
	clang -O2 -g -target bpf -mcpu=v3 -I include -I vmlinux -I bpf "-DNAME_SETS_MASK=$(likely_mask name_sets)" \
		-c tests/bench/tables.bpf.c -o "$TMP/tables.o"
	bpftool prog load "$TMP/tables.o" "$PINS-tables" "${maps[@]}" || fail "floor"
	in_net "$PEERNET" tc filter del dev lo ingress pref 2 2>/dev/null
	in_net "$PEERNET" tc filter add dev lo ingress pref 2 bpf da object-pinned "$PINS-tables" || fail "floor"
	rm "$PINS-tables"
	DNS_PORT[floor]=$(awk '$1 == "#define" && $2 == "FLOOR_PORT" {print $3}' tests/bench/tables.bpf.c)
	DNS_PORT[many]=$(awk '$1 == "#define" && $2 == "FLOOR_SRV_PORT" {print $3}' tests/bench/tables.bpf.c)
	DNS_PORT[walk]=$(awk '$1 == "#define" && $2 == "FLOOR_WALK_PORT" {print $3}' tests/bench/tables.bpf.c)
}
end_nets() {
	kill "$POD" "$PEERNET"
	ip link del wmpod 2>/dev/null
	PEERNET=''
}
at() { # server, command: where it is asked
	case $1 in
	ours) DNS_NET=() ;;
	*) DNS_NET=(nsenter -t "$PEERNET" --net) ;;
	esac
	"${@:2}"
}

# --- the kernel's answers -----------------------------------------------------------------------------
dns_round() { # names
	local k s before
	for k in $(kinds_of "$1"); do
		for s in ours echo $(floors_of "$k") $OTHERS; do
			before=$(counter dns_answered)
			at $s dns_load "$TMP/dns-$k-$s" "$k" $s -t $MS -S "$(family $s)"
			[ $s != ours ] || jq -c --argjson n "$(($(counter dns_answered) - before))" '{percent: (100 * $n / .answered)}' \
				"$TMP/asked" >>"$TMP/dns-$k-kernel"
			[[ $k != a || " floor walk " == *" $s "* ]] || at $s dns_load "$TMP/one-$s" a $s -t $((MS / 2)) -o
		done
	done
	DNS_NET=(nsenter -t "$POD" --net)
	dns_load "$TMP/pod-ours" a ours -t $MS -s 10.99.0.1
	dns_load "$TMP/pod-knot" a knot -t $MS -s 10.98.0.1
}
dns_rows() { # names
	local k s
	for k in $(kinds_of "$1"); do
		heading "DNS in the kernel, ${SAYS[$k]}, $1 names"
		emit "dns.$k.$1.kernel" "% that the kernel answered" "$(take percent "$TMP/dns-$k-kernel" | median)" "" "" ">= 99" ""
		row "dns.$k.$1.echo" "us of the machine's CPU a query / a bare echo" "$TMP/dns-$k-ours" "$TMP/dns-$k-echo" machine_us \
			"<= $([ "$1" -gt 1000 ] && echo 1.15 || echo "${OF_ECHO[$k]}")" "lo, IPv4, batched"
		for s in $(floors_of "$k"); do
			row "dns.$k.$1.$s" "us, bare echo and ${SAYS[$s]} / a bare echo" "$TMP/dns-$k-$s" "$TMP/dns-$k-echo" machine_us "" \
				"nothing of it is checked: the least that ours can cost"
		done
		row "dns.$k.$1.echo.tasks" "us of the client a query / a bare echo" "$TMP/dns-$k-ours" "$TMP/dns-$k-echo" tasks_us "" ""
		for s in $OTHERS; do
			row "dns.$k.$1.$s" "us of the machine's CPU a query / $s" "$TMP/dns-$k-ours" "$TMP/dns-$k-$s" machine_us \
				"$([ $s = nsd ] && echo "<= $PEERS_MAX_US")" "lo, one thread of $s"
			row "dns.$k.$1.$s.tasks" "us of client and server a query / $s" "$TMP/dns-$k-ours" "$TMP/dns-$k-$s" tasks_us "" \
				"what else the machine does is not part of it"
			[ "$k" = a ] || continue
			row "dns.qps.$1.$s" "queries/s" "$TMP/dns-a-ours" "$TMP/dns-a-$s" qps "" "lo; ours runs on the CPU of the client, one thread of $s on another"
			row "dns.p50.$1.$s" "us, one in flight" "$TMP/one-ours" "$TMP/one-$s" p50_us "" "lo"
			row "dns.p99.$1.$s" "us, one in flight" "$TMP/one-ours" "$TMP/one-$s" p99_us "" "lo"
		done
	done
	row "dns.pod.$1.knot" "us of the machine's CPU a query / Knot" "$TMP/pod-ours" "$TMP/pod-knot" machine_us "<= 0.45" "a pod, over a veth"
}

# --- userspace ----------------------------------------------------------------------------------------
# the same questions to an agent that has no programs, and to NSD: CPU of the servers' processes
dns_userspace() { # names
	local k s how nsd tcp
	big_agent --set kernel.enabled=false
	dns_fill "$1"
	nsd=$(family nsd)
	for _ in $(seq "$ROUNDS"); do
		for k in $(kinds_of "$1"); do
			for how in udp tcp; do
				[ $how = tcp ] && tcp=(-T) || tcp=()
				at ours dns_load "$TMP/user-$k-$how-ours" "$k" ours -t $MS -S "$AGENT" "${tcp[@]}"
				at nsd dns_load "$TMP/user-$k-$how-nsd" "$k" nsd -t $MS -S "$nsd" "${tcp[@]}"
			done
		done
	done
	heading "DNS in userspace, $1 names, beside NSD"
	for k in $(kinds_of "$1"); do
		for how in udp tcp; do
			row "dns.user.$how.$k" "us of the server's CPU a query, ${SAYS[$k]}" "$TMP/user-$k-$how-ours" "$TMP/user-$k-$how-nsd" \
				server_us "<= 1.3" "$how, 4 sockets of 32 in flight"
			row "dns.user.$how.$k.machine" "us of the machine's CPU a query, ${SAYS[$k]}" "$TMP/user-$k-$how-ours" \
				"$TMP/user-$k-$how-nsd" machine_us "" ""
		done
	done
	drop_agent
}
dns_fill() { # names
	fill "$1"
	[ "$1" -gt 1000 ] || "$T/regload" -n $((4 * $1)) -i 4 -P four- -B 8080 >"$TMP/fill" || fail "fill: $(cat "$TMP/fill")"
}
bench_dns() {
	local n
	dns_nets
	for n in $NAMES; do
		rm -f "$TMP"/dns-* "$TMP"/one-* "$TMP"/pod-* "$TMP"/user-*
		big_agent --set kernel.veth_devices=wmpod --set dns.addresses=127.0.0.1,10.99.0.1 --set dns.pod_limit=0
		dns_fill "$n"
		dns_questions "$n"
		dns_floor
		dns_peers
		for _ in $(seq "$ROUNDS"); do dns_round "$n"; done
		dns_rows "$n"
		drop_agent
		[ "$n" -gt 1000 ] || dns_userspace "$n"
		stop_peers
	done
	end_nets
}
