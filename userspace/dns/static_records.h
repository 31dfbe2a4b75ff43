/* SPDX-License-Identifier: Apache-2.0 */
/* static_records.h - records of the operator's own: of settings, of a file with one a line, of a
 * file as hosts(5). Names outside of our domains stand in for those of others; inside, names of the
 * mesh are not theirs to give. Read whole and not changed: a reload makes another. Spec: RFC 1035
 * 5, 2181 10.1 (a CNAME stands alone), 2782 (SRV). Threading: none. */
#pragma once
#include "userspace/base/err.h"
#include "waymark/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WM_STATIC_RECORDS_MAX                                                                      \
	65536			   /* of all: hosts files that block have fewer than that a list   \
				    */
#define WM_STATIC_NAMES_MAX 262144 /* with those that only have names below them */
#define WM_STATIC_DATA_MAX  1024   /* octets of a record: one fits a datagram with EDNS */

struct wm_static_record {
	struct wm_static_record *next; /* of the name, in the order they were read */
	uint32_t ttl_s;
	uint16_t type, len;
	uint8_t data[]; /* as on the wire, names without pointers */
};
struct wm_static_name {
	struct wm_static_record *records; /* NULL: names lie below it */
	bool inside;			  /* of our domains */
	uint8_t len;
	uint8_t wire[]; /* folded */
};
struct wm_statics;
/* Where they are read from; borrowed. */
struct wm_statics_config {
	const char *const *records;	       /* of dns.records, NULL-terminated */
	const char *records_file, *hosts_file; /* "": none */
	const char *domain, *alt_domain;       /* ours; "": none */
	const char *cluster_domain;	       /* of a Kubernetes cluster; NULL: none */
	const char *datacenter;
	uint32_t ttl_s; /* of records that say none */
};
/** Read all of them. @p ret NULL: there are none. @return 0, WM_E_INVALID, -ENOMEM, the error of a
 *  file; with setting, record or line, and what is wanted in @p e. */
int wm_statics_read(const struct wm_statics_config *c, struct wm_statics **ret, struct wm_err *e);
void wm_statics_free(struct wm_statics *t); /* NULL ok */
/** Free as many as @p count of its names, and with the last @p t, which nobody uses any more: many
 *  take longer than a turn may. NULL ok. @return true: nothing is left. */
bool wm_statics_free_some(struct wm_statics *t, unsigned count);
/** @param folded wire name, root label included. @p t NULL ok. @return NULL: it is none of these.
 */
const struct wm_static_name *wm_statics_find(const struct wm_statics *t, const uint8_t *folded,
					     size_t len);
/** Each name with its records, in any order: from *pos 0 on, until NULL. @p t NULL ok. */
const struct wm_static_name *wm_statics_next(const struct wm_statics *t, size_t *pos);
/** Are they the same records in the same order? Cost O(1). NULL: no. */
bool wm_statics_same(const struct wm_statics *a, const struct wm_statics *b);
/** Is one of them of our domains, or of the cluster's? Then the programs cannot tell by its form
 * that a name is not. */
bool wm_statics_inside(const struct wm_statics *t);
unsigned wm_statics_count(const struct wm_statics *t); /* records */

/* --- static_parse.c --- */
struct wm_static_line {
	uint8_t name[WM_DNS_NAME_MAX + 1]; /* folded */
	bool has_ttl;
	uint32_t ttl_s;
	uint16_t type, len;
	uint8_t data[WM_STATIC_DATA_MAX];
};
/** Read "name [ttl] type data". @return 0, WM_E_INVALID with what is wanted. */
int wm_static_parse(const char *text, struct wm_static_line *ret, struct wm_err *e);
/** A host name in text to a name in wire form, folded if @p fold. @return false: it is none. */
bool wm_static_name(const char *text, bool fold, uint8_t ret[WM_DNS_NAME_MAX + 1]);
