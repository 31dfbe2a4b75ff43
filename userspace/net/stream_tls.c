/* SPDX-License-Identifier: Apache-2.0 */
/* stream_tls.c - a stream of TLS. OpenSSL reads and writes through a BIO of ours: the socket's
 * would raise SIGPIPE, and would read on for as long as a peer sends records that carry no data
 * (key updates), which must not hold the loop. */
#include "tls_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define RECORD_MAX (16u << 10) /* octets of a record's data: RFC 8446 5.1 */
/* Key updates of a peer in a row, which nobody needs (RFC 8446 5.5: one for 2^24.5 records) and
 * each of which takes as long as many records of data; as many as BoringSSL takes. */
#define UPDATES_MAX 32

/* --- the socket --------------------------------------------------------------------------------
 */

/* Octets of this stream that may still be read in this turn. */
static size_t room_in_turn(struct wm_tls_state *st)
{
	if (st->turn != wm_loop_turns(st->loop)) {
		st->turn = wm_loop_turns(st->loop);
		st->read = 0;
	}
	return WM_TLS_TURN_MAX - st->read;
}

static int socket_read(BIO *b, char *buf, int len)
{
	struct wm_tls_state *st = BIO_get_data(b);
	size_t room = room_in_turn(st);
	ssize_t n = -1;

	BIO_clear_retry_flags(b);
	if (st->updates > UPDATES_MAX) {
		st->error = EPROTO;
		return -1;
	}
	errno = EAGAIN;
	if (room)
		n = recv(st->fd, buf, (size_t)len < room ? (size_t)len : room, MSG_DONTWAIT);
	if (n > 0)
		st->read += (size_t)n;
	else if (!n)
		st->eof = true;
	else if (errno == EAGAIN || errno == EINTR)
		BIO_set_retry_read(b);
	else
		st->error = errno;
	return (int)n;
}

static int socket_write(BIO *b, const char *buf, int len)
{
	struct wm_tls_state *st = BIO_get_data(b);
	ssize_t n = send(st->fd, buf, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);

	BIO_clear_retry_flags(b);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_write(b);
	else if (n < 0)
		st->error = errno;
	return (int)n;
}

static long socket_ctrl(BIO *b, int command, long num, void *ptr)
{
	(void)b;
	(void)num;
	(void)ptr;
	return command == BIO_CTRL_FLUSH; /* nothing is kept back */
}

static const BIO_METHOD *method(void)
{
	static BIO_METHOD *m; /* of the process, as OpenSSL's own are */

	if (m)
		return m;
	m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket of a peer");
	if (m) {
		BIO_meth_set_read(m, socket_read);
		BIO_meth_set_write(m, socket_write);
		BIO_meth_set_ctrl(m, socket_ctrl);
	}
	return m;
}

/* --- judging -----------------------------------------------------------------------------------
 */

int wm_tls_judge(int ok, X509_STORE_CTX *ctx)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct wm_tls_state *st = SSL_get_app_data(ssl);
	struct wm_identity who;
	struct wm_err why = {0};

	if (!ok || X509_STORE_CTX_get_error_depth(ctx))
		return ok;
	if (!wm_identity_of(X509_STORE_CTX_get_current_cert(ctx), &who, &why)) {
		if (strcmp(who.datacenter, st->datacenter) != 0)
			wm_err_set(&why, WM_E_INVALID, "it is of datacenter %s, not of %s",
				   who.datacenter, st->datacenter);
		else if (*st->node && strcasecmp(who.node, st->node) != 0)
			wm_err_set(&why, WM_E_INVALID, "it is that of node %s, not of %s", who.node,
				   st->node);
	}
	if (why.code) {
		snprintf(st->why, sizeof(st->why), "the peer's certificate is refused: %.180s",
			 why.text);
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_APPLICATION_VERIFICATION);
		return 0;
	}
	st->peer = who;
	return 1;
}

/* --- the stream --------------------------------------------------------------------------------
 */

static struct wm_tls_state *state(const struct wm_stream *s)
{
	return s->state;
}

/* Alerts by which a peer refuses our certificate; OpenSSL has them as reasons above 1000: RFC 8446
 * 6.2, bad_certificate to unknown_ca and access_denied, certificate_required. */
static bool refuses_ours(int reason)
{
	int alert = reason - SSL_AD_REASON_OFFSET;

	return (alert >= SSL_AD_NO_CERTIFICATE && alert <= SSL_AD_ACCESS_DENIED) ||
	       alert == SSL_AD_CERTIFICATE_REQUIRED;
}

/* Words for what ended it: the socket, a certificate, or the protocol, a peer's alert among it. */
static int broken(struct wm_tls_state *st)
{
	unsigned long code = ERR_peek_error();
	long verified = SSL_get_verify_result(st->ssl);
	const char *reason = ERR_reason_error_string(code);

	if (st->error)
		return -st->error;
	if (verified != X509_V_OK) {
		if (!*st->why)
			snprintf(st->why, sizeof(st->why), "the peer's certificate is refused: %s",
				 X509_verify_cert_error_string(verified));
		return -EACCES;
	}
	if (refuses_ours(ERR_GET_REASON(code))) {
		snprintf(st->why, sizeof(st->why), "the peer refuses our certificate: %s",
			 reason ? reason : "it does not say why");
		return -EACCES;
	}
	if (st->eof)
		return -ECONNRESET;
	snprintf(st->why, sizeof(st->why), "TLS: %s", reason ? reason : "the peer broke it off");
	return -EPROTO;
}

