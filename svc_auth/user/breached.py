"""Passwords that were stolen elsewhere and published: what an attacker tries next, after the trivial ones.

`breached.bin` holds the first five bytes of the SHA-256 of each, in order, for passwords as `rules.folded` writes them;
docs/DEPENDENCIES.md says where they come from. A password that was never published is taken for one of half a million
once in two million times. Nothing is asked of a network, and no password leaves the process.

    python -m svc_auth.user.breached LIST > svc_auth/user/breached.bin

makes the file from a list with one password a line.
"""

from __future__ import annotations

import hashlib
import sys
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

from svc_auth.user.rules import MIN_PASSWORD_CHARACTERS, folded

BUNDLED = Path(__file__).with_name("breached.bin")
PRINT_BYTES = 5


class BreachedPasswords:
    """A list of passwords, as their fingerprints; `folded in breached` tells."""

    def __init__(self, prints: bytes) -> None:
        if len(prints) % PRINT_BYTES:
            raise ValueError(f"the list of breached passwords is not whole: {len(prints)} bytes")
        self._prints = prints

    @classmethod
    def bundled(cls) -> BreachedPasswords:
        """Return the list that comes with the package."""
        return cls(BUNDLED.read_bytes())

    def __len__(self) -> int:
        return len(self._prints) // PRINT_BYTES

    def __contains__(self, password: object) -> bool:
        wanted = _print(str(password))
        place = bisect_left(range(len(self)), wanted, key=self._at)
        return place < len(self) and self._at(place) == wanted

    def _at(self, place: int) -> bytes:
        return self._prints[place * PRINT_BYTES : (place + 1) * PRINT_BYTES]


def prints_of(passwords: Iterable[str]) -> bytes:
    """Return the fingerprints of a list: of those that are long enough for anybody to want them."""
    wanted = {text for text in map(folded, passwords) if len(text) >= MIN_PASSWORD_CHARACTERS}
    return b"".join(sorted({_print(text) for text in wanted}))


def _print(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()[:PRINT_BYTES]


if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text(errors="ignore").split("\n")
    sys.stdout.buffer.write(prints_of(lines))
