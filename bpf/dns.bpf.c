/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns.bpf.c - answers questions for names in the tables: A and AAAA, and NODATA for what they do
 * not have. One core, two ways out: dns_lo    tc ingress of loopback: the query becomes the answer
 * in place and goes on up the stack dns_veth  tc ingress on the host side of a pod's veth: the
 * answer is sent back out of it What is not answered passes unchanged to the userspace server, and
 * a counter says why. Everything is decided before the first octet is written. Runs as a tcx link
 * or a clsact filter. */
#include "common.h"
#include "waymark/dns_answer.h"
#include "waymark/dns_cookie.h"
#include "waymark/dns_deny.h"
#include "waymark/dns_form.h"
#include "waymark/dns_hot.h"
#include "waymark/dns_plain.h"
#include "waymark/dns_ready.h"
#include "waymark/dns_srv_few.h"
#include "waymark/dns_tail.h"
#include "waymark/name_hash.h"
#include "guard.h"
#include "likely.h"
#include "packet.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/* Fixed for a run: the agent sets them before it loads the program. */
const volatile __u32 a_record_limit; /* A or AAAA records of an answer; 0: all that fit */
const volatile __u32 negative_ttl_s; /* of NODATA, and the SOA's minimum */
const volatile __u32 node_ttl_s;     /* of addresses that are names */
const volatile __u32 wall_at_boot_s; /* wall clock when CLOCK_BOOTTIME was 0: the SOA's serial */
const volatile struct wm_deny_zone deny_zones[WM_DENY_ZONES]; /* our domains, and the cluster's */
const volatile struct wm_deny_label deny_dc;		      /* our datacenter */
const volatile struct wm_srv_end srv_ends[2];		      /* of what SRV leads to, by domain */
const volatile bool use_tails;	 /* calls to `dns_tails`: not where the kernel refuses them */
const volatile __u32 hot_on;	 /* answers of other servers are kept */
const volatile __u32 ready_on;	 /* answers that userspace made are kept */
const volatile __u32 fail_write; /* for tests: step of write_answer() that fails; 0: none */

/* Octets of a message behind its header that are read: name, type, class, OPT. What options there
 * are inside the OPT is looked at when all else is known (dns_options.h). */
#define BODY_MAX 272
_Static_assert(BODY_MAX >= WM_DNS_NAME_MAX + 4 + WM_DNS_OPT_LEN && BODY_MAX % 8 == 0, "a query");

/* Octets of records: all that a scan may find, while they are gathered and put in order. */
#define RECORDS_MAX 4096
_Static_assert(RECORDS_MAX >= WM_DNS_SCAN_KERNEL * WM_DNS_RR_AAAA + WM_DNS_OPT_LEN + 4, "a scan");
/* Mask for the length of those that are sent, and of a piece for bpf_csum_diff(). */
#define SENT_MASK  0x7ff
#define PIECE	   512
#define PIECE_MASK (PIECE - 1)
_Static_assert(WM_DNS_EDNS_MAX <= SENT_MASK && SENT_MASK < RECORDS_MAX, "what is sent");

/* Words, so that names are hashed and compared eight octets at a time. */
union body {
	__u64 words[BODY_MAX / 8];
	__u8 octets[BODY_MAX];
};
union records {
	__u64 words[RECORDS_MAX / 8];
	__u8 octets[RECORDS_MAX];
};

/* What is known of the packet and of the answer while both are worked on. It lies in a map, not on
 * the stack: there is more of it than the stack holds, and the verifier does not follow what is
 * stored in a map, so its paths through the loops stay few. One per CPU: tc programs do not nest.
 */
struct work {
	union body question;
	union records answer;
	struct wm_dns_walk walk;
	struct wm_hot_head hot;	    /* what another server said */
	struct wm_ready_head ready; /* what userspace made */
	struct wm_packet packet;
	struct wm_dns_query query;
	struct wm_named name;		/* the entry's head */
	__u32 records, records_len;	/* records_len with SOA or OPT */
	bool likely;			/* the name's length is the message's: labels_read() */
	bool nodata;			/* no record, and an SOA that says so */
	__u16 authorities, additionals; /* records, without OPT */
	__u16 flags;			/* of the answer, host order */
	bool mac;			/* of a pod: the answer is sent back out of its device */
	bool peer;			/* straight to the other end of it */
	__u32 link; /* the link that the last question came by whose answers have a bound; 0: none
		     */
	int kept;   /* counter of answers that were not made here; 0: it was */
	__u8 rcode;
	__u16 type; /* of the records: the question's, or what ANY is answered with */
	__u32 zone; /* which of our domains; 2: none */
	__u32 domain_at, service_at; /* where these begin of a name that may not be */
	struct wm_deny_labels labels;
	__u64 name_sum; /* of the name's words as received, for the checksum */
	struct wm_name_key key;
	struct wm_name_key below; /* of what the name has from service_at on */
	__u32 whole;		  /* the word that tells whether all such names are counted */
	/* of names in another form than in the tables */
	struct wm_plain_form form;
	__u32 plain_len;
	bool absent;
	union body given; /* the query's options, and how many octets of them */
	__u32 options_len;
	struct wm_options options;
	struct wm_cookie_ask cookie;
	int client;	     /* what dns_options knows of him: OPTIONS_* */
	__u64 tick, tick_ns; /* the clock, and when it was read: tick_now() */
	/* of questions that are told of (dns_sample.h) */
	__u64 asked_ns; /* CLOCK_BOOTTIME of this one; 0: it is none of them */
	__u32 sample_left, sample_every;
	__u8 why; /* enum wm_sample_level, where it is none of an answer as it was made; else 0 */
	/* of SRV */
	struct wm_srv srv[WM_SRV_MAX];
	__u32 srv_count;
	__u32 srv_at;	       /* where the next record goes */
	__u64 few[WM_FEW_MAX]; /* what is written of those of a set of few */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct work);
} dns_work SEC(".maps");

