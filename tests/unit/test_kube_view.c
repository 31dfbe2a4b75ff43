/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model source */
/* test_kube_view.c - Kubernetes' objects and what becomes of them. tests/unit/kube/ has the table:
 * a file a subject, in it objects as an API server sends them, and behind each what is told of it.
 *
 *   # a comment; what follows is a case of its own: a view that knows nothing
 *   config node=n1 zone=.. external=192.0.2.0/24 nodeports=no balancers=no endpoints=10
 *   +services {...}     an object is there (a line that begins with a tab goes on)
 *   -slices {...}       it went
 *   begin slices, end slices, skip services NAMESPACE NAME, again
 *   = spec default/web  what is told; none: nothing is
 */
#include "userspace/base/buf.h"
#include "userspace/base/prefix.h"
#include "userspace/source/kube_view.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CASES "tests/unit/kube"

static struct wm_buf told;
static struct wm_guard_prefix external[2];

/* --- what is told, in text ---------------------------------------------------------------------
 */
static void on_node(void *arg, const char *node, const struct wm_node_draft *d)
{
	(void)arg;
	wm_buf_printf(&told, "= node %s %s region=%s zone=%s", node, d->address, d->region,
		      d->zone);
	for (unsigned n = 0; n < d->tagged_count; n++)
		wm_buf_printf(&told, " %s=%s", d->tagged[n].key, d->tagged[n].value);
	for (unsigned n = 0; n < d->meta_count; n++)
		wm_buf_printf(&told, " %s=%s", d->meta[n].key, d->meta[n].value);
	wm_buf_putc(&told, '\n');
}

static void on_node_gone(void *arg, const char *node)
{
	(void)arg;
	wm_buf_printf(&told, "= node-gone %s\n", node);
}

static void on_put(void *arg, const char *node, const struct wm_instance_draft *d,
		   enum wm_status status, enum wm_lifecycle life)
{
	(void)arg;
	wm_buf_printf(&told, "= put %s %s %s:%u %s %s", node, d->id, d->address, d->port,
		      wm_status_str(status), life == WM_LIFE_STOPPING ? "stopping" : "running");
	for (unsigned n = 0; n < d->meta_count; n++)
		wm_buf_printf(&told, " %s=%s", d->meta[n].key, d->meta[n].value);
	if (d->traits)
		wm_buf_printf(&told, " zone=%s/%s", d->traits->region, d->traits->zone);
	wm_buf_putc(&told, '\n');
	cr_expect_eq(d->tags_count, 1);
	cr_expect_str_eq(d->tags[0], "k8s");
	cr_expect_eq(strncmp(d->id, d->name, strlen(d->name)), 0);
}

static void on_gone(void *arg, const char *node, const char *id)
{
	(void)arg;
	wm_buf_printf(&told, "= gone %s %s\n", node, id);
}

static void on_spec(void *arg, const struct wm_service_spec *s)
{
	static const char *const prefers[] = {"", " prefer=zone", " prefer=node"};
	char ip[INET6_ADDRSTRLEN];

	(void)arg;
	cr_expect_str_eq(s->source, "kubernetes");
	cr_expect_eq(wm_service_spec_validate(s, NULL), 0);
	wm_buf_printf(&told, "= spec %s", s->service);
	for (unsigned n = 0; n < s->addresses_count; n++) {
		const struct wm_spec_address *a = &s->addresses[n];

		if (a->a4.s_addr)
			inet_ntop(AF_INET, &a->a4, ip, sizeof(ip));
		else
			inet_ntop(AF_INET6, &a->a6, ip, sizeof(ip));
		wm_buf_printf(&told, " %s=%s", wm_spec_address_kind_str(a->kind), ip);
	}
	for (unsigned n = 0; n < s->ports_count; n++) {
		const struct wm_spec_port *p = &s->ports[n];

		wm_buf_printf(&told, " %s:%u%s", p->name, p->port,
			      p->proto == IPPROTO_UDP ? "/udp" : "");
		if (p->node_port)
			wm_buf_printf(&told, "@%u", p->node_port);
		if (p->endpoint)
			wm_buf_printf(&told, ">%s", p->endpoint);
	}
	if (s->external_name)
		wm_buf_printf(&told, " name=%s", s->external_name);
	if (s->created)
		wm_buf_printf(&told, " created=%lld", (long long)s->created);
	if (s->affinity_s)
		wm_buf_printf(&told, " affinity=%u", s->affinity_s);
	wm_buf_printf(&told, "%s%s%s%s%s\n", s->headless ? " headless" : "",
		      s->passed ? " passed" : "", s->local_only ? " local" : "",
		      s->publish_not_ready ? " not-ready" : "", prefers[s->prefer]);
}

static void on_spec_gone(void *arg, const char *service)
{
	(void)arg;
	wm_buf_printf(&told, "= spec-gone %s\n", service);
}

static void on_policy(void *arg, const char *service, const char *json)
{
	(void)arg;
	wm_buf_printf(&told, "= policy %s %s\n", service, json ? json : "none");
}

static void on_told(void *arg, const char *object, const char *text)
{
	(void)arg;
	wm_buf_printf(&told, "= told %s %s\n", object, text);
}

static const struct wm_kube_out out = {.node = on_node,
				       .node_gone = on_node_gone,
				       .put = on_put,
				       .gone = on_gone,
				       .spec = on_spec,
				       .spec_gone = on_spec_gone,
				       .policy = on_policy,
				       .told = on_told};

/* --- running a file ----------------------------------------------------------------------------
 */
