#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# An existing Consul as a source, played by another agent that knows nothing of this one: connect() and DNS lead
# to its services, beside what is registered here; changes come by blocking queries; it goes away, comes back as
# it was or with another state; own instances are passed on to it and do not come back. What is hostile is in
# test_consul_hostile.sh.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

OTHER=http://127.0.0.1:8510
CONSUL=''
consul_up() { [ "$(code $OTHER/v1/agent/self)" = 200 ]; }
consul_start() { # data directory, further options
	local data=$1
	shift
	"$B/waymarkd" --set "node.data_dir=$TMP/$data" --set kernel.enabled=false --set http.port=8510 --set http.socket= \
		--set dns.port=0 --set node.name=c1 --set node.datacenter=quay --set node.meta=rack=b4 "$@" 2>>"$TMP/consul.log" &
	CONSUL=$!
	until_ok 60 consul_up || fail "the other agent does not answer"
}
consul_stop() {
	kill -"${1:-TERM}" "$CONSUL"
	wait "$CONSUL" 2>/dev/null
}
put() { code -X PUT "$OTHER/v1/agent/$1" ${2:+-d "$2"}; }
at_consul() { # id, service, last octet, more
	check "$1 is registered with the other" 200 "$(put service/register \
		"{\"ID\": \"$1\", \"Name\": \"$2\", \"Address\": \"127.1.0.$3\", \"Port\": 8080${4:+, $4}}")"
}
ids() { api "$API/v1/health/service/$1${2:-}" | jq -r '[.[].Service.ID] | sort | join(" ")'; }
ids_are() { [ "$(ids "$1" "${3:-}")" = "$2" ]; }
there() { # service, ids, parameters
	until_ok 30 ids_are "$@" || fail "$1 has '$(ids "$1" "${3:-}")', not '$2'"
}
source_is() { grep -q "source.state source=consul state=$1" <(grep "source.state source=consul" "$TMP/agent.log" | tail -1); }
until_source() { until_ok 40 source_is "$1" || fail "the source is not $1: $(grep source.state "$TMP/agent.log" | tail -n 1)"; }
index_of() { api -D - -o /dev/null "$API/v1/health/service/$1" | tr -d '\r' | sed -n 's/^X-Consul-Index: //Ip'; }
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v n="waymark_consul_$1_total" '$1 == n {print $2}'; }
who() { # service, how often: who answers at its virtual address
	for _ in $(seq "$2"); do inside curl -s --max-time 20 "http://$(vip4 "$1")/"; done | grep -o '^[a-z]*-[0-9]' | sort -u | xargs
}
(umask 077 && echo 5f1c-secret >"$TMP/token")
FOLLOW=(--set "source.consul_addresses=http://127.0.0.1:8511,$OTHER" --set "source.consul_token_file=$TMP/token")

# --- its services are found here -------------------------------------------------------------------------------
consul_start consul
backend web-1 127.1.0.1 8080
backend web-2 127.1.0.2 8080
backend own-1 127.1.0.3 8080
at_consul web-1 web 1 '"Tags": ["blue"], "Meta": {"version": "2.1"}, "Weights": {"Passing": 3, "Warning": 1},
	"TaggedAddresses": {"wan": {"Address": "198.51.100.4", "Port": 19001}}, "Check": {"CheckID": "beats", "TTL": "10m", "Status": "passing"}'
start_agent "${FOLLOW[@]}"
there web web-1
until_source watching
check "the first address does not answer, the second does" 1 "$([ "$(metric failovers)" -ge 1 ] && echo 1)"
check "DNS" 127.1.0.1 "$(ask web.service.mesh.internal)"
check "DNS of its tag" 127.1.0.1 "$(ask blue.web.service.mesh.internal)"
check "connect()" web-1 "$(who web 3)"
check "its node has a name of its own" "consul-c1 b4" "$(api "$API/v1/health/service/web" | jq -r '.[0].Node | "\(.Node) \(.Meta.rack)"')"
check "what it states" "2.1 3 blue 198.51.100.4" "$(api "$API/v1/health/service/web" |
	jq -r '.[0].Service | "\(.Meta.version) \(.Weights.Passing) \(.Tags[0]) \(.TaggedAddresses.wan.Address)"')"
check "its check is stated, nothing here probes it" "beats passing" "$(api "$API/v1/health/service/web" |
	jq -r '.[0].Checks[] | select(.ServiceID == "web-1") | "\(.CheckID) \(.Status)"')"
check "what it says of itself is not taken over" '[]' "$(api "$API/v1/health/service/consul")"

# --- beside what is registered here ------------------------------------------------------------------------------
check "one of that name here" 200 "$(register own-1 web 127.1.0.3 8080)"
there web "own-1 web-1"
check "connects go to both" "own-1 web-1" "$(who web 60)"
check "a client may not take what is the source's away" true "$(code -X PUT "$API/v1/catalog/deregister" \
	-d '{"Node": "consul-c1", "ServiceID": "web-1"}' | grep -qv '^2' && echo true)"
there web "own-1 web-1"

