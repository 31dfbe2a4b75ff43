/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c - reads snapshots. A file may come from anywhere: every record is decoded, judged by
 * the rules for clients, and held against the others before anything is made of it. */
#include "snapshot_internal.h"
#include "userspace/base/buf.h"
#include "userspace/base/err.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/model/validate.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define READ_BLOCK (1u << 20) /* octets read from a file at once */
/* A store that is restored goes on with indexes this far above those of the snapshot: the agent may
 * have given some since, and clients must not see them again with another meaning. */
#define INDEX_LEAP (64 * WM_INDEX_BLOCK)

static int damaged(const struct wm_snapshot *s, struct wm_err *e, const char *why)
{
	return wm_err_set(e, WM_E_INVALID, "The snapshot is damaged at octet %llu: %s",
			  (unsigned long long)s->info.bytes, why);
}

static int no_memory(struct wm_err *e)
{
	return wm_err_set(e, -ENOMEM, "Out of memory while reading the snapshot");
}

struct wm_snapshot *wm_snapshot_new(bool load, uint64_t bytes_max)
{
	struct wm_snapshot *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->load = load;
	s->bytes_max = bytes_max;
	s->sum = WM_SNAPSHOT_SUM;
	wm_buf_init(&s->rest, WM_SNAPSHOT_FRAME + WM_RECORD_MAX + WM_RECORD_HEAD);
	wm_buf_init(&s->copy, WM_RECORD_MAX);
	s->decoded = calloc(1, sizeof(*s->decoded));
	s->leases = wm_map_new(WM_TABLE_MAX);
	s->nodes = wm_map_new(WM_TABLE_MAX);
	s->policies = wm_map_new(WM_TABLE_MAX);
	s->self = wm_node_new("", &(struct wm_node_draft){0});
	if (!s->decoded || !s->leases || !s->nodes || !s->policies || !s->self) {
		wm_snapshot_free(s);
		return NULL;
	}
	return s;
}

void wm_snapshot_refuse_programs(struct wm_snapshot *s, bool units)
{
	s->no_scripts = true;
	s->no_units = units;
}

void wm_snapshot_free(struct wm_snapshot *s)
{
	struct wm_snapshot_lease *l;
	struct wm_policy *p;
	struct wm_node *n;
	size_t pos = 0;

	if (!s)
		return;
	while (s->nodes && (n = wm_map_next(s->nodes, &pos)))
		wm_node_free(n);
	wm_node_free(s->self);
	pos = 0;
	while (s->leases && (l = wm_map_next(s->leases, &pos)))
		free(l);
	pos = 0;
	while (s->policies && (p = wm_map_next(s->policies, &pos)))
		wm_policy_free(p);
	wm_map_free(s->policies);
	wm_map_free(s->leases);
	wm_map_free(s->nodes);
	wm_buf_done(&s->rest);
	wm_buf_done(&s->copy);
	free(s->decoded);
	free(s);
}

/* --- records --------------------------------------------------------------------------------- */
static int meta_row(struct wm_snapshot *s, struct wm_err *e)
{
	struct wm_record_meta m;

	if (s->meta || wm_record_get_meta(s->copy.data, s->copy.len, &m) || !m.reserved ||
	    m.reserved > WM_INDEX_MAX - WM_INDEX_BLOCK || s->info.index > m.reserved ||
	    strlen(m.node_id) >= sizeof(s->node_id))
		return damaged(s, e, "the record of the registry cannot be decoded");
	s->meta = true;
	snprintf(s->node_id, sizeof(s->node_id), "%s", m.node_id);
	return 0;
}

/* A service's, or of a label in front of one (registry/labels.c). */
static bool lease_valid(const char *name)
{
	const char *mark = strchr(name, '\2');
	char service[WM_SERVICE_NAME_MAX + 1];

	if (!mark)
		return wm_service_name_valid(name);
	if ((size_t)(mark - name) >= sizeof(service) || !mark[1] ||
	    strnlen(mark + 1, WM_TAG_MAX + 1) > WM_TAG_MAX || strchr(mark + 1, '\2'))
		return false;
	memcpy(service, name, (size_t)(mark - name));
	service[mark - name] = '\0';
	return wm_service_name_valid(service);
}

