/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_doctor.c - the agent, the kernel, the pins, DNS: what works, what does not, the errno
 * it rests on and what to do. Works with the agent dead, from the pins alone. */
#include "waymarkctl_doctor.h"

#include "userspace/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

static const char *const results[] = {
	[WM_FOUND_OK] = "ok", [WM_FOUND_NOTE] = "note", [WM_FOUND_FAULT] = "fault"};

/* --- findings --------------------------------------------------------------------------------- */
void ctl_found(void *arg, const struct wm_finding *f)
{
	struct ctl_findings *to = arg;

	*to->faults += f->result == WM_FOUND_FAULT;
	json_array_append_new(to->list,
			      json_pack("{s:s, s:s, s:s, s:s, s:s}", "Check", f->name, "Result",
					results[f->result], "Error",
					f->error ? wm_err_name(f->error) : "", "Meaning", f->text,
					"Remedy", f->result == WM_FOUND_OK ? "" : f->remedy));
}

void ctl_finding(struct ctl_findings *to, struct wm_finding f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f.text, sizeof(f.text), fmt, ap);
	va_end(ap);
	ctl_found(to, &f);
}

/* --- the agent -------------------------------------------------------------------------------- */
static void agent_reasons(const json_t *plane, struct ctl_findings *to)
{
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(plane, "reasons"), i, v)
	{
		struct wm_finding f = {.name = "agent", .result = WM_FOUND_FAULT};
		const char *text = json_string_value(v);

		snprintf(f.remedy, sizeof(f.remedy), "%s",
			 strstr(text, "cgroup2")
				 ? "kernel.cgroup: a directory of a cgroup2, or empty"
			 : strstr(text, "bpffs")
				 ? "mount -t bpf bpf /sys/fs/bpf; kernel.pin_dir below it"
			 : strstr(text, "running agent") ? "stop the other agent, or another "
							   "kernel.pin_dir and kernel.cgroup"
			 : strstr(text, "memory")	 ? "kernel.memory_max, kernel.services_max"
			 : strstr(text, "ermi") || strstr(text, "not permitted")
				 ? "the capabilities that deploy/waymarkd.service lists"
				 : "the agent's log says more");
		ctl_finding(to, f, "%s", text);
	}
}

static void see_agent(const struct ctl *c, const json_t *status, const struct wm_inspection *i,
		      struct ctl_findings *to)
{
	const json_t *plane = json_object_get(status, "plane");
	const char *state = json_string_value(json_object_get(plane, "state"));
	const char *pins = json_string_value(json_object_get(plane, "pin_dir"));
	struct wm_finding f = {.name = "agent"};

	if (!status) {
		f.result = i->pinned ? WM_FOUND_FAULT : WM_FOUND_NOTE;
		snprintf(f.remedy, sizeof(f.remedy),
			 "systemctl start waymarkd, or name it: --agent");
		ctl_finding(to, f, "no agent answers at %s%s", c->agent,
			    i->pinned ? ": the kernel serves what it was told last" : "");
		return;
	}
	if (state && !strcmp(state, "degraded")) {
		agent_reasons(plane, to);
	} else {
		f.result = state && !strcmp(state, "off") ? WM_FOUND_NOTE : WM_FOUND_OK;
		ctl_finding(to, f, "version %s, data plane %s",
			    json_string_value(json_object_get(status, "version")),
			    state ? state : "?");
	}
	if (pins && *pins && strcmp(pins, c->pin_dir) != 0) {
		f.result = WM_FOUND_NOTE;
		snprintf(f.remedy, sizeof(f.remedy), "--pin-dir %.200s", pins);
		ctl_finding(to, f, "its pins are in %s, not in %s", pins, c->pin_dir);
	}
}

