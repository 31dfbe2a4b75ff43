/* SPDX-License-Identifier: Apache-2.0 */
/* kube_view.c - see kube_view.h: objects come and go, and what follows is told. What an object is
 * told to be is what follows of the objects that are kept; so what was told before a change is
 * known without being kept: it is asked of them before the change is made. */
#include "kube_view_internal.h"
#include "userspace/base/hash.h"
#include "userspace/base/json_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXTS_MAX (2u << 20) /* octets of a slice's texts: as many as its object may have */
#define FEW	  64	     /* room for changes that is kept from call to call */

/* An endpoint that may be told of otherwise: where it was told to be, NULL: nowhere. */
struct change {
	struct in6_addr address;
	const char *pod; /* in one of the two slices */
	struct node *before;
};

/* --- nodes -------------------------------------------------------------------------------------
 */
struct node *node_get(struct wm_kube_view *v, const char *name)
{
	size_t len = strlen(name);
	struct node *n = wm_map_get(v->nodes, name, len);
	char *copy;

	if (n)
		return n;
	n = calloc(1, sizeof(*n));
	copy = strdup(name);
	if (!n || !copy || wm_map_put(v->nodes, copy, len, n, NULL)) {
		free(n);
		free(copy);
		return NULL;
	}
	n->name = copy;
	v->octets += sizeof(*n) + len + 1;
	return n;
}

static void node_drop(struct wm_kube_view *v, struct node *n)
{
	if (n->refs || n->known || n == v->self)
		return;
	if (n->told)
		v->c.out.node_gone(v->c.arg, n->name);
	v->octets -= sizeof(*n) + strlen(n->name) + 1;
	wm_map_del(v->nodes, n->name, strlen(n->name));
	free(n->name);
	free(n);
}

void node_unref(struct wm_kube_view *v, struct node *n)
{
	n->refs--;
	node_drop(v, n);
}

static void add_pair(struct wm_pair *to, unsigned *count, const char *key, const char *value)
{
	to[(*count)++] =
		(struct wm_pair){.key = (char *)(uintptr_t)key, .value = (char *)(uintptr_t)value};
}

static void node_tell(struct wm_kube_view *v, struct node *n, const struct wm_kube_node *in)
{
	char internal[2][INET6_ADDRSTRLEN], external[2][INET6_ADDRSTRLEN];
	struct wm_pair tagged[4], meta[1];
	struct wm_node_draft d = {.id = in->meta.uid,
				  /* the model has no zone without a region */
				  .region = *in->region ? in->region : in->zone,
				  .zone = in->zone,
				  .tagged = tagged,
				  .meta = meta};

	for (unsigned i = 0; i < in->internal_count; i++) {
		wm_kube_address_format(&in->internal[i], internal[i]);
		add_pair(tagged, &d.tagged_count,
			 wm_kube_is4(&in->internal[i]) ? "lan_ipv4" : "lan_ipv6", internal[i]);
	}
	for (unsigned i = 0; i < in->external_count; i++) {
		wm_kube_address_format(&in->external[i], external[i]);
		add_pair(tagged, &d.tagged_count,
			 wm_kube_is4(&in->external[i]) ? "wan_ipv4" : "wan_ipv6", external[i]);
	}
	d.address = in->internal_count ? internal[0] : in->external_count ? external[0] : "";
	if (n == v->self)
		add_pair(meta, &d.meta_count, "local", "true");
	v->c.out.node(v->c.arg, n->name, &d);
	n->told = true;
}

static void tell_hints(struct wm_kube_view *v, struct service *s);

/* Where this node is counts for hints, and its addresses for node ports. */
static void self_changed(struct wm_kube_view *v)
{
	struct service *s;
	size_t pos = 0;

	while ((s = wm_map_next(v->services, &pos))) {
		if (!s->spec)
			continue;
		tell_hints(v, s);
		spec_tell(v, s);
	}
}

