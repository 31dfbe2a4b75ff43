/* SPDX-License-Identifier: Apache-2.0 */
/* record.c - see record.h. Fields stand in a fixed order; a new field means a new version. */
#include "record.h"

#include "userspace/base/buf.h"
#include "userspace/base/err.h"
#include "userspace/base/hash.h"

#include <errno.h>
#include <string.h>

/* --- writing --- */
static void put_u(struct wm_buf *b, uint64_t v)
{
	char t[10];
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		t[n++] = (char)(v | 0x80);
	t[n++] = (char)v;
	wm_buf_put(b, t, n);
}

static void put_s(struct wm_buf *b, const char *s)
{
	size_t n;

	if (!s) {
		wm_buf_putc(b, 0);
		return;
	}
	n = strlen(s);
	put_u(b, n + 1);
	wm_buf_put(b, s, n + 1);
}

static uint64_t checksum(uint64_t row, const char *body, size_t len)
{
	/* as wm_hash_stable, with the row first; fixed for good: it is stored */
	uint64_t h = 0xcbf29ce484222325ull ^ (row * 0x9e3779b97f4a7c15ull);

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)body[i]) * 0x100000001b3ull;
	return h;
}

static void begin(struct wm_buf *b, enum wm_record_type t)
{
	char head[WM_RECORD_HEAD] = {'W', 'M', WM_RECORD_VERSION_FIRST, (char)t};

	wm_buf_reset(b);
	wm_buf_put(b, head, sizeof(head));
}

static int end(struct wm_buf *b, uint64_t row)
{
	uint64_t sum;

	if (b->failed)
		return b->len >= b->max / 2 ? WM_E_LIMIT : -ENOMEM;
	sum = checksum(row, b->data + WM_RECORD_HEAD, b->len - WM_RECORD_HEAD);
	for (int i = 0; i < 8; i++)
		b->data[4 + i] = (char)(sum >> (8 * i));
	return 0;
}

static void put_pairs(struct wm_buf *b, const struct wm_pair *p, unsigned n)
{
	put_u(b, n);
	for (unsigned i = 0; i < n; i++) {
		put_s(b, p[i].key);
		put_s(b, p[i].value);
	}
}

/* The record holds what agents before @p version cannot know. */
static void need(struct wm_buf *b, int version)
{
	if (!b->failed && b->data[2] < version)
		b->data[2] = (char)version;
}

static bool has_more(const struct wm_check *c)
{
	return c->args_count || c->output_max;
}

static int version_of(const struct wm_check *c)
{
	if (c->kind == WM_CHECK_STATED && c->args_count)
		return WM_RECORD_VERSION_STATED;
	if (c->type && *c->type)
		return WM_RECORD_VERSION_TYPE;
	if (c->kind == WM_CHECK_STATED)
		return WM_RECORD_VERSION_CATALOG;
	if (has_more(c) || c->kind > WM_CHECK_UDP)
		return 3;
	return c->use_tls || c->kind > WM_CHECK_HTTP ? 2 : WM_RECORD_VERSION_FIRST;
}

/* For whom a record is written. */
enum form { STORED, TOLD };

#define CHECK_TOLD 32u /* of TOLD ones: its status is somebody's word */

static void put_check(struct wm_buf *b, const struct wm_check *c, enum form form)
{
	bool told = form == TOLD && ((const struct wm_check_box *)c)->told;

	need(b, told ? WM_RECORD_VERSION_WRITER : version_of(c));
	put_s(b, c->id);
	put_s(b, c->name);
	put_s(b, c->notes);
	put_s(b, c->output);
	put_u(b, c->kind);
	put_s(b, c->target);
	put_s(b, c->method);
	put_s(b, c->body);
	put_pairs(b, c->headers, c->headers_count);
	put_u(b, (c->tls_skip_verify ? 1u : 0) | (c->disable_redirects ? 2u : 0) |
			 (c->use_tls ? 4u : 0) | (has_more(c) ? 8u : 0) |
			 (c->type && *c->type ? 16u : 0) | (told ? CHECK_TOLD : 0));
	put_s(b, c->tls_server_name);
	put_u(b, c->interval_ms);
	put_u(b, c->timeout_ms);
	put_u(b, c->ttl_ms);
	put_u(b, c->deregister_after_ms);
	put_u(b, c->success_before_passing);
	put_u(b, c->failures_before_warning);
	put_u(b, c->failures_before_critical);
	put_u(b, ((const struct wm_check_box *)c)->given);
	put_u(b, c->status);
	put_u(b, form == TOLD ? 0 : c->create_index);
	put_u(b, form == TOLD ? 0 : c->modify_index);
	if (c->type && *c->type)
		put_s(b, c->type);
	if (!has_more(c))
		return;
	put_u(b, c->output_max);
	put_u(b, c->args_count);
	for (unsigned i = 0; i < c->args_count; i++)
		put_s(b, c->args[i]);
}