/* Programs of their own for what is rarer than an address, by enum wm_dns_tail: there is no room
 * for it in one. Where one is not there, userspace answers. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, WM_DNS_TAILS);
	__type(key, __u32);
	__type(value, __u32);
} dns_tails SEC(".maps");

#include "dns_sample.h"
#include "dns_nat.h"

/* Functions that are global, not inlined: the verifier walks each once by itself, and not once for
 * every path that leads to it; what loops is kept in them. Linux 6.1 would give up otherwise. */

/** @p n, 1 to @p mask + 1, for a helper that takes a length: Linux 6.1 forgets the bounds of a
 * 32-bit value that was spilled, so they are told again at the call. */
static __always_inline __u32 bounded(__u32 n, __u32 mask)
{
	n--;
	asm volatile("" : "+r"(n));
	return (n & mask) + 1;
}

/** Word @p i of the question, which whole names of @p len octets end in, with zeros behind them. */
static __always_inline __u64 last_word(const struct work *w, __u32 i, __u32 len)
{
	return wm_name_mask(w->question.words[i & (WM_NAME_WORDS - 1)], i, len);
}

static __always_inline void hash_word(struct wm_name_hasher *h, __u64 word, __u64 *sum)
{
	*sum += (word >> 32) + (__u32)word;
	wm_hash_word(h, wm_fold8(word));
}

/** Fold and hash the question's name into w->key; sum its words for the checksum. What comes behind
 *  its whole words stands behind the loop, and reads the length again, so that it is one state for
 *  the verifier and not one of each length. */
__noinline int dns_hash_name(struct work *w, __u64 seed0, __u64 seed1)
{
	const __u64 seed[2] = {seed0, seed1};
	struct wm_name_hasher h;
	__u64 sum = 0;
	__u32 len;

	if (!w)
		return 0;
	len = w->query.name_len;
	wm_hash_begin(&h, seed);
	for (__u32 i = 0; i < WM_NAME_WORDS; i++) {
		if (i >= len / 8)
			break;
		hash_word(&h, w->question.words[i], &sum);
	}
	len = WM_READ(w->query.name_len);
	if (len % 8)
		hash_word(&h, last_word(w, len / 8, len), &sum);
	w->name_sum = sum;
	wm_hash_end(&h, len, &w->key);
	return 0;
}

/** Is the question's name the one of @p e? */
__noinline int dns_same_name(struct work *w, const struct wm_name *e)
{
	__u32 len;

	if (!w || !e)
		return 0;
	len = w->query.name_len;
	if (e->len != len)
		return 0;
	for (__u32 i = 0; i < WM_NAME_WORDS; i++) {
		if (i >= len / 8)
			break;
		/* folded again rather than stored: a store of each word would be a state of each
		 * length */
		if (((const __u64 *)e->name)[i] != wm_fold8(w->question.words[i]))
			return 0;
	}
	len = WM_READ(w->query.name_len);
	return !(len % 8) || ((const __u64 *)e->name)[len / 8 & (WM_NAME_WORDS - 1)] ==
				     wm_fold8(last_word(w, len / 8, len));
}

#include "dns_question.h"

/** The entry of w->key into w->name. @return 0 or a counter. */
__noinline int dns_read_name(struct work *w)
{
	struct wm_name_key key;
	const struct wm_name *e;
	int same;

	if (!w)
		return WM_C_DNS_PASS_UNKNOWN;
	key = w->key;
	e = bpf_map_lookup_elem(&names, &key);
	if (!e)
		return WM_C_DNS_PASS_UNKNOWN;
	wm_name_read(e, &w->name);
	same = dns_same_name(w, e);
	if (!wm_name_sealed(&key, &w->name))
		return WM_C_DNS_PASS_TORN;
	return same ? 0 : WM_C_DNS_PASS_COLLISION;
}

