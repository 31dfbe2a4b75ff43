/* SPDX-License-Identifier: Apache-2.0 */
/* keyring_change.c - this agent's ring: read at the start, changed when an operator asked for it,
 * here or at another member. */
#include "keyring_internal.h"
#include "userspace/base/log.h"
#include "userspace/sync/keyring.pb-c.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const words[] = {"list", "add", "use", "remove"};

/* --- answers ---------------------------------------------------------------------------------- */
static void send_answer(struct wm_keyrings *k, const struct wm_peer_id *to,
			struct keyring_answer *a)
{
	Waymark__Keyring__Answer m;
	uint8_t packed[KEYRING_MESSAGE_MAX];
	char text[WM_KEYRING_TEXT_MAX];

	snprintf(text, sizeof(text), "%s", a->text);
	waymark__keyring__answer__init(&m);
	m.number = a->number;
	m.code = a->code;
	m.text = text;
	m.prints = a->prints;
	m.n_prints = a->count;
	if (waymark__keyring__answer__get_packed_size(&m) <= sizeof(packed))
		wm_link_send(k->s->links, to, WM_CHANNEL_KEYRING_REPLY, packed,
			     waymark__keyring__answer__pack(&m, packed));
}

static void answer(struct wm_keyrings *k, const struct wm_peer_id *to, uint64_t number,
		   const struct wm_err *e)
{
	char prints[WM_KEYS_MAX][WM_KEY_PRINT];
	struct keyring_answer a = {.number = number, .code = e->code, .text = e->text};

	a.count = k->s->keyring ? wm_keyring_count(k->s->keyring) : 0;
	for (unsigned n = 0; n < a.count; n++) {
		wm_keyring_print(k->s->keyring, n, prints[n]);
		a.prints[n] = prints[n];
	}
	if (wm_peer_id_same(to, &k->s->id))
		keyring_take(k, to, &a);
	else
		send_answer(k, to, &a);
}

/* --- a change --------------------------------------------------------------------------------- */
/* The copy gets the change. */
static int edit(struct wm_keyring *ring, const struct keyring_ask *a, struct wm_err *e)
{
	char key[WM_KEY_TEXT];
	int at, r;

	if (a->what == WM_KEYRING_ADD)
		return wm_keyring_add(ring, a->key, e);
	at = wm_keyring_find(ring, a->print);
	if (at < 0)
		return wm_err_set(e, WM_E_UNKNOWN, "the key is not in the ring");
	wm_keyring_key(ring, (unsigned)at, key);
	r = a->what == WM_KEYRING_USE ? wm_keyring_use(ring, key, e)
				      : wm_keyring_remove(ring, key, e);
	explicit_bzero(key, sizeof(key));
	return r;
}

/* On a thread of its own. */
static void store(void *arg)
{
	struct wm_keyrings *k = arg;

	k->stored = wm_keyring_save(k->next, k->path, k->of);
}

static const char *name_of(const struct wm_keyrings *k, const struct wm_peer_id *id)
{
	const struct wm_member *m = wm_members_by_id(k->s->members, id);

	return m ? m->name : "";
}

static void on_stored(void *arg)
{
	struct wm_keyrings *k = arg;
	char print[WM_KEY_PRINT];
	struct wm_err e = {0};

	k->storing = NULL;
	memcpy(print, k->ask.print, sizeof(print));
	if (k->ask.what == WM_KEYRING_ADD)
		(void)wm_key_print(k->ask.key, print, NULL);
	explicit_bzero(k->ask.key, sizeof(k->ask.key));
	if (k->stored) {
		wm_err_set(&e, k->stored, "%s: %s", k->path, wm_err_str(k->stored));
		wm_error("keyring.failed", "what=%s fingerprint=%s by=%s text=%s",
			 words[k->ask.what], print, name_of(k, &k->asker), wm_log_q(e.text));
		wm_keyring_free(k->next);
	} else {
		wm_keyring_free(k->s->keyring);
		k->s->keyring = k->next;
		wm_info("keyring.changed", "what=%s fingerprint=%s by=%s", words[k->ask.what],
			print, name_of(k, &k->asker));
	}
	k->next = NULL;
	answer(k, &k->asker, k->ask.number, &e);
}

