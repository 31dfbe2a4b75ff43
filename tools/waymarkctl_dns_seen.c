/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_dns_seen.c - `dns trace`, of what the agent remembers of the questions that it
 * answered last. What the kernel answers is what is answered and not in there. */
#include "userspace/base/err.h"
#include "waymark/dns_wire.h"
#include "waymarkctl.h"
#include "waymarkctl_ask.h"
#include "waymarkctl_records.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

const char *ctl_dns_rcode(unsigned rcode)
{
	static const char *const names[] = {"NOERROR",	"FORMERR", "SERVFAIL",
					    "NXDOMAIN", "NOTIMP",  "REFUSED"};

	return rcode < sizeof(names) / sizeof(*names) ? names[rcode] : "?";
}

static json_t *seen_after(const struct ctl *c, json_int_t after)
{
	char path[80];

	snprintf(path, sizeof(path), "/v1/waymark/dns/seen?after=%lld", (long long)after);
	return ctl_fetch(c, "GET", path, CTL_TIMEOUT_MS, true);
}

static json_int_t last_of(const json_t *doc)
{
	return json_integer_value(json_object_get(doc, "last"));
}

/* --- trace ------------------------------------------------------------------------------------ */
/* Does @p name end with @p domain, at a dot or whole? */
static bool is_below(const char *name, const char *domain)
{
	size_t n = strcspn(name, "\n"), d = strlen(domain);

	if (n && name[n - 1] == '.')
		n--;
	return d && n >= d && strncasecmp(name + n - d, domain, d) == 0 &&
	       (n == d || name[n - d - 1] == '.');
}

/* The domain of dns.forward, or "." of the others. */
static const char *route_of(const char *name, const json_t *dns)
{
	const char *best = "";
	const json_t *s;
	size_t i;

	json_array_foreach(json_object_get(dns, "servers"), i, s)
	{
		const char *domain = ctl_text(s, "domain");

		if ((strcmp(domain, ".") == 0 && !*best) ||
		    (is_below(name, domain) && strlen(domain) > strlen(best)))
			best = domain;
	}
	return best;
}

static json_t *rule_of(const char *name, const json_t *status, const json_t *dns)
{
	const char *domain = ctl_text(status, "domain"), *alt = ctl_text(status, "alt_domain"),
		   *cluster = ctl_text(status, "cluster_domain"), *mode = ctl_text(dns, "upstream"),
		   *route = route_of(name, dns);

	if (is_below(name, domain) || is_below(name, alt))
		return json_sprintf("below %s, our domain", is_below(name, domain) ? domain : alt);
	if (is_below(name, cluster))
		return json_sprintf("below %s, the cluster's domain", cluster);
	if (strcmp(mode, "off") == 0)
		return json_string("not our domain, and dns.upstream is off");
	if (*route)
		return json_sprintf("not our domain: dns.upstream is %s, servers of %s", mode,
				    route);
	return json_sprintf("not our domain: dns.upstream is %s", mode);
}

/* Who answered: the question from our port. @return "kernel" where userspace has not seen it;
 * NULL: that cannot be told, as others came between. */
static const char *level_of(const json_t *seen, const struct ctl_answer *a, json_int_t *took_us)
{
	const json_t *q;
	size_t i;

	json_array_foreach(json_object_get(seen, "questions"), i, q)
	{
		if (json_integer_value(json_object_get(q, "port")) != a->port)
			continue;
		*took_us = json_integer_value(json_object_get(q, "took_us"));
		return ctl_text(q, "level");
	}
	return json_integer_value(json_object_get(seen, "lost")) ? NULL : "kernel";
}

/* What the kernel answers beside our domain it was given for a while. */
static const char *level_text(const char *level, const char *rule)
{
	static const char *const texts[][2] = {
		{"kernel", "the program in the kernel, of its tables"},
		{"own", "userspace, of its tables and the registry"},
		{"cache", "userspace, of what others said before"},
		{"stale", "userspace, of what others said before, beyond its TTL: nobody answers"},
		{"upstream", "other servers, which were asked"},
		{"second", "a second server, as the one asked first took long"}};

	if (level && strcmp(level, "kernel") == 0 && strncmp(rule, "below", 5) != 0)
		return "the program in the kernel, of what others said before";
	for (size_t i = 0; level && i < sizeof(texts) / sizeof(*texts); i++)
		if (strcmp(level, texts[i][0]) == 0)
			return texts[i][1];
	return "not known: too many others were answered meanwhile";
}

