"""What a row asks for, held against the contract where the row is read."""

from __future__ import annotations

import pytest

from svc_bulk.errors import RowInvalid
from svc_bulk.jobs.messages import checked
from titan.catalog.v1 import product_pb2


def product(**fields) -> product_pb2.Product:
    variant = {"sku": "4006381333931", "price": {"currency_code": "GBP", "minor_units": 100}}
    return product_pb2.Product(**{"title": "A mug", "variants": [variant], **fields})


def test_a_row_with_a_card_number_is_refused_and_one_with_a_barcode_is_not():
    """The packages that get the rows take them from a package, and look at them no more."""
    assert checked(product())
    with pytest.raises(RowInvalid) as refusal:
        checked(product(description="for 4111 1111 1111 1111"))
    assert "description" in refusal.value.message and "1111" not in refusal.value.message
