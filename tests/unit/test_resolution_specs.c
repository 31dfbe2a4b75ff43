/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution */
/* Services of a source: a real registry, a real loop, tables in memory with hashes in the place of
 * the kernel's. What is asked is what connect() would find. */
#include "spec_help.h"
#include "tables_help.h"
#include "userspace/resolution/resolution.h"

static struct plane *plane;

static int wm_frontend_at(const struct wm_view *v, const struct wm_frontend_key *k,
			  struct wm_frontend *ret)
{
	(void)v;
	return hash_get(&plane->fronts, k, ret, sizeof(*ret)) ? WM_PICK_NONE : WM_PICKED;
}
#include "waymark/frontend.h"

static struct wm_loop *loop;
static struct wm_registry *registry;
static struct wm_tables *tables;
static struct wm_resolution *resolution;

static void start(bool external)
{
	tables = tables_new(plane);
	wm_tables_set_policy(tables, &(struct wm_tables_policy){.external_addresses = external});
	cr_assert_geq(wm_tables_adopt(tables), 0);
	resolution = wm_resolution_new(loop, registry, tables);
	cr_assert(resolution);
}

static void stop(void)
{
	wm_resolution_free(resolution);
	wm_tables_free(tables);
}

/* Of a registry that is empty. */
static void open_registry(void)
{
	static char zone[] = "zone=z1";
	static char *const meta[] = {zone, NULL};
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = "n1",
				       .node_address = "10.0.0.1",
				       .node_meta = meta,
				       .datacenter = "dc1",
				       .instances_max = 1000,
				       .services_max = 100,
				       .nodes_max = 100,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000};

	inet_pton(AF_INET6, "fd77::", &c.vip6_prefix);
	loop = wm_loop_new();
	cr_assert_eq(wm_registry_open(&c, &registry, NULL), 0);
	cr_assert_eq(wm_loop_on_turn_end(loop, WM_HOOK_REGISTRY, wm_registry_flush, registry), 0);
}

static void close_registry(void)
{
	stop();
	wm_registry_close(registry);
	wm_loop_free(loop);
}

static void setup(void)
{
	plane = plane_new();
	open_registry();
	start(false);
}

static void teardown(void)
{
	close_registry();
	free(plane);
}
TestSuite(specs, .init = setup, .fini = teardown, .timeout = 300);

static void turn(void)
{
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
}

static char *text(const char *s)
{
	char *r;

	memcpy(&r, &s, sizeof(r));
	return r;
}

/* An instance of default/web on @p node in @p zone; "local" is this machine, as a source calls it.
 */
static void put_as(const char *node, const char *zone, const char *address, unsigned port,
		   enum wm_status status, const struct wm_traits *traits)
{
	const struct wm_pair local[] = {{text("local"), text("true")}};
	const struct wm_pair meta[] = {{text("endpoints.http"), text("tcp:8080")},
				       {text("endpoints.admin"), text("tcp:9090")}};
	const struct wm_node_draft facts = {.address = "10.9.9.9",
					    .region = *zone ? "r1" : "",
					    .zone = zone,
					    .meta = local,
					    .meta_count = strcmp(node, "local") == 0};
	const struct wm_instance_draft d = {.id = address,
					    .name = "default/web",
					    .address = address,
					    .port = port,
					    .traits = traits,
					    .meta = meta,
					    .meta_count = 2};
	const struct wm_check_draft check = {.kind = WM_CHECK_STATED,
					     .id = address,
					     .name = "ready",
					     .status = status,
					     .has_status = true};
	const struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = node, .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = node, .service = &d},
		{.object = WM_OBJECT_CHECK,
		 .verb = WM_VERB_SET,
		 .node = node,
		 .check = &check,
		 .check_service = address}};
	struct wm_err e = {0};
	unsigned failed;

	cr_assert_eq(wm_registry_catalog(registry,
					 &(struct wm_catalog_batch){.ops = ops, .count = 3},
					 &failed, &e),
		     0, "%s", e.text);
	turn();
}

static void put_on(const char *node, const char *zone, const char *address, unsigned port,
		   enum wm_status status)
{
	put_as(node, zone, address, port, status, NULL);
}

