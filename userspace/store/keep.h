/* SPDX-License-Identifier: Apache-2.0 */
/* keep.h - the last known good registries: after a start and then now and again a snapshot is saved
 * into the data directory in small steps, read back and verified, and the oldest beyond a number
 * removed. When a store turns out to be damaged, they are what there is to restore.
 * Threading: loop thread only. */
#pragma once
#include "snapshot.h"
#include "userspace/net/loop.h"

struct wm_keep;
struct wm_keep_config {
	const char *data_dir;
	uint64_t interval_ms; /* 0: none is kept */
	unsigned count;	      /* that stay */
	struct wm_writer *writer;
	/* What is to be saved now? false: nothing that is whole. */
	bool (*about)(void *arg, struct wm_save_about *ret);
	void *arg;
};
struct wm_keep_stats {
	uint64_t kept, failed;
	uint64_t index; /* of the newest; 0: none */
	int64_t when_s; /* since 1970 */
	char last_error[256];
};
/** @return NULL without memory. */
struct wm_keep *wm_keep_new(struct wm_loop *l, const struct wm_keep_config *c);
void wm_keep_free(struct wm_keep *k); /* before the writer; NULL ok */
/** Another interval, 0 for none, from now on. */
void wm_keep_set_interval(struct wm_keep *k, uint64_t ms);
void wm_keep_stats(const struct wm_keep *k, struct wm_keep_stats *ret);
/** The newest one in @p data_dir. @p path: PATH_MAX octets. @return its index, 0: there is none. */
uint64_t wm_keep_newest(const char *data_dir, char *path, int64_t *ret_when_s);
