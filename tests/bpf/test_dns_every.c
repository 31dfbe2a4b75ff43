/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* A hundred thousand questions of every type, with every flag, opcode and version of EDNS, for
 * names of every kind, under policies too, each by one of three ways: of this node, of a pod, of
 * another machine. What the kernel answers is what userspace says. What the kernel has to answer is
 * told by dns_diff. */
#include "dns_compare.h"
#include "link_frames.h"
#include "userspace/base/random.h"

/* What the kernel says again is dns_static's: here it knows which nodes there are, no more. */
static int no_put(void *arg, struct wm_ready *e, uint16_t type)
{
	(void)arg;
	(void)e;
	(void)type;
	return -EOPNOTSUPP;
}

static void every_setup(void)
{
	struct wm_ready_kernel k = {.put = no_put};

	policy = (struct wm_tables_policy){.only_passing = false};
	dns_setup();
	k.words = wm_plane_ready_words(plane);
	cr_assert(k.words);
	cr_assert_eq(wm_dns_server_ready(server, &k), 0);
}
TestSuite(dns_every, .init = every_setup, .fini = dns_teardown, .timeout = 600);

#define QUESTIONS 100000
#define PLAIN	  12  /* services without a policy, and as many that may have one */
#define DRAWS	  500 /* answers among which the one of a tier that has a tenth of the share is */

static uint64_t seed;

