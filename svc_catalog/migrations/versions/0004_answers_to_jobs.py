"""What was answered to the request ids of long jobs: a job that is taken up again puts nothing twice."""

from alembic import op

from mesh import schema

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table."""
    schema.create_idempotency(op)
