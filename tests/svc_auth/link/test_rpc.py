"""LinkService behind the real chain, on a real Postgres; the letters are read as svc_notify reads them."""

from __future__ import annotations

import asyncio
import base64
import statistics
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc

from svc_auth.factor import rules as factor_rules
from svc_auth.link import store
from svc_auth.sealing import LINKS, MasterKeyUnusable, Seal
from tests.harness import as_service, reason_of
from tests.svc_auth.conftest import BREACHED, PASSWORD, Replica, bearer, new_email, refused
from titan.auth.v1 import auth_service_pb2, events_pb2, link_pb2, second_factor_service_pb2, user_service_pb2
from titan.auth.v1 import link_service_pb2 as pb

NEW_PASSWORD = "three words in a row"
REQUESTED = "SELECT payload FROM outbox WHERE topic = $1 AND type LIKE '%.LinkRequested' ORDER BY seq"
NOTIFY = as_service("svc_notify")


async def forget(titan: Replica, email: str) -> None:
    """Ask for a reset, as anybody may, and let the link be made."""
    await titan.link.RequestPasswordReset(pb.RequestPasswordResetRequest(email=email))
    await titan.links.make_requested()


async def ask_to_verify(titan: Replica, pair: Any) -> None:
    """Ask for a link that verifies one's own address, and let it be made."""
    await titan.link.RequestEmailVerification(pb.RequestEmailVerificationRequest(), metadata=bearer(pair))
    await titan.links.make_requested()


async def events_of(titan: Replica, user_id: str) -> list[events_pb2.LinkRequested]:
    """Return the events of a user's links."""
    async with titan.db.hot_read() as connection:
        rows = await connection.fetch(REQUESTED, store.TOPIC)
    events = [events_pb2.LinkRequested.FromString(row["payload"]) for row in rows]
    return [event for event in events if event.user_id == user_id]


async def links_of(titan: Replica, *link_ids: str) -> list[pb.LinkResult]:
    answer = await titan.link.BatchGetLinks(pb.BatchGetLinksRequest(link_ids=link_ids), metadata=NOTIFY)
    return list(answer.results)


async def last_link(titan: Replica, user_id: str) -> link_pb2.Link:
    """Return what stands in the last letter to a user."""
    (result,) = await links_of(titan, (await events_of(titan, user_id))[-1].link_id)
    return result.link


async def reset(titan: Replica, token: str, password: str = NEW_PASSWORD) -> Any:
    return await titan.link.ResetPassword(pb.ResetPasswordRequest(token=token, password=password))


async def verify(titan: Replica, token: str) -> Any:
    return await titan.link.VerifyEmail(pb.VerifyEmailRequest(token=token))


async def me(titan: Replica, pair: Any) -> Any:
    return (await titan.user.GetMe(user_service_pb2.GetMeRequest(), metadata=bearer(pair))).user


async def test_a_forgotten_password_is_replaced(titan: Replica):
    """With the link of the letter; the address is verified by that. The old password opens nothing any more."""
    email, user_id = await titan.register()
    await forget(titan, email.upper())
    link = await last_link(titan, user_id)

    await reset(titan, link.token)

    assert (link_pb2.LINK_PURPOSE_PASSWORD_RESET, email) == (link.purpose, link.email)
    assert "CREDENTIALS_INVALID" == reason_of(await refused(titan.sign_in(email)))
    assert (await me(titan, await titan.sign_in(email, NEW_PASSWORD))).email_verified
    assert [("UserCreated", 1), ("UserUpdated", 2)] == await titan.events_of(user_id)
    assert [("PASSWORD_CHANGED", "")] == await titan.notices_of(user_id)


