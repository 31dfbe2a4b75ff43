/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c - the registry as a whole over HTTP: GET /v1/snapshot streams it in small steps, PUT
 * restores one that fits a request's body. A larger one is restored from a path that is given over
 * the Unix socket, by root or the agent's own user: it is read in steps, and no limit on requests
 * has to be widened for it. */
#include "userspace/store/snapshot.h"

#include "internal.h"
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/log.h"
#include "userspace/registry/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP_MS	    1		 /* between steps, others have their turns */
#define SLOW_MS	    20		 /* the same while the client takes its time */
#define BACKLOG_MAX (4u << 20)	 /* octets that wait for the client before the next step */
#define PATIENCE_MS 30000	 /* without a single octet taken: the client is cut off */
#define OUT_MAX	    (512u << 20) /* octets of a step: bounded by what was changed meanwhile */
#define RETRY_MS    5000	 /* before the rest of a restore that was refused is tried again */

struct wm_snapshots {
	struct wm_api *api;
	struct wm_timer *save_timer, *load_timer;
	/* going out */
	struct wm_http_request *req;
	struct wm_save *save;
	bool last;
	char asker[32]; /* who asked for it, for the log */
	uint64_t sent;	/* octets */
	size_t backlog; /* when the client last took something, */
	uint64_t since; /* and when that was */
	/* coming in */
	struct wm_write *write;
	struct wm_restore *load;
	char from[PATH_MAX]; /* a path; else who sent it */
	uint64_t restored, refused;
};

static void put_asker(const struct wm_http_request *r, char *out, size_t cap)
{
	if (wm_http_is_local(r))
		snprintf(out, cap, "unix socket, uid %ld", wm_http_peer_uid(r));
	else
		snprintf(out, cap, "HTTP over TCP");
}

/* --- saving ---------------------------------------------------------------------------------- */
static void save_done(struct wm_snapshots *s)
{
	wm_save_end(s->save);
	s->save = NULL;
	s->req = NULL;
	wm_timer_disarm(s->save_timer);
}

static void on_abort(void *arg)
{
	struct wm_snapshots *s = arg;

	wm_warn("snapshot.cut_off", "by=%s octets=%llu", wm_log_q(s->asker),
		(unsigned long long)s->sent);
	save_done(s);
}

/* True if there is room for the next step; a client that takes nothing for long is cut off. */
static bool room(struct wm_snapshots *s)
{
	size_t backlog = wm_http_stream_backlog(s->req);
	uint64_t now = wm_clock_ms();

	if (backlog < s->backlog || !backlog)
		s->since = now;
	s->backlog = backlog;
	return backlog <= BACKLOG_MAX;
}

static void on_part(void *arg, int more, const struct wm_buf *part, const struct wm_err *e)
{
	struct wm_snapshots *s = arg;

	(void)e;
	if (more < 0 || wm_http_stream_send(s->req, part->data, part->len)) {
		s->api->counters[WM_API_FAILED]++;
		wm_http_stream_drop(s->req);
		return;
	}
	s->sent += part->len;
	s->backlog = wm_http_stream_backlog(s->req);
	if (more) {
		wm_timer_arm(s->save_timer, STEP_MS);
		return;
	}
	wm_http_stream_end(s->req);
	wm_info("snapshot.saved", "by=%s octets=%llu", wm_log_q(s->asker),
		(unsigned long long)s->sent);
	s->api->counters[WM_API_READS]++;
	save_done(s);
}

static void on_save(void *arg)
{
	struct wm_snapshots *s = arg;

	if (room(s))
		wm_save_next(s->save, on_part, s);
	else if (wm_clock_ms() - s->since > PATIENCE_MS)
		wm_http_stream_drop(s->req); /* runs on_abort */
	else
		wm_timer_arm(s->save_timer, SLOW_MS);
}

static int begin_save(struct wm_snapshots *s, struct wm_err *e)
{
	struct wm_registry *r = s->api->d.registry;
	struct wm_save_about about;

	if (!wm_registry_writer(r))
		return wm_err_set(e, WM_E_UNSUPPORTED, "There is no store to be saved");
	if (s->save)
		return wm_err_set(e, WM_E_BUSY, "Another snapshot is being saved, try again");
	if (!wm_registry_about(r, &about))
		return wm_err_set(e, WM_E_BUSY, "A snapshot is being restored, try again");
	return wm_save_begin(wm_registry_writer(r), &about, &s->save, e);
}

