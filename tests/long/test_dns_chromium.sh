#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Chromium with its built-in DNS client, which asks for A, AAAA and HTTPS at once and from ports of its own: it
# loads a page of a service by its name and by its virtual name, and one of others', and is told what is not there.
cd "$(dirname "$0")/../.." || exit 2
[ -n "${WM_NET_TEST:-}" ] || tools/deps.sh chromium >/dev/null 2>&1 # the test itself has no network
# shellcheck source=tests/net/lib.sh
. tests/net/lib.sh
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
# shellcheck source=tests/net/resolvers.sh
. tests/net/resolvers.sh
command -v chromium >/dev/null || {
	echo "skipped: chromium is not installed, and could not be"
	exit 77
}
ip addr add 198.18.0.1/32 dev lo # a node that has loopback alone is offline for it
serve others 127.0.0.11 53 "	local-zone: \"example.\" static
	local-data: 'www.example. 300 A 127.1.0.2'"
start_agent --set dns.upstream=list --set dns.forward=.=127.0.0.11 --set dns.port53_addresses=127.0.0.1
backend ours 127.1.0.1 8081
backend theirs 127.1.0.2 80
backend web 127.1.0.3 80
check "register" "200 200" "$(register shop-1 shop 127.1.0.1 8081) $(register web-1 web 127.1.0.3 80)"

browse() { # name, url: what the page says; what its network stack did is in $TMP/NAME.net
	inside unshare --mount -- bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$TMP/resolv.conf" \
		chromium --headless=new --no-sandbox --disable-gpu --user-data-dir="$TMP/profile" --no-first-run --disable-background-networking \
		--enable-features=AsyncDns --log-net-log="$TMP/$1.net" --timeout=30000 --dump-dom "$2" 2>"$TMP/$1.err" | sed 's/<[^>]*>//g' | grep .
}
asked() { # name, host: how often its own client asked, by its log
	/usr/bin/python3 - "$TMP/$1.net" "$2" <<-'END'
		import json, sys
		log = json.load(open(sys.argv[1]))
		kind = log["constants"]["logEventTypes"]["DNS_TRANSACTION"]
		print(sum(e["type"] == kind and e.get("params", {}).get("hostname", "").rstrip(".") == sys.argv[2] for e in log["events"]))
	END
}
printf 'nameserver 127.0.0.1\n' >"$TMP/resolv.conf"
for page in "service web.service.mesh.internal http://web.service.mesh.internal/ web" \
	"virtual shop.virtual.mesh.internal http://shop.virtual.mesh.internal/ ours" \
	"other www.example http://www.example/ theirs"; do
	read -r what host url says <<<"$page"
	check "$what: the page" "$says" "$(browse "$what" "$url")"
	[ "$(asked "$what" "$host")" -ge 2 ] || fail "$what: its own client asked: $(asked "$what" "$host"); $(tail -3 "$TMP/$what.err")"
done
before=$(counter dns_nxdomain)
browse none http://none.service.mesh.internal/ >"$TMP/none"
[ $(($(counter dns_nxdomain) - before)) -ge 2 ] || fail "the kernel says what is not there: $(counter dns_nxdomain), before $before"
[ "$(asked none none.service.mesh.internal)" -ge 2 ] || fail "its own client asked for what is not there"
done_testing
