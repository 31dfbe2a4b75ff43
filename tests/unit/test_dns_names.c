/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* Which names there are, and what they stand for beside addresses of services. */
#include "dns_help.h"

TestSuite(names, .init = dns_setup, .fini = dns_teardown);

#define A     1
#define CNAME 5
#define TXT   16
#define AAAA  28
#define SRV   33
#define HTTPS 65
#define ANY   255

static void nodata(unsigned rcode)
{
	cr_assert_eq(answer.rcode, rcode);
	cr_assert_eq(answer.counts[1], 0);
	cr_assert_eq(answer.counts[2], 1);
	cr_assert_eq(answer.r[0].type, 6);
}

static void catalog(const char *node, const char *address, const char *service, const char *own)
{
	const struct wm_node_draft facts = {.address = address};
	const struct wm_instance_draft d = {.name = service, .port = 70, .address = own};
	const struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .node = node, .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .node = node, .service = &d}};
	const struct wm_catalog_batch b = {.ops = ops, .count = service ? 2 : 1};
	struct wm_err e = {0};
	unsigned failed;

	cr_assert_eq(wm_registry_catalog(registry, &b, &failed, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
}

/* --- host names as addresses ------------------------------------------------------------------ */
static void alias_of(const char *name, uint16_t type, const char *target)
{
	ask(name, type);
	cr_assert_eq(answer.rcode, 0, "%s", name);
	cr_assert_eq(have(1, NULL), 1, "%s", name);
	cr_assert_eq(have(1, target), 1, "%s", name);
	cr_assert_eq(answer.r[0].type, CNAME, "%s", name);
}

Test(names, a_host_name_is_an_alias)
{
	static const uint16_t types[] = {A, AAAA, CNAME, TXT, HTTPS, ANY};

	add("named", "a", "db.example.com", 9007, "v1", WM_PASSING);
	for (unsigned i = 0; i < sizeof(types) / sizeof(*types); i++) {
		alias_of("named.service.mesh.internal", types[i], "db.example.com.");
		alias_of("V1.named.service.dc1.consul", types[i], "db.example.com.");
	}
	ask("named.service.mesh.internal", SRV);
	cr_assert_eq(have(1, "1 1 9007 db.example.com."), 1);
	cr_assert_eq(answer.counts[1], 1);
	cr_assert_eq(have(3, NULL), 0, "its address is for others to tell");
	ask("v2.named.service.mesh.internal", A);
	nodata(3);
	add("named", "a", "db.example.com.", 9007, NULL, WM_PASSING);
	alias_of("named.service.mesh.internal", A, "db.example.com.");
	add("named", "a", "db.example.com", 9007, NULL, WM_CRITICAL);
	ask("named.service.mesh.internal", A);
	nodata(3);
}

/* A name that has addresses is no alias, for either family: RFC 1034 3.6.2. */
Test(names, addresses_come_before_host_names)
{
	add("db", "a", "db.example.com", 9007, NULL, WM_PASSING);
	add("db", "b", "10.1.0.1", 9007, NULL, WM_PASSING);
	ask("db.service.mesh.internal", A);
	cr_assert_eq(have(1, NULL), 1);
	cr_assert_eq(have(1, "10.1.0.1"), 1);
	ask("db.service.mesh.internal", AAAA);
	nodata(0);
	ask("db.service.mesh.internal", SRV);
	cr_assert_eq(have(1, "1 1 9007 db.example.com."), 1);
	cr_assert_eq(have(1, "1 1 9007 0a010001.addr.dc1.mesh.internal."), 1);
	add("db", "b", "10.1.0.1", 9007, NULL, WM_CRITICAL);
	alias_of("db.service.mesh.internal", A, "db.example.com.");
}

/* As many host names as there may be: one of them, by weight. */
Test(names, one_alias_of_many)
{
	unsigned seen[3] = {0};
	char id[8], host[32];

	for (unsigned i = 0; i < 3; i++) {
		snprintf(id, sizeof(id), "%u", i);
		snprintf(host, sizeof(host), "h%u.example.com", i);
		add("many", id, host, 1, NULL, WM_PASSING);
	}
	for (unsigned n = 0; n < 300; n++) {
		ask("many.service.mesh.internal", A);
		cr_assert_eq(have(1, NULL), 1);
		seen[answer.r[0].text[1] - '0']++;
	}
	cr_assert(seen[0] && seen[1] && seen[2]);
}

Test(names, an_alias_of_itself_is_none)
{
	add("self", "a", "self.service.mesh.internal", 1, NULL, WM_PASSING);
	ask("SELF.service.mesh.internal", A);
	nodata(0);
	alias_of("self.service.consul", TXT, "self.service.mesh.internal.");
}

static void chain_is(const char *name, uint16_t type, const char *const *owners,
		     const char *const *texts, unsigned n)
{
	ask(name, type);
	cr_assert_eq(answer.rcode, 0);
	cr_assert_eq(answer.counts[1], n, "%s: %u", name, answer.counts[1]);
	for (unsigned i = 0; i < n; i++) {
		cr_assert_str_eq(answer.r[i].owner, owners[i], "%s: %s", name, answer.r[i].owner);
		cr_assert_str_eq(answer.r[i].text, texts[i], "%s: %s", name, answer.r[i].text);
	}
}

/* RFC 1034 4.3.2: what the alias stands for comes along where we know it. */
Test(names, aliases_within_the_domain_are_followed)
{
	static const char *const owners[] = {"a.service.mesh.internal.", "B.service.consul.",
					     "n1.node.mesh.internal."};
	static const char *const texts[] = {"B.service.consul.", "n1.node.mesh.internal.",
					    "10.0.0.1"};
	static const char *const web[] = {"w.service.mesh.internal.", "web.service.mesh.internal."};
	static const char *const web_texts[] = {"web.service.mesh.internal.", "10.1.0.1"};

	add("a", "a", "B.service.consul", 1, NULL, WM_PASSING);
	add("b", "b", "n1.node.mesh.internal", 1, NULL, WM_PASSING);
	chain_is("a.service.mesh.internal", A, owners, texts, 3);
	chain_is("a.service.mesh.internal", AAAA, owners, texts, 2);
	chain_is("a.service.mesh.internal", CNAME, owners, texts, 1);
	add("web", "c", "10.1.0.1", 1, NULL, WM_PASSING);
	add("w", "d", "web.service.mesh.internal", 1, NULL, WM_PASSING);
	chain_is("w.service.mesh.internal", A, web, web_texts, 2); /* from the tables */
	chain_is("w.service.mesh.internal", AAAA, web, web_texts, 1);
	wm_tables_del(tables, "web");
	chain_is("w.service.mesh.internal", A, web, web_texts, 2); /* from the registry */
	add("web", "c", "10.1.0.1", 1, NULL, WM_CRITICAL);
	chain_is("w.service.mesh.internal", A, web, web_texts, 1); /* there, and leads nowhere */
	/* round in a circle: an end all the same */
	add("x", "x", "y.service.mesh.internal", 1, NULL, WM_PASSING);
	add("y", "y", "x.service.mesh.internal", 1, NULL, WM_PASSING);
	ask("x.service.mesh.internal", A);
	cr_assert_eq(answer.rcode, 0);
	cr_assert(answer.counts[1] >= 1 && answer.counts[1] <= 6, "%u", answer.counts[1]);
}

Test(names, a_node_may_have_a_host_name)
{
	catalog("far", "far.example.com", "wax", NULL);
	alias_of("far.node.mesh.internal", A, "far.example.com.");
	alias_of("far.node.dc1.mesh.internal", ANY, "far.example.com.");
	alias_of("wax.service.mesh.internal", AAAA, "far.example.com.");
	ask("wax.service.mesh.internal", SRV);
	cr_assert_eq(have(1, "1 1 70 far.example.com."), 1);
	ask("far.node.mesh.internal", TXT);
	nodata(0);
	catalog("far", "10.9.9.9", NULL, NULL);
	ask("far.node.mesh.internal", A);
	cr_assert_eq(have(1, "10.9.9.9"), 1);
}

/* --- names with names below them -------------------------------------------------------------- */
/* RFC 8020: NXDOMAIN says that nothing is below either, and resolvers believe it. */
Test(names, what_names_end_with_exists)
{
	static const char *const branches[] = {
		"service.mesh.internal",
		"virtual.mesh.internal",
		"node.mesh.internal",
		"addr.mesh.internal",
		"dc1.mesh.internal",
		"service.dc1.mesh.internal",
		"_tcp.service.mesh.internal",
		"_tcp.mesh.internal",
		"_v1.service.mesh.internal",
		"_TCP.service.dc1.mesh.internal",
		"_tcp.dc1.mesh.internal",
		"_tcp.consul",
		"2.web.service.mesh.internal",
		"c.web.service.dc1.mesh.internal",
		"B.c.web.service.mesh.internal",
	};
	static const char *const none[] = {
		"1.web.service.mesh.internal",	    "x.2.web.service.mesh.internal",
		"_.service.mesh.internal",	    "x._tcp.service.mesh.internal",
		"_none._tcp.service.mesh.internal", "tcp.mesh.internal",
		"_tcp.dc2.mesh.internal",	    "_x._web._tcp.mesh.internal",
		"_web._v9.mesh.internal",	    "down.web.service.mesh.internal",
	};
	static const uint16_t types[] = {A, AAAA, SRV, 2, 6, ANY};

	add("web", "a", "10.1.0.1", 80, "v.2", WM_PASSING);
	add("web", "b", "10.1.0.2", 80, "a.b.c", WM_PASSING);
	add("web", "c", "10.1.0.3", 80, "is.down", WM_CRITICAL);
	for (unsigned t = 0; t < sizeof(types) / sizeof(*types); t++) {
		for (unsigned i = 0; i < sizeof(branches) / sizeof(*branches); i++) {
			ask(branches[i], types[t]);
			cr_assert_eq(answer.rcode, 0, "%s", branches[i]);
			nodata(0);
		}
		for (unsigned i = 0; i < sizeof(none) / sizeof(*none); i++) {
			ask(none[i], types[t]);
			cr_assert_eq(answer.rcode, 3, "%s", none[i]);
			nodata(3);
		}
	}
	ask("v.2.web.service.mesh.internal", A);
	cr_assert_eq(have(1, "10.1.0.1"), 1);
}

Test(names, without_the_word_service_srv_only)
{
	static const char *const names[] = {"_web._tcp.mesh.internal", "_web._v1.dc1.consul"};

	add("web", "a", "10.1.0.1", 80, "v1", WM_PASSING);
	for (unsigned i = 0; i < 2; i++) {
		ask(names[i], SRV);
		cr_assert_eq(answer.counts[1], 1);
		ask(names[i], ANY);
		cr_assert_eq(answer.counts[1], 1);
		cr_assert_eq(answer.r[0].type, SRV);
		ask(names[i], A);
		nodata(0);
		ask(names[i], TXT);
		nodata(0);
	}
	ask("_web._tcp.service.mesh.internal", A);
	cr_assert_eq(have(1, "10.1.0.1"), 1);
}

/* The octet 0 ends a string, and no label: RFC 2181 11. */
/* "a.b" as one label is not the node a.b, whose name is two. */
Test(names, a_dot_is_part_of_the_label)
{
	size_t len;

	catalog("a.b", "10.9.9.9", NULL, NULL);
	ask("a.b.node.mesh.internal", A);
	cr_assert_eq(have(1, "10.9.9.9"), 1);
	len = build("a*b.node.mesh.internal", A, 1232);
	query[12 + 2] = '.';
	ask_raw(len, false);
	nodata(3);
}

Test(names, an_octet_0_is_part_of_the_label)
{
	static const char *const names[] = {"web*.service.mesh.internal",
					    "web*x.service.mesh.internal",
					    "*.service.mesh.internal",
					    "v1*.web.service.mesh.internal",
					    "web*x.virtual.mesh.internal",
					    "n1*.node.mesh.internal",
					    "_web*._tcp.mesh.internal",
					    "_web._v1*x.service.mesh.internal",
					    "web.service.dc1*.mesh.internal",
					    "ns*.mesh.internal",
					    "web.service*.consul",
					    "0a010001*.addr.mesh.internal"};
	static const uint16_t types[] = {A, SRV, ANY};
	uint8_t *at;
	size_t len;

	add("web", "a", "10.1.0.1", 80, "v1", WM_PASSING);
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		for (unsigned t = 0; t < 3; t++) {
			len = build(names[i], types[t], 1232);
			at = memchr(query + 12, '*', len - 12);
			cr_assert(at);
			*at = 0;
			ask_raw(len, false);
			cr_assert(answer.len);
			nodata(3);
		}
	}
}

