"""The audit log: one row for every command that was accepted, written in the transaction of what it changes.

A command is what somebody outside asks to be changed: a call of a method that is not free of side effects and not for
packages alone. It is accepted when its change is stored; from then on it is carried out, whatever its caller hears. A
repetition, or a command that finds everything as it should be, changes nothing and leaves nothing here. What packages
do on each other's behalf is told by their journals, which share the transaction number with the command's row.

Support acts and reads for customers who have asked, and names their ticket: it stands behind the resource of a command,
and what is read under one has a row of its own, written before it is answered (`mesh.interceptors.audit`).

Beside commands stand denials: calls of somebody known, which the rules of access refused. They have no transaction of
their own, so `mesh.interceptors.audit` writes them before the refusal is answered, and few of them in a flood.

A row says who, what, on which resource, how it ended, when by the database's clock, and under which trace. No personal
data: people are ids, an idempotency key is a hash. Rows are append-only, and sealed like the ledger (`mesh.sealing`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import asyncpg
from google.protobuf.message import Message

from mesh import calls, sealing
from mesh.contract import TICKET_FIELD, AccessKind, Method
from mesh.database import Database, after_commit
from mesh.identity import NOBODY
from mesh.refusals import Unavailable
from mesh.sealing import Head
from mesh.telemetry import get_logger
from mesh.writes import Write

log = get_logger("mesh.audit")

ACCEPTED, DENIED = "ACCEPTED", "DENIED"
SEAL_SECONDS = 2.0
"""How long the tail is that nothing protects yet."""

LEFT_BEHIND_SECONDS = 30.0
"""How long the tail of a process that has ended waits for another one to seal it."""

MAX_RESOURCE_CHARACTERS = 300
MAX_PROBLEMS = 20
_NO_RESOURCES = frozenset({TICKET_FIELD, "request_id"})
VERIFY_TIMEOUT_MS = 25_000
"""For one page of blocks."""

# A JSON list, since no value in one can be taken for the end of its neighbour.
CHAIN = sealing.Chain(
    rows="""
    SELECT xid, sha256(convert_to(json_build_array(xid::text, seq, extract(epoch FROM recorded_at), outcome, method,
        resource, actor_id, subject_id, session_id, package, encode(key_hash, 'hex'), trace_id, reason, left_out)::text,
        'UTF8')) AS leaf
    FROM audit_entries
""",
    blocks="audit_blocks",
    begins_with="titan audit",
)
_ACCEPT = """
INSERT INTO audit_entries (outcome, method, resource, actor_id, subject_id, session_id, key_hash, trace_id)
SELECT 'ACCEPTED', method, resource, actor_id, subject_id, session_id, key_hash, trace_id
FROM unnest($1::text[], $2::text[], $3::uuid[], $4::uuid[], $5::uuid[], $6::bytea[], $7::text[])
     WITH ORDINALITY AS e (method, resource, actor_id, subject_id, session_id, key_hash, trace_id, place)
{where}
ORDER BY place
{once}
"""
_DENY = """
INSERT INTO audit_entries (outcome, method, resource, actor_id, subject_id, session_id, package, trace_id, reason,
                           left_out)
