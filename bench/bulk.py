"""`python -m bench.bulk`: what shoppers notice of a long job, and how fast one is.

It measures the mesh that runs on TITAN_HOME, which has to have been started with the profile `load`. Rounds of orders,
one at a time over one HTTPS connection, alternate between a mesh at rest and one with an import under way, so that what
else the machine does falls on both. It prints the two latencies, their ratio, and the rows that the import got through.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any
from uuid import uuid4

import uvloop

from bench.figures import Shopper
from bench.rig.loads import Window, together
from bench.rig.result import Unmeasured, load_average
from bench.rig.wire import Broken, Unwanted, Wire
from control.home import Home

ROUNDS = 10
ORDERS_A_ROUND = 100
WARM_UP_ORDERS = 30
ROWS = 10_000
"""Of one file; as many files as the rounds take are imported, one after the other."""
SETTLE_SECONDS = 1.0
LOOK_SECONDS = 0.02


class Imports:
    """Imports that run one after the other while somebody looks."""

    def __init__(self, wire: Wire, token: str) -> None:
        """Make the first file, whose rows are new; later ones change every price."""
        self._wire = wire
        self._token = token
        self._skus = [f"BLK-{uuid4().hex[:12]}" for _ in range(ROWS)]
        self._operation = ""
        self.rows = 0
        self.seconds = 0.0

    async def start(self) -> None:
        """Begin with an import of all rows, and wait until the first is done."""
        price = 100 + int(time.monotonic()) % 900
        lines = "".join(f"{sku},{price},Bulk {sku}\n" for sku in self._skus)
        content = f"sku,price_minor,title\n{lines}".encode()
        path = "/v1/files?name=bulk.csv&format=CSV"
        sent = self._wire.request("POST", path, content, token=self._token, content_type="text/csv")
        file = json.loads((await self._wire.send(sent)).body)["file"]["fileId"]
        job = {"job": {"productImport": {"fileId": file}}}
        answer = await self._wire.post("/v1/operations", job, token=self._token, key=str(uuid4()))
        self._operation = answer["operation"]["operationId"]
        while int((await self.read())["progress"]["rowsDone"]) == 0:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)

    async def read(self) -> dict[str, Any]:
        """Return the operation as it is."""
        found = await self._wire.get(f"/v1/operations/{self._operation}", token=self._token)
        operation: dict[str, Any] = found["operation"]
        return operation

    async def stop(self) -> None:
        """Stop it, and count what it got through."""
        await self._wire.post(f"/v1/operations/{self._operation}:cancel", {}, token=self._token)
        while not (operation := await self.read())["done"]:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
        self.rows += int(operation["progress"]["rowsDone"])


def main() -> int:
    """Measure and print; returns the exit status."""
    home = Home.from_environment()
    try:
        for line in uvloop.run(measure(json.loads(home.endpoints.read_text()))):
            print(line, flush=True)
    except FileNotFoundError:
        print("No mesh is running. Start one: make up PROFILE=load", file=sys.stderr)
        return 3
    except (Unmeasured, Unwanted, Broken) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


async def measure(endpoints: dict[str, Any]) -> list[str]:
    """Return the lines to print."""
    busy = load_average()
    shopping, bulk = Wire(endpoints), Wire(endpoints)
    try:
        shopper = await Shopper.open(shopping, endpoints)
        await shopper.place(WARM_UP_ORDERS)
        credentials = {"email": endpoints["admin_email"], "password": endpoints["admin_password"]}
        imports = Imports(bulk, (await bulk.post("/v1/sessions", credentials))["accessToken"])
        quiet, beside = await _rounds(shopper, imports)
    finally:
        shopping.close()
        bulk.close()
    rows = [_row(name, quiet, beside, share) for name, share in (("p50", 0.5), ("p99", 0.99))]
    return [
        f"{quiet.done} orders without and {beside.done} with an import, in {2 * ROUNDS} rounds that alternate; "
        f"load average before: {busy:.2f}.",
        "",
        "| PlaceOrder | at rest | beside an import | ratio |",
        "|---|---|---|---|",
        *rows,
        "",
        f"The import got through {imports.rows / imports.seconds:.0f} rows/s beside the orders.",
    ]


async def _rounds(shopper: Shopper, imports: Imports) -> tuple[Window, Window]:
    """Return the orders of all rounds at rest, and of all rounds beside an import."""
    quiet: list[Window] = []
    beside: list[Window] = []
    for number in range(ROUNDS):
        for with_job in (False, True) if number % 2 == 0 else (True, False):
            await asyncio.sleep(SETTLE_SECONDS)
            if not with_job:
                quiet.append(await shopper.place(ORDERS_A_ROUND))
                continue
            await imports.start()
            began = time.monotonic()
            beside.append(await shopper.place(ORDERS_A_ROUND))
            imports.seconds += time.monotonic() - began
            if (await imports.read())["done"]:
                raise Unmeasured("An import was through before the orders were: give it more rows.")
            await imports.stop()
    return together(quiet), together(beside)


def _row(name: str, quiet: Window, beside: Window, share: float) -> str:
    before, after = quiet.milliseconds(share), beside.milliseconds(share)
    return f"| {name} | {before:.1f} ms | {after:.1f} ms | {after / before:.2f} |"


if __name__ == "__main__":
    sys.exit(main())
