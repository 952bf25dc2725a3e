"""What the checker knows, and where it has it from: files, and the databases through a role that can only read.

Each kind of row is a small record with the names of the tables' columns; an invariant's test makes them up. Ids are
text, money is minor units.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg

from tests.faults import journal
from tests.faults.journal import Operation


@dataclass(frozen=True, slots=True)
class Order:
    """A row of `orders`."""

    order_id: str
    user_id: str = ""
    status: str = "CONFIRMED"
    currency: str = "GBP"
    total_minor: int = 0
    refunded_minor: int = 0
    cancel_reason: str = ""
    lines: tuple[tuple[int, str, int], ...] = ()
    """Line number, SKU, units."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of `order_events`."""

    order_id: str
    version: int
    type: str


@dataclass(frozen=True, slots=True)
class Checkout:
    """A row of `checkouts`: the saga of one order. Times are seconds of the day's clock; None is not yet."""

    order_id: str
    user_id: str
    request_id: str
    recorded: float = 0.0
    decided: float | None = 0.0
    finished: float | None = 0.0
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Payment:
    """A row of `payments`. One without an amount is a tombstone."""

    order_id: str
    payment_id: str
    status: str = "CAPTURED"
    provider: str | None = "psp_sim"
    amount_minor: int | None = None
    currency: str | None = "GBP"
    captured_minor: int = 0
    refunded_minor: int = 0


@dataclass(frozen=True, slots=True)
class TopUp:
    """A row of `top_ups`."""

    top_up_id: str
    user_id: str
    request_id: str
    amount_minor: int
    status: str = "CREDITED"


@dataclass(frozen=True, slots=True)
class Transfer:
    """A row of `transfers`, with how it was resolved if it was pending."""

    transfer_id: str
    kind: str
    debit_account: str
    credit_account: str
    amount_minor: int
    currency: str = "GBP"
    order_id: str | None = None
    pending: bool = False
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """A row of `balances` with its account's owner."""

    account_id: str
    user_id: str | None
    currency: str = "GBP"
    posted_debits: int = 0
    posted_credits: int = 0
    pending_debits: int = 0
    pending_credits: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """A row of `blocks`, beside what its rows hash to when somebody else counts them."""

    height: int
    row_count: int
    rows_hash: bytes
    previous_hash: bytes
    hash: bytes
    counted: int = 0
    counted_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class Audited:
    """A row of an `audit_entries`."""

    method: str
    resource: str
    actor_id: str | None = None
    key_hash: str | None = None
    xid: int = 0
    outcome: str = "ACCEPTED"


@dataclass(frozen=True, slots=True)
class Effect:
    """A row that a command from outside made, and that never changes, with the transaction that made it."""

    kind: str
    resource: str
    xid: int = 0


@dataclass(frozen=True, slots=True)
class Stock:
    """A row of `stock`."""

    sku: str
    on_hand: int
    reserved: int
    warehouse_id: str = "main"


@dataclass(frozen=True, slots=True)
class Movement:
    """A row of `stock_movements`."""

    sku: str
    version: int
    on_hand_delta: int
    reserved_delta: int
    order_id: str | None = None
    warehouse_id: str = "main"


@dataclass(frozen=True, slots=True)
class Reservation:
    """A row of `reservation_lines` with the state of its order: 1 reserved, 2 released, 3 shipped, 4 refused."""

    order_id: str
    state: int
    line_number: int
    sku: str
    quantity: int
    warehouse_id: str = "main"


@dataclass(frozen=True, slots=True)
class Cart:
    """A row of `carts`: what is left of a live cart when Redis is gone."""

    user_id: str
    version: int
    lines: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Published:
    """A row of an `outbox`."""

    topic: str
    aggregate_id: str
    version: int
    event_id: str
    published: bool = True
    digest: str = ""
    """SHA-256 of the content."""

    type: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """An event that the proof's own consumer met, and how often."""

    topic: str
    aggregate_id: str
    version: int
    event_id: str
    times: int = 1
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """A row of `notifications`."""

    order_id: str
    order_version: int
    template: str


