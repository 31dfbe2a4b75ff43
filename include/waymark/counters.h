/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* counters.h - every counter that a program in the kernel keeps, defined once.
 * The enum, the metric name, the reference page and `waymarkctl status` all come from this list.
 * X(symbol, metric name, text). Append only: the index is part of the pinned map's layout. */
#pragma once
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define WM_COUNTERS(X)                                                                             \
	X(DNS_QUERY, dns_query, "DNS packets seen on a listening address")                         \
	X(DNS_ANSWERED, dns_answered, "DNS queries answered in the kernel")                        \
	X(DNS_PASS_NOT_QUERY, dns_pass_not_query,                                                  \
	  "passed: a response, an opcode or flags we leave")                                       \
	X(DNS_PASS_COUNTS, dns_pass_counts,                                                        \
	  "passed: not one question, or records we do not expect")                                 \
	X(DNS_PASS_MALFORMED, dns_pass_malformed,                                                  \
	  "passed: short, bad label, pointer in the question")                                     \
	X(DNS_PASS_FRAGMENT, dns_pass_fragment,                                                    \
	  "passed: IP fragment, IP options or extension header")                                   \
	X(DNS_PASS_EDNS, dns_pass_edns, "passed: EDNS version or options we leave")                \
	X(DNS_PASS_CLASS, dns_pass_class, "passed: class is not IN")                               \
	X(DNS_PASS_TYPE, dns_pass_type, "passed: a type that userspace answers")                   \
	X(DNS_PASS_UNKNOWN, dns_pass_unknown, "passed: name not in the table")                     \
	X(DNS_PASS_COLLISION, dns_pass_collision, "passed: same hash, another name")               \
	X(DNS_PASS_EMPTY, dns_pass_empty, "passed: no usable endpoint")                            \
	X(DNS_PASS_TORN, dns_pass_torn, "passed: the set changed while it was read")               \
	X(DNS_PASS_RESIZE, dns_pass_resize, "passed: the packet could not be made longer")         \
	X(DNS_PASS_STALE, dns_pass_stale, "passed: tables not confirmed within dns.stale_after")   \
	X(CONNECT_MISS, connect_miss, "connects that are not for a service")                       \
	X(CONNECT_PICKED, connect_picked, "connects steered to a backend")                         \
	X(CONNECT_REFUSED, connect_refused, "connects refused: no usable backend")                 \
	X(CONNECT_TORN, connect_torn, "picks repeated: the set changed while it was read")         \
	X(CONNECT_NO_STORAGE, connect_no_storage,                                                  \
	  "picks without reverse state: socket storage full")                                      \
	X(UDP_PICKED, udp_picked, "datagrams of unconnected sockets steered to a new backend")     \
	X(UDP_REUSED, udp_reused, "datagrams that kept their socket's backend")                    \
	X(UDP_REFUSED, udp_refused, "datagrams refused: no usable backend")                        \
	X(UDP_REVERSED, udp_reversed, "received datagrams shown as from the virtual address")      \
	X(PEERNAME_REVERSED, peername_reversed,                                                    \
	  "getpeername() calls that showed the virtual address")                                   \
	X(CONNECT_UNKNOWN_VIP, connect_unknown_vip,                                                \
	  "connects and datagrams refused: a virtual address that no service has")                 \
	X(CONNECT_LOOPBACK, connect_loopback,                                                      \
	  "picks that passed over a loopback address: of another network namespace")               \
	X(DNS_NODATA, dns_nodata, "of the answers in the kernel: the name has no such record")     \
	X(DNS_PASS_SIZE, dns_pass_size, "passed: the set or its answer is too large")              \
	X(DNS_DROP_WRITE, dns_drop_write, "dropped: an answer could not be written to its end")    \
	X(CONNECT_PASSED, connect_passed,                                                          \
	  "calls for a service without a usable backend that went on, as its policy says")         \
	X(EVENTS_LOST, events_lost, "events that the ring buffer had no room for")                 \
	X(CONNECT_NO_WAY, connect_no_way,                                                          \
	  "connects remembered in socket storage: no entry of connections was free")               \
	X(CONNECT_STORED, connect_stored,                                                          \
	  "connects remembered in socket storage: the socket's end is not seen")                   \
	X(CONNECT_CUSTOM_NONE, connect_custom_none,                                                \
	  "choices of balance custom that were left to the weights: no place, or none that there " \
	  "is")                                                                                    \
	X(FLOWS_LOST, flows_lost, "decisions that the ring buffer of who watches had no room for") \
	X(CONNECT_FAILED, connect_failed,                                                          \
	  "steered TCP connects that were refused, or that nobody answered")                       \
	X(EJECTIONS, ejections, "backends that were left out for a time: connects to them failed") \
	X(EJECT_SPARED, eject_spared,                                                              \
	  "failed connects whose backend stayed: as many of its set are out as may be")            \
	X(DNS_NXDOMAIN, dns_nxdomain, "of the answers in the kernel: no name of ours is so")       \
	X(CONNECT_KEPT, connect_kept, "choices by affinity: the client kept its backend")          \
	X(CONNECT_KEPT_LOST, connect_kept_lost,                                                    \
	  "choices that affinity could not make: the client's backend is not usable any more")     \
	X(DNS_PASS_TAIL, dns_pass_tail, "passed: the program that answers it is not there")        \
	X(DNS_HOT, dns_hot, "of the answers in the kernel: what another server said")              \
	X(DNS_PASS_EXPIRED, dns_pass_expired, "passed: what another server said is too old")       \
	X(DNS_DROP_ALLOW, dns_drop_allow, "dropped: the client is of no network of dns.allow")     \
	X(DNS_DROP_POD, dns_drop_pod, "dropped: the pod asks more than dns.pod_limit allows")      \
	X(DNS_READY, dns_ready, "of the answers in the kernel: made by userspace before")          \
	X(DNS_PASS_LINK, dns_pass_link,                                                            \
	  "passed: came by a link, and its addresses, hops or checksums are for the node's own "   \
	  "stack to judge")                                                                        \
	X(DNS_DROP_RATE, dns_drop_rate,                                                            \
	  "dropped: a network of a link was told the same dns.rate_limit times a second")          \
	X(DNS_RATE_CUT, dns_rate_cut,                                                              \
	  "of the answers in the kernel: told to use TCP, as those that dns_drop_rate counts")     \
	X(DNS_COOKIE_NEW, dns_cookie_new,                                                          \
	  "of the answers in the kernel: with a cookie for a client that had none of ours")        \
	X(DNS_COOKIE_VALID, dns_cookie_valid,                                                      \
	  "of the answers in the kernel: to a client that had a cookie of ours")                   \
	X(DNS_SAMPLES_LOST, dns_samples_lost,                                                      \
	  "samples of dns.sample that the ring buffer had no room for")                            \
	X(DNS_PASS_NAT, dns_pass_nat,                                                              \
	  "passed: this node's packet filter has sent it elsewhere than its client did")

enum wm_counter {
#define X(sym, name, text) WM_C_##sym,
	WM_COUNTERS(X)
#undef X
		WM_COUNTER_COUNT
};
#define WM_COUNTER_CAP 64 /* places in the pinned map: room to append without a new layout */

/* `counters`, one entry per CPU. Fields carry the metric names, so `bpftool map dump` reads well;
 * counter WM_C_x is the x-th 64-bit word. */
struct wm_counters {
#define X(sym, name, text) __u64 name;
	WM_COUNTERS(X)
#undef X
	__u64 reserved[WM_COUNTER_CAP - WM_COUNTER_COUNT];
};
_Static_assert(sizeof(struct wm_counters) == 8 * WM_COUNTER_CAP, "pinned layout");
