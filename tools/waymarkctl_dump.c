/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_dump.c - what the kernel's maps hold, read from the pins: entries in use, with service
 * names for set numbers, addresses for octets, and instance ids where an agent knows them. */
#include "waymarkctl_dump.h"

#include "userspace/base/clock.h"
#include "userspace/dataplane/flows.h"
#include "waymark/counters.h"
#include "waymarkctl_owners.h"
#include "waymarkctl_pods.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

struct by_hash {
	uint32_t hash, set;
};

/* "web.service.mesh.internal" of a wire name. */
static void name_text(const struct wm_name *n, char *out, size_t cap)
{
	size_t at = 0;

	*out = '\0';
	/* a dot within a label is escaped, RFC 4343 2.1 */
	for (size_t i = 0; i < n->len && n->name[i] && at + 3 < cap; i += n->name[i] + 1u) {
		if (i)
			out[at++] = '.';
		for (size_t k = 1; k <= n->name[i] && at + 3 < cap; k++) {
			if (n->name[i + k] == '.' || n->name[i + k] == '\\')
				out[at++] = '\\';
			out[at++] = (char)n->name[i + k];
		}
		out[at] = '\0';
	}
}

static json_t *address_text(const uint32_t addr_be[4])
{
	struct in6_addr v6;
	char text[INET6_ADDRSTRLEN];

	memcpy(&v6, addr_be, sizeof(v6));
	if (IN6_IS_ADDR_V4MAPPED(&v6))
		inet_ntop(AF_INET, &v6.s6_addr[12], text, sizeof(text));
	else
		inet_ntop(AF_INET6, &v6, text, sizeof(text));
	return json_string(text);
}

static int compare_hashes(const void *a, const void *b)
{
	const struct by_hash *x = a, *y = b;

	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static json_t *named(const struct dump *d, uint32_t set)
{
	const char *s = set < d->m->sets_cap ? d->services[set] : NULL;

	return s ? json_string(s) : json_null();
}

/* The service whose name has this hash. */
json_t *ctl_dump_service_by(const struct dump *d, uint32_t hash)
{
	const struct by_hash want = {hash, 0};
	const struct by_hash *at =
		bsearch(&want, d->hashes, d->hashes_count, sizeof(*d->hashes), compare_hashes);

	return at ? named(d, at->set) : json_null();
}

/* A set of a port has no name, and its service's hash. */
json_t *ctl_dump_service(const struct dump *d, uint32_t set)
{
	if (set < d->m->sets_cap && !d->services[set])
		return ctl_dump_service_by(d, d->m->sets[set].service);
	return named(d, set);
}

/* What the address that was dialled leads to now, the set of @p c where an entry has it still.
 * @return WM_NO_BACKEND: nowhere. */
static uint32_t set_of(const struct dump *d, const struct wm_connection *c)
{
	const struct wm_frontend_key keys[] = {{.port_be = 0},
					       {.port_be = c->vip_port_be, .proto = IPPROTO_TCP},
					       {.port_be = c->vip_port_be, .proto = IPPROTO_UDP}};
	uint32_t set = WM_NO_BACKEND;
	struct wm_frontend f;

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		struct wm_frontend_key key = keys[i];

		memcpy(key.addr_be, c->vip_be, sizeof(key.addr_be));
		if (!wm_inspect_frontend_of(d->x, &key, &f))
			continue;
		if (f.set == c->set)
			return f.set;
		if (set == WM_NO_BACKEND)
			set = f.set;
	}
	return set;
}

json_t *ctl_dump_dialled(const struct dump *d, const struct wm_connection *c)
{
	uint32_t set = set_of(d, c);
	const struct wm_backend *b =
		c->backend < d->m->backends_cap ? &d->m->backends[c->backend] : NULL;

	if (set != WM_NO_BACKEND)
		return ctl_dump_service(d, set);
	/* the address is gone with a subset, or with the service: the instance may be there */
	if (b && b->state >> 16 == c->stamp && (b->state & WM_STATE_MASK) != WM_STATE_FREE)
		return ctl_dump_service_by(d, b->service);
	return json_null();
}

