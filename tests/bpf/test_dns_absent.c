/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* Names that are not there, as the kernel answers them. */
#include "dns_fixture.h"

TestSuite(dns_absent, .init = dns_setup, .fini = dns_teardown, .timeout = 300);

static void is_denied(const char *name)
{
	struct frame q, a;

	for (unsigned how = 0; how < 4; how++) {
		query_frame(&q, how & 1, name, how & 2 ? 28 : 1, how & 2 ? 1232 : 0);
		cr_assert(answered(&q, &a), "%s", name);
		cr_assert_eq(a.at[a.dns + 3] & 15, 3, "%s", name);
		cr_assert_eq(a.at[a.dns + 9], 1, "%s has an SOA", name);
		check_envelope(&q, &a, q.v6);
	}
}

static void is_passed(const char *name)
{
	struct frame q, a;

	query_frame(&q, false, name, 1, 0);
	cr_assert_not(answered(&q, &a), "%s", name);
}

/* RFC 2308, RFC 8020: what no form of ours is, and what no service is. */
Test(dns_absent, names_that_are_not_there)
{
	static const char *const not_there[] = {
		"none.service.mesh.internal",
		"a.b.none.service.mesh.internal",
		"none.virtual.mesh.internal",
		"www.example.com.Virtual.mesh.internal",
		"example.com.mesh.internal",
		"www.example.com.SERVICE.Mesh.Internal",
		"x.mesh.internal",
		"services.mesh.internal",
		"web.servic.mesh.internal",
		"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z.mesh.internal",
		"web.dc10.mesh.internal",
		"none.DC1.mesh.internal",
		"none.addr.mesh.internal",
		"a.0a000001.addr.mesh.internal",
		"web.service.dc2.mesh.internal",
		"none.service.dc1.mesh.internal",
		"a.none.Virtual.dc1.mesh.internal",
		"_none._tcp.mesh.internal",
		"_none._http.service.DC1.mesh.internal"};
	static const char *const others[] = {"_tcp.service.mesh.internal",
					     "tag.web.service.mesh.internal",
					     "sub.web.virtual.mesh.internal",
					     "tag.web.service.dc1.mesh.internal",
					     "_tcp.service.dc1.mesh.internal",
					     "_web._http.service.mesh.internal",
					     "none.node.mesh.internal",
					     "none.query.mesh.internal",
					     "ns.mesh.internal",
					     "internal",
					     "xmesh.internal",
					     "none.servicemesh.internal",
					     "example.com",
					     ""};

	add("web", "a", "10.1.2.3", WM_PASSING);
	for (unsigned i = 0; i < sizeof(not_there) / sizeof(*not_there); i++)
		is_denied(not_there[i]);
	cr_assert_eq(counter(WM_C_DNS_NXDOMAIN), 4 * sizeof(not_there) / sizeof(*not_there));
	for (unsigned i = 0; i < sizeof(others) / sizeof(*others); i++)
		is_passed(others[i]);
	add("none", "n", "10.1.2.3", WM_PASSING);
	is_passed("a.b.none.service.mesh.internal");
}

/* It is answered to who registered before any table has it. */
static void when_registered(void *arg, int code, const char *text)
{
	cr_assert_eq(code, 0, "%s", text);
	*(bool *)arg = true;
	is_passed("new.service.mesh.internal");
	is_passed("x.new.service.mesh.internal");
	is_denied("x.mesh.internal");
}

Test(dns_absent, what_was_just_registered_is_not_denied)
{
	struct wm_instance_draft d = {.id = "n", .name = "new", .address = "10.1.2.3", .port = 1};
	bool told = false;
	struct frame q, a;

	is_denied("new.service.mesh.internal");
	cr_assert_eq(wm_registry_register(registry, &d, when_registered, &told, NULL), 0);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	cr_assert(told);
	query_frame(&q, false, "new.service.mesh.internal", 1, 0);
	cr_assert(answered(&q, &a));
	is_denied("other.service.mesh.internal");
	wm_registry_deregister(registry, "n", NULL, NULL, NULL);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	is_denied("new.service.mesh.internal");
}

