"""Second factors: sealed secrets, hashed recovery codes, the challenges of sign-ins, and how a session was opened."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE second_factors (
        user_id      uuid PRIMARY KEY REFERENCES users (user_id),
        secret       bytea NOT NULL,
        last_step    bigint NOT NULL DEFAULT 0,
        created_at   timestamptz NOT NULL,
        confirmed_at timestamptz
    )
    """,
    """
    CREATE TABLE recovery_codes (
        code_hash bytea PRIMARY KEY CHECK (length(code_hash) = 32),
        user_id   uuid NOT NULL REFERENCES second_factors (user_id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX recovery_codes_user ON recovery_codes (user_id)",
    """
    CREATE TABLE sign_in_challenges (
        challenge_hash bytea PRIMARY KEY CHECK (length(challenge_hash) = 32),
        user_id        uuid NOT NULL REFERENCES users (user_id),
        client_name    text NOT NULL,
        expires_at     timestamptz NOT NULL
    )
    """,
    "CREATE INDEX sign_in_challenges_expires ON sign_in_challenges (expires_at)",
    "CREATE INDEX sign_in_challenges_user ON sign_in_challenges (user_id)",
    "ALTER TABLE sessions ADD COLUMN amr text[] NOT NULL DEFAULT '{}'",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
