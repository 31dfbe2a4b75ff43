/* SPDX-License-Identifier: Apache-2.0 */
/* kube_client_watch.c - everything by pages, then a watch from where the list ends, which goes on
 * where it was when it is opened again. One whose beginning the server has forgotten is replaced by
 * another list. All happens from one timer, a bit at a time: octets come into a buffer between. */
#include "kube_client_internal.h"
#include "userspace/base/json_text.h"
#include "userspace/base/plain.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_MS	4     /* of a turn for what came; the rest has its turn */
#define BUSY_MS		20    /* until an object that nobody had room for is offered again */
#define PAGES_MAX	20000 /* of a list: ten million objects; more is a server that goes round */
#define LIST_SILENCE_MS 30000 /* until a page of which nothing comes is given up */
#define SILENCE_MS	180000 /* of a watch: bookmarks come each minute */
#define SHORT_MS	1000   /* a watch that ends within it failed */

void wm_kube_tell(struct wm_kube_watch *w, enum wm_kube_state state, const char *text)
{
	if (w->dead || (state == w->state && !strcmp(text, w->text)))
		return;
	w->state = state;
	snprintf(w->text, sizeof(w->text), "%s", text);
	w->ops->state(w->arg, state, w->text);
}

/* --- what stands in objects ------------------------------------------------------------------- */

/* Of the object's metadata. @return false: there is none, or it is too long. */
static bool metadata(const char *object, const char *name, char *to, size_t cap)
{
	const char *m = wm_json_text_member(object, "metadata");

	return wm_json_text_string(wm_json_text_member(m, name), to, cap) && *to &&
	       strlen(to) + 1 < cap;
}

static void skip(struct wm_kube_watch *w)
{
	char ns[128] = "", name[512] = "";

	w->k->stats.oversize++;
	if (!w->ops->skipped)
		return;
	metadata(w->stream.object.data, "namespace", ns, sizeof(ns));
	metadata(w->stream.object.data, "name", name, sizeof(name));
	w->ops->skipped(w->arg, ns, name);
}

static void hand_over(struct wm_kube_watch *w, enum wm_kube_event event)
{
	const struct wm_buf *o = &w->stream.object;

	if (!w->stream.cut) {
		w->ops->object(w->arg, event, o->data, o->len);
		return;
	}
	/* that it went is told by a list */
	w->wants_list |= event == WM_KUBE_DELETED;
	skip(w);
}

static void malformed(struct wm_kube_watch *w, const char *why)
{
	char text[WM_KUBE_TEXT_MAX];

	w->k->stats.malformed++;
	snprintf(text, sizeof(text), "%s: %.150s", w->what, why);
	wm_kube_failed(w, true, text);
}

/* --- lists ------------------------------------------------------------------------------------ */

static bool is_list(const char *kind)
{
	size_t len = kind ? strlen(kind) : 0;

	return len > 4 && !strcmp(kind + len - 4, "List");
}

/* The envelope of a page. @return NULL, or what is wrong with it. */
static const char *read_page(struct wm_kube_watch *w, const json_t *page, char **ret_next)
{
	const json_t *m = json_object_get(page, "metadata");
	const char *version = json_string_value(json_object_get(m, "resourceVersion"));
	const char *next = json_string_value(json_object_get(m, "continue"));

	if (!is_list(json_string_value(json_object_get(page, "kind"))))
		return "the answer is no list";
	if (!version || !*version || strlen(version) > WM_KUBE_VERSION_MAX)
		return "a list without a resourceVersion";
	if (next && strlen(next) > WM_KUBE_CONTINUE_MAX)
		return "a continue token that is too long";
	if (next && w->next && !strcmp(next, w->next))
		return "a list that goes round";
	snprintf(w->version, sizeof(w->version), "%s", version);
	if (next && *next) {
		*ret_next = strdup(next);
		if (!*ret_next)
			return "out of memory";
	}
	return NULL;
}

static void list_ended(struct wm_kube_watch *w)
{
	free(w->next);
	w->next = NULL;
	w->begun = w->unpaged = false;
	w->listed = w->listed_once = true;
	w->page = WM_KUBE_PAGE;
	w->not_before_ms = 0;
	wm_kube_drop(w);
	w->ops->end(w->arg, w->version);
	wm_kube_tell(w, WM_KUBE_WATCHING, "");
}

