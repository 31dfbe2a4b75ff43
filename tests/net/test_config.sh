#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# --check-config against everything that the start would refuse or do without: each set-up is broken
# in one place, the check has to find it, and the start has to agree.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

base=(--set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" --set "kernel.cgroup=$CG" --set "http.socket=$TMP/http.sock")
checked() { "$B/waymarkd" "${base[@]}" "$@" --check-config 2>&1; }
rc() {
	"$@" >/dev/null 2>&1
	echo $?
}
# A start that is ended when it answers, or when what it logs, to $TMP/start, matches: "serves", or its exit status.
until_logged() { # pattern or "", options
	local pattern=$1 pid
	shift
	: >"$TMP/start" # the start before said it, too
	"$B/waymarkd" "${base[@]}" "$@" >/dev/null 2>"$TMP/start" &
	pid=$!
	goes() { if [ -n "$pattern" ]; then grep -qE "$pattern" "$TMP/start"; else [ "$(operator_code http://x/v1/agent/self)" = 200 ]; fi; }
	goes_or_ends() { goes || ! kill -0 $pid; }
	until_ok 30 goes_or_ends
	if goes; then
		echo serves
		kill -TERM $pid
		wait $pid
	else
		kill -TERM $pid 2>/dev/null
		wait $pid
		echo $?
	fi
}
started() { until_logged '' "$@"; }
ended() { rc timeout 60 "$B/waymarkd" "${base[@]}" "$@"; } # where no success is awaited

man=$("$B/waymarkd" --reference man)
matches "the manual page has defaults and ranges" '^Default 8600; 0 to 65535 port\.$' "$(grep -A4 '^\.B dns.port$' <<<"$man")"
matches "of texts" '^Default "/var/lib/waymark"; text, at most 200 octets\.$' "$(grep -A4 '^\.B node.data_dir$' <<<"$man")"
check "of each setting" "$("$B/waymarkd" --dump-config | jq '[.[] | length] | add')" "$(grep -c '^Default ' <<<"$man")"
matches "it says what 1 means" '^could not start.*: the start would go on without something$' "$(grep -A2 '^\.SH EXIT' -A20 <<<"$man")"
matches "so does --help" '^  2  wrong usage.*\(the start would refuse\)$' "$("$B/waymarkd" --help)"

check "a sound one" "configuration ok" "$(checked)"
check "a sound one, by exit status" 0 "$(rc checked)"
check "and it starts" serves "$(started)"

refused() { # text that must be said, options
	local says=$1
	shift
	matches "refused: $says" "$says" "$(checked "$@")"
	check "by exit status: $*" 2 "$(rc checked "$@")"
	case $(ended "$@") in 1 | 2) ;; *) fail "the start does not agree: $*" ;; esac
}
refused 'http.addresses: 203.0.113.9 is no address of this machine' --set http.addresses=203.0.113.9
refused 'http.metrics_port: 8500 is http.port as well' --set http.metrics_addresses=127.0.0.1 --set http.metrics_port=8500
refused 'http.addresses: an IPv4 or IPv6 address is wanted, not "localhost"' --set http.addresses=localhost
# libunbound would wait for who writes a pipe, and read a directory for ever
mkfifo "$TMP/pipe"
echo '; no key, and no server' >"$TMP/comments"
recursion=(--set dns.upstream=recursion --set dns.validate=true)
for s in trust_anchor root_hints; do
	refused "dns.$s: $TMP/pipe is not a file" "${recursion[@]}" --set "dns.$s=$TMP/pipe"
	refused "dns.$s: $TMP is not a file" "${recursion[@]}" --set "dns.$s=$TMP"
	refused "dns.$s: $TMP/comments has no" "${recursion[@]}" --set "dns.$s=$TMP/comments"
	refused "dns.$s: $CTL has no" "${recursion[@]}" --set "dns.$s=$CTL"
