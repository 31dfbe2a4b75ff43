/* SPDX-License-Identifier: Apache-2.0 */
/* http_call.c - what curl is told of one call. */
#include "http_client_internal.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DNS_CACHE_S 5L	/* seconds: as long as the resolver keeps an answer */
#define CA_CACHE_S  60L /* seconds: parsing Debian's bundle takes the loop 20 ms */

static bool one_line(const char *s)
{
	return !strpbrk(s, "\r\n");
}

static bool has_header(const struct wm_http_call_options *o, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; o->headers && o->headers[i]; i++) {
		if (strncasecmp(o->headers[i], name, len) == 0 && o->headers[i][len] == ':')
			return true;
	}
	return false;
}

int wm_http_add_line(struct curl_slist **list, const char *line)
{
	struct curl_slist *l = curl_slist_append(*list, line);

	if (!l)
		return -ENOMEM;
	*list = l;
	return 0;
}

/* curl takes "Name:" for "leave it out" and "Name;" for an empty value. */
static int add_header(struct wm_http_call *call, const char *line)
{
	const char *colon = strchr(line, ':');
	char *empty;
	int err;

	if (!colon || colon == line || !one_line(line))
		return -EINVAL;
	if (colon[1 + strspn(colon + 1, " \t")])
		return wm_http_add_line(&call->headers, line);
	if (asprintf(&empty, "%.*s;", (int)(colon - line), line) < 0)
		return -ENOMEM;
	err = wm_http_add_line(&call->headers, empty);
	free(empty);
	return err;
}

static int set_headers(struct wm_http_call *call, const struct wm_http_call_options *o)
{
	int err = 0;

	for (size_t i = 0; !err && o->headers && o->headers[i]; i++)
		err = i < WM_HTTP_CALL_HEADERS_MAX ? add_header(call, o->headers[i]) : -EINVAL;
	if (!err)
		err = wm_http_add_line(&call->headers,
				       "Expect:"); /* no round trip before the body */
	/* curl would call any body a form, and that of a POST that has none */
	if (!err && !has_header(o, "Content-Type"))
		err = wm_http_add_line(&call->headers, "Content-Type:");
	return err;
}

static int set_method(struct wm_http_call *call, const struct wm_http_call_options *o)
{
	const char *method = o->method && *o->method ? o->method : "GET";
	bool post = strcmp(method, "POST") == 0, bad = false;
	const char *body = o->body;

	if (!one_line(method) || strchr(method, ' '))
		return -EINVAL;
	if (post && !body)
		body = "";
	if (body) {
		size_t len = o->body_len ? o->body_len : strlen(body);

		bad |= curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len) !=
		       CURLE_OK;
		bad |= curl_easy_setopt(call->easy, CURLOPT_COPYPOSTFIELDS, body) != CURLE_OK;
	}
	if (strcmp(method, "HEAD") == 0)
		bad |= curl_easy_setopt(call->easy, CURLOPT_NOBODY, 1L) != CURLE_OK;
	/* left to curl, a POST becomes a GET where a redirect says so */
	else if (!post && (body || strcmp(method, "GET") != 0))
		bad |= curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, method) != CURLE_OK;
	return bad ? -ENOMEM : 0;
}

/* Dial the URL's host, but ask for another name in TLS: the URL gets that name, curl is told where
 * it lives, and the Host header keeps what the URL said. */
