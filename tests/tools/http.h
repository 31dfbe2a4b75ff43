/* SPDX-License-Identifier: Apache-2.0 */
/* http.h - the client half of HTTP/1.1, as little as a load generator needs: keep-alive, answers
 * with Content-Length or chunked. Finds where an answer ends and what its status is; blocking
 * request for one connection. */
#pragma once
#include "load.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>

#define HTTP_ANSWER_MAX (4 << 20) /* octets of an answer: a lookup of thousands of instances */

LOAD_UNUSED static int http_open(const char *address, long port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;

	if (fd < 0 || inet_pton(AF_INET, address, &in.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&in, sizeof(in)))
		load_die("connect to %s port %ld: %s", address, port, strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	return fd;
}

/** Value of a header of @p head (zero-terminated, ends behind the empty line), NULL if absent. */
LOAD_UNUSED static const char *http_header(const char *head, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = strstr(head, "\r\n"); p && p[2]; p = strstr(p + 2, "\r\n")) {
		if (!strncasecmp(p + 2, name, len) && p[2 + len] == ':')
			return p + 3 + len + strspn(p + 3 + len, " ");
	}
	return NULL;
}

/** Does @p buf of @p len octets (with a spare octet behind) hold a whole answer?
 *  @return 0: not yet; else its status, with the octets it takes in *ret_size. */
LOAD_UNUSED static int http_complete(char *buf, size_t len, size_t *ret_size)
{
	const char *h;
	char *end, *last;
	size_t head, body;
	int status;

	buf[len] = 0;
	end = strstr(buf, "\r\n\r\n");
	if (!end)
		return 0;
	head = (size_t)(end - buf) + 4;
	if (sscanf(buf, "HTTP/1.%*d %d", &status) != 1)
		load_die("not an HTTP answer");
	end[2] = 0; /* the header search stops here */
	h = http_header(buf, "Content-Length");
	body = h ? strtoul(h, NULL, 10) : 0;
	if (!h && http_header(buf, "Transfer-Encoding")) {
		end[2] = '\r';
		last = strstr(buf + head - 2, "\r\n0\r\n\r\n");
		if (!last)
			return 0;
		*ret_size = (size_t)(last - buf) + 7;
		return status;
	}
	end[2] = '\r';
	*ret_size = head + body;
	return len >= head + body ? status : 0;
}

/** Send one request over a blocking connection and wait for its answer. @p buf of @p cap octets
 *  holds the answer, zero-terminated. @return status. */
LOAD_UNUSED static int http_ask(int fd, const char *request, size_t len, char *buf, size_t cap)
{
	size_t have = 0, size;
	ssize_t n;
	int status;

	if (send(fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
		load_die("send: %s", strerror(errno));
	for (;;) {
		n = recv(fd, buf + have, cap - have - 1, 0);
		if (n <= 0)
			load_die("the server closed the connection");
		have += (size_t)n;
		status = http_complete(buf, have, &size);
		if (status)
			return status;
	}
}

/** Write a request; @p body NULL: none. @return octets, the end when it does not fit. */
LOAD_UNUSED static size_t http_request(char *buf, size_t cap, const char *method, const char *path,
				       const char *body)
{
	int n;

	if (body)
		n = snprintf(buf, cap,
			     "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
			     "application/json\r\nContent-Length: %zu\r\n\r\n%s",
			     method, path, strlen(body), body);
	else
		n = snprintf(buf, cap, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", method, path,
			     strcmp(method, "GET") ? "Content-Length: 0\r\n" : "");
	if (n < 0 || (size_t)n >= cap)
		load_die("request longer than %zu octets", cap);
	return (size_t)n;
}

/** An instance of about 400 octets with eight metadata keys and two tags: instance @p i of
 *  service @p s, whose name is under the key @p name. @p check: a TTL check that starts passing.
 *  @return octets. */
LOAD_UNUSED static size_t http_object(char *buf, size_t cap, const char *name, const char *prefix,
				      size_t s, size_t i, const char *address, long port,
				      bool check)
{
	int n = snprintf(
		buf, cap,
		"{\"ID\":\"%s%06zu-%zu\",\"%s\":\"%s%06zu\",\"Address\":\"%s\",\"Port\":%ld,"
		"\"Tags\":[\"primary\",\"v2\"],\"Meta\":{\"version\":\"2.14.%zu\","
		"\"environment\":\"production\",\"region\":\"eu-central\",\"zone\":\"eu-central-%"
		"zu\","
		"\"team\":\"payments\",\"protocol\":\"http\",\"rack\":\"r%zu\","
		"\"commit\":\"9f2c4e7ab1d0%04zx\"}%s}",
		prefix, s, i, name, prefix, s, address, port, s % 100, i % 3, s % 40, s & 0xffff,
		check ? ",\"Check\":{\"TTL\":\"3600s\",\"Status\":\"passing\"}" : "");

	if (n < 0 || (size_t)n >= cap)
		load_die("body longer than %zu octets", cap);
	return (size_t)n;
}

/** The body of a registration with the agent. */
LOAD_UNUSED static size_t http_registration(char *buf, size_t cap, const char *prefix, size_t s,
					    size_t i, const char *address, long port, bool check)
{
	return http_object(buf, cap, "Name", prefix, s, i, address, port, check);
}
