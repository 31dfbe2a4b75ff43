# SPDX-License-Identifier: Apache-2.0
# ndots.sh - getaddrinfo() in a pod's resolv.conf, ndots:5 and four search domains: ten questions, all of them
# cached by who is asked. Sourced by run.sh.
# shellcheck shell=bash
ndots_unbound() { # name, address, lines
	printf 'server:\n interface: %s@53\n num-threads: 1\n username: ""\n chroot: ""\n pidfile: ""\n use-syslog: no\n directory: "%s"\n do-daemonize: no\n do-not-query-localhost: no\n module-config: "iterator"\n%s\nremote-control:\n control-enable: no\n' \
		"$2" "$TMP" "$3" >"$TMP/ndots-$1.conf"
	peer "ndots-$1" unbound -d -c "$TMP/ndots-$1.conf"
}
# The floor: answers that nobody looks up, from a program on loopback of a namespace of its own.
ndots_floor() {
	FLOOR=$(peer_net)
	clang -O2 -g -target bpf -mcpu=v3 -I/usr/include/"$(uname -m)"-linux-gnu -c tests/bench/floor.bpf.c -o "$TMP/floor.o"
	until_ok 10 in_net "$FLOOR" ip link set lo up
	in_net "$FLOOR" tc qdisc add dev lo clsact
	in_net "$FLOOR" tc filter add dev lo ingress bpf da obj "$TMP/floor.o" sec tc || fail "floor"
}
# One look-up at a time of whoever is at an address.
ndots_load() { # address, look-ups; what enters another namespace
	printf 'nameserver %s\nsearch shop.service.mesh.internal service.mesh.internal mesh.internal nodes.corp\noptions ndots:5 timeout:5 attempts:1\n' "$1" >"$TMP/ndots-resolv"
	# shellcheck disable=SC2016 # for the inner shell
	"${@:3}" unshare --mount -- bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$TMP/ndots-resolv" "$T/gaiload" -n "$2" example.com
}
bench_ndots() {
	local s n=2000 FLOOR
	[ -z "${BENCH_QUICK:-}" ] || n=500
	declare -A at=([ours]=127.0.0.1 [unbound]=127.0.0.12 [dnsmasq]=127.0.0.13 [floor]=127.0.0.1)
	ndots_floor
	ndots_unbound world 127.0.0.11 " local-zone: 'com.' static
 local-data: 'com. 3600 SOA ns.com. host.com. 1 3600 600 86400 3600'
 local-data: 'example.com. 3600 A 192.0.2.1'
 local-data: 'example.com. 3600 AAAA 2001:db8::1'
 local-zone: 'corp.' static
 local-data: 'corp. 3600 SOA ns.corp. host.corp. 1 3600 600 86400 3600'
 local-zone: 'mesh.internal.' static
 local-data: 'mesh.internal. 3600 SOA ns.mesh.internal. host.mesh.internal. 1 3600 600 86400 3600'"
	ndots_unbound unbound 127.0.0.12 "forward-zone:
 name: \".\"
 forward-addr: 127.0.0.11"
	peer ndots-dnsmasq dnsmasq --no-daemon --conf-file=/dev/null --listen-address=127.0.0.13 --bind-interfaces --no-hosts --no-resolv --server=127.0.0.11 \
		--cache-size=10000 --user=root --pid-file= --log-facility=-
	start_agent --set dns.upstream=list --set dns.forward=.=127.0.0.11 --set dns.port53_addresses=127.0.0.1
	for s in ours unbound dnsmasq; do
		until_ok 20 ndots_load "${at[$s]}" 5 || fail "$s does not answer: $(tail -n 2 "$TMP"/peer-ndots-*.log)"
	done
	rm -f "$TMP"/look-*
	for _ in $(seq "$ROUNDS"); do
		for s in ours unbound dnsmasq; do ndots_load "${at[$s]}" $n >>"$TMP/look-$s" || fail "$s"; done
		ndots_load "${at[floor]}" $n in_net "$FLOOR" >>"$TMP/look-floor" || fail "floor"
	done
	heading "getaddrinfo(\"example.com\"), ndots:5, four search domains: ten questions"
	emit "ndots.p50" "us a look-up" "$(take p50_us "$TMP/look-ours" | median)" "" "" "<= 60" "glibc, lo, cached"
	for s in floor unbound dnsmasq; do
		row "ndots.p50.$s" "us a look-up" "$TMP/look-ours" "$TMP/look-$s" p50_us "" "glibc, lo, cached"
		row "ndots.p99.$s" "us a look-up" "$TMP/look-ours" "$TMP/look-$s" p99_us "" ""
		row "ndots.cpu.$s" "us machine CPU a look-up" "$TMP/look-ours" "$TMP/look-$s" machine_us "" ""
	done
	kill "$FLOOR"
	drop_agent
	stop_peers
}
