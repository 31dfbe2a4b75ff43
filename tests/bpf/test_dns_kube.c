/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* Names of a cluster in the kernel: addresses of services from the tables, the rest as userspace
 * said it, to the octet, until the service changes. */
#include "dns_fixture.h"
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "userspace/model/spec.h"

#define PTR   12
#define TXT   16
#define AAAA  28
#define SRV   33
#define ASKED 2 /* an answer without records is kept when it is asked for again */

static int put(void *p, struct wm_ready *e, uint16_t type)
{
	return wm_plane_ready_put(p, e, type);
}

static const struct wm_spec_port ports[] = {{"http", 80, 0, IPPROTO_TCP, NULL}};

static void spec(const char *key, const char *v4, const char *v6, bool headless)
{
	struct wm_spec_address at[2] = {{.kind = WM_SPEC_CLUSTER}, {.kind = WM_SPEC_CLUSTER}};
	struct wm_service_spec s = {.service = key,
				    .source = "kubernetes",
				    .addresses = at,
				    .ports = ports,
				    .ports_count = 1,
				    .headless = headless};
	struct wm_err e = {0};

	if (v4)
		cr_assert_eq(inet_pton(AF_INET, v4, &at[s.addresses_count++].a4), 1);
	if (v6)
		cr_assert_eq(inet_pton(AF_INET6, v6, &at[s.addresses_count++].a6), 1);
	cr_assert_eq(wm_registry_spec_put(registry, &s, &e), 1, "%s", e.text);
}

static void spec_gone(const char *key)
{
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_spec_delete(registry, key, "kubernetes", &e), 1);
}

static void begin_with(unsigned fill)
{
	struct wm_ready_kernel k;

	policy = (struct wm_tables_policy){0};
	cluster_domain = "cluster.local";
	dns_setup();
	k = (struct wm_ready_kernel){put, wm_plane_ready_words(plane), plane, fill, 64};
	cr_assert(k.words);
	cr_assert_eq(wm_dns_server_ready(server, &k), 0);
	spec("shop/web", "10.96.0.1", NULL, false);
	spec("shop/dual", "10.96.0.2", "fd00::2", false);
	spec("shop/db", NULL, NULL, true);
	add("shop/db", "db-0", "10.1.0.1", WM_PASSING);
	add("shop/db", "db-1", "10.1.0.2", WM_PASSING);
}

static void begin(void)
{
	begin_with(0);
}

static void begin_foreseen(void)
{
	begin_with(64);
}

TestSuite(dns_kube_foreseen, .init = begin_foreseen, .fini = dns_teardown, .timeout = 300);
TestSuite(dns_kube, .init = begin, .fini = dns_teardown, .timeout = 300);

/* --- questions ---------------------------------------------------------------------------------
 */
static uint8_t user[WM_DNS_EDNS_MAX];
static size_t user_len;

static void ask_user(const struct frame *q)
{
	user_len =
		wm_dns_respond(server, q->at + q->dns, q->len - q->dns, false, user, sizeof(user));
	cr_assert(user_len);
}

/* The serial of an SOA, the last record but for the OPT, is the time. */
static bool same_but_serial(const uint8_t *a, const uint8_t *b, size_t len, bool soa)
{
	size_t at = len - (a[11] ? WM_DNS_OPT_LEN : 0) - 20;

	if (!a[9] && !soa)
		return memcmp(a, b, len) == 0;
	return memcmp(a, b, at) == 0 && memcmp(a + at + 4, b + at + 4, len - at - 4) == 0;
}

