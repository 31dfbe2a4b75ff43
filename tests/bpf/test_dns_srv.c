/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* SRV of services by the program that the DNS programs call: what it names, and what it leaves to
 * userspace. That both say the same, dns_diff holds against thousands of questions. */
#include "dns_fixture.h"
#include "srv_answer.h"

TestSuite(dns_srv, .init = dns_setup, .fini = dns_teardown, .timeout = 300);

/* The same, or it passes. @return whether the kernel answered. */
static bool as_userspace(const char *name, unsigned how, unsigned edns, unsigned *ret_records)
{
	enum wm_prog_index prog = how & 4 ? WM_PROG_DNS_VETH : WM_PROG_DNS_LO;
	static struct srv_answer k, u;
	uint8_t out[WM_DNS_EDNS_MAX];
	struct frame q, a;
	uint32_t verdict;
	size_t len;

	query_frame(&q, how & 1, name, 33, edns);
	verdict = run(prog, &q, &a);
	if (same_frame(&q, &a)) {
		cr_assert_eq(verdict, (uint32_t)TC_ACT_UNSPEC);
		return false;
	}
	cr_assert_eq(verdict, how & 4 ? TC_ACT_REDIRECT : TC_ACT_OK);
	check_envelope(&q, &a, q.v6 || how & 4);
	len = wm_dns_respond(server, q.at + q.dns, q.len - q.dns, false, out, sizeof(out));
	cr_assert(srv_take_apart(a.at + a.dns, a.len - a.dns, &k), "%s", name);
	cr_assert(srv_take_apart(out, len, &u), "%s", name);
	cr_assert(srv_equal(&k, &u), "%s", name);
	*ret_records = k.n;
	return true;
}

static void add_at_node(const char *name, const char *id, uint16_t port, uint32_t weight)
{
	struct wm_instance_draft d = {.id = id,
				      .name = name,
				      .port = port,
				      .has_weights = true,
				      .weight_passing = weight,
				      .weight_warning = 1};
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	published(name);
}

Test(dns_srv, every_form_by_every_way)
{
	static const char *const names[] = {
		"WEB.service.mesh.internal",   "web.service.dc1.Mesh.internal",
		"_web._tcp.mesh.internal",     "_wEb._tcp.service.mesh.internal",
		"_web._tcp.dc1.mesh.internal", "_web._tcp.service.dc1.mesh.internal"};
	unsigned n;

	add("web", "a", "10.1.2.3", WM_PASSING);
	add("web", "b", "fd00::9", WM_PASSING);
	add_at_node("web", "c", 8080, 3);
	add_at_node("web", "d", 8081, 3); /* two of one node */
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		for (unsigned how = 0; how < 8; how++) {
			cr_assert(as_userspace(names[i], how, how & 2 ? 1232 : 0, &n), "%s %u",
				  names[i], how);
			cr_assert_eq(n, 4);
		}
	cr_assert_eq(counter(WM_C_DNS_ANSWERED), 48);
}

/* All records with all of their addresses fit, or the question is userspace's. */
Test(dns_srv, as_many_as_fit)
{
	char id[8], address[16];
	unsigned n, most[2] = {0};

	for (unsigned i = 1; i <= 40; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		snprintf(address, sizeof(address), "10.1.0.%u", i);
		add("web", id, address, WM_PASSING);
		for (unsigned how = 0; how < 8; how++)
			if (as_userspace("web.service.mesh.internal", how, how & 2 ? 4096 : 0,
					 &n)) {
				cr_assert_eq(n, i);
				most[(how & 2) / 2] = i;
			}
	}
	/* 43 octets before the records, an OPT of 11 behind; 50 and 16 for each */
	cr_assert_eq(most[0], (512 - 43) / 66);
	cr_assert_eq(most[1], (1232 - 43 - 11) / 66);
}

Test(dns_srv, health_decides_and_weights_rotate)
{
	unsigned n, first = 0;
	struct frame q, a;

	add_at_node("web", "a", 8001, 3);
	add_at_node("web", "b", 8002, 1);
	query_frame(&q, false, "web.service.mesh.internal", 33, 0);
	for (unsigned i = 0; i < 400; i++) {
		cr_assert(answered(&q, &a));
		first += a.at[a.dns + 12 + 31 + 17] == (8001 & 0xff);
	}
	/* 300 are expected, and 60 are seven deviations */
	cr_assert(first > 240 && first < 360, "%u", first);
	cr_assert_eq(
		wm_tables_state(tables, wm_registry_instance(registry, "a")->hash, WM_STATE_DOWN),
		0);
	cr_assert(answered(&q, &a));
	cr_assert_eq(a.at[a.dns + 7], 1, "one store, and it is not named");
	cr_assert_eq(
		wm_tables_state(tables, wm_registry_instance(registry, "b")->hash, WM_STATE_DOWN),
		0);
	cr_assert(!as_userspace("web.service.mesh.internal", 0, 0, &n));
	cr_assert_eq(counter(WM_C_DNS_PASS_EMPTY), 1);
}

