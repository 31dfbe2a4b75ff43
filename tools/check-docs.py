#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""check-docs.py - what README.md and docs/*.md point at is there: files and headings behind links, and
the tests that a sentence names, as `net/test_x`, `tests/unit/test_x.c` or `suite/name` of Criterion, where
`*` stands for the rest. Exit status 1 and a line for each that is not."""
import fnmatch
import glob
import os
import re
import sys

TEST = re.compile(r"\bTest\(\s*([a-z0-9_]+)\s*,")
WORD = re.compile(r"\b[a-z0-9_]+\b")


def suites():
    """The words in the sources of each suite: a test's name is one of them, whatever macro makes it."""
    found = {}
    for path in glob.glob("tests/**/*.[ch]", recursive=True):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        for suite in set(TEST.findall(text)):
            found.setdefault(suite, set()).update(WORD.findall(text))
    return found


def anchors(path):
    """Headings as a browser of Markdown names them."""
    with open(path, encoding="utf-8") as f:
        heads = re.findall(r"^#+ (.*)$", f.read(), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in heads}


def link_is_dead(page, target):
    path, _, anchor = target.partition("#")
    path = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
    return not os.path.exists(path) or (anchor and path.endswith(".md") and anchor not in anchors(path))


def is_file(name):
    return any(glob.glob(top + name) for top in ("", "userspace/", "tests/unit/"))


def test_is_missing(name, known):
    name = re.sub(r"^tests/", "", name)
    folder, _, rest = name.partition("/")
    if os.path.isdir(f"tests/{folder}") and folder not in known:
        return not glob.glob(f"tests/{name}") and not glob.glob(f"tests/{name}.*")
    if folder not in known or glob.glob(f"tests/unit/{name}*"): # the second: a folder of cases
        return False
    return not fnmatch.filter(known[folder], rest)


def main():
    known, faults = suites(), []
    for page in ["README.md", *sorted(glob.glob("docs/*.md"))]:
        with open(page, encoding="utf-8") as f:
            text = f.read()
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" not in target and link_is_dead(page, target):
                faults.append(f"{page}: {target} is not there")
        for name in re.findall(r"`((?:tests/)?[a-z0-9_]+/[a-z0-9_*/.]+)`", text):
            if re.search(r"test_(dns_)?x\b", name) or is_file(name):
                continue  # the first: any of them
            if test_is_missing(name, known):
                faults.append(f"{page}: no test is called {name}")
    print("\n".join(faults) or "ok: what docs point at is there")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
