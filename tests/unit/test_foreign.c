/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry */
/* test_foreign.c - objects of other agents: two registries, of which one is told what the other
 * says. */
#include "foreign_help.h"

TestSuite(foreign, .init = make_dir, .fini = rm_dir, .timeout = 300);

/* What is at its owner is the same elsewhere, in whatever order it comes, and after a restart. */
Test(foreign, objects_are_what_they_are_at_their_owner)
{
	for (int backwards = 0; backwards < 2; backwards++) {
		struct wm_registry *a = open_as("owner", backwards ? "a1" : "a0");
		struct wm_registry *b = open_as("other", backwards ? "b1" : "b0");
		const struct wm_instance *i;
		char *before, *after;

		put_checked(a, "w1", 80);
		put_checked(a, "w2", 81);
		cr_assert_eq(wm_registry_set_status(a, wm_registry_check(a, "service:w1"),
						    WM_PASSING, "fine"),
			     1);
		tell_all(a, b, backwards);
		cr_assert_eq(result.taken, 3, "%u %s", result.taken, result.text);
		i = at(b, "owner", "w1");
		cr_assert_not_null(i);
		cr_assert(wm_instance_foreign(i));
		cr_assert_str_eq(i->name, "Web");
		cr_assert_str_eq(i->meta[0].value, "1.2");
		cr_assert_eq(i->tags_count, 2);
		cr_assert_eq(i->status, WM_PASSING);
		cr_assert_str_eq(i->checks[0]->output, "fine");
		cr_assert_eq(i->checks[0]->kind, WM_CHECK_TTL);
		cr_assert_eq(i->checks[0]->ttl_ms, 60000);
		cr_assert_eq(i->version.seq, wm_registry_instance(a, "w1")->version.seq);
		cr_assert_eq(at(b, "owner", "w2")->status, WM_CRITICAL);
		cr_assert_str_eq(node_at(b, "owner")->id, wm_registry_node(a)->id);
		cr_assert_str_eq(node_at(b, "owner")->address, "10.0.0.9");
		cr_assert_eq(i->addr4.s_addr, node_at(b, "owner")->addr4.s_addr);
		cr_assert_eq(wm_registry_service(b, "web")->instances_count, 2);
		before = show(b);
		wm_registry_close(b);
		b = open_as("other", backwards ? "b1" : "b0");
		after = show(b);
		cr_assert_eq(at(b, "owner", "w1")->version.seq,
			     wm_registry_instance(a, "w1")->version.seq);
		cr_assert_eq(serf(b, "owner")->status, WM_PASSING);
		tell_all(a, b, backwards);
		cr_assert_eq(result.stale, 3);
		free(before);
		free(after);
		wm_registry_close(a);
		wm_registry_close(b);
	}
}

/* Who is asked for what another said gives the same octets. */
Test(foreign, objects_are_told_on_as_they_came)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_peer_id id;
	struct wm_buf octets;
	struct told t;
	uint32_t epoch;

	put_checked(a, "w1", 80);
	tell_all(a, b, false);
	t = object(a, "w1");
	wm_registry_origin(a, &id, &epoch);
	wm_buf_init(&octets, WM_RECORD_MAX);
	cr_assert_eq(wm_registry_object_encode(b, &id, false, NULL, "w1", &octets), 0);
	cr_assert_eq(octets.len, t.object.len);
	cr_assert_arr_eq(octets.data, t.object.data, octets.len);
	cr_assert_eq(wm_registry_object_encode(b, &id, false, NULL, "none", &octets), WM_E_UNKNOWN);
	cr_assert_eq(wm_registry_object_encode(b, &id, false, NULL, "", &octets), 0);
	wm_buf_done(&octets);
	free_told(&t);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* Nobody hears of an object that is the same but for its version, which is kept all the same. */
Test(foreign, what_is_the_same_does_not_flap)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_buf heard;
	struct told t;
	uint64_t index;

	put_checked(a, "w1", 80);
	tell_all(a, b, false);
	wm_buf_init(&heard, 1 << 20);
	cr_assert_eq(wm_registry_subscribe(b, record_change, &heard), 0);
	index = wm_registry_index(b);
	for (int n = 0; n < 2; n++) {
		t = object(a, n ? "" : "w1");
		t.c.node = t.node;
		t.c.id = t.id;
		t.c.version.epoch += 7;
		tell_one(b, &t.c);
		cr_assert_eq(result.taken, 1);
		cr_assert_eq(result.unchanged, 1);
		free_told(&t);
	}
	cr_assert_eq(heard.len, 0, "%s", heard.data);
	cr_assert_eq(wm_registry_index(b), index);
	wm_buf_done(&heard);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_gt(wm_registry_index(b), index, "whether the owner is alive is not stored");
	cr_assert_eq(at(b, "owner", "w1")->version.epoch,
		     wm_registry_instance(a, "w1")->version.epoch + 7);
	cr_assert_eq(node_at(b, "owner")->holder->version.epoch,
		     wm_registry_instance(a, "w1")->version.epoch + 7);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* A status is announced as one, on the object that is there; the last of a batch stands. */
