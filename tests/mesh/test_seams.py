"""Clock, ids and failpoints."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mesh import seams
from mesh.failpoints import FailpointReached, Failpoints
from mesh.seams import (
    ManualClock,
    SequentialIds,
    SystemClock,
    SystemIds,
    failpoint,
    failpoints,
)


def test_ids_are_uuid7_and_ascend():
    """Thousands of ids within a millisecond stay in order, and carry version and variant."""
    ids = SystemIds()
    made = [ids.new() for _ in range(20_000)]

    assert sorted(set(made)) == made
    assert {7} == {each.version for each in made}
    assert {"specified in RFC 4122"} == {each.variant for each in made}


def test_id_begins_with_the_time():
    """The first 48 bits are milliseconds since 1970."""
    before = int(datetime.now(UTC).timestamp() * 1000)

    assert 0 <= (SystemIds().new().int >> 80) - before < 1000


def test_sequential_ids_repeat_in_every_run():
    """Two sources give the same ids."""
    one, other = SequentialIds(), SequentialIds()
    assert [one.new(), one.new()] == [other.new(), other.new()]
    assert 7 == one.new().version


def test_clocks_are_aware():
    """The manual clock stands still until it is moved."""
    clock = ManualClock(datetime(2026, 5, 1, tzinfo=UTC))
    clock.advance(90)

    assert datetime(2026, 5, 1, 0, 1, 30, tzinfo=UTC) == clock.now()
    assert SystemClock().now().tzinfo is not None
    with pytest.raises(ValueError):
        ManualClock(datetime(2026, 5, 1))


async def test_failpoint_lets_pass_unless_armed():
    """A failpoint that nobody armed does nothing."""
    await failpoint("nothing.here")
    failpoints.arm("elsewhere", "raise")
    await failpoint("nothing.here")


async def test_failpoint_raises_as_often_as_armed():
    """`raise*1` acts once."""
    failpoints.arm("step", "raise*1")

    with pytest.raises(FailpointReached, match="step"):
        await failpoint("step")
    await failpoint("step")


async def test_failpoint_sleeps_and_hangs():
    """`hang` waits until cancelled, `sleep` for its milliseconds."""
    failpoints.arm("slow", "sleep:10")
    failpoints.arm("stuck", "hang")

    await failpoint("slow")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await failpoint("stuck")


def test_failpoint_in_the_environment_ends_the_process():
    """TITAN_FAILPOINTS arms a child process, which dies as if it were killed."""
    code = "import asyncio, mesh.seams as s; asyncio.run(s.failpoint('a.b')); print('passed')"
    armed = {"TITAN_FAILPOINTS": "x=hang; a.b=exit*1"}
    died = subprocess.run([sys.executable, "-c", code], env=armed, capture_output=True)

    assert 137 == died.returncode
    assert b"" == died.stdout


@pytest.mark.parametrize("text", ["a", "a=jump", "a=sleep", "a=exit:3", "a=exit*many"])
def test_wrong_failpoints_are_refused(text):
    """A typing error must not silently test nothing."""
    with pytest.raises(ValueError):
        Failpoints({"TITAN_FAILPOINTS": text})


@pytest.mark.parametrize(("armed", "said"), [("", b"passed"), ("a.b=exit", b"")])
def test_an_image_has_no_failpoints_to_arm(tmp_path: Path, armed: str, said: bytes):
    """It is built without what arms them; whoever asks for one hears so, instead of a proof that proved nothing."""
    package = tmp_path / "mesh"
    package.mkdir()
    for name in ("__init__.py", "seams.py"):
        shutil.copy(Path(seams.__file__).with_name(name), package)
    code = "import asyncio, mesh.seams as s; asyncio.run(s.failpoint('a.b')); print('passed')"
    ran = subprocess.run(
        [sys.executable, "-c", code], env={"TITAN_FAILPOINTS": armed}, cwd=tmp_path, capture_output=True
    )

    assert said == ran.stdout.strip()
    assert bool(armed) == (b"this build has no failpoints to arm" in ran.stderr)
