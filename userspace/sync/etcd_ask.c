/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_ask.c - have all the same? Agents do not speak with each other where etcd carries, so each
 * compares itself with what etcd holds (etcd_verify.c) and puts what it found. Who asks puts a
 * question under its lease; answers are put under that lease too, and only while the question
 * stands, so nothing is left of either. An agent makes one comparison at a time. */
#include "etcd_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SPREAD_MS 20   /* a node, so that not all list at once: each page costs etcd some 3 ms */
#define PAUSE_MS  1000 /* between two comparisons for others */

/* Our question. */
struct wm_etcd_asking {
	struct wm_etcd *e;
	struct wm_env_timer *timer;
	uint64_t number;
	bool put, compared; /* etcd has it; our own comparison was begun */
	struct wm_verify_member *members;
	unsigned members_count;
	struct wm_verify_found *found; /* WM_VERIFY_FOUND_MAX of them */
	unsigned found_count;
	wm_verify_done done;
	void *arg;
};

/* Another's question, which is being answered. */
struct wm_etcd_answering {
	struct wm_etcd *e;
	struct wm_peer_id to;
	int64_t lease;
	bool compared;
	struct wm_etcd_report report;
};

static size_t ask_key(const struct wm_peer_id *id, char key[static WM_ETCD_KEY_MAX])
{
	struct wm_etcd_key k = {.kind = WM_ETCD_KEY_ASK, .id = *id};

	return wm_etcd_key_write(&k, key);
}

/* Of one who answers; NULL: what all their keys begin with. */
static size_t answer_key(const struct wm_peer_id *asker, const struct wm_peer_id *id,
			 char key[static WM_ETCD_KEY_MAX])
{
	struct wm_etcd_key k = {.kind = WM_ETCD_KEY_ANSWER, .id = *asker};

	if (id) {
		wm_peer_id_format(id, k.octets);
		k.len = WM_PEER_ID_TEXT - 1;
	}
	return wm_etcd_key_write(&k, key);
}

/* --- who asks ----------------------------------------------------------------------------------
 */
static void free_asking(struct wm_etcd_asking *q)
{
	wm_env_timer_free(q->timer);
	free(q->members);
	free(q->found);
	free(q);
}

static void finish(struct wm_etcd_asking *q, bool stops)
{
	struct wm_verify_result r = {q->members, q->members_count, q->found, q->found_count};

	for (unsigned n = 0; n < q->members_count; n++)
		if (q->members[n].state == WM_VERIFY_ASKED)
			q->members[n].state = WM_VERIFY_SILENT;
	if (!q->put) /* its answer is not to be taken for one to the next question */
		wm_etcd_cancel(q->e, SLOT_VERIFY);
	q->e->asking = NULL;
	q->e->ask_stale = q->members_count > 1;
	q->done(q->arg, stops ? NULL : &r);
	free_asking(q);
}

/* Who died answers no more; etcd itself is the first and has no id. */
static bool all_told(struct wm_etcd_asking *q)
{
	bool told = true;

	for (unsigned n = 0; n < q->members_count; n++) {
		struct wm_verify_member *m = &q->members[n];

		if (n && m->state == WM_VERIFY_ASKED && wm_etcd_lives(q->e, &m->id) != 1)
			m->state = WM_VERIFY_SILENT;
		told &= m->state != WM_VERIFY_ASKED;
	}
	return told || q->members[0].state == WM_VERIFY_SILENT;
}

static void add_found(struct wm_etcd_asking *q, unsigned member, const struct wm_verify_found *f,
		      unsigned count, bool more)
{
	struct wm_verify_member *m = &q->members[member];

	for (unsigned n = 0; n < count && q->found_count < WM_VERIFY_FOUND_MAX; n++) {
		q->found[q->found_count] = f[n];
		q->found[q->found_count++].member = member;
		m->found++;
	}
	m->more = more || m->found < count;
	m->state = count ? WM_VERIFY_DIFFERS : WM_VERIFY_SAME;
}

static void on_own(void *arg, const struct wm_verify_result *r)
{
	struct wm_etcd *e = arg;

	if (!r || !e->asking)
		return;
	add_found(e->asking, 0, r->found, r->found_count, r->members[0].more);
	e->asking->members[0].state = r->members[0].state;
	wm_etcd_wake(e, 0);
}

