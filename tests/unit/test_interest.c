/* SPDX-License-Identifier: Apache-2.0 */
/* links: base sync */
/* test_interest.c - a leaf and two full members: what is asked for comes, changes follow, a message
 * that is lost is noticed, a home that is gone is replaced, what nobody asks for goes. */
#include "env_virtual.h"
#include "userspace/base/err.h"
#include "userspace/sync/interest_serve.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(interest, .timeout = 300);

#define HOMES 2

struct home {
	struct desk *d;
	struct wm_peer_id id;
	struct wm_serve *s;
	bool dead, mute;
	unsigned wholes, changes, refused;
};
struct desk {
	struct virtual_env v;
	struct wm_interest *i;
	struct wm_peer_id leaf;
	struct home homes[HOMES];
	unsigned asks, ends, drops, took;
	const char *has; /* the one service that there is */
	char dropped[64];
	int code;
	unsigned called;
};

static bool choose(void *arg, const struct wm_peer_id *before, struct wm_peer_id *ret)
{
	struct desk *d = arg;
	bool found = false;

	for (unsigned n = 0; n < HOMES; n++) {
		if (d->homes[n].dead || (found && !wm_peer_id_same(ret, before)))
			continue;
		*ret = d->homes[n].id;
		found = true;
	}
	return found;
}

static void ask(void *arg, const struct wm_peer_id *to, const char *name, uint32_t number, bool end)
{
	struct desk *d = arg;
	struct home *h = &d->homes[to->octets[0] - 1];

	d->asks++;
	d->ends += end;
	if (!h->dead)
		(void)wm_serve_asked(h->s, &d->leaf, name, number, end);
}

static void drop(void *arg, const char *service)
{
	struct desk *d = arg;

	d->drops++;
	snprintf(d->dropped, sizeof(d->dropped), "%s", service);
}

static void arrive(struct home *h, const char *service, uint32_t number, bool first)
{
	struct desk *d = h->d;

	if (h->mute || !wm_interest_message(d->i, &h->id, service, number, first))
		return;
	d->took++;
	wm_interest_whole(d->i, service, d->has && strcmp(service, d->has) == 0);
}

static uint32_t whole(void *arg, const struct wm_peer_id *leaf, const char *service)
{
	struct home *h = arg;

	(void)leaf;
	h->wholes++;
	arrive(h, service, 1, true);
	return 1;
}

static void changes(void *arg, const struct wm_peer_id *leaf, const char *service, uint32_t number,
		    const struct wm_serve_change *c, unsigned count)
{
	struct home *h = arg;

	(void)leaf;
	(void)c;
	h->changes += count;
	arrive(h, service, number, false);
}

static void tell_names(struct home *h, const char *glob, uint32_t number, const char *name)
{
	char text[64], *list[1] = {text};

	snprintf(text, sizeof(text), "%s", name);
	wm_interest_names(h->d->i, &h->id, glob, number, list, 1);
}

static void names(void *arg, const struct wm_peer_id *leaf, const char *glob)
{
	(void)leaf;
	tell_names(arg, glob, 1, "web-a");
}

static void name(void *arg, const struct wm_peer_id *leaf, const char *glob, uint32_t number,
		 const char *service)
{
	(void)leaf;
	tell_names(arg, glob, number, service);
}

static void refuse(void *arg, const struct wm_peer_id *leaf, const char *what)
{
	struct home *h = arg;

	(void)leaf;
	h->refused++;
	wm_interest_refused(h->d->i, &h->id, what);
}

static void begin(struct desk *d, char *const *globs)
{
	memset(d, 0, sizeof(*d));
	virtual_env_init(&d->v, 1);
	d->leaf.octets[0] = 99;
	for (unsigned n = 0; n < HOMES; n++) {
		struct home *h = &d->homes[n];
		const struct wm_serve_config c = {.env = &d->v.env,
						  .arg = h,
						  .whole = whole,
						  .changes = changes,
						  .names = names,
						  .name = name,
						  .refuse = refuse};

		h->d = d;
		h->id.octets[0] = (uint8_t)(n + 1);
		h->s = wm_serve_new(&c);
		cr_assert_not_null(h->s);
	}
	d->i = wm_interest_new(&(struct wm_interest_config){.env = &d->v.env,
							    .globs = globs,
							    .ttl_ms = 60000,
							    .arg = d,
							    .home = choose,
							    .ask = ask,
							    .drop = drop});
	cr_assert_not_null(d->i);
	cr_assert_eq(wm_interest_start(d->i), 0);
}

static void end(struct desk *d)
{
	wm_interest_free(d->i);
	for (unsigned n = 0; n < HOMES; n++)
		wm_serve_free(d->homes[n].s);
}

