/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* Which answers of others are given to the kernel. The kernel's side is an array here;
 * tests/net/test_dns_hot.sh has the real one. */
#include "userspace/base/clock.h"
#include "userspace/dns/hot.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#define MAX   4
#define AFTER 3

static struct wm_loop *loop;
static struct wm_hot_level *hot;
static struct {
	struct wm_hot e;
	uint16_t type, view;
} kept[MAX + 1];
static unsigned kept_count, renewals, asked_side;
static int refuse;

static unsigned find(const struct wm_hot *e, uint16_t type, uint16_t view)
{
	unsigned i = 0;

	while (i < kept_count && (memcmp(kept[i].e.name, e->name, sizeof(e->name)) != 0 ||
				  kept[i].type != type || kept[i].view != view))
		i++;
	return i;
}

static int put(void *arg, struct wm_hot *e, uint16_t type, uint16_t view)
{
	unsigned i = find(e, type, view);

	(void)arg;
	if (refuse)
		return refuse;
	cr_assert_leq(i, MAX - 1, "more than there is room for");
	kept[i].e = *e;
	kept[i].type = type;
	kept[i].view = view;
	kept_count += i == kept_count;
	return 0;
}

static int get(void *arg, struct wm_hot *e, uint16_t type, uint16_t view)
{
	unsigned i = find(e, type, view);

	(void)arg;
	if (i == kept_count)
		return -ENOENT;
	*e = kept[i].e;
	return 0;
}

static void del(void *arg, const struct wm_hot *e, uint16_t type, uint16_t view)
{
	unsigned i = find(e, type, view);

	(void)arg;
	if (i < kept_count)
		kept[i] = kept[--kept_count];
}

static bool renew(void *arg, const uint8_t *name, uint16_t len, uint16_t type, uint16_t view,
		  unsigned side)
{
	(void)arg;
	(void)name;
	(void)len;
	(void)type;
	(void)view;
	asked_side = side;
	renewals++;
	return true;
}

static void make(uint64_t stale_ms)
{
	const struct wm_hot_config c = {.kernel = {put, get, del, NULL},
					.max = MAX,
					.after = AFTER,
					.stale_ms = stale_ms,
					.renew = renew};

	wm_hot_free(hot);
	hot = wm_hot_new(loop, &c);
	cr_assert(hot);
}

static void setup(void)
{
	loop = wm_loop_new();
	make(3600000);
}

static void teardown(void)
{
	wm_hot_free(hot);
	wm_loop_free(loop);
}

TestSuite(hot, .init = setup, .fini = teardown);

/* The answer to a query for A of the label @p name, with one record. */
static size_t message(const char *name, uint32_t ttl_s, struct wm_dns_query *q, uint8_t *msg)
{
	const uint8_t tail[] = {
		0, 0, 1,   0, 1, 0xc0, 12, 0, 1, 0, 1, 0, 0, (uint8_t)(ttl_s >> 8), (uint8_t)ttl_s,
		0, 4, 192, 0, 2, 1};
	size_t n = strlen(name);

	memset(msg, 0, WM_DNS_HEADER_LEN);
	msg[2] = 0x81;
	msg[5] = msg[7] = 1;
	msg[WM_DNS_HEADER_LEN] = (uint8_t)n;
	memcpy(msg + WM_DNS_HEADER_LEN + 1, name, n);
	memcpy(msg + WM_DNS_HEADER_LEN + 1 + n, tail, sizeof(tail));
	*q = (struct wm_dns_query){.type = WM_DNS_A,
				   .class = WM_DNS_IN,
				   .flags = WM_DNS_RD,
				   .name_len = (uint16_t)(n + 2)};
	return WM_DNS_HEADER_LEN + 1 + n + sizeof(tail);
}

static void ask(const char *name, uint32_t ttl_s, unsigned times)
{
	struct wm_dns_query q;
	uint8_t msg[128];
	size_t len = message(name, ttl_s, &q, msg);

	while (times--)
		wm_hot_answered(hot, &q, msg, len, 0);
}