done
refused 'dns.upstream_ca_file: .*: not a file' --set dns.upstream=list --set dns.forward=.=127.0.0.9#a.b --set "dns.upstream_ca_file=$TMP/pipe"
refused 'dns.addresses: an IPv4 or IPv6 address is wanted, not "1.2.3"' --set dns.addresses=1.2.3
refused 'dns.port53_addresses: 203.0.113.9 is no address' --set dns.port53_addresses=203.0.113.9
refused 'dns.addresses: 0:0::1 is there twice' --set dns.addresses=::1,127.0.0.1,0:0::1
refused 'vip.ipv4: a range such as 240.0.0.0/4 is wanted, /4 to /24, not "10.0.0.0"' --set vip.ipv4=10.0.0.0
refused 'vip.ipv4: .* \(loopback, link-local, multicast\)' --set vip.ipv4=127.0.0.0/8
refused 'vip.ipv4: .* \(loopback, link-local, multicast\)' --set vip.ipv4=224.0.0.0/4
refused 'vip.ipv4: 240.0.0.1/4 has bits behind its /4' --set vip.ipv4=240.0.0.1/4
ip address add 10.77.0.1/24 dev lo
refused 'vip.ipv4: 10.0.0.0/8 holds 10.77.0.1, an address of this machine' --set vip.ipv4=10.0.0.0/8
ip address del 10.77.0.1/24 dev lo
refused 'vip.ipv6: .* \(loopback, link-local, multicast\)' --set vip.ipv6=fe80::/64
refused 'node.meta: ' --set node.meta=zone
refused 'http.socket: /nonexistent/dir: No such file|http.socket: /nonexistent: No such file' --set http.socket=/nonexistent/dir/x.sock
refused "dns.port: 127.0.0.1:8600 is http.port's as well" --set http.port=8600
refused 'vip.ipv6: a prefix such as .* not "fd00::/48"' --set vip.ipv6=fd00::/48
refused 'node.name: letters, digits .* not "a_b"' --set node.name=a_b
refused 'node.address: an IPv4 or IPv6 address is wanted, not "me"' --set node.address=me
refused 'node.domain: labels of 1 to 63' --set node.domain=a..b
refused 'node.alt_domain: labels of 1 to 63' --set node.alt_domain=.
refused 'kernel.dns_devices: names of devices or globs are wanted, .* not "eth/0"' --set 'kernel.dns_devices=en*,eth/0'
refused 'kernel.dns_devices: .* not "eth0:1"' --set kernel.dns_devices=eth0:1
refused 'kernel.veth_devices: .* not "veth 1"' --set 'kernel.veth_devices=veth 1'
refused 'kernel.lo_devices: .* not ".."' --set kernel.lo_devices=..
refused 'node.domain: labels .* no .-. at either end, .* not "-bad.x"' --set node.domain=-bad.x
refused 'node.domain: labels .* not "a-.x"' --set node.domain=a-.x
refused 'node.alt_domain: labels .* not "x.bad-"' --set node.alt_domain=x.bad-
refused 'node.name: letters, digits .* no .-. at either end, not "-x"' --set node.name=-x
refused 'node.name: .* not "x-"' --set node.name=x-
refused 'http.hosts: a host name without a port is wanted, .* not "bad host"' --set 'http.hosts=good.example,bad host'
refused 'http.hosts: .* not "a.example:8500"' --set http.hosts=a.example:8500
refused 'http.hosts: .* not "\*.example"' --set 'http.hosts=*.example'
refused 'http.watchers_max: fewer than http.connections_max \(12000\) are allowed, not 12000' --set http.watchers_max=12000
refused 'http.watchers_max: fewer .* \(300\) are allowed, not 10000' --set http.connections_max=300
refused 'health.ca_file: cannot read /nonexistent' --set health.ca_file=/nonexistent
refused 'sync.etcd_endpoints: URLs such as .* not "10.0.0.1:2379"' --set sync.etcd_endpoints=10.0.0.1:2379
refused 'sync.etcd_prefix: a prefix such as /waymark/dc1/ .* not "/waymark"' --set sync.etcd_prefix=/waymark
refused 'sync.etcd_password_file: wanted, as sync.etcd_user is set' --set sync.etcd_user=me
refused 'sync.etcd_cert_file, sync.etcd_key_file: neither' --set sync.etcd_key_file=/etc/passwd
refused 'source.consul_addresses: URLs such as .* not "10.0.0.1:8500"' --set source.consul_addresses=10.0.0.1:8500
refused 'source.consul_addresses: wanted, as source.consul_pass_on is set' --set source.consul_pass_on=true
refused 'source.consul_cert_file, source.consul_key_file: neither' --set source.consul_key_file=/etc/passwd
refused 'source.kubernetes_external: a network .* not "10.0.0.0/33"' --set source.kubernetes_enabled=true --set source.kubernetes_external=10.0.0.0/33
refused 'source.kubernetes_consul_names: "A_b" is no namespace' --set source.kubernetes_enabled=true --set source.kubernetes_consul_names=A_b
refused 'source.kubernetes_api_servers: URLs such as .* not "10.0.0.1:6443"' --set source.kubernetes_enabled=true --set source.kubernetes_api_servers=10.0.0.1:6443
refused 'source.kubernetes_kubeconfig: cannot read /nonexistent' --set source.kubernetes_enabled=true --set source.kubernetes_kubeconfig=/nonexistent
refused 'sync.etcd_lease: ' --set sync.etcd_lease=1s
refused 'rules_file.*/nonexistent|/nonexistent.*No such file' --set registry.rules_file=/nonexistent
refused 'node.data_dir: /nonexistent: No such file' --set node.data_dir=/nonexistent/data
refused 'node.data_dir: /etc/passwd is no directory' --set node.data_dir=/etc/passwd
refused 'node.data_dir: cannot write in /proc: No such file' --set node.data_dir=/proc/waymark
refused 'node.data_dir: cannot write in /sys/kernel: Permission denied|node.data_dir: cannot write in /sys/kernel' --set node.data_dir=/sys/kernel/waymark
mkdir "$TMP/readonly" && mount -t tmpfs -o ro none "$TMP/readonly"
refused 'node.data_dir: cannot write in .*/readonly: Read-only file system' --set "node.data_dir=$TMP/readonly/data"
refused 'http.socket: cannot write in .*/readonly: Read-only file system' --set "http.socket=$TMP/readonly/x.sock"
umount "$TMP/readonly"
check "nothing is left behind" '' "$(find "$TMP" -name '.waymark-check-*')"
refused 'log.level: error, warn, info or debug, not "loud"' --set log.level=loud
refused 'unknown setting "dns.prot"; did you mean "dns.port"\?' --set dns.prot=1
refused 'dns.ttl: not a duration: 5 has no unit; write "5s" or "5ms"' --set dns.ttl=5

