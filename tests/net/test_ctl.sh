#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# waymarkctl against a running agent, against none, and its errors.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

ctl() { WAYMARK_PIN_DIR=$PINS "$CTL" "$@"; }
rc() {
	"$@" >/dev/null 2>&1
	echo $?
}
check "no agent" 2 "$(rc ctl status)"
matches "no agent is asked for" "is waymarkd running" "$(ctl status 2>&1)"
matches "a failure as JSON" '^\{"error":"http://127' "$(ctl --json services 2>&1)"
matches "no agent is told" '127.0.0.1:8500' "$(ctl status 2>&1)"
# shellcheck disable=SC2016 # for the other shell
matches "an operator's socket that nobody serves" 'if http.socket is another: -a unix:PATH' "$(unshare --mount bash -c '
	mount -t tmpfs none /run && mkdir /run/waymark
	/usr/bin/python3 -c "import socket; socket.socket(socket.AF_UNIX).bind(\"/run/waymark/http.sock\")"
	"$1" leave 2>&1' bash "$CTL")"
/usr/bin/python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
while True: s.accept()[0].close()' "$TMP/silent" &
until_ok 10 test -S "$TMP/silent"
check "an agent that gives no answer" "waymarkctl: unix:$TMP/silent: an agent listens there, but gives no answer" \
	"$(ctl -a "unix:$TMP/silent" services 2>&1)"
kill $!
# A Consul agent has port 8500 already: nothing is written there, and our socket is asked instead.
/usr/bin/python3 -c '
import http.server
class Other(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_error(404 if "waymark" in self.path else 200)
    def do_PUT(self): open("'"$TMP"'/written", "w"); self.send_error(200)
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 8500), Other).serve_forever()' &
OTHER=$!
until_ok 10 api $API/
matches "another program at port 8500 is told" '8500: another program answers there, no waymarkd' "$(ctl services 2>&1)"
matches "nor is anything written to it" '8500: another program answers there' "$(ctl deregister web 2>&1)"
check "not even tried" 0 "$(find "$TMP" -name written | wc -l)"
start_agent --set http.port=8501
until_ok 60 test -S "$TMP/http.sock"
# shellcheck disable=SC2016 # for the other shell
matches "an agent is found behind its socket then" ': (healthy|DEGRADED)' "$(unshare --mount bash -c '
	mount -t tmpfs none /run && mkdir /run/waymark && ln -s "$2" /run/waymark/http.sock && "$1" status 2>&1' \
	bash "$CTL" "$TMP/http.sock")"
kill "$AGENT" $OTHER
wait "$AGENT"
AGENT=''
check "no command" 2 "$(rc ctl)"
check "a wrong command" 2 "$(rc ctl dance)"
check "a missing argument" 2 "$(rc ctl resolve)"
check "--help" 0 "$(rc ctl --help)"
matches "a mistyped command" "did you mean 'status'" "$(ctl statsu 2>&1)"
matches "one of a group" "did you mean 'dns status'" "$(ctl dns statsu 2>&1)"
check "a group alone tells what is in it" "2 8" "$(rc ctl dns) $(ctl dns 2>&1 | grep -c '^usage: waymarkctl dns ')"
check "so does its --help" 8 "$(ctl dns --help | grep -c '^usage: waymarkctl dns ')"
check "--help behind a command is the command's" "$(ctl help drain)" "$(ctl drain web-1 --help)"
check "help of a command" 0 "$(rc ctl help drain)"
matches "help of a command has its options" "--deadline DURATION" "$(ctl help drain)"
check "and only what they mean to it" 1 "$(ctl help monitor | grep -c -- '--cgroup DIR  *only processes in this cgroup')"
check "an option of another command" 2 "$(rc ctl services --deadline 1s)"
matches "which one it is of" "deadline is no option of 'services', but of: drain" "$(ctl services --deadline 1s 2>&1)"
matches "all that it is of" "force is no option of 'services', but of: detach, force-leave, keyring use, dns enable" "$(ctl --force services 2>&1)"
matches "of a command of two words" "offline is no option of 'snapshot save'" "$(ctl --offline snapshot save "$TMP/x" 2>&1)"
matches "by its letter" "verbose is no option of 'doctor'" "$(ctl -v doctor 2>&1)"
check "help of none" 2 "$(rc ctl help dance)"
matches "version" "waymarkctl [0-9]" "$(ctl version)"
bash -c "source <($CTL completion) && complete -p waymarkctl" >/dev/null || fail "the completion is not for bash"
completed() { # words on the line, the last one is being typed
	# shellcheck disable=SC2016 # for the other shell
	bash -c 'source <("$1" completion); shift; COMP_WORDS=(waymarkctl "$@"); COMP_CWORD=$#; _waymarkctl; echo "${COMPREPLY[*]}"' \
		bash "$CTL" "$@" 2>&1
}
matches "commands first, each once, and options of all" '^status services .* maps snapshot detach .* help --agent --json' "$(completed '')"
check "no other's option" 0 "$(completed '' | grep -c deadline)"
check "a command's beginning" "resolve register reload" "$(completed re)"
matches "its options and no command" '^--agent --json --deadline --wait' "$(completed drain web-1 '')"
check "a second word, or options" 'dump --agent --json --watch --reference --man --version --help' "$(completed maps '')"
check "maps after maps dump" 'names frontends sets slots backends counters' "$(completed maps dump '' | sed 's/ --.*//')"
check "one by its beginning" backends "$(completed --json maps dump b)"
check "and no map after it" 0 "$(completed maps dump backends '' | grep -c frontends)"
check "on or off" 'on off' "$(completed maint '' | sed 's/ --.*//')"
check "what a snapshot can" 'save verify restore' "$(completed snapshot '')"
check "what each group can" 'enable disable status upstreams trace top cache flush; connect socket; init issue show' \
	"$(completed dns ''); $(completed explain ''); $(completed ca '')"
