"""Claims, stored answers and twins, on a real Postgres."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid

import grpc
import pytest
from google.protobuf import struct_pb2

from mesh import idempotency
from mesh.database import Database
from mesh.idempotency import Claim, claim, claim_many, fingerprint, store, store_many, store_refusal
from mesh.refusals import IdempotencyKeyInProgress, IdempotencyKeyReused, Refusal
from titan.type.v1 import money_pb2

METHOD = "titan.order.v1.CheckoutService/PlaceOrder"
BODY = b"fingerprint of the body"


class CardDeclinedInTest(Refusal):
    code = grpc.StatusCode.FAILED_PRECONDITION


def key(request_id: str, user_id: uuid.UUID | None = None) -> dict:
    return {"user_id": user_id or uuid.UUID(int=1), "method": METHOD, "request_id": request_id}


async def test_the_stored_answer_comes_back_byte_for_byte(db):
    """First call: go on. Every later one: the same bytes, even empty ones."""
    for request_id, answer in (("answer", b"\x00\xff serialized"), ("empty", b"")):
        async with db.hot() as tx:
            assert await claim(tx, **key(request_id), fingerprint=BODY) is None
            await store(tx, **key(request_id), response=answer)
        async with db.hot() as tx:
            assert answer == await claim(tx, **key(request_id), fingerprint=BODY)


async def test_a_stored_refusal_comes_back_byte_for_byte(db):
    """With its class, reason, metadata and details, and the same status to the last byte."""
    refusal = CardDeclinedInTest("the bank said no", retry_after_seconds=1.5, **{f"field_{n}": n for n in range(12)})
    async with db.hot() as tx:
        await claim(tx, **key("declined"), fingerprint=BODY)
        await store_refusal(tx, **key("declined"), refusal=refusal)

    with pytest.raises(CardDeclinedInTest) as again:
        async with db.hot() as tx:
            await claim(tx, **key("declined"), fingerprint=BODY)
    assert refusal.metadata == again.value.metadata
    assert idempotency.serialize(refusal) == idempotency.serialize(again.value)
    assert refusal.to_status().SerializeToString() == again.value.to_status().SerializeToString()


async def test_another_body_is_refused(db):
    """A key belongs to one body, whether its answer is there or not."""
    async with db.hot() as tx:
        await claim(tx, **key("reused"), fingerprint=BODY)
        await store(tx, **key("reused"), response=b"x")

    with pytest.raises(IdempotencyKeyReused):
        async with db.hot() as tx:
            await claim(tx, **key("reused"), fingerprint=b"another")


async def test_keys_of_users_and_methods_are_apart(db):
    """Somebody else's key of the same name is another key."""
    async with db.hot() as tx:
        assert await claim(tx, **key("mine"), fingerprint=BODY) is None
        assert await claim(tx, **key("mine", uuid.UUID(int=2)), fingerprint=BODY) is None
        assert await claim(tx, **{**key("mine"), "method": "other"}, fingerprint=BODY) is None


async def test_a_failure_does_not_burn_the_key(db):
    """A rollback forgets the claim."""
    with pytest.raises(ZeroDivisionError):
        async with db.hot() as tx:
            await claim(tx, **key("failed"), fingerprint=BODY)
            raise ZeroDivisionError
    async with db.hot() as tx:
        assert await claim(tx, **key("failed"), fingerprint=BODY) is None


async def test_a_concurrent_twin_waits_for_the_answer(db):
    """The second call stands still until the first has committed, and answers the same."""

    async def call(number: int) -> bytes:
        async with db.hot() as tx:
            found = await claim(tx, **key("twins"), fingerprint=BODY)
            if found is not None:
                return found
            await asyncio.sleep(0.05)
            await store(tx, **key("twins"), response=b"first was %d" % number)
            return b"first was %d" % number

    assert 1 == len(set(await asyncio.gather(*[call(n) for n in range(5)])))


async def test_a_twin_takes_over_from_a_rollback(db):
    """If the first fails, the waiting one goes on in its place."""
    claimed = asyncio.Event()

    async def first() -> None:
        async with db.hot() as tx:
            await claim(tx, **key("taken over"), fingerprint=BODY)
            claimed.set()
            await asyncio.sleep(0.05)
            raise ZeroDivisionError

    task = asyncio.create_task(first())
    await claimed.wait()
    async with db.hot() as tx:
        assert await claim(tx, **key("taken over"), fingerprint=BODY) is None
    with pytest.raises(ZeroDivisionError):
        await task


async def test_a_twin_that_waits_too_long_is_told_so(db):
    """The lock timeout becomes IDEMPOTENCY_KEY_IN_PROGRESS, and the key stays whole."""
    async with db.hot() as first:
        await claim(first, **key("slow"), fingerprint=BODY)
        with pytest.raises(IdempotencyKeyInProgress):
            async with db.hot() as tx:
                await tx.execute("SET LOCAL lock_timeout = 20")
                await claim(tx, **key("slow"), fingerprint=BODY)
        await store(first, **key("slow"), response=b"done")
    async with db.hot() as tx:
        assert b"done" == await claim(tx, **key("slow"), fingerprint=BODY)


