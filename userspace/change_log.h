/* SPDX-License-Identifier: Apache-2.0 */
/* change_log.h - one line in the log for what an operator wants to read of the registry: an
 * instance or a node came or went, its state, drain or maintenance changed, a check became critical
 * or recovered. A subject (an instance, a check) has WM_CHANGE_LOG_SUBJECT lines a window, an event
 * WM_CHANGE_LOG_EVENT; what is left out is counted and told at the end of the window. Threading:
 * loop thread only. */
#pragma once
#include "userspace/net/loop.h"
#include "userspace/registry/registry.h"

#define WM_CHANGE_LOG_WINDOW_MS 10000 /* ms */
#define WM_CHANGE_LOG_SUBJECT	4     /* lines of a subject a window: down, up, and once more */
#define WM_CHANGE_LOG_EVENT	100   /* lines of an event a window: a deployment is readable */
#define WM_CHANGE_LOG_SUBJECTS	1024  /* subjects that are told apart at a time, by hash */

struct wm_change_log;

/** Subscribe to @p r, which outlives it as @p l does. @return NULL without memory. */
struct wm_change_log *wm_change_log_new(struct wm_loop *l, struct wm_registry *r);
/** Tells what was left out so far. NULL ok. */
void wm_change_log_free(struct wm_change_log *c);
