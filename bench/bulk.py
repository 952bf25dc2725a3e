"""What a shopper notices of a long job: the latency of an order at rest, and while each kind of job runs beside it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from bench.rig.loads import Window, counted, together
from bench.rig.picture import Bars
from bench.rig.result import Goal, Outcome, Terms, Unmeasured
from bench.rig.shop import WALLET
from bench.rig.wire import Wire
from bench.rig.world import World, sound

ORDERS = 100
"""Of a window; each kind of job has one beside it in a repeat, and one at rest before or after."""

WARM_UP_ORDERS = 60
ROWS = 3_000
NAMED_SKUS = 1_000
"""As many as a repricing may name."""

LINES_PER_INVOICE = 6
WAIT_SECONDS = 10

TERMS = Terms(
    "bulk",
    "How much longer does an order take while a long job runs?",
    f"""POST /v1/orders of three named lines from a wallet, one shopper over one kept HTTPS connection, one order after
    the other. Windows of {ORDERS} orders at rest alternate with windows beside a job, kind after kind: imports,
    exports, stock and price updates of {ROWS:,} products of their own and re-pricings of {NAMED_SKUS:,} of them,
    re-indexes in another language each time, sales reports, and reconciliations of {ROWS:,} lines; one operation
    follows the other until the window ends. The figure is the p99 of a repeat's orders beside all kinds, the limit that
    of its orders at rest. Not asked: a feed, whose rows go the way of an import's after one fetch from elsewhere, and a
    settlement, which reads a provider's log.""",
    "ms p99",
    "the same at rest, ms p99",
    Goal(1.2, 1.05, less_is_better=True),
)


@dataclass(frozen=True)
class Material:
    """What jobs work on: ids of files, of which those in pairs differ in each price, and SKUs."""

    products: tuple[str, str]
    prices: tuple[str, str]
    stock: str
    invoices: str
    skus: tuple[str, ...]


KINDS: Mapping[str, Callable[[Material, int], dict[str, Any]]] = {
    "import": lambda of, number: {"productImport": {"fileId": of.products[number % 2]}},
    "export": lambda of, number: {"productExport": {"format": "CSV"}},
    "stock update": lambda of, number: {"stockUpdate": {"fileId": of.stock}},
    "price update": lambda of, number: {"priceUpdate": {"fileId": of.prices[number % 2]}},
    "re-pricing": lambda of, number: {
        "repricing": {"products": {"skus": list(of.skus[:NAMED_SKUS])}, "percent": ("25", "-20")[number % 2]}
    },
    "re-index": lambda of, number: {"searchReindex": {"language": ("GERMAN", "ENGLISH")[number % 2]}},
    "sales report": lambda of, number: {"salesReport": {}},
    "reconciliation": lambda of, number: {"reconciliation": {"fileId": of.invoices}},
}
"""What the operation of this number is, by kind; each has something to do, however often it was done before."""


