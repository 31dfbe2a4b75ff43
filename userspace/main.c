/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - waymarkd's command line. */
#include "agent.h"
#include "config.h"
#include "reference.h"
#include "userspace/api/definitions.h"
#include "userspace/base/log.h"

#include <getopt.h>
#include <string.h>

static const char usage[] =
	"waymarkd - service discovery in the kernel: registry, health checks, DNS, connect()\n\n"
	"usage: waymarkd [options]\n\n"
	"  -c, --config FILE    JSON file of settings; without one the defaults hold\n"
	"      --config-dir DIR files *.json of it, after that one, in the order of their names;\n"
	"                       all may define services and checks beside settings\n"
	"  -s, --set S.N=VALUE  one setting, after the file: --set dns.port=53; may be repeated\n"
	"      --check-config   say all that the start would refuse (exit status 2) or do without\n"
	"                       (1), end\n"
	"      --dump-config    print all settings in force as JSON, end\n"
	"      --reference PAGE print a page in Markdown: settings, counters, errors, endpoints;\n"
	"                       or openapi, in JSON\n"
	"      --version        print the version, end\n"
	"  -h, --help           this text\n\n"
	"The agent runs in the foreground and logs to stderr. SIGHUP reads the files again, "
	"SIGTERM\n"
	"ends it: the kernel goes on serving. `waymarkctl detach` removes what is in the kernel.\n"
	"exit status: 0 ended by a signal, 1 could not start, 2 wrong usage or settings\n";

enum { OPT_CHECK = 256, OPT_DIR, OPT_DUMP, OPT_REFERENCE, OPT_VERSION };
static const struct option options[] = {{"config", required_argument, NULL, 'c'},
					{"config-dir", required_argument, NULL, OPT_DIR},
					{"set", required_argument, NULL, 's'},
					{"check-config", no_argument, NULL, OPT_CHECK},
					{"dump-config", no_argument, NULL, OPT_DUMP},
					{"reference", required_argument, NULL, OPT_REFERENCE},
					{"version", no_argument, NULL, OPT_VERSION},
					{"help", no_argument, NULL, 'h'},
					{0}};

struct command {
	int mode; /* OPT_* or 0: run */
	const char *config, *dir;
	const char *sets[64];
	unsigned sets_count;
};

/* @return -1 to go on, else the exit status. */
static int parse(int argc, char **argv, struct command *c)
{
	int o;

	while ((o = getopt_long(argc, argv, "c:s:h", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			c->config = optarg;
			break;
		case OPT_DIR:
			c->dir = optarg;
			break;
		case 's':
			if (c->sets_count == sizeof(c->sets) / sizeof(*c->sets)) {
				fprintf(stderr, "waymarkd: --set: at most 64\n");
				return 2;
			}
			c->sets[c->sets_count++] = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case OPT_VERSION:
			puts("waymarkd " WM_VERSION);
			return 0;
		case OPT_REFERENCE:
			if (!wm_reference(optarg, stdout))
				return 0;
			fprintf(stderr, "waymarkd: no page '%s'\n", optarg);
			return 2;
		case OPT_CHECK:
		case OPT_DUMP:
			c->mode = o;
			break;
		default:
			fputs("try: waymarkd --help\n", stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "waymarkd: unexpected argument '%s'\ntry: waymarkd --help\n",
			argv[optind]);
		return 2;
	}
	return -1;
}

static void on_fault(void *arg, const struct wm_err *e)
{
	(void)arg;
	fprintf(stderr, "waymarkd: %s\n", e->text);
}

/* --check-config. @return exit status. */
static int check(const struct wm_settings_source *from)
{
	struct wm_definitions *defined = NULL;
	enum wm_config_verdict v;
	struct wm_settings s;
	struct wm_err e = {0};
	int r = wm_settings_gather_all(&s, from, on_fault, NULL);

	if (!r) {
		r = wm_definitions_read(from, &s, &defined, &e);
		wm_definitions_free(defined);
		if (r)
			on_fault(NULL, &e);
	}
	v = wm_config_check(&s, on_fault, NULL);
	wm_settings_done(&s);
	if (r || v == WM_CONFIG_REFUSED)
		return 2;
	if (v == WM_CONFIG_DEGRADED)
		return 1;
	puts("configuration ok");
	return 0;
}

/* Settings, and what the files define beside them. */
static int settle(const struct wm_settings_source *from, struct wm_settings *s, struct wm_err *e)
{
	struct wm_definitions *d = NULL;
	int r = wm_settings_gather(s, from, e);

	if (!r)
		r = wm_definitions_read(from, s, &d, e);
	wm_definitions_free(d);
	return r;
}

int main(int argc, char **argv)
{
	struct command c = {0};
	struct wm_settings_source from;
	struct wm_settings s;
	struct wm_agent *a = NULL;
	struct wm_err e = {0};
	int r = parse(argc, argv, &c);

	if (r >= 0)
		return r;
	from = (struct wm_settings_source){c.config, c.dir, c.sets, c.sets_count};
	if (c.mode == OPT_CHECK)
		return check(&from);
	r = settle(&from, &s, &e);
	if (r) {
		fprintf(stderr, "waymarkd: %s\n", e.text);
		wm_settings_done(&s);
		return 2;
	}
	if (c.mode) {
		wm_settings_dump(&s, stdout);
		wm_settings_done(&s);
		return 0;
	}
	r = wm_agent_start(&s, &from, &a, &e);
	if (r) {
		wm_error("agent.start", "err=%s text=%s", wm_err_name(r), wm_log_q(e.text));
		wm_settings_done(&s);
		return 1;
	}
	r = wm_agent_run(a);
	wm_agent_stop(a);
	return r ? 1 : 0;
}
