/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* fuzz_http.c - octets on a connection to the whole API over a real registry in memory. The first
 * octet says how: '*' sends the rest as it is; any other chooses a route, and the rest is what
 * follows its fixed path (id and query) up to a line end, then the body. A second octet says where
 * the sending pauses. Whatever comes: nothing crashes, every answer is HTTP, every JSON is JSON,
 * and with the client gone nothing is kept. Every request is sent twice: where the second is
 * answered with what was kept of the first, both are the same. No check is run: none of their
 * targets are called. */
#include "check.h"
#include "userspace/api/internal.h"
#include "userspace/base/clock.h"
#include "userspace/registry/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURNS	   12	     /* of the loop for what was sent; more only without an end in sight */
#define GONE_MS	   8000	     /* for a closed connection to be forgotten: at once, but under load */
#define CONNECT_MS 8000	     /* for a connection to the server of this process */
#define ANSWER_MAX (1 << 20) /* octets of answers that are looked at */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wm_loop *loop;
static struct wm_registry *registry;
static struct wm_index *indexed;
static struct wm_api *api;
static struct wm_http_server *server;
static uint16_t port;
static char answer[ANSWER_MAX];
static size_t answer_len;

/* Something to ask for. */
static void register_one(void)
{
	struct wm_instance_draft d = {.name = "s", .port = 1};

	check(!wm_registry_register(registry, &d, NULL, NULL, NULL));
	wm_registry_flush(registry);
	check(wm_registry_instances(registry) == 1);
}

static void begin(void)
{
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = "n",
				       .node_address = "10.0.0.1",
				       .datacenter = "d",
				       .instances_max = 4,
				       .services_max = 4,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000};
	struct wm_http_limits lim = {.body_max = 4096,
				     .headers_max = 2048,
				     .connections_max = 4,
				     .per_address_max = 4,
				     .read_timeout_ms = 60000,
				     .write_timeout_ms = 60000};

	signal(SIGPIPE, SIG_IGN);
	c.vip6_prefix.s6_addr[0] = 0xfd;
	loop = wm_loop_new();
	check(loop && !wm_registry_open(&c, &registry, NULL));
	check(!wm_loop_on_turn_end(loop, WM_HOOK_REGISTRY, wm_registry_flush, registry));
	indexed = wm_index_new(registry);
	api = wm_api_new(&(struct wm_api_deps){.loop = loop,
					       .registry = registry,
					       .index = indexed,
					       .version = "0",
					       .domain = "d",
					       .operator_tcp = true,
					       .watchers_max = 4});
	check(indexed && api);
	server = wm_http_server_new(loop, &lim, wm_api_handle, api);
	check(server && !wm_http_listen_tcp(server, "127.0.0.1", 0, &port));
	wm_api_set_server(api, server);
	register_one();
}

static void end(void)
{
	wm_http_server_free(server);
	wm_registry_close(registry);
	wm_index_free(indexed);
	wm_api_free(api);
	wm_loop_free(loop);
}

static int dial(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	/* ends by a reset, or the ports would run out */
	struct linger now = {.l_onoff = 1};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	check(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		struct pollfd p = {.fd = fd, .events = POLLOUT};

		/* the fuzzer's own timer; the connection goes on */
		check(errno == EINTR && TEMP_FAILURE_RETRY(poll(&p, 1, CONNECT_MS)) == 1 &&
		      p.revents == POLLOUT);
	}
	return fd;
}

static void turn(int fd)
{
	ssize_t n;

	check(wm_loop_turn(loop, 0) == 0);
	n = recv(fd, answer + answer_len, sizeof(answer) - 1 - answer_len, MSG_DONTWAIT);
	answer_len += n > 0 ? (size_t)n : 0;
	answer[answer_len] = 0;
}

