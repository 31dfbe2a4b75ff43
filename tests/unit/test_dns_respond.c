/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
#include "dns_help.h"

TestSuite(respond, .init = dns_setup, .fini = dns_teardown);

#define A    1
#define NS   2
#define SOA  6
#define TXT  16
#define AAAA 28
#define SRV  33
#define ANY  255

static uint64_t counter(unsigned i)
{
	return wm_dns_counters(server)[i];
}
enum {
#define X(sym, name, text) C_##sym,
	WM_DNS_COUNTERS(X)
#undef X
};

/* A negative answer carries the SOA, with the negative TTL: RFC 2308. */
static void negative(unsigned rcode)
{
	cr_assert_eq(answer.rcode, rcode);
	cr_assert_eq(answer.counts[1], 0);
	cr_assert_eq(answer.counts[2], 1);
	cr_assert_eq(answer.r[0].type, SOA);
	cr_assert_eq(answer.r[0].ttl, 3);
	cr_assert(answer.flags & 0x0400, "authoritative");
}

Test(respond, addresses_of_a_service)
{
	add("web", "a", "10.1.0.1", 80, NULL, WM_PASSING);
	add("web", "b", "10.1.0.2", 80, NULL, WM_WARNING);
	add("web", "c", "10.1.0.3", 80, NULL, WM_CRITICAL);
	add("web", "d", "fd00::4", 80, NULL, WM_PASSING);
	ask("web.service.mesh.internal", A);
	cr_assert_eq(answer.rcode, 0);
	cr_assert_eq(have(1, NULL), 2);
	cr_assert_eq(have(1, "10.1.0.1"), 1);
	cr_assert_eq(have(1, "10.1.0.2"), 1);
	cr_assert_eq(answer.r[0].ttl, 7);
	ask("web.service.mesh.internal", AAAA);
	cr_assert_eq(have(1, "fd00::4"), 1);
	ask("WEB.sErViCe.consul", A);
	cr_assert_eq(have(1, NULL), 2);
	cr_assert_str_eq(answer.r[0].owner, "WEB.sErViCe.consul.", "as the client wrote it");
	ask("web.service.dc1.mesh.internal", A);
	cr_assert_eq(have(1, NULL), 2);
	ask("web.service.mesh.internal", ANY);
	cr_assert_eq(have(1, NULL), 2);
	cr_assert_eq(counter(C_ANSWERED), 5);
}

/* @p n instances of "many", IPv4 and IPv6. */
static void many(unsigned n)
{
	char id[16], address[32];

	for (unsigned i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		snprintf(address, sizeof(address), "10.2.0.%u", i + 1);
		add("many", id, address, 80, "t", WM_PASSING);
		snprintf(id, sizeof(id), "j%u", i);
		snprintf(address, sizeof(address), "fd00::%u", i + 1);
		add("many", id, address, 80, "t", WM_PASSING);
	}
	published("many", 2 * n);
}

/* All that fits the client's size, and TC where something does not: RFC 2181 9. */
static void fits(const char *name, uint16_t type, unsigned edns, bool tcp, unsigned n, bool cut)
{
	size_t room = tcp ? WM_DNS_TCP_MAX : !edns ? 512 : edns > 1232 ? 1232 : edns;

	ask_raw(build(name, type, edns), tcp);
	cr_assert_leq(answer.len, room);
	cr_assert_eq(have(1, NULL), n, "%s %u %u: %u", name, type, edns, have(1, NULL));
	cr_assert_eq(answer.flags & 0x0200, cut ? 0x0200 : 0, "%s %u %u", name, type, edns);
}

