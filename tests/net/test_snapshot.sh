#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Snapshots of a running agent: saved while it is written to, verified, restored over the Unix socket
# so that DNS, watchers and the kernel follow; what is damaged changes nothing; a damaged store is told
# at the start together with what restores it.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
ctl() { "$CTL" --agent "unix:$TMP/http.sock" "$@"; }
services() { api $API/v1/agent/services | jq -Sc 'map_values({Service, Address, Port, Tags, Meta})'; }

start_agent
for n in 1 2 3 4 5; do register "i$n" web "127.1.0.$n" 8080 >/dev/null; done
register gone old 127.1.0.9 8090 >/dev/null
vip=$(ask web.virtual.mesh.internal)
before=$(services)
matches "save" 'saved .*: 2 services, 6 instances' "$(ctl snapshot save "$TMP/a.snapshot" 2>&1)"
check "the file is its owner's alone" 600 "$(stat -c %a "$TMP/a.snapshot")"
matches "verify" 'good: .* 6 instances' "$(ctl snapshot verify "$TMP/a.snapshot" 2>&1)"
check "verify as JSON" 6 "$(ctl -j snapshot verify "$TMP/a.snapshot" | jq .Instances)"
check "as it comes from the agent" 6 "$(operator $API/v1/snapshot -o "$TMP/b.snapshot" && ctl -j snapshot verify "$TMP/b.snapshot" | jq .Instances)"

# another state
for n in 1 2 3 4; do api -X PUT "$API/v1/agent/service/deregister/i$n"; done
api -X PUT $API/v1/agent/service/deregister/gone
register i5 web 127.1.0.5 9999 >/dev/null
register late late 127.1.0.7 7000 >/dev/null
is_late() { [ "$(ask late.service.mesh.internal)" = 127.1.0.7 ]; }
until_ok 10 is_late || fail "what was just registered is found"
after=$(services)
index=$(api $API/v1/waymark/status | jq .registry.index)

# what is damaged changes nothing
cp "$TMP/a.snapshot" "$TMP/bad.snapshot"
printf X | dd of="$TMP/bad.snapshot" bs=1 seek=700 conv=notrunc 2>/dev/null
matches "verify tells damage" 'snapshot is damaged at octet [0-9]+' "$(ctl snapshot verify "$TMP/bad.snapshot" 2>&1)"
matches "restore tells damage" 'snapshot is damaged' "$(ctl snapshot restore "$TMP/bad.snapshot" 2>&1)"
check "the agent refuses it as well" 400 "$(operator_code -X PUT $API/v1/snapshot --data-binary "@$TMP/bad.snapshot")"
check "and by its path" 400 "$(code --unix-socket "$TMP/http.sock" -X PUT "http://localhost/v1/waymark/snapshot/restore?path=$TMP/bad.snapshot")"
check "a path is not taken over TCP" 403 "$(code -X PUT "$API/v1/waymark/snapshot/restore?path=$TMP/a.snapshot")"
check "nor a directory" 400 "$(code --unix-socket "$TMP/http.sock" -X PUT "http://localhost/v1/waymark/snapshot/restore?path=$TMP")"
check "nothing was changed" "$after" "$(services)"