static int take_node(struct wm_kube_view *v, const json_t *o, struct wm_err *e)
{
	struct wm_kube_node in;
	struct node *n;
	bool moved;
	int r = wm_kube_node_decode(o, &in, e);

	if (r)
		return r;
	if (strlen(in.zone) > WM_KUBE_LABEL_MAX || strlen(in.region) > WM_KUBE_LABEL_MAX)
		return wm_err_set(e, WM_E_INVALID, "%.63s: region or zone is too long",
				  in.meta.name);
	n = node_get(v, in.meta.name);
	if (!n)
		return wm_err_set(e, -ENOMEM, "out of memory");
	moved = strcmp(n->zone, in.zone) != 0 || strcmp(n->region, in.region) != 0 ||
		n->internal_count != in.internal_count ||
		memcmp(n->internal, in.internal, sizeof(in.internal)) != 0;
	n->seen = v->seen[WM_KUBE_NODES];
	n->known = true;
	snprintf(n->zone, sizeof(n->zone), "%s", in.zone);
	snprintf(n->region, sizeof(n->region), "%s", in.region);
	n->internal_count = in.internal_count;
	memcpy(n->internal, in.internal, sizeof(n->internal));
	node_tell(v, n, &in);
	if (n == v->self && moved)
		self_changed(v);
	return 0;
}

static void drop_node(struct wm_kube_view *v, struct node *n)
{
	if (!n)
		return;
	n->known = false;
	node_drop(v, n);
}

/* --- services ----------------------------------------------------------------------------------
 */
static struct service *service_get(struct wm_kube_view *v, const char *ns, const char *name)
{
	char key[KEY_MAX + 1];
	size_t len = (size_t)snprintf(key, sizeof(key), "%s/%s", ns, name);
	struct service *s = wm_map_get(v->services, key, len);

	if (s)
		return s;
	s = calloc(1, sizeof(*s) + len + 1);
	if (!s)
		return NULL;
	memcpy(s->key, key, len + 1);
	if (wm_map_put(v->services, s->key, len, s, NULL)) {
		free(s);
		return NULL;
	}
	s->size = sizeof(*s) + len + 1;
	v->octets += s->size;
	return s;
}

static void service_drop(struct wm_kube_view *v, struct service *s)
{
	if (s->spec || !SLIST_EMPTY(&s->slices))
		return;
	v->octets -= s->size;
	wm_map_del(v->services, s->key, strlen(s->key));
	free(s);
}

/* Whether this slice is the one to tell of an endpoint that others have, too. */
static bool is_first(const struct service *s, const struct slice *sl, const struct endpoint *ep)
{
	const struct slice *at;

	SLIST_FOREACH (at, &s->slices, next) {
		if (at == sl)
			return true;
		if (slice_has(at, &ep->address, slice_text(sl, ep->pod)))
			return false;
	}
	return true;
}

/* Tell of all endpoints of a service, where @p before was its spec until now: NULL, none. */
static void tell_all(struct wm_kube_view *v, struct service *s,
		     const struct wm_service_spec *before)
{
	const struct slice *sl;
	struct merged was, is;

	SLIST_FOREACH (sl, &s->slices, next) {
		for (unsigned n = 0; n < sl->endpoints_count; n++) {
			const struct endpoint *ep = &sl->endpoints[n];
			const char *pod = slice_text(sl, ep->pod);
			bool there, there_before;

			if (!is_first(s, sl, ep))
				continue;
			there = s->spec && merge(s, s->spec, &ep->address, pod, &is);
			there_before = before && merge(s, before, &ep->address, pod, &was);
			if (there)
				instance_put(v, s, &is);
			else if (there_before)
				instance_gone(v, s, &ep->address, pod, was.ep->node);
		}
	}
}

/* Hints count, or do no more: who has them says so or not. */
static void tell_hints(struct wm_kube_view *v, struct service *s)
{
	uint8_t before = s->hinted;

	s->hinted = s->spec ? hinted(v, s) : WM_SPEC_ANYWHERE;
	if (s->hinted != WM_SPEC_ANYWHERE || before != WM_SPEC_ANYWHERE)
		tell_all(v, s, s->spec);
}

