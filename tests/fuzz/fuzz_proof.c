/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry sync */
/* fuzz_proof.c - what others say of whose key proves a log, and what was kept of that. The first
 * octet chooses: 'k' a file of what was kept, else a card. Whatever it is, reading stays inside it;
 * a card of no key of ours is believed as one that was seen first alone, and no certificate that
 * our authority did not make vouches for it. */
#include "members.h"
#include "tests/unit/env_virtual.h"
#include "userspace/security/ca.h"
#include "userspace/security/proof.h"
#include "userspace/sync/internal.h"
#include "userspace/sync/proof.pb-c.h"

#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtual_env v;
static struct wm_sync s;
static struct wm_cert *cert;

static int no_read(void *arg, const struct wm_peer_id *origin, bool shared,
		   const struct wm_replica_key *k, struct wm_buf *b)
{
	(void)arg, (void)origin, (void)shared, (void)k, (void)b;
	return WM_E_UNKNOWN;
}

static int no_take(void *arg, const struct wm_replica_change *c, unsigned count)
{
	(void)arg, (void)c, (void)count;
	return 0;
}

static void no_message(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	(void)arg, (void)to, (void)p, (void)len;
}

static void no_news(void *arg, const void *p, size_t len)
{
	(void)arg, (void)p, (void)len;
}

static void make_cert(void)
{
	char dir[] = "/tmp/fuzz-proof-XXXXXX", ca[64], own[64], key[64], file[96];
	static const char *const names[] = {"ca.pem", "ca-key.pem", "n1.pem", "n1-key.pem"};
	const struct wm_cert_files files = {ca, own, key};
	struct wm_err e = {0};

	check(mkdtemp(dir) != NULL);
	snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
	snprintf(own, sizeof(own), "%s/n1.pem", dir);
	snprintf(key, sizeof(key), "%s/n1-key.pem", dir);
	check(!wm_ca_init(dir, "dc1", 30, &e) && !wm_ca_issue(dir, "n1", NULL, 30, &e));
	check(!wm_cert_load(&files, &cert, &e));
	for (unsigned n = 0; n < sizeof(names) / sizeof(*names); n++) {
		snprintf(file, sizeof(file), "%s/%s", dir, names[n]);
		(void)remove(file);
	}
	(void)remove(dir);
}

/* A replica that has one object of another's log. */
static void begin(void)
{
	struct wm_replica_change c = {
		.version = {WM_ORIGIN_OWN, 7, 9}, .key = {"web", 3}, .object = "text", .len = 4};
	struct wm_replica_config r = {.env = &v.env,
				      .epoch = 1,
				      .objects_max = 16,
				      .read = no_read,
				      .take = no_take,
				      .send = no_message,
				      .spread = no_news};
	struct wm_err e = {0};

	if (!cert) { /* once: keys take a while to make */
		make_cert();
		virtual_env_init(&v, 1);
		s.env = &v.env;
		s.id.octets[15] = 1;
		s.members = members_new(&v.env, s.id, WM_MEMBER_FULL);
		check(!wm_proofs_new(&s, &s.proofs, &e));
	}
	c.origin.octets[15] = 2;
	r.id = s.id;
	r.proofs = wm_proofs_calls(s.proofs);
	s.replica = wm_replica_new(&r);
	check(s.replica && !wm_replica_recover(s.replica, &c));
}

static void read_card(const uint8_t *p, size_t len)
{
	const struct wm_replica_proofs *calls = wm_proofs_calls(s.proofs);
	struct wm_proof_octets chain[WM_PROOF_CHAIN_MAX], voucher;
	struct wm_peer_id of = {{0, 2}};
	uint8_t key[WM_REPLICA_KEY], known[WM_REPLICA_KEY] = {1};
	Wm__Proof__Card *c = wm__proof__card__unpack(NULL, len, p);
	struct wm_identity is;
	struct wm_err e = {0};
	int r = calls->judge(calls->arg, &of, p, len, NULL, key, &e);

	check(!r == (c && c->key.len == sizeof(key)) && (!r || *e.text));
	if (!r && memcmp(key, known, sizeof(key)) != 0)
		check(calls->judge(calls->arg, &of, p, len, known, key, &e) == WM_E_INVALID);
	if (c && c->n_chain <= WM_PROOF_CHAIN_MAX) {
		for (size_t n = 0; n < c->n_chain; n++)
			chain[n] = (struct wm_proof_octets){c->chain[n].data, c->chain[n].len};
		voucher = (struct wm_proof_octets){c->voucher.data, c->voucher.len};
		e = (struct wm_err){0};
		check(wm_proof_vouched(cert, (struct wm_proof_chain){chain, (unsigned)c->n_chain},
				       "x", 1, &voucher, &is, &e) &&
		      *e.text);
	}
	if (c)
		wm__proof__card__free_unpacked(c, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	if (!size)
		return 0;
	copy = malloc(size); /* exact: a read behind the end is seen */
	check(copy != NULL);
	memcpy(copy, data + 1, size - 1);
	begin();
	if (data[0] == 'k')
		check(wm_proofs_kept_read(s.replica, copy, size - 1) <= 1);
	else
		read_card(copy, size - 1);
	wm_replica_free(s.replica);
	free(copy);
	return 0;
}
