"""FederationService behind the real chain, on a real Postgres, with a provider that answers over HTTP."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import grpc
import jwt
import pytest
from starlette.responses import JSONResponse

from svc_auth.factor import rules as factor_rules
from svc_auth.federation import store
from svc_auth.user import store as user_store
from tests.harness import reason_of
from tests.svc_auth.auth.test_ended_sessions import before_the_lock, end_others
from tests.svc_auth.conftest import PASSWORD, Replica, bearer, nobody, refused
from tests.svc_auth.federation.issuer import REDIRECT_URI, Issuer, Person
from titan.auth.v1 import (
    auth_service_pb2,
    federation_pb2,
    second_factor_service_pb2,
    user_service_pb2,
)
from titan.auth.v1 import federation_service_pb2 as pb

Metadata = tuple[tuple[str, str], ...] | None


async def begin(titan: Replica, **changes: str) -> federation_pb2.FederatedFlow:
    request = pb.StartFederatedSignInRequest(provider="local", redirect_uri=REDIRECT_URI, client_name="Firefox")
    request.MergeFrom(pb.StartFederatedSignInRequest(**changes))
    return (await titan.identity.StartFederatedSignIn(request)).flow


def answer_of(flow: federation_pb2.FederatedFlow, back: dict[str, str]) -> federation_pb2.FederatedAnswer:
    return federation_pb2.FederatedAnswer(
        flow_token=flow.flow_token, state=back["state"], code=back["code"], issuer=back["iss"]
    )


async def finish(titan: Replica, answer: federation_pb2.FederatedAnswer, metadata: Metadata = None) -> Any:
    request = pb.CompleteFederatedSignInRequest(answer=answer)
    return await titan.identity.CompleteFederatedSignIn(request, metadata=metadata)


async def sign_in(titan: Replica, issuer: Issuer, person: Person | None = None, metadata: Metadata = None) -> Any:
    flow = await begin(titan)
    return await finish(titan, answer_of(flow, await issuer.visit(flow.authorization_url, person)), metadata)


async def begin_link(titan: Replica, pair: Any) -> federation_pb2.FederatedFlow:
    request = pb.StartIdentityLinkRequest(provider="local", redirect_uri=REDIRECT_URI)
    return (await titan.identity.StartIdentityLink(request, metadata=bearer(pair))).flow


async def link(titan: Replica, issuer: Issuer, pair: Any, person: Person | None = None) -> Any:
    flow = await begin_link(titan, pair)
    back = await issuer.visit(flow.authorization_url, person)
    request = pb.CompleteIdentityLinkRequest(answer=answer_of(flow, back))
    return (await titan.identity.CompleteIdentityLink(request, metadata=bearer(pair))).identity


async def unlink(titan: Replica, pair: Any, identity_id: str) -> Any:
    request = pb.DeleteFederatedIdentityRequest(identity_id=identity_id)
    return await titan.identity.DeleteFederatedIdentity(request, metadata=bearer(pair))


async def identities(titan: Replica, pair: Any) -> list[federation_pb2.FederatedIdentity]:
    request = pb.ListFederatedIdentitiesRequest()
    return list((await titan.identity.ListFederatedIdentities(request, metadata=bearer(pair))).identities)


async def me(titan: Replica, pair: Any) -> Any:
    return (await titan.user.GetMe(user_service_pb2.GetMeRequest(), metadata=bearer(pair))).user


def claims_of(pair: Any) -> dict[str, Any]:
    return jwt.decode(pair.access_token, options={"verify_signature": False})


# --- signing in ---


async def test_the_providers_are_listed(titan: Replica, issuer: Issuer):
    """What a storefront puts on its buttons."""
    answer = await titan.identity.ListIdentityProviders(pb.ListIdentityProvidersRequest())

    assert [("local", "Local")] == [(each.provider, each.display_name) for each in answer.providers]


async def test_an_identity_signs_in_for_the_first_time_and_again(titan: Replica, issuer: Issuer):
    """It makes one user, with the address that the provider vouches for; `amr` says how the session was opened."""
    grace = Person()

    first = await sign_in(titan, issuer, grace)
    again = await sign_in(titan, issuer, grace)

    user = await me(titan, first)
    assert (grace.email, "Grace Hopper", True, False) == (
        user.email,
        user.display_name,
        user.email_verified,
        user.guest,
    )
    assert first.user_id == again.user_id == user.user_id
    assert ["fed"] == claims_of(first)["amr"] == claims_of(await titan.refresh(again.refresh_token))["amr"]
    assert [("UserCreated", 1)] == await titan.events_of(user.user_id)
    sessions = await titan.auth.ListSessions(auth_service_pb2.ListSessionsRequest(), metadata=bearer(first))
    assert ["Firefox"] * 2 == [session.client_name for session in sessions.sessions]
    (identity,) = await identities(titan, first)
    assert ("local", True) == (identity.provider, identity.last_use_time.ToNanoseconds() > 0)


async def test_the_browser_is_sent_with_state_nonce_and_code_challenge(titan: Replica, issuer: Issuer):
    """Different ones each time; the token of the flow is in none of them, and the database has none of them."""
    flows = [await begin(titan) for _ in range(2)]
    sent = [dict(parse_qsl(urlsplit(flow.authorization_url).query)) for flow in flows]

    for name in ("state", "nonce", "code_challenge"):
        assert sent[0][name] != sent[1][name] and len(sent[0][name]) >= 43
    assert ("S256", "code", "openid email profile") == (
        sent[0]["code_challenge_method"],
        sent[0]["response_type"],
        sent[0]["scope"],
    )
    assert 600 == flows[0].expires_in_seconds
    async with titan.db.hot_read() as connection:
        stored = str(await connection.fetch("SELECT f::text FROM sign_in_flows f"))
    for secret in (flows[0].flow_token, sent[0]["state"], sent[0]["nonce"]):
        assert secret not in stored and flows[0].flow_token not in flows[0].authorization_url


async def test_a_guest_who_signs_in_stays_the_same_user(titan: Replica, issuer: Issuer):
    """Cart and orders stay where they are, and the guest's session ends. A guest who has an identity already goes over
    to its user."""
    guest, grace = await titan.guest(), Person()

    signed_in = await sign_in(titan, issuer, grace, bearer(guest))

    assert guest.user_id == signed_in.user_id
    assert "REFRESH_TOKEN_INVALID" == reason_of(await refused(titan.refresh(guest.refresh_token)))
    assert not (await me(titan, signed_in)).guest
    assert [("UserCreated", 1), ("UserRegistered", 2)] == await titan.events_of(guest.user_id)
    other = await titan.guest()
    assert guest.user_id == (await sign_in(titan, issuer, grace, bearer(other))).user_id


async def test_two_first_sign_ins_at_once_make_one_user(titan: Replica, issuer: Issuer):
    """The second finds what the first has made."""
    grace = Person()
    flows = [await begin(titan) for _ in range(2)]
    answers = [answer_of(flow, await issuer.visit(flow.authorization_url, grace)) for flow in flows]

    pairs = await asyncio.gather(*(finish(titan, answer) for answer in answers))

    assert 1 == len({pair.user_id for pair in pairs})


async def test_a_first_sign_in_that_ends_between_two_looks_is_seen_whole(
    titan: Replica, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
):
    """Its address is not that of somebody else: the identity is there by then, too."""
    grace, look, pairs = Person(), user_store.find_by_email, []
    flows = [await begin(titan) for _ in range(2)]
    answers = [answer_of(flow, await issuer.visit(flow.authorization_url, grace)) for flow in flows]

    async def look_late(connection: Any, email_index: bytes) -> Any:
        monkeypatch.undo()
        pairs.append(await finish(titan, answers[0]))
        return await look(connection, email_index)

    monkeypatch.setattr(user_store, "find_by_email", look_late)
    pairs.append(await finish(titan, answers[1]))

    assert 1 == len({pair.user_id for pair in pairs}) and 2 == len(pairs)


async def test_a_provider_alone_opens_no_role_of_the_house(titan: Replica, issuer: Issuer):
    """It is one factor, whatever the provider asked for: nobody here has seen it."""
    grace = Person()
    first = await sign_in(titan, issuer, grace)
    assert not first.second_factor_required

    await titan.given(first.user_id, "finance")
    again = await sign_in(titan, issuer, grace)

    assert again.second_factor_required
    assert (["customer"], ["finance"]) == (claims_of(again)["roles"], claims_of(again)["withheld_roles"])


async def test_a_user_with_a_second_factor_is_asked_for_it(titan: Replica, issuer: Issuer):
    """A provider is the first factor and no more."""
    email, _ = await titan.register()
    pair, grace = await titan.sign_in(email), Person()
    await link(titan, issuer, pair, grace)
    enrol = second_factor_service_pb2.EnrolSecondFactorRequest(password=PASSWORD)
    secret = base64.b32decode((await titan.factor.EnrolSecondFactor(enrol, metadata=bearer(pair))).secret)
    step = factor_rules.step_of(titan.clock.now())
    confirm = second_factor_service_pb2.ConfirmSecondFactorRequest(code=factor_rules.code_at(secret, step))
    await titan.factor.ConfirmSecondFactor(confirm, metadata=bearer(pair))

    half = await sign_in(titan, issuer, grace)

    assert half.challenge.challenge_token and not half.access_token
    request = auth_service_pb2.CompleteSessionRequest(challenge_token=half.challenge.challenge_token)
    request.proof.code = factor_rules.code_at(secret, step + 1)
    assert ["fed", "otp", "mfa"] == claims_of(await titan.auth.CompleteSession(request))["amr"]


# --- whose account it is ---


async def test_an_identity_never_becomes_part_of_an_account_by_its_address(titan: Replica, issuer: Issuer):
    """Neither of one with a password, verified or not, nor of one of another identity."""
    email, _ = await titan.register()
    grace = Person()
    await sign_in(titan, issuer, grace)

    for taken in (email, email.upper(), grace.email, "admin@titan.local"):
        error = await refused(sign_in(titan, issuer, Person(email=taken)))
        assert ("IDENTITY_NOT_LINKED", grpc.StatusCode.FAILED_PRECONDITION) == (reason_of(error), error.code())
    assert [] == await identities(titan, await titan.sign_in(email))


async def test_an_account_of_the_house_is_nobodys_to_take(titan: Replica, issuer: Issuer):
    """Also where its secret is not there yet, and neither is the account."""
    await titan.moved("importer@titan.local", "aside@titan.local")
    try:
        error = await refused(sign_in(titan, issuer, Person(email="importer@titan.local")))
    finally:
        await titan.moved("aside@titan.local", "importer@titan.local")

    assert "IDENTITY_NOT_LINKED" == reason_of(error)


@pytest.mark.parametrize("verified", [False, "false", None, 1, "yes"])
async def test_an_address_that_nobody_vouches_for_makes_no_user(titan: Replica, issuer: Issuer, verified: Any):
    """The user registers with it, and links the identity."""
    person = Person(email_verified=verified)

    assert "IDENTITY_EMAIL_UNVERIFIED" == reason_of(await refused(sign_in(titan, issuer, person)))
    pair = await titan.sign_in((await titan.register(person.email))[0])
    await link(titan, issuer, pair, person)
    assert pair.user_id == (await sign_in(titan, issuer, person)).user_id


async def test_a_guest_keeps_nothing_of_a_refused_sign_in(titan: Replica, issuer: Issuer):
    """The guest stays a guest, and the identity nobody's."""
    guest = await titan.guest()
    email, _ = await titan.register()

    assert "IDENTITY_NOT_LINKED" == reason_of(await refused(sign_in(titan, issuer, Person(email=email), bearer(guest))))
    assert (await me(titan, guest)).guest