static bool text_same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static int take_annotation(struct wm_kube_view *v, struct service *s, const char *json)
{
	char *copy = json ? strdup(json) : NULL;

	if (json && !copy)
		return -ENOMEM;
	if (text_same(s->policy, json)) {
		free(copy);
		return 0;
	}
	v->octets += copy ? strlen(copy) + 1 : 0;
	v->octets -= s->policy ? strlen(s->policy) + 1 : 0;
	free(s->policy);
	s->policy = copy;
	v->c.out.policy(v->c.arg, s->key, copy);
	return 0;
}

/* Of what an object says; 0: it says no version, and counts as new each time. */
static uint64_t version_of(const struct wm_kube_meta *m)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "%.60s %.60s", m->uid, m->version);

	return *m->version ? wm_hash_stable(text, (size_t)n) | 1 : 0;
}

static int take_service(struct wm_kube_view *v, const json_t *o, struct wm_err *e)
{
	struct wm_service_spec *made, *before;
	struct wm_kube_service in;
	struct service *s;
	int r = wm_kube_service_decode(o, &in, e);

	if (r)
		return r;
	s = service_get(v, in.meta.namespace, in.meta.name);
	if (!s)
		return wm_err_set(e, -ENOMEM, "out of memory");
	s->seen = v->seen[WM_KUBE_SERVICES];
	made = spec_new(v, &in, e);
	if (!made) {
		service_drop(v, s);
		return e->code;
	}
	before = s->spec;
	s->spec = made;
	s->version = version_of(&in.meta);
	s->hinted = hinted(v, s);
	spec_tell(v, s);
	tell_all(v, s, before);
	wm_service_spec_free(before);
	return take_annotation(v, s, in.policy) ? wm_err_set(e, -ENOMEM, "out of memory") : 0;
}

static void drop_service(struct wm_kube_view *v, struct service *s)
{
	struct wm_service_spec *before = s ? s->spec : NULL;

	if (!before)
		return;
	s->spec = NULL;
	s->hinted = WM_SPEC_ANYWHERE;
	tell_all(v, s, before);
	v->c.out.spec_gone(v->c.arg, s->key);
	wm_service_spec_free(before);
	(void)take_annotation(v, s, NULL);
	service_drop(v, s);
}

/* --- slices ------------------------------------------------------------------------------------
 */
static int add_change(struct wm_kube_view *v, unsigned *count, const struct service *s,
		      const struct endpoint *ep, const char *pod)
{
	struct merged was;
	struct change *to;

	if (*count == v->changes_cap) {
		to = realloc(v->changes, (v->changes_cap * 2 + FEW) * sizeof(*to));
		if (!to)
			return -ENOMEM;
		v->changes = to;
		v->changes_cap = v->changes_cap * 2 + FEW;
	}
	to = &v->changes[(*count)++];
	*to = (struct change){.address = ep->address, .pod = pod};
	if (s->spec && merge(s, s->spec, &ep->address, pod, &was))
		to->before = was.ep->node;
	return 0;
}

static int endpoint_order(const struct slice *a, unsigned i, const struct slice *b, unsigned k)
{
	const struct endpoint *x = &a->endpoints[i], *y = &b->endpoints[k];

	return endpoint_cmp(&x->address, slice_text(a, x->pod), &y->address, slice_text(b, y->pod));
}

/* What may be told otherwise when @p b stands for @p a, of the same service; either may be NULL. */
static int find_changes(struct wm_kube_view *v, const struct service *s, const struct slice *a,
			const struct slice *b, unsigned *ret)
{
	unsigned i = 0, k = 0, a_count = a ? a->endpoints_count : 0;
	unsigned b_count = b ? b->endpoints_count : 0;
	bool ports = a && b && slice_ports_same(a, b);
	int r = 0;

	*ret = 0;
	while (!r && (i < a_count || k < b_count)) {
		int order = i == a_count ? 1 : k == b_count ? -1 : endpoint_order(a, i, b, k);
		const struct slice *of = order <= 0 ? a : b;
		const struct endpoint *ep = order <= 0 ? &a->endpoints[i] : &b->endpoints[k];

		if (order || !ports || !endpoint_same(a, ep, b, &b->endpoints[k]))
			r = add_change(v, ret, s, ep, slice_text(of, ep->pod));
		i += order <= 0;
		k += order >= 0;
	}
	return r;
}

