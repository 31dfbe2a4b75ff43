/* SPDX-License-Identifier: Apache-2.0 */
/* validate.c - see validate.h. Every loop ends at the first octet over its limit. */
#include "validate.h"

#include "userspace/base/json_text.h"
#include "userspace/base/redact.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN 64 /* octets of a refused value that a message repeats */

static bool alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* No control characters: they have no place in an id, and break logs and HTTP headers. */
static bool printable(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	}
	return true;
}

static int check_text(const char *field, const char *s, size_t max, struct wm_err *e)
{
	if (!s)
		return 0;
	if (strnlen(s, max + 1) > max)
		return wm_err_set(e, WM_E_LIMIT, "%s is too long (limit: %zu characters)", field,
				  max);
	if (!printable(s))
		return wm_err_set(e, WM_E_INVALID, "%s must not contain control characters", field);
	return 0;
}

const char *wm_scripts_refusal(enum wm_scripts s)
{
	return s == WM_SCRIPTS_OFF
		       ? "Scripts are disabled on this agent; to enable, configure "
			 "'health.scripts' to 'local'"
		       : "Scripts are disabled on this agent from remote calls; to enable, "
			 "configure 'health.scripts' to 'local' and register over the Unix socket";
}

const char *wm_units_refusal(enum wm_scripts s)
{
	return s == WM_SCRIPTS_OFF
		       ? "OSService checks are disabled on this agent; to enable, configure "
			 "'health.os_services' to 'local' or 'any'"
		       : "OSService checks are disabled on this agent from remote calls; to "
			 "enable, configure 'health.os_services' to 'any', or register over the "
			 "Unix socket";
}

bool wm_label_valid(const char *s)
{
	size_t n = 0;

	for (; s[n]; n++) {
		if (n == WM_DNS_LABEL_MAX || (!alnum(s[n]) && s[n] != '-'))
			return false;
	}
	return n && s[0] != '-' && s[n - 1] != '-';
}

bool wm_service_name_valid(const char *name)
{
	return *name && strnlen(name, WM_SERVICE_NAME_MAX + 1) <= WM_SERVICE_NAME_MAX &&
	       printable(name);
}

static int check_name(const char *name, struct wm_err *e)
{
	size_t n;

	if (!name || !*name)
		return wm_err_set(e, WM_E_INVALID, "Missing service name");
	n = strnlen(name, WM_SERVICE_NAME_MAX + 1);
	if (n > WM_SERVICE_NAME_MAX)
		return wm_err_set(e, WM_E_INVALID,
				  "Service name %.*s... is too long. Valid lengths are between 1 "
				  "and %d bytes.",
				  SHOWN / 2, name, WM_SERVICE_NAME_MAX);
	if (!printable(name))
		return wm_err_set(e, WM_E_INVALID,
				  "Service name must not contain control characters");
	return 0;
}

/* A host name of RFC 1123 letters, underscores allowed; not one that reads as a broken IPv4. */
static bool host_valid(const char *s, size_t n)
{
	size_t label = 0;
	bool letter = false; /* in the last label */

	if (!n || n > WM_ADDRESS_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '.') {
			if (!label || s[i - 1] == '-')
				return false;
			label = 0;
			letter = letter && i + 1 == n; /* a root dot ends the last label */
			continue;
		}
		if ((!alnum(s[i]) && s[i] != '-' && s[i] != '_') || (!label && s[i] == '-') ||
		    ++label > WM_DNS_LABEL_MAX)
			return false;
		letter = letter || !isdigit((unsigned char)s[i]);
	}
	return letter && s[n - 1] != '-';
}

static int check_address(const char *s, struct wm_err *e)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (!s || !*s)
		return 0;
	if (inet_pton(AF_INET, s, &v4) == 1) {
		if (v4.s_addr == INADDR_ANY)
			return wm_err_set(e, WM_E_INVALID, "Invalid service address");
		return 0;
	}
	if (inet_pton(AF_INET6, s, &v6) == 1) {
		if (IN6_IS_ADDR_UNSPECIFIED(&v6) ||
		    (IN6_IS_ADDR_V4MAPPED(&v6) && memcmp(&v6.s6_addr[12], "\0\0\0\0", 4) == 0))
			return wm_err_set(e, WM_E_INVALID, "Invalid service address");
		return 0;
	}
	if (!host_valid(s, strnlen(s, WM_ADDRESS_MAX + 1)))
		return wm_err_set(e, WM_E_INVALID,
				  "Invalid service address: \"%.*s\" is no IPv4 address, no IPv6 "
				  "address and no host name of at most %d characters",
				  SHOWN, s, WM_ADDRESS_MAX);
	return 0;
}

