/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* layout.h - the tables that kernel programs and userspace share, byte for byte.
 *
 *   names (hash) ─────┐
 *                     ├─> sets[i].table ─> heads[h] ─> slots[first ..) ─> backends[j]
 *   frontends (hash) ─┘   set_live[i]                                    backend_live[j]
 *
 * All but the two hashes are arrays that userspace writes through a mapping with atomic stores.
 * Publishing protocol: write slots into a free range and a free head that tells of them, then store
 * the set's word. While the word is what a reader loaded, head, range and the backends in it are
 * that set's; a backend's state carries the stamp of its occupant (table.h). Entries of the hashes
 * are sealed: the kernel uses their memory again at once (wm_seal_*). What is freed is not used
 * again while a program that may have seen it runs. The state word is the only place of health. No
 * pointers, bit-fields, enums or packed structs; pads are explicit and zero. Threading: see above.
 * Before use: __u8 .. __u64, __be16, __be32 from <linux/types.h> or vmlinux.h. */
#pragma once
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif
#include "limits.h"

#define WM_LAYOUT_VERSION 3 /* any change of a struct, a key or a meaning below raises it */

/* `config`, one entry: what a program needs to know beside the tables. Written before attach; of
 * adopted tables, which programs are reading, when they are right. The seed stays. Numbers change
 * by one store each; ports, counts and addresses while WM_CONFIG_F_DNS is off and no program that
 * saw it on is running any more. */
struct wm_config {
	__u64 seed[2];	       /* secret of the name hash, made once, kept as long as the pins */
	__u64 confirmed_ns;    /* CLOCK_BOOTTIME when the agent last vouched for the tables */
	__u64 stale_after_ns;  /* answers pass to userspace when older than this; 0: never */
	__u32 ttl_s;	       /* TTL of answers from the tables */
	__u32 flags;	       /* WM_CONFIG_F_* */
	__be16 dns_port_be[2]; /* ports the kernel answers on; 0: unused */
	__u8 dns_addr4_count;  /* used entries of dns_addr4_be */
	__u8 dns_addr6_count;  /* used entries of dns_addr6_be */
	/* two bits for each address: bit 2 * i + k is set where address i is not to be answered on
	 * port k. Other servers may listen there. */
	__u8 dns_skip4;
	__u8 dns_skip6;
	__be32 dns_addr4_be[WM_DNS_LISTEN_MAX];
	__be32 dns_addr6_be[WM_DNS_LISTEN_MAX][4];
};
_Static_assert(WM_DNS_LISTEN_MAX * 2 <= 8, "dns_skip4 and dns_skip6 are octets");
#define WM_CONFIG_F_DNS	    (1u << 0) /* answer DNS in the kernel */
#define WM_CONFIG_F_CONNECT (1u << 1) /* steer connect() and datagrams */
#define WM_CONFIG_F_RELEASE                                                                        \
	(1u << 2) /* sockets are seen to be closed: `connections` may be used. The plane's own */
#define WM_CONFIG_F_WATCHED (1u << 3) /* tell each decision: `flows`. The plane's own */
#define WM_CONFIG_F_COMPLETE                                                                       \
	(1u << 4) /* every service is in `names`: what is not there is not. Cleared before a       \
		   * service is registered, set when its name is in */
#define WM_CONFIG_F_RECORDS                                                                        \
	(1u << 5) /* the operator has records of names of ours: none is denied by its form */
#define WM_CONFIG_F_TRACED                                                                         \
	(1u << 6) /* how connects end is seen by tracepoints, and by nothing else. The plane's own \
		   */
/* Flags from here on: where bit WM_CONFIG_LEVELS_SHIFT + n is set, cgroups that lie n below the
 * root of all may be among those whose processes are left alone. The plane's own */
#define WM_CONFIG_LEVELS_SHIFT 16
#define WM_CONFIG_LEVELS       (0xffffu << WM_CONFIG_LEVELS_SHIFT)
#define WM_CONFIG_LEVEL_MAX    15
#define WM_LEFT_OUT_MAX	       4096 /* cgroups that are left alone: as many pods as a node is read of */
_Static_assert(sizeof(struct wm_config) == 128, "pinned layout");

/* `names`: hash of the case-folded wire name -> what the name stands for. */
struct wm_name_key {
	__u64 hash[2]; /* wm_name_hash() under wm_config.seed */
};
_Static_assert(sizeof(struct wm_name_key) == 16, "pinned layout");

