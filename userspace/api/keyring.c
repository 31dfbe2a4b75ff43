/* SPDX-License-Identifier: Apache-2.0 */
/* keyring.c - the keys of the mesh's datagrams over all members: as Consul's operator/keyring, and
 * as Waymark tells it, by members and fingerprints. Keys themselves are only in Consul's list, and
 * those only that this agent has; of others the fingerprint stands in their place. */
#include "userspace/sync/keyring.h"

#include "decode_internal.h"
#include "internal.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX	 (8u << 20) /* octets: each of 16,384 members has some 400 */
#define KEYS_SHOWN	 64	    /* keys that members have between them; a change needs two */
#define RELAY_FACTOR_MAX 5	    /* Consul's */
#define TOLD_MAX	 8	    /* members that a failure's text names */

/* --- keys of all members ---------------------------------------------------------------------- */
struct counted {
	const char *print;
	unsigned members, seals;
};

static unsigned count_keys(const struct wm_keyring_result *r, struct counted all[KEYS_SHOWN])
{
	unsigned count = 0, k;

	for (unsigned m = 0; m < r->count; m++) {
		for (unsigned n = 0; n < r->members[m].count; n++) {
			for (k = 0; k < count; k++)
				if (strcmp(all[k].print, r->members[m].prints[n]) == 0)
					break;
			if (k == KEYS_SHOWN)
				continue;
			if (k == count)
				all[count++] = (struct counted){.print = r->members[m].prints[n]};
			all[k].members++;
			all[k].seals += !n;
		}
	}
	return count;
}

static unsigned failed(const struct wm_keyring_result *r)
{
	unsigned n = 0;

	for (unsigned m = 0; m < r->count; m++)
		n += !wm_keyring_fits(r, &r->members[m]);
	return n;
}

static const char *why(const struct wm_keyring_member *m)
{
	return *m->text ? m->text : "it does not have the key";
}

/* @return true: answered, as the agent stops, the mesh refused, or memory ran out. */
static bool ended(struct wm_write *w, const struct wm_keyring_result *r)
{
	if (!r)
		wm_write_done(w, WM_E_BUSY, "This agent stops");
	else if (r->code)
		wm_write_done(w, r->code, r->text);
	return !r || r->code;
}

static void give(struct wm_write *w, const struct wm_keyring_result *r,
		 void (*put)(struct wm_json *j, const struct wm_api *a,
			     const struct wm_keyring_result *r))
{
	struct wm_buf body;
	struct wm_json j;

	wm_buf_init(&body, ANSWER_MAX);
	wm_json_init(&j, &body, false);
	put(&j, w->api, r);
	wm_json_done(&j);
	wm_buf_putc(&body, '\0');
	if (body.failed) {
		wm_buf_done(&body);
		wm_write_done(w, -ENOMEM, "Out of memory");
		return;
	}
	w->json = body.data;
	wm_write_done(w, 0, NULL);
}

/* --- Consul's --------------------------------------------------------------------------------- */
static void put_key(struct wm_json *j, const struct wm_api *a, const struct counted *k, unsigned n)
{
	char key[WM_KEY_TEXT], name[WM_KEY_PRINT + 16];

	if (!n)
		return;
	snprintf(name, sizeof(name), "fingerprint:%s", k->print);
	wm_json_ku(j, wm_sync_key(a->d.sync, k->print, key) ? key : name, n);
	explicit_bzero(key, sizeof(key));
}