/* --- what the operator sets ------------------------------------------------------------------- */
static void strict_setup(void)
{
	static char exact[] = "web=60s", none[] = "web-none=0s", prefix[] = "web*=30s";
	static char *const rules[] = {exact, none, prefix, NULL};
	static struct wm_ttls *ttls;

	cr_assert_eq(wm_ttls_new(rules, &ttls, NULL), 0);
	policy = (struct wm_tables_policy){.ttls = ttls, .only_passing = true};
	dns_config.cut_silently = true;
	dns_setup();
}
static void strict_teardown(void)
{
	dns_teardown();
	wm_ttls_free((struct wm_ttls *)(uintptr_t)policy.ttls);
}
TestSuite(strict, .init = strict_setup, .fini = strict_teardown);

static void ttl_is(const char *name, uint16_t type, bool tcp, unsigned ttl)
{
	ask_raw(build(name, type, 1232), tcp);
	cr_assert_gt(answer.counts[1], 0, "%s", name);
	for (unsigned i = 0; i < answer.counts[1]; i++)
		cr_assert_eq(answer.r[i].ttl, ttl, "%s %u", name, type);
}

Test(strict, ttls)
{
	static const struct {
		const char *service;
		unsigned ttl;
	} all[] = {{"web", 60}, {"web-none", 0}, {"web-other", 30}, {"db", 7}};
	char name[64];

	for (unsigned i = 0; i < 4; i++) {
		const char *s = all[i].service;

		add(s, s, "10.1.0.1", 80, "v1", WM_PASSING);
		for (unsigned tables_have_it = 2; tables_have_it--;) {
			for (int tcp = 0; tcp < 2; tcp++) {
				snprintf(name, sizeof(name), "%s.service.mesh.internal", s);
				ttl_is(name, A, tcp, all[i].ttl);
				ttl_is(name, SRV, tcp, all[i].ttl);
				snprintf(name, sizeof(name), "V1.%s.service.dc1.consul", s);
				ttl_is(name, A, tcp, all[i].ttl);
				snprintf(name, sizeof(name), "%s.virtual.consul", s);
				ttl_is(name, A, tcp, all[i].ttl);
			}
			wm_tables_del(tables, s);
		}
	}
	add("web-host", "h", "db.example.com", 80, NULL, WM_PASSING);
	ttl_is("web-host.service.mesh.internal", A, false, 30);
	ttl_is("n1.node.mesh.internal", A, false, 5);
	ttl_is("0a000001.addr.mesh.internal", A, false, 5);
	ttl_is("mesh.internal", 2, false, 5);
	ttl_is("mesh.internal", 6, false, 3);
}