static int check_tags(const struct wm_instance_draft *d, struct wm_err *e)
{
	int err;

	if (d->tags_count > WM_TAGS_MAX)
		return wm_err_set(e, WM_E_LIMIT, "Tags: %u given, at most %d are allowed",
				  d->tags_count, WM_TAGS_MAX);
	for (unsigned i = 0; i < d->tags_count; i++) {
		err = check_text("Tag", d->tags[i], WM_TAG_MAX, e);
		if (err)
			return err;
	}
	return 0;
}

static int meta_error(const char *whose, const struct wm_pair *m, const char *why, struct wm_err *e)
{
	bool long_key = strnlen(m->key, SHOWN + 1) > SHOWN;
	bool long_value = strnlen(m->value, SHOWN + 1) > SHOWN;

	return wm_err_set(e, WM_E_INVALID,
			  "Invalid %s Meta: Couldn't load metadata pair ('%.*s%s', '%.*s%s'): %s",
			  whose, SHOWN, m->key, long_key ? "..." : "", SHOWN, m->value,
			  long_value ? "..." : "", why);
}

#define FEW_PAIRS 16 /* so many are compared each with each: cheaper than to sort them */

/* @return a pair whose key another one has too, NULL: there is none. */
static const struct wm_pair *twice_of_few(const struct wm_pair *meta, unsigned count)
{
	for (unsigned i = 1; i < count; i++) {
		for (unsigned n = 0; n < i; n++) {
			if (*meta[n].key == *meta[i].key && strcmp(meta[n].key, meta[i].key) == 0)
				return &meta[i];
		}
	}
	return NULL;
}

static int by_pair_key(const void *a, const void *b)
{
	return strcmp((*(const struct wm_pair *const *)a)->key,
		      (*(const struct wm_pair *const *)b)->key);
}

/* Endpoints are kept in the metadata, by their names: "endpoints.grpc". No other key has a dot. */
static const char *behind_prefix(const char *key)
{
	static const char endpoints[] = "endpoints.";
	size_t n = sizeof(endpoints) - 1;

	return strncmp(key, endpoints, n) == 0 && key[n] ? key + n : key;
}

static const struct wm_pair *given_twice(const struct wm_pair *meta, unsigned count)
{
	const struct wm_pair *sorted[WM_META_PAIRS_MAX];

	if (count <= FEW_PAIRS)
		return twice_of_few(meta, count);
	for (unsigned i = 0; i < count; i++)
		sorted[i] = &meta[i];
	qsort(sorted, count, sizeof(void *), by_pair_key);
	for (unsigned i = 1; i < count; i++) {
		if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0)
			return sorted[i];
	}
	return NULL;
}

static int check_meta(const struct wm_pair *meta, unsigned count, const char *whose,
		      struct wm_err *e)
{
	const struct wm_pair *twice;

	if (count > WM_META_PAIRS_MAX)
		return wm_err_set(e, WM_E_LIMIT,
				  "Invalid %s Meta: cannot contain more than %d key/value pairs",
				  whose, WM_META_PAIRS_MAX);
	for (unsigned i = 0; i < count; i++) {
		const struct wm_pair *m = &meta[i];

		if (!*m->key)
			return meta_error(whose, m, "Key cannot be blank", e);
		if (strnlen(m->key, WM_META_KEY_MAX + 1) > WM_META_KEY_MAX)
			return meta_error(whose, m, "Key is too long (limit: 128 characters)", e);
		for (const char *p = behind_prefix(m->key); *p; p++) {
			if (!alnum(*p) && *p != '-' && *p != '_')
				return meta_error(whose, m, "Key contains invalid characters", e);
		}
		if (strnlen(m->value, WM_META_VALUE_MAX + 1) > WM_META_VALUE_MAX)
			return meta_error(whose, m, "Value is too long (limit: 512 characters)", e);
	}
	twice = given_twice(meta, count);
	return twice ? meta_error(whose, twice, "Key is given twice", e) : 0;
}
_Static_assert(WM_META_KEY_MAX == 128 && WM_META_VALUE_MAX == 512, "texts name the limits");

