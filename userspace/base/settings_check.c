/* SPDX-License-Identifier: Apache-2.0 */
/* settings_check.c - what no single setting can tell, and words that are a choice of some. */
#include "clock.h"
#include "endpoint.h"
#include "macros.h"
#include "prefix.h"
#include "settings.h"
#include "ttl.h"
#include "waymark/limits.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HOST_MAX 253 /* octets of a name in text: RFC 1035 2.3.4 */

static int check_word(const char *name, const char *value, const char *const *allowed,
		      struct wm_err *e)
{
	char list[128] = "";
	size_t at = 0;

	for (size_t i = 0; allowed[i]; i++) {
		if (strcmp(value, allowed[i]) == 0)
			return 0;
		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s",
				       !i		? ""
				       : allowed[i + 1] ? ", "
							: " or ",
				       allowed[i]);
	}
	return wm_err_set(e, WM_E_INVALID, "%s: %s, not \"%.32s\"", name, list, value);
}

static int check_level(const struct wm_settings *s, struct wm_err *e)
{
	static const char *const levels[] = {"error", "warn", "info", "debug", NULL};

	return check_word("log.level", s->log_level, levels, e);
}

static int check_upstream(const struct wm_settings *s, struct wm_err *e)
{
	static const char *const how[] = {"off", "resolv.conf", "list", "recursion", NULL};

	return check_word("dns.upstream", s->dns_upstream, how, e);
}

static int check_dns_tls(const struct wm_settings *s, struct wm_err *e)
{
	const char *missing = !*s->dns_tls_cert_file  ? "dns.tls_cert_file"
			      : !*s->dns_tls_key_file ? "dns.tls_key_file"
						      : NULL;

	return !missing || !*s->dns_tls_addresses
		       ? 0
		       : wm_err_set(e, WM_E_INVALID, "%s: wanted, as dns.tls_addresses is set",
				    missing);
}

/* RFC 6052 2.2 */
static int check_dns64(const struct wm_settings *s, struct wm_err *e)
{
	static const char *const lengths[] = {"32", "40", "48", "56", "64", "96"};
	const char *text = s->dns_dns64_prefix, *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN];
	struct in6_addr in6;

	if (!*text)
		return 0;
	snprintf(address, sizeof(address), "%.*s", (int)(slash ? slash - text : 0), text);
	for (size_t i = 0; slash && i < WM_ARRAY_LEN(lengths); i++)
		if (strcmp(slash + 1, lengths[i]) == 0 && inet_pton(AF_INET6, address, &in6) == 1)
			return 0;
	return wm_err_set(e, WM_E_INVALID,
			  "dns.dns64_prefix: an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits is "
			  "wanted, such as 64:ff9b::/96, not \"%s\"",
			  text);
}

/* They stand between quotes in what libunbound reads. */
static int check_paths(const struct wm_settings *s, struct wm_err *e)
{
	if (s->dns_trust_anchor_follow && strpbrk(s->node_data_dir, "\"\n"))
		return wm_err_set(e, WM_E_INVALID, "node.data_dir: no quotes in it");
	if (strpbrk(s->dns_trust_anchor, "\"\n"))
		return wm_err_set(e, WM_E_INVALID, "dns.trust_anchor: no quotes in it");
	if (strpbrk(s->dns_root_hints, "\"\n"))
		return wm_err_set(e, WM_E_INVALID, "dns.root_hints: no quotes in it");
	return 0;
}

static int check_allow(const struct wm_settings *s, struct wm_err *e)
{
	struct wm_guard_prefix p;
	struct wm_err inner = {0};

	for (char *const *t = s->dns_allow; *t; t++)
		if (wm_prefix_parse(*t, &p, &inner))
			return wm_err_set(e, inner.code, "dns.allow: %s", inner.text);
	return 0;
}

#define REVERSE_ZONES_MAX 64 /* each is a zone of each resolver */

