/* SPDX-License-Identifier: Apache-2.0 */
/* kube_client.c - see kube_client.h: the life of a client and of its watches. */
#include "kube_client_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_OCTETS 1024 /* of a resource, with its selectors */
#define SPREAD_MS	100  /* the first lists of all resources begin within it */
#define RELIST_MS	1000 /* until a list begins for which the caller had no memory */
#define ASKED_MS	20   /* until one begins that others wait for: some ask at a time */

const char *wm_kube_state_name(enum wm_kube_state state)
{
	static const char *const names[] = {
		[WM_KUBE_CONNECTING] = "connecting", [WM_KUBE_LISTING] = "listing",
		[WM_KUBE_WATCHING] = "watching",     [WM_KUBE_AWAY] = "away",
		[WM_KUBE_REFUSED] = "refused",
	};

	return names[state];
}

/* --- the configuration ------------------------------------------------------------------------ */

static void free_list(char **list)
{
	for (char **p = list; p && *p; p++)
		free(*p);
	free(list);
}

/* @return false: no memory. */
static bool copy_list(const char *const *list, char ***ret)
{
	size_t n = 0;

	*ret = NULL;
	while (list && list[n])
		n++;
	if (!n)
		return true;
	*ret = calloc(n + 1, sizeof(**ret));
	for (size_t i = 0; *ret && i < n; i++) {
		(*ret)[i] = strdup(list[i]);
		if (!(*ret)[i])
			return false;
	}
	return *ret != NULL;
}

static bool copy_text(const char *text, const char **ret)
{
	*ret = text ? strdup(text) : NULL;
	return !text || *ret;
}

static void free_text(const char *text)
{
	free((void *)(uintptr_t)text);
}

static bool copy_config(struct wm_kube *k, const struct wm_kube_config *c)
{
	bool ok = copy_text(c->kubeconfig, &k->config.kubeconfig);

	ok &= copy_text(c->context, &k->config.context);
	ok &= copy_text(c->account_dir, &k->config.account_dir);
	ok &= copy_list(c->servers, &k->servers);
	ok &= copy_list(c->own_dns, &k->own_dns);
	k->config.loop = c->loop;
	k->config.silence_ms = c->silence_ms;
	k->config.servers = (const char *const *)k->servers;
	k->config.own_dns = (const char *const *)k->own_dns;
	return ok;
}

void wm_kube_login_again(struct wm_kube *k)
{
	struct wm_kube_login l;

	if (wm_kube_login_read(&k->config, &l, NULL))
		return; /* it is being replaced: what we have may still do */
	wm_kube_login_done(&k->login);
	k->login = l;
	k->server %= l.servers_count;
}

/* --- clients ---------------------------------------------------------------------------------- */

static void destroy(struct wm_kube *k)
{
	wm_http_client_free(k->http);
	wm_kube_login_done(&k->login);
	wm_kube_secret_free(k->token);
	free_text(k->config.kubeconfig);
	free_text(k->config.context);
	free_text(k->config.account_dir);
	free_list(k->servers);
	free_list(k->own_dns);
	free(k);
}

int wm_kube_new(const struct wm_kube_config *c, struct wm_kube **ret, struct wm_err *e)
{
	struct wm_resolver_config resolving = {0};
	struct wm_kube *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return wm_err_set(e, -ENOMEM, "out of memory");
	TAILQ_INIT(&k->watches);
	TAILQ_INIT(&k->graves);
	k->env = wm_loop_env(c->loop);
	if (!copy_config(k, c))
		err = wm_err_set(e, -ENOMEM, "out of memory");
	else
		err = wm_kube_login_read(&k->config, &k->login, e);
	if (!err) {
		k->http = wm_http_client_new(c->loop, WM_KUBE_WATCHES_MAX);
		err = k->http ? 0 : wm_err_set(e, -ENOMEM, "out of memory");
	}
	if (err) {
		destroy(k);
		return err;
	}
	resolving.own = k->config.own_dns;
	wm_http_client_resolve(k->http, &resolving);
	*ret = k;
	return 0;
}

void wm_kube_free(struct wm_kube *k)
{
	if (!k || k->dead)
		return;
	while (!TAILQ_EMPTY(&k->watches))
		wm_kube_watch_free(TAILQ_FIRST(&k->watches));
	wm_http_call_cancel(k->patch.call);
	k->patch.call = NULL;
	k->dead = true;
	wm_kube_bury(k);
}