# --- the mesh -----------------------------------------------------------------------------------------
CA=$TMP/ca
mkdir -m 700 "$CA" "$TMP/other"
"$CTL" ca init --dir "$CA" >/dev/null && "$CTL" ca init --dir "$TMP/other" >/dev/null
for n in me else; do "$CTL" ca issue "$n" --dir "$CA" >/dev/null; done
"$CTL" ca issue me --dir "$TMP/other" >/dev/null
(umask 077 && "$CTL" keyring generate >"$CA/keyring" && echo abc >"$CA/nokeys" && cp "$CA/keyring" "$CA/openring" && cp "$CA/me-key.pem" "$CA/open-key.pem")
chmod 644 "$CA/openring" "$CA/open-key.pem"
mesh=(--set sync.mode=peers --set node.name=me --set sync.bind=127.0.0.1:8301 --set sync.ca_file="$CA/ca.pem" --set sync.cert_file="$CA/me.pem"
	--set sync.key_file="$CA/me-key.pem" --set sync.keyring_file="$CA/keyring")
check "a sound mesh" "configuration ok" "$(checked "${mesh[@]}")"
check "and it starts" serves "$(started "${mesh[@]}")"
refused 'sync.advertise: the agent would be known by a loopback address, which 10.9.9.9 cannot reach' "${mesh[@]}" --set sync.join=10.9.9.9
refused 'sync.advertise: .* which host.example:8301 cannot reach' "${mesh[@]}" --set sync.bind=0.0.0.0:8301 --set node.address=127.0.0.1 --set sync.join=host.example:8301
refused 'sync.bind: 203.0.113.9:8301 is no address of this machine' "${mesh[@]}" --set sync.bind=203.0.113.9:8301
refused 'sync.bind: an address and a port are wanted, .* not "localhost"' "${mesh[@]}" --set sync.bind=localhost
refused 'sync.join: a host or an address is wanted, .* not "127.0.0.1:"' "${mesh[@]}" --set sync.join=127.0.0.1:
refused 'sync.join: .* not "127.0.0.1 b"' "${mesh[@]}" --set 'sync.join=127.0.0.1 b'
refused 'sync.join: .* SRV records without a port, .* not "_a._tcp.b:1"' "${mesh[@]}" --set sync.bind=0.0.0.0:8301 --set node.address=10.9.9.9 --set sync.join=_a._tcp.b:1
refused 'sync.ca_file: must be set where sync.mode is peers' --set sync.mode=peers
check "of files that are not set nothing more is said" 0 "$(checked --set sync.mode=peers | grep -c ': : ')"
refused 'sync.join: .* not "127.0.0.1:port"' "${mesh[@]}" --set sync.join=127.0.0.1:port
printf '127.0.0.1\n127.0.0.2:x\n' >"$TMP/seeds"
unsound_seeds() { # text, options: may be mended while the agent runs, which starts
	matches "refused: $1" "$1" "$(checked "${mesh[@]}" "${@:2}")"
	check "by exit status: ${*:2}" 2 "$(rc checked "${mesh[@]}" "${@:2}")"
	check "the start goes on: ${*:2}" serves "$(started "${mesh[@]}" "${@:2}")"
}
unsound_seeds 'sync.join_file: line 2: a host or an address is wanted, .* not "127.0.0.2:x"' --set sync.join_file="$TMP/seeds"
unsound_seeds 'sync.join_file: cannot read /nonexistent: No such file' --set sync.join_file=/nonexistent
echo 10.9.9.9 >"$TMP/seeds"
unsound_seeds 'sync.advertise: .* which 10.9.9.9 cannot reach' --set sync.join_file="$TMP/seeds"
refused 'sync.cert_file: the certificate names else in dc1, and this is node me in dc1' "${mesh[@]}" --set sync.cert_file="$CA/else.pem" --set sync.key_file="$CA/else-key.pem"
refused 'sync.cert_file: the certificate names me in dc1, and this is node me in dc2' "${mesh[@]}" --set node.datacenter=dc2
refused 'sync.key_file: .*else-key.pem is not the key of the certificate in .*me.pem' "${mesh[@]}" --set sync.key_file="$CA/else-key.pem"
refused 'sync.cert_file: .*me.pem as that of a server: ' "${mesh[@]}" --set sync.ca_file="$TMP/other/ca.pem"
refused 'sync.key_file: .*open-key.pem is open to others \(mode 644\): chmod 600 it' "${mesh[@]}" --set sync.key_file="$CA/open-key.pem"
refused 'sync.keyring_file: .*openring is open to others \(mode 644\)' "${mesh[@]}" --set sync.keyring_file="$CA/openring"
refused 'sync.keyring_file: .*nokeys: line 1: a key is 32 octets in base64' "${mesh[@]}" --set sync.keyring_file="$CA/nokeys"
refused 'sync.ca_file: /nonexistent: No such file' "${mesh[@]}" --set sync.ca_file=/nonexistent
refused 'sync.ca_file: .* is not an authority.s' "${mesh[@]}" --set sync.ca_file="$CA/me.pem"
refused 'sync.cert_file: /nonexistent: No such file' "${mesh[@]}" --set sync.cert_file=/nonexistent
refused 'sync.key_file: .* has no private key that can be read' "${mesh[@]}" --set sync.key_file="$CA/keyring"
refused 'sync.etcd_ca_file: cannot read /nonexistent' --set sync.mode=etcd --set sync.etcd_endpoints=https://127.0.0.1:2379 --set sync.etcd_ca_file=/nonexistent
refused 'source.consul_token_file: cannot read /nonexistent' --set source.consul_addresses=http://127.0.0.1:8501 --set source.consul_token_file=/nonexistent
taken() { # kind, its name: somebody else has the port
	(exec /usr/bin/python3 -c "import socket, time; s = socket.socket(socket.AF_INET, socket.$1); s.bind(('127.0.0.1', 8301)); s.type == socket.SOCK_STREAM and s.listen(); print('there', flush=True); time.sleep(60)" >"$TMP/taken") &
	holder=$!
	until_ok 10 grep -q there "$TMP/taken"
	refused "sync.bind: another program has 127.0.0.1:8301 \($2\)" "${mesh[@]}"
	kill "$holder"
	wait "$holder" 2>/dev/null
}
taken SOCK_STREAM TCP
taken SOCK_DGRAM UDP
(exec "$B/waymarkd" "${base[@]}" "${mesh[@]}" 2>/dev/null) &
holder=$!
until_ok 20 test -S "$TMP/http.sock"
check "an agent of these settings has its ports itself" "configuration ok" "$(checked "${mesh[@]}")"
kill "$holder"
wait "$holder" 2>/dev/null