#define WM_NAME_SERVICE 1	  /* <service>.service.<domain>: addresses of usable endpoints */
#define WM_NAME_VIRTUAL 2	  /* <service>.virtual.<domain>: the virtual address */
#define WM_NAME_F_TTL	(1u << 0) /* has a TTL of its own */
struct wm_name {
	__u32 set;	   /* index in sets */
	__u8 kind;	   /* WM_NAME_* */
	__u8 len;	   /* octets of name, root label included */
	__u16 flags;	   /* WM_NAME_F_* */
	__be32 vip4_be;	   /* WM_NAME_VIRTUAL: 0 while no endpoint has IPv4 */
	__be32 vip6_be[4]; /* WM_NAME_VIRTUAL: :: while no endpoint has IPv6 */
	__u32 ttl_s;	   /* WM_NAME_F_TTL: of its records, in place of wm_config.ttl_s */
	__u64 seal;	   /* over the key and what stands above: wm_name_seal() */
	__u8 name[WM_DNS_NAME_MAX + 1]; /* folded wire name, compared whole; zero behind len */
};
_Static_assert(sizeof(struct wm_name) == 296, "pinned layout");
_Static_assert(__builtin_offsetof(struct wm_name, name) % 8 == 0, "compared by words");

/* `frontends`: destination of a connect() -> set. IPv4 is stored v4-mapped (::ffff:a.b.c.d).
 * Every frontend address has an entry with port 0 and proto 0, so that traffic for no service pays
 * one lookup; its flags say whether entries with an exact port and protocol exist. */
struct wm_frontend_key {
	__be32 addr_be[4];
	__be16 port_be; /* 0: any port */
	__u8 proto;	/* IPPROTO_TCP, IPPROTO_UDP; 0: any */
	__u8 pad;
};
_Static_assert(sizeof(struct wm_frontend_key) == 20, "pinned layout");

#define WM_FRONTEND_F_EXACT  (1u << 0) /* look for an exact port first */
#define WM_FRONTEND_F_NO_ANY (1u << 1) /* only exact ports are ours; any other passes */
struct wm_frontend {
	__u32 set;   /* index in sets */
	__u32 flags; /* WM_FRONTEND_F_* */
	__u64 seal;  /* over the key and what stands above: wm_frontend_seal() */
};
_Static_assert(sizeof(struct wm_frontend) == 16, "pinned layout");

/* `sets`: where a set's table is. One 64-bit word, stored and loaded whole. */
struct wm_set_table {
	__u32 head;	  /* index in heads */
	__u32 generation; /* of the head; 0: the set is empty */
} __attribute__((aligned(8)));
struct wm_set {
	struct wm_set_table table;
	__u32 service; /* low half of the service name's hash: for people and for adoption checks */
	__u32 pad;
};
_Static_assert(sizeof(struct wm_set_table) == 8, "one atomic store");
_Static_assert(sizeof(struct wm_set) == 16, "mmapable");

#define WM_FEW_MAX 4u /* slots that a head has room for */

/* `heads`: what a set's table is and how it is chosen from. Written before its generation is
 * published, and not changed while it is. */
struct wm_table_head {
	__u32 generation; /* of this publication; another set or time has another. 0: not in use */
	__u32 set;	  /* whose it is */
	__u32 first;	  /* index in slots of the range */
	__u32 backends;	  /* distinct ones: what panic_pct and eject_max_pct are shares of */
	__u8 balance;	  /* how a backend of a tier is chosen; 0: at random by weight */
	__u8 tiers;	  /* 1 to WM_TIERS_MAX */
	__u8 when_none;
	__u8 hash_on;
	__u8 flags; /* WM_HEAD_AFFINITY, WM_HEAD_SRV, WM_HEAD_SRV_MANY, WM_HEAD_FEW */
	__u8 panic_pct;
	__u8 eject_max_pct;
	__u8 eject_after;
	__u8 eject_refused;
	__u8 eject_least;
	__u16 affinity_s;
	__u16 eject_base_s;
	__u16 eject_longest_s;
	union {
		__u32 end[WM_TIERS_MAX]; /* slots of tier i: [end[i - 1], end[i]), from 0 */
		struct {
			__u32 end; /* end[0]: there is one tier */
			__u32 backend[WM_FEW_MAX];
			__u16 stamp[WM_FEW_MAX];
			__u32 pad;
		} few; /* with WM_HEAD_FEW, instead of a look at the slots */
	};
};
_Static_assert(sizeof(struct wm_table_head) == 64, "mmapable, one cache line");
_Static_assert(8 + 6 * WM_FEW_MAX == 4 * WM_TIERS_MAX, "few take the place of the ends");
#define WM_HEAD_AFFINITY 7u /* in flags: 1 + enum wm_hash_on that a client is known by; 0: none */
#define WM_HEAD_SRV                                                                                \
	8u /* in flags: each instance that SRV may name is in one slot, and its target in          \
	    * `targets` */
#define WM_HEAD_SRV_MANY                                                                           \
	16u /* in flags: likewise, but in some slots, of some tiers. Programs that know of         \
	     * WM_HEAD_SRV alone leave it to userspace */