Test(foreign, statuses_are_as_their_owner_states_them)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_foreign_change all[2];
	const struct wm_instance *i;
	struct wm_buf heard;
	struct told t[2];

	put_checked(a, "w1", 80);
	tell_all(a, b, false);
	i = at(b, "owner", "w1");
	wm_buf_init(&heard, 1 << 20);
	cr_assert_eq(wm_registry_subscribe(b, record_change, &heard), 0);
	wm_registry_set_status(a, wm_registry_check(a, "service:w1"), WM_PASSING, "up");
	store_statuses(a);
	tell(a, "w1", b);
	cr_assert_eq(result.taken, 1);
	cr_assert_eq(result.unchanged, 1, "no object changed");
	cr_assert_eq(at(b, "owner", "w1"), i);
	cr_assert_eq(i->status, WM_PASSING);
	cr_assert_str_eq(i->checks[0]->output, "up");
	cr_assert_str_eq(heard.data, "status web/w1/service:w1;");
	for (unsigned n = 0; n < 2; n++) {
		wm_registry_set_status(a, wm_registry_check(a, "service:w1"),
				       n ? WM_PASSING : WM_CRITICAL, n ? "again" : "down");
		store_statuses(a);
		t[n] = object(a, "w1");
		t[n].c.node = t[n].node;
		t[n].c.id = t[n].id;
		all[n] = t[n].c;
	}
	cr_assert_eq(wm_registry_foreign(b, all, 2, on_result, NULL, NULL), 0);
	wm_registry_finish(b);
	cr_assert_eq(i->status, WM_PASSING);
	cr_assert_str_eq(i->checks[0]->output, "again");
	all[1] = all[0];
	tell_one(b, all);
	cr_assert_eq(result.stale, 1);
	free_told(&t[0]);
	free_told(&t[1]);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_eq(at(b, "owner", "w1")->status, WM_PASSING);
	wm_buf_done(&heard);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* A tombstone removes, stays, and keeps what is older from coming back; also of what never was. */
Test(foreign, the_dead_stay_dead)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b"),
			   *c = open_as("third", "c");
	struct told t;

	put_checked(a, "w1", 80);
	t = object(a, "w1");
	t.c.node = t.node;
	t.c.id = t.id;
	tell_all(a, b, false);
	cr_assert_eq(del(a, "w1"), 0);
	tell_all(a, b, false);
	cr_assert_eq(result.taken, 1, "%u %u %s", result.taken, result.stale, result.text);
	cr_assert_null(at(b, "owner", "w1"));
	cr_assert_null(wm_registry_service(b, "web"));
	for (int n = 0; n < 2; n++) { /* also after a restart */
		tell_one(b, &t.c);
		cr_assert_eq(result.stale, 1);
		cr_assert_null(at(b, "owner", "w1"));
		wm_registry_close(b);
		b = open_as("other", "b");
	}
	tell_all(a, c, true); /* from nothing, and before its node is known */
	cr_assert_eq(result.taken, 2);
	for (int n = 0; n < 2; n++) {
		tell_one(c, &t.c);
		cr_assert_eq(result.stale, 1, "%u %s", n, result.text);
		cr_assert_null(at(c, "owner", "w1"));
		wm_registry_close(c);
		c = open_as("third", "c");
	}
	put_checked(a, "w1", 81);
	tell(a, "w1", c);
	cr_assert_eq(result.taken, 1);
	cr_assert_eq(at(c, "owner", "w1")->port, 81);
	cr_assert_eq(c->history.count, 0);
	free_told(&t);
	wm_registry_close(a);
	wm_registry_close(b);
	wm_registry_close(c);
}

/* --- what is refused -------------------------------------------------------------------------- */
Test(foreign, what_is_this_agents_own_is_nobody_elses)
{
	struct wm_registry *a = open_as("same", "a"), *b = open_as("Same", "b");
	struct told t;
	uint32_t epoch;

	put_checked(a, "w1", 80);
	put_checked(b, "w1", 90);
	tell_all(a, b, false);
	cr_assert_eq(result.refused, 2);
	cr_assert_eq(result.code, WM_E_CONFLICT);
	cr_assert_not_null(strstr(result.text, "\"Same\" is this agent's"), "%s", result.text);
	cr_assert_eq(wm_registry_instance(b, "w1")->port, 90);
	t = object(a, "w1"); /* of its own log */
	t.c.node = t.node;
	t.c.id = t.id;
	wm_registry_origin(b, &t.c.version.writer, &epoch);
	tell_one(b, &t.c);
	cr_assert_eq(result.code, WM_E_CONFLICT);
	cr_assert_eq(wm_registry_nodes(b), 1);
	free_told(&t);
	wm_registry_close(a);
	wm_registry_close(b);
}

