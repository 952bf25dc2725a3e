"""Rows are copied up to a number; where there are more already, nothing is measured under its name."""

from __future__ import annotations

from typing import Any

import pytest

from bench.growth import told
from bench.rig.copies import grow
from bench.rig.result import Unmeasured


class Stored:
    """A connection to a database with so many orders, which remembers what is written."""

    def __init__(self, orders: int) -> None:
        self.orders = orders
        self.executed: list[str] = []

    async def fetchval(self, query: str) -> int:
        assert query == "SELECT count(*) FROM orders"
        return self.orders

    async def execute(self, query: str, *arguments: Any) -> None:
        self.executed.append(query)


async def test_more_than_was_wanted_is_no_size_to_measure_at() -> None:
    stored: Any = Stored(40_123)
    with pytest.raises(Unmeasured, match="40,123 rows already, more than the 10,000"):
        await grow(stored, 10_000, key="order_id", template="t", tables={"orders": {}})
    assert not stored.executed


async def test_as_many_as_were_wanted_are_left_alone() -> None:
    stored: Any = Stored(10_000)
    await grow(stored, 10_000, key="order_id", template="t", tables={"orders": {}})
    assert not any(query.startswith("INSERT") for query in stored.executed)


def test_sizes_are_told_as_they_were_counted() -> None:
    assert told((10_000, 10_000)) == "10,000"
    assert told((10_000, 14_812)) == "10,000 to 14,812"
