/* SPDX-License-Identifier: Apache-2.0 */
/* agent.c - registry, data plane, tables, resolution, health, DNS, HTTP: in this order, because
 * each uses the ones before it. The kernel serves from an earlier run's tables until the last step.
 */
#include "agent.h"

#include "agent_left_out.h"
#include "agent_sources.h"
#include "change_log.h"
#include "config.h"
#include "config_dns.h"
#include "config_sync.h"
#include "consul_service.h"
#include "dns_settings.h"
#include "kernel_config.h"
#include "notify.h"
#include "reload.h"
#include "serve_dns.h"
#include "serve_http.h"
#include "userspace/api/api.h"
#include "userspace/api/definitions.h"
#include "userspace/api/policy_dir.h"
#include "userspace/api/rules_file.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"
#include "userspace/dataplane/survey.h"
#include "userspace/dataplane/watch.h"
#include "userspace/registry/vip.h"
#include "userspace/sync/sync.h"

#include <ctype.h>
#include <errno.h>
#include <linux/limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX_STEP     128  /* instances indexed in one turn: some 0.7 ms, as lookups wait for it */
#define INDEX_PAUSE_MS 1    /* ms between two of these: others have their turns */
#define STATUS_MS      20   /* ms that a status waits at most, before other nodes are told */
#define SLOW_STEP_MS   100  /* ms of a step of the start that are worth a line in the log */
#define LEAVE_MS       100  /* ms from the request to stop to the stop: its answer goes out first */
#define LEAVE_MESH_MS  2000 /* the same in a mesh: members hear of it meanwhile */
#define PAUSE_TURNS    50   /* turns at the end, for others to be told that we come back */

struct wm_agent {
	struct wm_settings settings;
	const struct wm_settings_source *from;
	char node_name[WM_NODE_NAME_MAX + 1];
	char node_address[INET6_ADDRSTRLEN];
	struct wm_vip_space vips;
	struct wm_loop *loop;
	struct wm_registry *registry;
	struct wm_keep *keep;
	struct wm_plane *plane;
	char custom[WM_POLICY_LABEL_MAX + 1]; /* name of kernel.custom */
	struct wm_plane_watch *watch;
	struct wm_plane_events *events; /* of the plane; NULL: it tells nothing */
	struct wm_config config;	/* as the settings want the kernel's */
	struct wm_table_memory own;	/* where there is no plane: our own memory */
	struct wm_config own_config;
	struct wm_ttls *ttls; /* of services by name */
	struct wm_tables *tables;
	struct wm_grace_thread *grace;
	struct wm_resolution *resolution;
	struct wm_change_log *change_log;
	struct wm_index *index;
	struct wm_health *health;
	struct wm_drains *drains;
	struct wm_aborts *aborts;	/* NULL: switched off, or nothing is steered */
	struct wm_listeners *listeners; /* NULL: switched off, or refused by the kernel */
	struct wm_outliers *outliers;	/* NULL: likewise */
	struct wm_truth *truth;
	struct wm_reconcile *reconcile; /* NULL: nothing is steered */
	bool adopted;			/* the tables are an earlier run's */
	struct wm_dns_server *dns;
	bool dns_serves; /* it was started */
	struct wm_http_server *http;
	struct wm_rules *rules; /* NULL: none */
	struct wm_policy_files *policies;
	struct wm_definitions_outcome defined;
	struct wm_api *api;
	struct wm_timer *watchdog, *leave, *indexing;
	struct wm_reload *reload;
	char needs_restart[WM_SETTINGS_NAMES_MAX];
	struct wm_sync *sync; /* NULL: sync.mode is off */
	struct wm_agent_sources *sources;
	struct wm_agent_left_out *left_out;
	uint64_t indexing_ms; /* when it began */
	uint64_t watchdog_ms;
	struct wm_err plane_error;
};

static int find_name(struct wm_agent *a, struct wm_err *e)
{
	return wm_config_node_name(&a->settings, a->node_name, e);
}

static int find_address(struct wm_agent *a, struct wm_err *e)
{
	return wm_config_node_address(&a->settings, a->node_address, e);
}

/* --- registry --------------------------------------------------------------------------------- */
/* What there is to restore, and how: the operator decides, since writes after it would be lost. */
static void tell_kept(const char *data_dir)
{
	char path[PATH_MAX];
	int64_t when;

	if (!wm_keep_newest(data_dir, path, &when))
		return;
	wm_error("registry.damaged",
		 "text=\"The last known good registry is %lld minutes old, to restore it: "
		 "waymarkctl "
		 "snapshot restore --offline %s --data-dir %s\"",
		 (long long)(wm_clock_wall_s() - when) / 60, path, data_dir);
}

static uint64_t turn_of(void *loop, bool again)
{
	if (again)
		wm_loop_again(loop);
	return wm_loop_turns(loop);
}