/* What stood for enable_tag_override alone before version 6: bits. */
#define INSTANCE_OVERRIDE 1u
#define INSTANCE_LIFE	  2u /* the lifecycle and the end of its drain follow */
#define INSTANCE_TRAITS	  4u /* and then its traits */
#define INSTANCE_VERSION  8u /* and then its version */

static void put_traits(struct wm_buf *b, const struct wm_traits *t)
{
	need(b, WM_RECORD_VERSION_TRAITS);
	put_s(b, t->region);
	put_s(b, t->zone);
	put_s(b, t->kind);
	put_s(b, t->socket_path);
	put_u(b, (t->native ? 1u : 0) | (t->sidecar ? 2u : 0));
	put_pairs(b, t->proxy, t->proxy_count);
}

/* A shared object that says who wrote it stands as an origin of its own. */
#define SHARED_WRITTEN 3u
#define SHARED_RANKED  4u /* bit beside: its priority stands at the end */
_Static_assert(WM_ORIGIN_FOREIGN < SHARED_WRITTEN, "origins are told apart");

static void put_version(struct wm_buf *b, const struct wm_version *v)
{
	bool written = v->origin == WM_ORIGIN_SHARED && !wm_peer_id_none(&v->writer);
	bool ranked = v->origin == WM_ORIGIN_SHARED && v->priority;

	need(b, ranked ? WM_RECORD_VERSION_RANK : WM_RECORD_VERSION_ORIGIN);
	put_u(b, (written ? SHARED_WRITTEN : v->origin) | (ranked ? SHARED_RANKED : 0));
	put_u(b, v->epoch);
	put_u(b, v->seq);
	if (written || v->origin == WM_ORIGIN_FOREIGN) {
		need(b, WM_RECORD_VERSION_WRITER);
		wm_buf_put(b, v->writer.octets, sizeof(v->writer.octets));
	}
	if (ranked)
		put_u(b, v->priority);
}

static bool has_version(const struct wm_version *v, enum form form)
{
	return form == STORED && (v->seq || !wm_peer_id_none(&v->writer));
}

static void put_checks(struct wm_buf *b, const struct wm_instance *i, enum form form)
{
	unsigned count = 0;

	for (unsigned n = 0; n < i->checks_count; n++)
		count += !wm_cbox(i->checks[n])->local;
	put_u(b, count);
	for (unsigned n = 0; n < i->checks_count; n++) {
		if (!wm_cbox(i->checks[n])->local)
			put_check(b, i->checks[n], form);
	}
}

static void put_instance(struct wm_buf *b, const struct wm_instance *i, enum form form)
{
	put_s(b, i->id);
	put_s(b, i->name);
	put_s(b, i->address);
	put_u(b, i->port);
	put_u(b, i->weight_passing);
	put_u(b, i->weight_warning);
	put_u(b, (i->enable_tag_override ? INSTANCE_OVERRIDE : 0) |
			 (i->lifecycle != WM_LIFE_RUNNING ? INSTANCE_LIFE : 0) |
			 (i->traits ? INSTANCE_TRAITS : 0) |
			 (has_version(&i->version, form) ? INSTANCE_VERSION : 0));
	if (i->lifecycle != WM_LIFE_RUNNING) {
		need(b, WM_RECORD_VERSION_LIFE);
		put_u(b, i->lifecycle);
		put_u(b, i->drain_until_ms);
	}
	if (i->traits)
		put_traits(b, i->traits);
	if (has_version(&i->version, form))
		put_version(b, &i->version);
	put_u(b, i->tags_count);
	for (unsigned n = 0; n < i->tags_count; n++)
		put_s(b, i->tags[n]);
	put_pairs(b, i->meta, i->meta_count);
	put_u(b, i->tagged_count);
	for (unsigned n = 0; n < i->tagged_count; n++) {
		put_s(b, i->tagged[n].name);
		put_s(b, i->tagged[n].address);
		put_u(b, i->tagged[n].port);
	}
	put_u(b, form == TOLD ? 0 : i->create_index);
	put_u(b, form == TOLD ? 0 : i->modify_index);
	put_checks(b, i, form);
}

