# SPDX-License-Identifier: Apache-2.0
"""Clients that dial one address again and again: dialers.py ADDRESS PORT CLIENTS SECONDS [FILE].

Each dials at least TIMES, however long that takes; with FILE they go on until that is there, too, and FILE.on tells
that somebody is connected. Each waits for at most 5 s for a connection, which it closes at once. Prints how many were made and
how many failed, of all, the most that failed for one client, and the errors.
"""
import errno
import os
import socket
import sys
import threading
import time

address, port, clients, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
end = time.monotonic() + seconds
TIMES = 100
until = sys.argv[5] if len(sys.argv) > 5 else None
made = [0] * clients
failed = [0] * clients
errors = set()


def dial(n):
    while time.monotonic() < end or made[n] + failed[n] < TIMES or (until and not os.path.exists(until)):
        s = socket.socket()
        s.settimeout(5)
        try:
            s.connect((address, port))
            made[n] += 1
            if until and made[n] == 1:
                open(until + ".on", "w", encoding="ascii").close()
        except OSError as e:
            failed[n] += 1
            errors.add(errno.errorcode.get(e.errno, str(e)))
        s.close()
        time.sleep(0.001)


threads = [threading.Thread(target=dial, args=(n,)) for n in range(clients)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(sum(made), sum(failed), max(failed), *sorted(errors))
