/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model metadata resolution dataplane */
/* test_plane.c - the data plane against the running kernel: create, adopt, resize, attach, detach,
 * count, probe. */
#include "tests/bpf/plane_fixture.h"
#include "userspace/dataplane/doctor.h"
#include "userspace/dataplane/survey.h"
#include "waymark/counters.h"

#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/utsname.h>

Test(plane, creates_and_adopts)
{
	struct wm_plane_config c = small();
	struct wm_plane *p = open_ok(&c, false);
	uint32_t map_ids[WM_MAP_COUNT], link_ids[CONNECT_HOOKS + 1], prog_ids[CONNECT_HOOKS + 1];
	struct wm_name_key key = {.hash = {1, 2}}, got_key;
	struct wm_name name = {.set = 7, .kind = WM_NAME_SERVICE, .len = 5}, got;
	const struct wm_plane_ops *ops = wm_plane_ops(p);
	const struct wm_plane_hook *h;
	const struct wm_plane_map *m;
	struct wm_table_memory mem;
	uint64_t seed[2];

	wm_plane_memory_of(p, &mem);
	cr_assert_eq(mem.slots_cap, 256);
	memcpy(seed, mem.config->seed, sizeof(seed));
	cr_assert(seed[0] || seed[1]);
	mem.config->ttl_s = 9;
	mem.backends[127].addr4_be = 0x0100007f;
	mem.slots[255].keep = 77;
	mem.sets[31].service = 5;
	mem.live[127].picks = 3;
	mem.heads[wm_heads_cap(32) - 1].first = 9;
	mem.set_live[31].cursor = 4;
	cr_assert_eq(ops->name_put(ops->arg, &key, &name), 0);
	attach_ok(p, CONNECT_HOOKS + 1);
	cr_assert_eq(wm_plane_hooks(p, &h), CONNECT_HOOKS + 1);
	for (unsigned i = 0; i <= CONNECT_HOOKS; i++) {
		link_ids[i] = h[i].link_id;
		prog_ids[i] = h[i].prog_id;
		cr_assert(h[i].link_id && h[i].prog_id, "%s", h[i].name);
		cr_assert_gt(h[i].verified_insns, 0);
	}
	cr_assert_eq(wm_plane_maps(p, &m), WM_MAP_COUNT);
	for (unsigned i = 0; i < WM_MAP_COUNT; i++)
		map_ids[i] = m[i].id;
	wm_plane_close(p);
	/* Nobody runs now, and everything is still there. */
	for (unsigned i = 0; i < CONNECT_HOOKS; i++)
		cr_assert_eq(pinned_link_prog(hook_name(i), NULL), prog_ids[i]);

	p = open_ok(&c, true);
	wm_plane_maps(p, &m);
	for (unsigned i = 0; i < WM_MAP_COUNT; i++)
		cr_assert_eq(m[i].id, map_ids[i], "%s", m[i].name);
	wm_plane_memory_of(p, &mem);
	cr_assert_arr_eq(mem.config->seed, seed, sizeof(seed));
	cr_assert_eq(mem.config->ttl_s, 9);
	cr_assert_eq(mem.backends[127].addr4_be, 0x0100007f);
	cr_assert_eq(mem.slots[255].keep, 77);
	cr_assert_eq(mem.sets[31].service, 5);
	cr_assert_eq(mem.live[127].picks, 3);
	ops = wm_plane_ops(p);
	cr_assert_eq(ops->name_next(ops->arg, true, &got_key, &got), 0);
	cr_assert_arr_eq(&got_key, &key, sizeof(key));
	cr_assert_arr_eq(&got, &name, sizeof(name));
	cr_assert_eq(ops->name_next(ops->arg, false, &got_key, &got), -ENOENT);
	attach_ok(p, CONNECT_HOOKS + 1);
	wm_plane_hooks(p, &h);
	for (unsigned i = 0; i <= CONNECT_HOOKS; i++) {
		cr_assert_eq(h[i].link_id, link_ids[i], "%s was not moved but made anew",
			     h[i].name);
		cr_assert_neq(h[i].prog_id, prog_ids[i]);
	}
	for (unsigned i = 0; i <= CONNECT_HOOKS; i++)
		cr_assert(prog_gone(prog_ids[i]), "old program of %s", h[i].name);
	/* Again, within one process: the same hooks. */
	attach_ok(p, CONNECT_HOOKS + 1);
	wm_plane_hooks(p, &h);
	cr_assert_eq(h[0].link_id, link_ids[0]);
	wm_plane_close(p);
}