static struct wm_table table_of(const struct dump *d, uint32_t set)
{
	struct wm_view v = wm_inspect_view(d->x);
	struct wm_table t = {0};

	if (wm_table_load(&v, set, &t) != WM_PICKED)
		t.count = 0;
	return t;
}

json_t *ctl_dump_instance(const struct dump *d, uint32_t backend)
{
	char key[16];
	json_t *id;

	snprintf(key, sizeof(key), "%u", backend);
	id = json_object_get(d->instances, key);
	return id ? json_incref(id) : json_null();
}

static const char *state_text(uint32_t state)
{
	static const char *const names[] = {[WM_STATE_FREE] = "free",
					    [WM_STATE_UP] = "up",
					    [WM_STATE_DOWN] = "down",
					    [WM_STATE_DRAIN] = "drain"};
	uint32_t s = state & WM_STATE_MASK;

	return s < sizeof(names) / sizeof(*names) ? names[s] : "?";
}

/* --- each map --------------------------------------------------------------------------------- */
static void dump_names(struct dump *d)
{
	struct wm_name_key key = {0};
	struct wm_name n;
	bool begun = false;
	char text[300];

	while (wm_inspect_name(d->x, &key, &begun, &n)) {
		uint32_t mapped[4] = {0, 0, htonl(0xffff), n.vip4_be};

		name_text(&n, text, sizeof(text));
		json_array_append_new(
			d->rows,
			json_pack("{s:s, s:s, s:o, s:i, s:o, s:o}", "name", text, "kind",
				  n.kind == WM_NAME_VIRTUAL ? "virtual" : "service", "service",
				  ctl_dump_service(d, n.set), "set", n.set, "vip4",
				  n.vip4_be ? address_text(mapped) : json_null(), "vip6",
				  n.kind == WM_NAME_VIRTUAL ? address_text(n.vip6_be)
							    : json_null()));
	}
}

static void dump_frontends(struct dump *d)
{
	struct wm_frontend_key key = {0};
	struct wm_frontend f;
	bool begun = false;

	while (wm_inspect_frontend(d->x, &key, &begun, &f))
		json_array_append_new(d->rows, json_pack("{s:o, s:i, s:s, s:o, s:i, s:i}",
							 "address", address_text(key.addr_be),
							 "port", ntohs(key.port_be), "protocol",
							 key.proto == IPPROTO_TCP   ? "tcp"
							 : key.proto == IPPROTO_UDP ? "udp"
										    : "any",
							 "service", ctl_dump_service(d, f.set),
							 "set", f.set, "flags", f.flags));
}

static void dump_sets(struct dump *d)
{
	for (uint32_t i = 0; i < d->m->sets_cap; i++) {
		struct wm_table t = table_of(d, i);
		const struct wm_set_live *l = &d->m->set_live[i];

		if (t.count || d->services[i])
			json_array_append_new(
				d->rows,
				json_pack("{s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "set",
					  (json_int_t)i, "service", ctl_dump_service(d, i), "head",
					  (json_int_t)t.word.head, "generation",
					  (json_int_t)t.word.generation, "first_slot",
					  (json_int_t)t.head.first, "slots", (json_int_t)t.count,
					  "up4", (json_int_t)l->up4, "up6", (json_int_t)l->up6));
	}
}

static void dump_slots(struct dump *d)
{
	for (uint32_t i = 0; i < d->m->sets_cap; i++) {
		struct wm_table t = table_of(d, i);
		uint32_t end = t.head.first + t.count;

		for (uint32_t k = t.head.first; k < end && k < d->m->slots_cap; k++) {
			const struct wm_slot *s = &d->m->slots[k];

			json_array_append_new(d->rows, json_pack("{s:I, s:o, s:I, s:o, s:I, s:f}",
								 "slot", (json_int_t)k, "service",
								 ctl_dump_service(d, i), "backend",
								 (json_int_t)s->backend, "instance",
								 ctl_dump_instance(d, s->backend),
								 "alias", (json_int_t)s->alias,
								 "keep", s->keep / 4294967295.0));
		}
	}
}

