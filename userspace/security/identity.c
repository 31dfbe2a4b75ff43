/* SPDX-License-Identifier: Apache-2.0 */
/* identity.c - who a certificate says that somebody is. */
#include "cert.h"

#include <errno.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool label_octet(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

/* The label at @p s, into @p ret in lower case. @return octets of it, 0: there is none. */
static size_t take_label(const char *s, size_t len, char *ret, size_t max)
{
	size_t n = 0;

	for (; n < len && n < max && label_octet(s[n]); n++)
		ret[n] = (char)(s[n] >= 'A' && s[n] <= 'Z' ? s[n] + ('a' - 'A') : s[n]);
	ret[n] = '\0';
	return n;
}

bool wm_identity_label(const char *s)
{
	char label[WM_NODE_NAME_MAX + 1];
	size_t len = strlen(s);

	return len && take_label(s, len, label, WM_NODE_NAME_MAX) == len;
}

int wm_identity_parse(const char *name, size_t len, struct wm_identity *ret)
{
	static const char suffix[] = WM_IDENTITY_SUFFIX;
	struct wm_identity i;
	size_t at, n;

	at = take_label(name, len, i.node, WM_NODE_NAME_MAX);
	if (!at || at == len || name[at] != '.')
		return -EINVAL;
	at++;
	n = take_label(name + at, len - at, i.datacenter, WM_DATACENTER_NAME_MAX);
	at += n;
	if (!n || at == len || name[at] != '.')
		return -EINVAL;
	at++;
	if (len - at != sizeof(suffix) - 1 || strncasecmp(name + at, suffix, len - at) != 0)
		return -EINVAL;
	*ret = i;
	return 0;
}

void wm_identity_format(const struct wm_identity *i, char ret[static WM_IDENTITY_TEXT])
{
	snprintf(ret, WM_IDENTITY_TEXT, "%s.%s." WM_IDENTITY_SUFFIX, i->node, i->datacenter);
}

/* Does it end in ".waymark", so that it is meant to be an identity? */
static bool meant(const char *name, size_t len)
{
	static const char tail[] = "." WM_IDENTITY_SUFFIX;

	return len >= sizeof(tail) - 1 &&
	       strncasecmp(name + len - (sizeof(tail) - 1), tail, sizeof(tail) - 1) == 0;
}

static int judge(const GENERAL_NAMES *names, struct wm_identity *ret, struct wm_err *e)
{
	struct wm_identity found;
	bool any = false;

	if (sk_GENERAL_NAME_num(names) > WM_CERT_NAMES_MAX)
		return wm_err_set(e, WM_E_INVALID, "the certificate has %d names, %d are allowed",
				  sk_GENERAL_NAME_num(names), WM_CERT_NAMES_MAX);
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
		const char *name;
		size_t len;

		if (g->type != GEN_DNS)
			continue;
		name = (const char *)ASN1_STRING_get0_data(g->d.dNSName);
		len = (size_t)ASN1_STRING_length(g->d.dNSName);
		if (memchr(name, '\0', len))
			return wm_err_set(e, WM_E_INVALID, "a name of the certificate has a NUL");
		if (!meant(name, len))
			continue;
		if (any)
			return wm_err_set(e, WM_E_INVALID,
					  "the certificate names more than one node");
		if (wm_identity_parse(name, len, &found))
			return wm_err_set(e, WM_E_INVALID,
					  "the certificate's name %.*s is not "
					  "NODE.DATACENTER." WM_IDENTITY_SUFFIX,
					  len > 255 ? 255 : (int)len, name);
		any = true;
	}
	if (!any)
		return wm_err_set(
			e, WM_E_INVALID,
			"the certificate names no node: NODE.DATACENTER." WM_IDENTITY_SUFFIX
			" must be in its subjectAltName");
	*ret = found;
	return 0;
}

int wm_identity_of(const struct x509_st *x, struct wm_identity *ret, struct wm_err *e)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	int err;

	if (!names)
		return wm_err_set(e, WM_E_INVALID,
				  "the certificate has no subjectAltName that can be read");
	err = judge(names, ret, e);
	GENERAL_NAMES_free(names);
	return err;
}