/** Begin to read what the name of w->key most probably leads to. */
__noinline int dns_name_ahead(struct work *w)
{
	if (w)
		likely_name_ahead(&w->key);
	return 0;
}

/** The entry of the question's name, read again if it changed meanwhile. @return 0 or a counter. */
static __always_inline int find_name(const struct wm_config *c, struct work *w)
{
	int why;

	dns_hash_name(w, c->seed[0], c->seed[1]);
	dns_name_ahead(w);
	why = dns_read_name(w);
	return why == WM_C_DNS_PASS_TORN ? dns_read_name(w) : why;
}

__noinline int dns_twin_a(struct work *w)
{
	return w ? (int)wm_dns_twin(&w->walk, w->answer.octets, WM_DNS_A) : 0;
}

__noinline int dns_twin_aaaa(struct work *w)
{
	return w ? (int)wm_dns_twin(&w->walk, w->answer.octets, WM_DNS_AAAA) : 0;
}

static __always_inline int step(struct work *w, __u16 type)
{
	const __u32 len = type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA;
	__u32 records;
	int p;

	if (!w)
		return WM_PICK_TORN;
	records = w->walk.records;
	if (records >= WM_DNS_SCAN_KERNEL)
		return WM_PICK_NONE;
	p = wm_dns_walk_step(NULL, &w->walk, type, w->answer.octets + records * len);
	if (p == WM_PICKED)
		wm_dns_walk_keep(&w->walk,
				 (__u32)(type == WM_DNS_A ? dns_twin_a(w) : dns_twin_aaaa(w)));
	return p;
}

/* One function for both types is one call in the loop. */
__noinline int dns_step(struct work *w)
{
	if (!w)
		return WM_PICK_TORN;
	return w->type == WM_DNS_AAAA ? step(w, WM_DNS_AAAA) : step(w, WM_DNS_A);
}

static __always_inline void place(struct work *w, __u16 type, __u32 i)
{
	wm_dns_swap(w->answer.octets, type, i,
		    wm_order_swap(&w->walk.order, i) & (WM_DNS_SCAN_KERNEL - 1));
}

/** Put record @p i of those that were gathered where it belongs. */
__noinline int dns_place(struct work *w, __u32 i)
{
	if (!w || i >= WM_DNS_SCAN_KERNEL)
		return 0;
	if (w->type == WM_DNS_AAAA)
		place(w, WM_DNS_AAAA, i);
	else
		place(w, WM_DNS_A, i);
	return 0;
}

__noinline int dns_shuffle(struct work *w)
{
	if (!w)
		return 0;
	for (__u32 i = 0; i < WM_DNS_SCAN_KERNEL; i++) {
		if (i >= w->walk.records)
			break;
		dns_place(w, i);
	}
	return 0;
}

/** Gather the addresses of a set that has @p count slots. @return what the walk ended with. */
__noinline int dns_gather(struct work *w)
{
	int p = WM_PICK_MORE;

	if (!w)
		return WM_PICK_TORN;
	for (int i = 0; i <= WM_DNS_SCAN_KERNEL; i++) {
		if (p != WM_PICKED && p != WM_PICK_MORE)
			break;
		p = dns_step(w);
	}
	return p;
}

/** CLOCK_BOOTTIME as of the kernel's current tick, up to 10 ms ago: to read it takes 25 ns. Not for
 * what is compared with a time that somebody else has just read. */
static __always_inline __u64 tick_now(struct work *w)
{
	__u64 tick = bpf_jiffies64();

	if (tick != w->tick) {
		w->tick = tick;
		w->tick_ns = bpf_ktime_get_boot_ns();
	}
	return w->tick_ns;
}

/** Octets of records that the client takes, and we send. */
static __always_inline __u32 room(const struct work *w)
{
	__u32 size = w->query.edns ? w->query.udp_size : WM_DNS_UDP_MAX;

	if (size > WM_DNS_EDNS_MAX)
		size = WM_DNS_EDNS_MAX;
	return size - WM_DNS_HEADER_LEN - w->query.name_len - 4 -
	       (w->query.edns ? WM_DNS_OPT_LEN : 0);
}

/** The SOA of the domain that begins at octet @p domain of the message, and no record. */
static __always_inline int put_soa(struct work *w, __u32 domain)
{
	__u64 now_s = tick_now(w) / 1000000000;

	wm_dns_put_soa(w->answer.octets, domain, wall_at_boot_s + (__u32)now_s, negative_ttl_s);
	w->nodata = true;
	w->records = 0;
	w->records_len = WM_DNS_RR_SOA;
	return 0;
}

/** Word @p i of the @p len octets that the question's name ends with, zeros behind. */
static __always_inline __u64 tail_word(const struct work *w, __u32 i, __u32 len)
{
	return wm_deny_word(w->question.octets, w->query.name_len - len + i * 8);
}

