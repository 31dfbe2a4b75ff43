/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* Servers as settings and resolv.conf name them, and what of a resolver's message a client is sent.
 */
#include "userspace/dns/upstream_internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *parsed(const char *text)
{
	static char out[WM_UPSTREAM_SERVER_TEXT];
	struct wm_upstream_server s;

	if (wm_upstream_server_parse(text, &s))
		return "refused";
	wm_upstream_server_text(&s, out);
	return out;
}

Test(upstream, servers)
{
	static const char *const bad[] = {"",
					  "host",
					  "1.2.3",
					  "1.2.3.4@",
					  "1.2.3.4@0",
					  "1.2.3.4@65536",
					  "1.2.3.4@5x",
					  "::1%",
					  "1.2.3.4\n@53",
					  "1.2.3.4#",
					  "::1%a b",
					  "1.2.3.4#a\"b",
					  "1.2.3.4#a b.c",
					  "@53",
					  "#name"};

	cr_assert_str_eq(parsed("192.0.2.1"), "192.0.2.1@53");
	cr_assert_str_eq(parsed("192.0.2.1@5353"), "192.0.2.1@5353");
	cr_assert_str_eq(parsed("fe80::1%eth0"), "fe80::1%eth0@53");
	cr_assert_str_eq(parsed("192.0.2.1#Dns.Example."), "192.0.2.1@853#dns.example");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_expect_str_eq(parsed(bad[i]), "refused", "%s", bad[i]);
}

static int routes(const char *text, struct wm_upstream_routes *ret)
{
	char *list[] = {strdup(text), NULL};
	struct wm_err e = {0};
	int r = wm_upstream_routes_parse(list, ret, &e);

	free(list[0]);
	return r;
}

Test(upstream, routes)
{
	static struct wm_upstream_routes r;

	cr_assert_eq(routes("Corp.Example.=10.0.0.1  10.0.0.2@54 10.0.0.1", &r), 0);
	cr_assert_eq(r.count, 1);
	cr_assert_str_eq(r.at[0].domain, "corp.example");
	cr_assert_eq(r.at[0].count, 2, "one that stands there twice is asked once");
	cr_assert_eq(routes(".=::1", &r), 0);
	cr_assert_str_eq(r.at[0].domain, ".");
	cr_assert_neq(routes("corp", &r), 0);
	cr_assert_neq(routes("corp=", &r), 0);
	cr_assert_neq(routes("=1.2.3.4", &r), 0);
	cr_assert_neq(routes("a\"b=1.2.3.4", &r), 0);
	cr_assert_neq(
		routes("x=1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7 1.1.1.8 1.1.1.9",
		       &r),
		0, "eight at most");
}

static const char *route_of(const struct wm_upstream_routes *all, const char *name)
{
	const struct wm_upstream_route *r = wm_upstream_route_of(all, name);

	return r ? r->domain : "none";
}

Test(upstream, route_of)
{
	static struct wm_upstream_routes r;

	cr_assert_eq(routes("corp.example=1.2.3.4", &r), 0);
	r.count = 2;
	r.at[1] = (struct wm_upstream_route){.domain = "b.corp.example", .count = 1};
	cr_expect_str_eq(route_of(&r, "CORP.example."), "corp.example");
	cr_expect_str_eq(route_of(&r, "a.b.corp.example"), "b.corp.example");
	cr_expect_str_eq(route_of(&r, "xcorp.example"), "none", "a label is whole");
	cr_expect_str_eq(route_of(&r, "."), "none");
	r.at[r.count++] = (struct wm_upstream_route){.domain = ".", .count = 1};
	cr_expect_str_eq(route_of(&r, "example"), ".");
	cr_expect_str_eq(route_of(&r, "."), ".");
	r.at[r.count++] = (struct wm_upstream_route){.domain = "a", .count = 1};
	cr_expect_str_eq(route_of(&r, "x.a"), "a", "as long as the root's, and longer");
}

Test(upstream, resolv_conf)
{
	static const char text[] = "# nameserver 9.9.9.9\nnameserver 192.0.2.1\n"
				   "search a b\nnameserver\tfe80::1%eth0 # why\nnameserver none\n"
				   "nameserver 1.2.3.4@99\nnameserver 192.0.2.1";
	char path[] = "/tmp/waymark-test-resolv-XXXXXX";
	struct wm_upstream_route r = {0};
	int fd = mkstemp(path);

	cr_assert(fd >= 0 && write(fd, text, sizeof(text) - 1) == sizeof(text) - 1);
	close(fd);
	wm_upstream_resolv_conf(path, &r);
	unlink(path);
	cr_assert_eq(r.count, 2);
	cr_assert_str_eq(r.servers[0].ip, "192.0.2.1");
	cr_assert_str_eq(r.servers[1].ip, "fe80::1%eth0");
	cr_assert_eq(wm_upstream_resolv_conf("/nonexistent", &r), 0);
}

