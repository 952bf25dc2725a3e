"""What the catalogue reads from its environment."""

from __future__ import annotations

import pytest

from mesh.settings import SettingProblem
from svc_catalog import settings


def test_a_shop_sells_in_pounds_unless_told_otherwise():
    """And keeps answers for five seconds."""
    assert (frozenset({"GBP"}), 5.0) == (settings.read({}).currencies, settings.read({}).cache_seconds)
    assert frozenset({"GBP", "EUR"}) == settings.read({"TITAN_CURRENCIES": "GBP,EUR"}).currencies


@pytest.mark.parametrize(
    "wrong",
    [{"TITAN_CURRENCIES": "pounds"}, {"TITAN_CURRENCIES": ","}]
    + [{"TITAN_CATALOG_CACHE_SECONDS": value} for value in ("soon", "-1", "61", "nan")],
)
def test_a_setting_that_makes_no_sense_stops_the_start(wrong):
    """With a message that names it."""
    with pytest.raises(SettingProblem, match=next(iter(wrong))):
        settings.read(wrong)
