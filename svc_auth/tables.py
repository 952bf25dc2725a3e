"""The tables of this package's database, as its migrations leave them.

`user/store.py` writes `users` and `addresses`, `factor/store.py` `second_factors` and `recovery_codes`, `link/store.py`
`links` and `link_requests`, `federation/store.py` `identities` and `sign_in_flows`, `passkey/store.py` `passkeys` and
`passkey_challenges`; `auth/store.py` writes all others.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP, UUID

metadata = MetaData()
_time = TIMESTAMP(timezone=True)

users = Table(
    "users",
    metadata,
    Column("user_id", UUID(as_uuid=True), primary_key=True),
    Column("email", Text),
    Column("password_hash", Text),
    Column("display_name", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("importer_id", UUID(as_uuid=True)),
    Column("external_id", Text),
    Column("version", BigInteger, nullable=False),
    Column("created_at", _time, nullable=False),
    Column("updated_at", _time, nullable=False),
    Column("email_verified_at", _time),
)

addresses = Table(
    "addresses",
    metadata,
    Column("address_id", UUID(as_uuid=True), primary_key=True),
    Column("user_id", UUID(as_uuid=True), ForeignKey("users.user_id"), nullable=False),
    Column("full_name", Text, nullable=False),
    Column("line1", Text, nullable=False),
    Column("line2", Text, nullable=False),
    Column("city", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("postal_code", Text, nullable=False),
    Column("country_code", Text, nullable=False),
    Column("created_at", _time, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", UUID(as_uuid=True), primary_key=True),
    Column("user_id", UUID(as_uuid=True), ForeignKey("users.user_id"), nullable=False),
    Column("created_at", _time, nullable=False),
    Column("expires_at", _time, nullable=False),
    Column("revoked_at", _time),
    Column("revoked_for", Text),
    Column("client_name", Text, nullable=False),
    Column("amr", ARRAY(Text), nullable=False),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("session_id", UUID(as_uuid=True), ForeignKey("sessions.session_id"), nullable=False),
    Column("issued_at", _time, nullable=False),
    Column("expires_at", _time, nullable=False),
    Column("spent_at", _time),
)

sign_in_attempts = Table(
    "sign_in_attempts",
    metadata,
    Column("email_hash", LargeBinary, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("failed_at", _time, nullable=False),
    Column("blocked_until", _time, nullable=False),
)

sign_in_challenges = Table(
    "sign_in_challenges",
    metadata,
    Column("challenge_hash", LargeBinary, primary_key=True),
    Column("user_id", UUID(as_uuid=True), ForeignKey("users.user_id"), nullable=False),
    Column("client_name", Text, nullable=False),
    Column("amr", ARRAY(Text), nullable=False),
    Column("expires_at", _time, nullable=False),
)

second_factors = Table(
    "second_factors",
    metadata,
    Column("user_id", UUID(as_uuid=True), ForeignKey("users.user_id"), primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("created_at", _time, nullable=False),
    Column("confirmed_at", _time),
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("code_hash", LargeBinary, primary_key=True),
    Column("user_id", UUID(as_uuid=True), ForeignKey("second_factors.user_id"), nullable=False),
)

link_requests = Table(
    "link_requests",
    metadata,
    Column("request_id", UUID(as_uuid=True), primary_key=True),
    Column("user_id", UUID(as_uuid=True)),
    Column("purpose", Text, nullable=False),
    Column("requested_at", _time, nullable=False),
)

links = Table(
    "links",
    metadata,
    Column("link_id", UUID(as_uuid=True), primary_key=True),
    Column("user_id", UUID(as_uuid=True), ForeignKey("users.user_id"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("sealed_token", LargeBinary),
    Column("created_at", _time, nullable=False),
    Column("expires_at", _time, nullable=False),
    Column("closed_at", _time),
)

identities = Table(
    "identities",
    metadata,
    Column("identity_id", UUID(as_uuid=True), primary_key=True),
    Column("user_id", UUID(as_uuid=True), ForeignKey("users.user_id"), nullable=False),
    Column("provider", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("linked_at", _time, nullable=False),
    Column("last_used_at", _time),
)

sign_in_flows = Table(
    "sign_in_flows",
    metadata,
    Column("flow_hash", LargeBinary, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("redirect_uri", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("user_id", UUID(as_uuid=True), ForeignKey("users.user_id")),
    Column("client_name", Text, nullable=False),
    Column("expires_at", _time, nullable=False),
)

passkeys = Table(
    "passkeys",
    metadata,
    Column("passkey_id", UUID(as_uuid=True), primary_key=True),
    Column("user_id", UUID(as_uuid=True), ForeignKey("users.user_id"), nullable=False),
    Column("credential_id", LargeBinary, nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("backed_up", Boolean, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", _time, nullable=False),
    Column("last_used_at", _time),
)

passkey_challenges = Table(
    "passkey_challenges",
    metadata,
    Column("challenge_hash", LargeBinary, primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("user_id", UUID(as_uuid=True), ForeignKey("users.user_id")),
    Column("expires_at", _time, nullable=False),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("public_jwk", JSONB, nullable=False),
    Column("private_key", LargeBinary, nullable=False),
    Column("created_at", _time, nullable=False),
    Column("sign_at", _time, nullable=False),
)

token_exchanges = Table(
    "token_exchanges",
    metadata,
    Column("exchange_id", UUID(as_uuid=True), primary_key=True),
    Column("actor_id", UUID(as_uuid=True), nullable=False),
    Column("session_id", UUID(as_uuid=True), nullable=False),
    Column("subject_id", UUID(as_uuid=True), nullable=False),
    Column("exchanged_at", _time, nullable=False),
)
