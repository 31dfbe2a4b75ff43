#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What resolvers ask: names behind search lists, answers of every size, and who they find first.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/resolvers.sh
. tests/net/resolvers.sh

start_agent --set dns.port53_addresses=127.0.0.1
resolvers_build
check "register web" 200 "$(register web-1 web 127.0.0.2 80)"

# --- a question that repeats its suffix is answered, once, by whoever is asked
for how in +notcp +tcp; do
	for name in web.service.mesh.internal.mesh.internal web.service.mesh.internal.service.mesh.internal \
		web.service.mesh.internal.web.service.mesh.internal; do
		for type in A AAAA SRV TXT; do
			check "$name $type $how" NXDOMAIN "$(status_of "$name" $type $how)"
		done
	done
done
for lib in glibc musl; do
	[ -x "$TMP/resolve-$lib" ] || continue
	for search in mesh.internal "service.mesh.internal mesh.internal dc1.mesh.internal"; do
		for name in web.service.mesh.internal web.service web; do
			# a lost question costs half a minute
			seen=$(resolving "search $search
options ndots:5 timeout:30 attempts:1" timeout 300 "$TMP/resolve-$lib" first $name 20 2>&1 | sort -u)
			case "$name in $search" in
			"web in mesh.internal") check "$lib: $name with search $search" "" "$seen" ;;
			*) check "$lib: $name with search $search" 127.0.0.2 "$seen" ;;
			esac
		done
	done
done

# --- all that fits, and TC where something does not
for i in $(seq 60); do
	register "many-$i" many "10.2.0.$i" 80 >/dev/null
	[ "$i" != 12 ] || {
		check "twelve A" 12 "$(ask many.service.mesh.internal A +bufsize=8192 +ignore | wc -l)"
		check "twelve A without EDNS" 12 "$(ask many.service.mesh.internal A +noedns +ignore | wc -l)"
		check "twelve SRV" 12 "$(ask many.service.mesh.internal SRV +bufsize=8192 +ignore | wc -l)"
	}
done
flags() { dig +tries=1 +time=15 @127.0.0.1 -p 8600 "$@" | sed -n 's/^;; flags:\([a-z ]*\);.*/\1/p'; }
all_60() { [ "$(ask many.service.mesh.internal A +bufsize=4096 +ignore | wc -l)" = 60 ]; }
until_ok 10 all_60 || fail "sixty A in one datagram"
matches "sixty A do not fit 512 octets" tc "$(flags many.service.mesh.internal A +noedns +ignore)"
check "and come over TCP" 60 "$(ask many.service.mesh.internal A +noedns | wc -l)"
matches "nor do sixty SRV fit 1232" tc "$(flags many.service.mesh.internal SRV +bufsize=4096 +ignore)"
check "and come over TCP" 60 "$(ask many.service.mesh.internal SRV | wc -l)"

# --- the order of getaddrinfo() is even among those that are usable, whoever is down between them
for i in $(seq 10); do
	case $i in 4 | 5 | 8) status=passing ;; *) status=critical ;; esac
	register "ten-$i" ten "10.1.0.$i" 80 "\"Check\": {\"TTL\": \"1h\", \"Status\": \"$status\"}" >/dev/null
done
for lib in glibc musl; do
	[ -x "$TMP/resolve-$lib" ] || continue
	resolving "options timeout:5" "$TMP/resolve-$lib" first ten.service.mesh.internal 20000 >"$TMP/first"
	# chi-square, two degrees of freedom: above 41.4 once in a thousand million
	check "$lib: who comes first in 20,000 look-ups" "20000 3 even" "$(sort "$TMP/first" | uniq -c | awk '
		{ n += $1; seen[NR] = $1 }
		END { for (i in seen) x += (seen[i] - n / NR) ^ 2 / (n / NR); print n, NR, x < 41.4 ? "even" : x }')"
done
done_testing
