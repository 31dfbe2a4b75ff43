/* SPDX-License-Identifier: Apache-2.0 */
/* config_sync.c - what the settings of the mesh mean on this machine, and what cannot work. */
#include "config_sync.h"

#include "userspace/base/macros.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static bool is_any(const struct in6_addr *a)
{
	return IN6_IS_ADDR_UNSPECIFIED(a) || (IN6_IS_ADDR_V4MAPPED(a) && !a->s6_addr32[3]);
}

static bool is_loopback(const struct in6_addr *a)
{
	return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

static int parse(const char *name, const char *text, struct wm_peer_addr *ret, struct wm_err *e)
{
	return wm_peer_addr_parse(text, ret)
		       ? wm_err_set(e, WM_E_INVALID,
				    "%s: an address and a port are wanted, 10.0.0.1:8301 or "
				    "[fd00::1]:8301, not \"%.64s\"",
				    name, text)
		       : 0;
}

static int advertised(const struct wm_settings *s, const char *node_address,
		      const struct wm_peer_addr *bind, struct wm_peer_addr *ret, struct wm_err *e)
{
	char text[INET6_ADDRSTRLEN + 8];
	int r;

	if (*s->sync_advertise) {
		r = parse("sync.advertise", s->sync_advertise, ret, e);
	} else if (!is_any(&bind->ip)) {
		*ret = *bind;
		return 0;
	} else {
		snprintf(text, sizeof(text), strchr(node_address, ':') ? "[%s]:%u" : "%s:%u",
			 node_address, bind->port);
		r = parse("node.address", text, ret, e);
	}
	if (!r && is_any(&ret->ip))
		r = wm_err_set(
			e, WM_E_INVALID,
			"sync.advertise: an address that others reach is wanted, not \"%.64s\"",
			s->sync_advertise);
	return r;
}

/* A member of another machine would take our word that it finds us on its own loopback. */
static int check_seeds(const struct wm_settings *s, const struct wm_peer_addr *advertise,
		       struct wm_err *e)
{
	if (!is_loopback(&advertise->ip))
		return 0;
	for (char *const *seed = s->sync_join; *seed; seed++)
		if (strncmp(*seed, "127.", 4) != 0 && strncmp(*seed, "[::1]", 5) != 0 &&
		    strncmp(*seed, "localhost", 9) != 0)
			return wm_err_set(e, WM_E_INVALID,
					  "sync.advertise: the agent would be known by a loopback "
					  "address, which %.64s cannot reach; set it, or "
					  "node.address",
					  *seed);
	return 0;
}

static void etcd_of(const struct wm_settings *s, struct wm_sync_etcd *ret)
{
	*ret = (struct wm_sync_etcd){.endpoints = s->sync_etcd_endpoints,
				     .user = s->sync_etcd_user,
				     .password_file = s->sync_etcd_password_file,
				     .ca_file = s->sync_etcd_ca_file,
				     .cert_file = s->sync_etcd_cert_file,
				     .key_file = s->sync_etcd_key_file,
				     .lease_s = (unsigned)(s->sync_etcd_lease_ms / 1000)};
	if (*s->sync_etcd_prefix)
		snprintf(ret->prefix, sizeof(ret->prefix), "%s", s->sync_etcd_prefix);
	else
		snprintf(ret->prefix, sizeof(ret->prefix), "/waymark/%.100s/", s->node_datacenter);
}

int wm_config_sync(const struct wm_settings *s, const char *node_address,
		   struct wm_sync_config *ret, struct wm_err *e)
{
	enum wm_member_profile profile = *s->sync_profile == 'w'     ? WM_MEMBER_WAN
					 : s->sync_profile[1] == 'o' ? WM_MEMBER_LOCAL
								     : WM_MEMBER_LAN;
	int r;

	ret->datacenter = s->node_datacenter;
	ret->data_dir = s->node_data_dir;
	ret->node_address = node_address;
	ret->by_etcd = strcmp(s->sync_mode, "etcd") == 0;
	if (ret->by_etcd) {
		etcd_of(s, &ret->etcd);
		return 0;
	}
	r = parse("sync.bind", s->sync_bind, &ret->bind, e);

	if (!r)
		r = advertised(s, node_address, &ret->bind, &ret->advertise, e);
	if (!r)
		r = check_seeds(s, &ret->advertise, e);
	if (r)
		return r;
	ret->join = s->sync_join;
	ret->timers = *wm_member_profile(profile);
	if (s->sync_probe_interval_ms)
		ret->timers.probe_interval = (unsigned)s->sync_probe_interval_ms;
	if (s->sync_probe_timeout_ms)
		ret->timers.probe_timeout = (unsigned)s->sync_probe_timeout_ms;
	ret->timers.reap = (unsigned)s->sync_reap_ms;
	if (ret->timers.probe_timeout >= ret->timers.probe_interval)
		return wm_err_set(e, WM_E_INVALID,
				  "sync.probe_timeout: less than sync.probe_interval (%u ms) is "
				  "wanted, not %u ms",
				  ret->timers.probe_interval, ret->timers.probe_timeout);
	ret->push_pull_ms = s->sync_push_pull_interval_ms;
	ret->restart_grace_ms = s->sync_restart_grace_ms;
	ret->conflicts = wm_merge_rule(s->sync_conflicts);
	ret->insecure = s->sync_insecure;
	ret->ca_file = s->sync_ca_file;
	ret->cert_file = s->sync_cert_file;
	ret->key_file = s->sync_key_file;
	ret->keyring_file = s->sync_keyring_file;
	return 0;
}
