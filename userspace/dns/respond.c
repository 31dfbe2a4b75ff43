/* SPDX-License-Identifier: Apache-2.0 */
/* respond.c - one query in, one answer out. Spec: RFC 1035, 2308 (negative answers), 6891 (EDNS),
 * 8482 (ANY), 8020 (a name with names below it exists). */
#include "internal.h"
#include "userspace/base/clock.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define TYPE_IXFR 251
#define TYPE_MX	  15

static void count(struct wm_dns_server *s, enum wm_dns_counter c)
{
	s->counters[c]++;
}

/* --- what answers are made of ------------------------------------------------------------------
 */
void wm_reply_source(struct wm_reply *r, uint16_t source)
{
	for (unsigned i = 0; i < r->sources_count; i++)
		if (r->sources[i] == source)
			return;
	if (r->sources_count < WM_READY_SOURCES)
		r->sources[r->sources_count++] = source;
	else
		r->changing = true; /* there is no place to tell of it */
}

static void node_source(struct wm_reply *r, const char *folded)
{
	wm_reply_source(r, wm_ready_source(folded, strlen(folded)));
}

/* --- header ----------------------------------------------------------------------------------- */
static void put_header(uint8_t *out, const uint8_t *query, uint16_t flags, const uint16_t counts[4])
{
	memcpy(out, query, 2);
	out[2] = (uint8_t)(flags >> 8);
	out[3] = (uint8_t)flags;
	for (int i = 0; i < 4; i++) {
		out[4 + 2 * i] = (uint8_t)(counts[i] >> 8);
		out[5 + 2 * i] = (uint8_t)counts[i];
	}
}

/* An error about a message whose question was not read: the header alone, and an OPT if there was
 * one (RFC 6891 7). */
static size_t bare(struct wm_dns_server *s, const uint8_t *query, size_t len, uint16_t rcode,
		   uint8_t *out, size_t cap)
{
	uint16_t flags = (uint16_t)(query[2] << 8 | query[3]), counts[4] = {0};
	struct wm_dns_query q;

	if (cap < WM_DNS_HEADER_LEN + WM_DNS_OPT_LEN)
		return 0;
	wm_write_begin(&s->reply.w, out, cap);
	if (wm_dns_opt_of(query, len, &q)) {
		wm_put_opt(&s->reply.w, 0, q.edns_flags, NULL);
		counts[3] = 1;
	}
	put_header(out, query,
		   (uint16_t)(WM_DNS_QR | (flags & (WM_DNS_OPCODE | WM_DNS_RD)) | rcode), counts);
	return s->reply.w.len;
}

/* --- records of the domain itself ------------------------------------------------------------- */
static const uint8_t *domain_of(const struct wm_reply *r, size_t *ret_len)
{
	if (r->ask.kind != WM_ASK_KUBE)
		return wm_tables_domain(r->s->tables, r->ask.alt, ret_len);
	*ret_len = wm_kube_zone(r->s->kube)->len;
	return wm_kube_zone(r->s->kube)->wire;
}

/* <label>.<domain>, for names that we made up ourselves. */
static void below_domain(const struct wm_reply *r, const char *label,
			 uint8_t out[WM_DNS_NAME_MAX + 1])
{
	size_t len, at;
	const uint8_t *domain = domain_of(r, &len);

	at = wm_wire_label(out, 0, label, strlen(label));
	if (at + len > WM_DNS_NAME_MAX)
		at = 0; /* a domain that long has no such name: the domain stands in */
	memcpy(out + at, domain, len);
}

/* The same in the message, the domain alone by a pointer: the kernel knows where that is, not what
 * else of the name the question has. */
static void put_below_domain(struct wm_reply *r, const char *label)
{
	size_t len;
	const uint8_t *domain = domain_of(r, &len);

	if (1 + strlen(label) + len <= WM_DNS_NAME_MAX) {
		wm_put8(&r->w, (uint8_t)strlen(label));
		wm_put_bytes(&r->w, label, strlen(label));
	}
	wm_put_name(&r->w, domain);
}