Test(foreign, a_node_is_of_one_agent)
{
	struct wm_registry *a = open_as("twice", "a"), *c = open_as("twice", "c"),
			   *b = open_as("other", "b");

	put_checked(a, "w1", 80);
	put_checked(c, "w2", 81);
	tell_all(a, b, false);
	tell_all(c, b, false);
	cr_assert_eq(result.refused, 2);
	cr_assert_eq(result.code, WM_E_CONFLICT);
	cr_assert_not_null(strstr(result.text, "claimed by two agents"), "%s", result.text);
	cr_assert_not_null(strstr(result.text, wm_registry_node(a)->id));
	cr_assert_null(at(b, "twice", "w2"));
	/* a machine that was replaced, whose disk is lost */
	cr_assert_eq(wm_registry_set_alive(b, "twice", false, NULL), 0);
	tell_all(c, b, true);
	cr_assert_eq(result.taken, 2, "%s", result.text);
	cr_assert_null(at(b, "twice", "w1"));
	cr_assert_not_null(at(b, "twice", "w2"));
	cr_assert_str_eq(node_at(b, "twice")->id, wm_registry_node(c)->id);
	cr_assert_eq(serf(b, "twice")->status, WM_PASSING);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_not_null(at(b, "twice", "w2"));
	wm_registry_close(a);
	wm_registry_close(b);
	wm_registry_close(c);
}

/* They come over the network. */
Test(foreign, hostile_records_are_refused)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct told t;

	put_checked(a, "w1", 80);
	t = object(a, "w1");
	t.c.node = t.node;
	t.c.id = t.id;
	for (size_t len = 0; len < t.object.len; len++) {
		t.c.len = len;
		tell_one(b, &t.c);
		cr_assert_eq(result.refused, 1);
		cr_assert_eq(result.code, WM_E_INVALID);
	}
	t.c.len = t.object.len;
	t.object.data[2] = 99;
	tell_one(b, &t.c);
	cr_assert_eq(result.code, WM_E_STORE_VERSION);
	t.object.data[2] = 11;
	for (size_t n = 4; n < t.object.len; n++) {
		t.object.data[n] ^= 1;
		tell_one(b, &t.c);
		cr_assert_eq(result.refused, 1);
		t.object.data[n] ^= 1;
	}
	t.c.id = "else";
	tell_one(b, &t.c);
	cr_assert_eq(result.code, WM_E_INVALID);
	t.c.id = t.id;
	t.c.version.origin = WM_ORIGIN_SHARED; /* a check that we would have to run, perhaps */
	tell_one(b, &t.c);
	cr_assert_eq(result.code, WM_E_INVALID);
	t.c.version.origin = WM_ORIGIN_OWN;
	tell_one(b, &t.c);
	cr_assert_eq(result.code, WM_E_INVALID);
	cr_assert_eq(wm_registry_nodes(b), 1);
	t.c.version.origin = WM_ORIGIN_FOREIGN;
	tell_one(b, &t.c);
	cr_assert_eq(result.taken, 1);
	free_told(&t);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* --- liveness --------------------------------------------------------------------------------- */
Test(foreign, a_node_whose_agent_is_dead_leaves_with_all_that_is_on_it)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_buf heard;

	cr_assert_eq(put(a, "w1", "web", 80), 0);
	tell_all(a, b, false);
	cr_assert_str_eq(serf(b, "owner")->name, "Serf Health Status");
	cr_assert_str_eq(serf(b, "owner")->output, "Agent alive and reachable");
	cr_assert_eq(at(b, "owner", "w1")->status, WM_PASSING);
	wm_buf_init(&heard, 1 << 20);
	cr_assert_eq(wm_registry_subscribe(b, record_change, &heard), 0);
	cr_assert_eq(wm_registry_set_alive(b, "Owner", false, NULL), 0);
	cr_assert_eq(at(b, "owner", "w1")->status, WM_CRITICAL, "at once");
	cr_assert_str_eq(serf(b, "owner")->output, "Agent not live or unreachable");
	cr_assert_not_null(strstr(heard.data, "status web/w1;"), "%s", heard.data);
	tell(a, "", b);
	cr_assert_eq(wm_registry_set_alive(b, "owner", false, NULL), 0);
	put_checked(a, "w2", 81);
	tell(a, "w2", b);
	cr_assert_eq(at(b, "owner", "w2")->status, WM_CRITICAL);
	cr_assert_eq(wm_registry_set_alive(b, "owner", true, NULL), 0);
	cr_assert_eq(at(b, "owner", "w1")->status, WM_PASSING);
	cr_assert_eq(wm_registry_set_alive(b, "other", false, NULL), WM_E_UNKNOWN);
	cr_assert_eq(wm_registry_set_alive(b, "nobody", false, NULL), WM_E_UNKNOWN);
	wm_registry_set_alive(b, "owner", false, NULL);
	wm_registry_flush(b);
	wm_buf_done(&heard);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_eq(serf(b, "owner")->status, WM_PASSING, "it is not stored");
	cr_assert_eq(at(b, "owner", "w1")->status, WM_PASSING);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* A check of the node's survives beside serfHealth, and serfHealth beside it. */