async def test_a_reset_ends_every_session_and_every_half_open_sign_in(titan: Replica):
    """Whoever knew the old password is out, with whatever it opened."""
    email, user_id = await titan.register()
    pairs = [await titan.sign_in(email) for _ in range(2)]
    await ask_to_verify(titan, pairs[0])
    await verify(titan, (await last_link(titan, user_id)).token)
    secret = await with_second_factor(titan, pairs[0])
    challenge = (await titan.sign_in(email)).challenge.challenge_token
    await forget(titan, email)

    await reset(titan, (await last_link(titan, user_id)).token)

    for pair in pairs:
        assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(pair.refresh_token)))
    await titan.feed.look()
    for pair in pairs:
        assert "SESSION_REVOKED" == reason_of(await refused(me(titan, pair)))
    request = auth_service_pb2.CompleteSessionRequest(challenge_token=challenge)
    request.proof.code = factor_rules.code_at(secret, factor_rules.step_of(titan.clock.now()) + 1)
    assert "CHALLENGE_INVALID" == reason_of(await refused(titan.auth.CompleteSession(request)))
    # and the second factor is asked for as before
    assert (await titan.sign_in(email, NEW_PASSWORD)).challenge.challenge_token


async def test_a_reset_ends_the_second_factor_of_a_stranger(titan: Replica):
    """Who registers with somebody else's address and adds a factor does not keep the reader of that address out."""
    email, user_id = await titan.register()
    await with_second_factor(titan, await titan.sign_in(email))
    await forget(titan, email)

    await reset(titan, (await last_link(titan, user_id)).token)

    assert (await titan.sign_in(email, NEW_PASSWORD)).access_token


async def test_a_code_that_races_a_reset_leaves_no_session(titan: Replica, monkeypatch):
    """Neither waits for the other in a circle: the reset comes after the sign-in, and ends what it opened."""
    email, user_id = await titan.register()
    secret = await with_second_factor(titan, await titan.sign_in(email))
    challenge = (await titan.sign_in(email)).challenge.challenge_token
    await forget(titan, email)
    token = (await last_link(titan, user_id)).token
    prove = titan.factors.prove
    resets: list[asyncio.Task[Any]] = []

    async def prove_slowly(tx: Any, *rest: Any) -> Any:
        amr = await prove(tx, *rest)
        resets.append(asyncio.create_task(reset(titan, token)))
        await until_somebody_waits(titan)
        return amr

    monkeypatch.setattr(titan.factors, "prove", prove_slowly)
    request = auth_service_pb2.CompleteSessionRequest(challenge_token=challenge)
    request.proof.code = factor_rules.code_at(secret, factor_rules.step_of(titan.clock.now()) + 1)
    pair = await titan.auth.CompleteSession(request)
    (racing,) = resets
    await racing

    assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(pair.refresh_token)))


