/* SPDX-License-Identifier: Apache-2.0 */
/* replicated.h - who registered something may wait until others have it: peers are asked how far
 * they are in this agent's log, etcd tells what it took. Threading: loop thread only. */
#pragma once
#include "sync.h"

#define WM_REPLICATED_MS     10000 /* how long is waited where nothing is said */
#define WM_REPLICATED_MS_MAX 60000
#define WM_REPLICATED_MAX    4096 /* that wait at a time */

/** Wait until what this agent stored of @p id is with others: @p replicas of them, or all full
 * members that are alive (0), one at least; or with etcd. @p done is called once: 0; WM_E_PENDING:
 * not within @p ms, the text says where it is; WM_E_BUSY: this agent stops, or too many wait. It
 * may be called within the call. */
void wm_sync_wait(struct wm_sync *s, const char *id, unsigned replicas, uint64_t ms,
		  void (*done)(void *arg, int code, const char *text), void *arg);
