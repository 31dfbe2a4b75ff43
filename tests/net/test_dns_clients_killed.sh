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
clients_begin
for name in web.service.mesh.internal six.service.mesh.internal www.example; do
	resolvers_start $name "${RUNTIMES:-none}"
done
for round in 1 2 3 4; do
	until_ok 60 all_in_kernel 100 || fail "round $round: the name is hot"
	stop_agent KILL
	until_ok 60 asked_hot $(($(hot) + 100)) || fail "round $round: they ask on: $(hot)"
	clients_agent
done
touch "$TMP/stop"
resolvers_end
done_testing
