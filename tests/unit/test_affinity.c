/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* When what is known of a client who keeps his backend is written again. */
#include "waymark/affinity.h"

#include <criterion/criterion.h>
#include <stdint.h>

#define SECOND 1000000000ull
#define HOUR   (3600 * SECOND)

static int fresh(uint64_t until, uint64_t now, uint64_t keep)
{
	struct wm_affinity e = {.until_ns = until};

	return wm_affinity_is_fresh(&e, now, keep);
}

Test(affinity, is_written_again_once_a_part_of_its_time_has_passed)
{
	const uint64_t now = 5 * SECOND;

	cr_assert(fresh(now + HOUR, now, HOUR));
	cr_assert(fresh(now + HOUR, now + HOUR / 64 - 1, HOUR));
	cr_assert(!fresh(now + HOUR, now + HOUR / 64, HOUR));
	cr_assert(!fresh(now + HOUR, now + HOUR - 1, HOUR), "at its end");
	cr_assert(!fresh(now + HOUR + 1, now, HOUR), "the set made its time shorter");
	cr_assert(!fresh(now + HOUR, now, HOUR + HOUR / 32), "or longer");
	cr_assert(!fresh(now + 60 * HOUR, now, HOUR));
	cr_assert(!fresh(now, now, 0), "it keeps nobody any more");
}
