/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_show.c - services, names and instances, for people in tables, under --json as the
 * agent answers. */
#include "userspace/base/duration.h"
#include "waymarkctl_names.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* --- what fails ------------------------------------------------------------------------------- */
/* "check: first line of its output"; maintenance has its reason in the notes. */
static json_t *reason_of(const json_t *check)
{
	const char *output = ctl_text(check, "Output");

	if (!*output)
		output = *ctl_text(check, "Notes") ? ctl_text(check, "Notes") : "no result yet";
	return json_sprintf("%s: %.*s", ctl_text(check, "CheckID"), (int)strcspn(output, "\r\n"),
			    output);
}

/* Where the reason of an instance stands: "/node/id"; of a node: "/node/". */
static const char *key_of(const char *node, const char *id, char out[3 * CTL_NAME_MAX])
{
	snprintf(out, (size_t)3 * CTL_NAME_MAX, "/%s/%s", node, id);
	return out;
}

/* The first critical check of each service by name, of each instance and node by key_of().
 * @return never NULL but without memory. */
static json_t *reasons(const struct ctl *c)
{
	json_t *checks = ctl_get(c, "/v1/health/state/critical", true), *by = json_object(), *k;
	char key[3 * CTL_NAME_MAX];
	size_t i;

	json_array_foreach(checks, i, k)
	{
		key_of(ctl_text(k, "Node"), ctl_text(k, "ServiceID"), key);
		if (!json_object_get(by, key))
			json_object_set_new(by, key, reason_of(k));
		if (*ctl_text(k, "ServiceName") && !json_object_get(by, ctl_text(k, "ServiceName")))
			json_object_set_new(by, ctl_text(k, "ServiceName"), reason_of(k));
	}
	json_decref(checks);
	return by;
}

static bool healthy(const json_t *backend)
{
	return strcmp(ctl_text(backend, "status"), "critical") != 0 &&
	       strcmp(ctl_text(backend, "lifecycle"), "running") == 0;
}

/* Why an instance takes no connections; "": it does, or nobody says. */
static const char *failing(const json_t *backend, const json_t *why)
{
	char key[3 * CTL_NAME_MAX];
	const char *own =
		ctl_text(why, key_of(ctl_text(backend, "node"), ctl_text(backend, "id"), key));

	if (healthy(backend))
		return "";
	return *own ? own : ctl_text(why, key_of(ctl_text(backend, "node"), "", key));
}

/* --- services --------------------------------------------------------------------------------- */
static json_t *service_row(const json_t *s, const json_t *why)
{
	const json_t *backends = json_object_get(s, "backends"), *b;
	const char *name = ctl_text(s, "name"), *reason = "";
	size_t i, up = 0, all = json_array_size(backends);

	json_array_foreach(backends, i, b)
	{
		up += healthy(b);
		if (!*reason)
			reason = failing(b, why);
	}
	if (up < all && *ctl_text(why, name))
		reason = ctl_text(why, name);
	return json_pack("{s:s, s:s, s:o, s:s, s:s}", "service", name, "address",
			 ctl_text(s, "vip4"), "healthy", json_sprintf("%zu/%zu", up, all), "kernel",
			 json_is_true(json_object_get(s, "in_tables")) ? "yes" : "no", "failing",
			 reason);
}

static int list_services(const struct ctl *c, const json_t *all)
{
	static const char *const columns[] = {"service", "address", "healthy",
					      "kernel",	 "failing", NULL};
	json_t *rows = json_array(), *why = reasons(c), *s;
	size_t i;

	json_array_foreach(all, i, s) json_array_append_new(rows, service_row(s, why));
	if (json_array_size(rows))
		ctl_table(rows, columns, 0, stdout);
	else
		puts("no services are registered");
	json_decref(rows);
	json_decref(why);
	return 0;
}

static json_t *address_of(const json_t *b)
{
	const char *v4 = ctl_text(b, "address"), *v6 = ctl_text(b, "address6");
	long long port = (long long)json_integer_value(json_object_get(b, "port"));

	if (*v4)
		return json_sprintf("%s:%lld", v4, port);
	if (*v6)
		return json_sprintf("[%s]:%lld", v6, port);
	return json_sprintf("%s:%lld", *ctl_text(b, "host") ? ctl_text(b, "host") : "-", port);
}

