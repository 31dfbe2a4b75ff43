# SPDX-License-Identifier: Apache-2.0
# clients.sh - what a client finds by way of the agent: names of the mesh and of others. Source it after
# lib.sh, upstream.sh and resolvers.sh.
# shellcheck shell=bash
# Services and others' names, on addresses that none has by chance; the agent is started.
clients_begin() {
	# programs leave AAAA out where the node itself has loopback addresses only (AI_ADDRCONFIG)
	ip addr add 198.18.0.1/32 dev lo
	ip addr add 2001:db8:ff::1/128 dev lo nodad
	serve others 127.0.0.11 53 "	local-zone: \"example.\" static
	local-data: 'example. 300 SOA ns.example. host.example. 1 3600 600 86400 300'
	local-data: 'www.example. 300 A 192.0.2.1'
	local-data: 'www.example. 300 A 192.0.2.2'
	local-data: 'www.example. 300 AAAA 2001:db8::1'
	local-data: 'alias.example. 300 CNAME www.example.'
	local-data: '_sip._udp.example. 300 SRV 1 2 5060 www.example.'"
	clients_agent
	register web-1 web 127.1.0.1 8081 >/dev/null
	register web-2 web 127.1.0.2 8081 >/dev/null
	register six-1 six fd00::1 80 >/dev/null
}
clients_agent() {
	start_agent --set dns.upstream=list --set dns.forward=.=127.0.0.11 --set dns.port53_addresses=127.0.0.1
}
# What one finds, sorted, on a line: client_finds NAME TYPE COMMAND...
client_finds() {
	local name=$1 type=$2
	shift 2
	resolving "options timeout:15 attempts:1" "$@" "$name" "$type" 2>>"$TMP/clients.err" | sed 's/\.$//' | sort -u | paste -sd ' '
}
client() { client_types "A AAAA SRV" "$@"; }
client_types() { # types that it can ask for, name, command that takes NAME TYPE and prints what it found
	local types=$1 name=$2 type
	shift 2
	for type in $types; do
		case $type in
		A)
			check "$name: A" "127.1.0.1 127.1.0.2" "$(client_finds web.service.mesh.internal A "$@")"
			check "$name: A of others" "192.0.2.1 192.0.2.2" "$(client_finds www.example A "$@")"
			check "$name: A by an alias" "192.0.2.1 192.0.2.2" "$(client_finds alias.example A "$@")"
			check "$name: no such service" "" "$(client_finds none.service.mesh.internal A "$@")"
			check "$name: no such name of others" "" "$(client_finds none.example A "$@")"
			;;
		AAAA)
			check "$name: AAAA" fd00::1 "$(client_finds six.service.mesh.internal AAAA "$@")"
			check "$name: AAAA of others" 2001:db8::1 "$(client_finds www.example AAAA "$@")"
			check "$name: no AAAA" "" "$(client_finds web.service.mesh.internal AAAA "$@")"
			;;
		SRV)
			check "$name: SRV" "1 1 8081 7f010001.addr.dc1.mesh.internal 1 1 8081 7f010002.addr.dc1.mesh.internal" \
				"$(client_finds _web._tcp.service.mesh.internal SRV "$@")"
			check "$name: SRV of others" "1 2 5060 www.example" "$(client_finds _sip._udp.example SRV "$@")"
			;;
		esac
	done
}
# What is asked without a pause is hot when many answers are, and none comes of userspace.
hot() { counter dns_hot; }
asked_hot() { [ "$(hot)" -ge "$1" ]; }
user() { api "$API/v1/agent/metrics?format=prometheus" | awk '$1 ~ /^waymark_dns_user_udp(_total)?$/ {print $2}'; }
all_in_kernel() { # so many answers
	local before
	before=$(user)
	until_ok 30 asked_hot $(($(hot) + $1))
	[ "$(user)" = "$before" ]
}
