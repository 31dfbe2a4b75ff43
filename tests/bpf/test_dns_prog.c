/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* What the DNS programs do with packets, octet by octet, and with each packet cut at every octet.
 */
#include "dns_fixture.h"
#include "tests/unit/chi_square.h"
#include "userspace/base/clock.h"
#include "waymark/dns_answer.h"

#include <stdlib.h>

TestSuite(dns_prog, .init = dns_setup, .fini = dns_teardown, .timeout = 300);

#define LONGEST /* 63 octets: the longest service */                                               \
	"a123456789b123456789c123456789d123456789e123456789f123456789abc"

/* The answer of a program against the octets that it must be. */
static void expect(const struct frame *q, const struct frame *a, const char *hex)
{
	const uint8_t *p = a->at + a->dns;
	size_t n = a->len - a->dns, i;
	unsigned v;

	for (i = 0; *hex; hex += 2) {
		while (*hex == ' ')
			hex++;
		cr_assert_eq(sscanf(hex, "%2x", &v), 1);
		cr_assert_lt(i, n);
		cr_assert_eq(p[i], v, "octet %zu is %02x, not %02x", i, p[i], v);
		i++;
	}
	cr_assert_eq(i, n);
	check_envelope(q, a, q->v6);
}

Test(dns_prog, byte_exact_answers)
{
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	add("web", "b", "fd00::9", WM_PASSING);
	query_frame(&q, false, "WeB.service.mesh.internal", 1, 0);
	cr_assert_eq(run(WM_PROG_DNS_LO, &q, &a), TC_ACT_OK);
	expect(&q, &a,
	       "beef 8500 0001 0001 0000 0000"
	       "03576542 0773657276696365 046d657368 08696e7465726e616c 00 0001 0001"
	       "c00c 0001 0001 00000009 0004 0a010203");
	query_frame(&q, true, "web.service.mesh.internal", 28, 4096);
	cr_assert_eq(run(WM_PROG_DNS_LO, &q, &a), TC_ACT_OK);
	expect(&q, &a,
	       "beef 8500 0001 0001 0000 0001"
	       "03776562 0773657276696365 046d657368 08696e7465726e616c 00 001c 0001"
	       "c00c 001c 0001 00000009 0010 fd000000000000000000000000000009"
	       "00 0029 04d0 00000000 0000");
}

/* RFC 8482 4.1: one set of what there is, IPv4 where it is. */
Test(dns_prog, any_is_one_set_of_addresses)
{
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	add("web", "b", "fd00::9", WM_PASSING);
	add("six", "c", "fd00::a", WM_PASSING);
	query_frame(&q, false, "web.service.mesh.internal", 255, 0);
	cr_assert_eq(run(WM_PROG_DNS_LO, &q, &a), TC_ACT_OK);
	expect(&q, &a,
	       "beef 8500 0001 0001 0000 0000"
	       "03776562 0773657276696365 046d657368 08696e7465726e616c 00 00ff 0001"
	       "c00c 0001 0001 00000009 0004 0a010203");
	query_frame(&q, true, "six.service.mesh.internal", 255, 0);
	cr_assert_eq(run(WM_PROG_DNS_VETH, &q, &a), TC_ACT_REDIRECT);
	expect(&q, &a,
	       "beef 8500 0001 0001 0000 0000"
	       "03736978 0773657276696365 046d657368 08696e7465726e616c 00 00ff 0001"
	       "c00c 001c 0001 00000009 0010 fd00000000000000000000000000000a");
	query_frame(&q, false, "six.virtual.mesh.internal", 255, 0);
	cr_assert(answered(&q, &a));
	cr_assert_eq(a.at[a.dns + 7], 1);
	cr_assert_eq(a.at[q.len + 3], 28);
}

Test(dns_prog, both_transports_both_programs_any_length)
{
	static const char *const names[] = {
		"a.service.mesh.internal",	  "ab.service.mesh.internal",
		"abc.service.mesh.internal",	  LONGEST ".service.mesh.internal",
		LONGEST ".virtual.mesh.internal", "ab.virtual.mesh.internal"};
	struct frame q, a;

	add("a", "1", "10.1.0.1", WM_PASSING);
	add("ab", "2", "10.1.0.2", WM_PASSING);
	add("abc", "3", "10.1.0.3", WM_PASSING);
	add(LONGEST, "4", "10.1.0.4", WM_PASSING);
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		for (unsigned how = 0; how < 8; how++) {
			enum wm_prog_index prog = how & 4 ? WM_PROG_DNS_VETH : WM_PROG_DNS_LO;

			query_frame(&q, how & 1, names[i], 1, how & 2 ? 1232 : 0);
			cr_assert_eq(run(prog, &q, &a), how & 4 ? TC_ACT_REDIRECT : TC_ACT_OK,
				     "%s %u", names[i], how);
			cr_assert_eq(a.at[a.dns + 7], 1, "%s %u", names[i], how);
			check_envelope(&q, &a, q.v6 || how & 4);
			if (how & 4) {
				cr_assert_eq(memcmp(q.at, a.at + 6, 6), 0);
				cr_assert_eq(memcmp(q.at + 6, a.at, 6), 0);
			}
		}
	cr_assert_eq(counter(WM_C_DNS_ANSWERED), 48);
	cr_assert_eq(counter(WM_C_DNS_QUERY), 48);
}

