/* SPDX-License-Identifier: Apache-2.0 */
/* dns_samples.h - one in so many of the questions that the kernel answers (waymark/dns_sample.h).
 * They wait in the ring buffer for some seconds, unless they fill half of it: a question wakes
 * nobody. Threading: loop thread only. */
#pragma once
#include "plane.h"
#include "userspace/net/loop.h"
#include "waymark/dns_sample.h"

#define WM_DNS_SAMPLES_TURN 1024 /* that are read in one turn of the loop: all that have room */

struct wm_dns_samples;
typedef void (*wm_dns_sample_fn)(void *arg, const struct wm_dns_sample *s);
/** Call @p fn for each that is told. @p p is borrowed. @return 0; -EOPNOTSUPP: the kernel has no
 *  ring buffers, or the programs are not loaded; -ENOMEM. */
int wm_dns_samples_new(struct wm_loop *l, struct wm_plane *p, wm_dns_sample_fn fn, void *arg,
		       struct wm_dns_samples **ret);
/** Read now what was told, and did not wake us. */
void wm_dns_samples_read(struct wm_dns_samples *x);
/** Have one in @p every told from now on, at most WM_SAMPLE_EVERY_MAX; 0, as at first: none.
 *  @return 0, negative errno: it is as before. */
int wm_dns_samples_every(struct wm_plane *p, unsigned every);
/** No more are told. NULL ok. */
void wm_dns_samples_free(struct wm_dns_samples *x);
