#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Names of services as pods ask them, by Kubernetes' DNS specification 1.1.0, from what a real API server has.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
# shellcheck source=tests/kubernetes/cluster.sh
. tests/kubernetes/cluster.sh
# shellcheck source=tests/kubernetes/shop.sh
. tests/kubernetes/shop.sh
cluster_up
cluster_shop
start_kube_agent "${DNS_SETTINGS[@]}"

Z=svc.cluster.local
asked() { in_pod shop_client dig +short +tries=1 +time=5 "@$DNS_ADDRESS" "$@" | sort | tr '\n' ' ' | sed 's/ $//'; }
rcode() { in_pod shop_client dig +tries=1 +time=5 "@$DNS_ADDRESS" "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'; }
pod_ip() { # pod, [which]
	kube GET "$SHOP/pods/$1" | jq -r ".status.podIPs[${2:-0}].ip"
}
sorted() { printf '%s\n' "$@" | sort | tr '\n' ' ' | sed 's/ $//'; }
is() { [ "$(asked "$1" "$2")" = "$3" ]; }
until_ok 30 is web.shop.$Z A "$(ip_of web)" || fail "web: $(asked web.shop.$Z A), not $(ip_of web)"

echo "--- ClusterIPs"
check "over TCP" "$(ip_of web)" "$(asked +tcp web.shop.$Z)"
check "in any case of letters" "$(ip_of web)" "$(asked WEB.Shop.SVC.cluster.local)"
check "IPv6" "$(ip_of web6)" "$(asked web6.shop.$Z AAAA)"
check "dual stack, A" "$(ip_of web-dual)" "$(asked web-dual.shop.$Z)"
check "dual stack, AAAA" "$(ip_of web-dual 1)" "$(asked web-dual.shop.$Z AAAA)"
check "no AAAA of IPv4 alone" "" "$(asked web.shop.$Z AAAA)"
check "which is no NXDOMAIN" NOERROR "$(rcode web.shop.$Z AAAA)"
check "without endpoints" "$(ip_of none)" "$(asked none.shop.$Z)"
check "SRV" "0 100 80 web.shop.$Z." "$(asked _http._tcp.web.shop.$Z SRV | sed 's/^0 [0-9]* /0 100 /')"
check "SRV over UDP's port" "0 100 53 ports.shop.$Z." "$(asked _dns._udp.ports.shop.$Z SRV | sed 's/^0 [0-9]* /0 100 /')"
check "no such port" NXDOMAIN "$(rcode _none._tcp.web.shop.$Z SRV)"
check "PTR" "web.shop.$Z." "$(asked -x "$(ip_of web)")"
check "PTR, IPv6" "web6.shop.$Z." "$(asked -x "$(ip_of web6)")"
echo "--- headless"
check "each endpoint" "$(sorted "$(pod_ip set-0)" "$(pod_ip set-1)")" "$(asked set.shop.$Z)"
check "by host name" "$(pod_ip set-0)" "$(asked set-0.set.shop.$Z)"
check "SRV by host name" "$(sorted "0 50 80 set-0.set.shop.$Z." "0 50 80 set-1.set.shop.$Z.")" \
	"$(sed -E 's/0 [0-9]+ [0-9]+/0 50 80/g' <<<"$(asked _http._tcp.set.shop.$Z SRV)")"
check "PTR of an endpoint" "set-0.set.shop.$Z." "$(asked -x "$(pod_ip set-0)")"
check "both families, A" "$(sorted "$(pod_ip web-1)" "$(pod_ip web-2)" "$(pod_ip web-3)")" "$(asked set-dual.shop.$Z)"
check "both families, AAAA" "$(sorted "$(pod_ip web-1 1)" "$(pod_ip web-2 1)" "$(pod_ip web-3 1)")" "$(asked set-dual.shop.$Z AAAA)"
check "without ports" "$(sorted "$(pod_ip web-1)" "$(pod_ip web-2)" "$(pod_ip web-3)")" "$(asked bare.shop.$Z)"
check "no such host" NXDOMAIN "$(rcode set-9.set.shop.$Z)"
ready web-2 false
until_ok 20 is bare.shop.$Z A "$(sorted "$(pod_ip web-1)" "$(pod_ip web-3)")" || fail "not ready, and named: $(asked bare.shop.$Z)"
ready web-2 true
until_ok 20 is bare.shop.$Z A "$(sorted "$(pod_ip web-1)" "$(pod_ip web-2)" "$(pod_ip web-3)")" || fail "ready again, and not named"
echo "--- others"
check "ExternalName" "www.example.com." "$(asked elsewhere.shop.$Z CNAME)"
check "dns-version" '"1.1.0"' "$(asked dns-version.cluster.local TXT)"
check "no such service" NXDOMAIN "$(rcode nothing.shop.$Z)"
check "no such namespace" NXDOMAIN "$(rcode web.nowhere.$Z)"
check "a namespace" NOERROR "$(rcode shop.$Z)"
check "default/kubernetes" 10.96.0.1 "$(asked kubernetes.default.$Z)"
check "Consul's form of the same service" 3 "$(asked web.service.shop.ns.mesh.internal | wc -w)"
kube DELETE "$SHOP/services/web6" >/dev/null
gone() { [ "$(rcode web6.shop.$Z AAAA)" = NXDOMAIN ]; }
until_ok 20 gone || fail "a deleted service has a name: $(rcode web6.shop.$Z AAAA)"
echo "--- a program that knows nothing of it"
printf 'nameserver %s\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n' "$DNS_ADDRESS" >"$TMP/resolv.conf"
check "curl by the short name" web "$(in_pod shop_client unshare --mount -- sh -c \
	'mount --bind "$0" /etc/resolv.conf && curl -s --max-time 5 http://web/' "$TMP/resolv.conf" | sed 's/-.*//')"
done_kube
