/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* One question in so many is told, with what the kernel answered. */
#include "link_frames.h"
#include "userspace/dataplane/dns_samples.h"
#include "waymark/dns_tail.h"

#define TEST_IFINDEX 1 /* that a run without a device has: loopback's */

static struct wm_dns_samples *samples;
static struct wm_dns_sample last;
static unsigned told;
static uint64_t stands_for;

static void on_sample(void *arg, const struct wm_dns_sample *s)
{
	(void)arg;
	last = *s;
	told++;
	stands_for += s->every;
}

static void begin(void)
{
	dns_setup();
	cr_assert_eq(wm_dns_samples_new(loop, plane, on_sample, NULL, &samples), 0);
	add("web", "web-1", "127.1.0.1", WM_PASSING);
}

static void end(void)
{
	wm_dns_samples_free(samples);
	dns_teardown();
}

TestSuite(dns_sample, .init = begin, .fini = end, .timeout = 300);

static void every(unsigned n)
{
	cr_assert_eq(wm_dns_samples_every(plane, n), 0);
}

/* Of questions that were put since. */
static unsigned heard(void)
{
	unsigned before;

	told = 0;
	do {
		before = told;
		wm_dns_samples_read(samples);
	} while (told != before);
	return told;
}

static void ask(bool v6, const char *name, uint16_t type, unsigned edns)
{
	struct frame q, a;

	query_frame(&q, v6, name, type, edns);
	cr_assert(answered(&q, &a), "%s", name);
}

/* It is told of @p name, in wire form, asked for from the fixture's client. */
static void is_told(const char *name, uint16_t type, unsigned rcode, enum wm_sample_level level)
{
	cr_assert_eq(heard(), 1);
	cr_assert_eq(last.type, type);
	cr_assert_eq(last.rcode, rcode);
	cr_assert_eq(last.level, level);
	cr_assert_eq(last.every, 1);
	cr_assert_eq(last.name_len, strlen(name) + 1);
	cr_assert_eq(memcmp(last.name, name, strlen(name) + 1), 0);
	cr_assert_eq(last.client_port_be, htons(40000));
	cr_assert(last.time_ns && last.took_ns && last.took_ns < 1000000000);
}

#define WEB  "\3web\7service\4mesh\10internal"
#define NONE "\4none\7service\4mesh\10internal"

/* The same of a question that was dropped. */
static void is_told_dropped(const struct frame *q, enum wm_sample_level why)
{
	bool v6 = q->at[ETH] >> 4 == 6;

	is_told(WEB, 1, WM_DNS_REFUSED, why);
	cr_assert_eq(last.octets, 0);
	cr_assert_eq(last.answers, 0);
	cr_assert(last.ifindex);
	cr_assert_eq(memcmp(v6 ? (void *)last.client_be : (void *)&last.client_be[3],
			    q->at + ETH + (v6 ? 8 : 12), v6 ? 16 : 4),
		     0);
}

Test(dns_sample, who_asks_what_and_what_is_answered)
{
	struct frame q, a;

	every(1);
	ask(false, "web.service.mesh.internal", 1, 0);
	is_told(WEB, 1, WM_DNS_NOERROR, WM_SAMPLE_TABLES);
	cr_assert(last.client_be[2] == WM_V4_MAPPED_BE &&
		  last.client_be[3] == htonl(INADDR_LOOPBACK));
	cr_assert_eq(last.answers, 1);
	cr_assert_eq(last.octets, WM_DNS_HEADER_LEN + sizeof(WEB) + 4 + WM_DNS_RR_A);
	ask(true, "web.service.mesh.internal", 33, 1232);
	is_told(WEB, 33, WM_DNS_NOERROR, WM_SAMPLE_TABLES);
	cr_assert(!last.client_be[0] && !last.client_be[2] && last.client_be[3] == htonl(1));
	query_frame(&q, true, "WEB.service.mesh.internal", 28, 0);
	cr_assert_eq(run(WM_PROG_DNS_VETH, &q, &a), (uint32_t)TC_ACT_REDIRECT);
	is_told("\3WEB\7service\4mesh\10internal", 28, WM_DNS_NOERROR, WM_SAMPLE_TABLES);
	cr_assert_eq(last.answers, 0);
	cr_assert(last.client_be[3] == htonl(1) && last.ifindex);
}