static bool put_soa(struct wm_reply *r, uint32_t ttl_s)
{
	size_t len;
	const uint8_t *zone = r->zone ? r->zone : domain_of(r, &len);
	size_t begin = r->w.len, at = wm_rr_begin(&r->w, zone, WM_DNS_SOA, ttl_s);

	put_below_domain(r, "ns");
	put_below_domain(r, "hostmaster");
	r->serial_at = r->w.len;
	wm_put32(&r->w, (uint32_t)wm_clock_wall_s());
	wm_put32(&r->w, WM_DNS_SOA_REFRESH_S);
	wm_put32(&r->w, WM_DNS_SOA_RETRY_S);
	wm_put32(&r->w, WM_DNS_SOA_EXPIRE_S);
	wm_put32(&r->w, r->s->c.negative_ttl_s);
	return wm_rr_end(&r->w, begin, at);
}

static bool node_address(const struct wm_node *n, bool is6, const uint8_t **ret)
{
	*ret = is6 ? n->addr6.s6_addr : (const uint8_t *)&n->addr4;
	return is6 ? !IN6_IS_ADDR_UNSPECIFIED(&n->addr6) : n->addr4.s_addr != 0;
}

static void put_ns(struct wm_reply *r)
{
	uint8_t name[WM_DNS_NAME_MAX + 1];
	size_t begin = r->w.len, at;
	const uint8_t *addr;

	node_source(r, wm_registry_node(r->s->registry)->folded);
	at = wm_rr_begin(&r->w, r->question, WM_DNS_NS, r->ttl_s);
	below_domain(r, "ns", name);
	wm_put_name(&r->w, name);
	r->answers += wm_rr_end(&r->w, begin, at);
	for (int is6 = 0; is6 < 2; is6++) {
		if (!node_address(wm_registry_node(r->s->registry), is6, &addr))
			continue;
		begin = r->w.len;
		at = wm_rr_begin(&r->w, name, is6 ? WM_DNS_AAAA : WM_DNS_A, r->ttl_s);
		wm_put_bytes(&r->w, addr, is6 ? 16 : 4);
		r->additionals += wm_rr_end(&r->w, begin, at);
	}
}

void wm_reply_apex(struct wm_reply *r)
{
	if (r->q.type == WM_DNS_SOA || r->q.type == WM_DNS_ANY)
		r->answers += put_soa(r, r->s->c.negative_ttl_s);
	else if (r->q.type == WM_DNS_NS)
		put_ns(r);
}

/* --- nodes ------------------------------------------------------------------------------------ */
/* RFC 1464: key=value. A key that begins with rfc1035- gives the bare value, as Consul does. */
static void put_txt(struct wm_reply *r, const struct wm_pair *p)
{
	size_t begin = r->w.len, at, len;
	char text[WM_META_KEY_MAX + WM_META_VALUE_MAX + 2];
	const char *s = text;

	snprintf(text, sizeof(text), "%s=%s", p->key, p->value);
	if (strncmp(p->key, "rfc1035-", 8) == 0)
		s = p->value;
	at = wm_rr_begin(&r->w, r->question, WM_DNS_TXT, r->ttl_s);
	do {
		len = strlen(s) > 255 ? 255 : strlen(s);
		wm_put8(&r->w, (uint8_t)len);
		wm_put_bytes(&r->w, s, len);
		s += len;
	} while (*s);
	if (wm_rr_end(&r->w, begin, at))
		r->answers++;
	else
		r->truncated = true;
}

static bool wants(const struct wm_reply *r, uint16_t type)
{
	return r->q.type == type || r->q.type == WM_DNS_ANY;
}

static void node_records(struct wm_reply *r, const struct wm_node *n)
{
	const uint8_t *addr;

	node_source(r, n->folded);
	for (int is6 = 0; is6 < 2; is6++)
		if (wants(r, is6 ? WM_DNS_AAAA : WM_DNS_A) && node_address(n, is6, &addr))
			wm_reply_address(r, is6, addr);
	if (r->q.type != WM_DNS_TXT)
		wm_reply_node_alias(r, n);
	for (unsigned i = 0; r->q.type == WM_DNS_TXT && i < n->meta_count; i++)
		put_txt(r, &n->meta[i]);
}

