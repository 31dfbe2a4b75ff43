/* SPDX-License-Identifier: Apache-2.0 */
/* scenario.c - reads a scenario: lines of a name and a number; "what", a text; "goal", a figure and
 * what it is to be at most. '#' begins a comment. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	size_t offset;
	unsigned def;
} numbers[] = {
#define X(name, def, help) {#name, offsetof(struct sim_scenario, name), def},
	SIM_NUMBERS(X)
#undef X
};

static unsigned *number_of(struct sim_scenario *c, size_t i)
{
	return (unsigned *)(void *)((char *)c + numbers[i].offset);
}

static bool set(struct sim_scenario *c, const char *name, const char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		if (strcmp(numbers[i].name, name) != 0)
			continue;
		*number_of(c, i) = (unsigned)n;
		return end != value && !*end && n <= UINT32_MAX;
	}
	return false;
}

static bool set_goal(struct sim_scenario *c, const char *text)
{
	struct sim_goal *g = &c->goals[c->goals_count];
	size_t len = strcspn(text, " \t");
	char *end;

	if (c->goals_count == SIM_GOALS_MAX || len > SIM_NAME_MAX)
		return false;
	memcpy(g->figure, text, len);
	g->at_most = strtod(text + len, &end);
	if (end == text + len || *end)
		return false;
	c->goals_count++;
	return true;
}

static bool read_line(struct sim_scenario *c, char *line)
{
	char *name = line + strspn(line, " \t"), *value;

	line[strcspn(line, "#\n")] = '\0';
	if (!*name)
		return true;
	value = name + strcspn(name, " \t");
	if (*value)
		*value++ = '\0';
	value += strspn(value, " \t");
	for (size_t n = strlen(value); n && (value[n - 1] == ' ' || value[n - 1] == '\t'); n--)
		value[n - 1] = '\0';
	if (strcmp(name, "what") == 0)
		return snprintf(c->what, sizeof(c->what), "%s", value) < (int)sizeof(c->what);
	return strcmp(name, "goal") == 0 ? set_goal(c, value) : set(c, name, value);
}

static bool judge(const struct sim_scenario *c)
{
	return c->nodes >= 2 && c->nodes <= SIM_NODES_MAX && c->regions && c->loss_pct < 100 &&
	       c->regions <= SIM_REGIONS && c->octets_per_s && c->payload >= sizeof(unsigned) &&
	       c->payload <= WM_SPREAD_PAYLOAD_MAX / 2 && c->between_min_us <= c->between_max_us &&
	       c->pause_min_ms <= c->pause_max_ms && (c->member || !c->watch_s) &&
	       (!c->fulls ||
		(c->member && c->watch_s && c->services && c->fulls + c->observed <= c->nodes &&
		 c->instances <= 256 && c->payload <= 4096));
}

int sim_scenario_read(struct sim_scenario *ret, const char *file)
{
	FILE *f = fopen(file, "re");
	char line[256];
	unsigned n = 0;
	bool good = f != NULL;

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		*number_of(ret, i) = numbers[i].def;
	while (good && fgets(line, sizeof(line), f)) {
		n++;
		good = read_line(ret, line);
	}
	if (f)
		(void)fclose(f);
	if (!good) {
		fprintf(stderr, "sim: %s: %s %u\n", file,
			f ? "what is this? line" : "cannot be read, line", n);
		return -1;
	}
	if (judge(ret))
		return 0;
	fprintf(stderr, "sim: %s: a number is out of range\n", file);
	return -1;
}
