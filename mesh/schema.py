"""The tables that the runtime keeps in every package's database, as statements for that package's migrations.

A migration that was released never changes, so neither does a numbered version here: a change to a table is a new
function (`upgrade_outbox_to_2`) that packages call from a new migration. Nothing here runs by itself.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Operations(Protocol):
    """What is used of `alembic.op`."""

    def execute(self, sqltext: str) -> object:
        """Run one statement."""
        ...


class Transactions(Protocol):
    """The transactions of a migration."""

    def autocommit_block(self) -> AbstractContextManager[None]:
        """Commit, run what follows statement by statement, and begin again."""
        ...


class ManyTransactions(Operations, Protocol):
    """What is used of `alembic.op` where one transaction does not do."""

    def get_context(self) -> Transactions:
        """Return the transactions of the migration that runs."""
        ...


# The autovacuum settings: rows live briefly or are written twice, and dead ones would slow the scan of the open ones.
_OUTBOX_1 = (
    """
    CREATE TABLE outbox (
        seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        event_id     uuid NOT NULL,
        topic        text NOT NULL,
        type         text NOT NULL,
        aggregate_id text NOT NULL,
        version      bigint NOT NULL CHECK (version > 0),
        subject      text NOT NULL,
        payload      bytea NOT NULL,
        traceparent  text,
        recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        published_at timestamptz,
        CONSTRAINT outbox_one_event_per_version UNIQUE (topic, aggregate_id, version)
    ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05, fillfactor = 90)
    """,
    "CREATE INDEX outbox_unpublished ON outbox (seq) WHERE published_at IS NULL",
    "CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL",
    "COMMENT ON TABLE outbox IS 'titan outbox, version 1'",
)
_INBOX_1 = (
    """
    CREATE TABLE inbox (
        consumer   text NOT NULL,
        event_id   uuid NOT NULL,
        topic      text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (consumer, event_id)
    )
    """,
    "CREATE INDEX inbox_applied_at ON inbox (applied_at)",
    """
    CREATE TABLE inbox_aggregates (
        consumer      text NOT NULL,
        topic         text NOT NULL,
        aggregate_id  text NOT NULL,
        version       bigint NOT NULL,
        parked_at     timestamptz,
        parked_reason text,
        PRIMARY KEY (consumer, topic, aggregate_id)
    ) WITH (fillfactor = 80)
    """,
    "COMMENT ON TABLE inbox IS 'titan inbox, version 1'",
)
_IDEMPOTENCY_1 = (
    """
    CREATE TABLE idempotency (
        user_id     uuid NOT NULL,
        method      text NOT NULL,
        request_id  text NOT NULL,
        fingerprint bytea NOT NULL,
        response    bytea,
        status      bytea,
        created_at  timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (user_id, method, request_id),
        CONSTRAINT idempotency_one_answer CHECK (response IS NULL OR status IS NULL)
    )
    """,
    "CREATE INDEX idempotency_created_at ON idempotency (created_at)",
    "COMMENT ON TABLE idempotency IS 'titan idempotency, version 1'",
)
# One index: the sealer and the verifier read by transaction, and nobody else reads. `left_out` counts denials alone.
_AUDIT_1 = (
    """
    CREATE TABLE audit_entries (
        xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
        seq         bigint GENERATED ALWAYS AS IDENTITY,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        outcome     text NOT NULL CHECK (outcome IN ('ACCEPTED', 'DENIED')),
        method      text NOT NULL,
        resource    text NOT NULL,
        actor_id    uuid,
        subject_id  uuid,
        session_id  uuid,
        package     text,
        key_hash    bytea,
        trace_id    text,
        reason      text,
        left_out    bigint NOT NULL DEFAULT 0 CHECK (left_out >= 0),
        PRIMARY KEY (xid, seq),
        CONSTRAINT audit_entries_denial CHECK ((outcome = 'DENIED') = (reason IS NOT NULL))
    )
    """,
    """
    CREATE TABLE audit_blocks (
        height        bigint PRIMARY KEY CHECK (height >= 0),
        from_xid      xid8 NOT NULL,
        to_xid        xid8 NOT NULL,
        row_count     bigint NOT NULL,
        rows_hash     bytea NOT NULL,
        previous_hash bytea NOT NULL,
        hash          bytea NOT NULL,
        sealed_at     timestamptz NOT NULL,
        CONSTRAINT audit_blocks_ascend CHECK (from_xid <= to_xid)
    )
    """,
    """
    INSERT INTO audit_blocks (height, from_xid, to_xid, row_count, rows_hash, previous_hash, hash, sealed_at)
    VALUES (0, '0', '0', 0, '', '', sha256('titan audit'), now())
    """,
    """
    CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END
    $$
    """,
    # The package's own role has not even the right; the trigger stands in the way of roles that have every right.
    *(
        statement
        for table in ("audit_entries", "audit_blocks")
        for statement in (
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()",
            f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM CURRENT_USER",
        )
    ),
    "COMMENT ON TABLE audit_entries IS 'titan audit, version 1'",
)
# `wrapped_by` says which master key wraps a user's key. Who is noted as erased is never given another one.
_VAULT_1 = (
    """
    CREATE TABLE user_keys (
        user_id     uuid PRIMARY KEY,
        wrapped_by  text NOT NULL,
        wrapped_key bytea NOT NULL
    )
    """,
    """
    CREATE TABLE erased_users (
        user_id   uuid PRIMARY KEY,
        erased_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX erased_users_lately ON erased_users (erased_at)",
    "COMMENT ON TABLE user_keys IS 'titan vault, version 1'",
)


def create_outbox(op: Operations) -> None:
    """Create the outbox, version 1: events waiting for the relay, and those it has published, for a time."""
    for statement in _OUTBOX_1:
        op.execute(statement)


def create_inbox(op: Operations) -> None:
    """Create the inbox, version 1: which events a consumer applied, and how far it is with each aggregate."""
    for statement in _INBOX_1:
        op.execute(statement)


def create_idempotency(op: Operations) -> None:
    """Create the idempotency table, version 1: what was answered to each request id."""
    for statement in _IDEMPOTENCY_1:
        op.execute(statement)


def create_audit(op: Operations) -> None:
    """Create the audit log, version 1: its entries and its sealed blocks, both append-only."""
    for statement in _AUDIT_1:
        op.execute(statement)


def create_vault(op: Operations) -> None:
    """Create the vault, version 1: the users' keys, and who was erased."""
    for statement in _VAULT_1:
        op.execute(statement)


def build_index(op: ManyTransactions, name: str, on: str, *, unique: bool = False) -> None:
    """Build an index of a table that has rows, `on` such as `users (email) WHERE email <> ''`, while it is written to.

    It is a migration's only work: what went before is committed first, and one that is broken off is run again from its
    start. A build that was broken off leaves an index that counts for nothing, under its name.
    """
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute(f"CREATE {'UNIQUE INDEX' if unique else 'INDEX'} CONCURRENTLY {name} ON {on}")
