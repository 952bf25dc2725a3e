"""How the simulator misbehaves, set at run time through ``/control``.

A share is the part of the occasions on which a fault strikes: 0 never, 1 (or ``true``) always. A lost
reply or an error strikes only a call that had an effect; its repetition is answered, so retries end.
"""

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from psp_sim.rules import Waits

MAX_SECONDS = 3600.0


@dataclass(frozen=True)
class WebhookFaults:
    """Faults of the event deliveries; all but the delay are shares."""

    delay_seconds: float = 0.0
    duplicate: float = 0.0
    drop: float = 0.0
    wrong_amount: float = 0.0
    bad_signature: float = 0.0
    shuffle: float = 0.0


@dataclass(frozen=True)
class Behaviour:
    """Faults and durations; ``unavailable`` answers 503 before anything was done."""

    latency_seconds: float = 0.0
    slow_seconds: float = 5.0
    processing_seconds: float = 2.0
    action_seconds: float = 900.0
    unavailable: float = 0.0
    lose_replies: float = 0.0
    fail_after_capture: float = 0.0
    webhooks: WebhookFaults = field(default_factory=WebhookFaults)

    @property
    def waits(self) -> Waits:
        """How long undecided payments wait."""
        return Waits(processing_seconds=self.processing_seconds, action_seconds=self.action_seconds)


class Control:
    """Holds the behaviour of now, and the dice: the same seed rolls the same faults."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self._dice = random.Random()  # noqa: S311 (faults, not secrets)

    def change(self, wanted: Mapping[str, Any]) -> None:
        """Lay the wanted values over the present ones; nothing changes when one of them is bad.

        Raises:
            ValueError: An unknown name, or a value out of its range.
        """
        wanted = dict(wanted)
        seed = wanted.pop("seed", None)
        if seed is not None and not isinstance(seed, int):
            raise ValueError("seed: an integer is wanted")
        self.behaviour = _changed(self.behaviour, wanted)
        if seed is not None:
            self._dice.seed(seed)

    def reset(self) -> None:
        """Behave well again."""
        self.behaviour = Behaviour()

    def strikes(self, share: float) -> bool:
        """Roll the dice: True in this share of the calls."""
        return share > 0 and self._dice.random() < share

    def within(self, seconds: float) -> float:
        """Roll a duration of at most so many seconds."""
        return self._dice.uniform(0, seconds)

    def to_json(self) -> dict[str, Any]:
        """Return the behaviour as JSON data."""
        return asdict(self.behaviour)


def _changed(current: Any, wanted: Mapping[str, Any]) -> Any:
    names = {each.name for each in fields(current)}
    changes: dict[str, Any] = {}
    for name, value in wanted.items():
        if name not in names:
            raise ValueError(f"{name}: no such setting")
        if name == "webhooks":
            if not isinstance(value, dict):
                raise ValueError("webhooks: an object is wanted")
            changes[name] = _changed(current.webhooks, value)
        else:
            changes[name] = _number(name, value)
    return replace(current, **changes)


def _number(name: str, value: Any) -> float:
    most = MAX_SECONDS if name.endswith("_seconds") else 1.0
    if not isinstance(value, bool | int | float) or not 0 <= value <= most:
        raise ValueError(f"{name}: a number from 0 to {most:g} is wanted")
    return float(value)
