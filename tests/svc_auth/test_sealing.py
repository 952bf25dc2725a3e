"""What is sealed opens for the same purpose, under the same name and the same master key, and for nothing else."""

from __future__ import annotations

import pytest

from svc_auth.sealing import LINKS, SECOND_FACTORS, SIGNING_KEYS, MasterKeyUnusable, Seal

MASTER = b"m" * 32


def test_what_is_sealed_comes_out_as_it_went_in():
    """Sealing twice gives two texts: equal secrets are not seen to be equal."""
    seal = Seal(MASTER, SECOND_FACTORS)

    first, second = seal.close("ada", b"secret"), seal.close("ada", b"secret")

    assert first != second and b"secret" not in first
    assert b"secret" == seal.open("ada", first) == Seal(MASTER, SECOND_FACTORS).open("ada", second)


@pytest.mark.parametrize(
    ("master", "purpose", "name"),
    [
        (b"o" * 32, SECOND_FACTORS, "ada"),
        (MASTER, LINKS, "ada"),
        (MASTER, SIGNING_KEYS, "ada"),
        (MASTER, SECOND_FACTORS, "b"),
    ],
)
def test_anything_else_does_not_open_it(master: bytes, purpose: bytes, name: str):
    """A row moved to another user, a key of another purpose, or a master key that was lost."""
    sealed = Seal(MASTER, SECOND_FACTORS).close("ada", b"secret")

    with pytest.raises(MasterKeyUnusable):
        Seal(master, purpose).open(name, sealed)


def test_a_changed_byte_does_not_open():
    """Nothing comes out that did not go in."""
    sealed = bytearray(Seal(MASTER, LINKS).close("l", b"token"))
    sealed[-1] ^= 1

    with pytest.raises(MasterKeyUnusable):
        Seal(MASTER, LINKS).open("l", bytes(sealed))
