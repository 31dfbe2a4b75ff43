/* SPDX-License-Identifier: Apache-2.0 */
/* grace.h - when what was freed may be used again: once every program that may have seen it has
 * ended. What is freed gets a ticket behind the store that took it out of programs' reach; it is
 * over when a wait that began after that has ended.
 * The wait is membarrier(MEMBARRIER_CMD_GLOBAL), which is the kernel's synchronize_rcu(): programs
 * run in RCU read sections. It takes 8 to 16 ms, so a thread makes it. Where the kernel refuses it
 * (nohz_full: EINVAL), or it would do nothing (one CPU: ENODATA), that thread sleeps WM_RECYCLE_NS
 * instead, on a clock that stands still while the machine is suspended.
 * Threading: the thread that started it; wm_grace_membarrier() from any. */
#pragma once
#include <stdint.h>

/* How tables learn of it. Tickets are more than 0 and never less than one before. */
struct wm_grace {
	void *arg;
	uint64_t (*ticket)(void *arg); /* of what is freed now */
	uint64_t (*over)(void *arg);   /* tickets up to this are over */
};

/** Wait until each program of the kernel that runs now has ended. @return 0, or negative errno:
 *  nothing was waited for. */
int wm_grace_membarrier(void);

struct wm_grace_thread;
/** @param wait how to wait, as wm_grace_membarrier(). @return NULL: no memory or no thread, errno
 *  says which. */
struct wm_grace_thread *wm_grace_start(int (*wait)(void));
/** Ends a sleep; a wait of the kernel's is waited for. NULL ok. */
void wm_grace_stop(struct wm_grace_thread *g);
/** For an agent: waits here for what an earlier run freed in its last moment, and logs where no
 * wait is made. @return NULL: what is freed rests. */
struct wm_grace_thread *wm_grace_begin(void);
/** Valid until the stop; NULL of NULL. */
const struct wm_grace *wm_grace_of(const struct wm_grace_thread *g);