static void dump_backends(struct dump *d)
{
	for (uint32_t i = 0; i < d->m->backends_cap; i++) {
		const struct wm_backend *b = &d->m->backends[i];
		uint32_t mapped[4] = {0, 0, htonl(0xffff), b->addr4_be};

		if ((b->state & WM_STATE_MASK) == WM_STATE_FREE)
			continue;
		json_array_append_new(
			d->rows,
			json_pack("{s:I, s:o, s:o, s:s, s:o, s:o, s:i, s:i, s:I, s:I}", "backend",
				  (json_int_t)i, "service", ctl_dump_service_by(d, b->service),
				  "instance", ctl_dump_instance(d, i), "state",
				  state_text(b->state), "address",
				  b->families & WM_FAMILY_4 ? address_text(mapped) : json_null(),
				  "address6",
				  b->families & WM_FAMILY_6 ? address_text(b->addr6_be)
							    : json_null(),
				  "port", ntohs(b->port_be), "weight", b->weight, "picks",
				  (json_int_t)d->m->live[i].picks, "udp_picks",
				  (json_int_t)d->m->live[i].udp_picks));
	}
}

static void dump_counters(struct dump *d)
{
	static const char *const names[] = {
#define X(sym, name, text) #name,
		WM_COUNTERS(X)
#undef X
	};
	uint64_t n[WM_COUNTER_COUNT];

	for (unsigned i = 0; !wm_inspect_counters(d->x, n) && i < WM_COUNTER_COUNT; i++)
		json_array_append_new(d->rows, json_pack("{s:s, s:I}", "counter", names[i], "value",
							 (json_int_t)n[i]));
}

/* --- connections ------------------------------------------------------------------------------ */
json_t *ctl_dump_place(const uint32_t addr_be[4], uint16_t port_be)
{
	json_t *address = address_text(addr_be);
	const char *text = json_string_value(address);
	json_t *both = json_sprintf(strchr(text, ':') ? "[%s]:%u" : "%s:%u", text, ntohs(port_be));

	json_decref(address);
	return both;
}

/* Is it what was asked for, by service or by instance? */
static bool wanted(const struct dump *d, const json_t *row)
{
	const char *name = d->c->args_count ? d->c->args[0] : NULL, *s;

	for (unsigned i = 0; name && i < 2; i++) {
		s = json_string_value(json_object_get(row, i ? "instance" : "service"));
		if (s && strcasecmp(s, name) == 0)
			return true;
	}
	return !name;
}

/* A process calls itself what it likes, and JSON has no octets that are no text. */
static json_t *name_of(const char *s)
{
	char plain[4 * sizeof(((struct ctl_owner *)NULL)->cgroup)];
	json_t *name = json_string(s);

	return name ? name : json_string(wm_plain(s, plain, sizeof(plain)));
}

static json_t *connection_row(const struct dump *d, const struct wm_connection *e,
			      const struct ctl_owner *o)
{
	bool known = e->backend < d->m->backends_cap;
	uint64_t now = wm_clock_ns(),
		 since_s = now > e->time_ns ? (now - e->time_ns) / 1000000000 : 0;
	/* the index may have another occupant by now */
	bool same = known && d->m->backends[e->backend].state >> 16 == e->stamp;
	json_t *row;

	row = json_pack("{s:o, s:o, s:o, s:o, s:I, s:s, s:o, s:o, s:o, s:I}", "service",
			ctl_dump_dialled(d, e), "instance",
			same ? ctl_dump_instance(d, e->backend) : json_null(), "virtual",
			ctl_dump_place(e->vip_be, e->vip_port_be), "address",
			ctl_dump_place(e->backend_be, e->backend_port_be), "since_s",
			(json_int_t)since_s, "why", wm_reason_text(e->reason), "pid",
			o && o->pid ? json_integer(o->pid) : json_null(), "command",
			name_of(o ? o->command : ""), "cgroup", name_of(o ? o->cgroup : ""),
			"cookie", (json_int_t)e->cookie);
	ctl_put_pod(row, d->pods, o ? o->cgroup : "", o ? &o->local : &in6addr_any);
	return row;
}

