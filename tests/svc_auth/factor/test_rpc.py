"""SecondFactorService, and the sign-in that asks for a second factor, behind the real chain, on a real Postgres."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import grpc
import jwt

from svc_auth.factor import rules
from tests.harness import reason_of, refusal_in
from tests.svc_auth.conftest import PASSWORD, Replica, bearer, refused
from titan.auth.v1 import auth_service_pb2, privacy_service_pb2
from titan.auth.v1 import second_factor_service_pb2 as pb
from titan.auth.v1.second_factor_pb2 import SecondFactorProof


@dataclass
class Ada:
    """A user with an authenticator."""

    titan: Replica
    email: str
    pair: Any
    secret: bytes
    recovery_codes: list[str]

    async def look_at_an_erasure(self) -> str:
        """Ask for what the role support may see, and return why it is refused: nobody was erased."""
        request = privacy_service_pb2.GetErasureRequest(user_id=str(uuid4()), ticket_id="SUP-4711")
        return reason_of(await refused(self.titan.privacy.GetErasure(request, metadata=bearer(self.pair))))

    def roles(self) -> tuple[set[str], set[str]]:
        """Return the roles that the token opens, and those that wait."""
        caller = self.titan.caller(self.pair.access_token)
        return set(caller.roles), set(caller.withheld)

    def code(self, steps: int = 0) -> str:
        """Return what the authenticator shows now, or some steps from now."""
        return rules.code_at(self.secret, rules.step_of(self.titan.clock.now()) + steps)

    async def next_code(self) -> str:
        """Wait for a code that was not shown yet."""
        await self.titan.later(rules.STEP_SECONDS)
        return self.code()

    async def challenge(self) -> str:
        """Sign in as far as the password goes."""
        return (await self.titan.sign_in(self.email)).challenge.challenge_token

    async def complete(self, token: str | None = None, **proof: str) -> Any:
        """Answer a challenge, a new one by default."""
        request = auth_service_pb2.CompleteSessionRequest(
            challenge_token=token or await self.challenge(), proof=SecondFactorProof(**proof)
        )
        return await self.titan.auth.CompleteSession(request)

    async def disable(self, **proof: str) -> Any:
        request = pb.DisableSecondFactorRequest(proof=SecondFactorProof(**proof))
        return await self.titan.factor.DisableSecondFactor(request, metadata=bearer(self.pair))

    async def confirm(self, code: str) -> Any:
        request = pb.ConfirmSecondFactorRequest(code=code)
        return await self.titan.factor.ConfirmSecondFactor(request, metadata=bearer(self.pair))

    async def enrol(self, password: str = PASSWORD) -> Any:
        request = pb.EnrolSecondFactorRequest(password=password)
        answer = await self.titan.factor.EnrolSecondFactor(request, metadata=bearer(self.pair))
        self.secret = base64.b32decode(answer.secret)
        return answer

    async def state(self) -> tuple[bool, bool, int]:
        """Return whether the factor is active, since a time, and how many recovery codes are left."""
        answer = await self.titan.factor.GetSecondFactor(pb.GetSecondFactorRequest(), metadata=bearer(self.pair))
        factor = answer.second_factor
        return factor.active, factor.HasField("confirm_time"), factor.recovery_codes_left


async def someone(titan: Replica) -> Ada:
    """Return a user without a second factor."""
    email, _ = await titan.register()
    return Ada(titan, email, await titan.sign_in(email), b"", [])


async def someone_of_the_house(titan: Replica, *roles: str) -> Ada:
    """Return a user with roles, signed in with a password."""
    email, user_id = await titan.register()
    await titan.given(user_id, *roles)
    return Ada(titan, email, await titan.sign_in(email), b"", [])


async def someone_careful(titan: Replica) -> Ada:
    """Return a user whose second factor is in force."""
    ada = await someone(titan)
    await ada.enrol()
    ada.recovery_codes = list((await ada.confirm(ada.code())).recovery_codes)
    return ada


async def enrolled_late(titan: Replica, monkeypatch, meanwhile: Callable[[Ada], Awaitable[object]]) -> tuple[str, int]:
    """Return how it is refused to enrol when something happens once the password was right, and the rows that stay."""
    ada, check = await someone(titan), titan.passwords.verify

    async def check_slowly(encoded: str | None, password: str) -> bool:
        right = await check(encoded, password)
        monkeypatch.undo()
        await meanwhile(ada)
        return right

    monkeypatch.setattr(titan.passwords, "verify", check_slowly)
    error = await refused(ada.enrol())
    async with titan.db.hot_read() as connection:
        query = "SELECT count(*) FROM second_factors WHERE user_id = $1"
        return reason_of(error), await connection.fetchval(query, UUID(ada.pair.user_id))


async def test_enrolling_that_races_an_erasure_leaves_nothing(titan: Replica, monkeypatch):
    """The row would be of nobody, and nothing would ever remove it."""

    async def erase(ada: Ada) -> None:
        await titan.erasures.erase(UUID(ada.pair.user_id), requested_by=uuid4(), reason="ticket 4711")

    assert ("USER_NOT_FOUND", 0) == await enrolled_late(titan, monkeypatch, erase)


async def test_enrolling_that_races_a_new_password_leaves_nothing(titan: Replica, monkeypatch):
    """Who knew the old one would have a secret waiting that the new one did not ask for."""

    async def reset(ada: Ada) -> None:
        await titan.reset_password(ada.email)

    assert ("CREDENTIALS_INVALID", 0) == await enrolled_late(titan, monkeypatch, reset)


def amr_of(pair: Any) -> list[str] | None:
    return jwt.decode(pair.access_token, options={"verify_signature": False}).get("amr")


def wrong(code: str) -> str:
    """Return another code than this."""
    return f"{(int(code) + 1) % 10**6:06}"


async def test_a_secret_that_a_thief_enrolled_ends_with_the_password(titan: Replica):
    """Who knew the old password and has a token for a moment longer does not keep the owner out."""
    ada = await someone(titan)
    await titan.verified(ada.pair.user_id)
    await ada.enrol()

    await titan.reset_password(ada.email)

    error = await refused(ada.confirm(ada.code()))
    assert ("SESSION_REVOKED", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(error), error.code())
    ada.pair = await titan.sign_in(ada.email, "three words in a row")
    assert "SECOND_FACTOR_NOT_FOUND" == reason_of(await refused(ada.confirm(ada.code())))


async def test_a_second_factor_is_enrolled_and_confirmed(titan: Replica):
    """Until then nothing changes at sign-in; then the password alone opens nothing."""
    ada = await someone(titan)
    assert (False, False, 0) == await ada.state()

    enrolled = await ada.enrol()
    assert (await titan.sign_in(ada.email)).access_token
    assert (False, False, 0) == await ada.state()
    codes = (await ada.confirm(ada.code())).recovery_codes
    answer = await titan.sign_in(ada.email)

    assert f"secret={enrolled.secret}" in enrolled.otpauth_uri
    assert (10, (True, True, 10)) == (len(set(codes)), await ada.state())
    assert 300 == answer.challenge.expires_in_seconds and answer.challenge.challenge_token
    assert ("", "", "") == (answer.access_token, answer.refresh_token, answer.user_id)


async def test_a_code_completes_the_sign_in_and_the_tokens_say_so(titan: Replica):
    """`amr` names password and code, also after a refresh; a password alone says that until a code was shown beside it,
    and a guest nothing."""
    ada = await someone_careful(titan)

    pair = await ada.complete(code=await ada.next_code())

    caller = titan.caller(pair.access_token)
    assert (ada.pair.user_id, 600) == (pair.user_id, pair.expires_in_seconds) and UUID(pair.user_id) == caller.user_id
    assert ["pwd", "otp", "mfa"] == amr_of(pair) == amr_of(await titan.refresh(pair.refresh_token))
    assert ["pwd"] == amr_of(ada.pair)
    assert ["pwd", "otp", "mfa"] == amr_of(await titan.refresh(ada.pair.refresh_token))
    assert amr_of(await titan.guest()) is None


async def test_roles_of_the_house_open_nothing_until_there_is_a_second_factor(titan: Replica):
    """The sign-in says so, and so does whatever the role would open; what anybody may do with their own goes on."""
    clerk = await someone_of_the_house(titan, "support")
    assert clerk.pair.second_factor_required and ({"customer"}, {"support"}) == clerk.roles()
    assert "SECOND_FACTOR_REQUIRED" == await clerk.look_at_an_erasure()
    assert (False, False, 0) == await clerk.state()
    clerk.pair = await titan.refresh(clerk.pair.refresh_token)
    assert clerk.pair.second_factor_required and "SECOND_FACTOR_REQUIRED" == await clerk.look_at_an_erasure()

    await clerk.enrol()
    assert "SECOND_FACTOR_REQUIRED" == await clerk.look_at_an_erasure()
    clerk.recovery_codes = list((await clerk.confirm(clerk.code())).recovery_codes)

    clerk.pair = await titan.refresh(clerk.pair.refresh_token)
    assert not clerk.pair.second_factor_required and ({"customer", "support"}, set()) == clerk.roles()
    assert "ERASURE_NOT_FOUND" == await clerk.look_at_an_erasure()
    assert ["pwd", "otp", "mfa"] == amr_of(clerk.pair)
    for proof in ({"recovery_code": clerk.recovery_codes[0]}, {"code": await clerk.next_code()}):
        clerk.pair = await clerk.complete(**proof)
        assert "ERASURE_NOT_FOUND" == await clerk.look_at_an_erasure()


async def test_a_sign_in_after_the_second_factor_ended_opens_no_role(titan: Replica):
    """Whoever ended it signs in as a customer, and may enrol another."""
    clerk = await someone_of_the_house(titan, "support")
    await clerk.enrol()
    await clerk.confirm(clerk.code())
    await clerk.disable(code=await clerk.next_code())

    clerk.pair = await titan.sign_in(clerk.email)

    assert clerk.pair.second_factor_required and "SECOND_FACTOR_REQUIRED" == await clerk.look_at_an_erasure()
    await clerk.enrol()


async def test_a_role_that_comes_during_a_session_waits_like_any_other(titan: Replica):
    """The session was opened by a customer, with a password alone."""
    ada = await someone(titan)
    assert not ada.pair.second_factor_required

    await titan.given(ada.pair.user_id, "admin", "support")
    ada.pair = await titan.refresh(ada.pair.refresh_token)

    assert ada.pair.second_factor_required and ({"customer"}, {"admin", "support"}) == ada.roles()
    assert "SECOND_FACTOR_REQUIRED" == await ada.look_at_an_erasure()


async def test_a_seller_needs_no_second_factor(titan: Replica):
    """Their role opens what is theirs, as a customer's opens their orders."""
    seller = await someone_of_the_house(titan, "seller")

    assert not seller.pair.second_factor_required and ({"customer", "seller"}, set()) == seller.roles()
    assert "ACCESS_DENIED" == await seller.look_at_an_erasure()


