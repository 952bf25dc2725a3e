"""Calls to a provider over HTTP: what is taken from it, and what is not."""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from control.atomic_file import replace_text
from mesh.refusals import Overloaded
from svc_auth.errors import IdentityNotProven, IdentityProviderUnavailable
from svc_auth.federation import client as provider_client
from svc_auth.federation import rules
from svc_auth.federation.client import ProviderClient
from svc_auth.federation.providers import Endpoints
from tests.svc_auth.federation.conftest import SECRET_FILE, TLS, provider_at
from tests.svc_auth.federation.issuer import CLIENT_SECRET, REDIRECT_URI, Issuer, running_issuer

TOKEN = "the token of a flow"


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def secrets_dir(tmp_path: Path) -> Path:
    replace_text(tmp_path / SECRET_FILE, CLIENT_SECRET)
    return tmp_path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(issuer: Issuer, secrets_dir: Path, clock: Clock) -> AsyncIterator[ProviderClient]:
    made = ProviderClient(provider_at(issuer.url), secrets_dir, TLS, now=clock, call_seconds=0.5)
    yield made
    await made.close()


async def redeem(client: ProviderClient, issuer: Issuer) -> Mapping[str, Any]:
    """Go to the provider and back, and redeem the code."""
    endpoint = f"{issuer.url}/authorize"
    url = rules.authorization_url(endpoint, client.provider, redirect_uri=REDIRECT_URI, token=TOKEN)
    code = (await issuer.visit(url))["code"]
    return await client.redeem(code, redirect_uri=REDIRECT_URI, verifier=rules.verifier_of(TOKEN))


async def test_a_code_becomes_a_verified_payload(client: ProviderClient, issuer: Issuer):
    """Metadata and keys are read once for many."""
    for _ in range(3):
        assert rules.nonce_of(TOKEN) == (await redeem(client, issuer))["nonce"]

    assert ["metadata", "token", "jwks", "token", "token"] == issuer.asked


async def test_many_at_once_read_the_metadata_once(client: ProviderClient, issuer: Issuer):
    """The first reads for all."""
    await asyncio.gather(*(client.authorization_endpoint() for _ in range(20)))

    assert ["metadata"] == issuer.asked


async def test_metadata_are_read_again_after_an_hour(client: ProviderClient, issuer: Issuer, clock: Clock):
    """A provider moves its endpoints now and then."""
    await client.authorization_endpoint()
    issuer.behaviour.metadata = {"authorization_endpoint": f"{issuer.url}/elsewhere"}
    clock.seconds += 3600
    assert f"{issuer.url}/authorize" == await client.authorization_endpoint()
    clock.seconds += 1

    assert f"{issuer.url}/elsewhere" == await client.authorization_endpoint()


async def test_a_provider_rotates_its_keys(client: ProviderClient, issuer: Issuer, clock: Clock):
    """A token that names an unknown key has the keys read again, and forged ones only now and then."""
    await redeem(client, issuer)
    issuer.behaviour.header = {"kid": "forged"}
    for _ in range(3):
        with pytest.raises(IdentityNotProven):
            await redeem(client, issuer)
    assert 1 == issuer.asked.count("jwks")
    clock.seconds += 31
    for _ in range(3):
        with pytest.raises(IdentityNotProven):
            await redeem(client, issuer)

    assert 2 == issuer.asked.count("jwks")


async def test_a_withdrawn_key_counts_for_ten_minutes_at_most(client: ProviderClient, issuer: Issuer, clock: Clock):
    """Then the keys are read anew, and it is not among them."""
    await redeem(client, issuer)
    old, issuer.key = issuer.key, ec.generate_private_key(ec.SECP256R1())
    issuer.behaviour.key = old
    clock.seconds += 601

    with pytest.raises(IdentityNotProven):
        await redeem(client, issuer)


async def test_a_token_without_a_key_id_is_of_the_one_key(client: ProviderClient, issuer: Issuer):
    """As the standard allows where a provider has one."""
    issuer.behaviour.header = {"kid": None}

    assert await redeem(client, issuer)


