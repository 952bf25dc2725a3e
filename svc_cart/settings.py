"""What this package can be told: how often it saves, and how long a price is shown without asking again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """A cart is at most one second old in Postgres: the saver and the sweeper run four times as often, and what its own
    process has not saved after half a second is everybody's."""

    save_seconds: float = 0.25
    sweep_seconds: float = 0.25
    orphan_seconds: float = 0.5
    price_seconds: float = 5.0
    redis_timeout_seconds: float = 1.0
