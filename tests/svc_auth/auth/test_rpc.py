"""AuthService behind the real chain, on a real Postgres."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import grpc
import jwt
import pytest

from mesh.database import Database
from mesh.identity import key_of_jwk
from mesh.refusals import SessionRevoked
from svc_auth.auth import attempt_store, key_store, store
from svc_auth.auth.rules import Attempts
from svc_auth.clock import DatabaseClock
from svc_auth.errors import CredentialsInvalid, RefreshTokenInvalid
from svc_auth.settings import Settings
from tests.harness import as_service, in_call_of, reason_of, refusal_in
from tests.svc_auth.conftest import PASSWORD, Replica, ShiftedClock, bearer, build_replica, new_email, refused
from titan.auth.v1 import auth_service_pb2 as pb

KEY_NOTICE = Settings().key_notice_seconds


async def test_a_registered_user_signs_in_in_any_letter_case(titan: Replica):
    """The answer names the user, and its token is good for a customer of this cell."""
    email, user_id = await titan.register()

    session = await titan.sign_in(email.upper())

    caller = titan.caller(session.access_token)
    assert (user_id, 600) == (session.user_id, session.expires_in_seconds)
    assert (UUID(user_id), frozenset({"customer"}), False) == (caller.user_id, caller.roles, caller.is_guest)
    assert {"alg": "ES256", "typ": "at+jwt"}.items() <= jwt.get_unverified_header(session.access_token).items()


async def test_a_wrong_password_and_an_unknown_address_look_alike(titan: Replica):
    """Nobody learns from the answer who is registered."""
    email, _ = await titan.register()
    unknown = new_email()

    wrong = await refused(titan.sign_in(email, "not the password"))
    nobody = await refused(titan.sign_in(unknown, "not the password"))

    assert "CREDENTIALS_INVALID" == reason_of(wrong) == reason_of(nobody)
    assert (grpc.StatusCode.UNAUTHENTICATED, wrong.details()) == (nobody.code(), nobody.details())


async def test_guessing_for_days_keeps_the_owner_out_for_a_minute_at_most(titan: Replica):
    """Nobody is locked out for good by somebody who knows their address."""
    email, _ = await titan.register()
    blocked = Attempts(10_000, titan.clock.now(), titan.clock.now())
    async with titan.db.hot() as tx:
        await attempt_store.lock_attempts(tx, titan.index.email(email).newest, at=titan.clock.now())
        await attempt_store.save_attempts(tx, titan.index.email(email).newest, blocked)

    await refused(titan.sign_in(email, "guess"))
    throttled = await refused(titan.sign_in(email))
    async with titan.db.hot() as tx:  # a minute goes by
        minute = "UPDATE sign_in_attempts SET blocked_until = blocked_until - interval '60 s' WHERE email_hash = $1"
        await tx.execute(minute, titan.index.email(email).newest)

    assert "SIGN_IN_THROTTLED" == reason_of(throttled)
    assert 50 < refusal_in(throttled).retry_after_seconds <= 60
    await titan.sign_in(email)


async def test_the_eleventh_guess_waits_even_with_the_right_password(titan: Replica):
    """Guesses sent all at once are counted like guesses in a row; after the delay the owner comes in."""
    email, _ = await titan.register()
    guesses = await asyncio.gather(*(refused(titan.sign_in(email, f"guess {n}")) for n in range(12)))

    throttled = await refused(titan.sign_in(email))

    reasons = [reason_of(guess) for guess in guesses]
    assert (10, 2) == (reasons.count("CREDENTIALS_INVALID"), reasons.count("SIGN_IN_THROTTLED"))
    assert ("SIGN_IN_THROTTLED", grpc.StatusCode.RESOURCE_EXHAUSTED) == (reason_of(throttled), throttled.code())
    assert 0 < refusal_in(throttled).retry_after_seconds <= 1
    titan.clock.advance(1.1)
    await titan.sign_in(email)
    assert "CREDENTIALS_INVALID" == reason_of(await refused(titan.sign_in(email, "a first mistake")))


async def test_an_unknown_address_is_throttled_like_a_known_one(titan: Replica):
    """A throttle that only real addresses have would tell which are real."""
    email = new_email()
    for _ in range(10):
        await refused(titan.sign_in(email, "guess"))

    assert "SIGN_IN_THROTTLED" == reason_of(await refused(titan.sign_in(email, "guess")))


async def test_two_sign_ins_at_once_both_meet_the_hash_of_old_parameters(titan: Replica, monkeypatch):
    """One of them makes it anew, and the other one's password is as right as before."""
    from argon2 import PasswordHasher

    email, user_id = await titan.register()
    old = PasswordHasher(time_cost=1, memory_cost=8_192, parallelism=1).hash(PASSWORD)
    async with titan.db.hot() as tx:
        await tx.execute("UPDATE users SET password_hash = $2 WHERE user_id = $1", UUID(user_id), old)
    hash_anew, both = titan.passwords.hash, asyncio.Barrier(2)

    async def hash_together(password: str) -> str:
        await both.wait()
        return await hash_anew(password)

    monkeypatch.setattr(titan.passwords, "hash", hash_together)
    pairs = await asyncio.gather(titan.sign_in(email), titan.sign_in(email))

    assert 2 == len({pair.access_token for pair in pairs})


