/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security sync */
/* test_replica_proof.c - a relay that invents, changes, swaps, leaves out, tells what was: what is
 * not what a log's agent proved is dropped, the relay is named, and others are asked. Agent 0 has
 * the log, 1 is the relay that lies, 2 listens, 3 is an honest relay. */
#include "replica_net.h"
#include "userspace/sync/replica.pb-c.h"
#include "userspace/sync/replica_internal.h"

#include <zstd.h>

TestSuite(replica_proof, .timeout = 300);

#define OBJECTS 20

static void (*lie)(Wm__Replica__Part *p);
static unsigned lies;

static Wm__Replica__Message *read_message(const uint8_t *p, size_t len)
{
	static uint8_t plain[NET_TAMPERED];
	size_t n;

	if (p[0] == 0)
		return wm__replica__message__unpack(NULL, len - 1, p + 1);
	n = ZSTD_decompress(plain, sizeof(plain), p + 5, len - 5);
	cr_assert(p[0] == 1 && !ZSTD_isError(n));
	return wm__replica__message__unpack(NULL, n, plain);
}

static bool is_of_origin(const Wm__Replica__Part *p)
{
	return p->origin.len == 16 && p->origin.data[15] == 1;
}

/* Pages with something of agent 0's log. */
static size_t tamper(struct net *n, unsigned to, const uint8_t *p, size_t len, uint8_t *ret)
{
	Wm__Replica__Message *m = read_message(p, len);
	bool lied = false;
	size_t size = 0;

	(void)n;
	(void)to;
	for (size_t i = 0; m->is_case == WM__REPLICA__MESSAGE__IS_PAGE && i < m->page->n_parts; i++)
		if (is_of_origin(m->page->parts[i]) && m->page->parts[i]->n_changes > 1) {
			lie(m->page->parts[i]);
			lied = true;
		}
	if (lied) {
		lies++;
		ret[0] = 0;
		size = 1 + wm__replica__message__pack(m, ret + 1);
	}
	wm__replica__message__free_unpacked(m, NULL);
	return size;
}

static void change_object(Wm__Replica__Part *p)
{
	p->changes[1]->object.data[0] ^= 1;
}

static void swap_objects(Wm__Replica__Part *p)
{
	ProtobufCBinaryData a = p->changes[0]->object;

	p->changes[0]->object = p->changes[1]->object;
	p->changes[1]->object = a;
}

static void swap_keys(Wm__Replica__Part *p)
{
	ProtobufCBinaryData a = p->changes[0]->key;

	p->changes[0]->key = p->changes[1]->key;
	p->changes[1]->key = a;
}

static void another_version(Wm__Replica__Part *p)
{
	p->changes[p->n_changes - 1]->seq--;
}

static void leave_out(Wm__Replica__Part *p)
{
	wm__replica__change__free_unpacked(p->changes[--p->n_changes], NULL);
}

static void remove_one(Wm__Replica__Part *p)
{
	Wm__Replica__Change *c = p->changes[1];

	free(c->object.data);
	c->object = (ProtobufCBinaryData){0};
	c->gone = true;
	c->gone_ms = 1;
}

/* An object that its agent never had, in the place of another one and beside it. */
static void invent(Wm__Replica__Part *p)
{
	p->changes[1]->key.data[0] = '!';
}

static void no_proof(Wm__Replica__Part *p)
{
	free(p->proof.data);
	p->proof = (ProtobufCBinaryData){0};
}

static void another_proof(Wm__Replica__Part *p)
{
	if (p->proof.len)
		p->proof.data[p->proof.len - 1] ^= 1;
}

static void beyond(Wm__Replica__Part *p)
{
	p->seq++;
}

static void another_epoch(Wm__Replica__Part *p)
{
	p->epoch++;
	for (size_t i = 0; i < p->n_changes; i++)
		p->changes[i]->epoch = p->epoch;
}

/* 0 - 1 - 2, and 0 - 3; 3 - 2 when it may. */
static struct net *chain(void)
{
	struct net *n = net_new(4, 7);

