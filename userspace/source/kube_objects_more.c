/* SPDX-License-Identifier: Apache-2.0 */
/* kube_objects_more.c - see kube_objects.h: EndpointSlices, Nodes, Pods, policies. */
#include "kube_objects_internal.h"
#include "userspace/base/macros.h"

#include <string.h>

/* --- EndpointSlices ----------------------------------------------------------------------------
 */
static int read_ports(const json_t *o, struct wm_kube_slice *s, struct wm_err *e)
{
	const json_t *v;
	const char *name;
	uint8_t proto;
	int64_t port;
	size_t n;

	json_array_foreach(json_object_get(o, "ports"), n, v)
	{
		name = kube_text(v, "name");
		proto = kube_proto(kube_text(v, "protocol"));
		if (!kube_number(v, "port", UINT16_MAX, &port) ||
		    (*name && !kube_name_valid(name, WM_KUBE_LABEL_MAX)))
			return kube_wrong(&s->meta, "ports", e);
		if (!proto || !port) /* no port: all of them, which no Service means */
			continue;
		if (s->ports_count == WM_KUBE_PORTS_MAX)
			s->over++;
		else
			s->ports[s->ports_count++] = (struct wm_kube_slice_port){
				.name = name, .port = (uint16_t)port, .proto = proto};
	}
	return 0;
}

int wm_kube_slice_decode(const json_t *o, struct wm_kube_slice *ret, struct wm_err *e)
{
	const char *type = kube_text(o, "addressType");
	size_t count;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = kube_named_meta(o, WM_KUBE_NAME_MAX, &ret->meta, e);
	if (r)
		return r;
	ret->passed = kube_passed(o);
	ret->service = kube_label(o, "kubernetes.io/service-name");
	if (!*ret->service || strcmp(type, "FQDN") == 0) {
		ret->service = "";
		return 0;
	}
	if (!kube_name_valid(ret->service, WM_KUBE_LABEL_MAX))
		return kube_wrong(&ret->meta, "the label kubernetes.io/service-name", e);
	if (strcmp(type, "IPv4") != 0 && strcmp(type, "IPv6") != 0)
		return kube_wrong(&ret->meta, "addressType", e);
	r = read_ports(o, ret, e);
	if (r)
		return r;
	ret->endpoints = json_object_get(o, "endpoints");
	count = json_array_size(ret->endpoints);
	if (count > WM_KUBE_ENDPOINTS_MAX)
		ret->over += (unsigned)(count - WM_KUBE_ENDPOINTS_MAX);
	return 0;
}

/* @return how many. */
static unsigned read_names(const json_t *hints, const char *member, const char **to, unsigned max)
{
	unsigned count = 0;
	const json_t *v;
	const char *name;
	size_t n;

	json_array_foreach(json_object_get(hints, member), n, v)
	{
		name = kube_text(v, "name");
		if (*name && count < max)
			to[count++] = name;
	}
	return count;
}

static void read_hints(const json_t *o, struct wm_kube_endpoint *ep)
{
	const json_t *hints = json_object_get(o, "hints");

	ep->zones_count = read_names(hints, "forZones", ep->zones, WM_KUBE_ZONES_MAX);
	ep->nodes_count = read_names(hints, "forNodes", ep->nodes, WM_KUBE_NODES_MAX);
}

int wm_kube_endpoint_decode(const json_t *o, unsigned nth, struct wm_kube_endpoint *ret,
			    struct wm_err *e)
{
	const json_t *conditions = json_object_get(o, "conditions");
	const json_t *target = json_object_get(o, "targetRef");
	const json_t *address = json_array_get(json_object_get(o, "addresses"), nth);
	bool ready = kube_flag(conditions, "ready", true);

	if (!address)
		return 0;
	memset(ret, 0, sizeof(*ret));
	if (!json_is_string(address) ||
	    wm_kube_address_parse(json_string_value(address), &ret->address))
		return wm_err_set(e, WM_E_INVALID, "an endpoint's address is none: \"%.63s\"",
				  json_is_string(address) ? json_string_value(address) : "");
	ret->node = kube_text(o, "nodeName");
	ret->hostname = kube_text(o, "hostname");
	ret->pod = strcmp(kube_text(target, "kind"), "Pod") == 0 ? kube_text(target, "name") : "";
	if ((*ret->node && !kube_name_valid(ret->node, WM_KUBE_NAME_MAX)) ||
	    (*ret->hostname && !kube_name_valid(ret->hostname, WM_KUBE_LABEL_MAX)) ||
	    (*ret->pod && !kube_name_valid(ret->pod, WM_KUBE_NAME_MAX)))
		return wm_err_set(e, WM_E_INVALID,
				  "an endpoint's nodeName, hostname or pod is no name");
	/* what is not said is as of an API server that knew the member not yet */
	ret->flags = (ready ? WM_KUBE_READY : 0) |
		     (kube_flag(conditions, "serving", ready) ? WM_KUBE_SERVING : 0) |
		     (kube_flag(conditions, "terminating", false) ? WM_KUBE_TERMINATING : 0);
	read_hints(o, ret);
	return 1;
}

