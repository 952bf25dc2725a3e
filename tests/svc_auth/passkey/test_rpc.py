"""PasskeyService behind the real chain, on a real Postgres, with a software authenticator."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import grpc
import jwt
import pytest

from svc_auth.passkey import store
from svc_auth.user import store as user_store
from tests.harness import reason_of
from tests.svc_auth.conftest import Replica, bearer, nobody, refused
from tests.svc_auth.passkey.authenticator import (
    BACKED_UP,
    BACKUP_ELIGIBLE,
    ORIGIN,
    PRESENT,
    VERIFIED,
    Authenticator,
    decoded,
    encoded,
)
from titan.auth.v1 import auth_service_pb2
from titan.auth.v1 import passkey_service_pb2 as pb


async def ask_to_register(titan: Replica, pair: Any) -> str:
    answer = await titan.passkey.StartPasskeyRegistration(pb.StartPasskeyRegistrationRequest(), metadata=bearer(pair))
    return answer.options.options_json


async def create(titan: Replica, pair: Any, credential_json: str, name: str = "my phone") -> Any:
    request = pb.CreatePasskeyRequest(credential_json=credential_json, name=name)
    return (await titan.passkey.CreatePasskey(request, metadata=bearer(pair))).passkey


async def register(titan: Replica, pair: Any, device: Authenticator) -> Any:
    return await create(titan, pair, device.create(await ask_to_register(titan, pair)))


async def ask(titan: Replica) -> str:
    answer = await titan.passkey.StartPasskeySignIn(pb.StartPasskeySignInRequest())
    assert 300 == answer.options.expires_in_seconds
    return answer.options.options_json


async def show(titan: Replica, credential_json: str) -> Any:
    request = pb.CompletePasskeySignInRequest(credential_json=credential_json, client_name="Safari")
    return await titan.passkey.CompletePasskeySignIn(request)


async def sign_in(titan: Replica, device: Authenticator) -> Any:
    return await show(titan, device.get(await ask(titan)))


async def delete(titan: Replica, pair: Any, passkey_id: str) -> Any:
    return await titan.passkey.DeletePasskey(pb.DeletePasskeyRequest(passkey_id=passkey_id), metadata=bearer(pair))


async def passkeys(titan: Replica, pair: Any) -> list[Any]:
    return list((await titan.passkey.ListPasskeys(pb.ListPasskeysRequest(), metadata=bearer(pair))).passkeys)


async def new_user(titan: Replica) -> Any:
    """Return the pair of a user who signed in with a password just now."""
    return await titan.sign_in((await titan.register())[0])


async def test_a_passkey_signs_in_without_address_and_password(titan: Replica):
    """The session says how it was opened, also after a refresh; nothing else is asked for."""
    pair, device = await new_user(titan), Authenticator()
    await titan.verified(pair.user_id)

    made = await register(titan, pair, device)
    opened = await sign_in(titan, device)

    assert pair.user_id == opened.user_id and "my phone" == made.name
    assert [("PASSKEY_ADDED", "")] == await titan.notices_of(pair.user_id)
    refreshed = await titan.refresh(opened.refresh_token)
    for token in (opened.access_token, refreshed.access_token):
        assert ["pop", "user", "mfa"] == jwt.decode(token, options={"verify_signature": False})["amr"]
    sessions = await titan.auth.ListSessions(auth_service_pb2.ListSessionsRequest(), metadata=bearer(opened))
    assert "Safari" in [session.client_name for session in sessions.sessions]
    (listed,) = await passkeys(titan, opened)
    assert not made.HasField("last_use_time") and listed.HasField("last_use_time")


async def test_a_passkey_opens_the_roles_of_the_house(titan: Replica):
    """It is two factors; the password of the same user opens none of them."""
    email, user_id = await titan.register()
    await titan.given(user_id, "finance")
    device, pair = Authenticator(), await titan.sign_in(email)

    await register(titan, pair, device)
    opened = await sign_in(titan, device)

    assert {"customer", "finance"} == titan.caller(opened.access_token).roles
    assert {"customer"} == titan.caller((await titan.sign_in(email)).access_token).roles
    assert {"customer"} == titan.caller((await titan.refresh(pair.refresh_token)).access_token).roles


async def test_a_browser_is_asked_for_a_verified_user_and_a_discoverable_key(titan: Replica):
    """Nothing in the question tells who signs in; a device that has a key makes no second one."""
    pair, device = await new_user(titan), Authenticator()
    made = await register(titan, pair, device)

    creation, request = json.loads(await ask_to_register(titan, pair)), json.loads(await ask(titan))

    assert ("required", "required") == (
        creation["authenticatorSelection"]["residentKey"],
        creation["authenticatorSelection"]["userVerification"],
    )
    assert ("shop.titan.local", "none") == (creation["rp"]["id"], creation["attestation"])
    assert [encoded(device.keys[0].credential_id)] == [each["id"] for each in creation["excludeCredentials"]]
    assert ("shop.titan.local", "required", []) == (
        request["rpId"],
        request["userVerification"],
        request.get("allowCredentials", []),
    )
    assert 32 == len(decoded(request["challenge"])) and made.passkey_id


async def test_keys_in_several_places_do_not_count(titan: Replica):
    """A password manager shows 0 each time; the list says that the key is backed up."""
    pair = await new_user(titan)
    device = Authenticator(flags=PRESENT | VERIFIED | BACKUP_ELIGIBLE | BACKED_UP, counts=False)
    assert (await register(titan, pair, device)).backed_up

    for _ in range(2):
        await sign_in(titan, device)


async def test_a_copied_key_is_found_out(titan: Replica):
    """Of two with one counter, the one that is behind is refused, and the other goes on."""
    pair, device = await new_user(titan), Authenticator()
    await register(titan, pair, device)
    copy = Authenticator()
    copy.keys, copy.count = list(device.keys), device.count
    await sign_in(titan, device)

    assert "PASSKEY_INVALID" == reason_of(await refused(sign_in(titan, copy)))
    await sign_in(titan, device)


async def test_an_answer_counts_once(titan: Replica):
    """Also of those that come at once; and a wrong one has spent the challenge too."""
    pair, device = await new_user(titan), Authenticator(counts=False)
    await register(titan, pair, device)
    answer = device.get(await ask(titan))

    results = await asyncio.gather(*(show(titan, answer) for _ in range(3)), return_exceptions=True)

    errors = [each for each in results if isinstance(each, grpc.aio.AioRpcError)]
    assert [("CHALLENGE_INVALID", grpc.StatusCode.UNAUTHENTICATED)] * 2 == [(reason_of(e), e.code()) for e in errors]
    options = await ask(titan)
    assert "PASSKEY_INVALID" == reason_of(await refused(show(titan, device.get(options, origin="https://evil.test"))))
    assert "CHALLENGE_INVALID" == reason_of(await refused(show(titan, device.get(options))))


async def test_a_challenge_expires_and_is_for_one_purpose(titan: Replica):
    """One to register opens no session, one to sign in registers nothing, and neither is of use to anybody else."""
    pair, other, device = await new_user(titan), await new_user(titan), Authenticator(counts=False)
    await register(titan, pair, device)
    to_register = await ask_to_register(titan, pair)
    assert "CHALLENGE_INVALID" == reason_of(await refused(show(titan, device.get(to_register))))
    theirs = Authenticator().create(await ask_to_register(titan, pair))
    assert "CHALLENGE_INVALID" == reason_of(await refused(create(titan, other, theirs)))
    to_sign_in = json.dumps(json.loads(await ask_to_register(titan, pair)) | {"challenge": encoded(b"x" * 32)})
    assert "CHALLENGE_INVALID" == reason_of(await refused(create(titan, pair, Authenticator().create(to_sign_in))))
    late = device.get(await ask(titan))
    await titan.later(300)
    try:
        assert "CHALLENGE_INVALID" == reason_of(await refused(show(titan, late)))
    finally:
        await titan.later(-300)


async def test_what_nobody_answered_is_forgotten(titan: Replica):
    """Whoever asks for challenges and leaves fills no table."""
    await ask(titan)
    await titan.later(301)
    try:
        assert 1 <= await titan.db.transact(lambda tx: store.prune(tx, at=titan.clock.now(), limit=1000))
        assert 0 == await titan.db.transact(lambda tx: store.prune(tx, at=titan.clock.now(), limit=1000))
    finally:
        await titan.later(-301)


@pytest.mark.parametrize(
    "lie",
    [
        {"origin": "https://evil.example.com"},
        {"origin": "http://shop.titan.local"},
        {"origin": f"{ORIGIN}:8443"},
        {"origin": f"{ORIGIN}.evil.example.com"},
        {"crossOrigin": True},
        {"type": "webauthn.other"},
    ],
)
async def test_a_passkey_counts_on_the_shops_own_pages_alone(titan: Replica, lie: dict[str, Any]):
    """A page that looks like the shop gets nothing that opens it, and registers nothing in its name."""
    pair, device = await new_user(titan), Authenticator()
    await register(titan, pair, device)

    shown = device.get(await ask(titan), **lie)
    error = await refused(show(titan, shown))
    assert ("PASSKEY_INVALID", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(error), error.code())
    made = Authenticator().create(await ask_to_register(titan, pair), **lie)
    assert "PASSKEY_INVALID" == reason_of(await refused(create(titan, pair, made)))
    assert 1 == len(await passkeys(titan, pair))


@pytest.mark.parametrize("flags", [0, PRESENT, VERIFIED, PRESENT | VERIFIED | BACKED_UP])
async def test_a_user_is_there_and_verified(titan: Replica, flags: int):
    """Without that it would be one factor; and what cannot be is refused: backed up, and not able to be."""
    pair, device = await new_user(titan), Authenticator()
    await register(titan, pair, device)
    device.flags = flags

    assert "PASSKEY_INVALID" == reason_of(await refused(sign_in(titan, device)))
    made = Authenticator(flags=flags).create(await ask_to_register(titan, pair))
    assert "PASSKEY_INVALID" == reason_of(await refused(create(titan, pair, made)))


async def test_a_key_of_another_shop_or_another_user_is_none(titan: Replica):
    """Neither an unknown one, nor a known one with another signature, nor one that says it is somebody else's."""
    mine, theirs = Authenticator(counts=False), Authenticator(counts=False)
    pair, other = await new_user(titan), await new_user(titan)
    await register(titan, pair, mine)
    await register(titan, other, theirs)

    unknown, forged, elsewhere = Authenticator(), Authenticator(counts=False), Authenticator(counts=False)
    unknown.create(await ask_to_register(titan, pair))
    forged.create(await ask_to_register(titan, pair))
    forged.keys[0].credential_id = mine.keys[0].credential_id
    elsewhere.keys = [mine.keys[0]]
    answers = [
        unknown.get(await ask(titan)),
        forged.get(await ask(titan)),
        mine.get(await ask(titan), handle=theirs.keys[0].handle),
        mine.get(await ask(titan), handle=None),
    ]
    mine.keys[0].party_id = "evil.example.com"
    answers.append(elsewhere.get(await ask(titan)))

    for answer in answers:
        assert "PASSKEY_INVALID" == reason_of(await refused(show(titan, answer)))


