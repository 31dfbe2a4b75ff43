/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* SipHash-2-4 and server cookies, by the examples of who made them: the reference's table, RFC 9018
 * appendix A. */
#include "waymark/dns_cookie.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* --- SipHash ---------------------------------------------------------------------------------- */
static const __u64 sip_key[2] = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};

/* Of the octets 0, 1, 2 ... */
static __u64 sip_of(unsigned len)
{
	__u8 in[64] = {0};
	struct wm_sip s;
	__u64 word;
	unsigned at;

	for (unsigned i = 0; i < len; i++)
		in[i] = (__u8)i;
	wm_sip_begin(&s, sip_key);
	for (at = 0; at + 8 <= len; at += 8) {
		memcpy(&word, in + at, 8);
		wm_sip_word(&s, word);
	}
	memcpy(&word, in + at, 8);
	return wm_sip_end(&s, word, len);
}

Test(siphash, the_table_of_the_reference)
{
	cr_assert_eq(sip_of(0), 0x726fdb47dd0e0e31ull);
	cr_assert_eq(sip_of(1), 0x74f839c593dc67fdull);
	cr_assert_eq(sip_of(8), 0x93f5f5799a932462ull);
	cr_assert_eq(sip_of(15), 0xa129ca6149be45e5ull, "the example of the paper");
	cr_assert_eq(sip_of(63), 0x958a324ceb064572ull);
}

/* --- cookies ---------------------------------------------------------------------------------- */
static __u64 word_of(const char *hex)
{
	__u8 octets[8];
	unsigned v;
	__u64 w;

	for (unsigned i = 0; i < 8; i++) {
		cr_assert_eq(sscanf(hex + 2 * i, "%2x", &v), 1);
		octets[i] = (__u8)v;
	}
	memcpy(&w, octets, 8);
	return w;
}

static struct wm_cookie_keys keys;

static void key(unsigned i, const char *hex)
{
	keys.key[i][0] = word_of(hex);
	keys.key[i][1] = word_of(hex + 16);
	keys.count = keys.count > i ? keys.count : i + 1;
}

/* What @p client, whose cookie is @p cookie, is answered at @p now_s. */
static enum wm_cookie answered(const char *client, const char *cookie, __u32 now_s, char out[49])
{
	struct wm_cookie_ask a = {.client = word_of(cookie), .now_s = now_s};
	__u64 words[3] = {a.client};
	enum wm_cookie c;

	if (inet_pton(AF_INET6, client, a.addr_be) != 1) {
		cr_assert_eq(inet_pton(AF_INET, client, &a.addr_be[3]), 1);
		a.addr_be[2] = htonl(0xffff);
	}
	a.whole = strlen(cookie) == 48;
	if (a.whole) {
		a.head = word_of(cookie + 16);
		a.hash = word_of(cookie + 32);
	}
	c = wm_cookie_answer(&keys, &a, &words[1], &words[2]);
	for (unsigned i = 0; i < 24; i++)
		sprintf(out + 2 * i, "%02x", ((const __u8 *)words)[i]);
	return c;
}

#define SECRET	    "e5e973e5a6b2a43f48e7dc849e37bfcf"
#define A_CLIENT    "2464c4abcf10c957"
#define A_COOKIE    A_CLIENT "010000005cf79f111f8130c3eee29480"
#define A_MADE	    1559731985u
#define OLD_SECRET  "dd3bdf9344b678b185a6f5cb60fca715"
#define NEW_SECRET  "445536bcd2513298075a5d379663c962"
#define SIX_CLIENT  "22681ab97d52c298"
#define SIX_COOKIE  SIX_CLIENT "010000005cf7c57926556bd0934c72f8"
#define SIX_ADDRESS "2001:db8:220:1:59de:d0f4:8769:82b8"

Test(dns_cookie, rfc9018_a1_a_new_one)
{
	char out[49];

	key(0, SECRET);
	cr_assert_eq(answered("198.51.100.100", A_CLIENT, A_MADE, out), WM_COOKIE_NONE);
	cr_assert_str_eq(out, A_COOKIE);
}

