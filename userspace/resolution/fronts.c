/* SPDX-License-Identifier: Apache-2.0 */
/* fronts.c - the addresses that a source gives a service: ports of them lead to its sets. An
 * address has an entry for all other ports beside those. Where it is one service's, that one leads
 * to a set of nobody, which refuses; where it is shared, it says that they pass. What leads
 * somewhere is written before the entry that programs ask for first, and goes behind it. */
#include "internal.h"
#include "userspace/base/err.h"
#include "userspace/base/hash.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The set of nobody, in the dictionary of services. No service's name begins so. */
#define REFUSING "\3refused"

#define SHARED (WM_FRONTEND_F_EXACT | WM_FRONTEND_F_NO_ANY)

/* One call. */
struct put {
	struct wm_tables *t;
	struct wm_fronts *of;
	const struct wm_want_front *want;
	unsigned count;
	wm_front_unfit_fn fn;
	void *arg;
	struct wm_err *e;
	struct wm_front_entry **at;	    /* taken, in the order of what is wanted; NULL: not */
	const struct wm_want_front *barred; /* its address is none to have; NULL: none yet */
	unsigned contested, unfit;
};

void wm_front_key(const struct wm_want_front *f, struct wm_frontend_key *ret)
{
	*ret = (struct wm_frontend_key){.port_be = __builtin_bswap16(f->port), .proto = f->proto};
	memcpy(ret->addr_be, f->addr_be, sizeof(ret->addr_be));
}

/* --- the set of nobody --------------------------------------------------------------------------
 */
/* An earlier run's, where @p f has it. */
static bool adopt_refusing(struct wm_tables *t, const struct wm_front_entry *f)
{
	uint32_t set = f && !f->claimed ? f->v.set : WM_NO_SET;
	struct wm_svc *s = set == WM_NO_SET ? NULL : t->by_set[set];

	if (!s || *s->name || s->claimed || s->published.word.generation ||
	    t->mem.sets[set].service != (uint32_t)wm_hash_stable(REFUSING, strlen(REFUSING)))
		return false;
	t->refusing = s;
	return true;
}

/* @return its index, negative: an error. */
static int64_t refusing(struct wm_tables *t, const struct wm_front_entry *f, struct wm_err *e)
{
	struct wm_svc_key k;
	uint32_t set;

	if (!t->refusing && !adopt_refusing(t, f)) {
		(void)wm_svc_key(&k, REFUSING, NULL, 0, 0);
		if (wm_index_take(t->sets, &set))
			return wm_err_set(e, WM_E_FULL,
					  "sets: %u are the limit (kernel.services_max)",
					  t->mem.sets_cap);
		t->refusing = wm_svc_new(t, &k, set);
		if (!t->refusing) {
			wm_index_give(t->sets, set, 0);
			return -ENOMEM;
		}
		t->mem.sets[set].service = (uint32_t)wm_hash_stable(REFUSING, strlen(REFUSING));
	}
	t->refusing->claimed = true;
	return t->refusing->set;
}

uint32_t wm_tables_set_backends(const struct wm_tables *t, uint32_t set)
{
	return t->by_set[set] ? t->by_set[set]->refs_count : 0;
}

bool wm_tables_refuses(const struct wm_tables *t, uint32_t set)
{
	return t->refusing && t->refusing->set == set;
}

/* --- taking -------------------------------------------------------------------------------------
 */
static bool has(const struct wm_fronts *of, const struct wm_front_entry *f)
{
	for (unsigned i = 0; i < of->count; i++)
		if (of->at[i] == f)
			return true;
	return false;
}

static void refuse(struct put *p, unsigned i, const char *why, unsigned *count)
{
	++*count;
	if (!p->want[i].port)
		p->barred = &p->want[i];
	if (p->fn)
		p->fn(p->arg, &p->want[i], why);
}

static const char *holder(const struct wm_front_entry *f)
{
	return f->owner ? f->owner->service : "another service";
}

/* May @p f be this service's? */
static bool is_free(const struct put *p, const struct wm_front_entry *f, bool shared)
{
	if (!f->claimed || f->owner == p->of)
		return true;
	return shared && f->sharers;
}

static void release(struct wm_tables *t, struct wm_front_entry *f)
{
	if (f->sharers > 1) {
		f->sharers--;
		return;
	}
	wm_front_remove(t, f);
}

