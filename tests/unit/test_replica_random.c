/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security sync */
/* test_replica_random.c - two to eight agents that write, remove, are cut off from each other,
 * stop, lose their store, or come back with an old one, on a network that loses, doubles and
 * reorders; all from a seed. Beside them a slow model: the newest write of each object that any
 * store still has. When the network is whole again all must come to it, within seconds, and nothing
 * that was removed may be there. WM_SEEDS: how many schedules (12), WM_SEED: the first. */
#include "replica_net.h"

#define KEYS 12

static struct wm_map *truth; /* newest of each shared object */

static bool newer(const struct wm_replica_change *a, const struct wm_replica_change *b,
		  const struct wm_merge_rule *rule)
{
	const struct wm_merge_side x = {.version = a->version,
					.writer = a->origin,
					.semver = a->semver,
					.gone = a->gone},
				   y = {.version = b->version,
					.writer = b->origin,
					.semver = b->semver,
					.gone = b->gone};

	return rule->cmp(&x, &y) > 0;
}

static void learn(const struct net *n, const struct record *rec)
{
	struct record *old = wm_map_get(truth, rec->name, rec->name_len);

	if (old && !newer(&rec->c, &old->c, n->rule))
		return;
	record_put(truth, &rec->c);
	if (old)
		record_free(old);
}

/* What no store has any more nobody can tell. */
static void learn_anew(const struct net *n)
{
	store_free(truth);
	truth = wm_map_new(NET_OBJECTS);
	for (unsigned i = 0; i < n->count; i++) {
		struct record *rec;
		size_t pos = 0;

		while ((rec = wm_map_next(n->a[i].store, &pos)))
			if (rec->shared)
				learn(n, rec);
	}
}

static void write_own(struct net *n, struct agent *a)
{
	char id[16], text[64];

	snprintf(id, sizeof(id), "i%u", (unsigned)net_below(n, KEYS));
	snprintf(text, sizeof(text), "%s of %u at %llu", id, a->id.octets[15],
		 (unsigned long long)net_below(n, 1u << 30));
	if (net_below(n, 3) && has(a, a, id))
		del(a, id);
	else
		put(a, id, text);
}

static void write_shared(struct net *n, struct agent *a)
{
	static const char *const nodes[] = {"shale", "slate"};
	const char *node = nodes[net_below(n, 2)];
	static const char *const semver[] = {NULL, "1.0.0", "1.2.0", "2.0.0"};
	char id[16], text[64], key[64];
	const struct wm_replica_key k = {key, 0};
	struct wm_replica_key named = k;

	snprintf(id, sizeof(id), "s%u", (unsigned)net_below(n, KEYS));
	snprintf(text, sizeof(text), "%s by %u at %llu", id, a->id.octets[15],
		 (unsigned long long)net_below(n, 1u << 30));
	named.len = shared_key(key, node, id);
	if (net_below(n, 3) && has_shared(a, node, id)) {
		const struct record *rec = record_get(a, NULL, true, &named);
		char *had = rec->c.semver ? strdup(rec->c.semver) : NULL;

		shared_write(a, node, id, NULL, had, rec->c.version.priority);
		free(had);
	} else {
		shared_write(a, node, id, text, semver[net_below(n, 4)], (uint32_t)net_below(n, 3));
	}
	learn(n, record_get(a, NULL, true, &named));
}

static void cut(struct net *n)
{
	unsigned side = (unsigned)net_below(n, 1u << n->count);

	for (unsigned i = 0; i < n->count; i++)
		for (unsigned j = 0; j < n->count; j++)
			n->cut[i][j] = i != j && (side >> i & 1) != (side >> j & 1);
}

static void land(struct net *n) /* what is in the air does not arrive */
{
	struct frame *f, *next;

	for (f = LIST_FIRST(&n->flying); f; f = next) {
		next = LIST_NEXT(f, entry);
		if (f->number)
			frame_free(f);
	}
}

struct old {
	struct wm_map *store;
	uint32_t epoch;
	uint64_t seq, clock;
};

static void lose(struct net *n, struct agent *a, struct old *was)
{
	bool ran = a->r != NULL;

	agent_stop(a);
	land(n);
	store_free(a->store);
	a->seq = was->store ? was->seq : 0;
	a->clock = was->store ? was->clock : 0;
	if (was->store)
		a->epoch = was->epoch;
	else
		a->epoch = (uint32_t)(wm_env_wall_ms(&n->v.env) / 1000) + 1;
	a->store = was->store ? store_copy(was->store) : wm_map_new(NET_OBJECTS);
	learn_anew(n);
	if (ran)
		agent_start(a);
}

static void keep(struct agent *a, struct old *was)
{
	if (was->store)
		store_free(was->store);
	*was = (struct old){store_copy(a->store), a->epoch, a->seq, a->clock};
}