/* Names that did not fit are userspace's. */
static void few_names(void)
{
	names_cap = 8;
	dns_setup();
}
Test(dns_absent_full, full_tables_deny_no_service, .init = few_names, .fini = dns_teardown)
{
	char name[16];
	struct wm_instance_draft d = {.id = name, .name = name, .address = "10.1.2.3", .port = 1};

	is_denied("none.service.mesh.internal");
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, NULL), 0);
	}
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	is_passed("none.service.mesh.internal");
	is_passed("s19.service.mesh.internal");
	is_denied("x.mesh.internal");
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		wm_registry_deregister(registry, name, NULL, NULL, NULL);
	}
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	is_denied("s19.service.mesh.internal");
}

/* A leaf does not know of all services. */
static void leaf_setup(void)
{
	policy = (struct wm_tables_policy){.partial = true};
	dns_setup();
}
Test(dns_absent_leaf, a_leaf_denies_forms_only, .init = leaf_setup, .fini = dns_teardown)
{
	is_passed("none.service.mesh.internal");
	is_denied("x.mesh.internal");
}

/* --- names whose form says what they have ------------------------------------------------------
 */
/* Octet for octet as userspace, but for the serial of an SOA. */
static void is_as_userspace(const char *name, uint16_t type, unsigned answers)
{
	uint8_t out[WM_DNS_EDNS_MAX];
	struct frame q, a;
	uint8_t *k;
	size_t len, at;

	for (unsigned how = 0; how < 4; how++) {
		query_frame(&q, how & 1, name, type, how & 2 ? 1232 : 0);
		cr_assert(answered(&q, &a), "%s %u", name, type);
		check_envelope(&q, &a, q.v6);
		len = wm_dns_respond(server, q.at + q.dns, q.len - q.dns, false, out, sizeof(out));
		k = a.at + a.dns;
		cr_assert_eq(len, a.len - a.dns, "%s %u", name, type);
		at = len - (how & 2 ? 11 : 0) - 20;
		if (k[9] || type == 6 || type == 255) {
			memset(k + at, 0, 4);
			memset(out + at, 0, 4);
		}
		cr_assert_eq(memcmp(k, out, len), 0, "%s %u", name, type);
		cr_assert_eq(k[7], answers, "%s %u", name, type);
	}
}

Test(dns_absent, forms_that_have_something)
{
	static const char *const branches[] = {"_tcp.mesh.internal",	  "_Web.dc1.mesh.internal",
					       "service.mesh.internal",	  "VIRTUAL.mesh.internal",
					       "node.dc1.mesh.internal",  "addr.mesh.internal",
					       "query.DC1.mesh.internal", "dc1.mesh.internal"};
	static const uint16_t types[] = {1, 28, 33, 16, 255, 6};

	for (unsigned i = 0; i < sizeof(branches) / sizeof(*branches); i++)
		for (unsigned t = 0; t < sizeof(types) / sizeof(*types) - 2; t++)
			is_as_userspace(branches[i], types[t], 0);
	for (unsigned t = 0; t < sizeof(types) / sizeof(*types); t++) {
		is_as_userspace("Mesh.internal", types[t], t >= 4);
		is_as_userspace("0A00fe9f.addr.mesh.internal", types[t], !t || t == 4);
		is_as_userspace("0a00fe9f.addr.dc1.mesh.internal", types[t], !t || t == 4);
		is_as_userspace("fd0000000000000000000000000abcde.addr.mesh.internal", types[t],
				t == 1 || t == 4);
		is_as_userspace("0a00fe9.addr.mesh.internal", types[t] == 255 ? 1 : types[t], 0);
		is_as_userspace("0a00fe9g.addr.mesh.internal", types[t] == 255 ? 1 : types[t], 0);
		is_as_userspace("0a00fe9:.addr.mesh.internal", types[t] == 255 ? 1 : types[t], 0);
	}
	cr_assert_eq(counter(WM_C_DNS_PASS_UNKNOWN), 0);
	is_as_userspace("x.hostmaster.mesh.internal", 1, 0);
	is_passed("ns.mesh.internal");
}
