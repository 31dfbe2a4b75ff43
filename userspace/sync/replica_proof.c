/* SPDX-License-Identifier: Apache-2.0 */
/* replica_proof.c - what an agent proves of its log: it signs where the log is and a hash of the
 * set of its objects. Sums of the digests are of a hash whose key all know, against accidents;
 * these are of one that nobody can find another set for. A log has one proof, of the place where it
 * is, which goes with each news of it and with the last page of who is asked for it; so who passes
 * a log on can leave out the newest of it, and nothing else. */
#include "replica_internal.h"

#include <errno.h>
#include <string.h>

#define SHUN_MS BACKOFF_MS /* who told what is not proved is not asked for so long */

static const char label[12] = "waymark log";

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		*p++ = (uint8_t)(v >> (24 - 8 * i));
	return p;
}

static uint8_t *put64(uint8_t *p, uint64_t v)
{
	return put32(put32(p, (uint32_t)(v >> 32)), (uint32_t)v);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

int proof_new(struct wm_replica *r, struct log *l)
{
	if (!r->c.proofs || l->shared)
		return 0;
	l->proving = calloc(1, sizeof(*l->proving));
	return l->proving ? 0 : -ENOMEM;
}

void proof_forget(struct wm_replica *r, struct log *l)
{
	struct proving *v = l->proving;

	if (!v)
		return;
	hold_clear(r, l);
	free(v->card);
	v->card = NULL;
	v->card_len = 0;
	v->keyed = v->have = false;
	v->mark = 0;
}

void proof_free(struct wm_replica *r, struct log *l)
{
	proof_forget(r, l);
	free(l->proving);
	l->proving = NULL;
}

/* --- what is in the sum ----------------------------------------------------------------------- */
int proof_element(const struct wm_replica *r, const struct wm_replica_key *k, struct position at,
		  const void *object, size_t len, uint8_t ret[static WM_SETSUM_HASH])
{
	uint8_t head[4 + 8 + 4 + WM_REPLICA_KEY_MAX], *p = head;

	p = put64(put32(p, at.epoch), at.seq);
	p = put32(p, (uint32_t)k->len); /* so that no key goes on in an object */
	memcpy(p, k->octets, k->len);
	return r->c.proofs->hash(r->c.proofs->arg, head, (size_t)(p - head) + k->len, object, len,
				 ret);
}

void proof_set(const struct wm_replica *r, struct log *l, struct object *o, const uint8_t *element)
{
	const struct wm_replica_proofs *c = r->c.proofs;

	if (!l->proving)
		return;
	if (o->proved && element && !memcmp(o->element, element, sizeof(o->element)))
		return;
	if (o->proved)
		(void)c->add(c->arg, &l->proving->sum, o->element, true);
	/* where that fails the log is not what was proved, and is pulled again */
	o->proved = false;
	if (!element || c->add(c->arg, &l->proving->sum, element, false))
		return;
	o->proved = true;
	memcpy(o->element, element, sizeof(o->element));
}

/* --- what is signed --------------------------------------------------------------------------- */
struct text {
	uint8_t octets[sizeof(label) + 16 + 4 + 8 + WM_SETSUM_HASH];
};

#define TEXT_HASH (sizeof(struct text) - WM_SETSUM_HASH) /* where it is */

static void text_put(struct text *ret, const struct log *l, struct position at)
{
	uint8_t *p = ret->octets;

	memcpy(p, label, sizeof(label));
	p += sizeof(label);
	memcpy(p, l->id.octets, sizeof(l->id.octets));
	put64(put32(p + sizeof(l->id.octets), at.epoch), at.seq);
}

static int text_of(const struct wm_replica *r, const struct log *l, struct position at,
		   const struct wm_setsum *sum, struct text *ret)
{
	text_put(ret, l, at);
	return r->c.proofs->sum(r->c.proofs->arg, sum, ret->octets + TEXT_HASH);
}

bool proof_fits(const struct wm_replica *r, const struct log *l, struct position at,
		const struct wm_setsum *sum, const uint8_t proof[static PROOF_OCTETS],
		uint8_t *ret_hash)
{
	const struct wm_replica_proofs *c = r->c.proofs;
	struct text t;

	if (!l->proving->keyed || text_of(r, l, at, sum, &t))
		return false;
	if (ret_hash)
		memcpy(ret_hash, t.octets + TEXT_HASH, WM_SETSUM_HASH);
	return c->verify(c->arg, l->proving->key, t.octets, sizeof(t.octets), proof + PROOF_MARK);
}

void proof_have(struct log *l, const uint8_t proof[static PROOF_OCTETS])
{
	l->proving->have = true;
	l->proving->at = l->at;
	memcpy(l->proving->proof, proof, PROOF_OCTETS);
}

bool proof_own(struct wm_replica *r, struct position at)
{
	const struct wm_replica_proofs *c = r->c.proofs;
	struct proving *v = r->own->proving;
	struct text t;

	if (v->have && !position_cmp(v->at, at))
		return true;
	v->have = false;
	if (text_of(r, r->own, at, &v->sum, &t) ||
	    c->sign(c->arg, t.octets, sizeof(t.octets), v->proof + PROOF_MARK))
		return false;
	put32(v->proof, v->mark);
	v->at = at;
	v->have = true;
	return true;
}

bool proof_show(const struct wm_replica *r, const struct log *l, uint8_t ret[static PROVED_OCTETS])
{
	if (!l->proving || l->own || !proof_here(l))
		return false;
	memcpy(ret, l->proving->proof, PROOF_OCTETS);
	return !r->c.proofs->sum(r->c.proofs->arg, &l->proving->sum, ret + PROOF_OCTETS);
}

/* Signatures of Ed25519 have no chance in them: what we sign again is the same. */
bool proof_was_ours(const struct wm_replica *r, struct position at, const ProtobufCBinaryData *p)
{
	const struct wm_replica_proofs *c = r->c.proofs;
	uint8_t again[WM_REPLICA_SIGNATURE];
	struct text t;

	if (p->len != PROVED_OCTETS)
		return false;
	text_put(&t, r->own, at);
	memcpy(t.octets + TEXT_HASH, p->data + PROOF_OCTETS, WM_SETSUM_HASH);
	return !c->sign(c->arg, t.octets, sizeof(t.octets), again) &&
	       !memcmp(again, p->data + PROOF_MARK, sizeof(again));
}

/* --- whose key it is -------------------------------------------------------------------------- */
static uint32_t mark_of(const struct wm_replica *r, const void *card, size_t len)
{
	uint8_t hash[WM_SETSUM_HASH];
	uint32_t mark;

	if (r->c.proofs->hash(r->c.proofs->arg, card, len, "", 0, hash))
		return 1;
	mark = get32(hash);
	return mark ? mark : 1;
}

static int card_keep(const struct wm_replica *r, struct proving *v, const void *card, size_t len)
{
	char *copy = malloc(len);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, card, len);
	free(v->card);
	v->card = copy;
	v->card_len = len;
	v->mark = mark_of(r, card, len);
	return 0;
}

