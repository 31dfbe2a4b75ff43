/* SPDX-License-Identifier: Apache-2.0 */
/* rendered.c - answers that are rendered once and given until something in them changes. What is
 * kept is the answer of one form: path, parameters and token. It lies with its service, and goes
 * with the first change of it: of its instances and their checks, outputs too, of nodes that it is
 * on and of their checks; one that is sorted by ?near with one of any node, and is not kept where
 * that goes by coordinates. An answer also
 * knows the octets of requests that it answered: of whoever sends the same nothing is read again.
 * The memory is bounded; what was not asked for longest goes first. */
#include "internal.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FORM_MAX  2048	     /* octets of path, parameters and token; longer ones are not kept */
#define RAW_MAX	  2048	     /* octets of a request that is known by them */
#define RAWS_MAX  4	     /* requests that an answer knows: clients differ in their headers */
#define PART	  8	     /* an answer may take this part of the memory */
#define ITEMS_MAX (1u << 20) /* answers, requests, services: the memory bounds them before */

/* A request that is known by its octets. */
struct raw {
	struct rendered *of;
	size_t len;
	bool local;
	char octets[];
};

/* A service that has answers. */
struct shelf {
	TAILQ_HEAD(, rendered) answers;
	char name[];
};

struct rendered {
	struct wm_http_kept *answer;
	struct shelf *shelf;
	uint64_t index;		 /* of the service when it was rendered */
	uint64_t nodes, outputs; /* what stood in struct wm_rendered then */
	bool near;    /* sorted by what is known of nodes, of others than the service's too */
	size_t bytes; /* of all that is kept of it */
	unsigned raws_next;
	struct raw *raws[RAWS_MAX];
	TAILQ_ENTRY(rendered) shelf_entry, age_entry;
	size_t form_len;
	char form[];
};

struct wm_rendered {
	struct wm_map *forms, *raws[2], *shelves;   /* raws: over TCP, over Unix sockets */
	TAILQ_HEAD(rendered_ages, rendered) by_age; /* who was asked for last stands first */
	uint64_t bytes, bytes_max;
	uint64_t changes; /* of anything */
	uint64_t nodes;	  /* changes of what is known of nodes */
	uint64_t outputs; /* changes of what checks of nodes say, of too many instances to walk */
};

/* --- life --------------------------------------------------------------------------------------
 */
static void raw_forget(struct wm_rendered *m, struct raw *x)
{
	if (!x)
		return;
	x->of->bytes -= sizeof(*x) + x->len;
	m->bytes -= sizeof(*x) + x->len;
	wm_map_del(m->raws[x->local], x->octets, x->len);
	free(x);
}

static void forget(struct wm_rendered *m, struct rendered *x)
{
	struct shelf *s = x->shelf;

	for (unsigned n = 0; n < RAWS_MAX; n++)
		raw_forget(m, x->raws[n]);
	m->bytes -= x->bytes;
	wm_map_del(m->forms, x->form, x->form_len);
	TAILQ_REMOVE(&m->by_age, x, age_entry);
	TAILQ_REMOVE(&s->answers, x, shelf_entry);
	if (TAILQ_EMPTY(&s->answers)) {
		wm_map_del(m->shelves, s->name, strlen(s->name));
		m->bytes -= sizeof(*s) + strlen(s->name) + 1;
		free(s);
	}
	wm_http_kept_unref(x->answer);
	free(x);
}

static void forget_all(struct wm_rendered *m)
{
	struct rendered *x;

	while ((x = TAILQ_FIRST(&m->by_age)))
		forget(m, x);
}

static void forget_service(struct wm_rendered *m, const struct wm_service *s)
{
	size_t len = strlen(s->name);
	struct shelf *f;

	/* the shelf goes with its last answer */
	while ((f = wm_map_get(m->shelves, s->name, len)))
		forget(m, TAILQ_FIRST(&f->answers));
}

/* A check of the node says something else. Cost: O(instances on it), or O(1) where these are more
 * than services that have answers. */
static void forget_node(struct wm_rendered *m, const struct wm_node *n)
{
	const struct wm_instance *i;
	size_t pos = 0;

	if (wm_map_len(n->instances) > wm_map_len(m->shelves)) {
		m->outputs++;
		return;
	}
	while ((i = wm_node_next_instance(n, &pos)))
		forget_service(m, i->service);
}

/* With a node the indexes of services on it move, which is_fresh() sees. */
void wm_rendered_changed(struct wm_api *a, const struct wm_change *c)
{
	a->rendered->changes++;
	if (c->service)
		forget_service(a->rendered, c->service);
	else if (c->kind == WM_CHANGE_NODE_UPSERT || c->kind == WM_CHANGE_NODE_DELETED)
		a->rendered->nodes++;
}

static void on_output(void *arg, const struct wm_check *c)
{
	struct wm_api *a = arg;

	a->rendered->changes++;
	if (c->instance->service)
		forget_service(a->rendered, c->instance->service);
	else
		forget_node(a->rendered, c->instance->node);
}

