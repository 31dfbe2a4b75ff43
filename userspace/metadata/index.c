/* SPDX-License-Identifier: Apache-2.0 */
/* index.c - bitmaps by value, and the planning of filters against them. */
#include "index.h"

#include "internal.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/model/scope.h"

#include <errno.h>
#include <roaring/roaring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX ((size_t)1 << 28) /* of the table: its growth is bounded by the registry's */
#define BLOCK	    4096u	      /* rows of a block */
#define BLOCKS_MAX                                                                                 \
	8192u	    /* more than registry.instances_max allows, and those that were just replaced */
#define RECENT	64u /* values of an instance: a fleet's have some 20 */
#define KEY_MAX (WM_META_KEY_MAX + WM_META_VALUE_MAX + 3)

/* What an entry is about; the first octet of its key. */
enum about {
	ABOUT_NAME = 'n',
	ABOUT_TAG = 't',
	ABOUT_KEY = 'k',
	ABOUT_PAIR = 'p',
	ABOUT_PLACE = 'r',  /* region or zone, be it of Locality or of the metadata */
	ABOUT_ELEMENT = 'e' /* of a list in the metadata: key and element */
};

/* The instances that have a value. Most values that many instances have are few, but an id in the
 * metadata makes as many values as instances: a single number needs no bitmap. */
struct entry {
	roaring_bitmap_t *bits; /* NULL: only `one` */
	uint32_t one;
	uint32_t key_len;
	char key[];
};

/* Results of filters. All are of one generation: when something changes they go together. */
#define CACHE_MAX	64	   /* results that are kept: as many dashboards and loops ask */
#define CACHE_BYTES_MAX (8u << 20) /* of their bitmaps together */
#define CACHE_ONE_MAX	(CACHE_BYTES_MAX / 8) /* of one */
struct result {
	enum wm_filter_kind kind;
	char *text;
	roaring_bitmap_t *bits;
	size_t bytes;
	struct wm_index_query q;
};

struct block {
	struct wm_instance *rows[BLOCK]; /* by number */
	uint32_t vacant[BLOCK];		 /* a part of the list of numbers that are free again */
};

struct wm_index {
	struct wm_registry *registry;
	uint64_t generation; /* counts announced changes */
	struct {
		struct result all[CACHE_MAX];
		unsigned count, oldest; /* oldest: the next that gives way */
		uint64_t generation, hits, misses;
		size_t bytes;
	} cache;
	struct wm_map *entries;
	/* Entries of the values of the last instance that was added, in their order: the next one
	 * has most of them too, in the same places. */
	struct entry *recent[RECENT];
	unsigned recent_at;
	struct block *blocks[BLOCKS_MAX + 1]; /* of numbers; 0 is nobody's */
	uint32_t used, cap, vacant_count;
	uint32_t built; /* numbers below it are in the entries; UINT32_MAX: all are, and stay so */
	uint64_t instances, lost;
};

/* --- entries ---------------------------------------------------------------------------------- */
struct key {
	size_t len;
	char text[KEY_MAX];
};

static void key_make(struct key *k, enum about about, const char *a, const char *b)
{
	size_t n = strnlen(a, KEY_MAX - 3), m = b ? strnlen(b, KEY_MAX - 3 - n) : 0;

	k->text[0] = (char)about;
	memcpy(k->text + 1, a, n);
	k->len = 1 + n;
	if (b) {
		k->text[k->len++] = '\0';
		memcpy(k->text + k->len, b, m);
		k->len += m;
	}
}

static struct entry *entry_new(struct wm_index *x, const struct key *k, uint32_t number)
{
	struct entry *e = malloc(sizeof(*e) + k->len);

	if (!e)
		return NULL;
	*e = (struct entry){.one = number, .key_len = (uint32_t)k->len};
	memcpy(e->key, k->text, k->len);
	if (wm_map_put(x->entries, e->key, e->key_len, e, NULL)) {
		free(e);
		return NULL;
	}
	return e;
}

/* The entry of a value that is about to be added. @p ret_recent: the place to remember it in. */
static struct entry *entry_find(struct wm_index *x, const struct key *k, struct entry ***ret_recent)
{
	struct entry **recent = &x->recent[x->recent_at++ % RECENT], *e = *recent;

