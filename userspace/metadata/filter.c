/* SPDX-License-Identifier: Apache-2.0 */
/* filter.c - binds the terms of a parsed filter to fields, and asks rows. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/json_text.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SELECTOR_TEXT	128  /* octets of a selector in an error */
#define STEPS_OF_SEARCH 20   /* what a search costs beside the items that it tries */
#define STEPS_OF_PAIRS	4    /* what it costs to find a key among 64 */
#define LOOK_STEPS	1024 /* between two looks at the clock: some 50 us */
#define REPLAY_FRESH	512 /* rows that a replay looks at; more changed: they are collected first */

/* --- binding ---------------------------------------------------------------------------------- */
static const char *const op_names[WM_OP_COUNT] = {
	[WM_OP_EQUAL] = "Equal",     [WM_OP_NOT_EQUAL] = "Not Equal",
	[WM_OP_IN] = "In",	     [WM_OP_NOT_IN] = "Not In",
	[WM_OP_EMPTY] = "Is Empty",  [WM_OP_NOT_EMPTY] = "Is Not Empty",
	[WM_OP_MATCHES] = "Matches", [WM_OP_NOT_MATCHES] = "Not Matches",
};

const char *wm_op_name(enum wm_filter_op op)
{
	return op_names[op];
}

static bool op_fits(enum wm_filter_op op, enum wm_field_type type)
{
	switch ((int)wm_op_plain(op)) {
	case WM_OP_EQUAL:
		return type == WM_FIELD_STRING || type == WM_FIELD_NUMBER || type == WM_FIELD_BOOL;
	case WM_OP_IN:
		return type == WM_FIELD_STRING || type == WM_FIELD_LIST || type == WM_FIELD_MAP;
	case WM_OP_EMPTY:
		return type == WM_FIELD_LIST || type == WM_FIELD_MAP || type == WM_FIELD_OBJECTS;
	default:
		return type == WM_FIELD_STRING;
	}
}

static int bad_value(const struct wm_term *t, const char *what, struct wm_err *e)
{
	char selector[SELECTOR_TEXT];

	wm_term_selector(t, selector, sizeof(selector));
	return wm_err_set(e, -EINVAL, "Failed to coerce value \"%.64s\" for selector \"%s\": %s",
			  t->value, selector, what);
}

static int bind_number(struct wm_term *t, struct wm_err *e)
{
	const char *s = t->value;
	uint64_t n = 0;

	for (; *s >= '0' && *s <= '9' && n < UINT32_MAX; s++)
		n = n * 10 + (uint64_t)(*s - '0');
	if (*t->value == '-' && t->value[1])
		n = UINT64_MAX; /* a number, but none of ours is negative */
	else if (*s || s == t->value)
		return bad_value(t, "not an integer", e);
	t->number = n;
	return 0;
}

static int bind_bool(struct wm_term *t, struct wm_err *e)
{
	static const char *const words[] = {"1", "t", "T", "true",  "TRUE",  "True",
					    "0", "f", "F", "false", "FALSE", "False"};

	for (unsigned i = 0; i < WM_ARRAY_LEN(words); i++) {
		if (strcmp(t->value, words[i]) == 0) {
			t->number = i < WM_ARRAY_LEN(words) / 2;
			return 0;
		}
	}
	return bad_value(t, "not a boolean", e);
}

static int bind_regex(struct wm_filter *f, struct wm_term *t, struct wm_err *e)
{
	char why[128];

	if (++f->regex_count > WM_FILTER_REGEX_MAX)
		return wm_err_set(e, WM_E_LIMIT, "filter: more than %d regular expressions",
				  WM_FILTER_REGEX_MAX);
	if (!f->searcher)
		f->searcher = wm_searcher_new();
	if (!f->searcher)
		return wm_err_set(e, -ENOMEM, "filter: out of memory");
	return wm_regex_new(t->value, &t->regex, why, sizeof(why)) ? bad_value(t, why, e) : 0;
}