/* @return -EAGAIN, 0: the peer's farewell, other negative errno. */
static int failed(struct wm_tls_state *st, int rc)
{
	int what = SSL_get_error(st->ssl, rc);
	int err;

	if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE) {
		st->drained = true;
		st->wants_write = what == SSL_ERROR_WANT_WRITE;
		return -EAGAIN;
	}
	if (what == SSL_ERROR_ZERO_RETURN)
		return 0;
	err = broken(st);
	st->over = err;
	ERR_clear_error();
	return err;
}

static void on_message(int written, int version, int type, const void *data, size_t len, SSL *ssl,
		       void *arg)
{
	struct wm_tls_state *st = arg;

	(void)version;
	(void)ssl;
	if (!written && type == SSL3_RT_HANDSHAKE && len &&
	    *(const unsigned char *)data == SSL3_MT_KEY_UPDATE)
		st->updates++;
}

static int tls_handshake(struct wm_stream *s)
{
	struct wm_tls_state *st = state(s);
	int rc, err;

	if (st->over)
		return st->over;
	st->wants_write = false;
	st->drained = false;
	ERR_clear_error();
	rc = SSL_do_handshake(st->ssl);
	if (rc == 1)
		return 0;
	err = failed(st, rc);
	return err ? err : -ECONNRESET;
}

static ssize_t tls_read(struct wm_stream *s, void *buf, size_t len)
{
	struct wm_tls_state *st = state(s);
	size_t n;
	int rc;

	if (st->over)
		return st->over;
	st->wants_write = false;
	ERR_clear_error();
	st->drained = false;
	rc = SSL_read_ex(st->ssl, buf, len, &n);
	if (rc == 1)
		st->updates = 0;
	return rc == 1 ? (ssize_t)n : failed(st, rc);
}

/* Small parts go as one record. What is refused now is offered again later from the same octet on,
 * so OpenSSL, which has encrypted it by then, finds it the same. */
static ssize_t tls_write(struct wm_stream *s, const struct iovec *parts, int count)
{
	static char record[RECORD_MAX];
	struct wm_tls_state *st = state(s);
	size_t len = 0, n;
	int rc, err;

	if (st->over)
		return st->over;
	for (int i = 0; i < count && len < sizeof(record); i++) {
		n = sizeof(record) - len;
		n = parts[i].iov_len < n ? parts[i].iov_len : n;
		memcpy(record + len, parts[i].iov_base, n);
		len += n;
	}
	ERR_clear_error();
	rc = SSL_write_ex(st->ssl, record, len, &n);
	if (rc == 1)
		return (ssize_t)n;
	err = failed(st, rc);
	return err ? err : -EPIPE;
}

/* More records than one are read from the socket at once. A part of one is not held: the rest of it
 * is the socket's to tell of. */
static bool tls_holds(const struct wm_stream *s)
{
	const struct wm_tls_state *st = state(s);

	return !st->over &&
	       (SSL_pending(st->ssl) > 0 || (!st->drained && SSL_has_pending(st->ssl)));
}

static bool tls_wants_write(const struct wm_stream *s)
{
	return state(s)->wants_write;
}

static const char *tls_why(const struct wm_stream *s)
{
	return *state(s)->why ? state(s)->why : NULL;
}

static void tls_close(struct wm_stream *s)
{
	struct wm_tls_state *st = state(s);

	if (!st->over && SSL_is_init_finished(st->ssl))
		SSL_shutdown(st->ssl); /* as far as the socket takes it now */
	ERR_clear_error();
	SSL_free(st->ssl);
	free(st);
	s->state = NULL;
}

static const struct wm_stream_kind stream_tls = {.handshake = tls_handshake,
						 .wants_write = tls_wants_write,
						 .write = tls_write,
						 .read = tls_read,
						 .holds = tls_holds,
						 .why = tls_why,
						 .close = tls_close};

int wm_tls_stream_new(struct wm_stream *s, SSL *ssl, const struct wm_tls_state *like)
{
	struct wm_tls_state *st = malloc(sizeof(*st));
	BIO *b = method() ? BIO_new(method()) : NULL;

	if (!st || !b) {
		free(st);
		BIO_free(b);
		SSL_free(ssl);
		return -ENOMEM;
	}
	*st = *like;
	st->ssl = ssl;
	BIO_set_data(b, st);
	BIO_set_init(b, 1);
	SSL_set_bio(ssl, b, b);
	SSL_set_read_ahead(ssl, 1); /* a record's head is not read by itself */
	SSL_set_app_data(ssl, st);
	SSL_set_msg_callback(ssl, on_message);
	SSL_set_msg_callback_arg(ssl, st);
	s->kind = &stream_tls;
	s->state = st;
	return 0;
}

const struct wm_identity *wm_tls_peer(const struct wm_stream *s)
{
	return s->kind == &stream_tls ? &state(s)->peer : NULL;
}
