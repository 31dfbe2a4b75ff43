/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "config_consul.h"
#include "config_dns.h"
#include "config_kubernetes.h"
#include "config_sync.h"
#include "userspace/api/policy_dir.h"
#include "userspace/api/rules_file.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"
#include "userspace/dns/server.h"
#include "userspace/registry/registry.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* of the kernel's tables, where settings do not say */
#define FULL_SERVICES	 16384
#define FULL_BACKENDS	 131072
#define FULL_CONNECTIONS 131072
#define KUBE_SERVICES                                                                              \
	32768 /* 10,000 Services of some ports: each port behind the first has a set */
#define LEAF_SERVICES	 8192
#define LEAF_BACKENDS	 16384
#define LEAF_CONNECTIONS 16384
#define SLOTS_PER_BACKEND                                                                          \
	4 /* a range is a power of two, and a set has an old and a new one while it is published   \
	   */

static int bad_name(const struct wm_settings *s, struct wm_err *e)
{
	return wm_err_set(e, WM_E_INVALID,
			  "node.name: letters, digits and '-' only, no '-' at either end, not "
			  "\"%.64s\"",
			  s->node_name);
}

/* A host name is made to fit: what is no letter or digit is a dash within. */
int wm_config_node_name(const struct wm_settings *s, char out[WM_NODE_NAME_MAX + 1],
			struct wm_err *e)
{
	char host[256] = "";
	const char *from = s->node_name;
	size_t n = 0;

	if (!*from) {
		if (gethostname(host, sizeof(host) - 1))
			return wm_err_set(e, -errno, "host name: %s", strerror(errno));
		host[strcspn(host, ".")] = '\0';
		from = host;
	}
	for (; *from && n < WM_NODE_NAME_MAX; from++) {
		unsigned char c = (unsigned char)tolower((unsigned char)*from);

		if (!isalnum(c) && c != '-') {
			if (*s->node_name)
				return bad_name(s, e);
			c = '-';
		}
		if (n || c != '-' || *s->node_name)
			out[n++] = (char)c;
	}
	if (*s->node_name && (out[0] == '-' || out[n - 1] == '-'))
		return bad_name(s, e);
	while (n && out[n - 1] == '-')
		n--;
	out[n] = '\0';
	if (!n)
		return wm_err_set(e, WM_E_INVALID, "node.name: the host name is empty, set one");
	return 0;
}

/* A connected datagram socket sends nothing, but knows the address it would send from. */
static bool route_source(int family, char out[INET6_ADDRSTRLEN])
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} at = {.in6 = {.sin6_family = (sa_family_t)family}};
	socklen_t len = family == AF_INET ? sizeof(at.in) : sizeof(at.in6);
	_cleanup_close_ int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	/* documentation addresses, RFC 5737 and 3849: only the default route leads there */
	if (family == AF_INET)
		inet_pton(AF_INET, "192.0.2.1", &at.in.sin_addr);
	else
		inet_pton(AF_INET6, "2001:db8::1", &at.in6.sin6_addr);
	at.in.sin_port = htons(9);
	return fd >= 0 && !connect(fd, &at.any, len) && !getsockname(fd, &at.any, &len) &&
	       inet_ntop(family,
			 family == AF_INET ? (void *)&at.in.sin_addr : (void *)&at.in6.sin6_addr,
			 out, INET6_ADDRSTRLEN);
}

int wm_config_node_address(const struct wm_settings *s, char out[INET6_ADDRSTRLEN],
			   struct wm_err *e)
{
	unsigned char any[16];

	if (*s->node_address) {
		if (inet_pton(AF_INET, s->node_address, any) != 1 &&
		    inet_pton(AF_INET6, s->node_address, any) != 1)
			return wm_err_set(e, WM_E_INVALID,
					  "node.address: an IPv4 or IPv6 address is wanted, not "
					  "\"%.64s\"",
					  s->node_address);
		snprintf(out, INET6_ADDRSTRLEN, "%s", s->node_address);
	} else if (!route_source(AF_INET, out) && !route_source(AF_INET6, out)) {
		snprintf(out, INET6_ADDRSTRLEN, "127.0.0.1");
	}
	return 0;
}

