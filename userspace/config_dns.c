/* SPDX-License-Identifier: Apache-2.0 */
/* config_dns.c - see config_dns.h. */
#include "config_dns.h"

#include "userspace/base/macros.h"
#include "userspace/base/prefix.h"
#include "userspace/net/tls_client.h"
#include "userspace/security/server_cert.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* @return false: @p domain is @p of, or below it. */
static bool is_outside(const char *domain, const char *of)
{
	size_t len = strlen(domain), end = strlen(of);

	return !end || len < end || strcasecmp(domain + len - end, of) != 0 ||
	       (len > end && domain[len - end - 1] != '.');
}

/* A domain of ours, or a reverse zone of vip.* or dns.reverse_ranges. */
static bool is_ours(const char *domain, const struct wm_upstream_config *c)
{
	char zone[WM_PREFIX_ZONE_SIZE];

	for (unsigned i = 0; i < WM_ARRAY_LEN(c->domains); i++)
		if (!is_outside(domain, c->domains[i]))
			return true;
	for (unsigned n = 0; c->vips.mask && wm_vip_zone(&c->vips, n, zone); n++)
		if (!is_outside(domain, zone))
			return true;
	for (unsigned i = 0; i < c->ranges_count; i++)
		for (unsigned n = 0; wm_prefix_zone(&c->ranges[i], n, zone); n++)
			if (!is_outside(domain, zone))
				return true;
	return false;
}

static int check_routes(const struct wm_settings *s, const struct wm_upstream_config *c,
			struct wm_err *e)
{
	for (unsigned i = 0; i < c->routes.count; i++) {
		const char *d = c->routes.at[i].domain;

		if (is_ours(d, c))
			return wm_err_set(e, WM_E_INVALID,
					  "dns.forward: %.64s is ours: its names are never "
					  "asked of others",
					  d);
		if (strcmp(d, ".") == 0 && c->mode != WM_UPSTREAM_LIST)
			return wm_err_set(e, WM_E_INVALID,
					  "dns.forward: servers of \".\" are asked where "
					  "dns.upstream is list, not %s",
					  s->dns_upstream);
		for (unsigned k = 0; k < c->routes.at[i].count; k++)
			if (wm_upstream_leads_here(&c->own, &c->routes.at[i].servers[k]))
				return wm_err_set(e, WM_E_INVALID,
						  "dns.forward: %.45s is this agent itself",
						  c->routes.at[i].servers[k].ip);
	}
	if (c->mode == WM_UPSTREAM_LIST && !c->routes.count)
		return wm_err_set(e, WM_E_INVALID,
				  "dns.forward: dns.upstream is list, and no server is there");
	return 0;
}

static int check_file(const char *name, const char *path, const char *option, const char *what,
		      struct wm_err *e)
{
	int r = *path ? wm_upstream_file(option, path) : 0;

	if (r == -EINVAL)
		return wm_err_set(e, r, "%s: %s is not a file", name, path);
	if (r == -EBADMSG)
		return wm_err_set(e, r, "%s: %s has no %s, or a line that is none", name, path,
				  what);
	return r ? wm_err_set(e, r, "%s: cannot read %s: %s", name, path, strerror(-r)) : 0;
}

static bool has_tls(const struct wm_upstream_routes *routes)
{
	for (unsigned i = 0; i < routes->count; i++)
		for (unsigned k = 0; k < routes->at[i].count; k++)
			if (*routes->at[i].servers[k].name)
				return true;
	return false;
}

static int check_authorities(const struct wm_upstream_config *c, struct wm_err *e)
{
	struct wm_tls_client *t = NULL;
	struct wm_err why = {0};
	int r = has_tls(&c->routes) ? wm_tls_client_new(c->ca_file, "dot", &t, &why) : 0;

	wm_tls_client_free(t);
	return r ? wm_err_set(e, r, "dns.upstream_ca_file: %s", why.text) : 0;
}

int wm_config_upstream(const struct wm_settings *s, const struct wm_vip_space *vips,
		       struct wm_upstream_config *ret, struct wm_err *e)
{
	const char *kube = wm_config_kube_domain(s);
	int r;

