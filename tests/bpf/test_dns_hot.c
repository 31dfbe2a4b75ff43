/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* What other servers said, as the kernel says it again. */
#include "dns_fixture.h"

#define NAME	"www.example"
#define TTL_S	300
#define S_AGO	40
#define OPT_DO	0x8000
#define SHORT_S 2 /* a TTL that a machine which has just begun has seen end */

static uint16_t ttl_of_records = TTL_S;

TestSuite(dns_hot, .init = dns_setup, .fini = dns_teardown, .timeout = 300);

/* The answer of userspace to @p q: @p records of @p data octets, and the query's OPT. */
static size_t user_answer(const struct frame *q, unsigned records, unsigned data, uint8_t *out)
{
	const uint8_t *query = q->at + q->dns;
	size_t len = q->len - q->dns, opt = query[11] ? WM_DNS_OPT_LEN : 0, at = len - opt;

	memcpy(out, query, at);
	out[2] |= 0x80;
	out[3] |= 0x80;
	out[7] = (uint8_t)records;
	for (unsigned i = 0; i < records; i++) {
		const uint8_t head[12] = {0xc0,
					  12,
					  0,
					  16,
					  0,
					  1,
					  0,
					  0,
					  (uint8_t)(ttl_of_records >> 8),
					  (uint8_t)ttl_of_records,
					  (uint8_t)(data >> 8),
					  (uint8_t)data};

		memcpy(out + at, head, sizeof(head));
		memset(out + at + sizeof(head), (int)i + 1, data);
		at += sizeof(head) + data;
	}
	memcpy(out + at, query + len - opt, opt);
	return at + opt;
}

static void view_of(const struct frame *q, struct wm_dns_query *ret, uint8_t *name)
{
	cr_assert_eq(wm_dns_parse(q->at + q->dns, (uint32_t)(q->len - q->dns), ret), WM_DNS_OK);
	memset(name, 0, WM_NAME_BUF);
	memcpy(name, q->at + q->dns + WM_DNS_HEADER_LEN, ret->name_len);
}

/* Keep an answer to @p q that was given @p ago_s seconds ago. */
static struct wm_hot keep(const struct frame *q, unsigned records, unsigned data, uint64_t ago_s)
{
	uint8_t msg[4096], name[WM_NAME_BUF];
	struct wm_dns_query query;
	struct wm_hot hot;

	view_of(q, &query, name);
	cr_assert(wm_hot_make(msg, (uint32_t)user_answer(q, records, data, msg), &query, name,
			      wm_clock_ns() - ago_s * WM_NS_PER_S, &hot));
	cr_assert_eq(wm_plane_hot_put(plane, &hot, query.type, wm_hot_view(&query)), 0);
	return hot;
}

/* The answer is userspace's to the octet, but that each TTL is @p ttl_s or a second less. */
static void is_said(const struct frame *q, const struct frame *a, unsigned records, unsigned data,
		    uint32_t ttl_s)
{
	uint8_t want[4096];
	size_t len = user_answer(q, records, data, want);
	size_t at = WM_DNS_HEADER_LEN + strlen(NAME) + 2 + 4 + 6;
	const uint8_t *got = a->at + a->dns;

	cr_assert_eq(a->len - a->dns, len);
	for (unsigned i = 0; i < records; i++, at += 12 + data) {
		uint32_t ttl = (uint32_t)got[at + 2] << 8 | got[at + 3];

		cr_assert(ttl == ttl_s || ttl + 1 == ttl_s, "%u of %u", ttl, ttl_s);
		memcpy(want + at, got + at, 4);
	}
	cr_assert_eq(memcmp(got, want, len), 0);
}

Test(dns_hot, it_says_what_userspace_said_with_the_ttl_that_is_left)
{
	struct frame q, a;

	mem.config->confirmed_ns = wm_clock_ns();
	for (unsigned how = 0; how < 4; how++) {
		unsigned edns = how & 2 ? 1232 : 0, data = how & 2 ? 200 : 20;

		query_frame(&q, how & 1, NAME, 16, edns);
		(void)keep(&q, 4, data, S_AGO);
		cr_assert(answered(&q, &a));
		is_said(&q, &a, 4, data, TTL_S - S_AGO);
		check_envelope(&q, &a, q.v6);
		cr_assert_eq(run(WM_PROG_DNS_VETH, &q, &a), (uint32_t)TC_ACT_REDIRECT);
		is_said(&q, &a, 4, data, TTL_S - S_AGO);
		check_envelope(&q, &a, true);
	}
	cr_assert_eq(counter(WM_C_DNS_HOT), 8);
}

/* SRV has a program of its own, which knows no others' names. */
Test(dns_hot, srv_of_others_as_well)
{
	struct frame q, a;

	mem.config->confirmed_ns = wm_clock_ns();
	query_frame(&q, false, NAME, 33, 1232);
	cr_assert(!answered(&q, &a));
	cr_assert_eq(counter(WM_C_DNS_PASS_UNKNOWN), 1);
	(void)keep(&q, 4, 20, S_AGO);
	cr_assert(answered(&q, &a));
	is_said(&q, &a, 4, 20, TTL_S - S_AGO);
	check_envelope(&q, &a, false);
	cr_assert_eq(counter(WM_C_DNS_HOT), 1);
}

Test(dns_hot, the_name_in_any_case)
{
	struct frame q, a;

	mem.config->confirmed_ns = wm_clock_ns();
	query_frame(&q, false, NAME, 16, 0);
	(void)keep(&q, 1, 20, 0);
	query_frame(&q, false, "wWw.EXAMPLE", 16, 0);
	cr_assert(answered(&q, &a));
	is_said(&q, &a, 1, 20, TTL_S);
}

