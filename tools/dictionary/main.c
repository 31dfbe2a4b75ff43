/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - makes the dictionary that news of the mesh is compressed with (`make dictionary`):
 * samples of what agents tell each other, encoded as they encode it, and what zstd's trainer finds
 * in them. All chance follows from one number, so the same libzstd makes the same octets; they are
 * checked in, as all agents must have the same. Another dictionary needs another number in
 * userspace/sync/replica_dictionary.c. Writes C to standard output. */
#include "userspace/base/buf.h"
#include "userspace/model/draft.h"
#include "userspace/model/node.h"
#include "userspace/model/object.h"
#include "userspace/store/record.h"
#include "userspace/sync/replica.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zdict.h>

#define SAMPLES	   4000
#define ROOM	   (4u << 20)
#define DICTIONARY 4096
#define COLUMNS	   16

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const char *const services[] = {
	"web",	   "api",     "auth",	      "billing",   "payments",	 "orders",   "inventory",
	"search",  "redis",   "postgres",     "mysql",	   "mongodb",	 "rabbitmq", "kafka",
	"catalog", "gateway", "user-service", "metrics",   "prometheus", "grafana",  "cart",
	"proxy",   "nginx",   "worker",	      "scheduler", "frontend",	 "backend",  "cache"};
static const char *const tags[] = {"primary",
				   "replica",
				   "v1",
				   "v2",
				   "http",
				   "https",
				   "grpc",
				   "metrics",
				   "canary",
				   "prod",
				   "blue",
				   "green",
				   "traefik.enable=true",
				   "traefik.http.routers.",
				   "urlprefix-/",
				   "production",
				   "staging",
				   "stable"};
static const char *const keys[] = {
	"version",	"region",	   "zone",     "env",	 "team",
	"commit",	"external-source", "protocol", "weight", "prometheus",
	"metrics_port", "k8s-namespace",   "build"};
static const char *const values[] = {"1.4.2", "eu-west-1",  "eu-west-1b", "production", "platform",
				     "main",  "kubernetes", "http2",	  "100",	"true",
				     "9090",  "default",    "2024"};

static uint64_t state = 1;
static unsigned below(unsigned n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((state >> 33) % n);
}

#define PICK(a) ((a)[below(COUNT(a))])

static char *mutable(const char *s)
{
	char *r;

	memcpy(&r, &s, sizeof(r)); /* drafts are only read */
	return r;
}

struct words {
	char id[96], address[32], target[128], version[32], check_id[112], check_name[96];
	const char *tags[4];
	struct wm_pair meta[4];
	struct wm_check_draft check;
};

static void check_of(struct words *w, const char *service, unsigned port)
{
	static const char *const paths[] = {"health", "healthz", "status", "ping", "ready", ""};
	static const enum wm_check_kind kinds[] = {WM_CHECK_HTTP, WM_CHECK_HTTP, WM_CHECK_TCP,
						   WM_CHECK_TTL};
	enum wm_check_kind kind = PICK(kinds);

	(void)snprintf(w->check_id, sizeof(w->check_id), "service:%.95s", w->id);
	(void)snprintf(w->check_name, sizeof(w->check_name), "Service '%s' check", service);
	if (kind == WM_CHECK_HTTP)
		(void)snprintf(w->target, sizeof(w->target), "http://%s:%u/%s", w->address, port,
			       PICK(paths));
	else
		(void)snprintf(w->target, sizeof(w->target), "%s:%u", w->address, port);
	w->check = (struct wm_check_draft){.id = w->check_id,
					   .name = w->check_name,
					   .kind = kind,
					   .target = kind == WM_CHECK_TTL ? NULL : w->target,
					   .interval_ms = 1000 * (5 + 5 * below(3)),
					   .timeout_ms = 1000 * (1 + below(5)),
					   .ttl_ms = kind == WM_CHECK_TTL ? 15000 : 0,
					   .has_status = true,
					   .status = below(8) ? WM_PASSING : WM_CRITICAL,
					   .output = kind == WM_CHECK_HTTP
							     ? "HTTP GET: 200 OK Output: "
							     : "TCP connect: Success"};
}

static struct wm_instance *instance(struct words *w)
{
	const char *service = PICK(services);
	unsigned port = below(3) ? 1024 + below(60000) : 8080, n_tags = below(4), n_meta = below(5);
	struct wm_instance_draft d = {.id = w->id,
				      .name = service,
				      .address = w->address,
				      .port = port,
				      .tags = w->tags,
				      .tags_count = n_tags,
				      .meta = w->meta,
				      .meta_count = n_meta,
				      .checks = &w->check,
				      .checks_count = below(8) != 0};

