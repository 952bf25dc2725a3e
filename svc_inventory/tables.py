"""The tables of the inventory's database, as SQLAlchemy Core sees them; the migrations create them.

`skus` is what a transaction locks: one row per SKU, whatever the number of warehouses, with the version of its journal.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
)

metadata = MetaData()

warehouses = Table(
    "warehouses",
    metadata,
    Column("warehouse_id", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

skus = Table(
    "skus",
    metadata,
    Column("sku", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
)

stock = Table(
    "stock",
    metadata,
    Column("sku", Text, ForeignKey("skus.sku"), primary_key=True),
    Column("warehouse_id", Text, ForeignKey("warehouses.warehouse_id"), primary_key=True),
    Column("on_hand", Integer, nullable=False),
    Column("reserved", Integer, nullable=False),
    CheckConstraint("on_hand >= 0", name="stock_on_hand_not_negative"),
    CheckConstraint("reserved >= 0", name="stock_reserved_not_negative"),
    CheckConstraint("reserved <= on_hand", name="stock_reserved_is_on_hand"),
    CheckConstraint("on_hand <= 2000000000", name="stock_on_hand_countable"),
)

stock_movements = Table(
    "stock_movements",
    metadata,
    Column("sku", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("warehouse_id", Text, nullable=False),
    Column("on_hand_delta", Integer, nullable=False),
    Column("reserved_delta", Integer, nullable=False),
    Column("order_id", Uuid),
    Column("reason", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
)

reservations = Table(
    "reservations",
    metadata,
    Column("order_id", Uuid, primary_key=True),
    Column("state", SmallInteger, nullable=False),
    Column("fingerprint", LargeBinary),
    Column("refusal", LargeBinary),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

reservation_lines = Table(
    "reservation_lines",
    metadata,
    Column("order_id", Uuid, ForeignKey("reservations.order_id"), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("line_number", Integer, nullable=False),
    Column("sku", Text, nullable=False),
    Column("warehouse_id", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("restocked", Integer, nullable=False, server_default="0"),
)

restocks = Table(
    "restocks",
    metadata,
    Column("restock_id", Uuid, primary_key=True),
    Column("order_id", Uuid, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("refusal", LargeBinary),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
