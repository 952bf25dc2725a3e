"""Every method with which somebody outside changes something leaves one entry of the audit log, and leaves it in time.

Which methods these are comes from the descriptors, so a new one fails here until it has a call in `commands.py` and
leaves its entry.
"""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from mesh import audit
from mesh.contract import Idempotency, Method
from tests.contracts.commands import PASSWORD, SCENARIOS, Asked, asked
from tests.contracts.reading import methods
from tests.contracts.world import TOPOLOGY, World

AUDITED = [method for method in methods() if audit.is_audited(method)]
ANEW = {
    "titan.auth.v1.LinkService.RequestEmailVerification",
    "titan.auth.v1.LinkService.RequestPasswordReset",
    "titan.payment.v1.PaymentService.ReturnFromProvider",
    "titan.payment.v1.SettlementService.SettleDay",
}
"""Safe to repeat, and yet each call asks anew."""

NOT_TO_BE_SEEN = {
    "titan.auth.v1.UserService.DeleteAddress",
    "titan.auth.v1.SecondFactorService.DisableSecondFactor",
    "titan.auth.v1.PasskeyService.DeletePasskey",
    "titan.auth.v1.FederationService.DeleteFederatedIdentity",
    *ANEW,
}
"""What they did in their transaction is to remove a row, or one that is worked off at once."""


def package_of(method: Method) -> str:
    return TOPOLOGY.host_of(method.service).name


async def saved(world: World, package: str) -> None:
    """Let svc_cart save what stands in Redis alone."""
    for ending in world.hosted[package].on_stop if package == "svc_cart" else ():
        if getattr(ending, "__name__", "") == "flush":
            await ending()


async def entries(world: World, package: str, *, after: int = 0) -> list[Any]:
    """Return the entries of a package behind a number, the oldest first."""
    await saved(world, package)
    async with world.databases[package].hot_read() as connection:
        return list(await connection.fetch("SELECT * FROM audit_entries WHERE seq > $1 ORDER BY seq", after))


async def send(world: World, call: Asked) -> None:
    """Make a call; what is accepted may still end without an answer, where a provider is away."""
    try:
        await call.send(world)
    except grpc.aio.AioRpcError as error:
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error


async def written_beside(world: World, package: str, entry: Any) -> set[str]:
    """Return the tables in which the transaction of an entry wrote rows that are still as it left them."""
    async with world.databases[package].hot_read() as connection:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'audit_%'"
        )
        return {
            table
            for (table,) in tables
            if await connection.fetchval(
                f'SELECT EXISTS (SELECT FROM "{table}" WHERE xmin = $1::text::xid)', str(int(entry["xid"]) % 2**32)
            )
        }


def test_every_method_that_changes_something_has_a_call_here():
    """And no call is of a method that is gone, or not audited."""
    assert {method.full_name for method in AUDITED} == SCENARIOS.keys()


def test_which_methods_are_audited_follows_from_the_contract():
    """Whatever people may call and may have an effect; what packages do for each other is in their journals."""
    found = {method.full_name for method in AUDITED}
    assert "titan.order.v1.CheckoutService.PlaceOrder" in found
    assert "titan.auth.v1.AuthService.CreateSession" in found
    assert "titan.order.v1.OrderService.GetOrder" not in found
    assert "titan.inventory.v1.InventoryService.BatchReserve" not in found


@pytest.mark.parametrize("method", AUDITED, ids=[method.full_name for method in AUDITED])
async def test_an_accepted_command_leaves_one_entry_in_its_own_transaction(world: World, method: Method):
    """One, beside the rows that it changed; and none where the same is asked for again."""
    assert method.full_name in SCENARIOS, f"{method.full_name}: add a call that is accepted to tests/contracts/commands"
    package, call = package_of(method), await SCENARIOS[method.full_name](world)
    before = max((row["seq"] for row in await entries(world, package)), default=0)

    await send(world, call)

    found = await entries(world, package, after=before)
    assert [(method.full_name, audit.ACCEPTED)] == [(row["method"], row["outcome"]) for row in found]
    (entry,) = found
    assert entry["resource"]
    if call.metadata:
        assert entry["actor_id"] and entry["session_id"]
    if method.has_request_id:
        user_id, key = entry["actor_id"], call.request.request_id  # type: ignore[attr-defined]
        assert audit.key_hash(user_id, method.full_name, key) == entry["key_hash"]
    if method.full_name not in NOT_TO_BE_SEEN:
        assert await written_beside(world, package, entry), "nothing else was written in its transaction"
    if method.idempotency is Idempotency.IDEMPOTENT and method.full_name not in ANEW:
        await send(world, call)
        assert not await entries(world, package, after=entry["seq"])


async def test_what_is_read_under_a_ticket_leaves_an_entry(world: World):
    """Of the package that was read, and with the ticket; what the same clerk reads without one leaves none."""
    refund = await SCENARIOS["titan.order.v1.OrderService.CreateRefund"](world)
    order_id = refund.request.order_id  # type: ignore[attr-defined]
    (newest,) = (await entries(world, "svc_order"))[-1:]
    for ticket in ({"ticket_id": "SUP-4711"}, {}):
        call = asked("titan.order.v1.OrderService", "ListOrderEvents", refund.metadata, order_id=order_id, **ticket)
        if ticket:
            await call.send(world)
        else:
            with pytest.raises(grpc.aio.AioRpcError):
                await call.send(world)
    found = await entries(world, "svc_order", after=newest["seq"])
    assert [f"orders/{order_id}?ticket=SUP-4711"] == [row["resource"] for row in found]


async def test_nothing_personal_is_in_it(world: World):
    """Not an address, not a name, not a password, not a token; after every method was called once."""
    told = [
        json.dumps({name: str(value) for name, value in row.items()})
        for package in world.databases
        for row in await entries(world, package)
    ]
    assert len(told) > len(AUDITED)
    for line in told:
        for canary in ("@example.com", "Ada", "Mill Lane", PASSWORD, "tok_visa", "eyJ"):
            assert canary not in line


async def test_the_chain_of_every_package_is_whole(world: World):
    """What was written is sealed, and verifies from the first block to the last."""
    for package, db in world.databases.items():
        await audit.seal(db)
        async with db.hot_read() as connection:
            found = await audit.verify(connection)
        assert not found.problems, package


def test_every_package_with_audited_methods_has_a_log():
    """In its database, where each of them can leave its entry."""
    hosts = {TOPOLOGY.host_of(method.service).name for method in AUDITED}
    assert hosts <= {name for name, package in TOPOLOGY.packages.items() if "postgres" in package.needs}
