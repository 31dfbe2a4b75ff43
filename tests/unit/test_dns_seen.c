/* SPDX-License-Identifier: Apache-2.0 */
/* links: dns base */
#include "userspace/dns/seen.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

static const uint8_t query[] = {0, 1, 1,   0,	0,   1, 0, 0,  0, 0, 0,
				0, 3, 'w', 'E', 'b', 0, 0, 28, 0, 1};
static const uint8_t answer[] = {0, 1, 0x81, 0x83, 0, 1, 0, 2, 0, 0, 0, 0};

static struct sockaddr_in from4(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(4711)};

	inet_pton(AF_INET, "192.0.2.7", &in.sin_addr);
	return in;
}

Test(dns_seen, one)
{
	struct wm_dns_seen *s = wm_dns_seen_new(false);
	struct sockaddr_in in = from4();
	const struct wm_dns_seen_one *o;
	static const uint8_t client[16] = {[10] = 0xff, 0xff, 192, 0, 2, 7};

	cr_assert_eq(wm_dns_seen_last(s), 0);
	cr_assert_null(wm_dns_seen_get(s, 0));
	cr_assert_null(wm_dns_seen_get(s, 1));
	wm_dns_seen_put(s,
			&(struct wm_dns_made){(struct sockaddr *)&in, true, WM_DNS_LEVEL_CACHE,
					      query, sizeof(query), answer, sizeof(answer), 20000});
	o = wm_dns_seen_get(s, wm_dns_seen_last(s));
	cr_assert_not_null(o);
	cr_assert_eq(o->number, 1);
	cr_assert_eq(o->type, 28);
	cr_assert_eq(o->rcode, 3);
	cr_assert_eq(o->answers, 2);
	cr_assert_eq(o->port, 4711);
	cr_assert_eq(o->level, WM_DNS_LEVEL_CACHE);
	cr_assert(o->tcp);
	cr_assert_eq(memcmp(o->client, client, 16), 0);
	cr_assert_eq(o->name_len, 5);
	cr_assert_eq(memcmp(o->name, "\3wEb", 5), 0);
	wm_dns_seen_free(s);
}

Test(dns_seen, what_is_dropped_is_no_answer)
{
	struct wm_dns_seen *s = wm_dns_seen_new(false);
	struct sockaddr_in in = from4();
	const struct wm_dns_seen_one *o;

	wm_dns_seen_drop(s, (struct sockaddr *)&in, query, sizeof(query), WM_DNS_LEVEL_REFUSED,
			 250);
	o = wm_dns_seen_get(s, 1);
	cr_assert_not_null(o);
	cr_assert_eq(o->stands_for, 250);
	cr_assert_eq(o->level, WM_DNS_LEVEL_REFUSED);
	cr_assert_eq(o->rcode, 5);
	cr_assert_eq(o->octets, 0);
	cr_assert_eq(o->port, 4711);
	cr_assert_eq(memcmp(o->name, "\3wEb", 5), 0);
	wm_dns_seen_drop(s, (struct sockaddr *)&in, query, 14, WM_DNS_LEVEL_OFTEN, 1);
	cr_assert_eq(wm_dns_seen_last(s), 1, "there is no question in it");
	for (unsigned t = 0; t < WM_DNS_SEEN_TYPE_COUNT; t++)
		cr_assert_eq(wm_dns_seen_answers(s, WM_DNS_LEVEL_REFUSED, t)[5], 0);
	cr_assert_eq(wm_dns_seen_times(s, WM_DNS_LEVEL_REFUSED)[5].count[0], 0);
	wm_dns_seen_free(s);
}

Test(dns_seen, the_oldest_is_overwritten)
{
	struct wm_dns_seen *s = wm_dns_seen_new(false);

	for (unsigned i = 0; i < WM_DNS_SEEN_MAX + 5; i++)
		wm_dns_seen_put(s, &(struct wm_dns_made){NULL, false, WM_DNS_LEVEL_OWN, query,
							 sizeof(query), answer, sizeof(answer), 1});
	cr_assert_null(wm_dns_seen_get(s, 5));
	cr_assert_not_null(wm_dns_seen_get(s, 6));
	cr_assert_not_null(wm_dns_seen_get(s, WM_DNS_SEEN_MAX + 5));
	cr_assert_null(wm_dns_seen_get(s, WM_DNS_SEEN_MAX + 6));
	cr_assert_eq(wm_dns_seen_get(s, 6)->port, 0);
	wm_dns_seen_free(s);
}

Test(dns_seen, times_are_by_level_code_and_bound)
{
	struct wm_dns_seen *s = wm_dns_seen_new(false);
	const struct wm_dns_times *t = wm_dns_seen_times(s, WM_DNS_LEVEL_OWN);
	static const uint64_t took[] = {9000, 10000, 10001, 6000000000ull};

	for (unsigned i = 0; i < 4; i++)
		wm_dns_seen_put(s, &(struct wm_dns_made){NULL, false, WM_DNS_LEVEL_OWN, query,
							 sizeof(query), answer, sizeof(answer),
							 took[i]});
	cr_assert_eq(t[3].count[0], 2);
	cr_assert_eq(t[3].count[1], 1);
	cr_assert_eq(t[3].count[WM_DNS_TIME_BUCKETS], 1);
	cr_assert_eq(t[3].sum_ns, 6000029001ull);
	cr_assert_eq(t[0].sum_ns, 0);
	cr_assert_eq(wm_dns_seen_times(s, WM_DNS_LEVEL_CACHE)[3].sum_ns, 0);
	wm_dns_seen_free(s);
}

