#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The agent as the only name server of programs that people run: what each finds of the mesh (A, AAAA, SRV) and
# of others. Runtimes that are large are tests/long's.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
# shellcheck source=tests/net/resolvers.sh
. tests/net/resolvers.sh
# shellcheck source=tests/net/clients.sh
. tests/net/clients.sh
clients_begin
tool() { # types, tool
	has "$2" "$2" && client_types "$1" "$2" tests/net/resolve/tool.sh "$2"
}

# --- what stands in the C library, and in libraries of their own
resolvers_build
client glibc "$TMP/resolve-glibc" all
[ ! -x "$TMP/resolve-musl" ] || client musl "$TMP/resolve-musl" all
[ ! -x "$TMP/resolve-cares" ] || client c-ares "$TMP/resolve-cares" all
tool "A AAAA" getent
client_types "A AAAA" python /usr/bin/python3 tests/net/resolve/resolve.py all
client dnspython /usr/bin/python3 tests/net/resolve/resolve.py dnspython all

# --- operators' tools
for t in dig kdig delv host nslookup; do tool "A AAAA SRV" $t; done

# --- runtimes, where they are: they are too large to be installed for this
if command -v go >/dev/null; then
	resolvers_build_go
	client go "$TMP/resolve-go" all
	client "go with cgo" env GODEBUG=netdns=cgo "$TMP/resolve-cgo" all
fi
if command -v node >/dev/null; then
	client "node's own" node tests/net/resolve/resolve.js all
	client_types "A AAAA" "node by the C library" node tests/net/resolve/resolve.js libc
fi
done_testing
