/* SPDX-License-Identifier: Apache-2.0 */
/* config_examine.c - --check-config: settings, definitions and machine, each judged by the code
 * that the start runs. Definitions are registered with a registry in memory: what one of them meets
 * there (another's id, a rule of the operator, a service that nobody defines) no single one tells.
 */
#include "config.h"
#include "consul_service.h"
#include "userspace/api/definitions.h"
#include "userspace/api/rules_file.h"
#include "userspace/base/macros.h"

struct listener {
	wm_settings_fault fn;
	void *arg;
};

static void tell_left_out(void *arg, const struct wm_err *why)
{
	const struct listener *l = arg;
	struct wm_err e = {0};

	wm_err_set(&e, why->code, "%s (the agent would run without it%s)", why->text,
		   why->code == WM_E_UNKNOWN ? ", unless it is registered over the API" : "");
	l->fn(l->arg, &e);
}

/* @return 0 with a registry as it is at the first start. */
static int open_registry(const struct wm_settings *s, struct wm_registry **ret)
{
	char name[WM_NODE_NAME_MAX + 1], address[INET6_ADDRSTRLEN];
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = name,
				       .node_address = address,
				       .datacenter = s->node_datacenter,
				       .instances_max = (unsigned)s->registry_instances_max,
				       .services_max = (unsigned)s->registry_services_max,
				       .nodes_max = (unsigned)s->registry_nodes_max,
				       .checks_max = (unsigned)s->registry_checks_max};
	struct wm_vip_space space;
	struct wm_err e = {0};
	int r = wm_config_node_name(s, name, &e);

	r = r ? r : wm_config_node_address(s, address, &e);
	r = r ? r : wm_config_ranges(s, &space, &e);
	if (r)
		return r;
	c.vip4_base = space.base;
	c.vip4_mask = space.mask;
	c.vip6_prefix = space.prefix;
	r = wm_registry_open(&c, ret, &e);
	return r ? r : wm_consul_service(*ret, s->registry_consul_service, &e);
}

static int hold_to_rules(void *rules, const struct wm_instance_draft *d, struct wm_err *e)
{
	return wm_rules_check(rules, d, e);
}

/* @return how many are refused; 0 where it cannot be tried, for what stands in the way was told. */
static unsigned try_definitions(const struct wm_settings *s, struct wm_definitions *d,
				struct listener *l)
{
	struct wm_registry *registry = NULL;
	struct wm_rules *rules = NULL;
	struct wm_err e = {0};
	unsigned failed = 0;

	if (*s->registry_rules_file && wm_rules_read(s->registry_rules_file, &rules, &e))
		return 0;
	if (!open_registry(s, &registry)) {
		if (rules)
			wm_registry_set_judge(registry, hold_to_rules, rules);
		failed = wm_definitions_try(d, registry, tell_left_out, l);
	}
	wm_registry_close(registry);
	wm_rules_free(rules);
	return failed;
}

enum wm_config_verdict wm_config_examine(const struct wm_settings_source *from,
					 wm_settings_fault fn, void *arg)
{
	struct wm_settings_where where = {.from = from, .fn = fn, .arg = arg};
	struct wm_definitions *defined = NULL;
	struct listener l = {fn, arg};
	enum wm_config_verdict v;
	struct wm_settings s;
	int wrong = wm_settings_gather_all(&s, from, fn, arg), d;

	d = wm_definitions_read_all(from, &s, fn, arg, &defined);
	v = wm_config_check(&s, wm_settings_locate, &where);
	if (defined && try_definitions(&s, defined, &l) && v == WM_CONFIG_OK)
		v = WM_CONFIG_DEGRADED;
	wm_definitions_free(defined);
	wm_settings_done(&s);
	return wrong || d ? WM_CONFIG_REFUSED : v;
}