/* Octets of a maintenance check: its texts, and what any check has. */
#define MAINTENANCE_MAX                                                                            \
	(WM_CHECK_ID_MAX + WM_CHECK_NAME_MAX + WM_CHECK_NOTES_MAX + WM_CHECK_OUTPUT_MAX + 256)
#define NUMBERS_GROWTH 64 /* octets: LEB128 of the few numbers that change, ten each */

size_t wm_record_growth(const struct wm_instance *i)
{
	size_t n = NUMBERS_GROWTH + MAINTENANCE_MAX;

	for (unsigned k = 0; k < i->checks_count; k++) {
		const struct wm_check *c = i->checks[k];

		if (c->kind == WM_CHECK_MAINTENANCE)
			n -= MAINTENANCE_MAX;
		if (!((const struct wm_check_box *)c)->local)
			n += NUMBERS_GROWTH + WM_CHECK_OUTPUT_MAX - strlen(c->output);
	}
	return n;
}

static void put_catalog_instance(struct wm_buf *b, const struct wm_instance *i, enum form form)
{
	need(b, WM_RECORD_VERSION_CATALOG);
	put_s(b, form == STORED && i->node->self ? "" : i->node->name);
	put_instance(b, i, form);
}

int wm_record_put_instance(struct wm_buf *b, uint64_t row, const struct wm_instance *i)
{
	static const enum wm_record_type types[] = {[WM_ORIGIN_OWN] = WM_RECORD_INSTANCE,
						    [WM_ORIGIN_SHARED] = WM_RECORD_CATALOG_INSTANCE,
						    [WM_ORIGIN_FOREIGN] =
							    WM_RECORD_FOREIGN_INSTANCE};

	begin(b, types[i->version.origin]);
	if (i->version.origin == WM_ORIGIN_OWN)
		put_instance(b, i, STORED);
	else
		put_catalog_instance(b, i, STORED);
	return end(b, row);
}

int wm_record_put_node(struct wm_buf *b, uint64_t row, const struct wm_instance *holder)
{
	begin(b, WM_RECORD_NODE);
	put_instance(b, holder, STORED);
	return end(b, row);
}

/* Where a node is stands as its holder's traits, which has none of its own. */
static void put_catalog_node(struct wm_buf *b, const struct wm_node *n, enum form form)
{
	const struct wm_traits place = {
		.region = n->region, .zone = n->zone, .kind = "", .socket_path = ""};
	struct wm_instance holder = *n->holder;

	holder.traits = *n->region || *n->zone ? &place : NULL;
	need(b, WM_RECORD_VERSION_CATALOG);
	put_s(b, n->name);
	put_s(b, n->id);
	put_s(b, n->address);
	put_pairs(b, n->meta, n->meta_count);
	put_pairs(b, n->tagged, n->tagged_count);
	put_u(b, form == TOLD ? 0 : n->create_index);
	put_u(b, form == TOLD ? 0 : n->modify_index);
	put_instance(b, &holder, form);
}

int wm_record_put_catalog_node(struct wm_buf *b, const struct wm_node *n)
{
	bool foreign = wm_instance_foreign(n->holder);

	begin(b, foreign ? WM_RECORD_FOREIGN_NODE : WM_RECORD_CATALOG_NODE);
	put_catalog_node(b, n, STORED);
	return end(b, n->row);
}

int wm_record_put_told(struct wm_buf *b, const struct wm_instance *i)
{
	bool node = i == i->node->holder;

	begin(b, node ? WM_RECORD_CATALOG_NODE : WM_RECORD_CATALOG_INSTANCE);
	if (node)
		put_catalog_node(b, i->node, TOLD);
	else
		put_catalog_instance(b, i, TOLD);
	return end(b, 0);
}

/* --- policies: a field is its section's and its own number, 1 + either, then its value; 0 ends ---
 */
