/* SPDX-License-Identifier: Apache-2.0 */
/* kube.c - what has to be found of services of a cluster other than by their key, and who is told
 * when answers about one are over. */
#include "kube.h"

#include "internal.h"
#include "userspace/base/log.h"
#include "userspace/base/map.h"
#include "userspace/model/spec.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX ((size_t)1 << 31) /* no bound of its own: the sources' limits are in force */

struct scope {
	uint32_t count; /* services */
	size_t len;
	char name[]; /* with its slash, without an end */
};
struct place {
	uint8_t addr[16];
	char key[]; /* of the service */
};
struct wm_kube {
	const struct wm_registry *registry;
	struct wm_tables *tables;
	struct wm_ready_level *ready; /* NULL: nobody */
	struct wm_kube_zone zone;
	char text[WM_DNS_TEXT_MAX]; /* of it */
	enum wm_kube_pods pods;
	size_t specs;
	struct wm_map *scopes, *places;
};

static void no_memory(void)
{
	wm_error("dns.memory", "text=\"a namespace or a cluster address is missing from DNS\"");
}

static void tell(struct wm_kube *k, const void *what, size_t len)
{
	wm_ready_changed(k->ready, wm_ready_source(what, len));
}

/* With its slash; of a namespace alone as well, "default/", which wm_scope_len() takes for a name.
 */
static size_t scope_len(const char *key)
{
	const char *slash = strchr(key, '/');

	return slash ? (size_t)(slash - key) + 1 : 0;
}

/* [<service>.]<namespace of key>.<kind>.<zone>. @return its octets; 0: there is no such name. */
static size_t wire_of(const struct wm_kube *k, const char *service, const char *key,
		      const char *kind, uint8_t ret[WM_DNS_NAME_MAX + 1])
{
	size_t at = *service ? wm_wire_label(ret, 0, service, strlen(service)) : 0;

	if (*service && !at)
		return 0;
	at = wm_wire_label(ret, at, key, scope_len(key) - 1);
	at = at ? wm_wire_label(ret, at, kind, strlen(kind)) : 0;
	if (!at || at + k->zone.len > WM_DNS_NAME_MAX)
		return 0;
	memcpy(ret + at, k->zone.wire, k->zone.len);
	return at + k->zone.len;
}

static void count_name(struct wm_kube *k, const char *service, const char *key, const char *kind,
		       bool more)
{
	uint8_t wire[WM_DNS_NAME_MAX + 1];
	size_t len = wire_of(k, service, key, kind, wire);

	if (len)
		wm_ready_there(k->ready, wire, len, more);
}

static void count_namespace(struct wm_kube *k, const char *key, bool more)
{
	count_name(k, "", key, "svc", more);
	count_name(k, "", key, "pod", more);
}

static void count_scope(struct wm_kube *k, const char *key, bool more)
{
	size_t len = scope_len(key);
	struct scope *s = wm_map_get(k->scopes, key, len);

	if (s) {
		s->count += more ? 1 : -1u;
		if (s->count)
			return;
		wm_map_del(k->scopes, key, len);
		free(s);
		count_namespace(k, key, false);
		tell(k, key, len);
		return;
	}
	s = more ? malloc(sizeof(*s) + len) : NULL;
	if (s) {
		*s = (struct scope){.count = 1, .len = len};
		memcpy(s->name, key, len);
	}
	if (!s || wm_map_put(k->scopes, s->name, len, s, NULL)) {
		free(s);
		if (more)
			no_memory();
		return;
	}
	count_namespace(k, key, true);
	tell(k, key, len);
}

static void enter(struct wm_kube *k, const uint8_t addr[16], const char *key)
{
	struct place *p;

	if (wm_map_get(k->places, addr, 16))
		return; /* who has it keeps it */
	p = malloc(sizeof(*p) + strlen(key) + 1);
	if (p) {
		memcpy(p->addr, addr, 16);
		memcpy(p->key, key, strlen(key) + 1);
	}
	if (!p || wm_map_put(k->places, p->addr, 16, p, NULL)) {
		free(p);
		no_memory();
	}
}

static void leave(struct wm_kube *k, const uint8_t addr[16], const char *key)
{
	struct place *p = wm_map_get(k->places, addr, 16);

	if (!p || strcmp(p->key, key) != 0)
		return;
	wm_map_del(k->places, addr, 16);
	free(p);
}

static void each_address(struct wm_kube *k, const struct wm_service_spec *s,
			 void (*fn)(struct wm_kube *, const uint8_t[16], const char *))
{
	for (unsigned i = 0; i < s->addresses_count; i++) {
		const struct wm_spec_address *a = &s->addresses[i];
		uint8_t addr[16];

		if (a->kind != WM_SPEC_CLUSTER)
			continue;
		if (a->a4.s_addr)
			wm_places_map4(&a->a4, addr);
		else
			memcpy(addr, &a->a6, sizeof(addr));
		fn(k, addr, s->service);
		tell(k, addr, sizeof(addr));
	}
}

/* What depends on endpoints is made for the kernel before anybody asks, so that it has it if the
 * agent dies. */
static void foresee(struct wm_kube *k, const struct wm_service_spec *s)
{
	size_t scope = scope_len(s->service), len;
	uint8_t wire[WM_DNS_NAME_MAX + 1];

	if (!k->ready || !s->headless || !scope)
		return;
	len = wire_of(k, s->service + scope, s->service, "svc", wire);
	if (!len)
		return;
	wm_ready_foresee(k->ready, wire, len, WM_DNS_A);
	wm_ready_foresee(k->ready, wire, len, WM_DNS_AAAA);
}

