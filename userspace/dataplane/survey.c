/* SPDX-License-Identifier: Apache-2.0 */
/* survey.c - who else is attached. Pins are looked for in the bpffs of the configuration and the
 * usual one, two levels deep; links without a visible pin are found by their ids. */
#include "survey.h"

#include "internal.h"
#include "userspace/base/macros.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BPFFS	      "/sys/fs/bpf"
#define DIRS_MAX      64   /* pin directories that are looked into */
#define LINKS_MAX     8192 /* links that are looked at: bounds a walk of ids that others make */
#define ANCESTORS_MAX 64   /* depth of the configured cgroup */
#define DEPTH_MAX     2	   /* of a pin directory below a bpffs */

struct dirs {
	char path[DIRS_MAX][WM_PIN_DIR_MAX];
	unsigned n;
};

struct survey {
	const struct wm_plane_config *c;
	void (*fn)(void *arg, const struct wm_leftover *l);
	void *arg;
	const char *dir; /* being looked into; "": links without a pin */
	bool held;
	unsigned live;			 /* of dir: links and filters of a cgroup or device */
	uint64_t cgroups[ANCESTORS_MAX]; /* the configured one, then those above it */
	unsigned cgroups_count;
	uint32_t *pinned; /* ids of links that some directory keeps, ours too */
	unsigned pinned_count;
	int found;
};

/* --- where pins are --------------------------------------------------------------------------- */
static bool is_pin_dir(const char *path)
{
	return wm_pins_exists(path, "links") || wm_pins_exists(path, "clsact") ||
	       wm_pins_exists(path, WM_TRACE_DIR);
}

static void add_dir(struct dirs *d, const char *path)
{
	for (unsigned i = 0; i < d->n; i++)
		if (!strcmp(d->path[i], path))
			return;
	if (d->n < DIRS_MAX && strlen(path) < WM_PIN_DIR_MAX)
		snprintf(d->path[d->n++], WM_PIN_DIR_MAX, "%s", path);
}

static void find_dirs(struct dirs *d, const char *base, unsigned depth)
{
	DIR *list = wm_pins_is_bpffs(base) ? opendir(base) : NULL;
	struct dirent *e;

	while (list && (e = readdir(list))) {
		char path[WM_PIN_DIR_MAX + 256 + 2];

		if (e->d_name[0] == '.' || e->d_type != DT_DIR)
			continue;
		snprintf(path, sizeof(path), "%s/%s", base, e->d_name);
		if (strlen(path) >= WM_PIN_DIR_MAX)
			continue;
		if (is_pin_dir(path))
			add_dir(d, path);
		else if (depth < DEPTH_MAX)
			find_dirs(d, path, depth + 1);
	}
	if (list)
		closedir(list);
}

/* --- whose a program is ----------------------------------------------------------------------- */
static bool is_our_map(const void *arg, const struct bpf_map_info *m)
{
	(void)arg;
	return !strcmp(m->name, wm_map_specs[WM_MAP_SOCKET_ORIGIN].name) ||
	       !strcmp(m->name, wm_map_specs[WM_MAP_CONNECTIONS].name) ||
	       !strcmp(m->name, wm_map_specs[WM_MAP_BACKENDS].name);
}

static bool uses_our_maps(int prog_fd)
{
	_cleanup_close_ int fd = wm_prog_map(prog_fd, is_our_map, NULL);

	return fd >= 0;
}

static bool is_our_name(const char *name)
{
	for (unsigned i = 0; i < WM_PROG_COUNT; i++)
		if (!strcmp(wm_prog_name(i), name))
			return true;
	return false;
}

/* @return whether program @p id is Waymark's; its name and tag. */
static bool prog_is_ours(uint32_t id, char name[16], char tag[17])
{
	_cleanup_close_ int fd = bpf_prog_get_fd_by_id(id);
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		return false;
	snprintf(name, 16, "%s", info.name);
	for (unsigned i = 0; tag && i < sizeof(info.tag); i++)
		snprintf(tag + (size_t)2 * i, 3, "%02x", info.tag[i]);
	return is_our_name(name) && uses_our_maps(fd);
}

