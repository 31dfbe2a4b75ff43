/* SPDX-License-Identifier: Apache-2.0 */
/* kube_records.c - records of names of the cluster's domain. Of a service with addresses these are
 * its own, whatever its endpoints are; of a headless one, those of endpoints that are ready, and
 * without any the name is not there. No answer is made of anything but the registry, so the kernel
 * may give each again until its service changes. */
#include "internal.h"
#include "kube.h"
#include "userspace/metadata/mesh.h"
#include "userspace/model/scope.h"
#include "userspace/model/spec.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#define SRV_WEIGHT 100 /* of all records together; their priority is 0 */
#define PTR_MAX	   16  /* names of one address: a pod is in few services */

static bool wants(const struct wm_reply *r, uint16_t type)
{
	return r->q.type == type || r->q.type == WM_DNS_ANY;
}

static void source(struct wm_reply *r, const char *key)
{
	wm_reply_source(r, wm_ready_source(key, strlen(key)));
}

/* [<host>.]<service>.<namespace>.svc.<zone>; @p host "": none. @return false: it does not fit,
 * or is of no namespace. */
static bool name_of(const struct wm_reply *r, const char *host, const char *key,
		    uint8_t out[WM_DNS_NAME_MAX + 1])
{
	const struct wm_kube_zone *z = wm_kube_zone(r->s->kube);
	const char *service = wm_scope_bare(key);
	size_t scope = wm_scope_len(key);
	size_t at = *host ? wm_wire_label(out, 0, host, strlen(host)) : 0;

	if (!scope || (*host && !at))
		return false;
	at = wm_wire_label(out, at, service, strlen(service));
	at = at ? wm_wire_label(out, at, key, scope) : 0;
	at = at ? wm_wire_label(out, at, "svc", 3) : 0;
	if (!at || at + z->len > WM_DNS_NAME_MAX)
		return false;
	memcpy(out + at, z->wire, z->len);
	return true;
}

/* --- endpoints -------------------------------------------------------------------------------- */
static bool is_ready(const struct wm_reply *r, const struct wm_service_spec *spec,
		     const struct wm_instance *i)
{
	return wm_reply_up(r, i) || (spec->publish_not_ready && i->lifecycle == WM_LIFE_RUNNING);
}

/* Those that are ready, and have the label @p host if it is not "". @return how many, in
 *  r->s->chosen; -1: no memory. */
static int64_t ready_of(struct wm_reply *r, const struct wm_service_spec *spec, const char *host)
{
	const struct wm_service *s = wm_registry_service(r->s->registry, spec->service);
	char room[INET6_ADDRSTRLEN];
	int64_t n = 0;

	if (!s)
		return 0;
	if (wm_reply_room(r->s, s->instances_count))
		return -1;
	for (unsigned k = 0; k < s->instances_count; k++) {
		const struct wm_instance *i = s->instances[k];

		if (is_ready(r, spec, i) &&
		    (!*host || strcasecmp(wm_kube_host(i, room), host) == 0))
			r->s->chosen[n++] = i;
	}
	return n;
}

/* The port that a port of the service is at an endpoint; 0: it has none. */
static unsigned port_of(const struct wm_spec_port *p, const struct wm_instance *i)
{
	return p->endpoint ? wm_mesh_endpoint_port(i, p->endpoint) : i->port;
}

/* Is it what a question for _port._proto asks for? Of other questions all are. */
static bool is_asked(const struct wm_kube_ask *ask, const struct wm_spec_port *p)
{
	const char *proto = p->proto == IPPROTO_UDP ? "udp" : "tcp";

	if (ask->form != WM_KUBE_PORT && ask->form != WM_KUBE_PROTO)
		return true;
	return *p->name && strcmp(proto, ask->first) == 0 &&
	       (ask->form == WM_KUBE_PROTO || strcasecmp(p->name, ask->second) == 0);
}

/* --- SRV -------------------------------------------------------------------------------------- */
/* @return where the target was written, 0: it does not fit. */
static size_t put_srv(struct wm_reply *r, unsigned weight, unsigned port, const uint8_t *target)
{
	size_t begin = r->w.len, to;
	size_t at = wm_rr_begin(&r->w, r->question, WM_DNS_SRV, r->ttl_s);

	wm_put16(&r->w, 0);
	wm_put16(&r->w, (uint16_t)weight);
	wm_put16(&r->w, (uint16_t)port);
	to = r->w.len;
	wm_put_name_plain(&r->w, target);
	if (!wm_rr_end(&r->w, begin, at)) {
		r->truncated = true;
		return 0;
	}
	r->answers++;
	return to;
}