static void gone(const char *node, const char *address)
{
	unsigned failed;
	const struct wm_catalog_op op = {
		.object = WM_OBJECT_SERVICE, .verb = WM_VERB_DELETE, .node = node, .id = address};

	cr_assert_eq(wm_registry_catalog(registry,
					 &(struct wm_catalog_batch){.ops = &op, .count = 1},
					 &failed, NULL),
		     0);
	turn();
}

static void put_spec(const struct wm_service_spec *s)
{
	struct wm_err e = {0};

	cr_assert_geq(wm_registry_spec_put(registry, s, &e), 0, "%s", e.text);
	turn();
}

#define PASSES	(-1)
#define REFUSED (-2)

/* What connect() to it finds: all that are up, as a sum of last octets times 100000 and ports of
 * theirs, tiers apart, the preferred only. */
static int dial(const char *address, uint16_t port, uint8_t proto)
{
	struct wm_view view = wm_tables_view(tables);
	__be32 a[4] = {0, 0, WM_V4_MAPPED_BE, 0};
	struct wm_table t = {0};
	uint32_t set, end = 0;
	int sum = 0;

	if (inet_pton(AF_INET, address, &a[3]) != 1)
		cr_assert_eq(inet_pton(AF_INET6, address, a), 1);
	if (wm_frontend_find(&view, a, htons(port), proto, &set) != WM_PICKED)
		return PASSES;
	if (wm_table_load(&view, set, &t) != WM_PICKED)
		return REFUSED;
	for (unsigned n = 0; n < t.head.tiers && !end; n++)
		end = plane->set_live[set].cut[n] == UINT16_MAX || t.head.tiers == 1 ? t.head.end[n]
										     : 0;
	for (uint32_t i = 0; i < end; i++) {
		const struct wm_backend *b =
			&plane->backends[plane->slots[t.head.first + i].backend];

		if ((b->state & WM_STATE_MASK) == WM_STATE_UP)
			sum += 100000 * (int)(ntohl(b->addr4_be) & 0xff) + ntohs(b->port_be);
	}
	return sum ? sum : REFUSED;
}

static void count_difference(void *arg, const char *map, const char *what)
{
	(void)map;
	cr_log_info("%s", what);
	++*(unsigned *)arg;
}

static unsigned differences(void)
{
	const struct wm_service *s = wm_registry_service(registry, "default/web");
	struct wm_verify_walk w = {0};
	unsigned n = 0;
	size_t pos = 0;

	if (!s)
		s = wm_resolution_next_empty(resolution, &pos);
	if (s)
		cr_assert_eq(wm_resolution_verify(resolution, s, count_difference, &n), 0);
	while (wm_tables_verify_rest(tables, &w, 100, count_difference, &n))
		;
	return n;
}

#define IP "10.96.0.10"

/* Each port leads to its endpoint by its protocol; what the service has not is refused, by its own
 * address of either family. */
Test(specs, ports_lead_to_their_endpoints)
{
	struct wm_service_spec s = spec_of("default/web", IP);

	put_spec(&s);
	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 108080);
	cr_assert_eq(dial("fd00:10:96::1", 80, IPPROTO_TCP), 108080);
	cr_assert_eq(dial(IP, 80, IPPROTO_UDP), 107000);
	cr_assert_eq(dial(IP, 81, IPPROTO_TCP), REFUSED);
	cr_assert_eq(dial(IP, 30080, IPPROTO_TCP), REFUSED);
	cr_assert_eq(dial("10.96.0.11", 80, IPPROTO_TCP), PASSES);
	cr_assert_eq(differences(), 0);
	cr_assert_eq(wm_registry_spec_delete(registry, "default/web", "kubernetes", NULL), 1);
	turn();
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), PASSES);
	cr_assert_eq(dial("fd00:10:96::1", 80, IPPROTO_UDP), PASSES);
	cr_assert_eq(differences(), 0);
}