/* --- one link --------------------------------------------------------------------------------- */
static bool matches(const char *const *devices, const char *name)
{
	for (; devices && *devices; devices++)
		if (fnmatch(*devices, name, 0) == 0)
			return true;
	return false;
}

static bool is_our_device(const struct wm_plane_config *c, const char *name)
{
	return c->attach_dns && (matches(c->lo_devices, name) || matches(c->veth_devices, name) ||
				 matches(c->link_devices, name));
}

/* The device of a tcx link, where it is one of this network namespace. */
static void place_device(const struct survey *s, const struct wm_link_place *at,
			 struct wm_leftover *l)
{
	struct wm_device *list = NULL;
	int n = wm_devices_list(&list);

	snprintf(l->where, sizeof(l->where), "device %u", at->ifindex);
	for (int i = 0; i < n; i++)
		if (list[i].ifindex == at->ifindex && wm_tcx_link_is_on(l->link_id, at->ifindex)) {
			snprintf(l->where, sizeof(l->where), "%s", list[i].name);
			l->same = is_our_device(s->c, list[i].name);
		}
	free(list);
}

static void place_cgroup(const struct survey *s, uint64_t id, struct wm_leftover *l)
{
	if (wm_cgroup_path(id, l->where, sizeof(l->where)))
		snprintf(l->where, sizeof(l->where), "cgroup %llu", (unsigned long long)id);
	for (unsigned i = 0; s->c->attach_connect && i < s->cgroups_count; i++)
		if (s->cgroups[i] == id) {
			l->same = i == 0;
			l->above = i > 0;
		}
}

/* A tracepoint's is on no cgroup: it is in our way where it is all that a run has left, whose
 * cgroup is gone. */
static void place_trace(const struct survey *s, struct wm_leftover *l)
{
	snprintf(l->where, sizeof(l->where), "kernel");
	l->same = !s->held && !s->live;
}

static void look_at_link(struct survey *s, int fd)
{
	struct wm_leftover l = {.held = s->held};
	struct wm_link_place at;

	if (wm_link_place(fd, &at) || !prog_is_ours(at.prog_id, l.name, l.tag))
		return;
	if (at.traced && !*s->dir) /* whose it is nobody can say */
		return;
	l.link_id = at.id;
	l.prog_id = at.prog_id;
	snprintf(l.pin_dir, sizeof(l.pin_dir), "%s", s->dir);
	if (at.traced)
		place_trace(s, &l);
	else if (at.ifindex)
		place_device(s, &at, &l);
	else
		place_cgroup(s, at.cgroup_id, &l);
	s->found++;
	s->fn(s->arg, &l);
}

/* --- the walk --------------------------------------------------------------------------------- */
static int look_at_pin(void *arg, const char *path, const char *name)
{
	_cleanup_close_ int fd = bpf_obj_get(path);
	struct survey *s = arg;
	struct wm_link_place at;

	(void)name;
	if (fd < 0 || wm_link_place(fd, &at) || s->pinned_count == LINKS_MAX)
		return 0;
	s->pinned[s->pinned_count++] = at.id;
	s->live += !at.traced;
	if (strcmp(s->dir, s->c->pin_dir) != 0)
		look_at_link(s, fd);
	return 0;
}

/* clsact filters have no links: their pins tell. */
static int look_at_filter(void *arg, const char *path, const char *name)
{
	struct survey *s = arg;
	struct wm_leftover l = {.held = s->held};
	const char *device = strchr(name, '@');

	if (!device || !wm_clsact_is_on(path, name))
		return 0;
	snprintf(l.name, sizeof(l.name), "%.*s", (int)(device - name), name);
	snprintf(l.where, sizeof(l.where), "%s", device + 1);
	for (char *c = l.where; *c; c++)
		if (*c == '%')
			*c = '.';
	snprintf(l.pin_dir, sizeof(l.pin_dir), "%s", s->dir);
	l.same = is_our_device(s->c, l.where);
	s->live++;
	s->found++;
	s->fn(s->arg, &l);
	return 0;
}