void wm_snapshot_save(struct wm_call *c)
{
	struct wm_snapshots *s = c->api->snapshots;
	struct wm_err e = {0};
	char text[24];

	e.code = begin_save(s, &e);
	if (e.code) {
		wm_answer_err(c, &e);
		return;
	}
	s->req = c->req;
	put_asker(c->req, s->asker, sizeof(s->asker));
	s->sent = 0;
	s->since = wm_clock_ms();
	s->backlog = 0;
	snprintf(text, sizeof(text), "%llu",
		 (unsigned long long)wm_registry_index(c->api->d.registry));
	wm_http_set_header(c->req, "X-Consul-Index", text);
	wm_http_set_header(c->req, "Cache-Control", "no-store");
	wm_http_on_abort(c->req, on_abort, s);
	wm_http_stream_begin(c->req, "application/octet-stream");
	wm_timer_arm(s->save_timer, STEP_MS);
}

/* --- restoring ------------------------------------------------------------------------------- */
/* What could not be stored is tried again, for the registry is restored in part. */
static void load_half(struct wm_snapshots *s, struct wm_err *e)
{
	struct wm_err why = *e;

	wm_error("snapshot.half", "from=%s err=%s text=%s", wm_log_q(s->from), wm_err_name(e->code),
		 wm_log_q(why.text));
	e->code = wm_err_set(e, why.code,
			     "Restored in part; the rest is tried again every %d s, and at the "
			     "next start: %.300s",
			     RETRY_MS / 1000, why.text);
	wm_timer_arm(s->load_timer, RETRY_MS);
}

static void load_done(struct wm_snapshots *s, struct wm_err *e)
{
	struct wm_write *w = s->write;
	struct wm_snapshot_info in = {0};
	bool half = e->code && wm_restore_half(s->load);

	wm_snapshot_info(wm_restore_snapshot(s->load), &in);
	wm_restore_free(s->load);
	s->load = NULL;
	s->write = NULL;
	if (half) {
		load_half(s, e);
	} else if (e->code) {
		s->refused++;
		wm_warn("snapshot.refused", "from=%s err=%s text=%s", wm_log_q(s->from),
			wm_err_name(e->code), wm_log_q(e->text));
	} else {
		s->restored++;
		wm_info("snapshot.restored", "from=%s services=%llu instances=%llu index=%llu",
			wm_log_q(s->from), (unsigned long long)in.services,
			(unsigned long long)in.instances, (unsigned long long)in.index);
	}
	/* one that was refused in the place of one that is half done */
	if (!half && wm_restore_pending(s->api->d.registry))
		wm_timer_arm(s->load_timer, RETRY_MS);
	if (w)
		wm_write_done(w, e->code, e->text);
}

/* @return false: answered. The descriptor is closed in any case. */
static bool load_begin(struct wm_call *c, const struct wm_restore_source *from)
{
	struct wm_snapshots *s = c->api->snapshots;
	struct wm_snapshot *load = NULL;
	struct wm_err e = {0};

	if (s->load) {
		wm_http_set_header(c->req, "Retry-After", "1");
		wm_answer_text(c, 503, "Another snapshot is being restored, try again");
	} else {
		load = wm_snapshot_new(true, c->api->d.snapshot_max ? c->api->d.snapshot_max
								    : WM_SNAPSHOT_MAX);
		if (!load || wm_restore_begin(c->api->d.registry, load, from, &s->load, &e))
			wm_answer_text(c, 503, "Out of memory; nothing was changed");
	}
	if (!s->load || !load) {
		if (from->fd >= 0)
			close(from->fd);
		return false;
	}
	if (!wm_http_is_local(c->req))
		wm_snapshot_refuse_programs(load, wm_api_units(c) != WM_SCRIPTS_ALLOWED);
	put_asker(c->req, s->from, sizeof(s->from));
	s->write = wm_write_keep(c);
	if (s->write) {
		wm_timer_arm(s->load_timer, STEP_MS);
		return true;
	}
	wm_restore_free(s->load);
	s->load = NULL;
	if (wm_restore_pending(c->api->d.registry))
		wm_timer_arm(s->load_timer, RETRY_MS);
	return false;
}

