/* SPDX-License-Identifier: Apache-2.0 */
/* kubernetes.c - see kubernetes.h. Each resource is a watch of its own, and is read only while it
 * is known which cluster answers and the door has room: a server has to wait as long. */
#include "kubernetes.h"

#include "kube_client.h"
#include "kube_said.h"
#include "kube_status.h"
#include "kube_view.h"
#include "userspace/base/clock.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"
#include "userspace/model/scope.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMESPACE_OF_ALL "kube-system" /* its uid is the cluster's: no cluster is without it */
#define SAID_MS		 200   /* ms that policies are waited for, as several come at a time */
#define COUNT_MS	 2000  /* ms between two looks at the client's counters */
#define AGAIN_MS	 30000 /* ms until everything is told again of which some was not taken */
#define ASK_TURNS	 5     /* of these between two questions which cluster it is */
#define PATH_MAX_	 512   /* octets of a resource's path with its selector */

enum what { NAMESPACES, NODES, SERVICES, SLICES, PODS, POLICIES, WHAT_COUNT };
#define FIRST_READ                                                                                 \
	SLICES /* all up to this one are read before what an earlier run left is swept             \
		*/

static const char *const paths[WHAT_COUNT] = {
	[NAMESPACES] = "/api/v1/namespaces",
	[NODES] = "/api/v1/nodes",
	[SERVICES] = "/api/v1/services",
	[SLICES] = "/apis/discovery.k8s.io/v1/endpointslices",
	[PODS] = "/api/v1/pods?fieldSelector=spec.nodeName%3D",
	[POLICIES] = "/apis/waymark.io/v1/waymarkpolicies",
};
static const char *const names[WHAT_COUNT] = {"namespaces",	"nodes", "services",
					      "endpointslices", "pods",	 "waymarkpolicies"};

struct resource {
	struct wm_kubernetes *k;
	enum what what;
	struct wm_kube_watch *watch;
	enum wm_kube_state state;
	char text[WM_KUBE_TEXT_MAX];
	bool whole; /* a list of it ended in this run */
	uint64_t begun_ms;
	unsigned objects; /* of the list that is read */
};

struct wm_kubernetes {
	struct wm_loop *loop;
	struct wm_source *source;
	struct wm_kube *client;
	struct wm_kube_view *view;
	struct wm_kube_pod_table *pods;
	struct kube_said *said;
	struct kube_status *status; /* NULL: none is written */
	unsigned agents;	    /* Nodes: at most one on each */
	struct resource resources[WHAT_COUNT];
	struct wm_timer *counting, *again, *saying;
	struct wm_kube_stats counted;
	unsigned asked;
	uint64_t opened; /* watches, when it was asked last which cluster it is */
	bool unknown;	 /* which cluster answers is being asked */
	bool stranger;	 /* another one does */
	bool met;	 /* in the list of namespaces that is read, kube-system came */
	bool swept;	 /* the first lists are whole */
	bool policies;	 /* of annotations and of resources, are taken */
	bool lost;	 /* the door did not take something */
	void (*tell)(void *arg, const struct wm_kube_said *said, unsigned count);
	void *arg;
	char node[WM_KUBE_NAME_MAX + 1];
	char bare[WM_KUBERNETES_BARE_MAX][WM_SCOPE_MAX + 1]; /* namespaces; "" ends early */
};

/* --- into the door -----------------------------------------------------------------------------
 */
/* What is over its quota or was not taken is told again later: there may be room by then. */
static void took(struct wm_kubernetes *k, int r)
{
	if (r != WM_E_CAPACITY && r != -ENOMEM)
		return;
	if (!k->lost)
		wm_timer_arm(k->again, AGAIN_MS);
	k->lost = true;
}

static void on_again(void *arg)
{
	struct wm_kubernetes *k = arg;

	k->lost = false;
	if (!k->stranger)
		wm_kube_view_again(k->view);
}

