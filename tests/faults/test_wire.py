"""The lean client keeps its connections, and an answer that does not come whole is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.shoppers import reply_of
from tests.faults.wire import Broken, Connection

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
PARTS = b"HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"
TORN = b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{"
GARBAGE = b"\x16\x03\x01 no HTTP\r\n\r\n"


@asynccontextmanager
async def connected(*answers: bytes) -> AsyncIterator[Connection]:
    """Open a connection to a server that gives these answers, one to a request, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            for place in range(0, len(answer), 7):
                writer.write(answer[place : place + 7])
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    try:
        yield connection
    finally:
        connection.close()
        server.close()
        await server.wait_closed()


async def test_one_connection_carries_one_answer_after_the_other() -> None:
    async with connected(WHOLE, PARTS, LAST) as connection:
        assert await connection.ask(REQUEST) == (200, b"{}")
        assert await connection.ask(REQUEST) == (503, b"{}")
        assert connection.is_open
        assert await connection.ask(REQUEST) == (200, b"{}")
        assert not connection.is_open
        with pytest.raises(Broken):
            await connection.ask(REQUEST)


@pytest.mark.parametrize("answer", [TORN, GARBAGE, b""])
async def test_an_answer_that_is_not_whole_is_none(answer: bytes) -> None:
    async with connected(answer) as connection, asyncio.timeout(5):
        with pytest.raises(Broken):
            await connection.ask(REQUEST)
        assert not connection.is_open


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"{}", "ok"),
        (200, b"{", "unknown"),
        (502, b"<html>", "unknown"),
        (503, b'{"error": {"details": []}}', "unknown"),
        (400, b'{"error": {"details": [{"@type": "x/ErrorInfo", "reason": "OUT_OF_STOCK"}]}}', "refused"),
        (400, b'{"error": {"details": [{"@type": "x/ErrorInfo", "reason": "OVERLOADED"}]}}', "unknown"),
    ],
)
def test_what_is_no_clear_answer_is_unknown(status: int, body: bytes, outcome: str) -> None:
    assert reply_of(status, body)[0] == outcome
