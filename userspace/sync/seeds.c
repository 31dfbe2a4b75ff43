/* SPDX-License-Identifier: Apache-2.0 */
/* seeds.c - who to begin with: agents that settings name, those of a file that may change, and
 * those that were members when this one ran last, which are kept in the data directory. While it is
 * alone all of them are tried again and again; halves of a mesh that was cut find each other by the
 * membership's own probes. What is new in the file is tried in any case: two meshes become one. */
#include "internal.h"
#include "userspace/base/log.h"
#include "userspace/base/replace.h"
#include "userspace/net/aside.h"
#include "userspace/net/loop.h"
#include "userspace/net/resolver.h"
#include "userspace/net/srv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define KEEP_MS	     5000 /* members that changed are written so long after: churn is one write */
#define KEEP_MAX     (2u << 20) /* octets of the file */
#define LINE_OCTETS  128	/* octets of a line of it */
#define RETRY_MIN_MS 500	/* while alone all are tried this often, doubled up to */
#define RETRY_MAX_MS 15000
/* of names, and of addresses with a zone */
#define HOST_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:%"
#define LOOK_MS	     2000 /* between two looks whether the file of seeds is another */

/* One attempt: a name that is looked up, then each of its addresses until one answers; with SRV
 * records the same of each of their targets. */
struct attempt {
	LIST_ENTRY(attempt) entry;
	struct wm_seeds *k;
	struct wm_lookup *lookup;
	struct wm_srv_lookup *srv;
	struct wm_srv *targets; /* of SRV records; NULL: there are none */
	unsigned targets_count, target;
	struct wm_peer_addr addrs[WM_RESOLVER_ADDRS_MAX];
	unsigned count, next;
	uint16_t port;
	wm_sync_joined done; /* NULL: nobody waits */
	void *arg;
	char to[WM_RESOLVER_NAME_MAX + 8];
	char why[128];
};

struct wm_seeds {
	struct wm_sync *s;
	struct wm_resolver *resolver;
	struct wm_srvs *srvs;
	LIST_HEAD(, attempt) attempts;
	struct wm_env_timer *retry, *keep;
	unsigned retry_ms;
	struct wm_peer_addr kept[WM_SYNC_SEEDS_MAX];
	unsigned kept_count;
	struct wm_sync_seed_list *file; /* of sync.join_file; NULL: there is none */
	struct stat file_was;		/* when it was read last; zero: it was not there */
	bool file_read;
	struct wm_env_timer *look;
	uint64_t contact_ms; /* of the run before */
	uint64_t step_ms;    /* since 1970, when it was in step with another; 0: not known */
	struct wm_aside *writing;
	struct wm_buf text; /* that is being written */
	char path[PATH_MAX];
	char why[128]; /* the last attempt failed; "" */
	bool dirty;
};

/* --- attempts --------------------------------------------------------------------------------- */
static void greet_next(struct attempt *a);
static void on_resolved(void *arg, const struct wm_resolver_answer *r);

static void finish(struct attempt *a, unsigned joined)
{
	wm_sync_joined done = a->done;
	void *arg = a->arg;
	char why[sizeof(a->why)];

	snprintf(why, sizeof(why), "%s", a->why);
	if (!joined)
		snprintf(a->k->why, sizeof(a->k->why), "%s", why);
	LIST_REMOVE(a, entry);
	wm_lookup_cancel(a->lookup);
	wm_srv_cancel(a->srv);
	free(a->targets);
	free(a);
	if (done)
		done(arg, joined, why);
}

/* Look up the next target of SRV records; none is left: nobody answered. */
static void resolve_next(struct attempt *a)
{
	while (a->target < a->targets_count) {
		const struct wm_srv *t = &a->targets[a->target++];

		a->port = t->port;
		snprintf(a->to, sizeof(a->to), "%s", t->target);
		a->lookup = wm_resolver_ask(a->k->resolver, t->target, on_resolved, a);
		if (a->lookup)
			return;
		snprintf(a->why, sizeof(a->why), "out of memory");
	}
	finish(a, 0);
}

static void on_srv(void *arg, const struct wm_srv_answer *r)
{
	struct attempt *a = arg;

	a->srv = NULL;
	a->targets = r->error ? NULL : calloc(r->count, sizeof(*a->targets));
	if (a->targets) {
		memcpy(a->targets, r->records, r->count * sizeof(*a->targets));
		a->targets_count = r->count;
	} else {
		a->k->s->stats.seeds_unresolved++;
		snprintf(a->why, sizeof(a->why), "no SRV record of %.80s: %s", a->to,
			 wm_err_str(r->error ? r->error : -ENOMEM));
	}
	resolve_next(a);
}

