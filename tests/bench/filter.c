/* SPDX-License-Identifier: Apache-2.0 */
/* filter.c - three-term filters over a registry in memory: through the bitmap index, and by asking
 * every row, in one process on the same data. "few": three metadata values that select a handful.
 * "service": one service, a tag, a value. Prints one JSON line. */
#include "userspace/metadata/filter.h"

#include "tests/tools/load.h"
#include "userspace/metadata/index.h"

#define SERVICES   10000
#define BATCH	   10000 /* registrations of one commit */
#define SCAN_ROWS  20000 /* rows that one filter is asked: well below its WM_FILTER_TIME_MS */
#define ROUNDS	   200
#define TEXT_MAX   32
#define META_PAIRS 8

static struct wm_registry *registry;

static void set_pair(struct wm_pair *p, char *value, const char *key, const char *prefix, long n)
{
	static char keys[META_PAIRS][TEXT_MAX];
	static unsigned at;
	char *k = keys[at++ % META_PAIRS];

	snprintf(k, TEXT_MAX, "%s", key);
	snprintf(value, TEXT_MAX, "%s%ld", prefix, n);
	*p = (struct wm_pair){k, value};
}

static void put(long n)
{
	static const struct {
		const char *key, *prefix;
		long values;
	} keys[META_PAIRS] = {{"version", "1.", 10}, {"environment", "e", 4},  {"region", "r", 5},
			      {"zone", "z", 20},     {"capability", "c", 50},  {"team", "t", 200},
			      {"build", "b", 1000},  {"serial", "s", 1L << 40}};
	char id[TEXT_MAX], name[TEXT_MAX], values[META_PAIRS][TEXT_MAX];
	const char *tags[] = {n % 2 ? "blue" : "green", "v1"};
	struct wm_pair meta[META_PAIRS];
	struct wm_instance_draft d = {.id = id,
				      .name = name,
				      .address = "10.0.0.1",
				      .port = 80,
				      .tags = tags,
				      .tags_count = 2,
				      .meta = meta,
				      .meta_count = META_PAIRS};
	uint64_t mixed = (uint64_t)n * 0x9e3779b97f4a7c15u;

	snprintf(id, sizeof(id), "i-%ld", n);
	snprintf(name, sizeof(name), "svc-%05ld", n % SERVICES);
	for (unsigned i = 0; i < META_PAIRS; i++) {
		long value = keys[i].values > 1000
				     ? n
				     : (long)((mixed >> (8 * i % 40)) % (uint64_t)keys[i].values);

		set_pair(&meta[i], values[i], keys[i].key, keys[i].prefix, value);
	}
	if (wm_registry_register(registry, &d, NULL, NULL, NULL))
		load_die("instance %ld was refused", n);
}

static bool count(void *arg, const struct wm_instance *i)
{
	(void)i;
	++*(uint64_t *)arg;
	return true;
}

static struct wm_filter *compile(const char *text)
{
	struct wm_filter *f;
	struct wm_err e = {0};

	if (wm_filter_compile(text, WM_FILTER_SERVICE, &f, &e))
		load_die("%s: %s", text, e.text);
	return f;
}

/* us of a query with its compilation, as a request has it. Results are kept by the filter's text:
 * @p fresh, each round asks by another one. */
static double select_us(struct wm_index *x, const char *text, bool fresh, uint64_t *ret_rows)
{
	uint64_t start = load_now_ns();
	char padded[256 + ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct wm_filter *f;

		snprintf(padded, sizeof(padded), "%s%*s", text, fresh ? (int)i : 0, "");
		f = compile(padded);

		*ret_rows = 0;
		if (wm_index_select(x, f, count, ret_rows, NULL) ||
		    wm_filter_end(f) != WM_FILTER_DONE)
			load_die("%s failed", text);
		wm_filter_free(f);
	}
	return (double)(load_now_ns() - start) / ROUNDS / 1e3;
}

/* a filter that gave up has found less than there is */
static void end_part(struct wm_filter *f, const char *text)
{
	if (wm_filter_end(f) != WM_FILTER_DONE)
		load_die("%s: the scan gave up", text);
	wm_filter_free(f);
}

static double scan_us(const char *text, uint64_t *ret_rows)
{
	struct wm_filter *f = compile(text);
	struct wm_filter_row row = {.datacenter = "dc1", .node = wm_registry_node(registry)};
	uint64_t start = load_now_ns(), n = 0;
	size_t pos = 0;

	*ret_rows = 0;
	while ((row.instance = wm_registry_next_instance(registry, &pos))) {
		*ret_rows += wm_filter_match(f, &row);
		if (++n % SCAN_ROWS == 0) {
			end_part(f, text);
			f = compile(text);
		}
	}
	end_part(f, text);
	return (double)(load_now_ns() - start) / 1e3;
}

static void report(struct wm_index *x, const char *name, const char *text)
{
	uint64_t rows, scanned;
	double with = select_us(x, text, true, &rows), again = select_us(x, text, false, &rows);
	double without = scan_us(text, &scanned);

	if (rows != scanned)
		load_die("%s: the index found %llu, a scan %llu", text, (unsigned long long)rows,
			 (unsigned long long)scanned);
	printf("\"%s_us\":%.2f,\"%s_kept_us\":%.2f,\"%s_scan_us\":%.0f,\"%s_rows\":%llu,", name,
	       with, name, again, name, without, name, (unsigned long long)rows);
}

int main(int argc, char **argv)
{
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = "n1",
				       .node_address = "10.0.0.1",
				       .datacenter = "dc1",
				       .services_max = 2 * SERVICES,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000};
	long n = argc > 1 ? atol(argv[1]) : 1000000;
	struct wm_index *x;
	struct wm_err e = {0};
	uint64_t start;

	if (n < 1 || n > 10000000)
		load_die("usage: filter [instances, 1 to 10000000]");
	c.instances_max = (unsigned)n;
	c.vip6_prefix.s6_addr[0] = 0xfd;
	if (wm_registry_open(&c, &registry, &e))
		load_die("%s", e.text);
	for (long i = 0; i < n; i++) {
		put(i);
		if (i % BATCH == BATCH - 1)
			wm_registry_flush(registry);
	}
	wm_registry_flush(registry);
	start = load_now_ns();
	x = wm_index_new(registry);
	if (!x)
		load_die("out of memory");
	printf("{\"instances\":%u,\"index_ms\":%.0f,\"index_bytes\":%.0f,",
	       wm_registry_instances(registry), (double)(load_now_ns() - start) / 1e6,
	       (double)wm_index_bytes(x) / (double)n);
	report(x, "few", "Meta.region == r1 and Meta.capability == c7 and Meta.build == b77");
	report(x, "service", "Service == \"svc-00042\" and Meta.zone == z7 and v1 in Tags");
	printf("\"rounds\":%d}\n", ROUNDS);
	wm_registry_close(registry);
	wm_index_free(x);
	return 0;
}
