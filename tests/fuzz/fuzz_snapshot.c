/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry */
/* fuzz_snapshot.c - whole snapshots of somebody else's making. The checksums over all and of each
 * record are mended first, for they keep nobody out who means it. Whatever the octets: they are
 * refused with a sentence, or restored, and what was restored can be saved and read again. The
 * first octet says in which parts they come. */
#include "check.h"
#include "userspace/registry/restore.h"
#include "userspace/store/record.h"
#include "userspace/store/snapshot_format.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Frames as the octets describe them, with the sums that belong to them. */
static void mend(uint8_t *p, size_t len)
{
	size_t at = WM_SNAPSHOT_HEAD;
	uint64_t frames = 0;

	while (at + WM_SNAPSHOT_FRAME <= len) {
		size_t n = wm_snapshot_get(p + at + 4, 4);
		uint64_t row = wm_snapshot_get(p + at + 8, 8), h;
		uint8_t *body = p + at + WM_SNAPSHOT_FRAME;

		if (wm_snapshot_get(p + at, 4) == WM_SNAPSHOT_LAST && n == 8) {
			wm_snapshot_put64(p + at + 8, frames);
			if (at + WM_SNAPSHOT_FRAME + 8 <= len)
				wm_snapshot_put64(body, wm_snapshot_sum(WM_SNAPSHOT_SUM, p,
									at + WM_SNAPSHOT_FRAME));
			return;
		}
		if (n < WM_RECORD_HEAD || n > len - at - WM_SNAPSHOT_FRAME)
			return;
		h = WM_SNAPSHOT_SUM ^ (row * 0x9e3779b97f4a7c15ull);
		wm_snapshot_put64(body + 4,
				  wm_snapshot_sum(h, body + WM_RECORD_HEAD, n - WM_RECORD_HEAD));
		at += WM_SNAPSHOT_FRAME + n;
		frames++;
	}
}

static struct wm_registry *open_empty(void)
{
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = "n",
				       .node_address = "10.0.0.1",
				       .instances_max = 100,
				       .services_max = 100,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000};
	struct wm_registry *r = NULL;

	c.vip6_prefix.s6_addr[0] = 0xfd;
	check(wm_registry_open(&c, &r, NULL) == 0);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wm_snapshot *s;
	struct wm_registry *r;
	struct wm_snapshot_info info;
	struct wm_err e = {0};
	uint8_t *copy;
	size_t part;
	int err = 0;

	if (size < 2)
		return 0;
	part = data[0] + 1u;
	size--;
	copy = malloc(size);
	s = wm_snapshot_new(true, 1u << 20);
	check(copy && s);
	memcpy(copy, data + 1, size);
	mend(copy, size);
	for (size_t at = 0; at < size && !err; at += part)
		err = wm_snapshot_feed(s, copy + at, size - at < part ? size - at : part, &e);
	if (!err)
		err = wm_snapshot_end(s, &e);
	check(!err || *e.text);
	if (!err) {
		wm_snapshot_info(s, &info);
		r = open_empty();
		err = wm_registry_restore(r, s, &e); /* takes it over */
		s = NULL;
		check(err ? *e.text != 0 : wm_registry_instances(r) == info.instances);
		check(!err || wm_registry_instances(r) == 0);
		wm_registry_close(r);
	}
	wm_snapshot_free(s);
	free(copy);
	return 0;
}
