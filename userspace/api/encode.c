/* SPDX-License-Identifier: Apache-2.0 */
/* encode.c - the registry's objects in Consul's shapes, in its order of keys. Where Consul leaves a
 * list or an object out or writes null, we write it empty: clients cope with that better. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/duration.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/base/redact.h"
#include "userspace/model/scope.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct wm_encode wm_encode_of(const struct wm_api *a)
{
	return (struct wm_encode){.node = wm_registry_node(a->d.registry),
				  .checks = wm_registry_node_checks(a->d.registry),
				  .datacenter = wm_registry_datacenter(a->d.registry)};
}

void wm_encode_at(struct wm_encode *e, const struct wm_node *n)
{
	if (e->node == n)
		return;
	e->node = n;
	e->checks = n->holder;
	e->node_len = e->check_len = 0;
}

bool wm_is_agents(const struct wm_instance *i)
{
	return i->node->self && !wm_instance_shared(i) && !wm_instance_says_consul(i);
}

/* --- order -------------------------------------------------------------------------------------
 */

int wm_id_order(const char *a, const char *b)
{
	int cmp = strcasecmp(a, b);

	return cmp ? cmp : strcmp(a, b);
}

int wm_instance_order(const struct wm_instance *a, const struct wm_instance *b)
{
	int cmp = a->node == b->node ? 0 : strcmp(a->node->folded, b->node->folded);

	return cmp ? cmp : wm_id_order(a->id, b->id);
}

static int by_place(const void *a, const void *b)
{
	return wm_instance_order(*(const struct wm_instance *const *)a,
				 *(const struct wm_instance *const *)b);
}

/* Long lists are sorted by eight octets of each name, behind what all share, first: those tell most
 * apart, stand side by side, and need no comparisons. */
struct placed {
	const struct wm_instance *instance;
	uint64_t key; /* the octets, folded, most significant first */
};

/* What tells them apart: the node, or on one node the id. */
static const char *name_in(const struct wm_instance *i, bool one_node)
{
	return one_node ? i->id : i->node->folded;
}

static uint64_t key_at(const char *s)
{
	uint64_t key = 0;

	for (unsigned n = 0; n < sizeof(key); n++) {
		key = key << 8 | (unsigned char)tolower((unsigned char)*s);
		s += *s != '\0';
	}
	return key;
}

static void set_keys(struct placed *p, const struct wm_instance **all, unsigned count)
{
	const char *first, *name;
	bool one_node = true;
	size_t shared, n;

	for (unsigned i = 1; i < count; i++)
		one_node &= all[i]->node == all[0]->node;
	first = name_in(all[0], one_node);
	shared = strlen(first);
	for (unsigned i = 1; i < count; i++) {
		name = name_in(all[i], one_node);
		for (n = 0; n < shared && name[n] == first[n];)
			n++;
		shared = n;
	}
	for (unsigned i = 0; i < count; i++)
		p[i] = (struct placed){all[i], key_at(name_in(all[i], one_node) + shared)};
}

/* One pass by an octet of the keys, least significant first; what is equal keeps its order. @return
 * false: it is the same in all, and nothing was done. */
static bool sort_octet(const struct placed *from, struct placed *to, unsigned count, unsigned octet)
{
	unsigned at[256] = {0}, next = 0, n;

	for (unsigned i = 0; i < count; i++)
		at[from[i].key >> (8 * octet) & 0xff]++;
	if (at[from[0].key >> (8 * octet) & 0xff] == count)
		return false;
	for (unsigned k = 0; k < 256; k++) {
		n = at[k];
		at[k] = next;
		next += n;
	}
	for (unsigned i = 0; i < count; i++)
		to[at[from[i].key >> (8 * octet) & 0xff]++] = from[i];
	return true;
}

