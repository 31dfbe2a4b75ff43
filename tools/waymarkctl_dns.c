/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_dns.c - who is asked for names that are not ours. */
#include "waymarkctl.h"

#include <string.h>

static const char *const columns[] = {"domain", "server", "state",    "since_ms", "latency_us",
				      "probes", "late",	  "failures", "error",	  NULL};

static json_t *get_dns(const struct ctl *c)
{
	return ctl_get(c, "/v1/waymark/dns", false);
}

int ctl_dns_upstreams(const struct ctl *c)
{
	json_t *doc = get_dns(c), *servers = json_object_get(doc, "servers");

	if (!doc)
		return CTL_EXIT_FAILED;
	if (c->json) {
		json_incref(servers);
		json_decref(doc);
		return ctl_print(c, servers ? servers : json_array());
	}
	if (json_array_size(servers))
		ctl_table(servers, columns, 0, stdout);
	else
		printf("dns.upstream is %s: no servers are known\n",
		       json_string_value(json_object_get(doc, "upstream")));
	json_decref(doc);
	return 0;
}

static unsigned count_up(const json_t *servers)
{
	unsigned up = 0;
	json_t *s;
	size_t i;

	json_array_foreach(servers, i, s)
	{
		const char *state = json_string_value(json_object_get(s, "state"));

		up += state && strcmp(state, "up") == 0;
	}
	return up;
}

static void put_counters(const struct ctl *c, json_t *counters)
{
	const char *name;
	json_t *n;

	json_object_foreach(counters, name, n)
	{
		if (c->verbose || json_integer_value(n))
			printf("%-28s %lld\n", name, (long long)json_integer_value(n));
	}
}

int ctl_dns_status(const struct ctl *c)
{
	json_t *doc = get_dns(c), *servers = json_object_get(doc, "servers");
	const char *source;

	if (!doc)
		return CTL_EXIT_FAILED;
	if (c->json)
		return ctl_print(c, doc);
	source = json_string_value(json_object_get(doc, "source"));
	printf("upstream %s%s%s\n", json_string_value(json_object_get(doc, "upstream")),
	       source && *source ? ", of " : "", source ? source : "");
	if (json_array_size(servers))
		printf("servers  %u of %zu answer\n", count_up(servers), json_array_size(servers));
	printf("open     %lld questions\n\n",
	       (long long)json_integer_value(json_object_get(doc, "open")));
	put_counters(c, json_object_get(doc, "counters"));
	json_decref(doc);
	return 0;
}

int ctl_dns_flush(const struct ctl *c)
{
	if (!ctl_send(c, "DELETE", "/v1/waymark/dns/cache", NULL, true))
		return CTL_EXIT_FAILED;
	if (!c->json)
		puts("what others said is forgotten");
	return 0;
}
