"""Refresh tokens: each buys one pair. Whoever shows one twice ends the family, for thief and owner alike."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.attacks.case import Reply, Wrong, add, case
from tests.attacks.scene import Scene
from tests.attacks.sweep import until_refused

FAMILY_DEAD_WITHIN_SECONDS = 1.0
AT_ONCE = 8


async def refresh(scene: Scene, token: str) -> Reply:
    """Trade a refresh token."""
    return await scene.send("POST", "/v1/sessions:refresh", {"refreshToken": token})


@case("a spent one again ends the family", "401 REFRESH_TOKEN_INVALID", changes=("svc_auth.sessions",))
async def reuse(scene: Scene) -> Reply:
    guest = await scene.guest()
    await refresh(scene, guest.refresh_token)
    await scene.ready()
    return await refresh(scene, guest.refresh_token)


@case("the newest of a family whose older one was shown again", "401 REFRESH_TOKEN_INVALID")
async def newest_of_the_dead(scene: Scene) -> Reply:
    guest = await scene.guest()
    newest = (await refresh(scene, guest.refresh_token)).body["refreshToken"]
    await refresh(scene, guest.refresh_token)
    await scene.ready()
    return await refresh(scene, newest)


@case("the access tokens of such a family are dead everywhere within a second", "401 SESSION_REVOKED")
async def access_of_the_dead(scene: Scene) -> Reply:
    guest = await scene.guest()
    newest = (await refresh(scene, guest.refresh_token)).body["accessToken"]
    await refresh(scene, guest.refresh_token)
    seconds = await until_refused(scene, newest)
    await scene.ready()
    if seconds > FAMILY_DEAD_WITHIN_SECONDS:
        raise Wrong(f"it took {seconds:.2f} s")
    return await scene.send("GET", "/v1/cart", token=newest)


@case("one traded eight times at once: at most one pair, and that is dead too", "401 REFRESH_TOKEN_INVALID")
async def at_once(scene: Scene) -> Reply:
    guest = await scene.guest()
    answers = await asyncio.gather(*(refresh(scene, guest.refresh_token) for _ in range(AT_ONCE)))
    said = Counter(str(answer) for answer in answers)
    if said["200"] > 1 or set(said) - {"200", "401 REFRESH_TOKEN_INVALID"}:
        raise Wrong(str(said))
    await scene.ready()
    bought = next((answer.body["refreshToken"] for answer in answers if answer.status == 200), guest.refresh_token)
    return await refresh(scene, bought)


@case("one of a session that was ended", "401 REFRESH_TOKEN_INVALID")
async def of_the_ended(scene: Scene) -> Reply:
    guest = await scene.guest()
    await scene.ok("POST", "/v1/sessions:revoke", {"refreshToken": guest.refresh_token})
    await scene.ready()
    return await refresh(scene, guest.refresh_token)


@case("one of another family goes on when a family ends", "200")
async def of_another(scene: Scene) -> Reply:
    one, two = await scene.guest(), await scene.guest()
    await scene.ok("POST", "/v1/sessions:revoke", {"refreshToken": one.refresh_token})
    reply = await refresh(scene, two.refresh_token)
    await scene.ready()  # the trade itself is rightful
    return reply


MADE_UP = {
    "made up": "x" * 43,
    "empty": "",
    "of 513 characters": "x" * 513,
    "of SQL": "' OR 1=1 --",
    "with NUL": "a\0b",
}


def _made_up(what: str) -> None:
    async def attack(scene: Scene) -> Reply:
        return await refresh(scene, MADE_UP[what])

    refused_early = what in ("empty", "of 513 characters", "with NUL")
    due = "400 INVALID_INPUT" if refused_early else "401 REFRESH_TOKEN_INVALID"
    add("refresh", f"one {what}", due, attack, still=True)


for _what in MADE_UP:
    _made_up(_what)


@case("one that is a list", "400 INVALID_INPUT")
async def a_list(scene: Scene) -> Reply:
    return await scene.send("POST", "/v1/sessions:refresh", {"refreshToken": [scene.victims.owner.refresh_token]})


@case("to end a session with one made up tells nothing", "200")
async def ending_with_a_guess(scene: Scene) -> Reply:
    return await scene.send("POST", "/v1/sessions:revoke", {"refreshToken": "y" * 43})