/* Does an address of this machine lie in the range? Who steers it takes it away from everybody. */
static bool holds_own(const struct wm_vip_space *v4, const struct in6_addr *v6,
		      char out[INET6_ADDRSTRLEN])
{
	struct ifaddrs *all = NULL;
	bool found = false;

	if (getifaddrs(&all))
		return false;
	for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
		const struct sockaddr_in *in = (const void *)i->ifa_addr;
		const struct sockaddr_in6 *in6 = (const void *)i->ifa_addr;

		if (!i->ifa_addr)
			continue;
		if (v4 && i->ifa_addr->sa_family == AF_INET &&
		    (ntohl(in->sin_addr.s_addr) & v4->mask) == v4->base)
			found = inet_ntop(AF_INET, &in->sin_addr, out, INET6_ADDRSTRLEN);
		if (v6 && i->ifa_addr->sa_family == AF_INET6 && memcmp(&in6->sin6_addr, v6, 8) == 0)
			found = inet_ntop(AF_INET6, &in6->sin6_addr, out, INET6_ADDRSTRLEN);
	}
	freeifaddrs(all);
	return found;
}

/* Ranges that have a meaning of their own: "this network", loopback, link-local, multicast (RFC
 * 6890).
 */
static bool is_special4(uint32_t base, uint32_t mask)
{
	static const struct {
		uint32_t base, mask;
	} special[] = {{0x00000000, 0xff000000},
		       {0x7f000000, 0xff000000},
		       {0xa9fe0000, 0xffff0000},
		       {0xe0000000, 0xf0000000}};

	for (size_t i = 0; i < WM_ARRAY_LEN(special); i++)
		if (!((base ^ special[i].base) & mask & special[i].mask))
			return true;
	return false;
}

static int range4(const struct wm_settings *s, struct wm_vip_space *ret, struct wm_err *e)
{
	char text[64], own[INET6_ADDRSTRLEN], *slash, *end;
	struct in_addr v4;
	unsigned long bits;

	snprintf(text, sizeof(text), "%s", s->vip_ipv4);
	slash = strchr(text, '/');
	bits = slash ? strtoul(slash + 1, &end, 10) : 0;
	if (slash)
		*slash = '\0';
	if (!slash || *end || bits < 4 || bits > 24 || inet_pton(AF_INET, text, &v4) != 1)
		return wm_err_set(e, WM_E_INVALID,
				  "vip.ipv4: a range such as 240.0.0.0/4 is wanted, /4 to /24, not "
				  "\"%.40s\"",
				  s->vip_ipv4);
	ret->mask = ~0u << (32 - bits);
	ret->base = ntohl(v4.s_addr) & ret->mask;
	if (ret->base != ntohl(v4.s_addr))
		return wm_err_set(
			e, WM_E_INVALID,
			"vip.ipv4: %s has bits behind its /%lu, the range begins before it",
			s->vip_ipv4, bits);
	if (is_special4(ret->base, ret->mask))
		return wm_err_set(
			e, WM_E_INVALID,
			"vip.ipv4: %s holds addresses with a meaning of their own (loopback, "
			"link-local, multicast); 240.0.0.0/4 is nobody's",
			s->vip_ipv4);
	if (holds_own(ret, NULL, own))
		return wm_err_set(e, WM_E_INVALID,
				  "vip.ipv4: %s holds %s, an address of this machine", s->vip_ipv4,
				  own);
	return 0;
}

static int range6(const struct wm_settings *s, struct wm_vip_space *ret, struct wm_err *e)
{
	char text[64], own[INET6_ADDRSTRLEN], *slash;

	snprintf(text, sizeof(text), "%s", s->vip_ipv6);
	slash = strchr(text, '/');
	if (slash)
		*slash = '\0';
	if (!slash || strcmp(slash + 1, "64") != 0 || inet_pton(AF_INET6, text, &ret->prefix) != 1)
		return wm_err_set(
			e, WM_E_INVALID,
			"vip.ipv6: a prefix such as fd77:6179:6d61:726b::/64 is wanted, not "
			"\"%.50s\"",
			s->vip_ipv6);
	if (IN6_IS_ADDR_MULTICAST(&ret->prefix) || IN6_IS_ADDR_LINKLOCAL(&ret->prefix) ||
	    !ret->prefix.s6_addr[0])
		return wm_err_set(
			e, WM_E_INVALID,
			"vip.ipv6: %s holds addresses with a meaning of their own (loopback, "
			"link-local, multicast); take one of fd00::/8",
			s->vip_ipv6);
	if (holds_own(NULL, &ret->prefix, own))
		return wm_err_set(e, WM_E_INVALID,
				  "vip.ipv6: %s holds %s, an address of this machine", s->vip_ipv6,
				  own);
	return 0;
}

