/* SPDX-License-Identifier: Apache-2.0 */
/* health_help.h - what tests of kinds of checks share: a loop, a registry in memory and health on
 * them. Nothing asserts how long a thing takes: tests wait for an event until a generous deadline.
 */
#pragma once
#include "userspace/base/clock.h"
#include "userspace/health/health.h"
#include "userspace/health/probe.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define DEADLINE_MS 90000

static struct wm_loop *loop;
static struct wm_registry *registry;
static struct wm_health *health;
static struct wm_health_config health_config;
static const struct wm_env *own_env; /* NULL: the loop's */

static inline void start_registry(const char *path)
{
	struct wm_registry_config rc = {.env = &wm_env_system,
					.path = path,
					.node_name = "n1",
					.node_address = "127.0.0.1",
					.datacenter = "dc1",
					.instances_max = 20000,
					.services_max = 100,
					.vip4_base = 0xf0000000,
					.vip4_mask = 0xf0000000,
					.sync_off = true};
	struct wm_err e = {0};

	rc.vip6_prefix.s6_addr[0] = 0xfd;
	loop = wm_loop_new();
	cr_assert(loop);
	cr_assert_eq(wm_registry_open(&rc, &registry, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_on_turn_end(loop, WM_HOOK_REGISTRY, wm_registry_flush, registry), 0);
}

static inline void start_health(void)
{
	health_config.env = own_env ? own_env : wm_loop_env(loop);
	health_config.probes_max = 8;
	health_config.interval_min_ms = 1;
	health_config.default_timeout_ms = 5000;
	health_config.deregister_min_ms = 1;
	health = wm_health_new(loop, registry, &health_config);
	cr_assert(health);
}

/* Also where an assertion failed between a stop and the next start. */
static inline void stop_all(void)
{
	wm_health_free(health);
	wm_registry_close(registry);
	wm_loop_free(loop);
	health = NULL;
	registry = NULL;
	loop = NULL;
}

#define UNTIL(condition)                                                                           \
	do {                                                                                       \
		uint64_t end_ = wm_clock_ms() + DEADLINE_MS;                                       \
		while (!(condition) && wm_clock_ms() < end_)                                       \
			cr_assert_eq(wm_loop_turn(loop, 20), 0);                                   \
		cr_assert(condition);                                                              \
	} while (0)

static inline struct wm_health_stats stats(void)
{
	struct wm_health_stats s;

	wm_health_stats(health, &s);
	return s;
}

static inline struct wm_check *check_of(const char *id)
{
	return wm_registry_check(registry, id);
}

/* Register instance @p id with these checks; what comes of it is done when the turn is over. */
static inline void submit(const char *id, const struct wm_check_draft *checks, unsigned count)
{
	struct wm_instance_draft d = {.id = id,
				      .name = "web",
				      .port = 80,
				      .checks = checks,
				      .checks_count = count,
				      .replace_checks = true,
				      .scripts = WM_SCRIPTS_ALLOWED,
				      .units = WM_SCRIPTS_ALLOWED};
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), 0, "%s", e.text);
}

/* An instance with one check of the same id. */
static inline struct wm_check *add(const char *id, struct wm_check_draft c)
{
	c.id = id;
	submit(id, &c, 1);
	wm_registry_flush(registry);
	cr_assert(check_of(id));
	return check_of(id);
}