	memset(n->wanted, 0, sizeof(n->wanted));
	n->wanted[0][1] = n->wanted[1][0] = n->wanted[1][2] = n->wanted[2][1] = true;
	n->wanted[0][3] = n->wanted[3][0] = true;
	n->drop_news = true;
	if (!n->hasher)
		net_prove(n);
	net_start(n);
	for (unsigned i = 0; i < OBJECTS; i++) {
		char id[16];

		snprintf(id, sizeof(id), "object-%u", i);
		put(&n->a[0], id, id);
	}
	return n;
}

static void honest_relay(struct net *n)
{
	n->wanted[2][3] = n->wanted[3][2] = true;
	net_link(n);
}

static unsigned objects_of(const struct net *n, unsigned at, unsigned of)
{
	struct wm_replica_origin o;
	size_t pos = 0;

	while (wm_replica_next(n->a[at].r, &pos, &o))
		if (o.id.octets[15] == of + 1)
			return o.objects;
	return 0;
}

static void told_lies(void (*how)(Wm__Replica__Part *p))
{
	struct net *n = chain();
	struct agent *victim = &n->a[2];

	lie = how;
	lies = 0;
	n->liar = 1;
	n->tamper = tamper;
	net_pass(n, 15000);
	cr_assert_gt(lies, 1, "it is asked again after a while");
	cr_assert_lt(lies, 10, "and not all the time: %u", lies);
	cr_assert_eq(objects_of(n, 2, 0), 0, "nothing of it is taken");
	cr_assert_eq(stats(victim).applied, 0);
	cr_assert_geq(stats(victim).forged, lies - 1);
	cr_assert_eq(victim->alarms, 1, "once a minute");
	cr_assert_eq(victim->about.octets[15], 2, "the relay is named");
	cr_assert(strstr(victim->alarm, "is not what that agent proved"), "%s", victim->alarm);
	honest_relay(n);
	cr_assert_lt(net_settle(n, 10000), 10000, "others are asked");
	cr_assert_eq(objects_of(n, 2, 0), OBJECTS);
	cr_assert_eq(stats(&n->a[1]).forged + stats(&n->a[3]).forged, 0, "others say the truth");
	cr_assert_eq(n->refused, 0, "%s", n->why);
	net_check(n);
	net_free(n);
}

Test(replica_proof, who_changes_an_object_is_not_believed)
{
	told_lies(change_object);
}

Test(replica_proof, who_swaps_two_objects_is_not_believed)
{
	told_lies(swap_objects);
}

Test(replica_proof, who_swaps_two_names_is_not_believed)
{
	told_lies(swap_keys);
}

Test(replica_proof, who_invents_an_object_is_not_believed)
{
	told_lies(invent);
}

Test(replica_proof, who_gives_one_another_version_is_not_believed)
{
	told_lies(another_version);
}

Test(replica_proof, who_leaves_one_out_is_not_believed)
{
	told_lies(leave_out);
}

Test(replica_proof, who_removes_one_is_not_believed)
{
	told_lies(remove_one);
}

Test(replica_proof, who_has_no_proof_is_not_believed)
{
	told_lies(no_proof);
}

Test(replica_proof, who_has_another_proof_is_not_believed)
{
	told_lies(another_proof);
}

Test(replica_proof, who_says_that_there_is_more_is_not_believed)
{
	told_lies(beyond);
}

Test(replica_proof, who_says_that_it_began_anew_is_not_believed)
{
	told_lies(another_epoch);
}

Test(replica_proof, who_tells_the_truth_is_believed)
{
	struct net *n = chain();

	cr_assert_lt(net_settle(n, 10000), 10000);
	for (unsigned i = 0; i < n->count; i++)
		cr_assert_eq(stats(&n->a[i]).forged + stats(&n->a[i]).unproved, 0);
	cr_assert_eq(objects_of(n, 2, 0), OBJECTS);
	del(&n->a[0], "object-3");
	put(&n->a[0], "object-4", "another");
	cr_assert_lt(net_settle(n, 10000), 10000);
	is(has(&n->a[2], &n->a[0], "object-3"), NULL);
	is(has(&n->a[2], &n->a[0], "object-4"), "another");
	for (unsigned i = 0; i < n->count; i++)
		cr_assert_eq(stats(&n->a[i]).forged + stats(&n->a[i]).unproved, 0);
	net_free(n);
}