Test(plane, another_size_moves_the_links_and_drops_the_old_pins)
{
	struct wm_plane_config c = small();
	struct wm_plane *p = open_ok(&c, false);
	uint32_t map_ids[WM_MAP_COUNT], link_ids[CONNECT_HOOKS + 1];
	const struct wm_plane_hook *h;
	const struct wm_plane_map *m;

	attach_ok(p, CONNECT_HOOKS + 1);
	wm_plane_hooks(p, &h);
	for (unsigned i = 0; i <= CONNECT_HOOKS; i++)
		link_ids[i] = h[i].link_id;
	wm_plane_maps(p, &m);
	for (unsigned i = 0; i < WM_MAP_COUNT; i++)
		map_ids[i] = m[i].id;
	wm_plane_close(p);

	c.backends = 500;
	p = open_ok(&c, false);
	cr_assert_eq(entries("maps"), WM_MAP_COUNT, "old maps serve until the links move");
	cr_assert_eq(entries("new"), WM_MAP_COUNT);
	attach_ok(p, CONNECT_HOOKS + 1);
	cr_assert_eq(entries("maps"), WM_MAP_COUNT);
	cr_assert_eq(entries(""), 3, "only maps, links and tails");
	wm_plane_hooks(p, &h);
	/* what shows and releases sockets was attached beside the old, until it had them all */
	for (unsigned i = 0; i <= CONNECT_HOOKS; i++)
		cr_assert_eq(h[i].link_id == link_ids[i], i >= WM_PROG_TCP_OUTCOME, "%s",
			     h[i].name);
	for (unsigned i = 0; i < WM_PROG_TCP_OUTCOME; i++)
		cr_assert(link_gone(link_ids[i]), "%s", h[i].name);
	wm_plane_maps(p, &m);
	for (unsigned i = 0; i < WM_MAP_COUNT; i++) {
		if (i == WM_MAP_SOCKET_ORIGIN) {
			cr_assert_eq(m[i].id, map_ids[i], "open sockets keep their origin");
			continue;
		}
		cr_assert_neq(m[i].id, map_ids[i]);
		cr_assert(map_gone(map_ids[i]), "old %s", m[i].name);
	}
	wm_plane_close(p);
	p = open_ok(&c, true);
	wm_plane_close(p);
}

/* All of it but the seed and the time of confirmation, which are not the writer's. */
Test(plane, a_configuration_in_use_is_changed_in_place)
{
	struct wm_config next = {.seed = {8, 9},
				 .confirmed_ns = 7,
				 .stale_after_ns = 5,
				 .ttl_s = 6,
				 .flags = WM_CONFIG_F_DNS | WM_CONFIG_F_CONNECT,
				 .dns_port_be = {1, 2},
				 .dns_addr4_count = 1,
				 .dns_skip4 = 3,
				 .dns_addr4_be = {4}};
	struct wm_config k = {.seed = {1, 2},
			      .confirmed_ns = 3,
			      .stale_after_ns = 4,
			      .flags = WM_CONFIG_F_CONNECT,
			      .dns_addr6_count = 1};

	wm_plane_reconfigure(&k, &next);
	cr_assert_eq(k.seed[0], 1);
	cr_assert_eq(k.seed[1], 2);
	cr_assert_eq(k.confirmed_ns, 3);
	next.seed[0] = 1;
	next.seed[1] = 2;
	next.confirmed_ns = 3;
	cr_assert_arr_eq(&k, &next, sizeof(k));
}

Test(plane, another_layout_is_not_adopted)
{
	struct wm_plane_config c = small();
	struct wm_plane *p = open_ok(&c, false);
	struct wm_layout l = {0};
	uint32_t zero = 0;

	cr_assert_eq(bpf_map_lookup_elem(p->map_fd[WM_MAP_LAYOUT_VERSION], &zero, &l), 0);
	cr_assert_eq(l.version, WM_LAYOUT_VERSION);
	l.version++;
	cr_assert_eq(bpf_map_update_elem(p->map_fd[WM_MAP_LAYOUT_VERSION], &zero, &l, BPF_ANY), 0);
	wm_plane_close(p);
	p = open_ok(&c, false);
	attach_ok(p, CONNECT_HOOKS + 1);
	wm_plane_close(p);
	p = open_ok(&c, true);
	wm_plane_close(p);
}

Test(plane, detach_leaves_nothing)
{
	struct wm_plane_config c = small();
	struct wm_plane *p = open_ok(&c, false);
	uint32_t map_ids[WM_MAP_COUNT], link_ids[CONNECT_HOOKS + 1], prog_ids[CONNECT_HOOKS + 1];
	const struct wm_plane_hook *h;
	const struct wm_plane_map *m;
	struct wm_err e = {0};
	int r;

	attach_ok(p, CONNECT_HOOKS + 1);
	wm_plane_hooks(p, &h);
	for (unsigned i = 0; i <= CONNECT_HOOKS; i++) {
		link_ids[i] = h[i].link_id;
		prog_ids[i] = h[i].prog_id;
	}
	wm_plane_maps(p, &m);
	for (unsigned i = 0; i < WM_MAP_COUNT; i++)
		map_ids[i] = m[i].id;
	wm_plane_close(p);
	r = wm_plane_detach(pin_dir, false, &e);
	cr_assert_eq(r, CONNECT_HOOKS + DNS_PINS + WM_MAP_COUNT, "%d: %s", r, e.text);
	cr_assert_neq(access(pin_dir, F_OK), 0);
	for (unsigned i = 0; i <= CONNECT_HOOKS; i++) {
		cr_assert(link_gone(link_ids[i]));
		cr_assert(prog_gone(prog_ids[i]));
	}
	for (unsigned i = 0; i < WM_MAP_COUNT; i++)
		cr_assert(map_gone(map_ids[i]), "%s", wm_plane_map_name(i));
	cr_assert_eq(wm_plane_detach(pin_dir, false, &e), 0, "nothing to do is no error");
}

