/* SPDX-License-Identifier: Apache-2.0 */
/* measure.c - messages of single nodes, and when they come to all others. */
#include "sim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define JOINED_NS (5 * WM_NS_PER_S) /* until one that started has all and is sent what is new */

void sim_figure(struct sim_figures *f, const char *name, double value)
{
	struct sim_figure *to = &f->list[f->count++];

	(void)snprintf(to->name, sizeof(to->name), "%s", name);
	to->value = value;
}

void sim_reached(struct sim *s, int at, unsigned n)
{
	uint8_t *expected = &s->expected[(size_t)n * (size_t)s->count + (size_t)at];
	uint64_t took;

	if (n < s->c.warm || n >= s->c.warm + s->c.messages || *expected != 1)
		return;
	*expected = 2;
	took = s->ns - s->said_ns[n];
	s->took_ns[s->took_count++] = took;
	if (took > s->last_ns[n])
		s->last_ns[n] = took;
}

/* It is to come to all but those that start or are started again just now. */
static void expect(struct sim *s, int by, unsigned n)
{
	for (int i = 0; i < s->count; i++) {
		const struct sim_node *node = &s->nodes[i];

		s->expected[(size_t)n * (size_t)s->count + (size_t)i] =
			i != by && node->alive && s->ns - node->started_ns >= JOINED_NS;
	}
}

/* To whom it did not come, and who was there all the time. */
static unsigned missing(const struct sim *s)
{
	unsigned count = 0;

	for (unsigned n = s->c.warm; n < s->c.warm + s->c.messages; n++)
		for (int i = 0; i < s->count; i++)
			count += s->expected[(size_t)n * (size_t)s->count + (size_t)i] == 1 &&
				 s->nodes[i].alive && s->nodes[i].started_ns <= s->said_ns[n];
	return count;
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
void sim_pause(struct sim *s, int at)
{
	uint64_t ms =
		s->c.pause_min_ms + sim_below(s, s->c.pause_max_ms - s->c.pause_min_ms + 1ull);

	s->nodes[at].paused_ns = s->ns + ms * WM_NS_PER_MS;
}

static void pause_some(struct sim *s)
{
	double mean = (s->c.pause_min_ms + (double)s->c.pause_max_ms) / 2;
	double each = s->c.nodes * (double)s->c.pause_pct / 100 * s->c.interval_ms / fmax(mean, 1);
	unsigned count = (unsigned)each + (sim_unit(s) < each - (unsigned)each);

	for (; count; count--)
		sim_pause(s, (int)sim_below(s, (uint64_t)s->count));
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
		int by;

		if (n == s->c.warm) {
			sum(s, ret_before);
			s->spread_octets = s->told = s->told_octets = 0;
		}
		pause_some(s);
		churn(s);
		s->said_ns[n] = s->ns;
		by = any_alive(s);
		expect(s, by, n);
		sim_say(s, by, n);
		sim_run(s, s->ns + s->c.interval_ms * WM_NS_PER_MS);
	}
	sim_run(s, s->ns + s->c.settle_ms * WM_NS_PER_MS);
}

static void figures_of(struct sim *s, const struct wm_spread_stats *before, struct sim_figures *ret)
{
	struct wm_spread_stats after;
	double got = (double)s->took_count;

	sum(s, &after);
	qsort(s->took_ns, s->took_count, sizeof(*s->took_ns), by_number);
	qsort(s->last_ns + s->c.warm, s->c.messages, sizeof(*s->last_ns), by_number);
	sim_figure(ret, "p50_ms", ms_at(s->took_ns, s->took_count, 0.5));
	sim_figure(ret, "p99_ms", ms_at(s->took_ns, s->took_count, 0.99));
	sim_figure(ret, "last_ms", ms_at(s->last_ns + s->c.warm, s->c.messages, 0.5));
	sim_figure(ret, "worst_ms", ms_at(s->took_ns, s->took_count, 1));
	sim_figure(ret, "missing", missing(s));
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
	s->expected = calloc(said, (size_t)s->count);
	s->took_ns = calloc(s->took_cap, sizeof(*s->took_ns));
	if (!s->said_ns || !s->last_ns || !s->expected || !s->took_ns)
		return -1;
	sim_run(s, s->ns + 5000 * WM_NS_PER_MS);
	say_all(s, &before);
	figures_of(s, &before, ret);
	return 0;
}
