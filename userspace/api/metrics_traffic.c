/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_traffic.c - what the kernel's programs counted of services and of their backends, as text
 * for Prometheus: those with the most picks, for who keeps metrics is not to be filled by a node
 * that talks to thousands. Totals and refusals by reason have all. */
#include "internal.h"
#include "userspace/base/macros.h"
#include "userspace/resolution/traffic.h"
#include "waymark/counters.h"
#include "waymark/refusal.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 1000 /* of services, and of backends */

struct row {
	struct wm_backend_traffic b; /* instance 0: of the service */
	const char *service;
	const struct wm_instance *instance;
};
/* The one with the fewest picks is first, each stands before its children: [2i + 1], [2i + 2]. */
struct rows {
	struct row all[ROWS_MAX];
	unsigned count, left_out;
	const char *service; /* of what is added */
};

/* --- the busiest ------------------------------------------------------------------------------ */
static uint64_t score(const struct row *r)
{
	return r->b.t.picks + r->b.t.udp_picks;
}

static void swap(struct row *a, struct row *b)
{
	struct row c = *a;

	*a = *b;
	*b = c;
}

static void sink(struct rows *h)
{
	unsigned i = 0, k;

	while ((k = 2 * i + 1) < h->count) {
		k += k + 1 < h->count && score(&h->all[k + 1]) < score(&h->all[k]);
		if (score(&h->all[i]) <= score(&h->all[k]))
			return;
		swap(&h->all[i], &h->all[k]);
		i = k;
	}
}

static void keep(struct rows *h, const struct row *r)
{
	unsigned i = h->count;

	if (i == ROWS_MAX) {
		h->left_out++;
		if (score(r) <= score(&h->all[0]))
			return;
		h->all[0] = *r;
		sink(h);
		return;
	}
	h->all[h->count++] = *r;
	for (; i && score(&h->all[i]) < score(&h->all[(i - 1) / 2]); i = (i - 1) / 2)
		swap(&h->all[i], &h->all[(i - 1) / 2]);
}

static void keep_backend(void *arg, const struct wm_backend_traffic *b)
{
	struct rows *h = arg;

	keep(h, &(struct row){.b = *b, .service = h->service});
}

static void gather(const struct wm_traffic_walk *w, struct rows *services, struct rows *backends)
{
	struct row r = {0};
	uint32_t set = 0;

	while ((r.service = wm_traffic_next(w, &set, &r.b.t))) {
		if (!(score(&r) | r.b.t.open))
			continue;
		r.b.set = set - 1;
		keep(services, &r);
		backends->service = r.service;
		wm_traffic_backends(w, r.b.set, keep_backend, backends);
	}
}

/* --- names ------------------------------------------------------------------------------------ */
static int by_set(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->b.set != y->b.set)
		return x->b.set < y->b.set ? -1 : 1;
	return x->b.instance < y->b.instance ? -1 : x->b.instance > y->b.instance;
}

/* The instances of one service, of which there may be more than rows. */
static void name_group(const struct wm_service *s, struct row *first, unsigned n)
{
	struct row want = {.b.set = first->b.set}, *at;

	for (unsigned i = 0; s && i < s->instances_count; i++) {
		want.b.instance = s->instances[i]->hash;
		at = bsearch(&want, first, n, sizeof(*first), by_set);
		if (at)
			at->instance = s->instances[i];
	}
}

static void name_backends(const struct wm_registry *r, struct rows *h)
{
	unsigned n;

	if (h->count)
		qsort(h->all, h->count, sizeof(*h->all), by_set);
	for (unsigned i = 0; i < h->count; i += n) {
		for (n = 1; i + n < h->count && h->all[i + n].b.set == h->all[i].b.set; n++)
			;
		name_group(wm_registry_service(r, h->all[i].service), &h->all[i], n);
	}
}

/* --- text ------------------------------------------------------------------------------------- */
/* What the format wants escaped; ids hold nothing else that is no text. */
void wm_metrics_label(struct wm_buf *b, const char *name, const char *value)
{
	wm_buf_printf(b, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			wm_buf_putc(b, '\\');
		wm_buf_putc(b, *value == '\n' ? ' ' : *value);
	}
	wm_buf_putc(b, '"');
}

static void put_rows(struct wm_buf *b, const struct rows *h, bool backends)
{
#define OF(field) offsetof(struct wm_traffic, field), sizeof(((struct wm_traffic *)0)->field)
	static const struct {
		const char *name, *text;
		bool gauge, backends_only;
		size_t at, size;
	} metrics[] = {{"picks", "sockets that connect() steered here", false, false, OF(picks)},
		       {"udp_picks", "destinations of unconnected UDP sockets steered here", false,
			false, OF(udp_picks)},
		       {"open", "open sockets that were steered here", true, false, OF(open)},
		       {"failures", "connects that failed", false, false, OF(failures)},
		       {"ejections", "times that it was taken out for its failures", false, false,
			OF(ejections)},
		       {"rtt_us",
			"microseconds of a round trip, as connects measured it; 0: not yet", true,
			true, OF(rtt_us)}};
#undef OF
	const char *of = backends ? "backend" : "service";

	for (unsigned m = 0; h->count && m < WM_ARRAY_LEN(metrics); m++) {
		const char *end = metrics[m].gauge ? "" : "_total";

		if (metrics[m].backends_only && !backends)
			continue;
		wm_buf_printf(b, "# HELP waymark_%s_%s%s %s\n# TYPE waymark_%s_%s%s %s\n", of,
			      metrics[m].name, end, metrics[m].text, of, metrics[m].name, end,
			      metrics[m].gauge ? "gauge" : "counter");
		for (unsigned i = 0; i < h->count; i++) {
			const struct row *r = &h->all[i];
			const char *at = (const char *)&r->b.t + metrics[m].at;
			uint64_t v = metrics[m].size == sizeof(uint32_t) ? *(const uint32_t *)at
									 : *(const uint64_t *)at;

			if (backends && !r->instance)
				continue;
			wm_buf_printf(b, "waymark_%s_%s%s{", of, metrics[m].name, end);
			wm_metrics_label(b, "service", r->service);
			if (backends) {
				wm_buf_putc(b, ',');
				wm_metrics_label(b, "instance", r->instance->id);
				wm_buf_putc(b, ',');
				wm_metrics_label(b, "node", r->instance->node->name);
			}
			wm_buf_printf(b, "} %" PRIu64 "\n", v);
		}
	}
}

