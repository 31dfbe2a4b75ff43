/* SPDX-License-Identifier: Apache-2.0 */
/* consul_decode.c - see consul_decode.h. */
#include "consul_decode.h"

#include "waymark/limits.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define FLAGS (JSON_REJECT_DUPLICATES | JSON_DECODE_ANY)

uint64_t wm_consul_index_next(uint64_t had, uint64_t got, bool *ret_reset)
{
	*ret_reset = !got || got < had;
	return *ret_reset ? 0 : got;
}

bool wm_consul_number(const char *text, uint64_t *ret)
{
	uint64_t n = 0;

	if (!text || !*text)
		return false;
	for (; *text; text++) {
		unsigned digit = (unsigned)(unsigned char)*text - '0';

		if (digit > 9 || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, digit, &n))
			return false;
	}
	*ret = n;
	return true;
}

/* --- elements --------------------------------------------------------------------------------- */
static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && is_space(*at))
		at++;
	return at;
}

/* @return behind the text whose quote is at @p at; NULL: it has no end. */
static const char *skip_text(const char *at, const char *end)
{
	for (at++; at < end; at++) {
		if (*at == '\\')
			at++;
		else if (*at == '"')
			return at + 1;
	}
	return NULL;
}

/* @return behind the value at @p at, its comma or bracket; NULL: it has no end. */
static const char *skip_value(const char *at, const char *end)
{
	char stack[WM_JSON_DEPTH_MAX];
	unsigned depth = 0;

	while (at < end) {
		if (*at == '"') {
			at = skip_text(at, end);
			if (!at)
				return NULL;
			continue;
		}
		if (*at == '{' || *at == '[') {
			if (depth == WM_JSON_DEPTH_MAX)
				return NULL;
			stack[depth++] = *at == '{' ? '}' : ']';
		} else if (!depth && (*at == ',' || *at == ']')) {
			return at;
		} else if (*at == '}' || *at == ']') {
			if (!depth || stack[--depth] != *at)
				return NULL;
		}
		at++;
	}
	return NULL;
}

int64_t wm_consul_walk_begin(struct wm_consul_walk *w, const char *text, size_t len)
{
	const char *end = text + len, *at = skip_space(text, end);
	int64_t n = 0;

	if (at == end || *at != '[')
		return -EBADMSG;
	w->at = at = skip_space(at + 1, end);
	w->end = end;
	while (at < end && (n || *at != ']')) {
		const char *behind = skip_value(at, end);

		if (!behind || behind == at)
			return -EBADMSG;
		n++;
		if (*behind == ']') {
			at = behind;
			break;
		}
		at = skip_space(behind + 1, end);
	}
	if (at == end || skip_space(at + 1, end) != end)
		return -EBADMSG;
	w->end = at;
	return n;
}

const char *wm_consul_walk_next(struct wm_consul_walk *w, size_t *ret_len)
{
	const char *at = w->at, *behind;

	if (at >= w->end)
		return NULL;
	behind = skip_value(at, w->end + 1); /* with the bracket that ends it all */
	*ret_len = (size_t)(behind - at);
	w->at = skip_space(behind + 1, w->end);
	return at;
}

/* --- members ---------------------------------------------------------------------------------- */
/* Where reading stands, and the first thing that is wrong. */
struct reader {
	struct wm_err *e;
	int err;
};

static void wrong(struct reader *r, int code, const char *what, const char *why)
{
	if (!r->err)
		r->err = wm_err_set(r->e, code, "%s: %s", what, why);
}

/* A member of an object; NULL: it is not there, or null. */
static json_t *member(const json_t *v, const char *key)
{
	json_t *m = json_object_get(v, key);

	return json_is_null(m) ? NULL : m;
}

static json_t *object(struct reader *r, const json_t *v, const char *key)
{
	json_t *m = member(v, key);

	if (m && !json_is_object(m))
		wrong(r, WM_E_DECODE, key, "not an object");
	return m;
}

/* Never NULL. */
static const char *text(struct reader *r, const json_t *v, const char *key)
{
	json_t *m = member(v, key);

	if (m && !json_is_string(m))
		wrong(r, WM_E_DECODE, key, "not a text");
	return json_is_string(m) ? json_string_value(m) : "";
}

