#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The samples of docs/bpftool.md and docs/troubleshooting.md: bpftool-samples.py PAGE PIN_DIRECTORY CGROUP [--check].

Each block that begins with "# command" is the command and what it prints, here run on the given pin
directory and cgroup. With --check nothing is written: it fails where a block no longer has the shape of
what is printed, whatever the numbers are."""
import difflib
import os
import re
import subprocess
import sys

page, pins, cgroup = sys.argv[1:4]
check = "--check" in sys.argv


def run(command):
    real = command.replace("/sys/fs/bpf/waymark", pins).replace("/sys/fs/cgroup", cgroup)
    done = subprocess.run(["bash", "-c", real], capture_output=True, text=True)
    text = (done.stdout + done.stderr).rstrip("\n")
    text = re.sub(r"(?m)^\tpids .*\n?", "", text).rstrip("\n")
    text = text.replace(pins, "/sys/fs/bpf/waymark").replace(cgroup, "/sys/fs/cgroup")
    return text.replace("/" + os.path.basename(cgroup), "/app.slice")


def shape(text):
    return re.sub(r"[ \t]+", " ", re.sub(r"\d+(\.\d+)?", "N", text)).splitlines()


def sample(match):
    global bad
    command, old = match.group(1), match.group(2).strip("\n")
    new = run(command)
    if check and shape(old) != shape(new):
        bad = 1
        print(f"# {command}")
        print("\n".join(difflib.unified_diff(shape(old), shape(new), "page", "printed", lineterm="")))
    return f"```\n# {command}\n{new}\n```" if new else f"```\n# {command}\n```"


bad = 0
with open(page) as f:
    text = f.read()
text = re.sub(r"(?s)```\n# ([^\n]*)\n(.*?)```", sample, text)
if not check:
    with open(page, "w") as f:
        f.write(text)
sys.exit(bad)
