/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_top.c - services and their instances by what is steered to them now: read from the
 * pins twice, whether an agent runs or not; what has grown between is told by the second. */
#include "userspace/base/clock.h"
#include "waymark/choose.h"
#include "waymark/counters.h"
#include "waymarkctl_dump.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_S 1 /* between the two */
#define PAUSE_S	   1 /* behind them */

/* --- one look -----------------------------------------------------------------------------------
 */
static const char *state_of(uint32_t state, bool ejected)
{
	switch (state & WM_STATE_MASK) {
	case WM_STATE_UP:
		return ejected ? "ejected" : "up";
	case WM_STATE_DRAIN:
		return "draining";
	default:
		return "down";
	}
}

static json_t *place_of(const struct wm_backend *b)
{
	const uint32_t mapped[4] = {0, 0, WM_V4_MAPPED_BE, b->addr4_be};

	return ctl_dump_place(b->families & WM_FAMILY_4 ? mapped : b->addr6_be, b->port_be);
}

static void look_at_backend(struct dump *d, uint32_t i)
{
	const struct wm_backend *b = &d->m->backends[i];
	const struct wm_backend_live live = d->m->live[i];
	uint32_t state = b->state;
	bool ejected = wm_ejected(&live, state >> 16, wm_clock_ns());

	if ((state & WM_STATE_MASK) == WM_STATE_FREE)
		return;
	json_array_append_new(
		d->rows,
		json_pack("{s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "service",
			  ctl_dump_service_by(d, b->service), "instance", ctl_dump_instance(d, i),
			  "address", place_of(b), "state", state_of(state, ejected), "backend",
			  (json_int_t)i, "stamp", (json_int_t)(state >> 16), "picks",
			  (json_int_t)(live.picks + live.udp_picks), "open", (json_int_t)live.open,
			  "failures", (json_int_t)live.failures, "ejections",
			  (json_int_t)live.ejections, "latency_us", (json_int_t)live.rtt_us));
}

/* Backends, and behind them what is counted of all. */
static void look(struct dump *d)
{
	uint64_t n[WM_COUNTER_COUNT] = {0}, refused;

	for (uint32_t i = 0; i < d->m->backends_cap; i++)
		look_at_backend(d, i);
	(void)wm_inspect_counters(d->x, n);
	refused = n[WM_C_CONNECT_REFUSED] + n[WM_C_UDP_REFUSED];
	json_array_append_new(d->rows, json_pack("{s:I, s:I, s:I, s:I, s:I}", "time_ns",
						 (json_int_t)wm_clock_ns(), "picked",
						 (json_int_t)n[WM_C_CONNECT_PICKED], "datagrams",
						 (json_int_t)n[WM_C_UDP_PICKED], "refused",
						 (json_int_t)refused, "unknown",
						 (json_int_t)n[WM_C_CONNECT_UNKNOWN_VIP]));
}

/* --- what has grown -----------------------------------------------------------------------------
 */
static json_int_t integer_of(const json_t *v, const char *key)
{
	return json_integer_value(json_object_get(v, key));
}

static double grown(const json_t *before, const json_t *now, const char *key, double seconds)
{
	json_int_t was = integer_of(before, key), is = integer_of(now, key);

	return is > was ? (double)(is - was) / seconds : 0;
}

/* Both lists are in the order of the backends. */
static void put_rates(const json_t *before, const json_t *now, double seconds)
{
	size_t k = 0, i;
	json_t *row;

	json_array_foreach(now, i, row)
	{
		const json_t *was;
		bool same;

		while ((was = json_array_get(before, k)) &&
		       integer_of(was, "backend") < integer_of(row, "backend"))
			k++;
		same = was && integer_of(was, "backend") == integer_of(row, "backend") &&
		       integer_of(was, "stamp") == integer_of(row, "stamp");
		json_object_set_new(row, "picks_s",
				    json_real(grown(same ? was : NULL, row, "picks", seconds)));
	}
}

/* Take the last row of a look away, and have it. */
static json_t *totals_of(json_t *rows)
{
	size_t last = json_array_size(rows) - 1;
	json_t *t = json_incref(json_array_get(rows, last));

	json_array_remove(rows, last);
	return t;
}

/* --- by service ---------------------------------------------------------------------------------
 */
static void add(json_t *service, const json_t *row)
{
	static const char *const sums[] = {"open", "failures", "ejections", NULL};
	json_t *rate = json_object_get(service, "picks_s");

	json_real_set(rate,
		      json_real_value(rate) + json_real_value(json_object_get(row, "picks_s")));
	for (unsigned n = 0; sums[n]; n++)
		json_object_set_new(
			service, sums[n],
			json_integer(integer_of(service, sums[n]) + integer_of(row, sums[n])));
	json_object_set_new(service, "up",
			    json_integer(integer_of(service, "up") +
					 (strcmp(ctl_text(row, "state"), "up") == 0)));
}

static int busier(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	double rx = json_real_value(json_object_get(x, "picks_s")),
	       ry = json_real_value(json_object_get(y, "picks_s"));
	json_int_t ox = integer_of(x, "open"), oy = integer_of(y, "open");

	if (rx != ry)
		return rx < ry ? 1 : -1;
	if (ox != oy)
		return ox < oy ? 1 : -1;
	return strcmp(ctl_text(x, "service"), ctl_text(y, "service"));
}

