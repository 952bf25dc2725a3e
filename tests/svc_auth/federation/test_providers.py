"""The file of providers: what it may say, and how a start fails where it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.settings import SettingProblem
from svc_auth import settings
from svc_auth.federation import providers

ROOT = Path(__file__).resolve().parents[3]
GOOD = """
[providers.local]
display_name = "Local"
issuer = "https://id.example.com/realm"
client_id = "shop"
client_secret_file = "local_secret"
redirect_uris = ["https://shop.example.com/back"]
origins = ["https://keys.example.com"]
"""


def read(tmp_path: Path, text: str) -> dict[str, providers.Provider]:
    (tmp_path / "providers.toml").write_text(text)
    return providers.read(tmp_path / "providers.toml")


def test_a_file_names_providers(tmp_path: Path):
    """With what is usual for the rest; the setting names the file."""
    (local,) = read(tmp_path, GOOD).values()

    assert ("local", "client_secret_basic", True) == (local.name, local.client_authentication, local.email_trusted)
    assert ("openid", "email", "profile") == local.scopes
    assert local == settings.read({"TITAN_AUTH_PROVIDERS_FILE": str(tmp_path / "providers.toml")}).providers["local"]
    assert {} == providers.read(None) == settings.read({}).providers


def test_the_example_can_be_used():
    """What an operator begins with."""
    assert ["google", "facebook", "company"] == list(providers.read(ROOT / "deploy" / "identity_providers.toml"))


def test_a_process_calls_the_issuer_and_the_named_servers_alone(tmp_path: Path):
    """Host, port and scheme count, and not what an address looks like."""
    (local,) = read(tmp_path, GOOD).values()

    for good in ("https://id.example.com/token", "https://id.example.com:443/x", "https://keys.example.com/jwks?v=2"):
        assert local.may_call(good)
    for bad in (
        "http://id.example.com/token",
        "https://id.example.com:8443/token",
        "https://id.example.com@169.254.169.254/token",
        "https://id.example.com.evil.example.com/",
        "https://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:5432/",
        "https://keys.example.com\\@evil.example.com/",
        "file:///etc/passwd",
        "https://id.example.com:99999/",
        "//id.example.com/",
        "",
    ):
        assert not local.may_call(bad), bad


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('issuer = "https:', 'issuer = "http:'),
        ('issuer = "https:', 'issuer = "ftp:'),
        ('realm"', 'realm?x=y"'),
        ('client_id = "shop"', 'client_id = ""'),
        ('client_id = "shop"', "client_id = 7"),
        ('client_id = "shop"', ""),
        ('client_secret_file = "local_secret"', ""),
        ('"local_secret"', '"../admin_password"'),
        ('"local_secret"', '"/etc/passwd"'),
        ('["https://shop.example.com/back"]', "[]"),
        ('["https://shop.example.com/back"]', '"https://shop.example.com/back"'),
        ("https://shop.example.com/back", "http://shop.example.com/back"),
        ("https://shop.example.com/back", "https://shop.example.com/back#here"),
        ("https://shop.example.com/back", "javascript:alert(1)"),
        ("https://keys.example.com", "https://keys.example.com/path"),
        ("[providers.local]", "[providers.Local]"),
        ("[providers.local]", "[others.local]"),
        ("[providers.local]", '[providers.local]\nclient_secret = "in the file"'),
        ("[providers.local]", '[providers.local]\nname = "another"'),
        ("[providers.local]", '[providers.local]\nalgorithms = ["none"]'),
        ("[providers.local]", '[providers.local]\nalgorithms = ["HS256"]'),
        ("[providers.local]", '[providers.local]\nscopes = ["email"]'),
        ("[providers.local]", '[providers.local]\nclient_authentication = "none"'),
        ("[providers.local]", '[providers.local]\nclient_authentication = "tls"'),
        ("[providers.local]", '[providers.local]\nemail_trusted = "yes"'),
        ("[providers.local]", '[providers.local]\nendpoints = {token = "https://id.example.com/token"}'),
        ("[providers.local]", "[providers.local"),
    ],
)
def test_a_start_fails_where_a_provider_cannot_be_used(tmp_path: Path, old: str, new: str):
    """It says what is wrong, rather than failing at the first sign-in."""
    assert old in GOOD
    with pytest.raises(SettingProblem, match="TITAN_AUTH_PROVIDERS_FILE"):
        read(tmp_path, GOOD.replace(old, new, 1))


def test_endpoints_are_called_only_at_named_servers(tmp_path: Path):
    """Also those that the file itself names."""
    ends = '[providers.local.endpoints]\nauthorization = "https://www.example.com/a"\n'
    known = 'token = "https://id.example.com/t"\njwks = "https://keys.example.com/k"\n'
    (local,) = read(tmp_path, GOOD + ends + known).values()
    assert local.endpoints is not None and "https://www.example.com/a" == local.endpoints.authorization

    with pytest.raises(SettingProblem, match="origins"):
        read(tmp_path, GOOD + ends + known.replace("keys.example.com", "other.example.com"))


def test_a_redirect_address_tells_which_provider_answers(tmp_path: Path):
    """Two providers that share one could answer for each other (RFC 9700, 4.4)."""
    with pytest.raises(SettingProblem, match="one provider"):
        read(tmp_path, GOOD + GOOD.replace("providers.local", "providers.other"))


def test_a_file_that_is_not_there_is_no_empty_file(tmp_path: Path):
    """Somebody meant to have providers."""
    with pytest.raises(SettingProblem, match="cannot be read"):
        providers.read(tmp_path / "nowhere.toml")
