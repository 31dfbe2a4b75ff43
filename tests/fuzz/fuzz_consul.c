/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry source */
/* fuzz_consul.c - what a Consul answers: an array is cut into its elements, and each is read as an
 * instance. Whatever the octets: elements lie inside, one behind the other, as many as were
 * counted; an instance that is taken has a name, an id and a node, keeps to the limits, and is as
 * bad as the worst of its checks. The first octet chooses: 'c' the list of services, 's' who it is,
 * 'l' what an agent has, else an array of instances. */
#include "check.h"
#include "userspace/source/consul_decode.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_name(void *arg, const char *name)
{
	(void)arg;
	check(name != NULL);
	return 0;
}

static int on_local(void *arg, const char *id, const char *origin)
{
	(void)arg;
	check(id && origin);
	return 0;
}

static void judge(const struct wm_consul_entry *ent)
{
	enum wm_status worst = WM_PASSING;

	check(*ent->node && *ent->draft.id && *ent->draft.name);
	check(!strchr(ent->draft.name, '/'));
	check(ent->draft.tags_count <= WM_TAGS_MAX && ent->draft.meta_count <= WM_META_PAIRS_MAX);
	check(ent->draft.checks_count <= WM_CHECKS_PER_INSTANCE);
	check(ent->draft.port <= UINT16_MAX && ent->draft.weight_passing <= WM_WEIGHT_MAX);
	for (unsigned n = 0; n < ent->draft.checks_count; n++) {
		if (ent->draft.checks[n].status > worst)
			worst = ent->draft.checks[n].status;
		check(strlen(ent->draft.checks[n].id) <= WM_CHECK_ID_MAX);
	}
	check(ent->status == worst);
}

static void instances(const char *text, size_t len)
{
	static struct wm_consul_entry ent;
	struct wm_consul_walk w;
	int64_t n = wm_consul_walk_begin(&w, text, len);
	const char *at, *behind = text;
	size_t one;

	if (n < 0)
		return;
	while ((at = wm_consul_walk_next(&w, &one))) {
		struct wm_err e = {0};

		check(at >= behind && at + one <= text + len);
		behind = at + one;
		n--;
		if (!wm_consul_entry_read(at, one, &ent, &e))
			judge(&ent);
		else
			check(*e.text);
	}
	check(n == 0);
	wm_consul_entry_done(&ent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wm_consul_self self;
	struct wm_err e = {0};
	char *text;

	if (!size)
		return 0;
	text = malloc(size); /* of its own size: reading stays inside */
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	if (*data == 'c')
		(void)wm_consul_services_read(text, size - 1, on_name, NULL, &e);
	else if (*data == 's')
		(void)wm_consul_self_read(text, size - 1, &self, &e);
	else if (*data == 'l')
		(void)wm_consul_local_read(text, size - 1, on_local, NULL, &e);
	else
		instances(text, size - 1);
	free(text);
	return 0;
}
