"""PrivacyService through the real chain, on a real Postgres; the other packages are fakes."""

from __future__ import annotations

import asyncio
import base64
import secrets
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import jwt
import pytest

from mesh.refusals import Unavailable
from mesh.vault.vault import Erased, Vault
from svc_auth.auth import store as session_store
from svc_auth.auth.rules import Subject
from svc_auth.auth.store import NewSession
from svc_auth.errors import WalletNotEmpty
from svc_auth.factor.rules import STEP_SECONDS, code_at
from svc_auth.privacy.erasures import Erasures
from svc_auth.privacy.exports import SESSIONS_PER_PAGE
from svc_auth.privacy.rules import LEASE_SECONDS, SETTLED_SECONDS, Money
from svc_order.errors import OrdersUnderWay
from tests.harness import reason_of
from tests.kms import Kms
from tests.svc_auth.conftest import PASSWORD, Replica, bearer, nobody, refused
from tests.svc_auth.passkey.authenticator import Authenticator
from titan.auth.v1 import (
    link_service_pb2,
    passkey_service_pb2,
    privacy_pb2,
    second_factor_service_pb2,
    user_service_pb2,
)
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


NOTED = {"erasures", "erased_users"}
"""Where it stands that a user was erased."""


async def everything(titan: Replica, user_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows about a user, of each table that names users and of refresh tokens, but for empty values."""
    found = {}
    async with titan.db.hot_read() as connection:
        tables = await connection.fetch(
            "SELECT DISTINCT table_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND column_name = 'user_id'"
        )
        for (table,) in tables:
            found[table] = await connection.fetch(f'SELECT * FROM "{table}" WHERE user_id = $1', UUID(user_id))
        found["refresh_tokens"] = await connection.fetch(
            "SELECT t.* FROM refresh_tokens t JOIN sessions s USING (session_id) WHERE s.user_id = $1", UUID(user_id)
        )
    kept = {table: [{name: value for name, value in row.items() if value} for row in found[table]] for table in found}
    return {table: rows for table, rows in kept.items() if table not in NOTED}


async def tries(titan: Replica) -> set[bytes]:
    """Return the keys under which wrong passwords and codes are counted: no row of theirs says whose they are."""
    async with titan.db.hot_read() as connection:
        return {row["email_hash"] for row in await connection.fetch("SELECT email_hash FROM sign_in_attempts")}


async def somebody_with_everything(titan: Replica):
    """Return the address and the session of a user of whom there is a row of every kind."""
    email, pair = await somebody(titan)
    user_id = UUID(pair.user_id)
    await titan.link.RequestEmailVerification(link_service_pb2.RequestEmailVerificationRequest(), metadata=bearer(pair))
    await titan.links.make_requested()
    await titan.link.RequestPasswordReset(link_service_pb2.RequestPasswordResetRequest(email=email))
    await titan.verified(pair.user_id)
    device = Authenticator()
    for registers in (True, False):  # the second one is asked and does not answer
        asked = passkey_service_pb2.StartPasskeyRegistrationRequest()
        answer = await titan.passkey.StartPasskeyRegistration(asked, metadata=bearer(pair))
        if registers:
            made = device.create(answer.options.options_json)
            request = passkey_service_pb2.CreatePasskeyRequest(credential_json=made, name="Ada's key")
            await titan.passkey.CreatePasskey(request, metadata=bearer(pair))
    async with titan.db.hot() as tx:
        await tx.execute(
            "INSERT INTO identities (identity_id, user_id, provider, issuer, subject_index, linked_at)"
            " VALUES ($1, $2, 'local', 'https://id.example', $3, now())",
            uuid4(),
            user_id,
            titan.index.identity("https://id.example", f"ada-{user_id}").newest,
        )
        await tx.execute(
            "INSERT INTO sign_in_flows (flow_hash, provider, redirect_uri, purpose, user_id, expires_at)"
            " VALUES ($1, 'local', 'https://shop.example', 'LINK', $2, now())",
            uuid4().bytes * 2,
            user_id,
        )
    enrolled = await titan.factor.EnrolSecondFactor(
        second_factor_service_pb2.EnrolSecondFactorRequest(password=PASSWORD), metadata=bearer(pair)
    )
    code = code_at(base64.b32decode(enrolled.secret), int(titan.clock.now().timestamp()) // STEP_SECONDS)
    confirmed = await titan.factor.ConfirmSecondFactor(
        second_factor_service_pb2.ConfirmSecondFactorRequest(code=code), metadata=bearer(pair)
    )
    assert (await titan.sign_in(email)).HasField("challenge")
    await refused(titan.sign_in(email, "a slip of the finger"))
    await refused(erase(titan, pair, code=code))
    return email, pair, confirmed.recovery_codes[0]


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
    assert (1, 1) == (len(page.invoices), len(page.credit_notes))
    assert ["too small"] == [each.text for each in page.words]
    assert not page.next_page_token


async def test_an_export_lists_every_sign_in(titan: Replica):
    """Each once, in as many pages of the list as there are."""
    _, pair = await somebody(titan)
    user_id, at = UUID(pair.user_id), titan.clock.now()
    sessions = [NewSession(uuid4(), user_id, secrets.token_bytes(32)) for _ in range(SESSIONS_PER_PAGE + 1)]
    async with titan.db.hot() as tx:
        await session_store.insert_sessions(tx, sessions, at=at, expires_at=at + timedelta(hours=1))

    listed = [session.session_id for session in (await export(titan, pair)).sessions]

    mine = jwt.decode(pair.access_token, options={"verify_signature": False})["sid"]
    assert sorted([mine, *(str(session.session_id) for session in sessions)]) == sorted(listed)


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
    """No name, no address, no way to sign in, of each of which there was one; what refers to the user or to a session
    of theirs still finds a row."""
    strangers = await tries(titan)
    email, pair, recovery_code = await somebody_with_everything(titan)
    before = await everything(titan, pair.user_id)
    assert not [table for table, rows in before.items() if not rows]
    assert 2 == len(await tries(titan) - strangers)

    erasure = await erase(titan, pair, recovery_code=recovery_code)

    assert (pair.user_id, RUNNING) == (erasure.user_id, erasure.state) and erasure.HasField("decide_time")
    after = {table: rows for table, rows in (await everything(titan, pair.user_id)).items() if rows}
    assert {"users", "sessions"} == set(after)
    assert [{"user_id", "version", "created_at", "updated_at", "erased_at"}] == [set(row) for row in after["users"]]
    ended = {"session_id", "user_id", "created_at", "expires_at", "revoked_at", "revoked_for"}
    assert [ended] * len(before["sessions"]) == [set(row) for row in after["sessions"]]
    assert strangers == await tries(titan)
    assert "CREDENTIALS_INVALID" == reason_of(await refused(titan.sign_in(email)))
    assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(pair.refresh_token)))
    assert "UserErased" == (await titan.events_of(pair.user_id))[-1][0]


async def test_what_a_process_has_at_hand_is_of_no_use_to_it(titan: Replica):
    """It forgets the key with the decision; so does every other, which reads that the user was erased."""
    _, pair = await somebody(titan)
    user_id, there = UUID(pair.user_id), Vault(titan.db, Kms())
    await there.prepare([user_id])
    sealed = titan.vault.seal(user_id, user_id, b"1 Mill Lane")
    assert b"1 Mill Lane" == there.open(user_id, user_id, sealed)

    await erase(titan, pair)
    await there.forget_erased()

    for vault in (titan.vault, there):
        with pytest.raises(Erased):
            vault.open(user_id, user_id, sealed)


async def test_a_key_that_was_made_beside_the_decision_is_destroyed_with_the_next_pass(titan: Replica):
    """A call was under way, and seals nothing more with it."""
    _, pair = await somebody(titan)
    await erase(titan, pair)
    async with titan.db.hot() as tx:
        await tx.execute("INSERT INTO user_keys VALUES ($1, '1', 'late')", UUID(pair.user_id))
    await titan.erasures.run_due()

    assert not (await everything(titan, pair.user_id))["user_keys"]


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


@pytest.mark.parametrize("who", ["guest", "with a password", "without a password"])
async def test_a_session_that_has_ended_erases_nobody(titan: Replica, who: str):
    """Its token is believed for a moment longer, and may be a thief's whom the user has just signed out."""
    pair = await titan.guest() if who == "guest" else (await somebody(titan))[1]
    user_id = UUID(pair.user_id)
    if who == "without a password":
        async with titan.db.hot() as tx:
            await tx.execute("UPDATE users SET password_hash = NULL WHERE user_id = $1", user_id)
    titan.packages.meanwhile[user_id] = lambda: titan.revoke(pair.refresh_token)

    error = await refused(erase(titan, pair, password=PASSWORD if who == "with a password" else ""))

    assert ("SESSION_REVOKED", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(error), error.code())
    assert "ERASURE_NOT_FOUND" == reason_of(await refused(_erasure(titan, pair.user_id, await admin(titan))))


async def test_money_that_comes_at_the_last_moment_is_not_lost(titan: Replica):
    """It was not there when it was asked for: the user's data stays, and the erasure waits, until it is paid out."""
    _, pair = await somebody(titan)
    user_id = UUID(pair.user_id)
    await erase(titan, pair)
    titan.packages.wallets[user_id] = Money(250, 0, False)
    await titan.erasures.run_due()

    assert RUNNING == (await _erasure(titan, pair.user_id, await admin(titan))).state
    assert 0 == titan.packages.emptied[user_id] and 1 == (await titan.erasures.get(user_id)).attempts
    del titan.packages.wallets[user_id]
    await _due(titan, user_id)
    await titan.erasures.run_due()
    assert COMPLETE == (await _erasure(titan, pair.user_id, await admin(titan))).state


async def test_money_that_comes_later_holds_up_the_end_alone(titan: Replica):
    """What a call under way left behind goes all the same; somebody hears of the money until it is gone."""
    _, pair = await somebody(titan)
    user_id = UUID(pair.user_id)
    await erase(titan, pair)
    await titan.erasures.run_due()
    async with titan.db.hot() as tx:
        await tx.execute("UPDATE erasures SET decided_at = decided_at - interval '1 hour' WHERE user_id = $1", user_id)
    titan.packages.wallets[user_id] = Money(0, 0, True)
    for emptied in (2, 3):
        await _due(titan, user_id)
        await titan.erasures.run_due()
        erasure = await titan.erasures.get(user_id)
        assert (emptied, None) == (titan.packages.emptied[user_id], erasure.finished_at)
    del titan.packages.wallets[user_id]
    await _due(titan, user_id)
    await titan.erasures.run_due()
    assert (await titan.erasures.get(user_id)).finished_at is not None


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


async def test_support_erases_under_a_ticket_and_the_log_has_it(titan: Replica):
    """The command and each look at how far it is; without a ticket it hears so, whoever it asks about."""
    _, pair = await somebody(titan)
    clerk, user_id = uuid4(), pair.user_id
    signed = titan.sessions._issuer.access_token(Subject(clerk, False, ("support",)), session_id=uuid4())
    support = (("authorization", f"Bearer {signed}"),)
    asked = {"user_id": user_id, "reason": "wrote to us"}
    for other in (user_id, str(uuid4())):
        wanting = pb.EraseUserRequest(user_id=other, reason="wrote to us")
        assert "TICKET_REQUIRED" == reason_of(await refused(titan.privacy.EraseUser(wanting, metadata=support)))
        assert "TICKET_REQUIRED" == reason_of(await refused(_erasure(titan, other, support)))
    bad = pb.EraseUserRequest(**asked, ticket_id="Ada asked")
    assert "INVALID_INPUT" == reason_of(await refused(titan.privacy.EraseUser(bad, metadata=support)))

    await titan.privacy.EraseUser(pb.EraseUserRequest(**asked, ticket_id="SUP-4711"), metadata=support)
    await titan.privacy.GetErasure(pb.GetErasureRequest(user_id=user_id, ticket_id="SUP-4711"), metadata=support)

    async with titan.db.hot_read() as connection:
        found = await connection.fetch(
            "SELECT method, resource FROM audit_entries WHERE actor_id = $1 ORDER BY seq", clerk
        )
    assert [(name, f"users/{user_id}?ticket=SUP-4711") for name in ("EraseUser", "GetErasure")] == [
        (row["method"].rpartition(".")[2], row["resource"]) for row in found
    ]


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


def another(titan: Replica) -> Erasures:
    """Return what another process would work with."""
    held = titan.erasures
    return Erasures(
        titan.db, titan.packages, held._trials, titan.factors, titan.sessions, titan.vault, titan.feed, titan.clock
    )


async def test_those_that_are_due_are_worked_on_at_once(titan: Replica):
    """A package that takes its time with one of them uses up nobody else's lease."""
    user_ids = [UUID((await somebody_to_erase(titan)).user_id) for _ in range(3)]
    together = asyncio.Barrier(len(user_ids))
    for user_id in user_ids:
        titan.packages.meanwhile[user_id] = together.wait
    async with asyncio.timeout(5):
        await titan.erasures.run_due()
    assert [1] * 3 == [titan.packages.emptied[user_id] for user_id in user_ids]


async def somebody_to_erase(titan: Replica):
    _, pair = await somebody(titan)
    await erase(titan, pair)
    return pair


async def test_whoever_lost_the_lease_stores_nothing(titan: Replica):
    """They took too long, another process has emptied all packages meanwhile, and then theirs fails."""
    user_id = UUID((await somebody_to_erase(titan)).user_id)

    async def too_long() -> None:
        await _due(titan, user_id)
        await another(titan).run_due()
        titan.packages.failures[user_id] = [Unavailable("away")]

    titan.packages.meanwhile[user_id] = too_long
    await titan.erasures.run_due()

    erasure = await titan.erasures.get(user_id)
    assert (1, 0) == (titan.packages.emptied[user_id], erasure.attempts)
    assert SETTLED_SECONDS == (erasure.next_run_at - erasure.decided_at).total_seconds()


async def test_a_crash_in_the_middle_goes_on_in_another_process(titan: Replica):
    """Whoever had taken it is gone with its lease; the next one empties all packages, also those that were."""
    _, pair = await somebody(titan)
    user_id = UUID(pair.user_id)
    await erase(titan, pair)

    class Died(BaseException):
        """The process ends here."""

    titan.packages.failures[user_id] = [Died()]  # type: ignore[list-item]
    with pytest.raises(BaseExceptionGroup):
        await titan.erasures.run_due()
    other = another(titan)
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
