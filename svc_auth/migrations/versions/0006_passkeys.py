"""Passkeys, and the challenges that they answer."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE passkeys (
        passkey_id    uuid PRIMARY KEY,
        user_id       uuid NOT NULL REFERENCES users (user_id),
        credential_id bytea NOT NULL CONSTRAINT passkeys_credential UNIQUE CHECK (length(credential_id) <= 1023),
        public_key    bytea NOT NULL,
        sign_count    bigint NOT NULL CHECK (sign_count >= 0),
        backed_up     boolean NOT NULL,
        name          text NOT NULL CHECK (length(name) <= 80),
        created_at    timestamptz NOT NULL,
        last_used_at  timestamptz
    )
    """,
    "CREATE INDEX passkeys_user ON passkeys (user_id)",
    """
    CREATE TABLE passkey_challenges (
        challenge_hash bytea PRIMARY KEY CHECK (length(challenge_hash) = 32),
        purpose        text NOT NULL CHECK (purpose IN ('REGISTER', 'SIGN_IN')),
        user_id        uuid REFERENCES users (user_id),
        expires_at     timestamptz NOT NULL,
        CONSTRAINT passkey_challenges_register_for_somebody CHECK ((purpose = 'REGISTER') = (user_id IS NOT NULL))
    )
    """,
    "CREATE INDEX passkey_challenges_expires ON passkey_challenges (expires_at)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