static int check_tagged(const struct wm_instance_draft *d, struct wm_err *e)
{
	int err;

	if (d->tagged_count > WM_TAGGED_MAX)
		return wm_err_set(e, WM_E_LIMIT,
				  "TaggedAddresses: %u given, at most %d are allowed",
				  d->tagged_count, WM_TAGGED_MAX);
	for (unsigned i = 0; i < d->tagged_count; i++) {
		const struct wm_tagged_address *t = &d->tagged[i];

		if (!*t->name)
			return wm_err_set(e, WM_E_INVALID,
					  "TaggedAddresses: a name must not be empty");
		err = check_text("TaggedAddresses: a name", t->name, WM_TAGGED_NAME_MAX, e);
		if (!err)
			err = check_address(t->address, e);
		if (err)
			return err;
		for (unsigned k = 0; k < i; k++) {
			if (strcmp(d->tagged[k].name, t->name) == 0)
				return wm_err_set(e, WM_E_INVALID,
						  "TaggedAddresses: \"%s\" is given twice",
						  t->name);
		}
	}
	return 0;
}

/* Parse 1..65535 that ends at @p end. */
static bool port_valid(const char *s, const char *end)
{
	unsigned v = 0;

	if (s == end || end - s > 5)
		return false;
	for (; s < end; s++) {
		if (!isdigit((unsigned char)*s))
			return false;
		v = v * 10 + (unsigned)(*s - '0');
	}
	return v >= 1 && v <= 65535;
}

/* host, host:port, [v6] or [v6]:port up to @p end. */
static bool authority_valid(const char *s, const char *end, bool need_port)
{
	char host[WM_ADDRESS_MAX + 1];
	const char *stop;
	struct in6_addr v6;
	struct in_addr v4;
	size_t n;

	if (s < end && *s == '[') {
		stop = memchr(s, ']', (size_t)(end - s));
		if (!stop || stop - s - 1 >= (long)sizeof(host))
			return false;
		n = (size_t)(stop - s - 1);
		memcpy(host, s + 1, n);
		host[n] = 0;
		if (inet_pton(AF_INET6, host, &v6) != 1)
			return false;
		stop++;
	} else {
		stop = memchr(s, ':', (size_t)(end - s));
		if (!stop)
			stop = end;
		n = (size_t)(stop - s);
		if (n >= sizeof(host))
			return false;
		memcpy(host, s, n);
		host[n] = 0;
		if (inet_pton(AF_INET, host, &v4) != 1 && !host_valid(host, n))
			return false;
	}
	if (stop == end)
		return !need_port;
	return *stop == ':' && port_valid(stop + 1, end);
}

/* What systemd takes for a unit's name, without wildcards, and nothing that reads as an option. */
static bool unit_valid(const char *s)
{
	size_t n = 0;

	for (; s[n]; n++) {
		if (n == WM_CHECK_UNIT_MAX || (!alnum(s[n]) && !strchr(":-_.\\@", s[n])))
			return false;
	}
	return n && *s != '-';
}

/* "host:port", for gRPC also "host:port/service". */
static bool peer_valid(const char *s, bool service)
{
	const char *end = s + (service ? strcspn(s, "/") : strlen(s));

	return authority_valid(s, end, true) && printable(s) && !strchr(s, ' ');
}

static const char *key_of(enum wm_check_kind k)
{
	static const char *const keys[WM_CHECK_KIND_COUNT] = {
		[WM_CHECK_TCP] = "TCP",		  [WM_CHECK_HTTP] = "HTTP",
		[WM_CHECK_UDP] = "UDP",		  [WM_CHECK_OS_SERVICE] = "OSService",
		[WM_CHECK_GRPC] = "GRPC",	  [WM_CHECK_H2PING] = "H2PING",
		[WM_CHECK_ALIAS] = "AliasService"};

	return keys[k] ? keys[k] : "";
}

