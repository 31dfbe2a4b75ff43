/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* Names of a cluster, case by case: those of the specification and those that its servers are
 * tested by, with answers of this server's own form. */
#include "kube_help.h"
#include "userspace/base/macros.h"

TestSuite(kube_dns, .init = kube_setup, .fini = dns_teardown);

#define NO_DATA "-" /* the zone's SOA, and no record */
#define NO_NAME "!" /* the same with NXDOMAIN */

struct kube_case {
	const char *name;
	uint16_t type;
	const char *answers; /* texts in any order, behind each a blank */
	const char *more;    /* the same of Additional; NULL: none */
};

static void check_section(const struct kube_case *c, unsigned section, const char *texts)
{
	unsigned n = 0;
	char text[300];

	for (size_t len; texts && *texts; texts += len + 2, n++) {
		len = strcspn(texts, ";");
		snprintf(text, sizeof(text), "%.*s", (int)len, texts);
		cr_assert_eq(have(section, text), 1, "%s %u: no %s in %u", c->name, c->type, text,
			     section);
	}
	cr_assert_eq(have(section, NULL), n, "%s %u: %u in section %u, not %u", c->name, c->type,
		     have(section, NULL), section, n);
}

static void check(const struct kube_case *c)
{
	bool none = *c->answers == *NO_DATA || *c->answers == *NO_NAME;

	ask(c->name, c->type);
	cr_assert_eq(answer.rcode, *c->answers == *NO_NAME ? 3 : 0, "%s %u: %u", c->name, c->type,
		     answer.rcode);
	cr_assert(answer.flags & 0x0400, "%s: authoritative", c->name);
	if (none) {
		cr_assert_eq(answer.counts[1], 0, "%s %u", c->name, c->type);
		cr_assert_eq(answer.counts[2], 1, "%s %u", c->name, c->type);
		cr_assert_eq(answer.r[0].type, SOA);
		cr_assert_eq(strcasecmp(answer.r[0].owner, "cluster.local."), 0);
		cr_assert_eq(answer.r[0].ttl, 3);
		cr_assert_str_eq(answer.r[0].text, "ns.cluster.local.");
		return;
	}
	check_section(c, 1, c->answers);
	check_section(c, 3, c->more);
	cr_assert_eq(answer.counts[2], 0);
}

