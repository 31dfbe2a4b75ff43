/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry */
/* test_store_scenario.c - a fixed run of writes whose acknowledgements go to a file, and the
 * judgement of what a restart finds. tests/fault/test_store_kill.sh kills the run at each system
 * call of the store; without arguments both halves run undisturbed in a directory of their own.
 *   test_store_scenario run DIR      exit 0: came to the end
 *   test_store_scenario inline DIR   the same without the store's thread
 *   test_store_scenario verify DIR   exit 0: what was acknowledged is there, and nothing else */
#include "userspace/base/err.h"
#include "userspace/base/macros.h"
#include "userspace/registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEPS 28 /* writes of the scenario */
#define IDS   5	 /* instances that they touch */

/* The run waits for each write; that there is a thread is what matters. */
static void wake(void *arg)
{
	(void)arg;
}

static struct wm_registry *open_store(const char *dir, bool thread, struct wm_err *e)
{
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = "n1",
				       .node_address = "10.0.0.1",
				       .instances_max = 100,
				       .services_max = 100,
				       .log_pages = 20, /* moved into the file three times */
				       .wake = thread ? wake : NULL,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000};
	struct wm_registry *r = NULL;
	char path[256];

	c.vip6_prefix.s6_addr[0] = 0xfd;
	snprintf(path, sizeof(path), "%s/registry.db", dir);
	c.path = path;
	return wm_registry_open(&c, &r, e) ? NULL : r;
}

/* What step n does: to instance k. Every kind of write comes by, those that find nothing too. */
enum kind { REGISTER, DEREGISTER, CHECK, NODE_CHECK, UNCHECK, MAINTAIN, RESUME, NODE_MAINTAIN };
static const struct step {
	enum kind kind;
	int k;
} steps[STEPS] = {
	{REGISTER, 0},	 {REGISTER, 2},	  {CHECK, 0},	      {REGISTER, 4},   {MAINTAIN, 2},
	{NODE_CHECK, 0}, {REGISTER, 1},	  {CHECK, 1},	      {DEREGISTER, 4}, {REGISTER, 0},
	{RESUME, 2},	 {MAINTAIN, 0},	  {NODE_MAINTAIN, 0}, {UNCHECK, 0},    {REGISTER, 3},
	{CHECK, 3},	 {DEREGISTER, 0}, {REGISTER, 2},      {NODE_CHECK, 1}, {CHECK, 2},
	{DEREGISTER, 3}, {REGISTER, 0},	  {MAINTAIN, 1},      {CHECK, 0},      {UNCHECK, 1},
	{RESUME, 1},	 {REGISTER, 4},	  {REGISTER, 1},
};

/* What the registry must hold. */
struct model {
	unsigned port[IDS]; /* 0: not registered */
	bool check[IDS], maintenance[IDS], node_maintenance;
	unsigned node_check; /* its TTL; 0: none */
};

static void note_code(void *arg, int code, const char *text)
{
	(void)text;
	*(int *)arg = code;
}

static int submit_step(struct wm_registry *r, int n, int *ret_code)
{
	struct wm_check_draft c = {.kind = WM_CHECK_TTL, .ttl_ms = 60000 + (uint64_t)n};
	char id[16], name[16], check[16];

	snprintf(id, sizeof(id), "i%d", steps[n].k);
	snprintf(check, sizeof(check), "c%d", steps[n].k);
	snprintf(name, sizeof(name), "s%d", n % 3);
	struct wm_instance_draft d = {.id = id, .name = name, .port = 1000 + (unsigned)n};

	c.id = c.name = check;
	switch (steps[n].kind) {
	case REGISTER:
		return wm_registry_register(r, &d, note_code, ret_code, NULL);
	case DEREGISTER:
		return wm_registry_deregister(r, id, note_code, ret_code, NULL);
	case CHECK:
		return wm_registry_check_register(r, id, &c, note_code, ret_code, NULL);
	case NODE_CHECK:
		c.id = c.name = "node";
		return wm_registry_check_register(r, NULL, &c, note_code, ret_code, NULL);
	case UNCHECK:
		return wm_registry_check_deregister(r, check, note_code, ret_code, NULL);
	case MAINTAIN:
	case RESUME:
		return wm_registry_maintenance(r, id, steps[n].kind == MAINTAIN, NULL, note_code,
					       ret_code, NULL);
	case NODE_MAINTAIN:
	default:
		return wm_registry_maintenance(r, NULL, true, NULL, note_code, ret_code, NULL);
	}
}

