/* SPDX-License-Identifier: Apache-2.0 */
/* kube_client.h - what a Kubernetes API server has of some resources, and what changes of them: a
 * list in pages, then a watch from where the list ends, again and again. Objects are octets of JSON
 * here; what they mean is the caller's to know. They are read as they stream: of a list never more
 * than one object and some pieces of the network's are in memory. Nothing that a server sends makes
 * this crash, wait for ever or grow.
 *
 * The server's name is looked up by net/resolver.h, which leaves this agent's own addresses out.
 * Threading: loop thread only. Spec: Kubernetes API concepts (chunks, watch, bookmarks, 410). */
#pragma once
#include "userspace/base/err.h"
#include "userspace/net/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wm_kube;
struct wm_kube_watch;

/* etcd refuses objects above 1.5 MiB; as JSON they are longer by a third at most. */
#define WM_KUBE_OBJECT_MAX  (2u << 20) /* octets of one object; a longer one is skipped */
#define WM_KUBE_VERSION_MAX 63	       /* octets of a resourceVersion: today 20 digits */
#define WM_KUBE_WATCHES_MAX 16	       /* resources; each is a connection */
#define WM_KUBE_SERVERS_MAX 16	       /* API servers that are tried in turn */
#define WM_KUBE_TEXT_MAX    320	       /* octets of what state() says, NUL included */

enum wm_kube_event { WM_KUBE_ADDED, WM_KUBE_MODIFIED, WM_KUBE_DELETED };

enum wm_kube_state {
	WM_KUBE_CONNECTING, /* nothing was heard yet */
	WM_KUBE_LISTING,
	WM_KUBE_WATCHING,
	WM_KUBE_AWAY,	 /* no server answers as it should; tried again */
	WM_KUBE_REFUSED, /* the server answers, and lets us not: 401, 403, 404; tried again, seldom
			  */
};

/** "connecting", "listing", "watching", "away", "refused". */
const char *wm_kube_state_name(enum wm_kube_state state);

/* What happens to one resource. All run on the loop, none before wm_kube_watch_new() has returned.
 * They may free the watch or the client. */
struct wm_kube_watch_ops {
	/* A list begins. What was there before and does not come before end() is gone. It may begin
	 * again without an end: what came so far is no whole list. */
	void (*begin)(void *arg);
	/* An object: of a list always WM_KUBE_ADDED, afterwards as the watch says. Each may come
	 * again as it was. @p json is one object, `{` to `}`, NUL-terminated, brackets paired and
	 * not checked further; borrowed during the call. DELETED has the object as it was. */
	void (*object)(void *arg, enum wm_kube_event event, const char *json, size_t len);
	/* The list is whole: now what did not come may go. */
	void (*end)(void *arg, const char *resource_version);
	/* Told once for each change. @p text: one sentence for people, borrowed. */
	void (*state)(void *arg, enum wm_kube_state state, const char *text);
	/* An object over WM_KUBE_OBJECT_MAX was passed over, in a list or a watch: it is there, but
	 * not known. @p name "" where not even that was found. NULL: nobody wants to know. */
	void (*skipped)(void *arg, const char *namespace, const char *name);
	/* Is there room for an object? If not, none is handed over, and the server has to wait;
	 * asked again every 20 ms. NULL: there always is. */
	bool (*ready)(void *arg);
};

struct wm_kube_config {
	struct wm_loop *loop;
	const char *const *own_dns; /* addresses where this agent answers DNS: net/resolver.h */
	const char *kubeconfig;	    /* a file; NULL or "": the service account of this pod */
	const char *context;	    /* of the file; NULL or "": its current one */
	/* URLs of API servers, asked in this order, in place of the one of the configuration. NULL
	 * or none: that one. */
	const char *const *servers;
	const char *account_dir; /* NULL: /var/run/secrets/kubernetes.io/serviceaccount */
	uint64_t silence_ms;	 /* a watch that says nothing for so long is opened again; 0: as
				  * bookmarks come, some minutes */
};

struct wm_kube_stats {
	uint64_t lists, relists; /* that began; all but each resource's first */
	uint64_t watches;	 /* that were opened */
	uint64_t gone;		 /* 410: what we had was too old to go on from */
	uint64_t objects, events, bookmarks;
	uint64_t octets;    /* of bodies */
	uint64_t failed;    /* calls that brought nothing, by whatever reason */
	uint64_t failovers; /* to the next server */
	uint64_t refused;   /* 401, 403, 404 */
	uint64_t throttled; /* 429, or 503 with Retry-After */
	uint64_t malformed; /* what came was not what it should be */
	uint64_t oversize;  /* objects that were skipped */
	uint64_t silent;    /* watches that were opened again because they said nothing */
};

/** Read the configuration; connects to nobody yet. All of @p c is copied.
 *  @return 0; -ENOENT (no pod's account, no file), -EINVAL, WM_E_UNSUPPORTED (`exec`,
 *  `auth-provider` and others), -ENOMEM, each with a sentence that names file and field. */
int wm_kube_new(const struct wm_kube_config *c, struct wm_kube **ret, struct wm_err *e);
void wm_kube_free(struct wm_kube *k); /* and its watches, of which none is told; NULL ok */
/** The namespace of the account or of the context; "default" where none is named. Borrowed. */
const char *wm_kube_namespace(const struct wm_kube *k);
/** URL of the server that is asked now, for people; borrowed. */
const char *wm_kube_server(const struct wm_kube *k);
const struct wm_kube_stats *wm_kube_stats(const struct wm_kube *k);
/** Milliseconds since the watch that was heard of least recently said something, or since the
 *  client was made; 0 without watches. A server that is well says something each minute. */
uint64_t wm_kube_lag_ms(const struct wm_kube *k);

/** List and watch a resource.
 *  @param path as of the API, with its selectors: "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1";
 *         copied
 *  @param ops borrowed for the life of the watch
 *  @return 0, -EINVAL (path), -ENOSPC (WM_KUBE_WATCHES_MAX), -ENOMEM. */
int wm_kube_watch_new(struct wm_kube *k, const char *path, const struct wm_kube_watch_ops *ops,
		      void *arg, struct wm_kube_watch **ret);
void wm_kube_watch_free(struct wm_kube_watch *w); /* NULL ok; nothing is told any more */
/** Change an object by a merge patch, one at a time. @p path of the object, with its subresource.
 *  @p fn is told once, unless the client is freed before: the status of the answer, 0 where nobody
 *  answered, and why it did not work, "" if it did. Whether to try again is the caller's to decide.
 *  @return 0, -EBUSY (one is under way), -EINVAL (path), -ENOMEM. */
int wm_kube_patch(struct wm_kube *k, const char *path, const char *body,
		  void (*fn)(void *arg, long status, const char *text), void *arg);
/** List again, soon: the caller lost count. */
void wm_kube_watch_relist(struct wm_kube_watch *w);
/** List again at once, others wait for what it says: it did not fail, so no pause of those grows or
 *  is waited for, but that after a refusal. Not to be asked for again and again. */
void wm_kube_watch_ask(struct wm_kube_watch *w);