static void on_node(void *arg, const char *node, const struct wm_node_draft *facts)
{
	struct wm_kubernetes *k = arg;

	took(k, wm_source_node(k->source, node, facts));
}

static void on_node_gone(void *arg, const char *node)
{
	struct wm_kubernetes *k = arg;

	took(k, wm_source_node_gone(k->source, node));
}

/* The id of what stands under the bare name for instance @p id, which begins with its namespace, as
 * a service's key does. @return false: nothing does. */
static bool bare_id(const struct wm_kubernetes *k, const char *id, char ret[WM_INSTANCE_ID_MAX + 1])
{
	for (unsigned n = 0; n < WM_KUBERNETES_BARE_MAX && *k->bare[n]; n++)
		if (wm_scope_is(id, k->bare[n]))
			return snprintf(ret, WM_INSTANCE_ID_MAX + 1, "~%s", id) <=
			       WM_INSTANCE_ID_MAX;
	return false;
}

static void on_put(void *arg, const char *node, const struct wm_instance_draft *d,
		   enum wm_status status, enum wm_lifecycle life)
{
	struct wm_kubernetes *k = arg;
	struct wm_instance_draft bare = *d;
	char id[WM_INSTANCE_ID_MAX + 1];

	took(k, wm_source_put(k->source, node, d, status, life));
	if (!bare_id(k, d->id, id))
		return;
	bare.id = id;
	bare.name = wm_scope_bare(d->name);
	took(k, wm_source_put(k->source, node, &bare, status, life));
}

static void on_gone(void *arg, const char *node, const char *id)
{
	struct wm_kubernetes *k = arg;
	char bare[WM_INSTANCE_ID_MAX + 1];

	took(k, wm_source_gone(k->source, node, id));
	if (bare_id(k, id, bare))
		took(k, wm_source_gone(k->source, node, bare));
}

static void on_spec(void *arg, const struct wm_service_spec *s)
{
	struct wm_kubernetes *k = arg;

	took(k, wm_source_spec(k->source, s));
}

static void on_spec_gone(void *arg, const char *service)
{
	struct wm_kubernetes *k = arg;

	took(k, wm_source_spec_gone(k->source, service));
}

static void say_soon(struct wm_kubernetes *k)
{
	wm_timer_arm(k->saying, SAID_MS);
}

static void on_policy(void *arg, const char *service, const char *json)
{
	struct wm_kubernetes *k = arg;

	if (!k->policies)
		return;
	if (kube_said_annotation(k->said, service, json))
		took(k, -ENOMEM);
	say_soon(k);
}

static void on_told(void *arg, const char *object, const char *text)
{
	(void)arg;
	wm_warn("kubernetes.left_out", "object=%s text=%s", wm_log_q(object), wm_log_q(text));
}

static void look_at_statuses(struct wm_kubernetes *k)
{
	struct wm_kube_view_stats st;

	if (!k->status)
		return;
	wm_kube_view_stats(k->view, &st);
	k->agents = st.nodes;
	kube_status_look(k->status);
}

/* Before the lists are whole, what an earlier run took over stands. */
static void on_saying(void *arg)
{
	struct wm_kubernetes *k = arg;
	const struct wm_kube_said *all;
	unsigned count;

	if (!kube_said_is_news(k->said)) { /* a status, or a list of the same */
		look_at_statuses(k);
		return;
	}
	if (!k->swept || !k->tell || k->resources[POLICIES].state < WM_KUBE_WATCHING ||
	    k->resources[POLICIES].state == WM_KUBE_AWAY)
		return;
	if (kube_said_all(k->said, &all, &count))
		return;
	k->tell(k->arg, all, count);
	look_at_statuses(k);
}

/* --- how it is ---------------------------------------------------------------------------------
 */
