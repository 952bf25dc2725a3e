"""A provider on this machine, and a svc_auth that is registered with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from control.atomic_file import replace_text
from svc_auth.federation.client import ProviderClient
from svc_auth.federation.providers import Provider
from tests.svc_auth.federation.issuer import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, Behaviour, Issuer, running_issuer

TLS = httpx.create_ssl_context()
SECRET_FILE = "local_client_secret"


def provider_at(url: str, **changes: object) -> Provider:
    """Return the configuration of a provider at an address."""
    usual = {"client_secret_file": SECRET_FILE, "redirect_uris": (REDIRECT_URI,)}
    return Provider("local", "Local", url, CLIENT_ID, **{**usual, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
async def running_provider() -> AsyncIterator[Issuer]:
    """The provider of this module."""
    async with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(running_provider: Issuer) -> Issuer:
    """The provider, which behaves as it should until a test says otherwise."""
    running_provider.behaviour = Behaviour()
    running_provider.asked.clear()
    return running_provider


@pytest.fixture(scope="module")
async def provider_clients(running_provider: Issuer, auth_secrets: Path) -> list[ProviderClient]:
    """The provider, as svc_auth calls it."""
    replace_text(auth_secrets / SECRET_FILE, f"{CLIENT_SECRET}\n")
    return [ProviderClient(provider_at(running_provider.url), auth_secrets, TLS)]