	*ret_recent = recent;
	if (e && e->key_len == k->len && memcmp(e->key, k->text, k->len) == 0)
		return e;
	*recent = wm_map_get(x->entries, k->text, k->len);
	return *recent;
}

static int entry_add(struct wm_index *x, const struct key *k, uint32_t number)
{
	struct entry **recent, *e = entry_find(x, k, &recent);

	if (!e) {
		*recent = entry_new(x, k, number);
		return *recent ? 0 : -ENOMEM;
	}
	if (!e->bits && e->one == number) /* a tag that stands twice */
		return 0;
	if (!e->bits) {
		e->bits = roaring_bitmap_create();
		if (!e->bits)
			return -ENOMEM;
		roaring_bitmap_add(e->bits, e->one);
	}
	roaring_bitmap_add(e->bits, number);
	return 0;
}

static void entry_free(struct entry *e)
{
	if (e->bits)
		roaring_bitmap_free(e->bits);
	free(e);
}

static void entry_remove(struct wm_index *x, const struct key *k, uint32_t number)
{
	struct entry *e = wm_map_get(x->entries, k->text, k->len);

	if (!e || (!e->bits && e->one != number))
		return;
	if (e->bits) {
		roaring_bitmap_remove(e->bits, number);
		if (!roaring_bitmap_is_empty(e->bits))
			return;
	}
	wm_map_del(x->entries, e->key, e->key_len);
	memset(x->recent, 0, sizeof(x->recent));
	entry_free(e);
}

static uint64_t entry_count(const struct entry *e)
{
	return !e ? 0 : e->bits ? roaring_bitmap_get_cardinality(e->bits) : 1;
}

/* --- results ---------------------------------------------------------------------------------- */
static void result_free(struct wm_index *x, struct result *r)
{
	x->cache.bytes -= r->bytes;
	roaring_bitmap_free(r->bits);
	free(r->text);
	*r = (struct result){0};
}

static void cache_clear(struct wm_index *x)
{
	while (x->cache.count)
		result_free(x, &x->cache.all[--x->cache.count]);
	x->cache.oldest = 0;
}

static const struct result *cache_find(struct wm_index *x, const struct wm_filter *f)
{
	if (x->cache.generation != x->generation)
		cache_clear(x);
	x->cache.generation = x->generation;
	for (unsigned i = 0; i < x->cache.count; i++) {
		const struct result *r = &x->cache.all[i];

		if (r->kind == f->kind && strcmp(r->text, f->text) == 0) {
			x->cache.hits++;
			return r;
		}
	}
	x->cache.misses++;
	return NULL;
}

/* Takes @p bits over. What does not fit is not kept. */
static void cache_keep(struct wm_index *x, const struct wm_filter *f, roaring_bitmap_t *bits,
		       const struct wm_index_query *q)
{
	struct result r = {.kind = f->kind, .bits = bits, .q = *q};

	roaring_bitmap_run_optimize(bits);
	r.bytes = roaring_bitmap_portable_size_in_bytes(bits) + strlen(f->text);
	r.text = r.bytes <= CACHE_ONE_MAX ? strdup(f->text) : NULL;
	if (!r.text) {
		roaring_bitmap_free(bits);
		return;
	}
	if (x->cache.bytes + r.bytes > CACHE_BYTES_MAX)
		cache_clear(x);
	x->cache.bytes += r.bytes;
	if (x->cache.count < CACHE_MAX) {
		x->cache.all[x->cache.count++] = r;
		return;
	}
	result_free(x, &x->cache.all[x->cache.oldest]);
	x->cache.all[x->cache.oldest] = r;
	x->cache.oldest = (x->cache.oldest + 1) % CACHE_MAX;
}

/* --- following the registry ------------------------------------------------------------------- */
typedef int (*value_fn)(struct wm_index *x, const struct key *k, uint32_t number);

static int remove_value(struct wm_index *x, const struct key *k, uint32_t number)
{
	entry_remove(x, k, number);
	return 0;
}

