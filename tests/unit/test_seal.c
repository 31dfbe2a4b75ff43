/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security */
/* test_seal.c - datagrams under a ring of keys: what opens, what does not, and how keys change. */
#include "userspace/security/seal.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct wm_keyring *ring(const char *key)
{
	struct wm_keyring *k = NULL;
	struct wm_err e = {0};

	cr_assert_eq(wm_keyring_new(key, &k, &e), 0, "%s", e.text);
	return k;
}

static bool opens(struct wm_keyring *from, struct wm_keyring *to)
{
	uint8_t sealed[64], plain[64];
	size_t len = wm_seal(from, "hello", 5, sealed, sizeof(sealed));
	ssize_t n;

	cr_assert_eq(len, 5 + WM_SEAL_OVERHEAD);
	n = wm_unseal(to, sealed, len, plain, sizeof(plain));
	cr_assert(n == 5 || n == -EBADMSG);
	return n == 5 && memcmp(plain, "hello", 5) == 0;
}

Test(seal, opens_with_its_key_only)
{
	char one[WM_KEY_TEXT], two[WM_KEY_TEXT];
	struct wm_keyring *a, *b, *c;

	cr_assert_eq(wm_key_generate(one), 0);
	cr_assert_eq(wm_key_generate(two), 0);
	cr_assert_str_neq(one, two);
	a = ring(one);
	b = ring(one);
	c = ring(two);
	cr_assert(opens(a, b));
	cr_assert(!opens(a, c));
	wm_keyring_free(a);
	wm_keyring_free(b);
	wm_keyring_free(c);
}

Test(seal, every_changed_octet_is_found)
{
	uint8_t sealed[64], plain[64];
	char key[WM_KEY_TEXT];
	struct wm_keyring *k;
	size_t len;

	wm_key_generate(key);
	k = ring(key);
	len = wm_seal(k, "hello", 5, sealed, sizeof(sealed));
	for (size_t n = 0; n < len; n++) {
		sealed[n] ^= 1;
		cr_assert_eq(wm_unseal(k, sealed, len, plain, sizeof(plain)),
			     n ? -EBADMSG : -EPROTO, "%zu", n);
		sealed[n] ^= 1;
	}
	for (size_t n = 0; n < len; n++)
		cr_assert_eq(wm_unseal(k, sealed, n, plain, sizeof(plain)), -EBADMSG, "%zu", n);
	cr_assert_eq(wm_unseal(k, sealed, len, plain, 4), -EMSGSIZE);
	cr_assert_eq(wm_unseal(k, sealed, len, plain, 5), 5);
	cr_assert_eq(wm_seal(k, "hello", 5, sealed, len - 1), 0, "no room");
	wm_keyring_free(k);
}

/* Of what is sealed: version, mark, salt. */
static void salt_of(struct wm_keyring *k, uint8_t ret[static WM_SEAL_SALT])
{
	uint8_t sealed[64];

	cr_assert_eq(wm_seal(k, "hello", 5, sealed, sizeof(sealed)), 5 + WM_SEAL_OVERHEAD);
	cr_assert_eq(sealed[0], 2);
	memcpy(ret, sealed + 2, WM_SEAL_SALT);
}

static bool same_salt(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a, b, WM_SEAL_SALT) == 0;
}

/* Each sender, each key and so many datagrams have a key of their own. */
Test(seal, a_salt_is_of_one_sender_and_of_so_many)
{
	char key[WM_KEY_TEXT], other[WM_KEY_TEXT];
	uint8_t first[WM_SEAL_SALT], now[WM_SEAL_SALT];
	struct wm_keyring *a, *b;
	struct wm_err e = {0};

	wm_key_generate(key);
	wm_key_generate(other);
	a = ring(key);
	b = ring(key);
	salt_of(a, first);
	salt_of(b, now);
	cr_assert(!same_salt(first, now), "two senders share one");
	for (unsigned n = 1; n < WM_SEAL_SALT_USES; n++)
		salt_of(a, now);
	cr_assert(same_salt(first, now), "it is drawn anew too early");
	salt_of(a, now);
	cr_assert(!same_salt(first, now), "it was used too often");
	cr_assert(opens(a, b));
	memcpy(first, now, sizeof(now));
	wm_keyring_add(a, other, &e);
	wm_keyring_use(a, other, &e);
	salt_of(a, now);
	cr_assert(!same_salt(first, now), "it was used under two keys");
	wm_keyring_free(a);
	wm_keyring_free(b);
}

/* What was sealed with the ring's key itself, as version 1 did, is told from what no key opens. */
Test(seal, another_form_is_refused_as_such)
{
	uint8_t old[64] = {1}, plain[64];
	char key[WM_KEY_TEXT];
	struct wm_keyring *k;

	wm_key_generate(key);
	k = ring(key);
	cr_assert_eq(wm_unseal(k, old, sizeof(old), plain, sizeof(plain)), -EPROTO);
	old[0] = 2;
	cr_assert_eq(wm_unseal(k, old, sizeof(old), plain, sizeof(plain)), -EBADMSG);
	cr_assert_eq(wm_unseal(k, old, 0, plain, sizeof(plain)), -EBADMSG);
	wm_keyring_free(k);
}

