"""Feeds: a supplier's file, fetched where it has changed, and imported."""

from __future__ import annotations

import json
from datetime import datetime
from uuid import UUID

import asyncpg

from mesh.database import Database
from mesh.seams import Ids, failpoint
from svc_bulk.feed import fetching, store
from svc_bulk.feed.fetching import Feed, FeedRules
from svc_bulk.file import store as file_store
from svc_bulk.file.wire import format_of
from svc_bulk.jobs.table import Table
from svc_bulk.operation import store as operations
from svc_bulk.operation.store import Step
from svc_bulk.operation.work import Source, Work


class FeedSync:
    """Fetches a feed and imports its products. What was fetched is stored before the first row is read, so that a
    worker that takes over reads the same."""

    def __init__(self, db: Database, ids: Ids, rules: FeedRules, table: Table) -> None:
        self._db = db
        self._ids = ids
        self._rules = rules
        self._table = table

    async def run(self, work: Work) -> None:
        """Fetch, unless that was done, and carry over what has not been yet.

        Raises:
            FeedNotAllowed, FeedRefused: It can't be fetched.
        """
        wanted, file_id, place = work.job.feed_sync, work.operation.source_file_id, work.operation.place
        if file_id is None:
            async with self._db.hot_read() as connection:
                etag = await store.find_etag(connection, wanted.url)
            feed = await work.unless_stopped(fetching.fetch(self._rules, wanted.url, etag))
            if feed.content is None:
                return
            file_id, place = self._ids.new(), await self._begin(work, feed.etag)
            await self._keep(work, feed, file_id, place)
        source = Source(file_id, format_of(wanted.format), wanted.dry_run)
        await self._table.run(work, source, place=place)
        if not wanted.dry_run:
            await self._remember(work, place)

    async def _begin(self, work: Work, etag: str) -> str:
        """Return what the rest of the operation has to know: which ETag it is about, and since when."""
        wanted, begun_at = work.job.feed_sync, None
        if not wanted.dry_run:
            begun_at = await work.while_mine(lambda tx: store.save_begun(tx, wanted.url))
        return json.dumps({"etag": etag, "begun_at": begun_at and begun_at.isoformat()})

    async def _remember(self, work: Work, place: str) -> None:
        """Store the ETag; none where rows were refused, so that they are asked for again the next time."""
        known, url = json.loads(place), work.job.feed_sync.url
        begun_at = datetime.fromisoformat(known["begun_at"]) if known.get("begun_at") else None

        async def remember(tx: asyncpg.Connection) -> None:
            operation = await operations.get(tx, work.operation_id)
            etag = "" if operation.progress.refused else known["etag"]
            await store.save_etag(tx, url, etag, begun_at=begun_at)

        await work.while_mine(remember)

    async def _keep(self, work: Work, feed: Feed, file_id: UUID, place: str) -> None:
        content, format = feed.content or b"", format_of(work.job.feed_sync.format)

        async def keep(tx: asyncpg.Connection) -> None:
            await file_store.save_new(tx, file_id, f"feed.{format.value.lower()}", format, content)
            await file_store.seal(tx, file_id)

        await work.save(Step(0, place, source_file_id=file_id), also=keep)
        await failpoint("bulk.feed.kept")
