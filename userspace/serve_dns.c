/* SPDX-License-Identifier: Apache-2.0 */
/* serve_dns.c - see serve_dns.h. */
#include "serve_dns.h"

#include "config_dns.h"
#include "userspace/base/clock.h"
#include "userspace/base/log.h"
#include "userspace/base/prefix.h"
#include "userspace/dataplane/dns_samples.h"
#include "userspace/dataplane/own_device.h"

#include <errno.h>

#define FILL_SHARE 2 /* a half of dns.kernel_ready: the other is for what clients ask for */

static int start_upstream(struct wm_dns_server *d, const struct wm_vip_space *vips,
			  const struct wm_settings *s, struct wm_err *e)
{
	struct wm_upstream_config c;
	int r = wm_config_upstream(s, vips, &c, e);

	if (!r && c.mode == WM_UPSTREAM_OFF && *s->dns_forward)
		wm_warn("dns.forward", "text=\"dns.upstream is off: these servers are not asked\"");
	if (r || c.mode == WM_UPSTREAM_OFF)
		return r;
	r = wm_dns_server_upstream(d, &c);
	return r ? wm_err_set(e, r, "out of memory: upstream DNS") : 0;
}

static int put_hot(void *plane, struct wm_hot *e, uint16_t type, uint16_t view)
{
	return wm_plane_hot_put(plane, e, type, view);
}

static int get_hot(void *plane, struct wm_hot *e, uint16_t type, uint16_t view)
{
	return wm_plane_hot_get(plane, e, type, view);
}

static void del_hot(void *plane, const struct wm_hot *e, uint16_t type, uint16_t view)
{
	wm_plane_hot_del(plane, e, type, view);
}

static int start_hot(struct wm_dns_server *d, struct wm_plane *plane, const struct wm_settings *s,
		     struct wm_err *e)
{
	const struct wm_hot_kernel k = {
		.put = put_hot, .get = get_hot, .del = del_hot, .arg = plane};
	int r;

	if (!plane || !wm_dns_upstream(d) || !s->dns_kernel_cache)
		return 0;
	r = wm_dns_server_hot(d, &k, (unsigned)s->dns_kernel_cache,
			      (unsigned)s->dns_kernel_cache_after, s->dns_serve_stale_ms);
	return r ? wm_err_set(e, r, "out of memory: dns.kernel_cache") : 0;
}

static int put_ready(void *plane, struct wm_ready *e, uint16_t type)
{
	return wm_plane_ready_put(plane, e, type);
}

static int start_ready(struct wm_dns_server *d, struct wm_plane *plane, const struct wm_settings *s,
		       struct wm_err *e)
{
	const struct wm_ready_kernel k = {.put = put_ready,
					  .words = plane ? wm_plane_ready_words(plane) : NULL,
					  .arg = plane,
					  .fill = (unsigned)s->dns_kernel_ready / FILL_SHARE,
					  .max = (unsigned)s->dns_kernel_ready};
	int r = k.words ? wm_dns_server_ready(d, &k) : 0;

	return r ? wm_err_set(e, r, "out of memory: dns.kernel_ready") : 0;
}

static void on_sample(void *dns, const struct wm_dns_sample *told)
{
	wm_dns_sampled(dns, told);
}

static void read_samples(void *samples)
{
	wm_dns_samples_read(samples);
}

static void end_samples(void *samples)
{
	wm_dns_samples_free(samples);
}

/* Without: what the kernel answers is not told. */
static void start_samples(struct wm_loop *l, struct wm_dns_server *d, struct wm_plane *plane)
{
	struct wm_dns_sampler k = {.read = read_samples, .end = end_samples};
	struct wm_dns_samples *x = NULL;
	int r = plane ? wm_dns_samples_new(l, plane, on_sample, d, &x) : 0;

	k.arg = x;
	if (!r && x)
		r = wm_dns_server_sampler(d, &k);
	if (!r)
		return;
	wm_dns_samples_free(x);
	wm_warn("dns.sample", "err=%s text=\"what the kernel answers is not told\"",
		wm_err_name(r));
}

struct place {
	char *const *addresses;
	const char *name;
	uint64_t port;
	const char *port_name;
	int (*listen)(struct wm_dns_server *d, const char *address, uint16_t port, uint16_t *ret);
};

static int listen_at(struct wm_dns_server *d, const struct place *p, struct wm_err *e)
{
	int r;

	for (char *const *a = p->addresses; *a; a++) {
		bool beside =
			p->listen == wm_dns_listen_shared && wm_dns_is_taken(*a, (uint16_t)p->port);

		r = p->listen(d, *a, (uint16_t)p->port, NULL);
		if (r)
			return wm_err_set(e, r, "%s %llu on %s %s: %s", p->port_name,
					  (unsigned long long)p->port, p->name, *a, wm_err_str(r));
		wm_info("dns.listening", "address=%s port=%llu%s", wm_log_q(*a),
			(unsigned long long)p->port,
			p->listen == wm_dns_listen_tls ? " over=tls" : "");
		if (beside)
			wm_warn("dns.shared",
				"address=%s text=\"another program answers there, too\"",
				wm_log_q(*a));
	}
	return 0;
}

