/* SPDX-License-Identifier: Apache-2.0 */
/* kube_view_map.c - what becomes of a Service and of an endpoint: specs and instances. */
#include "kube_view_internal.h"
#include "userspace/metadata/mesh.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG	  "k8s" /* of every instance: Consul's clients tell them by it */
#define POD_SHOWN 76	/* octets of a pod's name in an id that would be too long with all of it */
#define PAIRS_MAX (2 + WM_SPEC_PORTS_MAX)

static const char *proto_name(uint8_t proto)
{
	return proto == IPPROTO_UDP ? "udp" : "tcp";
}

static void tell(const struct wm_kube_view *v, const char *key, const char *text)
{
	if (v->c.out.told)
		v->c.out.told(v->c.arg, key, text);
}

/* --- specs -------------------------------------------------------------------------------------
 */
static bool external_allowed(const struct wm_kube_view *v, const struct in6_addr *a)
{
	__be32 octets[4];

	memcpy(octets, a, sizeof(octets));
	for (unsigned n = 0; n < v->c.external_count; n++) {
		if (wm_guard_matches(&v->c.external[n], octets))
			return true;
	}
	return false;
}

static void add_address(struct wm_spec_address *to, unsigned *count, const struct in6_addr *a,
			enum wm_spec_address_kind kind)
{
	struct wm_spec_address *x = &to[*count];

	if (*count == WM_SPEC_ADDRESSES_MAX)
		return;
	memset(x, 0, sizeof(*x));
	x->kind = (uint8_t)kind;
	if (wm_kube_is4(a))
		memcpy(&x->a4, &a->s6_addr[12], sizeof(x->a4));
	else
		x->a6 = *a;
	++*count;
}

static void external_addresses(struct wm_kube_view *v, const char *key,
			       const struct wm_kube_service *in, struct wm_spec_address *to,
			       unsigned *count)
{
	char text[160], ip[INET6_ADDRSTRLEN];

	for (unsigned n = 0; n < in->external_count; n++) {
		if (external_allowed(v, &in->external[n])) {
			add_address(to, count, &in->external[n], WM_SPEC_EXTERNAL);
			continue;
		}
		wm_kube_address_format(&in->external[n], ip);
		snprintf(text, sizeof(text),
			 "externalIPs: %s is left out, it is not in "
			 "source.kubernetes_external",
			 ip);
		tell(v, key, text);
	}
	for (unsigned n = 0; v->c.balancers && n < in->balancer_count; n++)
		add_address(to, count, &in->balancer[n], WM_SPEC_LOAD_BALANCER);
}

static void tell_left_out(const struct wm_kube_view *v, const char *key,
			  const struct wm_kube_service *in)
{
	char text[128];

	if (in->steer_unknown)
		tell(v, key, WM_KUBE_STEER_TEXT);
	if (in->other_protocols) {
		snprintf(text, sizeof(text), "ports: %u left out, only TCP and UDP are served",
			 in->other_protocols);
		tell(v, key, text);
	}
	if (in->over) {
		snprintf(text, sizeof(text), "%u ports or addresses left out, there are too many",
			 in->over);
		tell(v, key, text);
	}
	if (in->not_ours) {
		snprintf(text, sizeof(text),
			 "%u addresses of its load balancer are left to the network "
			 "(ipMode Proxy, or loadBalancerSourceRanges)",
			 in->not_ours);
		tell(v, key, text);
	}
}

static uint8_t prefer_of(enum wm_kube_distribution d)
{
	return d == WM_KUBE_SAME_NODE	? WM_SPEC_SAME_NODE
	       : d == WM_KUBE_SAME_ZONE ? WM_SPEC_SAME_ZONE
					: WM_SPEC_ANYWHERE;
}

