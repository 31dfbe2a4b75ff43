/* SPDX-License-Identifier: Apache-2.0 */
/* watch.c - keeps the data plane attached, and says in words whether it is whole. */
#include "watch.h"

#include "internal.h"
#include "survey.h"
#include "userspace/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTLE_MS	50  /* ms after news of a device: they come in bursts */
#define REASON_TEXT_MAX 400 /* octets of a reason, NUL included */

struct wm_plane_watch {
	struct wm_plane *plane;
	struct wm_tables *tables;
	bool wanted, steers;
	struct wm_timer *verify, *settle;
	struct wm_device_monitor *devices;
	char text[WM_PLANE_REASONS_MAX][REASON_TEXT_MAX];
	const char *reasons[WM_PLANE_REASONS_MAX];
	unsigned reasons_count;
	uint64_t lost;
};

const char *wm_plane_state_str(enum wm_plane_state s)
{
	return s == WM_PLANE_ON ? "on" : s == WM_PLANE_OFF ? "off" : "degraded";
}

/* --- reasons ---------------------------------------------------------------------------------- */
__attribute__((format(printf, 2, 3))) static void reason(struct wm_plane_watch *w, const char *fmt,
							 ...)
{
	va_list ap;

	if (w->reasons_count == WM_PLANE_REASONS_MAX) {
		snprintf(w->text[WM_PLANE_REASONS_MAX - 1], REASON_TEXT_MAX,
			 "and more: see the hooks");
		return;
	}
	va_start(ap, fmt);
	vsnprintf(w->text[w->reasons_count++], REASON_TEXT_MAX, fmt, ap);
	va_end(ap);
}

static bool alike(const struct wm_plane_hook *a, const struct wm_plane_hook *b)
{
	return a->error == b->error && !strcmp(a->where, b->where) && !strcmp(a->text, b->text);
}

/* Hooks that fail for one cause in one place are one reason. */
static void hook_reasons(struct wm_plane_watch *w)
{
	const struct wm_plane_hook *h;
	unsigned n = wm_plane_hooks(w->plane, &h);

	for (unsigned i = 0; i < n; i++) {
		char names[160];
		size_t at = 0;
		bool told = false;

		for (unsigned k = 0; k < i; k++)
			told |= alike(&h[k], &h[i]);
		if (!h[i].error || h[i].waiting || h[i].spare || told)
			continue;
		for (unsigned k = i; k < n && at < sizeof(names); k++)
			if (alike(&h[k], &h[i]))
				at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s",
						       at ? ", " : "", h[k].name);
		reason(w, "%s at %s: %s", names, h[i].where, h[i].text);
	}
}

static void find_reasons(struct wm_plane_watch *w)
{
	w->reasons_count = 0;
	hook_reasons(w);
	if (w->plane->cgroup_found && wm_cgroup_is_private(w->plane->c.cgroup))
		reason(w,
		       "%s is the root of a private cgroup namespace: processes outside of it are "
		       "not steered; mount the machine's cgroup2 and name it in kernel.cgroup",
		       w->plane->c.cgroup);
	if (wm_plane_custom_refused(w->plane))
		reason(w, "%s", wm_plane_custom_refused(w->plane));
	if (w->plane->devices_left_out)
		reason(w,
		       "%u devices of kernel.veth_devices and kernel.dns_devices are left out: %d "
		       "hooks are the limit",
		       w->plane->devices_left_out, WM_DEVICES_MAX);
}

/* --- attach ----------------------------------------------------------------------------------- */
static void log_attached(const struct wm_plane_hook *h)
{
	/* what is attached again has a limit of its own: the start has as many lines as one allows
	 */
	static struct wm_log_site sites[2];

	wm_log_at(&sites[h->known], WM_LOG_INFO, "plane.hook",
		  "name=%s where=%s how=%s link=%u insns=%u", h->name, wm_log_q(h->where), h->how,
		  h->link_id, h->verified_insns);
}

static void log_hook(const struct wm_plane_hook *h)
{
	if (h->error && !(h->known && h->was_error == h->error))
		wm_warn("plane.hook", "name=%s where=%s err=%s text=%s", h->name,
			wm_log_q(h->where), wm_err_name(h->error), wm_log_q(h->text));
	if (h->known && h->was_lost)
		wm_warn("plane.hook_lost",
			"name=%s where=%s link=%u text=\"it was detached by "
			"somebody else, or its pin was removed\"",
			h->name, wm_log_q(h->where), h->was_link_id);
	if (!h->error && (!h->known || h->was_error || h->was_lost))
		log_attached(h);
}

static void attach(struct wm_plane_watch *w)
{
	const struct wm_plane_hook *h;
	struct wm_err e = {0};
	int r = wm_plane_attach(w->plane, &e);
	unsigned n = wm_plane_hooks(w->plane, &h);
	bool steers = wm_plane_steers(w->plane);

	for (unsigned i = 0; i < n; i++) {
		log_hook(&h[i]);
		w->lost += h[i].known && h[i].was_lost;
	}
	if (r < 0)
		wm_warn("plane.detached", "err=%s text=%s", wm_err_name(r), wm_log_q(e.text));
	find_reasons(w);
	if (r < 0 && !w->reasons_count)
		reason(w, "%s", e.text);
	if (steers != w->steers) {
		w->steers = steers;
		wm_tables_set_virtual(w->tables, steers);
	}
}

