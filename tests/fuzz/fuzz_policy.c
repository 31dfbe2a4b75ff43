/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* fuzz_policy.c - policies as JSON and as records. Whatever the octets: a refusal has one sentence
 * and a 4xx; what is accepted may be copied, is the same through its record and through the JSON
 * that shows it, and each of these has one form. The first octet chooses: J a body, else a record's
 * body. */
#include "check.h"
#include "userspace/api/decode_policy.h"
#include "userspace/base/buf.h"
#include "userspace/store/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One that may be: it stands the way through its record. */
static void through_record(const struct wm_policy *p)
{
	static struct wm_policy_draft got;
	const char *why = "";
	struct wm_buf a, b;

	wm_buf_init(&a, WM_RECORD_MAX);
	wm_buf_init(&b, WM_RECORD_MAX);
	check(wm_record_put_policy(&a, p, true) == 0);
	check(wm_record_open(a.data, a.len, 0, WM_RECORD_POLICY, &why) == 0);
	check(wm_record_get_policy(a.data + WM_RECORD_HEAD, a.len - WM_RECORD_HEAD, &got) == 0);
	check(wm_policy_same(p, &got.p));
	check(wm_record_put_policy(&b, &got.p, true) == 0);
	check(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
	wm_buf_done(&a);
	wm_buf_done(&b);
}

/* And through what shows it. */
static void through_json(const struct wm_policy *p)
{
	static struct wm_policy_draft got;
	struct wm_decoded *mem = NULL;
	struct wm_err e = {0};
	struct wm_buf b;
	struct wm_json j;

	wm_buf_init(&b, 1u << 22);
	wm_json_init(&j, &b, false);
	wm_json_open(&j, '{');
	wm_encode_policy(&j, p);
	wm_json_close(&j, '}');
	wm_json_done(&j);
	check(!b.failed);
	check(wm_decode_policy(b.data, b.len, NULL, &mem, &got, &e) == 0);
	check(wm_policy_same(p, &got.p));
	wm_decoded_free(mem);
	wm_buf_done(&b);
}

static void accepted(const struct wm_policy *p, bool json)
{
	struct wm_policy *copy = wm_policy_copy(p);

	check(copy && wm_policy_same(copy, p));
	through_record(copy);
	if (json)
		through_json(copy);
	wm_policy_free(copy);
}

static void json(const char *body, size_t len)
{
	static struct wm_policy_draft d;
	struct wm_decoded *mem = NULL;
	struct wm_err e = {0};
	int err = wm_decode_policy(body, len, "web", &mem, &d, &e);

	if (err) {
		check(err == e.code && *e.text && wm_err_http(err) / 100 == 4);
		return;
	}
	accepted(&d.p, true);
	wm_decoded_free(mem);
}

static void record(const char *body, size_t len)
{
	static struct wm_policy_draft d;
	struct wm_err e = {0};
	char *copy = malloc(len + 1);
	bool ascii = true; /* a text that is no UTF-8 is shown as something else */

	check(copy != NULL);
	memcpy(copy, body, len);
	for (size_t n = 0; n < len; n++)
		ascii &= !(body[n] & 0x80);
	if (wm_record_get_policy(copy, len, &d) == 0 && wm_policy_validate(&d.p, &e) == 0 &&
	    !d.p.resolver && !d.p.defaults && !d.p.meta_count &&
	    !wm_policy_is_query(&d.p)) /* which JSON does not show */
		accepted(&d.p, ascii);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] == 'J')
		json((const char *)data + 1, size - 1);
	else
		record((const char *)data + 1, size - 1);
	return 0;
}