apart() { # text, options: the agent starts, and others refuse it
	local says=$1
	shift
	matches "apart: $says" "$says" "$(checked "$@")"
	check "by exit status" 1 "$(rc checked "$@" --set kernel.required=true)"
	check "the start goes on" serves "$(started "$@")"
	matches "the log tells" "event=sync.config .*$says" "$(cat "$TMP/start")"
}
dated() { # name, not before, not after: a certificate of me with these dates
	mkdir -p "$CA/issued" && : >"$CA/issued/index"
	printf '[ca]\ndefault_ca=d\n[d]\nnew_certs_dir=%s\ndatabase=%s/index\nrand_serial=yes\ndefault_md=default\npolicy=p\n[p]\ncommonName=supplied\n' "$CA/issued" "$CA/issued" >"$CA/issued/cnf"
	openssl ca -batch -notext -config "$CA/issued/cnf" -cert "$CA/ca.pem" -keyfile "$CA/ca-key.pem" -startdate "$2" -enddate "$3" -out "$CA/$1.pem" \
		-in <(openssl req -new -key "$CA/me-key.pem" -subj /CN=me) -extfile <(printf 'subjectAltName=DNS:me.dc1.waymark\nextendedKeyUsage=serverAuth,clientAuth\n') 2>"$TMP/openssl" ||
		fail "no certificate: $(tail -n 3 "$TMP/openssl")"
}
dated past 20200101000000Z 20200201000000Z
dated future 20400101000000Z 20410101000000Z
apart 'sync.cert_file: .*past.pem is expired since 2020-02-01 00:00 UTC: other agents refuse it' "${mesh[@]}" --set sync.cert_file="$CA/past.pem"
apart 'sync.interest: of leaves alone, and sync.role is full' "${mesh[@]}" --set sync.interest=web
apart 'sync.cert_file: .*future.pem is not valid before 2040-01-01 00:00 UTC' "${mesh[@]}" --set sync.cert_file="$CA/future.pem"