/* What somebody else took away under a running agent is found, and attached again. */
Test(plane, lost_links_and_pins_come_back)
{
	struct wm_plane_config c = small();
	struct wm_plane *p = open_ok(&c, false);
	const struct wm_plane_hook *h;
	struct wm_err e = {0};
	uint32_t id = 0, map_id;
	char path[256];
	int fd;

	attach_ok(p, CONNECT_HOOKS + 1);
	cr_assert_eq(wm_plane_check(p), 0);
	cr_assert(wm_plane_steers(p));
	/* a link that was detached, its pin still there */
	snprintf(path, sizeof(path), "%s/links/connect4", pin_dir);
	fd = bpf_obj_get(path);
	pinned_link_prog("connect4", &id);
	cr_assert_eq(bpf_link_detach(fd), 0);
	close(fd);
	cr_assert_eq(wm_plane_check(p), 1);
	attach_ok(p, CONNECT_HOOKS + 1);
	wm_plane_hooks(p, &h);
	for (unsigned i = 0; i <= CONNECT_HOOKS; i++) {
		cr_assert_eq(h[i].was_lost, !strcmp(h[i].name, "connect4"), "%s", h[i].name);
		cr_assert_eq(h[i].was_link_id == h[i].link_id, !h[i].was_lost, "%s was made anew",
			     h[i].name);
	}
	cr_assert_eq(wm_plane_check(p), 0);
	/* a link whose pin is gone, and so itself; a pin of a map */
	snprintf(path, sizeof(path), "%s/links/dns_lo@lo", pin_dir);
	cr_assert_eq(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/maps/sets", pin_dir);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(wm_plane_check(p), 2);
	attach_ok(p, CONNECT_HOOKS + 1);
	cr_assert_eq(wm_plane_check(p), 0);
	/* all of it, which a running agent does not let happen by mistake */
	cr_assert_eq(wm_plane_detach(pin_dir, false, &e), -EBUSY);
	cr_assert(strstr(e.text, "--force"), "%s", e.text);
	cr_assert_eq(wm_plane_check(p), 0);
	cr_assert_eq(wm_plane_detach(pin_dir, true, &e), CONNECT_HOOKS + DNS_PINS + WM_MAP_COUNT);
	cr_assert_neq(access(pin_dir, F_OK), 0);
	cr_assert_eq(wm_plane_check(p), CONNECT_HOOKS + DNS_PINS + WM_MAP_COUNT);
	map_id = p->maps[WM_MAP_SETS].id;
	attach_ok(p, CONNECT_HOOKS + 1);
	cr_assert_eq(wm_plane_check(p), 0);
	wm_plane_close(p);
	p = open_ok(&c, true);
	cr_assert_eq(p->maps[WM_MAP_SETS].id, map_id, "the tables are the same");
	wm_plane_close(p);
}

/* A run whose pins were taken away, and then by another agent, lets them be. */
Test(plane, pins_of_another_agent_are_left_alone)
{
	struct wm_plane_config c = small();
	struct wm_plane *p = open_ok(&c, false), *q;
	const struct wm_plane_hook *h;
	struct wm_err e = {0};

	attach_ok(p, CONNECT_HOOKS + 1);
	cr_assert_gt(wm_plane_detach(pin_dir, true, &e), 0);
	q = open_ok(&c, false);
	attach_ok(q, CONNECT_HOOKS + 1);
	cr_assert_gt(wm_plane_check(p), 0);
	cr_assert_eq(wm_plane_attach(p, &e), -EBUSY);
	wm_plane_hooks(p, &h);
	cr_assert(strstr(h[0].text, "another running agent"), "%s", h[0].text);
	cr_assert(!wm_plane_steers(p));
	cr_assert_eq(wm_plane_check(q), 0);
	wm_plane_close(p);
	cr_assert_eq(wm_plane_check(q), 0);
	wm_plane_close(q);
}

struct left {
	unsigned n, same, unpinned, tagged;
};

static void see_left(void *arg, const struct wm_leftover *l)
{
	struct left *s = arg;

	if (strcmp(l->where, cgroup) != 0 && strcmp(l->where, "lo") != 0)
		return; /* of other tests that run now */
	s->n++;
	s->same += l->same;
	s->unpinned += !*l->pin_dir;
	s->tagged += strlen(l->tag) == 16;
}

/* Links of ours that another pin directory keeps, or none that can be seen, are found by what their
 * programs are, and taken over. */
Test(plane, leftovers_are_found_and_taken_over)
{
	struct wm_plane_config c = small(), other = small();
	struct wm_plane *p = open_ok(&c, false);
	struct wm_config mine = {0};
	struct left l = {0};
	char path[256], dir[160];
	int fds[CONNECT_HOOKS];

	attach_ok(p, CONNECT_HOOKS + 1);
	snprintf(dir, sizeof(dir), "%s-other", pin_dir);
	cr_assert_geq(wm_plane_leftovers(&c, see_left, &l), 0);
	cr_assert_eq(l.n, 0, "one's own are no leftovers");
	other.pin_dir = dir;
	cr_assert_geq(wm_plane_leftovers(&other, see_left, &l), CONNECT_HOOKS + 1);
	cr_assert_eq(l.n, CONNECT_HOOKS + 1);
	cr_assert_eq(l.same, CONNECT_HOOKS + 1);
	cr_assert_eq(l.tagged, CONNECT_HOOKS + 1);
	cr_assert_eq(l.unpinned, 0);
	/* a running agent's are not taken */
	cr_assert_eq(wm_plane_rival(&other, NULL), -EBUSY);
	cr_assert_eq(wm_plane_rival(&c, NULL), 0);
	cr_assert_eq(wm_plane_take_over(&other, &mine, NULL, NULL), 0);
	cr_assert_eq(wm_plane_check(p), 0);
	/* links that a process holds, and no pin */
	for (unsigned i = 0; i < CONNECT_HOOKS; i++) {
		snprintf(path, sizeof(path), "%s/links/%s", pin_dir, hook_name(i));
		fds[i] = bpf_obj_get(path);
		cr_assert_geq(fds[i], 0);
	}
	wm_plane_close(p);
	cr_assert_eq(wm_plane_rival(&other, NULL), 0, "its agent is gone");
	cr_assert_eq(wm_pins_remove_dir(pin_dir, "links"), CONNECT_HOOKS + 1);
	cr_assert_eq(wm_pins_remove_dir(pin_dir, "maps"), WM_MAP_COUNT);
	l = (struct left){0};
	cr_assert_geq(wm_plane_leftovers(&other, see_left, &l), CONNECT_HOOKS);
	cr_assert_eq(l.n, CONNECT_HOOKS);
	cr_assert_eq(l.unpinned, CONNECT_HOOKS);
	cr_assert_eq(wm_plane_take_over(&other, &mine, NULL, NULL), CONNECT_HOOKS);
	l = (struct left){0};
	cr_assert_geq(wm_plane_leftovers(&other, see_left, &l), 0);
	cr_assert_eq(l.n, 0);
	for (unsigned i = 0; i < CONNECT_HOOKS; i++)
		close(fds[i]);
}

static void see_neighbour(void *arg, const struct wm_neighbour *n)
{
	if (!strcmp(n->name, "stranger"))
		++*(unsigned *)arg;
}

Test(plane, other_software_on_our_hooks_is_told)
{
	struct wm_plane_config c = small();
	struct wm_plane *p = open_ok(&c, false);
	unsigned strangers = 0;
	int prog, fd, dir;

	attach_ok(p, CONNECT_HOOKS + 1);
	cr_assert_geq(wm_plane_neighbours(&c, see_neighbour, &strangers), 0);
	cr_assert_eq(strangers, 0);
	prog = wm_bpf_null_prog(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT,
				"stranger");
	dir = open(cgroup, O_RDONLY | O_DIRECTORY);
	fd = bpf_link_create(prog, dir, BPF_CGROUP_INET4_CONNECT, NULL);
	cr_assert_geq(fd, 0);
	cr_assert_geq(wm_plane_neighbours(&c, see_neighbour, &strangers), 1);
	cr_assert_eq(strangers, 1);
	close(fd);
	close(prog);
	close(dir);
	wm_plane_close(p);
}

struct places {
	unsigned seen, in_front; /* a bit a hook, in the order of the names */
};

static void see_place(void *arg, const struct wm_neighbour *n)
{
	static const char *const hooks[] = {"connect4", "getpeername4", "ingress"};
	struct places *p = arg;

	for (unsigned i = 0; i < 3; i++)
		if (!strcmp(n->name, "stranger") && !strcmp(n->hook, hooks[i])) {
			p->seen |= 1u << i;
			p->in_front |= (unsigned)n->in_front << i;
			cr_assert_eq(strlen(n->tag), 16);
		}
}

/* Of two instructions that let everything be. */
static int stranger_of(enum bpf_prog_type type, enum bpf_attach_type attach)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach);
	int prog = bpf_prog_load(type, "stranger", "GPL", insns, 2, &opts);

	cr_assert_geq(prog, 0);
	return prog;
}

