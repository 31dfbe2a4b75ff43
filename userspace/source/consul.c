/* SPDX-License-Identifier: Apache-2.0 */
/* consul.c - see consul.h: its life, which address is asked, and what is asked next. An address is
 * asked who it is first, and again after each failure: only when it does not answer that, another
 * is gone to. One service that cannot be read keeps no other. */
#include "consul_internal.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WATCHES_MAX (1u << 20) /* of a map; services_max bounds them first */
#define THINGS_MAX  (1u << 24) /* the same of instances and nodes */

void wm_consul_wake(struct wm_consul *c, uint64_t ms)
{
	uint64_t at = wm_consul_now(c) + ms;

	if (c->wake_ms && at >= c->wake_ms)
		return;
	c->wake_ms = at;
	wm_env_timer_arm(c->timer, ms);
}

uint64_t wm_consul_pause(const struct wm_consul *c, unsigned fails)
{
	uint64_t ms = (uint64_t)RETRY_MIN_MS << (fails < 8 ? fails : 8);

	ms = ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
	return ms / 2 + wm_env_below(c->env, ms / 2 + 1);
}

bool wm_consul_bucket_take(struct wm_consul_bucket *b, uint64_t now, unsigned burst,
			   uint64_t every_ms, uint64_t *ret_ms)
{
	uint64_t more = (now - b->at_ms) / every_ms;

	if (!b->at_ms || more >= burst - b->left) {
		b->left = burst;
		b->at_ms = now;
	} else {
		b->left += (unsigned)more;
		b->at_ms += more * every_ms;
	}
	if (b->left) {
		b->left--;
		return true;
	}
	*ret_ms = b->at_ms + every_ms - now;
	return false;
}

/* --- which address ---------------------------------------------------------------------------- */
static void cancel_all(struct wm_consul *c)
{
	wm_consul_query_cancel(&c->self);
	wm_consul_query_cancel(&c->catalog);
	c->catalog_index = 0;
	c->catalog_due_ms = 0;
	wm_consul_watches_cancel(c);
	wm_consul_nodes_again(c);
}

/* All addresses are tried at once, and again after a pause. @p st: how it is when none will do. */
static void go_elsewhere(struct wm_consul *c, enum wm_source_state st, const char *why)
{
	uint64_t now = wm_consul_now(c);

	c->connected = false;
	cancel_all(c);
	c->fails += c->fails < 1000;
	if (c->addresses > 1) {
		c->address = (c->address + 1) % c->addresses;
		c->stats.failovers++;
	}
	c->not_before_ms =
		now + (c->fails < c->addresses ? wm_env_below(c->env, 50)
					       : wm_consul_pause(c, c->fails - c->addresses));
	if (c->fails >= c->addresses)
		wm_source_state(c->source, st, why);
}

void wm_consul_fault(struct wm_consul *c, enum wm_consul_fault f, const char *why, bool counts)
{
	uint64_t now = wm_consul_now(c);

	switch (f) {
	case FAULT_TRANSPORT:
		c->connected = false; /* does it say who it is? */
				      /* fall through */
	case FAULT_BAD:
		c->bad_in_row += counts;
		if (c->bad_in_row >= BAD_IN_ROW) {
			c->bad_in_row = 0;
			go_elsewhere(c, WM_SOURCE_AWAY, why);
		}
		break;
	case FAULT_LEADERLESS:
		go_elsewhere(c, WM_SOURCE_AWAY, why);
		break;
	case FAULT_LIMITED:
		c->fails += c->fails < 1000;
		c->not_before_ms = now + wm_consul_pause(c, c->fails);
		break;
	case FAULT_DENIED:
		c->connected = false; /* the token is read again */
		c->not_before_ms = now + DENIED_MS / 2 + wm_env_below(c->env, DENIED_MS / 2);
		wm_source_state(c->source, WM_SOURCE_REFUSED, why);
		break;
	case FAULT_MEMORY:
		break;
	}
	wm_source_count(c->source, WM_SOURCE_COUNT_retries, 1);
}

