/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_serve.c - queries that are not ours to answer: which ones these are, who waits for each,
 * and what he is sent. Spec: RFC 1034 4.3.1, RFC 5625, RFC 7766 6.2.1.1 (order of answers). */
#include "upstream_internal.h"
#include "userspace/base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CONTROL_MAX   64  /* octets of a datagram's control message: the address that was asked */
#define TYPE_META_MIN 249 /* TKEY: from here on types of transactions, up to ANY */
#define TYPE_HINFO    13
#define CROSSED_MAX   4	   /* times that aliases of others may lead to us: else they go round */
#define ANY_TTL_S     3600 /* of what ANY is answered with: long, as RFC 8482 6 has it */

struct wm_dns_passed {
	LIST_ENTRY(wm_dns_passed) entry;
	struct wm_dns_server *s;
	struct wm_dns_conn *conn; /* NULL: a datagram */
	struct wm_upstream_question *question;
	struct wm_dns_query q;
	int fd; /* a socket of ours, which live as long as the server */
	struct sockaddr_storage from;
	socklen_t from_len;
	size_t control_len, len;
	uint8_t *before;   /* records that lead to what is asked now; NULL: the client asked it */
	size_t before_len; /* as in struct wm_upstream_shape */
	uint16_t before_count;
	unsigned crossed;	    /* times that others' aliases led to names of ours */
	unsigned waits;		    /* for what these names lead to */
	unsigned aliases;	    /* times that an alias alone was asked for */
	bool alias, late;	    /* just now, for they had SERVFAIL; or nothing to say */
	bool unsecured;		    /* what is before is so by nobody's signature */
	uint8_t asked[WM_NAME_BUF]; /* of others now, folded, zeros behind */
	uint8_t control[CONTROL_MAX] __attribute__((aligned(8)));
	bool asking, done;
	uint64_t begun_ns;
	unsigned anew;		 /* of the server, when it was asked */
	enum wm_dns_level level; /* that answered */
	unsigned side;		 /* of the resolvers: wm_hot_side() */
	/* what they said, while a service of ours that it leads to is looked up, its packet a copy;
	 * NULL: none is */
	struct wm_unbound_answer said;
	uint8_t query[];
};

static void forget_said(struct wm_dns_passed *p)
{
	free((void *)(uintptr_t)p->said.packet);
	p->said = (struct wm_unbound_answer){0};
}

static void passed_free(struct wm_dns_passed *p)
{
	forget_said(p);
	free(p->before);
	free(p);
}

/* The name of a query in lower case, zeros behind. */
static void fold_name(const uint8_t *query, const struct wm_dns_query *q,
		      uint8_t folded[WM_NAME_BUF])
{
	const uint8_t *name = query + WM_DNS_HEADER_LEN;

	memset(folded, 0, WM_NAME_BUF);
	for (unsigned i = 0; i < q->name_len; i++)
		folded[i] =
			name[i] >= 'A' && name[i] <= 'Z' ? (uint8_t)(name[i] + 'a' - 'A') : name[i];
}

bool wm_dns_may_keep(struct wm_dns_server *s, const uint8_t *query, const struct wm_dns_query *q)
{
	uint8_t folded[WM_NAME_BUF];
	struct wm_dns_ask ask;

	fold_name(query, q, folded);
	wm_ask_parse(s, folded, q->name_len, &ask);
	return ask.kind == WM_ASK_OUTSIDE;
}

static bool is_of_others(const struct wm_dns_server *s, const struct wm_dns_ask *ask, uint16_t type)
{
	return ask->kind == WM_ASK_OUTSIDE ||
	       (ask->kind == WM_ASK_REVERSE && wm_reverse_elsewhere(s, ask, type));
}

/* Folds the name into @p folded. */
static bool is_elsewhere(const struct wm_dns_server *s, const uint8_t *query, size_t len,
			 struct wm_dns_query *q, uint8_t folded[WM_NAME_BUF])
{
	struct wm_dns_ask ask;

	if (len < WM_DNS_HEADER_LEN || len > UINT16_MAX ||
	    query[2] & ((WM_DNS_QR | WM_DNS_OPCODE) >> 8) || !(query[2] & (WM_DNS_RD >> 8)) ||
	    wm_dns_parse(query, (uint32_t)len, q) != WM_DNS_OK)
		return false;
	if (q->class != WM_DNS_IN || !q->type || q->type == WM_DNS_OPT ||
	    (q->type >= TYPE_META_MIN && q->type < WM_DNS_ANY))
		return false;
	fold_name(query, q, folded);
	wm_ask_parse(s, folded, q->name_len, &ask);
	return is_of_others(s, &ask, q->type);
}