@dataclass(frozen=True, slots=True)
class Charge:
    """A line of the provider's own log that moved or held money."""

    kind: str
    payment_id: str
    amount_minor: int
    currency: str | None = "GBP"


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A fault, from its begin until the mesh was well again, on the clock of the day.

    On the monotonic clock of the journal it began at `began_at`, and disturbed nobody any more from `lifted_at` on.
    """

    name: str
    began: float
    over: float
    began_at: float = 0.0
    lifted_at: float = 0.0
    recovery_seconds: float = 0.0
    recovered: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """A look into a database while the faults went on: how many rows were checked, and what was wrong with them."""

    name: str
    checked: int = 0
    wrong: tuple[str, ...] = ()
    at: float = 0.0
    """When, on the monotonic clock of the journal."""

    deep: bool = False
    """Whether it added up everything there is."""


@dataclass(frozen=True, slots=True)
class Drained:
    """How long after its death the broker had every event from before it again, and how many had to come."""

    seconds: float
    events: int
    done: bool = True


@dataclass
class Evidence:
    """Everything, after the mesh has rested."""

    rested_at: float = 0.0
    """When, on the monotonic clock of the journal."""

    rested_wall: float = 0.0
    operations: list[Operation] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    checkouts: list[Checkout] = field(default_factory=list)
    open_effects: list[str] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    open_provider_work: list[str] = field(default_factory=list)
    top_ups: list[TopUp] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    balances: list[Balance] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    audited: list[Audited] = field(default_factory=list)
    audit_blocks: list[tuple[str, Block]] = field(default_factory=list)
    """Each with its package."""

    effects: list[Effect] = field(default_factory=list)
    stock: list[Stock] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)
    carts: list[Cart] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)
    """The ids of the events of orders that svc_notify has noted."""

    letters: list[Letter] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    drained: list[Drained] = field(default_factory=list)


async def load(folder: Path) -> Evidence:
    """Read a run's folder: `run.json` says where the databases and the provider's log are, and when it rested."""
    run = json.loads((folder / "run.json").read_text())
    evidence = Evidence(
        rested_at=run["rested_at"],
        rested_wall=run["rested_wall"],
        operations=journal.read(folder / "journal.ndjson"),
        charges=read_charges(Path(run["psp_log"])),
        disturbances=[
            Disturbance(
                each["name"],
                each["began_wall"],
                each["over_wall"],
                each["began"],
                each["lifted"],
                each.get("recovery_seconds", 0.0),
                each.get("recovered", True),
            )
            for each in _lines(folder / "faults.ndjson")
        ],
        drained=[Drained(**each) for each in _lines(folder / "drained.ndjson")],
        seen=[Seen(**each) for each in _lines(folder / "events.ndjson")],
        samples=[
            Sample(each["name"], each["checked"], tuple(each["wrong"]), each.get("at", 0.0), each.get("deep", False))
            for each in _lines(folder / "samples.ndjson")
        ],
    )
    await _load_orders(evidence, run["postgres_reader"]["svc_order"])
    await _load_money(evidence, run["postgres_reader"]["svc_payment"])
    await _load_stock(evidence, run["postgres_reader"]["svc_inventory"])
    await _load_carts(evidence, run["postgres_reader"]["svc_cart"])
    await _load_letters(evidence, run["postgres_reader"]["svc_notify"])
    for package, url in run["postgres_reader"].items():
        await _load_outbox(evidence, url)
        await _load_audit(evidence, package, url)
    return evidence


def read_charges(path: Path) -> list[Charge]:
    """Read the provider's log: the lines that had an effect on money."""
    kinds = {"authorize", "capture", "void", "refund"}
    return [
        Charge(line["kind"], line["payment_id"], line["amount_minor"], line["currency"])
        for line in _lines(path)
        if line["effect"] and line["kind"] in kinds
    ]