/* Each element of the metadata's lists. */
static int each_element(struct wm_index *x, const struct wm_instance *i, uint32_t number,
			value_fn fn)
{
	static const char *const lists[] = {
#define X(sym, key, name) key,
		WM_MESH_LISTS(X)
#undef X
	};
	char element[WM_META_VALUE_MAX + 1];
	int err = 0;

	for (unsigned l = 0; l < WM_ARRAY_LEN(lists); l++) {
		const char *at = wm_mesh_value(i, lists[l]), *s;
		size_t len;

		while (wm_mesh_next(&at, &s, &len)) {
			struct key k;

			snprintf(element, sizeof(element), "%.*s", (int)len, s);
			key_make(&k, ABOUT_ELEMENT, lists[l], element);
			err |= fn(x, &k, number);
		}
	}
	return err;
}

/* Locality says what metadata may say as well, or otherwise: then a value has a key of its own. */
static const char *const places[] = {"region", "zone"};

static bool is_place(const char *key)
{
	return strcmp(key, places[0]) == 0 || strcmp(key, places[1]) == 0;
}

static int each_place(struct wm_index *x, const struct wm_instance *i, uint32_t number, value_fn fn)
{
	int err = 0;

	for (unsigned n = 0; n < WM_ARRAY_LEN(places); n++) {
		const char *value = wm_mesh_value(i, places[n]);
		struct key k;

		if (!*value)
			continue;
		key_make(&k, ABOUT_PLACE, places[n], value);
		err |= fn(x, &k, number);
	}
	return err;
}

/* Everything about an instance that is indexed. @return the worst of what fn returned. */
static int each_value(struct wm_index *x, const struct wm_instance *i, uint32_t number, value_fn fn)
{
	char scope[WM_SCOPE_MAX + 1];
	struct key k;
	int err;

	x->recent_at = 0;
	key_make(&k, ABOUT_NAME, wm_scope_split(i->name, scope), NULL);
	err = fn(x, &k, number);
	for (unsigned n = 0; n < i->tags_count; n++) {
		key_make(&k, ABOUT_TAG, i->tags[n], NULL);
		err |= fn(x, &k, number);
	}
	for (unsigned n = 0; n < i->meta_count; n++) {
		key_make(&k, ABOUT_KEY, i->meta[n].key, NULL);
		err |= fn(x, &k, number);
		key_make(&k, ABOUT_PAIR, i->meta[n].key, i->meta[n].value);
		err |= fn(x, &k, number);
	}
	return err | each_place(x, i, number, fn) | each_element(x, i, number, fn);
}

static struct wm_instance **row(const struct wm_index *x, uint32_t number)
{
	return &x->blocks[number / BLOCK]->rows[number % BLOCK];
}

/* The n-th of the numbers that are free again. */
static uint32_t *vacant(const struct wm_index *x, uint32_t n)
{
	return &x->blocks[n / BLOCK]->vacant[n % BLOCK];
}

/* One block more: what stands is never moved, which at a million would hold up the loop. */
static bool more_rows(struct wm_index *x)
{
	uint32_t n = x->cap / BLOCK;

	x->blocks[n] = n < BLOCKS_MAX ? calloc(1, sizeof(struct block)) : NULL;
	if (!x->blocks[n])
		return false;
	x->cap += BLOCK;
	return true;
}

static uint32_t number_new(struct wm_index *x)
{
	if (x->vacant_count)
		return *vacant(x, --x->vacant_count);
	if (x->used == x->cap && !more_rows(x))
		return 0;
	if (!x->used)
		x->used = 1;
	return x->used++;
}

static void add(struct wm_index *x, struct wm_instance *i)
{
	i->number = number_new(x);
	if (!i->number) {
		x->lost++;
		return;
	}
	*row(x, i->number) = i;
	x->instances++;
	/* behind what is built: its turn comes */
	if (i->number < x->built && each_value(x, i, i->number, entry_add))
		x->lost++;
}

static void forget(struct wm_index *x, const struct wm_instance *i)
{
	if (!i->number)
		return;
	if (i->number < x->built)
		each_value(x, i, i->number, remove_value);
	*row(x, i->number) = NULL;
	*vacant(x, x->vacant_count++) = i->number;
	x->instances--;
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_index *x = arg;

	x->generation++;
	if (c->kind == WM_CHANGE_INSTANCE_DELETED)
		forget(x, c->instance);
	if (c->kind != WM_CHANGE_INSTANCE_UPSERT)
		return;
	if (c->old)
		forget(x, c->old);
	add(x, c->instance);
}