/* What does not fit here is left out without a word: RFC 2181 9. */
static void put_glue(struct wm_reply *r, size_t to, const struct in_addr *a4,
		     const struct in6_addr *a6)
{
	bool is6 = !a4->s_addr;
	size_t begin = r->w.len;
	size_t at = wm_rr_begin_at(&r->w, to, is6 ? WM_DNS_AAAA : WM_DNS_A, r->ttl_s);

	wm_put_bytes(&r->w, is6 ? (const void *)a6 : a4, is6 ? 16 : 4);
	if (wm_rr_end(&r->w, begin, at))
		r->additionals++;
}

/* The service's own name, once for each port. @return how many ports were asked for. */
static unsigned own_srv(struct wm_reply *r, const struct wm_service_spec *spec)
{
	uint8_t target[WM_DNS_NAME_MAX + 1];
	bool fits = name_of(r, "", spec->service, target);
	unsigned n = 0;
	size_t to = 0;

	for (unsigned p = 0; p < spec->ports_count && !r->truncated; p++) {
		size_t at;

		if (!is_asked(&r->ask.kube, &spec->ports[p]))
			continue;
		n++;
		at = fits && wants(r, WM_DNS_SRV)
			     ? put_srv(r, SRV_WEIGHT, spec->ports[p].port, target)
			     : 0;
		to = to ? to : at;
	}
	for (unsigned a = 0; to && a < spec->addresses_count; a++)
		if (spec->addresses[a].kind == WM_SPEC_CLUSTER)
			put_glue(r, to, &spec->addresses[a].a4, &spec->addresses[a].a6);
	return n;
}

/* Several endpoints may have one host name: that is one target. */
static bool is_first(const struct wm_instance *const *list, int64_t at)
{
	const char *host = wm_mesh_value(list[at], "hostname");

	for (int64_t k = 0; *host && k < at; k++)
		if (strcasecmp(wm_mesh_value(list[k], "hostname"), host) == 0)
			return false;
	return true;
}

/* Each target once for each port that it has; all its addresses. */
static void endpoints_srv(struct wm_reply *r, const struct wm_service_spec *spec, int64_t n)
{
	const struct wm_instance **list = r->s->chosen;
	unsigned weight = n > 0 && n < SRV_WEIGHT ? SRV_WEIGHT / (unsigned)n : 1;
	uint8_t target[WM_DNS_NAME_MAX + 1];
	uint16_t to[WM_DNS_SRV_MAX];
	char room[INET6_ADDRSTRLEN];
	unsigned put = 0;

	if (n > WM_DNS_SRV_MAX)
		n = WM_DNS_SRV_MAX;
	for (int64_t k = 0; k < n; k++) {
		bool fits = is_first(list, k) &&
			    name_of(r, wm_kube_host(list[k], room), spec->service, target);

		to[k] = 0;
		for (unsigned p = 0; fits && p < spec->ports_count && put < WM_DNS_SRV_MAX; p++) {
			unsigned port = port_of(&spec->ports[p], list[k]);
			size_t at;

			if (!port || !is_asked(&r->ask.kube, &spec->ports[p]))
				continue;
			at = put_srv(r, weight, port, target);
			if (!at)
				return; /* cut: asked for again over TCP */
			to[k] = to[k] ? to[k] : (uint16_t)at;
			put++;
		}
	}
	for (int64_t k = 0; k < n; k++) {
		const char *host = wm_mesh_value(list[k], "hostname");

		for (int64_t i = 0; !to[k] && *host && i < k; i++)
			if (strcasecmp(wm_mesh_value(list[i], "hostname"), host) == 0)
				to[k] = to[i];
		if (to[k])
			put_glue(r, to[k], &list[k]->addr4, &list[k]->addr6);
	}
}

/* --- services --------------------------------------------------------------------------------- */
static void own_addresses(struct wm_reply *r, const struct wm_service_spec *spec)
{
	bool any = false;

	for (unsigned is6 = 0; is6 < 2 && !any; is6++) {
		if (!wants(r, is6 ? WM_DNS_AAAA : WM_DNS_A))
			continue;
		for (unsigned a = 0; a < spec->addresses_count; a++) {
			const struct wm_spec_address *at = &spec->addresses[a];

			if (at->kind == WM_SPEC_CLUSTER && is6 == !at->a4.s_addr)
				any |= wm_reply_address(
					r, is6, is6 ? at->a6.s6_addr : (const uint8_t *)&at->a4);
		}
		any &= r->q.type == WM_DNS_ANY; /* one set is an answer: RFC 8482 4.1 */
	}
}

