/* SPDX-License-Identifier: Apache-2.0 */
/* ready.c - is the agent alive, and may who waits for it go on: for kubelet, load balancers, units.
 */
#include "internal.h"
#include "userspace/source/source.h"

void wm_native_live(struct wm_call *c)
{
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_kb(&j, "live", true);
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}

static unsigned attached(const struct wm_plane *p)
{
	const struct wm_plane_hook *h = NULL;
	unsigned n = p ? wm_plane_hooks(p, &h) : 0, count = 0;

	for (unsigned i = 0; i < n; i++)
		count += !h[i].error;
	return count;
}

/* Of each source that has nothing to serve yet, or serves what it knew before. Why it has not names
 * servers: @p narrow, who scrapes is told the kind of it alone.
 * @return whether who waits may go on. */
static bool put_sources(struct wm_json *j, const struct wm_sources *all, bool narrow)
{
	struct wm_source_about about;
	struct wm_source *s = NULL;
	char text[512];
	bool ready = true;

	while ((s = wm_sources_next(all, s))) {
		bool may = wm_source_ready(s);
		const char *why, *lacks;

		wm_source_about(s, &about);
		why = narrow ? wm_source_state_means(about.state) : about.text;
		ready = ready && may;
		if (may && about.synced_ms && !(about.waiting && *about.alarm))
			continue;
		lacks = about.waiting	  ? "services are left to others, not all is stored yet"
			: about.synced_ms ? "its list is not stored yet"
			: may		  ? "serves what an earlier run knew"
					  : "no list is whole yet";
		snprintf(text, sizeof(text), "source.%s: %s (%s%s%s)", about.name, lacks,
			 wm_source_state_str(about.state), *why ? ": " : "", why);
		wm_json_string(j, text);
	}
	return ready;
}

/* A plane that lacks a hook serves what the others do, for as long as the kernel is what it is: a
 * rollout must not wait for that. One without any, though it is wanted, serves nobody. Nor does one
 * that knows nothing of the cluster that it is to serve. */
void wm_native_ready(struct wm_call *c)
{
	const struct wm_api *a = c->api;
	enum wm_plane_state s = a->d.watch ? wm_plane_watch_state(a->d.watch) : WM_PLANE_OFF;
	bool ready = s != WM_PLANE_DEGRADED || attached(a->d.plane);
	const char *const *reasons = NULL;
	unsigned n = a->d.watch ? wm_plane_watch_reasons(a->d.watch, &reasons) : 0;
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ks(&j, "plane", wm_plane_state_str(s));
	wm_json_kopen(&j, "reasons", '[');
	for (unsigned i = 0; i < n; i++)
		wm_json_string(&j, reasons[i]);
	ready = put_sources(&j, a->d.sources, wm_http_is_narrow(c->req)) && ready;
	wm_json_close(&j, ']');
	wm_json_kb(&j, "ready", ready);
	wm_json_close(&j, '}');
	wm_answer_end_with(c, &j, 0, ready ? 200 : 503);
}
