"""The second factor: a right password alone opens nothing, and no code counts twice."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime

from svc_auth.factor.rules import code_at, step_of
from tests.attacks.case import Reply, Wrong, case
from tests.attacks.people import Person
from tests.attacks.scene import Scene

FREE_GUESSES = 10
FACTOR = "/v1/users/me/secondFactor"


@dataclass(frozen=True)
class Protected:
    """Somebody with a second factor; the code of the time step that enrolled it is spent."""

    person: Person
    secret: bytes
    recovery_codes: list[str]
    spent: str


def code(secret: bytes, steps: int = 0) -> str:
    """Return the code of now, or of some steps from now."""
    return code_at(secret, step_of(datetime.now(UTC)) + steps)


async def protected(scene: Scene) -> Protected:
    """Return somebody new with a second factor."""
    person = await scene.customer()
    enrolled = await scene.ok("POST", f"{FACTOR}:enrol", {"password": person.password}, token=person.token)
    scene.canaries.append(enrolled["secret"])
    secret = base64.b32decode(enrolled["secret"] + "=" * (-len(enrolled["secret"]) % 8))
    spent = code(secret)
    confirmed = await scene.ok("POST", f"{FACTOR}:confirm", {"code": spent}, token=person.token)
    scene.canaries.extend(confirmed["recoveryCodes"])
    return Protected(person, secret, confirmed["recoveryCodes"], spent)


async def challenge(scene: Scene, who: Protected) -> str:
    """Sign in with the right password; there is a challenge, and no token."""
    body = {"email": who.person.email, "password": who.person.password}
    answer = await scene.ok("POST", "/v1/sessions", body, address=scene.another_address())
    if answer.get("accessToken") or answer.get("refreshToken"):
        raise Wrong("a token without the second factor")
    return str(answer["challenge"]["challengeToken"])


async def complete(scene: Scene, token: str, **proof: str) -> Reply:
    """Answer a challenge."""
    body = {"challengeToken": token, "proof": proof}
    return await scene.send("POST", "/v1/sessions:complete", body, address=scene.another_address())


def other(digits: str) -> str:
    """Return a code that it is not, nor any near it."""
    return f"{(int(digits) + 500_000) % 1_000_000:06d}"


@case("a right password alone buys a challenge, which is no access token", "401 TOKEN_INVALID")
async def challenge_as_token(scene: Scene) -> Reply:
    token = await challenge(scene, await protected(scene))
    await scene.ready()
    return await scene.send("GET", "/v1/users/me", token=token)


@case("a wrong code", "401 CODE_INVALID")
async def wrong_code(scene: Scene) -> Reply:
    who = await protected(scene)
    token = await challenge(scene, who)
    await scene.ready()
    return await complete(scene, token, code=other(code(who.secret)))


@case("the code that enrolled it, again", "401 CODE_INVALID")
async def spent_code(scene: Scene) -> Reply:
    who = await protected(scene)
    token = await challenge(scene, who)
    await scene.ready()
    return await complete(scene, token, code=who.spent)


@case("a code that was used at another sign-in", "401 CODE_INVALID")
async def used_code(scene: Scene) -> Reply:
    who = await protected(scene)
    one, two = await challenge(scene, who), await challenge(scene, who)
    used = code(who.secret, 1)
    first = await complete(scene, one, code=used)
    if first.status != 200:
        raise Wrong(f"a good code was answered {first}")
    await scene.ready()
    return await complete(scene, two, code=used)


@case("a challenge that was answered, again", "401 CHALLENGE_INVALID")
async def answered_challenge(scene: Scene) -> Reply:
    who = await protected(scene)
    token = await challenge(scene, who)
    await complete(scene, token, recoveryCode=who.recovery_codes[0])
    await scene.ready()
    return await complete(scene, token, recoveryCode=who.recovery_codes[1])


@case("a recovery code, again", "401 CODE_INVALID")
async def used_recovery_code(scene: Scene) -> Reply:
    who = await protected(scene)
    one, two = await challenge(scene, who), await challenge(scene, who)
    await complete(scene, one, recoveryCode=who.recovery_codes[0])
    await scene.ready()
    return await complete(scene, two, recoveryCode=who.recovery_codes[0])


@case("a recovery code of somebody else", "401 CODE_INVALID")
async def anothers_recovery_code(scene: Scene) -> Reply:
    who, somebody = await protected(scene), await protected(scene)
    token = await challenge(scene, who)
    await scene.ready()
    return await complete(scene, token, recoveryCode=somebody.recovery_codes[0])


@case("a challenge that is made up", "401 CHALLENGE_INVALID")
async def made_up(scene: Scene) -> Reply:
    return await complete(scene, "x" * 43, code="123456")


@case("a code of letters", "400 INVALID_INPUT")
async def letters(scene: Scene) -> Reply:
    return await complete(scene, "x" * 43, code="abcdef")


@case("a code in other digits than ASCII's", "400 INVALID_INPUT")
async def other_digits(scene: Scene) -> Reply:
    return await complete(scene, "x" * 43, code="١٢٣٤٥٦")


@case("neither a code nor a recovery code", "400 INVALID_INPUT")
async def no_proof(scene: Scene) -> Reply:
    return await complete(scene, "x" * 43)


@case("codes are not tried for ever", "429 SIGN_IN_THROTTLED")
async def throttled(scene: Scene) -> Reply:
    who = await protected(scene)
    token = await challenge(scene, who)
    await scene.ready()
    for _ in range(FREE_GUESSES):
        guess = await complete(scene, token, code=other(code(who.secret)))
        if guess.reason != "CODE_INVALID":
            raise Wrong(f"a guess was answered {guess}")
    return await complete(scene, token, code=code(who.secret, 1))


@case("to end it with a stolen access token and no code", "401 CODE_INVALID")
async def ended_by_a_thief(scene: Scene) -> Reply:
    who = await protected(scene)
    await scene.ready()
    body = {"proof": {"code": other(code(who.secret))}}
    return await scene.send("POST", f"{FACTOR}:disable", body, token=who.person.token)


@case("to enrol another authenticator over the one that counts", "400 SECOND_FACTOR_ACTIVE")
async def enrolled_over(scene: Scene) -> Reply:
    who = await protected(scene)
    await scene.ready()
    return await scene.send("POST", f"{FACTOR}:enrol", {"password": who.person.password}, token=who.person.token)


@case("to enrol with a stolen access token and no password", "401 CREDENTIALS_INVALID")
async def enrolled_by_a_thief(scene: Scene) -> Reply:
    person = await scene.customer()
    await scene.ready()
    return await scene.send("POST", f"{FACTOR}:enrol", {"password": "a wrong guess"}, token=person.token)


@case("to confirm what was never enrolled", "404 SECOND_FACTOR_NOT_FOUND")
async def confirmed_nothing(scene: Scene) -> Reply:
    return await scene.send("POST", f"{FACTOR}:confirm", {"code": "123456"}, token=scene.victims.other.token)
