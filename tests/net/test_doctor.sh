#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `waymarkctl doctor` tells the truth about set-ups that are whole, broken, or without an agent, and its
# exit status says whether there is a fault.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

DOCTOR=("$CTL" --agent "$API" --pin-dir "$PINS" --json doctor)
# shellcheck disable=SC2120 # a test may pass options
doctor() { # its exit status is kept in RC, the report in REPORT
	REPORT=$("${DOCTOR[@]}" "$@" 2>"$TMP/doctor.err")
	RC=$?
}
found() { jq -r ".[] | arrays | .[] | select(.Check == \"$1\") | .$2" <<<"$REPORT"; }
result() { found "$1" Result | sort -u | paste -sd ' '; }
is() { # text, check, result, [pattern of what it says], [errno], [pattern of the remedy]
	check "$1: $2 is $3" "$3" "$(result "$2")"
	[ -z "${4:-}" ] || matches "$1: $2 says" "$4" "$(found "$2" Meaning)"
	[ -z "${5:-}" ] || check "$1: $2 names the errno" "$5" "$(found "$2" Error | sort -u)"
	[ -z "${6:-}" ] || matches "$1: $2 has a remedy" "$6" "$(found "$2" Remedy)"
}
faults() { # text, exit status, names of the checks with a fault
	check "$1: faults" "$3" "$(jq -r '.[] | arrays | .[] | select(.Result == "fault") | .Check' <<<"$REPORT" | sort -u | paste -sd ' ')"
	check "$1: exit status" "$2" "$RC"
}
fresh() {
	[ -z "$AGENT" ] || stop_agent
	"$CTL" --pin-dir "$PINS" detach >/dev/null
}

# --- nothing yet
doctor
is "no agent yet" agent note 'no agent answers' '' 'start'
is "no agent yet" pins note 'nothing is pinned' ENOENT
faults "no agent yet" 0 ""

# --- whole
start_agent
backend web-1 127.1.0.1 8081
register a web 127.1.0.1 8081 >/dev/null
doctor
faults "whole" 0 ""
is "whole" agent ok 'data plane on'
is "whole" pins ok 'held by a running agent'
is "whole" maps ok
is "whole" connect_hooks ok "steered for processes below $CG"
is "whole" dns_hooks ok 'on 1 devices'
is "whole" dns ok '127.0.0.1:8600 answers for mesh.internal'
is "whole" steering ok 'web.virtual.mesh.internal is steered'
is "whole" vip_route ok 'cannot send'
is "whole" shell note "not below $CG" '' "cgroup.procs"
is "whole" selftest ok
is "whole" resolv_conf note 'mesh.internal' '' '127.0.0.1:8600'
check "no fault in words" "no fault" "$("$CTL" --agent "$API" --pin-dir "$PINS" doctor | tail -n 1)"
matches "a remedy in words" '-> echo .*cgroup.procs' "$("$CTL" --agent "$API" --pin-dir "$PINS" doctor)"
check "the agent's pins are found without their name" ok "$("$CTL" --agent "$API" --json doctor | jq -r '.Plane[] | select(.Check == "connect_hooks").Result')"
REPORT=$(inside "${DOCTOR[@]}")
is "within the cgroup" shell ok 'in the steered cgroup'

# --- other software on our hooks
cat >"$TMP/stranger.c" <<'END'
__attribute__((section("cgroup/connect4"), used)) int stranger(void *ctx) { return 1; }
char text[] __attribute__((section("license"), used)) = "GPL";
END
clang -O2 -target bpf -c -o "$TMP/stranger.o" "$TMP/stranger.c"
bpftool prog load "$TMP/stranger.o" "$PINS/stranger" type cgroup/connect4
bpftool cgroup attach "$CG" connect4 pinned "$PINS/stranger" multi
doctor
tag=$(bpftool -j prog show pinned "$PINS/stranger" | jq -r .tag)
is "a neighbour" neighbour note "'stranger' of other software runs on connect4 of $CG too .id [0-9]+, tag $tag., behind ours: it sees backends" '' 'bpftool prog show id'
faults "a neighbour" 0 ""
bpftool cgroup detach "$CG" connect4 pinned "$PINS/stranger" multi
rm -f "$PINS/stranger"

