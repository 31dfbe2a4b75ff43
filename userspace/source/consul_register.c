/* SPDX-License-Identifier: Apache-2.0 */
/* consul_register.c - own instances, registered with the agent at the first address. That agent's
 * list is the memory: what has our mark there and is no instance any more goes, what lacks one or
 * has an older one is registered, also after either was restarted. Each has one check, a TTL that
 * is kept up with what this agent knows of its health; who stops keeping it up is critical there.
 * One request at a time. An id that somebody else registered there is left alone. */
#include "consul_internal.h"
#include "userspace/base/hash.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS	      250	  /* until a change of an instance is seen */
#define COMPARE_MS    30000	  /* between looks at what the agent has */
#define ANSWER_MAX    (16u << 20) /* octets of its list */
#define MINE_MAX      (1u << 20)
#define OUTPUT_MAX    512	 /* octets of a check's output that are passed on */
#define UPDATES	      3		 /* of a check within its TTL: two may be lost */
#define CHECK	      "waymark:" /* id of the check; the instance's follows */
#define GIVE_UP_AFTER "72h"	 /* of a node that never came back: its instances go there */
#define MARK_MAX      (WM_PEER_ID_TEXT + 18 + WM_NODE_NAME_MAX + 1)

struct mine {
	TAILQ_ENTRY(mine) entry;
	uint64_t hash; /* of its registration */
	uint64_t told_ms;
	enum wm_status status, told;
	unsigned seen;
	bool registered, another; /* there; somebody else's */
	bool warned;		  /* of that */
	bool gone;		  /* to be taken back */
	bool compared;		  /* the agent's list was seen since it is known */
	char id[];
};
TAILQ_HEAD(mines, mine);

struct wm_consul_register {
	struct wm_consul *c;
	struct wm_env_timer *timer;
	struct wm_http_call *call;
	struct wm_map *mine;
	struct mines all;
	struct mine *asked; /* what the call is about */
	enum { ASK_LIST, ASK_REGISTER, ASK_DEREGISTER, ASK_CHECK } what;
	uint64_t index; /* of the node, when it was looked at */
	uint64_t compare_ms, not_before_ms;
	unsigned fails, look;
	bool compared;
	char id[WM_PEER_ID_TEXT];
};

/* --- marks ------------------------------------------------------------------------------------ */
static void own_id(const struct wm_consul *c, char ret[static WM_PEER_ID_TEXT])
{
	struct wm_peer_id id;
	uint32_t epoch;

	wm_registry_origin(c->conf.registry, &id, &epoch);
	wm_peer_id_format(&id, ret);
}

bool wm_consul_is_ours(struct wm_consul *c, const char *mark)
{
	struct wm_registry_owner owner;
	char text[WM_PEER_ID_TEXT];
	struct wm_peer_id id, own;
	const char *node;
	uint32_t epoch;

	snprintf(text, sizeof(text), "%s", mark);
	if (strlen(mark) < sizeof(text) || wm_peer_id_parse(text, &id))
		return false;
	wm_registry_origin(c->conf.registry, &own, &epoch);
	if (wm_peer_id_same(&id, &own))
		return true;
	node = strchr(mark + sizeof(text), '/');
	return node && !wm_registry_owner(c->conf.registry, node + 1, "", &owner) &&
	       owner.origin == WM_ORIGIN_FOREIGN && wm_peer_id_same(&id, &owner.id);
}

static void mark_of(const struct wm_consul_register *r, const struct mine *m,
		    char ret[static MARK_MAX])
{
	snprintf(ret, MARK_MAX, "%s/%016llx/%s", r->id, (unsigned long long)m->hash,
		 wm_registry_node(r->c->conf.registry)->name);
}

/* --- what is said of an instance -------------------------------------------------------------- */
static enum wm_status status_of(const struct wm_instance *i)
{
	return i->lifecycle == WM_LIFE_RUNNING ? i->status : WM_CRITICAL;
}

static json_t *pairs_of(const struct wm_pair *p, unsigned count)
{
	json_t *o = json_object();

	for (unsigned n = 0; n < count; n++)
		json_object_set_new(o, p[n].key, json_string(p[n].value));
	return o;
}

