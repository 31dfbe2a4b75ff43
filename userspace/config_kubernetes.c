/* SPDX-License-Identifier: Apache-2.0 */
/* config_kubernetes.c - see config_kubernetes.h. */
#include "config_kubernetes.h"

#include "userspace/base/prefix.h"
#include "userspace/model/scope.h"
#include "userspace/source/kube_client.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static int read_external(const struct wm_settings *s, struct wm_guard_prefix *to, unsigned *count,
			 struct wm_err *e)
{
	char *const *all = s->source_kubernetes_external;
	struct wm_err why = {0};

	for (*count = 0; all[*count]; ++*count) {
		if (*count == WM_CONFIG_EXTERNAL_MAX)
			return wm_err_set(e, WM_E_INVALID,
					  "source.kubernetes_external: at most %d networks",
					  WM_CONFIG_EXTERNAL_MAX);
		if (wm_prefix_parse(all[*count], &to[*count], &why))
			return wm_err_set(e, WM_E_INVALID, "source.kubernetes_external: %s",
					  why.text);
	}
	return 0;
}

static int check_servers(const struct wm_settings *s, struct wm_err *e)
{
	char *const *all = s->source_kubernetes_api_servers;

	for (unsigned n = 0; all[n]; n++) {
		if (n == WM_KUBE_SERVERS_MAX)
			return wm_err_set(e, WM_E_INVALID,
					  "source.kubernetes_api_servers: at most %d",
					  WM_KUBE_SERVERS_MAX);
		if (strncmp(all[n], "https://", 8) != 0 && strncmp(all[n], "http://", 7) != 0)
			return wm_err_set(e, WM_E_INVALID,
					  "source.kubernetes_api_servers: URLs such as "
					  "https://10.0.0.1:6443 are wanted, not \"%.64s\"",
					  all[n]);
	}
	return 0;
}

static int check_bare(const struct wm_settings *s, struct wm_err *e)
{
	char *const *all = s->source_kubernetes_consul_names;

	for (unsigned n = 0; all[n]; n++) {
		if (n == WM_KUBERNETES_BARE_MAX)
			return wm_err_set(e, WM_E_INVALID,
					  "source.kubernetes_consul_names: at most %d namespaces",
					  WM_KUBERNETES_BARE_MAX);
		if (!wm_scope_valid(all[n]))
			return wm_err_set(e, WM_E_INVALID,
					  "source.kubernetes_consul_names: \"%.64s\" is no "
					  "namespace's name",
					  all[n]);
	}
	return 0;
}

int wm_config_kubernetes(const struct wm_settings *s, const char *node,
			 struct wm_guard_prefix *external, struct wm_kubernetes_config *ret,
			 struct wm_err *e)
{
	const char *file = s->source_kubernetes_kubeconfig;
	int r = read_external(s, external, &ret->external_count, e);

	r = r ? r : check_servers(s, e);
	r = r ? r : check_bare(s, e);
	if (r)
		return r;
	if (*file && access(file, R_OK)) {
		r = -errno;
		return wm_err_set(e, r, "source.kubernetes_kubeconfig: cannot read %s: %s", file,
				  strerror(-r));
	}
	/* who asks others himself knows every name */
	ret->own_dns = strcmp(s->dns_upstream, "off") == 0
			       ? (const char *const *)s->dns_port53_addresses
			       : NULL;
	ret->kubeconfig = file;
	ret->context = s->source_kubernetes_context;
	ret->servers = (const char *const *)s->source_kubernetes_api_servers;
	ret->node = *s->source_kubernetes_node ? s->source_kubernetes_node : node;
	ret->external = external;
	ret->node_ports = s->source_kubernetes_node_ports;
	ret->balancers = s->source_kubernetes_balancers;
	ret->bare = (const char *const *)s->source_kubernetes_consul_names;
	ret->policies = s->source_kubernetes_policies;
	ret->policy_status = s->source_kubernetes_policy_status;
	ret->instances_max = (unsigned)s->source_kubernetes_instances_max;
	ret->services_max = (unsigned)s->source_kubernetes_services_max;
	return 0;
}