static uint64_t number(struct reader *r, const json_t *v, const char *key, uint64_t max)
{
	json_t *m = member(v, key);

	if (!m)
		return 0;
	if (!json_is_integer(m) || json_integer_value(m) < 0 ||
	    (uint64_t)json_integer_value(m) > max) {
		wrong(r, WM_E_DECODE, key, "not a number that it may be");
		return 0;
	}
	return (uint64_t)json_integer_value(m);
}

/* struct wm_pair has members that are not const, though drafts are only read. */
static char *mut(const char *s)
{
	char *r;

	memcpy(&r, &s, sizeof(r));
	return r;
}

static bool needs_room(struct reader *r, unsigned n, unsigned max, const char *what)
{
	if (n < max)
		return true;
	wrong(r, WM_E_LIMIT, what, "more than Waymark takes");
	return false;
}

static unsigned pairs(struct reader *r, const json_t *v, const char *key, struct wm_pair *to,
		      unsigned max)
{
	json_t *m = object(r, v, key), *item;
	unsigned n = 0;
	const char *k;

	json_object_foreach(m, k, item)
	{
		if (!json_is_string(item))
			wrong(r, WM_E_DECODE, key, "a value is no text");
		else if (needs_room(r, n, max, key))
			to[n++] = (struct wm_pair){mut(k), mut(json_string_value(item))};
	}
	return n;
}

static unsigned tags(struct reader *r, const json_t *v, const char **to)
{
	json_t *m = member(v, "Tags"), *item;
	unsigned n = 0;
	size_t i;

	if (m && !json_is_array(m))
		wrong(r, WM_E_DECODE, "Tags", "not a list");
	json_array_foreach(m, i, item)
	{
		if (!json_is_string(item))
			wrong(r, WM_E_DECODE, "Tags", "one is no text");
		else if (needs_room(r, n, WM_TAGS_MAX, "Tags"))
			to[n++] = json_string_value(item);
	}
	return n;
}

/* Addresses that Consul makes of the one that is there are no news. */
static bool is_derived(const char *name, const char *address, const char *own)
{
	static const char *const names[] = {"lan",	"wan",	    "lan_ipv4",
					    "wan_ipv4", "lan_ipv6", "wan_ipv6"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], name) == 0)
			return strcmp(address, own) == 0;
	}
	return false;
}

static unsigned tagged(struct reader *r, const json_t *v, struct wm_tagged_address *to,
		       const char *own, uint32_t own_port)
{
	json_t *m = object(r, v, "TaggedAddresses"), *item;
	unsigned n = 0;
	const char *k;

	json_object_foreach(m, k, item)
	{
		const char *address = text(r, item, "Address");
		uint16_t port = (uint16_t)number(r, item, "Port", UINT16_MAX);

		if (is_derived(k, address, own) && port == own_port)
			continue;
		if (needs_room(r, n, WM_TAGGED_MAX, "TaggedAddresses"))
			to[n++] = (struct wm_tagged_address){mut(k), mut(address), port};
	}
	return n;
}

static unsigned node_tagged(struct reader *r, const json_t *v, struct wm_pair *to, const char *own)
{
	unsigned n = pairs(r, v, "TaggedAddresses", to, WM_TAGGED_MAX), kept = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!is_derived(to[i].key, to[i].value, own))
			to[kept++] = to[i];
	}
	return kept;
}

/* --- checks ----------------------------------------------------------------------------------- */
/* A status that Consul has no name for is no passing one. */
static enum wm_status status_of(struct reader *r, const json_t *check)
{
	enum wm_status s;

	return wm_status_parse(text(r, check, "Status"), &s) ? WM_CRITICAL : s;
}

static void take_check(struct reader *r, struct wm_consul_entry *ent, const json_t *check,
		       enum wm_status status)
{
	unsigned n = ent->draft.checks_count;
	struct wm_check_draft *d = &ent->checks[n];
	const char *id = text(r, check, "CheckID");

	if (n == WM_CHECKS_PER_INSTANCE)
		return;
	if (*text(r, check, "ServiceID"))
		snprintf(ent->ids[n], sizeof(ent->ids[n]), "%s", id);
	else
		snprintf(ent->ids[n], sizeof(ent->ids[n]), "%s:%s", id, ent->draft.id);
	*d = (struct wm_check_draft){.id = ent->ids[n],
				     .name = text(r, check, "Name"),
				     .notes = text(r, check, "Notes"),
				     .output = status == WM_PASSING ? "" : text(r, check, "Output"),
				     .type = text(r, check, "Type"),
				     .kind = WM_CHECK_STATED,
				     .status = status,
				     .has_status = true};
	ent->draft.checks_count++;
}