static void on_greeted(void *arg, int err, const char *why)
{
	struct attempt *a = arg;
	char at[INET6_ADDRSTRLEN + 8];

	if (!err) {
		wm_info("sync.joined", "through=%s members=%u", wm_log_q(a->to),
			wm_members_alive(a->k->s->members));
		finish(a, 1);
		return;
	}
	wm_peer_addr_format(&a->addrs[a->next - 1], at, sizeof(at));
	snprintf(a->why, sizeof(a->why), "%.46s: %.70s", at, *why ? why : wm_err_str(err));
	greet_next(a);
}

static void greet_next(struct attempt *a)
{
	while (a->next < a->count) {
		const struct wm_peer_addr *to = &a->addrs[a->next++];
		int r;

		if (wm_peer_addr_same(to, &a->k->s->c.advertise)) {
			snprintf(a->why, sizeof(a->why), "it is this agent itself");
			continue;
		}
		r = wm_link_greet(a->k->s->links, to, on_greeted, a);
		if (!r)
			return;
		snprintf(a->why, sizeof(a->why), "%s", wm_err_str(r));
	}
	resolve_next(a);
}

static void on_resolved(void *arg, const struct wm_resolver_answer *r)
{
	struct attempt *a = arg;

	a->lookup = NULL;
	a->count = a->next = 0;
	for (unsigned n = 0; !r->error && n < r->count && n < WM_RESOLVER_ADDRS_MAX; n++) {
		char text[INET6_ADDRSTRLEN + 8];

		snprintf(text, sizeof(text), strchr(r->addrs[n], ':') ? "[%s]:%u" : "%s:%u",
			 r->addrs[n], a->port);
		if (!wm_peer_addr_parse(text, &a->addrs[a->count]))
			a->count++;
	}
	if (!a->count) {
		a->k->s->stats.seeds_unresolved++;
		snprintf(a->why, sizeof(a->why), "no address of %.90s: %s", a->to,
			 r->error ? wm_err_str(r->error) : "none");
	}
	greet_next(a);
}

_Static_assert(WM_SYNC_HOST_MAX == WM_RESOLVER_NAME_MAX, "what is split can be asked for");

int wm_sync_seed_parse(const char *to, char host[static WM_SYNC_HOST_MAX + 1], uint16_t *ret_port)
{
	const char *colon = strrchr(to, ':'), *end = to + strlen(to);
	struct in6_addr v6;
	unsigned long port = WM_SYNC_PORT;
	char *rest;
	size_t len;

	if (*to == '[') {
		const char *close = strchr(to, ']');

		if (!close || (close[1] && close[1] != ':'))
			return -EINVAL;
		colon = close[1] ? close + 1 : NULL;
		end = close;
		to++;
	} else if (colon && inet_pton(AF_INET6, to, &v6) == 1) {
		colon = NULL;
	} else if (colon) {
		end = colon;
	}
	if (colon) {
		port = strtoul(colon + 1, &rest, 10);
		if (*rest || rest == colon + 1 || !port || port > UINT16_MAX)
			return -EINVAL;
	}
	len = (size_t)(end - to);
	if (!len || len > WM_RESOLVER_NAME_MAX || (*to == '_' && colon))
		return -EINVAL; /* the port of SRV records is in them */
	memcpy(host, to, len);
	host[len] = '\0';
	if (strspn(host, HOST_LETTERS) != len)
		return -EINVAL;
	*ret_port = (uint16_t)port;
	return 0;
}

static struct attempt *new_attempt(struct wm_seeds *k, const char *to, wm_sync_joined done,
				   void *arg)
{
	struct attempt *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->k = k;
	a->done = done;
	a->arg = arg;
	snprintf(a->to, sizeof(a->to), "%s", to);
	LIST_INSERT_HEAD(&k->attempts, a, entry);
	return a;
}

static void try_addr(struct wm_seeds *k, const struct wm_peer_addr *to)
{
	char text[INET6_ADDRSTRLEN + 8];
	struct attempt *a;

	wm_peer_addr_format(to, text, sizeof(text));
	a = new_attempt(k, text, NULL, NULL);
	if (!a)
		return;
	a->addrs[0] = *to;
	a->count = 1;
	greet_next(a);
}

int wm_seeds_join(struct wm_seeds *k, const char *to, wm_sync_joined done, void *arg,
		  struct wm_err *e)
{
	char host[WM_RESOLVER_NAME_MAX + 1];
	int r = -ENOMEM;
	uint16_t port;
	struct attempt *a;

