/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_dns_status.c - `dns status`: whom this node's programs ask, whether the agent answers,
 * whether a libc finds a name of ours, and how it goes with names that are not ours. */
#include "waymark/dns_wire.h"
#include "waymarkctl.h"
#include "waymarkctl_ask.h"
#include "waymarkctl_node.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#define DNS_PORT     53
#define LIBC_OPTIONS "timeout:1 attempts:1" /* a server that is dead costs a second, not ten */

/* --- whom programs ask ------------------------------------------------------------------------ */
/* Does it know our domain? Some resolvers between change what the header says. Not asked where the
 * domain is not known. */
static json_t *asked(const struct ctl_server *s, const char *domain)
{
	struct ctl_answer a = {0};
	bool knows = domain && !ctl_ask(s, domain, WM_DNS_SOA, &a) && a.answers &&
		     !(a.flags & WM_DNS_RCODE);

	return json_pack("{s:s, s:o}", "server", s->text, "answers",
			 domain ? json_boolean(knows) : json_null());
}

static json_t *servers_of(const struct ctl_node *n, const char *domain)
{
	json_t *list = json_array();
	struct ctl_server s;

	for (unsigned i = 0; i < n->servers_count; i++)
		if (ctl_server_of(n->servers[i], DNS_PORT, &s))
			json_array_append_new(list, asked(&s, domain));
	return list;
}

static json_t *listening_of(const json_t *status, const char *domain)
{
	const json_t *at = json_object_get(json_object_get(status, "listening"), "dns"), *v;
	json_t *list = json_array();
	struct ctl_server s;
	size_t i;

	json_array_foreach(at, i, v)
	{
		if (ctl_server_at(json_string_value(v), &s))
			json_array_append_new(list, asked(&s, domain));
	}
	return list;
}

/* As any program of this machine does it: hosts, nsswitch.conf, resolv.conf. */
static json_t *by_libc(const char *domain)
{
	struct addrinfo want = {.ai_socktype = SOCK_DGRAM}, *found = NULL;
	char name[512], text[NI_MAXHOST] = "";
	int r;

	snprintf(name, sizeof(name), "ns.%s.", domain);
	setenv("RES_OPTIONS", LIBC_OPTIONS, 0);
	r = getaddrinfo(name, NULL, &want, &found);
	if (!r)
		r = getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof(text), NULL, 0,
				NI_NUMERICHOST);
	if (found)
		freeaddrinfo(found);
	name[strlen(name) - 1] = '\0';
	return json_pack("{s:s, s:s, s:s}", "name", name, "address", text, "error",
			 r ? gai_strerror(r) : "");
}

static bool is_enabled(const struct ctl_node *n)
{
	struct ctl_dropin d;
	bool there;

	if (n->ours)
		return true;
	(void)ctl_node_dropin_look(n, CTL_NODE_RESOLVED_FILE, &d);
	there = d.ours && n->owner == CTL_NODE_RESOLVED;
	wm_buf_done(&d.text);
	return there;
}

static bool routes(const char *text, const char *zone)
{
	size_t len = strlen(zone);

	for (text = strchr(text, '~'); text; text = strchr(text + 1, '~'))
		if (strcspn(text + 1, " \n") == len && strncmp(text + 1, zone, len) == 0)
			return true;
	return false;
}

/* Zones of the agent that systemd-resolved asks of others: its file is of before a setting changed,
 * or of a version that wrote fewer. */
static json_t *missing_of(const struct ctl_node *n, const json_t *status)
{
	json_t *list = json_array(), *zone;
	struct ctl_dropin d;
	size_t i;

	(void)ctl_node_dropin_look(n, CTL_NODE_RESOLVED_FILE, &d);
	if (d.ours && n->owner == CTL_NODE_RESOLVED && !routes(d.text.data, "."))
		json_array_foreach(json_object_get(status, "zones"), i,
				   zone) if (!routes(d.text.data, json_string_value(zone)))
			json_array_append(list, zone);
	wm_buf_done(&d.text);
	return list;
}

