/* SPDX-License-Identifier: Apache-2.0 */
#include "loop.h"

#include "userspace/base/clock.h"
#include "userspace/base/env.h"
#include "userspace/base/log.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#define HOOKS_MAX   16 /* turn-end hooks: one a module, and some room */
#define SIGNALS_MAX 8  /* watched signals */

#define EARLY_MS      WM_LOOP_TURN_MS /* of a tick: libevent's clock stands while a turn runs */
#define TICK_LEAST_MS (4 * EARLY_MS)  /* less is no tick, which would come twice */

struct hook {
	int order;
	bool (*fn)(void *arg);
	void *arg;
};

struct signal_watch {
	struct event *ev;
	void (*fn)(void *arg, int signo);
	void *arg;
};

struct wm_loop {
	struct wm_env env;
	struct event_base *base;
	struct event *wake;   /* bounds the wait of wm_loop_turn() */
	struct event *again;  /* active: the next turn waits for nothing */
	struct event *roused; /* by another thread */
	struct event *tick;   /* the next of `ticking` */
	LIST_HEAD(, wm_timer) ticking;
	int rouse_fd;
	struct hook hooks[HOOKS_MAX];
	unsigned hooks_count;
	struct signal_watch signals[SIGNALS_MAX];
	unsigned signals_count;
	bool stop;
	uint64_t asked_ns; /* when somebody first asked how long this turn takes; 0: nobody yet */
	uint64_t turns;	   /* that ended */
	uint64_t cpu_ns;   /* of the thread, at the end of the last turn */
	struct wm_loop_stats stats;
};

const unsigned wm_loop_turn_bounds_ms[WM_LOOP_TURN_BUCKETS] = {1,  2,	5,   10,  20,
							       50, 100, 200, 500, 1000};

struct wm_timer {
	struct wm_env_timer in_env;
	struct wm_loop *loop;
	struct event *ev;
	uint64_t tick_ms; /* when it ticks, wm_clock_ms(); 0: it does not */
	LIST_ENTRY(wm_timer) ticking;
	void (*fn)(void *arg);
	void *arg;
};

struct wm_io {
	struct event *ev;
	struct wm_loop *loop;
	int fd;
	void (*fn)(void *arg, unsigned events);
	void *arg;
};

static void make_env(struct wm_loop *l);
static void on_tick(evutil_socket_t fd, short what, void *arg);

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* What libevent has to say, of name servers above all. */
static void on_log(int severity, const char *text)
{
	if (severity >= EVENT_LOG_WARN)
		wm_warn("loop.event", "text=%s", wm_log_q(text));
	else
		wm_debug("loop.event", "text=%s", wm_log_q(text));
}

static void on_roused(evutil_socket_t fd, short what, void *arg)
{
	uint64_t times;

	(void)what;
	(void)arg;
	(void)!read((int)fd, &times, sizeof(times)); /* not to be roused by it again */
}

void wm_loop_rouse(struct wm_loop *l)
{
	const uint64_t once = 1;

	(void)!write(l->rouse_fd, &once, sizeof(once)); /* fails where it is roused already */
}

struct wm_loop *wm_loop_new(void)
{
	struct wm_loop *l = calloc(1, sizeof(*l));
	struct event_config *cfg = event_config_new();

