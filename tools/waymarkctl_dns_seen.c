/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_dns_seen.c - `dns trace`, of what the agent remembers of the questions that it
 * answered last. What the kernel answers is what is answered and not in there. */
#include "userspace/base/err.h"
#include "userspace/base/plain.h"
#include "userspace/base/prefix.h"
#include "userspace/dns/text.h"
#include "waymark/dns_wire.h"
#include "waymarkctl.h"
#include "waymarkctl_ask.h"
#include "waymarkctl_records.h"

#include <errno.h>
#include <limits.h>
#include <resolv.h>
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
	char path[96];

	/* of what the kernel told before there is nothing to be learnt */
	snprintf(path, sizeof(path), "/v1/waymark/dns/seen?after=%lld&kernel_after=%llu",
		 (long long)after, ULLONG_MAX);
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

/* A zone of the agent's that the name is in. */
static const char *zone_of(const char *name, const json_t *status)
{
	const json_t *zone;
	size_t i;

	json_array_foreach(
		json_object_get(status, "zones"), i,
		zone) if (is_below(name, json_string_value(zone))) return json_string_value(zone);
	return NULL;
}

static bool is_of_address(const char *name)
{
	return is_below(name, "in-addr.arpa") || is_below(name, "ip6.arpa");
}

/* What is outside of our domains, and answered as if it were ours. */
static json_t *rule_of_ours(const char *name, const json_t *status)
{
	const char *zone = zone_of(name, status);

	if (zone)
		return json_sprintf("in %s, a zone of our virtual addresses", zone);
	return json_string(is_of_address(name)
				   ? "the address of a node or a service that is known here"
				   : "a record of the operator's: dns.records, dns.records_file or "
				     "dns.hosts_file");
}

