/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry sync */
/* fuzz_interest.c - what a home says to a leaf, and leaves to their home. The input is a list of
 * steps: an octet that says what (see step()), two of a length, and so many octets of a message.
 * Whatever comes: it is taken, passed over, or refused with a sentence; who waits for a service is
 * told once; a leaf holds no more than it may, and of others only what it is interested in. */
#include "members.h"
#include "tests/unit/env_virtual.h"
#include "userspace/net/loop.h"
#include "userspace/registry/registry.h"
#include "userspace/store/record.h"
#include "userspace/store/snapshot_format.h"
#include "userspace/sync/leaf_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *globs[] = {"we*", NULL};
static const char *const names[] = {"web", "db", "Cache", "none"};

static struct {
	struct virtual_env v;
	struct wm_sync leaf, full;
	unsigned waits, done;
} f;

static void on_done(void *arg, int code)
{
	(void)arg;
	check(code == 0 || code == WM_E_BUSY);
	f.done++;
}

/* An agent with a registry that is nowhere stored. */
static void agent(struct wm_sync *s, unsigned number, enum wm_member_role role)
{
	static struct wm_loop *loop;
	struct wm_registry_config c = {.env = &f.v.env,
				       .node_name = number == 1 ? "n1" : "n2",
				       .node_address = "10.0.0.1",
				       .datacenter = "dc1",
				       .instances_max = 40,
				       .services_max = 20,
				       .nodes_max = 10,
				       .checks_max = 100,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000,
				       .sync = true};
	struct wm_err e = {0};

	if (!loop)
		loop = wm_loop_new();
	c.vip6_prefix.s6_addr[0] = 0xfd;
	s->env = &f.v.env;
	s->c.loop = loop;
	s->c.insecure = true; /* nothing is read to open a stream */
	s->c.role = role;
	s->c.interest = globs;
	s->c.interest_ttl_ms = 10000;
	s->id.octets[15] = (uint8_t)number;
	s->members = members_new(&f.v.env, s->id, role);
	check(!wm_registry_open(&c, &s->c.registry, &e));
	check(!wm_links_new(s, &s->links, &e) && !wm_leaf_new(s, &e));
}

static void begin(void)
{
	struct wm_err e = {0};

	memset(&f, 0, sizeof(f));
	virtual_env_init(&f.v, 1);
	agent(&f.leaf, 1, WM_MEMBER_LEAF);
	agent(&f.full, 2, WM_MEMBER_FULL);
	introduce(f.leaf.members, f.full.members);
	check(!wm_leaf_start(f.leaf.leaf, &e) && !wm_leaf_start(f.full.leaf, &e));
}

static void end(struct wm_sync *s)
{
	wm_registry_finish(s->c.registry);
	wm_leaf_free(s->leaf);
	s->leaf = NULL;
	wm_registry_close(s->c.registry);
	wm_links_free(s->links);
	wm_members_free(s->members);
}

static void told(const void *p, size_t len)
{
	const char *why = wm_leaf_told(f.leaf.leaf, &f.full.id, p, len);

	check(!why || *why);
	wm_registry_finish(f.leaf.c.registry);
}

/* The same from an agent that says who wrote what, with records whose sums are right. */
static void told_mended(const uint8_t *p, size_t len)
{
	Waymark__Interest__News *n = waymark__interest__news__unpack(NULL, len, p);
	uint8_t writer[16], *packed;

	for (size_t i = 0; n && i < n->n_items; i++) {
		ProtobufCBinaryData *d = &n->items[i]->object, *o = &n->items[i]->origin;

		if (d->len >= WM_RECORD_HEAD)
			wm_snapshot_put64(d->data + 4,
					  wm_snapshot_sum(WM_SNAPSHOT_SUM, d->data + WM_RECORD_HEAD,
							  d->len - WM_RECORD_HEAD));
		memset(writer, o->len ? o->data[0] : 2, sizeof(writer));
		free(o->data);
		o->data = malloc(sizeof(writer));
		check(o->data != NULL);
		memcpy(o->data, writer, sizeof(writer));
		o->len = sizeof(writer);
	}
	if (!n)
		return;
	packed = malloc(waymark__interest__news__get_packed_size(n) + 1);
	check(packed != NULL);
	told(packed, waymark__interest__news__pack(n, packed));
	free(packed);
	waymark__interest__news__free_unpacked(n, NULL);
}

/* An instance of the home's own comes or goes: who is subscribed is told. */
static void change(unsigned which, bool gone)
{
	const struct wm_instance_draft d = {.id = names[which], .name = names[which]};
	struct wm_err e = {0};

	if (gone)
		(void)wm_registry_deregister(f.full.c.registry, d.id, NULL, NULL, &e);
	else
		(void)wm_registry_register(f.full.c.registry, &d, NULL, NULL, &e);
	wm_registry_finish(f.full.c.registry);
}

static void is_bounded(void)
{
	struct wm_interest_stats is;
	struct wm_serve_stats ss;
	struct wm_service *of;
	size_t pos = 0;

	wm_interest_stats(f.leaf.leaf->interest, &is);
	wm_serve_stats(f.full.leaf->serve, &ss);
	check(is.services <= WM_INTERESTS_MAX && is.globs == 1 && is.waiting == f.waits - f.done);
	check(ss.leaves <= 16);
	while ((of = wm_registry_next_service(f.leaf.c.registry, &pos)))
		check(!of->instances_count || wm_interest_wants(f.leaf.leaf->interest, of->name));
}

static void step(uint8_t what, const uint8_t *p, size_t len)
{
	const struct wm_peer_id from = {.octets = {[15] = (uint8_t)(3 + (what >> 4))}};
	const char *why;

	switch (what & 7) {
	case 0:
		told(p, len);
		break;
	case 1:
		told_mended(p, len);
		break;
	case 2:
		why = wm_leaf_asked(f.full.leaf, &from, p, len);
		check(!why || *why);
		break;
	case 3:
		f.waits += wm_sync_lookup(&f.leaf, names[what >> 4 & 3], on_done, &f) == 1;
		break;
	case 4:
		change(what >> 4 & 3, what & 64);
		break;
	case 5:
		wm_leaf_down(f.leaf.leaf, &f.full.id);
		break;
	default:
		virtual_env_pass(&f.v, 1 + len);
	}
	is_bounded();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	each_step(data, size, step);
	virtual_env_pass(&f.v, WM_INTEREST_HOME_MS + WM_INTEREST_WAIT_MS);
	check(f.done == f.waits);
	end(&f.leaf);
	end(&f.full);
	return 0;
}
