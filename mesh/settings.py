"""What the environment says to the runtime, read once into a frozen value.

Only this module and a package's own `settings.py` read the environment. It checks forms, never reachability. A secret
does not stand there: the environment has the name of its file, or nothing where it lies in its usual place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from mesh.secret_files import SecretFile, SecretUnusable


class SettingProblem(Exception):
    """A setting that cannot be used; the message names it."""


@dataclass(frozen=True)
class Settings:
    """The runtime's settings of one process. No secret is among them: where one is needed, they know its file."""

    package: str
    replica: int
    home: Path
    listen: str
    outbound: str
    database_url: str
    database_password: SecretFile | None
    database_admin_url: str
    database_admin_password: SecretFile | None
    redis_url: str
    redis_password: SecretFile | None
    kafka: str
    metrics_port: int
    trace_sample: float
    trace_file: str
    otlp_endpoint: str
    log_level: str
    topology: Path
    policies: Path
    secrets_dir: Path
    max_running_calls: int
    drain_seconds: float
    lame_duck_seconds: float


def read(package: str, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of a process of `package`.

    Raises:
        SettingProblem: A value has the wrong form, or a secret file cannot be used.
    """
    env = os.environ if environment is None else environment
    home = Path(env.get("TITAN_HOME") or ".titan").absolute()
    replica = _integer(env, "TITAN_REPLICA", 0)
    secrets_dir = Path(env.get("TITAN_SECRETS_DIR") or home / "secrets")
    database_url, database_password = _server(env, "TITAN_DATABASE", secrets_dir / f"database_{package}")
    admin_url, admin_password = _server(env, "TITAN_DATABASE_ADMIN", secrets_dir / f"database_{package}_admin")
    redis_url, redis_password = _server(env, "TITAN_REDIS", secrets_dir / "redis")
    return Settings(
        package=package,
        replica=replica,
        home=home,
        listen=_socket(env, "TITAN_LISTEN", home / "run" / "app" / f"{package}.{replica}.sock"),
        outbound=_socket(env, "TITAN_OUTBOUND", home / "run" / "out" / f"{package}.sock"),
        database_url=database_url,
        database_password=database_password,
        database_admin_url=admin_url or database_url,
        database_admin_password=admin_password or database_password,
        redis_url=redis_url,
        redis_password=redis_password,
        kafka=env.get("TITAN_KAFKA", ""),
        metrics_port=_integer(env, "TITAN_METRICS_PORT", 0, most=65_535),
        trace_sample=_number(env, "TITAN_TRACE_SAMPLE", 0.05, most=1.0),
        trace_file=env.get("TITAN_TRACE_FILE", ""),
        otlp_endpoint=env.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        log_level=(env.get("TITAN_LOG_LEVEL") or "INFO").upper(),
        topology=Path(env.get("TITAN_TOPOLOGY") or "deploy/topology.toml"),
        policies=Path(env.get("TITAN_POLICIES") or "deploy/policies.cedar"),
        secrets_dir=secrets_dir,
        max_running_calls=_integer(env, "TITAN_MAX_RUNNING_CALLS", 512, least=1),
        drain_seconds=_number(env, "TITAN_DRAIN_SECONDS", 10.0),
        lame_duck_seconds=_number(env, "TITAN_LAME_DUCK_SECONDS", 0.3),
    )


def secret_file(environment: Mapping[str, str], name: str, otherwise: Path) -> SecretFile:
    """Return the file of a secret that a setting names, after a look whether it can be used.

    Raises:
        SettingProblem: It cannot.
    """
    file = SecretFile(Path(environment.get(name) or otherwise))
    try:
        file.read()
    except SecretUnusable as problem:
        raise SettingProblem(f"{name}: {problem}") from None
    return file


def has_password(address: str) -> bool:
    """Say whether there is a password in the address of a server, in either of the places where drivers look for one.

    Raises:
        ValueError: It is no address.
    """
    parts = urlsplit(address)
    return parts.password is not None or "password" in parse_qs(parts.query, keep_blank_values=True)


def _server(env: Mapping[str, str], name: str, otherwise: Path) -> tuple[str, SecretFile | None]:
    """Return where a server is, and the file with the password for it; nothing where the environment names none."""
    url, password_setting = env.get(f"{name}_URL", ""), f"{name}_PASSWORD_FILE"
    if not url:
        return "", None
    try:
        told = has_password(url)
    except ValueError:
        raise SettingProblem(f"{name}_URL: not an address") from None
    if told:
        raise SettingProblem(f"{name}_URL: there is a password in it; it belongs into the file of {password_setting}")
    return url, secret_file(env, password_setting, otherwise)


def _socket(env: Mapping[str, str], name: str, otherwise: Path) -> str:
    address = env.get(name) or f"unix:{otherwise}"
    # sun_path of Linux holds 108 bytes; gRPC would only say that it could not bind.
    if address.startswith("unix:") and len(os.fsencode(address.removeprefix("unix:"))) >= 104:
        raise SettingProblem(f"{name}: the socket path is longer than 103 bytes: {address}")
    return address


def _integer(env: Mapping[str, str], name: str, otherwise: int, *, least: int = 0, most: int = 2**31) -> int:
    text = env.get(name) or str(otherwise)
    try:
        value = int(text)
    except ValueError:
        raise SettingProblem(f"{name}: not a whole number: {text!r}") from None
    if not least <= value <= most:
        raise SettingProblem(f"{name}: {value} is not between {least} and {most}")
    return value


def _number(env: Mapping[str, str], name: str, otherwise: float, *, most: float = 86_400.0) -> float:
    text = env.get(name) or str(otherwise)
    try:
        value = float(text)
    except ValueError:
        raise SettingProblem(f"{name}: not a number: {text!r}") from None
    if not 0.0 <= value <= most:
        raise SettingProblem(f"{name}: {text} is not between 0 and {most:g}")
    return value


def shop_url(environment: Mapping[str, str]) -> str:
    """Return where the storefront is, without a slash at the end.

    Raises:
        SettingProblem: It is no https address.
    """
    text = environment.get("TITAN_SHOP_URL") or "https://shop.titan.local"
    parts = urlsplit(text)
    plain = not (parts.query or parts.fragment or parts.username)
    if not (parts.scheme == "https" and parts.hostname and plain and text.isascii() and text.isprintable()):
        raise SettingProblem(f"TITAN_SHOP_URL: not the https address of a storefront: {text!r}")
    return text.rstrip("/")
