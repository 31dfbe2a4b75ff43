# SPDX-License-Identifier: Apache-2.0
# guest.sh - what scripts on a test kernel begin with: source it.
# shellcheck shell=bash
API=http://127.0.0.1:8500
FAILED=0

# shellcheck disable=SC2034 # FAILED is the status that who sources it ends with
check() { # text, expected, seen
	if [ "$2" = "$3" ]; then
		echo "ok: $1"
	else
		echo "FAILED: $1: expected '$2', saw '$3'"
		FAILED=1
	fi
}
ask() { dig +short +tries=2 +time=5 @127.0.0.1 -p 8600 "$@" | sort | xargs; }
get() { curl -s --max-time 10 "$1"; }
up() { curl -s --max-time 5 -o /dev/null $API/v1/agent/self; }
until_up() { # the agent answers, or the test is over
	for _ in $(seq 300); do
		up && return
		sleep 0.2
	done
	echo "FAILED: the agent does not answer"
	cat /tmp/agent.log
	exit 1
}
serve() { # number: a server that says web-NUMBER, registered
	mkdir -p "/tmp/www/$1"
	echo "web-$1" >"/tmp/www/$1/index.html"
	busybox httpd -p "127.1.0.$1:808$1" -h "/tmp/www/$1"
	check "register web-$1" 200 "$(register "web-$1" "127.1.0.$1" "808$1")"
}
register() { # id, address, port
	curl -s -o /dev/null -w '%{http_code}' -X PUT $API/v1/agent/service/register -d \
		"{\"ID\": \"$1\", \"Name\": \"web\", \"Address\": \"$2\", \"Port\": $3, \"Check\": {\"CheckID\": \"c-$1\", \"TTL\": \"1h\", \"Status\": \"passing\"}}"
}