/* New ones first: a service that rolls is never told to be empty. */
static void tell_changes(struct wm_kube_view *v, struct service *s, unsigned count)
{
	struct merged is;

	for (unsigned n = 0; n < count; n++) {
		struct change *c = &v->changes[n];

		if (!s->spec || !merge(s, s->spec, &c->address, c->pod, &is))
			continue;
		instance_put(v, s, &is);
		if (c->before == is.ep->node)
			c->before = NULL;
	}
	for (unsigned n = 0; n < count; n++) {
		const struct change *c = &v->changes[n];

		if (c->before)
			instance_gone(v, s, &c->address, c->pod, c->before);
	}
}

static void hints_changed(struct wm_kube_view *v, struct service *s)
{
	uint8_t before = s->hinted;

	if (!s->spec)
		return;
	s->hinted = hinted(v, s);
	if (s->hinted == before)
		return;
	spec_tell(v, s);
	tell_all(v, s, s->spec);
}

/* @p b stands for @p a in service @p s from here on; one of the two may be NULL. Frees @p a. */
static int exchange(struct wm_kube_view *v, struct service *s, struct slice *a, struct slice *b)
{
	unsigned count;
	int r = find_changes(v, s, a, b, &count);

	if (r)
		return r;
	if (a)
		SLIST_REMOVE(&s->slices, a, slice, next);
	if (b) {
		SLIST_INSERT_HEAD(&s->slices, b, next);
		b->service = s;
	}
	hints_changed(v, s);
	tell_changes(v, s, count);
	slice_free(v, a);
	if (!b)
		service_drop(v, s);
	return 0;
}

static int drop_slice(struct wm_kube_view *v, struct slice *sl)
{
	struct service *s = sl ? sl->service : NULL;

	if (!sl)
		return 0;
	wm_map_del(v->slices, sl->key, strlen(sl->key));
	return exchange(v, s, sl, NULL);
}

static struct slice *slice_find(struct wm_kube_view *v, const char *ns, const char *name)
{
	char key[KEY_MAX + 1];
	int n = snprintf(key, sizeof(key), "%s/%s", ns, name);

	return wm_map_get(v->slices, key, (size_t)n);
}

static int put_slice(struct wm_kube_view *v, const struct wm_kube_slice *in, struct slice *old,
		     struct wm_err *e)
{
	struct service *s = service_get(v, in->meta.namespace, in->service);
	struct slice *made = NULL;
	int r;

	if (!s)
		return wm_err_set(e, -ENOMEM, "out of memory");
	r = slice_new(v, in, old, &made, e);
	if (!r && old && old->service != s) { /* it is another service's from now on */
		r = drop_slice(v, old);
		old = NULL;
	}
	if (!r)
		r = wm_map_put(v->slices, made->key, strlen(made->key), made, NULL);
	if (!r) {
		made->version = version_of(&in->meta);
		made->seen = v->seen[WM_KUBE_SLICES];
		r = exchange(v, s, old, made);
		if (r && old)
			(void)wm_map_put(v->slices, old->key, strlen(old->key), old, NULL);
		else if (r)
			wm_map_del(v->slices, made->key, strlen(made->key));
	}
	if (!r)
		return 0;
	slice_free(v, made);
	if (s)
		service_drop(v, s);
	return e->code ? r : wm_err_set(e, r, "out of memory");
}