/* On the store's thread. */
static void rouse(void *loop)
{
	wm_loop_rouse(loop);
}

static int start_registry(struct wm_agent *a, struct wm_err *e)
{
	const struct wm_settings *s = &a->settings;
	struct wm_registry_config c = {.env = wm_loop_env(a->loop),
				       .turn = turn_of,
				       .turn_arg = a->loop,
				       .wake = rouse,
				       .wake_arg = a->loop,
				       .node_name = a->node_name,
				       .node_address = a->node_address,
				       .datacenter = s->node_datacenter,
				       .instances_max = (unsigned)s->registry_instances_max,
				       .services_max = (unsigned)s->registry_services_max,
				       .nodes_max = (unsigned)s->registry_nodes_max,
				       .checks_max = (unsigned)s->registry_checks_max,
				       .sync = strcmp(s->sync_mode, "off") != 0,
				       .status_delay_ms =
					       strcmp(s->sync_mode, "off") ? STATUS_MS : 0};
	_cleanup_free_ char **meta = NULL;
	struct wm_registry_stats stats;
	char path[512];
	int r = wm_config_ranges(s, &a->vips, e);

	if (r)
		return r;
	c.vip4_base = a->vips.base;
	c.vip4_mask = a->vips.mask;
	c.vip6_prefix = a->vips.prefix;
	r = wm_config_data_dir(s->node_data_dir, e);
	if (r)
		return r;
	snprintf(path, sizeof(path), "%s/" WM_STORE_FILE, s->node_data_dir);
	c.path = path;
	meta = wm_consul_node_meta(s->node_meta);
	if (!meta)
		return wm_err_set(e, -ENOMEM, "out of memory");
	c.node_meta = meta;
	r = wm_registry_open(&c, &a->registry, e);
	if (r == WM_E_STORE_DAMAGED)
		tell_kept(s->node_data_dir);
	if (r)
		return r;
	if (wm_loop_on_turn_end(a->loop, WM_HOOK_REGISTRY, wm_registry_flush, a->registry))
		return wm_err_set(e, -ENOMEM, "out of memory");
	a->change_log = wm_change_log_new(a->loop, a->registry);
	if (!a->change_log)
		return wm_err_set(e, -ENOMEM, "out of memory: log");
	wm_registry_stats(a->registry, &stats);
	if (stats.restore_finished)
		wm_warn("registry.restored", "text=\"a restore that was cut off is finished\"");
	if (stats.unstored)
		wm_error("registry.unwritten", "path=%s text=%s", wm_log_q(path),
			 wm_log_q(stats.last_error));
	wm_info("registry.open",
		"path=%s services=%u instances=%u index=%llu open_ms=%llu recover_ms=%llu "
		"ready_ms=%llu",
		wm_log_q(path), wm_registry_services(a->registry),
		wm_registry_instances(a->registry),
		(unsigned long long)wm_registry_index(a->registry),
		(unsigned long long)stats.opened_ms, (unsigned long long)stats.recovered_ms,
		(unsigned long long)stats.ready_ms);
	return wm_consul_service(a->registry, s->registry_consul_service, e);
}

static int start_sources(struct wm_agent *a, struct wm_err *e)
{
	return wm_agent_sources_new(&a->settings, a->loop, a->registry, &a->sources, e);
}

/* --- tables and data plane -------------------------------------------------------------------- */
static int own_memory(struct wm_agent *a, const struct wm_plane_config *c)
{
	a->own = (struct wm_table_memory){.sets_cap = c->sets,
					  .slots_cap = c->slots,
					  .backends_cap = c->backends,
					  .names_cap = c->names,
					  .frontends_cap = c->frontends};
	return wm_table_memory_new(&a->own);
}

/* The plane, or why there is none: then the agent serves from userspace. */
static void open_plane(struct wm_agent *a, const struct wm_plane_config *c, bool *ret_adopted)
{
	*ret_adopted = false;
	if (!a->settings.kernel_enabled) {
		wm_err_set(&a->plane_error, WM_E_UNSUPPORTED, "kernel.enabled is false");
		return;
	}
	if (wm_plane_rival(c, &a->plane_error) ||
	    wm_plane_open(c, &a->plane, ret_adopted, &a->plane_error)) {
		a->plane = NULL;
		wm_warn("plane.off", "err=%s text=%s", wm_err_name(a->plane_error.code),
			wm_log_q(a->plane_error.text));
	}
}

static int start_watch(struct wm_agent *a, struct wm_err *e)
{
	struct wm_plane_watch_config c = {.loop = a->loop,
					  .plane = a->plane,
					  .tables = a->tables,
					  .wanted = a->settings.kernel_enabled,
					  .why = a->plane_error.text};

	a->watch = wm_plane_watch_new(&c);
	return a->watch ? 0 : wm_err_set(e, -ENOMEM, "out of memory: the data plane's watch");
}

