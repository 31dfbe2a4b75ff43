/* SPDX-License-Identifier: Apache-2.0 */
/* sources.c - services that others bring: how each source is, for an operator and for Prometheus.
 */
#include "internal.h"
#include "userspace/base/macros.h"
#include "userspace/source/source.h"

#include <inttypes.h>
#include <string.h>

/* X(name, help) of source.h, with where the figure is. */
static const struct row {
	const char *name, *text;
} counter_rows[] = {
#define X(name, help) {#name, help},
	WM_SOURCE_COUNTERS(X)
#undef X
};

static void put_ms(struct wm_json *j, const char *key, uint64_t ms)
{
	wm_json_key(j, key);
	if (ms)
		wm_json_u64(j, ms);
	else
		wm_json_null(j);
}

static void put_source(struct wm_json *j, const struct wm_source *s)
{
	struct wm_source_about a;

	wm_source_about(s, &a);
	wm_json_open(j, '{');
	wm_json_ks(j, "name", a.name);
	wm_json_ks(j, "state", wm_source_state_str(a.state));
	wm_json_ks(j, "text", a.text);
	wm_json_ks(j, "alarm", a.alarm);
	wm_json_ks(j, "identity", a.identity);
	wm_json_ks(j, "prefix", a.prefix);
	wm_json_ku(j, "since_ms", a.since_ms);
	put_ms(j, "synced_ms", a.synced_ms);
	wm_json_ku(j, "instances_max", a.instances_max);
	wm_json_ku(j, "services_max", a.services_max);
#define X(name, help) wm_json_ku(j, #name, a.name);
	WM_SOURCE_GAUGES(X)
#undef X
	wm_json_kopen(j, "counters", '{');
	for (unsigned n = 0; n < WM_ARRAY_LEN(counter_rows); n++)
		wm_json_ku(j, counter_rows[n].name, a.counters[n]);
	wm_json_close(j, '}');
	wm_json_close(j, '}');
}

void wm_native_sources(struct wm_call *c)
{
	struct wm_source *s = NULL;
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	while ((s = wm_sources_next(c->api->d.sources, s)))
		put_source(&j, s);
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, 0);
}

void wm_native_source_release(struct wm_call *c)
{
	struct wm_source *s = wm_sources_find(c->api->d.sources, c->params[0]);
	struct wm_err e = {0};
	struct wm_json j;

	if (!s) {
		wm_err_set(&e, WM_E_UNKNOWN, "unknown source: %.64s", c->params[0]);
		wm_answer_err(c, &e);
		return;
	}
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ku(&j, "released", wm_source_release(s));
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}

/* --- Prometheus: a source's name is a DNS label ----------------------------------------------- */
static void head(struct wm_buf *b, const char *name, const char *end, const char *text)
{
	wm_buf_printf(b, "# HELP waymark_source_%s%s %s\n# TYPE waymark_source_%s%s %s\n", name,
		      end, text, name, end, *end ? "counter" : "gauge");
}

static void print_gauge(struct wm_buf *b, const struct wm_sources *all, const char *name,
			const char *text, size_t offset)
{
	struct wm_source_about a;
	struct wm_source *s = NULL;
	uint64_t value;

	head(b, name, "", text);
	while ((s = wm_sources_next(all, s))) {
		wm_source_about(s, &a);
		memcpy(&value, (const char *)&a + offset, sizeof(value));
		wm_buf_printf(b, "waymark_source_%s{source=\"%s\"} %" PRIu64 "\n", name, a.name,
			      value);
	}
}

void wm_metrics_sources(struct wm_buf *b, const struct wm_api *api)
{
	const struct wm_sources *all = api->d.sources;
	struct wm_source_about a;
	struct wm_source *s = NULL;

	if (!wm_sources_next(all, NULL))
		return;
#define X(name, help) print_gauge(b, all, #name, help, offsetof(struct wm_source_about, name));
	WM_SOURCE_GAUGES(X)
#undef X
	head(b, "up", "", "1: the source is watched");
	while ((s = wm_sources_next(all, s))) {
		wm_source_about(s, &a);
		wm_buf_printf(b, "waymark_source_up{source=\"%s\"} %d\n", a.name,
			      a.state == WM_SOURCE_WATCHING);
	}
	head(b, "alarm", "", "1: an operator should look at the source");
	while ((s = wm_sources_next(all, s))) {
		wm_source_about(s, &a);
		wm_buf_printf(b, "waymark_source_alarm{source=\"%s\"} %d\n", a.name, !!*a.alarm);
	}
	for (unsigned n = 0; n < WM_ARRAY_LEN(counter_rows); n++) {
		head(b, counter_rows[n].name, "_total", counter_rows[n].text);
		while ((s = wm_sources_next(all, s))) {
			wm_source_about(s, &a);
			wm_buf_printf(b, "waymark_source_%s_total{source=\"%s\"} %" PRIu64 "\n",
				      counter_rows[n].name, a.name, a.counters[n]);
		}
	}
}
