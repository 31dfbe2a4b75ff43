/* SPDX-License-Identifier: Apache-2.0 */
/* object.c - see object.h. Sizes are summed first, then one block is filled from front to back. */
#include "object.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Most outputs are empty: they share this octet, which is never written. */
static char no_output[1];

struct arena {
	char *at;
};

static char *put(struct arena *a, const char *s)
{
	size_t n;
	char *to = a->at;

	if (!s)
		return NULL;
	n = strlen(s) + 1;
	memcpy(to, s, n);
	a->at += n;
	return to;
}

static size_t size_of(const char *s)
{
	return s ? strlen(s) + 1 : 0;
}

static void *take(struct arena *a, size_t n)
{
	void *to = a->at;

	a->at += n;
	return to;
}

void wm_address_parse(const char *s, struct in_addr *ret4, struct in6_addr *ret6)
{
	struct in_addr v4 = {0};
	struct in6_addr v6 = IN6ADDR_ANY_INIT;

	if (inet_pton(AF_INET, s, &v4) != 1 && inet_pton(AF_INET6, s, &v6) == 1 &&
	    IN6_IS_ADDR_V4MAPPED(&v6)) {
		memcpy(&v4, &v6.s6_addr[12], 4);
		v6 = (struct in6_addr)IN6ADDR_ANY_INIT;
	}
	*ret4 = v4;
	*ret6 = v6;
}

struct wm_check *wm_check_build(const struct wm_check_draft *d, const char *id, const char *name)
{
	size_t n = sizeof(struct wm_check_box) + d->headers_count * sizeof(struct wm_pair) +
		   d->args_count * sizeof(char *);
	struct wm_check_box *b;
	struct wm_check *c;
	struct arena a;

	n += size_of(id) + size_of(name) + strlen(d->notes ? d->notes : "") + 1;
	n += size_of(d->target) + size_of(d->method) + size_of(d->body);
	n += size_of(d->tls_server_name) + size_of(d->type);
	for (unsigned i = 0; i < d->headers_count; i++)
		n += size_of(d->headers[i].key) + size_of(d->headers[i].value);
	for (unsigned i = 0; i < d->args_count; i++)
		n += size_of(d->args[i]);
	b = calloc(1, n);
	if (!b)
		return NULL;
	c = &b->c;
	b->bytes = (unsigned)n;
	a.at = (char *)(b + 1);
	c->headers_count = d->headers_count;
	if (d->headers_count)
		c->headers = take(&a, d->headers_count * sizeof(*c->headers));
	c->args_count = d->args_count;
	if (d->args_count)
		c->args = take(&a, d->args_count * sizeof(char *));
	for (unsigned i = 0; i < d->args_count; i++)
		c->args[i] = put(&a, d->args[i]);
	for (unsigned i = 0; i < d->headers_count; i++) {
		c->headers[i].key = put(&a, d->headers[i].key);
		c->headers[i].value = put(&a, d->headers[i].value);
	}
	c->id = put(&a, id);
	c->name = put(&a, name);
	c->notes = put(&a, d->notes ? d->notes : "");
	c->target = put(&a, d->target);
	c->method = put(&a, d->method);
	c->body = put(&a, d->body);
	c->tls_server_name = put(&a, d->tls_server_name);
	c->type = put(&a, d->type);
	c->kind = d->kind;
	c->tls_skip_verify = d->tls_skip_verify;
	c->disable_redirects = d->disable_redirects;
	c->use_tls = d->use_tls;
	c->output_max = d->output_max;
	c->interval_ms = d->interval_ms;
	c->timeout_ms = d->timeout_ms;
	c->ttl_ms = d->ttl_ms;
	c->deregister_after_ms = d->deregister_after_ms;
	c->success_before_passing = d->success_before_passing;
	c->failures_before_warning = d->failures_before_warning;
	c->failures_before_critical = d->failures_before_critical;
	c->status = d->has_status ? d->status : WM_CRITICAL;
	b->given = d->has_status ? (uint8_t)(1 + d->status) : 0;
	c->output = no_output;
	if (d->output && wm_check_set_output(c, d->output) < 0) {
		wm_check_free(c);
		return NULL;
	}
	return c;
}

