#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who an agent begins with: a file of seeds that changes while it runs, and names that a real name server
# (unbound) answers with SRV records, which change, too.
# what the agents' resolv.conf says is this test's
[ -n "${WM_OWN_MOUNTS:-}" ] || WM_OWN_MOUNTS=1 exec unshare --mount -- bash "$0" "$@"
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

# --- a name server, which node 4 runs: records in three priorities, of which the first leads to nobody
name_server() { # the records of _waymark._tcp.mesh.test, a line each
	[ -z "${NAMES:-}" ] || { kill "$NAMES" && wait "$NAMES" 2>/dev/null; }
	{
		printf 'server:\ninterface: 10.77.0.4\naccess-control: 10.77.0.0/24 allow\ndo-daemonize: no\nusername: ""\nchroot: ""\npidfile: "%s"\nuse-syslog: no\nlogfile: "%s"\nlocal-zone: "mesh.test." static\n' "$TMP/unbound.pid" "$TMP/unbound.log"
		printf 'local-data: "n%s.mesh.test. 0 A 10.77.0.%s"\n' 1 1 2 2
		sed 's/.*/local-data: "_waymark._tcp.mesh.test. 0 SRV &"/'
	} >"$TMP/unbound.conf"
	(exec nsenter --net="/proc/${NODE_NS[4]}/ns/net" -- unbound -d -c "$TMP/unbound.conf" >/dev/null 2>&1) &
	NAMES=$!
	until_ok 20 on 4 dig +short +tries=1 +time=1 @10.77.0.4 n1.mesh.test A || fail "no name server"
}
if ! command -v unbound >/dev/null; then
	echo "skipped: SRV: unbound is not installed"
	done_testing
fi
printf 'nameserver 10.77.0.4\noptions timeout:1\n' >"$TMP/resolv.conf"
mount --bind "$TMP/resolv.conf" /etc/resolv.conf || fail "no resolv.conf of our own"
fresh() { # node, options: an agent that knows nobody of before
	rm -rf "${TMP:?}/n$1"
	: >"$TMP/n$1.log"
	seeded "$@"
}
name_server <<<'0 0 8301 gone.mesh.test.'
fresh 1 --set sync.bind=0.0.0.0:9301
fresh 2
fresh 3 --set sync.join=_waymark._tcp.mesh.test
unresolved() { [ "$(count_of 3 sync_seeds_unresolved)" -ge 2 ]; }
until_ok 20 unresolved || fail "a target without an address was not counted"
check "its name leads to nobody: it is alone" 1 "$(alive_at 3)"
matches "and says so" '_waymark._tcp.mesh.test.*no address of gone.mesh.test: ' "$(api_of 3 /v1/waymark/status)"
# looked up anew: the port is the record's, and the lower number is first
name_server <<<'9 100 8301 n2.mesh.test.
1 0 9301 n1.mesh.test.
0 0 8301 gone.mesh.test.'
until_ok 40 all_alive 2 1 3 || fail "SRV does not lead to node 1: $(alive_at 1) $(alive_at 3)"
echo "ok: a name of SRV records, looked up at each attempt, with its port"
check "the one of the lower priority is not asked" 1 "$(alive_at 2)"
check "a name that does not exist" 500 "$(api_of 2 -o "$TMP/why" -w '%{http_code}' -X PUT /v1/agent/join/_other._tcp.mesh.test)"
matches "says why" 'no SRV record of _other._tcp.mesh.test: ' "$(cat "$TMP/why")"
check "by the API, a name that does" 200 "$(api_of 2 -o /dev/null -w '%{http_code}' -X PUT /v1/agent/join/_waymark._tcp.mesh.test)"
until_ok 20 all_alive 3 1 2 3 || fail "join by SRV: $(alive_at 2)"
for i in 1 2 3; do node_stop $i; done
kill "$NAMES"
umount /etc/resolv.conf
done_testing
