/* SPDX-License-Identifier: Apache-2.0 */
/* etcd.c - the life of the carrier, and the order of its steps: log in, see whose the prefix is,
 * take leases, show ourselves, list, watch; beside that put what waits. Each step looks at what is
 * true now, so that whatever is lost is begun again from where it was lost. */
#include "etcd_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BODY_MAX    (6u << 20) /* octets: a transaction with the largest object, in base64 */
#define OBJECTS_MAX (1u << 26) /* where no bound is set */
#define NODES_MAX   (1u << 20)

const char *wm_etcd_phase_str(enum wm_etcd_phase p)
{
	static const char *const names[] = {"connecting", "joining", "following", "refused",
					    "left"};

	return names[p];
}

void wm_etcd_wake(struct wm_etcd *e, uint64_t ms)
{
	uint64_t at = wm_etcd_now(e) + ms;

	if (!e->started || at >= e->wake_ms)
		return;
	e->wake_ms = at;
	wm_env_timer_arm(e->timer, ms);
}

void wm_etcd_alarm(struct wm_etcd *e, const struct wm_peer_id *about, const char *fmt, ...)
{
	char text[WM_ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (e->c.alarm)
		e->c.alarm(e->c.arg, about, text);
}

void wm_etcd_refuse(struct wm_etcd *e, const struct wm_peer_id *about, const char *sentence)
{
	e->refused = true;
	snprintf(e->error, sizeof(e->error), "%s", sentence);
	e->slots[SLOT_CONTROL].not_before_ms = wm_etcd_now(e) + REFUSED_MS;
	wm_etcd_alarm(e, about, "%s", sentence);
}

void wm_etcd_restart(struct wm_etcd *e)
{
	struct wm_etcd_object *o;
	size_t pos = 0;

	wm_etcd_list_later(e);
	while ((o = wm_map_next(e->objects, &pos)))
		o->mod = 0; /* of a history that is no more */
	e->marked = e->enlisted = e->settled = e->told_settled = false;
	e->lease.id = e->member_lease.id = 0;
	for (unsigned n = 0; n < TOMBSTONE_KINDS; n++)
		e->tombs[n].id = 0;
}

/* --- what is to be done now
 * ------------------------------------------------------------------------- */

static void control(struct wm_etcd *e)
{
	if (!wm_etcd_ready(e, SLOT_CONTROL) || wm_etcd_join(e))
		return;
	if (e->leaving && !e->slots[SLOT_PUT].call)
		wm_etcd_put_leave(e);
	else if (!e->leaving && !e->listed)
		wm_etcd_list(e);
}

static void check_watch(struct wm_etcd *e)
{
	uint64_t now = wm_etcd_now(e);

	if (!e->slots[SLOT_WATCH].call)
		return;
	if (!e->watching && now - e->watch_since_ms > CALL_MS)
		wm_etcd_stream_failed(e, true, "the watch is not answered");
	else if (e->watching && !e->stream.len && e->put_revision > e->revision &&
		 now - e->put_ms > ECHO_MS)
		wm_etcd_stream_failed(e, true, "the watch does not bring our own writes");
}

static void run(void *arg)
{
	struct wm_etcd *e = arg;

	e->wake_ms = UINT64_MAX;
	if (e->left)
		return;
	if (e->relist_ms && wm_etcd_now(e) >= e->relist_ms) {
		e->relist_ms = 0;
		wm_etcd_list_later(e);
	}
	if (e->listed && !e->pending_count && !e->settled)
		e->settled = true;
	control(e);
	if (wm_etcd_ready(e, SLOT_KEEP))
		wm_etcd_keep(e);
	if (e->listed && e->enlisted && !e->leaving) {
		if (e->pending_count && wm_etcd_ready(e, SLOT_PUT))
			wm_etcd_put(e);
		if (wm_etcd_ready(e, SLOT_TIDY))
			wm_etcd_tidy(e);
	}
	wm_etcd_ask_step(e);
	if (e->verify)
		wm_etcd_verify_step(e);
	check_watch(e);
	if (e->listed && !e->stream_broken && wm_etcd_ready(e, SLOT_WATCH))
		wm_etcd_watch(e);
	wm_etcd_wake(e, TICK_MS);
}

/* --- life
 * -------------------------------------------------------------------------------------------- */

static int copy_text(const char **to, const char *from)
{
	*to = from && *from ? strdup(from) : NULL;
	return from && *from && !*to ? -ENOMEM : 0;
}

/* Better no start than a carrier that never carries. */
static int copy_path(const char **to, const char *name, const char *from, struct wm_err *why)
{
	int err = from && *from && access(from, R_OK) ? -errno : 0;

	if (err)
		return wm_err_set(why, err, "%s: cannot read %s: %s", name, from, strerror(-err));
	return copy_text(to, from);
}

static int copy_endpoints(struct wm_etcd *e, const struct wm_etcd_config *c, struct wm_err *why)
{
	for (const char *const *p = c->endpoints; p && *p; p++) {
		size_t len = strlen(*p);

		if (e->endpoints_count == WM_ETCD_ENDPOINTS_MAX)
			return wm_err_set(why, WM_E_INVALID, "endpoints: %u at most",
					  WM_ETCD_ENDPOINTS_MAX);
		if (wm_etcd_endpoint_check(*p, why))
			return WM_E_INVALID;
		e->endpoints[e->endpoints_count] = strndup(*p, len - ((*p)[len - 1] == '/'));
		if (!e->endpoints[e->endpoints_count++])
			return -ENOMEM;
	}
	return e->endpoints_count ? 0 : wm_err_set(why, WM_E_INVALID, "endpoints: one is wanted");
}

static int copy_config(struct wm_etcd *e, const struct wm_etcd_config *c, struct wm_err *why)
{
	const char *prefix = c->prefix ? c->prefix : "";
	int err = copy_endpoints(e, c, why);

	e->c = *c;
	e->c.endpoints = NULL;
	e->c.prefix = e->c.user = e->c.password_file = e->c.ca_file = e->c.cert_file = NULL;
	e->c.key_file = e->c.name = e->c.address = e->c.version = NULL;
	if (!err)
		err = wm_etcd_prefix_check(prefix, why);
	if (!err && c->user && *c->user && !(c->password_file && *c->password_file))
		err = wm_err_set(why, WM_E_INVALID, "password_file: wanted, as there is a user");
	err = err ? err : copy_text(&e->c.prefix, prefix);
	err = err ? err : copy_text(&e->c.user, c->user);
	err = err ? err : copy_path(&e->c.password_file, "password_file", c->password_file, why);
	err = err ? err : copy_path(&e->c.ca_file, "ca_file", c->ca_file, why);
	err = err ? err : copy_path(&e->c.cert_file, "cert_file", c->cert_file, why);
	err = err ? err : copy_path(&e->c.key_file, "key_file", c->key_file, why);
	if (err)
		return err;
	e->prefix_len = strlen(prefix);
	e->c.lease_s = c->lease_s ? c->lease_s : WM_ETCD_LEASE_S;
	e->c.forget_s = c->forget_s ? c->forget_s : WM_ETCD_FORGET_S;
	e->c.brake_pct = c->brake_pct ? c->brake_pct : 30;
	e->cluster = c->known_cluster;
	e->revision = c->known_cluster ? c->known_revision : 0;
	e->other = !c->known_cluster;
	return 0;
}

static int make_self(struct wm_etcd *e, const struct wm_etcd_config *c)
{
	struct wm_etcd_record *r;

	e->self = wm_etcd_node(e, &c->id);
	if (!e->self)
		return -ENOMEM;
	r = &e->self->record;
	snprintf(r->name, sizeof(r->name), "%s", c->name ? c->name : "");
	snprintf(r->address, sizeof(r->address), "%s", c->address ? c->address : "");
	snprintf(r->version, sizeof(r->version), "%s", c->version ? c->version : "");
	e->c.name = r->name;
	e->c.address = r->address;
	e->c.version = r->version;
	return 0;
}

int wm_etcd_new(const struct wm_etcd_config *c, struct wm_etcd **ret, struct wm_err *why)
{
	struct wm_etcd *e = calloc(1, sizeof(*e));
	int err = -ENOMEM;

	if (!e)
		return -ENOMEM;
	TAILQ_INIT(&e->pending);
	e->ops_max = OPS_MAX;
	e->txn_octets = TXN_OCTETS;
	e->page = PAGE_KEYS;
	e->wake_ms = UINT64_MAX;
	e->heard_ms = wm_env_ms(c->env);
	wm_buf_init(&e->body, BODY_MAX);
	wm_buf_init(&e->stream, STREAM_MAX);
	for (unsigned n = 0; n < SLOTS; n++)
		e->slots[n].e = e;
	err = copy_config(e, c, why);
	if (err)
		goto fail;
	err = -ENOMEM;
	e->objects = wm_map_new(c->objects_max ? c->objects_max : OBJECTS_MAX);
	e->nodes = wm_map_new(NODES_MAX);
	e->batch = wm_etcd_batch_new();
	e->timer = wm_env_timer_new(c->env, run, e);
	e->stream_timer = wm_env_timer_new(c->env, wm_etcd_on_stream, e);
	if (!e->objects || !e->nodes || !e->batch || !e->timer || !e->stream_timer ||
	    make_self(e, c))
		goto fail;
	e->endpoint = (unsigned)wm_env_below(c->env, e->endpoints_count);
	*ret = e;
	return 0;
fail:
	wm_etcd_free(e);
	return err;
}

static void free_text(const char *s)
{
	free((void *)(uintptr_t)s);
}

void wm_etcd_free(struct wm_etcd *e)
{
	struct wm_etcd_object *o;
	struct wm_etcd_node *n;
	size_t pos = 0;

	if (!e)
		return;
	wm_etcd_ask_end(e);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		wm_etcd_cancel(e, (enum wm_etcd_slot_kind)slot);
	wm_env_timer_free(e->timer);
	wm_env_timer_free(e->stream_timer);
	while (e->objects && (o = wm_map_next(e->objects, &pos)))
		wm_etcd_object_free(e, o);
	pos = 0;
	while (e->nodes && (n = wm_map_next(e->nodes, &pos)))
		free(n);
	wm_map_free(e->objects);
	wm_map_free(e->nodes);
	for (unsigned p = 0; p < e->endpoints_count; p++)
		free(e->endpoints[p]);
	free_text(e->c.prefix);
	free_text(e->c.user);
	free_text(e->c.password_file);
	free_text(e->c.ca_file);
	free_text(e->c.cert_file);
	free_text(e->c.key_file);
	free(e->token);
	free(e->batch);
	wm_buf_done(&e->body);
	wm_buf_done(&e->stream);
	free(e);
}

int wm_etcd_start(struct wm_etcd *e)
{
	e->started = true;
	wm_etcd_wake(e, 0);
	return 0;
}

void wm_etcd_leave(struct wm_etcd *e, void (*done)(void *arg), void *arg)
{
	e->leaving = true;
	e->leave_done = done;
	e->leave_arg = arg;
	wm_etcd_wake(e, 0);
}

/* --- what is seen of it
 * -------------------------------------------------------------------------------- */

static enum wm_etcd_phase phase(const struct wm_etcd *e)
{
	return e->left	     ? WM_ETCD_LEFT
	       : e->refused  ? WM_ETCD_REFUSED
	       : !e->up	     ? WM_ETCD_CONNECTING
	       : e->watching ? WM_ETCD_FOLLOWING
			     : WM_ETCD_JOINING;
}

void wm_etcd_state(const struct wm_etcd *e, struct wm_etcd_state *ret)
{
	uint64_t now = wm_etcd_now(e);
	const struct wm_etcd_node *n;
	size_t pos = 0;

	*ret = (struct wm_etcd_state){
		.phase = phase(e),
		.endpoint = e->endpoints[e->endpoint],
		.error = e->error,
		.cluster = e->cluster,
		.revision = e->revision,
		.lease = e->lease.id,
		.lease_left_ms =
			e->lease.id && e->lease.until_ms > now ? e->lease.until_ms - now : 0,
		.pending = e->pending_count,
		.pending_octets = e->pending_octets,
		.objects = (unsigned)wm_map_len(e->objects),
		.held = e->held,
	};
	while ((n = wm_map_next(e->nodes, &pos))) {
		ret->nodes++;
		ret->alive += n->lives || n == e->self;
	}
}

bool wm_etcd_contact(const struct wm_etcd *e, uint64_t *ret_ms)
{
	*ret_ms = wm_etcd_now(e) - e->heard_ms;
	return phase(e) == WM_ETCD_FOLLOWING;
}

bool wm_etcd_next(const struct wm_etcd *e, size_t *pos, struct wm_etcd_node_state *ret)
{
	const struct wm_etcd_node *n = wm_map_next(e->nodes, pos);

	if (!n)
		return false;
	*ret = (struct wm_etcd_node_state){.id = n->id,
					   .name = n->record.name,
					   .address = n->record.address,
					   .version = n->record.version,
					   .self = n == e->self,
					   .alive = n->lives || n == e->self,
					   .objects = n->objects};
	return true;
}

void wm_etcd_stats(const struct wm_etcd *e, struct wm_etcd_stats *ret)
{
	*ret = e->stats;
}