static void put_consul(struct wm_json *j, const struct wm_api *a, const struct wm_keyring_result *r)
{
	struct counted keys[KEYS_SHOWN];
	unsigned count = count_keys(r, keys);

	wm_json_open(j, '[');
	wm_json_open(j, '{');
	wm_json_kb(j, "WAN", false);
	wm_json_ks(j, "Datacenter", wm_registry_datacenter(a->d.registry));
	wm_json_ks(j, "Segment", "");
	if (failed(r)) {
		wm_json_kopen(j, "Messages", '{');
		for (unsigned m = 0; m < r->count; m++)
			if (!wm_keyring_fits(r, &r->members[m]))
				wm_json_ks(j, r->members[m].name, r->members[m].text);
		wm_json_close(j, '}');
	}
	wm_json_kopen(j, "Keys", '{');
	for (unsigned n = 0; n < count; n++)
		put_key(j, a, &keys[n], keys[n].members);
	wm_json_close(j, '}');
	wm_json_kopen(j, "PrimaryKeys", '{');
	for (unsigned n = 0; n < count; n++)
		put_key(j, a, &keys[n], keys[n].seals);
	wm_json_close(j, '}');
	wm_json_ku(j, "NumNodes", r->count);
	wm_json_close(j, '}');
	wm_json_close(j, ']');
}

static void on_listed(void *arg, const struct wm_keyring_result *r)
{
	if (!ended(arg, r))
		give(arg, r, put_consul);
}

/* Consul's sentence, and who it was. */
static void on_changed(void *arg, const struct wm_keyring_result *r)
{
	struct wm_write *w = arg;
	char text[1024];
	unsigned told = 0;
	size_t len;

	if (ended(w, r))
		return;
	if (!failed(r)) {
		wm_write_done(w, 0, NULL);
		return;
	}
	len = (size_t)snprintf(text, sizeof(text), "%s (LAN) error: %u/%u nodes reported failure",
			       wm_registry_datacenter(w->api->d.registry), failed(r), r->count);
	for (unsigned m = 0; m < r->count && told < TOLD_MAX && len < sizeof(text); m++) {
		if (wm_keyring_fits(r, &r->members[m]))
			continue;
		told++;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "; %s: %s",
					r->members[m].name, why(&r->members[m]));
	}
	wm_write_done(w, WM_E_INTERNAL, text);
}

/* Answers of agents come over one stream each, so there is nothing to relay. */
static bool read_relay_factor(struct wm_call *c)
{
	const char *v = wm_http_query(c->req, "relay-factor");
	char *end;
	long n;

	if (!v || !*v)
		return true;
	n = strtol(v, &end, 10);
	if (*end)
		wm_answer_text(c, 400, "Error parsing relay factor: \"%.32s\" is no number", v);
	else if (n < 0 || n > RELAY_FACTOR_MAX)
		wm_answer_text(c, 400, "Invalid relay-factor: Value not in range: [0, %d]",
			       RELAY_FACTOR_MAX);
	else
		return true;
	return false;
}

/* A mesh is one datacenter, so a list is local anyhow. */
static bool read_local_only(struct wm_call *c)
{
	static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
	static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
	const char *v = wm_http_query(c->req, "local-only");

	if (!v || !*v)
		return true;
	for (size_t n = 0; n < WM_ARRAY_LEN(no); n++)
		if (strcmp(v, no[n]) == 0)
			return true;
	for (size_t n = 0; n < WM_ARRAY_LEN(yes); n++) {
		if (strcmp(v, yes[n]) != 0)
			continue;
		if (wm_http_method(c->req) == WM_GET)
			return true;
		wm_answer_text(c, 400,
			       "Invalid use of local-only: it can only be set for list requests");
		return false;
	}
	wm_answer_text(c, 400, "Error parsing local-only: \"%.32s\" is no boolean", v);
	return false;
}

/* --- requests --------------------------------------------------------------------------------- */
static int decode_key(struct wm_call *c, struct wm_decoded **ret, const char **ret_key,
		      struct wm_err *e)
{
	static const struct field fields[] = {{"Key", wm_dec_string, 0, 0, 0}};
	struct wm_decoded *mem = calloc(1, sizeof(*mem));
	struct decoder d = {.mem = mem, .e = e};
	const char *body;
	size_t len;
	int r;

	if (!mem)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	*ret_key = "";
	body = wm_http_body(c->req, &len);
	r = wm_dec_parse(&d, body, len, JSON_OBJECT);
	if (!r)
		r = wm_dec_fields(&d, fields, WM_ARRAY_LEN(fields), mem->root, ret_key);
	if (r)
		wm_decoded_free(mem);
	else
		*ret = mem;
	return r;
}

