/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry */
/* fuzz_foreign.c - the registry's door for objects of other agents, who mean it: whatever they say,
 * in whatever order, is taken, passed over or refused with a sentence; what is here then can be
 * told to others, and told back changes nothing. The octets are steps: a change with its record,
 * whose checksum is mended, the removal of what was told before, an agent that is forgotten, dies
 * or comes back, a registration of our own. */
#include "check.h"
#include "userspace/base/err.h"
#include "userspace/base/macros.h"
#include "userspace/registry/foreign.h"
#include "userspace/store/record.h"
#include "userspace/store/snapshot_format.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SLOTS 4 /* objects that later steps may name */

struct slot {
	struct wm_peer_id writer;
	char node[WM_NODE_NAME_MAX + 1], id[WM_INSTANCE_ID_MAX + 1];
};
struct input {
	const uint8_t *p;
	size_t left;
	struct wm_registry *r;
	struct slot slots[SLOTS];
	unsigned done; /* results that came */
	struct wm_foreign_result last;
};

static uint8_t octet(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->p++;
}

static void copy_text(char *to, size_t room, const char *from)
{
	size_t len = from ? strnlen(from, room - 1) : 0;

	if (len)
		memcpy(to, from, len);
	to[len] = '\0';
}

static void on_result(void *arg, const struct wm_foreign_result *r)
{
	struct input *in = arg;

	in->done++;
	in->last = *r;
	check(!r->code == !*r->text || (r->code && *r->text));
}

static void tell(struct input *in, const struct wm_foreign_change *c)
{
	struct wm_err e = {0};

	in->done = 0;
	check(wm_registry_foreign(in->r, c, 1, on_result, in, &e) == 0);
	wm_registry_finish(in->r);
	check(in->done == 1);
}

/* The names that a record has, so that not all of them are refused for having others. */
static void names_of(char *record, size_t len, struct slot *s)
{
	static struct wm_record_instance d;
	const char *why;
	char *body = record + WM_RECORD_HEAD;
	size_t n = len - WM_RECORD_HEAD;

	if (wm_record_open(record, len, 0, WM_RECORD_CATALOG_INSTANCE, &why) == 0 &&
	    wm_record_get_catalog_instance(body, n, &d) == 0) {
		copy_text(s->id, sizeof(s->id), d.d.id);
		copy_text(s->node, sizeof(s->node), d.node_name);
	} else if (wm_record_open(record, len, 0, WM_RECORD_CATALOG_NODE, &why) == 0 &&
		   wm_record_get_catalog_node(body, n, &d) == 0) {
		s->id[0] = '\0';
		copy_text(s->node, sizeof(s->node), d.node_name);
		if (d.node.id)
			(void)wm_peer_id_parse(d.node.id, &s->writer);
	}
}

/* A change as the octets say. */
static void change(struct input *in, uint8_t flags)
{
	struct slot *s = &in->slots[flags >> 6];
	struct wm_foreign_change c = {.node = s->node, .id = s->id, .gone = flags & 8};
	size_t len = 0;
	char *record = NULL;

	c.version.origin = flags & 4 ? WM_ORIGIN_SHARED : WM_ORIGIN_FOREIGN;
	c.version.seq = octet(in);
	c.version.epoch = flags & 4 ? 0 : octet(in);
	if (flags & 16)
		memset(s->writer.octets, octet(in), sizeof(s->writer.octets));
	if (c.gone) {
		c.gone_ms = 1767225600000 + octet(in);
	} else {
		len = octet(in) | (size_t)octet(in) << 8;
		len = len < in->left ? len : in->left;
		record = malloc(len ? len : 1); /* exact: a read behind its end is seen */
		check(record != NULL);
		memcpy(record, in->p, len);
		in->p += len;
		in->left -= len;
		if (len >= WM_RECORD_HEAD) {
			char *copy = malloc(len);

			check(copy != NULL);
			wm_snapshot_put64((uint8_t *)record + 4,
					  wm_snapshot_sum(WM_SNAPSHOT_SUM,
							  (uint8_t *)record + WM_RECORD_HEAD,
							  len - WM_RECORD_HEAD));
			memcpy(copy, record, len);
			if (!(flags & 32))
				names_of(copy, len, s);
			free(copy);
		}
		c.object = record;
		c.len = len;
	}
	c.version.writer = s->writer;
	tell(in, &c);
	free(record);
}