void wm_consul_state(struct wm_consul *c)
{
	c->fails = 0;
	c->bad_in_row = 0;
	wm_source_state(c->source, c->list_open ? WM_SOURCE_LISTING : WM_SOURCE_WATCHING,
			wm_consul_address(c));
}

/* --- who it is -------------------------------------------------------------------------------- */
static void on_self_failed(struct wm_consul_query *q, enum wm_consul_fault f, const char *why)
{
	if (f == FAULT_TRANSPORT || f == FAULT_BAD)
		go_elsewhere(q->c, WM_SOURCE_AWAY, why);
	else
		wm_consul_fault(q->c, f, why, true);
}

/* Another cluster, or datacenter: nothing of it is taken. */
static void on_stranger(struct wm_consul *c, const char *why)
{
	go_elsewhere(c, WM_SOURCE_REFUSED, why);
}

/* Were it this agent, or one of its mesh, all would be there twice. */
static bool is_one_of_us(const struct wm_consul *c, const char *id)
{
	const struct wm_node *n;
	size_t pos = 0;

	while (*id && (n = wm_registry_next_node(c->conf.registry, &pos))) {
		if (strcasecmp(n->id, id) == 0)
			return true;
	}
	return false;
}

/* Two clusters may call their datacenter alike: what tells them apart is the authority of each,
 * where it has one (Connect). One that has none is known by its datacenter alone. */
static void identify(struct wm_consul *c, const char *trust)
{
	char id[sizeof("dc= cluster=") + WM_CONSUL_DATACENTER_MAX + WM_CONSUL_TRUST_MAX];
	char why[512];

	snprintf(id, sizeof(id), "dc=%s%s%s", c->dc, *trust ? " cluster=" : "", trust);
	if (wm_source_identity(c->source, id)) {
		snprintf(why, sizeof(why),
			 "%s is of the datacenter %s, not of that which was known, or of another "
			 "cluster that calls it so: nothing of it is taken; waymarkctl sources "
			 "release " WM_CONSUL_SOURCE " gives the former one up",
			 wm_consul_address(c), c->dc);
		on_stranger(c, why);
		return;
	}
	c->connected = true;
	if (!c->catalog_listed)
		wm_source_state(c->source, WM_SOURCE_LISTING, wm_consul_address(c));
}

static void on_trust(struct wm_consul_query *q)
{
	char trust[WM_CONSUL_TRUST_MAX + 1] = "";
	struct wm_consul *c = q->c;
	struct wm_err e = {0};
	int r = 0;

	if (q->status == 200)
		r = wm_consul_trust_read(q->body.data ? q->body.data : "", q->body.len, trust, &e);
	wm_consul_query_release(q);
	if (!r) {
		identify(c, trust);
		return;
	}
	wm_source_count(c->source, WM_SOURCE_COUNT_bad, 1);
	go_elsewhere(c, WM_SOURCE_AWAY, e.text);
}

static void on_self(struct wm_consul_query *q)
{
	struct wm_consul *c = q->c;
	struct wm_consul_self self;
	struct wm_err e = {0};
	const char *dc = c->conf.datacenter;
	char why[512];
	int r = wm_consul_self_read(q->body.data ? q->body.data : "", q->body.len, &self, &e);

	wm_consul_query_release(q);
	if (r) {
		wm_source_count(c->source, WM_SOURCE_COUNT_bad, 1);
		go_elsewhere(c, WM_SOURCE_AWAY, e.text);
		return;
	}
	if (is_one_of_us(c, self.id)) {
		snprintf(why, sizeof(why), "%s is this agent, or one of its mesh: no Consul",
			 wm_consul_address(c));
		on_stranger(c, why);
		return;
	}
	snprintf(c->dc, sizeof(c->dc), "%s", *dc ? dc : self.datacenter);
	c->self.done = on_trust;
	c->self.optional = true;
	wm_consul_ask(&c->self, "/v1/connect/ca/roots", 0, 0);
}

