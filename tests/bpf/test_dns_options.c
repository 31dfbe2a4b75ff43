/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* Queries with options in their OPT: the kernel answers them with userspace's octets, or leaves
 * them. */
#include "link_frames.h"
#include "userspace/base/random.h"
#include "userspace/dns/internal.h"

#define WEB "web.service.mesh.internal"

static void on_changed(void *arg, const struct wm_cookie_keys *k)
{
	cr_assert_eq(wm_plane_cookies(arg, k), 0);
}

static void options_setup(void)
{
	struct wm_dns_cookie_config c = {.file = "", .rotate_ms = 86400000, .changed = on_changed};

	dns_setup();
	c.arg = plane;
	cr_assert_eq(wm_dns_server_cookies(server, &c, NULL), 0);
	add("web", "a", "10.1.2.3", WM_PASSING);
	add("six", "b", "fd00::1", WM_PASSING);
}
TestSuite(dns_options, .init = options_setup, .fini = dns_teardown, .timeout = 600);

static const uint8_t client[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static const uint8_t subnet4[] = {0, 1, 24, 0, 192, 0, 2};
static const uint8_t subnet6[20] = {0, 2, 128, 0, 0x20, 1, 0xd, 0xb8, [19] = 1};

static void option(struct frame *f, unsigned code, const void *data, size_t n)
{
	uint8_t *opt = f->at + f->dns + 12, *p = f->at + f->len;

	while (*opt)
		opt += *opt + 1;
	opt += 5;
	put16(p, code);
	put16(p + 2, n);
	if (n)
		memcpy(p + 4, data, n);
	f->len += 4 + n;
	put16(opt + 9, (size_t)(f->at + f->len - opt) - 11);
	seal(f);
}

/* What userspace says to a client at the frame's address. */
static size_t user_says(const struct frame *q, uint8_t *out)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_in in = {.sin_family = AF_INET};

	memcpy(&in6.sin6_addr, q->at + ETH + 8, 16);
	memcpy(&in.sin_addr, q->at + ETH + 12, 4);
	wm_dns_received(server, false);
	return wm_dns_respond_to(server, q->v6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in,
				 q->at + q->dns, q->len - q->dns, false, out, WM_DNS_EDNS_MAX);
}

/* The serial of an SOA is the second's. */
static void clear_serial(uint8_t *p)
{
	uint8_t *at = p + 12;

	if (!p[9])
		return;
	while (*at)
		at += *at + 1;
	memset(at + 5 + 30, 0, 4);
}

/* The kernel answers with userspace's octets; those that are of the second, of the same second. */
static void same_octets(const struct frame *q, struct frame *a)
{
	uint8_t out[WM_DNS_EDNS_MAX];
	size_t len;

	for (unsigned i = 0; i < 3; i++) {
		len = user_says(q, out);
		cr_assert(answered(q, a));
		check_envelope(q, a, q->v6);
		cr_assert_eq(a->len - a->dns, len);
		clear_serial(out);
		clear_serial(a->at + a->dns);
		if (memcmp(a->at + a->dns, out, len) == 0)
			return;
	}
	cr_assert_fail("they differ in three tries");
}

/* The cookie that the kernel gives to who has none. */
static void cookie_for(bool v6, uint8_t ret[24])
{
	struct frame q, a;

	query_frame(&q, v6, WEB, 1, 1232);
	option(&q, 10, client, 8);
	same_octets(&q, &a);
	memcpy(ret, a.at + a.len - 24, 24);
	cr_assert_eq(memcmp(ret, client, 8), 0);
}

