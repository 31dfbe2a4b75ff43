/* SPDX-License-Identifier: Apache-2.0 */
/* api_help.h - the whole agent but for DNS and the kernel, in one thread with its clients: a real
 * registry, health, tables in plain memory, and the API behind a real HTTP server on loopback. */
#pragma once
#include "userspace/api/api.h"
#include "userspace/base/clock.h"
#include "userspace/source/source.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEADLINE_MS 90000
#define ANSWER_MAX  (1u << 24)

static struct wm_loop *loop;
static struct wm_registry *registry;
static struct wm_health *health;
static struct wm_tables *tables;
static struct wm_index *indexed;
static struct wm_resolution *resolution;
static struct wm_api *api;
static struct wm_sources *sources;
static struct wm_http_server *server;
static uint16_t port;
static struct wm_table_memory memory;
static struct wm_registry_config registry_config;
static unsigned watchers_max;
static uint64_t rendered_max, slice_ns;

#define UNTIL(condition)                                                                           \
	do {                                                                                       \
		uint64_t end_ = wm_clock_ms() + DEADLINE_MS;                                       \
		while (!(condition) && wm_clock_ms() < end_)                                       \
			cr_assert_eq(wm_loop_turn(loop, 5), 0);                                    \
		cr_assert(condition);                                                              \
	} while (0)

static inline void turns(int n)
{
	for (int i = 0; i < n; i++)
		cr_assert_eq(wm_loop_turn(loop, 2), 0);
}

static inline void make_tables(void)
{
	memory = (struct wm_table_memory){.sets_cap = 64,
					  .slots_cap = 1024,
					  .backends_cap = 512,
					  .names_cap = 128,
					  .frontends_cap = 128};
	cr_assert_eq(wm_table_memory_new(&memory), 0);
	memory.config->seed[0] = 1;
	memory.config->seed[1] = 2;
	tables = wm_tables_new(&memory, NULL, "mesh.internal", NULL);
	cr_assert(tables);
	cr_assert_geq(wm_tables_adopt(tables), 0);
}