	event_set_log_callback(on_log);
	if (l) {
		l->rouse_fd = -1;
		make_env(l);
	}
	if (l && cfg) {
		/* precise: timers of probes must not be rounded to the cached time of a long turn
		 */
		event_config_set_flag(cfg, EVENT_BASE_FLAG_PRECISE_TIMER);
		event_config_set_flag(cfg, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
		l->base = event_base_new_with_config(cfg);
	}
	if (l && l->base) {
		l->wake = evtimer_new(l->base, on_wake, NULL);
		l->again = evtimer_new(l->base, on_wake, NULL);
		l->tick = evtimer_new(l->base, on_tick, l);
		l->rouse_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		l->roused = event_new(l->base, l->rouse_fd, EV_READ | EV_PERSIST, on_roused, NULL);
		l->cpu_ns = wm_clock_cpu_ns();
	}
	if (cfg)
		event_config_free(cfg);
	if (!l || !l->wake || !l->again || !l->tick || l->rouse_fd < 0 || !l->roused ||
	    event_add(l->roused, NULL)) {
		wm_loop_free(l);
		return NULL;
	}
	return l;
}

void wm_loop_free(struct wm_loop *l)
{
	if (!l)
		return;
	for (unsigned i = 0; i < l->signals_count; i++)
		event_free(l->signals[i].ev);
	if (l->wake)
		event_free(l->wake);
	if (l->again)
		event_free(l->again);
	if (l->tick)
		event_free(l->tick);
	if (l->roused)
		event_free(l->roused);
	if (l->rouse_fd >= 0)
		close(l->rouse_fd);
	if (l->base)
		event_base_free(l->base);
	free(l);
}

struct event_base *wm_loop_base(struct wm_loop *l)
{
	return l->base;
}

bool wm_loop_took(struct wm_loop *l, unsigned ms)
{
	uint64_t now = wm_clock_ns();

	if (!l->asked_ns)
		l->asked_ns = now;
	return now - l->asked_ns >= ms * WM_NS_PER_MS;
}

bool wm_loop_tired(struct wm_loop *l)
{
	return wm_loop_took(l, WM_LOOP_TURN_MS);
}

static void run_hooks(struct wm_loop *l)
{
	bool worked = true;

	wm_loop_took(l, 0);
	for (unsigned round = 0; worked; round++) {
		if (round == WM_LOOP_HOOK_ROUNDS) {
			wm_warn("loop.rounds", "rounds=%u text=%s", round,
				wm_log_q("turn-end hooks keep making work for each other"));
			/* the rest is done after the next wait, which must not be long */
			event_active(l->again, EV_TIMEOUT, 0);
			return;
		}
		worked = false;
		for (unsigned i = 0; i < l->hooks_count; i++)
			worked |= l->hooks[i].fn(l->hooks[i].arg);
	}
}

void wm_loop_breathe(struct wm_loop *l)
{
	if (!wm_loop_tired(l))
		return;
	l->stats.cut++;
	event_base_loopbreak(l->base); /* what is active stays so */
}

void wm_loop_again(struct wm_loop *l)
{
	l->stats.put_off++;
	event_active(l->again, EV_TIMEOUT, 0);
}

uint64_t wm_loop_turns(const struct wm_loop *l)
{
	return l->turns + 1;
}

const struct wm_loop_stats *wm_loop_stats(const struct wm_loop *l)
{
	return &l->stats;
}

/* Processor time: what it waited for the disk or for other processes is not the turn's fault. */
static void count_turn(struct wm_loop *l)
{
	uint64_t now = wm_clock_cpu_ns(), took = now - l->cpu_ns;
	unsigned i = 0;

	l->cpu_ns = now;
	l->asked_ns = 0;
	l->turns++;
	while (i < WM_LOOP_TURN_BUCKETS && took > wm_loop_turn_bounds_ms[i] * WM_NS_PER_MS)
		i++;
	l->stats.turns[i]++;
	l->stats.sum_ns += took;
	if (!l->stats.min_ns || took < l->stats.min_ns)
		l->stats.min_ns = took;
	if (took > l->stats.max_ns)
		l->stats.max_ns = took;
}

int wm_loop_turn(struct wm_loop *l, int wait_ms)
{
	struct timeval tv = {wait_ms / 1000, (wait_ms % 1000) * 1000};
	int rc;

	if (wait_ms > 0)
		evtimer_add(l->wake, &tv);
	rc = event_base_loop(l->base, wait_ms == 0 ? EVLOOP_NONBLOCK : EVLOOP_ONCE);
	if (wait_ms > 0)
		evtimer_del(l->wake);
	if (rc < 0)
		return -EIO;
	run_hooks(l);
	count_turn(l);
	return 0;
}

int wm_loop_run(struct wm_loop *l)
{
	int err = 0;

	l->stop = false;
	run_hooks(l); /* what was submitted before the loop ran */
	l->cpu_ns = wm_clock_cpu_ns();
	while (!l->stop && !err)
		err = wm_loop_turn(l, -1);
	return err;
}

void wm_loop_stop(struct wm_loop *l)
{
	l->stop = true;
	event_base_loopbreak(l->base);
}

int wm_loop_on_turn_end(struct wm_loop *l, int order, bool (*fn)(void *arg), void *arg)
{
	unsigned at = l->hooks_count;

	if (l->hooks_count == HOOKS_MAX)
		return -ENOMEM;
	for (; at > 0 && l->hooks[at - 1].order > order; at--)
		l->hooks[at] = l->hooks[at - 1];
	l->hooks[at] = (struct hook){order, fn, arg};
	l->hooks_count++;
	return 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct wm_timer *t = arg;

	(void)fd;
	(void)what;
	t->fn(t->arg);
}

struct wm_timer *wm_timer_new(struct wm_loop *l, void (*fn)(void *arg), void *arg)
{
	struct wm_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->in_env.env = &l->env;
	t->loop = l;
	t->fn = fn;
	t->arg = arg;
	t->ev = evtimer_new(l->base, on_timer, t);
	if (!t->ev) {
		free(t);
		return NULL;
	}
	return t;
}

static int add_in(struct event *ev, uint64_t ms)
{
	struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

	return evtimer_add(ev, &tv) ? -ENOMEM : 0;
}

static void end_tick(struct wm_timer *t)
{
	if (t->tick_ms)
		LIST_REMOVE(t, ticking);
	t->tick_ms = 0;
}

int wm_timer_arm(struct wm_timer *t, uint64_t ms)
{
	end_tick(t);
	return add_in(t->ev, ms);
}

/* @return the first that ticks; NULL: none. */
static struct wm_timer *first_tick(const struct wm_loop *l)
{
	struct wm_timer *t, *first = NULL;

