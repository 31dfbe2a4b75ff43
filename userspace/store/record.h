/* SPDX-License-Identifier: Apache-2.0 */
/* record.h - the store's payloads: a compact binary record with a version and a checksum over the
 * row number and the content, so that a flipped bit or a row under a wrong number is found.
 * Layout: "WM", version, type, 8 octets FNV-1a of row and body (little endian), body. Numbers are
 * LEB128; a string is its length + 1 (0: NULL), its octets and a NUL, so decoded strings point into
 * the payload. Pure; decoding never reads outside the payload and never allocates. */
#pragma once
#include "userspace/base/buf.h"
#include "userspace/model/object.h"
#include "userspace/model/policy.h"

#include <stdint.h>

/* Versions add to what stood before; a record carries the lowest version that has all that it
 * holds, and what is read needs no version: it says by itself what there is. So an older agent
 * reads what it can know, and is told of what it cannot. 2: a check may have use_tls or be of kind
 * UDP. 3: a check may be of kind alias, script, OS service, gRPC or H2PING, and have output_max.
 * 5: records of the catalog, and checks of kind STATED. 6: an instance that is not running, with
 * its lifecycle and the end of its drain. 7: a STATED check that has a type of its own. 8: an
 * instance with traits, or a node with a place. 9: a STATED check with args. 10: versions of
 * objects. 11: versions with a writer, and what is told to other agents. 12: policies. 13: versions
 * with a priority, and tombstones with what their object said of its version. */
#define WM_RECORD_VERSION_FIRST	  1
#define WM_RECORD_VERSION_CATALOG 5
#define WM_RECORD_VERSION_LIFE	  6
#define WM_RECORD_VERSION_TYPE	  7
#define WM_RECORD_VERSION_TRAITS  8
#define WM_RECORD_VERSION_STATED  9
#define WM_RECORD_VERSION	  13
#define WM_RECORD_VERSION_ORIGIN  10
#define WM_RECORD_VERSION_WRITER  11
#define WM_RECORD_VERSION_POLICY  12
#define WM_RECORD_VERSION_RANK	  13
#define WM_RECORD_HEAD		  12
#define WM_RECORD_MAX                                                                              \
	(2u << 20) /* octets of a record: 32 checks with full headers, bodies and outputs fit */

#define WM_NODE_ROW    0	    /* of the checks of this agent's node; others begin with 1 */
#define WM_INDEX_BLOCK (1ull << 20) /* indexes reserved ahead in the store */
#define WM_INDEX_MAX   ((1ull << 53) - 1) /* a JSON number keeps 53 bits */
#define WM_RECORD_CHECKS                                                                           \
	(WM_CHECKS_PER_INSTANCE + 1) /* checks of a record: a client's, and maintenance */

enum wm_record_type {
	WM_RECORD_META = 1,
	WM_RECORD_INSTANCE,
	WM_RECORD_SERVICE,
	WM_RECORD_NODE, /* checks of this agent's node: as an instance without id and name */
	WM_RECORD_CATALOG_INSTANCE, /* name of its node, "" is this agent's; then as an instance */
	WM_RECORD_CATALOG_NODE,	    /* another node; then as the checks of this agent's */
	WM_RECORD_TOMBSTONE,
	WM_RECORD_FOREIGN_INSTANCE, /* of another agent's log: as those of the catalog */
	WM_RECORD_FOREIGN_NODE,
	WM_RECORD_POLICY /* among the instances' rows */
};