static int service_row(struct wm_snapshot *s, struct wm_err *e)
{
	struct wm_record_service r;
	struct wm_snapshot_lease *l;
	size_t n;

	if (wm_record_get_service(s->copy.data, s->copy.len, &r) || !lease_valid(r.name))
		return damaged(s, e, "a service cannot be decoded");
	s->info.services += wm_service_name_valid(r.name);
	if (!s->load)
		return 0;
	n = strlen(r.name) + 1;
	if (wm_map_get(s->leases, r.name, n - 1))
		return damaged(s, e, "a service is there twice");
	l = calloc(1, sizeof(*l) + n);
	if (!l)
		return no_memory(e);
	l->s = r;
	l->s.name = memcpy(l->name, r.name, n);
	if (wm_map_put(s->leases, l->name, n - 1, l, NULL)) {
		free(l);
		return no_memory(e);
	}
	return 0;
}

/* Checks of a client by its rules; maintenance has an id of its own. On another node nothing is
 * probed from here, and nobody registers such a check: it is a forger's. */
static int judge_checks(const struct wm_snapshot *s, struct wm_record_instance *d, struct wm_err *e)
{
	bool foreign = d->node_name && *d->node_name;
	unsigned clients = 0;

	for (unsigned n = 0; n < d->d.checks_count; n++) {
		struct wm_check_draft c = d->checks[n];
		bool maintenance = c.kind == WM_CHECK_MAINTENANCE;
		int err;

		clients += !maintenance;
		if (foreign && c.kind != WM_CHECK_STATED)
			return wm_err_set(e, WM_E_INVALID,
					  "check \"%.64s\" of node \"%.64s\" is to be run by this "
					  "agent, which runs checks of its own node only",
					  c.id, d->node_name);
		c.scripts = s->no_scripts ? WM_SCRIPTS_REMOTE : WM_SCRIPTS_ALLOWED;
		c.units = s->no_units ? WM_SCRIPTS_REMOTE : WM_SCRIPTS_ALLOWED;
		if (maintenance) { /* by the rules for a check that needs nothing else */
			c.kind = WM_CHECK_TTL;
			c.ttl_ms = 1;
		}
		err = wm_check_draft_validate(&c, e);
		if (err)
			return err;
	}
	return clients > WM_CHECKS_PER_INSTANCE || d->d.checks_count > clients + 1
		       ? wm_err_set(e, WM_E_LIMIT, "too many checks of one instance")
		       : 0;
}

static int enter_checks(struct wm_snapshot *s, struct wm_node *n, const struct wm_instance *i,
			struct wm_err *e)
{
	for (unsigned k = 0; k < i->checks_count; k++) {
		struct wm_check *c = i->checks[k], *other;

		if (wm_map_put(n->checks, c->id, strlen(c->id), c, (void **)&other))
			return no_memory(e);
		if (other)
			return damaged(s, e, "an id of a check is there twice");
	}
	return 0;
}

/* The node of a record, made when it is met first. @return NULL without memory. */
static struct wm_node *node_of(struct wm_snapshot *s, const char *name)
{
	const struct wm_node_draft nothing = {0};
	struct wm_node *made, *n;

	if (!name || !*name)
		return s->self;
	made = wm_node_new(name, &nothing); /* folds the name */
	if (!made)
		return NULL;
	n = wm_map_get(s->nodes, made->folded, strlen(made->folded));
	if (n) {
		wm_node_free(made);
		return n;
	}
	if (wm_map_put(s->nodes, made->folded, strlen(made->folded), made, NULL)) {
		wm_node_free(made);
		return NULL;
	}
	return made;
}

static int judge_node(const struct wm_record_instance *d, struct wm_err *e)
{
	int err = wm_node_name_validate(d->node_name, e);

	return err ? err : wm_node_draft_validate(&d->node, e);
}

/* Rules for clients, of what a record holds. */
static int judge(const struct wm_snapshot *s, struct wm_record_instance *d,
		 enum wm_record_type type, struct wm_err *e)
{
	unsigned checks = d->d.checks_count;
	int err = judge_checks(s, d, e);

