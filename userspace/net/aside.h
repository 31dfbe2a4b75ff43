/* SPDX-License-Identifier: Apache-2.0 */
/* aside.h - work that would hold the loop (files that are read, and judged), on a thread of its own
 * which ends with it. What it works on is the thread's alone until `done` is called.
 * Threading: the loop thread only, but for `run`. */
#pragma once
#include "loop.h"

struct wm_aside;

/** Let @p run work on @p arg on a thread, without signals, then @p done on the loop. Frees itself
 *  before @p done. @return 0, -ENOMEM, or the error of a thread that cannot be started. */
int wm_aside_start(struct wm_loop *l, void (*run)(void *arg), void (*done)(void *arg), void *arg,
		   struct wm_aside **ret);
/** Wait for it; `done` is not called. NULL ok. */
void wm_aside_end(struct wm_aside *a);