Test(dns_prog, weights_rotate_and_health_decides)
{
	unsigned first[4] = {0};
	struct frame q, a;
	char id[8], address[16];

	for (unsigned i = 0; i < 4; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		snprintf(address, sizeof(address), "10.1.0.%u", i);
		add("web", id, address, i == 3 ? WM_CRITICAL : WM_PASSING);
	}
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	for (unsigned n = 0; n < 300; n++) {
		cr_assert(answered(&q, &a));
		cr_assert_eq(a.at[a.dns + 7], 3);
		first[a.at[a.len - 3 * 16 + 15]]++;
	}
	/* 100 each are expected, and 30 is eight deviations away */
	cr_assert(first[0] > 30 && first[1] > 30 && first[2] > 30 && !first[3], "%u %u %u %u",
		  first[0], first[1], first[2], first[3]);
	cr_assert_eq(
		wm_tables_state(tables, wm_registry_instance(registry, "i0")->hash, WM_STATE_DOWN),
		0);
	cr_assert(answered(&q, &a));
	cr_assert_eq(a.at[a.dns + 7], 2);
}

/* As connect() passes it over: in the kernel and in userspace, until its time is over. */
Test(dns_prog, who_is_ejected_is_not_named)
{
	struct frame q, a;
	uint32_t at = 0;

	add("web", "1", "10.1.0.1", WM_PASSING);
	add("web", "2", "10.1.0.2", WM_PASSING);
	while (mem.backends[at].addr4_be != inet_addr("10.1.0.1"))
		at++;
	eject(at, wm_clock_ns() + 3600 * WM_NS_PER_S);
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	for (int i = 0; i < 20; i++) {
		cr_assert(answered(&q, &a));
		cr_assert_eq(a.at[a.dns + 7], 1, "one record");
		cr_assert_eq(a.at[a.len - 1], 2);
	}
	eject(at, wm_clock_ns());
	cr_assert(answered(&q, &a));
	cr_assert_eq(a.at[a.dns + 7], 2);
	for (uint32_t i = 0; i < mem.backends_cap; i++)
		eject(i, wm_clock_ns() + 3600 * WM_NS_PER_S);
	cr_assert(!answered(&q, &a), "nobody is left: userspace says what there is");
}

static void many(const char *name, unsigned n, const char *prefix)
{
	char id[16], address[32];

	for (unsigned i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "%.1s%u", name, i);
		snprintf(address, sizeof(address), "%s%u", prefix, i + 1);
		add(name, id, address, WM_PASSING);
	}
}

/* All that fits the client's size up to 1232 octets; where something does not, userspace says so.
 */
Test(dns_prog, all_records_that_fit)
{
	static const struct {
		uint16_t type;
		unsigned edns, fit; /* 12 + 31 octets before the records, 11 behind */
	} cases[] = {
		{1, 0, (512 - 43) / 16},      {1, 512, (512 - 54) / 16},
		{1, 700, (700 - 54) / 16},    {1, 1232, (1232 - 54) / 16},
		{1, 65535, (1232 - 54) / 16}, {28, 0, (512 - 43) / 28},
		{28, 1232, (1232 - 54) / 28},
	};
	struct frame q, a;
	char id[16];

	many("web", 80, "10.1.0.");
	for (unsigned i = 80; i-- > 0;) {
		for (unsigned c = 0; c < sizeof(cases) / sizeof(*cases); c++)
			for (unsigned how = 0; how < 4 && cases[c].type == 1; how++) {
				query_frame(&q, how & 1, "web.service.mesh.internal", 1,
					    cases[c].edns);
				run(how & 2 ? WM_PROG_DNS_VETH : WM_PROG_DNS_LO, &q, &a);
				if (i + 1 > cases[c].fit) {
					cr_assert(same_frame(&q, &a), "%u %u", i, c);
					continue;
				}
				cr_assert_eq(a.at[a.dns + 7], i + 1, "%u %u", i, c);
				check_envelope(&q, &a, how & 3);
			}
		snprintf(id, sizeof(id), "w%u", i);
		cr_assert_eq(wm_tables_state(tables, wm_registry_instance(registry, id)->hash,
					     WM_STATE_DOWN),
			     0);
	}
	many("six", 80, "fd00::");
	for (unsigned i = 80; i-- > 0;) {
		for (unsigned c = 5; c < sizeof(cases) / sizeof(*cases); c++) {
			query_frame(&q, true, "six.service.mesh.internal", 28, cases[c].edns);
			run(WM_PROG_DNS_VETH, &q, &a);
			cr_assert_eq(same_frame(&q, &a), i + 1 > cases[c].fit);
			if (i + 1 <= cases[c].fit)
				check_envelope(&q, &a, true);
		}
		snprintf(id, sizeof(id), "s%u", i);
		cr_assert_eq(wm_tables_state(tables, wm_registry_instance(registry, id)->hash,
					     WM_STATE_DOWN),
			     0);
	}
	cr_assert_gt(counter(WM_C_DNS_PASS_SIZE), 0);
}

