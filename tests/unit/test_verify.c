/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security sync */
/* test_verify.c - members that have the same, and ones that do not: a difference is named to the
 * object, what is on its way is none. Messages of the comparison go between the agents of a
 * replica_net.h; whose streams are cut are not repaired meanwhile. */
#include "replica_net.h"
#include "userspace/sync/verify.h"

TestSuite(verify, .timeout = 300);

struct desk {
	struct net *n;
	struct wm_verify *v[NET_NODES];
	bool silent[NET_NODES];
	unsigned messages, done;
	struct wm_verify_member members[NET_NODES];
	unsigned found_count;
	struct wm_verify_found *found;
};
struct seat {
	struct desk *d;
	unsigned at;
};
static struct seat seats[NET_NODES];

struct sent {
	struct desk *d;
	unsigned from, to;
	bool answer;
	struct wm_env_timer *timer;
	size_t len;
	uint8_t octets[];
};

static void arrive(void *arg)
{
	struct sent *m = arg;
	struct desk *d = m->d;
	const struct wm_peer_id *from = &d->n->a[m->from].id;

	d->messages++;
	if (!d->silent[m->to])
		cr_assert_eq(m->answer ? wm_verify_answered(d->v[m->to], from, m->octets, m->len)
				       : wm_verify_asked(d->v[m->to], from, m->octets, m->len),
			     0);
	wm_env_timer_free(m->timer);
	free(m);
}

static void post(struct seat *s, const struct wm_peer_id *to, bool answer, const void *p,
		 size_t len)
{
	struct sent *m = malloc(sizeof(*m) + len);

	*m = (struct sent){
		.d = s->d, .from = s->at, .to = to->octets[15] - 1u, .answer = answer, .len = len};
	memcpy(m->octets, p, len);
	m->timer = wm_env_timer_new(&s->d->n->v.env, arrive, m);
	wm_env_timer_arm(m->timer, 1);
}

static void ask(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	post(arg, to, false, p, len);
}

static void answer(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	post(arg, to, true, p, len);
}

static void on_done(void *arg, const struct wm_verify_result *r)
{
	struct desk *d = arg;

	d->done++;
	if (!r)
		return;
	memcpy(d->members, r->members, r->members_count * sizeof(*r->members));
	d->found_count = r->found_count;
	free(d->found);
	d->found = calloc(r->found_count + 1, sizeof(*d->found));
	memcpy(d->found, r->found, r->found_count * sizeof(*r->found));
}

static struct desk *desk_new(struct net *n)
{
	struct desk *d = calloc(1, sizeof(*d));

	d->n = n;
	for (unsigned i = 0; i < n->count; i++) {
		seats[i] = (struct seat){d, i};
		d->v[i] = wm_verify_new(&(struct wm_verify_config){.env = &n->v.env,
								   .replica = n->a[i].r,
								   .arg = &seats[i],
								   .ask = ask,
								   .answer = answer});
		cr_assert_not_null(d->v[i]);
	}
	return d;
}

static void desk_free(struct desk *d)
{
	for (unsigned i = 0; i < d->n->count; i++)
		wm_verify_free(d->v[i]);
	free(d->found);
	net_free(d->n);
	free(d);
}

/* Agent 0 compares with all others. */
static void begin(struct desk *d)
{
	struct wm_peer_id ids[NET_NODES];

	d->done = 0;
	for (unsigned i = 1; i < d->n->count; i++)
		ids[i - 1] = d->n->a[i].id;
	cr_assert_eq(wm_verify_start(d->v[0], ids, d->n->count - 1, on_done, d), 0);
}

static void compare(struct desk *d)
{
	begin(d);
	net_pass(d->n, 20000);
	cr_assert_eq(d->done, 1);
}

static void cut(struct net *n, bool on)
{
	for (unsigned i = 0; i < n->count; i++)
		for (unsigned j = 0; j < n->count; j++)
			n->cut[i][j] = on;
	net_pass(n, 250);
}

static void fill(struct agent *a, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		char id[32];

		snprintf(id, sizeof(id), "instance-%05u", i);
		put(a, id, "x");
	}
}

static struct desk *begun(unsigned agents, unsigned objects)
{
	struct net *n = net_new(agents, 7);

	net_start(n);
	net_pass(n, 100);
	fill(&n->a[agents - 1], objects);
	cr_assert(shared_write(&n->a[0], "outside", "ext", "s", NULL, 0));
	cr_assert_lt(net_settle(n, 20000), 20000);
	return desk_new(n);
}

Test(verify, who_has_the_same_is_asked_once)
{
	struct desk *d = begun(3, 5000);

	compare(d);
	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(d->members[i].state, WM_VERIFY_SAME);
	cr_assert_eq(d->messages, 4);
	cr_assert_eq(d->found_count, 0);
	desk_free(d);
}

