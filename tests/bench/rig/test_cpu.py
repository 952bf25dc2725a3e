"""CPU by process: replicas are their package, and what is spent at rest is nobody's operation."""

from __future__ import annotations

import os

import psutil
import pytest

from bench.rig.cpu import CLIENT, Ended, of_the_mesh, per_operation, seconds, spent
from bench.rig.meter import Meter

NOBODY = 2**22 + 1
"""Beyond the process ids that Linux gives."""

PARENT, CHILD = 1000, 1001


def test_replicas_are_counted_with_their_package_and_the_dearest_comes_first() -> None:
    total = {"svc_cart": 1.0, "svc_order": 2.0, "svc_order.1": 3.0, CLIENT: 0.5}
    assert list(per_operation(total, 10).items()) == [("svc_order", 0.5), ("svc_cart", 0.1), (CLIENT, 0.05)]


def test_nothing_costs_less_than_nothing() -> None:
    assert per_operation({"svc_auth": -0.01}, 2) == {"svc_auth": 0.0}


def test_no_operation_has_no_cost() -> None:
    with pytest.raises(ValueError, match="no operation"):
        per_operation({"svc_auth": 1.0}, 0)


def test_the_load_is_no_part_of_the_mesh() -> None:
    assert of_the_mesh({"svc_order": 0.5, CLIENT: 9.0}) == 0.5


def test_a_meter_takes_off_what_is_spent_at_rest() -> None:
    meter = Meter({"svc_order": 1, CLIENT: 2}, {"svc_order": 0.1})
    meter.add({"svc_order": 5.0, CLIENT: 1.0}, {"svc_order": 7.0, CLIENT: 2.0}, 10.0)
    assert meter.per_operation(10) == {"svc_order": pytest.approx(0.1), CLIENT: pytest.approx(0.1)}
    assert meter.per_operation(1) == {"svc_order": 0.0, CLIENT: 0.0}


def test_this_process_is_counted_without_its_children() -> None:
    before = seconds(os.getpid())
    sum(range(1_000_000))
    assert 0 < before <= seconds(os.getpid())


@pytest.mark.parametrize("gone", [1, 3])
def test_children_that_end_while_they_are_read_are_read_again(gone) -> None:
    """The backends of Postgres end with their clients, at any moment."""
    left = [psutil.NoSuchProcess(CHILD)] * gone

    def read(pid: int) -> float:
        if left:
            raise left.pop()
        return 7.0

    assert seconds(PARENT, read=read) == 7.0


@pytest.mark.parametrize("pid", [PARENT, CHILD])
def test_a_parent_that_is_gone_or_never_rests_cannot_be_read(pid) -> None:
    def read(_: int) -> float:
        raise psutil.NoSuchProcess(pid)

    with pytest.raises(psutil.NoSuchProcess):
        seconds(PARENT, read=read)


def test_a_process_that_is_gone_ends_the_measurement() -> None:
    with pytest.raises(Ended, match="ended while it was measured"):
        spent({"svc_order": NOBODY})