/* Of what an agent on a read-only one told, nothing would last. */
int wm_config_data_dir(const char *path, struct wm_err *e)
{
	int err = mkdir(path, 0700) && errno != EEXIST ? errno : 0;

	if (!err && access(path, W_OK) && errno == EROFS)
		err = EROFS;
	if (err == EROFS)
		return wm_err_set(e, -err,
				  "node.data_dir %s: %s (EROFS): mount it for writing, or name "
				  "another directory",
				  path, strerror(err));
	return err ? wm_err_set(e, -err, "node.data_dir %s: %s", path, strerror(err)) : 0;
}

int wm_config_ranges(const struct wm_settings *s, struct wm_vip_space *ret, struct wm_err *e)
{
	int r = range4(s, ret, e);

	return r ? r : range6(s, ret, e);
}

/* A leaf holds 4,096 services of others at most (interest.h); its tables stay in its memory. */
void wm_config_sizes(const struct wm_settings *s, struct wm_plane_config *c)
{
	unsigned domains = *s->node_alt_domain ? 2 : 1;
	bool leaf = strcmp(s->sync_mode, "off") != 0 && strcmp(s->sync_role, "leaf") == 0;
	bool kube = s->source_kubernetes_enabled && !leaf;
	uint32_t sets = leaf ? LEAF_SERVICES : kube ? KUBE_SERVICES : FULL_SERVICES;
	uint32_t backends = leaf ? LEAF_BACKENDS : FULL_BACKENDS;
	uint32_t connections = leaf ? LEAF_CONNECTIONS : FULL_CONNECTIONS;

	c->sets = s->kernel_services_max ? (uint32_t)s->kernel_services_max : sets;
	c->names = c->sets * (2 * domains + (wm_config_kube_domain(s) != NULL));
	c->frontends = s->kernel_frontends_max ? (uint32_t)s->kernel_frontends_max
					       : c->sets * (kube ? 4 : 2);
	c->backends = s->kernel_backends_max ? (uint32_t)s->kernel_backends_max : backends;
	c->connections =
		s->kernel_connections_max ? (uint32_t)s->kernel_connections_max : connections;
	c->slots = c->backends * SLOTS_PER_BACKEND;
}

/* --- what the start would say ------------------------------------------------------------------
 */
struct faults {
	const struct wm_settings *s;
	wm_settings_fault fn;
	void *arg;
	unsigned refused, degraded;
	unsigned apart; /* the kernel serves, but not the mesh, not over TLS, or no cookies */
};

static void refuse(struct faults *f, const struct wm_err *e)
{
	f->refused++;
	f->fn(f->arg, e);
}

static void degrade(void *arg, const struct wm_err *why)
{
	struct faults *f = arg;
	struct wm_err e = {0};

	f->degraded++;
	wm_err_set(&e, why->code, "%s (the agent would run degraded%s)", why->text,
		   f->s->kernel_required ? "; kernel.required: it would not start" : "");
	f->fn(f->arg, &e);
}

static void check_identity(struct faults *f)
{
	char name[WM_NODE_NAME_MAX + 1], address[INET6_ADDRSTRLEN];
	struct wm_vip_space space;
	struct wm_err e = {0};

	if (wm_config_node_name(f->s, name, &e))
		refuse(f, &e);
	if (wm_config_node_address(f->s, address, &e))
		refuse(f, &e);
	if (range4(f->s, &space, &e))
		refuse(f, &e);
	if (range6(f->s, &space, &e))
		refuse(f, &e);
}

/* Can a socket of this machine have the address? Its port is not looked at: a running agent has it.
 */
static int bind_to(const char *text)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} at = {0};
	bool is4 = inet_pton(AF_INET, text, &at.in.sin_addr) == 1;
	_cleanup_close_ int fd = -1;

	at.any.sa_family = is4 ? AF_INET : AF_INET6;
	if (!is4 && inet_pton(AF_INET6, text, &at.in6.sin6_addr) != 1)
		return -EINVAL;
	fd = socket(at.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, &at.any, is4 ? sizeof(at.in) : sizeof(at.in6)))
		return -errno;
	return 0;
}

