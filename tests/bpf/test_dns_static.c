/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* Names that no health changes: nodes, addresses, the domain, the operator's records. What
 * userspace said once the kernel says, to the octet, until it is not so any more. */
#include "dns_fixture.h"
#include "userspace/base/random.h"
#include "userspace/dns/static_records.h"

#define NS    2
#define PTR   12
#define TXT   16
#define ASKED 2 /* an answer without records is kept when it is asked for again */

static int put(void *p, struct wm_ready *e, uint16_t type)
{
	return wm_plane_ready_put(p, e, type);
}

static void begin_with(unsigned fill)
{
	struct wm_ready_kernel k;

	policy = (struct wm_tables_policy){0};
	dns_setup();
	k = (struct wm_ready_kernel){put, wm_plane_ready_words(plane), plane, fill, 64};
	cr_assert(k.words);
	cr_assert_eq(wm_dns_server_ready(server, &k), 0);
}

static void begin(void)
{
	begin_with(0);
}

TestSuite(dns_static, .init = begin, .fini = dns_teardown, .timeout = 300);

/* --- the registry ------------------------------------------------------------------------------
 */
static int failed;

static void on_done(void *arg, int code, const char *text)
{
	(void)arg;
	failed = code;
	if (code)
		fprintf(stderr, "%s\n", text);
}

static void catalog(const struct wm_catalog_op *op)
{
	const struct wm_catalog_batch b = {.ops = op, .count = 1, .done = on_done};
	struct wm_err e = {0};
	unsigned part;

	failed = 1;
	cr_assert_eq(wm_registry_catalog(registry, &b, &part, &e), 0, "%s", e.text);
	for (unsigned i = 0; failed == 1 && i < 100; i++)
		cr_assert_eq(wm_loop_turn(loop, 0), 0);
	cr_assert_eq(failed, 0);
}

static struct wm_pair meta[2];
static unsigned meta_count;

/* A node as another agent would tell of it, with the metadata above. */
static void node(const char *name, const char *address)
{
	struct wm_node_draft d = {.address = address, .meta = meta, .meta_count = meta_count};

	catalog(&(struct wm_catalog_op){
		.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = name, .facts = &d});
}

static void node_gone(const char *name)
{
	catalog(&(struct wm_catalog_op){
		.object = WM_OBJECT_NODE, .verb = WM_VERB_DELETE, .node = name});
}

static void instance_gone(const char *id)
{
	struct wm_err e = {0};

	failed = 1;
	cr_assert_eq(wm_registry_deregister(registry, id, on_done, NULL, &e), 0);
	for (unsigned i = 0; failed == 1 && i < 100; i++)
		cr_assert_eq(wm_loop_turn(loop, 0), 0);
	cr_assert_eq(failed, 0);
}

/* --- questions ---------------------------------------------------------------------------------
 */
static uint8_t user[WM_DNS_EDNS_MAX];
static size_t user_len;

/* What userspace says to @p q, which it may give to the kernel. @return RCODE. */
static unsigned ask_user(const struct frame *q)
{
	user_len =
		wm_dns_respond(server, q->at + q->dns, q->len - q->dns, false, user, sizeof(user));
	cr_assert(user_len);
	return user[3] & 15;
}

/* The serial of an SOA, which is the last record if there is one, is the time: a second or two
 * between the answers are no difference. */
static bool same_but_serial(const uint8_t *a, const uint8_t *b, size_t len)
{
	const uint8_t *type = a + WM_DNS_HEADER_LEN;
	size_t at = len - (a[11] ? WM_DNS_OPT_LEN : 0) - 20;

	while (*type)
		type += *type + 1u;
	if (a[9] != 1 && type[2] != 6 && type[2] != 255)
		return memcmp(a, b, len) == 0;
	return memcmp(a, b, at) == 0 && memcmp(a + at + 4, b + at + 4, len - at - 4) == 0;
}

/* What the kernel said to @p q is what userspace has just said. */
static void agrees(const struct frame *q, const struct frame *a, const char *name)
{
	cr_assert_eq(a->len - a->dns, user_len, "%s: %zu of %zu octets", name, a->len - a->dns,
		     user_len);
	cr_assert(same_but_serial(a->at + a->dns, user, user_len), "%s", name);
	check_envelope(q, a, q->v6);
}

