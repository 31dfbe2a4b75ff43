#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The key that DNSSEC begins with is rolled (RFC 5011): who follows it goes on, over a restart, too; who does not, ends.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
command -v ldns-signzone >/dev/null || {
	echo "skipped: ldns-signzone is not installed (make deps-test)"
	exit 77
}
mkdir "$TMP/nsd"
key() { (cd "$TMP/nsd" && ldns-keygen -a ECDSAP256SHA256 -k .); }
OLD=$(key)
NEW=$(key)
SERIAL=1
sign() { # keys: a root of two second's TTL, signed by them, is served
	SERIAL=$((SERIAL + 1))
	(
		cd "$TMP/nsd" || exit 1
		# shellcheck disable=SC2016
		printf '$TTL 2\n. 2 IN SOA ns. host. %d 3600 600 86400 2\n. 2 IN NS ns.\nns. 2 IN A 127.0.0.22\nwww. 2 IN A 192.0.2.7\n' $SERIAL >root
		for k in "$@"; do sed -E 's/^\.\s+(IN|[0-9]+\s+IN)/. 2 IN/' "$k.key" >"$k.ttl" && cp "$k.ttl" "$k.key"; done
		ldns-signzone -f root.new root "$@" && mv root.new root.signed
	) || fail "signed"
	[ -z "${NSD:-}" ] || kill -HUP "$NSD"
}
grep -h -v '^;' "$TMP/nsd/$OLD.ds" >"$TMP/anchors"
sign "$OLD"
printf 'server:\n\tip-address: 127.0.0.22@5353\n\tusername: ""\n\tchroot: ""\n\tzonesdir: "%s"\n\tdatabase: ""\n\tpidfile: ""\n\txfrdfile: "%s/xfrd"\n\tzonelistfile: "%s/list"\nremote-control:\n\tcontrol-enable: no\nzone:\n\tname: "."\n\tzonefile: root.signed\n' "$TMP/nsd" "$TMP/nsd" "$TMP/nsd" >"$TMP/nsd.conf"
(exec nsd -d -c "$TMP/nsd.conf" >"$TMP/nsd.log" 2>&1) &
NSD=$!
until_ok 10 dig +tries=1 +time=1 @127.0.0.22 -p 5353 www. || fail "NSD answers: $(cat "$TMP/nsd.log")"

options=(--set kernel.enabled=false --set dns.upstream=list --set dns.forward=.=127.0.0.22@5353 --set dns.validate=true
	--set "dns.trust_anchor=$TMP/anchors" --set dns.serve_stale=0)
follow=(--set dns.trust_anchor_follow=true --set dns.trust_anchor_hold=3s)
tag() { sed -E 's/.*\+//' <<<"$1" | sed 's/^0*//'; }
validated() { dig +tries=1 +time=15 +adflag @127.0.0.1 -p 8600 www. | grep -q 'flags:.* ad[ ;]'; }
alone_is() { # key, state: of RFC 5011 4.2
	grep -qE "id = $(tag "$1") .*\[ *$2 *\]" "$TMP/data/dns-anchors"
}
state_is() {
	validated
	alone_is "$@"
}
start_agent "${options[@]}" "${follow[@]}"
until_ok 20 validated || fail "it is validated by the old key: $(dig @127.0.0.1 -p 8600 www.)"
until_ok 20 state_is "$OLD" VALID || fail "the old key is kept: $(cat "$TMP/data/dns-anchors")"
sign "$OLD" "$NEW"
until_ok 30 state_is "$NEW" "(ADDPEND|VALID)" || fail "the new key is seen: $(cat "$TMP/data/dns-anchors")"
until_ok 60 state_is "$NEW" VALID || fail "the new key is trusted: $(cat "$TMP/data/dns-anchors")"
sign "$NEW"
until_ok 30 state_is "$OLD" MISSING || fail "the old key is gone: $(cat "$TMP/data/dns-anchors")"
until_ok 20 validated || fail "it is validated by the new key: $(dig @127.0.0.1 -p 8600 www.)"
stop_agent
start_agent "${options[@]}" "${follow[@]}"
until_ok 20 validated || fail "and so after a restart: $(dig @127.0.0.1 -p 8600 www.)"
stop_agent
# --- nobody asks but the agent itself
rm "$TMP/data/dns-anchors"
grep -h -v '^;' "$TMP/nsd/$NEW.ds" >"$TMP/anchors"
sign "$NEW"
start_agent "${options[@]}" "${follow[@]}" --set dns.trust_anchor_every=1s
until_ok 30 alone_is "$NEW" VALID || fail "the key is asked for by the agent itself: $(cat "$TMP/data/dns-anchors")"
# --- a stuck disk is waited for by nobody
stop_agent
HOLD=$TMP/hold
LD_PRELOAD=$PWD/build/release/tests/slow_sync.so SLOW_SYNC_HOLD=$HOLD SLOW_SYNC_BELOW=$TMP \
	ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0 \
	start_agent "${options[@]}" "${follow[@]}" --set dns.trust_anchor_every=1s
touch "$HOLD"
LATER=$(key)
sign "$NEW" "$LATER"
until_ok 60 alone_is "$LATER" "(ADDPEND|VALID)" || fail "the disk is stuck, and a key is seen: $(cat "$TMP/data/dns-anchors")"
rm "$HOLD"
until_ok 90 alone_is "$LATER" VALID || fail "and another is seen, and trusted: $(cat "$TMP/data/dns-anchors")"
check "no client has asked" 0 "$(upstream_counter dns_upstream_asked)"
# --- who is asked beside it reads what it trusts, from the file that it alone writes
check "another resolver begins" 200 "$(operator_code -X DELETE "$API/v1/waymark/dns/cache?name=www.")"
check "of that name" 1 "$(upstream_counter dns_upstream_name_flushed)"
until_ok 10 validated || fail "it trusts both keys"
sign "$LATER"
until_ok 60 alone_is "$NEW" MISSING || fail "the one before is gone: $(cat "$TMP/data/dns-anchors")"
until_ok 20 validated || fail "by the one that is left"
ADDED=$(key)
sign "$LATER" "$ADDED"
until_ok 60 alone_is "$ADDED" VALID || fail "one more is trusted: $(cat "$TMP/data/dns-anchors")"
sign "$ADDED"
until_ok 20 validated || fail "the other resolver trusts it, too: $(dig @127.0.0.1 -p 8600 www.) $(cat "$TMP/data/dns-anchors")"
matches "counted" "^([2-9]|[0-9]{2,}) 0$" "$(upstream_counter dns_upstream_keys) $(upstream_counter dns_upstream_keys_failed)"
stop_agent
grep -h -v '^;' "$TMP/nsd/$OLD.ds" >"$TMP/anchors"
start_agent "${options[@]}"
check "who does not follow has the old one" SERVFAIL "$(status_of www.)"
stop_agent
rm "$TMP/data/dns-anchors"
start_agent --set kernel.enabled=false --set dns.upstream=list --set dns.forward=.=127.0.0.22@5353 --set dns.validate=true "${follow[@]}"
check "the root's keys are not those of this root" SERVFAIL "$(status_of www.)"
check "and are what is followed" 2 "$(grep -cE 'DS.*(20326|38696)' "$TMP/data/dns-anchors")"
done_testing