static int begin(struct wm_keyrings *k, struct wm_err *e)
{
	int r = wm_keyring_copy(k->s->keyring, &k->next);

	if (r)
		return wm_err_set(e, r, "out of memory");
	r = edit(k->next, &k->ask, e);
	k->stored = 0;
	if (!r && *k->path) {
		r = wm_aside_start(k->s->c.loop, store, on_stored, k, &k->storing);
		if (r)
			wm_err_set(e, r, "cannot store it: %s", wm_err_str(r));
	}
	if (!r)
		return 0;
	wm_keyring_free(k->next);
	k->next = NULL;
	return r;
}

void keyring_do(struct wm_keyrings *k, const struct wm_peer_id *asker, const struct keyring_ask *a)
{
	struct wm_err e = {0};

	if (!k->s->keyring)
		wm_err_set(&e, WM_E_UNSUPPORTED, "sync.insecure: there are no keys");
	else if (a->what > WM_KEYRING_REMOVE)
		wm_err_set(&e, WM_E_UNSUPPORTED, "its version does not know how");
	else if (a->what != WM_KEYRING_LIST && k->next)
		wm_err_set(&e, WM_E_BUSY, "another change of its keys is being stored");
	if (e.code || a->what == WM_KEYRING_LIST) {
		answer(k, asker, a->number, &e);
		return;
	}
	k->ask = *a;
	k->asker = *asker;
	if (begin(k, &e))
		answer(k, asker, a->number, &e);
	else if (!k->storing)
		on_stored(k);
}

static const char *ask_wrong(const Waymark__Keyring__Ask *m)
{
	_Static_assert(WM_KEY_TEXT == 45 && WM_KEY_PRINT == 33, "the sentences say so");
	if (!m)
		return "what it asks of the keyring cannot be read";
	if (strlen(m->key) >= WM_KEY_TEXT)
		return "keyring: a key of over 44 octets";
	return strlen(m->print) >= WM_KEY_PRINT ? "keyring: a fingerprint of over 32 octets" : NULL;
}

const char *wm_keyrings_asked(struct wm_keyrings *k, const struct wm_peer_id *from, const void *p,
			      size_t len)
{
	Waymark__Keyring__Ask *m =
		len <= KEYRING_MESSAGE_MAX ? waymark__keyring__ask__unpack(NULL, len, p) : NULL;
	const char *why = ask_wrong(m);
	struct keyring_ask a = {0};

	if (!why) {
		a.number = m->number;
		a.what = m->what > WM_KEYRING_REMOVE ? WM_KEYRING_REMOVE + 1 : m->what;
		snprintf(a.key, sizeof(a.key), "%s", m->key);
		snprintf(a.print, sizeof(a.print), "%s", m->print);
	}
	if (m) {
		explicit_bzero(m->key, strlen(m->key));
		waymark__keyring__ask__free_unpacked(m, NULL);
	}
	if (!why)
		keyring_do(k, from, &a);
	explicit_bzero(a.key, sizeof(a.key));
	return why;
}

/* --- life ------------------------------------------------------------------------------------- */
/* What the operator's file says, or what was made of it while agents ran. */
static int load(struct wm_keyrings *k, struct wm_err *e)
{
	struct wm_err why = {0};
	int r = wm_keyring_load(k->s->c.keyring_file, &k->of, e);

	if (r)
		return r;
	r = *k->path ? wm_keyring_load_kept(k->path, k->of, &k->s->keyring, &why) : -ENOENT;
	if (!r) {
		wm_info("keyring.kept",
			"file=%s text=\"keys were changed while agents ran: these "
			"serve, until sync.keyring_file says something else\"",
			wm_log_q(k->path));
		return 0;
	}
	if (r == WM_E_CONFLICT) {
		wm_warn("keyring.replaced",
			"file=%s text=\"sync.keyring_file has other keys than "
			"those that were changed while agents ran: its own serve\"",
			wm_log_q(k->path));
		(void)unlink(k->path);
	} else if (r != -ENOENT) {
		return wm_err_set(e, r, "%s", why.text);
	}
	r = wm_keyring_copy(k->of, &k->s->keyring);
	return r ? wm_err_set(e, r, "out of memory: keyring") : 0;
}

int wm_keyrings_new(struct wm_sync *s, struct wm_keyrings **ret, struct wm_err *e)
{
	struct wm_keyrings *k = calloc(1, sizeof(*k));

	if (!k)
		return wm_err_set(e, -ENOMEM, "out of memory: keyring");
	*ret = k;
	k->s = s;
	k->number = wm_env_random64(s->env); /* answers to a former life are nobody's */
	if (s->c.data_dir)
		snprintf(k->path, sizeof(k->path), "%s/keyring", s->c.data_dir);
	return s->c.insecure ? 0 : load(k, e);
}
