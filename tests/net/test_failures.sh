#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What is missing, wrong or damaged: the agent says exactly what, and goes on where that makes sense.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

refuse() { # expected exit status, options of waymarkd: prints what it says
	local want=$1 got
	shift
	timeout 60 "$B/waymarkd" --set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" \
		--set "kernel.cgroup=$CG" --set "http.socket=$TMP/http.sock" "$@" >"$TMP/refused" 2>&1
	got=$?
	[ $got = "$want" ] || echo "exit status $got, not $want"
	cat "$TMP/refused"
}
userspace_works() {
	check "$1: register" 200 "$(register a lonely 10.9.9.9 80)"
	check "$1: DNS by userspace" 10.9.9.9 "$(ask lonely.service.mesh.internal)"
	check "$1: the virtual name leads to the endpoint" 10.9.9.9 "$(ask lonely.virtual.mesh.internal)"
	matches "$1: status says it" "$2" "$(api $API/v1/waymark/status | jq -c .plane)"
}
log_has() { matches "$1" "$2" "$(cat "$TMP/agent.log")"; }

# --- settings
echo '{"dns": {"prot": 53}}' >"$TMP/bad.json"
matches "an unknown setting" 'unknown setting "dns.prot"' "$(refuse 2 --config "$TMP/bad.json")"
matches "a wrong value" 'dns.port: 70000 is not from 0 to 65535' "$(refuse 2 --set dns.port=70000)"
matches "a missing file" 'none.json: No such file' "$(refuse 2 --check-config --config "$TMP/none.json")"
echo '{"dns": {"port": 53}}' >"$TMP/good.json"
check "--check-config" "configuration ok" "$(refuse 0 --check-config --config "$TMP/good.json")"
matches "a wrong range" 'vip.ipv4: a range' "$(refuse 1 --set vip.ipv4=10.0.0.0)"
matches "a wrong option" 'try: waymarkd --help' "$(refuse 2 --nonsense)"

# --- what the kernel's part needs
start_agent --set "kernel.pin_dir=$TMP/not-a-bpffs"
log_has "no bpffs" 'event=plane.off .*is not a bpffs: set kernel.pin_dir'
userspace_works "no bpffs" bpffs
stop_agent
start_agent --set "kernel.cgroup=$TMP"
log_has "no cgroup2" "event=plane.hook name=connect4 where=$TMP .*cgroup2"
check "no cgroup2: it is ready with what it has" 200 "$(code $API/v1/waymark/ready)"
check "no cgroup2: DNS by the kernel all the same" 10.9.9.9 "$(ask lonely.service.mesh.internal)"
stop_agent
"$CTL" --pin-dir "$PINS" detach >/dev/null
start_agent --set kernel.memory_max=100000
log_has "too little memory" 'event=plane.off .*maps need [0-9]+ bytes, kernel.memory_max is 100000'
userspace_works "too little memory" memory_max
check "too little memory: it lives" 200 "$(code $API/v1/waymark/live)"
check "and is not ready" 503 "$(code $API/v1/waymark/ready)"
matches "for a reason" memory_max "$(api $API/v1/waymark/ready | jq -r '.reasons[]')"
stop_agent
start_agent --set kernel.enabled=false
userspace_works "switched off" 'kernel.enabled is false'
check "switched off: that is ready" "200 off" "$(code $API/v1/waymark/ready) $(api $API/v1/waymark/ready | jq -r .plane)"
stop_agent
# a process that may not use BPF
: >"$TMP/agent.log"
ASAN_OPTIONS=detect_leaks=0 setpriv --bounding-set -bpf,-sys_admin,-perfmon --inh-caps -bpf,-sys_admin,-perfmon \
	"$B/waymarkd" --set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" --set "kernel.cgroup=$CG" \
	--set "http.socket=$TMP/http.sock" 2>>"$TMP/agent.log" &
AGENT=$!
until_ok 30 agent_up || fail "an agent without CAP_BPF answers"
log_has "no CAP_BPF" 'event=plane.off .*(Operation not permitted|Permission denied|EPERM)'
userspace_works "no CAP_BPF" 'ermi'
stop_agent

