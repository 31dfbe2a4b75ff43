/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_list.c - everything by pages at one revision, then one watch from the revision behind it. A
 * watch that was lost goes on where it was; one whose revision was compacted, or that nobody
 * understands, is replaced by another list. */
#include "etcd_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* --- the list
 * ---------------------------------------------------------------------------------------- */

/* The end of all that begins with the prefix, which ends with '/'. */
static void put_end(struct wm_etcd *e, struct wm_buf *b)
{
	char end[WM_ETCD_PREFIX_MAX + 1];

	memcpy(end, e->c.prefix, e->prefix_len);
	end[e->prefix_len - 1]++;
	wm_buf_puts(b, ",\"range_end\":\"");
	wm_base64_put(b, end, e->prefix_len, "", 0);
	wm_buf_putc(b, '"');
}

void wm_etcd_list_later(struct wm_etcd *e)
{
	wm_etcd_unwatch(e);
	e->listed = false;
	e->list_revision = 0;
	e->list_key_len = 0;
}

/* @return 0, or what will be tried again. */
static int end_of_list(struct wm_etcd *e)
{
	int err;

	err = wm_etcd_sweep(e);
	if (err)
		return err;
	e->revision = e->list_revision;
	e->listed = true;
	e->other = e->lost = false;
	e->put_revision = 0;
	wm_etcd_nodes_listed(e);
	return 0;
}

static void list_refused(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	if (a->code == WM_ETCD_OUT_OF_RANGE) {
		e->stats.compacted++;
		wm_etcd_list_later(e);
		e->slots[SLOT_CONTROL].not_before_ms = 0;
	} else if (a->code == WM_ETCD_EXHAUSTED && e->page > 1) {
		e->page /= 2;
		e->slots[SLOT_CONTROL].not_before_ms = 0;
	}
}

static void on_page(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	const struct wm_etcd_kv *last = a->kvs_count ? &a->kvs[a->kvs_count - 1] : NULL;
	int err;

	if (a->code) {
		list_refused(e, a);
		return;
	}
	if (!e->list_revision)
		e->list_revision = a->revision;
	err = wm_etcd_take(e, a->kvs, a->kvs_count);
	if (!err && !(a->more && last))
		err = end_of_list(e);
	if (err) {
		e->slots[SLOT_CONTROL].not_before_ms = wm_etcd_now(e) + BUSY_MS;
		return;
	}
	if (e->listed || !last || last->key_len >= sizeof(e->list_key))
		return;
	memcpy(e->list_key, last->key, last->key_len); /* and the NUL: the next key there can be */
	e->list_key[last->key_len] = '\0';
	e->list_key_len = last->key_len + 1;
}

void wm_etcd_range_body(struct wm_etcd *e, const char *key, size_t len, int64_t revision)
{
	struct wm_buf *b = wm_etcd_body(e);

	wm_buf_puts(b, "{\"key\":\"");
	wm_base64_put(b, key, len, "", 0);
	wm_buf_putc(b, '"');
	put_end(e, b);
	wm_buf_printf(b, ",\"limit\":\"%u\",\"revision\":\"%" PRId64 "\"}", e->page, revision);
}

void wm_etcd_list(struct wm_etcd *e)
{
	if (!e->list_key_len) {
		e->list++;
		e->stats.lists++;
		e->relist_ms = 0;
		memcpy(e->list_key, e->c.prefix, e->prefix_len);
		e->list_key_len = e->prefix_len;
	}
	wm_etcd_range_body(e, e->list_key, e->list_key_len, e->list_revision);
	wm_etcd_call(e, SLOT_CONTROL, "kv/range", on_page);
}

/* --- the watch
 * --------------------------------------------------------------------------------------- */

void wm_etcd_watch(struct wm_etcd *e)
{
	struct wm_buf *b = wm_etcd_body(e);

	wm_buf_reset(&e->stream);
	e->stream_at = 0;
	e->watching = e->stream_broken = false;
	e->watch_since_ms = wm_etcd_now(e);
	wm_buf_puts(b, "{\"create_request\":{");
	wm_etcd_put_key(e, b, "key", "", 0);
	put_end(e, b);
	wm_buf_printf(b,
		      ",\"start_revision\":\"%" PRId64 "\",\"progress_notify\":true,"
		      "\"fragment\":true}}",
		      e->revision + 1);
	wm_etcd_stream(e, "watch");
}

