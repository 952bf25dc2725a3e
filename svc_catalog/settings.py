"""What the environment says to the catalogue, read once into a frozen value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from mesh.settings import SettingProblem


@dataclass(frozen=True)
class Settings:
    """`currencies` are those that the shop sells in; answers are kept for `cache_seconds`, at most `cache_items`."""

    currencies: frozenset[str] = frozenset({"GBP"})
    cache_seconds: float = 5.0
    cache_items: int = 2_000


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of this process.

    Raises:
        SettingProblem: A value has the wrong form.
    """
    env = os.environ if environment is None else environment
    currencies = frozenset(filter(None, env.get("TITAN_CURRENCIES", "GBP").split(",")))
    if not currencies or not all(len(each) == 3 and each.isascii() and each.isupper() for each in currencies):
        raise SettingProblem("TITAN_CURRENCIES: codes of three capital letters, joined by commas")
    try:
        cache_seconds = float(env.get("TITAN_CATALOG_CACHE_SECONDS") or 5.0)
    except ValueError:
        raise SettingProblem("TITAN_CATALOG_CACHE_SECONDS: not a number") from None
    if not 0 <= cache_seconds <= 60:
        raise SettingProblem("TITAN_CATALOG_CACHE_SECONDS: not between 0 and 60")
    return Settings(currencies, cache_seconds)