/* What comes in many pages is held until the last one, and taken as it came. */
static struct net *large(void (*how)(Wm__Replica__Part *p))
{
	struct net *n = chain();
	char text[301] = "";

	lie = how;
	n->liar = 1;
	n->tamper = how ? tamper : NULL;
	n->cut[1][2] = n->cut[2][1] = true;
	net_link(n);
	for (unsigned i = 0; i < 3000; i++) {
		char id[16];

		snprintf(id, sizeof(id), "large-%u", i);
		for (unsigned k = 0; k < 300; k++)
			text[k] = (char)('!' + net_below(n, 90));
		put(&n->a[0], id, text);
	}
	net_pass(n, 3000);
	cr_assert_eq(objects_of(n, 1, 0), OBJECTS + 3000);
	n->cut[1][2] = n->cut[2][1] = false;
	net_link(n);
	net_pass(n, 4000);
	return n;
}

Test(replica_proof, pages_are_held_until_they_are_proved)
{
	struct net *n = large(NULL);

	cr_assert_eq(objects_of(n, 2, 0), OBJECTS + 3000);
	cr_assert_geq(stats(&n->a[1]).served, 3000 * 300 / WM_REPLICA_PAGE_MAX);
	cr_assert_eq(stats(&n->a[2]).forged, 0);
	cr_assert_eq(n->a[2].flaps, 0);
	net_free(n);
	n = large(change_object);
	cr_assert_eq(objects_of(n, 2, 0), 0);
	cr_assert_eq(n->a[2].takes, 0);
	cr_assert_geq(stats(&n->a[2]).forged, 1);
	net_free(n);
}

/* Of a log that is here only what is new is asked for; what is proved is all of it. */
Test(replica_proof, who_changes_what_is_new_is_not_believed)
{
	struct net *n = chain();

	lie = change_object;
	cr_assert_lt(net_settle(n, 10000), 10000);
	n->liar = 1;
	n->tamper = tamper;
	n->cut[0][3] = n->cut[3][0] = true;
	put(&n->a[0], "object-1", "second");
	put(&n->a[0], "object-2", "second");
	net_pass(n, 8000);
	is(has(&n->a[2], &n->a[0], "object-1"), "object-1");
	is(has(&n->a[2], &n->a[0], "object-2"), "object-2");
	cr_assert_geq(stats(&n->a[2]).forged, 1);
	n->tamper = NULL;
	n->cut[0][3] = n->cut[3][0] = false;
	cr_assert_lt(net_settle(n, 10000), 10000, "who is honest again is believed");
	is(has(&n->a[2], &n->a[0], "object-2"), "second");
	net_free(n);
}

/* Its pages of before, with the proof of before, as often as it is asked. */
static uint8_t before[NET_TAMPERED];
static size_t before_len;

static size_t replay(struct net *n, unsigned to, const uint8_t *p, size_t len, uint8_t *ret)
{
	Wm__Replica__Message *m = read_message(p, len), *old;
	size_t size = 0;

	(void)n;
	if (to == 2 && m->is_case == WM__REPLICA__MESSAGE__IS_PAGE && m->page->n_parts &&
	    is_of_origin(m->page->parts[0]) && m->page->parts[0]->n_changes) {
		if (!before_len) {
			before_len = wm__replica__message__pack(m, before);
		} else {
			old = wm__replica__message__unpack(NULL, before_len, before);
			old->page->number = m->page->number;
			ret[0] = 0;
			size = 1 + wm__replica__message__pack(old, ret + 1);
			wm__replica__message__free_unpacked(old, NULL);
			lies++;
		}
	}
	wm__replica__message__free_unpacked(m, NULL);
	return size;
}

