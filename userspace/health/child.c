/* SPDX-License-Identifier: Apache-2.0 */
/* child.c - see child.h. posix_spawn() shares our memory until the program is loaded, so the cost
 * does not grow with the agent. A group is killed while its leader is not reaped: until then its
 * number cannot become somebody else's.
 * Credentials are a thread's: the one that starts a program gives its own up first, and ends. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define READ_SIZE	 16384	    /* octets read at a time: others have their turn in between */
#define EAGER_MAX	 (1u << 20) /* octets of a run that are read as fast as they come */
#define PACE_MS		 10	    /* ms between reads beyond them: 1.6 MB/s */
#define REST_MAX	 (256 << 10) /* octets read when the program has ended: a pipe holds 64 KiB */
#define PROGRAM_PATH_MAX 4096	     /* octets of a program's path: PATH_MAX */
#define CHILD_ENV_MAX	 16	     /* variables of a child */
#define CHILD_FILES_MAX	 1024	     /* descriptors of a child: select() knows no more */
#define CHILD_LOCKED_MAX (8u << 20) /* octets it may lock: the kernel's default */

struct wm_child {
	struct wm_children *all;
	void (*fn)(void *arg, const struct wm_child_end *end); /* NULL: killed, only to be reaped */
	void *arg;
	pid_t pid; /* and of its group */
	int pidfd, out;
	struct wm_io *exit_io, *out_io;
	struct wm_env_timer *pace; /* NULL: it has not written that much */
	uint64_t total;
	size_t max;
	TAILQ_ENTRY(wm_child) entry;
	char ring[]; /* of max + 1 octets: the end of the output */
};
TAILQ_HEAD(children, wm_child);

struct wm_children {
	struct wm_loop *loop;
	const struct wm_env *env;
	struct children live;
	unsigned count;
	char *text; /* scratch of outputs; as large as the largest */
	size_t text_cap;
};

/* --- output ----------------------------------------------------------------------------------- */

static void keep(struct wm_child *c, const char *data, size_t n)
{
	for (size_t i = 0; c->max && i < n;) {
		size_t at = (size_t)((c->total + i) % c->max), run = c->max - at;

		if (run > n - i)
			run = n - i;
		memcpy(c->ring + at, data + i, run);
		i += run;
	}
	c->total += n;
}

static void close_out(struct wm_child *c)
{
	wm_io_free(c->out_io);
	c->out_io = NULL;
	wm_env_timer_free(c->pace);
	c->pace = NULL;
	if (c->out >= 0)
		close(c->out);
	c->out = -1;
}

/* @return octets read; 0: nothing there now; -1: there will be nothing more. */
static ssize_t read_some(struct wm_child *c)
{
	char buf[READ_SIZE];
	ssize_t n = read(c->out, buf, sizeof(buf));

	if (n > 0)
		keep(c, buf, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		return -1;
	return n > 0 ? n : 0;
}

static void on_pace(void *arg)
{
	struct wm_child *c = arg;

	if (read_some(c) < 0)
		close_out(c);
	else
		wm_env_timer_arm(c->pace, PACE_MS);
}

static void on_output(void *arg, unsigned events)
{
	struct wm_child *c = arg;

	(void)events;
	if (read_some(c) < 0) {
		close_out(c);
		return;
	}
	if (c->total < EAGER_MAX)
		return;
	/* one that writes without end must not keep the loop busy */
	c->pace = wm_env_timer_new(c->all->env, on_pace, c);
	if (!c->pace)
		return;
	wm_io_free(c->out_io);
	c->out_io = NULL;
	wm_env_timer_arm(c->pace, PACE_MS);
}

/* The ring from its oldest octet on. */
static void output_of(struct wm_child *c, struct wm_child_end *end)
{
	struct wm_children *all = c->all;
	size_t len = c->total < c->max ? (size_t)c->total : c->max;
	size_t at = c->total > c->max ? (size_t)(c->total % c->max) : 0;

	end->output_total = c->total;
	end->output = "";
	end->output_len = 0;
	if (all->text_cap < len + 1) {
		char *text = realloc(all->text, len + 1);

		if (!text)
			return;
		all->text = text;
		all->text_cap = len + 1;
	}
	memcpy(all->text, c->ring + at, len - at);
	memcpy(all->text + (len - at), c->ring, at);
	all->text[len] = '\0';
	end->output = all->text;
	end->output_len = len;
}

/* --- end -------------------------------------------------------------------------------------- */

static void child_free(struct wm_child *c)
{
	close_out(c);
	wm_io_free(c->exit_io);
	close(c->pidfd);
	TAILQ_REMOVE(&c->all->live, c, entry);
	c->all->count--;
	free(c);
}

/* @return false: it still runs. */
static bool reap(struct wm_child *c, int *ret_status)
{
	siginfo_t info = {0};

	/* what it left behind in its group ends with it */
	kill(-c->pid, SIGKILL);
	if (waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOHANG)) {
		*ret_status = -1; /* somebody else has reaped it; it is gone */
		return errno != EINTR;
	}
	if (info.si_pid == 0)
		return false;
	*ret_status =
		info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : info.si_status & 0x7f;
	return true;
}

