#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What names DNS has, and where: the kernel and userspace on the same questions.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

# --- an address is answered on the ports that it was listed for, the other is somebody else's
tests/net/client.py udp-echo 127.0.0.1 53 other &
BACKENDS+=($!)
start_agent --set dns.port53_addresses=127.0.0.2
at() { # address, port: a question there
	dig +short +tries=1 +time=15 "@$1" -p "$2" web.service.mesh.internal 2>&1 | tail -1
}
check "register" 200 "$(register web-1 web 127.1.0.1 80)"
before=$(counter dns_answered)
check "dns.addresses on dns.port" 127.1.0.1 "$(at 127.0.0.1 8600)"
check "port53_addresses on 53" 127.1.0.1 "$(at 127.0.0.2 53)"
check "both by the kernel" 2 $(($(counter dns_answered) - before))
check "another server's port 53 is its own" other "$(/usr/bin/python3 -c '
import dns.message, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.sendto(dns.message.make_query("web.service.mesh.internal", "A").to_wire(), ("127.0.0.1", 53))
print(s.recv(512).decode(errors="replace"))')"
matches "nobody's port" "no servers could be reached|connection refused" "$(at 127.0.0.2 8600)"
check "neither was answered" 2 $(($(counter dns_answered) - before))

# --- a virtual name has addresses of the families that its endpoints have
check "A" "$(vip4 web)" "$(ask web.virtual.mesh.internal)"
check "no AAAA" "NOERROR:" "$(status_of web.virtual.mesh.internal AAAA):$(ask web.virtual.mesh.internal AAAA)"
check "register" 200 "$(register web-2 web fd00::2 80)"
check "AAAA with an IPv6 endpoint" "$(vip6 web)" "$(ask web.virtual.mesh.internal AAAA)"
check "deregister" 200 "$(code -X PUT $API/v1/agent/service/deregister/web-2)"
check "and without again" "NOERROR:" "$(status_of web.virtual.mesh.internal AAAA):$(ask web.virtual.mesh.internal AAAA)"

# --- a host name for an address: an alias, as Consul has it, and nothing for connect()
check "register" 200 "$(register db-1 db db.example.com 5432)"
check "A" db.example.com. "$(ask db.service.mesh.internal)"
check "AAAA" db.example.com. "$(ask db.service.mesh.internal AAAA)"
check "SRV" "1 1 5432 db.example.com." "$(ask db.service.mesh.internal SRV)"
check "the virtual name has no address" "NOERROR:" "$(status_of db.virtual.mesh.internal):$(ask db.virtual.mesh.internal)"
check "shown as in no set" none "$(api $API/v1/waymark/services | jq -r '.[] | select(.name == "db").backends[].state')"
check "and why" "has no IP address" "$(api "$API/v1/waymark/resolve?service=db" | jq -r '.left_out[].reason')"
check "connect() is refused" 7 "$(inside curl -s --max-time 10 "http://$(vip4 db)/" >/dev/null; echo $?)"

# --- names of addresses
ptr() { ask -x "$1"; }
rcode_of() { status_of -x "$1"; }
check "a service's" web.service.dc1.mesh.internal. "$(ptr 127.1.0.1)"
check "a virtual address's" web.virtual.mesh.internal. "$(ptr "$(vip4 web)")"
check "a virtual IPv6 address's" web.virtual.mesh.internal. "$(ptr "$(vip6 web)")"
node=$(api $API/v1/catalog/nodes | jq -r '.[0].Address')
check "a node's" n1.node.dc1.mesh.internal. "$(ptr "$node")"
check "nobody's of our range" NXDOMAIN "$(rcode_of 250.1.2.3)"
check "somebody else's" REFUSED "$(rcode_of 192.0.2.1)"
check "over TCP" web.virtual.mesh.internal. "$(ask +tcp -x "$(vip4 web)")"

# --- TTLs and health as Consul's dns_config has them, by the kernel and by userspace
ttl_of() { dig +noall +answer +authority +tries=1 +time=15 @127.0.0.1 -p 8600 "$@" | awk '{print $2; exit}'; }
minimum() { dig +noall +authority +tries=1 +time=15 @127.0.0.1 -p 8600 "$@" | awk '{print $2, $NF; exit}'; }
check "a negative answer holds for a second" "1 1" "$(minimum none.service.mesh.internal)"
check "an answer not at all" 0 "$(ttl_of web.service.mesh.internal)"
stop_agent
start_agent --set dns.service_ttl=web=10s,d*=20s --set dns.ttl=30s --set dns.node_ttl=40s \
	--set dns.negative_ttl=3s --set dns.only_passing=true
