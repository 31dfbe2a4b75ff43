#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_store.sh - of three agents, one has a wall clock that steps by an hour and a day, a full disk, and a
# store of before, copied back: the mesh goes on, what is refused is refused clearly, and afterwards all have the
# same.
# In a mount namespace of its own: what is mounted goes with it.
[ -n "${WM_MOUNT_TEST:-}" ] || [ "$(id -u)" != 0 ] || WM_MOUNT_TEST=1 exec unshare --mount -- bash "$0" "$@"
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"
# shellcheck disable=SC2034 # lib.sh has it
AT_END='umount -l "$TMP/n2" 2>/dev/null'

ALL="1 2 3"
mesh_up 3
mesh_keys 3
echo 0 >"$TMP/step"
stepping() { # command...: with a clock that the file says
	STEP_CLOCK=$TMP/step LD_PRELOAD=$PWD/build/release/tests/step_clock.so \
		ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0 "$@"
}
small_disk "$TMP/n2" 4
# shellcheck disable=SC2046 # words
begin() { # node
	if [ "$1" = 2 ]; then stepping node_agent 2 $(tls_of 2); else node_agent "$1" $(tls_of "$1"); fi
}
for i in $ALL; do begin "$i"; done
until_ok 30 all_alive 3 $ALL || fail "not all are there"
for i in $ALL; do churn_on "$i" before; done
register_on 2 ttl-1 beat 10.77.0.2 9000 '"Check": {"CheckID": "beat", "TTL": "10m", "Status": "passing"}' >/dev/null
churn_is_everywhere "before" $ALL
failures() {
	local i n=0
	for i in $ALL; do n=$((n + $(count_of "$i" member_failures))); done
	echo $n
}
register_ok() { [ "$(register_on "$1" "$2" "${2%-*}" 10.77.0.2 80)" = 200 ]; }
write_on() { # node, name of a node of the catalog
	api_of "$1" -o /dev/null -w '%{http_code}' -X PUT \
		-d "{\"Node\": \"$2\", \"Address\": \"192.0.2.9\", \"Service\": {\"Service\": \"$2\", \"Port\": 99}}" /v1/catalog/register
}

# --- the wall clock of node 2 steps ------------------------------------------------------------------------------
before=$(failures)
for step in -3600 -86400; do
	echo $step >"$TMP/step"
	churn_on 2 "step$step"
	churn_on 1 "step$step"
	churn_is_everywhere "clock $step s" $ALL
	check "clock $step s: a catalog write" 200 "$(write_on 2 "at$step")"
	until_ok 10 passes_on "at$step" "at$step" $ALL || fail "clock $step s: the catalog write is not everywhere"
	check "clock $step s: a TTL of ten minutes" ttl-1 "$(passing_at 2 beat)"
done
echo 0 >"$TMP/step"
check "clocks that are behind: nobody failed" 0 $(($(failures) - before))

# --- the disk of node 2 is full ------------------------------------------------------------------------------------
before=$(failures)
dd if=/dev/zero of="$TMP/n2/ballast" bs=64k 2>/dev/null
refused() {
	REFUSED=$(api_of 2 -w '\n%{http_code}' -X PUT -d "{\"ID\": \"full-1\", \"Name\": \"full\", \"Port\": 1, \"Meta\": {\"a\": \"$(head -c 500 /dev/zero | tr '\0' x)\"}}" \
		/v1/agent/service/register | paste -sd' ')
	! [[ $REFUSED =~ 200$ ]]
}
until_ok 20 refused || fail "the disk is full, and registrations are taken"
matches "full disk: the refusal says why" '(disk|space|full).* 50[0-9]$' "$REFUSED"
check "full disk: it is not there" "" "$(passing_at 2 full)"
for i in 1 3; do churn_on "$i" full; done
until_ok 20 passes_on churn "$(kept)" 1 3 || fail "full disk: the others do not go on"
check "full disk: node 2 answers" 200 "$(api_of 2 -o /dev/null -w '%{http_code}' /v1/health/service/churn)"
rm "$TMP/n2/ballast"
until_ok 20 register_ok 2 freed-1 || fail "space was made, and registrations are refused"
churn_is_everywhere "full disk, freed" $ALL
check "full disk: nobody failed" 0 $(($(failures) - before))

