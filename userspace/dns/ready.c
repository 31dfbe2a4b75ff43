/* SPDX-License-Identifier: Apache-2.0 */
/* ready.c - see ready.h. What was given is remembered by its question, so that it can be made anew;
 * who was given first makes room, but for those that are foreseen: nobody may ask for them until
 * the agent is dead, and clients could drive them out with names that are not there. */
#include "ready.h"

#include "userspace/base/hash.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define ASKED	       4096	  /* places for names without records that were asked for: 32 KiB */
#define LOOK_MS	       100	  /* from a change to the look what it has changed */
#define GO_ON_MS       10	  /* between two turns of a look */
#define LOOKS_MAX      1024	  /* answers that are looked at in a turn: some 20 us */
#define FORESEEN_SHARE 2	  /* of what is given before anybody asks: the rest are records */
#define NOT_MADE       UINT64_MAX /* no sum is */
#define REMADE_MAX     32	  /* of these made anew: 10 us each */

struct name {
	TAILQ_ENTRY(name) entry;
	TAILQ_ENTRY(name) in_room; /* unless it is foreseen */
	uint64_t sum;
	uint16_t source[WM_READY_SOURCES];
	uint16_t len;
	bool foreseen;
	struct { /* what it is found by: as much of it as the name is long */
		uint16_t type;
		uint8_t name[WM_DNS_NAME_MAX + 1];
	} key;
};

struct wm_ready_level {
	struct wm_ready_config c;
	struct wm_ready_kernel k;
	struct wm_map *names;
	TAILQ_HEAD(, name) list;
	TAILQ_HEAD(, name) room; /* who makes some, the next first */
	struct wm_timer *look;
	bool waits;	       /* for it; else nothing has changed since the last look */
	unsigned foreseen;     /* of the names */
	bool anew;	       /* some are not made yet */
	uint64_t seen;	       /* changes before the look that ended last */
	uint64_t looking;      /* before the one that goes on */
	size_t left;	       /* names that it has not come to; 0: none goes on */
	uint64_t asked[ASKED]; /* hash of the one that was asked for last at this place */
	struct wm_ready scratch;
	uint64_t counters[WM_READY_COUNTER_COUNT];
};

uint16_t wm_ready_source(const void *data, size_t len)
{
	return (uint16_t)(WM_READY_FIRST + wm_hash(data, len) % (WM_READY_WORDS - WM_READY_FIRST));
}

/* What changes until then is looked at as well. */
static void look_soon(struct wm_ready_level *l)
{
	if (!l->waits)
		wm_timer_arm(l->look, LOOK_MS);
	l->waits = true;
}

void wm_ready_changed(struct wm_ready_level *l, uint16_t source)
{
	if (!l)
		return;
	(void)__atomic_fetch_add(&l->k.words[source], 1, __ATOMIC_SEQ_CST);
	l->counters[WM_READY_C_CHANGES]++;
	look_soon(l);
}

void wm_ready_there(struct wm_ready_level *l, const uint8_t *folded, size_t len, bool more)
{
	uint8_t name[WM_NAME_BUF] = {0};
	struct wm_name_key key;

	if (!l || !l->c.seed || len > WM_DNS_NAME_MAX)
		return;
	memcpy(name, folded, len);
	wm_name_hash(l->c.seed, name, (uint32_t)len, &key);
	for (uint32_t i = 0; i < 2; i++)
		(void)__atomic_fetch_add(&l->k.words[wm_there_at(&key, i)], more ? 1 : UINT64_MAX,
					 __ATOMIC_SEQ_CST);
}

void wm_ready_whole(struct wm_ready_level *l, uint32_t kind, bool whole)
{
	if (l && l->c.seed)
		__atomic_store_n(&l->k.words[kind], whole, __ATOMIC_RELEASE);
}

bool wm_ready_wants(struct wm_ready_level *l, const uint8_t *folded, size_t len, uint16_t type,
		    bool records)
{
	uint64_t hash = wm_hash(folded, len) + type, *at = &l->asked[hash % ASKED];
	bool again = *at == hash;

	*at = hash;
	return records || again;
}

static uint64_t sum_of(const struct wm_ready_level *l, const uint16_t *source)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < WM_READY_SOURCES; i++)
		sum += __atomic_load_n(&l->k.words[source[i]], __ATOMIC_RELAXED);
	return sum;
}

/* --- what was given --- */
static size_t key_len(const struct name *n)
{
	return offsetof(struct name, key.name) - offsetof(struct name, key) + n->len;
}

static void forget(struct wm_ready_level *l, struct name *n)
{
	if (n->foreseen)
		l->foreseen--;
	else
		TAILQ_REMOVE(&l->room, n, in_room);
	wm_map_del(l->names, &n->key, key_len(n));
	TAILQ_REMOVE(&l->list, n, entry);
	free(n);
}

/* The one of a question, which is made if it is not there; who is there longest makes room. NULL
 * without memory: it is not made anew. */
