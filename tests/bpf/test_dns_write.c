/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* An answer that cannot be written to its end. */
#include "dns_fixture.h"

static void failing_write(uint32_t step)
{
	fail_write = step;
	dns_setup();
	add("web", "a", "10.1.2.3", WM_PASSING);
}

/* At whatever step it fails: the query passes as it was, or nobody sees it. */
static void half_written(void)
{
	struct frame q, a;
	uint32_t verdict;

	for (unsigned how = 0; how < 4; how++) {
		query_frame(&q, how & 1, "web.service.mesh.internal", 1, 0);
		verdict = run(how & 2 ? WM_PROG_DNS_VETH : WM_PROG_DNS_LO, &q, &a);
		if (verdict == (uint32_t)TC_ACT_UNSPEC) {
			a.len = q.len; /* octets behind the datagram are nobody's */
			cr_assert(same_frame(&q, &a), "step %u", fail_write);
		} else if (verdict != TC_ACT_SHOT) {
			check_envelope(&q, &a, how != 0);
		}
	}
	cr_assert_eq(counter(WM_C_DNS_ANSWERED), fail_write == 5 ? 1 : 0);
	cr_assert_eq(counter(WM_C_DNS_PASS_RESIZE), fail_write < 3 ? 4 : 0);
	cr_assert_eq(counter(WM_C_DNS_DROP_WRITE), fail_write < 3 ? 0 : fail_write == 5 ? 3 : 4);
	dns_teardown();
}

Test(dns_write, half_written_is_seen_by_nobody, .timeout = 300)
{
	for (uint32_t step = 1; step <= 5; step++) {
		failing_write(step);
		half_written();
	}
}
