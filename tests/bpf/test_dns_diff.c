/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* Kernel and userspace answer the same question from the same tables: whatever the kernel answers
 * must be what userspace says, and whatever it could answer it must answer. */
#include "dns_compare.h"
#include "dns_fixture.h"
#include "userspace/base/random.h"

#include <ctype.h>

/* Services with a TTL of their own, by name and by prefix, and warnings that take no questions:
 * the two must agree on these too. */
static void diff_setup(void)
{
	static char prefix[] = "svc-1*=60s", exact[] = "svc-2=0s";
	static char *const rules[] = {prefix, exact, NULL};
	static struct wm_ttls *ttls;

	cr_assert_eq(wm_ttls_new(rules, &ttls, NULL), 0);
	policy = (struct wm_tables_policy){.ttls = ttls, .only_passing = true};
	dns_setup();
}
static void diff_teardown(void)
{
	dns_teardown();
	wm_ttls_free((struct wm_ttls *)(uintptr_t)policy.ttls);
}
TestSuite(dns_diff, .init = diff_setup, .fini = diff_teardown, .timeout = 600);

#define QUESTIONS 12000
#define SERVICES  20

static uint64_t seed;

static unsigned below(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

static void fill(void)
{
	static const enum wm_status statuses[8] = {WM_WARNING, WM_CRITICAL}; /* passing */
	char name[64], id[32], address[48];

	for (unsigned s = 0; s < SERVICES; s++) {
		unsigned n = s == 0 ? 50 : below(5); /* 50: more than fit without EDNS */

		snprintf(name, sizeof(name), s % 3 ? "svc-%u" : "s%u-with-a-rather-long-name", s);
		for (unsigned i = 0; i < n; i++) {
			snprintf(id, sizeof(id), "s%ui%u", s, i);
			snprintf(address, sizeof(address),
				 below(8) == 0 ? "host-%u-%u.example.org"
				 : below(3)    ? "10.%u.0.%u"
					       : "fd00::%u:%u",
				 s, i + 1);
			add(name, id, address, statuses[below(8)]);
		}
	}
}

/* What glibc (ndots:5) and musl make of a full name and a search list: each entry behind the name,
 * so that the domain's labels repeat themselves, then the name as it is. */
static void search(char out[300])
{
	static const char *const list[] = {"mesh.internal", "service.mesh.internal",
					   "dc1.mesh.internal", "svc.cluster.local", "internal"};

	for (unsigned n = below(8); n < 3 && strlen(out) < 200; n++)
		strcat(strcat(out, "."), list[below(5)]);
}

/* A name in random case; mostly of a service that is there. */
static void random_name(char out[300])
{
	static const char *const tails[] = {"service.mesh.internal",
					    "virtual.mesh.internal",
					    "service.dc1.mesh.internal",
					    "node.mesh.internal",
					    "mesh.internal",
					    "example.org",
					    ""};
	unsigned s = below(SERVICES + 4), tail = below(10);
	size_t n;

	snprintf(out, 300, s % 3 ? "%ssvc-%u%s.%s" : "%ss%u-with-a-rather-long-name%s.%s",
		 tail == 9 ? "_" : "", s, tail == 9 ? "._tcp" : "",
		 tails[tail < 7	  ? tail
		       : tail < 9 ? tail % 2
				  : 2 * below(3)]);
	n = strlen(out);
	if (n && out[n - 1] == '.')
		out[n - 1] = 0;
	search(out);
	for (char *p = out; *p; p++)
		if (*p >= 'a' && *p <= 'z' && below(3) == 0)
			*p = (char)(*p - 32);
}

static bool among(const char *label, const char *const *list)
{
	for (; *list; list++)
		if (!strcasecmp(label, *list))
			return true;
	return false;
}

/* Whether the kernel says that no such name is there: below the domain, and of no form that others
 * know of, or of a service that is not there. */
static bool denied(const char *name)
{
	static const char *const others[] = {"node", "query", "addr", "ns", "dc1", NULL};
	static const char *const words[] = {"service", "virtual", "node", "query", "addr", NULL};
	static const char domain[] = ".mesh.internal";
	size_t len = strlen(name), n = 0;
	char text[300], *label[128], *save = NULL;

	if (len <= sizeof(domain) - 1 || strcasecmp(name + len - (sizeof(domain) - 1), domain) != 0)
		return false;
	snprintf(text, sizeof(text), "%.*s", (int)(len - (sizeof(domain) - 1)), name);
	for (char *l = strtok_r(text, ".", &save); l; l = strtok_r(NULL, ".", &save))
		label[n++] = l;
	/* behind the datacenter stands a word of ours, or a name of RFC 2782 */
	if (n > 1 && !strcasecmp(label[n - 1], "dc1") && *label[n - 2] != '_' &&
	    !among(label[n - 2], words))
		return true;
	if (*label[n - 1] == '_' || among(label[n - 1], others))
		return false;
	if (strcasecmp(label[n - 1], "service") != 0 && strcasecmp(label[n - 1], "virtual") != 0)
		return true;
	if (n < 2 || *label[n - 2] == '_')
		return false;
	for (char *c = label[n - 2]; *c; c++)
		*c = (char)tolower(*c);
	return !wm_registry_service(registry, label[n - 2]);
}

Test(dns_diff, kernel_and_userspace_agree)
{
	static const uint16_t types[] = {1, 28, 1, 28, 33, 255, 6, 16, 65};
	static const unsigned sizes[] = {0, 512, 1232, 4096};
	unsigned kernel_answers = 0, could = 0, negative = 0, cut = 0, srv = 0;
	uint8_t out[WM_DNS_EDNS_MAX];
	uint64_t first;

	seed = first = wm_random64();
	fill();
	for (unsigned n = 0; n < QUESTIONS; n++) {
		unsigned authorities = 0;
		struct frame q, a;
		char name[300];
		uint16_t type = types[below(9)];
		size_t len;

		random_name(name);
		query_frame(&q, below(2), name, type, sizes[below(4)]);
		if (q.at[q.dns + 11] && below(2)) { /* DO */
			q.at[q.len - 4] = 0x80;
			seal(&q);
		}
		len = wm_dns_respond(server, q.at + q.dns, q.len - q.dns, false, out, sizeof(out));
		cr_assert(len, "%s", name);
		run(WM_PROG_DNS_LO, &q, &a);
		cut += (out[2] & 2) != 0;
		could += denied(name) || of_the_kernel(name, type, out);
		if (same_frame(&q, &a))
			continue;
		kernel_answers++;
		cr_assert(agree(&a, out, len, &authorities), "seed %llu: %s type %u",
			  (unsigned long long)first, name, type);
		check_envelope(&q, &a, q.v6);
		negative += authorities == 1;
		srv += type == 33 && out[7];
	}
	cr_assert_eq(kernel_answers, could, "seed %llu", (unsigned long long)first);
	cr_assert_gt(counter(WM_C_DNS_NXDOMAIN), QUESTIONS / 40);
	cr_assert(negative > QUESTIONS / 100 && cut, "seed %llu: %u negative, %u cut",
		  (unsigned long long)first, negative, cut);
	cr_assert_gt(srv, QUESTIONS / 1000, "seed %llu: %u", (unsigned long long)first, srv);
	/* about a ninth, and less where chance gave the services few addresses */
	cr_assert_gt(kernel_answers, QUESTIONS / 40, "seed %llu: %u", (unsigned long long)first,
		     kernel_answers);
}

/* --- damaged packets ---------------------------------------------------------------------------
 */
#define DAMAGED 60000

/* Change a few octets of the datagram; cut it or let it grow; say so in the lengths or not. */
static void damage(struct frame *f)
{
	for (unsigned n = below(4); n; n--)
		f->at[f->dns + below((unsigned)(f->len - f->dns))] =
			(uint8_t)(below(2) ? below(256) : below(70));
	if (below(3) == 0)
		f->len = f->dns + 12 + below((unsigned)(f->len - f->dns) + 8 - 12);
	if (below(8))
		seal(f);
}

/* Whatever comes: either the packet is as it was, or it holds the answer that userspace gives for
 * the same octets, in an envelope that fits. */
Test(dns_diff, damaged_queries)
{
	static const uint16_t types[] = {1, 28, 33, 65};
	unsigned kernel_answers = 0;
	uint8_t out[WM_DNS_EDNS_MAX];
	uint64_t first;

	seed = first = wm_random64();
	fill();
	for (unsigned n = 0; n < DAMAGED; n++) {
		bool veth = below(2);
		unsigned authorities;
		struct frame q, a;
		char name[300];
		size_t len;

		random_name(name);
		query_frame(&q, below(2), name, types[below(4)], below(2) ? 1232 : 0);
		damage(&q);
		run(veth ? WM_PROG_DNS_VETH : WM_PROG_DNS_LO, &q, &a);
		if (same_frame(&q, &a))
			continue;
		kernel_answers++;
		/* the datagram ends where its length says, whatever the frame holds behind */
		len = ((size_t)q.at[q.dns - 4] << 8 | q.at[q.dns - 3]) - 8;
		cr_assert_leq(q.dns + len, q.len);
		len = wm_dns_respond(server, q.at + q.dns, len, false, out, sizeof(out));
		cr_assert(len, "seed %llu", (unsigned long long)first);
		cr_assert(agree(&a, out, len, &authorities), "seed %llu: %s",
			  (unsigned long long)first, name);
		cr_assert_eq(memcmp(q.at + q.dns, a.at + a.dns, 2), 0);
		check_envelope(&q, &a, q.v6);
	}
	cr_assert_gt(kernel_answers, DAMAGED / 200, "seed %llu: %u", (unsigned long long)first,
		     kernel_answers);
	cr_assert_lt(kernel_answers, DAMAGED / 2, "seed %llu: %u", (unsigned long long)first,
		     kernel_answers);
}

/* --- ends that look like a question's ----------------------------------------------------------
 */
#define ENDS 30000

static void put(struct frame *f, const uint8_t *octets, size_t n)
{
	memcpy(f->at + f->len, octets, n);
	f->len += n;
}

/* The end of a question, and of an OPT if the message says that it has one; before that octets of
 * any number. */
static void put_end(struct frame *f)
{
	const uint8_t end[] = {0, 0, below(2) ? 1 : 33, 0, 1};
	const uint8_t opt[11] = {0, 0, 41, 4, 208, 0, below(8) == 0, 0, 0, 0, 0};

	for (unsigned n = below(4) ? 0 : below(300); n; n--)
		put(f, &(uint8_t){(uint8_t)(below(2) ? below(256) : 0)}, 1);
	put(f, end, sizeof(end));
	if (f->at[f->dns + 11])
		put(f, opt, sizeof(opt));
}

/* @p f is a question, with an OPT or without; a part of it is made another's. */
static void another_end(struct frame *f)
{
	uint8_t *m = f->at + f->dns;
	size_t len = f->len, name = 12;

	for (unsigned n = below(4); n && m[name + m[name] + 1]; n--)
		name += m[name] + 1u;
	switch (below(6)) {
	case 0: /* a label that ends the name, or goes on too far */
		m[name] = (uint8_t)(below(2) ? 0 : below(256));
		break;
	case 1:
		put_end(f);
		break;
	case 2: /* the same in an option */
		if (m[11]) {
			f->len += 4;
			put_end(f);
			put16(f->at + len - 2, f->len - len);
			put16(f->at + len, below(2) ? 0xfde9 : 10);
			put16(f->at + len + 2, f->len - len - 4);
		}
		break;
	case 3: /* it says that there is an OPT, or that there is none */
		m[11] ^= 1;
		break;
	case 4:
		m[below((unsigned)(f->len - f->dns))] = 0;
		break;
	default: /* what is whole */
		break;
	}
	seal(f);
	for (unsigned n = below(4) ? 0 : below(24); n; n--) /* behind the datagram: of the link */
		put(f, &(uint8_t){0}, 1);
}

/* By which of @p now a question was left since @p before. @return WM_COUNTER_COUNT: none. */
static unsigned why_left(const uint64_t *before, const uint64_t *now)
{
	unsigned c = WM_C_DNS_PASS_NOT_QUERY;

	while (c < WM_COUNTER_COUNT && before[c] == now[c])
		c++;
	return c;
}

/* What the host's parser takes for a question is one to the kernel, and nothing else is, whatever
 * the message ends with. */
Test(dns_diff, what_ends_like_a_question)
{
	static const uint16_t types[] = {1, 28, 33, 12, 16, 255};
	unsigned kernel_answers = 0, wrong = 0, authorities;
	uint64_t first, before[WM_COUNTER_CAP], now[WM_COUNTER_CAP];
	uint8_t out[WM_DNS_EDNS_MAX];

	seed = first = wm_random64();
	fill();
	for (unsigned n = 0; n < ENDS; n++) {
		bool veth = below(2);
		enum wm_dns_verdict v;
		struct wm_dns_query parsed;
		struct frame q, a;
		char name[300];
		unsigned why;
		size_t len;

		random_name(name);
		query_frame(&q, below(2), name, types[below(6)], below(2) ? 1232 : 0);
		another_end(&q);
		len = at16(q.at + q.dns - 4) - 8u;
		v = wm_dns_parse(q.at + q.dns, (uint32_t)len, &parsed);
		cr_assert_eq(wm_plane_counters(plane, before), 0);
		run(veth ? WM_PROG_DNS_VETH : WM_PROG_DNS_LO, &q, &a);
		cr_assert_eq(wm_plane_counters(plane, now), 0);
		why = why_left(before, now);
		wrong += v == WM_DNS_V_MALFORMED;
		if (same_frame(&q, &a)) {
			cr_assert(v != WM_DNS_OK || why != WM_C_DNS_PASS_MALFORMED, "seed %llu: %s",
				  (unsigned long long)first, name);
			cr_assert(v != WM_DNS_V_MALFORMED || why == WM_C_DNS_PASS_MALFORMED ||
					  why == WM_C_DNS_PASS_EDNS,
				  "seed %llu: %s: counter %u", (unsigned long long)first, name,
				  why);
			continue;
		}
		kernel_answers++;
		cr_assert_eq(v, WM_DNS_OK, "seed %llu: %s", (unsigned long long)first, name);
		len = wm_dns_respond(server, q.at + q.dns, len, false, out, sizeof(out));
		cr_assert(len && agree(&a, out, len, &authorities), "seed %llu: %s",
			  (unsigned long long)first, name);
		check_envelope(&q, &a, q.v6);
	}
	cr_assert(kernel_answers > ENDS / 40 && wrong > ENDS / 4, "seed %llu: %u, %u wrong",
		  (unsigned long long)first, kernel_answers, wrong);
}
