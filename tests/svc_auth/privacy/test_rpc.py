"""PrivacyService through the real chain, on a real Postgres; the other packages are fakes."""

from __future__ import annotations

import base64
from uuid import UUID, uuid4

import pytest

from mesh.refusals import Unavailable
from svc_auth.auth.rules import Subject
from svc_auth.errors import WalletNotEmpty
from svc_auth.factor.rules import STEP_SECONDS, code_at
from svc_auth.privacy.erasures import Erasures
from svc_auth.privacy.rules import LEASE_SECONDS, SETTLED_SECONDS, Money
from svc_order.errors import OrdersUnderWay
from tests.harness import reason_of
from tests.svc_auth.conftest import PASSWORD, Replica, bearer, nobody, refused
from titan.auth.v1 import privacy_pb2, second_factor_service_pb2, user_service_pb2
from titan.auth.v1 import privacy_service_pb2 as pb
from titan.auth.v1 import second_factor_pb2 as factors
from titan.order.v1 import order_pb2

RUNNING, COMPLETE = privacy_pb2.ERASURE_STATE_RUNNING, privacy_pb2.ERASURE_STATE_COMPLETE
ADDRESS = {"full_name": "Ada Byron", "line1": "1 Mill Lane", "city": "Leeds", "country_code": "GB"}


async def somebody(titan: Replica):
    """Return the address and the session of a user who keeps an address."""
    email, _ = await titan.register()
    pair = await titan.sign_in(email, client_name="Ada's telephone")
    await titan.user.CreateAddress(user_service_pb2.CreateAddressRequest(address=ADDRESS), metadata=bearer(pair))
    return email, pair


async def erase(titan: Replica, pair, *, password: str = PASSWORD, **proof: str):
    """Erase the user of a session."""
    asked = pb.EraseMeRequest(password=password, confirm=True)
    if proof:
        asked.proof.CopyFrom(factors.SecondFactorProof(**proof))
    return (await titan.privacy.EraseMe(asked, metadata=bearer(pair))).erasure


async def export(titan: Replica, pair, token: str = ""):
    return await titan.privacy.ExportMyData(pb.ExportMyDataRequest(page_token=token), metadata=bearer(pair))


async def admin(titan: Replica):
    return bearer(await titan.sign_in("admin@titan.local", "an administrator's long secret"))


async def everything(titan: Replica, user_id: str) -> str:
    """Return every row of every table that names a user, but for the audit log and the events, as text."""
    found = []
    async with titan.db.hot_read() as connection:
        tables = await connection.fetch(
            "SELECT DISTINCT table_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND column_name = 'user_id' AND table_name <> 'erasures'"
        )
        for (table,) in tables:
            found += await connection.fetch(f'SELECT * FROM "{table}" WHERE user_id = $1', UUID(user_id))
    return "\n".join(repr(dict(row)) for row in found)


async def test_an_export_has_all_that_is_known(titan: Replica):
    """The account, where it is signed in, the addresses; the cart, the wallet, orders and letters of others."""
    email, pair = await somebody(titan)
    user_id = UUID(pair.user_id)
    titan.packages.wallets[user_id] = Money(250, 0, False)
    titan.packages.orders_of[user_id] = [order_pb2.Order(order_id="o")]

    page = await export(titan, pair)

    assert (email, "Ada Lovelace") == (page.user.email, page.user.display_name)
    assert ["Ada's telephone"] == [session.client_name for session in page.sessions]
    assert ["1 Mill Lane"] == [each.address.line1 for each in page.addresses]
    assert not page.second_factor.active and not page.passkeys and not page.identities
    assert ["mug"] == [line.sku for line in page.cart.lines]
    assert 250 == page.wallet.balance.minor_units
    assert (1, 1, 1) == (len(page.orders), len(page.transfers), len(page.notifications))
    assert not page.next_page_token


