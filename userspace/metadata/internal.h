/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - the filter's parts: filter_parse.c makes a tree of the text, filter_fields.c knows
 * the selectors and their values, filter.c joins the two and asks. */
#pragma once
#include "filter.h"
#include "mesh.h"
#include "regex.h"

enum wm_filter_op { /* each opposite is one more than its original */
		    WM_OP_EQUAL,
		    WM_OP_NOT_EQUAL,
		    WM_OP_IN,
		    WM_OP_NOT_IN,
		    WM_OP_EMPTY,
		    WM_OP_NOT_EMPTY,
		    WM_OP_MATCHES,
		    WM_OP_NOT_MATCHES,
		    WM_OP_COUNT
};
static inline bool wm_op_negates(enum wm_filter_op op)
{
	return op & 1;
}
static inline enum wm_filter_op wm_op_plain(enum wm_filter_op op)
{
	return op & ~1u;
}

/** "Equal", "Not In": as errors name it. */
const char *wm_op_name(enum wm_filter_op op);

enum wm_field_type {
	WM_FIELD_STRING,
	WM_FIELD_NUMBER,
	WM_FIELD_BOOL,
	WM_FIELD_LIST,
	WM_FIELD_MAP,
	WM_FIELD_OBJECTS /* a list of objects, whose fields are selected */
};

/* Where a value comes from. Those of a check stand last. */
enum wm_field_source {
	WM_SRC_DATACENTER,
	WM_SRC_NODE_ID,
	WM_SRC_NODE_NAME,
	WM_SRC_NODE_ADDRESS,
	WM_SRC_NODE_META,
	WM_SRC_NODE_TAGGED,
	WM_SRC_ID,
	WM_SRC_NAME,
	WM_SRC_TAGS,
	WM_SRC_ADDRESS,
	WM_SRC_TAGGED,
	WM_SRC_TAGGED_PORT,
	WM_SRC_META,
	WM_SRC_PORT,
	WM_SRC_WEIGHT_PASSING,
	WM_SRC_WEIGHT_WARNING,
	WM_SRC_TAG_OVERRIDE,
	WM_SRC_KIND,
	WM_SRC_SOCKET_PATH,
	WM_SRC_NATIVE,
	WM_SRC_PROXY,	   /* the member of Proxy that the path ends with */
	WM_SRC_PROXY_JSON, /* what is within one that is kept as JSON */
	WM_SRC_LIFECYCLE,
	WM_SRC_STATE,
#define X(sym, key, name) WM_SRC_MESH_##sym,
	WM_MESH_VALUES(X) WM_MESH_LISTS(X)
#undef X
		WM_SRC_NAMESPACE,
	WM_SRC_NOTHING, /* a field of Consul's that is always empty or false here */
	WM_SRC_CHECKS,
	WM_SRC_CHECK_FIRST_,
	WM_SRC_CHECK_ID = WM_SRC_CHECK_FIRST_,
	WM_SRC_CHECK_NAME,
	WM_SRC_CHECK_NODE,
	WM_SRC_CHECK_NOTES,
	WM_SRC_CHECK_OUTPUT,
	WM_SRC_CHECK_STATUS,
	WM_SRC_CHECK_TYPE,
	WM_SRC_CHECK_SERVICE_ID,
	WM_SRC_CHECK_SERVICE_NAME,
	WM_SRC_CHECK_SERVICE_TAGS,
	WM_SRC_CHECK_INTERVAL,
	WM_SRC_CHECK_TIMEOUT,
	WM_SRC_CHECK_NAMESPACE,
	WM_SRC_CHECK_NOTHING, /* as WM_SRC_NOTHING */
};

struct wm_field {
	const char *path; /* dotted; "*" takes any part: the key of a map */
	enum wm_field_type type;
	enum wm_field_source source;
};

/* A comparison. Strings belong to it. */
struct wm_term {
	enum wm_filter_op op;
	unsigned path_count;
	char *path[WM_FILTER_PATH_MAX];
	char *value; /* NULL with "is empty" */
	/* after binding */
	const struct wm_field *field;
	const char *key; /* of a map's element; in path */
	uint64_t number;
	struct wm_regex *regex;
};

