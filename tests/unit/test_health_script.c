/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry health */
/* Script checks: real programs, their exit status, their output and bounds, and that nothing of
 * them is left when they time out or their check goes. */
#include "health_help.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/health/child.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

static int rm_entry(const char *p, const struct stat *st, int flag, struct FTW *f)
{
	(void)st;
	(void)flag;
	(void)f;
	return remove(p);
}

static pid_t dir_owner;

/* At the end of the process: a test that fails or skips does not come to its teardown. */
static void rm_dir(void)
{
	if (*dir && getpid() == dir_owner)
		nftw(dir, rm_entry, 8, FTW_DEPTH | FTW_PHYS);
	*dir = '\0';
}

static void setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/wm-script-XXXXXX");
	cr_assert(mkdtemp(dir));
	dir_owner = getpid();
	cr_assert_eq(atexit(rm_dir), 0);
	health_config.scripts = health_config.units = true;
	start_registry(NULL);
	start_health();
}

static void teardown(void)
{
	stop_all();
	rm_dir();
}

TestSuite(health_script, .init = setup, .fini = teardown, .timeout = 300);

static struct wm_check_draft script(const char *const *args, unsigned count)
{
	return (struct wm_check_draft){.kind = WM_CHECK_SCRIPT,
				       .args = args,
				       .args_count = count,
				       .interval_ms = 5,
				       .timeout_ms = 20000}; /* else it is the interval */
}

/* A line for sh, which runs in the test's directory. */
static struct wm_check *sh(const char *id, uint64_t timeout_ms, unsigned output_max,
			   const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static struct wm_check *sh(const char *id, uint64_t timeout_ms, unsigned output_max,
			   const char *fmt, ...)
{
	char line[1024], whole[1200];
	const char *args[] = {"sh", "-c", whole};
	struct wm_check_draft d = script(args, 3);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	snprintf(whole, sizeof(whole), "cd %s; %s", dir, line);
	if (timeout_ms)
		d.timeout_ms = timeout_ms;
	d.output_max = output_max;
	return add(id, d);
}

static void put_file(const char *name, const char *text)
{
	char path[128], temp[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(temp, sizeof(temp), "%s/.%s", dir, name);
	f = fopen(temp, "w");
	cr_assert(f);
	fputs(text, f);
	fclose(f);
	cr_assert_eq(rename(temp, path), 0);
}

/* Number in a file, 0: it is not there yet. */
static long number_in(const char *name)
{
	char path[128];
	long n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	if (!f)
		return 0;
	if (fscanf(f, "%ld", &n) != 1)
		n = 0;
	fclose(f);
	return n;
}

static bool gone(long pid)
{
	char path[64], line[256] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return true;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	/* an orphan that init has not reaped yet */
	return !*line || strstr(line, ") Z ") || strstr(line, ") X ");
}

Test(health_script, exit_status_is_the_status)
{
	struct wm_check *c;

	put_file("code", "0");
	c = sh("s", 0, 0, "echo out; echo err >&2; read c <code; exit $c");
	cr_assert_str_eq(wm_check_kind_str(c->kind), "script");
	UNTIL(c->status == WM_PASSING);
	cr_assert_str_eq(c->output, "out\nerr\n");
	put_file("code", "1");
	UNTIL(c->status == WM_WARNING);
	put_file("code", "2");
	UNTIL(c->status == WM_CRITICAL);
	cr_assert_str_eq(c->output, "out\nerr\n");
	c = sh("quiet", 0, 0, "exit 3");
	UNTIL(*c->output);
	cr_assert_str_eq(c->output, "Exit status 3");
	c = sh("killed", 0, 0, "echo bye; kill -9 $$");
	UNTIL(*c->output);
	cr_assert_str_eq(c->output, "Killed by signal 9\nbye\n");
	cr_assert_eq(c->status, WM_CRITICAL);
}

/* Value of a line of this process's /proc/self/status. */
static void status_line(const char *key, char *to, size_t cap)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");

	cr_assert(f);
	*to = '\0';
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, key, strlen(key)) == 0)
			snprintf(to, cap, "%s", line);
	fclose(f);
}