struct wm_service_spec *spec_new(struct wm_kube_view *v, const struct wm_kube_service *in,
				 struct wm_err *e)
{
	struct wm_spec_address addresses[WM_SPEC_ADDRESSES_MAX];
	struct wm_spec_port ports[WM_SPEC_PORTS_MAX];
	struct wm_service_spec s = {.source = v->c.source,
				    .addresses = addresses,
				    .ports = ports,
				    .ports_count = in->ports_count,
				    .headless = in->headless,
				    .local_only = in->local_only,
				    .passed = in->passed,
				    .created = in->created,
				    .publish_not_ready = in->publish_not_ready,
				    .affinity_s = in->affinity_s,
				    .external_name = in->external_name,
				    .prefer = prefer_of(in->distribution)};
	struct wm_service_spec *made;
	char key[KEY_MAX + 1];

	snprintf(key, sizeof(key), "%s/%s", in->meta.namespace, in->meta.name);
	s.service = key;
	tell_left_out(v, key, in);
	for (unsigned n = 0; n < in->cluster_count; n++)
		add_address(addresses, &s.addresses_count, &in->cluster[n], WM_SPEC_CLUSTER);
	if (!in->headless)
		external_addresses(v, key, in, addresses, &s.addresses_count);
	for (unsigned n = 0; n < in->ports_count; n++) {
		const struct wm_kube_service_port *p = &in->ports[n];

		ports[n] = (struct wm_spec_port){.name = p->name,
						 .port = p->port,
						 .node_port = p->node_port,
						 .proto = p->proto,
						 .endpoint = in->ports_count > 1 ? p->name : NULL};
	}
	if (wm_service_spec_validate(&s, e))
		return NULL;
	made = wm_service_spec_copy(&s);
	if (!made)
		wm_err_set(e, -ENOMEM, "out of memory");
	return made;
}

static bool has_node_ports(const struct wm_service_spec *s)
{
	for (unsigned n = 0; n < s->ports_count; n++) {
		if (s->ports[n].node_port)
			return true;
	}
	return false;
}

void spec_tell(struct wm_kube_view *v, const struct service *s)
{
	struct wm_spec_address addresses[WM_SPEC_ADDRESSES_MAX];
	struct wm_service_spec spec = *s->spec;

	if (v->c.node_ports && v->self->internal_count && has_node_ports(s->spec)) {
		memcpy(addresses, spec.addresses, spec.addresses_count * sizeof(*addresses));
		spec.addresses = addresses;
		for (unsigned n = 0; n < v->self->internal_count; n++)
			add_address(addresses, &spec.addresses_count, &v->self->internal[n],
				    WM_SPEC_NODE);
	}
	if (spec.prefer == WM_SPEC_ANYWHERE || s->hinted == WM_SPEC_SAME_NODE)
		spec.prefer = s->hinted;
	v->c.out.spec(v->c.arg, &spec);
}

/* --- instances ---------------------------------------------------------------------------------
 */
/* What of it makes the id is no part of what may change: an address that another pod has now is
 * another instance. */
static void id_of(const struct service *s, const struct in6_addr *at, const char *pod,
		  char ret[static WM_INSTANCE_ID_MAX + 1])
{
	char ip[INET6_ADDRSTRLEN];
	int n;

	wm_kube_address_format(at, ip);
	n = snprintf(ret, WM_INSTANCE_ID_MAX + 1, "%s/%s%s%s", s->key, pod, *pod ? "/" : "", ip);
	if (n > WM_INSTANCE_ID_MAX)
		snprintf(ret, WM_INSTANCE_ID_MAX + 1, "%s/%.*s~%08x/%s", s->key, POD_SHOWN, pod,
			 (unsigned)wm_hash_stable(pod, strlen(pod)), ip);
}

struct pairs {
	struct wm_pair pair[PAIRS_MAX];
	unsigned count;
	char keys[WM_SPEC_PORTS_MAX][sizeof(WM_MESH_ENDPOINT_KEY) + WM_SPEC_PORT_NAME_MAX];
	char values[WM_SPEC_PORTS_MAX][sizeof("udp:65535")];
};

static void add_pair(struct pairs *p, const char *key, const char *value)
{
	/* a draft's pairs are read only */
	p->pair[p->count++] =
		(struct wm_pair){.key = (char *)(uintptr_t)key, .value = (char *)(uintptr_t)value};
}

