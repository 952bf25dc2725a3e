"""The store under many buyers at once, from two processes, on a real Postgres."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from uuid import uuid4

from mesh.database import Database
from svc_inventory.inventory import store
from svc_inventory.inventory.rules import Line, Wanted
from svc_inventory.inventory.store import Adjustment
from tests.svc_inventory.inventory.test_rpc import check_books

ROOT = Path(__file__).resolve().parents[3]
BUYERS_A_PROCESS = 100

BUYERS = """
import asyncio, json, sys, uuid
from mesh.database import Database
from mesh.refusals import Refusal
from svc_inventory.inventory import store
from svc_inventory.inventory.rules import Line, Wanted

async def main(url, sku, buyers):
    db = await Database.connect(url, pool_size=8)
    print("ready", flush=True)
    sys.stdin.readline()
    async def buy():
        wanted = [Wanted(uuid.uuid4(), b"f", (Line(1, sku, 1),))]
        [answer] = await db.transact(lambda tx: store.save_reservations(tx, wanted))
        return "REFUSED" if isinstance(answer, Refusal) else "RESERVED"
    print(json.dumps(await asyncio.gather(*(buy() for _ in range(buyers)))), flush=True)
    await db.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def test_two_processes_sell_the_last_ten_units_once(database_url, db):
    """Stock 10, 200 buyers at once, a transaction each: exactly 10 get one, and the books add up."""
    sku = f"hot {uuid4().hex[:8]}"
    await db.transact(lambda tx: store.save_adjusted(tx, [Adjustment(sku, "main", 10, "")]))
    command = [sys.executable, "-c", BUYERS, database_url, sku, str(BUYERS_A_PROCESS)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"}
    pipe = asyncio.subprocess.PIPE
    shops = [
        await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT, env=environment)
        for _ in range(2)
    ]
    try:
        for shop in shops:
            assert b"ready\n" == await shop.stdout.readline()
        for shop in shops:
            shop.stdin.write(b"go\n")
        answers = [json.loads(await shop.stdout.readline()) for shop in shops]
    finally:
        await asyncio.gather(*(shop.communicate() for shop in shops))
    together = answers[0] + answers[1]
    assert (10, 190) == (together.count("RESERVED"), together.count("REFUSED"))
    async with db.hot_read() as connection:
        shelf = await store.find_shelf(connection, sku)
    assert (10, 10) == (shelf.on_hand, shelf.reserved)
    await check_books(db)


async def test_batches_that_want_the_same_skus_in_opposite_orders_do_not_deadlock(database_url, db):
    """SKUs are locked in key order, whatever order the lines stand in."""
    several = [f"cross {uuid4().hex[:8]}" for _ in range(4)]
    await db.transact(lambda tx: store.save_adjusted(tx, [Adjustment(sku, "main", 1000, "") for sku in several]))
    other = await Database.connect(database_url, pool_size=4, name="another process")

    async def buy(database: Database, skus: list[str]) -> None:
        orders = [Wanted(uuid4(), b"f", tuple(Line(n, sku, 1) for n, sku in enumerate(skus, 1))) for _ in range(3)]
        # One attempt: a deadlock would not be retried away.
        await database.transact(lambda tx: store.save_reservations(tx, orders), attempts=1)

    try:
        await asyncio.gather(*(buy(db, several) for _ in range(15)), *(buy(other, several[::-1]) for _ in range(15)))
    finally:
        await other.close()
    async with db.hot_read() as connection:
        assert [90] * 4 == [(await store.find_shelf(connection, sku)).reserved for sku in several]
    await check_books(db)


async def test_one_order_asked_for_by_many_at_once_is_reserved_once(db):
    """Twins wait for the first one's transaction, and give its answer."""
    sku = f"twin {uuid4().hex[:8]}"
    await db.transact(lambda tx: store.save_adjusted(tx, [Adjustment(sku, "main", 10, "")]))
    wanted = [Wanted(uuid4(), b"f", (Line(1, sku, 2),))]
    answers = await asyncio.gather(*(db.transact(lambda tx: store.save_reservations(tx, wanted)) for _ in range(8)))
    assert [answers[0]] * 8 == list(answers)
    async with db.hot_read() as connection:
        assert 2 == (await store.find_shelf(connection, sku)).reserved