static int start_tables(struct wm_agent *a, struct wm_err *e)
{
	const struct wm_settings *s = &a->settings;
	struct wm_plane_config c;
	struct wm_table_memory mem;
	struct wm_config config;
	bool adopted;
	int r = 0;

	wm_kernel_plane(s, &a->vips, &c);
	open_plane(a, &c, &adopted);
	if (a->plane)
		wm_plane_memory_of(a->plane, &mem);
	else if (own_memory(a, &c))
		return wm_err_set(e, -ENOMEM, "out of memory: the tables");
	else
		mem = a->own;
	config = wm_kernel_config(s, mem.config);
	a->config = config;
	if (!adopted) /* nobody reads it yet */
		*mem.config = config;
	if (!a->plane)
		wm_kernel_detach(s, &c, mem.config, &a->plane_error);
	a->tables = wm_tables_new(&mem, a->plane ? wm_plane_ops(a->plane) : NULL, s->node_domain,
				  *s->node_alt_domain ? s->node_alt_domain : NULL);
	if (!a->tables)
		return wm_err_set(e, WM_E_INVALID,
				  "node.domain, node.alt_domain: not a domain, or out of memory");
	r = wm_ttls_new(s->dns_service_ttl, &a->ttls, e);
	if (r)
		return r;
	if (wm_plane_custom_name(s->kernel_custom, a->custom, sizeof(a->custom)))
		*a->custom = 0;
	wm_tables_set_policy(
		a->tables,
		&(struct wm_tables_policy){.ttls = a->ttls,
					   .only_passing = s->dns_only_passing,
					   .partial = wm_kernel_partial(s),
					   .external_addresses = *s->source_kubernetes_external,
					   .custom = a->custom});
	a->adopted = adopted;
	a->grace = a->plane ? wm_grace_begin() : NULL;
	wm_tables_set_grace(a->tables, wm_grace_of(a->grace));
	r = start_watch(a, e);
	if (r)
		return r;
	if (adopted)
		r = wm_tables_adopt(a->tables);
	if (r < 0)
		return wm_err_set(e, r, "adopting the tables: %s", wm_err_str(r));
	a->resolution = wm_resolution_new(a->loop, a->registry, a->tables);
	if (!a->resolution)
		return wm_err_set(e, -ENOMEM, "out of memory: resolution");
	if (adopted) {
		wm_plane_reconfigure(mem.config, &config);
		wm_info("plane.adopted", "sets=%d", r);
	}
	return 0;
}

/* --- signals, requests ------------------------------------------------------------------------ */
static void set_log_level(const char *level)
{
	wm_log_set_level(*level == 'e'	 ? WM_LOG_ERROR
			 : *level == 'w' ? WM_LOG_WARN
			 : *level == 'd' ? WM_LOG_DEBUG
					 : WM_LOG_INFO);
}

static void on_stop(void *arg, int signo)
{
	struct wm_agent *a = arg;

	wm_info("agent.stop", "signal=%d", signo);
	wm_loop_stop(a->loop);
}

/* @return 0 or what is wrong with the settings; then those before stay in force. */
/* --- the operator's rules --- */
/* Of what is registered here; a scope that a source brings has that one's services alone. */
static int judge(void *arg, const struct wm_instance_draft *d, struct wm_err *e)
{
	const struct wm_agent *a = arg;
	int err = wm_sources_judge(wm_agent_sources_door(a->sources), d, e);

	return err || !a->rules ? err : wm_rules_check(a->rules, d, e);
}

/* NULL where there are none. */
static int read_rules(const struct wm_settings *s, struct wm_rules **ret, struct wm_err *e)
{
	*ret = NULL;
	return *s->registry_rules_file ? wm_rules_read(s->registry_rules_file, ret, e) : 0;
}

static void take_rules(struct wm_agent *a, struct wm_rules *next)
{
	wm_rules_free(a->rules);
	a->rules = next;
	if (next)
		wm_info("rules.read", "file=%s rules=%u", wm_log_q(a->settings.registry_rules_file),
			wm_rules_count(next));
}

/* --- policies from files --- */
static void on_bad_policy(void *arg, const char *file, const struct wm_err *why)
{
	(void)arg;
	wm_error("policy.refused", "file=%s text=%s", wm_log_q(file), wm_log_q(why->text));
}

/* @return what is to be written down of it, for free(). */
static char *take_policies(struct wm_agent *a, const struct wm_policy_dir *d)
{
	struct wm_policy_files_outcome o;

	wm_policy_files_take(a->policies, d, &o);
	if (d || o.removed)
		wm_info("policy.read", "policies=%u written=%u removed=%u bad=%u", o.policies,
			o.written, o.removed, o.bad);
	return wm_policy_files_ledger(a->policies);
}