static bool is_pinned(const struct survey *s, uint32_t id)
{
	for (unsigned i = 0; i < s->pinned_count; i++)
		if (s->pinned[i] == id)
			return true;
	return false;
}

static void walk_ids(struct survey *s)
{
	uint32_t id = 0;

	s->dir = "";
	s->held = false;
	for (unsigned n = 0; n < LINKS_MAX && !bpf_link_get_next_id(id, &id); n++) {
		_cleanup_close_ int fd = is_pinned(s, id) ? -1 : bpf_link_get_fd_by_id(id);

		if (fd >= 0)
			look_at_link(s, fd);
	}
}

static void find_cgroups(struct survey *s)
{
	char path[WM_PIN_PATH_MAX];
	uint64_t id;
	int fd;

	if (s->c->cgroup)
		snprintf(path, sizeof(path), "%s", s->c->cgroup);
	else if (wm_cgroup_root(path, sizeof(path)))
		return;
	while (s->cgroups_count < ANCESTORS_MAX && (fd = wm_cgroup_open(path, &id)) >= 0) {
		close(fd);
		s->cgroups[s->cgroups_count++] = id;
		(void)dirname(path); /* in place, but for "/", which is no cgroup */
	}
}

int wm_plane_leftovers(const struct wm_plane_config *c,
		       void (*fn)(void *arg, const struct wm_leftover *l), void *arg)
{
	struct survey s = {.c = c, .fn = fn, .arg = arg};
	char copy[WM_PIN_DIR_MAX];
	struct dirs *d = calloc(1, sizeof(*d));

	s.pinned = calloc(LINKS_MAX, sizeof(*s.pinned));
	if (d && s.pinned) {
		snprintf(copy, sizeof(copy), "%s", c->pin_dir);
		find_dirs(d, dirname(copy), 1);
		find_dirs(d, BPFFS, 1);
		find_cgroups(&s);
		for (unsigned i = 0; i < d->n; i++) {
			s.dir = d->path[i];
			s.held = wm_pins_held(s.dir);
			s.live = 0;
			(void)wm_pins_each(s.dir, "links", look_at_pin, &s);
			if (strcmp(s.dir, c->pin_dir) != 0)
				(void)wm_pins_each(s.dir, "clsact", look_at_filter, &s);
			(void)wm_pins_each(s.dir, WM_TRACE_DIR, look_at_pin, &s);
		}
		walk_ids(&s);
	} else {
		s.found = -ENOMEM;
	}
	free(s.pinned);
	free(d);
	return s.found;
}

static void keep(void *arg, const struct wm_leftover *l)
{
	*(struct wm_leftover *)arg = *l;
}

bool wm_plane_leftover(const struct wm_plane_config *c, uint32_t link_id, struct wm_leftover *ret)
{
	struct survey s = {.c = c, .fn = keep, .arg = ret, .dir = ""};
	_cleanup_close_ int fd = bpf_link_get_fd_by_id(link_id);
	struct wm_link_place at;
	char name[16], tag[17];

	if (fd < 0 || wm_link_place(fd, &at) || !prog_is_ours(at.prog_id, name, tag))
		return false;
	find_cgroups(&s);
	look_at_link(&s, fd);
	return s.found;
}

/* --- rivals and leftovers --------------------------------------------------------------------- */
static void see_rival(void *arg, const struct wm_leftover *l)
{
	struct wm_leftover *rival = arg;

	if (l->held && l->same && strncmp(l->name, "dns_", 4) != 0)
		*rival = *l;
}

int wm_plane_rival(const struct wm_plane_config *c, struct wm_err *e)
{
	struct wm_leftover rival = {0};
	int r = wm_plane_leftovers(c, see_rival, &rival);

	if (r < 0)
		return wm_err_set(e, r, "looking for other agents: %s", strerror(-r));
	return *rival.name
		       ? wm_err_set(e, -EBUSY,
				    "another running agent steers %s, with pins in %s: stop it, or "
				    "give this one another kernel.cgroup",
				    rival.where, rival.pin_dir)
		       : 0;
}

