# SPDX-License-Identifier: Apache-2.0
"""What clients of the tests share: check() prints a line, finish() exits with 1 if one of them differed."""
import sys

failed = False


def check(what, want, have):
    global failed
    if want == have:
        print("ok:", what)
    else:
        print(f"FAILED: {what}: expected {want!r}, saw {have!r}")
        failed = True


def finish():
    sys.exit(failed)
