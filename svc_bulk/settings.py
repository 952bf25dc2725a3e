"""What the environment says to svc_bulk alone, read once; the rest is in `mesh.settings`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from mesh.settings import SettingProblem


@dataclass(frozen=True)
class Settings:
    """Where feeds may come from, as origins such as `https://feeds.example.com`; without any, none may.

    A private origin may have an address that only this network reaches, and may speak plain HTTP.
    """

    feed_origins: frozenset[str] = frozenset()
    private_feed_origins: frozenset[str] = frozenset()


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of this process.

    Raises:
        SettingProblem: An origin has the wrong form.
    """
    env = os.environ if environment is None else environment
    return Settings(
        feed_origins=_origins(env, "TITAN_FEED_ORIGINS", {"https"}),
        private_feed_origins=_origins(env, "TITAN_PRIVATE_FEED_ORIGINS", {"https", "http"}),
    )


def _origins(env: Mapping[str, str], name: str, schemes: set[str]) -> frozenset[str]:
    found = env.get(name, "").split()
    for each in found:
        parts = urlsplit(each)
        if parts.scheme not in schemes or not parts.hostname or each != f"{parts.scheme}://{parts.netloc}":
            raise SettingProblem(f"{name}: not {' or '.join(sorted(schemes))}://host[:port]: {each!r}")
        if parts.username is not None or each != each.lower():
            raise SettingProblem(f"{name}: an origin has no user and no capital letters: {each!r}")
    return frozenset(found)
