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

static int listen_tcp(struct wm_http_server *http, const struct wm_settings *s, struct wm_err *e)
{
	for (unsigned i = 0; s->http_port && s->http_addresses[i]; i++) {
		const char *address = s->http_addresses[i];
		int r;

		wm_config_warn_open(s, address);
		r = wm_http_listen_tcp(http, address, (uint16_t)s->http_port, NULL);
		if (r)
			return wm_err_set(e, r, "http.port %llu on http.addresses %s: %s",
					  (unsigned long long)s->http_port, address, wm_err_str(r));
		wm_info("http.listening", "address=%s port=%llu", wm_log_q(address),
			(unsigned long long)s->http_port);
	}
	return 0;
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
		r = listen_tcp(http, s, e);
	return !r && *s->http_socket ? listen_unix(http, s->http_socket, e) : r;
}