static void count(struct wm_kubernetes *k)
{
	const struct wm_kube_stats *now = wm_kube_stats(k->client);
	struct wm_kube_stats *was = &k->counted;

	wm_source_count(k->source, WM_SOURCE_COUNT_lists, now->lists - was->lists);
	wm_source_count(k->source, WM_SOURCE_COUNT_relists, now->relists - was->relists);
	wm_source_count(k->source, WM_SOURCE_COUNT_events,
			now->objects + now->events - was->objects - was->events);
	wm_source_count(k->source, WM_SOURCE_COUNT_bad,
			now->malformed + now->oversize - was->malformed - was->oversize);
	wm_source_count(k->source, WM_SOURCE_COUNT_retries,
			now->failovers + now->throttled - was->failovers - was->throttled);
	wm_source_count(k->source, WM_SOURCE_COUNT_errors,
			now->failed + now->refused - was->failed - was->refused);
	wm_source_count(k->source, WM_SOURCE_COUNT_octets, now->octets - was->octets);
	*was = *now;
}

static void look_for_watches(struct wm_kubernetes *k);

static void on_count(void *arg)
{
	struct wm_kubernetes *k = arg;

	count(k);
	look_for_watches(k);
	/* an operator may have let it in meanwhile (waymarkctl sources release) */
	if (k->stranger && ++k->asked % ASK_TURNS == 0)
		wm_kube_watch_relist(k->resources[NAMESPACES].watch);
	wm_timer_tick(k->counting, COUNT_MS);
}

/* The source is as its worst resource is; policies may not be there at all. */
static unsigned badness(enum wm_kube_state s)
{
	return s == WM_KUBE_REFUSED	 ? 4
	       : s == WM_KUBE_AWAY	 ? 3
	       : s == WM_KUBE_CONNECTING ? 2
	       : s == WM_KUBE_LISTING	 ? 1
					 : 0;
}

static void tell_state(struct wm_kubernetes *k)
{
	static const enum wm_source_state as[] = {[WM_KUBE_CONNECTING] = WM_SOURCE_CONNECTING,
						  [WM_KUBE_LISTING] = WM_SOURCE_LISTING,
						  [WM_KUBE_WATCHING] = WM_SOURCE_WATCHING,
						  [WM_KUBE_AWAY] = WM_SOURCE_AWAY,
						  [WM_KUBE_REFUSED] = WM_SOURCE_REFUSED};
	const struct resource *worst = &k->resources[NAMESPACES];
	char text[WM_KUBE_TEXT_MAX + 32];

	if (k->stranger) {
		wm_source_state(k->source, WM_SOURCE_REFUSED,
				"another cluster answers than the one whose services are kept");
		return;
	}
	for (int n = NAMESPACES; n < POLICIES; n++) {
		if (badness(k->resources[n].state) > badness(worst->state))
			worst = &k->resources[n];
	}
	snprintf(text, sizeof(text), "%s%s%s", *worst->text ? names[worst->what] : "",
		 *worst->text ? ": " : "", worst->text);
	wm_source_state(k->source, as[worst->state], text);
	count(k);
}

/* --- which cluster it is ------------------------------------------------------------------------
 */
static void judge_cluster(struct wm_kubernetes *k, const char *uid)
{
	int r = wm_source_identity(k->source, uid);

	k->met = true;
	if (r == WM_E_CONFLICT && !k->stranger)
		wm_error("kubernetes.stranger",
			 "uid=%s text=\"another cluster answers; nothing of it is taken\"",
			 wm_log_q(uid));
	if (k->stranger && r != WM_E_CONFLICT) { /* what came meanwhile was not looked at */
		for (int n = NODES; n < WHAT_COUNT; n++) {
			if (k->resources[n].watch)
				wm_kube_watch_relist(k->resources[n].watch);
		}
	}
	k->stranger = r == WM_E_CONFLICT;
}

static int take_namespace(struct wm_kubernetes *k, bool gone, const char *json, size_t len,
			  struct wm_err *e)
{
	json_t *o = wm_kube_open(json, len, e);
	struct wm_kube_meta m;
	int r = o ? wm_kube_meta_decode(o, &m, e) : WM_E_INVALID;