Test(upstream, ourselves)
{
	static const char *const some[] = {"127.0.0.1", "fd00::1", NULL}, *const any[] = {"0.0.0.0",
											  NULL};
	struct wm_upstream_own own = {.addresses = some, .port = 8600, .addresses53 = any};
	struct wm_upstream_server s;

	cr_assert_eq(wm_upstream_server_parse("127.0.0.1@8600", &s), 0);
	cr_assert(wm_upstream_leads_here(&own, &s));
	cr_assert_eq(wm_upstream_server_parse("127.0.0.2@8600", &s), 0);
	cr_assert_not(wm_upstream_leads_here(&own, &s));
	cr_assert_eq(wm_upstream_server_parse("fd00:0::1@8600", &s), 0);
	cr_assert(wm_upstream_leads_here(&own, &s));
	cr_assert_eq(wm_upstream_server_parse("127.9.9.9", &s), 0);
	cr_assert(wm_upstream_leads_here(&own, &s), "who listens on all addresses has it");
	cr_assert_eq(wm_upstream_server_parse("192.0.2.1", &s), 0);
	cr_assert_not(wm_upstream_leads_here(&own, &s));
}

/* --- answers ---------------------------------------------------------------------------------- */
/* a.example A? with two addresses, a signature, an SOA and an NSEC behind pointers, OPT. */
static uint8_t message[] = "\0\0\x81\x80\0\1\0\3\0\2\0\1"
			   "\1a\7example\0\0\1\0\1"
			   "\xc0\x0c\0\1\0\1\0\0\0\x0a\0\4\xc0\0\2\1"
			   "\xc0\x0c\0\1\0\1\0\0\0\x0a\0\4\xc0\0\2\2"
			   "\xc0\x0c\0\x2e\0\1\0\0\0\x0a\0\4sign"
			   "\xc0\x0e\0\6\0\1\0\0\0\x0a\0\x1d\2ns\xc0\x0e\1h\xc0\x0e"
			   "\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5"
			   "\xc0\x0e\0\x2f\0\1\0\0\0\x0a\0\3\1z\0"
			   "\0\0\x29\4\xd0\0\0\x80\0\0\0";
static uint8_t query[64], out[4096];
static struct wm_dns_query q;
static struct wm_writer w;
static struct wm_upstream_made made;

static void ask(uint16_t flags, uint16_t udp_size, bool dnssec)
{
	static const uint8_t name[] = "\1A\7eXample\0\0\1\0\1\0\0\x29";
	struct wm_dns_query parsed_query;
	size_t len = WM_DNS_HEADER_LEN + sizeof(name) - 1;

	memset(query, 0, sizeof(query));
	memcpy(query, "\x12\x34", 2);
	query[2] = (uint8_t)(flags >> 8);
	query[3] = (uint8_t)flags;
	query[5] = query[11] = 1;
	memcpy(query + WM_DNS_HEADER_LEN, name, sizeof(name) - 1);
	query[len] = (uint8_t)(udp_size >> 8);
	query[len + 1] = (uint8_t)udp_size;
	query[len + 4] = dnssec ? 0x80 : 0;
	cr_assert_eq(wm_dns_parse(query, (uint32_t)len + 8, &parsed_query), WM_DNS_OK);
	q = parsed_query;
}

static bool shape(bool secure, size_t len, size_t cap)
{
	struct wm_upstream_shape s = {.query = query, .q = &q, .secure = secure};
	uint8_t *exact = malloc(len ? len : 1);
	bool ok;

	memcpy(exact, message, len);
	ok = wm_upstream_answer(&w, &s, exact, len, out, cap, &made);
	free(exact);
	return ok;
}

Test(upstream, who_does_not_validate_is_sent_no_proofs)
{
	ask(WM_DNS_RD, 1232, false);
	cr_assert(shape(true, sizeof(message) - 1, 1232));
	cr_assert_eq(made.answers, 2);
	cr_assert_eq(memcmp(out, "\x12\x34\x81\x80\0\1\0\2\0\1\0\1", 12), 0, "ID, RA, no AD");
	cr_assert_eq(memcmp(out + 12, "\1A\7eXample", 10), 0, "the question as it was asked");
	ask(WM_DNS_RD | 0x20, 1232, false);
	cr_assert(shape(true, sizeof(message) - 1, 1232));
	cr_assert_eq(out[3], 0xa0, "AD for who asked with it");
	cr_assert(shape(false, sizeof(message) - 1, 1232));
	cr_assert_eq(out[3], 0x80, "but only of what is secure");
}