Test(dns_srv, what_the_tables_do_not_tell_passes)
{
	unsigned n;

	add("web", "a", "10.1.2.3", WM_PASSING);
	cr_assert(!as_userspace("_web._http.service.mesh.internal", 0, 0, &n), "a tag");
	cr_assert(!as_userspace("v1.web.service.mesh.internal", 0, 0, &n), "a tag of nobody");
	cr_assert(!as_userspace("web.service.dc2.mesh.internal", 0, 0, &n) || !n);
	add("web", "b", "host.example.org", WM_PASSING);
	cr_assert(!as_userspace("web.service.mesh.internal", 0, 0, &n), "a host name");
	cr_assert_gt(counter(WM_C_DNS_PASS_TYPE), 0);
}

/* A service that is being registered is never denied: the flag is taken back before it is there. */
Test(dns_srv, who_may_be_there_is_not_denied)
{
	unsigned n;

	add("web", "a", "10.1.2.3", WM_PASSING);
	cr_assert(as_userspace("_other._tcp.service.mesh.internal", 0, 0, &n));
	cr_assert(as_userspace("other.service.dc1.mesh.internal", 0, 1232, &n));
	cr_assert(as_userspace("web.virtual.mesh.internal", 0, 0, &n), "no data");
	cr_assert_eq(counter(WM_C_DNS_NXDOMAIN), 2);
	mem.config->flags &= ~WM_CONFIG_F_COMPLETE;
	cr_assert(!as_userspace("_other._tcp.service.mesh.internal", 0, 0, &n));
	cr_assert(!as_userspace("other.service.dc1.mesh.internal", 0, 1232, &n));
	cr_assert_eq(counter(WM_C_DNS_PASS_UNKNOWN), 2);
}

/* --- policies ----------------------------------------------------------------------------------
 */
static struct wm_policy_draft d;