# restored while it runs: whoever waits is told
api "$API/v1/health/service/web?index=$index&wait=300s" --max-time 300 | jq length >"$TMP/waited" &
WAITER=$!
curl -sN --max-time 300 $API/v1/waymark/events >"$TMP/events" &
EVENTS=$!
until_ok 10 grep -q ready "$TMP/events"
matches "restore" 'restored .*: 2 services, 6 instances' "$(ctl snapshot restore "$TMP/a.snapshot" 2>&1)"
check "everything is as it was" "$before" "$(services)"
check "DNS follows" "$(printf '127.1.0.%s ' 1 2 3 4 5)" "$(ask web.service.mesh.internal | sort | tr '\n' ' ')"
check "what is not in it is gone" NXDOMAIN "$(status_of late.service.mesh.internal)"
check "what came back is there" 127.1.0.9 "$(ask old.service.mesh.internal)"
check "the virtual address stays" "$vip" "$(ask web.virtual.mesh.internal)"
wait $WAITER
check "who waited was told" 5 "$(cat "$TMP/waited")"
until_ok 10 grep -q service-deleted "$TMP/events" || fail "the events tell: $(cat "$TMP/events")"
kill $EVENTS
check "the index grows" true "$(api $API/v1/waymark/status | jq ".registry.index > $index")"
check "the status counts" 1 "$(api $API/v1/waymark/status | jq .snapshot.restored)"
check "in a body as well" 200 "$(operator_code -X PUT $API/v1/snapshot --data-binary "@$TMP/b.snapshot")"
stop_agent KILL
start_agent
check "a restart finds it" "$before" "$(services)"

# killed in the middle: the next start makes the rest before it answers
for first in $(seq 0 60 2999); do
	jq -cn --argjson f "$first" '[{Node: {Verb: "set", Node: {Node: "big", Address: "10.9.0.1"}}}] + [range($f; $f + 60) |
		{Service: {Verb: "set", Node: "big", Service: {ID: "b\(.)", Service: "big", Port: 80}}}]' |
		api -X PUT $API/v1/txn --data-binary @- >/dev/null
done
count() { api "$API/v1/catalog/node-services/big" | jq '.Services | length'; }
check "a large node" 3000 "$(count)"
operator $API/v1/snapshot -o "$TMP/big.snapshot"
api -X PUT $API/v1/catalog/deregister -d '{"Node": "big"}' >/dev/null
check "is gone" 0 "$(count)"
ctl snapshot restore "$TMP/big.snapshot" >/dev/null 2>&1 &
RESTORE=$!
until [ -e "$TMP/data/registry.db.restoring" ] || ! kill -0 $RESTORE 2>/dev/null; do :; done
stop_agent KILL
wait $RESTORE
check "its restore was cut off" yes "$([ -e "$TMP/data/registry.db.restoring" ] && echo yes)"
start_agent --set store.keep_interval=1s # that after the start may come before the node is gone again
check "all of it is there" 3000 "$(count)"
matches "the log tells" 'event=registry.restored .*cut off is finished' "$(cat "$TMP/agent.log")"
check "nothing is left over" "" "$(find "$TMP/data" -name '*.restoring*')"
api -X PUT $API/v1/catalog/deregister -d '{"Node": "big"}' >/dev/null

# the last known good, and a damaged store
kept() { [ "$(api $API/v1/waymark/status | jq '.snapshot.keep_index == .registry.index')" = true ]; }
until_ok 30 kept || fail "nothing was kept: $(api $API/v1/waymark/status | jq -c .snapshot)"
before=$(services)
stop_agent
truncate -s 9000 "$TMP/data/registry.db"
"$B/waymarkd" --set "node.data_dir=$TMP/data" --set kernel.enabled=false --set "http.socket=" 2>"$TMP/damaged"
check "it does not start" 1 $?
matches "it says what restores it" 'last known good registry is [0-9]+ minutes old.*snapshot restore --offline' "$(cat "$TMP/damaged")"
command=$(sed -n 's/.*to restore it: waymarkctl \(.*\)"$/\1/p' "$TMP/damaged")
# shellcheck disable=SC2086 # it is words
matches "which works as it stands" 'restored' "$("$CTL" $command 2>&1)"
check "the damaged file is kept" 1 "$(find "$TMP/data" -name 'registry.db.aside-*' -size 9000c | wc -l)"
start_agent
check "all is back" "$before" "$(services)"
check "offline needs that no agent runs" 1 "$(ctl snapshot restore --offline "$TMP/a.snapshot" --data-dir "$TMP/data" >/dev/null 2>&1; echo $?)"
done_testing
