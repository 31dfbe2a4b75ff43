/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_keyring.c - the keys of the mesh's datagrams: one is made here, and asked for at all
 * members. Keys go to the agent over its Unix socket and are never printed but when they are made.
 */
#include "userspace/security/seal.h"
#include "waymarkctl.h"

#include <string.h>

#define KEYRING_MS 120000 /* two rounds of 5 s for each 64 members that are silent, of some 700 */

int ctl_keyring_generate(const struct ctl *c)
{
	char key[WM_KEY_TEXT];

	if (wm_key_generate(key))
		return ctl_fail(c, "the system gives no random numbers");
	puts(key);
	return 0;
}

static long long number(const json_t *doc, const char *key)
{
	return (long long)json_integer_value(json_object_get(doc, key));
}

static void put_failures(const json_t *doc)
{
	json_t *m;
	size_t i;

	json_array_foreach(json_object_get(doc, "members"), i, m)
	{
		if (json_is_true(json_object_get(m, "done")))
			continue;
		printf("NOT at %s: %s\n", json_string_value(json_object_get(m, "name")),
		       json_string_value(json_object_get(m, "error")));
	}
}

int ctl_keyring_list(const struct ctl *c)
{
	static const char *const keys[] = {"fingerprint", "members", "seals", "of", NULL};
	json_t *doc = ctl_fetch_for(c, NULL, "/v1/waymark/keyring", NULL, KEYRING_MS);
	bool complete = json_is_true(json_object_get(doc, "complete"));

	if (!doc)
		return CTL_EXIT_FAILED;
	if (c->json) {
		ctl_print(c, doc);
		return complete ? 0 : CTL_EXIT_FAILED;
	}
	ctl_table(json_object_get(doc, "keys"), keys, 0, stdout);
	put_failures(doc);
	json_decref(doc);
	return complete ? 0 : CTL_EXIT_FAILED;
}

/* @return false after a message. */
static bool read_key(const struct ctl *c, char ret[static WM_KEY_TEXT + 1])
{
	const char *arg = c->args[0];

	if (strcmp(arg, "-") != 0) {
		if (strlen(arg) >= WM_KEY_TEXT + 1) {
			ctl_fail(c, "a key is 32 octets in base64");
			return false;
		}
		snprintf(ret, WM_KEY_TEXT + 1, "%s", arg);
		return true;
	}
	if (!fgets(ret, WM_KEY_TEXT + 1, stdin)) {
		ctl_fail(c, "no key on stdin");
		return false;
	}
	ret[strcspn(ret, "\r\n")] = '\0';
	return true;
}

static int change(const struct ctl *c, const char *method, const char *what)
{
	char key[WM_KEY_TEXT + 1], body[2 * sizeof(key)];
	json_t *doc, *ask;
	bool complete;
	long long all;

	if (!read_key(c, key))
		return CTL_EXIT_FAILED;
	ask = json_pack("{s:s}", "Key", key);
	if (!ask || json_dumpb(ask, body, sizeof(body) - 1, JSON_COMPACT) >= sizeof(body)) {
		json_decref(ask);
		return ctl_fail(c, "a key is 32 octets in base64");
	}
	body[json_dumpb(ask, body, sizeof(body) - 1, JSON_COMPACT)] = '\0';
	json_decref(ask);
	doc = ctl_fetch_for(c, method,
			    c->force ? "/v1/waymark/keyring?force" : "/v1/waymark/keyring", body,
			    KEYRING_MS);
	complete = json_is_true(json_object_get(doc, "complete"));
	if (!doc)
		return CTL_EXIT_FAILED;
	if (c->json) {
		ctl_print(c, doc);
		return complete ? 0 : CTL_EXIT_FAILED;
	}
	all = (long long)json_array_size(json_object_get(doc, "members"));
	printf("%lld of %lld members %s %s\n", all - number(doc, "failed"), all, what,
	       json_string_value(json_object_get(doc, "fingerprint")));
	put_failures(doc);
	json_decref(doc);
	return complete ? 0 : CTL_EXIT_FAILED;
}

int ctl_keyring_add(const struct ctl *c)
{
	return change(c, "POST", "have");
}

int ctl_keyring_use(const struct ctl *c)
{
	return change(c, "PUT", "seal with");
}

int ctl_keyring_remove(const struct ctl *c)
{
	return change(c, "DELETE", "no longer have");
}
