#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The main job, end to end, on this machine's kernel: demo.sh BUILD_DIRECTORY. Starts the agent with its
# defaults (only its store is kept in a temporary directory), three HTTP backends on loopback addresses,
# and looks at them with programs that know nothing of Waymark. Removes everything at the end.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
B=${1:-build/release}
PINS=/sys/fs/bpf/waymark
CTL=$B/waymarkctl
API=http://127.0.0.1:8500
REQUESTS=300 # through the virtual address, to see the spread
declare -A backend=()
agent='' tmp='' loop='' rows=() failed=0

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { # a command as the reader would type it, and what it prints
	printf '  $ %s\n' "$*"
	"$@" 2>&1 | sed 's/^/    /'
}
result() { # text, expectation, what was seen
	local mark=ok
	[ "$2" = "$3" ] || { mark=FAILED failed=1; }
	rows+=("$(printf '  %-58s %-12s %s' "$1" "$3" "$mark")")
}
die() {
	echo "demo: $*" >&2
	exit 1
}
cleanup() {
	trap - EXIT
	for p in "$loop" "$agent" "${backend[@]}"; do
		[ -n "$p" ] && kill -9 "$p" 2>/dev/null && wait "$p" 2>/dev/null
	done
	[ -n "$tmp" ] && {
		"$CTL" detach >/dev/null
		rm -rf "$tmp"
	}
}
trap cleanup EXIT
trap 'exit 1' INT TERM

ask() { dig +short +tries=1 +time=2 @127.0.0.1 -p 8600 "$@"; }
fetch() { curl -s --max-time 3 --noproxy '*' "$1"; }
counter() { # a counter of the kernel's, summed over its processors
	bpftool -j map dump pinned "$PINS/maps/counters" |
		jq "[.[].formatted.values[]?.value.$1] | add"
}
wait_for() { # seconds, command...: until it succeeds
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}
start_agent() {
	"$B/waymarkd" --set "node.data_dir=$tmp/data" >>"$tmp/agent.log" 2>&1 &
	agent=$!
	wait_for 20 curl -sf --noproxy '*' $API/v1/agent/self || {
		cat "$tmp/agent.log" >&2
		die "the agent did not start"
	}
}
spread() { # url, count, file: who answered how often; "" is a request that failed
	for _ in $(seq "$2"); do
		fetch "$1" || echo "request failed"
	done | sort | uniq -c >"$3"
}
passing() { curl -s --noproxy '*' "$API/v1/health/service/web?passing" | jq -r '.[].Service.ID' | sort | tr '\n' ' '; }
passing_is() { [ "$(passing)" = "$1" ]; }

[ "$(id -u)" = 0 ] || die "root is needed: programs are loaded into the kernel"
[ -x "$B/waymarkd" ] || die "$B/waymarkd is missing: make all"
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf || die "bpffs cannot be mounted on /sys/fs/bpf"
[ ! -e "$PINS" ] || die "$PINS exists: an agent serves this machine; '$CTL detach' removes it"
tmp=$(mktemp -d)

say "The agent starts with its defaults"
start_agent
sed -n 's/^/    /; /event=agent.ready/p; /event=plane/p' "$tmp/agent.log" | cut -c1-140

say "Three HTTP servers on addresses of their own, registered as Consul's clients do, each with a check"
for i in 1 2 3; do
	/usr/bin/python3 tools/demo/backend.py "web-$i" "127.1.0.$i" "808$i" &
	backend[$i]=$!
done
for i in 1 2 3; do
	code=$(curl -s --noproxy '*' -o /dev/null -w '%{http_code}' -X PUT $API/v1/agent/service/register -d '{
		"Name": "web", "ID": "web-'$i'", "Address": "127.1.0.'$i'", "Port": 808'$i',
		"Check": {"HTTP": "http://127.1.0.'$i':808'$i'/", "Interval": "1s", "Timeout": "500ms"}}')
	result "PUT /v1/agent/service/register web-$i" 200 "$code"
done
wait_for 10 passing_is "web-1 web-2 web-3 "
show "$CTL" services
vip=$(curl -s --noproxy '*' $API/v1/waymark/services | jq -r '.[] | select(.name == "web").vip4')

