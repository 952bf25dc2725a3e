"""One-time links: what was asked for, what was made of it, and which addresses were verified with one.

`link_requests` has no foreign key: checking one takes a moment that a request for an unknown address would not take.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE link_requests (
        request_id   uuid PRIMARY KEY,
        user_id      uuid,
        purpose      text NOT NULL CHECK (purpose IN ('EMAIL_VERIFICATION', 'PASSWORD_RESET')),
        requested_at timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE links (
        link_id      uuid PRIMARY KEY,
        user_id      uuid NOT NULL REFERENCES users (user_id),
        purpose      text NOT NULL CHECK (purpose IN ('EMAIL_VERIFICATION', 'PASSWORD_RESET')),
        token_hash   bytea NOT NULL CONSTRAINT links_token UNIQUE CHECK (length(token_hash) = 32),
        sealed_token bytea,
        created_at   timestamptz NOT NULL,
        expires_at   timestamptz NOT NULL,
        closed_at    timestamptz,
        CONSTRAINT links_closed_forget_their_token CHECK ((closed_at IS NULL) = (sealed_token IS NOT NULL))
    )
    """,
    "CREATE UNIQUE INDEX links_one_open ON links (user_id, purpose) WHERE closed_at IS NULL",
    "CREATE INDEX links_user ON links (user_id, purpose, created_at DESC)",
    "CREATE INDEX links_expires ON links (expires_at)",
    "ALTER TABLE users ADD COLUMN email_verified_at timestamptz",
    "ALTER TABLE sessions DROP CONSTRAINT sessions_revoked_for_check",
    """
    ALTER TABLE sessions ADD CONSTRAINT sessions_revoked_for_check
        CHECK (revoked_for IN ('SIGNED_OUT', 'TOKEN_REUSED', 'PASSWORD_RESET'))
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