Test(respond, all_that_fits_and_tc_for_the_rest)
{
	static const char *const names[] = {"many.service.mesh.internal",
					    "t.many.service.mesh.internal"};
	char text[32];

	many(12);
	for (unsigned i = 0; i < 2; i++) {
		fits(names[i], A, 0, false, 12, false);
		fits(names[i], AAAA, 0, false, 12, false);
	}
	for (unsigned i = 0; i < 12; i++) {
		snprintf(text, sizeof(text), "10.3.0.%u", i + 1);
		add("srv", text, text, 80, NULL, WM_PASSING);
	}
	fits("srv.service.mesh.internal", SRV, 8192, false, 12, false);
	many(90);
	for (unsigned i = 0; i < 2; i++) {
		size_t used = 12 + strlen(names[i]) + 2 + 4;

		fits(names[i], A, 0, false, (unsigned)((512 - used) / 16), true);
		fits(names[i], AAAA, 512, false, (unsigned)((512 - 11 - used) / 28), true);
		fits(names[i], A, 1232, false, (unsigned)((1232 - 11 - used) / 16), true);
		fits(names[i], AAAA, 65535, false, (unsigned)((1232 - 11 - used) / 28), true);
		fits(names[i], A, 0, true, 90, false);
		fits(names[i], AAAA, 0, true, 90, false);
	}
	fits("many.service.mesh.internal", SRV, 0, true, 180, false);
	cr_assert_eq(have(3, NULL), 180);
	ask("many.service.mesh.internal", SRV);
	cr_assert(answer.flags & 0x0200);
	cr_assert_eq(counter(C_TRUNCATED), 9);
}

static void limited(void)
{
	dns_config.a_record_limit = 3;
	dns_setup();
}

/* Who wants fewer gets fewer, by every way, and no TC: they are not missing. */
TestSuite(respond_limited, .init = limited, .fini = dns_teardown);

Test(respond_limited, a_record_limit)
{
	many(50);
	for (unsigned tcp = 0; tcp < 2; tcp++) {
		fits("many.service.mesh.internal", A, 0, tcp, 3, false);
		fits("many.service.mesh.internal", AAAA, 1232, tcp, 3, false);
		fits("t.many.service.mesh.internal", A, 1232, tcp, 3, false);
		fits("t.many.service.mesh.internal", ANY, 1232, tcp, 3, false);
	}
	ask_raw(build("many.service.mesh.internal", SRV, 0), true);
	cr_assert_eq(have(1, NULL), 100);
}

/* We have no signatures; the bit comes back all the same: RFC 3225 3. */
Test(respond, the_do_bit_comes_back)
{
	size_t n = build("web.service.mesh.internal", A, 1232);

	add("web", "a", "10.1.0.1", 80, NULL, WM_PASSING);
	query[n - 4] = 0xff;
	query[n - 3] = 0xff;
	ask_raw(n, false);
	cr_assert_eq(have(1, "10.1.0.1"), 1);
	cr_assert_eq(answer.r[1].type, 41);
	cr_assert_eq(answer.r[1].ttl, 0x8000);
}

Test(respond, an_answer_that_is_cut_says_so)
{
	char id[8], name[160] = "_", domain[] = "._tcp.service.mesh.internal";

	memset(name + 1, 'a', 63);
	strcpy(name + 63, domain); /* the longest service: records are large */
	for (unsigned i = 0; i < 20; i++) {
		char label[64] = {0};

		snprintf(id, sizeof(id), "i%u", i);
		memcpy(label, name + 1, 62);
		add(label, id, "fd00:1111:2222:3333:4444:5555:6666:7777", 80 + i, NULL, WM_PASSING);
	}
	ask_raw(build(name, SRV, 0), false);
	cr_assert_leq(answer.len, 512);
	cr_assert(answer.flags & 0x0200);
	cr_assert_eq(counter(C_TRUNCATED), 1);
	ask_raw(build(name, SRV, 0), true);
	cr_assert_eq(have(1, NULL), 20);
	cr_assert_not(answer.flags & 0x0200);
}

