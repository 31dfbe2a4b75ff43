#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `waymarkctl dns enable` where NetworkManager writes /etc/resolv.conf: the real program, with a bus, an /etc, a /run
# and a state of its own, lets go of the file, goes on telling of the servers of its connections, which the agent
# asks, and takes the file again.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
MANAGER=$PWD/build/network-manager
[ -x "$MANAGER/usr/sbin/NetworkManager" ] || {
	echo "skipped: NetworkManager is not there (make deps-test)"
	exit 77
}
for p in dbus-daemon busctl; do
	command -v $p >/dev/null || {
		echo "skipped: $p is not installed (make deps-test)"
		exit 77
	}
done
NODE=$TMP/node
RC=$NODE/etc/resolv.conf
OURS=$NODE/etc/NetworkManager/conf.d/90-waymark.conf
LIST=$NODE/run/NetworkManager/no-stub-resolv.conf

# --- a node's files, in a mount namespace; what a reload is its unit says
mkdir -p "$NODE/etc/NetworkManager/system-connections" "$NODE/run/dbus" "$NODE/run/systemd/system" "$NODE/lib" "$TMP/bin"
printf 'root:x:0:0::/:/bin/sh\n' >"$NODE/etc/passwd"
printf 'root:x:0:\n' >"$NODE/etc/group"
printf 'hosts: files dns\n' >"$NODE/etc/nsswitch.conf"
printf '0123456789abcdef0123456789abcdef\n' >"$NODE/etc/machine-id"
cp "$MANAGER/etc/NetworkManager/NetworkManager.conf" "$NODE/etc/NetworkManager/" # as Debian has it
printf 'nameserver 192.0.2.53\n' >"$RC"
{
	printf '#!/bin/sh\n[ "$*" = "try-reload-or-restart NetworkManager.service" ] || exit 1\n'
	printf 'ls /etc/NetworkManager/conf.d | grep "conf$" >"%s/read"\n[ ! -e "%s/breaks" ] || exit 1\nexec ' "$TMP" "$TMP"
	sed -n 's/^ExecReload=//p' "$MANAGER"/lib/systemd/system/NetworkManager.service
} >"$TMP/bin/systemctl"
chmod +x "$TMP/bin/systemctl"
cat >"$TMP/bus.conf" <<'END'
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>
END
# /sys without a right to write says that there is no udev to wait for
# shellcheck disable=SC2016 # for the inner shell
unshare --mount -- bash -c 'mount --bind "$0/etc" /etc && mount --bind "$0/run" /run && mount --bind "$0/lib" /var/lib &&
	mount -t sysfs -o ro none /sys && touch /run/mounted && exec sleep 600' "$NODE" &
HELD=$!
until_ok 10 test -e "$NODE/run/mounted" || fail "the node's files"
within() { nsenter --mount -t $HELD -- "$@"; }
(exec nsenter --mount -t $HELD -- dbus-daemon "--config-file=$TMP/bus.conf" --nofork --nopidfile --nosyslog 2>"$TMP/bus.log") &
until_ok 10 test -S "$NODE/run/dbus/system_bus_socket" || fail "a bus: $(cat "$TMP/bus.log")"
manager() { # begin, or begin again
	[ -z "${RUNS:-}" ] || { kill "$RUNS" && wait "$RUNS"; }
	(exec nsenter --mount -t $HELD -- env "LD_LIBRARY_PATH=$(echo "$MANAGER"/usr/lib/*-linux-gnu)" \
		"$MANAGER/usr/sbin/NetworkManager" --debug --log-level=INFO >>"$TMP/manager.log" 2>&1) &
	RUNS=$!
}
bus() { # path below its own, interface, method
	within busctl call org.freedesktop.NetworkManager "/org/freedesktop/NetworkManager$1" "$2" "$3" >/dev/null
}
node() { within env "PATH=$TMP/bin:$PATH" "$PWD/$CTL" dns "$@" 2>&1; }
found() { within getent ahostsv4 "$1" | awk '{print $1; exit}'; }
asked() { api $API/v1/waymark/dns | jq -r '[.servers[].server] | join(" ")'; }
is_asked() { [ "$(asked)" = "$1" ]; }
servers() { grep '^nameserver' "$1" | cut -d ' ' -f 2 | xargs; }
names() { [ "$(servers "$1")" = "$2" ]; }

# --- a network with a server, and a connection to it
network() { # device, its other end's address, what the server there says that a.example is
	far_network "$1" "$2"
	SERVE_IN=$FAR SERVE_FROM=$FAR serve "$1" "$2" 53 "$(printf '\tlocal-zone: "example." static\n\tlocal-data: "a.example. 1 A %s"' "$3")
	access-control: 0.0.0.0/0 allow"
}
connection() { # device, our address, its server, a priority
	cat >"$NODE/etc/NetworkManager/system-connections/$1.nmconnection" <<-END
		[connection]
		id=$1
		type=ethernet
		interface-name=$1
		[ipv4]
		method=manual
		address1=$2/24
		dns=$3;
		dns-search=corp.example;
		dns-priority=$4
		[ipv6]
		method=disabled
	END
	chmod 600 "$NODE/etc/NetworkManager/system-connections/$1.nmconnection"
}
network up0 198.18.0.1 192.0.2.11
connection up0 198.18.0.2 198.18.0.1 50
manager
until_ok 20 names "$RC" 198.18.0.1 || fail "NetworkManager writes resolv.conf: $(tail -5 "$TMP/manager.log")"
check "names of others" 192.0.2.11 "$(found a.example)"
WAS=$(cat "$RC")