static int build_checks(struct wm_instance *i, const struct wm_instance_draft *d)
{
	char id[WM_CHECK_ID_MAX + 32], name[WM_CHECK_NAME_MAX + 32];

	if (!d->checks_count)
		return 0;
	i->checks = calloc(d->checks_count, sizeof(struct wm_check *));
	if (!i->checks)
		return -ENOMEM;
	snprintf(name, sizeof(name), "Service '%s' check", d->name);
	for (unsigned n = 0; n < d->checks_count; n++) {
		const struct wm_check_draft *c = &d->checks[n];

		if (d->checks_count == 1)
			snprintf(id, sizeof(id), "service:%s", i->id);
		else
			snprintf(id, sizeof(id), "service:%s:%u", i->id, n + 1);
		i->checks[n] = wm_check_build(c, c->id && *c->id ? c->id : id,
					      c->name && *c->name ? c->name : name);
		if (!i->checks[n])
			return -ENOMEM;
		i->checks[n]->instance = i;
		i->checks_count = n + 1;
		wm_box(i)->bytes += wm_cbox(i->checks[n])->bytes;
	}
	return 0;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct wm_pair *)a)->key, ((const struct wm_pair *)b)->key);
}

#define FEW_PAIRS 16 /* up to so many are sorted in place, without an allocation */

static void sort_pairs(struct wm_pair *p, unsigned count)
{
	if (count > FEW_PAIRS) {
		qsort(p, count, sizeof(*p), by_key);
		return;
	}
	for (unsigned i = 1; i < count; i++) {
		struct wm_pair next = p[i];
		unsigned at = i;

		for (; at && strcmp(p[at - 1].key, next.key) > 0; at--)
			p[at] = p[at - 1];
		p[at] = next;
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct wm_tagged_address *)a)->name,
		      ((const struct wm_tagged_address *)b)->name);
}

static bool has_upper(const char *s)
{
	while (*s && !(*s >= 'A' && *s <= 'Z'))
		s++;
	return *s;
}

static size_t traits_size(const struct wm_traits *t)
{
	size_t n;

	if (!t)
		return 0;
	n = sizeof(*t) + t->proxy_count * sizeof(struct wm_pair);
	for (unsigned i = 0; i < t->proxy_count; i++)
		n += size_of(t->proxy[i].key) + size_of(t->proxy[i].value);
	/* what is left out becomes "" */
	return n + size_of(t->region) + size_of(t->zone) + size_of(t->kind) +
	       size_of(t->socket_path) + 4;
}

static const char *put_or_empty(struct arena *a, const char *s)
{
	return put(a, s ? s : "");
}

/* The strings of what stands at @p to and @p proxy, which were taken before. */
static void put_traits(struct arena *a, const struct wm_traits *t, struct wm_traits *to,
		       struct wm_pair *proxy)
{
	*to = *t;
	to->region = put_or_empty(a, t->region);
	to->zone = put_or_empty(a, t->zone);
	to->kind = put_or_empty(a, t->kind);
	to->socket_path = put_or_empty(a, t->socket_path);
	to->proxy = proxy;
	for (unsigned i = 0; i < t->proxy_count; i++)
		proxy[i] = (struct wm_pair){put(a, t->proxy[i].key), put(a, t->proxy[i].value)};
	sort_pairs(proxy, t->proxy_count);
}

static size_t instance_size(const struct wm_instance_draft *d, const char *id, const char *address)
{
	size_t n = sizeof(struct wm_instance_box) + traits_size(d->traits);

	n += d->tags_count * sizeof(char *) + d->meta_count * sizeof(struct wm_pair);
	n += d->tagged_count * sizeof(struct wm_tagged_address);
	n += size_of(id) + size_of(address) + (has_upper(d->name) ? 2 : 1) * size_of(d->name);
	for (unsigned i = 0; i < d->tags_count; i++)
		n += size_of(d->tags[i]);
	for (unsigned i = 0; i < d->meta_count; i++)
		n += size_of(d->meta[i].key) + size_of(d->meta[i].value);
	for (unsigned i = 0; i < d->tagged_count; i++)
		n += size_of(d->tagged[i].name) + size_of(d->tagged[i].address);
	return n;
}

/* A tag that is listed twice counts once. At most WM_TAGS_MAX squared over two comparisons. */
static void put_tags(struct arena *a, struct wm_instance *i, const struct wm_instance_draft *d)
{
	for (unsigned n = 0, k; n < d->tags_count; n++) {
		for (k = 0; k < i->tags_count && strcmp(i->tags[k], d->tags[n]) != 0; k++)
			;
		if (k == i->tags_count)
			i->tags[i->tags_count++] = put(a, d->tags[n]);
	}
}

