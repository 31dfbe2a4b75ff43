/* SPDX-License-Identifier: Apache-2.0 */
/* static_records.c - see static_records.h. */
#include "static_records.h"

#include "internal.h"
#include "userspace/base/hash.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/base/regular.h"
#include "userspace/base/settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct wm_statics {
	struct wm_map *names;
	unsigned count;
	bool inside;
	uint64_t sum; /* hash over all records, in their order */
	size_t freed; /* how far names are: wm_map_next() */
	/* while they are read */
	const struct wm_statics_config *c;
	uint8_t domain[2][WM_DNS_NAME_MAX + 1]; /* folded; the root: there is none */
	uint8_t cluster[WM_DNS_NAME_MAX + 1];	/* the same */
};

static size_t wire_len(const uint8_t *wire)
{
	size_t len = 1;

	for (; *wire; wire += *wire + 1u)
		len += *wire + 1u;
	return len;
}

/* --- names --------------------------------------------------------------------------------------
 */
static struct wm_static_name *name_of(struct wm_statics *t, const uint8_t *wire, bool inside)
{
	size_t len = wire_len(wire);
	struct wm_static_name *n = wm_map_get(t->names, wire, len);

	if (n)
		return n;
	n = calloc(1, sizeof(*n) + len);
	if (!n)
		return NULL;
	n->len = (uint8_t)len;
	n->inside = inside;
	memcpy(n->wire, wire, len);
	if (wm_map_put(t->names, n->wire, len, n, NULL)) {
		free(n);
		return NULL;
	}
	return n;
}

/* Is it the domain, which is not the root? */
static bool is_domain(const uint8_t *wire, const uint8_t *domain)
{
	return *domain && wire_len(wire) == wire_len(domain) &&
	       memcmp(wire, domain, wire_len(wire)) == 0;
}

static bool in_cluster(const struct wm_statics *t, const uint8_t *wire)
{
	for (; *wire; wire += *wire + 1u)
		if (is_domain(wire, t->cluster))
			return true;
	return false;
}

/* @return where our domain begins in the name, NULL: it is outside. */
static const uint8_t *domain_in(const struct wm_statics *t, const uint8_t *wire)
{
	for (const uint8_t *l = wire;; l += *l + 1u) {
		for (int i = 0; i < 2; i++)
			if (is_domain(l, t->domain[i]))
				return l;
		if (!*l)
			return NULL;
	}
}

static bool is(const uint8_t *label, const char *text)
{
	return *label == strlen(text) && strncasecmp((const char *)label + 1, text, *label) == 0;
}

/* A name of the mesh, which names.c reads: the domain itself, or what ends with a word of its own.
 */
static bool is_of_mesh(const struct wm_statics *t, const uint8_t *wire, const uint8_t *domain)
{
	static const char *const words[] = {"service", "virtual", "node", "addr", "query", "ns"};
	const uint8_t *last = wire;

	if (wire == domain)
		return true;
	while (last + *last + 1u != domain)
		last += *last + 1u;
	for (size_t i = 0; i < WM_ARRAY_LEN(words); i++)
		if (is(last, words[i]))
			return true;
	return last[1] == '_' || is(last, t->c->datacenter);
}

/* What a name of ours ends with is there, too: RFC 8020. */
static int add_above(struct wm_statics *t, const uint8_t *wire, const uint8_t *domain)
{
	t->inside = true;
	for (wire += *wire + 1u; wire != domain; wire += *wire + 1u)
		if (!name_of(t, wire, true))
			return -ENOMEM;
	return 0;
}

/* --- records ------------------------------------------------------------------------------------
 */
static int no_memory(struct wm_err *e)
{
	return wm_err_set(e, -ENOMEM, "out of memory");
}

/* A name was not kept. */
static int no_name(const struct wm_statics *t, struct wm_err *e)
{
	if (wm_map_len(t->names) < WM_STATIC_NAMES_MAX)
		return no_memory(e);
	return wm_err_set(e, WM_E_LIMIT,
			  "at most %d names are allowed, with those that names of ours end with",
			  WM_STATIC_NAMES_MAX);
}

