"""Asking again, as a saga does, until a card payment stands where the test wants it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from titan.payment.v1.payment_pb2 import PAYMENT_STATUS_AUTHORIZED as AUTHORIZED


async def until(ask: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool], *, seconds: float = 6.0) -> Any:
    """Ask again, as the saga does, until the answer is the wanted one."""
    end = time.monotonic() + seconds
    while not wanted(found := await ask()):
        assert time.monotonic() < end, f"still {found}"
        await asyncio.sleep(0.02)
    return found


async def authorized(till, intent, status=AUTHORIZED):
    async def ask():
        return (await till.authorize(intent))[0]

    return await until(ask, lambda result: result.status == status)


async def captured(till, order_id):
    async def ask():
        return (await till.capture(order_id))[0]

    return await until(ask, lambda result: result.done)


async def voided(till, order_id):
    async def ask():
        return (await till.void(order_id))[0]

    return await until(ask, lambda result: result.done)


async def end_leases(db) -> None:
    """Let the leases of a process that died run out."""
    async with db.hot_read() as connection:
        await connection.execute("UPDATE provider_work SET due_at = now()")
