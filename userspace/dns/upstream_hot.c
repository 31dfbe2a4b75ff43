/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_hot.c - what the kernel keeps of others is asked for again, as a client would. */
#include "upstream_internal.h"
#include "userspace/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct wm_dns_renewal {
	LIST_ENTRY(wm_dns_renewal) entry;
	struct wm_dns_server *s;
	struct wm_upstream_question *question;
	struct wm_dns_query q;
	bool asking, done;
	uint8_t query[WM_DNS_HEADER_LEN + WM_DNS_NAME_MAX + 4];
};

static void on_renewed(void *arg, enum wm_upstream_code code, const struct wm_unbound_answer *a)
{
	struct wm_dns_renewal *r = arg;
	struct wm_dns_server *s = r->s;
	struct wm_upstream_made made = {0};
	bool fresh = wm_dns_make_passed(s, r->query, &r->q, WM_DNS_EDNS_MAX - WM_DNS_OPT_LEN, code,
					a, &made);

	LIST_REMOVE(r, entry);
	fresh = fresh && wm_dns_may_keep(s, r->query, &r->q);
	wm_hot_renewed(s->hot, r->query + WM_DNS_HEADER_LEN, &r->q, fresh ? s->answer : NULL,
		       made.len);
	r->done = true;
	if (!r->asking)
		free(r);
}

/* The query that a client sent whose answer is of this view. It has no OPT, since the answer that
 * is kept has none. */
static void write_query(struct wm_dns_renewal *r, const uint8_t *name, uint16_t len, uint16_t type,
			uint16_t view)
{
	uint8_t *p = r->query;

	r->q = (struct wm_dns_query){.flags = (uint16_t)(WM_DNS_RD |
							 (view & WM_HOT_CD ? WM_DNS_CD : 0) |
							 (view & WM_HOT_AD ? WM_DNS_AD : 0)),
				     .type = type,
				     .class = WM_DNS_IN,
				     .name_len = len,
				     .udp_size = WM_DNS_EDNS_MAX,
				     .edns_flags = view & WM_HOT_DO ? WM_DNS_DO : 0};
	p[2] = (uint8_t)(r->q.flags >> 8);
	p[3] = (uint8_t)r->q.flags;
	p[5] = 1;
	memcpy(p + WM_DNS_HEADER_LEN, name, len);
	p += WM_DNS_HEADER_LEN + len;
	p[0] = (uint8_t)(type >> 8);
	p[1] = (uint8_t)type;
	p[3] = WM_DNS_IN;
}

static bool renew(void *arg, const uint8_t *name, uint16_t len, uint16_t type, uint16_t view,
		  unsigned side)
{
	static const uint8_t nobody[WM_DNS_CLIENT_LEN];
	struct wm_dns_server *s = arg;
	struct wm_dns_renewal *r = calloc(1, sizeof(*r));
	unsigned how =
		(view & WM_HOT_CD ? 0 : WM_UPSTREAM_CHECKED) | (side ? WM_UPSTREAM_OTHER : 0);

	if (!r)
		return false;
	r->s = s;
	write_query(r, name, len, type, view);
	LIST_INSERT_HEAD(&s->renewals, r, entry);
	r->asking = true;
	r->question = wm_upstream_ask(s->upstream, name, type, nobody, how, on_renewed, r);
	r->asking = false;
	if (r->done)
		free(r);
	return true;
}

static void on_anew(void *arg)
{
	struct wm_dns_server *s = arg;

	s->anew++;
	wm_dns_renewals_free(s);
	wm_hot_forget(s->hot);
}

void wm_dns_renewals_free(struct wm_dns_server *s)
{
	struct wm_dns_renewal *r, *next;

	for (r = LIST_FIRST(&s->renewals); r; r = next) {
		next = LIST_NEXT(r, entry);
		wm_upstream_cancel(r->question);
		LIST_REMOVE(r, entry);
		free(r);
	}
}

int wm_dns_server_hot(struct wm_dns_server *s, const struct wm_hot_kernel *k, unsigned max,
		      unsigned after, uint64_t stale_ms)
{
	const struct wm_hot_config c = {.kernel = *k,
					.max = max,
					.after = after,
					.stale_ms = stale_ms,
					.renew = renew,
					.arg = s};

	s->hot = wm_hot_new(s->loop, &c);
	if (!s->hot)
		return -ENOMEM;
	wm_upstream_on_anew(s->upstream, on_anew, s);
	return 0;
}

struct wm_hot_level *wm_dns_hot(const struct wm_dns_server *s)
{
	return s->hot;
}