static void put_field(struct wm_buf *b, const void *of, const struct wm_policy_field *f)
{
	const char *text;
	uint32_t number;

	if (f->type == WM_POLICY_TEXT) {
		memcpy(&text, (const char *)of + f->offset, sizeof(text));
		put_s(b, text);
	} else {
		memcpy(&number, (const char *)of + f->offset, sizeof(number));
		put_u(b, number);
	}
}

static bool falls_back(const void *of, const struct wm_policy_field *f)
{
	const char *text;
	uint32_t number;

	if (f->type == WM_POLICY_TEXT) {
		memcpy(&text, (const char *)of + f->offset, sizeof(text));
		return !*text;
	}
	memcpy(&number, (const char *)of + f->offset, sizeof(number));
	return number == f->fallback;
}

/* The fields of a member's object, or of an element, that are not at their fallback. */
static void put_fields(struct wm_buf *b, unsigned section, const void *of)
{
	const struct wm_policy_section *s = &wm_policy_sections[section];

	for (unsigned n = 0; n < s->fields_count; n++) {
		if (falls_back(of, &s->fields[n]))
			continue;
		put_u(b, section + 1);
		put_u(b, n + 1);
		put_field(b, of, &s->fields[n]);
	}
}

static void put_section(struct wm_buf *b, unsigned section, const struct wm_policy *p)
{
	const struct wm_policy_section *s = &wm_policy_sections[section];
	const char *list;
	uint32_t count;

	if (s->form == WM_POLICY_TOP || s->form == WM_POLICY_OBJECT) {
		put_fields(b, section, p);
		return;
	}
	memcpy(&list, (const char *)p + s->list, sizeof(list));
	memcpy(&count, (const char *)p + s->count, sizeof(count));
	for (uint32_t k = 0; k < count; k++) {
		put_u(b, section + 1);
		put_u(b, 0); /* an element begins */
		put_fields(b, section, list + k * s->size);
	}
}

int wm_record_put_policy(struct wm_buf *b, const struct wm_policy *p, bool told)
{
	begin(b, WM_RECORD_POLICY);
	need(b, WM_RECORD_VERSION_POLICY);
	put_s(b, p->service);
	put_u(b, told ? 0 : p->create_index);
	put_u(b, told ? 0 : p->modify_index);
	put_u(b, !told);
	if (!told)
		put_version(b, &p->version);
	for (unsigned n = 0; n < wm_policy_sections_count; n++)
		put_section(b, n, p);
	put_u(b, 0);
	return end(b, told ? 0 : p->row);
}

int wm_record_put_service(struct wm_buf *b, uint64_t row, const struct wm_record_service *s)
{
	begin(b, WM_RECORD_SERVICE);
	put_s(b, s->name);
	wm_buf_put(b, &s->vip4, sizeof(s->vip4));
	wm_buf_put(b, &s->vip6, sizeof(s->vip6));
	put_u(b, s->create_index);
	return end(b, row);
}

int wm_record_put_meta(struct wm_buf *b, const struct wm_record_meta *m)
{
	begin(b, WM_RECORD_META);
	put_u(b, m->reserved);
	put_s(b, m->node_id);
	if (m->epoch) {
		need(b, WM_RECORD_VERSION_ORIGIN);
		put_u(b, m->epoch);
	}
	if (m->epoch && m->node_name) {
		need(b, WM_RECORD_VERSION_WRITER);
		put_s(b, m->node_name);
	}
	return end(b, 0);
}

int wm_record_put_tombstone(struct wm_buf *b, uint64_t row, const struct wm_record_tombstone *t)
{
	begin(b, WM_RECORD_TOMBSTONE);
	put_s(b, t->node);
	put_s(b, t->id);
	put_s(b, t->service);
	put_version(b, &t->version);
	put_u(b, t->index);
	put_u(b, t->when_s);
	if (t->semver) {
		need(b, WM_RECORD_VERSION_RANK);
		put_s(b, t->semver);
	}
	return end(b, row);
}

/* --- reading: the first thing that does not fit sets bad, and everything after it reads as 0 ---
 */
struct cursor {
	char *p, *end;
	bool bad;
};