/* The kernel answers A and AAAA of a service with addresses, whatever its endpoints are. */
static void put_name(struct wm_kube *k, const struct wm_service_spec *s)
{
	static const struct in6_addr none6;
	const struct in6_addr *v6 = &none6;
	uint32_t v4_be = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < s->addresses_count; i++) {
		if (s->addresses[i].kind != WM_SPEC_CLUSTER)
			continue;
		n++;
		if (s->addresses[i].a4.s_addr)
			v4_be = s->addresses[i].a4.s_addr;
		else
			v6 = &s->addresses[i].a6;
	}
	/* two of a family are no entry's */
	if (s->headless || s->external_name ||
	    n != (v4_be ? 1u : 0) + (IN6_IS_ADDR_UNSPECIFIED(v6) ? 0 : 1) ||
	    wm_tables_cluster_put(k->tables, s->service, v4_be, v6->s6_addr, NULL))
		wm_tables_cluster_del(k->tables, s->service);
}

static void spec_changed(struct wm_kube *k, const struct wm_service_spec *old,
			 const struct wm_service_spec *new)
{
	const char *key = new ? new->service : old->service;

	if (!scope_len(key))
		return;
	if (old)
		each_address(k, old, leave);
	if (new)
		each_address(k, new, enter);
	if (!old || !new) {
		k->specs += new ? 1 : (size_t)-1;
		count_scope(k, key, new != NULL);
		count_name(k, key + scope_len(key), key, "svc", new != NULL);
		wm_ready_whole(k->ready, WM_THERE_CLUSTER, k->specs != 0);
		if (!k->specs) /* nothing is known not to be, what was said before neither */
			wm_ready_changed(k->ready, WM_READY_ALL);
	}
	tell(k, key, strlen(key));
	if (!new) {
		wm_tables_cluster_del(k->tables, key);
		return;
	}
	put_name(k, new);
	foresee(k, new);
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_kube *k = arg;

	switch (c->kind) {
	case WM_CHANGE_SPEC:
		spec_changed(k, c->spec_old, c->spec);
		break;
	case WM_CHANGE_INSTANCE_UPSERT:
	case WM_CHANGE_INSTANCE_DELETED:
	case WM_CHANGE_STATUS:
		if (c->service && scope_len(c->service->name))
			tell(k, c->service->name, strlen(c->service->name));
		break;
	case WM_CHANGE_SERVICE_CREATED:
	case WM_CHANGE_SERVICE_DELETED:
	case WM_CHANGE_CHECK_REMOVED:
	case WM_CHANGE_NODE:
	case WM_CHANGE_NODE_UPSERT:
	case WM_CHANGE_NODE_DELETED:
	case WM_CHANGE_NODE_FOLLOWED:
	case WM_CHANGE_POLICY:
		break;
	}
}

/* --- reading ---------------------------------------------------------------------------------- */
const struct wm_kube_zone *wm_kube_zone(const struct wm_kube *k)
{
	return &k->zone;
}

const char *wm_kube_text(const struct wm_kube *k)
{
	return k->text;
}

enum wm_kube_pods wm_kube_pods(const struct wm_kube *k)
{
	return k->pods;
}

bool wm_kube_has_namespace(const struct wm_kube *k, const char *key)
{
	return wm_map_get(k->scopes, key, scope_len(key)) != NULL;
}

bool wm_kube_known(const struct wm_kube *k)
{
	return k->specs != 0;
}

const char *wm_kube_at(const struct wm_kube *k, const uint8_t addr[16])
{
	const struct place *p = k ? wm_map_get(k->places, addr, 16) : NULL;

	return p ? p->key : NULL;
}

/* --- life ------------------------------------------------------------------------------------- */
void wm_kube_dns_tell(struct wm_kube *k, struct wm_ready_level *l)
{
	const struct wm_service_spec *s;
	const struct scope *in;
	size_t pos = 0;

	k->ready = l;
	while ((in = wm_map_next(k->scopes, &pos)))
		count_namespace(k, in->name, true);
	pos = 0;
	while ((s = wm_registry_next_spec(k->registry, &pos))) {
		foresee(k, s);
		if (scope_len(s->service))
			count_name(k, s->service + scope_len(s->service), s->service, "svc", true);
	}
	wm_ready_whole(l, WM_THERE_CLUSTER, k->specs != 0);
}

struct wm_kube *wm_kube_dns_new(struct wm_registry *r, struct wm_tables *t, const char *domain,
				enum wm_kube_pods pods)
{
	struct wm_kube *k = calloc(1, sizeof(*k));
	const struct wm_service_spec *s;
	size_t pos = 0;

	if (!k)
		return NULL;
	k->registry = r;
	k->tables = t;
	k->pods = pods;
	k->scopes = wm_map_new(ENTRIES_MAX);
	k->places = wm_map_new(ENTRIES_MAX);
	if (!k->scopes || !k->places || !wm_kube_zone_of(domain, &k->zone) ||
	    wm_tables_set_cluster(t, domain) || wm_registry_subscribe(r, on_change, k)) {
		wm_kube_dns_free(k);
		return NULL;
	}
	wm_dns_text(k->zone.wire, k->text, sizeof(k->text));
	while ((s = wm_registry_next_spec(r, &pos)))
		spec_changed(k, NULL, s);
	return k;
}

void wm_kube_dns_free(struct wm_kube *k)
{
	if (!k)
		return;
	wm_map_free_values(k->scopes);
	wm_map_free_values(k->places);
	free(k);
}
