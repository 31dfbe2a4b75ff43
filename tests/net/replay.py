#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Exchanges recorded from a Consul 1.21.4, asked again of this agent.

replay.py URL FILE...   each line of a file is one exchange:

  method, path, body      what is sent
  status, type, headers   of the answer; type is its Content-Type, absent where there is no body
  text                    the exact text of it
  json                    its content: keys, types and values. In place of what differs from run to run:
                          <index> a number from 1 on, <number>, <string>, <uuid>, <address> host and port,
                          <strings> an object of strings, <object>
  cut                     the recording was cut off here: "[" or "{", only that it is JSON of this kind
  deviates, ours          why we answer otherwise on purpose, and what of the above is ours instead; without
                          names what we have not. It is an error where the answer is Consul's after all.
  note                    for the reader
  needs                   alone in the first line: the rest is skipped unless the agent has this route

Everywhere, so that it is not said at each: what Consul leaves out or gives as null when it is empty, we write
as "", 0, false, [] or {}; "0s" is an empty duration. A service without tagged addresses has no such member here either. Prints a line an exchange, exits with 1 when one is not as recorded."""
import http.client
import json
import re
import sys
import urllib.parse

ABSENT = ("TaggedAddresses", "ServiceTaggedAddresses")  # of a service, when there are none: clients compare it
EMPTY = ("", 0, False, [], {}, None)
PLACES = {
    "<index>": lambda v: isinstance(v, int) and not isinstance(v, bool) and 0 < v < 2 ** 53,
    "<number>": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "<string>": lambda v: isinstance(v, str),
    "<uuid>": lambda v: isinstance(v, str) and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", v),
    "<address>": lambda v: isinstance(v, str) and re.fullmatch(r"[0-9.]+:[0-9]+", v),
    "<strings>": lambda v: isinstance(v, dict) and all(isinstance(x, str) for x in v.values()),
    "<object>": lambda v: isinstance(v, dict),
}


def empty(v):
    return any(v == e and type(v) is type(e) for e in EMPTY)


def kind(v):
    return "number" if isinstance(v, (int, float)) and not isinstance(v, bool) else type(v).__name__


def differences(want, have, where="answer"):
    """What differs, as sentences."""
    if isinstance(want, str) and want in PLACES:
        if not PLACES[want](have):
            yield f"{where}: {want}, saw {have!r}"
    elif want is None:
        if have is not None and not empty(have):
            yield f"{where}: null, saw {have!r}"
    elif want == "0s" and have == "":
        return
    elif kind(want) != kind(have):
        yield f"{where}: a {kind(want)}, saw the {kind(have)} {have!r}"
    elif isinstance(want, dict):
        for key in want.keys() - have.keys():
            yield f"{where}.{key} is missing"
        for key in have.keys() - want.keys():
            if not empty(have[key]) or key in ABSENT:
                yield f"{where}.{key}: Consul has no such key, saw {have[key]!r}"
        for key in want.keys() & have.keys():
            yield from differences(want[key], have[key], f"{where}.{key}")
    elif isinstance(want, list):
        if len(want) != len(have):
            yield f"{where}: {len(want)} elements, saw {len(have)}"
            return
        for i, (w, h) in enumerate(zip(want, have)):
            yield from differences(w, h, f"{where}[{i}]")
    elif want != have:
        yield f"{where}: {want!r}, saw {have!r}"


def judge(want, status, headers, body):
    """What of an answer is not as recorded."""
    text = body.decode()
    if status != want["status"]:
        yield f"status {want['status']}, saw {status} {text[:200]!r}"
        return
    have = headers.get("Content-Type")
    if have != want.get("type"):
        yield f"Content-Type {want.get('type')}, saw {have}"
    for name, value in want.get("headers", {}).items():
        have = headers.get(name)
        if value == "<index>":
            if not have or not have.isdigit() or not 0 < int(have) < 2 ** 53:
                yield f"header {name} a number, saw {have}"
        elif have is None or (have != value and value != "<string>"):
            yield f"header {name}: {value}, saw {have}"
    if "text" in want:
        if text != want["text"] and not (want["text"] == "<string>" and text):
            yield f"text {want['text']!r}, saw {text!r}"
    elif "json" in want or "cut" in want:
        try:
            value = json.loads(text)
        except ValueError as e:
            yield f"no JSON: {e}: {text[:200]!r}"
            return
        if "cut" in want and not isinstance(value, list if want["cut"] == "[" else dict):
            yield f"JSON that begins with {want['cut']}, saw {text[:80]!r}"
        if "json" in want:
            yield from differences(want["json"], value)
    elif text:
        yield f"no body, saw {text[:200]!r}"


def exchange(base, method, path, body=None):
    c = http.client.HTTPConnection(base.hostname, base.port, timeout=20)
    try:
        c.request(method, path, body=body)
        answer = c.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        c.close()


def has_route(base, route):
    routes = json.loads(exchange(base, "GET", "/v1/waymark/routes")[2])
    return route in [f"{r['method']} {r['path']}" for r in routes]


def replay(base, name):
    failed = asked = deviations = 0
    with open(name, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            e = json.loads(line)
            if "needs" in e:
                if not has_route(base, e["needs"]):
                    print(f"left out: {name}: the agent has no {e['needs']}")
                    return 0
                continue
            answer = exchange(base, e["method"], e["path"], e.get("body"))
            found = list(judge(e, *answer))
            asked += 1
            if "deviates" in e:
                deviations += 1
                if not found:
                    found = ["it is as recorded: it deviates no more"]
                else:
                    ours = {k: v for k, v in e.items() if k not in e.get("without", ())}
                    found = list(judge({**ours, **e["ours"]}, *answer))
            for sentence in found:
                print(f"FAILED: {name}:{number} {e['method']} {e['path'][:80]}: {sentence}")
            failed += bool(found)
    print(f"{name}: {asked} exchanges, {deviations} deviate on purpose, {failed} failed")
    return failed


if __name__ == "__main__":
    url = urllib.parse.urlsplit(sys.argv[1])
    sys.exit(any([replay(url, name) for name in sys.argv[2:]]))
