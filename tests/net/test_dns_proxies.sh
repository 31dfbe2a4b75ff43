#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Proxies that look their servers up by way of the agent while they run: nginx (an upstream in a variable) and
# HAProxy (a resolvers section, by SRV and by A). They follow what comes and goes, and pass everything on while
# the agent is killed and comes back.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh
# shellcheck source=tests/net/clients.sh
. tests/net/clients.sh
for p in nginx haproxy; do
	command -v $p >/dev/null || {
		echo "skipped: $p is not installed (make deps-test)"
		exit 77
	}
done
serve others 127.0.0.11 53 "	local-zone: 'example.' static
	local-data: 'example. 300 SOA ns.example. host.example. 1 3600 600 86400 300'
	local-data: 'app.example. 300 A 127.1.0.9'"
agent() { start_agent --set dns.upstream=list --set dns.forward=.=127.0.0.11 --set dns.port53_addresses=127.0.0.1; }
agent
for i in 1 2 3; do
	backend "web-$i" "127.1.0.$i" 8081
	[ $i = 3 ] || register "web-$i" web "127.1.0.$i" 8081 >/dev/null
done
backend app 127.1.0.9 8081

mkdir "$TMP/nginx"
cat >"$TMP/nginx.conf" <<END
master_process off;
daemon off;
user root;
pid $TMP/nginx.pid;
error_log $TMP/nginx.log;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path $TMP/nginx/1;
  proxy_temp_path $TMP/nginx/2;
  fastcgi_temp_path $TMP/nginx/3;
  uwsgi_temp_path $TMP/nginx/4;
  scgi_temp_path $TMP/nginx/5;
  resolver 127.0.0.1 valid=1s;
  resolver_timeout 5s;
  server {
    listen 127.0.0.1:9001;
    location /web { set \$up web.service.mesh.internal; proxy_pass http://\$up:8081/; }
    location /app { set \$up app.example; proxy_pass http://\$up:8081/; }
    location /none { set \$up none.service.mesh.internal; proxy_pass http://\$up:8081/; }
  }
}
END
nginx -c "$TMP/nginx.conf" -e "$TMP/nginx.log" >/dev/null 2>&1 &
cat >"$TMP/haproxy.cfg" <<END
global
  stats socket $TMP/haproxy.sock level admin
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
resolvers waymark
  nameserver agent 127.0.0.1:53
  accepted_payload_size 1232
  resolve_retries 3
  timeout resolve 500ms
  timeout retry 500ms
  hold valid 500ms
  hold nx 500ms
  hold obsolete 500ms
frontend f
  bind 127.0.0.1:9002
  use_backend srv if { path_beg /srv }
  use_backend web if { path_beg /web }
  use_backend app if { path_beg /app }
  default_backend none
backend srv
  server-template s 4 _web._tcp.service.mesh.internal resolvers waymark resolve-prefer ipv4 init-addr none
backend web
  server-template w 4 web.service.mesh.internal:8081 resolvers waymark resolve-prefer ipv4 init-addr none
backend app
  server a app.example:8081 resolvers waymark resolve-prefer ipv4 init-addr none
backend none
  server n none.service.mesh.internal:8081 resolvers waymark resolve-prefer ipv4 init-addr none
END
haproxy -f "$TMP/haproxy.cfg" -db >"$TMP/haproxy.log" 2>&1 &

# Who answers, asked so often that everybody is drawn.
who() { for _ in $(seq 24); do api "http://127.0.0.1:$1"; done | grep -o '\(web-[0-9]\|app\)' | sort -u | paste -sd ' '; }
is_who() { [ "$(who "$1")" = "$2" ]; }
expect() { until_ok 30 is_who "$2" "$3" || fail "$1: $(who "$2"), not $3: $(tail -n 3 "$TMP/nginx.log" "$TMP/haproxy.log")"; }
all_find() { # names of those who should be found
	expect "nginx" 9001/web "$1"
	expect "HAProxy by SRV" 9002/srv "$1"
	expect "HAProxy by A" 9002/web "$1"
}
all_find "web-1 web-2"
expect "nginx, of others" 9001/app app
expect "HAProxy, of others" 9002/app app
check "nginx: no such service" 502 "$(code http://127.0.0.1:9001/none)"
check "HAProxy: no such service" 503 "$(code http://127.0.0.1:9002/none)"

# --- who comes and who goes
register web-3 web 127.1.0.3 8081 >/dev/null
all_find "web-1 web-2 web-3"
check "one goes" 200 "$(code -X PUT $API/v1/agent/service/deregister/web-1)"
all_find "web-2 web-3"

# --- the agent is killed and comes back, while they look up once a second and pass on without a pause
asks() { echo 'show resolvers' | nc -U "$TMP/haproxy.sock" | awk '$1 == "'"$1"':" {print $2; exit}'; }
passes() { # path
	local ops=0 failures=0
	while [ ! -e "$TMP/stop" ]; do
		[ "$(code "http://127.0.0.1:$1")" = 200 ] || failures=$((failures + 1))
		ops=$((ops + 1))
	done
	echo "$ops $failures" >"$TMP/passed-${1//\//-}"
}
LOOPS=()
for path in 9001/web 9001/app 9002/srv 9002/web 9002/app; do
	passes $path &
	LOOPS+=($!)
done
before=$(asks timeout) sent=$(asks sent)
more() { [ "$(asks sent)" -ge $((sent + $1)) ]; }
for round in 1 2 3; do
	until_ok 60 all_in_kernel 10 || fail "round $round: what proxies ask is in the kernel"
	stop_agent KILL
	sent=$(asks sent)
	until_ok 30 more 8 || fail "HAProxy asks on: $(asks sent)"
	agent
	until_ok 30 more 16 || fail "HAProxy asks on: $(asks sent)"
done
touch "$TMP/stop"
wait "${LOOPS[@]}"
for path in 9001/web 9001/app 9002/srv 9002/web 9002/app; do
	read -r ops failures <"$TMP/passed-${path//\//-}"
	check "$path: failures of $ops" 0 "$failures"
	[ "$ops" -gt 20 ] || fail "$path did something: $ops"
done
check "questions of HAProxy's that nobody answered" "$before" "$(asks timeout)"
check "what nginx says of names" "" "$(grep 'could not be resolved' "$TMP/nginx.log" | grep -v none.service)"
all_find "web-2 web-3"
done_testing
