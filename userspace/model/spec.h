/* SPDX-License-Identifier: Apache-2.0 */
/* spec.h - what a source says of a service beside its instances: addresses that it is dialled at,
 * their ports, and by what rule an instance is chosen. One object a service, from one source; it
 * may be there before the first instance is, and stay behind the last: a Kubernetes Service without
 * endpoints refuses connections. An operator's policy of the service goes on top of it.
 * Threading: a spec is not changed once it is made; all of it is pure.
 * Spec: docs/architecture.md, "Services of a source". */
#pragma once
#include "userspace/base/err.h"
#include "waymark/limits.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define WM_SPEC_ADDRESSES_MAX  16    /* two cluster IPs, and what a load balancer gives a service */
#define WM_SPEC_PORTS_MAX      32    /* as many as an instance has endpoints */
#define WM_SPEC_PORT_NAME_MAX  63    /* octets: a label in DNS */
#define WM_SPEC_SOURCE_MAX     63    /* octets of a source's name */
#define WM_SPEC_AFFINITY_MAX_S 86400 /* Kubernetes' bound: a day */

struct wm_spec_port {
	const char *name;   /* "": the only one may have none */
	uint16_t port;	    /* of the addresses, host order */
	uint16_t node_port; /* of NODE addresses; 0: none */
	uint8_t proto;	    /* IPPROTO_TCP, IPPROTO_UDP */
	/* named one of the instance: its metadata "endpoints.<name>"; NULL: wm_instance.port */
	const char *endpoint;
};

enum wm_spec_address_kind {
	WM_SPEC_CLUSTER,       /* the service's alone: ports that it has not are refused */
	WM_SPEC_EXTERNAL,      /* ports that no service has pass, as of the next two */
	WM_SPEC_LOAD_BALANCER, /* the same */
	WM_SPEC_NODE,	       /* of this node: node_port instead of port */
	WM_SPEC_ADDRESS_KINDS
};
struct wm_spec_address {
	struct in_addr a4;  /* 0.0.0.0: it is the other */
	struct in6_addr a6; /* ::, likewise */
	uint8_t kind;	    /* enum wm_spec_address_kind */
};

enum wm_spec_prefer { WM_SPEC_ANYWHERE, WM_SPEC_SAME_ZONE, WM_SPEC_SAME_NODE, WM_SPEC_PREFERS };

struct wm_service_spec {
	const char *service; /* the key, lower case */
	const char *source;  /* name of the one that says it */
	const struct wm_spec_address *addresses;
	const struct wm_spec_port *ports;
	unsigned addresses_count, ports_count;
	const char *external_name; /* the service is that name; NULL: it is none */
	bool headless;		   /* it has no address of its own */
	bool passed;		   /* another proxy's: it has names, its addresses are left alone */
	bool local_only;	   /* only instances of this node, or it is refused */
	bool publish_not_ready;	   /* who is critical is told in DNS, and dialled */
	int64_t created;     /* seconds since 1970: of several that state an address the oldest has
			      * it; 0: unknown */
	uint32_t affinity_s; /* a pod stays with its instance for so long; 0: it does not */
	uint8_t prefer;	     /* enum wm_spec_prefer: before all others */
};

/** May it be? Each refusal names the service and what is wrong. @return 0, WM_E_INVALID,
 *  WM_E_LIMIT. */
int wm_service_spec_validate(const struct wm_service_spec *s, struct wm_err *e);
/** A copy in one block, of one that is valid; texts that say nothing are as above. @return NULL
 *  without memory. The caller frees it by wm_service_spec_free(). */
struct wm_service_spec *wm_service_spec_copy(const struct wm_service_spec *s);
void wm_service_spec_free(struct wm_service_spec *s); /* NULL ok */
/** Do they say the same? The order of addresses and ports counts. */
bool wm_service_spec_same(const struct wm_service_spec *a, const struct wm_service_spec *b);
/** "cluster", "external", "load-balancer", "node". */
const char *wm_spec_address_kind_str(uint8_t kind);
