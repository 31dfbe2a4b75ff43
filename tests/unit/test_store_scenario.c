/* SPDX-License-Identifier: Apache-2.0 */
/* links: base registry */
/* test_store_scenario.c - a fixed run of writes whose acknowledgements go to a file, and the
 * judgement of what a restart finds. tests/fault/store_kill.sh kills the run at each system call of
 * the store; without arguments both halves run undisturbed in a directory of their own.
 *   test_store_scenario run DIR      exit 0: came to the end
 *   test_store_scenario verify DIR   exit 0: what was acknowledged is there, and nothing else */
#include "userspace/base/util.h"
#include "userspace/registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEPS 14 /* writes of the scenario */
#define IDS   5	 /* instances that they touch */

static struct wm_registry *open_store(const char *dir, struct wm_err *e)
{
	struct wm_registry_config c = {.node_name = "n1",
				       .node_address = "10.0.0.1",
				       .instances_max = 100,
				       .services_max = 100,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000};
	struct wm_registry *r = NULL;
	char path[256];

	c.vip6_prefix.s6_addr[0] = 0xfd;
	snprintf(path, sizeof(path), "%s/registry.db", dir);
	c.path = path;
	return wm_registry_open(&c, &r, e) ? NULL : r;
}

/* What step n does: instance, and its new port; 0 deregisters it. */
static void step_of(int n, int *ret_id, unsigned *ret_port)
{
	*ret_id = n * 2 % IDS;
	*ret_port = n % 7 == 6 ? 0 : 1000 + (unsigned)n;
}

static void note_code(void *arg, int code, const char *text)
{
	(void)text;
	*(int *)arg = code;
}

static int submit_step(struct wm_registry *r, int n, int *ret_code)
{
	char id[16], name[16];
	unsigned port;
	int k;

	step_of(n, &k, &port);
	snprintf(id, sizeof(id), "i%d", k);
	snprintf(name, sizeof(name), "s%d", n % 3);
	struct wm_instance_draft d = {.id = id, .name = name, .port = port};

	return port ? wm_registry_register(r, &d, note_code, ret_code, NULL)
		    : wm_registry_deregister(r, id, note_code, ret_code, NULL);
}

/* One line an outcome: "step index"; written by one write(), which the faults leave alone. */
static int run(const char *dir)
{
	struct wm_err e = {0};
	struct wm_registry *r = open_store(dir, &e);
	char path[256], line[64];
	int fd, code;

	if (!r) {
		fprintf(stderr, "%s\n", e.text);
		return 3;
	}
	snprintf(path, sizeof(path), "%s/acks", dir);
	fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
	for (int n = 0; n < STEPS; n++) {
		code = 1;
		if (submit_step(r, n, &code))
			return 4;
		wm_registry_flush(r);
		if (code) /* refused: a later step may still succeed */
			continue;
		snprintf(line, sizeof(line), "%d %llu\n", n,
			 (unsigned long long)wm_registry_index(r));
		if (write(fd, line, strlen(line)) != (ssize_t)strlen(line))
			return 5;
	}
	close(fd);
	wm_registry_close(r);
	return 0;
}

/* Does the registry hold what the steps in @p done leave? */
static bool agrees(const struct wm_registry *r, const bool *done)
{
	unsigned want[IDS] = {0};
	unsigned port, count = 0;
	int k;

	for (int n = 0; n < STEPS; n++) {
		step_of(n, &k, &port);
		if (done[n])
			want[k] = port;
	}
	for (k = 0; k < IDS; k++) {
		const struct wm_instance *i;
		char id[16];

		snprintf(id, sizeof(id), "i%d", k);
		i = wm_registry_instance(r, id);
		count += want[k] != 0;
		if ((i ? i->port : 0u) != want[k])
			return false;
	}
	return wm_registry_instances(r) == count;
}

static int verify(const char *dir)
{
	bool done[STEPS] = {false}, ok;
	unsigned long long index, last = 0;
	struct wm_err e = {0};
	struct wm_registry *r;
	char path[256], line[64], *rest;
	int n, next = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/acks", dir);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		n = (int)strtol(line, &rest, 10);
		index = strtoull(rest, NULL, 10);
		if (n < 0 || n >= STEPS)
			return 14;
		done[n] = true;
		next = n + 1;
		if (index < last)
			return 10;
		last = index;
	}
	if (f)
		fclose(f);
	r = open_store(dir, &e);
	if (!r) {
		fprintf(stderr, "%s\n", e.text);
		return 11;
	}
	ok = agrees(r, done);
	/* one write may have been committed without its acknowledgement: the one after the last,
	 * or, where some were refused before the kill, any of those behind it */
	for (n = next; n < STEPS && !ok; n++) {
		done[n] = true;
		ok = agrees(r, done);
		done[n] = false;
	}
	if (wm_registry_index(r) < last)
		return 12;
	/* and it goes on working */
	n = 1;
	ok = ok && !submit_step(r, 0, &n) && wm_registry_flush(r) && n == 0;
	wm_registry_close(r);
	return ok ? 0 : 13;
}

static int both(void)
{
	static const char *const files[] = {"registry.db", "registry.db-wal", "acks", ""};
	char dir[] = "/tmp/wm-scenario-XXXXXX", path[128];
	int rc;

	if (!mkdtemp(dir))
		return 1;
	rc = run(dir);
	if (!rc)
		rc = verify(dir);
	for (size_t i = 0; i < WM_ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		remove(path);
	}
	return rc;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "run") == 0)
		return run(argv[2]);
	if (argc == 3 && strcmp(argv[1], "verify") == 0)
		return verify(argv[2]);
	return both();
}