check "register" 200 "$(register other other 127.1.0.9 80)"
before=$(counter dns_answered)
check "by name" 10 "$(ttl_of web.service.mesh.internal)"
check "the virtual name's" 10 "$(ttl_of web.virtual.mesh.internal)"
check "the others'" 30 "$(ttl_of other.service.mesh.internal)"
check "no IPv6 address" "3 3" "$(minimum web.service.mesh.internal AAAA)"
check "nor at the virtual name" "3 3" "$(minimum web.virtual.mesh.internal AAAA)"
check "by the kernel" 5 $(($(counter dns_answered) - before))
check "over TCP" 10 "$(ttl_of +tcp web.service.mesh.internal)"
check "by prefix, of an alias" 20 "$(ttl_of db.service.mesh.internal)"
check "SRV" 10 "$(ttl_of web.service.mesh.internal SRV)"
check "a node's" 40 "$(ttl_of n1.node.mesh.internal)"
check "negative" "3 3" "$(minimum none.service.mesh.internal)"
check "register" 200 "$(register web-1 web 127.1.0.1 80 '"Check": {"TTL": "60s", "Status": "warning"}')"
check "a warning is left out" NXDOMAIN "$(status_of web.service.mesh.internal)"
check "of SRV too" NXDOMAIN "$(status_of web.service.mesh.internal SRV)"
check "by connect() too" 7 "$(inside curl -s --max-time 10 "http://$(vip4 web)/" >/dev/null; echo $?)"
matches "and shown so" only_passing "$(api "$API/v1/waymark/resolve?service=web" | jq -r '.left_out[].reason')"
check "a policy explains it" "0 refused" "$(api "$API/v1/waymark/policies/web/explain" | jq -r '"\(.up) \(.verdict)"')"
check "pass" 200 "$(code -X PUT $API/v1/agent/check/pass/service:web-1)"
check "until it passes" 127.1.0.1 "$(ask web.service.mesh.internal)"

# --- what is not there, with the names that a search list makes; also while no agent runs
deny() { # TEXT: each of the names in the kernel, twice
	local before name
	before=$(counter dns_nxdomain)
	for name in www.example.org.mesh.internal www.example.org.service.mesh.internal none.service.mesh.internal; do
		check "$1: $name" "NXDOMAIN NXDOMAIN" "$(status_of "$name") $(status_of "$name" AAAA)"
	done
	check "$1: in the kernel" 6 $(($(counter dns_nxdomain) - before))
}
deny "an agent runs"
stop_agent KILL
deny "it was killed"
start_agent
deny "and is back"
check "register what was denied" 200 "$(register n none 127.1.0.3 80)"
check "it is there" 127.1.0.3 "$(ask none.service.mesh.internal)"
check "a name below it is userspace's to deny" "NXDOMAIN 0" "$(before=$(counter dns_nxdomain)
	echo "$(status_of x.none.service.mesh.internal) $(($(counter dns_nxdomain) - before))")"
stop_agent

# --- the alternative domain is the kernel's as well
start_agent --set node.alt_domain=consul
check "register" 200 "$(register web-9 web 127.1.0.1 80)"
before=$(counter dns_answered)
check "a service" 127.1.0.1 "$(ask web.service.consul | grep -x 127.1.0.1)"
check "by SRV, both of which lead into it" 2 "$(ask _web._tcp.consul SRV | grep -cE "^1 1 80 .*\.consul\.$")"
check "its virtual name" "$(vip4 web)" "$(ask web.virtual.consul)"
check "what is not there" "NXDOMAIN NXDOMAIN NXDOMAIN" "$(status_of nobody.service.consul) $(status_of none.node.consul) $(status_of x.consul)"
check "a type that is not" "consul." "$(dig +noall +authority +tries=1 +time=15 @127.0.0.1 -p 8600 service.consul AAAA | awk '{print $1}')"
check "all by the kernel" 7 $(($(counter dns_answered) - before))
done_testing