Test(strict, only_passing)
{
	add("web", "a", "10.1.0.1", 80, "v1", WM_WARNING);
	for (unsigned tables_have_it = 2; tables_have_it--;) {
		ask("web.service.mesh.internal", A);
		nodata(3);
		ask("v1.web.service.mesh.internal", A);
		nodata(3);
		ask("web.service.mesh.internal", SRV);
		nodata(3);
		ttl_is("web.virtual.mesh.internal", A, false, 60);
		wm_tables_del(tables, "web");
	}
	add("db", "b", "10.1.0.2", 80, NULL, WM_WARNING);
	add("db", "c", "10.1.0.3", 80, NULL, WM_PASSING);
	ask("db.service.mesh.internal", A);
	cr_assert_eq(have(1, NULL), 1);
	cr_assert_eq(have(1, "10.1.0.3"), 1);
	add("host", "d", "db.example.com", 80, NULL, WM_WARNING);
	ask("host.service.mesh.internal", A);
	nodata(3);
}

/* dns.enable_truncate is off: cut all the same, without a word. Over TCP there is no other way. */
Test(strict, cut_silently)
{
	char id[8];

	for (unsigned i = 0; i < 20; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		add("many", id, "fd00:1111:2222:3333:4444:5555:6666:7777", 80 + i, NULL,
		    WM_PASSING);
	}
	ask_raw(build("many.service.mesh.internal", SRV, 0), false);
	cr_assert_leq(answer.len, 512);
	cr_assert(answer.counts[1] > 0 && answer.counts[1] < 20);
	cr_assert_not(answer.flags & 0x0200);
}