void wm_reply_own_node(struct wm_reply *r)
{
	node_records(r, wm_registry_node(r->s->registry));
}

static void answer_node(struct wm_reply *r)
{
	const struct wm_node *n = wm_registry_node_named(r->s->registry, r->ask.node);

	if (n) {
		node_records(r, n);
		return;
	}
	node_source(r, r->ask.node);
	if (!wm_places_node_below(r->s->places, r->ask.node))
		r->rcode = WM_DNS_NXDOMAIN;
}

/* --- services --------------------------------------------------------------------------------- */
static void answer_service(struct wm_reply *r)
{
	uint16_t before = r->answers;

	r->changing = true;
	if (!wm_reply_exists(r)) {
		if (!r->ask.branch && !wm_reply_has_below(r))
			r->rcode = WM_DNS_NXDOMAIN;
		return;
	}
	if (r->ask.srv_only) {
		if (wants(r, WM_DNS_SRV))
			wm_reply_srv(r);
		return;
	}
	if (r->q.type == WM_DNS_A || r->q.type == WM_DNS_AAAA)
		wm_reply_addresses(r, r->q.type);
	else if (r->q.type == WM_DNS_ANY && !wm_reply_addresses(r, WM_DNS_A))
		wm_reply_addresses(r, WM_DNS_AAAA); /* one set is an answer to ANY: RFC 8482 4.1 */
	else if (r->q.type == WM_DNS_SRV && r->ask.kind == WM_ASK_SERVICE)
		wm_reply_srv(r);
	if (r->answers == before && !r->truncated && r->rcode == WM_DNS_NOERROR &&
	    r->q.type != WM_DNS_SRV && r->ask.kind == WM_ASK_SERVICE)
		wm_reply_service_alias(r);
}

/* --- records of the operator's own --- */
static void put_static(struct wm_reply *r, const struct wm_static_record *x)
{
	size_t begin = r->w.len, at = wm_rr_begin(&r->w, r->question, x->type, x->ttl_s);
	size_t before = x->type == TYPE_MX ? 2 : x->type == WM_DNS_SRV ? 6 : 0;

	if (x->type == WM_DNS_SRV || x->type == TYPE_MX || x->type == WM_DNS_PTR) {
		wm_put_bytes(&r->w, x->data, before);
		if (x->type == WM_DNS_SRV)
			wm_put_name_plain(&r->w, x->data + before);
		else
			wm_put_name(&r->w, x->data + before);
	} else {
		wm_put_bytes(&r->w, x->data, x->len);
	}
	if (wm_rr_end(&r->w, begin, at))
		r->answers++;
	else
		r->truncated = true;
}

/* Of ANY the first set: RFC 8482 4.1. */
static void answer_static(struct wm_reply *r)
{
	const struct wm_static_name *n = r->ask.fixed;
	uint16_t type = r->q.type;

	if (!n->inside) /* nobody here has authority above it */
		r->zone = r->question;
	if (n->records && n->records->type == WM_DNS_CNAME) {
		r->ttl_s = n->records->ttl_s;
		(void)wm_reply_alias(r, n->records->data);
		return;
	}
	if (type == WM_DNS_ANY && n->records)
		type = n->records->type;
	for (const struct wm_static_record *x = n->records; x; x = x->next)
		if (x->type == type)
			put_static(r, x);
}

