# SPDX-License-Identifier: Apache-2.0
# hostile.sh - a member of a mesh that means harm (hostile_peer.py), and what it does to node 1: source it behind
# mesh.sh. `hostile_up` begins it, `attack` has it do something.
# shellcheck shell=bash
id_of() { api_of "$1" /v1/agent/members | jq -r ".[] | select(.Name == \"n$1\").Tags.id"; }
hostile_up() { # its node, which has no agent
	coproc PEER { exec nsenter --net="/proc/${NODE_NS[$1]}/ns/net" -- /usr/bin/python3 tests/net/hostile_peer.py "$TMP/ca" "n$1" "10.77.0.$1" 10.77.0.1 \
		"n2 10.77.0.2 $(id_of 2)" "$(id_of 1)" 2>"$TMP/peer.log"; }
}
count() { api_of 1 /v1/waymark/sync | jq ".counters.$1 // error(\"no such counter\")"; }
unharmed() { # attack
	check "$1: node 1 answers" 200 "$(api_of 1 -o /dev/null -w '%{http_code}' /v1/health/service/web)"
	[ -e "/proc/${NODE_AGENT[1]}" ] || fail "$1: the agent of node 1 is gone"
}
grew() { [ "$(count "$1")" -gt "$2" ]; }
attacked() { # as `attack`: did it go so?
	local before
	[ -z "$3" ] || before=$(count "$3")
	echo "$1 $2" >&"${PEER[1]}"
	read -r -t 60 SEEN <&"${PEER[0]}" || SEEN="no answer: $(tail -n 3 "$TMP/peer.log" | paste -sd' ')"
	[[ $SEEN =~ ^(closed|$2) ]] || return 1
	[ -z "$3" ] || PATIENCE=1 until_ok 5 grew "$3" "$before" || return 1
	[ -z "$4" ] || PATIENCE=1 until_ok 2 grep -qE "$4" "$TMP/n1.log"
}
# The peer answers no probes: it may be taken for failed, and its stream be ended, before it was heard. Then it
# tries again.
attack() { # its name, "closed" or "open" (either), a counter that grows or "", a pattern of the log or ""
	local n
	for n in 1 2 3 4; do
		if attacked "$@"; then
			echo "ok: $1: $SEEN${3:+, counted as $3}${4:+, the log says why}"
			break
		fi
		[ "$n" -lt 4 ] || fail "$1: the stream: $SEEN; ${3:-nothing} did not grow, or the log does not say /$4/"
	done
	unharmed "$1"
}
