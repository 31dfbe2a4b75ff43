/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* A bound on how often, on a clock of the test's own. */
#include "waymark/bucket.h"

#include <criterion/criterion.h>
#include <pthread.h>

#define SECOND 1000000000ull

/* How many of @p asked, @p apart ns, may happen from @p now on. */
static unsigned taken(__u64 *full, __u64 *now, unsigned asked, __u64 apart, unsigned per_s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < asked; i++, *now += apart)
		n += (unsigned)wm_bucket_take(full, *now, SECOND / per_s, SECOND);
	return n;
}

Test(bucket, a_second_at_once_and_no_more)
{
	__u64 full = 0, now = 12345;

	cr_assert_eq(taken(&full, &now, 1000, 0, 200), 200);
	now += SECOND / 2;
	cr_assert_eq(taken(&full, &now, 1000, 0, 200), 100, "half of it is there again");
	now += 3600 * SECOND;
	cr_assert_eq(taken(&full, &now, 1000, 0, 200), 200, "idle time is not saved up");
}

Test(bucket, who_keeps_to_it_is_never_held)
{
	__u64 full = 0, now = 1;

	cr_assert_eq(taken(&full, &now, 5000, SECOND / 200, 200), 5000);
	cr_assert_eq(taken(&full, &now, 5000, SECOND / 100, 200), 5000);
}

Test(bucket, who_asks_ten_times_as_often_has_the_bound)
{
	__u64 full = 0, now = 1;

	/* ten seconds, and the one at once */
	cr_assert_eq(taken(&full, &now, 20000, SECOND / 2000, 200) / 20, 2199 / 20);
}

Test(bucket, one_a_second)
{
	__u64 full = 0, now = 7 * SECOND;

	cr_assert_eq(taken(&full, &now, 10, 0, 1), 1);
	now += SECOND - 1;
	cr_assert_eq(taken(&full, &now, 10, 0, 1), 0);
	now += 1;
	cr_assert_eq(taken(&full, &now, 10, 0, 1), 1);
}

Test(bucket, shared_as_alone)
{
	__u64 full = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < 1000; i++)
		n += (unsigned)wm_bucket_take_shared(&full, 12345, SECOND / 200, SECOND);
	cr_assert_eq(n, 200);
	cr_assert_eq(full, 12345 + SECOND);
	cr_assert(wm_bucket_take_shared(&full, 12345 + SECOND / 200, SECOND / 200, SECOND));
	cr_assert_not(wm_bucket_take_shared(&full, 12345 + SECOND / 200, SECOND / 200, SECOND));
}

#define TAKERS 4
#define EACH   100000

static __u64 shared;

static void *take(void *arg)
{
	for (unsigned i = 0; i < EACH; i++)
		*(unsigned *)arg += (unsigned)wm_bucket_take_shared(&shared, SECOND, 1, SECOND);
	return NULL;
}

/* What is taken is in the word, but for what races let through beside it. */
Test(bucket, many_take_at_a_time)
{
	unsigned n[TAKERS] = {0}, all = 0;
	pthread_t t[TAKERS];

	for (unsigned i = 0; i < TAKERS; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, take, &n[i]), 0);
	for (unsigned i = 0; i < TAKERS; i++) {
		cr_assert_eq(pthread_join(t[i], NULL), 0);
		all += n[i];
	}
	cr_assert_eq(all, TAKERS * EACH);
	cr_assert_gt(shared, SECOND);
	cr_assert_leq(shared, SECOND + TAKERS * EACH);
}
