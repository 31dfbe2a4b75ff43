/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* What a link brings: answered as a pod's, and what the node's own stack would not take passes as
 * it came. */
#include "link_frames.h"

#define WEB "web.service.mesh.internal"

TestSuite(dns_link, .init = dns_setup, .fini = dns_teardown, .timeout = 300);

static bool link_answers(const struct frame *q)
{
	struct frame a;
	uint32_t verdict = run(WM_PROG_DNS_LINK, q, &a);

	if (verdict != TC_ACT_REDIRECT) {
		cr_assert_eq(verdict, (uint32_t)TC_ACT_UNSPEC);
		cr_assert(same_frame(q, &a), "it passes as it came");
		return false;
	}
	check_envelope(q, &a, q->v6 || q->at[q->dns - 2] | q->at[q->dns - 1]);
	cr_assert_eq(memcmp(a.at, q->at + 6, 6), 0);
	cr_assert_eq(memcmp(a.at + 6, q->at, 6), 0);
	cr_assert(a.at[a.dns + 2] & 0x80);
	return true;
}

/* It passes, and is counted once. */
static void is_left(const struct frame *q, const char *why)
{
	uint64_t before = counter(WM_C_DNS_PASS_LINK);

	cr_assert_not(link_answers(q), "%s", why);
	cr_assert_eq(counter(WM_C_DNS_PASS_LINK), before + 1, "%s", why);
}

Test(dns_link, answers_as_to_a_pod)
{
	struct frame q;
	uint64_t queries = counter(WM_C_DNS_QUERY);

	add("web", "a", "10.1.2.3", WM_PASSING);
	for (int v6 = 0; v6 < 2; v6++) {
		static const uint16_t types[] = {1, 28, 33, 6}; /* A, AAAA, SRV, SOA */

		for (unsigned i = 0; i < sizeof(types) / sizeof(*types); i++) {
			from_link(&q, v6, WEB, types[i]);
			cr_assert(link_answers(&q), "IPv6 %d, type %u", v6, types[i]);
		}
	}
	cr_assert_eq(counter(WM_C_DNS_QUERY), queries + 8, "each is counted once");
	from_link(&q, false, WEB, 1);
	put16(q.at + q.dns - 2, 0); /* IPv4 may be without */
	cr_assert(link_answers(&q), "no checksum");
}

Test(dns_link, a_wrong_checksum_passes)
{
	struct frame q;

	add("web", "a", "10.1.2.3", WM_PASSING);
	for (int v6 = 0; v6 < 2; v6++) {
		for (size_t at = 0; at < 60; at += 7) {
			from_link(&q, v6, WEB, 1);
			q.at[q.dns + at % (q.len - q.dns)] ^= 0x10;
			is_left(&q, "an octet of the message is another");
		}
		from_link(&q, v6, WEB, 1);
		q.at[ETH + (v6 ? 23 : 15)] ^= 1;
		is_left(&q, "another address");
	}
	from_link(&q, true, WEB, 1);
	put16(q.at + q.dns - 2, 0);
	is_left(&q, "IPv6 without");
	from_link(&q, false, WEB, 1);
	q.at[ETH + 5] ^= 1;
	is_left(&q, "IPv4 header");
}

/* As one has it that a device is to complete: a datagram of this machine. */
Test(dns_link, the_pseudo_headers_sum_is_a_checksum)
{
	for (int v6 = 0; v6 < 2; v6++) {
		struct frame q;
		size_t len;

		if (!v6)
			add("web", "a", "10.1.2.3", WM_PASSING);
		from_link(&q, v6, WEB, 1);
		len = q.len - (q.dns - 8);
		put16(q.at + q.dns - 2,
		      sum16(q.at + ETH + (v6 ? 8 : 12), v6 ? 32 : 8, IPPROTO_UDP + (uint32_t)len));
		cr_assert_eq(run(WM_PROG_DNS_LINK, &q, &(struct frame){0}), TC_ACT_REDIRECT);
	}
}