static void metadata(const struct wm_service_spec *s, const struct merged *m, struct pairs *p)
{
	p->count = 0;
	if (*m->pod)
		add_pair(p, "pod", m->pod);
	if (*m->hostname)
		add_pair(p, "hostname", m->hostname);
	for (unsigned n = 0; s->ports_count > 1 && n < s->ports_count; n++) {
		if (!m->ports[n])
			continue;
		snprintf(p->keys[n], sizeof(p->keys[n]), WM_MESH_ENDPOINT_KEY "%s",
			 s->ports[n].name);
		snprintf(p->values[n], sizeof(p->values[n]), "%s:%u", proto_name(s->ports[n].proto),
			 m->ports[n]);
		add_pair(p, p->keys[n], p->values[n]);
	}
}

static bool hints_have(const struct slice *s, const struct endpoint *ep, const char *zone)
{
	const char *at = slice_text(s, ep->zones);

	for (unsigned n = 0; n < ep->zones_count; n++) {
		if (strcmp(at, zone) == 0)
			return true;
		at += strlen(at) + 1;
	}
	return false;
}

uint8_t hinted(const struct wm_kube_view *v, const struct service *s)
{
	bool zones = *v->self->zone, nodes = true, zone_here = false, node_here = false;
	const struct slice *sl;

	SLIST_FOREACH (sl, &s->slices, next) {
		for (unsigned n = 0; slice_counts(sl, s->spec) && n < sl->endpoints_count; n++) {
			const struct endpoint *ep = &sl->endpoints[n];

			if (!(ep->flags & WM_KUBE_READY))
				continue;
			zones = zones && ep->zones_count;
			nodes = nodes && ep->flags & WM_KUBE_NODE_HINTS;
			zone_here = zone_here || (zones && hints_have(sl, ep, v->self->zone));
			node_here = node_here || ep->flags & WM_KUBE_NODE_HERE;
		}
	}
	return nodes && node_here   ? WM_SPEC_SAME_NODE
	       : zones && zone_here ? WM_SPEC_SAME_ZONE
				    : WM_SPEC_ANYWHERE;
}

void instance_put(struct wm_kube_view *v, const struct service *s, const struct merged *m)
{
	static const char *const tags[] = {TAG};
	char id[WM_INSTANCE_ID_MAX + 1], ip[INET6_ADDRSTRLEN];
	struct wm_traits traits = {0};
	struct pairs p;
	struct wm_instance_draft d = {
		.id = id,
		.name = s->key,
		.address = ip,
		.port = m->port,
		.tags = tags,
		.tags_count = 1,
		.meta = p.pair,
	};
	bool ready = m->flags & WM_KUBE_READY || s->spec->publish_not_ready;
	bool leaving = !ready && m->flags & WM_KUBE_TERMINATING;

	id_of(s, &m->ep->address, m->pod, id);
	wm_kube_address_format(&m->ep->address, ip);
	metadata(s->spec, m, &p);
	d.meta_count = p.count;
	if (s->hinted != WM_SPEC_ANYWHERE && m->ep->zones_count) {
		bool here = hints_have(m->slice, m->ep, v->self->zone);

		traits.zone = here ? v->self->zone : slice_text(m->slice, m->ep->zones);
		/* a zone lies in a region, and hints name none */
		traits.region = *v->self->region ? v->self->region : traits.zone;
		d.traits = &traits;
	}
	v->c.out.put(v->c.arg, m->ep->node->name, &d,
		     ready || (leaving && m->flags & WM_KUBE_SERVING) ? WM_PASSING : WM_CRITICAL,
		     leaving ? WM_LIFE_STOPPING : WM_LIFE_RUNNING);
}

void instance_gone(struct wm_kube_view *v, const struct service *s, const struct in6_addr *at,
		   const char *pod, const struct node *node)
{
	char id[WM_INSTANCE_ID_MAX + 1];

	id_of(s, at, pod, id);
	v->c.out.gone(v->c.arg, node->name, id);
}
