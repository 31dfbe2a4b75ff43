/* SPDX-License-Identifier: Apache-2.0 */
/* kube_view_slices.c - slices as they are kept, and what those of a service say together. A slice
 * is one block, its endpoints sorted, so that one is found in each slice by few comparisons: a
 * service of 10,000 endpoints has a hundred slices. */
#include "kube_view_internal.h"
#include "userspace/base/hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int endpoint_cmp(const struct in6_addr *a, const char *a_pod, const struct in6_addr *b,
		 const char *b_pod)
{
	int r = memcmp(a, b, sizeof(*a));

	return r ? r : strcmp(a_pod, b_pod);
}

static int by_address(const void *a, const void *b, void *texts)
{
	const struct endpoint *x = a, *y = b;
	const char *t = texts;

	return endpoint_cmp(&x->address, t + x->pod, &y->address, t + y->pod);
}

/* --- making one --------------------------------------------------------------------------------
 */
static uint32_t put_text(struct wm_buf *b, const char *s)
{
	size_t at = b->len;

	if (!*s)
		return TEXT_NONE;
	wm_buf_put(b, s, strlen(s) + 1);
	return (uint32_t)at;
}

/* Most endpoints of a slice have the same hints: those of the one before stand for them. */
static void put_zones(struct wm_kube_view *v, struct endpoint *to, const struct endpoint *before,
		      const struct wm_kube_endpoint *in)
{
	const char *at = before ? v->texts.data + before->zones : NULL;
	unsigned n = 0;

	to->zones_count = (uint8_t)in->zones_count;
	if (before && before->zones_count == in->zones_count) {
		for (; n < in->zones_count && strcmp(at, in->zones[n]) == 0; n++)
			at += strlen(at) + 1;
		if (n == in->zones_count) {
			to->zones = before->zones;
			return;
		}
	}
	to->zones = (uint32_t)v->texts.len;
	for (n = 0; n < in->zones_count; n++)
		wm_buf_put(&v->texts, in->zones[n], strlen(in->zones[n]) + 1);
}

static uint8_t flags_of(const struct wm_kube_view *v, const struct wm_kube_endpoint *in)
{
	uint8_t flags = in->flags | (in->nodes_count ? WM_KUBE_NODE_HINTS : 0);

	for (unsigned n = 0; n < in->nodes_count; n++)
		if (strcmp(in->nodes[n], v->self->name) == 0)
			flags |= WM_KUBE_NODE_HERE;
	return flags;
}

static int add_endpoint(struct wm_kube_view *v, unsigned *count, const struct wm_kube_endpoint *in)
{
	struct endpoint *to;

	if (*count == v->eps_cap) {
		to = realloc(v->eps, (v->eps_cap * 2 + 16) * sizeof(*to));
		if (!to)
			return -ENOMEM;
		v->eps = to;
		v->eps_cap = v->eps_cap * 2 + 16;
	}
	to = &v->eps[*count];
	*to = (struct endpoint){.address = in->address,
				.flags = flags_of(v, in),
				.pod = put_text(&v->texts, in->pod),
				.hostname = put_text(&v->texts, in->hostname),
				.node = node_get(v, *in->node ? in->node : WM_KUBE_NO_NODE)};
	if (!to->node)
		return -ENOMEM;
	put_zones(v, to, *count ? to - 1 : NULL, in);
	to->node->refs++;
	++*count;
	return v->texts.failed ? -ENOMEM : 0;
}

