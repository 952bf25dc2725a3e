"""An account from both ends: a second factor, a forgotten password, and the letter between them."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import re
import time
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from svc_auth.factor import rules
from tests.journeys.conftest import RunningMesh, Shopper, reason, until
from tests.svc_auth.passkey.authenticator import Authenticator

OLD, NEW = "correct horse battery", "three words in a row"


def link_sent(mesh: RunningMesh, address: str, page: str) -> str:
    """Wait for the letter to an address that opens a page, and return the token of its link."""

    def look() -> str | None:
        for path in Path(mesh.endpoints["mail_dir"], "new").iterdir():
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            body = message.get_body(("plain",))
            found = re.search(rf"/{page}#token=(\S+)$", body.get_content() if body else "", re.MULTILINE)
            if found and message["To"] == address:
                return found[1]
        return None

    token: str = until(look, seconds=20)
    return token


async def give(mesh: RunningMesh, user_id: str, role: str) -> None:
    """Let a user have a role, as whoever runs the shop gives it."""
    connection = await asyncpg.connect(mesh.endpoints["postgres"]["svc_auth"])
    try:
        await connection.execute("UPDATE users SET roles = $2 WHERE user_id = $1", UUID(user_id), [role])
    finally:
        await connection.close()


@pytest.mark.timeout(120)
def test_a_forgotten_password_is_replaced_by_letter_and_the_second_factor_stays(mesh: RunningMesh) -> None:
    """Everybody who was signed in is out within a second or two; who comes back shows a code."""
    address = f"ada-{uuid4().hex[:8]}@example.com"
    mesh.guest().ok("POST", "/v1/users", {"email": address, "password": OLD})
    shopper = mesh.sign_in(address, OLD)
    shopper.ok("POST", "/v1/emails:requestVerification", {})
    shopper.ok("POST", "/v1/emails:verify", {"token": link_sent(mesh, address, "verify-email")})
    assert shopper.ok("GET", "/v1/users/me")["user"]["emailVerified"] is True
    enrolled = shopper.ok("POST", "/v1/users/me/secondFactor:enrol", {"password": OLD})
    secret = base64.b32decode(enrolled["secret"])
    code = rules.code_at(secret, int(time.time()) // rules.STEP_SECONDS)
    recovery = shopper.ok("POST", "/v1/users/me/secondFactor:confirm", {"code": code})["recoveryCodes"]

    with mesh.http() as http:
        assert http.post("/v1/passwords:requestReset", json={"email": address}).json() == {}
        token = link_sent(mesh, address, "reset-password")
        assert http.post("/v1/passwords:reset", json={"token": token, "password": NEW}).status_code == 200
        assert reason(http.post("/v1/passwords:reset", json={"token": token, "password": NEW})) == "LINK_INVALID"
        refused = until(lambda: answer if (answer := shopper.send("GET", "/v1/cart")).is_error else None, seconds=2)
        assert reason(refused) == "SESSION_REVOKED"
        opened = http.post("/v1/sessions", json={"email": address, "password": NEW}).json()
        assert not opened["accessToken"]
        proof = {"challengeToken": opened["challenge"]["challengeToken"], "proof": {"recoveryCode": recovery[0]}}
        pair = http.post("/v1/sessions:complete", json=proof).json()
        again = Shopper(http, pair["accessToken"], pair["userId"], pair["refreshToken"])
        (session,) = again.ok("GET", "/v1/sessions")["sessions"]
        assert again.user_id == shopper.user_id and session["current"] is True


@pytest.mark.timeout(60)
def test_a_clerk_opens_the_books_with_a_second_factor_alone(mesh: RunningMesh) -> None:
    """With a password they shop as anybody does, and hear what is missing; after a code the next token opens them."""
    address = f"fin-{uuid4().hex[:8]}@example.com"
    user = mesh.guest().ok("POST", "/v1/users", {"email": address, "password": OLD})["user"]
    asyncio.run(give(mesh, user["userId"], "finance"))
    clerk = mesh.sign_in(address, OLD)

    refused = clerk.send("GET", "/v1/ledger:verify")
    assert (403, "SECOND_FACTOR_REQUIRED") == (refused.status_code, reason(refused))
    clerk.ok("GET", "/v1/cart")
    enrolled = clerk.ok("POST", "/v1/users/me/secondFactor:enrol", {"password": OLD})
    code = rules.code_at(base64.b32decode(enrolled["secret"]), int(time.time()) // rules.STEP_SECONDS)
    clerk.ok("POST", "/v1/users/me/secondFactor:confirm", {"code": code})

    with mesh.http() as http:
        pair = http.post("/v1/sessions:refresh", json={"refreshToken": clerk.refresh_token}).json()
        assert pair["secondFactorRequired"] is False
        assert Shopper(http, pair["accessToken"], pair["userId"]).ok("GET", "/v1/ledger:verify")["balanced"] is True


@pytest.mark.timeout(60)
def test_a_passkey_opens_the_shop_without_a_password(mesh: RunningMesh) -> None:
    """Over HTTPS, with a software authenticator in the browser's place; ended, it opens nothing."""
    address, device = f"ada-{uuid4().hex[:8]}@example.com", Authenticator()
    mesh.guest().ok("POST", "/v1/users", {"email": address, "password": OLD})
    shopper = mesh.sign_in(address, OLD)
    asked = shopper.ok("POST", "/v1/passkeys:startRegistration", {})["options"]
    credential = {"credentialJson": device.create(asked["optionsJson"]), "name": "my phone"}
    passkey = shopper.ok("POST", "/v1/passkeys", credential)["passkey"]

    def answer(http: httpx.Client) -> httpx.Response:
        options = http.post("/v1/passkeys:startSignIn", json={}).json()["options"]["optionsJson"]
        return http.post("/v1/passkeys:completeSignIn", json={"credentialJson": device.get(options)})

    with mesh.http() as http:
        pair = answer(http).json()
        again = Shopper(http, pair["accessToken"], pair["userId"], pair["refreshToken"])
        assert again.user_id == shopper.user_id
        assert [each["name"] for each in again.ok("GET", "/v1/passkeys")["passkeys"]] == ["my phone"]
        again.ok("DELETE", f"/v1/passkeys/{passkey['passkeyId']}")
        assert reason(answer(http)) == "PASSKEY_INVALID"
        assert http.get("/v1/federation/providers").json() == {"providers": []}