async def test_a_user_links_an_identity_and_signs_in_with_either(titan: Replica, issuer: Issuer):
    """Linking it again changes nothing; another one at the same provider takes its place."""
    email, user_id = await titan.register()
    pair, grace, other = await titan.sign_in(email), Person(), Person()

    linked = await link(titan, issuer, pair, grace)

    assert linked == await link(titan, issuer, pair, grace)
    assert user_id == (await sign_in(titan, issuer, grace)).user_id == (await titan.sign_in(email)).user_id
    assert linked.identity_id != (await link(titan, issuer, pair, other)).identity_id
    assert 1 == len(await identities(titan, pair))
    assert user_id != (await sign_in(titan, issuer, grace)).user_id


async def test_an_identity_belongs_to_one_user(titan: Replica, issuer: Issuer):
    """Nobody takes it from whoever has it."""
    grace = Person()
    owner = await sign_in(titan, issuer, grace)
    thief = await titan.sign_in((await titan.register())[0])

    error = await refused(link(titan, issuer, thief, grace))

    assert ("IDENTITY_TAKEN", grpc.StatusCode.ALREADY_EXISTS) == (reason_of(error), error.code())
    assert owner.user_id == (await sign_in(titan, issuer, grace)).user_id


async def test_an_identity_is_unlinked(titan: Replica, issuer: Issuer):
    """Once; it opens nothing then, and somebody else's is none."""
    pair, grace = await titan.sign_in((await titan.register())[0]), Person()
    identity_id = (await link(titan, issuer, pair, grace)).identity_id
    stranger = await titan.sign_in((await titan.register())[0])

    assert "IDENTITY_NOT_FOUND" == reason_of(await refused(unlink(titan, stranger, identity_id)))
    await unlink(titan, pair, identity_id)

    assert "IDENTITY_NOT_FOUND" == reason_of(await refused(unlink(titan, pair, identity_id)))
    assert [] == await identities(titan, pair)
    assert pair.user_id != (await sign_in(titan, issuer, grace)).user_id


