/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_code.c - see etcd_code.h. */
#include "etcd_code.h"

#include "userspace/base/endpoint.h"

#include <endian.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>

/* --- keys ------------------------------------------------------------------------------------- */

#define FLAG_GONE   1
#define FLAG_SHARED 2

static const char letters[] = "nmosqa"; /* by enum wm_etcd_key_kind */

static bool plain(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("-._~:@", c));
}

static char *escape(const char *s, size_t len, char *to)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t n = 0; n < len; n++) {
		unsigned char c = (unsigned char)s[n];

		if (plain(c)) {
			*to++ = (char)c;
			continue;
		}
		*to++ = '%';
		*to++ = digits[c >> 4];
		*to++ = digits[c & 15];
	}
	return to;
}

size_t wm_etcd_key_write(const struct wm_etcd_key *k, char ret[static WM_ETCD_KEY_MAX])
{
	const char *nul = memchr(k->octets, 0, k->len);
	char *to = ret;

	if (k->len > sizeof(k->octets) || (k->kind == WM_ETCD_KEY_SHARED && !nul))
		return 0;
	*to++ = letters[k->kind];
	*to++ = '/';
	if (k->kind == WM_ETCD_KEY_SHARED) {
		to = escape(k->octets, (size_t)(nul - k->octets), to);
		*to++ = '/';
		to = escape(nul + 1, k->len - (size_t)(nul + 1 - k->octets), to);
	} else {
		wm_peer_id_format(&k->id, to);
		to += WM_PEER_ID_TEXT - 1;
		if (wm_etcd_key_named(k->kind)) {
			*to++ = '/';
			to = escape(k->octets, k->len, to);
		}
	}
	*to = '\0';
	return (size_t)(to - ret);
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Append the octets of one escaped part to the key. */
static int unescape(const char *s, size_t len, struct wm_etcd_key *k)
{
	for (size_t n = 0; n < len; n++) {
		unsigned char c = (unsigned char)s[n];

		if (k->len == sizeof(k->octets))
			return -EINVAL;
		if (c == '%') {
			int high = n + 2 < len ? digit(s[n + 1]) : -1;
			int low = high < 0 ? -1 : digit(s[n + 2]);

			if (low < 0 || plain((unsigned char)(high << 4 | low)))
				return -EINVAL;
			k->octets[k->len++] = (char)(high << 4 | low);
			n += 2;
		} else if (plain(c)) {
			k->octets[k->len++] = (char)c;
		} else {
			return -EINVAL;
		}
	}
	return 0;
}

static int read_shared(const char *s, size_t len, struct wm_etcd_key *k)
{
	const char *slash = memchr(s, '/', len);
	size_t node = slash ? (size_t)(slash - s) : 0;

	if (!slash || unescape(s, node, k) || memchr(k->octets, 0, k->len) ||
	    k->len == sizeof(k->octets))
		return -EINVAL;
	k->octets[k->len++] = '\0';
	return unescape(slash + 1, len - node - 1, k);
}

int wm_etcd_key_read(const char *s, size_t len, struct wm_etcd_key *ret)
{
	char id[WM_PEER_ID_TEXT], same[WM_PEER_ID_TEXT];
	const char *letter = len > 2 && *s && s[1] == '/' ? strchr(letters, *s) : NULL;

	if (!letter)
		return -EINVAL;
	*ret = (struct wm_etcd_key){.kind = (enum wm_etcd_key_kind)(letter - letters)};
	s += 2;
	len -= 2;
	if (ret->kind == WM_ETCD_KEY_SHARED)
		return read_shared(s, len, ret);
	if (len < WM_PEER_ID_TEXT - 1)
		return -EINVAL;
	memcpy(id, s, WM_PEER_ID_TEXT - 1);
	id[WM_PEER_ID_TEXT - 1] = '\0';
	if (wm_peer_id_parse(id, &ret->id))
		return -EINVAL;
	wm_peer_id_format(&ret->id, same);
	if (strcmp(id, same) != 0)
		return -EINVAL;
	s += WM_PEER_ID_TEXT - 1;
	len -= WM_PEER_ID_TEXT - 1;
	if (!wm_etcd_key_named(ret->kind))
		return len ? -EINVAL : 0;
	return len && *s == '/' ? unescape(s + 1, len - 1, ret) : -EINVAL;
}

/* --- values ----------------------------------------------------------------------------------- */

struct head {
	uint8_t magic[2], format, flags;
	uint32_t epoch;
	uint64_t seq;
	uint8_t writer[16];
	uint64_t gone_ms;
};
_Static_assert(sizeof(struct head) == WM_ETCD_HEADER, "no padding");

void wm_etcd_value_head(const struct wm_etcd_value *v, uint8_t ret[static WM_ETCD_HEADER])
{
	struct head h = {.magic = {'W', 'E'},
			 .format = WM_ETCD_FORMAT,
			 .epoch = htobe32(v->version.epoch),
			 .seq = htobe64(v->version.seq),
			 .gone_ms = htobe64(v->gone_ms)};

	h.flags = (uint8_t)((v->gone ? FLAG_GONE : 0) |
			    (v->version.origin == WM_ORIGIN_SHARED ? FLAG_SHARED : 0));
	memcpy(h.writer, v->writer.octets, sizeof(h.writer));
	memcpy(ret, &h, sizeof(h));
}

int wm_etcd_value_read(const void *p, size_t len, struct wm_etcd_value *ret)
{
	struct wm_etcd_value v = {0};
	struct head h;

	if (len < sizeof(h))
		return -EINVAL;
	memcpy(&h, p, sizeof(h));
	if (h.magic[0] != 'W' || h.magic[1] != 'E' || !h.format)
		return -EINVAL;
	if (h.format > WM_ETCD_FORMAT)
		return WM_E_UNSUPPORTED;
	v.version.origin = h.flags & FLAG_SHARED ? WM_ORIGIN_SHARED : WM_ORIGIN_OWN;
	v.version.epoch = be32toh(h.epoch);
	v.version.seq = be64toh(h.seq);
	v.gone = h.flags & FLAG_GONE;
	v.gone_ms = be64toh(h.gone_ms);
	memcpy(v.writer.octets, h.writer, sizeof(h.writer));
	v.len = len - sizeof(h);
	v.object = v.gone ? NULL : (const char *)p + sizeof(h);
	if (!v.version.seq || h.flags & ~(FLAG_GONE | FLAG_SHARED) || (v.gone && v.len) ||
	    (!v.gone && (!v.len || v.gone_ms)))
		return -EINVAL;
	*ret = v;
	return 0;
}

/* --- a node's record -------------------------------------------------------------------------- */

/* Takes the reference. */
static bool write_json(json_t *o, struct wm_buf *b)
{
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	bool ok = text && wm_buf_puts(b, text);

	if (text)
		explicit_bzero(text, strlen(text)); /* it may hold a password */
	free(text);
	json_decref(o);
	return ok;
}

bool wm_etcd_record_write(const struct wm_etcd_record *r, struct wm_buf *b)
{
	return write_json(json_pack("{s:i, s:s, s:s, s:s, s:b}", "format", WM_ETCD_FORMAT, "name",
				    r->name, "address", r->address, "version", r->version,
				    "settled", r->settled),
			  b);
}

bool wm_etcd_login_write(const char *user, const char *password, struct wm_buf *b)
{
	return write_json(json_pack("{s:s, s:s}", "name", user, "password", password), b);
}

static bool take_text(const json_t *o, const char *name, char *to, size_t cap)
{
	const char *s = json_string_value(json_object_get(o, name));

	if (!s || strlen(s) >= cap)
		return false;
	memcpy(to, s, strlen(s) + 1);
	return true;
}

int wm_etcd_record_read(const char *p, size_t len, struct wm_etcd_record *ret)
{
	struct wm_etcd_record r = {0};
	json_t *o = len <= WM_ETCD_RECORD_MAX ? json_loadb(p, len, 0, NULL) : NULL;
	bool ok = json_is_object(o) && take_text(o, "name", r.name, sizeof(r.name)) &&
		  take_text(o, "address", r.address, sizeof(r.address)) &&
		  take_text(o, "version", r.version, sizeof(r.version));

	r.settled = json_is_true(json_object_get(o, "settled"));
	json_decref(o);
	if (!ok)
		return WM_E_DECODE;
	*ret = r;
	return 0;
}

/* --- a report --------------------------------------------------------------------------------- */

void wm_etcd_found_name(const struct wm_etcd_key *k, struct wm_verify_found *f)
{
	const char *id = k->octets;
	size_t len = k->len, node;

	f->shared = k->kind == WM_ETCD_KEY_SHARED;
	if (f->shared) {
		node = strnlen(id, len); /* a NUL is in it: wm_etcd_key_read() */
		snprintf(f->node, sizeof(f->node), "%.*s", (int)node, id);
		id += node + 1;
		len -= node + 1;
	} else {
		f->origin = k->id;
	}
	snprintf(f->id, sizeof(f->id), "%.*s", (int)len, id);
}

/* As text: an id may be no UTF-8, and a key is plain. */
static json_t *found_key(const struct wm_verify_found *f)
{
	struct wm_etcd_key k = {.kind = f->shared ? WM_ETCD_KEY_SHARED : WM_ETCD_KEY_OWN,
				.id = f->origin};
	size_t node = strlen(f->node) + 1, id = strlen(f->id);
	char text[WM_ETCD_KEY_MAX];

	if (id + (f->shared ? node : 0) > sizeof(k.octets))
		return NULL;
	if (f->shared)
		memcpy(k.octets, f->node, k.len = node);
	memcpy(k.octets + k.len, f->id, id);
	k.len += id;
	return wm_etcd_key_write(&k, text) ? json_string(text) : NULL;
}

static json_t *pack_side(const struct wm_verify_side *s)
{
	char writer[WM_PEER_ID_TEXT];

	wm_peer_id_format(&s->writer, writer);
	return json_pack("[b, b, b, I, I, s]", s->known, s->gone, s->other, (json_int_t)s->epoch,
			 (json_int_t)s->seq, writer);
}

bool wm_etcd_report_write(const struct wm_etcd_report *r, struct wm_buf *b)
{
	json_t *list = json_array(), *o;

	for (unsigned n = 0; n < r->count; n++) {
		const struct wm_verify_found *f = &r->found[n];

		o = json_pack("{s:o, s:o, s:o}", "key", found_key(f), "here", pack_side(&f->here),
			      "there", pack_side(&f->there));
		if (json_array_append_new(list, o)) {
			json_decref(list);
			return false;
		}
	}
	return write_json(json_pack("{s:i, s:I, s:b, s:b, s:o}", "format", WM_ETCD_FORMAT, "number",
				    (json_int_t)r->number, "silent", r->silent, "more", r->more,
				    "found", list),
			  b);
}

static bool read_side(json_t *o, struct wm_verify_side *s)
{
	int known, gone, other;
	json_int_t epoch, seq;
	const char *writer;

	if (json_unpack(o, "[b, b, b, I, I, s!]", &known, &gone, &other, &epoch, &seq, &writer) ||
	    epoch < 0 || epoch > UINT32_MAX || wm_peer_id_parse(writer, &s->writer))
		return false;
	s->known = known;
	s->gone = gone;
	s->other = other;
	s->epoch = (uint32_t)epoch;
	s->seq = (uint64_t)seq;
	return true;
}

static bool read_found(json_t *o, struct wm_verify_found *f)
{
	const char *key;
	json_t *here, *there;
	struct wm_etcd_key k;

	*f = (struct wm_verify_found){0};
	if (json_unpack(o, "{s:s, s:o, s:o}", "key", &key, "here", &here, "there", &there) ||
	    wm_etcd_key_read(key, strlen(key), &k) ||
	    (k.kind != WM_ETCD_KEY_OWN && k.kind != WM_ETCD_KEY_SHARED))
		return false;
	wm_etcd_found_name(&k, f);
	return read_side(here, &f->here) && read_side(there, &f->there);
}

int wm_etcd_report_read(const char *p, size_t len, struct wm_etcd_report *ret)
{
	json_t *o = len <= WM_ETCD_REPORT_MAX ? json_loadb(p, len, 0, NULL) : NULL, *list;
	int silent, more;
	json_int_t number;
	bool ok = o && !json_unpack(o, "{s:I, s:b, s:b, s:o}", "number", &number, "silent", &silent,
				    "more", &more, "found", &list);

	ok = ok && number >= 0 && json_is_array(list) &&
	     json_array_size(list) <= WM_ETCD_REPORT_FOUND;
	for (size_t n = 0; ok && n < json_array_size(list); n++)
		ok = read_found(json_array_get(list, n), &ret->found[n]);
	if (ok) {
		ret->number = (uint64_t)number;
		ret->silent = silent;
		ret->more = more;
		ret->count = (unsigned)json_array_size(list);
	}
	json_decref(o);
	return ok ? 0 : WM_E_DECODE;
}

/* --- what a person wrote ------------------------------------------------------------------------
 */

int wm_etcd_endpoint_check(const char *s, struct wm_err *e)
{
	if (wm_endpoint_valid(s) && strlen(s) <= WM_ETCD_ENDPOINT_MAX)
		return 0;
	return wm_err_set(e, WM_E_INVALID,
			  "an endpoint such as https://10.0.0.1:2379 is wanted, not \"%.64s\"", s);
}

int wm_etcd_prefix_check(const char *s, struct wm_err *e)
{
	if (wm_key_prefix_valid(s) && strlen(s) <= WM_ETCD_PREFIX_MAX)
		return 0;
	return wm_err_set(
		e, WM_E_INVALID,
		"a prefix such as /waymark/dc1/ is wanted, %u octets at most, not \"%.64s\"",
		WM_ETCD_PREFIX_MAX, s);
}
