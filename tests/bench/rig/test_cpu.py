"""CPU by process: replicas are their package, and what is spent at rest is nobody's operation."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from bench.rig.cpu import CLIENT, READS, Ended, Snapshot, Times, of_the_mesh, per_operation, seconds, snapshot, spent
from bench.rig.meter import Meter

NOBODY = 2**22 + 1
"""Beyond the process ids that Linux gives."""

PARENT, CHILD, GRANDCHILD, OTHER = NOBODY + 1, NOBODY + 2, NOBODY + 3, NOBODY + 4


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


def test_a_process_stands_for_its_children_the_living_and_the_reaped() -> None:
    found = {
        PARENT: Times(1, 1.0, 0.5),
        CHILD: Times(PARENT, 2.0, 0.0),
        GRANDCHILD: Times(CHILD, 4.0, 0.25),
        OTHER: Times(1, 8.0, 0.0),
    }
    assert Snapshot(found).seconds(PARENT) == 7.75
    assert Snapshot(found).seconds(OTHER) == 8.0


def test_what_the_kernel_says_is_read_as_psutil_reads_it() -> None:
    """The name of a process may have brackets and spaces, between which the other fields are counted."""
    program = (
        "import sys; open('/proc/self/comm', 'w').write('a) R 1 (b'); sum(range(3_000_000));"
        "print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        times = psutil.Process(child.pid).cpu_times()
        assert seconds(child.pid) == pytest.approx(times.user + times.system, abs=0.02)
        assert seconds(child.pid) > 0.01
        child.communicate()


@pytest.mark.parametrize("gone", [1, READS - 1])
def test_what_ends_while_all_are_read_is_found_among_the_reaped(gone) -> None:
    """The backends of Postgres end with their clients, at any moment."""
    left = [ProcessLookupError()] * gone

    def read() -> dict[int, Times]:
        if left:
            raise left.pop()
        return {PARENT: Times(1, 3.0, 4.0)}

    assert snapshot(read).seconds(PARENT) == 7.0


def test_processes_that_never_rest_cannot_be_read() -> None:
    def read() -> dict[int, Times]:
        raise ProcessLookupError

    with pytest.raises(Ended, match="come and go"):
        snapshot(read)


def test_a_process_that_is_gone_ends_the_measurement() -> None:
    with pytest.raises(Ended, match="ended while it was measured"):
        spent({"svc_order": NOBODY})