static char *put_lower(struct arena *a, const char *s)
{
	char *to = put(a, s);

	for (char *p = to; *p; p++)
		*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
	return to;
}

struct wm_instance *wm_instance_build(const struct wm_instance_draft *d)
{
	const char *id = d->id && *d->id ? d->id : d->name;
	const char *address = d->address ? d->address : "";
	size_t n = instance_size(d, id, address);
	struct wm_instance_box *b = calloc(1, n);
	struct wm_traits *traits = NULL;
	struct wm_pair *proxy = NULL;
	struct wm_instance *i;
	struct arena a;

	if (!b)
		return NULL;
	i = &b->i;
	b->bytes = n;
	a.at = (char *)(b + 1);
	/* arrays first: they need their alignment, strings do not */
	i->tags = take(&a, d->tags_count * sizeof(char *));
	i->meta = take(&a, d->meta_count * sizeof(struct wm_pair));
	i->tagged = take(&a, d->tagged_count * sizeof(struct wm_tagged_address));
	if (d->traits) {
		i->traits = traits = take(&a, sizeof(*traits));
		proxy = take(&a, d->traits->proxy_count * sizeof(*proxy));
		put_traits(&a, d->traits, traits, proxy);
	}
	i->id = put(&a, id);
	i->address = put(&a, address);
	i->name = put(&a, d->name);
	b->service_name = has_upper(i->name) ? put_lower(&a, i->name) : i->name;
	put_tags(&a, i, d);
	for (unsigned k = 0; k < d->meta_count; k++)
		i->meta[k] = (struct wm_pair){put(&a, d->meta[k].key), put(&a, d->meta[k].value)};
	i->meta_count = d->meta_count;
	for (unsigned k = 0; k < d->tagged_count; k++) {
		i->tagged[k].name = put(&a, d->tagged[k].name);
		i->tagged[k].address = put(&a, d->tagged[k].address);
		i->tagged[k].port = d->tagged[k].port;
	}
	i->tagged_count = d->tagged_count;
	sort_pairs(i->meta, i->meta_count);
	if (i->tagged_count > 1)
		qsort(i->tagged, i->tagged_count, sizeof(*i->tagged), by_name);
	wm_address_parse(address, &i->addr4, &i->addr6);
	i->port = (uint16_t)d->port;
	i->weight_passing = d->has_weights ? d->weight_passing : 1;
	i->weight_warning = d->has_weights ? d->weight_warning : 1;
	i->enable_tag_override = d->enable_tag_override;
	i->lifecycle = d->lifecycle ? d->lifecycle : WM_LIFE_RUNNING;
	i->drain_until_ms = d->drain_until_ms;
	if (build_checks(i, d)) {
		wm_instance_free(i, true);
		return NULL;
	}
	i->status = wm_instance_worst(i);
	return i;
}

struct wm_instance *wm_instance_clone(const struct wm_instance *i)
{
	const struct wm_instance_draft d = {.id = i->id,
					    .name = i->name,
					    .address = i->address,
					    .port = i->port,
					    .has_weights = true,
					    .weight_passing = i->weight_passing,
					    .weight_warning = i->weight_warning,
					    .tags = (const char *const *)i->tags,
					    .tags_count = i->tags_count,
					    .meta = i->meta,
					    .meta_count = i->meta_count,
					    .tagged = i->tagged,
					    .tagged_count = i->tagged_count,
					    .traits = i->traits,
					    .enable_tag_override = i->enable_tag_override,
					    .lifecycle = i->lifecycle,
					    .drain_until_ms = i->drain_until_ms};
	struct wm_instance *clone = wm_instance_build(&d);

	if (clone)
		clone->version.origin = i->version.origin;
	return clone;
}

void wm_check_free(struct wm_check *c)
{
	if (!c)
		return;
	if (c->output != no_output)
		free(c->output);
	free(c);
}

void wm_instance_free(struct wm_instance *i, bool checks)
{
	if (!i)
		return;
	for (unsigned n = 0; checks && n < i->checks_count; n++)
		wm_check_free(i->checks[n]);
	wm_check_free(i->passive);
	free(i->checks);
	free(i);
}

