#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Clients that are no Debian packages, unmodified, against the agent's API: Consul's own Go client and the npm
# package "consul". They are fetched from where their languages keep them, so this is not part of `make test`; a
# language that is not installed is said and left out, and none at all is a failure.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
OUT=$PWD/build/accept
GO=$(command -v go) || echo "left out: Go is not installed"
NPM=$(command -v npm) || echo "left out: npm is not installed"
if [ -z "${WM_NET_TEST:-}" ]; then # the test itself runs in a network namespace of its own, where nothing can be fetched
	mkdir -p "$OUT"
	[ -n "$GO$NPM" ] || exit 1
	[ -z "$GO" ] || (cd tests/accept/go && "$GO" build -o "$OUT/accept-go" .) || exit 1
	if [ -n "$NPM" ]; then
		cp tests/accept/client.js "$OUT/"
		npm install --prefix "$OUT" --no-audit --no-fund --silent consul@2.0.1 || exit 1
	fi
fi
# shellcheck source=tests/net/lib.sh
. tests/net/lib.sh
start_agent
[ -z "$GO" ] || "$OUT/accept-go" || fail "Go"
[ -z "$NPM" ] || node "$OUT/client.js" || fail "Node"
done_testing
