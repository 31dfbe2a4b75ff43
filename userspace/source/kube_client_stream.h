/* SPDX-License-Identifier: Apache-2.0 */
/* kube_client_stream.h - where objects begin and end in what an API server sends, in pieces as the
 * network has them: the elements of `items` of a list, the `object` of each event of a watch.
 * Memory is one object and an envelope, whatever comes. Brackets and quotes must pair, objects are
 * not looked into otherwise. Pure. Spec: RFC 8259. */
#pragma once
#include "userspace/base/buf.h"

#include <stdint.h>

#define WM_KUBE_ENVELOPE_MAX                                                                       \
	(64u << 10)		      /* octets beside the objects: a continue token is 1 KiB      \
				       */
#define WM_KUBE_DEPTH_MAX 128	      /* brackets in brackets: Kubernetes' own have 30 */
#define WM_KUBE_CUT	  (64u << 10) /* octets kept of what is too long, for its name */

enum wm_kube_piece {
	WM_KUBE_MORE,	  /* all that came was read */
	WM_KUBE_ITEM,	  /* of a list: s->object is one */
	WM_KUBE_DOCUMENT, /* s->envelope is whole: the list, or an event, with s->object if it has
			   * one */
	WM_KUBE_BAD,	  /* s->bad says why; from now on always */
};

struct wm_kube_stream {
	bool watch; /* else a list: one document */
	/* Of the last piece, NUL-terminated; until the next call. */
	struct wm_buf object;	/* empty data: there is none */
	bool cut;		/* the object was longer than object_max: its beginning */
	struct wm_buf envelope; /* the document with [] for items, null for object; no blanks */
	const char *bad;

	/* inside */
	size_t object_max, object_len;
	uint64_t arrays[WM_KUBE_DEPTH_MAX / 64]; /* by depth: an array, else an object */
	unsigned depth, object_depth;		 /* 0: not within an object that is kept */
	char key[16];				 /* of the top object */
	size_t key_len;
	uint8_t items; /* where in the list's array */
	enum wm_kube_piece last;
	bool string, escape, in_key, want_key, ended;
};

/** @param object_max octets of an object that are kept. */
void wm_kube_stream_init(struct wm_kube_stream *s, bool watch, size_t object_max);
void wm_kube_stream_done(struct wm_kube_stream *s);
/** Begin anew with another answer. */
void wm_kube_stream_reset(struct wm_kube_stream *s, bool watch);
/** Read on in @p *data, which moves on, and @p *len. Cost O(octets). */
enum wm_kube_piece wm_kube_stream_next(struct wm_kube_stream *s, const char **data, size_t *len);
/** Is it between documents: nothing begun is missing its end? */
bool wm_kube_stream_whole(const struct wm_kube_stream *s);