/* --- the whole -------------------------------------------------------------------------------- */
void wm_reply_answer(struct wm_reply *r)
{
	switch (r->ask.kind) {
	case WM_ASK_APEX:
		wm_reply_apex(r);
		break;
	case WM_ASK_NS:
		wm_reply_own_node(r);
		break;
	case WM_ASK_NODE:
		answer_node(r);
		break;
	case WM_ASK_SERVICE:
	case WM_ASK_VIRTUAL:
		answer_service(r);
		break;
	case WM_ASK_ADDR:
		if (wants(r, r->ask.is6 ? WM_DNS_AAAA : WM_DNS_A))
			wm_reply_address(r, r->ask.is6, r->ask.addr);
		break;
	case WM_ASK_QUERY:
		r->changing = true;
		wm_reply_query(r);
		break;
	case WM_ASK_REVERSE:
		wm_reply_reverse(r);
		break;
	case WM_ASK_STATIC:
		answer_static(r);
		break;
	case WM_ASK_KUBE:
		wm_reply_kube(r);
		break;
	case WM_ASK_BRANCH:
		break;
	case WM_ASK_NOTHING:
	case WM_ASK_OUTSIDE:
		r->rcode = WM_DNS_NXDOMAIN;
		break;
	}
}

/* OPT, header and counters. @return octets. */
static size_t finish(struct wm_reply *r, const uint8_t *query)
{
	uint16_t flags = wm_dns_answer_flags(r->q.flags, r->rcode), counts[4];
	struct wm_dns_server *s = r->s;

	/* of all classes nobody has authority: RFC 1035 6.2 */
	if ((r->rcode != WM_DNS_NOERROR && r->rcode != WM_DNS_NXDOMAIN) ||
	    r->q.class == WM_DNS_ANY_CLASS)
		flags &= (uint16_t)~WM_DNS_AA;
	if (r->truncated) {
		flags |= r->tcp || !s->c.cut_silently ? WM_DNS_TC : 0;
		count(s, WM_DNS_C_TRUNCATED);
	}
	if (r->q.edns) {
		wm_put_opt(&r->w, (uint8_t)(r->rcode >> 4), r->q.edns_flags, &r->extra);
		wm_dns_note_cookie(s, &r->extra);
		r->additionals++;
	}
	counts[0] = 1;
	counts[1] = r->answers;
	counts[2] = r->authorities;
	counts[3] = r->additionals;
	put_header(r->w.out, query, flags, counts);
	return r->w.len;
}

/* Can the class and type be answered at all? */
static uint16_t check_question(const struct wm_reply *r)
{
	if (r->q.edns_version)
		return WM_DNS_BADVERS;
	if (r->bad_options)
		return WM_DNS_FORMERR;
	if (r->q.type == WM_DNS_AXFR || r->q.type == TYPE_IXFR)
		return WM_DNS_NOTIMP;
	if (r->q.class != WM_DNS_IN && r->q.class != WM_DNS_ANY_CLASS)
		return WM_DNS_REFUSED;
	return r->ask.kind == WM_ASK_OUTSIDE ? WM_DNS_REFUSED : WM_DNS_NOERROR;
}

/* Each query is counted here once by its outcome, or where bare() answers it. */
static void note(struct wm_reply *r)
{
	static const uint8_t by_rcode[] = {
		[WM_DNS_NOERROR] = WM_DNS_C_NODATA,    [WM_DNS_FORMERR] = WM_DNS_C_FORMERR,
		[WM_DNS_SERVFAIL] = WM_DNS_C_SERVFAIL, [WM_DNS_NXDOMAIN] = WM_DNS_C_NXDOMAIN,
		[WM_DNS_NOTIMP] = WM_DNS_C_NOTIMP,     [WM_DNS_REFUSED] = WM_DNS_C_REFUSED,
		[WM_DNS_BADVERS] = WM_DNS_C_BADVERS};
	bool found = r->rcode == WM_DNS_NOERROR && (r->answers || r->truncated);

	r->outcome = found ? WM_DNS_C_ANSWERED : by_rcode[r->rcode];
	count(r->s, r->outcome);
}

void wm_dns_unsay(struct wm_dns_server *s)
{
	s->counters[s->reply.outcome]--;
	s->counters[WM_DNS_C_TRUNCATED] -= s->reply.truncated;
	if (s->reply.q.edns)
		wm_dns_unnote_cookie(s, &s->reply.extra);
}

_Static_assert(WM_DNS_HEADER_LEN + WM_DNS_NAME_MAX + 4 + WM_DNS_OPT_LEN +
			       sizeof(((struct wm_dns_extra *)0)->octets) <=
		       WM_DNS_UDP_MAX,
	       "question and OPT fit every answer");

