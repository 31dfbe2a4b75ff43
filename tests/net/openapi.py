#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the agent at URL to its own OpenAPI description: openapi.py URL

Every route is described and every description a route; each GET is asked, with and without each of its
parameters, and every answer must have a status, a type and a shape that the description allows; the keys that
it allows in bodies are known to the decoder, others are not. Leave it a populated agent: "web-1" of service "web"
with a check "c1". Prints a line a failure."""
import http.client
import json
import sys
import urllib.parse

import jsonschema

base = urllib.parse.urlsplit(sys.argv[1])
failed = asked = 0
SAMPLES = {  # a value of each path parameter and query parameter, none of which is refused
    "id": "web-1", "name": "web", "node": "n1", "state": "any", "key": "a/b", "address": "10.8.0.2",
    "dc": "dc1", "ns": "default", "partition": "", "token": "t", "pretty": "", "stale": "", "consistent": "",
    "max_stale": "10s", "cached": "", "index": "1", "wait": "10ms", "passing": "1", "tag": "blue",
    "node-meta": "zone:z1", "near": "_agent", "format": "json", "hash": "0", "limit": "5", "explain": "",
    "service": "web", "count": "3", "filter": "", "note": "n", "reason": "r", "replace-existing-checks": "true", "enable": "false",
    "kind": "service-resolver", "subset": "", "relay-factor": "3", "client": "7", "local-only": "true", "force": "",
    "port": "80", "protocol": "udp", "family": "4", "cgroup": "1", "netns": "1", "uid": "0",
    "verdict": "picked", "instance": "web-1", "after": "0", "kernel_after": "0"}


def fail(text):
    global failed
    failed += 1
    print("FAILED:", text)


def ask(method, path, body=None):
    global asked
    asked += 1
    c = http.client.HTTPConnection(base.hostname, base.port, timeout=20)
    try:
        c.request(method, path, body=body)
        answer = c.getresponse()
        # an event stream does not end: its beginning is enough
        stream = answer.headers.get("Content-Type") == "text/event-stream"
        return answer.status, answer.headers.get("Content-Type"), b"" if stream else answer.read()
    finally:
        c.close()


status, _, text = ask("GET", "/v1/waymark/openapi.json")
document = json.loads(text)
paths = document["paths"]
schemas = {"components": document["components"]}
for name, schema in document["components"]["schemas"].items():
    jsonschema.Draft202012Validator.check_schema(schema)

routes = {(r["method"], r["path"]) for r in json.loads(ask("GET", "/v1/waymark/routes")[2])}
described = set()
for path, methods in paths.items():
    for method, operation in methods.items():
        pattern = path.replace("{", ":").replace("}", "")
        described.add((method.upper(), pattern))
        if operation.get("x-undescribed"):
            fail(f"{method.upper()} {pattern} has no line in openapi.def")
if routes != described:
    fail(f"routes and descriptions differ: {routes ^ described}")


def valid(schema, value, where):
    errors = list(jsonschema.Draft202012Validator({**schemas, **schema}).iter_errors(value))
    for e in errors[:3]:
        fail(f"{where}: {'/'.join(map(str, e.absolute_path))}: {e.message[:200]}")
    return not errors


def hold(operation, where, answer):
    """The answer is one of those that the description has."""
    code, kind, content = answer
    responses = operation["responses"]
    response = responses.get(str(code))
    if not response:
        if code < 400 or kind != "text/plain; charset=utf-8" or not content:
            fail(f"{where}: {code} {kind} is no answer that is described")
        return
    types = response.get("content", {})
    if not types:
        if content:
            fail(f"{where}: has a body: {content[:80]}")
        return
    media = types.get((kind or "").split(";")[0])
    if not media:
        fail(f"{where}: {kind}, where {list(types)} is described")
    elif kind == "application/json":
        valid(media["schema"], json.loads(content), where)


def resolved(parameter):
    ref = parameter.get("$ref")
    return document["components"]["parameters"][ref.rsplit("/", 1)[1]] if ref else parameter


for path, methods in sorted(paths.items()):
    for method, operation in methods.items():
        if method != "get":
            continue
        parameters = [resolved(p) for p in operation["parameters"]]
        real = path
        for p in parameters:
            if p["in"] == "path":
                value = SAMPLES[p["name"]]
                real = real.replace("{" + p["name"] + "}", urllib.parse.quote(value, safe=""))
        hold(operation, f"GET {real}", ask("GET", real))
        if "{" in path:  # what is not there
            hold(operation, f"GET {real}-none", ask("GET", real + "-none"))
        for p in parameters:
            if p["in"] == "query":
                query = urllib.parse.urlencode({p["name"]: SAMPLES[p["name"]]})
                query += "&wait=10ms" if p["name"] in ("index", "hash") else ""
                query += "&service=web" if real == "/v1/waymark/resolve" and p["name"] != "service" else ""
                query += "&name=web" if real == "/v1/waymark/explain/connect" and p["name"] != "name" else ""
                answer = ask("GET", f"{real}?{query}")
                hold(operation, f"GET {real}?{query}", answer)
                if answer[0] == 400:
                    fail(f"GET {real}?{query}: {answer[2]}")
        for query in ("format=text", "format=prometheus", "explain&filter=Service.Port==80", "filter=x"):
            if any(p["name"] == query[:6] or p["name"] == query[:7] for p in parameters):
                hold(operation, f"GET {real}?{query}", ask("GET", f"{real}?{query}"))

# bodies: null is as good as left out, so each known key passes with it
for path, fixed in (("/v1/agent/service/register", {"Name": "body"}),
                    ("/v1/agent/check/register", {"Name": "body", "TTL": "1h"}),
                    ("/v1/waymark/instances/body", {"name": "body"}),
                    ("/v1/catalog/register", {"Node": "body", "Address": "10.9.8.7"}),
                    ("/v1/catalog/deregister", {"Node": "body"}),
                    ("/v1/agent/check/update/c1", {"Status": "passing"})):
    pattern = path.replace("/c1", "/{id}").replace("instances/body", "instances/{id}")
    operation = paths[pattern]["put"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    keys = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]["properties"]
    valid(schema, fixed, path)
    for key in keys:
        body = {**({key: None} if key not in fixed else {}), **fixed}
        answer = ask("PUT", path, json.dumps(body))
        hold(operation, f"PUT {path} {body}", answer)
        if answer[0] != 200:
            fail(f"PUT {path} {body}: {answer[2]}")
    answer = ask("PUT", path, json.dumps({**fixed, "Unheard": 1}))
    if answer[0] != 400:
        fail(f"PUT {path}: a key that is not described passes")


def schema_of(path):
    return paths[path]["put"]["requestBody"]["content"]["application/json"]["schema"]


def ops_of(verb, members):
    """One operation of each kind, with these further members of its object."""
    fixed = {"Node": {"Node": "body", "Address": "10.9.8.7"},
             "Service": {"ID": "body-1", "Service": "body"},
             "Check": {"Node": "body", "CheckID": "body", "Name": "body", "Status": "passing"}}
    for kind, value in fixed.items():
        op = {"Verb": verb, kind: {**value, **members.get(kind, {})}}
        yield {kind: {**op, "Node": "body"} if kind == "Service" else op}


# transactions: every key of every kind of operation, and of what is in it
writes = {"Node": "CatalogNodeWrite", "Service": "CatalogServiceWrite", "Check": "CatalogCheckWrite"}
operation = paths["/v1/txn"]["put"]
base_ops = list(ops_of("set", {}))
for kind, shape in writes.items():
    keys = document["components"]["schemas"][shape]["properties"]
    present = next(op for op in base_ops if kind in op)[kind][kind]
    for key in [k for k in keys if k not in present]:
        body = list(ops_of("set", {kind: {key: None}}))
        answer = ask("PUT", "/v1/txn", json.dumps(body))
        hold(operation, f"PUT /v1/txn {kind}.{key}", answer)
        if answer[0] != 200:
            fail(f"PUT /v1/txn {kind}.{key}: {answer[2]}")
    answer = ask("PUT", "/v1/txn", json.dumps(list(ops_of("set", {kind: {"Unheard": 1}}))))
    hold(operation, f"PUT /v1/txn {kind}.Unheard", answer)
    if answer[0] == 200 or b"Unheard" not in answer[2]:
        fail(f"PUT /v1/txn {kind}: a key that is not described passes: {answer}")
for op, key in (("Node", "Check"), ("Check", "Node"), ("Node", "Service")):
    answer = ask("PUT", "/v1/txn", json.dumps([{op: {"Verb": "set", key: {"Node": "body", "Address": "10.9.8.7"}}}]))
    if answer[0] == 200:
        fail(f"PUT /v1/txn: an operation {op} with a {key} passes")
for verb in ("get", "cas", "delete-cas", "delete"):
    body = list(ops_of(verb, {}))
    valid(schema_of("/v1/txn"), body, f"/v1/txn {verb}")
    hold(operation, f"PUT /v1/txn {verb}", ask("PUT", "/v1/txn", json.dumps(body)))
if jsonschema.Draft202012Validator({**schemas, **schema_of("/v1/txn")}).is_valid(
        [{"Node": {"Verb": "sat", "Node": {"Node": "body"}}}]):
    fail("the description takes any verb")


def without_nulls(value):
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


# bodies that a real Consul took, as they were sent, are what the description says; keys in any case
for line in open("tests/net/catalog_writes.jsonl", encoding="utf-8"):
    write = json.loads(line)
    body, path = write.get("body"), write.get("path", "").split("?")[0]
    if body and write["status"] == 200 and path in paths:
        body = json.loads(body) if isinstance(body, str) else body
        valid(schema_of(path), without_nulls(body), f"{path} as recorded")
ask("PUT", "/v1/catalog/deregister", '{"Node": "body"}')
print(f"{len(described)} routes, {asked} requests, {failed} failures")
sys.exit(failed > 0)
