/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_dns.c - DNS for Prometheus, with labels: how many answers there were and how long they
 * took, by level, type and code; what pods ask; each server that others' names are asked of. Of the
 * kernel's answers these are estimates: it tells of one question in so many (dns.sample). Counted
 * are dns_answered, and of these dns_hot, dns_nodata, dns_nxdomain and their like. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"

#include <inttypes.h>
#include <stdio.h>

/* Who answered. */
struct by {
	const char *seconds, *answers; /* names of the metrics, and what they are */
	const char *seconds_text, *answers_text;
};
static const struct by user = {
	"waymark_dns_user_answer_seconds", "waymark_dns_user_answers_total",
	"how long an answer of userspace DNS took, from the query read to "
	"the answer written",
	"answers of userspace DNS, by what they were made of, type and code"};
static const struct by kernel = {
	"waymark_dns_kernel_answer_seconds", "waymark_dns_kernel_answers_total",
	"how long an answer of DNS in the kernel took, by those that dns.sample tells of",
	"answers of DNS in the kernel, by what they were made of, type and code: as many as those "
	"that dns.sample tells of stand for"};

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
static void put_times(struct wm_buf *b, const char *name, const char *labels,
		      const struct wm_dns_times *t, const double *bounds_s)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < WM_DNS_TIME_BUCKETS; i++) {
		count += t->count[i];
		wm_buf_printf(b, "%s_bucket{%s,le=\"%g\"} %" PRIu64 "\n", name, labels, bounds_s[i],
			      count);
	}
	count += t->count[WM_DNS_TIME_BUCKETS];
	wm_buf_printf(b,
		      "%s_bucket{%s,le=\"+Inf\"} %" PRIu64
		      "\n%s_sum{%s} %.9f\n%s_count{%s} %" PRIu64 "\n",
		      name, labels, count, name, labels, (double)t->sum_ns / WM_NS_PER_S, name,
		      labels, count);
}

static void put_seconds(struct wm_buf *b, const struct wm_dns_seen *s, const struct by *by)
{
	char labels[64], other[16];

	wm_buf_printf(b, "# HELP %s %s\n# TYPE %s histogram\n", by->seconds, by->seconds_text,
		      by->seconds);
	for (unsigned l = 0; l < WM_DNS_LEVEL_COUNT; l++) {
		const struct wm_dns_times *t = wm_dns_seen_times(s, l);

		for (unsigned i = 0; i < WM_DNS_RCODES; i++) {
			snprintf(labels, sizeof(labels), "level=\"%s\",rcode=\"%s\"",
				 wm_dns_level_str(l), code_text(i, other));
			if (t[i].sum_ns)
				put_times(b, by->seconds, labels, &t[i], wm_dns_seen_bounds(s));
		}
	}
}

static void put_answers(struct wm_buf *b, const struct wm_dns_seen *s, const struct by *by)
{
	char other[16];

	wm_buf_printf(b, "# HELP %s %s\n# TYPE %s counter\n", by->answers, by->answers_text,
		      by->answers);
	for (unsigned l = 0; l < WM_DNS_LEVEL_COUNT; l++) {
		for (unsigned t = 0; t < WM_DNS_SEEN_TYPE_COUNT; t++) {
			const uint64_t *n = wm_dns_seen_answers(s, l, t);

			for (unsigned i = 0; i < WM_DNS_RCODES; i++)
				if (n[i])
					wm_buf_printf(b,
						      "%s{level=\"%s\",type=\"%s\","
						      "rcode=\"%s\"} %" PRIu64 "\n",
						      by->answers, wm_dns_level_str(l),
						      wm_dns_seen_type_str(t), code_text(i, other),
						      n[i]);
		}
	}
}

static void put_seen(struct wm_buf *b, const struct wm_dns_seen *s, const struct by *by)
{
	if (!s)
		return;
	put_seconds(b, s, by);
	put_answers(b, s, by);
}

/* --- servers ---------------------------------------------------------------------------------- */
static uint64_t is_up(const struct wm_upstream_health *h)
{
	return h->state == WM_UPSTREAM_UP;
}

static uint64_t latency(const struct wm_upstream_health *h)
{
	return h->latency_us;
}

static uint64_t probes(const struct wm_upstream_health *h)
{
	return h->probes;
}

static uint64_t late(const struct wm_upstream_health *h)
{
	return h->late;
}

static uint64_t failures(const struct wm_upstream_health *h)
{
	return h->failures;
}

static const struct {
	const char *name, *type, *text;
	uint64_t (*of)(const struct wm_upstream_health *h);
} rows[] = {
	{"up", "gauge", "1: a server for names of others answers its probes", is_up},
	{"latency_us", "gauge", "microseconds of an answer to a probe, smoothed", latency},
	{"probes_total", "counter", "probes of a server", probes},
	{"late_total", "counter", "of these, not answered in time", late},
	{"failures_total", "counter", "of these, answered with an error, or no connection",
	 failures},
};

static void put_servers(struct wm_buf *b, const struct wm_upstream *u)
{
	char text[WM_UPSTREAM_SERVER_TEXT];
	struct wm_upstream_health h;

	if (!wm_upstream_health(u, 0, &h))
		return;
	for (unsigned i = 0; i < WM_ARRAY_LEN(rows); i++) {
		const char *head = "waymark_dns_upstream_server_";

		wm_buf_printf(b, "# HELP %s%s %s\n# TYPE %s%s %s\n", head, rows[i].name,
			      rows[i].text, head, rows[i].name, rows[i].type);
		for (unsigned n = 0; wm_upstream_health(u, n, &h); n++) {
			wm_upstream_server_text(&h.server, text);
			wm_buf_printf(b, "%s%s{", head, rows[i].name);
			wm_metrics_label(b, "domain", h.domain);
			wm_buf_putc(b, ',');
			wm_metrics_label(b, "server", text);
			wm_buf_printf(b, "} %" PRIu64 "\n", rows[i].of(&h));
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
	const struct wm_upstream *u = a->d.dns ? wm_dns_upstream(a->d.dns) : NULL;

	for (int dropped = 0; a->d.plane && dropped < 2; dropped++)
		put_pods(b, a->d.plane, dropped);
	if (a->d.dns) {
		put_seen(b, wm_dns_seen_of(a->d.dns), &user);
		put_seen(b, wm_dns_seen_by_kernel(a->d.dns), &kernel);
	}
	if (u)
		put_servers(b, u);
}