static json_t *copy_of(const json_t *v, const char *key)
{
	json_t *x = json_object_get(v, key);

	return x ? json_incref(x) : json_null();
}

/* Are there instances on more than one node? Then ids alone tell nothing. */
static bool on_many(const json_t *backends)
{
	const char *first = ctl_text(json_array_get(backends, 0), "node");
	const json_t *b;
	size_t i;

	json_array_foreach(backends, i, b)
	{
		if (strcmp(ctl_text(b, "node"), first) != 0)
			return true;
	}
	return false;
}

static json_t *backend_row(const json_t *b, const json_t *why)
{
	return json_pack("{s:s, s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:s}", "instance",
			 ctl_text(b, "id"), "node", ctl_text(b, "node"), "address", address_of(b),
			 "status", ctl_text(b, "status"), "state",
			 healthy(b) ? ctl_text(b, "state") : ctl_text(b, "lifecycle"), "weight",
			 copy_of(b, "weight"), "share", copy_of(b, "share"), "picks",
			 copy_of(b, "picks"), "backend", copy_of(b, "backend"), "failing",
			 failing(b, why));
}

/* One service: what stands for it, its instances, and why one takes no connections. */
static int show_service(const struct ctl *c, const json_t *s)
{
	static const char *const columns[] = {"instance", "node",    "address", "status",
					      "state",	  "weight",  "share",	"picks",
					      "backend",  "failing", NULL};
	static const char *const one_node[] = {"instance", "address", "status", "state",
					       "weight",   "share",   "picks",	"backend",
					       "failing",  NULL};
	json_t *rows = json_array(), *why = reasons(c), *b;
	const json_t *backends = json_object_get(s, "backends");
	char name[4 * CTL_NAME_MAX];
	size_t i;

	printf("%s  %s  %s\n", wm_plain(ctl_text(s, "name"), name, sizeof(name)),
	       ctl_text(s, "vip4"), ctl_text(s, "vip6"));
	json_array_foreach(json_object_get(s, "names"), i, b)
		printf("  %s\n", json_string_value(b));
	json_array_foreach(backends, i, b) json_array_append_new(rows, backend_row(b, why));
	ctl_table(rows, on_many(backends) ? columns : one_node, 0, stdout);
	json_decref(rows);
	json_decref(why);
	return 0;
}

static int service_named(const struct ctl *c, const char *name)
{
	char path[CTL_PATH_MAX];
	json_t *doc;
	int r;

	if (!ctl_path(c, path, "/v1/waymark/resolve/", name, ""))
		return CTL_EXIT_USAGE;
	doc = ctl_get(c, path, false);
	if (!doc || c->json)
		return ctl_print(c, doc);
	r = show_service(c, doc);
	json_decref(doc);
	return r;
}

int ctl_services(const struct ctl *c)
{
	json_t *doc;
	int r;

	if (c->args_count)
		return service_named(c, c->args[0]);
	doc = ctl_get(c, "/v1/waymark/services", false);
	if (!doc || c->json)
		return ctl_print(c, doc);
	r = list_services(c, doc);
	json_decref(doc);
	return r;
}

/* --- names ------------------------------------------------------------------------------------ */
/* A tag chooses among the instances: the agent draws as DNS does. */
static int show_tagged(const struct ctl *c, const char *service, const char *tag)
{
	char path[CTL_PATH_MAX], tail[CTL_NAME_MAX * 3 + 32] = "&count=100&tag=";

	ctl_escape(tail + strlen(tail), sizeof(tail) - strlen(tail), tag);
	if (!ctl_path(c, path, "/v1/waymark/resolve?service=", service, tail))
		return CTL_EXIT_USAGE;
	return ctl_print(c, ctl_get(c, path, false));
}

static int show_node(const struct ctl *c, const char *node)
{
	char path[CTL_PATH_MAX];
	json_t *doc;
	int r;

	if (!ctl_path(c, path, "/v1/catalog/node/", node, ""))
		return CTL_EXIT_USAGE;
	doc = ctl_get(c, path, false);
	if (doc && !json_is_object(json_object_get(doc, "Node"))) {
		json_decref(doc);
		return ctl_fail(c, "unknown node: %s", node);
	}
	r = ctl_print(c, doc ? json_incref(json_object_get(doc, "Node")) : NULL);
	json_decref(doc);
	return r;
}