async def test_anything_at_all_is_refused_politely(titan: Replica):
    """Whatever a stranger sends, there is no error inside; `test_ceremonies.py` tries much more of it."""
    pair = await new_user(titan)
    for text in ("{}", "no json", "[" * 16_000):
        assert "PASSKEY_INVALID" == reason_of(await refused(show(titan, text)))
        assert "PASSKEY_INVALID" == reason_of(await refused(create(titan, pair, text)))


async def test_a_credential_is_somebodys_once(titan: Replica):
    """Nobody registers a key under the id of somebody else's."""
    pair, thief, device = await new_user(titan), await new_user(titan), Authenticator()
    await register(titan, pair, device)
    made = json.loads(device.create(await ask_to_register(titan, thief)))
    attested = decoded(made["response"]["attestationObject"])
    swapped = attested.replace(device.keys[1].credential_id, device.keys[0].credential_id)
    made["response"]["attestationObject"] = encoded(swapped)
    made["id"] = made["rawId"] = encoded(device.keys[0].credential_id)

    assert "PASSKEY_INVALID" == reason_of(await refused(create(titan, thief, json.dumps(made))))
    assert [] == await passkeys(titan, thief)


async def test_a_user_has_twenty_passkeys(titan: Replica):
    """The bound holds for those that are registered at once, too."""
    pair = await new_user(titan)
    for _ in range(18):
        await register(titan, pair, Authenticator())
    made = [Authenticator().create(await ask_to_register(titan, pair)) for _ in range(3)]

    results = await asyncio.gather(*(create(titan, pair, each) for each in made), return_exceptions=True)

    (error,) = [each for each in results if isinstance(each, grpc.aio.AioRpcError)]
    assert ("TOO_MANY_PASSKEYS", grpc.StatusCode.FAILED_PRECONDITION) == (reason_of(error), error.code())
    assert "TOO_MANY_PASSKEYS" == reason_of(await refused(ask_to_register(titan, pair)))
    assert 20 == len(await passkeys(titan, pair))


