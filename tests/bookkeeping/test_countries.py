"""Countries by the names that shops give them."""

from __future__ import annotations

import re

import pytest

from bookkeeping.countries import NAMES, UNKNOWN, code_of, name_of


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("United Kingdom", "GB"),
        ("united  kingdom ", "GB"),
        ("U.K.", "GB"),
        ("GB", "GB"),
        ("EIRE", "IE"),
        ("Ireland", "IE"),
        ("RSA", "ZA"),
        ("USA", "US"),
        ("Czech Republic", "CZ"),
        ("Türkiye", "TR"),
        ("Côte d'Ivoire", "CI"),
    ],
)
def test_a_country_is_known_by_its_names_and_by_its_code(name: str, code: str) -> None:
    assert code == code_of(name)


@pytest.mark.parametrize("name", ["", "Unspecified", "European Community", "Channel Islands", "Atlantis", "ZZ"])
def test_what_is_no_country_or_several_has_no_code_of_its_own(name: str) -> None:
    """Nobody is sent to a country that the file does not name."""
    assert UNKNOWN == code_of(name)


def test_every_country_of_the_standard_has_one_code_and_one_name() -> None:
    """249 of them, as ISO 3166-1 has; each name leads to its own code."""
    assert 249 == len(NAMES) == len(set(NAMES.values()))
    assert all(re.fullmatch("[A-Z]{2}", code) for code in NAMES) and UNKNOWN not in NAMES
    assert list(NAMES) == [code_of(name_of(code)) for code in NAMES]
    assert "" == name_of(UNKNOWN)