/* @return false: without memory. */
static bool sort_placed(const struct wm_instance **all, unsigned count)
{
	struct placed *mem = malloc(2ul * count * sizeof(*mem)), *p = mem, *other = mem + count,
		      *was;

	if (!mem)
		return false;
	set_keys(p, all, count);
	for (unsigned octet = 0; octet < sizeof(p->key); octet++) {
		if (!sort_octet(p, other, count, octet))
			continue;
		was = p;
		p = other;
		other = was;
	}
	for (unsigned i = 0; i < count; i++)
		all[i] = p[i].instance;
	for (unsigned i = 0, to; i < count; i = to) {
		for (to = i + 1; to < count && p[to].key == p[i].key;)
			to++;
		if (to - i > 1)
			qsort(&all[i], to - i, sizeof(struct wm_instance *), by_place);
	}
	free(mem);
	return true;
}

static int by_key(const void *a, const void *b)
{
	return strcmp((*(const struct wm_instance *const *)a)->id,
		      (*(const struct wm_instance *const *)b)->id);
}

static void sort_keys(void *all, size_t count)
{
	qsort(all, count, sizeof(struct wm_instance *), by_key);
}

void wm_sort_keys(struct wm_api *a, const struct wm_instance **all, unsigned count)
{
	wm_sort_kept(a, all, count, sort_keys);
}

void wm_sort_instances(const struct wm_instance **all, unsigned count)
{
	if (count >= WM_API_SORT_KEPT && sort_placed(all, count))
		return;
	if (count > 1)
		qsort(all, count, sizeof(struct wm_instance *), by_place);
}

const struct wm_instance **wm_sorted_instances(const struct wm_service *s)
{
	const struct wm_instance **all;

	if (!s || !s->instances_count)
		return NULL;
	all = malloc(s->instances_count * sizeof(struct wm_instance *));
	if (!all)
		return NULL;
	memcpy(all, s->instances, s->instances_count * sizeof(struct wm_instance *));
	wm_sort_instances(all, s->instances_count);
	return all;
}

static void sort_places(void *all, size_t count)
{
	wm_sort_instances(all, (unsigned)count);
}

const struct wm_instance **wm_sorted_on(struct wm_api *a, const struct wm_node *on,
					unsigned *ret_count)
{
	unsigned count = (unsigned)wm_map_len(on->instances), n = 0;
	const struct wm_instance **all, *i;
	size_t pos = 0;

	*ret_count = 0;
	all = count ? malloc(count * sizeof(struct wm_instance *)) : NULL;
	if (!all)
		return NULL;
	while (n < count && (i = wm_node_next_instance(on, &pos)))
		all[n++] = i;
	wm_sort_kept(a, all, n, sort_places);
	*ret_count = n;
	return all;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct wm_service *const *)a)->name,
		      (*(const struct wm_service *const *)b)->name);
}

static void sort_services(void *all, size_t count)
{
	qsort(all, count, sizeof(struct wm_service *), by_name);
}

const struct wm_service **wm_sorted_services(struct wm_api *a, unsigned *ret_count)
{
	const struct wm_registry *r = a->d.registry;
	unsigned count = wm_registry_services(r), n = 0;
	const struct wm_service **all, *s;
	size_t pos = 0;

	*ret_count = 0;
	all = count ? malloc(count * sizeof(struct wm_service *)) : NULL;
	if (!all)
		return NULL;
	while (n < count && (s = wm_registry_next_service(r, &pos)))
		all[n++] = s;
	wm_sort_kept(a, all, n, sort_services);
	*ret_count = n;
	return all;
}

static int by_node_name(const void *a, const void *b)
{
	return strcmp((*(const struct wm_node *const *)a)->folded,
		      (*(const struct wm_node *const *)b)->folded);
}

static void sort_nodes(void *all, size_t count)
{
	qsort(all, count, sizeof(struct wm_node *), by_node_name);
}

const struct wm_node **wm_sorted_nodes(struct wm_call *c, const struct wm_node *from,
				       unsigned *ret_count)
{
	const struct wm_registry *r = c->api->d.registry;
	unsigned count = wm_registry_nodes(r), n = 0;
	const struct wm_node **all = malloc(count * sizeof(struct wm_node *)), *node;
	size_t pos = 0;

	while (all && n < count && (node = wm_registry_next_node(r, &pos)))
		all[n++] = node;
	if (all)
		wm_sort_kept(c->api, all, n, sort_nodes);
	*ret_count = n;
	if (all && wm_near_sort_nodes(wm_near_members(c->api), from, all, n))
		return all;
	free(all);
	wm_answer_text(c, 503, "Out of memory");
	return NULL;
}