async def test_a_session_that_ends_meanwhile_unlinks_nothing(titan: Replica, issuer: Issuer, monkeypatch):
    """Its owner may have no other way in."""
    email, _ = await titan.register()
    owner, thief = await titan.sign_in(email), await titan.sign_in(email)
    linked = await link(titan, issuer, owner)
    before_the_lock(monkeypatch, lambda: end_others(titan, owner))

    error = await refused(unlink(titan, thief, linked.identity_id))

    assert ("SESSION_REVOKED", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(error), error.code())
    assert [linked.identity_id] == [each.identity_id for each in await identities(titan, owner)]


async def test_linking_and_unlinking_want_a_recent_sign_in(titan: Replica, issuer: Issuer):
    """A token that was bought with a refresh token long after is not enough."""
    pair = await titan.sign_in((await titan.register())[0])
    identity_id = (await link(titan, issuer, pair)).identity_id
    await titan.later(601)
    try:
        old = await titan.refresh(pair.refresh_token)

        for call in (begin_link(titan, old), unlink(titan, old, identity_id)):
            error = await refused(call)
            assert "RECENT_SIGN_IN_REQUIRED" == reason_of(error)
            assert grpc.StatusCode.FAILED_PRECONDITION == error.code()
    finally:
        await titan.later(-601)


