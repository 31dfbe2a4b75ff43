#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kube_server.py - an API server that plays what it is told: recorded lists and watches, and what no
API server should say. Arguments: a scenario, a file for its port, a file for what it was asked;
--cert, --key: TLS; --client-ca: who shows no certificate of it is turned away.

A scenario is JSON: {"<path>": {"list": [answer...], "watch": [answer...], "patch": [answer...]}}: answers are given one
after the other, the last one again and again. An answer has "status" (200), "type", "headers",
"json" (a body) or "file" (of tests/net/kubernetes, as a
real server said it, in odd pieces) or "events" (a line each) or "text", "times" (of the text; 0: without end), "slow"
(seconds between pieces of 64 octets), "slices" (of 100 endpoints each, made up, in pages as asked
for), "end": "whole", "cut" (no last chunk), "reset", "hang". "if_token": others get 401."""
import argparse
import http.server
import json
import os
import socket
import ssl
import struct
import threading
import time
import urllib.parse

LOCK = threading.Lock()


def slice_of(n):
    ready = [{"addresses": [f"10.{n % 250}.{e // 200}.{e % 200 + 1}"],
              "conditions": {"ready": True, "serving": True, "terminating": False},
              "nodeName": f"node-{e}", "zone": "a",
              "targetRef": {"kind": "Pod", "namespace": f"ns-{n % 50}", "name": f"web-{n}-{e}",
                            "uid": f"00000000-0000-4000-8000-{n * 100 + e:012d}"}} for e in range(100)]
    return {"metadata": {"name": f"web-{n}", "namespace": f"ns-{n % 50}", "resourceVersion": str(n + 1),
                         "labels": {"kubernetes.io/service-name": f"web-{n}"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": ready}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        self.give("watch" if "watch" in query else "list", query, "")

    def do_PATCH(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.give("patch", {}, f"{self.headers['Content-Type']} {body}")

    def give(self, kind, query, said):
        url = urllib.parse.urlsplit(self.path)
        with LOCK:
            with open(self.server.asked, "a", encoding="utf-8") as f:
                f.write(f"{self.path} {self.headers.get('Authorization', '-')}{' ' if said else ''}{said}\n")
            answers = self.server.scenario().get(url.path, {}).get(kind)
            answer = {"status": 404, "json": {"kind": "Status", "message": "not found"}}
            if answers:
                at = self.server.at.get((url.path, kind), 0)
                answer = answers[min(at, len(answers) - 1)]
                self.server.at[url.path, kind] = at + 1
        if "if_token" in answer and self.headers.get("Authorization") != "Bearer " + answer["if_token"]:
            answer = {"status": 401, "json": {"kind": "Status", "message": "Unauthorized", "code": 401}}
        self.play(answer, query)

    def play(self, a, query):
        self.send_response(a.get("status", 200))
        self.send_header("Content-Type", a.get("type", "application/json"))
        for name, value in a.get("headers", {}).items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        self.body(a, query)
        end = a.get("end", "whole")
        if end == "whole":
            self.wfile.write(b"0\r\n\r\n")
            return
        self.close_connection = True
        if end == "hang":
            self.wfile.flush()
            while self.connection.recv(4096):
                pass
        elif end == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def body(self, a, query):
        slow = a.get("slow", 0)
        if "json" in a:
            self.piece(json.dumps(a["json"]) + "\n", slow)
        if "file" in a:
            with open("tests/net/kubernetes/" + a["file"], encoding="latin-1") as f:
                text = f.read()
            for at in range(0, len(text), 777):
                self.piece(text[at:at + 777], 0)
        for event in a.get("events", []):
            self.piece(json.dumps(event, separators=(",", ":")) + "\n", slow)
        if "slices" in a:
            self.slices(a["slices"], query)
        if "text" in a:
            text, times = a["text"], a.get("times", 1)
            if times == 0 or times > 1000:
                text, times = text * 1000, times // 1000
            while True:
                self.piece(text, slow)
                times -= 1
                if times == 0:
                    break

    def slices(self, count, query):
        first, limit = int(query.get("continue", ["0"])[0]), int(query["limit"][0]) or count
        last = min(first + limit, count)
        meta = {"resourceVersion": str(count)}
        if last < count:
            meta["continue"] = str(last)
        self.piece(json.dumps({"kind": "EndpointSliceList", "metadata": meta})[:-1] + ',"items":[', 0)
        for n in range(first, last):
            self.piece(("," if n > first else "") + json.dumps(slice_of(n)), 0)
        self.piece("]}", 0)

    def piece(self, text, slow):
        data = text.encode("latin-1")
        step = 64 if slow else len(data)
        for at in range(0, len(data), step or 1):
            part = data[at:at + step]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            if slow:
                self.wfile.flush()
                time.sleep(slow)
        self.wfile.flush()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        pass

    def scenario(self):  # as the file is now: tests write another one
        try:
            with open(self.path, encoding="utf-8") as f:
                self.last = json.load(f)
        except ValueError:
            pass
        return self.last

    def get_request(self):
        sock, addr = super().get_request()
        sock.settimeout(120)
        return sock, addr

    def finish_request(self, request, client_address):
        if self.tls:  # in the thread of the connection: a client that only connects holds nobody up
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("scenario")
    p.add_argument("port_file")
    p.add_argument("asked")
    p.add_argument("--cert")
    p.add_argument("--key")
    p.add_argument("--client-ca")
    p.add_argument("--port", type=int, default=0)
    o = p.parse_args()
    s = Server(("127.0.0.1", o.port), Handler)
    s.path, s.asked, s.at, s.last, s.tls = o.scenario, o.asked, {}, {}, None
    if o.cert:
        s.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        s.tls.load_cert_chain(o.cert, o.key)
        if o.client_ca:
            s.tls.load_verify_locations(o.client_ca)
            s.tls.verify_mode = ssl.CERT_REQUIRED
    with open(o.port_file + ".new", "w", encoding="utf-8") as f:
        f.write(str(s.server_address[1]))
    os.rename(o.port_file + ".new", o.port_file)
    s.serve_forever()


main()
