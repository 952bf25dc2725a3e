"""Credit notes, and the series of numbers that each seller has for them."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE credit_note_series (
        seller_id   text COLLATE "C" PRIMARY KEY,
        last_number bigint NOT NULL CHECK (last_number > 0)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE credit_notes (
        seller_id      text COLLATE "C" NOT NULL REFERENCES credit_note_series,
        number         bigint NOT NULL CHECK (number > 0),
        invoice_number bigint NOT NULL,
        order_id       uuid NOT NULL,
        refund_id      uuid NOT NULL,
        currency       text NOT NULL,
        total_minor    bigint NOT NULL CHECK (total_minor > 0),
        tax_minor      bigint NOT NULL CHECK (tax_minor BETWEEN 0 AND total_minor),
        issued_at      timestamptz NOT NULL,
        effective_at   timestamptz NOT NULL,
        PRIMARY KEY (seller_id, number),
        FOREIGN KEY (seller_id, invoice_number) REFERENCES invoices (seller_id, number),
        CONSTRAINT credit_notes_once_a_seller UNIQUE (refund_id, seller_id)
    )
    """,
    "CREATE INDEX credit_notes_of_order ON credit_notes (order_id)",
    """
    CREATE TRIGGER credit_notes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_notes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """,
)


def upgrade() -> None:
    """Create the tables. What went back before has no credit note: its number would be of another day."""
    for statement in _STATEMENTS:
        op.execute(statement)
