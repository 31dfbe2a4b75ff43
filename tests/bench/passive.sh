# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # what run.sh has set
# What it costs to see how connects end: the same connects with the program of sockops and without, and what the
# programs themselves take of each, by the kernel's own clock around them.
programs_ns() { # ns that the programs have run since they were loaded
	bpftool -j prog show | jq '[.[] | select(.name == "tcp_outcome" or .name == "listener_state") | .run_time_ns // 0] | add // 0'
}
passive_run() { # file, what the agent is started with
	start_agent --set kernel.services_max=64 --set kernel.backends_max=128 "${@:2}"
	register s passive 127.0.0.1 "$PORT" >/dev/null
	echo "$(vip4 passive) 80" >"$TMP/vips"
	inside "$T/connload" -n "$CONNECTS" -a "$PORT" -f "$TMP/vips" >>"$1" || fail connload
}
bench_passive() {
	local before stats
	stats=$(sysctl -n kernel.bpf_stats_enabled)
	rm -f "$TMP"/pas-*
	for _ in $(seq "$ROUNDS"); do
		passive_run "$TMP/pas-without" --set kernel.passive_health=false --set kernel.listener_notice=false
		stop_agent
		passive_run "$TMP/pas-with"
		sysctl -q kernel.bpf_stats_enabled=1
		before=$(programs_ns)
		inside "$T/connload" -n "$CONNECTS" -a "$PORT" -f "$TMP/vips" >/dev/null || fail connload
		echo $(((($(programs_ns) - before)) / CONNECTS)) >>"$TMP/pas-ns"
		sysctl -q "kernel.bpf_stats_enabled=$stats"
		stop_agent
	done
	heading "passive health"
	row "passive.connects" "connects/s / without" "$TMP/pas-with" "$TMP/pas-without" per_s ">= 0.98" "TCP, lo"
	emit "passive.programs" "ns of a connect in tcp_outcome and listener_state" "$(median <"$TMP/pas-ns")" "" "" "" "19 runs, some 40 ns of each are the kernel's clock"
	"$CTL" --pin-dir "$PINS" detach >/dev/null
	rm -rf "$TMP/data"
}
