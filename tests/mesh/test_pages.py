"""Page tokens."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest

from mesh import pages
from mesh.refusals import PageTokenInvalid
from titan.type.v1 import address_pb2

ID = UUID("01890000-0000-7000-8000-000000000001")


def test_a_token_carries_its_position():
    """What went in comes out, for the same method and filters."""
    token = pages.encode("List", ["2026-01-01", 7, None, "é"], "shoes", 3)

    assert ["2026-01-01", 7, None, "é"] == pages.decode(token, "List", "shoes", 3)
    assert token.isascii()
    assert "=" not in token


def test_no_token_is_the_first_page():
    """An empty token means: from the start."""
    assert pages.decode("", "List") is None


@pytest.mark.parametrize(
    "token",
    [
        pages.encode("Other", [1]),
        pages.encode("List", [1], "filter"),
        "nonsense",
        "é",
        "A" * 5000,
        base64.urlsafe_b64encode(b"[" * 1000).decode(),
        base64.urlsafe_b64encode(b"{}").decode(),
        pages.encode("List", ["a\0b"]),
        pages.encode("List", [2**63]),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
def test_foreign_tokens_are_refused(token):
    """Of another method, of other filters, or no token at all."""
    with pytest.raises(PageTokenInvalid):
        pages.decode(token, "List")


def test_page_sizes():
    """0 is the default, the maximum is a limit and not a mistake."""
    assert [20, 20, 1, 100, 100] == [pages.page_size(n) for n in (0, -5, 1, 100, 10_000)]


def test_a_page_ends_before_it_grows_too_large():
    """In the order it came in, and never empty: an item that is too large by itself stands alone."""
    large, small = (address_pb2.Address(full_name="x" * length) for length in (100, 10))

    assert [large, small] == pages.fitting([large, small, large], limit_bytes=120)
    assert [large] == pages.fitting([large, large], limit_bytes=50)
    assert [small, large] == pages.fitting([small, large])
    assert [] == pages.fitting([])


@pytest.mark.parametrize("position", [[], ["x"], [None], [7, 8], [str(ID), 1]])
def test_a_forged_position_is_no_id_and_one_number(position: list[str | int | None]):
    """Whoever decodes a token writes what they like into the next one."""
    for decode in (pages.decode_id, pages.decode_number):
        with pytest.raises(PageTokenInvalid):
            decode(pages.encode("List", position), "List")
    assert ID == pages.decode_id(pages.encode("List", [str(ID)]), "List")
    assert 7 == pages.decode_number(pages.encode("List", [7]), "List")
    assert None is pages.decode_id("", "List") is pages.decode_number("", "List")


@pytest.mark.parametrize("number", [0, -1, "7"])
def test_a_number_is_above_zero(number: int | str):
    with pytest.raises(PageTokenInvalid):
        pages.decode_number(pages.encode("List", [number]), "List")