Test(hot, what_is_asked_for_often_is_kept_in_any_case)
{
	ask("www", 300, AFTER - 1);
	cr_assert_eq(kept_count, 0);
	ask("wWw", 300, 1);
	cr_assert_eq(kept_count, 1);
	cr_assert_eq(memcmp(kept[0].e.name, "\3www", 5), 0);
	ask("www", 200, 1);
	cr_assert_eq(kept_count, 1, "a later answer takes its place");
	cr_assert_eq(kept[0].e.head.expires_ns - kept[0].e.head.made_ns, 200 * 1000000000ull);
	cr_assert_eq(wm_hot_names(hot), 1);
}

Test(hot, there_are_no_more_than_there_is_room_for)
{
	const char *const names[] = {"a", "b", "c", "d", "e", "f"};

	for (unsigned i = 0; i < 6; i++)
		ask(names[i], 300, AFTER);
	cr_assert_eq(wm_hot_names(hot), MAX);
	cr_assert_eq(kept_count, MAX);
	cr_assert_geq(wm_hot_counters(hot)[WM_HOT_C_FULL], 1);
}

/* As many as may be kept have their chance, though they are asked for in turn. */
Test(hot, names_that_are_asked_for_in_turn)
{
	const char *const names[] = {"a", "b", "c", "d"};

	for (unsigned n = 0; n < AFTER; n++)
		for (unsigned i = 0; i < MAX; i++)
			ask(names[i], 300, 1);
	cr_assert_eq(wm_hot_names(hot), MAX);
}

/* However long its TTL is. */
Test(hot, who_is_not_asked_for_makes_room)
{
	bool stays = false, comes = false;

	ask("a", 86400, AFTER);
	ask("b", 86400, AFTER);
	ask("c", 86400, AFTER);
	ask("d", 86400, AFTER);
	cr_assert_eq(kept_count, MAX);
	for (unsigned i = 0; i < 60000 && wm_hot_names(hot) == MAX; i++) {
		ask("late", 86400, AFTER);
		for (unsigned k = 0; k < kept_count; k++)
			kept[k].e.hits += kept[k].e.name[1] == 'b';
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
	}
	ask("late", 86400, 1);
	for (unsigned k = 0; k < kept_count; k++) {
		stays |= kept[k].e.name[1] == 'b';
		comes |= kept[k].e.name[1] == 'l';
	}
	cr_assert(stays, "who is asked for");
	cr_assert(comes);
}

Test(hot, types_that_the_kernel_does_not_ask_for_are_not_kept)
{
	struct wm_dns_query q;
	uint8_t msg[128];
	size_t len = message("www", 300, &q, msg);

	q.type = WM_DNS_ANY;
	for (unsigned i = 0; i < 2 * AFTER; i++)
		wm_hot_answered(hot, &q, msg, len, 0);
	cr_assert_eq(kept_count, 0);
}

Test(hot, what_is_forgotten_begins_anew)
{
	ask("www", 300, AFTER);
	ask("mail", 300, AFTER - 1);
	wm_hot_forget(hot);
	cr_assert_eq(kept_count, 0);
	cr_assert_eq(wm_hot_names(hot), 0);
	ask("www", 300, AFTER - 1);
	ask("mail", 300, 1);
	cr_assert_eq(kept_count, 0);
}

Test(hot, a_refusal_of_the_kernel_leaves_nothing_behind)
{
	refuse = -E2BIG;
	ask("www", 300, 2 * AFTER);
	cr_assert_eq(wm_hot_names(hot), 0);
	cr_assert_geq(wm_hot_counters(hot)[WM_HOT_C_REFUSED], 1);
}

static void turn_until(const unsigned *what, unsigned n)
{
	for (unsigned i = 0; i < 20000 && *what < n; i++)
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
	cr_assert_geq(*what, n);
}

