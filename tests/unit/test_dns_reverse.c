/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* Names of addresses, and what is kept for them while the registry changes. */
#include "dns_help.h"
#include "userspace/base/prefix.h"

TestSuite(reverse, .init = dns_setup, .fini = dns_teardown);

#define A    1
#define NS   2
#define SOA  6
#define PTR  12
#define AAAA 28
#define ANY  255

/* The reverse name of an address in text, root label not written. */
static void name_of(const char *address, char out[80])
{
	uint8_t a[16];
	size_t at = 0;

	if (inet_pton(AF_INET, address, a) == 1) {
		snprintf(out, 80, "%u.%u.%u.%u.in-addr.arpa", a[3], a[2], a[1], a[0]);
		return;
	}
	cr_assert_eq(inet_pton(AF_INET6, address, a), 1, "%s", address);
	for (int i = 15; i >= 0; i--)
		at += (size_t)snprintf(out + at, 80 - at, "%x.%X.", a[i] & 15u, a[i] >> 4);
	snprintf(out + at, 80 - at, "IP6.arpa");
}

static void ask_address(const char *address, uint16_t type)
{
	char name[80];

	name_of(address, name);
	ask(name, type);
}

static void ptr_is(const char *address, const char *target, unsigned ttl)
{
	ask_address(address, PTR);
	cr_assert_eq(answer.rcode, 0, "%s: %u", address, answer.rcode);
	cr_assert_eq(answer.counts[1], 1, "%s", address);
	cr_assert_str_eq(answer.r[0].text, target, "%s: %s", address, answer.r[0].text);
	cr_assert_eq(answer.r[0].type, PTR);
	cr_assert_eq(answer.r[0].ttl, ttl, "%s: %u", address, answer.r[0].ttl);
	cr_assert(answer.flags & 0x0400, "authoritative");
	ask_address(address, ANY);
	cr_assert_eq(have(1, target), 1, "%s", address);
}

static void refused(const char *name, uint16_t type)
{
	ask(name, type);
	cr_assert_eq(answer.rcode, 5, "%s: %u", name, answer.rcode);
	cr_assert_eq(answer.counts[1] + answer.counts[2], 0);
	cr_assert_not(answer.flags & 0x0400);
}

static void refused_address(const char *address)
{
	char name[80];

	name_of(address, name);
	refused(name, PTR);
}

/* @p zone: whose SOA comes along. */
static void negative(const char *name, uint16_t type, unsigned rcode, const char *zone)
{
	ask(name, type);
	cr_assert_eq(answer.rcode, rcode, "%s: %u", name, answer.rcode);
	cr_assert_eq(answer.counts[1], 0, "%s", name);
	cr_assert_eq(answer.counts[2], 1, "%s", name);
	cr_assert_eq(answer.r[0].type, SOA);
	cr_assert_eq(strcasecmp(answer.r[0].owner, zone), 0, "%s: %s", name, answer.r[0].owner);
	cr_assert_eq(answer.r[0].ttl, 3);
}