static json_t *body_of(const struct wm_consul *c, const struct wm_instance *i)
{
	const char *address = *i->address ? i->address : i->node->address;
	json_t *tags = json_array(), *tagged = json_object();
	char ttl[32], check[WM_CHECK_ID_MAX + 1];

	for (unsigned n = 0; n < i->tags_count; n++)
		json_array_append_new(tags, json_string(i->tags[n]));
	for (unsigned n = 0; n < i->tagged_count; n++)
		json_object_set_new(tagged, i->tagged[n].name,
				    json_pack("{s:s,s:i}", "Address", i->tagged[n].address, "Port",
					      i->tagged[n].port));
	snprintf(ttl, sizeof(ttl), "%llums", (unsigned long long)c->conf.ttl_ms);
	snprintf(check, sizeof(check), CHECK "%s", i->id);
	return json_pack("{s:s,s:s,s:o,s:s,s:i,s:o,s:o,s:{s:i,s:i},s:b,s:{s:s,s:s,s:s,s:s}}", "ID",
			 i->id, "Name", i->name, "Tags", tags, "Address", address, "Port", i->port,
			 "Meta", pairs_of(i->meta, i->meta_count), "TaggedAddresses", tagged,
			 "Weights", "Passing", (int)i->weight_passing, "Warning",
			 (int)i->weight_warning, "EnableTagOverride", i->enable_tag_override,
			 "Check", "CheckID", check, "Name", "Health as Waymark sees it", "TTL", ttl,
			 "DeregisterCriticalServiceAfter", GIVE_UP_AFTER);
}

static bool is_passed_on(const struct wm_instance *i)
{
	return i->version.origin == WM_ORIGIN_OWN && !wm_instance_says_consul(i) &&
	       !strchr(i->name, '/');
}

/* --- what there is ---------------------------------------------------------------------------- */
static struct mine *mine_of(struct wm_consul_register *r, const char *id)
{
	size_t len = strlen(id);
	struct mine *m = wm_map_get(r->mine, id, len);

	if (m)
		return m;
	m = calloc(1, sizeof(*m) + len + 1);
	if (!m)
		return NULL;
	memcpy(m->id, id, len);
	if (wm_map_put(r->mine, m->id, len, m, NULL)) {
		free(m);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&r->all, m, entry);
	return m;
}

static void drop(struct wm_consul_register *r, struct mine *m)
{
	wm_map_del(r->mine, m->id, strlen(m->id));
	TAILQ_REMOVE(&r->all, m, entry);
	free(m);
}

static void look_at(struct wm_consul_register *r, const struct wm_instance *i)
{
	json_t *body = body_of(r->c, i);
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct mine *m = text ? mine_of(r, i->id) : NULL;
	uint64_t hash = m ? wm_hash_stable(text, strlen(text)) : 0;

	json_decref(body);
	free(text);
	if (!m) {
		r->index = 0; /* again */
		return;
	}
	m->registered &= m->hash == hash;
	m->hash = hash;
	m->status = status_of(i);
	m->gone = false;
	m->seen = r->look;
}

/* Own instances, if anything on the node is another. */
static void look(struct wm_consul_register *r)
{
	const struct wm_node *node = wm_registry_node(r->c->conf.registry);
	struct wm_instance *i;
	struct mine *m, *next;
	size_t pos = 0;

	if (r->index == node->index)
		return;
	r->index = node->index;
	r->look++;
	while ((i = wm_node_next_instance(node, &pos))) {
		if (is_passed_on(i))
			look_at(r, i);
	}
	for (m = TAILQ_FIRST(&r->all); m; m = next) {
		next = TAILQ_NEXT(m, entry);
		if (m->seen == r->look)
			continue;
		m->gone = true;
		if (!m->registered)
			drop(r, m);
	}
}

/* --- what the agent has ----------------------------------------------------------------------- */
static int on_local(void *arg, const char *id, const char *origin)
{
	struct wm_consul_register *r = arg;
	bool ours = strncmp(origin, r->id, strlen(r->id)) == 0;
	struct mine *m = wm_map_get(r->mine, id, strlen(id));
	char mark[MARK_MAX];

	if (!m && ours) {
		m = mine_of(r, id);
		if (!m)
			return -ENOMEM;
		m->gone = m->registered = true;
	}
	if (!m)
		return 0;
	if (!ours && !m->warned)
		wm_warn("consul.another", "id=%s text=%s", wm_log_q(id),
			wm_log_q("somebody else registered this id with the Consul's agent: it is "
				 "not passed on"));
	m->another = m->warned = !ours;
	mark_of(r, m, mark);
	m->registered = ours && (m->gone || strcmp(origin, mark) == 0);
	m->seen = r->look;
	return 0;
}