degraded() { # text, options: the agent starts and says so, with kernel.required it does not
	local says=$1
	shift
	matches "degraded: $says" "$says" "$(checked "$@")"
	check "by exit status: $*" 1 "$(rc checked "$@")"
	check "required: $*" 2 "$(rc checked "$@" --set kernel.required=true)"
	check "the start goes on: $*" serves "$(started "$@")"
	check "but not where it is required: $*" 1 "$(ended "$@" --set kernel.required=true)"
}
degraded 'kernel.cgroup: /tmp is no directory of a cgroup2' --set kernel.cgroup=/tmp
degraded 'kernel.cgroup: /nonexistent: No such file' --set kernel.cgroup=/nonexistent
degraded 'kernel.pin_dir: /tmp is not a bpffs: set kernel.pin_dir to a directory below' --set kernel.pin_dir=/tmp/waymark
degraded 'kernel.memory_max: .* take [0-9]+ bytes, more than 65536' --set kernel.memory_max=65536
degraded 'kernel.lo_devices: nothing0: No such device' --set kernel.lo_devices=nothing0
check "no mount over what is in use" 0 "$(checked --set kernel.pin_dir=/etc/waymark | grep -c 'mount -t')"

# all of a file at once, each under its line
cat >"$TMP/w.json" <<'J'
{
  "dns": {"port": "x",
          "prot": 1},
  "htp": {},
  "log": {"level": "loud"}
}
J
checked --config "$TMP/w.json" >"$TMP/said"
matches "what is judged late has its line too" "$TMP/w.json:5: log.level: error, warn, info or debug, not \"loud\"" \
	"$(cat "$TMP/said")"
