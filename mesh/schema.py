"""The tables that the runtime keeps in every package's database, as statements for that package's migrations.

A migration that was released never changes, so neither does a numbered version here: a change to a table is a new
function (`upgrade_outbox_to_2`) that packages call from a new migration. Nothing here runs by itself.
"""

from __future__ import annotations

from typing import Protocol


class Operations(Protocol):
    """What is used of `alembic.op`."""

    def execute(self, sqltext: str) -> object:
        """Run one statement."""
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