static struct wm_kube_view *view_of(char *words)
{
	struct wm_kube_view_config c = {.source = "kubernetes",
					.node = "n1",
					.external = external,
					.node_ports = true,
					.balancers = true,
					.out = out};
	struct wm_kube_view *v;
	char *at = NULL;

	for (char *w = strtok_r(words, " \n", &at); w; w = strtok_r(NULL, " \n", &at)) {
		if (strncmp(w, "external=", 9) == 0)
			cr_assert_eq(wm_prefix_parse(w + 9, &external[c.external_count++], NULL),
				     0);
		else if (strcmp(w, "nodeports=no") == 0)
			c.node_ports = false;
		else if (strcmp(w, "balancers=no") == 0)
			c.balancers = false;
		else if (strncmp(w, "endpoints=", 10) == 0)
			c.endpoints_max = (unsigned)atoi(w + 10);
		else
			cr_assert_fail("config: %s", w);
	}
	v = wm_kube_view_new(&c);
	cr_assert_not_null(v);
	return v;
}

static enum wm_kube_kind kind_of(const char *s)
{
	return strncmp(s, "services", 8) == 0 ? WM_KUBE_SERVICES
	       : strncmp(s, "slices", 6) == 0 ? WM_KUBE_SLICES
					      : WM_KUBE_NODES;
}

static void run(struct wm_kube_view *v, char *step)
{
	char *json = strchr(step, '{');
	char a[300], b[300];
	struct wm_err e = {0};
	int r = 0;

	if (*step == '+')
		r = wm_kube_view_object(v, kind_of(step + 1), json, strlen(json), &e);
	else if (*step == '-')
		r = wm_kube_view_gone(v, kind_of(step + 1), json, strlen(json), &e);
	else if (strncmp(step, "begin ", 6) == 0)
		wm_kube_view_begin(v, kind_of(step + 6));
	else if (strncmp(step, "end ", 4) == 0)
		wm_kube_view_end(v, kind_of(step + 4));
	else if (sscanf(step, "skip %*s %299s %299s", a, b) == 2)
		wm_kube_view_skipped(v, kind_of(step + 5), a, b);
	else if (strncmp(step, "again", 5) == 0)
		wm_kube_view_again(v);
	else
		cr_assert_fail("%s", step);
	if (r)
		wm_buf_printf(&told, "= refused %s\n", e.text);
}

/* An order of lines that a table's walk leaves open is none of ours. */
static int by_line(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sorted(const char *in, struct wm_buf *ret)
{
	char *copy = strdup(in), *at = NULL, *lines[256] = {NULL};
	size_t n = 0;

	for (char *l = strtok_r(copy, "\n", &at); l && n < 256; l = strtok_r(NULL, "\n", &at))
		lines[n++] = l;
	qsort(lines, n, sizeof(*lines), by_line);
	for (size_t i = 0; i < n; i++)
		wm_buf_printf(ret, "%s\n", lines[i]);
	free(copy);
}

static void compare(const char *file, unsigned line, const char *step, struct wm_buf *wanted)
{
	struct wm_buf is, want;

	wm_buf_init(&is, 1 << 20);
	wm_buf_init(&want, 1 << 20);
	sorted(told.data ? told.data : "", &is);
	sorted(wanted->data ? wanted->data : "", &want);
	cr_expect_str_eq(is.data ? is.data : "", want.data ? want.data : "",
			 "%s:%u: %.60s\nis:\n%sshould be:\n%s", file, line, step,
			 is.data ? is.data : "", want.data ? want.data : "");
	wm_buf_done(&is);
	wm_buf_done(&want);
	wm_buf_reset(&told);
	wm_buf_reset(wanted);
}

static void play(const char *file)
{
	char path[512], *line = NULL;
	unsigned number = 0, at = 0;
	struct wm_kube_view *v = NULL;
	struct wm_buf step, wanted;
	size_t cap = 0;
	FILE *f;

	snprintf(path, sizeof(path), CASES "/%s", file);
	f = fopen(path, "re");
	cr_assert_not_null(f, "%s", path);
	wm_buf_init(&told, 1 << 20);
	wm_buf_init(&step, 1 << 20);
	wm_buf_init(&wanted, 1 << 20);
	for (bool more = true; more;) {
		more = getline(&line, &cap, f) > 0;
		number++;
		if (more && *line == '=')
			wm_buf_puts(&wanted, line);
		if (more && *line == '\t')
			wm_buf_puts(&step, line);
		if (more && (*line == '=' || *line == '\t' || *line == '#' || *line == '\n'))
			continue;
		if (step.len) {
			run(v, step.data);
			compare(file, at, step.data, &wanted);
			wm_buf_reset(&step);
		}
		at = number;
		if (more && strncmp(line, "config", 6) == 0) {
			wm_kube_view_free(v);
			v = view_of(line + 6);
		} else if (more) {
			wm_buf_puts(&step, line);
		}
	}
	wm_kube_view_free(v);
	wm_buf_done(&told);
	wm_buf_done(&step);
	wm_buf_done(&wanted);
	free(line);
	fclose(f);
}

Test(kube_view, what_becomes_of_objects)
{
	struct dirent *entry;
	unsigned files = 0;
	DIR *d = opendir(CASES);

	cr_assert_not_null(d, "run it from the top of the tree");
	while ((entry = readdir(d))) {
		if (*entry->d_name == '.')
			continue;
		play(entry->d_name);
		files++;
	}
	closedir(d);
	cr_assert_geq(files, 4);
}