	(void)snprintf(w->address, sizeof(w->address), "10.%u.%u.%u", below(256), below(256),
		       below(256));
	(void)snprintf(w->version, sizeof(w->version), "%u.%u.%u", below(5), below(30), below(20));
	if (below(2))
		(void)snprintf(w->id, sizeof(w->id), "%s-%u", service, below(1000));
	else
		(void)snprintf(w->id, sizeof(w->id), "%s-%08x-%04x-4%03x", service, below(1u << 31),
			       below(1u << 16), below(1u << 12));
	for (unsigned i = 0; i < n_tags; i++)
		w->tags[i] = tags[(i * 5 + port) % COUNT(tags)];
	for (unsigned i = 0; i < n_meta; i++) {
		unsigned k = (i * 3 + port) % COUNT(keys);

		w->meta[i].key = mutable(keys[k]);
		w->meta[i].value = k ? mutable(values[k]) : w->version;
	}
	check_of(w, service, port);
	return wm_instance_build(&d);
}

static void change(Wm__Replica__Change *c, struct words *w, struct wm_buf *object)
{
	static char name[32];
	static struct wm_node node = {.name = name};
	struct wm_instance *i = instance(w);

	if (!i)
		abort();
	(void)snprintf(name, sizeof(name), "node-%03u", below(1000));
	i->node = &node;
	if (wm_record_put_told(object, i))
		abort();
	wm_instance_free(i, true);
	wm__replica__change__init(c);
	c->key = (ProtobufCBinaryData){strlen(w->id), (uint8_t *)w->id};
	c->gone = !below(6);
	if (c->gone)
		c->gone_ms = 1767225600000u + below(1u << 30);
	else
		c->object = (ProtobufCBinaryData){object->len, (uint8_t *)object->data};
}

/* News of one agent: mostly one change, sometimes a few. */
static size_t sample(uint8_t *to)
{
	static struct words words[3];
	static uint8_t origin[16], digest[16];
	struct wm_buf objects[3];
	Wm__Replica__Change changes[3], *list[3];
	Wm__Replica__Batch b = WM__REPLICA__BATCH__INIT;
	Wm__Replica__Message m = WM__REPLICA__MESSAGE__INIT;
	unsigned n = below(4) ? 1 : 1 + below(3);
	size_t len;

	for (unsigned i = 0; i < 16; i++) {
		origin[i] = (uint8_t)below(256);
		digest[i] = (uint8_t)below(256);
	}
	b.origin = (ProtobufCBinaryData){16, origin};
	b.digest = (ProtobufCBinaryData){16, digest};
	b.epoch = 1767225600 + below(1u << 24);
	b.after = 1000 + below(1u << 20);
	b.upto = b.after + n;
	b.changes = list;
	b.n_changes = n;
	for (unsigned i = 0; i < n; i++) {
		wm_buf_init(&objects[i], 1u << 20);
		change(&changes[i], &words[i], &objects[i]);
		changes[i].epoch = b.epoch;
		changes[i].seq = b.after + i + 1;
		list[i] = &changes[i];
	}
	m.is_case = WM__REPLICA__MESSAGE__IS_BATCH;
	m.batch = &b;
	len = wm__replica__message__pack(&m, to);
	for (unsigned i = 0; i < n; i++)
		wm_buf_done(&objects[i]);
	return len;
}

int main(void)
{
	static uint8_t all[ROOM], dictionary[DICTIONARY];
	static size_t sizes[SAMPLES];
	size_t at = 0, len;

	for (unsigned i = 0; i < SAMPLES; i++) {
		sizes[i] = sample(all + at);
		at += sizes[i];
		if (at > ROOM - 16384)
			abort();
	}
	len = ZDICT_trainFromBuffer(dictionary, sizeof(dictionary), all, sizes, SAMPLES);
	if (ZDICT_isError(len)) {
		fprintf(stderr, "dictionary: %s\n", ZDICT_getErrorName(len));
		return 1;
	}
	printf("/* SPDX-License-Identifier: Apache-2.0 */\n"
	       "/* Made by tools/dictionary: %zu octets, of zstd's number %u. Do not edit. */",
	       len, ZDICT_getDictID(dictionary, len));
	for (size_t i = 0; i < len; i++)
		printf("%s0x%02x,", i % COLUMNS ? " " : "\n", dictionary[i]);
	printf("\n");
	return ferror(stdout) ? 1 : 0;
}