/* --- prepared queries --------------------------------------------------------------------------
 */
static void prepare(const char *id, const char *name, const char *service, bool prefix,
		    const char *tag, const char *ttl)
{
	struct wm_policy_draft d;
	struct wm_err e = {0};
	char key[64];

	snprintf(key, sizeof(key), WM_QUERY_KEY "%s", id);
	wm_policy_draft_init(&d, key);
	d.p.query.id = id;
	d.p.query.name = name;
	d.p.query.service = service;
	d.p.query.prefix = prefix;
	d.p.query.ttl = ttl;
	if (*tag) {
		d.terms[0] = (struct wm_policy_term){WM_QUERY_TAG, tag, ""};
		d.p.terms_count = 1;
	}
	cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
}

/* By the last octet of an instance's address; from another node than this one backwards. */
static bool by_octet(void *arg, const struct wm_node *from, const struct wm_instance **all,
		     unsigned count)
{
	bool back = from != wm_registry_node(registry);

	++*(unsigned *)arg;
	for (unsigned i = 0; i < count; i++) {
		for (unsigned k = i + 1; k < count; k++) {
			uint32_t a = ntohl(all[i]->addr4.s_addr), b = ntohl(all[k]->addr4.s_addr);
			const struct wm_instance *x = all[i];

			if (a < b ? !back : back)
				continue;
			all[i] = all[k];
			all[k] = x;
		}
	}
	return true;
}

