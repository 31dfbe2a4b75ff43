/* SPDX-License-Identifier: Apache-2.0 */
/* member_coordinate.c - Vivaldi (Dabek, Cox, Kaashoek, Morris 2004) with height and adjustment as
 * Serf has them: constants are Serf's published ones. */
#include "member_internal.h"

#include <math.h>

#define ERROR_MAX      1.5  /* an error at the begin, and never more */
#define CE	       0.25 /* how fast the error follows */
#define CC	       0.25 /* how fast the coordinate follows */
#define HEIGHT_MIN     10e-6
#define GRAVITY_RHO    150.0 /* seconds: keeps all near the origin */
#define ZERO_THRESHOLD 1e-6
#define RTT_MAX	       10.0  /* seconds: more is no round trip */
#define VALUE_MAX      100.0 /* seconds, of any component */

static double distance_plain(const struct wm_coordinate *a, const struct wm_coordinate *b)
{
	double sum = 0;

	for (unsigned i = 0; i < WM_COORDINATE_DIMS; i++)
		sum += (a->vec[i] - b->vec[i]) * (a->vec[i] - b->vec[i]);
	return sqrt(sum) + a->height + b->height;
}

double wm_coordinate_distance(const struct wm_coordinate *a, const struct wm_coordinate *b)
{
	double plain = distance_plain(a, b), adjusted = plain + a->adjustment + b->adjustment;

	return adjusted > 0 ? adjusted : plain;
}

void member_vivaldi_init(struct vivaldi *v)
{
	memset(v, 0, sizeof(*v));
	v->c.height = HEIGHT_MIN;
	v->c.error = ERROR_MAX;
}

/* Unit vector from @p b to @p a, of chance if they are in one place. @return their distance. */
static double unit(const struct wm_env *env, const double *a, const double *b, double *ret)
{
	double mag = 0;

	for (unsigned i = 0; i < WM_COORDINATE_DIMS; i++) {
		ret[i] = a[i] - b[i];
		mag += ret[i] * ret[i];
	}
	mag = sqrt(mag);
	if (mag > ZERO_THRESHOLD) {
		for (unsigned i = 0; i < WM_COORDINATE_DIMS; i++)
			ret[i] /= mag;
		return mag;
	}
	mag = 0;
	for (unsigned i = 0; i < WM_COORDINATE_DIMS; i++) {
		ret[i] = (double)wm_env_below(env, 1u << 20) / (1u << 20) - 0.5;
		mag += ret[i] * ret[i];
	}
	mag = sqrt(mag);
	for (unsigned i = 0; i < WM_COORDINATE_DIMS; i++)
		ret[i] = mag > ZERO_THRESHOLD ? ret[i] / mag : !i;
	return 0;
}

/* Move by @p force seconds away from @p from. */
static void push(const struct wm_env *env, struct wm_coordinate *c, double force,
		 const struct wm_coordinate *from)
{
	double u[WM_COORDINATE_DIMS], mag = unit(env, c->vec, from->vec, u);

	for (unsigned i = 0; i < WM_COORDINATE_DIMS; i++)
		c->vec[i] += u[i] * force;
	if (mag > ZERO_THRESHOLD)
		c->height = fmax((c->height + from->height) * force / mag + c->height, HEIGHT_MIN);
}

static void adjust(struct vivaldi *v, const struct wm_coordinate *other, double rtt_s)
{
	unsigned window = sizeof(v->adjust) / sizeof(*v->adjust);
	double sum = 0;

	v->adjust[v->adjust_at++ % window] = rtt_s - distance_plain(&v->c, other);
	for (unsigned i = 0; i < window; i++)
		sum += v->adjust[i];
	v->c.adjustment = sum / (2.0 * window);
}

/* The median of a member's last round trips: one long one is no news. */
static double filtered(struct node *n, double rtt_s)
{
	float *s = n->samples, a, b, c;

	s[n->samples_count++ % MEMBER_SAMPLES] = (float)rtt_s;
	a = s[0];
	b = n->samples_count > 1 ? s[1] : a;
	c = n->samples_count > 2 ? s[2] : a;
	return fmaxf(fminf(a, b), fminf(fmaxf(a, b), c));
}

static bool sound(const struct wm_coordinate *c)
{
	bool ok = isfinite(c->height) && isfinite(c->adjustment) && isfinite(c->error);

	for (unsigned i = 0; i < WM_COORDINATE_DIMS; i++)
		ok = ok && fabs(c->vec[i]) <= VALUE_MAX;
	return ok && fabs(c->height) <= VALUE_MAX && fabs(c->adjustment) <= VALUE_MAX;
}

void member_vivaldi_take(const struct wm_env *env, struct vivaldi *v, struct node *n,
			 const struct wm_coordinate *other, double rtt_s)
{
	static const struct wm_coordinate origin = {.height = HEIGHT_MIN};
	double dist, wrong, total, weight, mag;

	if (!(rtt_s >= 0) || rtt_s > RTT_MAX)
		return;
	rtt_s = fmax(filtered(n, rtt_s), ZERO_THRESHOLD);
	n->m.median_us = (uint32_t)(rtt_s * 1e6);
	dist = wm_coordinate_distance(&v->c, other);
	wrong = fabs(dist - rtt_s) / rtt_s;
	total = fmax(v->c.error + other->error, ZERO_THRESHOLD);
	weight = v->c.error / total;
	v->c.error = fmin(CE * weight * wrong + v->c.error * (1 - CE * weight), ERROR_MAX);
	push(env, &v->c, CC * weight * (rtt_s - dist), other);
	adjust(v, other, rtt_s);
	mag = distance_plain(&origin, &v->c);
	push(env, &v->c, -1.0 * (mag / GRAVITY_RHO) * (mag / GRAVITY_RHO), &origin);
	if (!sound(&v->c))
		member_vivaldi_init(v);
}

/* As another says it. */
bool member_coordinate_sound(const struct wm_coordinate *c)
{
	return sound(c) && c->height >= 0 && c->error >= 0 && c->error <= 2 * ERROR_MAX;
}
