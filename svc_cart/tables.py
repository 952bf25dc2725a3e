"""The tables of this package's database, as its migrations leave them. `cart/archive.py` writes both."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, Table
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID

metadata = MetaData()

carts = Table(
    "carts",
    metadata,
    Column("user_id", UUID(as_uuid=True), primary_key=True),
    Column("cart_id", UUID(as_uuid=True)),
    Column("version", BigInteger, nullable=False),
    Column("lines", JSONB, nullable=False),
    Column("last_closed_cart_id", UUID(as_uuid=True)),
    Column("updated_at", TIMESTAMP(timezone=True)),
    Column("saved_at", TIMESTAMP(timezone=True), nullable=False),
)

closed_carts = Table(
    "closed_carts",
    metadata,
    Column("cart_id", UUID(as_uuid=True), primary_key=True),
    Column("user_id", UUID(as_uuid=True), nullable=False),
    Column("closed_at", TIMESTAMP(timezone=True), nullable=False),
    Column("ordered", JSONB),
)
