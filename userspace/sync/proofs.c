/* SPDX-License-Identifier: Apache-2.0 */
/* proofs.c - whose key proves a log, for the replica. An agent's card has its key, and with
 * certificates what vouches for it: the node's certificate, and its signature of the agent's id and
 * the key. So who never spoke with an agent can hold its word, whoever brings it. A certificate
 * names a node and no id: which node an id is, members say. Without certificates a key is the
 * agent's that was first told of it, until the agent is forgotten. */
#include "internal.h"
#include "userspace/base/log.h"
#include "userspace/net/tls.h"
#include "userspace/security/proof.h"
#include "userspace/security/setsum.h"
#include "userspace/sync/proof.pb-c.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LABEL "waymark proof key"

struct wm_proofs {
	struct wm_sync *s;
	struct wm_proof_key *key;
	struct wm_hasher *hasher;
	struct wm_buf card;
	uint64_t changes; /* of certificates, when it was made */
	struct wm_replica_proofs calls;
};

/* What vouches: of the id and the key. */
struct vouched {
	char octets[sizeof(LABEL) + 16 + WM_PROOF_KEY];
};

static struct vouched vouched_of(const struct wm_peer_id *id, const uint8_t *key)
{
	struct vouched v;

	memcpy(v.octets, LABEL, sizeof(LABEL));
	memcpy(v.octets + sizeof(LABEL), id->octets, sizeof(id->octets));
	memcpy(v.octets + sizeof(LABEL) + sizeof(id->octets), key, WM_PROOF_KEY);
	return v;
}

/* --- our card --------------------------------------------------------------------------------- */
static int pack_card(struct wm_proofs *p, Wm__Proof__Card *c)
{
	size_t len = wm__proof__card__get_packed_size(c);

	wm_buf_reset(&p->card);
	if (!wm_buf_reserve(&p->card, len))
		return -ENOMEM;
	p->card.len = wm__proof__card__pack(c, (uint8_t *)p->card.data);
	return 0;
}

static int make_card(struct wm_proofs *p, const struct wm_cert *cert)
{
	uint8_t key[WM_PROOF_KEY], voucher[WM_PROOF_VOUCHER_MAX], *der[WM_PROOF_CHAIN_MAX] = {0};
	ProtobufCBinaryData chain[WM_PROOF_CHAIN_MAX];
	struct vouched v;
	Wm__Proof__Card c;
	int r = 0;

	wm__proof__card__init(&c);
	wm_proof_key_public(p->key, key);
	c.key = (ProtobufCBinaryData){sizeof(key), key};
	c.chain = chain;
	while (cert && c.n_chain < WM_PROOF_CHAIN_MAX) {
		size_t len = wm_proof_der(cert, (unsigned)c.n_chain, &der[c.n_chain]);

		if (!len)
			break;
		chain[c.n_chain] = (ProtobufCBinaryData){len, der[c.n_chain]};
		c.n_chain++;
	}
	v = vouched_of(&p->s->id, key);
	if (cert) {
		c.voucher.len = wm_proof_vouch(cert, v.octets, sizeof(v.octets), voucher);
		c.voucher.data = voucher;
		r = c.voucher.len ? 0 : -EIO;
	}
	if (!r)
		r = pack_card(p, &c);
	for (unsigned n = 0; n < WM_PROOF_CHAIN_MAX; n++)
		wm_proof_der_free(der[n]);
	return r;
}

static int card(void *arg, struct wm_buf *b)
{
	struct wm_proofs *p = arg;
	struct wm_tls *tls = wm_links_tls(p->s->links);
	uint64_t changes = tls ? wm_tls_changes(tls) : 0;
	int r = 0;

	if (!p->card.len || changes != p->changes)
		r = make_card(p, tls ? wm_tls_cert(tls) : NULL);
	if (r) {
		wm_error("sync.proof",
			 "text=\"no certificate vouches for this agent's key: others do not take "
			 "its log\"");
		return r;
	}
	p->changes = changes;
	return wm_buf_put(b, p->card.data, p->card.len) ? 0 : -ENOMEM;
}

