"""Which orders other sellers than the house have sold lines of, so that each finds theirs."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE seller_orders (
        seller_id text COLLATE "C" NOT NULL,
        order_id  uuid NOT NULL,
        PRIMARY KEY (seller_id, order_id)
    )
    """,
    # The place in a line is that of `svc_order.order.lines.lines_to_json`.
    """
    INSERT INTO seller_orders (seller_id, order_id)
    SELECT DISTINCT line->>4, order_id FROM orders CROSS JOIN LATERAL jsonb_array_elements(lines) AS line
    WHERE line->>4 <> 'house' AND order_id IN (SELECT order_id FROM order_events WHERE type = 'OrderConfirmed')
    """,
)


def upgrade() -> None:
    """Create the table and fill it. What the release before confirms beside this one, `make rebuild` adds."""
    for statement in _STATEMENTS:
        op.execute(statement)