/* What is told of how another program checks: kept to be shown. */
static int check_stated(const struct wm_check_draft *c, struct wm_err *e)
{
	enum wm_stated_type type;
	const char *value;
	int err = check_text("Invalid check: Definition", c->target, WM_CHECK_TARGET_MAX, e);

	if (!err && c->args_count > WM_STATED_MEMBERS_COUNT)
		err = wm_err_set(e, WM_E_LIMIT,
				 "Invalid check: Definition: %u members, at most %d are allowed",
				 c->args_count, WM_STATED_MEMBERS_COUNT);
	for (unsigned i = 0; !err && i < c->args_count; i++) {
		err = check_text("Invalid check: Definition", c->args[i], WM_CHECK_TARGET_MAX, e);
		if (!err && !wm_stated_member(c->args[i], &type, &value))
			err = wm_err_set(e, WM_E_INVALID,
					 "Invalid check: Definition cannot have \"%.*s\"", SHOWN,
					 c->args[i]);
	}
	return err;
}

static int check_args(const struct wm_check_draft *c, struct wm_err *e)
{
	size_t octets = 0;

	if (c->args_count > WM_CHECK_ARGS_MAX)
		return wm_err_set(e, WM_E_LIMIT,
				  "Invalid check: ScriptArgs: %u given, at most %d are allowed",
				  c->args_count, WM_CHECK_ARGS_MAX);
	if (!c->args_count || !*c->args[0])
		return wm_err_set(e, WM_E_INVALID,
				  "Invalid check: ScriptArgs must begin with a program");
	for (unsigned i = 0; i < c->args_count && octets <= WM_CHECK_ARGS_OCTETS; i++)
		octets += strnlen(c->args[i], WM_CHECK_ARGS_OCTETS + 1);
	if (octets > WM_CHECK_ARGS_OCTETS)
		return wm_err_set(e, WM_E_LIMIT,
				  "Invalid check: ScriptArgs are too long (limit: %d characters in "
				  "all)",
				  WM_CHECK_ARGS_OCTETS);
	return 0;
}

static int check_target(const struct wm_check_draft *c, struct wm_err *e)
{
	char shown[WM_CHECK_TARGET_MAX + SHOWN];
	const char *s = c->target, *rest;

	if (c->kind == WM_CHECK_TTL)
		return 0;
	if (c->kind == WM_CHECK_STATED)
		return check_stated(c, e);
	if (c->kind == WM_CHECK_SCRIPT)
		return check_args(c, e);
	if (c->kind == WM_CHECK_ALIAS)
		return check_text("Invalid check: AliasService", s, WM_INSTANCE_ID_MAX, e);
	if (!s || !*s)
		return wm_err_set(e, WM_E_INVALID, "Invalid check: %s must not be empty",
				  key_of(c->kind));
	if (strnlen(s, WM_CHECK_TARGET_MAX + 1) > WM_CHECK_TARGET_MAX)
		return wm_err_set(e, WM_E_LIMIT,
				  "Invalid check: target is too long (limit: %d characters)",
				  WM_CHECK_TARGET_MAX);
	if (c->kind == WM_CHECK_TCP || c->kind == WM_CHECK_UDP) {
		if (!authority_valid(s, s + strlen(s), true))
			return wm_err_set(e, WM_E_INVALID,
					  "Invalid check: %s \"%.*s\" must be host:port, with a "
					  "port from 1 to 65535",
					  key_of(c->kind), SHOWN, s);
		return 0;
	}
	if (c->kind == WM_CHECK_OS_SERVICE) {
		if (!unit_valid(s))
			return wm_err_set(
				e, WM_E_INVALID,
				"Invalid check: OSService \"%.*s\" must be a unit's name: "
				"letters, digits and :-_.\\@, at most %d, no dash in front",
				SHOWN, s, WM_CHECK_UNIT_MAX);
		return 0;
	}
	if (c->kind == WM_CHECK_GRPC || c->kind == WM_CHECK_H2PING) {
		bool grpc = c->kind == WM_CHECK_GRPC;

		if (!peer_valid(s, grpc))
			return wm_err_set(e, WM_E_INVALID,
					  "Invalid check: %s \"%.*s\" must be host:port%s, with a "
					  "port from 1 to 65535",
					  key_of(c->kind), SHOWN, s,
					  grpc ? " or host:port/service" : "");
		return 0;
	}
	rest = strncasecmp(s, "http://", 7) == 0    ? s + 7
	       : strncasecmp(s, "https://", 8) == 0 ? s + 8
						    : NULL;
	if (rest && printable(s) && !strchr(s, ' ')) {
		const char *end = rest + strcspn(rest, "/?#");
		const char *at = memchr(rest, '@', (size_t)(end - rest));

		if (authority_valid(at ? at + 1 : rest, end, false))
			return 0;
	}
	wm_redact_url(s, shown, sizeof(shown));
	return wm_err_set(e, WM_E_INVALID,
			  "Invalid check: HTTP \"%.*s\" must be a URL that starts with http:// or "
			  "https:// and names a host",
			  SHOWN, shown);
}

