/* SPDX-License-Identifier: Apache-2.0 */
/* leaves.c - a mesh of a few full members and many leaves: the membership's, the leaf's and its
 * home's cores, and what they say to each other over streams. The instances are one table that all
 * full members have, made when it is asked for. Only the observed leaves know all members; the
 * others know the full ones, whom they probe, as ten thousand tables of ten thousand members have
 * no room in one process. Whole states are too rare for a scenario: their octets are computed. */
#include "sim.h"
#include "userspace/sync/interest.pb-c.h"
#include "userspace/sync/interest_serve.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_OF 24
#define START_MS    10000 /* in which leaves begin, drawn */
#define SETTLE_MS   20000
#define LIST_MAX    256 /* instances of a service */

struct sim_leaf {
	struct sim_node *n;
	struct wm_interest *interest; /* of a leaf */
	struct wm_serve *serve;	      /* of a full member */
	struct sim_event begin;
	uint64_t asked_ns, took_ns;
	unsigned long questions, wholes; /* that a full member got, and sent */
};

bool sim_is_leaf(const struct sim *s, int at)
{
	return s->c.fulls && at >= (int)s->c.fulls;
}

bool sim_knows_all(const struct sim *s, int at)
{
	return !sim_is_leaf(s, at) || at < (int)(s->c.fulls + s->c.observed);
}

static void name_of(char *ret, uint64_t service)
{
	(void)snprintf(ret, NAME_MAX_OF, "service-%llu", (unsigned long long)service);
}

/* --- of a leaf -------------------------------------------------------------------------------- */
static bool home(void *arg, const struct wm_peer_id *before, struct wm_peer_id *ret)
{
	const struct sim_leaf *l = arg;
	const struct wm_member *m, *best = NULL;
	unsigned others = 0;
	size_t pos = 0;

	while ((m = wm_members_next(l->n->members, &pos)))
		if (!m->self && m->role == WM_MEMBER_FULL && m->state == WM_MEMBER_ALIVE &&
		    !wm_peer_id_same(&m->id, before) && !sim_below(l->n->s, ++others))
			best = m;
	if (best)
		*ret = best->id;
	return best;
}

static void ask(void *arg, const struct wm_peer_id *to, const char *name, uint32_t number, bool end)
{
	const struct sim_leaf *l = arg;
	Waymark__Interest__Ask a;
	uint8_t packed[128];

	waymark__interest__ask__init(&a);
	a.name = (char *)(uintptr_t)name;
	a.number = number;
	a.end = end;
	sim_send(l->n->s, l->n->at, sim_node_of(l->n->s, to), SIM_ASK, packed,
		 waymark__interest__ask__pack(&a, packed));
}

static void drop(void *arg, const char *service)
{
	(void)arg;
	(void)service;
}

static void answered(void *arg, int code)
{
	struct sim_leaf *l = arg;

	if (!code)
		l->took_ns = l->n->s->ns - l->asked_ns;
}

static void on_begin(void *arg)
{
	struct sim_leaf *l = arg;
	struct sim *s = l->n->s;
	char name[NAME_MAX_OF];

	if (wm_interest_start(l->interest))
		abort();
	for (unsigned i = 0; i < s->c.interests; i++) {
		name_of(name, sim_below(s, s->c.services));
		if (wm_interest_lookup(l->interest, name, NULL, NULL) < 0)
			abort();
	}
}

/* --- of a full member ------------------------------------------------------------------------- */
static uint32_t whole(void *arg, const struct wm_peer_id *leaf, const char *service)
{
	static Waymark__Interest__Item items[LIST_MAX], *list[LIST_MAX];
	static uint8_t object[4096], packed[1u << 20];
	static char ids[LIST_MAX][NAME_MAX_OF];
	struct sim_leaf *l = arg;
	struct sim *s = l->n->s;
	Waymark__Interest__News n;

	l->wholes++;
	waymark__interest__news__init(&n);
	n.name = (char *)(uintptr_t)service;
	n.number = 1;
	n.first = n.last = true;
	n.items = list;
	n.n_items = s->c.instances;
	for (unsigned i = 0; i < s->c.instances; i++) {
		struct wm_peer_id *origin = &s->nodes[sim_below(s, s->c.nodes)].id;

		waymark__interest__item__init(&items[i]);
		(void)snprintf(ids[i], sizeof(ids[i]), "instance-%u", i);
		items[i].origin = (ProtobufCBinaryData){sizeof(*origin), origin->octets};
		items[i].id = ids[i];
		items[i].epoch = 1;
		items[i].seq = 1000 + i;
		items[i].object = (ProtobufCBinaryData){s->c.payload, object};
		list[i] = &items[i];
	}
	sim_send(s, l->n->at, sim_node_of(s, leaf), SIM_NEWS_OF, packed,
		 waymark__interest__news__pack(&n, packed));
	return 1;
}

static void changes(void *arg, const struct wm_peer_id *leaf, const char *service, uint32_t number,
		    const struct wm_serve_change *c, unsigned count)
{
	(void)arg, (void)leaf, (void)service, (void)number, (void)c, (void)count;
	abort(); /* nothing changes here */
}

static void refuse(void *arg, const struct wm_peer_id *leaf, const char *name)
{
	(void)arg, (void)leaf;
	fprintf(stderr, "sim: a full member refuses %s\n", name);
	abort();
}