	if (wm_sync_seed_parse(to, host, &port))
		return wm_err_set(e, WM_E_INVALID, WM_SYNC_SEED_WANTED, to);
	a = new_attempt(k, host, done, arg);
	if (!a)
		return wm_err_set(e, -ENOMEM, "out of memory: join");
	a->port = port;
	if (*host == '_')
		r = wm_srv_ask(k->srvs, host, on_srv, a, &a->srv);
	else
		a->lookup = wm_resolver_ask(k->resolver, host, on_resolved, a);
	if (a->srv || a->lookup)
		return 0;
	LIST_REMOVE(a, entry);
	free(a);
	return wm_err_set(e, r, "%.64s cannot be looked up now: %s", host, wm_err_str(r));
}

/* --- a file of them, which may change ----------------------------------------------------------
 */
struct bad_lines {
	struct wm_seeds *k;
	bool told; /* of this state of the file */
};

static void on_bad_line(void *arg, const struct wm_err *e)
{
	struct bad_lines *b = arg;

	if (b->told)
		return;
	b->k->s->stats.seeds_refused++;
	wm_warn("sync.join_file", "setting=sync.join_file text=%s", wm_log_q(e->text));
}

static bool file_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* One that cannot be read leaves the seeds that it had. @return whether it is another file. */
static bool read_join_file(struct wm_seeds *k)
{
	struct bad_lines b = {.k = k};
	struct wm_err e = {0};
	struct stat st;

	if (stat(k->s->c.join_file, &st))
		st = (struct stat){0};
	b.told = k->file_read && file_same(&st, &k->file_was);
	k->file_was = st;
	k->file_read = true;
	if (wm_sync_seed_file(k->s->c.join_file, k->file, on_bad_line, &b, &e) && !b.told)
		wm_warn("sync.join_file", "setting=sync.join_file text=%s", wm_log_q(e.text));
	return !b.told;
}

static void try_seed(struct wm_seeds *k, const char *seed, const char *setting)
{
	struct wm_err e = {0};

	if (wm_seeds_join(k, seed, NULL, NULL, &e))
		wm_warn("sync.join", "setting=%s text=%s", setting, wm_log_q(e.text));
}

static bool has_seed(const struct wm_sync_seed_list *l, const char *seed)
{
	for (unsigned n = 0; n < l->count; n++)
		if (strcasecmp(l->seeds[n], seed) == 0)
			return true;
	return false;
}

static void on_look(void *arg)
{
	struct wm_seeds *k = arg;
	struct wm_sync_seed_list *was = NULL;

	if (LIST_EMPTY(&k->attempts)) /* as many at a time as the file may name */
		was = malloc(sizeof(*was));
	if (was) {
		*was = *k->file;
		if (read_join_file(k))
			for (unsigned n = 0; n < k->file->count; n++)
				if (!has_seed(was, k->file->seeds[n]))
					try_seed(k, k->file->seeds[n], "sync.join_file");
		free(was);
	}
	wm_env_timer_arm(k->look, LOOK_MS);
}

/* --- again and again -------------------------------------------------------------------------- */
static void try_all(struct wm_seeds *k)
{
	for (unsigned n = 0; k->s->c.join[n]; n++)
		try_seed(k, k->s->c.join[n], "sync.join");
	if (k->file)
		(void)read_join_file(k);
	for (unsigned n = 0; k->file && n < k->file->count; n++)
		try_seed(k, k->file->seeds[n], "sync.join_file");
	for (unsigned n = 0; n < k->kept_count; n++)
		try_addr(k, &k->kept[n]);
}

static void on_retry(void *arg)
{
	struct wm_seeds *k = arg;

	if (wm_members_alive(k->s->members) > 1) {
		k->retry_ms = 0;
	} else if (LIST_EMPTY(&k->attempts)) {
		try_all(k);
	}
	k->retry_ms = k->retry_ms ? k->retry_ms * 2 : RETRY_MIN_MS;
	if (k->retry_ms > RETRY_MAX_MS)
		k->retry_ms = RETRY_MAX_MS;
	wm_env_timer_arm(k->retry, k->retry_ms / 2 + wm_env_below(k->s->env, k->retry_ms));
}

/* --- kept in the data directory --------------------------------------------------------------- */
/* On a thread of its own. */
static void write_file(void *arg)
{
	const struct wm_seeds *k = arg;

	/* losing it costs a join through the settings' seeds */
	(void)wm_file_replace(k->path, k->text.data, k->text.len, WM_REPLACE_CACHE);
}

static void on_written(void *arg)
{
	struct wm_seeds *k = arg;

	k->writing = NULL;
	if (k->dirty)
		wm_env_timer_arm(k->keep, KEEP_MS);
}