static int check_timing(const struct wm_check_draft *c, struct wm_err *e)
{
	const uint64_t all[] = {c->interval_ms, c->timeout_ms, c->ttl_ms, c->deregister_after_ms};
	static const char *const names[] = {"Interval", "Timeout", "TTL",
					    "DeregisterCriticalServiceAfter"};

	if (c->interval_ms && c->ttl_ms)
		return wm_err_set(e, WM_E_INVALID,
				  "Invalid check: Interval and TTL cannot both be specified");
	if (c->kind == WM_CHECK_ALIAS && c->interval_ms)
		return wm_err_set(e, WM_E_INVALID,
				  "Invalid check: Interval cannot be set for Alias checks");
	if (c->kind == WM_CHECK_ALIAS && c->ttl_ms)
		return wm_err_set(e, WM_E_INVALID,
				  "Invalid check: TTL must be not be set for Alias checks");
	if (c->kind == WM_CHECK_TTL && !c->ttl_ms)
		return wm_err_set(e, WM_E_INVALID, "Invalid check: TTL must be > 0 for TTL checks");
	if (c->kind != WM_CHECK_TTL && c->kind != WM_CHECK_ALIAS && c->kind != WM_CHECK_STATED &&
	    !c->interval_ms)
		return wm_err_set(e, WM_E_INVALID,
				  "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, "
				  "TCP, UDP or OSService checks");
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i] > WM_CHECK_DURATION_MAX_MS)
			return wm_err_set(e, WM_E_INVALID, "Invalid check: %s must be <= 8784h",
					  names[i]);
	}
	if (c->failures_before_warning > c->failures_before_critical)
		return wm_err_set(e, WM_E_INVALID,
				  "Invalid check: FailuresBeforeWarning can't be higher than "
				  "FailuresBeforeCritical");
	if (c->success_before_passing > WM_CHECK_THRESHOLD_MAX ||
	    c->failures_before_critical > WM_CHECK_THRESHOLD_MAX)
		return wm_err_set(e, WM_E_INVALID,
				  "Invalid check: SuccessBeforePassing, FailuresBeforeWarning and "
				  "FailuresBeforeCritical must be <= %d",
				  WM_CHECK_THRESHOLD_MAX);
	return 0;
}

/* RFC 9110 5.6.2 token. */
static bool token_valid(const char *s, size_t max)
{
	size_t n = 0;

	for (; s[n]; n++) {
		if (n == max || (!alnum(s[n]) && !strchr("!#$%&'*+-.^_`|~", s[n])))
			return false;
	}
	return n > 0;
}

