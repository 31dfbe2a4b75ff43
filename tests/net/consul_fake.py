#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""consul_fake.py PORT [CERT KEY CA] - what follows a Consul sees of one that is small, or means harm.

Services and indexes are real: queries block until the index is above theirs. PUT /control {"mode": M,
"services": {name: [ids]}, "index": N, "dc": D, "cluster": UUID} changes it, GET /control/seen tells what was asked. Modes:
good; garbage (no JSON), cut (half of an answer), endless (a body without an end), noindex, back (each index is
lower than the last), stuck (answers at once with the same index), alien (another service's instances), slow
(an octet a second), leaderless, limited (429), denied (403), broken (500), hang (no answer). With CERT it speaks
TLS, to who shows a certificate of CA; /control/seen has its name."""
import json
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LOCK = threading.Condition()
STATE = {"mode": "good", "services": {}, "index": 10, "dc": "quay", "zone": "z9", "node_index": 1, "cluster": ""}
SEEN = {"self": 0, "services": 0, "health": 0, "token": "", "blocking": 0, "at_once": 0, "most": 0, "paths": {}}
OPEN = [0]
BACK = [1 << 40]


def instance(name, ident):
    """As /v1/health/service has it; "id@host:port/status" says where."""
    ident, _, rest = ident.partition("@")
    at, _, status = rest.partition("/")
    host, _, port = at.partition(":")
    return {
        "Node": {"ID": "", "Node": "shale-9", "Address": "127.0.0.9", "Datacenter": STATE["dc"],
                 "TaggedAddresses": None, "Meta": {"zone": STATE["zone"]}, "CreateIndex": 1,
                 "ModifyIndex": STATE["node_index"]},
        "Service": {"ID": ident, "Service": name, "Tags": ["t"], "Address": host or "127.0.0.1", "Meta": None,
                    "Port": int(port or 1), "Weights": {"Passing": 1, "Warning": 1}},
        "Checks": [{"Node": "shale-9", "CheckID": "service:" + ident, "Name": "c", "Status": status or "passing",
                    "Notes": "", "Output": "", "ServiceID": ident, "ServiceName": name, "Type": "ttl"}],
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def say(self, code, body, headers=None):
        self.send_response(code)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with LOCK:
            STATE.update(json.loads(body))
            if "services" in json.loads(body) and "index" not in json.loads(body):
                STATE["index"] += 1
            LOCK.notify_all()
        self.say(200, b"")

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        if url.path == "/control/seen":
            with LOCK:
                self.say(200, json.dumps(SEEN).encode())
            return
        with LOCK:
            SEEN["token"] = self.headers.get("X-Consul-Token", "")
            if isinstance(self.connection, ssl.SSLSocket):
                SEEN["client"] = self.connection.getpeercert()["subject"][0][0][1]
            OPEN[0] += 1
            SEEN["most"] = max(SEEN["most"], OPEN[0])
        try:
            self.answer(url.path, query)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with LOCK:
                OPEN[0] -= 1

    def answer(self, path, query):
        mode = STATE["mode"]
        if mode == "hang":
            time.sleep(3600)
        if mode in ("limited", "denied", "broken"):
            code = {"limited": 429, "denied": 403, "broken": 500}[mode]
            self.say(code, b"no")
            return
        if path == "/v1/agent/self":
            with LOCK:
                SEEN["self"] += 1
            self.say(200, json.dumps({"Config": {"Datacenter": STATE["dc"], "NodeName": "fake",
                                                 "NodeID": "0416e1fd-c5a3-77a0-bd00-f1cc55814540"}}).encode())
            return
        if path == "/v1/connect/ca/roots":  # as one does that has no Connect
            if STATE["cluster"]:
                self.say(200, json.dumps({"TrustDomain": STATE["cluster"] + ".consul", "Roots": []}).encode())
            else:
                self.say(500, b"Connect must be enabled in order to use this endpoint")
            return
        kind = "services" if path == "/v1/catalog/services" else "health"
        index = int(query.get("index", ["0"])[0])
        wait = float(query.get("wait", ["0ms"])[0][:-2]) / 1000
        with LOCK:
            SEEN[kind] += 1
            SEEN["blocking" if index else "at_once"] += 1
            SEEN["paths"][path] = SEEN["paths"].get(path, 0) + 1
            end = time.time() + wait
            while index and STATE["index"] <= index and STATE["mode"] in ("good", "leaderless") and time.time() < end:
                LOCK.wait(max(0.0, min(1.0, end - time.time())))
            mode = STATE["mode"]
            seen = STATE["index"]
            if kind == "services":
                body = {name: [] for name in STATE["services"]}
            else:
                name = unquote(path.rsplit("/", 1)[1])
                said = "alien" if mode == "alien" else name
                body = [instance(said, i) for i in STATE["services"].get(name, [])]
        headers = {"X-Consul-Index": str(seen), "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0",
                   "Content-Type": "application/json"}
        body = json.dumps(body).encode()
        if mode == "garbage":
            body = b'[{"Node": {"Node": \x00\xff' * 50
        elif mode == "cut":
            body = body[:len(body) // 2]
        elif mode == "noindex":
            del headers["X-Consul-Index"]
        elif mode == "back":
            BACK[0] -= 1
            headers["X-Consul-Index"] = str(BACK[0])
        elif mode == "leaderless":
            headers["X-Consul-KnownLeader"] = "false"
        elif mode in ("endless", "slow"):
            self.send_response(200)
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            self.close_connection = True
            self.wfile.write(b"[")
            while STATE["mode"] == mode:
                self.wfile.write(b" " * (65536 if mode == "endless" else 1))
                if mode == "slow":
                    time.sleep(1)
            return
        self.say(200, body, headers)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Who gave up on us resets the connection."""


if __name__ == "__main__":
    SERVER = Server(("127.0.0.1", int(sys.argv[1])), Handler)
    if len(sys.argv) > 2:
        CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        CONTEXT.load_cert_chain(sys.argv[2], sys.argv[3])
        CONTEXT.load_verify_locations(sys.argv[4])
        CONTEXT.verify_mode = ssl.CERT_REQUIRED
        SERVER.socket = CONTEXT.wrap_socket(SERVER.socket, server_side=True, do_handshake_on_connect=False)
    SERVER.serve_forever()
