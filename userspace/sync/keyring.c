/* SPDX-License-Identifier: Apache-2.0 */
/* keyring.c - all members are asked about their keyrings: what they have, then to change it. */
#include "keyring_internal.h"
#include "userspace/sync/keyring.pb-c.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TICK_MS	   250 /* how often it is looked at who is late */
#define NAMES_TOLD 8   /* members that a sentence names */

enum turn { TO_ASK, ASKED, HAS_ANSWERED, NOT_CONCERNED };
struct asked {
	struct wm_peer_id id;
	enum turn turn;
	uint64_t asked_ms;
	uint64_t number;
};

struct keyring_job {
	struct wm_keyrings *k;
	struct keyring_ask ask; /* its number counts for nothing */
	bool force, changing;	/* all told what they have */
	struct wm_keyring_member *members;
	struct asked *asked;
	unsigned count, waits;
	struct wm_env_timer *timer;
	wm_keyring_done done;
	void *arg;
};

static bool has(const struct wm_keyring_member *m, const char *print)
{
	for (unsigned n = 0; n < m->count; n++)
		if (strcmp(m->prints[n], print) == 0)
			return true;
	return false;
}

static bool seals(const struct wm_keyring_member *m, const char *print)
{
	return m->count && strcmp(m->prints[0], print) == 0;
}

static bool fits(enum wm_keyring_what what, const char *print, const struct wm_keyring_member *m)
{
	switch (what) {
	case WM_KEYRING_ADD:
		return m->answered && has(m, print);
	case WM_KEYRING_USE:
		return m->answered && seals(m, print);
	case WM_KEYRING_REMOVE:
		return m->answered && !has(m, print);
	case WM_KEYRING_LIST:
		break;
	}
	return m->answered && !m->code;
}

bool wm_keyring_fits(const struct wm_keyring_result *r, const struct wm_keyring_member *m)
{
	return fits(r->what, r->print, m);
}

/* --- the end ---------------------------------------------------------------------------------- */
static void free_job(struct keyring_job *j)
{
	wm_env_timer_free(j->timer);
	explicit_bzero(&j->ask, sizeof(j->ask));
	free(j->members);
	free(j->asked);
	free(j);
}

static void finish(struct keyring_job *j, const struct wm_err *e)
{
	struct wm_keyring_result r = {.what = j->ask.what,
				      .code = e->code,
				      .text = e->text,
				      .members = j->members,
				      .count = j->count};

	memcpy(r.print, j->ask.print, sizeof(r.print));
	j->k->job = NULL;
	j->done(j->arg, &r);
	free_job(j);
}

/* --- may it be done? -------------------------------------------------------------------------- */
static bool lacks(const struct wm_keyring_member *m, const char *print)
{
	return !has(m, print);
}

/* Names of those of whom @p is holds. @return how many. */
static unsigned names_of(const struct keyring_job *j,
			 bool (*is)(const struct wm_keyring_member *m, const char *print),
			 char *ret, size_t cap)
{
	unsigned found = 0;
	size_t len = 0;

	*ret = '\0';
	for (unsigned n = 0; n < j->count; n++) {
		const struct wm_keyring_member *m = &j->members[n];

		if (!is(m, j->ask.print) || found++ >= NAMES_TOLD || len >= cap)
			continue;
		len += (size_t)snprintf(ret + len, cap - len, "%s%s%s", found > 1 ? ", " : "",
					m->name, m->answered ? "" : " (no answer)");
	}
	if (found > NAMES_TOLD && len < cap)
		snprintf(ret + len, cap - len, " and %u more", found - NAMES_TOLD);
	return found;
}

static int judge(const struct keyring_job *j, struct wm_err *e)
{
	char names[NAMES_TOLD * (WM_NODE_NAME_MAX + 16)];
	unsigned n;

	if (j->ask.what == WM_KEYRING_ADD)
		return 0;
	n = names_of(j, lacks, names, sizeof(names));
	if (n == j->count)
		return wm_err_set(e, WM_E_UNKNOWN, "no member has the key: add it first");
	if (j->ask.what == WM_KEYRING_USE) {
		if (!n || j->force)
			return 0;
		return wm_err_set(e, WM_E_CONFLICT,
				  "%u of %u members do not have the key and would not understand "
				  "the others: add it first, or force it: %s",
				  n, j->count, names);
	}
	n = names_of(j, seals, names, sizeof(names));
	return n ? wm_err_set(e, WM_E_CONFLICT,
			      "%u of %u members seal with this key: use another one first: %s", n,
			      j->count, names)
		 : 0;
}