static int check_http(const struct wm_check_draft *c, struct wm_err *e)
{
	if (c->method && *c->method && !token_valid(c->method, WM_CHECK_METHOD_MAX))
		return wm_err_set(e, WM_E_INVALID,
				  "Invalid check: Method must be an HTTP method of at most %d "
				  "characters",
				  WM_CHECK_METHOD_MAX);
	if (c->body && strnlen(c->body, WM_CHECK_BODY_MAX + 1) > WM_CHECK_BODY_MAX)
		return wm_err_set(e, WM_E_LIMIT,
				  "Invalid check: Body is too long (limit: %d characters)",
				  WM_CHECK_BODY_MAX);
	if (c->headers_count > WM_CHECK_HEADERS_MAX)
		return wm_err_set(e, WM_E_LIMIT,
				  "Invalid check: Header: %u given, at most %d are allowed",
				  c->headers_count, WM_CHECK_HEADERS_MAX);
	for (unsigned i = 0; i < c->headers_count; i++) {
		if (!token_valid(c->headers[i].key, WM_CHECK_HEADER_MAX))
			return wm_err_set(e, WM_E_INVALID,
					  "Invalid check: Header: \"%.*s\" is no header's name",
					  SHOWN, c->headers[i].key);
		if (strnlen(c->headers[i].value, WM_CHECK_HEADER_MAX + 1) > WM_CHECK_HEADER_MAX ||
		    !printable(c->headers[i].value))
			return wm_err_set(e, WM_E_INVALID,
					  "Invalid check: Header %.*s must have a value of at most "
					  "%d characters without control characters",
					  SHOWN, c->headers[i].key, WM_CHECK_HEADER_MAX);
	}
	if (c->tls_server_name && *c->tls_server_name &&
	    !host_valid(c->tls_server_name, strnlen(c->tls_server_name, WM_ADDRESS_MAX + 1)))
		return wm_err_set(e, WM_E_INVALID,
				  "Invalid check: TLSServerName must be a host name of at most %d "
				  "characters",
				  WM_ADDRESS_MAX);
	return 0;
}

static int check_check(const struct wm_check_draft *c, enum wm_scripts scripts,
		       enum wm_scripts units, struct wm_err *e)
{
	int err;

	if ((unsigned)c->kind >= WM_CHECK_KIND_COUNT || c->kind == WM_CHECK_MAINTENANCE)
		return wm_err_set(e, WM_E_INVALID, "Invalid check: TTL must be > 0 for TTL checks");
	if (c->has_status && (unsigned)c->status > WM_CRITICAL)
		return wm_err_set(e, WM_E_INVALID,
				  "Status for checks must 'passing', 'warning', 'critical'");
	err = check_text("Invalid check: CheckID", c->id, WM_CHECK_ID_MAX, e);
	if (!err)
		err = check_text("Invalid check: Name", c->name, WM_CHECK_NAME_MAX, e);
	if (!err)
		err = check_text("Invalid check: Type", c->type, WM_CHECK_TYPE_MAX, e);
	if (err)
		return err;
	/* notes and output may have line ends */
	if (c->notes && strnlen(c->notes, WM_CHECK_NOTES_MAX + 1) > WM_CHECK_NOTES_MAX)
		return wm_err_set(e, WM_E_LIMIT,
				  "Invalid check: Notes is too long (limit: %d characters)",
				  WM_CHECK_NOTES_MAX);
	err = check_timing(c, e);
	if (!err && c->kind == WM_CHECK_SCRIPT && scripts != WM_SCRIPTS_ALLOWED)
		err = wm_err_set(e, WM_E_INTERNAL, "%s", wm_scripts_refusal(scripts));
	if (!err && c->kind == WM_CHECK_OS_SERVICE && units != WM_SCRIPTS_ALLOWED)
		err = wm_err_set(e, WM_E_INTERNAL, "%s", wm_units_refusal(units));
	if (!err)
		err = check_target(c, e);
	if (!err)
		err = check_http(c, e);
	return err;
}

/* Default ids are made of the position, so two checks of one draft can only clash by given ids, or
 * by a given id that looks like a default; the registry finds the latter when it merges. */
static int check_checks(const struct wm_instance_draft *d, struct wm_err *e)
{
	int err;

	if (d->checks_count > WM_CHECKS_PER_INSTANCE)
		return wm_err_set(e, WM_E_LIMIT, "Checks: %u given, at most %d are allowed",
				  d->checks_count, WM_CHECKS_PER_INSTANCE);
	for (unsigned i = 0; i < d->checks_count; i++) {
		err = check_check(&d->checks[i], d->scripts, d->units, e);
		if (err)
			return err;
		for (unsigned k = 0; k < i; k++) {
			const char *a = d->checks[i].id, *b = d->checks[k].id;

			if (a && *a && b && strcmp(a, b) == 0)
				return wm_err_set(e, WM_E_INVALID,
						  "Invalid check: CheckID \"%.*s\" is given twice",
						  SHOWN, a);
		}
	}
	return 0;
}