check "files where one is wanted" "$TMP/agent.log" "$(touch "$TMP/agent.log" && completed snapshot verify "$TMP/ag")"
check "directories for a directory" "$TMP" "$(completed --pin-dir "$TMP" | xargs -n1 | grep -x "$TMP")"
check "nothing for a duration" '' "$(completed drain --deadline '')"
for m in $(completed maps dump '' | sed 's/ --.*//'); do
	check "map $m is one" 0 "$(ctl maps dump "$m" 2>&1 | grep -c 'is wanted')"
done
for c in status services resolve instance register deregister maint drain undrain events reload validate maps "maps dump" \
	"snapshot save" "snapshot verify" "snapshot restore" detach doctor completion version help; do
	matches "the manual page tells $c" "^\.B $c" "$(ctl --man)"
	matches "--help tells $c" "^  $c" "$(ctl --help)"
	matches "the reference tells $c" "waymarkctl $c" "$(ctl --reference)"
done

tools/gen-docs.sh "$B" --check || fail "docs/reference is not what the code says: make docs"

start_agent
register a web 127.1.0.1 8081 '"Tags": ["blue"]' >/dev/null
register b web 127.1.0.2 8082 >/dev/null
matches "status is a verdict" '^waymark [0-9.]+ on n1, datacenter dc1, up [0-9a-z]+: healthy$' "$(ctl status)"
matches "status counts" '^instances +2 of 2 healthy' "$(ctl status)"
matches "status says where DNS is" '^dns +mesh.internal on 127.0.0.1:8600' "$(ctl status)"
check "status has ten lines at most" 1 "$(($(ctl status | wc -l) <= 10))"
matches "counters behind -v" 'dns_query +[0-9]' "$(ctl status -v)"
check "status as JSON" n1 "$(ctl --json status | jq -r .node)"
matches "services" 'web +2[45][0-9.]+ +2/2 +yes' "$(ctl services)"
check "services as JSON" web "$(ctl -j services | jq -r '.[0].name')"
matches "resolve" '127.1.0.2' "$(ctl resolve web)"
check "resolve as JSON" 0 "$(rc ctl -j resolve web)"
check "resolve what is not there" 1 "$(rc ctl resolve none)"
matches "maps" 'backends +[0-9]+' "$(ctl maps)"
# every form of a name that DNS has
for n in web web.service web.service.mesh.internal. web.service.dc1.mesh.internal web.virtual.mesh.internal _web._tcp _web._tcp.service.mesh.internal; do
	matches "resolve $n" 'a +127.1.0.1:8081 +passing +up +1 +0.5' "$(ctl resolve $n)"