/* --- asking ----------------------------------------------------------------------------------- */
static void ask(struct keyring_job *j, unsigned n)
{
	struct asked *to = &j->asked[n];
	struct keyring_ask a = j->ask;
	Waymark__Keyring__Ask m;
	uint8_t packed[KEYRING_MESSAGE_MAX];
	size_t len;

	if (!j->changing)
		a.what = WM_KEYRING_LIST;
	if (a.what != WM_KEYRING_ADD)
		a.key[0] = '\0';
	a.number = ++j->k->number;
	to->turn = ASKED;
	to->asked_ms = wm_env_ms(j->k->s->env);
	to->number = a.number;
	j->waits++;
	if (j->members[n].self) {
		keyring_do(j->k, &to->id, &a);
	} else {
		waymark__keyring__ask__init(&m);
		m.number = a.number;
		m.what = a.what;
		m.key = a.key;
		m.print = a.print;
		len = waymark__keyring__ask__pack(&m, packed); /* of bounded strings: it fits */
		wm_link_send(j->k->s->links, &to->id, WM_CHANNEL_KEYRING, packed, len);
		explicit_bzero(packed, len);
	}
	explicit_bzero(&a, sizeof(a));
}

static void expire(struct keyring_job *j)
{
	uint64_t now = wm_env_ms(j->k->s->env);

	for (unsigned n = 0; n < j->count; n++) {
		struct wm_keyring_member *m = &j->members[n];

		if (j->asked[n].turn != ASKED || now - j->asked[n].asked_ms < WM_KEYRING_MS)
			continue;
		j->asked[n].turn = HAS_ANSWERED;
		j->waits--;
		m->code = WM_E_BUSY;
		m->answered = false;
		snprintf(m->text, sizeof(m->text), "it did not answer within %d s%s",
			 WM_KEYRING_MS / 1000,
			 j->changing ? ": whether it was done is not known" : "");
	}
}

/* Whom the change concerns: who did not tell what it has is not asked for it. */
static void concern(struct keyring_job *j)
{
	j->changing = true;
	for (unsigned n = 0; n < j->count; n++) {
		const struct wm_keyring_member *m = &j->members[n];
		bool can = m->answered && !m->code &&
			   (j->ask.what != WM_KEYRING_USE || has(m, j->ask.print));

		j->asked[n].turn =
			can && !fits(j->ask.what, j->ask.print, m) ? TO_ASK : NOT_CONCERNED;
	}
}

/* @return true: nobody is left to be asked or to answer. */
static bool ask_more(struct keyring_job *j)
{
	bool left = false;

	for (unsigned n = 0; n < j->count; n++) {
		if (j->asked[n].turn != TO_ASK)
			continue;
		left = true;
		if (j->waits < WM_KEYRING_AT_ONCE)
			ask(j, n);
	}
	return !left && !j->waits;
}

static void go_on(void *arg)
{
	struct keyring_job *j = arg;
	struct wm_err e = {0};

	expire(j);
	if (!ask_more(j)) {
		wm_env_timer_arm(j->timer, TICK_MS);
		return;
	}
	if (j->changing || j->ask.what == WM_KEYRING_LIST || judge(j, &e)) {
		finish(j, &e);
		return;
	}
	concern(j);
	wm_env_timer_arm(j->timer, 0);
}

/* What another says is a stranger's: its fingerprints are some, its text ends. */
void keyring_take(struct wm_keyrings *k, const struct wm_peer_id *from,
		  const struct keyring_answer *a)
{
	struct keyring_job *j = k->job;
	struct wm_keyring_member *m;
	unsigned n;

	for (n = 0; j && n < j->count; n++)
		if (j->asked[n].turn == ASKED && j->asked[n].number == a->number &&
		    wm_peer_id_same(&j->asked[n].id, from))
			break;
	if (!j || n == j->count)
		return; /* too late, or to a former life */
	m = &j->members[n];
	j->asked[n].turn = HAS_ANSWERED;
	j->waits--;
	m->answered = true;
	m->code = a->code;
	snprintf(m->text, sizeof(m->text), "%s", a->code ? a->text : "");
	m->count = a->count;
	for (unsigned i = 0; i < a->count; i++)
		snprintf(m->prints[i], sizeof(m->prints[i]), "%s", a->prints[i]);
	wm_env_timer_arm(j->timer, 0); /* not here: it may be our own answer, while we ask */
}

static bool is_print(const char *s)
{
	return strlen(s) == WM_KEY_PRINT - 1 && strspn(s, "0123456789abcdef") == WM_KEY_PRINT - 1;
}

static const char *answer_wrong(const Waymark__Keyring__Answer *m)
{
	_Static_assert(WM_KEYS_MAX == 8 && WM_KEY_PRINT == 33, "the sentences say so");
	if (!m)
		return "what it says of its keyring cannot be read";
	if (m->n_prints > WM_KEYS_MAX)
		return "keyring reply: over 8 fingerprints";
	for (size_t n = 0; n < m->n_prints; n++)
		if (!is_print(m->prints[n]))
			return "keyring reply: a fingerprint is not 32 hexadecimal digits";
	return NULL;
}

