/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* Where an address' likely set stands: addresses that are alike stand apart. */
#include "waymark/likely.h"
#include "waymark/table.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#define PLACES	  4096u
#define ADDRESSES 1000u

/* Some 890 places for 1,000 of addresses drawn by lot: 4096 * (1 - e^(-1000 / 4096)). */
#define APART 850u

static unsigned apart(void (*address)(unsigned i, __be32 ret[4]))
{
	static uint8_t taken[PLACES];
	unsigned n = 0;

	memset(taken, 0, sizeof(taken));
	for (unsigned i = 0; i < ADDRESSES; i++) {
		__be32 a[4] = {0};
		uint8_t *at;

		address(i, a);
		at = &taken[wm_likely_address(a) & (PLACES - 1)];
		n += !*at;
		*at = 1;
	}
	return n;
}

static void of_ipv4(unsigned i, __be32 ret[4])
{
	ret[2] = WM_V4_MAPPED_BE;
	ret[3] = __builtin_bswap32(0xf0000000 + i);
}

static void of_networks(unsigned i, __be32 ret[4])
{
	ret[2] = WM_V4_MAPPED_BE;
	ret[3] = __builtin_bswap32(0x0a000001 + (i << 8));
}

static void of_ipv6(unsigned i, __be32 ret[4])
{
	ret[0] = __builtin_bswap32(0xfd770000);
	ret[3] = __builtin_bswap32(i);
}

static void of_prefixes(unsigned i, __be32 ret[4])
{
	ret[0] = __builtin_bswap32(0xfd770000);
	ret[3] = __builtin_bswap32(1);
	ret[1] = __builtin_bswap32(i);
}

Test(likely, addresses_that_are_alike_stand_apart)
{
	cr_assert_gt(apart(of_ipv4), APART);
	cr_assert_gt(apart(of_networks), APART);
	cr_assert_gt(apart(of_ipv6), APART);
	cr_assert_gt(apart(of_prefixes), APART);
}