static void on_done(void *arg, int code)
{
	struct desk *d = arg;

	d->code = code;
	d->called++;
}

static void change(struct desk *d, const char *service)
{
	const struct wm_serve_change c = {.node = "n", .id = "x"};

	for (unsigned n = 0; n < HOMES; n++)
		if (!d->homes[n].dead)
			wm_serve_changed(d->homes[n].s, service, &c);
	(void)virtual_env_pass(&d->v, WM_SERVE_MS + 1);
}

static struct wm_interest_stats stats(const struct desk *d)
{
	struct wm_interest_stats s;

	wm_interest_stats(d->i, &s);
	return s;
}

static int home(const struct desk *d)
{
	return stats(d).home.octets[0] - 1;
}

Test(interest, what_is_asked_for_comes_and_changes_follow)
{
	struct desk d;

	begin(&d, NULL);
	d.has = "web";
	d.homes[0].mute = true; /* it answers later */
	cr_assert_eq(wm_interest_lookup(d.i, "Web", on_done, &d), 1);
	cr_assert_eq(d.called, 0);
	d.homes[0].mute = false;
	arrive(&d.homes[0], "web", 1, true);
	cr_assert_eq(d.called, 1);
	cr_assert_eq(d.code, 0);
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &d), 0, "it is here");
	cr_assert(wm_interest_wants(d.i, "WEB"));
	change(&d, "web");
	cr_assert_eq(d.took, 2);
	change(&d, "other");
	cr_assert_eq(d.took, 2, "nobody is interested in it");
	(void)virtual_env_pass(&d.v, 20000);
	cr_assert_eq(d.homes[0].wholes, 1, "a renewal in step sends nothing");
	cr_assert_eq(d.homes[1].wholes, 0);
	end(&d);
}

Test(interest, nobody_waits_for_longer_than_the_bound)
{
	struct desk d;

	begin(&d, NULL);
	cr_assert_eq(wm_interest_lookup(d.i, "none", on_done, &d), 0, "its home speaks");
	d.homes[0].mute = d.homes[1].mute = true;
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &d), 1);
	(void)virtual_env_pass(&d.v, WM_INTEREST_WAIT_MS - 1);
	cr_assert_eq(d.called, 0);
	(void)virtual_env_pass(&d.v, 1);
	cr_assert_eq(d.called, 1);
	cr_assert_eq(d.code, WM_E_BUSY);
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &d), 1);
	wm_interest_cancel(d.i, &d);
	(void)virtual_env_pass(&d.v, 500);
	cr_assert_eq(d.called, 1);
	for (unsigned n = 0; n < WM_INTEREST_WAITING_MAX; n++)
		cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &d), 1);
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &d), WM_E_LIMIT);
	end(&d);
}

/* The first second of a leaf: its home is not there yet, or its stream is being opened. */
Test(interest, what_is_asked_before_the_home_speaks_waits_for_its_first_word)
{
	struct desk d;

	begin(&d, NULL);
	d.homes[0].dead = d.homes[1].dead = true;
	wm_interest_down(d.i, &d.homes[0].id);
	cr_assert_eq(home(&d), -1);
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &d), 1);
	(void)virtual_env_pass(&d.v, 10 * WM_INTEREST_WAIT_MS);
	cr_assert_eq(d.called, 0, "it waits for a home");
	d.homes[0].dead = false;
	d.homes[0].mute = true;
	wm_interest_up(d.i);
	cr_assert_eq(home(&d), 0, "it is chosen at once");
	(void)virtual_env_pass(&d.v, 5 * WM_INTEREST_WAIT_MS);
	cr_assert_eq(d.called, 0, "it waits for its answer");
	d.homes[0].mute = false;
	arrive(&d.homes[0], "web", 1, true);
	cr_assert_eq(d.called, 1);
	cr_assert_eq(d.code, 0);
	d.homes[0].mute = true;
	cr_assert_eq(wm_interest_lookup(d.i, "db", on_done, &d), 1);
	(void)virtual_env_pass(&d.v, WM_INTEREST_WAIT_MS);
	cr_assert_eq(d.called, 2, "a home that spoke answers soon, or not");
	cr_assert_eq(d.code, WM_E_BUSY);
	end(&d);
}

