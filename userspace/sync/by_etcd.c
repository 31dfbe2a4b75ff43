/* SPDX-License-Identifier: Apache-2.0 */
/* by_etcd.c - etcd carries: it stands in the place of members, tree, replica and streams. */
#include "internal.h"
#include "userspace/base/log.h"
#include "userspace/base/replace.h"
#include "userspace/net/aside.h"
#include "userspace/net/http_client.h"
#include "userspace/net/loop.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_MS	  2000 /* how often the revision is kept, if it is another */
#define CALLS_MAX 16   /* calls of etcd at a time: leases, watch, list, writes, and room */

/* Of which etcd, and of which revision of it, the store is: so that one which was replaced or
 * restored while no agent ran is noticed at the start. In a file of the data directory. */
struct wm_etcd_kept {
	struct wm_sync *s;
	struct wm_env_timer *timer;
	struct wm_aside *writing;
	uint64_t cluster;
	int64_t revision;
	char path[PATH_MAX];
};

/* On a thread of its own. */
static void write_kept(void *arg)
{
	const struct wm_etcd_kept *k = arg;
	char text[64];
	int len =
		snprintf(text, sizeof(text), "%" PRIu64 " %" PRId64 "\n", k->cluster, k->revision);

	/* an older one is as good as none */
	(void)wm_file_replace(k->path, text, (size_t)len, WM_REPLACE_CACHE);
}

static void on_written(void *arg)
{
	struct wm_etcd_kept *k = arg;

	k->writing = NULL;
}

/* @return whether there is something new to be kept. What waits for the store is not here yet. */
static bool take_kept(struct wm_etcd_kept *k)
{
	struct wm_etcd_state t;

	wm_etcd_state(k->s->etcd, &t);
	if (!t.cluster || t.phase != WM_ETCD_FOLLOWING || k->s->stats.waiting ||
	    (t.cluster == k->cluster && t.revision == k->revision))
		return false;
	k->cluster = t.cluster;
	k->revision = t.revision;
	return true;
}

static void on_keep(void *arg)
{
	struct wm_etcd_kept *k = arg;

	if (!k->writing && take_kept(k))
		(void)wm_aside_start(k->s->c.loop, write_kept, on_written, k, &k->writing);
	wm_env_timer_arm(k->timer, KEEP_MS);
}

static int begin_kept(struct wm_sync *s)
{
	struct wm_etcd_kept *k = calloc(1, sizeof(*k));
	char text[64], *end;
	FILE *f;

	if (!k)
		return -ENOMEM;
	s->etcd_kept = k;
	k->s = s;
	k->timer = wm_env_timer_new(s->env, on_keep, k);
	if (!k->timer)
		return -ENOMEM;
	if (!s->c.data_dir)
		return 0;
	snprintf(k->path, sizeof(k->path), "%s/etcd-revision", s->c.data_dir);
	f = fopen(k->path, "re");
	if (f && fgets(text, sizeof(text), f)) { /* what is no number is 0: none */
		k->cluster = strtoull(text, &end, 10);
		k->revision = strtoll(end, NULL, 10);
	}
	if (f)
		fclose(f);
	return wm_env_timer_arm(k->timer, KEEP_MS);
}

static void end_kept(struct wm_etcd_kept *k)
{
	if (!k)
		return;
	wm_aside_end(k->writing);
	if (*k->path && k->s->etcd && take_kept(k))
		write_kept(k);
	wm_env_timer_free(k->timer);
	free(k);
}

static void on_alive(void *arg, const struct wm_peer_id *id, const char *name, bool is)
{
	struct wm_objects *o = arg;

	if (!*name)
		return; /* its node is asked for when it appears: wm_by_etcd_alive() */
	wm_log_line(WM_LOG_INFO, is ? "member.joined" : "member.failed", "node=%s by=etcd",
		    wm_log_q(name));
	wm_objects_alive(o, id, name, is);
}

static void on_forgot(void *arg, const struct wm_peer_id *id)
{
	wm_objects_forget(arg, id);
}

int wm_by_etcd_new(struct wm_sync *s, struct wm_objects *o, struct wm_err *e)
{
	const struct wm_sync_etcd *c = &s->c.etcd;
	struct wm_etcd_config k = {.env = s->env,
				   .endpoints = (const char *const *)c->endpoints,
				   .prefix = c->prefix,
				   .user = c->user,
				   .password_file = c->password_file,
				   .ca_file = c->ca_file,
				   .cert_file = c->cert_file,
				   .key_file = c->key_file,
				   .lease_s = c->lease_s,
				   .id = s->id,
				   .name = s->c.node_name,
				   .address = s->c.node_address,
				   .version = s->c.version,
				   .objects_max = s->c.objects_max,
				   .arg = o,
				   .read = wm_objects_read,
				   .take = wm_objects_take,
				   .alive = on_alive,
				   .forgot = on_forgot,
				   .conflict = wm_objects_conflict,
				   .alarm = wm_objects_alarm};

	if (begin_kept(s))
		return wm_err_set(e, -ENOMEM, "out of memory: etcd");
	k.known_cluster = s->etcd_kept->cluster;
	k.known_revision = s->etcd_kept->revision;
	s->http = wm_http_client_new(s->c.loop, CALLS_MAX);
	if (!s->http)
		return wm_err_set(e, -ENOMEM, "out of memory: etcd");
	k.http = s->http;
	return wm_etcd_new(&k, &s->etcd, e);
}

void wm_by_etcd_free(struct wm_sync *s)
{
	end_kept(s->etcd_kept);
	wm_etcd_free(s->etcd);
	wm_http_client_free(s->http);
}

bool wm_by_etcd_alive(const struct wm_sync *s, const struct wm_peer_id *id)
{
	return wm_etcd_lives(s->etcd, id) != 0; /* not heard of yet: alive until told otherwise */
}

bool wm_by_etcd_next(struct wm_sync *s, size_t *pos, struct wm_sync_node *ret)
{
	struct wm_etcd_node_state n;

	if (!wm_etcd_next(s->etcd, pos, &n))
		return false;
	*ret = (struct wm_sync_node){.id = n.id,
				     .name = n.name,
				     .version = n.version,
				     .state = n.alive ? WM_MEMBER_ALIVE : WM_MEMBER_FAILED,
				     .self = n.self};
	snprintf(ret->address, sizeof(ret->address), "%.*s", (int)sizeof(ret->address) - 1,
		 n.address);
	return true;
}
