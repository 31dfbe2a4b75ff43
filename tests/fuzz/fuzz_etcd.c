/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry sync */
/* fuzz_etcd.c - what etcd answers: its JSON, and keys and values that anybody may have put there.
 * Whatever the octets: reading stays inside them, what is read is written the same way again, and a
 * carrier that takes them tells its store of objects of others only. The first octet chooses:
 * 'j' an answer, which is then taken; 'k' a key; 'v' a value; 'r' a report; 'b' base64; else keys
 * and values, each with a length before it, are taken as a watch would bring them. */
#include "check.h"
#include "tests/unit/env_virtual.h"
#include "userspace/sync/etcd_internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PREFIX	"/waymark/fuzz/"
#define KVS_MAX 64

static int on_read(void *arg, const struct wm_peer_id *origin, bool shared,
		   const struct wm_replica_key *k, struct wm_buf *b)
{
	(void)arg;
	(void)origin;
	(void)shared;
	(void)k;
	return wm_buf_puts(b, "x") ? 0 : -ENOMEM;
}

static int on_take(void *arg, const struct wm_replica_change *c, unsigned count)
{
	const struct wm_peer_id *self = arg;

	for (unsigned n = 0; n < count; n++) {
		check(c[n].version.seq && c[n].key.len <= WM_REPLICA_KEY_MAX);
		check(c[n].gone == !c[n].len);
		check(c[n].version.origin == WM_ORIGIN_SHARED ||
		      !wm_peer_id_same(&c[n].origin, self));
	}
	return 0;
}

static void on_alive(void *arg, const struct wm_peer_id *id, const char *name, bool is)
{
	check(!wm_peer_id_same(id, arg) && strlen(name) <= WM_NODE_NAME_MAX);
	(void)is;
}

static void take(const struct wm_etcd_kv *kvs, unsigned count)
{
	static const char *const endpoints[] = {"http://127.0.0.1:1", NULL};
	struct wm_peer_id self = {{0, 0, 1}};
	struct virtual_env env;
	struct wm_etcd_config c = {.env = &env.env,
				   .endpoints = endpoints,
				   .prefix = PREFIX,
				   .id = self,
				   .name = "self",
				   .address = "10.0.0.1",
				   .arg = &self,
				   .read = on_read,
				   .take = on_take,
				   .alive = on_alive};
	struct wm_etcd *e;

	virtual_env_init(&env, 1);
	check(!wm_etcd_new(&c, &e, NULL));
	check(!wm_etcd_take(e, kvs, count)); /* a list */
	check(!wm_etcd_sweep(e));
	wm_etcd_nodes_listed(e);
	e->listed = true;
	check(!wm_etcd_take(e, kvs, count)); /* and a watch */
	e->list++;
	check(!wm_etcd_sweep(e)); /* and another list, without any */
	wm_etcd_free(e);
	check(TAILQ_EMPTY(&env.armed));
}

static void read_answer(const char *text, size_t len)
{
	struct wm_etcd_answer a;
	struct wm_err e = {0};
	int err = wm_etcd_answer_read(text, len, &a, &e);

	check(err <= 0);
	if (err) {
		check(*e.text || err == -ENOMEM);
		return;
	}
	for (unsigned n = 0; n < a.parts_count; n++)
		check(a.parts[n].kvs + a.parts[n].kvs_count <= a.kvs_count);
	take(a.kvs, a.kvs_count);
	wm_etcd_answer_done(&a);
}

static void read_key(const char *s, size_t len)
{
	char same[WM_ETCD_KEY_MAX];
	struct wm_etcd_key k;

	if (wm_etcd_key_read(s, len, &k))
		return;
	check(wm_etcd_key_write(&k, same) == len && !memcmp(same, s, len));
}

static void read_value(const char *s, size_t len)
{
	uint8_t same[WM_ETCD_HEADER];
	struct wm_etcd_value v;

	if (wm_etcd_value_read(s, len, &v))
		return;
	wm_etcd_value_head(&v, same);
	check(!memcmp(same, s, sizeof(same)) && len == sizeof(same) + v.len);
}

static void read_report(const char *s, size_t len)
{
	struct wm_etcd_report *r = malloc(sizeof(*r)), *same = malloc(sizeof(*r));
	struct wm_buf b;

	check(r && same);
	wm_buf_init(&b, WM_ETCD_REPORT_MAX);
	if (!wm_etcd_report_read(s, len, r) && wm_etcd_report_write(r, &b)) {
		check(!wm_etcd_report_read(b.data, b.len, same));
		check(same->count == r->count && same->number == r->number);
		for (unsigned n = 0; n < r->count; n++)
			check(!strcmp(same->found[n].id, r->found[n].id) &&
			      !strcmp(same->found[n].node, r->found[n].node));
	}
	wm_buf_done(&b);
	free(r);
	free(same);
}

static void read_base64(const char *s, size_t len)
{
	char *out = malloc(len / 4 * 3 + 1);
	struct wm_buf b;
	long n;

	check(out != NULL);
	wm_buf_init(&b, len + 8);
	n = wm_base64_read(s, len, out);
	if (n >= 0) {
		check(wm_base64_put(&b, out, (size_t)n / 2, out + n / 2, (size_t)(n - n / 2)));
		check(b.len == len && !memcmp(b.data ? b.data : "", s, len));
	}
	wm_buf_done(&b);
	free(out);
}

/* Kind and length of the key, length of the value, key, value. */
static void read_kvs(const uint8_t *p, size_t left)
{
	static char keys[KVS_MAX][sizeof(PREFIX) + 256];
	struct wm_etcd_kv kvs[KVS_MAX];
	unsigned count = 0;

	while (left > 3 && count < KVS_MAX) {
		size_t key = p[1], value = p[2];
		char *to = keys[count];

		left -= 3;
		if (key + value > left)
			break;
		memcpy(to, PREFIX, strlen(PREFIX));
		memcpy(to + strlen(PREFIX), p + 3, key);
		kvs[count] = (struct wm_etcd_kv){.key = to,
						 .key_len = strlen(PREFIX) + key,
						 .value = (const char *)p + 3 + key,
						 .value_len = value,
						 .mod_revision = 1 + (p[0] >> 1),
						 .deleted = p[0] & 1};
		count++;
		p += 3 + key + value;
		left -= key + value;
	}
	take(kvs, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy;

	if (!size)
		return 0;
	copy = malloc(size); /* exact: a read behind the end is seen */
	check(copy != NULL);
	memcpy(copy, data + 1, size - 1);
	if (data[0] == 'j')
		read_answer(copy, size - 1);
	else if (data[0] == 'k')
		read_key(copy, size - 1);
	else if (data[0] == 'v')
		read_value(copy, size - 1);
	else if (data[0] == 'r')
		read_report(copy, size - 1);
	else if (data[0] == 'b')
		read_base64(copy, size - 1);
	else
		read_kvs((const uint8_t *)copy, size - 1);
	free(copy);
	return 0;
}
