#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_bounds.sh - what each message between agents may have, one bound after the other: a member that sends as
# much goes on being heard, one more octet, field or element and its stream is ended, it is counted, and the log
# names the bound (hostile_peer.py has the messages).
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"
source "$(dirname "$0")/hostile.sh"

mesh_up 3
mesh_keys 3
# shellcheck disable=SC2046 # words
for i in 1 2; do node_agent "$i" $(tls_of "$i"); done
until_ok 30 all_alive 2 1 2 || fail "not both are there"
hostile_up 3

refused() { grep -c 'sync.stream_refused.*10.77.0.3' "$TMP/n1.log"; }
bound() { # name, a pattern of the log
	local before
	before=$(refused)
	attack "at-$1" open "" ''
	check "at-$1: is not refused" "$before" "$(refused)"
	attack "over-$1" closed sync_streams_refused "$2"
}
bound spread-octets 'spread: a message of 263169 octets, 263168 are allowed'
bound spread-ids 'a message of its tree cannot be read'
bound spread-others 'a message of its tree cannot be read'
bound replica-octets 'replica: a message of 2359297 octets, 2359296 are allowed'
bound replica-claims 'a message claims 2359297 octets, 2359296 are allowed'
bound replica-logs 'a vector has over 1024 logs a message'
bound replica-wants 'over 64 logs'
bound request-octets 'request: a message of 541697 octets, 541696 are allowed'
bound reply-octets 'reply: a message of 541697 octets, 541696 are allowed'
bound pause-octets 'pause: a message of 65 octets, 64 are allowed'
bound verify-octets 'verify: a message of 1048577 octets, 1048576 are allowed'
bound verify-names 'a comparison cannot be read'
bound verify-reply-octets 'verify reply: a message of 1048577 octets, 1048576 are allowed'
bound keyring-octets 'keyring: a message of 2049 octets, 2048 are allowed'
bound keyring-key 'keyring: a key of over 44 octets'
bound keyring-fingerprint 'keyring: a fingerprint of over 32 octets'
bound keyring-reply-octets 'keyring reply: a message of 2049 octets, 2048 are allowed'
bound keyring-reply-fingerprints 'keyring reply: over 8 fingerprints'
bound news-octets 'news: a message of 262145 octets, 262144 are allowed'
bound state-name 'state of the members: a member that is not sound'
bound state-version 'state of the members: a member that is not sound'
bound interest-octets 'interest: a message of 1025 octets, 1024 are allowed'
bound interest-name 'interest: a name of over 255 octets'

fd=${PEER[1]}
exec {fd}>&-
register_on 2 after-1 after 10.77.0.2 80 >/dev/null
until_ok 20 passes_on after after-1 1 2 || fail "the others do not go on"
for i in 1 2; do node_stop "$i"; done
done_testing