static void on_exit_io(void *arg, unsigned events)
{
	struct wm_child *c = arg;
	void (*fn)(void *arg, const struct wm_child_end *end) = c->fn;
	struct wm_child_end end = {0};
	void *fn_arg = c->arg;
	size_t rest = 0;
	ssize_t n;

	(void)events;
	for (; c->out >= 0 && rest < REST_MAX && (n = read_some(c)) > 0; rest += (size_t)n)
		;
	if (!reap(c, &end.status))
		return;
	output_of(c, &end);
	child_free(c);
	if (fn)
		fn(fn_arg, &end);
}

void wm_child_kill(struct wm_child *c, struct wm_child_end *ret)
{
	if (!c)
		return;
	if (ret) {
		*ret = (struct wm_child_end){0};
		output_of(c, ret);
	}
	c->fn = NULL;
	close_out(c);
	kill(-c->pid, SIGKILL); /* the loop reaps it */
}

/* --- start ------------------------------------------------------------------------------------ */

/* Where a program is that is named without a slash. @return false: nowhere. */
static bool find_program(const char *name, char *path, size_t cap)
{
	const char *dir = WM_CHILD_PATH;

	if (strchr(name, '/'))
		return (size_t)snprintf(path, cap, "%s", name) < cap;
	for (size_t n; *dir; dir += n + (dir[n] == ':')) {
		n = strcspn(dir, ":");
		if ((size_t)snprintf(path, cap, "%.*s/%s", (int)n, dir, name) < cap &&
		    !access(path, X_OK))
			return true;
	}
	return false;
}

/* posix_spawn() takes them without const; it does not write. */
static char *mut(const char *s)
{
	char *r;

	memcpy(&r, &s, sizeof(r));
	return r;
}

static int set_up(posix_spawnattr_t *attr, posix_spawn_file_actions_t *files, int out)
{
	sigset_t none, all;
	int err;

	sigemptyset(&none);
	sigemptyset(&all);
	for (int s = 1; s < SIGSYS + 1; s++) {
		if (s != SIGKILL && s != SIGSTOP)
			sigaddset(&all, s);
	}
	err = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
						     POSIX_SPAWN_SETSIGDEF);
	err = err ? err : posix_spawnattr_setpgroup(attr, 0);
	err = err ? err : posix_spawnattr_setsigmask(attr, &none);
	err = err ? err : posix_spawnattr_setsigdefault(attr, &all);
	err = err ? err : posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
	err = err ? err : posix_spawn_file_actions_adddup2(files, out, 1);
	err = err ? err : posix_spawn_file_actions_adddup2(files, out, 2);
	err = err ? err : posix_spawn_file_actions_addclosefrom_np(files, 3);
	err = err ? err : posix_spawn_file_actions_addchdir_np(files, "/");
	return err;
}

/* What a thread has to give up for the program that it starts: nothing of what lets the agent load
 * programs into the kernel or listen on low ports is needed to look at a service. Of this thread
 * only. @return 0 or an errno. */
static int drop_privileges(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	/* else the programs of root would get all of them back, and those with capabilities some */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
		return errno;
	/* refused where the agent may not: then the last word is the one above */
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	return syscall(SYS_capset, &head, none) ? errno : 0;
}

struct errand {
	pid_t *pid;
	const char *path;
	const posix_spawn_file_actions_t *files;
	const posix_spawnattr_t *attr;
	char **argv, **env;
	int err;
};

static void *run_errand(void *arg)
{
	struct errand *e = arg;

	e->err = drop_privileges();
	if (!e->err)
		e->err = posix_spawn(e->pid, e->path, e->files, e->attr, e->argv, e->env);
	return NULL;
}

/* By a thread that is over when this returns, and takes no signal of the agent's. */
static int spawn_dropped(struct errand *e)
{
	sigset_t all, before;
	pthread_t thread;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&thread, NULL, run_errand, e);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return err;
	pthread_join(thread, NULL);
	return e->err;
}