static int tell_trace(const struct ctl *c, const struct ctl_answer *a, json_t *doc)
{
	const char *level = json_string_value(json_object_get(doc, "level"));

	if (c->json)
		return ctl_print(c, doc);
	printf("asked    %s for %s %s\n", ctl_text(doc, "server"), ctl_text(doc, "name"),
	       ctl_text(doc, "type"));
	printf("rule     %s\n", ctl_text(doc, "rule"));
	printf("level    %s\n", level_text(level, ctl_text(doc, "rule")));
	printf("answer   %s, %u records", ctl_text(doc, "rcode"), a->answers);
	if (a->answers)
		printf(", TTL %u s", a->ttl_s);
	printf("\ntook     %.1f us", (double)a->took_ns / 1000);
	if (level && strcmp(level, "kernel") != 0)
		printf(", of these %lld in the agent",
		       (long long)json_integer_value(json_object_get(doc, "agent_us")));
	putchar('\n');
	json_decref(doc);
	return 0;
}

static bool server_of(const json_t *status, struct ctl_server *ret)
{
	const json_t *list = json_object_get(json_object_get(status, "listening"), "dns");

	return ctl_server_at(
		json_array_size(list) ? json_string_value(json_array_get(list, 0)) : "", ret);
}

static int trace(const struct ctl *c, const json_t *status, const json_t *dns, uint16_t type)
{
	json_t *before = seen_after(c, INT64_MAX), *seen = NULL;
	struct ctl_answer a = {0};
	struct ctl_server s;
	json_int_t took_us = 0;
	const char *level;
	char other[16];
	int r;

	if (!before)
		return CTL_EXIT_FAILED;
	if (!server_of(status, &s)) {
		json_decref(before);
		return ctl_fail(c, "the agent listens on no address for DNS");
	}
	r = ctl_ask(&s, c->args[0], type, &a);
	seen = r ? NULL : seen_after(c, last_of(before));
	json_decref(before);
	if (r == -ENAMETOOLONG)
		return ctl_fail(c, "%s: a name has at most 253 characters, each of its labels %d",
				c->args[0], WM_DNS_LABEL_MAX);
	if (r)
		return ctl_fail(c, "%s: %s: %s", s.text, c->args[0], wm_err_str(r));
	if (!seen)
		return CTL_EXIT_FAILED;
	level = level_of(seen, &a, &took_us);
	r = tell_trace(c, &a,
		       json_pack("{s:s, s:s, s:s, s:o, s:s?, s:s, s:i, s:I, s:I, s:I}", "name",
				 c->args[0], "type", ctl_dns_type(type, other), "server", s.text,
				 "rule", rule_of(c->args[0], status, dns), "level", level, "rcode",
				 ctl_dns_rcode(a.flags & WM_DNS_RCODE), "answers", a.answers,
				 "ttl_s", (json_int_t)a.ttl_s, "took_us",
				 (json_int_t)(a.took_ns / 1000), "agent_us", took_us));
	json_decref(seen);
	return r;
}

int ctl_dns_trace(const struct ctl *c)
{
	json_t *status = ctl_get(c, "/v1/waymark/status", false),
	       *dns = status ? ctl_get(c, "/v1/waymark/dns", false) : NULL;
	uint16_t type = WM_DNS_A;
	int r = CTL_EXIT_FAILED;

	if (c->args_count > 1 && !ctl_type_parse(c->args[1], &type))
		r = ctl_fail(c, "'%s' is no type that is known here", c->args[1]);
	else if (dns)
		r = trace(c, status, dns, type);
	json_decref(dns);
	json_decref(status);
	return r;
}
