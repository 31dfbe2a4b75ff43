/* SPDX-License-Identifier: Apache-2.0 */
/* filter_fields.c - which selectors there are, and where their values stand. The names are those of
 * the answers: Consul's. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/duration.h"
#include "userspace/base/json_text.h"
#include "userspace/model/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STR	WM_FIELD_STRING
#define NUM	WM_FIELD_NUMBER
#define BOOL	WM_FIELD_BOOL
#define LIST	WM_FIELD_LIST
#define MAP	WM_FIELD_MAP
#define OBJECTS WM_FIELD_OBJECTS
#define SRC(x)	WM_SRC_##x

#define MEMBER_MAX 32 /* octets of a field's name within a member of Proxy */

/* The same object has other names in other answers: P stands before each. */
#define NODE_FIELDS(P, META)                                                                       \
	{P "ID", STR, SRC(NODE_ID)}, {P "Node", STR, SRC(NODE_NAME)},                              \
		{P "Address", STR, SRC(NODE_ADDRESS)}, {P "Datacenter", STR, SRC(DATACENTER)},     \
		{P "TaggedAddresses", MAP, SRC(NODE_TAGGED)},                                      \
		{P "TaggedAddresses.*", STR, SRC(NODE_TAGGED)}, {P META, MAP, SRC(NODE_META)},     \
	{                                                                                          \
		P META ".*", STR, SRC(NODE_META)                                                   \
	}
#define SERVICE_FIELDS(P, SERVICE)                                                                 \
	{P "ID", STR, SRC(ID)}, {P SERVICE, STR, SRC(NAME)}, {P "Tags", LIST, SRC(TAGS)},          \
		{P "Address", STR, SRC(ADDRESS)}, {P "Port", NUM, SRC(PORT)},                      \
		{P "Meta", MAP, SRC(META)}, {P "Meta.*", STR, SRC(META)},                          \
		{P "TaggedAddresses", MAP, SRC(TAGGED)},                                           \
		{P "TaggedAddresses.*.Address", STR, SRC(TAGGED)},                                 \
		{P "TaggedAddresses.*.Port", NUM, SRC(TAGGED_PORT)},                               \
		{P "Weights.Passing", NUM, SRC(WEIGHT_PASSING)},                                   \
		{P "Weights.Warning", NUM, SRC(WEIGHT_WARNING)},                                   \
		{P "EnableTagOverride", BOOL, SRC(TAG_OVERRIDE)}, {P "Kind", STR, SRC(KIND)},      \
		{P "SocketPath", STR, SRC(SOCKET_PATH)}, {P "Connect.Native", BOOL, SRC(NATIVE)},  \
		{P "Proxy.DestinationServiceName", STR, SRC(PROXY)},                               \
		{P "Proxy.DestinationServiceID", STR, SRC(PROXY)},                                 \
		{P "Proxy.LocalServiceAddress", STR, SRC(PROXY)},                                  \
		{P "Proxy.LocalServicePort", NUM, SRC(PROXY)},                                     \
		{P "Proxy.LocalServiceSocketPath", STR, SRC(PROXY)},                               \
		{P "Proxy.Mode", STR, SRC(PROXY)}, {P "Proxy.MeshGateway.Mode", STR, SRC(PROXY)},  \
		{P "Proxy.Expose.Checks", BOOL, SRC(PROXY)}, PROXY_JSON(P "Proxy.")
/* Members of Proxy that are kept as JSON. */
#define IN(path, type)                                                                             \
	{                                                                                          \
		path, type, SRC(PROXY_JSON)                                                        \
	}
