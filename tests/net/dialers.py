# SPDX-License-Identifier: Apache-2.0
"""Clients that dial one address again and again: dialers.py ADDRESS PORT CLIENTS SECONDS.

Each waits for at most 5 s for a connection, which it closes at once. Prints how many were made and
how many failed, of all, and the most that failed for one client.
"""
import socket
import sys
import threading
import time

address, port, clients, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
end = time.monotonic() + seconds
made = [0] * clients
failed = [0] * clients


def dial(n):
    while time.monotonic() < end:
        s = socket.socket()
        s.settimeout(5)
        try:
            s.connect((address, port))
            made[n] += 1
        except OSError:
            failed[n] += 1
        s.close()
        time.sleep(0.001)


threads = [threading.Thread(target=dial, args=(n,)) for n in range(clients)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(sum(made), sum(failed), max(failed))