static bool outranks(const struct wm_fronts *a, const struct wm_fronts *b)
{
	if (a->created != b->created)
		return a->created && (!b->created || a->created < b->created);
	return strcmp(a->service, b->service) < 0;
}

/* With an address go all ports of it that a younger service has there. */
static void rob(struct put *p, struct wm_front_entry *f)
{
	struct wm_fronts *from = f->owner;

	wm_fronts_forget(f);
	f->owner = p->of;
	for (unsigned i = 0; !f->key.port_be && i < from->count; i++) {
		struct wm_front_entry *port = from->at[i];

		if (!port || memcmp(port->key.addr_be, f->key.addr_be, sizeof(f->key.addr_be)) != 0)
			continue;
		from->at[i] = NULL;
		release(p->t, port);
	}
	from->contested++;
	p->t->stats.fronts_contested++;
	p->t->fronts_robbed = true;
}

/* Entry of what is wanted at @p i; NULL: another's, or wanted twice, or @p ret_err. */
static struct wm_front_entry *take(struct put *p, unsigned i, int *ret_err)
{
	const struct wm_want_front *w = &p->want[i];
	bool shared = !w->port && w->shared;
	struct wm_front_entry *f;
	struct wm_frontend_key k;

	wm_front_key(w, &k);
	f = wm_map_get(p->t->fronts, &k, sizeof(k));
	if (f && f->put == p->t->fronts_put)
		return NULL;
	if (f && f->owner == p->of && shared) /* it was the service's alone */
		f->owner = NULL;
	if (f && f->sharers == 1 && !shared && has(p->of, f)) { /* the other way */
		f->sharers = 0;
		f->owner = p->of;
	}
	if (f && !is_free(p, f, shared) && f->owner && !shared && outranks(p->of, f->owner))
		rob(p, f);
	if (f && !is_free(p, f, shared)) {
		refuse(p, i, holder(f), &p->contested);
		return NULL;
	}
	if (!f)
		f = wm_front_new(p->t, &k, ret_err, p->e);
	if (!f)
		return NULL;
	f->put = p->t->fronts_put;
	if (!shared)
		f->owner = p->of;
	else if (!f->sharers || !has(p->of, f))
		f->sharers++;
	return f;
}

static bool same_address(const struct wm_want_front *a, const struct wm_want_front *b)
{
	return memcmp(a->addr_be, b->addr_be, sizeof(a->addr_be)) == 0;
}

/* All that can be had, the others are told of. */
static int take_all(struct put *p)
{
	int r = 0;

	for (unsigned i = 0; !r && i < p->count; i++) {
		const struct wm_want_front *w = &p->want[i];

		if (p->barred && same_address(p->barred, w))
			continue;
		if (w->unfit)
			refuse(p, i, w->unfit, &p->unfit);
		else
			p->at[i] = take(p, i, &r);
	}
	return r;
}

/* --- storing ------------------------------------------------------------------------------------
 */
/* Ports, or what stands for all others. */
static int store(struct put *p, bool ports)
{
	struct wm_frontend v;
	int64_t set;
	int r = 0;

	for (unsigned i = 0; !r && i < p->count; i++) {
		struct wm_front_entry *f = p->at[i];

		if (!f || (f->key.port_be != 0) != ports)
			continue;
		set = ports ? p->want[i].set : refusing(p->t, f, p->e);
		if (set < 0)
			return (int)set;
		v = (struct wm_frontend){.set = (uint32_t)set,
					 .flags = ports	       ? 0
						  : f->sharers ? SHARED
							       : WM_FRONTEND_F_EXACT};
		r = wm_front_store(p->t, f, &v, p->e);
	}
	return r;
}

/* --- letting go ---------------------------------------------------------------------------------
 */

/* Those that the last put did not want; @p all: all. What stands for an address goes first. */
static void release_old(struct wm_tables *t, struct wm_fronts *of, bool all)
{
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < of->count; i++) {
			struct wm_front_entry *f = of->at[i];

			if (!f || (f->key.port_be != 0) != pass ||
			    (!all && f->put == t->fronts_put))
				continue;
			of->at[i] = NULL;
			release(t, f);
		}
}