static bool is_passed(const char *name, uint16_t type)
{
	struct frame q, a;

	query_frame(&q, false, name, type, 0);
	return !answered(&q, &a);
}

/* The kernel is asked, which may pass or not, userspace as often as it takes, and the kernel again.
 * @return RCODE. */
static unsigned ask(const char *name, uint16_t type)
{
	struct frame q, before, a;
	unsigned rcode = 0;
	bool early;

	query_frame(&q, false, name, type, 1232);
	early = answered(&q, &before);
	for (unsigned i = 0; i < ASKED; i++)
		rcode = ask_user(&q);
	if (early) /* made anew meanwhile */
		agrees(&q, &before, name);
	cr_assert(answered(&q, &a), "%s is passed", name);
	agrees(&q, &a, name);
	return rcode;
}

static unsigned answers(void)
{
	return (unsigned)user[6] << 8 | user[7];
}

/* --- what there is -----------------------------------------------------------------------------
 */
Test(dns_static, a_node_has_addresses)
{
	node("far", "10.9.8.7");
	cr_assert_eq(ask("far.node.mesh.internal", 1), 0);
	cr_assert_eq(answers(), 1);
	cr_assert_eq(ask("far.node.dc1.mesh.internal", 1), 0);
	cr_assert_eq(ask("far.node.mesh.internal", 28), 0);
	cr_assert_eq(answers(), 0, "NODATA");
	cr_assert_eq(ask("far.node.mesh.internal", 255), 0);
	cr_assert_eq(answers(), 1);
	cr_assert_eq(ask("n1.node.mesh.internal", 1), 0, "our own");
	cr_assert_geq(counter(WM_C_DNS_READY), 5);
	cr_assert_geq(counter(WM_C_DNS_NODATA), 1);
}

Test(dns_static, a_node_that_changes_is_not_told_of_as_it_was)
{
	node("far", "10.9.8.7");
	(void)ask("far.node.mesh.internal", 1);
	(void)ask("n1.node.mesh.internal", 1);
	node("far", "10.9.8.6");
	cr_assert_not(is_passed("n1.node.mesh.internal", 1), "it has not changed");
	(void)ask("far.node.mesh.internal", 1);
	cr_assert_eq(user[user_len - 12], 6, "the last octet before OPT");
	node_gone("far");
	cr_assert_eq(ask("far.node.mesh.internal", 1), 3);
	cr_assert_eq(ask("x.far.node.mesh.internal", 1), 3);
	cr_assert_geq(counter(WM_C_DNS_NXDOMAIN), 2);
	/* a name that is there below it makes it one without records */
	node("y.far", "10.9.8.5");
	cr_assert_eq(ask("far.node.mesh.internal", 1), 0);
	cr_assert_not(is_passed("x.far.node.mesh.internal", 1));
	node("far", "10.9.8.7");
	cr_assert_eq(ask("far.node.mesh.internal", 1), 0);
	cr_assert_eq(answers(), 1);
}

/* Names that are made up anew each time: the kernel needs no word of userspace. */
Test(dns_static, nodes_that_nobody_has_are_denied_at_once)
{
	static const char *const names[] = {
		"none.node.mesh.internal", "None.NODE.dc1.mesh.internal",
		"a.b.c.node.mesh.internal", "x.n1.node.mesh.internal", "a.far.node.mesh.internal"};
	static const uint16_t types[] = {1, 28, 33, TXT, 255};
	char name[64];
	struct frame q, a;

	node("y.far", "10.9.8.5");
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		for (unsigned t = 0; t < sizeof(types) / sizeof(*types); t++) {
			query_frame(&q, t & 1, names[i], types[t], t & 2 ? 1232 : 0);
			cr_assert(answered(&q, &a), "%s", names[i]);
			cr_assert_eq(ask_user(&q), 3, "%s", names[i]);
			agrees(&q, &a, names[i]);
		}
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "no-%u.node.mesh.internal", i);
		cr_assert_not(is_passed(name, i & 1 ? 28 : 1), "%s", name);
	}
	cr_assert_eq(counter(WM_C_DNS_READY), 0);
	cr_assert_eq(counter(WM_C_DNS_PASS_UNKNOWN), 0);
	/* a node, and what the name of one ends with */
	cr_assert(is_passed("y.far.node.mesh.internal", 1));
	cr_assert(is_passed("far.node.dc1.mesh.internal", 1));
	cr_assert(is_passed("n1.node.mesh.internal", 1));
	/* a dot within a label is none between two */
	query_frame(&q, false, "y.far.node.mesh.internal", 1, 0);
	q.at[q.dns + 12] = 5;
	q.at[q.dns + 14] = '.';
	seal(&q);
	cr_assert(answered(&q, &a));
	cr_assert_eq(ask_user(&q), 3);
	agrees(&q, &a, "y\\.far");
}

