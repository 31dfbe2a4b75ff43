/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* SRV of the kernel, on the host: the octets of records. */
#include "waymark/dns_srv_few.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t domain[] = "\4mesh\10internal";

Test(dns_srv, records_lead_to_nodes_and_to_addresses)
{
	struct wm_deny_zone zone = wm_deny_zone_of(domain, sizeof(domain));
	struct wm_srv_end end = wm_srv_end_of("DC1", &zone);
	struct wm_choice c4 = {.addr_be = {0, 0, WM_V4_MAPPED_BE, __builtin_bswap32(0x0a01fe9f)},
			       .family = WM_FAMILY_4,
			       .backend = 5,
			       .weight = 7,
			       .port_be = __builtin_bswap16(8080)};
	struct wm_choice c6 = {
		.addr_be = {__builtin_bswap32(0xfd000000), 0, 0, __builtin_bswap32(9)},
		.family = WM_FAMILY_6,
		.weight = 1};
	struct wm_srv four = {0}, six = {0};
	struct wm_target node = {.len = 8};
	static uint8_t out[WM_SRV_ROOM];
	static const char first[] = "\xc0\x0c\0\x21\0\1\0\0\0\x09\0\x26\0\1\0\7\x1f\x90"
				    "\2N1\4rack\4node\3dc1\4mesh\10internal",
			  second[] =
				  "\xc0\x0c\0\x21\0\1\0\0\0\x09\0\x3f\0\1\0\1\0\0"
				  "\40fd000000000000000000000000000009\4addr\3dc1\4mesh\10internal",
			  third[] = "\xc0\x0c\0\x21\0\1\0\0\0\x09\0\x27\0\1\0\7\x1f\x90"
				    "\010"
				    "0a01fe9f\4addr\3dc1\4mesh\10internal",
			  addresses[] =
				  "\xc1\x12\0\1\0\1\0\0\0\x09\0\4\x0a\x01\xfe\x9f"
				  "\xc1\x44\0\x1c\0\1\0\0\0\x09\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0"
				  "\0\0\x09";
	uint32_t at, ttl_be = __builtin_bswap32(9);

	memcpy(node.words, "\2N1\4rack", 8);
	cr_assert_eq(wm_srv_keep(&four, &c4, 0xfffe, 8, end.len), sizeof(first) + WM_DNS_RR_A);
	cr_assert_eq(four.len, sizeof(first));
	cr_assert(four.backend == 5 && four.stamp == 0xfffe);
	wm_srv_put(out, 0, &four, &node, &end, ttl_be);
	cr_assert_arr_eq(out, first, sizeof(first));
	cr_assert_eq(wm_srv_keep(&six, &c6, 1, 0, end.len), sizeof(second) + WM_DNS_RR_AAAA);
	cr_assert_eq(six.len, sizeof(second));
	wm_srv_put(out, sizeof(first), &six, NULL, &end, ttl_be);
	cr_assert_arr_eq(out + sizeof(first), second, sizeof(second));
	at = sizeof(first) + sizeof(second);
	wm_srv_put_address(out, at, &four, 256 + WM_SRV_HEAD, ttl_be);
	wm_srv_put_address(out, at + wm_srv_address_len(&four), &six,
			   256 + sizeof(first) + WM_SRV_HEAD, ttl_be);
	cr_assert_eq(wm_srv_address_len(&four) + wm_srv_address_len(&six), sizeof(addresses) - 1);
	cr_assert_arr_eq(out + at, addresses, sizeof(addresses) - 1);
	cr_assert_eq(wm_srv_keep(&four, &c4, 1, 0, end.len), sizeof(third) + WM_DNS_RR_A);
	wm_srv_put(out, 0, &four, NULL, &end, ttl_be);
	cr_assert_arr_eq(out, third, sizeof(third));
}

Test(dns_srv, a_name_that_is_too_long)
{
	struct wm_deny_zone zone = wm_deny_zone_of(domain, sizeof(domain));
	struct wm_choice c = {.family = WM_FAMILY_4};
	struct wm_srv r = {0};
	static uint8_t wide[WM_DENY_BUF];
	struct wm_srv_end end;

	for (unsigned labels = 0; labels < 4; labels++) {
		wide[62 * labels] = 61;
		memset(wide + 62 * labels + 1, 'a', 61);
	}
	cr_assert_eq(wm_srv_end_of("", &zone).len, 0);
	zone = wm_deny_zone_of(wide, 62 * 2 + 1);
	end = wm_srv_end_of("dc", &zone);
	cr_assert_eq(end.len, 62 * 2 + 4);
	cr_assert_eq(wm_srv_keep(&r, &c, 1, WM_TARGET_MAX, end.len),
		     WM_SRV_HEAD + 64 + 5 + 128 + WM_DNS_RR_A);
	wide[62 * 2 + 1 - 1] = 61;
	zone = wm_deny_zone_of(wide, 62 * 3 + 1);
	end = wm_srv_end_of("dc", &zone);
	cr_assert_gt(wm_srv_keep(&r, &c, 1, WM_TARGET_MAX, end.len), WM_DNS_EDNS_MAX,
		     "64 + 5 + 3 + 187");
}