static int start_policies(struct wm_agent *a, struct wm_err *e)
{
	struct wm_policy_dir *d = NULL;
	struct wm_err why = {0};
	char *ledger;
	int r = 0;

	a->policies = wm_policy_files_new(a->registry, NULL, on_bad_policy, a);
	if (!a->policies)
		return wm_err_set(e, -ENOMEM, "out of memory");
	wm_policy_files_recall(a->policies, a->settings.node_data_dir);
	if (*a->settings.policy_dir)
		r = wm_policy_dir_read(a->settings.policy_dir, &d, e);
	if (r)
		return r;
	ledger = take_policies(a, d);
	if (ledger && wm_policy_ledger_write(a->settings.node_data_dir, NULL, ledger, &why))
		wm_error("policy.ledger", "text=%s", wm_log_q(why.text));
	free(ledger);
	wm_policy_dir_free(d);
	return 0;
}

static void tell_definitions(struct wm_agent *a, const struct wm_application *x, int kept,
			     const struct wm_err *e)
{
	const struct wm_definitions_outcome *o = wm_application_outcome(x);

	a->defined = *o;
	if (kept)
		wm_error("definitions.ledger", "text=%s", wm_log_q(e->text));
	if (o->services || o->checks || o->removed || o->failed)
		wm_info("definitions.applied", "services=%u checks=%u removed=%u failed=%u",
			o->services, o->checks, o->removed, o->failed);
}

static int start_definitions(struct wm_agent *a, struct wm_err *e)
{
	struct wm_application *x = NULL;
	struct wm_definitions *d;
	int r = wm_definitions_read(a->from, &a->settings, &d, e);

	if (!r)
		r = wm_definitions_plan(d, a->settings.node_data_dir, &x, e);
	if (r) {
		wm_definitions_free(d);
		return r;
	}
	while (wm_application_step(x, a->registry)) /* nobody is served yet */
		wm_registry_finish(a->registry);
	tell_definitions(a, x, wm_application_keep(x, e), e);
	wm_application_free(x);
	return 0;
}

static void on_reload_applied(void *arg, const struct wm_application *x, int kept,
			      const struct wm_err *e)
{
	tell_definitions(arg, x, kept, e);
}

static char *take_settings(void *arg, struct wm_settings *next, struct wm_rules *rules,
			   const struct wm_policy_dir *policies, struct wm_statics *fixed)
{
	struct wm_agent *a = arg;
	char *ledger, *left = a->needs_restart;
	int changed = wm_settings_reload(&a->settings, next, left);

	take_rules(a, rules);
	ledger = take_policies(a, policies);
	wm_plane_watch_custom(a->watch);
	set_log_level(a->settings.log_level);
	wm_keep_set_interval(a->keep, a->settings.store_keep_interval_ms);
	wm_truth_set_interval(a->truth, a->settings.kernel_truth_interval_ms);
	wm_truth_set_permille(a->truth, (unsigned)a->settings.kernel_truth_permille);
	wm_dns_settings_take(&a->settings, a->dns, a->plane);
	wm_dns_settings_records(a->dns, wm_tables_memory(a->tables)->config, fixed);
	__atomic_store_n(&wm_tables_memory(a->tables)->config->stale_after_ns,
			 a->settings.dns_stale_after_ms * WM_NS_PER_MS, __ATOMIC_RELAXED);
	wm_info("agent.reload", "changed=%d needs_restart=%s", changed, *left ? left : "none");
	return ledger;
}

static bool is_writing(void *agent)
{
	const struct wm_agent *a = agent;

	return wm_policy_files_writing(a->policies);
}

static int start_reload(struct wm_agent *a, struct wm_err *e)
{
	const struct wm_reload_config c = {.loop = a->loop,
					   .registry = a->registry,
					   .from = a->from,
					   .settings = &a->settings,
					   .take = take_settings,
					   .writing = is_writing,
					   .applied = on_reload_applied,
					   .arg = a};

	a->reload = wm_reload_new(&c);
	return a->reload ? 0 : wm_err_set(e, -ENOMEM, "out of memory: reload");
}

static int reload(void *arg, void (*done)(void *arg, int code, const char *text), void *done_arg,
		  struct wm_err *e)
{
	struct wm_agent *a = arg;

	return wm_reload_begin(a->reload, done, done_arg, e);
}

static void on_reload(void *arg, int signo)
{
	struct wm_agent *a = arg;

	(void)signo;
	if (a->reload) /* a signal may come during the start */
		wm_reload_signal(a->reload);
}

static void on_leave(void *arg)
{
	struct wm_agent *a = arg;

	wm_info("agent.stop", "by=request");
	wm_loop_stop(a->loop);
}