#define PROXY_JSON(P)                                                                              \
	IN(P "Upstreams", OBJECTS), IN(P "Upstreams.DestinationType", STR),                        \
		IN(P "Upstreams.DestinationNamespace", STR),                                       \
		IN(P "Upstreams.DestinationPartition", STR),                                       \
		IN(P "Upstreams.DestinationPeer", STR), IN(P "Upstreams.DestinationName", STR),    \
		IN(P "Upstreams.Datacenter", STR), IN(P "Upstreams.LocalBindAddress", STR),        \
		IN(P "Upstreams.LocalBindPort", NUM), IN(P "Upstreams.LocalBindSocketPath", STR),  \
		IN(P "Upstreams.LocalBindSocketMode", STR),                                        \
		IN(P "Upstreams.MeshGateway.Mode", STR), IN(P "Expose.Paths", OBJECTS),            \
		IN(P "Expose.Paths.ListenerPort", NUM), IN(P "Expose.Paths.Path", STR),            \
		IN(P "Expose.Paths.LocalPathPort", NUM), IN(P "Expose.Paths.Protocol", STR),       \
		IN(P "Expose.Paths.ParsedFromCheck", BOOL), IN(P "EnvoyExtensions", OBJECTS),      \
		IN(P "EnvoyExtensions.Name", STR), IN(P "EnvoyExtensions.Required", BOOL),         \
		IN(P "EnvoyExtensions.ConsulVersion", STR),                                        \
		IN(P "EnvoyExtensions.EnvoyVersion", STR),                                         \
		IN(P "TransparentProxy.OutboundListenerPort", NUM),                                \
		IN(P "TransparentProxy.DialedDirectly", BOOL), IN(P "AccessLogs.Enabled", BOOL),   \
		IN(P "AccessLogs.DisableListenerLogs", BOOL), IN(P "AccessLogs.Type", STR),        \
		IN(P "AccessLogs.Path", STR), IN(P "AccessLogs.JSONFormat", STR),                  \
		IN(P "AccessLogs.TextFormat", STR)
#define CHECK_FIELDS(P)                                                                            \
	{P "CheckID", STR, SRC(CHECK_ID)}, {P "Name", STR, SRC(CHECK_NAME)},                       \
		{P "Node", STR, SRC(CHECK_NODE)}, {P "Notes", STR, SRC(CHECK_NOTES)},              \
		{P "Output", STR, SRC(CHECK_OUTPUT)}, {P "Status", STR, SRC(CHECK_STATUS)},        \
		{P "Type", STR, SRC(CHECK_TYPE)}, {P "ServiceID", STR, SRC(CHECK_SERVICE_ID)},     \
		{P "ServiceName", STR, SRC(CHECK_SERVICE_NAME)},                                   \
		{P "Namespace", STR, SRC(CHECK_NAMESPACE)},                                        \
		{P "ServiceTags", LIST, SRC(CHECK_SERVICE_TAGS)},                                  \
		{P "Interval", STR, SRC(CHECK_INTERVAL)}, {P "Timeout", STR, SRC(CHECK_TIMEOUT)},  \
		{P "ExposedPort", NUM, SRC(CHECK_NOTHING)},                                        \
	{                                                                                          \
		P "PeerName", STR, SRC(CHECK_NOTHING)                                              \
	}

#define PEER(P)                                                                                    \
	{                                                                                          \
		P "PeerName", STR, SRC(NOTHING)                                                    \
	}
/* Consul Enterprise's; "" of a service of no scope. */
#define NAMESPACE(P)                                                                               \
	{                                                                                          \
		P "Namespace", STR, SRC(NAMESPACE)                                                 \
	}
#define PARTITION(P)                                                                               \
	{                                                                                          \
		P "Partition", STR, SRC(NOTHING)                                                   \
	}

static const struct wm_field nodes[] = {NODE_FIELDS("", "Meta"), PEER(""), PARTITION("")};
static const struct wm_field catalog[] = {
	NODE_FIELDS("", "NodeMeta"), SERVICE_FIELDS("Service", "Name"), NAMESPACE(""), PEER("")};
static const struct wm_field services[] = {SERVICE_FIELDS("", "Service"), NAMESPACE(""), PEER("")};
static const struct wm_field entries[] = {
	NODE_FIELDS("Node.", "Meta"),	       PEER("Node."),	       PARTITION("Node."),
	SERVICE_FIELDS("Service.", "Service"), NAMESPACE("Service."),  PEER("Service."),
	{"Checks", OBJECTS, SRC(CHECKS)},      CHECK_FIELDS("Checks.")};