say "dig knows nothing of Waymark; the kernel answers it"
before=$(counter dns_answered)
show dig +short +tries=1 @127.0.0.1 -p 8600 web.service.mesh.internal
show dig +short +tries=1 @127.0.0.1 -p 8600 web.virtual.mesh.internal
show dig +short +tries=1 @127.0.0.1 -p 8600 web.virtual.mesh.internal AAAA
show dig +noall +comments +answer +tries=1 @127.0.0.1 -p 8600 WeB.sErViCe.MeSh.InTeRnAl
after=$(counter dns_answered)
printf '  dns_answered in the kernel: %s -> %s\n' "$before" "$after"
result "dig: addresses of the service" 3 "$(ask web.service.mesh.internal | wc -l)"
result "dig: A of the virtual name is the virtual address" "$vip" "$(ask web.virtual.mesh.internal)"
result "dig: no AAAA while no instance has IPv6" "" "$(ask web.virtual.mesh.internal AAAA)"
result "four questions answered in the kernel" 4 $((after - before))
result "a name that is not there: NXDOMAIN" NXDOMAIN \
	"$(dig +tries=1 @127.0.0.1 -p 8600 none.service.mesh.internal | sed -n 's/.*status: \([A-Z]*\),.*/\1/p')"
result "SRV, in the kernel too" 3 "$(ask web.service.mesh.internal SRV | wc -l)"

say "curl dials the virtual address on port 80; the servers listen on 8081, 8082 and 8083"
printf '  $ for i in {1..%d}; do curl -s http://%s/; done | sort | uniq -c\n' $REQUESTS "$vip"
spread "http://$vip/" $REQUESTS "$tmp/spread"
sed 's/^/    /' "$tmp/spread"
result "requests that failed, of $REQUESTS" 0 "$(awk '/failed/{print $1; f=1} END{if(!f)print 0}' "$tmp/spread")"
result "backends that answered" 3 "$(grep -c 'web-' "$tmp/spread")"

say "One server is killed. Its check notices within a second; after that nothing goes there"
kill -9 "${backend[2]}" && wait "${backend[2]}" 2>/dev/null
unset 'backend[2]'
during=0
while ! passing_is "web-1 web-3 "; do
	fetch "http://$vip/" >/dev/null || during=$((during + 1))
done
printf '  requests refused by the dead server until its check failed: %d\n' "$during"
rows+=("$(printf '  %-58s %s' "requests that failed before the check noticed" "$during")")
spread "http://$vip/" $REQUESTS "$tmp/spread"
sed 's/^/    /' "$tmp/spread"
result "requests that failed after the check, of $REQUESTS" 0 "$(awk '/failed/{print $1; f=1} END{if(!f)print 0}' "$tmp/spread")"
result "backends that answered" 2 "$(grep -c 'web-' "$tmp/spread")"
result "dig: addresses of the service" 2 "$(ask web.service.mesh.internal | wc -l)"

say "kill -9 of the agent, with requests and questions going on"
(
	f=0 n=0
	while [ ! -e "$tmp/stop" ]; do
		n=$((n + 2))
		fetch "http://$vip/" >/dev/null || f=$((f + 1))
		[ "$(ask web.virtual.mesh.internal)" = "$vip" ] || f=$((f + 1))
		echo "$f $n" >"$tmp/loop"
	done
) &
loop=$!
sleep 0.5
kill -9 $agent && wait $agent 2>/dev/null
show pgrep -x waymarkd
show dig +short +tries=1 @127.0.0.1 -p 8600 web.service.mesh.internal
show curl -s --noproxy '*' "http://$vip/"
result "dig without an agent: addresses of the service" 2 "$(ask web.service.mesh.internal | wc -l)"
sleep 1

say "A new agent adopts what it finds"
table_before=$(bpftool -j map dump pinned "$PINS/maps/sets" | jq -c '[.[].formatted.value | select(.table.generation > 0)]')
start_agent
wait_for 5 grep -q plane.adopted "$tmp/agent.log"
table_after=$(bpftool -j map dump pinned "$PINS/maps/sets" | jq -c '[.[].formatted.value | select(.table.generation > 0)]')
wait_for 10 passing_is "web-1 web-3 "
sleep 0.5
touch "$tmp/stop"
wait $loop
loop=''
grep -h 'event=plane.adopted' "$tmp/agent.log" | sed 's/^/    /'
read -r f n <"$tmp/loop"
result "failed while it was dead and while it restarted, of $n" 0 "$f"
same=no
[ "$table_before" = "$table_after" ] && same=yes
result "the tables were adopted, not written anew" yes $same
result "instances known again" "web-1 web-3 " "$(passing)"

say "What happened"
printf '%s\n' "${rows[@]}"
[ $failed = 0 ] || {
	echo
	tail -n 20 "$tmp/agent.log"
	die "something did not hold, see FAILED above"
}
