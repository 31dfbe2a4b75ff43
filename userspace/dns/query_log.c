/* SPDX-License-Identifier: Apache-2.0 */
/* query_log.c - answers are noted here, those of the kernel as far as it tells of them: each is
 * remembered (seen.h), and every dns.query_log-th is logged. With log.privacy private names and
 * clients are told by a hash of this process, so that what belongs together is seen, and nothing
 * else. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/hash.h"
#include "userspace/base/log.h"
#include "userspace/base/random.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LINES_MAX 100 /* lines a second: a log is no place for every question of a busy node */

static bool ends_with(const char *name, const char *domain)
{
	size_t n = strlen(name), d = strlen(domain);

	return n >= d && strcasecmp(name + n - d, domain) == 0 &&
	       (n == d || name[n - d - 1] == '.');
}

/* Of a domain that the operator has servers for. */
static bool is_forwarded(const struct wm_dns_server *s, const char *name)
{
	struct wm_upstream_health h;

	for (unsigned i = 0; s->upstream && wm_upstream_health(s->upstream, i, &h); i++)
		if (strcmp(h.domain, ".") != 0 && ends_with(name, h.domain))
			return true;
	return false;
}

/* Does the name hold a domain of ours, as one of ours with a suffix of a search list has it? */
static bool has_within(const uint8_t *folded, size_t len, const uint8_t *domain, size_t domain_len)
{
	for (size_t at = 0; domain && at + domain_len <= len; at += folded[at] + 1u)
		if (memcmp(folded + at, domain, domain_len - 1) == 0)
			return true;
	return false;
}

static bool has_ours_within(const struct wm_dns_server *s, const uint8_t *folded, size_t len)
{
	const struct wm_kube_zone *cluster = s->kube ? wm_kube_zone(s->kube) : NULL;
	size_t domain_len = 0;

	for (int alt = 0; alt < 2; alt++) {
		const uint8_t *domain = wm_tables_domain(s->tables, alt, &domain_len);

		if (has_within(folded, len, domain, domain_len))
			return true;
	}
	return cluster && has_within(folded, len, cluster->wire, cluster->len);
}

/* What is ours, the operator's, of one label, or an address: it tells of this network. */
static bool is_private(const struct wm_dns_server *s, const struct wm_dns_seen_one *o,
		       const char *name)
{
	uint8_t folded[WM_NAME_BUF] = {0};
	struct wm_dns_ask ask;

	for (unsigned i = 0; i < o->name_len; i++)
		folded[i] = o->name[i] >= 'A' && o->name[i] <= 'Z'
				    ? (uint8_t)(o->name[i] + 'a' - 'A')
				    : o->name[i];
	wm_ask_parse(s, folded, o->name_len, &ask);
	return ask.kind != WM_ASK_OUTSIDE || !strchr(name, '.') || is_forwarded(s, name) ||
	       has_ours_within(s, folded, o->name_len);
}

/* In whatever case it was asked. */
static void hash_text(char *text, size_t cap)
{
	for (char *p = text; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 'a' - 'A');
	snprintf(text, cap, "~%016" PRIx64, wm_hash(text, strlen(text)));
}

static void client_text(const struct wm_dns_seen_one *o, char out[INET6_ADDRSTRLEN])
{
	struct in6_addr a;

	memcpy(&a, o->client, sizeof(a));
	*out = '\0';
	if (IN6_IS_ADDR_V4MAPPED(&a))
		inet_ntop(AF_INET, o->client + 12, out, INET6_ADDRSTRLEN);
	else if (!IN6_IS_ADDR_UNSPECIFIED(&a))
		inet_ntop(AF_INET6, &a, out, INET6_ADDRSTRLEN);
}

static bool may_log(struct wm_dns_server *s)
{
	uint64_t second = wm_clock_ms() / 1000;

	if (second != s->log_second) {
		s->log_second = second;
		s->log_lines = 0;
	}
	if (s->log_lines++ < LINES_MAX)
		return true;
	s->counters[WM_DNS_C_UNLOGGED]++;
	return false;
}

static void log_one(struct wm_dns_server *s, const struct wm_dns_seen_one *o)
{
	char name[WM_DNS_TEXT_MAX], client[INET6_ADDRSTRLEN];

	if (!wm_dns_text(o->name, name, sizeof(name)))
		snprintf(name, sizeof(name), ".");
	client_text(o, client);
	if (s->c.log_privacy) {
		if (is_private(s, o, name))
			hash_text(name, sizeof(name));
		hash_text(client, sizeof(client));
	}
	wm_log_line(
		WM_LOG_INFO, "dns.question",
		"name=%s type=%u client=%s transport=%s level=%s rcode=%u answers=%u us=%" PRIu64
		" sampled=%u",
		wm_log_q(name), o->type, wm_log_q(client), o->tcp ? "tcp" : "udp",
		wm_dns_level_str((enum wm_dns_level)o->level), o->rcode, o->answers,
		o->took_ns / 1000, o->stands_for);
}

void wm_dns_note(struct wm_dns_server *s, const struct wm_dns_made *m)
{
	uint64_t before = wm_dns_seen_last(s->seen), last;

	wm_dns_seen_put(s->seen, m);
	last = wm_dns_seen_last(s->seen);
	if (s->c.log_every && last != before && last % s->c.log_every == 0 && may_log(s))
		log_one(s, wm_dns_seen_get(s->seen, last));
}

/* The one that was noted last, unless none was since @p before: it stands for so many. */
static void log_sampled(struct wm_dns_server *s, const struct wm_dns_seen *seen, uint64_t before,
			uint32_t every)
{
	uint64_t last = wm_dns_seen_last(seen);

	if (!s->c.log_every || last == before)
		return;
	s->log_owed += every;
	if (s->log_owed < s->c.log_every)
		return;
	s->log_owed %= s->c.log_every;
	if (may_log(s))
		log_one(s, wm_dns_seen_get(seen, last));
}

void wm_dns_sampled(struct wm_dns_server *s, const struct wm_dns_sample *told)
{
	uint64_t before = wm_dns_seen_last(s->kernel_seen);

	wm_dns_seen_sample(s->kernel_seen, told);
	log_sampled(s, s->kernel_seen, before, told->every);
}

void wm_dns_note_drop(struct wm_dns_server *s, const struct sockaddr *from, const uint8_t *query,
		      size_t len, enum wm_dns_level why)
{
	uint64_t before = wm_dns_seen_last(s->seen);

	if (--s->drop_left - 1 < wm_sample_limit(s->sample_every) ||
	    !wm_sample_turn(&s->drop_left, s->sample_every, (uint32_t)wm_random64()))
		return;
	wm_dns_seen_drop(s->seen, from, query, len, why, s->sample_every);
	log_sampled(s, s->seen, before, s->sample_every);
}

void wm_dns_server_sample(struct wm_dns_server *s, unsigned every)
{
	s->sample_every = every;
}

int wm_dns_server_sampler(struct wm_dns_server *s, const struct wm_dns_sampler *k)
{
	s->kernel_seen = wm_dns_seen_new(true);
	if (!s->kernel_seen)
		return -ENOMEM;
	s->sampler = *k;
	return 0;
}

const struct wm_dns_seen *wm_dns_seen_by_kernel(const struct wm_dns_server *s)
{
	if (s->sampler.read)
		s->sampler.read(s->sampler.arg);
	return s->kernel_seen;
}
