/* SPDX-License-Identifier: Apache-2.0 */
/* seen.c - a ring of the questions that were answered last. */
#include "seen.h"

#include "userspace/base/clock.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

struct wm_dns_seen {
	const double *bounds;
	uint64_t last;
	struct wm_dns_times times[WM_DNS_LEVEL_COUNT][WM_DNS_RCODES];
	uint64_t answers[WM_DNS_LEVEL_COUNT][WM_DNS_SEEN_TYPE_COUNT][WM_DNS_RCODES];
	struct wm_dns_seen_one ring[WM_DNS_SEEN_MAX];
	struct wm_dns_seen_one nameless; /* scratch: it is counted only */
};

/* From what the tables take to the deadline of a question to others. */
static const double user_bounds_s[WM_DNS_TIME_BUCKETS] = {0.00001, 0.0001, 0.001, 0.005, 0.02,
							  0.05,	   0.1,	   0.5,	  2,	 5};
static const double kernel_bounds_s[WM_DNS_TIME_BUCKETS] = {2e-7, 3e-7, 5e-7, 1e-6, 2e-6,
							    5e-6, 1e-5, 1e-4, 1e-3, 1e-2};

struct wm_dns_seen *wm_dns_seen_new(bool kernel)
{
	struct wm_dns_seen *s = calloc(1, sizeof(*s));

	if (s)
		s->bounds = kernel ? kernel_bounds_s : user_bounds_s;
	return s;
}

const double *wm_dns_seen_bounds(const struct wm_dns_seen *s)
{
	return s->bounds;
}

void wm_dns_seen_free(struct wm_dns_seen *s)
{
	free(s);
}

static enum wm_dns_seen_type type_of(uint16_t type)
{
	switch (type) {
#define X(name, number)                                                                            \
	case number:                                                                               \
		return WM_DNS_SEEN_##name;
		WM_DNS_SEEN_TYPES(X)
#undef X
	default:
		return WM_DNS_SEEN_OTHER;
	}
}

/* What was dropped is no answer, and took no time. */
static void count(struct wm_dns_seen *s, const struct wm_dns_seen_one *o)
{
	struct wm_dns_times *t = &s->times[o->level][o->rcode];
	unsigned i = 0;

	if (o->level >= WM_DNS_LEVEL_TABLES + WM_SAMPLE_DROPPED)
		return;
	while (i < WM_DNS_TIME_BUCKETS && (double)o->took_ns > s->bounds[i] * 1e9)
		i++;
	t->count[i] += o->stands_for;
	t->sum_ns += o->took_ns * o->stands_for;
	s->answers[o->level][type_of(o->type)][o->rcode] += o->stands_for;
}

static struct wm_dns_seen_one *next(struct wm_dns_seen *s)
{
	struct wm_dns_seen_one *o = &s->ring[s->last++ % WM_DNS_SEEN_MAX];

	o->number = s->last;
	return o;
}

/* @return octets of the name, 0: it is none, or the type is not behind it. */
static size_t name_of(const uint8_t *query, size_t len)
{
	size_t at = WM_DNS_HEADER_LEN;

	while (at < len && query[at] && query[at] <= WM_DNS_LABEL_MAX &&
	       at - WM_DNS_HEADER_LEN < WM_DNS_NAME_MAX)
		at += 1u + query[at];
	if (at + 5 > len || query[at] || at - WM_DNS_HEADER_LEN >= WM_DNS_NAME_MAX)
		return 0;
	return at + 1 - WM_DNS_HEADER_LEN;
}

static void put_client(struct wm_dns_seen_one *o, const struct sockaddr *from)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;

	memset(o->client, 0, sizeof(o->client));
	o->port = 0;
	if (from && from->sa_family == AF_INET6) {
		memcpy(o->client, &v6->sin6_addr, sizeof(o->client));
		o->port = ntohs(v6->sin6_port);
	} else if (from && from->sa_family == AF_INET) {
		o->client[10] = o->client[11] = 0xff;
		memcpy(o->client + 12, &v4->sin_addr, 4);
		o->port = ntohs(v4->sin_port);
	}
}