/* The kernel says to the question what userspace says. */
static void by_kernel(const char *name, uint16_t type, unsigned rcode, unsigned answers)
{
	for (unsigned n = 0; n < 4; n++) {
		unsigned edns = n & 1 ? 1232 : 0;
		struct frame q, a;
		const uint8_t *m;

		query_frame(&q, n & 2, name, type, edns);
		cr_assert(answered(&q, &a), "%s %u", name, type);
		ask_user(&q);
		m = a.at + a.dns;
		cr_assert_eq(a.len - a.dns, user_len, "%s %u: %zu, not %zu octets", name, type,
			     a.len - a.dns, user_len);
		/* addresses are in an order by chance each time that userspace puts them */
		cr_assert(answers > 1 || same_but_serial(m, user, user_len, type == 6), "%s %u",
			  name, type);
		cr_assert_eq(m[3] & 15, (int)rcode, "%s %u: %u", name, type, m[3] & 15u);
		cr_assert_eq(m[7], (int)answers, "%s %u: %u", name, type, m[7]);
		check_envelope(&q, &a, q.v6);
	}
}

static void by_userspace(const char *name, uint16_t type)
{
	struct frame q, a;

	query_frame(&q, false, name, type, 0);
	cr_assert_not(answered(&q, &a), "%s %u", name, type);
}

/* As a client whose question the kernel passes on. */
static void said_by_userspace(const char *name, uint16_t type, unsigned times)
{
	struct frame q;

	query_frame(&q, false, name, type, 0);
	while (times--)
		ask_user(&q);
}

/* Nobody need have asked before. */
Test(dns_kube, addresses_of_services)
{
	by_kernel("web.shop.svc.cluster.local", 1, 0, 1);
	by_kernel("WEB.shop.Svc.cluster.LOCAL", 1, 0, 1);
	by_kernel("web.shop.svc.cluster.local", AAAA, 0, 0);
	by_kernel("web.shop.svc.cluster.local", TXT, 0, 0);
	by_kernel("dual.shop.svc.cluster.local", 1, 0, 1);
	by_kernel("dual.shop.svc.cluster.local", AAAA, 0, 1);
	by_kernel("dual.shop.svc.cluster.local", 255, 0, 1);
	cr_assert_eq(counter(WM_C_DNS_READY), 0);
	spec("shop/web", "10.96.0.9", NULL, false);
	by_kernel("web.shop.svc.cluster.local", 1, 0, 1);
	spec_gone("shop/web");
	by_kernel("web.shop.svc.cluster.local", 1, 3, 0);
}

/* What was said once, or twice where there are no records. */
Test(dns_kube, the_rest_as_userspace_said_it)
{
	static const struct {
		const char *name;
		uint16_t type;
		unsigned rcode, answers;
	} cases[] = {
		{"_http._tcp.web.shop.svc.cluster.local", SRV, 0, 1},
		{"web.shop.svc.cluster.local", SRV, 0, 1},
		{"db.shop.svc.cluster.local", 1, 0, 2},
		{"_http._tcp.db.shop.svc.cluster.local", SRV, 0, 2},
		{"10-1-0-1.db.shop.svc.cluster.local", 1, 0, 1},
		{"dns-version.cluster.local", TXT, 0, 1},
		{"2.0.96.10.in-addr.arpa", PTR, 0, 1},
		{"1.0.1.10.in-addr.arpa", PTR, 0, 1},
		{"cluster.local", 6, 0, 1},
		{"cluster.local", 2, 0, 1},
		{"db.shop.svc.cluster.local", AAAA, 0, 0},
		{"shop.svc.cluster.local", 1, 0, 0},
		{"none.db.shop.svc.cluster.local", 1, 3, 0},
	};

	for (size_t i = 0; i < WM_ARRAY_LEN(cases); i++) {
		by_userspace(cases[i].name, cases[i].type);
		said_by_userspace(cases[i].name, cases[i].type, cases[i].answers ? 1 : ASKED);
		by_kernel(cases[i].name, cases[i].type, cases[i].rcode, cases[i].answers);
	}
	cr_assert_geq(counter(WM_C_DNS_READY), WM_ARRAY_LEN(cases));
}

/* What pods' search lists make of names of others, and names that are made up anew each time: the
 * kernel needs no word of userspace. */