Test(dns_options, cookies)
{
	uint64_t made = counter(WM_C_DNS_COOKIE_NEW), valid;
	uint8_t cookie[24];
	struct frame q, a;

	for (int v6 = 0; v6 < 2; v6++) {
		cookie_for(v6, cookie);
		cr_assert_gt(counter(WM_C_DNS_COOKIE_NEW), made);
		valid = counter(WM_C_DNS_COOKIE_VALID);
		query_frame(&q, v6, WEB, 1, 1232);
		option(&q, 10, cookie, 24);
		same_octets(&q, &a);
		cr_assert_eq(memcmp(a.at + a.len - 24, cookie, 24), 0, "it is young");
		cr_assert_eq(counter(WM_C_DNS_COOKIE_VALID), valid + 1);
		made = counter(WM_C_DNS_COOKIE_NEW);
		query_frame(&q, v6, WEB, 1, 1232);
		cookie[23] ^= 1;
		option(&q, 10, cookie, 24);
		same_octets(&q, &a);
		cr_assert_eq(counter(WM_C_DNS_COOKIE_VALID), valid + 1);
		cr_assert_gt(counter(WM_C_DNS_COOKIE_NEW), made);
		made = counter(WM_C_DNS_COOKIE_NEW);
	}
}

/* Nobody else's address, and no other key. */
Test(dns_options, cookies_are_of_an_address_and_a_key)
{
	const struct wm_cookie_keys none = {0};
	uint8_t cookie[24];
	struct frame q, a;

	cookie_for(false, cookie);
	query_frame(&q, false, WEB, 1, 1232);
	option(&q, 10, cookie, 24);
	q.at[ETH + 15] = 2;
	seal(&q);
	same_octets(&q, &a);
	cr_assert_eq(counter(WM_C_DNS_COOKIE_VALID), 0);
	cr_assert_eq(wm_dns_server_cookies(server, NULL, NULL), 0);
	same_octets(&q, &a);
	cr_assert_eq(a.at[a.len - 1], 0, "no options");
	cr_assert_eq(wm_plane_cookies(plane, &none), 0);
}

Test(dns_options, subnet_padding_and_unknown_ones)
{
	static const uint8_t zeros[200];
	struct frame q, a;

	query_frame(&q, false, WEB, 1, 1232);
	option(&q, 8, subnet4, sizeof(subnet4));
	same_octets(&q, &a);
	cr_assert_eq(memcmp(a.at + a.len - sizeof(subnet4), subnet4, sizeof(subnet4)), 0);
	query_frame(&q, true, "six.service.mesh.internal", 28, 4096);
	option(&q, 100, zeros, 3);
	option(&q, 8, subnet6, sizeof(subnet6));
	option(&q, 10, client, 8);
	option(&q, 9, zeros, 0);
	same_octets(&q, &a);
	query_frame(&q, false, WEB, 1, 1232);
	option(&q, 12, zeros, sizeof(zeros));
	same_octets(&q, &a);
	cr_assert_eq(a.at[a.len - 1], 0, "no padding in the clear");
}

/* Answers of all programs end with it. */
Test(dns_options, every_program)
{
	static const struct {
		const char *name;
		uint16_t type;
	} all[] = {{WEB, 1},
		   {WEB, 28},
		   {"none.service.mesh.internal", 1},
		   {WEB, 33},
		   {"0a000001.addr.mesh.internal", 1},
		   {"mesh.internal", 16}};
	uint8_t cookie[24];
	struct frame q, a;

	cookie_for(false, cookie);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		query_frame(&q, false, all[i].name, all[i].type, 1232);
		option(&q, 10, cookie, 24);
		option(&q, 8, subnet4, sizeof(subnet4));
		same_octets(&q, &a);
		cr_assert_eq(run(WM_PROG_DNS_VETH, &q, &a), (uint32_t)TC_ACT_REDIRECT, "%s",
			     all[i].name);
		check_envelope(&q, &a, true);
	}
}

static void left(const struct frame *q, enum wm_counter why)
{
	uint64_t before = counter(why);
	struct frame a;

	cr_assert(!answered(q, &a));
	cr_assert_eq(counter(why), before + 1);
}

