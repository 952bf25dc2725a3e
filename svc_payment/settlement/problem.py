"""Why a provider's answer could not be taken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, in words; an alarm is for a person to look at, the rest cures itself."""

    text: str
    is_alarm: bool