/* Whose names the aliases of an answer lead to. */
struct leads {
	const struct wm_dns_server *s;
	uint16_t type;
	uint16_t records; /* of the answer, up to the alias of a name that is ours; 0: none is */
	size_t len;	  /* of that name */
	uint8_t name[WM_NAME_BUF];
	bool changing; /* one is of an address: whose that is may change at any time */
	bool below;    /* one is of others below a name of the operator's: it was not asked for */
};

static bool is_ours(void *arg, const uint8_t *folded, size_t len)
{
	struct leads *l = arg;
	struct wm_dns_ask ask;

	wm_ask_parse(l->s, folded, len, &ask);
	l->changing |= ask.kind == WM_ASK_REVERSE;
	if (is_of_others(l->s, &ask, l->type)) {
		l->below |= wm_upstream_below(l->s->fixed, folded);
		return false;
	}
	l->len = len;
	memcpy(l->name, folded, len);
	return true;
}

static void find_leads(const struct wm_dns_server *s, const uint8_t asked[WM_NAME_BUF],
		       uint16_t type, const struct wm_unbound_answer *a, struct leads *ret)
{
	*ret = (struct leads){.s = s, .type = type};
	if (a && type != WM_DNS_CNAME)
		ret->records = wm_upstream_chain(a->packet, a->len, asked, is_ours, ret);
}

static void note(struct wm_dns_server *s, const struct wm_upstream_made *made)
{
	static const uint8_t by_rcode[] = {
		[WM_DNS_NOERROR] = WM_DNS_C_NODATA,    [WM_DNS_FORMERR] = WM_DNS_C_FORMERR,
		[WM_DNS_SERVFAIL] = WM_DNS_C_SERVFAIL, [WM_DNS_NXDOMAIN] = WM_DNS_C_NXDOMAIN,
		[WM_DNS_NOTIMP] = WM_DNS_C_NOTIMP,     [WM_DNS_REFUSED] = WM_DNS_C_REFUSED};
	bool found = made->rcode > WM_DNS_REFUSED ||
		     (made->rcode == WM_DNS_NOERROR && (made->put[0] || made->truncated));

	s->counters[found ? WM_DNS_C_ANSWERED : by_rcode[made->rcode]]++;
	s->counters[WM_DNS_C_TRUNCATED] += made->truncated;
}

static bool make(struct wm_dns_server *s, const struct wm_upstream_shape *shape, size_t cap,
		 enum wm_upstream_code code, const struct wm_unbound_answer *a,
		 struct wm_upstream_made *ret)
{
	if (code != WM_UPSTREAM_ANSWERED || !a ||
	    !wm_upstream_answer(&s->reply.w, shape, a->packet, a->len, s->answer, cap, ret)) {
		wm_upstream_error(&s->reply.w, shape,
				  code == WM_UPSTREAM_REFUSED ? WM_DNS_REFUSED : WM_DNS_SERVFAIL,
				  s->answer, cap, ret);
		return false;
	}
	if (ret->aged)
		wm_upstream_note_aged(s->upstream);
	return !ret->aged;
}

bool wm_dns_make_passed(struct wm_dns_server *s, const uint8_t *query, const struct wm_dns_query *q,
			size_t cap, enum wm_upstream_code code, const struct wm_unbound_answer *a,
			struct wm_upstream_made *ret)
{
	const struct wm_upstream_shape shape = {.query = query, .q = q, .secure = a && a->secure};
	uint8_t folded[WM_NAME_BUF];
	struct leads l;

	fold_name(query, q, folded);
	find_leads(s, folded, q->type, a, &l);
	return make(s, &shape, cap, code, a, ret) && !l.records && !l.changing && !l.below;
}

/* What others said leads to a name of ours: its records behind theirs, up to there, and what they
 * say of that name is not looked at. @return false: it is no answer. */
static bool put_ours(struct wm_dns_passed *p, struct wm_upstream_shape *shape, size_t cap,
		     const struct wm_unbound_answer *a, const struct leads *l,
		     struct wm_upstream_made *ret)
{
	struct wm_dns_server *s = p->s;
	struct wm_reply *r = &s->reply;