Test(dns_kube, what_nobody_has_is_denied_at_once)
{
	static const char *const names[] = {"example.com.shop.svc.cluster.local",
					    "example.com.svc.cluster.local",
					    "example.com.cluster.local",
					    "none.shop.svc.cluster.local",
					    "a.none.SHOP.svc.cluster.local",
					    "_http._tcp.none.shop.svc.cluster.local",
					    "none.svc.cluster.local",
					    "web.none.svc.cluster.local",
					    "none.pod.cluster.local",
					    "x.10-1-0-1.shop.pod.cluster.local",
					    "a.b.c.web.shop.svc.cluster.local",
					    "dns-versioN2.cluster.local",
					    "svc.svc.cluster.local",
					    "x.ns.cluster.local",
					    "x.hostmaster.cluster.local",
					    "a.hostmaster.cluster.local"};
	static const char *const others[] = {
		"x.web.shop.svc.cluster.local", "10-1-0-9.shop.pod.cluster.local",
		"dns-version.cluster.local",	"ns.cluster.local",
		"shop.pod.cluster.local",	"xcluster.local"};
	char name[64];

	for (size_t i = 0; i < WM_ARRAY_LEN(names); i++) {
		by_kernel(names[i], 1, 3, 0);
		by_kernel(names[i], SRV, 3, 0);
		by_kernel(names[i], PTR, 3, 0);
	}
	for (size_t i = 0; i < WM_ARRAY_LEN(others); i++)
		by_userspace(others[i], 1);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "no-%u.shop.svc.cluster.local", i);
		by_kernel(name, i & 1 ? AAAA : 1, 3, 0);
	}
	cr_assert_eq(counter(WM_C_DNS_PASS_UNKNOWN), WM_ARRAY_LEN(others));
	spec("shop/no-7", NULL, NULL, true);
	by_userspace("x.no-7.shop.svc.cluster.local", 1);
	by_userspace("no-7.shop.svc.cluster.local", SRV);
	spec("other/web", NULL, NULL, true);
	by_userspace("other.svc.cluster.local", 1);
	spec_gone("other/web");
	by_kernel("other.svc.cluster.local", 1, 3, 0);
	/* records of the operator's own may have any name */
	mem.config->flags |= WM_CONFIG_F_RECORDS;
	by_userspace("none.shop.svc.cluster.local", 1);
	mem.config->flags &= ~WM_CONFIG_F_RECORDS;
}

/* No source has told of anything any more: then nothing is known not to be. */
Test(dns_kube, without_a_service_nothing_is_denied)
{
	static const char *const keys[] = {"shop/web", "shop/dual", "shop/db"};

	for (size_t i = 0; i < WM_ARRAY_LEN(keys); i++) {
		by_kernel("none.shop.svc.cluster.local", 1, 3, 0);
		spec_gone(keys[i]);
	}
	by_userspace("none.shop.svc.cluster.local", 1);
	spec(keys[0], "10.96.0.1", NULL, false);
	by_kernel("none.shop.svc.cluster.local", 1, 3, 0);
}

#define SOUP 20000

static uint64_t seed;