/** Does the question's name end with domain @p i? What comes behind whole words stands behind the
 *  loop, as in dns_hash_name(). */
__noinline int dns_ends_with(struct work *w, __u32 i)
{
	const volatile struct wm_deny_zone *z;
	__u32 len;

	if (!w || i >= WM_DENY_ZONES)
		return 0;
	z = &deny_zones[i];
	len = z->len;
	if (!len || len > w->query.name_len)
		return 0;
	for (__u32 k = 0; k < WM_NAME_WORDS; k++) {
		if (k >= len / 8)
			break;
		if (tail_word(w, k, z->len) != z->words[k])
			return 0;
	}
	len = z->len;
	return !(len % 8) || wm_name_mask(tail_word(w, len / 8, len), len / 8, len) ==
				     z->words[len / 8 & (WM_NAME_WORDS - 1)];
}

/** Octets of the one of our domains that the question's name ends with; 0: of none. */
__noinline int dns_domain_len(struct work *w)
{
	for (__u32 i = 0; w && i < WM_DENY_ZONES; i++)
		if (dns_ends_with(w, i))
			return (int)deny_zones[i].len;
	return 0;
}

/** The name is there and has no record of the type: its domain's SOA says so. */
static __always_inline int no_data(struct work *w)
{
	__u32 domain = w->query.name_len - (__u32)dns_domain_len(w);

	return put_soa(w, WM_DNS_HEADER_LEN + (domain & 0xff));
}

/** What can be said of the question's name, which is not in the tables. @return enum wm_deny, with
 *  w->domain_at and w->service_at. */
__noinline int dns_deny(struct work *w)
{
	struct wm_deny_label dc;
	__u32 zone = 0, labels;

	if (!w)
		return WM_DENY_NOT;
	w->zone = 2;
	if (!dns_ends_with(w, 0)) {
		zone = 1;
		if (!dns_ends_with(w, 1))
			return WM_DENY_NOT;
	}
	w->zone = zone;
	dc.word = deny_dc.word;
	dc.mask = deny_dc.mask;
	labels = deny_zones[zone].labels;
	w->domain_at = w->query.name_len - deny_zones[zone].len;
	w->service_at = wm_deny_before(&w->labels, labels, 2);
	return wm_deny_of(w->question.octets, w->query.name_len, &w->labels, deny_zones[zone].len,
			  labels, &dc);
}

/** Hash what the question's name has from w->service_at on into w->below. */
__noinline int dns_hash_below(struct work *w, __u64 seed0, __u64 seed1)
{
	const __u64 seed[2] = {seed0, seed1};
	struct wm_name_hasher h;
	__u32 len;

	if (!w)
		return 0;
	len = w->query.name_len - w->service_at;
	wm_hash_begin(&h, seed);
	for (__u32 i = 0; i < WM_NAME_WORDS; i++) {
		if (i >= len / 8)
			break;
		wm_hash_word(&h, wm_deny_word(w->question.octets, w->service_at + i * 8));
	}
	len = WM_READ(w->query.name_len) - WM_READ(w->service_at);
	if (len % 8)
		wm_hash_word(&h, wm_name_mask(tail_word(w, len / 8, len), len / 8, len));
	wm_hash_end(&h, len, &w->below);
	return 0;
}

/** Is <service>.service.<domain>, or .virtual.<domain>, in the tables, which the question's name
 * ends with? A name of the same hash counts: then userspace looks. */
static __always_inline int knows_service(struct work *w, __u64 seed0, __u64 seed1)
{
	struct wm_name_key key;

	dns_hash_below(w, seed0, seed1);
	key = w->below;
	return bpf_map_lookup_elem(&names, &key) != NULL;
}

/** The name is not there: an SOA says so for it and all below it (RFC 8020). @return 0 or a
 *  counter. @p complete, as it was before the name was looked for: every service is in the tables.
 */
static __always_inline int no_name(const struct wm_config *c, struct work *w, bool complete)
{
	int deny = dns_deny(w);

	if (deny == WM_DENY_NO_SERVICE)
		deny = complete && (!w->service_at || !knows_service(w, c->seed[0], c->seed[1]))
			       ? WM_DENY_FORM
			       : WM_DENY_NOT;
	else if (WM_READ(c->flags) & WM_CONFIG_F_RECORDS)
		return WM_C_DNS_PASS_UNKNOWN;
	if (deny != WM_DENY_FORM)
		return WM_C_DNS_PASS_UNKNOWN;
	w->rcode = WM_DNS_NXDOMAIN;
	return put_soa(w, WM_DNS_HEADER_LEN + (w->domain_at & 0xff));
}

/** Families that records of @p type are of; 0: none. */
static __always_inline __u32 families_of(__u16 type)
{
	return type == WM_DNS_A ? WM_FAMILY_4 : type == WM_DNS_AAAA ? WM_FAMILY_6 : 0;
}

