/* SPDX-License-Identifier: Apache-2.0 */
/* static_parse.c - one record of the operator's, as text. */
#include "internal.h"
#include "static_records.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TTL_MAX INT32_MAX /* s: RFC 2181 8 */
#define STRING	255	  /* octets of one string of TXT: RFC 1035 3.3.14 */
#define MX	15

static bool is_label(const char *text, size_t len)
{
	if (!len || len > WM_DNS_LABEL_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '_')
			return false;
	return true;
}

bool wm_static_name(const char *text, bool fold, uint8_t ret[WM_DNS_NAME_MAX + 1])
{
	size_t at = 0, len;

	for (const char *l = text; *l; l += len + (l[len] == '.')) {
		len = strcspn(l, ".");
		if (!is_label(l, len))
			return false;
	}
	if (!wm_host_wire(text, ret))
		return false;
	for (; fold && ret[at]; at += len + 1u) {
		len = ret[at];
		for (size_t i = 1; i <= len; i++)
			ret[at + i] = (uint8_t)tolower(ret[at + i]);
	}
	return true;
}

/* --- words --------------------------------------------------------------------------------------
 */
struct reader {
	const char *at;
	char word[WM_DNS_NAME_MAX + 2];
	struct wm_static_line *line;
};

/* @return false with an empty word: there is none, or it is too long. */
static bool next_word(struct reader *r)
{
	size_t len;

	*r->word = '\0';
	r->at += strspn(r->at, " \t");
	len = strcspn(r->at, " \t");
	if (!len || len >= sizeof(r->word))
		return false;
	memcpy(r->word, r->at, len);
	r->word[len] = '\0';
	r->at += len;
	return true;
}

static bool is_over(struct reader *r)
{
	r->at += strspn(r->at, " \t");
	return !*r->at;
}

static bool number(const char *text, unsigned long max, unsigned long *ret)
{
	char *end;

	*ret = strtoul(text, &end, 10);
	return isdigit((unsigned char)*text) && !*end && *ret <= max;
}

static bool put(struct reader *r, const void *data, size_t len)
{
	if (len > sizeof(r->line->data) - r->line->len)
		return false;
	memcpy(r->line->data + r->line->len, data, len);
	r->line->len = (uint16_t)(r->line->len + len);
	return true;
}

/* --- data of each type --------------------------------------------------------------------------
 */
static bool put_a(struct reader *r)
{
	struct in_addr v4;

	return next_word(r) && inet_pton(AF_INET, r->word, &v4) == 1 && put(r, &v4, sizeof(v4));
}

static bool put_aaaa(struct reader *r)
{
	struct in6_addr v6;

	return next_word(r) && inet_pton(AF_INET6, r->word, &v6) == 1 && put(r, &v6, sizeof(v6));
}

/* The root, where @p root: no such service (RFC 2782, RFC 7505). */
static bool put_name(struct reader *r, bool root)
{
	uint8_t wire[WM_DNS_NAME_MAX + 1] = {0};
	size_t len = 1;

	if (!next_word(r) ||
	    (!(root && strcmp(r->word, ".") == 0) && !wm_static_name(r->word, false, wire)))
		return false;
	for (const uint8_t *l = wire; *l; l += *l + 1u)
		len += *l + 1u;
	return put(r, wire, len);
}

static bool put_cname(struct reader *r)
{
	return put_name(r, false);
}

static bool put_number(struct reader *r)
{
	unsigned long n;
	uint16_t be;

	if (!next_word(r) || !number(r->word, UINT16_MAX, &n))
		return false;
	be = htons((uint16_t)n);
	return put(r, &be, sizeof(be));
}

static bool put_mx(struct reader *r)
{
	return put_number(r) && put_name(r, true);
}

static bool put_srv(struct reader *r)
{
	for (unsigned i = 0; i < 3; i++) /* priority, weight, port */
		if (!put_number(r))
			return false;
	return put_name(r, true);
}

/* In quotes, where \" and \\ stand for themselves, or up to the next space. */
static bool put_string(struct reader *r)
{
	bool quoted = *r->at == '"';
	uint8_t text[STRING + 1];
	size_t n = 0;

	for (r->at += quoted; *r->at; r->at++) {
		if (quoted ? *r->at == '"' : *r->at == ' ' || *r->at == '\t')
			break;
		if (*r->at == '\\' && !*++r->at)
			return false;
		if (n == STRING)
			return false;
		text[++n] = (uint8_t)*r->at;
	}
	if (quoted && *r->at++ != '"')
		return false;
	text[0] = (uint8_t)n;
	return put(r, text, n + 1);
}

static bool put_txt(struct reader *r)
{
	do {
		if (is_over(r) || !put_string(r))
			return false;
	} while (!is_over(r));
	return true;
}

static const struct {
	const char *name;
	uint16_t type;
	bool (*put)(struct reader *r);
	const char *wanted;
} types[] = {
	{"A", WM_DNS_A, put_a, "an IPv4 address"},
	{"AAAA", WM_DNS_AAAA, put_aaaa, "an IPv6 address"},
	{"CNAME", WM_DNS_CNAME, put_cname, "a host name"},
	{"TXT", WM_DNS_TXT, put_txt,
	 "texts of at most 255 octets, in quotes or without spaces, 1,024 in all"},
	{"SRV", WM_DNS_SRV, put_srv, "priority, weight, port (0 to 65535) and a host name"},
	{"MX", MX, put_mx, "a preference (0 to 65535) and a host name"},
};

int wm_static_parse(const char *text, struct wm_static_line *ret, struct wm_err *e)
{
	struct reader r = {.at = text, .line = ret};
	unsigned long ttl;

	memset(ret, 0, sizeof(*ret));
	if (!next_word(&r) || !wm_static_name(r.word, true, ret->name))
		return wm_err_set(e, WM_E_INVALID,
				  "a name of labels of 1 to 63 letters, digits, '-' and '_' is "
				  "wanted first");
	if (next_word(&r) && isdigit((unsigned char)*r.word)) {
		ret->has_ttl = number(r.word, TTL_MAX, &ttl);
		ret->ttl_s = (uint32_t)ttl;
		if (!ret->has_ttl)
			return wm_err_set(e, WM_E_INVALID,
					  "a TTL of 0 to %d s is wanted, not %.20s", TTL_MAX,
					  r.word);
		(void)next_word(&r);
	}
	if (strcasecmp(r.word, "IN") == 0)
		(void)next_word(&r);
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (strcasecmp(r.word, types[i].name) != 0)
			continue;
		ret->type = types[i].type;
		return types[i].put(&r) && is_over(&r)
			       ? 0
			       : wm_err_set(e, WM_E_INVALID, "behind %s %s is wanted, no more",
					    types[i].name, types[i].wanted);
	}
	return wm_err_set(e, WM_E_INVALID,
			  "name, TTL if it is not dns.node_ttl, a type (A, AAAA, "
			  "CNAME, TXT, SRV, MX) and its data are wanted");
}