struct wm_index *wm_index_new_later(struct wm_registry *r)
{
	struct wm_index *x = calloc(1, sizeof(*x));
	struct wm_instance *i;
	size_t pos = 0;

	if (!x)
		return NULL;
	x->registry = r;
	x->entries = wm_map_new(ENTRIES_MAX);
	if (!x->entries || wm_registry_subscribe(r, on_change, x)) {
		wm_index_free(x);
		return NULL;
	}
	/* numbers only: they tell what is indexed already, whatever comes and goes meanwhile */
	while ((i = wm_registry_next_instance(r, &pos)))
		add(x, i);
	x->built = 1;
	return x;
}

bool wm_index_build(struct wm_index *x, unsigned max)
{
	for (; x->built < x->used && max; x->built++, max--) {
		const struct wm_instance *i = *row(x, x->built);

		if (i && each_value(x, i, x->built, entry_add))
			x->lost++;
	}
	if (x->built >= x->used)
		x->built = UINT32_MAX;
	return x->built == UINT32_MAX;
}

const struct wm_instance *wm_index_next(const struct wm_index *x, uint32_t *at)
{
	const struct wm_instance *i = NULL;

	while (!i && *at < x->used)
		i = *row(x, (*at)++);
	return i;
}

bool wm_index_complete(const struct wm_index *x)
{
	return x->built == UINT32_MAX;
}

struct wm_index *wm_index_new(struct wm_registry *r)
{
	struct wm_index *x = wm_index_new_later(r);

	if (x)
		wm_index_build(x, UINT32_MAX);
	return x;
}

void wm_index_free(struct wm_index *x)
{
	struct entry *e;
	size_t pos = 0;

	if (!x)
		return;
	while (x->entries && (e = wm_map_next(x->entries, &pos)))
		entry_free(e);
	cache_clear(x);
	wm_map_free(x->entries);
	for (uint32_t n = 0; n < x->cap / BLOCK; n++)
		free(x->blocks[n]);
	free(x);
}

/* --- planning --------------------------------------------------------------------------------- */

/* What a part of a filter leaves over. */
struct plan {
	roaring_bitmap_t *bits; /* NULL: no index applies, anything may match */
	bool own;		/* bits are ours to change and to free */
	bool exact;		/* what is in bits matches, and need not be asked */
	bool failed;		/* without memory */
};

/* The entry's key for a comparison that an index answers. */
static bool term_key(const struct wm_term *t, struct key *k)
{
	const struct wm_field *f = t->field;

	if (t->op == WM_OP_EQUAL && f->source == WM_SRC_NAME)
		key_make(k, ABOUT_NAME, t->value, NULL);
	else if (t->op == WM_OP_EQUAL && f->source == WM_SRC_META && f->type == WM_FIELD_STRING)
		key_make(k, ABOUT_PAIR, t->key, t->value);
	else if (t->op == WM_OP_IN && f->source == WM_SRC_TAGS)
		key_make(k, ABOUT_TAG, t->value, NULL);
	else if (t->op == WM_OP_IN && f->source == WM_SRC_META && f->type == WM_FIELD_MAP)
		key_make(k, ABOUT_KEY, t->value, NULL);
	else if (t->op == WM_OP_EQUAL && wm_field_mesh_key(f) && *t->value) /* "": also without */
		key_make(k, is_place(wm_field_mesh_key(f)) ? ABOUT_PLACE : ABOUT_PAIR,
			 wm_field_mesh_key(f), t->value);
	else if (t->op == WM_OP_IN && f->type == WM_FIELD_LIST && wm_field_mesh_key(f))
		key_make(k, ABOUT_ELEMENT, wm_field_mesh_key(f), t->value);
	else
		return false;
	/* a value longer than any that is stored was cut: leave it to the filter */
	return k->len < KEY_MAX - 2;
}

static struct plan plan_term(const struct wm_index *x, const struct wm_term *t)
{
	struct plan p = {0};
	struct entry *e;
	struct key k;