Test(health_script, has_none_of_the_agents_privileges)
{
	static const char *const keys[] = {"CapInh:\t", "CapPrm:\t", "CapEff:\t", "CapAmb:\t"};
	char before[256], after[256], bounds[256], inherits[256], want[64];
	struct wm_check *c;

	status_line("CapEff:", before, sizeof(before));
	status_line("CapBnd:", bounds, sizeof(bounds));
	status_line("NoNewPrivs:", inherits, sizeof(inherits));
	c = sh("s", 0, 0, "grep -E 'Cap|NoNewPrivs' /proc/self/status; ulimit -Hn; ulimit -Hl");
	UNTIL(strstr(c->output, "1\n1024\n8192\n")); /* a first run may end before its limits */
	for (size_t i = 0; i < WM_ARRAY_LEN(keys); i++) {
		snprintf(want, sizeof(want), "%s0000000000000000\n", keys[i]);
		cr_assert(strstr(c->output, want), "%s: %s", keys[i], c->output);
	}
	cr_assert(strstr(c->output, "NoNewPrivs:\t1\n"), "%s", c->output);
	if (strtoull(before + 8, NULL, 16) >> CAP_SETPCAP & 1)
		cr_assert(strstr(c->output, "CapBnd:\t0000000000000000\n"), "%s", c->output);
	status_line("CapEff:", after, sizeof(after));
	cr_assert_str_eq(before, after, "the agent keeps its own");
	status_line("CapBnd:", after, sizeof(after));
	cr_assert_str_eq(bounds, after);
	status_line("NoNewPrivs:", after, sizeof(after));
	cr_assert_str_eq(after, inherits);
}

Test(health_script, thresholds_hold_for_scripts_too)
{
	const char *args[] = {"sh", "-c", NULL};
	struct wm_check_draft d;
	struct wm_check *c;
	char line[128];

	put_file("code", "0");
	snprintf(line, sizeof(line), "cd %s; read c <code; echo run >>runs; exit $c", dir);
	args[2] = line;
	d = script(args, 3);
	d.interval_ms = 3600 * 1000;
	d.success_before_passing = 2;
	d.failures_before_warning = 2;
	d.failures_before_critical = 3;
	c = add("s", d);
	for (unsigned n = 1; n <= 6; n++) {
		/* passes, passes, fails from then on */
		static const enum wm_status want[] = {WM_CRITICAL, WM_CRITICAL, WM_PASSING,
						      WM_PASSING,  WM_WARNING,	WM_CRITICAL};
		struct wm_prober *p = c->prober;

		if (n == 3)
			cr_assert_eq(c->status, WM_PASSING);
		if (n == 4)
			put_file("code", "2");
		if (n == 3) /* one more that passes changes nothing */
			cr_assert_eq(p->passes, 2);
		wm_schedule_put(health->schedule, &p->run, wm_clock_ms());
		UNTIL(stats().runs == n);
		cr_assert_eq(c->status, n == 2 ? WM_PASSING : want[n - 1], "run %u: %d", n,
			     c->status);
	}
}

Test(health_script, arguments_are_no_shell_line)
{
	const char *args[] = {"printf", "%s|%s", "a b; exit 1", "$HOME `id`"};
	struct wm_check *c = add("s", script(args, 4));

	UNTIL(c->status == WM_PASSING);
	cr_assert_str_eq(c->output, "a b; exit 1|$HOME `id`");
}

Test(health_script, inherits_nothing_but_a_few_variables)
{
	int leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC, as a library may do it */
	struct wm_check *c;

	cr_assert_eq(setenv("WM_SECRET", "token", 1), 0);
	signal(SIGPIPE, SIG_IGN);
	c = sh("id-of-check", 0, 0,
	       "env | grep -v ^PWD= | grep -v ^OLDPWD= | grep -v ^_= | sort; "
	       /* by itself: for a pipe or a redirection the shell opens some of its own */
	       "for f in /proc/$$/fd/*; do [ -e $f ] && printf '%%s ' ${f##*/}; done; "
	       "sed -n 's/^SigIgn.*\\(.......\\)$/ignored \\1/p' /proc/$$/status; ps -o pgid= -p "
	       "$$ | grep -qx \" *$$\" && echo leader");
	UNTIL(c->status == WM_PASSING);
	cr_assert_str_eq(c->output,
			 "LANG=C.UTF-8\nPATH=" WM_CHILD_PATH
			 "\nWAYMARK_CHECK_ID=id-of-check\nWAYMARK_SERVICE=web\n"
			 "WAYMARK_SERVICE_ID=id-of-check\n0 1 2 ignored 0000000\nleader\n",
			 "%s", c->output);
	close(leak);
}

