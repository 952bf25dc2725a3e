"""Decisions about users, without a server."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from mesh.refusals import InvalidInput
from svc_auth.errors import AlreadyRegistered, PasswordTooWeak, UserChanged
from svc_auth.user import rules
from svc_auth.user.rules import Profile, User

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
GUEST = User(UUID(int=1), None, None, (), 1, NOW)
ADA = User(UUID(int=1), b"found by this", b"sealed", (), 2, NOW)
PROFILE = Profile("ada@example.com", "Ada")


def test_addresses_are_compared_in_lower_case():
    """One mailbox is one user, however it is typed."""
    assert "ada@example.com" == rules.normalise_email("  Ada@Example.COM ")


@pytest.mark.parametrize(
    "password",
    ["password", "PassWord", "password123", "12345678", "zzzzzzzz", "ada@example.com", "short", "Ada.Lovelace"],
)
def test_trivial_passwords_are_refused(password):
    """What is tried first: lists, one character, the address itself."""
    email = "ada.lovelace@example.com" if password == "Ada.Lovelace" else "ada@example.com"
    with pytest.raises(PasswordTooWeak):
        rules.check_password(password, email=email)


def test_a_refused_password_is_told_what_is_weak():
    """The next one should pass."""
    with pytest.raises(PasswordTooWeak, match=r"common word .* row of keys"):
        rules.check_password("password123", email="ada@example.com")
    with pytest.raises(PasswordTooWeak, match="part of the e-mail"):
        rules.check_password("lovelace1815", email="ada.lovelace@example.com")


def test_a_long_phrase_is_a_good_password():
    """No rule about digits and capitals (NIST SP 800-63B, 3.1.1.2)."""
    rules.check_password("correct horse battery staple", email="ada@example.com")


def test_a_guest_registers_once():
    """The user stays the same; the version counts the event."""
    user = rules.register(GUEST, email_index=b"found by this")

    assert GUEST.guest and not user.guest
    assert (GUEST.user_id, b"found by this", 2) == (user.user_id, user.email_index, user.version)
    with pytest.raises(AlreadyRegistered):
        rules.register(user, email_index=b"found by that")


def test_an_update_without_a_mask_changes_what_is_set():
    """An empty name without a mask is no wish for an empty name (AIP-134)."""
    assert (ADA, PROFILE) == rules.update(ADA, PROFILE, display_name="", paths=[], etag="")
    assert "" == rules.update(ADA, PROFILE, display_name="", paths=["display_name"], etag="")[1].display_name


def test_an_update_counts_a_version_and_minds_the_etag():
    """A repeated update is no change, even with the etag of before."""
    changed, profile = rules.update(ADA, PROFILE, display_name="Countess", paths=["display_name"], etag=ADA.etag)

    assert (Profile("ada@example.com", "Countess"), 3) == (profile, changed.version)
    assert rules.update(changed, profile, display_name="Countess", paths=[], etag=ADA.etag)[0] is changed
    with pytest.raises(UserChanged):
        rules.update(changed, profile, display_name="Ada", paths=[], etag=ADA.etag)


def test_an_update_of_another_field_is_refused():
    """Roles and addresses are not the profile's."""
    with pytest.raises(InvalidInput):
        rules.update(ADA, PROFILE, display_name="x", paths=["roles"], etag="")


@pytest.mark.parametrize("profile", [Profile(), PROFILE, Profile(None, "Ada"), Profile("ada@example.com", "")])
def test_a_profile_is_sealed_as_a_text_and_nothing_as_no_text(profile: Profile):
    """Whoever has said nothing needs no key."""
    assert profile == Profile.of_text(profile.text)
    assert bool(profile.text) is (profile != Profile())
    assert "ada" not in f"{profile!r}{ADA!r}".lower()
