B=build/release
. "$(dirname "$0")/../net/lib.sh"
T=$B/tests
N=${N:-60000}
start_agent --set http.watchers_max=11000 --set kernel.enabled=false
"$T/regload" -n 128 -i 2 -P look- >/dev/null
curl -s -i "$API/v1/health/service/look-000001?passing" >$TMP/ans; wc -c $TMP/ans; head -12 $TMP/ans
mkdir -p $TMP/www/v1/health/service
for i in $(seq -f '%06g' 0 63); do curl -s "$API/v1/health/service/look-$i?passing" >$TMP/www/v1/health/service/look-$i; done
chmod -R a+rX $TMP $TMP/www
cat >$TMP/nginx.conf <<E
worker_processes 1;
daemon off;
pid $TMP/nginx.pid;
error_log $TMP/nginx.log;
user root;
events { worker_connections 4096; }
http {
 access_log off; keepalive_requests 100000000; keepalive_timeout 600; default_type application/json; tcp_nodelay on; sendfile ${SENDFILE:-on};
 client_body_temp_path $TMP/n1; proxy_temp_path $TMP/n2; fastcgi_temp_path $TMP/n3; uwsgi_temp_path $TMP/n4; scgi_temp_path $TMP/n5;
 server { listen 127.0.0.1:18500; root $TMP/www; }
}
E
nginx -c $TMP/nginx.conf -e $TMP/nginx.log & NG=$!
until_ok 10 curl -sf http://127.0.0.1:18500/v1/health/service/look-000001 || cat $TMP/nginx.log
W=$(pgrep -P $NG)
if [ -n "${CMD:-}" ]; then eval "$CMD"; exit 0; fi
for r in 1 2 3; do
for s in ours nginx; do
 p=8500 pid=$AGENT; [ $s = ours ] || { p=18500; pid=$W; }
 echo $s $("$T/regload" -l -p $p -N ${CL:-64} -n $N -i 1 -m 64 -P look- -S $pid | tail -1)
done; done
kill $NG