/* Without an instance it refuses, before the first, and behind the last; the set stays. */
Test(specs, without_an_instance_it_refuses)
{
	struct wm_service_spec s = spec_of("default/web", IP);
	int64_t set;

	put_spec(&s);
	set = wm_tables_set_of(tables, "default/web");
	cr_assert_geq(set, 0);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), REFUSED);
	cr_assert_eq(plane->names.n, 0);
	cr_assert_eq(differences(), 0);
	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 108080);
	cr_assert_eq(wm_tables_set_of(tables, "default/web"), set);
	put_on("k1", "", "10.1.0.1", 7000, WM_CRITICAL);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), REFUSED);
	gone("k1", "10.1.0.1");
	cr_assert_null(wm_registry_service(registry, "default/web"));
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), REFUSED);
	cr_assert_eq(wm_tables_set_of(tables, "default/web"), set);
	cr_assert_eq(plane->names.n, 0);
	cr_assert_eq(differences(), 0);
	cr_assert_eq(wm_registry_spec_delete(registry, "default/web", "kubernetes", NULL), 1);
	turn();
	cr_assert_eq(plane->fronts.n, 0);
	cr_assert_lt(wm_tables_set_of(tables, "default/web"), 0);
	cr_assert(plane->config.flags & WM_CONFIG_F_COMPLETE);
}

/* A headless one, and one that is a name, has nothing to dial. */
Test(specs, headless_and_external_names_have_no_address)
{
	struct wm_service_spec s = spec_of("default/web", IP);

	s.headless = true;
	put_spec(&s);
	cr_assert_eq(plane->fronts.n, 0);
	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), PASSES);
	s.headless = false;
	s.external_name = "example.com";
	put_spec(&s);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), PASSES);
	s.external_name = NULL;
	put_spec(&s);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 108080);
}

/* Another proxy's has names, and is dialled as if we were not there. */
Test(specs, what_is_another_proxys_passes)
{
	struct wm_service_spec s = spec_of("default/web", IP);

	put_spec(&s);
	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 108080);
	s.passed = true;
	put_spec(&s);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), PASSES);
	cr_assert_eq(dial(IP, 81, IPPROTO_TCP), PASSES);
	cr_assert_eq(differences(), 0);
	s.passed = false;
	put_spec(&s);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 108080);
}

/* Of addresses that are not the service's alone other ports pass, and a node's has ports of its
 * own. External ones are taken where they are allowed. */
Test(specs, addresses_of_other_kinds)
{
	struct wm_spec_address a[] = {{.kind = WM_SPEC_LOAD_BALANCER},
				      {.kind = WM_SPEC_EXTERNAL},
				      {.kind = WM_SPEC_NODE}};
	struct wm_service_spec s = spec_of("default/web", IP);
	struct wm_tables_stats stats;

	inet_pton(AF_INET, "192.0.2.1", &a[0].a4);
	inet_pton(AF_INET, "192.0.2.2", &a[1].a4);
	inet_pton(AF_INET, "192.0.2.3", &a[2].a4);
	s.addresses = a;
	s.addresses_count = 3;
	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	put_spec(&s);
	cr_assert_eq(dial("192.0.2.1", 80, IPPROTO_TCP), 108080);
	cr_assert_eq(dial("192.0.2.1", 22, IPPROTO_TCP), PASSES);
	cr_assert_eq(dial("192.0.2.2", 80, IPPROTO_TCP), PASSES);
	cr_assert_eq(dial("192.0.2.3", 30080, IPPROTO_TCP), 108080);
	cr_assert_eq(dial("192.0.2.3", 80, IPPROTO_TCP), PASSES);
	wm_tables_stats(tables, &stats);
	cr_assert_eq(stats.fronts_unfit, 1);
	cr_assert_eq(differences(), 0);
	stop();
	start(true);
	cr_assert_eq(dial("192.0.2.2", 80, IPPROTO_TCP), 108080);
	cr_assert_eq(dial("192.0.2.2", 22, IPPROTO_TCP), PASSES);
}

/* Whatever is the agent's own to give, or leads a pod to itself, is no source's to state. */
Test(specs, addresses_that_are_not_taken)
{
	static const char *const bad[] = {"240.1.2.3", "127.0.0.1", "0.0.0.0", "224.0.0.1",
					  "fd77::5",   "::1",	    "ff02::1"};
	struct wm_service_spec s = spec_of("default/web", IP);
	struct wm_tables_stats stats;
	struct wm_spec_address a;

	s.addresses = &a;
	s.addresses_count = 1;
	for (unsigned n = 0; n < sizeof(bad) / sizeof(*bad); n++) {
		a = (struct wm_spec_address){.kind = WM_SPEC_CLUSTER};
		if (inet_pton(AF_INET, bad[n], &a.a4) != 1)
			cr_assert_eq(inet_pton(AF_INET6, bad[n], &a.a6), 1);
		put_spec(&s);
		wm_tables_stats(tables, &stats);
		cr_assert_eq(stats.fronts_unfit, 1, "%s", bad[n]);
		cr_assert_eq(plane->fronts.n, 0, "%s", bad[n]);
	}
}