/** As wm_dns_walk_begin(). Of a set with one slot nothing is drawn. */
static __always_inline int walk_begin(struct work *w, __u32 set)
{
	enum wm_pick p = wm_table_load(NULL, set, &w->walk.table);
	__u64 random = 0;

	if (p == WM_PICKED && (w->walk.table.count > 1 || w->walk.table.head.tiers > 1))
		random = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
	if (p == WM_PICKED)
		wm_dns_walk_start(NULL, random, tick_now(w), &w->walk);
	return p;
}

#include "dns_srv_few.h"

/** Nothing of the family that is asked for is up. @return 0 or a counter. */
static __always_inline int none_up(struct work *w, const struct wm_set_live *live)
{
	return WM_READ(live->up4) | WM_READ(live->up6) ? no_data(w) : WM_C_DNS_PASS_EMPTY;
}

/** Records of a set. Of a family that nothing has that is up, there are none, without a look at the
 *  slots; few slots say so themselves, and the line of live words is not waited for.
 *  @return 0 or a counter. */
static __always_inline int set_records(struct work *w, __u32 index)
{
	const struct wm_set_live *live = wm_at_set_live(NULL, index);
	__u32 records, len;
	int p;

	if (!live)
		return WM_C_DNS_PASS_EMPTY;
	if (w->type == WM_DNS_ANY)
		w->type = WM_READ(live->up4) ? WM_DNS_A : WM_DNS_AAAA;
	p = walk_begin(w, index);
	if (p != WM_PICKED)
		return p == WM_PICK_NONE ? WM_C_DNS_PASS_EMPTY : WM_C_DNS_PASS_TORN;
	if (w->type == WM_DNS_SRV)
		return dns_srv_few(w) ? 0 : WM_C_DNS_PASS_TYPE;
	if (!(w->walk.table.head.flags & WM_HEAD_FEW && families_of(w->type)) &&
	    !wm_ups(NULL, index, families_of(w->type)))
		return none_up(w, live);
	if (w->walk.count > WM_DNS_SCAN_KERNEL)
		return WM_C_DNS_PASS_SIZE;
	p = dns_gather(w);
	if (p != WM_PICK_NONE)
		return WM_C_DNS_PASS_TORN;
	records = w->walk.records;
	if (!records && !wm_ups(NULL, index, families_of(w->type)))
		return none_up(w, live);
	if (!records)
		return w->walk.others && w->walk.table.head.tiers < 2 && w->query.type != WM_DNS_ANY
			       ? no_data(w)
			       : WM_C_DNS_PASS_EMPTY;
	if (a_record_limit && records > a_record_limit)
		records = a_record_limit;
	/* not sooner: from here on it is two paths for the verifier */
	len = w->type == WM_DNS_AAAA ? WM_DNS_RR_AAAA : WM_DNS_RR_A;
	if (records * len > room(w))
		return WM_C_DNS_PASS_SIZE;
	if (w->walk.records > 1)
		dns_shuffle(w);
	w->records = records;
	w->records_len = records * len;
	return 0;
}

static __always_inline int virtual_record(struct work *w, const struct wm_named *e, __u32 ttl_s)
{
	__u8 *out = w->answer.octets;
	__be32 vip[4] = {0, 0, WM_V4_MAPPED_BE, e->vip4_be};

	w->records = 1;
	if (w->type == WM_DNS_ANY)
		w->type = vip[3] ? WM_DNS_A : WM_DNS_AAAA;
	if (w->type == WM_DNS_AAAA) {
		vip[0] = e->vip6_be[0];
		vip[1] = e->vip6_be[1];
		vip[2] = e->vip6_be[2];
		vip[3] = e->vip6_be[3];
		if (!(vip[0] | vip[1] | vip[2] | vip[3]))
			return no_data(w);
		wm_dns_put_address(out, WM_DNS_AAAA, ttl_s, vip);
		w->records_len = WM_DNS_RR_AAAA;
	} else if (w->type == WM_DNS_A && vip[3]) {
		wm_dns_put_address(out, WM_DNS_A, ttl_s, vip);
		w->records_len = WM_DNS_RR_A;
	} else {
		return no_data(w);
	}
	return 0;
}

/** Turn question into records. @return 0 or the counter that says why not. */
static __always_inline int build(const struct wm_config *c, struct work *w)
{
	const struct wm_named *e = &w->name;
	bool complete = WM_READ(c->flags) & WM_CONFIG_F_COMPLETE;
	int why;

	w->rcode = WM_DNS_NOERROR;
	w->type = w->query.type;
	WM_COMPILER_BARRIER();
	why = find_name(c, w);
	if (why && !labels_read(w))
		return misread(w);
	if (why == WM_C_DNS_PASS_UNKNOWN && w->type != WM_DNS_SRV)
		return no_name(c, w, complete);
	if (why)
		return why;
	w->walk.ttl_s = e->flags & WM_NAME_F_TTL ? e->ttl_s : c->ttl_s;
	w->nodata = false;
	if (e->kind == WM_NAME_VIRTUAL)
		return virtual_record(w, e, w->walk.ttl_s);
	return set_records(w, e->set);
}