static bool kernel_is(unsigned major, unsigned minor)
{
	unsigned a = 0, b = 0;
	struct utsname u;

	cr_assert_eq(uname(&u), 0);
	cr_assert_eq(sscanf(u.release, "%u.%u", &a, &b), 2);
	return a > major || (a == major && b >= minor);
}

/* DNS is asked of us first; what we translate last on the way out we translate back first. */
Test(plane, stands_in_front_where_it_matters)
{
	struct wm_plane_config c = small();
	int dir = open(cgroup, O_RDONLY | O_DIRECTORY), links[4];
	unsigned front = kernel_is(6, 17) ? 1 : 3; /* cgroups know no place before that */
	struct places places = {0};
	struct wm_plane *p;

	if (wm_bpf_try_tcx())
		cr_skip_test("%s", "the kernel has no tcx: EINVAL");
	links[0] = bpf_link_create(
		stranger_of(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT), dir,
		BPF_CGROUP_INET4_CONNECT, NULL);
	links[1] = bpf_link_create(
		stranger_of(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_GETPEERNAME), dir,
		BPF_CGROUP_INET4_GETPEERNAME, NULL);
	links[2] = wm_tcx_link_create(stranger_of(BPF_PROG_TYPE_SCHED_CLS, 0), 1);
	links[3] = wm_cgroup_link_in_front(
		stranger_of(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_RECVMSG), dir,
		BPF_CGROUP_UDP4_RECVMSG);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_geq(links[i], 0);
	p = open_ok(&c, false);
	attach_ok(p, CONNECT_HOOKS + 1);
	cr_assert_geq(wm_plane_neighbours(&c, see_place, &places), 3);
	cr_assert_eq(places.seen, 7);
	cr_assert_eq(places.in_front, front, "%x", places.in_front);
	/* and who comes in front of us later is told */
	close(links[2]);
	links[2] = wm_tcx_link_create(stranger_of(BPF_PROG_TYPE_SCHED_CLS, 0), 1);
	cr_assert_geq(links[2], 0);
	places = (struct places){0};
	cr_assert_geq(wm_plane_neighbours(&c, see_place, &places), 3);
	cr_assert_eq(places.in_front, front | 4, "%x", places.in_front);
	for (unsigned i = 0; i < 4; i++)
		close(links[i]);
	close(dir);
	wm_plane_close(p);
}

