/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security sync */
/* test_replica_hostile.c - a peer with a valid certificate that lies: about logs that are not its
 * own, sizes, positions, pages without end. It is refused and counted, and what is here stays. */
#include "replica_net.h"
#include "userspace/sync/replica.pb-c.h"

#include <zstd.h>

TestSuite(replica_hostile, .timeout = 300);

static uint8_t wire[8 << 20];

/* A message as it is, without compression. */
static size_t plain(const Wm__Replica__Message *m)
{
	cr_assert_lt(wm__replica__message__get_packed_size(m), sizeof(wire));
	wire[0] = 0;
	return 1 + wm__replica__message__pack(m, wire + 1);
}

/* The liar is agent 1; agent 0 listens, and has something of its own. */
static struct net *listener(void)
{
	struct net *n = net_new(3, 1);

	net_start(n);
	put(&n->a[0], "own", "mine");
	put(&n->a[2], "other", "theirs");
	cr_assert_lt(net_settle(n, 5000), 5000);
	return n;
}

static int hear(struct net *n, bool spread, size_t len)
{
	struct wm_err e = {0};
	uint8_t *copy = malloc(len ? len : 1); /* exact: a read behind the end is seen */
	int err;

	memcpy(copy, wire, len);
	err = spread ? wm_replica_spread(n->a[0].r, &n->a[1].id, copy, len, &e)
		     : wm_replica_receive(n->a[0].r, &n->a[1].id, copy, len, &e);
	cr_assert(!err || (err == WM_E_INVALID && *e.text), "%d %s", err, e.text);
	free(copy);
	return err;
}

static void still_well(struct net *n)
{
	is(has(&n->a[0], &n->a[0], "own"), "mine");
	is(has(&n->a[0], &n->a[2], "other"), "theirs");
	cr_assert_lt(net_settle(n, 20000), 20000);
	net_check(n);
}

static ProtobufCBinaryData octets(const void *p, size_t len)
{
	return (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)p};
}

struct batch {
	Wm__Replica__Message m;
	Wm__Replica__Batch b;
	Wm__Replica__Change c, *list[2];
};

static void batch_init(struct batch *x, const struct agent *origin)
{
	wm__replica__message__init(&x->m);
	wm__replica__batch__init(&x->b);
	wm__replica__change__init(&x->c);
	x->m.is_case = WM__REPLICA__MESSAGE__IS_BATCH;
	x->m.batch = &x->b;
	x->b.changes = x->list;
	x->b.n_changes = 1;
	x->list[0] = x->list[1] = &x->c;
	x->b.origin = octets(origin->id.octets, 16);
	x->b.epoch = origin->epoch;
	x->b.after = origin->seq;
	x->b.upto = origin->seq + 1;
	x->c.seq = origin->seq + 1;
	x->c.key = octets("other", 5);
	x->c.object = octets("forged", 6);
}

Test(replica_hostile, who_claims_our_own_log_is_counted_and_not_heard)
{
	struct net *n = listener();
	struct batch x;

	batch_init(&x, &n->a[0]);
	x.c.key = octets("own", 3);
	cr_assert_eq(hear(n, true, plain(&x.m)), 0, "who relays it may be honest");
	cr_assert_eq(stats(&n->a[0]).foreign, 1);
	still_well(n);
	net_free(n);
}

/* Its stream went while its vector was read: what it has is not waited for. */
Test(replica_hostile, who_is_not_there_any_more_is_asked_for_nothing)
{
	struct net *n = listener();
	Wm__Replica__Message m = WM__REPLICA__MESSAGE__INIT;
	Wm__Replica__Vector v = WM__REPLICA__VECTOR__INIT;
	Wm__Replica__Log l = WM__REPLICA__LOG__INIT, *list[] = {&l};
	uint8_t digest[16] = {0};

	m.is_case = WM__REPLICA__MESSAGE__IS_VECTOR;
	m.vector = &v;
	v.n_logs = 1;
	v.logs = list;
	l.origin = octets(n->a[2].id.octets, 16);
	l.epoch = n->a[2].epoch;
	l.seq = n->a[2].seq + 1;
	l.digest = octets(digest, sizeof(digest));
	n->wanted[0][1] = n->wanted[1][0] = false;
	net_link(n);
	cr_assert_eq(hear(n, false, plain(&m)), 0);
	n->drop_news = true;
	put(&n->a[2], "late", "theirs");
	still_well(n);
	is(has(&n->a[0], &n->a[2], "late"), "theirs");
	net_free(n);
}