/* --- forms -------------------------------------------------------------------------------------
 */

/* Answers of one service, made of nothing but what wm_rendered_changed() hears of. */
static bool is_kept(const struct wm_route *r)
{
	return r && (r->fn == wm_health_service || r->fn == wm_health_checks ||
		     r->fn == wm_catalog_service);
}

static bool add(struct wm_buf *b, const char *text)
{
	return wm_buf_put(b, text ? text : "", text ? strlen(text) + 1 : 1);
}

/* What distinguishes two requests but for index and wait; the token first, so that nobody is given
 * what was rendered for another. @return false: it is too long. */
static bool form_of(const struct wm_call *c, struct wm_buf *b)
{
	const char *name, *value;
	size_t pos = 0;

	wm_buf_reset(b);
	add(b, wm_http_header(c->req, "X-Consul-Token"));
	add(b, wm_http_header(c->req, "Authorization"));
	add(b, c->route->pattern);
	add(b, c->params[0]);
	while (wm_http_query_next(c->req, &pos, &name, &value)) {
		if (strcmp(name, "index") == 0 || strcmp(name, "wait") == 0)
			continue;
		add(b, name);
		add(b, value);
	}
	return !b->failed;
}

static struct rendered *find(const struct wm_call *c)
{
	struct wm_buf *b = &c->api->form;

	if (!is_kept(c->route) || !form_of(c, b))
		return NULL;
	return wm_map_get(c->api->rendered->forms, b->data, b->len);
}

/* --- giving ------------------------------------------------------------------------------------
 */

/* Is it of the state of now? One that is not goes. */
static bool is_fresh(struct wm_api *a, struct rendered *x)
{
	struct wm_rendered *m = a->rendered;

	if (x->index == wm_scope_index(a, WM_SCOPE_SERVICE, x->shelf->name) &&
	    x->outputs == m->outputs && (!x->near || x->nodes == m->nodes))
		return true;
	forget(m, x);
	return false;
}

static void touch(struct wm_api *a, struct rendered *x)
{
	struct wm_rendered *m = a->rendered;

	a->counters[WM_API_READS]++;
	a->counters[WM_API_RENDERED_HITS]++;
	if (x == TAILQ_FIRST(&m->by_age))
		return;
	TAILQ_REMOVE(&m->by_age, x, age_entry);
	TAILQ_INSERT_HEAD(&m->by_age, x, age_entry);
}

static struct wm_http_kept *on_raw(void *arg, const char *octets, size_t len, bool local)
{
	struct wm_api *a = arg;
	/* what is kept answers GET only: to hash a write's body would be for nothing */
	bool may = len <= RAW_MAX && octets[0] == 'G';
	struct raw *x = may ? wm_map_get(a->rendered->raws[local], octets, len) : NULL;
	struct rendered *of = x ? x->of : NULL;

	if (!of || !is_fresh(a, of))
		return NULL;
	touch(a, of);
	return of->answer;
}

/* Make room; @p but stays. */
static void shrink(struct wm_api *a, const struct rendered *but)
{
	struct wm_rendered *m = a->rendered;
	struct rendered *x;

	while (m->bytes > m->bytes_max && (x = TAILQ_LAST(&m->by_age, rendered_ages)) && x != but) {
		a->counters[WM_API_RENDERED_EVICTED]++;
		forget(m, x);
	}
}

/* The octets of a request that it answers, while the request is at hand. A blocking query that asks
 * again has another index and other octets. */
static void learn(struct wm_call *c, struct rendered *x)
{
	struct wm_rendered *m = c->api->rendered;
	struct raw **place = &x->raws[x->raws_next % RAWS_MAX], *r;
	const char *octets;
	bool bounded;
	size_t len;

	/* who sets a bound to an answer's age may be refused in a mesh */
	bounded = c->consistent || wm_http_query(c->req, "max_stale");
	octets = c->index || c->watch || (bounded && c->api->d.sync) ? NULL
								     : wm_http_raw(c->req, &len);
	if (!octets || len > RAW_MAX)
		return;
	r = malloc(sizeof(*r) + len);
	if (!r)
		return;
	*r = (struct raw){.of = x, .len = len, .local = wm_http_is_local(c->req)};
	memcpy(r->octets, octets, len);
	/* known already: for an answer that has just gone, which took it along */
	if (wm_map_get(m->raws[r->local], octets, len) ||
	    wm_map_put(m->raws[r->local], r->octets, len, r, NULL)) {
		free(r);
		return;
	}
	raw_forget(m, *place);
	*place = r;
	x->raws_next++;
	x->bytes += sizeof(*r) + len;
	m->bytes += sizeof(*r) + len;
	shrink(c->api, x);
}

bool wm_rendered_give(struct wm_call *c)
{
	struct rendered *x = find(c);
	struct wm_http_request *req = c->req;

	if (!x || !is_fresh(c->api, x) || (c->index && !c->expired && x->index <= c->index))
		return false;
	touch(c->api, x);
	learn(c, x);
	c->req = NULL;
	wm_http_reply_kept(req, x->answer);
	return true;
}