static void begin(struct wm_call *c, enum wm_keyring_what what, wm_keyring_done done)
{
	struct wm_decoded *body = NULL;
	const char *key = NULL;
	struct wm_err e = {0};
	struct wm_write *w;

	if (!c->api->d.sync) {
		wm_answer_text(c, 501, "sync.mode is off: this agent is a mesh of its own");
		return;
	}
	if (what != WM_KEYRING_LIST && decode_key(c, &body, &key, &e)) {
		wm_answer_err(c, &e);
		return;
	}
	w = wm_write_keep(c);
	if (w && wm_sync_keyring(c->api->d.sync, what, key, wm_http_query(c->req, "force") != NULL,
				 done, w, &e)) {
		wm_write_drop(w);
		wm_answer_err(c, &e);
	}
	wm_decoded_free(body);
}

static void consul(struct wm_call *c, enum wm_keyring_what what)
{
	if (read_relay_factor(c) && read_local_only(c))
		begin(c, what, what == WM_KEYRING_LIST ? on_listed : on_changed);
}

void wm_operator_keyring(struct wm_call *c)
{
	consul(c, WM_KEYRING_LIST);
}

void wm_operator_keyring_add(struct wm_call *c)
{
	consul(c, WM_KEYRING_ADD);
}

void wm_operator_keyring_use(struct wm_call *c)
{
	consul(c, WM_KEYRING_USE);
}

void wm_operator_keyring_remove(struct wm_call *c)
{
	consul(c, WM_KEYRING_REMOVE);
}

/* --- Waymark's -------------------------------------------------------------------------------- */
static void put_member(struct wm_json *j, const struct wm_keyring_result *r,
		       const struct wm_keyring_member *m)
{
	bool fits = wm_keyring_fits(r, m);

	wm_json_open(j, '{');
	wm_json_ks(j, "name", m->name);
	wm_json_kb(j, "answered", m->answered);
	wm_json_kb(j, "done", fits);
	wm_json_ks(j, "error", fits ? "" : why(m));
	wm_json_kopen(j, "keys", '[');
	for (unsigned n = 0; n < m->count; n++)
		wm_json_string(j, m->prints[n]);
	wm_json_close(j, ']');
	wm_json_close(j, '}');
}

static void put_native(struct wm_json *j, const struct wm_api *a, const struct wm_keyring_result *r)
{
	struct counted keys[KEYS_SHOWN];
	unsigned count = count_keys(r, keys);

	(void)a;
	wm_json_open(j, '{');
	wm_json_kb(j, "complete", !failed(r));
	wm_json_ku(j, "failed", failed(r));
	wm_json_ks(j, "fingerprint", r->print);
	wm_json_kopen(j, "keys", '[');
	for (unsigned n = 0; n < count; n++) {
		wm_json_open(j, '{');
		wm_json_ks(j, "fingerprint", keys[n].print);
		wm_json_ku(j, "members", keys[n].members);
		wm_json_ku(j, "seals", keys[n].seals);
		wm_json_ku(j, "of", r->count);
		wm_json_close(j, '}');
	}
	wm_json_close(j, ']');
	wm_json_kopen(j, "members", '[');
	for (unsigned m = 0; m < r->count; m++)
		put_member(j, r, &r->members[m]);
	wm_json_close(j, ']');
	wm_json_close(j, '}');
}

static void on_told(void *arg, const struct wm_keyring_result *r)
{
	if (!ended(arg, r))
		give(arg, r, put_native);
}

void wm_native_keyring(struct wm_call *c)
{
	begin(c, WM_KEYRING_LIST, on_told);
}

void wm_native_keyring_add(struct wm_call *c)
{
	begin(c, WM_KEYRING_ADD, on_told);
}

void wm_native_keyring_use(struct wm_call *c)
{
	begin(c, WM_KEYRING_USE, on_told);
}

void wm_native_keyring_remove(struct wm_call *c)
{
	begin(c, WM_KEYRING_REMOVE, on_told);
}
