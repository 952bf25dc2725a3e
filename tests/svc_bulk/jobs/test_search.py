"""Search re-index, in the real catalogue."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.refusals import Refusal
from mesh.seams import failpoints
from svc_bulk.jobs import search
from svc_bulk.jobs.search import SearchReindex
from tests.svc_bulk.conftest import Bulk, State, csv, new_sku
from titan.catalog.v1 import search_service_pb2 as pb


async def shelf(bulk: Bulk, count: int) -> None:
    rows = [("sku", "price_minor", "title"), *((new_sku(), 100, f"Cup {number}") for number in range(count))]
    await bulk.do(product_import={"file_id": await bulk.file(csv(*rows))})


async def test_search_data_is_made_again_and_compared_whichever_worker_dies(
    bulk: Bulk, monkeypatch: pytest.MonkeyPatch
):
    """From the page after the last one that was stored; the digests are those of one walk."""
    monkeypatch.setattr(search, "PAGE_PRODUCTS", 2)
    await shelf(bulk, 5)
    started = await bulk.start(search_reindex={"language": pb.SEARCH_LANGUAGE_GERMAN})
    worker = bulk.worker()
    for place in ("bulk.search.page_done", "bulk.step.after_save") * 3:
        failpoints.arm(place, "raise*1")
        await worker.take_due()
        await worker.settle()
        await bulk.overdue()
    await worker.take_due()
    await worker.settle()
    done = await bulk.get(started.operation_id)

    assert State.OPERATION_STATE_SUCCEEDED == done.state
    [header, row] = (await bulk.read(done.files[0])).splitlines()
    products, rewritten, stored, expected = row.split(",")
    assert "products,rewritten,stored_digest,expected_digest" == header
    assert (products, stored) == (str(done.progress.rows_total), expected) and int(products) >= 5
    # A page that was made, and not noted, was as it should be when it was made again: it counts as it was found then.
    assert int(rewritten) <= int(products) == done.progress.updated + done.progress.unchanged

    again = await bulk.do(search_reindex={})
    assert (0, int(products)) == (again.progress.updated, again.progress.unchanged)
    assert f"{products},0,{stored},{stored}" == (await bulk.read(again.files[0])).splitlines()[1]


class Restless:
    """A SearchService whose data is another each time that somebody looks."""

    def __init__(self, quiet_after: int) -> None:
        self.quiet_after = quiet_after
        self.made = 0

    async def ReindexProducts(self, request: pb.ReindexProductsRequest, **call: Any) -> pb.ReindexProductsResponse:
        self.made += 1
        return pb.ReindexProductsResponse(products=1, rewritten=1)

    async def DigestSearch(self, request: pb.DigestSearchRequest, **call: Any) -> pb.DigestSearchResponse:
        expected = b"a" * 32 if self.made > self.quiet_after else b"b" * 32
        return pb.DigestSearchResponse(products=1, stored_digest=b"a" * 32, expected_digest=expected)


@pytest.mark.parametrize(("quiet_after", "state"), [(2, "SUCCEEDED"), (3, "FAILED")])
async def test_data_that_differs_is_made_again_and_at_last_told(bulk: Bulk, quiet_after: int, state: str):
    """Three times, and no more."""
    restless = Restless(quiet_after)
    started = await bulk.start(search_reindex={})
    worker = bulk.worker(jobs={"search_reindex": SearchReindex(restless)})
    await worker.take_due()
    await worker.settle()
    done = await bulk.get(started.operation_id)

    assert (3, f"OPERATION_STATE_{state}") == (restless.made, State.Name(done.state))
    if state == "FAILED":
        assert "SEARCH_DIFFERS" == Refusal.from_status(done.error).reason