static uint64_t get_u(struct cursor *c, uint64_t max)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && c->p < c->end; shift += 7) {
		uint64_t bits = (uint8_t)*c->p & 0x7f;
		bool more = (uint8_t)*c->p++ & 0x80;

		/* the tenth octet has one bit, and no number ends in an octet of nothing */
		if ((shift == 63 && bits > 1) || (!more && !bits && shift))
			break;
		v |= bits << shift;
		if (!more && v <= max)
			return v;
		if (!more)
			break;
	}
	c->bad = true;
	c->p = c->end;
	return 0;
}

static char *get_s(struct cursor *c)
{
	uint64_t n = get_u(c, WM_RECORD_MAX);
	char *s = c->p;

	if (!n)
		return NULL;
	/* n counts the NUL: exactly one, at the end */
	if (n > (uint64_t)(c->end - c->p) || memchr(s, 0, n) != s + n - 1) {
		c->bad = true;
		c->p = c->end;
		return NULL;
	}
	c->p += n;
	return s;
}

/* A string that must be there. */
static char *need_s(struct cursor *c)
{
	static char none[1];
	char *s = get_s(c);

	if (s)
		return s;
	c->bad = true;
	return none;
}

static void get_pairs(struct cursor *c, struct wm_pair *p, unsigned max, unsigned *ret_count)
{
	*ret_count = (unsigned)get_u(c, max);
	for (unsigned i = 0; i < *ret_count; i++) {
		p[i].key = need_s(c);
		p[i].value = need_s(c);
	}
}

/* Does a check of this kind have a target? */
static bool targets(enum wm_check_kind k)
{
	return k != WM_CHECK_TTL && k != WM_CHECK_MAINTENANCE && k != WM_CHECK_SCRIPT &&
	       k != WM_CHECK_STATED;
}

static void get_check(struct cursor *c, struct wm_check_draft *d, struct wm_check_state *st,
		      struct wm_pair *headers, const char **args)
{
	unsigned flags, given;

	*d = (struct wm_check_draft){.headers = headers, .args = args};
	d->id = need_s(c);
	d->name = need_s(c);
	d->notes = need_s(c);
	d->output = need_s(c);
	d->kind = (enum wm_check_kind)get_u(c, WM_CHECK_KIND_COUNT - 1);
	d->target = get_s(c);
	d->method = get_s(c);
	d->body = get_s(c);
	get_pairs(c, headers, WM_CHECK_HEADERS_MAX, &d->headers_count);
	flags = (unsigned)get_u(c, 63);
	st->told = flags & CHECK_TOLD;
	d->tls_skip_verify = flags & 1;
	d->disable_redirects = flags & 2;
	d->use_tls = flags & 4;
	d->tls_server_name = get_s(c);
	d->interval_ms = get_u(c, UINT64_MAX);
	d->timeout_ms = get_u(c, UINT64_MAX);
	d->ttl_ms = get_u(c, UINT64_MAX);
	d->deregister_after_ms = get_u(c, UINT64_MAX);
	d->success_before_passing = (unsigned)get_u(c, UINT32_MAX);
	d->failures_before_warning = (unsigned)get_u(c, UINT32_MAX);
	d->failures_before_critical = (unsigned)get_u(c, UINT32_MAX);
	given = (unsigned)get_u(c, 1 + WM_CRITICAL);
	d->has_status = given != 0;
	d->status = given ? (enum wm_status)(given - 1) : WM_CRITICAL;
	st->status = (enum wm_status)get_u(c, WM_CRITICAL);
	st->create_index = get_u(c, UINT64_MAX);
	st->modify_index = get_u(c, UINT64_MAX);
	if (flags & 16) {
		d->type = need_s(c);
		c->bad |= !*d->type || d->kind != WM_CHECK_STATED;
	}
	if (flags & 8) {
		d->output_max = (unsigned)get_u(c, UINT32_MAX);
		d->args_count = (unsigned)get_u(c, WM_CHECK_ARGS_MAX);
		for (unsigned i = 0; i < d->args_count; i++)
			args[i] = need_s(c);
		c->bad |= !d->output_max && !d->args_count;
	}
	/* an empty id or name would be taken for one that is left out */
	if (!*d->id || !*d->name || (targets(d->kind) && !d->target) ||
	    (d->kind == WM_CHECK_SCRIPT && !d->args_count) ||
	    (d->kind != WM_CHECK_SCRIPT && d->kind != WM_CHECK_STATED && d->args_count))
		c->bad = true;
}

