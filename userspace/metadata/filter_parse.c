/* SPDX-License-Identifier: Apache-2.0 */
/* filter_parse.c - from the text of a filter to its tree, by recursive descent. */
#include "internal.h"
#include "userspace/base/buf.h"
#include "userspace/base/err.h"
#include "userspace/base/hex.h"
#include "userspace/base/macros.h"
#include "userspace/base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parser {
	struct wm_filter *f;
	struct wm_err *e;
	const char *text, *at;
	unsigned depth;
	int code; /* of the first error; 0 while all is well */
};

struct operand { /* a selector, which may turn out to be a bare word, or a value */
	char *path[WM_FILTER_PATH_MAX];
	unsigned path_count;
	char *value;
};

static struct wm_tree *parse_or(struct parser *p);

static struct wm_tree *fail(struct parser *p, const char *expected)
{
	unsigned line = 1, column = 1, offset = (unsigned)(p->at - p->text);

	if (p->code)
		return NULL;
	for (const char *s = p->text; s < p->at; s++) {
		column = *s == '\n' ? 1 : column + 1;
		line += *s == '\n';
	}
	p->code = wm_err_set(p->e, -EINVAL, "%u:%u (%u): no match found, expected: %s", line,
			     column, offset, expected);
	return NULL;
}

static struct wm_tree *fail_limit(struct parser *p, const char *what, unsigned limit)
{
	if (!p->code)
		p->code = wm_err_set(p->e, WM_E_LIMIT, "filter: more than %u %s", limit, what);
	return NULL;
}

static struct wm_tree *fail_memory(struct parser *p)
{
	if (!p->code)
		p->code = wm_err_set(p->e, -ENOMEM, "filter: out of memory");
	return NULL;
}

/* --- characters and words --------------------------------------------------------------------- */
static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* @return true if there was any. */
static bool skip_space(struct parser *p)
{
	const char *from = p->at;

	while (is_space(*p->at))
		p->at++;
	return p->at != from;
}

/* The words, with white space before each and behind the last; else nothing is taken. */
static bool accept_words(struct parser *p, const char *first, const char *second)
{
	const char *from = p->at, *words[] = {first, second};

	for (unsigned i = 0; i < 2 && words[i]; i++) {
		size_t len = strlen(words[i]);

		if (!skip_space(p) || strncmp(p->at, words[i], len) != 0) {
			p->at = from;
			return false;
		}
		p->at += len;
	}
	return true;
}

static bool accept_operator_words(struct parser *p, const char *first, const char *second)
{
	const char *from = p->at;

	if (accept_words(p, first, second) && skip_space(p))
		return true;
	p->at = from;
	return false;
}

/* --- literals --------------------------------------------------------------------------------- */
static int hex_value(const char *s, unsigned digits, uint32_t *ret)
{
	*ret = 0;
	for (unsigned i = 0; i < digits; i++) {
		int v = wm_hex_digit(s[i]);

		if (v < 0)
			return -EINVAL;
		*ret = *ret << 4 | (uint32_t)v;
	}
	return 0;
}

/* One escape behind the backslash, as Go has them in a string. @return octets taken, 0: none such.
 */
static size_t unescape(const char *s, char *out, size_t *ret_len)
{
	static const char names[] = "abfnrtv\\", values[] = "\a\b\f\n\r\t\v\\";
	const char *name = *s ? strchr(names, *s) : NULL;
	unsigned digits = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 0;
	uint32_t r;

	if (name) {
		*out = values[name - names];
		*ret_len = 1;
		return 1;
	}
	/* NUL would end the string: no value of ours has one */
	if (!digits || hex_value(s + 1, digits, &r) || !r)
		return 0;
	if (digits == 2) {
		*out = (char)r;
		*ret_len = 1;
		return 3;
	}
	if (r > 0x10ffff || (r >= 0xd800 && r <= 0xdfff))
		return 0;
	*ret_len = wm_utf8_encode(r, out);
	return digits + 1;
}