Test(dns_sample, of_each_level)
{
	uint8_t out[WM_DNS_EDNS_MAX], name[WM_NAME_BUF] = {0};
	static const uint8_t record[] = {0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 2, 1, 'x'};
	struct wm_dns_query query;
	struct frame q, a;
	struct wm_hot hot;
	size_t len;

	every(1);
	mem.config->flags |= WM_CONFIG_F_COMPLETE;
	ask(false, "none.service.mesh.internal", 1, 0);
	is_told(NONE, 1, WM_DNS_NXDOMAIN, WM_SAMPLE_DENIED);
	ask(false, "7f000001.addr.mesh.internal", 1, 0);
	is_told("\10"
		"7f000001\4addr\4mesh\10internal",
		1, WM_DNS_NOERROR, WM_SAMPLE_TABLES);

	query_frame(&q, false, "www.example", 16, 0);
	cr_assert(!answered(&q, &a), "nobody has said it");
	cr_assert_eq(heard(), 0, "who answers then knows himself");
	cr_assert_eq(wm_dns_parse(q.at + q.dns, (uint32_t)(q.len - q.dns), &query), WM_DNS_OK);
	memcpy(name, q.at + q.dns + WM_DNS_HEADER_LEN, query.name_len);
	len = q.len - q.dns;
	memcpy(out, q.at + q.dns, len);
	out[2] |= 0x80;
	out[3] |= 0x80;
	out[7] = 1;
	memcpy(out + len, record, sizeof(record));
	len += sizeof(record);
	cr_assert(wm_hot_make(out, (uint32_t)len, &query, name, wm_clock_ns(), &hot));
	cr_assert_eq(wm_plane_hot_put(plane, &hot, query.type, wm_hot_view(&query)), 0);
	cr_assert(answered(&q, &a));
	is_told("\3www\7example", 16, WM_DNS_NOERROR, WM_SAMPLE_HOT);
}

Test(dns_sample, of_what_userspace_made)
{
	struct wm_ready e = {.head = {.len = 16, .answers = 1, .name_len = 13}};
	struct frame q, a;

	every(1);
	query_frame(&q, false, "www.example", 16, 0);
	memcpy(e.name, q.at + q.dns + WM_DNS_HEADER_LEN, e.head.name_len);
	e.head.sum = 4 * wm_plane_ready_words(plane)[0];
	cr_assert_eq(wm_plane_ready_put(plane, &e, 16), 0);
	cr_assert(answered(&q, &a));
	is_told("\3www\7example", 16, WM_DNS_NOERROR, WM_SAMPLE_READY);
	cr_assert_eq(last.answers, 1);
}

Test(dns_sample, of_who_asks_too_much)
{
	unsigned cut = 0, dropped = 0;
	struct frame q, a;

	every(1);
	cr_assert_eq(wm_plane_limits(plane, 0, 1), 0);
	for (unsigned i = 0; i < 6; i++) {
		from_link(&q, i & 1, "web.service.mesh.internal", 1);
		if (run(WM_PROG_DNS_LINK, &q, &a) == (uint32_t)TC_ACT_SHOT) {
			dropped++;
			is_told_dropped(&q, WM_SAMPLE_OFTEN);
			continue;
		}
		cut += a.at[a.dns + 2] >> 1 & 1;
		is_told(WEB, 1, WM_DNS_NOERROR,
			a.at[a.dns + 2] & 2 ? WM_SAMPLE_CUT : WM_SAMPLE_TABLES);
		cr_assert_eq(last.octets, a.len - a.dns);
		cr_assert_eq(memcmp(&last.client_be[3], a.at + ETH + (i & 1 ? 36 : 16), 4), 0);
	}
	cr_assert_gt(cut, 0);
	cr_assert_eq(counter(WM_C_DNS_DROP_RATE), dropped);
}

Test(dns_sample, of_who_may_not_ask)
{
	struct wm_guard_prefix other = {.bits = 128};
	unsigned shot = 0;
	struct frame q, a;

	every(1);
	cr_assert_eq(wm_plane_guard(plane, &other, 1), 0);
	for (unsigned i = 0; i < 4; i++) {
		query_frame(&q, i & 1, "web.service.mesh.internal", 1, i & 2 ? 1232 : 0);
		cr_assert_eq(run(WM_PROG_DNS_VETH, &q, &a), (uint32_t)TC_ACT_SHOT);
		is_told_dropped(&q, WM_SAMPLE_REFUSED);
	}
	query_frame(&q, false, "web.service.mesh.internal", 1, 0);
	for (unsigned len = 0; len < q.len - q.dns; len++) {
		struct frame cut = q;

		cut.len = q.dns + len;
		shot += run(WM_PROG_DNS_VETH, &cut, &a) == (uint32_t)TC_ACT_SHOT;
		cr_assert_eq(heard(), 0, "what is no question");
	}
	every(0);
	cr_assert_eq(run(WM_PROG_DNS_VETH, &q, &a), (uint32_t)TC_ACT_SHOT);
	cr_assert_eq(heard(), 0);
	cr_assert_eq(counter(WM_C_DNS_DROP_ALLOW), 5 + shot);
	cr_assert_eq(wm_plane_guard(plane, NULL, 0), 0);
	every(1);
	ask(true, "web.service.mesh.internal", 1, 0);
	is_told(WEB, 1, WM_DNS_NOERROR, WM_SAMPLE_TABLES);
}