/* @p given: those that the machine has not, the agent gives it. */
static void check_addresses(struct faults *f, const char *name, char *const *list, bool given)
{
	struct wm_err e = {0};
	int r;

	for (; *list; list++) {
		r = bind_to(*list);
		if (r == -EADDRNOTAVAIL && given)
			continue;
		if (r == -EINVAL)
			wm_err_set(&e, WM_E_INVALID,
				   "%s: an IPv4 or IPv6 address is wanted, not \"%.64s\"", name,
				   *list);
		else if (r)
			wm_err_set(&e, r, "%s: %s is no address of this machine (%s)", name, *list,
				   strerror(-r));
		if (r)
			refuse(f, &e);
	}
}

/* Only writing tells: root may do anything in a file system that takes nothing. @return 0 or
 * negative errno. */
static int write_in(const char *dir)
{
	char path[300];
	int fd, r = 0;

	snprintf(path, sizeof(path), "%s/.waymark-check-XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, "x", 1) != 1 || fsync(fd))
		r = -errno;
	close(fd);
	unlink(path);
	return r;
}

/* The directory itself, or where it would be made. */
static void check_dir(struct faults *f, const char *name, const char *path, bool made)
{
	char parent[256], *slash;
	struct wm_err e = {0};
	struct stat st;
	int r;

	snprintf(parent, sizeof(parent), "%s", path);
	if (made && stat(path, &st) && errno == ENOENT) {
		slash = strrchr(parent, '/');
		if (slash)
			slash[slash == parent] = '\0';
	}
	if (stat(parent, &st))
		wm_err_set(&e, -errno, "%s: %s: %s", name, parent, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		wm_err_set(&e, -ENOTDIR, "%s: %s is no directory", name, parent);
	else if ((r = write_in(parent)))
		wm_err_set(&e, r, "%s: cannot write in %s: %s", name, parent, strerror(-r));
	if (e.code)
		refuse(f, &e);
}

/* Directory of the socket: the start makes the last part of it. */
static void check_socket(struct faults *f)
{
	char dir[256], *slash;

	snprintf(dir, sizeof(dir), "%s", f->s->http_socket);
	slash = strrchr(dir, '/');
	if (slash && slash != dir) {
		*slash = '\0';
		check_dir(f, "http.socket", dir, true);
	}
}

static const char *shared_address(char *const *list, char *const *other)
{
	for (; *list; list++)
		for (char *const *o = other; *o; o++)
			if (strcmp(*list, *o) == 0)
				return *list;
	return NULL;
}

/* No two may want the same address and port of TCP. */
static void check_ports(struct faults *f)
{
	const struct wm_settings *s = f->s;
	const struct {
		const char *name;
		uint64_t port;
		char *const *addresses;
	} all[] = {{"http.port", s->http_port, s->http_addresses},
		   {"http.metrics_port", s->http_metrics_port, s->http_metrics_addresses},
		   {"dns.port", s->dns_port, s->dns_addresses},
		   {"dns.port53_addresses", 53, s->dns_port53_addresses},
		   {"dns.tls_port", s->dns_tls_port, s->dns_tls_addresses}};
	struct wm_err e = {0};

	for (size_t i = 0; i < WM_ARRAY_LEN(all); i++) {
		for (size_t k = 0; k < i; k++) {
			const char *shared = shared_address(all[i].addresses, all[k].addresses);

			if (!all[i].port || all[i].port != all[k].port || !shared)
				continue;
			wm_err_set(&e, WM_E_INVALID, "%s: %s:%llu is %s's as well", all[i].name,
				   shared, (unsigned long long)all[i].port, all[k].name);
			refuse(f, &e);
		}
	}
}

/* The port says what a request may ask for. */
static void check_metrics_port(struct faults *f)
{
	const struct wm_settings *s = f->s;
	struct wm_err e = {0};

	if (!*s->http_metrics_addresses || s->http_metrics_port != s->http_port)
		return;
	wm_err_set(&e, WM_E_INVALID, "http.metrics_port: %llu is http.port as well",
		   (unsigned long long)s->http_port);
	refuse(f, &e);
}

static void check_meta(struct faults *f)
{
	struct wm_err e = {0};

	if (wm_node_meta_check(f->s->node_meta, &e))
		refuse(f, &e);
}

static void check_policies(const struct wm_settings *s, struct faults *f)
{
	struct wm_policy_dir *d = NULL;
	struct wm_err e = {0};

	if (!*s->policy_dir)
		return;
	if (wm_policy_dir_read(s->policy_dir, &d, &e))
		refuse(f, &e);
	wm_policy_dir_free(d);
	if (strcmp(s->sync_role, "leaf") != 0)
		return;
	wm_err_set(&e, WM_E_INVALID,
		   "policy.dir: a leaf (sync.role) writes no policies; name it on a full member");
	refuse(f, &e);
}

static void check_files(struct faults *f)
{
	const struct wm_settings *s = f->s;
	struct wm_rules *rules = NULL;
	struct wm_err e = {0}, why = {0};

	if (*s->node_data_dir == '/')
		check_dir(f, "node.data_dir", s->node_data_dir, true);
	if (*s->health_ca_file && access(s->health_ca_file, R_OK)) {
		wm_err_set(&e, -errno, "health.ca_file: cannot read %s: %s", s->health_ca_file,
			   strerror(errno));
		refuse(f, &e);
	}
	if (*s->registry_rules_file && wm_rules_read(s->registry_rules_file, &rules, &why)) {
		wm_err_set(&e, why.code, "registry.rules_file: %s", why.text);
		refuse(f, &e);
	}
	wm_rules_free(rules);
	check_policies(s, f);
}

/* Does an agent of these settings answer on its socket? It has the ports then. */
static bool is_running(const struct wm_settings *s)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!*s->http_socket || strlen(s->http_socket) >= sizeof(at.sun_path))
		return false;
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", s->http_socket);
	return fd >= 0 && !connect(fd, (struct sockaddr *)&at, sizeof(at));
}

