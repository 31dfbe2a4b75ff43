/* SPDX-License-Identifier: Apache-2.0 */
/* model.c - the words that Consul's API has for the enumerations of the model. */
#include "model.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const char *const status_names[] = {"passing", "warning", "critical"};
static const char *const kind_names[WM_CHECK_KIND_COUNT] = {
	"ttl",	  "tcp",	"http", "maintenance", "udp", "alias",
	"script", "os_service", "grpc", "h2ping",      ""};

const char *wm_status_str(enum wm_status s)
{
	return (unsigned)s <= WM_CRITICAL ? status_names[s] : "critical";
}

int wm_status_parse(const char *s, enum wm_status *ret)
{
	for (unsigned i = 0; s && i <= WM_CRITICAL; i++) {
		if (strcmp(s, status_names[i]) == 0) {
			*ret = (enum wm_status)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *wm_check_kind_str(enum wm_check_kind k)
{
	return (unsigned)k < WM_CHECK_KIND_COUNT ? kind_names[k] : "";
}

const char *wm_check_type(const struct wm_check *c)
{
	return c->type && *c->type ? c->type : wm_check_kind_str(c->kind);
}

static const struct {
	const char *name;
	enum wm_stated_type type;
} stated[] = {
#define X(name, type) {#name, WM_STATED_##type},
	WM_STATED_MEMBERS(X)
#undef X
};

static bool stated_value(enum wm_stated_type t, const char *s)
{
	if (t == WM_STATED_FLAG)
		return strcmp(s, "true") == 0;
	return *s && (t == WM_STATED_TEXT || !s[strspn(s, "0123456789")]);
}

const char *wm_stated_member(const char *arg, enum wm_stated_type *ret_type, const char **ret_value)
{
	size_t len = strcspn(arg, "=");

	for (unsigned n = 0; arg[len] && n < WM_STATED_MEMBERS_COUNT; n++) {
		if (strlen(stated[n].name) != len || memcmp(stated[n].name, arg, len) != 0)
			continue;
		*ret_type = stated[n].type;
		*ret_value = arg + len + 1;
		return stated_value(*ret_type, *ret_value) ? stated[n].name : NULL;
	}
	return NULL;
}

bool wm_instance_has_tag(const struct wm_instance *i, const char *tag)
{
	if (!*tag)
		return true;
	for (unsigned n = 0; n < i->tags_count; n++) {
		if (strcasecmp(i->tags[n], tag) == 0)
			return true;
	}
	return false;
}

const char *wm_instance_semver(const struct wm_instance *i)
{
	for (unsigned n = 0; n < i->meta_count; n++) {
		if (strcmp(i->meta[n].key, "version") == 0)
			return i->meta[n].value;
	}
	return NULL;
}

bool wm_instance_says_consul(const struct wm_instance *i)
{
	bool marked = false;

	for (unsigned n = 0; n < i->meta_count; n++)
		marked |= strcmp(i->meta[n].key, WM_CONSUL_MARK) == 0;
	return marked && strcmp(i->id, WM_CONSUL_ID) == 0;
}

const char *wm_instance_proxy(const struct wm_instance *i, const char *member)
{
	for (unsigned n = 0; i->traits && n < i->traits->proxy_count; n++) {
		if (strcmp(i->traits->proxy[n].key, member) == 0)
			return i->traits->proxy[n].value;
	}
	return NULL;
}
