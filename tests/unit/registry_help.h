/* SPDX-License-Identifier: Apache-2.0 */
/* registry_help.h - what the registry's unit tests share: a temporary directory that goes with the
 * process, configurations, drafts, a listener that records, and a comparison of every field. */
#pragma once
#include "userspace/base/buf.h"
#include "userspace/registry/registry.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* struct wm_pair has members that are not const, though drafts are only read. */
static inline char *mut(const char *s)
{
	char *r;

	memcpy(&r, &s, sizeof(r));
	return r;
}

static char dir[64];
static char db[128];
static pid_t dir_owner;

static inline int rm_entry(const char *p, const struct stat *st, int flag, struct FTW *f)
{
	(void)st;
	(void)flag;
	(void)f;
	return remove(p);
}

static inline void rm_dir(void)
{
	if (dir[0] && getpid() == dir_owner)
		nftw(dir, rm_entry, 8, FTW_DEPTH | FTW_PHYS);
	dir[0] = 0;
}

static inline void make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/wm-registry-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	dir_owner = getpid();
	snprintf(db, sizeof(db), "%s/state/registry.db", dir);
}

static inline struct wm_registry_config config(const char *path)
{
	struct wm_registry_config c = {
		.env = &wm_env_system,
		.path = path,
		.node_name = "n1",
		.node_address = "10.0.0.1",
		.datacenter = "dc1",
		.instances_max = 20000,
		.services_max = 2000,
		.nodes_max = 100,
		.vip4_base = 0xf0000000,
		.vip4_mask = 0xf0000000,
	};

	c.vip6_prefix.s6_addr[0] = 0xfd;
	c.vip6_prefix.s6_addr[1] = 0x77;
	return c;
}

static inline struct wm_registry *open_at(const char *path)
{
	struct wm_registry_config c = config(path);
	struct wm_registry *r = NULL;
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_open(&c, &r, &e), 0, "%s", e.text);
	return r;
}

struct answer {
	int called, code;
	char text[WM_ERR_TEXT_MAX];
};

static inline void answered(void *arg, int code, const char *text)
{
	struct answer *a = arg;

	a->called++;
	a->code = code;
	snprintf(a->text, sizeof(a->text), "%s", text);
}

static inline int put_draft(struct wm_registry *r, const struct wm_instance_draft *d)
{
	struct answer a = {0};
	struct wm_err e = {0};
	int err = wm_registry_register(r, d, answered, &a, &e);

	if (err)
		return err;
	cr_assert_eq(a.called, 0);
	wm_registry_flush(r);
	cr_assert_eq(a.called, 1);
	return a.code;
}

static inline int put(struct wm_registry *r, const char *id, const char *name, uint32_t port)
{
	struct wm_instance_draft d = {.id = id, .name = name, .address = "10.1.0.1", .port = port};

	return put_draft(r, &d);
}

static inline int del(struct wm_registry *r, const char *id)
{
	struct answer a = {0};

	cr_assert_eq(wm_registry_deregister(r, id, answered, &a, NULL), 0);
	wm_registry_flush(r);
	cr_assert_eq(a.called, 1);
	return a.code;
}

/* Every field of an instance with its checks, as text: two equal texts are two equal instances. */
static inline void show_instance(struct wm_buf *b, const struct wm_instance *i)
{
	wm_buf_printf(b,
		      "I %s %s cat=%d node=%s svc=%s addr=%s %08x %d port=%u w=%u/%u eto=%d st=%d "
		      "life=%d/%llu ci=%llu mi=%llu h=%llx row=%llu\n",
		      i->id, i->name, wm_instance_shared(i), i->node->name, i->service->name,
		      i->address, i->addr4.s_addr, i->addr6.s6_addr[15], i->port, i->weight_passing,
		      i->weight_warning, i->enable_tag_override, i->status, i->lifecycle,
		      (unsigned long long)i->drain_until_ms, (unsigned long long)i->create_index,
		      (unsigned long long)i->modify_index, (unsigned long long)i->hash,
		      (unsigned long long)i->row);
	if (i->traits)
		wm_buf_printf(b, " r %s %s %s %s %d%d\n", i->traits->region, i->traits->zone,
			      i->traits->kind, i->traits->socket_path, i->traits->native,
			      i->traits->sidecar);
	for (unsigned n = 0; i->traits && n < i->traits->proxy_count; n++)
		wm_buf_printf(b, " p %s=%s\n", i->traits->proxy[n].key, i->traits->proxy[n].value);
	for (unsigned n = 0; n < i->tags_count; n++)
		wm_buf_printf(b, " t %s\n", i->tags[n]);
	for (unsigned n = 0; n < i->meta_count; n++)
		wm_buf_printf(b, " m %s=%s\n", i->meta[n].key, i->meta[n].value);
	for (unsigned n = 0; n < i->tagged_count; n++)
		wm_buf_printf(b, " a %s=%s:%u\n", i->tagged[n].name, i->tagged[n].address,
			      i->tagged[n].port);
	for (unsigned n = 0; n < i->checks_count; n++) {
		const struct wm_check *c = i->checks[n];

		cr_assert_eq(c->instance, i);
		wm_buf_printf(
			b,
			" c %s %s %s out=%s k=%d %s %s %s %d%d%d %s %llu %llu %llu %llu %u %u %u "
			"st=%d ci=%llu mi=%llu\n",
			c->id, c->name, c->notes, c->output, c->kind, c->target ? c->target : "-",
			c->method ? c->method : "-", c->body ? c->body : "-", c->tls_skip_verify,
			c->disable_redirects, c->use_tls,
			c->tls_server_name ? c->tls_server_name : "-",
			(unsigned long long)c->interval_ms, (unsigned long long)c->timeout_ms,
			(unsigned long long)c->ttl_ms, (unsigned long long)c->deregister_after_ms,
			c->success_before_passing, c->failures_before_warning,
			c->failures_before_critical, c->status, (unsigned long long)c->create_index,
			(unsigned long long)c->modify_index);
		for (unsigned k = 0; k < c->headers_count; k++)
			wm_buf_printf(b, "  h %s=%s\n", c->headers[k].key, c->headers[k].value);
	}
}