static void limited(void)
{
	a_record_limit = 3;
	dns_setup();
}

TestSuite(dns_limited, .init = limited, .fini = dns_teardown, .timeout = 300);

Test(dns_limited, a_record_limit)
{
	unsigned seen[128] = {0}, even[128] = {0};
	struct frame q, a;

	many("web", 100, "10.1.0.");
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	for (unsigned n = 0; n < 10000; n++) {
		cr_assert(answered(&q, &a));
		cr_assert_eq(a.at[a.dns + 7], 3);
		for (unsigned i = 0; i < 3; i++)
			seen[a.at[a.len - 1 - 16 * i] - 1]++;
	}
	for (unsigned i = 0; i < 100; i++)
		even[i] = 1;
	chi_square("one of three", seen, even, 100);
}

/* --- NODATA ----------------------------------------------------------------------------------- */

/* An answer without records: the SOA, of which the serial is the wall clock. */
static void expect_nodata(const struct frame *q, struct frame *a, bool edns)
{
	uint8_t *soa = a->at + q->dns + 12 + 31;
	uint32_t serial = (uint32_t)soa[30] << 24 | (uint32_t)soa[31] << 16 |
			  (uint32_t)soa[32] << 8 | soa[33];

	cr_assert_leq(llabs((long long)serial - wm_clock_wall_s()), 60);
	check_envelope(q, a, q->v6);
	memset(soa + 30, 0, 4);
	cr_assert_eq(a->len, a->dns + 12 + 31 + 50 + (edns ? 11 : 0));
	cr_assert_eq(memcmp(q->at + q->dns + 12, a->at + a->dns + 12, 31), 0);
	cr_assert_eq(
		memcmp(a->at + a->dns,
		       edns ? "\xbe\xef\x85\0\0\1\0\0\0\1\0\1" : "\xbe\xef\x85\0\0\1\0\0\0\1\0\0",
		       12),
		0);
	/* owner, SOA, IN, TTL 3, 38 octets; ns and hostmaster of the name at octet 24 */
	cr_assert_eq(memcmp(soa,
			    "\xc0\x18\0\6\0\1\0\0\0\3\0\x26"
			    "\2ns\xc0\x18\12hostmaster\xc0\x18"
			    "\0\0\0\0\0\0\x0e\x10\0\0\2\x58\0\1\x51\x80\0\0\0\3",
			    50),
		     0);
}

Test(dns_prog, nodata_with_soa)
{
	static const uint16_t types[] = {28, 6, 15, 16, 65, 257};
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	add("vip", "b", "10.1.2.3", WM_PASSING);
	for (unsigned i = 0; i < sizeof(types) / sizeof(*types); i++)
		for (unsigned how = 0; how < 4; how++) {
			query_frame(&q, how & 1, "wEb.service.mesh.internal", types[i],
				    how & 2 ? 1232 : 0);
			cr_assert(answered(&q, &a), "type %u", types[i]);
			expect_nodata(&q, &a, how & 2);
		}
	query_frame(&q, false, "vIp.virtual.mesh.internal", 65, 0);
	cr_assert(answered(&q, &a));
	expect_nodata(&q, &a, false);
	cr_assert_eq(counter(WM_C_DNS_NODATA), 25);
	/* nobody usable is another answer, and not ours */
	cr_assert_eq(
		wm_tables_state(tables, wm_registry_instance(registry, "a")->hash, WM_STATE_DOWN),
		0);
	query_frame(&q, false, "web.service.mesh.internal", 28, 0);
	cr_assert_not(answered(&q, &a));
	cr_assert_eq(counter(WM_C_DNS_PASS_EMPTY), 1);
}

