/* SPDX-License-Identifier: Apache-2.0 */
/* kube_objects.c - see kube_objects.h. Services and what all objects have; the others are in
 * kube_objects_more.c. */
#include "kube_objects_internal.h"
#include "userspace/base/macros.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define AFFINITY_DEFAULT_S 10800 /* of sessionAffinity ClientIP without a timeout: the API's */
#define AFFINITY_MAX_S	   86400 /* the API's bound */

/* --- values ------------------------------------------------------------------------------------
 */
int wm_kube_address_parse(const char *text, struct in6_addr *ret)
{
	struct in6_addr a = {0};
	struct in_addr v4;

	if (inet_pton(AF_INET, text, &v4) == 1) {
		a.s6_addr[10] = a.s6_addr[11] = 0xff;
		memcpy(&a.s6_addr[12], &v4, sizeof(v4));
		if (v4.s_addr == INADDR_ANY)
			return -EINVAL;
	} else if (inet_pton(AF_INET6, text, &a) != 1 || IN6_IS_ADDR_UNSPECIFIED(&a) ||
		   IN6_IS_ADDR_V4MAPPED(&a)) {
		return -EINVAL;
	}
	*ret = a;
	return 0;
}

void wm_kube_address_format(const struct in6_addr *a, char ret[static INET6_ADDRSTRLEN])
{
	if (wm_kube_is4(a))
		(void)inet_ntop(AF_INET, &a->s6_addr[12], ret, INET6_ADDRSTRLEN);
	else
		(void)inet_ntop(AF_INET6, a, ret, INET6_ADDRSTRLEN);
}

const char *kube_text(const json_t *o, const char *member)
{
	const char *s = json_string_value(json_object_get(o, member));

	return s ? s : "";
}

bool kube_flag(const json_t *o, const char *member, bool fallback)
{
	const json_t *v = json_object_get(o, member);

	return json_is_boolean(v) ? json_is_true(v) : fallback;
}

bool kube_number(const json_t *o, const char *member, int64_t max, int64_t *ret)
{
	const json_t *v = json_object_get(o, member);
	int64_t n = json_integer_value(v);

	*ret = n;
	return !v || json_is_null(v) || (json_is_integer(v) && n >= 0 && n <= max);
}

uint8_t kube_proto(const char *name)
{
	return !*name || strcmp(name, "TCP") == 0 ? IPPROTO_TCP
	       : strcmp(name, "UDP") == 0	  ? IPPROTO_UDP
						  : 0;
}

bool kube_name_valid(const char *s, size_t max)
{
	size_t n = 0;

	for (; s[n]; n++) {
		bool mark = s[n] == '-' || (s[n] == '.' && max > WM_KUBE_LABEL_MAX);

		if (n == max || (!(s[n] >= 'a' && s[n] <= 'z') && !(s[n] >= '0' && s[n] <= '9') &&
				 (!mark || !n)))
			return false;
	}
	return n && s[n - 1] != '-' && s[n - 1] != '.';
}

int kube_wrong(const struct wm_kube_meta *m, const char *member, struct wm_err *e)
{
	return wm_err_set(e, WM_E_INVALID, "%.63s%s%.253s: %s is not as the API has it",
			  m->namespace, *m->namespace ? "/" : "", m->name, member);
}

/* --- what all objects have -------------------------------------------------------------------- */
json_t *wm_kube_open(const char *json, size_t len, struct wm_err *e)
{
	json_error_t je;
	json_t *o = json_loadb(json, len, 0, &je);

	if (json_is_object(o))
		return o;
	wm_err_set(e, WM_E_INVALID, "not an object of the API: %s", o ? "no object" : je.text);
	json_decref(o);
	return NULL;
}

int wm_kube_meta_decode(const json_t *o, struct wm_kube_meta *ret, struct wm_err *e)
{
	const json_t *m = json_object_get(o, "metadata");

	*ret = (struct wm_kube_meta){.namespace = kube_text(m, "namespace"),
				     .name = kube_text(m, "name"),
				     .uid = kube_text(m, "uid"),
				     .version = kube_text(m, "resourceVersion")};
	if (!kube_name_valid(ret->name, WM_KUBE_NAME_MAX) ||
	    (*ret->namespace && !kube_name_valid(ret->namespace, WM_KUBE_LABEL_MAX)))
		return wm_err_set(e, WM_E_INVALID,
				  "an object is called \"%.63s/%.63s\", which is no name",
				  ret->namespace, ret->name);
	return 0;
}