async def test_guests_that_come_together_are_users_of_their_own(titan: Replica):
    """Each has a session, a token of a guest, and one event."""
    guests = await asyncio.gather(*(titan.guest() for _ in range(20)))

    callers = [titan.caller(guest.access_token) for guest in guests]
    assert 20 == len({caller.user_id for caller in callers}) == len({caller.session_id for caller in callers})
    assert all(caller.is_guest and caller.roles == {"guest"} for caller in callers)
    assert [("UserCreated", 1)] == await titan.events_of(guests[0].user_id)


async def test_a_refresh_token_buys_one_pair(titan: Replica):
    """The session stays; both tokens are new."""
    first = await titan.guest()

    second = await titan.refresh(first.refresh_token)
    third = await titan.refresh(second.refresh_token)

    sessions = {titan.caller(pair.access_token).session_id for pair in (first, second, third)}
    assert 1 == len(sessions)
    assert 3 == len({pair.refresh_token for pair in (first, second, third)})


async def test_a_spent_refresh_token_ends_the_whole_session(titan: Replica):
    """Two hold it, and nobody can say which is the user: neither goes on."""
    first = await titan.guest()
    second = await titan.refresh(first.refresh_token)

    reused = await refused(titan.refresh(first.refresh_token))

    assert ("REFRESH_TOKEN_INVALID", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(reused), reused.code())
    assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(second.refresh_token)))
    await titan.feed.look()
    with pytest.raises(SessionRevoked):
        titan.caller(second.access_token)
    async with titan.db.hot_read() as connection:
        query = "SELECT reason FROM audit_entries WHERE outcome = 'DENIED' AND actor_id = $1"
        denied = [row["reason"] for row in await connection.fetch(query, UUID(first.user_id))]
    assert ["REFRESH_TOKEN_INVALID"] == denied, "the theft stands in the log, once"


async def test_of_two_refreshes_at_once_one_wins_and_the_session_ends(titan: Replica):
    """The race of a thief against the user is a reuse, whoever comes first."""
    first = await titan.guest()

    answers = await asyncio.gather(*(titan.refresh(first.refresh_token) for _ in range(4)), return_exceptions=True)

    pairs = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert 1 == len(pairs)
    assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(pairs[0].refresh_token)))


async def test_sign_ins_are_logged_good_and_bad(titan: Replica, capsys: pytest.CaptureFixture[str]):
    """In which way, with what came of it, and nothing of what was typed."""
    email, _ = await titan.register()
    capsys.readouterr()
    await titan.sign_in(email)
    await refused(titan.sign_in(email, "a slip of the finger"))

    written = capsys.readouterr().out
    lines = [json.loads(line) for line in written.splitlines()]
    assert [("OK", None), ("UNAUTHENTICATED", "CREDENTIALS_INVALID")] == [
        (line["status"], line.get("reason"))
        for line in lines
        if line.get("method") == "titan.auth.v1.AuthService.CreateSession"
    ]
    assert email not in written and "slip" not in written