static inline void api_start(void)
{
	struct wm_health_config hc = {
		.probes_max = 8, .interval_min_ms = 1, .default_timeout_ms = 5000};
	struct wm_http_limits lim = {.body_max = WM_HTTP_BODY_MAX,
				     .headers_max = WM_HTTP_HEADERS_MAX,
				     .connections_max = 800,
				     .per_address_max = 800,
				     .read_timeout_ms = 20000,
				     .write_timeout_ms = 20000};
	struct wm_err e = {0};

	signal(SIGPIPE, SIG_IGN);
	loop = wm_loop_new();
	cr_assert(loop);
	cr_assert_eq(wm_registry_open(&registry_config, &registry, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_on_turn_end(loop, WM_HOOK_REGISTRY, wm_registry_flush, registry), 0);
	hc.env = wm_loop_env(loop);
	health = wm_health_new(loop, registry, &hc);
	make_tables();
	resolution = wm_resolution_new(loop, registry, tables);
	indexed = wm_index_new(registry);
	sources = wm_sources_new(
		&(struct wm_sources_config){.registry = registry, .env = wm_loop_env(loop)});
	cr_assert(health && resolution && indexed && sources);
	api = wm_api_new(&(struct wm_api_deps){.loop = loop,
					       .operator_tcp = true,
					       .registry = registry,
					       .health = health,
					       .tables = tables,
					       .index = indexed,
					       .sources = sources,
					       .resolution = resolution,
					       .version = "1.2.3",
					       .domain = "mesh.internal",
					       .plane_error = "no BTF",
					       .rendered_max = rendered_max,
					       .slice_ns = slice_ns,
					       .watchers_max = watchers_max});
	cr_assert(api);
	server = wm_http_server_new(loop, &lim, wm_api_handle, api);
	cr_assert(server);
	cr_assert_eq(wm_http_listen_tcp(server, "127.0.0.1", 0, &port), 0);
	wm_api_set_server(api, server);
}

static inline void api_setup(void)
{
	watchers_max = 0;
	rendered_max = slice_ns = 0;
	registry_config = (struct wm_registry_config){.env = &wm_env_system,
						      .node_name = "n1",
						      .node_address = "10.8.0.2",
						      .datacenter = "quay",
						      .instances_max = 1000,
						      .services_max = 100,
						      .nodes_max = 100,
						      .vip4_base = 0xf0000000,
						      .vip4_mask = 0xf0000000,
						      .sync_off = true};
	registry_config.vip6_prefix.s6_addr[0] = 0xfd;
}

static inline void api_stop(void)
{
	wm_http_server_free(server);
	wm_health_free(health);
	wm_resolution_free(resolution);
	wm_sources_free(sources);
	wm_registry_close(registry);
	wm_index_free(indexed);
	wm_api_free(api);
	wm_tables_free(tables);
	wm_loop_free(loop);
	wm_table_memory_free(&memory);
}

/* --- clients -----------------------------------------------------------------------------------
 */

struct client {
	int fd, status;
	size_t len;
	char *text; /* the whole answer */
	char *body;
};

static inline void client_open(struct client *c)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	memset(c, 0, sizeof(*c));
	c->text = malloc(ANSWER_MAX); /* touched as far as it is used */
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(c->text && c->fd >= 0);
	cr_assert_eq(connect(c->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
}

static inline void client_close(struct client *c)
{
	close(c->fd);
	free(c->text);
}

static inline void client_send(struct client *c, const char *method, const char *path,
			       const char *body)
{
	size_t len = body ? strlen(body) : 0, cap = strlen(path) + len + 256, sent = 0;
	char *request = malloc(cap);
	int n = snprintf(request, cap,
			 "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s",
			 method, path, len, body ? body : "");

	c->len = 0;
	c->status = 0;
	c->text[0] = 0;
	while (sent < (size_t)n) {
		ssize_t s = send(c->fd, request + sent, (size_t)n - sent, MSG_NOSIGNAL);

		if (s > 0)
			sent += (size_t)s;
		else
			turns(1);
	}
	free(request);
}

/* @return true once a whole answer is there. */
static inline bool client_has(struct client *c)
{
	ssize_t n = recv(c->fd, c->text + c->len, ANSWER_MAX - 1 - c->len, MSG_DONTWAIT);
	const char *length;

	if (n > 0)
		c->len += (size_t)n;
	c->text[c->len] = 0;
	c->body = strstr(c->text, "\r\n\r\n");
	length = strcasestr(c->text, "Content-Length: ");
	if (!c->body || !length)
		return false;
	c->body += 4;
	c->status = atoi(c->text + 9);
	return strlen(c->body) >= strtoul(length + 16, NULL, 10);
}

/* One request on a connection of its own, kept until the next. */
static struct client one;

static inline int ask(const char *method, const char *path, const char *body)
{
	if (one.text)
		client_close(&one);
	client_open(&one);
	client_send(&one, method, path, body);
	UNTIL(client_has(&one));
	return one.status;
}

static inline int get(const char *path)
{
	return ask("GET", path, NULL);
}

static inline int put(const char *path, const char *body)
{
	return ask("PUT", path, body);
}

static inline void one_close(void)
{
	if (one.text)
		client_close(&one);
	one.text = NULL;
}

/* Value of an answer's header; "" when absent. Static memory. */
static inline const char *header(const struct client *c, const char *name)
{
	static char value[128];
	char needle[96];
	const char *at;

	snprintf(needle, sizeof(needle), "\r\n%s: ", name);
	at = strcasestr(c->text, needle);
	value[0] = 0;
	if (at && at < c->body)
		snprintf(value, sizeof(value), "%.*s", (int)strcspn(at + strlen(needle), "\r"),
			 at + strlen(needle));
	return value;
}

static inline unsigned long index_of(const struct client *c)
{
	return strtoul(header(c, "X-Consul-Index"), NULL, 10);
}

static inline void must_put(const char *path, const char *body)
{
	cr_assert_eq(put(path, body), 200, "%s: %d %s", path, one.status, one.body);
	cr_assert_str_eq(one.body, "");
}

#define REGISTER "/v1/agent/service/register"
