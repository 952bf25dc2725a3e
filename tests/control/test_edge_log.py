"""What the edge notes of each call, in the file that it has written when it ends."""

from __future__ import annotations

import json

from control.envoy_names import EDGE, access_log
from tests.control.test_edge_envoy import Edge, prepared, running, token

__all__ = ["prepared"]


async def test_a_call_is_noted_with_its_user_and_without_their_address(prepared: Edge) -> None:
    """The network alone, and the path without what was searched for: nothing in it tells who a user was."""
    headers = {"authorization": f"Bearer {token()}"}
    async with running(prepared), prepared.client("127.0.77.78") as client:
        answers = [await client.get("/v1/products?query=secret", headers=headers) for _ in range(2)]

    written = access_log(prepared.home, EDGE).read_text()
    lines = [json.loads(line) for line in written.splitlines()]
    assert [answer.status_code for answer in answers] == [line["code"] for line in lines]
    assert {("/v1/products", "127.0.77.0/24", "alice")} == {
        (line["path"], line["network"], line["user_id"]) for line in lines
    }
    assert "127.0.77.78" not in written and "secret" not in written
