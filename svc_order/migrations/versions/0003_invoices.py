"""Invoices, and the series of numbers that each seller has."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE invoice_series (
        seller_id   text COLLATE "C" PRIMARY KEY,
        last_number bigint NOT NULL CHECK (last_number > 0)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE invoices (
        seller_id      text COLLATE "C" NOT NULL REFERENCES invoice_series,
        number         bigint NOT NULL CHECK (number > 0),
        order_id       uuid NOT NULL,
        user_id        uuid NOT NULL,
        currency       text NOT NULL,
        total_minor    bigint NOT NULL CHECK (total_minor >= 0),
        tax_minor      bigint NOT NULL CHECK (tax_minor BETWEEN 0 AND total_minor),
        shipping_minor bigint NOT NULL CHECK (shipping_minor BETWEEN 0 AND total_minor),
        issued_at      timestamptz NOT NULL,
        effective_at   timestamptz NOT NULL,
        PRIMARY KEY (seller_id, number),
        CONSTRAINT invoices_once_a_seller UNIQUE (order_id, seller_id)
    )
    """,
    """
    CREATE TRIGGER invoices_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON invoices
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """,
)


def upgrade() -> None:
    """Create the tables. What left before has no invoice: its number would be of another day."""
    for statement in _STATEMENTS:
        op.execute(statement)