Test(dns_link, what_no_machine_of_a_link_sends_passes)
{
	static const char *const bad4[] = {"0.0.0.0",	"0.1.2.3",	   "127.0.0.1",
					   "224.0.0.1", "255.255.255.255", US4},
				 *const bad6[] = {"::", "::1", "::ffff:192.0.2.7", "ff02::1", US6};
	struct frame q;

	add("web", "a", "10.1.2.3", WM_PASSING);
	for (unsigned i = 0; i < sizeof(bad4) / sizeof(*bad4); i++) {
		from_link(&q, false, WEB, 1);
		addressed_to(&q, bad4[i], US4);
		is_left(&q, bad4[i]);
	}
	for (unsigned i = 0; i < sizeof(bad6) / sizeof(*bad6); i++) {
		from_link(&q, true, WEB, 1);
		addressed_to(&q, bad6[i], US6);
		is_left(&q, bad6[i]);
	}
	from_link(&q, false, WEB, 1);
	addressed_to(&q, THEM4, "127.0.0.1");
	is_left(&q, "to loopback");
	from_link(&q, true, WEB, 1);
	addressed_to(&q, THEM6, "::1");
	is_left(&q, "to loopback, IPv6");
	for (int v6 = 0; v6 < 2; v6++) {
		from_link(&q, v6, WEB, 1);
		q.at[ETH + (v6 ? 7 : 8)] = 31;
		seal(&q);
		is_left(&q, "the way back may be too long");
	}
}

/* Of what is not a plain datagram for us nothing is counted but what names one of our addresses. */
Test(dns_link, what_is_not_for_us_is_not_touched)
{
	uint64_t queries = counter(WM_C_DNS_QUERY);
	struct frame q;

	add("web", "a", "10.1.2.3", WM_PASSING);
	from_link(&q, false, WEB, 1);
	q.at[5] = 2;
	cr_assert_not(link_answers(&q), "another machine's frame");
	memset(q.at, 0xff, 6);
	cr_assert_not(link_answers(&q), "a broadcast");
	from_link(&q, false, WEB, 1);
	addressed_to(&q, THEM4, "198.51.100.2");
	cr_assert_not(link_answers(&q), "another address");
	from_link(&q, false, WEB, 1);
	put16(q.at + q.dns - 6, 8601);
	seal(&q);
	cr_assert_not(link_answers(&q), "another port");
	from_link(&q, false, WEB, 1);
	memmove(q.at + 16, q.at + 12, q.len - 12);
	put16(q.at + 12, 0x8100);
	put16(q.at + 14, 7);
	q.len += 4;
	cr_assert_not(link_answers(&q), "a tag");
	cr_assert_eq(counter(WM_C_DNS_QUERY), queries);
	from_link(&q, false, WEB, 1);
	put16(q.at + ETH + 6, 0x2000);
	seal(&q);
	cr_assert_not(link_answers(&q), "a fragment");
	from_link(&q, true, WEB, 1);
	q.at[ETH + 6] = 60;
	cr_assert_not(link_answers(&q), "an extension header");
	cr_assert_eq(counter(WM_C_DNS_PASS_FRAGMENT), 2);
}

/* Padding of @p n octets, which has a head of four. */
static void put_padding(struct frame *q, size_t n)
{
	put16(q->at + q->len - 2, n);
	put16(q->at + q->len, 12);
	put16(q->at + q->len + 2, n - 4);
	q->len += n;
	seal(q);
}

Test(dns_link, a_message_that_is_longer_than_an_answer_passes)
{
	uint64_t left;
	struct frame q;

	add("web", "a", "10.1.2.3", WM_PASSING);
	from_link(&q, false, WEB, 1);
	put_padding(&q, 1300);
	is_left(&q, "1,300 octets of options");
	from_link(&q, false, WEB, 1);
	put_padding(&q, 200);
	cr_assert(link_answers(&q), "200 of them");
	from_link(&q, false, WEB, 1);
	put_padding(&q, 1100);
	left = counter(WM_C_DNS_PASS_LINK);
	cr_assert_not(link_answers(&q), "options that userspace looks at");
	cr_assert_eq(counter(WM_C_DNS_PASS_LINK), left, "its checksum was found right");
	q.at[q.len - 1] ^= 1;
	is_left(&q, "or wrong");
}

Test(dns_link, networks_that_may_not_ask_are_dropped)
{
	struct wm_guard_prefix them = {.bits = 120};
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	inet_pton(AF_INET6, "::ffff:203.0.113.0", them.addr_be);
	cr_assert_eq(wm_plane_guard(plane, &them, 1), 0);
	from_link(&q, false, WEB, 1);
	cr_assert_eq(run(WM_PROG_DNS_LINK, &q, &a), TC_ACT_SHOT);
	addressed_to(&q, "203.0.113.9", US4);
	cr_assert(link_answers(&q));
}
