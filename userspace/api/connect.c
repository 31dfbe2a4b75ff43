/* SPDX-License-Identifier: Apache-2.0 */
/* connect.c - what stands for a service in a mesh, found without looking at every instance: those
 * of kind connect-proxy with it as destination, and its own with Connect.Native. Follows the
 * registry's change stream. */
#include "internal.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* One that stands for a service. */
struct stand_in {
	const struct wm_instance *i; /* the key */
};
/* All of one service, by its lower-case name. */
struct stand_ins {
	struct wm_map *all;
	char name[];
};
struct wm_connect {
	struct wm_map *services;
	bool lost; /* without memory: one is not in here, and every instance is looked at */
};

/* The service that it stands for; NULL: for none. */
static const char *stands_for(const struct wm_instance *i)
{
	if (!i->traits)
		return NULL;
	if (strcmp(i->traits->kind, "connect-proxy") == 0)
		return wm_instance_proxy(i, "DestinationServiceName");
	return i->traits->native ? i->name : NULL;
}

/* @return octets; what is longer is no service's name, and is cut. */
static size_t fold(const char *name, char ret[WM_SERVICE_NAME_MAX + 1])
{
	size_t n = 0;

	for (; name[n] && n < WM_SERVICE_NAME_MAX; n++)
		ret[n] = (char)(name[n] >= 'A' && name[n] <= 'Z' ? name[n] + 32 : name[n]);
	ret[n] = 0;
	return n;
}

static struct stand_ins *find(const struct wm_connect *x, const char *name)
{
	char folded[WM_SERVICE_NAME_MAX + 1];
	size_t n = fold(name, folded);

	return wm_map_get(x->services, folded, n);
}

static struct stand_ins *make(struct wm_connect *x, const char *name)
{
	char folded[WM_SERVICE_NAME_MAX + 1];
	size_t n = fold(name, folded);
	struct stand_ins *s = calloc(1, sizeof(*s) + n + 1);

	if (!s)
		return NULL;
	memcpy(s->name, folded, n + 1);
	s->all = wm_map_new(WM_API_CONNECT_MAX);
	if (!s->all || wm_map_put(x->services, s->name, n, s, NULL)) {
		wm_map_free(s->all);
		free(s);
		return NULL;
	}
	return s;
}

static void add(struct wm_connect *x, const struct wm_instance *i)
{
	const char *of = stands_for(i);
	struct stand_ins *s = of ? find(x, of) : NULL;
	struct stand_in *one;

	if (!of || (s && wm_map_get(s->all, &i, sizeof(void *)))) /* it moved with its node */
		return;
	if (!s)
		s = make(x, of);
	one = s ? malloc(sizeof(*one)) : NULL;
	if (one)
		one->i = i;
	if (!one || wm_map_put(s->all, &one->i, sizeof(void *), one, NULL)) {
		free(one);
		x->lost = true;
	}
}

static void take_away(struct wm_connect *x, const struct wm_instance *i)
{
	const char *of = stands_for(i);
	struct stand_ins *s = of ? find(x, of) : NULL;

	if (!s)
		return;
	free(wm_map_del(s->all, &i, sizeof(void *)));
	if (wm_map_len(s->all))
		return;
	wm_map_del(x->services, s->name, strlen(s->name));
	wm_map_free(s->all);
	free(s);
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_api *a = arg;

	if (c->kind == WM_CHANGE_INSTANCE_DELETED)
		take_away(a->connect, c->instance);
	if (c->kind != WM_CHANGE_INSTANCE_UPSERT)
		return;
	if (c->old)
		take_away(a->connect, c->old);
	add(a->connect, c->instance);
}

/* --- reading ---------------------------------------------------------------------------------- */
struct found {
	const struct wm_instance **all;
	unsigned count, cap;
};

static bool push(struct found *f, const struct wm_instance *i)
{
	const struct wm_instance **next;

	if (f->count == f->cap) {
		f->cap = f->cap ? f->cap * 2 : 64;
		next = realloc(f->all, f->cap * sizeof(struct wm_instance *));
		if (!next)
			return false;
		f->all = next;
	}
	f->all[f->count++] = i;
	return true;
}

static bool gather(const struct wm_api *a, const char *name, struct found *f)
{
	const struct stand_ins *s = find(a->connect, name);
	const struct wm_instance *i;
	const struct stand_in *one;
	const char *of;
	size_t pos = 0;

	if (strlen(name) > WM_SERVICE_NAME_MAX)
		return true;
	while (!a->connect->lost && s && (one = wm_map_next(s->all, &pos))) {
		if (!push(f, one->i))
			return false;
	}
	while (a->connect->lost && (i = wm_registry_next_instance(a->d.registry, &pos))) {
		of = stands_for(i);
		if (of && strcasecmp(of, name) == 0 && !push(f, i))
			return false;
	}
	return true;
}

static void sort(void *all, size_t count)
{
	wm_sort_instances(all, (unsigned)count);
}

bool wm_connect_near(struct wm_call *c, const struct wm_node *from, const struct wm_instance ***ret,
		     unsigned *ret_count)
{
	struct found f = {0};

	bool ok = gather(c->api, c->params[0], &f);

	*ret = f.all;
	*ret_count = f.count;
	if (ok)
		wm_sort_kept(c->api, f.all, f.count, sort);
	if (ok && wm_near_sort(wm_near_members(c->api), from, f.all, f.count))
		return true;
	wm_answer_text(c, 503, "Out of memory");
	return false;
}

/* --- beginning and end ------------------------------------------------------------------------ */
int wm_connect_init(struct wm_api *a)
{
	const struct wm_instance *i;
	size_t pos = 0;

	a->connect = calloc(1, sizeof(*a->connect));
	if (!a->connect)
		return -ENOMEM;
	a->connect->services = wm_map_new(WM_API_CONNECT_MAX);
	if (!a->connect->services)
		return -ENOMEM;
	while ((i = wm_registry_next_instance(a->d.registry, &pos)))
		add(a->connect, i);
	return wm_registry_subscribe(a->d.registry, on_change, a);
}

void wm_connect_done(struct wm_api *a)
{
	struct wm_connect *x = a->connect;
	struct stand_ins *s;
	struct stand_in *one;
	size_t pos = 0, at;

	if (!x)
		return;
	while (x->services && (s = wm_map_next(x->services, &pos))) {
		at = 0;
		while ((one = wm_map_next(s->all, &at)))
			free(one);
		wm_map_free(s->all);
		free(s);
	}
	wm_map_free(x->services);
	free(x);
	a->connect = NULL;
}