async def until_somebody_waits(titan: Replica) -> None:
    """Wait until a transaction of this database waits for another one."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with asyncio.timeout(5), titan.db.hot_read() as connection:
        while not await connection.fetchval(waiting):
            await asyncio.sleep(0.01)


async def with_second_factor(titan: Replica, pair: Any) -> bytes:
    """Put a second factor into force, and return its secret."""
    enrol = second_factor_service_pb2.EnrolSecondFactorRequest(password=PASSWORD)
    answer = await titan.factor.EnrolSecondFactor(enrol, metadata=bearer(pair))
    secret = base64.b32decode(answer.secret)
    code = factor_rules.code_at(secret, factor_rules.step_of(titan.clock.now()))
    confirm = second_factor_service_pb2.ConfirmSecondFactorRequest(code=code)
    await titan.factor.ConfirmSecondFactor(confirm, metadata=bearer(pair))
    return secret


async def test_a_sign_in_that_races_a_reset_leaves_no_session(titan: Replica, monkeypatch):
    """The old password was right when it was checked, and is not when its session would be stored."""
    email, user_id = await titan.register()
    await forget(titan, email)
    token = (await last_link(titan, user_id)).token
    check = titan.passwords.verify

    async def check_slowly(encoded: str | None, password: str) -> bool:
        right = await check(encoded, password)
        if right:
            await reset(titan, token)
        return right

    monkeypatch.setattr(titan.passwords, "verify", check_slowly)
    error = await refused(titan.sign_in(email))

    assert "CREDENTIALS_INVALID" == reason_of(error)
    async with titan.db.hot_read() as connection:
        live = "SELECT count(*) FROM sessions WHERE user_id = $1 AND revoked_at IS NULL"
        assert 0 == await connection.fetchval(live, UUID(user_id))


async def test_a_reset_forgets_the_wrong_passwords(titan: Replica):
    """The owner has come, by another door."""
    email, user_id = await titan.register()
    for _ in range(10):
        await refused(titan.sign_in(email, "guess"))
    await forget(titan, email)

    await reset(titan, (await last_link(titan, user_id)).token)

    await titan.sign_in(email, NEW_PASSWORD)


async def test_an_address_is_verified_once(titan: Replica):
    """The user sees it, and there is an event."""
    email, user_id = await titan.register()
    pair = await titan.sign_in(email)
    assert not (await me(titan, pair)).email_verified
    await ask_to_verify(titan, pair)
    link = await last_link(titan, user_id)

    await verify(titan, link.token)

    assert (link_pb2.LINK_PURPOSE_EMAIL_VERIFICATION, email) == (link.purpose, link.email)
    user = await me(titan, pair)
    assert (True, "2") == (user.email_verified, user.etag)
    assert ("UserUpdated", 2) == (await titan.events_of(user_id))[-1]
    error = await refused(ask_to_verify(titan, pair))
    assert ("EMAIL_VERIFIED", grpc.StatusCode.FAILED_PRECONDITION) == (reason_of(error), error.code())


async def test_a_link_counts_once_for_its_purpose_and_for_half_an_hour(titan: Replica):
    """Unknown, used, meant for something else, or too old: all alike."""
    email, user_id = await titan.register()
    await ask_to_verify(titan, await titan.sign_in(email))
    verifying = (await last_link(titan, user_id)).token
    await forget(titan, email)
    resetting = (await last_link(titan, user_id)).token

    refusals = [await refused(verify(titan, resetting)), await refused(reset(titan, verifying))]
    await verify(titan, verifying)
    refusals += [await refused(verify(titan, verifying)), await refused(reset(titan, "no such link"))]
    await titan.later(1801)
    refusals.append(await refused(reset(titan, resetting)))

    for error in refusals:
        assert ("LINK_INVALID", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(error), error.code())
    await titan.sign_in(email)


async def test_of_two_that_follow_a_link_at_once_one_wins(titan: Replica):
    """The other is told that it was used."""
    email, user_id = await titan.register()
    await forget(titan, email)
    token = (await last_link(titan, user_id)).token

    answers = await asyncio.gather(*(reset(titan, token) for _ in range(3)), return_exceptions=True)

    refusals = [reason_of(answer) for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert ["LINK_INVALID", "LINK_INVALID"] == refusals


async def test_a_newer_link_ends_the_older_one(titan: Replica):
    """Only the last letter works, and the letter of the older link is not written any more."""
    email, user_id = await titan.register()
    await forget(titan, email)
    older = (await last_link(titan, user_id)).token
    await titan.later(60)
    await forget(titan, email)

    first, second = await links_of(titan, *(event.link_id for event in await events_of(titan, user_id)))

    assert (False, True) == (first.HasField("link"), second.HasField("link"))
    assert "LINK_INVALID" == reason_of(await refused(reset(titan, older)))
    await reset(titan, second.link.token)


async def test_asking_again_within_a_minute_sends_nothing(titan: Replica):
    """Also when both come at once, and the link that was sent stays good."""
    email, user_id = await titan.register()
    await asyncio.gather(
        *(titan.link.RequestPasswordReset(pb.RequestPasswordResetRequest(email=email)) for _ in range(3))
    )
    await asyncio.gather(*(titan.links.make_requested() for _ in range(3)))
    await titan.later(59)
    await forget(titan, email)

    assert 1 == len(await events_of(titan, user_id))
    await reset(titan, (await last_link(titan, user_id)).token)


async def test_nobody_keeps_replacing_the_link_that_its_owner_is_about_to_follow(titan: Replica):
    """Three letters in half an hour, then no more: the third link stays good, and once it was used there are others."""
    email, user_id = await titan.register()
    try:
        for _ in range(5):
            await forget(titan, email)
            await titan.later(60)
        assert 3 == len(await events_of(titan, user_id))

        await reset(titan, (await last_link(titan, user_id)).token)
        await forget(titan, email)

        assert 4 == len(await events_of(titan, user_id))
    finally:
        await titan.later(-300)


async def test_a_weak_password_leaves_the_link(titan: Replica):
    """The user chooses another one; nothing has changed until then."""
    email, user_id = await titan.register()
    await forget(titan, email)
    token = (await last_link(titan, user_id)).token

    for weak in ("password123", email, BREACHED, "Lovelace", "short"):
        assert "PASSWORD_TOO_WEAK" == reason_of(await refused(reset(titan, token, weak)))
    await titan.sign_in(email)
    await reset(titan, token)


async def test_an_unknown_address_is_answered_like_a_known_one(titan: Replica):
    """In the same time as well: each leaves one row, and nothing is sent to nobody."""
    known = (await titan.register())[0]
    taken: dict[str, list[float]] = {"known": [], "unknown": []}
    for _ in range(30):
        for kind, email in (("known", known), ("unknown", new_email())):
            began = time.perf_counter()
            answer = await titan.link.RequestPasswordReset(pb.RequestPasswordResetRequest(email=email))
            taken[kind].append(time.perf_counter() - began)
            assert pb.RequestPasswordResetResponse() == answer

    assert 0.67 < statistics.median(taken["known"]) / statistics.median(taken["unknown"]) < 1.5
    async with titan.db.hot_read() as connection:
        requests = "SELECT count(*), count(user_id) FROM link_requests"
        assert (60, 30) == tuple(await connection.fetchrow(requests))
    assert 60 == await titan.links.make_requested()
    assert 0 == await titan.links.make_requested()


async def test_a_request_of_a_user_who_is_gone_holds_up_nobody(titan: Replica):
    """The others' links are made in the same round."""
    email, user_id = await titan.register()
    async with titan.db.hot() as tx:
        await tx.execute(
            "INSERT INTO link_requests (request_id, user_id, purpose, requested_at) VALUES ($1, $1, $2, $3)",
            uuid4(),
            "PASSWORD_RESET",
            titan.clock.now(),
        )

    await forget(titan, email)

    assert 1 == len(await events_of(titan, user_id))


