/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* limits.h - every bound that kernel and userspace share, and the bounds of what a client may send.
 * A limit names its unit and its reason. Settings that an operator may change live in
 * userspace/base/settings.def; what stands here is fixed by a protocol or by a map's layout. */
#pragma once

/* --- DNS wire format ------------------------------------------------------------------------ */
#define WM_DNS_NAME_MAX                                                                            \
	255		      /* octets of a name on the wire, root label included: RFC 1035 2.3.4 \
			       */
#define WM_DNS_LABEL_MAX  63  /* octets of one label: RFC 1035 2.3.4 */
#define WM_DNS_LABELS_MAX 128 /* labels: 127 of one octet and the root fill 255 octets */
#define WM_DNS_UDP_MAX	  512 /* octets of an answer to a client without EDNS: RFC 1035 4.2.1 */
#define WM_DNS_EDNS_MAX	  1232 /* octets that we send at most: no fragments (DNS flag day 2020) */
#define WM_DNS_TCP_MAX                                                                             \
	65523 /* octets of an answer over TCP; Consul's bound, room for the prefix                 \
	       */
#define WM_DNS_ANSWERS_TCP 4096 /* A/AAAA records over TCP; Consul's bound */

/* --- kernel tables -------------------------------------------------------------------------- */
#define WM_SET_SLOTS_MAX 65536 /* backends of one set: an eighth of the slots by default */
#define WM_TIERS_MAX	 8     /* tiers of one set: what Locality and failover of a policy need */
#define WM_SCAN_BOUNDED                                                                            \
	256		  /* slots that a program scans where the kernel lacks bpf_loop (< 5.17) */
#define WM_PICK_TRIES 8	  /* weighted tries before the scan: half the set down misses 1 in 256 */
#define WM_PICK_SCAN  256 /* slots among whose usable backends the scan behind them draws */
#define WM_CONNECTION_WAYS                                                                         \
	4 /* sockets whose cookies have the low bits in common; more are remembered in storage */
#define WM_DNS_LISTEN_MAX 4 /* addresses per family that the kernel answers DNS on */
#define WM_UDP_RING                                                                                \
	3 /* destinations that an unconnected UDP socket is remembered for: a resolver asks as     \
	   * many name servers (MAXNS of resolv.h) */

/* --- registry ------------------------------------------------------------------------------- */
#define WM_SERVICE_NAME_MAX                                                                        \
	255 /* octets, as an instance's id; Consul sets none, and over 63 there is no DNS label */
#define WM_INSTANCE_ID_MAX                                                                         \
	255 /* octets; Consul sets none, 255 fits a path segment and a file name */
#define WM_NODE_NAME_MAX       63    /* octets: a node is one DNS label */
#define WM_NODE_ID_MAX	       36    /* octets: a UUID in text */
#define WM_ADDRESS_MAX	       253   /* octets of an address or host name in text: RFC 1035 */
#define WM_TAGS_MAX	       64    /* tags of one instance */
#define WM_TAG_MAX	       255   /* octets of a tag */
#define WM_META_PAIRS_MAX      64    /* metadata pairs of one instance: Consul's bound */
#define WM_META_KEY_MAX	       128   /* octets of a metadata key: Consul's bound */
#define WM_META_VALUE_MAX      512   /* octets of a metadata value: Consul's bound */
#define WM_KIND_MAX	       64    /* octets of Consul's Kind: its longest has 19 */
#define WM_SOCKET_PATH_MAX     255   /* octets of SocketPath: twice what sun_path holds */
#define WM_LOCALITY_MAX	       128   /* octets of a region or a zone */
#define WM_PROXY_MEMBERS_MAX   16    /* members of Consul's Proxy: it has 15 */
#define WM_PROXY_MAX	       65536 /* octets of them together: upstreams are listed in it */
#define WM_CHECKS_PER_INSTANCE 32    /* checks of one instance */
#define WM_CHECK_ID_MAX	       320   /* octets: "service:" + instance id + ":" + number */
#define WM_CHECK_NAME_MAX      320   /* octets */
#define WM_CHECK_NOTES_MAX     1024  /* octets */
#define WM_CHECK_OUTPUT_MAX    4096  /* octets kept of a check's output: Consul's default */
#define WM_CHECK_TARGET_MAX    2048  /* octets of a URL or address to probe */
#define WM_CHECK_HEADERS_MAX   32    /* headers that an HTTP check sends */
#define WM_CHECK_BODY_MAX      4096  /* octets of an HTTP check's request body */
#define WM_WEIGHT_MAX	       65535 /* Consul's bound */
#define WM_TAGGED_MAX	       16 /* tagged addresses of one instance; Consul itself knows eight */
#define WM_TAGGED_NAME_MAX     64 /* octets of a tagged address's name */
#define WM_CHECK_METHOD_MAX    32 /* octets of an HTTP method */
#define WM_CHECK_HEADER_MAX    1024 /* octets of a name or a value of an HTTP check's header */
#define WM_CHECK_ARGS_MAX      64   /* words of a script check's command */
#define WM_CHECK_ARGS_OCTETS   8192 /* octets of these together */
#define WM_CHECK_UNIT_MAX      255  /* octets of a systemd unit's name: systemd's bound */
#define WM_CHECK_TYPE_MAX      64 /* octets of what a writer of the catalog calls a check's kind */
#define WM_CHECK_THRESHOLD_MAX 1000 /* results in a row: more is a typing error */
#define WM_CHECK_DURATION_MAX_MS                                                                   \
	(366ull * 24 * 3600 * 1000) /* ms of interval, timeout, TTL, deregistration: a year */

#define WM_DRAIN_DEFAULT_MS                                                                        \
	30000 /* ms of a drain that names no deadline: most requests are over                      \
	       */
#define WM_DRAIN_MAX_MS                                                                            \
	(7ull * 24 * 3600 * 1000) /* ms of a drain: who needs more than a week has forgotten it */

/* --- HTTP ----------------------------------------------------------------------------------- */
#define WM_HTTP_BODY_MAX                                                                           \
	(512 * 1024) /* octets of a request body; Consul's bound for a transaction */
#define WM_HTTP_HEADERS_MAX (16 * 1024) /* octets of request line and headers */
#define WM_JSON_DEPTH_MAX   64		/* nesting of a request body */
