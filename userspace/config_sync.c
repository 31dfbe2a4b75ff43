/* SPDX-License-Identifier: Apache-2.0 */
/* config_sync.c - what the settings of the mesh mean on this machine, and what cannot work. */
#include "config_sync.h"

#include "userspace/base/macros.h"
#include "userspace/security/cert.h"
#include "userspace/security/seal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

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
static int check_seed(const char *seed, const struct wm_peer_addr *advertise, struct wm_err *e)
{
	if (!is_loopback(&advertise->ip) || strncmp(seed, "127.", 4) == 0 ||
	    strncmp(seed, "[::1]", 5) == 0 || strncmp(seed, "localhost", 9) == 0)
		return 0;
	return wm_err_set(e, WM_E_INVALID,
			  "sync.advertise: the agent would be known by a loopback address, which "
			  "%.64s cannot reach; set it, or node.address",
			  seed);
}

static int check_seeds(const struct wm_settings *s, const struct wm_peer_addr *advertise,
		       struct wm_err *e)
{
	for (char *const *seed = s->sync_join; *seed; seed++)
		if (check_seed(*seed, advertise, e))
			return e->code;
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
	ret->join_file = s->sync_join_file;
	ret->role = strcmp(s->sync_role, "leaf") ? WM_MEMBER_FULL : WM_MEMBER_LEAF;
	ret->interest = s->sync_interest;
	ret->interest_ttl_ms = s->sync_interest_ttl_ms;
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
	ret->priority = (uint32_t)s->sync_priority;
	ret->insecure = s->sync_insecure;
	ret->ca_file = s->sync_ca_file;
	ret->cert_file = s->sync_cert_file;
	ret->key_file = s->sync_key_file;
	ret->keyring_file = s->sync_keyring_file;
	return 0;
}

/* --- what cannot work -------------------------------------------------------------------------
 */
struct judge {
	const struct wm_sync_config *c;
	int64_t now_s;
	wm_config_sync_fault fn;
	void *arg;
	unsigned refused;
};

static void refuse(struct judge *j, const struct wm_err *e)
{
	j->refused++;
	j->fn(j->arg, e, true);
}

/* @p why begins with the path of a file: put the setting that names it before it. */
static void refuse_file(struct judge *j, const struct wm_err *why)
{
	const struct {
		const char *setting, *path;
	} files[] = {{"sync.ca_file", j->c->ca_file},
		     {"sync.cert_file", j->c->cert_file},
		     {"sync.key_file", j->c->key_file},
		     {"sync.keyring_file", j->c->keyring_file}};
	const char *setting = "sync.cert_file";
	struct wm_err e = {0};
	size_t best = 0;

	for (size_t n = 0; n < WM_ARRAY_LEN(files); n++) {
		size_t len = strlen(files[n].path);

		if (len <= best || strncmp(why->text, files[n].path, len) != 0)
			continue;
		best = len; /* of a.pem and a.pem.old the longer one */
		setting = files[n].setting;
	}
	wm_err_set(&e, why->code, "%s: %s", setting, why->text);
	refuse(j, &e);
}

static void judge_seeds(struct judge *j)
{
	char host[WM_SYNC_HOST_MAX + 1];
	struct wm_err e = {0};
	uint16_t port;

	for (char *const *seed = j->c->join; *seed; seed++) {
		if (!wm_sync_seed_parse(*seed, host, &port))
			continue;
		wm_err_set(&e, WM_E_INVALID, "sync.join: " WM_SYNC_SEED_WANTED, *seed);
		refuse(j, &e);
	}
}

static void on_bad_line(void *arg, const struct wm_err *why)
{
	struct judge *j = arg;
	struct wm_err e = {0};

	wm_err_set(&e, why->code, "sync.join_file: %s", why->text);
	refuse(j, &e);
}

unsigned wm_config_sync_join_file(const struct wm_sync_config *c, wm_config_sync_fault fn,
				  void *arg)
{
	struct wm_sync_seed_list *list = calloc(1, sizeof(*list));
	struct judge j = {.c = c, .fn = fn, .arg = arg};
	struct wm_err e = {0};

	if (list && !c->by_etcd && *c->join_file) {
		if (wm_sync_seed_file(c->join_file, list, on_bad_line, &j, &e))
			on_bad_line(&j, &e);
		for (unsigned n = 0; n < list->count; n++)
			if (check_seed(list->seeds[n], &c->advertise, &e))
				refuse(&j, &e);
	}
	free(list);
	return j.refused;
}