done
matches "resolve a tag" '^tag +blue' "$(ctl resolve blue.web.service.mesh.internal)"
api -X POST $API/v1/query -d '{"Name": "q", "Service": {"Service": "web", "Tags": ["blue"]}}' >"$TMP/answer"
matches "resolve a prepared query" '^a +n1 +127.1.0.1 +8081$' "$(ctl resolve q.query.mesh.internal)"
check "and no other instance" 0 "$(ctl resolve q.query | grep -c 8082)"
ctl policy set web - <<<'{"subsets": {"s2": "\"blue\" not in Service.Tags"}}' >"$TMP/answer"
check "resolve a subset's virtual name" "$(ask s2.web.virtual.mesh.internal)" "$(ctl -j resolve s2.web.virtual | jq -r .vip4)"
check "and its instances" b "$(ctl -j resolve s2.web.virtual.mesh.internal | jq -r '.chosen[].id')"
ctl policy delete web >"$TMP/answer"
matches "resolve a node" 'Node +n1' "$(ctl resolve n1.node.mesh.internal)"
matches "resolve an address" 'address +127.0.0.1' "$(ctl resolve 7f000001.addr.mesh.internal)"
matches "resolve the domain" '^mesh.internal is a domain of this agent' "$(ctl resolve mesh.internal)"
matches "resolve its name server" '^ *Node +n1$' "$(ctl resolve ns.mesh.internal)"
matches "resolve a name of an address" '^127.1.0.1 is web.service.dc1.mesh.internal$' "$(ctl resolve 1.0.1.127.in-addr.arpa.)"
matches "it shows the service" 'a +127.1.0.1:8081 +passing' "$(ctl resolve 1.0.1.127.in-addr.arpa)"
matches "resolve an address itself" '^127.1.0.2 is web.service.dc1.mesh.internal$' "$(ctl resolve 127.1.0.2)"
matches "resolve a virtual address" "^$(vip4 web) is web.virtual.mesh.internal\$" "$(ctl resolve "$(vip4 web)")"
reverse6=$(/usr/bin/python3 -c 'import ipaddress, sys; print(ipaddress.ip_address(sys.argv[1]).reverse_pointer)' "$(vip6 web)")
matches "resolve a name below ip6.arpa" "^$(vip6 web) is web.virtual.mesh.internal\$" "$(ctl resolve "$reverse6")"
matches "resolve a node's address" '^127.9.9.9 is n2.node.dc1.mesh.internal$' "$(
	api -X PUT $API/v1/catalog/register -d '{"Node": "n2", "Address": "127.9.9.9"}' >"$TMP/answer"
	ctl resolve 127.9.9.9
)"
api -X PUT $API/v1/catalog/deregister -d '{"Node": "n2"}' >"$TMP/answer"
check "resolve as DNS does" "$(ask -x 127.1.0.2)" "$(ctl -j resolve 127.1.0.2 | jq -r .name)."
check "resolve nobody's address" 1 "$(rc ctl resolve 10.99.99.99)"
matches "resolve a range" 'is not the name of one address' "$(ctl resolve 1.127.in-addr.arpa 2>&1)"
register dots a.b 127.1.0.9 80 >"$TMP/answer"
matches "dots are escaped in names" '^  a\\.b.service.mesh.internal$' "$(ctl services a.b)"
check "so that dig finds them" 127.1.0.9 "$(ask "$(ctl services a.b | sed -n 's/^  \(.*service.mesh.internal\)$/\1/p')")"
matches "and resolve" 'dots +127.1.0.9:80' "$(ctl resolve 'a\.b.service.mesh.internal')"
check "in PTR as well" 'a\.b.service.dc1.mesh.internal.' "$(ask -x 127.1.0.9)"
check "deregister it" 0 "$(rc ctl deregister dots)"
register named far db.example.com 5432 >"$TMP/answer"
matches "an instance at a host name" '^named +db.example.com:5432 +passing' "$(ctl services far)"
check "deregister that" 0 "$(rc ctl deregister named)"
check "one node is not shown" 0 "$(ctl services web | grep -c 'node')"
api -X PUT $API/v1/catalog/register -d '{"Node": "n2", "Address": "127.9.9.9", "Service": {"ID": "a", "Service": "web", "Port": 1},
	"Check": {"CheckID": "said", "ServiceID": "a", "Status": "critical", "Output": "no disk"}}' >"$TMP/answer"
matches "an id on two nodes: ours" '^a +n1 +127.1.0.1:8081 +passing.* -$' "$(ctl services web)"
matches "and the other's, with its own reason" '^a +n2 +127.9.9.9:1 +critical .* said: no disk$' "$(ctl services web)"
api -X PUT $API/v1/catalog/deregister -d '{"Node": "n2"}' >"$TMP/answer"
check "resolve what no name is" 1 "$(rc ctl resolve a.b.c)"

# what makes a node degraded, and what to do
matches "maint on of the node" "^out of service: the node" "$(ctl maint on --reason 'new disk')"
check "a node in maintenance is degraded" 1 "$(rc ctl status)"
matches "in the first line" ': DEGRADED$' "$(ctl status)"
matches "with what to do" '^warnings +node: in maintenance: new disk: .* waymarkctl maint off$' "$(ctl status)"
check "as JSON" 'false new disk' "$(ctl -j status | jq -r '"\(.healthy) \(.maintenance)"')"
check "maint off of the node" 0 "$(rc ctl maint off)"
check "it is healthy again" 0 "$(rc ctl status)"
matches "the manual page says what degraded is" 'the node is in maintenance' "$(ctl --man)"