uint32_t wm_service_ttl(const struct wm_reply *r, const char *service)
{
	uint32_t ttl_s = r->s->c.ttl_s;

	(void)wm_ttls_find(wm_tables_policy(r->s->tables)->ttls, service, &ttl_s);
	return ttl_s;
}

static uint32_t ttl_of(const struct wm_reply *r)
{
	if (r->ask.kind == WM_ASK_KUBE && r->ask.kube.form >= WM_KUBE_SERVICE)
		return wm_service_ttl(r, r->ask.kube.key);
	if (r->ask.kind != WM_ASK_SERVICE && r->ask.kind != WM_ASK_VIRTUAL)
		return r->s->c.node_ttl_s;
	return wm_service_ttl(r, r->ask.service);
}

void wm_reply_ask(struct wm_reply *r, const uint8_t *folded, size_t len)
{
	wm_ask_parse(r->s, folded, len, &r->ask);
	if (r->ask.kind == WM_ASK_VIRTUAL && !wm_tables_virtual(r->s->tables))
		r->ask.kind = WM_ASK_SERVICE; /* the address would lead nowhere */
	r->ttl_s = ttl_of(r);
	r->ordered = false;
}

static bool is_of_service(const struct wm_dns_ask *ask)
{
	return (ask->kind == WM_ASK_SERVICE || ask->kind == WM_ASK_VIRTUAL) && *ask->service;
}

void wm_reply_led_to(struct wm_reply *r)
{
	if (is_of_service(&r->ask) && r->led_count <= WM_DNS_CHAIN_MAX)
		memcpy(r->led[r->led_count++], r->ask.service, sizeof(r->ask.service));
}

bool wm_dns_service_of(struct wm_dns_server *s, const uint8_t *query, size_t len,
		       char ret[WM_DNS_SERVICE_MAX + 1])
{
	uint8_t folded[WM_NAME_BUF] = {0};
	const uint8_t *name = query + WM_DNS_HEADER_LEN;
	struct wm_dns_query q;
	struct wm_dns_ask ask;

	if (len < WM_DNS_HEADER_LEN || len > UINT16_MAX ||
	    query[2] & ((WM_DNS_QR | WM_DNS_OPCODE) >> 8) ||
	    wm_dns_parse(query, (uint32_t)len, &q) != WM_DNS_OK)
		return false;
	for (unsigned i = 0; i < q.name_len; i++)
		folded[i] =
			name[i] >= 'A' && name[i] <= 'Z' ? (uint8_t)(name[i] + 'a' - 'A') : name[i];
	wm_ask_parse(s, folded, q.name_len, &ask);
	if (!is_of_service(&ask))
		return false;
	memcpy(ret, ask.service, sizeof(ask.service));
	return true;
}

size_t wm_dns_servfail(struct wm_dns_server *s, const struct sockaddr *from, const uint8_t *query,
		       size_t len, bool tcp, uint8_t *out, size_t cap)
{
	s->reply.lead_len = 0;
	s->reply.w.opt_at = 0;
	count(s, WM_DNS_C_SERVFAIL);
	s->made = (struct wm_dns_made){.from = from,
				       .tcp = tcp,
				       .level = WM_DNS_LEVEL_OWN,
				       .query = query,
				       .len = len,
				       .answer = out};
	s->made.answer_len = bare(s, query, len, WM_DNS_SERVFAIL, out, cap);
	return s->made.answer_len;
}

/* Nothing of it is said yet. */
static void begin(struct wm_dns_server *s, const struct wm_dns_query *q, bool tcp)
{
	struct wm_reply *r = &s->reply;

	r->s = s;
	r->q = *q;
	r->tcp = tcp;
	r->truncated = false;
	r->zone = NULL;
	r->chain = r->led_count = 0;
	r->changing = false;
	memset(r->sources, 0, sizeof(r->sources));
	r->sources_count = 1; /* WM_READY_ALL */
	r->serial_at = 0;
	r->turns = 0;
	r->rcode = r->answers = r->authorities = r->additionals = 0;
}