	if (!err && (type == WM_RECORD_CATALOG_NODE || type == WM_RECORD_FOREIGN_NODE))
		err = judge_node(d, e);
	if (!err && type == WM_RECORD_CATALOG_INSTANCE && *d->node_name)
		err = wm_node_name_validate(d->node_name, e);
	if (err || type == WM_RECORD_NODE || type == WM_RECORD_CATALOG_NODE ||
	    type == WM_RECORD_FOREIGN_NODE)
		return err;
	d->d.checks_count = 0;
	err = wm_draft_validate(&d->d, e);
	d->d.checks_count = checks;
	return err;
}

/* A node's own row: its facts, and the checks that are no instance's. */
static int enter_node(struct wm_snapshot *s, struct wm_node *n, uint64_t row, bool catalog,
		      struct wm_instance *holder, struct wm_err *e)
{
	void *before = n->facts;

	if (catalog ? n->row != 0 : s->self_seen) {
		wm_instance_free(holder, true);
		return damaged(s, e, "a node is there twice");
	}
	n->row = row;
	s->self_seen |= !catalog;
	wm_instance_free(n->holder, true);
	n->holder = holder;
	if (catalog) {
		if (wm_node_set_facts(n, &s->decoded->node))
			return no_memory(e);
		free(before);
	}
	return enter_checks(s, n, holder, e);
}

static int enter_instance(struct wm_snapshot *s, struct wm_node *n, struct wm_instance *i,
			  struct wm_err *e)
{
	int err = 0;

	if (wm_node_instance(n, i->id))
		err = damaged(s, e, "an instance is there twice");
	else if (wm_map_put(n->instances, i->id, strlen(i->id), i, NULL))
		err = no_memory(e);
	if (err) {
		wm_instance_free(i, true);
		return err;
	}
	return enter_checks(s, n, i, e);
}

static int decode(struct wm_snapshot *s, enum wm_record_type type)
{
	switch ((int)type) {
	case WM_RECORD_NODE:
		return wm_record_get_node(s->copy.data, s->copy.len, s->decoded);
	case WM_RECORD_FOREIGN_NODE:
	case WM_RECORD_CATALOG_NODE:
		return wm_record_get_catalog_node(s->copy.data, s->copy.len, s->decoded);
	case WM_RECORD_FOREIGN_INSTANCE:
	case WM_RECORD_CATALOG_INSTANCE:
		return wm_record_get_catalog_instance(s->copy.data, s->copy.len, s->decoded);
	default:
		return wm_record_get_instance(s->copy.data, s->copy.len, s->decoded);
	}
}

static int policy_row(struct wm_snapshot *s, struct wm_err *e)
{
	struct wm_policy *p;
	struct wm_err why = {0};

	if (wm_record_get_policy(s->copy.data, s->copy.len, &s->policy))
		return damaged(s, e, "a policy cannot be decoded");
	if (wm_policy_validate(&s->policy.p, &why))
		return wm_err_set(e, WM_E_INVALID,
				  "The snapshot holds what may not be written: %.300s", why.text);
	if (!s->load)
		return 0;
	p = wm_policy_copy(&s->policy.p);
	if (!p)
		return no_memory(e);
	if (wm_map_get(s->policies, p->service, strlen(p->service))) {
		wm_policy_free(p);
		return damaged(s, e, "a policy is there twice");
	}
	if (wm_map_put(s->policies, p->service, strlen(p->service), p, NULL)) {
		wm_policy_free(p);
		return no_memory(e);
	}
	return 0;
}

static int instance_row(struct wm_snapshot *s, uint64_t row, enum wm_record_type type,
			struct wm_err *e)
{
	struct wm_record_instance *d = s->decoded;
	bool node = type == WM_RECORD_NODE || type == WM_RECORD_CATALOG_NODE ||
		    type == WM_RECORD_FOREIGN_NODE;
	struct wm_instance *i;
	struct wm_err why = {0};
	struct wm_node *n;
	int err;