static int set_server_name(struct wm_http_call *call, const struct wm_http_call_options *o,
			   CURLU *u)
{
	char *host = NULL, *port = NULL, *explicit_port = NULL, *to = NULL, *line = NULL;
	int err = -ENOMEM;

	if (!one_line(o->tls_server_name))
		return -EINVAL;
	if (curl_url_get(u, CURLUPART_HOST, &host, 0) ||
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
		goto out;
	curl_url_get(u, CURLUPART_PORT, &explicit_port, CURLU_NO_DEFAULT_PORT);
	if (asprintf(&to, "%s:%s:%s:%s", o->tls_server_name, port, host, port) < 0) {
		to = NULL;
		goto out;
	}
	if (asprintf(&line, "Host: %s%s%s", host, explicit_port ? ":" : "",
		     explicit_port ? explicit_port : "") < 0) {
		line = NULL;
		goto out;
	}
	if (curl_url_set(u, CURLUPART_HOST, o->tls_server_name, 0)) {
		err = -EINVAL;
		goto out;
	}
	call->dial = strdup(host);
	call->dial_as = strdup(o->tls_server_name);
	err = call->dial && call->dial_as ? wm_http_add_line(&call->connect_to, to) : -ENOMEM;
	if (!err && !has_header(o, "Host"))
		err = wm_http_add_line(&call->headers, line);
	if (!err && curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->connect_to))
		err = -ENOMEM;
out:
	curl_free(host);
	curl_free(port);
	curl_free(explicit_port);
	free(to);
	free(line);
	return err;
}

static int set_url(struct wm_http_call *call, const struct wm_http_call_options *o)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *url = NULL;
	int err = -EINVAL;

	if (!u)
		return -ENOMEM;
	if (!o->url || curl_url_set(u, CURLUPART_URL, o->url, 0) ||
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0))
		goto out;
	if (strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0)
		goto out;
	err = 0;
	if (o->tls_server_name && *o->tls_server_name && strcasecmp(scheme, "https") == 0)
		err = set_server_name(call, o, u);
	if (!err && (curl_url_get(u, CURLUPART_URL, &url, 0) ||
		     curl_easy_setopt(call->easy, CURLOPT_URL, url)))
		err = -ENOMEM;
out:
	curl_free(scheme);
	curl_free(url);
	curl_url_cleanup(u);
	return err;
}

/* PEM in memory, of which curl makes a copy. @return as curl_easy_setopt() would, 0 without one. */
static unsigned set_pem(CURL *e, CURLoption option, const char *pem)
{
	struct curl_blob blob = {.flags = CURL_BLOB_COPY};
	unsigned failed;

	if (!pem || !*pem)
		return 0;
	blob.len = strlen(pem);
	blob.data = strdup(pem); /* curl's is not const */
	if (!blob.data)
		return 1;
	failed = curl_easy_setopt(e, option, &blob) != CURLE_OK;
	explicit_bzero(blob.data, blob.len);
	free(blob.data);
	return failed;
}

/* curl keeps parsed authorities only when they come from a file alone, not from a directory too. */
static bool set_tls(struct wm_http_call *call, const struct wm_http_call_options *o)
{
	bool file = o->tls_ca_file && *o->tls_ca_file;
	bool own = file || (o->tls_ca_pem && *o->tls_ca_pem);
	CURL *e = call->easy;
	unsigned bad = 0;

	bad |= curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) != CURLE_OK;
	bad |= curl_easy_setopt(e, CURLOPT_CA_CACHE_TIMEOUT, CA_CACHE_S) != CURLE_OK;
	if (own)
		bad |= curl_easy_setopt(e, CURLOPT_CAINFO, file ? o->tls_ca_file : NULL) !=
		       CURLE_OK;
	bad |= set_pem(e, CURLOPT_CAINFO_BLOB, o->tls_ca_pem);
	bad |= set_pem(e, CURLOPT_SSLCERT_BLOB, o->tls_cert_pem);
	bad |= set_pem(e, CURLOPT_SSLKEY_BLOB, o->tls_key_pem);
	if (own || call->client->bundle)
		bad |= curl_easy_setopt(e, CURLOPT_CAPATH, NULL) != CURLE_OK;
	if (o->tls_cert_file && *o->tls_cert_file)
		bad |= curl_easy_setopt(e, CURLOPT_SSLCERT, o->tls_cert_file) != CURLE_OK;
	if (o->tls_key_file && *o->tls_key_file)
		bad |= curl_easy_setopt(e, CURLOPT_SSLKEY, o->tls_key_file) != CURLE_OK;
	if (o->tls_skip_verify) {
		bad |= curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L) != CURLE_OK;
		bad |= curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L) != CURLE_OK;
	}
	return !bad;
}