	r->lead_len = 0;
	shape->only = l->records;
	shape->secure = false; /* ours is not signed */
	if (p->crossed++ == CROSSED_MAX ||
	    !wm_upstream_begin(&r->w, shape, a->packet, a->len, s->answer, cap, ret) ||
	    ret->alias_at > WM_DNS_POINTER_MAX)
		return false;
	if (ret->aged && !p->said.packet)
		wm_upstream_note_aged(s->upstream);
	ret->rcode = WM_DNS_NOERROR;
	if (ret->truncated)
		return true;
	s->from = (struct sockaddr *)&p->from;
	wm_reply_led(s, &p->q, p->conn, l->name, l->len, ret->alias_at);
	s->from = NULL;
	ret->rcode = r->rcode;
	ret->truncated = r->truncated;
	ret->put[0] += r->answers;
	ret->put[1] += r->authorities;
	ret->put[2] += r->additionals;
	return r->rcode == WM_DNS_NOERROR || r->rcode == WM_DNS_NXDOMAIN;
}

static void on_brought(void *arg, int code);

/* Services of ours that the answer just made led to are looked up, and it is made anew then.
 * @return as wm_dns_ask_led(). */
static int wait_for_led(struct wm_dns_passed *p, const struct wm_unbound_answer *a)
{
	struct wm_dns_server *s = p->s;
	uint8_t *copy = NULL;
	int r = wm_dns_ask_led(s, &p->waits, on_brought, p);

	if (r != 1)
		return r;
	p->crossed--;
	p->question = NULL;
	if (p->said.packet)
		return 1;
	copy = malloc(a->len);
	if (!copy) {
		s->lookup.cancel(s->lookup.arg, p);
		return -ENOMEM;
	}
	memcpy(copy, a->packet, a->len);
	p->said = *a;
	p->said.packet = copy;
	return 1;
}

static bool goes_on(struct wm_dns_passed *p, uint16_t count);

/* @return 0: what there is leads on to others, who are asked, or to a service of ours that is
 * looked up; @p p may be gone. */
static size_t make_answer(struct wm_dns_passed *p, enum wm_upstream_code code,
			  const struct wm_unbound_answer *a)
{
	struct wm_dns_server *s = p->s;
	struct wm_dns_extra extra;
	struct wm_upstream_shape shape = {.query = p->query,
					  .q = &p->q,
					  .secure = a && a->secure && !p->unsecured,
					  .before = p->before,
					  .before_len = p->before_len,
					  .before_count = p->before_count,
					  .extra = &extra};
	struct wm_upstream_made made = {0};
	struct leads l;
	int waits = 0;
	size_t cap = p->conn			       ? WM_DNS_TCP_MAX
		     : p->q.udp_size < WM_DNS_EDNS_MAX ? p->q.udp_size
						       : WM_DNS_EDNS_MAX;

	wm_dns_extra_of_query(s, (struct sockaddr *)&p->from, p->query, p->len, &p->q, false,
			      &extra);
	find_leads(s, p->asked, p->q.type, a, &l);
	if (l.records)
		waits = put_ours(p, &shape, cap, a, &l, &made) ? wait_for_led(p, a) : -EIO;
	if (waits == 1)
		return 0;
	if (!l.records) {
		/* what an alias of ours leads to is not what others say of its name, nor is what
		 * was asked before the servers changed */
		if (make(s, &shape, cap, code, a, &made) && !p->conn && !p->before && !l.changing &&
		    p->anew == s->anew && wm_dns_may_keep(s, p->query, &p->q))
			wm_hot_answered(s->hot, &p->q, s->answer, made.len, p->side);
	} else if (waits) {
		wm_upstream_error(&s->reply.w, &shape, WM_DNS_SERVFAIL, s->answer, cap, &made);
	} else if (goes_on(p, made.put[0])) {
		return 0;
	} else {
		wm_upstream_finish(&s->reply.w, &shape, &made);
	}
	wm_dns_note_cookie(s, &extra);
	p->level = made.aged	     ? WM_DNS_LEVEL_STALE
		   : a && a->second  ? WM_DNS_LEVEL_SECOND
		   : a && a->at_once ? WM_DNS_LEVEL_CACHE
				     : WM_DNS_LEVEL_UPSTREAM;
	note(s, &made);
	return made.len;
}

static void send_datagram(struct wm_dns_passed *p, size_t len)
{
	struct iovec iov = {p->s->answer, len};
	struct msghdr h = {.msg_name = &p->from,
			   .msg_namelen = p->from_len,
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = p->control_len ? p->control : NULL,
			   .msg_controllen = p->control_len};

	if (sendmsg(p->fd, &h, MSG_DONTWAIT) < 0)
		p->s->counters[WM_DNS_C_UNSENT]++;
}

