/* SPDX-License-Identifier: Apache-2.0 */
/* links: base sync */
/* test_member.c - the rules of the membership, each on a small network under a virtual clock. */
#include "member_net.h"

TestSuite(member, .fini = net_end, .timeout = 300);

Test(member, joining_one_is_joining_all)
{
	net_begin(10, 1);
	net_pass(3000);
	for (unsigned i = 0; i < 10; i++) {
		cr_assert_eq(wm_members_alive(net.m[i]->ms), 10, "%u", i);
		cr_assert_eq(net.m[i]->events[WM_MEMBER_JOINED], 9);
		cr_assert(wm_members_by_name(net.m[i]->ms, "NODE-3"));
	}
	net_pass(60000);
	cr_assert_eq(net_events(WM_MEMBER_SUSPECTED), 0);
	cr_assert_gt(net_seen(net.m[1], net.m[2])->rtt_us, 0);
}

Test(member, a_silent_host_is_suspected_then_failed_by_all)
{
	net_begin(20, 2);
	net_pass(5000);
	net.m[7]->silent = true;
	net_pass(2000);
	cr_assert_eq(net_have(net.m[7], WM_MEMBER_FAILED), 0);
	net_pass(6000);
	cr_assert_eq(net_have(net.m[7], WM_MEMBER_FAILED), 19);
	cr_assert_eq(net_events(WM_MEMBER_DIED) - net.m[7]->events[WM_MEMBER_DIED], 19);
}

Test(member, a_refusing_host_is_failed_without_suspicion)
{
	net_begin(20, 3);
	net_pass(5000);
	net_kill(net.m[7]);
	net_pass(3000);
	cr_assert_eq(net_have(net.m[7], WM_MEMBER_FAILED), 19);
	cr_assert_eq(net_events(WM_MEMBER_SUSPECTED), 0);
}