static void catalog(enum wm_verb verb, const char *node, const char *address)
{
	const struct wm_node_draft facts = {.address = address};
	const struct wm_catalog_op op = {
		.object = WM_OBJECT_NODE, .verb = verb, .node = node, .facts = &facts};
	const struct wm_catalog_batch b = {.ops = &op, .count = 1};
	struct wm_err e = {0};
	unsigned failed;

	cr_assert_eq(wm_registry_catalog(registry, &b, &failed, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
}

static void gone(const char *id)
{
	cr_assert_eq(wm_registry_deregister(registry, id, NULL, NULL, NULL), 0);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
}

Test(reverse, nodes_then_services)
{
	add("web", "a", "10.1.0.1", 80, NULL, WM_CRITICAL);
	add("six", "b", "fd00::b", 80, NULL, WM_PASSING);
	add("here", "c", NULL, 80, NULL, WM_PASSING);
	ptr_is("10.0.0.1", "n1.node.dc1.mesh.internal.", 5);
	ptr_is("10.1.0.1", "web.service.dc1.mesh.internal.", 7);
	ptr_is("fd00::b", "six.service.dc1.mesh.internal.", 7);
	add("web", "d", "10.0.0.1", 81, NULL, WM_PASSING);
	ptr_is("10.0.0.1", "n1.node.dc1.mesh.internal.", 5);
	catalog(WM_VERB_SET, "Far.Away", "fd00::b");
	ptr_is("fd00::b", "Far.Away.node.dc1.mesh.internal.", 5);
	/* what the names lead to is the address again */
	ask("Far.Away.node.dc1.mesh.internal", AAAA);
	cr_assert_eq(have(1, "fd00::b"), 1);
	refused_address("10.9.9.9");
	refused_address("fd00::c");
	ask_address("10.1.0.1", A);
	cr_assert_eq(answer.rcode, 5, "its zone is another's");
}

Test(reverse, virtual_addresses)
{
	const struct wm_service *s;
	char v4[64], v6[64], name[80], zone[32];

	add("web", "a", "10.1.0.1", 80, NULL, WM_PASSING);
	s = wm_registry_service(registry, "web");
	inet_ntop(AF_INET, &s->vip4, v4, sizeof(v4));
	inet_ntop(AF_INET6, &s->vip6, v6, sizeof(v6));
	ptr_is(v4, "web.virtual.mesh.internal.", 7);
	ptr_is(v6, "web.virtual.mesh.internal.", 7);
	name_of(v4, name);
	snprintf(zone, sizeof(zone), "%u.in-addr.arpa.", ((const uint8_t *)&s->vip4)[0]);
	negative(name, A, 0, zone);
	gone("a");
	ask(name, PTR);
	cr_assert_eq(answer.rcode, 3, "the lease stays, the service is gone");
}

/* The same owner as text; a service is one label, whatever is in its name. */
Test(reverse, the_owner_for_people)
{
	static const uint8_t wire[] = "\5a.b\\\1\1 \2\177c",
			     at[16] = {[10] = 0xff, 0xff, 10, 1, 0, 1};
	struct wm_dns_owner o;
	char text[WM_DNS_TEXT_MAX];

	add("a.b", "x", "10.1.0.1", 80, NULL, WM_PASSING);
	ask_address("10.1.0.1", PTR);
	cr_assert(memmem(answer.raw, answer.len, "\3a.b\7service", 12), "one label");
	cr_assert_eq(wm_dns_owner(server, at, &o), 0);
	cr_assert_str_eq(o.name, "a\\.b.service.dc1.mesh.internal");
	cr_assert_str_eq(o.service->name, "a.b");
	cr_assert_null(o.node);
	gone("x");
	cr_assert_eq(wm_dns_owner(server, at, &o), 0);
	cr_assert_str_eq(o.name, "");
	cr_assert_eq(wm_dns_text(wire, text, sizeof(text)), 21);
	cr_assert_str_eq(text, "a\\.b\\\\\\001.\\032.\\127c");
	cr_assert_eq(wm_dns_text(wire, text, 12), 10, "cut at a label");
	cr_assert_str_eq(text, "a\\.b\\\\\\001");
	cr_assert_eq(wm_dns_label_text("a.b", 3, text, 4), 3, "cut at an octet");
	cr_assert_str_eq(text, "a\\.");
}

/* What wm_dns_text() writes is read back. */
Test(reverse, a_name_as_text_to_wire_form)
{
	static const struct {
		const char *text, *wire;
	} names[] = {{"", ""},
		     {".", ""},
		     {"A.Example", "\1a\7example"},
		     {"a.example.", "\1a\7example"},
		     {"a\\.b\\\\\\001.\\032.\\127c", "\5a.b\\\1\1 \2\177c"}};
	static const char *const none[] = {"..", "a..b", ".a", "a\\", "\\25", "\\256"};
	uint8_t wire[WM_DNS_NAME_MAX + 1];
	char text[260] = "";

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		cr_assert(wm_dns_wire(names[i].text, wire), "%s", names[i].text);
		cr_assert_str_eq((char *)wire, names[i].wire, "%s", names[i].text);
	}
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		cr_assert(!wm_dns_wire(none[i], wire), "%s", none[i]);
	memset(text, 'x', 253);
	text[61] = text[125] = text[189] = '.';
	cr_assert(wm_dns_wire(text, wire), "253 characters are 255 octets");
	cr_assert_eq(wire[254], 0);
	text[253] = 'x';
	cr_assert(!wm_dns_wire(text, wire), "one more");
	memset(text, 'x', 64);
	text[64] = '\0';
	cr_assert(!wm_dns_wire(text, wire), "a label of 64");
}

/* Of our ranges everything is ours to tell: RFC 8020 below, RFC 2308 for the SOA. */
Test(reverse, the_ranges_are_ours)
{
	static const char v6[] = "0.0.0.0.0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa.";
	char name[80];

	negative("1.2.3.250.in-addr.arpa", PTR, 3, "250.in-addr.arpa.");
	negative("2.3.250.in-addr.arpa", PTR, 0, "250.in-addr.arpa.");
	negative("250.in-addr.arpa", A, 0, "250.in-addr.arpa.");
	negative("0.1.2.3.250.in-addr.arpa", PTR, 3, "250.in-addr.arpa.");
	negative("x.3.250.in-addr.arpa", PTR, 3, "250.in-addr.arpa.");
	negative("256.3.250.in-addr.arpa", PTR, 3, "250.in-addr.arpa.");
	negative("01.2.3.250.in-addr.arpa", PTR, 3, "250.in-addr.arpa.");
	refused("in-addr.arpa", NS);
	refused("ip6.arpa", NS);
	refused("arpa", NS);
	refused("1.2.3.239.in-addr.arpa", PTR);
	refused("x.in-addr.arpa", PTR);
	refused("250.xn-addr.arpa", PTR);
	refused("7.7.d.f.ip6.arpa", PTR);
	name_of("fd77::1", name);
	strcpy(name + 64, "ip6.arpa");
	negative(name, PTR, 3, v6);
	negative(name + 2, PTR, 0, v6);
	negative(name + 32, PTR, 0, v6);
	refused(name + 34, PTR);
	refused_address("fd78::1");
}

/* So are those that the operator says: of a cluster's pods and services. */
Test(reverse, ranges_of_the_operator_are_ours)
{
	static const char *const ranges[] = {"10.244.0.0/16", "172.16.0.0/12", "fd12:3450::/28"};
	struct wm_guard_prefix list[3];

	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(wm_prefix_parse(ranges[i], &list[i], NULL), 0);
	add("web", "w", "10.244.1.2", 80, NULL, WM_PASSING);
	refused("9.9.244.10.in-addr.arpa", PTR);
	wm_dns_server_ranges(server, list, 3);
	negative("9.9.244.10.in-addr.arpa", PTR, 3, "244.10.in-addr.arpa.");
	negative("9.244.10.in-addr.arpa", PTR, 0, "244.10.in-addr.arpa.");
	negative("1.1.31.172.in-addr.arpa", PTR, 3, "31.172.in-addr.arpa.");
	negative("5.4.3.2.1.d.f.ip6.arpa", A, 0, "5.4.3.2.1.d.f.ip6.arpa.");
	refused("1.1.32.172.in-addr.arpa", PTR);
	refused("9.9.245.10.in-addr.arpa", PTR);
	refused("10.in-addr.arpa", PTR);
	refused("6.4.3.2.1.d.f.ip6.arpa", PTR);
	ask("2.1.244.10.in-addr.arpa", PTR);
	cr_assert_eq(have(1, "web.service.dc1.mesh.internal."), 1, "who is known has his name");
	ask("244.10.in-addr.arpa", SOA);
	cr_assert_eq(answer.counts[1], 1);
}

/* Whose SOA denials have is a zone, with a SOA and servers: RFC 1034 4.2.1. */
Test(reverse, the_ranges_are_zones)
{
	static const char *const zones[] = {"250.in-addr.arpa",
					    "0.0.0.0.0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa"};

	for (unsigned i = 0; i < 2; i++) {
		ask(zones[i], NS);
		cr_assert_eq(answer.counts[1], 1, "%s", zones[i]);
		cr_assert_eq(answer.counts[2], 0);
		cr_assert_eq(answer.r[0].type, NS);
		cr_assert_str_eq(answer.r[0].text, "ns.mesh.internal.");
		cr_assert_eq(have(3, "10.0.0.1"), 1, "its address comes along");
		ask(zones[i], SOA);
		cr_assert_eq(answer.counts[1], 1, "%s", zones[i]);
		cr_assert_eq(answer.counts[2], 0);
		cr_assert_eq(answer.r[0].type, SOA);
		cr_assert_eq(strncmp(answer.r[0].owner, zones[i], strlen(zones[i])), 0);
	}
}

/* Shorter than what it is compared with, at the end of what a name may take. */
Test(reverse, the_longest_foreign_name)
{
	char name[256];

	for (unsigned i = 0; i < 127; i++) {
		name[2 * i] = 'x';
		name[2 * i + 1] = '.';
	}
	name[253] = 0;
	refused(name, PTR);
}

/* Several services at one address: one name is told, and it does not change while it is true. */
Test(reverse, the_first_who_came_stays)
{
	char id[8];

	for (unsigned i = 0; i < 5; i++) {
		snprintf(id, sizeof(id), "s%u", i);
		add(id, id, "10.1.0.1", 80, NULL, WM_PASSING);
		ptr_is("10.1.0.1", "s0.service.dc1.mesh.internal.", 7);
	}
	add("s0", "s0b", "10.1.0.1", 81, NULL, WM_PASSING);
	gone("s0");
	ptr_is("10.1.0.1", "s0.service.dc1.mesh.internal.", 7);
	add("s0", "s0b", "10.1.0.1", 82, NULL, WM_CRITICAL);
	ptr_is("10.1.0.1", "s0.service.dc1.mesh.internal.", 7);
	gone("s2");
	add("s0", "s0b", "10.1.0.2", 82, NULL, WM_CRITICAL);
	ptr_is("10.1.0.2", "s0.service.dc1.mesh.internal.", 7);
	ask_address("10.1.0.1", PTR);
	cr_assert_eq(answer.counts[1], 1);
	cr_assert_neq(answer.r[0].text[1], '0');
	cr_assert_neq(answer.r[0].text[1], '2');
	gone("s1");
	gone("s3");
	ptr_is("10.1.0.1", "s4.service.dc1.mesh.internal.", 7);
	gone("s4");
	refused_address("10.1.0.1");
	add("s9", "s0b", "10.1.0.2", 82, NULL, WM_CRITICAL); /* another service's now */
	ptr_is("10.1.0.2", "s9.service.dc1.mesh.internal.", 7);
	add("s9", "s0b", "db.example.com", 82, NULL, WM_CRITICAL);
	refused_address("10.1.0.2");
}

Test(reverse, nodes_come_move_and_go)
{
	char name[16], address[32];

	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < 9; i++) {
			snprintf(name, sizeof(name), "n.%u.x", i);
			snprintf(address, sizeof(address), "10.%u.0.%u", 2 + round, i);
			catalog(WM_VERB_SET, name, address);
			snprintf(name, sizeof(name), "%u.x.node.consul", i);
			ask(name, A);
			cr_assert_eq(answer.rcode, 0, "a node's name ends with it");
			cr_assert_eq(answer.counts[1], 0);
		}
	refused_address("10.2.0.3");
	ptr_is("10.3.0.3", "n.3.x.node.dc1.mesh.internal.", 5);
	ask("x.node.mesh.internal", A);
	cr_assert_eq(answer.rcode, 0);
	for (unsigned i = 0; i < 9; i++) {
		snprintf(name, sizeof(name), "n.%u.x", i);
		catalog(WM_VERB_DELETE, name, NULL);
	}
	refused_address("10.3.0.3");
	ask("x.node.mesh.internal", A);
	cr_assert_eq(answer.rcode, 3);
	ask("3.x.node.mesh.internal", A);
	cr_assert_eq(answer.rcode, 3);
}

