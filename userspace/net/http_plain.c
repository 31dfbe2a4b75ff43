/* SPDX-License-Identifier: Apache-2.0 */
/* http_plain.c - requests as most clients send them, read without evhttp, which takes some sixty
 * allocations for one: whole in one read, HTTP/1.1, a plain path, lines that end with CRLF, a body
 * of just the length that is named. This grammar is a part of RFC 9112's that can be read in one
 * way only; what is not of it, or is to be refused, is left to evhttp and judge_framing(). */
#include "http_internal.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LENGTH_DIGITS 8 /* of a Content-Length: more is above any read */

/* What is left of the text. */
struct cursor {
	char *at, *end;
};

/* What a character may be of. */
enum { TOKEN = 1, TARGET = 2 };
static const unsigned char kinds[256] = {
	['0' ... '9'] = TOKEN | TARGET,
	['A' ... 'Z'] = TOKEN | TARGET,
	['a' ... 'z'] = TOKEN | TARGET,
	/* RFC 9110 5.6.2; RFC 3986 3.3 and 3.4 without escapes */
	['!'] = TOKEN | TARGET,
	['$'] = TOKEN | TARGET,
	['&'] = TOKEN | TARGET,
	['\''] = TOKEN | TARGET,
	['*'] = TOKEN | TARGET,
	['+'] = TOKEN | TARGET,
	['-'] = TOKEN | TARGET,
	['.'] = TOKEN | TARGET,
	['_'] = TOKEN | TARGET,
	['~'] = TOKEN | TARGET,
	['#'] = TOKEN,
	['%'] = TOKEN,
	['^'] = TOKEN,
	['`'] = TOKEN,
	['|'] = TOKEN,
	['/'] = TARGET,
	['('] = TARGET,
	[')'] = TARGET,
	[','] = TARGET,
	[';'] = TARGET,
	['='] = TARGET,
	[':'] = TARGET,
	['@'] = TARGET,
	['?'] = TARGET,
};

static bool is_of(unsigned kind, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!(kinds[(unsigned char)s[i]] & kind))
			return false;
	}
	return len > 0;
}

static bool is_value(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (s[i] < ' ' || s[i] > '~')
			return false;
	}
	return len > 0 && s[0] != ' ' && s[len - 1] != ' ';
}

/* The next line without its end, which becomes 0. @return NULL: there is none. */
static char *take_line(struct cursor *c, size_t *ret_len)
{
	char *line = c->at, *end = memchr(line, '\r', (size_t)(c->end - line));

	if (!end || end + 1 == c->end || end[1] != '\n')
		return NULL;
	*end = 0;
	*ret_len = (size_t)(end - line);
	c->at = end + 2;
	return line;
}

static bool take_request_line(struct wm_http_plain *p, struct cursor *c)
{
	size_t len = 0, n;
	char *line = take_line(c, &len), *target, *query;

	if (!line || len < 9 || memcmp(line + len - 9, " HTTP/1.1", 9) != 0)
		return false;
	line[len -= 9] = 0;
	n = strcspn(line, " ");
	p->method = wm_http_method_find(line, n);
	if (n == len || !wm_http_method_known(p->method))
		return false;
	target = line + n + 1;
	if (!is_of(TARGET, target, len - n - 1) || target[0] != '/' || target[1] == '/')
		return false;
	query = strchr(target, '?');
	if (query) {
		*query++ = 0;
		if (!*query || strchr(query, '?'))
			return false;
	}
	p->path = target;
	p->query = query;
	return true;
}

/* Headers up to the empty line. */
static bool take_headers(struct wm_http_plain *p, struct cursor *c)
{
	char *line, *value;
	size_t len = 0, n;

	while ((line = take_line(c, &len)) && len) {
		n = strcspn(line, ":");
		if (n == len || !is_of(TOKEN, line, n) || p->headers_count == WM_HTTP_PLAIN_HEADERS)
			return false;
		line[n] = 0;
		value = line + n + 1;
		value += *value == ' ';
		if (!is_value(value, len - (size_t)(value - line)))
			return false;
		p->headers[p->headers_count++] = (struct wm_http_header){line, value};
	}
	return line;
}

static bool parse_length(const char *s, size_t *ret)
{
	size_t len = strlen(s);

	*ret = 0;
	if (len > LENGTH_DIGITS || s[strspn(s, "0123456789")])
		return false;
	for (; *s; s++)
		*ret = *ret * 10 + (size_t)(*s - '0');
	return true;
}

/* Most names are told apart by their first letter. */
static bool is_name(const char *name, const char *wanted)
{
	return (*name | 0x20) == (*wanted | 0x20) && strcasecmp(name, wanted) == 0;
}

/* Nothing that changes how the rest is read, or is refused. @return the body's octets, -1. */
static ssize_t judge(const struct wm_http_conn *c, const struct wm_http_plain *p)
{
	const char *host = NULL, *length = NULL, *connection = NULL;
	size_t n = 0;

	for (unsigned i = 0; i < p->headers_count; i++) {
		const char *name = p->headers[i].name, *value = p->headers[i].value;
		const char **once = is_name(name, "Host")	      ? &host
				    : is_name(name, "Content-Length") ? &length
				    : is_name(name, "Connection")     ? &connection
								      : NULL;

		if (once && *once)
			return -1;
		if (once)
			*once = value;
		if (is_name(name, "Transfer-Encoding") || is_name(name, "Expect") ||
		    is_name(name, "Upgrade"))
			return -1;
	}
	if (connection && (!length || strcasecmp(connection, "keep-alive") != 0))
		return -1;
	if (!c->local && (!host || !wm_http_host_known(c->server, host)))
		return -1;
	if (length && !parse_length(length, &n))
		return -1;
	return n <= c->server->lim.body_max ? (ssize_t)n : -1;
}

bool wm_http_read_plain(struct wm_http_conn *c, const char *raw, size_t len)
{
	struct wm_http_server *s = c->server;
	struct wm_http_plain *p = c->over ? NULL : malloc(sizeof(*p) + len + 1);
	struct cursor at;
	ssize_t body;

	if (!p)
		return false;
	p->headers_count = 0;
	memcpy(p->text, raw, len);
	p->text[len] = 0;
	at = (struct cursor){p->text, p->text + len};
	body = take_request_line(p, &at) && take_headers(p, &at) ? judge(c, p) : -1;
	if (body < 0 || at.end - at.at != body || (size_t)(at.at - p->text) > s->lim.headers_max) {
		free(p);
		return false;
	}
	p->body = at.at;
	p->body_len = (size_t)body;
	wm_http_hold(c, len);
	s->raw_of = c;
	s->raw = raw;
	s->raw_len = len;
	wm_http_on_plain(c, p);
	s->raw_of = NULL;
	return true;
}
