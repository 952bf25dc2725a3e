"""The audit log."""

from alembic import op

from mesh.schema import create_audit

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create its entries and its sealed blocks."""
    create_audit(op)
    # A command comes from Redis, and comes again where a process ended before it could say that it was saved.
    op.execute(
        "CREATE UNIQUE INDEX audit_entries_one_per_version ON audit_entries (resource) WHERE outcome = 'ACCEPTED'"
    )
