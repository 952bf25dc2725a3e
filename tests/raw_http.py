"""HTTP as bytes on a TLS socket: clients that can say what no library would.

Nothing is checked and nothing is mended on the way out. What comes back is read only as far as the tests ask.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import struct
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

ANSWER_SECONDS = 5.0
FURTHER_SECONDS = 0.05
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, GO_AWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, ACKNOWLEDGED, END_HEADERS = 1, 1, 4
CANCEL = (8).to_bytes(4, "big")
LARGEST_FRAME_BYTES = 16_384
WINDOW_BYTES = 65_535

Fields = Iterable[tuple[str, str]]


def trust_in(ca_file: str | Path, *protocols: str) -> ssl.SSLContext:
    """Return what a client of the edge believes, and what it offers to speak: HTTP/1.1 unless told otherwise."""
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(list(protocols) or ["http/1.1"])
    return context


async def connect(
    port: int, trust: ssl.SSLContext | None, address: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection from a local address; without anything to believe it is plain text."""
    return await asyncio.open_connection("localhost", port, ssl=trust, local_addr=(address, 0))


async def speak(
    port: int,
    trust: ssl.SSLContext,
    address: str,
    request: bytes,
    *,
    answer_seconds: float = ANSWER_SECONDS,
    further_seconds: float = FURTHER_SECONDS,
    most: int | None = None,
) -> list[tuple[int, Any]]:
    """Send bytes over HTTP/1.1 and return each answer's status and JSON, until none follows or there are `most`.

    A pipelined or smuggled second request shows as a second answer. A connection that is closed without a word gives
    an empty list.
    """
    reader, writer = await connect(port, trust, address)
    answers: list[tuple[int, Any]] = []
    try:
        writer.write(request)
        await writer.drain()
        while most is None or len(answers) < most:
            async with asyncio.timeout(further_seconds if answers else answer_seconds):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"(?i)\r\ncontent-length: (\d+)", head)
                body = await reader.readexactly(int(length[1]) if length else 0)
            answers.append((int(head.split(" ")[1]), _json(body)))
    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()
    return answers


class Http2:
    """One HTTP/2 connection. Header blocks go out as literals, unindexed; those that come back are not decoded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._next = 1
        self._bodies: dict[int, bytearray] = defaultdict(bytearray)
        self._ends: dict[int, asyncio.Future[str]] = {}
        self._windows: dict[int, int] = defaultdict(lambda: WINDOW_BYTES)
        self._room = asyncio.Event()
        self.goodbye: int | None = None
        """The error code of the other side's GOAWAY, when it said one."""

        self.flooding = 0
        """The stream that a flood goes on with, for whoever sends frames by hand."""

        self.gone = asyncio.Event()
        """Set when the other side has hung up."""

        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, port: int, trust: ssl.SSLContext, address: str) -> Http2:
        """Connect from a local address. `trust` has to offer h2."""
        reader, writer = await connect(port, trust, address)
        writer.write(PREFACE + frame(SETTINGS, 0, 0, b""))
        await writer.drain()
        return cls(reader, writer)

    async def close(self) -> None:
        """Hang up."""
        self._reading.cancel()
        self._writer.close()
        with suppress(asyncio.CancelledError, ConnectionError, ssl.SSLError):
            await self._reading

    def begin(self, fields: Fields, *, end: bool = True) -> int:
        """Send a header block and return the number of its stream."""
        stream = self.next_stream()
        self._ends[stream] = asyncio.get_running_loop().create_future()
        self._writer.write(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, header_block(fields)))
        return stream

    def next_stream(self) -> int:
        """Return the number of a stream that nobody has used."""
        stream, self._next = self._next, self._next + 2
        return stream

    async def pour(self, frames: bytes) -> bool:
        """Send frames as they are; returns whether the other side still listens."""
        if self.gone.is_set():
            return False
        self._writer.write(frames)
        try:
            await self._writer.drain()
        except (ConnectionError, ssl.SSLError):
            return False
        return not self.gone.is_set()

    async def send(self, stream: int, body: bytes, *, end: bool) -> None:
        """Send a body as the other side makes room for it; give up when the stream has ended."""
        sent = 0
        while sent < len(body):
            room = min(self._windows[0], self._windows[stream], LARGEST_FRAME_BYTES, len(body) - sent)
            if self._ends[stream].done():
                return
            if room <= 0:
                self._room.clear()
                await self._room.wait()
                continue
            self._windows[0] -= room
            self._windows[stream] -= room
            last = end and sent + room == len(body)
            self._writer.write(frame(DATA, END_STREAM if last else 0, stream, body[sent : sent + room]))
            await self._writer.drain()
            sent += room

    def stop_reading(self) -> None:
        """Leave what comes where it is, so that the other side's answers pile up."""
        self._reading.cancel()

    async def answer(self, stream: int) -> tuple[str, Any]:
        """Return how the stream ended (`answered`, `reset` or `closed`) and the JSON of its body."""
        async with asyncio.timeout(ANSWER_SECONDS):
            how = await asyncio.shield(self._ends[stream])
        return how, _json(bytes(self._bodies[stream]))

    async def ask(self, fields: Fields) -> tuple[str, Any]:
        """Send a request without a body and return its answer."""
        return await self.answer(self.begin(fields))

    def ended(self, stream: int) -> str | None:
        """Return how a stream ended, or None while it is open."""
        end = self._ends[stream]
        return end.result() if end.done() else None

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(9)
                length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
                stream = int.from_bytes(head[5:], "big") & 0x7FFFFFFF
                self._take(kind, flags, stream, await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            self.gone.set()
            for stream in self._ends:
                self._end(stream, "closed")

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            self._bodies[stream] += payload
            for number in (0, stream):
                self._writer.write(frame(WINDOW_UPDATE, 0, number, struct.pack(">I", max(1, len(payload)))))
        elif kind == WINDOW_UPDATE:
            self._windows[stream] += int.from_bytes(payload, "big")
            self._room.set()
        elif kind == SETTINGS and not flags & ACKNOWLEDGED:
            self._writer.write(frame(SETTINGS, ACKNOWLEDGED, 0, b""))
        elif kind == PING and not flags & ACKNOWLEDGED:
            self._writer.write(frame(PING, ACKNOWLEDGED, 0, payload))
        elif kind == GO_AWAY:
            self.goodbye = int.from_bytes(payload[4:8], "big")
        if kind == RESET:
            self._end(stream, "reset")
        elif kind in (DATA, HEADERS) and flags & END_STREAM:
            self._end(stream, "answered")

    def _end(self, stream: int, how: str) -> None:
        end = self._ends.get(stream)
        if end is not None and not end.done():
            end.set_result(how)
        self._room.set()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of HTTP/2 (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def header_block(fields: Fields) -> bytes:
    """Return fields as literals that nobody keeps."""
    return b"".join(b"\0" + _literal(name) + _literal(value) for name, value in fields)


def _literal(text: str) -> bytes:
    """Return a string as it stands in a header block, without Huffman's code (RFC 7541, 5.1 and 5.2)."""
    raw = text.encode("latin-1")
    if len(raw) < 127:
        return bytes((len(raw),)) + raw
    more, length = bytearray((127,)), len(raw) - 127
    while length >= 128:
        more.append(length % 128 + 128)
        length //= 128
    more.append(length)
    return bytes(more) + raw


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("latin-1")
