/* SPDX-License-Identifier: Apache-2.0 */
/* picture.c - convergence over time, as an SVG. */
#include "sim.h"

#define WIDTH  640
#define HEIGHT 360
#define LEFT   60
#define BELOW  50
#define POINTS 200

static double x_of(double part)
{
	return LEFT + part * (WIDTH - LEFT - 20);
}

static double y_of(double part)
{
	return HEIGHT - BELOW - part * (HEIGHT - BELOW - 40);
}

static void axes(FILE *f, const char *title, double max_ms)
{
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
		"font-family=\"sans-serif\" font-size=\"12\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
		"<text x=\"%d\" y=\"22\" font-size=\"14\">%s</text>\n",
		WIDTH, HEIGHT, LEFT, title);
	for (int i = 0; i <= 4; i++) {
		fprintf(f,
			"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>"
			"<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%d %%</text>\n",
			x_of(0), y_of(i / 4.0), x_of(1), y_of(i / 4.0), LEFT - 6, y_of(i / 4.0) + 4,
			i * 25);
		fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.1f</text>\n",
			x_of(i / 4.0), HEIGHT - BELOW + 18, max_ms * i / 4);
	}
	fprintf(f,
		"<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">milliseconds; nodes that have "
		"it</text>\n",
		x_of(0.5), HEIGHT - 12);
}

int sim_plot(const struct sim *s, const char *file, const char *title)
{
	FILE *f = fopen(file, "we");
	double max_ms = s->took_count ? (double)s->took_ns[s->took_count - 1] / 1e6 : 1;
	double all = (double)(s->count - 1) * s->c.messages;

	if (!f)
		return -1;
	axes(f, title, max_ms);
	fprintf(f, "<polyline fill=\"none\" stroke=\"#06c\" stroke-width=\"2\" points=\"%.1f,%.1f",
		x_of(0), y_of(0));
	for (size_t i = 0, at = 0; i <= POINTS; i++) {
		double ms = max_ms * (double)i / POINTS;

		while (at < s->took_count && (double)s->took_ns[at] / 1e6 <= ms)
			at++;
		fprintf(f, " %.1f,%.1f", x_of((double)i / POINTS), y_of((double)at / all));
	}
	fprintf(f, "\"/>\n</svg>\n");
	return fclose(f) ? -1 : 0;
}