/* It is answered to who told of it before any entry is made. */
static void when_told(void *arg, int code, const char *text)
{
	cr_assert_eq(code, 0, "%s", text);
	*(bool *)arg = true;
	cr_assert(is_passed("new.node.mesh.internal", 1));
	cr_assert(is_passed("far.new.node.dc1.mesh.internal", 1));
}

Test(dns_static, a_node_that_just_came_is_not_denied)
{
	struct wm_node_draft d = {.address = "10.9.8.7"};
	const struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "new", .facts = &d},
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "Far.new", .facts = &d}};
	bool told = false;
	const struct wm_catalog_batch b = {.ops = ops, .count = 2, .done = when_told, .arg = &told};
	struct wm_err e = {0};
	unsigned part;

	cr_assert_not(is_passed("new.node.mesh.internal", 1));
	cr_assert_eq(wm_registry_catalog(registry, &b, &part, &e), 0, "%s", e.text);
	for (unsigned i = 0; !told && i < 100; i++)
		cr_assert_eq(wm_loop_turn(loop, 0), 0);
	cr_assert(told);
	node_gone("new");
	cr_assert(is_passed("new.node.mesh.internal", 1), "one lies below it");
	node_gone("far.new");
	cr_assert_not(is_passed("new.node.mesh.internal", 1));
	cr_assert_not(is_passed("far.new.node.mesh.internal", 1));
}

Test(dns_static, metadata_of_a_node)
{
	static char rack[] = "rack", value[] = "r7", note[] = "rfc1035-note", a[501];

	memset(a, 'a', 500);
	meta_count = 1;
	meta[0] = (struct wm_pair){rack, value};
	node("far", "10.9.8.7");
	cr_assert_eq(ask("far.node.mesh.internal", TXT), 0);
	cr_assert_eq(answers(), 1);
	meta[1] = (struct wm_pair){note, a};
	meta_count = 2;
	node("far", "10.9.8.7");
	cr_assert_eq(ask("far.node.mesh.internal", TXT), 0);
	cr_assert_eq(answers(), 2);
	cr_assert(is_passed("far.node.mesh.internal", TXT), "512 octets are too few");
	cr_assert_eq(counter(WM_C_DNS_PASS_SIZE), 1);
}

Test(dns_static, the_domains_name_server)
{
	cr_assert_eq(ask("mesh.internal", NS), 0);
	cr_assert_eq(answers(), 1);
	cr_assert_eq(user[11], 2, "its address, and OPT");
	cr_assert_eq(ask("ns.mesh.internal", 1), 0);
	cr_assert_eq(answers(), 1);
	cr_assert_eq(ask("ns.mesh.internal", 28), 0);
}

/* --- names of addresses ------------------------------------------------------------------------
 */
static const char *reverse(const char *address)
{
	static char out[80];
	uint8_t a[16];
	size_t at = 0;

	if (inet_pton(AF_INET, address, a) == 1) {
		snprintf(out, sizeof(out), "%u.%u.%u.%u.in-addr.arpa", a[3], a[2], a[1], a[0]);
		return out;
	}
	cr_assert_eq(inet_pton(AF_INET6, address, a), 1, "%s", address);
	for (int i = 15; i >= 0; i--)
		at += (size_t)snprintf(out + at, sizeof(out) - at, "%x.%x.", a[i] & 15u, a[i] >> 4);
	snprintf(out + at, sizeof(out) - at, "ip6.arpa");
	return out;
}