int kube_named_meta(const json_t *o, size_t max, struct wm_kube_meta *ret, struct wm_err *e)
{
	int r = wm_kube_meta_decode(o, ret, e);

	if (r)
		return r;
	if (!*ret->namespace || !kube_name_valid(ret->name, max))
		return kube_wrong(ret, "metadata", e);
	return 0;
}

const char *kube_annotation(const json_t *o, const char *key)
{
	const json_t *m = json_object_get(o, "metadata");

	return json_string_value(json_object_get(json_object_get(m, "annotations"), key));
}

bool kube_left_alone(const json_t *o)
{
	const char *steer = kube_annotation(o, WM_KUBE_STEER_KEY);

	return steer && strcmp(steer, "false") == 0;
}

bool kube_steer_unknown(const json_t *o)
{
	const char *steer = kube_annotation(o, WM_KUBE_STEER_KEY);

	return steer && strcmp(steer, "true") != 0 && strcmp(steer, "false") != 0;
}

bool kube_passed(const json_t *o)
{
	const json_t *labels = json_object_get(json_object_get(o, "metadata"), "labels");

	return json_object_get(labels, "service.kubernetes.io/service-proxy-name") ||
	       json_object_get(labels, "service.kubernetes.io/headless");
}

const char *kube_label(const json_t *o, const char *key)
{
	return kube_text(json_object_get(json_object_get(o, "metadata"), "labels"), key);
}

/* --- Services ----------------------------------------------------------------------------------
 */
static void add_address(struct in6_addr *to, unsigned *count, unsigned max,
			const struct in6_addr *a, struct wm_kube_service *s)
{
	if (*count == max)
		s->over++;
	else
		to[(*count)++] = *a;
}

static int read_cluster(const json_t *spec, struct wm_kube_service *s, struct wm_err *e)
{
	const json_t *all = json_object_get(spec, "clusterIPs");
	const char *one = kube_text(spec, "clusterIP"), *text;
	struct in6_addr a;
	size_t n = 0;

	s->headless = strcmp(one, "None") == 0;
	if (s->headless)
		return 0;
	do { /* an API server of one family may leave out the list */
		text = json_array_size(all) ? json_string_value(json_array_get(all, n)) : one;
		if (!text || (*text && wm_kube_address_parse(text, &a)))
			return kube_wrong(&s->meta, "clusterIP", e);
		if (*text)
			add_address(s->cluster, &s->cluster_count, WM_ARRAY_LEN(s->cluster), &a, s);
	} while (++n < json_array_size(all));
	return 0;
}

static void read_outside(const json_t *o, const json_t *spec, struct wm_kube_service *s)
{
	const json_t *lb = json_object_get(json_object_get(o, "status"), "loadBalancer");
	bool some = json_array_size(json_object_get(spec, "loadBalancerSourceRanges")) > 0;
	struct in6_addr a;
	const json_t *v;
	const char *ip;
	size_t n;

	json_array_foreach(json_object_get(spec, "externalIPs"), n, v)
	{
		ip = json_string_value(v);
		if (ip && !wm_kube_address_parse(ip, &a))
			add_address(s->external, &s->external_count, WM_KUBE_ADDRESSES_MAX, &a, s);
	}
	json_array_foreach(json_object_get(lb, "ingress"), n, v)
	{
		ip = kube_text(v, "ip");
		if (!*ip || wm_kube_address_parse(ip, &a)) /* it may have a name instead */
			continue;
		if (some || strcmp(kube_text(v, "ipMode"), "Proxy") == 0)
			s->not_ours++;
		else
			add_address(s->balancer, &s->balancer_count, WM_KUBE_ADDRESSES_MAX, &a, s);
	}
}