#define X(sym, key, name) {name, STR, SRC(MESH_##sym)},
#define Y(sym, key, name) {name, LIST, SRC(MESH_##sym)},
static const struct wm_field native[] = {NODE_FIELDS("Node.", "Meta"),
					 PEER("Node."),
					 PARTITION("Node."),
					 SERVICE_FIELDS("Service.", "Service"),
					 NAMESPACE("Service."),
					 PEER("Service."),
					 {"Checks", OBJECTS, SRC(CHECKS)},
					 CHECK_FIELDS("Checks."),
					 WM_MESH_VALUES(X)
						 WM_MESH_LISTS(Y){"Lifecycle", STR, SRC(LIFECYCLE)},
					 {"State", STR, SRC(STATE)}};
#undef X
#undef Y
static const struct wm_field checks[] = {CHECK_FIELDS("")};

static const struct {
	const struct wm_field *fields;
	unsigned count;
} kinds[WM_FILTER_KIND_COUNT] = {
	[WM_FILTER_NODE] = {nodes, sizeof(nodes) / sizeof(*nodes)},
	[WM_FILTER_CATALOG_SERVICE] = {catalog, sizeof(catalog) / sizeof(*catalog)},
	[WM_FILTER_SERVICE] = {services, sizeof(services) / sizeof(*services)},
	[WM_FILTER_HEALTH_SERVICE] = {entries, sizeof(entries) / sizeof(*entries)},
	[WM_FILTER_CHECK] = {checks, sizeof(checks) / sizeof(*checks)},
	[WM_FILTER_NATIVE] = {native, sizeof(native) / sizeof(*native)},
};

static bool path_fits(const char *pattern, const struct wm_term *t, const char **ret_key)
{
	for (unsigned i = 0; i < t->path_count; i++) {
		size_t len = strcspn(pattern, ".");

		if (len == 1 && *pattern == '*')
			*ret_key = t->path[i];
		else if (strlen(t->path[i]) != len || memcmp(pattern, t->path[i], len) != 0)
			return false;
		pattern += len;
		if (!*pattern)
			return i + 1 == t->path_count;
		pattern++;
	}
	return false;
}

const struct wm_field *wm_field_find(enum wm_filter_kind kind, const struct wm_term *t,
				     const char **ret_key)
{
	for (unsigned i = 0; i < kinds[kind].count; i++) {
		*ret_key = NULL;
		if (path_fits(kinds[kind].fields[i].path, t, ret_key))
			return &kinds[kind].fields[i];
	}
	return NULL;
}

/* --- values ----------------------------------------------------------------------------------- */
static const char *pair_of(const struct wm_pair *p, unsigned count, const char *key)
{
	for (unsigned i = 0; i < count; i++) {
		if (strcmp(p[i].key, key) == 0)
			return p[i].value;
	}
	return NULL;
}

/* lan, wan and those of the address's family, as the answers derive them. */
static bool is_derived(const char *key, bool six, bool bare)
{
	if (strncmp(key, "lan", 3) != 0 && strncmp(key, "wan", 3) != 0)
		return false;
	return (bare && !key[3]) || strcmp(key + 3, six ? "_ipv6" : "_ipv4") == 0;
}

static const char *node_tagged(const struct wm_node *n, const char *key)
{
	if (!n->self && !wm_instance_foreign(n->holder))
		return pair_of(n->tagged, n->tagged_count, key);
	return is_derived(key, strchr(n->address, ':') != NULL, true) ? n->address : NULL;
}

static bool has_ip(const struct wm_instance *i)
{
	return *i->address && (i->addr4.s_addr || !IN6_IS_ADDR_UNSPECIFIED(&i->addr6));
}

static const char *tagged(const struct wm_instance *i, const char *key, uint64_t *ret_port)
{
	for (unsigned n = 0; n < i->tagged_count; n++) {
		if (strcmp(i->tagged[n].name, key) == 0) {
			*ret_port = i->tagged[n].port;
			return i->tagged[n].address;
		}
	}
	*ret_port = i->port;
	return has_ip(i) && is_derived(key, !i->addr4.s_addr, false) ? i->address : NULL;
}