static void model_step(struct model *m, int n)
{
	int k = steps[n].k;

	switch (steps[n].kind) {
	case REGISTER:
		m->port[k] = 1000 + (unsigned)n;
		break;
	case DEREGISTER:
		m->port[k] = 0;
		m->check[k] = m->maintenance[k] = false;
		break;
	case CHECK:
		m->check[k] = true;
		break;
	case NODE_CHECK:
		m->node_check = 60000 + (unsigned)n;
		break;
	case UNCHECK:
		m->check[k] = false;
		break;
	case MAINTAIN:
	case RESUME:
		m->maintenance[k] = steps[n].kind == MAINTAIN;
		break;
	case NODE_MAINTAIN:
	default:
		m->node_maintenance = true;
		break;
	}
}

/* One line an outcome: "step index", or "step refused"; written by one write(), which the faults
 * leave alone. */
static int run(const char *dir, bool thread)
{
	struct wm_err e = {0};
	struct wm_registry *r = open_store(dir, thread, &e);
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
		wm_registry_finish(r);
		/* unknown: an earlier one that it needs was refused. A later one may succeed. */
		if (code == WM_E_UNKNOWN)
			continue;
		if (code)
			snprintf(line, sizeof(line), "%d refused\n", n);
		else
			snprintf(line, sizeof(line), "%d %llu\n", n,
				 (unsigned long long)wm_registry_index(r));
		if (write(fd, line, strlen(line)) != (ssize_t)strlen(line))
			return 5;
	}
	close(fd);
	wm_registry_close(r);
	return 0;
}

static bool has_check(const struct wm_registry *r, const char *prefix, const char *of,
		      const char *owner)
{
	const struct wm_check *c;
	char id[64];

	snprintf(id, sizeof(id), "%s%s", prefix, of);
	c = wm_registry_check(r, id);
	return c && strcmp(c->instance->id, owner) == 0;
}

/* Does the registry hold what the steps in @p done leave? */
static bool agrees(const struct wm_registry *r, const bool *done)
{
	const struct wm_check *node = wm_registry_check(r, "node");
	struct model m = {0};
	unsigned count = 0;

	for (int n = 0; n < STEPS; n++) {
		if (done[n])
			model_step(&m, n);
	}
	for (int k = 0; k < IDS; k++) {
		const struct wm_instance *i;
		char id[16];

		snprintf(id, sizeof(id), "i%d", k);
		i = wm_registry_instance(r, id);
		count += m.port[k] != 0;
		if ((i ? i->port : 0u) != m.port[k] ||
		    has_check(r, "c", id + 1, id) != m.check[k] ||
		    has_check(r, WM_SERVICE_MAINTENANCE_ID, id, id) != m.maintenance[k])
			return false;
	}
	return wm_registry_instances(r) == count && (node ? node->ttl_ms : 0) == m.node_check &&
	       has_check(r, WM_NODE_MAINTENANCE_ID, "", "") == m.node_maintenance;
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
		if (n < 0 || n >= STEPS)
			return 14;
		next = n + 1;
		if (strcmp(rest, " refused\n") == 0)
			continue;
		index = strtoull(rest, NULL, 10);
		done[n] = true;
		if (index < last)
			return 10;
		last = index;
	}
	if (f)
		fclose(f);
	r = open_store(dir, true, &e);
	if (!r) {
		fprintf(stderr, "%s\n", e.text);
		return 11;
	}
	ok = agrees(r, done);
	/* one write may have been committed without an answer: one after the last that has any */
	for (n = next; n < STEPS && !ok; n++) {
		done[n] = true;
		ok = agrees(r, done);
		done[n] = false;
	}
	if (wm_registry_index(r) < last)
		return 12;
	/* and it goes on working */
	n = 1;
	ok = ok && !submit_step(r, 0, &n);
	wm_registry_finish(r);
	ok = ok && n == 0;
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
	rc = run(dir, true);
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
		return run(argv[2], true);
	if (argc == 3 && strcmp(argv[1], "inline") == 0)
		return run(argv[2], false);
	if (argc == 3 && strcmp(argv[1], "verify") == 0)
		return verify(argv[2]);
	return both();
}
