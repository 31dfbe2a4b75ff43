/* SPDX-License-Identifier: Apache-2.0 */
/* truth_find.c - see truth_find.h. */
#include "truth_find.h"

#include "here.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/dataplane/sockets.h"
#include "userspace/dataplane/stray.h"
#include "userspace/model/model.h"
#include "waymark/table.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOCKETS_MAX	 65536 /* listening sockets that are held against the registry */
#define SUSPECTS_MAX	 1024  /* connections of which one has to know whether they are to nobody */
#define CONNECTIONS_STEP 16384 /* entries a step: 1 MiB, as each step maps all of them */
#define INSTANCES_STEP	 16
#define ENTRIES_STEP	 32
#define STRAYS_STEP	 8
#define TEXT_MAX	 700
#define PLACE_MAX	 64 /* octets of an address with its port */

/* A socket that listens. */
struct listener {
	struct wm_listening_socket s;
	bool covered;  /* by an instance that is registered */
	char *service; /* that has its port; NULL: none */
};
struct place {
	uint32_t addr_be[4]; /* v4-mapped if IPv4 */
	uint32_t port;
};
/* An open connection whose backend is not the one that was chosen any more. */
struct suspect {
	struct place to;
	struct wm_connection e;
	struct suspect *next; /* to the same place */
	bool registered;      /* somebody is there nevertheless */
};
struct wm_truth_pass {
	struct wm_truth_config c;
	void (*on_found)(void *arg, const struct wm_truth_found *f);
	void (*on_unseen)(void *arg, const char *text);
	void *arg;
	unsigned phase;
	size_t at;
	struct wm_socket_reader *reader;
	bool deaf;		    /* the sockets are not known */
	struct listener *listeners; /* in the order of their ports, once all are read */
	size_t listeners_count, listeners_cap;
	struct suspect *suspects;
	size_t suspects_count;
	struct wm_map *places; /* of suspects: the first */
	struct wm_verify_walk walk;
	struct wm_stray_walk strays;
};

/* --- telling ---------------------------------------------------------------------------------- */
__attribute__((format(printf, 3, 4))) static void
tell(struct wm_truth_pass *p, struct wm_truth_found f, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	f.text = text;
	f.service = f.service ? f.service : "";
	f.address = f.address ? f.address : "";
	p->on_found(p->arg, &f);
}

__attribute__((format(printf, 2, 3))) static void unseen(struct wm_truth_pass *p, const char *fmt,
							 ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->on_unseen(p->arg, text);
}

static bool is_four(const uint32_t addr_be[4])
{
	return !addr_be[0] && !addr_be[1] && addr_be[2] == WM_V4_MAPPED_BE;
}

static void address_text(const uint32_t addr_be[4], char out[INET6_ADDRSTRLEN])
{
	if (is_four(addr_be))
		inet_ntop(AF_INET, &addr_be[3], out, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, addr_be, out, INET6_ADDRSTRLEN);
}

static void place_text(const uint32_t addr_be[4], unsigned port, char out[PLACE_MAX])
{
	char address[INET6_ADDRSTRLEN] = "";

	address_text(addr_be, address);
	snprintf(out, PLACE_MAX, is_four(addr_be) ? "%s:%u" : "[%s]:%u", address, port);
}

/* --- who listens ------------------------------------------------------------------------------ */
static void take_socket(void *arg, const struct wm_listening_socket *s)
{
	struct wm_truth_pass *p = arg;

	if (p->listeners_count == p->listeners_cap) {
		size_t cap = p->listeners_cap ? 2 * p->listeners_cap : 64;
		struct listener *all =
			cap > SOCKETS_MAX ? NULL : realloc(p->listeners, cap * sizeof(*all));

		if (!all) {
			p->deaf = true;
			return;
		}
		p->listeners = all;
		p->listeners_cap = cap;
	}
	p->listeners[p->listeners_count++] = (struct listener){.s = *s};
}

static int by_port(const void *a, const void *b)
{
	const struct listener *x = a, *y = b;

	return x->s.port < y->s.port ? -1 : x->s.port > y->s.port;
}

