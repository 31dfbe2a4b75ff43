/* SPDX-License-Identifier: Apache-2.0 */
/* http_internal.h - what http_server.c (listeners, connections, deadlines) and http_request.c (one
 * request: framing, Host, parameters, answer) share. Inside net/ only. */
#pragma once
#include "http_server.h"
#include "stream.h"
#include "userspace/base/buf.h"
#include "userspace/base/map.h"

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define WM_HTTP_OVER_MAX                                                                           \
	64 /* connections over the cap that still get an answer of 429; more are closed unheard */
#define WM_HTTP_OVER_MS	 2000 /* milliseconds such a connection may take */
#define WM_HTTP_HOST_MAX 253  /* octets of a Host name: RFC 1035 */
#define WM_HTTP_PLAIN_HEADERS                                                                      \
	16 /* of a request that is read without evhttp: clients send 3 to 8                        \
	    */

enum wm_http_phase {
	WM_HTTP_IDLE,	   /* nothing of a request has come */
	WM_HTTP_RECEIVING, /* a request has begun */
	WM_HTTP_SERVING,   /* the handler has it: no deadline of ours */
	WM_HTTP_SENDING,   /* the answer is on its way */
};

/* Connections of one client address. */
struct wm_http_peer {
	struct in6_addr address; /* v4-mapped if IPv4 */
	unsigned connections;
};

struct wm_http_conn {
	struct wm_http_server *server;
	struct wm_stream stream; /* its octets */
	struct event *readable, *writable;
	int error;			 /* of the stream; 0: none yet */
	bool opened, reads;		 /* the stream was; `readable` waits */
	bool streams;			 /* an answer that goes on */
	bool aside;			 /* an answer is sent that evhttp knows nothing of */
	struct bufferevent *bev;	 /* evhttp's two buffers, without a descriptor */
	uintptr_t key;			 /* of bev, in by_bev */
	struct evhttp_connection *evcon; /* NULL until admitted */
	struct wm_http_peer *peer;	 /* NULL on Unix sockets */
	struct wm_http_request *request; /* being served */
	enum wm_http_phase phase;
	uint64_t deadline_ms; /* 0: none */
	long uid;
	bool local, over;
	bool narrow;	 /* see wm_http_narrow() */
	bool headed;	 /* all headers of the request have come */
	size_t received; /* octets since it began */
	size_t held;	 /* octets of the server's `memory` */
	bool shed;	 /* there is no room for its request */
	bool spoke;	 /* evhttp answered by itself: our words go in place of its page */
	struct evhttp_request *sent; /* its answer is with the kernel, and evhttp is to be told */
	TAILQ_ENTRY(wm_http_conn) entry, sent_entry;
};
TAILQ_HEAD(wm_http_conns, wm_http_conn);

struct wm_http_param {
	const char *name, *value;
};

struct wm_http_header {
	const char *name, *value;
};

/* A request that was read without evhttp. */
struct wm_http_plain {
	unsigned method;	  /* place in the table of methods */
	const char *path, *query; /* query: NULL without one */
	const char *body;
	size_t body_len;
	unsigned headers_count;
	struct wm_http_header headers[WM_HTTP_PLAIN_HEADERS];
	char text[]; /* all that it holds */
};

struct wm_http_request {
	struct evhttp_request *ev;   /* NULL: `plain` */
	struct wm_http_plain *plain; /* owned; NULL: `ev` */
	struct wm_http_conn *conn;   /* NULL: it came over no socket, and is `plain` */
	wm_http_answered answered;   /* of such a one */
	void *answered_arg;
	bool watched; /* whether its client closes its end: by the server's `gone` */
	bool chunks;  /* its answer goes on, in chunks; else it ends with the connection */
	bool lost;    /* some of that answer, for want of memory */
	void (*on_abort)(void *arg);
	void *abort_arg;
	struct wm_buf head; /* lines of the answer's head: "Name: value\r\n" */
	unsigned params_count;
	struct wm_http_param *params; /* NULL without a query; the texts follow in one block */
};

/* An answer: lines of its head, Content-Length and an empty line, body. */
struct wm_http_kept {
	unsigned refs;
	size_t lines, body, len; /* octets: of the lines, where the body begins, of all */
	char data[];
};

struct wm_http_listener {
	struct evhttp_bound_socket *bound;
	char *path; /* Unix socket; NULL: TCP */
	uint64_t dev, ino;
	TAILQ_ENTRY(wm_http_listener) entry;
};
TAILQ_HEAD(wm_http_listeners, wm_http_listener);