	if (!term_key(t, &k))
		return p;
	p.exact = true;
	e = wm_map_get(x->entries, k.text, k.len);
	if (e && e->bits) {
		p.bits = e->bits;
		return p;
	}
	p.bits = roaring_bitmap_create();
	p.own = true;
	p.failed = !p.bits;
	if (e && p.bits)
		roaring_bitmap_add(p.bits, e->one);
	return p;
}

static void plan_done(struct plan *p)
{
	if (p->own && p->bits)
		roaring_bitmap_free(p->bits);
	p->bits = NULL;
}

/* "and": the smaller first, so that a large one is only looked into. */
static void intersect(struct plan *a, struct plan *b)
{
	roaring_bitmap_t *r;

	a->failed |= b->failed;
	a->exact = a->exact && b->exact;
	if (!b->bits)
		return;
	if (!a->bits) {
		bool exact = a->exact, failed = a->failed;

		*a = *b;
		a->exact = exact;
		a->failed = failed;
		b->bits = NULL;
		return;
	}
	r = roaring_bitmap_and(a->bits, b->bits);
	plan_done(a);
	plan_done(b);
	a->bits = r;
	a->own = true;
	a->failed |= !r;
}

/* "or": of use only if an index applies to every part. */
static void unite(struct plan *a, struct plan *b)
{
	roaring_bitmap_t *r = NULL;
	bool both = a->bits && b->bits;

	a->failed |= b->failed;
	a->exact = a->exact && b->exact && both;
	if (both) {
		r = roaring_bitmap_or(a->bits, b->bits);
		a->failed |= !r;
	}
	plan_done(a);
	plan_done(b);
	a->bits = r;
	a->own = true;
}

static struct plan plan_tree(const struct wm_index *x, const struct wm_filter *f,
			     const struct wm_tree *t);

/* All parts of an "and", each time the one that leaves least of those that are left. */
static struct plan plan_and(const struct wm_index *x, const struct wm_filter *f,
			    const struct wm_tree *t)
{
	struct plan parts[WM_FILTER_TERMS_MAX], all = {.exact = true};
	uint64_t sizes[WM_FILTER_TERMS_MAX];
	unsigned count = 0;

	for (const struct wm_tree *c = t->child; c; c = c->next) {
		parts[count] = plan_tree(x, f, c);
		sizes[count] = parts[count].bits ? roaring_bitmap_get_cardinality(parts[count].bits)
						 : UINT64_MAX;
		count++;
	}
	for (unsigned i = 0; i < count; i++) {
		unsigned least = i;
		uint64_t size;
		struct plan p;

		for (unsigned n = i + 1; n < count; n++)
			least = sizes[n] < sizes[least] ? n : least;
		p = parts[least];
		parts[least] = parts[i];
		size = sizes[least];
		sizes[least] = sizes[i];
		sizes[i] = size;
		intersect(&all, &p);
	}
	return all;
}

static struct plan plan_tree(const struct wm_index *x, const struct wm_filter *f,
			     const struct wm_tree *t)
{
	struct plan p = {0}, next;

	switch ((int)t->kind) {
	case WM_TREE_TERM:
		return plan_term(x, &f->terms[t->term]);
	case WM_TREE_AND:
		return plan_and(x, f, t);
	case WM_TREE_OR:
		p = plan_tree(x, f, t->child);
		for (const struct wm_tree *c = t->child->next; c; c = c->next) {
			next = plan_tree(x, f, c);
			unite(&p, &next);
		}
		return p;
	default:
		return p; /* what is not there has no bitmap */
	}
}

/* --- asking ----------------------------------------------------------------------------------- */
struct run {
	struct wm_index *x;
	struct wm_filter *f;
	bool exact;
	struct wm_filter_row row;
	struct wm_index_query q;
	wm_index_visit visit;
	void *arg;
	roaring_bitmap_t *found; /* for the cache; NULL: not kept */
	bool ended;		 /* by the visitor: not all was found */
};