/* Whether two agents answer on one address and port. */
static bool answer_alike(const struct wm_config *a, const struct wm_config *b)
{
	bool port = false;

	for (unsigned i = 0; i < 4; i++)
		port |= a->dns_port_be[i / 2] && a->dns_port_be[i / 2] == b->dns_port_be[i % 2];
	for (unsigned i = 0; port && i < a->dns_addr4_count; i++)
		for (unsigned k = 0; k < b->dns_addr4_count; k++)
			if (a->dns_addr4_be[i] == b->dns_addr4_be[k])
				return true;
	for (unsigned i = 0; port && i < a->dns_addr6_count; i++)
		for (unsigned k = 0; k < b->dns_addr6_count; k++)
			if (!memcmp(a->dns_addr6_be[i], b->dns_addr6_be[k],
				    sizeof(a->dns_addr6_be[i])))
				return true;
	return false;
}

/* An unreadable config is one of another layout: whose addresses nobody knows. */
static bool dir_answers_alike(const char *pin_dir, const struct wm_config *mine)
{
	_cleanup_close_ int fd = -1;
	char path[WM_PIN_PATH_MAX];
	struct wm_config theirs = {0};
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info), zero = 0;

	if (!*pin_dir || wm_pins_path(path, pin_dir, "maps", wm_map_specs[WM_MAP_CONFIG].name))
		return false;
	fd = bpf_obj_get(path);
	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) &&
	       info.value_size == sizeof(theirs) && !bpf_map_lookup_elem(fd, &zero, &theirs) &&
	       answer_alike(mine, &theirs);
}

struct take {
	const struct wm_config *mine;
	void (*fn)(void *arg, const struct wm_leftover *l);
	void *arg;
	struct dirs dirs;
	int links;
};

static void see_leftover(void *arg, const struct wm_leftover *l)
{
	struct take *t = arg;
	_cleanup_close_ int fd = -1;

	if (l->held || !l->same ||
	    (!strncmp(l->name, "dns_", 4) && !dir_answers_alike(l->pin_dir, t->mine)))
		return;
	t->links++;
	if (t->fn)
		t->fn(t->arg, l);
	if (*l->pin_dir) {
		add_dir(&t->dirs, l->pin_dir);
		return;
	}
	fd = bpf_link_get_fd_by_id(l->link_id);
	if (fd >= 0)
		bpf_link_detach(fd);
}

int wm_plane_take_over(const struct wm_plane_config *c, const struct wm_config *mine,
		       void (*fn)(void *arg, const struct wm_leftover *l), void *arg)
{
	struct take *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->mine = mine;
	t->fn = fn;
	t->arg = arg;
	r = wm_plane_leftovers(c, see_leftover, t);
	for (unsigned i = 0; r >= 0 && i < t->dirs.n; i++) {
		int err = wm_plane_detach(t->dirs.path[i], false, NULL);

		r = err < 0 ? err : r;
	}
	r = r < 0 ? r : t->links;
	free(t);
	return r;
}

/* --- other software --------------------------------------------------------------------------- */
struct look {
	const char *pin_dir;
	void (*fn)(void *arg, const struct wm_neighbour *n);
	void *arg;
	uint32_t wanted;
	int found;
};

static int is_link_of(void *arg, const char *path, const char *name)
{
	_cleanup_close_ int fd = bpf_obj_get(path);
	struct look *l = arg;
	struct wm_link_place at;

	(void)name;
	return fd >= 0 && !wm_link_place(fd, &at) && at.prog_id == l->wanted;
}

/* A program may be asked for by its id with CAP_SYS_ADMIN only, which the agent's container has
 * not: there our own are those of the links that we have pinned. */
static bool is_ours(struct look *l, uint32_t id, char name[16], char tag[17])
{
	*name = '\0';
	if (prog_is_ours(id, name, tag))
		return true;
	l->wanted = id;
	return !*name && wm_pins_each(l->pin_dir, "links", is_link_of, l) > 0;
}

