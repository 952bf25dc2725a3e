"""The tables of this package's database, as SQLAlchemy Core sees them; the migrations create them.

A row holds no address, no name and no line of an order: those are asked for when the message is sent.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, Integer, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

notifications = Table(
    "notifications",
    metadata,
    Column("notification_id", Uuid, primary_key=True),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("channel", Text, nullable=False),
    Column("template", Text, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("order_id", Uuid),
    Column("order_version", BigInteger, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("problem", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("sent_at", DateTime(timezone=True)),
    Column("link_id", Uuid),
)