Test(replica_proof, what_was_proved_once_changes_nothing_that_is_newer)
{
	struct net *n = chain();

	before_len = lies = 0;
	n->liar = 1;
	n->tamper = replay;
	cr_assert_lt(net_settle(n, 10000), 10000);
	cr_assert_gt(before_len, 0);
	put(&n->a[0], "object-1", "second");
	net_pass(n, 20000);
	cr_assert_gt(lies, 0);
	is(has(&n->a[2], &n->a[0], "object-1"), "object-1");
	honest_relay(n);
	cr_assert_lt(net_settle(n, 10000), 10000, "that it held back is found");
	is(has(&n->a[2], &n->a[0], "object-1"), "second");
	net_free(n);
}

/* --- news -------------------------------------------------------------------------------------
 */
static int hear(struct net *n, const Wm__Replica__Batch *b)
{
	Wm__Replica__Message m = WM__REPLICA__MESSAGE__INIT;
	uint8_t wire[4096];
	struct wm_err e = {0};

	m.is_case = WM__REPLICA__MESSAGE__IS_BATCH;
	m.batch = (Wm__Replica__Batch *)(uintptr_t)b;
	wire[0] = 0;
	return wm_replica_spread(n->a[2].r, &n->a[1].id, wire,
				 1 + wm__replica__message__pack(&m, wire + 1), &e);
}

/* The proof of a page that agent 2 was given. */
static uint8_t proof[68];
static size_t look(struct net *n, unsigned to, const uint8_t *p, size_t len, uint8_t *ret)
{
	Wm__Replica__Message *m = read_message(p, len);

	(void)n;
	(void)ret;
	for (size_t i = 0; m->is_case == WM__REPLICA__MESSAGE__IS_PAGE && i < m->page->n_parts; i++)
		if (to == 2 && is_of_origin(m->page->parts[i]) && m->page->parts[i]->proof.len) {
			cr_assert_eq(m->page->parts[i]->proof.len, sizeof(proof));
			memcpy(proof, m->page->parts[i]->proof.data, sizeof(proof));
		}
	wm__replica__message__free_unpacked(m, NULL);
	return 0;
}

Test(replica_proof, forged_news_is_dropped_and_not_passed_on)
{
	struct net *n = chain();
	struct agent *victim = &n->a[2];
	Wm__Replica__Batch b = WM__REPLICA__BATCH__INIT;
	Wm__Replica__Change c, *list[] = {&c};
	char key[] = "object-1", object[] = "forged";

	wm__replica__change__init(&c);
	n->liar = 1;
	n->tamper = look;
	cr_assert_lt(net_settle(n, 10000), 10000);
	b.origin = (ProtobufCBinaryData){16, n->a[0].id.octets};
	b.epoch = n->a[0].epoch;
	b.after = n->a[0].seq;
	b.upto = c.seq = b.after + 1;
	b.changes = list;
	b.n_changes = 1;
	c.key = (ProtobufCBinaryData){8, (uint8_t *)key};
	c.object = (ProtobufCBinaryData){6, (uint8_t *)object};
	cr_assert_eq(hear(n, &b), 1, "without a proof");
	b.proof = (ProtobufCBinaryData){sizeof(proof), proof};
	cr_assert_eq(hear(n, &b), 1, "with that of before");
	b.n_changes = 0;
	cr_assert_eq(hear(n, &b), 1, "that there is nothing new");
	b.n_changes = 1;
	c.object = (ProtobufCBinaryData){0};
	c.gone = true;
	cr_assert_eq(hear(n, &b), 1, "a removal");
	cr_assert_eq(stats(victim).forged, 4);
	cr_assert_eq(victim->alarms, 1);
	cr_assert_eq(victim->about.octets[15], 2);
	net_pass(n, 1000);
	is(has(victim, &n->a[0], "object-1"), "object-1");
	put(&n->a[0], "object-1", "second");
	cr_assert_lt(net_settle(n, 10000), 10000);
	is(has(victim, &n->a[0], "object-1"), "second");
	cr_assert_eq(stats(victim).forged, 4, "who is pulled from says the truth");
	net_free(n);
}

