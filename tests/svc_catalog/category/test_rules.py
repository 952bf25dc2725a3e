"""The tree of categories, without a database."""

from __future__ import annotations

from uuid import UUID

import pytest

from svc_catalog.category import rules
from svc_catalog.errors import CategoryTooDeep


def test_a_category_carries_its_way_from_the_root():
    """Titles and ids, itself included."""
    kitchen = rules.below(None, category_id=UUID(int=1), title="Kitchen")
    teapots = rules.below(kitchen, category_id=UUID(int=2), title="Teapots")
    assert (None, UUID(int=1)) == (kitchen.parent_category_id, teapots.parent_category_id)
    assert "Kitchen / Teapots" == teapots.path


def test_below_refuses_a_ninth_level():
    """Shoppers get lost before that."""
    category = None
    for depth in range(8):
        category = rules.below(category, category_id=UUID(int=depth), title=str(depth))
    with pytest.raises(CategoryTooDeep):
        rules.below(category, category_id=UUID(int=9), title="9")
