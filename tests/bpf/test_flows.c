/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* Decisions are told while somebody watches, as sockets meet them. */
#include "connect_fixture.h"
#include "userspace/dataplane/flows.h"

static struct wm_loop *loop;
static struct wm_flows *flows;
static struct wm_flow got[64];
static unsigned told, wanted;

static void on_flow(void *arg, const struct wm_flow *f)
{
	(void)arg;
	if (told < 64)
		got[told] = *f;
	if (++told == wanted)
		wm_loop_stop(loop);
}

static void watch(void)
{
	if (!loop)
		loop = wm_loop_new();
	cr_assert_eq(wm_flows_new(loop, plane, on_flow, NULL, &flows), 0);
}

static void heard(unsigned n)
{
	wanted = n;
	if (told < n)
		wm_loop_run(loop);
	cr_assert_eq(told, n);
}

static int of(int type)
{
	return socket(AF_INET, type | SOCK_CLOEXEC, 0);
}

Test(connect, what_is_decided_is_told)
{
	int fd = of(SOCK_DGRAM), other = of(SOCK_DGRAM);
	union address to;
	socklen_t len = fill(&to, VIP4, 54);
	uint16_t port;
	uint64_t cookie = 0;
	socklen_t cookie_len = sizeof(cookie);
	int server = serve_alone("127.9.9.9", SOCK_DGRAM, &port);

	pick(3); /* nobody watches */
	watch();
	cr_assert_eq(dial(fd, VIP4, 53), 0);
	cr_assert_eq(dial(fd, "240.9.9.9", 53), ECONNREFUSED);
	cr_assert_eq(sendto(other, "q", 1, 0, &to.any, len), 1);
	cr_assert_eq(sendto(other, "q", 1, 0, &to.any, len), 1, "which keeps its backend");
	wants[0].state = WM_STATE_DOWN;
	publish();
	cr_assert_eq(dial(fd, VIP4, 53), ECONNREFUSED);
	heard(4);
	cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &cookie_len), 0);
	cr_assert(got[0].verdict == WM_FLOW_PICKED && got[1].verdict == WM_FLOW_UNKNOWN &&
		  got[2].verdict == WM_FLOW_PICKED && got[3].verdict == WM_FLOW_REFUSED);
	cr_assert(got[0].vip_be[3] == want.vip4_be && got[0].vip_port_be == htons(53));
	cr_assert(got[0].backend_be[3] == wants[0].addr4_be &&
		  got[0].backend_port_be == htons(port));
	cr_assert(got[0].backend == index_of(0) &&
		  got[0].reason == WM_REASON_BY(WM_REASON_DRAW, WM_BALANCE_WEIGHTED));
	cr_assert(got[0].generation && !got[0].weight[0] && !got[1].generation);
	cr_assert(got[0].pid == (uint32_t)getpid() && got[0].uid == getuid());
	cr_assert(got[0].cookie == cookie && got[0].proto == IPPROTO_UDP && got[0].time_ns);
	cr_assert(got[1].set == WM_FLOW_NO_SET && !got[0].datagram && got[2].datagram);
	cr_assert(got[3].set == got[0].set && got[0].comm[0]);
	wm_flows_free(flows);
	wants[0].state = WM_STATE_UP;
	publish();
	pick(3); /* nobody watches any more */
	watch();
	pick(1);
	heard(5);
	wm_flows_free(flows);
	wm_loop_free(loop);
	close(fd);
	close(other);
	close(server);
}

/* Two of different load are always both drawn: the less loaded is taken, and both scores are told.
 */
Test(connect, scores_of_two_are_told)
{
	static struct wm_want_rule rule = {
		.head = {.tiers = 1, .balance = WM_BALANCE_LEAST_CONNECTIONS}};
	struct wm_table_head head;

	want.rule = &rule;
	backend(0, "127.9.9.8", 1000, 1, WM_STATE_UP);
	backend(1, "127.9.9.9", 1000, 1, WM_STATE_UP);
	publish();
	mem.live[index_of(0)].open = 7;
	mem.live[index_of(1)].open = 3;
	head = mem.heads[mem.sets[0].table.head];
	watch();
	pick(20);
	heard(20);
	for (unsigned i = 0; i < 20; i++) {
		const struct wm_flow *f = &got[i];

		cr_assert_eq(f->reason, WM_REASON_BY(WM_REASON_DRAW, WM_BALANCE_LEAST_CONNECTIONS));
		cr_assert_eq(f->backend, index_of(1));
		cr_assert_eq(f->other, index_of(0));
		/* pick() closes its sockets: one more than are open */
		cr_assert(f->cost[0] == 4 && f->cost[1] == 8);
		cr_assert(f->weight[0] == 1 && f->weight[1] == 1);
		cr_assert_eq(f->generation, head.generation);
	}
	cr_assert_str_eq(wm_reason_text(got[0].reason), "fewer connections, of two");
	cr_assert_str_eq(wm_reason_balance(got[0].reason), "least_connections");
	wm_flows_free(flows);
	wm_loop_free(loop);
}

Test(connect, what_finds_no_room_is_counted)
{
	const unsigned n = WM_FLOWS_OCTETS / sizeof(struct wm_flow);

	backend(0, "127.9.9.9", 1000, 1, WM_STATE_UP);
	publish();
	watch();
	pick(n + 100);
	cr_assert_gt(counter(WM_C_FLOWS_LOST), 100);
	heard(n + 100 - (unsigned)counter(WM_C_FLOWS_LOST));
	pick(1);
	heard(told + 1);
	wm_flows_free(flows);
	wm_loop_free(loop);
}
