/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_connects.c - how quickly connects of this node were made, by service, as a histogram for
 * Prometheus: of its backends that are there, since the program was loaded. */
#include "internal.h"
#include "userspace/resolution/traffic.h"
#include "waymark/outcome.h"

#include <inttypes.h>

#define SERVICES_MAX 1000 /* as of other figures by service */
#define PLACES_MAX   2	  /* of an instance in the tables */
#define US_PER_S     1e6

struct sum {
	const struct wm_tables *tables;
	const struct wm_connects *outcomes;
	uint64_t connects[WM_OUTCOME_BUCKETS], total_us;
};

static void add(void *arg, const struct wm_backend_traffic *b)
{
	struct sum *s = arg;
	uint32_t at[PLACES_MAX];
	unsigned n = wm_tables_backends_of(s->tables, b->instance, at, PLACES_MAX);

	for (unsigned i = 0; i < n && i < PLACES_MAX; i++) {
		const struct wm_connects *o = &s->outcomes[at[i]];

		if (o->stamp != wm_tables_memory(s->tables)->live[at[i]].stamp)
			continue; /* of an occupant before */
		for (unsigned k = 0; k < WM_OUTCOME_BUCKETS; k++)
			s->connects[k] += o->connects[k];
		s->total_us += o->total_us;
	}
}

static void put(struct wm_buf *b, const char *service, const struct sum *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < WM_OUTCOME_BUCKETS; i++) {
		n += s->connects[i];
		wm_buf_puts(b, "waymark_connect_seconds_bucket{");
		wm_metrics_label(b, "service", service);
		if (i + 1 < WM_OUTCOME_BUCKETS)
			wm_buf_printf(b, ",le=\"%g\"} %" PRIu64 "\n",
				      wm_outcome_bound_us(i) / US_PER_S, n);
		else
			wm_buf_printf(b, ",le=\"+Inf\"} %" PRIu64 "\n", n);
	}
	wm_buf_puts(b, "waymark_connect_seconds_sum{");
	wm_metrics_label(b, "service", service);
	wm_buf_printf(b, "} %g\nwaymark_connect_seconds_count{", (double)s->total_us / US_PER_S);
	wm_metrics_label(b, "service", service);
	wm_buf_printf(b, "} %" PRIu64 "\n", n);
}

void wm_metrics_connects(struct wm_buf *b, const struct wm_api *a)
{
	const struct wm_connects *outcomes;
	struct wm_traffic_walk *w;
	struct wm_traffic of;
	const char *service;
	unsigned rows = 0;
	uint32_t set = 0;

	if (!a->d.plane || !a->d.tables || !wm_tables_memory(a->d.tables)->live)
		return;
	outcomes = wm_plane_outcomes(a->d.plane);
	w = outcomes ? wm_traffic_walk(a->d.tables) : NULL;
	if (!w) {
		wm_plane_outcomes_done(a->d.plane);
		return;
	}
	wm_buf_puts(b, "# HELP waymark_connect_seconds from the choice of a backend to the "
		       "connection, as this node sees it\n"
		       "# TYPE waymark_connect_seconds histogram\n");
	while (rows < SERVICES_MAX && (service = wm_traffic_next(w, &set, &of))) {
		struct sum s = {.tables = a->d.tables, .outcomes = outcomes};

		if (!of.picks)
			continue;
		wm_traffic_backends(w, set - 1, add, &s);
		put(b, service, &s);
		rows++;
	}
	wm_traffic_done(w);
	wm_plane_outcomes_done(a->d.plane);
}