/* What a leaf may say is checked before it is told to others. */
Test(replica_hostile, news_is_of_one_log_or_not)
{
	struct net *n = listener();
	struct batch x;
	size_t len;

	batch_init(&x, &n->a[2]);
	len = plain(&x.m);
	cr_assert(wm_replica_news_is_of(n->a[0].r, &n->a[2].id, wire, len));
	cr_assert_not(wm_replica_news_is_of(n->a[0].r, &n->a[1].id, wire, len));
	cr_assert_not(wm_replica_news_is_of(n->a[0].r, &n->a[2].id, wire, len - 1));
	x.b.origin.len = 0; /* shared objects */
	len = plain(&x.m);
	cr_assert_not(wm_replica_news_is_of(n->a[0].r, &n->a[2].id, wire, len));
	net_free(n);
}

/* News of an agent of another version: what it says is asked for, and comes without. */
Test(replica_hostile, news_in_an_unknown_dictionary_is_asked_for)
{
	struct net *n = listener();
	struct batch x;

	batch_init(&x, &n->a[2]);
	plain(&x.m);
	wire[0] = 2;
	wire[1] = 77;
	n->drop_news = true;
	n->wanted[0][1] = n->wanted[1][0] = false;
	net_link(n);
	put(&n->a[2], "late", "theirs");
	net_pass(n, 20);
	is(has(&n->a[0], &n->a[2], "late"), NULL);
	cr_assert_eq(hear(n, true, 60), 0);
	net_pass(n, 40); /* long before summaries are compared */
	is(has(&n->a[0], &n->a[2], "late"), "theirs");
	cr_assert_eq(stats(&n->a[0]).dictionaries, 1);
	cr_assert_eq(hear(n, false, 60), WM_E_INVALID, "to one alone nobody sends it so");
	still_well(n);
	net_free(n);
}

/* Frames of zstd behind the number of the dictionary. */
Test(replica_hostile, what_a_dictionary_makes_too_large_is_refused)
{
	struct net *n = listener();
	size_t len = 8 << 20, got;
	char *zeros = calloc(1, len);
	ZSTD_CCtx *c = ZSTD_createCCtx();

	wire[0] = 2;
	wire[1] = 1;
	got = ZSTD_compressCCtx(c, wire + 2, sizeof(wire) - 2, zeros, len, 1);
	cr_assert_eq(hear(n, true, 2 + got), WM_E_INVALID, "a bomb");
	ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);
	got = ZSTD_compress2(c, wire + 2, sizeof(wire) - 2, zeros, 4096);
	cr_assert_eq(hear(n, true, 2 + got), WM_E_INVALID, "it says no size");
	ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 1);
	got = ZSTD_compress2(c, wire + 2, sizeof(wire) - 2, zeros, 4096);
	cr_assert_eq(hear(n, true, 2 + got - 1), WM_E_INVALID, "it is cut off");
	for (size_t i = 0; i < 8; i++)
		cr_assert_eq(hear(n, true, i < 2 ? i + 1 : i), WM_E_INVALID, "%zu octets", i);
	ZSTD_freeCCtx(c);
	free(zeros);
	still_well(n);
	net_free(n);
}

