"""Floods of HTTP/2, on the edge and on the gRPC ports: they are cut off, and cost the neighbour nothing.

A flood goes on until the other side hangs up, or its time is over. Inside, the attacker has a stolen certificate.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tests.attacks.case import Wrong, add
from tests.attacks.scene import Scene
from tests.raw_http import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    RESET,
    SETTINGS,
    WINDOW_UPDATE,
    Http2,
    frame,
    header_block,
)

FLOOD_SECONDS = 6.0
BATCH = 100
HUNG_UP, GOES_ON = "hung up", "goes on"
HEAD = ((":method", "POST"), (":scheme", "https"), (":authority", "localhost"))
EDGE_PATH, INSIDE_PATH = "/v1/products", "/titan.order.v1.OrderService/ListOrders"

Batch = Callable[[Http2, str], bytes]
"""Frames to send next on a connection that asks for this path."""


def _request(path: str) -> bytes:
    method = "GET" if path == EDGE_PATH else "POST"
    fields = [*HEAD[1:], (":method", method), (":path", path)]
    return header_block(
        fields if method == "GET" else [*fields, ("content-type", "application/grpc"), ("te", "trailers")]
    )


def rapid_reset(connection: Http2, path: str) -> bytes:
    """Begin streams and take them back at once (CVE-2023-44487)."""
    block, frames = _request(path), []
    for _ in range(BATCH):
        stream = connection.next_stream()
        frames += [frame(HEADERS, END_HEADERS | END_STREAM, stream, block), frame(RESET, 0, stream, CANCEL)]
    return b"".join(frames)


def continuation(connection: Http2, path: str) -> bytes:
    """Begin a head that never ends (CVE-2024-27316)."""
    block = header_block([("x-note", "x" * 1_000)])
    if not connection.flooding:
        connection.flooding = connection.next_stream()
        return frame(HEADERS, 0, connection.flooding, _request(path))
    return frame(CONTINUATION, 0, connection.flooding, block) * BATCH


def empty_continuation(connection: Http2, path: str) -> bytes:
    """A head that never ends, of frames with nothing in them."""
    if not connection.flooding:
        connection.flooding = connection.next_stream()
        return frame(HEADERS, 0, connection.flooding, _request(path))
    return frame(CONTINUATION, 0, connection.flooding, b"") * BATCH


def settings(connection: Http2, path: str) -> bytes:
    """Settings without end, each of which wants an acknowledgement (CVE-2019-9515)."""
    return frame(SETTINGS, 0, 0, b"") * BATCH


def pings(connection: Http2, path: str) -> bytes:
    """Pings without end, each of which wants an answer (CVE-2019-9512)."""
    return frame(PING, 0, 0, b"x" * 8) * BATCH


def empty_data(connection: Http2, path: str) -> bytes:
    """Data with nothing in it, without end (CVE-2019-9518)."""
    if not connection.flooding:
        connection.flooding = connection.next_stream()
        return frame(HEADERS, END_HEADERS, connection.flooding, _request(path).replace(b"GET", b"PUT"))
    return frame(DATA, 0, connection.flooding, b"") * BATCH


def priorities(connection: Http2, path: str) -> bytes:
    """Priorities shuffled without end (CVE-2019-9513)."""
    return b"".join(frame(PRIORITY, 0, 2 * n + 1, bytes((0, 0, 0, 0, n % 256))) for n in range(BATCH))


def window_updates(connection: Http2, path: str) -> bytes:
    """Room without end, of which nobody makes use."""
    return frame(WINDOW_UPDATE, 0, 0, (1).to_bytes(4, "big")) * BATCH


def unknown_resets(connection: Http2, path: str) -> bytes:
    """Resets of streams that never were."""
    return b"".join(frame(RESET, 0, 2 * n + 1, CANCEL) for n in range(BATCH))


def many_streams(connection: Http2, path: str) -> bytes:
    """Streams beyond the limit, none of which ends."""
    block = _request(path).replace(b"GET", b"PUT")
    return b"".join(frame(HEADERS, END_HEADERS, connection.next_stream(), block) for _ in range(BATCH))


def malformed(connection: Http2, path: str) -> bytes:
    """Streams whose head is broken, again and again (MadeYouReset, CVE-2025-8671)."""
    block = header_block([*HEAD, (":path", path), ("Connection", "close")])
    return b"".join(frame(HEADERS, END_HEADERS | END_STREAM, connection.next_stream(), block) for _ in range(BATCH))


def zero_updates(connection: Http2, path: str) -> bytes:
    """Streams that are made to be reset by an update of nothing (MadeYouReset)."""
    block, frames = _request(path), []
    for _ in range(BATCH):
        stream = connection.next_stream()
        frames += [frame(HEADERS, END_HEADERS, stream, block), frame(WINDOW_UPDATE, 0, stream, bytes(4))]
    return b"".join(frames)


FLOODS: dict[str, tuple[Batch, bool, str]] = {
    "streams that are reset at once": (rapid_reset, False, HUNG_UP),
    "a head without an end": (continuation, False, HUNG_UP),
    "a head without an end, of empty frames": (empty_continuation, False, HUNG_UP),
    "settings, with nobody who reads": (settings, True, HUNG_UP),
    "pings, with nobody who reads": (pings, True, HUNG_UP),
    "empty data": (empty_data, False, HUNG_UP),
    "priorities": (priorities, False, HUNG_UP),
    "updates of a window": (window_updates, False, HUNG_UP),
    "resets of streams that never were": (unknown_resets, False, HUNG_UP),
    "streams beyond the limit": (many_streams, False, HUNG_UP),
    "broken heads": (malformed, False, HUNG_UP),
    "streams that are made to be reset": (zero_updates, False, HUNG_UP),
}
"""What is sent, whether the attacker stops reading, and how it has to end."""


async def flood(connection: Http2, batch: Batch, path: str, *, deaf: bool) -> str:
    """Pour batches until the other side hangs up or the time is over."""
    if deaf:
        connection.stop_reading()
    ends = time.monotonic() + FLOOD_SECONDS
    while time.monotonic() < ends:
        try:
            async with asyncio.timeout(FLOOD_SECONDS):
                if not await connection.pour(batch(connection, path)):
                    return HUNG_UP
        except TimeoutError:
            return GOES_ON
        await asyncio.sleep(0)
    return HUNG_UP if connection.gone.is_set() else GOES_ON


def _flood(what: str) -> None:
    batch, deaf, due = FLOODS[what]

    async def at_edge(scene: Scene) -> str:
        said = await flood(await scene.http2(), batch, EDGE_PATH, deaf=deaf)
        return await _still_there(scene, said)

    async def inside(scene: Scene) -> str:
        said = await flood(await scene.http2_inside("svc_order", "edge_http"), batch, INSIDE_PATH, deaf=deaf)
        return await _still_there(scene, said)

    add("floods", f"{what}, at the edge", due, at_edge, still=True)
    add("floods", f"{what}, at a gRPC port", due, inside, long=True, still=True)


async def _still_there(scene: Scene, said: str) -> str:
    reply = await scene.send("GET", "/v1/orders", token=scene.victims.owner.token, address=scene.another_address())
    if reply.status != 200:
        raise Wrong(f"afterwards the owner is answered {reply}")
    return said


for _what in FLOODS:
    _flood(_what)
