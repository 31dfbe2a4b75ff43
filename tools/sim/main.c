/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - waymark-sim SCENARIO [--nodes N] [--seed S] [--plot FILE]: runs a scenario, writes its
 * figures as JSON, and ends with 1 if one is above its goal. */
#include "sim.h"
#include "sim_objects.h"
#include "userspace/base/random.h"

#include <stdlib.h>
#include <string.h>

/* In the place of the kernel's: base/hash.c draws the key of its tables here, and their order must
 * follow from the seed too. */
uint64_t wm_random64(void)
{
	static uint64_t n = 0x5d;

	n = n * 6364136223846793005ull + 1442695040888963407ull;
	return n;
}

uint64_t wm_random_below(uint64_t n)
{
	return (uint64_t)(((unsigned __int128)wm_random64() * n) >> 64);
}

static void make_node(struct sim *s, int at)
{
	struct sim_node *n = &s->nodes[at];

	n->s = s;
	n->at = at;
	n->region = s->c.regions ? (unsigned)at % s->c.regions : 0;
	n->id.octets[0] = (uint8_t)(at >> 16);
	n->id.octets[1] = (uint8_t)(at >> 8);
	n->id.octets[2] = (uint8_t)at;
	for (int i = 3; i < 16; i++)
		n->id.octets[i] = (uint8_t)sim_random(s);
	if (s->c.clock_offset_ms)
		n->clock_ms = (int64_t)sim_below(s, 2ull * s->c.clock_offset_ms) -
			      (int64_t)s->c.clock_offset_ms;
	sim_env_init(s, &n->env, at);
}

static int begin(struct sim *s)
{
	s->random = s->seed;
	s->ns = WM_NS_PER_S;
	s->count = (int)s->c.nodes;
	s->nodes = calloc(s->c.nodes, sizeof(*s->nodes));
	if (!s->c.view && !s->c.member)
		s->member = calloc((size_t)s->c.nodes * s->c.nodes, 1);
	if (!s->nodes || (!s->c.view && !s->c.member && !s->member))
		return -1;
	for (unsigned a = 0; a < s->c.regions; a++)
		for (unsigned b = 0; b < a; b++)
			s->between_us[a][b] = s->between_us[b][a] =
				s->c.between_min_us +
				(uint32_t)sim_below(s,
						    s->c.between_max_us - s->c.between_min_us + 1);
	for (int i = 0; i < s->count; i++)
		make_node(s, i);
	for (int i = 0; i < s->count; i++)
		if (sim_node_start(s, i))
			return -1;
	if (s->c.member)
		return sim_members_introduce(s);
	if (s->member)
		sim_changed(s);
	return 0;
}

static void end(struct sim *s)
{
	for (int i = 0; i < s->count; i++) {
		if (s->nodes[i].alive)
			sim_node_stop(s, i, false);
		sim_objects_free(&s->nodes[i]);
	}
	sim_run(s, s->ns + 3600 * WM_NS_PER_S); /* the streams break */
	for (int i = 0; i < s->count; i++)
		free(s->nodes[i].streams);
	free(s->heap);
	free(s->places);
	free(s->slots);
	sim_letters_free(s);
	free(s->nodes);
	free(s->member);
	free(s->said_ns);
	free(s->last_ns);
	free(s->took_ns);
	free(s->expected);
}

/* @return goals that were missed. */
static int write_json(const struct sim *s, const char *name, const struct sim_figures *f)
{
	int missed = 0;

	printf("{\"scenario\":\"%s\",\"what\":\"%s\",\"nodes\":%d,\"seed\":%llu,\"events\":%lu,"
	       "\"figures\":{",
	       name, s->c.what, s->count, (unsigned long long)s->seed, s->events);
	for (unsigned i = 0; i < f->count; i++)
		printf("%s\"%s\":%.3f", i ? "," : "", f->list[i].name, f->list[i].value);
	printf("},\"goals\":[");
	for (unsigned g = 0; g < s->c.goals_count; g++) {
		const struct sim_goal *goal = &s->c.goals[g];
		bool reached = false;

		for (unsigned i = 0; i < f->count; i++)
			if (strcmp(f->list[i].name, goal->figure) == 0)
				reached = f->list[i].value <= goal->at_most;
		missed += !reached;
		printf("%s{\"figure\":\"%s\",\"at_most\":%g,\"reached\":%s}", g ? "," : "",
		       goal->figure, goal->at_most, reached ? "true" : "false");
	}
	printf("]}\n");
	return missed;
}

static int usage(void)
{
	fprintf(stderr, "usage: waymark-sim SCENARIO [--nodes N] [--seed S] [--plot FILE]\n");
	return 2;
}

static const char *base_of(const char *file)
{
	const char *slash = strrchr(file, '/');

	return slash ? slash + 1 : file;
}

int main(int argc, char **argv)
{
	static struct sim s;
	struct sim_figures f = {.count = 0};
	const char *plot = NULL;
	int missed;

	if (argc < 2 || argc % 2)
		return usage();
	if (sim_scenario_read(&s.c, argv[1]))
		return 2;
	s.seed = 1;
	s.trace = getenv("SIM_TRACE") != NULL;
	for (int i = 2; i < argc; i += 2) {
		if (strcmp(argv[i], "--nodes") == 0)
			s.c.nodes = (unsigned)strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--seed") == 0)
			s.seed = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--plot") == 0)
			plot = argv[i + 1];
		else
			return usage();
	}
	if (s.c.nodes < 2 || s.c.nodes > SIM_NODES_MAX)
		return usage();
	if (begin(&s) || (s.c.schedules ? sim_schedules(&s, &f)
			  : s.c.fulls	? sim_leaves(&s, &f)
			  : s.c.watch_s ? sim_watch(&s, &f)
					: sim_measure(&s, &f))) {
		fprintf(stderr, "sim: out of memory\n");
		return 2;
	}
	if (plot && !s.c.watch_s && sim_plot(&s, plot, s.c.what)) {
		perror(plot);
		return 2;
	}
	missed = write_json(&s, base_of(argv[1]), &f);
	end(&s);
	return missed ? 1 : 0;
}
