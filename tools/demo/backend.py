#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A small HTTP server that answers every request with its own name: backend.py NAME ADDRESS PORT."""
import http.server
import socket
import sys

name, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = (name + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
    request_queue_size = 128


Server((address, port), Answer).serve_forever()
