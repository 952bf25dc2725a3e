"""Users, addresses, sessions, signing keys, sign-in attempts and the record of token exchanges."""

from __future__ import annotations

from alembic import op

from mesh import schema

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE users (
        user_id       uuid PRIMARY KEY,
        email         text CONSTRAINT users_email UNIQUE,
        password_hash text,
        display_name  text NOT NULL DEFAULT '',
        roles         text[] NOT NULL DEFAULT '{}',
        importer_id   uuid REFERENCES users (user_id),
        external_id   text,
        version       bigint NOT NULL CHECK (version > 0),
        created_at    timestamptz NOT NULL,
        updated_at    timestamptz NOT NULL,
        CONSTRAINT users_credentials_whole CHECK ((email IS NULL) = (password_hash IS NULL)),
        CONSTRAINT users_external_whole CHECK ((importer_id IS NULL) = (external_id IS NULL)),
        CONSTRAINT users_external_id UNIQUE (importer_id, external_id)
    )
    """,
    """
    CREATE TABLE addresses (
        address_id   uuid PRIMARY KEY,
        user_id      uuid NOT NULL REFERENCES users (user_id),
        full_name    text NOT NULL,
        line1        text NOT NULL,
        line2        text NOT NULL,
        city         text NOT NULL,
        region       text NOT NULL,
        postal_code  text NOT NULL,
        country_code text NOT NULL,
        created_at   timestamptz NOT NULL
    )
    """,
    "CREATE INDEX addresses_user ON addresses (user_id, created_at DESC)",
    """
    CREATE TABLE sessions (
        session_id  uuid PRIMARY KEY,
        user_id     uuid NOT NULL REFERENCES users (user_id),
        created_at  timestamptz NOT NULL,
        expires_at  timestamptz NOT NULL,
        revoked_at  timestamptz,
        revoked_for text CHECK (revoked_for IN ('SIGNED_OUT', 'TOKEN_REUSED')),
        CONSTRAINT sessions_revocation_whole CHECK ((revoked_at IS NULL) = (revoked_for IS NULL))
    )
    """,
    "CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL",
    "CREATE INDEX sessions_expires ON sessions (expires_at)",
    """
    CREATE TABLE refresh_tokens (
        token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
        session_id uuid NOT NULL REFERENCES sessions (session_id) ON DELETE CASCADE,
        issued_at  timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        spent_at   timestamptz
    )
    """,
    "CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id)",
    "CREATE UNIQUE INDEX refresh_tokens_one_live ON refresh_tokens (session_id) WHERE spent_at IS NULL",
    """
    CREATE TABLE sign_in_attempts (
        email_hash    bytea PRIMARY KEY CHECK (length(email_hash) = 32),
        failures      integer NOT NULL CHECK (failures >= 0),
        failed_at     timestamptz NOT NULL,
        blocked_until timestamptz NOT NULL
    )
    """,
    "CREATE INDEX sign_in_attempts_failed ON sign_in_attempts (failed_at)",
    """
    CREATE TABLE signing_keys (
        kid         text PRIMARY KEY,
        public_jwk  jsonb NOT NULL,
        private_key bytea NOT NULL,
        created_at  timestamptz NOT NULL,
        sign_at     timestamptz NOT NULL UNIQUE
    )
    """,
    """
    CREATE TABLE token_exchanges (
        exchange_id  uuid PRIMARY KEY,
        actor_id     uuid NOT NULL REFERENCES users (user_id),
        session_id   uuid NOT NULL,
        subject_id   uuid NOT NULL REFERENCES users (user_id),
        exchanged_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX token_exchanges_subject ON token_exchanges (subject_id, exchanged_at)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
    schema.create_outbox(op)