Test(verify, a_difference_is_named_to_the_object)
{
	struct desk *d = begun(3, 5000);
	struct agent *owner = &d->n->a[2];
	uint64_t before = owner->seq;

	cut(d->n, true);
	put(owner, "instance-03000", "y"); /* another version */
	put(owner, "added", "z");
	del(owner, "instance-00007");
	compare(d);
	cr_assert_eq(d->members[0].state, WM_VERIFY_SAME);
	cr_assert_eq(d->members[1].state, WM_VERIFY_DIFFERS);
	cr_assert_eq(d->found_count, 3);
	for (unsigned i = 0; i < 3; i++) {
		const struct wm_verify_found *f = &d->found[i];

		cr_assert_eq(f->member, 1);
		cr_assert(wm_peer_id_same(&f->origin, &owner->id));
		cr_assert_eq(f->there.epoch, owner->epoch);
		if (!strcmp(f->id, "added")) {
			cr_assert_not(f->here.known);
		} else if (!strcmp(f->id, "instance-00007")) {
			cr_assert(f->there.gone && !f->here.gone);
		} else {
			cr_assert_str_eq(f->id, "instance-03000");
			cr_assert(f->here.known && f->there.known);
		}
		cr_assert_gt(f->there.seq, before);
		cr_assert_leq(f->here.seq, before);
	}
	/* ranges of 1,024, not 5,000 objects twice over */
	cr_assert_lt(d->messages, 60);
	cut(d->n, false);
	cr_assert_lt(net_settle(d->n, 20000), 20000);
	compare(d);
	cr_assert_eq(d->members[1].state, WM_VERIFY_SAME);
	desk_free(d);
}

Test(verify, a_shared_object_is_named_with_its_node_and_writer)
{
	struct desk *d = begun(2, 3);

	cut(d->n, true);
	cr_assert(shared_write(&d->n->a[1], "outside", "ext", "t", NULL, 0));
	compare(d);
	cr_assert_eq(d->found_count, 1);
	cr_assert(d->found->shared);
	cr_assert_str_eq(d->found->node, "outside");
	cr_assert_str_eq(d->found->id, "ext");
	cr_assert(wm_peer_id_same(&d->found->here.writer, &d->n->a[0].id));
	cr_assert(wm_peer_id_same(&d->found->there.writer, &d->n->a[1].id));
	desk_free(d);
}

Test(verify, what_is_on_its_way_is_no_difference)
{
	struct desk *d = begun(3, 2000);

	d->n->delay_ms = 100;
	for (unsigned k = 0; k < 10; k++) {
		begin(d);
		for (unsigned i = 0; i < 200; i++) {
			put(&d->n->a[2], "instance-00100", "y");
			net_pass(d->n, 50);
		}
		cr_assert_eq(d->done, 1);
		cr_assert_eq(d->found_count, 0, "round %u: %u", k, d->found_count);
	}
	desk_free(d);
}

Test(verify, who_does_not_answer_is_silent_and_one_comparison_is_enough)
{
	struct desk *d = begun(3, 3);

	d->silent[1] = true;
	begin(d);
	cr_assert_eq(wm_verify_start(d->v[0], NULL, 0, on_done, d), WM_E_BUSY);
	net_pass(d->n, 2 * WM_VERIFY_MS);
	cr_assert_eq(d->done, 1);
	cr_assert_eq(d->members[0].state, WM_VERIFY_SILENT);
	cr_assert_eq(d->members[1].state, WM_VERIFY_SAME);
	begin(d);
	net_pass(d->n, 100);
	wm_verify_free(d->v[0]); /* who waits is told */
	d->v[0] = NULL;
	cr_assert_eq(d->done, 1);
	d->silent[0] = true; /* what is under way finds nobody */
	net_pass(d->n, 100);
	desk_free(d);
}

Test(verify, more_than_are_named_are_said_to_be_more)
{
	struct desk *d = begun(2, 1);

	cut(d->n, true);
	fill(&d->n->a[1], WM_VERIFY_FOUND_MAX + 500);
	compare(d);
	cr_assert_geq(d->found_count, WM_VERIFY_FOUND_MAX - 1); /* one has changed place */
	cr_assert(d->members[0].more);
	desk_free(d);
}

/* Cut, shortened and changed at random: what cannot be read is refused, and nothing breaks. */
Test(verify, hostile_messages)
{
	struct desk *d = begun(2, 50);
	uint8_t p[256];

	begin(d);
	net_pass(d->n, 0);
	for (unsigned i = 0; i < 200000; i++) {
		size_t len = net_below(d->n, sizeof(p));

		for (size_t k = 0; k < len; k++)
			p[k] = (uint8_t)net_below(d->n, i % 2 ? 256 : 40);
		(void)wm_verify_asked(d->v[1], &d->n->a[0].id, p, len);
		(void)wm_verify_answered(d->v[0], &d->n->a[1].id, p, len);
	}
	net_pass(d->n, 20000);
	cr_assert_eq(d->done, 1);
	desk_free(d);
}
