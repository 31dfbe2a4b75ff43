/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_answer.h - what etcd's JSON gateway answers, decoded: of a range, a transaction, a watch, a
 * lease, an authentication, or an error. Bounded in size and depth; whatever comes is read inside
 * its bounds and refused where a type is wrong. Pure. Inside sync/ only. */
#pragma once
#include "userspace/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WM_ETCD_ANSWER_MAX (8u << 20) /* octets: base64 of two of etcd's largest requests */
#define WM_ETCD_DEPTH_MAX  24	      /* of nesting; a transaction within one takes eight */
#define WM_ETCD_TOKEN_MAX  4096	      /* octets of an authentication's token: JWTs are long */

/* gRPC's codes that are told apart (grpc/status). */
enum wm_etcd_code {
	WM_ETCD_OK = 0,
	WM_ETCD_INVALID = 3,
	WM_ETCD_NOT_FOUND = 5,
	WM_ETCD_DENIED = 7,
	WM_ETCD_EXHAUSTED = 8,
	WM_ETCD_PRECONDITION = 9,
	WM_ETCD_OUT_OF_RANGE = 11,
	WM_ETCD_UNAVAILABLE = 14,
	WM_ETCD_UNAUTHENTICATED = 16,
};

struct wm_etcd_kv {
	const char *key, *value; /* decoded; of the answer */
	size_t key_len, value_len;
	int64_t create_revision, mod_revision, lease;
	bool deleted; /* of a watch */
};

/* One answer within a transaction's. */
struct wm_etcd_part {
	int64_t deleted;	 /* of a deletion: keys */
	bool succeeded;		 /* of a transaction; of others true */
	unsigned kvs, kvs_count; /* of a range, or what was before a put */
};

struct wm_etcd_answer {
	uint64_t cluster; /* 0: it has no header */
	int64_t revision;
	bool succeeded, more;		  /* of a transaction; of a range */
	bool created, canceled, fragment; /* of a watch */
	int64_t compact_revision;
	const char *cancel_reason; /* "" if none */
	int64_t lease, ttl;
	const char *token; /* NULL: none */
	int code;	   /* enum wm_etcd_code; 0: no error */
	const char *error; /* "" if none */
	struct wm_etcd_kv *kvs;
	unsigned kvs_count;
	struct wm_etcd_part *parts;
	unsigned parts_count;
	/* whose memory all of that is */
	void *root, *arena, *arena_at;
};

/** Decode one answer, or one line of a stream. @return 0, WM_E_DECODE (no JSON, or not of this
 *  form), WM_E_LIMIT (size, depth), -ENOMEM; @p e says what. Free by wm_etcd_answer_done() if 0. */
int wm_etcd_answer_read(const char *text, size_t len, struct wm_etcd_answer *ret, struct wm_err *e);
void wm_etcd_answer_done(struct wm_etcd_answer *a);