	if (!r && !gone && strcmp(m.name, NAMESPACE_OF_ALL) == 0)
		judge_cluster(k, m.uid);
	if (!r && !k->stranger)
		took(k, wm_source_scope(k->source, m.name, !gone));
	json_decref(o);
	return r;
}

/* Another list begins, or a server is back: whose is it? A watch that goes on from where it was
 * says nothing of that. Namespaces are asked for again, once for all that begin meanwhile. */
static void ask_cluster(struct wm_kubernetes *k)
{
	if (k->unknown)
		return;
	k->unknown = true;
	wm_kube_watch_ask(k->resources[NAMESPACES].watch);
}

/* A watch was opened again, perhaps at another server: what it brings is not taken before it is
 * known whose it is. That of namespaces opens behind each list of them, and asks for no other one.
 */
static void look_for_watches(struct wm_kubernetes *k)
{
	uint64_t now = wm_kube_stats(k->client)->watches;

	if (now <= k->opened || !k->swept)
		return;
	k->opened = now;
	ask_cluster(k);
}

/* --- what comes --------------------------------------------------------------------------------
 */
static const enum wm_kube_kind kinds[] = {
	[NODES] = WM_KUBE_NODES, [SERVICES] = WM_KUBE_SERVICES, [SLICES] = WM_KUBE_SLICES};

static bool of_view(enum what w)
{
	return w == NODES || w == SERVICES || w == SLICES;
}

static void on_begin(void *arg)
{
	struct resource *w = arg;
	struct wm_kubernetes *k = w->k;

	w->begun_ms = wm_clock_ms();
	w->objects = 0;
	if (w->what == NAMESPACES) {
		k->met = false;
		wm_source_scopes_begin(k->source);
	} else if (w->whole)
		ask_cluster(k);
	if (of_view(w->what))
		wm_kube_view_begin(k->view, kinds[w->what]);
	else if (w->what == PODS)
		wm_kube_pods_begin(k->pods);
	else if (w->what == POLICIES)
		kube_said_begin(k->said);
}

static int take(struct resource *w, bool gone, const char *json, size_t len, struct wm_err *e)
{
	struct wm_kubernetes *k = w->k;

	if (w->what == NAMESPACES)
		return take_namespace(k, gone, json, len, e);
	if (w->what == PODS)
		return gone ? wm_kube_pods_gone(k->pods, json, len, e)
			    : wm_kube_pods_object(k->pods, json, len, e);
	if (w->what == POLICIES) {
		int r = gone ? kube_said_gone(k->said, json, len, e)
			     : kube_said_object(k->said, json, len, e);

		say_soon(k);
		return r;
	}
	return gone ? wm_kube_view_gone(k->view, kinds[w->what], json, len, e)
		    : wm_kube_view_object(k->view, kinds[w->what], json, len, e);
}

static void on_object(void *arg, enum wm_kube_event event, const char *json, size_t len)
{
	struct resource *w = arg;
	struct wm_err e = {0};
	int r;

	w->objects++;
	if (w->what != NAMESPACES && w->k->stranger)
		return;
	r = take(w, event == WM_KUBE_DELETED, json, len, &e);
	if (!r)
		return;
	wm_source_count(w->k->source, WM_SOURCE_COUNT_bad, 1);
	wm_warn("kubernetes.refused", "resource=%s text=%s", names[w->what], wm_log_q(e.text));
	if (r == -ENOMEM)
		wm_kube_watch_relist(w->watch);
}