/* The first has it. When it goes the other does not have to be told again. */
Test(specs, of_two_that_claim_an_address_the_first_stands)
{
	struct wm_service_spec a = spec_of("default/a", IP), b = spec_of("default/web", IP);
	struct wm_tables_stats stats;

	put_spec(&a);
	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	put_spec(&b);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), REFUSED);
	wm_tables_stats(tables, &stats);
	cr_assert_eq(stats.fronts_contested, 2, "an address of each family");
	cr_assert_eq(wm_registry_spec_delete(registry, "default/a", "kubernetes", NULL), 1);
	turn();
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 108080);
	wm_tables_stats(tables, &stats);
	cr_assert_eq(stats.fronts_contested, 0);
}

static void oldest_has_it(bool older_first)
{
	struct wm_service_spec a = spec_of("default/a", IP), b = spec_of("default/web", IP);
	struct wm_tables_stats stats;

	a.created = 2;
	b.created = 1;
	for (unsigned run = 0; run < 2; run++) {
		if (run) {
			close_registry();
			open_registry();
		}
		put_spec(older_first ? &b : &a);
		put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
		put_spec(older_first ? &a : &b);
		if (run)
			start(false);
		turn();
		wm_tables_stats(tables, &stats);
		cr_assert_eq(stats.fronts_contested, 2, "an address of each family");
		cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 108080);
		cr_assert_eq(dial("fd00:10:96::1", 80, IPPROTO_TCP), 108080);
		cr_assert_eq(dial(IP, 81, IPPROTO_TCP), REFUSED);
		cr_assert_eq(differences(), 0);
		older_first = !older_first;
	}
	cr_assert_eq(wm_registry_spec_delete(registry, "default/web", "kubernetes", NULL), 1);
	turn();
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), REFUSED, "the other's, which has nobody");
	wm_tables_stats(tables, &stats);
	cr_assert_eq(stats.fronts_contested, 0);
}

/* Of two that claim an address the oldest has it, whichever comes first, and over a restart. */
Test(specs, the_oldest_has_an_address_that_comes_last)
{
	oldest_has_it(false);
}

Test(specs, the_oldest_has_an_address_that_comes_first)
{
	oldest_has_it(true);
}

/* internalTrafficPolicy Local: of this machine, or it is refused. */
Test(specs, local_only)
{
	struct wm_service_spec s = spec_of("default/web", IP);

	s.local_only = true;
	put_spec(&s);
	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), REFUSED);
	put_on("local", "", "10.1.0.2", 7000, WM_PASSING);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 208080);
	cr_assert_eq(dial(IP, 80, IPPROTO_UDP), 207000);
	cr_assert_eq(differences(), 0);
	gone("local", "10.1.0.2");
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), REFUSED);
	s.local_only = false;
	put_spec(&s);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 108080);
}

/* Two ports on the node, and a balancer's address, beside the cluster's. */
static void add_outside(struct wm_service_spec *s, struct wm_spec_address a[4])
{
	static const struct wm_spec_port ports[] = {{"http", 80, 30080, IPPROTO_TCP, "http"},
						    {"quic", 80, 30090, IPPROTO_UDP, NULL}};

	memcpy(a, s->addresses, 2 * sizeof(*a));
	a[2] = (struct wm_spec_address){.kind = WM_SPEC_NODE};
	a[3] = (struct wm_spec_address){.kind = WM_SPEC_LOAD_BALANCER};
	inet_pton(AF_INET, "192.0.2.3", &a[2].a4);
	inet_pton(AF_INET, "192.0.2.1", &a[3].a4);
	s->addresses = a;
	s->addresses_count = 4;
	s->ports = ports;
}

static uint32_t sets_in_use(void)
{
	struct wm_tables_stats stats;

	wm_tables_stats(tables, &stats);
	return stats.sets;
}

