/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* SRV of the kernel, on the host: the octets of records. */
#include "waymark/dns_srv.h"

#include <criterion/criterion.h>
#include <stdint.h>
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
