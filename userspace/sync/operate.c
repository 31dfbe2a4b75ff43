/* SPDX-License-Identifier: Apache-2.0 */
/* operate.c - what an operator asks of the mesh: have all the same, what is held back, let it go.
 */
#include "internal.h"
#include "userspace/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static void send_verify(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	struct wm_sync *s = arg;

	wm_link_send(s->links, to, WM_CHANNEL_VERIFY, p, len);
}

static void send_verified(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	struct wm_sync *s = arg;

	wm_link_send(s->links, to, WM_CHANNEL_VERIFY_REPLY, p, len);
}

static void on_position(void *arg, const struct wm_peer_id *from, uint32_t epoch, uint64_t seq)
{
	struct wm_sync *s = arg;

	wm_waits_position(s->waits, from, epoch, seq);
}

int wm_operate_new(struct wm_sync *s, struct wm_err *e)
{
	const struct wm_verify_config c = {.env = s->env,
					   .replica = s->replica,
					   .arg = s,
					   .ask = send_verify,
					   .answer = send_verified,
					   .position = on_position};

	s->verify = wm_verify_new(&c);
	return s->verify ? 0 : wm_err_set(e, -ENOMEM, "out of memory: mesh");
}

static int started(int r, struct wm_err *e)
{
	if (r == WM_E_BUSY)
		return wm_err_set(e, r, "A comparison is under way, ask again when it is done");
	return r ? wm_err_set(e, r, "Out of memory") : 0;
}

int wm_sync_verify(struct wm_sync *s, wm_verify_done done, void *arg, struct wm_err *e)
{
	struct wm_peer_id *ids;
	struct wm_member *m;
	unsigned n = 0;
	size_t pos = 0;
	int r;

	if (s->etcd)
		return started(wm_etcd_verify(s->etcd, done, arg), e);
	if (s->c.role == WM_MEMBER_LEAF)
		return wm_err_set(
			e, WM_E_UNSUPPORTED,
			"sync.role is leaf: this agent has a part of what others have, ask "
			"a full one");
	ids = calloc(wm_members_count(s->members) + 1, sizeof(*ids));
	if (!ids)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	while ((m = wm_members_next(s->members, &pos)))
		if (!m->self && m->state <= WM_MEMBER_SUSPECT && m->role == WM_MEMBER_FULL)
			ids[n++] = m->id;
	r = wm_verify_start(s->verify, ids, n, done, arg);
	free(ids);
	return started(r, e);
}

/* --- brakes ------------------------------------------------------------------------------------
 */
static bool find_node(struct wm_sync *s, const char *name, struct wm_peer_id *ret)
{
	struct wm_sync_node n;
	size_t pos = 0;

	while (wm_sync_next_node(s, &pos, &n))
		if (strcasecmp(n.name, name) == 0) {
			*ret = n.id;
			return true;
		}
	return false;
}

int wm_sync_release(struct wm_sync *s, const char *node, unsigned *ret_count, struct wm_err *e)
{
	struct wm_peer_id id = {0}, *origin = node ? &id : NULL;
	unsigned mended = 0;
	int r;

	if (node && !find_node(s, node, &id))
		return wm_err_set(e, WM_E_UNKNOWN, "No member with name '%.64s'", node);
	if ((!node || wm_peer_id_same(&id, &s->id)) &&
	    (r = wm_objects_mend(s->objects, &mended, e)))
		return r;
	if (mended)
		wm_warn("sync.mended",
			"objects=%u text=\"an operator says that this agent's clock is right: what "
			"it wrote into the catalog while it was ahead is written anew\"",
			mended);
	*ret_count =
		s->etcd ? wm_etcd_let_go(s->etcd, origin) : wm_replica_release(s->replica, origin);
	if (*ret_count)
		wm_warn("sync.released",
			"node=%s held=%u text=\"an operator lets removals happen that the brake "
			"held back\"",
			wm_log_q(node ? node : ""), *ret_count);
	*ret_count += mended;
	return 0;
}

/* --- how it is ---------------------------------------------------------------------------------
 */
static struct wm_sync_reason *reason(struct wm_sync_health *h, const char *what, const char *remedy)
{
	struct wm_sync_reason *r = &h->reasons[h->reasons_count++];