static void add_tagged_at(const char *id, const char *address, uint16_t port, uint32_t weight,
			  const char *tag)
{
	struct wm_instance_draft i = {.id = id,
				      .name = "web",
				      .address = address,
				      .port = port,
				      .tags = &tag,
				      .tags_count = 1,
				      .has_weights = true,
				      .weight_passing = weight,
				      .weight_warning = 1};
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_register(registry, &i, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
}

static void add_tagged(const char *id, uint16_t port, uint32_t weight, const char *tag)
{
	add_tagged_at(id, "10.1.2.3", port, weight, tag);
}

static void three_of_two(void)
{
	static const struct wm_policy_subset both[] = {
		{.name = "v1", .filter = "\"v1\" in Service.Tags"},
		{.name = "v2", .filter = "\"v2\" in Service.Tags"},
	};

	add_tagged("a", 8001, 3, "v1");
	add_tagged("b", 8002, 1, "v2");
	add_tagged("c", 8003, 1, "v2");
	wm_policy_draft_init(&d, "web");
	d.p.subsets = both;
	d.p.subsets_count = 2;
}

static void put_policy(void)
{
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
}

/* By all ways, as userspace says, so many records. */
static void names(const char *name, unsigned records)
{
	unsigned n;

	for (unsigned how = 0; how < 8; how++) {
		cr_assert(as_userspace(name, how, how & 2 ? 1232 : 0, &n), "%s %u", name, how);
		cr_assert_eq(n, records, "%s: %u", name, n);
	}
}

/* Records that userspace answers SRV with. */
static unsigned asked(const char *name)
{
	uint8_t out[WM_DNS_EDNS_MAX];
	struct frame q;

	query_frame(&q, false, name, 33, 1232);
	cr_assert(wm_dns_respond(server, q.at + q.dns, q.len - q.dns, false, out, sizeof(out)));
	return at16(out + 6);
}

Test(dns_srv, subsets)
{
	three_of_two();
	put_policy();
	names("web.service.mesh.internal", 3);
	names("v1.web.service.mesh.internal", 1);
	names("V2.web.service.DC1.mesh.internal", 2);
	names("_web._v2.mesh.internal", 2);
	names("_web._v1.service.dc1.mesh.internal", 1);
	names("v2.web.virtual.mesh.internal", 0);
}

/* A set of few whose backends are all up and have addresses is written at once; when one of them is
 * down the others are gathered. */
Test(dns_srv, few_are_named_by_their_weights)
{
	unsigned first = 0;
	struct frame q, a;

	add_tagged_at("a", "10.1.2.3", 8001, 3, "v1");
	names("web.service.mesh.internal", 1);
	add_tagged_at("b", "10.1.2.4", 8002, 1, "v1");
	names("_web._tcp.mesh.internal", 2);
	query_frame(&q, false, "web.service.mesh.internal", 33, 0);
	for (unsigned i = 0; i < 400; i++) {
		cr_assert(answered(&q, &a));
		first += a.at[a.dns + 12 + 31 + 17] == (8001 & 0xff);
	}
	/* 300 are expected, and 60 are seven deviations */
	cr_assert(first > 240 && first < 360, "%u", first);
	add_tagged_at("c", "10.1.2.5", 8003, 2, "v1");
	add_tagged_at("d", "10.1.2.6", 8004, 1, "v1");
	names("web.service.mesh.internal", 4);
	cr_assert_eq(
		wm_tables_state(tables, wm_registry_instance(registry, "b")->hash, WM_STATE_DOWN),
		0);
	cr_assert(answered(&q, &a));
	cr_assert_eq(a.at[a.dns + 7], 3);
	cr_assert_eq(a.at[a.dns + 11], 3, "addresses");
}

/* All tiers that connections are drawn to are named, nobody twice. */
Test(dns_srv, tiers)
{
	three_of_two();
	d.splits[0] = (struct wm_policy_split){.percent = 5000, .service = "", .subset = "v1"};
	d.splits[1] = (struct wm_policy_split){.percent = 5000, .service = "", .subset = "v2"};
	d.p.splits = d.splits;
	d.p.splits_count = 2;
	put_policy();
	names("web.service.mesh.internal", 3);
	d.splits[0].subset = ""; /* and so b and c are in both */
	put_policy();
	names("_web._tcp.mesh.internal", 3);
	d.p.splits_count = 0;
	d.p.select = WM_SELECT_FAILOVER;
	d.p.default_subset = "v1";
	d.failover[0] =
		(struct wm_policy_target){.service = "", .subset = "v2", .of = "", .region = ""};
	d.p.failover = d.failover;
	d.p.failover_count = 1;
	put_policy();
	names("web.service.mesh.internal", 1);
	wm_registry_deregister(registry, "a", NULL, NULL, NULL);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	names("web.service.mesh.internal", 2);
}

/* Answers to A: by which addresses are named (a bit each), and by which is the first. */
struct tally {
	unsigned named[8], first[3];
};
#define TALLIED 1000
#define APART	80 /* more than five standard deviations of 1000 throws */

static void tally(struct tally *t, const uint8_t *m)
{
	const uint8_t *at = m + WM_DNS_HEADER_LEN + sizeof("web.service.mesh.internal") + 1 + 4;
	unsigned named = 0, n = m[7];

	for (unsigned i = 0; i < n; i++, at += WM_DNS_RR_A) {
		named |= 1u << (at[15] - 1);
		t->first[at[15] - 1] += i == 0;
	}
	t->named[named]++;
}

/* By the kernel and by userspace alike, of 1000: answers that name 10.1.2.1 alone, and those of
 * others whose first is 10.1.2.2. */
static void tallied(unsigned alone, unsigned second)
{
	struct tally k = {0}, u = {0}, *both[] = {&k, &u};
	uint8_t out[WM_DNS_EDNS_MAX];
	struct frame q, a;

	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	for (unsigned i = 0; i < TALLIED; i++) {
		cr_assert(answered(&q, &a));
		tally(&k, a.at + a.dns);
		cr_assert(wm_dns_respond(server, q.at + q.dns, q.len - q.dns, false, out,
					 sizeof(out)));
		tally(&u, out);
	}
	for (unsigned i = 0; i < 2; i++) {
		unsigned sure = !alone || alone == TALLIED ? 0 : APART;

		cr_assert_leq(abs((int)both[i]->named[1] - (int)alone), (int)sure, "%u: %u", i,
			      both[i]->named[1]);
		cr_assert_eq(both[i]->named[1] + both[i]->named[6], TALLIED,
			     "who is drawn to is named");
		cr_assert_eq(both[i]->first[0], both[i]->named[1]);
		cr_assert_leq(abs((int)both[i]->first[1] - (int)second), APART, "%u: %u", i,
			      both[i]->first[1]);
	}
}

/* Addresses are named as connections are drawn: of the nearest that are up, by share, by weight. */
Test(dns_srv, addresses_in_the_order_of_the_policy)
{
	three_of_two();
	add_tagged_at("a", "10.1.2.1", 8001, 3, "v1");
	add_tagged_at("b", "10.1.2.2", 8002, 9, "v2");
	add_tagged_at("c", "10.1.2.3", 8003, 1, "v2");
	d.splits[0] = (struct wm_policy_split){.percent = 7000, .service = "", .subset = "v1"};
	d.splits[1] = (struct wm_policy_split){.percent = 3000, .service = "", .subset = "v2"};
	d.p.splits = d.splits;
	d.p.splits_count = 2;
	put_policy();
	tallied(700, 270);
	d.p.splits_count = 0;
	d.p.select = WM_SELECT_FAILOVER;
	d.p.default_subset = "v1";
	d.failover[0] =
		(struct wm_policy_target){.service = "", .subset = "v2", .of = "", .region = ""};
	d.p.failover = d.failover;
	d.p.failover_count = 1;
	put_policy();
	tallied(1000, 0);
	wm_registry_deregister(registry, "a", NULL, NULL, NULL);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	tallied(0, 900);
}

/* One that has many turns is one record; a table of hashing is too large to look through. */
Test(dns_srv, balances)
{
	unsigned n;

	three_of_two();
	d.p.subsets_count = 0;
	for (uint32_t b = 0; b < WM_BALANCE_COUNT; b++) {
		d.p.balance = b;
		d.p.custom = b == WM_BALANCE_CUSTOM ? "none" : "";
		put_policy();
		if (b == WM_BALANCE_MAGLEV)
			cr_assert(!as_userspace("web.service.mesh.internal", 0, 0, &n));
		else
			names("web.service.mesh.internal", 3);
	}
	cr_assert_eq(counter(WM_C_DNS_PASS_SIZE), 1);
}

/* Who is ejected is out of both at once, before the registry is told. */
Test(dns_srv, ejected)
{
	uint32_t at, set;

	three_of_two();
	d.p.subsets_count = 1; /* v2 is a tag */
	names("web.service.mesh.internal", 3);
	cr_assert_eq(
		wm_tables_backends_of(tables, wm_registry_instance(registry, "b")->hash, &at, 1),
		1);
	set = (uint32_t)wm_tables_set_of(tables, "web");
	eject(at, wm_clock_ns() + 60 * WM_NS_PER_S);
	mem.set_live[set].ejected = 1;
	names("web.service.mesh.internal", 2);
	put_policy();
	names("web.service.mesh.internal", 2);
	cr_assert_eq(asked("v2.web.service.mesh.internal"), 1, "userspace, of the registry");
	eject(at, 1);
	names("web.service.mesh.internal", 3);
	cr_assert_eq(asked("v2.web.service.mesh.internal"), 2);
}

/* --- tags --------------------------------------------------------------------------------------
 */
/* The first question is userspace's, and makes the name. */
static void first_asked(const char *name, unsigned records)
{
	unsigned n;

	cr_assert(!as_userspace(name, 0, 0, &n), "%s", name);
	cr_assert_eq(asked(name), records, "%s", name);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
}

Test(dns_srv, tags_that_are_asked_for)
{
	struct frame q, a;
	unsigned n;

	three_of_two();
	first_asked("V2.web.service.mesh.internal", 2);
	names("v2.web.service.mesh.internal", 2);
	names("_web._v2.dc1.mesh.internal", 2);
	query_frame(&q, false, "v2.web.service.dc1.mesh.internal", 1, 0);
	cr_assert(answered(&q, &a));
	cr_assert_eq(a.at[a.dns + 7], 1, "two at one address");
	query_frame(&q, false, "v2.web.virtual.mesh.internal", 1, 0);
	cr_assert(!answered(&q, &a), "a tag has no address");
	cr_assert(!as_userspace("v3.web.service.mesh.internal", 0, 0, &n), "nobody has it");
	cr_assert_eq(asked("v3.web.service.mesh.internal"), 0);

	cr_assert_eq(
		wm_tables_state(tables, wm_registry_instance(registry, "b")->hash, WM_STATE_DOWN),
		0);
	query_frame(&q, false, "v2.web.service.mesh.internal", 33, 1232);
	cr_assert(answered(&q, &a));
	cr_assert_eq(a.at[a.dns + 7], 1, "one store, and it is not named");
	add_tagged("b", 8002, 1, "v1");
	add_tagged("a", 8001, 1, "v2");
	names("v2.web.service.mesh.internal", 2);
	first_asked("v1.web.service.mesh.internal", 1);
	names("v1.web.service.mesh.internal", 1);
}

/* A subset of the name is what the name means, while there is one. */
Test(dns_srv, tags_and_subsets)
{
	three_of_two();
	first_asked("v2.web.service.mesh.internal", 2);
	put_policy();
	names("v2.web.service.mesh.internal", 2);
	names("v2.web.virtual.mesh.internal", 0);
	cr_assert_eq(wm_registry_policy_delete(registry, "web", NULL, NULL, NULL, NULL), 0);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	names("v2.web.service.mesh.internal", 2);
	wm_registry_deregister(registry, "b", NULL, NULL, NULL);
	wm_registry_deregister(registry, "c", NULL, NULL, NULL);
	wm_registry_deregister(registry, "a", NULL, NULL, NULL);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	names("v2.web.service.mesh.internal", 0);
	cr_assert_lt(wm_tables_label_set(tables, "web", "v2"), 0);
}

static void differs(void *arg, const char *table, const char *text)
{
	(void)table;
	snprintf(arg, 200, "%s", text);
}

/* The comparison of tables and registry looks at sets of tags, too. */
Test(dns_srv, tags_are_verified)
{
	const struct wm_service *s;
	char text[200] = "";
	int64_t set;

	three_of_two();
	first_asked("v2.web.service.mesh.internal", 2);
	s = wm_registry_service(registry, "web");
	cr_assert_eq(wm_resolution_verify(resolution, s, differs, text), 0);
	cr_assert_str_eq(text, "");
	set = wm_tables_label_set(tables, "web", "v2");
	cr_assert_geq(set, 0);
	mem.heads[mem.sets[set].table.head].tiers = 2;
	cr_assert_eq(wm_resolution_verify(resolution, s, differs, text), 0);
	cr_assert_str_neq(text, "");
	mem.heads[mem.sets[set].table.head].tiers = 1;
}

/* Few tags of a service have sets, and none that DNS programs would not look through. */
Test(dns_srv, tags_are_bounded)
{
	char tag[16], name[64], id[16];
	unsigned n, many = 0;

	for (unsigned i = 0; i < 40; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		snprintf(tag, sizeof(tag), "t%u", i);
		add_tagged(id, (uint16_t)(8000 + i), 1, tag);
	}
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "t%u.web.service.mesh.internal", i);
		cr_assert_eq(asked(name), 1);
		cr_assert_eq(wm_loop_turn(loop, 0), 0);
		many += as_userspace(name, 0, 0, &n);
	}
	cr_assert_eq(many, 16, "%u", many);
	wm_resolution_end_tags(resolution, wm_clock_ns());
	cr_assert(as_userspace("t0.web.service.mesh.internal", 0, 0, &n));
	wm_resolution_end_tags(resolution,
			       wm_clock_ns() + (WM_RESOLUTION_TAG_MS + 1) * WM_NS_PER_MS);
	first_asked("t0.web.service.mesh.internal", 1);
	cr_assert(as_userspace("t0.web.service.mesh.internal", 0, 0, &n));
	cr_assert(!as_userspace("t1.web.service.mesh.internal", 0, 0, &n));
}

