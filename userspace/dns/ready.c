/* SPDX-License-Identifier: Apache-2.0 */
/* ready.c - see ready.h. */
#include "ready.h"

#include "userspace/base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ASKED 4096 /* places for names without records that were asked for: 32 KiB */

struct wm_ready_level {
	struct wm_ready_kernel k;
	uint64_t asked[ASKED]; /* hash of the one that was asked for last at this place */
	struct wm_ready scratch;
	uint64_t counters[WM_READY_COUNTER_COUNT];
};

struct wm_ready_level *wm_ready_new(const struct wm_ready_kernel *k)
{
	struct wm_ready_level *l = calloc(1, sizeof(*l));

	if (l)
		l->k = *k;
	return l;
}

void wm_ready_free(struct wm_ready_level *l)
{
	free(l);
}

uint16_t wm_ready_source(const void *data, size_t len)
{
	return (uint16_t)(WM_READY_FIRST + wm_hash(data, len) % (WM_READY_WORDS - WM_READY_FIRST));
}

void wm_ready_changed(struct wm_ready_level *l, uint16_t source)
{
	if (!l)
		return;
	(void)__atomic_fetch_add(&l->k.words[source], 1, __ATOMIC_SEQ_CST);
	l->counters[WM_READY_C_CHANGES]++;
}

bool wm_ready_wants(struct wm_ready_level *l, const uint8_t *folded, size_t len, uint16_t type,
		    bool records)
{
	uint64_t hash = wm_hash(folded, len) + type, *at = &l->asked[hash % ASKED];
	bool again = *at == hash;

	*at = hash;
	return records || again;
}

static uint64_t sum_of(const struct wm_ready_level *l, const uint16_t *source)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < WM_READY_SOURCES; i++)
		sum += __atomic_load_n(&l->k.words[source[i]], __ATOMIC_RELAXED);
	return sum;
}

int wm_ready_keep(struct wm_ready_level *l, const struct wm_ready_made *m)
{
	size_t begin = WM_DNS_HEADER_LEN + m->name_len + 4;
	struct wm_ready *e = &l->scratch;
	int r;

	if (m->len - begin > WM_READY_OCTETS) {
		l->counters[WM_READY_C_LONG]++;
		return -EMSGSIZE;
	}
	memset(e, 0, sizeof(*e));
	e->head = (struct wm_ready_head){
		.sum = sum_of(l, m->source),
		.len = (uint16_t)(m->len - begin),
		.answers = m->answers,
		.authorities = m->authorities,
		.additionals = m->additionals,
		.serial_at = (uint16_t)(m->serial_at ? m->serial_at - begin : 0),
		.name_len = (uint16_t)m->name_len,
		.rcode = m->rcode};
	memcpy(e->head.source, m->source, sizeof(e->head.source));
	memcpy(e->name, m->message + WM_DNS_HEADER_LEN, m->name_len);
	memcpy(e->octets, m->message + begin, e->head.len);
	r = l->k.put(l->k.arg, e, m->type);
	l->counters[r ? WM_READY_C_REFUSED : WM_READY_C_KEPT]++;
	return r;
}

unsigned wm_ready_fill(const struct wm_ready_level *l)
{
	return l ? l->k.fill : 0;
}

const uint64_t *wm_ready_counters(const struct wm_ready_level *l)
{
	return l->counters;
}
