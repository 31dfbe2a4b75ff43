/* SPDX-License-Identifier: Apache-2.0 */
/* dns_cache.c - answers of others that are kept: GET /v1/waymark/dns/cache, a page at a time. Those
 * of the kernel stand there one by one. Of libunbound's cache there are counts only, as libunbound
 * tells neither names nor how much memory they take. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "waymark/counters.h"

#include <stdio.h>

#define ROWS_MAX 500 /* of a page: a system call of some microseconds each */

struct page {
	struct wm_json *j;
	uint64_t now_ns, last; /* last: number of the name that was written last */
	uint64_t left;
	bool more;
};

static bool put_answer(void *arg, const struct wm_hot_one *one)
{
	const struct wm_hot_head *h = &one->answer->head;
	struct page *p = arg;
	char name[WM_DNS_TEXT_MAX];

	if (!p->left--) {
		p->more = true;
		return false;
	}
	if (!wm_dns_text(one->answer->name, name, sizeof(name)))
		snprintf(name, sizeof(name), ".");
	wm_json_open(p->j, '{');
	wm_json_ks(p->j, "name", name);
	wm_json_ku(p->j, "type", one->type);
	wm_json_kb(p->j, "do", one->view & WM_HOT_DO);
	wm_json_kb(p->j, "cd", one->view & WM_HOT_CD);
	wm_json_kb(p->j, "ad", one->view & WM_HOT_AD);
	wm_json_ku(p->j, "rcode", h->flags & WM_DNS_RCODE);
	wm_json_ku(p->j, "answers", h->answers);
	wm_json_ku(p->j, "octets", h->len);
	wm_json_ku(p->j, "ttl_s",
		   h->expires_ns > p->now_ns ? (h->expires_ns - p->now_ns) / WM_NS_PER_S : 0);
	wm_json_ku(p->j, "age_s",
		   p->now_ns > h->made_ns ? (p->now_ns - h->made_ns) / WM_NS_PER_S : 0);
	wm_json_ku(p->j, "asked", one->answer->hits);
	wm_json_close(p->j, '}');
	p->last = one->number;
	return true;
}

uint64_t wm_kernel_hot(const struct wm_api *a)
{
	uint64_t n[WM_COUNTER_COUNT];

	return a->d.plane && !wm_plane_counters(a->d.plane, n) ? n[WM_C_DNS_HOT] : 0;
}

/* How many questions for names of others each level was asked, and answered, in this run. */
static void put_levels(struct wm_json *j, const struct wm_api *a, const struct wm_upstream *u,
		       const struct wm_hot_level *hot)
{
	const uint64_t *n = wm_upstream_counters(u);
	uint64_t own = hot ? wm_hot_counters(hot)[WM_HOT_C_ASKED] : 0,
		 kernel = wm_kernel_hot(a) - a->hot_before;

	wm_json_kopen(j, "kernel", '{');
	wm_json_ku(j, "names", wm_hot_names(hot));
	wm_json_ku(j, "names_max", hot ? wm_hot_max(hot) : 0);
	wm_json_ku(j, "asked", kernel + n[WM_UPSTREAM_C_ASKED] - own);
	wm_json_ku(j, "answered", kernel);
	wm_json_close(j, '}');
	wm_json_kopen(j, "cache", '{');
	wm_json_ku(j, "octets_max", wm_upstream_cache_max(u));
	wm_json_ku(j, "asked", n[WM_UPSTREAM_C_ASKED]);
	wm_json_ku(j, "answered", n[WM_UPSTREAM_C_KEPT]);
	wm_json_close(j, '}');
}

void wm_native_dns_cache(struct wm_call *c)
{
	const struct wm_upstream *u = c->api->d.dns ? wm_dns_upstream(c->api->d.dns) : NULL;
	struct wm_hot_level *hot = u ? wm_dns_hot(c->api->d.dns) : NULL;
	const char *name = wm_http_query(c->req, "name");
	uint8_t domain[WM_DNS_NAME_MAX + 1];
	uint64_t after = 0, limit = ROWS_MAX;
	struct page p = {.now_ns = wm_clock_ns()};
	struct wm_json j;

	if (!u) {
		wm_answer_text(c, 501, "dns.upstream is off: nothing of others is kept");
		return;
	}
	if (!wm_params_number(c, "limit", 1, ROWS_MAX, &limit) ||
	    !wm_params_number(c, "after", 0, UINT64_MAX, &after))
		return;
	if (!wm_dns_wire(name ? name : "", domain)) {
		wm_answer_text(c, 400, "name: a name is wanted, of at most 253 characters");
		return;
	}
	wm_answer_begin(c, &j);
	p.j = &j;
	p.left = limit;
	wm_json_open(&j, '{');
	put_levels(&j, c->api, u, hot);
	wm_json_kopen(&j, "answers", '[');
	if (hot)
		wm_hot_list(hot, after, domain, put_answer, &p);
	wm_json_close(&j, ']');
	wm_json_key(&j, "after");
	if (p.more)
		wm_json_u64(&j, p.last);
	else
		wm_json_null(&j);
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}