static void drop(struct wm_tables *t, struct wm_fronts *of)
{
	t->stats.fronts_contested -= of->contested;
	t->stats.fronts_unfit -= of->unfit;
	release_old(t, of, true);
	wm_map_del(t->fronted, of->service, strlen(of->service));
	free(of->at);
	free(of);
}

void wm_fronts_forget(struct wm_front_entry *f)
{
	for (unsigned i = 0; i < f->owner->count; i++)
		if (f->owner->at[i] == f)
			f->owner->at[i] = NULL;
	f->owner = NULL;
}

void wm_fronts_free(struct wm_tables *t)
{
	struct wm_fronts *of;
	size_t pos = 0;

	while (t->fronted && (of = wm_map_next(t->fronted, &pos))) {
		free(of->at);
		free(of);
	}
	wm_map_free(t->fronted);
}

void wm_tables_fronts_del(struct wm_tables *t, const char *service)
{
	struct wm_fronts *of = wm_map_get(t->fronted, service, strlen(service));

	if (of)
		drop(t, of);
}

/* --- putting ------------------------------------------------------------------------------------
 */
static struct wm_fronts *fronts_of(struct wm_tables *t, const char *service)
{
	struct wm_fronts *of = wm_map_get(t->fronted, service, strlen(service));
	size_t n = strlen(service);

	if (of)
		return of;
	of = calloc(1, sizeof(*of) + n + 1);
	if (!of)
		return NULL;
	memcpy(of->service, service, n + 1);
	if (!wm_map_put(t->fronted, of->service, n, of, NULL))
		return of;
	free(of);
	return NULL;
}

/* What was taken is the service's from now on. */
static void settle(struct put *p)
{
	struct wm_fronts *of = p->of;
	unsigned n = 0;

	release_old(p->t, of, false);
	p->t->stats.fronts_contested += p->contested - of->contested;
	p->t->stats.fronts_unfit += p->unfit - of->unfit;
	of->contested = p->contested;
	of->unfit = p->unfit;
	free(of->at);
	of->at = p->at;
	for (unsigned i = 0; i < p->count; i++)
		if (p->at[i])
			of->at[n++] = p->at[i];
	of->count = n;
}

bool wm_tables_fronts_robbed(struct wm_tables *t)
{
	bool robbed = t->fronts_robbed;

	t->fronts_robbed = false;
	return robbed;
}

int wm_tables_fronts_put(struct wm_tables *t, const struct wm_want_fronts *want,
			 wm_front_unfit_fn fn, void *arg, struct wm_err *e)
{
	struct put p = {
		.t = t, .want = want->at, .count = want->count, .fn = fn, .arg = arg, .e = e};
	int r;

	if (!want->count) {
		wm_tables_fronts_del(t, want->service);
		return 0;
	}
	p.of = fronts_of(t, want->service);
	p.at = calloc(want->count, sizeof(struct wm_front_entry *));
	if (!p.of || !p.at) {
		free(p.at);
		wm_tables_fronts_del(t, want->service);
		return -ENOMEM;
	}
	p.of->created = want->created;
	t->fronts_put++;
	r = take_all(&p);
	if (!r)
		r = store(&p, true);
	if (!r)
		r = store(&p, false);
	settle(&p);
	if (r) { /* half of an address would refuse the other half */
		drop(t, p.of);
		t->stats.full += r == WM_E_FULL;
	}
	return r;
}

/* --- reading ------------------------------------------------------------------------------------
 */
unsigned wm_tables_fronts(const struct wm_tables *t, const char *service)
{
	const struct wm_fronts *of = wm_map_get(t->fronted, service, strlen(service));

	return of ? of->count : 0;
}

bool wm_tables_contested(const struct wm_tables *t, const char *service)
{
	const struct wm_fronts *of = wm_map_get(t->fronted, service, strlen(service));

	return of && of->contested;
}

const char *wm_tables_front_owner(const struct wm_tables *t, const __be32 addr_be[4])
{
	const struct wm_front_entry *f;
	struct wm_frontend_key k = {.port_be = 0};

	memcpy(k.addr_be, addr_be, sizeof(k.addr_be));
	f = wm_map_get(t->fronts, &k, sizeof(k));
	return f && f->owner ? f->owner->service : NULL;
}