/* A prepared query: whom it chooses now. */
static int show_query(const struct ctl *c, const char *query)
{
	static const char *const columns[] = {"instance", "node", "address", "port", NULL};
	char path[CTL_PATH_MAX];
	json_t *doc, *rows, *x;
	size_t i;

	if (!ctl_path(c, path, "/v1/query/", query, "/execute"))
		return CTL_EXIT_USAGE;
	doc = ctl_get(c, path, false);
	if (!doc || c->json)
		return ctl_print(c, doc);
	rows = json_array();
	printf("%s asks for service %s\n", query, ctl_text(doc, "Service"));
	json_array_foreach(json_object_get(doc, "Nodes"), i, x)
	{
		const json_t *s = json_object_get(x, "Service"), *n = json_object_get(x, "Node");

		json_array_append_new(
			rows, json_pack("{s:s, s:s, s:s, s:O}", "instance", ctl_text(s, "ID"),
					"node", ctl_text(n, "Node"), "address",
					ctl_text_or(s, "Address", ctl_text(n, "Address")), "port",
					json_object_get(s, "Port")));
	}
	ctl_table(rows, columns, 0, stdout);
	json_decref(rows);
	json_decref(doc);
	return 0;
}

/* The address that a name spells in hexadecimal, as the target of an SRV record does. */
static int show_addr(const struct ctl *c, const char *digits)
{
	size_t len = strlen(digits);
	unsigned char octets[16];
	char text[INET6_ADDRSTRLEN];

	if ((len != 8 && len != 32) || strspn(digits, "0123456789abcdefABCDEF") != len)
		return ctl_fail(c, "%s: 8 or 32 hexadecimal digits are wanted", digits);
	for (size_t i = 0; i < len / 2; i++) {
		char two[3] = {digits[2 * i], digits[2 * i + 1], '\0'};

		octets[i] = (unsigned char)strtoul(two, NULL, 16);
	}
	inet_ntop(len == 8 ? AF_INET : AF_INET6, octets, text, sizeof(text));
	return ctl_print(c, json_pack("{s:s}", "address", text));
}

/* _<service>._<tag>[.service]: RFC 2782; _tcp is no tag. */
static int show_srv(const struct ctl *c, const struct ctl_name *n)
{
	const char *tag = n->n > 1 && *n->label[1] == '_' ? n->label[1] + 1 : "";

	return strcasecmp(tag, "tcp") != 0 && *tag ? show_tagged(c, n->label[0] + 1, tag)
						   : service_named(c, n->label[0] + 1);
}

/* What PTR answers, and what that names. */
static int show_address(const struct ctl *c, const char *address)
{
	char path[CTL_PATH_MAX];
	json_t *doc;
	int r;

	if (!ctl_path(c, path, "/v1/waymark/addresses/", address, ""))
		return CTL_EXIT_USAGE;
	doc = ctl_get(c, path, false);
	if (!doc || c->json)
		return ctl_print(c, doc);
	printf("%s is %s\n\n", ctl_text(doc, "address"), ctl_text(doc, "name"));
	r = *ctl_text(doc, "node") ? show_node(c, ctl_text(doc, "node"))
				   : service_named(c, ctl_text(doc, "service"));
	json_decref(doc);
	return r;
}

/* @return whether it is an address, or the name of one, with the exit status. */
static bool resolve_address(const struct ctl *c, const struct ctl_name *n, int *ret)
{
	char address[CTL_NAME_MAX + 1], any[16];
	int is;

	if (inet_pton(AF_INET, c->args[0], any) == 1 || inet_pton(AF_INET6, c->args[0], any) == 1) {
		*ret = show_address(c, c->args[0]);
		return true;
	}
	is = ctl_name_reverse(n, address);
	if (is > 0)
		*ret = show_address(c, address);
	else if (is < 0)
		*ret = ctl_fail(c, "%s is not the name of one address", c->args[0]);
	return is != 0;
}