async def test_an_export_goes_on_page_by_page(titan: Replica):
    """A page ends once it is large, wherever that is, and nothing stands on two of them or on none."""
    _, pair = await somebody(titan)
    large = [order_pb2.Order(order_id=str(number), cancel_reason="x" * 600_000) for number in range(5)]
    titan.packages.orders_of[UUID(pair.user_id)] = large
    seen, token, count = [], "", 0
    while token or not count:
        page = await export(titan, pair, token)
        assert page.HasField("user") is (count == 0) and bool(page.addresses) is (count == 0)
        seen += [order.order_id for order in page.orders]
        transfers = len(page.transfers)
        token, count = page.next_page_token, count + 1
    assert ["0", "1", "2", "3", "4"] == seen and 3 == count and 1 == transfers


async def test_a_page_token_of_somebody_else_is_refused(titan: Replica):
    """It is no secret, and opens nothing."""
    (_, ada), (_, bob) = await somebody(titan), await somebody(titan)
    titan.packages.orders_of[UUID(ada.user_id)] = [order_pb2.Order(cancel_reason="x" * 600_000) for _ in range(5)]
    token = (await export(titan, ada)).next_page_token
    assert token and "PAGE_TOKEN_INVALID" == reason_of(await refused(export(titan, bob, token)))


async def test_a_guest_has_data_too(titan: Replica):
    """And may be erased without a word."""
    guest = await titan.guest()
    assert (await export(titan, guest)).user.guest

    assert RUNNING == (await erase(titan, guest, password="")).state
    await titan.erasures.run_due()
    assert 1 == titan.packages.emptied[UUID(guest.user_id)]


async def test_erasing_leaves_nothing_but_an_id(titan: Replica):
    """No name, no address, no way to sign in; what refers to the user still finds a row."""
    email, pair = await somebody(titan)
    before = await everything(titan, pair.user_id)
    assert email in before and "Mill Lane" in before and "telephone" in before

    erasure = await erase(titan, pair)

    assert (pair.user_id, RUNNING) == (erasure.user_id, erasure.state) and erasure.HasField("decide_time")
    after = await everything(titan, pair.user_id)
    assert pair.user_id in after
    for trace in (email, "Ada", "Mill Lane", "telephone", "argon2"):
        assert trace not in after
    assert "CREDENTIALS_INVALID" == reason_of(await refused(titan.sign_in(email)))
    assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(pair.refresh_token)))
    assert ("UserErased", 2) == (await titan.events_of(pair.user_id))[-1]


async def test_sessions_end_and_a_later_export_is_refused(titan: Replica):
    """At once where the end of the session is known, and where it is not yet there is nothing left to tell."""
    _, pair = await somebody(titan)
    await erase(titan, pair)

    assert reason_of(await refused(export(titan, pair))) in ("USER_NOT_FOUND", "SESSION_REVOKED")
    await titan.feed.look()
    assert "SESSION_REVOKED" == reason_of(await refused(export(titan, pair)))


async def test_the_address_is_free_again(titan: Replica):
    """Whoever registers with it is somebody else."""
    email, pair = await somebody(titan)
    await erase(titan, pair)
    _, user_id = await titan.register(email)
    assert user_id != pair.user_id


async def test_erasing_twice_is_safe(titan: Replica):
    """By the user with a token that is still believed, and by somebody of the house."""
    _, pair = await somebody(titan)
    first = await erase(titan, pair)
    again = await erase(titan, pair)
    asked = pb.EraseUserRequest(user_id=pair.user_id, reason="ticket 4711")
    third = (await titan.privacy.EraseUser(asked, metadata=await admin(titan))).erasure
    assert first == again == third


@pytest.mark.parametrize("password", ["", "another row of words"])
async def test_the_password_is_asked_for(titan: Replica, password: str):
    """A stolen access token erases nobody."""
    email, pair = await somebody(titan)
    assert "CREDENTIALS_INVALID" == reason_of(await refused(erase(titan, pair, password=password)))
    assert (await titan.sign_in(email)).access_token


async def test_wrong_passwords_are_slowed_down(titan: Replica):
    """They are counted with those of the sign-in."""
    _, pair = await somebody(titan)
    reasons = [reason_of(await refused(erase(titan, pair, password=f"guess {n}"))) for n in range(12)]
    assert "SIGN_IN_THROTTLED" == reasons[-1]