static struct wm_backend by_address(uint32_t i, uint16_t weight)
{
	return (struct wm_backend){.state = WM_STATE_UP | (0xff00u + i) << 16,
				   .port_be = __builtin_bswap16((uint16_t)(8080 + i)),
				   .families = WM_FAMILY_4 | WM_FAMILY_6,
				   .addr4_be = __builtin_bswap32(0x0a01fe90 + i),
				   .weight = weight,
				   .flags = WM_BACKEND_F_BY_ADDRESS,
				   .out_until_ns = 1000};
}

/* The same octets as are gathered and written one by one. */
Test(dns_srv, few_are_written_as_others)
{
	struct wm_deny_zone zone = wm_deny_zone_of(domain, sizeof(domain));
	struct wm_srv_end end = wm_srv_end_of("dc1", &zone);
	static uint8_t want[WM_SRV_ROOM], out[WM_SRV_ROOM];
	uint32_t ttl_be = __builtin_bswap32(70000), len = wm_srv_few_len(end.len), at = 0;
	struct wm_srv r[3] = {0};
	__u64 word[3], other;

	for (unsigned i = 0; i < 3; i++, at += len) {
		struct wm_backend b = by_address(i, (uint16_t)(300 * i));
		struct wm_choice c = {.addr_be = {0, 0, WM_V4_MAPPED_BE, b.addr4_be},
				      .family = WM_FAMILY_4,
				      .weight = b.weight,
				      .port_be = b.port_be};

		word[i] = wm_srv_few_read(&b, 0xff00 + i, 1000, &other);
		cr_assert_eq(other, 0);
		cr_assert_eq(wm_srv_keep(&r[i], &c, 0, 0, end.len), len + WM_DNS_RR_A);
		wm_srv_put(want, at, &r[i], NULL, &end, ttl_be);
		wm_srv_few_put(out, at, word[i], len, &end, ttl_be);
	}
	for (unsigned i = 0; i < 3; i++) {
		wm_srv_put_address(want, at + i * WM_DNS_RR_A, &r[i], 300 + i, ttl_be);
		wm_srv_few_put_address(out, at + i * WM_DNS_RR_A, word[i], 300 + i, ttl_be);
	}
	cr_assert_arr_eq(out, want, 3 * len);
	cr_assert_arr_eq(out + at, want + at, 3 * WM_DNS_RR_A);
}

/* What differs in anything is none of them. */
Test(dns_srv, few_are_all_alike)
{
	struct wm_backend ok = by_address(1, 1), b;
	__u64 other;

	for (unsigned i = 0; i < 7; i++) {
		b = ok;
		if (i == 0)
			b.state ^= 1u << 16; /* another occupant */
		else if (i == 1)
			b.state ^= WM_STATE_UP ^ WM_STATE_DOWN;
		else if (i == 2)
			b.state |= WM_STATE_F_FELL;
		else if (i == 3)
			b.out_until_ns = 1001;
		else if (i == 4)
			b.families = WM_FAMILY_6;
		else if (i == 5)
			b.flags = 0;
		wm_srv_few_read(&b, 0xff01, 1000, &other);
		cr_assert_eq(other != 0, i < 6, "%u", i);
	}
}

#define THROWN 240000

/* How often each stands first, and of four that are equal each order. */
Test(dns_srv, few_stand_in_the_order_of_their_weights)
{
	static const uint16_t weights[][WM_FEW_MAX] = {
		{0}, {5}, {3, 1}, {0, 0}, {1, 0, 3}, {65535, 65535, 65535, 65535}, {0, 0, 0, 0}};
	static const unsigned n[] = {1, 1, 2, 2, 3, 4, 4};
	__u64 random = 0;

	for (unsigned t = 0; t < sizeof(n) / sizeof(*n); t++) {
		unsigned first[WM_FEW_MAX] = {0}, orders[256] = {0}, total = 0;
		__u64 few[WM_FEW_MAX] = {0};

		for (unsigned i = 0; i < n[t]; i++) {
			few[i] = 0xffff0000ffffffff | (__u64)weights[t][i] << 32;
			total += weights[t][i];
		}
		for (unsigned i = 0; i < THROWN; i++) {
			uint32_t order = wm_srv_few_order(few, n[t], wm_mix64(++random)), seen = 0;

			for (unsigned k = 0; k < n[t]; k++)
				seen |= 1u << (order >> 8 * k & 0xff);
			cr_assert_eq(seen, (1u << n[t]) - 1, "each once");
			first[order & 3]++;
			orders[(order & 3) | (order >> 8 & 3) << 2 | (order >> 16 & 3) << 4]++;
		}
		for (unsigned i = 0; i < n[t]; i++) {
			unsigned want = total ? (unsigned)((__u64)THROWN * weights[t][i] / total)
					      : THROWN / n[t];

			/* six standard deviations at most */
			cr_assert_leq(abs((int)(first[i] - want)), want && want < THROWN ? 1500 : 0,
				      "%u: %u first %u", t, i, first[i]);
		}
		for (unsigned i = 0; n[t] == 4 && i < 256; i++)
			cr_assert(!orders[i] || abs((int)orders[i] - THROWN / 24) < 600, "%u %u", i,
				  orders[i]);
	}
}
