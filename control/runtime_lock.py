"""Prints the part of `requirements.lock` that a process of the mesh needs: no embedded server, no tool.

There is one lock, and the container image installs a part of it; a second file could disagree with the first. Standard
library only: it runs in the image's build, before anything is installed.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_NAME = re.compile(r"^([A-Za-z0-9][\w.-]*)")
_PIN = re.compile(r"^[A-Za-z0-9]", re.MULTILINE)
_WANTED_BY = re.compile(r"^\s+#\s+(?:via )?([A-Za-z0-9][\w.-]*)$", re.MULTILINE)


def runtime_part(requirements: str, lock: str) -> str:
    """Return the pins, with their hashes, of the first group of `requirements.in` and of all that those bring along."""
    pins = {}
    starts = [found.start() for found in _PIN.finditer(lock)]
    for start, end in zip(starts, [*starts[1:], len(lock)], strict=True):
        text = lock[start:end]
        pins[_plain(text.partition("==")[0])] = text
    needed = set(_first_group(requirements))
    while more := {name for name, text in pins.items() if needed & set(_parents(text))} - needed:
        needed |= more
    if missing := needed - set(pins):
        raise SystemExit(f"not in the lock: {', '.join(sorted(missing))}: run `make lock`")
    return "".join(text for name, text in pins.items() if name in needed)


def _first_group(requirements: str) -> list:
    """Return the names up to the second heading; a heading is a line that is nothing but a comment."""
    names = []
    headings = 0
    for line in requirements.splitlines():
        headings += line.startswith("#")
        found = _NAME.match(line)
        if headings < 2 and found:
            names.append(_plain(found[1]))
    return names


def _parents(text: str) -> list:
    return [_plain(name) for name in _WANTED_BY.findall(text)]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.stdout.write(runtime_part((ROOT / "requirements.in").read_text(), (ROOT / "requirements.lock").read_text()))