static void ask_others(struct wm_dns_passed *p);

/* Servers that follow aliases by themselves have SERVFAIL for a whole chain that leads to a name of
 * ours, of which they know nothing. So the alias alone is asked for. @return false: it is not. */
static bool ask_alias(struct wm_dns_passed *p)
{
	if (p->q.type == WM_DNS_CNAME || p->aliases == WM_DNS_CHAIN_MAX)
		return false;
	p->aliases++;
	p->alias = true;
	p->question = NULL;
	ask_others(p);
	return true;
}

static bool take_name(void *arg, const uint8_t *folded, size_t len)
{
	struct leads *l = arg;

	l->len = len;
	memcpy(l->name, folded, len);
	return true;
}

/* The alias alone came, which leads to others: they are asked what it leads to. @return false: they
 * are not, and there is no answer. */
static bool follow_alias(struct wm_dns_passed *p, const struct wm_unbound_answer *a)
{
	struct wm_upstream_shape shape = {.query = p->query,
					  .q = &p->q,
					  .before = p->before,
					  .before_len = p->before_len,
					  .before_count = p->before_count};
	struct wm_reply *r = &p->s->reply;
	struct wm_upstream_made made;
	struct leads l = {0};

	shape.only = wm_upstream_chain(a->packet, a->len, p->asked, take_name, &l);
	if (!shape.only || !wm_upstream_begin(&r->w, &shape, a->packet, a->len, p->s->answer,
					      WM_DNS_TCP_MAX, &made))
		return false;
	r->truncated = false;
	memcpy(r->lead, l.name, sizeof(r->lead));
	r->lead_len = l.len;
	r->lead_end = r->w.len;
	p->unsecured = true;
	return goes_on(p, made.put[0]);
}

/* Of a question that a server failed, and of one for an alias alone. @return false: the client is
 * told what there is, or, where @p a is NULL then, that there is nothing. */
static bool asks_alias(struct wm_dns_passed *p, enum wm_upstream_code *code,
		       const struct wm_unbound_answer **a)
{
	bool alias = p->alias;
	struct leads l;

	p->alias = false;
	p->late |= *code == WM_UPSTREAM_LATE;
	if (!alias)
		return (*code == WM_UPSTREAM_UNSURE || *code == WM_UPSTREAM_LATE) && ask_alias(p);
	if (*code == WM_UPSTREAM_ANSWERED && *a) {
		find_leads(p->s, p->asked, p->q.type, *a, &l);
		if (l.records)
			return false;
		if (follow_alias(p, *a))
			return true;
	}
	*code = WM_UPSTREAM_SERVFAIL;
	*a = NULL;
	return false;
}

/* What was said leads below a name of the operator's, which is a zone of ours to who said it.
 * @return false: it does not, or there is no answer, where @p a is NULL then. */
static bool goes_below(struct wm_dns_passed *p, enum wm_upstream_code *code,
		       const struct wm_unbound_answer **a)
{
	struct leads l;

	if (*code != WM_UPSTREAM_ANSWERED || !*a || !p->s->fixed)
		return false;
	find_leads(p->s, p->asked, p->q.type, *a, &l);
	if (l.records || !l.below)
		return false;
	if (p->crossed++ < CROSSED_MAX && follow_alias(p, *a))
		return true;
	*code = WM_UPSTREAM_SERVFAIL;
	*a = NULL;
	return false;
}

static void on_result(void *arg, enum wm_upstream_code code, const struct wm_unbound_answer *a)
{
	struct wm_dns_passed *p = arg;
	struct wm_dns_conn *conn = p->conn;
	struct wm_dns_server *s = p->s;
	size_t len;

	if (asks_alias(p, &code, &a) || goes_below(p, &code, &a))
		return;
	len = make_answer(p, code, a);
	if (!len)
		return;
	wm_dns_note(s, &(struct wm_dns_made){(struct sockaddr *)&p->from, conn, p->level, p->query,
					     p->len, s->answer, len, wm_clock_ns() - p->begun_ns});
	LIST_REMOVE(p, entry);
	s->passed_count--;
	p->done = true;
	if (!conn)
		send_datagram(p, len);
	if (!p->asking)
		passed_free(p);
	if (conn)
		wm_dns_conn_answered(conn, s->answer, len);
}

static void on_brought(void *arg, int code)
{
	struct wm_dns_passed *p = arg;
	struct wm_unbound_answer said = p->said;

	if (code)
		on_result(p, WM_UPSTREAM_SERVFAIL, NULL);
	else
		on_result(p, WM_UPSTREAM_ANSWERED, &said);
}