async def test_a_guest_has_nothing_to_link_to(titan: Replica, issuer: Issuer):
    """A guest signs in with the identity instead."""
    assert "NOT_REGISTERED" == reason_of(await refused(begin_link(titan, await titan.guest())))


async def test_a_token_of_nobody_links_nothing(titan: Replica, issuer: Issuer):
    """A token outlives its user for ten minutes at most; the user may also go between the two steps."""
    error = await refused(begin_link(titan, nobody(titan)))

    assert "USER_NOT_FOUND" == reason_of(error)


async def test_whoever_acts_for_a_customer_touches_no_identity(titan: Replica, issuer: Issuer, importer):
    """It would be a door of one's own into somebody else's account."""
    guest = await titan.guest()
    exchange = auth_service_pb2.ExchangeTokenRequest(subject_user_id=guest.user_id)
    acting = await titan.auth.ExchangeToken(exchange, metadata=bearer(importer))

    answer = federation_pb2.FederatedAnswer(flow_token="x", state="x", code="x")
    calls = (
        begin_link(titan, acting),
        unlink(titan, acting, str(uuid4())),
        identities(titan, acting),
        finish(titan, answer, bearer(acting)),
        titan.identity.CompleteIdentityLink(pb.CompleteIdentityLinkRequest(answer=answer), metadata=bearer(acting)),
    )
    for call in calls:
        assert "ACCESS_DENIED" == reason_of(await refused(call))