/* "…" with escapes, or `…` without. */
static char *parse_string(struct parser *p)
{
	char quote = *p->at;
	const char *end = strchr(p->at + 1, quote);
	size_t n = 0, taken, len;
	char *s;

	if (!end) {
		fail(p, "the end of the string");
		return NULL;
	}
	s = malloc((size_t)(end - p->at)); /* an escape is never shorter than what it makes */
	if (!s) {
		fail_memory(p);
		return NULL;
	}
	for (p->at++; p->at < end; p->at++) {
		if (quote == '`' && *p->at == '\r') /* as Go's raw strings do */
			continue;
		if (quote == '`' || *p->at != '\\') {
			s[n++] = *p->at;
			continue;
		}
		taken = unescape(p->at + 1, s + n, &len);
		if (!taken || p->at + taken >= end) {
			free(s);
			fail(p, "an escape of a Go string");
			return NULL;
		}
		n += len;
		p->at += taken;
	}
	s[n] = '\0';
	p->at = end + 1;
	return s;
}

static char *parse_number(struct parser *p)
{
	const char *from = p->at;

	p->at += *p->at == '-';
	if (!is_digit(*p->at)) {
		fail(p, "a digit");
		return NULL;
	}
	if (*p->at == '0')
		p->at++;
	else
		while (is_digit(*p->at))
			p->at++;
	if (*p->at == '.' && is_digit(p->at[1])) {
		p->at++;
		while (is_digit(*p->at))
			p->at++;
	}
	if (*p->at && *p->at != ')' && !is_space(*p->at)) {
		fail(p, "the end of the number");
		return NULL;
	}
	return strndup(from, (size_t)(p->at - from));
}

/* --- operands --------------------------------------------------------------------------------- */
static void operand_done(struct operand *o)
{
	for (unsigned i = 0; i < o->path_count; i++)
		free(o->path[i]);
	free(o->value);
	memset(o, 0, sizeof(*o));
}

static void add_part(struct parser *p, struct operand *o, char *part)
{
	if (part && o->path_count == WM_FILTER_PATH_MAX) {
		free(part);
		fail_limit(p, "parts of a selector", WM_FILTER_PATH_MAX);
	} else if (part) {
		o->path[o->path_count++] = part;
	} else {
		fail_memory(p);
	}
}

static void parse_name(struct parser *p, struct operand *o)
{
	const char *from = p->at;

	if (!is_letter(*p->at)) {
		fail(p, "a letter");
		return;
	}
	while (is_letter(*p->at) || is_digit(*p->at) || *p->at == '_')
		p->at++;
	add_part(p, o, strndup(from, (size_t)(p->at - from)));
}

static void parse_index(struct parser *p, struct operand *o)
{
	char *part;

	p->at++;
	skip_space(p);
	if (*p->at != '"' && *p->at != '`') {
		fail(p, "a string");
		return;
	}
	part = parse_string(p);
	if (!part)
		return;
	add_part(p, o, part);
	skip_space(p);
	if (!p->code && *p->at != ']')
		fail(p, "\"]\"");
	p->at += !p->code;
}

static void parse_selector(struct parser *p, struct operand *o)
{
	parse_name(p, o);
	while (!p->code && (*p->at == '.' || *p->at == '[')) {
		if (*p->at == '[') {
			parse_index(p, o);
		} else {
			p->at++;
			parse_name(p, o);
		}
	}
}

static void parse_operand(struct parser *p, struct operand *o)
{
	if (*p->at == '"' || *p->at == '`')
		o->value = parse_string(p);
	else if (*p->at == '-' || is_digit(*p->at))
		o->value = parse_number(p);
	else if (is_letter(*p->at))
		parse_selector(p, o);
	else
		fail(p, "\"(\", a selector or a value");
	if (!p->code && !o->value && !o->path_count)
		fail_memory(p);
}