/* The domain itself, and its name server: this agent is. @return whether it is one of them. */
static bool resolve_domain(const struct ctl *c, const struct ctl_name *n, const json_t *status,
			   int *ret)
{
	bool apex = !n->n;

	if (!apex && (n->n != 1 || strcasecmp(n->label[0], "ns") != 0))
		return false;
	if (apex && !c->json)
		printf("%s is a domain of this agent, which is its name server\n\n", c->args[0]);
	*ret = show_node(c, ctl_text(status, "node"));
	return true;
}

/* Labels in front of the domain. */
static int resolve_labels(const struct ctl *c, const struct ctl_name *n, int at)
{
	char rest[CTL_NAME_MAX + 1];

	if (n->n && *n->label[0] == '_')
		return show_srv(c, n);
	if (at < 1)
		return n->n == 1 ? service_named(c, n->label[0])
				 : ctl_fail(c,
					    "%s is no name of this agent's DNS; its forms are "
					    "[TAG.]NAME.service, [TAG.]NAME.virtual, NAME.query, "
					    "NAME.node, HEX.addr and _NAME._TAG, each with or "
					    "without the domain, names below in-addr.arpa and "
					    "ip6.arpa, and addresses; TAG is a tag or a subset",
					    c->args[0]);
	if (strcasecmp(n->label[at], "node") == 0) {
		ctl_name_join(n, 0, at, rest, sizeof(rest));
		return show_node(c, rest);
	}
	if (strcasecmp(n->label[at], "addr") == 0)
		return show_addr(c, n->label[0]);
	if (strcasecmp(n->label[at], "query") == 0) {
		ctl_name_join(n, 0, at, rest, sizeof(rest));
		return show_query(c, rest);
	}
	if (at == 1)
		return service_named(c, n->label[at - 1]);
	ctl_name_join(n, 0, at - 1, rest, sizeof(rest));
	return show_tagged(c, n->label[at - 1], rest);
}

int ctl_resolve(const struct ctl *c)
{
	char path[CTL_PATH_MAX];
	struct ctl_name n;
	json_t *status, *service = NULL;
	bool ours;
	int r;

	if (strlen(c->args[0]) > CTL_NAME_MAX)
		return service_named(c, c->args[0]);
	ctl_name_split(&n, c->args[0]);
	if (resolve_address(c, &n, &r))
		return r;
	if (!strchr(c->args[0], '.'))
		return service_named(c, c->args[0]);
	if (ctl_path(c, path, "/v1/waymark/resolve/", c->args[0], ""))
		service = ctl_get(c, path, true);
	json_decref(service);
	if (service) /* a name with dots in it */
		return service_named(c, c->args[0]);
	status = ctl_get(c, "/v1/waymark/status", false);
	if (!status)
		return CTL_EXIT_FAILED;
	ours = ctl_name_cut(&n, ctl_text(status, "domain")) ||
	       ctl_name_cut(&n, ctl_text(status, "alt_domain"));
	if (!ours || !resolve_domain(c, &n, status, &r))
		r = resolve_labels(c, &n, ctl_name_kind(&n, ctl_text(status, "datacenter")));
	json_decref(status);
	return r;
}

/* When, and how long that is from now. */
static json_t *moment_of(json_int_t wall_ms)
{
	int64_t left_s = wall_ms / 1000 - time(NULL);
	time_t at = (time_t)(wall_ms / 1000);
	char date[32], span[40];
	struct tm local;

	localtime_r(&at, &local);
	strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &local);
	wm_duration_format((left_s < 0 ? -left_s : left_s) * 1000000000, span, sizeof(span));
	return json_sprintf(left_s < 0 ? "%s (%s ago)" : "%s (in %s)", date, span);
}

int ctl_instance(const struct ctl *c)
{
	char path[CTL_PATH_MAX];
	json_t *doc, *drain;

	if (!ctl_path(c, path, "/v1/waymark/instances/", c->args[0], ""))
		return CTL_EXIT_USAGE;
	doc = ctl_get(c, path, false);
	drain = json_object_get(doc, "Drain");
	if (!c->json && json_is_object(drain)) {
		json_object_set_new(
			drain, "Until",
			moment_of(json_integer_value(json_object_get(drain, "UntilMs"))));
		json_object_del(drain, "UntilMs");
	}
	return ctl_print(c, doc);
}

int ctl_maps(const struct ctl *c)
{
	return ctl_print(c, ctl_get(c, "/v1/waymark/maps", false));
}
