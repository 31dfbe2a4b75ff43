/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* Bodies of /v1/catalog/register, /v1/catalog/deregister and /v1/txn: decoded, judged, and what
 * passes is applied to a registry that has a node and an instance of its own. The first octet of
 * the input says which body follows. Whatever comes, the agent's own instance stays as it was, and
 * a batch that is refused changes nothing. */
#include "check.h"
#include "userspace/api/decode.h"

#include <stdlib.h>
#include <string.h>

static struct wm_registry *registry_open(void)
{
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = "n",
				       .node_address = "10.0.0.1",
				       .datacenter = "d",
				       .instances_max = 8,
				       .services_max = 4,
				       .nodes_max = 4,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000};
	const struct wm_instance_draft own = {.id = "own", .name = "own", .port = 1};
	const struct wm_node_draft facts = {.address = "10.0.0.2"};
	const struct wm_instance_draft wax = {.id = "wax", .name = "wax"};
	const struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .node = "shale", .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .node = "shale", .service = &wax}};
	struct wm_registry *r = NULL;
	unsigned failed;

	c.vip6_prefix.s6_addr[0] = 0xfd;
	check(wm_registry_open(&c, &r, NULL) == 0);
	check(wm_registry_register(r, &own, NULL, NULL, NULL) == 0);
	check(wm_registry_catalog(r, &(struct wm_catalog_batch){.ops = ops, .count = 2}, &failed,
				  NULL) == 0);
	wm_registry_flush(r);
	check(wm_registry_instances(r) == 2);
	return r;
}

static int outcome;

static void done(void *arg, int code, const char *text)
{
	(void)arg;
	check(!code || *text);
	outcome = code;
}

/* Everything that a walk finds, each where it says that it is. */
static uint64_t walk(const struct wm_registry *r)
{
	struct wm_instance *i;
	struct wm_node *n;
	uint64_t sum = 0;
	size_t pos = 0, at = 0, count = 0;

	while ((n = wm_registry_next_node(r, &pos))) {
		check(wm_registry_node_named(r, n->name) == n && n->holder->node == n);
		sum += n->modify_index * 31 + n->holder->checks_count;
	}
	while ((i = wm_registry_next_instance(r, &at))) {
		check(wm_node_instance(i->node, i->id) == i);
		check(i->service->instances[i->place] == i);
		for (unsigned k = 0; k < i->checks_count; k++) {
			check(i->checks[k]->instance == i);
			check(wm_node_check(i->node, i->checks[k]->id) == i->checks[k]);
		}
		sum += i->modify_index * 17 + i->checks_count + (uint64_t)i->status * 5;
		count++;
	}
	check(count == wm_registry_instances(r));
	return sum;
}

static void apply(const struct wm_catalog *cat)
{
	struct wm_catalog_batch b = {.ops = cat->ops, .count = cat->count, .done = done};
	struct wm_registry *r = registry_open();
	const struct wm_instance *own = wm_registry_instance(r, "own");
	uint64_t before = walk(r), modify = own->modify_index;
	struct wm_err e = {0};
	unsigned failed = 0;
	int err = wm_registry_catalog(r, &b, &failed, &e);

	outcome = 0;
	if (err)
		check(e.code == err && *e.text);
	else
		wm_registry_flush(r);
	if (err || outcome)
		check(walk(r) == before);
	walk(r);
	own = wm_registry_instance(r, "own");
	check(own && !wm_instance_shared(own) && own->port == 1 && own->modify_index == modify);
	wm_registry_close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wm_decoded *mem = NULL;
	struct wm_catalog cat = {0};
	struct wm_err e = {0};
	unsigned failed = 0;
	char *copy;
	int err;

	if (!size)
		return 0;
	copy = malloc(size); /* exact: a read behind the end is seen */
	check(copy != NULL);
	memcpy(copy, data + 1, size - 1);
	if (data[0] == 'T')
		err = wm_decode_txn(copy, size - 1, &mem, &cat, &failed, &e);
	else if (data[0] == 'D')
		err = wm_decode_catalog_deregister(copy, size - 1, &mem, &cat, &e);
	else
		err = wm_decode_catalog_register(copy, size - 1, &mem, &cat, &e);
	if (err)
		check(e.code == err && *e.text);
	else
		apply(&cat);
	wm_decoded_free(mem);
	free(copy);
	return 0;
}