#define H "hdls1.testns.svc.cluster.local."
static const struct kube_case cases[] = {
	/* a service with addresses, be there endpoints or not */
	{"svc1.testns.svc.cluster.local", A, "10.0.0.1; ", NULL},
	{"SVC1.TestNS.svc.Cluster.LOCAL", A, "10.0.0.1; ", NULL},
	{"svcempty.testns.svc.cluster.local", A, "10.0.0.11; ", NULL},
	{"svc1.testns.svc.cluster.local", AAAA, NO_DATA, NULL},
	{"svc1.testns.svc.cluster.local", SOA, NO_DATA, NULL},
	{"svc1.testns.svc.cluster.local", TXT, NO_DATA, NULL},
	{"svc1.testns.svc.cluster.local", ANY, "10.0.0.1; ", NULL},
	{"svc6.testns.svc.cluster.local", AAAA, "1234:abcd::1; ", NULL},
	{"svc6.testns.svc.cluster.local", A, NO_DATA, NULL},
	{"svc6.testns.svc.cluster.local", ANY, "1234:abcd::1; ", NULL},
	{"dual.testns.svc.cluster.local", A, "10.0.0.3; ", NULL},
	{"dual.testns.svc.cluster.local", AAAA, "10::3; ", NULL},
	/* ports */
	{"svc1.testns.svc.cluster.local", SRV, "0 100 80 svc1.testns.svc.cluster.local.; ",
	 "10.0.0.1; "},
	{"_http._tcp.svc1.testns.svc.cluster.local", SRV,
	 "0 100 80 svc1.testns.svc.cluster.local.; ", "10.0.0.1; "},
	{"_http._tcp.svcempty.testns.svc.cluster.local", SRV,
	 "0 100 80 svcempty.testns.svc.cluster.local.; ", "10.0.0.11; "},
	{"_http._tcp.svc6.testns.svc.cluster.local", SRV,
	 "0 100 80 svc6.testns.svc.cluster.local.; ", "1234:abcd::1; "},
	{"_HTTP._tcp.dual.testns.svc.cluster.local", SRV,
	 "0 100 80 dual.testns.svc.cluster.local.; ", "10.0.0.3; 10::3; "},
	{"_http._tcp.svc1.testns.svc.cluster.local", A, NO_DATA, NULL},
	{"_tcp.svc1.testns.svc.cluster.local", A, NO_DATA, NULL},
	{"_udp.svc1.testns.svc.cluster.local", A, NO_NAME, NULL},
	{"_http._udp.svc1.testns.svc.cluster.local", SRV, NO_NAME, NULL},
	{"_https._tcp.svc1.testns.svc.cluster.local", SRV, NO_NAME, NULL},
	{"_tcp.plain.testns.svc.cluster.local", SRV, NO_NAME, NULL}, /* its port has no name */
	{"plain.testns.svc.cluster.local", SRV, "0 100 80 plain.testns.svc.cluster.local.; ",
	 "10.0.0.4; "},
	/* a headless one */
	{H, A, "172.0.0.2; 172.0.0.3; 172.0.0.4; 172.0.0.5; ", NULL},
	{H, AAAA, "5678:abcd::1; 5678:abcd::2; ", NULL},
	{H, TXT, NO_DATA, NULL},
	{"portless.testns.svc.cluster.local", A, "172.0.0.20; ", NULL},
	{"portless.testns.svc.cluster.local", AAAA, NO_DATA, NULL},
	{"portless.testns.svc.cluster.local", SRV, NO_DATA, NULL},
	{"none.testns.svc.cluster.local", A, NO_NAME, NULL},
	{"none.testns.svc.cluster.local", AAAA, NO_NAME, NULL},
	{"_http._tcp.none.testns.svc.cluster.local", SRV, NO_NAME, NULL},
	{"_http._tcp." H, SRV,
	 "0 16 8080 172-0-0-2." H "; 0 16 8080 172-0-0-3." H "; 0 16 8080 dup-name." H
	 "; 0 16 8080 5678-abcd--1." H "; 0 16 8080 5678-abcd--2." H "; ",
	 "172.0.0.2; 172.0.0.3; 172.0.0.4; 172.0.0.5; 5678:abcd::1; 5678:abcd::2; "},
	{"_http._tcp." H, A, NO_DATA, NULL},
	{"_tcp." H, SRV, NO_DATA, NULL},
	{"_http._udp." H, SRV, NO_NAME, NULL},
	/* endpoints */
	{"172-0-0-20.portless.testns.svc.cluster.local", A, "172.0.0.20; ", NULL},
	{"172-0-0-2." H, A, "172.0.0.2; ", NULL},
	{"172-0-0-2." H, AAAA, NO_DATA, NULL},
	{"172-0-0-2." H, SRV, "0 100 8080 172-0-0-2." H "; ", "172.0.0.2; "},
	{"dup-name." H, A, "172.0.0.4; 172.0.0.5; ", NULL},
	{"Dup-Name." H, A, "172.0.0.4; 172.0.0.5; ", NULL},
	{"5678-abcd--2." H, AAAA, "5678:abcd::2; ", NULL},
	{"ep1a.svc1.testns.svc.cluster.local", A, "172.0.0.1; ", NULL},
	{"172-0-0-4." H, A, NO_NAME, NULL}, /* it has a host name */
	{"sick." H, A, NO_NAME, NULL},
	{"172-0-0-9." H, A, NO_NAME, NULL},
	{"bogus." H, A, NO_NAME, NULL},
	{"bogus.svc0.testns.svc.cluster.local", A, NO_NAME, NULL},
	/* what stands for another name */
	{"external.testns.svc.cluster.local", CNAME, "ext.interwebs.test.; ", NULL},
	{"external.testns.svc.cluster.local", A, "ext.interwebs.test.; ", NULL},
	{"inside.testns.svc.cluster.local", A, "svc1.testns.svc.cluster.local.; 10.0.0.1; ", NULL},
	{"inside.testns.svc.cluster.local", AAAA, "svc1.testns.svc.cluster.local.; ", NULL},
	{"inside.testns.svc.cluster.local", CNAME, "svc1.testns.svc.cluster.local.; ", NULL},
	{"address.testns.svc.cluster.local", A, NO_NAME, NULL},
	{"endpoint.external.testns.svc.cluster.local", CNAME, NO_NAME, NULL},
	{"_http._tcp.external.testns.svc.cluster.local", SRV, NO_NAME, NULL},
	/* what is not there */
	{"svc0.testns.svc.cluster.local", A, NO_NAME, NULL},
	{"svc0.testns.svc.cluster.local", AAAA, NO_NAME, NULL},
	{"svc1.nons.svc.cluster.local", A, NO_NAME, NULL},
	{"nons.svc.cluster.local", A, NO_NAME, NULL},
	{"nons.svc.cluster.local", NS, NO_NAME, NULL},
	{"foo.cluster.local", NS, NO_NAME, NULL},
	{"a.b.c.svc1.testns.svc.cluster.local", A, NO_NAME, NULL},
	{"10-240-0-1.testns.pod.cluster.local", A, NO_NAME, NULL},
	/* what has names below it, and no records: RFC 8020 */
	{"svc.cluster.local", A, NO_DATA, NULL},
	{"svc.cluster.local", NS, NO_DATA, NULL},
	{"pod.cluster.local", A, NO_DATA, NULL},
	{"testns.svc.cluster.local", A, NO_DATA, NULL},
	{"testns.svc.cluster.local", NS, NO_DATA, NULL},
	{"testns.pod.cluster.local", A, NO_DATA, NULL},
	/* the zone itself */
	{"cluster.local", A, NO_DATA, NULL},
	{"cluster.local", 13 /* HINFO */, NO_DATA, NULL},
	{"cluster.local", SOA, "ns.cluster.local.; ", NULL},
	{"cluster.local", NS, "ns.cluster.local.; ", "10.0.0.1; "},
	{"ns.cluster.local", A, "10.0.0.1; ", NULL},
	{"ns.cluster.local", AAAA, NO_DATA, NULL},
	{"dns-version.cluster.local", TXT, "1.1.0; ", NULL},
	{"dns-version.cluster.local", A, NO_DATA, NULL},
	/* pods that search for names of others: example.com with ndots:5 */
	{"example.com.testns.svc.cluster.local", A, NO_NAME, NULL},
	{"example.com.svc.cluster.local", A, NO_NAME, NULL},
	{"example.com.cluster.local", A, NO_NAME, NULL},
	{"www.example.com.testns.svc.cluster.local", AAAA, NO_NAME, NULL},
};

