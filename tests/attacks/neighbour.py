"""`python -m tests.attacks.neighbour ENDPOINTS TOKEN ORDER SKU FILE`: somebody who shops while others attack.

A process of its own, so that it measures the mesh and not whoever attacks it. It asks at an even pace, from an address
and as a user that nobody else is, and writes when each call began, how long it took and whether it was served, until
it is told to stop.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.faults.latencies import p99
from tests.raw_http import trust_in

ADDRESS = "127.3.3.3"
PAUSE_SECONDS = 0.05
"""Twenty calls a second: below what the limits give to one user."""

PATIENCE_SECONDS = 10.0
MOST_TOLD_CHARACTERS = 300


@dataclass(frozen=True)
class Served:
    """One call; times are seconds of the clock that never goes back."""

    began: float
    seconds: float
    what: str
    status: int
    problem: str = ""

    @property
    def well(self) -> bool:
        """Whether it got what it asked for."""
        return self.status == 200


def read(file: Path) -> list[Served]:
    """Return the calls of a neighbour that has ended."""
    return [Served(**json.loads(line)) for line in file.read_text().splitlines()]


def between(calls: Sequence[Served], began: float, ended: float) -> list[Served]:
    """Return the calls that were under way in a time."""
    return [each for each in calls if each.began <= ended and each.began + each.seconds >= began]


def p99_of(calls: Sequence[Served]) -> float:
    """Return the 99th percentile of their seconds."""
    return p99([each.seconds for each in calls])


async def shop(where: Mapping[str, Any], token: str, order_id: str, sku: str, file: Path) -> None:
    """Ask in turn for what a shopper looks at, until told to stop."""
    transport = httpx.AsyncHTTPTransport(verify=trust_in(where["ca"]), local_address=ADDRESS)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    wishes = (
        ("GET", "/v1/products?pageSize=20", None),
        ("GET", f"/v1/orders/{order_id}", None),
        ("POST", "/v1/orders:quote", {"lines": [{"sku": sku, "quantity": 1}]}),
        ("GET", "/v1/cart", None),
    )
    headers = {"authorization": f"Bearer {token}"}
    running: set[asyncio.Task[None]] = set()
    with file.open("w") as lines:
        client = httpx.AsyncClient(
            base_url=where["edge"], transport=transport, timeout=PATIENCE_SECONDS, headers=headers
        )

        async def ask(method: str, path: str, body: object) -> None:
            began, status, problem = time.monotonic(), 0, ""
            try:
                answer = await client.request(method, path, json=body)
                status, problem = (
                    answer.status_code,
                    "" if answer.status_code == 200 else answer.text[:MOST_TOLD_CHARACTERS],
                )
            except httpx.HTTPError as broken:
                problem = repr(broken)
            call = Served(began, time.monotonic() - began, path.partition("?")[0], status, problem)
            lines.write(json.dumps(asdict(call)) + "\n")
            lines.flush()

        async with client:
            number = 0
            while not stopped.is_set():
                # It does not wait for the answer: a mesh that hangs must not be asked less for that.
                task = asyncio.create_task(ask(*wishes[number % len(wishes)]))
                running.add(task)
                task.add_done_callback(running.discard)
                number += 1
                await asyncio.sleep(PAUSE_SECONDS)
            await asyncio.gather(*running)


if __name__ == "__main__":
    asyncio.run(shop(json.loads(Path(sys.argv[1]).read_text()), *sys.argv[2:5], Path(sys.argv[5])))