/* The end of a message tells where a name ends that is none. */
Test(dns_sample, a_name_whose_labels_are_wrong_is_not_told)
{
	static const uint8_t wrong[] = {0, 2, WM_DNS_LABEL_MAX, WM_DNS_LABEL_MAX + 1, 200, 255};
	struct wm_guard_prefix other = {.bits = 128};
	struct frame q, a;

	every(1);
	cr_assert_eq(wm_plane_guard(plane, &other, 1), 0);
	for (unsigned i = 0; i < 4 * sizeof(wrong); i++) {
		query_frame(&q, i & 1, "web.service.mesh.internal", 1, i & 2 ? 1232 : 0);
		q.at[q.dns + WM_DNS_HEADER_LEN + 4] = wrong[i / 4];
		seal(&q);
		cr_assert_eq(run(WM_PROG_DNS_VETH, &q, &a), (uint32_t)TC_ACT_SHOT);
		cr_assert_eq(heard(), 0, "%u", wrong[i / 4]);
	}
}

Test(dns_sample, of_a_pod_that_asks_too_much)
{
	unsigned dropped = 0;
	struct frame q, a;

	every(1);
	cr_assert_eq(wm_plane_limits(plane, 1, 0), 0);
	wm_pod_asks_begin(plane, TEST_IFINDEX, false);
	for (unsigned i = 0; i < 10; i++) {
		query_frame(&q, i & 1, "web.service.mesh.internal", 1, 0);
		if (run(WM_PROG_DNS_VETH, &q, &a) == (uint32_t)TC_ACT_SHOT) {
			dropped++;
			is_told_dropped(&q, WM_SAMPLE_POD);
		} else {
			is_told(WEB, 1, WM_DNS_NOERROR, WM_SAMPLE_TABLES);
		}
	}
	cr_assert_gt(dropped, 0);
	cr_assert_eq(counter(WM_C_DNS_DROP_POD), dropped);
}

Test(dns_sample, none_and_one_in_many)
{
	const unsigned asked = 20000, n = 20;
	unsigned of;

	for (unsigned i = 0; i < 100; i++)
		ask(false, "web.service.mesh.internal", 1, 0);
	cr_assert_eq(heard(), 0, "none unless somebody wants it");
	every(n);
	stands_for = 0;
	for (unsigned i = 0; i < asked; i++) {
		ask(false, "web.service.mesh.internal", i & 1 ? 1 : 28, 0);
		if (i % 500 == 0)
			heard();
	}
	heard();
	/* gaps of 1 to 39, of which the mean is 20 and the deviation 11.3: 1000 are 17.8 off */
	of = (unsigned)(stands_for / n);
	cr_assert(of > asked / n - 107 && of < asked / n + 107, "%u", of);
	every(0);
	for (unsigned i = 0; i < 100; i++)
		ask(false, "web.service.mesh.internal", 1, 0);
	cr_assert_leq(heard(), 0);
	every(1);
	ask(false, "web.service.mesh.internal", 1, 0);
	cr_assert_eq(heard(), 1, "at once, however far the next one was");
}

Test(dns_sample, what_finds_no_room_is_counted)
{
	unsigned asked = 2000, got = 0;

	every(1);
	for (unsigned i = 0; i < asked; i++)
		ask(false, "web.service.mesh.internal", 1, 0);
	cr_assert_gt(counter(WM_C_DNS_SAMPLES_LOST), 0);
	while (heard())
		got += told;
	cr_assert_eq(got + counter(WM_C_DNS_SAMPLES_LOST), asked);
	cr_assert_gt(got, WM_DNS_SAMPLES_OCTETS / sizeof(struct wm_dns_sample) * 9 / 10);
}

Test(dns_sample, without_the_program_that_tells_it_answers)
{
	uint32_t tell = WM_DNS_TAIL_TELL;
	struct frame q, a;

	every(1);
	cr_assert_eq(bpf_map_delete_elem(wm_dns_map(plane, "dns_tails"), &tell), 0);
	ask(false, "web.service.mesh.internal", 1, 0);
	query_frame(&q, true, "web.service.mesh.internal", 33, 1232);
	cr_assert_eq(run(WM_PROG_DNS_VETH, &q, &a), (uint32_t)TC_ACT_REDIRECT);
	check_envelope(&q, &a, true);
	cr_assert_eq(heard(), 0);
	cr_assert_eq(counter(WM_C_DNS_ANSWERED), 2);
}