	LIST_FOREACH (t, &l->ticking, ticking)
		if (!first || t->tick_ms < first->tick_ms)
			first = t;
	return first;
}

/* Arm the event behind all of them, for the first. */
static int tick_next(struct wm_loop *l)
{
	const struct wm_timer *t = first_tick(l);
	uint64_t now = wm_clock_ms();

	if (!t)
		return 0;
	return add_in(l->tick, t->tick_ms > now ? t->tick_ms - now : 0);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct wm_loop *l = arg;
	uint64_t until = wm_clock_ms() + EARLY_MS;
	struct wm_timer *t;

	(void)fd;
	(void)what;
	/* one that is armed anew ticks behind `until`: each has one turn, and any may be freed */
	while ((t = first_tick(l)) && t->tick_ms <= until) {
		end_tick(t);
		t->fn(t->arg);
		if (wm_loop_tired(l))
			break;
	}
	(void)tick_next(l);
}

int wm_timer_tick(struct wm_timer *t, uint64_t ms)
{
	if (ms < TICK_LEAST_MS)
		return wm_timer_arm(t, ms);
	wm_timer_disarm(t);
	t->tick_ms = (wm_clock_ms() + ms + ms / 2) / ms * ms;
	LIST_INSERT_HEAD(&t->loop->ticking, t, ticking);
	return first_tick(t->loop) == t ? tick_next(t->loop) : 0;
}

void wm_timer_disarm(struct wm_timer *t)
{
	evtimer_del(t->ev);
	end_tick(t);
}

void wm_timer_free(struct wm_timer *t)
{
	if (!t)
		return;
	wm_timer_disarm(t);
	event_free(t->ev);
	free(t);
}

static struct wm_env_timer *env_timer_new(void *loop, void (*fn)(void *arg), void *arg)
{
	struct wm_timer *t = wm_timer_new(loop, fn, arg);

	return t ? &t->in_env : NULL;
}

static int env_timer_arm(struct wm_env_timer *t, uint64_t ms)
{
	return wm_timer_arm(wm_container_of(t, struct wm_timer, in_env), ms);
}

static void env_timer_disarm(struct wm_env_timer *t)
{
	wm_timer_disarm(wm_container_of(t, struct wm_timer, in_env));
}

static void env_timer_free(struct wm_env_timer *t)
{
	wm_timer_free(wm_container_of(t, struct wm_timer, in_env));
}

static void make_env(struct wm_loop *l)
{
	l->env = wm_env_system;
	l->env.timer_new = env_timer_new;
	l->env.timer_arm = env_timer_arm;
	l->env.timer_disarm = env_timer_disarm;
	l->env.timer_free = env_timer_free;
	l->env.arg = l;
}

const struct wm_env *wm_loop_env(const struct wm_loop *l)
{
	return &l->env;
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	struct wm_io *io = arg;

	(void)fd;
	io->fn(io->arg, (what & EV_READ ? WM_IO_READ : 0) | (what & EV_WRITE ? WM_IO_WRITE : 0));
}

static short io_flags(unsigned events)
{
	return (short)(EV_PERSIST | (events & WM_IO_READ ? EV_READ : 0) |
		       (events & WM_IO_WRITE ? EV_WRITE : 0));
}

struct wm_io *wm_io_new(struct wm_loop *l, int fd, unsigned events,
			void (*fn)(void *arg, unsigned events), void *arg)
{
	struct wm_io *io = calloc(1, sizeof(*io));

	if (!io)
		return NULL;
	*io = (struct wm_io){.loop = l, .fd = fd, .fn = fn, .arg = arg};
	io->ev = event_new(l->base, fd, io_flags(events), on_io, io);
	if (!io->ev || (events && event_add(io->ev, NULL))) {
		wm_io_free(io);
		return NULL;
	}
	return io;
}

int wm_io_set(struct wm_io *io, unsigned events)
{
	event_del(io->ev);
	if (!events)
		return 0;
	if (event_assign(io->ev, io->loop->base, io->fd, io_flags(events), on_io, io) ||
	    event_add(io->ev, NULL))
		return -ENOMEM;
	return 0;
}

void wm_io_free(struct wm_io *io)
{
	if (!io)
		return;
	if (io->ev)
		event_free(io->ev);
	free(io);
}

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct signal_watch *w = arg;

	(void)what;
	w->fn(w->arg, (int)signo);
}

int wm_loop_on_signal(struct wm_loop *l, int signo, void (*fn)(void *arg, int signo), void *arg)
{
	struct signal_watch *w = &l->signals[l->signals_count];

	if (l->signals_count == SIGNALS_MAX)
		return -ENOMEM;
	*w = (struct signal_watch){.fn = fn, .arg = arg};
	w->ev = evsignal_new(l->base, signo, on_signal, w);
	if (!w->ev || event_add(w->ev, NULL))
		return -ENOMEM;
	l->signals_count++;
	return 0;
}
