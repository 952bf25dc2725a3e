"""What a replay asks of the bulk worker, and what it makes of the answers."""

from __future__ import annotations

import httpx
import pytest

from replay import edge as edge_module
from replay import jobs as jobs_module
from replay.edge import ReplayFailed
from replay.jobs import Jobs
from tests.replay.shop import FILE_PART_BYTES, Shop, refusal


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(edge_module, "PAUSES_SECONDS", (0.0, 0.0))
    return Shop()


async def test_a_file_is_sent_part_by_part(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each where the one before it ended; a lost answer to an appended part changes nothing."""
    monkeypatch.setattr(jobs_module, "PART_BYTES", 4)
    shop.say("/v1/files/f:append", httpx.Response(503))
    assert "f" == await Jobs(shop.edge()).send("shop.csv", b"0123456789")
    assert b"0123456789" == shop.lines
    assert ["/v1/files", *["/v1/files/f:append"] * 3] == [each.path for each in shop.asked[1:]]


async def test_what_an_operation_wrote_is_read_to_its_end(shop: Shop) -> None:
    """In as many answers as it takes."""
    content = bytes(range(256)) * 10
    shop.keep("long", content)
    file = {"name": "long.csv", "fileId": "long", "sizeBytes": str(len(content))}
    ended = {"operation": {"done": True, "state": "SUCCEEDED", "files": [file], "progress": {"rowsDone": "7"}}}
    waiting = {"operation": {"done": False}}
    shop.say("/v1/operations/o:wait", httpx.Response(200, json=waiting), httpx.Response(200, json=ended))
    done = await Jobs(shop.edge()).run(salesReport={})
    assert ({"long.csv": content}, 7) == (done.files, done.rows)
    assert -(-len(content) // FILE_PART_BYTES) == len(shop.to("/v1/files/long:read"))


async def test_each_run_is_an_operation_of_its_own(shop: Shop) -> None:
    """A replay that is repeated asks for the sums of then."""
    ended = {"operation": {"done": True, "state": "SUCCEEDED", "progress": {}}}
    for _ in range(2):
        shop.say("/v1/operations/o:wait", httpx.Response(200, json=ended))
        await Jobs(shop.edge()).run(salesReport={})
    assert 2 == len({each.key for each in shop.to("/v1/operations")} - {""})


async def test_an_operation_that_did_not_succeed_ends_the_replay(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, failed, or not ended after a time: the message names it."""
    failed = {"operation": {"done": True, "state": "FAILED", "error": {"message": "too much to sum"}}}
    stopped = {"operation": {"done": True, "state": "CANCELLED"}}
    for ended, said in ((failed, "FAILED: too much to sum"), (stopped, "CANCELLED")):
        shop.say("/v1/operations/o:wait", httpx.Response(200, json=ended))
        with pytest.raises(ReplayFailed, match=f"salesReport is {said}"):
            await Jobs(shop.edge()).run(salesReport={})
    shop.say("/v1/operations", refusal(403, "ACCESS_DENIED"))
    with pytest.raises(ReplayFailed, match="salesReport was refused: ACCESS_DENIED"):
        await Jobs(shop.edge()).run(salesReport={})
    shop.say("/v1/files", refusal(400, "INVALID_INPUT"))
    with pytest.raises(ReplayFailed, match="refused: INVALID_INPUT"):
        await Jobs(shop.edge()).send("shop.csv", b"")
    monkeypatch.setattr(jobs_module, "MOST_WAITS", 2)
    waiting = httpx.Response(200, json={"operation": {"done": False}})
    shop.say("/v1/operations/o:wait", waiting, waiting)
    with pytest.raises(ReplayFailed, match="salesReport has not ended after 40 s"):
        await Jobs(shop.edge()).run(salesReport={})