static void step(struct input *in)
{
	uint8_t flags = octet(in);
	const struct slot *s = &in->slots[flags >> 6];
	const struct wm_instance_draft own = {.id = flags & 32 ? "own" : s->id, .name = "own"};
	struct wm_err e = {0};

	if ((flags & 3) != 3)
		change(in, flags);
	else if (flags & 4)
		(void)wm_registry_forget_origin(in->r, &s->writer, NULL, NULL, &e);
	else if (flags & 8)
		(void)wm_registry_set_alive(in->r, s->node, flags & 16, NULL);
	else
		(void)wm_registry_register(in->r, &own, NULL, NULL, &e);
	wm_registry_finish(in->r);
}

/* What the registry has is told, and told back. */
struct told {
	struct slot slot;
	struct wm_version version;
	bool gone;
	uint64_t gone_ms;
	struct wm_buf object;
};
struct all {
	struct wm_registry *r;
	struct told told[64];
	unsigned count;
};

static int gather(void *arg, const struct wm_logged *l)
{
	struct all *a = arg;
	struct told *t = &a->told[a->count];
	int err;

	if (a->count == WM_ARRAY_LEN(a->told))
		return 1;
	*t = (struct told){.version = l->version, .gone = l->gone, .gone_ms = l->gone_ms};
	t->slot.writer = t->version.writer = l->origin;
	copy_text(t->slot.node, sizeof(t->slot.node), l->node);
	copy_text(t->slot.id, sizeof(t->slot.id), l->id);
	wm_buf_init(&t->object, WM_RECORD_MAX);
	if (!l->gone) {
		err = wm_registry_object_encode(a->r, &l->origin,
						l->version.origin == WM_ORIGIN_SHARED, l->node,
						l->id, &t->object);
		check(err == 0 || err == WM_E_UNKNOWN);
		if (err)
			return 0;
	}
	a->count++;
	return 0;
}

static void tell_back(struct input *in)
{
	static struct all a;

	a.r = in->r;
	a.count = 0;
	(void)wm_registry_walk_objects(in->r, gather, &a);
	for (unsigned i = 0; i < a.count; i++) {
		struct told *t = &a.told[i];
		const struct wm_foreign_change c = {.version = t->version,
						    .node = t->slot.node,
						    .id = t->slot.id,
						    .gone = t->gone,
						    .gone_ms = t->gone_ms,
						    .object = t->object.data,
						    .len = t->object.len};

		if (t->version.origin != WM_ORIGIN_OWN && t->version.seq) {
			tell(in, &c);
			check(in->last.taken == in->last.unchanged);
		}
		wm_buf_done(&t->object);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = "n",
				       .node_address = "10.0.0.1",
				       .datacenter = "dc1",
				       .instances_max = 20,
				       .services_max = 20,
				       .nodes_max = 6,
				       .checks_max = 100,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000,
				       .sync = true};
	struct input in = {.p = data, .left = size};

	c.vip6_prefix.s6_addr[0] = 0xfd;
	for (unsigned i = 0; i < SLOTS; i++) {
		memset(in.slots[i].writer.octets, (int)i + 1, 16);
		in.slots[i].node[0] = (char)('a' + i);
	}
	check(wm_registry_open(&c, &in.r, NULL) == 0);
	for (unsigned n = 0; in.left && n < 32; n++)
		step(&in);
	tell_back(&in);
	wm_registry_close(in.r);
	return 0;
}
