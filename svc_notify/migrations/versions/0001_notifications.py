"""The first schema: the messages, which are the queue of the worker too, and the inbox of the events.

`due_at` is when a row may be taken, and while somebody has it, the end of their lease. An event makes one row at most.
"""

from alembic import op

from mesh import schema

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE notifications (
        notification_id uuid PRIMARY KEY,
        event_id        uuid NOT NULL,
        channel         text NOT NULL CHECK (channel IN ('EMAIL', 'SMS', 'WHATSAPP', 'PUSH')),
        template        text NOT NULL,
        user_id         uuid NOT NULL,
        order_id        uuid NOT NULL,
        order_version   bigint NOT NULL CHECK (order_version > 0),
        details         jsonb NOT NULL DEFAULT '{}',
        recipient       text NOT NULL DEFAULT '',
        status          text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'SENT', 'FAILED')),
        attempts        integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
        problem         text NOT NULL DEFAULT '',
        message_id      text NOT NULL,
        created_at      timestamptz NOT NULL,
        due_at          timestamptz NOT NULL,
        sent_at         timestamptz,
        CONSTRAINT notifications_one_per_event UNIQUE (event_id),
        CONSTRAINT notifications_sent_has_its_time CHECK ((status = 'SENT') = (sent_at IS NOT NULL)),
        CONSTRAINT notifications_recipient_is_masked CHECK (recipient = '' OR recipient LIKE '%***%')
    ) WITH (fillfactor = 85)
    """,
    "CREATE INDEX notifications_due ON notifications (due_at) WHERE status = 'PENDING'",
    "CREATE INDEX notifications_of_order ON notifications (order_id, order_version)",
    "CREATE INDEX notifications_of_user ON notifications (user_id, notification_id)",
    "CREATE INDEX notifications_failed ON notifications (notification_id) WHERE status = 'FAILED'",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
    schema.create_inbox(op)
