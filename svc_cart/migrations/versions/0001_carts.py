"""The saved carts, and the ids of those that were ordered."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    # lines: [[sku, quantity], ...] in the order in which they were added.
    """
    CREATE TABLE carts (
        user_id             uuid PRIMARY KEY,
        cart_id             uuid,
        version             bigint NOT NULL CHECK (version >= 0),
        lines               jsonb NOT NULL CHECK (jsonb_typeof(lines) = 'array'),
        last_closed_cart_id uuid,
        updated_at          timestamptz,
        saved_at            timestamptz NOT NULL,
        CONSTRAINT carts_lines_need_a_cart CHECK (cart_id IS NOT NULL OR lines = '[]'),
        CONSTRAINT carts_closed_stay_closed CHECK (cart_id IS DISTINCT FROM last_closed_cart_id OR cart_id IS NULL)
    ) WITH (fillfactor = 80)
    """,
    """
    CREATE TABLE closed_carts (
        cart_id   uuid PRIMARY KEY,
        user_id   uuid NOT NULL,
        closed_at timestamptz NOT NULL
    )
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