static int take_slice(struct wm_kube_view *v, const json_t *o, struct wm_err *e)
{
	struct wm_kube_slice in;
	struct slice *old;
	int r = wm_kube_slice_decode(o, &in, e);

	if (r)
		return r;
	old = slice_find(v, in.meta.namespace, in.meta.name);
	if (old)
		old->seen = v->seen[WM_KUBE_SLICES];
	if (!*in.service)
		return drop_slice(v, old);
	if (in.over && v->c.out.told)
		v->c.out.told(v->c.arg, in.meta.name,
			      "ports or endpoints left out, there are too many");
	return put_slice(v, &in, old, e);
}

/* --- what comes --------------------------------------------------------------------------------
 */
static struct service *service_find(struct wm_kube_view *v, const char *ns, const char *name)
{
	char key[KEY_MAX + 1];
	int n = snprintf(key, sizeof(key), "%s/%s", ns, name);

	return wm_map_get(v->services, key, (size_t)n);
}

/* Is the object as it is known, by its version? Most of a list that is read again is: no more of
 * such a one is looked at than where its metadata begins. */
static bool as_known(struct wm_kube_view *v, enum wm_kube_kind kind, const char *json)
{
	const char *at = wm_json_text_member(json, "metadata");
	char ns[WM_KUBE_LABEL_MAX + 2], name[WM_KUBE_NAME_MAX + 2], uid[64], text[64];
	struct wm_kube_meta m = {.namespace = ns, .name = name, .uid = uid, .version = text};
	struct service *s = NULL;
	struct slice *sl = NULL;
	uint64_t version;

	(void)wm_json_text_string(wm_json_text_member(at, "uid"), uid, sizeof(uid));
	if (!wm_json_text_string(wm_json_text_member(at, "namespace"), ns, sizeof(ns)) ||
	    !wm_json_text_string(wm_json_text_member(at, "name"), name, sizeof(name)) ||
	    !wm_json_text_string(wm_json_text_member(at, "resourceVersion"), text, sizeof(text)))
		return false;
	version = version_of(&m);
	if (kind == WM_KUBE_SERVICES)
		s = service_find(v, ns, name);
	else if (kind == WM_KUBE_SLICES)
		sl = slice_find(v, ns, name);
	if (s && s->spec && version && version == s->version)
		s->seen = v->seen[kind];
	else if (sl && version && version == sl->version)
		sl->seen = v->seen[kind];
	else
		return false;
	return true;
}

int wm_kube_view_object(struct wm_kube_view *v, enum wm_kube_kind kind, const char *json,
			size_t len, struct wm_err *e)
{
	struct wm_err mine = {0};
	json_t *o;
	int r;

	e = e ? e : &mine;
	*e = (struct wm_err){0};
	if (as_known(v, kind, json))
		return 0;
	o = wm_kube_open(json, len, e);
	if (!o)
		return e->code;
	r = kind == WM_KUBE_SERVICES ? take_service(v, o, e)
	    : kind == WM_KUBE_SLICES ? take_slice(v, o, e)
				     : take_node(v, o, e);
	json_decref(o);
	return r;
}

int wm_kube_view_gone(struct wm_kube_view *v, enum wm_kube_kind kind, const char *json, size_t len,
		      struct wm_err *e)
{
	json_t *o = wm_kube_open(json, len, e);
	struct wm_kube_meta m;
	int r;

	if (!o)
		return WM_E_INVALID;
	r = wm_kube_meta_decode(o, &m, e);
	if (!r && kind == WM_KUBE_SERVICES)
		drop_service(v, service_find(v, m.namespace, m.name));
	else if (!r && kind == WM_KUBE_SLICES)
		r = drop_slice(v, slice_find(v, m.namespace, m.name));
	else if (!r)
		drop_node(v, wm_map_get(v->nodes, m.name, strlen(m.name)));
	json_decref(o);
	return r;
}

void wm_kube_view_skipped(struct wm_kube_view *v, enum wm_kube_kind kind, const char *namespace,
			  const char *name)
{
	uint32_t seen = v->seen[kind];
	struct service *s = kind == WM_KUBE_SERVICES ? service_find(v, namespace, name) : NULL;
	struct slice *sl = kind == WM_KUBE_SLICES ? slice_find(v, namespace, name) : NULL;
	struct node *n = kind == WM_KUBE_NODES ? wm_map_get(v->nodes, name, strlen(name)) : NULL;

	if (s)
		s->seen = seen;
	if (sl)
		sl->seen = seen;
	if (n)
		n->seen = seen;
}