# --- the store of node 2 is one of before ----------------------------------------------------------------------------
node_stop 2
cp -a "$TMP/n2" "$TMP/old"
begin 2
until_ok 30 all_alive 3 $ALL
churn_on 2 since
for i in 1 3; do churn_on "$i" since; done
check "a service of after the copy" 200 "$(register_on 2 late-1 late 10.77.0.2 7)"
api_of 2 -X PUT /v1/agent/service/deregister/freed-1
until_ok 10 passes_on freed "" $ALL || fail "what node 2 removed after the copy is not gone"
churn_is_everywhere "before the copy is put back" $ALL
node_stop 2
find "$TMP/n2" -mindepth 1 -delete
cp -a "$TMP/old/." "$TMP/n2/"
begin 2
until_ok 30 all_alive 3 $ALL || fail "node 2 is not back with its old store"
until_ok 30 same_digests $ALL || fail "old store: digests differ"
check "old store: a new epoch begins, once" 1 "$(grep -c sync.restored "$TMP/n2.log")"
until_ok 10 passes_on freed freed-1 $ALL || fail "old store: what it has again is not as node 2 says"
# what others registered, and removed since, is as they say; node 2 says what its store says
expected() { printf '%s\n' "${!KEPT[@]}" | grep -v "^c$1" | sort; }
for i in $ALL; do
	check "old store: instances of others on node $i" "$(expected 2 | paste -sd' ')" \
		"$(passing_at "$i" churn | tr ' ' '\n' | grep -v ^c2 | paste -sd' ')"
	check "old store: node 2's own on node $i" "$(passing_at 2 churn | tr ' ' '\n' | grep ^c2)" "$(passing_at "$i" churn | tr ' ' '\n' | grep ^c2)"
	check "old store: what node 2 does not have any more, on node $i" "" "$(passing_at "$i" late)"
done
for id in "${!KEPT[@]}"; do [[ $id != c2-* ]] || unset "KEPT[$id]"; done
for id in $(passing_at 2 churn); do KEPT[$id]=1; done

# --- its clock is ahead: registrations go on, its writes of the catalog are held where clocks are right -----
before=$(failures)
ahead() { [ "$(api_of 1 /v1/waymark/sync | jq '[.ahead[]?.changes] | add // 0')" -ge "$1" ]; }
for step in 3600 86400; do
	echo $step >"$TMP/step"
	churn_on 2 "step$step"
	churn_on 1 "step$step"
	until_ok 10 passes_on churn "$(kept)" $ALL || fail "clock $step s: registrations are not everywhere"
	echo "ok: clock $step s: registrations are everywhere"
	check "clock $step s: a catalog write is taken where it was made" 200 "$(write_on 2 "at$step")"
	until_ok 10 ahead 1 || fail "clock $step s: the write is not held back: $(api_of 1 /v1/waymark/sync | jq -c .ahead)"
	check "clock $step s: and is not shown elsewhere" "" "$(passing_at 1 "at$step")"
	check "clock $step s: a TTL of ten minutes" ttl-1 "$(passing_at 1 beat)"
done
check "clocks that are ahead: nobody failed" 0 $(($(failures) - before))
check "an alarm names the clock" 1 "$(grep -c 'sync.alarm.*ahead of ours' "$TMP/n1.log" | sed 's/^[1-9][0-9]*$/1/')"

# --- it is mended: an operator says so, and what was written meanwhile is news everywhere -------------------------
removed() { # of the catalog, on node 2
	api_of 2 -o /dev/null -w '%{http_code}' -X PUT -d "{\"Node\": \"$1\"}" /v1/catalog/deregister
}
check "ahead: a removal is taken where it was made" 200 "$(removed at-3600)"
check "ahead: and not seen elsewhere" at-3600 "$(passing_at 1 at-3600)"
echo 0 >"$TMP/step"
check "mended: without a word the clock goes on where it was" 200 "$(write_on 2 mended)"
until_ok 10 ahead 3 || fail "mended: what was written then is not held back"
matches "mended: it is let go" '^let go' "$(ctl_of 2 sync release n2)"
for name in at3600 at86400 mended; do
	until_ok 20 passes_on $name $name $ALL || fail "mended: $name is not everywhere"
done
until_ok 10 passes_on at-3600 "" $ALL || fail "mended: what was removed while the clock was ahead is not gone"
check "mended: a write" 200 "$(write_on 2 afterwards)"
until_ok 10 passes_on afterwards afterwards $ALL || fail "mended: a later write is not everywhere"
until_ok 10 same_digests $ALL || fail "mended: digests differ"
check "mended: there is nothing more to be let go" "nothing is held back" "$(ctl_of 2 sync release n2)"

for i in $ALL; do node_stop "$i"; done
done_testing
