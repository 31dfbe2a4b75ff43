#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What strangers say in outputs of checks moves nothing on the operator's terminal; what is secret in
# checks is in no answer, no log and no output; file names are JSON as JSON wants them.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
ctl() { "$CTL" --agent "unix:$TMP/http.sock" "$@"; }
# anything that is neither printable ASCII nor a line end, in octets
odd() { LC_ALL=C grep -c '[^ -~]' <<<"$1"; }

/usr/bin/python3 -c '
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(500)
        self.end_headers()
        self.wfile.write("\x1b]0;owned\x07\x9b31m\u202e\r\nsecond line".encode())
    def log_message(self, *a):
        pass
http.server.HTTPServer(("127.0.0.1", 7001), H).serve_forever()' 2>/dev/null &
until_ok 10 curl -s http://127.0.0.1:7001/

start_agent --set kernel.enabled=false --set log.level=debug --set health.interval_min=10ms
check "register" 200 "$(register web-1 web 127.0.0.1 7001 '"Checks": [
	{"CheckID": "told", "TTL": "1h"},
	{"CheckID": "http", "HTTP": "http://user:hush-1@127.0.0.1:7001/x?api_key=hush-2&y=1", "Method": "POST",
	"Interval": "20ms", "Header": {"Authorization": ["hush-3"]}, "Body": "hush-4"},
	{"CheckID": "dead", "HTTP": "http://user:hush-5@127.0.0.1:1/?token=hush-6", "Interval": "20ms"}]')"
check "a heartbeat" 200 "$(code -X PUT "$API/v1/agent/check/fail/told?note=%1b%5b2J%c2%9b2J%e2%80%aex%0ay")"
output() { api $API/v1/agent/checks | jq -r ".[\"$1\"].Output"; }
answered() { # what is kept is one look: on a slow machine a later run may time out
	HTTP=$(output http) DEAD=$(output dead)
	[[ $HTTP == *"HTTP POST"* && $DEAD == GET* ]]
}
until_ok 20 answered || fail "the checks run: $HTTP $DEAD"
matches "the output tells the URL" '^HTTP POST http://hidden@127.0.0.1:7001/x\?api_key=hidden&y=1: 500 ' "$HTTP"
matches "an error too" '^GET "http://hidden@127.0.0.1:1/\?token=hidden": ' "$DEAD"
matches "what the backend said is there" 'owned.*' "$HTTP"
check "without its control characters" 0 "$(LC_ALL=C grep -c "$(printf '[\033\007]')" <<<"$HTTP")"

check "another program's check" true "$(api -X PUT $API/v1/catalog/register -d '{"Node": "n2", "Address": "10.0.0.2", "Check":
	{"Name": "far", "Definition": {"HTTP": "http://u:hush-7@10.0.0.2/", "Header": {"X-Token": ["hush-8"]},
	"Body": "hush-9"}}}')"
api -X PUT $API/v1/agent/check/register -d '{"Name": "bad", "HTTP": "http://u:hush-10@:bad/", "Interval": "10s"}' >"$TMP/refused"
matches "a URL is refused" 'Invalid check: HTTP "http://hidden@:bad/"' "$(cat "$TMP/refused")"
for path in $(api $API/v1/waymark/routes | jq -r '.[] | select(.method == "GET" and (.operator | not)) | .path' |
	grep -v events | sed 's/:id/web-1/; s/:name/web/; s/:node/n2/; s/:state/any/; s/:key/x/'); do
	api "$API$path" >>"$TMP/answers"
	api "$API${path/n2/n1}?pretty&format=text" >>"$TMP/answers"
done
matches "all is asked" 'far' "$(cat "$TMP/answers")"
check "no secret in an answer" "" "$(grep -aho 'hush-[0-9]*' "$TMP/answers" "$TMP/refused" | sort -u)"
check "none in the log" "" "$(grep -o 'hush-[0-9]*' "$TMP/agent.log" | sort -u)"

for c in "instance web-1" services "resolve web" status; do
	# shellcheck disable=SC2086 # it is words
	check "$c is plain" 0 "$(odd "$(ctl $c)")"
	# shellcheck disable=SC2086
	check "$c as JSON is" 0 "$(odd "$(ctl -j $c)")"
done
matches "escaped it can be read" '\\x1b\[2J\\x9b2J\\u202ex\\ny' "$(ctl instance web-1)"
name=$TMP/$(printf 'a"\\\033[2J.snapshot')
ctl snapshot save "$name" >"$TMP/said"
check "a file's name is escaped" 0 "$(odd "$(cat "$TMP/said")")"
check "in JSON as well" "$name" "$(ctl -j snapshot verify "$name" | jq -r .File)"
done_testing
