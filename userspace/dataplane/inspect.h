/* SPDX-License-Identifier: Apache-2.0 */
/* inspect.h - look into the maps of a pin directory, whether an agent has them or not. Reads only.
 * Threading: none; what the kernel or an agent changes meanwhile is seen or not. */
#pragma once
#include "userspace/base/err.h"
#include "waymark/counters.h"
#include "waymark/table.h"

#include <stdbool.h>
#include <stdint.h>

struct wm_inspect;
struct wm_inspect_memory {
	const struct wm_config *config;
	const struct wm_set *sets;
	const struct wm_slot *slots;
	const struct wm_backend *backends;
	const struct wm_table_head *heads;
	const struct wm_set_live *set_live;
	const struct wm_backend_live *live;
	const struct wm_connection *connections;
	uint32_t connections_cap;
	uint32_t sets_cap, heads_cap, slots_cap, backends_cap;
};

/** @return 0, -ENOENT (nothing is pinned), WM_E_BPF_LAYOUT, negative errno; text in @p e. */
int wm_inspect_open(const char *pin_dir, struct wm_inspect **ret, struct wm_err *e);
void wm_inspect_close(struct wm_inspect *x); /* NULL ok */
/** Does a running agent hold the pin directory? */
bool wm_inspect_held(const char *pin_dir);
/** The mapped arrays, valid until the close. */
const struct wm_inspect_memory *wm_inspect_memory(const struct wm_inspect *x);
/** The same for the readers of include/waymark/. */
struct wm_view wm_inspect_view(const struct wm_inspect *x);
/** Next entry; begins with @p key all zero and *@p begun false. @return false at the end. An entry
 *  that is removed meanwhile may begin the walk anew; it ends after as many as the map has. */
bool wm_inspect_name(struct wm_inspect *x, struct wm_name_key *key, bool *begun,
		     struct wm_name *ret);
bool wm_inspect_frontend(struct wm_inspect *x, struct wm_frontend_key *key, bool *begun,
			 struct wm_frontend *ret);
/** The entry of @p key as it is now. @return whether there is one. */
bool wm_inspect_frontend_of(const struct wm_inspect *x, const struct wm_frontend_key *key,
			    struct wm_frontend *ret);
/** Is it an address that connect() is steered from, on any port? */
bool wm_inspect_steers(const struct wm_inspect *x, const __be32 addr_be[4]);
/** What the storage of socket @p fd remembers; indexes of other tables than these are
 * WM_NO_BACKEND. @return 0; -ENOENT: nothing; negative errno. */
int wm_inspect_origin(const struct wm_inspect *x, int fd, struct wm_socket_origin *ret);
/** Sum over the CPUs, WM_COUNTER_COUNT of them. @return 0 or negative errno. */
int wm_inspect_counters(struct wm_inspect *x, uint64_t *ret);
