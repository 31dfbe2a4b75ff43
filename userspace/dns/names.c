/* SPDX-License-Identifier: Apache-2.0 */
/* names.c - what a name asks for. Forms: [tag.]<service>.service[.<dc>].<domain>,
 * _<service>._<tag>[.service][.<dc>].<domain> (RFC 2782; _tcp is no tag),
 * [subset.]<service>.virtual, <node>.node[.<dc>], <hex>.addr[.<dc>], ns.<domain>, the domain
 * itself. What these end with exists too (RFC 8020 2), or a resolver that asks label by label never
 * comes to them (RFC 9156). */
#include "internal.h"

#include <stdio.h>
#include <string.h>

struct label {
	const char *text;
	size_t len;
};
struct labels {
	struct label at[WM_DNS_LABELS_MAX];
	unsigned n;
};

static bool is(const struct label *l, const char *text)
{
	return l->len == strlen(text) && memcmp(l->text, text, l->len) == 0;
}

static bool ends_with(const uint8_t *name, size_t len, const uint8_t *domain, size_t domain_len,
		      size_t *ret_before)
{
	size_t at = 0;

	if (!domain || domain_len > len)
		return false;
	/* only where a label begins */
	while (at < len - domain_len)
		at += name[at] + 1u;
	*ret_before = len - domain_len;
	return at == len - domain_len && memcmp(name + at, domain, domain_len) == 0;
}

/* @return false: a label holds an octet 0, which no name of ours has, and would end a string. */
static bool split(const uint8_t *name, size_t before, struct labels *ret)
{
	ret->n = 0;
	for (size_t at = 0; at < before && ret->n < WM_DNS_LABELS_MAX; at += name[at] + 1u) {
		if (memchr(name + at + 1, 0, name[at]))
			return false;
		ret->at[ret->n++] = (struct label){(const char *)name + at + 1, name[at]};
	}
	return true;
}

/* Labels first .. end-1 with dots between. */
static void join(const struct labels *l, unsigned first, unsigned end, char *out, size_t cap)
{
	size_t at = 0;

	for (unsigned i = first; i < end; i++)
		if (at + l->at[i].len + 2 < cap) {
			if (i > first)
				out[at++] = '.';
			memcpy(out + at, l->at[i].text, l->at[i].len);
			at += l->at[i].len;
		}
	out[at] = '\0';
}

static void take(const struct label *l, char out[WM_DNS_LABEL_MAX + 1])
{
	memcpy(out, l->text, l->len);
	out[l->len] = '\0';
}

