/* SPDX-License-Identifier: Apache-2.0 */
/* rules.c - see rules.h. */
#include "rules.h"

#include "regex.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN	    64	/* octets of a value that a message repeats */
#define ALLOWED_MAX 256 /* octets of a message's list of values */

struct texts {
	char **at;
	unsigned count;
};

struct pattern {
	char *key, *text;
	struct wm_regex *code;
};

struct choice {
	char *key;
	struct texts values;
};

struct rule {
	char *name;
	struct texts services, required, tags;
	struct pattern *patterns;
	struct choice *choices;
	unsigned patterns_count, choices_count;
	int tags_max;
};

struct wm_rules {
	unsigned count;
	struct wm_searcher *searcher;
	struct rule at[WM_RULES_MAX];
};

struct wm_rules *wm_rules_new(void)
{
	struct wm_rules *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->searcher = wm_searcher_new();
	if (!r->searcher) {
		wm_rules_free(r);
		return NULL;
	}
	return r;
}

static void texts_free(struct texts *t)
{
	for (unsigned n = 0; n < t->count; n++)
		free(t->at[n]);
	free(t->at);
}

static void rule_free(struct rule *u)
{
	for (unsigned n = 0; n < u->patterns_count; n++) {
		free(u->patterns[n].key);
		free(u->patterns[n].text);
		wm_regex_free(u->patterns[n].code);
	}
	for (unsigned n = 0; n < u->choices_count; n++) {
		free(u->choices[n].key);
		texts_free(&u->choices[n].values);
	}
	free(u->patterns);
	free(u->choices);
	texts_free(&u->services);
	texts_free(&u->required);
	texts_free(&u->tags);
	free(u->name);
}

void wm_rules_free(struct wm_rules *r)
{
	if (!r)
		return;
	for (unsigned n = 0; n < r->count; n++)
		rule_free(&r->at[n]);
	wm_searcher_free(r->searcher);
	free(r);
}

unsigned wm_rules_count(const struct wm_rules *r)
{
	return r ? r->count : 0;
}

/* --- adding ----------------------------------------------------------------------------------- */
static int no_memory(struct wm_err *e)
{
	return wm_err_set(e, -ENOMEM, "Out of memory while reading the rules");
}

static int copy_texts(struct texts *to, const struct wm_rule_texts *from, struct wm_err *e)
{
	if (!from->count)
		return 0;
	to->at = calloc(from->count, sizeof(char *));
	if (!to->at)
		return no_memory(e);
	for (; to->count < from->count; to->count++) {
		to->at[to->count] = strdup(from->at[to->count]);
		if (!to->at[to->count])
			return no_memory(e);
	}
	return 0;
}

static int add_pattern(struct rule *u, const char *key, const char *text, struct wm_err *e)
{
	struct pattern *p = &u->patterns[u->patterns_count++];
	char why[128];

	p->key = strdup(key);
	p->text = strdup(text);
	if (!p->key || !p->text)
		return no_memory(e);
	if (!wm_regex_new(text, &p->code, why, sizeof(why)))
		return 0;
	return wm_err_set(e, WM_E_INVALID, "rule \"%s\": patterns.%.*s: %s", u->name, SHOWN, key,
			  why);
}

static int fill(struct rule *u, const struct wm_rule_draft *d, struct wm_err *e)
{
	int err;

	u->tags_max = d->tags_max;
	u->patterns = calloc(d->patterns.count + 1, sizeof(*u->patterns));
	u->choices = calloc(d->allowed_keys.count + 1, sizeof(*u->choices));
	if (!u->patterns || !u->choices)
		return no_memory(e);
	err = copy_texts(&u->services, &d->services, e);
	if (!err)
		err = copy_texts(&u->required, &d->required, e);
	if (!err)
		err = copy_texts(&u->tags, &d->tags_required, e);
	for (unsigned n = 0; !err && n < d->patterns.count; n++)
		err = add_pattern(u, d->pattern_keys.at[n], d->patterns.at[n], e);
	for (unsigned n = 0; !err && n < d->allowed_keys.count; n++) {
		struct choice *c = &u->choices[u->choices_count++];

		c->key = strdup(d->allowed_keys.at[n]);
		err = c->key ? copy_texts(&c->values, &d->allowed[n], e) : no_memory(e);
	}
	return err;
}

