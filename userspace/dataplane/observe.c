/* SPDX-License-Identifier: Apache-2.0 */
/* observe.c - see observe.h. Counting what listens now races with sockets that open and close: each
 * change by the program moves the high half of an element's word, so a count is stored only where
 * the word is what it was before the sockets were read. */
#include "observe.h"

#include "internal.h"
#include "pods.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/resolution/pool.h"
#include "waymark/listen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT_TRIES 8	    /* readings of the sockets while some of them change */
#define LISTEN_HEX  "0A"    /* TCP_LISTEN in /proc/net/tcp, whose listeners stand first */
#define SOCKETS_MAX 1048576 /* listening sockets that are counted */

struct element {
	struct wm_listener_key key;
	uint64_t before; /* its word before the sockets were read */
	unsigned users;
	bool unsure;
	bool looked; /* of another namespace, and there since the look began */
};
struct wm_observer {
	struct wm_plane *plane;
	int listeners_fd;
	struct wm_listening *listening; /* mapped */
	struct element *elements;	/* WM_LISTENING_MAX */
	uint32_t used;			/* elements below it were in use */
	uint64_t own;			/* network namespace */
	struct wm_pods *look;		/* at other ones; NULL: none runs */
	struct wm_pods *looked;		/* the last one, for who reads it */
	struct wm_index_pool *pool;
	struct wm_plane_events *events;
	void (*fn)(void *arg, uint32_t backend, uint32_t stamp, bool gone);
	void *arg;
};

/* --- the program and its events --------------------------------------------------------------- */
static void on_event(void *arg, const struct wm_event *e)
{
	struct wm_observer *o = arg;

	o->fn(o->arg, e->backend, e->stamp, e->kind == WM_EVENT_LISTENER_GONE);
}

static int open_maps(struct wm_observer *o)
{
	const struct bpf_object *object = o->plane->objects[WM_OBJECT_OBSERVE];
	int array = bpf_object__find_map_fd_by_name(object, "listening");
	size_t len = sizeof(*o->listening) * WM_LISTENING_MAX;
	void *m;

	o->listeners_fd = bpf_object__find_map_fd_by_name(object, "listeners");
	if (array < 0 || o->listeners_fd < 0)
		return -ENOENT;
	m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, array, 0);
	if (m == MAP_FAILED)
		return -errno;
	o->listening = m;
	return wm_plane_events_subscribe(
		o->events, WM_EVENT_BIT(LISTENER_GONE) | WM_EVENT_BIT(LISTENER_BACK), on_event, o);
}

int wm_observer_new(struct wm_plane_events *events, struct wm_plane *p,
		    void (*fn)(void *arg, uint32_t backend, uint32_t stamp, bool gone), void *arg,
		    struct wm_observer **ret, struct wm_err *e)
{
	const struct wm_prog *prog = &p->progs[WM_PROG_SOCK_STATE];
	struct wm_observer *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return wm_err_set(e, -ENOMEM, "out of memory: observer");
	*o = (struct wm_observer){.plane = p, .events = events, .fn = fn, .arg = arg};
	o->own = wm_own_netns();
	o->elements = calloc(WM_LISTENING_MAX, sizeof(*o->elements));
	o->pool = wm_index_pool_new(WM_LISTENING_MAX);
	if (!o->elements || !o->pool)
		r = wm_err_set(e, -ENOMEM, "out of memory: observer");
	else if (prog->fd < 0)
		r = wm_err_set(e, prog->refused ? prog->refused : prog->error, "%s", prog->text);
	else if ((r = open_maps(o)))
		wm_err_set(e, r, "its maps: %s", strerror(-r));
	else if ((r = wm_plane_trace(p, WM_PROG_SOCK_STATE, NULL)))
		wm_err_set(e, r, "attaching to tp_btf/inet_sock_set_state: %s", strerror(-r));
	if (r) {
		wm_observer_free(o);
		return r;
	}
	*ret = o;
	return 0;
}

