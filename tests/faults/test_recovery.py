"""What counts as soon enough: the 99th percentile of all faults with one limit, each with the limit of its kind."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.faults.faults import FAULTS, SETS
from tests.faults.recovery import too_late


@dataclass
class Seen:
    """A fault that was injected."""

    name: str
    recovery_seconds: float


@pytest.mark.parametrize(
    ("kind", "limit"), [("processes", 5.0), ("database", 10.0), ("broker", 60.0), ("redis", 5.0), ("clients", 10.0)]
)
def test_every_kind_of_fault_has_its_limit(kind: str, limit: float) -> None:
    assert {FAULTS[name].limit_seconds for name in SETS[kind]} == {limit}
    assert too_late([Seen(name, limit) for name in SETS[kind]]) == []
    name = SETS[kind][0]
    assert too_late([Seen(name, limit + 0.1)]) == [
        f"{name}: well again {limit + 0.1:.1f} s after it, {limit:g} s allowed"
    ]


def test_one_in_a_hundred_may_take_longer_and_two_may_not() -> None:
    soon = [Seen("kill svc_order", 2.0)] * 99
    assert too_late([*soon, Seen("kill svc_cart", 7.0)]) == ["kill svc_cart: well again 7.0 s after it, 5 s allowed"]
    assert too_late([*soon, *soon, Seen("kill svc_cart", 7.0)]) == []
    assert len(too_late([*soon, *soon, *[Seen("kill svc_cart", 7.0)] * 3])) == 3


def test_a_slow_database_does_not_excuse_a_service() -> None:
    assert len(too_late([Seen("kill postgres", 9.0), Seen("kill svc_order", 6.0)])) == 1
