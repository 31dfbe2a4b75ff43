/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* What names of the cluster's domain ask for. */
#include "userspace/base/macros.h"
#include "userspace/dns/kube.h"
#include "userspace/dns/text.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* @return what it asks for, as text; "": it is not in the zone. */
static const char *form_of(const char *zone, const char *name)
{
	static const char *const forms[] = {"nothing", "apex",	    "ns",      "version",
					    "branch",  "namespace", "service", "endpoint",
					    "proto",   "port",	    "pod"};
	static char text[300];
	struct wm_kube_zone z;
	struct wm_kube_ask ask;
	uint8_t wire[WM_DNS_NAME_MAX + 1];
	size_t len = 1;

	cr_assert(wm_kube_zone_of(zone, &z));
	cr_assert(wm_dns_wire(name, wire), "%s", name);
	for (const uint8_t *l = wire; *l; l += *l + 1u)
		len += *l + 1u;
	if (!wm_kube_parse(&z, wire, len, &ask))
		return "";
	snprintf(text, sizeof(text), "%s %s %s %s", forms[ask.form],
		 ask.form == WM_KUBE_NOTHING ? "" : ask.key,
		 ask.form == WM_KUBE_NOTHING ? "" : ask.first,
		 ask.form == WM_KUBE_NOTHING ? "" : ask.second);
	return text;
}

Test(kube_names, forms)
{
	static const struct {
		const char *name, *form;
	} cases[] = {
		{"cluster.local", "apex   "},
		{"ns.cluster.local", "ns   "},
		{"dns-version.cluster.local", "version   "},
		{"svc.cluster.local", "branch   "},
		{"pod.cluster.local", "branch   "},
		{"foo.cluster.local", "nothing   "},
		{"a.dns-version.cluster.local", "nothing   "},
		{"example.com.cluster.local", "nothing   "},
		{"shop.svc.cluster.local", "namespace shop/  "},
		{"shop.pod.cluster.local", "namespace shop/  "},
		{"web.shop.svc.cluster.local", "service shop/web  "},
		{"wEb.SHOP.Svc.clUSter.local", "service shop/web  "},
		{"db-0.web.shop.svc.cluster.local", "endpoint shop/web db-0 "},
		{"_tcp.web.shop.svc.cluster.local", "proto shop/web tcp "},
		{"_http._tcp.web.shop.svc.cluster.local", "port shop/web tcp http"},
		{"http.tcp.web.shop.svc.cluster.local", "nothing   "},
		{"_http.tcp.web.shop.svc.cluster.local", "nothing   "},
		{"a._http._tcp.web.shop.svc.cluster.local", "nothing   "},
		{"_._tcp.web.shop.svc.cluster.local", "nothing   "},
		{"10-1-2-3.shop.pod.cluster.local", "pod shop/ 10-1-2-3 "},
		{"a.10-1-2-3.shop.pod.cluster.local", "nothing   "},
		{"web.shop.svcs.cluster.local", "nothing   "},
		/* what would be another key */
		{"web.a/b.svc.cluster.local", "nothing   "},
		{"a/b.shop.svc.cluster.local", "nothing   "},
		{"a\\000b.shop.svc.cluster.local", "nothing   "},
		{"local", ""},
		{"xcluster.local", ""},
		{"example.com", ""},
	};

	for (size_t i = 0; i < WM_ARRAY_LEN(cases); i++)
		cr_assert_str_eq(form_of("cluster.local", cases[i].name), cases[i].form, "%s: %s",
				 cases[i].name, form_of("cluster.local", cases[i].name));
	cr_assert_str_eq(form_of("K8s.Yard.", "web.shop.svc.k8s.yard"), "service shop/web  ");
}

Test(kube_names, zones)
{
	struct wm_kube_zone z;
	char text[256] = "", label[65] = "";

	memset(label, 'a', 62);
	cr_assert_not(wm_kube_zone_of("", &z));
	cr_assert_not(wm_kube_zone_of(".", &z));
	cr_assert_not(wm_kube_zone_of("a..b", &z));
	snprintf(text, sizeof(text), "%s.%s", label, label);
	cr_assert_not(wm_kube_zone_of(text, &z), "no room for a service of the longest name");
}

Test(kube_names, addresses_as_labels)
{
	static const struct {
		const char *label;
		int family;
	} cases[] = {{"10-240-0-1", 4},
		     {"5678-abcd--1", 6},
		     {"--1", 6},
		     {"10-240-0-01", 0},
		     {"10-240-0", 0},
		     {"10-240-0-256", 0},
		     {"5678-abcd-0-0-0-0-0-1", 0},
		     {"5678-ABCD--1", 0},
		     {"web-0", 0},
		     {"a", 0},
		     {"1-2-3-4-5-6-7-8", 6},
		     {"", 0}};
	struct in_addr a4;
	struct in6_addr a6;
	char again[INET6_ADDRSTRLEN];

	for (size_t i = 0; i < WM_ARRAY_LEN(cases); i++) {
		cr_assert_eq(wm_kube_undashed(cases[i].label, &a4, &a6), cases[i].family, "%s",
			     cases[i].label);
		if (!cases[i].family)
			continue;
		wm_kube_dashed(&a4, &a6, again);
		cr_assert_str_eq(again, cases[i].label);
	}
}
