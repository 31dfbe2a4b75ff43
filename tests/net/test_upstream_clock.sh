#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a node needs to validate is wrong: its clock, or the file of the keys that it follows. Names are found as soon as
# they can be, and what is wrong is said.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
command -v ldns-signzone >/dev/null || {
	echo "skipped: ldns-signzone is not installed (make deps-test)"
	exit 77
}
STEP=$PWD/build/release/tests/step_clock.so
[ -e "$STEP" ] || {
	echo "skipped: step_clock.so is not there (make FLAVOUR=release $STEP)"
	exit 77
}
mkdir "$TMP/nsd"
KEY=$(
	cd "$TMP/nsd" || exit 1
	key=$(ldns-keygen -a ECDSAP256SHA256 -k .)
	# shellcheck disable=SC2016
	printf '$TTL 1\n. 1 IN SOA ns. host. 1 3600 600 86400 1\n. 1 IN NS ns.\nns. 1 IN A 127.0.0.22\nwww. 1 IN A 192.0.2.7\n' >root
	sed -E 's/^\.\s+(IN|[0-9]+\s+IN)/. 1 IN/' "$key.key" >"$key.ttl" && cp "$key.ttl" "$key.key"
	ldns-signzone -f root.signed root "$key" && sed 's/192\.0\.2\.7/192.0.2.8/' root.signed >root
	echo "$key"
)
grep -h -v '^;' "$TMP/nsd/$KEY.ds" >"$TMP/anchors"
mv "$TMP/nsd/root.signed" "$TMP/nsd/right"
mv "$TMP/nsd/root" "$TMP/nsd/forged"
cp "$TMP/nsd/right" "$TMP/nsd/root"
serve_zones 127.0.0.22@5353 root
NSD=$!

options=(--set kernel.enabled=false --set dns.upstream=list --set dns.forward=.=127.0.0.22@5353 --set dns.validate=true
	--set "dns.trust_anchor=$TMP/anchors" --set dns.serve_stale=0)
follow=(--set dns.trust_anchor_follow=true --set dns.trust_anchor_hold=3s)
validated() { dig +tries=1 +time=15 +adflag @127.0.0.1 -p 8600 www. | grep -c 'flags:.* ad[ ;]'; }
is_validated() { [ "$(validated)" = 1 ]; }
fails() { [ "$(status_of www.)" = SERVFAIL ]; }
signed() { # by whom: right, forged
	cp "$TMP/nsd/$1" "$TMP/nsd/root"
	kill -HUP "$NSD"
}
said() {
	fails
	log_has dns.clock "is this node's clock right"
}
log_has() { grep -qE "event=$1 .*$2" "$TMP/agent.log"; }
YEAR=31557600
clock() { # seconds that the clock is off
	echo "$1" >"$TMP/clock.new"
	mv "$TMP/clock.new" "$TMP/clock"
}
stepped() { # agent options
	STEP_CLOCK=$TMP/clock LD_PRELOAD=$STEP ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0 start_agent "${options[@]}" "$@"
}

# --- a clock that has lost the time: signatures count, their dates do not, until it is set
for how in "" follow; do
	set --
	[ -z "$how" ] || set -- "${follow[@]}"
	: >"$TMP/agent.log"
	clock $((-40 * YEAR))
	stepped "$@"
	check "forty years behind${how:+, keys are followed}: names are found" 192.0.2.7 "$(ask www.)"
	check "and are validated" 1 "$(validated)"
	log_has dns.clock "years behind: until it is set" || fail "it is said: $(cat "$TMP/agent.log")"
	signed forged
	until_ok 20 fails || fail "what is forged is not taken: $(dig @127.0.0.1 -p 8600 www.)"
	signed right
	clock 0
	until_ok 20 log_has dns.clock "is set: dates of signatures count" || fail "it is said that it is set"
	until_ok 20 is_validated || fail "names are found, and validated: $(dig @127.0.0.1 -p 8600 www.)"

	# --- one that is ahead: nothing can be validated, which is said; and is over when it is right
	clock $((5 * YEAR))
	until_ok 20 fails || fail "years ahead: signatures are over"
	[ -n "$how" ] || until_ok 60 said || fail "what it may be is said: $(cat "$TMP/agent.log")"
	clock 0
	until_ok 120 is_validated || fail "the clock is right, and names are found: $(dig @127.0.0.1 -p 8600 www.)"
	[ -z "$how" ] || matches "the key is followed still" "id = $(sed -E 's/.*\+0*//' <<<"$KEY") .*VALID" "$(cat "$TMP/data/dns-anchors")"
	stop_agent
done

# --- the file of the keys that are followed
FILE=$TMP/data/dns-anchors
until_ok 10 grep -q VALID "$FILE" || fail "keys are followed: $(cat "$FILE")"
cp "$FILE" "$TMP/good"
begins_anew() { # what was in the file
	rm -rf "$FILE.bad"
	cp -a "$FILE" "$TMP/was" 2>/dev/null
	: >"$TMP/agent.log"
	start_agent "${options[@]}" "${follow[@]}"
	check "$1: names are found" 192.0.2.7 "$(ask www.)"
	until_ok 20 is_validated || fail "$1: and validated"
	log_has dns.trust_anchor "begun anew" || fail "$1: it is said"
	[ -e "$FILE.bad" ] || fail "$1: what was there is kept"
	stop_agent
	grep -q VALID "$FILE" || fail "$1: keys are followed again: $(cat "$FILE")"
}
: >"$FILE"
begins_anew "empty"
head -c 300 /dev/urandom >"$FILE"
begins_anew "octets of no meaning"
head -c $(($(wc -c <"$TMP/good") - 130)) "$TMP/good" >"$FILE"
head -c 130 /dev/zero >>"$FILE"
begins_anew "its end was not written"
printf '; nothing\n' >"$FILE"
begins_anew "no key"
rm "$FILE"
mkdir "$FILE"
begins_anew "a folder"
rm -rf "$FILE"
mkdir -p "$FILE/here" "$FILE.bad/there"
: >"$TMP/agent.log"
start_agent "${options[@]}" "${follow[@]}"
check "none can be written: names are found" 192.0.2.7 "$(ask www.)"
check "and validated, by the keys to begin with" 1 "$(validated)"
log_has dns.trust_anchor "keys are not followed" || fail "it is said"
stop_agent
rm -r "$FILE" "$FILE.bad"
cp "$TMP/good" "$FILE"
: >"$TMP/agent.log"
start_agent "${options[@]}" "${follow[@]}"
until_ok 20 is_validated || fail "one that is right"
log_has dns.trust_anchor "begun anew" && fail "it is not begun anew"
stop_agent
# --- all keys of the domain were revoked: it counts as one that nobody signs
sed 's/;;state=2 \[ *VALID *\]/;;state=4 [ REVOKED ]/' "$TMP/good" >"$FILE"
start_agent "${options[@]}" "${follow[@]}"
check "no key is left: names are found" 192.0.2.7 "$(ask www.)"
check "another resolver begins" 200 "$(operator_code -X DELETE "$API/v1/waymark/dns/cache?name=www.")"
check "which finds them, too" 192.0.2.7 "$(ask www.)"
stop_agent
done_testing