Test(hot, it_is_asked_for_again_while_somebody_asks)
{
	struct wm_dns_query q;
	uint8_t msg[128], name[WM_DNS_NAME_MAX + 1] = "\3www";

	ask("www", 2, AFTER);
	kept[0].e.hits = 10;
	turn_until(&renewals, 1);
	for (unsigned i = 0; i < 1000; i++)
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
	cr_assert_eq(renewals, 1, "not twice before there was an answer");
	(void)message("www", 2, &q, msg);
	wm_hot_renewed(hot, name, &q, NULL, 0);
	kept[0].e.hits = 10;
	turn_until(&renewals, 2);
	wm_hot_renewed(hot, name, &q, msg, message("www", 300, &q, msg));
	cr_assert_eq(wm_hot_counters(hot)[WM_HOT_C_RENEWED], 1);
	cr_assert_eq(kept[0].e.head.expires_ns - kept[0].e.head.made_ns, 300 * 1000000000ull);
	cr_assert_eq(kept[0].e.hits, 0, "counted anew");
}

/* Nobody answers, for ever: clients ask of userspace then, and the kernel counts no more of them.
 */
Test(hot, it_is_not_asked_for_when_it_is_of_no_more_use)
{
	uint8_t msg[128], name[WM_DNS_NAME_MAX + 1] = "\3www";
	uint64_t begin_ms = wm_clock_ms(), ms = 0;
	unsigned late = 0;
	struct wm_dns_query q;

	make(500);
	(void)message("www", 1, &q, msg);
	ask("www", 1, AFTER);
	kept[0].e.hits = 10;
	for (; ms < 6000; ms = wm_clock_ms() - begin_ms) {
		renewals = 0;
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
		if (renewals)
			wm_hot_renewed(hot, name, &q, NULL, 0);
		late += renewals && ms > 2500;
	}
	cr_assert_eq(late, 0, "a second past the last time that it was of use");
	cr_assert_eq(kept_count, 1, "the next answer finds its place");
}

/* What a resolver has in its cache is not over yet: the other is asked, and each in its turn. */
Test(hot, it_is_renewed_of_two_resolvers_in_turn)
{
	struct wm_dns_query q;
	uint8_t msg[128], name[WM_DNS_NAME_MAX + 1] = "\3www";
	size_t len = message("www", 2, &q, msg);

	ask("www", 2, AFTER);
	for (unsigned n = 1; n <= 3; n++) {
		kept[0].e.hits = 10;
		turn_until(&renewals, n);
		cr_assert_eq(asked_side, n % 2);
		cr_assert_eq(wm_hot_side(hot, name, WM_DNS_A), !asked_side, "until it has come");
		wm_hot_renewed(hot, name, &q, msg, len);
		cr_assert_eq(wm_hot_side(hot, name, WM_DNS_A), asked_side, "who has the newest");
	}
	len = message("www", 1, &q, msg);
	q.edns_flags = WM_DNS_DO;
	for (unsigned i = 0; i < AFTER; i++)
		wm_hot_answered(hot, &q, msg, len, 0);
	cr_assert_eq(kept_count, 2);
	cr_assert_eq(wm_hot_side(hot, name, WM_DNS_A), 1, "whatever else of the question is kept");
	cr_assert_eq(wm_hot_side(hot, name, WM_DNS_AAAA), 0);
	cr_assert_eq(wm_hot_counters(hot)[WM_HOT_C_RENEWED], 3);
}

/* Three addresses of the label @p name, the one that ends with @p first in front. @p owner: where
 * the second's owner is, as the others' are at 12. */
static size_t three(unsigned first, uint8_t owner, struct wm_dns_query *q, uint8_t *msg)
{
	size_t len = message("www", 300, q, msg), begin = len - 16;

	msg[7] = 3;
	msg[len - 1] = (uint8_t)first;
	for (unsigned i = 1; i < 3; i++, len += 16) {
		memcpy(msg + len, msg + begin, 16);
		msg[len + 15] = (uint8_t)((first - 1 + i) % 3 + 1);
	}
	msg[len - 31] = owner;
	return len;
}

static void first_is(unsigned last_octet)
{
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(kept[0].e.octets[16 * i + 15], (last_octet - 1 + i) % 3 + 1);
}

