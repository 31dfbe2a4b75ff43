/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - waymarkd's command line. */
#include "agent.h"
#include "config.h"
#include "reference.h"
#include "userspace/api/definitions.h"
#include "userspace/base/log.h"
#include "userspace/base/plain.h"
#include "userspace/dataplane/plane.h"

#include <getopt.h>
#include <string.h>
#include <unistd.h>

enum { OPT_CHECK = 256, OPT_DIR, OPT_DUMP, OPT_REFERENCE, OPT_VERSION };
static const struct option options[] = {
#define O(name, letter, value, text)                                                               \
	{name, (value) ? required_argument : no_argument, NULL, letter},
#include "options.def"
#undef O
	{0}};
static const struct {
	const char *name, *value, *text;
	int letter;
} option_texts[] = {
#define O(name, letter, value, text) {name, value, text, letter},
#include "options.def"
#undef O
};

static void usage(void)
{
	char left[64];

	puts("waymarkd - service discovery in the kernel: registry, health checks, DNS, "
	     "connect()\n\n"
	     "usage: waymarkd [options]\n");
	for (size_t i = 0; i < sizeof(option_texts) / sizeof(*option_texts); i++) {
		int letter = option_texts[i].letter;
		const char *value = option_texts[i].value;

		snprintf(left, sizeof(left), "%s%c%s--%s%s%s", letter < 256 ? "-" : " ",
			 letter < 256 ? letter : ' ', letter < 256 ? ", " : "  ",
			 option_texts[i].name, value ? " " : "", value ? value : "");
		printf("  %-21s %s\n", left, option_texts[i].text);
	}
	puts("\nThe agent runs in the foreground and logs to stderr. SIGHUP reads the files again, "
	     "SIGTERM\n"
	     "ends it: the kernel goes on serving. `waymarkctl detach` removes what is in the "
	     "kernel.\n\nexit status (with --check-config):");
#define E(status, text, checked) puts("  " #status "  " text " (" checked ")");
#include "exit_status.def"
#undef E
}

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
			usage();
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
	char plain[4 * sizeof(e->text)];

	(void)arg;
	fprintf(stderr, "waymarkd: %s\n", wm_plain(e->text, plain, sizeof(plain)));
}

/* --check-config. @return exit status. */
static int check(const struct wm_settings_source *from)
{
	enum wm_config_verdict v = wm_config_examine(from, on_fault, NULL);

	if (v == WM_CONFIG_OK)
		puts("configuration ok");
	return v == WM_CONFIG_REFUSED ? 2 : v == WM_CONFIG_DEGRADED ? 1 : 0;
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
	int r = wm_plane_custom_helper(argc, argv);

	if (r < 0)
		r = parse(argc, argv, &c);
	if (r >= 0)
		return r;
	from = (struct wm_settings_source){.file = c.config,
					   .dir = c.dir,
					   .env = (const char *const *)environ,
					   .sets = c.sets,
					   .sets_count = c.sets_count};
	if (c.mode == OPT_CHECK)
		return check(&from);
	r = settle(&from, &s, &e);
	if (r) {
		wm_settings_locate(&(struct wm_settings_where){&from, on_fault, NULL}, &e);
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
