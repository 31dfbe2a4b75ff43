/* SPDX-License-Identifier: Apache-2.0 */
/* consul_internal.h - what the parts share: consul.c (its life, what is asked next, which address),
 * consul_call.c (a request and its answer), consul_watch.c (services and their turns),
 * consul_take.c (what answers say), consul_register.c (own instances passed on). Inside source/
 * only. */
#pragma once
#include "consul.h"
#include "consul_decode.h"
#include "userspace/base/buf.h"
#include "userspace/base/map.h"
#include "userspace/net/http_client.h"
#include "userspace/registry/foreign.h"

#include <sys/queue.h>

#define CALL_MS	     10000 /* an answer that need not wait comes within it */
#define KEEPALIVE_S  5	   /* of TCP: a silent Consul is given up after 20 s */
#define TICK_MS	     1000  /* what is due is looked for at least so often */
#define RETRY_MIN_MS 500   /* between tries of all addresses, or of one service: doubled */
#define RETRY_MAX_MS 30000
#define DENIED_MS    30000 /* until a token that was refused is shown again */
#define POLL_MS	     5000  /* between questions of a service that has no index */
#define WAIT_MIN_MS  1000  /* of a blocking query when services take turns */
#define ROTATION_MS  10000 /* each service has its turn within it, if WAIT_MIN_MS allows */
#define BURST	     5	   /* queries of one service in a row; beyond, */
#define PACE_MS	     500   /* one in so many */
#define RATE	     500   /* queries a second of all services */
#define STALE_MAX_MS 30000 /* since an answering server heard of a leader: older is not taken */
#define TAKE_MS	     4	   /* of a turn for what answers say */
#define SELF_MAX     (1u << 20) /* octets of /v1/agent/self: Consul's has 30,000 */
#define BAD_IN_ROW   3		/* answers that are none, after which another address is asked */

/* A bucket that fills by one in `every_ms`. */
struct wm_consul_bucket {
	unsigned left;
	uint64_t at_ms; /* up to which it was filled */
};

enum wm_consul_fault {
	FAULT_TRANSPORT, /* no answer, or an error of the server's */
	FAULT_BAD,	 /* it cannot be read */
	FAULT_LEADERLESS,
	FAULT_LIMITED, /* 429 */
	FAULT_DENIED,  /* 401, 403 */
	FAULT_MEMORY   /* ours */
};

/* A request that is made again and again. */
struct wm_consul_query {
	struct wm_consul *c;
	struct wm_http_call *call;
	struct wm_buf body;
	uint64_t index, asked_ms, wait_ms; /* asked with; wait 0: at once */
	uint64_t next_index;		   /* of the answer */
	bool reset, too_large;
	bool optional; /* an answer that refuses is one: `done` looks at the status */
	long status;   /* of the answer */
	void (*done)(struct wm_consul_query *q);
	void (*failed)(struct wm_consul_query *q, enum wm_consul_fault f, const char *why);
};

TAILQ_HEAD(wm_consul_things, wm_consul_thing);
enum wm_consul_place { WATCH_READY, WATCH_LATER, WATCH_ASKED, WATCH_TAKING };
struct wm_consul_watch {
	TAILQ_ENTRY(wm_consul_watch) entry; /* READY, LATER, TAKING */
	struct wm_consul_query q;
	enum wm_consul_place place;
	uint64_t index, due_ms;
	struct wm_consul_bucket bucket;
	unsigned fails;
	unsigned seen;	     /* list of services that it was in last */
	unsigned generation; /* answer that is taken */
	bool listed;	     /* answered in this run */
	struct wm_consul_walk walk;
	struct wm_consul_things things;
	char name[];
};
TAILQ_HEAD(wm_consul_watches, wm_consul_watch);

struct wm_consul_node {
	uint64_t facts, index; /* hash of what is known; ModifyIndex */
	unsigned refs;	       /* instances on it */
	char name[];
};
/* An instance that was given to the door. */
struct wm_consul_thing {
	TAILQ_ENTRY(wm_consul_thing) entry;
	struct wm_consul_watch *watch;
	struct wm_consul_node *node;
	unsigned generation;
	uint16_t key_len;
	char key[]; /* node, NUL, id, NUL */
};

