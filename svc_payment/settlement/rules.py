"""What a provider can be asked, and when to ask again."""

from __future__ import annotations

from enum import StrEnum

FIRST_RETRY_SECONDS = 0.25
MAX_RETRY_SECONDS = 5.0
ALARM_RETRY_SECONDS = 60.0
"""After an answer that a person has to look at; asking often would not change it."""

CUSTOMER_POLL_SECONDS = 5.0
"""While the customer has something to do; the return and the webhook are quicker, this is for those that get lost."""


class Call(StrEnum):
    """What to ask a provider next."""

    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    QUERY = "query"
    REFUND = "refund"


def retry_seconds(attempts: int) -> float:
    """Return the pause after this many tries in vain: doubling, at most five seconds, so that nothing waits longer."""
    return min(MAX_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(attempts, 10))