/* A usable backend without any address is no reason to say that there is nothing else. */
Test(dns_prog, no_word_on_who_has_no_address)
{
	struct wm_want_backend b = {.instance = 1, .port = 80, .weight = 1, .state = WM_STATE_UP};
	struct wm_want_set w = {.service = "web", .backends = &b, .backends_count = 1};
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	cr_assert_eq(wm_tables_put(tables, &w, NULL, NULL), 0);
	query_frame(&q, false, "web.service.mesh.internal", 28, 0);
	cr_assert_not(answered(&q, &a));
	cr_assert_eq(counter(WM_C_DNS_PASS_EMPTY), 1);
}

/* A part of a service has a label more in front of it: the SOA is the domain's all the same. */
Test(dns_prog, nodata_of_a_part_of_a_service)
{
	struct wm_want_backend b = {.instance = 1,
				    .addr4_be = inet_addr("10.1.2.4"),
				    .port = 80,
				    .weight = 1,
				    .state = WM_STATE_UP};
	struct wm_want_set w = {.service = "web",
				.label = "v2.x",
				.vip4_be = inet_addr("240.1.2.3"),
				.backends = &b,
				.backends_count = 1};
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	cr_assert_eq(wm_tables_put(tables, &w, NULL, NULL), 0);
	for (unsigned how = 0; how < 2; how++) {
		query_frame(&q, false,
			    how ? "v2.x.web.virtual.mesh.internal"
				: "v2.x.web.service.mesh.internal",
			    28, 0);
		cr_assert(answered(&q, &a));
		cr_assert_eq(a.at[a.dns + 9], 1);
		/* behind the header, "v2", "x", "web" and a word of seven letters */
		cr_assert_eq(a.at[a.len - 50], 0xc0);
		cr_assert_eq(a.at[a.len - 49], 12 + 3 + 2 + 4 + 8);
	}
}

/* We have no signatures; the bit comes back all the same: RFC 3225 3. */
Test(dns_prog, the_do_bit_comes_back)
{
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	query_frame(&q, false, "web.service.mesh.internal", 1, 4096);
	memset(q.at + q.len - 4, 0xff, 2);
	seal(&q);
	cr_assert(answered(&q, &a));
	cr_assert_eq(memcmp(a.at + a.len - 11, "\0\0\x29\4\xd0\0\0\x80\0\0\0", 11), 0);
	check_envelope(&q, &a, false);
}

/* A query whose options are longer than the answer's records. */
Test(dns_prog, an_answer_that_is_shorter)
{
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	for (unsigned how = 0; how < 4; how++) {
		query_frame(&q, how & 1, "web.service.mesh.internal", 1, 1232);
		put16(q.at + q.len - 2, 150);
		memset(q.at + q.len, 0x5a, 150);
		put16(q.at + q.len + 2, 146);
		q.len += 150;
		seal(&q);
		run(how & 2 ? WM_PROG_DNS_VETH : WM_PROG_DNS_LO, &q, &a);
		cr_assert_eq(a.len, q.len - 150 + 16);
		check_envelope(&q, &a, how != 0);
	}
}

/* A frame that ends early, by its own lengths or against them, is never answered: nothing may be
 * built on octets that are not there. The kernel's test run takes no frame without an IP header. */
Test(dns_prog, cut_at_every_octet)
{
	struct frame whole, q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	for (unsigned how = 0; how < 4; how++) {
		query_frame(&whole, how & 1, "web.service.mesh.internal", 1, how & 2 ? 1232 : 0);
		cr_assert(answered(&whole, &a));
		for (size_t len = whole.dns - 8; len < whole.len; len++) {
			q = whole;
			q.len = len;
			cr_assert_not(answered(&q, &a), "cut to %zu", len);
			if (len < whole.dns)
				continue;
			seal(&q);
			cr_assert_not(answered(&q, &a), "sealed at %zu", len);
		}
	}
}

/* While the operator has records of names of ours, userspace knows which. */
Test(dns_prog, names_that_may_be_the_operators_are_not_denied)
{
	uint64_t before = counter(WM_C_DNS_PASS_UNKNOWN);
	struct frame q, a;

	query_frame(&q, false, "printer.mesh.internal", 1, 0);
	cr_assert(answered(&q, &a));
	cr_assert_eq(counter(WM_C_DNS_NXDOMAIN), 1);
	mem.config->flags |= WM_CONFIG_F_RECORDS;
	cr_assert(!answered(&q, &a));
	cr_assert_eq(counter(WM_C_DNS_PASS_UNKNOWN), before + 1);
}