async def test_a_twin_in_another_process_waits_too(db, database_url):
    """The unique key is what both processes share; no memory is."""
    code = (
        "import asyncio, sys, uuid\n"
        "from mesh.database import Database\n"
        "from mesh.idempotency import claim\n"
        "async def main():\n"
        "    db = await Database.connect(sys.argv[1], pool_size=1, name='twin')\n"
        "    async with db.hot() as tx:\n"
        "        await tx.execute('SELECT pg_notify($1, $1)', 'ready')\n"
        "    async with db.hot() as tx:\n"
        f"        key = dict(user_id=uuid.UUID(int=1), method={METHOD!r}, request_id='far')\n"
        f"        print(await claim(tx, **key, fingerprint={BODY!r}))\n"
        "asyncio.run(main())\n"
    )
    ready = asyncio.Event()
    async with db.hot_read() as listener:
        await listener.add_listener("ready", lambda *_: ready.set())
        async with db.hot() as tx:
            await claim(tx, **key("far"), fingerprint=BODY)
            twin = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, database_url, stdout=subprocess.PIPE, env={"PYTHONPATH": ".:gen"}
            )
            async with asyncio.timeout(20):
                await ready.wait()
            await asyncio.sleep(0.1)
            await store(tx, **key("far"), response=b"from here")
        await listener.remove_listener("ready", ready.set)
    out, _ = await twin.communicate()

    assert "b'from here'" == out.decode().strip()


async def test_a_set_of_claims_answers_each_in_its_place(db):
    """New, answered, refused, reused and doubled claims come out in the order they went in."""
    user = uuid.UUID(int=3)
    async with db.hot() as tx:
        known = [Claim(user, METHOD, name, BODY) for name in ("b-done", "a-refused")]
        assert [None, None] == await claim_many(tx, known)
        await store_many(tx, [(known[0].key, b"done"), (known[1].key, CardDeclinedInTest("no"))])

    async with db.hot() as tx:
        found = await claim_many(
            tx,
            [
                Claim(user, METHOD, "z-new", BODY),
                Claim(user, METHOD, "a-refused", BODY),
                Claim(user, METHOD, "z-new", BODY),
                Claim(user, METHOD, "z-new", b"other"),
                Claim(user, METHOD, "b-done", BODY),
                Claim(user, METHOD, "b-done", b"other"),
            ],
        )
    kinds = [None, CardDeclinedInTest, IdempotencyKeyInProgress, IdempotencyKeyReused, bytes, IdempotencyKeyReused]
    assert kinds == [each if each is None else type(each) for each in found]


async def test_sets_in_opposite_order_do_not_deadlock(database_url):
    """Claims are locked in key order whatever the order of arrival."""
    db = await Database.connect(database_url, pool_size=8, name="sets")

    async def together(names: list[str]) -> None:
        async with db.hot() as tx:
            claims = [Claim(uuid.UUID(int=4), METHOD, name, BODY) for name in names]
            found = await claim_many(tx, claims)
            await store_many(tx, [(c.key, b"") for c, f in zip(claims, found, strict=True) if f is None])

    for turn in range(5):
        names = [f"{turn}-{n}" for n in range(50)]
        await asyncio.gather(*[together(names[::step]) for step in (1, -1, 2, -2)])
    await db.close()


async def test_an_answer_without_a_claim_is_a_bug(db):
    """Nothing is stored for a key that nobody claimed, nor twice."""
    with pytest.raises(RuntimeError):
        async with db.hot() as tx:
            await store(tx, **key("never claimed"), response=b"")
    async with db.hot() as tx:
        await claim(tx, **key("once"), fingerprint=BODY)
        await store(tx, **key("once"), response=b"1")
        with pytest.raises(RuntimeError):
            await store(tx, **key("once"), response=b"2")


async def test_pruning_is_bounded_and_leaves_the_young(db):
    """At most `limit` old answers go at a time."""
    user = uuid.UUID(int=5)
    async with db.hot() as tx:
        await claim_many(tx, [Claim(user, METHOD, f"old-{n}", BODY) for n in range(5)])
        await tx.execute("UPDATE idempotency SET created_at = now() - interval '31 days' WHERE user_id = $1", user)
        await claim(tx, **key("young", user), fingerprint=BODY)

    async with db.hot() as tx:
        assert [3, 2, 0] == [await idempotency.prune(tx, limit=3) for _ in range(3)]
        assert 1 == await tx.fetchval("SELECT count(*) FROM idempotency WHERE user_id = $1", user)


def test_fingerprint_is_of_the_canonical_fields():
    """The order of map entries and unknown fields do not count, values and the kind of message do."""
    one = struct_pb2.Struct(fields={"a": struct_pb2.Value(number_value=1), "b": struct_pb2.Value(bool_value=True)})
    other = struct_pb2.Struct(fields={"b": struct_pb2.Value(bool_value=True), "a": struct_pb2.Value(number_value=1)})
    assert fingerprint(one) == fingerprint(other)

    money = money_pb2.Money(currency_code="GBP", minor_units=5)
    unknown = money_pb2.Money.FromString(money.SerializeToString() + b"\xfa\x7f\x01x")
    assert unknown.SerializeToString() != money.SerializeToString()
    assert fingerprint(unknown) == fingerprint(money)
    assert fingerprint(money) != fingerprint(money_pb2.Money(currency_code="GBP", minor_units=6))
    assert fingerprint(money_pb2.Money()) != fingerprint(struct_pb2.Struct())


def test_fingerprint_leaves_out_what_it_is_told_to():
    """The key itself is no part of the body."""
    one = money_pb2.Money(currency_code="GBP", minor_units=5)
    other = money_pb2.Money(currency_code="EUR", minor_units=5)
    assert fingerprint(one, ignore=("currency_code", "request_id")) == fingerprint(other, ignore=("currency_code",))
    assert "EUR" == other.currency_code