/* A page came whole. */
static void page_ended(struct wm_kube_watch *w)
{
	json_t *page = json_loadb(w->stream.envelope.data, w->stream.envelope.len,
				  JSON_REJECT_DUPLICATES, NULL);
	char *next = NULL;
	const char *wrong = page ? read_page(w, page, &next) : "no JSON";

	json_decref(page);
	if (!wrong && next && ++w->pages > PAGES_MAX)
		wrong = "a list without an end";
	if (wrong) {
		free(next);
		malformed(w, wrong);
		return;
	}
	w->fails = w->refused = 0;
	if (!next) {
		list_ended(w);
		return;
	}
	wm_kube_drop(w);
	free(w->next);
	w->next = next;
	w->not_before_ms = 0;
}

/* --- watches ---------------------------------------------------------------------------------- */

/* The watch ends with an error. */
static void error_event(struct wm_kube_watch *w)
{
	const struct wm_buf *o = &w->stream.object;
	long code = wm_kube_status_read(o->data ? o->data : "", o->len, w->why, 201);

	if (!code) {
		malformed(w, "an error that is no Status");
		return;
	}
	w->status = code;
	wm_kube_bad_status(w);
}

static bool event_of(const char *type, enum wm_kube_event *ret)
{
	static const char *const names[] = {[WM_KUBE_ADDED] = "ADDED",
					    [WM_KUBE_MODIFIED] = "MODIFIED",
					    [WM_KUBE_DELETED] = "DELETED"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!strcmp(type, names[i])) {
			*ret = (enum wm_kube_event)i;
			return true;
		}
	}
	return false;
}

/* An object, or a bookmark: what is known is as new as it. */
static void take_event(struct wm_kube_watch *w, const char *type)
{
	char version[sizeof(w->version)];
	bool bookmark = !strcmp(type, "BOOKMARK");
	enum wm_kube_event event = WM_KUBE_ADDED;

	if (!w->stream.object.len ||
	    !metadata(w->stream.object.data, "resourceVersion", version, sizeof(version))) {
		malformed(w, "an object without a resourceVersion");
		return;
	}
	if (!bookmark && !event_of(type, &event)) {
		malformed(w, "an event of an unknown type");
		return;
	}
	memcpy(w->version, version, sizeof(version));
	w->fails = w->refused = w->watch_fails = w->relists = 0;
	if (w->state != WM_KUBE_WATCHING)
		wm_kube_tell(w, WM_KUBE_WATCHING, "");
	if (w->dead)
		return;
	w->k->stats.bookmarks += bookmark;
	w->k->stats.events += !bookmark;
	if (!bookmark)
		hand_over(w, event);
}

static void event(struct wm_kube_watch *w)
{
	const struct wm_buf *e = &w->stream.envelope;
	json_t *o = json_loadb(e->data, e->len, JSON_REJECT_DUPLICATES, NULL);
	const char *type = json_string_value(json_object_get(o, "type"));
	char kind[16] = "";

	if (type)
		snprintf(kind, sizeof(kind), "%s", type);
	json_decref(o);
	if (!strcmp(kind, "ERROR"))
		error_event(w);
	else
		take_event(w, kind);
}

static void watch_ended(struct wm_kube_watch *w)
{
	if (!wm_kube_stream_whole(&w->stream)) {
		malformed(w, "the watch ended within an event");
	} else if (!w->documents && wm_kube_now(w->k) - w->opened_ms < SHORT_MS) {
		wm_kube_failed(w, true, "the watch ended at once");
	} else {
		w->fails = 0;
		w->not_before_ms =
			w->opened_ms + SHORT_MS / 2 + wm_env_below(w->k->env, SHORT_MS / 2);
		wm_kube_drop(w);
	}
}

/* --- step by step ----------------------------------------------------------------------------- */

static void arm(struct wm_kube_watch *w, uint64_t ms)
{
	wm_env_timer_arm(w->timer, ms);
}

/* The headers are there. What is said of errors comes with the end. */
static void look_at_head(struct wm_kube_watch *w)
{
	w->head = false;
	w->heard_ms = wm_kube_now(w->k);
	if (w->status != 200)
		return;
	w->told_ms = w->heard_ms;
	if (!w->json) {
		malformed(w, "the answer is no JSON, as its Content-Type says");
		return;
	}
	w->open = true;
	if (w->watching) {
		wm_kube_tell(w, WM_KUBE_WATCHING, "");
		return;
	}
	if (w->begun)
		return;
	w->begun = true;
	w->k->stats.lists++;
	w->k->stats.relists += w->listed_once;
	w->ops->begin(w->arg);
	if (!w->dead)
		wm_kube_tell(w, WM_KUBE_LISTING, "");
}

