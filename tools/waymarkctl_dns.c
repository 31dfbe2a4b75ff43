/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_dns.c - who is asked for names that are not ours. */
#include "userspace/base/plain.h"
#include "waymarkctl.h"

static const char *const columns[] = {"domain",	    "server",	 "state", "since_ms",
				      "latency_us", "probes",	 "late",  "failures",
				      "p95_us",	    "overtaken", "error", NULL};

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

int ctl_dns_flush(const struct ctl *c)
{
	char path[CTL_PATH_MAX] = "/v1/waymark/dns/cache", name[4 * CTL_NAME_MAX + 1];

	if (c->args_count && !ctl_path(c, path, "/v1/waymark/dns/cache?name=", c->args[0], ""))
		return CTL_EXIT_USAGE;
	if (!ctl_send(c, "DELETE", path, NULL, true))
		return CTL_EXIT_FAILED;
	if (!c->json)
		printf("what others said%s%s is forgotten\n", c->args_count ? " of " : "",
		       wm_plain(c->args_count ? c->args[0] : "", name, sizeof(name)));
	return 0;
}