VALUES ('DENIED', $1, '', $2, $3, $4, $5, $6, $7, $8)
"""
_PAGE = "SELECT count(*) AS blocks, COALESCE(sum(row_count), 0)::bigint AS entries, max(height) AS last"
_PAGE += " FROM audit_blocks WHERE height BETWEEN $1 AND $2"
_UNSEALED = "SELECT count(*) FROM audit_entries WHERE xid >= (SELECT max(to_xid) FROM audit_blocks)"


@dataclass(frozen=True, slots=True)
class Command:
    """Who asks for what. `subject_id` is the user in whose name, where the actor is somebody else.

    `ticket_id` is the ticket that lets them.
    """

    method: str
    actor_id: UUID | None = None
    subject_id: UUID | None = None
    session_id: UUID | None = None
    key_hash: bytes | None = None
    trace_id: str = ""
    ticket_id: str = ""

    def to_json(self) -> str:
        """Return the command in one line, for a store without columns."""
        told = {name: _plain(value) for name, value in asdict(self).items() if name != TICKET_FIELD or value}
        return json.dumps(told, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Command:
        """Return the command of a line."""
        found = json.loads(line)
        for name in ("actor_id", "subject_id", "session_id"):
            found[name] = UUID(found[name]) if found[name] else None
        found["key_hash"] = bytes.fromhex(found["key_hash"]) if found["key_hash"] else None
        return cls(**found)


def is_audited(method: Method) -> bool:
    """Return whether calls of this method are commands of somebody outside."""
    return method.is_mutation and method.access is not None and method.access.kind is not AccessKind.SERVICE


def command(request_id: str = "", *, actor_id: UUID | None = None, session_id: UUID | None = None) -> Command:
    """Return the command that the current call is.

    `actor_id` and `session_id` are for a call that brings no token, and learns who its caller is on the way.
    """
    call = calls.current()
    if call is None or call.method is None:
        raise RuntimeError("a command is audited in its own call, or handed on from there")
    caller = call.caller or NOBODY
    name = call.method.full_name
    user_id = caller.user_id or actor_id
    return Command(
        method=name,
        actor_id=caller.actor_id or user_id,
        subject_id=user_id if caller.actor_id is not None else None,
        session_id=caller.session_id or session_id,
        key_hash=key_hash(user_id, name, request_id) if request_id else None,
        trace_id=call.trace_id,
        ticket_id=call.ticket_id,
    )


def resource_in(request: Message) -> str:
    """Return what a request is about by its first id, such as `orders/0192f3a0-...`; `-` for all there is (AIP-159)."""
    for field, value in request.ListFields():
        if field.name.endswith("_id") and field.name not in _NO_RESOURCES:
            return f"{field.name.removesuffix('_id')}s/{value.lower()}"
    return "-"


def key_hash(user_id: UUID | None, method: str, request_id: str) -> bytes:
    """Return what is kept of an idempotency key (32 bytes); its user and its method are in it, as it is theirs."""
    return hashlib.sha256(f"{user_id or ''}\n{method}\n{request_id}".encode()).digest()


async def accept(tx: asyncpg.Connection, resource: str, by: Command | None = None) -> None:
    """Write that a command is accepted, in the transaction that stores its change; the current call's by default.

    `resource` names what it is about, such as `orders/0192f3a0-...`, without anything personal.
    """
    made = accepting([(by or command(), resource)])
    assert made is not None
    await tx.execute(made.sql, *made.arguments)


def accepting(accepted: Sequence[tuple[Command, str]], *, where: str = "", once: bool = False) -> Write | None:
    """Return the write of commands, each with its resource, to travel with others of the open transaction.

    `where` leaves out those whose `resource` an earlier part did not change after all; `once` those that are there
    already, where the package's schema keeps their resources apart.
    """
    if not accepted:
        return None
    after_commit(_wake)
    return Write(
        _ACCEPT.format(where=where, once="ON CONFLICT DO NOTHING" if once else ""),
        (
            [each.method for each, _ in accepted],
            [_under_ticket(resource, each) for each, resource in accepted],
            [each.actor_id for each, _ in accepted],
            [each.subject_id for each, _ in accepted],
            [each.session_id for each, _ in accepted],
            [each.key_hash for each, _ in accepted],
            [each.trace_id or None for each, _ in accepted],
        ),
    )


async def deny(
    connection: asyncpg.Connection, denied: Command, *, package: str | None, reason: str, left_out: int
) -> None:
    """Write that somebody known was refused, and how many others were not written since the last one that was."""
    await connection.execute(
        _DENY,
        denied.method,
        denied.actor_id,
        denied.subject_id,
        denied.session_id,
        package,
        denied.trace_id or None,
        reason,
        left_out,
    )
    after_commit(_wake)


async def seal(db: Database, *, max_rows: int = sealing.MAX_BLOCK_ROWS) -> int:
    """Seal what can no longer change into one block; returns how many rows it holds, 0 where there was nothing.

    The log of the process gets the new head: kept where the database's owner cannot write, it is a witness of
    everything up to it, by which a tail that was cut off is missed.
    """
    sealed = await db.execute_alone(lambda connection: sealing.seal(connection, CHAIN, max_rows=max_rows))
    if sealed is None:
        return 0
    log.info("audit block sealed", package=db.name, height=sealed.head.height, hash=sealed.head.hash.hex())
    return sealed.rows


class Sealer:
    """Seals what this process wrote, soon; and now and then what a process left behind that has ended.

    Replicas take no turns: of two that seal one block, one finds nothing to do. Woken by a commit, it asks the database
    nothing while nothing happens.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._written = asyncio.Event()
        _sealers.add(self)

    def wake(self) -> None:
        """Seal at the next turn: an entry was committed."""
        self._written.set()

    async def follow(self) -> None:
        """Seal until cancelled."""
        while True:
            self._written.clear()
            try:
                while await seal(self._db) >= sealing.MAX_BLOCK_ROWS:
                    pass
                if await _unsealed(self._db):
                    self._written.set()  # a transaction somewhere still runs, and keeps them from being sealed
            except Unavailable:
                self._written.set()  # the rows wait in the database; its health says that it is away
            await asyncio.sleep(SEAL_SECONDS)
            try:
                async with asyncio.timeout(LEFT_BEHIND_SECONDS):
                    await self._written.wait()
            except TimeoutError:
                continue