/* Of a service with many instances none: each compilation would look through them for each tag. */
static void many_setup(void)
{
	instances_max = 5000;
	backends_cap = 8192;
	dns_setup();
}
Test(dns_srv_many, tags_of_few_instances_only, .init = many_setup, .fini = dns_teardown,
     .timeout = 300)
{
	static const char *tags[] = {"v1"};
	struct wm_instance_draft i = {.name = "web", .address = "10.1.2.3"};
	char id[16];
	unsigned n;

	i.id = id;
	for (unsigned k = 0; k <= 4096; k++) {
		snprintf(id, sizeof(id), "i%u", k);
		i.port = (uint16_t)(1 + k);
		i.tags = tags;
		i.tags_count = k == 7;
		cr_assert_eq(wm_registry_register(registry, &i, NULL, NULL, NULL), 0);
		if (k >= 4095)
			cr_assert_eq(wm_loop_turn(loop, 0), 0);
		if (k == 4095)
			first_asked("v1.web.service.mesh.internal", 1);
		for (uint64_t end = wm_clock_ns() + PUBLISHED_MS * WM_NS_PER_MS;
		     k == 4095 && !as_userspace("v1.web.service.mesh.internal", 0, 0, &n);) {
			cr_assert_lt(wm_clock_ns(), end);
			cr_assert_eq(wm_loop_turn(loop, 1), 0); /* a large set is paced */
		}
	}
	published("web");
	cr_assert(!as_userspace("v1.web.service.mesh.internal", 0, 0, &n));
	first_asked("v1.web.service.mesh.internal", 1);
	cr_assert(!as_userspace("v1.web.service.mesh.internal", 0, 0, &n));
}
