/* SPDX-License-Identifier: Apache-2.0 */
/* agent.h - the agent: owns every part, starts them in order, stops them in reverse. The data plane
 * outlives it. Threading: one thread, one loop. */
#pragma once
#include "userspace/base/settings.h"

struct wm_agent;
/** Start everything. @p s, gathered from @p from, is taken over at success (the agent frees it).
 * SIGHUP gathers again; @p from is borrowed for the agent's life. What can be done without (the
 * kernel's part) is logged and left out.
 *  @return 0, or the error with @p e filled. */
int wm_agent_start(struct wm_settings *s, const struct wm_settings_source *from,
		   struct wm_agent **ret, struct wm_err *e);
/** Serve until SIGTERM, SIGINT or a request to leave. */
int wm_agent_run(struct wm_agent *a);
void wm_agent_stop(struct wm_agent *a); /* NULL ok */
