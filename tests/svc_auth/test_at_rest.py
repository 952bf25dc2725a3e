"""What a copy of the database tells about somebody who did everything: that there is a user, and no word of theirs."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

import pytest

from mesh.database import Database
from svc_auth.factor.rules import code_at, step_of
from svc_auth.user import store as user_store
from tests.at_rest import copy_of, shown
from tests.svc_auth.conftest import PASSWORD, Replica, bearer, refused
from tests.svc_auth.federation import test_rpc as federation
from tests.svc_auth.federation.conftest import issuer, provider_clients, running_provider  # noqa: F401
from tests.svc_auth.federation.issuer import Issuer, Person
from tests.svc_auth.passkey import test_rpc as passkey
from tests.svc_auth.passkey.authenticator import Authenticator
from titan.auth.v1 import auth_service_pb2, second_factor_service_pb2, user_service_pb2
from titan.type.v1 import address_pb2

WORDS = {
    what: f"canary-of-{what}"
    for what in (
        "email",
        "name",
        "new-name",
        "guest-name",
        "client",
        "guest-client",
        "pending-client",
        "flow-client",
        "recipient",
        "street",
        "town",
        "code",
        "passkey",
        "subject",
        "elsewhere",
        "elsewhere-name",
        "unknown",
        "customer-id",
        "customer-name",
        "new-password",
    )
}
EMAIL = f"{WORDS['email']}@example.com"


async def dump(db: Database) -> str:
    """Return all that the database has."""
    async with db.hot_read() as connection:
        return await copy_of(connection)


async def live(titan: Replica, provider: Issuer, importer: Any) -> tuple[str, str]:
    """Do everything once, with words that nobody else has.

    Returns the user's id, and what the database had before a new password ended passkeys and identities.
    """
    guest = await titan.auth.CreateGuestSession(
        auth_service_pb2.CreateGuestSessionRequest(client_name=WORDS["guest-client"])
    )
    rename = user_service_pb2.UpdateMeRequest(display_name=WORDS["guest-name"])
    await titan.user.UpdateMe(rename, metadata=bearer(guest))
    registered = user_service_pb2.CreateUserRequest(email=EMAIL, password=PASSWORD, display_name=WORDS["name"])
    await titan.user.CreateUser(registered, metadata=bearer(guest))
    await refused(titan.sign_in(EMAIL, "not the password"))
    await refused(titan.sign_in(f"{WORDS['unknown']}@example.com"))
    pair = await titan.sign_in(EMAIL, client_name=WORDS["client"])
    address = address_pb2.Address(
        full_name=WORDS["recipient"],
        line1=WORDS["street"],
        city=WORDS["town"],
        postal_code=WORDS["code"],
        country_code="GB",
    )
    await titan.user.CreateAddress(user_service_pb2.CreateAddressRequest(address=address), metadata=bearer(pair))
    rename = user_service_pb2.UpdateMeRequest(display_name=WORDS["new-name"])
    await titan.user.UpdateMe(rename, metadata=bearer(pair))
    device = Authenticator()
    options = await passkey.ask_to_register(titan, pair)
    await passkey.create(titan, pair, device.create(options), name=WORDS["passkey"])
    await federation.link(titan, provider, pair, Person(subject=WORDS["subject"]))
    elsewhere = Person(email=f"{WORDS['elsewhere']}@example.com", name=WORDS["elsewhere-name"])
    await federation.sign_in(titan, provider, elsewhere)
    await federation.begin(titan, client_name=WORDS["flow-client"])
    customer = user_service_pb2.ImportedUser(external_id=WORDS["customer-id"], display_name=WORDS["customer-name"])
    imported = user_service_pb2.BatchImportUsersRequest(users=[customer])
    await titan.user.BatchImportUsers(imported, metadata=bearer(importer))
    before = await dump(titan.db)
    await titan.reset_password(EMAIL, WORDS["new-password"])
    pair = await titan.sign_in(EMAIL, WORDS["new-password"])
    enrolled = await titan.factor.EnrolSecondFactor(
        second_factor_service_pb2.EnrolSecondFactorRequest(password=WORDS["new-password"]), metadata=bearer(pair)
    )
    code = code_at(base64.b32decode(enrolled.secret), step_of(titan.clock.now()))
    confirm = second_factor_service_pb2.ConfirmSecondFactorRequest(code=code)
    await titan.factor.ConfirmSecondFactor(confirm, metadata=bearer(pair))
    await titan.sign_in(EMAIL, WORDS["new-password"], client_name=WORDS["pending-client"])
    WORDS.update(secret=enrolled.secret, refresh_token=pair.refresh_token)
    return pair.user_id, before


async def test_no_word_of_a_user_stands_in_the_database(titan: Replica, issuer: Issuer, importer: Any):  # noqa: F811
    """In no column of any table, as a text, as bytes or in base64; and their own words are read back from it."""
    user_id, before = await live(titan, issuer, importer)

    for found in (before, await dump(titan.db)):
        assert user_id in found
        assert [] == shown(WORDS.values(), found)
    async with titan.db.hot_read() as connection:
        user = await titan.profiles.of(await user_store.get_user(connection, UUID(user_id)))
    assert (EMAIL, WORDS["new-name"]) == (user.email, user.display_name)


@pytest.mark.parametrize("spelling", ["text", "bytes", "base64"])
async def test_a_word_that_stood_there_would_be_found(titan: Replica, spelling: str):
    """Or the test above would say nothing."""
    word = "canary-that-sits-in-the-open"
    value = {"text": word, "bytes": word.encode().hex(), "base64": base64.b64encode(b"x" + word.encode()).decode()}
    async with titan.db.hot() as tx:
        await tx.execute(
            "INSERT INTO outbox (event_id, topic, type, aggregate_id, version, subject, payload)"
            " VALUES (gen_random_uuid(), 't', 't', gen_random_uuid()::text, 1, '', $1)",
            bytes.fromhex(value[spelling]) if spelling == "bytes" else b"",
        )
        if spelling != "bytes":
            await tx.execute("UPDATE outbox SET subject = $1 WHERE topic = 't'", value[spelling])

    found = await dump(titan.db)

    assert [word] == shown([word], found)
    async with titan.db.hot() as tx:
        await tx.execute("DELETE FROM outbox WHERE topic = 't'")
