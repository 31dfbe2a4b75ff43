#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every bound of the HTTP side is met on purpose, and the agent goes on: limits.py, against an agent whose
settings test_limits.sh makes small. Past a bound the client is told why, and a counter says so. Prints a line a
finding, exits with 1 when one is not as expected. Nothing is timed; what must come has a generous deadline."""
import http.client
import json
import socket
import time

from checks import check, finish

HOST, PORT = "127.0.0.1", 8500
DEADLINE = 60


def request(method, path, body=None, headers=None, source="127.0.0.1"):
    c = http.client.HTTPConnection(HOST, PORT, timeout=DEADLINE, source_address=(source, 0))
    try:
        c.request(method, path, body=body, headers=headers or {})
        a = c.getresponse()
        return a.status, a.read().decode(), a.headers
    finally:
        c.close()


def get(path, **more):
    return request("GET", path, **more)


def status():
    return json.loads(get("/v1/waymark/status")[1])


def until(what, condition):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if condition():
            print("ok:", what)
            return
        time.sleep(0.05)
    check(what, True, False)


def dial(source="127.0.0.1", receive=0):
    s = socket.socket()
    if receive:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    s.settimeout(DEADLINE)
    s.bind((source, 0))
    s.connect((HOST, PORT))
    return s


def ask(s, path, method="GET", more=""):
    s.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode())


def closed(s):
    """The other side ended it, whatever came before."""
    s.settimeout(0)
    try:
        while s.recv(1 << 16):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def register(n, more=""):
    return request("PUT", "/v1/agent/service/register", json.dumps(
        {"ID": f"i{n}", "Name": "web", "Port": 80, "Meta": {f"k{i}": "v" * 500 for i in range(40)}}))


# --- sizes
check("a body", 413, request("PUT", "/v1/agent/service/register", "x" * 40000)[0])
code, text, _ = request("PUT", "/v1/agent/service/register", "x" * 400000)
check("one far too large, in our words", (413, "Request body too large, max allowed: 32768 bytes"), (code, text))
check("headers", 431, get("/", headers={"X-A": "a" * 20000})[0])
check("both are counted", 3, status()["http"]["http_too_large"])

# --- blocking queries
code, _, headers = get("/v1/health/service/web")
index = headers["X-Consul-Index"]
watchers = [dial() for _ in range(4)]
for s in watchers:
    ask(s, f"/v1/health/service/web?index={index}&wait=10m")
until("as many as may wait do", lambda: status()["api"]["watchers"] == 4)
code, text, headers = get(f"/v1/health/service/web?index={index}&wait=10m")
check("the next is told", (429, "Too many blocking queries (limit: 4)", "1"), (code, text, headers["Retry-After"]))
check("and counted", 1, status()["api"]["api_watch_full"])
check("who does not wait is served", 200, get("/v1/health/service/web")[0])
for s in watchers:
    s.close()
until("those that left make room", lambda: status()["api"]["watchers"] == 0)

# --- connections of one address, and of all
crowd = [dial("127.0.0.2") for _ in range(10)]
until("an address has as many as it may", lambda: status()["http"]["connections"] >= 10)
code, text, headers = get("/v1/status/leader", source="127.0.0.2")
check("the next is told", (429, "Too many connections", "1"), (code, text, headers["Retry-After"]))
check("another address is served", 200, get("/v1/status/leader", source="127.0.0.3")[0])
check("and it is counted", 1, status()["http"]["http_over_limit"])
until("idle ones are cut off", lambda: all(closed(s) for s in crowd))
for s in crowd:
    s.close()
crowd = [dial(f"127.0.1.{n // 10}") for n in range(30)]
code, text, headers = get("/v1/status/leader", source="127.0.0.9")
check("all addresses together have a bound too", (429, "Too many connections"), (code, text))
until("which idle ones leave", lambda: all(closed(s) for s in crowd))
for s in crowd:
    s.close()

# --- memory: answers that nobody takes, requests that do not end
for n in range(550):
    if register(n)[0] != 200:
        check("register", 200, register(n))
        break
big = len(get("/v1/health/service/web")[1])
check("an answer is more than half of the memory", True, 8 << 20 < big < 16 << 20)
slow = dial(receive=4096)
ask(slow, "/v1/health/service/web")
until("a slow reader takes its time", lambda: status()["http"]["connections"] >= 2)
code, text, headers = get("/v1/health/service/web")
check("there is no room for a second answer like it",
      (503, "Too much is being sent, try again", "1"), (code, text, headers["Retry-After"]))
check("it is counted", 1, status()["http"]["http_no_room"])
check("small answers have room", 200, get("/v1/catalog/services")[0])
check("and writes", 200, request("PUT", "/v1/agent/service/register", '{"Name": "db"}')[0])
until("the slow reader is cut off", lambda: closed(slow))
slow.close()
check("then there is room again", 200, get("/v1/health/service/web")[0])

# --- slow clients of every kind at a time, while others go on
before = status()["http"]["http_deadline"]
slow = [dial(f"127.0.2.{n}") for n in range(6)]
slow[0].sendall(b"GET /v1/status/leader HTTP/1.1\r\nHost: loc")
slow[1].sendall(b"PUT /v1/agent/service/register HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
slow[2].sendall(b"PUT /v1/agent/service/register HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{")
slow[3].sendall(b"\r\n")
ask(slow[5], "/v1/health/service/db?index=99999&wait=12s")  # one that only blocks is not slow
served = 0
end = time.monotonic() + DEADLINE
while time.monotonic() < end and not all(closed(s) for s in slow[:5]):
    served += get("/v1/status/leader")[0] == 200
    try:
        slow[0].sendall(b"a")  # an octet now and then is no progress
    except OSError:
        pass
    time.sleep(0.02)
check("all are cut off", True, all(closed(s) for s in slow[:5]))
check("others are served meanwhile", True, served > 10)
slow[5].settimeout(DEADLINE)
check("one that waited longer than any timeout has its answer", True, slow[5].recv(12) == b"HTTP/1.1 200")
check("their deadlines are counted", True, status()["http"]["http_deadline"] - before >= 4)
for s in slow:
    s.close()

# --- what the registry holds
for n in range(3):
    check("checks below their bound", 200, request("PUT", "/v1/agent/check/register",
                                                   '{"Name": "c%d", "TTL": "1h"}' % n)[0])
code, text = request("PUT", "/v1/agent/check/register", '{"Name": "c3", "TTL": "1h"}')[:2]
check("one check more", (503, "Checks: at most 3 are allowed (checks_max)"), (code, text.strip()))
check("the same once more is no more", 200,
      request("PUT", "/v1/agent/check/register", '{"Name": "c2", "TTL": "2h"}')[0])

# --- event streams
streams = []
for n in range(20):
    s = dial(f"127.0.3.{n % 4}")
    ask(s, "/v1/waymark/events")
    streams.append(s)
until("streams listen", lambda: status()["http"]["connections"] >= 20)
time.sleep(8)  # longer than any timeout of the settings: a stream that is silent is not slow
check("silence is no reason to cut them off", False, any(closed(s) for s in streams))
for s in streams:
    s.close()
until("nothing is left", lambda: status()["http"]["connections"] <= 1)
finish()
