"""Sessions of a long run are renewed in time, each once."""

from __future__ import annotations

import time
from typing import Any

from bench.rig.shop import Guest, Shop

LIFE_SECONDS = 900


class Sessions:
    """An edge that trades refresh tokens."""

    def __init__(self) -> None:
        self.traded: list[str] = []

    async def post(self, path: str, body: Any) -> dict[str, str]:
        assert path == "/v1/sessions:refresh"
        self.traded.append(body["refreshToken"])
        return {"accessToken": "new", "refreshToken": "next", "expiresInSeconds": str(LIFE_SECONDS)}


async def test_tokens_that_are_half_through_are_traded_and_no_others() -> None:
    sessions = Sessions()
    shop = Shop(sessions, "admin")  # type: ignore[arg-type]
    due, fresh = Guest("a", "old", "first", time.monotonic() - 1), Guest("b", "young", "kept", time.monotonic() + 60)
    shop._guests = [due, fresh]

    assert await shop.guests(2) == [due, fresh]

    assert sessions.traded == ["first"]
    assert (due.token, due.refresh_token, fresh.token) == ("new", "next", "young")
    assert due.until > time.monotonic() + LIFE_SECONDS / 3
    await shop.renew()
    assert sessions.traded == ["first"]