Test(replica_proof, news_that_is_proved_is_taken_and_passed_on)
{
	struct net *n = chain();

	cr_assert_lt(net_settle(n, 10000), 10000);
	n->drop_news = false;
	put(&n->a[0], "object-1", "second");
	put(&n->a[0], "new", "first");
	del(&n->a[0], "object-2");
	net_pass(n, 40); /* a batch, two hops */
	is(has(&n->a[2], &n->a[0], "object-1"), "second");
	is(has(&n->a[2], &n->a[0], "new"), "first");
	is(has(&n->a[2], &n->a[0], "object-2"), NULL);
	cr_assert_eq(stats(&n->a[2]).forged + stats(&n->a[2]).gaps, 0);
	net_free(n);
}

/* --- whose key it is ---------------------------------------------------------------------------
 */
Test(replica_proof, a_log_is_not_taken_if_nothing_says_whose_its_proof_is)
{
	struct net *n = chain();
	struct agent *victim = &n->a[2];

	n->a[0].doubted = true;
	net_pass(n, 8000);
	cr_assert_eq(objects_of(n, 1, 0) + objects_of(n, 2, 0), 0);
	cr_assert_geq(stats(&n->a[1]).unproved, 1);
	cr_assert_lt(stats(&n->a[1]).unproved, 10);
	cr_assert(strstr(n->a[1].alarm, "it is not its key"), "%s", n->a[1].alarm);
	n->a[0].doubted = false;
	cr_assert_lt(net_settle(n, 20000), 20000);
	cr_assert_eq(stats(victim).forged, 0);
	net_free(n);
}

/* What was proved before a restart is in the store, its proof is not: it is asked for. */
Test(replica_proof, who_restarts_asks_for_proofs_and_serves_then)
{
	struct net *n = chain();

	n->wanted[0][3] = n->wanted[3][0] = false;
	net_link(n);
	net_pass(n, 2000);
	agent_stop(&n->a[1]);
	agent_start(&n->a[1]);
	net_link(n);
	net_pass(n, 1000);
	cr_assert_eq(n->a[1].flaps, 0);
	agent_stop(&n->a[0]);
	n->wanted[1][3] = n->wanted[3][1] = true;
	net_link(n);
	cr_assert_lt(net_settle(n, 10000), 10000);
	cr_assert_eq(objects_of(n, 3, 0), OBJECTS, "the log of an agent that is gone");
	cr_assert_eq(stats(&n->a[3]).forged, 0);
	net_free(n);
}

/* All others restart while an agent is gone: @p spoil changes what they kept. */
static struct net *all_restart(void (*spoil)(struct agent *a))
{
	struct net *n = chain();

	n->keeps = true;
	cr_assert_lt(net_settle(n, 10000), 10000);
	for (unsigned i = 0; i < n->count; i++)
		agent_stop(&n->a[i]);
	spoil(&n->a[1]);
	spoil(&n->a[3]);
	store_free(n->a[2].store); /* who is to hear of it has nothing */
	n->a[2].store = wm_map_new(NET_OBJECTS);
	n->a[2].kept_count = 0;
	n->a[2].epoch++;
	n->wanted[2][3] = n->wanted[3][2] = true;
	for (unsigned i = 1; i < n->count; i++)
		agent_start(&n->a[i]);
	net_link(n);
	net_pass(n, 10000);
	return n;
}

static void as_it_is(struct agent *a)
{
	(void)a;
}

static void loses_one(struct agent *a)
{
	const struct wm_replica_key k = {"object-3", 8};
	struct record *rec = record_get(a, &a->net->a[0].id, false, &k);

	wm_map_del(a->store, rec->name, rec->name_len);
	record_free(rec);
}

static void lies_of_the_key(struct agent *a)
{
	for (unsigned i = 0; i < a->kept_count; i++)
		a->kept[i].key[0] ^= 1;
}