Test(health_script, the_end_of_a_long_output_is_kept)
{
	struct wm_check *c = sh("long", 0, 20, "seq 1 300000; echo the end");
	struct wm_check *whole = sh("whole", 0, 0, "seq 1 300000; echo the end");

	UNTIL(c->status == WM_PASSING && whole->status == WM_PASSING);
	cr_assert_str_eq(c->output, "Captured 20 of 1988903 bytes\n...\n9999\n300000\nthe end\n",
			 "%s", c->output);
	cr_assert_eq(strlen(whole->output), WM_CHECK_OUTPUT_MAX);
	cr_assert_eq(strncmp(whole->output, "Captured 4096 of 1988903 bytes\n...\n", 35), 0);
	cr_assert_str_eq(whole->output + WM_CHECK_OUTPUT_MAX - 8, "the end\n");
	c = sh("binary", 0, 0, "printf 'a\\0b\\377\\001'");
	UNTIL(c->status == WM_PASSING);
	cr_assert_str_eq(c->output, "a?b??");
}

Test(health_script, a_timeout_kills_the_whole_group)
{
	struct wm_check *c =
		sh("slow", 300, 0,
		   "sleep 3600 & echo $! >inner; echo $$ >outer; echo begun; sleep 3600");

	UNTIL(*c->output);
	cr_assert_str_eq(c->output, "Timed out (300ms) running check\n\nbegun\n");
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert_eq(wm_registry_deregister(registry, "slow", NULL, NULL, NULL), 0);
	UNTIL(!check_of("slow") && wm_children_count(health->children) == 0);
	UNTIL(gone(number_in("outer")) && gone(number_in("inner")));
}

/* What a script leaves behind would be one more with each run. */
Test(health_script, what_is_left_in_the_background_ends_with_the_script)
{
	struct wm_check *c = sh("s", 0, 0, "sleep 3600 & echo $! >inner; echo fine");

	UNTIL(c->status == WM_PASSING);
	cr_assert_str_eq(c->output, "fine\n");
	cr_assert_eq(wm_registry_deregister(registry, "s", NULL, NULL, NULL), 0);
	UNTIL(!check_of("s") && wm_children_count(health->children) == 0);
	UNTIL(gone(number_in("inner")));
}

Test(health_script, removal_kills_a_run)
{
	sh("s", 0, 0, "sleep 3600 & echo $! >inner; echo $$ >outer; wait");
	UNTIL(number_in("outer"));
	cr_assert_eq(stats().in_flight, 1);
	cr_assert_eq(wm_registry_deregister(registry, "s", NULL, NULL, NULL), 0);
	UNTIL(!check_of("s") && wm_children_count(health->children) == 0);
	UNTIL(gone(number_in("outer")) && gone(number_in("inner")));
	cr_assert_eq(stats().in_flight, 0);
	cr_assert_eq(stats().runs, 0);
}

Test(health_script, the_agents_end_kills_runs)
{
	sh("s", 0, 0, "sleep 3600 & echo $! >inner; echo $$ >outer; wait");
	UNTIL(number_in("outer"));
	wm_health_free(health);
	health = NULL;
	cr_assert_lt(waitpid(-1, NULL, WNOHANG), 0, "a child is left");
	for (int n = 0; n < 1000 && !(gone(number_in("outer")) && gone(number_in("inner"))); n++)
		usleep(10000);
	cr_assert(gone(number_in("outer")) && gone(number_in("inner")));
}

/* One that writes without end may not keep the loop from its other work. */
Test(health_script, an_endless_writer_is_killed_in_time)
{
	struct wm_check *c = sh("endless", 700, 0, "exec yes");
	struct wm_check *other = sh("other", 0, 0, "true");

	UNTIL(*c->output);
	cr_assert_eq(strncmp(c->output, "Timed out (700ms) running check\n\nCaptured 4096 of ", 50),
		     0, "%s", c->output);
	cr_assert_eq(other->status, WM_PASSING);
}

Test(health_script, a_program_that_cannot_be_started)
{
	const char *none[] = {"/none/such"}, *unfound[] = {"wm-no-such-program"}, *data[] = {NULL};
	struct wm_check *c;
	char path[128];

	c = add("a", script(none, 1));
	UNTIL(*c->output);
	cr_assert_str_eq(c->output, "fork/exec /none/such: No such file or directory");
	c = add("b", script(unfound, 1));
	UNTIL(*c->output);
	cr_assert(strstr(c->output, "No such file"), "%s", c->output);
	put_file("data", "no program\n");
	snprintf(path, sizeof(path), "%s/data", dir);
	data[0] = path;
	c = add("c", script(data, 1));
	UNTIL(*c->output);
	cr_assert(strstr(c->output, "Permission denied"), "%s", c->output);
	cr_assert_eq(chmod(path, 0755), 0);
	UNTIL(strstr(c->output, "Exec format error"));
	cr_assert_eq(stats().skipped, 0);
	cr_assert_eq(wm_children_count(health->children), 0);
}

