"""The master keys of this package and what they seal: they are tried before anything new is sealed, and one is replaced
by sealing anew, in bounded batches, what an older one sealed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mesh.database import Database
from mesh.key_file import KeyFile
from mesh.refusals import Unavailable
from mesh.telemetry import get_logger
from svc_auth.renewal import seal_store
from svc_auth.renewal.seal_store import Sealed
from svc_auth.sealing import MASTER_KEY_FILE, MasterKeyUnusable, Seal, key_file

log = get_logger("svc_auth.sealing")

BATCH_ROWS = 500
POLL_SECONDS = 1.0
"""How often the file is looked at."""
RENEW_EVERY_SECONDS = 600.0
"""How often what an older key sealed is looked for: a process may not have had the new one in time."""
TRIED_ROWS = 20
"""Of each purpose, at the start: one of them that opens shows that the key is there; others may be damaged."""


async def master_keys_of(db: Database, folder: Path, *, notice_seconds: float = 0.0) -> KeyFile:
    """Return the master keys of a folder of secrets, which are made while they seal nothing yet.

    Raises:
        MasterKeyUnusable: The file is gone or does not hold what it holds, or none of its keys opens what is stored.
        SecretUnusable, OSError: As `key_file`.
        Unavailable: The database does not answer.
    """
    async with db.hot_read() as connection:
        in_use = await seal_store.any_sealed(connection)
    # Looked for after that: a process that starts beside this one makes the file before it seals anything.
    if in_use and not (folder / MASTER_KEY_FILE).exists():
        raise MasterKeyUnusable(f"{MASTER_KEY_FILE} is gone, and what is stored was sealed with it: restore it")
    file = key_file(folder, MASTER_KEY_FILE, notice_seconds=notice_seconds)
    for column in seal_store.COLUMNS:
        async with db.hot_read() as connection:
            rows = await seal_store.list_sealed(connection, column, after=None, limit=TRIED_ROWS)
        seal = Seal(file, column.purpose)
        if rows and not any(seal.opens(column.name(key), sealed) for key, sealed in rows):
            raise MasterKeyUnusable(f"no key opens what {column.table} has sealed: restore {MASTER_KEY_FILE}")
    return file


class SealRenewal:
    """The replacement of the master keys in one process. Run `follow` in the background."""

    def __init__(self, db: Database, file: KeyFile) -> None:
        self._db = db
        self._file = file
        self._sealed_by = ""
        self._told = file.newest if len(file.keys) == 1 else ""
        self._seals = [(column, Seal(file, column.purpose)) for column in seal_store.COLUMNS]

    async def follow(self) -> None:
        """Seal anew now, whenever a master key was added, and every ten minutes; until cancelled.

        Every process does: whoever comes second finds nothing left.
        """
        while True:
            done = self._file.newest
            try:
                await self.renew()
            except Unavailable:
                done = ""  # once more as soon as it is back
            for _ in range(int(RENEW_EVERY_SECONDS / POLL_SECONDS)):
                await asyncio.sleep(POLL_SECONDS)
                self._file.refresh()
                if self._file.newest != done:
                    break

    async def renew(self) -> int:
        """Seal with the newest master key whatever an older one sealed, and say how many rows that were.

        Raises:
            Unavailable: The database does not answer.
        """
        newest, count, unopened = self._file.newest, 0, 0
        for column, seal in self._seals:
            renewed, closed = await self._renew(column, seal)
            count, unopened = count + renewed, unopened + closed
        if unopened:
            log.error("no master key opens some of what is sealed: bring back the one that does", rows=unopened)
        elif newest != self._told and count == 0 and newest == self._sealed_by:
            # Found so a second time, ten minutes later: by now no process seals with what it knew before.
            self._told = newest
            log.info(
                "this master key seals everything: older lines are of use to old backups alone",
                file=MASTER_KEY_FILE,
                key=newest,
            )
        self._sealed_by = newest
        return count

    async def _renew(self, column: Sealed, seal: Seal) -> tuple[int, int]:
        """Renew a column; returns how many rows were, and how many no key opens."""
        count, unopened, after = 0, 0, None
        while True:
            async with self._db.hot_read() as connection:
                rows = await seal_store.list_sealed(connection, column, after=after, limit=BATCH_ROWS)
            changes = []
            for key, sealed in rows:
                try:
                    renewed = seal.renewed(column.name(key), sealed)
                except MasterKeyUnusable:
                    unopened += 1
                    continue
                if renewed is not None:
                    changes.append((key, sealed, renewed))
            if changes:
                async with self._db.hot_read() as connection:
                    await seal_store.save_renewed(connection, column, changes)
            count += len(changes)
            if len(rows) < BATCH_ROWS:
                return count, unopened
            after = rows[-1][0]