static bool card_is(const struct proving *v, const void *card, size_t len)
{
	return v->card && v->card_len == len && !memcmp(v->card, card, len);
}

void proof_own_untold(struct wm_replica *r)
{
	struct log *l = r->own;
	struct position at = {l->at.epoch, r->flushed};

	for (struct object *o; l->proving && (o = log_next(l, at, NULL)); at = object_at(o))
		proof_set(r, l, o, NULL);
}

void proof_own_card(struct wm_replica *r)
{
	struct proving *v = r->own->proving;
	struct wm_buf b;

	if (!v)
		return;
	wm_buf_init(&b, WM_REPLICA_CARD_MAX);
	if (!r->c.proofs->card(r->c.proofs->arg, &b) && !b.failed && !card_is(v, b.data, b.len) &&
	    !card_keep(r, v, b.data, b.len))
		v->have = false; /* the proof names its card */
	wm_buf_done(&b);
}

int proof_card(struct wm_replica *r, struct log *l, const ProtobufCBinaryData *card,
	       struct wm_err *e)
{
	const struct wm_replica_proofs *c = r->c.proofs;
	struct proving *v = l->proving;
	uint8_t key[WM_REPLICA_KEY];
	int err;

	if (card_is(v, card->data, card->len))
		return 0;
	if (card->len > WM_REPLICA_CARD_MAX)
		return wm_err_set(e, WM_E_INVALID, "a card has over %u octets",
				  (unsigned)WM_REPLICA_CARD_MAX);
	err = c->judge(c->arg, &l->id, card->data, card->len, v->keyed ? v->key : NULL, key, e);
	if (!err)
		err = card_keep(r, v, card->data, card->len);
	if (err)
		return err;
	memcpy(v->key, key, sizeof(v->key));
	v->keyed = true;
	return 0;
}

/* --- over a restart --------------------------------------------------------------------------- */
bool wm_replica_next_proved(const struct wm_replica *r, size_t *pos, struct wm_replica_proved *ret)
{
	const struct log *l;

	while ((l = log_walk(r, pos))) {
		const struct proving *v = l->proving;

		if (!v || l->own || !v->card || !v->keyed || !proof_here(l) || l->distrust)
			continue;
		*ret = (struct wm_replica_proved){.origin = l->id,
						  .epoch = v->at.epoch,
						  .seq = v->at.seq,
						  .proof = v->proof,
						  .key = v->key,
						  .card = v->card,
						  .card_len = v->card_len};
		return true;
	}
	return false;
}

bool wm_replica_prove(struct wm_replica *r, const struct wm_replica_proved *p)
{
	const struct position at = {p->epoch, p->seq};
	struct log *l = log_get(r, &p->origin);
	struct proving *v = l && !l->own ? l->proving : NULL;

	/* what is behind the newest object here was of tombstones that were forgotten */
	if (!v || v->have || position_cmp(at, l->at) < 0 || at.epoch != l->at.epoch)
		return false;
	memcpy(v->key, p->key, sizeof(v->key));
	v->keyed = true;
	if (!proof_fits(r, l, at, &v->sum, p->proof, NULL) ||
	    card_keep(r, v, p->card, p->card_len)) {
		v->keyed = false;
		return false;
	}
	log_set_at(r, l, at);
	proof_have(l, p->proof);
	l->state = LOG_VERIFIED;
	return true;
}

/* --- what is not proved ----------------------------------------------------------------------- */
void proof_shun(struct wm_replica *r, const struct peer *from, struct log *l)
{
	l->proving->shunned = from->id;
	l->proving->shun_ms = wm_env_ms(r->c.env) + SHUN_MS;
	l->told = l->at; /* that there is more was its word */
	r->ask = true;
	replica_work_soon(r, 0);
}

void proof_forged(struct wm_replica *r, struct peer *from, struct log *l)
{
	uint64_t now = wm_env_ms(r->c.env);
	char id[WM_PEER_ID_TEXT];

	r->stats.forged++;
	if (from->forged_ms && now - from->forged_ms < BRAKE_WINDOW_MS)
		return;
	from->forged_ms = now;
	wm_peer_id_format(&l->id, id);
	replica_alarm(r, &from->id,
		      "what it told of the log of agent %s is not what that agent proved: dropped, "
		      "others are asked",
		      id);
}