static void leave(void *arg)
{
	struct wm_agent *a = arg;

	if (a->sync)
		wm_sync_leave(a->sync);
	wm_timer_arm(a->leave, a->sync ? LEAVE_MESH_MS : LEAVE_MS);
}

/* --- DNS and HTTP ----------------------------------------------------------------------------- */
static int start_dns(struct wm_agent *a, struct wm_err *e)
{
	struct wm_statics *t = NULL;
	int r = wm_serve_dns(a->loop, a->registry, a->tables, a->plane, &a->settings, &a->dns, e);

	a->dns_serves = !r;
	r = r ? r : wm_config_statics(&a->settings, &a->settings, &t, e);
	if (r)
		return r;
	if (a->plane)
		wm_dns_server_tags(a->dns, &(struct wm_dns_tags){wm_resolution_tag_asked,
								 wm_resolution_tag_addressed,
								 a->resolution});
	/* before the loop brings the first question */
	wm_dns_settings_take(&a->settings, a->dns, a->plane);
	wm_dns_settings_records(a->dns, wm_tables_memory(a->tables)->config, t);
	return 0;
}

static int start_keep(struct wm_agent *a, struct wm_err *e)
{
	struct wm_keep_config c = {.data_dir = a->settings.node_data_dir,
				   .interval_ms = a->settings.store_keep_interval_ms,
				   .count = (unsigned)a->settings.store_keep_count,
				   .writer = wm_registry_writer(a->registry),
				   .about = wm_registry_about,
				   .arg = a->registry};

	a->keep = wm_keep_new(a->loop, &c);
	return a->keep ? 0 : wm_err_set(e, -ENOMEM, "out of memory: snapshots");
}

/* The first fault that an agent does not start with is what the start fails of. */
static void on_mesh_fault(void *arg, const struct wm_err *why, bool refused)
{
	struct wm_err *e = arg;

	if (!refused)
		wm_error("sync.config", "text=%s", wm_log_q(why->text));
	else if (!e->code)
		*e = *why;
}

static int look_up(void *arg, const char *service, void (*done)(void *arg, int code),
		   void *done_arg)
{
	return wm_sync_lookup(arg, service, done, done_arg);
}

static void end_look_up(void *arg, void *done_arg)
{
	wm_sync_lookup_cancel(arg, done_arg);
}

/* Where this agent answers and knows the mesh's names only: who asks others himself knows all. */
static const char *const *own_dns(const struct wm_agent *a)
{
	return strcmp(a->settings.dns_upstream, "off") == 0
		       ? (const char *const *)a->settings.dns_port53_addresses
		       : NULL;
}

static int start_sync(struct wm_agent *a, struct wm_err *e)
{
	struct wm_sync_config c = {.env = wm_loop_env(a->loop),
				   .own_dns = own_dns(a),
				   .loop = a->loop,
				   .registry = a->registry,
				   .moved = wm_resolution_moved,
				   .moved_arg = a->resolution,
				   .node_name = a->node_name,
				   .version = WM_VERSION,
				   .objects_max = (unsigned)(a->settings.registry_instances_max +
							     a->settings.registry_nodes_max)};
	int r;

	if (strcmp(a->settings.sync_mode, "off") == 0)
		return 0;
	r = wm_config_sync(&a->settings, a->node_address, &c, e);
	if (r)
		return r;
	*e = (struct wm_err){0};
	if (wm_config_sync_examine(&c, wm_env_wall_s(c.env), on_mesh_fault, e))
		return e->code;
	r = wm_sync_new(&c, &a->sync, e);
	if (!r && a->dns && wm_sync_partial(a->sync))
		wm_dns_server_ask(a->dns, &(struct wm_dns_lookup){look_up, end_look_up, a->sync});
	return r;
}

/* Tables go by them from the first one on. */
static int start_bands(struct wm_agent *a, struct wm_err *e)
{
	(void)e;
	if (strcmp(a->settings.sync_mode, "peers") == 0)
		(void)wm_sync_recall(a->registry, a->settings.node_data_dir);
	return 0;
}

static int start_rules(struct wm_agent *a, struct wm_err *e)
{
	struct wm_rules *rules;
	int r = read_rules(&a->settings, &rules, e);

	wm_registry_set_judge(a->registry, judge, a);
	if (!r)
		take_rules(a, rules);
	return r;
}

