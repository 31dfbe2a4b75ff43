#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Where this node's packet filter sends questions to the agent that were for another address, as docs of other agents
# have it for port 53, the answers come from whom the client asked: so userspace gives them. Others stay the kernel's.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
rules() { # family, an address, the agent's
	nft -f - <<-EOT
		table $1 waymark-test {
			chain output {
				type nat hook output priority -100
				$1 daddr $2 udp dport 53 dnat to $3
			}
		}
	EOT
}
command -v nft >/dev/null && rules ip 127.0.0.53 127.0.0.1:8600 2>/dev/null || {
	echo "skipped: no packet filter that translates addresses (nft)"
	exit 77
}
rules ip6 fd00::53 '[::1]:8600' || fail "the rules of IPv6"
ip addr add fd00::53/128 dev lo nodad
start_agent --set dns.addresses=127.0.0.1,::1
check "register" 200 "$(register web-1 web 127.1.0.1 80)"
elsewhere() { dig +short +tries=1 +time=5 "@$1" web.service.mesh.internal; }
passed=$(counter dns_pass_nat)
check "by another address" 127.1.0.1 "$(elsewhere 127.0.0.53)"
check "again" 127.1.0.1 "$(elsewhere 127.0.0.53)"
check "of IPv6" 127.1.0.1 "$(elsewhere fd00::53)"
check "userspace gave them" 3 $(($(counter dns_pass_nat) - passed))
answered=$(counter dns_answered)
check "by the agent's own" 127.1.0.1 "$(ask web.service.mesh.internal)"
check "the kernel's, also while connections are tracked" 1 $(($(counter dns_answered) - answered))
done_testing