static const char *proxy_of(const struct wm_traits *t, const char *member)
{
	for (unsigned n = 0; n < t->proxy_count; n++) {
		if (strcmp(t->proxy[n].key, member) == 0)
			return t->proxy[n].value;
	}
	return "";
}

/* What Consul asks of a proxy, a gateway and a native service. */
static int check_kind(const struct wm_instance_draft *d, struct wm_err *e)
{
	static const char *const gateways[] = {"mesh-gateway", "terminating-gateway"};
	const struct wm_traits *t = d->traits;
	bool reachable = d->port || (t->socket_path && *t->socket_path);
	const char *kind = t->kind ? t->kind : "";
	const char *destination = proxy_of(t, "DestinationServiceName");

	if (strcmp(kind, "connect-proxy") == 0) {
		if (!reachable)
			return wm_err_set(e, WM_E_INVALID,
					  "Port or SocketPath must be set for a %s", kind);
		if (!destination[strspn(destination, " ")] || strcmp(destination, "*") == 0)
			return wm_err_set(e, WM_E_INVALID,
					  "Proxy.DestinationServiceName must be non-empty and no "
					  "wildcard for Connect proxy services");
		if (t->native)
			return wm_err_set(e, WM_E_INVALID,
					  "A Proxy cannot also be Connect Native, only typical "
					  "services");
	}
	for (unsigned n = 0; n < sizeof(gateways) / sizeof(*gateways); n++) {
		if (strcmp(kind, gateways[n]) == 0 && !d->port)
			return wm_err_set(e, WM_E_INVALID, "Port must be non-zero for a %s", kind);
	}
	if (t->native && !reachable)
		return wm_err_set(e, WM_E_INVALID,
				  "Port or SocketPath must be set for a Connect native service.");
	return 0;
}

/* A member of Proxy is text, or JSON that is put into answers as it stands. */
static bool proxy_value_valid(const struct wm_pair *p)
{
	static const char *const texts[] = {"DestinationServiceName", "DestinationServiceID",
					    "LocalServiceAddress",    "LocalServiceSocketPath",
					    "MeshGateway.Mode",	      "Mode",
					    "MutualTLSMode"};

	for (unsigned n = 0; n < sizeof(texts) / sizeof(*texts); n++) {
		if (strcmp(p->key, texts[n]) == 0)
			return true;
	}
	return wm_json_text_valid(p->value);
}

static int check_locality(const char *region, const char *zone, struct wm_err *e)
{
	int err = check_text("Locality.Region", region, WM_LOCALITY_MAX, e);

	if (!err)
		err = check_text("Locality.Zone", zone, WM_LOCALITY_MAX, e);
	if (!err && zone && *zone && (!region || !*region))
		err = wm_err_set(e, WM_E_INVALID, "Locality: zone cannot be set without region");
	return err;
}

static int check_traits(const struct wm_instance_draft *d, struct wm_err *e)
{
	const struct wm_traits *t = d->traits;
	size_t octets = 0;
	int err;

	if (!t)
		return 0;
	err = check_text("Kind", t->kind, WM_KIND_MAX, e);
	if (!err)
		err = check_text("SocketPath", t->socket_path, WM_SOCKET_PATH_MAX, e);
	if (!err)
		err = check_locality(t->region, t->zone, e);
	if (!err && t->proxy_count > WM_PROXY_MEMBERS_MAX)
		err = wm_err_set(e, WM_E_LIMIT, "Proxy: %u members, at most %d are allowed",
				 t->proxy_count, WM_PROXY_MEMBERS_MAX);
	for (unsigned n = 0; !err && n < t->proxy_count; n++) {
		octets += strlen(t->proxy[n].value);
		if (octets > WM_PROXY_MAX)
			err = wm_err_set(e, WM_E_LIMIT,
					 "Proxy is too long (limit: %d characters as JSON)",
					 WM_PROXY_MAX);
		else if (!proxy_value_valid(&t->proxy[n]))
			err = wm_err_set(e, WM_E_INVALID, "Proxy.%.*s is no JSON", SHOWN,
					 t->proxy[n].key);
	}
	return err ? err : check_kind(d, e);
}