static unsigned below(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

/* --- services ----------------------------------------------------------------------------------
 */
static void add_one(const char *name, unsigned s, unsigned i)
{
	static const enum wm_status statuses[6] = {WM_WARNING, WM_CRITICAL}; /* passing */
	static const char *const tags[] = {"v1", "v2", "a.b"};
	struct wm_check_draft check = {.kind = WM_CHECK_TTL,
				       .ttl_ms = 600000,
				       .status = statuses[below(6)],
				       .has_status = true};
	char id[32], address[48];
	struct wm_instance_draft d = {.id = id,
				      .name = name,
				      .address = address,
				      .port = 1 + below(65535),
				      .tags = &tags[below(3)],
				      .tags_count = 1,
				      .has_weights = true,
				      .weight_passing = 1 + below(4),
				      .weight_warning = 1,
				      .checks = &check,
				      .checks_count = 1};
	struct wm_err e = {0};

	snprintf(id, sizeof(id), "%c%ui%u", *name, s, i);
	snprintf(address, sizeof(address),
		 s % 5 == 4 && i == 1 ? "host-%u-%u.example.org"
		 : below(3)	      ? "10.%u.0.%u"
				      : "fd00::%u:%u",
		 s, i + 1);
	if (below(6) == 0)
		*address = 0;
	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	published(name);
}

static void put_policy(const char *name, unsigned s)
{
	static const struct wm_policy_subset both[] = {
		{.name = "v1", .filter = "\"v1\" in Service.Tags"},
		{.name = "v2", .filter = "\"v2\" in Service.Tags"},
	};
	static struct wm_policy_draft d;
	struct wm_err e = {0};

	wm_policy_draft_init(&d, name);
	d.p.subsets = both;
	d.p.subsets_count = s % 4 ? 2 : 0;
	d.p.balance = s % WM_BALANCE_COUNT;
	/* of the tables of hashing there is room for few: one that has no tiers */
	if (s == PLAIN)
		d.p.balance = WM_BALANCE_MAGLEV;
	else if (d.p.balance == WM_BALANCE_MAGLEV)
		d.p.balance = WM_BALANCE_RANDOM;
	d.p.custom = d.p.balance == WM_BALANCE_CUSTOM ? "none" : "";
	d.splits[0] = (struct wm_policy_split){.percent = 7500, .service = "", .subset = "v1"};
	d.splits[1] = (struct wm_policy_split){.percent = 2500, .service = "", .subset = ""};
	d.p.splits = d.splits;
	d.p.splits_count = s % 4 == 1 ? 2 : 0;
	d.failover[0] =
		(struct wm_policy_target){.service = "svc-1", .subset = "", .of = "", .region = ""};
	d.p.failover = d.failover;
	d.p.failover_count = s % 4 == 2;
	d.p.select = s % 4 == 2 ? WM_SELECT_FAILOVER : s % 4 == 3 ? WM_SELECT_NEAREST : 0;
	cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
}

static void fill(void)
{
	char name[64];

	for (unsigned s = 0; s < 2 * PLAIN; s++) {
		unsigned n = s == 0 ? 40 : below(6); /* 40: more than fit without EDNS */

		snprintf(name, sizeof(name), s < PLAIN ? "svc-%u" : "pol-%u", s);
		for (unsigned i = 0; i < n; i++)
			add_one(name, s, i);
	}
	for (unsigned s = PLAIN; s < 2 * PLAIN; s++) {
		snprintf(name, sizeof(name), "pol-%u", s);
		put_policy(name, s);
	}
}

/* --- questions ---------------------------------------------------------------------------------
 */
static const char *pick(const char *const *list, unsigned n)
{
	return list[below(n)];
}
#define PICK(list) pick(list, sizeof(list) / sizeof(*(list)))

/* Of a service, in any form. */
static void service_name(char out[300])
{
	static const char *const labels[] = {"",     "",   "",	  "v1.",  "v2.",
					     "a.b.", "b.", "v3.", "x.v1."};
	static const char *const kinds[] = {".service", ".service", ".service", ".virtual"};
	static const char *const dcs[] = {"", "", ".dc1", ".dc2", ".dc"};
	static const char *const tags[] = {"tcp", "tcp", "v1", "v2", "udp", ""};
	unsigned s = below(2 * PLAIN + 2);
	char service[32];

	snprintf(service, sizeof(service), s < PLAIN ? "svc-%u" : "pol-%u", s);
	if (below(3))
		snprintf(out, 300, "%s%s%s%s.mesh.internal", PICK(labels), service, PICK(kinds),
			 PICK(dcs));
	else
		snprintf(out, 300, "_%s._%s%s%s.mesh.internal", service, PICK(tags),
			 below(2) ? ".service" : "", PICK(dcs));
}

static void other_name(char out[300])
{
	static const char *const names[] = {
		"mesh.internal",
		"ns.mesh.internal",
		"n1.node.mesh.internal",
		"n1.node.dc1.mesh.internal",
		"none.node.mesh.internal",
		"a.none.node.dc1.mesh.internal",
		"x.n1.node.mesh.internal",
		"0a000001.addr.mesh.internal",
		"0a000001.addr.dc1.mesh.internal",
		"fd000000000000000000000000000001.addr.mesh.internal",
		"x.addr.mesh.internal",
		"service.mesh.internal",
		"virtual.dc1.mesh.internal",
		"dc1.mesh.internal",
		"dc2.mesh.internal",
		"q.query.mesh.internal",
		"_tcp.mesh.internal",
		"_tcp.service.mesh.internal",
		"1.0.0.10.in-addr.arpa",
		"1.0.0.240.in-addr.arpa",
		"example.org",
		"internal",
		"",
	};

	snprintf(out, 300, "%s", PICK(names));
}

static void soup_name(char out[300])
{
	static const char *const words[] = {
		"service", "virtual", "dc1", "svc-1", "pol-13", "_tcp",	 "_svc-1", "_v1",    "v1",
		"node",	   "addr",    "_",   "mesh",  "x",	"query", "n1",	   "service"};

	*out = 0;
	for (unsigned n = 1 + below(5); n; n--)
		strcat(strcat(out, PICK(words)), ".");
	strcat(out, below(8) ? "mesh.internal" : "internal");
}

static void random_name(char out[300])
{
	unsigned kind = below(8);

	if (kind < 5)
		service_name(out);
	else if (kind < 7)
		other_name(out);
	else
		soup_name(out);
	for (char *p = out; *p; p++)
		if (*p >= 'a' && *p <= 'z' && below(4) == 0)
			*p = (char)(*p - 32);
}

/* Those that programs ask for, as often as all of the 65,536 together. */
static const uint16_t known[] = {
	1,  2,	5,  6,	12,  13,  15,  16,  28,	 29,  33,  35,	37,  39,    41,	   43,	  44,	46,
	47, 48, 50, 51, 52,  53,  55,  59,  60,	 61,  64,  65,	99,  18,    17,	   24,	  25,	27,
	36, 42, 45, 49, 249, 250, 251, 252, 253, 254, 255, 256, 257, 32768, 32769, 65280, 65535};
#define KNOWN (sizeof(known) / sizeof(*known))

static uint16_t random_type(unsigned n)
{
	static const uint16_t often[] = {1, 28, 33, 255};

	if (below(2))
		return often[below(4)];
	return below(2) ? known[below(KNOWN)] : (uint16_t)(n * 40503u); /* each in turn */
}

/* An OPT with options, of which some are not what they should be. @p f ends with an empty one. */
static void put_options(struct frame *f)
{
	static const uint8_t codes[][2] = {{0, 3}, {0, 8}, {0, 10}, {0, 12}, {0xfd, 0xe9}};
	uint8_t *opt = f->at + f->len - 11;
	unsigned len = 0;

	put16(opt + 3, below(4) ? 1232 : below(65536));
	opt[5] = below(16) ? 0 : (uint8_t)below(256); /* upper bits of an RCODE */
	opt[6] = below(8) ? 0 : (uint8_t)below(256);  /* version */
	put16(opt + 7, below(2) ? 0x8000 : below(3) ? 0 : below(65536));
	for (unsigned n = below(3); n; n--) {
		uint8_t *o = opt + 11 + len;
		unsigned octets = below(24);

		memcpy(o, codes[below(5)], 2);
		put16(o + 2, octets);
		for (unsigned i = 0; i < octets; i++)
			o[4 + i] = (uint8_t)below(256);
		len += 4 + octets;
	}
	f->len += len;
	put16(opt + 9, below(32) ? len : below(64));
}

static void vary(struct frame *f, const char *name)
{
	uint8_t *m = f->at + f->dns;
	size_t class = 12 + (*name ? strlen(name) + 2 : 1) + 2;

	put16(m, below(65536));
	if (m[11])
		put_options(f);
	m[2] = (uint8_t)(below(2) | (below(4) ? 0 : 4) | (below(32) ? 0 : 2));
	m[2] |= (uint8_t)(below(16) ? 0 : below(16) << 3); /* opcode */
	m[2] |= below(64) ? 0 : 0x80;
	m[3] = (uint8_t)(below(2) ? 0 : below(256)); /* RA, Z, AD, CD, RCODE */
	if (below(16) == 0)
		put16(m + class, below(2) ? 255 : below(65536));
	if (below(32) == 0)
		put16(m + 4 + 2 * below(4), below(3));
	if (below(32) == 0)
		f->len += below(12);
	seal(f);
}

/* --- the run -----------------------------------------------------------------------------------
 */
static bool has_policy(const char *name)
{
	struct srv_asked a;

	return srv_ask(name, &a) && wm_registry_policy(registry, a.service);
}

static bool has_tag(const char *name)
{
	struct srv_asked a;

	return srv_ask(name, &a) && *a.label && !wm_registry_policy(registry, a.service);
}

/* Does userspace give the kernel's answer? Which of several tiers an answer is of is drawn. */
static bool userspace_agrees(const struct frame *q, const struct frame *a, const char *name)
{
	unsigned draws = has_policy(name) ? DRAWS : 1, ignored;
	uint8_t out[WM_DNS_EDNS_MAX];
	size_t len;

	while (draws--) {
		len = wm_dns_respond(server, q->at + q->dns, q->len - q->dns, false, out,
				     sizeof(out));
		if (len && agree(a, out, len, &ignored))
			return true;
	}
	return false;
}

/* A type that is none of a record, or that is asked of nobody. */
static bool is_meta(uint16_t type)
{
	return !type || type == 41 || (type >= 128 && type < 255);
}

static const enum wm_prog_index ways[] = {WM_PROG_DNS_LO, WM_PROG_DNS_VETH, WM_PROG_DNS_LINK};
enum { WAYS = sizeof(ways) / sizeof(*ways) };

Test(dns_every, kernel_and_userspace_agree)
{
	unsigned answers = 0, srv = 0, by_policy = 0, by_tag = 0, of_known[KNOWN] = {0};
	unsigned by_way[WAYS] = {0};
	uint64_t first;

	seed = first = wm_random64();
	fill();
	listen_on_link();
	for (unsigned n = 0; n < QUESTIONS; n++) {
		unsigned way = below(WAYS);
		uint16_t type = random_type(n);
		uint8_t out[WM_DNS_EDNS_MAX];
		struct frame q, a;
		char name[300];

		if (n % 64 == 0)
			cr_assert_eq(wm_loop_turn(loop, 0), 0); /* tags that were asked for */
		random_name(name);
		query_frame(&q, below(2), name, type, below(3) ? 1232 : 0);
		vary(&q, name);
		if (ways[way] == WM_PROG_DNS_LINK)
			bring_by_link(&q);
		run(ways[way], &q, &a);
		if (same_frame(&q, &a)) {
			(void)wm_dns_respond(server, q.at + q.dns, q.len - q.dns, false, out,
					     sizeof(out));
			continue;
		}
		cr_assert(userspace_agrees(&q, &a, name), "seed %llu: question %u, %s type %u",
			  (unsigned long long)first, n, name, type);
		cr_assert_eq(memcmp(q.at + q.dns, a.at + a.dns, 2), 0);
		check_envelope(&q, &a, q.v6 || ways[way] != WM_PROG_DNS_LO);
		answers++;
		by_way[way]++;
		srv += type == 33 && a.at[a.dns + 7];
		by_policy += has_policy(name) && a.at[a.dns + 7];
		by_tag += has_tag(name) && a.at[a.dns + 7];
		for (unsigned k = 0; k < KNOWN; k++)
			of_known[k] += type == known[k];
	}
	for (unsigned k = 0; k < KNOWN; k++)
		cr_assert_eq(of_known[k] != 0, !is_meta(known[k]), "seed %llu: type %u: %u",
			     (unsigned long long)first, known[k], of_known[k]);
	for (unsigned w = 0; w < WAYS; w++)
		cr_assert_gt(by_way[w], QUESTIONS / 5 / WAYS, "seed %llu: way %u: %u",
			     (unsigned long long)first, w, by_way[w]);
	cr_assert(answers > QUESTIONS / 5 && srv > QUESTIONS / 200 && by_policy > QUESTIONS / 200 &&
			  by_tag > QUESTIONS / 2000,
		  "seed %llu: %u, %u of SRV, %u by policy, %u by tag", (unsigned long long)first,
		  answers, srv, by_policy, by_tag);
}