static int bind_term(struct wm_filter *f, struct wm_term *t, struct wm_err *e)
{
	char selector[SELECTOR_TEXT];

	t->field = wm_field_find(f->kind, t, &t->key);
	wm_term_selector(t, selector, sizeof(selector));
	if (!t->field)
		return wm_err_set(e, -EINVAL, "Selector \"%s\" is not valid", selector);
	if (!op_fits(t->op, t->field->type))
		return wm_err_set(e, -EINVAL, "Invalid match operator \"%s\" for selector \"%s\"",
				  op_names[t->op], selector);
	if (t->field->source == WM_SRC_PROXY_JSON && !f->scratch &&
	    !(f->scratch = malloc(WM_PROXY_MAX + 1)))
		return wm_err_set(e, -ENOMEM, "filter: out of memory");
	if (t->field->type == WM_FIELD_NUMBER)
		return bind_number(t, e);
	if (t->field->type == WM_FIELD_BOOL)
		return bind_bool(t, e);
	return wm_op_plain(t->op) == WM_OP_MATCHES ? bind_regex(f, t, e) : 0;
}

int wm_filter_compile(const char *text, enum wm_filter_kind kind, struct wm_filter **ret_filter,
		      struct wm_err *e)
{
	struct wm_filter *f = calloc(1, sizeof(*f));
	int err;

	*ret_filter = NULL;
	if (!f)
		return wm_err_set(e, -ENOMEM, "filter: out of memory");
	f->kind = kind;
	f->slice_ns = UINT64_MAX;
	f->text = strdup(text);
	err = f->text ? wm_filter_parse(f, text, e)
		      : wm_err_set(e, -ENOMEM, "filter: out of memory");
	for (unsigned i = 0; !err && i < f->terms_count; i++)
		err = bind_term(f, &f->terms[i], e);
	if (err) {
		wm_filter_free(f);
		return err;
	}
	*ret_filter = f;
	return 0;
}

void wm_filter_free(struct wm_filter *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < f->terms_count; i++) {
		for (unsigned n = 0; n < f->terms[i].path_count; n++)
			free(f->terms[i].path[n]);
		free(f->terms[i].value);
		wm_regex_free(f->terms[i].regex);
	}
	wm_searcher_free(f->searcher);
	wm_tree_free(f->root);
	free(f->memo.at);
	free(f->scratch);
	free(f->text);
	free(f);
}

bool wm_filter_volatile(const struct wm_filter *f)
{
	for (unsigned i = 0; i < f->terms_count; i++) {
		enum wm_field_source s = f->terms[i].field->source;

		/* a new output alone is not announced, and unknown is told from unhealthy by it */
		if (s == WM_SRC_CHECK_OUTPUT || s == WM_SRC_STATE)
			return true;
	}
	return false;
}

/* --- time ------------------------------------------------------------------------------------- */
void wm_filter_begin(struct wm_filter *f, uint64_t slice_ns, uint64_t state)
{
	if (!f)
		return;
	f->began_ns = 0; /* with the first row: what is prepared before is not the filter's */
	f->slice_ns = slice_ns;
	f->look_at = 0;
	f->fresh = 0;
	if (f->state != state)
		f->judged = 0;
	f->state = state;
	f->asked = 0;
	if (f->paused)
		f->mode = WM_FILTER_COLLECT;
	else if (f->mode == WM_FILTER_COLLECT)
		f->mode = WM_FILTER_REPLAY;
	f->paused = false;
}

static void halt(struct wm_filter *f, uint64_t took_ns)
{
	f->paused = true;
	f->spent_ns += took_ns;
}

static void look(struct wm_filter *f)
{
	uint64_t now = wm_clock_cpu_ns(), took;

	if (!f->began_ns)
		f->began_ns = now;
	took = now - f->began_ns;
	f->look_at = f->steps + LOOK_STEPS;
	if (f->mode == WM_FILTER_REPLAY) /* it writes the answer, and looks at few rows */
		return;
	if (f->spent_ns + took >= WM_FILTER_TIME_MS * WM_NS_PER_MS)
		f->spent = true;
	else if (took >= f->slice_ns)
		halt(f, took);
}

void wm_filter_renew(struct wm_filter *f)
{
	if (!f)
		return;
	f->began_ns = f->spent_ns = 0;
	f->spent = f->exceeded = f->paused = false;
}

void wm_filter_keep(struct wm_filter *f)
{
	f->kept = true;
}

bool wm_filter_kept(const struct wm_filter *f)
{
	return f->kept;
}

bool wm_filter_stopped(const struct wm_filter *f)
{
	return f && (f->exceeded || f->paused || f->spent);
}