Test(dns_prog, what_is_not_ours_is_not_counted)
{
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	q.at[ETH + 19] = 2; /* another address */
	seal(&q);
	cr_assert_not(answered(&q, &a));
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	put16(q.at + q.dns - 6, 8601); /* another port */
	seal(&q);
	cr_assert_not(answered(&q, &a));
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	q.at[ETH + 9] = IPPROTO_TCP;
	cr_assert_not(answered(&q, &a));
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	put16(q.at + 12, 0x0806); /* ARP */
	cr_assert_not(answered(&q, &a));
	cr_assert_eq(counter(WM_C_DNS_QUERY), 0);
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	put16(q.at + q.dns - 6, 53); /* the second port */
	seal(&q);
	cr_assert(answered(&q, &a));
	mem.config->flags = 0;
	cr_assert_not(answered(&q, &a));
}

Test(dns_prog, stale_tables_pass)
{
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	mem.config->stale_after_ns = 1000000000;
	mem.config->confirmed_ns = wm_clock_ns() - 2000000000;
	cr_assert_not(answered(&q, &a));
	cr_assert_eq(counter(WM_C_DNS_PASS_STALE), 1);
	mem.config->confirmed_ns = wm_clock_ns();
	cr_assert(answered(&q, &a));
}

/* The kernel's table holds another name under the same hash: a miss, never a wrong answer. */
Test(dns_prog, a_collision_is_a_miss)
{
	const struct wm_plane_ops *ops = wm_plane_ops(plane);
	struct wm_name_key k;
	struct wm_name v;
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	for (bool first = true; !ops->name_next(ops->arg, first, &k, &v); first = false)
		if (v.kind == WM_NAME_SERVICE)
			break;
	v.name[1] ^= 1;
	cr_assert_eq(ops->name_put(ops->arg, &k, &v), 0);
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	cr_assert_not(answered(&q, &a));
	cr_assert_eq(counter(WM_C_DNS_PASS_COLLISION), 1);
	v.name[1] ^= 1;
	v.len++; /* the same as far as the question goes, and longer */
	cr_assert_eq(ops->name_put(ops->arg, &k, &v), 0);
	cr_assert_not(answered(&q, &a));
	cr_assert_eq(counter(WM_C_DNS_PASS_COLLISION), 2);
	v.len--;
	v.name[v.len - 2] ^= 1; /* the last letter */
	cr_assert_eq(ops->name_put(ops->arg, &k, &v), 0);
	cr_assert_not(answered(&q, &a));
	v.name[v.len - 2] ^= 1;
	cr_assert_eq(ops->name_put(ops->arg, &k, &v), 0);
	cr_assert(answered(&q, &a));
}

/* A set that is republished between word and head: the head carries another generation. */
Test(dns_prog, a_torn_set_passes)
{
	struct frame q, a;
	uint32_t set;

	add("web", "a", "10.1.2.3", WM_PASSING);
	set = (uint32_t)wm_tables_set_of(tables, "web");
	mem.heads[mem.sets[set].table.head].generation++;
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	cr_assert_not(answered(&q, &a));
	cr_assert_eq(counter(WM_C_DNS_PASS_TORN), 1);
}

/* --- what one packet in many thousands meets ------------------------------------------------- */

/* The checksum is mended in two steps, and either may come by way of zero: each of the 65536 sums
 * that a datagram can have is made once, by its id. Zero on the wire would mean "none", which IPv6
 * forbids. */
Test(dns_prog, every_checksum)
{
	static const enum wm_prog_index progs[] = {WM_PROG_DNS_LO, WM_PROG_DNS_VETH,
						   WM_PROG_DNS_VETH};
	static const bool v6[] = {true, true, false};
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	for (unsigned how = 0; how < 3; how++) {
		query_frame(&q, v6[how], "web.service.mesh.internal", 1, 0);
		for (unsigned id = 0; id < 65536; id++) {
			const uint8_t *udp = a.at + q.dns - 8;

			put16(q.at + q.dns, id);
			seal(&q);
			if (!q.at[q.dns - 2] && !q.at[q.dns - 1])
				q.at[q.dns - 2] = q.at[q.dns - 1] = 0xff;
			run(progs[how], &q, &a);
			cr_assert(udp[6] || udp[7], "%u: id %04x has no checksum", how, id);
			cr_assert_eq(udp_sum(&a), 0xffff, "%u: id %04x", how, id);
		}
	}
	cr_assert_eq(counter(WM_C_DNS_ANSWERED), 3 * 65536);
}

/* Every length that the name of a service can have: odd and even, each end within a word. */
Test(dns_prog, every_length_of_a_name)
{
	char label[64] = "", name[128];
	struct frame q, a;

	for (unsigned n = 1; n <= 60; n++) {
		label[n - 1] = (char)('a' + n % 26);
		add(label, label, n % 2 ? "10.1.0.7" : "fd00::7", WM_PASSING);
		for (unsigned how = 0; how < 8; how++) {
			size_t records = (n % 2 ? 16 : 28) + (how & 2 ? 11 : 0);

			snprintf(name, sizeof(name), "%s.service.mesh.internal", label);
			query_frame(&q, how & 1, name, n % 2 ? 1 : 28, how & 2 ? 1232 : 0);
			run(how & 4 ? WM_PROG_DNS_VETH : WM_PROG_DNS_LO, &q, &a);
			cr_assert_eq(a.len, q.len - (how & 2 ? 11 : 0) + records, "%u %u", n, how);
			check_envelope(&q, &a, q.v6 || how & 4);
		}
	}
}