static int check_reverse(const struct wm_settings *s, struct wm_err *e)
{
	struct wm_guard_prefix p;
	struct wm_err inner = {0};
	unsigned zones = 0;

	for (char *const *t = s->dns_reverse_ranges; *t; t++) {
		if (wm_prefix_parse(*t, &p, &inner))
			return wm_err_set(e, inner.code, "dns.reverse_ranges: %s", inner.text);
		if (!wm_prefix_zones(&p))
			return wm_err_set(e, WM_E_INVALID,
					  "dns.reverse_ranges: %s is every address", *t);
		zones += wm_prefix_zones(&p);
		if (zones > REVERSE_ZONES_MAX)
			return wm_err_set(e, WM_E_INVALID,
					  "dns.reverse_ranges: with %s they are %u reverse zones, "
					  "more than %d",
					  *t, zones, REVERSE_ZONES_MAX);
	}
	return 0;
}

/* What the kernel takes for the name of a device, or a glob of such. */
static bool is_device(const char *name)
{
	for (const char *p = name; *p; p++)
		if (*p <= ' ' || *p > '~' || *p == '/' || *p == ':')
			return false;
	return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int check_devices(const struct wm_settings *s, struct wm_err *e)
{
	const struct {
		const char *name;
		char *const *list;
	} all[] = {{"kernel.lo_devices", s->kernel_lo_devices},
		   {"kernel.dns_devices", s->kernel_dns_devices},
		   {"kernel.veth_devices", s->kernel_veth_devices}};

	for (size_t i = 0; i < WM_ARRAY_LEN(all); i++)
		for (char *const *d = all[i].list; *d; d++)
			if (!is_device(*d))
				return wm_err_set(e, WM_E_INVALID,
						  "%s: names of devices or globs are wanted, "
						  "without spaces, '/' and ':', not \"%s\"",
						  all[i].name, *d);
	return 0;
}

static int check_scripts(const struct wm_settings *s, struct wm_err *e)
{
	static const char *const who[] = {"off", "local", NULL};

	return check_word("health.scripts", s->health_scripts, who, e);
}

static int check_os_services(const struct wm_settings *s, struct wm_err *e)
{
	static const char *const who[] = {"off", "local", "any", NULL};

	return check_word("health.os_services", s->health_os_services, who, e);
}

/* Labels of 1 to 63 octets, 253 in all (RFC 1035 2.3.4), letters, digits, '-' and '_', no dash at
 * either end. */
static bool is_domain(const char *s)
{
	size_t label = 0, all = strlen(s);
	char before = '.';

	for (; *s; before = *s++) {
		if (*s == '.' ? !label || before == '-'
			      : !isalnum((unsigned char)*s) && *s != '_' &&
					(*s != '-' || before == '.'))
			return false;
		label = *s == '.' ? 0 : label + 1;
		if (label > WM_DNS_LABEL_MAX)
			return false;
	}
	return label && before != '-' && all <= HOST_MAX;
}

static int no_domain(const char *name, const char *value, struct wm_err *e)
{
	return wm_err_set(
		e, WM_E_INVALID,
		"%s: labels of 1 to 63 letters, digits, '-' and '_' are wanted, no '-' at "
		"either end, dots between them, not \"%.64s\"",
		name, value);
}

static int check_domain(const struct wm_settings *s, struct wm_err *e)
{
	if (!*s->node_domain)
		return wm_err_set(e, WM_E_INVALID, "node.domain: must not be empty");
	return is_domain(s->node_domain) ? 0 : no_domain("node.domain", s->node_domain, e);
}

static int check_alt_domain(const struct wm_settings *s, struct wm_err *e)
{
	return !*s->node_alt_domain || is_domain(s->node_alt_domain)
		       ? 0
		       : no_domain("node.alt_domain", s->node_alt_domain, e);
}

/* What no Host header could say would allow nobody. */
static int check_hosts(const struct wm_settings *s, struct wm_err *e)
{
	for (char *const *h = s->http_hosts; *h; h++) {
		if (!is_domain(*h))
			return wm_err_set(
				e, WM_E_INVALID,
				"http.hosts: a host name without a port is wanted, labels "
				"of 1 to 63 letters, digits, '-' and '_', no '-' at either "
				"end, not \"%.64s\"",
				*h);
	}
	return 0;
}

/* Else those who wait could take every connection. */
static int check_watchers(const struct wm_settings *s, struct wm_err *e)
{
	return s->http_watchers_max < s->http_connections_max
		       ? 0
		       : wm_err_set(e, WM_E_INVALID,
				    "http.watchers_max: fewer than http.connections_max (%" PRIu64
				    ") are allowed, not %" PRIu64,
				    s->http_connections_max, s->http_watchers_max);
}

static int check_datacenter(const struct wm_settings *s, struct wm_err *e)
{
	return *s->node_datacenter
		       ? 0
		       : wm_err_set(e, WM_E_INVALID, "node.datacenter: must not be empty");
}

static int check_ttls(const struct wm_settings *s, struct wm_err *e)
{
	const struct {
		const char *name;
		uint64_t ms;
	} all[] = {{"dns.ttl", s->dns_ttl_ms},
		   {"dns.node_ttl", s->dns_node_ttl_ms},
		   {"dns.negative_ttl", s->dns_negative_ttl_ms},
		   {"dns.cache_ttl_min", s->dns_cache_ttl_min_ms},
		   {"dns.cache_ttl_max", s->dns_cache_ttl_max_ms},
		   {"dns.trust_anchor_hold", s->dns_trust_anchor_hold_ms}};
	struct wm_ttls *ttls = NULL;
	struct wm_err inner = {0};
	int r;

	for (size_t i = 0; i < WM_ARRAY_LEN(all); i++)
		if (all[i].ms % 1000)
			return wm_err_set(e, WM_E_INVALID, "%s: whole seconds are wanted",
					  all[i].name);
	if (s->dns_cache_ttl_min_ms > s->dns_cache_ttl_max_ms)
		return wm_err_set(e, WM_E_INVALID, "dns.cache_ttl_min: is above dns.cache_ttl_max");
	r = wm_ttls_new(s->dns_service_ttl, &ttls, &inner);
	wm_ttls_free(ttls);
	return r ? wm_err_set(e, r, "dns.service_ttl: %s", inner.text) : 0;
}

static int check_data_dir(const struct wm_settings *s, struct wm_err *e)
{
	return *s->node_data_dir == '/'
		       ? 0
		       : wm_err_set(e, WM_E_INVALID,
				    "node.data_dir: an absolute path is wanted, not \"%.64s\"",
				    s->node_data_dir);
}

static int check_pin_dir(const struct wm_settings *s, struct wm_err *e)
{
	return *s->kernel_pin_dir == '/'
		       ? 0
		       : wm_err_set(e, WM_E_INVALID,
				    "kernel.pin_dir: an absolute path is wanted, not \"%.64s\"",
				    s->kernel_pin_dir);
}

static int check_way_in(const struct wm_settings *s, struct wm_err *e)
{
	return s->http_port || *s->http_socket
		       ? 0
		       : wm_err_set(e, WM_E_INVALID,
				    "http.port is 0 and http.socket is empty: no way in");
}

static int check_etcd(const struct wm_settings *s, struct wm_err *e)
{
	if (strcmp(s->sync_mode, "etcd") == 0 && !*s->sync_etcd_endpoints)
		return wm_err_set(
			e, WM_E_INVALID,
			"sync.etcd_endpoints: one at least is wanted where sync.mode is etcd");
	for (char *const *p = s->sync_etcd_endpoints; *p; p++) {
		if (!wm_endpoint_valid(*p))
			return wm_err_set(e, WM_E_INVALID,
					  "sync.etcd_endpoints: URLs such as https://10.0.0.1:2379 "
					  "are wanted, not \"%.64s\"",
					  *p);
	}
	if (*s->sync_etcd_prefix && !wm_key_prefix_valid(s->sync_etcd_prefix))
		return wm_err_set(e, WM_E_INVALID,
				  "sync.etcd_prefix: a prefix such as /waymark/dc1/ is wanted, "
				  "not \"%.64s\"",
				  s->sync_etcd_prefix);
	if (*s->sync_etcd_user && !*s->sync_etcd_password_file)
		return wm_err_set(e, WM_E_INVALID,
				  "sync.etcd_password_file: wanted, as sync.etcd_user is set");
	if (!*s->sync_etcd_cert_file != !*s->sync_etcd_key_file)
		return wm_err_set(e, WM_E_INVALID,
				  "sync.etcd_cert_file, sync.etcd_key_file: neither without the "
				  "other");
	return 0;
}

static int check_consul(const struct wm_settings *s, struct wm_err *e)
{
	for (char *const *p = s->source_consul_addresses; *p; p++) {
		if (!wm_endpoint_valid(*p))
			return wm_err_set(e, WM_E_INVALID,
					  "source.consul_addresses: URLs such as "
					  "http://127.0.0.1:8500 are wanted, not \"%.64s\"",
					  *p);
	}
	if (!*s->source_consul_addresses && s->source_consul_pass_on)
		return wm_err_set(e, WM_E_INVALID,
				  "source.consul_addresses: wanted, as source.consul_pass_on is "
				  "set");
	if (!*s->source_consul_cert_file != !*s->source_consul_key_file)
		return wm_err_set(
			e, WM_E_INVALID,
			"source.consul_cert_file, source.consul_key_file: neither without "
			"the other");
	return 0;
}

static int check_sync_words(const struct wm_settings *s, struct wm_err *e)
{
	static const char *const modes[] = {"off", "peers", "etcd", NULL};
	static const char *const profiles[] = {"lan", "wan", "local", NULL};
	static const char *const roles[] = {"full", "leaf", NULL};
	static const char *const conflicts[] = {"hlc", "semver", "priority", NULL};
	int r = check_word("sync.mode", s->sync_mode, modes, e);

	if (!r)
		r = check_word("sync.profile", s->sync_profile, profiles, e);
	if (!r)
		r = check_word("sync.role", s->sync_role, roles, e);
	if (!r && strcmp(s->sync_role, "leaf") == 0 && strcmp(s->sync_mode, "etcd") == 0)
		r = wm_err_set(e, WM_E_INVALID,
			       "sync.role: leaf is of sync.mode peers: etcd brings everything");
	return r ? r : check_word("sync.conflicts", s->sync_conflicts, conflicts, e);
}

/* Half of a protection is none, and nobody is to find out later that there was none. */
static int check_sync_security(const struct wm_settings *s, struct wm_err *e)
{
	const struct {
		const char *name, *value;
	} files[] = {{"sync.ca_file", s->sync_ca_file},
		     {"sync.cert_file", s->sync_cert_file},
		     {"sync.key_file", s->sync_key_file},
		     {"sync.keyring_file", s->sync_keyring_file}};

	if (strcmp(s->sync_mode, "peers") != 0)
		return 0;
	for (size_t i = 0; i < WM_ARRAY_LEN(files); i++) {
		if (!*files[i].value && !s->sync_insecure)
			return wm_err_set(e, WM_E_INVALID,
					  "%s: must be set where sync.mode is peers, or "
					  "sync.insecure be true",
					  files[i].name);
		if (*files[i].value && s->sync_insecure)
			return wm_err_set(e, WM_E_INVALID,
					  "sync.insecure: must be false where %s is set",
					  files[i].name);
	}
	return 0;
}

static int check_sync_probe(const struct wm_settings *s, struct wm_err *e)
{
	return !s->sync_probe_interval_ms || s->sync_probe_timeout_ms < s->sync_probe_interval_ms
		       ? 0
		       : wm_err_set(e, WM_E_INVALID,
				    "sync.probe_timeout: less than sync.probe_interval (%" PRIu64
				    " ms) is wanted, not %" PRIu64 " ms",
				    s->sync_probe_interval_ms, s->sync_probe_timeout_ms);
}

/* Is @p name in the domain @p of, or that itself? */
static bool is_within(const char *name, const char *of)
{
	size_t len = strlen(name), end = strlen(of);

	return end && len >= end && strcasecmp(name + len - end, of) == 0 &&
	       (len == end || name[len - end - 1] == '.');
}

/* Of two domains that are one in the other the kernel and userspace would answer for either. */
static int check_kubernetes(const struct wm_settings *s, struct wm_err *e)
{
	static const char *const pods[] = {"disabled", "insecure", "verified", NULL};
	const char *domain = *s->source_kubernetes_domain   ? s->source_kubernetes_domain
			     : s->source_kubernetes_enabled ? "cluster.local"
							    : "";
	const char *const ours[] = {s->node_domain, s->node_alt_domain};

	if (*domain && !is_domain(domain))
		return no_domain("source.kubernetes_domain", domain, e);
	for (size_t i = 0; *domain && i < WM_ARRAY_LEN(ours); i++)
		if (*ours[i] && (is_within(domain, ours[i]) || is_within(ours[i], domain)))
			return wm_err_set(e, WM_E_INVALID,
					  "source.kubernetes_domain: neither is to be in the "
					  "other, %.64s and %.64s",
					  domain, ours[i]);
	return check_word("source.kubernetes_pods", s->source_kubernetes_pods, pods, e);
}

/* One that is listed twice would be listened on twice, where a port is shared. */
static int check_listeners(const struct wm_settings *s, struct wm_err *e)
{
	const struct {
		const char *name;
		char *const *list;
	} lists[] = {
		{"http.addresses", s->http_addresses},
		{"http.metrics_addresses", s->http_metrics_addresses},
		{"dns.addresses", s->dns_addresses},
		{"dns.port53_addresses", s->dns_port53_addresses},
		{"dns.tls_addresses", s->dns_tls_addresses},
	};
	struct wm_guard_prefix p, before;
	struct wm_err none = {0};

	for (size_t i = 0; i < WM_ARRAY_LEN(lists); i++)
		for (char *const *at = lists[i].list; *at; at++)
			for (char *const *b = lists[i].list; b < at; b++)
				if (!wm_prefix_parse(*at, &p, &none) &&
				    !wm_prefix_parse(*b, &before, &none) &&
				    !memcmp(&p, &before, sizeof(p)))
					return wm_err_set(e, WM_E_INVALID,
							  "%s: %.64s is there twice", lists[i].name,
							  *at);
	return 0;
}

static int (*const rules[])(const struct wm_settings *s, struct wm_err *e) = {
	check_level,	  check_scripts,    check_os_services, check_domain,
	check_alt_domain, check_datacenter, check_ttls,	       check_data_dir,
	check_pin_dir,	  check_way_in,	    check_hosts,       check_watchers,
	check_etcd,	  check_consul,	    check_sync_words,  check_sync_security,
	check_sync_probe, check_upstream,   check_paths,       check_dns_tls,
	check_dns64,	  check_allow,	    check_reverse,     check_kubernetes,
	check_devices,	  check_listeners,
};

int wm_settings_check_all(const struct wm_settings *s, wm_settings_fault fn, void *arg)
{
	int first = 0, r;

	for (size_t i = 0; i < WM_ARRAY_LEN(rules); i++) {
		struct wm_err e = {0};

		r = rules[i](s, &e);
		if (r)
			fn(arg, &e);
		first = first ? first : r;
	}
	return first;
}

int wm_settings_check(const struct wm_settings *s, struct wm_err *e)
{
	int r = 0;

	for (size_t i = 0; i < WM_ARRAY_LEN(rules) && !r; i++)
		r = rules[i](s, e);
	return r;
}
