/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry sync */
/* fuzz_verify.c - what members say while they are compared. The input is a list of steps: an octet
 * that says what (see step()), two of a length, and so many octets of a message. Whatever they say,
 * reading stays inside them, the replica stays as it is, and a comparison comes to its end. */
#include "steps.h"
#include "tests/unit/env_virtual.h"
#include "userspace/sync/replica.h"
#include "userspace/sync/verify.h"
#include "userspace/sync/verify.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OBJECTS 40
#define PEERS	2

static struct {
	struct virtual_env v;
	struct wm_replica *r;
	struct wm_verify *verify;
	struct wm_peer_id id, peers[PEERS];
	uint32_t asked; /* number of the last question */
	unsigned done;
} f;

static void no_send(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	(void)arg, (void)to, (void)p, (void)len;
}

static void no_spread(void *arg, const void *p, size_t len)
{
	(void)arg, (void)p, (void)len;
}

static int no_take(void *arg, const struct wm_replica_change *c, unsigned count)
{
	(void)arg, (void)c, (void)count;
	abort(); /* a comparison changes nothing */
}

static int no_read(void *arg, const struct wm_peer_id *origin, bool shared,
		   const struct wm_replica_key *k, struct wm_buf *b)
{
	(void)arg, (void)origin, (void)shared, (void)k, (void)b;
	abort();
}

static void on_ask(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	Waymark__Verify__Ask *m = waymark__verify__ask__unpack(NULL, len, p);

	(void)arg, (void)to;
	check(m != NULL);
	f.asked = m->number;
	waymark__verify__ask__free_unpacked(m, NULL);
}

static void on_done(void *arg, const struct wm_verify_result *r)
{
	(void)arg;
	f.done++;
	for (unsigned i = 0; r && i < r->found_count; i++) {
		check(r->found[i].member < r->members_count);
		check(strlen(r->found[i].id) <= WM_INSTANCE_ID_MAX);
		check(strlen(r->found[i].node) <= WM_NODE_NAME_MAX);
	}
}

static void begin(void)
{
	struct wm_replica_config c = {.epoch = 7,
				      .objects_max = 1000,
				      .read = no_read,
				      .take = no_take,
				      .send = no_send,
				      .spread = no_spread};
	struct wm_verify_config v = {.ask = on_ask, .answer = no_send};
	char id[16];

	memset(&f, 0, sizeof(f));
	virtual_env_init(&f.v, 1);
	f.id.octets[15] = 1;
	for (unsigned i = 0; i < PEERS; i++)
		f.peers[i].octets[15] = (uint8_t)(2 + i);
	c.env = v.env = &f.v.env;
	c.id = f.id;
	v.replica = f.r = wm_replica_new(&c);
	check(f.r != NULL);
	for (unsigned i = 0; i < OBJECTS; i++) {
		struct wm_replica_change k = {.origin = i % 2 ? f.id : f.peers[0],
					      .version = {WM_ORIGIN_OWN, 7, i + 1},
					      .key = {id, 0},
					      .gone = i % 5 == 4,
					      .gone_ms = 1};

		k.key.len = (size_t)snprintf(id, sizeof(id), "o%u", i);
		check(!wm_replica_recover(f.r, &k));
	}
	f.verify = wm_verify_new(&v);
	check(f.verify && !wm_verify_start(f.verify, f.peers, PEERS, on_done, NULL));
}

/* An answer to what was asked last, whatever number it had. */
static void answer(const struct wm_peer_id *from, const uint8_t *p, size_t len)
{
	Waymark__Verify__Answer *m = waymark__verify__answer__unpack(NULL, len, p);
	uint8_t *packed;

	if (!m) {
		check(wm_verify_answered(f.verify, from, p, len) == WM_E_INVALID);
		return;
	}
	m->number = f.asked;
	packed = malloc(waymark__verify__answer__get_packed_size(m) + 1);
	(void)wm_verify_answered(f.verify, from, packed, waymark__verify__answer__pack(m, packed));
	free(packed);
	waymark__verify__answer__free_unpacked(m, NULL);
}

static void step(uint8_t what, const uint8_t *p, size_t len)
{
	const struct wm_peer_id *from = &f.peers[what >> 4 & 1];

	switch (what & 3) {
	case 0:
		(void)wm_verify_asked(f.verify, from, p, len);
		break;
	case 1:
		answer(from, p, len);
		break;
	case 2:
		(void)wm_verify_answered(f.verify, from, p, len);
		break;
	default:
		virtual_env_pass(&f.v, 1 + len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t before[WM_REPLICA_SUMMARY], after[WM_REPLICA_SUMMARY];

	begin();
	wm_replica_summary(f.r, before, sizeof(before));
	virtual_env_pass(&f.v, 1);
	each_step(data, size, step);
	/* each answer that comes begins the wait anew; none comes any more */
	virtual_env_pass(&f.v, 3 * WM_VERIFY_MS);
	check(f.done == 1);
	wm_replica_summary(f.r, after, sizeof(after));
	check(!memcmp(before, after, sizeof(before)));
	wm_verify_free(f.verify);
	wm_replica_free(f.r);
	return 0;
}