static void put_refusals(struct wm_buf *b, const struct wm_api *a)
{
	static const struct {
		const char *reason;
		enum wm_counter counter;
	} reasons[] = {{"no_usable_backend", WM_C_CONNECT_REFUSED},
		       {"no_usable_backend_udp", WM_C_UDP_REFUSED},
		       {"unknown_address", WM_C_CONNECT_UNKNOWN_VIP}};
	uint64_t n[WM_COUNTER_COUNT];

	if (!a->d.plane || wm_plane_counters(a->d.plane, n))
		return;
	wm_buf_puts(b, "# HELP waymark_refusals_total calls that were refused, by reason\n"
		       "# TYPE waymark_refusals_total counter\n");
	for (unsigned i = 0; i < WM_ARRAY_LEN(reasons); i++)
		wm_buf_printf(b, "waymark_refusals_total{reason=\"%s\"} %" PRIu64 "\n",
			      reasons[i].reason, n[reasons[i].counter]);
}

/* By service, the part of it that was dialled, and reason: ROWS_MAX of them, in the order of the
 * sets, and how many more there are. */
static void put_service_refusals(struct wm_buf *b, const struct wm_api *a)
{
	static const char *const reasons[] = {
#define X(sym, name, text) #name,
		WM_REFUSALS(X)
#undef X
	};
	const struct wm_refusals *all = a->d.plane ? wm_plane_refusals(a->d.plane) : NULL;
	const struct wm_table_memory *m = a->d.tables ? wm_tables_memory(a->d.tables) : NULL;
	unsigned rows = 0, left_out = 0;

	if (!all || !m)
		return;
	wm_buf_puts(b, "# HELP waymark_service_refusals_total calls to a service that were "
		       "refused, by subset, port and reason\n"
		       "# TYPE waymark_service_refusals_total counter\n");
	for (uint32_t set = 0; set < m->sets_cap; set++) {
		const char *service = wm_tables_service_of(a->d.tables, set);
		char subset[WM_TAG_MAX + 1];
		unsigned port;

		if (!service || all[set].service != m->sets[set].service)
			continue;
		port = wm_tables_part_of(a->d.tables, set, subset);
		for (unsigned i = 0; i < WM_REFUSAL_COUNT; i++) {
			uint32_t n = __atomic_load_n(&all[set].count[i], __ATOMIC_RELAXED);

			if (!n)
				continue;
			if (rows++ >= ROWS_MAX) {
				left_out++;
				continue;
			}
			wm_buf_puts(b, "waymark_service_refusals_total{");
			wm_metrics_label(b, "service", service);
			wm_buf_putc(b, ',');
			wm_metrics_label(b, "subset", subset);
			wm_buf_printf(b, ",port=\"%u%s\",reason=\"%s\"} %u\n", port,
				      wm_tables_proto_of(a->d.tables, set) == IPPROTO_UDP ? "/udp"
											  : "",
				      reasons[i], n);
		}
	}
	wm_buf_printf(b,
		      "# HELP waymark_refusals_left_out figures of refusals that are not "
		      "listed: there are %d\n"
		      "# TYPE waymark_refusals_left_out gauge\n"
		      "waymark_refusals_left_out %u\n",
		      ROWS_MAX, left_out);
}

/* How quickly connects were made, of the services that are listed. */
static void put_connects(struct wm_buf *b, const struct wm_api *a, const struct wm_traffic_walk *w,
			 const struct rows *services)
{
	struct wm_metrics_service of[ROWS_MAX];

	for (unsigned i = 0; i < services->count; i++)
		of[i] = (struct wm_metrics_service){services->all[i].service,
						    services->all[i].b.set};
	wm_metrics_connects(b, a, w, of, services->count, services->left_out);
}

void wm_metrics_traffic(struct wm_buf *b, const struct wm_api *a)
{
	struct rows *services = calloc(1, sizeof(*services));
	struct rows *backends = calloc(1, sizeof(*backends));
	struct wm_traffic_walk *w = a->d.tables ? wm_traffic_walk(a->d.tables) : NULL;

	put_refusals(b, a);
	put_service_refusals(b, a);
	if (services && backends && w) {
		gather(w, services, backends);
		name_backends(a->d.registry, backends);
		put_rows(b, services, false);
		put_rows(b, backends, true);
		wm_buf_printf(b,
			      "# HELP waymark_traffic_left_out services and backends that are "
			      "not listed: others have more picks\n"
			      "# TYPE waymark_traffic_left_out gauge\n"
			      "waymark_traffic_left_out %u\n",
			      services->left_out + backends->left_out);
		put_connects(b, a, w, services);
	}
	wm_traffic_done(w);
	free(services);
	free(backends);
}
