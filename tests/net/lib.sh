# SPDX-License-Identifier: Apache-2.0
# lib.sh - what every end-to-end test stands on: source it first. The test runs again in a network
# namespace of its own (which ends with it), with a cgroup, a pin directory and a temporary directory of
# its own, removed at the end and, should it be killed, by the next test.
# shellcheck shell=bash
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
B=${B:-build/asan}
if [ "$(id -u)" != 0 ]; then
	echo "skipped: root is needed"
	exit 77
fi
if [ -z "${WM_NET_TEST:-}" ]; then
	WM_NET_TEST=1 exec unshare --net -- bash "$0" "$@"
fi
CGROOT=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
if [ -z "$CGROOT" ] || ! mountpoint -q /sys/fs/bpf; then
	echo "skipped: a cgroup2 mount and a bpffs on /sys/fs/bpf are needed"
	exit 77
fi
ip link set lo up
CG=$CGROOT/waymark-test-net-$$
PINS=/sys/fs/bpf/waymark-test-net-$$
TMP=$(mktemp -d /tmp/waymark-test-net-$$-XXXX)
API=http://127.0.0.1:8500
CTL=$B/waymarkctl
AGENT='' FAILED=0 BALANCED=0 BACKENDS=()
mkdir "$CG"

remove() { # pid of the test: what it left behind
	local cg=$CGROOT/waymark-test-net-$1 p
	for p in /sys/fs/bpf/waymark-test-net-"$1" /sys/fs/bpf/waymark-test-net-"$1"-*; do
		"$CTL" --pin-dir "$p" --force detach >/dev/null 2>&1
		rm -rf "$p" # what a test pinned beside ours
	done
	[ -d "$cg" ] && while read -r p; do kill -9 "$p" 2>/dev/null; done < <(find "$cg" -name cgroup.procs -exec cat {} + 2>/dev/null)
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		find "$cg" -depth -type d -exec rmdir {} + 2>/dev/null
		[ ! -d "$cg" ] && break
		sleep 0.1
	done
	rm -rf /tmp/waymark-test-net-"$1"-*
}
for d in "$CGROOT"/waymark-test-net-* /sys/fs/bpf/waymark-test-net-*; do
	p=${d##*/waymark-test-net-}
	p=${p%%-*}
	[ -e "$d" ] && ! kill -0 "$p" 2>/dev/null && remove "$p"
done
AT_END='' # a command of the test's own, for the end
finish() {
	local status=$?
	trap - EXIT
	eval "$AT_END"
	if [ $status = 0 ] && [ $BALANCED = 0 ]; then # a test that ends without done_testing
		dns_balance
		status=$FAILED
	fi
	jobs -p | while read -r p; do kill -9 "$p" 2>/dev/null; done
	wait 2>/dev/null
	if [ $status != 0 ] && [ -s "$TMP/agent.log" ]; then
		echo "--- the agent's log:"
		tail -n 40 "$TMP/agent.log"
	fi
	remove $$
	exit $status
}
trap finish EXIT
trap 'exit 1' INT TERM

fail() {
	echo "FAILED: $*"
	FAILED=1
}
check() { # text, expected, seen
	if [ "$2" = "$3" ]; then
		echo "ok: $1"
	else
		fail "$1: expected '$2', saw '$3'"
	fi
}
# What a long text has is looked for by grep without -q: that ends at the first match, by which who writes it fails.
matches() { # text, pattern (grep -E), seen
	if grep -qE -- "$2" <<<"$3"; then
		echo "ok: $1"
	else
		fail "$1: expected /$2/, saw '$3'"
	fi
}
# Nothing is silently dropped: what came in is what was answered or left, by reason.
dns_balance() {
	BALANCED=1
	[ ! -e "$PINS/maps/counters" ] || check "queries in the kernel without an outcome" 0 "$(
		bpftool -j map dump pinned "$PINS/maps/counters" | jq '[.[].formatted.values[]?.value | to_entries[] |
			if .key == "dns_query" then .value
			elif .key | test("^dns_(answered|pass_.*|drop_.*)$") then -.value else 0 end] | add'
	)"
	agent_up || return 0
	check "queries in userspace without an outcome" 0 "$(user_left)"
	check "answers of userspace that are noted more or less than once" 0 "$(user_unseen)"
}
user_left() { # queries that userspace has said nothing of, since the agent began
	api "$API/v1/agent/metrics?format=prometheus" | awk '
		{ sub(/_total$/, "", $1) }
		$1 ~ /^waymark_dns_user_(udp|tcp)$/ { n += $2; seen++ }
		$1 ~ /^waymark_dns_user_(answered|nodata|nxdomain|formerr|refused|notimp|badvers|servfail)$/ { n -= $2 }
		$1 ~ /^waymark_dns_user_(dropped|denied|rate_dropped|rate_cut|gone|waiting)$/ { n -= $2 }
		$1 == "waymark_dns_user_tcp_denied" { n += $2 } # a connection is no query
		END { print seen == 2 ? n : "not counted" }'
}
user_unseen() { # answers by outcome, less those by level, type and code
	api "$API/v1/agent/metrics?format=prometheus" | awk '
		{ sub(/_total$/, "", $1) }
		$1 ~ /^waymark_dns_user_(answered|nodata|nxdomain|formerr|refused|notimp|badvers|servfail)$/ { n += $2 }
		index($1, "waymark_dns_user_answers_total{") == 1 { n -= $2 }
		END { print n + 0 }'
}
done_testing() {
	dns_balance
	[ -z "$AGENT" ] || stop_agent
	exit $FAILED
}
# A disk of so many MiB, in a mount namespace of the test's own.
small_disk() { # folder, MiB
	mkdir "$1" && mount -t tmpfs -o "size=$2m,mode=700" tmpfs "$1" && return
	echo "skipped: no tmpfs can be mounted"
	exit 77
}
# A bound ends a wait for what never comes: machines are slow, and PATIENCE (1: as it stands) says how much slower than
# the one that bounds were written on.
until_ok() { # seconds, command...
	local end=$((SECONDS + $1 * ${PATIENCE:-4}))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}