/* --- parts -------------------------------------------------------------------------------------
 */

void wm_encode_address(struct wm_json *j, const char *key, int family, const void *address)
{
	static const struct in6_addr none;
	char text[INET6_ADDRSTRLEN];
	size_t len = family == AF_INET ? 4 : 16;

	wm_json_key(j, key);
	if (memcmp(address, &none, len) != 0 && inet_ntop(family, address, text, sizeof(text)))
		wm_json_string(j, text);
	else
		wm_json_null(j);
}

void wm_encode_host(struct wm_json *j, const struct wm_instance *i)
{
	bool named = !i->addr4.s_addr && IN6_IS_ADDR_UNSPECIFIED(&i->addr6);

	wm_json_key(j, "host");
	if (named)
		wm_json_string(j, *i->address ? i->address : i->node->address);
	else
		wm_json_null(j);
}

static void put_tags(struct wm_json *j, const char *key, const struct wm_instance *i)
{
	wm_json_kopen(j, key, '[');
	for (unsigned n = 0; n < i->tags_count; n++)
		wm_json_string(j, i->tags[n]);
	wm_json_close(j, ']');
}

static void put_pairs(struct wm_json *j, const char *key, const struct wm_pair *p, unsigned count)
{
	wm_json_kopen(j, key, '{');
	for (unsigned n = 0; n < count; n++)
		wm_json_ks(j, p[n].key, p[n].value);
	wm_json_close(j, '}');
}

static void put_weights(struct wm_json *j, const char *key, const struct wm_instance *i)
{
	wm_json_kopen(j, key, '{');
	wm_json_ku(j, "Passing", i->weight_passing);
	wm_json_ku(j, "Warning", i->weight_warning);
	wm_json_close(j, '}');
}

static int family_of(const char *address)
{
	struct in6_addr a;

	return inet_pton(AF_INET, address, &a) == 1    ? 4
	       : inet_pton(AF_INET6, address, &a) == 1 ? 6
						       : 0;
}

static void put_tagged(struct wm_json *j, const char *name, const char *address, unsigned port)
{
	wm_json_kopen(j, name, '{');
	wm_json_ks(j, "Address", address);
	wm_json_ku(j, "Port", port);
	wm_json_close(j, '}');
}

/* As registered, sorted, with the two that Consul derives of an IP address merged in; left out when
 * there are none, which clients compare. */
static void put_tagged_addresses(struct wm_json *j, const char *key, const struct wm_instance *i)
{
	int family = family_of(i->address);
	const char *derived[] = {family == 6 ? "lan_ipv6" : "lan_ipv4",
				 family == 6 ? "wan_ipv6" : "wan_ipv4"};
	unsigned at = family ? 0 : 2, n = 0;

	if (!family && !i->tagged_count)
		return;
	wm_json_kopen(j, key, '{');
	while (at < 2 || n < i->tagged_count) {
		int cmp = at == 2		 ? 1
			  : n == i->tagged_count ? -1
						 : strcmp(derived[at], i->tagged[n].name);

		if (cmp < 0) {
			put_tagged(j, derived[at++], i->address, i->port);
			continue;
		}
		put_tagged(j, i->tagged[n].name, i->tagged[n].address, i->tagged[n].port);
		n++;
		at += cmp == 0;
	}
	wm_json_close(j, '}');
}

static void put_node_addresses(struct wm_json *j, const struct wm_node *n)
{
	int family = family_of(n->address);

	if (!n->self && !wm_instance_foreign(n->holder)) { /* as it was written */
		put_pairs(j, "TaggedAddresses", n->tagged, n->tagged_count);
		return;
	}
	wm_json_kopen(j, "TaggedAddresses", '{');
	wm_json_ks(j, "lan", n->address);
	if (family)
		wm_json_ks(j, family == 6 ? "lan_ipv6" : "lan_ipv4", n->address);
	wm_json_ks(j, "wan", n->address);
	if (family)
		wm_json_ks(j, family == 6 ? "wan_ipv6" : "wan_ipv4", n->address);
	wm_json_close(j, '}');
}