static bool run_row(struct run *r, const struct wm_instance *i)
{
	if (!r->exact) {
		r->q.asked++;
		r->row.node = i->node;
		r->row.holder = i->node->holder;
		r->row.instance = i;
		if (!wm_filter_match(r->f, &r->row))
			return !wm_filter_stopped(r->f);
	}
	r->q.matched++;
	if (r->found)
		roaring_bitmap_add(r->found, i->number);
	if (r->visit(r->arg, i))
		return true;
	r->ended = true;
	return false;
}

static bool run_number(uint32_t number, void *arg)
{
	struct run *r = arg;

	return run_row(r, *row(r->x, number));
}

static void run_all(struct run *r, const struct plan *p)
{
	struct wm_instance *i;
	size_t pos = 0;

	if (p->bits) {
		roaring_iterate(p->bits, run_number, r);
		return;
	}
	while ((i = wm_registry_next_instance(r->x->registry, &pos)) && run_row(r, i))
		;
}

/* What was found before, once more. */
static void run_result(struct run *r, const struct result *from)
{
	r->exact = true;
	roaring_iterate(from->bits, run_number, r);
	r->q = from->q;
	r->q.cached = true;
}

static void keep_found(struct run *r)
{
	if (!r->found)
		return;
	if (r->ended || wm_filter_end(r->f) != WM_FILTER_DONE)
		roaring_bitmap_free(r->found);
	else
		cache_keep(r->x, r->f, r->found, &r->q);
}

int wm_index_select(struct wm_index *x, struct wm_filter *f, wm_index_visit visit, void *arg,
		    struct wm_index_query *ret_query)
{
	struct run r = {.x = x, .f = f, .visit = visit, .arg = arg};
	bool keeps = f && !x->lost && !wm_filter_volatile(f);
	const struct result *known = keeps ? cache_find(x, f) : NULL;
	struct plan p = {0};

	if (known) {
		run_result(&r, known);
		if (ret_query)
			*ret_query = r.q;
		return 0;
	}
	r.row.datacenter = wm_registry_datacenter(x->registry);
	if (f && !x->lost && wm_index_complete(x))
		p = plan_tree(x, f, f->root);
	if (p.failed) {
		plan_done(&p);
		return -ENOMEM;
	}
	r.exact = !f || (p.bits && p.exact);
	r.q.indexed = p.bits != NULL;
	r.q.candidates = p.bits ? roaring_bitmap_get_cardinality(p.bits)
				: wm_registry_instances(x->registry);
	r.found = keeps ? roaring_bitmap_create() : NULL;
	run_all(&r, &p);
	plan_done(&p);
	keep_found(&r);
	if (ret_query)
		*ret_query = r.q;
	return 0;
}

unsigned wm_index_explain(const struct wm_index *x, const struct wm_filter *f,
			  struct wm_index_term *ret, unsigned cap)
{
	struct key k;

	for (unsigned i = 0; i < f->terms_count && i < cap; i++) {
		const struct wm_term *t = &f->terms[i];

		ret[i] = (struct wm_index_term){.op = wm_op_name(t->op), .value = t->value};
		wm_term_selector(t, ret[i].selector, sizeof(ret[i].selector));
		if (!term_key(t, &k) || !wm_index_complete(x))
			continue;
		ret[i].indexed = true;
		ret[i].instances = entry_count(wm_map_get(x->entries, k.text, k.len));
	}
	return f->terms_count;
}

void wm_index_stats(const struct wm_index *x, struct wm_index_stats *ret)
{
	*ret = (struct wm_index_stats){
		.instances = x->instances, .entries = wm_map_len(x->entries), .lost = x->lost};
	ret->cache_hits = x->cache.hits;
	ret->cache_misses = x->cache.misses;
	ret->cache_entries = x->cache.count;
	ret->cache_bytes = x->cache.bytes;
	ret->built = wm_index_complete(x) ? x->instances : x->built - 1;
}

uint64_t wm_index_bytes(const struct wm_index *x)
{
	uint64_t bytes = wm_map_bytes(x->entries) + x->cap / BLOCK * sizeof(struct block);
	const struct entry *e;
	size_t pos = 0;

	while ((e = wm_map_next(x->entries, &pos)))
		bytes +=
			sizeof(*e) + e->key_len +
			(e->bits ? sizeof(*e->bits) + roaring_bitmap_portable_size_in_bytes(e->bits)
				 : 0);
	return bytes;
}
