/* SPDX-License-Identifier: Apache-2.0 */
/* http_client_internal.h - what http_client.c (the life of calls) and http_call.c (the options of
 * one) share. Inside net/ only. */
#pragma once
#include "http_client.h"
#include "resolver.h"

#include <curl/curl.h>
#include <sys/queue.h>

#define WM_HTTP_REDIRECTS_MAX 5	 /* hops: more is a loop */
#define WM_HTTP_PHRASE_MAX    64 /* octets kept of a status line's phrase */
#define WM_HTTP_SPARE_MAX     64 /* handles kept for the next call: some 10 KiB each */

struct wm_http_call {
	struct wm_http_client *client;
	CURL *easy;
	struct curl_slist *headers, *connect_to, *resolved;
	struct wm_lookup *lookup;		      /* of a name that curl does not know yet */
	unsigned lookups;			      /* so far: one for each hop at most */
	char host[WM_RESOLVER_NAME_MAX + 1], port[8]; /* that it wants to go to */
	char *dial, *dial_as; /* the URL's host, where the URL has another name for TLS */
	void (*fn)(void *arg, const struct wm_http_answer *a);
	int (*on_data)(void *arg, const void *data, size_t len);
	void (*on_head)(void *arg, long status, const char *type);
	void *arg;
	char *body;
	size_t len, cap, max, beyond, head;
	uint64_t deadline_ms;
	unsigned keepalive_s;
	/* a conversation after connect_only */
	int (*heard)(const void *data, size_t len, const char **ret_why);
	struct wm_io *io;
	struct wm_timer *timer;
	int talk_error; /* negative errno that ended it */
	size_t said, say_len;
	char say[WM_HTTP_SAY_MAX];
	bool running;	/* curl has it; else it is queued, or looks a name up */
	bool finishing; /* its callback runs */
	bool stopped;	/* by on_data */
	bool unknown;	/* curl stopped before it looked up a name */
	char phrase[WM_HTTP_PHRASE_MAX];
	char error[CURL_ERROR_SIZE];
	TAILQ_ENTRY(wm_http_call) entry;
};
TAILQ_HEAD(wm_http_calls, wm_http_call);

struct wm_http_watch;
struct wm_http_client {
	struct wm_loop *loop;
	CURLM *multi;
	struct wm_timer *timer; /* curl's */
	struct wm_timer *kick;	/* ours: there are free places and queued calls */
	struct wm_http_calls running, queued, looking;
	struct wm_resolver *resolver; /* NULL until a name is looked up */
	struct wm_resolver_config resolving;
	LIST_HEAD(, wm_http_watch) watches;
	CURL *spare[WM_HTTP_SPARE_MAX]; /* making one costs more than a call of it */
	unsigned spares;
	unsigned in_flight, calls, max;
	bool bundle;  /* the system's authorities are in one file */
	bool reaping; /* callbacks of finished calls run */
	bool dead;    /* freed from inside one of them */
};

/* curl's callbacks; @p call is the struct wm_http_call. */
size_t wm_http_call_on_body(char *data, size_t one, size_t n, void *call);
size_t wm_http_call_on_header(char *data, size_t one, size_t n, void *call);
int wm_http_call_on_resolve(void *state, void *reserved, void *call);
curl_socket_t wm_http_call_open_socket(void *call, curlsocktype purpose, struct curl_sockaddr *a);

/* --- http_call.c --- */
/** Tell curl what the call is. @return 0, -EINVAL, -ENOMEM. */
int wm_http_call_set(struct wm_http_call *call, const struct wm_http_call_options *o);
/** Append a copy. @return 0, -ENOMEM. */
int wm_http_add_line(struct curl_slist **list, const char *line);
