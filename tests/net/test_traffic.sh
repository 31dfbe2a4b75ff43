#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What programs in the kernel counted, for Prometheus: picks and open sockets of each service and backend, and
# refusals by reason. A service's picks stay when a backend leaves, whichever of its ports they were to. With more
# services than are listed the busiest are, and how many are not is told.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

scrape() { api "$API/v1/agent/metrics?format=prometheus"; }
value() { scrape | awk -v m="waymark_$1" '$1 == m {print $2}'; }
of_backend() { value "backend_$1{service=\"web\",instance=\"$2\",node=\"n1\"}"; }
dial() { # address, port, how often
	inside /usr/bin/python3 -c '
import socket, sys
for _ in range(int(sys.argv[3])):
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2]))).close()
    except ConnectionRefusedError:
        pass' "$@"
}

PASSIVE=0 # before the agent is there, as doctor dials a service's
"$CTL" --pin-dir "$PINS-doctor" doctor 2>/dev/null | grep 'passive_health *ok' >/dev/null && PASSIVE=1
start_agent
backend one 127.0.0.2 8080
backend two 127.0.0.3 8080
register one web 127.0.0.2 8080 >/dev/null
register 't\"wo' web 127.0.0.3 8080 >/dev/null
register none empty 127.0.0.4 1 '"Check": {"TTL": "1h", "Status": "critical"}' >/dev/null
check "nothing was dialled, and nothing is told" 0 "$(scrape | grep -c '^waymark_service_')"
dial "$(vip4 web)" 80 40
one=$(of_backend picks_total one) two=$(of_backend picks_total 't\\"wo')
check "picks of the service" 40 "$(value 'service_picks_total{service="web"}')"
check "are those of its backends" 40 $((one + two))
[ "$one" -gt 0 ] && [ "$two" -gt 0 ] || fail "both were picked: $one, $two"
check "none is open" 0 "$(value 'service_open{service="web"}')"

(
	echo $BASHPID >"$CG/cgroup.procs"
	# shellcheck disable=SC2016 # the inner shell's
	exec bash -c 'exec 9<>"/dev/tcp/$0/80"; exec sleep 600' "$(vip4 web)"
) &
HOLD=$!
is_open() { [ "$(value 'service_open{service="web"}')" = "$1" ]; }
until_ok 20 is_open 1 || fail "an open connection is not counted"
check "of one backend" 1 $(($(of_backend open one) + $(of_backend open 't\\"wo')))
kill $HOLD
wait $HOLD 2>/dev/null
until_ok 20 is_open 0 || fail "a closed one is counted"

"$CTL" --agent "$API" deregister one >/dev/null
check "the picks of one that left stay with its service" 41 "$(value 'service_picks_total{service="web"}')"
check "which itself is gone" "" "$(of_backend picks_total one)"

# what goes through a port of a policy is the service's and the instance's as well
connects() { value "connect_seconds_count{service=\"$1\"}"; }
backend ports 127.0.0.7 8080
backend more 127.0.0.7 9100
register p1 ports 127.0.0.7 8080 '"Meta": {"endpoints.metrics": "http:9100"}' >/dev/null
check "a port has a policy" 200 "$(operator_code -X PUT "$API/v1/waymark/policies/ports" -d '{"ports": {"9090": "metrics"}}')"
of_port() { value "backend_$1{service=\"ports\",instance=\"p1\",node=\"n1\"}"; }
dial "$(vip4 ports)" 9090 7
check "picks of the port are the service's" 7 "$(value 'service_picks_total{service="ports"}')"
check "and the instance's" 7 "$(of_port picks_total)"
check "an instance whose own port nobody dialled has its connects told" 7 "$(connects ports)"
dial "$(vip4 ports)" 80 4
check "with those of its own port" "11 11" "$(value 'service_picks_total{service="ports"}') $(of_port picks_total)"
check "connects of both" 11 "$(connects ports)"
register p2 ports 127.0.0.7 8080 >/dev/null
"$CTL" --agent "$API" deregister p1 >/dev/null
check "they stay, and are counted once" 11 "$(value 'service_picks_total{service="ports"}')"

# what fails, and how long the way is
if [ $PASSIVE = 1 ]; then
	register s1 sick 127.0.0.8 8080 '"Meta": {"listener_notice": "false"}' >/dev/null
	backend well 127.0.0.9 8080
	register s2 sick 127.0.0.9 8080 >/dev/null
	dial "$(vip4 sick)" 80 40
	check "failures of a service" 1 "$(value 'service_failures_total{service="sick"}')"
	check "ejections of it" 1 "$(value 'service_ejections_total{service="sick"}')"
	check "of whom" 1 "$(value 'backend_failures_total{service="sick",instance="s1",node="n1"}')"
	[ "$(value 'backend_rtt_us{service="sick",instance="s2",node="n1"}')" -gt 0 ] || fail "a round trip is measured"
fi

dial "$(vip4 empty)" 80 3
dial 240.255.255.254 80 2
check "refused: nobody is usable" 3 "$(value 'refusals_total{reason="no_usable_backend"}')"
check "refused: nobody's address" 2 "$(value 'refusals_total{reason="unknown_address"}')"
check "whose they were, and why" 3 "$(value 'service_refusals_total{service="empty",subset="",port="0",reason="down"}')"
check "of nobody else" 1 "$(api "$API/v1/agent/metrics?format=prometheus" | grep -c '^waymark_service_refusals_total{')"
check "all are listed" 0 "$(value refusals_left_out)"
check "nothing is left out" 0 "$(value traffic_left_out)"

# more services than are listed: those that nobody can take, and those that few dial
/usr/bin/python3 - "$API" 1010 <<'E2' || fail "services are registered"
import http.client, json, sys
api = http.client.HTTPConnection(sys.argv[1].split("/")[2])
def put(**service):
    api.request("PUT", "/v1/agent/service/register", json.dumps(service))
    answer = api.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
for i in range(int(sys.argv[2])):
    put(Name="few-%d" % i, Address="127.0.0.2", Port=8080)
    put(Name="down-%d" % i, Address="127.0.0.2", Port=8080, Check={"TTL": "1h", "Status": "critical"})
put(Name="last", Address="127.0.0.2", Port=8080)
E2
api "$API/v1/waymark/services" | jq -r '.[] | select(.name | test("^(few|down)-")) | .vip4' >"$TMP/addresses"
inside /usr/bin/python3 -c '
import socket, sys
for address in open(sys.argv[1]):
    try:
        socket.create_connection((address.strip(), 80)).close()
    except ConnectionRefusedError:
        pass' "$TMP/addresses"
dial "$(vip4 last)" 80 5
scrape >"$TMP/scrape"
value() { awk -v m="waymark_$1" '$1 == m {print $2}' "$TMP/scrape"; }
listed() { grep -c "^waymark_$1{" "$TMP/scrape"; }
check "as many services as have a place" 1000 "$(listed service_picks_total)"
check "a histogram for each, but for one whose backend is gone" 999 "$(listed connect_seconds_count)"
[ "$(value connects_left_out)" -ge 10 ] || fail "services without one are told: $(value connects_left_out)"
[ "$(value traffic_left_out)" -ge 20 ] || fail "as are services and backends: $(value traffic_left_out)"
check "the busiest are listed, though they came last" "5 5" "$(value 'service_picks_total{service="last"}') $(connects last)"
check "refusals as many as have a place" 1000 "$(listed service_refusals_total)"
check "and how many are not" 11 "$(value refusals_left_out)"
done_testing