/* ANY is asked of nobody: answers to it are large, and no cache can say that it has all. One record
 * that is of no use stands in for all there may be (RFC 8482 4.2). */
static void answer_any(struct wm_dns_passed *p, const uint8_t *folded)
{
	static const uint8_t what[] = "\7RFC8482"; /* CPU; OS is empty: the NUL */
	uint8_t packet[WM_DNS_HEADER_LEN + WM_DNS_NAME_MAX + 10 + sizeof(what)] = {[7] = 1};
	struct wm_unbound_answer a = {.packet = packet};
	uint8_t *at = packet + WM_DNS_HEADER_LEN;

	memcpy(at, folded, p->q.name_len);
	at += p->q.name_len;
	at[1] = TYPE_HINFO;
	at[3] = WM_DNS_IN;
	at[6] = ANY_TTL_S >> 8;
	at[7] = ANY_TTL_S & 0xff;
	at[9] = sizeof(what);
	memcpy(at + 10, what, sizeof(what));
	a.len = (size_t)(at - packet) + 10 + sizeof(what);
	on_result(p, WM_UPSTREAM_ANSWERED, &a);
}

/* Of who has what the kernel has: it is the newest. */
static struct wm_upstream_question *ask_side(struct wm_dns_passed *p)
{
	uint8_t client[WM_DNS_CLIENT_LEN];
	unsigned how = p->q.flags & WM_DNS_CD ? 0 : WM_UPSTREAM_CHECKED;

	wm_dns_client_of(&p->from, client);
	p->side = p->alias ? 0 : wm_hot_side(p->s->hot, p->asked, p->q.type);
	how |= p->side ? WM_UPSTREAM_OTHER : 0;
	how |= p->alias ? WM_UPSTREAM_ALIAS : 0;
	how |= p->late ? WM_UPSTREAM_BRIEF : 0;
	return wm_upstream_ask(p->s->upstream, p->asked, p->alias ? WM_DNS_CNAME : p->q.type,
			       client, how, on_result, p);
}

/* @p p may be gone after it. */
static void ask_others(struct wm_dns_passed *p)
{
	struct wm_upstream_question *question = NULL;
	bool within = p->asking;

	p->asking = true;
	if (p->q.type == WM_DNS_ANY)
		answer_any(p, p->asked);
	else
		question = ask_side(p);
	/* an answer that came at once may have led to another question */
	if (question)
		p->question = question;
	p->asking = within;
	if (p->done && !within)
		passed_free(p);
}

static void pass(struct wm_dns_passed *p, const uint8_t *folded, struct wm_dns_passed_list *list)
{
	LIST_INSERT_HEAD(list, p, entry);
	p->s->passed_count++;
	memcpy(p->asked, folded, sizeof(p->asked));
	ask_others(p);
}

/* Remember the records of the message that was just made, which lead to a name of others.
 * @return false: without memory. */
static bool keep_before(struct wm_dns_passed *p, uint16_t count)
{
	const struct wm_reply *r = &p->s->reply;
	size_t question = WM_DNS_HEADER_LEN + p->q.name_len + 4u, len = r->lead_end - question;
	uint8_t *before = malloc(len);

	if (!before)
		return false;
	memcpy(before, r->w.out + question, len);
	free(p->before);
	p->before = before;
	p->before_len = len;
	p->before_count = count;
	return true;
}

/* Where what was just made leads to a name of others, ask them. @return false: it does not. Else
 * @p p may be gone. */
static bool goes_on(struct wm_dns_passed *p, uint16_t count)
{
	const struct wm_reply *r = &p->s->reply;

	/* the question that was answered is over */
	if (!r->lead_len || r->truncated || !keep_before(p, count))
		return false;
	p->question = NULL;
	forget_said(p);
	memcpy(p->asked, r->lead, sizeof(p->asked));
	ask_others(p);
	return true;
}

static struct wm_dns_passed *passed_new(struct wm_dns_server *s, const struct wm_dns_query *q,
					const uint8_t *query, size_t len, int fd)
{
	struct wm_dns_passed *p = malloc(sizeof(*p) + len);

	if (!p)
		return NULL;
	memset(p, 0, sizeof(*p));
	p->s = s;
	p->begun_ns = wm_clock_ns();
	p->q = *q;
	p->fd = fd;
	p->len = len;
	p->anew = s->anew;
	memcpy(p->query, query, len);
	return p;
}

