#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A real gRPC server that speaks grpc.health.v1.Health/Check: grpc_peer.py DIRECTORY [CERT KEY].
Prints its port. The services it knows: "" and "up" serve, "down" does not, "odd" has a status that no
one knows, "more" has fields that are new, "slow" never answers, "huge" answers a lot, "file" is what
the file `state` in DIRECTORY holds. Written without generated code: the messages have one field."""
import os
import signal
import sys
import time
from concurrent import futures

import grpc

STATES = {b"": b"\x08\x01", b"up": b"\x08\x01", b"down": b"\x08\x02", b"odd": b"\x08\x63",
          b"more": b"\x12\x03new\x19........\x25....\x08\x01\x30\x05", b"none": b"",
          b"broken": b"\x0f", b"huge": b"\x12\xff\xff\x03" + b"x" * 65535}


def check(request, context):
    service = request[2:] if request else b""
    if request and (request[0] != 0x0A or request[1] != len(service)):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a request: %r" % request)
    if service == b"slow":
        time.sleep(3600)
    if service == b"file":
        with open(os.path.join(sys.argv[1], "state"), "rb") as f:
            service = f.read().strip()
    if service not in STATES:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return STATES[service]


server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
    "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)}),))
if len(sys.argv) > 2:
    with open(sys.argv[2], "rb") as cert, open(sys.argv[3], "rb") as key:
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(
            [(key.read(), cert.read())]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
signal.pause()
