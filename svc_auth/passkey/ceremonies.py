"""The two ceremonies of WebAuthn, with the library that knows their formats: what is asked of a browser, and what its
answer proves.

An answer counts on the storefront's own pages, not inside a page of somebody else, with a user who was there and whom
the authenticator verified. Which make of authenticator it is, is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import webauthn
from cryptography.exceptions import UnsupportedAlgorithm
from webauthn.helpers import (
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    RegistrationCredential,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from svc_auth.errors import PasskeyInvalid
from svc_auth.passkey.rules import CHALLENGE_SECONDS

ALGORITHMS = [
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]
"""What every authenticator can do one of."""
MAX_CREDENTIAL_ID_BYTES = 1023

_MALFORMED = (
    WebAuthnException,
    UnsupportedAlgorithm,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What a library raises that is given anything at all."""


@dataclass(frozen=True)
class RelyingParty:
    """The shop, as authenticators know it: its name for people, and where its pages are."""

    name: str
    shop_url: str

    @property
    def party_id(self) -> str:
        """The host that a passkey is for."""
        return urlsplit(self.shop_url).hostname or ""

    @property
    def origin(self) -> str:
        """The one origin whose pages may ask for it, as browsers write it: a usual port is left out."""
        port = urlsplit(self.shop_url).port
        return f"https://{self.party_id}" if port in (None, 443) else f"https://{self.party_id}:{port}"


@dataclass(frozen=True)
class NewKey:
    """A key that an authenticator made for this shop."""

    credential_id: bytes
    public_key: bytes = field(repr=False)
    sign_count: int
    backed_up: bool


@dataclass(frozen=True)
class Shown:
    """What an authenticator showed with a key of this shop."""

    sign_count: int
    backed_up: bool


class Registration:
    """An answer to the question for a new key: whole, and not proved yet."""

    def __init__(self, credential_json: str) -> None:
        with _wellformed():
            self._credential: RegistrationCredential = parse_registration_credential_json(credential_json)
            self.challenge = _challenge_of(self._credential.response.client_data_json)

    def prove(self, party: RelyingParty) -> NewKey:
        """Return the key.

        Raises:
            PasskeyInvalid: It was not made for this shop and challenge, or without its user.
        """
        with _wellformed():
            made = webauthn.verify_registration_response(
                credential=self._credential,
                expected_challenge=self.challenge,
                expected_rp_id=party.party_id,
                expected_origin=party.origin,
                require_user_verification=True,
                supported_pub_key_algs=ALGORITHMS,
            )
        if len(made.credential_id) > MAX_CREDENTIAL_ID_BYTES:
            raise PasskeyInvalid("the passkey cannot be used here")
        return NewKey(made.credential_id, made.credential_public_key, made.sign_count, made.credential_backed_up)


class Assertion:
    """An answer to the question for a known key: whole, and not proved yet."""

    def __init__(self, credential_json: str) -> None:
        with _wellformed():
            self._credential: AuthenticationCredential = parse_authentication_credential_json(credential_json)
            self.challenge = _challenge_of(self._credential.response.client_data_json)
            self.credential_id: bytes = self._credential.raw_id
            self.user_handle: bytes | None = self._credential.response.user_handle

    def prove(self, party: RelyingParty, *, public_key: bytes) -> Shown:
        """Return what was shown with the key. Whether the counter goes on is judged elsewhere.

        Raises:
            PasskeyInvalid: It was not signed with the key, for this shop and challenge, or without its user.
        """
        with _wellformed():
            shown = webauthn.verify_authentication_response(
                credential=self._credential,
                expected_challenge=self.challenge,
                expected_rp_id=party.party_id,
                expected_origin=party.origin,
                credential_public_key=public_key,
                credential_current_sign_count=0,
                require_user_verification=True,
            )
        return Shown(shown.new_sign_count, shown.credential_backed_up)


def creation_options(
    party: RelyingParty, *, challenge: bytes, handle: bytes, account: str, name: str, known: Sequence[bytes]
) -> str:
    """Return what a browser is asked for that makes a key, as JSON: not on an authenticator that has a known one."""
    options = webauthn.generate_registration_options(
        rp_id=party.party_id,
        rp_name=party.name,
        user_id=handle,
        user_name=account,
        user_display_name=name or account,
        challenge=challenge,
        timeout=CHALLENGE_SECONDS * 1000,
        attestation=AttestationConveyancePreference.NONE,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=each) for each in known],
        supported_pub_key_algs=ALGORITHMS,
    )
    return webauthn.options_to_json(options)


def request_options(party: RelyingParty, *, challenge: bytes) -> str:
    """Return what a browser is asked for that signs in, as JSON: any key that it has for this shop."""
    options = webauthn.generate_authentication_options(
        rp_id=party.party_id,
        challenge=challenge,
        timeout=CHALLENGE_SECONDS * 1000,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return webauthn.options_to_json(options)


def _challenge_of(client_data_json: bytes) -> bytes:
    client_data = parse_client_data_json(client_data_json)
    if client_data.cross_origin:
        raise ValueError("asked from inside a page of somebody else")
    return client_data.challenge


@contextmanager
def _wellformed() -> Iterator[None]:
    """Refuse whatever the library does not take; why helps only a forger."""
    try:
        yield
    except _MALFORMED as cause:
        raise PasskeyInvalid("the passkey does not count here") from cause
