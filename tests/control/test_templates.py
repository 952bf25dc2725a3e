"""The places of a template."""

from __future__ import annotations

from pathlib import Path

import pytest

from control.templates import fill


def test_a_place_that_nobody_fills_is_named() -> None:
    """A template and its renderer cannot drift apart silently."""
    with pytest.raises(ValueError, match="missing"):
        fill({"a": "${missing}"})


def test_a_place_takes_a_value_or_its_text() -> None:
    """Alone it becomes the value, inside a text its text; an entry that becomes None is left out."""
    template = {"port": "${port}", "address": "tcp:${port}", "file": "${file}", "none": "${none}", "list": ["${port}"]}

    filled = fill(template, port=1, file=Path("/a"), none=None)

    assert {"port": 1, "address": "tcp:1", "file": "/a", "list": [1]} == filled