void wm_kube_view_begin(struct wm_kube_view *v, enum wm_kube_kind kind)
{
	v->seen[kind]++;
}

/* The tables' entry that a walk has just met may be deleted; a service that goes deletes its own.
 */
void wm_kube_view_end(struct wm_kube_view *v, enum wm_kube_kind kind)
{
	uint32_t seen = v->seen[kind];
	struct service *s;
	struct slice *sl;
	struct node *n;
	size_t pos = 0;

	while (kind == WM_KUBE_SERVICES && (s = wm_map_next(v->services, &pos))) {
		if (s->spec && s->seen != seen)
			drop_service(v, s);
	}
	while (kind == WM_KUBE_SLICES && (sl = wm_map_next(v->slices, &pos))) {
		if (sl->seen != seen)
			(void)drop_slice(v, sl);
	}
	while (kind == WM_KUBE_NODES && (n = wm_map_next(v->nodes, &pos))) {
		if (n->known && n->seen != seen)
			drop_node(v, n);
	}
}

void wm_kube_view_again(struct wm_kube_view *v)
{
	struct service *s;
	size_t pos = 0;

	while ((s = wm_map_next(v->services, &pos))) {
		if (!s->spec)
			continue;
		spec_tell(v, s);
		tell_all(v, s, s->spec);
	}
}

/* --- the view ----------------------------------------------------------------------------------
 */
struct wm_kube_view *wm_kube_view_new(const struct wm_kube_view_config *c)
{
	struct wm_kube_view *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->c = *c;
	if (!v->c.endpoints_max)
		v->c.endpoints_max = WM_KUBE_VIEW_ENDPOINTS_MAX;
	wm_buf_init(&v->texts, TEXTS_MAX);
	v->services =
		wm_map_new(2 * WM_KUBE_VIEW_OBJECTS_MAX); /* with those that have slices only */
	v->slices = wm_map_new(WM_KUBE_VIEW_OBJECTS_MAX);
	v->nodes = wm_map_new(WM_KUBE_VIEW_OBJECTS_MAX);
	v->self = v->services && v->slices && v->nodes ? node_get(v, c->node) : NULL;
	if (v->self)
		return v;
	wm_kube_view_free(v);
	return NULL;
}

void wm_kube_view_free(struct wm_kube_view *v)
{
	struct service *s;
	struct slice *sl;
	struct node *n;
	size_t pos = 0;

	if (!v)
		return;
	while (v->slices && (sl = wm_map_next(v->slices, &pos)))
		free(sl);
	for (pos = 0; v->services && (s = wm_map_next(v->services, &pos));) {
		wm_service_spec_free(s->spec);
		free(s->policy);
		free(s);
	}
	for (pos = 0; v->nodes && (n = wm_map_next(v->nodes, &pos));) {
		free(n->name);
		free(n);
	}
	wm_map_free(v->slices);
	wm_map_free(v->services);
	wm_map_free(v->nodes);
	wm_buf_done(&v->texts);
	free(v->eps);
	free(v->changes);
	free(v);
}

void wm_kube_view_stats(const struct wm_kube_view *v, struct wm_kube_view_stats *ret)
{
	const struct service *s;
	const struct node *n;
	size_t pos = 0;

	*ret = (struct wm_kube_view_stats){.slices = (unsigned)wm_map_len(v->slices),
					   .endpoints = v->endpoints,
					   .octets = v->octets + wm_map_bytes(v->services) +
						     wm_map_bytes(v->slices) +
						     wm_map_bytes(v->nodes)};
	while ((s = wm_map_next(v->services, &pos)))
		ret->services += s->spec != NULL;
	for (pos = 0; (n = wm_map_next(v->nodes, &pos));)
		ret->nodes += n->known;
}
