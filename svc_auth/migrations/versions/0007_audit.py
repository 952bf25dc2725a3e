"""The audit log."""

from alembic import op

from mesh.schema import create_audit

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create its entries and its sealed blocks."""
    create_audit(op)
