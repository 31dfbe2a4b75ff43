#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The agent is killed and comes back while programs look names of the mesh and hot names of others up without a
# pause: none of them may notice.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
# shellcheck source=tests/net/resolvers.sh
. tests/net/resolvers.sh
# shellcheck source=tests/net/clients.sh
. tests/net/clients.sh
# shellcheck source=tests/net/resolved.sh
. tests/net/resolved.sh
NAMES="web.service.mesh.internal six.service.mesh.internal www.example"
clients_begin
if resolved_is_there; then # without its cache, which would hide what it is not told
	resolved_conf $'DNS=127.0.0.1\nDomains=~.\nCache=no\n'
	ip link add up0 type veth peer name up1 # it asks nobody where no link is
	ip addr add 198.18.1.1/24 dev up0
	ip link set up0 up
	ip link set up1 up
	resolved
	resolvers_build
	for name in $NAMES; do VIA=127.0.0.53 resolver "resolved-$name" "$TMP/resolve-glibc" loop "$name" "$TMP/stop"; done
fi
for name in $NAMES; do resolvers_start "$name" "${RUNTIMES:-none}"; done
for round in 1 2 3 4; do
	until_ok 60 all_in_kernel 100 || fail "round $round: the name is hot"
	stop_agent KILL
	until_ok 60 asked_hot $(($(hot) + 100)) || fail "round $round: they ask on: $(hot)"
	clients_agent
done
touch "$TMP/stop"
resolvers_end
resolved_end
done_testing