void wm_etcd_reported(struct wm_etcd *e, const struct wm_etcd_key *k, const struct wm_etcd_kv *kv)
{
	struct wm_etcd_asking *q = e->asking;
	struct wm_etcd_report *r;
	struct wm_peer_id from;
	char id[WM_PEER_ID_TEXT];
	unsigned n = 1;

	if (!q || kv->deleted || !wm_peer_id_same(&k->id, &e->c.id))
		return;
	snprintf(id, sizeof(id), "%.*s", (int)k->len, k->octets);
	r = malloc(sizeof(*r));
	if (!r || k->len != sizeof(id) - 1 || wm_peer_id_parse(id, &from) ||
	    wm_etcd_report_read(kv->value, kv->value_len, r)) {
		e->stats.malformed += r != NULL;
		free(r);
		return;
	}
	while (n < q->members_count && !wm_peer_id_same(&q->members[n].id, &from))
		n++;
	if (n == q->members_count || r->number != q->number ||
	    q->members[n].state != WM_VERIFY_ASKED) {
		free(r);
		return;
	}
	for (unsigned i = 0; i < r->count; i++) {
		struct wm_verify_found *f = &r->found[i];
		struct wm_verify_side agent = f->here;

		f->here = f->there;
		f->there = agent;
		if (!f->here.seq || !f->here.other)
			continue; /* what nobody can read is etcd's */
		f->here.other = false;
		f->there.other = true;
	}
	add_found(q, n, r->found, r->count, r->more);
	if (r->silent)
		q->members[n].state = WM_VERIFY_SILENT;
	wm_env_timer_arm(q->timer, WM_ETCD_ANSWER_MS);
	wm_etcd_wake(e, 0);
	free(r);
}

static void on_silence(void *arg)
{
	struct wm_etcd_asking *q = arg;

	if (q->members[0].state == WM_VERIFY_ASKED) /* that ends by itself */
		wm_env_timer_arm(q->timer, WM_ETCD_ANSWER_MS);
	else
		finish(q, false);
}

static struct wm_etcd_asking *asking_new(struct wm_etcd *e)
{
	struct wm_etcd_asking *q = calloc(1, sizeof(*q));
	const struct wm_etcd_node *n;
	size_t pos = 0;

	if (!q)
		return NULL;
	q->e = e;
	q->number = 1 + wm_env_below(e->c.env, INT64_MAX);
	q->timer = wm_env_timer_new(e->c.env, on_silence, q);
	q->members = calloc(wm_map_len(e->nodes) + 1, sizeof(*q->members));
	q->found = calloc(WM_VERIFY_FOUND_MAX, sizeof(*q->found));
	if (!q->timer || !q->members || !q->found) {
		free_asking(q);
		return NULL;
	}
	q->members_count = 1;
	while ((n = wm_map_next(e->nodes, &pos)))
		if (n != e->self && n->lives)
			q->members[q->members_count++].id = n->id;
	return q;
}

int wm_etcd_verify(struct wm_etcd *e, wm_verify_done done, void *arg)
{
	struct wm_etcd_asking *q;

	if (e->asking)
		return WM_E_BUSY;
	q = asking_new(e);
	if (!q)
		return -ENOMEM;
	q->done = done;
	q->arg = arg;
	e->asking = q;
	wm_env_timer_arm(q->timer, WM_ETCD_ANSWER_MS);
	wm_etcd_wake(e, 0);
	return 0;
}

static void on_asked(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	if (e->asking)
		e->asking->put = !a->code;
}

static void ask(struct wm_etcd *e)
{
	struct wm_buf *b = wm_etcd_body(e);
	char key[WM_ETCD_KEY_MAX], number[24];
	size_t len = ask_key(&e->c.id, key);

	snprintf(number, sizeof(number), "%" PRIu64, e->asking->number);
	wm_buf_putc(b, '{');
	wm_etcd_put_key(e, b, "key", key, len);
	wm_buf_puts(b, ",\"value\":\"");
	wm_base64_put(b, number, strlen(number), "", 0);
	wm_buf_printf(b, "\",\"lease\":\"%" PRId64 "\"}", e->lease.id);
	wm_etcd_call(e, SLOT_VERIFY, "kv/put", on_asked);
}

static void on_cleared(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	e->ask_stale &= a->code != 0;
}

/* Our question goes, and with it what was answered. */
static void clear(struct wm_etcd *e)
{
	struct wm_buf *b = wm_etcd_body(e);
	char key[WM_ETCD_KEY_MAX];
	size_t len = ask_key(&e->c.id, key);

	wm_buf_puts(b, "{\"success\":[{\"request_delete_range\":{");
	wm_etcd_put_key(e, b, "key", key, len);
	wm_buf_puts(b, "}},{\"request_delete_range\":{");
	len = answer_key(&e->c.id, NULL, key);
	wm_etcd_put_key(e, b, "key", key, len);
	key[len - 1]++; /* '/' becomes '0': all that begins so */
	wm_buf_putc(b, ',');
	wm_etcd_put_key(e, b, "range_end", key, len);
	wm_buf_puts(b, "}}]}");
	wm_etcd_call(e, SLOT_VERIFY, "kv/txn", on_cleared);
}

/* --- who is asked ------------------------------------------------------------------------------
 */
