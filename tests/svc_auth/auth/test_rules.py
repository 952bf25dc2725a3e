"""Decisions about tokens, tries and keys, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from svc_auth.auth import rules
from svc_auth.auth.rules import Attempts, KeyTimes, RefreshState, RefreshVerdict, Subject
from svc_auth.errors import SignInThrottled

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ADA = UUID(int=1)
SESSION = UUID(int=2)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def claims_of(subject: Subject, actor_id: UUID | None = None) -> dict[str, object]:
    return rules.access_claims(
        subject,
        session_id=SESSION,
        token_id=UUID(int=3),
        at=NOW,
        issuer="https://titan.local",
        audience="titan",
        cell="local",
        actor_id=actor_id,
    )


def test_a_token_names_its_user_session_and_cell_and_lives_ten_minutes():
    """The claims are those that every verifier of the mesh reads."""
    claims = claims_of(Subject(ADA, False, ("support", "admin")))

    assert {
        "iss": "https://titan.local",
        "aud": "titan",
        "sub": str(ADA),
        "sid": str(SESSION),
        "roles": ["customer", "admin", "support"],
        "guest": False,
        "cell": "local",
        "iat": int(NOW.timestamp()),
        "nbf": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 600,
        "jti": str(UUID(int=3)),
    } == claims


def test_a_guest_is_no_customer_and_an_actor_is_named():
    """Guests carry the role of guests; `act` is there only when somebody acts."""
    assert ["guest"] == claims_of(Subject(ADA, True))["roles"]
    assert {"sub": str(SESSION)} == claims_of(Subject(ADA, True), actor_id=SESSION)["act"]


@pytest.mark.parametrize(
    ("roles", "amr", "open_ones", "withheld"),
    [
        ((), ("pwd",), (), ()),
        (("admin",), ("pwd",), (), ("admin",)),
        (("admin",), ("fed",), (), ("admin",)),
        (("admin",), (), (), ("admin",)),
        (("admin",), ("pwd", "otp", "mfa"), ("admin",), ()),
        (("admin",), ("fed", "mfa"), ("admin",), ()),
        (("admin",), ("pop", "user", "mfa"), ("admin",), ()),
        (("support", "finance", "warehouse"), ("pwd",), (), ("finance", "support", "warehouse")),
        (("seller",), ("pwd",), ("seller",), ()),
        (("finance", "seller"), ("pwd",), ("seller",), ("finance",)),
        (("importer",), ("pwd",), ("importer",), ()),
        (("importer", "seller"), ("pwd",), ("importer", "seller"), ()),
        (("admin", "importer"), ("pwd",), (), ("admin", "importer")),
    ],
)
def test_roles_of_the_house_wait_for_a_second_factor(roles, amr, open_ones, withheld):
    """A seller's is none of the house; a program has none to show, and somebody with other roles is no program."""
    admitted = rules.in_session(Subject(ADA, False, roles), amr, password_roles={"importer"})

    claims = claims_of(admitted)
    assert (["customer", *open_ones], list(withheld)) == (claims["roles"], claims.get("withheld_roles", []))
    assert "withheld_roles" not in claims or withheld


def test_nobody_acts_for_somebody_who_holds_a_role():
    """The importer's role must not buy an administrator's token."""
    assert rules.acted_for(Subject(ADA, False, ("admin",))) is None
    assert Subject(ADA, True, ("importer",)) == rules.acted_for(Subject(ADA, True))


@pytest.mark.parametrize(
    ("spent", "revoked", "at", "verdict"),
    [
        (None, None, NOW, RefreshVerdict.ROTATE),
        (None, None, NOW + seconds(60), RefreshVerdict.INVALID),
        (NOW, None, NOW, RefreshVerdict.REUSED),
        (NOW, None, NOW + seconds(3600), RefreshVerdict.REUSED),
        (None, NOW, NOW, RefreshVerdict.INVALID),
        (NOW, NOW, NOW, RefreshVerdict.INVALID),
    ],
)
def test_a_refresh_token_is_good_once(spent, revoked, at, verdict):
    """A spent token ends the session however late it comes; a revoked session stays ended."""
    state = RefreshState(SESSION, Subject(ADA, False), NOW, NOW + seconds(60), spent, revoked)

    assert verdict is rules.judge_refresh(state, at=at)


