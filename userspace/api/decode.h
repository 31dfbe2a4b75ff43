/* SPDX-License-Identifier: Apache-2.0 */
/* decode.h - JSON bodies into the registry's drafts, strictly: an unknown key, a wrong type, a key
 * that is given twice is refused by name. Keys are matched in any case; durations are Go's texts or
 * nanoseconds. Limits of the content are the registry's. Threading: pure. Spec: Consul's register
 * body, as contract for its clients. */
#pragma once
#include "userspace/registry/registry.h"
#include "writer.h"

#include <stddef.h>

struct wm_decoded; /* owns what a draft points to */

/** Body of /v1/agent/service/register. @p ret_draft points into @p ret, which the caller frees.
 *  @return 0, WM_E_DECODE, WM_E_INVALID, WM_E_INTERNAL (scripts, as Consul), -ENOMEM; one sentence
 *  in @p e.
 *  Cost O(len). */
int wm_decode_register(const char *body, size_t len, struct wm_decoded **ret,
		       struct wm_instance_draft *ret_draft, struct wm_err *e);
/** Body of PUT /v1/waymark/instances/:id, as above; the id is the caller's. */
int wm_decode_native(const char *body, size_t len, struct wm_decoded **ret,
		     struct wm_instance_draft *ret_draft, struct wm_err *e);
/** Body of /v1/agent/check/register, as above. @p ret_service_id is "" for a check of the node. */
int wm_decode_check(const char *body, size_t len, struct wm_decoded **ret,
		    struct wm_check_draft *ret_draft, const char **ret_service_id,
		    struct wm_err *e);
/** Body of /v1/agent/check/update/:id. @p ret_output is "" when there is none. */
int wm_decode_check_update(const char *body, size_t len, struct wm_decoded **ret,
			   enum wm_status *ret_status, const char **ret_output, struct wm_err *e);

/* Writes of the catalog that a body asks for; they point into the result. */
struct wm_catalog {
	struct wm_catalog_op *ops;
	unsigned count;
	const char *datacenter; /* NULL or "": this one */
	bool skip_node_update;	/* register: the first, of the node, only if it does not exist */
};
#define WM_DECODE_WHOLE (~0u) /* not one operation is wrong, but the body */

/** Bodies of /v1/catalog/register and deregister. @p ret is set also on failure, and freed by the
 *  caller in any case. @return as above; WM_E_INTERNAL where Consul answers 500. */
int wm_decode_catalog_register(const char *body, size_t len, struct wm_decoded **ret,
			       struct wm_catalog *ret_catalog, struct wm_err *e);
int wm_decode_catalog_deregister(const char *body, size_t len, struct wm_decoded **ret,
				 struct wm_catalog *ret_catalog, struct wm_err *e);
/** Body of /v1/txn, the same. @p ret_failed: the operation that is wrong, or WM_DECODE_WHOLE. */
int wm_decode_txn(const char *body, size_t len, struct wm_decoded **ret,
		  struct wm_catalog *ret_catalog, unsigned *ret_failed, struct wm_err *e);
void wm_decoded_free(struct wm_decoded *d); /* NULL ok */

/* What the bodies may hold, for the OpenAPI description. */
enum wm_body {
	WM_BODY_REGISTER,
	WM_BODY_CHECK,
	WM_BODY_CHECK_UPDATE,
	WM_BODY_NATIVE,
	WM_BODY_CATALOG_REGISTER,
	WM_BODY_CATALOG_DEREGISTER,
	WM_BODY_CATALOG_NODE, /* in others */
	WM_BODY_CATALOG_SERVICE,
	WM_BODY_CATALOG_CHECK,
	WM_BODY_TXN_OP,
	WM_BODY_POLICY
};
/** Write a schema for each key of such a body; an object stands open in @p j. */
void wm_decode_describe(struct wm_json *j, enum wm_body b);
void wm_decode_describe_native(struct wm_json *j);
void wm_decode_describe_policy(struct wm_json *j);
void wm_decode_describe_catalog(struct wm_json *j, enum wm_body b); /* of those behind it */
