/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_dns.c - DNS for Prometheus, with labels: how long answers of userspace take, by code;
 * what pods ask. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"

#include <inttypes.h>
#include <stdio.h>

static void put_times(struct wm_buf *b, unsigned rcode, const struct wm_dns_times *t)
{
	static const char *const names[WM_DNS_RCODES] = {"NOERROR",  "FORMERR", "SERVFAIL",
							 "NXDOMAIN", "NOTIMP",	"REFUSED"};
	const char *head = "waymark_dns_user_answer_seconds";
	char code[16];
	uint64_t count = 0;

	snprintf(code, sizeof(code), "%u", rcode);
	if (names[rcode])
		snprintf(code, sizeof(code), "%s", names[rcode]);
	for (unsigned i = 0; i < WM_DNS_TIME_BUCKETS; i++) {
		count += t->count[i];
		wm_buf_printf(b, "%s_bucket{rcode=\"%s\",le=\"%g\"} %" PRIu64 "\n", head, code,
			      wm_dns_time_bounds_s[i], count);
	}
	count += t->count[WM_DNS_TIME_BUCKETS];
	wm_buf_printf(b,
		      "%s_bucket{rcode=\"%s\",le=\"+Inf\"} %" PRIu64
		      "\n%s_sum{rcode=\"%s\"} %.9f\n%s_count{rcode=\"%s\"} %" PRIu64 "\n",
		      head, code, count, head, code, (double)t->sum_ns / WM_NS_PER_S, head, code,
		      count);
}

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
	const struct wm_dns_times *t =
		a->d.dns ? wm_dns_seen_times(wm_dns_seen_of(a->d.dns)) : NULL;

	for (int dropped = 0; a->d.plane && dropped < 2; dropped++)
		put_pods(b, a->d.plane, dropped);
	if (!t)
		return;
	wm_buf_puts(b, "# HELP waymark_dns_user_answer_seconds how long an answer of userspace DNS "
		       "took, from the query read to the answer written\n"
		       "# TYPE waymark_dns_user_answer_seconds histogram\n");
	for (unsigned i = 0; i < WM_DNS_RCODES; i++)
		if (t[i].sum_ns)
			put_times(b, i, &t[i]);
}
