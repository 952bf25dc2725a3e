"""What anybody may read is asked of its service once a second, and never older than a change that was made here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import grpc
import httpx
import pytest

from edge_http.answer import Answer
from edge_http.asgi import Edge
from edge_http.endpoint import Endpoint
from edge_http.recent import KEPT_SECONDS, MAX_ANSWER_BYTES, OVERHEAD_BYTES, Recent
from mesh.refusals import FieldViolation, InvalidInput, Refusal, Unavailable
from tests.edge_http.everything import Everything, everything_contract, pb

AGE = (b"age", b"1")
PAGE = ("/v1/page", b"")


class Clock:
    """Stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Service:
    """Answers call by call, when the test says so."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[Answer]] = []

    async def __call__(self) -> Answer:
        self.calls.append(asyncio.get_running_loop().create_future())
        return await self.calls[-1]

    def answer(self, number: int, body: bytes = b"{}") -> None:
        """Answer one of the calls."""
        self.calls[number].set_result(Answer(200, body))


def asked(name: str) -> tuple[str, bytes]:
    """Return what asks for a page of this name."""
    return f"/v1/{name}", b""


def answering(answer: Answer) -> Callable[[], Awaitable[Answer]]:
    """Return a call that is answered at once."""

    async def call() -> Answer:
        return answer

    return call


@pytest.fixture
def still(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the edge's answers stands still, however slow the machine is."""
    now = time.monotonic()
    for recent in {endpoint._recent for endpoint in edge.endpoints if endpoint._recent is not None}:
        monkeypatch.setattr(recent, "_clock", lambda: now)


async def exchanges(edge: Edge, number: int) -> None:
    """Return once so many are under way; each waits for an answer then."""
    async with asyncio.timeout(5):
        while edge.running != number:
            await asyncio.sleep(0.005)


