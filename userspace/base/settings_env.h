/* SPDX-License-Identifier: Apache-2.0 */
/* settings_env.h - settings from environment variables, all of settings.def: WAYMARKD_HTTP_PORT is
 * http.port. Kubernetes writes variables of its own into each container, of every Service of its
 * namespace ("waymark" has WAYMARK_PORT=tcp://...). With this prefix only a Service named waymarkd
 * or waymarkd-... has names that are like ours, and those are passed over. Threading: no state. */
#pragma once
#include "settings.h"

#define WM_SETTINGS_ENV_PREFIX "WAYMARKD_"

/** Set what @p env (as environ; NULL: nothing) says, as wm_settings_set() does. A variable of the
 *  prefix that no setting has is a fault. @p fn hears of all faults; NULL: the first ends it.
 *  @return 0 or the first one's code, with its text, which begins with the variable, in @p e. */
int wm_settings_env(struct wm_settings *s, const char *const *env, wm_settings_fault fn, void *arg,
		    struct wm_err *e);
/** Does @p env set "section.name"? @p full is that, @p len octets. */
bool wm_settings_env_sets(const char *const *env, const char *full, size_t len);