async def test_the_accounts_of_the_house_are_sent_nothing(titan: Replica):
    """Their passwords are in secret files, and their addresses no mailboxes."""
    admin = await titan.sign_in("admin@titan.local", "an administrator's long secret")

    await forget(titan, "admin@titan.local")

    assert [] == await events_of(titan, admin.user_id)


async def test_a_guest_has_no_address_to_verify(titan: Replica):
    """It comes with the registration."""
    error = await refused(ask_to_verify(titan, await titan.guest()))

    assert ("NOT_REGISTERED", grpc.StatusCode.FAILED_PRECONDITION) == (reason_of(error), error.code())


async def test_a_token_of_nobody_verifies_nothing(titan: Replica):
    """A token outlives its user for ten minutes at most."""
    from svc_auth.auth.rules import Subject

    gone = titan.sessions._issuer.access_token(Subject(uuid4(), False), session_id=uuid4())
    metadata = (("authorization", f"Bearer {gone}"),)
    call = titan.link.RequestEmailVerification(pb.RequestEmailVerificationRequest(), metadata=metadata)

    assert "USER_NOT_FOUND" == reason_of(await refused(call))


async def test_whoever_acts_for_a_customer_verifies_nothing(titan: Replica, importer):
    """It would look as if the user had asked."""
    exchange = auth_service_pb2.ExchangeTokenRequest(subject_user_id=(await titan.guest()).user_id)
    acting = await titan.auth.ExchangeToken(exchange, metadata=bearer(importer))

    assert "ACCESS_DENIED" == reason_of(await refused(ask_to_verify(titan, acting)))


