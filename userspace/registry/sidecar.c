/* SPDX-License-Identifier: Apache-2.0 */
/* sidecar.c - a service that is registered within another, as the proxy beside it. It becomes an
 * instance of its own, with Consul's defaults for what it leaves out; both are registered together
 * or not at all, and who deregisters the one takes the other along. Spec: Consul agent API,
 * Connect.SidecarService. */
#include "internal.h"
#include "plan.h"
#include "userspace/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SUFFIX	 "-sidecar-proxy"
#define PORT_MIN 21000 /* ports that are given out: Consul's range */
#define PORT_MAX 21255
#define INTERVAL 10000 /* ms between two looks whether it listens */

#define ID_SIZE	     (WM_INSTANCE_ID_MAX + sizeof(SUFFIX))
#define ADDED_MAX    4 /* members of Proxy that are filled in */
#define CHECK_PREFIX "Connect Sidecar Aliasing "

/* A sidecar with what was filled in. */
struct made {
	struct wm_instance_draft d;
	struct wm_traits traits;
	struct wm_pair proxy[WM_PROXY_MEMBERS_MAX + ADDED_MAX];
	struct wm_check_draft checks[2];
	char id[ID_SIZE], name[ID_SIZE], port[8], target[WM_ADDRESS_MAX + 16];
	char check_name[sizeof(CHECK_PREFIX) + WM_INSTANCE_ID_MAX];
};

static bool set(const char *s)
{
	return s && *s;
}

/* --- its port --------------------------------------------------------------------------------- */
struct ports {
	const char *id; /* whose port is looked for */
	bool used[PORT_MAX - PORT_MIN + 1];
	unsigned own; /* that it has already; 0: none */
};

static void see(struct ports *p, const struct wm_instance *i)
{
	if (i->port < PORT_MIN || i->port > PORT_MAX)
		return;
	if (strcmp(i->id, p->id) == 0)
		p->own = i->port;
	else
		p->used[i->port - PORT_MIN] = true;
}

static void see_queued(struct ports *p, const struct wm_op *op)
{
	const struct wm_op *part;

	if (op->kind == &wm_op_put && ((const struct wm_put *)op)->in)
		see(p, ((const struct wm_put *)op)->in);
	if (op->kind != &wm_op_group)
		return;
	TAILQ_FOREACH (part, &((const struct wm_group *)op)->parts, entry)
		see_queued(p, part);
}

/* What stands and what is about to; the lowest that nobody has. Cost O(instances of the node and
 * writes that wait). @return 0: none is left. */
static unsigned pick_port(struct wm_registry *r, const char *id)
{
	struct ports p = {.id = id};
	const struct wm_instance *i;
	const struct wm_edit *e;
	const struct wm_op *op;
	size_t pos = 0;

	while ((i = wm_map_next(r->self->instances, &pos)))
		see(&p, i);
	if (r->plan) {
		TAILQ_FOREACH (op, &r->plan->ops, entry) {
			TAILQ_FOREACH (e, &op->edits, entry) {
				if (e->in && e->home == r->self)
					see(&p, e->in);
			}
		}
	}
	TAILQ_FOREACH (op, &r->queue, entry)
		see_queued(&p, op);
	if (p.own)
		return p.own;
	for (unsigned n = 0; n < sizeof(p.used) / sizeof(*p.used); n++) {
		if (!p.used[n])
			return PORT_MIN + n;
	}
	return 0;
}

/* --- its defaults ----------------------------------------------------------------------------- */
static char *mut(const char *s)
{
	char *r;

	memcpy(&r, &s, sizeof(r));
	return r;
}

static const char *proxy_of(const struct made *m, const char *key)
{
	for (unsigned n = 0; n < m->traits.proxy_count; n++) {
		if (strcmp(m->proxy[n].key, key) == 0)
			return m->proxy[n].value;
	}
	return NULL;
}

static void fill_proxy(struct made *m, const char *key, const char *value)
{
	if (!proxy_of(m, key))
		m->proxy[m->traits.proxy_count++] = (struct wm_pair){mut(key), mut(value)};
}

static void make_proxy(struct made *m, const struct wm_instance_draft *of, const char *id)
{
	const struct wm_traits *t = of->traits;

	fill_proxy(m, "DestinationServiceName", of->name);
	fill_proxy(m, "DestinationServiceID", id);
	if (proxy_of(m, "LocalServiceSocketPath"))
		return;
	if (t && set(t->socket_path) &&
	    !(proxy_of(m, "LocalServiceAddress") && proxy_of(m, "LocalServicePort"))) {
		fill_proxy(m, "LocalServiceSocketPath", t->socket_path);
		return;
	}
	fill_proxy(m, "LocalServiceAddress", "127.0.0.1");
	snprintf(m->port, sizeof(m->port), "%u", of->port);
	if (of->port)
		fill_proxy(m, "LocalServicePort", m->port);
}

