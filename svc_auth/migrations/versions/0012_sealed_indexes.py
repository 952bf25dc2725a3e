"""What users are found by, and where something stands in plain still, is found without reading whole tables.

The columns came with the migration before. These are built beside it all, as shoppers sign in meanwhile.
"""

from __future__ import annotations

from alembic import op

from mesh import schema

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the indexes."""
    schema.build_index(op, "users_email_index", "users (email_index) WHERE email_index IS NOT NULL", unique=True)
    schema.build_index(
        op, "users_external_index", "users (external_index) WHERE external_index IS NOT NULL", unique=True
    )
    schema.build_index(
        op, "identities_subject_index", "identities (subject_index) WHERE subject_index IS NOT NULL", unique=True
    )
    schema.build_index(
        op,
        "users_plain",
        "users (user_id) WHERE display_name <> ''"
        " OR (email IS NOT NULL AND email_index IS NULL) OR (external_id IS NOT NULL AND external_index IS NULL)",
    )
    schema.build_index(op, "addresses_plain", "addresses (address_id) WHERE sealed IS NULL")
    schema.build_index(op, "addresses_kept", "addresses (address_id) WHERE country_code <> ''")
    schema.build_index(op, "sessions_plain", "sessions (session_id) WHERE client_name <> ''")
    schema.build_index(op, "passkeys_plain", "passkeys (passkey_id) WHERE name <> ''")
    schema.build_index(
        op, "identities_plain", "identities (identity_id) WHERE subject IS NOT NULL AND subject_index IS NULL"
    )