Test(dns_static, names_of_addresses_of_nodes_and_services)
{
	add("web", "a", "10.1.0.1", WM_PASSING);
	add("six", "b", "fd00::b", WM_PASSING);
	cr_assert_eq(ask(reverse("10.0.0.1"), PTR), 0, "ours");
	cr_assert_eq(ask(reverse("10.1.0.1"), PTR), 0);
	cr_assert_eq(ask(reverse("fd00::b"), PTR), 0);
	cr_assert_eq(answers(), 1);
	cr_assert_geq(counter(WM_C_DNS_READY), 3);
	/* a node has the address before a service has it */
	node("far", "fd00::b");
	cr_assert_eq(ask(reverse("fd00::b"), PTR), 0);
	cr_assert_not(is_passed(reverse("10.1.0.1"), PTR), "it has not changed");
	node("far", "10.1.0.1");
	(void)ask(reverse("10.1.0.1"), PTR);
	cr_assert_eq(ask(reverse("fd00::b"), PTR), 0);
	node_gone("far");
	cr_assert_eq(ask(reverse("10.1.0.1"), PTR), 0);
}

/* An address of nobody's is not ours to deny, and may be somebody's at any time. */
Test(dns_static, an_address_that_comes_and_goes)
{
	struct frame q;

	query_frame(&q, false, reverse("10.1.0.1"), PTR, 0);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(ask_user(&q), 5);
		cr_assert(is_passed(reverse("10.1.0.1"), PTR));
	}
	add("web", "a", "10.1.0.1", WM_PASSING);
	cr_assert_eq(ask(reverse("10.1.0.1"), PTR), 0);
	instance_gone("a");
	cr_assert(is_passed(reverse("10.1.0.1"), PTR));
	cr_assert_eq(ask_user(&q), 5);
	cr_assert(is_passed(reverse("10.1.0.1"), PTR));
}

Test(dns_static, virtual_addresses)
{
	char v4[80], v6[80], text[INET6_ADDRSTRLEN];
	const struct wm_service *s;

	add("web", "a", "10.1.0.1", WM_PASSING);
	s = wm_registry_service(registry, "web");
	snprintf(v4, sizeof(v4), "%s", reverse(inet_ntop(AF_INET, &s->vip4, text, sizeof(text))));
	snprintf(v6, sizeof(v6), "%s", reverse(inet_ntop(AF_INET6, &s->vip6, text, sizeof(text))));
	cr_assert_eq(ask(v4, PTR), 0);
	cr_assert_eq(ask(v6, PTR), 0);
	cr_assert_eq(answers(), 1);
	cr_assert_eq(ask(v6, 1), 0);
	cr_assert_eq(answers(), 0, "NODATA");
	cr_assert_eq(ask(reverse("240.0.0.77"), PTR), 3, "of our range, and nobody's");
	instance_gone("a");
	cr_assert_eq(ask(v4, PTR), 3);
	cr_assert_eq(ask(v6, PTR), 3);
	add("web", "a", "10.1.0.1", WM_PASSING);
	cr_assert_eq(ask(v4, PTR), 0);
	cr_assert_eq(ask(v6, PTR), 0);
}

/* The addresses of subsets are there while their policy and the service are. */
Test(dns_static, virtual_addresses_of_subsets)
{
	static const struct wm_policy_subset one = {.name = "v1",
						    .filter = "\"v1\" in Service.Tags"};
	static struct wm_policy_draft d;
	char text[INET6_ADDRSTRLEN];
	struct wm_err e = {0};
	struct in6_addr v6;
	struct in_addr v4;

	wm_policy_draft_init(&d, "web");
	d.p.subsets = &one;
	d.p.subsets_count = 1;
	add("web", "a", "10.1.0.1", WM_PASSING);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, &e), 0, "%s",
			     e.text);
		cr_assert_eq(wm_loop_turn(loop, 0), 0);
		cr_assert(wm_registry_label(registry, "web", "v1", &v4, &v6));
		inet_ntop(AF_INET, &v4, text, sizeof(text));
		cr_assert_eq(ask(reverse(text), PTR), 0);
		instance_gone("a");
		cr_assert_eq(ask(reverse(text), PTR), 3, "without the service");
		add("web", "a", "10.1.0.1", WM_PASSING);
		cr_assert_eq(ask(reverse(text), PTR), 0);
		cr_assert_eq(wm_registry_policy_delete(registry, "web", NULL, NULL, NULL, &e), 0);
		cr_assert_eq(wm_loop_turn(loop, 0), 0);
		cr_assert_eq(ask(reverse(text), PTR), 3, "without the policy");
	}
}