static bool has_errors(const struct wm_plane *p)
{
	const struct wm_plane_hook *h;
	unsigned n = wm_plane_hooks(p, &h), bad = 0;

	for (unsigned i = 0; i < n; i++)
		bad += h[i].error != 0;
	return bad;
}

static void log_routes(const struct wm_plane *p)
{
	const struct wm_plane_route *routes;
	unsigned n = wm_plane_routes(p, &routes), there = 0;

	for (unsigned i = 0; i < n; i++) {
		there += !routes[i].error;
		if (routes[i].error)
			wm_warn("plane.route", "prefix=%s err=%s text=%s", routes[i].prefix,
				wm_err_name(routes[i].error), wm_log_q(routes[i].text));
	}
	wm_info("plane.routes", "unreachable=%u of=%u", there, n);
}

static void on_verify(void *arg)
{
	struct wm_plane_watch *w = arg;

	if (wm_plane_check(w->plane) || has_errors(w->plane))
		attach(w);
	else
		(void)wm_routes_apply(w->plane); /* those that somebody flushed */
	wm_timer_tick(w->verify, WM_PLANE_VERIFY_MS);
}

static void on_settle(void *arg)
{
	attach(arg);
}

static void on_device(void *arg)
{
	struct wm_plane_watch *w = arg;

	wm_timer_arm(w->settle, SETTLE_MS);
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_plane_watch *wm_plane_watch_new(const struct wm_plane_watch_config *c)
{
	struct wm_plane_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->plane = c->plane;
	w->tables = c->tables;
	w->wanted = c->wanted;
	for (unsigned i = 0; i < WM_PLANE_REASONS_MAX; i++)
		w->reasons[i] = w->text[i];
	w->verify = wm_timer_new(c->loop, on_verify, w);
	w->settle = wm_timer_new(c->loop, on_settle, w);
	if (!w->verify || !w->settle) {
		wm_plane_watch_free(w);
		return NULL;
	}
	if (w->plane && w->plane->c.attach_dns)
		w->devices = wm_device_monitor_new(c->loop, on_device, w);
	/* Whether connect() will be steered is not known yet; who asks before the start of the loop
	 * is nobody. */
	w->steers = w->plane && w->plane->c.attach_connect;
	wm_tables_set_virtual(w->tables, w->steers);
	if (!w->plane)
		reason(w, "%s", c->why && *c->why ? c->why : "there is no data plane");
	return w;
}

static void log_taken(void *arg, const struct wm_leftover *l)
{
	(void)arg;
	wm_info("plane.taken_over", "name=%s where=%s pins=%s link=%u", l->name, wm_log_q(l->where),
		wm_log_q(l->pin_dir), l->link_id);
}

void wm_plane_watch_start(struct wm_plane_watch *w)
{
	struct wm_plane_config c;
	int r;

	if (!w->plane)
		return;
	c = w->plane->c;
	c.lo_devices = (const char *const *)w->plane->lo_devices;
	c.veth_devices = (const char *const *)w->plane->veth_devices;
	c.link_devices = (const char *const *)w->plane->link_devices;
	if (wm_plane_custom_refused(w->plane))
		wm_warn("plane.custom", "text=%s", wm_log_q(wm_plane_custom_refused(w->plane)));
	attach(w);
	log_routes(w->plane);
	/* only now: between the two there is no moment without an answer */
	r = wm_plane_take_over(&c, w->plane->mem[WM_MAP_CONFIG], log_taken, NULL);
	if (r < 0)
		wm_warn("plane.leftovers", "err=%s", wm_err_name(r));
	wm_timer_tick(w->verify, WM_PLANE_VERIFY_MS);
}

void wm_plane_watch_custom(struct wm_plane_watch *w)
{
	struct wm_err e = {0};
	bool changed = false;

	if (!w->plane)
		return;
	if (wm_plane_custom_reload(w->plane, &changed, &e)) {
		wm_warn("plane.custom", "err=%s text=%s", wm_err_name(e.code), wm_log_q(e.text));
		find_reasons(w);
	} else if (changed) {
		wm_info("plane.custom", "file=%s", wm_log_q(w->plane->c.custom));
		attach(w);
	}
}

void wm_plane_watch_free(struct wm_plane_watch *w)
{
	if (!w)
		return;
	wm_device_monitor_free(w->devices);
	wm_timer_free(w->verify);
	wm_timer_free(w->settle);
	free(w);
}

enum wm_plane_state wm_plane_watch_state(const struct wm_plane_watch *w)
{
	if (!w->wanted)
		return WM_PLANE_OFF;
	return w->reasons_count ? WM_PLANE_DEGRADED : WM_PLANE_ON;
}

uint64_t wm_plane_watch_lost(const struct wm_plane_watch *w)
{
	return w->lost;
}

unsigned wm_plane_watch_reasons(const struct wm_plane_watch *w, const char *const **ret)
{
	*ret = w->reasons;
	return w->reasons_count;
}