/* Who misspells a name must not take it for one that nobody is connected to. */
static bool is_known(const struct dump *d, const char *name)
{
	json_t *s, *b;
	size_t i, k;

	for (uint32_t n = 0; n < d->m->sets_cap; n++)
		if (d->services[n] && strcasecmp(d->services[n], name) == 0)
			return true;
	json_array_foreach(d->told, i, s)
	{
		if (strcasecmp(ctl_text(s, "name"), name) == 0)
			return true;
		json_array_foreach(json_object_get(s, "backends"), k, b)
		{
			if (strcasecmp(ctl_text(b, "id"), name) == 0)
				return true;
		}
	}
	return false;
}

static void dump_connections(struct dump *d)
{
	struct ctl_owner *owners = calloc(d->m->connections_cap + 1u, sizeof(*owners));
	size_t n = 0;

	for (uint32_t i = 0; owners && i < d->m->connections_cap; i++)
		if (d->m->connections[i].cookie && d->m->connections[i].time_ns)
			owners[n++].cookie = d->m->connections[i].cookie;
	if (n) {
		ctl_owners_find(owners, n);
		d->pods = ctl_pods(d->c);
	}
	for (uint32_t i = 0; i < d->m->connections_cap; i++) {
		const struct wm_connection e = d->m->connections[i];
		json_t *row;

		if (!e.cookie || !e.time_ns)
			continue;
		row = connection_row(d, &e, ctl_owner_of(owners, n, e.cookie));
		if (wanted(d, row))
			json_array_append_new(d->rows, row);
		else
			json_decref(row);
	}
	free(owners);
	if (d->c->args_count && !json_array_size(d->rows) && !is_known(d, d->c->args[0])) {
		json_decref(d->rows);
		d->rows = NULL;
		ctl_fail(d->c, "connections: neither a service nor an instance '%s' is known%s",
			 d->c->args[0],
			 d->told ? "" : ", as far as the kernel's tables tell: no agent answers");
	}
}

static const struct {
	const char *name;
	void (*fn)(struct dump *d);
} maps[] = {{"names", dump_names}, {"frontends", dump_frontends}, {"sets", dump_sets},
	    {"slots", dump_slots}, {"backends", dump_backends},	  {"counters", dump_counters}};
#define MAPS (sizeof(maps) / sizeof(*maps))

/* --- numbers and what they stand for ---------------------------------------------------------- */
/* The scope that stands behind the kind's label @p l, before "ns"; "": none. */
static void scope_of(const uint8_t *l, char scope[WM_DNS_LABEL_MAX + 1])
{
	const uint8_t *name = l + *l + 1u, *ns = name + *name + 1u;

	*scope = '\0';
	if (!*name || *ns != 2 || memcmp(ns + 1, "ns", 2) != 0)
		return;
	memcpy(scope, name + 1, *name);
	scope[*name] = '\0';
}

/* What stands before "service" or "virtual": the service's name, or a label and it. Its scope
 * stands behind, and in front of its key. NULL: it is another name, or there is no memory. */