static void ahead_of_the_store(struct agent *a)
{
	for (unsigned i = 0; i < a->kept_count; i++)
		a->kept[i].p.seq++;
}

Test(replica_proof, a_log_whose_agent_is_gone_is_passed_on_after_all_restarted)
{
	struct net *n = all_restart(as_it_is);

	cr_assert_geq(n->a[1].proved, 1);
	cr_assert_eq(objects_of(n, 2, 0), OBJECTS);
	cr_assert_eq(stats(&n->a[2]).forged + stats(&n->a[2]).unproved, 0);
	net_free(n);
}

Test(replica_proof, a_proof_of_before_is_held_only_of_what_the_store_has)
{
	void (*const spoils[])(struct agent * a) = {loses_one, lies_of_the_key, ahead_of_the_store};

	for (unsigned i = 0; i < 3; i++) {
		struct net *n = all_restart(spoils[i]);

		cr_assert_eq(objects_of(n, 2, 0), 0, "%u", i);
		cr_assert_eq(stats(&n->a[2]).forged, 0, "who cannot prove it does not tell it");
		agent_start(&n->a[0]);
		cr_assert_lt(net_settle(n, 10000), 10000, "%u", i);
		cr_assert_eq(objects_of(n, 2, 0), OBJECTS, "%u", i);
		net_free(n);
	}
}

/* That agent 0's log is longer, each time by more. */
static size_t longer(struct net *n, unsigned to, const uint8_t *p, size_t len, uint8_t *ret)
{
	Wm__Replica__Message *m = read_message(p, len);
	size_t size = 0;

	for (size_t i = 0;
	     !to && m->is_case == WM__REPLICA__MESSAGE__IS_VECTOR && i < m->vector->n_logs; i++) {
		Wm__Replica__Log *l = m->vector->logs[i];

		if (!l->origin.len || l->origin.data[15] != 1)
			continue;
		lies++;
		l->epoch = n->a[0].epoch;
		l->seq = n->a[0].seq + 1000000;
		ret[0] = 0;
		size = 1 + wm__replica__message__pack(m, ret + 1);
	}
	wm__replica__message__free_unpacked(m, NULL);
	return size;
}

Test(replica_proof, that_our_log_is_longer_is_believed_once_without_a_proof)
{
	struct net *n = chain();

	cr_assert_lt(net_settle(n, 10000), 10000);
	lies = 0;
	n->liar = 1;
	n->tamper = longer;
	for (unsigned i = 0; i < 60; i++) {
		put(&n->a[0], "object-1", i % 2 ? "odd" : "even");
		wm_replica_down(n->a[1].r, &n->a[0].id); /* it says what it has */
		wm_replica_up(n->a[1].r, &n->a[0].id);
		net_pass(n, 1000);
	}
	cr_assert_gt(lies, 10);
	cr_assert_eq(stats(&n->a[0]).restored, 1);
	cr_assert_geq(stats(&n->a[0]).foreign, 1);
	n->tamper = NULL;
	cr_assert_lt(net_settle(n, 20000), 20000);
	net_free(n);
}

Test(replica_proof, that_our_log_is_longer_is_believed_of_who_shows_what_we_signed)
{
	struct net *n = chain();
	struct agent *a = &n->a[0];
	struct wm_map *old;
	uint64_t seq;

	cr_assert_lt(net_settle(n, 10000), 10000);
	old = store_copy(a->store);
	seq = a->seq;
	put(a, "object-1", "second");
	cr_assert_lt(net_settle(n, 10000), 10000);
	agent_stop(a);
	store_free(a->store);
	a->store = old;
	a->seq = seq;
	agent_start(a);
	net_link(n);
	cr_assert_lt(net_settle(n, 10000), 10000);
	cr_assert_eq(stats(a).restored, 1);
	cr_assert_not(a->r->believed, "what it signed was shown");
	is(has(&n->a[2], a, "object-1"), "object-1");
	net_free(n);
}