# --- it lets go of the file; the agent asks the server of the connection
start_agent --set dns.port53_addresses=127.0.0.1 --set dns.upstream=resolv.conf \
	--set "dns.resolv_conf=$RC,$RC.waymark,$NODE/run/systemd/resolve/resolv.conf,$LIST"
register web-1 web 127.1.0.1 80 >/dev/null
check "whose file it is" '"NetworkManager"' "$(node --json status | jq -c .node.owner)"
check "our names are not known" "" "$(found web.service.mesh.internal)"
check "enable" "this node's programs ask the agent" "$(node enable)"
check "what it is told" "[main] rc-manager=unmanaged" "$(grep -v '^#' "$OURS" | paste -sd ' ')"
check "what is written" "nameserver 127.0.0.1|search corp.example" "$(grep -v '^#' "$RC" | paste -sd '|')"
check "a name of ours" 127.1.0.1 "$(found web.service.mesh.internal)"
check "a name of others, of its connection's server" "192.0.2.11 198.18.0.1@53" "$(found a.example) $(asked)"
check "again" "this node's programs ask the agent already" "$(node enable)"
check "disable" "this node's programs ask whom they asked before" "$(node disable)"
check "it is told no more" "" "$(ls "$NODE/etc/NetworkManager/conf.d")"
check "what was there is there" "$WAS" "$(cat "$RC")"
check "names of others" 192.0.2.11 "$(found a.example)"

# --- another connection has the servers now: the file stays, and the agent asks these
check "enable" "this node's programs ask the agent" "$(node enable)"
written=$(cat "$RC")
connection up1 198.18.1.2 198.18.1.1 -50
bus /Settings org.freedesktop.NetworkManager.Settings ReloadConnections
network up1 198.18.1.1 192.0.2.12
until_ok 20 names "$LIST" 198.18.1.1 || fail "NetworkManager tells of its servers: $(cat "$LIST"; tail -5 "$TMP/manager.log")"
until_ok 20 is_asked 198.18.1.1@53 || fail "the agent asks them: $(asked)"
is_found() { [ "$(found "$1")" = "$2" ]; }
until_ok 20 is_found a.example 192.0.2.12 || fail "a name of others, of the other server: $(found a.example)"
check "resolv.conf was not written over" "$written" "$(cat "$RC")"
manager
until_ok 20 bus "" org.freedesktop.DBus.Peer Ping || fail "NetworkManager begins again: $(tail -5 "$TMP/manager.log")"
until_ok 20 names "$LIST" 198.18.1.1 || fail "it tells of its servers again: $(tail -5 "$TMP/manager.log")"
check "nor when it begins again" "$written" "$(cat "$RC")"
check "disable" "this node's programs ask whom they asked before" "$(node disable)"
until_ok 20 names "$RC" 198.18.1.1 || fail "NetworkManager writes it again: $(cat "$RC"; tail -5 "$TMP/manager.log")"
check "names of others" 192.0.2.12 "$(found a.example)"
check "nothing is left" "resolv.conf" "$(cd "$NODE/etc" && echo resolv.conf*)"

# --- killed at any of its calls, or NetworkManager reads nothing: who comes after makes it read what is there
read_last() { cat "$TMP/read"; } # files of its configuration when it read them last
check "enable" "this node's programs ask the agent" "$(node enable)"
check "it has read of us" 90-waymark.conf "$(read_last)"
touch "$TMP/breaks"
matches "it cannot be told that all is as before" "try-reload-or-restart NetworkManager.service failed: it has not read" "$(node disable)"
matches "nor again" "try-reload-or-restart NetworkManager.service failed: it has not read" "$(node disable)"
rm "$TMP/breaks" "$TMP/read"
check "then it is" "this node's programs ask whom they asked before" "$(node disable)"
check "and reads that" "" "$(read_last)"
check "which is said no more" "this node's programs ask whom they asked before: it was not enabled" "$(node disable)"
check "nothing is left" "" "$(ls "$NODE/etc/NetworkManager/conf.d")"
if command -v strace >/dev/null; then
	killed() { # call, which of them, command: does it go that far?
		{
			within env ASAN_OPTIONS=detect_leaks=0 "PATH=$TMP/bin:$PATH" strace -qq -o /dev/null -e "trace=$1" \
				-e "inject=$1:signal=KILL:when=$2" "$PWD/$CTL" dns "$3"
			[ $? -gt 128 ]
		} >/dev/null 2>&1
	}
	kills=0
	for call in fsync renameat unlinkat wait4; do
		for n in 1 2 3 4 5 6; do
			for command in enable disable; do
				[ $command = enable ] || node enable >/dev/null
				killed $call $n $command && kills=$((kills + 1))
				is_found a.example 192.0.2.12 || fail "$command killed at $call $n: names of others: $(found a.example)"
				node enable >/dev/null || fail "enable behind $command killed at $call $n"
				[ "$(read_last)" = 90-waymark.conf ] || fail "enable behind $command killed at $call $n: it has read $(read_last)"
				killed $call $n disable
				node disable >/dev/null || fail "disable behind $command killed at $call $n"
				[ -z "$(read_last)$(ls "$NODE/etc/NetworkManager/conf.d")" ] ||
					fail "disable behind $command killed at $call $n: it has read $(read_last), of $(ls "$NODE/etc/NetworkManager/conf.d")"
			done
			killed $call $n enable || break
			node disable >/dev/null
		done
	done
	[ $kills -ge 10 ] || fail "it was killed $kills times"
fi
done_testing
