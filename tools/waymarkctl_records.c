/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_records.c - see waymarkctl_records.h. Spec: RFC 1035 3.3 and 4.1.3, 2782, 3596, 8659
 * (CAA). */
#include "waymarkctl_records.h"

#include "waymark/dns_wire.h"
#include "waymarkctl.h"

#include <arpa/inet.h>
#include <resolv.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DATA_MAX 2048 /* octets of a record as text: an answer over UDP has 512 */

/* --- types ------------------------------------------------------------------------------------ */
static const struct {
	const char *name;
	uint16_t type;
} types[] = {{"A", 1},		 {"NS", 2},	  {"CNAME", 5},	 {"SOA", 6},	 {"PTR", 12},
	     {"HINFO", 13},	 {"MX", 15},	  {"TXT", 16},	 {"RP", 17},	 {"AFSDB", 18},
	     {"AAAA", 28},	 {"LOC", 29},	  {"SRV", 33},	 {"NAPTR", 35},	 {"CERT", 37},
	     {"DNAME", 39},	 {"DS", 43},	  {"SSHFP", 44}, {"RRSIG", 46},	 {"NSEC", 47},
	     {"DNSKEY", 48},	 {"NSEC3", 50},	  {"TLSA", 52},	 {"SMIMEA", 53}, {"CDS", 59},
	     {"NSEC3PARAM", 51}, {"CDNSKEY", 60}, {"CSYNC", 62}, {"ZONEMD", 63}, {"SVCB", 64},
	     {"OPENPGPKEY", 61}, {"HTTPS", 65},	  {"SPF", 99},	 {"ANY", 255},	 {"URI", 256},
	     {"CAA", 257}};
#define TYPES (sizeof(types) / sizeof(*types))

bool ctl_type_parse(const char *text, uint16_t *ret)
{
	unsigned long n;
	char *end;

	for (size_t i = 0; i < TYPES; i++) {
		if (strcasecmp(text, types[i].name) == 0) {
			*ret = types[i].type;
			return true;
		}
	}
	if (strncasecmp(text, "TYPE", 4) != 0 || text[4] < '0' || text[4] > '9')
		return false;
	n = strtoul(text + 4, &end, 10);
	*ret = (uint16_t)n;
	return !*end && n && n <= UINT16_MAX;
}

const char *ctl_dns_type(json_int_t type, char other[16])
{
	for (size_t i = 0; i < TYPES; i++)
		if (types[i].type == type)
			return types[i].name;
	snprintf(other, 16, "TYPE%u", (unsigned)type & 0xffff);
	return other;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* --- data ------------------------------------------------------------------------------------- */
struct text {
	char at[DATA_MAX];
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->at + t->len, sizeof(t->at) - t->len, format, args);
	va_end(args);
	t->len += n > 0 ? (size_t)n : 0;
	if (t->len >= sizeof(t->at))
		t->len = sizeof(t->at) - 1;
}

struct data {
	const uint8_t *msg, *end; /* of the message */
	const uint8_t *at, *stop; /* of the record */
};

/* Numbers of so many octets each, as their digits say. @return false: it is shorter. */
static bool put_numbers(struct text *t, struct data *d, const char *octets)
{
	for (; *octets; octets++) {
		unsigned n = (unsigned)(*octets - '0');
		uint32_t v = 0;

		if (d->stop - d->at < n)
			return false;
		while (n--)
			v = v << 8 | *d->at++;
		put(t, "%s%u", t->len ? " " : "", v);
	}
	return true;
}

static bool put_names(struct text *t, struct data *d, unsigned count)
{
	char name[NS_MAXDNAME];

	while (count--) {
		int n = dn_expand(d->msg, d->end, d->at, name, sizeof(name));

		if (n < 0 || n > d->stop - d->at)
			return false;
		d->at += n;
		put(t, "%s%s.", t->len ? " " : "", name); /* the root is "" */
	}
	return true;
}

/* In quotes, what is none of ASCII's as RFC 1035 5.1 has it. */
static void put_quoted(struct text *t, const uint8_t *at, size_t len)
{
	put(t, "%s\"", t->len ? " " : "");
	for (size_t i = 0; i < len; i++)
		if (at[i] == '"' || at[i] == '\\')
			put(t, "\\%c", at[i]);
		else
			put(t, at[i] < ' ' || at[i] > '~' ? "\\%03u" : "%c", at[i]);
	put(t, "\"");
}