/* Whoever asks, or nobody: what has changed is soon there again. */
Test(dns_static, it_is_made_anew_before_somebody_asks)
{
	node("far", "10.9.8.7");
	(void)ask("far.node.mesh.internal", 1);
	(void)ask(reverse("10.9.8.7"), PTR);
	node("far", "10.9.8.6");
	while (is_passed("far.node.mesh.internal", 1))
		cr_assert_eq(wm_loop_turn(loop, 10), 0);
	for (unsigned i = 0; i < 50; i++)
		cr_assert_eq(wm_loop_turn(loop, 10), 0);
	cr_assert(is_passed(reverse("10.9.8.7"), PTR), "it is nobody's");
}

/* --- the operator's records --------------------------------------------------------------------
 */
static void records(const char *const *list)
{
	const struct wm_statics_config c = {.records = list,
					    .records_file = "",
					    .hosts_file = "",
					    .domain = "mesh.internal",
					    .alt_domain = "",
					    .datacenter = "dc1",
					    .ttl_s = 9};
	struct wm_statics *t = NULL;
	struct wm_err e = {0};

	if (list)
		cr_assert_eq(wm_statics_read(&c, &t, &e), 0, "%s", e.text);
	if (wm_statics_inside(t))
		mem.config->flags |= WM_CONFIG_F_RECORDS;
	else
		mem.config->flags &= ~WM_CONFIG_F_RECORDS;
	wm_dns_server_statics(server, t);
}

Test(dns_static, records_of_the_operator)
{
	static const char *const list[] = {"printer.mesh.internal 60 A 10.0.0.7",
					   "printer.mesh.internal 60 AAAA fd00::7",
					   "www.corp.example CNAME printer.mesh.internal",
					   "web.corp.example CNAME web.service.mesh.internal",
					   "corp.example MX 10 mail.corp.example",
					   "corp.example TXT \"a text\" \"and another\"",
					   "_x._tcp.corp.example SRV 1 2 80 printer.mesh.internal",
					   NULL};
	static const char *const fewer[] = {"printer.mesh.internal 60 A 10.0.0.8", NULL};
	struct frame q;

	add("web", "a", "10.1.0.1", WM_PASSING);
	records(list);
	cr_assert_eq(ask("printer.mesh.internal", 1), 0);
	cr_assert_eq(ask("printer.mesh.internal", 28), 0);
	cr_assert_eq(ask("printer.mesh.internal", 255), 0);
	cr_assert_eq(ask("www.corp.example", 1), 0);
	cr_assert_eq(answers(), 2, "alias and address");
	cr_assert_eq(ask("corp.example", 15), 0);
	cr_assert_eq(ask("corp.example", TXT), 0);
	cr_assert_eq(ask("corp.example", 1), 0);
	cr_assert_eq(answers(), 0, "NODATA");
	cr_assert_eq(ask("_x._tcp.corp.example", 33), 0);
	cr_assert_eq(answers(), 1);
	cr_assert_eq(ask("other.mesh.internal", 1), 3);
	/* what leads to health is not kept */
	query_frame(&q, false, "web.corp.example", 1, 0);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(ask_user(&q), 0);
	cr_assert_eq(answers(), 2);
	cr_assert(is_passed("web.corp.example", 1));
	records(fewer);
	cr_assert_eq(ask("printer.mesh.internal", 1), 0);
	cr_assert_eq(ask("printer.mesh.internal", 28), 0);
	cr_assert_eq(answers(), 0);
	cr_assert(is_passed("www.corp.example", 1), "theirs again");
	cr_assert(is_passed("_x._tcp.corp.example", 33));
	records(NULL);
	cr_assert_not(is_passed("printer.mesh.internal", 1), "denied by its form");
	cr_assert_geq(counter(WM_C_DNS_READY), 11);
}

/* --- before anybody asks --- */
#define FILL 12