@dataclass
class Jobs:
    """The bulk worker of a mesh, in the name of its administrator."""

    wire: Wire
    credentials: Mapping[str, str]
    token: str = ""
    done: dict[str, int] = field(default_factory=dict)
    """Operations that went through or were stopped beside orders, by kind."""

    async def sign_in(self) -> None:
        """Begin a session; it lasts ten minutes, a repeat less."""
        self.token = (await self.wire.post("/v1/sessions", self.credentials))["accessToken"]

    async def material(self) -> Material:
        """Make the files, and the products that they are about."""
        skus = tuple(f"BLK-{uuid4().hex[:12]}" for _ in range(ROWS))
        prices = [[(sku, cents + number % 90) for number, sku in enumerate(skus)] for cents in (100, 400)]
        products = [[(sku, price, f"Bulk {sku}") for sku, price in rows] for rows in prices]
        made = Material(
            products=await self._pair(("sku", "price_minor", "title"), products),
            prices=await self._pair(("sku", "price_minor"), prices),
            stock=await self.send(("sku", "delta"), [(sku, 1) for sku in skus]),
            invoices=await self.send(INVOICE_COLUMNS, invented(ROWS, until=datetime.now(UTC))),
            skus=skus,
        )
        await self._ended(await self._start(KINDS["import"](made, 0)))
        return made

    async def send(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
        """Send a CSV file of less than a megabyte; returns its id."""
        text = io.StringIO()
        csv.writer(text).writerows([columns, *rows])
        path, content = "/v1/files?name=bench.csv&format=CSV", text.getvalue().encode()
        request = self.wire.request("POST", path, content, token=self.token, content_type="text/csv")
        file_id: str = json.loads((await self.wire.send(request)).body)["file"]["fileId"]
        return file_id

    @asynccontextmanager
    async def running(self, kind: str, material: Material) -> AsyncIterator[None]:
        """Have operations of a kind done one after the other meanwhile; the last one is stopped.

        Raises:
            Unmeasured: One did not succeed, or none was begun.
        """
        numbers, stopping, begun, operations = count(), False, 0, 0
        under_way = await self._start(KINDS[kind](material, next(numbers)))

        async def one_after_the_other() -> None:
            nonlocal under_way, begun, operations
            while True:
                begun += await self._ended(under_way)
                operations += 1
                if stopping:
                    return
                under_way = await self._start(KINDS[kind](material, next(numbers)))
                if stopping:  # meanwhile
                    await self._stop(under_way)

        task = asyncio.create_task(one_after_the_other())
        try:
            yield
        finally:
            stopping = True
            await self._stop(under_way)
            await task
        if not begun:
            raise Unmeasured(f"no {kind} was begun beside the orders")
        self.done[kind] = self.done.get(kind, 0) + operations

    async def _stop(self, operation_id: str) -> None:
        await self.wire.post(f"/v1/operations/{operation_id}:cancel", {}, token=self.token)

    async def _start(self, job: Mapping[str, Any]) -> str:
        started = await self.wire.post("/v1/operations", {"job": job}, token=self.token, key=str(uuid4()))
        operation_id: str = started["operation"]["operationId"]
        return operation_id

    async def _ended(self, operation_id: str) -> bool:
        """Wait for an operation's end without asking again and again; returns whether a worker had begun with it.

        One that is stopped early may have no row to show: a re-pricing reckons all of them before it writes the first.
        """
        path = f"/v1/operations/{operation_id}:wait?timeoutSeconds={WAIT_SECONDS}"
        while not (operation := (await self.wire.get(path, token=self.token))["operation"])["done"]:
            pass
        if operation["state"] not in ("SUCCEEDED", "CANCELLED"):
            raise Unmeasured(f"{operation['job']} ended as {operation['state']}: {operation.get('error')}")
        return "startTime" in operation

    async def _pair(self, columns: Sequence[str], of: Sequence[Sequence[Sequence[Any]]]) -> tuple[str, str]:
        first, second = [await self.send(columns, rows) for rows in of]
        return first, second


INVOICE_COLUMNS = (
    "invoice_no",
    "stock_code",
    "description",
    "quantity",
    "invoice_time",
    "unit_price_gbp",
    "customer_id",
    "country",
)


def invented(lines: int, *, until: datetime) -> list[tuple[Any, ...]]:
    """Return the lines of a shop's file that end at a time, as the operation reads them; some are of credit notes."""
    rows: list[tuple[Any, ...]] = []
    for number in range(lines):
        invoice = number // LINES_PER_INVOICE
        returns = invoice % 7 == 6
        at = (until - timedelta(seconds=lines // LINES_PER_INVOICE - invoice)).replace(tzinfo=None, microsecond=0)
        document, units = (f"C{900_000 + invoice}", -1) if returns else (str(900_000 + invoice), 2)
        code = str(20_000 + number % 500)
        rows.append((document, code, f"Thing {code}", units, at.isoformat(" "), "1.25", str(invoice % 50), "France"))
    return rows


async def measure(world: World) -> Outcome:
    """Answer, with the picture of the p99 by kind of job."""
    shop = await world.shop()
    endpoints = world.mesh.endpoints
    credentials = {"email": endpoints["admin_email"], "password": endpoints["admin_password"]}
    jobs = Jobs(world.wire, credentials)
    await jobs.sign_in()
    material = await jobs.material()
    numbers = count()

    async def act(caller: int) -> None:
        (guest,) = await shop.guests(1)
        await shop.order(guest, shop.order_body(shop.skus(caller, next(numbers)), WALLET))

    await counted(1, WARM_UP_ORDERS, act)
    at_rest: list[Window] = []
    beside: dict[str, list[Window]] = {kind: [] for kind in KINDS}
    figures, limits = [], []
    for repeat in range(world.repeats):
        await jobs.sign_in()
        quiet, busy = [], []
        for turn, kind in enumerate(KINDS):
            for with_job in order_of(repeat + turn):
                await world.settle()
                if with_job:
                    async with jobs.running(kind, material):
                        busy.append(sound(await counted(1, world.operations(ORDERS), act)))
                    beside[kind].append(busy[-1])
                else:
                    quiet.append(sound(await counted(1, world.operations(ORDERS), act)))
        figures.append(together(busy).milliseconds(0.99))
        limits.append(together(quiet).milliseconds(0.99))
        at_rest += quiet
    calm, all_busy = together(at_rest), together(window for windows in beside.values() for window in windows)
    by_kind = {kind: together(windows) for kind, windows in beside.items()}
    more: dict[str, float | str] = {
        "p50 in ms at rest": calm.milliseconds(0.5),
        "p50 in ms beside jobs": all_busy.milliseconds(0.5),
        **{f"p99 in ms beside {kind}": window.milliseconds(0.99) for kind, window in by_kind.items()},
        "operations beside the orders": ", ".join(f"{kind} {number}" for kind, number in jobs.done.items()),
    }
    bars = [(kind, window.milliseconds(0.99)) for kind, window in by_kind.items()]
    shown = [("at rest", calm.milliseconds(0.99)), *sorted(bars, key=lambda each: -each[1])]
    picture = Bars("p99 of an order beside each kind of long job", "ms", tuple(shown))
    return Outcome(tuple(figures), tuple(limits), more=more, picture=picture)


def order_of(turn: int) -> tuple[bool, bool]:
    """Return whether the first window of a turn has a job beside it, and the second: each order every other time, so
    that what else the machine does falls on both."""
    return (False, True) if turn % 2 == 0 else (True, False)