Test(dns_options, what_is_left_to_userspace)
{
	static const uint8_t zeros[240];
	struct frame q, a;

	query_frame(&q, false, WEB, 1, 1232);
	option(&q, 3, zeros, 0);
	left(&q, WM_C_DNS_PASS_EDNS); /* NSID */
	query_frame(&q, false, WEB, 1, 1232);
	option(&q, 10, client, 7);
	left(&q, WM_C_DNS_PASS_EDNS); /* malformed */
	query_frame(&q, false, WEB, 1, 1232);
	option(&q, 8, "\0\1\24\30", 4);
	left(&q, WM_C_DNS_PASS_EDNS);
	query_frame(&q, false, WEB, 1, 1232);
	option(&q, 12, zeros, sizeof(zeros));
	left(&q, WM_C_DNS_PASS_EDNS); /* more than is read */
	query_frame(&q, false, WEB, 1, 1232);
	for (unsigned i = 0; i < 8; i++)
		option(&q, 100, zeros, 1);
	cr_assert(answered(&q, &a));
	option(&q, 100, zeros, 1);
	left(&q, WM_C_DNS_PASS_EDNS); /* more than are looked at */
}

/* Options that do not fit beside the records: userspace cuts. */
Test(dns_options, what_does_not_fit)
{
	size_t full = 12 + 28 + 4 + 31 * 16 + 11 + 28;
	char id[16], address[16];
	struct frame q, a;

	for (unsigned i = 0; i < 31; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		snprintf(address, sizeof(address), "10.1.0.%u", i + 1);
		add("many", id, address, WM_PASSING);
	}
	query_frame(&q, false, "many.service.mesh.internal", 1, (unsigned)full);
	option(&q, 10, client, 8);
	cr_assert(answered(&q, &a));
	cr_assert_eq(a.len - a.dns, full);
	query_frame(&q, false, "many.service.mesh.internal", 1, (unsigned)full - 1);
	option(&q, 10, client, 8);
	left(&q, WM_C_DNS_PASS_SIZE);
}

/* What others said has a cookie, too, and no subnet: of whom they said it is not known. */
Test(dns_options, names_of_others)
{
	uint8_t msg[512], name[WM_NAME_BUF] = {0}, cookie[24];
	struct wm_dns_query query;
	struct wm_hot hot;
	struct frame q, a;
	size_t n;

	cookie_for(false, cookie);
	mem.config->confirmed_ns = wm_clock_ns();
	query_frame(&q, false, "www.example", 1, 0);
	n = q.len - q.dns;
	memcpy(msg, q.at + q.dns, n);
	msg[2] |= 0x80;
	msg[7] = 1;
	memcpy(msg + n, "\xc0\x0c\0\1\0\1\0\0\1\0\0\4\xc0\0\2\1", 16);
	cr_assert_eq(wm_dns_parse(q.at + q.dns, (uint32_t)n, &query), WM_DNS_OK);
	memcpy(name, q.at + q.dns + 12, query.name_len);
	cr_assert(wm_hot_make(msg, (uint32_t)n + 16, &query, name, wm_clock_ns(), &hot));
	cr_assert_eq(wm_plane_hot_put(plane, &hot, 1, wm_hot_view(&query)), 0);
	query_frame(&q, false, "www.example", 1, 1232);
	option(&q, 8, subnet4, sizeof(subnet4));
	option(&q, 10, cookie, 24);
	cr_assert(answered(&q, &a));
	check_envelope(&q, &a, false);
	cr_assert_eq(a.len - a.dns, n + 16 + 11 + 28);
	cr_assert_eq(memcmp(a.at + a.len - 24, cookie, 24), 0);
	cr_assert_eq(counter(WM_C_DNS_HOT), 1);
}

/* Who asks over a link and shows a cookie is not held to the rate limit; who has none of ours is
 * sent one where others are told to use TCP. */