int wm_check_set_output(struct wm_check *c, const char *output)
{
	size_t n = strnlen(output, WM_CHECK_OUTPUT_MAX + 1);
	char *next = no_output;

	if (n > WM_CHECK_OUTPUT_MAX) {
		n = WM_CHECK_OUTPUT_MAX;
		/* not in the middle of a UTF-8 sequence: at most 3 octets back */
		for (int i = 0; i < 3 && n && ((unsigned char)output[n] & 0xc0) == 0x80; i++)
			n--;
	}
	if (strlen(c->output) == n && memcmp(c->output, output, n) == 0)
		return 0;
	if (n) {
		next = malloc(n + 1);
		if (!next)
			return -ENOMEM;
		memcpy(next, output, n);
		next[n] = 0;
	}
	if (c->output != no_output)
		free(c->output);
	c->output = next;
	return 1;
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_pairs(const struct wm_pair *a, const struct wm_pair *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (!same(a[i].key, b[i].key) || !same(a[i].value, b[i].value))
			return false;
	}
	return true;
}

static bool same_texts(char *const *a, char *const *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (!same(a[i], b[i]))
			return false;
	}
	return true;
}

bool wm_check_same(const struct wm_check *a, const struct wm_check *b)
{
	return ((const struct wm_check_box *)a)->given == ((const struct wm_check_box *)b)->given &&
	       a->kind == b->kind && a->headers_count == b->headers_count &&
	       a->tls_skip_verify == b->tls_skip_verify && a->use_tls == b->use_tls &&
	       a->disable_redirects == b->disable_redirects && a->interval_ms == b->interval_ms &&
	       a->timeout_ms == b->timeout_ms && a->ttl_ms == b->ttl_ms &&
	       a->deregister_after_ms == b->deregister_after_ms &&
	       a->success_before_passing == b->success_before_passing &&
	       a->failures_before_warning == b->failures_before_warning &&
	       a->failures_before_critical == b->failures_before_critical && same(a->id, b->id) &&
	       same(a->name, b->name) && same(a->notes, b->notes) && same(a->target, b->target) &&
	       same(a->method, b->method) && same(a->body, b->body) &&
	       same(a->tls_server_name, b->tls_server_name) && same(a->type, b->type) &&
	       a->output_max == b->output_max && a->args_count == b->args_count &&
	       same_texts(a->args, b->args, a->args_count) &&
	       same_pairs(a->headers, b->headers, a->headers_count);
}

static bool same_traits(const struct wm_traits *a, const struct wm_traits *b)
{
	if (!a || !b)
		return a == b;
	return a->native == b->native && a->sidecar == b->sidecar &&
	       a->proxy_count == b->proxy_count && same(a->region, b->region) &&
	       same(a->zone, b->zone) && same(a->kind, b->kind) &&
	       same(a->socket_path, b->socket_path) &&
	       same_pairs(a->proxy, b->proxy, a->proxy_count);
}

bool wm_instance_same(const struct wm_instance *a, const struct wm_instance *b)
{
	if (a->port != b->port || a->weight_passing != b->weight_passing ||
	    a->weight_warning != b->weight_warning || a->tags_count != b->tags_count ||
	    a->meta_count != b->meta_count || a->tagged_count != b->tagged_count ||
	    a->lifecycle != b->lifecycle || a->drain_until_ms != b->drain_until_ms ||
	    a->enable_tag_override != b->enable_tag_override ||
	    a->version.origin != b->version.origin || !same(a->address, b->address) ||
	    !same(a->name, b->name))
		return false;
	if (!same_texts(a->tags, b->tags, a->tags_count) || !same_traits(a->traits, b->traits))
		return false;
	for (unsigned i = 0; i < a->tagged_count; i++) {
		if (a->tagged[i].port != b->tagged[i].port ||
		    !same(a->tagged[i].name, b->tagged[i].name) ||
		    !same(a->tagged[i].address, b->tagged[i].address))
			return false;
	}
	return same_pairs(a->meta, b->meta, a->meta_count);
}

enum wm_status wm_instance_worst(const struct wm_instance *i)
{
	enum wm_status worst = WM_PASSING;

	for (unsigned n = 0; n < i->checks_count; n++) {
		if (i->checks[n]->status > worst)
			worst = i->checks[n]->status;
	}
	return worst;
}