/* @return false: the name is not there. */
static bool own_answer(struct wm_reply *r, const struct wm_service_spec *spec)
{
	if (r->ask.kube.form == WM_KUBE_SERVICE) {
		own_addresses(r, spec);
		if (r->q.type == WM_DNS_SRV)
			(void)own_srv(r, spec);
		return true;
	}
	if (r->ask.kube.form == WM_KUBE_PORT)
		return own_srv(r, spec) != 0;
	for (unsigned p = 0; p < spec->ports_count; p++)
		if (is_asked(&r->ask.kube, &spec->ports[p]))
			return true;
	return false;
}

/* Has one of the endpoints the port that is asked for? */
static bool has_port(const struct wm_reply *r, const struct wm_service_spec *spec, int64_t n)
{
	for (unsigned p = 0; p < spec->ports_count; p++)
		for (int64_t k = 0; is_asked(&r->ask.kube, &spec->ports[p]) && k < n; k++)
			if (port_of(&spec->ports[p], r->s->chosen[k]))
				return true;
	return false;
}

/* @return false: the name is not there. */
static bool endpoints_answer(struct wm_reply *r, const struct wm_service_spec *spec)
{
	bool port = r->ask.kube.form == WM_KUBE_PORT || r->ask.kube.form == WM_KUBE_PROTO;
	const char *host = r->ask.kube.form == WM_KUBE_ENDPOINT ? r->ask.kube.first : "";
	int64_t n = ready_of(r, spec, host);

	if (n < 0)
		r->rcode = WM_DNS_SERVFAIL;
	if (n <= 0 || (port && !has_port(r, spec, n)))
		return n < 0;
	if (r->q.type == WM_DNS_SRV || (port && r->q.type == WM_DNS_ANY)) {
		if (r->ask.kube.form != WM_KUBE_PROTO)
			endpoints_srv(r, spec, n);
	} else if (!port && (r->q.type == WM_DNS_A || r->q.type == WM_DNS_AAAA)) {
		wm_reply_listed(r, r->s->chosen, (unsigned)n, r->q.type);
	} else if (!port && r->q.type == WM_DNS_ANY &&
		   !wm_reply_listed(r, r->s->chosen, (unsigned)n, WM_DNS_A)) {
		wm_reply_listed(r, r->s->chosen, (unsigned)n, WM_DNS_AAAA);
	}
	return true;
}

/* Nothing lies below an alias; and of an address none may be. @return as above. */
static bool external_answer(struct wm_reply *r, const struct wm_service_spec *spec)
{
	uint8_t target[WM_DNS_NAME_MAX + 1];
	struct in6_addr any;

	if (r->ask.kube.form != WM_KUBE_SERVICE ||
	    inet_pton(AF_INET, spec->external_name, &any) == 1 ||
	    inet_pton(AF_INET6, spec->external_name, &any) == 1 ||
	    !wm_host_wire(spec->external_name, target))
		return false;
	return wm_reply_alias(r, target);
}

static bool answer_service(struct wm_reply *r)
{
	const struct wm_service_spec *spec = wm_registry_spec(r->s->registry, r->ask.kube.key);

	source(r, r->ask.kube.key);
	if (!spec)
		return false;
	if (spec->external_name)
		return external_answer(r, spec);
	return spec->headless || r->ask.kube.form == WM_KUBE_ENDPOINT ? endpoints_answer(r, spec)
								      : own_answer(r, spec);
}

/* --- pods ------------------------------------------------------------------------------------- */
/* Has an instance in the namespace of @p key the address? */
static bool has_pod(const struct wm_reply *r, const uint8_t addr[16], const char *key)
{
	const struct wm_service *all[PTR_MAX];
	unsigned n = wm_places_services(r->s->places, addr, all, PTR_MAX);

	for (unsigned k = 0; k < n; k++)
		if (strncmp(all[k]->name, key, strlen(key)) == 0)
			return true;
	return false;
}