enum wm_filter_end wm_filter_end(const struct wm_filter *f)
{
	if (!f)
		return WM_FILTER_DONE;
	if (f->exceeded)
		return WM_FILTER_EXCEEDED;
	if (f->spent)
		return WM_FILTER_SPENT;
	if (f->paused)
		return WM_FILTER_PAUSED;
	return f->mode == WM_FILTER_COLLECT ? WM_FILTER_JUDGED : WM_FILTER_DONE;
}

/* --- asking ----------------------------------------------------------------------------------- */
static bool regex_found(struct wm_filter *f, const struct wm_term *t, const char *s)
{
	uint64_t before = wm_searcher_effort(f->searcher);
	int found = wm_regex_search(f->searcher, t->regex, s);

	f->steps += STEPS_OF_SEARCH + wm_searcher_effort(f->searcher) - before;
	if (found < 0)
		f->exceeded = true;
	return found > 0;
}

static bool string_fits(struct wm_filter *f, const struct wm_term *t, const char *s)
{
	switch ((int)wm_op_plain(t->op)) {
	case WM_OP_EQUAL:
		return strcmp(s, t->value) == 0;
	case WM_OP_IN:
		f->steps +=
			strlen(s) / 16; /* octets that are looked through while one is compared */
		return strstr(s, t->value) != NULL;
	default:
		return regex_found(f, t, s);
	}
}

/* A list that is a text with commas. */
static bool text_list_fits(struct wm_filter *f, const struct wm_term *t,
			   const struct wm_filter_row *row)
{
	const char *list = wm_field_string(t->field, NULL, row, NULL), *s;
	size_t len;

	if (wm_op_plain(t->op) == WM_OP_EMPTY)
		return !wm_mesh_next(&list, &s, &len);
	f->steps += strlen(list) / 8;
	return wm_mesh_has(list, t->value);
}

static bool list_fits(struct wm_filter *f, const struct wm_term *t, const struct wm_filter_row *row,
		      const struct wm_check *check)
{
	unsigned count;
	char **list;

	if (wm_field_mesh_key(t->field))
		return text_list_fits(f, t, row);
	list = wm_field_list(t->field, row, check, &count);
	if (wm_op_plain(t->op) == WM_OP_EMPTY)
		return !count;
	f->steps += count;
	for (unsigned i = 0; i < count; i++) {
		if (strcmp(list[i], t->value) == 0)
			return true;
	}
	return false;
}

/* What an object within Proxy says; a member that is left out is empty, 0 or false. */
static bool json_value_fits(struct wm_filter *f, const struct wm_term *t, const char *at)
{
	const char *value = wm_field_json_value(t->field, at);

	switch ((int)t->field->type) {
	case WM_FIELD_NUMBER:
		return (value ? strtoull(value, NULL, 10) : 0) == t->number;
	case WM_FIELD_BOOL:
		return (value && *value == 't') == t->number;
	default:
		wm_json_text_string(value, f->scratch, WM_PROXY_MAX + 1);
		return string_fits(f, t, f->scratch);
	}
}

/* Through a list it is true if any element is: as of checks. */
static bool json_fits(struct wm_filter *f, const struct wm_term *t, const struct wm_filter_row *row)
{
	const char *at = wm_field_json_first(t->field, row), *next;
	bool negates = wm_op_negates(t->op);

	if (wm_op_plain(t->op) == WM_OP_EMPTY)
		return !at != negates;
	for (; at && !wm_filter_stopped(f); at = next) {
		next = wm_field_json_next(t->field, at);
		f->steps += 1 + (next ? (size_t)(next - at) : strlen(at)) / 16;
		if (json_value_fits(f, t, at) != negates)
			return true;
	}
	return false;
}