/* Registered while scripts were allowed, then the agent comes back with scripts off. */
Test(health_script, a_stored_script_is_not_run_when_scripts_are_off)
{
	char path[128];
	struct wm_check *c;
	long runs;

	stop_all();
	snprintf(path, sizeof(path), "%s/state/registry.db", dir);
	start_registry(path);
	start_health();
	/* in one step: the next run may be killed at any place */
	c = sh("s", 0, 0, "echo run >>runs; wc -l <runs >new; mv new count");
	UNTIL(c->status == WM_PASSING);
	stop_all();
	runs = number_in("count");
	cr_assert_gt(runs, 0);
	health_config.scripts = false;
	start_registry(path);
	cr_assert_eq(check_of("s")->status, WM_PASSING, "as it was stored");
	start_health();
	c = check_of("s");
	UNTIL(c->status == WM_CRITICAL);
	cr_assert_str_eq(c->output, "Scripts are disabled on this agent; to enable, configure "
				    "'health.scripts' to 'local'");
	for (int n = 0; n < 20; n++)
		wm_loop_turn(loop, 5);
	cr_assert_eq(stats().runs, 0);
	cr_assert_eq(number_in("count"), runs);
	/* and again with scripts allowed */
	stop_all();
	health_config.scripts = true;
	start_registry(path);
	start_health();
	UNTIL(check_of("s")->status == WM_PASSING);
}

Test(health_script, drafts_of_clients_that_are_not_trusted_are_refused)
{
	const char *args[] = {"true"};
	struct wm_check_draft c = script(args, 1);
	struct wm_check_draft unit = {.name = "u",
				      .kind = WM_CHECK_OS_SERVICE,
				      .target = "a.service",
				      .interval_ms = 1000};
	struct wm_instance_draft d = {.name = "web", .checks = &c, .checks_count = 1};
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), WM_E_INTERNAL);
	cr_assert(strstr(e.text, "from remote calls"), "%s", e.text);
	c.name = "n";
	cr_assert_eq(wm_registry_check_register(registry, NULL, &c, NULL, NULL, &e), WM_E_INTERNAL);
	c.scripts = WM_SCRIPTS_OFF;
	cr_assert_eq(wm_registry_check_register(registry, NULL, &c, NULL, NULL, &e), WM_E_INTERNAL);
	cr_assert(strstr(e.text, "on this agent; to enable"), "%s", e.text);
	/* OS services have a rule of their own */
	unit.units = WM_SCRIPTS_REMOTE;
	unit.scripts = WM_SCRIPTS_ALLOWED;
	cr_assert_eq(wm_registry_check_register(registry, NULL, &unit, NULL, NULL, &e),
		     WM_E_INTERNAL);
	cr_assert(strstr(e.text, "OSService checks are disabled on this agent from remote"));
	unit.units = WM_SCRIPTS_ALLOWED;
	cr_assert_eq(wm_registry_check_register(registry, NULL, &unit, NULL, NULL, &e), 0);
	d.scripts = WM_SCRIPTS_ALLOWED;
	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), 0);
	wm_registry_flush(registry);
	c.scripts = WM_SCRIPTS_ALLOWED;
	c.args_count = 0;
	cr_assert_eq(wm_registry_check_register(registry, NULL, &c, NULL, NULL, &e), WM_E_INVALID);
	cr_assert_str_eq(e.text, "Invalid check: ScriptArgs must begin with a program");
}

/* --- systemd units --- */

static struct wm_check_draft unit(const char *name)
{
	return (struct wm_check_draft){
		.kind = WM_CHECK_OS_SERVICE, .target = name, .interval_ms = 5, .timeout_ms = 20000};
}