static long version_of(const struct wm_http_call_options *o)
{
	if (!o->http2)
		return CURL_HTTP_VERSION_1_1;
	return strncasecmp(o->url, "https:", 6) == 0 ? CURL_HTTP_VERSION_2TLS
						     : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
}

/* Were curl to offer it, it would speak it as well. */
static CURLcode offer_http2(CURL *easy, void *ctx, void *arg)
{
	static const unsigned char protocols[] = "\2h2"; /* length, name: RFC 7301 */

	(void)easy;
	(void)arg;
	return SSL_CTX_set_alpn_protos(ctx, protocols, sizeof(protocols) - 1) ? CURLE_OUT_OF_MEMORY
									      : CURLE_OK;
}

static int set_options(struct wm_http_call *call, const struct wm_http_call_options *o)
{
	long ms = o->timeout_ms < 1	      ? 1
		  : o->timeout_ms > INT32_MAX ? INT32_MAX
					      : (long)o->timeout_ms;
	CURL *e = call->easy;
	unsigned bad = 0;

#define SET(option, value) (bad |= curl_easy_setopt(e, option, value) != CURLE_OK)
	SET(CURLOPT_PRIVATE, call);
	SET(CURLOPT_ERRORBUFFER, call->error);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_PROXY, ""); /* not even from the environment */
	SET(CURLOPT_NOPROXY, "*");
	SET(CURLOPT_HTTP_VERSION, version_of(o));
	SET(CURLOPT_FRESH_CONNECT, o->keep ? 0L : 1L);
	/* a conversation goes on after curl is done; what only connected is not used again anyway
	 */
	SET(CURLOPT_FORBID_REUSE, o->heard || o->keep ? 0L : 1L);
	SET(CURLOPT_TIMEOUT_MS, ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, ms);
	SET(CURLOPT_DNS_CACHE_TIMEOUT, DNS_CACHE_S);
	SET(CURLOPT_RESOLVER_START_FUNCTION, wm_http_call_on_resolve);
	SET(CURLOPT_RESOLVER_START_DATA, call);
	SET(CURLOPT_SSL_SESSIONID_CACHE, 0L); /* each handshake judges the certificate anew */
	SET(CURLOPT_USERAGENT, "waymark/" WM_VERSION);
	SET(CURLOPT_OPENSOCKETFUNCTION, wm_http_call_open_socket);
	SET(CURLOPT_OPENSOCKETDATA, call);
	SET(CURLOPT_WRITEFUNCTION, wm_http_call_on_body);
	SET(CURLOPT_WRITEDATA, call);
	SET(CURLOPT_HEADERFUNCTION, wm_http_call_on_header);
	SET(CURLOPT_HEADERDATA, call);
	SET(CURLOPT_HTTPHEADER, call->headers);
	SET(CURLOPT_FOLLOWLOCATION, o->follow_redirects ? 1L : 0L);
	SET(CURLOPT_MAXREDIRS, (long)WM_HTTP_REDIRECTS_MAX);
	if (o->unix_socket)
		SET(CURLOPT_UNIX_SOCKET_PATH, o->unix_socket);
	SET(CURLOPT_CONNECT_ONLY, o->connect_only ? 1L : 0L);
	/* what listens need not be HTTP, and may refuse who offers only that */
	SET(CURLOPT_SSL_ENABLE_ALPN, o->connect_only ? 0L : 1L);
	if (o->connect_only && o->http2)
		SET(CURLOPT_SSL_CTX_FUNCTION, offer_http2);
#undef SET
	return bad || !set_tls(call, o) ? -ENOMEM : 0;
}

int wm_http_call_set(struct wm_http_call *call, const struct wm_http_call_options *o)
{
	int err = set_headers(call, o);

	if (!err)
		err = set_url(call, o);
	if (!err)
		err = set_method(call, o);
	return err ? err : set_options(call, o);
}
