/* SPDX-License-Identifier: Apache-2.0 */
/* macros.c - what the macros need that is no macro. */
#include "macros.h"

#include <unistd.h>

void wm_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