/* --- keeping -----------------------------------------------------------------------------------
 */
static struct shelf *shelf_of(struct wm_rendered *m, const struct wm_service *s)
{
	size_t len = strlen(s->name);
	struct shelf *f = wm_map_get(m->shelves, s->name, len);

	if (f)
		return f;
	f = malloc(sizeof(*f) + len + 1);
	if (!f)
		return NULL;
	TAILQ_INIT(&f->answers);
	memcpy(f->name, s->name, len + 1);
	if (wm_map_put(m->shelves, f->name, len, f, NULL)) {
		free(f);
		return NULL;
	}
	m->bytes += sizeof(*f) + len + 1;
	return f;
}

/* An answer of the form that stands in a->form, which is not kept yet. @return NULL: without
 * memory. */
static struct rendered *make(struct wm_api *a, const struct wm_service *s, uint64_t index)
{
	struct wm_rendered *m = a->rendered;
	struct rendered *x = malloc(sizeof(*x) + a->form.len);
	struct shelf *f = x ? shelf_of(m, s) : NULL;

	if (!f) {
		free(x);
		return NULL;
	}
	*x = (struct rendered){.shelf = f,
			       .index = index,
			       .nodes = m->nodes,
			       .outputs = m->outputs,
			       .form_len = a->form.len};
	memcpy(x->form, a->form.data, a->form.len);
	TAILQ_INSERT_HEAD(&m->by_age, x, age_entry);
	TAILQ_INSERT_HEAD(&f->answers, x, shelf_entry);
	if (wm_map_put(m->forms, x->form, x->form_len, x, NULL)) {
		forget(m, x);
		return NULL;
	}
	return x;
}

bool wm_rendered_keep(struct wm_call *c, const char *type, const struct wm_buf *body,
		      uint64_t index)
{
	struct wm_api *a = c->api;
	struct wm_rendered *m = a->rendered;
	const struct wm_service *s;
	struct rendered *x = find(c);
	struct wm_http_request *req = c->req;
	bool near = wm_http_query(req, "near") != NULL;

	if (x) /* of another state, which is_fresh() has not seen yet */
		forget(m, x);
	if (!is_kept(c->route) || a->form.failed || body->len > m->bytes_max / PART)
		return false;
	/* of two services, by which of them is there */
	if (c->scope && strcmp(c->scope, "default") == 0)
		return false;
	if (near && wm_near_members(a)) /* coordinates move all the time, which nobody announces */
		return false;
	if (c->rest && c->rest->changes != m->changes)
		return false;
	s = wm_registry_service(a->d.registry, c->params[0]);
	x = s && s->index == index ? make(a, s, index) : NULL;
	if (!x)
		return false;
	x->near = near;
	learn(c, x);
	wm_answer_constant_headers(c);
	c->req = NULL;
	a->counters[WM_API_READS]++;
	a->counters[WM_API_RENDERED_MISSES]++;
	x->answer = wm_http_reply_keep(req, type, body->data, body->len);
	if (!x->answer) {
		forget(m, x);
		return true;
	}
	x->bytes += sizeof(*x) + x->form_len + wm_http_kept_size(x->answer);
	m->bytes += sizeof(*x) + x->form_len + wm_http_kept_size(x->answer);
	shrink(a, x);
	return true;
}

uint64_t wm_rendered_changes(const struct wm_api *a)
{
	return a->rendered->changes;
}

uint64_t wm_rendered_bytes(const struct wm_api *a)
{
	return a->rendered->bytes;
}

/* --- beginning and end -------------------------------------------------------------------------
 */
int wm_rendered_init(struct wm_api *a)
{
	struct wm_rendered *m = calloc(1, sizeof(*m));

	a->rendered = m;
	wm_buf_init(&a->form, FORM_MAX);
	if (!m)
		return -ENOMEM;
	TAILQ_INIT(&m->by_age);
	m->bytes_max = a->d.rendered_max;
	m->forms = wm_map_new(ITEMS_MAX);
	m->shelves = wm_map_new(ITEMS_MAX);
	m->raws[0] = wm_map_new(ITEMS_MAX);
	m->raws[1] = wm_map_new(ITEMS_MAX);
	if (!m->forms || !m->shelves || !m->raws[0] || !m->raws[1])
		return -ENOMEM;
	wm_registry_on_output(a->d.registry, on_output, a);
	return 0;
}

void wm_rendered_serve(struct wm_api *a, struct wm_http_server *s)
{
	if (!s)
		return;
	wm_http_on_raw(s, on_raw, a);
	wm_http_on_varying(s, wm_contact_lines, a);
}

void wm_rendered_done(struct wm_api *a)
{
	struct wm_rendered *m = a->rendered;

	wm_buf_done(&a->form);
	if (!m)
		return;
	forget_all(m);
	wm_map_free(m->forms);
	wm_map_free(m->shelves);
	wm_map_free(m->raws[0]);
	wm_map_free(m->raws[1]);
	free(m);
}
