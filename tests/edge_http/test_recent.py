"""What anybody may read is asked of its service once a second, and never older than a change that was made here."""

from __future__ import annotations

from uuid import uuid4

import httpx

from edge_http.answer import Answer
from edge_http.recent import KEPT_SECONDS, MAX_ANSWER_BYTES, OVERHEAD_BYTES, Recent
from tests.edge_http.everything import Everything

NOW = (0.0, 0)


class Clock:
    """Stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def asked(name: str) -> tuple[str, bytes]:
    """Return what asks for a page of this name."""
    return f"/v1/{name}", b""


def test_an_answer_is_kept_for_a_second_from_when_it_was_asked_for() -> None:
    """However long the service then took: whoever reads its age can rely on it."""
    clock = Clock()
    recent = Recent(clock=clock)
    moment = recent.moment()
    clock.now = KEPT_SECONDS * 0.9
    recent.keep(asked("a"), Answer(200, b"{}", headers=[(b"etag", b'"1"')]), moment)

    found = recent.find(asked("a"))
    assert found is not None
    assert (found.body, found.headers) == (b"{}", [(b"etag", b'"1"'), (b"age", b"1")])
    assert recent.find(("/v1/a", b"page=2")) is None
    clock.now = KEPT_SECONDS
    assert recent.find(asked("a")) is None
    assert not len(recent)


def test_what_was_asked_for_before_a_change_is_not_kept_after_it() -> None:
    """Neither what lies there nor what is under way: it may tell of before."""
    recent = Recent()
    moment = recent.moment()
    recent.keep(asked("there"), Answer(200), moment)
    recent.forget()
    recent.keep(asked("under way"), Answer(200), moment)

    assert not len(recent)
    recent.keep(asked("later"), Answer(200), recent.moment())
    assert len(recent) == 1


def test_the_oldest_go_first_within_a_bound_of_bytes() -> None:
    """Answers without a body count too, and one that is very large is not kept at all."""
    recent = Recent(max_bytes=10 * OVERHEAD_BYTES)
    for number in range(100):
        recent.keep(asked(f"{number}"), Answer(200), NOW)
        recent.keep(asked("99"), Answer(200), NOW)
    kept = len(recent)

    assert 5 < kept < 10
    assert recent._size == sum(size for _, size, _ in recent._kept.values())
    recent.keep(asked("large"), Answer(200, b"x" * (MAX_ANSWER_BYTES + 1)), NOW)
    assert len(recent) == kept
    recent.keep(asked("body"), Answer(200, b"x" * 8 * OVERHEAD_BYTES), NOW)
    assert len(recent) == 1


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