static void judge_dates(struct judge *j, const struct wm_cert *cert)
{
	struct wm_cert_validity v = wm_cert_validity(cert);
	bool over = v.not_after_s < j->now_s;
	time_t at = (time_t)(over ? v.not_after_s : v.not_before_s);
	struct wm_err e = {0};
	char when[64];
	struct tm tm;

	if (!over && v.not_before_s <= j->now_s)
		return;
	if (!gmtime_r(&at, &tm) || !strftime(when, sizeof(when), "%Y-%m-%d %H:%M UTC", &tm))
		snprintf(when, sizeof(when), "%lld", (long long)at);
	wm_err_set(&e, WM_E_INVALID, "sync.cert_file: %s is %s %s: other agents refuse it",
		   j->c->cert_file, over ? "expired since" : "not valid before", when);
	j->fn(j->arg, &e, false);
}

static void judge_certificate(struct judge *j)
{
	const struct wm_cert_files f = {j->c->ca_file, j->c->cert_file, j->c->key_file};
	struct wm_cert *cert = NULL;
	struct wm_err e = {0};

	if (!*f.ca || !*f.cert || !*f.key)
		return; /* that one is missing is told of already */
	if (wm_cert_load(&f, &cert, &e)) {
		refuse_file(j, &e);
		return;
	}
	if (wm_sync_identity_check(wm_cert_identity(cert), j->c->node_name, j->c->datacenter, &e))
		refuse(j, &e);
	judge_dates(j, cert);
	wm_cert_free(cert);
}

static void judge_keyring(struct judge *j)
{
	struct wm_keyring *k = NULL;
	struct wm_err e = {0};

	if (!*j->c->keyring_file)
		return;
	if (wm_keyring_load(j->c->keyring_file, &k, &e))
		refuse_file(j, &e);
	wm_keyring_free(k);
}

static void judge_etcd(struct judge *j)
{
	const struct {
		const char *setting, *path;
	} files[] = {{"sync.etcd_password_file", j->c->etcd.password_file},
		     {"sync.etcd_ca_file", j->c->etcd.ca_file},
		     {"sync.etcd_cert_file", j->c->etcd.cert_file},
		     {"sync.etcd_key_file", j->c->etcd.key_file}};
	struct wm_err e = {0};

	for (size_t n = 0; n < WM_ARRAY_LEN(files); n++) {
		if (!*files[n].path || !access(files[n].path, R_OK))
			continue;
		wm_err_set(&e, -errno, "%s: cannot read %s: %s", files[n].setting, files[n].path,
			   strerror(errno));
		refuse(j, &e);
	}
}

/* It would be passed over in silence. */
static void judge_interest(struct judge *j)
{
	struct wm_err e = {0};

	if (j->c->role == WM_MEMBER_LEAF || !*j->c->interest)
		return;
	wm_err_set(&e, WM_E_INVALID,
		   "sync.interest: of leaves alone, and sync.role is full, which has everything");
	j->fn(j->arg, &e, false);
}

unsigned wm_config_sync_examine(const struct wm_sync_config *c, int64_t now_s,
				wm_config_sync_fault fn, void *arg)
{
	struct judge j = {.c = c, .now_s = now_s, .fn = fn, .arg = arg};

	if (c->by_etcd) {
		judge_etcd(&j);
		return j.refused;
	}
	judge_seeds(&j);
	judge_interest(&j);
	if (!c->insecure) {
		judge_certificate(&j);
		judge_keyring(&j);
	}
	return j.refused;
}

static int try_bind(const struct wm_peer_addr *at, int type)
{
	int family = wm_peer_addr_v4(at) ? AF_INET : AF_INET6, one = 1, off = 0;
	_cleanup_close_ int fd = socket(family, type | SOCK_CLOEXEC, 0);
	struct sockaddr_storage sa;
	socklen_t len = wm_peer_addr_to_sockaddr(at, family, &sa);

	if (fd < 0)
		return -errno;
	if (type == SOCK_STREAM) /* as the start does: what only lingers is not in the way */
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET6 && is_any(&at->ip))
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (struct sockaddr *)&sa, len) || (type == SOCK_STREAM && listen(fd, 1)))
		return -errno;
	return 0;
}

int wm_config_sync_bind(const struct wm_sync_config *c, bool running, struct wm_err *e)
{
	static const struct {
		int type;
		const char *name;
	} kinds[] = {{SOCK_DGRAM, "UDP"}, {SOCK_STREAM, "TCP"}};
	struct wm_peer_addr at = c->bind;
	char text[WM_PEER_ADDR_TEXT];
	int r;

	wm_peer_addr_format(&c->bind, text, sizeof(text));
	if (running)
		at.port = 0;
	for (size_t n = 0; n < WM_ARRAY_LEN(kinds); n++) {
		r = try_bind(&at, kinds[n].type);
		if (r == -EADDRNOTAVAIL)
			return wm_err_set(e, r, "sync.bind: %s is no address of this machine",
					  text);
		if (r == -EADDRINUSE)
			return wm_err_set(e, r, "sync.bind: another program has %s (%s)", text,
					  kinds[n].name);
		if (r)
			return wm_err_set(e, r, "sync.bind: %s (%s): %s", text, kinds[n].name,
					  strerror(-r));
	}
	return 0;
}
