/* SPDX-License-Identifier: Apache-2.0 */
/* kube_said.c - see kube_said.h. */
#include "kube_said.h"

#include "kube_client.h"
#include "userspace/base/hash.h"
#include "userspace/base/map.h"
#include "userspace/base/plain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVICE_MAX (WM_KUBE_LABEL_MAX + 1 + WM_KUBE_LABEL_MAX)
#define KEY_MAX	    (WM_KUBE_LABEL_MAX + 1 + WM_KUBE_NAME_MAX)
#define BY	    "WaymarkPolicy "

enum verdict {
#define X(symbol, reason) symbol,
	KUBE_VERDICTS(X)
#undef X
};
static const char *const reasons[] = {
#define X(symbol, reason) [symbol] = reason,
	KUBE_VERDICTS(X)
#undef X
};

struct entry {
	char key[KEY_MAX + 1]; /* of an annotation the service, of a resource its own */
	char service[SERVICE_MAX + 1];
	char by[sizeof(BY) + WM_KUBE_NAME_MAX];
	unsigned seen;
	char *json; /* NULL: of a resource that never was one */
	/* of a resource: */
	enum verdict verdict;
	char *message;	    /* of the verdict; NULL: "" */
	bool broken;	    /* it is no policy of a Service: that is the verdict */
	bool settled;	    /* see kube_said_settled() */
	int64_t generation; /* of what it says */
	int64_t standing;   /* of which something stands; -1: none */
	uint64_t stands;    /* hash of that */
	uint64_t agreed;    /* hash of the verdict of ours that stood last; 0: none */
	bool accepted;	    /* which says so */
	char since[32];
	char version[WM_KUBE_VERSION_MAX + 1];
};

struct kube_said {
	struct wm_map *annotations, *resources;
	struct wm_kube_said *all;
	struct entry **rows; /* whose they are */
	unsigned count;
	unsigned seen;
	bool news;
};

struct kube_said *kube_said_new(void)
{
	struct kube_said *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->news = true; /* that nothing is said is */
	s->annotations = wm_map_new(WM_KUBE_SAID_MAX);
	s->resources = wm_map_new(WM_KUBE_SAID_MAX);
	if (s->annotations && s->resources)
		return s;
	kube_said_free(s);
	return NULL;
}

static void entry_free(struct entry *x)
{
	if (x) {
		free(x->json);
		free(x->message);
	}
	free(x);
}

static void free_all(struct wm_map *m)
{
	size_t pos = 0;
	void *x;

	while (m && (x = wm_map_next(m, &pos)))
		entry_free(x);
	wm_map_free(m);
}

void kube_said_free(struct kube_said *s)
{
	if (!s)
		return;
	free_all(s->annotations);
	free_all(s->resources);
	free(s->all);
	free(s->rows);
	free(s);
}

/* The entry of this key, made if it is not there. */
static int entry_get(struct wm_map *m, const char *key, struct entry **ret)
{
	struct entry *x = wm_map_get(m, key, strlen(key));
	int r;

	if (!x) {
		x = calloc(1, sizeof(*x));
		if (!x)
			return -ENOMEM;
		snprintf(x->key, sizeof(x->key), "%s", key);
		x->standing = -1;
		r = wm_map_put(m, x->key, strlen(x->key), x, NULL);
		if (r) {
			free(x);
			return r == -ENOSPC ? WM_E_CAPACITY : r;
		}
	}
	*ret = x;
	return 0;
}

static void entry_drop(struct kube_said *s, struct wm_map *m, struct entry *x)
{
	if (!x)
		return;
	wm_map_del(m, x->key, strlen(x->key));
	entry_free(x);
	s->news = true;
	s->count = 0; /* its row is one no more */
}

/* @p json is taken over. */
static int set_json(struct kube_said *s, struct entry *x, const char *service, char *json)
{
	if (!json)
		return -ENOMEM;
	if (!x->json || strcmp(x->json, json) != 0 || strcmp(x->service, service) != 0) {
		s->news = true;
		x->verdict = NONE;
	}
	snprintf(x->service, sizeof(x->service), "%s", service);
	free(x->json);
	x->json = json;
	return 0;
}

int kube_said_annotation(struct kube_said *s, const char *service, const char *json)
{
	struct entry *x = NULL;
	int r;

	if (!json) {
		entry_drop(s, s->annotations, wm_map_get(s->annotations, service, strlen(service)));
		return 0;
	}
	r = entry_get(s->annotations, service, &x);
	if (r)
		return r;
	snprintf(x->by, sizeof(x->by), "annotation");
	r = set_json(s, x, service, strdup(json));
	if (r && !x->json)
		entry_drop(s, s->annotations, x);
	return r;
}