/* A glob takes the veth devices that match, when they are there. */
Test(plane, devices_of_pods_by_glob)
{
	static const char *const pods[] = {"wm*", "lo*", NULL};
	struct wm_plane_config c = small();
	const struct wm_plane_hook *h;
	struct wm_plane *p;

	c.attach_connect = false;
	c.veth_devices = pods;
	p = open_ok(&c, false);
	attach_ok(p, 1);
	cr_assert_eq(wm_plane_hooks(p, &h), 1, "none is there, which is no error");
	cr_assert_eq(system("ip link add wm.0 type veth peer name xx.0 && "
			    "ip link add wm.1 type veth peer name xx.1"),
		     0);
	attach_ok(p, 3);
	wm_plane_hooks(p, &h);
	cr_assert_str_eq(h[1].where, "wm.0");
	cr_assert_str_eq(h[2].where, "wm.1");
	cr_assert_eq(system("ip link del wm.0"), 0);
	cr_assert_eq(wm_plane_check(p), 1);
	attach_ok(p, 2);
	cr_assert_eq(entries("links"), 2, "of what is gone nothing is pinned");
	wm_plane_close(p);
}

Test(plane, detach_refuses_what_is_no_pin_directory)
{
	char dir[] = "/tmp/waymark-test-plane-XXXXXX";
	struct wm_err e = {0};

	cr_assert(mkdtemp(dir));
	cr_assert_eq(wm_plane_detach(dir, false, &e), -EINVAL);
	cr_assert(strstr(e.text, "bpffs"), "%s", e.text);
	cr_assert_eq(access(dir, F_OK), 0);
	rmdir(dir);
	cr_assert_eq(wm_plane_detach("/sys/fs/bpf", false, &e), -EINVAL,
		     "a whole bpffs is not ours");
	cr_assert_eq(wm_plane_detach("relative", false, &e), -EINVAL);
}

Test(plane, over_budget_is_refused_before_anything_is_made)
{
	struct wm_plane_config c = small();
	struct wm_plane *p = NULL;
	struct wm_err e = {0};
	char need[32], max[32];

	c.names = 1000000;
	c.memory_max = 64 << 20;
	cr_assert_eq(wm_plane_open(&c, &p, NULL, &e), WM_E_BUDGET);
	snprintf(need, sizeof(need), "%llu", (unsigned long long)wm_plane_memory(&c, NULL, NULL));
	snprintf(max, sizeof(max), "%d", 64 << 20);
	cr_assert(strstr(e.text, need) && strstr(e.text, max) &&
			  strstr(e.text, "kernel.memory_max") &&
			  strstr(e.text, "kernel.backends_max"),
		  "%s", e.text);
	cr_assert_null(p);
	cr_assert_neq(access(pin_dir, F_OK), 0);
	c.names = 0;
	cr_assert_eq(wm_plane_open(&c, &p, NULL, &e), -EINVAL);
}

Test(plane, a_missing_bpffs_is_named)
{
	struct wm_plane_config c = small();
	struct wm_plane *p = NULL;
	struct wm_err e = {0};

	cr_assert_eq(umount2("/sys/fs/bpf", MNT_DETACH), 0);
	while (wm_pins_is_bpffs("/sys/fs/bpf")) /* the machine's own, in this namespace only */
		cr_assert_eq(umount2("/sys/fs/bpf", MNT_DETACH), 0);
	cr_assert_eq(wm_plane_open(&c, &p, NULL, &e), -ENODEV);
	cr_assert(strstr(e.text, "mount -t bpf bpf /sys/fs/bpf"), "%s", e.text);
	c.pin_dir = "/sys/fs/bpf/nowhere/waymark";
	cr_assert_eq(wm_plane_open(&c, &p, NULL, &e), -ENOENT);
	cr_assert(strstr(e.text, "/sys/fs/bpf/nowhere"), "%s", e.text);
}

Test(plane, a_second_owner_is_refused)
{
	struct wm_plane_config c = small();
	struct wm_plane *p = open_ok(&c, false), *q = NULL;
	struct wm_err e = {0};

	cr_assert_eq(wm_plane_open(&c, &q, NULL, &e), -EBUSY);
	cr_assert(strstr(e.text, pin_dir) && strstr(e.text, "another running agent"), "%s", e.text);
	wm_plane_close(p);
	p = open_ok(&c, true);
	wm_plane_close(p);
}

Test(plane, a_cgroup_that_went_away_under_its_links_is_no_obstacle)
{
	struct wm_plane_config c = small();
	uint32_t old_link = 0, new_link = 0;
	const struct wm_plane_hook *h;
	struct wm_err e = {0};
	struct wm_plane *p;
	char sub[300];

	snprintf(sub, sizeof(sub), "%s/sub", cgroup);
	cr_assert_eq(mkdir(sub, 0755), 0);
	c.cgroup = sub;
	p = open_ok(&c, false);
	attach_ok(p, CONNECT_HOOKS + 1);
	pinned_link_prog("connect4", &old_link);
	wm_plane_close(p);
	cr_assert_eq(rmdir(sub), 0);
	/* While it is gone: said so, DNS still attached, no dead links left. */
	p = open_ok(&c, true);
	cr_assert_eq(wm_plane_attach(p, &e), 1, "%s", e.text);
	wm_plane_hooks(p, &h);
	cr_assert_eq(h[0].error, -ENOENT);
	cr_assert(strstr(h[0].text, "No such file"), "%s", h[0].text);
	cr_assert_eq(entries("links"), 1);
	wm_plane_close(p);
	/* The directory is back under the same name, another cgroup. */
	cr_assert_eq(mkdir(sub, 0755), 0);
	p = open_ok(&c, true);
	attach_ok(p, CONNECT_HOOKS + 1);
	wm_plane_close(p);
	cr_assert_eq(rmdir(sub), 0);
	cr_assert_eq(mkdir(sub, 0755), 0);
	p = open_ok(&c, true);
	attach_ok(p, CONNECT_HOOKS + 1);
	pinned_link_prog("connect4", &new_link);
	cr_assert_neq(old_link, new_link);
	wm_plane_close(p);
	/* Another cgroup is configured: the links go there. */
	c.cgroup = cgroup;
	p = open_ok(&c, true);
	attach_ok(p, CONNECT_HOOKS + 1);
	cr_assert_eq(entries("links"), CONNECT_HOOKS + 1);
	wm_plane_close(p);
	cr_assert_eq(rmdir(sub), 0);
}