async def test_a_session_is_confirmed_once_by_two_at_the_same_moment(titan: Replica):
    """One puts the factor into force, the other hears that it is, and neither waits for the other for ever."""
    ada = await someone(titan)
    await ada.enrol()

    answers = await asyncio.gather(*(ada.confirm(ada.code()) for _ in range(4)), return_exceptions=True)

    refusals = [reason_of(answer) for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert ["SECOND_FACTOR_ACTIVE"] * 3 == refusals
    assert ["pwd", "otp", "mfa"] == amr_of(await titan.refresh(ada.pair.refresh_token))


async def test_the_client_keeps_its_name_over_the_challenge(titan: Replica):
    """The list of sessions shows what was said with the password."""
    ada = await someone_careful(titan)
    token = (await titan.sign_in(ada.email, client_name="A laptop")).challenge.challenge_token

    pair = await ada.complete(token, code=await ada.next_code())

    listed = await titan.auth.ListSessions(auth_service_pb2.ListSessionsRequest(), metadata=bearer(pair))
    assert ("A laptop", True) == (listed.sessions[0].client_name, listed.sessions[0].current)


async def test_a_code_counts_once(titan: Replica):
    """Not again in its window, not at confirmation and then at sign-in, not from two at the same moment."""
    ada = await someone(titan)
    await ada.enrol()
    code = ada.code(steps=1)  # the authenticator is fast, so that the code is still in its window later
    await ada.confirm(code)
    assert "CODE_INVALID" == reason_of(await refused(ada.complete(code=code)))
    code = await ada.next_code()
    code = await ada.next_code()

    tokens = [await ada.challenge() for _ in range(3)]
    answers = await asyncio.gather(*(ada.complete(token, code=code) for token in tokens), return_exceptions=True)

    refusals = [reason_of(answer) for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert ["CODE_INVALID", "CODE_INVALID"] == refusals


async def test_a_wrong_code_leaves_the_challenge_as_it_is(titan: Replica):
    """Whoever mistypes tries again."""
    ada = await someone_careful(titan)
    token, code = await ada.challenge(), await ada.next_code()

    error = await refused(ada.complete(token, code=wrong(code)))

    assert ("CODE_INVALID", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(error), error.code())
    assert (await ada.complete(token, code=code)).access_token


async def test_a_challenge_opens_one_session_and_expires(titan: Replica):
    """Unknown, answered or too old: sign in again."""
    ada = await someone_careful(titan)
    answered, old = await ada.challenge(), await ada.challenge()
    await ada.complete(answered, code=await ada.next_code())
    await titan.later(301)

    for token in (answered, old, "no such challenge"):
        error = await refused(ada.complete(token, code=ada.code()))
        assert ("CHALLENGE_INVALID", grpc.StatusCode.UNAUTHENTICATED) == (reason_of(error), error.code())
    await ada.complete(code=ada.code())  # and the code was not spent on them


async def test_a_challenge_ends_with_the_factor(titan: Replica):
    """What is asked for does not exist any more."""
    ada = await someone_careful(titan)
    token = await ada.challenge()
    await ada.disable(code=await ada.next_code())

    assert "CHALLENGE_INVALID" == reason_of(await refused(ada.complete(token, code=await ada.next_code())))


async def test_neither_secrets_nor_codes_nor_challenges_are_stored(titan: Replica):
    """A copy of the database makes no code, and answers no challenge."""
    ada = await someone_careful(titan)
    token = await ada.challenge()

    async with titan.db.hot_read() as connection:
        rows = [
            *await connection.fetch("SELECT secret AS stored FROM second_factors"),
            *await connection.fetch("SELECT code_hash AS stored FROM recovery_codes"),
            *await connection.fetch("SELECT challenge_hash AS stored FROM sign_in_challenges"),
        ]
    stored = b"".join(row["stored"] for row in rows)
    shown = [ada.secret, base64.b32encode(ada.secret), token.encode(), *(code.encode() for code in ada.recovery_codes)]
    assert len(rows) >= 12
    assert not [each for each in shown if each in stored]


async def test_a_recovery_code_takes_the_place_of_the_authenticator_once(titan: Replica):
    """Typed in small letters without dashes too; the tokens do not claim a code by time."""
    ada = await someone_careful(titan)
    typed = ada.recovery_codes[3].lower().replace("-", "")

    pair = await ada.complete(recovery_code=typed)
    again = await refused(ada.complete(recovery_code=ada.recovery_codes[3]))

    assert (["pwd", "mfa"], "CODE_INVALID") == (amr_of(pair), reason_of(again))
    assert (True, True, 9) == await ada.state()


async def test_a_recovery_code_of_somebody_else_is_none(titan: Replica):
    """It belongs to one user."""
    ada, bob = await someone_careful(titan), await someone_careful(titan)

    assert "CODE_INVALID" == reason_of(await refused(ada.complete(recovery_code=bob.recovery_codes[0])))


async def test_wrong_codes_slow_down_like_passwords(titan: Replica):
    """From the tenth on, whatever the challenge; the right one waits too, and then counts."""
    ada = await someone_careful(titan)
    code = await ada.next_code()
    for _ in range(10):
        assert "CODE_INVALID" == reason_of(await refused(ada.complete(code=wrong(code))))

    calls: list[Callable[[], Any]] = [
        lambda: ada.complete(code=code),
        lambda: ada.complete(recovery_code=ada.recovery_codes[0]),
        lambda: ada.disable(code=code),
    ]
    for call in calls:
        error = await refused(call())
        assert ("SIGN_IN_THROTTLED", grpc.StatusCode.RESOURCE_EXHAUSTED) == (reason_of(error), error.code())
        assert 0 < refusal_in(error).retry_after_seconds <= 1
    await titan.later(1.1)
    await ada.complete(code=ada.code())
    # and the count begins anew
    assert "CODE_INVALID" == reason_of(await refused(ada.complete(code=wrong(ada.code()))))


async def test_confirming_is_slowed_down_too(titan: Replica):
    """Nobody puts a factor into force by trying a million codes."""
    ada = await someone(titan)
    await ada.enrol()
    for _ in range(10):
        assert "CODE_INVALID" == reason_of(await refused(ada.confirm(wrong(ada.code()))))

    assert "SIGN_IN_THROTTLED" == reason_of(await refused(ada.confirm(ada.code())))


async def test_enrolling_asks_for_the_password(titan: Replica):
    """A stolen access token is not enough, and trying passwords here is no faster than at sign-in."""
    ada = await someone(titan)
    for _ in range(10):
        assert "CREDENTIALS_INVALID" == reason_of(await refused(ada.enrol("not the password")))

    assert "SIGN_IN_THROTTLED" == reason_of(await refused(ada.enrol()))
    assert "SIGN_IN_THROTTLED" == reason_of(await refused(titan.sign_in(ada.email)))


async def test_a_guest_has_no_factor_to_be_the_second(titan: Replica):
    """There is no password yet."""
    ada = Ada(titan, "", await titan.guest(), b"", [])

    error = await refused(ada.enrol())

    assert ("NOT_REGISTERED", grpc.StatusCode.FAILED_PRECONDITION) == (reason_of(error), error.code())


async def test_enrolling_again_replaces_what_was_never_confirmed(titan: Replica):
    """The first secret is forgotten."""
    ada = await someone(titan)
    await ada.enrol()
    first = ada.code()
    await ada.enrol()

    assert "CODE_INVALID" == reason_of(await refused(ada.confirm(first)))
    await ada.confirm(ada.code())


async def test_a_factor_in_force_is_not_replaced(titan: Replica):
    """It has to be disabled first, which needs a code."""
    ada = await someone_careful(titan)
    secret = ada.secret

    for error in (await refused(ada.enrol()), await refused(ada.confirm(await ada.next_code()))):
        assert ("SECOND_FACTOR_ACTIVE", grpc.StatusCode.FAILED_PRECONDITION) == (reason_of(error), error.code())
    assert secret == ada.secret
    await ada.complete(code=ada.code())


async def test_disabling_needs_a_code(titan: Replica):
    """Or a recovery code. Afterwards the password is enough again, and everything is forgotten."""
    ada, bob = await someone_careful(titan), await someone_careful(titan)
    code = await ada.next_code()

    assert "CODE_INVALID" == reason_of(await refused(ada.disable(code=wrong(code))))
    await ada.disable(code=code)
    await bob.disable(recovery_code=bob.recovery_codes[0])

    for each in (ada, bob):
        assert (await titan.sign_in(each.email)).access_token
        assert (False, False, 0) == await each.state()


async def test_without_a_factor_there_is_nothing_to_confirm_or_disable(titan: Replica):
    """One that was never confirmed is none to disable."""
    ada = await someone(titan)
    errors = [await refused(ada.confirm("000000")), await refused(ada.disable(code="000000"))]
    await ada.enrol()
    errors.append(await refused(ada.disable(code=ada.code())))

    for error in errors:
        assert ("SECOND_FACTOR_NOT_FOUND", grpc.StatusCode.NOT_FOUND) == (reason_of(error), error.code())


async def test_whoever_acts_for_a_customer_has_no_say_in_their_factor(titan: Replica, importer):
    """An importer could else lock the user out."""
    exchange = auth_service_pb2.ExchangeTokenRequest(subject_user_id=(await titan.guest()).user_id)
    acting = Ada(titan, "", await titan.auth.ExchangeToken(exchange, metadata=bearer(importer)), b"", [])

    for call in (acting.state(), acting.enrol(), acting.confirm("000000"), acting.disable(code="000000")):
        assert "ACCESS_DENIED" == reason_of(await refused(call))


async def test_a_proof_is_one_thing_in_its_form(titan: Replica):
    """The contract says what a code looks like."""
    for proof in ({}, {"code": "12345"}, {"code": "\u0662\u0668\u0667\u0660\u0668\u0662"}, {"recovery_code": "short"}):
        request = auth_service_pb2.CompleteSessionRequest(challenge_token="x", proof=SecondFactorProof(**proof))
        assert "INVALID_INPUT" == reason_of(await refused(titan.auth.CompleteSession(request)))


async def test_a_sign_in_without_a_user_behind_it_is_refused(titan: Replica):
    """Tokens of nobody enrol nothing."""
    from svc_auth.auth.rules import Subject

    gone = titan.sessions._issuer.access_token(Subject(uuid4(), False), session_id=uuid4())
    request = pb.EnrolSecondFactorRequest(password=PASSWORD)
    call = titan.factor.EnrolSecondFactor(request, metadata=(("authorization", f"Bearer {gone}"),))

    assert "USER_NOT_FOUND" == reason_of(await refused(call))