static void get_life(struct cursor *c, struct wm_instance_draft *d)
{
	d->lifecycle = (enum wm_lifecycle)get_u(c, WM_LIFE_STOPPED);
	d->drain_until_ms = get_u(c, UINT64_MAX);
	/* of what is running nothing stands here, and only what is stopping is drained */
	if (d->lifecycle == WM_LIFE_NONE || d->lifecycle == WM_LIFE_RUNNING ||
	    (d->drain_until_ms && d->lifecycle != WM_LIFE_STOPPING))
		c->bad = true;
}

static void get_traits(struct cursor *c, struct wm_record_instance *r)
{
	struct wm_traits *t = &r->traits;
	unsigned bits;

	t->region = need_s(c);
	t->zone = need_s(c);
	t->kind = need_s(c);
	t->socket_path = need_s(c);
	bits = (unsigned)get_u(c, 3);
	t->native = bits & 1;
	t->sidecar = bits & 2;
	get_pairs(c, r->proxy, WM_PROXY_MEMBERS_MAX, &t->proxy_count);
	t->proxy = r->proxy;
	r->d.traits = t;
}

static void get_raw(struct cursor *c, void *to, size_t n)
{
	if ((size_t)(c->end - c->p) < n) {
		c->bad = true;
		memset(to, 0, n);
		return;
	}
	memcpy(to, c->p, n);
	c->p += n;
}

static void get_version(struct cursor *c, struct wm_version *v)
{
	uint64_t kind = get_u(c, SHARED_WRITTEN | SHARED_RANKED), origin = kind & ~SHARED_RANKED;
	bool written = origin == SHARED_WRITTEN;

	*v = (struct wm_version){.origin = written ? WM_ORIGIN_SHARED
						   : (enum wm_version_origin)origin};
	v->epoch = (uint32_t)get_u(c, UINT32_MAX);
	v->seq = get_u(c, UINT64_MAX);
	/* one meaning has one form */
	if (written || v->origin == WM_ORIGIN_FOREIGN) {
		get_raw(c, v->writer.octets, sizeof(v->writer.octets));
		c->bad |= wm_peer_id_none(&v->writer);
	}
	if (kind & SHARED_RANKED) {
		v->priority = (uint32_t)get_u(c, UINT32_MAX);
		c->bad |= !v->priority || v->origin != WM_ORIGIN_SHARED;
	}
}

static int get_instance(struct cursor *c, struct wm_record_instance *r)
{
	struct wm_instance_draft *d = &r->d;
	unsigned flags;

	*d = (struct wm_instance_draft){.tags = r->tags, .meta = r->meta, .tagged = r->tagged};
	d->checks = r->checks;
	d->id = need_s(c);
	d->name = need_s(c);
	d->address = need_s(c);
	d->port = (uint32_t)get_u(c, 65535);
	d->has_weights = true;
	d->weight_passing = (unsigned)get_u(c, WM_WEIGHT_MAX);
	if (!d->weight_passing) /* was stored before 0 was refused: healthy, and in no answer */
		d->weight_passing = 1;
	d->weight_warning = (unsigned)get_u(c, WM_WEIGHT_MAX);
	flags = (unsigned)get_u(c, INSTANCE_OVERRIDE | INSTANCE_LIFE | INSTANCE_TRAITS |
					   INSTANCE_VERSION);
	d->enable_tag_override = flags & INSTANCE_OVERRIDE;
	if (flags & INSTANCE_LIFE)
		get_life(c, d);
	if (flags & INSTANCE_TRAITS)
		get_traits(c, r);
	r->version = (struct wm_version){0};
	if (flags & INSTANCE_VERSION)
		get_version(c, &r->version);
	d->tags_count = (unsigned)get_u(c, WM_TAGS_MAX);
	for (unsigned i = 0; i < d->tags_count; i++)
		r->tags[i] = need_s(c);
	get_pairs(c, r->meta, WM_META_PAIRS_MAX, &d->meta_count);
	d->tagged_count = (unsigned)get_u(c, WM_TAGGED_MAX);
	for (unsigned i = 0; i < d->tagged_count; i++) {
		r->tagged[i].name = need_s(c);
		r->tagged[i].address = get_s(c);
		r->tagged[i].port = (uint16_t)get_u(c, 65535);
	}
	r->create_index = get_u(c, UINT64_MAX);
	r->modify_index = get_u(c, UINT64_MAX);
	d->checks_count = (unsigned)get_u(c, WM_RECORD_CHECKS);
	for (unsigned i = 0; i < d->checks_count; i++)
		get_check(c, &r->checks[i], &r->states[i], r->headers[i], r->args[i]);
	return c->bad || c->p != c->end ? WM_E_STORE_DAMAGED : 0;
}