static void on_skipped(void *arg, const char *namespace, const char *name)
{
	struct resource *w = arg;

	if (of_view(w->what))
		wm_kube_view_skipped(w->k->view, kinds[w->what], namespace, name);
	else if (w->what == PODS)
		wm_kube_pods_skipped(w->k->pods, namespace, name);
	else if (w->what == POLICIES)
		kube_said_skipped(w->k->said, namespace, name);
	else if (w->what == NAMESPACES && !w->k->stranger)
		took(w->k, wm_source_scope(w->k->source, name, true));
	wm_warn("kubernetes.too_large", "resource=%s object=%s/%s", names[w->what], namespace,
		name);
}

/* All that makes services was read once: what an earlier run left and nobody said goes. */
static void sweep(struct wm_kubernetes *k)
{
	if (k->swept)
		return;
	for (int n = NODES; n <= FIRST_READ; n++) {
		if (!k->resources[n].whole)
			return;
	}
	k->swept = true;
	wm_source_list_end(k->source);
	say_soon(k);
}

static void on_end(void *arg, const char *version)
{
	struct resource *w = arg;
	struct wm_kubernetes *k = w->k;

	(void)version;
	if (w->what == NAMESPACES) { /* often: with each watch that is opened again */
		if (!k->met)
			wm_warn("kubernetes.unnamed",
				"text=\"there is no namespace " NAMESPACE_OF_ALL
				": which cluster it is cannot be told\"");
		else if (!k->stranger)
			wm_source_scopes_end(k->source);
		w->whole = true;
		k->unknown = false;
		k->opened = wm_kube_stats(k->client)->watches + 1;
		tell_state(k);
		return;
	}
	if (k->stranger)
		return;
	wm_info("kubernetes.listed", "resource=%s objects=%u ms=%llu", names[w->what], w->objects,
		(unsigned long long)(wm_clock_ms() - w->begun_ms));
	if (of_view(w->what))
		wm_kube_view_end(k->view, kinds[w->what]);
	else if (w->what == PODS)
		wm_kube_pods_end(k->pods);
	else
		kube_said_end(k->said);
	w->whole = true;
	say_soon(k);
	sweep(k);
}

static void on_state(void *arg, enum wm_kube_state state, const char *text)
{
	struct resource *w = arg;
	bool back = w->state == WM_KUBE_AWAY && state != WM_KUBE_AWAY && state != WM_KUBE_REFUSED;

	w->state = state;
	snprintf(w->text, sizeof(w->text), "%s", text);
	if (back && w->whole)
		ask_cluster(w->k);
	tell_state(w->k);
	if (w->what == POLICIES)
		say_soon(w->k); /* where there is no such resource, annotations are all */
}

static bool on_ready(void *arg)
{
	const struct resource *w = arg;
	struct wm_kubernetes *k = w->k;

	if (w->what == NAMESPACES)
		return !wm_source_is_full(k->source);
	look_for_watches(k);
	return !k->unknown && !k->stranger && !wm_source_is_full(k->source);
}

/* --- begin and end ------------------------------------------------------------------------------
 */
static const struct wm_kube_watch_ops ops = {.begin = on_begin,
					     .object = on_object,
					     .end = on_end,
					     .state = on_state,
					     .skipped = on_skipped,
					     .ready = on_ready};

static int watch(struct wm_kubernetes *k, const struct wm_kubernetes_config *c, struct wm_err *e)
{
	char path[PATH_MAX_];
	int r = 0;

	for (int n = 0; !r && n < (c->policies ? WHAT_COUNT : POLICIES); n++) {
		struct resource *w = &k->resources[n];

		snprintf(path, sizeof(path), "%s%s", paths[n], n == PODS ? k->node : "");
		r = wm_kube_watch_new(k->client, path, &ops, w, &w->watch);
	}
	return r ? wm_err_set(e, r, "source.kubernetes: %s", wm_err_str(r)) : 0;
}

