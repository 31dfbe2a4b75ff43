#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The recipes of docs/dns.md, as they stand there, in the real programs: our names are found by way of each,
# none is kept when its service is gone, names of others are asked of others.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
# shellcheck source=tests/net/recipes.sh
. tests/net/recipes.sh
for p in dnsmasq named; do
	command -v $p >/dev/null || {
		echo "skipped: $p is not installed (make deps-test)"
		exit 77
	}
done
recipes_begin

# --- dnsmasq
address=127.0.0.21
recipe dnsmasq >"$TMP/dnsmasq.conf"
[ -s "$TMP/dnsmasq.conf" ] || fail "docs/dns.md has a recipe of dnsmasq"
dnsmasq --no-daemon --conf-file="$TMP/dnsmasq.conf" --stop-dns-rebind --listen-address=$address --bind-interfaces --no-hosts \
	--no-resolv --server=127.0.0.11 --user=root --pid-file= --log-facility=- 2>"$TMP/dnsmasq.log" &
tried dnsmasq

# --- Unbound, which validates
address=127.0.0.22
recipe unbound >"$TMP/recipe.conf"
[ -s "$TMP/recipe.conf" ] || fail "docs/dns.md has a recipe of Unbound"
printf 'server:\n\tinterface: %s\n\tusername: ""\n\tchroot: ""\n\tdirectory: "%s"\n\tpidfile: ""\n\tuse-syslog: no
	module-config: "validator iterator"\n\tprivate-address: 10.0.0.0/8\n\tprivate-address: fd00::/8
	trust-anchor: ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
include: "%s"\nforward-zone:\n\tname: "."\n\tforward-addr: 127.0.0.11\nremote-control:\n\tcontrol-enable: no\n' \
	$address "$TMP" "$TMP/recipe.conf" >"$TMP/unbound.conf"
unbound -d -c "$TMP/unbound.conf" 2>"$TMP/unbound.log" &
tried unbound

# --- BIND, which validates
address=127.0.0.23 # an address of a link: BIND listens on no others
ip addr add $address/32 dev lo
recipe bind >"$TMP/recipe.bind"
[ -s "$TMP/recipe.bind" ] || fail "docs/dns.md has a recipe of BIND"
cat >"$TMP/bind.options" <<END
	directory "$TMP"; pid-file none; session-keyfile none; listen-on { $address; }; listen-on-v6 { none; };
	dnssec-validation auto; forwarders { 127.0.0.11; }; forward only;
END
sed "/^options {/r $TMP/bind.options" "$TMP/recipe.bind" >"$TMP/named.conf"
printf 'controls { };\n' >>"$TMP/named.conf"
named -g -u root -c "$TMP/named.conf" 2>"$TMP/bind.log" &
tried bind
done_testing
