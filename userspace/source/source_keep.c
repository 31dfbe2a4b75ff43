/* SPDX-License-Identifier: Apache-2.0 */
/* source_keep.c - what a source is of, and how it describes services, over a restart: one file a
 * source, replaced whole. Instances are the registry's to keep. See source.h. */
#include "source_internal.h"
#include "userspace/base/log.h"
#include "userspace/base/replace.h"
#include "userspace/model/spec.h"
#include "userspace/registry/registry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KEEP_MS	  5000 /* from a change to the file: many come at once */
#define KEEP_STEP 256  /* specs written a turn: some 3 ms */
#define VERSION	  1    /* of the file; another one is not read */

static bool path_of(const struct wm_source *s, char ret[PATH_MAX])
{
	return s->all->data_dir &&
	       snprintf(ret, PATH_MAX, "%s/source-%s.json", s->all->data_dir, s->name) < PATH_MAX;
}

/* --- writing ---------------------------------------------------------------------------------- */
static json_t *address_of(const struct wm_spec_address *a)
{
	char text[INET6_ADDRSTRLEN];

	if (a->a4.s_addr)
		inet_ntop(AF_INET, &a->a4, text, sizeof(text));
	else
		inet_ntop(AF_INET6, &a->a6, text, sizeof(text));
	return json_pack("{ss si}", "ip", text, "kind", a->kind);
}

static json_t *port_of(const struct wm_spec_port *p)
{
	return json_pack("{ss si si si ss*}", "name", p->name ? p->name : "", "port", p->port,
			 "node", p->node_port, "proto", p->proto, "endpoint", p->endpoint);
}

static json_t *spec_of(const struct wm_service_spec *x)
{
	json_t *addresses = json_array(), *ports = json_array();

	for (unsigned n = 0; n < x->addresses_count; n++)
		json_array_append_new(addresses, address_of(&x->addresses[n]));
	for (unsigned n = 0; n < x->ports_count; n++)
		json_array_append_new(ports, port_of(&x->ports[n]));
	return json_pack("{ss so so ss* sb sb sb sb sI si sI}", "service", x->service, "addresses",
			 addresses, "ports", ports, "external", x->external_name, "headless",
			 x->headless, "passed", x->passed, "local", x->local_only, "not_ready",
			 x->publish_not_ready, "affinity", (json_int_t)x->affinity_s, "prefer",
			 x->prefer, "created", (json_int_t)x->created);
}

static int put_octets(const char *data, size_t len, void *buf)
{
	return wm_buf_put(buf, data, len) ? 0 : -1;
}

static void put_spec(struct wm_source *s, const struct wm_service_spec *x)
{
	json_t *j = spec_of(x);

	wm_buf_puts(&s->keeping, ",\n");
	if (!j || json_dump_callback(j, put_octets, &s->keeping, JSON_COMPACT))
		s->keeping.failed = true;
	json_decref(j);
}

static void begin(struct wm_source *s)
{
	json_t *id = json_string(s->identity);

	wm_buf_reset(&s->keeping);
	s->keeping.failed = false;
	wm_buf_printf(&s->keeping, "{\"version\":%d,\"identity\":", VERSION);
	if (!id || json_dump_callback(id, put_octets, &s->keeping, JSON_ENCODE_ANY))
		s->keeping.failed = true;
	json_decref(id);
	wm_buf_puts(&s->keeping, ",\"specs\":[null");
	s->keep_pos = 0;
}

/* @return false: there is more. */
static bool go_on(struct wm_source *s, unsigned step)
{
	const struct wm_registry *r = s->all->c.registry;
	const struct wm_source_service *v;

	while (step-- && (v = wm_map_next(s->services, &s->keep_pos))) {
		const struct wm_service_spec *x = v->spec ? wm_registry_spec(r, v->name) : NULL;

		if (x)
			put_spec(s, x);
	}
	return step != UINT_MAX; /* the map ended before the step */
}

static void end(struct wm_source *s)
{
	char path[PATH_MAX];
	int err;

	wm_buf_puts(&s->keeping, "]}\n");
	err = !path_of(s, path) ? -ENAMETOOLONG
	      : s->keeping.failed
		      ? -ENOMEM
		      : wm_file_replace(path, s->keeping.data, s->keeping.len, WM_REPLACE_CACHE);
	if (err)
		wm_warn("source.keep", "source=%s err=%s text=\"specs are not kept\"", s->name,
			wm_err_name(err));
	wm_buf_done(&s->keeping);
	wm_buf_init(&s->keeping, WM_SOURCE_FILE_MAX);
}

void wm_source_keep_soon(struct wm_source *s)
{
	if (s->keep_armed || !s->all->data_dir)
		return;
	s->keep_armed = !wm_env_timer_arm(s->keep_timer, KEEP_MS);
}

void wm_source_on_keep(void *source)
{
	struct wm_source *s = source;

	s->keep_armed = false; /* what changes from here on is written once more */
	if (!s->keeping.len)
		begin(s);
	if (go_on(s, KEEP_STEP))
		end(s);
	else
		s->keep_armed = !wm_env_timer_arm(s->keep_timer, 1);
}

