/* SPDX-License-Identifier: Apache-2.0 */
/* referrers.h - which services send connections to another by their policies: who is compiled anew
 * when that one changes. Made from the policies when it is asked for after one changed.
 * Threading: loop thread only. */
#pragma once
#include "userspace/registry/registry.h"

struct wm_referrers;
struct wm_referrers *wm_referrers_new(const struct wm_registry *r);
void wm_referrers_free(struct wm_referrers *f); /* NULL ok */
/** A policy changed. */
void wm_referrers_changed(struct wm_referrers *f);
bool wm_referrers_any(struct wm_referrers *f, const char *service);
/** Call @p fn with each service whose policy leads to @p service (in lower case), also by way of
 *  others' policies. One may be told more than once. Without memory: with all that have a policy.
 */
void wm_referrers_each(struct wm_referrers *f, const char *service,
		       void (*fn)(void *arg, const char *service), void *arg);
