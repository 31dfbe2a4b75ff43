/* SPDX-License-Identifier: Apache-2.0 */
/* watch.c - who is taken for failed. Agents are killed and started again, some stand still; how
 * long it takes until each of the others knows of a death, whether one is taken for dead that is
 * not, and what all that costs on the wire. The processor's time is told on stderr, as it is not of
 * the seed. */
#include "sim.h"

#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>

#define HOUR_NS	  (3600 * WM_NS_PER_S) /* after each it is told how it stands */
#define STEP_MS	  100
#define SETTLE_MS 10000 /* until news of the beginning is no more on its way */

struct death {
	uint64_t ns;
	int at;
	bool over;
	uint8_t *known; /* by each node: 1: it is to find out, 2: it did */
};
struct sim_watch {
	struct death *deaths;
	unsigned deaths_count;
	uint64_t *took_ns, *last_ns;
	size_t took_count;
	unsigned long healthy, overloaded, missed; /* taken for failed, and are not; the reverse */
};
struct totals {
	struct wm_member_stats core;
	unsigned long long wire_octets, datagrams, state_octets;
	unsigned long events;
};

/* --- what the memberships say ----------------------------------------------------------------- */
void sim_watch_failed(struct sim *s, int a, int b, uint32_t incarnation)
{
	struct sim_watch *w = s->watch;
	const struct sim_node *n = &s->nodes[b];
	struct death *d;

	if (!w)
		return;
	if (n->alive) {
		if (incarnation < n->incarnation)
			return; /* of its former life */
		if (s->trace)
			fprintf(stderr, "sim: %llu ms: node %d takes %d for failed\n",
				(unsigned long long)(s->ns / WM_NS_PER_MS), a, b);
		if (n->overloaded)
			w->overloaded++;
		else
			w->healthy++;
		return;
	}
	if (!n->killed)
		return;
	d = &w->deaths[n->killed - 1];
	if (d->known[a] != 1)
		return;
	d->known[a] = 2;
	w->took_ns[w->took_count++] = s->ns - d->ns;
	w->last_ns[n->killed - 1] = s->ns - d->ns;
}

static void sum(const struct sim *s, struct totals *ret)
{
	struct wm_member_stats one;

	*ret = (struct totals){.wire_octets = s->wire_octets,
			       .datagrams = s->datagrams,
			       .state_octets = s->state_octets,
			       .events = s->events};
	for (int i = 0; i < s->count; i++) {
		if (!s->nodes[i].alive)
			continue;
		wm_members_stats(s->nodes[i].members, &one);
#define X(name, help) ret->core.name += one.name;
		WM_MEMBER_COUNTERS(X)
#undef X
		ret->core.awareness += one.awareness;
	}
}

/* --- what happens ----------------------------------------------------------------------------- */
static void kill_one(struct sim *s)
{
	struct sim_watch *w = s->watch;
	struct death *d = &w->deaths[w->deaths_count];

	do
		d->at = (int)sim_below(s, (uint64_t)s->count);
	while (!s->nodes[d->at].alive || s->nodes[d->at].paused_ns > s->ns);
	d->ns = s->ns;
	for (int i = 0; i < s->count; i++)
		d->known[i] = i != d->at && s->nodes[i].alive;
	if (s->trace)
		fprintf(stderr, "sim: %llu ms: kill %d\n",
			(unsigned long long)(s->ns / WM_NS_PER_MS), d->at);
	sim_node_stop(s, d->at, s->c.kill_silent);
	s->nodes[d->at].killed = ++w->deaths_count;
}

/* One that is started again was known to be dead to all that were there all the time. */
static void end_of(struct sim *s, struct death *d)
{
	for (int i = 0; i < s->count; i++)
		s->watch->missed +=
			d->known[i] == 1 && s->nodes[i].alive && s->nodes[i].started_ns <= d->ns;
	d->over = true;
	if (sim_node_start(s, d->at))
		abort();
}

static void kill_and_start(struct sim *s, uint64_t began_ns)
{
	struct sim_watch *w = s->watch;

	if (w->deaths_count < s->c.kills &&
	    s->ns - began_ns >= (w->deaths_count + 1ull) * s->c.kill_every_ms * WM_NS_PER_MS)
		kill_one(s);
	for (unsigned i = 0; i < w->deaths_count; i++)
		if (!w->deaths[i].over && s->ns - w->deaths[i].ns >= s->c.down_ms * WM_NS_PER_MS)
			end_of(s, &w->deaths[i]);
}

static void pause_some(struct sim *s)
{
	double mean = (s->c.pause_min_ms + (double)s->c.pause_max_ms) / 2;
	double each = s->c.nodes * (double)s->c.pause_pct / 100 * STEP_MS / fmax(mean, 1);
	unsigned count = (unsigned)each + (sim_unit(s) < each - (unsigned)each);

	for (; count; count--) {
		int at = (int)sim_below(s, (uint64_t)s->count);

		if (s->nodes[at].paused_ns <= s->ns && !s->nodes[at].overloaded)
			sim_pause(s, at);
	}
}

/* It runs for a while, and stands still for a while. */
static void on_stall(void *arg)
{
	struct sim_node *n = arg;
	struct sim *s = n->s;
	uint64_t still = sim_below(s, 2 * s->c.still_ms * WM_NS_PER_MS);
	uint64_t runs = sim_below(s, 2 * s->c.runs_ms * WM_NS_PER_MS);

	if (n->alive)
		n->paused_ns = s->ns + still;
	sim_at(s, &n->stall, s->ns + still + runs);
}