/* --- others' ---------------------------------------------------------------------------------- */
static int judge_vouched(const struct wm_proofs *p, const struct wm_tls *tls,
			 const struct wm_peer_id *origin, const Wm__Proof__Card *c,
			 struct wm_err *e)
{
	const struct wm_member *m = wm_members_by_id(p->s->members, origin);
	struct vouched v = vouched_of(origin, c->key.data);
	const struct wm_proof_octets signature = {c->voucher.data, c->voucher.len};
	struct wm_proof_octets chain[WM_PROOF_CHAIN_MAX];
	struct wm_identity is;
	int r;

	if (c->n_chain > WM_PROOF_CHAIN_MAX)
		return wm_err_set(e, WM_E_INVALID, "over %d certificates vouch",
				  WM_PROOF_CHAIN_MAX);
	for (size_t n = 0; n < c->n_chain; n++)
		chain[n] = (struct wm_proof_octets){c->chain[n].data, c->chain[n].len};
	r = wm_proof_vouched(wm_tls_cert(tls), (struct wm_proof_chain){chain, (unsigned)c->n_chain},
			     v.octets, sizeof(v.octets), &signature, &is, e);
	/* of an agent that is gone and that nobody remembers: a node which is nobody else */
	if (!r && !m && wm_members_by_name(p->s->members, is.node))
		return wm_err_set(e, WM_E_UNKNOWN, "it is no member yet");
	if (!r && ((m && strcasecmp(is.node, m->name) != 0) ||
		   strcasecmp(is.datacenter, p->s->c.datacenter) != 0))
		r = wm_err_set(e, WM_E_INVALID,
			       "who vouches is node %.64s in %.64s, not node %.64s", is.node,
			       is.datacenter, m ? m->name : is.node);
	return r;
}

static int judge(void *arg, const struct wm_peer_id *origin, const void *data, size_t len,
		 const uint8_t *known, uint8_t ret[static WM_REPLICA_KEY], struct wm_err *e)
{
	const struct wm_proofs *p = arg;
	const struct wm_tls *tls = wm_links_tls(p->s->links);
	Wm__Proof__Card *c = wm__proof__card__unpack(NULL, len, data);
	int r = 0;

	if (!c)
		return wm_err_set(e, WM_E_INVALID, "what says whose it is cannot be read");
	if (c->key.len != WM_PROOF_KEY)
		r = wm_err_set(e, WM_E_INVALID,
			       "what says whose it is has a key of %zu octets, not %d", c->key.len,
			       WM_PROOF_KEY);
	else if (tls)
		r = judge_vouched(p, tls, origin, c, e);
	else if (known && memcmp(known, c->key.data, WM_PROOF_KEY) != 0)
		r = wm_err_set(e, WM_E_INVALID,
			       "its key is another than the one that was first seen: if that is "
			       "right, force-leave its node");
	if (!r)
		memcpy(ret, c->key.data, WM_PROOF_KEY);
	wm__proof__card__free_unpacked(c, NULL);
	return r;
}

/* --- over a restart --------------------------------------------------------------------------- */
static ProtobufCBinaryData octets_of(const void *p, size_t len)
{
	return (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)p};
}

bool wm_proofs_kept_write(const struct wm_replica_proved *k, struct wm_buf *b)
{
	uint32_t head;
	size_t len;
	Wm__Proof__Kept m;

	wm__proof__kept__init(&m);
	m.origin = octets_of(k->origin.octets, sizeof(k->origin.octets));
	m.epoch = k->epoch;
	m.seq = k->seq;
	m.proof = octets_of(k->proof, WM_REPLICA_PROOF);
	m.key = octets_of(k->key, WM_REPLICA_KEY);
	m.card = octets_of(k->card, k->card_len);
	len = wm__proof__kept__get_packed_size(&m);
	if (!wm_buf_reserve(b, sizeof(head) + len))
		return false;
	head = htobe32((uint32_t)len);
	wm_buf_put(b, &head, sizeof(head));
	b->len += wm__proof__kept__pack(&m, (uint8_t *)b->data + b->len);
	return true;
}

