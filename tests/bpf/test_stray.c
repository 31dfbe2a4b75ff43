/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* What `waymarkctl truth` is told of the kernel's side: pins and programs that somebody took away.
 */
#include "plane_fixture.h"
#include "userspace/dataplane/stray.h"
#include "waymark/dns_tail.h"

TestSuite(stray, .init = setup, .fini = teardown, .timeout = 300);

#define TOLD_MAX 1024

struct told {
	unsigned count;
	char maps[TOLD_MAX], text[TOLD_MAX]; /* of all, one after the other */
};

static void add(char all[TOLD_MAX], const char *more)
{
	size_t at = strlen(all);

	snprintf(all + at, TOLD_MAX - at, "%s\n", more);
}

static void on_pin(void *arg, const char *map, const char *text)
{
	struct told *t = arg;

	t->count++;
	add(t->maps, map);
	add(t->text, text);
}

static void on_stray(void *arg, const char *text)
{
	on_pin(arg, "", text);
}

static struct told pins_of(const struct wm_plane *p)
{
	struct told t = {0};

	wm_plane_unpinned(p, on_pin, &t);
	return t;
}

static struct told strays_of(const struct wm_plane *p)
{
	struct wm_stray_walk w = {0};
	struct told t = {0};

	while (wm_plane_stray(p, &w, 8, on_stray, &t))
		;
	return t;
}

static struct wm_plane *attached(void)
{
	struct wm_plane_config c = small();
	struct wm_plane *p;

	c.attach_connect = false;
	c.ready_answers = c.hot_answers = 16; /* so that all programs are there */
	p = open_ok(&c, false);
	attach_ok(p, 1);
	cr_assert_eq(strays_of(p).count, 0, "%s", strays_of(p).text);
	cr_assert_eq(pins_of(p).count, 0, "%s", pins_of(p).text);
	return p;
}

/* Each of them, and the pin of another map in its place. */
Test(stray, a_map_whose_pin_is_gone_is_told)
{
	struct wm_plane *p = attached();
	char path[WM_PIN_PATH_MAX];
	struct told t;

	for (unsigned i = 0; i < WM_MAP_COUNT; i++) {
		const char *name = wm_map_specs[i].name;
		unsigned other = i ? 0 : 1;

		cr_assert_eq(wm_pins_path(path, pin_dir, "maps", name), 0);
		cr_assert_eq(unlink(path), 0, "%s", path);
		t = pins_of(p);
		cr_assert_eq(t.count, 1, "%s", name);
		cr_assert_eq(strncmp(t.maps, name, strlen(name)), 0, "%s", t.maps);
		cr_assert(strstr(t.text, path), "%s", t.text);
		cr_assert_eq(bpf_obj_pin(p->map_fd[other], path), 0);
		cr_assert_eq(pins_of(p).count, 1, "%s: another map's", name);
		cr_assert_eq(unlink(path), 0);
		attach_ok(p, 1);
		cr_assert_eq(pins_of(p).count, 0, "%s: it is made again", name);
	}
	wm_plane_close(p);
}

/* Each slot that has a program, and another program in its place. */
Test(stray, a_slot_that_was_emptied_is_told_and_filled_again)
{
	struct wm_plane *p = attached();
	int fd = wm_dns_map(p, "dns_tails"), lo = p->progs[WM_PROG_DNS_LO].fd;
	unsigned filled = 0;
	struct told t;

	for (uint32_t i = 0; i < WM_DNS_TAILS; i++) {
		char slot[32];

		snprintf(slot, sizeof(slot), "slot %u of dns_tails", i);
		if (bpf_map_delete_elem(fd, &i))
			continue; /* of devices that there are not, or that the kernel refuses */
		filled++;
		t = strays_of(p);
		cr_assert_eq(t.count, 1, "%u", i);
		cr_assert(strstr(t.text, slot), "%s", t.text);
		cr_assert_eq(wm_plane_check(p), 1);
		cr_assert_eq(bpf_map_update_elem(fd, &i, &lo, BPF_ANY), 0);
		cr_assert_eq(strays_of(p).count, 1, "%u: another program", i);
		attach_ok(p, 1);
		cr_assert_eq(strays_of(p).count, 0, "%u", i);
		cr_assert_eq(wm_plane_check(p), 0);
	}
	cr_assert_geq(filled, 7);
	wm_plane_close(p);
}