static void compare(struct wm_consul_register *r, const struct wm_http_answer *a)
{
	struct wm_err e = {0};
	struct mine *m;

	TAILQ_FOREACH (m, &r->all, entry) {
		m->registered = m->another = false;
		m->compared = true;
		m->told_ms = 0;
	}
	r->compared = !wm_consul_local_read(a->body, a->body_len, on_local, r, &e);
	r->compare_ms = wm_env_ms(r->c->env) + COMPARE_MS;
	r->index = 0; /* what is gone there and here */
}

/* --- requests --------------------------------------------------------------------------------- */
static void failed(struct wm_consul_register *r, const char *why)
{
	r->c->stats.pass_on_failed++;
	if (!r->fails)
		wm_warn("consul.pass_on", "text=%s", wm_log_q(why));
	r->compared = false;
	r->not_before_ms =
		wm_env_ms(r->c->env) + wm_consul_pause(r->c, r->fails += r->fails < 1000);
}

static void done(struct wm_consul_register *r, const struct wm_http_answer *a)
{
	struct mine *m = r->asked;

	switch (r->what) {
	case ASK_LIST:
		compare(r, a);
		break;
	case ASK_REGISTER:
		r->c->stats.passed_on++;
		m->registered = true;
		m->told = m->status;
		m->told_ms = 0;
		break;
	case ASK_DEREGISTER:
		r->c->stats.taken_back++;
		m->registered = false;
		r->index = 0; /* it may be here again */
		if (m->gone)
			drop(r, m);
		break;
	case ASK_CHECK:
		m->told_ms = wm_env_ms(r->c->env);
		break;
	}
}

static void on_answer(void *arg, const struct wm_http_answer *a)
{
	struct wm_consul_register *r = arg;
	char why[192];

	r->call = NULL;
	if (!a->error && a->status == 200 && a->body_len < ANSWER_MAX) {
		r->fails = 0;
		done(r, a);
	} else if (!a->error && a->status == 404 && r->what == ASK_DEREGISTER) {
		done(r, a);
	} else if (!a->error && a->status == 404 && r->what == ASK_CHECK) {
		r->asked->registered = false;
	} else {
		snprintf(why, sizeof(why), "%s: %ld %.*s", r->c->conf.addresses[0],
			 a->error ? 0 : a->status, 100, a->error ? a->reason : a->body);
		failed(r, why);
	}
	r->asked = NULL;
	wm_env_timer_arm(r->timer, 0);
}

static void ask(struct wm_consul_register *r, const char *method, const char *path, const char *id,
		const char *body)
{
	struct wm_consul *c = r->c;
	const char *headers[] = {"Content-Type: application/json", NULL, NULL};
	struct wm_http_call_options o = {.method = method,
					 .headers = headers,
					 .body = body,
					 .timeout_ms = CALL_MS,
					 .answer_max = r->what == ASK_LIST ? ANSWER_MAX : 256,
					 .keep = true,
					 .tls_ca_file = c->conf.ca_file,
					 .tls_cert_file = c->conf.cert_file,
					 .tls_key_file = c->conf.key_file};
	struct wm_buf url;
	int err = -ENOMEM;

	wm_consul_read_token(c);
	if (*c->token)
		headers[1] = c->token;
	wm_buf_init(&url, 4096);
	wm_buf_printf(&url, "%s%s", c->conf.addresses[0], path);
	wm_consul_put_encoded(&url, id);
	if (r->what == ASK_REGISTER)
		wm_buf_puts(&url, "?replace-existing-checks=true");
	o.url = url.data;
	if (!url.failed)
		r->call = wm_http_call_start(c->http, &o, on_answer, r, &err);
	wm_buf_done(&url);
	if (!r->call)
		failed(r, wm_err_str(err));
}