async def test_an_empty_call_erases_nobody(titan: Replica):
    """A guest has nothing to show, so the call has to say that it is meant."""
    guest = await titan.guest()
    refusal = await refused(titan.privacy.EraseMe(pb.EraseMeRequest(), metadata=bearer(guest)))
    assert "INVALID_INPUT" == reason_of(refusal)


async def test_who_has_a_second_factor_shows_it(titan: Replica):
    """The password alone is not enough, nor is a wrong code; the right one counts once."""
    _, pair = await somebody(titan)
    enrolled = await titan.factor.EnrolSecondFactor(
        second_factor_service_pb2.EnrolSecondFactorRequest(password=PASSWORD), metadata=bearer(pair)
    )
    secret = base64.b32decode(enrolled.secret)
    step = int(titan.clock.now().timestamp()) // STEP_SECONDS
    confirmed = await titan.factor.ConfirmSecondFactor(
        second_factor_service_pb2.ConfirmSecondFactorRequest(code=code_at(secret, step)), metadata=bearer(pair)
    )
    assert "CODE_INVALID" == reason_of(await refused(erase(titan, pair)))
    assert "CODE_INVALID" == reason_of(await refused(erase(titan, pair, code=code_at(secret, step))))
    assert RUNNING == (await erase(titan, pair, recovery_code=confirmed.recovery_codes[0])).state


async def test_who_has_no_password_has_to_have_signed_in_a_moment_ago(titan: Replica):
    """As whoever registered at another provider."""
    _, pair = await somebody(titan)
    async with titan.db.hot() as tx:
        await tx.execute("UPDATE users SET password_hash = NULL WHERE user_id = $1", UUID(pair.user_id))
        await tx.execute(
            "UPDATE sessions SET created_at = created_at - interval '1 hour' WHERE user_id = $1", UUID(pair.user_id)
        )
    assert "RECENT_SIGN_IN_REQUIRED" == reason_of(await refused(erase(titan, pair, password="")))
    async with titan.db.hot() as tx:
        await tx.execute("UPDATE sessions SET created_at = now() WHERE user_id = $1", UUID(pair.user_id))
    assert RUNNING == (await erase(titan, pair, password="")).state


async def test_money_and_orders_hold_it_up_and_nothing_has_happened(titan: Replica):
    """The user hears which of the two, for themselves and through somebody of the house."""
    email, pair = await somebody(titan)
    user_id, asked = UUID(pair.user_id), pb.EraseUserRequest(user_id=pair.user_id, reason="ticket 4711")
    titan.packages.under_way[user_id] = OrdersUnderWay("an order is under way", order_id="o")
    assert "ORDERS_UNDER_WAY" == reason_of(await refused(erase(titan, pair)))
    assert "ORDERS_UNDER_WAY" == reason_of(await refused(titan.privacy.EraseUser(asked, metadata=await admin(titan))))
    titan.packages.wallets[user_id] = Money(250, 0, False)
    assert WalletNotEmpty.reason == reason_of(await refused(erase(titan, pair)))
    assert (await titan.sign_in(email)).access_token
    assert "ERASURE_NOT_FOUND" == reason_of(await refused(_erasure(titan, pair.user_id, await admin(titan))))


async def test_who_works_here_is_not_erased(titan: Replica):
    """Not by themselves, and not by a colleague."""
    pair = await titan.sign_in("admin@titan.local", "an administrator's long secret")
    reason = reason_of(await refused(erase(titan, pair, password="an administrator's long secret")))
    assert "USER_HAS_ROLES" == reason
    asked = pb.EraseUserRequest(user_id=pair.user_id, reason="ticket 4711")
    assert "USER_HAS_ROLES" == reason_of(await refused(titan.privacy.EraseUser(asked, metadata=bearer(pair))))


