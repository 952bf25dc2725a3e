"""What the lean client hears is ok, refused or unknown; what it does not hear is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from bench.rig import wire
from bench.rig.wire import Broken, Reply
from tests.faults.shoppers import reply_of
from tests.faults.wire import Wire


class Answering(wire.Wire):
    """A client that gives one answer, or breaks."""

    def __init__(self, answer: Reply | Broken) -> None:
        self._host, self._port = "127.0.0.1", 18443
        self._answer = answer

    async def ask(self, request: bytes) -> Reply:
        assert request.startswith(b"POST /v1/orders HTTP/1.1")
        if isinstance(self._answer, Broken):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (Reply(200, "", b'{"order": 1}'), ("ok", {"order": 1})),
        (Reply(502, "", b"<html>"), ("unknown", {"reason": "JSONDecodeError", "status": 502})),
        (Broken("TimeoutError"), ("unknown", {"reason": "TimeoutError"})),
    ],
)
async def test_what_is_answered_or_breaks_has_a_reply(answer: Reply | Broken, reply: tuple[str, Any]) -> None:
    edge = Wire.__new__(Wire)
    edge._wire = Answering(answer)
    assert await edge.send("POST", "/v1/orders", {}, token="t", key="k") == reply


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