/* Of the families that the endpoints have: a datagram socket of the other could not be steered. */
static void virtual_of(const char *service, bool has4, bool has6)
{
	const struct wm_service *s = wm_registry_service(registry, service);
	char text[64], name[64];

	snprintf(name, sizeof(name), "%s.virtual.mesh.internal", service);
	ask(name, A);
	inet_ntop(AF_INET, &s->vip4, text, sizeof(text));
	cr_assert_eq(have(1, text), has4, "%s", name);
	if (!has4)
		negative(0);
	ask(name, AAAA);
	inet_ntop(AF_INET6, &s->vip6, text, sizeof(text));
	cr_assert_eq(have(1, text), has6, "%s", name);
	if (!has6)
		negative(0);
}

Test(respond, virtual_addresses)
{
	add("web", "a", "10.1.0.1", 80, NULL, WM_CRITICAL);
	virtual_of("web", true, false); /* whatever the health */
	add("web", "b", "fd00::4", 80, NULL, WM_CRITICAL);
	virtual_of("web", true, true);
	add("six", "c", "fd00::5", 80, NULL, WM_PASSING);
	virtual_of("six", false, true);
	add("named", "d", "db.example.com", 80, NULL, WM_PASSING);
	virtual_of("named", false, false);
	wm_tables_del(tables, "web");
	wm_tables_del(tables, "six");
	wm_tables_del(tables, "named");
	virtual_of("web", true, true);
	virtual_of("six", false, true);
	virtual_of("named", false, false);
	ask("web.virtual.mesh.internal", SRV);
	negative(0);
	ask("none.virtual.mesh.internal", A);
	negative(3);
}

Test(respond, srv_names_where_to_go)
{
	add("web", "a", "10.1.0.1", 8080, "v1", WM_PASSING);
	add("web", "b", NULL, 8081, "v2", WM_PASSING);
	add("web", "c", "fd00::c", 8082, "v2", WM_PASSING);
	ask("web.service.mesh.internal", SRV);
	cr_assert_eq(have(1, "1 1 8080 0a010001.addr.dc1.mesh.internal."), 1);
	cr_assert_eq(have(1, "1 1 8081 n1.node.dc1.mesh.internal."), 1);
	cr_assert_eq(have(1, "1 1 8082 fd00000000000000000000000000000c.addr.dc1.mesh.internal."),
		     1);
	cr_assert_eq(have(3, "10.1.0.1"), 1);
	cr_assert_eq(have(3, "10.0.0.1"), 1);
	cr_assert_eq(have(3, "fd00::c"), 1);
	ask("_web._tcp.service.mesh.internal", SRV);
	cr_assert_eq(have(1, NULL), 3);
	ask("_web._tcp.mesh.internal", SRV);
	cr_assert_eq(have(1, NULL), 3);
	ask("_web._v1.service.dc1.consul", SRV);
	cr_assert_eq(have(1, "1 1 8080 0a010001.addr.dc1.consul."), 1);
	cr_assert_eq(have(1, NULL), 1);
	ask("_web._tcp.service.mesh.internal", A);
	cr_assert_eq(have(1, NULL), 2);
	/* the targets lead somewhere */
	ask("0a010001.addr.dc1.mesh.internal", A);
	cr_assert_eq(have(1, "10.1.0.1"), 1);
	ask("fd00000000000000000000000000000c.addr.dc1.mesh.internal", AAAA);
	cr_assert_eq(have(1, "fd00::c"), 1);
	ask("n1.node.dc1.mesh.internal", A);
	cr_assert_eq(have(1, "10.0.0.1"), 1);
}