void wm_dns_seen_put(struct wm_dns_seen *s, const struct wm_dns_made *m)
{
	size_t name_len = name_of(m->query, m->len);
	const uint8_t *name = m->query + WM_DNS_HEADER_LEN, *behind = name + name_len;
	struct wm_dns_seen_one *o;

	if (m->answer_len < WM_DNS_HEADER_LEN)
		return;
	o = name_len ? next(s) : &s->nameless;
	o->at_ms = wm_clock_ms();
	o->took_ns = m->took_ns;
	put_client(o, m->from);
	o->type = name_len ? (uint16_t)(behind[0] << 8 | behind[1]) : 0;
	o->answers = (uint16_t)(m->answer[6] << 8 | m->answer[7]);
	o->stands_for = 1;
	o->ifindex = 0;
	o->octets = (uint32_t)m->answer_len;
	o->rcode = m->answer[3] & WM_DNS_RCODE;
	o->level = (uint8_t)m->level;
	o->tcp = m->tcp;
	o->name_len = (uint8_t)name_len;
	memcpy(o->name, name, name_len);
	count(s, o);
}

void wm_dns_seen_drop(struct wm_dns_seen *s, const struct sockaddr *from, const uint8_t *query,
		      size_t len, enum wm_dns_level why, uint32_t every)
{
	static const uint8_t nothing[WM_DNS_HEADER_LEN] = {[3] = WM_DNS_REFUSED};
	uint64_t before = s->last;

	wm_dns_seen_put(s, &(struct wm_dns_made){.from = from,
						 .level = why,
						 .query = query,
						 .len = len,
						 .answer = nothing,
						 .answer_len = sizeof(nothing)});
	if (s->last == before)
		return;
	s->ring[before % WM_DNS_SEEN_MAX].octets = 0;
	s->ring[before % WM_DNS_SEEN_MAX].stands_for = every;
}

void wm_dns_seen_sample(struct wm_dns_seen *s, const struct wm_dns_sample *told)
{
	struct wm_dns_seen_one *o;

	if (told->level >= WM_SAMPLE_LEVEL_COUNT)
		return;
	o = next(s);
	o->at_ms = told->time_ns / WM_NS_PER_MS;
	o->took_ns = told->took_ns;
	memcpy(o->client, told->client_be, sizeof(o->client));
	o->port = ntohs(told->client_port_be);
	o->type = told->type;
	o->answers = told->answers;
	o->stands_for = told->every;
	o->ifindex = told->ifindex;
	o->octets = told->octets;
	o->rcode = told->rcode & WM_DNS_RCODE;
	o->level = (uint8_t)(WM_DNS_LEVEL_TABLES + told->level);
	o->tcp = false;
	o->name_len = told->name_len;
	memcpy(o->name, told->name, told->name_len);
	count(s, o);
}

uint64_t wm_dns_seen_last(const struct wm_dns_seen *s)
{
	return s->last;
}

const struct wm_dns_seen_one *wm_dns_seen_get(const struct wm_dns_seen *s, uint64_t number)
{
	const struct wm_dns_seen_one *o = &s->ring[(number - 1) % WM_DNS_SEEN_MAX];

	return number && o->number == number ? o : NULL;
}

const struct wm_dns_times *wm_dns_seen_times(const struct wm_dns_seen *s, enum wm_dns_level l)
{
	return s->times[l];
}

const uint64_t *wm_dns_seen_answers(const struct wm_dns_seen *s, enum wm_dns_level l,
				    enum wm_dns_seen_type t)
{
	return s->answers[l][t];
}

const char *wm_dns_seen_type_str(enum wm_dns_seen_type t)
{
	static const char *const names[] = {
#define X(name, number) #name,
		WM_DNS_SEEN_TYPES(X)
#undef X
			"other"};

	return names[t];
}

const char *wm_dns_level_str(enum wm_dns_level l)
{
	static const char *const names[] = {"own",
					    "cache",
					    "stale",
					    "upstream",
					    "second",
#define X(symbol, name) name,
					    WM_SAMPLE_LEVELS(X)
#undef X
	};

	return names[l];
}
