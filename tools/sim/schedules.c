/* SPDX-License-Identifier: Apache-2.0 */
/* schedules.c - random schedules: nodes are cut from each other in any shape, one way too, they are
 * killed, started again, lose their stores, and register and deregister all the while. Then the
 * network is whole and all run, and it is measured until all have the same; what they have then is
 * compared with what each owner has. */
#include "sim_objects.h"

#include <stdlib.h>
#include <string.h>

#define STEP_MS	  100
#define CUT_PCT	  4  /* of steps that begin with other cuts, */
#define KILL_PCT  3  /* with a node that is killed, */
#define START_PCT 8  /* or one started again, */
#define LOSE_PCT  20 /* of these without its store */
#define GROUPS	  4
#define LOOK_MS	  20	/* how often it is looked whether all are the same */
#define GIVE_UP	  60000 /* milliseconds */

/* Groups of nodes; each may be cut from each other, in one direction or both. */
static void cut_some(struct sim *s)
{
	memset(s->cut, 0, sizeof(s->cut));
	for (int i = 0; i < s->count; i++)
		s->nodes[i].group = (unsigned)sim_below(s, GROUPS);
	for (unsigned a = 0; a < GROUPS; a++)
		for (unsigned b = 0; b < GROUPS; b++)
			s->cut[a][b] = a != b && sim_below(s, 2);
	sim_changed(s);
}

static void step(struct sim *s, unsigned *mark)
{
	uint64_t dice = sim_below(s, 100);
	struct sim_node *n = &s->nodes[sim_below(s, (uint64_t)s->count)];

	if (s->trace && dice < CUT_PCT + KILL_PCT + START_PCT)
		fprintf(stderr, "sim: %llu ms: %s %d\n", (unsigned long long)(s->ns / WM_NS_PER_MS),
			dice < CUT_PCT		    ? "cut"
			: dice < CUT_PCT + KILL_PCT ? "kill"
						    : "start",
			n->at);
	if (dice < CUT_PCT) {
		cut_some(s);
	} else if (dice < CUT_PCT + KILL_PCT) {
		if (n->alive)
			sim_node_stop(s, n->at, sim_below(s, 2));
		sim_changed(s);
	} else if (dice < CUT_PCT + KILL_PCT + START_PCT) {
		if (n->alive)
			return;
		if (sim_below(s, 100) < LOSE_PCT) {
			if (s->trace)
				fprintf(stderr, "sim: node %d lost its store\n", n->at);
			sim_objects_lose(n);
		}
		if (sim_node_start(s, n->at))
			abort();
		sim_changed(s);
	} else if (n->alive) {
		if (sim_below(s, 3))
			sim_objects_put(n, (unsigned)sim_below(s, SIM_KEYS / 4), s->c.payload,
					++*mark);
		else
			sim_objects_del(n, (unsigned)sim_below(s, SIM_KEYS / 4));
	}
}

static void heal(struct sim *s)
{
	memset(s->cut, 0, sizeof(s->cut));
	for (int i = 0; i < s->count; i++)
		if (!s->nodes[i].alive && sim_node_start(s, i))
			abort();
	sim_changed(s);
}

static int by_number(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int sim_schedules(struct sim *s, struct sim_figures *ret)
{
	unsigned long risen, lost, risen_all = 0, lost_all = 0;
	double *took = calloc(s->c.schedules, sizeof(*took));
	unsigned mark = 0, late = 0;

	if (!took)
		return -1;
	sim_run(s, s->ns + 5000 * WM_NS_PER_MS);
	for (unsigned i = 0; i < s->c.schedules; i++) {
		uint64_t ends = s->ns + s->c.schedule_ms * WM_NS_PER_MS, healed;

		while (s->ns < ends) {
			step(s, &mark);
			sim_run(s, s->ns + sim_below(s, 2 * STEP_MS) * WM_NS_PER_MS);
		}
		heal(s);
		healed = s->ns;
		do {
			sim_run(s, s->ns + LOOK_MS * WM_NS_PER_MS);
			if (s->trace && (s->ns - healed) / WM_NS_PER_MS % 1000 < LOOK_MS)
				sim_objects_tell(s);
		} while (!sim_objects_equal(s) && s->ns - healed < GIVE_UP * WM_NS_PER_MS);
		took[i] = (double)(s->ns - healed) / 1e6;
		late += took[i] > s->c.heal_ms;
		sim_objects_compare(s, &risen, &lost);
		risen_all += risen;
		lost_all += lost;
		if (took[i] > s->c.heal_ms || risen || lost)
			fprintf(stderr, "sim: schedule %u: %.0f ms, risen %lu, lost %lu\n", i,
				took[i], risen, lost);
	}
	qsort(took, s->c.schedules, sizeof(*took), by_number);
	sim_figure(ret, "schedules", s->c.schedules);
	sim_figure(ret, "writes", mark);
	sim_figure(ret, "heal_p50_ms", took[s->c.schedules / 2]);
	sim_figure(ret, "heal_p99_ms", took[s->c.schedules * 99 / 100]);
	sim_figure(ret, "heal_worst_ms", took[s->c.schedules - 1]);
	sim_figure(ret, "late", late);
	sim_figure(ret, "risen", (double)risen_all);
	sim_figure(ret, "lost", (double)lost_all);
	free(took);
	return 0;
}