async def test_who_acts_for_somebody_neither_exports_nor_erases_them(titan: Replica, importer):
    """An importer's token names the customer, and is not theirs."""
    _, pair = await somebody(titan)
    subject = Subject(UUID(pair.user_id), False)
    acting = titan.sessions._issuer.access_token(subject, session_id=uuid4(), actor_id=UUID(importer.user_id))
    metadata = (("authorization", f"Bearer {acting}"),)
    calls = (
        titan.privacy.ExportMyData(pb.ExportMyDataRequest(), metadata=metadata),
        titan.privacy.EraseMe(pb.EraseMeRequest(password=PASSWORD, confirm=True), metadata=metadata),
    )
    assert ["ACCESS_DENIED"] * 2 == [reason_of(await refused(call)) for call in calls]


async def test_nobody_is_not_erased(titan: Replica):
    """A user who never was, by whomever."""
    asked = pb.EraseUserRequest(user_id=str(uuid4()), reason="ticket 4711")
    assert "USER_NOT_FOUND" == reason_of(await refused(titan.privacy.EraseUser(asked, metadata=await admin(titan))))
    assert "USER_NOT_FOUND" == reason_of(await refused(erase(titan, nobody(titan))))


async def _erasure(titan: Replica, user_id: str, metadata):
    return (await titan.privacy.GetErasure(pb.GetErasureRequest(user_id=user_id), metadata=metadata)).erasure


async def test_a_package_that_is_away_is_asked_again(titan: Replica):
    """It is decided all the same, and support sees how far it is."""
    _, pair = await somebody(titan)
    user_id = UUID(pair.user_id)
    titan.packages.failures[user_id] = [Unavailable("away"), OrdersUnderWay("placed meanwhile")]
    await erase(titan, pair)
    await titan.erasures.run_due()
    assert RUNNING == (await _erasure(titan, pair.user_id, await admin(titan))).state
    for _ in range(2):
        await _due(titan, user_id)
        await titan.erasures.run_due()
    shown = await _erasure(titan, pair.user_id, await admin(titan))
    assert COMPLETE == shown.state and shown.HasField("complete_time")


async def _due(titan: Replica, user_id: UUID) -> None:
    """Let the next pass of an erasure be due now."""
    async with titan.db.hot() as tx:
        await tx.execute("UPDATE erasures SET next_run_at = now() - interval '1 hour' WHERE user_id = $1", user_id)


async def test_a_crash_in_the_middle_goes_on_in_another_process(titan: Replica):
    """Whoever had taken it is gone with its lease; the next one empties all packages, also those that were."""
    _, pair = await somebody(titan)
    user_id = UUID(pair.user_id)
    await erase(titan, pair)

    class Died(BaseException):
        """The process ends here."""

    titan.packages.failures[user_id] = [Died()]  # type: ignore[list-item]
    with pytest.raises(Died):
        await titan.erasures.run_due()
    held = titan.erasures
    other = Erasures(titan.db, titan.packages, held._trials, titan.factors, titan.sessions, titan.feed, titan.clock)
    await other.run_due()
    assert 0 == titan.packages.emptied[user_id], "the lease still holds"
    async with titan.db.hot_read() as connection:
        lease = await connection.fetchval("SELECT next_run_at FROM erasures WHERE user_id = $1", user_id)
    assert 0 < (lease - titan.clock.now()).total_seconds() <= LEASE_SECONDS
    await _due(titan, user_id)
    await other.run_due()
    assert 1 == titan.packages.emptied[user_id]
    assert COMPLETE == (await _erasure(titan, pair.user_id, await admin(titan))).state


async def test_it_is_done_once_more_when_the_last_token_is_over_and_then_never_again(titan: Replica):
    """A call that was under way may have left something behind the first pass."""
    _, pair = await somebody(titan)
    user_id = UUID(pair.user_id)
    await erase(titan, pair)
    await titan.erasures.run_due()
    async with titan.db.hot() as tx:
        again = await tx.fetchval(
            "UPDATE erasures SET decided_at = decided_at - make_interval(secs => $2) WHERE user_id = $1"
            " RETURNING next_run_at - decided_at",
            user_id,
            SETTLED_SECONDS,
        )
    assert 2 * SETTLED_SECONDS == again.total_seconds()
    for _ in range(3):
        await _due(titan, user_id)
        await titan.erasures.run_due()
    assert 2 == titan.packages.emptied[user_id]