static void step(struct net *n, struct old *was)
{
	unsigned i = (unsigned)net_below(n, n->count), what = (unsigned)net_below(n, 100);
	struct agent *a = &n->a[i];

	if (what < 45 && a->r)
		write_own(n, a);
	else if (what < 75 && a->r)
		write_shared(n, a);
	else if (what < 80)
		cut(n);
	else if (what < 86)
		memset(n->cut, 0, sizeof(n->cut));
	else if (what < 89)
		agent_stop(a);
	else if (what < 93 && !a->r)
		agent_start(a);
	else if (what < 95)
		keep(a, &was[i]);
	else if (what < 96)
		lose(n, a, &(struct old){0});
	else if (what < 97 && was[i].store)
		lose(n, a, &was[i]);
	else if (what < 98)
		a->offset_ms = (int64_t)net_below(n, 4000) - 2000;
	else if (what < 99)
		a->busy = (int)net_below(n, 4);
	else
		net_drop_link(n, i, (i + 1) % n->count);
}

static void check_shared(const struct net *n)
{
	struct record *rec;
	size_t pos = 0;

	while ((rec = wm_map_next(truth, &pos)))
		for (unsigned i = 0; i < n->count; i++) {
			struct record *here = wm_map_get(n->a[i].store, rec->name, rec->name_len);
			bool there = here && !here->c.gone;

			cr_assert_eq(there, !rec->c.gone, "%s %s at %u: %s", rec->name + 16,
				     rec->name + 17 + strlen(rec->name + 16), i,
				     there ? "the dead is back" : "a write is lost");
			cr_assert(!there || (here->c.len == rec->c.len &&
					     !memcmp(here->object, rec->object, rec->c.len)));
		}
}

static void schedule(uint64_t seed, bool proofs)
{
	const char *const rules[] = {"hlc", "hlc", "hlc", "semver", "priority"};
	struct net *n = net_new(2 + (unsigned)(seed % 7), seed);
	struct old was[NET_NODES] = {0};
	uint64_t ms;

	n->rule = wm_merge_rule(rules[net_below(n, 5)]);
	n->brake_pct = 100;
	n->loss_pct = (unsigned)net_below(n, 40);
	n->twice_pct = (unsigned)net_below(n, 30);
	n->delay_ms = 1 + (unsigned)net_below(n, 40);
	if (n->count > 4) /* a ring with chords, so that news has relays */
		for (unsigned i = 0; i < n->count; i++)
			for (unsigned j = 0; j < n->count; j++)
				n->wanted[i][j] = (i + 1) % n->count == j ||
						  (j + 1) % n->count == i ||
						  (i != j && (i ^ j) == 4);
	truth = wm_map_new(NET_OBJECTS);
	if (proofs)
		net_prove(n);
	net_start(n);
	for (unsigned s = 0; s < 400; s++) {
		step(n, was);
		net_pass(n, net_below(n, 4) ? net_below(n, 30) : net_below(n, 600));
	}
	memset(n->cut, 0, sizeof(n->cut));
	for (unsigned i = 0; i < n->count; i++) {
		n->a[i].busy = 0;
		n->a[i].offset_ms = 0;
		if (!n->a[i].r)
			agent_start(&n->a[i]);
	}
	ms = net_settle(n, 60000);
	if (ms >= 60000)
		net_show(n);
	cr_assert_lt(ms, 60000, "seed %llu: not equal", (unsigned long long)seed);
	if (getenv("WM_VERBOSE"))
		fprintf(stderr, "seed %llu: %u agents, equal after %llu ms\n",
			(unsigned long long)seed, n->count, (unsigned long long)ms);
	net_check(n);
	check_shared(n);
	cr_assert_eq(n->refused, 0, "seed %llu: a message was refused: %s",
		     (unsigned long long)seed, n->why);
	for (unsigned i = 0; i < n->count; i++)
		if (was[i].store)
			store_free(was[i].store);
	store_free(truth);
	net_free(n);
}

static void schedules(bool proofs)
{
	const char *seed = getenv("WM_SEED"), *seeds = getenv("WM_SEEDS");
	uint64_t first = seed ? strtoull(seed, NULL, 0) : 1;
	uint64_t count = seeds ? strtoull(seeds, NULL, 0) : 12;

	for (uint64_t s = first; s < first + count; s++)
		schedule(s, proofs);
}

Test(replica_random, all_come_to_the_newest_of_what_is_left, .timeout = 600)
{
	schedules(false);
}

/* The same, where logs are taken only as their agents proved them. */
Test(replica_random, all_come_to_what_is_proved, .timeout = 600)
{
	schedules(true);
}
