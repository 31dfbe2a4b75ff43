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
	struct wm_srv four = {.addr_be = {0, 0, WM_V4_MAPPED_BE, __builtin_bswap32(0x0a01fe9f)},
			      .family = WM_FAMILY_4,
			      .weight = 7,
			      .port_be = __builtin_bswap16(8080)};
	struct wm_srv six = {.addr_be = {__builtin_bswap32(0xfd000000), 0, 0, __builtin_bswap32(9)},
			     .family = WM_FAMILY_6,
			     .weight = 1};
	struct wm_target own = {.len = 0}, node = {.len = 8};
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
	uint32_t at;

	memcpy(node.words, "\2N1\4rack", 8);
	at = wm_srv_put(out, 0, &four, &node, &end, 9);
	cr_assert_eq(at, sizeof(first));
	cr_assert_arr_eq(out, first, sizeof(first));
	at = wm_srv_put(out, at, &six, &own, &end, 9);
	cr_assert_eq(at, sizeof(first) + sizeof(second));
	cr_assert_arr_eq(out + sizeof(first), second, sizeof(second));
	at = wm_srv_put_address(out, at, &four, 256, 9);
	at = wm_srv_put_address(out, at, &six, 256, 9);
	cr_assert_eq(at, sizeof(first) + sizeof(second) + sizeof(addresses) - 1);
	cr_assert_arr_eq(out + sizeof(first) + sizeof(second), addresses, sizeof(addresses) - 1);
	at = wm_srv_put(out, 0, &four, &own, &end, 9);
	cr_assert_eq(at, sizeof(third));
	cr_assert_arr_eq(out, third, sizeof(third));
}

Test(dns_srv, a_name_that_is_too_long)
{
	struct wm_deny_zone zone = wm_deny_zone_of(domain, sizeof(domain));
	struct wm_srv r = {.family = WM_FAMILY_4};
	struct wm_target node = {.len = WM_TARGET_MAX};
	static uint8_t out[WM_SRV_ROOM], wide[WM_DENY_BUF];
	struct wm_srv_end end;

	for (unsigned labels = 0; labels < 4; labels++) {
		wide[62 * labels] = 61;
		memset(wide + 62 * labels + 1, 'a', 61);
	}
	cr_assert_eq(wm_srv_end_of("", &zone).len, 0);
	zone = wm_deny_zone_of(wide, 62 * 2 + 1);
	end = wm_srv_end_of("dc", &zone);
	cr_assert_eq(end.len, 62 * 2 + 4);
	cr_assert_gt(wm_srv_put(out, 0, &r, &node, &end, 1), 0u);
	wide[62 * 2 + 1 - 1] = 61;
	zone = wm_deny_zone_of(wide, 62 * 3 + 1);
	end = wm_srv_end_of("dc", &zone);
	cr_assert_eq(wm_srv_put(out, 0, &r, &node, &end, 1), 0u, "64 + 5 + 3 + 187");
}