void wm_snapshot_restore(struct wm_call *c)
{
	struct wm_restore_source from = {.fd = -1};

	from.data = wm_http_body(c->req, &from.len);
	load_begin(c, &from);
}

static void on_load(void *arg)
{
	struct wm_snapshots *s = arg;
	struct wm_err e = {0};
	int more = s->load ? 1 : wm_restore_again(s->api->d.registry, &s->load, &e);

	if (more < 0) {
		wm_error("snapshot.half", "from=%s err=%s text=%s", wm_log_q(s->from),
			 wm_err_name(more), wm_log_q(e.text));
		wm_timer_arm(s->load_timer, RETRY_MS);
		return;
	}
	more = wm_restore_step(s->load, &e);
	e.code = more < 0 ? more : 0;
	if (more > 0)
		wm_timer_arm(s->load_timer, STEP_MS);
	else
		load_done(s, &e);
}

void wm_native_snapshot_restore(struct wm_call *c)
{
	const char *path = wm_http_query(c->req, "path");
	struct wm_restore_source from = {.fd = -1};
	struct stat st;

	if (!wm_api_trusted(c)) { /* whatever else TCP may do: it names files to a root */
		wm_answer_text(c, 403,
			       "A path is taken over the Unix socket only, of root or the "
			       "agent's user");
		return;
	}
	if (!path || *path != '/') {
		wm_answer_text(c, 400, "path: an absolute path of a snapshot is wanted");
		return;
	}
	from.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (from.fd < 0 || fstat(from.fd, &st) || !S_ISREG(st.st_mode)) {
		wm_answer_text(c, 400, "path: %s cannot be read: %s", path,
			       from.fd < 0 ? strerror(errno) : "it must be a regular file");
		if (from.fd >= 0)
			close(from.fd);
		return;
	}
	if (load_begin(c, &from))
		snprintf(c->api->snapshots->from, sizeof(c->api->snapshots->from), "%s", path);
}

/* --- status, beginning and end --------------------------------------------------------------- */
void wm_snapshots_status(struct wm_json *j, const struct wm_api *a)
{
	const struct wm_snapshots *s = a->snapshots;
	struct wm_snapshot_info in = {0};
	struct wm_keep_stats k = {0};
	struct wm_registry_stats r;

	wm_registry_stats(a->d.registry, &r);
	if (a->d.keep)
		wm_keep_stats(a->d.keep, &k);
	if (s->load)
		wm_snapshot_info(wm_restore_snapshot(s->load), &in);
	wm_json_kopen(j, "snapshot", '{');
	wm_json_kb(j, "saving", r.saving);
	wm_json_ku(j, "saved_rows", r.save_rows);
	wm_json_ku(j, "rows_to_save", r.save_rows_total);
	wm_json_kb(j, "restoring", s->load || wm_restore_pending(a->d.registry));
	wm_json_ku(j, "restoring_bytes", in.bytes);
	wm_json_ku(j, "restored", s->restored);
	wm_json_ku(j, "restores_refused", s->refused);
	wm_json_ku(j, "kept", k.kept);
	wm_json_ku(j, "keep_failed", k.failed);
	wm_json_ku(j, "keep_index", k.index);
	wm_json_ku(j, "keep_age_s",
		   k.when_s && wm_clock_wall_s() > k.when_s
			   ? (uint64_t)(wm_clock_wall_s() - k.when_s)
			   : 0);
	wm_json_ks(j, "keep_error", k.last_error);
	wm_json_close(j, '}');
}

int wm_snapshots_init(struct wm_api *a)
{
	struct wm_snapshots *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	a->snapshots = s;
	s->api = a;
	s->save_timer = wm_timer_new(a->d.loop, on_save, s);
	s->load_timer = wm_timer_new(a->d.loop, on_load, s);
	return s->save_timer && s->load_timer ? 0 : -ENOMEM;
}

void wm_snapshots_done(struct wm_api *a)
{
	struct wm_snapshots *s = a->snapshots;

	if (!s)
		return;
	wm_restore_free(s->load);
	if (s->req) /* its server went without a word */
		save_done(s);
	wm_timer_free(s->save_timer);
	wm_timer_free(s->load_timer);
	free(s);
	a->snapshots = NULL;
}