Test(kube_dns, cases)
{
	for (size_t i = 0; i < WM_ARRAY_LEN(cases); i++)
		check(&cases[i]);
}

/* What is asked of the services' own domain is as it was, and has them by their scope. */
Test(kube_dns, beside_our_own_domain)
{
	ask("svc1.service.testns.ns.mesh.internal", A);
	cr_assert_eq(have(1, "172.0.0.1"), 1);
	ask("SVC1.service.testns.NS.dc1.consul", A);
	cr_assert_eq(have(1, "172.0.0.1"), 1);
	ask("svc1.service.mesh.internal", A);
	cr_assert_eq(answer.rcode, 3);
	ask("svc1.service.other.ns.mesh.internal", A);
	cr_assert_eq(answer.rcode, 3);
	ask("svc1.node.testns.ns.mesh.internal", A);
	cr_assert_eq(answer.rcode, 3);
	ask("testns.ns.mesh.internal", A);
	cr_assert_eq(answer.rcode, 0);
	cr_assert_eq(answer.counts[1], 0);
	ask("cluster.internal", A);
	cr_assert_eq(answer.rcode, 5, "of others");
}

/* The specification wants NXDOMAIN of a headless service that has no ready endpoint, whether it has
 * any or not, and an address again with the first. */
Test(kube_dns, endpoints_come_and_go)
{
	const struct kube_case none = {"none.testns.svc.cluster.local", A, NO_NAME, NULL};
	const struct kube_case one = {"none.testns.svc.cluster.local", A, "172.0.0.30; ", NULL};
	const struct kube_case six = {"none.testns.svc.cluster.local", AAAA, NO_DATA, NULL};
	struct wm_service_spec unready = {.headless = true, .publish_not_ready = true};

	check(&none);
	endpoint("testns/none", "172.0.0.30", NULL, 80, WM_CRITICAL);
	check(&none);
	endpoint("testns/none", "172.0.0.30", NULL, 80, WM_PASSING);
	check(&one);
	check(&six);
	endpoint("testns/none", "172.0.0.30", NULL, 80, WM_CRITICAL);
	check(&none);
	spec("testns/none", NULL, NULL, &unready);
	check(&one);
	gone("testns/none", "172.0.0.30");
	check(&none);
}

Test(kube_dns, services_come_and_go)
{
	const struct kube_case name = {"testns2.svc.cluster.local", A, NO_NAME, NULL};
	const struct kube_case there = {"testns2.svc.cluster.local", A, NO_DATA, NULL};
	const struct kube_case old = {"new.testns2.svc.cluster.local", A, "10.0.9.1; ", NULL};
	const struct kube_case new = {"new.testns2.svc.cluster.local", A, "10.0.9.2; ", NULL};
	struct wm_err e = {0};

	check(&name);
	spec("testns2/new", "10.0.9.1", NULL, NULL);
	check(&there);
	check(&old);
	spec("testns2/new", "10.0.9.2", NULL, NULL);
	check(&new);
	cr_assert_eq(wm_registry_spec_delete(registry, "testns2/new", "kubernetes", &e), 1);
	check(&name);
}

