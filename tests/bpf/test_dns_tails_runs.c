/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* The programs behind the tail calls across runs of the agent: they outlive it, and another run's
 * take their place without a moment in which there are none. */
#include "plane_fixture.h"
#include "userspace/dataplane/survey.h"
#include "waymark/dns_tail.h"

TestSuite(dns_tails_runs, .init = setup, .fini = teardown, .timeout = 300);

/* Programs in the array of this id, or -1: there is no such array. */
static int programs_in(uint32_t id)
{
	int fd = bpf_map_get_fd_by_id(id), n = 0;
	uint32_t value;

	if (fd < 0)
		return -1;
	for (uint32_t i = 0; i < WM_DNS_TAILS; i++)
		n += !bpf_map_lookup_elem(fd, &i, &value);
	close(fd);
	return n;
}

static uint32_t pinned_id(const char *name)
{
	return (uint32_t)strtoul(name, NULL, 10);
}

static uint32_t only_pin(void)
{
	char path[256];
	struct dirent *e;
	uint32_t id = 0;
	DIR *d;

	cr_assert_eq(entries("tails"), 1);
	snprintf(path, sizeof(path), "%s/tails", pin_dir);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			id = pinned_id(e->d_name);
	if (d)
		closedir(d);
	return id;
}

Test(dns_tails_runs, they_outlive_the_agent)
{
	struct wm_plane_config c = small();
	struct wm_plane *p;
	uint32_t first, second;

	c.attach_connect = false;
	p = open_ok(&c, false);
	attach_ok(p, 1);
	first = only_pin();
	cr_assert_geq(programs_in(first), 1);
	wm_plane_close(p); /* as a killed agent: only pins stay */
	cr_assert_geq(programs_in(first), 1);

	p = open_ok(&c, true);
	cr_assert_eq(entries("tails"), 1, "until the links move nothing changes");
	attach_ok(p, 1);
	second = only_pin();
	cr_assert_neq(second, first);
	cr_assert_geq(programs_in(second), 1);
	wm_plane_close(p);
	cr_assert_geq(programs_in(second), 1);
}

/* A run that was killed between its pin and the last link leaves both: neither is emptied. */
Test(dns_tails_runs, a_pin_that_is_lost_is_made_again)
{
	struct wm_plane_config c = small();
	struct wm_plane *p;
	uint32_t id;

	c.attach_connect = false;
	p = open_ok(&c, false);
	attach_ok(p, 1);
	id = only_pin();
	cr_assert_eq(wm_pins_remove_dir(pin_dir, "tails"), 1);
	cr_assert_eq(wm_plane_check(p), 1);
	attach_ok(p, 1);
	cr_assert_eq(only_pin(), id);
	cr_assert_eq(wm_plane_check(p), 0);
	wm_plane_close(p);
	c.attach_dns = false;
	c.attach_connect = true;
	p = open_ok(&c, true);
	attach_ok(p, CONNECT_HOOKS);
	cr_assert(!wm_pins_exists(pin_dir, "tails"), "nobody calls them any more");
	wm_plane_close(p);
}

/* Ids of the maps that this process holds. */
static unsigned held_maps(uint32_t *ids, unsigned cap)
{
	char path[300], line[128];
	struct dirent *e;
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fdinfo");

	cr_assert(d);
	while ((e = readdir(d))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", e->d_name);
		f = fopen(path, "re");
		while (f && n < cap && fgets(line, sizeof(line), f))
			n += sscanf(line, "map_id: %u", &ids[n]) == 1;
		if (f)
			fclose(f);
	}
	closedir(d);
	return n;
}

static void see_nothing(void *arg, const struct wm_leftover *l)
{
	(void)l;
	++*(unsigned *)arg;
}

/* Of a run that was killed while its pins go one by one: nobody holds the array any more, and who
 * looks at its programs meanwhile, over and over, must not keep it. */
Test(dns_tails_runs, nothing_stays_of_a_killed_run_that_others_look_at)
{
	struct wm_plane_config c = small(), other = small();
	struct wm_plane *p = open_ok(&c, false);
	char other_dir[sizeof(pin_dir) + 8];
	unsigned count, seen = 0;
	uint32_t ids[256];

	attach_ok(p, CONNECT_HOOKS + 1);
	count = held_maps(ids, 256);
	cr_assert_gt(count, WM_MAP_COUNT);
	cr_assert_eq(wm_pins_remove_dir(pin_dir, "tails"), 1);
	wm_plane_close(p);
	snprintf(other_dir, sizeof(other_dir), "%s-other", pin_dir);
	other.pin_dir = other_dir;
	for (unsigned i = 0; i < 50; i++) {
		int fd = wm_kept_open(pin_dir, &wm_kept_maps[WM_KEPT_AFFINITY]);

		cr_assert_geq(fd, 0);
		close(fd);
		cr_assert_gt(wm_plane_leftovers(&other, see_nothing, &seen), CONNECT_HOOKS);
	}
	cr_assert_gt(seen, 50 * CONNECT_HOOKS);
	cr_assert_gt(wm_plane_detach(pin_dir, true, NULL), 0);
	for (unsigned i = 0; i < count; i++)
		cr_expect(map_gone(ids[i]), "map %u", ids[i]);
}