static void check_outside(void)
{
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 208080);
	cr_assert_eq(dial("fd00:10:96::1", 80, IPPROTO_UDP), 207000);
	cr_assert_eq(dial("192.0.2.3", 30080, IPPROTO_TCP), 300000 + 2 * 8080);
	cr_assert_eq(dial("192.0.2.3", 30090, IPPROTO_UDP), 300000 + 2 * 7000);
	cr_assert_eq(dial("192.0.2.1", 80, IPPROTO_TCP), 300000 + 2 * 8080);
	cr_assert_eq(dial("192.0.2.1", 80, IPPROTO_UDP), 300000 + 2 * 7000);
	cr_assert_eq(differences(), 0);
}

/* It holds at cluster IPs: from this node, node ports and balancers' addresses lead to all, as by
 * kube-proxy. Only a Service that is dialled both ways has sets for it. */
Test(specs, local_only_holds_at_cluster_ips)
{
	struct wm_service_spec s = spec_of("default/web", IP);
	struct wm_spec_address a[4];

	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	put_on("local", "", "10.1.0.2", 7000, WM_PASSING);
	s.local_only = true;
	put_spec(&s);
	cr_assert_eq(sets_in_use(), 3, "its ports', and nobody's");
	add_outside(&s, a);
	put_spec(&s);
	check_outside();
	cr_assert_eq(sets_in_use(), 5);
	gone("local", "10.1.0.2");
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), REFUSED);
	cr_assert_eq(dial("192.0.2.3", 30080, IPPROTO_TCP), 108080);
	put_on("local", "", "10.1.0.2", 7000, WM_PASSING);
	check_outside();
	s.local_only = false;
	put_spec(&s);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 300000 + 2 * 8080);
	cr_assert_eq(dial("192.0.2.1", 80, IPPROTO_TCP), 300000 + 2 * 8080);
	cr_assert_eq(differences(), 0);
}

/* Memory is short for what is to take an entry's place: nothing leads to a set that is gone, which
 * is another service's next. */
Test(specs, an_entry_that_cannot_be_replaced_leads_to_no_other_service)
{
	struct wm_service_spec s = spec_of("default/web", IP);
	struct wm_spec_address a[4];
	const struct hash_entry *f;

	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	put_on("local", "", "10.1.0.2", 7000, WM_PASSING);
	s.local_only = true;
	add_outside(&s, a);
	put_spec(&s);
	check_outside();
	plane->fronts.no_memory = true;
	s.local_only = false;
	put_spec(&s);
	for (unsigned i = 0; i < plane->fronts.n; i++) {
		f = &plane->fronts.at[i];
		cr_assert_neq(plane->sets[f->v.front.set].service, 0, "entry %u", i);
	}
	cr_assert_eq(wm_registry_spec_delete(registry, "default/web", "kubernetes", NULL), 1);
	turn();
	cr_assert_eq(dial("192.0.2.3", 30080, IPPROTO_TCP), PASSES);
	cr_assert_eq(dial("192.0.2.1", 80, IPPROTO_TCP), PASSES);
	plane->fronts.no_memory = false;
	put_spec(&s);
	cr_assert_eq(dial("192.0.2.3", 30080, IPPROTO_TCP), 300000 + 2 * 8080);
	cr_assert_eq(differences(), 0);
}

/* The next run of the agent finds them where they are, and writes nothing. */
Test(specs, sets_from_outside_are_adopted)
{
	struct wm_service_spec s = spec_of("default/web", IP);
	struct wm_spec_address a[4];
	struct wm_tables_stats stats;
	struct wm_frontend_key k = {{0, 0, WM_V4_MAPPED_BE, 0}, htons(30080), IPPROTO_TCP, 0};
	struct wm_frontend before, after;

	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	put_on("local", "", "10.1.0.2", 7000, WM_PASSING);
	s.local_only = true;
	add_outside(&s, a);
	put_spec(&s);
	inet_pton(AF_INET, "192.0.2.3", &k.addr_be[3]);
	cr_assert(hash_get(&plane->fronts, &k, &before, sizeof(before)) == 0);
	stop();
	start(false);
	check_outside();
	cr_assert(hash_get(&plane->fronts, &k, &after, sizeof(after)) == 0);
	cr_assert_eq(after.set, before.set);
	wm_tables_stats(tables, &stats);
	cr_assert_eq(stats.publishes, 0);
	cr_assert_eq(stats.sets, 5);
}

