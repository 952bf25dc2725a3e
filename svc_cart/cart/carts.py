"""Carts as the rest of the service sees them: Redis, the saved copy behind it, and the traffic between the two.

The saver writes what this process changed, the sweeper what another process changed and did not live to save. Both may
run anywhere at any time, since `archive` takes no older version and no closed cart.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

import asyncpg

from mesh import housekeeping
from mesh.audit import Command
from mesh.database import Database
from mesh.refusals import Overloaded, Unavailable
from mesh.seams import Clock, failpoint
from mesh.telemetry import get_logger
from svc_cart.cart import archive, commands, rules
from svc_cart.cart.commands import Given
from svc_cart.cart.rules import Cart
from svc_cart.cart.store import LiveCarts
from svc_cart.settings import Settings

log = get_logger("svc_cart.saver")

MAX_SAVED_AT_ONCE = 500
MAX_PENDING = 50_000
ATTEMPTS = 20

Change = Callable[[Cart], Cart]


class Carts:
    """Run `save` and `sweep` in the background, and `flush` at the end."""

    def __init__(self, db: Database, live: LiveCarts, clock: Clock, settings: Settings) -> None:
        self._db = db
        self._live = live
        self._clock = clock
        self._settings = settings
        self._pending: dict[UUID, Cart] = {}
        self._given: dict[Given, None] = {}
        self._turns: dict[UUID, tuple[asyncio.Lock, int]] = {}

    def now_microseconds(self) -> int:
        """Return the time as versions count it."""
        return _microseconds(self._clock.now())

    async def get(self, user_id: UUID) -> Cart:
        """Return a user's cart; an empty one where there is none.

        Raises:
            Unavailable: Redis, or a database that is needed, does not answer.
        """
        return (await self._get_many([user_id]))[user_id]

    async def get_for_orders(self, user_ids: Sequence[UUID]) -> dict[UUID, Cart]:
        """Return the carts of many users, each held against the list of closed carts.

        A Redis that comes back with what it held long ago must not sell a cart twice.

        Raises:
            Unavailable: Redis or the database does not answer.
        """
        carts = await self._get_many(user_ids)
        closed = await self._close_again(carts.values())
        return {**carts, **(await self._get_many(list(closed)) if closed else {})}

    async def change(self, seen: Cart, change: Change, by: Command) -> Cart:
        """Apply a change to the cart of the user whose cart was seen, whatever it has become meanwhile.

        Raises:
            Refusal: What `change` refuses.
            Unavailable: Redis does not answer, or others change the cart all the time.
            Overloaded: Too many carts wait to be saved.
        """
        if max(len(self._pending), len(self._given)) >= MAX_PENDING:
            raise Overloaded("too many carts wait to be saved", retry_after_seconds=1)
        async with self._turn_of(seen.user_id):
            before = seen
            for _ in range(ATTEMPTS):
                after = change(before)
                if after is before:
                    return before
                # Shielded, so that a caller who leaves cannot separate the change from the note that it needs saving.
                if await asyncio.shield(self._swap(before, after, by)):
                    return after
                before = await self.get(seen.user_id)
        raise Unavailable("the cart is changed all the time", retry_after_seconds=1)

    async def close(
        self, carts: Mapping[UUID, UUID], ordered: Mapping[UUID, Mapping[str, int]] = MappingProxyType({})
    ) -> None:
        """Close the carts of these users where they are still the ones of these ids. Closing twice is safe.

        `ordered` has the quantities by SKU of the carts (by id) of which not everything was ordered; the rest moves to
        the next cart of its owner. Postgres first: from its commit on nothing brings the carts back, or moves their
        rest again, whatever Redis holds.

        Raises:
            Unavailable: The database or Redis does not answer; closing again is safe.
        """
        found = await self._live.find(list(carts))
        live = found | {
            user_id: pending
            for user_id in carts
            if (pending := self._pending.get(user_id)) is not None
            and (user_id not in found or found[user_id].version < pending.version)
        }
        at = self._clock.now()

        async def write(tx: asyncpg.Connection) -> dict[UUID, Cart]:
            written = await archive.save_closed(tx, carts, at=at, ordered=ordered, live=live)
            await failpoint("cart.close.before_commit")
            return written

        saved = await self._db.transact(write)
        await failpoint("cart.close.after_commit")
        closed = [
            (cart, saved[user_id], True)
            for user_id, cart in found.items()
            if cart.cart_id == carts[user_id] and user_id in saved and cart.version < saved[user_id].version
        ]
        done = await self._live.close(closed) if closed else []
        sure = {cart.user_id for (cart, _, _), was in zip(closed, done, strict=True) if was}
        unsure = [user_id for user_id in carts if user_id not in sure]
        if unsure:
            await self._close_again((await self._live.find(unsure)).values())

    async def prune_closed(self, tx: asyncpg.Connection) -> int:
        """Forget carts that were closed long ago, as `mesh.housekeeping` has it."""
        return await archive.prune_closed(tx, at=self._clock.now(), limit=housekeeping.PRUNE_ROWS)

    # --- saving ---

    async def save(self) -> None:
        """Save what this process changed, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.save_seconds)
            try:
                await self.flush()
            except Unavailable:
                continue  # Still pending, and on the list of unsaved carts; health says that the database is away.

    async def flush(self) -> None:
        """Save everything that this process changed until now.

        Raises:
            Unavailable: The database does not answer.
        """
        left, given = list(self._pending.values()), list(self._given)
        while left or given:
            batch, left = left[:MAX_SAVED_AT_ONCE], left[MAX_SAVED_AT_ONCE:]
            beside, given = given[:MAX_SAVED_AT_ONCE], given[MAX_SAVED_AT_ONCE:]
            await self._save(batch, beside)

    async def sweep(self) -> None:
        """Save what others changed and did not save, until cancelled."""
        while True:
            try:
                while await self.sweep_once() == MAX_SAVED_AT_ONCE:
                    pass
            except Unavailable:
                pass
            await asyncio.sleep(self._settings.sweep_seconds)

    async def sweep_once(self) -> int:
        """Save the carts that have waited longest, and return how many there were."""
        before = self.now_microseconds() - round(self._settings.orphan_seconds * 1e6)
        user_ids = await self._live.list_unsaved(before_microseconds=before, limit=MAX_SAVED_AT_ONCE)
        given = await self._live.list_unsaved_commands(before_microseconds=before, limit=MAX_SAVED_AT_ONCE)
        found = await self._live.find(user_ids) if user_ids else {}
        gone = [user_id for user_id in user_ids if user_id not in found]
        if gone:
            await self._live.forget_unsaved(gone)
        if found or given:
            await self._save(list(found.values()), given)
        return max(len(user_ids), len(given))

    async def _save(self, carts: Sequence[Cart], given: Sequence[Given]) -> None:
        """Save carts, and the commands that made them what they are, in one transaction."""

        async def write(tx: asyncpg.Connection) -> set[UUID]:
            await commands.save(tx, given)
            return await archive.save_carts(tx, carts) if carts else set()

        written = await self._db.transact(write)
        await failpoint("cart.save.after_commit")
        for each in given:
            self._given.pop(each, None)
        for cart in carts:
            pending = self._pending.get(cart.user_id)
            if pending is not None and pending.version <= cart.version:
                del self._pending[cart.user_id]
        refused = [cart for cart in carts if cart.user_id not in written]
        try:
            if given:
                await self._live.forget_commands(given)
            replaced = await self._live.note_saved(carts, written) if carts else []
            # The older one may have been closed since the save, and what was put over it stands there again.
            await self._close_again([*refused, *replaced])
        except Unavailable:
            log.warning("saved carts stay on the list of unsaved ones", carts=len(carts))

    async def _swap(self, before: Cart, after: Cart, by: Command) -> bool:
        given = Given(after.user_id, after.version, by)
        swapped = await self._live.swap(before, after, given)
        if swapped:
            self._given[given] = None
            self._note_unsaved(after)
        return swapped

    def _note_unsaved(self, cart: Cart) -> None:
        """Have a cart saved, unless a newer one waits: who put this one into Redis may hear of it last."""
        pending = self._pending.get(cart.user_id)
        if pending is None or pending.version < cart.version:
            self._pending[cart.user_id] = cart

    # --- loading ---

    async def _get_many(self, user_ids: Sequence[UUID]) -> dict[UUID, Cart]:
        carts = await self._live.find(user_ids)
        missing = [user_id for user_id in user_ids if user_id not in carts]
        for _ in range(ATTEMPTS):
            if not missing:
                return carts
            await self._load(missing)
            carts |= await self._live.find(missing)
            missing = [user_id for user_id in missing if user_id not in carts]
        raise Unavailable("the live carts keep losing what they are given", retry_after_seconds=1)

    async def _load(self, user_ids: Sequence[UUID]) -> None:
        """Put the newest known copy of carts that Redis does not hold into Redis."""
        async with self._db.hot_read() as connection:
            saved = await archive.list_carts(connection, user_ids)
        await failpoint("cart.load.after_read")
        newest = {}
        for user_id in user_ids:
            known = [cart for cart in (saved.get(user_id), self._pending.get(user_id)) if cart is not None]
            newest[user_id] = max(known, key=lambda cart: cart.version, default=Cart(user_id))
        await self._live.put_missing(newest.values())
        # One that was closed after we read it was put back just now; whoever closes it later finds it in Redis.
        await self._close_again(newest.values())

    async def _close_again(self, carts: Iterable[Cart]) -> Collection[UUID]:
        """Close those of these live carts in Redis that Postgres knows as closed, and return their users.

        A closed cart that is newer than what Postgres has was changed after its close: what it holds beyond the order
        is kept. One that is older was dealt with long ago, and gives way to what is saved.

        Raises:
            Unavailable: Redis or the database does not answer, or others change the carts all the time.
        """
        users: set[UUID] = set()
        for _ in range(ATTEMPTS):
            by_id = {cart.cart_id: cart for cart in carts if cart.cart_id is not None}
            if not by_id:
                return users
            async with self._db.hot_read() as connection:
                closed = await archive.list_closed(connection, by_id)
                again = {by_id[cart_id].user_id for cart_id in closed}
                saved = await archive.list_carts(connection, again) if again else {}
            if not again:
                return users
            users |= again
            await self._follow([by_id[cart_id] for cart_id in closed], closed, saved)
            # Read again: it may have been changed just now, or the next cart may have been closed as well.
            carts = (await self._live.find(list(again))).values()
        raise Unavailable("the closed carts are changed all the time", retry_after_seconds=1)

    async def _follow(
        self, carts: Sequence[Cart], ordered: Mapping[UUID, Mapping[str, int] | None], saved: Mapping[UUID, Cart]
    ) -> None:
        steps = []
        for cart in carts:
            assert cart.cart_id is not None
            newest = saved.get(cart.user_id)
            if newest is not None and newest.version > cart.version:
                steps.append((cart, newest, True))
            else:
                steps.append((cart, rules.after_close(cart, ordered[cart.cart_id]), False))
        for (_, following, is_saved), done in zip(steps, await self._live.close(steps), strict=True):
            if done and not is_saved:
                self._note_unsaved(following)

    @asynccontextmanager
    async def _turn_of(self, user_id: UUID) -> AsyncIterator[None]:
        """Let the changes of one cart in this process wait for each other instead of racing in Redis."""
        lock, users = self._turns.get(user_id, (asyncio.Lock(), 0))
        self._turns[user_id] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._turns[user_id]
            if users == 1:
                del self._turns[user_id]
            else:
                self._turns[user_id] = (lock, users - 1)


def _microseconds(at: datetime) -> int:
    return round(at.timestamp() * 1e6)
