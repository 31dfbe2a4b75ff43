/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry */
#include "registry_help.h"
#include "userspace/registry/internal.h"

#include <signal.h>
#include <sys/resource.h>

static const struct wm_vip_space wide = {0xf0000000, 0xf0000000, {{{0xfd, 0x77}}}};

static uint32_t give(struct wm_vips *v, const char *name)
{
	struct wm_lease *l = NULL;

	return wm_vips_give(v, name, &l) ? 0 : ntohl(l->vip4.s_addr);
}

Test(vip, derived_from_the_name_alone)
{
	struct wm_vips *a = wm_vips_new(&wide), *b = wm_vips_new(&wide);
	uint32_t web = give(a, "web"), db_vip = give(a, "db");

	/* the other order, another start: the same; and the very values, since they are stored */
	cr_assert_eq(give(b, "db"), db_vip);
	cr_assert_eq(give(b, "web"), web);
	cr_assert_neq(web, db_vip);
	cr_assert_eq(web >> 28, 0xf);
	cr_assert_eq(memcmp(&wm_vips_find(a, "web")->vip6, &wm_vips_find(b, "web")->vip6, 16), 0);
	cr_assert_eq(memcmp(&wm_vips_find(a, "web")->vip6, &wide.prefix, 8), 0);
	wm_vips_free(a);
	wm_vips_free(b);
}

Test(vip, fills_a_small_range_without_repeats)
{
	/* 240.0.0.0/28: fourteen hosts */
	const struct wm_vip_space s = {0xf0000000, 0xfffffff0, {{{0xfd}}}};
	struct wm_vips *v = wm_vips_new(&s);
	struct wm_lease *l;
	bool seen[16] = {0};
	char name[16];

	for (int i = 0; i < 14; i++) {
		uint32_t ip;

		snprintf(name, sizeof(name), "s%d", i);
		ip = give(v, name);
		cr_assert(ip > 0xf0000000 && ip < 0xf000000f, "%x", ip);
		cr_assert_not(seen[ip & 15]);
		seen[ip & 15] = true;
	}
	cr_assert_eq(wm_vips_give(v, "full", &l), WM_E_FULL);
	/* a retired one keeps its address until it is detached */
	wm_lease_retire(v, wm_vips_find(v, "s3"));
	wm_lease_retire(v, wm_vips_find(v, "s5"));
	cr_assert_eq(wm_vips_give(v, "full", &l), WM_E_FULL);
	l = wm_vips_oldest(v);
	cr_assert_str_eq(l->name, "s3");
	wm_lease_detach(v, l);
	cr_assert_eq(give(v, "full"), ntohl(l->vip4.s_addr));
	wm_lease_free(l);
	wm_vips_free(v);
}

Test(vip, never_gives_what_is_no_host)
{
	const struct wm_vip_space top = {0xfffffffc, 0xfffffffc, {{{0xfd}}}};
	struct wm_vips *v = wm_vips_new(&top);
	struct wm_lease *l;
	uint32_t a = give(v, "a"), b = give(v, "b");

	cr_assert(a >= 0xfffffffd && a <= 0xfffffffe);
	cr_assert(b >= 0xfffffffd && b <= 0xfffffffe && a != b);
	cr_assert_eq(wm_vips_give(v, "c", &l), WM_E_FULL);
	wm_vips_free(v);
}

/* 255.0.0.0/8 cannot be made unreachable: it holds the limited broadcast. What was stored stays. */
Test(vip, gives_nothing_beside_the_limited_broadcast)
{
	const struct wm_vip_space small = {0xfe000000, 0xfe000000, {{{0xfd}}}};
	const struct wm_vip_space *const spaces[] = {&wide, &small};
	struct in_addr stored = {.s_addr = htonl(0xff010203)};
	struct in6_addr v6;
	struct wm_lease *l;
	char name[16];

	for (int k = 0; k < 2; k++) {
		struct wm_vips *v = wm_vips_new(spaces[k]);

		for (int i = 0; i < 1000; i++) {
			snprintf(name, sizeof(name), "s%d", i);
			cr_assert_neq(give(v, name) >> 24, 255, "%s", name);
		}
		v6 = spaces[k]->prefix;
		v6.s6_addr[15] = 1;
		cr_assert_eq(wm_vips_restore(v, "old", stored, v6, &l), 0);
		wm_vips_free(v);
	}
}