static void near_by(const char *near, const struct sockaddr_in *from, uint16_t type,
		    const char *first, const char *last)
{
	struct wm_policy_draft d;
	struct wm_err e = {0};
	size_t len;

	wm_policy_draft_init(&d, WM_QUERY_KEY "f066d9f3-cbf1-4c7c-8d2b-0a1b2c3d4e60");
	d.p.query.id = "f066d9f3-cbf1-4c7c-8d2b-0a1b2c3d4e60";
	d.p.query.name = "near";
	d.p.query.service = "web";
	d.p.query.near = near;
	d.p.query.ttl = "";
	cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	for (int i = 0; i < 20; i++) {
		len = build("near.query.mesh.internal", type, 1232);
		wm_dns_received(server, false);
		answer.len = wm_dns_respond_to(server, (const struct sockaddr *)from, query, len,
					       false, answer.raw, sizeof(answer.raw));
		parse_answer();
		cr_assert_eq(answer.counts[1], 9);
		cr_assert_str_eq(answer.r[0].text, first);
		cr_assert_str_eq(answer.r[8].text, last);
	}
}

Test(names, prepared_queries_with_near_are_in_order)
{
	struct sockaddr_in other = {.sin_family = AF_INET, .sin_addr = {htonl(0x0a090909)}};
	const struct wm_node_draft facts = {.address = "10.9.9.9"};
	const struct wm_catalog_op op = {
		.verb = WM_VERB_SET, .object = WM_OBJECT_NODE, .node = "far", .facts = &facts};
	const struct wm_catalog_batch b = {.ops = &op, .count = 1};
	struct wm_err e = {0};
	unsigned asked = 0, failed;

	for (unsigned i = 1; i <= 9; i++) {
		char id[16], address[24];

		snprintf(id, sizeof(id), "i%u", i);
		snprintf(address, sizeof(address), "10.1.0.%u", i);
		add("web", id, address, 80, "v1", WM_PASSING);
	}
	cr_assert_eq(wm_registry_catalog(registry, &b, &failed, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	wm_dns_server_near(server, &(struct wm_dns_near){by_octet, &asked});
	near_by("_agent", &other, A, "10.1.0.1", "10.1.0.9");
	near_by("far", NULL, A, "10.1.0.9", "10.1.0.1");
	near_by("_ip", &other, A, "10.1.0.9", "10.1.0.1");
	near_by("_agent", NULL, SRV, "1 1 80 0a010001.addr.dc1.mesh.internal.",
		"1 1 80 0a010009.addr.dc1.mesh.internal.");
	/* an address of no node: near to who answers */
	other.sin_addr.s_addr = htonl(0x0a090908);
	near_by("_ip", &other, A, "10.1.0.1", "10.1.0.9");
	near_by("_ip", NULL, A, "10.1.0.1", "10.1.0.9");
	cr_assert_eq(asked, 6 * 20);
	wm_dns_server_near(server, NULL);
}

Test(names, prepared_queries_have_names)
{
	add("web", "a", "10.1.0.1", 80, "v1", WM_PASSING);
	add("web", "b", "10.1.0.2", 81, "v2", WM_PASSING);
	add("web", "c", "10.1.0.3", 80, "v2", WM_CRITICAL);
	ask("best.query.mesh.internal", A);
	nodata(3);
	prepare("f066d9f3-cbf1-4c7c-8d2b-0a1b2c3d4e5f", "best", "web", false, "v2", "10s");
	ask("best.query.mesh.internal", A);
	cr_assert_eq(answer.rcode, 0);
	cr_assert_eq(have(1, NULL), 1);
	cr_assert_eq(have(1, "10.1.0.2"), 1);
	cr_assert_eq(answer.r[0].ttl, 10);
	ask("BEST.query.dc1.consul", SRV);
	cr_assert_eq(have(1, NULL), 1);
	cr_assert_eq(have(1, "1 1 81 0a010002.addr.dc1.consul."), 1);
	ask("_best._tcp.query.mesh.internal", SRV);
	cr_assert_eq(have(1, NULL), 1);
	ask("f066d9f3-cbf1-4c7c-8d2b-0a1b2c3d4e5f.query.mesh.internal", A);
	cr_assert_eq(have(1, "10.1.0.2"), 1);
	ask("best.query.mesh.internal", AAAA);
	nodata(0);
	/* a template of names with dots */
	prepare("f066d9f3-cbf1-4c7c-8d2b-0a1b2c3d4e50", "any.", "${name.suffix}", true, "", "");
	ask("any.web.query.mesh.internal", A);
	cr_assert_eq(have(1, NULL), 2);
	cr_assert_eq(answer.r[0].ttl, 7, "as the service's");
	ask("any.none.query.mesh.internal", A);
	nodata(3);
	ask("query.mesh.internal", A);
	nodata(0);
	/* this node leaves it out: as long as that lasts, nobody is told of it */
	cr_assert_eq(wm_registry_set_passive(registry, wm_registry_instance(registry, "b"), true,
					     "refused"),
		     0);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	ask("any.web.query.mesh.internal", A);
	cr_assert_eq(have(1, NULL), 1);
	cr_assert_eq(have(1, "10.1.0.1"), 1);
	ask("best.query.mesh.internal", A);
	nodata(3);
}

Test(names, prepared_queries_do_as_when_none_says)
{
	struct wm_policy_draft d;

	add("web", "a", "10.1.0.1", 80, "v1", WM_CRITICAL);
	prepare("f066d9f3-cbf1-4c7c-8d2b-0a1b2c3d4e5f", "best", "web", false, "v1", "10s");
	ask("best.query.mesh.internal", A);
	nodata(3);
	wm_policy_draft_init(&d, "web");
	d.p.when_none = WM_NONE_ANY;
	cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, NULL), 0);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	ask("best.query.mesh.internal", A);
	cr_assert_eq(have(1, "10.1.0.1"), 1);
	ask("best.query.mesh.internal", SRV);
	cr_assert_eq(have(1, "1 1 80 0a010001.addr.dc1.mesh.internal."), 1);
	/* there is no call that could go on */
	d.p.when_none = WM_NONE_PASS;
	cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, NULL), 0);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	ask("best.query.mesh.internal", A);
	nodata(3);
}