Test(interest, where_no_home_comes_the_first_questions_alone_wait_for_long)
{
	struct desk d;

	begin(&d, NULL);
	d.homes[0].dead = d.homes[1].dead = true;
	wm_interest_down(d.i, &d.homes[0].id);
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &d), 1);
	(void)virtual_env_pass(&d.v, WM_INTEREST_HOME_MS / 2);
	cr_assert_eq(wm_interest_lookup(d.i, "db", on_done, &d), 1);
	(void)virtual_env_pass(&d.v, WM_INTEREST_HOME_MS / 2 - 1);
	cr_assert_eq(d.called, 0);
	(void)virtual_env_pass(&d.v, 1);
	cr_assert_eq(d.called, 2, "both: it began with the first");
	cr_assert_eq(d.code, WM_E_BUSY);
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &d), 1);
	(void)virtual_env_pass(&d.v, WM_INTEREST_WAIT_MS);
	cr_assert_eq(d.called, 3, "later ones do not");
	for (unsigned n = 0; n < WM_INTEREST_WAITING_MAX; n++)
		cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &d), 1);
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &d), WM_E_LIMIT);
	end(&d);
}

Test(interest, who_waits_as_the_home_is_lost_waits_for_the_next)
{
	struct desk d;

	begin(&d, NULL);
	d.has = "web";
	cr_assert_eq(wm_interest_lookup(d.i, "none", on_done, &d), 0, "its home speaks");
	d.homes[0].mute = d.homes[1].mute = true;
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &d), 1);
	(void)virtual_env_pass(&d.v, WM_INTEREST_WAIT_MS / 2);
	wm_interest_down(d.i, &d.homes[0].id); /* its stream broke */
	(void)virtual_env_pass(&d.v, 5 * WM_INTEREST_WAIT_MS);
	cr_assert_eq(d.called, 0);
	arrive(&d.homes[home(&d)], "web", 1, true);
	cr_assert_eq(d.called, 0, "not while it is mute");
	d.homes[0].mute = d.homes[1].mute = false;
	arrive(&d.homes[home(&d)], "web", 1, true);
	cr_assert_eq(d.called, 1);
	cr_assert_eq(d.code, 0);
	/* one that is lost again and again keeps nobody for longer */
	d.homes[0].mute = d.homes[1].mute = true;
	cr_assert_eq(wm_interest_lookup(d.i, "db", on_done, &d), 1);
	for (unsigned n = 0; n < 2 * WM_INTEREST_HOME_MS / WM_INTEREST_WAIT_MS; n++) {
		wm_interest_down(d.i, &d.homes[home(&d)].id);
		(void)virtual_env_pass(&d.v, WM_INTEREST_WAIT_MS / 2);
	}
	cr_assert_eq(d.called, 2);
	cr_assert_eq(d.code, WM_E_BUSY);
	end(&d);
}

/* Who is told and takes another with it, as a connection that ends does with all that it asked. */
struct couple {
	struct desk *d;
	unsigned told, cancels;
};

static void on_first(void *arg, int code)
{
	struct couple *c = arg;

	on_done(c->d, code);
	c->told++;
	wm_interest_cancel(c->d->i, &c->cancels);
	c->d->homes[0].mute = true;
	cr_assert_eq(wm_interest_lookup(c->d->i, "none", on_done, c->d), 1);
}

Test(interest, who_is_told_may_cancel_others_and_ask_anew)
{
	struct desk d;
	struct couple c = {.d = &d};

	begin(&d, NULL);
	d.has = "web";
	d.homes[0].mute = true;
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_first, &c), 1);
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &c.cancels), 1);
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &c.cancels), 1);
	d.homes[0].mute = false;
	arrive(&d.homes[0], "web", 1, true);
	cr_assert_eq(c.told, 1);
	cr_assert_eq(d.called, 1, "who was cancelled is not told");
	cr_assert_eq(stats(&d).waiting, 1, "of another service");
	cr_assert_eq(stats(&d).answered, 1);
	end(&d);
}

Test(interest, a_message_that_is_lost_is_noticed)
{
	struct desk d;

	begin(&d, NULL);
	d.has = "web";
	cr_assert_eq(wm_interest_lookup(d.i, "web", NULL, NULL), 0);
	d.homes[0].mute = true;
	change(&d, "web");
	d.homes[0].mute = false;
	change(&d, "web");
	cr_assert_eq(stats(&d).gaps, 1);
	cr_assert_eq(d.homes[0].wholes, 2, "it was asked for whole again");
	d.homes[0].mute = true; /* the last one, behind which nothing comes */
	change(&d, "web");
	d.homes[0].mute = false;
	(void)virtual_env_pass(&d.v, WM_INTEREST_RENEW_MS + 1000);
	cr_assert_eq(d.homes[0].wholes, 3, "the renewal says so");
	end(&d);
}