/* A client without a checksum over IPv4 gets an answer without one. */
Test(dns_prog, no_checksum_stays_none)
{
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	put16(q.at + q.dns - 2, 0);
	cr_assert_eq(run(WM_PROG_DNS_VETH, &q, &a), TC_ACT_REDIRECT);
	cr_assert_eq(a.at[a.dns - 2] | a.at[a.dns - 1], 0);
	check_envelope(&q, &a, false);
}

/* Ethernet fills short frames up: what lies behind the datagram is no part of it. */
Test(dns_prog, padding_behind_the_datagram)
{
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	for (unsigned v6 = 0; v6 < 2; v6++) {
		query_frame(&q, v6, "web.service.mesh.internal", 1, 0);
		memset(q.at + q.len, 0x5a, 18);
		q.len += 18;
		cr_assert(answered(&q, &a));
		cr_assert_eq(a.len, q.len - 18 + 16);
		check_envelope(&q, &a, v6);
	}
}

/* A datagram that claims more octets than its IP packet has, with the rest of a query in the
 * padding: those octets are nobody's. */
Test(dns_prog, a_datagram_longer_than_its_packet)
{
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	for (unsigned v6 = 0; v6 < 2; v6++)
		for (unsigned less = 1; less < 30; less++) {
			uint8_t *ip = q.at + ETH;

			query_frame(&q, v6, "web.service.mesh.internal", 1, 0);
			if (v6) {
				put16(ip + 4, q.len - (q.dns - 8) - less);
			} else {
				put16(ip + 2, q.len - ETH - less);
				put16(ip + 10, 0);
				put16(ip + 10, ~sum16(ip, 20, 0) & 0xffff);
			}
			cr_assert_not(answered(&q, &a), "%u", less);
		}
	cr_assert_eq(counter(WM_C_DNS_PASS_MALFORMED), 58);
}

/* The program's buffer still has the question before: it completes none that is cut short. */
Test(dns_prog, a_question_cut_short_does_not_go_on_in_the_one_before)
{
	struct frame whole, q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	query_frame(&whole, false, "web.service.mesh.internal", 1, 0);
	for (unsigned less = 1; less <= 27 + 4; less++) {
		cr_assert(answered(&whole, &a));
		q = whole;
		q.len -= less;
		seal(&q);
		cr_assert_not(answered(&q, &a), "%u", less);
	}
	cr_assert_eq(counter(WM_C_DNS_PASS_MALFORMED), 27 + 4);
}

/* Addresses behind the used entries of the configuration are not listened on. */
Test(dns_prog, only_configured_addresses)
{
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	for (unsigned used = 1; used <= WM_DNS_LISTEN_MAX; used++) {
		mem.config->dns_addr4_count = mem.config->dns_addr6_count = (uint8_t)used;
		for (unsigned i = 1; i < WM_DNS_LISTEN_MAX; i++) {
			mem.config->dns_addr4_be[i] = htonl(INADDR_LOOPBACK + i);
			mem.config->dns_addr6_be[i][3] = htonl(1 + i);
		}
		for (unsigned i = 0; i < WM_DNS_LISTEN_MAX; i++) {
			query_frame(&q, false, "web.service.mesh.internal", 1, 0);
			q.at[ETH + 19] = (uint8_t)(1 + i);
			seal(&q);
			cr_assert_eq(answered(&q, &a), i < used, "%u of %u", i, used);
			query_frame(&q, true, "web.service.mesh.internal", 1, 0);
			q.at[ETH + 39] = (uint8_t)(1 + i);
			seal(&q);
			cr_assert_eq(answered(&q, &a), i < used, "%u of %u", i, used);
		}
	}
}