static bool passes(struct frame *q)
{
	struct frame a;
	bool said;

	seal(q);
	said = answered(q, &a);
	cr_assert(said || same_frame(q, &a), "what passes is as it was");
	return !said;
}

Test(dns_hot, another_question_is_passed)
{
	struct frame q;

	mem.config->confirmed_ns = wm_clock_ns();
	query_frame(&q, false, NAME, 16, 1232);
	(void)keep(&q, 1, 20, 0);
	cr_assert_not(passes(&q));
	q.at[q.len - 4] = OPT_DO >> 8;
	cr_assert(passes(&q), "with DO");
	q.at[q.len - 4] = 0;
	q.at[q.dns + 3] = WM_DNS_CD;
	cr_assert(passes(&q), "with CD");
	q.at[q.dns + 3] = WM_DNS_AD;
	cr_assert(passes(&q), "with AD");
	q.at[q.dns + 3] = 0;
	q.at[q.dns + 2] = 0;
	cr_assert(passes(&q), "without RD");
	query_frame(&q, false, NAME, 15, 1232);
	cr_assert(passes(&q), "of another type");
	query_frame(&q, false, "w.example", 16, 1232);
	cr_assert(passes(&q), "of another name");
	cr_assert_eq(counter(WM_C_DNS_PASS_UNKNOWN), 6);
}

Test(dns_hot, what_the_client_does_not_take_is_passed)
{
	struct frame q, a;

	mem.config->confirmed_ns = wm_clock_ns();
	query_frame(&q, false, NAME, 16, 1232);
	(void)keep(&q, 5, 100, 0);
	cr_assert_not(passes(&q));
	query_frame(&q, false, NAME, 16, 512);
	cr_assert(passes(&q));
	cr_assert_eq(counter(WM_C_DNS_PASS_SIZE), 1);
	query_frame(&q, false, NAME, 16, 0);
	(void)keep(&q, 1, 512 - WM_DNS_HEADER_LEN - 17 - 12, 0);
	cr_assert(answered(&q, &a));
	cr_assert_eq(a.len - a.dns, 512, "all that it takes");
	(void)keep(&q, 1, 512 - WM_DNS_HEADER_LEN - 17 - 11, 0);
	cr_assert(passes(&q));
}

/* RFC 8767: only who cannot be asked any more is answered with what is old. */
Test(dns_hot, beyond_its_ttl_only_while_the_agent_is_dead)
{
	const uint64_t oldest_s = SHORT_S + HOT_GRACE_S + 1;
	struct frame q, a;

	ttl_of_records = SHORT_S;
	/* an answer cannot be older than the machine: that of tests/kernels is young */
	while (wm_clock_ns() <= oldest_s * WM_NS_PER_S)
		usleep(100000);
	mem.config->confirmed_ns = wm_clock_ns();
	query_frame(&q, false, NAME, 16, 0);
	(void)keep(&q, 2, 20, SHORT_S + 1);
	cr_assert(passes(&q));
	cr_assert_eq(counter(WM_C_DNS_PASS_EXPIRED), 1);
	mem.config->confirmed_ns = wm_clock_ns() - 2 * WM_HOT_DEAD_NS;
	cr_assert(answered(&q, &a));
	is_said(&q, &a, 2, 20, WM_HOT_STALE_TTL_S);
	(void)keep(&q, 2, 20, oldest_s);
	cr_assert(passes(&q), "too old for that as well");
	cr_assert_eq(counter(WM_C_DNS_PASS_EXPIRED), 2);
}

/* The kernel gives an entry's memory to another while a program may read it. */
Test(dns_hot, an_entry_that_is_half_another_is_passed)
{
	struct bpf_object *o = plane->objects[WM_OBJECT_DNS];
	int fd = bpf_object__find_map_fd_by_name(o, "dns_answers");
	struct wm_hot_key key;
	struct wm_hot hot;
	struct frame q;

	mem.config->confirmed_ns = wm_clock_ns();
	query_frame(&q, false, NAME, 16, 0);
	hot = keep(&q, 1, 20, 0);
	cr_assert_eq(bpf_map_get_next_key(fd, NULL, &key), 0);
	hot.octets[13] ^= 1;
	cr_assert_eq(bpf_map_update_elem(fd, &key, &hot, BPF_ANY), 0);
	cr_assert(passes(&q));
	hot.octets[13] ^= 1;
	hot.name[1] ^= 1;
	cr_assert_eq(bpf_map_update_elem(fd, &key, &hot, BPF_ANY), 0);
	cr_assert(passes(&q), "a name of the same hash");
	hot.name[1] ^= 1;
	cr_assert_eq(bpf_map_update_elem(fd, &key, &hot, BPF_ANY), 0);
	cr_assert_not(passes(&q));
}

Test(dns_hot, userspace_sees_what_is_asked_for)
{
	struct wm_hot hot;
	struct frame q;

	mem.config->confirmed_ns = wm_clock_ns();
	query_frame(&q, false, NAME, 16, 0);
	hot = keep(&q, 1, 20, 0);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_not(passes(&q));
	cr_assert_eq(wm_plane_hot_get(plane, &hot, 16, 0), 0);
	cr_assert_eq(hot.hits, 3);
	wm_plane_hot_del(plane, &hot, 16, 0);
	cr_assert_eq(wm_plane_hot_get(plane, &hot, 16, 0), -ENOENT);
	cr_assert(passes(&q));
}
