#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who an agent begins with: a file of seeds that changes while it runs, and names that a real name server
# (unbound) answers with SRV records, which change, too.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/mesh.sh
. tests/net/mesh.sh

mesh_up 4
seeded() { # node, options: an agent without sync.join
	local i=$1
	shift
	node_agent "$i" "${INSECURE[@]}" --set sync.join= "$@"
}
log_has() { grep -qE -- "$2" "$TMP/n$1.log"; }

# --- a file, which is not there at first
seeded 1
seeded 2 --set "sync.join_file=$TMP/seeds"
until_ok 10 log_has 2 "event=sync.join_file .*cannot read $TMP/seeds: No such file" || fail "nobody says that the file is not there"
check "it is alone" 1 "$(alive_at 2)"
printf '# those to begin with\n10.77.0.1:port\n\n10.77.0.1 # the first\n' >"$TMP/seeds.new"
mv "$TMP/seeds.new" "$TMP/seeds"
until_ok 30 all_alive 2 1 2 || fail "the file that came is not read: $(alive_at 1) $(alive_at 2)"
echo "ok: a file that comes later is read"
matches "its bad line is named" 'line 2: a host or an address is wanted, .* not \\?"10.77.0.1:port' "$(grep event=sync.join_file "$TMP/n2.log")"
check "and counted, once" 1 "$(count_of 2 sync_seeds_refused)"

# --- who is in a mesh tries what is new in it: two meshes become one
seeded 3
check "another mesh" 1 "$(alive_at 3)"
printf '10.77.0.1\n10.77.0.3\n' >"$TMP/seeds"
until_ok 30 all_alive 3 1 2 3 || fail "the new seed was not tried: $(alive_at 1) $(alive_at 3)"
echo "ok: a seed that is new in the file joins two meshes"
rm "$TMP/seeds"
told_again() { [ "$(grep -c "cannot read $TMP/seeds" "$TMP/n2.log")" = 2 ]; }
until_ok 10 told_again || fail "nobody says that the file went"
check "who is there stays" 3 "$(alive_at 2)"
for i in 1 2 3; do node_stop $i; done
done_testing