/** Close the records with an OPT if the query had one, and pad to whole 32-bit words with zeros. */
static __always_inline void close_records(struct work *w)
{
	__u8 *out = w->answer.octets;
	__u32 at = WM_READ(w->records_len);

	if (at > WM_DNS_EDNS_MAX)
		at = WM_DNS_EDNS_MAX; /* never: tells the verifier */
	if (w->query.edns) {
		wm_dns_put_opt(out + at, 0, w->query.edns_flags);
		at += WM_DNS_OPT_LEN;
	}
	w->records_len = at;
	for (int i = 0; i < 3; i++)
		out[at + i] = 0;
}

/** Sum of the records' octets: bpf_csum_diff() takes 512 at a time. */
static __always_inline __u32 records_sum(struct work *w)
{
	__u32 len = (w->records_len + 3) & ~3u, sum = 0, n;

	for (__u32 at = 0; at < 3 * PIECE; at += PIECE) {
		if (at >= len)
			break;
		n = len - at;
		if (n > PIECE)
			n = PIECE;
		sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)(w->answer.octets + at),
					   bounded(n, PIECE_MASK), sum);
	}
	return sum;
}

/** The UDP checksum of the whole answer, complemented; everything but the addresses is known here.
 *  @p addresses: sum of source and destination. */
static __always_inline __u16 answer_checksum(struct work *w, __u64 addresses, __u16 udp_len)
{
	const struct wm_dns_header *h = &w->packet.header;
	__u16 ports_sum = w->packet.ports_sum;
	__u64 sum = addresses + ports_sum, tail;
	__u32 odd = w->query.name_len & 1;

	sum += 2 * (__u32)__builtin_bswap16(udp_len) + __builtin_bswap16(IPPROTO_UDP);
	sum += h->id + (__u32)h->flags + h->questions;
	sum += (__u32)h->answers + h->authorities + h->additionals;
	sum += w->name_sum;
	/* type and class, then the records: behind a name of odd length octets change places */
	tail = (__u64)wm_csum_fold(records_sum(w)) + __builtin_bswap16(w->query.type) +
	       __builtin_bswap16(w->query.class);
	tail = wm_csum_fold(tail);
	sum += odd ? __builtin_bswap16((__u16)tail) : tail;
	sum = (__u16)~wm_csum_fold(sum);
	return sum ? (__u16)sum : 0xffff;
}

/** Set the UDP checksum of a packet that may be CHECKSUM_PARTIAL, which a program cannot see: then
 *  the field holds the pseudo header's sum and only its length may change; else it must be @p want.
 *  bpf_l4_csum_replace() tells the two apart by its pseudo header flag. MARK_ENFORCE, since the
 * field may be zero in between, which it would else take for "no checksum" and leave. */
static __always_inline int set_checksum(struct __sk_buff *skb, __u32 off, __u16 was, __u16 want,
					__be16 old_len_be, __be16 new_len_be)
{
	__u16 now;

	if (bpf_l4_csum_replace(skb, off, old_len_be, new_len_be, BPF_F_PSEUDO_HDR | 2))
		return -1;
	if (bpf_skb_load_bytes(skb, off, &now, sizeof(now)))
		return -1;
	return (int)bpf_l4_csum_replace(skb, off, (__u16)~now, (__u16)~want,
					BPF_F_MARK_MANGLED_0 | BPF_F_MARK_ENFORCE | 2);
}

/** Let another program go on with what was read. @return only where it is not there. */
static __always_inline int go_on(struct __sk_buff *skb, struct work *w, enum wm_dns_tail tail,
				 bool mac)
{
	w->mac = mac;
	bpf_tail_call(skb, &dns_tails, tail);
	return WM_C_DNS_PASS_TAIL;
}

/** The same with a program that needs the name's labels. */
static __always_inline int go_on_named(struct __sk_buff *skb, struct work *w, enum wm_dns_tail tail,
				       bool mac)
{
	return labels_read(w) ? go_on(skb, w, tail, mac) : misread(w);
}

/** Write the answer over the query. What can fail for want of memory comes before the first octet
 * is changed: room behind the question, and a packet that is ours alone and in one piece.
 *  @return 0; PASS_RESIZE: the datagram is as it was, the frame perhaps longer; DROP_WRITE: it is
 *  neither query nor answer, and nobody may see it. */
