"""What an answer proves, without a server; and that nothing but a refusal comes of an answer that is none."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from svc_auth.errors import PasskeyInvalid
from svc_auth.passkey import ceremonies
from svc_auth.passkey.ceremonies import Assertion, Registration, RelyingParty
from tests.svc_auth.passkey.authenticator import Authenticator, decoded, encoded

PARTY = RelyingParty("Titan", "https://shop.titan.local")
CHALLENGE = b"c" * 32
CREATE = ceremonies.creation_options(
    PARTY, challenge=CHALLENGE, handle=b"h" * 16, account="ada@example.com", name="Ada", known=[]
)
GET = ceremonies.request_options(PARTY, challenge=CHALLENGE)


def register(credential_json: str) -> ceremonies.NewKey:
    return Registration(credential_json).prove(PARTY)


def sign_in(credential_json: str, key: ceremonies.NewKey) -> ceremonies.Shown:
    return Assertion(credential_json).prove(PARTY, public_key=key.public_key)


def test_a_key_is_made_and_shown():
    """With the challenge that it was asked for, its counter, and whose it is."""
    device = Authenticator()
    made = Registration(device.create(CREATE))
    key = made.prove(PARTY)
    answer = Assertion(device.get(GET))

    assert CHALLENGE == made.challenge == answer.challenge
    assert (key.credential_id, b"h" * 16) == (answer.credential_id, answer.user_handle)
    assert (1, 2) == (key.sign_count, answer.prove(PARTY, public_key=key.public_key).sign_count)


@pytest.mark.parametrize("text", ["", "{}", "[]", "7", "null", "no json", '"x"', "[" * 16_000, '{"id": "x"}', "\ud800"])
def test_a_text_that_is_no_credential_is_refused(text: str):
    """Whoever sends anything at all hears no more than that."""
    for take in (Registration, Assertion):
        with pytest.raises(PasskeyInvalid, match="does not count here"):
            take(text)


ANYTHING: list[Any] = ["", "x", "!!", "näh", encoded(b"\xff" * 40), encoded(b"[]"), encoded(b"{}"), 7, None, [], {}]
ANYTHING += [encoded(text.encode()) for text in ('{"type":7,"challenge":7,"origin":7}', "[" * 5000, "\x00")]


@pytest.mark.parametrize("content", ANYTHING, ids=range(len(ANYTHING)))
def test_a_field_that_is_anything_at_all_is_refused(content: Any):
    """Each field of both answers, in turn; a handle of anything is judged by whoever knows the user."""
    device = Authenticator()
    made, key = json.loads(device.create(CREATE)), register(device.create(CREATE))
    shown = json.loads(device.get(GET))
    for place in ("clientDataJSON", "attestationObject"):
        with pytest.raises(PasskeyInvalid):
            register(json.dumps({**made, "response": {**made["response"], place: content}}))
    for place in ("clientDataJSON", "authenticatorData", "signature"):
        with pytest.raises(PasskeyInvalid):
            sign_in(json.dumps({**shown, "response": {**shown["response"], place: content}}), key)
    for whole in ("id", "rawId", "type", "response"):
        with pytest.raises(PasskeyInvalid):
            register(json.dumps({**made, whole: content}))
        with pytest.raises(PasskeyInvalid):
            sign_in(json.dumps({**shown, whole: content}), key)


def test_a_changed_byte_is_refused_or_changes_nothing_that_counts():
    """Three hundred seeded changes of each answer: a refusal, and never anything else that is raised."""
    chance, device = random.Random(7), Authenticator()
    made = json.loads(device.create(CREATE))
    key = register(json.dumps(made))
    shown = json.loads(device.get(GET))
    attestation = bytearray(decoded(made["response"]["attestationObject"]))
    data = bytearray(decoded(shown["response"]["authenticatorData"]))
    for _ in range(300):
        changed = bytearray(attestation)
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        try:
            register(json.dumps({**made, "response": {**made["response"], "attestationObject": encoded(changed)}}))
        except PasskeyInvalid:
            pass
        forged = bytearray(data)
        forged[chance.randrange(len(forged))] ^= 1 << chance.randrange(8)
        with pytest.raises(PasskeyInvalid):
            sign_in(json.dumps({**shown, "response": {**shown["response"], "authenticatorData": encoded(forged)}}), key)