Test(vip, restores_only_what_fits)
{
	struct wm_vips *v = wm_vips_new(&wide);
	struct in6_addr v6 = wide.prefix, other = wide.prefix;
	struct wm_lease *l;

	v6.s6_addr[15] = 9;
	other.s6_addr[15] = 8;
	cr_assert_eq(wm_vips_restore(v, "a", (struct in_addr){htonl(0xf0000009)}, v6, &l), 0);
	cr_assert_eq(wm_vips_restore(v, "a", (struct in_addr){htonl(0xf0000008)}, other, &l),
		     WM_E_CONFLICT);
	cr_assert_eq(wm_vips_restore(v, "b", (struct in_addr){htonl(0xf0000009)}, other, &l),
		     WM_E_CONFLICT);
	cr_assert_eq(wm_vips_restore(v, "b", (struct in_addr){htonl(0xf0000008)}, v6, &l),
		     WM_E_CONFLICT);
	cr_assert_eq(wm_vips_restore(v, "b", (struct in_addr){htonl(0x0a000001)}, other, &l),
		     WM_E_INVALID);
	cr_assert_eq(wm_vips_restore(v, "b", (struct in_addr){htonl(0xf0000008)}, other, &l), 0);
	wm_vips_free(v);
}

Test(vip, stays_over_deregistration_and_restart)
{
	struct wm_registry *r;
	struct in_addr v4;
	struct in6_addr v6;

	make_dir();
	r = open_at(db);
	cr_assert_eq(put(r, "a", "web", 1), 0);
	v4 = wm_registry_service(r, "web")->vip4;
	v6 = wm_registry_service(r, "web")->vip6;
	cr_assert_eq(del(r, "a"), 0);
	wm_registry_close(r);
	r = open_at(db);
	cr_assert_null(wm_registry_service(r, "web"));
	cr_assert_eq(put(r, "b", "WEB", 1), 0);
	cr_assert_eq(wm_registry_service(r, "web")->vip4.s_addr, v4.s_addr);
	cr_assert_eq(memcmp(&wm_registry_service(r, "web")->vip6, &v6, 16), 0);
	wm_registry_close(r);
	rm_dir();
}

Test(vip, retired_leases_are_bounded)
{
	struct wm_registry_config c;
	struct wm_registry *r;
	char id[16];
	unsigned rows = 0;

	make_dir();
	c = config(db);
	c.services_max = 4;
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	for (int i = 0; i < 40; i++) {
		snprintf(id, sizeof(id), "s%d", i);
		cr_assert_eq(put(r, id, id, 1), 0);
		cr_assert_eq(del(r, id), 0);
	}
	cr_assert_eq(put(r, "keep", "s39", 1), 0);
	wm_registry_close(r);
	{
		char cmd[256];
		FILE *f;

		snprintf(cmd, sizeof(cmd), "sqlite3 %s 'SELECT count(*) FROM services'", db);
		f = popen(cmd, "r");
		cr_assert_eq(fscanf(f, "%u", &rows), 1);
		pclose(f);
	}
	cr_assert_eq(rows, 8);
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	cr_assert_eq(put(r, "more", "s40", 1), 0);
	wm_registry_close(r);
	rm_dir();
}

static void register_one(struct wm_registry *r, const char *id, const char *name)
{
	struct wm_instance_draft d = {.id = id, .name = name, .port = 1};

	cr_assert_eq(wm_registry_register(r, &d, NULL, NULL, NULL), 0);
}

/* The last instance of a service goes and another comes in the batch of one flush. */
static void last_goes_another_comes(struct wm_registry *r, const char *last, const char *other)
{
	cr_assert_eq(wm_registry_deregister(r, last, NULL, NULL, NULL), 0);
	register_one(r, other, "web");
	wm_registry_flush(r);
}

/* Other services come and go until every address that may be given anew was. */
static void others_pass_by(struct wm_registry *r)
{
	char id[16];

	for (int i = 0; i < 20; i++) {
		snprintf(id, sizeof(id), "s%d", i);
		cr_assert_eq(put(r, id, id, 1), 0);
		cr_assert_eq(del(r, id), 0);
	}
}

Test(vip, is_not_given_away_while_its_service_is_there)
{
	struct wm_registry_config c;
	struct wm_registry *r;
	struct in_addr v4;
	const char *label;
	struct rlimit old, none;

	make_dir();
	signal(SIGXFSZ, SIG_IGN);
	c = config(db);
	c.services_max = 4;
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	cr_assert_eq(put(r, "a", "web", 1), 0);
	v4 = wm_registry_service(r, "web")->vip4;
	last_goes_another_comes(r, "a", "b");
	cr_assert_not_null(wm_registry_instance(r, "b"));
	others_pass_by(r);
	cr_assert_eq(wm_registry_service_at4(r, v4, &label), wm_registry_service(r, "web"));
	/* the same, and the store refuses */
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	none = old;
	none.rlim_cur = 1;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	last_goes_another_comes(r, "b", "a");
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	cr_assert_not_null(wm_registry_instance(r, "b"));
	others_pass_by(r);
	cr_assert_eq(wm_registry_service_at4(r, v4, &label), wm_registry_service(r, "web"));
	cr_assert_eq(del(r, "b"), 0);
	wm_registry_close(r);
	rm_dir();
}