static void from_datagram(struct wm_dns_passed *p, const struct msghdr *h)
{
	p->from_len = h->msg_namelen < sizeof(p->from) ? h->msg_namelen : sizeof(p->from);
	memcpy(&p->from, h->msg_name, p->from_len);
	p->control_len = h->msg_controllen <= sizeof(p->control) ? h->msg_controllen : 0;
	memcpy(p->control, h->msg_control, p->control_len);
}

static void from_conn(struct wm_dns_passed *p, struct wm_dns_conn *c, int fd)
{
	p->conn = c;
	p->from_len = sizeof(p->from);
	if (getpeername(fd, (struct sockaddr *)&p->from, &p->from_len))
		p->from.ss_family = AF_INET; /* it is gone already */
}

bool wm_dns_pass_datagram(struct wm_dns_server *s, int fd, const struct msghdr *h, size_t len)
{
	const uint8_t *query = h->msg_iov->iov_base;
	uint8_t folded[WM_NAME_BUF];
	struct wm_dns_passed *p;
	struct wm_dns_query q;

	if (!s->upstream || !is_elsewhere(s, query, len, &q, folded))
		return false;
	p = passed_new(s, &q, query, len, fd);
	if (!p)
		return false; /* refused, as without upstream */
	from_datagram(p, h);
	pass(p, folded, &s->passed);
	return true;
}

bool wm_dns_pass_query(struct wm_dns_server *s, struct wm_dns_conn *c, int fd,
		       struct wm_dns_passed_list *list, const uint8_t *query, size_t len)
{
	uint8_t folded[WM_NAME_BUF];
	struct wm_dns_passed *p;
	struct wm_dns_query q;

	if (!s->upstream || !is_elsewhere(s, query, len, &q, folded))
		return false;
	p = passed_new(s, &q, query, len, fd);
	if (!p)
		return false;
	from_conn(p, c, fd);
	pass(p, folded, list);
	return true;
}

/* --- aliases that lead to names of others -------------------------------------------------------
 */
/* @return NULL: the answer that was just made has all that there is to say. */
static struct wm_dns_passed *led(struct wm_dns_server *s, const uint8_t *query, size_t len, int fd)
{
	const struct wm_reply *r = &s->reply;
	struct wm_dns_passed *p;

	if (!s->upstream || !r->lead_len || r->truncated || !(r->q.flags & WM_DNS_RD) ||
	    r->q.class != WM_DNS_IN)
		return NULL;
	p = passed_new(s, &r->q, query, len, fd);
	if (!p || !keep_before(p, r->answers)) {
		free(p);
		return NULL; /* the alias alone, as without upstream */
	}
	wm_dns_unsay(s); /* what comes of it is its outcome */
	return p;
}

bool wm_dns_lead_datagram(struct wm_dns_server *s, int fd, const struct msghdr *h, size_t len)
{
	struct wm_dns_passed *p = led(s, h->msg_iov->iov_base, len, fd);

	if (!p)
		return false;
	from_datagram(p, h);
	pass(p, s->reply.lead, &s->passed);
	return true;
}

bool wm_dns_lead_query(struct wm_dns_server *s, struct wm_dns_conn *c, int fd,
		       struct wm_dns_passed_list *list, const uint8_t *query, size_t len)
{
	struct wm_dns_passed *p = led(s, query, len, fd);

	if (!p)
		return false;
	from_conn(p, c, fd);
	pass(p, s->reply.lead, list);
	return true;
}

unsigned wm_dns_waiting(const struct wm_dns_server *s)
{
	return s->passed_count + s->parked_count;
}

static void give_up(struct wm_dns_passed *p)
{
	struct wm_dns_server *s = p->s;

	s->counters[WM_DNS_C_GONE]++;
	s->passed_count--;
	wm_upstream_cancel(p->question);
	if (p->said.packet)
		s->lookup.cancel(s->lookup.arg, p);
	LIST_REMOVE(p, entry);
	passed_free(p);
}

void wm_dns_unpass(struct wm_dns_passed_list *list)
{
	while (!LIST_EMPTY(list))
		give_up(LIST_FIRST(list));
}

bool wm_dns_unpass_led(struct wm_dns_passed_list *list)
{
	struct wm_dns_passed *p, *next;
	bool any = false;

	for (p = LIST_FIRST(list); p; p = next) {
		next = LIST_NEXT(p, entry);
		if (!p->said.packet)
			continue;
		any = true;
		give_up(p);
	}
	return any;
}
