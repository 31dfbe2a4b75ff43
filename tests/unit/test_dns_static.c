/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* Records of the operator's own beside those of the mesh. */
#include "dns_help.h"
#include "userspace/dns/static_records.h"

#define A     1
#define CNAME 5
#define MX    15
#define TXT   16
#define AAAA  28
#define SRV   33
#define ANY   255

static struct wm_statics *records_of(const char *const *list)
{
	const struct wm_statics_config c = {.records = list,
					    .records_file = "",
					    .hosts_file = "",
					    .domain = "mesh.internal",
					    .alt_domain = "consul",
					    .datacenter = "dc1",
					    .ttl_s = 5};
	struct wm_statics *t;
	struct wm_err e = {0};

	cr_assert_eq(wm_statics_read(&c, &t, &e), 0, "%s", e.text);
	return t;
}

static void records(const char *const *list)
{
	wm_dns_server_statics(server, records_of(list));
}

static void setup(void)
{
	static const char *const list[] = {"x.example 60 A 10.0.0.1",
					   "x.example A 10.0.0.2",
					   "x.example TXT \"v=1\"",
					   "a.b.mesh.internal A 10.0.0.3",
					   "www.mesh.internal CNAME Web.service.mesh.internal",
					   "w.example 30 CNAME www.mesh.internal",
					   "out.example CNAME db.other.example",
					   "round.example CNAME about.example",
					   "about.example CNAME round.example",
					   "s.example SRV 1 2 80 x.example",
					   NULL};

	dns_setup();
	records(list);
}

TestSuite(dns_static, .init = setup, .fini = dns_teardown);

static void nothing(unsigned rcode, const char *zone)
{
	cr_assert_eq(answer.rcode, rcode);
	cr_assert_eq(have(1, NULL), 0);
	cr_assert_eq(answer.counts[2], 1);
	cr_assert_str_eq(answer.r[0].owner, zone);
}

Test(dns_static, types)
{
	ask("X.example", A);
	cr_assert_eq(have(1, NULL), 2);
	cr_assert_eq(answer.r[0].ttl, 60);
	cr_assert_eq(answer.r[1].ttl, 5);
	cr_assert_str_eq(answer.r[1].text, "10.0.0.2");
	ask("x.example", TXT);
	cr_assert_eq(have(1, "v=1"), 1);
	ask("x.example", ANY);
	cr_assert_eq(have(1, NULL), 2, "one set: RFC 8482");
	ask("s.example", SRV);
	cr_assert_eq(have(1, "1 2 80 x.example."), 1);
	ask("x.example", AAAA);
	nothing(0, "x.example.");
	ask("y.example", A);
	cr_assert_eq(answer.rcode, 5);
}

Test(dns_static, names_of_ours)
{
	ask("A.b.mesh.internal", A);
	cr_assert_eq(have(1, "10.0.0.3"), 1);
	ask("a.b.mesh.internal", AAAA);
	nothing(0, "mesh.internal.");
	ask("b.mesh.internal", A);
	nothing(0, "mesh.internal.");
	ask("c.mesh.internal", A);
	nothing(3, "mesh.internal.");
	ask("x.a.b.mesh.internal", A);
	nothing(3, "mesh.internal.");
}

Test(dns_static, aliases)
{
	add("web", "a", "10.1.0.1", 80, NULL, WM_PASSING);
	ask("w.example", A);
	cr_assert_eq(answer.counts[1], 3);
	cr_assert_str_eq(answer.r[0].text, "www.mesh.internal.");
	cr_assert_eq(answer.r[0].ttl, 30);
	cr_assert_str_eq(answer.r[1].owner, "www.mesh.internal.");
	cr_assert_str_eq(answer.r[1].text, "Web.service.mesh.internal.");
	cr_assert_str_eq(answer.r[2].owner, "Web.service.mesh.internal.");
	cr_assert_str_eq(answer.r[2].text, "10.1.0.1");
	cr_assert_eq(answer.r[2].ttl, 7);
	ask("www.mesh.internal", SRV);
	cr_assert_eq(answer.r[0].type, CNAME);
	cr_assert_eq(answer.r[1].type, SRV);
	ask("www.mesh.internal", CNAME);
	cr_assert_eq(answer.counts[1], 1);
	ask("out.example", A);
	cr_assert_eq(answer.counts[1], 1, "nobody is there to be asked");
	ask("round.example", A);
	cr_assert_eq(answer.rcode, 0);
	cr_assert(answer.counts[1] >= 1 && answer.counts[1] <= 6);
	/* a service may lead to one of them */
	add("named", "a", "x.example", 80, NULL, WM_PASSING);
	ask("named.service.mesh.internal", A);
	cr_assert_eq(answer.counts[1], 3);
	cr_assert_str_eq(answer.r[2].owner, "x.example.");
}

Test(dns_static, others_take_their_place)
{
	static const char *const list[] = {"x.example A 10.0.0.9", NULL};

	records(list);
	ask("x.example", A);
	cr_assert_eq(have(1, NULL), 1);
	cr_assert_eq(have(1, "10.0.0.9"), 1);
	ask("a.b.mesh.internal", A);
	nothing(3, "mesh.internal.");
	wm_dns_server_statics(server, NULL);
	ask("x.example", A);
	cr_assert_eq(answer.rcode, 5);
}

Test(dns_static, which_are_the_same)
{
	static const char *const lists[][3] = {{"x.example A 10.0.0.1", "y.example A 10.0.0.2"},
					       {"x.example A 10.0.0.1"},
					       {"x.example 7 A 10.0.0.1", "y.example A 10.0.0.2"},
					       {"x.example A 10.0.0.2", "y.example A 10.0.0.1"},
					       {"X.example A 10.0.0.1", "z.example A 10.0.0.2"},
					       {"y.example A 10.0.0.2", "x.example A 10.0.0.1"}};
	struct wm_statics *one = records_of(lists[0]);

	cr_assert_not(wm_statics_same(NULL, NULL));
	cr_assert_not(wm_statics_same(one, NULL));
	for (unsigned i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		struct wm_statics *other = records_of(lists[i]);

		cr_assert_eq(wm_statics_same(one, other), i == 0, "%u", i);
		wm_statics_free(other);
	}
	wm_statics_free(one);
}