/* The first answer, if any: a status line, a status that we give, JSON where it says so. */
static void judge(void)
{
	const char *body, *length;
	int status;

	if (!answer_len)
		return;
	check(answer_len >= 12 && memcmp(answer, "HTTP/1.", 7) == 0);
	status = atoi(answer + 9);
	check(status == 100 || status == 200 || (status >= 400 && status <= 507));
	body = strstr(answer, "\r\n\r\n");
	length = strstr(answer, "\r\nContent-Length: ");
	if (status != 200 || !body || !length || length > body)
		return;
	body += 4;
	if (strtoul(length + 18, NULL, 10) == (size_t)(answer + answer_len - body) &&
	    memmem(answer, (size_t)(body - answer), "application/json", 16)) {
		json_t *v = json_loadb(body, (size_t)(answer + answer_len - body),
				       JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);

		check(v != NULL);
		json_decref(v);
	}
}

/* A request of the chosen route. @return its length. */
static size_t compose(unsigned choice, const char *rest, size_t len, char *buf, size_t cap)
{
	const struct wm_route *r = &wm_routes[choice % wm_routes_count];
	const char *line = memchr(rest, '\n', len);
	size_t tail = line ? (size_t)(line - rest) : len;
	size_t body = line ? len - tail - 1 : 0;
	int n = snprintf(buf, cap,
			 "%s %.*s%.*s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
			 r->method == WM_GET	? "GET"
			 : r->method == WM_PUT	? "PUT"
			 : r->method == WM_POST ? "POST"
						: "DELETE",
			 (int)strcspn(r->pattern, ":"), r->pattern, (int)tail, rest, body);

	if (n < 0 || (size_t)n + body > cap)
		return 0;
	if (body)
		memcpy(buf + n, line + 1, body);
	return (size_t)n + body;
}

static void blank_date(char *text)
{
	char *date = strstr(text, "\r\nDate: ");

	if (date)
		memset(date + 2, '-', strcspn(date + 2, "\r"));
}

/* The same once more, on the same connection. */
static void again(int fd, const char *request, size_t len)
{
	uint64_t hits = wm_api_counters(api)[WM_API_RENDERED_HITS];
	static char first[ANSWER_MAX];
	size_t first_len = answer_len;

	if (first_len > 4096) /* of what is kept none is so long */
		return;
	memcpy(first, answer, first_len + 1);
	answer_len = 0;
	answer[0] = 0;
	if (send(fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
		return;
	for (int i = 0; i < TURNS; i++)
		turn(fd);
	judge();
	/* of several requests in one some may be kept and others not */
	if (wm_api_counters(api)[WM_API_RENDERED_HITS] != hits + 1 ||
	    strstr(first + 1, "HTTP/1.1 "))
		return;
	blank_date(first);
	blank_date(answer);
	check(first_len == answer_len && memcmp(first, answer, first_len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char request[1 << 16];
	size_t len = 0, cut;
	int fd;

	if (size < 2 || size > sizeof(request) / 2)
		return 0;
	if (data[0] == '*') {
		len = size - 2;
		memcpy(request, data + 2, len);
	} else {
		len = compose(data[0], (const char *)data + 2, size - 2, request, sizeof(request));
	}
	cut = len * data[1] / 255;
	answer_len = 0;
	answer[0] = 0;
	begin();
	fd = dial();
	check(TEMP_FAILURE_RETRY(send(fd, request, cut, MSG_NOSIGNAL)) == (ssize_t)cut);
	turn(fd);
	turn(fd);
	send(fd, request + cut, len - cut, MSG_NOSIGNAL); /* it may have hung up */
	for (int i = 0; i < TURNS; i++)
		turn(fd);
	judge();
	again(fd, request, len);
	close(fd);
	for (uint64_t until = wm_clock_ms() + GONE_MS;
	     wm_http_connections(server) && wm_clock_ms() < until;)
		check(wm_loop_turn(loop, 1) == 0);
	check(!wm_http_connections(server) && !api->watches);
	end();
	return 0;
}