Test(foreign, a_nodes_own_checks_are_its_agents)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_check_draft d = {
		.id = "disk", .name = "disk", .kind = WM_CHECK_TTL, .ttl_ms = 60000};

	cr_assert_eq(put(a, "w1", "web", 80), 0);
	tell_all(a, b, false);
	cr_assert_eq(wm_registry_check_register(a, "", &d, NULL, NULL, NULL), 0);
	d.id = d.name = WM_SERF_ID; /* not its to say */
	d.has_status = true;
	d.status = WM_WARNING;
	cr_assert_eq(wm_registry_check_register(a, "", &d, NULL, NULL, NULL), 0);
	wm_registry_flush(a);
	tell(a, "", b);
	cr_assert_eq(result.taken, 1, "%s", result.text);
	cr_assert_eq(node_at(b, "owner")->holder->checks_count, 2);
	cr_assert_eq(serf(b, "owner")->status, WM_PASSING);
	cr_assert_eq(at(b, "owner", "w1")->status, WM_CRITICAL);
	wm_registry_set_status(a, wm_registry_check(a, "disk"), WM_PASSING, NULL);
	store_statuses(a);
	tell(a, "", b);
	cr_assert_eq(at(b, "owner", "w1")->status, WM_PASSING);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_eq(node_at(b, "owner")->holder->checks_count, 2);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* So that an operator knows where it is to be drained or deregistered. */
Test(foreign, who_has_an_id_that_is_not_here_is_named)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct answer at_b = {0};

	cr_assert_eq(put(a, "w1", "web", 80), 0);
	tell_all(a, b, false);
	cr_assert_eq(wm_registry_deregister(b, "w1", answered, &at_b, NULL), 0);
	wm_registry_flush(b);
	cr_assert_eq(at_b.code, WM_E_UNKNOWN);
	cr_assert_str_eq(at_b.text,
			 "Unknown service ID \"w1\". Ensure that the service ID is passed, not the "
			 "service name. Node \"owner\" has one: ask its agent, at 10.0.0.9, or run "
			 "waymarkctl there");
	wm_registry_close(a);
	wm_registry_close(b);
}

/* A write through this agent on what another owns is refused, and the owner can be asked for. */
Test(foreign, the_catalog_does_not_change_what_an_agent_owns)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	const struct wm_node_draft facts = {.address = "10.9.9.9"}, nothing = {0};
	const struct wm_check_draft check = {.id = "c", .name = "c", .kind = WM_CHECK_STATED};
	const struct wm_instance_draft web = {.id = "w1", .name = "web", .port = 1};
	const struct wm_instance_draft own = {.id = "x", .name = "web", .port = 1};
	const struct wm_catalog_op bad[] = {
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_DELETE, .node = "owner", .id = "w1"},
		{.object = WM_OBJECT_SERVICE,
		 .verb = WM_VERB_SET,
		 .node = "owner",
		 .service = &web},
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_DELETE, .node = "owner"},
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "owner", .facts = &facts},
		{.object = WM_OBJECT_CHECK,
		 .verb = WM_VERB_DELETE,
		 .node = "owner",
		 .id = "service:w1"},
		{.object = WM_OBJECT_CHECK,
		 .verb = WM_VERB_SET,
		 .node = "owner",
		 .check = &check,
		 .check_service = "w1"},
		{.object = WM_OBJECT_CHECK,
		 .verb = WM_VERB_SET,
		 .node = "owner",
		 .check = &check,
		 .check_service = ""},
		{.object = WM_OBJECT_CHECK,
		 .verb = WM_VERB_DELETE,
		 .node = "owner",
		 .id = WM_SERF_ID},
	};
	const struct wm_catalog_op fine[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "owner", .facts = &nothing},
		{.object = WM_OBJECT_SERVICE,
		 .verb = WM_VERB_SET,
		 .node = "owner",
		 .service = &own},
	};
	struct wm_registry_owner owner;
	char *before, *after;
	struct answer answer;

	put_checked(a, "w1", 80);
	tell_all(a, b, false);
	before = show(b);
	for (unsigned n = 0; n < sizeof(bad) / sizeof(*bad); n++) {
		cr_assert_eq(catalog(b, &bad[n], 1, &answer), WM_E_CONFLICT, "%u", n);
		cr_assert(strstr(answer.text, "owner") || strstr(answer.text, "another agent"),
			  "%s", answer.text);
	}
	after = show(b);
	cr_assert_str_eq(before, after);
	cr_assert_eq(wm_registry_owner(b, "OWNER", "w1", &owner), 0);
	cr_assert_eq(owner.origin, WM_ORIGIN_FOREIGN);
	cr_assert_str_eq(owner.agent->id, wm_registry_node(a)->id);
	cr_assert_eq(catalog(b, fine, 2, &answer), 0, "%s", answer.text);
	cr_assert_eq(wm_registry_owner(b, "owner", "x", &owner), 0);
	cr_assert_eq(owner.origin, WM_ORIGIN_SHARED);
	cr_assert_null(owner.agent);
	cr_assert_eq(wm_registry_owner(b, NULL, "", &owner), 0);
	cr_assert_eq(owner.origin, WM_ORIGIN_OWN);
	cr_assert_eq(owner.agent, wm_registry_node(b));
	cr_assert_eq(wm_registry_owner(b, "owner", "none", &owner), WM_E_UNKNOWN);
	free(before);
	free(after);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* Shared objects: the newer clock stands, of equal ones the greater writer; in any order. */
