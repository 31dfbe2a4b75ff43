/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry sync */
/* fuzz_keyring.c - what members say of keyrings. The input is a list of steps: an octet that says
 * what (see step()), two of a length, and so many octets of a message. Whatever they say, a ring
 * has one key at least and no more than its bound, and an operator is answered once. */
#include "members.h"
#include "tests/unit/env_virtual.h"
#include "userspace/net/loop.h"
#include "userspace/sync/keyring.pb-c.h"
#include "userspace/sync/keyring_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMBERS 2
#define FIRST	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define SECOND	"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="

static struct {
	struct virtual_env v;
	struct wm_sync s;
	unsigned begun, done;
} f;

static void on_done(void *arg, const struct wm_keyring_result *r)
{
	(void)arg;
	f.done++;
	for (unsigned i = 0; r && i < r->count; i++) {
		const struct wm_keyring_member *m = &r->members[i];

		check(m->count <= WM_KEYS_MAX && strlen(m->text) < WM_KEYRING_TEXT_MAX);
		check(!m->code || m->answered || *m->text);
		for (unsigned k = 0; k < m->count; k++)
			check(strspn(m->prints[k], "0123456789abcdef") == WM_KEY_PRINT - 1);
	}
}

static void meet(unsigned number)
{
	const struct wm_peer_id id = {.octets = {[15] = (uint8_t)number}};
	struct wm_members *other = members_new(&f.v.env, id, WM_MEMBER_FULL);

	introduce(f.s.members, other);
	wm_members_free(other);
}

static void begin(void)
{
	static struct wm_loop *loop;
	struct wm_err e = {0};

	if (!loop)
		loop = wm_loop_new();
	memset(&f, 0, sizeof(f));
	virtual_env_init(&f.v, 1);
	f.s.env = &f.v.env;
	f.s.c.loop = loop;
	f.s.c.insecure = true; /* no keys are read, and none is needed to open a stream */
	f.s.id.octets[15] = 1;
	check(!wm_links_new(&f.s, &f.s.links, &e) && !wm_keyrings_new(&f.s, &f.s.keyrings, &e));
	f.s.members = members_new(&f.v.env, f.s.id, WM_MEMBER_FULL);
	for (unsigned n = 1; n <= MEMBERS; n++)
		meet(1 + n);
	check(wm_members_count(f.s.members) == 1 + MEMBERS);
	check(!wm_keyring_new(FIRST, &f.s.keyring, &e));
}

/* An answer to what was asked last, or the one before. */
static void answer(const struct wm_peer_id *from, unsigned before, const uint8_t *p, size_t len)
{
	Waymark__Keyring__Answer *m = waymark__keyring__answer__unpack(NULL, len, p);
	uint8_t *packed;

	if (!m) {
		check(wm_keyrings_answered(f.s.keyrings, from, p, len) != NULL);
		return;
	}
	m->number = f.s.keyrings->number - before;
	packed = malloc(waymark__keyring__answer__get_packed_size(m) + 1);
	check(packed != NULL);
	(void)wm_keyrings_answered(f.s.keyrings, from, packed,
				   waymark__keyring__answer__pack(m, packed));
	free(packed);
	waymark__keyring__answer__free_unpacked(m, NULL);
}

/* An operator asks, with a key or the fingerprint of one. */
static void operate(enum wm_keyring_what what, bool second, bool force)
{
	const char *key = second ? SECOND : FIRST;
	char print[WM_KEY_PRINT];
	struct wm_err e = {0};

	check(!wm_key_print(key, print, &e));
	if (!wm_sync_keyring(&f.s, what, what == WM_KEYRING_ADD ? key : print, force, on_done, NULL,
			     &e))
		f.begun++;
	else
		check(*e.text);
}

static void step(uint8_t what, const uint8_t *p, size_t len)
{
	const struct wm_peer_id from = {.octets = {[15] = (uint8_t)(2 + (what >> 4) % 3)}};

	switch (what & 7) {
	case 0:
		(void)wm_keyrings_asked(f.s.keyrings, &from, p, len);
		break;
	case 1:
	case 2:
		answer(&from, (what & 7) - 1, p, len);
		break;
	case 3:
		(void)wm_keyrings_answered(f.s.keyrings, &from, p, len);
		break;
	case 4:
	case 5:
		operate((enum wm_keyring_what)(what >> 4 & 3), what & 64, what & 1);
		virtual_env_pass(&f.v, 1);
		break;
	default:
		virtual_env_pass(&f.v, 1 + len);
	}
	check(f.s.keyring && wm_keyring_count(f.s.keyring) >= 1 &&
	      wm_keyring_count(f.s.keyring) <= WM_KEYS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	each_step(data, size, step);
	virtual_env_pass(&f.v, 3 * WM_KEYRING_MS);
	check(f.done == f.begun); /* nobody has to answer */
	wm_keyrings_free(f.s.keyrings);
	wm_keyring_free(f.s.keyring);
	wm_links_free(f.s.links);
	wm_members_free(f.s.members);
	return 0;
}
