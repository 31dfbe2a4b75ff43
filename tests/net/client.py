#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that know nothing of Waymark, for the end-to-end tests.

client.py udp-echo ADDRESS PORT NAME      answer every datagram with NAME
client.py udp ADDRESS PORT [connected]    one datagram; prints the answer and the source that is shown
client.py udp-many ADDRESS PORT COUNT     sockets of their own; prints how often which name answered
client.py peer ADDRESS PORT               dial; prints what getpeername() shows and who answered
client.py loop VIP DNS_NAME STOP_FILE     connect and ask until the file is there; prints "ops failures"
"""
import collections
import ipaddress
import os
import socket
import sys
import threading
import time

import dns.message
import dns.query
import dns.rdatatype


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def udp_echo(address, port, name):
    with socket.socket(family(address), socket.SOCK_DGRAM) as s:
        s.bind((address, int(port)))
        while True:
            _, who = s.recvfrom(512)
            s.sendto(name.encode(), who)


def udp(address, port, mode=""):
    with socket.socket(family(address), socket.SOCK_DGRAM) as s:
        s.settimeout(20)
        if mode == "connected":
            s.connect((address, int(port)))
            s.send(b"q")
        else:
            s.sendto(b"q", (address, int(port)))
        data, who = s.recvfrom(512)
        print(data.decode(), ipaddress.ip_address(who[0]), who[1])


def udp_many(address, port, count):
    names = collections.Counter()
    for _ in range(int(count)):
        with socket.socket(family(address), socket.SOCK_DGRAM) as s:
            s.settimeout(20)
            s.sendto(b"q", (address, int(port)))
            names[s.recv(512).decode()] += 1
    print(" ".join(f"{n}={c}" for n, c in sorted(names.items())))


def fetch(address, port):
    with socket.create_connection((address, port), timeout=20) as s:
        peer = s.getpeername()
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        body = b""
        while chunk := s.recv(4096):
            body += chunk
    return peer, body.rsplit(b"\r\n\r\n", 1)[-1].decode().strip()


def peer(address, port):
    who, name = fetch(address, int(port))
    print(who[0], who[1], name)


def loop(vip, name, stop):
    counts = {"ops": 0, "failures": 0}
    lock = threading.Lock()

    def note(ok, what):
        with lock:
            counts["ops"] += 1
            if not ok:
                counts["failures"] += 1
                print(time.time(), what, file=sys.stderr, flush=True)

    def connects():
        while not os.path.exists(stop):
            try:
                note(fetch(vip, 80)[1].startswith("web-"), "connect: no answer")
            except OSError as e:
                note(False, f"connect: {e}")

    def questions():
        q = dns.message.make_query(name, "A")
        while not os.path.exists(stop):
            try:
                a = dns.query.udp(q, "127.0.0.1", port=8600, timeout=20)
                note(len(a.answer) == 1 and len(a.answer[0]) >= 1, "dns: no records")
            except Exception as e:  # any error of the library's is a lost answer
                note(False, f"dns: {e}")
            time.sleep(0.002)

    threads = [threading.Thread(target=f) for f in (connects, questions)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(counts["ops"], counts["failures"])


commands = {"udp-echo": udp_echo, "udp": udp, "udp-many": udp_many, "peer": peer, "loop": loop}
commands[sys.argv[1]](*sys.argv[2:])
