/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - the virtual clock: a heap of events, those of one time in the order in which
 * they were set; and the environment of a node, whose timers are such events. */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>

#define SLOT_MAX  ((1u << 24) - 1)
#define ORDER_MAX ((1ull << 40) - 1) /* events of a run: a year of a thousand nodes */
#define CHILDREN  4 /* of a place in the heap: those of one are in two cache lines */

/* The time lies in the heap itself, and where an event is there in a table beside it: the event is
 * somewhere in the memory of a thousand agents. */
static bool before(const struct sim_due *a, const struct sim_due *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void put(struct sim *s, size_t place, struct sim_due d)
{
	s->heap[place] = d;
	s->places[d.slot] = (uint32_t)place;
}

static void rise(struct sim *s, size_t at, struct sim_due d)
{
	for (; at && before(&d, &s->heap[(at - 1) / CHILDREN]); at = (at - 1) / CHILDREN)
		put(s, at, s->heap[(at - 1) / CHILDREN]);
	put(s, at, d);
}

static void sink(struct sim *s, size_t at, struct sim_due d)
{
	for (size_t first; (first = CHILDREN * at + 1) < s->heap_count;) {
		size_t least = first;

		for (size_t c = first + 1; c < first + CHILDREN && c < s->heap_count; c++)
			if (before(&s->heap[c], &s->heap[least]))
				least = c;
		if (!before(&s->heap[least], &d))
			break;
		put(s, at, s->heap[least]);
		at = least;
	}
	put(s, at, d);
}

void sim_event_init(struct sim_event *e, int node, void (*fn)(void *arg), void *arg)
{
	*e = (struct sim_event){.slot = SIM_IDLE, .fn = fn, .arg = arg, .node = node};
}

void sim_cancel(struct sim *s, struct sim_event *e)
{
	struct sim_due last;
	size_t at;

	if (e->slot == SIM_IDLE)
		return;
	at = s->places[e->slot];
	last = s->heap[--s->heap_count];
	s->slots[s->heap_count] = e->slot;
	e->slot = SIM_IDLE;
	if (last.event == e)
		return;
	if (at && before(&last, &s->heap[(at - 1) / CHILDREN]))
		rise(s, at, last);
	else
		sink(s, at, last);
}

/* Slots below heap_count are in use, the others are listed behind. */
static void grow(struct sim *s)
{
	size_t from = s->heap_cap;

	s->heap_cap = from ? 2 * from : 1024;
	s->heap = realloc(s->heap, s->heap_cap * sizeof(*s->heap));
	s->places = realloc(s->places, s->heap_cap * sizeof(*s->places));
	s->slots = realloc(s->slots, s->heap_cap * sizeof(*s->slots));
	if (!s->heap || !s->places || !s->slots || s->heap_cap > SLOT_MAX)
		abort();
	for (size_t i = from; i < s->heap_cap; i++)
		s->slots[i] = (uint32_t)i;
}

void sim_at(struct sim *s, struct sim_event *e, uint64_t at_ns)
{
	struct sim_due d = {.at_ns = at_ns > s->ns ? at_ns : s->ns,
			    .order = s->orders++ & ORDER_MAX,
			    .event = e};

	sim_cancel(s, e);
	if (s->heap_count == s->heap_cap)
		grow(s);
	e->slot = s->slots[s->heap_count];
	d.slot = e->slot & SLOT_MAX;
	rise(s, s->heap_count++, d);
}

void sim_run(struct sim *s, uint64_t until_ns)
{
	struct sim_event *e;

	while (s->heap_count && s->heap[0].at_ns <= until_ns) {
		s->ns = s->heap[0].at_ns;
		e = s->heap[0].event;
		sim_cancel(s, e);
		if (e->node >= 0 && s->nodes[e->node].paused_ns > s->ns) {
			sim_at(s, e, s->nodes[e->node].paused_ns);
			continue;
		}
		s->events++;
		e->fn(e->arg);
		if (s->ended)
			sim_network_free(s);
	}
	s->ns = until_ns;
}

/* splitmix64, by Steele, Lea and Flood, 2014 */
uint64_t sim_random(struct sim *s)
{
	uint64_t z = (s->random += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

uint64_t sim_below(struct sim *s, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)sim_random(s) * n) >> 64);
}

double sim_unit(struct sim *s)
{
	return (double)(sim_random(s) >> 11) / 9007199254740992.0;
}

/* --- a node's environment --------------------------------------------------------------------- */
struct sim_timer {
	struct wm_env_timer in_env;
	struct sim_node *n;
	struct sim_event event;
};

static uint64_t now_ns(void *arg)
{
	const struct sim_node *n = arg;

	return n->s->ns;
}

static uint64_t wall_ms(void *arg)
{
	const struct sim_node *n = arg;

	return (uint64_t)((int64_t)(SIM_WALL_MS + n->s->ns / WM_NS_PER_MS) + n->clock_ms);
}

static uint64_t random64(void *arg)
{
	const struct sim_node *n = arg;

	return sim_random(n->s);
}

static struct wm_env_timer *timer_new(void *arg, void (*fn)(void *arg), void *fn_arg)
{
	struct sim_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->n = arg;
	t->in_env.env = &t->n->env;
	sim_event_init(&t->event, t->n->at, fn, fn_arg);
	return &t->in_env;
}

static int timer_arm(struct wm_env_timer *in_env, uint64_t ms)
{
	struct sim_timer *t = wm_container_of(in_env, struct sim_timer, in_env);

	sim_at(t->n->s, &t->event, t->n->s->ns + ms * WM_NS_PER_MS);
	return 0;
}

static void timer_disarm(struct wm_env_timer *in_env)
{
	struct sim_timer *t = wm_container_of(in_env, struct sim_timer, in_env);

	sim_cancel(t->n->s, &t->event);
}

static void timer_free(struct wm_env_timer *in_env)
{
	timer_disarm(in_env);
	free(wm_container_of(in_env, struct sim_timer, in_env));
}

void sim_env_init(struct sim *s, struct wm_env *env, int node)
{
	*env = (struct wm_env){.now_ns = now_ns,
			       .wall_ms = wall_ms,
			       .random64 = random64,
			       .timer_new = timer_new,
			       .timer_arm = timer_arm,
			       .timer_disarm = timer_disarm,
			       .timer_free = timer_free,
			       .arg = &s->nodes[node]};
}