/* @param status of the agent, or NULL. @return NULL after a message. */
static json_t *look_at_node(const struct ctl *c, const json_t *status)
{
	const char *domain = json_string_value(json_object_get(status, "domain"));
	struct ctl_node n;
	json_t *doc = NULL;

	if (ctl_node_look(c->root, false, &n))
		ctl_fail(c, "%s" CTL_NODE_RESOLV " cannot be read", c->root);
	else
		doc = json_pack("{s:s, s:b, s:b, s:o, s:o, s:o}", "owner",
				ctl_node_owner_str(n.owner), "enabled", is_enabled(&n), "edited",
				n.edited, "missing", missing_of(&n, status), "asks",
				servers_of(&n, domain), "agent", listening_of(status, domain));
	if (doc && *n.why)
		json_object_set_new(doc, "why", json_string(n.why));
	if (doc && domain && n.real)
		json_object_set_new(doc, "libc", by_libc(domain));
	ctl_node_done(&n);
	return doc;
}

/* --- for people ------------------------------------------------------------------------------- */
static void put_servers(const char *label, const json_t *list)
{
	const json_t *s;
	size_t i;

	json_array_foreach(list, i, s)
	{
		const json_t *answers = json_object_get(s, "answers");

		printf("%-8s %s%s\n", i ? "" : label,
		       json_string_value(json_object_get(s, "server")),
		       json_is_null(answers)   ? ""
		       : json_is_true(answers) ? ", which answers for our domain"
					       : ", which does not answer for our domain");
	}
}

static void put_node(const json_t *node)
{
	const json_t *libc = json_object_get(node, "libc"),
		     *missing = json_object_get(node, "missing");
	const char *error = json_string_value(json_object_get(libc, "error")),
		   *why = json_string_value(json_object_get(node, "why"));

	printf("node     %s%s%s\n", json_string_value(json_object_get(node, "owner")),
	       json_is_true(json_object_get(node, "enabled")) ? ", dns enable: yes"
							      : ", dns enable: no",
	       json_is_true(json_object_get(node, "edited")) ? ", edited since" : "");
	if (why)
		printf("         %s\n", why);
	if (json_array_size(missing))
		printf("         %s and %zu other zones of ours are asked of others: dns enable "
		       "again\n",
		       json_string_value(json_array_get(missing, 0)), json_array_size(missing) - 1);
	put_servers("asks", json_object_get(node, "asks"));
	put_servers("agent", json_object_get(node, "agent"));
	if (error && *error)
		printf("libc     does not find %s: %s\n",
		       json_string_value(json_object_get(libc, "name")), error);
	else if (error)
		printf("libc     finds %s at %s\n",
		       json_string_value(json_object_get(libc, "name")),
		       json_string_value(json_object_get(libc, "address")));
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
	const char *name, *before = "\n";
	json_t *n;

	json_object_foreach(counters, name, n)
	{
		if (!c->verbose && !json_integer_value(n))
			continue;
		fputs(before, stdout);
		before = "";
		printf("%-28s %lld\n", name, (long long)json_integer_value(n));
	}
}

static void put_upstream(const struct ctl *c, const json_t *doc)
{
	const json_t *servers = json_object_get(doc, "servers");
	const char *source = json_string_value(json_object_get(doc, "source")),
		   *how = ctl_text(doc, "upstream");

	printf("upstream %s%s%s%s\n", how, source && *source ? ", of " : "", source ? source : "",
	       strcmp(how, "off") == 0 ? ": names that are not ours are refused" : "");
	if (json_array_size(servers))
		printf("servers  %u of %zu answer\n", count_up(servers), json_array_size(servers));
	printf("open     %lld questions\n",
	       (long long)json_integer_value(json_object_get(doc, "open")));
	put_counters(c, json_object_get(doc, "counters"));
}

int ctl_dns_status(const struct ctl *c)
{
	json_t *status = ctl_get(c, "/v1/waymark/status", true), *node = look_at_node(c, status),
	       *doc = node ? ctl_get(c, "/v1/waymark/dns", false) : NULL;
	bool reached = doc;

	json_decref(status);
	if (c->json && node) {
		doc = doc ? doc : json_object();
		json_object_set_new(doc, "node", node);
		(void)ctl_print(c, doc);
	} else if (node) {
		put_node(node);
		if (doc)
			put_upstream(c, doc);
		json_decref(node);
		json_decref(doc);
	}
	return reached ? 0 : CTL_EXIT_FAILED;
}