# the maps, with names for numbers
matches "dump backends" '^[0-9]+ +web +a +up +127.1.0.1 +- +8081' "$(ctl maps dump backends)"
check "dump backends: those in use" 2 "$(ctl -j maps dump backends | jq length)"
matches "dump names" '^web.virtual.mesh.internal +virtual +web' "$(ctl maps dump names)"
matches "dump frontends" "^$(vip4 web) +0 +any +web" "$(ctl maps dump frontends)"
matches "dump slots" '^[0-9]+ +web +[0-9]+ +[ab] ' "$(ctl maps dump slots)"
matches "dump sets" '^[0-9]+ +web +[0-9]+ +[0-9]+ +[0-9]+ +2 +2 +0' "$(ctl maps dump sets)"
matches "dump counters" '^dns_query +[0-9]' "$(ctl maps dump counters)"
check "dump of no map" 2 "$(rc ctl maps dump nothing)"
check "the same number as in the agent's answer" "$(ctl -j maps dump backends | jq '.[] | select(.instance == "b").backend')" \
	"$(ctl -j services web | jq '.backends[] | select(.id == "b").backend')"

# a service's life from the command line
echo '{"Name": "job", "ID": "job-1", "Port": 99, "Check": {"TTL": "1h"}}' >"$TMP/job.json"
"$CTL" events >"$TMP/events" 2>&1 &
FOLLOWER=$!
listening() { [ "$(api "$API/v1/waymark/status" | jq .http.connections)" -gt 1 ]; }
until_ok 10 listening || fail "events listen"
matches "register" "^registered" "$(ctl register "$TMP/job.json")"
matches "what fails is told" 'job +2[45][0-9.]+ +0/1 +yes +service:job-1: no result yet' "$(ctl services)"
api -X PUT "$API/v1/agent/check/update/service:job-1" -d '{"Status": "critical", "Output": "no disk\nmore"}'
matches "and why" '0/1 +yes +service:job-1: no disk$' "$(ctl services)"
api -X PUT "$API/v1/agent/check/pass/service:job-1"
matches "maint on" "^out of service" "$(ctl maint on job-1 --reason 'new kernel')"
matches "the reason is shown" '_service_maintenance:job-1: new kernel' "$(ctl services job)"
check "maint off" 0 "$(rc ctl maint off job-1)"
check "maint of nothing sensible" 2 "$(rc ctl maint perhaps job-1)"
# a client holds a connection, or the drain would end while it is looked at
api -X PUT "$API/v1/agent/check/pass/service:job-1"
inside /usr/bin/python3 -c '
import signal, socket, sys
server = socket.create_server(("127.0.0.1", 99))
client = socket.create_connection((sys.argv[1], 99), 10)
print("held", flush=True)
signal.pause()
' "$(vip4 job)" >"$TMP/held" &
HOLDER=$!
until_ok 20 grep -q held "$TMP/held" || fail "no connection to job"
check "drain" 0 "$(rc ctl drain job-1 --deadline 1h)"
matches "undrain" "takes new connections again" "$(ctl undrain job-1)"
matches "when a drain ends, for people" '^  Until +20[0-9]{2}-[0-9-]+ [0-9:]{8} \(in (59m[0-9]+s|1h0m0s)\)$' "$(
	ctl drain job-1 --deadline 1h >"$TMP/answer"
	ctl instance job-1
)"
check "for scripts it is a number" number "$(ctl -j instance job-1 | jq -r '.Drain.UntilMs | type')"
ctl undrain job-1 >"$TMP/answer"
check "undrained" running "$(ctl -j instance job-1 | jq -r .State)"
kill $HOLDER
matches "drain --wait" "deregistered: job-1" "$(ctl drain job-1 --deadline 2s --wait)"
check "it is gone" 1 "$(rc ctl instance job-1)"
check "register what is no service" 1 "$(echo '{"Port": 1}' | rc ctl register -)"
ctl register "$TMP/job.json" >/dev/null
check "deregister" 0 "$(rc ctl deregister job-1)"
seen() { grep -qE "instance-deleted +job +job-1" "$TMP/events"; }
until_ok 10 seen || fail "events follow: $(cat "$TMP/events")"
kill $FOLLOWER
"$CTL" events >"$TMP/events" 2>"$TMP/retries" &
FOLLOWER=$!
until_ok 10 listening || fail "events listen"
check "validate" 0 "$(echo '{"dns": {"port": 5353}}' >"$TMP/ok.json" && rc ctl validate "$TMP/ok.json")"
check "validate what is wrong" 1 "$(echo '{"dns": {"prot": 5353}}' >"$TMP/bad.json" && rc ctl validate "$TMP/bad.json")"
check "maps as JSON" 16 "$(ctl -j maps | jq '.maps | length')"
check "over the Unix socket" n1 "$(ctl --agent "unix:$TMP/http.sock" -j status | jq -r .node)"
check "the socket is the owner's alone" 600 "$(stat -c %a "$TMP/http.sock")"
check "by the environment" n1 "$(WAYMARK_HTTP_ADDR=unix:$TMP/http.sock ctl -j status | jq -r .node)"
matches "doctor" 'selftest +ok' "$(ctl doctor)"
check "doctor as JSON" ok "$(ctl -j doctor | jq -r '.Kernel[] | select(.Check == "selftest").Result')"

