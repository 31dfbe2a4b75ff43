/* SPDX-License-Identifier: Apache-2.0 */
/* serve_http.c - see serve_http.h. */
#include "serve_http.h"

#include "config.h"
#include "userspace/base/log.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int allow_hosts(struct wm_http_server *http, const struct wm_settings *s, struct wm_err *e)
{
	for (unsigned i = 0; s->http_hosts[i]; i++) {
		int r = wm_http_allow_host(http, s->http_hosts[i]);

		if (r)
			return wm_err_set(e, r, "http.hosts %s: %s", s->http_hosts[i],
					  wm_err_str(r));
	}
	return 0;
}

/* @p name: "http." or "http.metrics_", what the settings begin with. */
static int listen_tcp(struct wm_http_server *http, const char *name, char *const *addresses,
		      uint64_t port, struct wm_err *e)
{
	for (; *addresses; addresses++) {
		int r = wm_http_listen_tcp(http, *addresses, (uint16_t)port, NULL);

		if (r)
			return wm_err_set(e, r, "%sport %llu on %saddresses %s: %s", name,
					  (unsigned long long)port, name, *addresses,
					  wm_err_str(r));
		wm_info("http.listening", "address=%s port=%llu", wm_log_q(*addresses),
			(unsigned long long)port);
	}
	return 0;
}

static int listen_all(struct wm_http_server *http, const struct wm_settings *s, struct wm_err *e)
{
	int r = 0;

	if (s->http_port) {
		for (unsigned i = 0; s->http_addresses[i]; i++)
			wm_config_warn_open(s, s->http_addresses[i]);
		r = listen_tcp(http, "http.", s->http_addresses, s->http_port, e);
	}
	if (r || !*s->http_metrics_addresses)
		return r;
	wm_http_narrow(http, (uint16_t)s->http_metrics_port);
	return listen_tcp(http, "http.metrics_", s->http_metrics_addresses, s->http_metrics_port,
			  e);
}

static int listen_unix(struct wm_http_server *http, const char *path, struct wm_err *e)
{
	char dir[128], *slash;
	int r;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash && slash != dir) {
		*slash = '\0';
		mkdir(dir, 0755); /* what is wrong with it, the socket says */
	}
	r = wm_http_listen_unix(http, path, 0600);
	if (!r)
		wm_info("http.listening", "socket=%s", wm_log_q(path));
	return r ? wm_err_set(e, r, "http.socket %s: %s", path, wm_err_str(r)) : 0;
}

int wm_serve_http(struct wm_http_server *http, const struct wm_settings *s, struct wm_err *e)
{
	int r = allow_hosts(http, s, e);

	if (!r)
		r = listen_all(http, s, e);
	return !r && *s->http_socket ? listen_unix(http, s->http_socket, e) : r;
}
