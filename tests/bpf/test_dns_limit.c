/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* How often a network that asks over a link is told the same, and what becomes of the rest. With
 * one a second: what is asked at once is too much, however slow the machine is. */
#include "link_frames.h"
#include "userspace/dns/internal.h"
#include "waymark/rate.h"

TestSuite(dns_limit, .init = dns_setup, .fini = dns_teardown, .timeout = 300);

#define TRIES 40

struct told {
	unsigned answered, cut, dropped;
};

/* The question is followed by what a client that is cut sees. */
static void check_cut(const struct frame *q, const struct frame *a)
{
	uint8_t want[512];
	size_t len = wm_dns_rate_cut(server, NULL, q->at + q->dns, q->len - q->dns, want);

	cr_assert_eq(a->len - a->dns, len);
	cr_assert_eq(memcmp(a->at + a->dns, want, len), 0, "as userspace cuts");
}

static void ask_once(const struct frame *q, struct told *t)
{
	struct frame a;
	uint32_t verdict = run(WM_PROG_DNS_LINK, q, &a);

	if (verdict == TC_ACT_SHOT) {
		t->dropped++;
		return;
	}
	cr_assert_eq(verdict, TC_ACT_REDIRECT);
	check_envelope(q, &a, true);
	if (a.at[a.dns + 2] & 2) {
		t->cut++;
		check_cut(q, &a);
	} else {
		t->answered++;
	}
}

/* @param name NULL: another each time, which is not there */
static struct told ask_often(bool v6, const char *name, uint16_t type, unsigned clients)
{
	struct told t = {0};

	for (unsigned i = 0; i < TRIES; i++) {
		char client[40], each[80];
		struct frame q;

		if (name)
			snprintf(each, sizeof(each), "%s", name);
		else
			snprintf(each, sizeof(each), "none-%u.no.mesh.internal", i);
		snprintf(client, sizeof(client), v6 ? "2001:db8:1::%x" : "192.0.2.%u",
			 i % clients + 1);
		from_link(&q, v6, each, type);
		addressed_to(&q, client, v6 ? US6 : US4);
		ask_once(&q, &t);
	}
	return t;
}

static void is_bounded(struct told t, const char *what)
{
	cr_assert(t.answered && t.dropped && t.cut, "%s: %u answered, %u cut, %u dropped", what,
		  t.answered, t.cut, t.dropped);
	/* the first that is too much is dropped, the second cut */
	cr_assert(t.dropped == t.cut || t.dropped == t.cut + 1, "%s: %u and %u", what, t.dropped,
		  t.cut);
}

Test(dns_limit, the_same_to_a_network)
{
	uint64_t dropped = counter(WM_C_DNS_DROP_RATE), cut = counter(WM_C_DNS_RATE_CUT);
	struct told four, six;

	add("web", "a", "10.1.2.3", WM_PASSING);
	cr_assert_eq(wm_plane_limits(plane, 0, 1), 0);
	four = ask_often(false, "web.service.mesh.internal", 1, 200);
	six = ask_often(true, "WEB.service.mesh.internal", 1, 200);
	is_bounded(four, "IPv4");
	is_bounded(six, "IPv6");
	cr_assert_eq(counter(WM_C_DNS_DROP_RATE), dropped + four.dropped + six.dropped);
	cr_assert_eq(counter(WM_C_DNS_RATE_CUT), cut + four.cut + six.cut);
}

/* Where nothing is answered yet, the first is. */
static bool first_is_answered(const char *client, const char *name, uint16_t type)
{
	struct told t = {0};
	struct frame q;

	from_link(&q, false, name, type);
	addressed_to(&q, client, US4);
	ask_once(&q, &t);
	return t.answered;
}

Test(dns_limit, others_have_bounds_of_their_own)
{
	add("web", "a", "10.1.2.3", WM_PASSING);
	add("web2", "b", "10.1.2.4", WM_PASSING);
	cr_assert_eq(wm_plane_limits(plane, 0, 1), 0);
	is_bounded(ask_often(false, "web.service.mesh.internal", 1, 1), "the first");
	cr_assert(first_is_answered("192.0.3.1", "web.service.mesh.internal", 1), "network");
	cr_assert(first_is_answered("192.0.2.1", "web2.service.mesh.internal", 1), "name");
	cr_assert(first_is_answered("192.0.2.1", "web.service.mesh.internal", 33), "type");
	cr_assert(first_is_answered("192.0.2.1", "none.service.mesh.internal", 1), "denial");
}

/* Whatever name is asked for. */
Test(dns_limit, what_is_not_there_is_the_same)
{
	add("web", "a", "10.1.2.3", WM_PASSING);
	cr_assert_eq(wm_plane_limits(plane, 0, 1), 0);
	is_bounded(ask_often(false, NULL, 1, 1), "names");
	cr_assert_not(first_is_answered("192.0.2.9", "web.service.mesh.internal", 28), "nor types");
	cr_assert(first_is_answered("192.0.2.1", "web.service.mesh.internal", 1));
}

Test(dns_limit, without_a_bound_and_for_pods_there_is_none)
{
	struct told t;

	add("web", "a", "10.1.2.3", WM_PASSING);
	cr_assert_eq(wm_plane_limits(plane, 0, 0), 0);
	t = ask_often(false, "web.service.mesh.internal", 1, 1);
	cr_assert_eq(t.answered, TRIES);
	t = ask_often(true, NULL, 1, 1);
	cr_assert_eq(t.answered, TRIES);
	cr_assert_eq(wm_plane_limits(plane, 0, 1), 0);
	for (unsigned i = 0; i < TRIES; i++) {
		struct frame q, a;

		from_link(&q, false, "web.service.mesh.internal", 1);
		cr_assert_eq(run(WM_PROG_DNS_VETH, &q, &a), TC_ACT_REDIRECT, "a pod");
		cr_assert_eq(run(WM_PROG_DNS_LO, &q, &a), TC_ACT_OK, "this node");
	}
}
