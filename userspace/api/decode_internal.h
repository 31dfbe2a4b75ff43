/* SPDX-License-Identifier: Apache-2.0 */
/* decode_internal.h - what the decoders of api/ share: a body is parsed into jansson's tree, and
 * tables of fields say where each value goes. Texts are borrowed from the tree, lists from blocks
 * that the result owns. Inside api/'s decoders only. Threading: pure. */
#pragma once
#include "decode.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SHOWN	  64  /* octets of a refused key or value that a message repeats */
#define WHERE_MAX 160 /* octets of a field's place, "Checks[1].Interval" */

struct block {
	struct block *next;
	max_align_t data[];
};

struct wm_decoded {
	json_t *root;
	bool arena; /* the tree stands in the arena */
	struct block *blocks;
};

/* The fuzzer's sanitizer shall see each block of a tree. */
#ifdef WM_FUZZ
#define WM_JSON_PLAIN 1
#else
#define WM_JSON_PLAIN 0
#endif
/** Read a JSON text of ASCII without escapes whose numbers are whole, and whose members have a name
 *  each of their own. @return what jansson makes of it, a new reference; NULL: it is not of that
 *  kind, is none, is nested deeper than WM_JSON_DEPTH_MAX, or there is no memory. */
json_t *wm_json_quick(const char *text, size_t len);

/** What jansson allocates from now on comes from the arena. @return false: it is in use. */
bool wm_json_arena_open(void);
/** The tree is whole: what is allocated from now on is none of it. */
void wm_json_arena_pause(void);
/** All of it goes at once; no json_decref(). */
void wm_json_arena_close(void);

/* Where the decoder is, and where it complains. */
struct decoder {
	struct wm_decoded *mem;
	struct wm_err *e;
	char where[WHERE_MAX]; /* of the object that is read, with a dot; "" at the top */
};

struct field {
	const char *names; /* "CheckID|check_id" */
	int (*fn)(struct decoder *d, const struct field *f, json_t *v, void *to);
	size_t offset; /* of the target, from @p to */
	int64_t min, max;
};

/** Parse a body of the wanted kind of JSON value. */
int wm_dec_parse(struct decoder *d, const char *body, size_t len, json_type want);
/** Every key must be one of @p fields (64 at most), once. */
int wm_dec_fields(struct decoder *d, const struct field *fields, unsigned count, json_t *v,
		  void *to);
/** Zeroed memory that lives as long as the result. @return NULL: the error is set. */
void *wm_dec_allocate(struct decoder *d, size_t count, size_t size);
int wm_dec_wrong(struct decoder *d, const struct field *f, const char *want, const json_t *v);
/** Go one level down, to the key or the i-th element; @return the length of d->where to go back to.
 */
size_t wm_dec_enter(struct decoder *d, const struct field *f, const char *key, size_t i);
/** Only the tenancy that every Consul has. */
int wm_dec_tenancy(struct decoder *d, const char *ns, const char *partition);
/** The same of a service, whose Namespace is its scope: @p name becomes "namespace/name", unless
 *  that is "default". */
int wm_dec_scope(struct decoder *d, const char *ns, const char *partition, const char **name);
/** Does every member have the value that leaving it out gives? */
bool wm_dec_blank(json_t *v);

