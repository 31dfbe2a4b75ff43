/* SPDX-License-Identifier: Apache-2.0 */
/* cookie_keys.c - the keys that cookies are made with: our own, which change by time and are kept
 * over a restart, so that clients need no other cookies then, or those that an operator gives to
 * all nodes of one address. The key before is taken for as long as the one in use: no cookie lives
 * longer. Spec: RFC 7873 7.1, RFC 9018 5. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/hex.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "userspace/base/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_OCTETS 16
#define KEY_DIGITS (2 * KEY_OCTETS)
#define FILE_MAX   256	 /* octets of a file of keys: two of them, a time, and ends of lines */
#define LOOK_MS	   30000 /* how late a key may change, and a change of the clock be seen */
#define CLOCK_S	   5	 /* seconds that the clocks may differ by before others are told */

struct wm_dns_cookie_keeper {
	struct wm_dns_server *s;
	struct wm_dns_cookie_config c; /* its strings are not used */
	char path[PATH_MAX];	       /* of our own keys; "": they are not kept */
	bool shared;		       /* they are an operator's, and do not change */
	int64_t made_s;		       /* wall clock of the one in use */
	struct wm_timer *look;
};

/* --- files ------------------------------------------------------------------------------------ */
/* The key whose digits stand at *p, which moves behind them. */
static bool read_key(const char **p, __u64 ret[2])
{
	uint8_t octets[KEY_OCTETS];

	for (unsigned i = 0; i < KEY_OCTETS; i++) {
		int high = wm_hex_digit((*p)[0]), low = high < 0 ? -1 : wm_hex_digit((*p)[1]);

		if (low < 0)
			return false;
		octets[i] = (uint8_t)(high << 4 | low);
		*p += 2;
	}
	memcpy(ret, octets, sizeof(octets));
	explicit_bzero(octets, sizeof(octets));
	return true;
}

static void skip_space(const char **p)
{
	*p += strspn(*p, " \t\r\n");
}

/* One or two keys, with space between, and nothing else. */
static bool read_keys(const char *text, struct wm_cookie_keys *ret)
{
	ret->count = 0;
	for (skip_space(&text); *text; skip_space(&text)) {
		if (ret->count == 2 || !read_key(&text, ret->key[ret->count]) ||
		    (*text && !strchr(" \t\r\n", *text)))
			return false;
		ret->count++;
	}
	return ret->count > 0;
}

/* @return octets, with a NUL behind; negative errno, -EFBIG: more than @p buf takes. */
static int read_file(const char *path, char buf[FILE_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, FILE_MAX);
	err = errno;
	close(fd);
	if (n < 0)
		return -err;
	if (n == FILE_MAX)
		return -EFBIG;
	buf[n] = 0;
	return (int)n;
}

static int read_shared(const char *path, struct wm_cookie_keys *ret, struct wm_err *e)
{
	char text[FILE_MAX];
	int r = read_file(path, text);

	if (r < 0)
		return wm_err_set(e, WM_E_INVALID, "dns.cookie_key_file: %s: %s", path,
				  wm_err_str(r));
	r = read_keys(text, ret) ? 0
				 : wm_err_set(e, WM_E_INVALID,
					      "dns.cookie_key_file: %s: wants one or two keys of "
					      "%d hexadecimal digits",
					      path, KEY_DIGITS);
	explicit_bzero(text, sizeof(text));
	return r;
}

int wm_dns_cookies_check(const char *file, struct wm_err *e)
{
	struct wm_cookie_keys keys;
	int r = read_shared(file, &keys, e);

	explicit_bzero(&keys, sizeof(keys));
	return r;
}

/* As write_own() wrote it. @return false: it is not there, or not ours. */
static bool read_own(struct wm_dns_cookie_keeper *k, struct wm_cookie_keys *ret)
{
	char text[FILE_MAX], *end = text;
	bool ok = false;

	if (*k->path && read_file(k->path, text) > 0) {
		k->made_s = strtoll(text, &end, 10);
		ok = end != text && *end == ' ' && read_keys(end, ret);
	}
	explicit_bzero(text, sizeof(text));
	return ok;
}

static size_t put_key(char *at, const __u64 key[2])
{
	uint8_t octets[KEY_OCTETS];

	memcpy(octets, key, sizeof(octets));
	for (unsigned i = 0; i < KEY_OCTETS; i++)
		snprintf(at + 2 * i, 3, "%02x", octets[i]);
	explicit_bzero(octets, sizeof(octets));
	return KEY_DIGITS;
}

static void write_own(const struct wm_dns_cookie_keeper *k)
{
	const struct wm_cookie_keys *keys = &k->s->cookies;
	char text[FILE_MAX];
	size_t len;
	int r;

	if (!*k->path)
		return;
	len = (size_t)snprintf(text, sizeof(text), "%" PRId64, k->made_s);
	for (unsigned i = 0; i < keys->count; i++) {
		text[len++] = ' ';
		len += put_key(text + len, keys->key[i]);
	}
	text[len++] = '\n';
	/* who finds none makes another: no wait for the disk */
	r = wm_file_replace(k->path, text, len, WM_REPLACE_CACHE);
	explicit_bzero(text, sizeof(text));
	if (r)
		wm_warn("dns.cookies",
			"err=%s text=\"the key is not kept: a restart begins with another\"",
			wm_err_name(r));
}

