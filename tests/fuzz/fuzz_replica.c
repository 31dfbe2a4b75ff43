/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry sync */
/* fuzz_replica.c - what peers tell a replica. The input is a list of steps: an octet that says what
 * (see step()), two of a length, and so many octets of a message. Whatever they say, reading stays
 * inside them, our own log stays as it is, the replica has what its store has, and one that is
 * started from that store comes to the same digest. All of it once without proofs and once with
 * them, where a signature holds that begins with an octet which an input can have. */
#include "check.h"
#include "tests/unit/env_virtual.h"
#include "userspace/base/map.h"
#include "userspace/sync/replica.h"
#include "userspace/sync/replica.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OBJECTS 64
#define PEERS	3

struct kept {
	struct wm_replica_change c;
	uint8_t name[16 + WM_REPLICA_KEY_MAX];
	size_t name_len;
	void *object;
	char *semver;
};

static struct {
	struct virtual_env v;
	struct wm_replica *r;
	struct wm_map *store;
	struct wm_peer_id id, peers[PEERS];
	uint32_t asked[PEERS], epoch;
	uint64_t seq;
	unsigned takes;
	bool proves;
} f;
static struct wm_hasher *hasher;

#define HOLDS 'S' /* what a signature and a card begin with that are believed */

static int hash(void *arg, const void *head, size_t head_len, const void *p, size_t len,
		uint8_t ret[static WM_SETSUM_HASH])
{
	(void)arg;
	return wm_hasher_hash(hasher, head, head_len, p, len, ret);
}

static int add(void *arg, struct wm_setsum *s, const uint8_t element[static WM_SETSUM_HASH],
	       bool out)
{
	(void)arg;
	return wm_setsum_add(hasher, s, element, out);
}

static int sum(void *arg, const struct wm_setsum *s, uint8_t ret[static WM_SETSUM_HASH])
{
	(void)arg;
	return wm_setsum_hash(hasher, s, ret);
}

static int sign(void *arg, const void *p, size_t len, uint8_t ret[static WM_REPLICA_SIGNATURE])
{
	(void)arg;
	memset(ret, 0, WM_REPLICA_SIGNATURE);
	memcpy(ret + 1, p, len < WM_REPLICA_SIGNATURE - 1 ? len : WM_REPLICA_SIGNATURE - 1);
	ret[0] = HOLDS;
	return 0;
}

static bool verify(void *arg, const uint8_t key[static WM_REPLICA_KEY], const void *p, size_t len,
		   const uint8_t signature[static WM_REPLICA_SIGNATURE])
{
	(void)arg, (void)key, (void)p, (void)len;
	return signature[0] == HOLDS;
}

static int card(void *arg, struct wm_buf *b)
{
	(void)arg;
	return wm_buf_putc(b, HOLDS) ? 0 : -ENOMEM;
}

static int judge(void *arg, const struct wm_peer_id *origin, const void *p, size_t len,
		 const uint8_t *known, uint8_t ret[static WM_REPLICA_KEY], struct wm_err *e)
{
	const uint8_t *octets = p;

	(void)arg, (void)known;
	check(len && len <= WM_REPLICA_CARD_MAX && !wm_peer_id_same(origin, &f.id));
	memset(ret, octets[len - 1], WM_REPLICA_KEY);
	if (*octets == HOLDS)
		return 0;
	return wm_err_set(e, *octets == 'L' ? WM_E_UNKNOWN : WM_E_INVALID, "it is not believed");
}

static const struct wm_replica_proofs proofs = {.hash = hash,
						.add = add,
						.sum = sum,
						.sign = sign,
						.verify = verify,
						.card = card,
						.judge = judge};

static size_t name_of(uint8_t *ret, const struct wm_peer_id *origin, bool shared,
		      const struct wm_replica_key *k)
{
	memset(ret, 0, 16);
	if (!shared)
		memcpy(ret, origin->octets, 16);
	memcpy(ret + 16, k->octets, k->len);
	return 16 + k->len;
}

static struct kept *kept(const struct wm_peer_id *origin, bool shared,
			 const struct wm_replica_key *k)
{
	uint8_t name[16 + WM_REPLICA_KEY_MAX];

	return wm_map_get(f.store, name, name_of(name, origin, shared, k));
}

