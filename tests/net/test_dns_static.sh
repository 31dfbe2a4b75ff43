#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Names that no health changes are answered by the kernel once userspace has said them: nodes, addresses,
# the domain's name server, the operator's records. Until they change, and on while no agent runs.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

node() { # name, address, [rack]
	code -X PUT $API/v1/catalog/register -d "{\"Node\":\"$1\",\"Address\":\"$2\",\"NodeMeta\":{\"rack\":\"${3:-r1}\"},\"SkipNodeUpdate\":false}"
}
gone() { code -X PUT $API/v1/catalog/deregister -d "{\"Node\":\"$1\"}"; }
settings() { # records, each in quotes
	printf '{"dns": {"records": [%s]}}' "$1" >"$TMP/settings.json"
}
kernels() { counter dns_answered; } # answers
said() { dig +tries=1 +time=15 @127.0.0.1 -p 8600 "$@" | sed -E '/^;; (WHEN|Query|SERVER|MSG SIZE)|^; (<|COOKIE)|^;; (Got|global)/d; s/, id: .*//; s/(SOA.* hostmaster\S* )[0-9]+/\1SERIAL/'; }
in_kernel() { # does the kernel give this answer again?
	local before
	before=$(kernels)
	dig +tries=1 +time=15 @127.0.0.1 -p 8600 "$@" >/dev/null
	[ "$(kernels)" -gt "$before" ]
}

settings '"printer.mesh.internal 60 A 10.0.0.7", "www.corp CNAME printer.mesh.internal", "corp MX 10 mail.corp", "_x._tcp.corp SRV 0 5 80 printer.mesh.internal"'
start_agent --config "$TMP/settings.json"
check "a node" 200 "$(node far 10.9.8.7)"
check "with IPv6" 200 "$(node six fd00::6)"
register a web 127.1.0.1 80 >/dev/null
register b other 10.1.0.2 80 >/dev/null
virtual=$(ask web.virtual.mesh.internal)
virtual6=$(vip6 web)

# --- the same words
questions() {
	cat <<-END
		far.node.mesh.internal A
		+noedns FAR.Node.mesh.internal A
		far.node.dc1.mesh.internal A
		six.node.mesh.internal AAAA
		+dnssec six.node.mesh.internal A
		far.node.mesh.internal TXT
		+norec +notcp far.node.mesh.internal ANY
		mesh.internal NS
		ns.mesh.internal A
		none.node.mesh.internal A
		-x 10.9.8.7
		-x fd00::6
		-x 10.1.0.2
		-x $virtual
		-x $virtual6
		-x 240.0.0.1
		printer.mesh.internal A
		printer.mesh.internal AAAA
		none.mesh.internal A
		www.corp A
		+cd corp MX
		_x._tcp.corp SRV
	END
}
while read -r -a question; do
	for _ in 1 2; do dig +tries=1 +time=15 @127.0.0.1 -p 8600 "${question[@]}" >/dev/null; done
	in_kernel "${question[@]}" || fail "${question[*]} is the kernel's"
	before=$(kernels)
	words=$(said "${question[@]}")
	check "${question[*]}: the kernel's" $((before + 1)) "$(kernels)"
	check "${question[*]}" "$(said "${question[@]}" +tcp | sed 's/ (TCP)//')" "$words"
done < <(questions)
check "answers that userspace made" 1 "$(($(counter dns_ready) > 0))"
dns_balance

# --- nodes that nobody has, made up anew each time: userspace is not asked
before=$(counter dns_pass_unknown)
for n in $(seq 40); do check "nobody" NXDOMAIN "$(status_of "x$n-$RANDOM.node.mesh.internal")"; done
check "they are the kernel's" "$before" "$(counter dns_pass_unknown)"

# --- what changes is told as it is, at once
for n in 1 2 3 4 5 6 7 8 9; do
	check "another address" 200 "$(node far 10.9.7.$n "r$n")"
	check "is told" "10.9.7.$n" "$(ask far.node.mesh.internal)"
	check "with its metadata" "\"rack=r$n\"" "$(ask far.node.mesh.internal TXT)"
	check "by its name" far.node.dc1.mesh.internal. "$(ask -x 10.9.7.$n)"
	check "and not by that before" REFUSED "$(status_of -x 10.9.7.$((n - 1)))"
	in_kernel far.node.mesh.internal || fail "it is the kernel's again"
	in_kernel six.node.mesh.internal AAAA || fail "the other has not changed"