Test(foreign, shared_objects_are_taken_with_their_clock_and_writer)
{
	struct wm_registry *a = open_as("one", "a"), *b = open_as("two", "b");
	const struct wm_node_draft facts = {.address = "10.3.0.1"};
	const struct wm_check_draft check = {.id = "c",
					     .name = "c",
					     .kind = WM_CHECK_STATED,
					     .has_status = true,
					     .status = WM_WARNING};
	struct wm_instance_draft d = {.id = "e1", .name = "ext", .port = 5};
	struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "Ext", .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "Ext", .service = &d},
		{.object = WM_OBJECT_CHECK,
		 .verb = WM_VERB_SET,
		 .node = "Ext",
		 .check = &check,
		 .check_service = "e1"},
	};
	struct wm_catalog_op gone = {
		.object = WM_OBJECT_NODE, .verb = WM_VERB_DELETE, .node = "ext"};
	struct wm_version v;
	struct answer answer;

	cr_assert_eq(catalog(a, ops, 3, &answer), 0, "%s", answer.text);
	tell_all(a, b, true);
	cr_assert_eq(result.refused, 0, "%s", result.text);
	v = at(a, "ext", "e1")->version;
	cr_assert_eq(memcmp(&at(b, "ext", "e1")->version, &v, sizeof(v)), 0);
	cr_assert(!wm_peer_id_none(&v.writer));
	cr_assert_str_eq(node_at(b, "ext")->name, "Ext");
	cr_assert_eq(at(b, "ext", "e1")->status, WM_WARNING);
	cr_assert_eq(at(b, "ext", "e1")->addr4.s_addr, node_at(b, "ext")->addr4.s_addr);
	wm_registry_close(b);
	b = open_as("two", "b");
	cr_assert_eq(memcmp(&at(b, "ext", "e1")->version, &v, sizeof(v)), 0);
	d.port = 6;
	cr_assert_eq(catalog(b, ops, 2, &answer), 0);
	cr_assert(wm_version_newer(&at(b, "ext", "e1")->version, &v));
	tell_all(a, b, false);
	cr_assert_eq(at(b, "ext", "e1")->port, 6);
	tell_all(b, a, false);
	cr_assert_eq(at(a, "ext", "e1")->port, 6);
	cr_assert_eq(catalog(a, &gone, 1, &answer), 0);
	tell_all(a, b, true);
	cr_assert_null(wm_registry_node_named(b, "ext"));
	cr_assert_null(wm_registry_service(b, "ext"));
	wm_registry_close(b);
	b = open_as("two", "b");
	cr_assert_null(wm_registry_node_named(b, "ext"));
	cr_assert_eq(b->history.count, 2);
	cr_assert_eq(catalog(a, ops, 2, &answer), 0); /* what was removed comes again */
	tell_all(a, b, false);
	cr_assert_eq(at(b, "ext", "e1")->port, 6);
	cr_assert_eq(b->history.count, 0);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* As wm_objects_mend() does it: an agent's own shared objects have lower versions again. */
static struct wm_foreign_result mend(struct wm_registry *r, const char *id, uint64_t seq,
				     const struct wm_peer_id *self, bool gone, bool mended)
{
	struct wm_foreign_change c = {.version = {.origin = WM_ORIGIN_SHARED, .seq = seq},
				      .node = "ext",
				      .id = id,
				      .gone = gone,
				      .gone_ms = gone ? 1767225600000 : 0,
				      .mended = mended};
	struct wm_buf b;

	c.version.writer = *self;
	wm_buf_init(&b, WM_RECORD_MAX);
	if (!gone)
		cr_assert_eq(wm_registry_object_encode(r, self, true, "ext", id, &b), 0);
	c.object = b.data;
	c.len = b.len;
	tell_one(r, &c);
	wm_buf_done(&b);
	return result;
}