/* @p ids: in the order in which they run. */
static void see_progs(struct look *l, const char *hook, const char *where, const uint32_t *ids,
		      uint32_t n)
{
	char name[16], tag[17];
	uint32_t ours = 0;

	while (ours < n && !(ids[ours] && is_ours(l, ids[ours], name, tag)))
		ours++;
	for (uint32_t i = 0; i < n; i++) {
		struct wm_neighbour x = {
			.hook = hook, .prog_id = ids[i], .in_front = i < ours && ours < n};

		if (!ids[i] || is_ours(l, ids[i], x.name, x.tag))
			continue;
		snprintf(x.where, sizeof(x.where), "%s", where);
		l->found++;
		l->fn(l->arg, &x);
	}
}

static int cgroup_neighbours(struct look *l, const struct wm_plane_config *c)
{
	char root[WM_PIN_PATH_MAX] = "";
	const char *path = c->cgroup ? c->cgroup : root;
	_cleanup_close_ int fd = -1;
	uint64_t id;
	int r = c->cgroup ? 0 : wm_cgroup_root(root, sizeof(root));

	fd = r ? r : wm_cgroup_open(path, &id);
	if (fd < 0)
		return fd;
	for (unsigned i = 0; !r && i <= WM_PROG_CONNECT6; i++) {
		uint32_t ids[WM_QUERY_MAX] = {0}, flags = 0, n = WM_QUERY_MAX;

		r = bpf_prog_query(fd, wm_cgroup_type(i), BPF_F_QUERY_EFFECTIVE, &flags, ids, &n);
		if (!r)
			see_progs(l, wm_prog_name(i), path, ids,
				  n < WM_QUERY_MAX ? n : WM_QUERY_MAX);
	}
	return r;
}

static void device_neighbours(struct look *l, const struct wm_plane_config *c,
			      const struct wm_device *d)
{
	uint32_t ids[WM_QUERY_MAX] = {0};
	int n = is_our_device(c, d->name) ? wm_tcx_progs(d->ifindex, ids) : 0;

	if (n > 0)
		see_progs(l, "ingress", d->name, ids, (uint32_t)n);
}

const char *wm_neighbour_meaning(const struct wm_neighbour *n)
{
	if (!strcmp(n->hook, "ingress"))
		return n->in_front ? "in front of ours: DNS that it does not pass on is not "
				     "answered in the kernel"
				   : "behind ours: it does not see DNS that the kernel answers";
	if (!strncmp(n->hook, "connect", 7) || !strncmp(n->hook, "sendmsg", 7))
		return n->in_front ? "in front of ours: it sees virtual addresses, and may refuse "
				     "or change them"
				   : "behind ours: it sees backends in place of virtual addresses";
	if (!strncmp(n->hook, "recvmsg", 7) || !strncmp(n->hook, "getpeername", 11))
		return n->in_front ? "in front of ours: it sees backends in place of virtual "
				     "addresses, and one that it changes is not shown as virtual"
				   : "behind ours: it sees virtual addresses";
	return "which makes no difference";
}

int wm_plane_neighbours(const struct wm_plane_config *c,
			void (*fn)(void *arg, const struct wm_neighbour *n), void *arg)
{
	struct look l = {.pin_dir = c->pin_dir, .fn = fn, .arg = arg};
	struct wm_device *list = NULL;
	int r = c->attach_connect ? cgroup_neighbours(&l, c) : 0;
	int n = r ? 0 : wm_devices_list(&list);

	for (int i = 0; i < n; i++)
		device_neighbours(&l, c, &list[i]);
	free(list);
	return r ? r : l.found;
}

int wm_plane_cgroup_neighbours(const struct wm_plane_config *c,
			       void (*fn)(void *arg, const struct wm_neighbour *n), void *arg)
{
	struct look l = {.pin_dir = c->pin_dir, .fn = fn, .arg = arg};

	return c->attach_connect ? cgroup_neighbours(&l, c) : 0;
}

void wm_plane_device_neighbours(const struct wm_plane_config *c, const struct wm_device *d,
				void (*fn)(void *arg, const struct wm_neighbour *n), void *arg)
{
	struct look l = {.pin_dir = c->pin_dir, .fn = fn, .arg = arg};

	device_neighbours(&l, c, d);
}