static void kept_free(struct kept *k)
{
	wm_map_del(f.store, k->name, k->name_len);
	free(k->object);
	free(k->semver);
	free(k);
}

static void keep(const struct wm_replica_change *c)
{
	bool shared = c->version.origin == WM_ORIGIN_SHARED;
	struct kept *k = kept(&c->origin, shared, &c->key), *old = k;

	k = calloc(1, sizeof(*k));
	if (!k)
		abort();
	k->c = *c;
	k->name_len = name_of(k->name, &c->origin, shared, &c->key);
	k->c.key.octets = k->name + 16;
	if (!c->gone) {
		check(c->object && c->len);
		k->c.object = k->object = malloc(c->len);
		memcpy(k->object, c->object, c->len);
	}
	k->c.semver = k->semver = c->semver ? strdup(c->semver) : NULL;
	if (old)
		kept_free(old);
	check(!wm_map_put(f.store, k->name, k->name_len, k, NULL));
}

static int read_object(void *arg, const struct wm_peer_id *origin, bool shared,
		       const struct wm_replica_key *k, struct wm_buf *b)
{
	struct kept *o = kept(origin, shared, k);

	(void)arg;
	return !o || o->c.gone ? WM_E_UNKNOWN : wm_buf_put(b, o->object, o->c.len) ? 0 : -ENOMEM;
}

static int take(void *arg, const struct wm_replica_change *c, unsigned count)
{
	(void)arg;
	if (f.takes++ % 16 == 15)
		return WM_E_BUSY;
	for (unsigned i = 0; i < count; i++) {
		check(c[i].version.origin == WM_ORIGIN_SHARED ||
		      !wm_peer_id_same(&c[i].origin, &f.id));
		check(c[i].key.len <= WM_REPLICA_KEY_MAX && c[i].len <= WM_REPLICA_OBJECT_MAX);
		keep(&c[i]);
	}
	return 0;
}

/* Remember what was asked, so that pages can answer it. */
static void send_to(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	Wm__Replica__Message *m;

	(void)arg;
	if (((const uint8_t *)p)[0])
		return;
	m = wm__replica__message__unpack(NULL, len - 1, (const uint8_t *)p + 1);
	check(m != NULL);
	for (unsigned i = 0; m->is_case == WM__REPLICA__MESSAGE__IS_PULL && i < PEERS; i++)
		if (wm_peer_id_same(to, &f.peers[i]))
			f.asked[i] = m->pull->number;
	wm__replica__message__free_unpacked(m, NULL);
}

static void spread(void *arg, const void *p, size_t len)
{
	(void)arg, (void)p;
	check(len > 0);
}

static uint32_t restored(void *arg, uint32_t above)
{
	(void)arg;
	f.epoch = above + 1;
	return f.epoch;
}

static struct wm_replica *start(void)
{
	struct wm_replica_config c = {.env = &f.v.env,
				      .id = f.id,
				      .epoch = f.epoch,
				      .seq = f.seq,
				      .objects_max = OBJECTS,
				      .proofs = f.proves ? &proofs : NULL,
				      .tombstone_min_ms = 1000,
				      .tombstone_max_ms = 5000,
				      .read = read_object,
				      .take = take,
				      .send = send_to,
				      .spread = spread,
				      .restored = restored};

	return wm_replica_new(&c);
}

static void own(const char *id, const char *text)
{
	const struct wm_replica_change c = {.origin = f.id,
					    .version = {WM_ORIGIN_OWN, f.epoch, ++f.seq},
					    .key = {id, strlen(id)},
					    .gone = !text,
					    .gone_ms = 1,
					    .object = text,
					    .len = text ? strlen(text) : 0};

	if (wm_replica_own(f.r, &c) == 0)
		keep(&c);
}

