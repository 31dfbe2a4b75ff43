#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_keyring.sh - the keys of datagrams are changed while all agents run: add, use, remove, while
# registrations go on and nobody is taken for failed; who is down is named; a restart keeps what was changed;
# what is sealed with a removed key is not opened.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

ask_socket() { # node, curl's arguments, the last a path
	local i=$1
	shift
	on "$i" curl -s --max-time 30 --unix-socket "$TMP/n$i.sock" "${@:1:$#-1}" "http://localhost${*: -1}"
}
print_of() { base64 -d <<<"$1" | sha256sum | cut -c1-32; }

mesh_up 3
mkdir -m 700 "$TMP/ca"
"$CTL" ca init --dir "$TMP/ca" >/dev/null || fail "ca init"
for i in 1 2 3; do "$CTL" ca issue "n$i" --dir "$TMP/ca" >/dev/null || fail "ca issue"; done
old=$("$CTL" keyring generate)
new=$("$CTL" keyring generate)
(umask 077 && for i in 1 2 3; do echo "$old" >"$TMP/keyring$i"; done)
sealed_agent() { # node, more options
	local i=$1
	shift
	node_agent "$i" --set "sync.ca_file=$TMP/ca/ca.pem" --set "sync.cert_file=$TMP/ca/n$i.pem" \
		--set "sync.key_file=$TMP/ca/n$i-key.pem" --set "sync.keyring_file=$TMP/keyring$i" "$@"
}
for i in 1 2 3; do sealed_agent "$i"; done
until_ok 20 all_alive 3 1 2 3 || fail "three agents with certificates do not find each other"

# --- registrations go on all the while -----------------------------------------------------------------
(
	n=0
	while [ ! -e "$TMP/stop" ]; do
		n=$((n + 1))
		[ "$(register_on 1 "w-$((n % 20))" web 10.77.0.1 "$((8000 + n % 1000))")" = 200 ] || echo "registration $n failed"
		sleep 0.05
	done
	echo "$n were made"
) >"$TMP/writes" &
writer=$!

# --- who may ---------------------------------------------------------------------------------------------
check "over TCP it is refused" 403 "$(api_of 1 -o /dev/null -w '%{http_code}' /v1/operator/keyring)"
check "Waymark's own too" 403 "$(api_of 1 -o /dev/null -w '%{http_code}' /v1/waymark/keyring)"

# --- Consul's list -----------------------------------------------------------------------------------------
check "the list, as Consul has it" "[{\"WAN\":false,\"Datacenter\":\"dc1\",\"Segment\":\"\",\"Keys\":{\"$old\":3},\"PrimaryKeys\":{\"$old\":3},\"NumNodes\":3}]" \
	"$(ask_socket 1 '/v1/operator/keyring?relay-factor=3&local-only=true')"
status() { ask_socket 1 -o /dev/null -w '%{http_code}' "$@"; }
check "a relay factor that is too large" 400 "$(status '/v1/operator/keyring?relay-factor=6')"
check "one that is none" 400 "$(status '/v1/operator/keyring?relay-factor=a')"
check "local-only of a change" 400 "$(status -X POST -d "{\"Key\": \"$new\"}" '/v1/operator/keyring?local-only=1')"
check "what is no key" 400 "$(status -X POST -d '{"Key": "abc"}' /v1/operator/keyring)"
check "a key that nobody has is not used" 404 "$(status -X PUT -d "{\"Key\": \"$new\"}" /v1/operator/keyring)"
check "nor removed" 404 "$(status -X DELETE -d "{\"Key\": \"$new\"}" /v1/operator/keyring)"
check "the only one is not removed" 409 "$(status -X DELETE -d "{\"Key\": \"$old\"}" /v1/operator/keyring)"

# --- add, use, remove -----------------------------------------------------------------------------------------
check "add" "3 of 3 members have $(print_of "$new")" "$(ctl_of 2 keyring add - <<<"$new")"
matches "the list for people" "^$(print_of "$new") +3 +0 +3\$" "$(ctl_of 3 keyring list)"
check "use, by its fingerprint" "3 of 3 members seal with $(print_of "$new")" "$(ctl_of 3 keyring use "$(print_of "$new")")"
matches "what is neither key nor fingerprint" 'or its fingerprint of 32 hexadecimal digits' "$(ctl_of 3 keyring use 0badbeef 2>&1)"
check "all seal with it" "{\"$new\":3}" "$(ask_socket 2 /v1/operator/keyring | jq -c '.[0].PrimaryKeys')"
ctl_of 1 keyring remove "$new" 2>"$TMP/refused" && fail "the key in use was removed"
matches "why not" 'members seal with this key: use another one first: n1, n2, n3' "$(cat "$TMP/refused")"
check "remove, over Consul's door" 200 "$(status -X DELETE -d "{\"Key\": \"$old\"}" /v1/operator/keyring)"
check "one is left" "{\"$new\":3}" "$(ask_socket 1 /v1/operator/keyring | jq -c '.[0].Keys')"
for i in 1 2 3; do
	check "node $i keeps it for its user alone" 600 "$(stat -c %a "$TMP/n$i/keyring")"