static void on_mesh_fault(void *arg, const struct wm_err *e, bool refused)
{
	struct faults *f = arg;

	if (refused) {
		refuse(f, e);
		return;
	}
	f->apart++;
	f->fn(f->arg, e);
}

static void check_upstream(struct faults *f)
{
	struct wm_vip_space vips = {0};
	struct wm_upstream_config c;
	struct wm_err e = {0}, told = {0};

	if (wm_config_ranges(f->s, &vips, &told)) /* check_identity() says it */
		vips = (struct wm_vip_space){0};
	if (wm_config_upstream(f->s, &vips, &c, &e))
		refuse(f, &e);
}

static void check_dns_tls(struct faults *f)
{
	struct wm_err e = {0};
	int r = wm_config_dns_tls(f->s, (int64_t)time(NULL), &e);

	if (r == -EKEYEXPIRED) {
		f->apart++;
		f->fn(f->arg, &e);
	} else if (r) {
		refuse(f, &e);
	}
}

static void check_cookies(struct faults *f)
{
	struct wm_err e = {0};

	if (!f->s->dns_cookies || !*f->s->dns_cookie_key_file ||
	    !wm_dns_cookies_check(f->s->dns_cookie_key_file, &e))
		return;
	f->apart++; /* clients get none */
	f->fn(f->arg, &e);
}

static void check_statics(struct faults *f)
{
	struct wm_statics *t = NULL;
	struct wm_err e = {0};

	if (wm_config_statics(f->s, f->s, &t, &e))
		refuse(f, &e);
	wm_statics_free(t);
}

static void check_mesh(struct faults *f)
{
	char name[WM_NODE_NAME_MAX + 1], address[INET6_ADDRSTRLEN];
	struct wm_sync_config c = {.node_name = name};
	struct wm_err e = {0};

	if (strcmp(f->s->sync_mode, "off") == 0 || wm_config_node_name(f->s, name, NULL) ||
	    wm_config_node_address(f->s, address, NULL))
		return; /* the latter were told of */
	if (wm_config_sync(f->s, address, &c, &e)) {
		refuse(f, &e);
		return;
	}
	if (!c.by_etcd && wm_config_sync_bind(&c, is_running(f->s), &e))
		refuse(f, &e);
	(void)wm_config_sync_examine(&c, (int64_t)time(NULL), on_mesh_fault, f);
	(void)wm_config_sync_join_file(&c, on_mesh_fault, f);
}