/* Does it listen, and is what it stands for well? */
static void make_checks(struct made *m, const char *id)
{
	const char *local = proxy_of(m, "LocalServiceAddress");
	const char *address = set(m->d.address) ? m->d.address : set(local) ? local : "127.0.0.1";

	snprintf(m->target, sizeof(m->target), strchr(address, ':') ? "[%s]:%u" : "%s:%u", address,
		 m->d.port);
	snprintf(m->check_name, sizeof(m->check_name), CHECK_PREFIX "%s", id);
	m->checks[0] = (struct wm_check_draft){.name = "Connect Sidecar Listening",
					       .kind = WM_CHECK_TCP,
					       .target = m->target,
					       .interval_ms = INTERVAL};
	m->checks[1] = (struct wm_check_draft){
		.name = m->check_name, .kind = WM_CHECK_ALIAS, .target = id};
	m->d.checks = m->checks;
	m->d.checks_count = 2;
}

static int make(struct wm_registry *r, const struct wm_instance_draft *of, struct made *m,
		struct wm_err *e)
{
	const char *id = set(of->id) ? of->id : of->name;

	m->d = *of->sidecar;
	m->traits = m->d.traits ? *m->d.traits : (struct wm_traits){0};
	if (m->traits.proxy_count > WM_PROXY_MEMBERS_MAX)
		return wm_err_set(e, WM_E_LIMIT, "Proxy: %u members, at most %d are allowed",
				  m->traits.proxy_count, WM_PROXY_MEMBERS_MAX);
	if (m->traits.proxy_count)
		memcpy(m->proxy, m->traits.proxy, m->traits.proxy_count * sizeof(*m->proxy));
	m->traits.proxy = m->proxy;
	m->traits.sidecar = true;
	m->d.traits = &m->traits;
	m->d.scripts = of->scripts;
	m->d.replace_checks = of->replace_checks;
	snprintf(m->id, sizeof(m->id), "%s" SUFFIX, id);
	m->d.id = m->id;
	snprintf(m->name, sizeof(m->name), "%s" SUFFIX, of->name);
	m->d.name = set(m->d.name) ? m->d.name : m->name;
	m->traits.kind = set(m->traits.kind) ? m->traits.kind : "connect-proxy";
	m->d.address = set(m->d.address) ? m->d.address : of->address;
	if (!m->d.meta_count) {
		m->d.meta = of->meta;
		m->d.meta_count = of->meta_count;
	}
	if (!m->d.tags_count) {
		m->d.tags = of->tags;
		m->d.tags_count = of->tags_count;
	}
	make_proxy(m, of, id);
	if (!m->d.port)
		m->d.port = pick_port(r, m->id);
	if (!m->d.port)
		return wm_err_set(e, WM_E_CAPACITY,
				  "no port provided for sidecar_service and none left in the "
				  "configured range [%d, %d]",
				  PORT_MIN, PORT_MAX);
	if (!m->d.checks_count)
		make_checks(m, id);
	return 0;
}

/* --- writes ----------------------------------------------------------------------------------- */
int wm_sidecar_register(struct wm_registry *r, const struct wm_instance_draft *d,
			wm_registry_done done, void *arg, struct wm_err *e)
{
	struct wm_group *group = NULL;
	struct wm_op *op = NULL;
	struct made m;
	int err;

	/* its parts are made of these: judged before they are looked at */
	err = wm_op_register(r, d, &op, e);
	if (err)
		return err;
	group = wm_group_new(done, arg);
	if (!group) {
		wm_op_free(op);
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	}
	wm_group_add(group, op);
	err = make(r, d, &m, e);
	if (!err)
		err = wm_op_register(r, &m.d, &op, e);
	if (err) {
		wm_op_free(&group->op);
		return err;
	}
	wm_group_add(group, op);
	group->op.sidecar = true;
	return wm_op_submit(r, &group->op, e);
}

int wm_sidecar_deregister(struct wm_registry *r, struct wm_drop *drop, struct wm_err *e)
{
	char sidecar[ID_SIZE];
	struct wm_group *group;
	struct wm_drop *with;

	snprintf(sidecar, sizeof(sidecar), "%s" SUFFIX, drop->op.id);
	if (!r->sidecars_wait && !wm_registry_instance(r, sidecar))
		return wm_op_submit(r, &drop->op, e);
	group = wm_group_new(drop->op.done, drop->op.arg);
	with = wm_op_new(&wm_op_drop, sizeof(*with), sidecar);
	if (!group || !with) {
		wm_op_free(&drop->op);
		wm_op_free(group ? &group->op : NULL);
		wm_op_free(with ? &with->op : NULL);
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	}
	with->op.lenient = with->op.sidecar = true;
	with->drained = drop->drained;
	drop->op.done = NULL;
	wm_group_add(group, &drop->op);
	wm_group_add(group, &with->op);
	return wm_op_submit(r, &group->op, e);
}