int wm_record_get_instance(char *body, size_t len, struct wm_record_instance *r)
{
	struct cursor c = {body, body + len, false};

	r->node_name = NULL;
	return get_instance(&c, r) || !*r->d.id || !*r->d.name ? WM_E_STORE_DAMAGED : 0;
}

int wm_record_get_node(char *body, size_t len, struct wm_record_instance *r)
{
	struct cursor c = {body, body + len, false};

	r->node_name = NULL;
	return get_instance(&c, r) || *r->d.id || *r->d.name ? WM_E_STORE_DAMAGED : 0;
}

int wm_record_get_catalog_instance(char *body, size_t len, struct wm_record_instance *r)
{
	struct cursor c = {body, body + len, false};

	r->node_name = need_s(&c);
	return get_instance(&c, r) || !*r->d.id || !*r->d.name ? WM_E_STORE_DAMAGED : 0;
}

int wm_record_get_catalog_node(char *body, size_t len, struct wm_record_instance *r)
{
	struct cursor c = {body, body + len, false};

	r->node_name = need_s(&c);
	r->node = (struct wm_node_draft){.meta = r->node_meta, .tagged = r->node_tagged};
	r->node.id = need_s(&c);
	r->node.address = need_s(&c);
	get_pairs(&c, r->node_meta, WM_META_PAIRS_MAX, &r->node.meta_count);
	get_pairs(&c, r->node_tagged, WM_TAGGED_MAX, &r->node.tagged_count);
	r->node_create_index = get_u(&c, UINT64_MAX);
	r->node_modify_index = get_u(&c, UINT64_MAX);
	if (get_instance(&c, r) || *r->d.id || *r->d.name || !*r->node_name ||
	    strlen(r->node_name) > WM_NODE_NAME_MAX)
		return WM_E_STORE_DAMAGED;
	if (r->d.traits) {
		r->node.region = r->traits.region;
		r->node.zone = r->traits.zone;
		r->d.traits = NULL;
	}
	return 0;
}

enum wm_record_type wm_record_type_of(const char *p, size_t len)
{
	return len >= WM_RECORD_HEAD ? (enum wm_record_type)(uint8_t)p[3] : (enum wm_record_type)0;
}

struct wm_instance *wm_record_build(const struct wm_record_instance *d)
{
	struct wm_instance *i = wm_instance_build(&d->d);

	for (unsigned n = 0; i && n < i->checks_count; n++) {
		i->checks[n]->status = d->states[n].status;
		wm_cbox(i->checks[n])->told = d->states[n].told;
		i->checks[n]->create_index = d->states[n].create_index;
		i->checks[n]->modify_index = d->states[n].modify_index;
	}
	return i;
}

/* A field of @p of, which is not at its fallback: it would stand otherwise in two forms. */
static void get_field(struct cursor *c, void *of, const struct wm_policy_field *f)
{
	if (f->type == WM_POLICY_TEXT)
		*wm_policy_text(of, f) = need_s(c);
	else
		*wm_policy_number(of, f) = (uint32_t)get_u(c, UINT32_MAX);
	c->bad |= falls_back(of, f);
}

/* What stands in order; @p last: place of the field before it. */
static bool get_policy_field(struct cursor *c, struct wm_policy_draft *d, void **at,
			     uint64_t *last_section, uint64_t *last_field)
{
	uint64_t section = get_u(c, wm_policy_sections_count), field;
	const struct wm_policy_section *s;

	if (!section || c->bad)
		return false;
	s = &wm_policy_sections[section - 1];
	field = get_u(c, s->fields_count);
	if (section != *last_section) {
		c->bad |= section < *last_section;
		*at = s->form == WM_POLICY_TOP || s->form == WM_POLICY_OBJECT ? &d->p : NULL;
		*last_field = 0;
	}
	if (!field && *at != (void *)&d->p) {
		*at = wm_policy_draft_add(d, s);
		c->bad |= !*at;
	} else {
		c->bad |= !*at || field <= *last_field;
	}
	*last_section = section;
	*last_field = field;
	if (field && !c->bad)
		get_field(c, *at, &s->fields[field - 1]);
	return !c->bad;
}