static const char *check_string(int s, const struct wm_filter_row *row, const struct wm_check *c)
{
	char scope[WM_SCOPE_MAX + 1];

	switch (s) {
	case WM_SRC_CHECK_ID:
		return c ? c->id : "serfHealth";
	case WM_SRC_CHECK_NAME:
		return c ? c->name : "Serf Health Status";
	case WM_SRC_CHECK_NODE:
		return row->node->name;
	case WM_SRC_CHECK_NOTES:
		return c ? c->notes : "";
	case WM_SRC_CHECK_OUTPUT:
		return c ? c->output : "Agent alive and reachable";
	case WM_SRC_CHECK_STATUS:
		return wm_status_str(c ? c->status : WM_PASSING);
	case WM_SRC_CHECK_TYPE:
		return c ? wm_check_type(c) : "";
	case WM_SRC_CHECK_SERVICE_ID:
		return c && c->instance ? c->instance->id : "";
	case WM_SRC_CHECK_SERVICE_NAME:
		return c && c->instance ? wm_scope_split(c->instance->name, scope) : "";
	default:
		return "";
	}
}

const char *wm_field_mesh_key(const struct wm_field *f)
{
	switch ((int)f->source) {
#define X(sym, key, name)                                                                          \
	case WM_SRC_MESH_##sym:                                                                    \
		return key;
		WM_MESH_VALUES(X)
		WM_MESH_LISTS(X)
#undef X
	default:
		return NULL;
	}
}

bool wm_field_is_made(const struct wm_field *f)
{
	return f->source == WM_SRC_NAMESPACE || f->source == WM_SRC_CHECK_NAMESPACE ||
	       f->source == WM_SRC_CHECK_INTERVAL || f->source == WM_SRC_CHECK_TIMEOUT;
}

_Static_assert(WM_FILTER_MADE_MAX > WM_SCOPE_MAX, "a scope fits");

const char *wm_field_made(const struct wm_field *f, const struct wm_filter_row *row,
			  const struct wm_check *c, char buf[WM_FILTER_MADE_MAX])
{
	const struct wm_instance *of = f->source == WM_SRC_NAMESPACE ? row->instance
				       : c			     ? c->instance
								     : NULL;
	uint64_t ms = 0;

	*buf = '\0';
	if (f->source == WM_SRC_NAMESPACE || f->source == WM_SRC_CHECK_NAMESPACE)
		(void)wm_scope_split(of ? of->name : "", buf);
	else if (c)
		ms = f->source == WM_SRC_CHECK_INTERVAL ? c->interval_ms : c->timeout_ms;
	if (ms)
		wm_duration_format((int64_t)(ms * WM_NS_PER_MS), buf, WM_FILTER_MADE_MAX);
	return buf;
}

/* Value of the member of Proxy that a selector ends with; "" when there is none. */
static const char *proxy_of(const struct wm_field *f, const struct wm_instance *i)
{
	static const char proxy[] = "Proxy.";
	const char *value = wm_instance_proxy(i, strstr(f->path, proxy) + sizeof(proxy) - 1);

	return value ? value : "";
}

/* The member that a selector goes on from: lists of objects, and two objects. */
static const struct {
	const char *name;
	bool list;
} members[] = {{"Upstreams", true},
	       {"Expose.Paths", true},
	       {"EnvoyExtensions", true},
	       {"TransparentProxy", false},
	       {"AccessLogs", false}};

/* @return its number; @p ret_rest: the path within it, "" for itself. */
static unsigned member_of(const struct wm_field *f, const char **ret_rest)
{
	static const char proxy[] = "Proxy.";
	const char *path = strstr(f->path, proxy) + sizeof(proxy) - 1;
	unsigned n = 0;
	size_t len;

	while (strncmp(path, members[n].name, len = strlen(members[n].name)) != 0)
		n++;
	*ret_rest = path[len] ? path + len + 1 : "";
	return n;
}

const char *wm_field_json_first(const struct wm_field *f, const struct wm_filter_row *row)
{
	const char *rest, *json;
	unsigned n = member_of(f, &rest);

	json = wm_instance_proxy(row->instance, members[n].name);
	if (members[n].list)
		return wm_json_text_first(json);
	return json ? json : "{}";
}

const char *wm_field_json_next(const struct wm_field *f, const char *at)
{
	const char *rest;

	return members[member_of(f, &rest)].list ? wm_json_text_next(at) : NULL;
}

