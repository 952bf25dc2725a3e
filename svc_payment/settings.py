"""What the environment says to svc_payment alone, read once; the rest is in `mesh.settings`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mesh.secret_files import SecretFile
from mesh.settings import SettingProblem, secret_file

FEE_BASIS_POINTS = 1_000
"""What the platform keeps of another seller's sale where the environment says nothing, in hundredths of a percent."""
MAX_FEE_BASIS_POINTS = 10_000


@dataclass(frozen=True)
class Settings:
    """Which currencies the shop takes and what it keeps of others' sales, where the card provider is, and how customers
    come back from it."""

    psp_url: str
    psp_api_key: str = field(repr=False)
    webhook_secret_file: SecretFile
    public_url: str
    currencies: frozenset[str]
    fee_basis_points: int = FEE_BASIS_POINTS

    def webhook_secrets(self) -> list[bytes]:
        """Read the secrets that sign notices, one a line; read each time, so that they rotate without a restart."""
        return [secret.encode() for secret in self.webhook_secret_file.read_all()]

    def return_url(self, payment_id: object) -> str:
        """Return the page that a provider sends the customer back to."""
        return f"{self.public_url}/v1/payments/{payment_id}:return"


def read(secrets_dir: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of this process.

    Raises:
        SettingProblem: A value has the wrong form, or a secret file cannot be used.
    """
    env = os.environ if environment is None else environment
    base = int(env.get("TITAN_PORT_BASE") or 18440)
    return Settings(
        psp_url=env.get("TITAN_PSP_URL") or f"http://127.0.0.1:{base + 8}",
        psp_api_key=secret_file(env, "TITAN_PSP_API_KEY_FILE", secrets_dir / "psp_api_key").read(),
        webhook_secret_file=secret_file(env, "TITAN_PSP_WEBHOOK_SECRET_FILE", secrets_dir / "psp_webhook_secret"),
        public_url=(env.get("TITAN_PUBLIC_URL") or f"https://127.0.0.1:{base + 3}").rstrip("/"),
        currencies=frozenset((env.get("TITAN_CURRENCIES") or "GBP").split(",")),
        fee_basis_points=_basis_points("TITAN_PLATFORM_FEE_BASIS_POINTS", env),
    )


def _basis_points(name: str, env: Mapping[str, str]) -> int:
    text = env.get(name) or str(FEE_BASIS_POINTS)
    if not (text.isascii() and text.isdigit()) or int(text) > MAX_FEE_BASIS_POINTS:
        raise SettingProblem(f"{name}: a whole number from 0 to {MAX_FEE_BASIS_POINTS}, hundredths of a percent")
    return int(text)