Test(respond, nodes_of_the_catalog_have_names)
{
	char key[] = "rack", value[] = "b4";
	const struct wm_pair meta[] = {{key, value}};
	const struct wm_node_draft facts = {.address = "10.8.9.9", .meta = meta, .meta_count = 1};
	const struct wm_instance_draft wax = {.name = "wax", .port = 70};
	const struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .node = "Shale.9", .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .node = "shale.9", .service = &wax}};
	unsigned failed;

	cr_assert_eq(wm_registry_catalog(registry,
					 &(struct wm_catalog_batch){.ops = ops, .count = 2},
					 &failed, NULL),
		     0);
	wm_registry_flush(registry);
	ask("shale.9.node.mesh.internal", A);
	cr_assert_eq(have(1, "10.8.9.9"), 1);
	ask("SHALE.9.node.dc1.mesh.internal", 16);
	cr_assert_eq(have(1, NULL), 1);
	ask("wax.service.mesh.internal", SRV);
	cr_assert_eq(have(1, "1 1 70 Shale.9.node.dc1.mesh.internal."), 1);
	cr_assert_eq(have(3, "10.8.9.9"), 1);
}

Test(respond, tags_choose)
{
	add("web", "a", "10.1.0.1", 80, "v1", WM_PASSING);
	add("web", "b", "10.1.0.2", 80, "v.2", WM_PASSING);
	ask("v1.web.service.mesh.internal", A);
	cr_assert_eq(have(1, NULL), 1);
	cr_assert_eq(have(1, "10.1.0.1"), 1);
	ask("v.2.web.service.mesh.internal", A);
	cr_assert_eq(have(1, "10.1.0.2"), 1);
	ask("V1.web.service.mesh.internal", SRV);
	cr_assert_eq(have(1, NULL), 1);
	ask("v3.web.service.mesh.internal", A);
	negative(3);
}

