#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `waymarkctl dns enable` and `dns disable`: the agent becomes the name server of a node's programs, and what
# was there comes back as it was, whatever happens between. The node's files are those of a directory.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
command -v strace >/dev/null || {
	echo "skipped: strace is not installed (make deps-test)"
	exit 77
}
ROOT=$TMP/node
RC=$ROOT/etc/resolv.conf
mkdir -p "$ROOT/etc" "$ROOT/run/NetworkManager" "$ROOT/run/systemd/resolve"
enable() { "$CTL" --root "$ROOT" dns enable "$@" 2>&1; }
disable() { "$CTL" --root "$ROOT" dns disable 2>&1; }
before() { # lines of resolv.conf, as somebody has it
	rm -rf "$RC" "$RC".*
	printf '%s\n' "$1" >"$RC"
	chmod 640 "$RC"
	chown 7:8 "$RC"
	touch -d '2020-01-02 03:04:05.678901234' "$RC"
	WAS=$(print_of)
}
print_of() { # all that a file is, but for how many names it has
	stat -c '%i %a %u %g %s %.Y %F %N' "$RC"
	[ ! -e "$RC" ] || sha256sum <"$RC"
}
seen_as() { # what a libc makes of the name, with that resolv.conf
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount -- bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$RC" /usr/bin/python3 -c '
import socket, sys
print(socket.getaddrinfo(sys.argv[1], None, socket.AF_INET, socket.SOCK_DGRAM)[0][4][0])' "$1" 2>/dev/null
}

# --- no agent, or one that is of no use for that: nothing is changed
before 'nameserver 127.0.0.11'
matches "no agent" "no agent answers: start it first" "$(enable)"
check "its status" "node     plain file, dns enable: no|asks     127.0.0.11:53" "$("$CTL" --root "$ROOT" dns status 2>/dev/null | paste -sd '|')"
check "nothing was changed" "$WAS" "$(print_of)"
start_agent --set dns.port53_addresses=127.0.0.1
matches "what becomes of other names" "^upstream off: names that are not ours are refused$" "$("$CTL" --root "$ROOT" dns status)"
matches "no other names" "dns.upstream is off, so that this node would find no other names" "$(enable)"
matches "another server" "127.0.0.99:53 does not answer for mesh.internal" "$(enable 127.0.0.99)"
matches "no address" "'localhost' is no address" "$(enable localhost)"
check "nothing was changed" "$WAS" "$(print_of)"
stop_agent
start_agent --set dns.upstream=resolv.conf --set "dns.resolv_conf=$RC,$RC.waymark"
matches "not on port 53" "on no address with port 53: set dns.port53_addresses and start" "$(enable)"
stop_agent
start_agent --set dns.port53_addresses=127.0.0.1 --set dns.upstream=list --set dns.forward=corp.example=127.0.0.11
matches "servers of one domain" "dns.upstream is list, and the agent knows no server for other names" "$(enable)"
stop_agent
start_agent --set dns.port53_addresses=127.0.0.1 --set dns.upstream=resolv.conf --set "dns.resolv_conf=$TMP/none"
matches "no server" "dns.upstream is resolv.conf, and the agent knows no server for other names" "$(enable)"
check "nothing was changed" "$WAS" "$(print_of)"
stop_agent

# --- a plain file
serve up 127.0.0.11 53 "$(printf '\tlocal-zone: "example." static\n\tlocal-data: "a.example. 2 A 192.0.2.11"')
	local-data: 'check.example. 60 A 127.0.0.11'"
