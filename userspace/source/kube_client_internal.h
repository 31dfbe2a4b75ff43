/* SPDX-License-Identifier: Apache-2.0 */
/* kube_client_internal.h - what the parts of the client share: kube_client.c (the life of clients
 * and watches), kube_client_watch.c (lists and watches, step by step), kube_client_call.c (one
 * call, and what its failure means), kube_client_patch.c (what is written). Inside source/ only. */
#pragma once
#include "kube_client.h"
#include "kube_client_login.h"
#include "kube_client_stream.h"
#include "userspace/base/env.h"
#include "userspace/net/http_client.h"

#include <sys/queue.h>

#define WM_KUBE_PAGE	     500  /* objects of a page, as kubectl asks for them */
#define WM_KUBE_PAGE_MIN     25	  /* where pages break off they become smaller, down to this */
#define WM_KUBE_CONTINUE_MAX 8192 /* octets of a continue token: today 200 */

struct wm_kube_watch {
	TAILQ_ENTRY(wm_kube_watch) entry;
	struct wm_kube *k;
	const struct wm_kube_watch_ops *ops;
	void *arg;
	char *path;
	char what[64]; /* the resource, for people */
	struct wm_env_timer *timer;
	bool dead; /* freed by a callback of its own */

	/* --- the call, and what came of it */
	struct wm_http_call *call;
	bool watching; /* it is a watch, else a page */
	bool head;     /* its headers came, and were not looked at yet */
	bool json;     /* as they say */
	bool open;     /* they were good */
	bool paused;   /* the server waits for us */
	bool ended;    /* what is in raw is the last of it */
	bool fresh;    /* the next one takes a connection of its own */
	long status;
	int error;
	char why[WM_KUBE_TEXT_MAX];
	uint64_t retry_after_ms; /* as the server says; 0: it does not */
	struct wm_buf raw;	 /* from the network, not looked at yet from raw_at on */
	size_t raw_at;
	struct wm_kube_stream stream;
	unsigned documents; /* of this call */

	/* --- the list */
	bool listed, begun, listed_once;
	bool unpaged; /* continue tokens expired before the list was whole */
	unsigned page, pages;
	char *next; /* continue token of the next page; NULL: the first */
	char version[WM_KUBE_VERSION_MAX + 1];

	/* --- tries */
	unsigned server;	 /* that was asked */
	unsigned fails, refused; /* calls in a row */
	unsigned watch_fails;	 /* watches in a row that told of nothing */
	unsigned relists;	 /* lists in a row whose watch told of nothing */
	uint64_t not_before_ms, opened_ms, heard_ms;
	uint64_t told_ms; /* when it was heard of last, by any call */
	bool wants_list;  /* the caller lost count */
	bool asked;	  /* and others wait for it */
	enum wm_kube_state state;
	char text[WM_KUBE_TEXT_MAX];
};
TAILQ_HEAD(wm_kube_watches, wm_kube_watch);

struct wm_kube {
	struct wm_kube_config config; /* texts are ours */
	char **own_dns, **servers;
	const struct wm_env *env;
	struct wm_http_client *http;
	struct wm_kube_login login;
	char *token; /* last that was read of a file; NULL: none */
	struct wm_kube_watches watches, graves;
	unsigned watches_count, server, busy;
	bool dead;
	struct wm_kube_stats stats;
	struct {
		struct wm_http_call *call; /* NULL: none is under way */
		void (*fn)(void *arg, long status, const char *text);
		void *arg;
	} patch;
};

static inline uint64_t wm_kube_now(const struct wm_kube *k)
{
	return wm_env_ms(k->env);
}

/* --- kube_client_call.c --- */
/** Ask for the next page, or open the watch. What comes is in w->raw, w->head, w->ended. */
void wm_kube_call(struct wm_kube_watch *w);
/** Start a call as who we are: @p o with URL and what is asked; @p type a header of the body's,
 *  NULL: none. @return NULL: *ret_err. */
struct wm_http_call *wm_kube_ask(struct wm_kube *k, struct wm_http_call_options o, const char *type,
				 void (*fn)(void *arg, const struct wm_http_answer *a), void *arg,
				 int *ret_err);
/** End the call; nothing of it is left. */
void wm_kube_drop(struct wm_kube_watch *w);
/** It failed: try again after a while, with the next server if @p elsewhere. Tells the state. */
void wm_kube_failed(struct wm_kube_watch *w, bool elsewhere, const char *why);
/** The answer is an error of HTTP: w->status and w->why. */
void wm_kube_bad_status(struct wm_kube_watch *w);
/** Begin a list, after a while if the last one was in vain. */
void wm_kube_list_again(struct wm_kube_watch *w);
/** Begin one that others wait for: at once, but while a refusal is waited for. */
void wm_kube_list_asked(struct wm_kube_watch *w);
/** The text of a Status object that is no success, printable; @return its code, 0: it is none. */
long wm_kube_status_read(const char *json, size_t len, char *text, size_t cap);

/* --- kube_client_watch.c --- */
/** The timer: the next step of a watch. */
void wm_kube_step(void *watch);
void wm_kube_tell(struct wm_kube_watch *w, enum wm_kube_state state, const char *text);

/* --- kube_client.c --- */
bool wm_kube_path_valid(const char *path);
/** Read the login again: a token or a file may be another. */
void wm_kube_login_again(struct wm_kube *k);
/** Free what callbacks freed while they ran. */
void wm_kube_bury(struct wm_kube *k);
