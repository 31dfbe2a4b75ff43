/* SPDX-License-Identifier: Apache-2.0 */
/* dns_seen.c - what userspace DNS answered last: GET /v1/waymark/dns/seen; and how long its answers
 * take, by code, for Prometheus. What the kernel's program answers is in neither. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>

static void put_question(struct wm_json *j, const struct wm_dns_seen_one *o, uint64_t now_ms)
{
	const struct in6_addr *client = (const void *)o->client;
	char name[WM_DNS_TEXT_MAX], addr[INET6_ADDRSTRLEN] = "";

	if (!wm_dns_text(o->name, name, sizeof(name)))
		snprintf(name, sizeof(name), ".");
	if (IN6_IS_ADDR_V4MAPPED(client))
		inet_ntop(AF_INET, o->client + 12, addr, sizeof(addr));
	else if (!IN6_IS_ADDR_UNSPECIFIED(client))
		inet_ntop(AF_INET6, o->client, addr, sizeof(addr));
	wm_json_open(j, '{');
	wm_json_ku(j, "number", o->number);
	wm_json_ks(j, "name", name);
	wm_json_ku(j, "type", o->type);
	wm_json_ks(j, "client", addr);
	wm_json_ku(j, "port", o->port);
	wm_json_ks(j, "transport", o->tcp ? "tcp" : "udp");
	wm_json_ks(j, "level", wm_dns_level_str((enum wm_dns_level)o->level));
	wm_json_ku(j, "rcode", o->rcode);
	wm_json_ku(j, "answers", o->answers);
	wm_json_ku(j, "took_us", o->took_ns / 1000);
	wm_json_ku(j, "age_ms", now_ms - o->at_ms);
	wm_json_close(j, '}');
}

void wm_native_dns_seen(struct wm_call *c)
{
	const struct wm_dns_seen *s = c->api->d.dns ? wm_dns_seen_of(c->api->d.dns) : NULL;
	const char *text = wm_http_query(c->req, "after");
	uint64_t after = text ? strtoull(text, NULL, 10) : 0, last = s ? wm_dns_seen_last(s) : 0,
		 first = last > WM_DNS_SEEN_MAX ? last - WM_DNS_SEEN_MAX : 0,
		 now_ms = wm_clock_ms();
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ku(&j, "last", last);
	wm_json_ku(&j, "lost", after < first ? first - after : 0);
	wm_json_kopen(&j, "questions", '[');
	for (uint64_t n = (after < first ? first : after) + 1; n <= last; n++) {
		const struct wm_dns_seen_one *o = wm_dns_seen_get(s, n);

		if (o)
			put_question(&j, o, now_ms);
	}
	wm_json_close(&j, ']');
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}

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
