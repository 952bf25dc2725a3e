"""What the environment says to svc_payment alone, read once; the rest is in `mesh.settings`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mesh.settings import SettingProblem

FEE_BASIS_POINTS = 1_000
"""What the platform keeps of another seller's sale where the environment says nothing, in hundredths of a percent."""
MAX_FEE_BASIS_POINTS = 10_000
_SECRET_FILE_BYTES = 4096


@dataclass(frozen=True)
class Settings:
    """Which currencies the shop takes and what it keeps of others' sales, where the card provider is, and how customers
    come back from it."""

    psp_url: str
    psp_api_key: str = field(repr=False)
    webhook_secret_file: Path
    public_url: str
    currencies: frozenset[str]
    fee_basis_points: int = FEE_BASIS_POINTS

    def webhook_secrets(self) -> list[bytes]:
        """Read the secrets that sign notices, one a line; read each time, so that they rotate without a restart."""
        return [line.encode() for line in _lines("TITAN_PSP_WEBHOOK_SECRET_FILE", self.webhook_secret_file)]

    def return_url(self, payment_id: object) -> str:
        """Return the page that a provider sends the customer back to."""
        return f"{self.public_url}/v1/payments/{payment_id}:return"


def read(secrets_dir: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of this process.

    Raises:
        SettingProblem: A value has the wrong form, or a secret cannot be read.
    """
    env = os.environ if environment is None else environment
    base = int(env.get("TITAN_PORT_BASE") or 18440)
    key_file = Path(env.get("TITAN_PSP_API_KEY_FILE") or secrets_dir / "psp_api_key")
    secret_file = Path(env.get("TITAN_PSP_WEBHOOK_SECRET_FILE") or secrets_dir / "psp_webhook_secret")
    settings = Settings(
        psp_url=env.get("TITAN_PSP_URL") or f"http://127.0.0.1:{base + 8}",
        psp_api_key=_lines("TITAN_PSP_API_KEY_FILE", key_file)[0],
        webhook_secret_file=secret_file,
        public_url=(env.get("TITAN_PUBLIC_URL") or f"https://127.0.0.1:{base + 3}").rstrip("/"),
        currencies=frozenset((env.get("TITAN_CURRENCIES") or "GBP").split(",")),
        fee_basis_points=_basis_points("TITAN_PLATFORM_FEE_BASIS_POINTS", env),
    )
    settings.webhook_secrets()
    return settings


def _basis_points(name: str, env: Mapping[str, str]) -> int:
    text = env.get(name) or str(FEE_BASIS_POINTS)
    if not (text.isascii() and text.isdigit()) or int(text) > MAX_FEE_BASIS_POINTS:
        raise SettingProblem(f"{name}: a whole number from 0 to {MAX_FEE_BASIS_POINTS}, hundredths of a percent")
    return int(text)


def _lines(name: str, path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text()[:_SECRET_FILE_BYTES].splitlines() if line.strip()]
    except OSError as error:
        raise SettingProblem(f"{name}: {path} cannot be read: {error.strerror}") from None
    if not lines:
        raise SettingProblem(f"{name}: {path} is empty")
    return lines