Test(dns_cookie, rfc9018_a2_a_renewed_one)
{
	char out[49];

	key(0, SECRET);
	cr_assert_eq(answered("198.51.100.100", A_COOKIE, 0x5cf7a871, out), WM_COOKIE_VALID);
	cr_assert_str_eq(out, A_CLIENT "010000005cf7a871d4a564a1442aca77");
}

/* Reserved octets that another server has set are hashed as they are. */
Test(dns_cookie, rfc9018_a3_reserved_octets)
{
	const char *old = "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5";
	char out[49];

	key(0, SECRET);
	cr_assert_eq(answered("203.0.113.203", old, 0x5cf78f71 + 60, out), WM_COOKIE_VALID);
	cr_assert_str_neq(out, old, "ours has none");
	(void)answered("203.0.113.203", old, 0x5cf7a9ac, out);
	cr_assert_str_eq(out, "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e");
}

Test(dns_cookie, rfc9018_a4_ipv6_and_another_key)
{
	char out[49];

	key(0, NEW_SECRET);
	key(1, OLD_SECRET);
	cr_assert_eq(answered(SIX_ADDRESS, SIX_COOKIE, 0x5cf7c609, out), WM_COOKIE_VALID);
	cr_assert_str_eq(out, SIX_CLIENT "010000005cf7c609a6bb79d16625507a");
	keys.count = 1;
	cr_assert_eq(answered(SIX_ADDRESS, SIX_COOKIE, 0x5cf7c609, out), WM_COOKIE_NONE);
}

Test(dns_cookie, one_that_is_young_stays)
{
	char out[49];

	key(0, SECRET);
	for (int age = -WM_COOKIE_AHEAD_S; age <= WM_COOKIE_RENEW_S; age += 100) {
		cr_assert_eq(answered("198.51.100.100", A_COOKIE, A_MADE + (__u32)age, out),
			     WM_COOKIE_VALID);
		cr_assert_str_eq(out, A_COOKIE);
	}
	cr_assert_eq(answered("198.51.100.100", A_COOKIE, A_MADE + WM_COOKIE_OLD_S, out),
		     WM_COOKIE_VALID);
	cr_assert_str_neq(out, A_COOKIE);
}

Test(dns_cookie, one_of_another_time_client_or_version_is_none)
{
	char out[49], other[] = A_COOKIE;

	key(0, SECRET);
	cr_assert_eq(answered("198.51.100.100", A_COOKIE, A_MADE + WM_COOKIE_OLD_S + 1, out),
		     WM_COOKIE_NONE);
	cr_assert_eq(answered("198.51.100.100", A_COOKIE, A_MADE - WM_COOKIE_AHEAD_S - 1, out),
		     WM_COOKIE_NONE);
	cr_assert_eq(answered("198.51.100.101", A_COOKIE, A_MADE, out), WM_COOKIE_NONE);
	cr_assert_eq(answered("::198.51.100.100", A_COOKIE, A_MADE, out), WM_COOKIE_NONE);
	for (unsigned i = 0; i < 48; i++) {
		other[i] = other[i] == '0' ? '3' : '0';
		cr_assert_eq(answered("198.51.100.100", other, A_MADE, out), WM_COOKIE_NONE, "%s",
			     other);
		other[i] = A_COOKIE[i];
	}
}

/* The clock's 32 bits end in 2106: RFC 1982. */
Test(dns_cookie, time_goes_round)
{
	char made[49], out[49];

	key(0, SECRET);
	(void)answered("192.0.2.1", A_CLIENT, 0xfffffff0u, made);
	cr_assert_eq(answered("192.0.2.1", made, 0x10, out), WM_COOKIE_VALID);
	cr_assert_str_eq(out, made);
	cr_assert_eq(answered("192.0.2.1", made, 0x10 + WM_COOKIE_OLD_S, out), WM_COOKIE_NONE);
}