matches "line 2" "$TMP/w.json:2: dns.port: a whole number is wanted, not \"x\"" "$(cat "$TMP/said")"
matches "line 3" "$TMP/w.json:3: unknown setting \"dns.prot\"; did you mean" "$(cat "$TMP/said")"
matches "line 4" "$TMP/w.json:4: unknown section \"htp\"; did you mean \"http\"" "$(cat "$TMP/said")"
matches "and what belongs together" 'log.level: ' "$(cat "$TMP/said")"
check "four in all" 4 "$(wc -l <"$TMP/said")"
echo '{"dns": {"ttl": "\u001b[2J"}}' >"$TMP/e.json"
matches "what would drive a terminal is escaped" 'e.json:1: dns.ttl: not a duration: "\\x1b\[2J";' "$(checked --config "$TMP/e.json")"
check "by the start as well" 0 "$("$B/waymarkd" "${base[@]}" --config "$TMP/e.json" 2>&1 | grep -c $'\e')"
matches "waymarkctl says the same" 'w.json:3: unknown setting' "$("$CTL" validate "$TMP/w.json" 2>&1)"
check "waymarkctl fails" 1 "$(rc "$CTL" validate "$TMP/w.json")"

# what is found by looking at the machine has its place as well: a later file's counts, and --set above all
mkdir "$TMP/conf.d"
echo '{"node": {"domain": "x",
  "name": "a_b"}}' >"$TMP/conf.d/a.json"
echo '{"node": {
  "name": "c_d"}}' >"$TMP/conf.d/b.json"
matches "of a directory" "^waymarkd: $TMP/conf.d/b.json:2: node.name: .* not \"c_d\"\$" "$(checked --config-dir "$TMP/conf.d")"
matches "of the command line" '^waymarkd: --set: node.name: .* not "e_f"$' "$(checked --config-dir "$TMP/conf.d" --set node.name=e_f)"
rm "$TMP/conf.d/"*

# the environment is over the files and under --set, and what it says wrong has its variable for a place
echo '{"dns": {"ttl": "1s", "node_ttl": "1s"}}' >"$TMP/w.json"
in_env() { env "$@" "$B/waymarkd" --config "$TMP/w.json" --dump-config 2>&1; }
dumped() { env WAYMARKD_DNS_TTL=2s WAYMARKD_DNS_NEGATIVE_TTL=2s "$B/waymarkd" --config "$TMP/w.json" --set dns.negative_ttl=9s --dump-config; }
check "each by who is above" "2s 1s 9s" "$(dumped | jq -r '[.dns.ttl, .dns.node_ttl, .dns.negative_ttl] | join(" ")')"
matches "a variable of no setting" '^waymarkd: WAYMARKD_DNS_TLL: no setting .* dns.ttl' "$(in_env WAYMARKD_DNS_TLL=2s)"
check "refuses the start" 2 "$(rc in_env WAYMARKD_DNS_TLL=2s)"
matches "what is found late" '^waymarkd: environment: node.name: ' "$(WAYMARKD_NODE_NAME=a_b checked --config "$TMP/w.json")"
check "what Kubernetes writes of a Service" 0 "$(rc env WAYMARKD_SERVICE_HOST=10.0.0.1 WAYMARKD_PORT=tcp://10.0.0.1:53 "$B/waymarkd" --dump-config)"
echo '{"kernel": {
  "cgroup": "/tmp"}}' >"$TMP/w.json"
