/* SPDX-License-Identifier: Apache-2.0 */
/* dns_settings.h - settings of DNS that count while the agent runs. Threading: loop thread only. */
#pragma once
#include "userspace/base/settings.h"
#include "userspace/dataplane/plane.h"
#include "userspace/dns/server.h"
#include "userspace/dns/static_records.h"
#include "waymark/layout.h"

/** Answer with the operator's records @p t, which are taken, from now on. @p k: what the programs
 *  are told; they deny no name of ours by its form while one of the records may have it. */
void wm_dns_settings_records(struct wm_dns_server *d, struct wm_config *k, struct wm_statics *t);
/** Tell who answers, in userspace and in the kernel, what the settings say now: at the start before
 *  the programs are attached, and when they were reloaded. @p s has been checked. @p p NULL: there
 *  is no kernel's part. */
void wm_dns_settings_take(const struct wm_settings *s, struct wm_dns_server *d, struct wm_plane *p);
