/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_connects.c - how quickly connects of this node were made, by service, as a histogram for
 * Prometheus: of its backends that are there, whichever of its ports they are of, since the program
 * was loaded. One without a connect has none. */
#include "internal.h"
#include "userspace/resolution/traffic.h"
#include "waymark/outcome.h"

#include <inttypes.h>

#define US_PER_S 1e6

struct sum {
	const struct wm_tables *tables;
	const struct wm_connects *outcomes;
	uint64_t connects[WM_OUTCOME_BUCKETS], total_us, count;
};

static void add(void *arg, uint32_t index)
{
	struct sum *s = arg;
	const struct wm_connects *o = &s->outcomes[index];

	if (o->stamp != wm_tables_memory(s->tables)->live[index].stamp)
		return; /* of an occupant before */
	for (unsigned k = 0; k < WM_OUTCOME_BUCKETS; k++) {
		s->connects[k] += o->connects[k];
		s->count += o->connects[k];
	}
	s->total_us += o->total_us;
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

void wm_metrics_connects(struct wm_buf *b, const struct wm_api *a, const struct wm_traffic_walk *w,
			 const struct wm_metrics_service *of, unsigned n, unsigned left_out)
{
	const struct wm_connects *outcomes = a->d.plane ? wm_plane_outcomes(a->d.plane) : NULL;

	if (!outcomes)
		return;
	wm_buf_puts(b, "# HELP waymark_connect_seconds from the choice of a backend to the "
		       "connection, as this node sees it\n"
		       "# TYPE waymark_connect_seconds histogram\n");
	for (unsigned i = 0; i < n; i++) {
		struct sum s = {.tables = a->d.tables, .outcomes = outcomes};

		wm_traffic_places(w, of[i].set, add, &s);
		if (s.count)
			put(b, of[i].name, &s);
	}
	wm_plane_outcomes_done(a->d.plane);
	wm_buf_printf(b,
		      "# HELP waymark_connects_left_out services without a histogram of "
		      "connects: others have more picks\n"
		      "# TYPE waymark_connects_left_out gauge\n"
		      "waymark_connects_left_out %u\n",
		      left_out);
}
