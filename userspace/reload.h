/* SPDX-License-Identifier: Apache-2.0 */
/* reload.h - the configuration files are read again. They are read and judged, and what they define
 * is written down, on a thread of its own (net/aside.h); what they define is registered on the
 * loop, some writes a turn. One at a time: a signal that comes meanwhile is heard when it is over,
 * a request is refused. Threading: loop thread only. */
#pragma once
#include "userspace/api/definitions.h"
#include "userspace/api/policy_dir.h"
#include "userspace/metadata/rules.h"
#include "userspace/net/loop.h"

struct wm_statics;

struct wm_reload;
struct wm_reload_config { /* all borrowed */
	struct wm_loop *loop;
	struct wm_registry *registry;
	const struct wm_settings_source *from;
	const struct wm_settings *settings; /* in force; changed by `take` only */
	/* The files are in order: take over what may be changed, @p rules and @p fixed (NULL:
	 * none).
	 * @p policies is borrowed; NULL: policy.dir is empty. @return what is to be written down of
	 * them, for free(); NULL: nothing. */
	char *(*take)(void *arg, struct wm_settings *next, struct wm_rules *rules,
		      const struct wm_policy_dir *policies, struct wm_statics *fixed);
	/* Is something of what was taken over still being written? */
	bool (*writing)(void *arg);
	/* All is registered, or refused. @p kept: 0, or why it could not be written down. */
	void (*applied)(void *arg, const struct wm_application *x, int kept,
			const struct wm_err *e);
	void *arg;
};

/** @return NULL without memory. */
struct wm_reload *wm_reload_new(const struct wm_reload_config *c);
/** Before what it was given goes: no step follows. NULL ok. */
void wm_reload_stop(struct wm_reload *l);
/** After wm_reload_stop(), and when no write is queued any more. NULL ok. */
void wm_reload_free(struct wm_reload *l);
/** Begin. @p done hears how it ended: 0, or an error with nothing changed.
 *  @return 0, or an error at once, WM_E_BUSY while another one goes on. */
int wm_reload_begin(struct wm_reload *l, void (*done)(void *arg, int code, const char *text),
		    void *arg, struct wm_err *e);
/** Begin now, or when the present one is over. */
void wm_reload_signal(struct wm_reload *l);