static void checks(struct reader *r, struct wm_consul_entry *ent, const json_t *root)
{
	json_t *list = member(root, "Checks"), *item;
	size_t i;

	if (list && !json_is_array(list))
		wrong(r, WM_E_DECODE, "Checks", "not a list");
	for (int s = WM_CRITICAL; s >= WM_PASSING; s--) {
		json_array_foreach(list, i, item)
		{
			if (!json_is_object(item)) {
				wrong(r, WM_E_DECODE, "Checks", "one is no object");
				return;
			}
			if ((int)status_of(r, item) != s ||
			    (s == WM_PASSING && !*text(r, item, "ServiceID")))
				continue;
			if ((int)ent->status < s)
				ent->status = (enum wm_status)s;
			take_check(r, ent, item, (enum wm_status)s);
		}
	}
}

/* --- an instance ------------------------------------------------------------------------------ */
static void read_node(struct reader *r, const json_t *v, struct wm_consul_entry *ent)
{
	json_t *place = object(r, v, "Locality");
	struct wm_node_draft *f = &ent->facts;

	f->id = text(r, v, "ID");
	f->address = text(r, v, "Address");
	f->meta = ent->node_meta;
	f->meta_count = pairs(r, v, "Meta", ent->node_meta, WM_META_PAIRS_MAX);
	f->tagged = ent->node_tagged;
	f->tagged_count = node_tagged(r, v, ent->node_tagged, f->address);
	f->region = text(r, place, "Region");
	f->zone = text(r, place, "Zone");
	ent->node_index = number(r, v, "ModifyIndex", INT64_MAX);
}

static void read_weights(struct reader *r, const json_t *v, struct wm_instance_draft *d)
{
	json_t *w = object(r, v, "Weights");

	if (!w)
		return;
	d->has_weights = true;
	d->weight_passing = (unsigned)number(r, w, "Passing", WM_WEIGHT_MAX);
	d->weight_warning = (unsigned)number(r, w, "Warning", WM_WEIGHT_MAX);
}

static void read_service(struct reader *r, const json_t *v, struct wm_consul_entry *ent)
{
	json_t *place = object(r, v, "Locality"), *connect = object(r, v, "Connect");
	struct wm_instance_draft *d = &ent->draft;
	struct wm_traits *t = &ent->traits;

	d->address = text(r, v, "Address");
	d->port = (uint32_t)number(r, v, "Port", UINT16_MAX);
	read_weights(r, v, d);
	d->tags = ent->tags;
	d->tags_count = tags(r, v, ent->tags);
	d->meta = ent->meta;
	d->meta_count = pairs(r, v, "Meta", ent->meta, WM_META_PAIRS_MAX);
	for (unsigned i = 0; i < d->meta_count; i++) {
		if (strcmp(d->meta[i].key, WM_CONSUL_ORIGIN) == 0)
			ent->origin = d->meta[i].value;
	}
	d->tagged = ent->tagged;
	d->tagged_count = tagged(r, v, ent->tagged, d->address, d->port);
	d->enable_tag_override = json_is_true(json_object_get(v, "EnableTagOverride"));
	d->checks = ent->checks;
	d->replace_checks = true;
	t->region = text(r, place, "Region");
	t->zone = text(r, place, "Zone");
	t->kind = text(r, v, "Kind");
	t->socket_path = text(r, v, "SocketPath");
	t->native = json_is_true(json_object_get(connect, "Native"));
	if (*t->region || *t->zone || *t->kind || *t->socket_path || t->native)
		d->traits = t;
}

void wm_consul_entry_done(struct wm_consul_entry *ent)
{
	json_decref(ent->root);
	ent->root = NULL;
}

int wm_consul_entry_read(const char *body, size_t len, struct wm_consul_entry *ret,
			 struct wm_err *e)
{
	struct reader r = {.e = e};
	json_t *root = json_loadb(body, len, FLAGS, NULL), *node, *service;

