/* SPDX-License-Identifier: Apache-2.0 */
/* measure.c - messages of single nodes, and when they come to all others. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

void sim_figure(struct sim_figures *f, const char *name, double value)
{
	struct sim_figure *to = &f->list[f->count++];

	(void)snprintf(to->name, sizeof(to->name), "%s", name);
	to->value = value;
}

void sim_reached(struct sim *s, unsigned n)
{
	uint64_t took;

	if (n < s->c.warm || n >= s->c.warm + s->c.messages)
		return;
	took = s->ns - s->said_ns[n];
	if (s->took_count == s->took_cap)
		return; /* more than all: counted as such by reached[] */
	s->took_ns[s->took_count++] = took;
	s->reached[n]++;
	if (took > s->last_ns[n])
		s->last_ns[n] = took;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double ms_at(const uint64_t *list, size_t count, double part)
{
	size_t at = (size_t)(part * (double)count);

	if (!count)
		return 0;
	return (double)list[at < count ? at : count - 1] / 1e6;
}

/* Counters of all nodes. */
static void sum(const struct sim *s, struct wm_spread_stats *ret)
{
	struct wm_spread_stats one;

	memset(ret, 0, sizeof(*ret));
	for (int i = 0; i < s->count; i++) {
		if (!s->nodes[i].alive)
			continue;
		wm_spread_stats(s->nodes[i].spread, &one);
#define X(name, help) ret->name += one.name;
		WM_SPREAD_COUNTERS(X)
#undef X
		ret->eager += one.eager;
		ret->lazy += one.lazy;
	}
}

static int any_alive(struct sim *s)
{
	int at;

	do
		at = (int)sim_below(s, (uint64_t)s->count);
	while (!s->nodes[at].alive || s->nodes[at].paused_ns > s->ns);
	return at;
}

/* --- what happens meanwhile ------------------------------------------------------------------- */
static void pause_some(struct sim *s)
{
	unsigned n = s->c.pause_ms ? (unsigned)s->count * s->c.pause_pct / 100 : 0;
	double each = n * (double)s->c.interval_ms / (s->c.pause_ms ? s->c.pause_ms : 1);
	unsigned count = (unsigned)each + (sim_unit(s) < each - (unsigned)each);

	for (; count; count--) {
		struct sim_node *node = &s->nodes[sim_below(s, (uint64_t)s->count)];

		node->paused_ns = s->ns + sim_below(s, 2ull * s->c.pause_ms) * WM_NS_PER_MS;
	}
}

static void churn(struct sim *s)
{
	int at;

	if (sim_unit(s) * 60000 >= (double)s->c.churn_per_min * s->c.interval_ms)
		return;
	at = (int)sim_below(s, (uint64_t)s->count);
	if (s->nodes[at].alive)
		sim_node_stop(s, at, sim_below(s, 2));
	else
		(void)sim_node_start(s, at);
	sim_changed(s);
}

static void say_all(struct sim *s, struct wm_spread_stats *ret_before)
{
	for (unsigned n = 0; n < s->c.warm + s->c.messages; n++) {
		if (n == s->c.warm) {
			sum(s, ret_before);
			s->spread_octets = s->told = s->told_octets = 0;
		}
		pause_some(s);
		churn(s);
		s->said_ns[n] = s->ns;
		sim_say(s, any_alive(s), n);
		sim_run(s, s->ns + s->c.interval_ms * WM_NS_PER_MS);
	}
	sim_run(s, s->ns + s->c.settle_ms * WM_NS_PER_MS);
}

static void figures_of(struct sim *s, const struct wm_spread_stats *before, struct sim_figures *ret)
{
	struct wm_spread_stats after;
	double all = (double)(s->count - 1) * s->c.messages, got = (double)s->took_count;

	sum(s, &after);
	qsort(s->took_ns, s->took_count, sizeof(*s->took_ns), by_number);
	qsort(s->last_ns + s->c.warm, s->c.messages, sizeof(*s->last_ns), by_number);
	sim_figure(ret, "p50_ms", ms_at(s->took_ns, s->took_count, 0.5));
	sim_figure(ret, "p99_ms", ms_at(s->took_ns, s->took_count, 0.99));
	sim_figure(ret, "last_ms", ms_at(s->last_ns + s->c.warm, s->c.messages, 0.5));
	sim_figure(ret, "worst_ms", ms_at(s->took_ns, s->took_count, 1));
	sim_figure(ret, "missing", all - got);
	sim_figure(ret, "copies",
		   1 + (double)(after.duplicates - before->duplicates) / (got > 0 ? got : 1));
	if (s->told) { /* beside what it is compressed to, with the heads of frames */
		double octets = (double)s->spread_octets / (got > 0 ? got : 1);
		double each = (double)s->told_octets / s->c.messages;

		sim_figure(ret, "octets_each", each);
		sim_figure(ret, "octets_ratio", octets / each);
	} else {
		sim_figure(ret, "octets_ratio",
			   (double)(after.octets_in - before->octets_in) / (got > 0 ? got : 1) /
				   s->c.payload);
	}
	sim_figure(ret, "grafts", (double)(after.grafts - before->grafts));
	sim_figure(ret, "prunes", (double)(after.prunes - before->prunes));
	sim_figure(ret, "links", (double)(after.eager + after.lazy) / s->count);
	sim_figure(ret, "eager", (double)after.eager / s->count);
}

int sim_measure(struct sim *s, struct sim_figures *ret)
{
	size_t said = s->c.warm + s->c.messages;
	struct wm_spread_stats before = {0};

	s->took_cap = (size_t)s->count * s->c.messages;
	s->said_ns = calloc(said, sizeof(*s->said_ns));
	s->last_ns = calloc(said, sizeof(*s->last_ns));
	s->reached = calloc(said, sizeof(*s->reached));
	s->took_ns = calloc(s->took_cap, sizeof(*s->took_ns));
	if (!s->said_ns || !s->last_ns || !s->reached || !s->took_ns)
		return -1;
	sim_run(s, s->ns + 5000 * WM_NS_PER_MS);
	say_all(s, &before);
	figures_of(s, &before, ret);
	return 0;
}