@pytest.mark.parametrize("forgery", ["none", "HS256 with the public key", "another key", "another algorithm"])
async def test_a_forged_token_proves_nothing(client: ProviderClient, issuer: Issuer, forgery: str):
    """Neither unsigned, nor signed with what everybody knows, nor by anybody else."""
    behaviour, nonce = issuer.behaviour, rules.nonce_of(TOKEN)
    if forgery == "none":
        behaviour.key, behaviour.algorithm = "", "none"
    elif forgery.startswith("HS256"):
        behaviour.key, behaviour.algorithm = b"what everybody knows, thirty-two bytes", "HS256"
    elif forgery == "another key":
        behaviour.key = ec.generate_private_key(ec.SECP256R1())
    else:
        behaviour.key, behaviour.algorithm = rsa.generate_private_key(65537, 2048), "RS256"
    assert nonce in str(jwt.decode(issuer.id_token(nonce), options={"verify_signature": False}))

    with pytest.raises(IdentityNotProven):
        await redeem(client, issuer)


@pytest.mark.parametrize("header", [{"crit": ["x"], "x": 1}, {"kid": 7}])
async def test_a_header_that_nobody_understands_is_refused(client: ProviderClient, issuer: Issuer, header: Any):
    """A critical extension is one that must be understood (RFC 7515, 4.1.11)."""
    if "kid" in header:
        token = base64.urlsafe_b64encode(b'{"alg":"ES256","kid":7}').decode() + ".e30.c2ln"
        issuer.behaviour.token_answer = JSONResponse({"id_token": token})
    else:
        issuer.behaviour.header = header

    with pytest.raises(IdentityNotProven):
        await redeem(client, issuer)


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 65_536
    yield b'{"id_token": "of nobody"}'


@pytest.mark.parametrize(
    "answer",
    [
        lambda: JSONResponse({"error": "invalid_client"}, 401),
        lambda: JSONResponse({"error": "server_error"}, 500),
        lambda: JSONResponse({"access_token": "x"}),
        lambda: JSONResponse({"id_token": 7}),
        lambda: JSONResponse({"id_token": "x" * 16_385}),
        lambda: JSONResponse(["no object"]),
        lambda: Response("<html>Bad Gateway</html>", 502),
        lambda: Response("[" * 100_000),
        lambda: StreamingResponse(pieces(5)),
        lambda: Response(gzip.compress(b'{"id_token": "x"}'), headers={"content-encoding": "gzip"}),
    ],
)
async def test_an_answer_that_is_none_is_the_providers_failure(client: ProviderClient, issuer: Issuer, answer: Any):
    """Whatever its form: too long, squeezed, elsewhere, or no JSON at all."""
    issuer.behaviour.token_answer = answer()

    with pytest.raises(IdentityProviderUnavailable) as refusal:
        await redeem(client, issuer)
    assert "html" not in refusal.value.message


async def test_a_slow_provider_is_given_up(client: ProviderClient, issuer: Issuer):
    """The caller has a deadline, and others wait for their turn."""
    issuer.behaviour.delay_seconds = 5
    with pytest.raises(IdentityProviderUnavailable):
        await redeem(client, issuer)


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://elsewhere.example.com"},
        {"jwks_uri": "file:///etc/passwd"},
        {"token_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://elsewhere.example.com/"},
    ],
)
async def test_metadata_that_are_none_are_the_providers_failure(client: ProviderClient, issuer: Issuer, metadata: Any):
    """Another issuer's, without an endpoint, or with one that would send a browser to a script."""
    issuer.behaviour.metadata = metadata

    with pytest.raises(IdentityProviderUnavailable):
        await redeem(client, issuer)


@pytest.mark.parametrize("endpoint", ["token_endpoint", "jwks_uri"])
async def test_metadata_lead_nowhere_else(client: ProviderClient, issuer: Issuer, endpoint: str):
    """A server beside the provider that would answer well, as one inside our walls might, is never asked."""
    async with running_issuer() as inside:
        inside.key = issuer.key
        issuer.behaviour.metadata = {endpoint: f"{inside.url}/{'token' if endpoint == 'token_endpoint' else 'jwks'}"}

        with pytest.raises(IdentityProviderUnavailable):
            await redeem(client, issuer)

        assert [] == inside.asked


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(client: ProviderClient, issuer: Issuer, status: int):
    """Wherever it leads: the allowed servers are those that are called."""
    async with running_issuer() as inside:
        issuer.behaviour.token_answer = RedirectResponse(f"{inside.url}/token", status)

        with pytest.raises(IdentityProviderUnavailable):
            await redeem(client, issuer)

        assert [] == inside.asked


