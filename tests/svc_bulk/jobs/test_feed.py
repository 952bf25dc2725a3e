"""Feeds from a real server into the real catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mesh.seams import failpoints
from svc_bulk.feed.fetching import FeedRules
from tests.svc_bulk.conftest import CSV, Bulk, State, csv, new_sku
from tests.svc_bulk.feed.test_fetching import Supplier, supplier  # noqa: F401 - a fixture

HEADER = ("sku", "price_minor", "title")


@contextmanager
def allowed(bulk: Bulk, *origins: str) -> Iterator[None]:
    """Let the feeds of these origins be fetched, as the configuration does."""
    before = bulk.feeds._private
    bulk.feeds._private = frozenset(origins)
    yield
    bulk.feeds._private = before


@pytest.fixture
def feed(bulk: Bulk, supplier: Supplier) -> Iterator[Supplier]:  # noqa: F811
    with allowed(bulk, supplier.origin):
        yield supplier


async def test_a_feed_is_imported_where_it_has_changed(bulk: Bulk, feed: Supplier):
    """The ETag of the time before goes with the question."""
    sku, url = new_sku(), f"{feed.origin}/all.csv"
    feed.pieces = [csv(HEADER, (sku, 100, "Cup")).encode()]
    first = await bulk.do(feed_sync={"url": url, "format": CSV})
    again = await bulk.do(feed_sync={"url": url, "format": CSV})
    feed.headers, feed.pieces = {"ETag": '"v2"'}, [csv(HEADER, (sku, 120, "Cup")).encode()]
    changed = await bulk.do(feed_sync={"url": url, "format": CSV})

    assert {State.OPERATION_STATE_SUCCEEDED} == {first.state, again.state, changed.state}
    assert (1, 0, 1) == (first.progress.created, again.progress.rows_done, changed.progress.updated)
    assert {sku: ("Cup", 120)} == await bulk.variants(sku)
    assert [None, '"v1"', '"v1"'] == [asked.get("if-none-match") for asked in feed.asked]


async def test_a_feed_that_was_only_tried_counts_as_unread(bulk: Bulk, feed: Supplier):
    """Else the real run after a dry one would find it unchanged."""
    sku, url = new_sku(), f"{feed.origin}/all.csv"
    feed.pieces = [csv(HEADER, (sku, 100, "Cup")).encode()]
    await bulk.do(feed_sync={"url": url, "format": CSV, "dry_run": True})
    assert {} == await bulk.variants(sku)

    assert 1 == (await bulk.do(feed_sync={"url": url, "format": CSV})).progress.created


async def test_a_worker_that_takes_over_reads_what_was_fetched(bulk: Bulk, feed: Supplier):
    """Not what the feed has become meanwhile: the rows that are through would be others."""
    sku = new_sku()
    feed.pieces = [csv(HEADER, (sku, 100, "Cup")).encode()]
    started = await bulk.start(feed_sync={"url": f"{feed.origin}/all.csv", "format": CSV})
    failpoints.arm("bulk.feed.kept", "raise*1")
    worker = bulk.worker()
    for _ in range(2):
        await worker.take_due()
        await worker.settle()
        feed.pieces = [csv(HEADER, (sku, 999, "Cup")).encode()]
        await bulk.overdue()

    assert State.OPERATION_STATE_SUCCEEDED == (await bulk.get(started.operation_id)).state
    assert {sku: ("Cup", 100)} == await bulk.variants(sku)
    assert 1 == len(feed.asked)


async def test_a_feed_that_can_not_be_taken_ends_the_operation(bulk: Bulk, feed: Supplier):
    """With the reason; the same feed later is another operation."""
    feed.status = 500
    refused = await bulk.do(feed_sync={"url": f"{feed.origin}/", "format": CSV})

    assert State.OPERATION_STATE_FAILED == refused.state and "FEED_REFUSED" in str(refused.error)


async def test_a_feed_that_is_no_longer_allowed_is_not_fetched(bulk: Bulk, feed: Supplier):
    """What was allowed when the operation was started is looked at again."""
    started = await bulk.start(feed_sync={"url": f"{feed.origin}/", "format": CSV})
    bulk.feeds._private = frozenset()
    worker = bulk.worker()
    await worker.take_due()
    await worker.settle()

    assert "FEED_NOT_ALLOWED" in str((await bulk.get(started.operation_id)).error)
    assert [] == feed.asked and isinstance(bulk.feeds, FeedRules)