static void overload(struct sim *s)
{
	for (unsigned left = s->c.nodes * s->c.overloaded_pct / 100; left; left--) {
		struct sim_node *n;

		do
			n = &s->nodes[sim_below(s, (uint64_t)s->count)];
		while (n->overloaded);
		n->overloaded = true;
		sim_event_init(&n->stall, -1, on_stall, n);
		sim_at(s, &n->stall, s->ns + sim_below(s, 2 * s->c.still_ms * WM_NS_PER_MS));
	}
}

static double cpu_s(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* --- figures ---------------------------------------------------------------------------------- */
static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double ms_of(const uint64_t *list, size_t count, unsigned pct)
{
	return count ? (double)list[pct < 100 ? count * pct / 100 : count - 1] / 1e6 : 0;
}

static void figures_of(struct sim *s, const struct totals *before, struct sim_figures *ret)
{
	struct sim_watch *w = s->watch;
	struct totals now;
	double node_s = (double)s->c.watch_s * s->count;

	sum(s, &now);
	qsort(w->took_ns, w->took_count, sizeof(*w->took_ns), by_number);
	qsort(w->last_ns, w->deaths_count, sizeof(*w->last_ns), by_number);
	sim_figure(ret, "hours", s->c.watch_s / 3600.0);
	sim_figure(ret, "deaths", w->deaths_count);
	sim_figure(ret, "found_p50_ms", ms_of(w->took_ns, w->took_count, 50));
	sim_figure(ret, "found_p99_ms", ms_of(w->took_ns, w->took_count, 99));
	sim_figure(ret, "found_worst_ms", ms_of(w->took_ns, w->took_count, 100));
	sim_figure(ret, "last_p50_ms", ms_of(w->last_ns, w->deaths_count, 50));
	sim_figure(ret, "not_found", (double)w->missed);
	sim_figure(ret, "false_failures", (double)w->healthy);
	sim_figure(ret, "overloaded_failed", (double)w->overloaded);
	sim_figure(ret, "octets_s",
		   (double)(now.wire_octets - before->wire_octets + now.state_octets -
			    before->state_octets) /
			   node_s);
	sim_figure(ret, "datagram_octets_s",
		   (double)(now.wire_octets - before->wire_octets) / node_s);
	sim_figure(ret, "state_octets_s",
		   (double)(now.state_octets - before->state_octets) / node_s);
	sim_figure(ret, "datagrams_s", (double)(now.datagrams - before->datagrams) / node_s);
	sim_figure(ret, "suspicions_s",
		   (double)(now.core.suspicions - before->core.suspicions) / node_s * s->count);
	sim_figure(ret, "refutations", (double)(now.core.refutations - before->core.refutations));
	sim_figure(ret, "awareness", (double)now.core.awareness / s->count);
}

static int make_watch(struct sim *s)
{
	struct sim_watch *w = calloc(1, sizeof(*w));
	size_t kills = s->c.kills + 1ul;

	s->watch = w;
	if (!w)
		return -1;
	w->deaths = calloc(kills, sizeof(*w->deaths));
	w->took_ns = calloc(kills * s->c.nodes, sizeof(*w->took_ns));
	w->last_ns = calloc(kills, sizeof(*w->last_ns));
	if (!w->deaths || !w->took_ns || !w->last_ns)
		return -1;
	for (unsigned i = 0; i < s->c.kills; i++) {
		w->deaths[i].known = calloc(s->c.nodes, 1);
		if (!w->deaths[i].known)
			return -1;
	}
	return 0;
}

static void free_watch(struct sim *s)
{
	struct sim_watch *w = s->watch;

	for (int i = 0; i < s->count; i++)
		if (s->nodes[i].overloaded)
			sim_cancel(s, &s->nodes[i].stall);
	for (unsigned i = 0; i < s->c.kills; i++)
		free(w->deaths[i].known);
	free(w->deaths);
	free(w->took_ns);
	free(w->last_ns);
	free(w);
	s->watch = NULL;
}

int sim_watch(struct sim *s, struct sim_figures *ret)
{
	struct totals before;
	uint64_t began, ends;
	double cpu;

	if (make_watch(s))
		return -1;
	sim_run(s, s->ns + SETTLE_MS * WM_NS_PER_MS);
	overload(s);
	sum(s, &before);
	began = s->ns;
	ends = began + s->c.watch_s * WM_NS_PER_S;
	cpu = cpu_s();
	while (s->ns < ends) {
		pause_some(s);
		kill_and_start(s, began);
		sim_run(s, s->ns + STEP_MS * WM_NS_PER_MS);
		if ((s->ns - began) % HOUR_NS == 0)
			fprintf(stderr, "sim: %llu h: %lu false failures, %.0f s of CPU\n",
				(unsigned long long)((s->ns - began) / HOUR_NS), s->watch->healthy,
				cpu_s() - cpu);
	}
	cpu = cpu_s() - cpu;
	fprintf(stderr, "sim: %.1f s of CPU, %.5f %% of one a node, %lu events\n", cpu,
		cpu * 100 / ((double)s->c.watch_s * s->count), s->events - before.events);
	figures_of(s, &before, ret);
	free_watch(s);
	return 0;
}