/* --- resources ---------------------------------------------------------------------------------
 */
/* The policy's object, without the name of its service. */
static char *text_of(const json_t *policy)
{
	json_t *copy = json_copy((json_t *)(uintptr_t)policy);
	char *text;

	if (!copy)
		return NULL;
	(void)json_object_del(copy, "service");
	text = json_dumps(copy, JSON_COMPACT);
	json_decref(copy);
	return text;
}

static uint64_t hash_of(const char *reason, const char *message)
{
	return wm_hash_stable(reason, strlen(reason)) * 31 +
	       wm_hash_stable(message, strlen(message));
}

static void set_verdict(struct entry *x, enum verdict v, const char *text)
{
	char plain[WM_ERR_TEXT_MAX];

	free(x->message);
	x->message = text ? strdup(wm_plain(text, plain, sizeof(plain))) : NULL;
	x->verdict = text && !x->message ? NONE : v;
}

static void take_standing(struct entry *x, const struct wm_kube_policy *in)
{
	const struct wm_kube_standing *st = &in->standing;

	x->settled = false;
	x->generation = in->generation;
	x->standing = st->generation;
	x->stands = st->reason ? hash_of(st->reason, st->message) : 0;
	x->accepted = st->accepted;
	snprintf(x->since, sizeof(x->since), "%s", st->reason ? st->since : "");
	snprintf(x->version, sizeof(x->version), "%s", in->meta.version);
}

/* Is its status to be another? */
static bool differs(struct entry *x)
{
	uint64_t is = hash_of(reasons[x->verdict], x->message ? x->message : "");
	uint64_t ours = is + (uint64_t)x->generation;

	if (x->verdict == NONE || x->settled)
		return false;
	if (x->standing == x->generation && x->accepted == (x->verdict == ACCEPTED) &&
	    x->stands == is) {
		x->agreed = ours;
		return false;
	}
	return x->standing != x->generation || x->agreed != ours;
}

static int put(struct kube_said *s, const struct wm_kube_policy *in, int wrong, struct wm_err *e)
{
	char key[KEY_MAX + 1], service[SERVICE_MAX + 1];
	struct entry *x = NULL;
	int r;

	snprintf(key, sizeof(key), "%s/%s", in->meta.namespace, in->meta.name);
	r = entry_get(s->resources, key, &x);
	if (r)
		return wm_err_set(e, r, "%.63s: there are more than %d policies", in->meta.name,
				  WM_KUBE_SAID_MAX);
	x->seen = s->seen;
	take_standing(x, in);
	snprintf(x->by, sizeof(x->by), BY "%s", in->meta.name);
	if (x->broken != !!wrong) {
		x->broken = wrong;
		x->verdict = NONE;
		s->news = true;
	}
	if (wrong) { /* what it said before stays */
		set_verdict(x, INVALID, e->text);
		return wrong;
	}
	snprintf(service, sizeof(service), "%s/%s", in->meta.namespace, in->service);
	r = set_json(s, x, service, text_of(in->policy));
	(void)differs(x); /* that it stood is remembered, even if it does not for long */
	if (r && !x->json)
		entry_drop(s, s->resources, x);
	return r ? wm_err_set(e, r, "out of memory") : 0;
}

int kube_said_object(struct kube_said *s, const char *json, size_t len, struct wm_err *e)
{
	json_t *o = wm_kube_open(json, len, e);
	struct wm_kube_policy in = {0};
	int r = o ? wm_kube_policy_decode(o, &in, e) : WM_E_INVALID;

	if (!r || in.policy)
		r = put(s, &in, r, e);
	json_decref(o);
	return r;
}

static struct entry *find(struct kube_said *s, const char *namespace, const char *name)
{
	char key[KEY_MAX + 1];
	int n = snprintf(key, sizeof(key), "%s/%s", namespace, name);

	return n < (int)sizeof(key) ? wm_map_get(s->resources, key, (size_t)n) : NULL;
}

int kube_said_gone(struct kube_said *s, const char *json, size_t len, struct wm_err *e)
{
	json_t *o = wm_kube_open(json, len, e);
	struct wm_kube_meta m;
	int r = o ? wm_kube_meta_decode(o, &m, e) : WM_E_INVALID;

	if (!r)
		entry_drop(s, s->resources, find(s, m.namespace, m.name));
	json_decref(o);
	return r;
}

