#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Kinds of checks end to end: what a check finds is in DNS. Aliases within the answer to what they
# follow; scripts only from the Unix socket, and not after a restart that forbids them.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
names() { ask "$1.service.mesh.internal" | sort | xargs; }
put() { code -X PUT "$API/v1/agent/$1" "${@:2}"; }
said() { api -X PUT "$@"; } # the answer's text
field() { api "$API/v1/agent/checks" | jq -r ".\"$1\".$2"; }
# shellcheck disable=SC2317 # called by until_ok
is() { [ "$(field "$1" Status)" = "$2" ]; }

start_agent
# --- alias: the very next question knows
put service/register -d '{"Name": "db", "Address": "127.1.0.1", "Port": 1, "Check": {"CheckID": "db", "TTL": "1h"}}' >/dev/null
check "an alias" 200 "$(put service/register -d '{"Name": "web", "Address": "127.1.0.2", "Port": 2,
	"Check": {"CheckID": "web", "AliasService": "db"}}')"
check "its type" alias "$(field web Type)"
check "an alias of an alias" 200 "$(put service/register -d '{"Name": "top", "Address": "127.1.0.3", "Port": 3,
	"Check": {"CheckID": "top", "AliasNode": "n1", "AliasService": "web"}}')"
for round in 1 2 3; do
	put check/pass/db >/dev/null
	check "round $round: passing" "127.1.0.1 127.1.0.2 127.1.0.3" "$(names db) $(names web) $(names top)"
	put check/fail/db?note=full >/dev/null
	check "round $round: critical" NXDOMAIN "$(status_of top.service.mesh.internal)"
	check "round $round: why" 'Aliased check "Service '"'db'"' check" failing: full' "$(field web Output)"
done
put service/deregister/db >/dev/null
check "what is gone" "Service db could not be found on node n1" "$(field web Output)"
check "of another node" "Invalid check: AliasNode \"n7\" is not this node (n1): other nodes are not supported" \
	"$(said $API/v1/agent/check/register -d '{"Name": "a", "AliasNode": "n7", "AliasService": "db"}')"

# --- scripts: off by default, whoever asks
script="{\"Name\": \"job\", \"Address\": \"127.1.0.4\", \"Port\": 4, \"Check\": {\"CheckID\": \"job\",
	\"ScriptArgs\": [\"test\", \"-e\", \"$TMP/up\"], \"Interval\": \"1s\", \"Timeout\": \"5s\"}}"
remote="Scripts are disabled on this agent from remote calls; to enable, configure 'health.scripts' to 'local' and register over the Unix socket"
off="Scripts are disabled on this agent; to enable, configure 'health.scripts' to 'local'"
unix=(--unix-socket "$TMP/http.sock" http://localhost/v1/agent/service/register -d "$script")
check "off, over TCP" "$remote" "$(said $API/v1/agent/service/register -d "$script")"
check "off, over the Unix socket" "$off" "$(said "${unix[@]}")"
check "as Consul, a 500" 500 "$(code -X PUT "${unix[@]}")"
stop_agent
start_agent --set health.scripts=local
check "local, over TCP from 127.0.0.1" "$remote" "$(said $API/v1/agent/service/register -d "$script")"
check "by itself, over TCP" "$remote" "$(said $API/v1/agent/check/register -d '{"Name": "a", "Args": ["true"], "Interval": "1s"}')"
check "local, over the Unix socket" 200 "$(code -X PUT "${unix[@]}")"
until_ok 30 is job warning || fail "the script does not run: $(field job Output)"
check "its type" script "$(field job Type)"
touch "$TMP/up"
until_ok 30 is job passing || fail "the script does not pass: $(field job Output)"
check "it is in DNS" 127.1.0.4 "$(names job)"
stop_agent KILL
start_agent --set health.scripts=off
until_ok 10 is job critical || fail "a stored script passes though scripts are off"
check "and says why" "$off" "$(field job Output)"
check "it is not in DNS" NXDOMAIN "$(status_of job.service.mesh.internal)"
matches "a setting that is no such word" "health.scripts: off or local" \
	"$("$B/waymarkd" --check-config --set health.scripts=on 2>&1)"
# --- HTTP/2: a server that is not of the libraries we use, and gRPC
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
	-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$TMP/key.pem" -out "$TMP/cert.pem" 2>"$TMP/openssl.log"
stop_agent
start_agent --set "health.ca_file=$TMP/cert.pem"
nghttpd --no-tls 9001 >"$TMP/nghttpd.log" 2>&1 &
plain=$!
nghttpd 9002 "$TMP/key.pem" "$TMP/cert.pem" >"$TMP/nghttpd-tls.log" 2>&1 &
secure=$!
/usr/bin/python3 tests/unit/grpc_peer.py "$TMP" >"$TMP/grpc.port" 2>"$TMP/grpc.log" &
grpc=$!
until_ok 30 test -s "$TMP/grpc.port" || fail "no gRPC server"
printf up >"$TMP/state"
probe() { # name, address, check
	check "$1: registered" 200 "$(put service/register -d "{\"Name\": \"$1\", \"Address\": \"$2\", \"Port\": 1,
		\"Check\": {\"CheckID\": \"$1\", \"Interval\": \"1s\", \"Timeout\": \"10s\", $3}}")"
}
probe ping 127.1.1.1 '"H2PING": "127.0.0.1:9001", "H2PingUseTLS": false'
probe pings 127.1.1.2 '"H2PING": "localhost:9002"'
probe rpc 127.1.1.3 "\"GRPC\": \"localhost:$(<"$TMP/grpc.port")/file\""
for s in ping pings rpc; do
	until_ok 30 is $s passing || fail "$s does not pass: $(field $s Output)"
done
check "they are in DNS" "127.1.1.1 127.1.1.2 127.1.1.3" "$(names ping) $(names pings) $(names rpc)"
check "their types" "h2ping h2ping grpc" "$(field ping Type) $(field pings Type) $(field rpc Type)"
printf down >"$TMP/state"
kill $plain $secure
for s in ping pings rpc; do
	until_ok 30 is $s critical || fail "$s passes: $(field $s Output)"
done
matches "why" "failed: .*(refused|connect)" "$(field ping Output)"
check "why the service is not healthy" "gRPC application didn't report service healthy: NOT_SERVING" "$(field rpc Output)"
kill $grpc
unit='{"Name": "os", "OSService": "wm-no-such-unit", "Interval": "1s"}'
matches "checks of units are the Unix socket's" 'OSService checks are disabled on this agent from remote calls' \
	"$(api -X PUT $API/v1/agent/check/register -d "$unit")"
check "over which they are taken" 200 "$(code --unix-socket "$TMP/http.sock" -X PUT $API/v1/agent/check/register -d "$unit")"
stop_agent
start_agent --set health.os_services=off
disabled() { api $API/v1/agent/checks | jq -r .os.Output | grep -q "OSService checks are disabled"; }
until_ok 30 disabled || fail "what was stored is critical, and why: $(api $API/v1/agent/checks)"
stop_agent
start_agent --set health.os_services=any
probe unit 127.1.1.4 '"OSService": "wm-no-such-unit"'
# shellcheck disable=SC2317 # called by until_ok
asked() { [[ "$(field unit Output)" == *wm-no-such-unit* ]]; }
until_ok 30 asked || fail "systemd is not asked: $(field unit Output)"
check "a unit that is not there" critical "$(field unit Status)"
done_testing