@pytest.mark.parametrize("verified", [False, True])
async def test_a_reset_unlinks_what_a_stranger_linked(titan: Replica, issuer: Issuer, verified: bool):
    """Whoever registers with somebody else's address, or stole a password, and links an identity is out afterwards."""
    email, user_id = await titan.register()
    if verified:
        await titan.verified(user_id)
    mallory = Person()
    await link(titan, issuer, await titan.sign_in(email), mallory)

    await titan.reset_password(email)

    assert user_id != (await sign_in(titan, issuer, mallory)).user_id


async def test_a_user_is_told_that_an_identity_was_linked(titan: Replica, issuer: Issuer):
    """Once, with the provider's name; not of one that is linked already, nor of one that made the account."""
    pair, grace = await titan.sign_in((await titan.register())[0]), Person()
    await titan.verified(pair.user_id)
    for _ in range(2):
        await link(titan, issuer, pair, grace)
    other = await sign_in(titan, issuer)

    assert [("IDENTITY_LINKED", "Local")] == await titan.notices_of(pair.user_id)
    assert [] == await titan.notices_of(other.user_id)


async def finish_link(titan: Replica, answer: federation_pb2.FederatedAnswer, pair: Any) -> Any:
    request = pb.CompleteIdentityLinkRequest(answer=answer)
    return await titan.identity.CompleteIdentityLink(request, metadata=bearer(pair))


@pytest.mark.parametrize("how", ["reset", "change"])
async def test_a_link_that_was_begun_ends_with_the_password(titan: Replica, issuer: Issuer, how: str):
    """A thief's access token passes for a moment longer; what it began before is not finished after."""
    email, user_id = await titan.register()
    owner, thief = await titan.sign_in(email), await titan.sign_in(email)
    flow = await begin_link(titan, thief)
    answer = answer_of(flow, await issuer.visit(flow.authorization_url))

    await (titan.reset_password(email) if how == "reset" else titan.change_password(owner))

    assert "SIGN_IN_FLOW_INVALID" == reason_of(await refused(finish_link(titan, answer, thief)))
    assert "RECENT_SIGN_IN_REQUIRED" == reason_of(await refused(begin_link(titan, thief)))
    async with titan.db.hot_read() as connection:
        assert 0 == await connection.fetchval("SELECT count(*) FROM sign_in_flows WHERE user_id = $1", user_id)


async def test_a_link_that_races_a_reset_links_nothing(titan: Replica, issuer: Issuer, monkeypatch):
    """The flow was taken already, and the provider is being asked, when the session ends."""
    email, user_id = await titan.register()
    await titan.verified(user_id)
    thief = await titan.sign_in(email)
    flow = await begin_link(titan, thief)
    answer = answer_of(flow, await issuer.visit(flow.authorization_url))
    (client,) = titan.federation._clients.values()
    redeem = client.redeem

    async def redeem_late(*what: Any, **more: Any) -> Any:
        await titan.reset_password(email)
        return await redeem(*what, **more)

    monkeypatch.setattr(client, "redeem", redeem_late)
    error = await refused(finish_link(titan, answer, thief))

    assert ("SESSION_REVOKED", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(error), error.code())
    assert [] == await identities(titan, await titan.sign_in(email, "three words in a row"))


