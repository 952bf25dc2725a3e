"""Cases, tried: the answer is right to the letter, and no table has changed but those that the case names.

One at a time, each between two digests. Where there is little time, those that only ask are tried in lots, several at
once: a lot has two digests for all, and if they differ, its cases are tried again one by one, which tells the case.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.attacks.case import LONGEST_SECONDS, Case, Wrong
from tests.attacks.scene import Scene
from tests.attacks.untouched import Digest, Digester, changed

LOT = 60
AT_ONCE = 4
"""Many of them wait for the edge, which holds a connection for a second before it hangs up."""

STARTS_PER_SECOND = 60
"""A third of them ask as the same victim, whose bucket is given 25 requests a second: see `evenly`."""


@dataclass
class Result:
    """What became of a case."""

    case: Case
    got: str
    problems: list[str] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether everything was as it is due."""
        return not self.problems


def evenly(cases: Sequence[Case]) -> list[Case]:
    """Return the cases with those of each group spread over all: what has one limit in common does not come at once."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    places = ((place / len(group), case.number, case) for group in groups.values() for place, case in enumerate(group))
    return [case for *_, case in sorted(places, key=lambda found: found[:2])]


class Trials:
    """Tries cases on a scene."""

    def __init__(self, scene: Scene, digester: Digester, *, starts_per_second: float = STARTS_PER_SECOND) -> None:
        self._scene = scene
        self._digester = digester
        self._pause_seconds = 1 / starts_per_second
        self._last: Digest | None = None

    async def alone(self, case: Case) -> Result:
        """Try one case."""
        await self._scene.begin(case.number)
        before = [await self._before()]

        async def begin_anew() -> None:
            before[0] = await self._digester.take()

        self._scene.before_attack = begin_anew
        result = await answered(self._scene, case)
        try:
            await self._scene.at_rest()
        except TimeoutError:
            result.problems.append("it does not come to an end")
        await self._scene.end()
        result.ended = time.monotonic()
        result.problems += await self._since(before[0], case.changes)
        if not result.holds:
            self._last = None  # whatever it left under way is not the next one's
        return result

    async def beside(self, cases: Sequence[Case]) -> list[Result]:
        """Try cases that only ask, lot by lot, and return what became of each in the same order."""
        results = []
        for start in range(0, len(cases), LOT):
            results += await self._lot(cases[start : start + LOT])
        return results

    def forget(self) -> None:
        """Say that something rightful has happened since the last case."""
        self._last = None

    async def _lot(self, cases: Sequence[Case]) -> list[Result]:
        before, places = await self._before(), asyncio.Semaphore(AT_ONCE)

        async def one(case: Case) -> Result:
            scene = self._scene.beside(case.number)
            try:
                return await answered(scene, case)
            finally:
                await scene.end()
                places.release()

        async with asyncio.TaskGroup() as group:
            tasks = []
            for case in cases:
                await places.acquire()
                tasks.append(group.create_task(one(case)))
                await asyncio.sleep(self._pause_seconds)
        results = [task.result() for task in tasks]
        await self._scene.at_rest()
        if problems := await self._since(before, frozenset()):
            return await self._told_apart(results, problems)
        return results

    async def _told_apart(self, results: list[Result], problems: list[str]) -> list[Result]:
        """Try each case of a lot again by itself; where none of them does it again, the lot did it together."""
        again = [await self.alone(result.case) for result in results]
        if all(result.holds for result in again):
            numbers = ",".join(str(result.case.number) for result in results)
            results[0].problems += [f"{problem}, beside {numbers} and not alone" for problem in problems]
        for result, alone in zip(results, again, strict=True):
            result.problems += [problem for problem in alone.problems if problem not in result.problems]
        return results

    async def _before(self) -> Digest:
        return self._last or await self._digester.take()

    async def _since(self, before: Digest, due: frozenset[str]) -> list[str]:
        """Return what changed since a digest and should not have, and the other way round."""
        self._last = await self._digester.take()
        touched = changed(before, self._last)
        unwanted, missing = sorted(touched - due), sorted(due - touched)
        return [
            *([f"changed {', '.join(unwanted)}"] if unwanted else []),
            *([f"did not change {', '.join(missing)}"] if missing else []),
        ]


async def answered(scene: Scene, case: Case) -> Result:
    """Try a case on a scene that is its own, and return what it was answered."""
    result = Result(case, "", began=time.monotonic())
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            result.got = str(await case.attack(scene))
    except Wrong as wrong:
        result.problems.append(str(wrong))
    except (Exception, TimeoutError) as error:
        result.problems.append(f"{type(error).__name__}: {error}")
    if result.got != case.due:
        result.problems.insert(0, f"{result.got or 'no answer'}, due is {case.due}")
    result.ended = time.monotonic()
    return result
