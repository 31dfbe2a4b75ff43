/* SPDX-License-Identifier: Apache-2.0 */
/* long.c - requests whose filter takes more than a turn. The loop belongs to all: a filter pauses
 * after its slice, and the handler runs again in the next turn with the same filter, which
 * remembers what it found. The answer is made in one turn, of the state of that turn. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/hash.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_ROWS  16  /* rows between two looks at the clock: some 20 us */
#define ROWS_FIRST 256 /* first allocation */

void wm_longs_init(struct wm_api *a)
{
	TAILQ_INIT(&a->longs);
}

/* --- rows --------------------------------------------------------------------------------------
 */
void wm_rows_reset(struct wm_rows *r)
{
	r->count = r->at = 0;
	r->end_ns = 0;
	r->begun = r->stopped = false;
}

/* Go on behind what was written in earlier turns, if the answer begins as it did then. */
static void adopt(struct wm_call *c, struct wm_json *j)
{
	struct wm_long *l = c->rest;
	struct wm_buf body = *j->b;
	struct wm_rows rows = c->api->rows;

	if (!l || !l->rows.count || body.len != l->rows.all[0].offset ||
	    (body.len && memcmp(body.data, l->text.data, body.len) != 0))
		return;
	*j->b = l->text;
	l->text = body;
	c->api->rows.all = l->rows.all;
	c->api->rows.count = l->rows.count;
	c->api->rows.cap = l->rows.cap;
	c->api->rows.end = l->rows.end;
	l->rows = (struct wm_rows){.all = rows.all, .cap = rows.cap};
}

static void cut(struct wm_buf *b, size_t len)
{
	b->len = len;
	b->data[len] = '\0';
}

/* Is there time for one more? @p every: rows between two looks at the clock. */
uint64_t wm_slice_ns(const struct wm_api *a, bool tired)
{
	uint64_t ns = a->d.slice_ns ? a->d.slice_ns : WM_API_SLICE_MS * WM_NS_PER_MS;

	return tired ? ns * WM_API_TIRED_MS / WM_API_SLICE_MS : ns;
}

static bool has_time(struct wm_call *c, unsigned every)
{
	struct wm_rows *r = &c->api->rows;
	bool tired;

	if (c->rest ? c->rest->runs > WM_API_LONG_RUNS : wm_longs_full(c->api))
		return true;
	if (!r->end_ns) {
		tired = !c->rest && wm_loop_tired(c->api->d.loop);
		r->end_ns = wm_clock_ns() + wm_slice_ns(c->api, tired);
	}
	return r->at % every || wm_clock_ns() < r->end_ns;
}

/* Stand where a row begins. */
static void stand(struct wm_json *j, const struct wm_row *at)
{
	j->depth = at->depth;
	j->first = at->first;
}

static struct wm_row here(const struct wm_json *j, uint64_t hash)
{
	return (struct wm_row){hash, j->b->len, j->depth, j->first};
}

/* Pass @p count rows that stand there. */
static void pass(struct wm_rows *r, struct wm_json *j, size_t count)
{
	r->at += count;
	stand(j, r->at < r->count ? &r->all[r->at] : &r->end);
}

static bool note(struct wm_rows *r, const struct wm_row *row)
{
	size_t cap = r->cap ? r->cap * 2 : ROWS_FIRST;
	struct wm_row *all;

	if (r->count == r->cap) {
		all = realloc(r->all, cap * sizeof(*all));
		if (!all)
			return false;
		r->all = all;
		r->cap = cap;
	}
	r->all[r->count++] = *row;
	return true;
}

static void begin_rows(struct wm_call *c, struct wm_json *j)
{
	if (!c->api->rows.begun)
		adopt(c, j);
	c->api->rows.begun = true;
}

static bool wanted(struct wm_call *c, struct wm_json *j, uint64_t hash, unsigned every)
{
	struct wm_rows *r = &c->api->rows;
	struct wm_row row;

	if (r->stopped)
		return false;
	begin_rows(c, j);
	if (r->at < r->count && r->all[r->at].hash == hash) {
		pass(r, j, 1);
		return false;
	}
	if (r->at < r->count) { /* it is another: it and all behind it are written anew */
		cut(j->b, r->all[r->at].offset);
		stand(j, &r->all[r->at]);
		r->count = r->at;
	}
	row = here(j, hash);
	if (!has_time(c, every) || !note(r, &row)) {
		r->stopped = true;
		r->end = row;
		return false;
	}
	r->at++;
	return true;
}

bool wm_row_wanted(struct wm_call *c, struct wm_json *j, const struct wm_filter_row *row)
{
	return !c->api->rows.stopped && wanted(c, j, wm_filter_row_hash(row), LOOK_ROWS);
}

/* Such a row may be long. */
bool wm_row_wanted_of(struct wm_call *c, struct wm_json *j, uint64_t hash)
{
	return wanted(c, j, hash, 1);
}

bool wm_check_wanted(struct wm_call *c, struct wm_json *j, const struct wm_check *k)
{
	struct wm_filter_row row = {.node = k->instance->node, .check = k};
	const uint64_t of[] = {wm_filter_row_hash(&row), (uintptr_t)k->instance,
			       k->instance->modify_index};

	return !c->api->rows.stopped && wanted(c, j, wm_hash(of, sizeof(of)), LOOK_ROWS);
}