/* The term without its "not". */
static bool plain_fits(struct wm_filter *f, const struct wm_term *t,
		       const struct wm_filter_row *row, const struct wm_check *check)
{
	char made[WM_FILTER_MADE_MAX];
	const char *s;
	uint64_t n;

	/* a key is looked for among the pairs */
	if (t->key || t->field->type == WM_FIELD_MAP)
		f->steps += STEPS_OF_PAIRS;
	switch ((int)t->field->type) {
	case WM_FIELD_STRING:
		s = wm_field_is_made(t->field) ? wm_field_made(t->field, row, check, made)
					       : wm_field_string(t->field, t->key, row, check);
		return s && string_fits(f, t, s);
	case WM_FIELD_NUMBER:
	case WM_FIELD_BOOL:
		return wm_field_number(t->field, t->key, row, &n) && n == t->number;
	case WM_FIELD_LIST:
		return list_fits(f, t, row, check);
	case WM_FIELD_MAP:
		return wm_op_plain(t->op) == WM_OP_EMPTY
			       ? wm_field_map_empty(t->field, row)
			       : wm_field_string(t->field, t->value, row, check) != NULL;
	default: /* that its agent is alive is a check of the own node */
		return !row->node->self && !(row->holder && row->holder->checks_count) &&
		       !(row->instance && row->instance->checks_count);
	}
}

static bool term_fits(struct wm_filter *f, const struct wm_term *t, const struct wm_filter_row *row,
		      const struct wm_check *check)
{
	if (++f->steps >= f->look_at)
		look(f);
	if (wm_filter_stopped(f))
		return false;
	if (t->field->source == WM_SRC_PROXY_JSON)
		return json_fits(f, t, row);
	return plain_fits(f, t, row, check) != wm_op_negates(t->op);
}

static bool some_check_fits(struct wm_filter *f, const struct wm_term *t,
			    const struct wm_filter_row *row, const struct wm_instance *i)
{
	for (unsigned n = 0; i && n < i->checks_count; n++) {
		if (term_fits(f, t, row, i->checks[n]))
			return true;
	}
	return false;
}

/* A field of the checks of an instance is asked of each of them, the node's first; that an agent is
 * alive is a check of its own node only. */
static bool any_check_fits(struct wm_filter *f, const struct wm_term *t,
			   const struct wm_filter_row *row)
{
	return (row->node->self && term_fits(f, t, row, NULL)) ||
	       some_check_fits(f, t, row, row->holder) || some_check_fits(f, t, row, row->instance);
}

static bool tree_fits(struct wm_filter *f, const struct wm_tree *t, const struct wm_filter_row *row)
{
	const struct wm_term *term;

	switch ((int)t->kind) {
	case WM_TREE_TERM:
		term = &f->terms[t->term];
		if ((f->kind == WM_FILTER_HEALTH_SERVICE || f->kind == WM_FILTER_NATIVE) &&
		    term->field->source >= WM_SRC_CHECK_FIRST_)
			return any_check_fits(f, term, row);
		return term_fits(f, term, row, row->check);
	case WM_TREE_NOT:
		return !tree_fits(f, t->child, row);
	default:
		for (const struct wm_tree *c = t->child; c; c = c->next) {
			if (tree_fits(f, c, row) == (t->kind == WM_TREE_OR))
				return t->kind == WM_TREE_OR;
		}
		return t->kind == WM_TREE_AND;
	}
}

/* @return whether the row fits; void if that stopped the filter. */
static bool judge(struct wm_filter *f, const struct wm_filter_row *row, uint64_t hash)
{
	bool fits = tree_fits(f, f->root, row);

	if (f->mode == WM_FILTER_COLLECT && !wm_filter_stopped(f) &&
	    wm_filter_remember(&f->memo, hash, fits))
		f->spent = true;
	return fits && !wm_filter_stopped(f);
}

bool wm_filter_match(struct wm_filter *f, const struct wm_filter_row *row)
{
	uint64_t hash;
	int known;

	if (!f)
		return true;
	if (wm_filter_stopped(f))
		return false;
	if (f->mode == WM_FILTER_FIRST)
		return judge(f, row, 0);
	/* what was judged in this state is passed over without a look, or a slice would be used up
	 * by what the slices before it did */
	if (f->mode == WM_FILTER_COLLECT && f->asked++ < f->judged)
		return false;
	hash = wm_filter_row_hash(row);
	known = wm_filter_recall(&f->memo, hash);
	if (f->mode == WM_FILTER_COLLECT) {
		if (known < 0)
			judge(f, row, hash);
		if (++f->steps >= f->look_at)
			look(f);
		if (!wm_filter_stopped(f))
			f->judged = f->asked;
		return false;
	}
	if (known >= 0)
		return known;
	if (++f->fresh > REPLAY_FRESH) {
		halt(f, 0);
		return false;
	}
	return judge(f, row, hash);
}