int wm_rules_add(struct wm_rules *r, const struct wm_rule_draft *d, struct wm_err *e)
{
	struct rule *u = &r->at[r->count];
	int err;

	if (!d->name || !*d->name)
		return wm_err_set(e, WM_E_INVALID, "rules[%u]: name is missing", r->count);
	if (strnlen(d->name, WM_RULE_NAME_MAX + 1) > WM_RULE_NAME_MAX)
		return wm_err_set(e, WM_E_LIMIT,
				  "rules[%u]: name is too long (limit: %d characters)", r->count,
				  WM_RULE_NAME_MAX);
	if (r->count == WM_RULES_MAX)
		return wm_err_set(e, WM_E_LIMIT, "rules: at most %d are allowed", WM_RULES_MAX);
	for (unsigned n = 0; n < r->count; n++) {
		if (strcmp(r->at[n].name, d->name) == 0)
			return wm_err_set(e, WM_E_INVALID, "rule \"%s\" is there twice", d->name);
	}
	*u = (struct rule){.name = strdup(d->name)};
	err = u->name ? fill(u, d, e) : no_memory(e);
	if (err)
		rule_free(u);
	else
		r->count++;
	return err;
}

/* --- judging ---------------------------------------------------------------------------------- */
static const char *meta_of(const struct wm_instance_draft *d, const char *key)
{
	for (unsigned n = 0; n < d->meta_count; n++) {
		if (strcmp(d->meta[n].key, key) == 0)
			return d->meta[n].value;
	}
	return NULL;
}

static bool is_for(const struct rule *u, const char *service)
{
	for (unsigned n = 0; n < u->services.count; n++) {
		if (fnmatch(u->services.at[n], service, FNM_CASEFOLD) == 0)
			return true;
	}
	return !u->services.count;
}

static bool has_tag(const struct wm_instance_draft *d, const char *tag)
{
	for (unsigned n = 0; n < d->tags_count; n++) {
		if (strcmp(d->tags[n], tag) == 0)
			return true;
	}
	return false;
}

static int breaks(const struct rule *u, const char *service, struct wm_err *e, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static int breaks(const struct rule *u, const char *service, struct wm_err *e, const char *fmt, ...)
{
	char why[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return wm_err_set(e, WM_E_INVALID, "Service %s breaks the rule \"%s\": %s", service,
			  u->name, why);
}

static int judge_pattern(const struct wm_rules *r, const struct rule *u, const struct pattern *p,
			 const struct wm_instance_draft *d, struct wm_err *e)
{
	const char *value = meta_of(d, p->key);
	int rc;

	if (!value)
		return 0;
	rc = wm_regex_search(r->searcher, p->code, value);
	if (rc > 0)
		return 0;
	return breaks(u, d->name, e, "metadata %s is \"%.*s\", which %s %.*s", p->key, SHOWN, value,
		      !rc ? "must match" : "takes too long to be searched for", SHOWN * 2, p->text);
}

static int judge_choice(const struct rule *u, const struct choice *c,
			const struct wm_instance_draft *d, struct wm_err *e)
{
	const char *value = meta_of(d, c->key);
	char list[ALLOWED_MAX] = "";
	size_t len = 0;

	if (!value)
		return 0;
	for (unsigned n = 0; n < c->values.count; n++) {
		if (strcmp(c->values.at[n], value) == 0)
			return 0;
		if (len < sizeof(list) - 1)
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
						n ? ", " : "", c->values.at[n]);
	}
	return breaks(u, d->name, e, "metadata %s is \"%.*s\", allowed: %s", c->key, SHOWN, value,
		      list);
}

static int judge(const struct wm_rules *r, const struct rule *u, const struct wm_instance_draft *d,
		 struct wm_err *e)
{
	int err = 0;

	for (unsigned n = 0; n < u->required.count; n++) {
		const char *value = meta_of(d, u->required.at[n]);

		if (!value || !*value)
			return breaks(u, d->name, e, "metadata %s is missing", u->required.at[n]);
	}
	for (unsigned n = 0; n < u->tags.count; n++) {
		if (!has_tag(d, u->tags.at[n]))
			return breaks(u, d->name, e, "tag %s is missing", u->tags.at[n]);
	}
	if (u->tags_max >= 0 && d->tags_count > (unsigned)u->tags_max)
		return breaks(u, d->name, e, "%u tags given, at most %d are allowed", d->tags_count,
			      u->tags_max);
	for (unsigned n = 0; !err && n < u->patterns_count; n++)
		err = judge_pattern(r, u, &u->patterns[n], d, e);
	for (unsigned n = 0; !err && n < u->choices_count; n++)
		err = judge_choice(u, &u->choices[n], d, e);
	return err;
}

int wm_rules_check(const struct wm_rules *r, const struct wm_instance_draft *d, struct wm_err *e)
{
	int err = 0;

	for (unsigned n = 0; r && d->name && !err && n < r->count; n++) {
		if (is_for(&r->at[n], d->name))
			err = judge(r, &r->at[n], d, e);
	}
	return err;
}