Test(upstream, who_does_is_sent_all)
{
	ask(WM_DNS_RD | WM_DNS_CD, 1232, true);
	cr_assert(shape(true, sizeof(message) - 1, 1232));
	cr_assert_eq(memcmp(out + 2, "\x81\xb0\0\1\0\3\0\2\0\1", 10), 0, "AD, CD, every record");
	cr_assert_leq(made.len, sizeof(message) - 1, "names are compressed as they were");
}

Test(upstream, what_is_stale_is_said_for_thirty_seconds)
{
	uint8_t *ttl = message + WM_DNS_HEADER_LEN + 15 + 6; /* of the first record */

	ask(WM_DNS_RD, 1232, false);
	ttl[3] = WM_UPSTREAM_STALE_TTL_S;
	cr_assert(shape(false, sizeof(message) - 1, 1232));
	cr_assert_not(made.aged, "a TTL as any other");
	memcpy(ttl, "\x7f\xff\xff\xff", 4); /* WM_UPSTREAM_STALE_MARK_S */
	cr_assert(shape(false, sizeof(message) - 1, 1232));
	cr_assert(made.aged, "though others have a TTL");
	cr_assert_eq(memcmp(out + WM_DNS_HEADER_LEN + 15 + 6, "\0\0\0\x1e", 4), 0);
	cr_assert_eq(memcmp(out + WM_DNS_HEADER_LEN + 15 + 16 + 6, "\0\0\0\x0a", 4), 0);
}

Test(upstream, what_does_not_fit_is_cut_at_a_record)
{
	ask(WM_DNS_RD, 1232, false);
	for (size_t cap = 12 + 15 + 11; cap < sizeof(message); cap++) {
		cr_assert(shape(false, sizeof(message) - 1, cap));
		cr_assert_leq(made.len, cap);
		cr_assert_eq(made.truncated, (out[2] & 2) != 0);
		cr_assert_eq(made.len,
			     12u + 15 + 11 + 16 * made.answers + (made.truncated ? 0 : 41),
			     "cap %zu: %zu", cap, made.len);
	}
}

Test(upstream, what_is_cut_off_is_no_answer)
{
	ask(WM_DNS_RD, 1232, true);
	for (size_t len = 0; len < sizeof(message) - 1; len++)
		cr_assert_not(shape(false, len, 1232), "%zu octets", len);
}

/* Questions of 20 ms, of which one of so many takes 300. */
static uint64_t p95_with_slow(unsigned one_of)
{
	struct wm_upstream_pace p = {0};

	for (unsigned i = 1; i <= 5000; i++)
		wm_upstream_pace_note(&p, i % one_of ? 20000 : 300000);
	return wm_upstream_pace_p95_us(&p);
}

Test(upstream, pace)
{
	struct wm_upstream_pace p = {0};

	cr_assert_eq(wm_upstream_pace_p95_us(&p), 150000, "nothing is known");
	cr_assert(p95_with_slow(100) >= 20000 && p95_with_slow(100) <= 25000);
	cr_assert(p95_with_slow(10) >= 300000 && p95_with_slow(10) <= 375000);
	for (unsigned i = 0; i < 2000; i++)
		wm_upstream_pace_note(&p, 800000);
	cr_assert(wm_upstream_pace_p95_us(&p) >= 800000);
	for (unsigned i = 0; i < 12000; i++)
		wm_upstream_pace_note(&p, 200);
	cr_assert_eq(wm_upstream_pace_p95_us(&p), 10000, "it follows, to what is worth it");
	wm_upstream_pace_note(&p, UINT64_MAX);
	wm_upstream_pace_note(&p, 0);
}

Test(upstream, asked_twice)
{
	struct wm_upstream_pace p = {0};
	unsigned twice = 0;

	cr_assert_not(wm_upstream_pace_spend(&p), "nothing was earned");
	for (unsigned i = 0; i < 1000; i++) {
		wm_upstream_pace_earn(&p, 5);
		twice += wm_upstream_pace_spend(&p);
	}
	cr_assert_eq(twice, 50, "5 %");
	wm_upstream_pace_init(&p);
	for (unsigned i = 0; i < 100000; i++)
		wm_upstream_pace_earn(&p, 5);
	for (twice = 0; wm_upstream_pace_spend(&p);)
		twice++;
	cr_assert_eq(twice, 64, "what was saved has a bound");
}