Test(seal, keys_are_changed_without_a_gap)
{
	char old[WM_KEY_TEXT], new[WM_KEY_TEXT], text[WM_KEY_TEXT];
	struct wm_keyring *a, *b;
	struct wm_err e = {0};

	wm_key_generate(old);
	wm_key_generate(new);
	a = ring(old);
	b = ring(old);
	cr_assert_eq(wm_keyring_use(a, new, &e), WM_E_UNKNOWN);
	cr_assert_eq(wm_keyring_add(a, new, &e), 0);
	cr_assert_eq(wm_keyring_add(a, new, &e), 0, "twice is no error");
	cr_assert_eq(wm_keyring_count(a), 2);
	cr_assert(opens(a, b) && opens(b, a), "added: the old one seals");
	cr_assert_eq(wm_keyring_add(b, new, &e), 0);
	cr_assert_eq(wm_keyring_use(a, new, &e), 0);
	cr_assert(opens(a, b) && opens(b, a), "used by one of them");
	wm_keyring_key(a, 0, text);
	cr_assert_str_eq(text, new);
	cr_assert_eq(wm_keyring_remove(a, new, &e), WM_E_CONFLICT);
	cr_assert_eq(wm_keyring_use(b, new, &e), 0);
	cr_assert_eq(wm_keyring_remove(a, old, &e), 0);
	cr_assert_eq(wm_keyring_remove(a, old, &e), WM_E_UNKNOWN);
	cr_assert(opens(a, b) && opens(b, a));
	wm_keyring_free(a);
	wm_keyring_free(b);
}

Test(seal, what_is_no_key_is_refused)
{
	static const char *const bad[] = {
		"",
		"a",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /* without its padding */
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"AAAAAAAAAAAAAAAAAAAAA*AAAAAAAAAAAAAAAAAAAAA=",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=AAAA",
	};
	struct wm_keyring *k = NULL;
	char key[WM_KEY_TEXT];
	struct wm_err e;

	for (size_t n = 0; n < sizeof(bad) / sizeof(*bad); n++)
		cr_assert_eq(wm_keyring_new(bad[n], &k, &e), WM_E_INVALID, "%s", bad[n]);
	wm_key_generate(key);
	k = ring(key);
	for (unsigned n = 1; n < WM_KEYS_MAX; n++) {
		wm_key_generate(key);
		cr_assert_eq(wm_keyring_add(k, key, &e), 0);
	}
	wm_key_generate(key);
	cr_assert_eq(wm_keyring_add(k, key, &e), WM_E_LIMIT);
	wm_keyring_free(k);
}

static void put(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "we");

	cr_assert(f);
	fputs(text, f);
	fclose(f);
	chmod(path, mode);
}

Test(seal, a_file_is_read_and_written)
{
	char dir[] = "/tmp/waymark-seal-XXXXXX", path[64], text[256], one[WM_KEY_TEXT],
	     two[WM_KEY_TEXT], back[WM_KEY_TEXT];
	struct wm_keyring *k = NULL, *again = NULL;
	struct wm_err e = {0};
	struct stat st;

	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ring", dir);
	cr_assert_eq(wm_keyring_load(path, &k, &e), -ENOENT);
	wm_key_generate(one);
	wm_key_generate(two);
	snprintf(text, sizeof(text), "# ours\n%s\n\n%s\n", one, two);
	put(path, text, 0644);
	cr_assert_neq(wm_keyring_load(path, &k, &e), 0, "others may read it");
	put(path, text, 0600);
	cr_assert_eq(wm_keyring_load(path, &k, &e), 0, "%s", e.text);
	cr_assert_eq(wm_keyring_count(k), 2);
	cr_assert_eq(wm_keyring_use(k, two, &e), 0);
	cr_assert_eq(wm_keyring_save(k, path, NULL), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_eq(wm_keyring_load(path, &again, &e), 0);
	wm_keyring_key(again, 0, back);
	cr_assert_str_eq(back, two);
	cr_assert(opens(again, k));
	wm_keyring_free(k);
	wm_keyring_free(again);
	put(path, "# nothing\n", 0600);
	cr_assert_eq(wm_keyring_load(path, &k, &e), WM_E_INVALID);
	put(path, "key\n", 0600);
	cr_assert_eq(wm_keyring_load(path, &k, &e), WM_E_INVALID);
	cr_assert(strstr(e.text, "line 1"), "%s", e.text);
	unlink(path);
	rmdir(dir);
}

Test(seal, a_change_is_kept_until_the_operator_writes_other_keys)
{
	char dir[] = "/tmp/waymark-seal-XXXXXX", path[64], one[WM_KEY_TEXT], two[WM_KEY_TEXT],
	     print[WM_KEY_PRINT], back[WM_KEY_PRINT];
	struct wm_keyring *of, *k = NULL, *again = NULL;
	struct wm_err e = {0};
	struct stat st;

	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/keyring", dir);
	wm_key_generate(one);
	wm_key_generate(two);
	of = ring(one);
	cr_assert_eq(wm_keyring_load_kept(path, of, &again, &e), -ENOENT);
	cr_assert_eq(wm_keyring_copy(of, &k), 0);
	cr_assert_eq(wm_keyring_add(k, two, &e), 0);
	cr_assert_eq(wm_key_print(two, print, &e), 0);
	cr_assert_eq(wm_keyring_find(k, print), 1);
	cr_assert_eq(wm_keyring_find(of, print), -1, "the copy only was changed");
	cr_assert_eq(wm_keyring_use(k, two, &e), 0);
	cr_assert_eq(wm_keyring_save(k, path, of), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_eq(wm_keyring_load_kept(path, of, &again, &e), 0, "%s", e.text);
	wm_keyring_print(again, 0, back);
	cr_assert_str_eq(back, print);
	cr_assert(opens(of, again) && opens(again, k));
	wm_keyring_free(again);
	wm_keyring_free(of);
	of = ring(two);
	cr_assert_eq(wm_keyring_load_kept(path, of, &again, &e), WM_E_CONFLICT);
	wm_keyring_free(of);
	wm_keyring_free(k);
	unlink(path);
	cr_assert_eq(rmdir(dir), 0, "something else was left there");
}