async def test_unknown_and_expired_refresh_tokens_are_refused(titan: Replica):
    """A month without a visit ends a session by itself."""
    guest = await titan.guest()
    async with titan.db.hot() as tx:
        await tx.execute(
            "UPDATE refresh_tokens SET expires_at = $2 WHERE token_hash = $1",
            store.token_hash(guest.refresh_token),
            titan.clock.now() - timedelta(seconds=1),
        )

    assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(guest.refresh_token)))
    assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh("no such token")))


async def test_a_session_lasts_ninety_days_at_most(titan: Replica):
    """A thief who refreshes in time, each time, is out then; the owner signs in again."""
    email, _ = await titan.register()
    pair, ahead = await titan.sign_in(email), titan.clock.ahead
    try:
        for days in (29, 29, 29, 2):
            await titan.later(days * 86_400)
            pair = await titan.refresh(pair.refresh_token)
        listed = await titan.auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(pair))
        (session,) = listed.sessions
        assert timedelta(days=90) == session.expire_time.ToDatetime() - session.create_time.ToDatetime()

        await titan.later(86_400)
        error = await refused(titan.refresh(pair.refresh_token))

        assert ("REFRESH_TOKEN_INVALID", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(error), error.code())
        assert (await titan.sign_in(email)).access_token
    finally:
        await titan.later((ahead - titan.clock.ahead).total_seconds())


async def test_the_clock_of_the_database_ends_a_session(titan: Replica, auth_secrets: Path):
    """A process whose own clock is an hour behind goes by what the database told it."""
    pair = await titan.sign_in((await titan.register())[0])
    own = ShiftedClock()
    own.advance(-3600)
    behind = await build_replica(titan.db, auth_secrets, DatabaseClock(own))
    since = "UPDATE sessions SET created_at = now() - make_interval(days => 90) WHERE user_id = $1"
    async with titan.db.hot() as tx:
        await tx.execute(since, UUID(pair.user_id))

    with in_call_of("titan.auth.v1.AuthService.RefreshSession"), pytest.raises(RefreshTokenInvalid):
        await behind.sessions.refresh(pair.refresh_token)
    behind.passwords.close()


async def test_no_refresh_token_is_stored(titan: Replica):
    """A copy of the database opens no session."""
    guest = await titan.guest()

    async with titan.db.hot_read() as connection:
        found = await connection.fetch("SELECT token_hash FROM refresh_tokens")
    assert store.token_hash(guest.refresh_token) in {row["token_hash"] for row in found}
    assert all(guest.refresh_token.encode() not in row["token_hash"] for row in found)


async def test_signing_out_ends_the_session_and_twice_is_safe(titan: Replica):
    """An unknown token is answered alike."""
    guest = await titan.guest()

    await titan.revoke(guest.refresh_token)
    await titan.revoke(guest.refresh_token)
    await titan.revoke("no such token")

    assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(guest.refresh_token)))
    await titan.feed.look()
    from titan.auth.v1 import user_service_pb2

    me = await refused(titan.user.GetMe(user_service_pb2.GetMeRequest(), metadata=bearer(guest)))
    assert "SESSION_REVOKED" == reason_of(me)


async def test_every_replica_tells_its_followers_of_an_ended_session(titan: Replica, auth_secrets):
    """A session that ends in one process is known to the followers of another within a second."""
    other = await build_replica(titan.db, auth_secrets)
    following = asyncio.create_task(other.feed.follow())
    stream = other.feed.watch()
    await anext(stream)
    guest = await titan.guest()
    session_id = titan.caller(guest.access_token).session_id

    await titan.revoke(guest.refresh_token)

    async with asyncio.timeout(1):
        while True:
            news = await anext(stream)
            if session_id in {ended.session_id for ended in news.ended}:
                break
    with pytest.raises(SessionRevoked):
        other.caller(guest.access_token)
    await stream.aclose()
    following.cancel()
    other.passwords.close()


