"""Remembered JSON is the JSON, and the memory is bounded."""

from __future__ import annotations

from edge_http import json_writer
from edge_http.endpoint import Endpoint
from edge_http.recent import Recent
from edge_http.rendered import MAX_ANSWER_BYTES, Rendered
from mesh.clients import Clients
from mesh.contract import AccessKind
from tests.edge_http.everything import pb
from tests.harness import titan_contract


def test_the_same_message_is_written_once_and_another_anew() -> None:
    """Messages of two types may have the same bytes."""
    rendered = Rendered()
    thing, names = pb.Thing(name="a"), pb.NamesResponse(names=["a"])
    assert thing.SerializeToString() == names.SerializeToString()

    first, again = rendered.json_of(thing), rendered.json_of(pb.Thing(name="a"))

    assert first is again
    assert first == json_writer.to_bytes(thing)
    assert rendered.json_of(names) == b'{"names":["a"]}'
    assert rendered.json_of(pb.Thing(name="b")) != first


def test_the_oldest_are_forgotten() -> None:
    """And what is very large is not kept at all."""
    rendered = Rendered(max_bytes=10_000)
    for number in range(1000):
        rendered.json_of(pb.Thing(name=f"{number}"))
        rendered.json_of(pb.Thing(name="often"))
    kept = len(rendered)
    often = rendered.json_of(pb.Thing(name="often"))

    assert 50 < kept < 300
    assert rendered.json_of(pb.Thing(name="often")) is often
    rendered.json_of(pb.Thing(name="x" * (MAX_ANSWER_BYTES + 1)))
    assert len(rendered) <= kept + 1


async def test_what_is_not_for_everybody_is_kept_nowhere() -> None:
    """Neither here nor, by the header of the answer, in a cache on the way: every route of the contract."""
    clients, rendered, recent, kept = Clients("unix:/nowhere"), Rendered(), Recent(), set()
    for route in titan_contract().routes():
        endpoint = Endpoint(route, clients, rendered, recent)
        if endpoint._rendered is not None or endpoint._recent is not None or endpoint._cacheable:
            assert route.method.access is not None
            kept.add(route.method.access.kind)
    await clients.close()

    assert {AccessKind.PUBLIC} == kept