_sealers: weakref.WeakSet[Sealer] = weakref.WeakSet()


def _wake() -> None:
    for sealer in tuple(_sealers):
        sealer.wake()


async def _unsealed(db: Database) -> int:
    async with db.hot_read() as connection:
        count: int = await connection.fetchval(_UNSEALED)
    return count


@dataclass(frozen=True, slots=True)
class Findings:
    """What verifying gave: how far, how much, and what is wrong. `head` is the next run's beginning."""

    head: Head | None
    blocks: int
    entries: int
    unsealed: int
    problems: tuple[str, ...]


async def verify(
    connection: asyncpg.Connection,
    *,
    since: Head | None = None,
    witnesses: Iterable[Head] = (),
    page_blocks: int = sealing.PAGE_BLOCKS,
) -> Findings:
    """Hold every sealed row against its block, and every block against the one before, a page at a time.

    `since` is a head that was verified before: what it stands for is not read again. `witnesses` are heads that were
    kept elsewhere; without one, a chain whose newest blocks were removed together with their rows looks whole.

    A page is a statement of its own: what is sealed does not change while the next one is read.
    """
    problems: list[str] = []
    for head in sorted({*witnesses, *((since,) if since else ())}, key=lambda head: head.height):
        stored = await connection.fetchval("SELECT hash FROM audit_blocks WHERE height = $1", head.height)
        if stored is None:
            problems.append(f"block {head.height}: it was there, and is gone")
        elif stored != head.hash:
            problems.append(f"block {head.height}: it is not the block that was there")
    await connection.execute(f"SET statement_timeout = {VERIFY_TIMEOUT_MS}")
    blocks = entries = 0
    first = since.height if since else 0
    while True:
        page = await connection.fetchrow(_PAGE, first, first + page_blocks - 1)
        problems += await _problems(connection, CHAIN.problems(first, first + page_blocks - 1))
        blocks, entries = blocks + page["blocks"], entries + page["entries"]
        last = await connection.fetchval("SELECT max(height) FROM audit_blocks")
        first += page_blocks
        if last is None or first > last or len(problems) >= MAX_PROBLEMS:
            break
    for check in CHAIN.ends():
        problems += await _problems(connection, check)
    newest = await connection.fetchrow("SELECT height, hash FROM audit_blocks ORDER BY height DESC LIMIT 1")
    return Findings(
        head=Head(newest["height"], newest["hash"]) if newest else None,
        blocks=blocks,
        entries=entries,
        unsealed=await connection.fetchval(_UNSEALED),
        problems=tuple(problems[:MAX_PROBLEMS]),
    )


async def _problems(connection: asyncpg.Connection, check: str) -> list[str]:
    rows = await connection.fetch(f"SELECT problem FROM ({check}) AS found ORDER BY problem LIMIT {MAX_PROBLEMS}")  # noqa: S608
    return [row["problem"] for row in rows]


def _under_ticket(resource: str, by: Command) -> str:
    if not by.ticket_id:
        return resource[:MAX_RESOURCE_CHARACTERS]
    behind = f"?ticket={by.ticket_id}"
    return resource[: MAX_RESOURCE_CHARACTERS - len(behind)] + behind


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, UUID) else value