static int start_http(struct wm_agent *a, struct wm_err *e)
{
	const struct wm_settings *s = &a->settings;
	struct wm_http_limits limits = {.body_max = s->http_body_max,
					.memory_max = s->http_memory_max,
					.headers_max = WM_HTTP_HEADERS_MAX,
					.connections_max = (unsigned)s->http_connections_max,
					.per_address_max = (unsigned)s->http_per_address_max,
					.read_timeout_ms = s->http_read_timeout_ms,
					.write_timeout_ms = s->http_write_timeout_ms};
	struct wm_api_deps deps = {.loop = a->loop,
				   .registry = a->registry,
				   .health = a->health,
				   .tables = a->tables,
				   .drains = a->drains,
				   .aborts = a->aborts,
				   .listeners = a->listeners,
				   .outliers = a->outliers,
				   .truth = a->truth,
				   .reconcile = a->reconcile,
				   .index = a->index,
				   .keep = a->keep,
				   .snapshot_max = s->store_snapshot_max,
				   .resolution = a->resolution,
				   .dns = a->dns,
				   .plane = a->plane,
				   .watch = a->watch,
				   .sync = a->sync,
				   .sources = wm_agent_sources_door(a->sources),
				   .consul = wm_agent_sources_consul(a->sources),
				   .pods = wm_agent_sources_pods(a->sources),
				   .version = WM_VERSION,
				   .domain = s->node_domain,
				   .settings = s,
				   .needs_restart = a->needs_restart,
				   .definitions = &a->defined,
				   .operator_tcp = s->http_operator_over_tcp,
				   .units_local = strcmp(s->health_os_services, "local") == 0,
				   .units_any = strcmp(s->health_os_services, "any") == 0,
				   .scripts_local = strcmp(s->health_scripts, "local") == 0,
				   .watchers_max = (unsigned)s->http_watchers_max,
				   /* into one octet no answer fits */
				   .rendered_max = s->http_rendered_max ? s->http_rendered_max : 1,
				   .plane_error = a->plane ? NULL : a->plane_error.text,
				   .reload = reload,
				   .leave = leave,
				   .agent = a};

	a->api = wm_api_new(&deps);
	a->http = a->api ? wm_http_server_new(a->loop, &limits, wm_api_handle, a->api) : NULL;
	if (!a->http)
		return wm_err_set(e, -ENOMEM, "out of memory: HTTP server");
	wm_api_set_server(a->api, a->http);
	if (a->dns)
		wm_dns_server_near(a->dns, &(struct wm_dns_near){wm_api_near, a->api});
	return wm_serve_http(a->http, s, e);
}

/* --- watchdog, limits, loop -------------------------------------------------------------- */
static void on_watchdog(void *arg)
{
	struct wm_agent *a = arg;

	wm_notify("WATCHDOG=1");
	wm_timer_arm(a->watchdog, a->watchdog_ms);
}

static void raise_limits(void)
{
	struct rlimit files, memory = {RLIM_INFINITY, RLIM_INFINITY};

	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	setrlimit(RLIMIT_MEMLOCK, &memory); /* kernels before 5.11 charge maps to it */
}

static int start_loop(struct wm_agent *a, struct wm_err *e)
{
	a->loop = wm_loop_new();
	if (!a->loop)
		return wm_err_set(e, -ENOMEM, "event loop: cannot be made");
	a->watchdog = wm_timer_new(a->loop, on_watchdog, a);
	a->leave = wm_timer_new(a->loop, on_leave, a);
	if (!a->watchdog || !a->leave || wm_loop_on_signal(a->loop, SIGTERM, on_stop, a) ||
	    wm_loop_on_signal(a->loop, SIGINT, on_stop, a) ||
	    wm_loop_on_signal(a->loop, SIGHUP, on_reload, a))
		return wm_err_set(e, -ENOMEM, "out of memory: signals");
	signal(SIGPIPE, SIG_IGN);
	a->watchdog_ms = wm_notify_watchdog_ms() / 2;
	return 0;
}

static int start_health(struct wm_agent *a, struct wm_err *e)
{
	struct wm_health_config c = {.env = wm_loop_env(a->loop),
				     .probes_max = (unsigned)a->settings.health_probes_max,
				     .interval_min_ms = a->settings.health_interval_min_ms,
				     .default_timeout_ms = a->settings.health_timeout_ms,
				     .ca_file = a->settings.health_ca_file,
				     .own_dns = own_dns(a),
				     .units = strcmp(a->settings.health_os_services, "off") != 0,
				     .scripts = strcmp(a->settings.health_scripts, "local") == 0,
				     .flap_changes = (unsigned)a->settings.health_flap_changes,
				     .flap_window_ms = a->settings.health_flap_window_ms,
				     .ttl_grace_ms = a->settings.health_ttl_grace_ms};

	/* better no start than every check over TLS critical */
	if (*c.ca_file && access(c.ca_file, R_OK)) {
		int err = -errno;

		return wm_err_set(e, err, "health.ca_file: cannot read %s: %s", c.ca_file,
				  strerror(-err));
	}
	a->health = wm_health_new(a->loop, a->registry, &c);
	return a->health ? 0 : wm_err_set(e, -ENOMEM, "out of memory: health");
}

