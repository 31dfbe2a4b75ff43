/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security model store sync */
/* test_replica_dictionary.c - the dictionary that news is compressed with: its octets belong to its
 * number, and registrations of names that its maker never saw take a quarter less than without. */
#include "replica_net.h"
#include "userspace/model/draft.h"
#include "userspace/model/node.h"
#include "userspace/model/object.h"
#include "userspace/store/record.h"
#include "userspace/sync/replica_internal.h"

#include <zdict.h>
#include <zstd.h>

#define CHANGES 200

static const uint8_t octets[] = {
#include "userspace/sync/replica_dictionary.inc"
};

/* Agents that have other octets under this number read nothing of ours, and end our streams. */
Test(replica_dictionary, its_octets_belong_to_its_number)
{
	digest_t is = replica_hash(octets, sizeof(octets));

	cr_assert_eq(WIRE_DICTIONARY_NUMBER, 1);
	cr_assert_eq(ZDICT_getDictID(octets, sizeof(octets)), 1689868702u);
	cr_assert_eq((uint64_t)is, 0x4c660df54e02cfa0ull,
		     "%016lx: another dictionary needs another number", (unsigned long)is);
}

static void registration(struct net *n, unsigned i, char id[static 64], struct wm_buf *b)
{
	static const char *const names[] = {"ledger", "kiosk-feed", "tilesrv", "mailer", "quorum"};
	const char *const tags[] = {"shadow", "lane-7"};
	char address[32], target[96], check[96], version[16];
	struct wm_pair meta[] = {{(char[]){"version"}, version},
				 {(char[]){"squad"}, (char[]){"harbour"}}};
	struct wm_check_draft c = {.id = check,
				   .name = "answers",
				   .kind = WM_CHECK_HTTP,
				   .target = target,
				   .interval_ms = 10000,
				   .timeout_ms = 2000,
				   .output = "HTTP GET: 200 OK Output: fine"};
	struct wm_instance_draft d = {.id = id,
				      .name = names[i % 5],
				      .address = address,
				      .port = 20000 + i,
				      .tags = tags,
				      .tags_count = 2,
				      .meta = meta,
				      .meta_count = 2,
				      .checks = &c,
				      .checks_count = 1};
	struct wm_node node = {.name = (char[]){"shale-17"}};
	struct wm_instance *in;

	snprintf(version, sizeof(version), "%u.%u.0", i % 3, i % 17);
	snprintf(id, 64, "%s-%08lx", names[i % 5], (unsigned long)net_below(n, 1u << 31));
	snprintf(address, sizeof(address), "172.20.%u.%u", i % 256, i * 7 % 256);
	snprintf(target, sizeof(target), "http://%s:%u/alive", address, 20000 + i);
	snprintf(check, sizeof(check), "service:%s", id);
	in = wm_instance_build(&d);
	cr_assert_not_null(in);
	in->node = &node;
	cr_assert_eq(wm_record_put_told(b, in), 0);
	wm_instance_free(in, true);
}

Test(replica_dictionary, names_that_it_never_saw_take_less, .timeout = 300)
{
	struct net *n = net_new(2, 1);
	uint64_t records = 0, alone = 0, each;
	char id[64];

	net_start(n);
	net_pass(n, 3000);
	n->news_octets = 0;
	for (unsigned i = 0; i < CHANGES; i++) {
		char packed[4096];
		struct wm_buf b;

		wm_buf_init(&b, 1 << 20);
		registration(n, i, id, &b);
		records += b.len;
		alone += ZSTD_compress(packed, sizeof(packed), b.data, b.len, 1);
		agent_write(&n->a[0], id, b.data, b.len);
		wm_buf_done(&b);
		net_pass(n, 20); /* each is news of its own */
	}
	each = n->news_octets / CHANGES;
	cr_assert_gt(records / CHANGES, 200);
	alone = alone / CHANGES + 80; /* id, epoch, number, origin, digest: nobody guesses them */
	cr_assert_leq(each, alone * 78 / 100, "%lu octets of a record of %lu, without %lu",
		      (unsigned long)each, (unsigned long)(records / CHANGES),
		      (unsigned long)alone);
	cr_assert_lt(net_settle(n, 2000), 2000);
	net_check(n);
	net_free(n);
}
