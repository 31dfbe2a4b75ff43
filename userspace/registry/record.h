/* SPDX-License-Identifier: Apache-2.0 */
/* record.h - the store's payloads: a compact binary record with a version and a checksum over the
 * row number and the content, so that a flipped bit or a row under a wrong number is found.
 * Layout: "WM", version, type, 8 octets FNV-1a of row and body (little endian), body. Numbers are
 * LEB128; a string is its length + 1 (0: NULL), its octets and a NUL, so decoded strings point into
 * the payload. Pure; decoding never reads outside the payload and never allocates. */
#pragma once
#include "object.h"
#include "userspace/base/util.h"

/* Version 2: a check may have use_tls or be of kind UDP. Records without keep version 1, and both
 * are read. */
#define WM_RECORD_VERSION_FIRST 1
#define WM_RECORD_VERSION	2
#define WM_RECORD_HEAD		12
#define WM_RECORD_MAX                                                                              \
	(2u << 20) /* octets of a record: 32 checks with full headers, bodies and outputs fit */

#define WM_RECORD_CHECKS                                                                           \
	(WM_CHECKS_PER_INSTANCE + 1) /* checks of a record: a client's, and maintenance */

enum wm_record_type {
	WM_RECORD_META = 1,
	WM_RECORD_INSTANCE,
	WM_RECORD_SERVICE,
	WM_RECORD_NODE /* checks of the node: laid out as an instance without id and name */
};

/* Decoded views; strings borrow from the payload. About 30 KiB: keep one, reuse it. */
struct wm_record_instance {
	struct wm_instance_draft d; /* every field explicit */
	uint64_t create_index, modify_index;
	struct wm_check_state states[WM_RECORD_CHECKS];
	struct wm_check_draft checks[WM_RECORD_CHECKS];
	struct wm_pair headers[WM_RECORD_CHECKS][WM_CHECK_HEADERS_MAX];
	const char *tags[WM_TAGS_MAX];
	struct wm_pair meta[WM_META_PAIRS_MAX];
	struct wm_tagged_address tagged[WM_TAGGED_MAX];
};
struct wm_record_service {
	const char *name;
	struct in_addr vip4;
	struct in6_addr vip6;
	uint64_t create_index;
};
struct wm_record_meta {
	uint64_t reserved; /* no index above it was ever announced */
	const char *node_id;
};

/** Append a whole record to @p b (emptied first). @return 0 or -ENOMEM, WM_E_LIMIT (too large). */
int wm_record_put_instance(struct wm_buf *b, uint64_t row, const struct wm_instance *i);
int wm_record_put_node(struct wm_buf *b, uint64_t row, const struct wm_instance *holder);
int wm_record_put_service(struct wm_buf *b, uint64_t row, const struct wm_record_service *s);
int wm_record_put_meta(struct wm_buf *b, const struct wm_record_meta *m);

/** Check head and checksum. @return 0, WM_E_STORE_DAMAGED, WM_E_STORE_VERSION; @p ret_why: what is
 *  wrong, static. */
int wm_record_open(const char *p, size_t len, uint64_t row, enum wm_record_type t,
		   const char **ret_why);
/** Decode a body (what follows the head). @return 0 or WM_E_STORE_DAMAGED. */
int wm_record_get_instance(char *body, size_t len, struct wm_record_instance *ret);
int wm_record_get_node(char *body, size_t len, struct wm_record_instance *ret);
/** The detached object of a decoded record, its checks as they were. @return NULL without memory.
 */
struct wm_instance *wm_record_build(const struct wm_record_instance *d);
int wm_record_get_service(char *body, size_t len, struct wm_record_service *ret);
int wm_record_get_meta(char *body, size_t len, struct wm_record_meta *ret);