Test(foreign, what_a_clock_that_was_ahead_wrote_is_written_anew)
{
	struct wm_registry *r = open_as("one", "a");
	const struct wm_node_draft facts = {.address = "10.3.0.1"};
	struct wm_instance_draft e1 = {.id = "e1", .name = "ext", .port = 5},
				 e2 = {.id = "e2", .name = "ext", .port = 6};
	struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "Ext", .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "Ext", .service = &e1},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "Ext", .service = &e2}};
	struct wm_catalog_op gone = {
		.object = WM_OBJECT_SERVICE, .verb = WM_VERB_DELETE, .node = "ext", .id = "e2"};
	const uint64_t now = (wm_env_wall_ms(&wm_env_system) + 1000) << 16;
	const uint64_t tomorrow = now + (86400000ull << 16);
	struct wm_peer_id self;
	struct answer answer;
	uint32_t epoch;

	wm_registry_origin(r, &self, &epoch);
	wm_registry_set_clock(r, tomorrow);
	cr_assert_eq(catalog(r, ops, 3, &answer), 0);
	cr_assert_eq(catalog(r, &gone, 1, &answer), 0);
	cr_assert_gt(at(r, "ext", "e1")->version.seq, tomorrow);
	wm_registry_set_clock(r, now);
	cr_assert_eq(mend(r, "e1", now + 1, &self, false, false).stale, 1, "but for who asks");
	cr_assert_eq(mend(r, "e1", now + 1, &self, false, true).unchanged, 1);
	cr_assert_eq(mend(r, "", now + 2, &self, false, true).unchanged, 1);
	cr_assert_eq(mend(r, "e2", now + 3, &self, true, true).taken, 1);
	cr_assert_eq(mend(r, "e1", now + 1, &self, false, true).stale, 1, "once");
	wm_registry_close(r);
	r = open_as("one", "a");
	cr_assert_eq(at(r, "ext", "e1")->version.seq, now + 1);
	cr_assert_eq(node_at(r, "ext")->holder->version.seq, now + 2);
	cr_assert_eq(wm_history_tomb(&r->history, WM_ORIGIN_SHARED, "ext", "e2")->version.seq,
		     now + 3);
	e1.port = 7;
	cr_assert_eq(catalog(r, ops + 1, 1, &answer), 0);
	cr_assert_gt(at(r, "ext", "e1")->version.seq, now + 3);
	cr_assert_lt(at(r, "ext", "e1")->version.seq, tomorrow);
	wm_registry_close(r);
}

/* Port 5 stands against all others. */
static int five_stands(void *arg, const struct wm_registry_stand *s, struct wm_err *e)
{
	++*(unsigned *)arg;
	cr_assert_str_eq(s->node, "ext");
	return s->here && s->here->port == 5 && s->in->port != 5
		       ? wm_err_set(e, WM_E_CONFLICT, "five stands")
		       : 0;
}

/* Another rule than the clock: what is written here is judged by it before it is stored, within a
 * batch too; what others say was judged. */
Test(foreign, a_rule_judges_shared_objects_before_they_are_stored)
{
	struct wm_registry *a = open_as("one", "a"), *b = open_as("two", "b");
	const struct wm_node_draft facts = {.address = "10.3.0.1"};
	struct wm_instance_draft five = {.id = "e1", .name = "ext", .port = 5},
				 six = {.id = "e1", .name = "ext", .port = 6};
	struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "Ext", .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "Ext", .service = &five},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "Ext", .service = &six},
	};
	struct answer answer;
	unsigned asked = 0;

	wm_registry_ask_stands(b, five_stands, &asked);
	cr_assert_eq(catalog(a, ops, 2, &answer), 0);
	ops[2].service = &six;
	cr_assert_eq(catalog(b, ops, 1, &answer), 0);
	cr_assert_eq(catalog(b, ops + 2, 1, &answer), 0, "%s", answer.text);
	cr_assert(wm_version_newer(&at(b, "ext", "e1")->version, &at(a, "ext", "e1")->version));
	tell_all(a, b, false); /* its clock is behind, and the rule said that it stands */
	cr_assert_eq(at(b, "ext", "e1")->port, 5);
	tell_all(a, b, false);
	cr_assert_eq(result.stale, 3, "the same again: %u", result.stale);
	cr_assert_eq(catalog(b, ops + 2, 1, &answer), WM_E_CONFLICT);
	cr_assert_str_eq(answer.text, "five stands");
	cr_assert_eq(at(b, "ext", "e1")->port, 5);
	cr_assert_gt(asked, 0);
	cr_assert_eq(catalog(a, ops + 2, 1, &answer), 0, "without a rule the clock decides");
	wm_registry_close(a);
	wm_registry_close(b);
}

/* What would lose is refused: the entry, its removal, its node and what comes where it was removed.
 */
Test(foreign, a_node_of_higher_priority_is_not_overwritten)
{
	struct wm_registry *a = open_as("one", "a"), *b = open_as("two", "b");
	const struct wm_node_draft facts = {.address = "10.3.0.1"}, moved = {.address = "10.3.0.2"};
	struct wm_instance_draft five = {.id = "e1", .name = "ext", .port = 5},
				 six = {.id = "e1", .name = "ext", .port = 6};
	struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "Ext", .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "Ext", .service = &five},
	};
	struct wm_catalog_op loses[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "Ext", .facts = &moved},
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_DELETE, .node = "Ext"},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "Ext", .service = &six},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_DELETE, .node = "Ext", .id = "e1"},
	};
	struct answer answer;

	wm_registry_set_priority(a, 10, true);
	wm_registry_set_priority(b, 9, true);
	cr_assert_eq(catalog(a, ops, 2, &answer), 0, "%s", answer.text);
	tell_all(a, b, false);
	for (unsigned n = 0; n < 2 * WM_ARRAY_LEN(loses); n++) {
		cr_assert_eq(catalog(b, &loses[n % 4], 1, &answer), WM_E_CONFLICT, "%u", n);
		cr_assert_not_null(strstr(answer.text, "sync.priority is 10"), "%s", answer.text);
		if (n != 3) /* and after a restart */
			continue;
		wm_registry_close(b);
		b = open_as("two", "b");
		wm_registry_set_priority(b, 9, true);
	}
	cr_assert_eq(at(b, "ext", "e1")->version.priority, 10);
	cr_assert_eq(catalog(a, loses + 3, 1, &answer), 0);
	tell_all(a, b, false);
	cr_assert_eq(catalog(b, loses + 2, 1, &answer), WM_E_CONFLICT, "it was removed there");
	wm_registry_set_priority(b, 10, true);
	cr_assert_eq(catalog(b, loses + 2, 1, &answer), 0, "%s", answer.text);
	wm_registry_close(a);
	wm_registry_close(b);
}