static bool prove(struct wm_replica *r, const Wm__Proof__Kept *m)
{
	struct wm_replica_proved k = {.epoch = m->epoch,
				      .seq = m->seq,
				      .proof = m->proof.data,
				      .key = m->key.data,
				      .card = m->card.data,
				      .card_len = m->card.len};

	if (m->origin.len != sizeof(k.origin.octets) || m->proof.len != WM_REPLICA_PROOF ||
	    m->key.len != WM_REPLICA_KEY || !m->card.len || m->card.len > WM_REPLICA_CARD_MAX)
		return false;
	memcpy(k.origin.octets, m->origin.data, sizeof(k.origin.octets));
	return wm_replica_prove(r, &k);
}

unsigned wm_proofs_kept_read(struct wm_replica *r, const void *p, size_t len)
{
	const uint8_t *at = p, *end = at + len;
	unsigned count = 0;

	while ((size_t)(end - at) > sizeof(uint32_t)) {
		uint32_t head;
		Wm__Proof__Kept *m;

		memcpy(&head, at, sizeof(head));
		at += sizeof(head);
		head = be32toh(head);
		m = head <= (size_t)(end - at) ? wm__proof__kept__unpack(NULL, head, at) : NULL;
		if (!m)
			break;
		count += prove(r, m);
		wm__proof__kept__free_unpacked(m, NULL);
		at += head;
	}
	return count;
}

/* --- the replica's calls ---------------------------------------------------------------------- */
static int hash(void *arg, const void *head, size_t head_len, const void *p, size_t len,
		uint8_t ret[static WM_SETSUM_HASH])
{
	return wm_hasher_hash(((struct wm_proofs *)arg)->hasher, head, head_len, p, len, ret);
}

static int add(void *arg, struct wm_setsum *s, const uint8_t element[static WM_SETSUM_HASH],
	       bool out)
{
	return wm_setsum_add(((struct wm_proofs *)arg)->hasher, s, element, out);
}

static int sum(void *arg, const struct wm_setsum *s, uint8_t ret[static WM_SETSUM_HASH])
{
	return wm_setsum_hash(((struct wm_proofs *)arg)->hasher, s, ret);
}

static int sign(void *arg, const void *p, size_t len, uint8_t ret[static WM_REPLICA_SIGNATURE])
{
	return wm_proof_sign(((struct wm_proofs *)arg)->key, p, len, ret);
}

static bool verify(void *arg, const uint8_t key[static WM_REPLICA_KEY], const void *p, size_t len,
		   const uint8_t signature[static WM_REPLICA_SIGNATURE])
{
	(void)arg;
	return wm_proof_verify(key, p, len, signature);
}

_Static_assert(WM_REPLICA_KEY == WM_PROOF_KEY && WM_REPLICA_SIGNATURE == WM_PROOF_SIGNATURE, "");

int wm_proofs_new(struct wm_sync *s, struct wm_proofs **ret, struct wm_err *e)
{
	struct wm_proofs *p = calloc(1, sizeof(*p));
	char path[PATH_MAX];

	if (!p)
		return wm_err_set(e, -ENOMEM, "out of memory: proofs");
	*ret = p;
	p->s = s;
	wm_buf_init(&p->card, WM_REPLICA_CARD_MAX);
	p->hasher = wm_hasher_new();
	if (!p->hasher)
		return wm_err_set(e, -ENOMEM, "out of memory: proofs");
	p->calls = (struct wm_replica_proofs){.arg = p,
					      .hash = hash,
					      .add = add,
					      .sum = sum,
					      .sign = sign,
					      .verify = verify,
					      .card = card,
					      .judge = judge};
	if (s->c.data_dir)
		snprintf(path, sizeof(path), "%s/proof-key", s->c.data_dir);
	return wm_proof_key_open(s->c.data_dir ? path : NULL, &p->key, e);
}

const struct wm_replica_proofs *wm_proofs_calls(const struct wm_proofs *p)
{
	return &p->calls;
}

void wm_proofs_free(struct wm_proofs *p)
{
	if (!p)
		return;
	wm_proof_key_free(p->key);
	wm_hasher_free(p->hasher);
	wm_buf_done(&p->card);
	free(p);
}
