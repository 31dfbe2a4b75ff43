# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# nodes.sh - what demos of several nodes share: sourced by one that has set DEMO (its name), B, CTL, CGROOT and
# TAKES_MAX (seconds that it waits for anything), and fills ns with a network namespace's pid for each node.
declare -A ns=() agent=() backend=()
rows=() failed=0

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
die() {
	echo "demo-$DEMO: $*" >&2
	exit 1
}
result() { # text, expectation, what was seen
	local mark=ok
	[ "$2" = "$3" ] || { mark=FAILED failed=1; }
	rows+=("$(printf '  %-62s %-14s %s' "$1" "$3" "$mark")")
}
figure() { rows+=("$(printf '  %-62s %s' "$1" "$2")"); }

on() { # node, command...
	local n=${ns[$1]}
	shift
	nsenter --net="/proc/$n/ns/net" -- "$@"
}
steered() { # node, command...: in its cgroup, where connect() is steered
	local i=$1
	shift
	(
		echo $BASHPID >"$CGROOT/waymark-$DEMO-$i/cgroup.procs"
		exec nsenter --net="/proc/${ns[$i]}/ns/net" -- "$@"
	)
}
show() { # node, command...
	local i=$1
	shift
	printf '  n%s $ %s\n' "$i" "${*//$B\//}"
	on "$i" "$@" 2>&1 | sed 's/^/    /'
}
api() { # node, path, further arguments of curl
	local i=$1 path=$2
	shift 2
	on "$i" curl -s --max-time 10 --noproxy '*' "$@" "http://127.0.0.1:8500$path"
}
ask() { # node, name
	on "$1" dig +short +tries=1 +time=2 @127.0.0.1 -p 8600 "$2"
}
wait_for() { # seconds, command...: until it succeeds
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.02
	done
}
took() { # milliseconds until a command succeeds, "never" after $TAKES_MAX seconds
	local began
	began=$(date +%s%3N)
	if wait_for "$TAKES_MAX" "$@"; then echo "$(($(date +%s%3N) - began)) ms"; else echo never; fi
}
answers() { [ "$(api "$1" /v1/agent/self -o /dev/null -w '%{http_code}')" = 200 ]; }
