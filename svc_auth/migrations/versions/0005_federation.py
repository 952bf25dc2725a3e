"""Identities at providers, the flows that begin there, users without a password, and how a challenge was earned.

`identities` of a provider are found by issuer and subject, which a provider never gives to another person; never by an
address.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE users DROP CONSTRAINT users_credentials_whole",
    "ALTER TABLE users ADD CONSTRAINT users_password_has_address CHECK (password_hash IS NULL OR email IS NOT NULL)",
    """
    CREATE TABLE identities (
        identity_id  uuid PRIMARY KEY,
        user_id      uuid NOT NULL REFERENCES users (user_id),
        provider     text NOT NULL,
        issuer       text NOT NULL,
        subject      text NOT NULL,
        linked_at    timestamptz NOT NULL,
        last_used_at timestamptz,
        CONSTRAINT identities_subject UNIQUE (issuer, subject),
        CONSTRAINT identities_one_per_provider UNIQUE (user_id, provider)
    )
    """,
    """
    CREATE TABLE sign_in_flows (
        flow_hash    bytea PRIMARY KEY CHECK (length(flow_hash) = 32),
        provider     text NOT NULL,
        redirect_uri text NOT NULL,
        purpose      text NOT NULL CHECK (purpose IN ('SIGN_IN', 'LINK')),
        user_id      uuid REFERENCES users (user_id),
        client_name  text NOT NULL,
        expires_at   timestamptz NOT NULL,
        CONSTRAINT sign_in_flows_link_for_somebody CHECK ((purpose = 'LINK') = (user_id IS NOT NULL))
    )
    """,
    "CREATE INDEX sign_in_flows_expires ON sign_in_flows (expires_at)",
    "ALTER TABLE sign_in_challenges ADD COLUMN amr text[] NOT NULL DEFAULT '{pwd}'",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