Test(respond, negative_answers)
{
	add("web", "a", "10.1.0.1", 80, NULL, WM_PASSING);
	add("down", "d", "10.1.0.9", 80, NULL, WM_CRITICAL);
	static const struct {
		const char *name;
		uint16_t type;
		unsigned rcode;
	} cases[] = {
		{"web.service.mesh.internal", AAAA, 0},
		{"web.service.mesh.internal", TXT, 0},
		{"web.service.mesh.internal", 65, 0},
		{"service.mesh.internal", A, 0},
		{"dc1.mesh.internal", A, 0},
		{"none.service.mesh.internal", A, 3},
		{"down.service.mesh.internal", A, 3},
		{"down.service.mesh.internal", SRV, 3},
		{"nonsense.mesh.internal", A, 3},
		{"web.service.dc9.mesh.internal", A, 3},
		{"a.b.virtual.mesh.internal", A, 3},
		{"other.node.mesh.internal", A, 3},
		{"0a0g0001.addr.mesh.internal", A, 3},
		{"0a010001.addr.mesh.internal", AAAA, 0},
		{"mesh.internal", A, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		ask(cases[i].name, cases[i].type);
		cr_assert_eq(answer.rcode, cases[i].rcode, "%s %u: %u", cases[i].name,
			     cases[i].type, answer.rcode);
		negative(cases[i].rcode);
	}
}

Test(respond, the_domain_itself)
{
	ask("mesh.internal", SOA);
	cr_assert_eq(have(1, "ns.mesh.internal."), 1);
	ask("mesh.internal", NS);
	cr_assert_eq(have(1, "ns.mesh.internal."), 1);
	cr_assert_eq(have(3, "10.0.0.1"), 1);
	ask("ns.mesh.internal", A);
	cr_assert_eq(have(1, "10.0.0.1"), 1);
	ask("consul", SOA);
	cr_assert_eq(have(1, "ns.consul."), 1);
}

Test(respond, what_is_refused)
{
	size_t n;

	ask("example.org", A);
	cr_assert_eq(answer.rcode, 5);
	cr_assert_eq(answer.n, 1, "OPT only");
	ask("xmesh.internal", A);
	cr_assert_eq(answer.rcode, 5);
	ask("internal", A);
	cr_assert_eq(answer.rcode, 5);
	ask("mesh.internal", 252);
	cr_assert_eq(answer.rcode, 4);
	n = build("web.service.mesh.internal", A, 0);
	query[n - 1] = 3; /* class CH */
	ask_raw(n, false);
	cr_assert_eq(answer.rcode, 5);
	n = build("mesh.internal", SOA, 0);
	query[n - 1] = 255; /* all classes, of which nobody has authority: RFC 1035 6.2 */
	ask_raw(n, false);
	cr_assert_eq(answer.rcode, 0);
	cr_assert_eq(answer.counts[1], 1);
	cr_assert_eq(answer.flags & 0x0400, 0);
	n = build("web.service.mesh.internal", A, 1232);
	query[n - 5] = 1; /* EDNS version 1 */
	ask_raw(n, false);
	cr_assert_eq(answer.rcode, 0);
	cr_assert_eq(answer.r[0].ttl >> 24, 1, "BADVERS is 16: the upper bits are in OPT");
	cr_assert_eq(counter(C_BADVERS), 1);
	n = build("web.service.mesh.internal", A, 0);
	query[2] = 4 << 3; /* NOTIFY */
	ask_raw(n, false);
	cr_assert_eq(answer.rcode, 4);
}

Test(respond, malformed_messages)
{
	size_t n = build("web.service.mesh.internal", A, 0);

	for (size_t cut = 12; cut < n; cut++) {
		ask_raw(cut, false);
		cr_assert_eq(answer.rcode, 1, "cut at %zu", cut);
		cr_assert_eq(answer.len, 12);
	}
	for (size_t cut = 0; cut < 12; cut++) {
		ask_raw(cut, false);
		cr_assert_eq(answer.len, 0);
	}
	cr_assert_eq(counter(C_FORMERR), n - 12);
	cr_assert_eq(counter(C_DROPPED), 12);
	query[2] = 0x80; /* a response is never answered: two servers would talk for ever */
	ask_raw(n, false);
	cr_assert_eq(answer.len, 0);
	n = build("web.service.mesh.internal", A, 0);
	query[5] = 2;
	ask_raw(n, false);
	cr_assert_eq(answer.rcode, 1);
	n = build("web.service.mesh.internal", A, 0);
	query[12] = 0xc0; /* a pointer in the question */
	ask_raw(n, false);
	cr_assert_eq(answer.rcode, 1);
}

/* A service that did not fit the tables is answered from the registry. */
Test(respond, a_service_without_tables)
{
	add("web", "a", "10.1.0.1", 80, NULL, WM_PASSING);
	wm_tables_del(tables, "web");
	ask("web.service.mesh.internal", A);
	cr_assert_eq(have(1, "10.1.0.1"), 1);
	ask("web.virtual.mesh.internal", A);
	cr_assert_eq(have(1, NULL), 1);
}

Test(respond, the_longest_name)
{
	char name[256];
	size_t at = 0;

	while (at < 239 - 2) {
		name[at++] = 'x';
		name[at++] = '.';
	}
	strcpy(name + at, "mesh.internal");
	ask(name, A);
	negative(3);
}

/* --- every question gets its answer ----------------------------------------------------------- */

/* The question of an answer is the query's, octet for octet. */
static void question_kept(size_t len)
{
	cr_assert_geq(answer.len, len);
	cr_assert_eq(memcmp(answer.raw + 12, query + 12, len - 12), 0, "the question is as asked");
}

/* What a stub resolver asks with `search` and a full name: the domain stands there again and again.
 */
Test(respond, names_that_repeat_themselves)
{
	static const char *const tails[] = {"",
					    "mesh.internal",
					    "service.mesh.internal",
					    "web.service.mesh.internal",
					    "consul",
					    "internal",
					    "dc1.mesh.internal",
					    "WEB.service.mesh.internal",
					    "mesh",
					    "svc.cluster.local",
					    "cluster.local",
					    "a.a.a.a.mesh.internal",
					    "lan.consul",
					    "mesh.internal.consul"};
	static const uint16_t types[] = {A, AAAA, SRV, 65};
	char name[256];
	size_t n;

	add("web", "a", "10.1.0.1", 80, NULL, WM_PASSING);
	for (size_t i = 0; i < sizeof(tails) / sizeof(*tails); i++)
		for (unsigned times = 0; times < 4; times++)
			for (unsigned how = 0; how < 16; how++) {
				strcpy(name, how & 4 ? "web" : "web.service.mesh.internal");
				for (unsigned k = 0; k < times && *tails[i]; k++)
					strcat(strcat(name, "."), tails[i]);
				n = build(name, types[how & 3], 0);
				ask_raw(n, how & 8);
				cr_assert(answer.len, "%s", name);
				question_kept(n);
			}
	ask("web.service.mesh.internal.mesh.internal", A);
	negative(3);
}

/* The answers of one server are built in one buffer: what is left of one may not show in the next.
 * A question that is a part of the message before is the one that would be taken from it. */
Test(respond, messages_that_follow_each_other)
{
	static const char *const names[] = {
		"web.service.mesh.internal",
		"web.service.mesh.internal.web.service.mesh.internal",
		"internal.web.service.mesh.internal",
		"ns.mesh.internal.mesh.internal",
		"hostmaster.mesh.internal",
		"mesh.internal",
		"b.mesh.internal.a.mesh.internal",
		"_web._tcp.service.mesh.internal",
		"n1.node.dc1.mesh.internal",
		"internal",
	};
	const unsigned count = sizeof(names) / sizeof(*names);
	char owner[256];
	size_t n;

	add("web", "a", "10.1.0.1", 80, NULL, WM_PASSING);
	add("web", "b", NULL, 80, NULL, WM_PASSING);
	for (unsigned first = 0; first < count; first++)
		for (unsigned then = 0; then < count; then++)
			for (unsigned how = 0; how < 8; how++) {
				ask_raw(build(names[first], how & 1 ? SRV : A, 1232), how & 4);
				n = build(names[then], how & 2 ? SRV : A, 1232) - 11;
				ask_raw(n + 11, how & 4);
				question_kept(n);
				snprintf(owner, sizeof(owner), "%s.", names[then]);
				for (unsigned i = 0; i < answer.n; i++)
					if (answer.r[i].section == 1)
						cr_assert_str_eq(answer.r[i].owner, owner);
			}
}

/* A set whose table is not its own cannot be read, and that is no "no such data". */
Test(respond, what_cannot_be_built_is_servfail)
{
	add("web", "a", "10.1.0.1", 80, NULL, WM_PASSING);
	memory.heads[memory.sets[wm_tables_set_of(tables, "web")].table.head].generation++;
	ask("web.service.mesh.internal", A);
	cr_assert_eq(answer.rcode, 2);
	cr_assert_eq(answer.counts[0], 1, "with its question, or stub resolvers drop it");
	cr_assert_eq(answer.n, 1, "OPT only");
	cr_assert_eq(counter(C_SERVFAIL), 1);
}

/* The longest answers: each name of an instance's, found again among thousands. */
Test(respond, a_thousand_targets)
{
	static struct wm_check_draft check = {
		.kind = WM_CHECK_TTL, .ttl_ms = 60000, .status = WM_PASSING, .has_status = true};
	char id[16], address[40];

	for (unsigned i = 0; i < 600; i++) {
		struct wm_instance_draft d = {.id = id,
					      .name = "many",
					      .address = address,
					      .port = 1000 + i,
					      .checks = &check,
					      .checks_count = 1};
		snprintf(id, sizeof(id), "i%u", i);
		snprintf(address, sizeof(address), "10.3.%u.%u", i / 200, i % 200 + 1);
		cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, NULL), 0);
	}
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	for (unsigned round = 0; round < 3; round++) {
		ask_raw(build("many.service.mesh.internal", SRV, 0), true);
		cr_assert_eq(have(1, NULL), 600);
		cr_assert_eq(have(3, NULL), 600);
	}
}
