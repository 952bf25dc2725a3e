"""The rules as tables: what each call does in each state."""

from datetime import UTC, datetime, timedelta

import pytest

from psp_sim import rules
from psp_sim.rules import Authorize, Entry, Kind, Payment, Refused, Status

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


def authorized_with(payment: Payment | None, token: str = "tok_visa", **changes) -> Entry:
    asked = Authorize(**{"payment_id": "p1", "amount_minor": 1000, "currency": "GBP", "token": token, **changes})
    return rules.authorize(payment, asked, reference="psp_1", at=NOW, waits=rules.Waits())


def payment_in(state: str) -> Payment | None:
    """Build a payment of 1000 by the calls that lead to the named state."""
    if state == "unknown":
        return None
    if state == "tombstone":
        return rules.apply(None, rules.void(None, payment_id="p1", at=NOW))
    token = {"declined": "tok_declined", "requires_action": "tok_action", "processing": "tok_processing"}
    payment = rules.apply(None, authorized_with(None, token.get(state, "tok_visa")))
    if state == "voided":
        payment = rules.apply(payment, rules.void(payment, payment_id="p1", at=NOW))
    if state in ("captured", "refunded"):
        payment = rules.apply(payment, rules.capture(payment, capture_id="c1", amount_minor=1000, at=NOW))
    if state == "refunded":
        payment = rules.apply(payment, rules.refund(payment, refund_id="r1", amount_minor=1000, at=NOW))
    return payment


CALLS = {
    "capture": lambda payment: rules.capture(payment, capture_id="c1", amount_minor=1000, at=NOW),
    "capture again": lambda payment: rules.capture(payment, capture_id="c2", amount_minor=1000, at=NOW),
    "refund": lambda payment: rules.refund(payment, refund_id="r1", amount_minor=1000, at=NOW),
    "refund again": lambda payment: rules.refund(payment, refund_id="r2", amount_minor=1, at=NOW),
    "void": lambda payment: rules.void(payment, payment_id="p1", at=NOW),
    "authorize": lambda payment: authorized_with(payment),
    "confirm": lambda payment: rules.answer_action(payment, confirmed=True, at=NOW),
    "fail": lambda payment: rules.answer_action(payment, confirmed=False, at=NOW),
}


@pytest.mark.parametrize(
    ("token", "status", "decline_code"),
    [
        ("tok_visa", Status.AUTHORIZED, None),
        ("tok_slow", Status.AUTHORIZED, None),
        ("tok_lost_reply", Status.AUTHORIZED, None),
        ("tok_declined", Status.DECLINED, "card_declined"),
        ("tok_insufficient", Status.DECLINED, "insufficient_funds"),
        ("tok_never_heard_of", Status.DECLINED, "unknown_token"),
        ("tok_action", Status.REQUIRES_ACTION, None),
        ("tok_processing", Status.PROCESSING, None),
    ],
)
def test_a_token_decides_the_outcome(token, status, decline_code):
    """Each token stands for one kind of card."""
    payment = rules.apply(None, authorized_with(None, token))

    assert (status, decline_code) == (payment.status, payment.decline_code)


@pytest.mark.parametrize(
    ("state", "call", "status"),
    [
        ("unknown", "void", Status.VOIDED),
        ("unknown", "authorize", Status.AUTHORIZED),
        ("tombstone", "authorize", Status.DECLINED),
        ("authorized", "capture", Status.CAPTURED),
        ("authorized", "void", Status.VOIDED),
        ("requires_action", "void", Status.VOIDED),
        ("requires_action", "confirm", Status.AUTHORIZED),
        ("requires_action", "fail", Status.DECLINED),
        ("processing", "void", Status.VOIDED),
        ("captured", "refund", Status.CAPTURED),
    ],
)
def test_a_call_moves_the_payment(state, call, status):
    """These calls have an effect and an event that says so."""
    payment = payment_in(state)

    entry = CALLS[call](payment)

    assert entry.effect
    changed = rules.apply(payment, entry)
    assert status is changed.status
    assert changed.events == (payment.events if payment else 0) + 1