/* --- time ------------------------------------------------------------------------------------- */
static void tell(const struct wm_dns_cookie_keeper *k)
{
	if (k->c.changed)
		k->c.changed(k->c.arg, &k->s->cookies);
}

/* The wall clock may have been set: cookies have its time. @return whether that is to be told. */
static bool take_clock(struct wm_cookie_keys *keys)
{
	uint32_t wall_s = (uint32_t)(wm_clock_wall_s() - (int64_t)(wm_clock_ns() / WM_NS_PER_S));
	int32_t by = (int32_t)(wall_s - keys->wall_s);

	if (by <= CLOCK_S && by >= -CLOCK_S)
		return false;
	keys->wall_s = wall_s;
	return true;
}

static void rotate(struct wm_dns_cookie_keeper *k)
{
	struct wm_cookie_keys *keys = &k->s->cookies;

	if (keys->count)
		memcpy(keys->key[1], keys->key[0], sizeof(keys->key[1]));
	keys->count = keys->count ? 2 : 1;
	keys->key[0][0] = wm_random64();
	keys->key[0][1] = wm_random64();
	k->made_s = wm_clock_wall_s();
	write_own(k);
}

/* Its time is over; or it is of later, as after the clock was set back, and nobody knows. */
static bool is_due(const struct wm_dns_cookie_keeper *k)
{
	int64_t age_s = wm_clock_wall_s() - k->made_s;

	return age_s < 0 || (uint64_t)age_s >= k->c.rotate_ms / 1000;
}

static void on_look(void *arg)
{
	struct wm_dns_cookie_keeper *k = arg;
	bool news = take_clock(&k->s->cookies);

	if (!k->shared && is_due(k)) {
		rotate(k);
		news = true;
	}
	if (news)
		tell(k);
	(void)wm_timer_arm(k->look, k->c.rotate_ms < LOOK_MS ? k->c.rotate_ms : LOOK_MS);
}

/* --- life ------------------------------------------------------------------------------------- */
static void forget(struct wm_dns_server *s)
{
	struct wm_dns_cookie_keeper *k = s->keeper;

	explicit_bzero(&s->cookies, sizeof(s->cookies));
	if (!k)
		return;
	tell(k);
	wm_timer_free(k->look);
	free(k);
	s->keeper = NULL;
}

/* The kernel goes on with the keys that it was told last. */
void wm_dns_cookies_done(struct wm_dns_server *s)
{
	if (s->keeper)
		s->keeper->c.changed = NULL;
	forget(s);
}

static struct wm_dns_cookie_keeper *keeper_new(struct wm_dns_server *s,
					       const struct wm_dns_cookie_config *c)
{
	struct wm_dns_cookie_keeper *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->s = s;
	k->c = *c;
	k->shared = *c->file;
	if (c->data_dir && !k->shared &&
	    snprintf(k->path, sizeof(k->path), "%s/dns-cookies", c->data_dir) >=
		    (int)sizeof(k->path))
		*k->path = 0;
	k->look = wm_timer_new(s->loop, on_look, k);
	if (!k->look) {
		free(k);
		return NULL;
	}
	return k;
}

int wm_dns_server_cookies(struct wm_dns_server *s, const struct wm_dns_cookie_config *c,
			  struct wm_err *e)
{
	struct wm_cookie_keys keys = {0};
	struct wm_dns_cookie_keeper *k;
	int r = 0;

	if (c && *c->file)
		r = read_shared(c->file, &keys, e);
	if (!c)
		forget(s);
	if (!c || r)
		return r;
	k = keeper_new(s, c);
	if (!k)
		return wm_err_set(e, -ENOMEM, "out of memory: cookies");
	if (!k->shared && s->keeper && !s->keeper->shared) {
		keys = s->cookies; /* a full disk may not have them */
		k->made_s = s->keeper->made_s;
	} else if (!k->shared) {
		(void)read_own(k, &keys);
	}
	wm_dns_cookies_done(s);
	s->keeper = k;
	s->cookies = keys;
	explicit_bzero(&keys, sizeof(keys));
	(void)take_clock(&s->cookies);
	if (!k->shared && (!s->cookies.count || is_due(k)))
		rotate(k);
	tell(k);
	(void)wm_timer_arm(k->look, c->rotate_ms < LOOK_MS ? c->rotate_ms : LOOK_MS);
	return 0;
}

void wm_dns_server_nsid(struct wm_dns_server *s, const char *text)
{
	size_t len = strlen(text);

	s->nsid_len = len < WM_DNS_NSID_MAX ? len : WM_DNS_NSID_MAX;
	memcpy(s->nsid, text, s->nsid_len);
}