/* The elements of @p list, the busiest first. It is freed. */
static json_t *sorted(json_t *list)
{
	size_t n = json_array_size(list), i;
	json_t **all = calloc(n + 1, sizeof(json_t *)), *out = json_array(), *x;

	json_array_foreach(list, i, x)
	{
		if (all)
			all[i] = x;
	}
	if (all)
		qsort(all, n, sizeof(json_t *), busier);
	for (i = 0; all && i < n; i++)
		json_array_append(out, all[i]);
	free(all);
	json_decref(list);
	return out;
}

static json_t *by_service(const json_t *rows)
{
	json_t *all = json_object(), *list = json_array(), *row, *s;
	const char *key;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		const char *name = ctl_text(row, "service");

		s = json_object_get(all, name);
		if (!s) {
			s = json_pack("{s:s, s:f, s:i, s:[]}", "service", name, "picks_s", 0.0,
				      "up", 0, "backends");
			json_object_set_new(all, name, s);
		}
		add(s, row);
		json_array_append(json_object_get(s, "backends"), row);
	}
	json_object_foreach(all, key, s)
	{
		json_object_set_new(s, "backends",
				    sorted(json_incref(json_object_get(s, "backends"))));
		json_array_append(list, s);
	}
	json_decref(all);
	return sorted(list);
}

/* --- shown --------------------------------------------------------------------------------------
 */
static json_t *line(const json_t *row, const char *service, json_t *instance, const char *state)
{
	json_int_t us = integer_of(row, "latency_us");

	return json_pack("{s:s, s:o, s:o, s:I, s:o, s:I, s:I, s:s}", "service", service, "instance",
			 instance, "picks/s",
			 json_sprintf("%.1f", json_real_value(json_object_get(row, "picks_s"))),
			 "open", integer_of(row, "open"), "latency",
			 us ? json_sprintf("%.1f ms", (double)us / 1000) : json_string("-"),
			 "failures", integer_of(row, "failures"), "ejections",
			 integer_of(row, "ejections"), "state", state);
}

static void show(const json_t *doc)
{
	static const char *const columns[] = {"service",  "instance",  "picks/s", "open", "latency",
					      "failures", "ejections", "state",	  NULL};
	const json_t *t = json_object_get(doc, "totals");
	json_t *rows = json_array(), *s, *b;
	size_t i, k;

	printf("%.1f connects and %.1f datagrams a second steered, %.1f refused, %.1f to virtual "
	       "addresses of nobody\n",
	       json_real_value(json_object_get(t, "picked_s")),
	       json_real_value(json_object_get(t, "datagrams_s")),
	       json_real_value(json_object_get(t, "refused_s")),
	       json_real_value(json_object_get(t, "unknown_s")));
	json_array_foreach(json_object_get(doc, "services"), i, s)
	{
		const json_t *backends = json_object_get(s, "backends");

		json_array_append_new(
			rows, line(s, ctl_text(s, "service"),
				   json_sprintf("%lld of %zu up", (long long)integer_of(s, "up"),
						json_array_size(backends)),
				   ""));
		json_array_foreach(backends, k, b)
		{
			json_array_append_new(
				rows,
				line(b, "",
				     json_string(*ctl_text(b, "instance") ? ctl_text(b, "instance")
									  : ctl_text(b, "address")),
				     ctl_text(b, "state")));
		}
	}
	ctl_table(rows, columns, 0, stdout);
	json_decref(rows);
}

static json_t *compare(json_t *before, json_t *now)
{
	static const char *const names[] = {"picked", "datagrams", "refused", "unknown", NULL};
	json_t *was = totals_of(before), *is = totals_of(now), *totals = json_object();
	double seconds = (double)(integer_of(is, "time_ns") - integer_of(was, "time_ns")) / 1e9;
	char key[32];

	seconds = seconds > 0 ? seconds : 1;
	for (unsigned n = 0; names[n]; n++) {
		snprintf(key, sizeof(key), "%s_s", names[n]);
		json_object_set_new(totals, key, json_real(grown(was, is, names[n], seconds)));
	}
	put_rates(before, now, seconds);
	json_decref(was);
	json_decref(is);
	return json_pack("{s:f, s:o, s:o}", "seconds", seconds, "totals", totals, "services",
			 by_service(now));
}

static int once(const struct ctl *c)
{
	struct timespec pause = {.tv_sec = INTERVAL_S};
	json_t *before = NULL, *now = NULL, *doc;
	int r = ctl_dump_look(c, "top", look, &before);

	if (r)
		return r;
	nanosleep(&pause, NULL);
	r = ctl_dump_look(c, "top", look, &now);
	if (!r) {
		doc = compare(before, now);
		if (!c->once && isatty(STDOUT_FILENO) && !c->json)
			fputs("\033[H\033[2J", stdout); /* home, and clear what follows */
		if (c->json)
			json_dumpf(doc, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		else
			show(doc);
		if (c->json)
			putchar('\n');
		fflush(stdout);
		json_decref(doc);
	}
	json_decref(before);
	json_decref(now);
	return r;
}

int ctl_top(const struct ctl *c)
{
	struct timespec pause = {.tv_sec = PAUSE_S};
	int r = once(c);

	while (!c->once && !r && !ferror(stdout) && !nanosleep(&pause, NULL))
		r = once(c);
	return r;
}