Test(plane, a_wrong_cgroup_or_device_is_an_error_of_its_hook_only)
{
	static const char *const devices[] = {"lo", "nosuch0", NULL};
	struct wm_plane_config c = small();
	const struct wm_plane_hook *h;
	struct wm_err e = {0};
	struct wm_plane *p;

	c.cgroup = "/proc";
	c.lo_devices = devices;
	c.veth_devices = lo_only;
	p = open_ok(&c, false);
	cr_assert_eq(wm_plane_attach(p, &e), 1, "%s", e.text);
	cr_assert_eq(wm_plane_hooks(p, &h), CONNECT_HOOKS + 3);
	cr_assert_eq(h[0].error, -EINVAL);
	cr_assert(strstr(h[0].text, "cgroup2"), "%s", h[0].text);
	cr_assert_eq(h[CONNECT_HOOKS].error, 0);
	cr_assert_str_eq(h[CONNECT_HOOKS].where, "lo");
	cr_assert_eq(h[CONNECT_HOOKS + 1].error, -ENODEV);
	cr_assert(strstr(h[CONNECT_HOOKS + 1].text, "no such device"));
	cr_assert_eq(h[CONNECT_HOOKS + 2].error, -EINVAL);
	cr_assert(strstr(h[CONNECT_HOOKS + 2].text, "loopback"));
	wm_plane_close(p);
	/* Nothing at all can be attached: an error, with the first reason. */
	c.attach_dns = false;
	p = open_ok(&c, true);
	cr_assert_eq(wm_plane_attach(p, &e), -EINVAL);
	cr_assert(strstr(e.text, "sock_release at /proc"), "%s", e.text);
	cr_assert_eq(entries("links"), 0, "the hook on lo is no longer wanted");
	wm_plane_close(p);
}

Test(plane, devices_of_pods_by_tcx)
{
	static const char *const pods[] = {"wm.0", NULL};
	struct wm_plane_config c = small();
	const struct wm_plane_hook *h;
	uint32_t id = 0;
	struct wm_plane *p;

	cr_assert_eq(system("ip link add wm.0 type veth peer name wm.1"), 0);
	c.attach_connect = false;
	c.veth_devices = pods;
	p = open_ok(&c, false);
	attach_ok(p, 2);
	wm_plane_hooks(p, &h);
	cr_assert_str_eq(h[1].name, "dns_veth");
	cr_assert_str_eq(h[1].how, "tcx");
	cr_assert_eq(pinned_link_prog("dns_veth@wm%0", &id), h[1].prog_id);
	/* The device goes and another takes its name: a new link, the old one is gone. */
	cr_assert_eq(system("ip link del wm.0 && ip link add wm.0 type veth peer name wm.1"), 0);
	attach_ok(p, 2);
	wm_plane_hooks(p, &h);
	cr_assert_neq(h[1].link_id, id);
	cr_assert(link_gone(id));
	wm_plane_close(p);
}

static unsigned filters_on_lo(void)
{
	FILE *f = popen("tc filter show dev lo ingress", "r");
	char line[512];
	unsigned n = 0;

	while (fgets(line, sizeof(line), f))
		n += strstr(line, "handle 0x776d") != NULL;
	pclose(f);
	return n;
}

Test(plane, clsact_is_the_fallback)
{
	struct wm_plane_config c = small(), other = small();
	struct left l = {0};
	char dir[160];
	const struct wm_plane_hook *h;
	struct wm_err e = {0};
	struct wm_plane *p;
	uint32_t prog;

	c.attach_connect = false;
	p = open_ok(&c, false);
	p->no_tcx = true;
	attach_ok(p, 1);
	wm_plane_hooks(p, &h);
	cr_assert_str_eq(h[0].how, "clsact");
	prog = h[0].prog_id;
	cr_assert_eq(filters_on_lo(), 1);
	wm_plane_close(p);
	/* Replaced in place by the next run. */
	p = open_ok(&c, true);
	p->no_tcx = true;
	attach_ok(p, 1);
	cr_assert_eq(filters_on_lo(), 1);
	cr_assert(prog_gone(prog));
	wm_plane_close(p);
	/* Never both ways: with tcx the filter goes. */
	p = open_ok(&c, true);
	attach_ok(p, 1);
	cr_assert_eq(filters_on_lo(), 0);
	p->no_tcx = true;
	attach_ok(p, 1);
	cr_assert_eq(filters_on_lo(), 1);
	cr_assert_eq(entries("links"), 0);
	/* One that somebody removed is found and made again; another agent's is found by its pin.
	 */
	cr_assert_eq(wm_plane_check(p), 0);
	cr_assert_eq(system("tc filter del dev lo ingress"), 0);
	cr_assert_eq(wm_plane_check(p), 1);
	attach_ok(p, 1);
	wm_plane_hooks(p, &h);
	cr_assert(h[0].was_lost);
	cr_assert_eq(filters_on_lo(), 1);
	cr_assert_eq(wm_plane_check(p), 0);
	snprintf(dir, sizeof(dir), "%s-other", pin_dir);
	other.pin_dir = dir;
	cr_assert_geq(wm_plane_leftovers(&other, see_left, &l), 1);
	cr_assert_eq(l.n, 1);
	cr_assert_eq(l.same, 1);
	wm_plane_close(p);
	cr_assert_eq(wm_plane_detach(pin_dir, false, &e), DNS_PINS + WM_MAP_COUNT, "%s", e.text);
	cr_assert_eq(filters_on_lo(), 0);
}