/* Records of r->question, or that there are none. */
static void answer(struct wm_reply *r)
{
	wm_reply_answer(r);
	if (!r->answers && !r->truncated &&
	    (r->rcode == WM_DNS_NOERROR || r->rcode == WM_DNS_NXDOMAIN))
		r->authorities += put_soa(r, r->s->c.negative_ttl_s);
}

void wm_reply_led(struct wm_dns_server *s, const struct wm_dns_query *q, bool tcp,
		  const uint8_t *target, size_t len, size_t at)
{
	struct wm_reply *r = &s->reply;
	size_t from = r->w.len;

	begin(s, q, tcp);
	r->lead_len = 0;
	r->question = target;
	wm_reply_ask(r, target, len);
	wm_reply_led_to(r);
	answer(r);
	wm_reply_own(&r->w, from, at);
}

/* All but header and OPT, of a query whose question and OPT were read; r->extra and r->bad_options
 * are set. */
static void build(struct wm_dns_server *s, const uint8_t *query, const struct wm_dns_query *q,
		  bool tcp, uint8_t *out, size_t cap)
{
	struct wm_reply *r = &s->reply;
	uint8_t folded[WM_NAME_BUF] = {0};

	begin(s, q, tcp);
	r->question = query + WM_DNS_HEADER_LEN;
	for (unsigned i = 0; i < q->name_len; i++)
		folded[i] = r->question[i] >= 'A' && r->question[i] <= 'Z'
				    ? (uint8_t)(r->question[i] + 'a' - 'A')
				    : r->question[i];
	wm_reply_ask(r, folded, q->name_len);
	wm_write_begin(&r->w, out, cap - (q->edns ? WM_DNS_OPT_LEN + r->extra.len : 0));
	wm_put_question(&r->w, r->question, q->name_len, q->type, q->class);
	r->rcode = check_question(r);
	if (r->rcode == WM_DNS_NOERROR)
		answer(r);
	if (r->rcode == WM_DNS_SERVFAIL) { /* whatever was written of an answer: question only */
		r->w.len = WM_DNS_HEADER_LEN + q->name_len + 4u;
		r->answers = r->authorities = r->additionals = 0;
	}
}

/* --- answers that the kernel gives again -------------------------------------------------------
 */
static bool is_ready(const struct wm_reply *r)
{
	return !r->changing && !r->truncated && !r->lead_len && r->q.class == WM_DNS_IN &&
	       (r->rcode == WM_DNS_NOERROR || r->rcode == WM_DNS_NXDOMAIN);
}

/* The answer that was just made may be one: make it as for a client that takes all of it, with no
 * letter of this one's. */