static int removal_of(void *arg, const struct wm_logged *l)
{
	char *ret = arg;

	if (l->gone && strcmp(l->id, "s1") == 0)
		snprintf(ret, 16, "%s", l->semver ? l->semver : "none");
	return 0;
}

static void removed_with(struct wm_registry *r, const char *semver)
{
	char ret[16] = "not there";

	cr_assert_eq(wm_registry_walk_objects(r, removal_of, ret), 0);
	cr_assert_str_eq(ret, semver);
}

/* Under sync.conflicts semver a removal stands against what is lower than what it removed. */
Test(foreign, a_removal_knows_the_version_of_what_went_after_a_restart)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_pair meta = {mut("version"), mut("2.1.0")};
	const struct wm_node_draft n1 = {.address = "10.0.0.7"};
	const struct wm_instance_draft d = {
		.id = "s1", .name = "db", .port = 1, .meta = &meta, .meta_count = 1};
	struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "out", .facts = &n1},
		{.object = WM_OBJECT_SERVICE, .node = "out", .id = "s1", .service = &d}};
	struct wm_catalog_op gone = {
		.object = WM_OBJECT_SERVICE, .verb = WM_VERB_DELETE, .node = "out", .id = "s1"};
	struct answer answer;

	ops[1].verb = WM_VERB_SET;
	cr_assert_eq(catalog(a, ops, 2, &answer), 0, "%s", answer.text);
	cr_assert_eq(catalog(a, &gone, 1, &answer), 0);
	tell_all(a, b, false); /* what it never had */
	for (int n = 0; n < 2; n++) {
		removed_with(a, "2.1.0");
		removed_with(b, "2.1.0");
		wm_registry_close(a);
		wm_registry_close(b);
		a = open_as("owner", "a");
		b = open_as("other", "b");
	}
	cr_assert_eq(catalog(b, ops, 2, &answer), 0, "%s", answer.text);
	meta.value = mut("1.0.0");
	cr_assert_eq(catalog(b, ops, 2, &answer), 0);
	tell_all(a, b, false);
	removed_with(b, "not there");
	cr_assert_eq(catalog(b, &gone, 1, &answer), 0);
	tell_all(b, a, false); /* what it has a removal of */
	removed_with(a, "1.0.0");
	wm_registry_close(a);
	wm_registry_close(b);
}

/* What an agent registered stands above what the catalog has under the name, whoever came first. */
Test(foreign, an_agents_word_stands_above_the_catalogs)
{
	struct wm_registry *a = open_as("owner", "a"), *c = open_as("writer", "c");
	const struct wm_node_draft facts = {.address = "10.3.0.1"};
	const struct wm_instance_draft d = {.id = "w1", .name = "other", .port = 5};
	const struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "owner", .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "owner", .service = &d}};
	struct answer answer;
	char *seen[2];

	put_checked(a, "w1", 80);
	cr_assert_eq(catalog(c, ops, 2, &answer), 0);
	for (int n = 0; n < 2; n++) {
		struct wm_registry *b = open_as("other", n ? "b1" : "b0");

		tell_all(n ? a : c, b, n);
		tell_all(n ? c : a, b, n);
		cr_assert_eq(at(b, "owner", "w1")->port, 80);
		cr_assert_str_eq(node_at(b, "owner")->id, wm_registry_node(a)->id);
		cr_assert_eq(serf(b, "owner")->status, WM_PASSING);
		cr_assert_null(wm_registry_service(b, "other"));
		seen[n] = strdup(node_at(b, "owner")->address);
		free(show(b));
		wm_registry_close(b);
		b = open_as("other", n ? "b1" : "b0");
		cr_assert_eq(at(b, "owner", "w1")->port, 80);
		wm_registry_close(b);
	}
	cr_assert_str_eq(seen[0], seen[1]);
	free(seen[0]);
	free(seen[1]);
	tell_all(c, a, false);
	cr_assert_eq(result.refused, 2);
	cr_assert_eq(wm_registry_instance(a, "w1")->port, 80);
	wm_registry_close(a);
	wm_registry_close(c);
}