const char *wm_keyrings_answered(struct wm_keyrings *k, const struct wm_peer_id *from,
				 const void *p, size_t len)
{
	Waymark__Keyring__Answer *m =
		len <= KEYRING_MESSAGE_MAX ? waymark__keyring__answer__unpack(NULL, len, p) : NULL;
	const char *why = answer_wrong(m);
	struct keyring_answer a = {0};

	if (!why) {
		for (size_t n = 0; n < m->n_prints; n++)
			a.prints[n] = m->prints[n];
		a.number = m->number;
		a.code = m->code;
		a.text = m->text;
		a.count = (unsigned)m->n_prints;
		keyring_take(k, from, &a);
	}
	if (m)
		waymark__keyring__answer__free_unpacked(m, NULL);
	return why;
}

/* --- an operator asks ------------------------------------------------------------------------- */
/* @p key is a key or a fingerprint. */
static int read_key(struct keyring_ask *a, enum wm_keyring_what what, const char *key,
		    struct wm_err *e)
{
	int r;

	a->what = what;
	if (what == WM_KEYRING_LIST)
		return 0;
	if (what != WM_KEYRING_ADD && is_print(key)) {
		snprintf(a->print, sizeof(a->print), "%s", key);
		return 0;
	}
	r = wm_key_print(key, a->print, e);
	if (!r)
		snprintf(a->key, sizeof(a->key), "%s", key);
	else if (what != WM_KEYRING_ADD)
		wm_err_set(e, r,
			   "a key of 32 octets in base64, or its fingerprint of 32 "
			   "hexadecimal digits, is wanted");
	return r;
}

static int by_name(const void *a, const void *b)
{
	const struct wm_member *const *x = a, *const *y = b;

	return strcasecmp((*x)->name, (*y)->name);
}

static int gather(struct keyring_job *j)
{
	struct wm_members *all = j->k->s->members;
	unsigned most = wm_members_count(all) + 1;
	const struct wm_member **sorted = calloc(most, sizeof(void *)), *m;
	size_t pos = 0;

	j->members = calloc(most, sizeof(*j->members));
	j->asked = calloc(most, sizeof(*j->asked));
	if (!sorted || !j->members || !j->asked) {
		free(sorted);
		return -ENOMEM;
	}
	while (j->count < most && (m = wm_members_next(all, &pos)))
		if (m->state != WM_MEMBER_LEFT)
			sorted[j->count++] = m;
	qsort(sorted, j->count, sizeof(void *), by_name);
	for (unsigned n = 0; n < j->count; n++) {
		snprintf(j->members[n].name, sizeof(j->members->name), "%s", sorted[n]->name);
		j->members[n].self = sorted[n]->self;
		j->asked[n].id = sorted[n]->id;
	}
	free(sorted);
	return 0;
}

int wm_sync_keyring(struct wm_sync *s, enum wm_keyring_what what, const char *key, bool force,
		    wm_keyring_done done, void *arg, struct wm_err *e)
{
	struct keyring_ask a = {0};
	struct keyring_job *j;
	int r;

	if (s->etcd)
		return wm_err_set(e, WM_E_UNSUPPORTED,
				  "sync.mode is etcd: agents send no datagrams, there are no keys");
	if (!s->keyring)
		return wm_err_set(e, WM_E_UNSUPPORTED,
				  "sync.insecure: datagrams are not sealed, there are no keys");
	if (s->keyrings->job)
		return wm_err_set(e, WM_E_BUSY,
				  "The keyrings are being asked for already, try again");
	r = read_key(&a, what, key, e);
	if (r)
		return r;
	j = calloc(1, sizeof(*j));
	if (!j)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	*j = (struct keyring_job){
		.k = s->keyrings, .ask = a, .force = force, .done = done, .arg = arg};
	explicit_bzero(&a, sizeof(a));
	j->timer = wm_env_timer_new(s->env, go_on, j);
	if (!j->timer || gather(j) || wm_env_timer_arm(j->timer, 0)) {
		free_job(j);
		return wm_err_set(e, -ENOMEM, "Out of memory");
	}
	s->keyrings->job = j;
	return 0;
}

bool wm_sync_key(const struct wm_sync *s, const char *print, char ret[static WM_KEY_TEXT])
{
	int at = s->keyring ? wm_keyring_find(s->keyring, print) : -1;

	if (at < 0)
		return false;
	wm_keyring_key(s->keyring, (unsigned)at, ret);
	return true;
}

void wm_keyrings_free(struct wm_keyrings *k)
{
	struct keyring_job *j;

	if (!k)
		return;
	wm_aside_end(k->storing); /* what was stored serves from the next start on */
	wm_keyring_free(k->next);
	wm_keyring_free(k->of);
	j = k->job;
	if (j) {
		j->done(j->arg, NULL);
		free_job(j);
	}
	explicit_bzero(&k->ask, sizeof(k->ask));
	free(k);
}
