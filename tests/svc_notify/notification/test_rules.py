"""Which events make a message, and what becomes of it after a try: no server, milliseconds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from svc_notify.channels.interface import ChannelKind, Outcome, Verdict
from svc_notify.notification import rules
from svc_notify.notification.rules import Notification, NotificationStatus
from svc_notify.templates.letters import LETTERS

AT = datetime(2026, 1, 1, tzinfo=UTC)
ONE = Notification(
    notification_id=UUID(int=1),
    event_id=UUID(int=2),
    channel=ChannelKind.EMAIL,
    template="order_confirmed",
    user_id=UUID(int=3),
    order_id=UUID(int=4),
    order_version=2,
    message_id="<1@titan.local>",
    created_at=AT,
)


def judge(verdict: Verdict, *, attempts: int = 0, problem: str = "", jitter: float = 1.0) -> rules.Result:
    outcome = Outcome(verdict, problem)
    return rules.judge(replace(ONE, attempts=attempts), outcome, recipient="a***@b.c", at=AT, jitter=jitter)


@pytest.mark.parametrize(
    ("event", "template"),
    [
        ("OrderConfirmed", "order_confirmed"),
        ("OrderShipped", "order_shipped"),
        ("OrderCancelled", "order_cancelled"),
        ("OrderRefunded", "order_refunded"),
        ("OrderPlaced", None),
        ("OrderTracked", None),
        ("OrderDelivered", None),
        ("SomethingNew", None),
    ],
)
def test_events_make_the_messages_that_a_shopper_expects(event, template):
    """An event of a kind that is not known yet makes none."""
    assert template == rules.template_of(f"titan.order.v1.{event}")


def test_every_template_has_a_letter():
    """A template without one would be found only when it is sent."""
    assert set(rules.TEMPLATES.values()) == set(LETTERS)


def test_a_taken_message_is_sent():
    """It is never tried again, and says when it went and to whom, masked."""
    result = judge(Verdict.TAKEN)
    assert (NotificationStatus.SENT, AT, 1, "a***@b.c") == (
        result.status,
        result.sent_at,
        result.attempts,
        result.recipient,
    )


def test_a_refused_message_is_dead():
    """A refusal for good ends it at the first try, with the code of why."""
    result = judge(Verdict.REFUSED, problem="SMTP 550 5.1.1")
    assert (NotificationStatus.FAILED, "SMTP 550 5.1.1", 1) == (result.status, result.problem, result.attempts)


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 2), (1, 4), (2, 8), (10, 2048), (11, 3600), (28, 3600)])
def test_a_message_for_later_waits_twice_as_long_each_time(attempts, seconds):
    """Up to an hour."""
    result = judge(Verdict.LATER, attempts=attempts)
    assert NotificationStatus.PENDING is result.status
    assert AT + timedelta(seconds=seconds) == result.due_at


def test_jitter_leaves_out_up_to_half_of_a_pause():
    """Messages that failed together do not come back together."""
    assert AT + timedelta(seconds=1) == judge(Verdict.LATER, jitter=0.0).due_at


def test_a_message_is_given_up_after_its_last_try():
    """It joins the dead letters with the last problem."""
    result = judge(Verdict.LATER, attempts=rules.MAX_ATTEMPTS - 1, problem="SMTP 451")
    assert (NotificationStatus.FAILED, "SMTP 451") == (result.status, result.problem)


def test_a_channel_that_is_down_costs_no_try():
    """However long it is down, no message dies of it."""
    result = judge(Verdict.DOWN, attempts=rules.MAX_ATTEMPTS - 1)
    assert (NotificationStatus.PENDING, rules.MAX_ATTEMPTS - 1, AT) == (result.status, result.attempts, result.due_at)


def test_the_message_id_is_made_of_the_notification():
    """Every try carries the same, so a mail server can tell a repetition."""
    assert f"<{UUID(int=7)}@titan.local>" == rules.message_id(UUID(int=7), "titan.local")


def test_pauses_grow_up_to_their_limit():
    """The worker as a whole waits like this for a channel."""
    assert [0.25, 0.5, 1.0, 15.0] == [rules.backoff_seconds(n, 1.0, 0.25, 15.0) for n in (1, 2, 3, 60)]
