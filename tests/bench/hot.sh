# SPDX-License-Identifier: Apache-2.0
# hot.sh - names of others that are asked for often, beside caches that are made for it. Sourced by run.sh.
# shellcheck shell=bash
HOT_NAMES=1000
hot_peers() {
	local d=$TMP/hot
	mkdir -p "$d"
	{
		printf 'example. 3600 SOA ns.example. root.example. 1 3600 600 86400 60\nexample. 3600 NS ns.example.\nns.example. 3600 A 192.0.2.1\n'
		seq -f '%06g' 0 $((HOT_NAMES - 1)) | sed 's/.*/hot-&.example. 3600 A 192.0.2.7/'
	} >"$d/zone"
	printf 'server:\n ip-address: 127.0.0.1@5311\n server-count: 1\n username: ""\n pidfile: ""\n zonesdir: "%s"\n xfrdfile: ""\n zonelistfile: "%s/list"\n database: ""\nremote-control:\n control-enable: no\nzone:\n name: example\n zonefile: zone\n' "$d" "$d" >"$d/nsd.conf"
	printf 'server:\n interface: 127.0.0.1@5313\n num-threads: 1\n username: ""\n chroot: ""\n pidfile: ""\n use-syslog: no\n directory: "%s"\n do-daemonize: no\n do-not-query-localhost: no\n module-config: "iterator"\n local-zone: "example." nodefault\nremote-control:\n control-enable: no\nforward-zone:\n name: "."\n forward-addr: 127.0.0.1@5311\n' "$d" >"$d/unbound.conf"
	printf 'setLocal("127.0.0.1:5314")\nsetACL({"127.0.0.0/8"})\nnewServer("127.0.0.1:5311")\ngetPool(""):setCache(newPacketCache(10000))\n' >"$d/dnsdist.conf"
	peer nsd nsd -d -c "$d/nsd.conf"
	peer unbound unbound -d -c "$d/unbound.conf"
	peer dnsdist dnsdist --supervised --disable-syslog -C "$d/dnsdist.conf"
	for p in 5311 5313 5314; do
		until_ok 60 hot_load $p 50 || fail "the peer on port $p does not answer: $(tail -n 2 "$TMP"/peer-*.log)"
	done
}
hot_load() { "$T/dnsload" -p "$1" -t "$2" -n $HOT_NAMES -P hot-:.example "${@:3}"; } # port, ms
bench_hot() {
	local s
	declare -A port=([ours]=8600 [unbound]=5313 [dnsdist]=5314)
	hot_peers
	start_agent --set dns.upstream=list --set dns.forward=.=127.0.0.1@5311
	for _ in $(seq "$ROUNDS"); do
		for s in ours unbound dnsdist; do
			hot_load "${port[$s]}" $MS >/dev/null # what is asked twice is kept
			hot_load "${port[$s]}" $MS >>"$TMP/hot-$s" || fail "$s"
			hot_load "${port[$s]}" $((MS / 2)) -o >>"$TMP/hot-one-$s" || fail "$s"
		done
	done
	heading "DNS, $HOT_NAMES names of others that are asked for often"
	for s in dnsdist unbound; do
		row "hot.cpu.$s" "us machine CPU/query" "$TMP/hot-ours" "$TMP/hot-$s" machine_us "<= 0.45" "lo, its cache of answers"
		row "hot.p50.$s" "us, one in flight" "$TMP/hot-one-ours" "$TMP/hot-one-$s" p50_us "" "lo"
		row "hot.p99.$s" "us, one in flight" "$TMP/hot-one-ours" "$TMP/hot-one-$s" p99_us "" "lo"
	done
	[ "$(counter dns_hot)" -gt 0 ] || fail "the kernel answered nothing"
	drop_agent
	stop_peers
}