static unsigned below(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

/* Names of random labels while services come and go: what the kernel denies, userspace denies. */
Test(dns_kube, denied_is_what_userspace_denies)
{
	static const char *const words[] = {"svc",	"pod",	 "ns",	 "shop",	"web",
					    "db",	"_http", "_tcp", "dns-version", "a/b",
					    "10-1-0-1", "x",	 "SVC",	 "Shop",	"one"};
	static const char *const keys[] = {"shop/x", "one/web", "x/x", "db/shop"};
	bool there[WM_ARRAY_LEN(keys)] = {false};
	unsigned denied = 0;
	uint64_t first;

	seed = first = wm_random64();
	for (unsigned n = 0; n < SOUP; n++) {
		char name[300] = "";
		struct frame q, a;

		if (n % 64 == 0) {
			unsigned k = below(WM_ARRAY_LEN(keys));

			there[k] ? spec_gone(keys[k]) : spec(keys[k], NULL, NULL, true);
			there[k] = !there[k];
		}
		for (unsigned l = below(7); l; l--)
			strcat(strcat(name, words[below(WM_ARRAY_LEN(words))]), ".");
		strcat(name, "cluster.local");
		query_frame(&q, below(2), name, below(2) ? TXT : SRV, below(2) ? 1232 : 0);
		if (!answered(&q, &a) || (a.at[a.dns + 3] & 15) != 3)
			continue;
		denied++;
		ask_user(&q);
		cr_assert_eq(a.len - a.dns, user_len, "seed %llu: %s", (unsigned long long)first,
			     name);
		cr_assert(same_but_serial(a.at + a.dns, user, user_len, false), "seed %llu: %s",
			  (unsigned long long)first, name);
	}
	cr_assert_gt(denied, SOUP / 4, "seed %llu: %u", (unsigned long long)first, denied);
}

/* Who takes the first address does not take the same each time: userspace is not asked again. */
Test(dns_kube, addresses_of_a_headless_service_take_turns)
{
	static const char *const names[] = {"db.shop.svc.cluster.local",
					    "six.shop.svc.cluster.local"};
	uint64_t ready = counter(WM_C_DNS_READY);

	spec("shop/six", NULL, NULL, true);
	add("shop/six", "six-0", "fd00::10", WM_PASSING);
	add("shop/six", "six-1", "fd00::11", WM_PASSING);
	for (unsigned six = 0; six < 2; six++) {
		unsigned first[2] = {0}, len = six ? WM_DNS_RR_AAAA : WM_DNS_RR_A;
		struct frame q, a;

		query_frame(&q, false, names[six], six ? AAAA : 1, 0);
		ask_user(&q);
		for (unsigned i = 0; i < 200; i++) {
			const uint8_t *end;

			cr_assert(answered(&q, &a));
			end = a.at + a.len; /* the last octets of both addresses: 1 apart */
			cr_assert_eq(end[-1] ^ end[-1 - (int)len], six ? 1 : 3);
			first[end[-1 - (int)len] < end[-1]]++;
			check_envelope(&q, &a, q.v6);
		}
		cr_assert(first[0] > 50 && first[1] > 50, "%u %u", first[0], first[1]);
	}
	cr_assert_eq(counter(WM_C_DNS_READY) - ready, 400);
}

/* It is over with the change, not when userspace is asked again. */
Test(dns_kube, until_the_service_changes)
{
	const char *db = "db.shop.svc.cluster.local", *none = "none.shop.svc.cluster.local";

	said_by_userspace(db, 1, 1);
	by_kernel(db, 1, 0, 2);
	add("shop/db", "db-1", "10.1.0.2", WM_CRITICAL);
	by_userspace(db, 1);
	said_by_userspace(db, 1, 1);
	by_kernel(db, 1, 0, 1);

	said_by_userspace(none, 1, ASKED);
	by_kernel(none, 1, 3, 0);
	spec("shop/none", "10.96.0.7", NULL, false);
	by_kernel(none, 1, 0, 1);
	spec_gone("shop/none");
	said_by_userspace(none, 1, ASKED);
	by_kernel(none, 1, 3, 0);

	said_by_userspace("2.0.96.10.in-addr.arpa", PTR, 1);
	by_kernel("2.0.96.10.in-addr.arpa", PTR, 0, 1);
	spec("shop/dual", "10.96.0.3", "fd00::2", false);
	by_userspace("2.0.96.10.in-addr.arpa", PTR);
}

/* A headless service is there for who asks when the agent is dead already. */
Test(dns_kube_foreseen, headless_services)
{
	const char *db = "db.shop.svc.cluster.local";
	struct frame q, a;

	query_frame(&q, false, db, 1, 0);
	while (!answered(&q, &a))
		cr_assert_eq(wm_loop_turn(loop, 10), 0);
	by_kernel(db, 1, 0, 2);
	by_kernel(db, AAAA, 0, 0);
}