start_agent --set dns.port53_addresses=127.0.0.1 --set dns.upstream=resolv.conf --set "dns.resolv_conf=$RC,$RC.waymark"
register web-1 web 127.1.0.1 80 >/dev/null
before '# of the administrator
domain corp.example
search corp.example mesh.internal
nameserver 127.0.0.11
options ndots:2 timeout:3'
check "before" "192.0.2.11 " "$(seen_as a.example) $(seen_as web.service.mesh.internal)"
check "enable" "this node's programs ask the agent" "$(enable)"
check "what is written" "nameserver 127.0.0.1|domain corp.example|search corp.example mesh.internal|options ndots:2 timeout:3" "$(grep -v '^#' "$RC" | paste -sd '|')"
check "for everybody to read" 644 "$(stat -c %a "$RC")"
check "a name of ours" 127.1.0.1 "$(seen_as web.service.mesh.internal)"
check "by the search list" 127.1.0.1 "$(seen_as web.service)"
check "a name of others, of the servers before" 192.0.2.11 "$(seen_as a.example)"
status() { "$CTL" --json --root "$ROOT" dns status | jq -c ".node | $1"; }
check "status" '["plain file",true,[["127.0.0.1:53",true]]]' "$(status '[.owner, .enabled, [.asks[] | [.server, .answers]]]')"
check "the agent answers" '[["127.0.0.1:8600",true],["127.0.0.1:53",true]]' "$(status '[.agent[] | [.server, .answers]]')"
matches "in words" "^asks     127.0.0.1:53, which answers for our domain" "$("$CTL" --root "$ROOT" dns status)"
real_status() { # as a program of a node with that resolv.conf
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount -- bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$1" "$CTL" dns status
}
matches "a libc finds our names" "^libc     finds ns.mesh.internal at 127.0.0.1" "$(real_status "$RC")"
matches "and before it did not" "^libc     does not find ns.mesh.internal: " "$(real_status "$RC.waymark")"
now=$(print_of)
check "again" "this node's programs ask the agent already" "$(enable)"
check "changes nothing" "$now" "$(print_of)"
check "as JSON" '{"changed":false,"enabled":true,"owner":"plain file"}' "$("$CTL" --json --root "$ROOT" dns enable | jq -Sc .)"
check "another address" 0 "$("$CTL" --root "$ROOT" dns enable 127.0.0.1 127.0.0.1 >/dev/null; echo $?)"
check "is written" 2 "$(grep -c ^nameserver "$RC")"
check "disable" "this node's programs ask whom they asked before" "$(disable)"
check "it is as it was" "$WAS" "$(print_of)"
check "and nothing else is there" "resolv.conf" "$(ls "$ROOT/etc")"
check "again" "this node's programs ask whom they asked before: it was not enabled" "$(disable)"
check "status" '[false,[["127.0.0.11:53",false]]]' "$(status '[.enabled, [.asks[] | [.server, .answers]]]')"

# --- a symbolic link is kept as one
before 'nameserver 127.0.0.11'
mv "$RC" "$ROOT/etc/resolv.site"
ln -s resolv.site "$RC"
WAS=$(print_of)
enable >/dev/null
check "the link is another file" "regular file" "$(stat -c %F "$RC")"
check "what it led to is not touched" "nameserver 127.0.0.11" "$(cat "$ROOT/etc/resolv.site")"
check "and is asked" 192.0.2.11 "$(seen_as a.example)"
disable >/dev/null
check "the link is as it was" "$WAS" "$(print_of)"