/* A piece of the stream. The call may be over afterwards. */
static void take_piece(struct wm_kube_watch *w, enum wm_kube_piece piece)
{
	if (piece == WM_KUBE_MORE)
		return;
	w->heard_ms = w->told_ms = wm_kube_now(w->k);
	if (piece == WM_KUBE_BAD) {
		malformed(w, w->stream.bad);
	} else if (piece == WM_KUBE_ITEM) {
		w->k->stats.objects++;
		hand_over(w, WM_KUBE_ADDED);
	} else {
		w->documents++;
		if (w->watching)
			event(w);
	}
}

/* What was read goes; what was not moves to the front. */
static void compact(struct wm_kube_watch *w)
{
	size_t left = w->raw.len - w->raw_at;

	if (!w->raw_at)
		return;
	memmove(w->raw.data, w->raw.data + w->raw_at, left);
	w->raw.data[left] = '\0';
	w->raw.len = left;
	w->raw_at = 0;
}

/* Read of what came. @return false: not all, and the timer is armed; or the call is over. */
static bool drain(struct wm_kube_watch *w)
{
	uint64_t end = wm_kube_now(w->k) + STREAM_MS;

	while (w->raw_at < w->raw.len) {
		const char *p = w->raw.data + w->raw_at;
		size_t left = w->raw.len - w->raw_at;
		enum wm_kube_piece piece;

		if (w->ops->ready && !w->ops->ready(w->arg)) {
			if (w->dead)
				return false;
			w->heard_ms = wm_kube_now(w->k); /* it is we who are slow */
			compact(w);
			arm(w, BUSY_MS);
			return false;
		}
		piece = wm_kube_stream_next(&w->stream, &p, &left);
		w->raw_at = w->raw.len - left;
		take_piece(w, piece);
		if (w->dead || !w->open)
			return false;
		if (left && wm_kube_now(w->k) >= end) {
			compact(w);
			arm(w, 0);
			return false;
		}
	}
	compact(w);
	if (w->paused && w->call) {
		w->paused = false;
		wm_http_call_resume(w->call);
	}
	return true;
}

/* All that came was read, and no more comes. */
static void answered(struct wm_kube_watch *w)
{
	if (w->error == -ETIMEDOUT && w->watching && w->open) {
		w->k->stats.silent += !w->documents;
		watch_ended(w);
	} else if (w->error) {
		char why[WM_KUBE_TEXT_MAX];

		snprintf(why, sizeof(why), "%s", w->why);
		wm_kube_failed(w, true, why);
	} else if (w->status != 200) {
		wm_kube_bad_status(w);
	} else if (w->watching) {
		watch_ended(w);
	} else if (!w->documents) {
		malformed(w, "the list ended before its end");
	} else {
		page_ended(w);
	}
}

static uint64_t patience(const struct wm_kube_watch *w)
{
	uint64_t ms = w->k->config.silence_ms ? w->k->config.silence_ms : SILENCE_MS;

	return w->watching || ms < LIST_SILENCE_MS ? ms : LIST_SILENCE_MS;
}

/* Look at the call that is under way. */
static void look(struct wm_kube_watch *w)
{
	uint64_t heard;

	if (w->head)
		look_at_head(w);
	if (w->dead || (w->open && !drain(w)))
		return;
	if (w->ended) {
		answered(w);
		return;
	}
	heard = wm_kube_now(w->k) - w->heard_ms;
	if (!w->call)
		return;
	if (heard < patience(w)) {
		arm(w, patience(w) - heard);
		return;
	}
	w->k->stats.silent++;
	wm_kube_failed(w, true, "the server says nothing");
}

static void step(struct wm_kube_watch *w)
{
	uint64_t now;

	if (w->wants_list) {
		if (w->asked)
			wm_kube_list_asked(w);
		else
			wm_kube_list_again(w);
		w->wants_list = w->asked = false;
	}
	if (w->call || w->ended)
		look(w);
	if (w->dead || w->call || w->ended)
		return;
	now = wm_kube_now(w->k);
	if (now < w->not_before_ms) {
		arm(w, w->not_before_ms - now);
		return;
	}
	wm_kube_call(w);
	now = wm_kube_now(w->k);
	arm(w, w->call ? patience(w) : w->not_before_ms > now ? w->not_before_ms - now : 0);
}

void wm_kube_step(void *arg)
{
	struct wm_kube_watch *w = arg;
	struct wm_kube *k = w->k;

	k->busy++;
	step(w);
	k->busy--;
	wm_kube_bury(k);
}