# --- tables that are full
: >"$TMP/agent.log"
start_agent --set kernel.services_max=16 --set kernel.backends_max=16
for i in $(seq 20); do register "f$i" "full$i" 10.8.0."$i" 80 >/dev/null; done
check "all are registered" 21 "$(api $API/v1/catalog/services | jq 'length - (has("consul") | if . then 1 else 0 end)')"
log_has "a full table is told" 'event=resolution.unfit .*are the limit'
answers=0
for i in $(seq 20); do [ "$(ask full$i.service.mesh.internal)" = "10.8.0.$i" ] && answers=$((answers + 1)); done
check "userspace answers for those that did not fit" 20 $answers
stop_agent
"$CTL" --pin-dir "$PINS" detach >/dev/null

# --- bad requests change nothing
start_agent
before=$(api $API/v1/agent/services | jq length)
bad() { # expected status, expected text, body
	check "refused: $2" "$1" "$(code -X PUT $API/v1/agent/service/register -d "$3")"
	matches "says: $2" "$2" "$(api -X PUT $API/v1/agent/service/register -d "$3")"
}
bad 400 'decode' '{"Name": "x"'
bad 400 'Nme' '{"Nme": "x"}'
bad 400 'Port' '{"Name": "x", "Port": "80"}'
bad 400 '[Pp]ort' '{"Name": "x", "Port": 70000}'
bad 400 '[Nn]ame' '{"Name": "line\nbreak"}'
bad 400 '[Nn]ame' '{"Port": 80}'
bad 400 '[Aa]ddress' '{"Name": "x", "Address": "0.0.0.0"}'
bad 400 'nterval' '{"Name": "x", "Check": {"HTTP": "http://127.0.0.1/"}}'
check "refused: too large" 413 "$(head -c 700000 /dev/zero | tr '\0' x |
	code -X PUT $API/v1/agent/service/register --data-binary @- -H 'Expect:')"
check "refused: no such endpoint" 404 "$(code $API/v1/nothing)"
check "refused: method" 405 "$(code -X DELETE $API/v1/agent/services)"
check "refused: a name of somebody else" 403 "$(code -H 'Host: evil.example' $API/v1/agent/services)"
check "refused: unknown id" 404 "$(code -X PUT $API/v1/agent/service/deregister/none)"
check "nothing changed" "$before" "$(api $API/v1/agent/services | jq length)"

# --- two agents, a port in use
matches "the store has one owner" '(in use|busy|another process|EBUSY)' "$(refuse 1 --set http.port=8501 --set dns.port=8601 --set "http.socket=")"
matches "a port in use" 'http.port 8500 on http.addresses 127.0.0.1' \
	"$(refuse 1 --set "node.data_dir=$TMP/data2" --set "kernel.pin_dir=$PINS-2" --set dns.port=8601)"
matches "a DNS port in use" 'dns.port 8600 on dns.addresses 127.0.0.1' \
	"$(refuse 1 --set "node.data_dir=$TMP/data3" --set "kernel.pin_dir=$PINS-2" --set http.port=8501)"
"$CTL" --pin-dir "$PINS-2" detach >/dev/null
rm -rf "$TMP/data2" "$TMP/data3"
stop_agent

# --- a damaged store is refused and left as it is
damage() { # offset
	printf 'DAMAGE!!' | dd of="$TMP/data/registry.db" bs=1 seek="$1" conv=notrunc 2>/dev/null
}
cp "$TMP/data/registry.db" "$TMP/whole.db"
damage "$(grep -obUa 10.8.0.7 "$TMP/whole.db" | head -n 1 | cut -d: -f1)"
sum=$(sha256sum <"$TMP/data/registry.db")
said=$(refuse 1)
matches "a damaged store is refused" 'registry.db' "$said"
matches "it says damaged" 'damaged' "$said"
check "and left as it is" "$sum" "$(sha256sum <"$TMP/data/registry.db")"
damage 0
matches "no SQLite file at all" 'registry.db' "$(refuse 1)"
cp "$TMP/whole.db" "$TMP/data/registry.db"
start_agent
check "the whole one is read" "$before" "$(api $API/v1/agent/services | jq length)"
done_testing