/* A vector that knows more of our log would make us begin a new epoch: not one beyond the time. */
Test(replica_hostile, an_epoch_of_ours_beyond_the_time_is_refused)
{
	struct net *n = listener();
	Wm__Replica__Message m = WM__REPLICA__MESSAGE__INIT;
	Wm__Replica__Vector v = WM__REPLICA__VECTOR__INIT;
	Wm__Replica__Log l = WM__REPLICA__LOG__INIT, *list[] = {&l};
	uint8_t digest[16] = {0};
	uint32_t epoch = n->a[0].epoch;

	m.is_case = WM__REPLICA__MESSAGE__IS_VECTOR;
	m.vector = &v;
	v.logs = list;
	v.n_logs = 1;
	l.origin = octets(n->a[0].id.octets, 16);
	l.epoch = UINT32_MAX;
	l.seq = 1;
	l.digest = octets(digest, 16);
	cr_assert_eq(hear(n, false, plain(&m)), 0);
	cr_assert_eq(n->a[0].epoch, epoch);
	cr_assert_eq(stats(&n->a[0]).foreign, 1);
	cr_assert_eq(stats(&n->a[0]).restored, 0);
	still_well(n);
	net_free(n);
}

Test(replica_hostile, a_batch_that_is_not_right_ends_the_stream)
{
	struct net *n = listener();
	char key[WM_REPLICA_KEY_MAX + 1] = {0};
	char *big = calloc(1, WM_REPLICA_OBJECT_MAX + 1);
	unsigned refused = 0;

	for (unsigned i = 0; i < 15; i++) {
		struct batch x;

		batch_init(&x, &n->a[2]);
		switch (i) {
		case 0:
			x.b.origin.len = 15;
			break;
		case 1:
			x.b.origin = octets(key, 16);
			break;
		case 2:
			x.b.epoch = 0;
			break;
		case 3:
			x.b.upto = x.b.after - 1;
			break;
		case 4:
			x.c.seq = x.b.upto + 1;
			break;
		case 5:
			x.c.seq = x.b.after;
			break;
		case 6:
			x.c.epoch = x.b.epoch + 1;
			break;
		case 7:
			x.c.key = octets(key, sizeof(key));
			break;
		case 8:
			x.c.object.len = 0;
			break;
		case 9:
			x.c.gone = true;
			break;
		case 10:
			x.c.object = octets(big, WM_REPLICA_OBJECT_MAX + 1);
			break;
		case 11:
			x.b.n_changes = 2;
			break;
		case 12:
			x.b.digest = octets(key, 15);
			break;
		case 13:
			x.c.writer = octets(n->a[1].id.octets, 16);
			break;
		case 14:
			x.b.origin.len = 0; /* shared: without writer and node */
			x.b.epoch = 0;
			break;
		default:
			break;
		}
		cr_assert_eq(hear(n, true, plain(&x.m)), WM_E_INVALID, "case %u", i);
		cr_assert_eq(stats(&n->a[0]).malformed, ++refused);
	}
	still_well(n);
	free(big);
	net_free(n);
}

static size_t zstd_of(const void *p, size_t len, uint32_t claimed)
{
	size_t n = ZSTD_compress(wire + 5, sizeof(wire) - 5, p, len, 3);

	cr_assert(!ZSTD_isError(n));
	wire[0] = 1;
	for (int i = 0; i < 4; i++)
		wire[1 + i] = (uint8_t)(claimed >> (24 - 8 * i));
	return 5 + n;
}

/* Little that becomes much: it is refused by what it claims, by what it turns out to be, and by
 * what unpacking it would take. */