@pytest.mark.parametrize(
    ("state", "call", "kind"),
    [
        ("authorized", "authorize", Kind.AUTHORIZE),
        ("captured", "authorize", Kind.AUTHORIZE),
        ("captured", "capture", Kind.CAPTURE),
        ("refunded", "refund", Kind.REFUND),
        ("voided", "void", Kind.VOID),
        ("tombstone", "void", Kind.VOID),
        ("declined", "void", Kind.VOID),
    ],
)
def test_a_repeated_call_has_no_effect(state, call, kind):
    """The same id with the same content is answered and changes nothing."""
    entry = CALLS[call](payment_in(state))

    assert (kind, False) == (entry.kind, entry.effect)


@pytest.mark.parametrize(
    ("state", "call", "code"),
    [
        ("unknown", "capture", "payment_not_found"),
        ("unknown", "refund", "payment_not_found"),
        ("unknown", "confirm", "payment_not_found"),
        ("tombstone", "capture", "voided"),
        ("voided", "capture", "voided"),
        ("declined", "capture", "not_authorized"),
        ("requires_action", "capture", "not_authorized"),
        ("processing", "capture", "not_authorized"),
        ("captured", "capture again", "capture_above_authorization"),
        ("captured", "void", "already_captured"),
        ("refunded", "void", "already_captured"),
        ("authorized", "refund", "refund_above_capture"),
        ("refunded", "refund again", "refund_above_capture"),
        ("voided", "confirm", "action_over"),
        ("authorized", "confirm", "action_over"),
    ],
)
def test_a_call_that_does_not_fit_is_refused(state, call, code):
    """Money never moves out of order and never twice."""
    with pytest.raises(Refused) as refusal:
        CALLS[call](payment_in(state))

    assert code == refusal.value.code


@pytest.mark.parametrize("changes", [{"amount_minor": 999}, {"currency": "EUR"}, {"token": "tok_declined"}])
def test_other_content_under_a_payment_id_is_refused(changes):
    """An id names one amount, one currency and one card."""
    with pytest.raises(Refused) as refusal:
        authorized_with(payment_in("authorized"), **changes)

    assert "id_reused" == refusal.value.code


def test_other_amounts_under_a_movement_id_are_refused():
    """A capture_id and a refund_id name one amount each."""
    payment = payment_in("refunded")

    for call in (
        lambda: rules.capture(payment, capture_id="c1", amount_minor=1, at=NOW),
        lambda: rules.refund(payment, refund_id="r1", amount_minor=1, at=NOW),
    ):
        with pytest.raises(Refused) as refusal:
            call()
        assert "id_reused" == refusal.value.code


def test_time_settles_what_waits():
    """Processing ends in an authorization; an action nobody takes ends in a decline, even if confirmed later."""
    processing, waiting = payment_in("processing"), payment_in("requires_action")

    assert rules.settle(processing, at=NOW) is None
    assert Kind.AUTHORIZE is rules.settle(processing, at=LATER).kind
    assert "action_expired" == rules.settle(waiting, at=LATER).decline_code
    assert Kind.DECLINE is rules.answer_action(waiting, confirmed=True, at=LATER).kind


def test_captures_and_refunds_in_parts_stop_at_the_whole():
    """Parts may be taken and given back until nothing is left."""
    payment = payment_in("authorized")
    for capture_id, amount_minor in (("a", 400), ("b", 600)):
        entry = rules.capture(payment, capture_id=capture_id, amount_minor=amount_minor, at=NOW)
        payment = rules.apply(payment, entry)
    assert 1000 == payment.captured_minor
    with pytest.raises(Refused):
        rules.capture(payment, capture_id="c", amount_minor=1, at=NOW)


def test_the_token_is_not_shown():
    """Neither a printed request nor its entry carries the card token."""
    asked = Authorize("p1", 1000, "GBP", "tok_secret_card")

    entry = rules.authorize(None, asked, reference="psp_1", at=NOW, waits=rules.Waits())

    assert "tok_" not in repr(asked) + repr(entry)
