/* SPDX-License-Identifier: Apache-2.0 */
/* verify_internal.h - what asking (verify.c) and answering (verify_serve.c) share. */
#pragma once
#include "replica_internal.h"
#include "userspace/sync/verify.pb-c.h"
#include "verify.h"

#define VERIFY_RANGE	   1024	      /* objects of a log that are looked at for one answer */
#define VERIFY_NAMES	   256	      /* objects that are asked for by name in one message */
#define VERIFY_MESSAGE_MAX (1u << 20) /* octets; logs of WM_MEMBERS_MAX are some 600 KiB */

/* A place in the order of a log; all zero: before its first object. */
struct place {
	struct position at;
	uint8_t key[WM_REPLICA_KEY_MAX];
	size_t len;
};

struct wm_verify {
	struct wm_verify_config c;
	struct wm_env_timer *soon; /* begins what is to be begun outside of callbacks */
	uint32_t number;	   /* of the last message */
	struct wm_verify_member *members;
	unsigned members_count, begun, ended;
	struct wm_verify_found *found;
	unsigned found_count;
	wm_verify_done done; /* NULL: no comparison is under way */
	void *done_arg;
	TAILQ_HEAD(, look) looks; /* members that are being asked */
};

/* verify_serve.c */
/* Whose log it is in our replica; NULL: none. */
struct log *verify_log(const struct wm_verify *v, const struct wm_peer_id *origin);
/* The next object behind a place, which moves there. NULL: none. */
struct object *verify_next(const struct log *l, struct place *at);
int verify_place_cmp(const struct place *a, const struct place *b);
struct wm_verify_side verify_side(const struct log *l, struct object *o); /* NULL: not known */