/* Of this machine's own none is nearer than another, whatever zone hints say of them. */
Test(specs, local_only_knows_no_zones)
{
	struct wm_service_spec s = spec_of("default/web", IP);
	const struct wm_traits elsewhere = {.region = "r1", .zone = "z2"};

	put_on("local", "z1", "10.1.0.1", 7000, WM_PASSING);
	put_as("local", "z1", "10.1.0.2", 7000, WM_PASSING, &elsewhere);
	s.prefer = WM_SPEC_SAME_ZONE;
	put_spec(&s);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 108080);
	s.local_only = true;
	put_spec(&s);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 300000 + 2 * 8080);
	cr_assert_eq(differences(), 0);
}

/* trafficDistribution: all to the nearest that has somebody up. */
Test(specs, who_is_near_is_preferred)
{
	struct wm_service_spec s = spec_of("default/web", IP);

	put_on("k1", "z2", "10.1.0.1", 7000, WM_PASSING);
	put_on("k2", "z1", "10.1.0.2", 7000, WM_PASSING);
	put_on("k2", "z1", "10.1.0.3", 7000, WM_PASSING);
	put_on("local", "z1", "10.1.0.4", 7000, WM_PASSING);
	put_spec(&s);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 1000000 + 4 * 8080);
	s.prefer = WM_SPEC_SAME_ZONE;
	put_spec(&s);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 900000 + 3 * 8080);
	s.prefer = WM_SPEC_SAME_NODE;
	put_spec(&s);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 408080);
	put_on("local", "z1", "10.1.0.4", 7000, WM_CRITICAL);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 500000 + 2 * 8080);
	put_on("k2", "z1", "10.1.0.2", 7000, WM_CRITICAL);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 308080, "one is enough: nothing spills over");
	put_on("k2", "z1", "10.1.0.3", 7000, WM_CRITICAL);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 108080);
	cr_assert_eq(differences(), 0);
	put_on("k1", "z1", "10.1.0.1", 7000, WM_PASSING); /* the node is near now */
	put_on("k2", "z1", "10.1.0.3", 7000, WM_PASSING);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 400000 + 2 * 8080);
}

static const struct wm_table_head *head(void)
{
	int64_t set = wm_tables_set_of(tables, "default/web");

	cr_assert_geq(set, 0);
	return &plane->heads[plane->sets[set].table.head];
}

/* What a policy says stands above what the source says, field by field. */
Test(specs, a_policy_goes_on_top)
{
	static const struct wm_policy_port port = {80, "admin"};
	struct wm_service_spec s = spec_of("default/web", IP);
	struct wm_policy_draft d;

	s.affinity_s = 10800;
	put_spec(&s);
	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	cr_assert_eq(head()->affinity_s, 10800);
	cr_assert_eq(head()->flags & WM_HEAD_AFFINITY, 1 + WM_HASH_ON_NETNS);
	cr_assert_eq(head()->balance, WM_BALANCE_WEIGHTED);
	cr_assert_eq(head()->when_none, WM_NONE_DRAINING);
	wm_policy_draft_init(&d, "default/web");
	d.p.balance = WM_BALANCE_ROUND_ROBIN;
	cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, NULL), 0);
	turn();
	cr_assert_eq(head()->affinity_s, 10800, "the policy does not say");
	cr_assert_eq(head()->balance, WM_BALANCE_ROUND_ROBIN);
	cr_assert_eq(head()->when_none, WM_NONE_DRAINING);
	d.p.when_none = WM_NONE_PASS;
	d.p.affinity.key = 1 + WM_HASH_ON_CGROUP;
	d.p.affinity.timeout = 60;
	d.p.ports = &port;
	d.p.ports_count = 1;
	cr_assert_eq(wm_registry_policy_put(registry, &d.p, NULL, NULL, NULL, NULL), 0);
	turn();
	cr_assert_eq(head()->affinity_s, 60);
	cr_assert_eq(head()->when_none, WM_NONE_PASS);
	cr_assert_eq(head()->flags & WM_HEAD_AFFINITY, 1 + WM_HASH_ON_CGROUP);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 109090);
	cr_assert_eq(differences(), 0);
	cr_assert_eq(wm_registry_policy_delete(registry, "default/web", NULL, NULL, NULL, NULL), 0);
	turn();
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 108080);
	cr_assert_eq(differences(), 0);
}

