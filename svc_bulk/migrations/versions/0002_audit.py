"""The audit log."""

from alembic import op

from mesh.schema import create_audit

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create its entries and its sealed blocks."""
    create_audit(op)