/* An address is answered on the ports that it was listed for: the other may be somebody else's. */
Test(dns_prog, pairs_of_address_and_port)
{
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	mem.config->dns_addr4_count = mem.config->dns_addr6_count = 2;
	mem.config->dns_addr4_be[1] = htonl(INADDR_LOOPBACK + 1);
	mem.config->dns_addr6_be[1][3] = htonl(2);
	for (unsigned skip = 0; skip < 16; skip++) {
		/* the families differ, or one could stand for the other */
		mem.config->dns_skip4 = (uint8_t)skip;
		mem.config->dns_skip6 = (uint8_t)~skip;
		for (unsigned pair = 0; pair < 4; pair++) {
			bool skipped = skip >> pair & 1;

			query_frame(&q, false, "web.service.mesh.internal", 1, 0);
			q.at[ETH + 19] = (uint8_t)(1 + pair / 2);
			put16(q.at + q.dns - 6, pair % 2 ? 53 : DNS_PORT);
			seal(&q);
			cr_assert_eq(answered(&q, &a), !skipped, "%u of %x", pair, skip);
			query_frame(&q, true, "web.service.mesh.internal", 1, 0);
			q.at[ETH + 39] = (uint8_t)(1 + pair / 2);
			put16(q.at + q.dns - 6, pair % 2 ? 53 : DNS_PORT);
			seal(&q);
			cr_assert_eq(answered(&q, &a), skipped, "%u of %x", pair, skip);
		}
	}
}

static void policy_setup(void)
{
	static char exact[] = "web=60s", none[] = "none=0s";
	static char *const rules[] = {exact, none, NULL};
	static struct wm_ttls *ttls; /* as long as the test's process */

	cr_assert_eq(wm_ttls_new(rules, &ttls, NULL), 0);
	policy = (struct wm_tables_policy){.ttls = ttls, .only_passing = true};
	dns_setup();
}
static void policy_teardown(void)
{
	dns_teardown();
	wm_ttls_free((struct wm_ttls *)(uintptr_t)policy.ttls);
}

static unsigned ttl_of(const char *name, bool v6)
{
	struct frame q, a;
	const uint8_t *p;

	query_frame(&q, v6, name, 1, 0);
	cr_assert(answered(&q, &a), "%s", name);
	p = a.at + q.len + 6; /* the first record, behind the question */
	return (unsigned)p[0] << 24 | (unsigned)p[1] << 16 | (unsigned)p[2] << 8 | p[3];
}

/* As userspace: test_dns_names. */
Test(dns_prog_policy, ttls_and_only_passing, .init = policy_setup, .fini = policy_teardown)
{
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	add("none", "b", "10.1.2.3", WM_PASSING);
	add("other", "c", "10.1.2.3", WM_PASSING);
	for (int v6 = 0; v6 < 2; v6++) {
		cr_assert_eq(ttl_of("web.service.mesh.internal", v6), 60);
		cr_assert_eq(ttl_of("web.virtual.mesh.internal", v6), 60);
		cr_assert_eq(ttl_of("none.service.mesh.internal", v6), 0);
		cr_assert_eq(ttl_of("other.service.mesh.internal", v6), 9);
		cr_assert_eq(ttl_of("other.virtual.mesh.internal", v6), 9);
	}
	add("web", "a", "10.1.2.3", WM_WARNING);
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	cr_assert_not(answered(&q, &a), "a warning is not passing");
}

/* Cookies and other options of OPT are not ours to answer, and no reason to be silent either. */
Test(dns_prog, unknown_edns_options_are_ignored)
{
	static const uint8_t cookie[12] = {0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8};
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	query_frame(&q, true, "web.service.mesh.internal", 1, 1232);
	put16(q.at + q.len - 2, sizeof(cookie));
	memcpy(q.at + q.len, cookie, sizeof(cookie));
	q.len += sizeof(cookie);
	seal(&q);
	cr_assert(answered(&q, &a));
	cr_assert_eq(a.len, q.len - sizeof(cookie) + 16);
	check_envelope(&q, &a, true);
	/* options that are longer than they say, and than there is */
	put16(q.at + q.len - sizeof(cookie) - 2, sizeof(cookie) + 1);
	seal(&q);
	cr_assert_not(answered(&q, &a));
	cr_assert_eq(counter(WM_C_DNS_PASS_MALFORMED), 1);
}

/* Two instances at one address are one record: RFC 2181 5.2 knows no double ones. */
Test(dns_prog, one_record_an_address)
{
	struct frame q, a;
	char id[8];

	for (unsigned i = 0; i < 40; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		add("web", id, i % 2 ? "10.1.2.3" : i % 4 ? "10.1.2.4" : "fd00::4", WM_PASSING);
	}
	for (unsigned n = 0; n < 100; n++) {
		query_frame(&q, false, "web.service.mesh.internal", 1, 0);
		cr_assert(answered(&q, &a));
		cr_assert_eq(a.at[a.dns + 7], 2);
		cr_assert_neq(a.at[a.len - 1], a.at[a.len - 17]);
		query_frame(&q, true, "web.service.mesh.internal", 28, 0);
		cr_assert(answered(&q, &a));
		cr_assert_eq(a.at[a.dns + 7], 1);
	}
}

