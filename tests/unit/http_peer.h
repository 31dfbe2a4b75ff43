/* SPDX-License-Identifier: Apache-2.0 */
/* http_peer.h - a small HTTP server in a thread, for tests of the client side. The path says how it
 * answers: /status/NNN, /echo (the request as body), /big (BIG octets), /endless, /hang (never),
 * /redirect/ok, /redirect/loop, /redirect/ftp, /heads (endless headers). */
#pragma once
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEER_BIG      200000
#define PEER_HUNG_MAX 64

struct peer {
	int fd, stop[2];
	uint16_t port;
	pthread_t thread;
	_Atomic int status; /* of /status/0 */
	_Atomic unsigned served;
	int hung[PEER_HUNG_MAX];
	_Atomic unsigned hung_count;
};

/* A listening socket on a port that the kernel chose. */
static inline int peer_listen(int backlog, uint16_t *ret_port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	cr_assert(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	a.sin_port = htons(*ret_port);
	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(listen(fd, backlog), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static inline bool peer_send(int fd, const char *s, size_t len)
{
	return send(fd, s, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static inline void peer_reply(int fd, int status, const char *more, const char *body)
{
	char out[8192];
	int n = snprintf(out, sizeof(out),
			 "HTTP/1.1 %d Some Phrase\r\nContent-Length: %zu\r\n%s\r\n%s", status,
			 strlen(body), more, body);

	peer_send(fd, out, (size_t)n);
}

static inline void peer_answer(struct peer *p, int fd, char *req)
{
	char path[128] = "", more[160], chunk[1000];

	sscanf(req, "%*s %127s", path);
	memset(chunk, 'x', sizeof(chunk));
	if (strncmp(path, "/status/", 8) == 0) {
		int status = atoi(path + 8);

		peer_reply(fd, status ? status : p->status, "", "body of the answer");
	} else if (strcmp(path, "/echo") == 0) {
		peer_reply(fd, 200, "", req);
	} else if (strcmp(path, "/binary") == 0) {
		peer_reply(fd, 200, "", "a\x01\xff\xc3\xa4\xed\xa0\x80z");
	} else if (strcmp(path, "/big") == 0) {
		snprintf(more, sizeof(more),
			 "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n"
			 "Content-Length: %d\r\n\r\n",
			 PEER_BIG);
		peer_send(fd, more, strlen(more));
		for (int n = 0; n < PEER_BIG; n += (int)sizeof(chunk))
			peer_send(fd, chunk, sizeof(chunk));
	} else if (strcmp(path, "/endless") == 0) {
		snprintf(more, sizeof(more), "HTTP/1.1 200 OK\r\n\r\n");
		peer_send(fd, more, strlen(more));
		while (peer_send(fd, chunk, sizeof(chunk)))
			;
	} else if (strcmp(path, "/heads") == 0) {
		peer_send(fd, "HTTP/1.1 200 OK\r\n", 17);
		memcpy(chunk, "X: ", 3);
		memcpy(chunk + sizeof(chunk) - 2, "\r\n", 2);
		while (peer_send(fd, chunk, sizeof(chunk)))
			;
	} else if (strncmp(path, "/redirect/", 10) == 0) {
		snprintf(more, sizeof(more), "Location: %s\r\n",
			 strcmp(path + 10, "ok") == 0	 ? "/status/200"
			 : strcmp(path + 10, "ftp") == 0 ? "ftp://127.0.0.1/x"
							 : "/redirect/loop");
		peer_reply(fd, 302, more, "elsewhere");
	} else {
		peer_reply(fd, 404, "", "no");
	}
}

static inline void *peer_main(void *arg)
{
	struct peer *p = arg;
	struct pollfd fds[2] = {{.fd = p->fd, .events = POLLIN},
				{.fd = p->stop[0], .events = POLLIN}};

	while (poll(fds, 2, -1) >= 0 && !fds[1].revents) {
		int fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC);
		char req[4096];
		size_t len = 0;
		ssize_t n;

		if (fd < 0)
			continue;
		/* A request with a body comes in one segment over loopback. A client that has
		 * connected and stopped turning its loop sends none: peer_stop() must get through.
		 */
		fds[0].fd = fd;
		while (len < sizeof(req) - 1 && poll(fds, 2, -1) >= 0 && !fds[1].revents &&
		       (n = recv(fd, req + len, sizeof(req) - 1 - len, 0)) > 0) {
			len += (size_t)n;
			req[len] = 0;
			if (strstr(req, "\r\n\r\n"))
				break;
		}
		fds[0].fd = p->fd;
		req[len] = 0;
		if (strstr(req, " /hang") && p->hung_count < PEER_HUNG_MAX) {
			p->hung[p->hung_count++] = fd;
			continue;
		}
		if (len)
			peer_answer(p, fd, req);
		p->served += len > 0;
		shutdown(fd, SHUT_WR);
		close(fd);
	}
	return NULL;
}

static inline void peer_start(struct peer *p)
{
	memset(p, 0, sizeof(*p));
	p->status = 200;
	p->fd = peer_listen(64, &p->port);
	cr_assert_eq(pipe(p->stop), 0);
	cr_assert_eq(pthread_create(&p->thread, NULL, peer_main, p), 0);
}

static inline void peer_stop(struct peer *p)
{
	cr_assert_eq(write(p->stop[1], "x", 1), 1);
	pthread_join(p->thread, NULL);
	for (unsigned i = 0; i < p->hung_count; i++)
		close(p->hung[i]);
	close(p->fd);
	close(p->stop[0]);
	close(p->stop[1]);
}
