/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - see query.h. */
#include "query.h"

#include "shares.h"
#include "userspace/base/buf.h"
#include "userspace/base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEXTS_MAX 65536 /* octets of what a template becomes */

const struct wm_policy *wm_query_find(const struct wm_registry *r, const char *name)
{
	const struct wm_policy *p, *named = NULL, *prefix = NULL;
	size_t pos = 0, len;

	while ((p = wm_registry_next_policy(r, &pos))) {
		if (!wm_policy_is_query(p))
			continue;
		if (strcasecmp(p->query.id, name) == 0)
			return p;
		len = strlen(p->query.name);
		if (!p->query.prefix && len && strcasecmp(p->query.name, name) == 0)
			named = p;
		else if (p->query.prefix && strncasecmp(p->query.name, name, len) == 0 &&
			 (!prefix || len > strlen(prefix->query.name)))
			prefix = p;
	}
	return named ? named : prefix;
}

/* --- templates ----------------------------------------------------------------------------------
 */
struct filling {
	const struct wm_policy *q;
	const char *name;
	struct wm_buf b;
};

static const char *variable(const struct filling *f, const char *at, size_t len)
{
	static const char prefix[] = "name.prefix", suffix[] = "name.suffix", full[] = "name.full",
			  segment[] = "agent.segment";

	if (len == strlen(full) && strncmp(at, full, len) == 0)
		return f->name;
	if (len == strlen(prefix) && strncmp(at, prefix, len) == 0)
		return f->q->query.name;
	if (len == strlen(suffix) && strncmp(at, suffix, len) == 0)
		return f->name + strlen(f->q->query.name);
	return len == strlen(segment) && strncmp(at, segment, len) == 0 ? "" : NULL;
}

/* Append a text with its variables filled in, and a NUL. @return its place, -1: see @p e. */
static long fill(struct filling *f, const char *text, struct wm_err *e)
{
	long at = (long)f->b.len;
	const char *open, *close, *value;
	size_t len;

	while ((open = strstr(text, "${"))) {
		close = strchr(open, '}');
		value = close ? variable(f, open + 2, (size_t)(close - open - 2)) : NULL;
		if (!value) {
			len = close ? (size_t)(close - open) + 1 : strlen(open);
			wm_err_set(e, WM_E_INVALID,
				   "\"%.*s\" is not allowed: name.full, name.prefix, name.suffix "
				   "and agent.segment are",
				   (int)(len < 64 ? len : 64), open);
			return -1;
		}
		wm_buf_put(&f->b, text, (size_t)(open - text));
		wm_buf_puts(&f->b, value);
		text = close + 1;
	}
	wm_buf_puts(&f->b, text);
	wm_buf_putc(&f->b, '\0');
	if (!f->b.failed)
		return at;
	wm_err_set(e, -ENOMEM, "Out of memory, or the template is too long");
	return -1;
}

/* What of a term is filled in: of a pair the value. */
static const char **text_of(struct wm_policy_term *t)
{
	return t->what == WM_QUERY_NODE_META || t->what == WM_QUERY_SERVICE_META ? &t->value
										 : &t->key;
}

int wm_query_fill(const struct wm_policy *q, const char *name, struct wm_policy_draft *ret,
		  char **texts, struct wm_err *e)
{
	struct filling f = {.q = q, .name = name};
	long service, near, at[WM_QUERY_TERMS_MAX];
	unsigned kept = 0;

	*texts = NULL;
	wm_policy_draft_of(ret, q);
	if (!q->query.prefix)
		return 0;
	if (strcasecmp(name, q->query.id) == 0)
		return wm_err_set(e, WM_E_INVALID,
				  "prepared query templates can only be resolved up by name, not "
				  "by ID");
	wm_buf_init(&f.b, TEXTS_MAX);
	service = fill(&f, q->query.service, e);
	near = service < 0 ? -1 : fill(&f, q->query.near, e);
	for (uint32_t n = 0; near >= 0 && n < q->terms_count; n++) {
		at[n] = fill(&f, *text_of(&ret->terms[n]), e);
		if (at[n] < 0)
			near = -1;
	}
	if (near < 0) {
		wm_buf_done(&f.b);
		return e->code;
	}
	*texts = f.b.data;
	ret->p.query.service = f.b.data + service;
	ret->p.query.near = f.b.data + near;
	for (uint32_t n = 0; n < q->terms_count; n++) {
		*text_of(&ret->terms[n]) = f.b.data + at[n];
		if (q->query.remove_empty_tags && q->terms[n].what == WM_QUERY_TAG &&
		    !*ret->terms[n].key)
			continue;
		ret->terms[kept++] = ret->terms[n];
	}
	ret->p.terms_count = kept;
	return 0;
}

/* --- whom it selects ----------------------------------------------------------------------------
 */
static bool has_pair(const struct wm_pair *pairs, unsigned count, const struct wm_policy_term *t)
{
	for (unsigned n = 0; n < count; n++) {
		if (strcmp(pairs[n].key, t->key) == 0)
			return strcmp(pairs[n].value, t->value) == 0;
	}
	return false;
}