	if (decode(s, type))
		return damaged(s, e,
			       node ? "the node cannot be decoded"
				    : "an instance cannot be decoded");
	/* other agents' objects are theirs to bring back; of their nodes the names are needed, for
	 * what is of the catalog there */
	if (type == WM_RECORD_FOREIGN_INSTANCE)
		return 0;
	if (type == WM_RECORD_FOREIGN_NODE)
		d->d.checks_count = 0;
	err = judge(s, d, type, &why);
	if (err)
		return wm_err_set(e, err == -ENOMEM ? err : WM_E_INVALID,
				  "The snapshot holds what may not be registered: %.300s",
				  why.text);
	s->info.checks += d->d.checks_count;
	s->info.instances += !node;
	if (!s->load)
		return 0;
	n = node_of(s, d->node_name);
	i = n ? wm_record_build(d) : NULL;
	if (!i)
		return no_memory(e);
	i->create_index = d->create_index;
	i->version.origin = type == WM_RECORD_CATALOG_INSTANCE ? WM_ORIGIN_SHARED
			    : type == WM_RECORD_FOREIGN_NODE   ? WM_ORIGIN_FOREIGN
							       : WM_ORIGIN_OWN;
	i->node = n;
	return node ? enter_node(s, n, row, type != WM_RECORD_NODE, i, e)
		    : enter_instance(s, n, i, e);
}

/* Of the rows of instances: what kind of record must it be? */
static enum wm_record_type type_of(uint64_t row, const char *data, size_t len)
{
	enum wm_record_type type = wm_record_type_of(data, len);

	if (row == WM_NODE_ROW)
		return WM_RECORD_NODE;
	return type == WM_RECORD_POLICY || type == WM_RECORD_CATALOG_NODE ||
			       type == WM_RECORD_CATALOG_INSTANCE ||
			       type == WM_RECORD_FOREIGN_NODE || type == WM_RECORD_FOREIGN_INSTANCE
		       ? type
		       : WM_RECORD_INSTANCE;
}

static int read_record(struct wm_snapshot *s, uint32_t tag, uint64_t row, const char *data,
		       size_t len, struct wm_err *e)
{
	enum wm_store_table t = (enum wm_store_table)(tag - 1);
	enum wm_record_type type = t == WM_STORE_META	    ? WM_RECORD_META
				   : t == WM_STORE_SERVICES ? WM_RECORD_SERVICE
							    : type_of(row, data, len);
	const char *why = "";
	int err = wm_record_open(data, len, row, type, &why);

	if (err == WM_E_STORE_VERSION)
		return wm_err_set(e, err, "The snapshot was written by a newer version");
	if (err || row > INT64_MAX)
		return damaged(s, e, "a record has a wrong checksum or format");
	wm_buf_reset(&s->copy);
	if (!wm_buf_put(&s->copy, data + WM_RECORD_HEAD, len - WM_RECORD_HEAD))
		return no_memory(e);
	if (t == WM_STORE_META)
		err = meta_row(s, e);
	else if (type == WM_RECORD_POLICY)
		err = policy_row(s, e);
	else
		err = t == WM_STORE_SERVICES ? service_row(s, e) : instance_row(s, row, type, e);
	if (!err && s->to && type != WM_RECORD_FOREIGN_INSTANCE)
		err = wm_store_put(s->to, t, row, data, len, e);
	s->frames++;
	return err;
}

/* --- the stream ------------------------------------------------------------------------------ */
static int read_head(struct wm_snapshot *s, const uint8_t *p, struct wm_err *e)
{
	if (memcmp(p, WM_SNAPSHOT_MAGIC, 8) != 0)
		return wm_err_set(e, WM_E_INVALID, "This is no snapshot of Waymark");
	s->info.created_s = wm_snapshot_get(p + 8, 8);
	s->info.index = wm_snapshot_get(p + 16, 8);
	if (s->info.index > WM_INDEX_MAX - WM_INDEX_BLOCK)
		return damaged(s, e, "its index is out of range");
	return 0;
}

static int read_last(struct wm_snapshot *s, const uint8_t *p, size_t len, struct wm_err *e)
{
	uint64_t sum = wm_snapshot_sum(s->sum, p, WM_SNAPSHOT_FRAME);

	if (len != 8 || wm_snapshot_get(p + 8, 8) != s->frames ||
	    wm_snapshot_get(p + WM_SNAPSHOT_FRAME, 8) != sum)
		return damaged(s, e, "the checksum over all is wrong");
	s->ended = true;
	return 0;
}

