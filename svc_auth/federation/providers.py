"""The identity providers of a shop: a TOML file, read once, in which each has a table `[providers.NAME]`.

    [providers.google]
    display_name = "Google"
    issuer = "https://accounts.google.com"
    client_id = "1234.apps.googleusercontent.com"
    client_secret_file = "google_client_secret"
    redirect_uris = ["https://shop.example.com/signed-in/google"]
    origins = ["https://oauth2.googleapis.com", "https://www.googleapis.com"]

`client_secret_file` is a name in the folder of secrets. `origins` are the servers besides the issuer's that this
process may call for the provider: whatever its metadata say, it calls no others.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mesh.settings import SettingProblem

MAX_PROVIDERS = 20
MAX_ADDRESS_CHARACTERS = 512
ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
"""Signatures that a provider makes with a key of its own: never `none`, never one that our secret could have made."""
CLIENT_AUTHENTICATIONS = frozenset({"client_secret_basic", "client_secret_post", "none"})
SETTING = "TITAN_AUTH_PROVIDERS_FILE"

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class Endpoints:
    """Where a provider takes what; the first is for browsers, the others are called from here."""

    authorization: str
    token: str
    jwks: str


@dataclass(frozen=True)
class Provider:
    """An OpenID Connect provider, and how this shop is registered with it.

    `endpoints` are set for a provider whose metadata do not name them all; those of the others are discovered.
    `email_trusted` says whether its `email_verified` is believed.
    """

    name: str
    display_name: str
    issuer: str
    client_id: str
    redirect_uris: tuple[str, ...]
    client_secret_file: str = ""
    client_authentication: str = "client_secret_basic"
    origins: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    email_trusted: bool = True
    endpoints: Endpoints | None = None

    def may_call(self, url: str) -> bool:
        """Return whether this process may call an address for the provider."""
        return is_address(url) and origin_of(url) in {origin_of(self.issuer), *self.origins}


def read(path: Path | None) -> dict[str, Provider]:
    """Return the providers of a file by name; without a file there are none.

    Raises:
        SettingProblem: The file cannot be read, or says something that it must not; the message says what.
    """
    if path is None:
        return {}
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingProblem(f"{SETTING}: {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingProblem(f"{SETTING}: {path} is no TOML: {error}") from None
    tables = content.pop("providers", {})
    if content or not isinstance(tables, dict) or len(tables) > MAX_PROVIDERS:
        raise SettingProblem(f"{SETTING}: wants nothing but [providers.NAME], and at most {MAX_PROVIDERS} of them")
    providers = {name: _provider(name, table) for name, table in tables.items()}
    # A redirect address tells which provider answers, so that no provider answers for another (RFC 9700, 4.4.2.2).
    addresses = [address for provider in providers.values() for address in provider.redirect_uris]
    if len(addresses) != len(set(addresses)):
        raise SettingProblem(f"{SETTING}: a redirect address belongs to one provider, and stands there once")
    return providers


def is_address(url: str) -> bool:
    """Return whether this is a whole https address, or an http one of this machine itself."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and not (set(url) & set(' "<>\\^`{|}'))
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    whole = bool(parts.hostname) and not parts.fragment and "@" not in parts.netloc and port != 0
    return plain and secure and whole and len(url) <= MAX_ADDRESS_CHARACTERS


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address, the port always written."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _provider(name: str, table: Any) -> Provider:
    where = f"{SETTING}: [providers.{name}]"
    if not _NAME.fullmatch(name) or not isinstance(table, dict):
        raise SettingProblem(f"{where}: a name is of small letters, digits and dashes, and names a table")
    given = {**table}
    ends = given.pop("endpoints", None)
    unknown = given.keys() - {field.name for field in fields(Provider)} | ({"name"} & given.keys())
    missing = {"display_name", "issuer", "client_id", "redirect_uris"} - given.keys()
    if unknown or missing:
        raise SettingProblem(f"{where}: unknown {sorted(unknown)}, missing {sorted(missing)}")
    for key in ("display_name", "issuer", "client_id", "client_secret_file", "client_authentication"):
        _want(where, key, isinstance(given.get(key, ""), str) and (key not in table or bool(given[key].strip())))
    for key in ("redirect_uris", "origins", "scopes", "algorithms"):
        texts = given.get(key, [])
        _want(where, key, isinstance(texts, list) and all(isinstance(text, str) and text for text in texts))
        if key in given:
            given[key] = tuple(texts)
    _want(where, "email_trusted", isinstance(given.get("email_trusted", True), bool))
    origins = given.get("origins", ())
    _want(where, "origins", all(is_address(url) and not urlsplit(url).path for url in origins))
    given["origins"] = tuple(map(origin_of, origins))
    provider = Provider(name=name, endpoints=_endpoints(where, ends), **given)
    _check(where, provider)
    return provider


def _endpoints(where: str, table: Any) -> Endpoints | None:
    if table is None:
        return None
    names = {field.name for field in fields(Endpoints)}
    whole = isinstance(table, Mapping) and table.keys() == names
    _want(where, "endpoints", whole and all(isinstance(url, str) and is_address(url) for url in table.values()))
    return Endpoints(**table)


def _check(where: str, provider: Provider) -> None:
    issuer = urlsplit(provider.issuer)
    _want(where, "issuer", is_address(provider.issuer) and not issuer.query)
    _want(where, "redirect_uris", bool(provider.redirect_uris) and all(map(is_address, provider.redirect_uris)))
    _want(where, "scopes", "openid" in provider.scopes)
    _want(where, "algorithms", bool(provider.algorithms) and ALGORITHMS.issuperset(provider.algorithms))
    secret = provider.client_secret_file
    _want(where, "client_authentication", provider.client_authentication in CLIENT_AUTHENTICATIONS)
    _want(where, "client_secret_file", bool(secret) == (provider.client_authentication != "none"))
    _want(where, "client_secret_file", not secret or _FILE_NAME.fullmatch(secret) is not None)
    for url in (provider.endpoints.token, provider.endpoints.jwks) if provider.endpoints else ():
        _want(where, "origins", provider.may_call(url))


def _want(where: str, key: str, good: bool) -> None:
    if not good:
        raise SettingProblem(f"{where}: {key} cannot be used")
