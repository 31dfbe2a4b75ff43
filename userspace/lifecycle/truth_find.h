/* SPDX-License-Identifier: Apache-2.0 */
/* truth_find.h - one pass over registry, tables and kernel, for truth.c: sockets that listen, then
 * connections, instances, tables, programs, each a little at a time. Threading: loop thread only.
 */
#pragma once
#include "truth.h"

struct wm_truth_pass;
/** @param on_found what it is given is valid during the call. @param on_unseen what could not be
 *  looked at, and why. @return NULL without memory. */
struct wm_truth_pass *wm_truth_pass_new(const struct wm_truth_config *c,
					void (*on_found)(void *arg, const struct wm_truth_found *f),
					void (*on_unseen)(void *arg, const char *text), void *arg);
void wm_truth_pass_free(struct wm_truth_pass *p); /* NULL ok */
/** Go on a little: some microseconds, but for a large set, which is compared in one go. @return
 *  false at the end. */
bool wm_truth_pass_step(struct wm_truth_pass *p);
