# SPDX-License-Identifier: Apache-2.0
# upstream.sh - servers that the agent asks for names that are not ours: source it after lib.sh.
# shellcheck shell=bash disable=SC2034
for p in unbound nsd; do
	command -v $p >/dev/null || {
		echo "skipped: $p is not installed (make deps-test)"
		exit 77
	}
done
# An unbound of its own: name, address, port, further lines of "server:", a name that it knows. Its pid
# in the array SERVER. SERVE_IN: words before the command, as nsenter's; SERVE_FROM: before the one that asks it.
declare -A SERVER
serve() {
	local name=$1 address=$2 port=$3
	{
		printf 'server:\n\tinterface: %s\n\tport: %s\n\tusername: ""\n\tchroot: ""\n\tdirectory: "%s"\n' "$address" "$port" "$TMP"
		printf '\tpidfile: ""\n\tuse-syslog: no\n\tnum-threads: 1\n\tmodule-config: "iterator"\n\tlog-queries: yes\n'
		printf '\tdo-not-query-localhost: no\n%s\n%s\nremote-control:\n\tcontrol-enable: no\n' "${5:+	#}	local-zone: \"waymark-loop.\" static" "$4"
	} >"$TMP/$name.conf"
	# shellcheck disable=SC2086 # words
	(exec ${SERVE_IN:-} unbound -d -c "$TMP/$name.conf" 2>>"$TMP/$name.log") &
	SERVER[$name]=$!
	# shellcheck disable=SC2086 # words
	until_ok 60 ${SERVE_FROM:-} dig +tries=1 +time=1 "@$address" -p "$port" "${5:-waymark-loop}" || fail "$name answers: $(tail -3 "$TMP/$name.log")"
}
# NSD with zones of files of these names in $TMP/nsd, "root" is "."; addresses in the first word, with @port.
serve_zones() {
	local a zone
	{
		echo server:
		for a in $1; do echo "	ip-address: $a"; done
		printf '\tusername: ""\n\tchroot: ""\n\tzonesdir: "%s"\n\tdatabase: ""\n\tpidfile: ""\n\txfrdfile: "%s/xfrd"\n' "$TMP/nsd" "$TMP/nsd"
		printf '\tzonelistfile: "%s/list"\nremote-control:\n\tcontrol-enable: no\n' "$TMP/nsd"
		for zone in "${@:2}"; do printf 'zone:\n\tname: "%s"\n\tzonefile: %s\n' "${zone/#root/.}" "$zone"; done
	} >"$TMP/nsd.conf"
	(exec nsd -d -c "$TMP/nsd.conf" >"$TMP/nsd.log" 2>&1) &
	a=${1%% *}
	until_ok 60 dig +tries=1 +time=1 "@${a%@*}" -p "${a#*@}" "${*: -1}" SOA || fail "NSD answers: $(cat "$TMP/nsd.log")"
}
kill_server() {
	kill -9 "${SERVER[$1]}"
	wait "${SERVER[$1]}" 2>/dev/null
}
ttl_of() { dig +noall +answer +tries=1 +time=15 @127.0.0.1 -p 8600 "$@" | awk '{print $2; exit}'; }
upstream_state() { api $API/v1/waymark/dns | jq -r ".servers[] | select(.server | startswith(\"$1\")).state"; }
is_state() { [ "$(upstream_state "$1")" = "$2" ]; }
upstream_counter() { api $API/v1/waymark/dns | jq ".counters.$1"; }
# Another network, behind a pair: the device here, its other end's address there. Words for what runs there in FAR.
FAR=''
far_network() {
	(exec unshare --net sleep 600) &
	FAR=$!
	ip link add "$1" type veth peer name "$1-far"
	until_ok 60 is_apart $FAR
	until_ok 60 ip link set "$1-far" netns $FAR || fail "$1's other end"
	FAR="nsenter -t $FAR -n"
	$FAR ip link set lo up
	$FAR ip addr add "$2/24" dev "$1-far"
	$FAR ip link set "$1-far" up
}
