/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_config.c - see kernel_config.h. */
#include "kernel_config.h"

#include "userspace/base/clock.h"
#include "userspace/base/log.h"
#include "userspace/base/random.h"
#include "userspace/config.h"
#include "userspace/config_dns.h"
#include "userspace/dataplane/survey.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The place of @p addr among @p addrs, where it is put if it is new. @return -1: no room. */
static int place_of(void *addrs, uint8_t *count, const void *addr, size_t len)
{
	uint8_t *at = addrs;

	for (unsigned i = 0; i < *count; i++)
		if (memcmp(at + i * len, addr, len) == 0)
			return (int)i;
	if (*count == WM_DNS_LISTEN_MAX)
		return -1;
	memcpy(at + *count * len, addr, len);
	return (*count)++;
}

/* Questions to @p text are ours on port @p port, one of dns_port_be. */
static void add_address(struct wm_config *k, const char *text, unsigned port)
{
	struct in6_addr v6;
	struct in_addr v4;
	uint8_t *skip = NULL;
	int i = -1;

	if (inet_pton(AF_INET, text, &v4) == 1 && v4.s_addr != INADDR_ANY) {
		i = place_of(k->dns_addr4_be, &k->dns_addr4_count, &v4, sizeof(v4));
		skip = &k->dns_skip4;
	} else if (inet_pton(AF_INET6, text, &v6) == 1 && !IN6_IS_ADDR_UNSPECIFIED(&v6)) {
		i = place_of(k->dns_addr6_be, &k->dns_addr6_count, &v6, sizeof(v6));
		skip = &k->dns_skip6;
	}
	if (i >= 0)
		*skip &= (uint8_t) ~(1u << (2 * (unsigned)i + port));
	else
		wm_warn("dns.userspace_only",
			"address=%s text=\"the kernel answers on %d exact addresses of a family\"",
			wm_log_q(text), WM_DNS_LISTEN_MAX);
}

/* Pairs of address and port: an address of one port may be another server's on the other. */
static void fill_listening(const struct wm_settings *s, struct wm_config *k)
{
	k->dns_skip4 = k->dns_skip6 = 0xff;
	if (s->dns_port) {
		k->dns_port_be[0] = htons((uint16_t)s->dns_port);
		for (unsigned i = 0; s->dns_addresses[i]; i++)
			add_address(k, s->dns_addresses[i], 0);
	}
	for (unsigned i = 0; s->dns_port53_addresses[i]; i++) {
		k->dns_port_be[1] = htons(53);
		add_address(k, s->dns_port53_addresses[i], 1);
	}
}

struct wm_config wm_kernel_config(const struct wm_settings *s, const struct wm_config *k)
{
	struct wm_config next = {.seed = {k->seed[0], k->seed[1]},
				 .stale_after_ns = s->dns_stale_after_ms * WM_NS_PER_MS,
				 .ttl_s = (uint32_t)(s->dns_ttl_ms / 1000)};

	if (!next.seed[0] && !next.seed[1]) {
		next.seed[0] = wm_random64();
		next.seed[1] = wm_random64();
	}
	if (s->kernel_dns)
		next.flags |= WM_CONFIG_F_DNS;
	if (s->kernel_connect)
		next.flags |= WM_CONFIG_F_CONNECT;
	fill_listening(s, &next);
	return next;
}

void wm_kernel_plane(const struct wm_settings *s, const struct wm_vip_space *v,
		     struct wm_plane_config *ret)
{
	*ret = (struct wm_plane_config){
		.pin_dir = s->kernel_pin_dir,
		.cgroup = *s->kernel_cgroup ? s->kernel_cgroup : NULL,
		.lo_devices = (const char *const *)s->kernel_lo_devices,
		.veth_devices = (const char *const *)s->kernel_veth_devices,
		.link_devices = (const char *const *)s->kernel_dns_devices,
		.attach_dns = s->kernel_dns,
		.attach_connect = s->kernel_connect,
		.observe = s->kernel_listener_notice,
		.domain = s->node_domain,
		.alt_domain = s->node_alt_domain,
		.cluster_domain = wm_config_kube_domain(s),
		.datacenter = s->node_datacenter,
		.custom = *s->kernel_custom ? s->kernel_custom : NULL,
		.passive = s->kernel_passive_health,
		.give_up_ns = s->kernel_give_up_after_ms * WM_NS_PER_MS,
		.memory_max = s->kernel_memory_max,
		.hot_answers =
			strcmp(s->dns_upstream, "off") == 0 ? 0 : (uint32_t)s->dns_kernel_cache,
		.ready_answers = (uint32_t)s->dns_kernel_ready,
		.hot_grace_ns = s->dns_serve_stale_ms * WM_NS_PER_MS,
		.vip4_base = v->base,
		.vip4_mask = v->mask,
		.vip_route = s->vip_route,
		.a_record_limit = (uint32_t)s->dns_a_record_limit,
		.node_ttl_s = (uint32_t)(s->dns_node_ttl_ms / 1000),
		.negative_ttl_s = (uint32_t)(s->dns_negative_ttl_ms / 1000)};
	wm_config_sizes(s, ret);
	memcpy(ret->vip6_prefix, &v->prefix, sizeof(ret->vip6_prefix));
}

bool wm_kernel_partial(const struct wm_settings *s)
{
	return strcmp(s->sync_mode, "off") != 0 && strcmp(s->sync_role, "leaf") == 0;
}

/* --- what an earlier run left --- */
static void log_detached(void *arg, const struct wm_leftover *l)
{
	(void)arg;
	wm_info("plane.taken_over", "name=%s where=%s pins=%s link=%u", l->name, wm_log_q(l->where),
		wm_log_q(l->pin_dir), l->link_id);
}

void wm_kernel_detach(const struct wm_settings *s, const struct wm_plane_config *c,
		      const struct wm_config *k, struct wm_err *why)
{
	struct wm_err e = {0};
	int r;

	if (s->kernel_enabled && s->kernel_required)
		return;
	r = wm_plane_detach(c->pin_dir, false, &e);
	if (r > 0)
		wm_info("plane.switched_off", "pins=%s removed=%d", wm_log_q(c->pin_dir), r);
	if (r >= 0)
		r = wm_plane_take_over(c, k, log_detached, NULL);
	if (r < 0 && r != -EBUSY) {
		size_t at = strlen(why->text);

		snprintf(why->text + at, sizeof(why->text) - at,
			 "; what an earlier run left there could not be detached: %s",
			 *e.text ? e.text : wm_err_str(r));
		wm_warn("plane.leftovers", "err=%s text=%s", wm_err_name(r), wm_log_q(e.text));
	}
}