static int check_weights(const struct wm_instance_draft *d, struct wm_err *e)
{
	if (!d->has_weights)
		return 0;
	/* what reads as negative in 32 bits was negative in the request */
	if ((int)d->weight_passing < 1)
		return wm_err_set(e, WM_E_INVALID,
				  "Invalid Weights: Passing must be greater than 0");
	if ((int)d->weight_warning < 0)
		return wm_err_set(e, WM_E_INVALID,
				  "Invalid Weights: Warning must be greater or equal than 0");
	if (d->weight_passing > WM_WEIGHT_MAX || d->weight_warning > WM_WEIGHT_MAX)
		return wm_err_set(e, WM_E_INVALID,
				  "Invalid Weights: DNS Weight must be between 0 and %d",
				  WM_WEIGHT_MAX);
	return 0;
}

int wm_draft_validate(const struct wm_instance_draft *d, struct wm_err *e)
{
	int err = check_name(d->name, e);

	if (!err)
		err = check_text("Service ID", d->id, WM_INSTANCE_ID_MAX, e);
	if (!err && d->port > 65535)
		err = wm_err_set(e, WM_E_INVALID, "Invalid Port: %u must be between 0 and 65535",
				 d->port);
	if (!err)
		err = check_address(d->address, e);
	if (!err)
		err = check_weights(d, e);
	if (!err && d->lifecycle > WM_LIFE_STOPPED)
		err = wm_err_set(e, WM_E_INVALID,
				 "lifecycle must be starting, running, stopping or stopped");
	if (!err)
		err = check_tags(d, e);
	if (!err)
		err = check_meta(d->meta, d->meta_count, "Service", e);
	if (!err)
		err = check_tagged(d, e);
	if (!err)
		err = check_traits(d, e);
	if (!err)
		err = check_checks(d, e);
	return err;
}

int wm_check_draft_validate(const struct wm_check_draft *d, struct wm_err *e)
{
	struct wm_check_draft named = *d;

	if (!d->name || !*d->name)
		return wm_err_set(e, WM_E_INVALID, "Missing check name");
	if (!d->id || !*d->id)
		named.id = d->name;
	return check_check(&named, d->scripts, d->units, e);
}

int wm_node_name_validate(const char *name, struct wm_err *e)
{
	if (!name || !*name)
		return wm_err_set(e, WM_E_INVALID, "Must provide node");
	return check_text("Node", name, WM_NODE_NAME_MAX, e);
}

/* RFC 9562, of any version. */
static bool is_uuid(const char *s)
{
	size_t n = 0;

	for (; s[n]; n++) {
		bool dash = n == 8 || n == 13 || n == 18 || n == 23;

		if (n == 36 || (dash ? s[n] != '-' : !isxdigit((unsigned char)s[n])))
			return false;
	}
	return n == 36;
}

int wm_node_draft_validate(const struct wm_node_draft *d, struct wm_err *e)
{
	int err = 0;

	if (d->id && *d->id && !is_uuid(d->id))
		err = wm_err_set(e, WM_E_INVALID, "Bad node ID: \"%.*s\" is no UUID", SHOWN, d->id);
	if (!err && check_address(d->address, e))
		err = wm_err_set(e, WM_E_INVALID,
				 "Invalid node address: \"%.*s\" is no IPv4 address, no IPv6 "
				 "address and no host name of at most %d characters",
				 SHOWN, d->address, WM_ADDRESS_MAX);
	if (!err)
		err = check_meta(d->meta, d->meta_count, "Node", e);
	if (!err && d->tagged_count > WM_TAGGED_MAX)
		err = wm_err_set(e, WM_E_LIMIT, "TaggedAddresses: %u given, at most %d are allowed",
				 d->tagged_count, WM_TAGGED_MAX);
	for (unsigned i = 0; !err && i < d->tagged_count; i++) {
		err = check_text("TaggedAddresses: a name", d->tagged[i].key, WM_TAGGED_NAME_MAX,
				 e);
		if (!err)
			err = check_address(d->tagged[i].value, e);
	}
	return err ? err : check_locality(d->region, d->zone, e);
}
