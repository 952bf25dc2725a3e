"""Passwords: what a guess tells, how many there are, and what a password may be."""

from __future__ import annotations

import asyncio
import statistics
import time
from uuid import uuid4

from tests.attacks.asking import NOBODY, Ask, add_all
from tests.attacks.case import Reply, Wrong, case
from tests.attacks.scene import PASSWORD, Scene

FREE_GUESSES = 10
TRIES = 40
MOST_APART_SECONDS = 0.005
WRONG_PASSWORD = "canary-guess-xylophone-77"


async def sign_in(scene: Scene, email: str, password: str) -> Reply:
    """Try a password, from an address of its own."""
    body = {"email": email, "password": password}
    return await scene.send("POST", "/v1/sessions", body, address=scene.another_address())


def _new_user(password: str, **more: str) -> dict[str, str]:
    return {"email": f"{uuid4().hex}@example.com", "password": password, **more}


def _session(email: object = None, password: object = WRONG_PASSWORD) -> dict[str, object]:
    return {"email": email or "nobody@example.com", "password": password}


add_all(
    "login",
    {
        "a wrong password": Ask(
            "401 CREDENTIALS_INVALID",
            "POST",
            "/v1/sessions",
            lambda scene: _session(scene.victims.other.email),
            NOBODY,
        ),
        "an address that nobody has": Ask("401 CREDENTIALS_INVALID", "POST", "/v1/sessions", _session(), NOBODY),
        "SQL as address": Ask(
            "401 CREDENTIALS_INVALID", "POST", "/v1/sessions", _session("' OR 1=1 --@x.example"), NOBODY
        ),
        "SQL as password": Ask(
            "401 CREDENTIALS_INVALID",
            "POST",
            "/v1/sessions",
            lambda scene: _session(scene.victims.other.email, "' OR '1'='1"),
            NOBODY,
        ),
        "a password that is an object": Ask(
            "400 INVALID_INPUT", "POST", "/v1/sessions", _session(password={"$ne": ""}), NOBODY
        ),
        "a password of 257 characters": Ask(
            "400 INVALID_INPUT", "POST", "/v1/sessions", _session(password="x" * 257), NOBODY
        ),
        "no password": Ask("400 INVALID_INPUT", "POST", "/v1/sessions", _session(password=""), NOBODY),
        "an address with NUL": Ask("400 INVALID_INPUT", "POST", "/v1/sessions", _session("a\0@x.example"), NOBODY),
        "to register an address that is taken": Ask(
            "409 EMAIL_TAKEN",
            "POST",
            "/v1/users",
            lambda scene: {"email": scene.victims.owner.email.upper(), "password": PASSWORD},
            NOBODY,
        ),
        "to register with a common password": Ask(
            "400 PASSWORD_TOO_WEAK", "POST", "/v1/users", _new_user("password123"), NOBODY
        ),
        "to register with a row of keys": Ask(
            "400 PASSWORD_TOO_WEAK", "POST", "/v1/users", _new_user("qwertyuiop"), NOBODY
        ),
        "to register with one character again and again": Ask(
            "400 PASSWORD_TOO_WEAK", "POST", "/v1/users", _new_user("aaaaaaaaaaaa"), NOBODY
        ),
        "to register with a part of the address": Ask(
            "400 PASSWORD_TOO_WEAK",
            "POST",
            "/v1/users",
            {"email": "bluewhale@example.com", "password": "bluewhale1"},
            NOBODY,
        ),
        "to register with seven characters": Ask(
            "400 PASSWORD_TOO_WEAK", "POST", "/v1/users", _new_user("x7#kQ2z"), NOBODY
        ),
        "to register with what is no address": Ask(
            "400 INVALID_INPUT", "POST", "/v1/users", {"email": "a@b@c", "password": PASSWORD}, NOBODY
        ),
        "to register a second time as the same user": Ask(
            "400 ALREADY_REGISTERED", "POST", "/v1/users", _new_user(PASSWORD), "owner"
        ),
        "a reset link that is made up": Ask(
            "401 LINK_INVALID", "POST", "/v1/passwords:reset", {"token": "x" * 43, "password": PASSWORD}, NOBODY
        ),
        "a verification link that is made up": Ask(
            "401 LINK_INVALID", "POST", "/v1/emails:verify", {"token": "x" * 43}, NOBODY
        ),
        "a reset for an address that nobody has is answered as for one that is": Ask(
            "200", "POST", "/v1/passwords:requestReset", {"email": "nobody@example.com"}, NOBODY
        ),
    },
)