/* --- subsets ------------------------------------------------------------------------------------
 */
static void versions(void)
{
	static const struct wm_policy_subset both[] = {
		{.name = "v1", .filter = "\"v1\" in Service.Tags"},
		{.name = "v2", .filter = "\"v2\" in Service.Tags"},
	};
	struct wm_policy_draft d;

	add("web", "a", "10.0.1.1", 81, "v1", WM_PASSING);
	add("web", "b", "10.0.1.2", 82, "v2", WM_PASSING);
	add("web", "c", "10.0.1.3", 83, "v2", WM_CRITICAL);
	wm_policy_draft_init(&d, "web");
	d.p.subsets = both;
	d.p.subsets_count = 2;
	cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, NULL), 0);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
}

Test(names, a_subset_has_names_of_its_own)
{
	char vip[INET_ADDRSTRLEN], reverse[64];
	struct in6_addr v6;
	struct in_addr v4;
	const uint8_t *a = (const uint8_t *)&v4;

	versions();
	cr_assert(wm_registry_label(registry, "web", "v2", &v4, &v6));
	inet_ntop(AF_INET, &v4, vip, sizeof(vip));
	for (int tables_too = 1; tables_too >= 0; tables_too--) {
		ask("v2.web.service.mesh.internal", A);
		cr_assert_eq(have(1, NULL), 1);
		cr_assert_eq(have(1, "10.0.1.2"), 1);
		ask("V2.web.virtual.dc1.consul", A);
		cr_assert_eq(have(1, vip), 1);
		if (tables_too)
			wm_tables_part_del(tables, "web", "v2", 0, 0);
	}
	ask("v2.web.service.mesh.internal", SRV);
	cr_assert_eq(have(1, NULL), 1);
	ask("web.service.mesh.internal", A);
	cr_assert_eq(have(1, NULL), 2);
	ask("v3.web.virtual.mesh.internal", A);
	nodata(3);
	ask("v2.db.virtual.mesh.internal", A);
	nodata(3);
	snprintf(reverse, sizeof(reverse), "%u.%u.%u.%u.in-addr.arpa", a[3], a[2], a[1], a[0]);
	ask(reverse, 12);
	cr_assert_eq(have(1, "v2.web.virtual.mesh.internal."), 1);
}