@pytest.mark.parametrize("keys", [{}, {"keys": "x"}, {"keys": []}, {"keys": [{"kty": "oct", "k": "c2VjcmV0"}] * 65}])
async def test_a_key_set_without_keys_is_the_providers_failure(client: ProviderClient, issuer: Issuer, keys: Any):
    """Nobody is let in without one."""
    issuer.behaviour.keys_answer = JSONResponse(keys)

    with pytest.raises(IdentityProviderUnavailable):
        await redeem(client, issuer)


async def test_a_client_secret_is_read_for_each_call(client: ProviderClient, issuer: Issuer, secrets_dir: Path):
    """So it rotates without a restart; without one, nobody signs in."""
    replace_text(secrets_dir / SECRET_FILE, "another secret")
    with pytest.raises(IdentityProviderUnavailable):
        await redeem(client, issuer)
    (secrets_dir / SECRET_FILE).unlink()
    with pytest.raises(IdentityProviderUnavailable):
        await redeem(client, issuer)
    replace_text(secrets_dir / SECRET_FILE, CLIENT_SECRET)

    assert await redeem(client, issuer)


async def test_a_provider_down_is_asked_by_few_at_once(client: ProviderClient, issuer: Issuer, monkeypatch):
    """Those that are too many are turned away at once."""
    monkeypatch.setattr(provider_client, "MAX_RUNNING", 1)
    monkeypatch.setattr(provider_client, "MAX_WAITING", 1)
    issuer.behaviour.delay_seconds = 0.2
    await client.authorization_endpoint()

    results = await asyncio.gather(*(redeem(client, issuer) for _ in range(3)), return_exceptions=True)

    assert [Overloaded] == [type(result) for result in results if isinstance(result, Exception)]


async def test_a_provider_that_is_silent_from_the_start_holds_up_few(
    client: ProviderClient, issuer: Issuer, monkeypatch
):
    """Whoever waits for somebody else to read its metadata is one of those that wait."""
    monkeypatch.setattr(provider_client, "MAX_WAITING", 2)
    issuer.behaviour.delay_seconds = 5

    results = await asyncio.gather(*(client.authorization_endpoint() for _ in range(15)), return_exceptions=True)

    kinds = [type(result) for result in results]
    assert (5, 10) == (kinds.count(Overloaded), kinds.count(IdentityProviderUnavailable))
    assert ["metadata"] == issuer.asked


async def test_a_provider_that_comes_back_is_asked_again(client: ProviderClient, issuer: Issuer, clock: Clock):
    """A second after it failed."""
    issuer.behaviour.metadata = {"issuer": None}
    for _ in range(2):
        with pytest.raises(IdentityProviderUnavailable):
            await client.authorization_endpoint()
    issuer.behaviour.metadata = {}
    clock.seconds += 1

    assert await client.authorization_endpoint()
    assert ["metadata"] * 2 == issuer.asked


async def test_endpoints_of_the_configuration_are_not_discovered(issuer: Issuer, secrets_dir: Path):
    """For a provider whose metadata do not name them."""
    ends = Endpoints(f"{issuer.url}/authorize", f"{issuer.url}/token", f"{issuer.url}/jwks")
    client = ProviderClient(provider_at(issuer.url, endpoints=ends), secrets_dir, TLS)

    assert ends.authorization == await client.authorization_endpoint()
    assert await redeem(client, issuer)
    assert "metadata" not in issuer.asked
    await client.close()


async def test_a_provider_that_is_not_there_is_unavailable(secrets_dir: Path):
    """Nothing of how it failed is told."""
    client = ProviderClient(provider_at("http://127.0.0.1:9"), secrets_dir, TLS)
    with pytest.raises(IdentityProviderUnavailable):
        await client.authorization_endpoint()
    await client.close()