async def test_a_passkey_is_ended(titan: Replica):
    """Once; it opens nothing then, and somebody else's is none."""
    pair, stranger, device = await new_user(titan), await new_user(titan), Authenticator()
    passkey_id = (await register(titan, pair, device)).passkey_id

    assert "PASSKEY_NOT_FOUND" == reason_of(await refused(delete(titan, stranger, passkey_id)))
    await delete(titan, pair, passkey_id)

    error = await refused(delete(titan, pair, passkey_id))
    assert ("PASSKEY_NOT_FOUND", grpc.StatusCode.NOT_FOUND) == (reason_of(error), error.code())
    assert "PASSKEY_INVALID" == reason_of(await refused(sign_in(titan, device)))
    assert [] == await passkeys(titan, pair)


async def test_registering_and_ending_want_a_recent_sign_in(titan: Replica):
    """A token that was bought with a refresh token long after is not enough."""
    pair, device = await new_user(titan), Authenticator()
    passkey_id = (await register(titan, pair, device)).passkey_id
    await titan.later(601)
    try:
        old = await titan.refresh(pair.refresh_token)
        for call in (ask_to_register(titan, old), delete(titan, old, passkey_id)):
            assert "RECENT_SIGN_IN_REQUIRED" == reason_of(await refused(call))
        await ask_to_register(titan, await sign_in(titan, device))
    finally:
        await titan.later(-601)