bool wm_rows_stand(struct wm_call *c, struct wm_json *j, size_t count, uint64_t first,
		   uint64_t last)
{
	struct wm_rows *r = &c->api->rows;

	if (r->stopped)
		return false;
	begin_rows(c, j);
	if (r->count - r->at < count || r->all[r->at].hash != first ||
	    r->all[r->at + count - 1].hash != last)
		return false;
	pass(r, j, count);
	return true;
}

bool wm_rows_stopped(const struct wm_call *c)
{
	return c->api->rows.stopped;
}

bool wm_rows_unfinished(const struct wm_call *c)
{
	const struct wm_rows *r = &c->api->rows;

	return r->stopped || (r->begun && r->at < r->count);
}

/* Keep what was written for the next turn. Who is not next in turn writes it anew: one text is kept
 * at a time. */
static void keep_rows(struct wm_api *a, struct wm_long *l)
{
	struct wm_rows *r = &a->rows;

	if (!r->begun || l != TAILQ_FIRST(&a->longs))
		return;
	if (!r->stopped) { /* rows at the end are gone, or the last one's end is not known */
		r->at -= r->at && r->at == r->count;
		r->end = r->at < r->count ? r->all[r->at] : (struct wm_row){0};
		r->count = r->at;
	}
	cut(&a->body, r->end.offset);
	wm_buf_done(&l->text);
	l->text = a->body;
	wm_buf_init(&a->body, WM_API_ANSWER_MAX);
	free(l->rows.all);
	l->rows = *r;
	*r = (struct wm_rows){0};
}

/* --- order -------------------------------------------------------------------------------------
 */
void wm_sort_kept(struct wm_api *a, void *all, size_t count, void (*sort)(void *all, size_t count))
{
	uint64_t index = wm_registry_index(a->d.registry), hash;
	size_t size = count * sizeof(void *);
	struct wm_kept_order *o = a->orders;

	if (count < WM_API_SORT_KEPT) {
		if (count > 1)
			sort(all, count);
		return;
	}
	hash = wm_hash(all, size);
	for (; o < a->orders + WM_API_ORDERS; o++) {
		if (o->count == count && o->index == index && o->hash == hash && o->sort == sort) {
			memcpy(all, o->all, size);
			return;
		}
	}
	o = &a->orders[a->orders_next++ % WM_API_ORDERS];
	sort(all, count);
	free(o->all);
	*o = (struct wm_kept_order){
		.hash = hash, .index = index, .sort = sort, .all = malloc(size)};
	if (!o->all) /* it is sorted again */
		return;
	memcpy(o->all, all, size);
	o->count = count;
}

/* --- requests ----------------------------------------------------------------------------------
 */
void wm_long_drop(struct wm_long *l)
{
	struct wm_call *c;

	if (!l)
		return;
	c = l->watch ? &l->watch->call : &l->own;
	c->rest = NULL;
	TAILQ_REMOVE(&c->api->longs, l, entry);
	c->api->longs_count--;
	wm_filter_free(l->filter);
	wm_buf_done(&l->text);
	free(l->rows.all);
	free(l);
}

static void on_abort(void *arg)
{
	wm_long_drop(arg);
}

bool wm_longs_full(const struct wm_api *a)
{
	return a->longs_count >= WM_API_LONG_MAX;
}

void wm_long_keep(struct wm_call *c, struct wm_filter *f)
{
	struct wm_api *a = c->api;
	struct wm_long *l = c->rest;

	if (l) {
		l->asked = true;
		keep_rows(a, l);
		return;
	}
	l = wm_longs_full(a) ? NULL : calloc(1, sizeof(*l));
	if (!l) {
		wm_http_set_header(c->req, "Retry-After", "1");
		wm_answer_text(c, 503, "Too many requests take long just now (limit: %d)",
			       WM_API_LONG_MAX);
		return;
	}
	l->filter = f;
	if (f)
		wm_filter_keep(f);
	wm_buf_init(&l->text, WM_API_ANSWER_MAX);
	l->watch = c->watch;
	l->changes = wm_rendered_changes(a);
	c->rest = l;
	if (!c->watch) {
		l->own = *c;
		wm_http_on_abort(c->req, on_abort, l);
	}
	a->longs_count++;
	TAILQ_INSERT_TAIL(&a->longs, l, entry);
	keep_rows(a, l);
}

/* A slice. Whoever is answered is gone afterwards; one that its handler keeps for a change, though
 * it was woken, waits as before. */
static void go_on(struct wm_long *l)
{
	struct wm_watch *w = l->watch;
	struct wm_call *c = w ? &w->call : &l->own;

	wm_filter_begin(l->filter, wm_slice_ns(c->api, false),
			wm_registry_index(c->api->d.registry));
	l->asked = false;
	l->runs++;
	c->route->fn(c);
	if (c->req && l->asked)
		return;
	if (!c->req && w)
		wm_watch_end(w); /* drops it too */
	else
		wm_long_drop(l);
}

void wm_longs_run(struct wm_api *a)
{
	struct wm_long *l = TAILQ_FIRST(&a->longs);

	if (!l || a->longs_turn == wm_loop_turns(a->d.loop))
		return;
	a->longs_turn = wm_loop_turns(a->d.loop);
	go_on(l);
	if (!TAILQ_EMPTY(&a->longs))
		wm_loop_again(a->d.loop);
}

void wm_longs_done(struct wm_api *a)
{
	free(a->rows.all);
	free(a->sorted.all);
	for (unsigned n = 0; n < WM_API_ORDERS; n++)
		free(a->orders[n].all);
}
