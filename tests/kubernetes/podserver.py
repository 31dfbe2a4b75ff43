# SPDX-License-Identifier: Apache-2.0
"""What runs in a played pod: podserver.py NAME PORT[/udp]... says its name to whoever connects or sends to it,
HTTP enough for curl. SIGTERM ends it at once: what it should still have done is preStop's to wait for."""
import selectors
import signal
import socket
import sys

name = sys.argv[1].encode() + b"\n"
ANSWER = b"HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name)
ready = selectors.DefaultSelector()


def accept(listener):
    try:
        conn, _ = listener.accept()
    except OSError:
        return
    try:
        conn.setblocking(False)
        conn.send(ANSWER)
        conn.shutdown(socket.SHUT_WR)
        ready.register(conn, selectors.EVENT_READ, drain)
    except OSError:
        conn.close()


def drain(conn):
    """Until the client has closed: a close with octets unread would reset what we said."""
    try:
        if conn.recv(4096):
            return
    except BlockingIOError:
        return
    except OSError:
        pass
    ready.unregister(conn)
    conn.close()


def datagram(sock):
    try:
        _, peer = sock.recvfrom(4096)
        sock.sendto(name, peer)
    except OSError:
        pass


signal.signal(signal.SIGTERM, signal.SIG_DFL)
for arg in sys.argv[2:]:
    port, _, udp = arg.partition("/")
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("::", int(port)))
    s.setblocking(False)
    if not udp:
        s.listen(1024)
    ready.register(s, selectors.EVENT_READ, datagram if udp else accept)
while True:
    for key, _ in ready.select():
        key.data(key.fileobj)
