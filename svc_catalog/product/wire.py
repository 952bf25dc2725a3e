"""Products as the contract writes them, for answers and for events; and drafts as it reads them."""

from __future__ import annotations

from uuid import UUID

from mesh.outbox import Event
from svc_catalog.product.rules import DEFAULT_TAX_RATE_BASIS_POINTS, HOUSE, Draft, Product, Variant
from titan.catalog.v1 import events_pb2, product_pb2
from titan.type.v1 import money_pb2

TOPIC = "titan.catalog.v1"


def draft_of(product: product_pb2.Product) -> Draft:
    """Return what a request says of a product, with the defaults of what it does not say."""
    return Draft(
        title=product.title,
        description=product.description,
        # Two spellings of one UUID are one category.
        category_ids=tuple(dict.fromkeys(UUID(each) for each in product.category_ids)),
        variants=tuple(
            Variant(
                sku=each.sku,
                price_minor=each.price.minor_units,
                currency_code=each.price.currency_code,
                tax_rate_basis_points=each.tax_rate_basis_points
                if each.HasField("tax_rate_basis_points")
                else DEFAULT_TAX_RATE_BASIS_POINTS,
                attributes=dict(each.attributes),
            )
            for each in product.variants
        ),
        seller_id=product.seller_id or HOUSE,
    )


def to_wire(product: Product) -> product_pb2.Product:
    """Return a product as the contract writes it."""
    content = product.content
    wire = product_pb2.Product(
        product_id=str(product.product_id),
        title=content.title,
        description=content.description,
        category_ids=[str(each) for each in content.category_ids],
        variants=[
            product_pb2.Variant(
                sku=each.sku,
                price=money_pb2.Money(currency_code=each.currency_code, minor_units=each.price_minor),
                attributes=each.attributes,
                tax_rate_basis_points=each.tax_rate_basis_points,
            )
            for each in content.variants
        ],
        seller_id=content.seller_id,
        etag=product.etag,
    )
    wire.create_time.FromDatetime(product.created_at)
    wire.update_time.FromDatetime(product.updated_at)
    return wire


def created_event(product: Product) -> Event:
    """Return the event of a new product."""
    return _event("ProductCreated", product, events_pb2.ProductCreated(product=to_wire(product)).SerializeToString())


def updated_event(product: Product) -> Event:
    """Return the event of a changed product."""
    return _event("ProductUpdated", product, events_pb2.ProductUpdated(product=to_wire(product)).SerializeToString())


def _event(name: str, product: Product, payload: bytes) -> Event:
    return Event(TOPIC, f"{TOPIC}.{name}", str(product.product_id), product.version, payload)
