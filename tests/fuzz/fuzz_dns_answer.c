/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* The shared headers on any query and any contents of the tables: nothing is read or written
 * outside, whatever a half-written or hostile table says. The sanitizers watch the bounds. */
#include "waymark/dns_answer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SETS	 4
#define SLOTS	 16
#define BACKENDS 8
#define HEADS	 4

/* All that a reader may meet. */
struct tables {
	struct wm_set sets[SETS];
	struct wm_table_head heads[HEADS];
	struct wm_slot slots[SLOTS];
	struct wm_backend backends[BACKENDS];
	struct wm_set_live live[SETS];
};
_Static_assert(sizeof(struct tables) == 1216, "the seeds hold tables of this size");

static void check_answer(const struct wm_view *v, const struct wm_name *name, uint16_t type,
			 uint32_t max, uint32_t random)
{
	struct wm_dns_want q = {
		.type = type, .ttl_s = 60, .fits = max, .limit = random >> 28, .random = random};
	size_t each = type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA;
	uint8_t *out = aligned_alloc(8, WM_DNS_GATHER_MAX * WM_DNS_RR_AAAA + 4);
	uint32_t len = 0;
	bool more;
	int n;

	if (!out)
		abort();
	n = wm_dns_addresses(v, name, &q, out, &len, &more);
	if (n > (int)max || (q.limit && n > (int)q.limit) || (n >= 0 && len != (size_t)n * each))
		abort();
	for (int i = 0; i < n; i++) {
		const uint8_t *r = out + (size_t)i * each;

		if (r[0] != 0xc0 || r[1] != 12 || r[3] != type || r[5] != 1 || r[9] != 60 ||
		    r[11] != each - WM_DNS_RR_DATA)
			abort();
		for (int k = 0; k < i; k++) /* no address twice */
			if (!memcmp(r + WM_DNS_RR_DATA, out + (size_t)k * each + WM_DNS_RR_DATA,
				    each - WM_DNS_RR_DATA))
				abort();
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wm_dns_query q;
	struct tables *t = calloc(1, sizeof(*t));
	struct wm_view v;
	struct wm_name name = {0};
	uint8_t *query;

	if (!t)
		abort();
	v = (struct wm_view){t->sets, t->heads, t->slots, t->backends, t->live, SETS,
			     HEADS,   SLOTS,	BACKENDS, NULL,	       NULL};
	if (size >= sizeof(*t) + 8) {
		memcpy(t, data, sizeof(*t));
		data += sizeof(*t);
		size -= sizeof(*t);
		name.set = data[0] % (SETS + 1);
		name.kind = data[1] % 3;
		name.vip4_be = data[2];
		check_answer(&v, &name, WM_DNS_A, 1 + data[3] % 16, (uint32_t)data[4] << 24);
		check_answer(&v, &name, WM_DNS_AAAA, 1 + data[3] % 16, (uint32_t)data[5] << 24);
	}
	if (size >= WM_DNS_HEADER_LEN) {
		query = malloc(size);
		if (!query)
			abort();
		memcpy(query, data, size);
		if (wm_dns_parse(query, (uint32_t)size, &q) == WM_DNS_OK &&
		    (!q.name_len || q.name_len > WM_DNS_NAME_MAX ||
		     WM_DNS_HEADER_LEN + q.name_len + 4u > size || q.udp_size < WM_DNS_UDP_MAX))
			abort();
		free(query);
	}
	free(t);
	return 0;
}
