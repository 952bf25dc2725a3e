"""What an event says of itself, and which failures are its own fault."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from mesh.received import Poison, decode, is_poison
from mesh.refusals import Overloaded, Unavailable
from tests.mesh.deliveries import FakeMessage, NotAcceptable


def test_decoding_reads_cloudevents():
    """Binary mode headers, the key as the aggregate, a tombstone as an empty payload."""
    received = decode(FakeMessage("a", 3, b"payload", offset=9, ce_cell="north", traceparent="00-ab-cd-01"))

    assert ("a", 3, b"payload", "north", 9) == (
        received.aggregate_id,
        received.version,
        received.payload,
        received.cell,
        received.offset,
    )
    assert received.time.tzinfo is not None
    assert b"" == decode(FakeMessage("a", 1)).payload


def test_what_is_poison():
    """Only what no repetition will make acceptable."""
    assert all(map(is_poison, [Poison("x"), DecodeError("x"), NotAcceptable("x")]))
    assert not any(map(is_poison, [Unavailable("x"), Overloaded("x"), KeyError("x"), OSError("x"), TimeoutError()]))