/* What begins at @p p, if it is whole. @return octets of it, 0: not whole; or the error. */
static int64_t take(struct wm_snapshot *s, const uint8_t *p, size_t len, struct wm_err *e)
{
	size_t size = WM_SNAPSHOT_HEAD;
	uint32_t tag;
	int err;

	if (s->ended)
		return damaged(s, e, "there is something behind its end");
	if (!s->info.bytes) {
		if (len < size)
			return 0;
		err = read_head(s, p, e);
	} else {
		if (len < WM_SNAPSHOT_FRAME)
			return 0;
		tag = (uint32_t)wm_snapshot_get(p, 4);
		size = wm_snapshot_get(p + 4, 4);
		if ((tag != WM_SNAPSHOT_LAST && (tag < 1 || tag > WM_STORE_TABLES)) ||
		    size > WM_RECORD_MAX + WM_RECORD_HEAD)
			return damaged(s, e, "it does not go on with a record");
		if (len < WM_SNAPSHOT_FRAME + size)
			return 0;
		err = tag == WM_SNAPSHOT_LAST
			      ? read_last(s, p, size, e)
			      : read_record(s, tag, wm_snapshot_get(p + 8, 8),
					    (const char *)p + WM_SNAPSHOT_FRAME, size, e);
		size += WM_SNAPSHOT_FRAME;
	}
	if (err)
		return err;
	s->sum = wm_snapshot_sum(s->sum, p, size);
	s->info.bytes += size;
	return (int64_t)size;
}

int wm_snapshot_feed(struct wm_snapshot *s, const void *data, size_t len, struct wm_err *e)
{
	const uint8_t *p = data;
	int64_t n;

	if (s->info.bytes + s->rest.len + len > s->bytes_max)
		return wm_err_set(e, WM_E_LIMIT, "The snapshot is larger than %llu octets",
				  (unsigned long long)s->bytes_max);
	/* what began in an earlier part: octets are added until it is whole */
	while (s->rest.len && len) {
		size_t want = s->info.bytes ? WM_SNAPSHOT_FRAME : WM_SNAPSHOT_HEAD;

		if (s->info.bytes && s->rest.len >= want)
			want += wm_snapshot_get((uint8_t *)s->rest.data + 4, 4);
		want -= s->rest.len;
		if (want > len)
			want = len;
		if (!wm_buf_put(&s->rest, p, want))
			return no_memory(e);
		p += want;
		len -= want;
		n = take(s, (uint8_t *)s->rest.data, s->rest.len, e);
		if (n < 0)
			return (int)n;
		if (n)
			wm_buf_reset(&s->rest);
	}
	while (len) {
		n = take(s, p, len, e);
		if (n < 0)
			return (int)n;
		if (!n)
			break;
		p += n;
		len -= (size_t)n;
	}
	return !len || wm_buf_put(&s->rest, p, len) ? 0 : no_memory(e);
}

int wm_snapshot_judge_instance(struct wm_snapshot *s, struct wm_instance *i, struct wm_err *e)
{
	const char *name = wm_box(i)->service_name;
	struct wm_snapshot_lease *l = wm_map_get(s->leases, name, strlen(name));

	if (!l)
		return damaged(s, e, "an instance names a service that is not there");
	s->services_used += !l->used;
	l->used = true;
	return 0;
}

int wm_snapshot_judge_node(const struct wm_snapshot *s, const struct wm_node *n, struct wm_err *e)
{
	return n == s->self || n->row ? 0
				      : damaged(s, e, "an instance names a node that is not there");
}

static int judge_on(struct wm_snapshot *s, const struct wm_node *n, struct wm_err *e)
{
	int err = wm_snapshot_judge_node(s, n, e);
	struct wm_instance *i;
	size_t pos = 0;

	while (!err && (i = wm_map_next(n->instances, &pos)))
		err = wm_snapshot_judge_instance(s, i, e);
	return err;
}

int wm_snapshot_whole(const struct wm_snapshot *s, struct wm_err *e)
{
	if (!s->ended || s->rest.len)
		return damaged(s, e, "it is cut off");
	return s->meta ? 0 : damaged(s, e, "the record of the registry is missing");
}

