/* SPDX-License-Identifier: Apache-2.0 */
/* kube_pods.c - see kube_pods.h. */
#include "kube_pods.h"

#include "userspace/base/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct wm_kube_pod_table {
	struct wm_map *by_key; /* namespace/name */
	void (*told)(void *arg, const char *pod, const char *text);
	void *arg;
	unsigned seen;
	bool whole;
};

struct wm_kube_pod_table *
wm_kube_pods_new(void (*told)(void *arg, const char *pod, const char *text), void *arg)
{
	struct wm_kube_pod_table *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->told = told;
	p->arg = arg;
	p->by_key = wm_map_new(WM_KUBE_PODS_MAX);
	if (p->by_key)
		return p;
	free(p);
	return NULL;
}

void wm_kube_pods_free(struct wm_kube_pod_table *p)
{
	size_t pos = 0;
	void *pod;

	if (!p)
		return;
	while ((pod = wm_map_next(p->by_key, &pos)))
		free(pod);
	wm_map_free(p->by_key);
	free(p);
}

static struct wm_kube_pod_here *find(const struct wm_kube_pod_table *p, const char *namespace,
				     const char *name)
{
	char key[sizeof(((struct wm_kube_pod_here *)0)->key)];
	int n = snprintf(key, sizeof(key), "%s/%s", namespace, name);

	return n < (int)sizeof(key) ? wm_map_get(p->by_key, key, (size_t)n) : NULL;
}

static void drop(struct wm_kube_pod_table *p, struct wm_kube_pod_here *pod)
{
	if (pod)
		wm_map_del(p->by_key, pod->key, strlen(pod->key));
	free(pod);
}

static int put(struct wm_kube_pod_table *p, const struct wm_kube_pod *in, struct wm_err *e)
{
	struct wm_kube_pod_here *pod = find(p, in->meta.namespace, in->meta.name);
	int r;

	if (!pod) {
		pod = calloc(1, sizeof(*pod));
		if (!pod)
			return wm_err_set(e, -ENOMEM, "out of memory");
		snprintf(pod->key, sizeof(pod->key), "%s/%s", in->meta.namespace, in->meta.name);
		r = wm_map_put(p->by_key, pod->key, strlen(pod->key), pod, NULL);
		if (r) {
			free(pod);
			return wm_err_set(e, r == -ENOSPC ? WM_E_CAPACITY : r,
					  "more than %d pods on this node", WM_KUBE_PODS_MAX);
		}
		snprintf(pod->namespace, sizeof(pod->namespace), "%s", in->meta.namespace);
		snprintf(pod->name, sizeof(pod->name), "%s", in->meta.name);
	}
	snprintf(pod->uid, sizeof(pod->uid), "%s", in->meta.uid);
	memcpy(pod->addresses, in->addresses, sizeof(pod->addresses));
	pod->addresses_count = in->host_network ? 0 : in->addresses_count;
	pod->host_network = in->host_network;
	pod->out = in->out;
	if (in->steer_unknown && !pod->steer_unknown && p->told)
		p->told(p->arg, pod->key, WM_KUBE_STEER_TEXT);
	pod->steer_unknown = in->steer_unknown;
	pod->seen = p->seen;
	return 0;
}

int wm_kube_pods_object(struct wm_kube_pod_table *p, const char *json, size_t len, struct wm_err *e)
{
	json_t *o = wm_kube_open(json, len, e);
	struct wm_kube_pod in;
	int r = o ? wm_kube_pod_decode(o, &in, e) : WM_E_INVALID;

	if (!r)
		r = put(p, &in, e);
	json_decref(o);
	return r;
}

int wm_kube_pods_gone(struct wm_kube_pod_table *p, const char *json, size_t len, struct wm_err *e)
{
	json_t *o = wm_kube_open(json, len, e);
	struct wm_kube_meta m;
	int r = o ? wm_kube_meta_decode(o, &m, e) : WM_E_INVALID;

	if (!r)
		drop(p, find(p, m.namespace, m.name));
	json_decref(o);
	return r;
}

void wm_kube_pods_skipped(struct wm_kube_pod_table *p, const char *namespace, const char *name)
{
	struct wm_kube_pod_here *pod = find(p, namespace, name);

	if (pod)
		pod->seen = p->seen;
}

void wm_kube_pods_begin(struct wm_kube_pod_table *p)
{
	p->seen++;
}

void wm_kube_pods_end(struct wm_kube_pod_table *p)
{
	struct wm_kube_pod_here *pod;
	size_t pos = 0;

	while ((pod = wm_map_next(p->by_key, &pos))) {
		if (pod->seen != p->seen)
			drop(p, pod);
	}
	p->whole = true;
}

bool wm_kube_pods_whole(const struct wm_kube_pod_table *p)
{
	return p->whole;
}

const struct wm_kube_pod_here *wm_kube_pods_next(const struct wm_kube_pod_table *p, size_t *pos)
{
	return wm_map_next(p->by_key, pos);
}

const struct wm_kube_pod_here *wm_kube_pods_at(const struct wm_kube_pod_table *p,
					       const struct in6_addr *address)
{
	const struct wm_kube_pod_here *pod;
	size_t pos = 0;

	while ((pod = wm_kube_pods_next(p, &pos))) {
		for (unsigned n = 0; n < pod->addresses_count; n++) {
			if (memcmp(&pod->addresses[n], address, sizeof(*address)) == 0)
				return pod;
		}
	}
	return NULL;
}

static bool uid_same(const char *uid, const char *text, size_t len)
{
	for (size_t n = 0; n < len; n++) {
		if (uid[n] != (text[n] == '_' ? '-' : text[n]) || !uid[n])
			return false;
	}
	return len && !uid[len];
}

const struct wm_kube_pod_here *wm_kube_pods_uid(const struct wm_kube_pod_table *p, const char *uid,
						size_t len)
{
	const struct wm_kube_pod_here *pod;
	size_t pos = 0;

	if (len > WM_KUBE_UID_MAX)
		return NULL;
	while ((pod = wm_kube_pods_next(p, &pos))) {
		if (uid_same(pod->uid, uid, len))
			return pod;
	}
	return NULL;
}

unsigned wm_kube_pods_count(const struct wm_kube_pod_table *p)
{
	return (unsigned)wm_map_len(p->by_key);
}
