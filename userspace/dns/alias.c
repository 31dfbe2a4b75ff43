/* SPDX-License-Identifier: Apache-2.0 */
/* alias.c - addresses that are host names: what is asked for is an alias of them. A name that has a
 * CNAME has nothing else (RFC 1034 3.6.2), so a service is one only while none of its usable
 * instances has an IP address; SRV answers beside it, as Consul has it. What a name of our own
 * stands for comes along (RFC 1034 4.3.2 3a): stub resolvers do not ask again. */
#include "internal.h"
#include "userspace/base/random.h"

#include <netinet/in.h>
#include <string.h>
#include <strings.h>

static bool has_ip(const struct in_addr *addr4, const struct in6_addr *addr6)
{
	return addr4->s_addr || !IN6_IS_ADDR_UNSPECIFIED(addr6);
}

bool wm_host_wire(const char *text, uint8_t out[WM_DNS_NAME_MAX + 1])
{
	size_t at = 0, len;

	while (*text) {
		len = strcspn(text, ".");
		at = wm_wire_label(out, at, text, len);
		if (!at)
			return false;
		text += len + (text[len] == '.');
	}
	out[at] = 0;
	return at != 0;
}

const char *wm_host_of(const struct wm_instance *i)
{
	if (has_ip(&i->addr4, &i->addr6))
		return NULL;
	return *i->address ? i->address : i->node->address;
}

static bool same_name(const uint8_t *a, const uint8_t *b)
{
	for (; *a; a += *a + 1u, b += *b + 1u)
		if (*a != *b || strncasecmp((const char *)a + 1, (const char *)b + 1, *a) != 0)
			return false;
	return !*b;
}

void wm_reply_own(struct wm_writer *w, size_t at, size_t owner)
{
	while (at + WM_DNS_RR_DATA <= w->len && w->out[at] >= 0xc0) {
		if (w->out[at] == 0xc0 && w->out[at + 1] == WM_DNS_HEADER_LEN) {
			w->out[at] = (uint8_t)(0xc0 | owner >> 8);
			w->out[at + 1] = (uint8_t)owner;
		}
		at += WM_DNS_RR_DATA + ((size_t)w->out[at + 10] << 8 | w->out[at + 11]);
	}
}

/* Of a service, addresses are what is asked for; of an operator's name, and of one of a cluster
 * that stands for another, whatever it may be. */
static bool is_followed(const struct wm_reply *r)
{
	if (r->ask.kind == WM_ASK_STATIC || r->ask.kind == WM_ASK_KUBE)
		return r->q.type != WM_DNS_CNAME && r->q.type != WM_DNS_ANY;
	return r->q.type == WM_DNS_A || r->q.type == WM_DNS_AAAA;
}

/* What the alias leads to is of others: who asks them goes on from here. */
static void lead(struct wm_reply *r, const uint8_t folded[WM_NAME_BUF], size_t len)
{
	r->changing = true;
	memcpy(r->lead, folded, WM_NAME_BUF);
	r->lead_len = len;
	r->lead_end = r->w.len;
}

/* The records of the name that an alias leads to, if it is ours. It was written at @p at. */
static void follow(struct wm_reply *r, const uint8_t *target, size_t at)
{
	const struct wm_dns_ask ask = r->ask;
	const uint8_t *question = r->question;
	uint8_t folded[WM_NAME_BUF] = {0};
	size_t len = 1, begin = r->w.len;
	uint32_t ttl_s = r->ttl_s;

	if (!is_followed(r) || ++r->chain > WM_DNS_CHAIN_MAX)
		return;
	for (const uint8_t *l = target; *l; l += *l + 1u)
		len += *l + 1u;
	for (size_t i = 0; i < len; i++)
		folded[i] = target[i] >= 'A' && target[i] <= 'Z' ? (uint8_t)(target[i] | 0x20)
								 : target[i];
	r->question = target;
	wm_reply_ask(r, folded, len);
	wm_reply_led_to(r);
	if (r->ask.kind == WM_ASK_OUTSIDE)
		lead(r, folded, len);
	else if (r->ask.kind != WM_ASK_REVERSE)
		wm_reply_answer(r);
	wm_reply_own(&r->w, begin, at);
	/* the name that was asked for is there, whatever it leads to */
	if (r->rcode == WM_DNS_NXDOMAIN)
		r->rcode = WM_DNS_NOERROR;
	r->question = question;
	r->ask = ask;
	r->ttl_s = ttl_s;
}

bool wm_reply_alias(struct wm_reply *r, const uint8_t *target)
{
	size_t begin = r->w.len, at;

	if (same_name(target, r->question))
		return false;
	at = wm_rr_begin(&r->w, r->question, WM_DNS_CNAME, r->ttl_s);
	wm_put_name(&r->w, target);
	if (!wm_rr_end(&r->w, begin, at)) {
		r->truncated = true;
		return true;
	}
	r->answers++;
	follow(r, target, at + 2);
	return true;
}

/* @return false: it is no name, or it is the one that was asked for. */
static bool put_cname(struct wm_reply *r, const char *host)
{
	uint8_t target[WM_DNS_NAME_MAX + 1];

	return wm_host_wire(host, target) && wm_reply_alias(r, target);
}

void wm_reply_service_alias(struct wm_reply *r)
{
	const struct wm_service *s = wm_registry_service(r->s->registry, r->ask.service);
	const char *chosen = NULL;
	uint64_t total = 0;
	int64_t n;

	/* beside an alias nothing else may be: RFC 2181 10.1 */
	if (!s || wm_reply_up_in_tables(r))
		return;
	n = wm_reply_candidates(r, s);
	/* one by weight: of those seen so far each is it with its share */
	for (int64_t k = 0; k < n; k++) {
		const struct wm_instance *i = r->s->chosen[k];
		uint8_t target[WM_DNS_NAME_MAX + 1];
		unsigned weight = i->status == WM_WARNING ? i->weight_warning : i->weight_passing;

		if (!wm_host_of(i))
			return;
		if (!weight || !wm_host_wire(wm_host_of(i), target) ||
		    same_name(target, r->question))
			continue;
		total += weight;
		if (wm_random_below(total) < weight)
			chosen = wm_host_of(i);
	}
	if (chosen)
		(void)put_cname(r, chosen);
}

void wm_reply_node_alias(struct wm_reply *r, const struct wm_node *n)
{
	if (!has_ip(&n->addr4, &n->addr6))
		(void)put_cname(r, n->address);
}
