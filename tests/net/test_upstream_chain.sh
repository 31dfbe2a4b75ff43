#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A signed hierarchy from the root down, of algorithms and denials of each kind (NSEC, NSEC3, opt-out), and what
# goes wrong in such: each name has the rcode and the AD that RFC 4035 and 6840 say.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
for p in ldns-signzone delv; do
	command -v $p >/dev/null || {
		echo "skipped: $p is not installed (make deps-test)"
		exit 77
	}
done
for a in 20 21 22; do ip addr add "198.18.0.$a/32" dev lo; done
mkdir "$TMP/zones"
ROOTED=$PWD
cd "$TMP/zones" || exit 1
head_of() { printf '%s 60 IN SOA ns.%s host.%s 1 3600 600 86400 60\n%s 60 IN NS ns.%s\nns.%s 60 IN A %s\n' "$1" "$1" "$1" "$1" "$1" "$1" "$2"; }
leaf() { # zone
	head_of "$1." 198.18.0.22
	# shellcheck disable=SC2059 # the zone is in it
	printf "www.$1. 60 IN A 192.0.2.7\nforged.$1. 60 IN A 192.0.2.8\nalias.$1. 60 IN CNAME www.nsec3.world.\nout.$1. 60 IN CNAME www.plain.world.\n*.wild.$1. 60 IN A 192.0.2.9\n"
}
sign() { # zone, algorithm, options: its file, and its DS in DIR
	local zone=$1 key
	key=$(ldns-keygen -a "$2" -b 2048 -k "${zone/#root/.}") || fail "a key of $zone"
	ldns-signzone "${@:3}" -f "$zone.signed" "$zone" "$key" || fail "$zone is signed"
	mv "$zone.signed" "$zone"
	grep -v '^;' "$key.ds" >"ds.$zone"
}
delegate() { # zone of the parent, child, address
	printf '%s. 60 IN NS ns.%s.\nns.%s. 60 IN A %s\n' "$2" "$2" "$2" "$3" >>"$1"
	[ ! -e "ds.$2" ] || sed -E 's/\sIN\s/ 60 IN /' "ds.$2" | awk '{print $1, 60, "IN", "DS", $(NF-3), $(NF-2), $(NF-1), $NF}' >>"$1"
}
SIGNED="good.world nsec3.world rsa.world ed.world bogus.world expired.world future.world unsigned.world otherkey.world undenied.world good.land"
for zone in $SIGNED plain.world plain.land strange.world; do leaf $zone >$zone; done
sign good.world ECDSAP256SHA256
sign nsec3.world ECDSAP256SHA256 -n -s beef -t 0
sign rsa.world RSASHA256
sign ed.world ED25519
sign bogus.world ECDSAP256SHA256
sed -i 's/192\.0\.2\.8$/192.0.2.66/' bogus.world
sign expired.world ECDSAP256SHA256 -i 20200101000000 -e 20200201000000
sign future.world ECDSAP256SHA256 -i 20990101000000 -e 20990201000000
sign unsigned.world ECDSAP256SHA256
leaf unsigned.world >unsigned.world
sign otherkey.world ECDSAP256SHA256
sed -i -E 's/[0-9a-f]{8}$/00000000/' ds.otherkey.world
sign undenied.world ECDSAP256SHA256
grep -vE '\sNSEC\s' undenied.world >undenied && mv undenied undenied.world
sign good.land ECDSAP256SHA256 -n -s cafe -t 0
# an algorithm that nobody knows is none (RFC 4035 5.2)
printf 'strange.world. 60 IN DS 4711 200 2 %s\n' "$(printf 'ab%.0s' {1..32})" >ds.strange.world
head_of world. 198.18.0.21 >world
head_of land. 198.18.0.21 >land
for zone in $SIGNED plain.world plain.land strange.world; do delegate "${zone##*.}" $zone 198.18.0.22; done
sign world ECDSAP256SHA256
sign land ECDSAP256SHA256 -n -p -s f00d -t 0
printf '. 60 IN SOA ns.root. host. 1 3600 600 86400 60\n. 60 IN NS ns.root.\nns.root. 60 IN A 198.18.0.20\n' >root
delegate root world 198.18.0.21
delegate root land 198.18.0.21
sign root ECDSAP256SHA256
cd "$ROOTED" || exit 1
servers() { # address, zones
	local address=$1 zone
	shift
	{
		printf 'server:\n\tip-address: %s@53\n\tusername: ""\n\tchroot: ""\n\tzonesdir: "%s"\n\tdatabase: ""\n\tpidfile: ""\n\txfrdfile: "%s/xfrd.%s"\n\tzonelistfile: "%s/list.%s"\nremote-control:\n\tcontrol-enable: no\n' \
			"$address" "$TMP/zones" "$TMP" "$address" "$TMP" "$address"
		for zone in "$@"; do printf 'zone:\n\tname: "%s"\n\tzonefile: %s\n' "${zone/#root/.}" "$zone"; done
	} >"$TMP/nsd-$address.conf"
	(exec nsd -d -c "$TMP/nsd-$address.conf" >"$TMP/nsd-$address.log" 2>&1) &
	until_ok 20 dig +tries=1 +time=1 "@$address" "${1/#root/.}" SOA || fail "NSD answers: $(cat "$TMP/nsd-$address.log")"
}
servers 198.18.0.20 root
servers 198.18.0.21 world land
# shellcheck disable=SC2086 # words
servers 198.18.0.22 $SIGNED plain.world plain.land strange.world