static void begin_filled(void)
{
	begin_with(FILL);
}

TestSuite(dns_static_filled, .init = begin_filled, .fini = dns_teardown, .timeout = 300);

static uint64_t given(void)
{
	const uint64_t *c = wm_ready_counters(wm_dns_ready(server));

	return c[WM_READY_C_KEPT] - c[WM_READY_C_REMADE];
}

/* All of them are given, or as many as may be. */
static void filled(uint64_t n)
{
	uint64_t before = given();

	for (unsigned i = 0; i < 20000 && given() - before < n; i++)
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(wm_loop_turn(loop, 0), 0);
	cr_assert_eq(given() - before, n);
}

/* The kernel says it, and nobody has asked userspace; which says the same. */
static void is_ready(const char *name, uint16_t type, unsigned count)
{
	struct frame q, a;

	query_frame(&q, false, name, type, 1232);
	cr_assert(answered(&q, &a), "%s %u", name, type);
	(void)ask_user(&q);
	agrees(&q, &a, name);
	cr_assert_eq(answers(), count, "%s %u", name, type);
}

Test(dns_static_filled, records_are_there_before_anybody_asks)
{
	static const char *const list[] = {"printer.mesh.internal A 10.0.0.7",
					   "www.corp.example CNAME printer.mesh.internal",
					   "web.corp.example CNAME web.service.mesh.internal",
					   "corp.example MX 10 mail.corp.example",
					   "corp.example TXT \"a text\" \"and another\"",
					   NULL};
	static const char *const other[] = {"printer.mesh.internal A 10.0.0.8", NULL};

	add("web", "a", "10.1.0.1", WM_PASSING);
	records(list);
	cr_assert(is_passed("printer.mesh.internal", 1), "not yet");
	filled(9 + 1); /* the CNAME that leads to a service is none that health changes */
	is_ready("printer.mesh.internal", 1, 1);
	is_ready("printer.mesh.internal", 28, 0);
	is_ready("www.corp.example", 1, 2);
	is_ready("www.corp.example", 28, 1);
	is_ready("www.corp.example", 5, 1);
	is_ready("corp.example", 15, 1);
	is_ready("corp.example", TXT, 1);
	is_ready("corp.example", 1, 0);
	cr_assert(is_passed("web.corp.example", 1), "health may change it");
	records(other);
	cr_assert(is_passed("printer.mesh.internal", 1), "what was is not said any more");
	filled(2);
	is_ready("printer.mesh.internal", 1, 1);
	cr_assert_eq(user[user_len - WM_DNS_OPT_LEN - 1], 8);
	cr_assert(is_passed("corp.example", 15));
}

/* Soon after it is there, or has changed. */
static void soon(const char *name, uint16_t type, unsigned count)
{
	while (is_passed(name, type))
		cr_assert_eq(wm_loop_turn(loop, 10), 0);
	is_ready(name, type, count);
}

/* A query with a cookie of 7 octets: userspace's FORMERR is of it alone. */
static void malformed(void)
{
	static const uint8_t option[] = {0, 10, 0, 7, 1, 2, 3, 4, 5, 6, 7};
	struct frame q;

	query_frame(&q, false, "far.node.mesh.internal", 1, 1232);
	q.at[q.len - 1] = sizeof(option);
	memcpy(q.at + q.len, option, sizeof(option));
	q.len += sizeof(option);
	cr_assert_eq(ask_user(&q), 1);
}

static void begin_nodes(void)
{
	begin_with(100);
}

TestSuite(dns_static_nodes, .init = begin_nodes, .fini = dns_teardown, .timeout = 300);

Test(dns_static_nodes, nodes_are_there_before_anybody_asks)
{
	soon("mesh.internal", NS, 1);
	soon("ns.mesh.internal", 1, 1);
	soon("n1.node.mesh.internal", 1, 1);
	node("far", "10.9.8.7");
	soon("far.node.mesh.internal", 1, 1);
	soon("far.node.dc1.mesh.internal", 1, 1);
	soon("far.node.mesh.internal", 28, 0);
	malformed();
	node("far", "fd00::7");
	soon("far.node.mesh.internal", 28, 1);
	soon("far.node.dc1.mesh.internal", 1, 0);
	cr_assert_eq(counter(WM_C_DNS_PASS_SIZE), 0);
	for (unsigned i = 0; i < 30; i++) {
		char name[32];

		snprintf(name, sizeof(name), "h%u", i);
		node(name, "10.9.8.6");
	}
	cr_assert_not(wm_ready_foresees(wm_dns_ready(server)), "that is enough");
}