static void put_indexes(struct wm_json *j, uint64_t create, uint64_t modify)
{
	wm_json_ku(j, "CreateIndex", create);
	wm_json_ku(j, "ModifyIndex", modify);
}

/* --- traits: what is told of a service mesh -------------------------------------------------- */
static const struct wm_traits no_traits = {
	.region = "", .zone = "", .kind = "", .socket_path = "", .proxy = NULL};

static const struct wm_traits *traits_of(const struct wm_instance *i)
{
	return i->traits ? i->traits : &no_traits;
}

static bool is_text(const char *member)
{
	static const char *const texts[] = {"DestinationServiceName", "DestinationServiceID",
					    "LocalServiceAddress", "LocalServiceSocketPath",
					    "MutualTLSMode"};

	for (unsigned n = 0; n < WM_ARRAY_LEN(texts); n++) {
		if (strcmp(member, texts[n]) == 0)
			return true;
	}
	return false;
}

/* Members of Proxy that are always there stand first, as Consul has them; then those that are
 * given.
 */
static void put_proxy(struct wm_json *j, const char *key, const struct wm_instance *i)
{
	const struct wm_traits *t = traits_of(i);
	const char *mode = wm_instance_proxy(i, "Mode"), *gateway, *checks, *paths;

	gateway = wm_instance_proxy(i, "MeshGateway.Mode");
	checks = wm_instance_proxy(i, "Expose.Checks");
	paths = wm_instance_proxy(i, "Expose.Paths");
	wm_json_kopen(j, key, '{');
	wm_json_ks(j, "Mode", mode ? mode : "");
	wm_json_kopen(j, "MeshGateway", '{');
	if (gateway)
		wm_json_ks(j, "Mode", gateway);
	wm_json_close(j, '}');
	wm_json_kopen(j, "Expose", '{');
	if (checks)
		wm_json_kb(j, "Checks", true);
	if (paths) {
		wm_json_key(j, "Paths");
		wm_json_raw(j, paths);
	}
	wm_json_close(j, '}');
	for (unsigned n = 0; n < t->proxy_count; n++) {
		const struct wm_pair *p = &t->proxy[n];

		if (strchr(p->key, '.') || strcmp(p->key, "Mode") == 0)
			continue;
		wm_json_key(j, p->key);
		if (is_text(p->key))
			wm_json_string(j, p->value);
		else
			wm_json_raw(j, p->value);
	}
	wm_json_close(j, '}');
}

static void put_connect(struct wm_json *j, const char *key, const struct wm_instance *i)
{
	wm_json_kopen(j, key, '{');
	if (traits_of(i)->native)
		wm_json_kb(j, "Native", true);
	wm_json_close(j, '}');
}

/* @return false: there is none, nothing was written. */
static bool put_locality(struct wm_json *j, const char *key, const char *region, const char *zone)
{
	if (!*region && !*zone)
		return false;
	wm_json_kopen(j, key, '{');
	wm_json_ks(j, "Region", region);
	if (*zone)
		wm_json_ks(j, "Zone", zone);
	wm_json_close(j, '}');
	return true;
}

/* Members that Consul leaves out where they say nothing. */
static void put_traits(struct wm_json *j, const struct wm_instance *i)
{
	const struct wm_traits *t = traits_of(i);

	if (*t->kind)
		wm_json_ks(j, "Kind", t->kind);
	if (*t->socket_path)
		wm_json_ks(j, "SocketPath", t->socket_path);
	put_locality(j, "Locality", t->region, t->zone);
}

/* --- nodes and services ------------------------------------------------------------------------
 */

static void put_node_fields(struct wm_json *j, const struct wm_encode *e, const char *meta_key)
{
	wm_json_ks(j, "ID", e->node->id);
	wm_json_ks(j, "Node", e->node->name);
	wm_json_ks(j, "Address", e->node->address);
	wm_json_ks(j, "Datacenter", e->datacenter);
	put_node_addresses(j, e->node);
	put_pairs(j, meta_key, e->node->meta, e->node->meta_count);
}

void wm_encode_node_members(struct wm_json *j, const struct wm_encode *e)
{
	put_node_fields(j, e, "Meta");
}

