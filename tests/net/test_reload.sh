#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Servers that are reloaded while they are dialled: nginx, a Go program that takes over by SO_REUSEPORT, a
# Node cluster whose workers are replaced. None of it is a death: no notice, and no connect fails.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
if ! "$CTL" --pin-dir "$PINS-doctor" doctor 2>/dev/null | grep 'listener_notice *ok' >/dev/null; then
	echo "skipped: the kernel refuses tp_btf/inet_sock_set_state"
	exit 77
fi
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1" '$1 == m {print $2}'; }
answers() { api --max-time 2 "http://10.80.0.1:$1/"; }
# service, port, command that reloads it, three times: while others dial
reloaded() {
	local name=$1 port=$2 before
	shift 2
	until_ok 30 answers "$port" || fail "$name does not answer"
	register "$name-1" "$name" 10.80.0.1 "$port" >/dev/null
	before=$(metric listener_gone_total)
	dialing "$(vip4 "$name")" 2
	for _ in 1 2 3; do
		sleep 0.4
		"$@"
	done
	sleep 0.4
	dialled
	check "$name: no connect failed of $MADE" 0 "$FAILED_${ERRORS:+ $ERRORS}"
	check "$name: no death notice" "$before" "$(metric listener_gone_total)"
	check "$name: no check of one" null "$(api "$API/v1/agent/checks" | jq -r ".\"waymark:listener:$name-1\".Status")"
}
ip addr add 10.80.0.1/32 dev lo
# Who closes one of several listeners resets what it has not accepted, unless the kernel hands that to the others: so it
# does since 5.14, where it is told to. The slower the machine, the more waits there.
{ echo 1 >/proc/sys/net/ipv4/tcp_migrate_req; } 2>/dev/null
start_agent
check "a listener is watched" 0 "$(metric listener_watched)"

if command -v nginx >/dev/null; then
	cat >"$TMP/nginx.conf" <<-EOF
		pid $TMP/nginx.pid; error_log $TMP/nginx.log; worker_processes 2; user root;
		events { worker_connections 256; }
		http { access_log off; server { listen 10.80.0.1:8101; return 200 ok; } }
	EOF
	nginx -c "$TMP/nginx.conf" -p "$TMP" 2>/dev/null
	nginx_reload() { nginx -c "$TMP/nginx.conf" -p "$TMP" -s reload 2>/dev/null; }
	reloaded nginx 8101 nginx_reload
	nginx -c "$TMP/nginx.conf" -p "$TMP" -s stop 2>/dev/null
	gone() { [ "$(metric listener_gone_total)" = 1 ]; }
	until_ok 10 gone || fail "that it is stopped is seen"
else
	echo "skipped: nginx is not installed"
fi

if command -v go >/dev/null; then
	cat >"$TMP/main.go" <<-'EOF'
		package main

		import (
			"context"
			"net"
			"os"
			"os/signal"
			"sync"
			"syscall"
		)

		var served sync.WaitGroup

		func serve(c net.Conn) {
			defer served.Done()
			c.Read(make([]byte, 4096))
			c.Write([]byte("HTTP/1.0 200 OK\r\n\r\nok"))
			c.Close()
		}

		func main() {
			c := net.ListenConfig{Control: func(_, _ string, r syscall.RawConn) error {
				return r.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, 15, 1) })
			}}
			l, err := c.Listen(context.Background(), "tcp", os.Args[1])
			if err != nil {
				panic(err)
			}
			os.WriteFile(os.Args[2], nil, 0o600)
			stop := make(chan os.Signal, 1)
			signal.Notify(stop, syscall.SIGTERM)
			go func() { <-stop; l.Close() }()
			for {
				one, err := l.Accept()
				if err != nil {
					served.Wait() // who was accepted is answered
					return
				}
				served.Add(1)
				go serve(one)
			}
		}
	EOF
	(cd "$TMP" && GO111MODULE=off CGO_ENABLED=0 go build -o server main.go) 2>"$TMP/go.log" || {
		cat "$TMP/go.log"
		fail "the Go server does not build"
	}
	go_start() {
		rm -f "$TMP/ready"
		"$TMP/server" 10.80.0.1:8102 "$TMP/ready" 2>/dev/null &
		GO=$!
		until_ok 10 test -e "$TMP/ready"
	}
	go_reload() {
		local old=$GO
		go_start
		kill -TERM "$old"
	}
	go_start
	reloaded go 8102 go_reload
else
	echo "skipped: go is not installed"
fi

if command -v node >/dev/null; then
	cat >"$TMP/cluster.js" <<-'EOF'
		const cluster = require('cluster'), http = require('http');
		if (cluster.isMaster) {
			cluster.fork();
			process.on('SIGHUP', () => {
				const old = Object.values(cluster.workers);
				cluster.fork().on('listening', () => old.forEach((w) => w.disconnect()));
			});
		} else {
			http.createServer((q, r) => r.end('ok')).listen(8103, '10.80.0.1');
		}
	EOF
	node "$TMP/cluster.js" 2>"$TMP/node.log" &
	NODE=$!
	node_reload() { kill -HUP $NODE; }
	reloaded node 8103 node_reload
else
	echo "skipped: node is not installed"
fi
done_testing