void wm_etcd_unwatch(struct wm_etcd *e)
{
	wm_etcd_cancel(e, SLOT_WATCH);
	wm_buf_reset(&e->stream);
	e->stream_at = 0;
	e->watching = e->stream_broken = false;
}

static void canceled(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	if (a->compact_revision) {
		e->stats.compacted++;
		wm_etcd_list_later(e);
		return;
	}
	wm_etcd_stream_failed(e, !wm_etcd_unauthenticated(e, a->code, a->cancel_reason),
			      *a->cancel_reason ? a->cancel_reason : "the watch was canceled");
}

/* One message of the watch. @return 0, or what will be tried again. */
static int heard(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	int64_t last = e->revision;
	int err;

	if (a->code) {
		wm_etcd_stream_failed(e, !wm_etcd_unauthenticated(e, a->code, a->error),
				      *a->error ? a->error : "an error without a text");
		return 0;
	}
	if (a->cluster && e->cluster && a->cluster != e->cluster) {
		wm_etcd_stream_failed(e, true, "the watch is of another cluster");
		return 0;
	}
	if (a->canceled) {
		canceled(e, a);
		return 0;
	}
	if (a->created && a->revision < e->revision) {
		/* a member that is behind, or etcd went back: a list is answered by the quorum */
		wm_etcd_list_later(e);
		return 0;
	}
	if (a->created) {
		e->watching = true;
		e->slots[SLOT_WATCH].fails = 0;
		e->stats.watches++;
	}
	err = wm_etcd_take(e, a->kvs, a->kvs_count);
	if (err)
		return err;
	/* a revision that comes in parts is here with its last one */
	for (unsigned n = 0; n < a->kvs_count; n++) {
		int64_t is = a->kvs[n].mod_revision - a->fragment;

		last = is > last ? is : last;
	}
	if (!a->kvs_count && !a->created && a->revision > last)
		last = a->revision; /* nothing happened up to it */
	e->revision = last;
	e->heard_ms = wm_etcd_now(e);
	return 0;
}

/* @return false: nothing more for now. */
static bool next_message(struct wm_etcd *e)
{
	const char *line = e->stream.data ? e->stream.data + e->stream_at : "";
	size_t left = e->stream.len - e->stream_at, len;
	const char *end = left ? memchr(line, '\n', left) : NULL;
	struct wm_etcd_answer a;
	struct wm_err why = {0};
	int err;

	len = end ? (size_t)(end - line) : left;
	if (!end && (!e->stream_broken || !left) && left <= WM_ETCD_ANSWER_MAX)
		return false;
	if (!len) {
		e->stream_at++;
		return true;
	}
	err = wm_etcd_answer_read(line, len, &a, &why);
	if (err) { /* the same would come again: a list says it otherwise */
		e->stats.malformed += end != NULL || left > WM_ETCD_ANSWER_MAX;
		wm_etcd_stream_failed(e, true, *why.text ? why.text : "out of memory");
		if (end || left > WM_ETCD_ANSWER_MAX)
			wm_etcd_list_later(e);
		return false;
	}
	err = heard(e, &a);
	wm_etcd_answer_done(&a);
	if (err) {
		wm_env_timer_arm(e->stream_timer, BUSY_MS);
		return false;
	}
	/* it may have been closed meanwhile */
	if (e->stream.len)
		e->stream_at += len + (end != NULL);
	return e->stream.len != 0;
}

/* What was read goes; what is not whole yet moves to the front. */
static void compact(struct wm_etcd *e)
{
	size_t left = e->stream.len - e->stream_at;

	if (!e->stream_at)
		return;
	memmove(e->stream.data, e->stream.data + e->stream_at, left);
	e->stream.data[left] = '\0';
	e->stream.len = left;
	e->stream_at = 0;
}

void wm_etcd_on_stream(void *arg)
{
	struct wm_etcd *e = arg;
	uint64_t end = wm_etcd_now(e) + STREAM_MS;

	while (next_message(e)) {
		if (wm_etcd_now(e) < end)
			continue;
		wm_env_timer_arm(e->stream_timer, 0);
		break;
	}
	compact(e);
	if (e->stream_broken && !e->stream.len)
		wm_etcd_unwatch(e);
	wm_etcd_wake(e, 0);
}
