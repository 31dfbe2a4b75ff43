/* SPDX-License-Identifier: Apache-2.0 */
/* abort.h - ends sockets whose backend is gone. When a backend goes down or leaves, the kernel ends
 * the UDP sockets that are connected to it, so that their programs get ECONNABORTED and dial again;
 * TCP connections only where the instance's metadata asks for it (WM_META_ABORT_TCP). Passes over
 * the machine's sockets run only while there is such a backend, and sockets are connected to it.
 * Threading: loop thread only; a pass runs in a thread of the data plane's. */
#pragma once
#include "userspace/dataplane/plane.h"
#include "userspace/net/loop.h"
#include "userspace/resolution/tables.h"

/* What is counted: X(symbol, metric name, text). */
#define WM_ABORT_COUNTERS(X)                                                                       \
	X(UDP, abort_udp, "connected UDP sockets that were ended: their backend is gone")          \
	X(TCP, abort_tcp,                                                                          \
	  "TCP connections that were ended: their backend is gone and asks for it")                \
	X(BACKENDS, abort_backends, "backends that went down or left")                             \
	X(SKIPPED, abort_skipped, "of these, those whose sockets the kernel could not end")        \
	X(PASSES, abort_passes, "passes over the machine's sockets")                               \
	X(NOT_NEEDED, abort_passes_not_needed,                                                     \
	  "passes that were not needed: no socket was connected to what is gone")                  \
	X(FAILED, abort_passes_failed, "passes that the kernel refused or broke off")              \
	X(PARTIAL, abort_passes_partial, "passes that could not enter all network namespaces")

enum wm_abort_counter {
#define X(sym, name, text) WM_ABORT_##sym,
	WM_ABORT_COUNTERS(X)
#undef X
		WM_ABORT_COUNTER_COUNT
};

struct wm_aborts;
/** Listens to the tables; what stands in them as gone is looked after first. @p plane may be NULL:
 * then it only counts. All are borrowed; freed before them. @return NULL without memory. */
struct wm_aborts *wm_aborts_new(struct wm_loop *l, struct wm_tables *t, struct wm_plane *plane);
void wm_aborts_free(struct wm_aborts *a); /* NULL ok */
/** In the order of WM_ABORT_COUNTERS. Borrowed. */
const uint64_t *wm_aborts_counters(const struct wm_aborts *a);