static json_t *rule_of(const char *name, const json_t *status, const json_t *dns,
		       const struct ctl_answer *a)
{
	const char *domain = ctl_text(status, "domain"), *alt = ctl_text(status, "alt_domain"),
		   *cluster = ctl_text(status, "cluster_domain"), *mode = ctl_text(dns, "upstream"),
		   *route = route_of(name, dns);

	if (is_below(name, domain) || is_below(name, alt))
		return json_sprintf("below %s, our domain", is_below(name, domain) ? domain : alt);
	if (is_below(name, cluster))
		return json_sprintf("below %s, the cluster's domain", cluster);
	if (a->flags & WM_DNS_AA || zone_of(name, status))
		return rule_of_ours(name, status);
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

static json_int_t more(const json_t *before, const json_t *after, const char *name)
{
	return json_integer_value(json_object_get(json_object_get(after, "kernel"), name)) -
	       json_integer_value(json_object_get(json_object_get(before, "kernel"), name));
}

/* What of the kernel's answered. @return NULL: that cannot be told, as it answered others as well.
 */
static const char *part_of(const json_t *before, const json_t *after, const struct ctl_answer *a)
{
	json_int_t all = more(before, after, "answered"), hot = more(before, after, "hot"),
		   ready = more(before, after, "ready");

	if (!(a->flags & WM_DNS_AA) || (all && hot == all))
		return "hot"; /* of ours all has it */
	if (all && ready == all)
		return "ready";
	return ready ? NULL : "tables";
}

static const char *level_text(const json_t *doc)
{
	static const char *const texts[][2] = {
		{"tables", "the program in the kernel, of its tables"},
		{"ready", "the program in the kernel, of what userspace said before"},
		{"hot", "the program in the kernel, of what others said before"},
		{"kernel",
		 "the program in the kernel; of what cannot be told, as it answered others"},
		{"own", "userspace, of its tables and the registry"},
		{"cache", "userspace, of what others said before"},
		{"stale", "userspace, of what others said before, beyond its TTL: nobody answers"},
		{"upstream", "other servers, which were asked"},
		{"second", "a second server, as the one asked first took long"}};
	const char *level = ctl_text(doc, "level"), *part = ctl_text(doc, "kernel");

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (strcmp(*part ? part : level, texts[i][0]) == 0)
			return texts[i][1];
	return "not known: too many others were answered meanwhile";
}

/* Is @p name, with or without a dot at its end, the other, which has none? */
static bool is_same(const char *name, const char *other)
{
	return is_below(name, other) && strlen(name) <= strlen(other) + 1;
}

/* How long the kernel has had what others said. @return seconds; -1: it does not say. */
static json_int_t age_of(const struct ctl *c, const char *asked, uint16_t type)
{
	char path[CTL_PATH_MAX];
	const json_t *row;
	json_int_t age_s = -1;
	json_t *doc;
	size_t i;

	if (!ctl_path(c, path, "/v1/waymark/dns/cache?name=", asked, ""))
		return -1;
	doc = ctl_fetch(c, "GET", path, CTL_TIMEOUT_MS, true);
	json_array_foreach(json_object_get(doc, "answers"), i, row)
	{
		const char *name = ctl_text(row, "name");

		/* as it was asked: without DO, CD and AD */
		if (is_same(asked, name) &&
		    json_integer_value(json_object_get(row, "type")) == type &&
		    json_is_false(json_object_get(row, "do")) &&
		    json_is_false(json_object_get(row, "cd")) &&
		    json_is_false(json_object_get(row, "ad")))
			age_s = json_integer_value(json_object_get(row, "age_s"));
	}
	json_decref(doc);
	return age_s;
}

static void tell_records(const json_t *records)
{
	const json_t *r;
	size_t i;

	json_array_foreach(records, i, r)
		printf("         %s %lld %s %s\n", ctl_text(r, "name"),
		       (long long)json_integer_value(json_object_get(r, "ttl_s")),
		       ctl_text(r, "type"), ctl_text(r, "data"));
}

static int tell_trace(const struct ctl *c, const struct ctl_answer *a, json_t *doc)
{
	const char *level = json_string_value(json_object_get(doc, "level"));

	if (c->json)
		return ctl_print(c, doc);
	printf("asked    %s for %s %s\n", ctl_text(doc, "server"), ctl_text(doc, "name"),
	       ctl_text(doc, "type"));
	printf("rule     %s\n", ctl_text(doc, "rule"));
	printf("level    %s\n", level_text(doc));
	if (json_is_integer(json_object_get(doc, "age_s")))
		printf("age      %lld s since they said it\n",
		       (long long)json_integer_value(json_object_get(doc, "age_s")));
	printf("answer   %s, %u records", ctl_text(doc, "rcode"), a->answers);
	if (a->answers)
		printf(", TTL %u s", a->ttl_s);
	printf("%s\n", a->flags & WM_DNS_TC ? "; there are more, over TCP" : "");
	tell_records(json_object_get(doc, "records"));
	printf("took     %.1f us", (double)a->took_ns / 1000);
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

/* A question, and what is known of it. */
struct asked {
	const struct ctl_server *server;
	const struct ctl_answer *answer;
	const char *name;
	uint16_t type;
	const json_t *before, *after; /* what was seen */
	const json_t *status, *dns;
};

/* All that is told. @return the caller's. */
static json_t *found(const struct ctl *c, const struct asked *k)
{
	const struct ctl_answer *a = k->answer;
	json_int_t took_us = 0, age_s = -1;
	const char *level = level_of(k->after, a, &took_us);
	const char *part =
		level && strcmp(level, "kernel") == 0 ? part_of(k->before, k->after, a) : NULL;
	char other[16];
	json_t *doc;

	if (part && strcmp(part, "hot") == 0)
		age_s = age_of(c, k->name, k->type);
	doc = json_pack("{s:s, s:s, s:s, s:o, s:s?, s:s?, s:s, s:i, s:o, s:I, s:I, s:I}", "name",
			k->name, "type", ctl_dns_type(k->type, other), "server", k->server->text,
			"rule", rule_of(k->name, k->status, k->dns, a), "level", level, "kernel",
			part, "rcode", ctl_dns_rcode(a->flags & WM_DNS_RCODE), "answers",
			a->answers, "records", ctl_records(a->msg, a->len), "ttl_s",
			(json_int_t)a->ttl_s, "took_us", (json_int_t)(a->took_ns / 1000),
			"agent_us", took_us);
	if (age_s >= 0)
		json_object_set_new(doc, "age_s", json_integer(age_s));
	return doc;
}

static int trace(const struct ctl *c, const json_t *status, const json_t *dns, const char *name,
		 uint16_t type)
{
	json_t *before = seen_after(c, INT64_MAX), *seen = NULL;
	struct ctl_answer a = {0};
	struct ctl_server s;
	int r;

	if (!before)
		return CTL_EXIT_FAILED;
	if (!server_of(status, &s)) {
		json_decref(before);
		return ctl_fail(c, "the agent listens on no address for DNS");
	}
	r = ctl_ask(&s, name, type, &a);
	seen = r ? NULL : seen_after(c, last_of(before));
	if (r)
		r = ctl_fail(c, "%s: %s: %s", s.text, name, wm_err_str(r));
	else if (!seen)
		r = CTL_EXIT_FAILED;
	else
		r = tell_trace(
			c, &a,
			found(c, &(struct asked){&s, &a, name, type, before, seen, status, dns}));
	json_decref(before);
	json_decref(seen);
	return r;
}

/* The name that an address is asked by. @return false: the text is no address. */
static bool reverse_of(const char *text, char ret[WM_PREFIX_ZONE_SIZE])
{
	struct wm_guard_prefix p;
	struct wm_err e;

	return !strchr(text, '/') && wm_prefix_parse(text, &p, &e) == 0 &&
	       wm_prefix_zone(&p, 0, ret);
}

/* As the agent writes it. @return 0, else after a message. */
static int read_name(const struct ctl *c, const char *text, char ret[NS_MAXDNAME])
{
	uint8_t wire[WM_DNS_NAME_MAX + 1];
	char plain[NS_MAXDNAME];

	if (!wm_dns_wire(text, wire))
		return ctl_fail(c,
				"%s: a name has at most 253 characters, each of its labels 1 to %d",
				wm_plain(text, plain, sizeof(plain)), WM_DNS_LABEL_MAX);
	if (!wm_dns_text(wire, ret, NS_MAXDNAME))
		memcpy(ret, ".", sizeof("."));
	return 0;
}

int ctl_dns_trace(const struct ctl *c)
{
	json_t *status = ctl_get(c, "/v1/waymark/status", false),
	       *dns = status ? ctl_get(c, "/v1/waymark/dns", false) : NULL;
	uint16_t type = WM_DNS_A;
	char name[NS_MAXDNAME], reverse[WM_PREFIX_ZONE_SIZE];
	bool address = reverse_of(c->args[0], reverse);
	int r = CTL_EXIT_FAILED;

	if (address)
		type = WM_DNS_PTR;
	if (c->args_count > 1 && !ctl_type_parse(c->args[1], &type)) {
		r = ctl_fail(c, "'%s' is no type that is known here: a number works, as in TYPE257",
			     c->args[1]);
	} else if (dns) {
		r = read_name(c, address ? reverse : c->args[0], name);
		r = r ? r : trace(c, status, dns, name, type);
	}
	json_decref(dns);
	json_decref(status);
	return r;
}