/* A service of a scope: its bare name, with the scope as Consul shows a namespace. */
static void put_service(struct wm_json *j, const char *key, const char *service)
{
	char scope[WM_SCOPE_MAX + 1];

	wm_json_ks(j, key, wm_scope_split(service, scope));
	if (*scope)
		wm_json_ks(j, "Namespace", scope);
}

void wm_encode_node(struct wm_json *j, const struct wm_encode *e)
{
	wm_json_open(j, '{');
	put_node_fields(j, e, "Meta");
	put_locality(j, "Locality", e->node->region, e->node->zone);
	put_indexes(j, e->node->create_index, e->node->modify_index);
	wm_json_close(j, '}');
}

void wm_encode_agent_service(struct wm_json *j, const struct wm_encode *e,
			     const struct wm_instance *i, const char *content_hash)
{
	wm_json_open(j, '{');
	wm_json_ks(j, "ID", i->id);
	put_service(j, "Service", i->name);
	put_tags(j, "Tags", i);
	put_pairs(j, "Meta", i->meta, i->meta_count);
	wm_json_ku(j, "Port", i->port);
	wm_json_ks(j, "Address", i->address);
	put_tagged_addresses(j, "TaggedAddresses", i);
	put_weights(j, "Weights", i);
	wm_json_kb(j, "EnableTagOverride", i->enable_tag_override);
	put_traits(j, i);
	if (traits_of(i)->proxy_count)
		put_proxy(j, "Proxy", i);
	if (traits_of(i)->native)
		put_connect(j, "Connect", i);
	if (content_hash)
		wm_json_ks(j, "ContentHash", content_hash);
	wm_json_ks(j, "Datacenter", e->datacenter);
	wm_json_close(j, '}');
}

void wm_encode_service(struct wm_json *j, const struct wm_instance *i)
{
	wm_json_open(j, '{');
	wm_json_ks(j, "ID", i->id);
	put_service(j, "Service", i->name);
	put_tags(j, "Tags", i);
	wm_json_ks(j, "Address", i->address);
	put_tagged_addresses(j, "TaggedAddresses", i);
	put_pairs(j, "Meta", i->meta, i->meta_count);
	wm_json_ku(j, "Port", i->port);
	put_weights(j, "Weights", i);
	wm_json_kb(j, "EnableTagOverride", i->enable_tag_override);
	put_traits(j, i);
	put_proxy(j, "Proxy", i);
	put_connect(j, "Connect", i);
	wm_json_ks(j, "PeerName", "");
	put_indexes(j, i->create_index, i->modify_index);
	wm_json_close(j, '}');
}

void wm_encode_catalog_entry(struct wm_json *j, struct wm_encode *e, const struct wm_instance *i)
{
	wm_encode_at(e, i->node);
	wm_json_open(j, '{');
	put_node_fields(j, e, "NodeMeta");
	wm_json_ks(j, "ServiceKind", traits_of(i)->kind);
	wm_json_ks(j, "ServiceID", i->id);
	put_service(j, "ServiceName", i->name);
	put_tags(j, "ServiceTags", i);
	wm_json_ks(j, "ServiceAddress", i->address);
	put_tagged_addresses(j, "ServiceTaggedAddresses", i);
	put_weights(j, "ServiceWeights", i);
	put_pairs(j, "ServiceMeta", i->meta, i->meta_count);
	wm_json_ku(j, "ServicePort", i->port);
	wm_json_ks(j, "ServiceSocketPath", traits_of(i)->socket_path);
	wm_json_kb(j, "ServiceEnableTagOverride", i->enable_tag_override);
	put_proxy(j, "ServiceProxy", i);
	put_connect(j, "ServiceConnect", i);
	if (!put_locality(j, "ServiceLocality", traits_of(i)->region, traits_of(i)->zone)) {
		wm_json_key(j, "ServiceLocality");
		wm_json_null(j);
	}
	put_indexes(j, i->create_index, i->modify_index);
	wm_json_close(j, '}');
}

/* --- checks ------------------------------------------------------------------------------------
 */

static void put_duration(struct wm_json *j, const char *key, uint64_t ms)
{
	char text[48] = "";

	if (ms)
		wm_duration_format((int64_t)(ms * WM_NS_PER_MS), text, sizeof(text));
	wm_json_ks(j, key, text);
}