static bool hex(const struct label *l, struct wm_dns_ask *ret)
{
	if (l->len != 8 && l->len != 32)
		return false;
	for (size_t i = 0; i < l->len; i++) {
		char c = l->text[i];
		uint8_t v = (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
		ret->addr[i / 2] = (uint8_t)(i % 2 ? ret->addr[i / 2] | v : v << 4);
	}
	ret->is6 = l->len == 32;
	return true;
}

/* _<service>._<tag>: RFC 2782. */
static bool rfc2782(const struct labels *l, unsigned n, struct wm_dns_ask *ret)
{
	struct label service, tag;

	if (n != 2 || l->at[0].len < 2 || l->at[1].len < 2 || l->at[0].text[0] != '_' ||
	    l->at[1].text[0] != '_')
		return false;
	service = (struct label){l->at[0].text + 1, l->at[0].len - 1};
	tag = (struct label){l->at[1].text + 1, l->at[1].len - 1};
	take(&service, ret->service);
	if (!is(&tag, "tcp"))
		take(&tag, ret->tag);
	ret->kind = WM_ASK_SERVICE;
	return true;
}

/* _<tag> alone: names of RFC 2782 lie below it, for whatever tag. */
static bool is_tag(const struct labels *l, unsigned n)
{
	return n == 1 && l->at[0].len > 1 && l->at[0].text[0] == '_';
}

/* A node's name that has dots is as many labels. */
static bool has_dot(const struct labels *l, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (memchr(l->at[i].text, '.', l->at[i].len))
			return true;
	return false;
}

/* @p n labels stand before the word that tells the kind. */
static void parse_kind(const struct labels *l, unsigned n, struct wm_dns_ask *ret)
{
	const struct label *kind = &l->at[n];

	ret->kind = n ? WM_ASK_NOTHING : WM_ASK_BRANCH;
	if (!n)
		return;
	if (is(kind, "service")) {
		if (rfc2782(l, n, ret))
			return;
		take(&l->at[n - 1], ret->service);
		join(l, 0, n - 1, ret->tag, sizeof(ret->tag));
		ret->branch = is_tag(l, n);
		ret->kind = WM_ASK_SERVICE;
	} else if (is(kind, "virtual")) {
		take(&l->at[n - 1], ret->service);
		join(l, 0, n - 1, ret->tag, sizeof(ret->tag));
		ret->kind = WM_ASK_VIRTUAL;
	} else if (is(kind, "node")) {
		if (has_dot(l, n))
			return; /* another name, which nobody has */
		join(l, 0, n, ret->node, sizeof(ret->node));
		ret->kind = WM_ASK_NODE;
	} else if (is(kind, "query")) {
		/* _<name>._tcp.query as well: RFC 2782, whatever the protocol */
		bool srv = n == 2 && l->at[0].len > 1 && l->at[0].text[0] == '_' &&
			   l->at[1].text[0] == '_';
		struct label name = {l->at[0].text + 1, l->at[0].len - 1};

		if (srv)
			take(&name, ret->node);
		else
			join(l, 0, n, ret->node, sizeof(ret->node));
		ret->kind = WM_ASK_QUERY;
	} else if (is(kind, "addr") && n == 1 && hex(&l->at[0], ret)) {
		ret->kind = WM_ASK_ADDR;
	}
}

static bool is_kind(const struct label *l)
{
	return is(l, "service") || is(l, "virtual") || is(l, "node") || is(l, "addr") ||
	       is(l, "query");
}

/* No word tells the kind: then only SRV may be asked for, as Consul has it. */
static void parse_short(const struct labels *l, unsigned n, struct wm_dns_ask *ret)
{
	if (!n || is_tag(l, n))
		ret->kind = WM_ASK_BRANCH;
	else
		ret->srv_only = rfc2782(l, n, ret);
}

/* ..<service>.service.<scope>.ns[.<dc>], and the same of virtual: Consul's namespaces. */
static bool parse_scoped(const struct wm_dns_server *s, const struct labels *l,
			 struct wm_dns_ask *ret)
{
	unsigned n = l->n - (l->n > 2 && is(&l->at[l->n - 1], s->datacenter));
	char scope[WM_DNS_LABEL_MAX + 1], bare[WM_DNS_LABEL_MAX + 1];

	if (n < 2 || !is(&l->at[n - 1], "ns"))
		return false;
	if (n == 2)
		ret->kind = WM_ASK_BRANCH;
	if (n == 2 || (!is(&l->at[n - 3], "service") && !is(&l->at[n - 3], "virtual")))
		return true;
	parse_kind(l, n - 3, ret);
	if (!*ret->service)
		return true;
	take(&l->at[n - 2], scope);
	memcpy(bare, ret->service, sizeof(bare));
	snprintf(ret->service, sizeof(ret->service), "%s/%s", scope, bare);
	return true;
}

static void parse(const struct wm_dns_server *s, const uint8_t *folded, size_t len,
		  struct wm_dns_ask *ret)
{
	size_t domain_len, before = 0;
	const uint8_t *domain = wm_tables_domain(s->tables, false, &domain_len);
	struct labels l = {.n = 0};
	unsigned n;

	memset(ret, 0, sizeof(*ret));
	if (!ends_with(folded, len, domain, domain_len, &before)) {
		domain = wm_tables_domain(s->tables, true, &domain_len);
		ret->alt = true;
		if (!ends_with(folded, len, domain, domain_len, &before)) {
			ret->alt = false;
			if (s->kube &&
			    wm_kube_parse(wm_kube_zone(s->kube), folded, len, &ret->kube))
				ret->kind = WM_ASK_KUBE;
			else
				wm_ask_reverse(folded, ret);
			return;
		}
	}
	ret->kind = WM_ASK_NOTHING;
	if (!split(folded, before, &l))
		return;
	n = l.n;
	if (!n)
		ret->kind = WM_ASK_APEX;
	else if (n == 1 && is(&l.at[0], "ns"))
		ret->kind = WM_ASK_NS;
	else if (is_kind(&l.at[n - 1]))
		parse_kind(&l, n - 1, ret);
	else if (parse_scoped(s, &l, ret))
		return;
	else if (n > 1 && is(&l.at[n - 1], s->datacenter) && is_kind(&l.at[n - 2]))
		parse_kind(&l, n - 2, ret);
	else
		parse_short(&l, n - (is(&l.at[n - 1], s->datacenter) ? 1 : 0), ret);
}

void wm_ask_parse(const struct wm_dns_server *s, const uint8_t *folded, size_t len,
		  struct wm_dns_ask *ret)
{
	parse(s, folded, len, ret);
	ret->fixed = wm_statics_find(s->fixed, folded, len);
	if (ret->fixed)
		ret->kind = WM_ASK_STATIC;
}
