#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# As in tests/net, with runtimes that are large: Java's look-ups, and Go, Node and Java among those that look up
# without a pause while the agent is killed.
. "$(dirname "$0")/../net/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
# shellcheck source=tests/net/resolvers.sh
. tests/net/resolvers.sh
# shellcheck source=tests/net/clients.sh
. tests/net/clients.sh
clients_begin
has java javac && client java java tests/net/resolve/Resolve.java all
stop_agent
"$CTL" --pin-dir "$PINS" detach >/dev/null
RUNTIMES="go node java" WM_NET_TEST='' bash tests/net/test_dns_clients_killed.sh || fail "clients while the agent is killed"
exit $FAILED