static bool has_term(const struct wm_instance *i, const struct wm_policy_term *t)
{
	switch (t->what) {
	case WM_QUERY_TAG:
		return *t->key == '!' ? !wm_instance_has_tag(i, t->key + 1)
				      : wm_instance_has_tag(i, t->key);
	case WM_QUERY_NODE_META:
		return has_pair(i->node->meta, i->node->meta_count, t);
	case WM_QUERY_SERVICE_META:
		return has_pair(i->meta, i->meta_count, t);
	default:
		return true;
	}
}

static bool is_ignored(const struct wm_policy *q, const char *check)
{
	for (uint32_t n = 0; n < q->terms_count; n++) {
		if (q->terms[n].what == WM_QUERY_IGNORE_CHECK &&
		    strcmp(q->terms[n].key, check) == 0)
			return true;
	}
	return false;
}

static enum wm_status worst(const struct wm_policy *q, const struct wm_instance *i)
{
	enum wm_status s = WM_PASSING;

	for (unsigned n = 0; n < i->checks_count; n++) {
		if (i->checks[n]->status > s && !is_ignored(q, i->checks[n]->id))
			s = i->checks[n]->status;
	}
	return s;
}

static bool is_usable(const struct wm_policy *q, const struct wm_instance *i)
{
	enum wm_status own = worst(q, i), node = worst(q, i->node->holder);
	enum wm_status s = own > node ? own : node;

	if (i->lifecycle != WM_LIFE_RUNNING || s == WM_CRITICAL ||
	    (q->query.only_passing && s != WM_PASSING))
		return false;
	/* connects from here fail: a check like any other, though it is none of the instance's */
	return !i->passive || is_ignored(q, i->passive->id);
}

/* @p none: what is asked for beside who is usable, WM_NONE_*. */
static bool is_wanted(const struct wm_policy *q, uint32_t none, const struct wm_instance *i)
{
	for (uint32_t n = 0; n < q->terms_count; n++) {
		if (!has_term(i, &q->terms[n]))
			return false;
	}
	return none == WM_NONE_ANY ||
	       (none == WM_NONE_DRAINING && i->lifecycle == WM_LIFE_STOPPING) || is_usable(q, i);
}

static void shuffle(const struct wm_instance **all, unsigned count)
{
	for (unsigned n = count; n > 1; n--) {
		unsigned k = wm_random_below(n);
		const struct wm_instance *i = all[k];

		all[k] = all[n - 1];
		all[n - 1] = i;
	}
}

/* The tier that is asked first this time: by its share, as connect() draws it. */
static unsigned draw_tier(const struct wm_selection *s, const struct wm_outcome *o)
{
	double x = wm_random_below(1u << 30) / (double)(1u << 30);

	for (unsigned n = 0; n < s->count; n++) {
		x -= o->shares[n];
		if (x < 0)
			return n;
	}
	return 0;
}

/* Tiers of its target that stand before it. */
static unsigned before(const struct wm_selection *s, unsigned tier)
{
	unsigned count = 0;

	for (unsigned n = 0; n < tier; n++)
		count += s->tiers[n].target == s->tiers[tier].target;
	return count;
}

struct found {
	const struct wm_instance **all; /* for free() */
	unsigned count, tier;
};

/* Who of @p s is wanted, of the first tier from @p drawn on where somebody is, as connect() goes on
 * from the one that it drew. */
static int find(const struct wm_policy *q, const struct wm_selection *s, unsigned drawn,
		uint32_t none, struct found *ret)
{
	for (unsigned n = 0; n < s->count && !ret->count; n++) {
		unsigned at = (drawn + n) % s->count;
		const struct wm_selection_tier *t = &s->tiers[at];

		free(ret->all);
		ret->all = calloc(t->count + 1, sizeof(struct wm_instance *));
		if (!ret->all)
			return -ENOMEM;
		for (unsigned k = 0; k < t->count; k++) {
			if (is_wanted(q, none, t->members[k]))
				ret->all[ret->count++] = t->members[k];
		}
		ret->tier = ret->count ? before(s, at) : 0;
	}
	return 0;
}

int wm_query_run(const struct wm_registry *r, const struct wm_policy *q,
		 const struct wm_instance ***ret, unsigned *ret_count, unsigned *ret_tier)
{
	struct wm_selection s;
	struct wm_outcome o;
	struct found f = {0};
	unsigned drawn;
	int err;

	if (wm_selection_make(r, q->query.service, "", q->query.only_passing, &s))
		return -ENOMEM;
	wm_outcome_of(&s, &o);
	drawn = draw_tier(&s, &o);
	err = find(q, &s, drawn, o.panic ? WM_NONE_ANY : WM_NONE_REFUSE, &f);
	if (!err && !f.count && (s.when_none == WM_NONE_DRAINING || s.when_none == WM_NONE_ANY))
		err = find(q, &s, drawn, s.when_none, &f);
	wm_selection_done(&s);
	if (!err && !f.all)
		f.all = calloc(1, sizeof(struct wm_instance *));
	if (err || !f.all) {
		free(f.all);
		return -ENOMEM;
	}
	shuffle(f.all, f.count);
	*ret = f.all;
	*ret_count = f.count;
	*ret_tier = f.tier;
	return 0;
}