@pytest.mark.parametrize("minutes", [-10, 10])
async def test_clocks_that_disagree_hide_no_ended_session(auth_db: Database, auth_secrets: Path, minutes: int):
    """One replica's clock is ten minutes off: what ends there is known to the other's followers within a second, and
    the other way around, and whoever comes later hears of both."""
    right, wrong = await build_replica(auth_db, auth_secrets), await build_replica(auth_db, auth_secrets)
    wrong.clock.ahead = timedelta(minutes=minutes)
    followers = [each.feed.watch() for each in (right, wrong)]
    following = [asyncio.create_task(each.feed.follow()) for each in (right, wrong)]
    try:
        for stream in followers:
            await anext(stream)
        with in_call_of("titan.auth.v1.AuthService.CreateGuestSession"):
            here, there = await right.sessions.open_guest(), await right.sessions.open_guest()
        ended = {right.caller(pair.access_token).session_id for pair in (here, there)}

        with in_call_of("titan.auth.v1.AuthService.RevokeSession"):
            await right.sessions.revoke(here.refresh_token)
            await wrong.sessions.revoke(there.refresh_token)

        async with asyncio.timeout(1):
            for stream in followers:
                heard: set[UUID] = set()
                while not ended <= heard:
                    heard |= {each.session_id for each in (await anext(stream)).ended}
        for pair in (here, there):
            with pytest.raises(SessionRevoked):
                right.caller(pair.access_token)
        for replica in (right, wrong, late := await build_replica(auth_db, auth_secrets)):
            first = await anext(replica.feed.watch())
            assert ended <= {each.session_id for each in first.ended}
            assert all(each.forget_at > first.as_of for each in first.ended)
        late.passwords.close()
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        for replica in (right, wrong):
            replica.passwords.close()


@pytest.mark.parametrize("minutes", [-10, 10])
async def test_tokens_are_stamped_by_the_clock_of_the_database(auth_db: Database, auth_secrets: Path, minutes: int):
    """A process whose own clock is ten minutes off makes tokens that count everywhere, and for ten minutes from now."""
    right = await build_replica(auth_db, auth_secrets)
    own = ShiftedClock()
    own.advance(60 * minutes)
    wrong = await build_replica(auth_db, auth_secrets, DatabaseClock(own))

    with in_call_of("titan.auth.v1.AuthService.CreateGuestSession"):
        pair = await wrong.sessions.open_guest()

    assert right.caller(pair.access_token).user_id == pair.user_id
    claims = jwt.decode(pair.access_token, options={"verify_signature": False})
    assert abs(claims["exp"] - 600 - right.clock.now().timestamp()) < 5
    for replica in (right, wrong):
        replica.passwords.close()


async def test_a_new_follower_hears_all_that_matters_and_then_heartbeats(titan: Replica):
    """Its view has an age even while nothing happens; what is older than a token's life is left out."""
    guest, forgotten = await titan.guest(), await titan.guest()
    ended = titan.caller(guest.access_token).session_id
    old = titan.caller(forgotten.access_token).session_id
    await titan.revoke(guest.refresh_token)
    async with titan.db.hot() as tx:
        await store.save_revoked(tx, old, reason="SIGNED_OUT")
        await tx.execute("UPDATE sessions SET revoked_at = now() - interval '1 hour' WHERE session_id = $1", old)
    await titan.feed.look()
    following = asyncio.create_task(titan.feed.follow())
    call = titan.auth.WatchRevocations(pb.WatchRevocationsRequest(), metadata=as_service("svc_cart"))

    async with asyncio.timeout(3):
        first, second = await call.read(), await call.read()

    told = {revocation.session_id: revocation for revocation in first.revocations}
    assert str(ended) in told and str(old) not in told
    assert 660 == told[str(ended)].expire_time.seconds - told[str(ended)].revoke_time.seconds
    assert second.as_of_time.ToDatetime() > first.as_of_time.ToDatetime()
    call.cancel()
    following.cancel()