# --- one to another, too, by their last one
mkdir "$ROOT/etc/site"
ln -s ../resolv.site "$ROOT/etc/site/first"
ln -sf site/first "$RC"
WAS=$(print_of)
check "a link to a link" "this node's programs ask the agent" "$(enable)"
check "that is another file" "regular file" "$(stat -c %F "$RC")"
check "whose servers are asked" "nameserver 127.0.0.11" "$(cat "$RC.waymark")"
check "again" "this node's programs ask the agent already" "$(enable)"
disable >/dev/null
check "both are as they were" "$WAS ../resolv.site" "$(print_of) $(readlink "$ROOT/etc/site/first")"
refused() { # text, pattern
	matches "$1" "$2" "$(enable)"
	check "$1: nothing was changed" "$WAS" "$(print_of)"
}
printf '# Generated by dhcpcd\nnameserver 127.0.0.11\n' >"$ROOT/etc/resolv.site"
WAS=$(print_of)
refused "a link to a link to another program's" "says '# Generated by dhcpcd'"
ln -sf /run/resolvconf/resolv.conf "$ROOT/etc/site/first"
mkdir -p "$ROOT/run/resolvconf"
ln -sf /etc/resolv.site "$ROOT/run/resolvconf/resolv.conf"
printf 'nameserver 127.0.0.11\n' >"$ROOT/etc/resolv.site"
WAS=$(print_of)
refused "a link through /run" "is a link to /run/resolvconf/resolv.conf: some program writes that"
ln -sf /run/systemd/resolve/stub-resolv.conf "$ROOT/etc/site/first"
ln -sf resolv.conf "$ROOT/run/systemd/resolve/stub-resolv.conf"
echo "nameserver 127.0.0.11" >"$ROOT/run/systemd/resolve/resolv.conf"
WAS=$(print_of)
refused "systemd-resolved without its listener" "its listener is off: DNSStubListener=yes first"
ln -sf first "$ROOT/etc/site/first"
WAS=$(print_of)
refused "a link that leads nowhere" "/etc/resolv.conf: "
rm -r "$ROOT/etc/resolv.site" "$ROOT/etc/site" "$ROOT/run/resolvconf" "$ROOT"/run/systemd/resolve/*

# --- what is not understood
before 'nameserver 127.0.0.11
lookup file bind'
refused "a line that no libc of ours reads" "a line that is not understood: 'lookup file bind'"
check "with --force" 0 "$("$CTL" --force --root "$ROOT" dns enable >/dev/null; echo $?)"
check "it is not there" 0 "$(grep -c lookup "$RC")"
disable >/dev/null
check "and comes back" "$WAS" "$(print_of)"
before '# Generated by dhcpcd from eth0.dhcp
nameserver 127.0.0.11'
refused "another program's" "says '# Generated by dhcpcd.*what writes it would write over it"
before ''
ln -sf /run/resolvconf/resolv.conf "$RC"
WAS=$(print_of)
refused "a link into /run" "is a link to /run/resolvconf/resolv.conf: some program writes that"
ln -sf /var/run/resolvconf/resolv.conf "$RC"
WAS=$(print_of)
refused "or by the name that it had" "is a link to /run/resolvconf/resolv.conf: some program writes that"
mkdir -p "$ROOT/mnt/wsl"
printf '# This file was automatically generated by WSL.\nnameserver 127.0.0.11\n' >"$ROOT/mnt/wsl/resolv.conf"
ln -sf /mnt/wsl/resolv.conf "$RC"
WAS=$(print_of)
refused "a link to what another program writes" "says '# This file was automatically generated by WSL.'"
ln -sf ../run/systemd/resolve/resolv.conf "$RC"
WAS=$(print_of)
refused "the list of systemd-resolved" "link it to /run/systemd/resolve/stub-resolv.conf first"
rm "$RC"
matches "none" "is not there: write one first" "$(enable)"

# --- NetworkManager lets go of the file, and takes it again; it writes its servers elsewhere all the time
MANAGER=$ROOT/etc/NetworkManager/conf.d/90-waymark.conf
before '# Generated by NetworkManager
search corp.example
nameserver 127.0.0.11'
matches "of NetworkManager" "then: systemctl try-reload-or-restart NetworkManager" "$(enable)"
check "it is told" "[main] rc-manager=unmanaged" "$(grep -v '^#' "$MANAGER" | paste -sd ' ')"
check "what is written" "nameserver 127.0.0.1|search corp.example" "$(grep -v '^#' "$RC" | paste -sd '|')"
check "again" "this node's programs ask the agent already" "$(enable | tail -n 1)"
check "disable" "this node's programs ask whom they asked before" "$(disable | tail -n 1)"
check "it is as it was" "$WAS" "$(print_of)"
check "it is told no more" "" "$(ls "$ROOT/etc/NetworkManager/conf.d")"
printf '[main]\nplugins=keyfile\ndns = dnsmasq\n' >"$ROOT/etc/NetworkManager/NetworkManager.conf"
refused "with a resolver of its own" "NetworkManager.conf has dns=dnsmasq: a resolver of its own stands between"
rm -rf "$ROOT/etc/NetworkManager" "$RC"
ln -s /run/NetworkManager/resolv.conf "$RC"
printf '# Generated by NetworkManager\nnameserver 127.0.0.11\n' >"$ROOT/run/NetworkManager/resolv.conf"
WAS=$(print_of)
enable >/dev/null
check "where its file is a link" "nameserver 127.0.0.1" "$(grep -v '^#' "$RC")"
disable >/dev/null
check "the link comes back" "$WAS" "$(print_of)"
rm -rf "$ROOT/etc/NetworkManager"

# --- a disk that is full, and a file that is a mount: nothing is changed, and nothing is left behind
before '# Generated by NetworkManager
search corp.example
lookup file bind
nameserver 127.0.0.11'
refused "of NetworkManager, with a line that is not understood" "a line that is not understood: 'lookup file bind'"
check "it is not told to let go" "" "$(ls "$ROOT/etc/NetworkManager/conf.d")"
rm -rf "$ROOT/etc/NetworkManager"
before 'nameserver 127.0.0.11'
cat >"$TMP/full" <<'END'
mount -t tmpfs -o size=4k none "$1/etc"
echo 'nameserver 127.0.0.11' >"$1/etc/resolv.conf" # the page that there is
was=$(stat -c '%i %a %.Y' "$1/etc/resolv.conf")
"$2" --root "$1" dns enable 2>&1
echo "exit $?"
ls -A "$1/etc"
[ "$(stat -c '%i %a %.Y' "$1/etc/resolv.conf")" = "$was" ] && cat "$1/etc/resolv.conf"
END
full=$(unshare --mount -- bash "$TMP/full" "$ROOT" "$PWD/$CTL")
matches "a full disk" "/etc/resolv.conf: .*[Nn]o space" "$full"
check "is as it was" "exit 1|resolv.conf|nameserver 127.0.0.11" "$(tail -n +2 <<<"$full" | paste -sd '|')"
# shellcheck disable=SC2016 # for the inner shell
mounted=$(unshare --mount -- bash -c 'mount --bind "$0" "$0" && "$2" --root "$1" dns enable 2>&1; ls -A "$1/etc"' "$RC" "$ROOT" "$PWD/$CTL")
matches "a container's" "a container's is its runtime's to name" "$mounted"
check "nothing is left behind" resolv.conf "$(tail -n +2 <<<"$mounted")"
check "and it is as it was" "$WAS" "$(print_of)"

# --- others write it, too
before 'nameserver 127.0.0.11'
enable >/dev/null
echo "options edns0" >>"$RC"
matches "an edited one is not given up" "was edited since dns enable wrote it" "$(disable)"
matches "nor written anew" "was edited since dns enable wrote it" "$(enable)"
check "but with --force" "$WAS" "$("$CTL" --force --root "$ROOT" dns disable >/dev/null; print_of)"
enable >/dev/null
printf 'nameserver 127.0.0.12\n' >"$RC.new"
mv "$RC.new" "$RC"
matches "another one stays" "was written by another since; it stays" "$(disable)"
check "as it is" "nameserver 127.0.0.12" "$(cat "$RC")"
WAS=$(print_of)
enable >/dev/null
disable >/dev/null
check "and is the one before when enabled again" "$WAS" "$(print_of)"
enable >/dev/null
rm "$RC"
check "where it is gone" "this node's programs ask whom they asked before" "$(disable)"
check "it comes back" "$WAS" "$(print_of)"
force() { "$CTL" --force --root "$ROOT" dns enable 2>&1; }
before 'search corp.example
nameserver 127.0.0.11'
enable >/dev/null
rm "$RC"
matches "taken away: what to do is said" "is not there: dns disable puts back the one before" "$(enable)"
check "or with --force it is written again" "nameserver 127.0.0.1|search corp.example" "$(force >/dev/null; grep -v '^#' "$RC" | paste -sd '|')"
disable >/dev/null
check "and what was before is not lost" "$WAS" "$(print_of)"
enable >/dev/null
rm "$RC.waymark"
check "the one before is taken away: what was taken over from it stays" "nameserver 127.0.0.1|nameserver 127.0.0.1|search corp.example" \
	"$(enable 127.0.0.1 127.0.0.1 >/dev/null; grep -v '^#' "$RC" | paste -sd '|')"
matches "and it is said that it is gone" "/etc/resolv.conf.waymark is gone: write /etc/resolv.conf yourself" "$(disable)"
rm "$RC"
check "there was none: an empty one is the one before" "nameserver 127.0.0.1 0" "$(force >/dev/null; grep -v '^#' "$RC") $(stat -c %s "$RC.waymark")"
disable >/dev/null
check "and is there then" "0 resolv.conf" "$(stat -c %s "$RC") $(ls "$ROOT/etc")"

# --- one that may not be replaced stays, and so does the one before
before 'nameserver 127.0.0.11'
enable >/dev/null
printf 'nameserver 127.0.0.12\n' >"$RC.new"
mv "$RC.new" "$RC"
# shellcheck disable=SC2034 # lib.sh has AT_END
if chattr +i "$RC" 2>/dev/null; then
	AT_END="chattr -i '$RC'"
	matches "an immutable file" "is it immutable" "$(enable)"
	check "is as it was" "nameserver 127.0.0.12" "$(cat "$RC")"
	chattr -i "$RC"
	AT_END=''
	check "and so is the one before" "$WAS" "$("$CTL" --force --root "$ROOT" dns disable >/dev/null; print_of)"
fi
before 'nameserver 127.0.0.11'
cat >"$TMP/read-only" <<'END'
mount --bind "$1/etc" "$1/etc" && mount -o remount,bind,ro "$1/etc" || exit
"$2" --root "$1" dns enable 2>&1
echo "exit $?"
"$2" --root "$1" dns disable 2>&1
END
matches "a read-only disk" "/etc/resolv.conf: Read-only file system exit 1 .* it was not enabled" \
	"$(unshare --mount -- bash "$TMP/read-only" "$ROOT" "$PWD/$CTL" | paste -sd ' ')"
check "is as it was" "$WAS resolv.conf" "$(print_of) $(ls "$ROOT/etc")"

# --- two at once: what was there is not lost between them
before 'nameserver 127.0.0.11'
ASAN_OPTIONS=detect_leaks=0 strace -qq -o /dev/null -e trace=renameat -e inject=renameat:delay_enter=2000000 \
	"$CTL" --root "$ROOT" dns enable >/dev/null 2>&1 &
SLOW=$!
until_ok 60 test -e "$RC.waymark" || fail "the slow one does not get there"
check "the second waits for the first" "this node's programs ask the agent already" "$(enable)"
wait $SLOW
check "which ends well" 0 $?
check "and all comes back" "$WAS resolv.conf" "$(disable >/dev/null; print_of) $(ls "$ROOT/etc")"

# --- killed before any of its calls: a whole file is there, and both commands go on from it
calls=(write fsync fchmod linkat unlinkat renameat)
killed() { # call, which of them, command: does it go that far?
	{
		ASAN_OPTIONS=detect_leaks=0 strace -qq -o /dev/null -e "trace=$1" -e "inject=$1:signal=KILL:when=$2" \
			"$CTL" --root "$ROOT" dns "$3"
		[ $? -gt 128 ]
	} >/dev/null 2>&1
}
whole() { [ "$(print_of)" = "$WAS" ] || cmp -s "$RC" "$TMP/ours"; }
left() { (cd "$ROOT/etc" && find . -type f,l ! -name NetworkManager.conf | sort | xargs); }
killing() { # at each call of both commands; sets KILLS
	local call n command after next
	KILLS=0
	enable >/dev/null
	cp "$RC" "$TMP/ours"
	disable >/dev/null
	for call in "${calls[@]}"; do
		for n in 1 2 3 4 5 6 7 8; do
			for command in enable disable; do
				for after in disable "enable disable"; do
					[ $command = enable ] || enable >/dev/null
					killed "$call" $n $command && KILLS=$((KILLS + 1))
					whole || fail "$command killed at $call $n leaves: $(cat "$RC")"
					for next in $after; do
						"$CTL" --root "$ROOT" dns "$next" >/dev/null 2>&1 || fail "$next behind $command killed at $call $n"
						whole || fail "$next behind $command killed at $call $n leaves: $(cat "$RC")"
					done
					[ "$(print_of) $(left)" = "$WAS ./resolv.conf" ] ||
						fail "$after behind $command killed at $call $n: expected '$WAS', saw '$(print_of) $(left)'"
				done
			done
			killed "$call" $n enable || break
			disable >/dev/null
		done
	done
}
before 'nameserver 127.0.0.11
options ndots:3'
killing
[ $KILLS -ge 14 ] || fail "it was killed $KILLS times"
before '# Generated by NetworkManager
nameserver 127.0.0.11'
killing
[ $KILLS -ge 28 ] || fail "beside NetworkManager it was killed $KILLS times"
rm -rf "$ROOT/etc/NetworkManager"
stop_agent

# --- an agent that is its node's only server finds the host names of its checks
before 'nameserver 127.0.0.11'
printf 'nameserver 127.0.0.1\n' >"$TMP/ours"
mv "$RC" "$RC.waymark"
# shellcheck disable=SC2016 # for the inner shell
printf '#!/bin/sh\nexec unshare --mount -- sh -c '"'"'mount --bind "$0" /etc/resolv.conf && exec "$@"'"'"' "%s" "%s" "$@"\n' "$TMP/ours" "$PWD/$B/waymarkd" >"$TMP/waymarkd"
chmod +x "$TMP/waymarkd"
cp "$CTL" "$TMP/"
B=$TMP start_agent --set dns.port53_addresses=127.0.0.1 --set dns.upstream=resolv.conf --set "dns.resolv_conf=$RC,$RC.waymark"
register check-1 check 127.0.0.11 53 '"Check": {"TCP": "check.example:53", "Interval": "1s"}' >/dev/null
passes() { [ "$(api "$API/v1/health/checks/check" | jq -r '.[].Status')" = passing ]; }
until_ok 20 passes || fail "a check by a host name: $(api "$API/v1/health/checks/check")"
done_testing