static bool answer_pod(struct wm_reply *r)
{
	enum wm_kube_pods pods = wm_kube_pods(r->s->kube);
	struct in6_addr a6;
	struct in_addr a4;
	uint8_t addr[16];
	int family = pods ? wm_kube_undashed(r->ask.kube.first, &a4, &a6) : 0;

	if (!family)
		return false;
	if (family == 4)
		wm_places_map4(&a4, addr);
	else
		memcpy(addr, &a6, sizeof(addr));
	if (pods == WM_KUBE_PODS_VERIFIED) {
		wm_reply_source(r, wm_ready_source(addr, sizeof(addr)));
		r->changing |= !wm_places_whole(r->s->places);
		if (!has_pod(r, addr, r->ask.kube.key))
			return false;
	}
	if (wants(r, family == 4 ? WM_DNS_A : WM_DNS_AAAA))
		wm_reply_address(r, family == 6, family == 4 ? addr + 12 : addr);
	return true;
}

/* --- the whole -------------------------------------------------------------------------------- */
static void put_version(struct wm_reply *r)
{
	size_t begin = r->w.len, at;

	if (!wants(r, WM_DNS_TXT))
		return;
	at = wm_rr_begin(&r->w, r->question, WM_DNS_TXT, r->ttl_s);
	wm_put8(&r->w, sizeof(WM_KUBE_VERSION) - 1);
	wm_put_bytes(&r->w, WM_KUBE_VERSION, sizeof(WM_KUBE_VERSION) - 1);
	if (wm_rr_end(&r->w, begin, at))
		r->answers++;
	else
		r->truncated = true;
}

static bool answer(struct wm_reply *r)
{
	const char *key = r->ask.kube.key;

	switch (r->ask.kube.form) {
	case WM_KUBE_NOTHING:
		return false;
	case WM_KUBE_APEX:
		wm_reply_apex(r);
		return true;
	case WM_KUBE_NS:
		wm_reply_own_node(r);
		return true;
	case WM_KUBE_DNS_VERSION:
		put_version(r);
		return true;
	case WM_KUBE_BRANCH:
		return true;
	case WM_KUBE_NAMESPACE:
		source(r, key);
		return wm_kube_has_namespace(r->s->kube, key);
	case WM_KUBE_POD:
		return answer_pod(r);
	case WM_KUBE_SERVICE:
	case WM_KUBE_ENDPOINT:
	case WM_KUBE_PROTO:
	case WM_KUBE_PORT:
		return answer_service(r);
	}
	return false;
}

void wm_reply_kube(struct wm_reply *r)
{
	if (answer(r))
		return;
	/* what no source has told of yet may be there */
	r->rcode = wm_kube_known(r->s->kube) || r->ask.kube.form == WM_KUBE_NOTHING
			   ? WM_DNS_NXDOMAIN
			   : WM_DNS_SERVFAIL;
}

/* --- names of addresses ----------------------------------------------------------------------- */
static bool put_ptr(struct wm_reply *r, const char *host, const char *key)
{
	uint8_t target[WM_DNS_NAME_MAX + 1];

	r->ttl_s = wm_service_ttl(r, key);
	source(r, key);
	if (!name_of(r, host, key, target))
		return false;
	wm_reply_ptr(r, target);
	return true;
}

/* The endpoints of a service at an address, each with its own name. */
static unsigned put_endpoints(struct wm_reply *r, const struct wm_service *s)
{
	const struct wm_service_spec *spec = wm_registry_spec(r->s->registry, s->name);
	char room[INET6_ADDRSTRLEN];
	uint8_t addr[16];
	unsigned n = 0;

	for (unsigned k = 0; spec && k < s->instances_count && n < PTR_MAX; k++) {
		const struct wm_instance *i = s->instances[k];

		wm_places_map4(&i->addr4, addr);
		if (memcmp(addr, r->ask.addr, 16) != 0 && memcmp(&i->addr6, r->ask.addr, 16) != 0)
			continue;
		if (is_ready(r, spec, i))
			n += put_ptr(r, wm_kube_host(i, room), s->name);
	}
	return n;
}

bool wm_reply_kube_ptr(struct wm_reply *r)
{
	const struct wm_service *all[PTR_MAX];
	const char *key = wm_kube_at(r->s->kube, r->ask.addr);
	unsigned n, put = 0;

	if (!r->s->kube)
		return false;
	wm_reply_source(r, wm_ready_source(r->ask.addr, sizeof(r->ask.addr)));
	if (key)
		return put_ptr(r, "", key);
	n = wm_places_services(r->s->places, r->ask.addr, all, PTR_MAX);
	for (unsigned k = 0; k < n; k++)
		put += put_endpoints(r, all[k]);
	return put != 0;
}