async def test_only_the_letter_writer_reads_links(titan: Replica):
    """Neither the edge nor a user, not even their own."""
    email, user_id = await titan.register()
    await forget(titan, email)
    (event,) = await events_of(titan, user_id)
    request = pb.BatchGetLinksRequest(link_ids=[event.link_id])

    for metadata in (bearer(await titan.sign_in(email)), as_service("edge_http"), ()):
        error = await refused(titan.link.BatchGetLinks(request, metadata=metadata))
        assert reason_of(error) in ("ACCESS_DENIED", "UNAUTHENTICATED")


async def test_links_are_answered_in_the_order_of_the_request(titan: Replica):
    """An unknown one is a result without a link, and asking again gives the same."""
    email, user_id = await titan.register()
    await forget(titan, email)
    (event,) = await events_of(titan, user_id)
    unknown = str(uuid4())

    first, second = await links_of(titan, unknown, event.link_id), await links_of(titan, unknown, event.link_id)

    assert first == second
    assert [(unknown, False), (event.link_id, True)] == [(each.link_id, each.HasField("link")) for each in first]
    assert 43 == len(first[1].link.token)


async def test_neither_database_nor_event_holds_token_or_address(titan: Replica, tmp_path: Path):
    """The token is sealed under the id of its link until it is used, and then forgotten."""
    email, user_id = await titan.register()
    await forget(titan, email)
    link = await last_link(titan, user_id)
    (event,) = await events_of(titan, user_id)

    async with titan.db.hot_read() as connection:
        row = await connection.fetchrow("SELECT * FROM links WHERE link_id = $1", UUID(event.link_id))
        payloads = [each["payload"] for each in await connection.fetch("SELECT payload FROM outbox")]
    for text in (link.token.encode(), email.encode()):
        assert not any(text in stored for stored in (*payloads, row["sealed_token"], row["token_hash"]))
    for seal, name in ((Seal.of_folder(tmp_path, LINKS), event.link_id), (titan.links._seal, str(uuid4()))):
        try:
            seal.open(name, row["sealed_token"])
            raise AssertionError("it opened")
        except MasterKeyUnusable:
            pass
    await reset(titan, link.token)
    async with titan.db.hot_read() as connection:
        sealed = "SELECT sealed_token FROM links WHERE link_id = $1"
        assert await connection.fetchval(sealed, UUID(event.link_id)) is None


async def test_links_are_made_without_being_waited_for(titan: Replica):
    """A request wakes the work in the background."""
    email, user_id = await titan.register()
    following = asyncio.create_task(titan.links.follow())
    try:
        await titan.link.RequestPasswordReset(pb.RequestPasswordResetRequest(email=email))
        async with asyncio.timeout(1.5):  # sooner than the next look at the table
            while not await events_of(titan, user_id):
                await asyncio.sleep(0.02)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_old_links_are_forgotten(titan: Replica):
    """A day after their time; younger ones stay."""
    email, user_id = await titan.register()
    await forget(titan, email)
    (event,) = await events_of(titan, user_id)

    async def left(*, seconds: float) -> int:
        async with titan.db.hot() as tx:
            at = titan.clock.now().fromtimestamp(titan.clock.now().timestamp() + seconds, tz=titan.clock.now().tzinfo)
            await store.prune(tx, at=at, limit=1000)
            count: int = await tx.fetchval("SELECT count(*) FROM links WHERE link_id = $1", UUID(event.link_id))
            return count

    assert [1, 0] == [await left(seconds=86_400), await left(seconds=86_400 + 1801)]