Test(plane, a_foreign_filter_is_left_alone)
{
	int prog = wm_bpf_null_prog(BPF_PROG_TYPE_SCHED_CLS, 0, "foreign");
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = 1, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 0x776d, .priority = 0x776d, .prog_fd = prog);
	struct wm_plane_config c = small();
	struct wm_err e = {0};
	struct wm_plane *p;

	cr_assert_eq(bpf_tc_hook_create(&hook), 0);
	cr_assert_eq(bpf_tc_attach(&hook, &opts), 0);
	c.attach_connect = false;
	p = open_ok(&c, false);
	p->no_tcx = true;
	cr_assert_eq(wm_plane_attach(p, &e), -EEXIST);
	cr_assert(strstr(e.text, "not ours"), "%s", e.text);
	wm_plane_close(p);
	wm_plane_detach(pin_dir, false, NULL);
	cr_assert_eq(filters_on_lo(), 1);
	close(prog);
}

Test(plane, memory_is_computed_as_the_kernel_charges)
{
	struct wm_plane_config c = small();
	uint64_t each[WM_MAP_COUNT], sum, add = 0;
	const struct wm_plane_map *m;
	struct wm_plane *p;
	unsigned n = 0;

	c.names = 3000;
	c.frontends = 9000;
	c.slots = 20000;
	c.backends = 5000;
	sum = wm_plane_memory(&c, each, &n);
	cr_assert_eq(n, WM_MAP_COUNT);
	c.memory_max = sum;
	p = open_ok(&c, false);
	wm_plane_maps(p, &m);
	for (unsigned i = 0; i < n; i++) {
		uint64_t off = each[i] > m[i].bytes ? each[i] - m[i].bytes : m[i].bytes - each[i];

		cr_assert_str_eq(m[i].name, wm_plane_map_name(i));
		cr_expect(off * 100 <= m[i].bytes * 15 || off <= 512,
			  "%s: computed %llu, charged %llu", m[i].name, (unsigned long long)each[i],
			  (unsigned long long)m[i].bytes);
		add += each[i];
	}
	cr_assert_eq(add, sum);
	cr_assert_null(wm_plane_map_name(n));
	wm_plane_close(p);
}

Test(plane, counters_are_summed_over_cpus)
{
	struct wm_plane_config c = small();
	struct wm_plane *p = open_ok(&c, false);
	int cpus = libbpf_num_possible_cpus();
	struct wm_counters *each = calloc((size_t)cpus, sizeof(*each));
	uint64_t sum[WM_COUNTER_COUNT], want = 0;
	uint32_t zero = 0;

	for (int i = 0; i < cpus; i++) {
		each[i].dns_query = 10 + (uint64_t)i;
		each[i].peername_reversed = 1;
		want += 10 + (uint64_t)i;
	}
	cr_assert_eq(bpf_map_update_elem(p->map_fd[WM_MAP_COUNTERS], &zero, each, BPF_ANY), 0);
	cr_assert_eq(wm_plane_counters(p, sum), 0);
	cr_assert_eq(sum[WM_C_DNS_QUERY], want);
	cr_assert_eq(sum[WM_C_PEERNAME_REVERSED], (uint64_t)cpus);
	cr_assert_eq(sum[WM_C_DNS_ANSWERED], 0);
	free(each);
	wm_plane_close(p);
}

Test(plane, full_hashes_say_so)
{
	struct wm_plane_config c = small();
	const struct wm_plane_ops *ops;
	struct wm_frontend_key k = {.proto = 6}, got;
	struct wm_frontend v = {.set = 1};
	struct wm_plane *p;
	unsigned seen = 0;

	c.frontends = 8;
	p = open_ok(&c, false);
	ops = wm_plane_ops(p);
	for (uint16_t i = 0; i < 8; i++) {
		k.port_be = i;
		cr_assert_eq(ops->frontend_put(ops->arg, &k, &v), 0);
	}
	k.port_be = 8;
	cr_assert_eq(ops->frontend_put(ops->arg, &k, &v), -E2BIG);
	for (bool first = true; !ops->frontend_next(ops->arg, first, &got, &v); first = false)
		seen++;
	cr_assert_eq(seen, 8);
	k.port_be = 3;
	cr_assert_eq(ops->frontend_del(ops->arg, &k), 0);
	cr_assert_eq(ops->frontend_del(ops->arg, &k), -ENOENT);
	wm_plane_close(p);
}

Test(plane, a_walk_that_reads_ahead_meets_each_entry_once)
{
	enum { ENTRIES = 1500 };
	struct wm_plane_config c = small();
	const struct wm_plane_ops *ops;
	struct wm_frontend_key k = {.proto = 6};
	struct wm_frontend v = {.set = 1};
	bool seen[ENTRIES] = {false};
	unsigned count = 0;
	struct wm_plane *p;

	c.frontends = 2 * ENTRIES;
	p = open_ok(&c, false);
	ops = wm_plane_ops(p);
	for (unsigned i = 0; i < ENTRIES; i++) {
		k.port_be = (uint16_t)i;
		v = (struct wm_frontend){.set = i};
		cr_assert_eq(ops->frontend_put(ops->arg, &k, &v), 0);
	}
	ops->ahead(ops->arg, true);
	for (bool first = true; !ops->frontend_next(ops->arg, first, &k, &v); first = false) {
		cr_assert_lt(k.port_be, ENTRIES);
		cr_assert_eq(v.set, k.port_be);
		cr_assert_eq(v.seal, 0, "an entry that is sound");
		cr_assert_not(seen[k.port_be]);
		seen[k.port_be] = true;
		count++;
		cr_assert_eq(ops->frontend_del(ops->arg, &k), 0);
	}
	cr_assert_eq(count, ENTRIES);
	cr_assert_eq(ops->frontend_next(ops->arg, true, &k, &v), -ENOENT);
	ops->ahead(ops->arg, false);
	cr_assert_eq(ops->frontend_next(ops->arg, true, &k, &v), -ENOENT);
	wm_plane_close(p);
}