async def test_only_packages_follow_revocations(titan: Replica):
    """Neither a shopper nor the edge may list sessions."""
    guest = await titan.guest()
    for metadata in (bearer(guest), as_service("edge_http")):
        call = titan.auth.WatchRevocations(pb.WatchRevocationsRequest(), metadata=metadata)
        assert "ACCESS_DENIED" == reason_of(await refused(call.read()))


async def test_the_importer_acts_for_a_customer_and_it_is_recorded(titan: Replica, importer):
    """The token names both, counts as the customer's, and ends with the importer's session."""
    guest = await titan.guest()
    request = pb.ExchangeTokenRequest(subject_user_id=guest.user_id)

    exchanged = await titan.auth.ExchangeToken(request, metadata=bearer(importer))

    caller, actor = titan.caller(exchanged.access_token), titan.caller(importer.access_token)
    assert (UUID(guest.user_id), actor.user_id, True) == (caller.user_id, caller.actor_id, caller.is_guest)
    assert ({"guest", "importer"}, actor.session_id) == (caller.roles, caller.session_id)
    async with titan.db.hot_read() as connection:
        row = await connection.fetchrow("SELECT * FROM token_exchanges WHERE subject_id = $1", UUID(guest.user_id))
    assert (actor.user_id, actor.session_id) == (row["actor_id"], row["session_id"])
    again = await refused(titan.auth.ExchangeToken(request, metadata=bearer(exchanged)))
    assert "ACCESS_DENIED" == reason_of(again)


async def test_nobody_acts_for_the_unknown_or_for_those_with_roles(titan: Replica, importer):
    """An importer who could become an administrator would be one."""
    admin = await titan.sign_in("admin@titan.local", "an administrator's long secret")
    for subject in (str(uuid4()), admin.user_id, importer.user_id):
        request = pb.ExchangeTokenRequest(subject_user_id=subject)
        error = await refused(titan.auth.ExchangeToken(request, metadata=bearer(importer)))
        assert ("USER_NOT_FOUND", grpc.StatusCode.NOT_FOUND) == (reason_of(error), error.code())


async def test_customers_exchange_nothing_and_rotate_nothing(titan: Replica, importer):
    """Both need a role."""
    guest = await titan.guest()
    exchange = pb.ExchangeTokenRequest(subject_user_id=guest.user_id)

    assert "ACCESS_DENIED" == reason_of(await refused(titan.auth.ExchangeToken(exchange, metadata=bearer(guest))))
    rotate = pb.RotateSigningKeyRequest()
    assert "ACCESS_DENIED" == reason_of(await refused(titan.auth.RotateSigningKey(rotate, metadata=bearer(importer))))
    assert "UNAUTHENTICATED" == reason_of(await refused(titan.auth.RotateSigningKey(rotate)))


async def test_a_new_key_is_published_before_it_signs_and_old_tokens_stay_good(titan: Replica, auth_secrets):
    """A verifier that reads the key set every five seconds never meets a key that it does not know."""
    admin = await titan.sign_in("admin@titan.local", "an administrator's long secret")
    other = await build_replica(titan.db, auth_secrets)
    before = await titan.guest()

    rotated = await titan.auth.RotateSigningKey(pb.RotateSigningKeyRequest(), metadata=bearer(admin))
    again = await titan.auth.RotateSigningKey(pb.RotateSigningKeyRequest(), metadata=bearer(admin))
    jwks = await titan.auth.GetJwks(pb.GetJwksRequest())
    meanwhile = await titan.guest()

    def kid_of(pair: object) -> str:
        return jwt.get_unverified_header(pair.access_token)["kid"]  # type: ignore[attr-defined]

    notice = rotated.sign_time.ToDatetime() - titan.clock.now().replace(tzinfo=None)
    assert again.key.kid == rotated.key.kid == jwks.keys[0].kid
    assert KEY_NOTICE - 3 < notice.total_seconds() <= KEY_NOTICE
    assert kid_of(before) == kid_of(meanwhile) != rotated.key.kid
    await other.keeper.load()
    titan.clock.advance(KEY_NOTICE)
    other.clock.ahead = titan.clock.ahead
    after = await titan.guest()
    assert rotated.key.kid == kid_of(after)
    for pair in (before, after):
        assert UUID(pair.user_id) == titan.caller(pair.access_token).user_id == other.caller(pair.access_token).user_id
    other.passwords.close()


