"""Feeds from a real server into the real catalogue."""

from __future__ import annotations

import asyncio
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


async def test_a_feed_of_which_rows_were_refused_counts_as_unread(bulk: Bulk, feed: Supplier):
    """So they are asked for again, when what they lacked is there; and what was there before is forgotten."""
    sku, url = new_sku(), f"{feed.origin}/all.csv"
    whole = [csv(HEADER, (sku, 100, "Cup")).encode()]
    feed.pieces = whole
    await bulk.do(feed_sync={"url": url, "format": CSV})
    feed.headers, feed.pieces = {"ETag": '"v2"'}, [csv(HEADER, (sku, 120, "Cup"), (new_sku(), "many", "Mug")).encode()]
    for _ in range(2):
        assert 1 == (await bulk.do(feed_sync={"url": url, "format": CSV})).progress.refused
    feed.headers, feed.pieces = {"ETag": '"v1"'}, whole
    back = await bulk.do(feed_sync={"url": url, "format": CSV})

    assert [None, '"v1"', None, None] == [asked.get("if-none-match") for asked in feed.asked]
    assert 1 == back.progress.updated
    assert {sku: ("Cup", 100)} == await bulk.variants(sku)


async def test_a_worker_that_lost_its_operation_remembers_no_etag(bulk: Bulk, feed: Supplier):
    """Whoever has it now may not be through with the rows."""
    url = f"{feed.origin}/all.csv"
    feed.pieces = [csv(HEADER, (new_sku(), 100, "Cup")).encode()]
    await bulk.start(feed_sync={"url": url, "format": CSV})
    failpoints.arm("bulk.step.after_save", "sleep:300")
    worker = bulk.worker()
    await worker.take_due()
    async with bulk.db.hot_read() as connection:
        while not await connection.fetchval("SELECT position FROM operations"):
            await asyncio.sleep(0.01)
        await connection.execute("UPDATE operations SET lease = lease + 1")
    await worker.settle()

    async with bulk.db.hot_read() as connection:
        assert not await connection.fetchval("SELECT etag FROM feeds WHERE url = $1", url)


async def test_of_two_syncs_at_once_neither_counts_as_read(bulk: Bulk, feed: Supplier):
    """Their rows went into one another, so the feed is read again."""
    url, sku = f"{feed.origin}/all.csv", new_sku()
    feed.pieces = [csv(HEADER, (sku, 100, "Cup")).encode()]
    slow = await bulk.start(feed_sync={"url": url, "format": CSV})
    failpoints.arm("bulk.feed.kept", "raise*1")
    worker = bulk.worker()
    await worker.take_due()
    await worker.settle()
    feed.headers, feed.pieces = {"ETag": '"v2"'}, [csv(HEADER, (sku, 120, "Cup")).encode()]
    async with bulk.db.hot() as tx:
        await tx.execute("UPDATE operations SET due_at = now() + interval '1 hour'")
    await bulk.do(feed_sync={"url": url, "format": CSV})
    await bulk.overdue()
    await worker.take_due()
    await worker.settle()

    assert State.OPERATION_STATE_SUCCEEDED == (await bulk.get(slow.operation_id)).state
    await bulk.do(feed_sync={"url": url, "format": CSV})
    assert [None] * 3 == [asked.get("if-none-match") for asked in feed.asked]
    assert {sku: ("Cup", 120)} == await bulk.variants(sku)


async def test_a_feed_that_does_not_come_is_stopped(bulk: Bulk, feed: Supplier):
    """Nobody waits a minute for the end of what they have cancelled."""
    feed.pieces, feed.pause_seconds = [b"x"] * 200, 0.05
    started = await bulk.start(feed_sync={"url": f"{feed.origin}/all.csv", "format": CSV})
    worker = bulk.worker(lease_seconds=0.3)
    await worker.take_due()
    await bulk.cancel(started.operation_id)
    async with asyncio.timeout(3):
        await worker.settle()

    assert State.OPERATION_STATE_CANCELLED == (await bulk.get(started.operation_id)).state