@pytest.mark.parametrize(("guest", "days"), [(False, 90), (True, 400)])
def test_a_session_ends_however_often_it_is_refreshed(guest: bool, days: int):
    """Its last tokens expire with it, and one that was issued for longer counts no longer either."""
    subject, end = Subject(ADA, guest), NOW + timedelta(days=days)
    longer = RefreshState(SESSION, subject, NOW, end + timedelta(days=1), None, None)

    assert RefreshVerdict.ROTATE is rules.judge_refresh(longer, at=end - seconds(1))
    assert RefreshVerdict.INVALID is rules.judge_refresh(longer, at=end)
    assert NOW + timedelta(days=30) == rules.refresh_end(subject, opened_at=NOW, at=NOW)
    assert end == rules.refresh_end(subject, opened_at=NOW, at=end - timedelta(days=2))


def test_an_unknown_refresh_token_is_invalid():
    """It ends nothing, since it belongs to nothing."""
    assert RefreshVerdict.INVALID is rules.judge_refresh(None, at=NOW)


def test_nine_wrong_passwords_are_free_and_then_the_wait_doubles_up_to_a_minute():
    """Guessing becomes slow, and the owner is never kept out for longer than a minute."""
    attempts, waits = None, []
    for _ in range(20):
        attempts = rules.after_failure(attempts, at=NOW)
        waits.append((attempts.blocked_until - NOW).total_seconds())

    assert [0.0] * 9 + [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60] == waits


def test_a_million_wrong_passwords_wait_no_longer_than_a_minute():
    """The count has no bound; the power of two has."""
    assert NOW + seconds(60) == rules.after_failure(Attempts(10**6, NOW, NOW), at=NOW).blocked_until


def test_a_quiet_quarter_of_an_hour_forgets_wrong_passwords():
    """Somebody who mistypes now and then is never throttled."""
    assert 1 == rules.after_failure(Attempts(50, NOW, NOW), at=NOW + seconds(901)).failures
    assert 51 == rules.after_failure(Attempts(50, NOW, NOW), at=NOW + seconds(899)).failures


def test_a_throttled_try_says_when_to_come_again():
    """The delay is in the details; after it the try is admitted."""
    attempts = Attempts(12, NOW, NOW + seconds(4))

    with pytest.raises(SignInThrottled) as refusal:
        rules.admit_attempt(attempts, at=NOW + seconds(1))

    assert 3 == refusal.value.retry_after_seconds
    rules.admit_attempt(attempts, at=NOW + seconds(4))
    rules.admit_attempt(None, at=NOW)


def key(name: str, sign_in: float) -> KeyTimes:
    return KeyTimes(name, NOW + seconds(sign_in))


def names(keys: list[KeyTimes]) -> list[str]:
    return [k.kid for k in keys]


def test_the_key_that_started_last_signs():
    """A key that is only published does not sign yet."""
    keys = [key("old", -1000), key("now", -10), key("next", 15)]

    assert "now" == rules.signing_key(keys, at=NOW).kid
    assert "next" == rules.signing_key(keys, at=NOW + seconds(15)).kid
    assert rules.signing_key(keys, at=NOW - seconds(2000)) is None


def test_a_retired_key_verifies_until_its_last_token_has_expired():
    """It retires when the next one starts to sign, not when that one is made."""
    keys = [key("older", -5000), key("old", -1000), key("next", 15)]

    assert ["next", "old"] == names(rules.verifying_keys(keys, at=NOW))
    assert ["next", "old"] == names(rules.verifying_keys(keys, at=NOW + seconds(15 + 600)))
    assert ["next"] == names(rules.verifying_keys(keys, at=NOW + seconds(15 + 660)))


def test_no_second_key_is_made_while_one_waits_to_sign():
    """Rotating twice gives the same key; so does rotating with a full key set."""
    waiting = [key("now", -10), key("next", 15)]
    many = [key(str(number), -10 * number) for number in range(8)]

    assert "next" == rules.key_to_await(waiting, at=NOW).kid
    assert rules.key_to_await(waiting, at=NOW + seconds(15)) is None
    assert "0" == rules.key_to_await(many, at=NOW).kid
    assert rules.key_to_await([], at=NOW) is None


def test_the_first_key_signs_at_once_and_the_next_gives_notice():
    """Nobody can have read another key before there was one."""
    assert NOW == rules.next_sign_time([], at=NOW, notice_seconds=15)
    assert NOW + seconds(15) == rules.next_sign_time([key("now", -10)], at=NOW, notice_seconds=15)


def test_a_key_serves_its_period():
    """With no key at all the rotation is due."""
    assert rules.rotation_due([], at=NOW, period_seconds=100)
    assert rules.rotation_due([key("now", -100)], at=NOW, period_seconds=100)
    assert not rules.rotation_due([key("now", -99)], at=NOW, period_seconds=100)
