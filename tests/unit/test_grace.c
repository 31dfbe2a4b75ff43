/* SPDX-License-Identifier: Apache-2.0 */
/* links: base resolution */
/* When what was freed is over. */
#include "userspace/resolution/grace.h"

#include <criterion/criterion.h>
#include <errno.h>

Test(grace, a_refusal_is_named)
{
	int r = wm_grace_membarrier();

	cr_assert(r == 0 || r == -ENODATA || r == -EINVAL || r == -ENOSYS || r == -EPERM, "%d", r);
}