static void on_indexing(void *arg)
{
	struct wm_agent *a = arg;

	if (!wm_index_build(a->index, INDEX_STEP)) {
		wm_timer_arm(a->indexing, INDEX_PAUSE_MS);
		return;
	}
	wm_info("metadata.indexed", "instances=%u ms=%llu", wm_registry_instances(a->registry),
		(unsigned long long)(wm_clock_ms() - a->indexing_ms));
}

static int start_drains(struct wm_agent *a, struct wm_err *e)
{
	const struct wm_settings *s = &a->settings;

	a->drains = wm_drains_new(a->loop, a->registry, a->tables, a->plane, a->adopted);
	if (a->plane && s->kernel_connect && s->kernel_abort_sockets) {
		a->aborts = wm_aborts_new(a->loop, a->tables, a->plane);
		if (!a->aborts)
			return wm_err_set(e, -ENOMEM, "out of memory: aborts");
	}
	return a->drains ? 0 : wm_err_set(e, -ENOMEM, "out of memory: drains");
}

/* Without them who acts on events looks by himself, later. */
static int start_events(struct wm_agent *a, struct wm_err *e)
{
	int r = a->plane ? wm_plane_events_new(a->loop, a->plane, &a->events) : 0;

	(void)e;
	if (r)
		wm_warn("events.off", "err=%s", wm_err_name(r));
	return 0;
}

/* Without it checks tell all the same, only later. */
static int start_listeners(struct wm_agent *a, struct wm_err *e)
{
	if (a->plane && a->settings.kernel_listener_notice)
		a->listeners = wm_listeners_new(a->loop, a->registry, a->tables, a->plane,
						a->events, a->health, e);
	if (!a->listeners)
		wm_tables_rise_all(a->tables);
	if (e->code)
		wm_warn("listener.off", "err=%s text=%s", wm_err_name(e->code), wm_log_q(e->text));
	*e = (struct wm_err){0};
	return 0;
}

static int start_left_out(struct wm_agent *a, struct wm_err *e)
{
	int r = wm_agent_left_out_new(a->loop, a->plane, wm_agent_sources_pods(a->sources),
				      &a->left_out);

	return r ? wm_err_set(e, r, "out of memory: pods") : 0;
}

static int start_reconcile(struct wm_agent *a, struct wm_err *e)
{
	if (!a->plane || !a->settings.kernel_connect)
		return 0;
	a->reconcile = wm_reconcile_new(a->loop, a->plane, a->watch);
	return a->reconcile ? 0 : wm_err_set(e, -ENOMEM, "out of memory: connections");
}

static int start_truth(struct wm_agent *a, struct wm_err *e)
{
	struct wm_truth_config c = {.loop = a->loop,
				    .registry = a->registry,
				    .tables = a->tables,
				    .resolution = a->resolution,
				    .plane = a->plane,
				    .config = &a->config,
				    .interval_ms = a->settings.kernel_truth_interval_ms,
				    .permille = (unsigned)a->settings.kernel_truth_permille};

	a->truth = wm_truth_new(&c);
	return a->truth ? 0 : wm_err_set(e, -ENOMEM, "out of memory: truth");
}

/* The kernel leaves out who fails all the same, only nobody is told. */
static int start_outliers(struct wm_agent *a, struct wm_err *e)
{
	(void)e;
	if (!a->events)
		return 0;
	a->outliers = wm_outliers_new(a->loop, a->registry, a->tables, a->events, a->health);
	if (!a->outliers)
		wm_warn("outlier.memory", "text=\"nobody is told who is left out\"");
	return 0;
}

/* Built after the start, in slices: until it is, a filter looks at every row. */
static int start_index(struct wm_agent *a, struct wm_err *e)
{
	a->indexing_ms = wm_clock_ms();
	a->indexing = wm_timer_new(a->loop, on_indexing, a);
	a->index = a->indexing ? wm_index_new_later(a->registry) : NULL;
	if (!a->index || wm_timer_arm(a->indexing, 0))
		return wm_err_set(e, -ENOMEM, "out of memory: index");
	if (wm_index_build(a->index, INDEX_STEP)) /* a small one is done at once */
		wm_timer_disarm(a->indexing);
	return 0;
}

/* Where the operator would rather have no agent than one that steers nothing. */
static int require_plane(const struct wm_agent *a, struct wm_err *e)
{
	const char *const *reasons;

	if (!a->settings.kernel_required || wm_plane_watch_state(a->watch) != WM_PLANE_DEGRADED)
		return 0;
	wm_plane_watch_reasons(a->watch, &reasons);
	return wm_err_set(e, WM_E_UNSUPPORTED, "kernel.required is true, and in the kernel %s",
			  reasons[0]);
}