/* @p ret_count is what has to be given back, also on failure. */
static int read_endpoints(struct wm_kube_view *v, const struct wm_kube_slice *in,
			  unsigned *ret_count, struct wm_err *e)
{
	struct wm_kube_endpoint ep;
	const json_t *o;
	size_t n;
	int r = 0;

	json_array_foreach(in->endpoints, n, o)
	{
		if (n == WM_KUBE_ENDPOINTS_MAX)
			break;
		for (unsigned nth = 0; nth < WM_KUBE_ENDPOINT_ADDRESSES_MAX; nth++) {
			r = wm_kube_endpoint_decode(o, nth, &ep, e);
			if (r <= 0)
				break;
			r = add_endpoint(v, ret_count, &ep);
			if (r)
				return wm_err_set(e, r, "out of memory");
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* One that stands twice is one, as good as the better. */
static unsigned unite(struct wm_kube_view *v, unsigned count)
{
	unsigned kept = 0;

	if (count)
		qsort_r(v->eps, count, sizeof(*v->eps), by_address, v->texts.data);
	for (unsigned n = 0; n < count; n++) {
		struct endpoint *last = kept ? &v->eps[kept - 1] : NULL;

		if (!last || by_address(last, &v->eps[n], v->texts.data) != 0) {
			v->eps[kept++] = v->eps[n];
			continue;
		}
		node_unref(v, v->eps[n].node);
		if (!(last->flags & WM_KUBE_READY))
			last->flags = v->eps[n].flags;
	}
	return kept;
}

static struct slice *block(struct wm_kube_view *v, const struct wm_kube_slice *in, unsigned count)
{
	size_t key = strlen(in->meta.namespace) + 1 + strlen(in->meta.name) + 1;
	size_t head = (sizeof(struct slice) + key + 15) & ~(size_t)15;
	size_t ports = in->ports_count * sizeof(struct wm_kube_slice_port);
	size_t eps = count * sizeof(struct endpoint);
	size_t size = head + ports + eps + v->texts.len;
	struct slice *s = calloc(1, size);

	if (!s)
		return NULL;
	s->size = size;
	s->ports = (void *)((char *)s + head);
	s->endpoints = (void *)((char *)s + head + ports);
	s->texts = (char *)s + head + ports + eps;
	s->ports_count = in->ports_count;
	s->passed = in->passed;
	s->endpoints_count = count;
	memcpy(s->texts, v->texts.data, v->texts.len);
	if (count)
		memcpy(s->endpoints, v->eps, eps);
	snprintf(s->key, key, "%s/%s", in->meta.namespace, in->meta.name);
	return s;
}

static void unref_all(struct wm_kube_view *v, const struct endpoint *eps, unsigned count)
{
	for (unsigned n = 0; n < count; n++)
		node_unref(v, eps[n].node);
}

int slice_new(struct wm_kube_view *v, const struct wm_kube_slice *in, const struct slice *old,
	      struct slice **ret, struct wm_err *e)
{
	uint32_t names[WM_KUBE_PORTS_MAX];
	unsigned count = 0;
	struct slice *s;
	int r;

	wm_buf_reset(&v->texts);
	wm_buf_putc(&v->texts, 0);
	for (unsigned n = 0; n < in->ports_count; n++)
		names[n] = put_text(&v->texts, in->ports[n].name);
	r = read_endpoints(v, in, &count, e);
	if (!r && v->endpoints - (old ? old->endpoints_count : 0) + count > v->c.endpoints_max)
		r = wm_err_set(e, WM_E_CAPACITY, "more than %u endpoints", v->c.endpoints_max);
	if (r) {
		unref_all(v, v->eps, count);
		return r;
	}
	count = unite(v, count);
	s = block(v, in, count);
	if (!s) {
		unref_all(v, v->eps, count);
		return wm_err_set(e, -ENOMEM, "out of memory");
	}
	for (unsigned n = 0; n < in->ports_count; n++) {
		s->ports[n] = in->ports[n];
		s->ports[n].name = s->texts + names[n];
	}
	v->endpoints += count;
	v->octets += s->size;
	*ret = s;
	return 0;
}

void slice_free(struct wm_kube_view *v, struct slice *s)
{
	if (!s)
		return;
	unref_all(v, s->endpoints, s->endpoints_count);
	v->endpoints -= s->endpoints_count;
	v->octets -= s->size;
	free(s);
}

/* --- comparing ---------------------------------------------------------------------------------
 */
static bool zones_same(const struct slice *a, const struct endpoint *x, const struct slice *b,
		       const struct endpoint *y)
{
	const char *p = slice_text(a, x->zones), *q = slice_text(b, y->zones);

	if (x->zones_count != y->zones_count)
		return false;
	for (unsigned n = 0; n < x->zones_count; n++) {
		if (strcmp(p, q) != 0)
			return false;
		p += strlen(p) + 1;
		q += strlen(q) + 1;
	}
	return true;
}

bool endpoint_same(const struct slice *a, const struct endpoint *x, const struct slice *b,
		   const struct endpoint *y)
{
	return x->node == y->node && x->flags == y->flags &&
	       strcmp(slice_text(a, x->hostname), slice_text(b, y->hostname)) == 0 &&
	       zones_same(a, x, b, y);
}

bool slice_ports_same(const struct slice *a, const struct slice *b)
{
	if (a->ports_count != b->ports_count || a->passed != b->passed)
		return false;
	for (unsigned n = 0; n < a->ports_count; n++) {
		if (a->ports[n].port != b->ports[n].port ||
		    a->ports[n].proto != b->ports[n].proto ||
		    strcmp(a->ports[n].name, b->ports[n].name) != 0)
			return false;
	}
	return true;
}

/* --- together ----------------------------------------------------------------------------------
 */
static const struct endpoint *find(const struct slice *s, const struct in6_addr *at,
				   const char *pod)
{
	unsigned low = 0, high = s->endpoints_count;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;
		const struct endpoint *ep = &s->endpoints[mid];
		int r = endpoint_cmp(at, pod, &ep->address, slice_text(s, ep->pod));

		if (!r)
			return ep;
		if (r < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

bool slice_counts(const struct slice *s, const struct wm_service_spec *spec)
{
	return !s->passed || spec->headless || spec->passed || spec->external_name;
}

bool slice_has(const struct slice *s, const struct in6_addr *at, const char *pod)
{
	return find(s, at, pod) != NULL;
}

/* Ready is better than serving, and that than neither. */
static unsigned rank(uint8_t flags)
{
	return flags & WM_KUBE_READY	     ? 3
	       : flags & WM_KUBE_SERVING     ? 2
	       : flags & WM_KUBE_TERMINATING ? 0
					     : 1;
}

static void take_ports(const struct slice *s, const struct wm_service_spec *spec, struct merged *m)
{
	for (unsigned n = 0; n < s->ports_count; n++) {
		for (unsigned i = 0; i < spec->ports_count; i++) {
			const struct wm_spec_port *p = &spec->ports[i];

			if (!m->ports[i] && p->proto == s->ports[n].proto &&
			    strcmp(p->name, s->ports[n].name) == 0)
				m->ports[i] = s->ports[n].port;
		}
	}
}

bool merge(const struct service *s, const struct wm_service_spec *spec, const struct in6_addr *at,
	   const char *pod, struct merged *ret)
{
	const struct endpoint *ep;
	const struct slice *sl;

	*ret = (struct merged){0};
	SLIST_FOREACH (sl, &s->slices, next) {
		ep = slice_counts(sl, spec) ? find(sl, at, pod) : NULL;
		if (!ep)
			continue;
		if (!ret->ep || rank(ep->flags) > rank(ret->flags)) {
			ret->ep = ep;
			ret->slice = sl;
			ret->flags = ep->flags;
		}
		if (!ret->hostname || !*ret->hostname)
			ret->hostname = slice_text(sl, ep->hostname);
		take_ports(sl, spec, ret);
	}
	if (!ret->ep)
		return false;
	ret->pod = slice_text(ret->slice, ret->ep->pod);
	for (unsigned i = 0; i < spec->ports_count && !ret->port; i++)
		ret->port = ret->ports[i];
	/* a name without ports has addresses yet: a headless one is asked for these */
	return ret->port || spec->headless;
}