Test(dns_static_filled, as_many_as_may_be)
{
	char texts[FILL][40];
	const char *list[FILL + 1] = {NULL};

	for (unsigned i = 0; i < FILL; i++) {
		snprintf(texts[i], sizeof(texts[i]), "h%u.corp.example A 10.0.0.%u", i, i);
		list[i] = texts[i];
	}
	records(list);
	filled(FILL); /* and not twice as many */
}

/* --- whatever is asked -------------------------------------------------------------------------
 */
#define QUESTIONS 20000

static uint64_t seed;

static unsigned below(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

/* A question of any kind there is, in letters of any case. */
static void random_question(struct frame *q, char name[300])
{
	static const char *const fixed[] = {"mesh.internal", "ns.mesh.internal",
					    "printer.mesh.internal", "www.corp.example",
					    "corp.example"};
	static const uint16_t types[] = {1, 28, NS, PTR, TXT, 255, 15, 6, 33, 65};
	static const unsigned sizes[] = {0, 512, 800, 1232, 4096};
	char text[32];
	unsigned k = below(5);

	if (k == 0)
		snprintf(name, 300, "%s", fixed[below(5)]);
	else if (k == 1)
		snprintf(name, 300, "%sh%u.node.%smesh.internal", below(4) ? "" : "x.", below(12),
			 below(3) ? "" : "dc1.");
	else if (k == 2)
		snprintf(name, 300, "%s%u.9.8.10.in-addr.arpa", below(9) ? "" : "x.", below(12));
	else if (k == 3)
		snprintf(name, 300, "%u.0.0.240.in-addr.arpa", below(12));
	else
		snprintf(text, sizeof(text), "fd00::%x", below(12)),
			snprintf(name, 300, "%s", reverse(text));
	for (char *c = name; *c; c++)
		if (below(4) == 0 && *c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	query_frame(q, below(2), name, types[below(10)], sizes[below(5)]);
	q->at[q->dns + 2] = (uint8_t)below(2);	      /* RD */
	q->at[q->dns + 3] = (uint8_t)(below(2) << 4); /* CD */
	if (q->at[q->dns + 11] && below(2))
		q->at[q->len - 4] = 0x80; /* DO */
	seal(q);
}

static void random_change(void)
{
	char name[32], address[32];
	unsigned i = below(12);

	snprintf(name, sizeof(name), "h%u", i);
	if (below(3) && wm_registry_node_named(registry, name)) {
		node_gone(name);
		return;
	}
	snprintf(address, sizeof(address), below(2) ? "10.8.9.%u" : "fd00::%x", below(12));
	meta_count = below(3);
	node(name, address);
}

/* While nodes come and go: what the kernel says is at each moment what userspace would. */
Test(dns_static, kernel_and_userspace_say_the_same_octets)
{
	static const char *const list[] = {"printer.mesh.internal 60 A 10.0.0.7",
					   "www.corp.example CNAME printer.mesh.internal",
					   "corp.example MX 10 mail.corp.example", NULL};
	static char value[400], keys[2][2] = {"a", "b"};
	uint64_t first;

	seed = first = wm_random64();
	memset(value, 'v', sizeof(value) - 1);
	meta[0] = (struct wm_pair){keys[0], value};
	meta[1] = (struct wm_pair){keys[1], value};
	records(list);
	fprintf(stderr, "seed %llu\n", (unsigned long long)first);
	for (unsigned n = 0; n < QUESTIONS; n++) {
		struct frame q, a;
		char name[300];
		bool said;

		if (below(50) == 0)
			random_change();
		random_question(&q, name);
		said = answered(&q, &a);
		(void)ask_user(&q);
		if (said)
			agrees(&q, &a, name);
	}
	cr_assert_gt(counter(WM_C_DNS_READY), QUESTIONS / 10, "seed %llu",
		     (unsigned long long)first);
}
