#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The agent is killed, restarted, changed and stopped while programs connect and ask without a pause:
# none of them may notice.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/resolvers.sh
. tests/net/resolvers.sh

start() { start_agent --set dns.port53_addresses=127.0.0.1 "$@"; }
start
for i in 1 2; do
	backend "web-$i" "127.1.0.$i" "808$i"
	check "register web-$i" 200 "$(register "web-$i" web "127.1.0.$i" "808$i")"
done
V4=$(vip4 web)
ids() { api $API/v1/waymark/maps | jq -c '[.maps[].id]'; }
sets() { bpftool -j map dump pinned "$PINS/maps/sets" | jq -c '[.[].formatted.value | select(.table.generation > 0)]'; }
pinned() { find "$PINS" -type f | wc -l; }

inside tests/net/client.py loop "$V4" web.service.mesh.internal "$TMP/stop" >"$TMP/loop" 2>"$TMP/loop.err" &
LOOP=$!
resolvers_start web.service.mesh.internal
sleep 1
maps=$(ids) table=$(sets) pins=$(pinned)

for round in 1 2 3; do
	stop_agent KILL
	sleep 0.7
	check "round $round: no agent, an answer all the same" 2 "$(ask web.service.mesh.internal | wc -l)"
	check "round $round: SRV, too" 2 "$(ask web.service.mesh.internal SRV | wc -l)"
	check "round $round: and that a name is not there" NXDOMAIN "$(status_of none.virtual.mesh.internal)"
	check "round $round: and a connection" web- "$(inside curl -s "http://$V4/" | cut -c1-4)"
	start
	check "round $round: the maps are the same" "$maps" "$(ids)"
	check "round $round: nothing was written anew" "$table" "$(sets)"
	check "round $round: as many pins" "$pins" "$(pinned)"
done
matches "it says that it adopted" "event=plane.adopted sets=1" "$(cat "$TMP/agent.log")"

# what happened while it was away is made good: an instance is added by the next run only
stop_agent
check "a clean stop leaves the kernel serving" 2 "$(ask web.service.mesh.internal | wc -l)"
backend web-3 127.1.0.3 8083
start
register web-3 web 127.1.0.3 8083 >/dev/null
check "after a restart tables change as ever" 3 "$(ask web.service.mesh.internal | wc -l)"
code -X PUT $API/v1/agent/service/deregister/web-3 >/dev/null

# other sizes: new maps are filled beside the old ones, then the links move
stop_agent
start --set kernel.services_max=2000 --set kernel.backends_max=3000
[ "$(ids)" != "$maps" ] || fail "the maps have other sizes"
check "after a change of size" 2 "$(ask web.service.mesh.internal | wc -l)"
check "the old maps are gone" "$pins" "$(pinned)"
stop_agent
start

touch "$TMP/stop"
resolvers_end
wait $LOOP
read -r ops failures <"$TMP/loop"
check "failures of $ops connects and questions" 0 "$failures"
[ "$ops" -gt 500 ] || fail "the loops did something: $ops"
[ "$failures" = 0 ] || head -5 "$TMP/loop.err"

# --- what was acknowledged is there after kill -9, a check's status too
check "a check by TTL" 200 "$(register ttl ttl 10.7.7.7 80 '"Check": {"CheckID": "c", "TTL": "1h", "Status": "critical"}')"
for status in pass fail pass; do
	check "$status is acknowledged" 200 "$(code -X PUT "$API/v1/agent/check/$status/c")"
	stop_agent KILL
	start
	matches "$status is stored" "^${status}(ing)?$" \
		"$(api $API/v1/agent/checks | jq -r .c.Status | sed 's/critical/fail/')"
done

# --- clean removal
stop_agent
"$CTL" --pin-dir "$PINS" detach
check "detach removes every pin" no "$([ -e "$PINS" ] && echo yes || echo no)"
gone() { [ "$(bpftool -j link show | jq '[.[] | select(.type == "cgroup" and (.cgroup_id == '"$(stat -c %i "$CG")"'))] | length')" = 0 ]; }
until_ok 10 gone || fail "links are left"
check "nothing steers any more" 000 "$(inside curl -s --max-time 1 -o /dev/null -w '%{http_code}' "http://$V4/")"
matches "a second detach finds nothing" "nothing is pinned" "$("$CTL" --pin-dir "$PINS" detach)"
done_testing