int wm_agent_start(struct wm_settings *s, const struct wm_settings_source *from,
		   struct wm_agent **ret, struct wm_err *e)
{
	static const struct {
		const char *name;
		int (*fn)(struct wm_agent *, struct wm_err *);
	} steps[] = {{"name", find_name},
		     {"address", find_address},
		     {"loop", start_loop},
		     {"registry", start_registry},
		     {"bands", start_bands},
		     {"sources", start_sources},
		     {"tables", start_tables},
		     {"drains", start_drains},
		     {"health", start_health},
		     {"events", start_events},
		     {"listeners", start_listeners},
		     {"outliers", start_outliers},
		     {"reconcile", start_reconcile},
		     {"left_out", start_left_out},
		     {"truth", start_truth},
		     {"index", start_index},
		     {"dns", start_dns},
		     {"snapshots", start_keep},
		     {"rules", start_rules},
		     {"definitions", start_definitions},
		     {"policies", start_policies},
		     {"reload", start_reload},
		     {"mesh", start_sync},
		     {"http", start_http}};
	struct wm_agent *a = calloc(1, sizeof(*a));
	int r = 0;

	if (!a)
		return wm_err_set(e, -ENOMEM, "out of memory");
	a->settings = *s;
	memset(s, 0, sizeof(*s));
	a->from = from;
	set_log_level(a->settings.log_level);
	raise_limits();
	for (size_t i = 0; !r && i < WM_ARRAY_LEN(steps); i++) {
		uint64_t began = wm_clock_ms();

		r = steps[i].fn(a, e);
		if (wm_clock_ms() - began >= SLOW_STEP_MS)
			wm_info("agent.step", "name=%s ms=%llu", steps[i].name,
				(unsigned long long)(wm_clock_ms() - began));
	}
	if (r) {
		wm_agent_stop(a);
		return r;
	}
	wm_plane_watch_start(a->watch);
	r = require_plane(a, e);
	if (r) {
		wm_agent_stop(a);
		return r;
	}
	if (a->sync)
		r = wm_sync_start(a->sync, e);
	if (r) {
		wm_agent_stop(a);
		return r;
	}
	*ret = a;
	return 0;
}

int wm_agent_run(struct wm_agent *a)
{
	wm_info("agent.ready", "version=%s node=%s address=%s domain=%s plane=%s", WM_VERSION,
		a->node_name, a->node_address, a->settings.node_domain,
		wm_plane_state_str(wm_plane_watch_state(a->watch)));
	wm_notify("READY=1");
	if (a->watchdog_ms)
		wm_timer_arm(a->watchdog, a->watchdog_ms);
	return wm_loop_run(a->loop);
}

void wm_agent_stop(struct wm_agent *a)
{
	if (!a)
		return;
	wm_notify("STOPPING=1");
	wm_sync_pause(a->sync);
	for (int n = 0; a->sync && n < PAUSE_TURNS; n++)
		(void)wm_loop_turn(a->loop, 1);
	wm_reload_stop(a->reload);
	wm_http_server_free(a->http);
	if (a->registry)
		wm_registry_finish(a->registry); /* what waits is announced while all can hear it */
	if (a->dns)
		wm_dns_server_ask(a->dns, NULL);
	wm_sync_free(a->sync); /* answers who waits for another agent, too */
	wm_truth_free(a->truth);
	if (a->dns)
		wm_dns_server_near(a->dns, NULL);
	wm_api_free(a->api);
	wm_agent_left_out_free(a->left_out);
	wm_agent_sources_free(a->sources);
	wm_dns_server_free(a->dns);
	if (a->dns_serves) /* else its addresses may be of another agent that runs */
		wm_serve_dns_end(&a->settings);
	wm_outliers_free(a->outliers);
	wm_reconcile_free(a->reconcile);
	wm_listeners_free(a->listeners);
	wm_plane_events_free(a->events);
	wm_health_free(a->health);
	wm_aborts_free(a->aborts);
	wm_drains_free(a->drains);
	wm_resolution_free(a->resolution);
	wm_index_free(a->index);
	wm_plane_watch_free(a->watch);
	wm_tables_free(a->tables);
	wm_grace_stop(a->grace);
	wm_ttls_free(a->ttls);
	wm_plane_close(a->plane);
	wm_keep_free(a->keep);
	wm_registry_close(a->registry);
	wm_reload_free(a->reload);
	wm_change_log_free(a->change_log);
	wm_rules_free(a->rules);
	wm_policy_files_free(a->policies);
	wm_timer_free(a->watchdog);
	wm_timer_free(a->leave);
	wm_timer_free(a->indexing);
	wm_loop_free(a->loop);
	wm_table_memory_free(&a->own);
	wm_settings_done(&a->settings);
	free(a);
}
