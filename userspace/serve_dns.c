/* SPDX-License-Identifier: Apache-2.0 */
/* serve_dns.c - see serve_dns.h. */
#include "serve_dns.h"

#include "config_dns.h"
#include "userspace/base/log.h"

#include <errno.h>

static int start_upstream(struct wm_dns_server *d, const struct wm_settings *s, struct wm_err *e)
{
	struct wm_upstream_config c;
	int r = wm_config_upstream(s, &c, e);

	if (r || c.mode == WM_UPSTREAM_OFF)
		return r;
	r = wm_dns_server_upstream(d, &c);
	return r ? wm_err_set(e, r, "out of memory: upstream DNS") : 0;
}

static int listen_on(struct wm_dns_server *d, const char *const *list, const char *name,
		     uint64_t port, const char *port_name, struct wm_err *e)
{
	int r;

	for (; *list; list++) {
		r = wm_dns_listen(d, *list, (uint16_t)port, NULL);
		if (r)
			return wm_err_set(e, r, "%s %llu on %s %s: %s", port_name,
					  (unsigned long long)port, name, *list, wm_err_str(r));
		wm_info("dns.listening", "address=%s port=%llu", wm_log_q(*list),
			(unsigned long long)port);
	}
	return 0;
}

static int listen_all(struct wm_dns_server *d, const struct wm_settings *s, struct wm_err *e)
{
	const char *const *own = (const char *const *)s->dns_addresses;
	const char *const *at53 = (const char *const *)s->dns_port53_addresses;
	int r = s->dns_port ? listen_on(d, own, "dns.addresses", s->dns_port, "dns.port", e) : 0;

	return r ? r : listen_on(d, at53, "dns.port53_addresses", 53, "port", e);
}

int wm_serve_dns(struct wm_loop *l, struct wm_registry *registry, struct wm_tables *tables,
		 const struct wm_settings *s, struct wm_dns_server **ret, struct wm_err *e)
{
	struct wm_dns_config c = {.domain = s->node_domain,
				  .alt_domain = *s->node_alt_domain ? s->node_alt_domain : NULL,
				  .datacenter = s->node_datacenter,
				  .ttl_s = (uint32_t)(s->dns_ttl_ms / 1000),
				  .node_ttl_s = (uint32_t)(s->dns_node_ttl_ms / 1000),
				  .cut_silently = !s->dns_enable_truncate,
				  .negative_ttl_s = (uint32_t)(s->dns_negative_ttl_ms / 1000),
				  .a_record_limit = (uint32_t)s->dns_a_record_limit,
				  .tcp_max = (unsigned)s->dns_tcp_connections_max,
				  .tcp_client_max = (unsigned)s->dns_tcp_per_client_max,
				  .tcp_memory_max = s->dns_tcp_memory_max,
				  .tcp_idle_ms = s->dns_tcp_idle_ms};
	int r;

	*ret = wm_dns_server_new(l, registry, tables, &c);
	if (!*ret)
		return wm_err_set(e, -ENOMEM, "out of memory: DNS server");
	r = start_upstream(*ret, s, e);
	return r ? r : listen_all(*ret, s, e);
}