static __always_inline int write_now(struct __sk_buff *skb, struct work *w, bool mac)
{
	__u32 question = WM_DNS_HEADER_LEN + w->query.name_len + 4, len = w->records_len;
	__u32 dns_off = w->packet.dns_off, frame = dns_off + question + len;
	__u16 udp_len = (__u16)(8 + question + len), want;
	struct wm_dns_header *h = &w->packet.header;
	bool longer = frame > skb->len;
	__u64 addresses;

	if (!len || len > WM_DNS_EDNS_MAX)
		return WM_C_DNS_PASS_RESIZE; /* never: tells the verifier */
	if (fail_write == 1 || (longer && bpf_skb_change_tail(skb, frame, 0)))
		return WM_C_DNS_PASS_RESIZE;
	/* one that was made longer is ours alone and in one piece */
	if (fail_write == 2 || (!longer && bpf_skb_pull_data(skb, frame)))
		return WM_C_DNS_PASS_RESIZE;
	if (fail_write == 3 || bpf_skb_store_bytes(skb, dns_off + question, w->answer.octets,
						   bounded(len, SENT_MASK), 0))
		return WM_C_DNS_DROP_WRITE;
	h->flags = __builtin_bswap16(w->flags);
	h->answers = __builtin_bswap16((__u16)w->records);
	h->authorities = __builtin_bswap16(w->authorities);
	h->additionals = __builtin_bswap16(w->additionals + w->query.edns);
	if (fail_write == 4 || wm_packet_turn(skb, &w->packet, udp_len, mac, &addresses))
		return WM_C_DNS_DROP_WRITE;
	if (w->packet.v6 || (mac && w->packet.csum)) {
		want = answer_checksum(w, addresses, udp_len);
		if (fail_write == 5 ||
		    set_checksum(skb, dns_off - 2, w->packet.csum, want, w->packet.udp_len_be,
				 __builtin_bswap16(udp_len)))
			return WM_C_DNS_DROP_WRITE;
	}
	if (frame <
	    skb->len) /* options that were longer; if they stay, they lie behind the datagram */
		bpf_skb_change_tail(skb, frame, 0);
	return 0;
}

/** The same, but that for a client of a link another program looks first how often its network was
 *  told so. @return as write_now(), or PASS_TAIL: that program is not there. */
static __always_inline int write_answer(struct __sk_buff *skb, struct work *w, bool mac)
{
	return mac && w->link == skb->ifindex ? go_on(skb, w, WM_DNS_TAIL_LIMIT, mac)
					      : write_now(skb, w, mac);
}

/** Does the OPT have options? */
static __always_inline bool has_options(const struct work *w)
{
	return w->packet.message_len > WM_DNS_HEADER_LEN + w->query.name_len + 4u + WM_DNS_OPT_LEN;
}

/** Send an answer whose records are closed. @return as respond(). */
static __always_inline int send(struct __sk_buff *skb, struct work *w, bool mac)
{
	struct wm_counters *n = counters_get();
	int why = write_answer(skb, w, mac);

	if (why)
		return why;
	COUNT(n, dns_answered);
	if (w->kept == WM_C_DNS_HOT)
		COUNT(n, dns_hot);
	else if (w->rcode)
		COUNT(n, dns_nxdomain);
	else if (w->nodata)
		COUNT(n, dns_nodata);
	if (w->kept == WM_C_DNS_READY)
		COUNT(n, dns_ready);
	sample(skb, w);
	return 0;
}

/** Send an answer whose flags and counts stand, with what the query's options ask for.
 * @return as respond(). */
static __always_inline int finish(struct __sk_buff *skb, struct work *w, bool mac)
{
	if (has_options(w))
		return use_tails ? go_on(skb, w, WM_DNS_TAIL_OPTIONS, mac) : WM_C_DNS_PASS_TAIL;
	close_records(w);
	return send(skb, w, mac);
}

/** Send what was built, here or by dns_options. @return as respond(). */
static __always_inline int answer(struct __sk_buff *skb, struct work *w, bool mac)
{
	w->flags = wm_dns_answer_flags(w->query.flags, w->rcode);
	w->authorities = w->nodata;
	return finish(skb, w, mac);
}

/** Is it PTR of a name below none of our domains, an address as a rule? That is in no table of
 *  names, so it need not be looked for there. */
static __always_inline bool is_reverse(struct work *w)
{
	return w->query.type == WM_DNS_PTR && !dns_domain_len(w);
}

/** May SRV of the question's name be of a set of few? Names of RFC 2782 are in no table, and of
 *  which domain others are is known here for the first alone. */
static __always_inline bool is_srv_here(struct work *w)
{
	w->zone = 0;
	return w->question.octets[1] != '_' && dns_ends_with(w, 0);
}

