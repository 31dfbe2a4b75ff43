#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# dns.stale_after across a restart: what an earlier run left is answered from again when the tables are
# right, and not while they are being adopted.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
if ! strace -qq -e trace=none true 2>/dev/null; then
	echo "skipped: strace cannot trace here"
	exit 77
fi
NAME=old-7.virtual.mesh.internal
asked() { dig +short +tries=1 +time=1 @127.0.0.1 -p 8600 "$@" 2>/dev/null; }

start_agent --set dns.stale_after=1s
for i in $(seq 20); do register "old-$i" "old-$i" 127.0.0.2 80 >/dev/null; done
VIP=$(vip4 old-7)
check "answered in the kernel" "$VIP" "$(ask $NAME)"
# shellcheck disable=SC2119
stop_agent KILL
sleep 1.5
# Names that are there: that one is not, the kernel may say.
said() { echo $(($(counter dns_answered) - $(counter dns_nxdomain))); }
before=$(said)
check "nothing answers when the limit is over" "" "$(asked $NAME | grep -F "$VIP")"
matches "it was passed" '^[1-9]' "$(counter dns_pass_stale)"
check "config says the limit" 1000000000 "$(bpftool -j map lookup pinned "$PINS/maps/config" key 0 0 0 0 |
	jq .formatted.value.stale_after_ns)"

# The next run has nothing registered, no limit and other addresses, and every bpf() takes a while:
# its start is long enough to be asked a hundred times. Nothing of the old may be answered.
confirmed() {
	bpftool -j map lookup pinned "$PINS/maps/config" key 0 0 0 0 | jq "$1"
}
seed=$(confirmed .formatted.value.seed)
(
	ASAN_OPTIONS=detect_leaks=0 exec strace -f -qq -o /dev/null -e trace=bpf \
		-e inject=bpf:delay_enter=5000 "$B/waymarkd" --set "node.data_dir=$TMP/other" \
		--set "kernel.pin_dir=$PINS" --set "kernel.cgroup=$CG" --set "http.socket=$TMP/http.sock" \
		--set node.name=n1 --set dns.ttl=7s --set dns.addresses=127.0.0.1,127.0.0.3 \
		2>>"$TMP/agent.log"
) &
TRACER=$!
asks=0
asked_or_up() {
	[ -z "$(asked $NAME | grep -F "$VIP")" ] || early=yes
	asks=$((asks + 1))
	agent_up
}
early=no
until_ok 60 asked_or_up || fail "it does not start"
check "nothing was answered while the tables were adopted" no $early
matches "adopted" 'event=plane.adopted' "$(tail -n 60 "$TMP/agent.log")"
check "asked while it started, and answered never" "yes 0" \
	"$([ $asks -gt 0 ] && echo yes) $(($(said) - before))"
check "then the new limit holds" "0 7" \
	"$(confirmed '.formatted.value | "\(.stale_after_ns) \(.ttl_s)"' | tr -d '"')"
check "the seed stays" "$seed" "$(confirmed .formatted.value.seed)"
register new-1 new-1 127.0.0.2 80 >/dev/null
check "and the new is answered, on the new address too" "$(vip4 new-1) $(vip4 new-1)" \
	"$(ask new-1.virtual.mesh.internal) $(dig +short +tries=1 +time=15 @127.0.0.3 -p 8600 new-1.virtual.mesh.internal)"
matches "in the kernel" '^[1-9]' "$(($(said) - before))"
AGENT=$(pgrep -P "$TRACER" waymarkd)
kill -TERM "$AGENT"
wait "$TRACER" 2>/dev/null
AGENT=''
done_testing
