"""Server-sent events: the stream as text, its heartbeat, its end."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from edge_http.asgi import Edge
from tests.edge_http.everything import Everything


async def lines_of(http: httpx.AsyncClient, name: str, count: int, **headers: str) -> list[str]:
    found: list[str] = []
    async with http.stream("GET", f"/v1/things/{name}:watch", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"
        async for line in answer.aiter_lines():
            found.append(line)
            if len(found) >= count:
                break
    return found


async def test_each_message_is_an_event_with_its_version(http: httpx.AsyncClient) -> None:
    lines = await lines_of(http, "n", 1000)

    assert lines[:3] == ["id: v1", 'data: {"thing":{"name":"n 1","kind":"UNSPECIFIED","etag":"v1"}}', ""]
    assert [line for line in lines if line.startswith("id:")] == ["id: v1", "id: v2", "id: v3"]


async def test_a_stream_that_is_refused_is_an_ordinary_error(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/things/locked:watch")

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["details"][0]["reason"] == "THING_LOCKED"


async def test_a_stream_that_fails_later_ends_with_an_error_event(http: httpx.AsyncClient) -> None:
    """In the same shape as every other error."""
    lines = await lines_of(http, "fails", 1000)

    assert lines[-3] == "event: error"
    assert '"reason":"THING_LOCKED"' in lines[-2]
    assert lines[-2].startswith('data: {"error":{"code":400,"status":"FAILED_PRECONDITION"')


async def test_a_silent_stream_is_kept_alive_by_comments(http: httpx.AsyncClient) -> None:
    """The answer starts even if no message comes."""
    assert await lines_of(http, "silent", 3) == [": waiting", "", ": waiting"]


async def test_a_client_that_leaves_ends_the_call(http: httpx.AsyncClient, edge: Edge, service: Everything) -> None:
    service.ended.clear()
    await lines_of(http, "stays", 9)

    await asyncio.wait_for(service.ended.wait(), 2)
    await asyncio.sleep(0.05)
    assert edge.open_streams == 0


async def test_streams_end_when_the_process_does(http: httpx.AsyncClient, edge: Edge, service: Everything) -> None:
    """The client's reader sees an ordinary end and connects again, to another process."""
    service.started.clear()
    following = asyncio.create_task(lines_of(http, "stays", 1000))
    await asyncio.wait_for(service.started.wait(), 2)
    await asyncio.sleep(0.1)
    edge.stopping.set()
    try:
        assert len(await asyncio.wait_for(following, 2)) == 9
        refused: Any = await http.get("/v1/things/n:watch")
    finally:
        edge.stopping.clear()

    assert refused.status_code == 503


async def test_streams_are_read_with_get(http: httpx.AsyncClient) -> None:
    answer = await http.head("/v1/things/n:watch")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