/* --- what is asked next ----------------------------------------------------------------------- */
static void on_timer(void *arg)
{
	struct wm_consul *c = arg;
	uint64_t now = wm_consul_now(c);

	c->wake_ms = 0;
	wm_consul_wake(c, TICK_MS);
	if (now < c->not_before_ms) {
		wm_consul_wake(c, c->not_before_ms - now);
		return;
	}
	if (!c->connected) {
		if (!c->self.call) {
			wm_consul_read_token(c);
			c->self.done = on_self;
			c->self.optional = false;
			wm_consul_ask(&c->self, "/v1/agent/self", 0, 0);
		}
		return;
	}
	if (!c->list_open && !c->catalog_listed) {
		wm_source_list_begin(c->source);
		wm_source_count(c->source, WM_SOURCE_COUNT_lists, 1);
		c->list_open = true;
	}
	wm_consul_catalog_ask(c);
	wm_consul_watches_ask(c);
}

static void on_room(void *arg)
{
	struct wm_consul *c = arg;

	wm_env_timer_arm(c->take_timer, 0);
}

/* --- life ------------------------------------------------------------------------------------- */
static int start_source(struct wm_consul *c, struct wm_err *e)
{
	const struct wm_source_config s = {.name = WM_CONSUL_SOURCE,
					   .prefix = WM_CONSUL_SOURCE,
					   .instances_max = c->conf.instances_max,
					   .services_max = c->conf.services_max};
	int r = wm_source_new(c->conf.sources, &s, &c->source, e);

	if (!r)
		wm_source_on_room(c->source, on_room, c);
	return r;
}

static bool allocate(struct wm_consul *c)
{
	c->watches = wm_map_new(WATCHES_MAX);
	c->nodes = wm_map_new(THINGS_MAX);
	c->things = wm_map_new(THINGS_MAX);
	c->entry = calloc(1, sizeof(*c->entry));
	c->timer = wm_env_timer_new(c->env, on_timer, c);
	c->take_timer = wm_env_timer_new(c->env, wm_consul_take, c);
	/* beside the queries: who it is, the list, what is passed on */
	c->http = wm_http_client_new(c->conf.loop, c->conf.queries_max + 4);
	return c->watches && c->nodes && c->things && c->entry && c->timer && c->take_timer &&
	       c->http;
}

int wm_consul_new(const struct wm_consul_config *conf, struct wm_consul **ret, struct wm_err *e)
{
	struct wm_consul *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return wm_err_set(e, -ENOMEM, "out of memory: a Consul");
	c->conf = *conf;
	c->env = wm_loop_env(conf->loop);
	TAILQ_INIT(&c->ready);
	TAILQ_INIT(&c->later);
	TAILQ_INIT(&c->taking);
	while (conf->addresses[c->addresses])
		c->addresses++;
	wm_consul_query_init(c, &c->self);
	wm_consul_query_init(c, &c->catalog);
	c->self.done = on_self;
	c->self.failed = on_self_failed;
	r = start_source(c, e);
	if (!r && (!allocate(c) || wm_env_timer_arm(c->timer, 0)))
		r = wm_err_set(e, -ENOMEM, "out of memory: a Consul");
	if (!r && conf->pass_on && !(c->reg = wm_consul_register_new(c)))
		r = wm_err_set(e, -ENOMEM, "out of memory: a Consul");
	if (r) {
		wm_consul_free(c);
		return r;
	}
	wm_source_state(c->source, WM_SOURCE_CONNECTING, "");
	*ret = c;
	return 0;
}

void wm_consul_free(struct wm_consul *c)
{
	if (!c)
		return;
	wm_consul_register_free(c->reg);
	if (c->http)
		cancel_all(c);
	wm_consul_watches_free(c);
	wm_consul_things_free(c);
	wm_http_client_free(c->http);
	wm_env_timer_free(c->timer);
	wm_env_timer_free(c->take_timer);
	wm_map_free(c->watches);
	wm_map_free(c->nodes);
	wm_map_free(c->things);
	if (c->entry)
		wm_consul_entry_done(c->entry);
	free(c->entry);
	wm_source_free(c->source);
	explicit_bzero(c->token, sizeof(c->token));
	free(c);
}

void wm_consul_stats(const struct wm_consul *c, struct wm_consul_stats *ret)
{
	*ret = c->stats;
	ret->services = (unsigned)wm_map_len(c->watches);
	ret->in_flight = c->in_flight;
	ret->waiting = ret->services - c->in_flight;
}