matches "of what is done without" "^waymarkd: $TMP/w.json:2: kernel.cgroup: /tmp is no directory" \
	"$("$B/waymarkd" --set "node.data_dir=$TMP/data" --set "kernel.pin_dir=$PINS" --set "http.socket=$TMP/http.sock" \
		--config "$TMP/w.json" --check-config 2>&1)"

# definitions: all of them, each under its line
cat >"$TMP/w.json" <<'J'
{
  "log": {"level": "loud"},
  "services": [
    {"name": "a", "id": "x", "check": {"ttl": "5"}},
    {"name": "ok"},
    {"name": "b", "port": 70000},
    {"name": "c",
     "prot": 1}
  ],
  "checks": {"name": "none"}
}
J
echo '{"service": {"name": "ok"}, "check":
  {"name": "n"}}' >"$TMP/conf.d/a.json"
checked --config "$TMP/w.json" --config-dir "$TMP/conf.d" >"$TMP/said"
said() { matches "definitions: $1" "^waymarkd: $TMP/$1" "$(cat "$TMP/said")"; }
said 'w.json:4: services\[0\]: .*5'
said 'w.json:6: services\[2\]: .*[Pp]ort.*70000'
said 'w.json:7: services\[3\]: .*unknown field "prot"'
said 'w.json:10: checks: a list of objects is wanted'
said 'w.json:2: log.level: '
said 'conf.d/a.json:1: service: id "ok" is that of services\[1\] in .*w.json:5'
said 'conf.d/a.json:1: check: '
check "all, and no more" 7 "$(wc -l <"$TMP/said")"
check "the start refuses them too" 2 "$(ended --config "$TMP/w.json" --config-dir "$TMP/conf.d")"
rm "$TMP/conf.d/"*
without() { # text, rest of the pattern, a file
	echo "$3" >"$TMP/w.json"
	matches "done without: $1" "^waymarkd: $TMP/w.json:$2" "$(checked --config "$TMP/w.json")"
	check "by exit status: $1" 1 "$(rc checked --config "$TMP/w.json")"
	until_logged 'event=definitions.failed file=[^ ]*w.json' --config "$TMP/w.json" >/dev/null
	matches "the start does without: $1" 'event=definitions.failed file=[^ ]*w.json' "$(cat "$TMP/start")"
}
without "a check of no service" '2: checks\[0\]: ServiceID "nobody" does not exist .*unless it is registered' '{"checks": [
  {"name": "lost", "ttl": "1h", "service_id": "nobody"}]}'
without "the id of a service of the agent" '1: service: .*consul' '{"service": {"name": "consul", "port": 1}}'
without "a check id twice" '3: services\[1\]: .*CheckID "same" belongs to service ID "one"' '{"services": [
  {"name": "one", "check": {"check_id": "same", "ttl": "1h"}},
  {"name": "two", "check": {"check_id": "same", "ttl": "1h"}}]}'
echo '{"rules": [{"name": "owned", "services": ["pay-*"], "required": ["owner"]}]}' >"$TMP/rules.json"
base+=(--set "registry.rules_file=$TMP/rules.json")
without "what breaks a rule" '1: service: .*breaks the rule "owned"' '{"service": {"name": "pay-1"}}'
unset "base[-1]" "base[-1]"
echo '{"check": {"name": "up", "ttl": "1h", "service_id": "late"}, "service": {"name": "late"}}' >"$TMP/w.json"
check "a check before its service" "configuration ok" "$(checked --config "$TMP/w.json")"
until_logged 'event=definitions.applied' --config "$TMP/w.json" >/dev/null
matches "is registered" 'event=definitions.applied services=1 checks=1 removed=[0-9]+ failed=0' "$(cat "$TMP/start")"
done_testing