	wm_consul_entry_done(ret);
	ret->root = root;
	ret->origin = NULL;
	ret->facts = (struct wm_node_draft){0};
	ret->draft = (struct wm_instance_draft){0};
	ret->traits = (struct wm_traits){0};
	ret->status = WM_PASSING;
	node = root ? object(&r, root, "Node") : NULL;
	service = root ? object(&r, root, "Service") : NULL;
	if (!node || !service || r.err)
		return wm_err_set(e, WM_E_DECODE, "an element is no instance with its node");
	ret->node = text(&r, node, "Node");
	ret->draft.id = text(&r, service, "ID");
	ret->draft.name = text(&r, service, "Service");
	if (r.err || !*ret->node || !*ret->draft.id || !*ret->draft.name)
		return wm_err_set(e, WM_E_DECODE, "an instance has no id, no service or no node");
	read_node(&r, node, ret);
	read_service(&r, service, ret);
	checks(&r, ret, root);
	if (strchr(ret->draft.name, '/'))
		wrong(&r, WM_E_INVALID, ret->draft.name,
		      "a name with a slash is one of another source's scope");
	return r.err;
}

/* --- other answers ---------------------------------------------------------------------------- */
static json_t *parse_object(const char *body, size_t len, struct wm_err *e)
{
	json_error_t why;
	json_t *root = json_loadb(body, len, FLAGS, &why);

	if (json_is_object(root))
		return root;
	wm_err_set(e, WM_E_DECODE, "%s", root ? "the answer is no object" : why.text);
	json_decref(root);
	return NULL;
}

int wm_consul_services_read(const char *body, size_t len, int (*fn)(void *arg, const char *name),
			    void *arg, struct wm_err *e)
{
	json_t *root = parse_object(body, len, e), *item;
	const char *name;
	int r = 0;

	if (!root)
		return e ? e->code : WM_E_DECODE;
	json_object_foreach(root, name, item)
	{
		if (!json_is_array(item) && !json_is_null(item))
			r = wm_err_set(e, WM_E_DECODE, "tags of a service are no list");
		else
			r = fn(arg, name);
		if (r)
			break;
	}
	json_decref(root);
	return r;
}

int wm_consul_self_read(const char *body, size_t len, struct wm_consul_self *ret, struct wm_err *e)
{
	json_t *root = parse_object(body, len, e), *config;
	struct reader r = {.e = e};
	const char *dc;

	if (!root)
		return e ? e->code : WM_E_DECODE;
	config = object(&r, root, "Config");
	dc = text(&r, config, "Datacenter");
	if (!r.err && (!*dc || strlen(dc) > WM_CONSUL_DATACENTER_MAX))
		wrong(&r, WM_E_DECODE, "Config.Datacenter", "it names no datacenter");
	if (!r.err) {
		snprintf(ret->datacenter, sizeof(ret->datacenter), "%s", dc);
		snprintf(ret->node, sizeof(ret->node), "%s", text(&r, config, "NodeName"));
		snprintf(ret->id, sizeof(ret->id), "%s", text(&r, config, "NodeID"));
	}
	json_decref(root);
	return r.err;
}

int wm_consul_trust_read(const char *body, size_t len, char ret[static WM_CONSUL_TRUST_MAX + 1],
			 struct wm_err *e)
{
	json_t *root = parse_object(body, len, e);
	struct reader r = {.e = e};
	const char *domain;

	if (!root)
		return e ? e->code : WM_E_DECODE;
	domain = text(&r, root, "TrustDomain");
	if (!r.err && strlen(domain) > WM_CONSUL_TRUST_MAX)
		wrong(&r, WM_E_DECODE, "TrustDomain", "it is too long");
	if (!r.err)
		snprintf(ret, WM_CONSUL_TRUST_MAX + 1, "%s", domain);
	json_decref(root);
	return r.err;
}

int wm_consul_local_read(const char *body, size_t len,
			 int (*fn)(void *arg, const char *id, const char *origin), void *arg,
			 struct wm_err *e)
{
	json_t *root = parse_object(body, len, e), *item;
	struct reader r = {.e = e};
	const char *id;
	int err = 0;

	if (!root)
		return e ? e->code : WM_E_DECODE;
	json_object_foreach(root, id, item)
	{
		json_t *meta = object(&r, item, "Meta");
		const char *origin = text(&r, meta, WM_CONSUL_ORIGIN);

		err = r.err ? r.err : fn(arg, id, origin);
		if (err)
			break;
	}
	json_decref(root);
	return err;
}