@case("the eleventh guess has to wait", "429 SIGN_IN_THROTTLED")
async def throttled(scene: Scene) -> Reply:
    person = await scene.customer()
    await scene.ready()
    for _ in range(FREE_GUESSES):
        guess = await sign_in(scene, person.email, WRONG_PASSWORD)
        if guess.reason != "CREDENTIALS_INVALID":
            raise Wrong(f"a guess was answered {guess}")
    reply = await sign_in(scene, person.email, WRONG_PASSWORD)
    if not reply.headers.get("retry-after"):
        raise Wrong("nobody says how long to wait")
    return reply


@case("thirty guesses at once are counted like thirty in a row", "429 SIGN_IN_THROTTLED")
async def guessed_at_once(scene: Scene) -> Reply:
    person = await scene.customer()
    await scene.ready()
    answers = await asyncio.gather(*(sign_in(scene, person.email, WRONG_PASSWORD) for _ in range(3 * FREE_GUESSES)))
    tried = sum(answer.reason == "CREDENTIALS_INVALID" for answer in answers)
    if tried > FREE_GUESSES + 1:
        raise Wrong(f"{tried} guesses were tried")
    return await sign_in(scene, person.email, WRONG_PASSWORD)


@case("guesses in other letter cases are counted together", "429 SIGN_IN_THROTTLED")
async def guessed_in_cases(scene: Scene) -> Reply:
    person = await scene.customer()
    await scene.ready()
    for number in range(FREE_GUESSES):
        email = person.email.upper() if number % 2 else person.email.title()
        await sign_in(scene, email, WRONG_PASSWORD)
    return await sign_in(scene, person.email, WRONG_PASSWORD)


@case("an address that nobody has is throttled as one that is", "429 SIGN_IN_THROTTLED")
async def throttled_nobody(scene: Scene) -> Reply:
    email = f"{uuid4().hex}@example.com"
    for _ in range(FREE_GUESSES):
        await sign_in(scene, email, WRONG_PASSWORD)
    return await sign_in(scene, email, WRONG_PASSWORD)


@case("a throttled owner comes in again when the time is over", "200", long=True)
async def throttled_owner(scene: Scene) -> Reply:
    person = await scene.customer()
    for _ in range(FREE_GUESSES):
        await sign_in(scene, person.email, WRONG_PASSWORD)
    reply = await sign_in(scene, person.email, person.password)
    async with asyncio.timeout(10):
        while reply.status == 429:
            await asyncio.sleep(float(reply.headers["retry-after"]))
            reply = await sign_in(scene, person.email, person.password)
    await scene.ready()  # the session is rightful
    return reply


@case("the time of an answer does not tell whether an address is known", "within 5 ms", long=True)
async def timing(scene: Scene) -> str:
    """The fastest of each kind: what a machine of many does in between only adds."""
    known = [await scene.customer() for _ in range(TRIES // 8)]
    await scene.ready()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(TRIES):
        for is_known in (True, False):
            email = known[number // 8].email if is_known else f"{uuid4().hex}@canary.example"
            address = scene.another_address()
            await scene.client(address).get("/healthz")  # the connection stands before the clock starts
            began = time.perf_counter()
            await scene.send("POST", "/v1/sessions", {"email": email, "password": WRONG_PASSWORD}, address=address)
            seconds[is_known].append(time.perf_counter() - began)
    fastest = {is_known: statistics.median(sorted(times)[: TRIES // 8]) for is_known, times in seconds.items()}
    apart = abs(fastest[True] - fastest[False])
    return "within 5 ms" if apart <= MOST_APART_SECONDS else f"{apart * 1000:.1f} ms apart"