const char *wm_field_json_value(const struct wm_field *f, const char *at)
{
	const char *rest;

	member_of(f, &rest);
	while (at && *rest) {
		char key[MEMBER_MAX];
		size_t len = strcspn(rest, ".");

		snprintf(key, sizeof(key), "%.*s", (int)len, rest);
		at = wm_json_text_member(at, key);
		rest += len + (rest[len] == '.');
	}
	return at;
}

const char *wm_field_string(const struct wm_field *f, const char *key,
			    const struct wm_filter_row *row, const struct wm_check *check)
{
	const struct wm_instance *i = row->instance;
	char scope[WM_SCOPE_MAX + 1];
	uint64_t port;

	switch ((int)f->source) {
	case WM_SRC_DATACENTER:
		return row->datacenter;
	case WM_SRC_NODE_ID:
		return row->node->id;
	case WM_SRC_NODE_NAME:
		return row->node->name;
	case WM_SRC_NODE_ADDRESS:
		return row->node->address;
	case WM_SRC_NODE_META:
		return pair_of(row->node->meta, row->node->meta_count, key);
	case WM_SRC_NODE_TAGGED:
		return node_tagged(row->node, key);
	case WM_SRC_ID:
		return i->id;
	case WM_SRC_NAME:
		return wm_scope_split(i->name, scope);
	case WM_SRC_ADDRESS:
		return i->address;
	case WM_SRC_KIND:
		return i->traits ? i->traits->kind : "";
	case WM_SRC_SOCKET_PATH:
		return i->traits ? i->traits->socket_path : "";
	case WM_SRC_PROXY:
		return proxy_of(f, i);
	case WM_SRC_TAGGED:
		return tagged(i, key, &port);
	case WM_SRC_META:
		return pair_of(i->meta, i->meta_count, key);
	case WM_SRC_LIFECYCLE:
		return wm_lifecycle_str(i->lifecycle);
	case WM_SRC_STATE:
		return wm_lifecycle_str(wm_instance_state(i));
#define X(sym, name, shown) case WM_SRC_MESH_##sym:
		WM_MESH_VALUES(X)
		WM_MESH_LISTS(X)
#undef X
		return wm_mesh_value(i, wm_field_mesh_key(f));
	default:
		return check_string(f->source, row, check);
	}
}

bool wm_field_number(const struct wm_field *f, const char *key, const struct wm_filter_row *row,
		     uint64_t *ret)
{
	const struct wm_instance *i = row->instance;

	*ret = 0;
	switch ((int)f->source) {
	case WM_SRC_PORT:
		*ret = i->port;
		return true;
	case WM_SRC_WEIGHT_PASSING:
		*ret = i->weight_passing;
		return true;
	case WM_SRC_WEIGHT_WARNING:
		*ret = i->weight_warning;
		return true;
	case WM_SRC_TAG_OVERRIDE:
		*ret = i->enable_tag_override;
		return true;
	case WM_SRC_NATIVE:
		*ret = i->traits && i->traits->native;
		return true;
	case WM_SRC_PROXY:
		*ret = f->type == WM_FIELD_BOOL ? strcmp(proxy_of(f, i), "true") == 0
						: strtoull(proxy_of(f, i), NULL, 10);
		return true;
	case WM_SRC_TAGGED_PORT:
		return tagged(i, key, ret) != NULL;
	default:
		return true;
	}
}

char **wm_field_list(const struct wm_field *f, const struct wm_filter_row *row,
		     const struct wm_check *check, unsigned *ret_count)
{
	const struct wm_instance *i = row->instance;

	if (f->source == WM_SRC_CHECK_SERVICE_TAGS)
		i = check ? check->instance : NULL;
	*ret_count = i ? i->tags_count : 0;
	return i ? i->tags : NULL;
}

bool wm_field_map_empty(const struct wm_field *f, const struct wm_filter_row *row)
{
	switch ((int)f->source) {
	case WM_SRC_NODE_META:
		return !row->node->meta_count;
	case WM_SRC_META:
		return !row->instance->meta_count;
	case WM_SRC_TAGGED:
		return !row->instance->tagged_count && !has_ip(row->instance);
	default:
		return false; /* a node always has its address */
	}
}
