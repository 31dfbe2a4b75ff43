/* SPDX-License-Identifier: Apache-2.0 */
#include "grace.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

int wm_grace_membarrier(void)
{
	/* on one CPU the kernel returns at once, though it may have preempted a program */
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return -ENODATA;
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) ? -errno : 0;
}