void sim_leaves_frame(struct sim *s, int at, int from, const void *p, size_t len)
{
	struct sim_leaf *l = s->nodes[at].leaf;
	const struct wm_peer_id *id = &s->nodes[from].id;

	if (l->serve) {
		Waymark__Interest__Ask *a = waymark__interest__ask__unpack(NULL, len, p);

		if (!a || wm_serve_asked(l->serve, id, a->name, a->number, a->end))
			abort();
		l->questions++;
		waymark__interest__ask__free_unpacked(a, NULL);
	} else {
		Waymark__Interest__News *n = waymark__interest__news__unpack(NULL, len, p);

		if (!n)
			abort();
		if (wm_interest_message(l->interest, id, n->name, n->number, n->first))
			wm_interest_whole(l->interest, n->name, true);
		waymark__interest__news__free_unpacked(n, NULL);
	}
}

/* --- measured --------------------------------------------------------------------------------- */
static int make(struct sim_node *n)
{
	struct sim_leaf *l = calloc(1, sizeof(*l));
	struct wm_interest_config i = {.env = &n->env,
				       .ttl_ms = 24ull * 3600 * 1000,
				       .arg = l,
				       .home = home,
				       .ask = ask,
				       .drop = drop};
	struct wm_serve_config f = {
		.env = &n->env, .arg = l, .whole = whole, .changes = changes, .refuse = refuse};

	n->leaf = l;
	if (!l)
		return -1;
	l->n = n;
	sim_event_init(&l->begin, n->at, on_begin, l);
	if (!sim_is_leaf(n->s, n->at)) {
		l->serve = wm_serve_new(&f);
		return l->serve ? 0 : -1;
	}
	l->interest = wm_interest_new(&i);
	sim_at(n->s, &l->begin, n->s->ns + sim_below(n->s, START_MS) * WM_NS_PER_MS);
	return l->interest ? 0 : -1;
}

static void unmake(struct sim_node *n)
{
	sim_cancel(n->s, &n->leaf->begin);
	wm_interest_free(n->leaf->interest);
	wm_serve_free(n->leaf->serve);
	free(n->leaf);
	n->leaf = NULL;
}

struct load {
	double in_s, out_s, questions_s; /* of one, octets and questions a second */
};

static struct load load_of(const struct sim *s, int from, int to)
{
	double all = (double)(to - from) * s->c.watch_s;
	struct load ret = {0};

	for (int i = from; i < to; i++) {
		ret.in_s += (double)s->nodes[i].in_octets / all;
		ret.out_s += (double)s->nodes[i].out_octets / all;
		ret.questions_s += (double)s->nodes[i].leaf->questions / all;
	}
	return ret;
}

/* What exchanges of whole states come to: each node begins one in an interval, and is met once. */
static double states_s(const struct sim *s)
{
	struct wm_buf b;
	double ret;

	wm_buf_init(&b, SIZE_MAX);
	if (wm_members_state(s->nodes[0].members, &b))
		abort();
	ret = 2000.0 * (double)b.len /
	      (double)wm_members_push_pull_ms(s->nodes[0].members, s->c.push_pull_ms);
	wm_buf_done(&b);
	return ret;
}

static void ask_unknown(struct sim *s, struct sim_figures *ret)
{
	int first = (int)s->c.fulls, end = first + (int)s->c.observed;
	uint64_t worst = 0, sum = 0;
	char name[NAME_MAX_OF];
	unsigned none = 0;

	for (int i = first; i < end; i++) {
		struct sim_leaf *l = s->nodes[i].leaf;

		name_of(name, s->c.services + (unsigned)i); /* nobody has asked for it */
		l->asked_ns = s->ns;
		if (wm_interest_lookup(l->interest, name, answered, l) != 1)
			abort();
		sim_run(s, s->ns + 200 * WM_NS_PER_MS);
		none += !l->took_ns;
		sum += l->took_ns;
		worst = l->took_ns > worst ? l->took_ns : worst;
	}
	sim_figure(ret, "question_mean_ms", (double)sum / 1e6 / (end - first));
	sim_figure(ret, "question_worst_ms", (double)worst / 1e6);
	sim_figure(ret, "not_answered", none);
}

int sim_leaves(struct sim *s, struct sim_figures *ret)
{
	int fulls = (int)s->c.fulls, known = fulls + (int)s->c.observed;
	struct wm_serve_stats serves;
	struct load leaf, full;

	for (int i = 0; i < s->count; i++)
		if (make(&s->nodes[i]))
			return -1;
	sim_run(s, s->ns + (START_MS + SETTLE_MS) * WM_NS_PER_MS);
	for (int i = 0; i < s->count; i++) {
		s->nodes[i].in_octets = s->nodes[i].out_octets = 0;
		s->nodes[i].leaf->questions = s->nodes[i].leaf->wholes = 0;
	}
	sim_run(s, s->ns + s->c.watch_s * WM_NS_PER_S);
	leaf = load_of(s, fulls, known);
	full = load_of(s, 0, fulls);
	wm_serve_stats(s->nodes[0].leaf->serve, &serves);
	sim_figure(ret, "leaf_in_octets_s", leaf.in_s + states_s(s));
	sim_figure(ret, "leaf_out_octets_s", leaf.out_s + states_s(s));
	sim_figure(ret, "leaf_octets_s", leaf.in_s + leaf.out_s + 2 * states_s(s));
	sim_figure(ret, "of_states_octets_s", 2 * states_s(s));
	sim_figure(ret, "full_in_octets_s", full.in_s + states_s(s));
	sim_figure(ret, "full_out_octets_s", full.out_s + states_s(s));
	sim_figure(ret, "full_renewals_s", full.questions_s);
	sim_figure(ret, "full_leaves", serves.leaves);
	sim_figure(ret, "full_subscriptions", serves.subscriptions);
	ask_unknown(s, ret);
	for (int i = 0; i < s->count; i++)
		unmake(&s->nodes[i]);
	return 0;
}
