"""Decisions about users, without a server."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from mesh.refusals import InvalidInput
from svc_auth.errors import AlreadyRegistered, PasswordTooWeak, UserChanged
from svc_auth.user import rules
from svc_auth.user.rules import User

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
GUEST = User(UUID(int=1), None, "", (), 1, NOW)
ADA = User(UUID(int=1), "ada@example.com", "Ada", (), 2, NOW)


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


def test_one_password_typed_on_two_keyboards_is_one_password():
    """A composed and a decomposed letter hash alike."""
    assert rules.normalise_password("pass\u00e9word") == rules.normalise_password("passe\u0301word")


def test_a_guest_registers_once():
    """The user stays the same; the version counts the event."""
    user = rules.register(GUEST, email="ada@example.com", display_name="Ada")

    assert (GUEST.user_id, "ada@example.com", "Ada", 2, False) == (
        user.user_id,
        user.email,
        user.display_name,
        user.version,
        user.guest,
    )
    with pytest.raises(AlreadyRegistered):
        rules.register(user, email="eve@example.com", display_name="")


def test_an_update_without_a_mask_changes_what_is_set():
    """An empty name without a mask is no wish for an empty name (AIP-134)."""
    assert rules.update(ADA, display_name="", paths=[], etag="") is ADA
    assert "" == rules.update(ADA, display_name="", paths=["display_name"], etag="").display_name


def test_an_update_counts_a_version_and_minds_the_etag():
    """A repeated update is no change, even with the etag of before."""
    changed = rules.update(ADA, display_name="Countess", paths=["display_name"], etag=ADA.etag)

    assert ("Countess", 3) == (changed.display_name, changed.version)
    assert rules.update(changed, display_name="Countess", paths=[], etag=ADA.etag) is changed
    with pytest.raises(UserChanged):
        rules.update(changed, display_name="Ada", paths=[], etag=ADA.etag)


def test_an_update_of_another_field_is_refused():
    """Roles and addresses are not the profile's."""
    with pytest.raises(InvalidInput):
        rules.update(ADA, display_name="x", paths=["roles"], etag="")
