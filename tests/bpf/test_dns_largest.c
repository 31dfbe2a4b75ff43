/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* A service of as many backends as a set may have, asked for by name: the DNS programs leave its
 * addresses to userspace, and answer what needs no look at them. */
#include "dns_fixture.h"

#include <stdlib.h>

#define LARGEST WM_SET_SLOTS_MAX
#define A	1
#define AAAA	28

static struct wm_want_backend *many;
static struct wm_want_set large;

static void largest_setup(void)
{
	backends_cap = LARGEST + 1024;
	dns_setup();
	add("large", "one", "10.1.2.3", WM_PASSING); /* or the registry knows no such name */
	many = calloc(LARGEST, sizeof(*many));
	cr_assert(many);
	large = (struct wm_want_set){.service = "large",
				     .vip4_be = htonl(0xf0000001),
				     .backends = many,
				     .backends_count = LARGEST};
	for (unsigned i = 0; i < LARGEST; i++)
		many[i] = (struct wm_want_backend){.instance = i + 1,
						   .addr4_be = htonl(0x0a100000 + i),
						   .port = 80,
						   .weight = 1,
						   .state = WM_STATE_UP};
	cr_assert_eq(wm_tables_put(tables, &large, NULL, NULL), 0);
}

static void largest_teardown(void)
{
	free(many);
	dns_teardown();
}

TestSuite(dns_largest, .init = largest_setup, .fini = largest_teardown, .timeout = 300);

/* Ask both. @return records of the answer; @p ret_kernel: the program gave it. */
static unsigned ask(const char *name, uint16_t type, unsigned edns, bool tcp, bool *ret_kernel)
{
	static uint8_t out[65536];
	struct frame q, a;
	size_t len;

	query_frame(&q, false, name, type, edns);
	*ret_kernel = !tcp && answered(&q, &a);
	if (*ret_kernel) {
		check_envelope(&q, &a, false);
		return (unsigned)a.at[a.dns + 6] << 8 | a.at[a.dns + 7];
	}
	len = wm_dns_respond(server, q.at + q.dns, q.len - q.dns, tcp, out,
			     tcp ? WM_DNS_TCP_MAX : WM_DNS_EDNS_MAX);
	cr_assert_gt(len, 12);
	cr_assert_eq(out[3] & 15, 0);
	/* TC: there is more than fits */
	cr_assert_eq(out[2] >> 1 & 1, type == A);
	return (unsigned)out[6] << 8 | out[7];
}

Test(dns_largest, addresses_of_65536_are_left_to_userspace)
{
	uint64_t passed = counter(WM_C_DNS_PASS_SIZE);
	bool kernel;

	cr_assert_eq(ask("large.service.mesh.internal", A, 0, false, &kernel), 29);
	cr_assert_not(kernel);
	cr_assert_eq(ask("large.service.mesh.internal", A, 1232, false, &kernel), 73);
	cr_assert_not(kernel);
	cr_assert_eq(counter(WM_C_DNS_PASS_SIZE), passed + 2);
	cr_assert_gt(ask("large.service.mesh.internal", A, 0, true, &kernel), 4000);
}

Test(dns_largest, what_needs_no_backend_is_answered_in_the_kernel)
{
	uint64_t passed = counter(WM_C_DNS_PASS_SIZE);
	bool kernel;

	cr_assert_eq(ask("large.virtual.mesh.internal", A, 1232, false, &kernel), 1);
	cr_assert(kernel);
	/* nobody has IPv6: the set says so, no slot is read */
	cr_assert_eq(ask("large.service.mesh.internal", AAAA, 1232, false, &kernel), 0);
	cr_assert(kernel);
	cr_assert_eq(counter(WM_C_DNS_PASS_SIZE), passed);
}