/* IP options, extension headers and other IPv6 addresses and ports. */
Test(dns_prog, other_headers_pass)
{
	static const uint8_t extensions[] = {0, 43, 44, 60};
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	q.at[ETH] = 0x46;
	cr_assert_not(answered(&q, &a));
	q.at[ETH] = 0x55;
	cr_assert_not(answered(&q, &a));
	cr_assert_eq(counter(WM_C_DNS_PASS_FRAGMENT), 2);
	for (unsigned i = 0; i < sizeof(extensions); i++) {
		query_frame(&q, true, "web.service.mesh.internal", 1, 0);
		q.at[ETH + 6] = extensions[i];
		cr_assert_not(answered(&q, &a));
		cr_assert_eq(counter(WM_C_DNS_PASS_FRAGMENT), 3 + i);
		q.at[ETH + 39] = 2; /* to another address: not ours to count */
		cr_assert_not(answered(&q, &a));
		cr_assert_eq(counter(WM_C_DNS_PASS_FRAGMENT), 3 + i);
	}
	cr_assert_eq(counter(WM_C_DNS_QUERY), 6);
	query_frame(&q, true, "web.service.mesh.internal", 1, 0);
	q.at[ETH + 24] = 1;
	seal(&q);
	cr_assert_not(answered(&q, &a));
	query_frame(&q, true, "web.service.mesh.internal", 1, 0);
	put16(q.at + q.dns - 6, 8601);
	seal(&q);
	cr_assert_not(answered(&q, &a));
	cr_assert_eq(counter(WM_C_DNS_QUERY), 6);
}

/* Too many slots to look at in a program: userspace answers, and is told why. */
Test(dns_prog, few_usable_of_very_many_pass)
{
	struct frame q, a;
	char id[16];

	many("web", WM_DNS_SCAN_KERNEL, "10.1.0.");
	for (unsigned i = 1; i < WM_DNS_SCAN_KERNEL; i++) {
		snprintf(id, sizeof(id), "w%u", i);
		cr_assert_eq(wm_tables_state(tables, wm_registry_instance(registry, id)->hash,
					     WM_STATE_DOWN),
			     0);
	}
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	cr_assert(answered(&q, &a), "the last that is looked at in a program");
	add("web", "one-more", "10.9.9.9", WM_CRITICAL);
	cr_assert_not(answered(&q, &a));
	cr_assert_eq(counter(WM_C_DNS_PASS_SIZE), 1);
}

/* --- who stands first ------------------------------------------------------------------------- */
#define QUESTIONS 20000

/* Neighbours of who is down do not get its share; instances that share an address share it. */
Test(dns_prog, first_records_are_even)
{
	static const unsigned up[10] = {[3] = 1, [4] = 1, [7] = 2};
	unsigned seen4[10] = {0}, seen6[10] = {0};
	struct frame q4, q6, a;
	char id[16], address[32];

	for (unsigned i = 0; i < 10; i++)
		for (unsigned twin = 0; twin < (up[i] ? up[i] : 1); twin++) {
			snprintf(id, sizeof(id), "4i%u-%u", i, twin);
			snprintf(address, sizeof(address), "10.1.0.%u", i);
			add("web", id, address, up[i] ? WM_PASSING : WM_CRITICAL);
			snprintf(id, sizeof(id), "6i%u-%u", i, twin);
			snprintf(address, sizeof(address), "fd00::%u", i);
			add("web", id, address, up[i] ? WM_PASSING : WM_CRITICAL);
		}
	query_frame(&q4, false, "web.service.mesh.internal", 1, 0);
	query_frame(&q6, false, "web.service.mesh.internal", 28, 0);
	for (unsigned n = 0; n < QUESTIONS; n++) {
		cr_assert(answered(&q4, &a));
		seen4[a.at[a.dns + 12 + 31 + 15]]++;
		cr_assert(answered(&q6, &a));
		seen6[a.at[a.dns + 12 + 31 + 27]]++;
	}
	chi_square("A", seen4, up, 10);
	chi_square("AAAA", seen6, up, 10);
}

Test(dns_prog, first_records_by_weight)
{
	static const unsigned weights[4] = {1, 9, 30, 200};
	struct wm_instance_draft d = {.name = "web", .port = 80, .has_weights = true};
	unsigned seen[4] = {0};
	struct frame q, a;
	char id[16], address[32];

	d.id = id;
	d.address = address;
	for (unsigned i = 0; i < 4; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		snprintf(address, sizeof(address), "10.1.0.%u", i);
		d.weight_passing = d.weight_warning = weights[i];
		cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, NULL), 0);
	}
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	published("web");
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	for (unsigned n = 0; n < QUESTIONS; n++) {
		cr_assert(answered(&q, &a));
		seen[a.at[a.dns + 12 + 31 + 15]]++;
	}
	chi_square("weights", seen, weights, 4);
}
