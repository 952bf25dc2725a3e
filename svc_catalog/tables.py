"""The tables of the catalogue's database, as SQLAlchemy Core sees them; the migrations create them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

metadata = MetaData()

categories = Table(
    "categories",
    metadata,
    Column("category_id", Uuid, primary_key=True),
    Column("parent_category_id", Uuid, ForeignKey("categories.category_id")),
    Column("titles", ARRAY(Text), nullable=False),
    Column("ancestor_ids", ARRAY(Uuid), nullable=False),
    UniqueConstraint("titles", name="categories_one_title_per_parent"),
)

products = Table(
    "products",
    metadata,
    Column("product_id", Uuid, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False, unique=True),
    Column("version", BigInteger, nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("category_ids", ARRAY(Uuid), nullable=False),
    Column("seller_id", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("search", TSVECTOR),
)

variants = Table(
    "variants",
    metadata,
    Column("sku", Text, primary_key=True),
    Column("product_id", Uuid, ForeignKey("products.product_id"), nullable=False),
    Column("place", SmallInteger, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("price_minor", BigInteger, nullable=False),
    Column("tax_rate_basis_points", Integer, nullable=False),
    Column("attributes", JSONB, nullable=False),
)

price_history = Table(
    "price_history",
    metadata,
    Column("sku", Text, primary_key=True),
    Column("minute", DateTime(timezone=True), primary_key=True),
    Column("effective_at", DateTime(timezone=True), nullable=False),
    Column("told_by", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("price_minor", BigInteger, nullable=False),
)

category_products = Table(
    "category_products",
    metadata,
    Column("category_id", Uuid, ForeignKey("categories.category_id"), primary_key=True),
    Column("seq", BigInteger, ForeignKey("products.seq"), primary_key=True),
)