/* A length before it. */
static bool put_string(struct text *t, struct data *d)
{
	size_t n = d->at < d->stop ? *d->at : 0;

	if (d->at >= d->stop || d->stop - d->at < (ptrdiff_t)n + 1)
		return false;
	put_quoted(t, d->at + 1, n);
	d->at += n + 1;
	return true;
}

static bool put_address(struct text *t, struct data *d, int family)
{
	char text[INET6_ADDRSTRLEN];

	if (d->stop - d->at != (family == AF_INET ? 4 : 16))
		return false;
	put(t, "%s", inet_ntop(family, d->at, text, sizeof(text)));
	d->at = d->stop;
	return true;
}

/* Flags, tag, value without a length. */
static bool put_caa(struct text *t, struct data *d)
{
	size_t tag;

	if (!put_numbers(t, d, "1") || d->at == d->stop)
		return false;
	tag = *d->at++;
	if (d->stop - d->at < (ptrdiff_t)tag)
		return false;
	put(t, " %.*s", (int)tag, (const char *)d->at);
	d->at += tag;
	put_quoted(t, d->at, (size_t)(d->stop - d->at));
	d->at = d->stop;
	return true;
}

static bool put_known(struct text *t, struct data *d, uint16_t type)
{
	switch (type) {
	case WM_DNS_A:
		return put_address(t, d, AF_INET);
	case WM_DNS_AAAA:
		return put_address(t, d, AF_INET6);
	case WM_DNS_NS:
	case WM_DNS_CNAME:
	case WM_DNS_PTR:
	case 39: /* DNAME */
		return put_names(t, d, 1);
	case WM_DNS_SOA:
		return put_names(t, d, 2) && put_numbers(t, d, "44444");
	case 15: /* MX */
		return put_numbers(t, d, "2") && put_names(t, d, 1);
	case WM_DNS_SRV:
		return put_numbers(t, d, "222") && put_names(t, d, 1);
	case WM_DNS_TXT:
	case 13: /* HINFO */
		while (d->at < d->stop)
			if (!put_string(t, d))
				return false;
		return true;
	case 257:
		return put_caa(t, d);
	default:
		return false;
	}
}

static void put_data(struct text *t, const struct data *of, uint16_t type)
{
	struct data d = *of;

	t->at[0] = 0;
	t->len = 0;
	if (put_known(t, &d, type) && d.at == d.stop)
		return;
	t->len = 0;
	put(t, "\\# %zu ", (size_t)(of->stop - of->at));
	for (const uint8_t *p = of->at; p < of->stop; p++)
		put(t, "%02x", *p);
}

/* --- records ---------------------------------------------------------------------------------- */
static json_t *record(const uint8_t *msg, size_t len, size_t *at)
{
	char name[NS_MAXDNAME], other[16];
	struct text t;
	struct data d;
	uint16_t type;
	uint32_t ttl_s;
	int n = dn_expand(msg, msg + len, msg + *at, name, sizeof(name));
	const uint8_t *p = msg + *at + n;

	if (n < 0 || msg + len - p < NS_RRFIXEDSZ)
		return NULL;
	type = get16(p);
	ttl_s = ((uint32_t)get16(p + 4) << 16 | get16(p + 6));
	d = (struct data){msg, msg + len, p + NS_RRFIXEDSZ, p + NS_RRFIXEDSZ + get16(p + 8)};
	if (d.stop > d.end)
		return NULL;
	put_data(&t, &d, type);
	*at = (size_t)(d.stop - msg);
	return json_pack("{s:o, s:I, s:s, s:s}", "name", json_sprintf("%s.", name), "ttl_s",
			 (json_int_t)ttl_s, "type", ctl_dns_type(type, other), "data", t.at);
}

json_t *ctl_records(const uint8_t *msg, size_t len)
{
	json_t *list = json_array(), *one;
	size_t at = WM_DNS_HEADER_LEN;
	int n = len > at ? dn_skipname(msg + at, msg + len) : -1;

	if (n < 0)
		return list;
	at += (size_t)n + 4;
	for (unsigned left = get16(msg + 6); left && at < len; left--) {
		one = record(msg, len, &at);
		if (!one)
			break;
		json_array_append_new(list, one);
	}
	return list;
}