/* --- for tables of fields --- */
int wm_dec_string(struct decoder *d, const struct field *f, json_t *v, void *to);
int wm_dec_bool(struct decoder *d, const struct field *f, json_t *v, void *to);
int wm_dec_int(struct decoder *d, const struct field *f, json_t *v, void *to);
/** Go's text or nanoseconds, to milliseconds in a uint64_t. */
int wm_dec_duration(struct decoder *d, const struct field *f, json_t *v, void *to);
/** Accepted, of no effect here. */
int wm_dec_ignore(struct decoder *d, const struct field *f, json_t *v, void *to);
/** Members of a struct wm_instance_draft, which the target begins with. */
int wm_dec_tags(struct decoder *d, const struct field *f, json_t *v, void *to);
int wm_dec_meta(struct decoder *d, const struct field *f, json_t *v, void *to);
int wm_dec_tagged(struct decoder *d, const struct field *f, json_t *v, void *to);
int wm_dec_weights(struct decoder *d, const struct field *f, json_t *v, void *to);
/** The same, into its traits. */
int wm_dec_kind(struct decoder *d, const struct field *f, json_t *v, void *to);
int wm_dec_socket_path(struct decoder *d, const struct field *f, json_t *v, void *to);
int wm_dec_locality(struct decoder *d, const struct field *f, json_t *v, void *to);
/** Region and zone alone. */
int wm_dec_place(struct decoder *d, const struct field *f, json_t *v, struct wm_traits *ret);
void wm_dec_describe_place(struct wm_json *j);
int wm_dec_proxy(struct decoder *d, const struct field *f, json_t *v, void *to);
int wm_dec_connect_native(struct decoder *d, const struct field *f, json_t *v, void *to);
/** Connect with its SidecarService, which is not read. @p ret_sidecar: NULL when there is none. */
int wm_dec_connect(struct decoder *d, const struct field *f, json_t *v, void *to,
		   json_t **ret_sidecar);
/* Members of Proxy that are objects of known fields, and lists of them. */
enum wm_proxy_member {
	WM_PROXY_UPSTREAMS,
	WM_PROXY_PATHS,
	WM_PROXY_EXTENSIONS,
	WM_PROXY_TRANSPARENT,
	WM_PROXY_LOGS
};
/** Read one. @return it with Consul's names, for json_decref(); NULL: *ret_err and the error are
 *  set. */
json_t *wm_dec_proxy_object(struct decoder *d, const struct field *f, json_t *v,
			    enum wm_proxy_member m, int *ret_err);
json_t *wm_dec_proxy_list(struct decoder *d, const struct field *f, json_t *v,
			  enum wm_proxy_member m, int *ret_err);
/** Write the schema of such a field. @return false: it is none. */
bool wm_dec_describe_traits(struct wm_json *j, const struct field *f);

/** A list of texts, in a block of the result. */
int wm_dec_list(struct decoder *d, const struct field *f, json_t *v, const char ***ret);

/* An object of strings. */
struct wm_dec_pairs {
	struct wm_pair *at;
	unsigned count;
};
/** Into a struct wm_dec_pairs. */
int wm_dec_pairs(struct decoder *d, const struct field *f, json_t *v, void *to);
/** {"X-A":["1","2"]}: a pair for each value. */
int wm_dec_header_pairs(struct decoder *d, const struct field *f, json_t *v,
			struct wm_dec_pairs *ret);

/* struct wm_pair has members that are not const, though drafts are only read. */
static inline char *mut(const char *s)
{
	char *r;

	memcpy(&r, &s, sizeof(r));
	return r;
}

/* Octets of a field's first name. */
static inline int wm_dec_name_len(const struct field *f)
{
	return (int)strcspn(f->names, "|");
}

/** A list of checks, as the agent's: their drafts. */
int wm_dec_checks(struct decoder *d, const struct field *f, json_t *v,
		  const struct wm_check_draft **ret, unsigned *ret_count);
/** Write the schema of a field whose function is the caller's own; an object stands open. @return
 *  false: it is none of these. */
typedef bool (*wm_dec_own)(struct wm_json *j, const struct field *f);
/** Write a schema for each field; an object stands open. @p own may be NULL. */
void wm_dec_describe(struct wm_json *j, const struct field *fields, unsigned count, wm_dec_own own);
/** Write the schema of an object of such fields. */
void wm_dec_describe_object(struct wm_json *j, const struct field *fields, unsigned count,
			    wm_dec_own own);
/** Write the schema of a list or an object: @p of is a type, or "#/components/schemas/..." */
void wm_dec_describe_array(struct wm_json *j, const char *of);
void wm_dec_describe_map(struct wm_json *j, const char *of);
#define WM_DEC_SCHEMA(name) "#/components/schemas/" name

static inline bool set(const char *s)
{
	return s && *s;
}