static bool read_sockets(struct wm_truth_pass *p)
{
	int r = p->reader ? 0 : wm_sockets_open(&p->reader);

	if (!r)
		r = wm_sockets_read(p->reader, take_socket, p);
	if (r > 0 && !p->deaf)
		return true;
	if (r < 0) {
		p->deaf = true;
		unseen(p, "sockets that listen (sock_diag): %s", strerror(-r));
	} else if (p->deaf) {
		unseen(p, "sockets that listen: more than %d, or no memory for them", SOCKETS_MAX);
	}
	if (p->listeners_count)
		qsort(p->listeners, p->listeners_count, sizeof(*p->listeners), by_port);
	return false;
}

/* The first that listens on @p port, in their order. */
static size_t first_of(const struct wm_truth_pass *p, uint16_t port)
{
	size_t low = 0, high = p->listeners_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (p->listeners[mid].s.port < port)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* --- connections ------------------------------------------------------------------------------ */
static bool is_current(const struct wm_truth_pass *p, const struct wm_connection *e)
{
	const struct wm_table_memory *m = wm_tables_memory(p->c.tables);
	uint32_t word;

	if (e->backend >= m->backends_cap)
		return false;
	word = __atomic_load_n(&m->backends[e->backend].state, __ATOMIC_ACQUIRE);
	return word >> 16 == e->stamp && (word & WM_STATE_MASK) != WM_STATE_FREE;
}

static void suspect(struct wm_truth_pass *p, const struct wm_connection *e)
{
	struct suspect *s = &p->suspects[p->suspects_count];

	*s = (struct suspect){.e = *e, .to.port = ntohs(e->backend_port_be)};
	memcpy(s->to.addr_be, e->backend_be, sizeof(s->to.addr_be));
	s->next = wm_map_get(p->places, &s->to, sizeof(s->to));
	if (!wm_map_put(p->places, &s->to, sizeof(s->to), s, NULL))
		p->suspects_count++;
}

static bool look_at_connections(struct wm_truth_pass *p)
{
	uint32_t cap = 0;
	const struct wm_connection *all =
		p->c.plane ? wm_plane_connections(p->c.plane, &cap) : NULL;
	size_t end = p->at + CONNECTIONS_STEP;

	for (; all && p->at < cap && p->at < end; p->at++) {
		struct wm_connection e = all[p->at];

		if (!e.cookie || !e.time_ns || is_current(p, &e) ||
		    e.cookie != __atomic_load_n(&all[p->at].cookie, __ATOMIC_ACQUIRE))
			continue;
		if (p->suspects_count < SUSPECTS_MAX) {
			suspect(p, &e);
			continue;
		}
		unseen(p, "connections: more than %d whose backends have changed", SUSPECTS_MAX);
		cap = 0;
		break;
	}
	if (all)
		wm_plane_connections_done(p->c.plane);
	return all && p->at < cap;
}

/* Somebody is registered where such connections lead. */
static void clear_suspects(struct wm_truth_pass *p, const uint32_t addr_be[4], uint16_t port)
{
	struct place at = {.port = port};
	struct suspect *s;

	if (!p->suspects_count)
		return;
	memcpy(at.addr_be, addr_be, sizeof(at.addr_be));
	for (s = port ? wm_map_get(p->places, &at, sizeof(at)) : NULL; s; s = s->next)
		s->registered = true;
	for (size_t i = 0; !port && i < p->suspects_count; i++)
		p->suspects[i].registered |=
			!memcmp(p->suspects[i].to.addr_be, addr_be, sizeof(at.addr_be));
}

/* --- instances -------------------------------------------------------------------------------- */
static bool takes_connections(const struct wm_instance *i)
{
	return i->lifecycle != WM_LIFE_STARTING && i->lifecycle != WM_LIFE_STOPPED &&
	       !wm_instance_says_consul(i);
}

/* Is what is sent to the instance taken by this socket? Of one on another node only where the
 * address is the socket's own: to find out more takes system calls, and there may be a million. */
static bool is_taken_by(const struct wm_instance *i, const uint32_t addr_be[4],
			const struct wm_listening_socket *s)
{
	if (!wm_socket_takes(s, addr_be, i->port))
		return false;
	return i->node->self ? wm_instance_is_here(i)
			     : !memcmp(s->addr_be, addr_be, sizeof(s->addr_be));
}

/* Sockets on the instance's port: those that are its own, and those that may be nobody's. */
static bool look_for_listener(struct wm_truth_pass *p, const struct wm_instance *i,
			      const uint32_t addr_be[4])
{
	bool any = false;

	for (size_t k = first_of(p, i->port);
	     k < p->listeners_count && p->listeners[k].s.port == i->port; k++) {
		struct listener *l = &p->listeners[k];

		if (is_taken_by(i, addr_be, &l->s))
			l->covered = any = true;
		else if (!l->service)
			l->service = strdup(i->service->name);
	}
	return any;
}

static void look_at(struct wm_truth_pass *p, const struct wm_instance *i)
{
	uint32_t addr_be[4] = {0, 0, WM_V4_MAPPED_BE, i->addr4.s_addr};
	char place[PLACE_MAX];

	if (!i->service || (!i->addr4.s_addr && IN6_IS_ADDR_UNSPECIFIED(&i->addr6)))
		return;
	if (!i->addr4.s_addr)
		memcpy(addr_be, &i->addr6, sizeof(addr_be));
	clear_suspects(p, addr_be, i->port);
	if (p->deaf || !i->port || look_for_listener(p, i, addr_be) || !i->node->self ||
	    i->version.origin != WM_ORIGIN_OWN || !takes_connections(i) || !wm_instance_is_here(i))
		return;
	place_text(addr_be, i->port, place);
	tell(p, (struct wm_truth_found){.kind = WM_TRUTH_NOT_LISTENING, .what = i->id},
	     "instance %s of %s is registered at %s, and nobody listens there", i->id,
	     i->service->name, place);
}

static bool look_at_instances(struct wm_truth_pass *p)
{
	const struct wm_instance *i;

	for (unsigned n = 0; n < INSTANCES_STEP; n++) {
		i = wm_registry_next_instance(p->c.registry, &p->at);
		if (!i)
			return false;
		look_at(p, i);
	}
	return true;
}

/* --- what came of them ------------------------------------------------------------------------ */
static void tell_listener(struct wm_truth_pass *p, const struct listener *l)
{
	static const uint32_t any6[4], any4[4] = {0, 0, WM_V4_MAPPED_BE, 0};
	bool any = !memcmp(l->s.addr_be, any6, sizeof(any6)) ||
		   !memcmp(l->s.addr_be, any4, sizeof(any4));
	char place[PLACE_MAX], address[INET6_ADDRSTRLEN] = "", cgroup[256] = "an unknown cgroup";

	place_text(l->s.addr_be, l->s.port, place);
	if (!any)
		address_text(l->s.addr_be, address);
	(void)wm_socket_cgroup(&l->s, cgroup, sizeof(cgroup));
	tell(p,
	     (struct wm_truth_found){.kind = WM_TRUTH_UNREGISTERED,
				     .what = place,
				     .service = l->service,
				     .address = address,
				     .port = l->s.port},
	     "a socket of %s listens on %s, the port of %s, and is no registered instance", cgroup,
	     place, l->service);
}

static bool tell_listeners(struct wm_truth_pass *p)
{
	if (p->at >= p->listeners_count)
		return false;
	if (p->listeners[p->at].service && !p->listeners[p->at].covered &&
	    !p->listeners[p->at].s.udp)
		tell_listener(p, &p->listeners[p->at]);
	p->at++;
	return true;
}

static bool tell_connections(struct wm_truth_pass *p)
{
	const struct suspect *s = &p->suspects[p->at];
	char vip[PLACE_MAX], to[PLACE_MAX];

	if (p->at >= p->suspects_count)
		return false;
	p->at++;
	if (s->registered)
		return true;
	place_text(s->e.vip_be, ntohs(s->e.vip_port_be), vip);
	place_text(s->to.addr_be, s->to.port, to);
	tell(p,
	     (struct wm_truth_found){
		     .kind = WM_TRUTH_DEREGISTERED, .what = to, .cookie = s->e.cookie},
	     "the connection of socket %llu to %s goes on to %s, where nobody is registered any "
	     "more",
	     (unsigned long long)s->e.cookie, vip, to);
	return true;
}

/* --- tables and programs ---------------------------------------------------------------------- */
static void see_difference(void *arg, const char *map, const char *text)
{
	tell(arg, (struct wm_truth_found){.kind = WM_TRUTH_TABLES, .what = map}, "%s: %s", map,
	     text);
}

static bool look_at_config(struct wm_truth_pass *p)
{
	wm_tables_verify_config(p->c.tables, p->c.config, see_difference, p);
	return false;
}

static bool look_at_pins(struct wm_truth_pass *p)
{
	if (p->c.plane)
		wm_plane_unpinned(p->c.plane, see_difference, p);
	return false;
}

static bool look_at_services(struct wm_truth_pass *p)
{
	const struct wm_service *s = wm_registry_next_service(p->c.registry, &p->at);
	int r = s ? wm_resolution_verify(p->c.resolution, s, see_difference, p) : 0;

	if (r)
		unseen(p, "tables of %.60s: %s", s->name, wm_err_str(r));
	return s;
}

/* Those of a source that have no instance. */
static bool look_at_empty(struct wm_truth_pass *p)
{
	const struct wm_service *s = wm_resolution_next_empty(p->c.resolution, &p->at);
	int r = s ? wm_resolution_verify(p->c.resolution, s, see_difference, p) : 0;

	if (r)
		unseen(p, "tables of %.60s: %s", s->name, wm_err_str(r));
	return s;
}

static bool look_at_entries(struct wm_truth_pass *p)
{
	return wm_tables_verify_rest(p->c.tables, &p->walk, ENTRIES_STEP, see_difference, p);
}

static void see_stray(void *arg, const char *text)
{
	tell(arg, (struct wm_truth_found){.kind = WM_TRUTH_PROGRAMS, .what = "hooks"}, "%s", text);
}

static bool look_at_programs(struct wm_truth_pass *p)
{
	if (p->c.plane)
		return wm_plane_stray(p->c.plane, &p->strays, STRAYS_STEP, see_stray, p);
	unseen(p, "the kernel: there is no data plane, see waymarkctl status");
	return false;
}

/* --- the pass --------------------------------------------------------------------------------- */
struct wm_truth_pass *wm_truth_pass_new(const struct wm_truth_config *c,
					void (*on_found)(void *arg, const struct wm_truth_found *f),
					void (*on_unseen)(void *arg, const char *text), void *arg)
{
	struct wm_truth_pass *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	*p = (struct wm_truth_pass){
		.c = *c, .on_found = on_found, .on_unseen = on_unseen, .arg = arg};
	p->suspects = calloc(SUSPECTS_MAX, sizeof(*p->suspects));
	p->places = wm_map_new(SUSPECTS_MAX);
	if (p->suspects && p->places)
		return p;
	wm_truth_pass_free(p);
	return NULL;
}

void wm_truth_pass_free(struct wm_truth_pass *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->listeners_count; i++)
		free(p->listeners[i].service);
	wm_sockets_close(p->reader);
	wm_stray_done(&p->strays);
	wm_tables_verify_done(p->c.tables, &p->walk);
	wm_map_free(p->places);
	free(p->listeners);
	free(p->suspects);
	free(p);
}

bool wm_truth_pass_step(struct wm_truth_pass *p)
{
	static bool (*const phases[])(struct wm_truth_pass * p) = {
		read_sockets,	  look_at_connections, look_at_instances, tell_listeners,
		tell_connections, look_at_config,      look_at_pins,	  look_at_services,
		look_at_empty,	  look_at_entries,     look_at_programs};

	if (p->phase < WM_ARRAY_LEN(phases) && !phases[p->phase](p)) {
		p->phase++;
		p->at = 0;
	}
	return p->phase < WM_ARRAY_LEN(phases);
}
