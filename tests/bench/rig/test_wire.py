"""The lean client writes what HTTP has, keeps its connections, and takes no half of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.rig.wire import Broken, Connection, Reply, Wire

WHOLE = b'HTTP/1.1 200 OK\r\netag: "7"\r\ncontent-length: 2\r\n\r\n{}'
UNCHANGED = b'HTTP/1.1 304 Not Modified\r\netag: "7"\r\n\r\n'
PARTS = b"HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"
TORN = b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{"
GARBAGE = b"\x16\x03\x01 no HTTP\r\n\r\n"
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@asynccontextmanager
async def connected(*answers: bytes) -> AsyncIterator[Connection]:
    """Open a connection to a server that gives these answers in small pieces, and hangs up."""

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


async def test_a_connection_answers_one_request_after_the_other() -> None:
    async with connected(WHOLE, UNCHANGED, PARTS, LAST) as connection:
        assert await connection.ask(REQUEST) == Reply(200, '"7"', b"{}")
        assert await connection.ask(REQUEST) == Reply(304, '"7"', b"")
        assert await connection.ask(REQUEST) == Reply(503, "", b"{}")
        assert connection.is_open
        assert await connection.ask(REQUEST) == Reply(200, "", b"{}")
        assert not connection.is_open
        with pytest.raises(Broken):
            await connection.ask(REQUEST)


@pytest.mark.parametrize("answer", [TORN, GARBAGE, b""])
async def test_an_answer_that_does_not_come_whole_is_none(answer) -> None:
    async with connected(answer) as connection, asyncio.timeout(5):
        with pytest.raises(Broken):
            await connection.ask(REQUEST)
        assert not connection.is_open


def test_a_request_is_written_as_it_travels() -> None:
    wire = Wire.__new__(Wire)
    wire._host, wire._port = "127.0.0.1", 18443
    written = wire.request("POST", "/v1/orders", {"lines": []}, token="t", key="k")
    head, _, body = written.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /v1/orders HTTP/1.1",
        b"host: 127.0.0.1:18443",
        b"content-length: 13",
        b"content-type: application/json",
        b"authorization: Bearer t",
        b"idempotency-key: k",
    ]
    assert body == b'{"lines": []}'
    assert wire.request("POST", "/", b"{}").endswith(b"\r\n\r\n{}")
    assert b"content-type: text/csv" in wire.request("POST", "/", b"a,b", content_type="text/csv")
    assert b'if-none-match: "7"' in wire.request("GET", "/", if_none_match='"7"')