/* An id of a check goes over to another instance, and the words come in the wrong order. */
Test(foreign, ids_of_checks_are_one_objects)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_check_draft c = {
		.id = "c", .name = "c", .kind = WM_CHECK_TTL, .ttl_ms = 60000, .has_status = true};
	struct wm_instance_draft d = {.id = "w1",
				      .name = "web",
				      .port = 1,
				      .checks = &c,
				      .checks_count = 1,
				      .replace_checks = true};
	char *shown;

	cr_assert_eq(put_draft(a, &d), 0);
	tell_all(a, b, false);
	d.checks_count = 0;
	cr_assert_eq(put_draft(a, &d), 0);
	d.id = "w2";
	d.checks_count = 1;
	cr_assert_eq(put_draft(a, &d), 0);
	tell(a, "w2", b);
	cr_assert_eq(result.taken, 1, "%s", result.text);
	cr_assert_eq(at(b, "owner", "w2")->checks_count, 1);
	cr_assert_eq(at(b, "owner", "w1")->checks_count, 0);
	tell(a, "w1", b);
	cr_assert_eq(result.taken, 1);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_str_eq(wm_node_check(node_at(b, "owner"), "c")->instance->id, "w2");
	shown = show(b);
	free(shown);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* --- an agent goes ---------------------------------------------------------------------------- */
Test(foreign, an_agent_is_forgotten_whole_and_without_a_word)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	const struct wm_instance_draft d = {.id = "x", .name = "web", .port = 1};
	const struct wm_node_draft nothing = {0};
	const struct wm_catalog_op shared[] = {
		{.object = WM_OBJECT_NODE, .verb = WM_VERB_SET, .node = "owner", .facts = &nothing},
		{.object = WM_OBJECT_SERVICE, .verb = WM_VERB_SET, .node = "owner", .service = &d}};
	struct answer answer = {0};
	struct wm_peer_id id, self;
	char text[32];
	uint32_t epoch;

	for (unsigned n = 0; n < 700; n++) { /* more than leave in one turn */
		snprintf(text, sizeof(text), "w%u", n);
		cr_assert_eq(put(a, text, "many", 1), 0);
	}
	cr_assert_eq(del(a, "w3"), 0);
	tell_all(a, b, true);
	cr_assert_eq(result.taken, 701);
	cr_assert_eq(wm_registry_instances(b), 699);
	wm_registry_origin(a, &id, &epoch);
	wm_registry_origin(b, &self, &epoch);
	cr_assert_eq(wm_registry_forget_origin(b, &self, NULL, NULL, NULL), WM_E_CONFLICT);
	for (int n = 0; n < 2; n++) {
		if (n) {
			tell_all(a, b, false);
			cr_assert_eq(catalog(b, shared, 2, &answer), 0, "%s", answer.text);
		}
		answer.called = 0;
		cr_assert_eq(wm_registry_forget_origin(b, &id, answered, &answer, NULL), 0);
		for (unsigned k = 0; k < 10 && !answer.called; k++)
			wm_registry_finish(b);
		cr_assert_eq(answer.code, 0, "%s", answer.text);
		cr_assert_eq(wm_registry_instances(b), n);
		cr_assert_eq(wm_registry_nodes(b), 1 + n);
		cr_assert_eq(b->history.count, 0, "neither its tombstones nor ours");
		free(show(b));
		wm_registry_close(b);
		b = open_as("other", "b");
		cr_assert_eq(wm_registry_instances(b), n);
		cr_assert_eq(b->history.count, 0);
	}
	cr_assert_eq(wm_registry_checks(b), 0, "nobody is there who could be alive");
	tell_all(a, b, false);
	cr_assert_eq(wm_registry_instances(b), 700);
	cr_assert_eq(serf(b, "owner")->status, WM_PASSING);
	wm_registry_close(a);
	wm_registry_close(b);
}

/* It goes without a word, and comes back under the version that it had. */
Test(foreign, what_is_not_wanted_goes_without_a_tombstone)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	struct wm_foreign_change forget[2] = {{.id = "w1", .forget = true},
					      {.id = "w2", .forget = true}};
	uint32_t epoch;

	put_checked(a, "w1", 80);
	cr_assert_eq(put(a, "w2", "db", 2), 0);
	tell_all(a, b, false);
	for (unsigned n = 0; n < 2; n++) {
		forget[n].version.origin = WM_ORIGIN_FOREIGN;
		wm_registry_origin(a, &forget[n].version.writer, &epoch);
	}
	tell_one(b, &forget[0]);
	cr_assert_eq(result.taken, 1, "%s", result.text);
	cr_assert_null(at(b, "owner", "w1"));
	cr_assert_not_null(at(b, "owner", "w2"));
	tell_one(b, &forget[0]);
	cr_assert_eq(result.stale, 1, "it is not there");
	tell_one(b, &forget[1]);
	cr_assert_eq(wm_registry_nodes(b), 1, "the node went with the last that was on it");
	cr_assert_eq(b->history.count, 0);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_eq(wm_registry_nodes(b), 1);
	cr_assert_eq(wm_registry_instances(b), 0);
	tell_all(a, b, false);
	cr_assert_eq(result.taken, 3);
	cr_assert_eq(at(b, "owner", "w1")->port, 80);
	forget[0].id = "";
	tell_one(b, &forget[0]);
	cr_assert_eq(result.refused, 1);
	wm_registry_close(a);
	wm_registry_close(b);
}