static void offer(struct wm_dns_server *s)
{
	const struct wm_reply *r = &s->reply;
	uint8_t folded[WM_NAME_BUF] = {0};
	size_t len = r->q.name_len;

	if (!s->ready || !is_ready(r))
		return;
	for (unsigned i = 0; i < len; i++) {
		uint8_t c = r->question[i];

		folded[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
	}
	if (wm_ready_wants(s->ready, folded, len, r->q.type, r->answers))
		(void)wm_dns_give(s, folded, len, r->q.type);
}

bool wm_dns_give(struct wm_dns_server *s, const uint8_t *folded, size_t len, uint16_t type)
{
	const struct wm_reply *r = &s->reply;
	uint8_t query[WM_DNS_HEADER_LEN + WM_NAME_BUF] = {0}, out[WM_DNS_EDNS_MAX];
	const struct wm_dns_query q = {.type = type, .class = WM_DNS_IN, .name_len = (uint16_t)len};
	struct wm_ready_made m;

	memcpy(query + WM_DNS_HEADER_LEN, folded, len);
	s->reply.lead_len = 0;
	s->reply.bad_options = false; /* of the query before */
	build(s, query, &q, false, out, sizeof(out) - WM_DNS_OPT_LEN);
	if (!is_ready(r))
		return false; /* longer than it may be */
	m = (struct wm_ready_made){.message = out,
				   .len = r->w.len,
				   .name_len = q.name_len,
				   .type = q.type,
				   .rcode = r->rcode,
				   .answers = r->answers,
				   .authorities = r->authorities,
				   .additionals = r->additionals,
				   .serial_at = r->serial_at,
				   .turns = r->turns};
	memcpy(m.source, r->sources, sizeof(m.source));
	return !wm_ready_keep(s->ready, &m); /* counted */
}

bool wm_reply_remake(void *server, const uint8_t *name, uint16_t len, uint16_t type)
{
	return wm_dns_give(server, name, len, type);
}

static size_t reply(struct wm_dns_server *s, const uint8_t *query, size_t query_len,
		    const struct wm_dns_query *q, bool tcp, uint8_t *out, size_t cap)
{
	size_t len;

	wm_dns_extra_of_query(s, s->from, query, query_len, q, true, &s->reply.extra);
	build(s, query, q, tcp, out, cap);
	note(&s->reply);
	len = finish(&s->reply, query);
	if (!tcp)
		offer(s);
	return len;
}

static size_t respond(struct wm_dns_server *s, const uint8_t *query, size_t len, bool tcp,
		      uint8_t *out, size_t cap)
{
	struct wm_dns_query q;
	enum wm_dns_verdict v;
	size_t room = WM_DNS_TCP_MAX, alone;

	s->reply.lead_len = s->reply.led_count = 0;
	s->reply.w.opt_at = 0;
	if (len < WM_DNS_HEADER_LEN || len > UINT16_MAX || query[2] & (WM_DNS_QR >> 8) ||
	    cap < WM_DNS_UDP_MAX) {
		count(s, WM_DNS_C_DROPPED);
		return 0;
	}
	if (query[2] & (WM_DNS_OPCODE >> 8)) {
		count(s, WM_DNS_C_NOTIMP);
		return bare(s, query, len, WM_DNS_NOTIMP, out, cap);
	}
	v = wm_dns_parse(query, (uint32_t)len, &q);
	alone = v == WM_DNS_V_COUNTS ? wm_dns_cookie_alone(s, query, len, out, cap) : 0;
	if (alone)
		return alone;
	s->reply.bad_options = v == WM_DNS_V_OPTIONS;
	if (v != WM_DNS_OK && v != WM_DNS_V_EDNS && v != WM_DNS_V_OPTIONS) {
		count(s, WM_DNS_C_FORMERR);
		return bare(s, query, len, WM_DNS_FORMERR, out, cap);
	}
	if (!tcp)
		room = q.udp_size < WM_DNS_EDNS_MAX ? q.udp_size : WM_DNS_EDNS_MAX;
	return reply(s, query, len, &q, tcp, out, room < cap ? room : cap);
}

void wm_dns_received(struct wm_dns_server *s, bool tcp)
{
	count(s, tcp ? WM_DNS_C_TCP_QUERY : WM_DNS_C_UDP_QUERY);
}

size_t wm_dns_respond_to(struct wm_dns_server *s, const struct sockaddr *from, const uint8_t *query,
			 size_t len, bool tcp, uint8_t *out, size_t cap)
{
	uint64_t begun_ns = wm_clock_ns();
	struct wm_dns_made m = {.from = from,
				.tcp = tcp,
				.level = WM_DNS_LEVEL_OWN,
				.query = query,
				.len = len,
				.answer = out};

	s->from = from;
	m.answer_len = respond(s, query, len, tcp, out, cap);
	m.took_ns = wm_clock_ns() - begun_ns;
	s->made = m;
	s->from = NULL;
	return m.answer_len;
}

void wm_dns_say(struct wm_dns_server *s)
{
	wm_dns_note(s, &s->made);
}

size_t wm_dns_respond(struct wm_dns_server *s, const uint8_t *query, size_t len, bool tcp,
		      uint8_t *out, size_t cap)
{
	size_t n;

	wm_dns_received(s, tcp);
	n = wm_dns_respond_to(s, NULL, query, len, tcp, out, cap);
	wm_dns_say(s);
	return n;
}
