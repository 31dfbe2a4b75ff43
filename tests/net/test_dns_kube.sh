#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Names of a Kubernetes cluster, as a pod asks for them: by dig, and by the C library with kubelet's search
# list and ndots:5, at kube-dns' cluster IP, which the agent has taken over. Nobody else is asked for them.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/kube.sh
. tests/net/kube.sh
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
serve up 127.0.0.11 53 "$(printf '\tlocal-zone: "example." static\n\tlocal-data: "a.example. 60 A 100.128.0.11"')"
start_cluster
kubeconfig
namespace kube-system 11111111-1111-4111-8111-111111111111
namespace default 22222222-2222-4222-8222-222222222222
node n1 127.0.0.1 a
hosted() { # address, host name
	echo "{\"addresses\": [\"$1\"], \"hostname\": \"$2\", \"nodeName\": \"n1\", \"conditions\": {\"ready\": true}}"
}
HTTP='"ports": [{"name": "http", "port": 80, "targetPort": 8080}]'
PG='{"name": "pg", "port": 5432}'
service web "\"clusterIP\": \"10.96.0.1\", \"clusterIPs\": [\"10.96.0.1\"], $HTTP"
service six "\"clusterIP\": \"fd00:10:96::6\", \"clusterIPs\": [\"fd00:10:96::6\"], $HTTP"
service db "\"clusterIP\": \"None\", \"clusterIPs\": [\"None\"], \"ports\": [$PG]"
slice db-1 db "$PG" "$(hosted 127.1.0.1 db-0)" "$(hosted 127.1.0.2 db-1)"
service empty "\"clusterIP\": \"None\", \"clusterIPs\": [\"None\"], \"ports\": [$PG]"
service ext '"type": "ExternalName", "externalName": "a.example"'
service dns '"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]'
slice dns-1 dns '{"name": "dns", "port": 53, "protocol": "UDP"}' "$(endpoint 127.1.0.9 coredns)"
start_agent --set source.kubernetes_enabled=true --set "source.kubernetes_kubeconfig=$TMP/kubeconfig" --set source.kubernetes_node=n1 \
	--set dns.port53_addresses=10.96.0.10 --set dns.own_device=true --set dns.upstream=list --set dns.forward=.=127.0.0.11

Z=svc.cluster.local
at() { dig +short +tries=1 +time=15 @10.96.0.10 "$@" | sort | xargs; }
code_at() { dig +tries=1 +time=15 @10.96.0.10 "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
is_at() { [ "$(at "${@:2}")" = "$1" ]; }
until_ok 60 is_at 10.96.0.1 web.default.$Z || fail "a service is found: $(at web.default.$Z)"
check "of IPv6" fd00:10:96::6 "$(at six.default.$Z AAAA)"
check "it has no other addresses" NOERROR "$(code_at web.default.$Z AAAA)"
check "a port" "0 100 80 web.default.$Z." "$(at _http._tcp.web.default.$Z SRV)"
check "a headless service" "127.1.0.1 127.1.0.2" "$(at db.default.$Z)"
check "its ports" "0 50 5432 db-0.db.default.$Z. 0 50 5432 db-1.db.default.$Z." "$(dig +short +tries=1 +time=15 @10.96.0.10 _pg._tcp.db.default.$Z SRV | sort | xargs)"
check "one endpoint of it" 127.1.0.1 "$(at db-0.db.default.$Z)"
check "a headless service without endpoints" NXDOMAIN "$(code_at empty.default.$Z)"
check "another name" "100.128.0.11 a.example." "$(at ext.default.$Z)"
check "a name of a cluster IP" web.default.$Z. "$(at -x 10.96.0.1)"
check "a name of an endpoint" db-0.db.default.$Z. "$(at -x 127.1.0.1)"
check "the version" '1.1.0' "$(at dns-version.cluster.local TXT)"
check "over TCP" 10.96.0.1 "$(at +tcp web.default.$Z)"
check "what is not there" NXDOMAIN "$(code_at none.default.$Z)"
check "a namespace" NOERROR "$(code_at default.$Z)"
check "one that is not there" NXDOMAIN "$(code_at other.$Z)"
check "in our own domain" "127.1.0.1 127.1.0.2" "$(at db.service.default.ns.mesh.internal)"
check "their names are not warned of" "" "$(grep event=service.name "$TMP/agent.log")"
check "a pod that connects to ask is not led to others" 10.96.0.1 "$(inside dig +short +tries=1 +time=15 @10.96.0.10 web.default.$Z)"

matches "whose names they are" "^rule +below cluster.local, the cluster.s domain" \
	"$("$CTL" -a "unix:$TMP/http.sock" dns trace web.default.$Z)"

# --- the C library
printf 'nameserver 10.96.0.10\nsearch default.%s %s cluster.local\noptions ndots:5 timeout:15 attempts:1\n' $Z $Z >"$TMP/resolv.conf"
# shellcheck disable=SC2016 # for the inner shell
found() { unshare --mount -- bash -c 'mount --bind "$0" /etc/resolv.conf && exec getent ahosts "$1"' "$TMP/resolv.conf" "$1" | awk '{print $1}' | sort -u | xargs; }
check "getaddrinfo of a service" 10.96.0.1 "$(found web)"
check "with its namespace" 10.96.0.1 "$(found web.default)"
check "and svc" 10.96.0.1 "$(found web.default.svc)"
check "whole" 10.96.0.1 "$(found web.default.$Z.)"
check "of IPv6" fd00:10:96::6 "$(found six)"
check "an endpoint" 127.1.0.2 "$(found db-1.db)"
check "another name" 100.128.0.11 "$(found ext)"
for _ in 1 2 3 4 5; do check "a name of others, behind the search list" 100.128.0.11 "$(found a.example)"; done
seen() { api "$API/v1/agent/metrics?format=prometheus" | awk '$1 == "waymark_dns_user_udp_total" {print $2}'; }
BEFORE=$(seen)
found a.example >/dev/null
check "of the eight questions userspace sees those of others alone, if any" 1 "$(($(seen) - BEFORE <= 2))"
check "what others were asked of the cluster" "" "$(grep -i 'cluster\.local' "$TMP/up.log" | head -3)"

# --- it changes
slice db-1 db "$PG" "$(hosted 127.1.0.2 db-1)"
until_ok 30 is_at 127.1.0.2 db.default.$Z && echo "ok: an endpoint that left" || fail "an endpoint left: $(at db.default.$Z)"
slice db-1 db "$PG"
gone() { [ "$(code_at db.default.$Z)" = NXDOMAIN ]; }
until_ok 30 gone && echo "ok: all of them" || fail "all left: $(code_at db.default.$Z)"
kube delete Service default web
web_gone() { [ "$(code_at web.default.$Z)" = NXDOMAIN ]; }
until_ok 30 web_gone && echo "ok: a service that is gone" || fail "a service is gone: $(code_at web.default.$Z)"

# --- without an agent
check "asked once, an endpoint is the kernel's" "0 100 80 six.default.$Z." "$(at _http._tcp.six.default.$Z SRV)"
dns_balance
stop_agent KILL
check "no agent: addresses" fd00:10:96::6 "$(at six.default.$Z AAAA)"
check "no agent: ports" "0 100 80 six.default.$Z." "$(at _http._tcp.six.default.$Z SRV)"
check "no agent: no such address" NOERROR "$(code_at six.default.$Z A)"
stop_cluster
exit $FAILED