static char *service_name(const struct wm_name *n)
{
	char text[WM_DNS_NAME_MAX + 1], scope[WM_DNS_LABEL_MAX + 1], *ret = NULL;
	size_t len = 0, last = 0;

	for (const uint8_t *l = n->name; *l; l += *l + 1u) {
		if (len && *l == 7 &&
		    (memcmp(l + 1, "service", 7) == 0 || memcmp(l + 1, "virtual", 7) == 0)) {
			scope_of(l, scope);
			if (asprintf(&ret, "%.*s%s%s%.*s", (int)last, text, scope,
				     *scope ? "/" : "", (int)(len - last), text + last) < 0)
				return NULL;
			return ret;
		}
		if (len)
			text[len++] = '.';
		last = len;
		memcpy(text + len, l + 1, *l);
		len += *l;
	}
	return NULL;
}

static void learn_services(struct dump *d)
{
	struct wm_name_key key = {0};
	struct wm_name n;
	bool begun = false;

	while (wm_inspect_name(d->x, &key, &begun, &n)) {
		if (n.set >= d->m->sets_cap || d->services[n.set])
			continue;
		d->services[n.set] = service_name(&n);
	}
}

static void learn_hashes(struct dump *d)
{
	d->hashes = calloc(d->m->sets_cap + 1u, sizeof(*d->hashes));
	for (uint32_t i = 0; d->hashes && i < d->m->sets_cap; i++)
		if (d->services[i] && !strchr(d->services[i], '.')) /* backends are the service's */
			d->hashes[d->hashes_count++] = (struct by_hash){d->m->sets[i].service, i};
	if (d->hashes)
		qsort(d->hashes, d->hashes_count, sizeof(*d->hashes), compare_hashes);
}

static void learn_instances(struct dump *d)
{
	json_t *s, *b;
	size_t i, k;
	char key[16];

	d->told = ctl_get(d->c, "/v1/waymark/services", true);
	d->instances = json_object();
	json_array_foreach(d->told, i, s)
	{
		json_array_foreach(json_object_get(s, "backends"), k, b)
		{
			json_t *at = json_object_get(b, "backend");

			if (!json_is_integer(at))
				continue;
			snprintf(key, sizeof(key), "%lld", (long long)json_integer_value(at));
			json_object_set(d->instances, key, json_object_get(b, "id"));
		}
	}
}

int ctl_dump_look(const struct ctl *c, const char *what, void (*fn)(struct dump *d),
		  json_t **ret_rows)
{
	struct dump d = {.c = c};
	struct wm_err e = {0};

	if (wm_inspect_open(c->pin_dir, &d.x, &e))
		return ctl_fail(c, "%s: %s", what, e.text);
	d.m = wm_inspect_memory(d.x);
	d.services = calloc(d.m->sets_cap + 1u, sizeof(char *));
	d.rows = json_array();
	if (d.services) {
		learn_services(&d);
		learn_hashes(&d);
		learn_instances(&d);
		fn(&d);
	}
	for (uint32_t i = 0; d.services && i < d.m->sets_cap; i++)
		free(d.services[i]);
	free(d.services);
	free(d.hashes);
	json_decref(d.instances);
	json_decref(d.told);
	json_decref(d.pods);
	wm_inspect_close(d.x);
	*ret_rows = d.rows;
	return 0;
}

static int dump(const struct ctl *c, const char *what, void (*fn)(struct dump *d))
{
	json_t *rows = NULL;
	int r = ctl_dump_look(c, what, fn, &rows);

	if (r || !rows)
		return r ? r : CTL_EXIT_FAILED;
	if (!c->json && !json_array_size(rows)) {
		json_decref(rows);
		puts("no entries");
		return 0;
	}
	return ctl_print(c, rows);
}

int ctl_maps_dump(const struct ctl *c)
{
	size_t k = 0;

	while (k < MAPS && strcmp(maps[k].name, c->args[0]) != 0)
		k++;
	if (k == MAPS) {
		ctl_fail(c, "maps dump: one of " CTL_MAPS " is wanted, not '%s'", c->args[0]);
		return CTL_EXIT_USAGE;
	}
	return dump(c, "maps dump", maps[k].fn);
}

int ctl_connections(const struct ctl *c)
{
	return dump(c, "connections", dump_connections);
}
