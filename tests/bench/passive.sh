# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # what run.sh has set
# What it costs to see how connects end and who listens: the same connects with the programs of tracepoints and without,
# in front of all other work, and what the program itself takes of each, by the kernel's own clock around it. What that
# clock takes is known by a program that returns at once, and taken off.
SHORT=1000 # connects of a look at the program: a run that is interrupted counts with what interrupts it

ids() { # [[id, what we call it], ...]: others may run agents too
	bpftool -j cgroup show "$CG" | jq -c --argjson l "$(bpftool -j link show pinned "$PINS/observe/sock_state" | jq .prog_id)" \
		'[.[] | select(.name == "noop") | [.id, .name]] + [[$l, "sock_state"]]'
}
programs() { # runs and ns since they were loaded, by name
	bpftool -j prog show | jq -c --argjson ids "$(ids)" '. as $all |
		[$ids[] as [$id, $name] | $all[] | select(.id == $id) | {($name): {runs: (.run_cnt // 0), ns: (.run_time_ns // 0)}}] | add'
}
attach_noop() { # ends with the cgroup
	build_noop
	bpftool prog load "$TMP/noop.o" "$PINS/noop" && bpftool cgroup attach "$CG" sock_ops pinned "$PINS/noop" multi || fail noop
	rm "$PINS/noop"
}
passive_agent() { # what it is started with
	start_agent --set kernel.services_max=64 --set kernel.backends_max=128 "$@"
	# connload listens there, and is gone after each run
	register s passive 127.0.0.1 "$PORT" '"Meta": {"listener_notice": "false"}' >/dev/null
	echo "$(vip4 passive) 80" >"$TMP/vips"
}
passive_load() { inside "${FRONT[@]}" "$T/connload" -a "$PORT" "$@" || fail connload; }
passive_ns() { # file, where to connect: ns of a connect in our programs, and their runs
	programs >"$TMP/before"
	passive_load -n $SHORT "${@:2}" >/dev/null
	programs | jq -c --slurpfile b "$TMP/before" --argjson n $((SHORT + 200)) '
		with_entries(.key as $k | .value |= {runs: ((.runs - $b[0][$k].runs) / $n), ns: ((.ns - $b[0][$k].ns) / $n)}) |
		(.noop.ns / .noop.runs) as $clock |
		{ns: (.sock_state.ns - .sock_state.runs * $clock), runs: .sock_state.runs, clock: $clock}' >>"$1"
}
runs_() { printf %.1f "$(take runs "$TMP/pas-$1" | median)"; }
bench_passive() {
	rm -f "$TMP"/pas-*
	for _ in $(seq "$ROUNDS"); do
		passive_agent --set kernel.passive_health=false --set kernel.listener_notice=false
		passive_load -n "$CONNECTS" -f "$TMP/vips" >>"$TMP/pas-without"
		passive_load -n "$CONNECTS" -d "127.0.0.1 $PORT" >>"$TMP/pas-foreign-without"
		stop_agent
		passive_agent
		passive_load -n "$CONNECTS" -f "$TMP/vips" >>"$TMP/pas-with"
		passive_load -n "$CONNECTS" -d "127.0.0.1 $PORT" >>"$TMP/pas-foreign-with"
		stop_agent
	done
	passive_agent
	attach_noop
	sysctl -q kernel.bpf_stats_enabled=1
	for _ in $(seq $((ROUNDS * 5))); do
		passive_ns "$TMP/pas-steered" -f "$TMP/vips"
		passive_ns "$TMP/pas-foreign" -d "127.0.0.1 $PORT"
	done
	sysctl -q kernel.bpf_stats_enabled=0
	heading "passive health"
	row "passive.connects" "connects/s / without" "$TMP/pas-with" "$TMP/pas-without" per_s ">= 0.98" "TCP, lo"
	row "passive.cpu" "us of the client's CPU a connect / without" "$TMP/pas-with" "$TMP/pas-without" cpu_us "" "TCP, lo"
	row "passive.cpu.foreign" "the same, of no service" "$TMP/pas-foreign-with" "$TMP/pas-foreign-without" cpu_us "" "TCP, lo"
	emit "passive.foreign" "ns more of a connect of no service, both ends" "$(paste <(take cpu_us "$TMP/pas-foreign-with" | median) \
		<(take cpu_us "$TMP/pas-foreign-without" | median) | awk '{print ($1 - $2) * 1000}')" "" "" "<= 130" "TCP, lo"
	emit "passive.states" "ns of a steered connect in sock_state, both ends" "$(take ns "$TMP/pas-steered" | median)" "" "" "<= 150" \
		"$(runs_ steered) runs, without the kernel's clock of $(printf %.0f "$(take clock "$TMP/pas-steered" | median)") ns each"
	emit "passive.states.foreign" "ns of a connect of no service" "$(take ns "$TMP/pas-foreign" | median)" "" "" "" "$(runs_ foreign) runs"
	"$T/applyload" -c $((CPUS > 1)) -m listener -B "$PINS/maps" -n 200 >"$TMP/apply" || fail "applyload listener"
	emit "passive.closed.p99" "us from close() of a listener to the state word" "$(take closed_p99_us "$TMP/apply")" "" "" "<= 1000" \
		"p50: $(take closed_p50_us "$TMP/apply")"
	emit "passive.killed.p99" "us from kill -9 of a server to the state word" "$(take killed_p99_us "$TMP/apply")" "" "" "<= 1000" \
		"p50: $(take killed_p50_us "$TMP/apply"); until it is gone included"
	drop_agent
}