#define WM_HEAD_FEW                                                                                \
	32u /* in flags: one tier of at most WM_FEW_MAX slots without an alias, which stand in the \
	     * head as well. Programs that do not know of it read the slots */

/* `slots`: where a choice leads. In Vose's alias table of a weighted choice there is one slot a
 * backend: draw a slot evenly and a 32-bit number; below `keep` take `backend`, else `alias`. */
struct wm_slot {
	__u32 backend;	   /* index in backends */
	__u32 alias;	   /* index in backends */
	__u32 keep;	   /* share of draws that stay, of 2^32 - 1; 0xffffffff: all */
	__u16 stamp;	   /* of backend's occupant */
	__u16 alias_stamp; /* of alias's */
};
_Static_assert(sizeof(struct wm_slot) == 16, "mmapable");

/* `set_live`, parallel to sets: what changes without a publication. Each field stands alone. */
struct wm_set_live {
	__u16 cut[WM_TIERS_MAX]; /* tier i is drawn by 1 to 65535 up to cut[i]; 0: not at all */
	__u32 up4;		 /* slots' backends that are up and have IPv4 */
	__u32 up6;
	__u32 cursor;  /* of turns: added to by programs */
	__u32 ejected; /* backends that are */
};
_Static_assert(sizeof(struct wm_set_live) == 32, "mmapable");

/* `backends`: one instance's address and state, whatever sets it is in. `state` is one aligned
 * word: the health in the low octet, WM_STATE_F_*, the occupant's stamp in the high half. An index
 * is reused with the next stamp, so a reader that finds the same word before and after read one
 * occupant. */
struct wm_backend {
	__u32 state;	/* WM_STATE_* | stamp << 16 */
	__be16 port_be; /* port the instance listens on; 0: keep the port that was dialled */
	__u16 families; /* WM_FAMILY_* */
	__be32 addr4_be;
	__u16 weight; /* 0: in no slot */
	__u16 flags;  /* WM_BACKEND_F_*: of the occupant, as its address is */
	__be32 addr6_be[4];
	__u64 instance; /* hash of node and instance id: for people and adoption */
	__u64 node;	/* hash of the node's name; 0: not told */
	__u16 region;	/* numbers of this node's own, 0: not told */
	__u16 zone;
	__u32 service;	    /* low half of the hash of its service's name: for people */
	__u64 out_until_ns; /* CLOCK_BOOTTIME: until then it may be ejected, which `backend_live`
			     * tells, and need not be asked of others: a line less to read */
};
_Static_assert(sizeof(struct wm_backend) == 64, "mmapable, one cache line");
#define WM_STATE_FREE  0u /* index is not in use */
#define WM_STATE_UP    1u /* takes new connections */
#define WM_STATE_DOWN  2u /* critical: takes none */
#define WM_STATE_DRAIN 3u /* leaving: takes none, keeps what is open */
#define WM_STATE_MASK  0xffu
/* Beside WM_STATE_DOWN: userspace says up, but nobody listens any more. Set and taken back by the
 * program that sees it, by compare-and-swap; gone with the next state that userspace stores. */
#define WM_STATE_F_FELL (1u << 8)
#define WM_FAMILY_4	1u
#define WM_FAMILY_6	2u
#define WM_BACKEND_F_BY_ADDRESS                                                                    \
	(1u << 0) /* SRV leads to its address: `targets` has no more. Not set: it tells */
#define WM_RECYCLE_NS                                                                              \
	1000000000ull /* ns before what was freed is reused, where programs cannot be waited for:  \
		       * a program runs for microseconds, a second covers any preemption */

/* `targets`, parallel to backends: what SRV leads to. Written before the occupant's state. */
#define WM_TARGET_MAX 64 /* octets of a node's name on the wire, without the root */
struct wm_target {
	__u64 words[WM_TARGET_MAX / 8]; /* labels of the node's name; zero behind them */
	__u8 len;			/* octets of these; 0: it leads to its address */
	__u8 pad[7];
};
_Static_assert(WM_TARGET_MAX > WM_NODE_NAME_MAX, "one more, of the first label");
_Static_assert(sizeof(struct wm_target) == 72, "mmapable");

/* `backend_live`, parallel to backends: what programs add to and observe. Not per CPU: memory would
 * grow with CPUs, and a pick happens per connection. Zero at a new occupant but for its stamp. */
struct wm_backend_live {
	__u64 picks;		/* TCP and connected UDP sockets steered here */
	__u64 udp_picks;	/* destinations of unconnected UDP sockets steered here */
	__u64 rtt_at_ns;	/* CLOCK_BOOTTIME when rtt_us was measured, or a connect failed */
	__u64 ejected_until_ns; /* CLOCK_BOOTTIME; 0: it is not ejected */
	__u32 open;		/* sockets that were connected here and are not closed */
	__u32 rtt_us;
	__u32 failures;
	__u32 ejections;
	__u32 stamp; /* of the occupant that all of it is about */
	__u32 in_row;
	__u32 pad[2];
};
_Static_assert(sizeof(struct wm_backend_live) == 64, "mmapable, one cache line");