done
for _ in 1 2 3; do
	check "a node goes" 200 "$(gone far)"
	check "it is not there" NXDOMAIN "$(status_of far.node.mesh.internal)"
	check "nor is what it had" REFUSED "$(status_of -x 10.9.7.9)"
	check "still not" NXDOMAIN "$(status_of far.node.mesh.internal)"
	in_kernel far.node.mesh.internal || fail "the kernel says so"
	check "a node comes" 200 "$(node far 10.9.7.9)"
	check "it is there" 10.9.7.9 "$(ask far.node.mesh.internal)"
	check "under its address" far.node.dc1.mesh.internal. "$(ask -x 10.9.7.9)"
	check "a service goes" 200 "$(code -X PUT $API/v1/agent/service/deregister/b)"
	check "its address is nobody's" REFUSED "$(status_of -x 10.1.0.2)"
	check "it comes" 200 "$(register b other 10.1.0.2 80)"
	check "and has it" other.service.dc1.mesh.internal. "$(ask -x 10.1.0.2)"
	check "a service with virtual addresses goes" 200 "$(code -X PUT $API/v1/agent/service/deregister/a)"
	check "nobody has them" "NXDOMAIN NXDOMAIN" "$(status_of -x "$virtual") $(status_of -x "$virtual6")"
	check "it comes" 200 "$(register a web 127.1.0.1 80)"
	check "and has them" "web.virtual.mesh.internal. web.virtual.mesh.internal." "$(ask -x "$virtual") $(ask -x "$virtual6")"
done
settings '"printer.mesh.internal 60 A 10.0.0.8"'
check "a reload" "" "$(operator -X PUT "$API/v1/agent/reload")"
check "another address" 10.0.0.8 "$(ask printer.mesh.internal)"
check "a record that is gone" REFUSED "$(status_of www.corp)"
check "of a name for SRV" REFUSED "$(status_of _x._tcp.corp SRV)"

# --- without an agent
for _ in 1 2; do while read -r -a question; do dig +tries=1 +time=15 @127.0.0.1 -p 8600 "${question[@]}" >/dev/null; done < <(questions); done
ask -x 10.9.7.9 >/dev/null
stop_agent KILL
check "a node" 10.9.7.9 "$(ask far.node.mesh.internal)"
check "an address" far.node.dc1.mesh.internal. "$(ask -x 10.9.7.9)"
check "a virtual one" web.virtual.mesh.internal. "$(ask -x "$virtual")"
check "a record" 10.0.0.8 "$(ask printer.mesh.internal)"
check "a node that is not there" NXDOMAIN "$(status_of none.node.mesh.internal)"
check "one that nobody asked for before" NXDOMAIN "$(status_of "x-$RANDOM.node.dc1.mesh.internal")"

# --- another agent begins without
start_agent --config "$TMP/settings.json"
check "the node is there" 10.9.7.9 "$(ask far.node.mesh.internal)"
check "it changes" 200 "$(node far 10.9.7.1)"
check "and is told" 10.9.7.1 "$(ask far.node.mesh.internal)"
dns_balance
stop_agent

# --- nodes are there before anybody asks
made() { [ "$(api "$API/v1/agent/metrics?format=prometheus" | awk '$1 ~ /^waymark_dns_ready_remade(_total)?$/ { print $2 }')" -ge "$1" ]; }
start_agent
until_ok 60 made 15 || fail "addresses of three nodes by two names, and of the domain's server, are made"
stop_agent KILL
check "a node that nobody asked for" 10.9.7.1 "$(ask far.node.dc1.mesh.internal)"
check "one with IPv6" fd00::6 "$(ask six.node.mesh.internal AAAA)"
check "the domain's server" ns.mesh.internal. "$(ask mesh.internal NS)"
start_agent --set dns.kernel_ready=0
for _ in 1 2 3; do check "without" 10.9.7.1 "$(ask far.node.mesh.internal)"; done
in_kernel far.node.mesh.internal && fail "dns.kernel_ready=0 keeps nothing"
dns_balance
done_testing