async def begun(recent: Recent, call: Callable[[], Awaitable[Answer]], asks: int = 1) -> list[asyncio.Task[Answer]]:
    """Ask for the page so many times at once; return when all of them wait."""
    tasks = [asyncio.create_task(recent.ask(PAGE, call)) for _ in range(asks)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    return tasks


async def test_an_answer_is_kept_for_a_second_from_when_it_was_asked_for() -> None:
    """However long the service then took: whoever reads its age can rely on it."""
    clock = Clock()
    recent = Recent(clock=clock)

    async def call() -> Answer:
        clock.now = KEPT_SECONDS * 0.9
        return Answer(200, b"{}", headers=[(b"etag", b'"1"')])

    assert (await recent.ask(asked("a"), call)).headers == [(b"etag", b'"1"')]
    found = recent.find(asked("a"))
    assert found is not None
    assert (found.body, found.headers) == (b"{}", [(b"etag", b'"1"'), AGE])
    assert recent.find(("/v1/a", b"page=2")) is None
    clock.now = KEPT_SECONDS
    assert recent.find(asked("a")) is None
    assert not len(recent)


async def test_what_took_the_service_a_second_is_not_kept() -> None:
    """It is as old as that already, and would take the place of others."""
    clock = Clock()
    recent = Recent(clock=clock)

    async def call() -> Answer:
        clock.now = KEPT_SECONDS
        return Answer(200)

    await recent.ask(PAGE, call)
    assert (len(recent), recent._size, recent._asks) == (0, 0, {})


async def test_whoever_asks_for_what_is_asked_for_waits_for_that_answer() -> None:
    """It says its age to all but the first: they asked later."""
    recent, service = Recent(), Service()
    first, *others = await begun(recent, service, 20)
    assert len(service.calls) == 1
    service.answer(0, b"[]")

    assert await first == Answer(200, b"[]")
    assert [await each for each in others] == [Answer(200, b"[]", headers=[AGE])] * 19
    assert recent.find(PAGE) == Answer(200, b"[]", headers=[AGE])
    assert not recent._asks


async def test_nobody_is_told_what_was_asked_for_a_second_before_they_asked() -> None:
    """A slow service is asked once a second; what it says late of earlier replaces nothing."""
    clock = Clock()
    recent, service = Recent(clock=clock), Service()
    (early,) = await begun(recent, service)
    clock.now = KEPT_SECONDS * 0.9
    (joined,) = await begun(recent, service)
    clock.now = KEPT_SECONDS
    (late,) = await begun(recent, service)
    assert len(service.calls) == 2
    service.answer(1, b"new")
    assert (await late).body == b"new"
    service.answer(0, b"old")

    assert ((await early).body, (await joined).body) == (b"old", b"old")
    found = recent.find(PAGE)
    assert found is not None and found.body == b"new"
    assert not recent._asks


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_what_was_asked_for_before_a_change_is_nobodys_after_it(order: tuple[int, int]) -> None:
    """Neither what lies there nor what is under way, whichever ends first: it may tell of before."""
    recent, service = Recent(), Service()
    await recent.ask(asked("there"), answering(Answer(200)))
    before = await begun(recent, service, 2)
    recent.forget()
    assert recent.find(asked("there")) is None
    after = await begun(recent, service, 2)
    assert len(service.calls) == 2
    bodies = (b"before", b"after")
    for number in order:
        service.answer(number, bodies[number])
        await asyncio.wait((before, after)[number])

    assert [(await each).body for each in (*before, *after)] == [b"before", b"before", b"after", b"after"]
    found = recent.find(PAGE)
    assert found is not None and found.body == b"after"
    assert not recent._asks


async def test_a_call_goes_on_until_nobody_waits_for_it() -> None:
    """Who asked first may leave before the others; after the last the call is ended, and joined by nobody."""
    recent, service = Recent(), Service()
    first, second, third = await begun(recent, service, 3)
    first.cancel()
    second.cancel()
    await asyncio.wait((first, second))
    assert first.cancelled() and second.cancelled() and not service.calls[0].done()
    service.answer(0)
    assert (await third).body == b"{}"

    recent.forget()
    left = await begun(recent, service, 2)
    for each in left:
        each.cancel()
    await asyncio.wait(left)
    assert not recent._asks
    (next_one,) = await begun(recent, service)
    assert service.calls[1].cancelled() and not service.calls[2].done()
    service.answer(2)
    assert (await next_one).body == b"{}"


async def test_nobody_joins_a_call_that_is_being_ended() -> None:
    """It may take its time to end."""
    recent, service, over = Recent(), Service(), asyncio.Event()

    async def call() -> Answer:
        try:
            return await service()
        finally:
            await over.wait()

    (left,) = await begun(recent, call)
    left.cancel()
    await asyncio.wait((left,))
    (later,) = await begun(recent, call)
    assert len(service.calls) == 2 and service.calls[0].cancelled()
    service.answer(1)
    over.set()
    assert (await later).body == b"{}"


async def test_each_who_waits_is_refused_with_an_error_of_their_own() -> None:
    """The same in all that it says, and kept for nobody."""
    recent, service = Recent(), Service()
    refusal = Unavailable("the catalogue is away", retry_after_seconds=2.5, since="today")
    waiting = await begun(recent, service, 3)
    service.calls[0].set_exception(refusal)
    found = await asyncio.gather(*waiting, return_exceptions=True)

    assert found[0] is refusal and len({id(each) for each in found}) == 3
    assert all(type(each) is Unavailable and each.to_status() == refusal.to_status() for each in found)
    assert (len(recent), recent._asks) == (0, {})

    waiting = await begun(recent, service, 2)
    service.calls[1].set_exception(KeyError("a mistake of ours"))
    mine, other = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(mine, KeyError) and isinstance(other, RuntimeError) and other.__cause__ is mine
    assert (await recent.ask(PAGE, answering(Answer(200)))).status == 200


async def test_the_oldest_go_first_within_a_bound_of_bytes() -> None:
    """Answers without a body count too, and one that is very large is not kept at all."""
    recent = Recent(max_bytes=10 * OVERHEAD_BYTES)
    for number in range(100):
        await recent.ask(asked(f"{number}"), answering(Answer(200)))
        await recent.ask(asked("99"), answering(Answer(200)))
    kept = len(recent)

    assert 5 < kept < 10
    assert recent._size == sum(size for _, size, _ in recent._kept.values())
    await recent.ask(asked("large"), answering(Answer(200, b"x" * (MAX_ANSWER_BYTES + 1))))
    assert len(recent) == kept
    await recent.ask(asked("body"), answering(Answer(200, b"x" * 8 * OVERHEAD_BYTES)))
    assert len(recent) == 1


class Failing:
    """Clients whose every change fails, as it is told."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def of_service(self, descriptor: Any) -> Failing:
        """Return itself as the stub."""
        return self

    async def Change(self, request: Any, *, metadata: Any) -> None:
        raise self._error


REFUSED_UNSEEN = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED,
}


@pytest.mark.parametrize(
    "error",
    [
        *(Refusal.from_code(code, "no") for code in grpc.StatusCode if code is not grpc.StatusCode.OK),
        InvalidInput("no", [FieldViolation("name", "is too long")]),
        asyncio.CancelledError(),
        ConnectionError("the connection is gone"),
    ],
    ids=repr,
)
async def test_a_change_that_failed_makes_it_forget_unless_nothing_can_have_changed(error: BaseException) -> None:
    """Else whoever is allowed nothing could have every page asked of its service each time."""
    recent = Recent()
    await recent.ask(PAGE, answering(Answer(200)))
    route = next(each for each in everything_contract().routes() if each.method.name == "Change")
    endpoint = Endpoint(route, Failing(error), recent=recent)  # type: ignore[arg-type]
    with pytest.raises(type(error)):
        await endpoint.answer(asked("things/x"), pb.ChangeRequest(), [])

    nothing_changed = isinstance(error, Refusal) and error.code in REFUSED_UNSEEN
    assert (recent.find(PAGE) is not None) == nothing_changed


@pytest.mark.usefixtures("still")
async def test_changes_by_nobody_leave_what_is_kept(http: httpx.AsyncClient, service: Everything) -> None:
    """Refused by the service for a token that is none, and by the edge for one that can be none."""
    path = f"/v1/things?thing.name={uuid4()}"
    await http.get(path)
    before = len(service.metadata)
    for token in ("Bearer nobody's", "Bearer " + "x" * 20_000):
        refused = await http.patch("/v1/things/x", json={}, headers={"Authorization": token})
        assert refused.status_code == 401
    assert (await http.get(path)).headers["age"] == "1"
    assert len(service.metadata) == before

    assert (await http.patch("/v1/things/x", json={})).status_code == 200
    assert "age" not in (await http.get(path)).headers


@pytest.mark.usefixtures("still")
async def test_a_crowd_that_asks_at_once_asks_the_service_once(
    edge: Edge, http: httpx.AsyncClient, service: Everything
) -> None:
    """Also when who came first has left meanwhile."""
    path = f"/v1/things?thing.name=held-{uuid4()}"
    service.started.clear()
    service.release.clear()
    before = len(service.metadata)
    first = asyncio.create_task(http.get(path))
    await asyncio.wait_for(service.started.wait(), 5)
    others = [asyncio.create_task(http.get(path)) for _ in range(10)]
    await exchanges(edge, 11)
    first.cancel()
    await exchanges(edge, 10)
    service.release.set()
    answers = await asyncio.gather(*others)

    assert len(service.metadata) == before + 1
    assert {(each.status_code, each.headers.get("age")) for each in answers} == {(200, "1")}
    assert len({each.content for each in answers}) == 1


async def test_a_read_whose_only_client_leaves_is_cancelled(edge: Edge, service: Everything) -> None:
    service.started.clear()
    service.ended.clear()
    _, writer = await asyncio.open_unix_connection(edge.socket)
    writer.write(b"GET /v1/things?thing.name=slow HTTP/1.1\r\nhost: edge\r\n\r\n")
    await asyncio.wait_for(service.started.wait(), 5)
    writer.close()

    await asyncio.wait_for(service.ended.wait(), 5)


@pytest.mark.usefixtures("still")
async def test_a_crowd_asks_the_service_once(http: httpx.AsyncClient, service: Everything) -> None:
    """With the same answer, its age beside it, and not modified for who has it; another query is another page."""
    path = f"/v1/things?thing.name={uuid4()}"
    before = len(service.metadata)
    first = await http.get(path)
    again = await http.get(path)
    known = await http.get(path, headers={"If-None-Match": first.headers["etag"]})
    head = await http.head(path)

    assert len(service.metadata) == before + 1
    assert "age" not in first.headers
    assert (again.status_code, again.content, again.headers["age"]) == (200, first.content, "1")
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", first.headers["etag"])
    assert (head.status_code, head.headers["content-length"]) == (200, first.headers["content-length"])
    await http.get(path + "&number=1")
    assert len(service.metadata) == before + 2


@pytest.mark.usefixtures("still")
async def test_whoever_shows_a_token_or_changed_something_is_answered_by_the_service(
    http: httpx.AsyncClient, service: Everything
) -> None:
    path = f"/v1/things?thing.name={uuid4()}"
    await http.get(path)
    before = len(service.metadata)

    refused = await http.get(path, headers={"Authorization": "Bearer nobody's"})
    assert refused.status_code == 401
    assert (await http.request("GET", path, content=b"{}")).status_code == 400
    assert (await http.patch("/v1/things/locked", json={})).status_code == 400
    await http.get(path)
    assert len(service.metadata) == before + 1
    await http.get(path)
    assert len(service.metadata) == before + 1


async def test_a_refusal_is_kept_for_nobody(http: httpx.AsyncClient, service: Everything) -> None:
    before = len(service.metadata)
    for _ in range(2):
        assert (await http.get("/v1/things?thing.name=locked")).status_code == 400
    assert len(service.metadata) == before + 2