/* --- Nodes, Pods, policies ---------------------------------------------------------------------
 */
static void first_of_family(const char *text, struct in6_addr *to, unsigned *count)
{
	struct in6_addr a;

	if (wm_kube_address_parse(text, &a) || *count == 2 ||
	    (*count && wm_kube_is4(&to[0]) == wm_kube_is4(&a)))
		return;
	to[(*count)++] = a;
}

int wm_kube_node_decode(const json_t *o, struct wm_kube_node *ret, struct wm_err *e)
{
	const json_t *status = json_object_get(o, "status"), *v;
	size_t n;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = wm_kube_meta_decode(o, &ret->meta, e);
	if (r)
		return r;
	ret->region = kube_label(o, "topology.kubernetes.io/region");
	ret->zone = kube_label(o, "topology.kubernetes.io/zone");
	json_array_foreach(json_object_get(status, "addresses"), n, v)
	{
		const char *type = kube_text(v, "type");

		if (strcmp(type, "InternalIP") == 0)
			first_of_family(kube_text(v, "address"), ret->internal,
					&ret->internal_count);
		if (strcmp(type, "ExternalIP") == 0)
			first_of_family(kube_text(v, "address"), ret->external,
					&ret->external_count);
	}
	return 0;
}

int wm_kube_pod_decode(const json_t *o, struct wm_kube_pod *ret, struct wm_err *e)
{
	const json_t *spec = json_object_get(o, "spec"), *status = json_object_get(o, "status");
	const json_t *ips = json_object_get(status, "podIPs"), *v;
	const char *phase = kube_text(status, "phase");
	size_t n;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = kube_named_meta(o, WM_KUBE_NAME_MAX, &ret->meta, e);
	if (r)
		return r;
	ret->node = kube_text(spec, "nodeName");
	ret->host_network = kube_flag(spec, "hostNetwork", false);
	ret->out = kube_left_alone(o);
	ret->steer_unknown = kube_steer_unknown(o);
	if (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0)
		return 0; /* its address may be another's already */
	json_array_foreach(ips, n, v)
		first_of_family(kube_text(v, "ip"), ret->addresses, &ret->addresses_count);
	if (!json_array_size(ips))
		first_of_family(kube_text(status, "podIP"), ret->addresses, &ret->addresses_count);
	return 0;
}

static void read_standing(const json_t *o, struct wm_kube_standing *to)
{
	const json_t *status = json_object_get(o, "status"), *v;
	size_t n;

	to->generation = -1;
	json_array_foreach(json_object_get(status, "conditions"), n, v)
	{
		if (strcmp(kube_text(v, "type"), "Accepted") != 0)
			continue;
		(void)kube_number(v, "observedGeneration", INT64_MAX, &to->generation);
		to->accepted = strcmp(kube_text(v, "status"), "True") == 0;
		to->reason = kube_text(v, "reason");
		to->message = kube_text(v, "message");
		to->since = kube_text(v, "lastTransitionTime");
	}
}

int wm_kube_policy_decode(const json_t *o, struct wm_kube_policy *ret, struct wm_err *e)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = kube_named_meta(o, WM_KUBE_NAME_MAX, &ret->meta, e);
	if (r)
		return r;
	(void)kube_number(json_object_get(o, "metadata"), "generation", INT64_MAX,
			  &ret->generation);
	read_standing(o, &ret->standing);
	ret->policy = json_object_get(o, "spec");
	if (!json_is_object(ret->policy))
		return kube_wrong(&ret->meta, "spec", e);
	ret->service = kube_text(ret->policy, "service");
	if (!*ret->service)
		ret->service = ret->meta.name;
	return kube_name_valid(ret->service, WM_KUBE_LABEL_MAX)
		       ? 0
		       : kube_wrong(&ret->meta, "spec.service", e);
}
