/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_help.h - agents in one process: a carrier each, and a store that is a list. */
#pragma once
#include "etcd_peer.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/net/http_client.h"
#include "userspace/net/loop.h"
#include "userspace/sync/etcd.h"

#include <errno.h>

#define DEADLINE_MS 60000 /* for a hung test */
#define PREFIX	    "/waymark/test/"
#define ROWS_MAX    4096
#define NODES_SEEN  8

struct row {
	struct wm_peer_id origin;
	struct wm_version version;
	char key[128];
	size_t key_len;
	char text[64];
	bool gone;
};

struct agent {
	struct wm_http_client *http;
	struct wm_etcd *etcd;
	struct wm_peer_id id;
	char name[16], address[32];
	struct row *rows;
	unsigned rows_count;
	unsigned taken, gone, forgot, conflicts, alarms;
	unsigned busy; /* so many changes are refused first */
	char alarm[512];
	struct {
		struct wm_peer_id id;
		char name[64];
		bool alive;
		unsigned changes;
	} seen[NODES_SEEN];
	unsigned seen_count;
	uint64_t seq;
};

static struct wm_loop *loop;

static inline struct row *row_of(struct agent *a, const struct wm_peer_id *origin, bool shared,
				 const void *key, size_t len)
{
	for (unsigned n = 0; n < a->rows_count; n++) {
		struct row *r = &a->rows[n];

		if (r->key_len == len && !memcmp(r->key, key, len) &&
		    shared == (r->version.origin == WM_ORIGIN_SHARED) &&
		    (shared || wm_peer_id_same(&r->origin, origin)))
			return r;
	}
	return NULL;
}

static inline struct row *set_row(struct agent *a, const struct wm_replica_change *c)
{
	bool shared = c->version.origin == WM_ORIGIN_SHARED;
	struct row *r = row_of(a, &c->origin, shared, c->key.octets, c->key.len);

	if (!r) {
		cr_assert_lt(a->rows_count, ROWS_MAX);
		r = &a->rows[a->rows_count++];
		memcpy(r->key, c->key.octets, c->key.len);
		r->key_len = c->key.len;
	}
	r->origin = c->origin;
	r->version = c->version;
	r->gone = c->gone;
	cr_assert_lt(c->len, sizeof(r->text));
	if (c->len)
		memcpy(r->text, c->object, c->len);
	r->text[c->len] = '\0';
	return r;
}

static inline int on_read(void *arg, const struct wm_peer_id *origin, bool shared,
			  const struct wm_replica_key *k, struct wm_buf *b)
{
	struct row *r = row_of(arg, origin, shared, k->octets, k->len);

	if (!r || r->gone)
		return WM_E_UNKNOWN;
	return wm_buf_puts(b, r->text) ? 0 : -ENOMEM;
}

static inline int on_take(void *arg, const struct wm_replica_change *c, unsigned count)
{
	struct agent *a = arg;

	if (a->busy) {
		a->busy--;
		return WM_E_BUSY;
	}
	for (unsigned n = 0; n < count; n++) {
		cr_assert(c[n].version.origin == WM_ORIGIN_SHARED ||
				  !wm_peer_id_same(&c[n].origin, &a->id),
			  "nobody tells us what is ours");
		set_row(a, &c[n]);
		a->gone += c[n].gone;
	}
	a->taken += count;
	return 0;
}

static inline void on_alive(void *arg, const struct wm_peer_id *id, const char *name, bool is)
{
	struct agent *a = arg;
	unsigned n = 0;

	while (n < a->seen_count && !wm_peer_id_same(&a->seen[n].id, id))
		n++;
	cr_assert_lt(n, NODES_SEEN);
	if (n == a->seen_count)
		a->seen[a->seen_count++].id = *id;
	snprintf(a->seen[n].name, sizeof(a->seen[n].name), "%s", name);
	a->seen[n].alive = is;
	a->seen[n].changes++;
}

static inline bool sees(const struct agent *a, const struct agent *other)
{
	for (unsigned n = 0; n < a->seen_count; n++) {
		if (wm_peer_id_same(&a->seen[n].id, &other->id))
			return a->seen[n].alive;
	}
	return false;
}

static inline unsigned changes_seen(const struct agent *a, const struct agent *other)
{
	for (unsigned n = 0; n < a->seen_count; n++) {
		if (wm_peer_id_same(&a->seen[n].id, &other->id))
			return a->seen[n].changes;
	}
	return 0;
}

static inline void on_forgot(void *arg, const struct wm_peer_id *id)
{
	struct agent *a = arg;

	(void)id;
	a->forgot++;
}

static inline void on_conflict(void *arg, const struct wm_replica_change *won,
			       const struct wm_replica_change *lost)
{
	struct agent *a = arg;

	cr_assert(won->version.seq >= lost->version.seq);
	a->conflicts++;
}

static inline void on_alarm(void *arg, const struct wm_peer_id *about, const char *sentence)
{
	struct agent *a = arg;

	(void)about;
	a->alarms++;
	snprintf(a->alarm, sizeof(a->alarm), "%s", sentence);
}