static void on_keep(void *arg)
{
	struct wm_seeds *k = arg;
	const struct wm_member *m;
	size_t pos = 0;

	if (k->writing)
		return;
	k->dirty = false;
	wm_buf_reset(&k->text);
	wm_buf_printf(&k->text, "# %llu %llu\n",
		      (unsigned long long)wm_replica_contact_ms(k->s->replica),
		      (unsigned long long)(wm_env_wall_ms(k->s->env) -
					   wm_replica_step_ms(k->s->replica)));
	while ((m = wm_members_next(k->s->members, &pos))) {
		char at[INET6_ADDRSTRLEN + 8];

		if (m->self || m->state == WM_MEMBER_LEFT)
			continue;
		wm_peer_addr_format(&m->at, at, sizeof(at));
		wm_buf_printf(&k->text, "%s %s\n", at, m->name);
	}
	if (!k->text.failed)
		(void)wm_aside_start(k->s->c.loop, write_file, on_written, k, &k->writing);
}

void wm_seeds_changed(struct wm_seeds *k)
{
	if (!*k->path || k->dirty)
		return;
	k->dirty = true;
	wm_env_timer_arm(k->keep, KEEP_MS);
}

static void read_file(struct wm_seeds *k)
{
	char line[LINE_OCTETS + WM_NODE_NAME_MAX];
	FILE *f = *k->path ? fopen(k->path, "re") : NULL;
	char *end;

	while (f && k->kept_count < WM_SYNC_SEEDS_MAX && fgets(line, sizeof(line), f)) {
		if (*line == '#') {
			k->contact_ms = strtoull(line + 1, &end, 10);
			k->step_ms = strtoull(end, NULL, 10);
		}
		line[strcspn(line, " \n")] = '\0';
		if (!wm_peer_addr_parse(line, &k->kept[k->kept_count]))
			k->kept_count++;
	}
	if (f)
		fclose(f);
}

/* --- life ------------------------------------------------------------------------------------- */
int wm_seeds_new(struct wm_sync *s, struct wm_seeds **ret, struct wm_err *e)
{
	struct wm_seeds *k = calloc(1, sizeof(*k));

	if (!k)
		return wm_err_set(e, -ENOMEM, "out of memory: seeds");
	*ret = k;
	k->s = s;
	LIST_INIT(&k->attempts);
	wm_buf_init(&k->text, KEEP_MAX);
	if (s->c.data_dir)
		snprintf(k->path, sizeof(k->path), "%s/members", s->c.data_dir);
	k->resolver = wm_resolver_new(s->c.loop, &(struct wm_resolver_config){.own = s->c.own_dns});
	k->srvs = k->resolver ? wm_srvs_new(s->c.loop, k->resolver) : NULL;
	k->retry = wm_env_timer_new(s->env, on_retry, k);
	k->keep = wm_env_timer_new(s->env, on_keep, k);
	if (!k->srvs || !k->retry || !k->keep)
		return wm_err_set(e, -ENOMEM, "out of memory: seeds");
	read_file(k);
	if (!*s->c.join_file)
		return 0;
	k->file = calloc(1, sizeof(*k->file));
	k->look = wm_env_timer_new(s->env, on_look, k);
	return k->file && k->look ? 0 : wm_err_set(e, -ENOMEM, "out of memory: seeds");
}

uint64_t wm_seeds_contact_ms(const struct wm_seeds *k)
{
	return k->contact_ms;
}

uint64_t wm_seeds_step_ms(const struct wm_seeds *k)
{
	return k->step_ms;
}

void wm_seeds_start(struct wm_seeds *k)
{
	wm_env_timer_arm(k->retry, 0);
	if (k->look)
		wm_env_timer_arm(k->look, LOOK_MS);
}

const char *wm_seeds_first(const struct wm_seeds *k)
{
	if (*k->s->c.join)
		return k->s->c.join[0];
	return k->file && k->file->count ? k->file->seeds[0] : NULL;
}

const char *wm_seeds_why(const struct wm_seeds *k)
{
	return k->why;
}

void wm_seeds_free(struct wm_seeds *k)
{
	struct attempt *a;

	if (!k)
		return;
	wm_aside_end(k->writing);
	while ((a = LIST_FIRST(&k->attempts))) { /* links are gone: nobody calls back */
		snprintf(a->why, sizeof(a->why), "this agent stops");
		finish(a, 0);
	}
	wm_srvs_free(k->srvs);
	wm_resolver_free(k->resolver);
	wm_env_timer_free(k->retry);
	wm_env_timer_free(k->keep);
	wm_env_timer_free(k->look);
	free(k->file);
	wm_buf_done(&k->text);
	free(k);
}