async def test_published_keys_verify_and_hold_no_secret(titan: Replica):
    """Any JOSE library verifies a token with what is published (RFC 7517)."""
    guest = await titan.guest()
    jwks = await titan.auth.GetJwks(pb.GetJwksRequest())
    fields = ("kid", "kty", "crv", "x", "y", "alg", "use")
    keys = {key.kid: {name: getattr(key, name) for name in fields} for key in jwks.keys}

    kid = jwt.get_unverified_header(guest.access_token)["kid"]
    claims = jwt.decode(
        guest.access_token,
        key_of_jwk(keys[kid]).key,
        ["ES256"],
        audience="titan",
        issuer="https://titan.local",
        leeway=120,  # other tests of this module have moved the clock
    )

    assert guest.user_id == claims["sub"]
    assert {"d"}.isdisjoint(jwks.keys[0].DESCRIPTOR.fields_by_name)


async def test_replicas_that_start_together_agree_on_the_first_key(fresh_database, auth_secrets):
    """The lock lets one of them make it."""
    from mesh.database import Database

    db = await Database.connect(await fresh_database("svc_auth"), pool_size=8, name="svc_auth")
    replicas = await asyncio.gather(*(build_replica(db, auth_secrets) for _ in range(4)))

    kids = {replica.ring.published(at=replica.clock.now())[0].kid for replica in replicas}

    assert 1 == len(kids)
    for replica in replicas:
        replica.passwords.close()
    await db.close()


async def test_a_key_that_has_served_its_day_is_replaced_by_itself(titan: Replica, auth_secrets):
    """Nobody has to remember to rotate; retired keys are forgotten."""
    replica = await build_replica(titan.db, auth_secrets)
    before = replica.ring.published(at=replica.clock.now())[0].kid

    replica.clock.ahead = timedelta(days=2)
    await replica.keeper.load()

    keys = replica.ring.published(at=replica.clock.now())
    assert [True, False] == [key.kid != before for key in keys[:2]]
    assert keys[0].sign_at > replica.clock.now()
    async with titan.db.hot() as tx:
        # The key belongs to a day that is not yet: the tests that follow must not wait for it.
        await tx.execute("DELETE FROM signing_keys WHERE kid = $1", keys[0].kid)
    replica.passwords.close()


async def test_what_has_had_its_time_is_forgotten_and_nothing_else(fresh_database, auth_secrets):
    """Expired sessions, old tries and retired keys go; what lives stays."""
    from mesh.database import Database

    db = await Database.connect(await fresh_database("svc_auth"), pool_size=4, name="svc_auth")
    replica = await build_replica(db, auth_secrets)
    with in_call_of("titan.auth.v1.AuthService.CreateGuestSession"):
        await replica.sessions.open_guest()
    with pytest.raises(CredentialsInvalid):
        await replica.sessions.sign_in(new_email(), "guess")
    replica.clock.advance(86_400)
    await replica.keeper.rotate()

    async def left(*, days: int) -> list[int]:
        async with db.hot() as tx:
            for each in (attempt_store, key_store, store):
                await each.prune(tx, at=replica.clock.now() + timedelta(days=days))
            tables = ("sessions", "refresh_tokens", "sign_in_attempts", "signing_keys")
            return [await tx.fetchval(f"SELECT count(*) FROM {table}") for table in tables]

    assert [1, 1, 0, 2] == await left(days=0)
    assert [0, 0, 0, 1] == await left(days=31)
    replica.passwords.close()
    await db.close()
