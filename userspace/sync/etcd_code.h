/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_code.h - what stands in etcd, as octets: keys behind the prefix and values. A key has one
 * form only, so that no two name the same object. Pure. Inside sync/ only.
 *
 * Value of an object, numbers in network order: "WE", format (1), flags (1: gone, 2: shared),
 * epoch (4 octets), sequence or clock (8), writer's id (16), milliseconds since 1970 when it went
 * (8), then the object's octets. */
#pragma once
#include "etcd.h"
#include "userspace/base/base64.h"

#define WM_ETCD_KEY_MAX	   (2 + WM_PEER_ID_TEXT + 3 * WM_REPLICA_KEY_MAX + 1)
#define WM_ETCD_HEADER	   40	/* octets before the object's */
#define WM_ETCD_RECORD_MAX 2048 /* octets of a node's record */
#define WM_ETCD_MODE	   "mode"

enum wm_etcd_key_kind {
	WM_ETCD_KEY_NODE,
	WM_ETCD_KEY_MEMBER,
	WM_ETCD_KEY_OWN,
	WM_ETCD_KEY_SHARED,
	WM_ETCD_KEY_ASK,    /* of who asks all to compare themselves */
	WM_ETCD_KEY_ANSWER, /* the same id; its octets are the id of who answers, as text */
};
/* Is there something behind the id? */
static inline bool wm_etcd_key_named(enum wm_etcd_key_kind k)
{
	return k == WM_ETCD_KEY_OWN || k == WM_ETCD_KEY_ANSWER;
}
struct wm_etcd_key {
	enum wm_etcd_key_kind kind;
	struct wm_peer_id id; /* not of shared ones */
	size_t len;	      /* of octets: OWN, SHARED, ANSWER */
	char octets[WM_REPLICA_KEY_MAX];
};
/** Write a key, NUL-terminated. @return its length; 0: the object's key is too long, or a shared
 *  one has no NUL. */
size_t wm_etcd_key_write(const struct wm_etcd_key *k, char ret[static WM_ETCD_KEY_MAX]);
/** Read what stands behind the prefix. @return 0, -EINVAL: not in the form that is written. */
int wm_etcd_key_read(const char *s, size_t len, struct wm_etcd_key *ret);

struct wm_etcd_value {
	struct wm_version version;
	struct wm_peer_id writer;
	bool gone;
	uint64_t gone_ms;
	const void *object; /* borrowed */
	size_t len;
};
void wm_etcd_value_head(const struct wm_etcd_value *v, uint8_t ret[static WM_ETCD_HEADER]);
/** @return 0, -EINVAL, WM_E_UNSUPPORTED (a later format). Borrows @p p. */
int wm_etcd_value_read(const void *p, size_t len, struct wm_etcd_value *ret);

/* What a node tells of itself, as JSON. */
struct wm_etcd_record {
	char name[WM_NODE_NAME_MAX + 1];
	char address[WM_ADDRESS_MAX + 1];
	char version[32];
	bool settled; /* all of its log is here: what is not has gone */
};
/** @return false: out of room. */
bool wm_etcd_record_write(const struct wm_etcd_record *r, struct wm_buf *b);
/** @return 0, WM_E_DECODE. */
int wm_etcd_record_read(const char *p, size_t len, struct wm_etcd_record *ret);

/* What an agent found that compared itself with etcd, as JSON: of each difference `here` is the
 * agent's and `there` etcd's. */
#define WM_ETCD_REPORT_FOUND 64		  /* differences that are named in one */
#define WM_ETCD_REPORT_MAX   (128u << 10) /* octets: each of them has some 1,100 at most */
struct wm_etcd_report {
	uint64_t number; /* of the question, below 2^63 */
	bool silent;	 /* etcd did not answer it */
	bool more;	 /* there are differences beyond those that are named */
	unsigned count;
	struct wm_verify_found found[WM_ETCD_REPORT_FOUND]; /* all of member 0 */
};
/** @return false: out of room. */
bool wm_etcd_report_write(const struct wm_etcd_report *r, struct wm_buf *b);
/** @return 0, WM_E_DECODE. */
int wm_etcd_report_read(const char *p, size_t len, struct wm_etcd_report *ret);
/** An object's key as what is named of it. @p k is OWN or SHARED. */
void wm_etcd_found_name(const struct wm_etcd_key *k, struct wm_verify_found *f);

/** Append the body of an authentication. @return false: out of room, or no UTF-8. */
bool wm_etcd_login_write(const char *user, const char *password, struct wm_buf *b);