Test(dns_seen, answers_are_by_level_type_and_code)
{
	struct wm_dns_seen *s = wm_dns_seen_new(false);
	uint8_t other[sizeof(query)];

	memcpy(other, query, sizeof(other));
	other[sizeof(other) - 3] = 43;
	for (unsigned i = 0; i < 3; i++)
		wm_dns_seen_put(s, &(struct wm_dns_made){NULL, false, WM_DNS_LEVEL_CACHE,
							 i ? query : other, sizeof(query), answer,
							 sizeof(answer), 1});
	cr_assert_eq(wm_dns_seen_answers(s, WM_DNS_LEVEL_CACHE, WM_DNS_SEEN_AAAA)[3], 2);
	cr_assert_eq(wm_dns_seen_answers(s, WM_DNS_LEVEL_CACHE, WM_DNS_SEEN_OTHER)[3], 1);
	cr_assert_eq(wm_dns_seen_answers(s, WM_DNS_LEVEL_CACHE, WM_DNS_SEEN_AAAA)[0], 0);
	cr_assert_eq(wm_dns_seen_answers(s, WM_DNS_LEVEL_OWN, WM_DNS_SEEN_AAAA)[3], 0);
	cr_assert_str_eq(wm_dns_seen_type_str(WM_DNS_SEEN_AAAA), "AAAA");
	cr_assert_str_eq(wm_dns_seen_type_str(WM_DNS_SEEN_OTHER), "other");
	wm_dns_seen_free(s);
}

Test(dns_seen, what_has_no_question_is_counted_only)
{
	struct wm_dns_seen *s = wm_dns_seen_new(false);
	uint8_t bad[sizeof(query)], longest[600] = {0};

	for (size_t len = 0; len < sizeof(query); len++) /* cut anywhere before the class */
		if (len < sizeof(query) - 2)
			wm_dns_seen_put(s,
					&(struct wm_dns_made){NULL, false, WM_DNS_LEVEL_OWN, query,
							      len, answer, sizeof(answer), 1});
	memcpy(bad, query, sizeof(bad));
	bad[12] = 0xc0;
	wm_dns_seen_put(s, &(struct wm_dns_made){NULL, false, WM_DNS_LEVEL_OWN, bad, sizeof(bad),
						 answer, sizeof(answer), 1});
	for (unsigned at = 12; at < 500; at += 64)
		longest[at] = 63;
	wm_dns_seen_put(s, &(struct wm_dns_made){NULL, false, WM_DNS_LEVEL_OWN, longest,
						 sizeof(longest), answer, sizeof(answer), 1});
	cr_assert_eq(wm_dns_seen_last(s), 0);
	cr_assert_gt(wm_dns_seen_times(s, WM_DNS_LEVEL_OWN)[3].count[0], 0);
	wm_dns_seen_free(s);
}

/* What the kernel tells of stands for all that it does not. */
Test(dns_seen, one_of_so_many)
{
	struct wm_dns_seen *s = wm_dns_seen_new(true);
	struct wm_dns_sample told = {.time_ns = 5000000,
				     .took_ns = 250,
				     .every = 1000,
				     .client_be = {0, 0, htonl(0xffff), htonl(0xc0000207)},
				     .client_port_be = htons(4711),
				     .type = 28,
				     .rcode = 3,
				     .level = WM_SAMPLE_DENIED,
				     .name_len = 5};
	const struct wm_dns_seen_one *o;

	memcpy(told.name, "\3wEb", 5);
	wm_dns_seen_sample(s, &told);
	told.took_ns = 1001;
	wm_dns_seen_sample(s, &told);
	told.level = WM_SAMPLE_LEVEL_COUNT;
	wm_dns_seen_sample(s, &told); /* of programs that know more than we */
	cr_assert_eq(wm_dns_seen_last(s), 2);
	o = wm_dns_seen_get(s, 1);
	cr_assert(o->at_ms == 5 && o->port == 4711 && o->client[15] == 7 && o->stands_for == 1000);
	cr_assert_str_eq(wm_dns_level_str(o->level), "denied");
	cr_assert_eq(wm_dns_seen_answers(s, WM_DNS_LEVEL_DENIED, WM_DNS_SEEN_AAAA)[3], 2000);
	cr_assert_eq(wm_dns_seen_times(s, WM_DNS_LEVEL_DENIED)[3].count[1], 1000);
	cr_assert_eq(wm_dns_seen_times(s, WM_DNS_LEVEL_DENIED)[3].count[4], 1000);
	cr_assert_eq(wm_dns_seen_times(s, WM_DNS_LEVEL_DENIED)[3].sum_ns, 1251000);
	wm_dns_seen_free(s);
}