/* A selector where a value is wanted is a word with dots. */
static void as_value(struct parser *p, struct operand *o)
{
	struct wm_buf b;

	if (p->code || o->value)
		return;
	wm_buf_init(&b, WM_FILTER_TEXT_MAX);
	for (unsigned i = 0; i < o->path_count; i++) {
		if (i)
			wm_buf_putc(&b, '.');
		wm_buf_puts(&b, o->path[i]);
	}
	if (b.failed) {
		wm_buf_done(&b);
		fail_memory(p);
		return;
	}
	operand_done(o);
	o->value = b.data;
}

/* --- comparisons ------------------------------------------------------------------------------ */
enum order { SELECTOR_VALUE, SELECTOR_ALONE, VALUE_SELECTOR };

static bool accept_operator(struct parser *p, enum wm_filter_op *ret_op, enum order *ret_order)
{
	static const struct {
		const char *first, *second;
		enum wm_filter_op op;
		enum order order;
	} words[] = {
		{"contains", NULL, WM_OP_IN, SELECTOR_VALUE},
		{"not", "contains", WM_OP_NOT_IN, SELECTOR_VALUE},
		{"matches", NULL, WM_OP_MATCHES, SELECTOR_VALUE},
		{"not", "matches", WM_OP_NOT_MATCHES, SELECTOR_VALUE},
		{"in", NULL, WM_OP_IN, VALUE_SELECTOR},
		{"not", "in", WM_OP_NOT_IN, VALUE_SELECTOR},
	};
	const char *from = p->at;

	for (unsigned i = 0; i < WM_ARRAY_LEN(words); i++) {
		if (accept_operator_words(p, words[i].first, words[i].second)) {
			*ret_op = words[i].op;
			*ret_order = words[i].order;
			return true;
		}
	}
	*ret_order = SELECTOR_ALONE;
	*ret_op = WM_OP_EMPTY;
	if (accept_words(p, "is", "empty"))
		return true;
	*ret_op = WM_OP_NOT_EMPTY;
	if (accept_words(p, "is", "not") && accept_words(p, "empty", NULL))
		return true;
	p->at = from;
	skip_space(p);
	*ret_order = SELECTOR_VALUE;
	*ret_op = *p->at == '!' ? WM_OP_NOT_EQUAL : WM_OP_EQUAL;
	if ((*p->at != '=' && *p->at != '!') || p->at[1] != '=')
		return false;
	p->at += 2;
	skip_space(p);
	return true;
}

static struct wm_tree *new_tree(struct parser *p, enum wm_tree_kind kind)
{
	struct wm_tree *t = calloc(1, sizeof(*t));

	if (!t)
		return fail_memory(p);
	t->kind = kind;
	return t;
}

/* The term takes what the operands hold. */
static struct wm_tree *add_term(struct parser *p, enum wm_filter_op op, struct operand *selector,
				struct operand *value)
{
	struct wm_filter *f = p->f;
	struct wm_term *t;
	struct wm_tree *tree;

	if (!selector->path_count)
		return fail(p, "a selector");
	if (f->terms_count == WM_FILTER_TERMS_MAX)
		return fail_limit(p, "comparisons", WM_FILTER_TERMS_MAX);
	tree = new_tree(p, WM_TREE_TERM);
	if (!tree)
		return NULL;
	tree->term = f->terms_count;
	t = &f->terms[f->terms_count++];
	t->op = op;
	t->path_count = selector->path_count;
	memcpy(t->path, selector->path, sizeof(t->path));
	t->value = value->value;
	selector->path_count = 0;
	value->value = NULL;
	return tree;
}

static struct wm_tree *parse_term(struct parser *p)
{
	struct operand first = {0}, second = {0};
	struct wm_tree *tree = NULL;
	enum wm_filter_op op;
	enum order order;