static void put_registration(struct wm_consul_register *r, struct mine *m,
			     const struct wm_instance *i)
{
	json_t *body = body_of(r->c, i), *check = json_object_get(body, "Check");
	char mark[MARK_MAX], *text;

	mark_of(r, m, mark);
	json_object_set_new(json_object_get(body, "Meta"), WM_CONSUL_ORIGIN, json_string(mark));
	json_object_set_new(check, "Status", json_string(wm_status_str(m->status)));
	text = json_dumps(body, JSON_COMPACT);
	r->what = ASK_REGISTER;
	if (text)
		ask(r, "PUT", "/v1/agent/service/register", "", text);
	free(text);
	json_decref(body);
}

static const char *why_of(const struct wm_instance *i)
{
	for (unsigned n = 0; n < i->checks_count; n++) {
		if (i->checks[n]->status == i->status && i->status != WM_PASSING)
			return i->checks[n]->output;
	}
	return i->lifecycle == WM_LIFE_RUNNING ? "" : wm_lifecycle_str(i->lifecycle);
}

static void put_check(struct wm_consul_register *r, struct mine *m, const struct wm_instance *i)
{
	char output[OUTPUT_MAX + 1], path[] = "/v1/agent/check/update/" CHECK, *text;
	json_t *body, *said;

	snprintf(output, sizeof(output), "%s", why_of(i));
	said = json_string(output); /* none if a character was cut */
	body = json_pack("{s:s,s:o}", "Status", wm_status_str(m->status), "Output",
			 said ? said : json_string(""));
	text = json_dumps(body, JSON_COMPACT);
	m->told = m->status;
	r->what = ASK_CHECK;
	if (text)
		ask(r, "PUT", path, m->id, text);
	free(text);
	json_decref(body);
}

static bool check_is_due(const struct wm_consul_register *r, const struct mine *m, uint64_t now)
{
	return m->status != m->told || !m->told_ms ||
	       now - m->told_ms >= r->c->conf.ttl_ms / UPDATES;
}

/* @return was something asked? */
static bool step(struct wm_consul_register *r, struct mine *m, uint64_t now)
{
	const struct wm_instance *i = wm_registry_instance(r->c->conf.registry, m->id);

	if (m->gone && m->registered) {
		r->what = ASK_DEREGISTER;
		ask(r, "PUT", "/v1/agent/service/deregister/", m->id, NULL);
		return true;
	}
	if (m->gone || m->another || !i || !is_passed_on(i))
		return false;
	/* an id that somebody else has there is not to be overwritten */
	if (!m->registered && !m->compared) {
		r->compared = false;
		wm_env_timer_arm(r->timer, 0);
		return false;
	}
	if (!m->registered)
		put_registration(r, m, i);
	else if (check_is_due(r, m, now))
		put_check(r, m, i);
	else
		return false;
	return true;
}

static void on_timer(void *arg)
{
	struct wm_consul_register *r = arg;
	uint64_t now = wm_env_ms(r->c->env);
	struct mine *m;

	wm_env_timer_arm(r->timer, LOOK_MS);
	if (r->call || now < r->not_before_ms)
		return;
	look(r);
	if (!r->compared || now >= r->compare_ms) {
		r->what = ASK_LIST;
		ask(r, "GET", "/v1/agent/services", "", NULL);
		return;
	}
	TAILQ_FOREACH (m, &r->all, entry) {
		r->asked = m;
		if (step(r, m, now)) {
			/* the others have their turns before it has its next */
			TAILQ_REMOVE(&r->all, m, entry);
			TAILQ_INSERT_TAIL(&r->all, m, entry);
			return;
		}
	}
	r->asked = NULL;
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_consul_register *wm_consul_register_new(struct wm_consul *c)
{
	struct wm_consul_register *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->c = c;
	TAILQ_INIT(&r->all);
	own_id(c, r->id);
	r->mine = wm_map_new(MINE_MAX);
	r->timer = wm_env_timer_new(c->env, on_timer, r);
	if (r->mine && r->timer && !wm_env_timer_arm(r->timer, 0))
		return r;
	wm_consul_register_free(r);
	return NULL;
}

void wm_consul_register_free(struct wm_consul_register *r)
{
	struct mine *m;

	if (!r)
		return;
	wm_http_call_cancel(r->call);
	while ((m = TAILQ_FIRST(&r->all)))
		drop(r, m);
	wm_map_free(r->mine);
	wm_env_timer_free(r->timer);
	free(r);
}
