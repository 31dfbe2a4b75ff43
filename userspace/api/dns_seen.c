/* SPDX-License-Identifier: Apache-2.0 */
/* dns_seen.c - what userspace DNS answered last: GET /v1/waymark/dns/seen. What the kernel's
 * program answers is not in it. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

static void put_question(struct wm_json *j, const struct wm_dns_seen_one *o, uint64_t now_ms)
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
	wm_json_ku(j, "took_us", o->took_ns / 1000);
	wm_json_ku(j, "age_ms", now_ms - o->at_ms);
	wm_json_close(j, '}');
}

void wm_native_dns_seen(struct wm_call *c)
{
	const struct wm_dns_seen *s = c->api->d.dns ? wm_dns_seen_of(c->api->d.dns) : NULL;
	const char *text = wm_http_query(c->req, "after");
	uint64_t after = text ? strtoull(text, NULL, 10) : 0, last = s ? wm_dns_seen_last(s) : 0,
		 first = last > WM_DNS_SEEN_MAX ? last - WM_DNS_SEEN_MAX : 0,
		 now_ms = wm_clock_ms();
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ku(&j, "last", last);
	wm_json_ku(&j, "lost", after < first ? first - after : 0);
	wm_json_kopen(&j, "questions", '[');
	for (uint64_t n = (after < first ? first : after) + 1; n <= last; n++) {
		const struct wm_dns_seen_one *o = wm_dns_seen_get(s, n);

		if (o)
			put_question(&j, o, now_ms);
	}
	wm_json_close(&j, ']');
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}