# --- an ordinary user
cp "$CTL" "$TMP-user" # $TMP is root's alone
chmod 755 "$TMP-user"
REPORT=$(cd / && setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all "$TMP-user" --agent "$API" --pin-dir "$PINS" --json doctor 2>/dev/null)
RC=$?
rm -f "$TMP-user"
is "an ordinary user" permission fault 'no permission' EPERM 'root'
is "an ordinary user" pins fault 'no permission' EACCES 'root'
check "an ordinary user: no version of the kernel is blamed" "" "$(grep '(Linux' <<<"$REPORT")"
faults "an ordinary user" 1 "permission pins"

# --- the agent is dead, the kernel serves
stop_agent KILL
doctor
faults "dead" 1 agent
is "dead" agent fault 'serves what it was told last' '' 'start waymarkd'
is "dead" pins ok 'kept by no agent'
is "dead" connect_hooks ok "$CG"
is "dead" steering ok
is "dead" dns ok '127.0.0.1:8600 answers for web.virtual.mesh.internal'
is "dead" age note 'vouched' '' 'start the agent'
bpftool link detach pinned "$PINS/links/connect4"
rm "$PINS/links/sendmsg6" "$PINS/maps/slots"
doctor
faults "dead and robbed" 1 "agent connect_hooks hook maps steering"
is "dead and robbed" hook fault 'connect4 is detached' ENOENT 'start the agent'
is "dead and robbed" connect_hooks fault 'not attached: sendmsg6, connect4' ENOENT
is "dead and robbed" maps fault 'slots' ENOENT 'detach'
is "dead and robbed" steering fault 'is not steered'
fresh
start_agent --set dns.stale_after=300ms
stop_agent KILL
sleep 0.5
doctor
is "stale" age fault 'past dns.stale_after' '' 'start the agent'
fresh
start_agent --set kernel.dns=false
stop_agent KILL
doctor
is "dead, DNS in userspace" dns_hooks note 'kernel.dns is false'
is "dead, DNS in userspace" dns fault '127.0.0.1:8600 does not answer' ECONNREFUSED 'start the agent'
fresh

# --- not whole
start_agent --set "kernel.cgroup=$TMP"
doctor
faults "a wrong cgroup" 1 "agent connect_hooks"
is "a wrong cgroup" agent fault "at $TMP: not a directory of a cgroup2" '' 'kernel.cgroup'
is "a wrong cgroup" connect_hooks fault 'not attached: sock_release, getpeername4.*connect6' ENOENT 'kernel.cgroup'
fresh
start_agent --set kernel.memory_max=100000
doctor
faults "no plane" 1 agent
is "no plane" agent fault 'memory_max is 100000' '' 'kernel.memory_max'
is "no plane" dns ok '127.0.0.1:8600'
stop_agent
start_agent --set "kernel.pin_dir=$TMP/waymark"
DOCTOR=("$CTL" --agent "$API" --pin-dir "$TMP/waymark" --json doctor)
doctor
is "no bpffs" bpffs fault "$TMP is no bpffs" ENODEV 'mount -t bpf bpf /sys/fs/bpf'
check "no bpffs: nothing is to be mounted over a directory in use" "" "$(grep "mount .*$TMP" <<<"$REPORT")"
is "no bpffs" agent fault 'bpffs'
DOCTOR=("$CTL" --agent "$API" --pin-dir "$PINS" --json doctor)
stop_agent
start_agent --set kernel.enabled=false
doctor
faults "switched off" 0 ""
is "switched off" agent note 'data plane off'
stop_agent
start_agent --set kernel.connect=false
doctor
faults "no connect()" 0 ""
is "no connect()" connect_hooks note 'kernel.connect is false'
fresh

