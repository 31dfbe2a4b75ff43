/* SPDX-License-Identifier: Apache-2.0 */
/* pods.c - Kubernetes' Pods of this node: GET /v1/waymark/pods, and who a process is among them. */
#include "internal.h"
#include "userspace/source/kube_cgroup.h"

#include <arpa/inet.h>

void wm_api_put_pod(struct wm_json *j, const struct wm_api *a, const char *cgroup,
		    const struct in6_addr *address)
{
	const struct wm_kube_pod_here *pod;
	struct wm_kube_cgroup at;

	if (!a->d.pods)
		return;
	pod = wm_kube_pods_of(a->d.pods, cgroup, address, &at);
	wm_json_ks(j, "pod", pod ? pod->key : "");
	wm_json_ks(j, "container", at.container);
}

static void put_address(struct wm_json *j, const struct in6_addr *a)
{
	char text[INET6_ADDRSTRLEN] = "";

	if (IN6_IS_ADDR_V4MAPPED(a))
		inet_ntop(AF_INET, &a->s6_addr[12], text, sizeof(text));
	else
		inet_ntop(AF_INET6, a, text, sizeof(text));
	wm_json_string(j, text);
}

void wm_native_pods(struct wm_call *c)
{
	const struct wm_kube_pod_table *all = c->api->d.pods;
	const struct wm_kube_pod_here *pod;
	struct wm_json j;
	size_t pos = 0;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	while (all && (pod = wm_kube_pods_next(all, &pos))) {
		wm_json_open(&j, '{');
		wm_json_ks(&j, "pod", pod->key);
		wm_json_ks(&j, "uid", pod->uid);
		wm_json_kopen(&j, "addresses", '[');
		for (unsigned n = 0; n < pod->addresses_count; n++)
			put_address(&j, &pod->addresses[n]);
		wm_json_close(&j, ']');
		wm_json_kb(&j, "host_network", pod->host_network);
		wm_json_close(&j, '}');
	}
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, 0);
}