static int read_ports(const json_t *spec, struct wm_kube_service *s, struct wm_err *e)
{
	struct wm_kube_service_port *p;
	int64_t port, node_port;
	const json_t *v;
	const char *name;
	uint8_t proto;
	size_t n;

	json_array_foreach(json_object_get(spec, "ports"), n, v)
	{
		name = kube_text(v, "name");
		proto = kube_proto(kube_text(v, "protocol"));
		if (!kube_number(v, "port", UINT16_MAX, &port) || !port ||
		    !kube_number(v, "nodePort", UINT16_MAX, &node_port) ||
		    (*name && !kube_name_valid(name, WM_KUBE_LABEL_MAX)))
			return kube_wrong(&s->meta, "ports", e);
		if (!proto) {
			s->other_protocols++;
			continue;
		}
		if (s->ports_count == WM_KUBE_PORTS_MAX) {
			s->over++;
			continue;
		}
		p = &s->ports[s->ports_count++];
		*p = (struct wm_kube_service_port){.name = name,
						   .port = (uint16_t)port,
						   .node_port = (uint16_t)node_port,
						   .proto = proto};
	}
	return 0;
}

static enum wm_kube_distribution distribution(const json_t *spec)
{
	const char *d = kube_text(spec, "trafficDistribution");

	if (strcmp(d, "PreferSameNode") == 0)
		return WM_KUBE_SAME_NODE;
	/* PreferClose is the former name of PreferSameZone */
	return strcmp(d, "PreferSameZone") == 0 || strcmp(d, "PreferClose") == 0 ? WM_KUBE_SAME_ZONE
										 : WM_KUBE_ANYWHERE;
}

static int read_affinity(const json_t *spec, struct wm_kube_service *s, struct wm_err *e)
{
	const json_t *config = json_object_get(spec, "sessionAffinityConfig");
	int64_t seconds;

	if (strcmp(kube_text(spec, "sessionAffinity"), "ClientIP") != 0)
		return 0;
	if (!kube_number(json_object_get(config, "clientIP"), "timeoutSeconds", AFFINITY_MAX_S,
			 &seconds))
		return kube_wrong(&s->meta, "sessionAffinityConfig", e);
	s->affinity_s = seconds ? (uint32_t)seconds : AFFINITY_DEFAULT_S;
	return 0;
}

/* A name of DNS, its root's dot left out by whoever takes it. */
static bool host_valid(const char *s)
{
	size_t n = strlen(s);

	return n && n <= WM_KUBE_NAME_MAX + 1 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz"
			 "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			 "0123456789-_.") == n;
}

static int64_t created_of(const json_t *o)
{
	const char *text = kube_text(json_object_get(o, "metadata"), "creationTimestamp");
	struct tm tm = {0};

	return strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) ? (int64_t)timegm(&tm) : 0;
}

int wm_kube_service_decode(const json_t *o, struct wm_kube_service *ret, struct wm_err *e)
{
	const json_t *spec = json_object_get(o, "spec");
	int r;

	memset(ret, 0, sizeof(*ret));
	r = kube_named_meta(o, WM_KUBE_LABEL_MAX, &ret->meta, e);
	if (r)
		return r;
	ret->policy = kube_annotation(o, WM_KUBE_POLICY_KEY);
	ret->publish_not_ready = kube_flag(spec, "publishNotReadyAddresses", false);
	if (strcmp(kube_text(spec, "type"), "ExternalName") == 0) {
		ret->external_name = kube_text(spec, "externalName");
		return host_valid(ret->external_name) ? 0
						      : kube_wrong(&ret->meta, "externalName", e);
	}
	ret->created = created_of(o);
	ret->passed = kube_passed(o) || kube_left_alone(o);
	ret->steer_unknown = !ret->passed && kube_steer_unknown(o);
	/* externalTrafficPolicy is not looked at: all who are steered here are clients of this
	 * node, pods or its own, and kube-proxy leads those from external destinations to all
	 * endpoints, "subject to neither form of traffic policy" (1.34, iptables: the chains
	 * KUBE-EXT) */
	ret->local_only = strcmp(kube_text(spec, "internalTrafficPolicy"), "Local") == 0;
	ret->distribution = distribution(spec);
	r = read_cluster(spec, ret, e);
	if (!r)
		r = read_ports(spec, ret, e);
	if (!r)
		r = read_affinity(spec, ret, e);
	if (!r)
		read_outside(o, spec, ret);
	return r;
}