struct wm_http_server {
	struct wm_loop *loop;
	struct evhttp *http;
	struct wm_http_limits lim;
	wm_http_handler fn;
	void *arg;
	struct wm_http_listeners listeners;
	struct wm_http_conns fresh; /* evhttp has not told them their socket yet */
	struct wm_http_conns conns;
	struct wm_http_conns dead;	   /* evhttp is done with them in this turn */
	const struct wm_stream_kind *kind; /* of connections from now on */
	size_t input_max;		   /* octets that evhttp is given ahead */
	unsigned count;
	uint64_t searched; /* octets looked through for the end of headers: linear in what comes */
	uint64_t memory;   /* octets of requests that are received, and of answers that are sent */
	struct wm_map *by_bev; /* connection of a bufferevent */
	struct wm_map *peers;
	struct event *admit;  /* looks at `fresh` in the same turn */
	struct event *reword; /* and at those that `spoke` */
	struct event *finish; /* and at those whose answer was `sent` */
	struct event *bury;   /* and at the `dead` */
	struct wm_http_conns sent;
	int gone_fd;		/* epoll of the sockets of kept requests */
	struct event *gone;	/* one of them ended */
	bool paused;		/* not now: more answers are to go out first */
	struct wm_timer *sweep; /* looks for deadlines */
	uint64_t sweep_ms;
	/* the one read that evhttp has before it, all that it has of that connection; NULL: none */
	const struct wm_http_conn *raw_of;
	const char *raw;
	size_t raw_len;
	const char *(*varying)(void *arg); /* of kept answers; NULL: none */
	void *varying_arg;
	wm_http_recall recall; /* NULL: none */
	void *recall_arg;
	uint16_t narrow_port; /* 0: none */
	char *hosts[WM_HTTP_HOSTS_MAX];
	unsigned hosts_count;
	uint64_t counters[WM_HTTP_COUNTER_COUNT];
};

/* --- http_conn.c --- */
/** Take the connection's socket from evhttp's bufferevent. @return 0, negative errno. */
int wm_http_conn_open(struct wm_http_conn *c);
#define WM_HTTP_PARTS 3 /* of one wm_http_conn_write() */
/** Octets leave by this function only: what waits first, then @p parts, then @p kept (may be NULL).
 *  What the stream does not take follows when it does: parts are copied, the answer is shared.
 *  @return 0, -ENOMEM: some of it is lost. */
int wm_http_conn_write(struct wm_http_conn *c, const struct iovec *parts, int count,
		       struct wm_http_kept *kept);
/** Is some of it still here? */
bool wm_http_conn_waits(const struct wm_http_conn *c);
/** Read what comes, from now on. */
void wm_http_conn_listen(struct wm_http_conn *c);
/** No more events; the descriptor stays until wm_http_conn_free(), for evhttp uses it once more. */
void wm_http_conn_close(struct wm_http_conn *c);
void wm_http_conn_free(struct wm_http_conn *c);

/* --- http_kept.c --- */
/** Is it known what answers these octets, on a connection that waits for a request? Then that was
 *  done. */
bool wm_http_recalled(struct wm_http_conn *c, const char *raw, size_t len);

/* --- http_plain.c --- */
/** Is it a whole request that can be read in one way only, on a connection that waits for one? Then
 *  that was done. */
bool wm_http_read_plain(struct wm_http_conn *c, const char *raw, size_t len);

/* --- http_inner.c --- */
/** The answer to a request that came over no socket. */
void wm_http_inner_reply(struct wm_http_request *r, int status, const char *type, const void *body,
			 size_t len);

/* --- http_request.c --- */
/** Split the query into parameters, once a request. @return 0, -EINVAL, -E2BIG, -ENOMEM. */
int wm_http_parse_query(struct wm_http_request *r, const char *query);
/** Its answer has a head only. */
static inline bool wm_http_is_head(const struct wm_http_request *r)
{
	return r->ev && r->ev->type == EVHTTP_REQ_HEAD;
}
/** An answer to HTTP/1.1 on a connection that stays, with nothing before it. */
bool wm_http_is_plain(const struct wm_http_request *r);
/** Is there room for an answer of @p len octets in place of the request? */
bool wm_http_has_room(const struct wm_http_conn *c, size_t len);
const char *wm_http_date_line(void);
/** The request is dead, its connection sends @p len octets. */
void wm_http_begin_answer(struct wm_http_request *r, size_t len);
/** All of it was written past evhttp; @p err: or was not. @p ev: NULL if evhttp knows nothing of
 *  the request. */
void wm_http_end_answer(struct wm_http_conn *c, struct evhttp_request *ev, int err);
/** Half an answer is none. */
void wm_http_lose_answer(struct wm_http_conn *c);
/** The answer is with the kernel: the next request may begin. */
void wm_http_sent(struct wm_http_conn *c);
/** An address, localhost, or one of http.hosts; with a port or without. */
bool wm_http_host_known(const struct wm_http_server *s, const char *host);
/** Place of a method in the table, by its name; its end: unknown. */
unsigned wm_http_method_find(const char *name, size_t len);
/** Is it one of the API's, and may a request of it have a body? */
bool wm_http_method_known(unsigned m);
/** A request that http_plain.c read: to the handler. @p p is taken. */
void wm_http_on_plain(struct wm_http_conn *c, struct wm_http_plain *p);
/** evhttp's callback for every request; @p server is the struct wm_http_server. */
void wm_http_on_request(struct evhttp_request *ev, void *server);
/** The connection holds @p n octets from now on. */
void wm_http_hold(struct wm_http_conn *c, size_t n);
/** evhttp refused what came on @p c without asking us, and its page stands in the output: say it in
 *  our words instead. */
void wm_http_reword(struct wm_http_conn *c);
/** The connection behind a request; admits it first if it is new. NULL: unknown. */
struct wm_http_conn *wm_http_conn_of(struct wm_http_server *s, struct evhttp_connection *evcon);
/** A client of a kept request closed its end, or its connection broke. */
void wm_http_on_gone(evutil_socket_t fd, short what, void *server);
/** Tell evhttp of the answers that were sent; their connections take the next request. */
void wm_http_finish(struct wm_http_server *s);
/** The client of a kept request is gone: run its callback and free it. */
void wm_http_request_abort(struct wm_http_request *r);