static inline void agent_init(struct agent *a, unsigned number)
{
	*a = (struct agent){0};
	a->id.octets[15] = (uint8_t)number;
	snprintf(a->name, sizeof(a->name), "node%u", number);
	snprintf(a->address, sizeof(a->address), "10.0.0.%u", number);
	a->rows = calloc(ROWS_MAX, sizeof(*a->rows));
	cr_assert(a->rows);
}

static inline struct wm_etcd_config agent_config(struct agent *a, const char *const *endpoints)
{
	return (struct wm_etcd_config){.env = wm_loop_env(loop),
				       .endpoints = endpoints,
				       .prefix = PREFIX,
				       .id = a->id,
				       .name = a->name,
				       .address = a->address,
				       .version = "1.2.3",
				       .lease_s = 2,
				       .arg = a,
				       .read = on_read,
				       .take = on_take,
				       .alive = on_alive,
				       .forgot = on_forgot,
				       .conflict = on_conflict,
				       .alarm = on_alarm};
}

/* Begin with what its store has. */
static inline void agent_start(struct agent *a, struct wm_etcd_config c)
{
	struct wm_err e = {0};

	a->http = wm_http_client_new(loop, 16);
	cr_assert(a->http);
	c.http = a->http;
	cr_assert_eq(wm_etcd_new(&c, &a->etcd, &e), 0, "%s", e.text);
	for (unsigned n = 0; n < a->rows_count; n++) {
		struct row *r = &a->rows[n];
		struct wm_replica_change ch = {.origin = r->origin,
					       .version = r->version,
					       .key = {r->key, r->key_len},
					       .gone = r->gone,
					       .gone_ms = r->gone ? wm_clock_wall_ms() : 0};

		cr_assert_eq(wm_etcd_recover(a->etcd, &ch), 0);
	}
	cr_assert_eq(wm_etcd_start(a->etcd), 0);
}

/* As kill -9: nothing is said, the store stays. */
static inline void agent_kill(struct agent *a)
{
	wm_etcd_free(a->etcd);
	wm_http_client_free(a->http);
	a->etcd = NULL;
	a->http = NULL;
}

static inline void agent_done(struct agent *a)
{
	agent_kill(a);
	free(a->rows);
}

static inline void write_row(struct agent *a, struct wm_replica_change c, const char *key,
			     size_t len, const char *text)
{
	c.origin = a->id;
	c.key = (struct wm_replica_key){key, len};
	c.gone = !text;
	c.gone_ms = text ? 0 : wm_clock_wall_ms();
	c.object = text;
	c.len = text ? strlen(text) : 0;
	set_row(a, &c);
	if (a->etcd)
		cr_assert_eq(wm_etcd_own(a->etcd, &c), 0);
}

/* Register, or with text NULL deregister. */
static inline void own(struct agent *a, const char *key, const char *text)
{
	struct wm_version v = {.origin = WM_ORIGIN_OWN, .epoch = 1, .seq = ++a->seq};

	write_row(a, (struct wm_replica_change){.version = v}, key, strlen(key), text);
}

/* Write a shared object: "node\0id". @p ago_ms: how old its clock is. */
static inline void share(struct agent *a, const char *key, size_t len, const char *text,
			 uint64_t ago_ms)
{
	struct wm_version v = {.origin = WM_ORIGIN_SHARED,
			       .seq = (wm_clock_wall_ms() - ago_ms) << 16 | (a->seq++ & 0xffff)};

	write_row(a, (struct wm_replica_change){.version = v}, key, len, text);
}

static inline const char *has(struct agent *a, const struct agent *origin, const char *key)
{
	struct row *r = row_of(a, &origin->id, false, key, strlen(key));

	return r && !r->gone ? r->text : "";
}

static inline const char *has_shared(struct agent *a, const char *key, size_t len)
{
	struct row *r = row_of(a, &a->id, true, key, len);

	return r && !r->gone ? r->text : "";
}

static inline unsigned pending(const struct agent *a)
{
	struct wm_etcd_state s;

	wm_etcd_state(a->etcd, &s);
	return s.pending;
}

static inline enum wm_etcd_phase phase_of(const struct agent *a)
{
	struct wm_etcd_state s;

	wm_etcd_state(a->etcd, &s);
	return s.phase;
}

static inline struct wm_etcd_stats stats_of(const struct agent *a)
{
	struct wm_etcd_stats s;

	wm_etcd_stats(a->etcd, &s);
	return s;
}

static inline const char *error_of(const struct agent *a)
{
	struct wm_etcd_state s;

	wm_etcd_state(a->etcd, &s);
	return s.error;
}

/* Turn the loop until it is so. */
#define until(condition)                                                                           \
	do {                                                                                       \
		uint64_t end_ = wm_clock_ms() + DEADLINE_MS;                                       \
		while (!(condition) && wm_clock_ms() < end_)                                       \
			cr_assert_eq(wm_loop_turn(loop, 20), 0);                                   \
		cr_assert(condition);                                                              \
	} while (0)

static inline void turn_for(uint64_t ms)
{
	uint64_t end = wm_clock_ms() + ms;

	while (wm_clock_ms() < end)
		cr_assert_eq(wm_loop_turn(loop, 10), 0);
}