/* --- this shell, and a datagram socket in the agent's cgroup ---------------------------------- */
static void see_shell(const struct wm_inspection *i, struct ctl_findings *to)
{
	struct wm_finding f = {.name = "shell"};
	char root[256], line[1024], own[1300] = "";
	size_t n = strlen(i->cgroup);
	FILE *in = fopen("/proc/self/cgroup", "re");

	while (in && fgets(line, sizeof(line), in))
		if (!strncmp(line, "0::", 3) && !wm_cgroup_root(root, sizeof(root))) {
			line[strcspn(line, "\n")] = 0;
			snprintf(own, sizeof(own), "%s%s", root,
				 strcmp(line + 3, "/") ? line + 3 : "");
		}
	if (in)
		fclose(in);
	if (!strncmp(own, i->cgroup, n) && (!own[n] || own[n] == '/')) {
		ctl_finding(to, f, "this shell is in the steered cgroup");
		return;
	}
	f.result = WM_FOUND_NOTE;
	snprintf(f.remedy, sizeof(f.remedy), "echo $$ > %.200s/cgroup.procs", i->cgroup);
	ctl_finding(to, f, "this shell is in %s, not below %s: its connect() is not steered",
		    *own ? own : "no cgroup2", i->cgroup);
}

static void see_steering(const struct wm_inspection *i, struct ctl_findings *to)
{
	struct wm_finding f = {.name = "steering"};
	int r = ctl_steered(i->cgroup, i->vip4_be);

	if (!r) {
		ctl_finding(to, f, "connect() to the address of %s is steered in %s", i->name,
			    i->cgroup);
	} else if (r == -ECONNREFUSED) {
		ctl_finding(to, f,
			    "connect() to the address of %s is refused: no endpoint is usable",
			    i->name);
	} else if (r == 1) {
		f.result = WM_FOUND_FAULT;
		snprintf(f.remedy, sizeof(f.remedy),
			 "restart the agent: it attaches its programs again");
		ctl_finding(to, f, "connect() to the address of %s is not steered in %s", i->name,
			    i->cgroup);
	} else {
		f.result = WM_FOUND_NOTE;
		f.error = r;
		ctl_finding(to, f, "connect() in %s cannot be tried", i->cgroup);
	}
}

static void see_selftest(struct ctl_findings *to)
{
	struct wm_finding f = {.name = "selftest"};
	char why[512];

	f.error = ctl_selftest(why, sizeof(why));
	if (f.error >= 0) {
		f.error = 0;
		ctl_finding(to, f, "a connect() in a cgroup of its own was steered to its backend");
		return;
	}
	/* the agent's container sees the node's cgroups, and may make none */
	f.result = f.error == -EROFS ? WM_FOUND_NOTE : WM_FOUND_FAULT;
	snprintf(f.remedy, sizeof(f.remedy), "%s",
		 f.error == -EROFS ? "waymarkctl doctor on the node itself tries it"
				   : "is lo up? see the other findings");
	ctl_finding(to, f, "%s", why);
}

/* --- the mesh ----------------------------------------------------------------------------------
 */
static void see_mesh(const json_t *status, struct ctl_findings *to)
{
	const json_t *v, *mesh = json_object_get(status, "mesh");
	const char *mode = json_string_value(json_object_get(mesh, "mode"));
	struct wm_finding f = {.name = "mesh"};
	size_t i;

	if (!mode || !strcmp(mode, "off")) {
		ctl_finding(to, f, "%s",
			    status ? "off: this agent is a mesh of its own" : "no agent to ask");
		return;
	}
	json_array_foreach(json_object_get(mesh, "reasons"), i, v)
	{
		struct wm_finding bad = {.result = WM_FOUND_FAULT};

		bad.name = json_string_value(json_object_get(v, "what"));
		snprintf(bad.remedy, sizeof(bad.remedy), "%s",
			 json_string_value(json_object_get(v, "remedy")));
		ctl_finding(to, bad, "%s", json_string_value(json_object_get(v, "text")));
	}
	if (!i)
		ctl_finding(to, f, "%lld of %lld members are alive",
			    (long long)json_integer_value(json_object_get(mesh, "alive")),
			    (long long)json_integer_value(json_object_get(mesh, "members")));
}

/* --- the report ------------------------------------------------------------------------------- */
static struct ctl_findings section(json_t *report, const char *name, unsigned *faults)
{
	struct ctl_findings s = {.list = json_array(), .faults = faults};

	json_object_set_new(report, name, s.list);
	return s;
}