/* A policy decides whom TCP and SRV name, too: as the tables do. */
Test(names, an_answer_of_the_registry_goes_by_the_policy)
{
	struct wm_policy_draft d;

	versions();
	add("db", "d", "10.0.2.1", 90, NULL, WM_PASSING);
	wm_policy_draft_init(&d, "web");
	d.p.redirect.service = "db";
	cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, NULL), 0);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	ask("web.service.mesh.internal", SRV);
	cr_assert_eq(have(1, NULL), 1);
	cr_assert_eq(have(3, "10.0.2.1"), 1);
	wm_tables_del(tables, "web");
	ask("web.service.mesh.internal", A);
	cr_assert_eq(have(1, NULL), 1);
	cr_assert_eq(have(1, "10.0.2.1"), 1);
}

/* Who has a host name is in no table, so its tier has nobody: the next has addresses, for all
 * types.
 */
Test(names, a_tier_of_host_names_is_no_alias_beside_addresses)
{
	static const struct wm_policy_target to_db = {
		.service = "db", .subset = "", .region = "", .of = ""};
	struct wm_policy_draft d;

	add("web", "a", "host.example.org", 81, NULL, WM_PASSING);
	add("db", "d", "10.0.2.1", 90, NULL, WM_PASSING);
	wm_policy_draft_init(&d, "web");
	d.p.select = WM_SELECT_FAILOVER;
	d.p.failover = &to_db;
	d.p.failover_count = 1;
	cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, NULL), 0);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	ask("web.service.mesh.internal", A);
	cr_assert_eq(have(1, "10.0.2.1"), 1);
	ask("web.service.mesh.internal", 16);
	nodata(0);
	ask("web.service.mesh.internal", 28);
	nodata(0);
}