void wm_observer_free(struct wm_observer *o)
{
	if (!o)
		return;
	wm_plane_events_unsubscribe(o->events, o);
	wm_pods_free(o->look);
	wm_pods_free(o->looked);
	if (o->listening)
		munmap(o->listening, sizeof(*o->listening) * WM_LISTENING_MAX);
	wm_index_pool_free(o->pool);
	free(o->elements);
	free(o);
}

/* --- what is watched -------------------------------------------------------------------------- */
static struct wm_listening_user *free_user(struct wm_listening *l)
{
	for (unsigned i = 0; i < WM_LISTENING_USERS; i++)
		if (!l->users[i].stamp)
			return &l->users[i];
	return NULL;
}

/* The element of @p k, made where there is none. @return 0, -ENOSPC. */
static int element_of(struct wm_observer *o, const struct wm_listener_key *k, uint32_t *ret)
{
	int r = bpf_map_lookup_elem(o->listeners_fd, k, ret);

	if (!r)
		return free_user(&o->listening[*ret]) ? 0 : -ENOSPC;
	wm_index_recycle(o->pool, wm_clock_ns());
	if (wm_index_take(o->pool, ret))
		return -ENOSPC;
	memset(&o->listening[*ret], 0, sizeof(o->listening[*ret]));
	o->elements[*ret] = (struct element){.key = *k};
	o->used = *ret >= o->used ? *ret + 1 : o->used;
	r = bpf_map_update_elem(o->listeners_fd, k, ret, BPF_ANY);
	if (r)
		wm_index_give(o->pool, *ret, 0);
	return r;
}

/* One that was made for nothing goes too. */
static void put_element(struct wm_observer *o, uint32_t at)
{
	struct element *x = &o->elements[at];

	if (x->users)
		return;
	bpf_map_delete_elem(o->listeners_fd, &x->key);
	x->unsure = false;
	wm_index_give(o->pool, at, wm_clock_ns());
}

static void keys_of(const struct wm_backend *b, uint64_t netns, struct wm_listener_key k[3])
{
	const struct wm_listener_key none = {.netns = netns, .port = __builtin_bswap16(b->port_be)};

	k[0] = k[1] = k[2] = none;
	if (b->families & WM_FAMILY_4) {
		k[0].addr_be[2] = WM_V4_MAPPED_BE;
		k[0].addr_be[3] = b->addr4_be;
	} else {
		memcpy(k[0].addr_be, b->addr6_be, sizeof(k[0].addr_be));
	}
	k[1].addr_be[2] = WM_V4_MAPPED_BE; /* 0.0.0.0; k[2]: [::], of both families */
}

int wm_observer_watch(struct wm_observer *o, uint32_t backend, uint64_t netns,
		      struct wm_listen_watch *w)
{
	const struct wm_backend *b =
		(const struct wm_backend *)o->plane->mem[WM_MAP_BACKENDS] + backend;
	struct wm_listener_key k[3];
	unsigned got = 0;
	int r = 0;

	keys_of(b, netns ? netns : o->own, k);
	while (got < 3 && !(r = element_of(o, &k[got], &w->at[got])))
		got++;
	if (r) {
		while (got)
			put_element(o, w->at[--got]);
		return -ENOSPC;
	}
	w->backend = backend;
	w->stamp = b->state >> 16;
	for (unsigned i = 0; i < 3; i++) {
		struct wm_listening_user *u = free_user(&o->listening[w->at[i]]);

		if (k[i].netns != o->own && !o->elements[w->at[i]].users)
			__atomic_store_n(&o->listening[w->at[i]].word, WM_LISTENING_UNKNOWN,
					 __ATOMIC_RELEASE);
		u->backend = backend;
		u->other[0] = w->at[(i + 1) % 3];
		u->other[1] = w->at[(i + 2) % 3];
		__atomic_store_n(&u->stamp, w->stamp | WM_LISTENING_USED, __ATOMIC_RELEASE);
		o->elements[w->at[i]].users++;
		o->elements[w->at[i]].unsure = true;
	}
	w->on = true;
	return 0;
}