/* Also of what an earlier run left, that was killed. */
static int take_addresses(const struct wm_settings *s, struct wm_err *e)
{
	static const char *const none[] = {NULL};
	struct wm_err why = {0};
	int r = wm_own_device_set(
		s->kernel_pin_dir,
		s->dns_own_device ? (const char *const *)s->dns_port53_addresses : none, &why);

	if (!r || s->dns_own_device)
		return r ? wm_err_set(e, r, "dns.own_device: %s", why.text) : 0;
	wm_warn("dns.own_device", "text=%s", wm_log_q(why.text));
	return 0;
}

void wm_serve_dns_end(const struct wm_settings *s)
{
	static const char *const none[] = {NULL};
	struct wm_err why = {0};

	if (s->dns_own_device && wm_own_device_set(s->kernel_pin_dir, none, &why))
		wm_warn("dns.own_device", "text=%s", wm_log_q(why.text));
}

static int listen_all(struct wm_dns_server *d, const struct wm_settings *s, struct wm_err *e)
{
	const struct place own = {s->dns_addresses, "dns.addresses", s->dns_port, "dns.port",
				  wm_dns_listen};
	const struct place at53 = {s->dns_port53_addresses, "dns.port53_addresses", 53, "port",
				   s->dns_own_device ? wm_dns_listen_shared : wm_dns_listen};
	const struct place tls = {s->dns_tls_addresses, "dns.tls_addresses", s->dns_tls_port,
				  "dns.tls_port", wm_dns_listen_tls};
	int r = take_addresses(s, e);

	r = r || !own.port ? r : listen_at(d, &own, e);
	r = r ? r : listen_at(d, &at53, e);
	return r ? r : listen_at(d, &tls, e);
}

static int start_tls(struct wm_dns_server *d, const struct wm_settings *s, struct wm_err *e)
{
	struct wm_err why = {0};
	int r;

	if (!*s->dns_tls_addresses)
		return 0;
	r = wm_config_dns_tls(s, wm_clock_wall_s(), e);
	if (r == -EKEYEXPIRED)
		wm_warn("dns.certificate", "text=%s", wm_log_q(e->text));
	else if (r)
		return r;
	*e = (struct wm_err){0};
	r = wm_dns_server_tls(d, s->dns_tls_cert_file, s->dns_tls_key_file, &why);
	return r ? wm_err_set(e, r, "dns.tls_cert_file, dns.tls_key_file: %s", why.text) : 0;
}

int wm_serve_dns(struct wm_loop *l, struct wm_registry *registry, struct wm_tables *tables,
		 struct wm_plane *plane, const struct wm_settings *s, struct wm_dns_server **ret,
		 struct wm_err *e)
{
	struct wm_dns_config c = {.domain = s->node_domain,
				  .alt_domain = *s->node_alt_domain ? s->node_alt_domain : NULL,
				  .datacenter = s->node_datacenter,
				  .kube_domain = wm_config_kube_domain(s),
				  .kube_pods = wm_config_kube_pods(s),
				  .ttl_s = (uint32_t)(s->dns_ttl_ms / 1000),
				  .node_ttl_s = (uint32_t)(s->dns_node_ttl_ms / 1000),
				  .cut_silently = !s->dns_enable_truncate,
				  .negative_ttl_s = (uint32_t)(s->dns_negative_ttl_ms / 1000),
				  .a_record_limit = (uint32_t)s->dns_a_record_limit,
				  .tcp_max = (unsigned)s->dns_tcp_connections_max,
				  .tcp_client_max = (unsigned)s->dns_tcp_per_client_max,
				  .tcp_memory_max = s->dns_tcp_memory_max,
				  .tcp_idle_ms = s->dns_tcp_idle_ms,
				  .log_every = (unsigned)s->dns_query_log,
				  .log_privacy = s->log_privacy};
	struct wm_guard_prefix ranges[WM_SETTINGS_LIST_MAX];
	bool was = wm_own_device_is(s->kernel_pin_dir);
	int r;

	*ret = wm_dns_server_new(l, registry, tables, &c);
	if (!*ret)
		return wm_err_set(e, -ENOMEM, "out of memory: DNS server");
	wm_dns_server_ranges(*ret, ranges, wm_prefix_list(s->dns_reverse_ranges, ranges));
	r = start_upstream(*ret, wm_registry_vip_space(registry), s, e);
	r = r ? r : start_hot(*ret, plane, s, e);
	r = r ? r : start_ready(*ret, plane, s, e);
	if (!r && s->kernel_dns)
		start_samples(l, *ret, plane);
	r = r ? r : start_tls(*ret, s, e);
	r = r ? r : listen_all(*ret, s, e);
	if (r && !was) /* what a run that was killed left goes on without us */
		wm_serve_dns_end(s);
	return r;
}