/** The core. @return 0 answered, or the counter of the reason; -1 when the packet is not for us. */
static __always_inline int respond(struct __sk_buff *skb, bool mac)
{
	const struct wm_config *c = config_get();
	struct wm_packet packet = {};
	struct wm_counters *n;
	__u32 zero = 0;
	struct work *w;
	int why, dropped = 0;

	if (!c || !(c->flags & WM_CONFIG_F_DNS))
		return -1;
	why = wm_packet_read(skb, c, &packet);
	if (why < 0)
		return -1;
	n = counters_get();
	COUNT(n, dns_query);
	if (mac && (dropped = dns_guard_drops(skb)) > 0) /* what comes by lo is from this node */
		return dropped;
	w = bpf_map_lookup_elem(&dns_work, &zero);
	if (why)
		return why;
	if (!mac && is_translated(skb))
		return WM_C_DNS_PASS_NAT;
	if (!w)
		return WM_C_DNS_PASS_RESIZE; /* never: tells the verifier */
	if (c->stale_after_ns &&
	    bpf_ktime_get_boot_ns() - WM_READ(c->confirmed_ns) > c->stale_after_ns)
		return WM_C_DNS_PASS_STALE;
	w->packet = packet;
	w->mac = mac;
	w->peer = dropped == GUARD_PEER;
	w->additionals = 0;
	w->kept = 0;
	sample_count(w);
	__builtin_memset(&w->query, 0, sizeof(w->query));
	why = read_query(skb, w);
	if (why)
		return why;
	if (w->query.type == WM_DNS_SRV && !is_srv_here(w))
		return go_on_named(skb, w, WM_DNS_TAIL_SRV, mac);
	if (ready_on && use_tails && is_reverse(w)) {
		w->zone = 2;
		dns_hash_name(w, c->seed[0], c->seed[1]);
		return go_on(skb, w, WM_DNS_TAIL_READY, mac);
	}
	why = build(c, w);
	if (why && w->query.type == WM_DNS_SRV)
		return go_on_named(skb, w, WM_DNS_TAIL_SRV, mac);
	if (use_tails && why == WM_C_DNS_PASS_UNKNOWN && w->zone < 2)
		return go_on(skb, w, WM_DNS_TAIL_REST, mac);
	if (ready_on && use_tails && why == WM_C_DNS_PASS_UNKNOWN)
		return go_on(skb, w, WM_DNS_TAIL_READY, mac);
	if (hot_on && use_tails && why == WM_C_DNS_PASS_UNKNOWN && w->query.flags & WM_DNS_RD)
		why = go_on(skb, w, WM_DNS_TAIL_HOT, mac);
	return why ? why : answer(skb, w, mac);
}

static __always_inline void count_reason(int why)
{
	struct wm_counters *n = counters_get();
	__u32 at = (__u32)why;

	/* both bounds as one comparison are of a copy, of which Linux 6.1 learns nothing for the
	 * rest */
	__asm__ volatile("" : "+r"(at));
	if (n && why > 0 && at < WM_COUNTER_COUNT)
		((__u64 *)n)[at]++;
}

/* What is not answered goes to whoever else looks at packets here: TC_ACT_UNSPEC is the next tcx
 * program or filter, where TC_ACT_OK would end the chain. */
static __always_inline int leave(int why)
{
	count_reason(why);
	return why == WM_C_DNS_DROP_WRITE ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

/** Send an answer back where its question came from. To the other end of a pair it goes without the
 *  queue of that end. */
static __always_inline int back(struct __sk_buff *skb, const struct work *w)
{
	return (int)(w->peer ? bpf_redirect_peer(skb->ifindex, 0) : bpf_redirect(skb->ifindex, 0));
}

/** How a program that was called ends. */
static __always_inline int end(struct __sk_buff *skb, const struct work *w, int why)
{
	if (why)
		return leave(why);
	return w->mac ? back(skb, w) : TC_ACT_OK;
}

/* Nobody sees it. */
static __always_inline int drop(int why)
{
	count_reason(why);
	return TC_ACT_SHOT;
}

/** The same of a question that was not looked at yet: the program that tells of some does it. */
static __always_inline int refuse(struct __sk_buff *skb, struct work *w, int why)
{
	if (use_samples && w) {
		w->why = why == WM_C_DNS_DROP_POD ? WM_SAMPLE_POD : WM_SAMPLE_REFUSED;
		bpf_tail_call(skb, &dns_tails, WM_DNS_TAIL_TELL);
	}
	return drop(why);
}

SEC("tc")
int dns_lo(struct __sk_buff *skb)
{
	int why = respond(skb, false);

	return why ? leave(why) : TC_ACT_OK;
}

SEC("tc")
int dns_veth(struct __sk_buff *skb)
{
	int why = respond(skb, true);
	__u32 zero = 0;
	struct work *w = bpf_map_lookup_elem(&dns_work, &zero);

	if (why == WM_C_DNS_DROP_ALLOW || why == WM_C_DNS_DROP_POD)
		return refuse(skb, w, why);
	return why || !w ? leave(why) : back(skb, w);
}

#include "dns_hot.h"
#include "dns_plain.h"
#include "dns_tell.h"
#include "dns_options.h"
#include "dns_srv.h"
#include "dns_rest.h"
#include "dns_ready.h"
#include "dns_absent.h"
#include "dns_limit.h"
#include "dns_link.h"
