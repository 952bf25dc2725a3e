"""Clients that take their time: half a handshake, half a head, half a body. None holds a place for long.

Each is many at once, and the owner is served meanwhile.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.attacks.case import Wrong, add, case
from tests.attacks.scene import Scene
from tests.doors import identity, shows
from tests.raw_http import HEADERS, PREFACE, SETTINGS, connect, frame, header_block

MANY = 40
HANDSHAKE_SECONDS, HEAD_SECONDS, BODY_SECONDS = 5.0, 10.0, 15.0
INSIDE_HEAD_SECONDS = 5.0
SLACK_SECONDS = 6.0
"""For a busy machine: what is judged is that it ends, and roughly when."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connections(
    port: int, context: ssl.SSLContext | None, address: str, count: int
) -> AsyncIterator[list[Streams]]:
    """Yield connections that are hung up at the end."""
    opened = await asyncio.gather(*(connect(port, context, address) for _ in range(count)))
    try:
        yield list(opened)
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def ended(streams: list[Streams], *, within: float) -> tuple[int, set[bytes]]:
    """Return how many connections the other side ended in time, and the first lines that it said before."""
    lines: set[bytes] = set()

    async def one(reader: asyncio.StreamReader) -> bool:
        with suppress(OSError):
            said = await reader.read()
            lines.add(said.partition(b"\r\n")[0])
        return True

    tasks = [asyncio.create_task(one(reader)) for reader, _ in streams]
    done, pending = await asyncio.wait(tasks, timeout=within)
    for task in pending:
        task.cancel()
    return len(done), lines


async def judged(scene: Scene, streams: list[Streams], within: float) -> str:
    """Return that all have ended, while the owner was served."""
    meanwhile = asyncio.create_task(
        scene.send("GET", "/v1/orders", token=scene.victims.owner.token, address=scene.another_address())
    )
    count, lines = await ended(streams, within=within + SLACK_SECONDS)
    if (served := await meanwhile).status != 200:
        raise Wrong(f"the owner was answered {served}")
    if count < len(streams):
        return f"{len(streams) - count} of {len(streams)} are still open"
    said = sorted(line.decode() for line in lines if line.startswith(b"HTTP"))
    return f"ended {' '.join(said)}".strip()


@case("connections that never begin TLS", "ended", long=True)
async def no_handshake(scene: Scene) -> str:
    async with connections(scene.home.ports.edge, None, scene.address, MANY) as streams:
        return await judged(scene, streams, HANDSHAKE_SECONDS)


@case("connections that never begin TLS, at a gRPC port", "ended", long=True)
async def no_handshake_inside(scene: Scene) -> str:
    async with connections(scene.inbound("svc_order"), None, "127.0.0.1", MANY) as streams:
        return await judged(scene, streams, HANDSHAKE_SECONDS)


BEGINNINGS: dict[str, tuple[bytes, float, str]] = {
    "heads that never end": (b"GET /v1/products HTTP/1.1\r\nhost: loc", HEAD_SECONDS, "408 Request Timeout"),
    "request lines that never end": (b"GET /v1/prod", HEAD_SECONDS, "408 Request Timeout"),
    "bodies that never come": (
        b"POST /v1/users HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n",
        BODY_SECONDS,
        "408 Request Timeout",
    ),
    "chunks that never end": (
        b"POST /v1/users HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nff\r\nx",
        BODY_SECONDS,
        "408 Request Timeout HTTP/1.1 429 Too Many Requests",  # each may become a mebibyte, and the bucket holds four
    ),
}


def _beginning(what: str) -> None:
    begun, seconds, said = BEGINNINGS[what]

    async def attack(scene: Scene) -> str:
        async with connections(scene.home.ports.edge, scene.trust, scene.address, MANY) as streams:
            for _, writer in streams:
                writer.write(begun)
            return await judged(scene, streams, seconds)

    add("slow", what, f"ended HTTP/1.1 {said}", attack, long=True)


for _what in BEGINNINGS:
    _beginning(_what)


@case("heads of HTTP/2 that never end, at a gRPC port", "ended", long=True)
async def half_head_inside(scene: Scene) -> str:
    context = shows(scene.home, identity(scene.home, "edge_http"))
    half = header_block([(":method", "POST"), (":scheme", "https")])
    async with connections(scene.inbound("svc_order"), context, "127.0.0.1", 4) as streams:
        for _, writer in streams:
            writer.write(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, 0, 1, half))
        count, _ = await ended_streams(streams, within=INSIDE_HEAD_SECONDS + SLACK_SECONDS)
    return "ended" if count == len(streams) else f"{count} ended"


async def ended_streams(streams: list[Streams], *, within: float) -> tuple[int, set[int]]:
    """Return on how many connections the other side ended the stream, or hung up; and the frames that it sent."""
    kinds: set[int] = set()

    async def one(reader: asyncio.StreamReader) -> bool:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(head[:3], "big"))
                kinds.add(head[3])
                if head[3] in ENDS:
                    return True
        return True

    tasks = [asyncio.create_task(one(reader)) for reader, _ in streams]
    done, pending = await asyncio.wait(tasks, timeout=within)
    for task in pending:
        task.cancel()
    return len(done), kinds


ENDS = (HEADERS, 3, 7)
"""An answer, a reset, or a goodbye."""