# --- changes come by themselves -------------------------------------------------------------------------------------
at_consul web-2 web 2 '"Check": {"CheckID": "beats-2", "TTL": "10m", "Status": "passing"}'
there web "own-1 web-1 web-2"
check "a check fails there" 200 "$(put check/fail/beats-2)"
there web "own-1 web-1" "?passing"
check "it is left out by connect()" "own-1 web-1" "$(who web 60)"
check "it recovers" 200 "$(put check/pass/beats-2)"
there web "own-1 web-1 web-2" "?passing"
check "maintenance of the node there" 200 "$(put 'maintenance?enable=true&reason=boot')"
there web own-1 "?passing"
check "and over" 200 "$(put 'maintenance?enable=false')"
there web "own-1 web-1 web-2" "?passing"
at_consul web-9 web 1
there web "own-1 web-1 web-2 web-9"
check "one of several goes there" 200 "$(put service/deregister/web-9)"
there web "own-1 web-1 web-2"
at_consul db-1 db 9
there db db-1
check "a service goes there" 200 "$(put service/deregister/db-1)"
there db ""
at_consul web-2 moved 2
there moved web-2
there web "own-1 web-1"

# --- it is away: what was known serves on, over a restart of this agent too ------------------------------------------
until_source watching
before=$(index_of web)
consul_stop KILL
until_source away
check "DNS while it is away" "127.1.0.1 127.1.0.3" "$(ask web.service.mesh.internal | sort | xargs)"
check "connect() while it is away" web-2 "$(who moved 3)"
stop_agent
start_agent "${FOLLOW[@]}"
there web "own-1 web-1"
check "connect() after a restart while it is away" web-2 "$(who moved 3)"
after=$(index_of web)
consul_start consul
until_source watching
check "back as it was: nothing changed here" "$after" "$(index_of web)"
[ "$before" -gt 0 ] || fail "there was no index"
check "and it is followed" 200 "$(put service/deregister/web-2)"
there moved ""

# --- back with an older state: the index went back ------------------------------------------------------------------
consul_stop
consul_start other-state
at_consul web-1 web 1
there web "own-1 web-1"
at_consul web-3 web 2
there web "own-1 web-1 web-3"
check "instances that are not there any more are gone" "" "$(ids moved)"

# --- of another datacenter: refused, and nothing is lost -------------------------------------------------------------
consul_stop
consul_start foreign --set node.datacenter=elsewhere
until_source refused
there web "own-1 web-1 web-3"
consul_stop
consul_start other-state
until_source watching
there web "own-1 web-1 web-3"
check "the token is in no log" 0 "$(grep -c 5f1c-secret "$TMP/agent.log")"

# --- own instances are passed on, and do not come back ------------------------------------------------------------------
stop_agent
consul_ids() { api "$OTHER/v1/health/service/$1${2:-}" | jq -r '[.[].Service.ID] | sort | join(" ")'; }
consul_has() { [ "$(consul_ids "$1" "${3:-}")" = "$2" ]; }
at_other() { until_ok 40 consul_has "$@" || fail "the other has '$(consul_ids "$1" "${3:-}")' of $1, not '$2'"; }
PASS=(--set "source.consul_addresses=$OTHER" --set source.consul_pass_on=true --set source.consul_ttl=5s)
start_agent "${PASS[@]}"
at_other web "own-1 web-1 web-3"
there web "own-1 web-1 web-3"
check "it did not come back" "n1" "$(api "$API/v1/health/service/web" | jq -r '.[] | select(.Service.ID == "own-1") | .Node.Node')"
check "registered once" 1 "$(metric passed_on)"
check "one with a check" 200 "$(register own-2 pay 127.1.0.3 8080 '"Check": {"CheckID": "own", "TTL": "10m", "Status": "passing"}')"
at_other pay own-2 "?passing"
api -X PUT "$API/v1/agent/check/fail/own?note=tired" >/dev/null
at_other pay "" "?passing"
api -X PUT "$API/v1/agent/check/pass/own" >/dev/null
at_other pay own-2 "?passing"
sleep 8 # longer than the TTL
check "its check is kept up" own-2 "$(consul_ids pay "?passing")"
check "somebody else's id is left alone" 200 "$(put service/register '{"ID": "own-3", "Name": "theirs", "Port": 1}')"
check "the same id here" 200 "$(register own-3 mine 127.1.0.3 8080)"
check "one goes here" 200 "$(code -X PUT "$API/v1/agent/service/deregister/own-2")"
at_other pay ""
check "somebody else's stays" own-3 "$(consul_ids theirs)"
# killed: its instances are critical there, and are the same again
stop_agent KILL
at_other web "web-1 web-3" "?passing"
start_agent "${PASS[@]}"
at_other web "own-1 web-1 web-3" "?passing"
check "it was known again, not registered anew" 0 "$(metric passed_on)"
# the other lost it
check "taken away there" 200 "$(put service/deregister/own-1)"
at_other web "own-1 web-1 web-3" "?passing"
check "own ids of the other's are not ours to take" own-3 "$(consul_ids theirs)"

# --- an agent is no Consul of its own -------------------------------------------------------------------------------------
stop_agent
start_agent --set source.consul_addresses=http://127.0.0.1:8500
until_source refused
matches "why" 'is this agent, or one of its mesh' "$(tail -n 40 "$TMP/agent.log")"
consul_stop
done_testing