int wm_record_get_policy(char *body, size_t len, struct wm_policy_draft *ret)
{
	struct cursor c = {body, body + len, false};
	uint64_t section = 0, field = 0;
	void *at = NULL;

	wm_policy_draft_init(ret, need_s(&c));
	ret->p.create_index = get_u(&c, UINT64_MAX);
	ret->p.modify_index = get_u(&c, UINT64_MAX);
	ret->p.version = (struct wm_version){.origin = WM_ORIGIN_SHARED};
	if (get_u(&c, 1))
		get_version(&c, &ret->p.version);
	while (get_policy_field(&c, ret, &at, &section, &field))
		;
	return c.bad || c.p != c.end || ret->p.version.origin != WM_ORIGIN_SHARED
		       ? WM_E_STORE_DAMAGED
		       : 0;
}

int wm_record_get_service(char *body, size_t len, struct wm_record_service *r)
{
	struct cursor c = {body, body + len, false};

	r->name = need_s(&c);
	get_raw(&c, &r->vip4, sizeof(r->vip4));
	get_raw(&c, &r->vip6, sizeof(r->vip6));
	r->create_index = get_u(&c, UINT64_MAX);
	return c.bad || c.p != c.end || !*r->name ? WM_E_STORE_DAMAGED : 0;
}

int wm_record_get_meta(char *body, size_t len, struct wm_record_meta *r)
{
	struct cursor c = {body, body + len, false};

	r->reserved = get_u(&c, UINT64_MAX);
	r->node_id = need_s(&c);
	r->epoch = 0;
	if (c.p < c.end) {
		r->epoch = (uint32_t)get_u(&c, UINT32_MAX);
		c.bad |= !r->epoch; /* 0 is left out: one meaning has one form */
	}
	r->node_name = c.p < c.end ? need_s(&c) : NULL;
	return c.bad || c.p != c.end ? WM_E_STORE_DAMAGED : 0;
}

int wm_record_get_tombstone(char *body, size_t len, struct wm_record_tombstone *r)
{
	struct cursor c = {body, body + len, false};

	r->node = need_s(&c);
	r->id = need_s(&c);
	r->service = need_s(&c);
	get_version(&c, &r->version);
	r->index = get_u(&c, UINT64_MAX);
	r->when_s = get_u(&c, UINT64_MAX);
	r->semver = c.p < c.end ? need_s(&c) : NULL;
	return c.bad || c.p != c.end || strlen(r->node) > WM_NODE_NAME_MAX ||
			       strlen(r->id) > WM_INSTANCE_ID_MAX ||
			       (r->semver && strlen(r->semver) > WM_META_VALUE_MAX) ||
			       strlen(r->service) > WM_SERVICE_NAME_MAX
		       ? WM_E_STORE_DAMAGED
		       : 0;
}

int wm_record_open(const char *p, size_t len, uint64_t row, enum wm_record_type t,
		   const char **ret_why)
{
	uint64_t sum = 0;

	if (len < WM_RECORD_HEAD || p[0] != 'W' || p[1] != 'M') {
		*ret_why = "is no record";
		return WM_E_STORE_DAMAGED;
	}
	for (int i = 0; i < 8; i++)
		sum |= (uint64_t)(uint8_t)p[4 + i] << (8 * i);
	if (sum != checksum(row, p + WM_RECORD_HEAD, len - WM_RECORD_HEAD)) {
		*ret_why = "has a wrong checksum";
		return WM_E_STORE_DAMAGED;
	}
	if ((uint8_t)p[2] > WM_RECORD_VERSION) {
		*ret_why = "has a newer format";
		return WM_E_STORE_VERSION;
	}
	if ((uint8_t)p[2] < WM_RECORD_VERSION_FIRST || p[3] != (char)t) {
		*ret_why = "has an unknown format";
		return WM_E_STORE_DAMAGED;
	}
	return 0;
}