# --- a virtual address that leads away
ip link add wmout type veth peer name wmfar
ip addr add 10.98.0.1/24 dev wmout
ip link set wmfar up
ip link set wmout up
ip route add default via 10.98.0.2
start_agent --set vip.route=false
doctor
faults "no route" 1 vip_route
is "no route" vip_route fault 'by the default route through wmout' '' 'vip.route'
ip route add 240.0.0.0/4 via 10.98.0.3
doctor
is "a route of the operator's" vip_route note 'by a route of 4 bits through wmout'
ip link del wmout
fresh

# --- what another agent left
start_agent
stop_agent KILL
mkdir "$CG/sub"
start_agent --set "kernel.pin_dir=$PINS-2" --set "kernel.cgroup=$CG/sub" --set dns.addresses=127.0.0.2
DOCTOR=("$CTL" --agent "$API" --pin-dir "$PINS-2" --json doctor)
doctor
faults "a leftover above" 1 leftover
matches "a leftover above: it is named, with its pins" "1[0-2] programs of Waymark that no agent keeps, pinned under $PINS: .*tag [0-9a-f]{16}" \
	"$(found leftover Meaning)"
matches "a leftover above: the remedy" "waymarkctl --pin-dir $PINS detach" "$(found leftover Remedy)"
DOCTOR=("$CTL" --agent "$API" --pin-dir "$PINS" --json doctor)
doctor
matches "the pins of a running agent are named" "of another running agent, pinned under $PINS-2" "$(found leftover Meaning)"
stop_agent
"$CTL" --pin-dir "$PINS-2" detach >/dev/null
rmdir "$CG/sub"
fresh

# --- where /etc/resolv.conf leads
start_agent --set dns.port53_addresses=127.0.0.1
echo 'nameserver 127.0.0.1' >"$TMP/resolv.conf"
REPORT=$(unshare --mount sh -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$TMP/resolv.conf" "${DOCTOR[@]}")
is "a resolver that is ours" resolv_conf ok '127.0.0.1:53, which knows mesh.internal'
echo 'nameserver 127.0.0.77' >"$TMP/resolv.conf"
REPORT=$(unshare --mount sh -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$TMP/resolv.conf" "${DOCTOR[@]}")
is "a resolver that is nobody's" resolv_conf note 'does not answer' ECONNREFUSED '127.0.0.1:8600'
# --- a cgroup namespace of one's own
cat >"$TMP/private.sh" <<'END'
echo $$ >"$1/cgroup.procs"
shift
exec unshare --cgroup --mount sh -c '
	umount -l "$0" && mount -t cgroup2 none "$0" && exec "$@"' "$@"
END
REPORT=$(sh "$TMP/private.sh" "$CG" "$CGROOT" "${DOCTOR[@]}")
is "a private cgroup namespace" cgroup2 note 'root of a private cgroup namespace' '' "machine's cgroup2"
fresh
# --- what it leaves, and what one that was killed has left; others' tests have doctors of their own
left() { find /sys/fs/bpf "$CGROOT" -maxdepth 1 -name "waymark-doctor-$1" | wc -l; }
leave() { # as a killed one does
	mkdir -p "$CGROOT/waymark-doctor-$1" "/sys/fs/bpf/waymark-doctor-$1/maps"
	bpftool map create "/sys/fs/bpf/waymark-doctor-$1/maps/config" type array key 4 value 4 entries 1 name config
}
"${DOCTOR[@]}" >/dev/null &
wait $!
check "doctor leaves nothing" 0 "$(left $!)"
leave $!
doctor
check "another's, of this minute, stays" 2 "$(left $!)"
touch -d '2 minutes ago' "$CGROOT/waymark-doctor-$!" "/sys/fs/bpf/waymark-doctor-$!"
doctor
check "what a killed one left goes" 0 "$(left $!)"
done_testing