async def test_a_guest_has_nothing_to_sign_in_to(titan: Replica):
    """It comes with the registration."""
    assert "NOT_REGISTERED" == reason_of(await refused(ask_to_register(titan, await titan.guest())))


async def test_a_token_of_nobody_registers_nothing(titan: Replica):
    """A token outlives its user for ten minutes at most; the user may also go between the two steps."""
    error = await refused(ask_to_register(titan, nobody(titan)))

    assert "USER_NOT_FOUND" == reason_of(error)


async def test_whoever_acts_for_a_customer_touches_no_passkey(titan: Replica, importer):
    """It would be a door of one's own into somebody else's account."""
    guest = await titan.guest()
    exchange = auth_service_pb2.ExchangeTokenRequest(subject_user_id=guest.user_id)
    acting = await titan.auth.ExchangeToken(exchange, metadata=bearer(importer))

    for call in (
        ask_to_register(titan, acting),
        create(titan, acting, "{}"),
        passkeys(titan, acting),
        delete(titan, acting, str(uuid4())),
    ):
        assert "ACCESS_DENIED" == reason_of(await refused(call))


@pytest.mark.parametrize("verified", [False, True])
async def test_a_reset_ends_a_strangers_passkeys(titan: Replica, verified: bool):
    """Whoever registers with somebody else's address, or stole a password, and adds a passkey is out afterwards."""
    email, user_id = await titan.register()
    if verified:
        await titan.verified(user_id)
    device = Authenticator()
    await register(titan, await titan.sign_in(email), device)

    await titan.reset_password(email)

    assert "PASSKEY_INVALID" == reason_of(await refused(sign_in(titan, device)))


@pytest.mark.parametrize("how", ["reset", "change"])
async def test_a_registration_that_was_begun_ends_with_the_password(titan: Replica, how: str):
    """A thief's access token passes for a moment longer; what it was asked before registers nothing after."""
    email, user_id = await titan.register()
    owner, thief = await titan.sign_in(email), await titan.sign_in(email)
    made = Authenticator().create(await ask_to_register(titan, thief))

    await (titan.reset_password(email) if how == "reset" else titan.change_password(owner))

    assert "CHALLENGE_INVALID" == reason_of(await refused(create(titan, thief, made)))
    assert "RECENT_SIGN_IN_REQUIRED" == reason_of(await refused(ask_to_register(titan, thief)))
    async with titan.db.hot_read() as connection:
        assert 0 == await connection.fetchval("SELECT count(*) FROM passkey_challenges WHERE user_id = $1", user_id)


async def test_a_registration_that_races_a_reset_registers_nothing(titan: Replica, monkeypatch):
    """The challenge was taken already when the session ends; the user's lock is where the two meet."""
    email, user_id = await titan.register()
    await titan.verified(user_id)
    thief, device = await titan.sign_in(email), Authenticator()
    made = device.create(await ask_to_register(titan, thief))
    lock_user = user_store.lock_user

    async def lock_late(tx: Any, user: Any) -> Any:
        monkeypatch.undo()
        await titan.reset_password(email)
        return await lock_user(tx, user)

    monkeypatch.setattr(user_store, "lock_user", lock_late)
    error = await refused(create(titan, thief, made))

    assert ("SESSION_REVOKED", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(error), error.code())
    assert "PASSKEY_INVALID" == reason_of(await refused(sign_in(titan, device)))


async def test_a_registration_is_finished_where_it_was_begun(titan: Replica):
    """Another session of the same user may be a thief's."""
    email, _ = await titan.register()
    here, there = await titan.sign_in(email), await titan.sign_in(email)
    made = Authenticator().create(await ask_to_register(titan, here))

    assert "CHALLENGE_INVALID" == reason_of(await refused(create(titan, there, made)))


async def test_what_a_passkey_and_a_client_are_called_can_be_stored(titan: Replica):
    """Postgres holds no NUL, and the contract says how long a name may be."""
    pair = await new_user(titan)
    for name in ("my\x00phone", "x" * 81):
        made = Authenticator().create(await ask_to_register(titan, pair))
        assert "INVALID_INPUT" == reason_of(await refused(create(titan, pair, made, name)))


async def test_no_challenge_is_stored(titan: Replica):
    """A copy of the database answers none."""
    challenge = decoded(json.loads(await ask(titan))["challenge"])

    async with titan.db.hot_read() as connection:
        stored = [row["challenge_hash"] for row in await connection.fetch("SELECT * FROM passkey_challenges")]
    assert stored and challenge not in stored
