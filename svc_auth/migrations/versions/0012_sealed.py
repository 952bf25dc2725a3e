"""What is personal is sealed with a key of its user, and what users are found by is a keyed hash of it.

The plain columns stay, with defaults, for replicas of the release before; a later one drops them. `svc_auth/plain`
seals what stands in them, which takes keys that the database never sees, and empties them; the partial indexes tell it
where to look. `sealing` has one row: until when what the release before looks users up by is written in plain too (an
hour for its replicas to go; no time at all where there are no users yet), and a hash that tells a lost key of the blind
index from the one that everything was hashed with.
"""

from __future__ import annotations

from alembic import op

from mesh import schema

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ADDRESS = ("full_name", "line1", "line2", "city", "region", "postal_code", "country_code")

_STATEMENTS = (
    """
    CREATE TABLE sealing (
        only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        plain_until timestamptz NOT NULL,
        index_check bytea
    )
    """,
    """
    INSERT INTO sealing (plain_until)
    SELECT CASE WHEN EXISTS (SELECT FROM users) THEN now() + interval '1 hour' ELSE now() END
    """,
    # Users. No constraint looks at the rows that are there: each is wider than the one it replaces, or about columns
    # that nobody has filled.
    """
    ALTER TABLE users
        ADD COLUMN email_index bytea CHECK (length(email_index) = 32),
        ADD COLUMN external_index bytea CHECK (length(external_index) = 32),
        ADD COLUMN sealed bytea,
        ADD COLUMN house boolean NOT NULL DEFAULT false
    """,
    "CREATE UNIQUE INDEX users_email_index ON users (email_index) WHERE email_index IS NOT NULL",
    "CREATE UNIQUE INDEX users_external_index ON users (external_index) WHERE external_index IS NOT NULL",
    """
    CREATE INDEX users_plain ON users (user_id) WHERE display_name <> ''
        OR (email IS NOT NULL AND email_index IS NULL) OR (external_id IS NOT NULL AND external_index IS NULL)
    """,
    "UPDATE users SET house = true WHERE email IN ('admin@titan.local', 'importer@titan.local')",
    "ALTER TABLE users DROP CONSTRAINT users_password_has_address",
    """
    ALTER TABLE users ADD CONSTRAINT users_password_has_address
        CHECK (password_hash IS NULL OR email IS NOT NULL OR email_index IS NOT NULL) NOT VALID
    """,
    "ALTER TABLE users DROP CONSTRAINT users_external_whole",
    """
    ALTER TABLE users ADD CONSTRAINT users_external_whole
        CHECK ((importer_id IS NULL) = (external_id IS NULL AND external_index IS NULL)) NOT VALID
    """,
    "ALTER TABLE users DROP CONSTRAINT users_erased_are_empty",
    """
    ALTER TABLE users ADD CONSTRAINT users_erased_are_empty CHECK (erased_at IS NULL OR (
        email IS NULL AND password_hash IS NULL AND display_name = '' AND external_id IS NULL AND roles = '{}'
        AND email_index IS NULL AND external_index IS NULL AND sealed IS NULL
    )) NOT VALID
    """,
    # The addresses that they keep.
    "ALTER TABLE addresses ADD COLUMN sealed bytea, "
    + ", ".join(f"ALTER COLUMN {column} SET DEFAULT ''" for column in _ADDRESS),
    "CREATE INDEX addresses_plain ON addresses (address_id) WHERE sealed IS NULL",
    # What clients and passkeys are called.
    "ALTER TABLE sessions ADD COLUMN sealed_client_name bytea",
    "CREATE INDEX sessions_plain ON sessions (session_id) WHERE client_name <> ''",
    "ALTER TABLE sign_in_challenges ADD COLUMN sealed_client_name bytea, ALTER COLUMN client_name SET DEFAULT ''",
    "ALTER TABLE sign_in_flows ADD COLUMN sealed_client_name bytea, ALTER COLUMN client_name SET DEFAULT ''",
    "ALTER TABLE passkeys ADD COLUMN sealed_name bytea, ALTER COLUMN name SET DEFAULT ''",
    "CREATE INDEX passkeys_plain ON passkeys (passkey_id) WHERE name <> ''",
    # Who they are elsewhere.
    """
    ALTER TABLE identities
        ADD COLUMN subject_index bytea CHECK (length(subject_index) = 32), ALTER COLUMN subject DROP NOT NULL
    """,
    "ALTER TABLE identities ADD CONSTRAINT identities_have_a_subject"
    " CHECK (subject IS NOT NULL OR subject_index IS NOT NULL) NOT VALID",
    "CREATE UNIQUE INDEX identities_subject_index ON identities (subject_index) WHERE subject_index IS NOT NULL",
    "CREATE INDEX identities_plain ON identities (identity_id) WHERE subject IS NOT NULL AND subject_index IS NULL",
)


def upgrade() -> None:
    """Add the columns and their indexes, and the vault."""
    schema.create_vault(op)
    op.execute(
        "INSERT INTO erased_users (user_id, erased_at) SELECT user_id, erased_at FROM users WHERE erased_at IS NOT NULL"
    )
    for statement in _STATEMENTS:
        op.execute(statement)