int wm_snapshot_end(struct wm_snapshot *s, struct wm_err *e)
{
	struct wm_node *n;
	size_t pos = 0;
	int err = wm_snapshot_whole(s, e);

	if (!err)
		err = judge_on(s, s->self, e);
	while (!err && (n = wm_map_next(s->nodes, &pos)))
		err = judge_on(s, n, e);
	return err;
}

void wm_snapshot_info(const struct wm_snapshot *s, struct wm_snapshot_info *ret)
{
	*ret = s->info;
}

/* --- files ----------------------------------------------------------------------------------- */
int wm_snapshot_read(struct wm_snapshot *s, const char *path, struct wm_err *e)
{
	_cleanup_free_ char *block = malloc(READ_BLOCK);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	ssize_t n = 0;
	int err = 0;

	if (!block)
		return no_memory(e);
	if (fd < 0 || fstat(fd, &st))
		return wm_err_set(e, -errno, "%s cannot be read: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return wm_err_set(e, -EINVAL, "%s must be a regular file", path);
	while (!err && (n = read(fd, block, READ_BLOCK)) > 0)
		err = wm_snapshot_feed(s, block, (size_t)n, e);
	if (n < 0)
		return wm_err_set(e, -errno, "%s cannot be read: %s", path, strerror(errno));
	return err ? err : wm_snapshot_end(s, e);
}

/* The rows of a verified snapshot into a new file, with an index that is above all that were given.
 */
static int build_store(const char *path, const char *db, const struct wm_snapshot_info *seen,
		       struct wm_err *e)
{
	struct wm_snapshot *s = wm_snapshot_new(false, WM_SNAPSHOT_MAX);
	struct wm_store *to = NULL;
	struct wm_record_meta m;
	struct wm_buf b;
	int err;

	if (!s)
		return no_memory(e);
	wm_buf_init(&b, 512);
	err = wm_store_build(db, &to, e);
	s->to = to;
	if (!err)
		err = wm_snapshot_read(s, path, e);
	if (!err && memcmp(&s->info, seen, sizeof(*seen)) != 0)
		err = wm_err_set(e, WM_E_INVALID, "%s changed while it was read", path);
	if (!err) {
		/* a log anew: this agent may have given numbers since */
		m = (struct wm_record_meta){seen->index + INDEX_LEAP, s->node_id,
					    (uint32_t)time(NULL), NULL};
		if (m.reserved > WM_INDEX_MAX - WM_INDEX_BLOCK)
			m.reserved = WM_INDEX_MAX - WM_INDEX_BLOCK;
		err = wm_record_put_meta(&b, &m);
	}
	if (!err)
		err = wm_store_put(to, WM_STORE_META, 0, b.data, b.len, e);
	if (err)
		wm_store_drop(to);
	else
		err = wm_store_built(to, e);
	wm_buf_done(&b);
	wm_snapshot_free(s);
	return err;
}

/* Another restore that was cut off is not to be finished by the next start. */
static int unlink_restoring(const char *db)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%.*s" WM_RESTORE_SUFFIX, PATH_MAX - 64, db);
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

int wm_snapshot_restore_offline(const char *path, const char *data_dir, char *aside,
				struct wm_err *e)
{
	struct wm_snapshot *s = wm_snapshot_new(true, WM_SNAPSHOT_MAX);
	struct wm_snapshot_info info;
	char db[PATH_MAX], next[PATH_MAX];
	int err;

	*aside = 0;
	if (!s)
		return no_memory(e);
	if (strlen(data_dir) > PATH_MAX - 64) {
		wm_snapshot_free(s);
		return wm_err_set(e, -ENAMETOOLONG, "The data directory's path is too long");
	}
	err = wm_snapshot_read(s, path, e);
	wm_snapshot_info(s, &info);
	wm_snapshot_free(s);
	if (err)
		return err;
	snprintf(db, sizeof(db), "%.*s/" WM_STORE_FILE, PATH_MAX - 64, data_dir);
	snprintf(next, sizeof(next), "%.*s/" WM_STORE_FILE ".restore", PATH_MAX - 64, data_dir);
	err = build_store(path, next, &info, e);
	if (!err && unlink_restoring(db))
		err = wm_err_set(e, -errno, "%s" WM_RESTORE_SUFFIX " cannot be removed: %s", db,
				 strerror(errno));
	return err ? err : wm_store_take_place(db, next, aside, e);
}