void wm_observer_unwatch(struct wm_observer *o, struct wm_listen_watch *w)
{
	for (unsigned i = 0; w->on && i < 3; i++) {
		struct wm_listening *l = &o->listening[w->at[i]];

		for (unsigned n = 0; n < WM_LISTENING_USERS; n++)
			if (l->users[n].stamp && l->users[n].backend == w->backend)
				__atomic_store_n(&l->users[n].stamp, 0, __ATOMIC_RELEASE);
		o->elements[w->at[i]].users--;
		put_element(o, w->at[i]);
	}
	w->on = false;
}

/* --- counting --------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct wm_listener_key));
}

static int add_socket(struct wm_listen_list *s, const struct wm_listener_key *k)
{
	if (s->count == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 64;
		struct wm_listener_key *all = realloc(s->all, cap * sizeof(*all));

		if (!all || cap > SOCKETS_MAX) {
			s->all = all ? all : s->all;
			return -ENOMEM;
		}
		s->all = all;
		s->cap = cap;
	}
	s->all[s->count++] = *k;
	return 0;
}

static uint32_t hex(const char *at, size_t digits)
{
	char text[9] = "";

	memcpy(text, at, digits);
	return (uint32_t)strtoul(text, NULL, 16);
}

/* One line of /proc/net/tcp or tcp6, "  0: 0100007F:1F90 00000000:0000 0A ...": local, remote,
 * state.
 * @return 1: it is a listener's; 0: it is not, and none follows. */
static int parse(const char *line, bool six, struct wm_listener_key *k)
{
	const size_t address = six ? 32 : 8, end = address + sizeof(":1F90 ") - 1;
	const char *at = strchr(line, ':');

	if (!at || strlen(at) < 2 + 2 * end + 2 || at[2 + address] != ':')
		return 0;
	at += 2;
	k->addr_be[0] = k->addr_be[1] = 0;
	k->addr_be[2] = WM_V4_MAPPED_BE;
	for (unsigned i = 0; i < address / 8; i++)
		k->addr_be[(six ? 0 : 3) + i] = hex(at + 8ul * i, 8);
	k->port = (uint16_t)hex(at + address + 1, 4);
	return strncmp(at + 2 * end, LISTEN_HEX, 2) == 0;
}

/* Listeners are the first that the kernel lists, so connections cost nothing. */
static int read_sockets(struct wm_listen_list *s, const char *path, bool six)
{
	struct wm_listener_key k = {.netns = wm_own_netns()};
	char line[512];
	FILE *f = fopen(path, "re");
	int r = 0;

	if (!f)
		return six && errno == ENOENT ? 0 : -errno;
	if (fgets(line, sizeof(line), f)) /* the head */
		while (!r && fgets(line, sizeof(line), f) && parse(line, six, &k))
			r = add_socket(s, &k);
	fclose(f);
	return r;
}

int wm_listen_read(struct wm_listen_list *s)
{
	int r = read_sockets(s, "/proc/thread-self/net/tcp", false);

	return r ? r : read_sockets(s, "/proc/thread-self/net/tcp6", true);
}

static void sort(struct wm_listen_list *s)
{
	if (s->count)
		qsort(s->all, s->count, sizeof(*s->all), compare);
}

static uint32_t count_of(const struct wm_listen_list *s, const struct wm_listener_key *k)
{
	const struct wm_listener_key *at =
		s->count ? bsearch(k, s->all, s->count, sizeof(*k), compare) : NULL;
	uint32_t n = 0;

	if (!at)
		return 0;
	while (at > s->all && !compare(at - 1, k))
		at--;
	for (; at < s->all + s->count && !compare(at, k); at++)
		n++;
	return n;
}