/* --- names of addresses --- */
static void ptr(const char *address, const char *const *names, unsigned n)
{
	uint8_t a[16];
	char name[80];
	size_t at = 0;

	if (inet_pton(AF_INET, address, a) == 1) {
		snprintf(name, sizeof(name), "%u.%u.%u.%u.in-addr.arpa", a[3], a[2], a[1], a[0]);
	} else {
		cr_assert_eq(inet_pton(AF_INET6, address, a), 1);
		for (int i = 15; i >= 0; i--)
			at += (size_t)snprintf(name + at, sizeof(name) - at, "%x.%x.", a[i] & 15u,
					       a[i] >> 4);
		snprintf(name + at, sizeof(name) - at, "ip6.arpa");
	}
	ask(name, PTR);
	cr_assert_eq(have(1, NULL), n, "%s: %u", address, have(1, NULL));
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(have(1, names[i]), 1, "%s: no %s", address, names[i]);
}
#define PTR_IS(address, ...)                                                                       \
	ptr(address, (const char *const[]){__VA_ARGS__},                                           \
	    sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

Test(kube_dns, names_of_addresses)
{
	struct wm_err e = {0};

	PTR_IS("10.0.0.1", "n1.node.dc1.mesh.internal."); /* the node's stands before */
	PTR_IS("10.0.0.3", "dual.testns.svc.cluster.local.");
	PTR_IS("10::3", "dual.testns.svc.cluster.local.");
	PTR_IS("1234:abcd::1", "svc6.testns.svc.cluster.local.");
	PTR_IS("172.0.0.2", "172-0-0-2." H);
	PTR_IS("172.0.0.4", "dup-name." H);
	PTR_IS("5678:abcd::1", "5678-abcd--1." H);
	PTR_IS("172.0.0.1", "ep1a.svc1.testns.svc.cluster.local.");
	endpoint("testns/svc6", "172.0.0.2", "two", 80, WM_PASSING);
	PTR_IS("172.0.0.2", "172-0-0-2." H, "two.svc6.testns.svc.cluster.local.");
	cr_assert_eq(wm_registry_spec_delete(registry, "testns/dual", "kubernetes", &e), 1);
	ptr("10.0.0.3", NULL, 0);
	cr_assert_eq(answer.rcode, 5);
}

/* --- pods --- */
static void insecure(void)
{
	dns_config.kube_pods = WM_KUBE_PODS_INSECURE;
	kube_setup();
}
TestSuite(kube_dns_insecure, .init = insecure, .fini = dns_teardown);

Test(kube_dns_insecure, pods)
{
	static const struct kube_case pods[] = {
		{"10-240-0-1.podns.pod.cluster.local", A, "10.240.0.1; ", NULL},
		{"10-240-0-1.podns.pod.cluster.local", AAAA, NO_DATA, NULL},
		{"1234-abcd--1.podns.pod.cluster.local", AAAA, "1234:abcd::1; ", NULL},
		{"blah.podns.pod.cluster.local", A, NO_NAME, NULL},
		{"10-240-0-300.podns.pod.cluster.local", A, NO_NAME, NULL},
		{"a.10-240-0-1.podns.pod.cluster.local", A, NO_NAME, NULL},
	};

	for (size_t i = 0; i < WM_ARRAY_LEN(pods); i++)
		check(&pods[i]);
}

static void verified(void)
{
	dns_config.kube_pods = WM_KUBE_PODS_VERIFIED;
	kube_setup();
}
TestSuite(kube_dns_verified, .init = verified, .fini = dns_teardown);

Test(kube_dns_verified, pods)
{
	static const struct kube_case pods[] = {
		{"172-0-0-2.testns.pod.cluster.local", A, "172.0.0.2; ", NULL},
		{"5678-abcd--1.testns.pod.cluster.local", AAAA, "5678:abcd::1; ", NULL},
		{"172-0-0-2.other.pod.cluster.local", A, NO_NAME, NULL},
		{"172-0-0-77.testns.pod.cluster.local", A, NO_NAME, NULL},
	};

	for (size_t i = 0; i < WM_ARRAY_LEN(pods); i++)
		check(&pods[i]);
}

/* --- before the cluster was read --- */
static void unknown(void)
{
	dns_config.kube_domain = "cluster.local";
	dns_setup();
}
TestSuite(kube_dns_unknown, .init = unknown, .fini = dns_teardown);

/* Who asks must not take it for an answer. */
Test(kube_dns_unknown, nothing_is_known_not_to_be)
{
	ask("svc1.testns.svc.cluster.local", A);
	cr_assert_eq(answer.rcode, 2);
	cr_assert_eq(answer.counts[2], 0);
	ask("example.com.cluster.local", A);
	cr_assert_eq(answer.rcode, 3);
	ask("dns-version.cluster.local", TXT);
	cr_assert_eq(have(1, "1.1.0"), 1);
}

/* Without the setting it is a name of others. */
TestSuite(kube_dns_off, .init = dns_setup, .fini = dns_teardown);
Test(kube_dns_off, of_others)
{
	ask("svc1.testns.svc.cluster.local", A);
	cr_assert_eq(answer.rcode, 5);
}
