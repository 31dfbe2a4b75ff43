/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry */
/* fuzz_store_record.c - decoding of the store's records. Whatever the bytes, decoding stays inside
 * them; what decodes can be built and encoded, and what was encoded decodes to the same. The first
 * octet chooses the kind of record. */
#include "check.h"
#include "userspace/base/buf.h"
#include "userspace/store/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wm_instance *decode(bool node, const char *body, size_t len, char **ret_copy)
{
	static struct wm_record_instance d;
	struct wm_instance *i;

	*ret_copy = malloc(len + 1);
	check(*ret_copy != NULL);
	memcpy(*ret_copy, body, len);
	if (node ? wm_record_get_node(*ret_copy, len, &d)
		 : wm_record_get_instance(*ret_copy, len, &d))
		return NULL;
	i = wm_instance_build(&d.d);
	check(i != NULL);
	i->create_index = d.create_index;
	i->modify_index = d.modify_index;
	for (unsigned n = 0; n < i->checks_count; n++) {
		i->checks[n]->status = d.states[n].status;
		i->checks[n]->create_index = d.states[n].create_index;
		i->checks[n]->modify_index = d.states[n].modify_index;
	}
	return i;
}

static int encode(bool node, struct wm_buf *b, const struct wm_instance *i)
{
	return node ? wm_record_put_node(b, 7, i) : wm_record_put_instance(b, 7, i);
}

/* An instance, or the node's checks. */
static void instance(bool node, const char *body, size_t len)
{
	enum wm_record_type t = node ? WM_RECORD_NODE : WM_RECORD_INSTANCE;
	char *copy = NULL, *again = NULL;
	struct wm_instance *i = decode(node, body, len, &copy), *j;
	const char *why = "";
	struct wm_buf a, b;

	if (i) {
		wm_buf_init(&a, WM_RECORD_MAX);
		wm_buf_init(&b, WM_RECORD_MAX);
		check(encode(node, &a, i) == 0);
		check(wm_record_open(a.data, a.len, 7, t, &why) == 0);
		check(wm_record_open(a.data, a.len, 8, t, &why) != 0);
		j = decode(node, a.data + WM_RECORD_HEAD, a.len - WM_RECORD_HEAD, &again);
		check(j && wm_instance_same(i, j) && i->checks_count == j->checks_count);
		for (unsigned n = 0; n < i->checks_count; n++)
			check(wm_check_same(i->checks[n], j->checks[n]));
		check(encode(node, &b, j) == 0);
		check(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
		wm_instance_free(j, true);
		wm_buf_done(&a);
		wm_buf_done(&b);
	}
	wm_instance_free(i, true);
	free(copy);
	free(again);
}

static void others(const char *body, size_t len)
{
	struct wm_record_service s;
	struct wm_record_meta m;
	const char *why = "";
	char *copy = malloc(len + 1);
	struct wm_buf b;

	check(copy != NULL);
	memcpy(copy, body, len);
	wm_buf_init(&b, WM_RECORD_MAX);
	if (wm_record_get_service(copy, len, &s) == 0) {
		check(wm_record_put_service(&b, 3, &s) == 0);
		check(b.len == len + WM_RECORD_HEAD &&
		      memcmp(b.data + WM_RECORD_HEAD, body, len) == 0);
	}
	if (wm_record_get_meta(copy, len, &m) == 0) {
		check(wm_record_put_meta(&b, &m) == 0);
		check(b.len == len + WM_RECORD_HEAD &&
		      memcmp(b.data + WM_RECORD_HEAD, body, len) == 0);
	}
	for (int t = WM_RECORD_META; t <= WM_RECORD_NODE; t++)
		(void)wm_record_open(body, len, 1, (enum wm_record_type)t, &why);
	wm_buf_done(&b);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] & 1)
		others((const char *)data + 1, size - 1);
	else
		instance(data[0] & 2, (const char *)data + 1, size - 1);
	return 0;
}