/* Store what was counted of element @p i, if it is what it was before. */
static bool store(struct wm_observer *o, uint32_t i, const struct wm_listen_list *s)
{
	struct element *x = &o->elements[i];
	uint64_t was = x->before;

	return __atomic_compare_exchange_n(&o->listening[i].word, &was,
					   wm_listening_counted(was, count_of(s, &x->key)), false,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* @return elements that changed meanwhile, or negative errno. */
static int count_once(struct wm_observer *o)
{
	struct wm_listen_list s = {0};
	int left = 0, r;

	for (uint32_t i = 0; i < o->used; i++) /* a look goes by what was before it */
		if (o->elements[i].key.netns == o->own)
			o->elements[i].before =
				__atomic_load_n(&o->listening[i].word, __ATOMIC_ACQUIRE);
	r = wm_listen_read(&s);
	sort(&s);
	for (uint32_t i = 0; !r && i < o->used; i++) {
		struct element *x = &o->elements[i];

		if (!x->unsure || x->key.netns != o->own)
			continue;
		x->unsure = !store(o, i, &s);
		left += x->unsure;
	}
	free(s.all);
	return r ? r : left;
}

int wm_observer_count(struct wm_observer *o, bool all)
{
	int r = 1;

	for (uint32_t i = 0; all && i < o->used; i++)
		o->elements[i].unsure = o->elements[i].users > 0;
	for (unsigned n = 0; r > 0 && n < COUNT_TRIES; n++)
		r = count_once(o);
	return r > 0 ? -EAGAIN : r;
}

/* --- other namespaces ------------------------------------------------------------------------- */
static bool is_others(const struct wm_observer *o, uint32_t i)
{
	return o->elements[i].users && o->elements[i].key.netns != o->own;
}

int wm_observer_look(struct wm_observer *o, struct wm_pod *all, unsigned count)
{
	for (uint32_t i = 0; i < o->used; i++) {
		o->elements[i].looked = is_others(o, i);
		if (o->elements[i].looked)
			o->elements[i].before =
				__atomic_load_n(&o->listening[i].word, __ATOMIC_ACQUIRE);
	}
	return wm_pods_start(wm_task_link(o->plane), all, count, &o->look);
}

const struct wm_pod *wm_observer_looked(struct wm_observer *o)
{
	const struct wm_listen_list *found = NULL;
	const struct wm_pod *all = o->look ? wm_pods_result(o->look, &found) : NULL;
	struct wm_listen_list s = {0};

	if (!all)
		return NULL;
	if (found)
		s = *found; /* the same memory, put in order */
	sort(&s);
	for (uint32_t i = 0; found && i < o->used; i++)
		if (o->elements[i].looked && is_others(o, i))
			(void)store(o, i, &s);
	wm_pods_free(o->looked);
	o->looked = o->look;
	o->look = NULL;
	return all;
}

/* --- states ----------------------------------------------------------------------------------- */
static uint32_t *word_of(const struct wm_observer *o, const struct wm_listen_watch *w)
{
	return &((struct wm_backend *)o->plane->mem[WM_MAP_BACKENDS])[w->backend].state;
}

static uint32_t up(const struct wm_listen_watch *w)
{
	return w->stamp << 16 | WM_STATE_UP;
}

static uint32_t fallen(const struct wm_listen_watch *w)
{
	return w->stamp << 16 | WM_STATE_F_FELL | WM_STATE_DOWN;
}

static void swap(uint32_t *word, uint32_t from, uint32_t to)
{
	(void)__atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_ACQ_REL,
					  __ATOMIC_RELAXED);
}

bool wm_observer_knows(const struct wm_observer *o, const struct wm_listen_watch *w)
{
	uint32_t most = 0;

	for (unsigned i = 0; i < 3; i++) {
		uint32_t n = wm_listening_count(
			__atomic_load_n(&o->listening[w->at[i]].word, __ATOMIC_ACQUIRE));

		most = n > most ? n : most;
	}
	return most < WM_LISTENING_UNKNOWN / 2; /* some have closed meanwhile */
}

bool wm_observer_listens(struct wm_observer *o, const struct wm_listen_watch *w)
{
	bool listens = false;

	for (unsigned i = 0; i < 3; i++)
		listens |= wm_listening_count(__atomic_load_n(&o->listening[w->at[i]].word,
							      __ATOMIC_ACQUIRE)) > 0;
	if (listens)
		swap(word_of(o, w), fallen(w), up(w));
	return listens;
}

bool wm_observer_fell(const struct wm_observer *o, const struct wm_listen_watch *w)
{
	return __atomic_load_n(word_of(o, w), __ATOMIC_ACQUIRE) == fallen(w);
}

void wm_observer_fall(struct wm_observer *o, const struct wm_listen_watch *w)
{
	swap(word_of(o, w), up(w), fallen(w));
}
