"""The key of the index can be replaced: two are in use for a while, and what was hashed is kept sealed beside its hash.

Without it nobody could hash it anew: the database has no word of it, and its user may not come again. Addresses are in
the sealed profiles already.
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    ALTER TABLE sealing ADD COLUMN index_check_before bytea,
        ADD CONSTRAINT sealing_two_index_keys CHECK (index_check_before <> index_check) NOT VALID
    """,
    "ALTER TABLE identities ADD COLUMN sealed_subject bytea",
    "ALTER TABLE users ADD COLUMN sealed_external_id bytea",
    "ALTER TABLE users DROP CONSTRAINT users_erased_are_empty",
    """
    ALTER TABLE users ADD CONSTRAINT users_erased_are_empty CHECK (erased_at IS NULL OR (
        email IS NULL AND password_hash IS NULL AND display_name = '' AND external_id IS NULL AND roles = '{}'
        AND email_index IS NULL AND external_index IS NULL AND sealed IS NULL AND sealed_external_id IS NULL
    )) NOT VALID
    """,
)


def upgrade() -> None:
    """Add the columns."""
    for statement in _STATEMENTS:
        op.execute(statement)