Test(specs, who_is_not_ready_is_dialled_where_that_is_said)
{
	struct wm_service_spec s = spec_of("default/web", IP);

	put_spec(&s);
	put_on("k1", "", "10.1.0.1", 7000, WM_CRITICAL);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), REFUSED);
	s.publish_not_ready = true;
	put_spec(&s);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 108080);
	cr_assert_eq(differences(), 0);
}

static unsigned written_while_complete, written_else;
static int watched_put(void *arg, const struct wm_frontend_key *k, const struct wm_frontend *v)
{
	++*(plane->config.flags & WM_CONFIG_F_COMPLETE ? &written_while_complete : &written_else);
	return front_put(arg, k, v);
}

/* Nobody listens yet: programs go on to deny what the run before knew not to be. */
Test(specs, names_are_denied_while_the_next_run_begins)
{
	struct wm_service_spec s = spec_of("default/web", IP);

	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	cr_assert(plane->config.flags & WM_CONFIG_F_COMPLETE);
	close_registry();
	open_registry();
	put_spec(&s);
	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	plane->ops.frontend_put = watched_put;
	start(false);
	cr_assert_gt(written_while_complete, 0);
	cr_assert_eq(written_else, 0);
	cr_assert(plane->config.flags & WM_CONFIG_F_COMPLETE);
}

/* The next run finds all as it was, and writes nothing into the kernel's maps; nor does a relist in
 * which nothing changed. */
Test(specs, the_next_run_writes_nothing)
{
	struct wm_service_spec s = spec_of("default/web", IP), other = s;
	struct wm_spec_address its = {.kind = WM_SPEC_CLUSTER};
	struct wm_tables_stats stats;

	inet_pton(AF_INET, "10.96.0.11", &its.a4);
	other.service = "default/db";
	other.addresses = &its;
	other.addresses_count = 1;
	for (unsigned run = 0; run < 2; run++) {
		if (run) {
			close_registry();
			open_registry();
		}
		put_spec(&s);
		put_spec(&other); /* without an instance */
		put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
		plane->fronts.writes = plane->names.writes = 0;
		if (run)
			start(false);
	}
	put_spec(&s);
	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	wm_tables_stats(tables, &stats);
	cr_assert_eq(plane->fronts.writes + plane->names.writes, 0);
	cr_assert_eq(stats.publishes, 0);
	cr_assert_eq(dial(IP, 80, IPPROTO_TCP), 108080);
	cr_assert_eq(dial("10.96.0.11", 80, IPPROTO_TCP), REFUSED);
	cr_assert_eq(differences(), 0);
}

/* The cluster IP of kube-dns that this agent has taken over: a pod's resolver connects to it.
 * Another kind of address is a machine's, and leads where it is to. */
Test(specs, where_our_dns_is_asked)
{
	struct wm_spec_address a[] = {{.kind = WM_SPEC_CLUSTER}, {.kind = WM_SPEC_LOAD_BALANCER}};
	struct wm_service_spec s = spec_of("default/web", IP);
	struct wm_tables_stats stats;

	inet_pton(AF_INET, "10.96.0.10", &a[0].a4);
	inet_pton(AF_INET, "192.0.2.1", &a[1].a4);
	plane->config.dns_addr4_be[0] = a[0].a4.s_addr;
	plane->config.dns_addr4_be[1] = a[1].a4.s_addr;
	plane->config.dns_addr4_count = 2;
	s.addresses = a;
	s.addresses_count = 2;
	put_on("k1", "", "10.1.0.1", 7000, WM_PASSING);
	put_spec(&s);
	cr_assert_eq(dial("10.96.0.10", 80, IPPROTO_TCP), PASSES);
	cr_assert_eq(dial("192.0.2.1", 80, IPPROTO_TCP), 108080);
	wm_tables_stats(tables, &stats);
	cr_assert_eq(stats.fronts_unfit, 1);
}
