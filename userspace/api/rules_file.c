/* SPDX-License-Identifier: Apache-2.0 */
/* rules_file.c - see rules_file.h. */
#include "rules_file.h"

#include "userspace/base/err.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct reader {
	struct wm_rules *rules;
	unsigned number; /* of the rule */
	struct wm_err *e;
};

static int wrong(const struct reader *r, const char *field, const char *want)
{
	return wm_err_set(r->e, WM_E_INVALID, "rules[%u].%.64s must be %s", r->number, field, want);
}

static int read_text(const struct reader *r, const char *field, const json_t *v,
		     struct wm_rule_texts *to)
{
	const char *s = json_string_value(v);

	if (!s || !*s)
		return wrong(r, field, "a text that is not empty");
	if (strlen(s) > WM_RULE_TEXT_MAX)
		return wm_err_set(r->e, WM_E_LIMIT,
				  "rules[%u].%.64s: a text is too long (limit: %d characters)",
				  r->number, field, WM_RULE_TEXT_MAX);
	if (to->count == WM_RULE_ITEMS_MAX)
		return wm_err_set(r->e, WM_E_LIMIT, "rules[%u].%.64s: at most %d are allowed",
				  r->number, field, WM_RULE_ITEMS_MAX);
	to->at[to->count++] = s;
	return 0;
}

static int read_list(const struct reader *r, const char *field, const json_t *v,
		     struct wm_rule_texts *to)
{
	int err = json_is_array(v) ? 0 : wrong(r, field, "an array of texts");
	const json_t *item;
	size_t i;

	json_array_foreach(v, i, item)
	{
		if (!err)
			err = read_text(r, field, item, to);
	}
	return err;
}

/* {"key": "expression"} */
static int read_patterns(const struct reader *r, json_t *v, struct wm_rule_draft *d)
{
	int err = json_is_object(v) ? 0 : wrong(r, "patterns", "an object of texts");
	const char *key;
	json_t *item;

	json_object_foreach(v, key, item)
	{
		if (!err)
			err = read_text(r, key, item, &d->patterns);
		if (!err)
			d->pattern_keys.at[d->pattern_keys.count++] = key;
	}
	return err;
}

/* {"key": ["value"]} */
static int read_allowed(const struct reader *r, json_t *v, struct wm_rule_draft *d)
{
	int err = json_is_object(v) ? 0 : wrong(r, "allowed", "an object of arrays");
	const char *key;
	json_t *item;

	if (!err && json_object_size(v) > WM_RULE_ITEMS_MAX)
		err = wm_err_set(r->e, WM_E_LIMIT, "rules[%u].allowed: at most %d are allowed",
				 r->number, WM_RULE_ITEMS_MAX);
	if (err)
		return err;
	json_object_foreach(v, key, item)
	{
		unsigned n = d->allowed_keys.count;

		if (!err)
			err = read_list(r, key, item, &d->allowed[n]);
		if (!err)
			d->allowed_keys.at[d->allowed_keys.count++] = key;
	}
	return err;
}

static int read_tags_max(const struct reader *r, const json_t *v, struct wm_rule_draft *d)
{
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < 0 || n > WM_TAGS_MAX)
		return wm_err_set(r->e, WM_E_INVALID,
				  "rules[%u].tags_max must be a number from 0 to %d", r->number,
				  WM_TAGS_MAX);
	d->tags_max = (int)n;
	return 0;
}

static int read_member(const struct reader *r, const char *key, json_t *v, struct wm_rule_draft *d)
{
	if (strcmp(key, "name") == 0) {
		d->name = json_string_value(v);
		return d->name ? 0 : wrong(r, "name", "a text");
	}
	if (strcmp(key, "services") == 0)
		return read_list(r, key, v, &d->services);
	if (strcmp(key, "required") == 0)
		return read_list(r, key, v, &d->required);
	if (strcmp(key, "tags_required") == 0)
		return read_list(r, key, v, &d->tags_required);
	if (strcmp(key, "patterns") == 0)
		return read_patterns(r, v, d);
	if (strcmp(key, "allowed") == 0)
		return read_allowed(r, v, d);
	if (strcmp(key, "tags_max") == 0)
		return read_tags_max(r, v, d);
	return wm_err_set(r->e, WM_E_INVALID, "rules[%u]: unknown key \"%.64s\"", r->number, key);
}

static int read_rule(const struct reader *r, json_t *v)
{
	_cleanup_free_ struct wm_rule_draft *d = calloc(1, sizeof(*d)); /* some 34 KiB */
	const char *key;
	json_t *item;
	int err = 0;

	if (!d)
		return wm_err_set(r->e, -ENOMEM, "Out of memory while reading the rules");
	if (!json_is_object(v))
		return wm_err_set(r->e, WM_E_INVALID, "rules[%u] must be an object", r->number);
	d->tags_max = -1;
	json_object_foreach(v, key, item)
	{
		if (!err)
			err = read_member(r, key, item, d);
	}
	return err ? err : wm_rules_add(r->rules, d, r->e);
}

static int read_root(struct reader *r, json_t *root)
{
	json_t *list = json_object_get(root, "rules"), *item;
	int err = 0;
	size_t i;

	if (!json_is_array(list) || json_object_size(root) != 1)
		return wm_err_set(r->e, WM_E_INVALID,
				  "the file must be an object with one key, \"rules\", an array");
	json_array_foreach(list, i, item)
	{
		r->number = (unsigned)i;
		if (!err)
			err = read_rule(r, item);
	}
	return err;
}

static int read_file(const char *path, char *buf, size_t cap, size_t *ret_len, struct wm_err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	ssize_t n = 1;

	*ret_len = 0;
	if (fd < 0 || fstat(fd, &st))
		return wm_err_set(e, -errno, "it cannot be read: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return wm_err_set(e, -EINVAL, "it must be a regular file");
	while (n > 0 && *ret_len < cap) {
		n = read(fd, buf + *ret_len, cap - *ret_len);
		if (n < 0)
			return wm_err_set(e, -errno, "it cannot be read: %s", strerror(errno));
		*ret_len += (size_t)n;
	}
	if (*ret_len == cap)
		return wm_err_set(e, WM_E_LIMIT, "it is too large (limit: %u octets)",
				  WM_RULES_FILE_MAX);
	return 0;
}

static int read_rules(const char *path, struct wm_rules *rules, struct wm_err *e)
{
	_cleanup_free_ char *text = malloc(WM_RULES_FILE_MAX + 1);
	struct reader r = {.rules = rules, .e = e};
	json_error_t je;
	json_t *root;
	size_t len;
	int err;

	if (!text)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	err = read_file(path, text, WM_RULES_FILE_MAX + 1, &len, e);
	if (err)
		return err;
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!root)
		return wm_err_set(e, WM_E_INVALID, "line %d, column %d: %s", je.line, je.column,
				  je.text);
	err = read_root(&r, root);
	json_decref(root);
	return err;
}

int wm_rules_read(const char *path, struct wm_rules **ret_rules, struct wm_err *e)
{
	struct wm_rules *rules = wm_rules_new();
	struct wm_err why = {0};
	int err;

	*ret_rules = NULL;
	if (!rules)
		return wm_err_set(e, -ENOMEM, "Out of memory while reading the rules");
	err = read_rules(path, rules, &why);
	if (err) {
		wm_rules_free(rules);
		return wm_err_set(e, err, "registry.rules_file %.128s: %.300s", path, why.text);
	}
	*ret_rules = rules;
	return 0;
}
