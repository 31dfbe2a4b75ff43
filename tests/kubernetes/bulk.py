# SPDX-License-Identifier: Apache-2.0
"""Many Services, each with a slice of the test's own: bulk.py fill SERVICES ENDPOINTS_EACH | churn SECONDS SERVICES.

fill: namespaces bulk-0 to bulk-9 with services s0, s1, ... of addresses in 10.128.0.0/9; what stands is left.
churn: one slice is written a second, with another endpoint each time."""
import multiprocessing
import sys
import time

from kube import CORE, DISCOVERY, Kube, endpoint_slice, namespace, service

SPACES, WORKERS = 10, 4


def address(i, j):
    return f"10.{128 + (i >> 10)}.{i >> 2 & 255}.{(i & 3) << 6 | j + 1}"


def slice_of(i, each, shift=0):
    return endpoint_slice(f"s{i}-1", f"s{i}", [address(i, j + shift) for j in range(each)], [("http", 8080)], on=f"n{i % 3 + 1}")


def make(args):
    first, count, each = args
    kube = Kube()
    for i in range(first, count, WORKERS):
        space = f"bulk-{i % SPACES}"
        for path, body in ((f"{CORE}/namespaces/{space}/services", service(f"s{i}", [("http", 80, 8080)])),
                           (f"{DISCOVERY}/namespaces/{space}/endpointslices", slice_of(i, each))):
            status, _, text = kube.ask("POST", path, body)
            if status not in (201, 409):
                raise RuntimeError(f"{path}: {status} {text[:300]}")


def fill(count, each):
    kube = Kube()
    for s in range(SPACES):
        kube.ask("POST", CORE + "/namespaces", namespace(f"bulk-{s}"))
    with multiprocessing.Pool(WORKERS) as pool:
        pool.map(make, [(w, count, each) for w in range(WORKERS)])


def churn(seconds, count):
    kube, start = Kube(), time.monotonic()
    for n in range(seconds):
        i = n * 7919 % count
        path = f"{DISCOVERY}/namespaces/bulk-{i % SPACES}/endpointslices/s{i}-1"
        kube.must("PUT", path, slice_of(i, 10, 1 + n % 2))
        time.sleep(max(0, start + n + 1 - time.monotonic()))


if __name__ == "__main__":
    {"fill": fill, "churn": churn}[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