async def _load_orders(evidence: Evidence, url: str) -> None:
    async with _Reader(url) as reader:
        evidence.orders = [
            Order(**{**row, "lines": tuple((line[0], line[1], line[5]) for line in json.loads(row["lines"]))})
            for row in await reader(
                "SELECT order_id::text, user_id::text, status, currency, total_minor, refunded_minor, cancel_reason,"
                " lines::text FROM orders ORDER BY order_id"
            )
        ]
        evidence.entries = [
            Entry(**row)
            for row in await reader("SELECT order_id::text, version, type FROM order_events ORDER BY order_id, version")
        ]
        evidence.checkouts = [
            Checkout(**{name: _seconds(value) for name, value in row.items()})
            for row in await reader(
                "SELECT order_id::text, user_id::text, request_id, recorded_at AS recorded, decided_at AS decided,"
                " finished_at AS finished, action_url IS NOT NULL AND decided_at IS NULL AS waits FROM checkouts"
            )
        ]
        evidence.effects += [Effect(**row) for row in await reader(_ORDERED)]
        evidence.open_effects = [
            f"{row['kind']} of order {row['order_id']}"
            for row in await reader("SELECT kind, order_id::text FROM order_effects WHERE finished_at IS NULL")
        ]


async def _load_money(evidence: Evidence, url: str) -> None:
    async with _Reader(url) as reader:
        evidence.payments = [
            Payment(**row)
            for row in await reader(
                "SELECT order_id::text, payment_id::text, status, provider, amount_minor, currency, captured_minor,"
                " refunded_minor FROM payments"
            )
        ]
        evidence.open_provider_work = [
            f"{row['subject_kind']} {row['subject_id']}"
            for row in await reader("SELECT subject_kind, subject_id::text FROM provider_work")
        ]
        evidence.top_ups = [
            TopUp(**row)
            for row in await reader(
                "SELECT top_up_id::text, user_id::text, request_id, amount_minor, status FROM top_ups"
            )
        ]
        evidence.transfers = [
            Transfer(**row)
            for row in await reader(
                "SELECT transfer_id::text, kind, debit_account::text, credit_account::text, amount_minor, currency,"
                " order_id::text, t.pending, outcome FROM transfers t LEFT JOIN resolutions USING (transfer_id)"
            )
        ]
        evidence.balances = [
            Balance(**row)
            for row in await reader(
                "SELECT account_id::text, user_id::text, b.currency, posted_debits, posted_credits, pending_debits,"
                " pending_credits FROM balances b JOIN accounts USING (account_id)"
            )
        ]
        evidence.blocks = [Block(**row) for row in await reader(_BLOCKS)]


# What nobody asked for from outside is left out: orders that the saga cancelled, and money that a cancel sent back.
_ORDERED = """
SELECT e.type AS kind, 'orders/' || order_id AS resource, e.xmin::text::bigint AS xid
FROM order_events e JOIN orders o USING (order_id)
WHERE e.type IN ('OrderPlaced', 'OrderShipped', 'OrderDelivered')
   OR (e.type = 'OrderCancelled' AND e.payload->>'reason' = 'CUSTOMER')
   OR (e.type = 'OrderRefunded' AND o.status <> 'CANCELLED')
"""
_ADJUSTED = """
SELECT 'stock adjusted' AS kind, 'inventory/' || sku AS resource, xmin::text::bigint AS xid
FROM stock_movements WHERE kind = 1
"""