/* The oldest goes first, also when a write that wanted it was refused by the store. */
Test(vip, the_oldest_is_given_anew_whatever_failed)
{
	struct wm_registry_config c;
	struct wm_registry *r;
	struct in_addr v4[8];
	struct rlimit old, none;
	char id[16];

	make_dir();
	signal(SIGXFSZ, SIG_IGN);
	c = config(db);
	c.services_max = 4;
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	for (int i = 0; i < 8; i++) {
		snprintf(id, sizeof(id), "s%d", i);
		cr_assert_eq(put(r, id, id, 1), 0);
		v4[i] = wm_registry_service(r, id)->vip4;
		cr_assert_eq(del(r, id), 0);
	}
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	none = old;
	none.rlim_cur = 1;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	register_one(r, "new", "new"); /* takes the place of s0 */
	register_one(r, "s1", "s1");   /* has it already */
	wm_registry_flush(r);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	cr_assert_eq(wm_registry_instances(r), 0);
	for (int i = 0; i < 3; i++) { /* s0, s1 and s2 go, in this order */
		const struct wm_lease *l;

		snprintf(id, sizeof(id), "new%d", i);
		cr_assert_eq(put(r, id, id, 1), 0);
		for (int n = 0; n < 8; n++) {
			l = wm_vips_at4(r->vips, v4[n]);
			cr_assert_eq(l != NULL && l->name[0] == 's', n > i, "%d after %d", n, i);
		}
	}
	wm_registry_close(r);
	rm_dir();
}

/* The range of virtual addresses was configured anew: services move into it and stay there. */
Test(vip, follows_a_new_range)
{
	struct wm_registry_config c;
	struct wm_registry *r;
	struct in_addr v4;

	make_dir();
	r = open_at(db);
	cr_assert_eq(put(r, "a", "web", 1), 0);
	wm_registry_close(r);
	c = config(db);
	c.vip4_base = 0xf1000000;
	c.vip4_mask = 0xffff0000;
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	v4 = wm_registry_service(r, "web")->vip4;
	cr_assert_eq(ntohl(v4.s_addr) >> 16, 0xf100);
	wm_registry_close(r);
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	cr_assert_eq(wm_registry_service(r, "web")->vip4.s_addr, v4.s_addr);
	wm_registry_close(r);
	rm_dir();
}

static const char *zones_of(uint32_t base, uint32_t mask)
{
	const struct wm_vip_space s = {
		base, mask, {{{0xfd, 0x77, 0x61, 0x79, 0x6d, 0x61, 0x72, 0x6b}}}};
	static char text[512];
	char zone[WM_VIP_ZONE_SIZE], first[WM_VIP_ZONE_SIZE], last[WM_VIP_ZONE_SIZE];
	unsigned n = 0;

	while (wm_vip_zone(&s, n, zone))
		n++;
	cr_assert(n >= 2 && wm_vip_zone(&s, 0, first) && wm_vip_zone(&s, n - 2, last));
	snprintf(text, sizeof(text), "%u %s %s %s", n - 1, first, last, zone);
	return text;
}

Test(vip, reverse_zones_of_the_ranges)
{
#define IP6 "b.6.2.7.1.6.d.6.9.7.1.6.7.7.d.f.ip6.arpa"
	cr_assert_str_eq(zones_of(0xf0000000, 0xf0000000),
			 "16 240.in-addr.arpa 255.in-addr.arpa " IP6);
	cr_assert_str_eq(zones_of(0xc6000000, 0xff000000),
			 "1 198.in-addr.arpa 198.in-addr.arpa " IP6);
	cr_assert_str_eq(zones_of(0xc6120000, 0xfffe0000),
			 "2 18.198.in-addr.arpa 19.198.in-addr.arpa " IP6);
	cr_assert_str_eq(zones_of(0x0a800000, 0xff800000),
			 "128 128.10.in-addr.arpa 255.10.in-addr.arpa " IP6);
	cr_assert_str_eq(zones_of(0xc6336400, 0xffffff00),
			 "1 100.51.198.in-addr.arpa 100.51.198.in-addr.arpa " IP6);
#undef IP6
}
