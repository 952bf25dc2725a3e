"""What is personal is sealed with a key of its user, and what users are found by is a keyed hash of it.

The plain columns stay, with defaults, for replicas of the release before; a later one drops them. `svc_auth/plain`
seals what stands in them, which takes keys that the database never sees, and empties them. `sealing` has one row: until
when what the release before looks users up by is written in plain too (an hour for its replicas to go; no time at all
where there are no users yet), and a hash that tells a lost key of the blind index from the one that everything was
hashed with.
"""

from __future__ import annotations

from alembic import op

from mesh import schema

revision = "0011"
down_revision = "0010"
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
    # Users. No constraint is held against the rows that are there, while nobody could read beside it: each is wider
    # than the one it replaces, or about columns that nobody has filled.
    """
    ALTER TABLE users
        ADD COLUMN email_index bytea,
        ADD COLUMN external_index bytea,
        ADD COLUMN sealed bytea,
        ADD COLUMN house boolean NOT NULL DEFAULT false,
        ADD CONSTRAINT users_email_index_check CHECK (length(email_index) = 32) NOT VALID,
        ADD CONSTRAINT users_external_index_check CHECK (length(external_index) = 32) NOT VALID
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
    # What clients and passkeys are called.
    "ALTER TABLE sessions ADD COLUMN sealed_client_name bytea",
    "ALTER TABLE sign_in_challenges ADD COLUMN sealed_client_name bytea, ALTER COLUMN client_name SET DEFAULT ''",
    "ALTER TABLE sign_in_flows ADD COLUMN sealed_client_name bytea, ALTER COLUMN client_name SET DEFAULT ''",
    "ALTER TABLE passkeys ADD COLUMN sealed_name bytea, ALTER COLUMN name SET DEFAULT ''",
    # Who they are elsewhere.
    """
    ALTER TABLE identities
        ADD COLUMN subject_index bytea,
        ALTER COLUMN subject DROP NOT NULL,
        ADD CONSTRAINT identities_subject_index_check CHECK (length(subject_index) = 32) NOT VALID,
        ADD CONSTRAINT identities_have_a_subject CHECK (subject IS NOT NULL OR subject_index IS NOT NULL) NOT VALID
    """,
)


def upgrade() -> None:
    """Add the columns, and the vault. Their indexes are built by the next one."""
    schema.create_vault(op)
    op.execute(
        "INSERT INTO erased_users (user_id, erased_at) SELECT user_id, erased_at FROM users WHERE erased_at IS NOT NULL"
    )
    for statement in _STATEMENTS:
        op.execute(statement)