#define HIDDEN "hidden" /* stands for what may be a secret */

/* {"X-A":["hidden","hidden"]}: values of one name stand together. They are credentials as often as
 * not, and no reader of a list needs them. */
static void put_headers(struct wm_json *j, const struct wm_check *c)
{
	if (!c->headers_count)
		return;
	wm_json_kopen(j, "Header", '{');
	for (unsigned n = 0; n < c->headers_count;) {
		const char *name = c->headers[n].key;

		wm_json_kopen(j, name, '[');
		for (; n < c->headers_count && strcmp(c->headers[n].key, name) == 0; n++)
			wm_json_string(j, HIDDEN);
		wm_json_close(j, ']');
	}
	wm_json_close(j, '}');
}

static void put_target(struct wm_json *j, const char *key, const char *value)
{
	char target[WM_CHECK_TARGET_MAX + 64];

	wm_json_ks(j, key, wm_redact_url(value, target, sizeof(target)));
}

static void put_stated(struct wm_json *j, const char *arg)
{
	enum wm_stated_type type;
	const char *value, *name = wm_stated_member(arg, &type, &value);

	if (name && type == WM_STATED_TEXT) {
		put_target(j, name, value);
	} else if (name) { /* "true", or digits */
		wm_json_key(j, name);
		wm_json_raw(j, value);
	}
}

/* Does the definition tell more than times? Those stand beside it, too. */
static bool is_told(const struct wm_check *c)
{
	return c->kind == WM_CHECK_STATED &&
	       (c->target || c->args_count || c->headers_count || c->tls_skip_verify ||
		c->disable_redirects || c->use_tls || (c->method && *c->method) ||
		(c->body && *c->body) || (c->tls_server_name && *c->tls_server_name));
}

/* How a check is made is told only where another program makes it. */
static void put_definition(struct wm_json *j, const struct wm_check *c)
{
	wm_json_kopen(j, "Definition", '{');
	if (is_told(c)) {
		if (c->target)
			put_target(j, strstr(c->target, "://") ? "HTTP" : "TCP", c->target);
		for (unsigned n = 0; n < c->args_count; n++)
			put_stated(j, c->args[n]);
		if (c->disable_redirects)
			wm_json_kb(j, "DisableRedirects", true);
		if (c->method && *c->method)
			wm_json_ks(j, "Method", c->method);
		if (c->body && *c->body)
			wm_json_ks(j, "Body", HIDDEN);
		if (c->tls_server_name && *c->tls_server_name)
			wm_json_ks(j, "TLSServerName", c->tls_server_name);
		if (c->tls_skip_verify)
			wm_json_kb(j, "TLSSkipVerify", true);
		if (c->use_tls)
			wm_json_kb(j, "TCPUseTLS", true);
		put_headers(j, c);
		/* clients take an empty one for a broken one here */
		if (c->interval_ms)
			put_duration(j, "Interval", c->interval_ms);
		if (c->timeout_ms)
			put_duration(j, "Timeout", c->timeout_ms);
		if (c->deregister_after_ms)
			put_duration(j, "DeregisterCriticalServiceAfter", c->deregister_after_ms);
	}
	wm_json_close(j, '}');
}

static void put_check(struct wm_json *j, const struct wm_encode *e, const struct wm_check *c,
		      bool indexes)
{
	(void)e;
	wm_json_open(j, '{');
	wm_json_ks(j, "Node", c->instance->node->name);
	wm_json_ks(j, "CheckID", c->id);
	wm_json_ks(j, "Name", c->name);
	wm_json_ks(j, "Status", wm_status_str(c->status));
	wm_json_ks(j, "Notes", c->notes);
	wm_json_ks(j, "Output", c->output);
	wm_json_ks(j, "ServiceID", c->instance->id);
	put_service(j, "ServiceName", c->instance->name);
	put_tags(j, "ServiceTags", c->instance);
	wm_json_ks(j, "Type", wm_check_type(c));
	put_duration(j, "Interval", c->interval_ms);
	put_duration(j, "Timeout", c->timeout_ms);
	wm_json_ku(j, "ExposedPort", 0);
	put_definition(j, c);
	put_indexes(j, indexes ? c->create_index : 0, indexes ? c->modify_index : 0);
	wm_json_close(j, '}');
}