static void check_consul(struct faults *f)
{
	struct wm_consul_config c;
	struct wm_err e = {0};

	if (*f->s->source_consul_addresses && wm_config_consul(f->s, &c, &e))
		refuse(f, &e);
}

static void check_kubernetes(struct faults *f)
{
	struct wm_guard_prefix external[WM_CONFIG_EXTERNAL_MAX];
	struct wm_kubernetes_config c;
	struct wm_err e = {0};

	if (f->s->source_kubernetes_enabled &&
	    wm_config_kubernetes(f->s, f->s->node_name, external, &c, &e))
		refuse(f, &e);
}

static void check_custom(struct faults *f)
{
	const char *path = f->s->kernel_custom;
	char name[WM_POLICY_LABEL_MAX + 1];
	struct wm_err e = {0};

	if (!*path)
		return;
	if (wm_plane_custom_name(path, name, sizeof(name))) {
		wm_err_set(
			&e, -EINVAL,
			"kernel.custom: %.200s: the file's name without .bpf.o must be a label of "
			"1 to %d letters, digits and hyphens",
			path, WM_POLICY_LABEL_MAX);
		refuse(f, &e);
	} else if (wm_plane_custom_try(path, &e)) {
		degrade(f, &e);
	}
}

static void check_kernel(struct faults *f)
{
	const struct wm_settings *s = f->s;
	struct wm_plane_config c = {.pin_dir = s->kernel_pin_dir,
				    .cgroup = *s->kernel_cgroup ? s->kernel_cgroup : NULL,
				    .lo_devices = (const char *const *)s->kernel_lo_devices,
				    .attach_dns = s->kernel_dns,
				    .attach_connect = s->kernel_connect,
				    .memory_max = s->kernel_memory_max};

	if (!s->kernel_enabled)
		return;
	wm_config_sizes(s, &c);
	wm_plane_foresee(&c, degrade, f);
	check_custom(f);
}

enum wm_config_verdict wm_config_check(const struct wm_settings *s, wm_settings_fault fn, void *arg)
{
	struct faults f = {.s = s, .fn = fn, .arg = arg};

	check_identity(&f);
	if (s->http_port)
		check_addresses(&f, "http.addresses", s->http_addresses, false);
	check_addresses(&f, "http.metrics_addresses", s->http_metrics_addresses, false);
	if (s->dns_port)
		check_addresses(&f, "dns.addresses", s->dns_addresses, false);
	check_addresses(&f, "dns.port53_addresses", s->dns_port53_addresses, s->dns_own_device);
	check_addresses(&f, "dns.tls_addresses", s->dns_tls_addresses, false);
	check_ports(&f);
	check_metrics_port(&f);
	check_meta(&f);
	if (*s->http_socket)
		check_socket(&f);
	check_files(&f);
	check_upstream(&f);
	check_cookies(&f);
	check_statics(&f);
	check_dns_tls(&f);
	check_mesh(&f);
	check_consul(&f);
	check_kubernetes(&f);
	check_kernel(&f);
	return f.refused    ? WM_CONFIG_REFUSED
	       : f.degraded ? (s->kernel_required ? WM_CONFIG_REFUSED : WM_CONFIG_DEGRADED)
	       : f.apart    ? WM_CONFIG_DEGRADED
			    : WM_CONFIG_OK;
}

static bool is_loopback(const char *address)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (inet_pton(AF_INET, address, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
	return inet_pton(AF_INET6, address, &v6) == 1 &&
	       (IN6_IS_ADDR_LOOPBACK(&v6) ||
		(IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == IN_LOOPBACKNET));
}

void wm_config_warn_open(const struct wm_settings *s, const char *address)
{
	if (!is_loopback(address))
		wm_warn("http.open", "setting=http.addresses address=%s port=%llu text=%s",
			wm_log_q(address), (unsigned long long)s->http_port,
			wm_log_q(s->http_operator_over_tcp
					 ? "whoever reaches it may read, register, deregister, "
					   "drain "
					   "and set maintenance, and as http.operator_over_tcp is "
					   "on, "
					   "take snapshots with all secrets in them, replace the "
					   "registry, reload and stop the agent"
					 : "whoever reaches it may read, register, deregister, "
					   "drain "
					   "and set maintenance"));
}
