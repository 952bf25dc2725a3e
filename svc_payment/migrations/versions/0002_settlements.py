"""What daily settlements with providers found: the provider's log against the ledger."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE settlements (
        provider    text NOT NULL,
        day         date NOT NULL,
        compared_at timestamptz NOT NULL,
        totals      jsonb NOT NULL,
        PRIMARY KEY (provider, day)
    )
    """,
    # A side that does not know the movement has neither amount nor time.
    """
    CREATE TABLE settlement_differences (
        provider       text NOT NULL,
        day            date NOT NULL,
        place          integer NOT NULL CHECK (place > 0),
        kind           text NOT NULL CHECK (kind IN (
            'MISSING_HERE', 'MISSING_THERE', 'AMOUNT_DIFFERS', 'OTHER_DAY', 'RETURNED_THERE')),
        movement_kind  text NOT NULL CHECK (movement_kind IN ('capture', 'refund')),
        payment_id     text NOT NULL,
        movement_id    text NOT NULL,
        order_id       text NOT NULL,
        their_minor    bigint,
        their_currency text,
        their_at       timestamptz,
        our_minor      bigint,
        our_currency   text,
        our_at         timestamptz,
        PRIMARY KEY (provider, day, place),
        FOREIGN KEY (provider, day) REFERENCES settlements (provider, day) ON DELETE CASCADE,
        CONSTRAINT settlement_differences_are_of_somebody CHECK (their_at IS NOT NULL OR our_at IS NOT NULL),
        CONSTRAINT settlement_differences_their CHECK (num_nulls(their_minor, their_currency, their_at) IN (0, 3)),
        CONSTRAINT settlement_differences_our CHECK (num_nulls(our_minor, our_currency, our_at) IN (0, 3))
    )
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
