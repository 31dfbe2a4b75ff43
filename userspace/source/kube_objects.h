/* SPDX-License-Identifier: Apache-2.0 */
/* kube_objects.h - what is read of Kubernetes' objects: the members that services, names and pods
 * depend on, and none of the others. Texts are borrowed from the object's JSON while it is open;
 * what is kept is copied by whoever keeps it (kube_view.h). An API server is believed, its objects
 * are not: a wrong type, a name that is none and a number out of range refuse the object, or leave
 * the one member out where that is told.
 * Threading: pure. Spec: Kubernetes API v1 (core, discovery.k8s.io). */
#pragma once
#include "userspace/base/err.h"

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WM_KUBE_PORTS_MAX	       32   /* of a Service: WM_SPEC_PORTS_MAX */
#define WM_KUBE_ADDRESSES_MAX	       6    /* a kind: with two of cluster and node, 16 */
#define WM_KUBE_ENDPOINTS_MAX	       1000 /* of a slice: the API's own bound */
#define WM_KUBE_ENDPOINT_ADDRESSES_MAX 100  /* of an endpoint: the API's own bound */
#define WM_KUBE_NAME_MAX	       253  /* octets of a name, RFC 1123's subdomain */
#define WM_KUBE_LABEL_MAX	       63   /* octets of a namespace, a Service, a port */
#define WM_KUBE_ZONES_MAX	       8    /* hints of an endpoint: the API's own bound */
#define WM_KUBE_NODES_MAX	       8    /* the same */

#define WM_KUBE_POLICY_KEY "waymark.io/policy" /* annotation of a Service: its policy as JSON */
#define WM_KUBE_STEER_KEY  "waymark.io/steer"  /* of a Pod or Service, "false": it is left alone */
#define WM_KUBE_STEER_TEXT                                                                         \
	"annotation " WM_KUBE_STEER_KEY ": neither \"true\" nor \"false\", so it is steered"

/* An address of either family; IPv4 is mapped (::ffff:0:0/96). */
static inline bool wm_kube_is4(const struct in6_addr *a)
{
	return IN6_IS_ADDR_V4MAPPED(a);
}
/** Read an address of either family. @return 0, -EINVAL: it is none, or 0.0.0.0 or ::. */
int wm_kube_address_parse(const char *text, struct in6_addr *ret);
/** Write it as it was read. @p ret holds INET6_ADDRSTRLEN octets. */
void wm_kube_address_format(const struct in6_addr *a, char ret[static INET6_ADDRSTRLEN]);

/* What every object has. */
struct wm_kube_meta {
	const char *namespace;		  /* "" of a Node and of a Namespace */
	const char *name, *uid, *version; /* "" where it is not said; name never */
};

struct wm_kube_service_port {
	const char *name;	  /* "": the only one may have none */
	uint16_t port, node_port; /* node_port 0: none */
	uint8_t proto;		  /* IPPROTO_TCP, IPPROTO_UDP */
};
enum wm_kube_distribution { WM_KUBE_ANYWHERE, WM_KUBE_SAME_ZONE, WM_KUBE_SAME_NODE };
struct wm_kube_service {
	struct wm_kube_meta meta;
	struct in6_addr cluster[2], external[WM_KUBE_ADDRESSES_MAX],
		balancer[WM_KUBE_ADDRESSES_MAX];
	unsigned cluster_count, external_count, balancer_count;
	struct wm_kube_service_port ports[WM_KUBE_PORTS_MAX];
	unsigned ports_count;
	const char *external_name; /* ExternalName, NULL: it is none */
	bool headless, local_only, publish_not_ready;
	/* Another proxy's by its label service.kubernetes.io/service-proxy-name, or nobody's by
	 * service.kubernetes.io/headless: kube-proxy asks for those Services and EndpointSlices
	 * only that have neither. Or left to whoever serves it by its annotation WM_KUBE_STEER_KEY
	 */
	bool passed;
	bool steer_unknown;  /* that annotation says neither "true" nor "false" */
	int64_t created;     /* seconds since 1970; 0: it does not say */
	uint32_t affinity_s; /* 0: none */
	enum wm_kube_distribution distribution;
	const char *policy; /* NULL: none */
	/* what is left out: ports of SCTP and others, ports and addresses over the bound, addresses
	 * of a load balancer that lets through to itself only (ipMode Proxy), or only some clients
	 * (loadBalancerSourceRanges) */
	unsigned other_protocols, over, not_ours;
};