/* `connections`: what a socket dialled by connect() and what it got; by the socket's cookie, in
 * buckets of WM_CONNECTION_WAYS entries. An entry is taken by storing the cookie where it was 0,
 * written, and valid once time_ns is not 0; it is freed when the socket is released. */
struct wm_connection {
	__u64 cookie;	      /* of the socket; 0: the entry is free */
	__be32 vip_be[4];     /* v4-mapped if IPv4 */
	__be32 backend_be[4]; /* address that was written, v4-mapped if IPv4 */
	__u64 time_ns;	      /* CLOCK_BOOTTIME of the pick; 0: not connected through us */
	__u32 set;
	__u32 backend; /* index in backends; WM_NO_BACKEND: of tables that are gone */
	__be16 vip_port_be;
	__be16 backend_port_be;
	__u16 stamp; /* of the backend's occupant */
	__u8 tier;
	__u8 reason; /* WM_REASON_*, and by what balance */
};
_Static_assert(sizeof(struct wm_connection) == 64, "mmapable, one cache line");
#define WM_CONNECTION_SILENT                                                                       \
	1ull /* in time_ns, whose last ns does not matter: that nobody answered has been noted */
#define WM_REASON_DRAW 1 /* drawn by weight */
#define WM_REASON_SCAN 2 /* drawn among those that were looked through: few are up */
#define WM_REASON_KEPT 3 /* the client had it before, and is kept there */
#define WM_REASON_MASK 15u
/* The high half tells the balance of the table, + 1; 0, as programs left it that did not tell yet:
 * not known. */
#define WM_REASON_BY(reason, balance) ((__u8)((reason) | ((balance) + 1u) << 4))

/* `socket_origin`: socket storage, dies with the socket. What the application dialled and what it
 * got. Entry 0 is the destination of connect() where `connections` cannot have it: all ways are
 * taken, or the socket is one whose end is not seen (Multipath TCP). Those of single datagrams take
 * turns in the others, also on a connected socket. The same in layout 1. */
struct wm_origin {
	__be32 vip_be[4];     /* v4-mapped if IPv4 */
	__be32 backend_be[4]; /* address that was written, v4-mapped if IPv4 */
	__be16 vip_port_be;
	__be16 backend_port_be;
	__u32 backend; /* index in backends */
	__u32 state;   /* of the backend when picked: its stamp tells the occupant */
	__u32 set;
	__u64 time_ns; /* CLOCK_BOOTTIME of the pick; 0: entry unused */
};
_Static_assert(sizeof(struct wm_origin) == 56, "pinned layout");
#define WM_NO_BACKEND                                                                              \
	0xffffffffu /* wm_origin.backend: of tables that are gone, or another socket               \
		     * counts as the connection */
struct wm_socket_origin {
	struct wm_origin at[1 + WM_UDP_RING];
	__u32 next;   /* entry that the next new destination of a datagram takes */
	__u32 tables; /* kernel's id of the map that the indexes point into; 0: not known */
};
_Static_assert(sizeof(struct wm_socket_origin) == 232, "pinned layout");

/* `name_sets`, `frontend_sets`: which set a name or an address most probably stands for
 * (waymark/likely.h). A power of two of them, WM_LIKELY_SETS in each entry. */
#define WM_LIKELY_SETS 16
struct wm_likely {
	__u32 set[WM_LIKELY_SETS];
};
_Static_assert(sizeof(struct wm_likely) == 64, "mmapable, one cache line");

/* `layout_version`, one entry: what the pinned maps were made for. */
struct wm_layout {
	__u32 version; /* WM_LAYOUT_VERSION */
	__u32 names;   /* max_entries of each sized map */
	__u32 frontends;
	__u32 sets;
	__u32 slots;
	__u32 backends;
	__u32 connections;
	__u32 pad;
};
_Static_assert(sizeof(struct wm_layout) == 32, "pinned layout");

/* Which backend of a set a client had last: waymark/affinity.h. In no layout.
 * Clients of a node that are remembered: 2 MiB, taken once the programs are loaded. */
#define WM_AFFINITY_MAX 16384

struct wm_affinity_key {
	__u64 client; /* as wm_table_head's affinity tells it */
	__u32 set;
	__u32 pad;
};
struct wm_affinity {
	__u64 until_ns; /* CLOCK_BOOTTIME */
	__u32 backend;
	__u32 stamp;	  /* of its occupant */
	__u32 generation; /* of the table in which it was found last */
	__u32 tier;
	__u32 tables; /* kernel's id of the map that `backend` points into */
	__u32 pad;
	__u64 seal; /* over the key and what stands above */
};