	*ret = (struct wm_upstream_config){
		.domains = {s->node_domain, s->node_alt_domain, kube ? kube : ""},
		.vips = *vips,
		.resolv_conf = (const char *const *)s->dns_resolv_conf,
		.own = {.addresses = (const char *const *)s->dns_addresses,
			.port = (uint16_t)s->dns_port,
			.addresses53 = (const char *const *)s->dns_port53_addresses,
			.addresses_tls = (const char *const *)s->dns_tls_addresses,
			.port_tls = (uint16_t)s->dns_tls_port},
		.ca_file = s->dns_upstream_ca_file,
		.root_hints = s->dns_root_hints,
		.trust_anchor = s->dns_trust_anchor,
		.validate = s->dns_validate,
		.anchor_hold_s = s->dns_trust_anchor_hold_ms / 1000,
		.anchor_every_ms = s->dns_trust_anchor_every_ms,
		.caps_for_id = s->dns_caps_for_id,
		.dns64_prefix = s->dns_dns64_prefix,
		.rebind_protection = s->dns_rebind_protection,
		.serve_stale_s = s->dns_serve_stale_ms / 1000,
		.cache_max = s->dns_cache_max,
		.ttl_min_s = s->dns_cache_ttl_min_ms / 1000,
		.ttl_max_s = s->dns_cache_ttl_max_ms / 1000,
		.overtake_percent = (unsigned)s->dns_upstream_overtake,
		.timeout_ms = s->dns_upstream_timeout_ms,
		.questions_max = (unsigned)s->dns_upstream_questions_max,
		.per_client_max = (unsigned)s->dns_upstream_per_client_max};
	ret->ranges_count = wm_prefix_list(s->dns_reverse_ranges, ret->ranges);
	(void)wm_upstream_mode_parse(s->dns_upstream, &ret->mode); /* settings_check.c has */
	if (s->dns_validate && s->dns_trust_anchor_follow)
		snprintf(ret->anchor_path, sizeof(ret->anchor_path), "%s/dns-anchors",
			 s->node_data_dir);
	if (ret->mode == WM_UPSTREAM_OFF)
		return 0;
	r = wm_upstream_routes_parse(s->dns_forward, &ret->routes, e);
	if (!r)
		r = check_routes(s, ret, e);
	if (!r)
		r = check_authorities(ret, e);
	if (!r)
		r = check_file("dns.trust_anchor", s->dns_trust_anchor, "trust-anchor-file",
			       "DS or DNSKEY record", e);
	return r ? r
		 : check_file("dns.root_hints", s->dns_root_hints, "root-hints",
			      "server of the root", e);
}

int wm_config_dns_tls(const struct wm_settings *s, int64_t now_s, struct wm_err *e)
{
	struct wm_server_cert c;
	struct wm_err why = {0};
	int r;

	/* a file that is not named is told of by the settings' own check */
	if (!*s->dns_tls_addresses || !*s->dns_tls_cert_file || !*s->dns_tls_key_file)
		return 0;
	r = wm_server_cert_load(s->dns_tls_cert_file, s->dns_tls_key_file, &c, &why);
	if (r)
		return wm_err_set(e, r, "dns.tls_cert_file, dns.tls_key_file: %s", why.text);
	if (now_s < c.validity.not_before_s || now_s > c.validity.not_after_s)
		r = wm_err_set(e, -EKEYEXPIRED, "dns.tls_cert_file: %s %s", s->dns_tls_cert_file,
			       now_s < c.validity.not_before_s ? "is not valid yet"
							       : "has expired");
	wm_server_cert_done(&c);
	return r;
}

int wm_config_statics(const struct wm_settings *s, const struct wm_settings *own,
		      struct wm_statics **ret, struct wm_err *e)
{
	const struct wm_statics_config c = {.records = (const char *const *)s->dns_records,
					    .records_file = s->dns_records_file,
					    .hosts_file = s->dns_hosts_file,
					    .domain = own->node_domain,
					    .alt_domain = own->node_alt_domain,
					    .cluster_domain = wm_config_kube_domain(own),
					    .datacenter = own->node_datacenter,
					    .ttl_s = (uint32_t)(own->dns_node_ttl_ms / 1000)};

	return wm_statics_read(&c, ret, e);
}

const char *wm_config_kube_domain(const struct wm_settings *s)
{
	if (*s->source_kubernetes_domain)
		return s->source_kubernetes_domain;
	return s->source_kubernetes_enabled ? WM_KUBE_DOMAIN : NULL;
}

enum wm_kube_pods wm_config_kube_pods(const struct wm_settings *s)
{
	return strcmp(s->source_kubernetes_pods, "insecure") == 0   ? WM_KUBE_PODS_INSECURE
	       : strcmp(s->source_kubernetes_pods, "verified") == 0 ? WM_KUBE_PODS_VERIFIED
								    : WM_KUBE_PODS_DISABLED;
}
