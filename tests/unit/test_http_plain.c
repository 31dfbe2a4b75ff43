/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net */
/* Requests that are read without evhttp, beside evhttp: what comes in two pieces is read by it. */
#include "http_help.h"

TestSuite(http_plain, .init = setup, .fini = teardown, .timeout = 300);

/* Send @p text in two pieces, or whole. What was heard is in `got`, without Date. @return whether
 * evhttp was given it. */
static bool by_evhttp(const char *text, bool pieces)
{
	uint64_t before;
	char *date;
	int fd = dial();

	UNTIL(wm_http_connections(server) == 1);
	before = server->searched;
	got_len = 0;
	got[0] = seen[0] = body_seen[0] = 0;
	if (pieces) {
		cr_assert_eq(send(fd, text, 3, MSG_NOSIGNAL), 3);
		UNTIL(server->searched > before);
	}
	say(fd, text + (pieces ? 3 : 0));
	UNTIL(whole(fd));
	close(fd);
	UNTIL(wm_http_connections(server) == 0);
	date = strstr(got, "Date: ");
	if (date)
		memset(date + 6, 'x', 29);
	return server->searched > before;
}

struct sent {
	bool plain;
	const char *text;
};

Test(http_plain, what_is_read_past_evhttp_is_what_evhttp_reads)
{
	static const struct sent all[] = {
		{true, "GET /a HTTP/1.1\r\n" HOST "\r\n"},
		{true, "GET /a?x=1&y=b+c&flag&=e HTTP/1.1\r\n" HOST "\r\n"},
		{true, "GET / HTTP/1.1\r\nhOST:localhost:1\r\n\r\n"},
		{true, "GET /a?x=1/2:3@4 HTTP/1.1\r\n" HOST "Accept: */*\r\nA: b c;d\r\n\r\n"},
		{true, "PUT /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"},
		{true, "PUT /a HTTP/1.1\r\n" HOST "Content-Length: 00000005\r\n\r\nhel\r\n"},
		{true, "PUT /a HTTP/1.1\r\n" HOST "\r\n"},
		{true, "POST /a HTTP/1.1\r\ncontent-length: 0\r\n" HOST "\r\n"},
		{true, "DELETE /a HTTP/1.1\r\n" HOST "Content-Length: 2\r\n"
		       "connection: Keep-Alive\r\n\r\n{}"},
		{true, "GET /a:b HTTP/1.1\r\n" HOST "\r\n"},
		{false, "PUT /b%2Fc?x=%41 HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"},
		{false, "GET /a?x=%4 HTTP/1.1\r\n" HOST "\r\n"},
		{false, "GET /a?x=1?2 HTTP/1.1\r\n" HOST "\r\n"},
		{false, "GET /a? HTTP/1.1\r\n" HOST "\r\n"},
		{false, "GET //a/b HTTP/1.1\r\n" HOST "\r\n"},
		{false, "GET /a#b HTTP/1.1\r\n" HOST "\r\n"},
		{false, "GET /a HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n"},
		{false, "GET /a HTTP/1.1\r\n" HOST "Connection: keep-alive\r\n\r\n"},
		{false,
		 "GET /a HTTP/1.1\r\n" HOST "Connection: close\r\nContent-Length: 0\r\n\r\n"},
		{false, "GET /a HTTP/1.1\n" HOST "\r\n"},
		{false, "GET /a HTTP/1.1\r\nHost: 127.0.0.1\n\r\n"},
		{false, "GET  /a HTTP/1.1\r\n" HOST "\r\n"},
		{false, "GET /a  HTTP/1.1\r\n" HOST "\r\n"},
		{false, "GET /a\tb HTTP/1.1\r\n" HOST "\r\n"},
		{false, "GET http://127.0.0.1/a HTTP/1.1\r\n" HOST "\r\n"},
		{false, "FOO /a HTTP/1.1\r\n" HOST "\r\n"},
		{false, "get /a HTTP/1.1\r\n" HOST "\r\n"},
		{false, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"},
		{false, "GET /a HTTP/1.1\r\n\r\n"},
		{false, "GET /a HTTP/1.1\r\nHost: evil.example\r\n\r\n"},
		{false, "GET /a HTTP/1.1\r\n" HOST HOST "\r\n"},
		{false, "GET /a HTTP/1.1\r\n" HOST "A: b\r\n folded\r\n\r\n"},
		{false, "GET /a HTTP/1.1\r\n" HOST "A : b\r\n\r\n"},
		{false, "GET /a HTTP/1.1\r\n" HOST "A:  b\r\n\r\n"},
		{false, "GET /a HTTP/1.1\r\n" HOST "A: \r\n\r\n"},
		{false, "GET /a HTTP/1.1\r\n" HOST "A: b\tc\r\n\r\n"},
		{false, "GET /a HTTP/1.1\r\n" HOST "A: b\rc\r\n\r\n"},
		{false, "GET /a HTTP/1.1\r\n" HOST "A: \xc3\xa4\r\n\r\n"},
		{false, "GET /a HTTP/1.1\r\n" HOST ": b\r\n\r\n"},
		{false, "PUT /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n"
			"Content-Length: 5\r\n\r\nhello"},
		{false, "PUT /a HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\nhello"},
		{false, "PUT /a HTTP/1.1\r\n" HOST "Content-Length: 000000005\r\n\r\nhello"},
		{false, "PUT /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello\r\n"},
		{false, "PUT /a HTTP/1.1\r\n" HOST
			"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{false, "PUT /a HTTP/1.1\r\n" HOST
			"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n\r\n"},
	};
	char answer[sizeof(seen)], params[sizeof(seen)], body[sizeof(body_seen)];

	start();
	for (size_t n = 0; n < WM_ARRAY_LEN(all); n++) {
		cr_assert_neq(by_evhttp(all[n].text, false), all[n].plain, "%s", all[n].text);
		strcpy(answer, got);
		strcpy(params, seen);
		strcpy(body, body_seen);
		cr_assert(by_evhttp(all[n].text, true), "%s", all[n].text);
		cr_assert_str_eq(got, answer, "%s\n%s", all[n].text, answer);
		cr_assert_str_eq(seen, params, "%s", all[n].text);
		cr_assert_str_eq(body_seen, body, "%s", all[n].text);
	}
}
