"""Users who are erased, and how far that is.

A row of `erasures` is the job as well: `next_run_at` is both its schedule and the lease of whoever works on it.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # Neither constraint looks at the rows that are there, under a lock that nobody could read beside: none of them has
    # an `erased_at`, and none was revoked for what could not be said before.
    "ALTER TABLE users ADD COLUMN erased_at timestamptz",
    """
    ALTER TABLE users ADD CONSTRAINT users_erased_are_empty CHECK (erased_at IS NULL OR (
        email IS NULL AND password_hash IS NULL AND display_name = '' AND external_id IS NULL AND roles = '{}'
    )) NOT VALID
    """,
    """
    CREATE TABLE erasures (
        user_id      uuid PRIMARY KEY REFERENCES users (user_id),
        requested_by uuid NOT NULL,
        reason       text NOT NULL,
        decided_at   timestamptz NOT NULL,
        emptied_at   timestamptz,
        finished_at  timestamptz,
        attempts     integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
        next_run_at  timestamptz NOT NULL,
        CONSTRAINT erasures_finished_is_empty CHECK (finished_at IS NULL OR emptied_at IS NOT NULL)
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX erasures_due ON erasures (next_run_at) WHERE finished_at IS NULL",
    "ALTER TABLE sessions DROP CONSTRAINT sessions_revoked_for_check",
    """
    ALTER TABLE sessions ADD CONSTRAINT sessions_revoked_for_check
        CHECK (revoked_for IN ('SIGNED_OUT', 'TOKEN_REUSED', 'PASSWORD_RESET', 'ERASED')) NOT VALID
    """,
)


def upgrade() -> None:
    """Create the table, and let users be erased."""
    for statement in _STATEMENTS:
        op.execute(statement)
