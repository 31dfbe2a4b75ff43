/* SPDX-License-Identifier: Apache-2.0 */
/* dns_seen.c - what userspace DNS answered last, and the kernel as far as it tells of it
 * (dns.sample): GET /v1/waymark/dns/seen. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "waymark/counters.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>

/* Of most questions the same: it is asked for once. */
struct device {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
};

static const char *device_of(struct device *d, uint32_t ifindex)
{
	if (d->ifindex != ifindex && !if_indextoname(ifindex, d->name))
		*d->name = '\0'; /* it is gone */
	d->ifindex = ifindex;
	return d->name;
}

static void put_question(struct wm_json *j, const struct wm_dns_seen_one *o, uint64_t now_ms,
			 struct device *d)
{
	const struct in6_addr *client = (const void *)o->client;
	char name[WM_DNS_TEXT_MAX], addr[INET6_ADDRSTRLEN] = "";

	if (!wm_dns_text(o->name, name, sizeof(name)))
		snprintf(name, sizeof(name), ".");
	if (IN6_IS_ADDR_V4MAPPED(client))
		inet_ntop(AF_INET, o->client + 12, addr, sizeof(addr));
	else if (!IN6_IS_ADDR_UNSPECIFIED(client))
		inet_ntop(AF_INET6, o->client, addr, sizeof(addr));
	wm_json_open(j, '{');
	wm_json_ku(j, "number", o->number);
	wm_json_ks(j, "name", name);
	wm_json_ku(j, "type", o->type);
	wm_json_ks(j, "client", addr);
	wm_json_ku(j, "port", o->port);
	wm_json_ks(j, "transport", o->tcp ? "tcp" : "udp");
	wm_json_ks(j, "level", wm_dns_level_str((enum wm_dns_level)o->level));
	wm_json_ku(j, "rcode", o->rcode);
	wm_json_ku(j, "answers", o->answers);
	wm_json_ku(j, "octets", o->octets);
	wm_json_ku(j, "took_us", o->took_ns / 1000);
	wm_json_ku(j, "stands_for", o->stands_for);
	wm_json_ks(j, "device", o->ifindex ? device_of(d, o->ifindex) : "");
	wm_json_ku(j, "age_ms", now_ms - o->at_ms);
	wm_json_close(j, '}');
}

/* Members of the one that is open: what came after number @p after. @p s NULL: nothing did. */
static void put_seen(struct wm_json *j, const struct wm_dns_seen *s, uint64_t after)
{
	uint64_t last = s ? wm_dns_seen_last(s) : 0,
		 first = last > WM_DNS_SEEN_MAX ? last - WM_DNS_SEEN_MAX : 0,
		 now_ms = wm_clock_ms();
	struct device d = {0};

	if (after > last) /* there is nothing behind it, whatever the number */
		after = last;
	wm_json_ku(j, "last", last);
	wm_json_ku(j, "lost", after < first ? first - after : 0);
	wm_json_kopen(j, "questions", '[');
	for (uint64_t n = (after < first ? first : after) + 1; n <= last; n++) {
		const struct wm_dns_seen_one *o = wm_dns_seen_get(s, n);

		if (o)
			put_question(j, o, now_ms, &d);
	}
	wm_json_close(j, ']');
}

static uint64_t number_of(const struct wm_call *c, const char *name)
{
	const char *text = wm_http_query(c->req, name);

	return text ? strtoull(text, NULL, 10) : 0;
}

/* How many of the kernel's answers were of what: who asks before and after a question of his own
 * knows what answered it where nobody else asked. */
static void put_counts(struct wm_json *j, const struct wm_api *a)
{
	uint64_t n[WM_COUNTER_COUNT];

	if (!a->d.plane || wm_plane_counters(a->d.plane, n))
		return;
	wm_json_ku(j, "answered", n[WM_C_DNS_ANSWERED]);
	wm_json_ku(j, "ready", n[WM_C_DNS_READY]);
	wm_json_ku(j, "hot", n[WM_C_DNS_HOT]);
}

void wm_native_dns_seen(struct wm_call *c)
{
	const struct wm_dns_server *dns = c->api->d.dns;
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	put_seen(&j, dns ? wm_dns_seen_of(dns) : NULL, number_of(c, "after"));
	wm_json_kopen(&j, "kernel", '{');
	put_seen(&j, dns ? wm_dns_seen_by_kernel(dns) : NULL, number_of(c, "kernel_after"));
	put_counts(&j, c->api);
	wm_json_close(&j, '}');
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}