/* The real systemctl, which is there with and without a systemd that runs. */
Test(health_script, a_unit_that_is_not_there_is_critical)
{
	struct wm_check *c;

	if (access("/usr/bin/systemctl", X_OK) && access("/bin/systemctl", X_OK))
		cr_skip("no systemctl on this machine");
	health_config.scripts = false;
	c = add("u", unit("wm-no-such-unit.service"));
	cr_assert_str_eq(wm_check_kind_str(c->kind), "os_service");
	UNTIL(*c->output);
	cr_assert_eq(c->status, WM_CRITICAL);
	if (access("/run/systemd/system", F_OK))
		cr_assert(strstr(c->output, "systemd does not answer: System has not been booted"),
			  "%s", c->output);
	else
		cr_assert_str_eq(c->output, "Service \"wm-no-such-unit.service\" cannot be found: "
					    "not-found");
}

Test(health_script, a_unit_that_runs_passes)
{
	struct wm_check *c;

	if (access("/run/systemd/system", F_OK))
		cr_skip("no service manager runs here");
	c = add("u", unit("local-fs.target"));
	UNTIL(c->status == WM_PASSING);
	cr_assert_str_eq(c->output, "Service \"local-fs.target\" is healthy");
}

Test(health_script, states_of_units)
{
	static const struct {
		const char *said, *text;
		enum wm_status s;
	} all[] = {
		{"LoadState=loaded\nActiveState=active\nSubState=running\n",
		 "Service \"a\" is healthy", WM_PASSING},
		{"LoadState=loaded\nActiveState=active\nSubState=exited\n",
		 "Service \"a\" is healthy", WM_PASSING},
		{"SubState=auto-restart\nActiveState=activating\nLoadState=loaded",
		 "Service \"a\" is activating (auto-restart)", WM_WARNING},
		{"LoadState=loaded\nActiveState=reloading\nSubState=reload\n",
		 "Service \"a\" is reloading (reload)", WM_WARNING},
		{"LoadState=loaded\nActiveState=deactivating\nSubState=stop\n",
		 "Service \"a\" is deactivating (stop)", WM_WARNING},
		{"LoadState=loaded\nActiveState=inactive\nSubState=dead\n",
		 "Service \"a\" is not running: inactive (dead)", WM_CRITICAL},
		{"LoadState=loaded\nActiveState=failed\nSubState=failed\n",
		 "Service \"a\" is not running: failed (failed)", WM_CRITICAL},
		{"LoadState=not-found\nActiveState=inactive\nSubState=dead\n",
		 "Service \"a\" cannot be found: not-found", WM_CRITICAL},
		{"LoadState=masked\nActiveState=inactive\nSubState=dead\n",
		 "Service \"a\" cannot be found: masked", WM_CRITICAL},
		{"Failed to connect to bus: Host is down",
		 "Service \"a\": systemd does not answer: Failed to connect to bus: Host is down",
		 WM_CRITICAL},
		{"", "Service \"a\": systemd does not answer: no output", WM_CRITICAL},
		{"ActiveState=active", "Service \"a\": systemd does not answer: ActiveState=active",
		 WM_CRITICAL},
	};
	char text[256];

	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++) {
		cr_assert_eq(wm_unit_judge("a", all[i].said, text, sizeof(text)), all[i].s, "%s",
			     all[i].said);
		cr_assert_str_eq(text, all[i].text);
	}
}

Test(health_script, names_that_are_no_units_are_refused)
{
	static const char *const bad[] = {"",	 "-x",	 "--help", "a b", "a*",
					  "a/b", "a\nb", "[x]",	   "a?"};
	static char longest[WM_CHECK_UNIT_MAX + 2];
	struct wm_check_draft d = unit("");
	struct wm_err e = {0};

	d.name = "u";
	d.units = WM_SCRIPTS_ALLOWED;
	for (unsigned i = 0; i < WM_ARRAY_LEN(bad); i++) {
		d.target = bad[i];
		cr_assert_eq(wm_registry_check_register(registry, NULL, &d, NULL, NULL, &e),
			     WM_E_INVALID, "%s", bad[i]);
		cr_assert(strstr(e.text, "OSService"), "%s", e.text);
	}
	memset(longest, 'a', WM_CHECK_UNIT_MAX + 1);
	d.target = longest;
	cr_assert_eq(wm_registry_check_register(registry, NULL, &d, NULL, NULL, &e), WM_E_INVALID);
	longest[WM_CHECK_UNIT_MAX] = '\0';
	cr_assert_eq(wm_registry_check_register(registry, NULL, &d, NULL, NULL, &e), 0);
	d.target = "getty@tty1.service";
	d.name = "v";
	cr_assert_eq(wm_registry_check_register(registry, NULL, &d, NULL, NULL, &e), 0);
	wm_registry_flush(registry);
}
