"""The settings of the simulator; the only reader of its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


class BadSettings(Exception):
    """The process cannot start with these settings; the message says what to change."""


@dataclass(frozen=True)
class Settings:
    """Where the simulator listens, writes and sends to."""

    host: str
    port: int
    log_path: Path
    api_key: str = field(repr=False)
    webhook_secrets: tuple[bytes, ...] = field(repr=False)
    webhook_url: str | None = None
    webhook_ca_path: Path | None = None
    public_url: str | None = None
    webhook_attempts: int = 10
    webhook_backoff_seconds: float = 0.5
    webhook_backoff_cap_seconds: float = 30.0


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the environment and the secret files.

    Raises:
        BadSettings: An address that is none, or a secret file that is missing or empty.
    """
    home = Path(environ.get("TITAN_HOME", ".titan")).absolute()
    host, separator, port = environ.get("TITAN_PSP_LISTEN", "127.0.0.1:18448").rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise BadSettings("TITAN_PSP_LISTEN must be host:port")
    secrets = home / "secrets"
    key_file = Path(environ.get("TITAN_PSP_API_KEY_FILE", secrets / "psp_api_key"))
    webhook_file = Path(environ.get("TITAN_PSP_WEBHOOK_SECRET_FILE", secrets / "psp_webhook_secret"))
    return Settings(
        host=host,
        port=int(port),
        log_path=Path(environ.get("TITAN_PSP_LOG", home / "psp" / "psp.jsonl")),
        api_key=_lines("TITAN_PSP_API_KEY_FILE", key_file)[0],
        webhook_secrets=tuple(s.encode() for s in _lines("TITAN_PSP_WEBHOOK_SECRET_FILE", webhook_file)),
        webhook_url=environ.get("TITAN_PSP_WEBHOOK_URL") or None,
        webhook_ca_path=Path(ca) if (ca := environ.get("TITAN_PSP_WEBHOOK_CA_FILE")) else None,
        public_url=environ.get("TITAN_PSP_PUBLIC_URL") or None,
    )


def _lines(name: str, path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except OSError as problem:
        raise BadSettings(f"{name}: cannot read {path}: {problem.strerror}") from problem
    if not lines:
        raise BadSettings(f"{name}: {path} is empty")
    return lines
