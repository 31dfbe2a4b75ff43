/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* The programs behind the tail calls: where one is not there userspace answers, they outlive the
 * agent, and another run's take their place without a moment in which there are none. */
#include "dns_fixture.h"
#include "waymark/dns_tail.h"

#define WEB_SRV "_web._tcp.mesh.internal", 33

TestSuite(dns_tails, .init = dns_setup, .fini = dns_teardown, .timeout = 300);

static int tails_fd(void)
{
	return bpf_object__find_map_fd_by_name(plane->objects[WM_OBJECT_DNS], "dns_tails");
}

Test(dns_tails, one_that_is_missing_passes)
{
	uint32_t srv = WM_DNS_TAIL_SRV;
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	query_frame(&q, false, WEB_SRV, 0);
	(void)answered(&q, &a);
	cr_assert_eq(counter(WM_C_DNS_PASS_TAIL), 0);
	cr_assert_eq(bpf_map_delete_elem(tails_fd(), &srv), 0, "it was there");
	cr_assert(!answered(&q, &a));
	cr_assert_eq(run(WM_PROG_DNS_VETH, &q, &a), (uint32_t)TC_ACT_UNSPEC);
	cr_assert_eq(counter(WM_C_DNS_PASS_TAIL), 2);
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	cr_assert(answered(&q, &a), "addresses need no other program");
	query_frame(&q, false, "web.service.mesh.internal", 33, 0);
	cr_assert(answered(&q, &a), "nor does SRV of few that are up");
}
