"""`make figures`: what a mesh costs at rest, and what one order costs in time and in CPU.

It measures the mesh that runs on TITAN_HOME, which has to have been started with the profile `load`, and prints
Markdown with the method beside each figure. Orders go one at a time over one HTTPS connection, so it is a measure of
latency, never of throughput. It places some 330 small orders of products that it makes for itself, and stops by itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

import psutil
import uvloop

from bench.rig import cpu
from bench.rig.cpu import CLIENT, SUPERVISOR
from bench.rig.loads import Window
from bench.rig.memory import occupied as occupied_by
from bench.rig.result import Unmeasured, load_average, machine
from bench.rig.shop import LINES_PER_ORDER, WALLET, Shop
from bench.rig.wire import Broken, Unwanted, Wire
from control import remote
from control.home import Home
from control.remote import NotRunning

WARM_UP_ORDERS = 30
ORDERS = 300
REST_SECONDS = 5.0
SETTLE_SECONDS = 2.0
"""What follows an order (capture, events, the receipt) belongs to its CPU; this long after the last one it is done."""

LEAST_MS = 0.05
"""A process that takes less of an order is among all others."""

MOST_SECONDS = 120.0
"""A mesh that is slower than this for all orders together has no figure worth printing."""


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    value: str
    method: str


def main() -> int:
    """Measure and print; returns the exit status."""
    try:
        for line in measure(Home.from_environment()):
            print(line, flush=True)
    except (NotRunning, FileNotFoundError):
        print("No mesh is running. Start one: make up PROFILE=load", file=sys.stderr)
        return 3
    except (Unmeasured, Unwanted, Broken, cpu.Ended) as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the mesh is still running: make down", file=sys.stderr)
        return 130
    return 0


def measure(home: Home) -> list[str]:
    """Return the lines to print: the machine, the table of figures, the table of CPU by process."""
    status = remote.ask(home.supervisor_socket, {"do": "status", "memory": True})
    endpoints = json.loads(home.endpoints.read_text())
    if status["profile"] != "load":
        raise Unmeasured("The limits of this mesh would be measured: make down, then make up PROFILE=load.")
    busy = load_average()
    processes = {row["name"]: row["pid"] for row in status["processes"]}
    processes |= {SUPERVISOR: int(home.supervisor_pid.read_text()), CLIENT: os.getpid()}

    memory = sum(row["memory_bytes"] for row in status["processes"])
    memory += psutil.Process(processes[SUPERVISOR]).memory_info().rss
    # The supervisor is the parent of all; each of them stands for its own children.
    occupied = sum(occupied_by(pid, alone=name == SUPERVISOR) for name, pid in processes.items() if name != CLIENT)
    _say(f"measuring {REST_SECONDS:g} s at rest")
    before = cpu.spent(processes)
    time.sleep(REST_SECONDS)
    rest = sum(_since(before, processes).values()) / REST_SECONDS
    orders, spent = uvloop.run(_orders(endpoints, processes))
    return [*_machine(busy), *_figures(status["ready_seconds"], memory, occupied, rest, orders), *_by_process(spent)]


async def _orders(endpoints: dict[str, Any], processes: dict[str, int]) -> tuple[Window, dict[str, float]]:
    """Place the orders, and return their latencies, and the CPU seconds by process that they and what follows took."""
    wire = Wire(endpoints)
    try:
        shopper = await Shopper.open(wire, endpoints)
        _say(f"{WARM_UP_ORDERS} orders to warm up, then {ORDERS}")
        await shopper.place(WARM_UP_ORDERS)
        before = cpu.spent(processes)
        placed = await shopper.place(ORDERS)
        await asyncio.sleep(SETTLE_SECONDS)
        return placed, _since(before, processes)
    finally:
        wire.close()


@dataclass(frozen=True)
class Shopper:
    """A guest with a wallet, who places the same order again and again."""

    shop: Shop
    body: bytes

    @classmethod
    async def open(cls, wire: Wire, endpoints: dict[str, Any]) -> Shopper:
        """Make the products, the guest and the money."""
        shop = await Shop.open(wire, endpoints, products=LINES_PER_ORDER)
        return cls(shop, shop.order_body([product.sku for product in shop.products], WALLET))

    async def place(self, count: int) -> Window:
        """Place orders one after the other; every one has to be confirmed."""
        (guest,) = await self.shop.guests(1)
        placed, began = Window(0.0), time.monotonic()
        for _ in range(count):
            started = time.perf_counter()
            await self.shop.order(guest, self.body)
            placed.latencies.append(time.perf_counter() - started)
            if time.monotonic() - began > MOST_SECONDS:
                raise Unmeasured(f"Given up: {placed.done} orders took more than {MOST_SECONDS:g} s.")
        return placed


def _since(before: dict[str, float], processes: dict[str, int]) -> dict[str, float]:
    return {name: spent - before[name] for name, spent in cpu.spent(processes).items()}


def _machine(busy: float) -> list[str]:
    about = machine()
    on = f"{about['cores']} cores ({about['processor'] or 'unnamed'}), Linux {about['kernel']}"
    return [f"{on}, Python {about['python']}; load average before: {busy:.2f}.", ""]


def _figures(ready_seconds: float, memory: int, occupied: int, rest: float, orders: Window) -> list[str]:
    placed = f"{orders.done} orders of {LINES_PER_ORDER} lines from a wallet"
    method = f"{placed}, one at a time over one HTTPS connection, after"
    figures = [
        Figure("ready", f"{ready_seconds:.1f} s", "supervisor: from its start until every process is healthy"),
        Figure(
            "memory at rest",
            f"{memory / 1e9:.2f} GB",
            "resident, all processes and the supervisor; libraries that processes share are counted in each",
        ),
        Figure(
            "memory that it occupies",
            f"{occupied / 1e9:.2f} GB",
            "the same processes; a page that several share is counted once (proportional set size)",
        ),
        Figure("CPU at rest", f"{rest:.1%} of one core", f"all processes over {REST_SECONDS:g} s without a call"),
        Figure("PlaceOrder, p50", f"{orders.milliseconds(0.5):.1f} ms", f"{method} {WARM_UP_ORDERS} to warm up"),
        Figure("PlaceOrder, p99", f"{orders.milliseconds(0.99):.1f} ms", "the same orders"),
    ]
    rows = [f"| {figure.what} | {figure.value} | {figure.method} |" for figure in figures]
    return ["| what | figure | method |", "|---|---|---|", *rows, ""]


def _by_process(spent: dict[str, float]) -> list[str]:
    """Return the table of CPU by process, the most expensive first; what is too little to show is added up."""
    client = spent.pop(CLIENT)
    each = {name: seconds * 1000 / ORDERS for name, seconds in spent.items()}
    shown = {name: taken for name, taken in sorted(each.items(), key=lambda item: -item[1]) if taken >= LEAST_MS}
    rest = abs(sum(each.values()) - sum(shown.values()))
    rows = [f"| {name} | {taken:.2f} |" for name, taken in shown.items()]
    return [
        f"CPU of one order: user and system time of each process and its children over the same {ORDERS} orders and "
        f"the {SETTLE_SECONDS:g} s after them, divided by {ORDERS}.",
        "",
        "| process | ms of CPU |",
        "|---|---|",
        *rows,
        f"| all others | {rest:.2f} |",
        f"| **the mesh** | **{sum(each.values()):.2f}** |",
        f"| {CLIENT} | {client * 1000 / ORDERS:.2f} |",
    ]


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
