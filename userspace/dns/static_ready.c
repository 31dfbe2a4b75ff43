/* SPDX-License-Identifier: Apache-2.0 */
/* static_ready.c - the operator's records are given to the kernel before anybody asks for them, so
 * that it answers them while no agent runs. What they lead to, and health changes, is not: an alias
 * of a service is userspace's (respond.c). */
#include "internal.h"
#include "userspace/base/macros.h"

#define FILL_BATCH 64 /* names of a turn: some 200 answers, a system call each */

/* Types that the name has, and addresses, since clients ask for those of both families of a name. A
 * name of an address is asked for what it has. */
static unsigned types_of(const struct wm_static_name *n, uint16_t *types, unsigned max)
{
	bool reverse = n->records && n->records->type == WM_DNS_PTR;
	unsigned count = 0, i;

	if (!reverse) {
		types[count++] = WM_DNS_A;
		types[count++] = WM_DNS_AAAA;
	}
	for (const struct wm_static_record *r = n->records; r && count < max; r = r->next) {
		for (i = 0; i < count && types[i] != r->type; i++)
			;
		if (i == count)
			types[count++] = r->type;
	}
	return count;
}

static void on_fill(void *arg)
{
	struct wm_dns_server *s = arg;
	const struct wm_static_name *n;
	uint16_t types[8]; /* that records may be of, and PTR */

	for (unsigned i = 0; i < FILL_BATCH; i++) {
		n = wm_statics_next(s->fixed, &s->fill_at);
		if (!n)
			return;
		for (unsigned k = types_of(n, types, WM_ARRAY_LEN(types)); k; k--) {
			if (!s->fill_left)
				return;
			s->fill_left--;
			(void)wm_dns_give(s, n->wire, n->len, types[k - 1]);
		}
	}
	wm_timer_arm(s->fill, 0);
}

void wm_dns_fill(struct wm_dns_server *s)
{
	s->fill_at = 0;
	s->fill_left = wm_ready_fill(s->ready);
	if (!s->fill && s->fill_left && s->fixed)
		s->fill = wm_timer_new(s->loop, on_fill, s); /* NULL: when they are asked for */
	if (s->fill)
		wm_timer_arm(s->fill, 0);
}