void wm_source_keep_now(struct wm_source *s)
{
	begin(s);
	(void)go_on(s, UINT_MAX - 1);
	end(s);
	s->keep_armed = false;
}

/* --- reading ---------------------------------------------------------------------------------- */
static bool read_address(json_t *j, struct wm_spec_address *ret)
{
	const char *ip;
	int kind;

	*ret = (struct wm_spec_address){0};
	if (json_unpack(j, "{ss si}", "ip", &ip, "kind", &kind) || kind < 0 ||
	    kind >= WM_SPEC_ADDRESS_KINDS)
		return false;
	ret->kind = (uint8_t)kind;
	return inet_pton(AF_INET, ip, &ret->a4) == 1 || inet_pton(AF_INET6, ip, &ret->a6) == 1;
}

static bool read_port(json_t *j, struct wm_spec_port *ret)
{
	const char *name, *endpoint = NULL;
	int port, node, proto;

	if (json_unpack(j, "{ss si si si s?s}", "name", &name, "port", &port, "node", &node,
			"proto", &proto, "endpoint", &endpoint) ||
	    port < 0 || port > 65535 || node < 0 || node > 65535 || proto < 0 || proto > 255)
		return false;
	*ret = (struct wm_spec_port){.name = name,
				     .port = (uint16_t)port,
				     .node_port = (uint16_t)node,
				     .proto = (uint8_t)proto,
				     .endpoint = endpoint};
	return true;
}

static bool read_spec(struct wm_source *s, json_t *j)
{
	struct wm_spec_address a[WM_SPEC_ADDRESSES_MAX];
	struct wm_spec_port p[WM_SPEC_PORTS_MAX];
	struct wm_service_spec x = {.addresses = a, .ports = p};
	json_t *addresses, *ports, *each;
	int headless, passed = 0, local, not_ready, prefer; /* passed: an older file has none */
	json_int_t affinity, created = 0;
	size_t n;

	if (json_unpack(j, "{ss so so s?s sb s?b sb sb sI si s?I}", "service", &x.service,
			"addresses", &addresses, "ports", &ports, "external", &x.external_name,
			"headless", &headless, "passed", &passed, "local", &local, "not_ready",
			&not_ready, "affinity", &affinity, "prefer", &prefer, "created",
			&created) ||
	    json_array_size(addresses) > WM_SPEC_ADDRESSES_MAX ||
	    json_array_size(ports) > WM_SPEC_PORTS_MAX || affinity < 0 ||
	    affinity > WM_SPEC_AFFINITY_MAX_S || prefer < 0 || prefer >= WM_SPEC_PREFERS)
		return false;
	json_array_foreach(addresses, n, each)
	{
		if (!read_address(each, &a[n]))
			return false;
	}
	x.addresses_count = (unsigned)json_array_size(addresses);
	json_array_foreach(ports, n, each)
	{
		if (!read_port(each, &p[n]))
			return false;
	}
	x.ports_count = (unsigned)json_array_size(ports);
	x.headless = headless;
	x.passed = passed;
	x.local_only = local;
	x.publish_not_ready = not_ready;
	x.affinity_s = (uint32_t)affinity;
	x.prefer = (uint8_t)prefer;
	x.created = created;
	return !wm_source_spec(s, &x);
}

/* At once: jansson would ask for it octet by octet. What is too large for one of ours is as if
 * nothing stood in it. @return NULL: there is none. */
static char *read_all(const char *path, size_t *ret_len)
{
	FILE *f = fopen(path, "re");
	size_t size = 0;
	struct stat st;
	char *text;

	if (!f)
		return NULL;
	if (!fstat(fileno(f), &st) && st.st_size <= WM_SOURCE_FILE_MAX)
		size = (size_t)st.st_size;
	text = malloc(size + 1);
	*ret_len = text ? fread(text, 1, size, f) : 0;
	fclose(f);
	return text;
}

void wm_source_recall(struct wm_source *s)
{
	char path[PATH_MAX], *text;
	const char *identity = "";
	json_t *top, *specs = NULL, *each;
	json_error_t why;
	unsigned bad = 0;
	int version = 0;
	size_t n, len;

	if (!path_of(s, path))
		return;
	text = read_all(path, &len);
	if (!text)
		return;
	top = json_loadb(text, len, 0, &why);
	free(text);
	if (json_unpack(top, "{si ss so}", "version", &version, "identity", &identity, "specs",
			&specs) ||
	    version != VERSION) {
		wm_warn("source.keep", "source=%s file=%s text=\"cannot be read: %s\"", s->name,
			wm_log_q(path), top ? "of another version" : "no JSON");
		json_decref(top);
		return;
	}
	snprintf(s->identity, sizeof(s->identity), "%s", identity);
	json_array_foreach(specs, n, each) bad += n && !read_spec(s, each);
	if (bad)
		wm_warn("source.keep", "source=%s bad=%u", s->name, bad);
	json_decref(top);
	memset(&s->spec_brake, 0, sizeof(s->spec_brake)); /* they did not come now */
	memset(s->counters, 0, sizeof(s->counters));
	wm_env_timer_disarm(s->keep_timer);
	s->keep_armed = false;
}
