/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* Answers of other servers that the kernel keeps: what is taken of a message, and what is made of
 * it again. */
#include "waymark/dns_hot.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#define S	 1000000000ull
#define NAME	 "\3www\7example"
#define NAME_LEN (sizeof(NAME)) /* with the root label */
#define BEGIN	 (WM_DNS_HEADER_LEN + NAME_LEN + 4)

static uint8_t msg[4096];
static size_t len;
static struct wm_dns_query q;
static struct wm_hot hot;
static const struct wm_hot_key key = {.name = {{1, 2}}, .type = WM_DNS_A, .view = WM_HOT_DO};

static void put(const void *data, size_t n)
{
	cr_assert_leq(len + n, sizeof(msg));
	memcpy(msg + len, data, n);
	len += n;
}

/* A record of the question's name. */
static void record(int section, uint16_t type, uint32_t ttl_s, size_t data)
{
	uint8_t head[12] = {0xc0, 12};

	head[2] = (uint8_t)(type >> 8);
	head[3] = (uint8_t)type;
	head[5] = WM_DNS_IN;
	for (int i = 0; i < 4; i++)
		head[6 + i] = (uint8_t)(ttl_s >> (24 - 8 * i));
	head[10] = (uint8_t)(data >> 8);
	head[11] = (uint8_t)data;
	put(head, sizeof(head));
	for (size_t i = 0; i < data; i++)
		put(&(uint8_t){(uint8_t)i}, 1);
	msg[7 + 2 * section]++;
}

static void begin(uint16_t flags)
{
	const uint8_t header[WM_DNS_HEADER_LEN] = {1, 2, (uint8_t)(flags >> 8), (uint8_t)flags,
						   0, 1};

	memset(msg, 0, sizeof(msg));
	len = 0;
	put(header, sizeof(header));
	put(NAME, NAME_LEN);
	put("\0\1\0\1", 4);
	q = (struct wm_dns_query){.type = WM_DNS_A, .class = WM_DNS_IN, .name_len = NAME_LEN};
}

static int make(void)
{
	uint8_t folded[WM_DNS_NAME_MAX + 1] = NAME;

	return wm_hot_make(msg, (uint32_t)len, &q, folded, 100 * S, &hot);
}