/* --- whatever happens, in whatever order ------------------------------------------------------ */
#define IDS	  12
#define ADDRESSES 3 /* so that they are shared nearly always */
#define STEPS	  600

static unsigned below(unsigned n)
{
	static uint64_t seed = 7;

	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

/* What the registry says of the address, looked at one by one. */
static bool holds(const char *service, const char *address)
{
	const struct wm_instance *i;
	size_t pos = 0;

	while ((i = wm_registry_next_instance(registry, &pos)))
		if ((!*service || strcmp(i->service->name, service) == 0) &&
		    strcmp(i->address, address) == 0)
			return true;
	return false;
}

Test(reverse, as_the_registry_has_it)
{
	char id[8], service[64], address[16];

	for (unsigned n = 0; n < STEPS; n++) {
		snprintf(id, sizeof(id), "i%u", below(IDS));
		snprintf(service, sizeof(service), "s%u", below(4));
		snprintf(address, sizeof(address), "10.7.0.%u", below(ADDRESSES));
		if (below(3))
			add(service, id, address, 80 + below(2), NULL, WM_PASSING);
		else if (wm_registry_instance(registry, id))
			gone(id);
		for (unsigned k = 0; k < ADDRESSES; k++) {
			snprintf(address, sizeof(address), "10.7.0.%u", k);
			ask_address(address, PTR);
			if (!holds("", address)) {
				cr_assert_eq(answer.rcode, 5, "step %u", n);
				continue;
			}
			cr_assert_eq(answer.counts[1], 1, "step %u", n);
			snprintf(service, sizeof(service), "%.2s", answer.r[0].text);
			cr_assert(holds(service, address), "step %u: %s", n, answer.r[0].text);
		}
	}
}

/* A server that begins later comes to know the same, and until then does not say no. */
#define MANY 900

static void many(unsigned i, char id[8], char address[24])
{
	snprintf(id, 8, "m%u", i);
	snprintf(address, 24, "10.8.%u.%u", i / 200, i % 200);
}

Test(late, what_was_there_before, .init = registry_setup, .fini = dns_teardown)
{
	unsigned unknown = 0, turns = 0;
	char id[8], address[24];

	for (unsigned i = 0; i < MANY; i++) {
		many(i, id, address);
		add("web", id, address, 80, NULL, WM_PASSING);
	}
	server = wm_dns_server_new(loop, registry, tables, &dns_config);
	cr_assert(server);
	for (unsigned i = 0; i < MANY; i++) {
		many(i, id, address);
		ask_address(address, PTR);
		cr_assert(answer.rcode == 0 || answer.rcode == 2, "%s: %u", address, answer.rcode);
		unknown += answer.rcode == 2;
	}
	cr_assert_gt(unknown, 0);
	ptr_is("10.0.0.1", "n1.node.dc1.mesh.internal.", 5);
	for (unsigned i = 0; i < MANY; i += 3) { /* some go, move or are written again meanwhile */
		many(i, id, address);
		if (i % 2)
			gone(id);
		else
			add("db", id, i % 4 ? "10.9.0.1" : address, 80, NULL, WM_PASSING);
	}
	do {
		cr_assert_lt(turns++, 10000);
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
		ask_address("10.9.9.9", PTR);
	} while (answer.rcode == 2);
	cr_assert_eq(answer.rcode, 5);
	for (unsigned i = 0; i < MANY; i++) {
		const char *service =
			i % 3 ? "web.service.dc1.mesh.internal." : "db.service.dc1.mesh.internal.";

		many(i, id, address);
		if (i % 3 || i % 4 == 0)
			ptr_is(address, service, 7);
		else
			refused_address(address);
	}
	ptr_is("10.9.0.1", "db.service.dc1.mesh.internal.", 7);
	for (unsigned i = 2; i < MANY; i += 2)
		if (i % 3 == 0 && i % 4) {
			many(i, id, address);
			gone(id);
		}
	refused_address("10.9.0.1");
}
