/* SPDX-License-Identifier: Apache-2.0 */
/* ready.h - which answers of ours the kernel is given to give again: those that no health changes.
 * One is given when it was made for a client, of the operator's records before that
 * (static_ready.c), and is over when something that it was made of changes: waymark/dns_ready.h.
 * It is made anew soon after, so that the kernel has it if the agent dies before somebody asks.
 * Threading: loop thread only. */
#pragma once
#include "userspace/net/loop.h"
#include "waymark/dns_there.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel's side, as wm_plane_ready_put() and wm_plane_ready_words() have it. */
struct wm_ready_kernel {
	int (*put)(void *arg, struct wm_ready *e, uint16_t type);
	uint64_t *words; /* WM_READY_ENTRIES of them */
	void *arg;
	unsigned fill; /* answers that are given before anybody asks; 0: none */
	unsigned max;  /* that it has room for */
};

struct wm_ready_config {
	struct wm_ready_kernel kernel;
	/* Make the answer to a question, its name folded, anew and keep it. @return false: there is
	 * none to keep. */
	bool (*remake)(void *arg, const uint8_t *name, uint16_t len, uint16_t type);
	void *arg;
	const __u64 *seed; /* of the hash of names, two words; NULL: of names nothing is told */
};

/* X(symbol, metric name, text) */
#define WM_READY_COUNTERS(X)                                                                       \
	X(KEPT, dns_ready_kept, "answers of ours that were given to the kernel")                   \
	X(REMADE, dns_ready_remade,                                                                \
	  "of these, made without a question: of nodes that came, and of what had changed")        \
	X(REFUSED, dns_ready_refused, "answers that the kernel did not take")                      \
	X(LONG, dns_ready_long, "answers too long for the kernel")                                 \
	X(CHANGES, dns_ready_changes, "changes of what such answers are made of")
enum wm_ready_counter {
#define X(sym, name, text) WM_READY_C_##sym,
	WM_READY_COUNTERS(X)
#undef X
		WM_READY_COUNTER_COUNT
};

/* An answer without OPT, made for a client that takes all of it. Borrowed. */
struct wm_ready_made {
	const uint8_t *message; /* its name folded */
	size_t len, name_len;
	uint16_t type, rcode, answers, authorities, additionals;
	size_t serial_at; /* of its SOA, in the message; 0: none */
	uint16_t turns;	  /* as in struct wm_ready_head */
	uint16_t source[WM_READY_SOURCES];
};

struct wm_ready_level;
/** @return NULL without memory. */
struct wm_ready_level *wm_ready_new(struct wm_loop *l, const struct wm_ready_config *c);
void wm_ready_free(struct wm_ready_level *l); /* NULL ok; the kernel keeps what it has */
/** The word of what is called so: an address, v4-mapped, or a node's name. */
uint16_t wm_ready_source(const void *data, size_t len);
/** It has changed: who asks from now on is not told what was. NULL ok. Cost: one atomic addition.
 */
void wm_ready_changed(struct wm_ready_level *l, uint16_t source);
/** A name is there from now on, folded and with its root, or (@p more false) is not any more. Names
 *  that are not there the kernel denies once all of their kind are told. Count one that comes
 *  before anybody is told of it. NULL ok. Cost: a hash and two atomic additions. */
void wm_ready_there(struct wm_ready_level *l, const uint8_t *folded, size_t len, bool more);
/** All names of a kind, WM_THERE_NODES or WM_THERE_CLUSTER, are told, or are not. NULL ok. */
void wm_ready_whole(struct wm_ready_level *l, uint32_t kind, bool whole);
/** Is it time for the answer to be given? One without records is when it is asked for again, so
 *  that ever new names that are not there cost little. */
bool wm_ready_wants(struct wm_ready_level *l, const uint8_t *folded, size_t len, uint16_t type,
		    bool records);
/** Give it to the kernel. @return 0, negative errno. */
int wm_ready_keep(struct wm_ready_level *l, const struct wm_ready_made *m);
/** The answer to this question is to be made soon, and anew as it changes. Nothing where enough are
 *  foreseen. */
void wm_ready_foresee(struct wm_ready_level *l, const uint8_t *folded, size_t len, uint16_t type);
/** Is there room for one more of these? */
bool wm_ready_foresees(const struct wm_ready_level *l);
/** How many are given before anybody asks. NULL: 0. */
unsigned wm_ready_fill(const struct wm_ready_level *l);
const uint64_t *wm_ready_counters(const struct wm_ready_level *l);