void kube_said_skipped(struct kube_said *s, const char *namespace, const char *name)
{
	struct entry *x = find(s, namespace, name);

	if (x)
		x->seen = s->seen;
}

void kube_said_begin(struct kube_said *s)
{
	s->seen++;
}

void kube_said_end(struct kube_said *s)
{
	struct entry *x;
	size_t pos = 0;

	while ((x = wm_map_next(s->resources, &pos))) {
		if (x->seen != s->seen)
			entry_drop(s, s->resources, x);
	}
}

bool kube_said_is_news(const struct kube_said *s)
{
	return s->news;
}

/* --- all ---------------------------------------------------------------------------------------
 */
/* By service; of one service resources first, these by their names. */
static int by_service(const void *a, const void *b)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
	int r = strcmp(x->service, y->service);

	/* "WaymarkPolicy" is before "annotation" */
	return r ? r : strcmp(x->by, y->by);
}

static unsigned gather(const struct wm_map *m, struct entry **to)
{
	struct entry *x;
	unsigned n = 0;
	size_t pos = 0;

	while ((x = wm_map_next(m, &pos))) {
		if (x->json)
			to[n++] = x;
	}
	return n;
}

/* It stands behind @p first, which may be one of itself: then it is the one. */
static void judge(struct entry *x, const struct entry *first)
{
	char text[WM_ERR_TEXT_MAX];

	if (x->broken)
		return;
	if (x == first) {
		set_verdict(x, ACCEPTED, NULL);
		return;
	}
	snprintf(text, sizeof(text), "service: \"%.127s\" has one by %.253s, whose name is before",
		 x->service, first->by);
	set_verdict(x, CONFLICTED, text);
}

int kube_said_all(struct kube_said *s, const struct wm_kube_said **ret, unsigned *ret_count)
{
	size_t most = wm_map_len(s->annotations) + wm_map_len(s->resources);
	struct wm_kube_said *all = realloc(s->all, (most + 1) * sizeof(*all));
	struct entry **rows;
	unsigned count, kept = 0;

	if (!all)
		return -ENOMEM;
	s->all = all;
	rows = realloc(s->rows, (most + 1) * sizeof(struct entry *));
	if (!rows)
		return -ENOMEM;
	s->rows = rows;
	count = gather(s->resources, rows);
	count += gather(s->annotations, rows + count);
	qsort(rows, count, sizeof(struct entry *), by_service);
	for (unsigned n = 0; n < count; n++) {
		struct entry *x = rows[n];
		bool same = kept && strcmp(all[kept - 1].service, x->service) == 0;

		judge(x, same ? rows[kept - 1] : x);
		if (same)
			continue;
		rows[kept] = x;
		all[kept++] =
			(struct wm_kube_said){.service = x->service, .by = x->by, .json = x->json};
	}
	s->count = kept;
	s->news = false;
	*ret = all;
	*ret_count = kept;
	return 0;
}

/* --- statuses ----------------------------------------------------------------------------------
 */
void kube_said_refuse(struct kube_said *s, const char *service, const struct wm_err *why)
{
	for (unsigned n = 0; n < s->count; n++) {
		struct entry *x = s->rows[n];

		if (strcmp(x->service, service) != 0 || x->broken)
			continue;
		if (why->code == WM_E_INVALID || why->code == WM_E_LIMIT) {
			set_verdict(x, INVALID, why->text);
			continue;
		}
		set_verdict(x, NONE, NULL);
		s->news = true; /* it is told again */
	}
}

bool kube_said_differs(struct kube_said *s, size_t *pos, struct kube_said_status *ret)
{
	struct entry *x;

	while ((x = wm_map_next(s->resources, pos))) {
		bool accepted = x->verdict == ACCEPTED;

		if (!differs(x))
			continue;
		*ret = (struct kube_said_status){
			.key = x->key,
			.version = x->version,
			.generation = x->generation,
			.accepted = accepted,
			.reason = reasons[x->verdict],
			.message = x->message ? x->message : "",
			.since = x->standing >= 0 && x->accepted == accepted ? x->since : ""};
		return true;
	}
	return false;
}

void kube_said_settled(struct kube_said *s, const char *key)
{
	struct entry *x = wm_map_get(s->resources, key, strlen(key));

	if (x)
		x->settled = true;
}
