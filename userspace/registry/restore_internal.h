/* SPDX-License-Identifier: Apache-2.0 */
/* restore_internal.h - what restore.c (the difference, in slices) and restore_file.c (the copy that
 * outlives a crash) share. Inside registry/ only. */
#pragma once
#include "internal.h"
#include "restore.h"
#include "userspace/store/snapshot_internal.h"

#define WM_RESTORE_SLICE 256 /* writes of a slice: some 3 ms, and one transaction */

enum wm_restore_phase {
	WM_RESTORE_READ,   /* octets are taken in and verified, each record by itself */
	WM_RESTORE_JUDGE,  /* records are held against each other and against limits */
	WM_RESTORE_KEEP,   /* the copy is synced */
	WM_RESTORE_LEAP,   /* numbers go on above those of the snapshot */
	WM_RESTORE_LEASES, /* from here on something may be changed */
	WM_RESTORE_REMOVE,
	WM_RESTORE_PUT,
	WM_RESTORE_POLICIES,
	WM_RESTORE_LAST,
	WM_RESTORE_DONE
};

/* A slice that waits for its commit; it outlives a restore that is given up. */
struct wm_restore_slice {
	struct wm_restore *x; /* NULL: given up */
};

/* Where the walk over a node of the registry is: of which node. */
struct wm_restore_place {
	uint64_t mark, create_index;
};

struct wm_restore {
	struct wm_job job;
	struct wm_registry *r;
	/* what the store's thread does for it: @return as wm_restore_step() */
	int (*work)(struct wm_restore *x, struct wm_err *e);
	bool busy;   /* with that, on the thread, which has all below */
	bool worked; /* it is done, `work_code` says how */
	bool freed;  /* nobody wants to know any more */
	int work_code;
	struct wm_err work_err;
	struct wm_snapshot *s;
	enum wm_restore_phase phase;
	/* where it comes from */
	int fd; /* -1: `data` */
	char *data;
	size_t len, at;
	/* the copy */
	int part; /* -1: none, or durable */
	uint64_t written, flushed;
	bool durable; /* it stands under its name */
	/* the difference */
	size_t pos, inner; /* in a table of nodes, and in that of a node's instances */
	struct wm_restore_place on;
	struct wm_node *node; /* of the snapshot, whose instances come next; NULL: the next one's */
	struct wm_group *group;		/* slice that is made; NULL: none yet */
	unsigned parts;			/* writes in it */
	struct wm_restore_slice *slice; /* that waits; NULL: none */
	int code;			/* of the last slice */
	char text[256];
	bool changed; /* a slice was committed */
	bool resumed; /* one was of another that was not finished, maybe */
};

/* --- work of the store's thread --- */
/** Take in the next octets. @return 1: there are more; 0: that was all; or the error. */
int wm_restore_read(struct wm_restore *x, struct wm_err *e);
/** Let the copy stand under its name, on the disk. */
int wm_restore_keep(struct wm_restore *x, struct wm_err *e);
/** Remove it: all is done, or nothing was. */
int wm_restore_forget(struct wm_restore *x, struct wm_err *e);

/** Close what is open; a copy that is not under its name yet is removed. */
void wm_restore_close(struct wm_restore *x);
/** At the start: finish what a crash cut off. @return 0: done, or there was nothing to do. */
int wm_restore_finish(struct wm_registry *r, struct wm_err *e);