	parse_operand(p, &first);
	if (!p->code && !accept_operator(p, &op, &order))
		fail(p, "\"==\", \"!=\", \"contains\", \"in\", \"is\", \"matches\" or \"not\"");
	if (!p->code && order != SELECTOR_ALONE)
		parse_operand(p, &second);
	if (p->code)
		goto out;
	if (order == VALUE_SELECTOR) {
		as_value(p, &first);
		tree = p->code ? NULL : add_term(p, op, &second, &first);
	} else {
		if (order == SELECTOR_VALUE)
			as_value(p, &second);
		tree = p->code ? NULL : add_term(p, op, &first, &second);
	}
out:
	operand_done(&first);
	operand_done(&second);
	return tree;
}

/* --- and, or, not ----------------------------------------------------------------------------- */
static struct wm_tree *parse_group(struct parser *p)
{
	struct wm_tree *t;

	if (*p->at != '(')
		return parse_term(p);
	p->at++;
	skip_space(p);
	t = parse_or(p);
	skip_space(p);
	if (t && *p->at != ')') {
		wm_tree_free(t);
		return fail(p, "\")\"");
	}
	p->at += !p->code;
	return t;
}

static struct wm_tree *parse_not(struct parser *p)
{
	struct wm_tree *t = NULL, *child;

	if (++p->depth > WM_FILTER_DEPTH_MAX)
		return fail_limit(p, "parentheses and \"not\" inside one another",
				  WM_FILTER_DEPTH_MAX);
	if (strncmp(p->at, "not", 3) == 0 && is_space(p->at[3])) {
		p->at += 3;
		skip_space(p);
		child = parse_not(p);
		t = child ? new_tree(p, WM_TREE_NOT) : NULL;
		if (t)
			t->child = child;
		else
			wm_tree_free(child);
	} else {
		t = parse_group(p);
	}
	p->depth--;
	return t;
}

/* Parts joined by one word; a single part stands for itself. */
static struct wm_tree *parse_chain(struct parser *p, enum wm_tree_kind kind, const char *word,
				   struct wm_tree *(*part)(struct parser *p))
{
	struct wm_tree *first = part(p), *t, **next;

	if (!first || !accept_operator_words(p, word, NULL))
		return first;
	t = new_tree(p, kind);
	if (!t) {
		wm_tree_free(first);
		return NULL;
	}
	t->child = first;
	next = &first->next;
	do {
		*next = part(p);
		if (!*next) {
			wm_tree_free(t);
			return NULL;
		}
		next = &(*next)->next;
	} while (accept_operator_words(p, word, NULL));
	return t;
}

static struct wm_tree *parse_and(struct parser *p)
{
	return parse_chain(p, WM_TREE_AND, "and", parse_not);
}

static struct wm_tree *parse_or(struct parser *p)
{
	return parse_chain(p, WM_TREE_OR, "or", parse_and);
}

int wm_filter_parse(struct wm_filter *f, const char *text, struct wm_err *e)
{
	struct parser p = {.f = f, .e = e, .text = text, .at = text};

	if (strlen(text) > WM_FILTER_TEXT_MAX)
		return wm_err_set(e, WM_E_LIMIT, "filter: longer than %d octets",
				  WM_FILTER_TEXT_MAX);
	skip_space(&p);
	f->root = parse_or(&p);
	skip_space(&p);
	if (f->root && *p.at)
		fail(&p, "\"and\", \"or\" or the end");
	return p.code;
}

void wm_tree_free(struct wm_tree *t)
{
	struct wm_tree *next;

	for (; t; t = next) {
		next = t->next;
		wm_tree_free(t->child); /* no deeper than WM_FILTER_DEPTH_MAX allows */
		free(t);
	}
}

void wm_term_selector(const struct wm_term *t, char *buf, size_t cap)
{
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < t->path_count && n < cap; i++)
		n += (size_t)snprintf(buf + n, cap - n, "%s%s", i ? "." : "", t->path[i]);
}