# Has a process its network namespace by now? `unshare --net COMMAND &` is in the test's own at first.
is_apart() { [ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]; } # pid
api() { curl -s --max-time 20 "$@"; }
code() { curl -s --max-time 20 -o /dev/null -w '%{http_code}' "$@"; }
# an operator's request: what such are, is said in userspace/api/routes.def
operator() { api --unix-socket "$TMP/http.sock" "$@"; }
operator_code() { code --unix-socket "$TMP/http.sock" "$@"; }
inside() { # a command in the cgroup: its connect() is steered
	(
		echo $BASHPID >"$CG/cgroup.procs"
		exec "$@"
	)
}
ask() { dig +short +tries=1 +time=15 @127.0.0.1 -p 8600 "$@"; }
status_of() { dig +tries=1 +time=15 @127.0.0.1 -p 8600 "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
agent_up() { [ "$(code $API/v1/agent/self)" = 200 ]; }
start_agent() { # further options of waymarkd
	"$B/waymarkd" --set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" \
		--set "kernel.cgroup=$CG" --set "http.socket=$TMP/http.sock" --set node.name=n1 \
		--set registry.consul_service=false "$@" \
		2>>"$TMP/agent.log" &
	AGENT=$!
	until_ok 60 agent_up || {
		fail "the agent does not answer"
		exit 1
	}
}
refusing() { # names of programs that the kernel "refuses" with EPERM, command...
	local names=$1
	shift
	REFUSE_BPF=$names LD_PRELOAD=$PWD/build/release/tests/refuse_bpf.so \
		ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0 "$@"
}
# shellcheck disable=SC2120 # tests pass the signal
stop_agent() { # signal; TERM must end it well, the sanitizers included
	local status left=0
	[ "${1:-TERM}" != TERM ] || ! agent_up || left=$(user_left)
	[ "$left" = 0 ] || fail "queries in userspace without an outcome: $left"
	kill -"${1:-TERM}" "$AGENT"
	wait "$AGENT" 2>/dev/null
	status=$?
	[ "${1:-TERM}" != TERM ] || [ $status = 0 ] || fail "the agent ended with $status"
	AGENT=''
	return 0
}
backend() { # name, address, port
	/usr/bin/python3 tools/demo/backend.py "$1" "$2" "$3" &
	BACKENDS+=($!)
	if [[ $2 == *:* ]]; then
		until_ok 10 api "http://[$2]:$3/"
	else
		until_ok 10 api "http://$2:$3/"
	fi
}
register() { # id, name, address, port, [more JSON]
	code -X PUT $API/v1/agent/service/register \
		-d "{\"ID\": \"$1\", \"Name\": \"$2\", \"Address\": \"$3\", \"Port\": $4${5:+, $5}}"
}
vip4() { api "$API/v1/waymark/services" | jq -r ".[] | select(.name == \"$1\") | .vip4"; }
vip6() { api "$API/v1/waymark/services" | jq -r ".[] | select(.name == \"$1\") | .vip6"; }
# Clients beside what a test does next (dialers.py), from the first connect that is made until `dialled`, which tells how
# many were MADE and FAILED_, the MOST that failed for one client, and the ERRORS.
dialing() { # address, clients
	rm -f "$TMP/over" "$TMP/over.on"
	inside /usr/bin/python3 tests/net/dialers.py "$1" 80 "$2" 0 "$TMP/over" >"$TMP/dials" &
	DIALERS=$!
	until_ok 20 test -e "$TMP/over.on" || fail "nobody connects to $1"
}
# shellcheck disable=SC2034 # tests read them
dialled() {
	touch "$TMP/over"
	wait "$DIALERS"
	read -r MADE FAILED_ MOST ERRORS <"$TMP/dials"
}
counter() { # a counter of the kernel's
	bpftool -j map dump pinned "$PINS/maps/counters" |
		jq "[.[].formatted.values[]?.value.$1] | add"
}
# Of its program, one by one: who lists all maps opens those that others just let go of (dataplane/prog_maps.c).
map_id() { # pin of a link, name: a map of its program that is not pinned
	local prog id
	prog=$(bpftool -j link show pinned "$PINS/$1" | jq .prog_id)
	for id in $(bpftool -j prog show id "$prog" | jq '.map_ids[]'); do
		bpftool -j map show id "$id" | jq "select(.name == \"$2\").id"
	done
}