static struct name *name_of(struct wm_ready_level *l, const uint8_t *folded, size_t len,
			    uint16_t type)
{
	struct name as = {.sum = NOT_MADE, .len = (uint16_t)len, .key.type = type}, *n;

	memcpy(as.key.name, folded, len);
	n = wm_map_get(l->names, &as.key, key_len(&as));
	if (n)
		return n;
	if (wm_map_len(l->names) >= l->k.max && !TAILQ_EMPTY(&l->room))
		forget(l, TAILQ_FIRST(&l->room));
	n = malloc(sizeof(*n));
	if (!n)
		return NULL;
	*n = as;
	if (wm_map_put(l->names, &n->key, key_len(n), n, NULL)) {
		free(n);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&l->list, n, entry);
	TAILQ_INSERT_TAIL(&l->room, n, in_room);
	return n;
}

static void remember(struct wm_ready_level *l, const struct wm_ready_made *m, uint64_t sum)
{
	struct name *n = name_of(l, m->message + WM_DNS_HEADER_LEN, m->name_len, m->type);

	if (!n)
		return;
	n->sum = sum;
	memcpy(n->source, m->source, sizeof(n->source));
}

bool wm_ready_foresees(const struct wm_ready_level *l)
{
	return l->foreseen < l->k.fill / FORESEEN_SHARE;
}

void wm_ready_foresee(struct wm_ready_level *l, const uint8_t *folded, size_t len, uint16_t type)
{
	struct name *n = wm_ready_foresees(l) ? name_of(l, folded, len, type) : NULL;

	if (!n || n->foreseen)
		return;
	TAILQ_REMOVE(&l->room, n, in_room);
	n->foreseen = l->anew = true;
	l->foreseen++;
	look_soon(l);
}

/* Those that are not as they were are made anew. @return false: not all were looked at. */
static bool look_at_some(struct wm_ready_level *l)
{
	unsigned remade = 0;

	for (unsigned i = 0; l->left && i < LOOKS_MAX && remade < REMADE_MAX; i++, l->left--) {
		struct name *n = TAILQ_FIRST(&l->list);

		if (!n) {
			l->left = 0;
			break;
		}
		TAILQ_REMOVE(&l->list, n, entry);
		TAILQ_INSERT_TAIL(&l->list, n, entry);
		if (sum_of(l, n->source) == n->sum)
			continue;
		remade++;
		if (l->c.remake(l->c.arg, n->key.name, n->len, n->key.type))
			l->counters[WM_READY_C_REMADE]++;
		else
			forget(l, n);
	}
	return !l->left;
}

static void on_look(void *arg)
{
	struct wm_ready_level *l = arg;

	l->waits = false;
	if (!l->left && (l->anew || l->counters[WM_READY_C_CHANGES] != l->seen)) {
		l->anew = false;
		l->looking = l->counters[WM_READY_C_CHANGES];
		l->left = wm_map_len(l->names);
	}
	if (l->left && !look_at_some(l)) {
		l->waits = true;
		wm_timer_arm(l->look, GO_ON_MS);
		return;
	}
	l->seen = l->looking;
	if (l->anew || l->counters[WM_READY_C_CHANGES] != l->seen)
		look_soon(l);
}

int wm_ready_keep(struct wm_ready_level *l, const struct wm_ready_made *m)
{
	size_t begin = WM_DNS_HEADER_LEN + m->name_len + 4;
	struct wm_ready *e = &l->scratch;
	int r;

	if (m->len - begin > WM_READY_OCTETS) {
		l->counters[WM_READY_C_LONG]++;
		return -EMSGSIZE;
	}
	memset(e, 0, sizeof(*e));
	e->head = (struct wm_ready_head){
		.sum = sum_of(l, m->source),
		.len = (uint16_t)(m->len - begin),
		.answers = m->answers,
		.authorities = m->authorities,
		.additionals = m->additionals,
		.serial_at = (uint16_t)(m->serial_at ? m->serial_at - begin : 0),
		.name_len = (uint16_t)m->name_len,
		.rcode = m->rcode,
		.turns = m->turns};
	memcpy(e->head.source, m->source, sizeof(e->head.source));
	memcpy(e->name, m->message + WM_DNS_HEADER_LEN, m->name_len);
	memcpy(e->octets, m->message + begin, e->head.len);
	r = l->k.put(l->k.arg, e, m->type);
	if (!r)
		remember(l, m, e->head.sum);
	l->counters[r ? WM_READY_C_REFUSED : WM_READY_C_KEPT]++;
	return r;
}

/* --- life --- */
struct wm_ready_level *wm_ready_new(struct wm_loop *l, const struct wm_ready_config *c)
{
	struct wm_ready_level *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->c = *c;
	r->k = c->kernel;
	TAILQ_INIT(&r->list);
	TAILQ_INIT(&r->room);
	r->names = wm_map_new(r->k.max);
	r->look = wm_timer_new(l, on_look, r);
	if (!r->names || !r->look) {
		wm_ready_free(r);
		return NULL;
	}
	return r;
}

void wm_ready_free(struct wm_ready_level *l)
{
	struct name *n;

	if (!l)
		return;
	while ((n = TAILQ_FIRST(&l->list)))
		forget(l, n);
	wm_timer_free(l->look);
	wm_map_free(l->names);
	free(l);
}

unsigned wm_ready_fill(const struct wm_ready_level *l)
{
	return l ? l->k.fill : 0;
}

const uint64_t *wm_ready_counters(const struct wm_ready_level *l)
{
	return l->counters;
}
