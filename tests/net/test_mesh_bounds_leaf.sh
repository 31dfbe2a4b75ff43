#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_bounds_leaf.sh - what a leaf is told of services: a member that sends as much as is allowed goes on
# being heard, one more octet or element and its stream is ended, counted, and the log names the bound.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"
source "$(dirname "$0")/hostile.sh"

mesh_up 3
mesh_keys 3
# shellcheck disable=SC2046 # words
node_agent 1 $(tls_of 1) --set sync.role=leaf --set 'sync.interest=web-*'
# shellcheck disable=SC2046 # words
node_agent 2 $(tls_of 2)
until_ok 30 all_alive 2 1 2 || fail "not both are there"
register_on 2 web-1 web-a 10.77.0.2 80 >/dev/null
until_ok 20 passes_at 1 web-a web-1 || fail "the leaf is not served"
hostile_up 3

refused() { grep -c 'sync.stream_refused.*10.77.0.3' "$TMP/n1.log"; }
bound() { # name, a pattern of the log
	local before
	before=$(refused)
	attack "at-$1" open "" ''
	check "at-$1: is not refused" "$before" "$(refused)"
	attack "over-$1" closed sync_streams_refused "$2"
}
bound news-of-name 'news of a service: a name of over 255 octets'
bound news-of-items 'news of a service: over 1024 items'
bound news-of-names 'news of a service: over 4096 names'
bound news-of-a-name 'news of a service: a name of over 255 octets'
bound news-of-node "news of a service: a node's name of over 63 octets"
bound news-of-id 'news of a service: an id of over 255 octets'
bound news-of-origin 'news of a service: an item of no agent'
attack junk-news-of closed sync_streams_refused 'what it tells of a service cannot be read'
attack bomb-news-of closed sync_streams_refused 'what it tells of a service cannot be read'

fd=${PEER[1]}
exec {fd}>&-
register_on 2 web-2 web-b 10.77.0.2 80 >/dev/null
until_ok 30 passes_at 1 web-b web-2 || fail "the leaf is served no more"
check "what nobody registered is not there" "web-a web-b" "$(api_of 1 /v1/catalog/services | jq -r 'keys[]' | sort | paste -sd' ')"
for i in 1 2; do node_stop "$i"; done
done_testing