static bool same(const struct wm_static_record *a, const struct wm_static_line *b)
{
	return a->type == b->type && a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static void sum_up(struct wm_statics *t, const struct wm_static_name *n,
		   const struct wm_static_record *r)
{
	const uint64_t of[] = {t->sum, wm_hash(n->wire, n->len), wm_hash(r->data, r->len),
			       (uint64_t)r->type << 32 | r->ttl_s};

	t->sum = wm_hash(of, sizeof(of));
	t->count++;
}

static int add(struct wm_statics *t, const struct wm_static_line *l, struct wm_err *e)
{
	const uint8_t *domain = domain_in(t, l->name);
	struct wm_static_record *r, **end;
	struct wm_static_name *n;

	if (domain && is_of_mesh(t, l->name, domain))
		return wm_err_set(
			e, WM_E_INVALID,
			"the name is of the mesh: in our domain a record must not have the name of "
			"the domain itself, nor one that ends with service, virtual, node, addr, "
			"query, ns, the datacenter or a label that begins with '_'");
	t->inside |= in_cluster(t, l->name);
	n = name_of(t, l->name, domain != NULL);
	if (!n || (domain && add_above(t, l->name, domain)))
		return no_name(t, e);
	for (end = &n->records; *end; end = &(*end)->next) {
		if (same(*end, l))
			return 0;
		if (((*end)->type == WM_DNS_CNAME) != (l->type == WM_DNS_CNAME) ||
		    l->type == WM_DNS_CNAME)
			return wm_err_set(
				e, WM_E_INVALID,
				"a name with a CNAME has no other record: RFC 1034 3.6.2");
	}
	if (t->count == WM_STATIC_RECORDS_MAX)
		return wm_err_set(e, WM_E_LIMIT, "at most %d records are allowed",
				  WM_STATIC_RECORDS_MAX);
	r = calloc(1, sizeof(*r) + l->len);
	if (!r)
		return no_memory(e);
	r->type = l->type;
	r->ttl_s = l->has_ttl ? l->ttl_s : t->c->ttl_s;
	r->len = l->len;
	memcpy(r->data, l->data, l->len);
	*end = r;
	sum_up(t, n, r);
	return 0;
}

/* --- hosts(5) -----------------------------------------------------------------------------------
 */
/* "1.2.0.192.in-addr.arpa", or of nibbles. */
static void reverse_of(const struct wm_static_line *l, uint8_t ret[WM_DNS_NAME_MAX + 1])
{
	char text[80], *p = text;

	for (int i = l->len - 1; i >= 0; i--)
		if (l->len == 4)
			p += snprintf(p, 8, "%u.", l->data[i]);
		else
			p += snprintf(p, 8, "%x.%x.", l->data[i] & 15u, l->data[i] >> 4);
	snprintf(p, 16, l->len == 4 ? "in-addr.arpa" : "ip6.arpa");
	(void)wm_static_name(text, true, ret);
}

/* The first name that has the address is what PTR says of it. */
static int add_reverse(struct wm_statics *t, const struct wm_static_line *l, struct wm_err *e)
{
	struct wm_static_line back = {.type = WM_DNS_PTR, .len = (uint16_t)wire_len(l->name)};
	const struct wm_static_name *n;

	reverse_of(l, back.name);
	n = wm_map_get(t->names, back.name, wire_len(back.name));
	if (n && n->records)
		return 0;
	memcpy(back.data, l->name, back.len);
	return add(t, &back, e);
}

static int add_host(struct wm_statics *t, const char *text, struct wm_err *e)
{
	struct wm_static_line l = {0};
	_cleanup_free_ char *copy = strdup(text);
	char *save = NULL, *word = copy ? strtok_r(copy, " \t", &save) : NULL;
	int r = 0;

	if (!copy)
		return no_memory(e);
	l.type = word && inet_pton(AF_INET6, word, l.data) == 1 ? WM_DNS_AAAA : WM_DNS_A;
	l.len = l.type == WM_DNS_AAAA ? 16 : 4;
	if (!word || (l.len == 4 && inet_pton(AF_INET, word, l.data) != 1))
		return wm_err_set(e, WM_E_INVALID,
				  "an IPv4 or IPv6 address is wanted, not \"%.64s\"",
				  word ? word : "");
	word = strtok_r(NULL, " \t", &save);
	if (!word)
		return wm_err_set(e, WM_E_INVALID, "a host name is wanted behind the address");
	for (bool first = true; word && !r; word = strtok_r(NULL, " \t", &save), first = false) {
		if (!wm_static_name(word, true, l.name))
			return wm_err_set(
				e, WM_E_INVALID,
				"labels of 1 to 63 letters, digits, '-' and '_' are wanted, "
				"not \"%.64s\"",
				word);
		r = add(t, &l, e);
		if (!r && first)
			r = add_reverse(t, &l, e);
	}
	return r;
}

/* --- sources ------------------------------------------------------------------------------------
 */
static int add_record(struct wm_statics *t, const char *text, struct wm_err *e)
{
	struct wm_static_line l;
	int r = wm_static_parse(text, &l, e);

	return r ? r : add(t, &l, e);
}

/* Each line of a file, but for those that begin with one of @p comment, and what is behind @p cut.
 */
static int add_file(struct wm_statics *t, const char *setting, const char *path,
		    const char *comment, const char *cut,
		    int (*fn)(struct wm_statics *, const char *, struct wm_err *), struct wm_err *e)
{
	struct wm_err inner = {0};
	size_t len;
	_cleanup_free_ char *text = NULL;
	unsigned number = 1;
	int r = 0;

	/* to open a FIFO waits for who writes it, and a reload with it */
	if (!wm_regular_may_be(path))
		return wm_err_set(e, WM_E_INVALID, "%s: %s is not a file", setting, path);
	text = wm_settings_text(path, &len, &inner);
	if (!text)
		return wm_err_set(e, inner.code, "%s: %s", setting, inner.text);
	text[len] = '\n'; /* there is room for one more */
	for (char *at = text, *end; at < text + len && !r; at = end + 1, number++) {
		end = memchr(at, '\n', (size_t)(text + len - at) + 1);
		*end = '\0';
		if (strlen(at) < (size_t)(end - at)) {
			r = wm_err_set(&inner, WM_E_INVALID, "a NUL octet stands within the line");
			continue;
		}
		at[strcspn(at, cut)] = '\0';
		at += strspn(at, " \t");
		if (*at && !strchr(comment, *at))
			r = fn(t, at, &inner);
	}
	return r ? wm_err_set(e, r, "%s: %s:%u: %s", setting, path, number - 1, inner.text) : 0;
}

static int read_all(struct wm_statics *t, struct wm_err *e)
{
	const struct wm_statics_config *c = t->c;
	struct wm_err inner = {0};
	int r = 0;

	for (const char *const *p = c->records; p && *p && !r; p++) {
		r = add_record(t, *p, &inner);
		if (r)
			wm_err_set(e, r, "dns.records: \"%.80s\": %s", *p, inner.text);
	}
	if (!r && *c->records_file)
		r = add_file(t, "dns.records_file", c->records_file, "#;", "\r", add_record, e);
	if (!r && *c->hosts_file)
		r = add_file(t, "dns.hosts_file", c->hosts_file, "", "#\r", add_host, e);
	return r;
}

int wm_statics_read(const struct wm_statics_config *c, struct wm_statics **ret, struct wm_err *e)
{
	struct wm_statics *t;
	int r;

	*ret = NULL;
	if (!(c->records && *c->records) && !*c->records_file && !*c->hosts_file)
		return 0;
	t = calloc(1, sizeof(*t));
	if (!t)
		return no_memory(e);
	t->c = c;
	t->names = wm_map_new(WM_STATIC_NAMES_MAX);
	if (*c->domain)
		(void)wm_static_name(c->domain, true, t->domain[0]);
	if (*c->alt_domain)
		(void)wm_static_name(c->alt_domain, true, t->domain[1]);
	if (c->cluster_domain)
		(void)wm_static_name(c->cluster_domain, true, t->cluster);
	r = t->names ? read_all(t, e) : no_memory(e);
	t->c = NULL;
	if (r)
		wm_statics_free(t);
	else
		*ret = t;
	return r;
}

static void free_name(struct wm_static_name *n)
{
	for (struct wm_static_record *r = n->records, *next; r; r = next) {
		next = r->next;
		free(r);
	}
	free(n);
}

bool wm_statics_free_some(struct wm_statics *t, unsigned count)
{
	struct wm_static_name *n;

	while (t && t->names) {
		if (!count--)
			return false;
		n = wm_map_next(t->names, &t->freed); /* it looks at no key */
		if (!n)
			break;
		free_name(n);
	}
	if (t)
		wm_map_free(t->names);
	free(t);
	return true;
}

void wm_statics_free(struct wm_statics *t)
{
	(void)wm_statics_free_some(t, UINT_MAX);
}

const struct wm_static_name *wm_statics_find(const struct wm_statics *t, const uint8_t *folded,
					     size_t len)
{
	return t ? wm_map_get(t->names, folded, len) : NULL;
}

const struct wm_static_name *wm_statics_next(const struct wm_statics *t, size_t *pos)
{
	return t ? wm_map_next(t->names, pos) : NULL;
}

bool wm_statics_same(const struct wm_statics *a, const struct wm_statics *b)
{
	return a && b && a->count == b->count && a->sum == b->sum;
}

bool wm_statics_inside(const struct wm_statics *t)
{
	return t && t->inside;
}

unsigned wm_statics_count(const struct wm_statics *t)
{
	return t ? t->count : 0;
}