# The block of a row is the one whose transactions it belongs to; its leaf is written out here once more.
_BLOCKS_OF = """
WITH leaves AS (
    {leaves}
), marks AS (
    SELECT from_xid AS xid, height, NULL::bytea AS leaf FROM {blocks} WHERE height > 0
    UNION ALL
    SELECT xid, NULL, leaf FROM leaves WHERE xid < (SELECT max(to_xid) FROM {blocks})
), placed AS (
    SELECT leaf, max(height) OVER (ORDER BY xid) AS height FROM marks
), counted AS (
    SELECT height, count(leaf) AS counted, sha256(string_agg(leaf, ''::bytea ORDER BY leaf)) AS counted_hash
    FROM placed GROUP BY height
)
SELECT b.height, b.row_count, b.rows_hash, b.previous_hash, b.hash, COALESCE(c.counted, 0) AS counted,
       COALESCE(c.counted_hash, '') AS counted_hash
FROM {blocks} b LEFT JOIN counted c USING (height) ORDER BY b.height
"""
_BLOCKS = _BLOCKS_OF.format(
    blocks="blocks",
    leaves="""SELECT xid, sha256(convert_to(concat_ws('|', 't', transfer_id, group_id, kind, pending, debit_account,
        credit_account, amount_minor, currency, COALESCE(order_id::text, '-'), extract(epoch FROM recorded_at), xid),
        'UTF8')) AS leaf
    FROM transfers
    UNION ALL
    SELECT xid, sha256(convert_to(concat_ws('|', 'r', transfer_id, outcome, extract(epoch FROM recorded_at), xid),
        'UTF8'))
    FROM resolutions""",
)
_AUDIT_BLOCKS = _BLOCKS_OF.format(
    blocks="audit_blocks",
    leaves="""SELECT xid, sha256(convert_to(json_build_array(xid::text, seq, extract(epoch FROM recorded_at), outcome,
        method, resource, actor_id, subject_id, session_id, package, encode(key_hash, 'hex'), trace_id, reason,
        left_out)::text, 'UTF8')) AS leaf
    FROM audit_entries""",
)


async def _load_stock(evidence: Evidence, url: str) -> None:
    async with _Reader(url) as reader:
        evidence.stock = [
            Stock(**row) for row in await reader("SELECT sku, on_hand, reserved, warehouse_id FROM stock")
        ]
        evidence.movements = [
            Movement(**row)
            for row in await reader(
                "SELECT sku, version, on_hand_delta, reserved_delta, order_id::text, warehouse_id"
                " FROM stock_movements ORDER BY sku, version"
            )
        ]
        evidence.effects += [Effect(**row) for row in await reader(_ADJUSTED)]
        evidence.reservations = [
            Reservation(**row)
            for row in await reader(
                "SELECT order_id::text, state, line_number, sku, quantity, warehouse_id"
                " FROM reservations JOIN reservation_lines USING (order_id)"
            )
        ]


async def _load_carts(evidence: Evidence, url: str) -> None:
    async with _Reader(url) as reader:
        evidence.carts = [
            Cart(row["user_id"], row["version"], dict(json.loads(row["lines"])))
            for row in await reader("SELECT user_id::text, version, lines::text FROM carts")
        ]


async def _load_letters(evidence: Evidence, url: str) -> None:
    async with _Reader(url) as reader:
        evidence.applied = [
            row["event_id"] for row in await reader("SELECT event_id::text FROM inbox WHERE topic = 'titan.order.v1'")
        ]
        evidence.letters = [
            Letter(**row)
            for row in await reader(
                "SELECT order_id::text, order_version, template FROM notifications WHERE order_id IS NOT NULL"
            )
        ]


async def _load_outbox(evidence: Evidence, url: str) -> None:
    async with _Reader(url) as reader:
        if not await reader("SELECT 1 FROM pg_tables WHERE tablename = 'outbox'"):
            return
        evidence.published += [
            Published(**row)
            for row in await reader(
                "SELECT topic, aggregate_id, version, event_id::text, published_at IS NOT NULL AS published,"
                " encode(sha256(payload), 'hex') AS digest, type FROM outbox"
            )
        ]


async def _load_audit(evidence: Evidence, package: str, url: str) -> None:
    async with _Reader(url) as reader:
        evidence.audited += [
            Audited(**row)
            for row in await reader(
                "SELECT method, resource, actor_id::text, encode(key_hash, 'hex') AS key_hash,"
                " xid::text::bigint AS xid, outcome FROM audit_entries"
            )
        ]
        evidence.audit_blocks += [(package, Block(**row)) for row in await reader(_AUDIT_BLOCKS)]


class _Reader:
    """One database as it stood at one moment."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> _Reader:
        self._connection = await asyncpg.connect(self._url)
        await self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._connection.close()

    async def __call__(self, statement: str) -> list[Mapping[str, Any]]:
        return [dict(row) for row in await self._connection.fetch(statement)]


def _seconds(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield JSON lines; a torn last one is not there, and neither is a file that nobody wrote."""
    if path.exists():
        with path.open() as lines:
            yield from (json.loads(line) for line in lines if line.endswith("\n"))