struct wm_kube_slice_port {
	const char *name; /* of the Service's port, "": of the one without a name */
	uint16_t port;
	uint8_t proto;
};
enum {
	WM_KUBE_READY = 1,
	WM_KUBE_SERVING = 2,
	WM_KUBE_TERMINATING = 4,
	WM_KUBE_NODE_HINTS = 8, /* in a view: it has hints for nodes, */
	WM_KUBE_NODE_HERE = 16, /* and one is for this node */
};
/* One address: of several that an endpoint has, each is one. */
struct wm_kube_endpoint {
	struct in6_addr address;
	const char *node, *pod, *hostname;    /* "" where it is not said; pod: if it is one */
	const char *zones[WM_KUBE_ZONES_MAX]; /* hints.forZones: where its traffic is wanted from */
	unsigned zones_count;
	const char *nodes[WM_KUBE_NODES_MAX]; /* hints.forNodes, likewise */
	unsigned nodes_count;
	uint8_t flags;
};
struct wm_kube_slice {
	struct wm_kube_meta meta;
	const char *service; /* "": no Service's, or of addresses that are names (FQDN) */
	struct wm_kube_slice_port ports[WM_KUBE_PORTS_MAX];
	unsigned ports_count, over; /* over: ports above the bound, endpoints above it */
	bool passed;		    /* by its own labels, as a Service */
	const json_t *endpoints;    /* an array, or NULL: read by wm_kube_endpoint_decode() */
};

struct wm_kube_node {
	struct wm_kube_meta meta;
	struct in6_addr internal[2], external[2]; /* of each family the first */
	unsigned internal_count, external_count;
	const char *region, *zone; /* "": none */
};
struct wm_kube_pod {
	struct wm_kube_meta meta;
	const char *node;
	struct in6_addr addresses[2];
	unsigned addresses_count; /* 0: it has none yet, or has ended */
	bool host_network;
	bool out;	    /* see WM_KUBE_STEER_KEY */
	bool steer_unknown; /* that annotation says neither "true" nor "false" */
};
/* Its condition Accepted, as it stands in its status. */
struct wm_kube_standing {
	int64_t generation; /* of the spec that it is about; -1: there is none */
	bool accepted;
	const char *reason, *message, *since; /* since: lastTransitionTime */
};
/* The custom resource WaymarkPolicy. */
struct wm_kube_policy {
	struct wm_kube_meta meta;
	int64_t generation; /* of its spec: each change makes it another */
	struct wm_kube_standing standing;
	const char *service;  /* of its namespace; the resource's own name where it names none */
	const json_t *policy; /* the object that /v1/waymark/policies takes */
};

/** Open an object. @return NULL: it is none, @p e says where it is wrong. json_decref() it. */
json_t *wm_kube_open(const char *json, size_t len, struct wm_err *e);
/** Read an open object into @p ret, which borrows from it. @return 0; WM_E_INVALID, with a sentence
 *  that names object and member. Cost O(octets). */
int wm_kube_service_decode(const json_t *o, struct wm_kube_service *ret, struct wm_err *e);
int wm_kube_slice_decode(const json_t *o, struct wm_kube_slice *ret, struct wm_err *e);
/** Read an element of wm_kube_slice.endpoints.
 *  @param nth of its addresses: 0 and on
 *  @return 1; 0: it has no @p nth address; WM_E_INVALID. */
int wm_kube_endpoint_decode(const json_t *o, unsigned nth, struct wm_kube_endpoint *ret,
			    struct wm_err *e);
int wm_kube_node_decode(const json_t *o, struct wm_kube_node *ret, struct wm_err *e);
int wm_kube_pod_decode(const json_t *o, struct wm_kube_pod *ret, struct wm_err *e);
/** Where the spec is what is wrong, all but `service` and `policy` is there. */
int wm_kube_policy_decode(const json_t *o, struct wm_kube_policy *ret, struct wm_err *e);
/** The metadata alone: of a Namespace, or of an object that went. */
int wm_kube_meta_decode(const json_t *o, struct wm_kube_meta *ret, struct wm_err *e);