Test(dns_options, the_rate_limit)
{
	struct sockaddr_in from = {.sin_family = AF_INET};
	uint8_t cookie[24], want[WM_DNS_EDNS_MAX];
	unsigned dropped = 0, sent = 0;
	struct frame q, a;
	size_t len;

	cr_assert_eq(wm_plane_limits(plane, 0, 1), 0);
	inet_pton(AF_INET, THEM4, &from.sin_addr);
	for (unsigned i = 0; i < 40; i++) {
		from_link(&q, false, WEB, 1);
		option(&q, 10, client, 8);
		if (run(WM_PROG_DNS_LINK, &q, &a) == TC_ACT_SHOT) {
			dropped++;
			continue;
		}
		check_envelope(&q, &a, true);
		memcpy(cookie, a.at + a.len - 24, 24);
		if ((a.at[a.dns + 3] & 15) != (WM_DNS_BADCOOKIE & 15))
			continue;
		sent++;
		len = wm_dns_rate_cut(server, (struct sockaddr *)&from, q.at + q.dns, q.len - q.dns,
				      want);
		cr_assert_eq(a.len - a.dns, len);
		cr_assert_eq(memcmp(a.at + a.dns, want, len - 16), 0, "as userspace says it");
	}
	cr_assert(dropped && sent, "%u and %u", dropped, sent);
	for (unsigned i = 0; i < 40; i++) {
		from_link(&q, false, WEB, 1);
		option(&q, 10, cookie, 24);
		cr_assert_eq(run(WM_PROG_DNS_LINK, &q, &a), (uint32_t)TC_ACT_REDIRECT);
		cr_assert_eq(a.at[a.dns + 7], 1, "an answer");
	}
}

/* Names that are not there are bounded together, with options too. */
Test(dns_options, the_rate_limit_of_what_is_not_there)
{
	unsigned dropped = 0;
	char name[64];
	struct frame q, a;

	cr_assert_eq(wm_plane_limits(plane, 0, 1), 0);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "none-%u.no.mesh.internal", i);
		from_link(&q, false, name, 1);
		option(&q, 10, client, 8);
		dropped += run(WM_PROG_DNS_LINK, &q, &a) == TC_ACT_SHOT;
	}
	cr_assert_gt(dropped, 10);
}

/* Whatever options: userspace's octets, or its turn. */
Test(dns_options, random_ones)
{
	static const unsigned codes[] = {3, 8, 8, 10, 10, 10, 12, 100, 0};
	uint8_t data[64], cookie[2][24], out[WM_DNS_EDNS_MAX];
	unsigned kernel = 0;
	struct frame q, a;

	cookie_for(false, cookie[0]);
	cookie_for(true, cookie[1]);
	for (unsigned n = 0; n < 20000; n++) {
		bool v6 = wm_random_below(2);

		query_frame(&q, v6, WEB, 1, 1232);
		for (uint64_t i = wm_random_below(4) + 1; i; i--) {
			unsigned code = codes[wm_random_below(9)];
			size_t len = wm_random_below(wm_random_below(4) ? 9 : 48);

			for (unsigned k = 0; k < sizeof(data); k++)
				data[k] = (uint8_t)wm_random_below(wm_random_below(2) ? 3 : 256);
			if (code == 10 && wm_random_below(4)) {
				len = 24;
				memcpy(data, cookie[v6], 24);
			} else if (code == 8 && wm_random_below(2)) {
				len = v6 ? sizeof(subnet6) : sizeof(subnet4);
				memcpy(data, v6 ? subnet6 : subnet4, len);
			}
			option(&q, code, data, len);
		}
		if (!wm_random_below(8))
			q.at[q.len - 1 - wm_random_below(40)] = (uint8_t)wm_random_below(256);
		seal(&q);
		run(WM_PROG_DNS_LO, &q, &a);
		if (same_frame(&q, &a))
			continue;
		kernel++;
		check_envelope(&q, &a, v6);
		if (user_says(&q, out) != a.len - a.dns ||
		    memcmp(out, a.at + a.dns, a.len - a.dns) != 0)
			same_octets(&q, &a);
	}
	cr_assert_gt(kernel, 20000 / 10);
	cr_assert_lt(kernel, 20000 * 9 / 10);
}