Test(interest, a_home_that_is_gone_is_replaced)
{
	struct desk d;

	begin(&d, NULL);
	d.has = "web";
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &d), 0);
	cr_assert_eq(home(&d), 0);
	d.homes[0].dead = true;
	wm_interest_down(d.i, &d.homes[0].id);
	cr_assert_eq(home(&d), 1);
	cr_assert_eq(d.homes[1].wholes, 1);
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &d), 0, "what is here is answered");
	arrive(&d.homes[0], "web", 2, false);
	change(&d, "web");
	cr_assert_eq(d.homes[1].changes, 1);
	d.homes[0].dead = false;
	d.homes[1].mute = true; /* it is there and says nothing */
	cr_assert_eq(wm_interest_lookup(d.i, "db", on_done, &d), 1);
	(void)virtual_env_pass(&d.v, 3000);
	cr_assert_eq(home(&d), 0);
	cr_assert_eq(d.homes[0].wholes, 3, "web twice, and db");
	end(&d);
}

Test(interest, a_home_is_chosen_as_soon_as_there_is_one)
{
	struct desk d;

	begin(&d, NULL);
	d.homes[0].dead = d.homes[1].dead = true;
	wm_interest_down(d.i, &d.homes[0].id);
	cr_assert_eq(home(&d), -1);
	d.homes[1].dead = false;
	wm_interest_up(d.i);
	cr_assert_eq(home(&d), 1);
	d.homes[0].dead = false;
	wm_interest_up(d.i);
	cr_assert_eq(home(&d), 1, "there is one");
	end(&d);
}

/* What a home sends when another was chosen was sent for nothing, so slow homes get more time. */
Test(interest, where_all_homes_are_slow_it_does_not_move_all_the_time)
{
	unsigned moved;
	struct desk d;

	begin(&d, NULL);
	d.has = "web";
	d.homes[0].mute = d.homes[1].mute = true;
	cr_assert_eq(wm_interest_lookup(d.i, "web", on_done, &d), 1);
	(void)virtual_env_pass(&d.v, 60000);
	cr_assert_leq(stats(&d).moved, 7, "of 60: %llu", (unsigned long long)stats(&d).moved);
	cr_assert_geq(stats(&d).moved, 5);
	cr_assert_leq(d.homes[0].wholes + d.homes[1].wholes, 11);
	d.homes[0].mute = d.homes[1].mute = false;
	(void)virtual_env_pass(&d.v, WM_INTEREST_SILENT_MAX_MS + 1000);
	cr_assert(wm_interest_lookup(d.i, "web", on_done, &d) == 0, "it is here");
	(void)virtual_env_pass(&d.v, WM_INTEREST_CALM_MS);
	moved = (unsigned)stats(&d).moved;
	d.homes[home(&d)].mute = true;
	cr_assert_eq(wm_interest_lookup(d.i, "db", on_done, &d), 1);
	(void)virtual_env_pass(&d.v, WM_INTEREST_SILENT_MS + 1000);
	cr_assert_eq(stats(&d).moved, moved + 1, "after a minute of calm as at first");
	end(&d);
}

Test(interest, what_nobody_asks_for_goes)
{
	char web[] = "web-*", fixed[] = "fixed", *globs[] = {web, fixed, NULL};
	struct wm_serve_stats s;
	struct desk d;

	begin(&d, globs);
	d.has = "db";
	cr_assert_eq(wm_interest_lookup(d.i, "db", NULL, NULL), 0);
	cr_assert_eq(wm_interest_lookup(d.i, "none", NULL, NULL), 0);
	(void)virtual_env_pass(&d.v, 30000);
	cr_assert(!wm_interest_wants(d.i, "none"), "there is none, which is soon forgotten");
	cr_assert(wm_interest_wants(d.i, "db"));
	cr_assert_eq(wm_interest_lookup(d.i, "db", NULL, NULL), 0);
	(void)virtual_env_pass(&d.v, 59000);
	cr_assert(wm_interest_wants(d.i, "db"), "it was asked for since");
	(void)virtual_env_pass(&d.v, 3000);
	cr_assert(!wm_interest_wants(d.i, "db"));
	cr_assert_str_eq(d.dropped, "db");
	cr_assert(wm_interest_wants(d.i, "fixed"));
	wm_serve_stats(d.homes[0].s, &s);
	cr_assert_eq(s.subscriptions, 2, "the glob and the name that are fixed");
	end(&d);
}