/* Most clients take the first, and a resolver's rounds may end where the TTL does. */
Test(hot, each_time_it_is_renewed_another_address_is_the_first)
{
	struct wm_dns_query q;
	uint8_t msg[128];
	size_t len = three(2, 12, &q, msg);

	for (unsigned i = 0; i < AFTER; i++)
		wm_hot_answered(hot, &q, msg, len, 0);
	first_is(2);
	for (unsigned i = 0; i < 6; i++) {
		len = three(i < 3 ? 2 : 1, 12, &q, msg);
		wm_hot_answered(hot, &q, msg, len, 0);
		first_is((2 + i) % 3 + 1);
	}
}

Test(hot, addresses_of_two_names_stay_as_they_are)
{
	struct wm_dns_query q;
	uint8_t msg[128];
	size_t len = three(2, 13, &q, msg);

	for (unsigned i = 0; i < 2 * AFTER; i++)
		wm_hot_answered(hot, &q, msg, len, 0);
	first_is(2);
}

/* A part of it is of another name, too, and was there. */
Test(hot, who_has_nothing_newer_is_not_asked_next)
{
	struct wm_dns_query q;
	uint8_t msg[128], name[WM_DNS_NAME_MAX + 1] = "\3www";
	size_t len = message("www", 200, &q, msg);

	ask("www", 300, AFTER);
	kept[0].e.hits = 10;
	wm_hot_renewed(hot, name, &q, msg, len);
	cr_assert_eq(kept[0].e.head.expires_ns - kept[0].e.head.made_ns, 300 * 1000000000ull);
	turn_until(&renewals, 1);
	cr_assert_eq(asked_side, 0);
	cr_assert_eq(wm_hot_side(hot, name, WM_DNS_A), 0);
}

Test(hot, an_answer_that_comes_when_its_name_has_left)
{
	struct wm_dns_query q;
	uint8_t msg[128], name[WM_DNS_NAME_MAX + 1] = "\3www";
	size_t len = message("www", 300, &q, msg);

	wm_hot_renewed(hot, name, &q, msg, len);
	cr_assert_eq(kept_count, 0);
}

/* --- the list ------------------------------------------------------------------------------------
 */
static struct {
	uint64_t numbers[MAX];
	unsigned count, stop_at;
} listed;

static bool on_one(void *arg, const struct wm_hot_one *one)
{
	(void)arg;
	cr_assert_eq(one->type, WM_DNS_A);
	cr_assert(!listed.count || one->number > listed.numbers[listed.count - 1]);
	cr_assert_eq(one->answer->hits, one->number, "what the kernel has now");
	listed.numbers[listed.count++] = one->number;
	return listed.count != listed.stop_at;
}

static unsigned list(uint64_t after, const char *domain)
{
	listed.count = 0;
	wm_hot_list(hot, after, (const uint8_t *)domain, on_one, NULL);
	return listed.count;
}

static void keep_in_test(void)
{
	struct wm_dns_query q;
	uint8_t msg[128];
	size_t len = message("www\4test", 300, &q, msg);

	msg[WM_DNS_HEADER_LEN] = 3;
	for (unsigned i = 0; i < AFTER; i++)
		wm_hot_answered(hot, &q, msg, len, 0);
}

Test(hot, names_are_listed_as_they_came)
{
	ask("test", 300, AFTER);
	ask("a", 300, AFTER);
	keep_in_test();
	ask("est", 300, AFTER);
	cr_assert_eq(kept_count, MAX);
	for (unsigned i = 0; i < MAX; i++)
		kept[i].e.hits = i + 1;
	cr_assert_eq(list(0, ""), MAX);
	cr_assert_eq(list(2, ""), 2);
	cr_assert_eq(listed.numbers[0], 3);
	cr_assert_eq(list(0, "\4test"), 2, "it and what is below it");
	cr_assert(listed.numbers[0] == 1 && listed.numbers[1] == 3);
	cr_assert_eq(list(0, "\3www\4test"), 1);
	cr_assert_eq(list(0, "\1x\4test"), 0);
	listed.stop_at = 1;
	cr_assert_eq(list(0, ""), 1, "no further than is wanted");
	listed.stop_at = 0;
	kept_count--;
	cr_assert_eq(list(0, ""), MAX - 1, "what the kernel has lost is left out");
}
