/* SPDX-License-Identifier: Apache-2.0 */
/* ring.h - reads a ring buffer that programs of the kernel write to. Threading: loop thread only.
 */
#pragma once
#include "userspace/net/loop.h"

#include <stddef.h>

struct wm_ring;
typedef void (*wm_ring_fn)(void *arg, const void *data, size_t len);
/** Call @p fn on the loop for each record of ring buffer @p fd, at most @p turn of them in one
 * turn; 0: for all that are there. @p fd is borrowed. @p fn may not free the ring. @return 0,
 * -ENOMEM. */
int wm_ring_new(struct wm_loop *l, int fd, unsigned turn, wm_ring_fn fn, void *arg,
		struct wm_ring **ret);
/** Read what is there now, also of who does not wake us. */
void wm_ring_read(struct wm_ring *x);
void wm_ring_free(struct wm_ring *x); /* NULL ok */