/* The agent's own limits are for thousands of connections and for maps. */
static void limit(pid_t pid)
{
	const struct rlimit files = {CHILD_FILES_MAX, CHILD_FILES_MAX};
	const struct rlimit locked = {CHILD_LOCKED_MAX, CHILD_LOCKED_MAX};

	/* it may be over already */
	(void)prlimit(pid, RLIMIT_NOFILE, &files, NULL);
	(void)prlimit(pid, RLIMIT_MEMLOCK, &locked, NULL);
}

static int spawn(pid_t *pid, const struct wm_child_options *o, int out)
{
	static char path_env[] = "PATH=" WM_CHILD_PATH;
	char path[PROGRAM_PATH_MAX], *env[CHILD_ENV_MAX + 2] = {path_env};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	char **argv;
	size_t n = 0;
	int err;

	if (!find_program(o->argv[0], path, sizeof(path)))
		return ENOENT;
	while (o->argv[n])
		n++;
	argv = calloc(n + 1, sizeof(char *));
	if (!argv)
		return ENOMEM;
	for (size_t i = 0; i < n; i++)
		argv[i] = mut(o->argv[i]);
	for (size_t i = 0; o->env && o->env[i] && i < CHILD_ENV_MAX; i++)
		env[i + 1] = mut(o->env[i]);
	err = posix_spawnattr_init(&attr);
	if (!err) {
		err = posix_spawn_file_actions_init(&files);
		if (!err) {
			err = set_up(&attr, &files, out);
			if (!err)
				err = spawn_dropped(&(struct errand){.pid = pid,
								     .path = path,
								     .files = &files,
								     .attr = &attr,
								     .argv = argv,
								     .env = env});
			if (!err)
				limit(*pid);
			posix_spawn_file_actions_destroy(&files);
		}
		posix_spawnattr_destroy(&attr);
	}
	free(argv);
	return err;
}

/* Without a descriptor to watch it by: end it here, it has hardly begun. */
static void abandon(pid_t pid)
{
	kill(-pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int launch(struct wm_child *c, const struct wm_child_options *o)
{
	int ends[2], err;

	if (pipe2(ends, O_CLOEXEC))
		return errno;
	/* ours alone: the program's end must block */
	err = fcntl(ends[0], F_SETFL, O_NONBLOCK) ? errno : spawn(&c->pid, o, ends[1]);
	close(ends[1]);
	c->out = ends[0];
	if (err)
		return err;
	c->pidfd = pidfd_open(c->pid, 0);
	if (c->pidfd < 0) {
		err = errno;
		abandon(c->pid);
		return err;
	}
	c->exit_io = wm_io_new(c->all->loop, c->pidfd, WM_IO_READ, on_exit_io, c);
	c->out_io = wm_io_new(c->all->loop, c->out, WM_IO_READ, on_output, c);
	if (c->exit_io && c->out_io)
		return 0;
	abandon(c->pid);
	return ENOMEM;
}

struct wm_child *wm_child_start(struct wm_children *all, const struct wm_child_options *o,
				void (*fn)(void *arg, const struct wm_child_end *end), void *arg,
				int *ret_err)
{
	struct wm_child *c = calloc(1, sizeof(*c) + o->output_max + 1);

	if (!c) {
		*ret_err = -ENOMEM;
		return NULL;
	}
	c->all = all;
	c->fn = fn;
	c->arg = arg;
	c->max = o->output_max;
	c->pidfd = c->out = -1;
	TAILQ_INSERT_TAIL(&all->live, c, entry);
	all->count++;
	*ret_err = -launch(c, o);
	if (!*ret_err)
		return c;
	child_free(c);
	return NULL;
}

struct wm_children *wm_children_new(struct wm_loop *l, const struct wm_env *env)
{
	struct wm_children *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->loop = l;
	all->env = env;
	TAILQ_INIT(&all->live);
	signal(SIGCHLD,
	       SIG_DFL); /* ignored, as it may be inherited, there would be nothing to reap */
	return all;
}

void wm_children_free(struct wm_children *all)
{
	struct wm_child *c, *next;
	uint64_t end;

	if (!all)
		return;
	end = wm_env_ms(all->env) + WM_CHILDREN_WAIT_MS;
	TAILQ_FOREACH (c, &all->live, entry)
		wm_child_kill(c, NULL);
	for (c = TAILQ_FIRST(&all->live); c; c = next) {
		struct pollfd gone = {.fd = c->pidfd, .events = POLLIN};
		uint64_t now = wm_env_ms(all->env);
		int status;

		next = TAILQ_NEXT(c, entry);
		(void)poll(&gone, 1, now < end ? (int)(end - now) : 0);
		(void)reap(c, &status); /* if it still runs, init will */
		child_free(c);
	}
	free(all->text);
	free(all);
}

unsigned wm_children_count(const struct wm_children *all)
{
	return all->count;
}