void wm_etcd_asked(struct wm_etcd *e, const struct wm_etcd_key *k, const struct wm_etcd_kv *kv)
{
	struct wm_etcd_node *n = wm_map_get(e->nodes, k->id.octets, sizeof(k->id.octets));
	uint64_t now = wm_etcd_now(e);
	char text[24], *end;

	if (!n || n == e->self)
		return;
	n->asks = 0;
	if (kv->deleted)
		return;
	snprintf(text, sizeof(text), "%.*s", (int)kv->value_len, kv->value);
	n->asks = strtoull(text, &end, 10);
	if (*end || !kv->lease || n->asks > INT64_MAX) {
		n->asks = 0;
		e->stats.malformed++;
		return;
	}
	n->asks_lease = kv->lease;
	if (!e->questions && now >= e->compare_ms)
		e->compare_ms = now + wm_env_below(e->c.env, SPREAD_MS * wm_map_len(e->nodes) + 1);
	e->questions = true;
	wm_etcd_wake(e, 0);
}

static void on_compared(void *arg, const struct wm_verify_result *r)
{
	struct wm_etcd_answering *a = arg;
	struct wm_etcd_report *t = &a->report;

	if (!r)
		return;
	t->silent = r->members[0].state == WM_VERIFY_SILENT;
	t->count = r->found_count < WM_ETCD_REPORT_FOUND ? r->found_count : WM_ETCD_REPORT_FOUND;
	t->more = r->members[0].more || t->count < r->found_count;
	memcpy(t->found, r->found, t->count * sizeof(*t->found));
	a->compared = true;
	wm_etcd_wake(a->e, 0);
}

static void on_answered(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	(void)a; /* who asked has ended, or died, where it could not be put */
	free(e->answering);
	e->answering = NULL;
	e->compare_ms = wm_etcd_now(e) + PAUSE_MS;
}

static void answer(struct wm_etcd *e)
{
	struct wm_etcd_answering *w = e->answering;
	struct wm_buf *b = wm_etcd_body(e), report;
	char key[WM_ETCD_KEY_MAX];
	size_t len = ask_key(&w->to, key);

	wm_buf_init(&report, WM_ETCD_REPORT_MAX);
	if (!wm_etcd_report_write(&w->report, &report))
		b->failed = true;
	wm_buf_puts(b, "{\"compare\":[{");
	wm_etcd_put_key(e, b, "key", key, len);
	wm_buf_puts(b, ",\"target\":\"CREATE\",\"result\":\"GREATER\",\"create_revision\":\"0\"}],"
		       "\"success\":[{\"request_put\":{");
	len = answer_key(&w->to, &e->c.id, key);
	wm_etcd_put_key(e, b, "key", key, len);
	wm_buf_puts(b, ",\"value\":\"");
	wm_base64_put(b, report.data, report.len, "", 0);
	wm_buf_printf(b, "\",\"lease\":\"%" PRId64 "\"}}]}", w->lease);
	wm_buf_done(&report);
	wm_etcd_call(e, SLOT_VERIFY, "kv/txn", on_answered);
}

/* Begin a comparison for one who asks, if there is one. */
static void compare_for(struct wm_etcd *e)
{
	struct wm_etcd_answering *a;
	struct wm_etcd_node *n;
	size_t pos = 0;

	while ((n = wm_map_next(e->nodes, &pos)) && !n->asks)
		;
	e->questions = n != NULL;
	a = n ? calloc(1, sizeof(*a)) : NULL;
	if (!a)
		return;
	a->e = e;
	a->to = n->id;
	a->lease = n->asks_lease;
	a->report.number = n->asks;
	n->asks = 0;
	e->answering = a;
	if (wm_etcd_compare(e, on_compared, a)) {
		free(a);
		e->answering = NULL;
	}
}

/* --- both --------------------------------------------------------------------------------------
 */
static void begin_next(struct wm_etcd *e)
{
	struct wm_etcd_asking *q = e->asking;

	if (q && !q->compared)
		q->compared = !wm_etcd_compare(e, on_own, e);
	else if (e->questions && !e->answering && e->listed && wm_etcd_now(e) >= e->compare_ms)
		compare_for(e);
}

void wm_etcd_ask_step(struct wm_etcd *e)
{
	if (e->asking && all_told(e->asking))
		finish(e->asking, false);
	if (!e->verify)
		begin_next(e);
	if (!wm_etcd_ready(e, SLOT_VERIFY) || (e->c.user && !e->token) || !e->enlisted)
		return;
	if (e->ask_stale)
		clear(e);
	else if (e->asking && !e->asking->put && e->asking->members_count > 1)
		ask(e);
	else if (e->answering && e->answering->compared)
		answer(e);
}

void wm_etcd_ask_end(struct wm_etcd *e)
{
	wm_etcd_verify_end(e);
	free(e->answering);
	e->answering = NULL;
	if (e->asking)
		finish(e->asking, true);
}