/* Output of bpftool on a pin, for the field names. */
static void dump_has(const char *map, const char *const *fields)
{
	char cmd[256], out[16384], rest[4096];
	size_t n;
	FILE *f;

	snprintf(cmd, sizeof(cmd), "bpftool map dump pinned %s/maps/%s 2>&1", pin_dir, map);
	f = popen(cmd, "r");
	cr_assert(f);
	n = fread(out, 1, sizeof(out) - 1, f);
	out[n] = 0;
	while (fread(rest, 1, sizeof(rest), f)) /* or it is killed while it still writes */
		;
	cr_assert_eq(pclose(f), 0, "%s: %s", cmd, out);
	for (; *fields; fields++)
		cr_assert(strstr(out, *fields), "%s lacks %s:\n%s", map, *fields, out);
}

Test(plane, bpftool_prints_field_names)
{
	struct wm_plane_config c = small();
	const struct wm_plane_ops *ops;
	struct wm_plane *p;
	struct wm_name_key nk = {.hash = {1, 2}};
	struct wm_name n = {.set = 7, .kind = WM_NAME_SERVICE, .len = 5};
	struct wm_frontend_key fk = {.port_be = 80};
	struct wm_frontend f = {.set = 7};

	c.sets = c.slots = c.backends = 2; /* a dump prints every entry of an array */
	p = open_ok(&c, false);
	ops = wm_plane_ops(p);
	cr_assert_eq(ops->name_put(ops->arg, &nk, &n), 0);
	cr_assert_eq(ops->frontend_put(ops->arg, &fk, &f), 0);
	dump_has("config", (const char *const[]){"confirmed_ns", "ttl_s", "dns_addr6_be", NULL});
	dump_has("names", (const char *const[]){"hash", "kind", "vip4_be", NULL});
	dump_has("frontends", (const char *const[]){"addr_be", "port_be", "flags", NULL});
	dump_has("sets", (const char *const[]){"generation", "service", NULL});
	dump_has("slots", (const char *const[]){"alias", "keep", NULL});
	dump_has("backends", (const char *const[]){"state", "addr4_be", "instance", NULL});
	dump_has("backend_live", (const char *const[]){"picks", "udp_picks", "open", NULL});
	dump_has("heads", (const char *const[]){"generation", "tiers", "end", NULL});
	dump_has("set_live", (const char *const[]){"cut", "up4", "cursor", NULL});
	dump_has("counters", (const char *const[]){"dns_answered", "connect_refused", NULL});
	dump_has("layout_version", (const char *const[]){"version", "backends", NULL});
	wm_plane_close(p);
}

struct seen {
	unsigned n, faults;
	int refused; /* what the permission finding rests on */
	bool blamed; /* a version of the kernel */
};

static void see(void *arg, const struct wm_finding *f)
{
	struct seen *s = arg;

	s->n++;
	s->faults += f->result == WM_FOUND_FAULT;
	cr_assert(f->text[0], "%s", f->name);
	if (f->result == WM_FOUND_FAULT)
		cr_assert(f->error && f->remedy[0], "%s: %s", f->name, f->text);
	s->blamed |= f->result != WM_FOUND_OK && strstr(f->text, "(Linux");
	if (!strcmp(f->name, "permission"))
		s->refused = f->error;
}

Test(plane, probe_tells_what_is_missing)
{
	struct wm_plane_config c = small();
	struct seen all = {0}, less = {0};

	cr_assert_eq(wm_plane_probe(&c, see, &all), 0);
	cr_assert_eq(all.n, 21);
	cr_assert_eq(all.faults, 0);
	cr_assert_eq(all.refused, 0);
	drop_cap(CAP_BPF);
	drop_cap(CAP_SYS_ADMIN);
	cr_assert_eq(wm_plane_probe(&c, see, &less), -EPERM);
	raise_caps();
	cr_assert_lt(less.n, all.n);
	cr_assert_eq(less.faults, 1);
	cr_assert_eq(less.refused, -EPERM);
	cr_assert(!less.blamed, "who may not ask does not know of versions");
	cr_assert_eq(access(pin_dir, F_OK), -1, "a probe leaves nothing");
}

Test(plane, the_verifiers_reason_is_found)
{
	const struct bpf_insn bad[] = {
		/* r0 is read before it is written */
		{.code = BPF_JMP | BPF_EXIT},
	};
	char log[4096] = "", reason[160];
	LIBBPF_OPTS(bpf_prog_load_opts, o, .log_buf = log, .log_size = sizeof(log), .log_level = 1);

	cr_assert_lt(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "bad", "GPL", bad, 1, &o), 0);
	wm_bpf_verifier_reason(log, reason, sizeof(reason));
	cr_assert(strstr(reason, "R0 !read_ok"), "%s", reason);
	wm_bpf_verifier_reason("", reason, sizeof(reason));
	cr_assert_str_eq(reason, "");
	wm_bpf_verifier_reason("a long line\nprocessed 3 insns (limit 1000000)\n", reason, 7);
	cr_assert_str_eq(reason, "a long");
}
