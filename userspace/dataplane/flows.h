/* SPDX-License-Identifier: Apache-2.0 */
/* flows.h - decisions of connect() and of datagrams as programs make them (include/waymark/flow.h).
 * They are told while there is a struct wm_flows, and cost nothing otherwise. Threading: loop
 * thread only. */
#pragma once
#include "plane.h"
#include "userspace/net/loop.h"
#include "waymark/flow.h"

#define WM_FLOWS_TURN 1024 /* decisions that are read in one turn of the loop: some 2 ms */

struct wm_flows;
/** Have the programs tell, and @p fn called on the loop for each decision; what finds no room in
 * the ring buffer is counted by the kernel (flows_lost). One at a time. @p p is borrowed. @return
 * 0; -EOPNOTSUPP: the kernel has no ring buffers, or the programs are not loaded; -ENOMEM; negative
 * errno. */
int wm_flows_new(struct wm_loop *l, struct wm_plane *p,
		 void (*fn)(void *arg, const struct wm_flow *f), void *arg, struct wm_flows **ret);
/** They tell no more. NULL ok. */
void wm_flows_free(struct wm_flows *x);
/** Have programs that an earlier run left tell no more. */
void wm_flows_unwatched(struct wm_plane *p);
/** Why a backend was chosen, WM_REASON_*, in words. Static. */
const char *wm_reason_text(uint8_t reason);
/** By what balance, as it was told: its name; "": not known. Static. */
const char *wm_reason_balance(uint8_t reason);
/** Path of cgroup @p id below the mount. @return 0, negative errno: it is gone, or not told. */
int wm_flows_cgroup(uint64_t id, char *buf, size_t cap);