async def test_a_user_without_a_password_signs_in_with_none(titan: Replica, issuer: Issuer):
    """Any password is wrong for them, and a reset gives them one."""
    grace = Person()
    await sign_in(titan, issuer, grace)

    assert "CREDENTIALS_INVALID" == reason_of(await refused(titan.sign_in(grace.email)))
    assert "CREDENTIALS_INVALID" == reason_of(await refused(titan.sign_in(grace.email, "nobody has this password")))


# --- answers that are not of this flow ---


async def test_a_flow_is_finished_once(titan: Replica, issuer: Issuer):
    """Neither the code nor the state counts again, whatever came of the first time."""
    flow = await begin(titan)
    answer = answer_of(flow, await issuer.visit(flow.authorization_url))
    await finish(titan, answer)

    error = await refused(finish(titan, answer))

    assert ("SIGN_IN_FLOW_INVALID", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(error), error.code())
    assert 1 == issuer.asked.count("token")


async def test_of_two_that_finish_a_flow_at_once_one_wins(titan: Replica, issuer: Issuer):
    """The provider is asked once."""
    flow = await begin(titan)
    answer = answer_of(flow, await issuer.visit(flow.authorization_url))

    results = await asyncio.gather(*(finish(titan, answer) for _ in range(3)), return_exceptions=True)

    assert ["SIGN_IN_FLOW_INVALID"] * 2 == [reason_of(each) for each in results if isinstance(each, Exception)]
    assert 1 == issuer.asked.count("token")


async def test_an_answer_of_another_flow_ends_this_one(titan: Replica, issuer: Issuer):
    """State, flow and provider belong together: a code that somebody slips into a browser opens nothing there."""
    for wrong in ({"state": "x" * 43}, {"state": "näh"}, {"issuer": "https://elsewhere.example.com"}):
        flow = await begin(titan)
        answer = answer_of(flow, await issuer.visit(flow.authorization_url))
        answer.MergeFrom(federation_pb2.FederatedAnswer(**wrong))
        assert "SIGN_IN_FLOW_INVALID" == reason_of(await refused(finish(titan, answer)))
        good = answer_of(flow, {"state": answer.state, "code": answer.code, "iss": issuer.url})
        assert "SIGN_IN_FLOW_INVALID" == reason_of(await refused(finish(titan, good)))
    mine, theirs = [await begin(titan) for _ in range(2)]
    slipped = answer_of(mine, await issuer.visit(theirs.authorization_url))
    assert "SIGN_IN_FLOW_INVALID" == reason_of(await refused(finish(titan, slipped)))
    assert [] == [call for call in issuer.asked if call == "token"]


async def test_a_code_of_another_flow_is_not_taken(titan: Replica, issuer: Issuer):
    """The provider compares the code verifier (PKCE), and says no."""
    mine, theirs = [await begin(titan) for _ in range(2)]
    back = await issuer.visit(mine.authorization_url)
    back["code"] = (await issuer.visit(theirs.authorization_url))["code"]

    error = await refused(finish(titan, answer_of(mine, back)))

    assert ("IDENTITY_NOT_PROVEN", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(error), error.code())


async def test_a_token_of_another_flow_proves_nothing(titan: Replica, issuer: Issuer):
    """Its nonce is another one; nobody is signed in, and nobody was made."""
    person = Person()
    flow = await begin(titan)
    answer = answer_of(flow, await issuer.visit(flow.authorization_url, person))
    issuer.behaviour.claims = {"nonce": "of another flow"}

    assert "IDENTITY_NOT_PROVEN" == reason_of(await refused(finish(titan, answer)))
    async with titan.db.hot_read() as connection:
        index = titan.index.email(person.email).newest
        assert 0 == await connection.fetchval("SELECT count(*) FROM users WHERE email_index = $1", index)