printf '. 3600 IN NS ns.root.\nns.root. 3600 IN A 198.18.0.20\n' >"$TMP/hints"
start_agent --set dns.upstream=recursion --set "dns.root_hints=$TMP/hints" --set dns.validate=true \
	--set "dns.trust_anchor=$TMP/zones/ds.root"
# rcode, "ad" if it is said, addresses
found() {
	dig +tries=1 +time=10 @127.0.0.1 -p 8600 "$@" | awk '
		/status:/ { sub(/,/, "", $6); rcode = $6 }
		/^;; flags:/ { ad = / ad[ ;]/ ? " ad" : "" }
		$4 == "A" && !/^;/ { data = data " " $5 }
		END { print rcode ad data }'
}
while read -r name expected; do
	check "$name" "$expected" "$(found +adflag "$name")"
done <<-END
	www.good.world NOERROR ad 192.0.2.7
	www.nsec3.world NOERROR ad 192.0.2.7
	www.rsa.world NOERROR ad 192.0.2.7
	www.ed.world NOERROR ad 192.0.2.7
	www.good.land NOERROR ad 192.0.2.7
	x.wild.good.world NOERROR ad 192.0.2.9
	x.y.wild.nsec3.world NOERROR ad 192.0.2.9
	alias.good.world NOERROR ad 192.0.2.7
	out.good.world NOERROR 192.0.2.7
	none.good.world NXDOMAIN ad
	none.nsec3.world NXDOMAIN ad
	none.world NXDOMAIN ad
	wild.good.world NOERROR ad
	www.plain.world NOERROR 192.0.2.7
	none.plain.world NXDOMAIN
	alias.plain.world NOERROR 192.0.2.7
	www.plain.land NOERROR 192.0.2.7
	none.land NXDOMAIN
	www.strange.world NOERROR 192.0.2.7
	www.bogus.world NOERROR ad 192.0.2.7
	forged.bogus.world SERVFAIL
	www.expired.world SERVFAIL
	none.expired.world SERVFAIL
	www.future.world SERVFAIL
	www.unsigned.world SERVFAIL
	www.otherkey.world SERVFAIL
	www.undenied.world NOERROR ad 192.0.2.7
	none.undenied.world SERVFAIL
	x.wild.undenied.world SERVFAIL
END
check "a type that is not there" "NOERROR ad" "$(found +adflag www.good.world TXT)"
check "of NSEC3" "NOERROR ad" "$(found +adflag www.nsec3.world TXT)"
check "one whose denial is missing" SERVFAIL "$(found +adflag www.undenied.world TXT)"
check "who validates by himself gets all" "NOERROR 192.0.2.66" "$(found +cd +noadflag forged.bogus.world)"
check "expired ones, too" "NOERROR 192.0.2.7" "$(found +cd +noadflag www.expired.world)"
check "AD is for who knows it (RFC 6840 5.7)" "NOERROR 192.0.2.7" "$(found +noadflag www.rsa.world)"
check "or has DO" "NOERROR ad 192.0.2.7" "$(found +noadflag +dnssec www.rsa.world)"
sigs() { dig +tries=1 +time=10 +noall +answer +authority @127.0.0.1 -p 8600 "$@" | awk '$4 == "RRSIG"' | wc -l; }
check "signatures are for DO" "1 0" "$(sigs +dnssec www.good.world) $(sigs www.good.world)"
matches "denials, too" "^[2-9]$" "$(sigs +dnssec none.nsec3.world)"

# --- in the kernel: what is hot has the AD of its own, and nothing bogus is
hot() { # AD as it is asked for
	before=$(counter dns_hot)
	found "$@" >/dev/null
	[ "$(counter dns_hot)" -gt "$before" ]
}
for flags in "+adflag" "+noadflag" "+noadflag +dnssec"; do
	# shellcheck disable=SC2086 # words
	until_ok 10 hot $flags www.ed.world || fail "$flags is kept in the kernel"
	case $flags in +noadflag) ad='' ;; *) ad=' ad' ;; esac
	# shellcheck disable=SC2086 # words
	check "$flags by the kernel" "NOERROR$ad 192.0.2.7" "$(found $flags www.ed.world)"
done
for _ in 1 2 3 4; do found +cd forged.bogus.world >/dev/null; done
until_ok 10 hot +cd forged.bogus.world || fail "what was not judged is kept for who judges"
check "and for nobody else" SERVFAIL "$(found forged.bogus.world)"
for _ in 1 2 3 4; do found forged.bogus.world >/dev/null; done
hot forged.bogus.world && fail "an answer that failed is kept"

# --- another validator, which asks us for all that it needs
awk '{printf "trust-anchors { . static-ds %s %s %s \"%s\"; };\n", $(NF-3), $(NF-2), $(NF-1), $NF}' "$TMP/zones/ds.root" >"$TMP/anchors"
by_delv() { delv -a "$TMP/anchors" +root=. @127.0.0.1 -p 8600 "$@" 2>&1; }
for name in www.good.world www.nsec3.world x.wild.nsec3.world alias.good.world none.good.world none.nsec3.world www.good.land; do
	matches "delv on $name" "^; (negative response, )?fully validated" "$(by_delv $name)"
done
matches "delv on what is not signed" "^; unsigned answer" "$(by_delv www.plain.world)"
matches "delv on what is forged" "resolution failed" "$(by_delv forged.bogus.world)"
done_testing