static int make(struct wm_kubernetes *k, const struct wm_kubernetes_config *c, struct wm_err *e)
{
	const struct wm_source_config sc = {.name = WM_KUBERNETES,
					    .prefix = WM_KUBERNETES_PREFIX,
					    .instances_max = c->instances_max,
					    .services_max = c->services_max};
	const struct wm_kube_config kc = {.loop = c->loop,
					  .own_dns = c->own_dns,
					  .kubeconfig = c->kubeconfig,
					  .context = c->context,
					  .servers = c->servers,
					  .account_dir = c->account_dir};
	const struct wm_kube_view_config vc = {.source = WM_KUBERNETES,
					       .node = k->node,
					       .external = c->external,
					       .external_count = c->external_count,
					       .node_ports = c->node_ports,
					       .balancers = c->balancers,
					       .out = {.node = on_node,
						       .node_gone = on_node_gone,
						       .put = on_put,
						       .gone = on_gone,
						       .spec = on_spec,
						       .spec_gone = on_spec_gone,
						       .policy = on_policy,
						       .told = on_told},
					       .arg = k};
	int r = wm_source_new(c->sources, &sc, &k->source, e);

	if (!r)
		r = wm_kube_new(&kc, &k->client, e);
	if (r)
		return r;
	k->view = wm_kube_view_new(&vc);
	k->pods = wm_kube_pods_new(on_told, k);
	k->said = kube_said_new();
	k->counting = wm_timer_new(c->loop, on_count, k);
	k->again = wm_timer_new(c->loop, on_again, k);
	k->saying = wm_timer_new(c->loop, on_saying, k);
	if (c->policies && c->policy_status && k->said)
		k->status = kube_status_new(&(struct kube_status_config){.loop = c->loop,
									 .client = k->client,
									 .said = k->said,
									 .source = k->source,
									 .all = &k->agents});
	if (c->policies && c->policy_status && !k->status)
		return wm_err_set(e, -ENOMEM, "out of memory: Kubernetes");
	if (!k->view || !k->pods || !k->said || !k->counting || !k->again || !k->saying)
		return wm_err_set(e, -ENOMEM, "out of memory: Kubernetes");
	return 0;
}

int wm_kubernetes_new(const struct wm_kubernetes_config *c, struct wm_kubernetes **ret,
		      struct wm_err *e)
{
	struct wm_kubernetes *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return wm_err_set(e, -ENOMEM, "out of memory: Kubernetes");
	for (int n = 0; n < WHAT_COUNT; n++)
		k->resources[n] = (struct resource){.k = k, .what = (enum what)n};
	if (!c->policies) /* none is waited for */
		k->resources[POLICIES].state = WM_KUBE_REFUSED;
	k->loop = c->loop;
	k->policies = c->policies;
	k->tell = c->said;
	k->arg = c->arg;
	k->unknown = true;
	snprintf(k->node, sizeof(k->node), "%s", c->node);
	for (unsigned n = 0; c->bare && n < WM_KUBERNETES_BARE_MAX && c->bare[n]; n++)
		snprintf(k->bare[n], sizeof(k->bare[n]), "%s", c->bare[n]);
	r = make(k, c, e);
	if (!r) {
		wm_source_list_begin(k->source);
		r = watch(k, c, e);
	}
	if (r) {
		wm_kubernetes_free(k);
		return r;
	}
	wm_timer_tick(k->counting, COUNT_MS);
	*ret = k;
	return 0;
}

void wm_kubernetes_free(struct wm_kubernetes *k)
{
	if (!k)
		return;
	wm_kube_free(k->client);
	wm_timer_free(k->counting);
	wm_timer_free(k->again);
	wm_timer_free(k->saying);
	wm_kube_view_free(k->view);
	wm_kube_pods_free(k->pods);
	kube_status_free(k->status);
	kube_said_free(k->said);
	wm_source_free(k->source);
	free(k);
}

void wm_kubernetes_refuse(struct wm_kubernetes *k, const char *service, const struct wm_err *why)
{
	kube_said_refuse(k->said, service, why);
}

const struct wm_kube_pod_table *wm_kubernetes_pods(const struct wm_kubernetes *k)
{
	return k->pods;
}