static inline int by_row(const void *a, const void *b)
{
	const struct wm_instance *x = *(const struct wm_instance *const *)a;
	const struct wm_instance *y = *(const struct wm_instance *const *)b;

	return x->row < y->row ? -1 : x->row > y->row;
}

static inline int by_node_row(const void *a, const void *b)
{
	const struct wm_node *x = *(const struct wm_node *const *)a;
	const struct wm_node *y = *(const struct wm_node *const *)b;

	return x->row < y->row ? -1 : x->row > y->row;
}

static inline void show_nodes(struct wm_buf *b, const struct wm_registry *r)
{
	struct wm_node *n, **all = calloc(wm_registry_nodes(r), sizeof(struct wm_node *));
	unsigned count = 0, on_nodes = 0, checks = 0;
	struct wm_instance *i;
	size_t pos = 0;

	while ((n = wm_registry_next_node(r, &pos)))
		all[count++] = n;
	cr_assert_eq(count, wm_registry_nodes(r));
	qsort(all, count, sizeof(struct wm_node *), by_node_row);
	for (unsigned k = 0; k < count; k++) {
		size_t at = 0;

		n = all[k];
		wm_buf_printf(b, "N %s %s %s %08x self=%d ci=%llu mi=%llu row=%llu st=%d", n->name,
			      n->id, n->address, n->addr4.s_addr, n->self,
			      (unsigned long long)n->create_index,
			      (unsigned long long)n->modify_index, (unsigned long long)n->row,
			      n->holder->status);
		for (unsigned m = 0; m < n->meta_count; m++)
			wm_buf_printf(b, " %s=%s", n->meta[m].key, n->meta[m].value);
		for (unsigned m = 0; m < n->tagged_count; m++)
			wm_buf_printf(b, " @%s=%s", n->tagged[m].key, n->tagged[m].value);
		wm_buf_printf(b, " in %s/%s", n->region, n->zone);
		for (unsigned m = 0; m < n->holder->checks_count; m++)
			wm_buf_printf(b, " c:%s=%d %llu", n->holder->checks[m]->id,
				      n->holder->checks[m]->status,
				      (unsigned long long)n->holder->checks[m]->modify_index);
		wm_buf_puts(b, "\n");
		cr_assert_eq(wm_registry_node_named(r, n->name), n);
		cr_assert_eq(n->holder->node, n);
		while ((i = wm_node_next_instance(n, &at))) {
			cr_assert_eq(i->node, n);
			on_nodes++;
			checks += i->checks_count;
		}
		checks += n->holder->checks_count;
	}
	cr_assert_eq(on_nodes, wm_registry_instances(r));
	cr_assert_eq(checks, wm_registry_checks(r));
	free(all);
}

/* Everything of a registry that must outlive a restart, in the order of rows. */
static inline char *show(const struct wm_registry *r)
{
	unsigned count = wm_registry_instances(r), n = 0, links = 0;
	struct wm_instance **all = calloc(count + 1, sizeof(*all)), *i;
	struct wm_service *s;
	struct wm_buf b;
	size_t pos = 0;

	wm_buf_init(&b, 64u << 20);
	show_nodes(&b, r);
	while ((i = wm_registry_next_instance(r, &pos)))
		all[n++] = i;
	cr_assert_eq(n, count);
	qsort(all, n, sizeof(*all), by_row);
	for (unsigned k = 0; k < n; k++) {
		s = all[k]->service;
		show_instance(&b, all[k]);
		wm_buf_printf(&b, " S %s %08x %02x%02x%02x ci=%llu row=%llu n=%u\n", s->name,
			      s->vip4.s_addr, s->vip6.s6_addr[0], s->vip6.s6_addr[8],
			      s->vip6.s6_addr[15], (unsigned long long)s->create_index,
			      (unsigned long long)s->row, s->instances_count);
		cr_assert_eq(s->instances[all[k]->place], all[k]);
		cr_assert_eq(wm_node_instance(all[k]->node, all[k]->id), all[k]);
		for (unsigned q = 0; q < all[k]->checks_count; q++)
			cr_assert_eq(wm_node_check(all[k]->node, all[k]->checks[q]->id),
				     all[k]->checks[q]);
	}
	pos = 0;
	while ((s = wm_registry_next_service(r, &pos))) {
		cr_assert_eq(wm_registry_service(r, s->name), s);
		cr_assert_gt(s->instances_count, 0);
		links += s->instances_count;
	}
	cr_assert_eq(links, count);
	free(all);
	return b.data;
}

/* Every change seen, as text. */
static inline void record_change(void *arg, const struct wm_change *c)
{
	static const char *const kinds[] = {"",		"+svc",	  "upsert", "delete", "status",
					    "-svc",	"-check", "node",   "+node",  "-node",
					    "followed", "policy", "spec"};

	wm_buf_printf(arg, "%s %s%s%s%s%s;", kinds[c->kind], c->service ? c->service->name : "node",
		      c->instance ? "/" : "", c->instance ? c->instance->id : "",
		      c->check ? "/" : "", c->check ? c->check->id : "");
	if (c->old)
		wm_buf_puts(arg, "old;");
}