/* The tree: "and", "or" have two children and more, "not" one, a term none. */
enum wm_tree_kind { WM_TREE_AND, WM_TREE_OR, WM_TREE_NOT, WM_TREE_TERM };
struct wm_tree {
	enum wm_tree_kind kind;
	unsigned term;
	struct wm_tree *child, *next;
};

/* What a filter found of rows: a hash of the row as it is, its lowest bit the result. Open
 * addressing. */
struct wm_filter_memo {
	uint64_t *at; /* 0: empty */
	size_t cap, count;
};
/** @return 0 does not fit, 1 fits, -1 not there. */
int wm_filter_recall(const struct wm_filter_memo *m, uint64_t row);
/** @return 0, -ENOMEM, -ENOSPC. */
int wm_filter_remember(struct wm_filter_memo *m, uint64_t row, bool fits);
struct wm_filter {
	enum wm_filter_kind kind;
	char *text;
	struct wm_tree *root;
	struct wm_term terms[WM_FILTER_TERMS_MAX];
	unsigned terms_count, regex_count;
	struct wm_searcher *searcher; /* NULL: no regular expression */
	uint64_t steps, look_at;      /* comparisons so far, and when to look at the clock again */
	/* of processor: of all slices before this one; where this one began, and its length */
	uint64_t spent_ns, began_ns, slice_ns;
	enum { WM_FILTER_FIRST, WM_FILTER_COLLECT, WM_FILTER_REPLAY } mode;
	bool exceeded, paused, spent;
	bool kept;
	struct wm_filter_memo memo;
	char *scratch;	/* WM_PROXY_MAX + 1: a text of JSON as it reads; NULL: none is asked */
	uint64_t state; /* of the registry, in this slice */
	size_t asked, judged; /* rows asked about in it; of these the first are remembered */
	unsigned fresh;	      /* rows that a replay had to look at */
};

/** Fill root and terms. @return 0, -EINVAL, WM_E_LIMIT, -ENOMEM. On error the filter holds what was
 *  made so far, for wm_filter_free(). */
int wm_filter_parse(struct wm_filter *f, const char *text, struct wm_err *e);
void wm_tree_free(struct wm_tree *t);
/** The selector as it was written, dotted. */
void wm_term_selector(const struct wm_term *t, char *buf, size_t cap);

/** May what it selects change without an announcement of the registry: does it look at outputs? */
bool wm_filter_volatile(const struct wm_filter *f);
/** The field of a selector, or NULL. @p ret_key: what stands for its "*". */
const struct wm_field *wm_field_find(enum wm_filter_kind kind, const struct wm_term *t,
				     const char **ret_key);
/* Values. A check's fields are those of @p check, NULL: serfHealth. */
const char *wm_field_string(const struct wm_field *f, const char *key,
			    const struct wm_filter_row *row, const struct wm_check *check);
/** @return false: the map has no such key. */
bool wm_field_number(const struct wm_field *f, const char *key, const struct wm_filter_row *row,
		     uint64_t *ret);
/* Of WM_SRC_PROXY_JSON: the objects that its selector goes through, and the value in one; NULL:
 * none. */
const char *wm_field_json_first(const struct wm_field *f, const struct wm_filter_row *row);
const char *wm_field_json_next(const struct wm_field *f, const char *at);
const char *wm_field_json_value(const struct wm_field *f, const char *at);
#define WM_FILTER_MADE_MAX 64 /* octets of a duration in Go's form, or of a scope */
/** Does what answers show of it stand nowhere: interval, timeout, scope? */
bool wm_field_is_made(const struct wm_field *f);
/** Then it is made of what does; "": there is none. @return @p buf. */
const char *wm_field_made(const struct wm_field *f, const struct wm_filter_row *row,
			  const struct wm_check *c, char buf[WM_FILTER_MADE_MAX]);
/** The metadata key that a field stands for; NULL: none. */
const char *wm_field_mesh_key(const struct wm_field *f);
/** The strings of a list; @p ret_count may be 0. Not of the lists with commas in the metadata. */
char **wm_field_list(const struct wm_field *f, const struct wm_filter_row *row,
		     const struct wm_check *check, unsigned *ret_count);
bool wm_field_map_empty(const struct wm_field *f, const struct wm_filter_row *row);