static void print_section(const char *name, const json_t *list)
{
	const json_t *v;
	size_t i;

	printf("%s\n", name);
	json_array_foreach(list, i, v)
	{
		const char *result = json_string_value(json_object_get(v, "Result"));
		const char *error = json_string_value(json_object_get(v, "Error"));
		const char *remedy = json_string_value(json_object_get(v, "Remedy"));
		char text[1024];

		printf("  %-17s", json_string_value(json_object_get(v, "Check")));
		ctl_word(result, stdout);
		printf("%*s%s%s%s%s\n", 7 - (int)strlen(result), "",
		       wm_plain(json_string_value(json_object_get(v, "Meaning")), text,
				sizeof(text)),
		       *error ? " (" : "", error, *error ? ")" : "");
		if (*remedy)
			printf("%26s-> %s\n", "", wm_plain(remedy, text, sizeof(text)));
	}
}

static void see_sources(const json_t *all, struct ctl_findings *to)
{
	const json_t *s;
	size_t i;

	json_array_foreach(all, i, s)
	{
		const char *state = json_string_value(json_object_get(s, "state"));
		const char *alarm = json_string_value(json_object_get(s, "alarm"));
		const char *text = json_string_value(json_object_get(s, "text"));
		struct wm_finding f = {.name = json_string_value(json_object_get(s, "name"))};

		if (*alarm || !strcmp(state, "away") || !strcmp(state, "refused")) {
			f.result = WM_FOUND_FAULT;
			snprintf(f.remedy, sizeof(f.remedy), "see waymarkctl sources");
			ctl_finding(to, f, "%s: %s", state, *alarm ? alarm : text);
			continue;
		}
		ctl_finding(to, f, "%s: %lld services, %lld instances", state,
			    (long long)json_integer_value(json_object_get(s, "services")),
			    (long long)json_integer_value(json_object_get(s, "instances")));
	}
}

static void print_report(const struct ctl *c, json_t *report, unsigned faults)
{
	const char *name;
	json_t *v;

	if (c->json) {
		json_object_set_new(report, "Faults", json_integer(faults));
		json_dumpf(report, stdout, JSON_INDENT(2));
		putchar('\n');
		return;
	}
	json_object_foreach(report, name, v) print_section(name, v);
	if (faults)
		printf("faults: %u\n", faults);
	else
		puts("no fault");
}

int ctl_doctor(const struct ctl *c)
{
	json_t *report = json_object(), *status = ctl_get(c, "/v1/waymark/status", true);
	const char *pins =
		json_string_value(json_object_get(json_object_get(status, "plane"), "pin_dir"));
	struct ctl own = *c;
	struct wm_plane_config pc = {0};
	struct wm_inspection i;
	unsigned faults = 0;
	struct ctl_findings agent = section(report, "Agent", &faults),
			    kernel = section(report, "Kernel", &faults),
			    plane = section(report, "Plane", &faults),
			    dns = section(report, "DNS", &faults),
			    mesh = section(report, "Mesh", &faults),
			    brought = section(report, "Sources", &faults);
	json_t *sources = status ? ctl_get(c, "/v1/waymark/sources", true) : NULL;
	int r;

	/* who names no directory means the agent's */
	if (pins && *pins && !strcmp(c->pin_dir, CTL_PIN_DIR))
		own.pin_dir = pins;
	pc.pin_dir = own.pin_dir;
	r = wm_plane_probe(&pc, ctl_found, &kernel);
	wm_plane_inspect(own.pin_dir, ctl_found, &plane, &i);
	see_agent(&own, status, &i, &agent);
	if (!r)
		see_selftest(&kernel);
	if (*i.cgroup)
		see_shell(&i, &plane);
	if (!r && *i.cgroup && i.has_vip4)
		see_steering(&i, &plane);
	ctl_doctor_dns(status, &i, &dns);
	see_mesh(status, &mesh);
	see_sources(sources, &brought);
	json_decref(sources);
	print_report(&own, report, faults);
	json_decref(report);
	json_decref(status);
	return faults ? CTL_EXIT_FAILED : 0;
}
