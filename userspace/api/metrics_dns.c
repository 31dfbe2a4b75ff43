/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_dns.c - DNS for Prometheus, with labels: how many answers userspace gave and how long
 * they took, by level, type and code; what pods ask.
 * What the kernel's programs answer is in the counters dns_answered, dns_hot, dns_nodata,
 * dns_nxdomain: it has no more, as each figure would be work of every answer. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"

#include <inttypes.h>
#include <stdio.h>

#define SECONDS "waymark_dns_user_answer_seconds"
#define ANSWERS "waymark_dns_user_answers_total"

static const char *code_text(unsigned rcode, char other[16])
{
	static const char *const names[] = {"NOERROR",	"FORMERR", "SERVFAIL",
					    "NXDOMAIN", "NOTIMP",  "REFUSED"};

	if (rcode < WM_ARRAY_LEN(names))
		return names[rcode];
	snprintf(other, 16, "%u", rcode);
	return other;
}

/* --- answers ---------------------------------------------------------------------------------- */
static void put_times(struct wm_buf *b, const char *level, unsigned rcode,
		      const struct wm_dns_times *t)
{
	char labels[64], other[16];
	uint64_t count = 0;

	snprintf(labels, sizeof(labels), "level=\"%s\",rcode=\"%s\"", level,
		 code_text(rcode, other));
	for (unsigned i = 0; i < WM_DNS_TIME_BUCKETS; i++) {
		count += t->count[i];
		wm_buf_printf(b, SECONDS "_bucket{%s,le=\"%g\"} %" PRIu64 "\n", labels,
			      wm_dns_time_bounds_s[i], count);
	}
	count += t->count[WM_DNS_TIME_BUCKETS];
	wm_buf_printf(b,
		      SECONDS "_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n" SECONDS
			      "_sum{%s} %.9f\n" SECONDS "_count{%s} %" PRIu64 "\n",
		      labels, count, labels, (double)t->sum_ns / WM_NS_PER_S, labels, count);
}

static void put_seconds(struct wm_buf *b, const struct wm_dns_seen *s)
{
	wm_buf_puts(b, "# HELP " SECONDS " how long an answer of userspace DNS took, from the "
		       "query read to the answer written\n# TYPE " SECONDS " histogram\n");
	for (unsigned l = 0; l < WM_DNS_LEVEL_COUNT; l++) {
		const struct wm_dns_times *t = wm_dns_seen_times(s, l);

		for (unsigned i = 0; i < WM_DNS_RCODES; i++)
			if (t[i].sum_ns)
				put_times(b, wm_dns_level_str(l), i, &t[i]);
	}
}

static void put_answers(struct wm_buf *b, const struct wm_dns_seen *s)
{
	char other[16];

	wm_buf_puts(b, "# HELP " ANSWERS " answers of userspace DNS, by what they were made of, "
		       "type and code\n# TYPE " ANSWERS " counter\n");
	for (unsigned l = 0; l < WM_DNS_LEVEL_COUNT; l++) {
		for (unsigned t = 0; t < WM_DNS_SEEN_TYPE_COUNT; t++) {
			const uint64_t *n = wm_dns_seen_answers(s, l, t);

			for (unsigned i = 0; i < WM_DNS_RCODES; i++)
				if (n[i])
					wm_buf_printf(b,
						      ANSWERS "{level=\"%s\",type=\"%s\","
							      "rcode=\"%s\"} %" PRIu64 "\n",
						      wm_dns_level_str(l), wm_dns_seen_type_str(t),
						      code_text(i, other), n[i]);
		}
	}
}

/* --- pods ------------------------------------------------------------------------------------- */
static void put_pods(struct wm_buf *b, const struct wm_plane *p, bool dropped)
{
	const char *name = dropped ? "dropped" : "queries";
	struct wm_plane_pod pod;
	unsigned at = 0;

	wm_buf_printf(
		b, "# HELP waymark_dns_pod_%s_total %s\n# TYPE waymark_dns_pod_%s_total counter\n",
		name,
		dropped ? "of these, those that were dropped: more than dns.pod_limit"
			: "DNS queries of a pod that the kernel saw, by its device",
		name);
	while (wm_plane_pod(p, &at, &pod)) {
		wm_buf_printf(b, "waymark_dns_pod_%s_total{", name);
		wm_metrics_label(b, "device", pod.device);
		wm_buf_printf(b, "} %" PRIu64 "\n", dropped ? pod.dropped : pod.queries);
	}
}

void wm_metrics_dns(struct wm_buf *b, const struct wm_api *a)
{
	const struct wm_dns_seen *s = a->d.dns ? wm_dns_seen_of(a->d.dns) : NULL;

	for (int dropped = 0; a->d.plane && dropped < 2; dropped++)
		put_pods(b, a->d.plane, dropped);
	if (s) {
		put_seconds(b, s);
		put_answers(b, s);
	}
}
