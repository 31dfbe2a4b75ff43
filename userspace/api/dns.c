/* SPDX-License-Identifier: Apache-2.0 */
/* dns.c - who is asked for names that are not ours: /v1/waymark/dns. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"

#include <errno.h>

static void put_server(struct wm_json *j, const struct wm_upstream_health *h, uint64_t now_ms)
{
	char text[WM_UPSTREAM_SERVER_TEXT];

	wm_upstream_server_text(&h->server, text);
	wm_json_open(j, '{');
	wm_json_ks(j, "domain", h->domain);
	wm_json_ks(j, "server", text);
	wm_json_ks(j, "state", wm_upstream_state_str(h->state));
	wm_json_ku(j, "since_ms", now_ms - h->since_ms);
	wm_json_ku(j, "latency_us", h->latency_us);
	wm_json_ku(j, "probes", h->probes);
	wm_json_ku(j, "late", h->late);
	wm_json_ku(j, "failures", h->failures);
	wm_json_ku(j, "p95_us", h->p95_us);
	wm_json_ku(j, "overtaken", h->overtaken);
	wm_json_ks(j, "error", h->why);
	wm_json_close(j, '}');
}

static void put_counters(struct wm_json *j, const struct wm_upstream *u)
{
#define X(sym, name, text) #name,
	static const char *const names[] = {WM_UPSTREAM_COUNTERS(X)};
#undef X
	const uint64_t *n = wm_upstream_counters(u);

	for (size_t i = 0; i < WM_ARRAY_LEN(names); i++)
		wm_json_ku(j, names[i], n[i]);
}

static void put_hot(struct wm_json *j, const struct wm_hot_level *h)
{
#define X(sym, name, text) #name,
	static const char *const names[] = {WM_HOT_COUNTERS(X)};
#undef X
	const uint64_t *n = wm_hot_counters(h);

	for (size_t i = 0; i < WM_ARRAY_LEN(names); i++)
		wm_json_ku(j, names[i], n[i]);
}

static void put_pods(struct wm_json *j, const struct wm_plane *p)
{
	struct wm_plane_pod pod;
	unsigned at = 0;

	while (p && wm_plane_pod(p, &at, &pod)) {
		wm_json_open(j, '{');
		wm_json_ks(j, "device", pod.device);
		wm_json_ku(j, "queries", pod.queries);
		wm_json_ku(j, "dropped", pod.dropped);
		wm_json_close(j, '}');
	}
}

void wm_native_dns(struct wm_call *c)
{
	const struct wm_upstream *u = c->api->d.dns ? wm_dns_upstream(c->api->d.dns) : NULL;
	const struct wm_hot_level *hot = u ? wm_dns_hot(c->api->d.dns) : NULL;
	struct wm_upstream_health h;
	uint64_t now_ms = wm_clock_ms();
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ks(&j, "upstream",
		   wm_upstream_mode_str(u ? wm_upstream_mode_of(u) : WM_UPSTREAM_OFF));
	wm_json_ks(&j, "source", u ? wm_upstream_source(u) : "");
	wm_json_ku(&j, "open", u ? wm_upstream_open(u) : 0);
	wm_json_ku(&j, "kernel", hot ? wm_hot_names(hot) : 0);
	wm_json_kopen(&j, "servers", '[');
	for (unsigned i = 0; u && wm_upstream_health(u, i, &h); i++)
		put_server(&j, &h, now_ms);
	wm_json_close(&j, ']');
	wm_json_kopen(&j, "pods", '[');
	put_pods(&j, c->api->d.plane);
	wm_json_close(&j, ']');
	wm_json_kopen(&j, "counters", '{');
	if (u)
		put_counters(&j, u);
	if (hot)
		put_hot(&j, hot);
	wm_json_close(&j, '}');
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}

void wm_native_dns_flush(struct wm_call *c)
{
	struct wm_upstream *u = c->api->d.dns ? wm_dns_upstream(c->api->d.dns) : NULL;
	const char *name = wm_http_query(c->req, "name");
	int r;

	if (!u) {
		wm_answer_text(c, 501, "dns.upstream is off: nothing of others is kept");
		return;
	}
	r = name ? wm_upstream_flush_name(u, name) : wm_upstream_flush(u);
	if (r == -EINVAL)
		wm_answer_text(
			c, 400,
			"name: labels of 1 to 63 octets are wanted, dots between, 253 in all");
	else if (r)
		wm_answer_text(c, 500, "out of memory: the answers that are kept stay");
	else
		wm_answer_text(c, 200, "%s", "");
}