Test(interest, a_glob_brings_what_fits_it)
{
	char web[] = "web-*", *globs[] = {web, NULL};
	struct desk d;

	begin(&d, globs);
	cr_assert(wm_interest_wants(d.i, "web-a"));
	d.has = "web-b";
	wm_serve_created(d.homes[0].s, "db");
	wm_serve_created(d.homes[0].s, "web-b");
	cr_assert(wm_interest_wants(d.i, "web-b"));
	cr_assert(!wm_interest_wants(d.i, "db"));
	(void)virtual_env_pass(&d.v, 200000);
	cr_assert(wm_interest_wants(d.i, "web-b"), "it fits, whoever asks");
	cr_assert(!wm_interest_wants(d.i, "web-a"), "it has no instance");
	end(&d);
}

Test(interest, one_leaf_does_not_take_all)
{
	struct desk d;
	struct wm_peer_id id = {{7}};
	char text[32];

	begin(&d, NULL);
	for (unsigned n = 0; n < WM_INTERESTS_MAX; n++) {
		snprintf(text, sizeof(text), "s%u", n);
		cr_assert_eq(wm_serve_asked(d.homes[0].s, &d.leaf, text, 0, false), 0);
	}
	cr_assert_eq(wm_serve_asked(d.homes[0].s, &d.leaf, "more", 0, false), WM_E_LIMIT);
	cr_assert_eq(d.homes[0].refused, 1);
	cr_assert_eq(wm_serve_asked(d.homes[0].s, &id, "more", 0, false), 0, "another may");
	for (unsigned n = 0; n < WM_INTERESTS_MAX; n++) {
		snprintf(text, sizeof(text), "s%u", n);
		(void)wm_interest_lookup(d.i, text, NULL, NULL);
	}
	cr_assert_eq(wm_interest_lookup(d.i, "more", on_done, &d), WM_E_LIMIT);
	wm_serve_gone(d.homes[0].s, &d.leaf);
	cr_assert_eq(wm_serve_asked(d.homes[0].s, &d.leaf, "more", 0, false), 0);
	end(&d);
}

Test(interest, many_changes_of_a_service_are_its_whole)
{
	struct wm_serve_change c = {.node = "n"};
	struct desk d;

	begin(&d, NULL);
	(void)wm_interest_lookup(d.i, "web", NULL, NULL);
	for (unsigned n = 0; n < WM_SERVE_CHANGES + 1; n++) {
		snprintf(c.id, sizeof(c.id), "i%u", n);
		wm_serve_changed(d.homes[0].s, "web", &c);
		wm_serve_changed(d.homes[0].s, "web", &c);
	}
	(void)virtual_env_pass(&d.v, WM_SERVE_MS);
	cr_assert_eq(d.homes[0].wholes, 2);
	cr_assert_eq(d.homes[0].changes, 0);
	end(&d);
}

/* Messages that no home sends. */
Test(interest, numbers_that_make_no_sense_change_nothing)
{
	char web[] = "web-*", fits[] = "web-x", *globs[] = {web, NULL}, *names[] = {fits};
	const struct wm_peer_id stranger = {{77}};
	unsigned asks;
	struct desk d;

	begin(&d, globs);
	d.homes[0].mute = true;
	cr_assert_eq(wm_interest_lookup(d.i, "db", on_done, &d), 1);
	cr_assert(!wm_interest_message(d.i, &stranger, "db", 1, true), "of whom nothing was asked");
	cr_assert(!wm_interest_message(d.i, &d.homes[1].id, "db", 1, true), "of another member");
	cr_assert(!wm_interest_message(d.i, &d.homes[0].id, "none", 1, true), "not asked for");
	cr_assert(!wm_interest_message(d.i, &d.homes[0].id, "db", 0, true), "there is no number 0");
	cr_assert(!wm_interest_message(d.i, &d.homes[0].id, "db", 1, false), "it is not the first");
	cr_assert(!wm_interest_message(d.i, &d.homes[0].id, web, 1, true), "a glob is no service");
	cr_assert_eq(d.called, 0, "nobody was answered by it");
	cr_assert(wm_interest_message(d.i, &d.homes[0].id, "db", 1, true));
	asks = d.asks;
	for (uint32_t n = 5; n < 5000; n++) /* each is a gap: it asks for the whole, once */
		cr_assert(!wm_interest_message(d.i, &d.homes[0].id, "db", n * 77, false));
	cr_assert_eq(d.asks, asks + 1);
	cr_assert_eq(stats(&d).gaps, 1);
	wm_interest_names(d.i, &stranger, web, 1, names, 1);
	wm_interest_names(d.i, &d.homes[0].id, "db", 1, names, 1);
	cr_assert(!wm_interest_wants(d.i, fits));
	*fits = 'x'; /* which does not fit the glob */
	wm_interest_names(d.i, &d.homes[0].id, web, 1, names, 1);
	cr_assert(!wm_interest_wants(d.i, fits));
	end(&d);
}
