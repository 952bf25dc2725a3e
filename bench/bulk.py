"""`python -m bench.bulk`: what shoppers notice of a long job, and how fast one is.

It measures the mesh that runs on TITAN_HOME, which has to have been started with the profile `load`. Rounds of orders,
one at a time over one HTTPS connection, alternate between a mesh at rest and one with an import under way, so that what
else the machine does falls on both. It prints the two latencies, their ratio, and the rows that the import got through.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from bench.figures import Edge, Shopper, Unmeasured, sign_in
from control.home import Home

ROUNDS = 10
ORDERS_A_ROUND = 100
WARM_UP_ORDERS = 30
ROWS = 10_000
"""Of one file; as many files as the rounds take are imported, one after the other."""
SETTLE_SECONDS = 1.0


class Imports:
    """Imports that run one after the other while somebody looks."""

    def __init__(self, edge: Edge, token: str) -> None:
        """Make the first file, whose rows are new; later ones change every price."""
        self._edge = edge
        self._token = token
        self._skus = [f"BLK-{uuid4().hex[:12]}" for _ in range(ROWS)]
        self._operation = ""
        self.rows = 0
        self.seconds = 0.0

    def start(self) -> None:
        """Begin with an import of all rows."""
        price = 100 + int(time.monotonic()) % 900
        lines = "".join(f"{sku},{price},Bulk {sku}\n" for sku in self._skus)
        headers = {"content-type": "text/csv"}
        content = f"sku,price_minor,title\n{lines}".encode()
        made = self._edge.send("POST", "/v1/files?name=bulk.csv&format=CSV", content, headers, token=self._token)
        job = {"job": {"productImport": {"fileId": json.loads(made)["file"]["fileId"]}}}
        answer = self._edge.post("/v1/operations", job, token=self._token, key=str(uuid4()))
        self._operation = answer["operation"]["operationId"]

    def read(self) -> dict[str, Any]:
        """Return the operation as it is."""
        found = self._edge.send("GET", f"/v1/operations/{self._operation}", None, {}, token=self._token)
        operation: dict[str, Any] = json.loads(found)["operation"]
        return operation

    def stop(self) -> None:
        """Stop it, and count what it got through."""
        self._edge.post(f"/v1/operations/{self._operation}:cancel", {}, token=self._token)
        while not (operation := self.read())["done"]:
            time.sleep(0.02)
        self.rows += int(operation["progress"]["rowsDone"])


def main() -> int:
    """Measure and print; returns the exit status."""
    home = Home.from_environment()
    try:
        for line in measure(json.loads(home.endpoints.read_text())):
            print(line, flush=True)
    except FileNotFoundError:
        print("No mesh is running. Start one: make up PROFILE=load", file=sys.stderr)
        return 3
    except Unmeasured as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def measure(endpoints: dict[str, Any]) -> list[str]:
    """Return the lines to print."""
    busy = os.getloadavg()[0]
    shopping, bulk = Edge(endpoints["edge"], endpoints["ca"]), Edge(endpoints["edge"], endpoints["ca"])
    shopper = Shopper(shopping, endpoints, orders=WARM_UP_ORDERS + 2 * ROUNDS * ORDERS_A_ROUND)
    shopper.place(WARM_UP_ORDERS)
    imports = Imports(bulk, sign_in(bulk, endpoints))
    quiet: list[float] = []
    beside: list[float] = []
    for number in range(ROUNDS):
        for with_job in (False, True) if number % 2 == 0 else (True, False):
            time.sleep(SETTLE_SECONDS)
            if not with_job:
                quiet += shopper.place(ORDERS_A_ROUND)
                continue
            imports.start()
            while int(imports.read()["progress"]["rowsDone"]) == 0:
                time.sleep(0.02)
            began = time.monotonic()
            beside += shopper.place(ORDERS_A_ROUND)
            imports.seconds += time.monotonic() - began
            if imports.read()["done"]:
                raise Unmeasured("An import was through before the orders were: give it more rows.")
            imports.stop()
    rows = [
        _row("p50", quiet, beside, statistics.median),
        _row("p99", quiet, beside, lambda found: sorted(found)[int(len(found) * 0.99)]),
    ]
    return [
        f"{len(quiet)} orders with and {len(beside)} without an import, in {2 * ROUNDS} rounds that alternate; "
        f"load average before: {busy:.2f}.",
        "",
        "| PlaceOrder | at rest | beside an import | ratio |",
        "|---|---|---|---|",
        *rows,
        "",
        f"The import got through {imports.rows / imports.seconds:.0f} rows/s beside the orders.",
    ]


def _row(name: str, quiet: list[float], beside: list[float], of: Callable[[list[float]], float]) -> str:
    before, after = of(quiet), of(beside)
    return f"| {name} | {before * 1000:.1f} ms | {after * 1000:.1f} ms | {after / before:.2f} |"


if __name__ == "__main__":
    sys.exit(main())
