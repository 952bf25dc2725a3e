"""Fixtures of the control plane's tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for the Unix sockets of a mesh, which pytest's own may not."""
    with tempfile.TemporaryDirectory(prefix="titan-") as folder:
        yield Path(folder)
