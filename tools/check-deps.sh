#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# An #include only goes down the layers, and a library is touched by its folder only.
# Arguments: the layers, lowest first.
set -euo pipefail
layers=("$@")
bad=0
say() { echo "check-deps: $*" >&2; bad=1; }

for ((i = 0; i < ${#layers[@]}; i++)); do
	for ((j = i + 1; j < ${#layers[@]}; j++)); do
		hits=$(grep -nE "^#include \"userspace/${layers[j]}/" -r "userspace/${layers[i]}" || true)
		[ -z "$hits" ] || say "${layers[i]} must not include ${layers[j]}:"$'\n'"$hits"
	done
	hits=$(grep -nE '^#include "(userspace/agent\.h|tools/)' -r "userspace/${layers[i]}" || true)
	[ -z "$hits" ] || say "${layers[i]} must not include the agent or tools:"$'\n'"$hits"
done
for d in userspace/*/; do
	name=$(basename "$d")
	case " ${layers[*]} " in *" $name "*) ;; *) say "userspace/$name is not a known layer" ;; esac
done

only() { # folder pattern, include pattern, what
	hits=$(grep -nE "^#include <($2)" -r userspace tools --include='*.[ch]' | grep -vE "^($1)" || true)
	[ -z "$hits" ] || say "only $1 may include $3:"$'\n'"$hits"
}
only 'userspace/dataplane/' 'bpf/|libbpf\.h' libbpf
only 'userspace/dataplane/' 'netlink/' libnl
only 'userspace/store/' 'sqlite3\.h' SQLite
only 'userspace/metadata/' 'pcre2\.h' PCRE2
only 'userspace/metadata/' 'roaring/' CRoaring
only 'userspace/dns/upstream_(events|unbound)\.c' 'unbound' libunbound
only 'userspace/net/' 'event2/|evhttp|event\.h' libevent
only 'userspace/net/' 'curl/' libcurl
only 'userspace/(security|net)/' 'openssl/' OpenSSL
only 'userspace/sync/' 'protobuf-c/' protobuf-c
only 'userspace/source/' 'yaml\.h' libyaml
only 'userspace/(sync|store)/' 'zstd' zstd
only 'userspace/(api|base|source)/|userspace/sync/etcd_(answer|code)\.c|tools/waymarkctl' 'jansson\.h' jansson

# Time, chance and timers of these come from their environment (base/env.h): a test or a simulator
# turns the clock. The store is below them: it measures its own work.
ours='\<(wm_(clock|random|timer)[a-z0-9_]*|wm_env_system|wm_loop_env)\>|base/(clock|random)\.h"'
libc='(^|[^_.>[:alnum:]])(clock_[a-z]+|gettimeofday|time|times|u?sleep|nanosleep|alarm|setitimer|timer_create|timerfd_[a-z]+'
libc+='|getrandom|getentropy|arc4random[a-z_]*|s?rand(om)?(_r)?|[a-z]rand48) *\('
own_time() { # pattern, files: lines of code that ask the system
	grep -HnE "$@" | grep -vE ':[0-9]+:[[:space:]]*(/?\*|//)' || true
}
for d in model registry health sync; do
	[ -d "userspace/$d" ] || continue
	hits=$(own_time "$ours|$libc" userspace/$d/*.[ch])
	[ -z "$hits" ] || say "$d must take time, chance and timers from base/env.h:"$'\n'"$hits"
done
# the rule finds what it is for
while read -r line; do
	[ -n "$(own_time "$ours|$libc" - <<<"$line")" ] || say "a violation is not seen: $line"
done <<'EOF'
#include "userspace/base/clock.h"
uint64_t now = wm_clock_ms();
fn = wm_clock_wall_ms;
struct wm_timer *t;
n = wm_random_below(10);
.env = &wm_env_system,
at = time(NULL);
clock_gettime(CLOCK_REALTIME, &ts);
usleep(10);
id = (unsigned)rand();
EOF

# What kernel and userspace share stays pure: no libc, no helpers, only each other and kernel types.
hits=$(grep -nE '^#include' -r include/waymark |
	grep -vE '#include (<(linux/(types|bpf|in|if_ether|ip|ipv6|udp|tcp)|stdint|stddef|stdbool)\.h>|"[a-z_]+\.h")' || true)
[ -z "$hits" ] || say "include/waymark includes more than kernel types:"$'\n'"$hits"
[ "$bad" -eq 0 ] && echo "check-deps: ok"
exit "$bad"
