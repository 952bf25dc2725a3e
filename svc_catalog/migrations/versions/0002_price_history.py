"""What things cost, and when, of each minute the latest; and the inbox for what imported orders were charged."""

from __future__ import annotations

from alembic import op

from mesh import schema

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (
    # `told_by` decides between two that speak of the same moment, so that every order of arrival ends alike.
    """
    CREATE TABLE price_history (
        sku           text COLLATE "C" NOT NULL,
        minute        timestamptz NOT NULL CHECK (date_trunc('minute', minute, 'UTC') = minute),
        effective_at  timestamptz NOT NULL,
        told_by       text COLLATE "C" NOT NULL,
        source        text NOT NULL CHECK (source IN ('CATALOGUE', 'ORDER')),
        currency_code text NOT NULL,
        price_minor   bigint NOT NULL CHECK (price_minor >= 0),
        PRIMARY KEY (sku, minute)
    )
    """,
    # What is on the shelves has had its price at least since its product was changed last.
    """
    INSERT INTO price_history (sku, minute, effective_at, told_by, source, currency_code, price_minor)
    SELECT v.sku, date_trunc('minute', p.updated_at, 'UTC'), p.updated_at, p.product_id::text, 'CATALOGUE',
           v.currency_code, v.price_minor
    FROM variants v JOIN products p USING (product_id)
    """,
)


def upgrade() -> None:
    """Create the tables, and begin the history with the prices of now."""
    for statement in STATEMENTS:
        op.execute(statement)
    schema.create_inbox(op)