Test(replica_hostile, a_bomb_is_refused)
{
	struct net *n = listener();
	size_t len = 64 << 20;
	uint8_t *zeroes = calloc(1, len);
	size_t small;

	small = zstd_of(zeroes, len, (uint32_t)len);
	cr_assert_lt(small, 1 << 16);
	cr_assert_eq(hear(n, false, small), WM_E_INVALID);
	cr_assert_eq(hear(n, false, zstd_of(zeroes, len, 1000)), WM_E_INVALID);
	cr_assert_eq(hear(n, false, zstd_of(zeroes, 1000, 2000)), WM_E_INVALID);
	cr_assert_eq(hear(n, false, 3), WM_E_INVALID);
	/* a batch of a million changes of no octets: 2 MB that would take 150 */
	zeroes[0] = 0x0a;
	len = 2000000;
	for (size_t at = 1, left = len; left || at < 5; at++, left >>= 7)
		zeroes[at] = (uint8_t)((left & 0x7f) | (at < 4 ? 0x80 : 0));
	for (size_t at = 5; at < 5 + len; at += 2)
		zeroes[at] = 0x32;
	cr_assert_eq(hear(n, false, zstd_of(zeroes, 5 + len, (uint32_t)(5 + len))), WM_E_INVALID);
	still_well(n);
	free(zeroes);
	net_free(n);
}

Test(replica_hostile, octets_by_chance_are_refused)
{
	struct net *n = listener();

	for (unsigned i = 0; i < 20000; i++) {
		size_t len = net_below(n, 200);

		for (size_t k = 0; k < len; k++)
			wire[k] = (uint8_t)net_below(n, k ? 256 : 3);
		hear(n, net_below(n, 2), len);
	}
	still_well(n);
	net_free(n);
}

/* --- an agent that answers what it likes
 * ------------------------------------------------------------ */
static struct {
	uint32_t number;
	unsigned pulls;
	uint64_t seq; /* asked from */
} asked;

static void liar_hears(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	Wm__Replica__Message *m;

	(void)arg, (void)to;
	if (((const uint8_t *)p)[0])
		return; /* compressed: none of those that count here */
	m = wm__replica__message__unpack(NULL, len - 1, (const uint8_t *)p + 1);
	cr_assert_not_null(m);
	if (m->is_case == WM__REPLICA__MESSAGE__IS_PULL) {
		asked.number = m->pull->number;
		asked.seq = m->pull->n_wants ? m->pull->wants[0]->seq : 0;
		asked.pulls++;
	}
	wm__replica__message__free_unpacked(m, NULL);
}

static void no_spread(void *arg, const void *p, size_t len)
{
	(void)arg, (void)p, (void)len;
}

/* One agent, and the liar as its only peer, that says to have a log of number 9. */
static struct net *with_liar(unsigned objects_max)
{
	struct net *n = net_new(1, 1);
	struct agent *a = &n->a[0];
	struct wm_replica_config c = {.env = &a->env,
				      .id = a->id,
				      .epoch = a->epoch,
				      .objects_max = objects_max,
				      .arg = a,
				      .read = net_read,
				      .take = net_take,
				      .send = liar_hears,
				      .spread = no_spread,
				      .alarm = net_alarm};
	Wm__Replica__Message m = WM__REPLICA__MESSAGE__INIT;
	Wm__Replica__Vector v = WM__REPLICA__VECTOR__INIT;
	Wm__Replica__Log l = WM__REPLICA__LOG__INIT, *list[] = {&l};
	uint8_t digest[16] = {0};

	memset(&asked, 0, sizeof(asked));
	a->r = wm_replica_new(&c);
	n->a[1].id.octets[15] = 2;
	n->a[1].id.octets[0] = 1;
	wm_replica_up(a->r, &n->a[1].id);
	m.is_case = WM__REPLICA__MESSAGE__IS_VECTOR;
	m.vector = &v;
	v.first = v.last = true;
	v.logs = list;
	v.n_logs = 1;
	l.origin = octets(n->a[1].id.octets, 16);
	l.epoch = 5;
	l.seq = UINT64_MAX;
	l.digest = octets(digest, 16);
	cr_assert_eq(hear(n, false, plain(&m)), 0);
	cr_assert_eq(asked.pulls, 1);
	return n;
}