const char *wm_kube_namespace(const struct wm_kube *k)
{
	return k->login.ns;
}

const char *wm_kube_server(const struct wm_kube *k)
{
	return k->login.servers[k->server];
}

const struct wm_kube_stats *wm_kube_stats(const struct wm_kube *k)
{
	return &k->stats;
}

uint64_t wm_kube_lag_ms(const struct wm_kube *k)
{
	uint64_t now = wm_kube_now(k), lag = 0;
	const struct wm_kube_watch *w;

	for (w = TAILQ_FIRST(&k->watches); w; w = TAILQ_NEXT(w, entry)) {
		if (now - w->told_ms > lag)
			lag = now - w->told_ms;
	}
	return lag;
}

/* --- watches ---------------------------------------------------------------------------------- */

/* "endpointslices (discovery.k8s.io)" of "/apis/discovery.k8s.io/v1/endpointslices". */
static void name_of(const char *path, char *to, size_t cap)
{
	int len = (int)strcspn(path, "?"), from = len;
	const char *group = strncmp(path, "/apis/", 6) ? "" : path + 6;
	int group_len = (int)strcspn(group, "/?");

	while (from && path[from - 1] != '/')
		from--;
	if (*group)
		snprintf(to, cap, "%.*s (%.*s)", len - from, path + from, group_len, group);
	else
		snprintf(to, cap, "%.*s", len - from, path + from);
}

bool wm_kube_path_valid(const char *path)
{
	if (*path != '/' || strlen(path) > PATH_MAX_OCTETS)
		return false;
	for (; *path; path++) {
		if (*path <= ' ' || *path > '~' || strchr("\"\\#", *path))
			return false;
	}
	return true;
}

static void watch_destroy(struct wm_kube_watch *w)
{
	wm_kube_stream_done(&w->stream);
	wm_env_timer_free(w->timer);
	free(w->next);
	free(w->path);
	free(w);
}

int wm_kube_watch_new(struct wm_kube *k, const char *path, const struct wm_kube_watch_ops *ops,
		      void *arg, struct wm_kube_watch **ret)
{
	struct wm_kube_watch *w;

	if (!wm_kube_path_valid(path))
		return -EINVAL;
	if (k->dead || k->watches_count == WM_KUBE_WATCHES_MAX)
		return -ENOSPC;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->k = k;
	w->ops = ops;
	w->arg = arg;
	w->page = WM_KUBE_PAGE;
	w->told_ms = wm_kube_now(k);
	wm_kube_stream_init(&w->stream, false, WM_KUBE_OBJECT_MAX);
	name_of(path, w->what, sizeof(w->what));
	w->path = strdup(path);
	w->timer = wm_env_timer_new(k->env, wm_kube_step, w);
	if (!w->path || !w->timer || wm_env_timer_arm(w->timer, wm_env_below(k->env, SPREAD_MS))) {
		watch_destroy(w);
		return -ENOMEM;
	}
	TAILQ_INSERT_TAIL(&k->watches, w, entry);
	k->watches_count++;
	*ret = w;
	return 0;
}

void wm_kube_watch_free(struct wm_kube_watch *w)
{
	struct wm_kube *k;

	if (!w || w->dead)
		return;
	k = w->k;
	wm_kube_drop(w);
	wm_env_timer_disarm(w->timer);
	w->dead = true;
	TAILQ_REMOVE(&k->watches, w, entry);
	k->watches_count--;
	TAILQ_INSERT_TAIL(&k->graves, w, entry);
	wm_kube_bury(k);
}

void wm_kube_bury(struct wm_kube *k)
{
	struct wm_kube_watch *w;

	if (k->busy)
		return;
	while ((w = TAILQ_FIRST(&k->graves))) {
		TAILQ_REMOVE(&k->graves, w, entry);
		watch_destroy(w);
	}
	if (k->dead)
		destroy(k);
}

void wm_kube_watch_relist(struct wm_kube_watch *w)
{
	w->wants_list = true;
	wm_env_timer_arm(w->timer, RELIST_MS);
}

void wm_kube_watch_ask(struct wm_kube_watch *w)
{
	w->wants_list = w->asked = true;
	wm_env_timer_arm(w->timer, ASKED_MS);
}
