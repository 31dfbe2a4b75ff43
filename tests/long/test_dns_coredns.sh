#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# As tests/net/test_dns_recipes.sh, in CoreDNS, which Debian does not have.
cd "$(dirname "$0")/../.." || exit 2
[ -n "${WM_NET_TEST:-}" ] || tests/long/coredns/build.sh || exit # the test itself has no network
# shellcheck source=tests/net/lib.sh
. tests/net/lib.sh
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
# shellcheck source=tests/net/recipes.sh
. tests/net/recipes.sh
recipes_begin
corefile() { # name of the recipe's block: it, and a server for names of others, as sites have one
	recipe "$1" >"$TMP/recipe.$1"
	[ -s "$TMP/recipe.$1" ] || fail "docs/dns.md has a recipe of $1"
	printf '%s\n. {\n\tbind %s\n\terrors\n\tcache 30\n\tforward . 127.0.0.11\n}\n' "$(cat "$TMP/recipe.$1")" "$address" >"$TMP/Corefile.$1"
}

address=127.0.0.24
ip addr add $address/32 dev lo
corefile coredns
sed -i "0,/{/s//{\n\tbind $address/" "$TMP/Corefile.coredns" # the agent's own 8600 apart, others listen here, too
build/coredns/coredns -conf "$TMP/Corefile.coredns" >"$TMP/coredns.log" 2>&1 &
tried coredns
done_testing