/* The next page: @p count changes from @p seq on, all of one name or each of its own. */
static int page(struct net *n, uint64_t seq, unsigned count, bool one_name, uint64_t at_seq)
{
	Wm__Replica__Message m = WM__REPLICA__MESSAGE__INIT;
	Wm__Replica__Page p = WM__REPLICA__PAGE__INIT;
	Wm__Replica__Part part = WM__REPLICA__PART__INIT, *parts[] = {&part};
	static Wm__Replica__Change changes[1000], *list[1000];
	static char names[1000][24];

	m.is_case = WM__REPLICA__MESSAGE__IS_PAGE;
	m.page = &p;
	p.number = asked.number;
	p.parts = parts;
	p.n_parts = 1;
	part.origin = octets(n->a[1].id.octets, 16);
	part.epoch = part.at_epoch = 5;
	part.seq = UINT64_MAX;
	part.at_seq = at_seq;
	part.n_changes = count;
	part.changes = list;
	for (unsigned i = 0; i < count; i++) {
		int len = snprintf(names[i], sizeof(names[i]), "n%llu",
				   (unsigned long long)(one_name ? 0 : seq + i));

		list[i] = &changes[i];
		wm__replica__change__init(&changes[i]);
		changes[i].seq = seq + i;
		changes[i].epoch = 5;
		changes[i].key = octets(names[i], (size_t)len);
		changes[i].object = octets("x", 1);
	}
	return hear(n, false, plain(&m));
}

static void liar_free(struct net *n)
{
	n->count = 1;
	net_free(n);
}

Test(replica_hostile, a_page_that_was_not_asked_for_is_passed_over)
{
	struct net *n = with_liar(1000);

	asked.number++;
	cr_assert_eq(page(n, 1, 1, false, 1), 0);
	cr_assert_eq(wm_replica_objects(n->a[0].r), 0);
	cr_assert_eq(stats(&n->a[0]).stale, 1);
	liar_free(n);
}

Test(replica_hostile, pages_that_go_back_end_the_stream)
{
	struct net *n = with_liar(1000);

	cr_assert_eq(page(n, 10, 5, false, 14), 0);
	cr_assert_eq(asked.pulls, 2);
	cr_assert_eq(asked.seq, 14);
	cr_assert_eq(page(n, 12, 5, false, 16), WM_E_INVALID);
	cr_assert_eq(wm_replica_objects(n->a[0].r), 5);
	liar_free(n);
}

Test(replica_hostile, pages_without_end_end_the_stream)
{
	struct net *n = with_liar(1000);
	uint64_t seq = 1;
	int err = 0;

	for (unsigned i = 0; i < 100000 && !err; i++, seq++)
		err = page(n, seq, 1, true, seq); /* the same name, ever newer */
	cr_assert_eq(err, WM_E_INVALID);
	cr_assert_leq(seq, 5000);
	liar_free(n);
}

Test(replica_hostile, pages_that_bring_nothing_are_given_up)
{
	struct net *n = with_liar(1000);
	unsigned i;

	for (i = 0; i < 1000; i++) {
		unsigned before = asked.pulls;

		cr_assert_eq(page(n, 1, 0, false, 0), 0);
		net_pass(n, 100);
		if (asked.pulls == before)
			break;
	}
	cr_assert_lt(i, 1000);
	liar_free(n);
}

Test(replica_hostile, objects_beyond_the_bound_are_not_taken)
{
	struct net *n = with_liar(100);

	cr_assert_eq(page(n, 1, 90, false, 90), 0);
	cr_assert_eq(wm_replica_objects(n->a[0].r), 90);
	cr_assert_eq(page(n, 91, 20, false, 110), 0);
	cr_assert_eq(wm_replica_objects(n->a[0].r), 90, "all of a page or none of it");
	cr_assert_eq(stats(&n->a[0]).full, 1);
	put(&n->a[0], "own", "goes on");
	cr_assert_eq(wm_replica_objects(n->a[0].r), 91);
	liar_free(n);
}
