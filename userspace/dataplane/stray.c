/* SPDX-License-Identifier: Apache-2.0 */
/* stray.c - see stray.h. */
#include "stray.h"

#include "internal.h"
#include "survey.h"
#include "userspace/base/macros.h"
#include "waymark/dns_tail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 640 /* octets of a text: a path and what is said of it */

struct stray {
	const struct wm_plane *p;
	struct wm_plane_config c; /* with the devices */
	void (*fn)(void *arg, const char *text);
	void *arg;
};

__attribute__((format(printf, 2, 3))) static void tell(const struct stray *s, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->fn(s->arg, text);
}

static void see_neighbour(void *arg, const struct wm_neighbour *n)
{
	tell(arg, "program '%s' of other software is on %s of %s (id %u, tag %s), %s", n->name,
	     n->hook, n->where, n->prog_id, *n->tag ? n->tag : "-", wm_neighbour_meaning(n));
}

/* --- a step of each walk: is there more? ------------------------------------------------------ */
static bool next_hook(const struct stray *s, struct wm_stray_walk *w)
{
	const struct wm_plane_hook *h = &s->p->hooks[w->at];

	if (w->at >= s->p->hooks_count)
		return false;
	w->at++;
	if (h->error && !h->waiting)
		tell(s, "%s is not attached to %s: %s", h->name, h->where, h->text);
	else if (!h->error && !wm_plane_holds(s->p, h))
		tell(s, "%s was detached from %s, or has another program there", h->name, h->where);
	return true;
}

/* Programs that those of DNS call: none is on a hook of its own. */
static bool next_called(const struct stray *s, struct wm_stray_walk *w)
{
	const char *name;

	if (w->at >= WM_DNS_TAILS)
		return false;
	if (wm_tails_lacks(s->p, w->at, &name))
		tell(s,
		     "%s is not in slot %u of dns_tails, where the programs of DNS call it: "
		     "userspace answers what it would",
		     name, w->at);
	w->at++;
	return true;
}

static bool next_cgroup(const struct stray *s, struct wm_stray_walk *w)
{
	(void)w;
	(void)wm_plane_cgroup_neighbours(&s->c, see_neighbour, (void *)(uintptr_t)s);
	return false;
}

static bool next_device(const struct stray *s, struct wm_stray_walk *w)
{
	if (!s->c.attach_dns)
		return false;
	if (!w->devices)
		w->devices_count = wm_devices_list(&w->devices);
	if ((int)w->at >= w->devices_count)
		return false;
	wm_plane_device_neighbours(&s->c, &w->devices[w->at++], see_neighbour,
				   (void *)(uintptr_t)s);
	return true;
}

static bool is_our_hook(const struct wm_plane *p, uint32_t link_id)
{
	for (unsigned i = 0; i < p->hooks_count; i++)
		if (!p->hooks[i].error && p->hooks[i].link_id == link_id)
			return true;
	return false;
}

/* Links of Waymark's that are on the same cgroup or device, or on a cgroup above, and not ours. */
static bool next_link(const struct stray *s, struct wm_stray_walk *w)
{
	struct wm_leftover l = {0};

	if (bpf_link_get_next_id(w->link_id, &w->link_id))
		return false;
	if (is_our_hook(s->p, w->link_id) || !wm_plane_leftover(&s->c, w->link_id, &l) ||
	    !(l.same || l.above))
		return true;
	tell(s, "link %u of another run of Waymark has %s on %s (program %u, tag %s)", l.link_id,
	     l.name, l.where, l.prog_id, *l.tag ? l.tag : "-");
	return true;
}

bool wm_plane_stray(const struct wm_plane *p, struct wm_stray_walk *w, unsigned count,
		    void (*fn)(void *arg, const char *text), void *arg)
{
	static bool (*const phases[])(const struct stray *s, struct wm_stray_walk *w) = {
		next_hook, next_called, next_cgroup, next_device, next_link};
	struct stray s = {p, p->c, fn, arg};

	s.c.lo_devices = (const char *const *)p->lo_devices;
	s.c.veth_devices = (const char *const *)p->veth_devices;
	s.c.link_devices = (const char *const *)p->link_devices;
	while (count-- && w->phase < WM_ARRAY_LEN(phases)) {
		if (phases[w->phase](&s, w))
			continue;
		w->phase++;
		w->at = 0;
	}
	if (w->phase < WM_ARRAY_LEN(phases))
		return true;
	wm_stray_done(w);
	return false;
}

void wm_plane_unpinned(const struct wm_plane *p,
		       void (*fn)(void *arg, const char *map, const char *text), void *arg)
{
	char text[TEXT_MAX];
	const char *dir;

	for (unsigned i = 0; i < WM_MAP_COUNT; i++) {
		if (!wm_maps_pin_lost(p, i, &dir))
			continue;
		snprintf(
			text, sizeof(text),
			"the pin %s/%s/%s is gone, or is another map's: nobody finds the map by it",
			p->c.pin_dir, dir, p->maps[i].name);
		fn(arg, p->maps[i].name, text);
	}
}

void wm_stray_done(struct wm_stray_walk *w)
{
	free(w->devices);
	*w = (struct wm_stray_walk){0};
}
