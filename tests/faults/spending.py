"""Says which process spent the machine's time while a mesh was at work, also when the processes die and come again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import psutil

from bench.rig import cpu
from tests.faults.mesh import Mesh
from tests.faults.shoppers import Shop

OTHERS = "others on this machine"
LOOK_SECONDS = 3.0
"""What a process spends after the last look before its death is missed."""


@dataclass(frozen=True)
class Spent:
    """The seconds of CPU of all processes of one name."""

    name: str
    seconds: float


class Meter:
    """Adds up by name what every process and its children spend from the first look on."""

    def __init__(self, mesh: Mesh, shop: Shop) -> None:
        """Describe a meter that has not looked yet."""
        self._mesh = mesh
        self._shop = shop
        self._orders: tuple[int, int] = (0, 0)
        self._times: tuple[float, float] = (0.0, 0.0)
        self._first: dict[tuple[str, int], float] = {}
        self._last: dict[tuple[str, int], float] = {}
        self._began: float | None = None
        self._busy = 0.0

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Note what everybody has spent until now. A process that was born after the first look began with nothing."""
        running = {name: row["pid"] for name, row in (await self._mesh.rows()).items() if row["pid"]}
        ours = psutil.Process()
        running |= {"buyers": ours.pid}
        witnesses = [child.pid for child in ours.children() if _is_witness(child)]
        now = cpu.snapshot()
        for name, pid in [*running.items(), *(("witnesses", pid) for pid in witnesses)]:
            spent = _spent(now, pid)
            if spent is not None:
                self._last[name, pid] = spent
                self._first.setdefault((name, pid), spent if self._began is None else 0.0)
        busy, looked, orders = _busy_seconds(), time.monotonic(), self._shop.counts["place ok"]
        if self._began is None:
            self._began, self._times, self._orders = busy, (looked, looked), (orders, orders)
        self._busy, self._times, self._orders = busy - self._began, (self._times[0], looked), (self._orders[0], orders)

    def spent(self) -> list[Spent]:
        """Return what was spent, the most first; what nobody here spent is that of others on this machine."""
        names = dict.fromkeys(name for name, _ in self._last)
        by_name = {
            name: sum(last - self._first[key] for key, last in self._last.items() if key[0] == name) for name in names
        }
        by_name[OTHERS] = max(0.0, self._busy - sum(by_name.values()))
        return [Spent(name, round(seconds, 2)) for name, seconds in sorted(by_name.items(), key=lambda each: -each[1])]

    def told(self) -> list[str]:
        """Return for people what bounds the orders of a second: how busy the machine was, and with what."""
        spent = self.spent()
        whole = max(1.0, (self._times[1] - self._times[0]) * (psutil.cpu_count() or 1))
        others = sum(each.seconds for each in spent if each.name == OTHERS)
        orders = max(1, self._orders[1] - self._orders[0])
        each_order = sum(each.seconds for each in spent if each.name != OTHERS) * 1000 / orders
        shown = [
            f"{each.name} {each.seconds * 1000 / orders:.1f}" for each in spent if each.seconds and each.name != OTHERS
        ]
        return [
            f"{psutil.cpu_count()} cores: {1 - others / whole:.0%} of them were there for this run, and"
            f" {max(0.0, 1 - self._busy / whole):.0%} stayed idle; others on this machine took {others / whole:.0%}",
            f"CPU of an acknowledged order, restarts included, {each_order:.1f} ms:",
            f"  {', '.join(shown)}",
        ]


def _spent(now: cpu.Snapshot, pid: int) -> float | None:
    """Return the seconds of a process, of the children that it buried and of those that live; None when it is gone."""
    try:
        return now.seconds(pid)
    except cpu.Ended:
        return None


def _is_witness(process: psutil.Process) -> bool:
    try:
        return any(word.startswith("tests.faults.") for word in process.cmdline())
    except psutil.Error:
        return False


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)
