/* SPDX-License-Identifier: Apache-2.0 */
/* cluster.c - names in a cluster's domain of services that have addresses of their own: what they
 * are answered with depends on no instance, so they stand in `names` beside those of sets, and lead
 * to none. */
#include "internal.h"
#include "userspace/base/map.h"
#include "userspace/model/scope.h"

#include <errno.h>
#include <string.h>

#define SVC "svc" /* what stands behind a scope: Kubernetes' DNS specification 1.1.0, 2.3 */

int wm_tables_set_cluster(struct wm_tables *t, const char *domain)
{
	return wm_wire_domain(domain, &t->cluster);
}

/* <name>.<scope>.svc.<domain>. @return octets, 0: it does not fit. */
static size_t wire_of(const struct wm_tables *t, const char *service, uint8_t *out)
{
	size_t scope = wm_scope_len(service), at;
	const char *bare = wm_scope_bare(service);

	memset(out, 0, WM_DNS_NAME_MAX + 1);
	if (!t->cluster.len || !scope)
		return 0;
	at = wm_wire_put_label(out, 0, bare, strlen(bare));
	at = at ? wm_wire_put_label(out, at, service, scope) : 0;
	at = at ? wm_wire_put_label(out, at, SVC, strlen(SVC)) : 0;
	if (!at || at + t->cluster.len > WM_DNS_NAME_MAX)
		return 0;
	memcpy(out + at, t->cluster.wire, t->cluster.len);
	return at + t->cluster.len;
}

int wm_tables_cluster_put(struct wm_tables *t, const char *service, uint32_t v4_be,
			  const uint8_t v6[16], struct wm_err *e)
{
	struct wm_name v = {.kind = WM_NAME_VIRTUAL, .vip4_be = v4_be};
	struct wm_name_entry *n;
	size_t len = wire_of(t, service, v.name);

	if (!len)
		return -EINVAL;
	v.len = (uint8_t)len;
	memcpy(v.vip6_be, v6, sizeof(v.vip6_be));
	if (wm_ttls_find(t->policy.ttls, service, &v.ttl_s))
		v.flags |= WM_NAME_F_TTL;
	return wm_name_store(t, &v, &n, e);
}

void wm_tables_cluster_del(struct wm_tables *t, const char *service)
{
	uint8_t wire[WM_DNS_NAME_MAX + 1];
	size_t len = wire_of(t, service, wire);
	struct wm_name_entry *n = len ? wm_map_get(t->names, wire, len) : NULL;

	if (n)
		wm_name_remove(t, n);
}

bool wm_name_elsewhere(const struct wm_tables *t, const struct wm_name_entry *n)
{
	for (unsigned i = 0; i < WM_DOMAINS; i++) {
		const struct wm_domain *d = &t->domains[i];

		if (d->len && n->v.len > d->len &&
		    memcmp(n->v.name + n->v.len - d->len, d->wire, d->len) == 0)
			return false;
	}
	return n->v.kind == WM_NAME_VIRTUAL;
}

void wm_tables_cluster_sweep(struct wm_tables *t)
{
	struct wm_name_entry *n;
	size_t pos = 0;

	while ((n = wm_map_next(t->names, &pos)))
		if (!n->claimed && wm_name_elsewhere(t, n))
			wm_name_remove(t, n);
}