struct wm_consul {
	struct wm_consul_config conf;
	const struct wm_env *env;
	struct wm_http_client *http;
	struct wm_source *source;
	struct wm_env_timer *timer, *take_timer;
	struct wm_consul_stats stats;
	char token[WM_CONSUL_TOKEN_MAX + 32]; /* as a header; "": none */
	unsigned addresses, address;
	unsigned fails, bad_in_row;
	uint64_t not_before_ms, wake_ms;
	char dc[WM_CONSUL_DATACENTER_MAX + 1]; /* of the address */
	bool connected;	 /* the address said who it is, and is the one that is wanted */
	size_t buffered; /* octets of all bodies */
	struct wm_consul_query self, catalog;
	uint64_t catalog_due_ms, catalog_index;
	struct wm_consul_bucket catalog_bucket, bucket;
	unsigned catalog_fails;

	struct wm_map *watches, *nodes, *things;
	struct wm_consul_watches ready, later, taking;
	unsigned in_flight, unlisted, list;
	bool catalog_listed, list_open;
	struct wm_consul_entry *entry;
	struct wm_consul_register *reg; /* NULL: nothing is passed on */
};

static inline uint64_t wm_consul_now(const struct wm_consul *c)
{
	return wm_env_ms(c->env);
}
/* --- consul.c --- */
void wm_consul_wake(struct wm_consul *c, uint64_t ms);
/** What failed of a query says of the address. @p counts: is it a sign that others would fail, too?
 */
void wm_consul_fault(struct wm_consul *c, enum wm_consul_fault f, const char *why, bool counts);
void wm_consul_state(struct wm_consul *c); /* listing or watching */
/** A pause after so many failures, with jitter. */
uint64_t wm_consul_pause(const struct wm_consul *c, unsigned fails);
/** @return false: it is empty for another *ret_ms. */
bool wm_consul_bucket_take(struct wm_consul_bucket *b, uint64_t now, unsigned burst,
			   uint64_t every_ms, uint64_t *ret_ms);

/* --- consul_call.c --- */
void wm_consul_query_init(struct wm_consul *c, struct wm_consul_query *q);
/** Ask GET @p path, which has its parameters but those of every read. */
void wm_consul_ask(struct wm_consul_query *q, const char *path, uint64_t index, uint64_t wait_ms);
/** The answer was read: its memory is given back. */
void wm_consul_query_release(struct wm_consul_query *q);
void wm_consul_query_cancel(struct wm_consul_query *q);
/** Append with all but RFC 3986's unreserved octets encoded. */
void wm_consul_put_encoded(struct wm_buf *b, const char *text);
void wm_consul_read_token(struct wm_consul *c);
const char *wm_consul_address(const struct wm_consul *c); /* to be shown */

/* --- consul_watch.c --- */
void wm_consul_catalog_ask(struct wm_consul *c);
void wm_consul_watches_ask(struct wm_consul *c);
void wm_consul_watches_cancel(struct wm_consul *c); /* all of them begin anew */
void wm_consul_watches_free(struct wm_consul *c);
void wm_consul_watch_later(struct wm_consul_watch *w, uint64_t ms);
void wm_consul_watch_taken(struct wm_consul_watch *w);
/** The answer of a watch cannot be taken. */
void wm_consul_watch_bad(struct wm_consul_watch *w, enum wm_consul_fault f, const char *why);
void wm_consul_listed(struct wm_consul *c); /* is the first list of all at its end? */

/* --- consul_take.c --- */
void wm_consul_take(void *consul); /* of what waits, as much as a turn has time for */
/** The service is gone: so are its instances. */
void wm_consul_forget(struct wm_consul_watch *w);
/** Indexes begin anew, or the Consul may be another: what is said of a node next counts. */
void wm_consul_nodes_again(struct wm_consul *c);
/** Free what is known, telling nobody. */
void wm_consul_things_free(struct wm_consul *c);
void wm_consul_thing_free(struct wm_consul *c, struct wm_consul_thing *t, bool tell);

/* --- consul_register.c --- */
struct wm_consul_register *wm_consul_register_new(struct wm_consul *c); /* NULL: memory */
void wm_consul_register_free(struct wm_consul_register *r);		/* NULL ok */
/** Is this mark of this agent, or of another in its mesh? */
bool wm_consul_is_ours(struct wm_consul *c, const char *mark);
