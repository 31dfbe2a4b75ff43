/* SPDX-License-Identifier: Apache-2.0 */
/* links: base resolution */
/* When what was freed is over. Waits are held here by hand. */
#include "userspace/base/clock.h"
#include "userspace/resolution/grace.h"
#include "waymark/layout.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <semaphore.h>

static sem_t began, may_end;

static int held(void)
{
	sem_post(&began);
	sem_wait(&may_end);
	return 0;
}

static int refused(void)
{
	return -EINVAL;
}

static void until_over(const struct wm_grace *g, uint64_t ticket)
{
	while (g->over(g->arg) < ticket)
		sched_yield();
}

Test(grace, what_is_freed_during_a_wait_needs_another, .timeout = 300)
{
	struct wm_grace_thread *t;
	const struct wm_grace *g;
	uint64_t first, second;

	sem_init(&began, 0, 0);
	sem_init(&may_end, 0, 0);
	t = wm_grace_start(held);
	cr_assert(t);
	g = wm_grace_of(t);
	first = g->ticket(g->arg);
	cr_assert_gt(first, 0);
	sem_wait(&began);
	second = g->ticket(g->arg);
	cr_assert_gt(second, first, "its wait began before this was freed");
	cr_assert_eq(g->ticket(g->arg), second, "both wait for the next");
	cr_assert_lt(g->over(g->arg), first);
	sem_post(&may_end);
	until_over(g, first);
	sem_wait(&began);
	cr_assert_lt(g->over(g->arg), second);
	sem_post(&may_end);
	until_over(g, second);
	wm_grace_stop(t);
}

/* CLOCK_BOOTTIME, which is not behind the clock that the rest goes by. */
Test(grace, where_it_is_refused_a_second_is_rested, .timeout = 300)
{
	struct wm_grace_thread *t = wm_grace_start(refused);
	const struct wm_grace *g = wm_grace_of(t);
	uint64_t began_ns = wm_clock_ns();

	until_over(g, g->ticket(g->arg));
	cr_assert_geq(wm_clock_ns() - began_ns, WM_RECYCLE_NS);
	g->ticket(g->arg);
	wm_grace_stop(t); /* does not wait for the second */
}

Test(grace, the_kernels_own, .timeout = 300)
{
	struct wm_grace_thread *t = wm_grace_start(wm_grace_membarrier);
	const struct wm_grace *g = wm_grace_of(t);
	int r = wm_grace_membarrier();

	cr_assert(r == 0 || r == -ENODATA || r == -EINVAL || r == -ENOSYS || r == -EPERM, "%d", r);
	for (unsigned i = 0; i < 3; i++)
		until_over(g, g->ticket(g->arg));
	wm_grace_stop(t);
}
