/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* What the DNS programs leave to userspace, and the counter that says why. */
#include "dns_fixture.h"

TestSuite(dns_passes, .init = dns_setup, .fini = dns_teardown, .timeout = 300);

static void set_response(struct frame *f)
{
	f->at[f->dns + 2] |= 0x80;
}
static void set_opcode(struct frame *f)
{
	f->at[f->dns + 2] |= 4 << 3;
}
static void two_questions(struct frame *f)
{
	f->at[f->dns + 5] = 2;
}
static void an_answer(struct frame *f)
{
	f->at[f->dns + 7] = 1;
}
static void bad_label(struct frame *f)
{
	f->at[f->dns + 12] = 0x80;
}
static void octet_0(struct frame *f)
{
	*(uint8_t *)memchr(f->at + f->dns + 12, '*', f->len - f->dns - 12) = 0;
}
static void pointer(struct frame *f)
{
	f->at[f->dns + 12] = 0xc0;
}
static void trailing(struct frame *f)
{
	f->len += 3;
}
/* What a question ends with, which the message is not long enough for to be one. */
static void another_end(struct frame *f)
{
	static const uint8_t end[] = {0, 0, 1, 0, 1};

	memcpy(f->at + f->len, end, sizeof(end));
	f->len += sizeof(end);
}
/* An option whose data end as a question and an OPT do. */
static void opt_in_option(struct frame *f)
{
	static const uint8_t option[] = {0xfd, 0xe9, 0, 16, 0, 0, 1, 0, 1, 0,
					 0,    41,   4, 0,  0, 0, 0, 0, 0, 0};

	put16(f->at + f->len - 2, sizeof(option));
	memcpy(f->at + f->len, option, sizeof(option));
	f->len += sizeof(option);
}
static void class_chaos(struct frame *f)
{
	f->at[f->len - 1] = 3;
}
static void edns_version(struct frame *f)
{
	f->at[f->len - 5] = 1;
}
static void fragment(struct frame *f)
{
	f->at[ETH + 6] = 0x20;
}
static void second_fragment(struct frame *f)
{
	f->at[ETH + 7] = 1;
}
static void type_srv(struct frame *f)
{
	f->at[f->len - 3] = 33;
}
static void type_tsig(struct frame *f)
{
	f->at[f->len - 3] = 250;
}

static const struct reason {
	const char *text, *name;
	void (*change)(struct frame *f);
	unsigned edns;
	enum wm_counter counter;
} reasons[] = {
	{"a response", "web.service.mesh.internal", set_response, 0, WM_C_DNS_PASS_NOT_QUERY},
	{"an opcode", "web.service.mesh.internal", set_opcode, 0, WM_C_DNS_PASS_NOT_QUERY},
	{"two questions", "web.service.mesh.internal", two_questions, 0, WM_C_DNS_PASS_COUNTS},
	{"an answer", "web.service.mesh.internal", an_answer, 0, WM_C_DNS_PASS_COUNTS},
	{"a bad label", "web.service.mesh.internal", bad_label, 0, WM_C_DNS_PASS_MALFORMED},
	{"a pointer", "web.service.mesh.internal", pointer, 0, WM_C_DNS_PASS_MALFORMED},
	{"octets behind", "web.service.mesh.internal", trailing, 0, WM_C_DNS_PASS_MALFORMED},
	{"the end of a question behind", "web.service.mesh.internal", another_end, 0,
	 WM_C_DNS_PASS_MALFORMED},
	{"of another name", "none.service.mesh.internal", another_end, 0, WM_C_DNS_PASS_MALFORMED},
	{"an OPT in an option", "web.service.mesh.internal", opt_in_option, 1232,
	 WM_C_DNS_PASS_EDNS},
	{"class CH", "web.service.mesh.internal", class_chaos, 0, WM_C_DNS_PASS_CLASS},
	{"EDNS 1", "web.service.mesh.internal", edns_version, 1232, WM_C_DNS_PASS_EDNS},
	{"first fragment", "web.service.mesh.internal", fragment, 0, WM_C_DNS_PASS_FRAGMENT},
	{"a later fragment", "web.service.mesh.internal", second_fragment, 0,
	 WM_C_DNS_PASS_FRAGMENT},
	{"SRV of a tag", "none.web.service.mesh.internal", type_srv, 0, WM_C_DNS_PASS_UNKNOWN},
	{"TSIG", "web.service.mesh.internal", type_tsig, 0, WM_C_DNS_PASS_TYPE},
	{"a tag", "none.web.service.mesh.internal", NULL, 0, WM_C_DNS_PASS_UNKNOWN},
	{"an octet 0", "web*.node.mesh.internal", octet_0, 0, WM_C_DNS_PASS_UNKNOWN},
	{"an octet 0 and more", "x*.web.service.mesh.internal", octet_0, 0, WM_C_DNS_PASS_UNKNOWN},
	{"the root", "", NULL, 0, WM_C_DNS_PASS_UNKNOWN},
	{"nobody healthy", "down.service.mesh.internal", NULL, 0, WM_C_DNS_PASS_EMPTY},
};

Test(dns_passes, what_passes_and_why)
{
	struct frame q, a;
	uint64_t before;

	add("web", "a", "10.1.2.3", WM_PASSING);
	add("down", "d", "10.1.2.4", WM_CRITICAL);
	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++) {
		const struct reason *r = &reasons[i];

		query_frame(&q, false, r->name, 1, r->edns);
		if (r->change)
			r->change(&q);
		seal(&q);
		before = counter(r->counter);
		cr_assert_not(answered(&q, &a), "%s", r->text);
		cr_assert_eq(counter(r->counter), before + 1, "%s", r->text);
	}
	cr_assert_eq(counter(WM_C_DNS_ANSWERED), 0);
}