# SIGHUP: what may change does, the rest is named
echo '{"service": {"name": "here"}, "checks": [{"name": "lost", "service_id": "nobody", "ttl": "1h"}]}' >"$TMP/w.json"
stop_agent
start_agent --config "$TMP/w.json"
again() { grep -q 'events again' "$TMP/retries"; }
until_ok 20 again || fail "events come again: $(cat "$TMP/retries")"
matches "that they had stopped is told" 'ended, trying again every 1 s' "$(cat "$TMP/retries")"
check "once" 1 "$(grep -c 'trying again' "$TMP/retries")"
kill $FOLLOWER
check "definitions that failed are degraded" 1 "$(rc ctl status)"
matches "with file, line and what to do" \
	'definitions: 1 failed: .*/w.json:1: checks\[0\]: ServiceID "nobody" does not exist: mend the file, .*waymarkctl reload' "$(ctl status)"
echo '{}' >"$TMP/w.json"
check "mended and read again" 0 "$(rc ctl --agent "unix:$TMP/http.sock" reload)"
check "they are healthy" 0 "$(rc ctl status)"
echo '{"log": {"level": "debug"}, "dns": {"port": 9999}}' >"$TMP/w.json"
kill -HUP "$AGENT"
reloaded() { grep -q 'event=agent.reload changed=1 needs_restart=dns.port$' "$TMP/agent.log"; }
until_ok 10 reloaded || fail "SIGHUP is followed: $(tail -2 "$TMP/agent.log")"
again() { ctl --agent "unix:$TMP/http.sock" reload >"$TMP/again"; }
until_ok 10 again || fail "a reload behind that of the signal"
matches "reload says what needs a restart" '^changed, and as before until the agent starts again: dns.port$' "$(cat "$TMP/again")"
matches "so does the status" 'settings changed: dns.port: ' "$(ctl status)"
matches "all settings can be printed" '"port": 8600' "$("$B/waymarkd" --dump-config)"
stop_agent
start_agent --set registry.consul_service=true
check "deregister the agent's own service" 1 "$(rc ctl deregister consul)"
matches "why not" "the agent's own service, .*registry.consul_service = false" "$(ctl deregister consul 2>&1)"
stop_agent KILL
check "status with the agent dead" 2 "$(rc ctl status)"
matches "is read from the pins" '^kernel +goes on serving' "$(ctl status 2>/dev/null)"
matches "so are the maps" '^web.service.mesh.internal +service +web' "$(ctl maps dump names)"

# the service manager is told: ready, reloading, stopping
/usr/bin/python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(60)
while True:
    m = s.recv(512).decode().split("\n")[0]
    print(m, flush=True)
    if m == "STOPPING=1":
        break
' "$TMP/notify" >"$TMP/told" &
MANAGER=$!
until_ok 10 test -S "$TMP/notify"
export NOTIFY_SOCKET=$TMP/notify WATCHDOG_USEC=400000
start_agent
watched() { grep -q WATCHDOG=1 "$TMP/told"; }
until_ok 10 watched || fail "the watchdog is fed: $(cat "$TMP/told")"
kill -HUP "$AGENT"
told() { grep -q RELOADING=1 "$TMP/told"; }
until_ok 10 told || fail "a reload is told"
stop_agent
unset NOTIFY_SOCKET WATCHDOG_USEC
wait $MANAGER
check "READY first" READY=1 "$(head -n 1 "$TMP/told")"
check "STOPPING last" STOPPING=1 "$(tail -n 1 "$TMP/told")"
ctl -j detach | jq -e '.Removed > 10' >/dev/null || fail "detach as JSON"
done_testing
