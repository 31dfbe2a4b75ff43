/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* Options of an OPT record: what is read of them, and what is malformed. */
#include "waymark/dns_options.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static __u8 at[1024];
static __u32 len;
static struct wm_options o;

static void option(unsigned code, const void *data, size_t n)
{
	const __u8 head[4] = {(__u8)(code >> 8), (__u8)code, (__u8)(n >> 8), (__u8)n};

	memcpy(at + len, head, 4);
	if (n)
		memcpy(at + len + 4, data, n);
	len += 4 + (__u32)n;
}

static bool ok(void)
{
	__u8 *exact = malloc(len ? len : 1); /* its exact size, for the sanitizer */
	int r;

	memcpy(exact, at, len);
	r = wm_options_read(exact, len, &o);
	free(exact);
	return r;
}

static bool alone(unsigned code, const void *data, size_t n)
{
	len = 0;
	option(code, data, n);
	return ok();
}

static const __u8 zeros[64];

Test(dns_options, none_and_unknown_ones)
{
	cr_assert(ok());
	option(100, zeros, 0);
	option(65535, zeros, 40);
	option(12, zeros, 64);
	option(9, zeros, 0);
	cr_assert(ok());
	cr_assert_eq(o.cookie_at | o.subnet_len | o.nsid, 0);
}

Test(dns_options, what_does_not_end_within)
{
	option(100, zeros, 9);
	for (__u32 n = len; --n;) {
		len = n;
		cr_assert(!ok(), "%u octets", n);
	}
}

Test(dns_options, cookies_of_lengths)
{
	for (size_t n = 0; n <= 41; n++)
		cr_assert_eq(alone(WM_DNS_OPTION_COOKIE, zeros, n), n == 8 || (n >= 16 && n <= 40),
			     "%zu", n);
}

Test(dns_options, the_first_counts)
{
	option(100, zeros, 3);
	option(WM_DNS_OPTION_COOKIE, zeros, 8);
	option(WM_DNS_OPTION_COOKIE, zeros, 24);
	option(WM_DNS_OPTION_NSID, zeros, 0);
	cr_assert(ok());
	cr_assert_eq(o.cookie_at, 11);
	cr_assert_eq(o.cookie_len, 8);
	cr_assert(o.nsid);
}

Test(dns_options, subnets)
{
	static const struct {
		__u8 data[20];
		size_t len;
		bool ok;
	} all[] = {
		{{0, 1, 24, 0, 192, 0, 2}, 7, true},
		{{0, 1, 0, 0}, 4, true},
		{{0, 2, 0, 0}, 4, true},
		{{0, 0, 0, 0}, 4, true},
		{{0, 1, 32, 0, 192, 0, 2, 1}, 8, true},
		{{0, 1, 20, 0, 192, 0, 0x20}, 7, true},
		{{0, 2, 128, 0, 0x20, 1, 0xd, 0xb8}, 20, true},
		{{0, 1, 20, 0, 192, 0, 0x28}, 7, false},	 /* bits behind the prefix */
		{{0, 1, 24, 0, 192, 0, 2, 0}, 8, false},	 /* octets behind it */
		{{0, 1, 24, 0, 192, 0}, 6, false},		 /* too few */
		{{0, 1, 33, 0, 192, 0, 2, 1, 0}, 9, false},	 /* longer than an address */
		{{0, 2, 129, 0, 0x20, 1, 0xd, 0xb8}, 20, false}, /* likewise */
		{{0, 1, 24, 24, 192, 0, 2}, 7, false},		 /* a scope in a query */
		{{0, 3, 0, 0}, 4, false},			 /* no family */
		{{1, 1, 24, 0, 192, 0, 2}, 7, false},
		{{0, 0, 8, 0, 1}, 5, false},
		{{0, 1, 0}, 3, false},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		cr_assert_eq(alone(WM_DNS_OPTION_SUBNET, all[i].data, all[i].len), all[i].ok, "%zu",
			     i);
		cr_assert(!all[i].ok || (o.subnet_at == 0 && o.subnet_len == 4 + all[i].len));
	}
}