static uint32_t ttl(const uint8_t *octets, unsigned i)
{
	const uint8_t *p = octets + hot.head.ttl_at[i];

	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

Test(dns_hot, what_is_kept_is_what_stands_behind_the_question)
{
	__u64 out[WM_HOT_OCTETS / 8];

	begin(WM_DNS_QR | WM_DNS_RD | WM_DNS_RA | WM_DNS_AD);
	record(0, WM_DNS_A, 300, 4);
	record(0, WM_DNS_A, 200, 4);
	record(2, WM_DNS_TXT, 70000, 9);
	put("\0\0\51\4\xd0\0\0\0\0\0", 11); /* OPT */
	msg[11]++;
	cr_assert(make());
	cr_assert_eq(hot.head.len, len - BEGIN - 11);
	cr_assert_eq(memcmp(hot.octets, msg + BEGIN, hot.head.len), 0);
	cr_assert_eq(hot.head.answers, 2);
	cr_assert_eq(hot.head.authorities, 0);
	cr_assert_eq(hot.head.additionals, 1, "without OPT");
	cr_assert_eq(hot.head.flags, WM_DNS_AD);
	cr_assert_eq(hot.head.expires_ns, 300 * S, "the least TTL, from now on");
	wm_hot_seal(&key, &hot);
	cr_assert(wm_hot_read(&hot, &key, &hot.head, out));
	wm_hot_age((uint8_t *)out, &hot.head, 60, 0);
	cr_assert_eq(ttl((uint8_t *)out, 0), 240);
	cr_assert_eq(ttl((uint8_t *)out, 1), 140);
	cr_assert_eq(ttl((uint8_t *)out, 2), 69940);
	wm_hot_age((uint8_t *)out, &hot.head, 200, 0);
	cr_assert_eq(ttl((uint8_t *)out, 0), 40);
	cr_assert_eq(ttl((uint8_t *)out, 1), 0, "never below");
	cr_assert_eq(ttl((uint8_t *)out, 2), 69740);
	wm_hot_age((uint8_t *)out, &hot.head, UINT32_MAX, 0);
	cr_assert_eq(ttl((uint8_t *)out, 2), 0);
	wm_hot_age((uint8_t *)out, &hot.head, 0, 1);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(ttl((uint8_t *)out, i), WM_HOT_STALE_TTL_S);
}

Test(dns_hot, an_entry_that_is_half_another_is_not_read)
{
	__u64 out[WM_HOT_OCTETS / 8];
	struct wm_hot_key other = key;
	uint8_t *p = (uint8_t *)&hot.head;

	begin(WM_DNS_QR);
	record(0, WM_DNS_A, 300, 4);
	record(1, WM_DNS_NS, 300, 100);
	cr_assert(make());
	wm_hot_seal(&key, &hot);
	other.view = 0;
	cr_assert_not(wm_hot_read(&hot, &other, &hot.head, out));
	for (size_t i = 0; i < sizeof(hot.head) + sizeof(hot.name) + hot.head.len; i++) {
		if (i >= sizeof(hot.head) && i < sizeof(hot.head) + sizeof(hot.name))
			continue; /* it is compared with the question's */
		p[i] ^= 0x40;
		cr_assert_not(wm_hot_read(&hot, &key, &hot.head, out), "octet %zu", i);
		p[i] ^= 0x40;
	}
	cr_assert(wm_hot_read(&hot, &key, &hot.head, out));
}

Test(dns_hot, negative_answers_live_as_long_as_their_soa)
{
	begin(WM_DNS_QR | WM_DNS_NXDOMAIN);
	record(1, WM_DNS_SOA, 20, 30);
	cr_assert(make());
	cr_assert_eq(hot.head.flags, WM_DNS_NXDOMAIN);
	cr_assert_eq(hot.head.expires_ns, 120 * S);
}

Test(dns_hot, what_may_not_be_kept)
{
	begin(WM_DNS_QR);
	cr_assert_not(make(), "no record: there is no TTL");
	record(0, WM_DNS_A, 0, 4);
	cr_assert_not(make(), "TTL 0");
	begin(WM_DNS_QR | WM_DNS_TC);
	record(0, WM_DNS_A, 9, 4);
	cr_assert_not(make(), "cut");
	begin(WM_DNS_QR | WM_DNS_SERVFAIL);
	record(0, WM_DNS_A, 9, 4);
	cr_assert_not(make(), "an error");
	begin(WM_DNS_QR);
	for (unsigned i = 0; i <= WM_HOT_TTLS; i++)
		record(0, WM_DNS_A, 9, 4);
	cr_assert_not(make(), "a record too many");
	begin(WM_DNS_QR);
	record(0, WM_DNS_TXT, 9, WM_HOT_OCTETS - 12);
	cr_assert(make());
	begin(WM_DNS_QR);
	record(0, WM_DNS_TXT, 9, WM_HOT_OCTETS - 11);
	cr_assert_not(make(), "an octet too many");
	begin(WM_DNS_QR);
	put("\0\0\51\4\xd0\0\0\0\0\0", 11);
	record(0, WM_DNS_A, 9, 4);
	msg[7]++;
	cr_assert_not(make(), "OPT is not the last");
}

Test(dns_hot, a_message_that_is_cut_anywhere_is_refused)
{
	begin(WM_DNS_QR);
	record(0, WM_DNS_A, 9, 4);
	record(0, WM_DNS_A, 9, 4);
	for (size_t whole = len; len > WM_DNS_HEADER_LEN;) {
		len--;
		cr_assert_not(make(), "%zu of %zu", len, whole);
	}
}