/* The message, with the number of the pull that it could answer. */
static void hear(unsigned peer, bool tree, bool answer, const uint8_t *p, size_t len)
{
	Wm__Replica__Message *m =
		answer && len ? wm__replica__message__unpack(NULL, len - 1, p + 1) : NULL;
	struct wm_err e = {0};
	uint8_t *copy;
	int err;

	if (m && m->is_case == WM__REPLICA__MESSAGE__IS_PAGE)
		m->page->number = f.asked[peer];
	if (m)
		len = 1 + wm__replica__message__get_packed_size(m);
	copy = calloc(1, len ? len : 1); /* exact: a read behind the end is seen */
	check(copy != NULL);
	if (m) {
		wm__replica__message__pack(m, copy + 1);
		wm__replica__message__free_unpacked(m, NULL);
	} else {
		memcpy(copy, p, len);
	}
	err = tree ? wm_replica_spread(f.r, &f.peers[peer], copy, len, &e)
		   : wm_replica_receive(f.r, &f.peers[peer], copy, len, &e);
	check(!err || (err == 1 && tree && f.proves) ||
	      (err == WM_E_INVALID && e.code == err && *e.text));
	free(copy);
}

static void step(uint8_t what, const uint8_t *p, size_t len)
{
	unsigned peer = what >> 4 & 3;

	peer = peer < PEERS ? peer : 0;
	switch (what & 7) {
	case 0:
	case 1:
		hear(peer, what & 1, what & 8, p, len);
		break;
	case 2:
		virtual_env_pass(&f.v, len ? p[0] * 16u : 1);
		break;
	case 3:
		wm_replica_down(f.r, &f.peers[peer]);
		break;
	case 4:
		wm_replica_up(f.r, &f.peers[peer]);
		break;
	case 5:
		wm_replica_compare(f.r, &f.peers[peer], p, len);
		break;
	case 6:
		own(what & 8 ? "a" : "b", what & 64 ? NULL : "text");
		break;
	default:
		if (what & 8)
			wm_replica_forget(f.r, &f.peers[peer]);
		else
			wm_replica_member(f.r, &f.peers[peer], what & 64);
	}
}

/* What is here is what the store says. */
static void compare(void)
{
	uint8_t before[16], after[16];
	struct wm_replica_proved p;
	struct wm_replica *r;
	struct kept *k;
	size_t pos = 0, live = 0;

	wm_replica_digest(f.r, before);
	while ((k = wm_map_next(f.store, &pos)))
		live += !k->c.gone;
	check(live == wm_replica_objects(f.r));
	r = start();
	pos = 0;
	while ((k = wm_map_next(f.store, &pos)))
		if (!k->c.gone)
			check(wm_replica_recover(r, &k->c) == 0);
	pos = 0;
	while (wm_replica_next_proved(f.r, &pos, &p))
		(void)wm_replica_prove(r, &p);
	wm_replica_free(f.r);
	wm_replica_digest(r, after);
	check(!memcmp(before, after, sizeof(before)));
	wm_replica_free(r);
}

static void run(const uint8_t *data, size_t size, bool proves)
{
	const struct wm_replica_key own_key = {"own", 3};
	struct kept *k;
	size_t pos;

	memset(&f, 0, sizeof(f));
	f.proves = proves;
	virtual_env_init(&f.v, 1);
	f.store = wm_map_new(1u << 20);
	f.id.octets[15] = 1;
	for (unsigned i = 0; i < PEERS; i++)
		f.peers[i].octets[15] = (uint8_t)(i + 2);
	f.epoch = 1767225600;
	f.r = start();
	check(f.store && f.r);
	wm_replica_up(f.r, &f.peers[0]);
	wm_replica_up(f.r, &f.peers[1]);
	own("own", "mine");
	while (size >= 3) {
		size_t len = (size_t)data[1] << 8 | data[2];

		len = len < size - 3 ? len : size - 3;
		step(data[0], data + 3, len);
		data += 3 + len;
		size -= 3 + len;
	}
	k = kept(&f.id, false, &own_key);
	check(k && k->c.len == 4 && !memcmp(k->object, "mine", 4));
	compare();
	for (pos = 0; (k = wm_map_next(f.store, &pos));)
		kept_free(k);
	wm_map_free(f.store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!hasher)
		hasher = wm_hasher_new();
	check(hasher != NULL);
	run(data, size, false);
	run(data, size, true);
	return 0;
}