	*r = (struct wm_sync_reason){.what = what, .remedy = remedy};
	return r;
}

static void judge_members(struct wm_sync *s, struct wm_sync_health *h)
{
	struct wm_sync_reason *r;
	struct wm_sync_node n;
	const char *seed = s->seeds ? wm_seeds_first(s->seeds) : NULL;
	size_t pos = 0;

	while (wm_sync_next_node(s, &pos, &n)) {
		h->members++;
		h->alive += n.state <= WM_MEMBER_SUSPECT;
		h->failed += n.state == WM_MEMBER_FAILED;
	}
	if (s->etcd || h->alive > 1 || !(seed || h->failed))
		return;
	r = reason(h, "alone",
		   "is an agent there, its port 8301 open for UDP and TCP, its certificate and "
		   "keyring of this mesh? See the log: sync.stream_refused");
	if (h->failed)
		snprintf(r->text, sizeof(r->text), "none of the %u other members answers",
			 h->failed);
	else
		snprintf(r->text, sizeof(r->text),
			 "no agent of sync.join or sync.join_file answers: %.40s ... (%.80s)", seed,
			 wm_seeds_why(s->seeds));
}

static void judge_certificate(const struct wm_sync *s, struct wm_sync_health *h)
{
	struct wm_sync_reason *r;
	struct wm_sync_stats n;

	wm_sync_stats(s, &n);
	if (n.certificate_days >= WM_SYNC_CERTIFICATE_DAYS)
		return;
	r = reason(h, "certificate", "waymarkctl ca issue, and replace its file: that is watched");
	if (n.certificate_days < 0)
		snprintf(r->text, sizeof(r->text),
			 "the certificate is expired: others refuse new streams");
	else
		snprintf(r->text, sizeof(r->text), "the certificate ends in %lld days",
			 (long long)n.certificate_days);
}

static void judge_brakes(struct wm_sync *s, struct wm_sync_health *h)
{
	struct wm_replica_held held;
	struct wm_replica_ahead ahead;
	struct wm_sync_reason *r;
	const struct wm_member *m;
	size_t pos = 0;

	while (wm_replica_next_held(s->replica, &pos, &held))
		h->held += held.removals;
	if (h->held) {
		r = reason(
			h, "brake",
			"see waymarkctl sync status; if they are right: waymarkctl sync release");
		snprintf(r->text, sizeof(r->text), "%llu removals are held back",
			 (unsigned long long)h->held);
	}
	pos = 0;
	if (!wm_replica_next_ahead(s->replica, &pos, &ahead))
		return;
	m = wm_members_by_id(s->members, &ahead.writer);
	r = reason(h, "clock", "mend that node's clock, or ours");
	snprintf(r->text, sizeof(r->text), "the clock of %s is %llu ms ahead: its writes are held",
		 m ? m->name : "a node that is unknown", (unsigned long long)ahead.by_ms);
}

static void judge_etcd(const struct wm_sync *s, struct wm_sync_health *h)
{
	struct wm_etcd_state t;
	struct wm_sync_reason *r;

	wm_etcd_state(s->etcd, &t);
	h->behind = t.pending;
	h->held = t.held;
	if (t.phase != WM_ETCD_FOLLOWING) {
		r = reason(h, "etcd", "what changes meanwhile follows; see sync.etcd_endpoints");
		snprintf(r->text, sizeof(r->text), "etcd is %s: %.120s",
			 t.phase == WM_ETCD_REFUSED ? "not ours to use" : "away",
			 *t.error ? t.error : wm_etcd_phase_str(t.phase));
	}
	if (t.held) {
		r = reason(h, "brake",
			   "they wait for their nodes to tell what they have; if they are right: "
			   "waymarkctl sync release");
		snprintf(r->text, sizeof(r->text), "%u removals are held back", t.held);
	}
}

void wm_sync_health(struct wm_sync *s, struct wm_sync_health *ret)
{
	*ret = (struct wm_sync_health){0};
	judge_members(s, ret);
	if (s->etcd) {
		judge_etcd(s, ret);
		return;
	}
	ret->behind = wm_replica_behind(s->replica);
	judge_certificate(s, ret);
	judge_brakes(s, ret);
}