void wm_encode_check(struct wm_json *j, const struct wm_encode *e, const struct wm_check *c)
{
	put_check(j, e, c, true);
}

void wm_encode_agent_check(struct wm_json *j, const struct wm_encode *e, const struct wm_check *c)
{
	put_check(j, e, c, false);
}

void wm_encode_node_check(struct wm_json *j, const struct wm_encode *e)
{
	wm_json_open(j, '{');
	wm_json_ks(j, "Node", e->node->name);
	wm_json_ks(j, "CheckID", WM_API_SERF);
	wm_json_ks(j, "Name", "Serf Health Status");
	wm_json_ks(j, "Status", "passing");
	wm_json_ks(j, "Notes", "");
	wm_json_ks(j, "Output", "Agent alive and reachable");
	wm_json_ks(j, "ServiceID", "");
	wm_json_ks(j, "ServiceName", "");
	wm_json_kempty(j, "ServiceTags", '[');
	wm_json_ks(j, "Type", "");
	wm_json_ks(j, "Interval", "");
	wm_json_ks(j, "Timeout", "");
	wm_json_ku(j, "ExposedPort", 0);
	wm_json_kempty(j, "Definition", '{');
	put_indexes(j, e->node->create_index, e->node->modify_index);
	wm_json_close(j, '}');
}

unsigned wm_sorted_checks(const struct wm_instance *i,
			  const struct wm_check *ret[WM_API_CHECKS_MAX])
{
	unsigned count = 0, all = i->checks_count + (i->passive != NULL), at;

	/* they are few, and mostly one */
	for (; count < all && count < WM_API_CHECKS_MAX; count++) {
		const struct wm_check *c = count < i->checks_count ? i->checks[count] : i->passive;

		for (at = count; at && wm_id_order(ret[at - 1]->id, c->id) > 0; at--)
			ret[at] = ret[at - 1];
		ret[at] = c;
	}
	return count;
}

void wm_encode_node_checks(struct wm_json *j, const struct wm_encode *e)
{
	const struct wm_check *all[WM_API_CHECKS_MAX];
	unsigned count = wm_sorted_checks(e->checks, all);
	bool serf = e->node->self;

	for (unsigned n = 0; n < count; n++) {
		if (serf && wm_id_order(all[n]->id, WM_API_SERF) > 0) {
			wm_encode_node_check(j, e);
			serf = false;
		}
		put_check(j, e, all[n], true);
	}
	if (serf)
		wm_encode_node_check(j, e);
}

/* Write one object or several by @p fn, or copy what it wrote before. */
static void once(struct wm_json *j, const struct wm_encode *e, size_t *at, size_t *len,
		 void (*fn)(struct wm_json *j, const struct wm_encode *e))
{
	size_t from = j->b->len;

	if (*len) {
		wm_json_repeat(j, *at, *len);
		return;
	}
	fn(j, e);
	if (j->b->failed || j->b->len == from)
		return;
	while (j->b->data[from] != '{') /* what separates it from what stands before */
		from++;
	*at = from;
	*len = j->b->len - from;
}

void wm_encode_health_members(struct wm_json *j, struct wm_encode *e, const struct wm_instance *i)
{
	const struct wm_check *all[WM_API_CHECKS_MAX];
	unsigned count = wm_sorted_checks(i, all);

	wm_encode_at(e, i->node);
	wm_json_key(j, "Node");
	once(j, e, &e->node_at, &e->node_len, wm_encode_node);
	wm_json_key(j, "Service");
	wm_encode_service(j, i);
	wm_json_kopen(j, "Checks", '[');
	once(j, e, &e->check_at, &e->check_len, wm_encode_node_checks);
	for (unsigned n = 0; n < count; n++)
		put_check(j, e, all[n], true);
	wm_json_close(j, ']');
}

void wm_encode_health_entry(struct wm_json *j, struct wm_encode *e, const struct wm_instance *i)
{
	wm_json_open(j, '{');
	wm_encode_health_members(j, e, i);
	wm_json_close(j, '}');
}
