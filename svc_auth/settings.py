"""What the environment says to this package alone, read once into a frozen value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mesh.contract import ROLES
from mesh.settings import SettingProblem, shop_url
from svc_auth.federation import providers
from svc_auth.federation.providers import Provider
from svc_auth.user.rules import HOUSE_ROLES

DAY_SECONDS = 86_400

PASSWORD_ROLES_SETTING = "TITAN_AUTH_PASSWORD_ROLES"  # noqa: S105
HOUSE_ACCOUNTS_SETTING = "TITAN_AUTH_HOUSE_ACCOUNTS"


@dataclass(frozen=True)
class Settings:
    """What the shop is called and where its pages are, who else may say who a user is, which roles need no second
    factor, which accounts the house has, and how signing keys change: the rotation period, and the notice that
    verifiers get of a new key."""

    shop_name: str = "Titan"
    shop_url: str = "https://shop.titan.local"
    providers: Mapping[str, Provider] = field(default_factory=dict)
    password_roles: frozenset[str] = frozenset({"importer"})
    """An importer is a program: a second secret would lie in the file beside the first, and be no second factor."""
    house_accounts: frozenset[str] = frozenset()
    """The roles of the accounts that are there; without a word of the operator there is none."""

    key_rotation_seconds: float = float(DAY_SECONDS)
    key_notice_seconds: float = 15.0
    key_poll_seconds: float = 2.0
    revocation_poll_seconds: float = 0.2
    heartbeat_seconds: float = 2.0


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of this package.

    Raises:
        SettingProblem: A value has the wrong form.
    """
    env = os.environ if environment is None else environment
    text = env.get("TITAN_AUTH_KEY_ROTATION_SECONDS") or str(DAY_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        raise SettingProblem(f"TITAN_AUTH_KEY_ROTATION_SECONDS: not a number: {text!r}") from None
    # Below a minute a key would be retired before every verifier has seen it sign.
    if not seconds >= 60:
        raise SettingProblem(f"TITAN_AUTH_KEY_ROTATION_SECONDS: {text} is less than 60")
    file = env.get(providers.SETTING)
    return Settings(
        key_rotation_seconds=seconds,
        shop_name=env.get("TITAN_SHOP_NAME") or Settings.shop_name,
        shop_url=shop_url(env),
        providers=providers.read(Path(file) if file else None),
        password_roles=_roles(env, PASSWORD_ROLES_SETTING, ROLES, Settings.password_roles),
        house_accounts=_roles(env, HOUSE_ACCOUNTS_SETTING, HOUSE_ROLES, Settings.house_accounts),
    )


def _roles(env: Mapping[str, str], name: str, known: frozenset[str], unsaid: frozenset[str]) -> frozenset[str]:
    if name not in env:
        return unsaid
    roles = frozenset(env[name].split())
    if unknown := roles - known:
        raise SettingProblem(f"{name}: no such roles: {', '.join(sorted(unknown))}")
    return roles
