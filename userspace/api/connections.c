/* SPDX-License-Identifier: Apache-2.0 */
/* connections.c - GET /v1/waymark/connections: open sockets that were steered, a page at a time, as
 * the programs in the kernel remember them. Which process has one only the machine's root can find
 * out: `waymarkctl connections` does. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/hash.h"
#include "userspace/base/macros.h"
#include "userspace/dataplane/flows.h"
#include "waymark/table.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ROWS_MAX    1000   /* of a page */
#define ENTRIES_MAX 262144 /* looked at for one page: 16 MiB, some milliseconds */
#define KNOWN	    256	   /* instances that are remembered while a page is written */
#define SEARCHES    4	   /* for services of other sets' instances, a page: each looks at all */

struct page {
	const struct wm_api *api;
	const struct wm_table_memory *m;
	const char *service, *instance; /* NULL: any */
	int64_t set;			/* of the service */
	struct known {
		uint64_t hash;
		const struct wm_instance *i;
	} known[KNOWN];
	unsigned searches;
};

/* --- whose it is ------------------------------------------------------------------------------ */
static const struct wm_instance *among(const struct wm_service *s, uint64_t hash)
{
	for (unsigned i = 0; s && i < s->instances_count; i++)
		if (s->instances[i]->hash == hash)
			return s->instances[i];
	return NULL;
}

/* The service whose instance it is where the set's service has it of another one. */
static const struct wm_service *search(struct page *p, uint32_t hash)
{
	const struct wm_service *s;
	size_t pos = 0;

	if (!hash || p->searches++ >= SEARCHES)
		return NULL;
	while ((s = wm_registry_next_service(p->api->d.registry, &pos)))
		if ((uint32_t)wm_hash_stable(s->name, strlen(s->name)) == hash)
			return s;
	return NULL;
}

/* NULL: it is registered no more, or not to be found. */
static const struct wm_instance *instance_of(struct page *p, const struct wm_connection *e)
{
	const struct wm_backend *b =
		e->backend < p->m->backends_cap ? &p->m->backends[e->backend] : NULL;
	const char *name = b ? wm_tables_service_of(p->api->d.tables, e->set) : NULL;
	struct known *k;

	if (!b || b->state >> 16 != e->stamp || (b->state & WM_STATE_MASK) == WM_STATE_FREE)
		return NULL;
	k = &p->known[b->instance % KNOWN];
	if (k->i && k->hash == b->instance)
		return k->i;
	k->hash = b->instance;
	k->i = among(name ? wm_registry_service(p->api->d.registry, name) : NULL, b->instance);
	if (!k->i)
		k->i = among(search(p, b->service), b->instance);
	return k->i;
}

/* --- a row ------------------------------------------------------------------------------------ */
static void put_place(struct wm_json *j, const char *key, const uint32_t addr_be[4], uint16_t port)
{
	bool four = !addr_be[0] && !addr_be[1] && addr_be[2] == WM_V4_MAPPED_BE;
	char address[INET6_ADDRSTRLEN] = "", text[INET6_ADDRSTRLEN + 10];

	inet_ntop(four ? AF_INET : AF_INET6, four ? &addr_be[3] : addr_be, address,
		  sizeof(address));
	snprintf(text, sizeof(text), four ? "%s:%u" : "[%s]:%u", address, ntohs(port));
	wm_json_ks(j, key, text);
}

static void put_name(struct wm_json *j, const char *key, const char *name)
{
	wm_json_key(j, key);
	if (name)
		wm_json_string(j, name);
	else
		wm_json_null(j);
}

static void put_connection(struct wm_json *j, const struct page *p, const struct wm_connection *e,
			   const struct wm_instance *i)
{
	uint64_t now = wm_clock_ns(), ns = now > e->time_ns ? now - e->time_ns : 0;

	wm_json_open(j, '{');
	put_name(j, "service",
		 e->backend < p->m->backends_cap ? wm_tables_service_of(p->api->d.tables, e->set)
						 : NULL);
	put_name(j, "instance", i ? i->id : NULL);
	put_place(j, "virtual", e->vip_be, e->vip_port_be);
	put_place(j, "address", e->backend_be, e->backend_port_be);
	wm_json_ku(j, "since_s", ns / WM_NS_PER_S);
	wm_json_ks(j, "why", wm_reason_text(e->reason));
	wm_json_ks(j, "balance", wm_reason_balance(e->reason));
	wm_json_ku(j, "cookie", e->cookie);
	wm_json_close(j, '}');
}

/* --- a page ----------------------------------------------------------------------------------- */
static bool is_wanted(struct page *p, const struct wm_connection *e,
		      const struct wm_instance **ret_instance)
{
	*ret_instance = NULL;
	if (p->service && (p->set < 0 || e->set != (uint32_t)p->set))
		return false;
	*ret_instance = instance_of(p, e);
	return !p->instance || (*ret_instance && strcasecmp((*ret_instance)->id, p->instance) == 0);
}

/* @return the entry to go on with, or @p cap. */
static uint32_t put_rows(struct wm_json *j, struct page *p, const struct wm_connection *all,
			 uint32_t from, uint32_t cap, unsigned rows)
{
	uint32_t end = cap - from > ENTRIES_MAX ? from + ENTRIES_MAX : cap;
	const struct wm_instance *i;

	for (; from < end && rows; from++) {
		struct wm_connection e = all[from];

		/* it may be closed meanwhile, and another's */
		if (!e.cookie || !e.time_ns || !is_wanted(p, &e, &i) ||
		    __atomic_load_n(&all[from].cookie, __ATOMIC_ACQUIRE) != e.cookie)
			continue;
		put_connection(j, p, &e, i);
		rows--;
	}
	return from;
}

/* @return false: answered, nobody has ?service. */
static bool read_service(struct wm_call *c, struct page *p)
{
	char name[WM_SERVICE_NAME_MAX + 1];

	if (!p->service)
		return true;
	snprintf(name, sizeof(name), "%s", p->service);
	for (char *at = name; *at; at++)
		*at = (char)(*at >= 'A' && *at <= 'Z' ? *at - 'A' + 'a' : *at);
	p->set = wm_tables_set_of(c->api->d.tables, name);
	if (p->set >= 0 || wm_registry_service(c->api->d.registry, name))
		return true;
	wm_answer_text(c, 404, "unknown service: %.64s", p->service);
	return false;
}

void wm_native_connections(struct wm_call *c)
{
	struct page p = {.api = c->api,
			 .service = wm_http_query(c->req, "service"),
			 .instance = wm_http_query(c->req, "instance")};
	uint64_t limit = ROWS_MAX, after = 0;
	uint32_t cap = 0, from;
	const struct wm_connection *all =
		c->api->d.plane ? wm_plane_connections(c->api->d.plane, &cap) : NULL;
	struct wm_json j;

	if (!all) {
		wm_answer_text(c, 501, "There is no data plane: nothing is steered");
		return;
	}
	if (!wm_params_number(c, "limit", 1, ROWS_MAX, &limit) ||
	    !wm_params_number(c, "after", 0, cap, &after) || !read_service(c, &p)) {
		wm_plane_connections_done(c->api->d.plane);
		return;
	}
	p.m = wm_tables_memory(c->api->d.tables);
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_kopen(&j, "connections", '[');
	from = put_rows(&j, &p, all, (uint32_t)after, cap, (unsigned)limit);
	wm_plane_connections_done(c->api->d.plane);
	wm_json_close(&j, ']');
	wm_json_key(&j, "after");
	if (from < cap)
		wm_json_u64(&j, from);
	else
		wm_json_null(&j);
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}
