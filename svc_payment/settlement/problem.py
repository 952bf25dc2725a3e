"""Why a provider's answer could not be taken, and the count of those that need a person."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import Counter

from mesh.telemetry import REGISTRY, get_logger

ALARMS = Counter(
    "titan_payment_alarms", "Answers of providers that a person has to look at.", ["subject"], registry=REGISTRY
)

log = get_logger("svc_payment.settlement")


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, in words; an alarm is for a person to look at, the rest cures itself."""

    text: str
    is_alarm: bool

    def report(self, subject: str, **ids: str) -> None:
        """Call for a person, where one is needed; `ids` say what to look at."""
        if self.is_alarm:
            ALARMS.labels(subject).inc()
            log.error("a provider's answer cannot be taken", subject=subject, problem=self.text, **ids)