async def test_a_flow_expires(titan: Replica, issuer: Issuer):
    """Ten minutes are enough to sign in somewhere; what nobody finished is forgotten."""
    flow = await begin(titan)
    answer = answer_of(flow, await issuer.visit(flow.authorization_url))
    await titan.later(600)
    try:
        assert "SIGN_IN_FLOW_INVALID" == reason_of(await refused(finish(titan, answer)))
        assert 1 <= await titan.db.transact(lambda tx: store.prune(tx, at=titan.clock.now(), limit=1000))
        assert 0 == await titan.db.transact(lambda tx: store.prune(tx, at=titan.clock.now(), limit=1000))
    finally:
        await titan.later(-600)


async def test_a_flow_is_for_what_it_was_begun_for_and_by_whom(titan: Replica, issuer: Issuer):
    """A link is not finished by another user or in another session, nor as a sign-in, nor the other way around."""
    email, _ = await titan.register()
    mine, elsewhere = await titan.sign_in(email), await titan.sign_in(email)
    theirs = await titan.sign_in((await titan.register())[0])

    flow = await begin_link(titan, mine)
    answer = answer_of(flow, await issuer.visit(flow.authorization_url))
    assert "SIGN_IN_FLOW_INVALID" == reason_of(await refused(finish(titan, answer)))
    assert "SIGN_IN_FLOW_INVALID" == reason_of(await refused(finish_link(titan, answer, theirs)))
    flow = await begin(titan)
    answer = answer_of(flow, await issuer.visit(flow.authorization_url))
    assert "SIGN_IN_FLOW_INVALID" == reason_of(await refused(finish_link(titan, answer, mine)))
    flow = await begin_link(titan, mine)
    answer = answer_of(flow, await issuer.visit(flow.authorization_url))
    assert "SIGN_IN_FLOW_INVALID" == reason_of(await refused(finish_link(titan, answer, elsewhere)))
    assert [] == [*await identities(titan, theirs), *await identities(titan, mine)]


async def test_only_a_configured_address_is_a_way_back(titan: Replica, issuer: Issuer):
    """To the letter: neither a longer path, nor another case, nor a prefix of it."""
    for elsewhere in (
        f"{REDIRECT_URI}/",
        f"{REDIRECT_URI}?next=https://evil.example.com",
        REDIRECT_URI.upper(),
        REDIRECT_URI[:-1],
        "https://shop.example.com.evil.example.com/signed-in/local",
        "javascript:alert(1)",
    ):
        error = await refused(begin(titan, redirect_uri=elsewhere))
        assert ("REDIRECT_URI_UNKNOWN", grpc.StatusCode.INVALID_ARGUMENT) == (reason_of(error), error.code())


async def test_an_unknown_provider_is_none(titan: Replica, issuer: Issuer):
    """There is no other than those of the configuration."""
    error = await refused(begin(titan, provider="elsewhere"))

    assert ("IDENTITY_PROVIDER_UNKNOWN", grpc.StatusCode.NOT_FOUND) == (reason_of(error), error.code())


async def test_a_provider_that_fails_is_told_apart_from_an_answer_that_is_wrong(titan: Replica, issuer: Issuer):
    """The user tries again later; the flow is over."""
    flow = await begin(titan)
    answer = answer_of(flow, await issuer.visit(flow.authorization_url))
    issuer.behaviour.token_answer = JSONResponse({"error": "server_error"}, 500)

    error = await refused(finish(titan, answer))

    assert ("IDENTITY_PROVIDER_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE) == (reason_of(error), error.code())
    assert "SIGN_IN_FLOW_INVALID" == reason_of(await refused(finish(titan, answer)))


async def test_what_a_client_calls_itself_can_be_stored(titan: Replica, issuer: Issuer):
    """Postgres holds no NUL."""
    assert "INVALID_INPUT" == reason_of(await refused(begin(titan, client_name="Fire\x00fox")))
    answer = federation_pb2.FederatedAnswer(flow_token="\x00", state="x", code="x")
    assert "INVALID_INPUT" == reason_of(await refused(finish(titan, answer)))
