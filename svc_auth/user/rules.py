"""Pure decisions about users: what an address and a password must be, and how a profile changes."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from mesh.refusals import InvalidInput
from svc_auth.errors import AlreadyRegistered, PasswordTooWeak, UserChanged
from svc_auth.user import weak

HOUSE_ACCOUNTS = {
    "admin@titan.local": ("admin", "admin_password"),
    "importer@titan.local": ("importer", "importer_password"),
}
"""Address -> role and the name of the secret file. Nobody registers with one of them: a stranger who came before the
secret did would be given its role."""
HOUSE_ROLES = frozenset(role for role, _ in HOUSE_ACCOUNTS.values())

ADDRESS_FIELDS = ("full_name", "line1", "line2", "city", "region", "postal_code", "country_code")
MAX_ADDRESSES = 50
MIN_PASSWORD_CHARACTERS = 8


@dataclass(frozen=True)
class Profile:
    """What a user says about themselves."""

    email: str | None = field(default=None, repr=False)
    display_name: str = field(default="", repr=False)

    @property
    def text(self) -> str:
        """What is sealed of it; nothing where nothing was said."""
        return json.dumps([self.email, self.display_name]) if self != Profile() else ""

    @classmethod
    def of_text(cls, text: str) -> Profile:
        """Return the profile that was sealed as this text."""
        return cls(*json.loads(text)) if text else cls()


@dataclass(frozen=True)
class User:
    """A user as stored. `email_index` is what they are found by, and a guest has none; `sealed` is their profile, if
    they have said anything; `version` counts the user's events. An account of the house is one of HOUSE_ACCOUNTS."""

    user_id: UUID
    email_index: bytes | None
    sealed: bytes | None = field(repr=False)
    roles: tuple[str, ...]
    version: int
    created_at: datetime
    email_verified_at: datetime | None = None
    house: bool = False

    @property
    def guest(self) -> bool:
        """Whether the user has no credentials yet."""
        return self.email_index is None

    @property
    def etag(self) -> str:
        """Changes with every change of the user."""
        return str(self.version)


def normalise_email(email: str) -> str:
    """Return the form in which an address is stored and compared: in lower case, as every provider treats it."""
    # Postgres holds no NUL; nobody's address has the replacement character, so it finds nobody.
    return unicodedata.normalize("NFC", email.strip().replace("\x00", "\ufffd")).lower()


def folded(password: str) -> str:
    """Return the form in which a password is compared with what is weak: an attacker tries every case of it.

    It is hashed as it was sent, and never in this form: a client that wants a letter typed in two ways to be one letter
    composes it before it sends it.
    """
    return unicodedata.normalize("NFKC", password).casefold().strip()


def check_password(password: str, *, email: str, names: Sequence[str] = (), breached: Container[str] = ()) -> None:
    """Let a password pass (NIST SP 800-63B-4, 3.1.1.2).

    `names` are what else an attacker knows: the user's name, the shop's. `breached` are passwords that were stolen
    elsewhere, as `folded` writes them.

    Raises:
        PasswordTooWeak: It is short, common, breached, or a part of the address or of a name.
    """
    text = folded(password)
    if len(text) < MIN_PASSWORD_CHARACTERS:
        raise PasswordTooWeak(f"a password has at least {MIN_PASSWORD_CHARACTERS} characters")
    if weak.is_part_of(text, normalise_email(email)):
        raise PasswordTooWeak("a password must not be a part of the e-mail address")
    if any(weak.is_part_of(text, folded(name)) for name in names):
        raise PasswordTooWeak("a password must not be the name of its user or of the shop")
    if text in breached:
        raise PasswordTooWeak("this password was stolen elsewhere and published: whoever attacks has it in their list")
    if weak.is_common(text):
        raise PasswordTooWeak(
            "this password is among the first that an attacker tries: a common word with or without digits and signs"
            " around it, a row of keys, or a short part again and again; a few words of your own in a row are fine"
        )


def register(user: User, *, email_index: bytes) -> User:
    """Return a guest as a registered user; their profile is another one then.

    Raises:
        AlreadyRegistered: The user has credentials.
    """
    if not user.guest:
        raise AlreadyRegistered("this user has credentials already")
    return replace(user, email_index=email_index, version=user.version + 1)


def update(user: User, profile: Profile, *, display_name: str, paths: Sequence[str], etag: str) -> tuple[User, Profile]:
    """Return user and profile with the named fields changed; without a name, every field that is set (AIP-134).

    A change to what is there already is no change, whatever the etag: asking again after a lost answer is safe.

    Raises:
        InvalidInput: There is no such field to change.
        UserChanged: The etag is not that of the user.
    """
    for path in paths:
        if path not in ("display_name", "*"):
            raise InvalidInput.of("update_mask", f"no field {path} to change")
    name = display_name if paths or display_name else profile.display_name
    if name == profile.display_name:
        return user, profile
    if etag and etag != user.etag:
        raise UserChanged("the user was changed since", etag=user.etag)
    return replace(user, version=user.version + 1), replace(profile, display_name=name)