done

check "nobody was taken for failed" "" "$(grep -h event=member.failed "$TMP"/n[123].log)"

# --- one is down: it is named ---------------------------------------------------------------------------------------
node_stop 3 KILL
until_ok 20 all_alive 2 1 2 || fail "node 3 is not taken for failed"
third=$("$CTL" keyring generate)
seen=$(ctl_of 1 keyring add "$third")
check "the exit status where one lacks it" 1 $?
matches "who has it" "^2 of 3 members have $(print_of "$third")" "$seen"
matches "who has not" '^NOT at n3: it did not answer' "$seen"
ctl_of 1 keyring use "$third" 2>"$TMP/refused" && fail "a key that n3 lacks is used"
matches "who lacks it" '1 of 3 members do not have the key .*: n3 \(no answer\)' "$(cat "$TMP/refused")"
check "in Consul's list too" '["n3"]' "$(ask_socket 1 /v1/operator/keyring | jq -c '.[0].Messages | keys')"
sealed_agent 3
until_ok 20 all_alive 3 1 2 3 || fail "node 3 is not back: a restart lost its keys"
check "what it has after the restart" "$(print_of "$new")" "$(ctl_of 1 --json keyring list | jq -r '.members[] | select(.name == "n3").keys | join(" ")')"

# --- one comes back with a key that was removed meanwhile: it is not understood, and can be mended ---------------------
node_stop 3 KILL
until_ok 20 all_alive 2 1 2 || fail "node 3 is not taken for failed again"
ctl_of 1 keyring use --force "$third" >/dev/null
ctl_of 1 keyring remove "$new" >/dev/null
check "the two seal with the third" "$(print_of "$third")" "$(ctl_of 1 --json keyring list | jq -r '[.members[] | select(.answered).keys[]] | unique | join(" ")')"
unsealed() { api_of 1 /v1/waymark/sync | jq .counters.sync_unsealed; }
before=$(unsealed)
sealed_agent 3
more_unsealed() { [ "$(unsealed)" -gt "$before" ]; }
until_ok 20 more_unsealed || fail "datagrams under the removed key are opened"
mended() { ctl_of 1 keyring add "$third" >/dev/null; }
until_ok 30 mended || fail "the key does not reach node 3 over its streams"
check "and it seals with it" "3 of 3 members seal with $(print_of "$third")" "$(ctl_of 3 keyring use "$third")"
ctl_of 1 keyring remove "$new" >/dev/null
until_ok 20 all_alive 3 1 2 3 || fail "node 3 is not back with the new key"
check "one key, everywhere" "{\"$third\":3}" "$(ask_socket 3 /v1/operator/keyring | jq -c '.[0].Keys')"

# --- the operator's file stands again once it says something else -------------------------------------------------------
failed_at_1() { sed -n 's/.*event=member.failed node=\(n.\).*/\1/p' "$TMP/n1.log" | sort | paste -sd' '; }
away_2() { # and counts as failed, before it is back: a restart that is quicker is told otherwise
	node_stop 2
	counts() { [ "$(failed_at_1)" = "$1" ]; }
	until_ok 20 counts "$1" || fail "node 2 is not seen to be away: $(failed_at_1)"
}
away_2 "n2 n3 n3"
sealed_agent 2
until_ok 20 all_alive 3 1 2 3 || fail "node 2 is not back"
check "a restart keeps what was changed" "$(print_of "$third")" "$(ctl_of 2 --json keyring list | jq -r '.members[] | select(.name == "n2").keys | join(" ")')"
away_2 "n2 n2 n3 n3"
(umask 077 && printf '%s\n%s\n' "$third" "$old" >"$TMP/keyring2")
sealed_agent 2
check "another file" "$(print_of "$third") $(print_of "$old")" "$(ctl_of 2 --json keyring list | jq -r '.members[] | select(.name == "n2").keys | join(" ")')"
grep -q keyring.replaced "$TMP/n2.log" || fail "the log does not say that the file has other keys"
until_ok 20 all_alive 3 1 2 3 || fail "node 2 is not back with the file's keys"

: >"$TMP/stop"
wait "$writer"
check "registrations that failed" "" "$(grep failed "$TMP/writes")"
tail -n 1 "$TMP/writes"
# n3 was killed twice, and n2 was stopped twice
check "members taken for failed at node 1" "n2 n2 n3 n3" "$(failed_at_1)"
check "keys in the logs" "" "$(grep -lF -e "$old" -e "$new" -e "$third" "$TMP"/n*.log)"

for i in 1 2 3; do node_stop "$i"; done
done_testing