/* Decoded views; strings borrow from the payload. About 50 KiB: keep one, reuse it. */
struct wm_record_instance {
	struct wm_instance_draft d; /* every field explicit */
	uint64_t create_index, modify_index;
	struct wm_check_state states[WM_RECORD_CHECKS];
	struct wm_check_draft checks[WM_RECORD_CHECKS];
	struct wm_pair headers[WM_RECORD_CHECKS][WM_CHECK_HEADERS_MAX];
	const char *args[WM_RECORD_CHECKS][WM_CHECK_ARGS_MAX];
	const char *tags[WM_TAGS_MAX];
	struct wm_pair meta[WM_META_PAIRS_MAX];
	struct wm_tagged_address tagged[WM_TAGGED_MAX];
	struct wm_traits traits;
	struct wm_pair proxy[WM_PROXY_MEMBERS_MAX];
	struct wm_version version; /* seq 0: of before there were any */
	const char *node_name;	   /* of records of the catalog, else NULL */
	struct wm_node_draft node;
	uint64_t node_create_index, node_modify_index;
	struct wm_pair node_meta[WM_META_PAIRS_MAX], node_tagged[WM_TAGGED_MAX];
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
	uint32_t epoch;	       /* of this agent's log; 0: of before there was one */
	const char *node_name; /* that others were told under; NULL: nobody was */
};
/* An object that is gone: an instance, or with id "" a node. */
struct wm_record_tombstone {
	const char *node, *id, *service;
	struct wm_version version;
	uint64_t index;	    /* under which that was announced */
	uint64_t when_s;    /* since 1970 */
	const char *semver; /* `version` metadata of what went; NULL: none */
};

/** What kind of record a row holds, before it is judged; 0: none that there is. */
enum wm_record_type wm_record_type_of(const char *p, size_t len);
/** Append a whole record to @p b (emptied first). @return 0 or -ENOMEM, WM_E_LIMIT (too large). */
int wm_record_put_instance(struct wm_buf *b, uint64_t row, const struct wm_instance *i);
/** Octets at most that the record of an instance, or of a holder, grows by while its checks report:
 *  their outputs, a maintenance check, and numbers that get longer. Cost O(outputs). */
size_t wm_record_growth(const struct wm_instance *i);
int wm_record_put_node(struct wm_buf *b, uint64_t row, const struct wm_instance *holder);
int wm_record_put_catalog_node(struct wm_buf *b, const struct wm_node *n);
/** What other agents are told of an instance, or of a holder its node: a record of the catalog
 *  under row 0, without what is this registry's own: numbers, and the version, which goes beside.
 */
int wm_record_put_told(struct wm_buf *b, const struct wm_instance *i);
/** A policy: what of it is not as if it were left out. @p told: to other agents, under row 0 and
 *  without what is this registry's own. */
int wm_record_put_policy(struct wm_buf *b, const struct wm_policy *p, bool told);
int wm_record_put_service(struct wm_buf *b, uint64_t row, const struct wm_record_service *s);
int wm_record_put_meta(struct wm_buf *b, const struct wm_record_meta *m);
int wm_record_put_tombstone(struct wm_buf *b, uint64_t row, const struct wm_record_tombstone *t);

/** Check head and checksum. @return 0, WM_E_STORE_DAMAGED, WM_E_STORE_VERSION; @p ret_why: what is
 *  wrong, static. */
int wm_record_open(const char *p, size_t len, uint64_t row, enum wm_record_type t,
		   const char **ret_why);
/** Decode a body (what follows the head). @return 0 or WM_E_STORE_DAMAGED. */
int wm_record_get_instance(char *body, size_t len, struct wm_record_instance *ret);
int wm_record_get_node(char *body, size_t len, struct wm_record_instance *ret);
int wm_record_get_catalog_instance(char *body, size_t len, struct wm_record_instance *ret);
int wm_record_get_catalog_node(char *body, size_t len, struct wm_record_instance *ret);
/** The detached object of a decoded record, its checks as they were. @return NULL without memory.
 */
struct wm_instance *wm_record_build(const struct wm_record_instance *d);
/** @return 0; WM_E_STORE_DAMAGED: also where it says something that this version does not know, in
 *  a record that a newer one would have called newer. The draft's texts point into the payload. */
int wm_record_get_policy(char *body, size_t len, struct wm_policy_draft *ret);
int wm_record_get_service(char *body, size_t len, struct wm_record_service *ret);
int wm_record_get_meta(char *body, size_t len, struct wm_record_meta *ret);
int wm_record_get_tombstone(char *body, size_t len, struct wm_record_tombstone *ret);
